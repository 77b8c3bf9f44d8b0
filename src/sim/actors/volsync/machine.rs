//! The states of a replication: Initial, Synchronizing, CleaningUp.
//!
//! They are nowhere written down; they follow from two times in the status. A sync that never ends and one that
//! has just begun look alike, and a deletion that hangs leaves the picture of an idle, healthy source.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::schedule;
use crate::sim::actors::object;
use crate::sim::actors::workloads::conditions::{self, Said};
use crate::sim::actors::workloads::owned;

/// How often a sync in progress is looked at without a reason.
const IN_PROGRESS: Duration = Duration::from_secs(60);

/// How far the work of a state has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It waits for something.
    Waits,
    /// It is done.
    Complete,
}

/// The words of an error end up in the condition.
pub(super) type Step = Result<Progress, String>;

/// What a state does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Initial,
    Synchronizing,
    CleaningUp,
}

/// What starts a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trigger {
    Manual(String),
    Schedule(String),
    None,
}

/// A replication on its way through the states: its spec, and the status that is to be written.
pub(super) struct Machine {
    trigger: Trigger,
    pub(super) status: Map<String, Value>,
    now: Timestamp,
    /// The fork words one condition differently.
    is_fork: bool,
}

impl Machine {
    pub(super) fn new(object: &Value, now: Timestamp, is_fork: bool) -> Self {
        let [manual, cron] =
            ["manual", "schedule"].map(|field| object::text(object, &format!("/spec/trigger/{field}")));
        // A manual tag wins over the schedule, even one that was served long ago.
        let trigger = match (manual, cron) {
            ("", "") => Trigger::None,
            ("", cron) => Trigger::Schedule(cron.to_owned()),
            (tag, _) => Trigger::Manual(tag.to_owned()),
        };
        Self { trigger, status: object::status(object).cloned().unwrap_or_default(), now, is_fork }
    }

    pub(super) fn state(&self) -> State {
        match (self.time("lastSyncTime"), self.time("lastSyncStartTime")) {
            (None, None) => State::Initial,
            (_, Some(_)) => State::Synchronizing,
            (Some(_), None) => State::CleaningUp,
        }
    }

    /// Takes the outcome of the state's work in; when to look again. An error goes on as an error.
    pub(super) fn advance(&mut self, step: Step) -> Result<Option<Duration>, String> {
        let outcome = match (self.state(), step) {
            (_, Err(words)) => Err(words),
            (State::Initial, _) => {
                self.begin();
                Ok(None)
            }
            (State::Synchronizing, Ok(Progress::Complete)) => self.complete().map(|()| None),
            (State::Synchronizing, Ok(Progress::Waits)) => {
                self.syncing();
                Ok(Some(IN_PROGRESS))
            }
            (State::CleaningUp, Ok(Progress::Complete)) => self.idle(),
            (State::CleaningUp, Ok(Progress::Waits)) => {
                self.cleaning();
                Ok(Some(IN_PROGRESS))
            }
        };
        if let Err(words) = &outcome {
            self.say("False", "Error", &words.clone());
        }
        outcome
    }

    fn begin(&mut self) {
        self.set("lastSyncStartTime", object::seconds(self.now));
        self.syncing();
    }

    fn complete(&mut self) -> Result<(), String> {
        let started = self.time("lastSyncStartTime").unwrap_or(self.now);
        self.set("lastSyncTime", object::seconds(self.now));
        let took = Duration::try_from(self.now.duration_since(started)).unwrap_or_default();
        self.set("lastSyncDuration", go_duration(took));
        self.plan()?;
        match &self.trigger {
            Trigger::Manual(tag) => self.set("lastManualSync", tag.clone()),
            Trigger::Schedule(_) | Trigger::None => drop(self.status.remove("lastManualSync")),
        }
        self.status.remove("lastSyncStartTime");
        self.cleaning();
        Ok(())
    }

    /// Cleaned up: the next sync, or none yet.
    fn idle(&mut self) -> Result<Option<Duration>, String> {
        self.plan()?;
        let next = self.time("nextSyncTime");
        let due = match &self.trigger {
            Trigger::Schedule(_) => next.is_none_or(|next| next <= self.now),
            Trigger::Manual(tag) => self.status.get("lastManualSync").and_then(Value::as_str) != Some(tag),
            Trigger::None => true,
        };
        if due {
            self.begin();
            return Ok(None);
        }
        match self.trigger {
            Trigger::Schedule(_) => {
                self.say("False", "WaitingForSchedule", "Waiting for next scheduled synchronization");
            }
            Trigger::Manual(_) | Trigger::None => self.say("False", "WaitingForManual", "Waiting for manual trigger"),
        }
        Ok(next.and_then(|next| Duration::try_from(next.duration_since(self.now)).ok()))
    }

    fn plan(&mut self) -> Result<(), String> {
        match &self.trigger {
            Trigger::Schedule(expression) => {
                let next = schedule::next(expression, self.time("lastSyncTime").unwrap_or(self.now))?;
                self.set("nextSyncTime", object::seconds(next));
            }
            Trigger::Manual(_) | Trigger::None => drop(self.status.remove("nextSyncTime")),
        }
        Ok(())
    }

    fn syncing(&mut self) {
        self.say("True", "SyncInProgress", "Synchronization in-progress");
    }

    fn cleaning(&mut self) {
        let message = if self.is_fork { "Cleanup in-progress" } else { "Cleaning up" };
        self.say("False", "CleanupInProgress", message);
    }

    fn say(&mut self, status: &str, reason: &str, message: &str) {
        let mut said = self.status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        conditions::set(&mut said, self.now, &[], Said { kind: "Synchronizing", status, reason, message });
        self.status.insert("conditions".to_owned(), said.into());
    }

    fn set(&mut self, field: &str, value: String) {
        self.status.insert(field.to_owned(), value.into());
    }

    fn time(&self, field: &str) -> Option<Timestamp> {
        self.status.get(field).and_then(|value| owned::time(value, ""))
    }
}

/// As Go prints a duration.
fn go_duration(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    let fraction = match duration.subsec_nanos() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, minutes) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn machine(trigger: &Value, status: &Value, now: &str) -> Machine {
        Machine::new(&json!({"spec": {"trigger": trigger}, "status": status}), at(now), true)
    }

    fn said(machine: &Machine) -> (&str, &str) {
        let condition = &machine.status["conditions"][0];
        (condition["status"].as_str().unwrap(), condition["reason"].as_str().unwrap())
    }

    #[test]
    fn a_whole_round() {
        let schedule = json!({"schedule": "0 * * * *"});
        let mut first = machine(&schedule, &json!({}), "2026-03-01T10:07:00Z");
        assert_eq!((first.state(), first.advance(Ok(Progress::Waits))), (State::Initial, Ok(None)));
        assert_eq!(said(&first), ("True", "SyncInProgress"));
        let mut sync = machine(&schedule, &first.status.into(), "2026-03-01T10:09:01.5Z");
        assert_eq!((sync.state(), sync.advance(Ok(Progress::Complete))), (State::Synchronizing, Ok(None)));
        assert_eq!(sync.status["lastSyncDuration"], "2m1.5s");
        assert_eq!(sync.status["nextSyncTime"], "2026-03-01T11:00:00Z");
        assert_eq!(said(&sync), ("False", "CleanupInProgress"));
        let mut clean = machine(&schedule, &sync.status.into(), "2026-03-01T10:10:00Z");
        let hour = Some(Duration::from_secs(50 * 60));
        assert_eq!((clean.state(), clean.advance(Ok(Progress::Complete))), (State::CleaningUp, Ok(hour)));
        assert_eq!(said(&clean), ("False", "WaitingForSchedule"));
    }

    #[test]
    fn a_manual_tag_silences_the_schedule() {
        let trigger = json!({"schedule": "0 * * * *", "manual": "now"});
        let status = json!({"lastSyncTime": "2026-03-01T10:00:00Z", "lastManualSync": "now"});
        let mut machine = machine(&trigger, &status, "2026-03-01T15:00:00Z");
        assert_eq!(machine.advance(Ok(Progress::Complete)), Ok(None));
        assert_eq!(said(&machine), ("False", "WaitingForManual"));
        assert_eq!(machine.status.get("nextSyncTime"), None);
    }

    #[test]
    fn an_error_stays_in_its_state() {
        let status = json!({"lastSyncStartTime": "2026-03-01T10:00:00Z"});
        let mut machine = machine(&json!({}), &status, "2026-03-01T15:00:00Z");
        assert_eq!(machine.advance(Err("no".to_owned())), Err("no".to_owned()));
        assert_eq!((machine.state(), said(&machine)), (State::Synchronizing, ("False", "Error")));
    }
}
