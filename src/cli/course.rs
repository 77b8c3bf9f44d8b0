//! What would be done about one finding, as people and scripts see it: `plan` and `why` show it alike.
//!
//! A hold is always shown with the guard that holds and its reason: "nothing happens" without a why is what makes
//! people reach for a script. What the daemon has begun is shown as begun, and never as a step still to come.

use jiff::Timestamp;
use serde::Serialize;

use super::output::one_line;
use super::table::age;
use crate::app::plan::Rehearsal;
use crate::domain::fact::Now;
use crate::domain::guard::{Guard, Verdict};
use crate::domain::ledger::{Attempt, Record};
use crate::domain::plan::{Course, Planned};
use crate::domain::remedy::action::Target;
use crate::domain::remedy::prepare::Unfit;
use crate::domain::words;

/// Where a finding's repair stands, in the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum State {
    /// Nothing holds the step.
    Now,
    /// Nothing but an approval is missing.
    AwaitingApproval,
    /// A step is being taken, or was, and it is being looked at whether it helped.
    UnderWay,
    /// A guard holds it, or something else has to be so first.
    Held,
    /// No step is left: a person is needed.
    NoStep,
}

/// A label with its text.
pub(super) type Line = (&'static str, String);

/// One finding's course.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// What its ladder comes to.
    pub(super) course: &'a Course,
    /// Its open entry of the ledger.
    pub(super) episode: Option<&'a Record>,
    /// What the API server said of the step.
    pub(super) rehearsal: Option<&'a Rehearsal>,
    /// Its policies stand in no cluster: the daemon plans by others.
    pub(super) tried: bool,
    /// When this was so.
    pub(super) now: Now,
}

impl<'a> Shown<'a> {
    pub(super) fn state(&self) -> State {
        if self.episode.is_some_and(|record| record.intent.is_some() || record.unverified().is_some()) {
            return State::UnderWay;
        }
        match self.course {
            Course::Step(planned) if planned.guarded.is_some() => State::Now,
            Course::Step(planned) if wants_approval(planned) => State::AwaitingApproval,
            Course::Step(_) | Course::Standing { .. } => State::Held,
            Course::Repaired => State::UnderWay,
            Course::Exhausted(_) => State::NoStep,
        }
    }

    /// The step, if nothing holds it.
    pub(super) fn unheld(&self) -> Option<&'a Planned> {
        match self.course {
            Course::Step(planned) if self.state() == State::Now => Some(planned),
            _ => None,
        }
    }

    /// What it is, without what holds it.
    pub(super) fn step(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        match self.course {
            _ if self.state() == State::UnderWay => lines.push(("doing", self.doing())),
            Course::Step(planned) => {
                lines.push(("step", format!("{}: {}", planned.rung.step, planned.action.summary)));
                lines.extend(risks(planned).map(|words| ("risk", words)));
            }
            Course::Standing { rung, .. } => lines.push(("step", format!("{}: it cannot be planned yet", rung.step))),
            Course::Exhausted(why) => lines.push(("step", format!("none is left: {why}"))),
            Course::Repaired => {}
        }
        if let Some(rehearsal) = self.rehearsal {
            lines.push(("server", rehearsed(rehearsal)));
        }
        lines
    }

    fn doing(&self) -> String {
        let Some(record) = self.episode else { return "it is repaired, and its entry about to be closed".to_owned() };
        if let Some(intent) = &record.intent {
            return format!("{} of attempt {} is being taken by {}", intent.step, intent.number, intent.by);
        }
        match record.unverified() {
            Some(attempt) => format!(
                "{} was taken {} ago; whether it helped is being looked at",
                attempt.step,
                age(attempt.at, self.now.wall)
            ),
            None => "it is repaired, and its entry about to be closed".to_owned(),
        }
    }

    /// What holds it, guard by guard.
    pub(super) fn holds(&self) -> Vec<Line> {
        match self.course {
            _ if self.state() == State::UnderWay => Vec::new(),
            Course::Step(planned) => {
                let verdicts = planned.judgement.verdicts().iter();
                verdicts.filter_map(|(guard, verdict)| Some(("held", self.hold(*guard, verdict)?))).collect()
            }
            Course::Standing { unfit, .. } => {
                let (words, until) = unfit_words(unfit, self.now);
                vec![("held", self.with_until(words, until))]
            }
            Course::Exhausted(_) | Course::Repaired => Vec::new(),
        }
    }

    /// Each guard that was asked, also those that allow it.
    pub(super) fn guards(&self) -> Vec<Line> {
        let mut lines = self.holds();
        let Course::Step(planned) = self.course else { return lines };
        let allow: Vec<&str> = planned
            .judgement
            .verdicts()
            .iter()
            .filter(|(_, said)| said.allows())
            .map(|(one, _)| one.as_str())
            .collect();
        if !allow.is_empty() {
            lines.push(("allow", allow.join(", ")));
        }
        lines
    }

    fn hold(&self, guard: Guard, verdict: &Verdict) -> Option<String> {
        let (reason, until) = match verdict {
            Verdict::Allow => return None,
            Verdict::Wait { until, reason } => (reason, *until),
            Verdict::Refuse { reason } => (reason, None),
        };
        Some(self.with_until(format!("{guard}: {reason}"), until))
    }

    fn with_until(&self, said: String, until: Option<Timestamp>) -> String {
        match until {
            None => said,
            // Some reasons have the time in them already.
            Some(until) if said.contains(&until.to_string()) => {
                format!("{said} (in {})", words::short(words::age(until, self.now.wall)))
            }
            Some(until) => format!("{said}; until {}", moment(until, self.now.wall)),
        }
    }

    /// The hash of its plan.
    pub(super) fn hash(&self) -> Option<&'a str> {
        match self.course {
            Course::Step(planned) => Some(planned.hash.as_str()),
            Course::Standing { .. } | Course::Exhausted(_) | Course::Repaired => None,
        }
    }

    /// How somebody approves it.
    pub(super) fn approval(&self) -> Option<Line> {
        let Course::Step(planned) = self.course else { return None };
        if self.state() != State::AwaitingApproval {
            return None;
        }
        let entry = self.episode.filter(|record| record.plan.as_ref().is_some_and(|plan| plan.hash == planned.hash));
        let how = match entry {
            Some(record) if !self.tried => format!("volwarden approve {} --hash {}", record.name, planned.hash),
            _ if self.tried => "with these policies in the cluster, the daemon enters it into the ledger".to_owned(),
            _ => "as soon as the daemon has entered this plan into the ledger: kubectl get remediations".to_owned(),
        };
        Some(("needs", how))
    }

    pub(super) fn view(&self) -> CourseView<'a> {
        let (step, rung, reason, until) = match self.course {
            Course::Step(planned) => {
                (Some(self.step_view(planned)), Some(planned.rung.step.as_str()), None, planned.until())
            }
            Course::Standing { rung, unfit } => {
                let (words, until) = unfit_words(unfit, self.now);
                (None, Some(rung.step.as_str()), Some(words), until)
            }
            Course::Exhausted(why) => (None, None, Some(why.clone()), None),
            Course::Repaired => (None, None, Some("it is repaired, and its entry about to be closed".to_owned()), None),
        };
        CourseView { state: self.state(), rung, reason, until, step }
    }

    fn step_view(&self, planned: &'a Planned) -> StepView<'a> {
        let action = &planned.action;
        let verdict = |(guard, verdict): &'a (Guard, Verdict)| {
            let (reason, until) = match verdict {
                Verdict::Allow => (None, None),
                Verdict::Wait { until, reason } => (Some(reason.as_str()), *until),
                Verdict::Refuse { reason } => (Some(reason.as_str()), None),
            };
            VerdictView { guard: guard.as_str(), verdict: verdict.as_str(), reason, until }
        };
        StepView {
            target: TargetView::of(&action.target),
            summary: &action.summary,
            hash: planned.hash.to_string(),
            handle: action.handle.as_deref(),
            leaks: action.leaks,
            destroys: action.destroys,
            doubts: &action.doubts,
            policies: planned.governing.names.iter().map(|name| &**name).collect(),
            verdicts: planned.judgement.verdicts().iter().map(verdict).collect(),
            dry_run: self.rehearsal.map(DryRunView::of),
        }
    }
}

/// Nothing but somebody's consent stands between the step and its being taken.
fn wants_approval(planned: &Planned) -> bool {
    let said = planned.judgement.verdicts();
    planned.judgement.only(&[Guard::Mode, Guard::Consequence])
        && said.iter().all(|(_, verdict)| !matches!(verdict, Verdict::Refuse { .. }))
}

/// What the step puts at risk, in words.
fn risks(planned: &Planned) -> impl Iterator<Item = String> {
    let action = &planned.action;
    let leaks = action.leaks.then(|| "it leaves a snapshot behind in the storage backend".to_owned());
    let destroys = action
        .destroys
        .then(|| "it may destroy a backend snapshot that another cluster uses, or a last copy".to_owned());
    leaks.into_iter().chain(destroys).chain(action.doubts.clone())
}

fn unfit_words(unfit: &Unfit, now: Now) -> (String, Option<Timestamp>) {
    match unfit {
        Unfit::Look(kind, key) => {
            (format!("a fresh read of {} {key} is missing: look for longer", kind.as_str()), None)
        }
        Unfit::NotBefore(at, words) => (words.clone(), now.wall.checked_add(at.saturating_sub(now.mono)).ok()),
        Unfit::Hold(words) | Unfit::Skip(words) => (words.clone(), None),
    }
}

/// A time as a person on call reads it: the hour for what is near, the date for what is not.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> String {
    let left = words::age(at, now);
    if left.as_secs() < 12 * 3600 {
        return format!("{}, in {}", words::clock(at), words::short(left));
    }
    format!("{}, in {}", at.strftime("%Y-%m-%d %H:%MZ"), words::short(left))
}

fn rehearsed(rehearsal: &Rehearsal) -> String {
    match rehearsal {
        Rehearsal::Taken => "would take it (dry run as this user)".to_owned(),
        Rehearsal::Forbidden(words) => {
            format!("forbidden to this user, so not tried; the daemon has its own rights: {words}")
        }
        Rehearsal::Refused(_, words) => format!("would not take it: {words}"),
    }
}

/// An episode in one line.
pub(super) fn entry(record: &Record) -> String {
    format!("Remediation {}, {}", record.name, record.phase.as_str())
}

/// An episode's newest attempt in one line.
pub(super) fn attempt(attempt: &Attempt, now: Timestamp) -> String {
    let helped = match attempt.helped {
        Some(true) => ", it helped",
        Some(false) => ", it did not help",
        None => "",
    };
    let said = if attempt.message.is_empty() { String::new() } else { format!(": {}", one_line(&attempt.message)) };
    format!(
        "attempt {}, {} {} ago, {}{helped}{said}",
        attempt.number,
        attempt.step,
        age(attempt.at, now),
        attempt.outcome.as_str()
    )
}

// === For scripts ===

/// A course.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CourseView<'a> {
    state: State,
    /// The rung that the ladder stands at.
    rung: Option<&'static str>,
    /// Why there is no step.
    reason: Option<String>,
    until: Option<Timestamp>,
    step: Option<StepView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepView<'a> {
    target: TargetView<'a>,
    summary: &'a str,
    hash: String,
    handle: Option<&'a str>,
    leaks: bool,
    destroys: bool,
    doubts: &'a [String],
    policies: Vec<&'a str>,
    verdicts: Vec<VerdictView<'a>>,
    dry_run: Option<DryRunView<'a>>,
}

#[derive(Serialize)]
struct VerdictView<'a> {
    guard: &'static str,
    verdict: &'static str,
    reason: Option<&'a str>,
    until: Option<Timestamp>,
}

#[derive(Serialize)]
struct TargetView<'a> {
    kind: &'static str,
    namespace: Option<&'a str>,
    name: &'a str,
    uid: String,
}

impl<'a> TargetView<'a> {
    fn of(target: &'a Target) -> Self {
        let namespace = &*target.key.namespace;
        Self {
            kind: target.kind.as_str(),
            namespace: (!namespace.is_empty()).then_some(namespace),
            name: &target.key.name,
            uid: target.uid.to_string(),
        }
    }
}

#[derive(Serialize)]
struct DryRunView<'a> {
    /// `Taken`, `Forbidden`, or the outcome that a write would have had.
    result: &'static str,
    message: Option<&'a str>,
}

impl<'a> DryRunView<'a> {
    fn of(rehearsal: &'a Rehearsal) -> Self {
        match rehearsal {
            Rehearsal::Taken => Self { result: "Taken", message: None },
            Rehearsal::Forbidden(words) => Self { result: "Forbidden", message: Some(words) },
            Rehearsal::Refused(outcome, words) => Self { result: outcome.as_str(), message: Some(words) },
        }
    }
}

/// An open entry of the ledger.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EpisodeView<'a> {
    name: &'a str,
    phase: &'static str,
    message: &'a str,
    opened_at: Timestamp,
    plan_hash: Option<String>,
    attempts: usize,
    last_attempt: Option<AttemptView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptView<'a> {
    number: u32,
    rung: &'static str,
    target: TargetView<'a>,
    at: Timestamp,
    outcome: &'static str,
    helped: Option<bool>,
    message: &'a str,
    ended_at: Option<Timestamp>,
}

impl<'a> EpisodeView<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        let last = record.attempts.last().map(|one| AttemptView {
            number: one.number,
            rung: one.step.as_str(),
            target: TargetView::of(&one.target),
            at: one.at,
            outcome: one.outcome.as_str(),
            helped: one.helped,
            message: &one.message,
            ended_at: one.ended,
        });
        Self {
            name: &record.name,
            phase: record.phase.as_str(),
            message: &record.message,
            opened_at: record.opened,
            plan_hash: record.plan.as_ref().map(|plan| plan.hash.to_string()),
            attempts: record.attempts.len(),
            last_attempt: last,
        }
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
pub(super) mod tests;
