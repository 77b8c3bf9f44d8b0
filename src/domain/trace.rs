//! An episode as a trace: one span for the episode, and beneath it one for each step that was tried.
//!
//! Pure, and of the record alone, with ids that come from its name: whoever tells an episode, and however often, tells
//! the same trace. The failure this exists to prevent is a second trace of one episode after a failover.

use jiff::Timestamp;

use super::digest::Encoding;
use super::guard::Verdict;
use super::ledger::{Attempt, Outcome, Phase, Record};

/// How many hexadecimal digits a span's id has; a trace's has all of a hash.
const SPAN_DIGITS: usize = 16;

/// A value beside a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Words.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A number.
    Count(i64),
}

/// A name with its value.
pub type Attribute = (&'static str, Value);

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What.
    pub name: &'static str,
    /// When.
    pub at: Timestamp,
    /// More of it.
    pub attributes: Vec<Attribute>,
}

/// One span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its id: 16 hexadecimal digits.
    pub id: String,
    /// Its parent's; the episode's span has none.
    pub parent: Option<String>,
    /// What is shown of it.
    pub name: String,
    /// Its beginning.
    pub start: Timestamp,
    /// Its end; never before its beginning.
    pub end: Timestamp,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// More of it.
    pub attributes: Vec<Attribute>,
    /// What happened meanwhile.
    pub moments: Vec<Moment>,
}

/// The trace of one episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// The episode's span first, then the steps in their order.
    pub spans: Vec<Span>,
}

/// The trace of an episode that is over; `None` while it is not.
#[must_use]
pub fn of(record: &Record) -> Option<Trace> {
    let finished = record.finished.filter(|_| record.phase.is_over())?;
    let root = span_id(record, "episode");
    let steps = record.attempts.iter().map(|attempt| step(record, attempt, &root, finished));
    let spans = std::iter::once(episode(record, root.clone(), finished)).chain(steps).collect();
    Some(Trace { id: encoding("volwarden-trace/1", record).hash().as_str().to_owned(), spans })
}

fn encoding(what: &str, record: &Record) -> Encoding {
    let mut encoding = Encoding::of(what);
    encoding.field("remediation", &record.name);
    encoding.optional("uid", record.uid.as_ref());
    encoding
}

fn span_id(record: &Record, which: &str) -> String {
    let mut encoding = encoding("volwarden-span/1", record);
    encoding.field("span", which);
    encoding.hash().as_str().chars().take(SPAN_DIGITS).collect()
}

fn text(name: &'static str, value: &(impl ToString + ?Sized)) -> Attribute {
    (name, Value::Text(value.to_string()))
}

fn episode(record: &Record, id: String, finished: Timestamp) -> Span {
    let key = &record.subject.key;
    let mut attributes = vec![
        text("volwarden.class", &record.class),
        text("volwarden.remediation", &record.name),
        text("volwarden.driver", &record.driver),
        text("volwarden.subject.kind", &record.subject.kind),
        text("volwarden.subject.name", &key.name),
        text("volwarden.stuck.since", &record.since),
        text("volwarden.outcome", record.phase.as_str()),
        text("volwarden.message", &record.message),
        ("volwarden.leaks", Value::Flag(record.plan.as_ref().is_some_and(|plan| plan.leaks))),
        ("volwarden.destroys", Value::Flag(record.plan.as_ref().is_some_and(|plan| plan.destroys))),
    ];
    if !key.namespace.is_empty() {
        attributes.push(text("volwarden.subject.namespace", &key.namespace));
    }
    attributes.extend(record.uid.as_ref().map(|uid| text("volwarden.subject.uid", uid)));
    attributes.extend(record.orphan.as_ref().map(|orphan| text("volwarden.orphan", orphan)));
    let start = record.opened.min(finished);
    Span {
        id,
        parent: None,
        name: format!("episode {}", record.class),
        start,
        end: finished,
        failed: (record.phase == Phase::Failed).then(|| record.message.clone()),
        attributes,
        moments: moments(record, start, finished),
    }
}

/// The approval, and what held the last step when it was last judged: the record has no other moments.
fn moments(record: &Record, start: Timestamp, finished: Timestamp) -> Vec<Moment> {
    let within = |at: Timestamp| at.clamp(start, finished);
    let approved = record.approval.iter().map(|approval| Moment {
        name: "approved",
        at: within(approval.at),
        attributes: vec![text("volwarden.plan", approval.hash.as_str()), text("volwarden.expires", &approval.expires)],
    });
    let held = record.verdicts.iter().filter_map(|(guard, verdict)| match verdict {
        Verdict::Allow => None,
        Verdict::Wait { reason, .. } | Verdict::Refuse { reason } => Some(Moment {
            name: "held",
            at: finished,
            attributes: vec![text("volwarden.guard", guard), text("volwarden.reason", reason)],
        }),
    });
    approved.chain(held).collect()
}

fn step(record: &Record, attempt: &Attempt, root: &str, finished: Timestamp) -> Span {
    let mut attributes = vec![
        text("volwarden.rung", &attempt.step),
        ("volwarden.attempt", Value::Count(attempt.number.into())),
        text("volwarden.target", &attempt.target),
        text("volwarden.outcome", attempt.outcome.as_str()),
        text("volwarden.message", &attempt.message),
    ];
    attributes.extend(attempt.helped.map(|helped| ("volwarden.helped", Value::Flag(helped))));
    let failed = attempt.outcome != Outcome::Applied || attempt.helped == Some(false);
    Span {
        id: span_id(record, &format!("attempt {}", attempt.number)),
        parent: Some(root.to_owned()),
        name: attempt.step.to_string(),
        start: attempt.at,
        end: attempt.ended.unwrap_or(finished).max(attempt.at),
        failed: failed.then(|| attempt.message.clone()),
        attributes,
        moments: Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::digest::Hash;
    use crate::domain::finding::{Class, Subject};
    use crate::domain::guard::Guard;
    use crate::domain::ledger::{Approval, Plan};
    use crate::domain::name::{Key, Uid};
    use crate::domain::record::Kind;
    use crate::domain::remedy::Step;
    use crate::domain::remedy::action::{Target, TargetKind};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + second).unwrap()
    }

    fn target() -> Target {
        Target {
            kind: TargetKind::Content,
            key: Key::cluster("snapcontent-1"),
            uid: Uid::parse("5e1c8fbe-6af3-4e03-a08e-8633a9294d26"),
            version: "7".into(),
        }
    }

    /// An episode of two steps, the first in vain.
    pub(crate) fn ended() -> Record {
        let attempt = |number, step, from, until, helped| Attempt {
            number,
            step,
            target: target(),
            at: at(from),
            outcome: Outcome::Applied,
            helped: Some(helped),
            message: if helped { "it is gone" } else { "no success within 180s" }.to_owned(),
            ended: Some(at(until)),
        };
        Record {
            name: "missed-event-5e1c8fbe-1".into(),
            version: "9".into(),
            subject: Subject::new(Kind::VolumeSnapshotContent, Key::cluster("snapcontent-1")),
            uid: Some(target().uid),
            class: Class::MissedEvent,
            driver: "csi.example.com".into(),
            since: at(-600),
            evidence: Vec::new(),
            opened: at(0),
            phase: Phase::Done,
            message: "it is gone".to_owned(),
            plan: Some(Plan {
                hash: Hash::written("0123"),
                step: Step::RemoveRetainedFinalizer,
                summary: "remove".to_owned(),
                policies: vec![Arc::from("default")],
                target: target(),
                leaks: true,
                destroys: false,
                handle: None,
            }),
            verdicts: Vec::new(),
            approved: None,
            approval: Some(Approval { hash: Hash::written("0123"), at: at(200), expires: at(3800) }),
            intent: None,
            attempts: vec![
                attempt(1, Step::Nudge, 10, 190, false),
                attempt(2, Step::RemoveRetainedFinalizer, 210, 215, true),
            ],
            orphan: Some("orphan-1".into()),
            finished: Some(at(215)),
        }
    }

    fn value<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
        span.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    #[test]
    fn an_episode_is_one_span_with_its_steps_beneath() {
        let trace = of(&ended()).unwrap();
        let shown: Vec<_> =
            trace.spans.iter().map(|span| (span.name.as_str(), span.start, span.end, span.failed.is_some())).collect();
        assert_eq!(
            shown,
            [
                ("episode MissedEvent", at(0), at(215), false),
                ("Nudge", at(10), at(190), true),
                ("RemoveRetainedFinalizer", at(210), at(215), false),
            ]
        );
        let [root, steps @ ..] = trace.spans.as_slice() else { panic!("no span") };
        assert_eq!(root.parent, None);
        assert!(steps.iter().all(|span| span.parent.as_deref() == Some(&*root.id)));
        for (name, due) in [
            ("volwarden.class", Value::Text("MissedEvent".to_owned())),
            ("volwarden.subject.kind", Value::Text("VolumeSnapshotContent".to_owned())),
            ("volwarden.driver", Value::Text("csi.example.com".to_owned())),
            ("volwarden.outcome", Value::Text("Done".to_owned())),
            ("volwarden.leaks", Value::Flag(true)),
            ("volwarden.remediation", Value::Text("missed-event-5e1c8fbe-1".to_owned())),
            ("volwarden.orphan", Value::Text("orphan-1".to_owned())),
        ] {
            assert_eq!(value(root, name), Some(&due), "{name}");
        }
        assert_eq!(value(&steps[0], "volwarden.outcome"), Some(&Value::Text("Applied".to_owned())));
        assert_eq!(value(&steps[0], "volwarden.helped"), Some(&Value::Flag(false)));
        assert_eq!(root.moments.iter().map(|one| (one.name, one.at)).collect::<Vec<_>>(), [("approved", at(200))]);
    }

    #[test]
    fn whoever_tells_an_episode_tells_the_same_trace_and_no_two_share_one() {
        let record = ended();
        let trace = of(&record).unwrap();
        // Another replica reads it back with another version, and judges it anew.
        let again = Record { version: "12".into(), verdicts: vec![(Guard::Mode, Verdict::Allow)], ..record.clone() };
        assert_eq!(of(&again).unwrap(), trace);

        let other = of(&Record { name: "missed-event-5e1c8fbe-2".into(), ..record }).unwrap();
        assert_ne!(other.id, trace.id);
        let ids = trace.spans.iter().chain(&other.spans).map(|span| &span.id);
        assert_eq!(ids.clone().collect::<std::collections::BTreeSet<_>>().len(), ids.clone().count());
        assert!(trace.id.len() == 32 && ids.clone().all(|id| id.len() == 16));
        assert!(ids.chain([&trace.id]).all(|id| id.chars().all(|c| c.is_ascii_hexdigit())));
    }

    #[test]
    fn what_is_not_over_has_no_trace_and_no_span_ends_before_it_begins() {
        let record = ended();
        for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_over()) {
            assert_eq!(of(&Record { phase, ..record.clone() }), None, "{}", phase.as_str());
        }
        assert_eq!(of(&Record { finished: None, ..record.clone() }), None);
        // Clocks of two replicas apart, and an attempt whose end nobody wrote down.
        let mut odd = Record { opened: at(300), ..record };
        odd.attempts[1].ended = None;
        odd.attempts[0].ended = Some(at(5));
        assert!(of(&odd).unwrap().spans.iter().all(|span| span.start <= span.end));
    }

    #[test]
    fn a_failure_says_why_and_what_held_the_last_step_is_told() {
        let wait = Verdict::Wait { until: None, reason: "policy default is paused".to_owned() };
        let failed = Record {
            phase: Phase::Failed,
            message: "no success within 180s".to_owned(),
            verdicts: vec![(Guard::Synced, Verdict::Allow), (Guard::Paused, wait)],
            ..ended()
        };
        let root = of(&failed).unwrap().spans.remove(0);
        assert_eq!(root.failed.as_deref(), Some("no success within 180s"));
        let held: Vec<&Moment> = root.moments.iter().filter(|moment| moment.name == "held").collect();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].attributes[0], ("volwarden.guard", Value::Text("paused".to_owned())));
    }
}
