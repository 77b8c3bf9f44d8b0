//! How a policy stands: what it governs, what it is at odds with, and why it may be doing nothing. For its status.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Policies, Policy};
use crate::domain::fence::Fence;
use crate::domain::ledger::{Phase, Record};

/// What a policy's object said of itself when it was last read. Nothing is decided by it; it tells whether there is
/// anything new to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The object's version.
    pub version: Box<str>,
    /// Its generation.
    pub generation: i64,
    /// [`fingerprint`](crate::domain::name::fingerprint) of its status.
    pub print: u64,
    /// The conditions in it.
    pub conditions: Vec<Stated>,
}

/// Reason of a policy under which nothing is done for want of a fence.
pub const UNFENCED: &str = "Unfenced";

/// A condition as it was stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// What it is about.
    pub about: Box<str>,
    /// Whether it held; `None`: it could not be told.
    pub holds: Option<bool>,
    /// Why, in one word.
    pub reason: Box<str>,
    /// Since when.
    pub since: Timestamp,
}

/// The floors that hold for a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The driver.
    pub driver: Arc<str>,
    /// Its floors and where they come from, in words.
    pub text: String,
    /// The policy raised one.
    pub raised: bool,
}

/// How a policy stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Episodes that a guard holds, or that wait for an approval.
    pub held: u32,
    /// Episodes in which a step is being taken or verified.
    pub acting: u32,
    /// Episodes that ended well.
    pub done: u32,
    /// Episodes that failed.
    pub failed: u32,
    /// Names of the policies it is at odds with.
    pub conflicts: Vec<Arc<str>>,
    /// Why it does nothing now, and until when.
    pub paused: Option<(String, Option<Timestamp>)>,
    /// The floors of its drivers.
    pub floors: Vec<Floor>,
    /// What was last heard of the fence.
    pub fence: Option<Fence>,
    /// Why nothing is done for want of a fence.
    pub unfenced: Option<String>,
}

impl Standing {
    /// How one of all policies stands; an episode is governed by the policies its plan was decided under.
    #[must_use]
    pub fn of<'a>(
        policy: &Policy,
        all: &Policies,
        records: impl IntoIterator<Item = &'a Record>,
        now: Timestamp,
    ) -> Self {
        let mut standing = Self { conflicts: all.conflicts(policy), paused: paused(policy, now), ..Self::default() };
        for record in records {
            let governed = record.plan.as_ref().is_some_and(|plan| plan.policies.contains(policy.name()));
            if !governed {
                continue;
            }
            let count = match record.phase {
                Phase::Held | Phase::AwaitingApproval => &mut standing.held,
                Phase::Acting | Phase::Verifying => &mut standing.acting,
                Phase::Done => &mut standing.done,
                Phase::Failed => &mut standing.failed,
                Phase::Lapsed => continue,
            };
            *count = count.saturating_add(1);
        }
        standing
    }
}

fn paused(policy: &Policy, now: Timestamp) -> Option<(String, Option<Timestamp>)> {
    let spec = policy.spec();
    if spec.suspended {
        return Some(("it is suspended (spec.suspend)".to_owned(), None));
    }
    let pause = spec.pause.as_ref().filter(|pause| pause.until > now)?;
    Some((pause.reason.to_string(), Some(pause.until)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Hash;
    use crate::domain::finding::{Class, Finding, Repair, Rung, Subject};
    use crate::domain::ledger::Plan;
    use crate::domain::name::{Key, Uid};
    use crate::domain::policy::{Mode, Pause, Spec};
    use crate::domain::record::Kind;
    use crate::domain::remedy::Step;
    use crate::domain::remedy::action::{Target, TargetKind};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn record(name: &str, phase: Phase, policies: &[&str]) -> Record {
        let finding = Finding {
            class: Class::MissedEvent,
            subject: Subject::new(Kind::VolumeSnapshotContent, Key::cluster(name)),
            uid: Some(Uid::parse(name)),
            driver: Some("d".into()),
            cause: None,
            since: at(0),
            summary: String::new(),
            evidence: Vec::new(),
            leaks: false,
            destroys: false,
            unverified: false,
            repair: Repair { rung: Rung::Nudge, text: String::new() },
        };
        let mut record = Record::open(&finding, &"d".into(), at(0));
        record.phase = phase;
        record.plan = (!policies.is_empty()).then(|| Plan {
            hash: Hash::written("h"),
            step: Step::Nudge,
            summary: String::new(),
            policies: policies.iter().map(|name| Arc::from(*name)).collect(),
            target: Target {
                kind: TargetKind::Content,
                key: Key::cluster(name),
                uid: Uid::parse(name),
                version: "1".into(),
            },
            leaks: false,
            destroys: false,
            handle: None,
        });
        record
    }

    #[test]
    fn it_counts_the_episodes_whose_plan_it_governs() {
        use Phase::{Acting, AwaitingApproval, Done, Failed, Held, Lapsed, Verifying};
        let ours = [Held, AwaitingApproval, Acting, Verifying, Verifying, Done, Failed, Failed, Lapsed];
        let mut records: Vec<Record> =
            ours.into_iter().enumerate().map(|(at, phase)| record(&format!("r{at}"), phase, &["other", "p"])).collect();
        records.push(record("another's", Held, &["other"]));
        records.push(record("not planned yet", Held, &[]));
        let policy = Policy::new("p", Spec::default());
        let standing = Standing::of(&policy, &Policies::default(), &records, at(0));
        assert_eq!((standing.held, standing.acting, standing.done, standing.failed), (2, 3, 1, 2));
    }

    #[test]
    fn it_says_why_it_does_nothing_and_with_whom_it_is_at_odds() {
        let pause = Pause { reason: "upgrade".into(), until: at(10) };
        let one = Policy::new("one", Spec { pause: Some(pause), ..Spec::default() });
        let two = Policy::new("two", Spec { suspended: true, ..Spec::default() });
        let three = Policy::new("three", Spec { suspended: true, mode: Mode::Approve, ..Spec::default() });
        let mut all = Policies::default();
        for policy in [&one, &two, &three] {
            all.put(policy.clone());
        }
        let standing = |policy: &Policy, minute| Standing::of(policy, &all, [], at(minute));
        assert_eq!(standing(&one, 9).paused, Some(("upgrade".to_owned(), Some(at(10)))));
        assert_eq!(standing(&one, 10).paused, None, "a pause ends by itself");
        let (why, until) = standing(&two, 9).paused.unwrap();
        assert!(why.contains("spec.suspend") && until.is_none());
        assert_eq!(standing(&two, 0).conflicts, [Arc::from("one"), Arc::from("three")]);
    }
}
