//! Whether two clusters did the same.
//!
//! Programs that do not wait for each other write in any order. What is free is stated, with its reason; the orders
//! that it allows are one and the same, and everything else has to agree to the word.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::history::Histories;
use super::scenario::Freedom;

/// How the two differ, if they do: the first object that went through something else.
pub(crate) fn difference(real: &Histories, model: &Histories, freedoms: &[Freedom]) -> Option<String> {
    let titles: BTreeSet<&String> = real.keys().chain(model.keys()).collect();
    let none = Vec::new();
    titles.into_iter().find_map(|title| {
        let of = |all: &Histories| in_one_order(all.get(title).unwrap_or(&none), freedoms);
        let (real, model) = without_chances(of(real), of(model), freedoms);
        (real != model).then(|| format!("{title}\n{}{}", side_by_side(&real, &model), free(freedoms)))
    })
}

/// The first, by text, of all the orders that are the same as this one.
fn in_one_order(steps: &[String], freedoms: &[Freedom]) -> Vec<String> {
    let mut left: Vec<&String> = steps.iter().collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        // A step may come next if it may change places with all that are before it.
        let may_be_next = |at: &usize| left.iter().take(*at).all(|before| is_free(before, left[*at], freedoms));
        let next = (0..left.len()).filter(may_be_next).min_by_key(|at| left[*at]).expect("the first may always");
        ordered.push(left.remove(next).clone());
    }
    ordered
}

fn is_free(a: &str, b: &str, freedoms: &[Freedom]) -> bool {
    freedoms.iter().any(|freedom| match freedom {
        Freedom::Race { one, other, .. } => {
            (a.contains(one) && b.contains(other)) || (b.contains(one) && a.contains(other))
        }
        Freedom::Chance { .. } => false,
    })
}

/// Both, without the steps that one side happened to do and the other did not.
fn without_chances(mut real: Vec<String>, mut model: Vec<String>, freedoms: &[Freedom]) -> (Vec<String>, Vec<String>) {
    for freedom in freedoms {
        let Freedom::Chance { step, .. } = freedom else { continue };
        let has = |steps: &[String]| steps.iter().any(|text| text.contains(step));
        if has(&real) != has(&model) {
            real.retain(|text| !text.contains(step));
            model.retain(|text| !text.contains(step));
        }
    }
    (real, model)
}

fn side_by_side(real: &[String], model: &[String]) -> String {
    let mut text = String::new();
    for at in 0..real.len().max(model.len()) {
        // Writing to a String cannot fail.
        let _ = match (real.get(at), model.get(at)) {
            (Some(real), Some(model)) if real == model => writeln!(text, "  both  | {real}"),
            (real, model) => {
                let none = "(nothing)".to_owned();
                writeln!(text, "  real  | {}\n  model | {}", real.unwrap_or(&none), model.unwrap_or(&none))
            }
        };
    }
    text
}

/// What was not counted as a difference.
fn free(freedoms: &[Freedom]) -> String {
    let line = |freedom: &Freedom| match freedom {
        Freedom::Race { one, other, why } => format!("  free  | `{one}` and `{other}`: {why}\n"),
        Freedom::Chance { step, why } => format!("  free  | `{step}`: {why}\n"),
    };
    freedoms.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const FREE: [Freedom; 2] =
        [Freedom::Race { one: "annotation", other: "finalizer", why: "" }, Freedom::Chance { step: "nudge", why: "" }];

    fn differ(real: &[&str], model: &[&str]) -> bool {
        let history = |steps: &[&str]| {
            let steps = steps.iter().map(|step| (*step).to_owned()).collect();
            BTreeMap::from([("object".to_owned(), steps)])
        };
        difference(&history(real), &history(model), &FREE).is_some()
    }

    #[test]
    fn only_what_is_stated_is_free() {
        assert!(!differ(&["made", "annotation", "finalizer"], &["made", "finalizer", "annotation"]));
        assert!(!differ(&["made", "annotation", "nudge", "gone"], &["made", "annotation", "gone"]));
        assert!(differ(&["made", "annotation", "gone"], &["annotation", "made", "gone"]), "that is not free");
        assert!(differ(&["annotation", "finalizer"], &["annotation", "finalizer", "finalizer"]), "once too often");
        assert!(differ(&["annotation", "x", "finalizer"], &["finalizer", "x", "annotation"]), "x is between them");
        assert!(differ(&["nudge", "gone"], &["gone", "nudge"]), "where both have it, its place counts");
    }

    #[test]
    fn an_object_that_one_side_never_had_is_a_difference() {
        let real = Histories::from([("object".to_owned(), vec!["made".to_owned()])]);
        assert!(difference(&real, &Histories::new(), &[]).is_some());
    }
}
