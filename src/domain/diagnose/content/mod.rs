//! VolumeSnapshotContents: why one that is being deleted is still there, and what is wrong with a live one.
//!
//! [`RULES`] is the order of evaluation; the first that matches decides. The order is what keeps a content
//! whose deletion would leak or destroy a backend snapshot from being taken for one that merely hangs.

mod answer;
mod shape;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::components::View;
use crate::domain::diagnose::{Context, Diagnosis, Draft, Floor, deletion, finalizers, spare};
use crate::domain::fact::Probe;
use crate::domain::finding::{Cause, Class, Subject, Verdict};
use crate::domain::logline::Attempt;
use crate::domain::memory::Log;
use crate::domain::name::Key;
use crate::domain::record::{Content, DeletionPolicy, EventRecord, Kind};
use crate::domain::timing::Timing;
use crate::domain::words;

/// The csi-snapshotter's own finalizer on a content.
pub const OWN_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";

/// Message of the deletion error event when the driver's word could not be written down.
const NOT_WRITTEN: &str = "Failed to clear content status";
/// An Event has whole seconds, and is written a moment after the log line of the same try.
const SAME_TRY: Duration = Duration::from_secs(2);

/// The rules for a content that is being deleted, in order.
const RULES: [fn(&Case<'_>) -> Option<Diagnosis>; 14] = [
    shape::group_member,
    shape::foreign_finalizer,
    shape::still_creating,
    shape::unmarked,
    shape::driver_mismatch,
    shape::driver_unknown,
    shape::deleted_not_released,
    shape::driver_gone,
    answer::secret_missing,
    answer::operation_locked,
    answer::backend_error,
    answer::retrying,
    answer::missed_event,
    answer::unexplained,
];

/// A content being deleted, with everything its rules look at.
struct Case<'a> {
    ctx: &'a Context<'a>,
    subject: Subject,
    content: &'a Content,
    view: Option<&'a View>,
    timing: Timing,
    since: Timestamp,
    age: Duration,
}

/// Diagnoses one content.
#[must_use]
pub fn diagnose(ctx: &Context<'_>, key: &Key) -> Diagnosis {
    let Some(content) = ctx.world.contents.get(key) else { return Diagnosis::not_found() };
    let subject = Subject::new(Kind::VolumeSnapshotContent, key.clone());
    let Some((since, age)) = deletion(&content.meta, ctx.now) else {
        return spare::live_content(ctx, &subject, content);
    };
    let view = ctx.driver(&content.driver);
    let timing = ctx.timing(view);
    let case = Case { ctx, subject, content, view, timing, since, age };
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
        let mut diagnosis = self.ctx.settle(&self.subject, &self.content.meta, driver, floor, draft);
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
        let due = until.map_or_else(String::new, words::clock);
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
            recheck: self.next_floor().map(|wait| self.ctx.now.mono + wait),
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
        self.ctx.driver_cause(&self.content.driver)
    }

    fn holds_own_finalizer(&self) -> bool {
        self.content.meta.has_finalizer(OWN_FINALIZER)
    }

    /// The newest deletion error event of this very object.
    fn error_event(&self) -> Option<&'a EventRecord> {
        let events = self.ctx.world.events(Kind::VolumeSnapshotContent, &self.subject.key, &self.content.meta.uid);
        events.into_iter().rfind(|event| matches!(&*event.reason, "SnapshotDeleteError" | "GroupSnapshotDeleteError"))
    }

    fn log(&self) -> Option<&'a Log> {
        let source = self.view?.log.as_ref()?;
        self.ctx.memory.log(&source.pod, &source.uid)
    }

    /// What the driver last answered, as the sidecar's log has it. An Event that tells of a newer try, though the log
    /// was read after it, means a try of another pod: its answer went with that pod's log, and an older one may no
    /// longer be so.
    fn answer(&self) -> Option<&'a Attempt> {
        self.attempt().filter(|attempt| !self.is_overtaken(attempt))
    }

    fn is_overtaken(&self, attempt: &Attempt) -> bool {
        let Some(Log::Read { read, .. }) = self.log() else { return false };
        let told = self.error_event().and_then(|event| event.last);
        let (Some(tried), Some(told)) = (attempt.at, told) else { return false };
        words::age(told, tried) > SAME_TRY && words::age(*read, told) > SAME_TRY
    }

    /// The newest failed try to delete that the sidecar's log tells of this content.
    fn attempt(&self) -> Option<&'a Attempt> {
        self.newest_line().filter(|attempt| !attempt.unwritten || self.release_refused())
    }

    /// A write that is refused was one of a deletion. Under `Delete` the status is emptied first, and an Event tells
    /// when that fails; a refused write without one was about the creation, such as the mark of it that must go.
    fn release_refused(&self) -> bool {
        self.content.policy != DeletionPolicy::Delete
            || self.error_event().is_some_and(|event| event.message.starts_with(NOT_WRITTEN))
    }

    /// The newest line of the sidecar's log about this content.
    fn newest_line(&self) -> Option<&'a Attempt> {
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
        let stuck = self.ctx.components.failing.get(&self.content.driver).map_or(0, std::collections::BTreeSet::len);
        let window = self.timing.retry_window(u32::try_from(stuck).unwrap_or(u32::MAX));
        self.last_failure().is_some_and(|at| words::age(self.ctx.now.wall, at) <= window)
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
