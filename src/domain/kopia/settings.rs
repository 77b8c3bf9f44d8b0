//! Which retention policies and epochs a repository is to have: what differs, and what of it may be set without asking.
//!
//! A count that nobody set is inherited, and whoever changes the policy above changes what goes of everybody's snapshots. So
//! a policy is as wished only if all six counts are its own and these numbers. The global policy and the epochs are
//! everybody's, and a source that is not shown to be this cluster's is somebody else's: those are set by approval only.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::epochs::Epochs;
use super::origin::{self, Defined, Six};
use crate::domain::digest::{Encoding, Hash};
use crate::domain::retention::Policy;

/// The six counts, as a policy of ours and kopia's flags name them.
pub const NAMES: [&str; 6] = ["latest", "hourly", "daily", "weekly", "monthly", "annual"];
/// The global policy's name on a command line and in a status; no source has it, for want of an `@`.
const GLOBAL: &str = "global";

/// What is set: a policy, or the epochs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The policy of everybody who has none of their own.
    Global,
    /// That of one source, `user@host:path`.
    Source(String),
    /// The epochs of the repository's index.
    Epochs,
}

impl Target {
    /// The source, if it is one's.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Global | Self::Epochs => None,
            Self::Source(source) => Some(source),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => GLOBAL,
            Self::Source(source) => source,
            Self::Epochs => "epochs",
        })
    }
}

/// A policy that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whose.
    pub target: Target,
    /// All six counts. Six zeros keep everything, as kopia reads them.
    pub keep: Policy,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [latest, hourly, daily, weekly, monthly, annual] = six(self.keep);
        write!(f, "{}={latest},{hourly},{daily},{weekly},{monthly},{annual}", self.target)
    }
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no TARGET=LATEST,HOURLY,DAILY,WEEKLY,MONTHLY,ANNUAL");
        let (target, counts) = text.split_once('=').ok_or_else(wrong)?;
        let target = match target {
            GLOBAL => Target::Global,
            // Kopia would take one that begins with a dash for an option.
            source if source.contains('@') && !source.starts_with('-') => Target::Source(source.to_owned()),
            _ => return Err(wrong()),
        };
        let counts: Vec<u32> = counts.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let [latest, hourly, daily, weekly, monthly, annual] = counts.try_into().map_err(|_| wrong())?;
        Ok(Self { target, keep: Policy { latest, hourly, daily, weekly, monthly, annual } })
    }
}

/// The counts in kopia's order, which is that of [`NAMES`].
#[must_use]
pub fn six(policy: Policy) -> [u32; 6] {
    let Policy { latest, hourly, daily, weekly, monthly, annual } = policy;
    [latest, hourly, daily, weekly, monthly, annual]
}

/// What is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// These six counts of a policy.
    Policy(Policy),
    /// These parameters; others stay.
    Epochs(Epochs),
}

/// One number of a change, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// Its name.
    pub name: &'static str,
    /// As it is; none: it is not set, so it is inherited or kopia's default.
    pub from: Option<String>,
    /// As it is to be.
    pub to: String,
}

/// What is not as wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub target: Target,
    /// What it is to be.
    pub to: To,
    /// Number by number, those that stay as well.
    pub numbers: Vec<Number>,
    /// It is a source's that is not shown to be this cluster's.
    pub foreign: bool,
}

impl Change {
    /// Whether somebody has to approve it.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.foreign || matches!(self.target, Target::Global | Target::Epochs)
    }

    /// Which numbers change, such as `hourly 48 to 24, annual unset to 0`.
    #[must_use]
    pub fn said(&self) -> String {
        let changed = self.numbers.iter().filter(|one| one.from.as_ref() != Some(&one.to));
        let said = changed.map(|one| format!("{} {} to {}", one.name, shown(one.from.as_ref()), one.to));
        said.collect::<Vec<_>>().join(", ")
    }
}

fn shown(from: Option<&String>) -> &str {
    from.map_or("unset", String::as_str)
}

/// Which policies are not as wished, in the order of the wishes. `foreign` says whether a source is not shown to be this
/// cluster's.
#[must_use]
pub fn changes(wishes: &[Wish], defined: &[Defined], foreign: impl Fn(&str) -> bool) -> Vec<Change> {
    let differs = |wish: &Wish| {
        let Wish { target, keep } = wish;
        let own = origin::own(target.source(), defined);
        let wanted = six(*keep).map(|count| Some(i64::from(count)));
        let from = match own.iter().find(|own| **own != wanted) {
            Some(other) => *other,
            None if own.is_empty() => Six::default(),
            None => return None,
        };
        let counts = NAMES.into_iter().zip(from).zip(six(*keep));
        let number = |((name, from), to): ((&'static str, Option<i64>), u32)| Number {
            name,
            from: from.map(|count| count.to_string()),
            to: to.to_string(),
        };
        let foreign = target.source().is_some_and(&foreign);
        Some(Change { target: target.clone(), to: To::Policy(*keep), numbers: counts.map(number).collect(), foreign })
    };
    wishes.iter().filter_map(differs).collect()
}

/// Which of these parameters are not as wished; none: all of them are.
#[must_use]
pub fn epochs(wanted: &Epochs, now: &Epochs) -> Option<Change> {
    let number = |(name, to): (&super::epochs::Parameter, &u64)| Number {
        name: name.as_str(),
        from: now.get(name).map(|from| name.value(*from)),
        to: name.value(*to),
    };
    let differs = wanted.iter().any(|(name, to)| now.get(name) != Some(to));
    differs.then(|| Change {
        target: Target::Epochs,
        to: To::Epochs(wanted.clone()),
        numbers: wanted.iter().map(number).collect(),
        foreign: false,
    })
}

/// What an approval is of: this repository, and each change that asks for one, from what to what. `before` is when something
/// was last set by an approval: one of old does nothing again when somebody has changed it back.
#[must_use]
pub fn approval(changes: &[Change], unique_id: Option<&str>, before: Option<Timestamp>) -> Option<Hash> {
    let mut plan = Encoding::of("kopia-settings-approval/1");
    plan.optional("uniqueID", unique_id);
    plan.optional("approvedBefore", before);
    let asking: Vec<&Change> = changes.iter().filter(|one| one.asks()).collect();
    for one in &asking {
        plan.field("target", &one.target);
        plan.field("foreign", one.foreign);
        for Number { name, from, to } in &one.numbers {
            plan.field("name", name);
            plan.optional("from", from.as_ref());
            plan.field("to", to);
        }
    }
    (!asking.is_empty()).then(|| plan.hash())
}

/// What came of all wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// So many of them were as wished.
    pub kept: usize,
    /// These were set, and read back.
    pub set: Vec<Change>,
    /// These are set by approval only, and it was not given.
    pub waiting: Vec<Change>,
    /// What it has to be of.
    pub approval: Option<Hash>,
}

impl Settled {
    /// In one line.
    #[must_use]
    pub fn said(&self) -> String {
        let names = |all: &[Change]| {
            let named: Vec<String> = all.iter().map(|one| format!("{}: {}", one.target, one.said())).collect();
            if named.is_empty() { String::new() } else { format!(" ({})", named.join("; ")) }
        };
        let all = self.kept.saturating_add(self.set.len()).saturating_add(self.waiting.len());
        let mut said =
            format!("{} of {all} were as the spec says, {} set{}", self.kept, self.set.len(), names(&self.set));
        if !self.waiting.is_empty() {
            said = format!("{said}, {} more by approval only{}", self.waiting.len(), names(&self.waiting));
        }
        said
    }

    /// Whether something was set that asked for an approval.
    #[must_use]
    pub fn by_approval(&self) -> bool {
        self.set.iter().any(Change::asks)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const APP: &str = "app@ns:/data";

    fn keep(latest: u32) -> Policy {
        Policy { latest, hourly: 1, daily: 2, weekly: 3, monthly: 4, annual: 0 }
    }

    fn wish(target: &str, latest: u32) -> Wish {
        format!("{target}={latest},1,2,3,4,0").parse().unwrap()
    }

    /// A policy as `kopia policy list --json` has it.
    fn policy(target: (&str, &str, &str), counts: &Value) -> Value {
        json!({"target": {"userName": target.0, "host": target.1, "path": target.2}, "retention": counts})
    }

    fn all_six(latest: u32) -> Value {
        json!({"keepLatest": latest, "keepHourly": 1, "keepDaily": 2, "keepWeekly": 3, "keepMonthly": 4, "keepAnnual": 0})
    }

    fn defined(all: &[Value]) -> Vec<Defined> {
        origin::defined(&json!(all).to_string()).unwrap()
    }

    fn ours(_: &str) -> bool {
        false
    }

    #[test]
    fn a_policy_is_as_wished_only_if_all_six_counts_are_its_own() {
        let own = ("app", "ns", "/data");
        let differs = |all: &[Value]| changes(&[wish(APP, 5)], &defined(all), ours);
        assert_eq!(differs(&[policy(own, &all_six(5))]), []);
        let one = |all: &[Value]| differs(all)[0].said();
        assert_eq!(one(&[policy(own, &all_six(6))]), "latest 6 to 5");
        let everything = "latest unset to 5, hourly unset to 1, daily unset to 2, weekly unset to 3, monthly unset to 4, \
                          annual unset to 0";
        assert_eq!(one(&[]), everything);
        // What it would inherit is the same today, and is not its own.
        for above in [("", "", ""), ("", "ns", ""), ("app", "ns", ""), ("app", "ns", "/")] {
            assert_eq!(one(&[policy(above, &all_six(5))]), everything);
        }
        for missing in ["keepLatest", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepAnnual"] {
            let mut five = all_six(5);
            five.as_object_mut().unwrap().remove(missing);
            assert!(one(&[policy(own, &five), policy(("", "", ""), &all_six(5))]).contains(" unset to "), "{missing}");
        }
        // Of two for one target nobody knows which holds.
        assert_eq!(one(&[policy(own, &all_six(5)), policy(own, &all_six(7))]), "latest 7 to 5");
        assert_eq!(differs(&[policy(own, &all_six(5)), policy(own, &all_six(5))]), []);
        assert_eq!(
            one(&[policy(own, &json!({"keepLatest": -1, "keepHourly": 1}))]).split(',').next(),
            Some("latest -1 to 5")
        );
    }

    #[test]
    fn everybodys_and_others_are_set_by_approval_only() {
        let all = changes(&[wish("global", 5), wish(APP, 5), wish("web@x:/data", 5)], &[], |source| source != APP);
        let asks: Vec<(String, bool)> = all.iter().map(|one| (one.target.to_string(), one.asks())).collect();
        let asks: Vec<(&str, bool)> = asks.iter().map(|(target, asks)| (target.as_str(), *asks)).collect();
        assert_eq!(asks, [("global", true), (APP, false), ("web@x:/data", true)]);
    }

    #[test]
    fn epochs_are_everybodys_and_only_those_that_are_named_are_compared() {
        use super::super::epochs::Parameter::{AdvanceOnCount, MinDuration};
        let now = Epochs::from([(MinDuration, 86_400), (AdvanceOnCount, 20)]);
        let one = epochs(&[(MinDuration, 21_600)].into(), &now).unwrap();
        assert_eq!(
            (one.said().as_str(), one.asks(), one.target.to_string()),
            ("min-duration 24h to 6h", true, "epochs".to_owned())
        );
        assert_eq!(one.to, To::Epochs([(MinDuration, 21_600)].into()), "others stay");
        for agrees in [Epochs::new(), [(AdvanceOnCount, 20)].into(), now.clone()] {
            assert_eq!(epochs(&agrees, &now), None);
        }
        let hash = |wanted: Epochs, now: &Epochs| approval(&[epochs(&wanted, now).unwrap()], Some("id"), None);
        let plan = hash([(MinDuration, 21_600)].into(), &now);
        assert_ne!(plan, hash([(MinDuration, 3600)].into(), &now));
        assert_ne!(plan, hash([(MinDuration, 21_600), (AdvanceOnCount, 20)].into(), &now));
        assert_ne!(plan, hash([(MinDuration, 21_600)].into(), &[(MinDuration, 7200)].into()));
        assert_eq!(
            epochs(&now, &Epochs::new()).unwrap().said(),
            "min-duration unset to 24h, advance-on-count unset to 20"
        );
    }

    #[test]
    fn an_approval_is_of_one_change_and_only_once() {
        let change = |target: &str, from: u32, to: u32| {
            let own = if target == "global" { ("", "", "") } else { ("web", "x", "/data") };
            changes(&[wish(target, to)], &defined(&[policy(own, &all_six(from))]), |source| source != APP)
        };
        let hash = |all: &[Change]| approval(all, Some("id"), None);
        let global = change("global", 9, 5);
        let one = hash(&global);
        assert!(one.is_some());
        assert_eq!(hash(&changes(&[wish(APP, 5)], &[], ours)), None, "nobody is asked");
        let with_own = [&changes(&[wish(APP, 5)], &[], ours)[..], &global].concat();
        assert_eq!(one, hash(&with_own), "what asks for none comes and goes");
        let with_foreign = [&global[..], &change("web@x:/data", 9, 5)].concat();
        for other in [change("global", 9, 6), change("global", 8, 5), change("web@x:/data", 9, 5), with_foreign] {
            assert_ne!(one, hash(&other), "{other:?}");
        }
        assert_ne!(one, approval(&global, Some("another"), None));
        assert_ne!(one, approval(&global, Some("id"), Some(Timestamp::UNIX_EPOCH)), "it was used");
        let mut unset = global.clone();
        unset[0].numbers[0].from = None;
        assert_ne!(one, hash(&unset));
    }

    #[test]
    fn a_wish_is_the_same_on_a_command_line() {
        for text in ["global=10,48,7,4,24,3", "app@ns:/data=0,0,0,0,0,0"] {
            assert_eq!(text.parse::<Wish>().unwrap().to_string(), text);
        }
        let wish: Wish = "app@ns:/data=1,2,3,4,5,6".parse().unwrap();
        let keep = Policy { latest: 1, hourly: 2, daily: 3, weekly: 4, monthly: 5, annual: 6 };
        assert_eq!(wish, Wish { target: Target::Source(APP.to_owned()), keep });
        for text in [
            "",
            APP,
            "global=1,2,3,4,5",
            "global=1,2,3,4,5,6,7",
            "global=1,2,3,4,5,-6",
            "global=1,2,3,4,5,",
            "everybody=1,2,3,4,5,6",
            "-p@ns:/data=1,2,3,4,5,6",
        ] {
            assert!(text.parse::<Wish>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_came_of_it_is_told_with_each_count() {
        let change =
            |target: &str| changes(&[wish(target, 5)], &defined(&[policy(("", "", ""), &all_six(9))]), |_| true);
        let settled = Settled { kept: 2, waiting: change("global"), ..Settled::default() };
        assert_eq!(
            settled.said(),
            "2 of 3 were as the spec says, 0 set, 1 more by approval only (global: latest 9 to 5)"
        );
        let settled = Settled { kept: 1, set: change("global"), ..Settled::default() };
        assert_eq!(settled.said(), "1 of 2 were as the spec says, 1 set (global: latest 9 to 5)");
        assert!(settled.by_approval() && settled.set[0].to == To::Policy(keep(5)));
    }
}
