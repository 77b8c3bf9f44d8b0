//! What Volwarden may do by itself: a policy as the core reads it, checked.
//!
//! The edges translate a RemediationPolicy or a file into a [`Spec`]; [`Policy::new`] checks it, and never
//! fails: what makes no sense turns the policy into one that only observes, with the reason. A policy that is
//! read wrongly, or not at all, must never be how something gets permitted.

mod combine;
mod standing;

pub use combine::{Governing, Policies, Reach};
pub use standing::{Floor, Standing, Stated, Told, UNFENCED};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::digest::Encoding;
use super::gate::Gate;
use super::remedy::Step;
use super::schedule::Window;
use super::words;

/// The longest window of a budget; the ledger has to reach further back.
pub const LONGEST_BUDGET: Duration = Duration::from_secs(6 * 3600);

/// Name of the policy that holds where there is no other.
pub const BUILT_IN: &str = "built-in";

/// What may be done without asking; more permissive is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Only report.
    #[default]
    Observe,
    /// Act on plans that somebody approved.
    Approve,
    /// Act on what rungs and guards allow.
    Enforce,
}

impl Mode {
    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "Observe",
            Self::Approve => "Approve",
            Self::Enforce => "Enforce",
        }
    }
}

/// A pause. It always ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub reason: Box<str>,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Its value is one of these.
    In,
    /// It is absent, or its value is none of these.
    NotIn,
    /// It is there.
    Exists,
    /// It is not.
    DoesNotExist,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: Box<str>,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub values: BTreeSet<Box<str>>,
}

impl Requirement {
    /// Whether these labels meet it.
    #[must_use]
    pub fn meets(&self, labels: &BTreeMap<Box<str>, Box<str>>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// To what a policy applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Drivers by name; empty: all of them, which Enforce does not accept.
    pub drivers: BTreeSet<Arc<str>>,
    /// Only namespaces whose labels meet all of these; `None`: every namespace.
    pub selector: Option<Vec<Requirement>>,
    /// Not these namespaces.
    pub excluded: BTreeSet<Box<str>>,
}

/// How much at most, per driver; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Nudges in an hour.
    pub nudges: u32,
    /// Being-deleted annotations in an hour.
    pub marks: u32,
    /// Removed finalizers in an hour; deletions by approval count here too.
    pub finalizers: u32,
    /// Deleted leases in an hour.
    pub leases: u32,
    /// Restarted pods in six hours.
    pub restarts: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { nudges: 60, marks: 60, finalizers: 10, leases: 1, restarts: 1 }
    }
}

/// When a driver is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// After so many failed episodes in a row ...
    pub failures: u32,
    /// ... for so long, doubled with each further failure ...
    pub half_open_after: Duration,
    /// ... up to this.
    pub max_open_for: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 3, half_open_after: Duration::from_secs(1800), max_open_for: Duration::from_secs(12 * 3600) }
    }
}

/// All that can be set, as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What may be done without asking.
    pub mode: Mode,
    /// Do nothing.
    pub suspended: bool,
    /// Do nothing until then.
    pub pause: Option<Pause>,
    /// To what it applies.
    pub scope: Scope,
    /// The steps that are on.
    pub steps: BTreeSet<Step>,
    /// No floor is lower than this.
    pub min_floor: Duration,
    /// So many fresh reads have to agree ...
    pub observations: u32,
    /// ... so far apart at least.
    pub observation_interval: Duration,
    /// How much at most.
    pub budgets: Budgets,
    /// Of one class and driver, so many one at a time.
    pub first_singly: u32,
    /// After that, so many at once.
    pub max_in_flight: u32,
    /// When a driver is left alone.
    pub breaker: Breaker,
    /// When repairs may begin: schedule, zone, length.
    pub windows: Vec<(Box<str>, Box<str>, Duration)>,
    /// While any of these holds, nothing begins.
    pub gates: Vec<Gate>,
    /// Take the backend for healthy where no CephCluster tells.
    pub assume_healthy: bool,
    /// How long an approval is good.
    pub approval_valid: Duration,
    /// So many ended entries of the ledger are kept at most ...
    pub keep: u32,
    /// ... and so long.
    pub keep_for: Duration,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            suspended: false,
            pause: None,
            scope: Scope::default(),
            steps: Step::ALL.into_iter().filter(|step| step.on_by_default()).collect(),
            min_floor: Duration::ZERO,
            observations: 3,
            observation_interval: Duration::from_secs(30),
            budgets: Budgets::default(),
            first_singly: 3,
            max_in_flight: 4,
            breaker: Breaker::default(),
            windows: Vec::new(),
            gates: Vec::new(),
            assume_healthy: false,
            approval_valid: Duration::from_secs(3600),
            keep: 1000,
            keep_for: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// A policy that was checked. With a problem in it, it only observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: Arc<str>,
    spec: Spec,
    windows: Vec<Window>,
    problems: Vec<String>,
    told: Told,
}

impl Policy {
    /// Checks a policy; what makes no sense leaves it observing, and says so.
    #[must_use]
    pub fn new(name: &str, mut spec: Spec) -> Self {
        let mut problems = Vec::new();
        let mut windows = Vec::new();
        for (at, (schedule, zone, length)) in spec.windows.iter().enumerate() {
            match Window::parse(schedule, zone, *length) {
                Ok(window) => windows.push(window),
                Err(error) => problems.push(format!("windows[{at}]: {error}")),
            }
        }
        let gates = spec.gates.iter().enumerate();
        problems.extend(gates.filter_map(|(at, gate)| gate.problem().map(|why| format!("alerts[{at}]: {why}"))));
        if spec.mode == Mode::Enforce && spec.scope.drivers.is_empty() {
            problems.push("scope.drivers is empty: mode Enforce needs the drivers named".to_owned());
        }
        if spec.observations == 0 || spec.first_singly == 0 || spec.max_in_flight == 0 || spec.breaker.failures == 0 {
            problems.push(
                "thresholds.observations, limits.firstSingly, limits.maxInFlight and limits.breaker.failures have to be at \
                 least 1"
                    .to_owned(),
            );
        }
        let breaker = spec.breaker;
        if breaker.half_open_after.is_zero() || breaker.half_open_after > breaker.max_open_for {
            problems
                .push("limits.breaker: halfOpenAfter has to be more than 0 and not more than maxOpenFor".to_owned());
        }
        let least = LONGEST_BUDGET.max(breaker.max_open_for);
        if spec.keep_for <= least {
            problems.push(format!(
                "ledger.keepFor has to be longer than {}: budgets and the breaker are counted from the ledger",
                words::short(least)
            ));
        }
        // What is never on by mode alone cannot be switched on.
        spec.steps.retain(|step| !step.only_by_approval());
        Self { name: name.into(), spec, windows, problems, told: Told::default() }
    }

    /// The same with these problems: it only observes.
    #[must_use]
    pub fn objected(mut self, problems: impl IntoIterator<Item = String>) -> Self {
        self.problems.extend(problems);
        self
    }

    /// The same with what its object says of itself.
    #[must_use]
    pub fn as_told(self, told: Told) -> Self {
        Self { told, ..self }
    }

    /// A policy of which not even the spec could be read: it observes, everywhere.
    #[must_use]
    pub fn unreadable(name: &str, why: &str) -> Self {
        let mut policy = Self::new(name, Spec::default());
        policy.problems.push(format!("it cannot be read: {why}"));
        policy
    }

    /// The policy that holds where there is no other: it only observes.
    #[must_use]
    pub fn built_in() -> Self {
        Self::new(BUILT_IN, Spec::default())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What was set.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What makes no sense in it, one line each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What its object said of itself; nothing for a policy that is in no cluster.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Whether it sets the same as another: all but what its object says of itself.
    #[must_use]
    pub fn same_rules(&self, other: &Self) -> bool {
        (&self.name, &self.spec, &self.problems) == (&other.name, &other.spec, &other.problems)
    }

    /// Its mode, where it makes sense.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.problems.is_empty() { self.spec.mode } else { Mode::Observe }
    }

    /// Adds all that it sets to a plan's encoding: a plan approved under one policy is none under another.
    fn encode(&self, out: &mut Encoding) {
        let spec = &self.spec;
        out.field("policy", &self.name);
        out.field("mode", self.mode().as_str());
        out.list("drivers", &spec.scope.drivers);
        out.list("excluded", &spec.scope.excluded);
        let requirements = spec.scope.selector.iter().flatten();
        out.list("selector", requirements.map(|one| format!("{} {:?} {:?}", one.key, one.operator, one.values)));
        out.list("steps", &spec.steps);
        out.list(
            "thresholds",
            [
                spec.min_floor.as_secs(),
                spec.observations.into(),
                spec.observation_interval.as_secs(),
                spec.first_singly.into(),
                spec.max_in_flight.into(),
                spec.approval_valid.as_secs(),
            ],
        );
        let Budgets { nudges, marks, finalizers, leases, restarts } = spec.budgets;
        out.list("budgets", [nudges, marks, finalizers, leases, restarts]);
        let Breaker { failures, half_open_after, max_open_for } = spec.breaker;
        out.list("breaker", [failures.into(), half_open_after.as_secs(), max_open_for.as_secs()]);
        let windows = self.windows.iter();
        out.list("windows", windows.map(|w| format!("{} {} {}", w.schedule(), w.zone(), w.length().as_secs())));
        let gates = spec.gates.iter();
        out.list("alerts", gates.map(|gate| format!("{} {} {}", gate.name, gate.server, gate.query)));
        out.field("assumeHealthy", spec.assume_healthy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enforce() -> Spec {
        let mut spec = Spec { mode: Mode::Enforce, ..Spec::default() };
        spec.scope.drivers.insert("d".into());
        spec
    }

    #[test]
    fn the_built_in_policy_observes_and_has_no_problem() {
        let policy = Policy::built_in();
        assert_eq!((policy.mode(), policy.problems()), (Mode::Observe, &[] as &[String]));
    }

    #[test]
    fn by_default_only_the_steps_that_cannot_lose_anything_are_on() {
        let on: Vec<&str> = Spec::default().steps.into_iter().map(Step::as_str).collect();
        assert_eq!(on, ["Nudge", "MarkBeingDeleted", "RemoveContentFinalizer", "RemoveProvisionerFinalizer"]);
    }

    #[test]
    fn what_makes_no_sense_observes_and_says_why() {
        type Change = (&'static str, fn(&mut Spec));
        assert_eq!(Policy::new("p", enforce()).mode(), Mode::Enforce);
        let changes: [Change; 7] = [
            ("drivers named", |spec| spec.scope.drivers.clear()),
            ("at least 1", |spec| spec.observations = 0),
            ("halfOpenAfter", |spec| spec.breaker.half_open_after = Duration::MAX),
            ("halfOpenAfter", |spec| spec.breaker.half_open_after = Duration::ZERO),
            ("counted from the ledger", |spec| spec.keep_for = LONGEST_BUDGET),
            ("is to be repaired", |spec| {
                let (name, server) = ("g".into(), "http://p".into());
                spec.gates.push(Gate { name, server, query: "volsync_volume_out_of_sync > 0".into() });
            }),
            ("no time zone", |spec| spec.windows.push(("0 1 * * *".into(), "x".into(), Duration::from_secs(60)))),
        ];
        for (word, change) in changes {
            let mut spec = enforce();
            change(&mut spec);
            let policy = Policy::new("p", spec);
            assert_eq!(policy.mode(), Mode::Observe, "{word}");
            assert!(policy.problems().iter().any(|problem| problem.contains(word)), "{:?}", policy.problems());
        }
        assert_eq!(Policy::unreadable("p", "no spec").mode(), Mode::Observe);
    }

    #[test]
    fn what_somebody_objects_to_observes_and_a_status_changes_no_rule() {
        let policy = Policy::new("p", enforce());
        let objected = policy.clone().objected(["limits.firstSingly: 0".to_owned()]);
        assert_eq!((objected.mode(), objected.problems().len()), (Mode::Observe, 1));
        assert!(!objected.same_rules(&policy));
        let told = policy.clone().as_told(Told { version: "7".into(), generation: 2, ..Told::default() });
        assert!(told.same_rules(&policy) && told != policy);
        assert!(!Policy::new("p", Spec::default()).same_rules(&policy));
    }

    #[test]
    fn what_needs_an_approval_cannot_be_switched_on() {
        let mut spec = enforce();
        spec.steps = Step::ALL.into_iter().collect();
        let policy = Policy::new("p", spec);
        assert!(!policy.spec().steps.contains(&Step::RemoveIntoOrphanLedger));
        assert!(!policy.spec().steps.contains(&Step::DeleteAbandoned));
        assert!(policy.spec().steps.contains(&Step::ReleaseLease));
    }
}
