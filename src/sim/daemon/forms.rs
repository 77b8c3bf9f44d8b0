//! The seam to the forms in which our own objects are stored: written and read here, and nowhere else.

use serde_json::{Value, json};

use crate::api::policy::{self, RemediationPolicySpec};
use crate::domain::fact::{Change, Fact, Source};
use crate::domain::ledger::Record;
use crate::domain::name::{Key, Uid, fingerprint};
use crate::domain::policy::{Breaker, Budgets, Mode, Operator, Pause, Policy, Requirement, Spec};
use crate::domain::record::Left;
use crate::domain::remedy::Step;
use crate::domain::remedy::action::Orphan;
use crate::io::ledger;
use crate::sim::store::object;

pub(super) use crate::io::ledger::{created, status};

pub(super) fn orphan(orphan: &Orphan, record: &str) -> Value {
    json!({"metadata": {"name": orphan.name()}, "spec": {"driver": orphan.driver, "snapshotHandle": orphan.handle,
        "origin": {"content": {"name": orphan.content.0.name, "uid": orphan.content.1.to_string()}},
        "remediation": record}})
}

/// The record that an object holds.
pub(in crate::sim) fn record_of(object: &Value) -> Option<Record> {
    ledger::record(&object.to_string()).ok()
}

/// What a line of one of our own sources says of an object that is there.
pub(super) fn read(source: Source, line: &str) -> Option<Fact> {
    if !matches!(source, Source::Policies | Source::Remediations | Source::Orphans) {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    if !matches!(object::text(&line, "/type"), "ADDED" | "MODIFIED") {
        return None;
    }
    let object = line.get("object")?;
    let key = Key::cluster(object::name(object));
    Some(match source {
        Source::Policies => {
            let name = object::name(object);
            let spec = serde_json::from_value(object.get("spec")?.clone()).ok()?;
            Fact::Policy(Change::Applied(key, Box::new(Policy::new(name, spec_of(spec)))))
        }
        Source::Remediations => Fact::Remediation(Change::Applied(key, Box::new(record_of(object)?))),
        _ => {
            let left = Left {
                print: fingerprint(object::text(object, "/spec/snapshotHandle")),
                content: Uid::parse(object::text(object, "/spec/origin/content/uid")),
            };
            Fact::Orphan(Change::Applied(key, left))
        }
    })
}

fn spec_of(spec: RemediationPolicySpec) -> Spec {
    let mut out = Spec {
        mode: match spec.mode {
            policy::Mode::Observe => Mode::Observe,
            policy::Mode::Approve => Mode::Approve,
            policy::Mode::Enforce => Mode::Enforce,
        },
        suspended: spec.suspend,
        pause: spec.pause.map(|pause| Pause { reason: pause.reason.into(), until: pause.until }),
        min_floor: spec.thresholds.min_floor.duration(),
        observations: spec.thresholds.observations,
        observation_interval: spec.thresholds.observation_interval.duration(),
        budgets: Budgets {
            nudges: spec.limits.budgets.nudges_per_hour,
            marks: spec.limits.budgets.marks_per_hour,
            finalizers: spec.limits.budgets.finalizers_per_hour,
            leases: spec.limits.budgets.leases_per_hour,
            restarts: spec.limits.budgets.restarts_per_six_hours,
        },
        first_singly: spec.limits.first_singly,
        max_in_flight: spec.limits.max_in_flight,
        breaker: Breaker {
            failures: spec.limits.breaker.failures,
            half_open_after: spec.limits.breaker.half_open_after.duration(),
            max_open_for: spec.limits.breaker.max_open_for.duration(),
        },
        windows: spec
            .windows
            .iter()
            .map(|w| (w.schedule.as_str().into(), w.time_zone.as_str().into(), w.duration.duration()))
            .collect(),
        assume_healthy: spec.backend.assume_healthy,
        approval_valid: spec.approval.valid_for.duration(),
        keep: spec.ledger.keep,
        keep_for: spec.ledger.keep_for.duration(),
        ..Spec::default()
    };
    out.scope.drivers = spec.scope.drivers.iter().map(|name| name.as_str().into()).collect();
    out.scope.excluded = spec.scope.excluded_namespaces.iter().map(|name| name.as_str().into()).collect();
    out.scope.selector = spec.scope.namespace_selector.map(|selector| {
        let labels = selector.match_labels.iter().map(|(key, value)| Requirement {
            key: key.as_str().into(),
            operator: Operator::In,
            values: [value.as_str().into()].into(),
        });
        labels.collect()
    });
    let rungs = spec.rungs;
    let switches = [
        (rungs.nudge, Step::Nudge),
        (rungs.mark_being_deleted, Step::MarkBeingDeleted),
        (rungs.restart_leader, Step::RestartLeader),
        (rungs.restart_leader, Step::RestartCandidate),
        (rungs.release_lease, Step::ReleaseLease),
        (rungs.remove_content_finalizer, Step::RemoveContentFinalizer),
        (rungs.remove_retained_finalizer, Step::RemoveRetainedFinalizer),
        (rungs.remove_provisioner_finalizer, Step::RemoveProvisionerFinalizer),
    ];
    out.steps = switches.into_iter().filter(|(on, _)| *on).map(|(_, step)| step).collect();
    out
}
