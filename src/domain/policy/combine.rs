//! Which policies hold for one object, and what they come to together: of two, the least permissive wins.
//!
//! Each setting is combined for itself, towards less: a policy can be added to narrow what another permits, and
//! never by accident to widen it. That two differ over the same objects is reported on both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Breaker, Budgets, Mode, Operator, Pause, Policy, Requirement, Scope};
use crate::domain::digest::Encoding;
use crate::domain::gate::Gate;
use crate::domain::remedy::Step;
use crate::domain::schedule::{self, Window};

/// What a step reaches: what a policy's scope is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// One object, by its namespace and that namespace's labels.
    Object {
        /// The namespace; a content belongs to that of its VolumeSnapshot.
        namespace: &'a str,
        /// Its labels; `None` when they cannot be told.
        labels: Option<&'a BTreeMap<Box<str>, Box<str>>>,
    },
    /// A driver's controller, and with it everybody's objects.
    Driver,
}

/// Whether a scope holds for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// It does.
    Whole,
    /// It concerns it, but cannot permit it: part of a driver, or a namespace whose labels nobody knows.
    Part,
    /// It does not.
    No,
}

impl Scope {
    fn matches(&self, driver: &str, reach: Reach<'_>) -> Match {
        if !self.drivers.is_empty() && !self.drivers.contains(driver) {
            return Match::No;
        }
        match reach {
            Reach::Driver if self.selector.is_some() || !self.excluded.is_empty() => Match::Part,
            Reach::Driver => Match::Whole,
            Reach::Object { namespace, .. } if self.excluded.contains(namespace) => Match::No,
            Reach::Object { labels, .. } => match (&self.selector, labels) {
                (None, _) => Match::Whole,
                (Some(_), None) => Match::Part,
                (Some(selector), Some(labels)) if selector.iter().all(|one| one.meets(labels)) => Match::Whole,
                (Some(_), Some(_)) => Match::No,
            },
        }
    }

    /// Whether an object could be in both; errs towards yes.
    fn meets(&self, other: &Self) -> bool {
        let drivers = self.drivers.is_empty() || other.drivers.is_empty() || !self.drivers.is_disjoint(&other.drivers);
        let ours = self.selector.iter().flatten();
        drivers && !ours.into_iter().any(|one| other.selector.iter().flatten().any(|two| one.excludes(two)))
    }
}

impl Requirement {
    /// No labels meet both: one policy a team is the common use of several, and no conflict.
    fn excludes(&self, other: &Self) -> bool {
        use Operator::{DoesNotExist, Exists, In, NotIn};
        self.key == other.key
            && match (self.operator, other.operator) {
                (In, In) => self.values.is_disjoint(&other.values),
                (In, NotIn) => self.values.is_subset(&other.values),
                (NotIn, In) => other.values.is_subset(&self.values),
                (In | Exists, DoesNotExist) | (DoesNotExist, In | Exists) => true,
                (NotIn, NotIn | DoesNotExist | Exists)
                | (Exists, NotIn | In | Exists)
                | (DoesNotExist, NotIn | DoesNotExist)
                | (In, Exists) => false,
            }
    }
}

/// Every policy of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(BTreeMap<Arc<str>, Policy>);

impl Policies {
    /// Adds or replaces one.
    pub fn put(&mut self, policy: Policy) {
        self.0.insert(Arc::clone(policy.name()), policy);
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.values()
    }

    /// The names of those that differ from this one over objects that may be in both.
    #[must_use]
    pub fn conflicts(&self, policy: &Policy) -> Vec<Arc<str>> {
        let others = self.0.values().filter(|other| other.name() != policy.name());
        let differs = |other: &&Policy| {
            let settings = |policy: &Policy| super::Spec { scope: Scope::default(), ..policy.spec.clone() };
            other.spec.scope.meets(&policy.spec.scope)
                && (settings(other) != settings(policy) || other.mode() != policy.mode())
        };
        others.filter(differs).map(|other| Arc::clone(other.name())).collect()
    }

    /// What holds for something of this driver.
    #[must_use]
    pub fn govern(&self, driver: &str, reach: Reach<'_>) -> Governing {
        let mut all: Option<Governing> = None;
        let mut whole = false;
        for policy in self.0.values() {
            let found = policy.spec.scope.matches(driver, reach);
            if found == Match::No {
                continue;
            }
            whole |= found == Match::Whole;
            let one = Governing::of(policy);
            all = Some(match all {
                None => one,
                Some(others) => others.narrowed(one),
            });
        }
        match all {
            None => Governing { in_scope: false, ..Governing::of(&Policy::built_in()) },
            Some(all) => Governing { in_scope: whole, ..all },
        }
    }

    /// How many ended entries of the ledger are kept, and for how long: the longest of all.
    #[must_use]
    pub fn keep(&self) -> (u32, Duration) {
        let default = super::Spec::default();
        let specs = self.0.values().map(Policy::spec);
        specs.fold((default.keep, default.keep_for), |(keep, keep_for), spec| {
            (keep.max(spec.keep), keep_for.max(spec.keep_for))
        })
    }
}

/// What all policies that hold for something come to together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governing {
    /// Their names, in order.
    pub names: Vec<Arc<str>>,
    /// At least one covers it wholly; without that nothing is permitted.
    pub in_scope: bool,
    /// The least permissive mode.
    pub mode: Mode,
    /// Names of those that are suspended.
    pub suspended: Vec<Arc<str>>,
    /// The pauses, with the policy's name.
    pub pauses: Vec<(Arc<str>, Pause)>,
    /// Steps that all of them switch on.
    pub steps: BTreeSet<Step>,
    /// The highest floor.
    pub min_floor: Duration,
    /// The most observations ...
    pub observations: u32,
    /// ... the furthest apart.
    pub observation_interval: Duration,
    /// The smallest of each.
    pub budgets: Budgets,
    /// The most.
    pub first_singly: u32,
    /// The fewest.
    pub max_in_flight: u32,
    /// The most careful of each.
    pub breaker: Breaker,
    /// Each policy's windows: one of each has to be open.
    pub windows: Vec<Vec<Window>>,
    /// All gates of all of them.
    pub gates: BTreeSet<Gate>,
    /// All of them assume it.
    pub assume_healthy: bool,
    /// The shortest.
    pub approval_valid: Duration,
    /// They differ.
    pub conflict: bool,
    digest: Digest,
}

/// The policies' own encodings, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Digest(Box<str>);

impl Governing {
    fn of(policy: &Policy) -> Self {
        let spec = policy.spec();
        let mut encoding = Encoding::default();
        policy.encode(&mut encoding);
        let name = policy.name();
        Self {
            names: vec![Arc::clone(name)],
            in_scope: true,
            mode: policy.mode(),
            suspended: spec.suspended.then(|| Arc::clone(name)).into_iter().collect(),
            pauses: spec.pause.clone().map(|pause| (Arc::clone(name), pause)).into_iter().collect(),
            steps: spec.steps.clone(),
            min_floor: spec.min_floor,
            observations: spec.observations,
            observation_interval: spec.observation_interval,
            budgets: spec.budgets,
            first_singly: spec.first_singly,
            max_in_flight: spec.max_in_flight,
            breaker: spec.breaker,
            windows: vec![policy.windows.clone()],
            gates: spec.gates.iter().cloned().collect(),
            assume_healthy: spec.assume_healthy,
            approval_valid: spec.approval_valid,
            conflict: false,
            digest: Digest(encoding.text().into()),
        }
    }

    fn narrowed(mut self, other: Self) -> Self {
        let Budgets { nudges, marks, finalizers, leases, restarts } = other.budgets;
        let budgets = Budgets {
            nudges: self.budgets.nudges.min(nudges),
            marks: self.budgets.marks.min(marks),
            finalizers: self.budgets.finalizers.min(finalizers),
            leases: self.budgets.leases.min(leases),
            restarts: self.budgets.restarts.min(restarts),
        };
        let breaker = Breaker {
            failures: self.breaker.failures.min(other.breaker.failures),
            half_open_after: self.breaker.half_open_after.max(other.breaker.half_open_after),
            max_open_for: self.breaker.max_open_for.max(other.breaker.max_open_for),
        };
        let conflict = self.conflict
            || self.mode != other.mode
            || self.steps != other.steps
            || self.budgets != other.budgets
            || self.breaker != other.breaker
            || self.gates != other.gates
            || self.windows.last() != other.windows.first();
        self.names.extend(other.names);
        self.suspended.extend(other.suspended);
        self.pauses.extend(other.pauses);
        self.windows.extend(other.windows);
        self.gates.extend(other.gates);
        Self {
            in_scope: self.in_scope || other.in_scope,
            mode: self.mode.min(other.mode),
            steps: self.steps.intersection(&other.steps).copied().collect(),
            min_floor: self.min_floor.max(other.min_floor),
            observations: self.observations.max(other.observations),
            observation_interval: self.observation_interval.max(other.observation_interval),
            budgets,
            first_singly: self.first_singly.max(other.first_singly),
            max_in_flight: self.max_in_flight.min(other.max_in_flight),
            breaker,
            assume_healthy: self.assume_healthy && other.assume_healthy,
            approval_valid: self.approval_valid.min(other.approval_valid),
            conflict,
            digest: Digest(format!("{}{}", self.digest.0, other.digest.0).into()),
            ..self
        }
    }

    /// Adds what was set to a plan's encoding.
    pub fn encode(&self, out: &mut Encoding) {
        out.field("policies", &self.digest.0);
    }

    /// The policies' names in words.
    #[must_use]
    pub fn named(&self) -> String {
        self.names.join(", ")
    }

    /// When repairs may begin: every policy has to have a window open.
    ///
    /// # Errors
    /// When to ask again; `None` if no window ever opens.
    pub fn may_begin(&self, now: Timestamp) -> Result<(), Option<Timestamp>> {
        let closed: Vec<Option<Timestamp>> =
            self.windows.iter().filter_map(|windows| schedule::may_begin(windows, now).err()).collect();
        if closed.is_empty() {
            return Ok(());
        }
        // One that never opens holds for ever, whatever the others do.
        Err(closed.into_iter().collect::<Option<Vec<Timestamp>>>().and_then(|all| all.into_iter().max()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Operator, Requirement, Spec};
    use super::*;

    fn policy(name: &str, change: impl FnOnce(&mut Spec)) -> Policy {
        let mut spec = Spec { mode: Mode::Enforce, ..Spec::default() };
        spec.scope.drivers.insert("d".into());
        change(&mut spec);
        Policy::new(name, spec)
    }

    fn set(policies: impl IntoIterator<Item = Policy>) -> Policies {
        let mut set = Policies::default();
        policies.into_iter().for_each(|policy| set.put(policy));
        set
    }

    const ANY: Reach<'_> = Reach::Object { namespace: "a", labels: None };

    #[test]
    fn without_a_policy_the_built_in_one_observes() {
        let governing = Policies::default().govern("d", ANY);
        assert_eq!((governing.mode, governing.in_scope), (Mode::Observe, false));
        let other = set([policy("p", |_| {})]).govern("another", ANY);
        assert_eq!((other.mode, other.in_scope), (Mode::Observe, false));
    }

    #[test]
    fn of_two_the_least_permissive_wins_in_each_setting() {
        let one = policy("one", |spec| {
            spec.budgets.nudges = 5;
            spec.min_floor = Duration::from_secs(10);
            spec.assume_healthy = true;
        });
        let two = policy("two", |spec| {
            spec.mode = Mode::Approve;
            spec.steps.remove(&Step::Nudge);
            spec.observations = 7;
            spec.max_in_flight = 2;
            spec.breaker.failures = 1;
            spec.approval_valid = Duration::from_secs(60);
            spec.suspended = true;
        });
        for policies in [set([one.clone(), two.clone()]), set([two.clone(), one.clone()])] {
            let both = policies.govern("d", ANY);
            assert_eq!((both.mode, both.conflict, both.in_scope), (Mode::Approve, true, true));
            assert_eq!((both.budgets.nudges, both.min_floor), (5, Duration::from_secs(10)));
            assert!(!both.steps.contains(&Step::Nudge) && both.steps.contains(&Step::MarkBeingDeleted));
            assert_eq!((both.observations, both.max_in_flight, both.breaker.failures), (7, 2, 1));
            assert!(!both.assume_healthy && both.suspended.len() == 1);
            assert_eq!(both.approval_valid, Duration::from_secs(60));
            assert_eq!(policies.conflicts(&one), [Arc::from("two")]);
            assert_eq!(policies.conflicts(&two), [Arc::from("one")]);
        }
    }

    #[test]
    fn equal_policies_and_policies_of_other_drivers_do_not_conflict() {
        let one = policy("one", |_| {});
        let same = policy("same", |_| {});
        let other = policy("other", |spec| {
            spec.mode = Mode::Approve;
            spec.scope.drivers = ["x".into()].into();
        });
        let policies = set([one.clone(), same, other]);
        assert!(policies.conflicts(&one).is_empty());
        assert!(!policies.govern("d", ANY).conflict);
    }

    #[test]
    fn policies_for_namespaces_that_cannot_be_the_same_do_not_conflict() {
        let selecting = |name, mode, operator, values: &[&str]| {
            let values = values.iter().map(|value| Box::from(*value)).collect();
            policy(name, |spec| {
                spec.mode = mode;
                spec.scope.selector = Some(vec![Requirement { key: "team".into(), operator, values }]);
            })
        };
        for ((one, ours), (two, others), conflict) in [
            ((Operator::In, &["a", "b"] as &[_]), (Operator::In, &["c"] as &[_]), false),
            ((Operator::In, &["a", "b"]), (Operator::In, &["b"]), true),
            ((Operator::In, &["a"]), (Operator::NotIn, &["a", "b"]), false),
            ((Operator::In, &["a", "c"]), (Operator::NotIn, &["a", "b"]), true),
            ((Operator::In, &["a"]), (Operator::DoesNotExist, &[]), false),
            ((Operator::Exists, &[]), (Operator::DoesNotExist, &[]), false),
            ((Operator::In, &["a"]), (Operator::Exists, &[]), true),
            ((Operator::NotIn, &["a"]), (Operator::DoesNotExist, &[]), true),
            ((Operator::NotIn, &["a"]), (Operator::NotIn, &["b"]), true),
        ] {
            let one = selecting("one", Mode::Enforce, one, ours);
            let two = selecting("two", Mode::Approve, two, others);
            let all = set([one.clone(), two.clone()]);
            assert_eq!(!all.conflicts(&one).is_empty(), conflict, "{one:?} {two:?}");
            assert_eq!(!all.conflicts(&two).is_empty(), conflict, "{two:?} {one:?}");
        }
        let everywhere = policy("everywhere", |spec| spec.mode = Mode::Approve);
        let one = selecting("one", Mode::Enforce, Operator::In, &["a"]);
        assert_eq!(set([one.clone(), everywhere]).conflicts(&one).len(), 1);
    }

    #[test]
    fn every_policys_windows_have_to_be_open() {
        let hours = |from: &str, hours: u64| (from.into(), "UTC".into(), Duration::from_secs(hours * 3600));
        let one = policy("one", |spec| spec.windows = vec![hours("0 1 * * *", 4)]);
        let two = policy("two", |spec| spec.windows = vec![hours("0 3 * * *", 4)]);
        let always = policy("zzz", |_| {});
        let both = set([one, two, always]).govern("d", ANY);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(both.may_begin(at("2026-07-01T02:00:00Z")), Err(Some(at("2026-07-01T03:00:00Z"))));
        assert_eq!(both.may_begin(at("2026-07-01T04:00:00Z")), Ok(()));
    }

    #[test]
    fn a_namespace_is_selected_by_its_labels_and_never_by_labels_nobody_knows() {
        let selecting = policy("one", |spec| {
            spec.scope.selector =
                Some(vec![Requirement { key: "team".into(), operator: Operator::In, values: ["a".into()].into() }]);
            spec.scope.excluded.insert("kube-system".into());
        });
        let policies = set([selecting]);
        let labels = |value: &str| BTreeMap::from([("team".into(), value.into())]);
        let (a, b) = (labels("a"), labels("b"));
        let object = |namespace, labels| policies.govern("d", Reach::Object { namespace, labels }).in_scope;
        assert!(object("x", Some(&a)));
        assert!(!object("x", Some(&b)));
        assert!(!object("x", None));
        assert!(!object("kube-system", Some(&a)));
        let driver = policies.govern("d", Reach::Driver);
        assert!(!driver.in_scope, "a restart reaches beyond the namespaces it was given");
    }

    #[test]
    fn labels_are_compared_as_kubernetes_does() {
        let labels = BTreeMap::from([("a".into(), "1".into())]);
        let one = |key: &str, operator, values: &[&str]| Requirement {
            key: key.into(),
            operator,
            values: values.iter().map(|value| Box::from(*value)).collect(),
        };
        for (requirement, meets) in [
            (one("a", Operator::In, &["1", "2"]), true),
            (one("b", Operator::In, &["1"]), false),
            (one("a", Operator::NotIn, &["1"]), false),
            (one("b", Operator::NotIn, &["1"]), true),
            (one("a", Operator::Exists, &[]), true),
            (one("b", Operator::Exists, &[]), false),
            (one("a", Operator::DoesNotExist, &[]), false),
            (one("b", Operator::DoesNotExist, &[]), true),
        ] {
            assert_eq!(requirement.meets(&labels), meets, "{requirement:?}");
        }
    }
}
