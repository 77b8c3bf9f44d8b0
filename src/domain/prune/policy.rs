//! A SnapshotRetention as the core reads it, checked.
//!
//! As with repairs, reading never fails and never permits: what makes no sense turns the policy into one that only
//! observes, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::field::{Cut, Field, Labels};
use super::part::Part;
use super::relic::{Relic, Thing};
use crate::domain::policy::{Mode, Pause, Requirement};
use crate::domain::retention::{Calendar, Policy, Retention};
use crate::domain::schedule::{Timer, Window, may_begin};

/// All that can be set, as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What may be done without asking.
    pub mode: Mode,
    /// Begin no run.
    pub suspended: bool,
    /// Begin none until then.
    pub pause: Option<Pause>,
    /// Only snapshots whose labels meet all of these.
    pub selector: Vec<Requirement>,
    /// Only namespaces whose labels meet all of these; `None`: every namespace.
    pub namespaces: Option<Vec<Requirement>>,
    /// Only these classes; empty: any.
    pub classes: BTreeSet<Arc<str>>,
    /// Only these drivers; empty: any, which Enforce does not accept.
    pub drivers: BTreeSet<Arc<str>>,
    /// How many of what are kept.
    pub keep: Policy,
    /// Whose reading of the periods.
    pub calendar: Calendar,
    /// Where a day begins.
    pub zone: Box<str>,
    /// So many ready ones of a volume stay.
    pub min_ready: u32,
    /// Nothing younger goes.
    pub min_age: Duration,
    /// Schedule, its zone, and its jitter.
    pub schedule: Option<(Box<str>, Box<str>, Duration)>,
    /// So many in a run.
    pub max_deletions: u32,
    /// So many of a driver in a minute.
    pub per_minute: u32,
    /// When deletions may begin: schedule, zone, length.
    pub windows: Vec<(Box<str>, Box<str>, Duration)>,
    /// What else is cleaned up.
    pub cleanup: BTreeMap<Part, Cleanup>,
    /// How long an approval is good for.
    pub approval_valid: Duration,
}

/// One part of a policy that cleans up by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// What may be done without asking.
    pub mode: Mode,
    /// Nothing younger goes.
    pub older_than: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            suspended: false,
            pause: None,
            selector: Vec::new(),
            namespaces: None,
            classes: BTreeSet::new(),
            drivers: BTreeSet::new(),
            keep: Policy::default(),
            calendar: Calendar::Kopia,
            zone: "UTC".into(),
            min_ready: 1,
            min_age: Duration::from_secs(3600),
            schedule: None,
            max_deletions: 100,
            per_minute: 10,
            windows: Vec::new(),
            cleanup: BTreeMap::new(),
            approval_valid: Duration::from_secs(3600),
        }
    }
}

/// A policy that was checked. With a problem in it, it only observes.
#[derive(Clone, Debug)]
pub struct Pruning {
    name: Arc<str>,
    rules: Rules,
    zone: TimeZone,
    timer: Option<Timer>,
    windows: Vec<Window>,
    problems: Vec<String>,
}

impl Pruning {
    /// Checks a policy; what makes no sense leaves it observing, and says so.
    #[must_use]
    pub fn new(name: &str, rules: Rules) -> Self {
        let mut problems = Vec::new();
        let zone = TimeZoneDatabase::bundled().get(&rules.zone).unwrap_or_else(|_| {
            problems.push(format!("timeZone: `{}` is no time zone; write an IANA name, or UTC", rules.zone));
            TimeZone::UTC
        });
        let timer = rules.schedule.as_ref().and_then(|(cron, zone, jitter)| {
            let timer = Timer::parse(cron, zone, *jitter, name);
            timer.map_err(|error| problems.push(format!("schedule: {error}"))).ok()
        });
        let mut windows = Vec::new();
        for (at, (schedule, zone, length)) in rules.windows.iter().enumerate() {
            match Window::parse(schedule, zone, *length) {
                Ok(window) => windows.push(window),
                Err(error) => problems.push(format!("windows[{at}]: {error}")),
            }
        }
        let enforced = rules.mode == Mode::Enforce || rules.cleanup.values().any(|part| part.mode == Mode::Enforce);
        if enforced && rules.drivers.is_empty() {
            problems.push("drivers is empty: mode Enforce needs the drivers named".to_owned());
        }
        for (part, cleanup) in &rules.cleanup {
            if part.only_by_approval() && cleanup.mode == Mode::Enforce {
                problems.push(format!("{}: no mode but an approval lets these go; write Approve", part.field()));
            }
        }
        if rules.min_ready == 0 || rules.max_deletions == 0 || rules.per_minute == 0 {
            problems.push("minReady, maxDeletionsPerRun and deletionsPerMinute have to be at least 1".to_owned());
        }
        Self { name: name.into(), rules, zone, timer, windows, problems }
    }

    /// The same with these problems: it only observes.
    #[must_use]
    pub fn objected(mut self, problems: impl IntoIterator<Item = String>) -> Self {
        self.problems.extend(problems);
        self
    }

    /// A policy of which not even the spec could be read.
    #[must_use]
    pub fn unreadable(name: &str, why: &str) -> Self {
        Self::new(name, Rules::default()).objected([format!("it cannot be read: {why}")])
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
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

    /// Its mode, where it makes sense.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.problems.is_empty() { self.rules.mode } else { Mode::Observe }
    }

    /// The pause in force.
    #[must_use]
    pub fn paused(&self, now: Timestamp) -> Option<&Pause> {
        self.rules.pause.as_ref().filter(|pause| pause.until > now)
    }

    /// A part that cleans up, where the policy has it.
    #[must_use]
    pub fn cleanup(&self, part: Part) -> Option<&Cleanup> {
        self.rules.cleanup.get(&part)
    }

    /// The mode of a part; `None`: the policy does not have it.
    #[must_use]
    pub fn mode_of(&self, part: Part) -> Option<Mode> {
        if part == Part::Snapshots {
            return Some(self.mode());
        }
        let cleanup = self.cleanup(part)?;
        Some(if self.problems.is_empty() { cleanup.mode } else { Mode::Observe })
    }

    /// The parts it has, with their modes.
    pub fn parts(&self) -> impl Iterator<Item = (Part, Mode)> {
        Part::ALL.into_iter().filter_map(|part| Some((part, self.mode_of(part)?)))
    }

    /// When it runs by itself.
    #[must_use]
    pub fn timer(&self) -> Option<&Timer> {
        self.timer.as_ref()
    }

    /// Never fewer than one, whatever was set.
    #[must_use]
    pub fn min_ready(&self) -> usize {
        usize::try_from(self.rules.min_ready.max(1)).unwrap_or(usize::MAX)
    }

    /// Its counts with their calendar.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention { policy: self.rules.keep, calendar: self.rules.calendar, zone: self.zone.clone() }
    }

    /// Whether a window lets deletions begin, else when one opens.
    ///
    /// # Errors
    /// The next opening; `None` if none ever comes.
    pub fn may_begin(&self, now: Timestamp) -> Result<(), Option<Timestamp>> {
        may_begin(&self.windows, now)
    }

    /// Whether it applies to a snapshot.
    #[must_use]
    pub fn covers(&self, cut: &Cut, field: &Field) -> bool {
        let Rules { classes, drivers, .. } = &self.rules;
        named(classes, cut.class.as_ref())
            && named(drivers, cut.driver.as_ref())
            && self.selects(&cut.labels, &cut.key.namespace, field)
    }

    /// Whether it applies to something left over. A claim has no VolumeSnapshotClass, and a Job no driver either.
    #[must_use]
    pub fn covers_relic(&self, relic: &Relic, field: &Field) -> bool {
        let Rules { classes, drivers, .. } = &self.rules;
        let thing = relic.thing();
        self.cleanup(relic.part()).is_some()
            && (thing != Thing::Content || named(classes, relic.class.as_ref()))
            && (thing == Thing::Job || named(drivers, relic.driver.as_ref()))
            && self.selects(&relic.labels, relic.namespace(), field)
    }

    /// Whether its selectors match.
    fn selects(&self, labels: &Labels, namespace: &str, field: &Field) -> bool {
        let Rules { selector, namespaces, .. } = &self.rules;
        if !selector.iter().all(|one| one.meets(labels)) {
            return false;
        }
        let Some(wanted) = namespaces else { return true };
        let none = BTreeMap::new();
        let labels = field.namespaces.get(namespace).map_or(&none, |found| &found.labels);
        wanted.iter().all(|one| one.meets(labels))
    }
}

/// An empty set names everything.
fn named(set: &BTreeSet<Arc<str>>, name: Option<&Arc<str>>) -> bool {
    set.is_empty() || name.is_some_and(|name| set.contains(name))
}
