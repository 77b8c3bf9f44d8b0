//! A KopiaRepository as the core reads it, checked.
//!
//! Reading never fails and never permits: what makes no sense leaves it alone, with the reason.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Task;
use super::findings::Limits;
use crate::domain::name::Key;
use crate::domain::schedule::{Timer, Window, may_begin};

/// All that can be set and that a decision rests on, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a part of the spec that is there or not")]
pub struct Rules {
    /// Begin nothing.
    pub suspended: bool,
    /// The repository that it has to be.
    pub unique_id: Option<Box<str>>,
    /// Schedule, its zone, and its jitter.
    pub schedules: BTreeMap<Task, (Box<str>, Box<str>, Duration)>,
    /// So many of a hundred files are read by a verification.
    pub percent: u8,
    /// When maintenance may begin: schedule, zone, length.
    pub windows: Vec<(Box<str>, Box<str>, Duration)>,
    /// Take ownership once from an owner that is gone.
    pub takeover: bool,
    /// Snapshots may go.
    pub expires: bool,
    /// There are policies or epochs to keep set.
    pub settings: bool,
    /// How long a task may take.
    pub deadlines: BTreeMap<Task, Duration>,
    /// When something is a finding.
    pub limits: Limits,
}

/// A KopiaRepository that was checked. With a problem in it, nothing is begun.
#[derive(Clone, Debug)]
pub struct Custody {
    key: Key,
    rules: Rules,
    timers: BTreeMap<Task, Timer>,
    windows: Vec<Window>,
    problems: Vec<String>,
}

impl Custody {
    /// Checks one.
    #[must_use]
    pub fn new(key: Key, rules: Rules) -> Self {
        let mut problems = Vec::new();
        let mut timers = BTreeMap::new();
        for (task, (cron, zone, jitter)) in &rules.schedules {
            // The task is in the name: two tasks of one repository do not begin together either.
            match Timer::parse(cron, zone, *jitter, &format!("{key}/{task}")) {
                Ok(timer) => drop(timers.insert(*task, timer)),
                Err(error) => problems.push(format!("schedules, {task}: {error}")),
            }
        }
        let mut windows = Vec::new();
        for (at, (schedule, zone, length)) in rules.windows.iter().enumerate() {
            match Window::parse(schedule, zone, *length) {
                Ok(window) => windows.push(window),
                Err(error) => problems.push(format!("windows[{at}]: {error}")),
            }
        }
        Self { key, rules, timers, windows, problems }
    }

    /// The same with these problems.
    #[must_use]
    pub fn objected(mut self, problems: impl IntoIterator<Item = String>) -> Self {
        self.problems.extend(problems);
        self
    }

    /// Its namespace and name.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What was set.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What makes no sense in it, one line each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// When a task is due by itself.
    #[must_use]
    pub fn timer(&self, task: Task) -> Option<&Timer> {
        self.timers.get(&task)
    }

    /// How long a task may take.
    #[must_use]
    pub fn deadline(&self, task: Task) -> Duration {
        self.rules.deadlines.get(&task).copied().unwrap_or(Duration::from_secs(3600))
    }

    /// Whether a window lets maintenance begin, else when one opens.
    ///
    /// # Errors
    /// The next opening; `None` if none ever comes.
    pub fn may_begin(&self, now: Timestamp) -> Result<(), Option<Timestamp>> {
        may_begin(&self.windows, now)
    }
}
