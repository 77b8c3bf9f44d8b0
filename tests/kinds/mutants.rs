//! Admission policies with one thing taken out: a whole rule, or one side of an `&&` or `||`, however deep.

use serde_json::Value;

/// A policy that lacks something.
pub(crate) struct Mutant {
    /// What it lacks.
    pub(crate) without: String,
    /// What is left.
    pub(crate) spec: Value,
}

/// All of a policy's mutants.
pub(crate) fn mutants(spec: &Value) -> Vec<Mutant> {
    let mut found = Vec::new();
    let count = |list: &str| spec[list].as_array().map_or(0, Vec::len);
    for at in 0..count("validations") {
        let mut less = spec.clone();
        let rule = less["validations"].as_array_mut().unwrap().remove(at);
        found.push(Mutant { without: rule["expression"].as_str().unwrap().to_owned(), spec: less });
    }
    for list in ["validations", "variables"] {
        for at in 0..count(list) {
            let expression = spec[list][at]["expression"].as_str().unwrap();
            for (without, left) in weaker(expression) {
                let mut less = spec.clone();
                less[list][at]["expression"] = left.into();
                found.push(Mutant { without: format!("{without}` in `{expression}"), spec: less });
            }
        }
    }
    found
}

/// An expression with one operand taken out, in every way; each with what was taken.
fn weaker(expression: &str) -> Vec<(String, String)> {
    for operator in ["||", "&&"] {
        let parts = split(expression, operator);
        if parts.len() == 1 {
            continue;
        }
        let join = |parts: Vec<&str>| parts.join(&format!(" {operator} "));
        let mut found = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let others: Vec<&str> = parts.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, part)| *part).collect();
            found.push(((*part).to_owned(), join(others)));
            for (without, left) in weaker(part) {
                let mut all = parts.clone();
                all[at] = &left;
                found.push((without, join(all)));
            }
        }
        return found;
    }
    // One operand: what is in its parentheses, if anything.
    let Some(open) = expression.find('(') else { return Vec::new() };
    let Some(length) = closing(&expression[open..]) else { return Vec::new() };
    let (before, inside, after) =
        (&expression[..=open], &expression[open + 1..open + length], &expression[open + length..]);
    // A macro's variable stays: `list.all(item, ...)`.
    let (name, body) = match inside.split_once(',') {
        Some((name, body)) if name.chars().all(char::is_alphanumeric) => (format!("{name},"), body),
        _ => (String::new(), inside),
    };
    let within = weaker(body).into_iter().map(|(without, left)| (without, format!("{before}{name} {left}{after}")));
    let mut found: Vec<_> = within.collect();
    found.extend(weaker(&after[1..]).into_iter().map(|(without, left)| (without, format!("{before}{inside}){left}"))));
    found
}

/// Where the bracket at the start closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The operands of an operator that are in no bracket and no quotes.
fn split<'a>(text: &'a str, operator: &str) -> Vec<&'a str> {
    let (mut depth, mut quoted, mut from, mut parts) = (0, false, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 && !quoted && text[at..].starts_with(operator) {
            parts.push(text[from..at].trim());
            from = at + operator.len();
        }
    }
    parts.push(text[from..].trim());
    parts
}

#[test]
fn one_operand_is_taken_out_wherever_it_is() {
    let left: Vec<String> =
        weaker("a || (b && c.all(x, x in y || z == ' || '))").into_iter().map(|(_, left)| left).collect();
    let wanted = [
        "(b && c.all(x, x in y || z == ' || '))",
        "a",
        "a || ( c.all(x, x in y || z == ' || '))",
        "a || ( b)",
        "a || ( b && c.all(x, z == ' || '))",
        "a || ( b && c.all(x, x in y))",
    ];
    assert_eq!(left, wanted);
    assert!(weaker("a in ['b', 'c']").is_empty());
}
