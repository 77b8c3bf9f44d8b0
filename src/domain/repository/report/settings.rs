//! What a Job says of the policies and epochs that it was to set.

use serde::{Deserialize, Serialize};

use super::{ASKING, Report, number};
use crate::domain::kopia::settings::{Change, Settled};
use crate::domain::repository::Task;

/// Why there is nothing to approve, though something waits for it.
pub(super) const UNSHOWN: &str =
    "more changes ask for an approval than can be shown: name fewer sources of others in spec.retention";

/// What became of policies and epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// So many were as the spec says.
    pub kept: u64,
    /// These were set, and read back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Difference>,
    /// One of those that were set asked for an approval, and had it.
    pub by_approval: bool,
    /// What waits for an approval, if anything does and all of it can be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Consent>,
}

/// Changes that are made by approval only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Consent {
    /// What it has to be of.
    pub plan: String,
    /// What is to be set.
    pub changes: Vec<Difference>,
}

/// What is, or was, not as the spec says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Difference {
    /// What: the policy of `global` or of a source, or `epochs`.
    pub target: String,
    /// Which numbers, from what to what.
    pub change: String,
}

impl Settings {
    fn of(settled: &Settled) -> Self {
        let shown = |all: &[Change]| {
            all.iter().map(|one| Difference { target: one.target.to_string(), change: one.said() }).collect()
        };
        let approval = settled.approval.as_ref().filter(|_| settled.waiting.len() <= ASKING);
        Self {
            kept: number(settled.kept),
            set: shown(&settled.set),
            by_approval: settled.by_approval(),
            approval: approval.map(|plan| Consent { plan: plan.as_str().to_owned(), changes: shown(&settled.waiting) }),
        }
    }
}

/// What was changed in the very way in which it had been changed before: somebody has set it back in between.
#[must_use]
pub fn again<'a>(before: &[Difference], set: &'a [Difference]) -> Vec<&'a str> {
    set.iter().filter(|one| before.contains(one)).map(|one| one.target.as_str()).collect()
}

impl Report {
    /// What became of policies.
    #[must_use]
    pub fn settled(settled: &Settled) -> Self {
        Self::happened(Task::Settings, settled.said()).with_settings(settled)
    }

    /// The same of a run that failed after some were set.
    #[must_use]
    pub fn with_settings(mut self, settled: &Settled) -> Self {
        let settings = Settings::of(settled);
        if settings.approval.is_none() && settled.approval.is_some() {
            self.said = format!("{UNSHOWN}; {}", self.said);
        }
        self.settings = Some(settings);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::MOST;
    use super::*;
    use crate::domain::kopia::settings::{approval, changes};

    fn waiting(count: usize, length: usize) -> Settled {
        let wishes: Vec<_> =
            (0..count).map(|n| format!("{}{n}@x:/data=1,2,3,4,5,6", "a".repeat(length)).parse().unwrap()).collect();
        let waiting = changes(&wishes, &[], |_| true);
        let approval = approval(&waiting, Some("id"), None);
        Settled { waiting, approval, ..Settled::default() }
    }

    #[test]
    fn what_waits_is_named_with_each_count_or_cannot_be_approved() {
        let read = |settled: &Settled| {
            let line = Report::settled(settled).line();
            assert!(line.len() <= MOST, "{line}");
            Report::parse(&line, Task::Settings).unwrap()
        };
        let consent = |report: &Report| report.settings.as_ref().unwrap().approval.clone();
        let few = read(&waiting(3, 5));
        let shown = consent(&few).unwrap();
        assert_eq!(shown.changes.len(), 3);
        assert!(shown.changes[0].change.starts_with("latest unset to 1, hourly unset to 2"), "{shown:?}");
        for (count, length) in [(65, 1), (40, 60)] {
            let many = read(&waiting(count, length));
            assert!(consent(&many).is_none() && many.said.starts_with(UNSHOWN), "{}", many.said);
        }
    }

    #[test]
    fn only_the_same_change_of_the_same_policy_was_set_back() {
        let one = |target: &str, change: &str| Difference { target: target.to_owned(), change: change.to_owned() };
        let before = [one("a@x:/data", "latest 5 to 10"), one("global", "latest 5 to 10")];
        assert_eq!(again(&before, &before), ["a@x:/data", "global"]);
        let other = [one("a@x:/data", "latest 4 to 10"), one("b@x:/data", "latest 5 to 10")];
        assert!(again(&before, &other).is_empty(), "another change, another source");
        assert!(again(&before, &[]).is_empty() && again(&[], &before).is_empty());
    }

    #[test]
    fn what_was_set_before_a_failure_is_told_all_the_same() {
        let Settled { waiting: set, .. } = waiting(1, 3);
        let settled = Settled { kept: 2, set, ..Settled::default() };
        let report = Report::unclear(Task::Settings, "kopia was ended").with_settings(&settled);
        let settings = Report::parse(&report.line(), Task::Settings).unwrap().settings.unwrap();
        assert_eq!((settings.kept, settings.set.len(), settings.by_approval), (2, 1, true));
        assert_eq!(settings.approval, None);
    }
}
