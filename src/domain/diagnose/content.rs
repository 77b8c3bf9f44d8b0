//! VolumeSnapshotContents: why one that is being deleted is still there, and what is wrong with a live one.
//!
//! [`RULES`] is the order of evaluation; the first that matches decides. The order is what keeps a content
//! whose deletion would leak or destroy a backend snapshot from being taken for one that merely hangs.

use std::time::Duration;

use jiff::Timestamp;

use super::{Context, Diagnosis, Draft, Floor, SnapshotState, deletion, finalizers, get_snapshot, spare};
use crate::domain::components::{Health, View};
use crate::domain::fact::{Probe, Source};
use crate::domain::finding::{Cause, Class, Rung, Subject, Verdict};
use crate::domain::logline::Attempt;
use crate::domain::memory::Log;
use crate::domain::name::Key;
use crate::domain::record::{Content, ContentSource, DeletionPolicy, EventRecord, Kind, SecretName};
use crate::domain::timing::Timing;
use crate::domain::words;

/// The csi-snapshotter's own finalizer on a content.
pub const OWN_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
/// Message of the deletion error event when the secret could not be read.
const NO_CREDENTIALS: &str = "Failed to get snapshot credentials";

/// The rules for a content that is being deleted, in order.
const RULES: [fn(&Case<'_>) -> Option<Diagnosis>; 14] = [
    group_member,
    foreign_finalizer,
    still_creating,
    unmarked,
    driver_mismatch,
    driver_unknown,
    deleted_not_released,
    driver_gone,
    secret_missing,
    operation_locked,
    backend_error,
    retrying,
    missed_event,
    unexplained,
];

/// A content being deleted, with everything its rules look at.
struct Case<'a> {
    context: &'a Context<'a>,
    subject: Subject,
    content: &'a Content,
    view: Option<&'a View>,
    timing: Timing,
    since: Timestamp,
    age: Duration,
}

/// Diagnoses one content.
#[must_use]
pub fn diagnose(context: &Context<'_>, key: &Key) -> Diagnosis {
    let Some(content) = context.world.contents.get(key) else { return Diagnosis::not_found() };
    let subject = Subject::new(Kind::VolumeSnapshotContent, key.clone());
    let Some((since, age)) = deletion(&content.meta, context.now) else {
        return spare::live_content(context, &subject, content);
    };
    let view = context.driver(&content.driver);
    let timing = context.timing(view);
    let case = Case { context, subject, content, view, timing, since, age };
    let mut diagnosis = RULES.iter().find_map(|rule| rule(&case)).unwrap_or_else(|| case.waiting());
    if case.age >= case.timing.nudge_floor() || case.error_event().is_some() {
        diagnosis = diagnosis.wanting(case.log_probe());
    }
    diagnosis
}

impl<'a> Case<'a> {
    fn draft(&self, class: Class, summary: impl Into<String>) -> Draft {
        let lines = describe(self.content, self.since, self.age);
        Draft::new(class, self.since, summary).evidence(lines).caused_by(self.driver_cause())
    }

    fn settle(&self, floor: Floor, draft: Draft) -> Diagnosis {
        let driver = Some(&self.content.driver);
        let mut diagnosis = self.context.settle(&self.subject, &self.content.meta, driver, floor, draft);
        if let Verdict::Normal { summary, until } = &mut diagnosis.verdict {
            let due = until.map_or_else(
                || "; a surer look is under way".to_owned(),
                |at| format!("; this is normal until {}", words::clock(at)),
            );
            *summary = format!("being deleted for {}{due}; if it lasts: {summary}", words::short(self.age));
        }
        diagnosis
    }

    /// No rule matches (yet).
    fn waiting(&self) -> Diagnosis {
        let floor = self.timing.general_floor();
        let until = self.since.checked_add(floor).ok();
        let due = until.map_or_else(String::new, |at| words::clock(at));
        Diagnosis {
            verdict: Verdict::Normal {
                summary: format!(
                    "being deleted for {}: normal; the driver {} has until {due} ({})",
                    words::short(self.age),
                    self.content.driver,
                    self.view.map_or("the sidecar's documented defaults", |view| &view.timing_from),
                ),
                until,
            },
            shape: None,
            recheck: self.next_floor().map(|wait| self.context.now.mono + wait),
            wants: Vec::new(),
        }
    }

    /// Time until the next floor: a rule may match then.
    fn next_floor(&self) -> Option<Duration> {
        [self.timing.short_floor(), self.timing.nudge_floor(), self.timing.general_floor()]
            .into_iter()
            .filter_map(|floor| floor.checked_sub(self.age).filter(|wait| !wait.is_zero()))
            .min()
    }

    fn driver_cause(&self) -> Option<Cause> {
        self.context.driver_cause(&self.content.driver)
    }

    fn holds_own_finalizer(&self) -> bool {
        self.content.meta.has_finalizer(OWN_FINALIZER)
    }

    /// The newest deletion error event of this very object.
    fn error_event(&self) -> Option<&'a EventRecord> {
        let events = self.context.world.events(Kind::VolumeSnapshotContent, &self.subject.key, &self.content.meta.uid);
        events.into_iter().rfind(|event| matches!(&*event.reason, "SnapshotDeleteError" | "GroupSnapshotDeleteError"))
    }

    fn log(&self) -> Option<&'a Log> {
        let source = self.view?.log.as_ref()?;
        self.context.memory.log(&source.pod, &source.uid)
    }

    /// The newest failure that the sidecar's log tells of this content.
    fn attempt(&self) -> Option<&'a Attempt> {
        match self.log()? {
            Log::Read { attempts, .. } => {
                attempts.get(&self.subject.key.name).filter(|attempt| attempt.at.is_none_or(|at| at >= self.since))
            }
            Log::Forbidden | Log::Failed(_) => None,
        }
    }

    fn log_probe(&self) -> Option<Probe> {
        let source = self.view?.log.as_ref()?;
        Some(Probe::Log { pod: source.pod.clone(), uid: source.uid.clone(), container: source.container.clone() })
    }

    /// When the newest failure was, by event or log.
    fn last_failure(&self) -> Option<Timestamp> {
        let event = self.error_event().and_then(|event| event.last);
        let attempt = self.attempt().and_then(|attempt| attempt.at);
        event.max(attempt)
    }

    /// The newest failure is recent enough for another try to be on its way.
    fn retries(&self) -> bool {
        let stuck =
            self.context.components.failing.get(&self.content.driver).map_or(0, std::collections::BTreeSet::len);
        let window = self.timing.retry_window(u32::try_from(stuck).unwrap_or(u32::MAX));
        self.last_failure().is_some_and(|at| words::age(self.context.now.wall, at) <= window)
    }

    fn failure_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(event) = self.error_event() {
            let last = event.last.map_or_else(String::new, |at| format!(", last at {at}"));
            lines.push(format!("Event {}: \"{}\", seen {} times{last}", event.reason, event.message, event.count));
        }
        if let Some(attempt) = self.attempt() {
            let at = attempt.at.map_or_else(String::new, |at| format!(" at {at}"));
            let code = if attempt.code.is_empty() { "no gRPC code" } else { &attempt.code };
            lines.push(format!("csi-snapshotter's log{at}: {code}, {} in a row: {}", attempt.in_a_row, attempt.words));
        }
        lines
    }
}

/// The object in words.
fn describe(content: &Content, since: Timestamp, age: Duration) -> Vec<String> {
    let yes = |set: bool| if set { "set" } else { "not set" };
    let status = match &content.status {
        None => "absent: no driver ever answered".to_owned(),
        Some(status) if status.emptied() => "emptied: the driver has confirmed the deletion".to_owned(),
        Some(status) => {
            let handle = status.handle.as_ref().map_or_else(
                || "no snapshotHandle".to_owned(),
                |handle| format!("snapshotHandle {}", handle.text.as_deref().unwrap_or("set")),
            );
            format!(
                "{handle}, readyToUse {}",
                status.ready.map_or("absent", |ready| if ready { "true" } else { "false" })
            )
        }
    };
    vec![
        format!("deletionTimestamp {since}, {} ago; finalizers: {}", words::short(age), finalizers(&content.meta)),
        format!(
            "annotations: being-deleted {}, being-created {}; deletionPolicy {:?}",
            yes(content.being_deleted),
            yes(content.being_created),
            content.policy
        ),
        format!("status: {status}"),
    ]
}

fn group_member(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.content.in_group {
        return None;
    }
    let summary = "a member of a group snapshot: the driver deletes it with its VolumeGroupSnapshot only";
    let draft = case.draft(Class::GroupMember, summary).repair(
        Rung::Report,
        "delete the VolumeGroupSnapshot it belongs to (kubectl get volumegroupsnapshots -A), not the member",
    );
    Some(case.settle(Floor::age(case.timing.nudge_floor()), draft))
}

fn foreign_finalizer(case: &Case<'_>) -> Option<Diagnosis> {
    if case.holds_own_finalizer() || case.content.meta.finalizers.is_empty() {
        return None;
    }
    let names = finalizers(&case.content.meta);
    let emptied = case.content.status.as_ref().is_some_and(super::super::record::ContentStatus::emptied);
    let backend = if emptied {
        "the backend snapshot is already gone (the driver emptied the status)"
    } else if case.content.handle().is_some() && case.content.policy == DeletionPolicy::Delete {
        "csi-snapshotter's own finalizer is gone while the status still has a handle: if somebody removed it by hand, \
         the backend snapshot is left behind"
    } else {
        "csi-snapshotter has let go of it"
    };
    let draft = case
        .draft(Class::ForeignFinalizer, format!("held only by finalizers of somebody else: {names}"))
        .evidence([backend.to_owned()])
        .caused_by(None)
        .repair(
            Rung::Report,
            format!("find the controller that owns {names} and let it finish; Volwarden never removes it"),
        );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

fn still_creating(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.content.being_created {
        return None;
    }
    let error = case.content.status.as_ref().and_then(|status| status.error.as_ref());
    let draft = case
        .draft(
            Class::StillCreating,
            "the driver still owes the answer to its creation; until it answers nothing is deleted",
        )
        .evidence(error.map(|error| format!("status.error: {}", error.message)))
        .evidence(case.failure_lines())
        .repair(
            Rung::Nudge,
            "let csi-snapshotter learn the handle first: mend the driver, then nudge; removing the finalizer now would \
             leave a backend snapshot nobody knows",
        );
    Some(case.settle(Floor::age(case.timing.nudge_floor()), draft))
}

/// Deleted, bound to a VolumeSnapshot, and nobody told the driver: the sidecar will not touch it.
fn unmarked(case: &Case<'_>) -> Option<Diagnosis> {
    if case.content.being_deleted {
        return None;
    }
    match case.context.snapshot_of(case.content) {
        SnapshotState::Unbound => None,
        SnapshotState::Lives(_) => Some(awaiting_snapshot(case)),
        SnapshotState::Gone(words) => Some(orphaned(case, words, false)),
        SnapshotState::Unconfirmed => {
            let probe = get_snapshot(&case.content.snapshot.key);
            let doubt =
                format!("VolumeSnapshot {} is not listed; a live GET has not confirmed it", case.content.snapshot.key);
            Some(orphaned(case, doubt, true).wanting([probe]))
        }
        SnapshotState::Unknown(doubt) => {
            let summary =
                format!("whether its VolumeSnapshot {} lives cannot be told: {doubt}", case.content.snapshot.key);
            let draft = case
                .draft(Class::Unexplained, summary)
                .unverified(true)
                .repair(Rung::Report, "let Volwarden read VolumeSnapshots; nothing is done on a guess");
            let probe = get_snapshot(&case.content.snapshot.key);
            Some(case.settle(Floor::age(case.timing.short_floor()), draft).wanting([probe]))
        }
    }
}

fn awaiting_snapshot(case: &Case<'_>) -> Diagnosis {
    let key = &case.content.snapshot.key;
    let draft = case
        .draft(
            Class::AwaitingSnapshot,
            format!("deleted by hand while its VolumeSnapshot {key} lives; it waits for that by design"),
        )
        .caused_by(case.context.cause(Kind::VolumeSnapshot, key))
        .repair(
            Rung::Report,
            format!("delete VolumeSnapshot {key} if it is meant to go; otherwise nothing is wrong with the driver"),
        );
    case.settle(Floor::age(case.timing.short_floor()), draft)
}

fn orphaned(case: &Case<'_>, how: String, unverified: bool) -> Diagnosis {
    let content = case.content;
    let doubts = doubtful_shape(case);
    let kept = content.policy == DeletionPolicy::Retain;
    let text = if kept {
        "add the annotation being-deleted: the object goes, the backend snapshot is kept (deletionPolicy Retain)"
            .to_owned()
    } else if doubts.is_empty() {
        "add the annotation being-deleted: csi-snapshotter then really deletes the backend snapshot".to_owned()
    } else {
        "add the annotation being-deleted, by approval only: completing this deletion may destroy a snapshot that is not \
         this cluster's"
            .to_owned()
    };
    let draft = case
        .draft(
            Class::OrphanedContent,
            "its VolumeSnapshot is gone and nobody told the driver to delete; it would wait for ever",
        )
        .evidence([how])
        .evidence(doubts.iter().cloned())
        .evidence(kept.then(|| "verdict: backend kept".to_owned()))
        .destroys(!kept && !doubts.is_empty())
        .unverified(unverified)
        .repair(Rung::MarkBeingDeleted, text);
    case.settle(Floor::age(case.timing.short_floor()), draft)
}

/// What makes the deletion of this content doubtful: a copied YAML carries another cluster's handle (rule R3).
fn doubtful_shape(case: &Case<'_>) -> Vec<String> {
    let content = case.content;
    let mut doubts = Vec::new();
    if content.source != ContentSource::Volume {
        doubts
            .push("doubtful: not made from a volume of this cluster (spec.source.volumeHandle is not set)".to_owned());
    }
    if content.policy == DeletionPolicy::Unknown {
        doubts.push("doubtful: deletionPolicy is neither Delete nor Retain".to_owned());
    }
    match content.handle() {
        None => doubts.push(
            "doubtful: no snapshotHandle; csi-snapshotter would drop the object without asking the driver".to_owned(),
        ),
        Some(handle) if case.context.world.handle_count(handle.print) > 1 => {
            doubts.push("doubtful: another content carries the same snapshotHandle".to_owned());
        }
        Some(handle) if group_holds(case, handle.print) => {
            doubts.push("doubtful: a group snapshot carries the same snapshotHandle".to_owned());
        }
        Some(_) => {}
    }
    let cut = content.status.as_ref().and_then(|status| status.creation_time);
    if let (Some(cut), Some(created)) = (cut, content.meta.created)
        && words::age(created.timestamp(), cut.timestamp()) > Duration::from_secs(300)
    {
        doubts.push(format!(
            "doubtful: the snapshot was cut at {} and this object was made at {}: it may be a copy",
            cut.timestamp(),
            created.timestamp()
        ));
    }
    doubts
}

fn group_holds(case: &Case<'_>, print: u64) -> bool {
    case.context.world.group_contents.iter().any(|(_, group)| group.handles.contains(&print))
}

fn driver_mismatch(case: &Case<'_>) -> Option<Diagnosis> {
    let name = case.content.class.as_ref()?;
    let class = case.context.world.classes.get(&Key::cluster(&**name))?;
    if class.driver == case.content.driver {
        return None;
    }
    let summary = format!(
        "VolumeSnapshotClass {name} now names driver {}, the content {}: csi-snapshotter skips it without a word",
        class.driver, case.content.driver
    );
    let draft = case.draft(Class::DriverMismatch, summary).repair(
        Rung::Report,
        format!("make VolumeSnapshotClass {name} name {} again until the content is gone", case.content.driver),
    );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

fn driver_unknown(case: &Case<'_>) -> Option<Diagnosis> {
    let view = case.view?;
    let (class, unverified) = view.down()?;
    if class != Class::DriverUnknown {
        return None;
    }
    let leaks = case.content.policy != DeletionPolicy::Retain && case.content.handle().is_some();
    let text = if leaks {
        format!(
            "install {} again and it deletes by itself; without it, removing the finalizer leaves the backend snapshot \
             behind: only by opt-in on this object, and into the orphan ledger",
            case.content.driver
        )
    } else {
        format!("install {} again and it lets go by itself; removal only by opt-in on this object", case.content.driver)
    };
    let draft = case
        .draft(Class::DriverUnknown, format!("nothing of driver {} exists here: {}", case.content.driver, view.why))
        .evidence(view.evidence.iter().cloned())
        .leaks(leaks)
        .unverified(unverified)
        .repair(Rung::RemoveIntoOrphanLedger, text);
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

fn deleted_not_released(case: &Case<'_>) -> Option<Diagnosis> {
    let content = case.content;
    let emptied = content.status.as_ref().is_some_and(super::super::record::ContentStatus::emptied);
    if !emptied || !content.being_deleted || !case.holds_own_finalizer() || content.source != ContentSource::Volume {
        return None;
    }
    let draft = case
        .draft(Class::DeletedNotReleased, "the driver confirmed the deletion, but csi-snapshotter left its finalizer")
        .repair(
            Rung::Nudge,
            "nudge; if that fails, remove csi-snapshotter's finalizer: nothing is lost, the backend snapshot is gone",
        );
    Some(case.settle(Floor::seen_twice(case.timing.nudge_floor()), draft))
}

fn driver_gone(case: &Case<'_>) -> Option<Diagnosis> {
    let view = case.view?;
    let (class, unverified) = view.down()?;
    if !matches!(class, Class::DriverGone | Class::StaleLeader) {
        return None;
    }
    let draft = case
        .draft(Class::DriverGone, format!("no csi-snapshotter of {} works: {}", case.content.driver, view.why))
        .evidence(view.evidence.iter().cloned())
        .unverified(unverified)
        .repair(
            Rung::Report,
            format!("bring the csi-snapshotter of {} back; it deletes by itself then", case.content.driver),
        );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

fn secret_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let event = case.error_event();
    let attempt = case.attempt();
    // The newest failure decides: a secret that is back leaves its old event behind for an hour.
    let attempt_is_newer = match (attempt.and_then(|attempt| attempt.at), event.and_then(|event| event.last)) {
        // Events have whole seconds: the log line of the same try is not newer.
        (Some(attempt), Some(event)) => words::age(attempt, event) > Duration::from_secs(2),
        (Some(_), None) => true,
        _ => false,
    };
    let by_event = event.is_some_and(|event| event.message.starts_with(NO_CREDENTIALS));
    let missing = if attempt_is_newer { attempt.is_some_and(Attempt::is_secret) } else { by_event };
    if !missing {
        return None;
    }
    let (named, remedy) = secret_words(case.content.secret.as_deref());
    let draft = case.draft(Class::SecretMissing, named).evidence(case.failure_lines()).repair(Rung::Report, remedy);
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

fn secret_words(secret: Option<&SecretName>) -> (String, String) {
    match secret {
        Some(secret) => (
            format!("its deletion secret {}/{} cannot be read", secret.namespace, secret.name),
            format!(
                "restore Secret {} in namespace {}; csi-snapshotter retries by itself",
                secret.name, secret.namespace
            ),
        ),
        None => (
            "its deletion secret cannot be read, and its annotations do not name one".to_owned(),
            "restore the annotations deletion-secret-name and deletion-secret-namespace of the content".to_owned(),
        ),
    }
}

fn operation_locked(case: &Case<'_>) -> Option<Diagnosis> {
    // Younger than that, a restore may hold the lock by right: then it merely retries.
    let old = case.age >= case.timing.nudge_floor();
    let attempt = case.attempt().filter(|attempt| old && attempt.is_lock())?;
    let draft = case
        .draft(Class::OperationLocked, format!("driver {} refuses: an operation on this snapshot never ended", case.content.driver))
        .evidence(case.failure_lines())
        .evidence([format!("driver's words: {}", attempt.words)])
        .repair(
            Rung::RestartLeader,
            "restart the pod of the csi-snapshotter leader (its driver holds the lock in memory), wait for the new leader, \
             then nudge; removing the finalizer would leave the backend snapshot behind",
        );
    Some(case.settle(Floor::age(case.timing.nudge_floor()), draft))
}

fn backend_error(case: &Case<'_>) -> Option<Diagnosis> {
    let attempt = case.attempt().filter(|attempt| {
        !matches!(&*attempt.code, "" | "DeadlineExceeded" | "Canceled" | "Aborted" | "ResourceExhausted")
    })?;
    let draft = case
        .draft(
            Class::BackendError,
            format!("driver {} answers {}: {}", case.content.driver, attempt.code, attempt.words),
        )
        .evidence(case.failure_lines())
        .repair(Rung::Report, "mend the storage backend; csi-snapshotter retries by itself");
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

fn retrying(case: &Case<'_>) -> Option<Diagnosis> {
    if !case.retries() {
        return None;
    }
    let code = case.attempt().filter(|attempt| !attempt.code.is_empty()).map(|attempt| format!(" ({})", attempt.code));
    let summary = format!(
        "driver {} fails to delete{}; csi-snapshotter tries again, at most {} apart",
        case.content.driver,
        code.unwrap_or_default(),
        words::short(case.timing.retry_max)
    );
    let draft = case.draft(Class::Retrying, summary).evidence(case.failure_lines()).repair(
        Rung::Report,
        "wait: retries are automatic; if it lasts, look at the driver's log and at the storage backend",
    );
    Some(case.settle(Floor::age(case.timing.short_floor()), draft))
}

/// Rests on an absence: no try was ever made. So it needs a source that would have told of one.
fn missed_event(case: &Case<'_>) -> Option<Diagnosis> {
    let content = case.content;
    let sources = &case.context.world.sources;
    let handled = content.being_deleted && content.handle().is_some() && case.holds_own_finalizer();
    // A node's own sidecar serves it: what is known of the driver's leader says nothing about that one.
    if content.managed_by.is_some()
        || !handled
        || case.error_event().is_some()
        || case.attempt().is_some()
        || case.context.storm(&content.driver)
    {
        return None;
    }
    let Health::Alive { seen } = case.view?.health else { return None };
    let events =
        sources.known(Source::ContentEvents) && sources.get(Source::ContentEvents).is_some_and(|f| f.ever_synced);
    let logged = match case.log() {
        // It speaks for the time from the deletion to the reading: that has to be as long as the floor.
        Some(Log::Read { since, read, .. }) => {
            let covered = words::age(*read, case.since) >= case.timing.nudge_floor();
            covered && since.is_some_and(|since| since <= case.since)
        }
        // Asked for and not answered yet: the answer may hold a try.
        None if case.view?.log.is_some() => return None,
        Some(Log::Forbidden | Log::Failed(_)) | None => false,
    };
    if !events && !logged {
        return None;
    }
    let witness = if logged { "csi-snapshotter's log since the deletion" } else { "the Events about it" };
    let draft = case
        .draft(Class::MissedEvent, "csi-snapshotter never tried to delete it: it missed the deletion")
        .evidence([format!("no try in {witness}; the leader is alive")])
        .evidence(case.view.map(|view| view.evidence.clone()).unwrap_or_default())
        .unverified(!seen)
        .repair(Rung::Nudge, "touch one annotation of the content: csi-snapshotter looks again at once and deletes");
    Some(case.settle(Floor::age(case.timing.nudge_floor()), draft))
}

fn unexplained(case: &Case<'_>) -> Option<Diagnosis> {
    if case.age < case.timing.general_floor() {
        return None;
    }
    let health = match case.view.map(|view| &view.health) {
        Some(Health::Unknown(why)) => {
            Some(format!("whether a csi-snapshotter of {} works cannot be told: {why}", case.content.driver))
        }
        _ => None,
    };
    let (log, remedy) = match case.log() {
        Some(Log::Forbidden) => (
            Some("csi-snapshotter's log may not be read".to_owned()),
            "grant pods/log: only csi-snapshotter's log says what the driver answered".to_owned(),
        ),
        Some(Log::Failed(words)) => (
            Some(format!("csi-snapshotter's log could not be read: {words}")),
            "look at csi-snapshotter's log".to_owned(),
        ),
        Some(Log::Read { .. }) => (
            Some("csi-snapshotter's log does not mention it".to_owned()),
            "look at the logs of csi-snapshotter and of the driver".to_owned(),
        ),
        None => (None, format!("look at the log of the csi-snapshotter of {}", case.content.driver)),
    };
    let node = case
        .content
        .managed_by
        .as_ref()
        .map(|node| format!("served by the csi-snapshotter of node {node}, whose health is not judged"));
    let draft = case
        .draft(Class::Unexplained, "stuck, and nothing that can be seen from here explains it")
        .evidence(case.failure_lines())
        .evidence(node)
        .evidence(health)
        .evidence(log)
        .repair(Rung::Report, remedy);
    Some(case.settle(Floor::age(case.timing.general_floor()), draft))
}
