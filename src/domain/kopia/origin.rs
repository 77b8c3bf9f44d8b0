//! Where the counts of a source come from: its own policy, that of its user or host, or the repository's global one.
//!
//! `kopia policy show` tells what holds and not who set it. The global policy is everybody's: whoever changes it for one
//! cluster changes what all the others lose, and a count that nobody set is kopia's own default.

use serde::Deserialize;

use super::expire::Counts;
use super::{Unreadable, read};

/// The policy that somebody set for one target, as far as it counts snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    target: Target,
    /// Nothing is inherited from those above it.
    alone: bool,
    /// Its six counts, from latest to annual; none: it has not that one, and inherits it.
    counts: Six,
}

/// Six counts as kopia has them, from latest to annual; none: that one is not set.
pub type Six = [Option<i64>; 6];

/// Whom a policy is for; the empty one is the global policy's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Target {
    user_name: String,
    host: String,
    path: String,
}

/// Reads `kopia policy list --json`.
///
/// # Errors
/// When it is no such answer.
pub fn defined(text: &str) -> Result<Vec<Defined>, Unreadable> {
    let list: Option<Vec<Wire>> = read("kopia policy list --json", text)?;
    let one = |wire: Wire| {
        let Counts { latest, hourly, daily, weekly, monthly, annual } = wire.retention;
        let counts = [latest, hourly, daily, weekly, monthly, annual];
        Defined { target: wire.target, alone: wire.no_parent, counts }
    };
    Ok(list.unwrap_or_default().into_iter().map(one).collect())
}

/// Whether a count of this source is the global policy's, or nobody's: set neither for the source, nor for a folder above
/// it, nor for its user or host.
#[must_use]
pub fn is_global(source: &str, all: &[Defined]) -> bool {
    let Some(levels) = levels(source) else { return true };
    let mut counts = [false; 6];
    for level in levels {
        let here: Vec<&Defined> = all.iter().filter(|one| one.target == level).collect();
        for (at, count) in counts.iter_mut().enumerate() {
            // Of two policies for one target nobody knows which holds: both have to set it.
            let set = !here.is_empty() && here.iter().all(|one| one.counts.get(at).is_some_and(Option::is_some));
            *count = *count || set;
        }
        if here.iter().any(|one| one.alone) {
            break;
        }
    }
    counts.contains(&false)
}

/// The counts of each policy that this source has itself; without a source, of the global one. There is one at most,
/// unless two programs wrote at the same time.
#[must_use]
pub fn own(source: Option<&str>, all: &[Defined]) -> Vec<Six> {
    let target = match source {
        None => Some(Target::default()),
        Some(source) => levels(source).and_then(|levels| levels.into_iter().next()),
    };
    all.iter().filter(|one| Some(&one.target) == target.as_ref()).map(|one| one.counts).collect()
}

/// Whose policies hold for a source before the global one, the nearest first.
fn levels(source: &str) -> Option<Vec<Target>> {
    let (user, rest) = source.split_once('@')?;
    let (host, path) = rest.split_once(':')?;
    let of =
        |user: &str, path: &str| Target { user_name: user.to_owned(), host: host.to_owned(), path: path.to_owned() };
    let mut levels = vec![of(user, path)];
    let mut path = path;
    while let Some((above, _)) = path.rsplit_once('/').filter(|_| path != "/") {
        path = if above.is_empty() { "/" } else { above };
        levels.push(of(user, path));
    }
    levels.extend([of(user, ""), of("", "")]);
    Some(levels)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    target: Target,
    #[serde(default)]
    retention: Counts,
    #[serde(default)]
    no_parent: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(target: (&str, &str, &str), counts: &[&str]) -> Value {
        let (user, host, path) = target;
        let counts: serde_json::Map<String, Value> =
            counts.iter().map(|name| (format!("keep{name}"), json!(0))).collect();
        json!({
            "id": "1", "target": {"userName": user, "host": host, "path": path},
            "retention": counts, "files": {}, "actions": {},
        })
    }

    const SIX: &[&str] = &["Latest", "Hourly", "Daily", "Weekly", "Monthly", "Annual"];

    fn global(all: &[Value]) -> bool {
        is_global("app@ns:/data/x", &defined(&json!(all).to_string()).unwrap())
    }

    #[test]
    fn counts_are_the_sources_own_if_all_six_are_set_below_the_global_policy() {
        let everybodys = || policy(("", "", ""), SIX);
        assert!(global(&[]) && global(&[everybodys()]), "nobody set any for it");
        for target in
            [("app", "ns", "/data/x"), ("app", "ns", "/data"), ("app", "ns", "/"), ("app", "ns", ""), ("", "ns", "")]
        {
            assert!(!global(&[everybodys(), policy(target, SIX)]), "{target:?}");
        }
        for target in [("db", "ns", "/data/x"), ("app", "other", "/data/x"), ("app", "ns", "/dat"), ("app", "", "")] {
            assert!(global(&[policy(target, SIX)]), "{target:?} is somebody else");
        }
    }

    #[test]
    fn one_count_that_is_missing_is_inherited() {
        let own = ("app", "ns", "/data/x");
        for missing in SIX {
            let five: Vec<&str> = SIX.iter().copied().filter(|one| one != missing).collect();
            assert!(global(&[policy(own, &five), policy(("", "", ""), SIX)]), "{missing}");
            assert!(!global(&[policy(own, &five), policy(("", "ns", ""), &[missing])]), "{missing} is the host's");
        }
        // What inherits nothing has kopia's own defaults, or none.
        let mut alone = policy(own, &["Latest"]);
        alone["noParent"] = json!(true);
        assert!(global(&[alone, policy(("", "ns", ""), SIX)]));
        // Two of one target.
        assert!(global(&[policy(own, SIX), policy(own, &["Latest"])]));
    }

    #[test]
    fn what_a_target_has_itself_is_not_what_it_inherits() {
        let of = |target, count: i64| {
            let mut one = policy(target, &["Latest"]);
            one["retention"]["keepLatest"] = json!(count);
            one
        };
        let list = json!([of(("", "", ""), 10), of(("app", "ns", ""), 2), of(("app", "ns", "/data/x"), 3)]);
        let all = defined(&list.to_string()).unwrap();
        let latest = |count| vec![[Some(count), None, None, None, None, None]];
        assert_eq!((own(None, &all), own(Some("app@ns:/data/x"), &all)), (latest(10), latest(3)));
        for none in ["app@ns:/data", "app@ns", "no source"] {
            assert_eq!(own(Some(none), &all), [] as [Six; 0], "{none}");
        }
    }

    #[test]
    fn what_is_no_such_list_is_not_read() {
        assert_eq!(defined("[\n]").unwrap(), []);
        for text in [
            "",
            "{}",
            "[{}]",
            r#"[{"target": {"userName": 1}}]"#,
            r#"[{"target": {}, "retention": {"keepDaily": "x"}}]"#,
        ] {
            assert!(defined(text).is_err(), "{text}");
        }
        assert!(is_global("no source", &defined(&json!([policy(("", "ns", ""), SIX)]).to_string()).unwrap()));
    }
}
