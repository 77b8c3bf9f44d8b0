//! RemediationPolicies: from the cluster or a file to `domain::policy::Policy`.
//!
//! Reading never fails and never permits: what cannot be read is a policy that only observes and says why. One that
//! can be read but that the API server would refuse (an older one let it in) observes too, where it applies.

pub mod file;
mod status;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::api::check;
use crate::api::policy::{self as api, RemediationPolicySpec, RemediationPolicyStatus, Rungs, Scope};
use crate::domain::gate::Gate;
use crate::domain::policy::{Breaker, Budgets, Mode, Operator, Pause, Policy, Requirement, Spec, Stated, Told};
use crate::domain::remedy::Step;

pub use status::status;

/// The object, as far as it is read.
#[derive(Deserialize)]
struct View {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Option<Box<str>>,
    generation: Option<i64>,
}

/// Reads a policy of this name as the API server sends it.
#[must_use]
pub fn read(name: &str, json: &str) -> Policy {
    match serde_json::from_str::<View>(json) {
        Ok(view) => judged(name, &view.spec).as_told(told(&view.metadata, view.status)),
        Err(error) => Policy::unreadable(name, &error.to_string()),
    }
}

/// A policy of this name with this spec.
fn judged(name: &str, spec: &Value) -> Policy {
    let checked = check::policy(spec);
    let flaws: Vec<String> = checked.flaws.iter().map(ToString::to_string).collect();
    match checked.spec {
        Some(spec) => Policy::new(name, translated(&spec)).objected(flaws),
        None => Policy::unreadable(name, &flaws.join("; ")),
    }
}

/// What the object says of itself. A status that cannot be read is one that is written anew.
fn told(metadata: &Metadata, status: Value) -> Told {
    let status: Option<RemediationPolicyStatus> = serde_json::from_value(status).ok();
    let conditions = status.iter().flat_map(|status| &status.conditions);
    let stated = conditions.map(|one| Stated {
        about: one.r#type.as_str().into(),
        holds: status::holds(one.status),
        reason: one.reason.as_str().into(),
        since: one.last_transition_time,
    });
    Told {
        version: metadata.resource_version.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        conditions: stated.collect(),
        print: status.as_ref().map_or(0, status::print),
    }
}

// === The spec ===

/// A spec in the core's terms; the ranges of its values are not looked at.
#[must_use]
pub fn translated(spec: &RemediationPolicySpec) -> Spec {
    let RemediationPolicySpec {
        mode,
        suspend,
        pause,
        scope,
        rungs,
        thresholds,
        limits,
        windows,
        alerts,
        backend,
        approval,
        ledger,
    } = spec;
    let api::Budgets { nudges_per_hour, marks_per_hour, finalizers_per_hour, leases_per_hour, restarts_per_six_hours } =
        limits.budgets;
    Spec {
        mode: match mode {
            api::Mode::Observe => Mode::Observe,
            api::Mode::Approve => Mode::Approve,
            api::Mode::Enforce => Mode::Enforce,
        },
        suspended: *suspend,
        pause: pause.as_ref().map(|pause| Pause { reason: pause.reason.as_str().into(), until: pause.until }),
        scope: scoped(scope),
        steps: steps(rungs).into_iter().filter_map(|(step, on)| on.then_some(step)).collect(),
        min_floor: thresholds.min_floor.duration(),
        observations: thresholds.observations,
        observation_interval: thresholds.observation_interval.duration(),
        budgets: Budgets {
            nudges: nudges_per_hour,
            marks: marks_per_hour,
            finalizers: finalizers_per_hour,
            leases: leases_per_hour,
            restarts: restarts_per_six_hours,
        },
        first_singly: limits.first_singly,
        max_in_flight: limits.max_in_flight,
        breaker: Breaker {
            failures: limits.breaker.failures,
            half_open_after: limits.breaker.half_open_after.duration(),
            max_open_for: limits.breaker.max_open_for.duration(),
        },
        windows: windows.iter().map(opened).collect(),
        gates: alerts.iter().map(gate).collect(),
        assume_healthy: backend.assume_healthy,
        approval_valid: approval.valid_for.duration(),
        keep: ledger.keep,
        keep_for: ledger.keep_for.duration(),
    }
}

fn gate(gate: &api::Gate) -> Gate {
    let server = gate.prometheus.trim_end_matches('/').into();
    Gate { name: gate.name.as_str().into(), server, query: gate.query.as_str().into() }
}

pub(in crate::io) fn opened(window: &api::Window) -> (Box<str>, Box<str>, Duration) {
    (window.schedule.as_str().into(), window.time_zone.as_str().into(), window.duration.duration())
}

/// The steps behind each switch. The two restarts are one switch: both delete a pod of a csi-snapshotter.
fn steps(rungs: &Rungs) -> [(Step, bool); 8] {
    let Rungs {
        nudge,
        mark_being_deleted,
        restart_leader,
        release_lease,
        remove_content_finalizer,
        remove_retained_finalizer,
        remove_provisioner_finalizer,
    } = *rungs;
    [
        (Step::Nudge, nudge),
        (Step::MarkBeingDeleted, mark_being_deleted),
        (Step::RestartLeader, restart_leader),
        (Step::RestartCandidate, restart_leader),
        (Step::ReleaseLease, release_lease),
        (Step::RemoveContentFinalizer, remove_content_finalizer),
        (Step::RemoveRetainedFinalizer, remove_retained_finalizer),
        (Step::RemoveProvisionerFinalizer, remove_provisioner_finalizer),
    ]
}

fn scoped(scope: &Scope) -> crate::domain::policy::Scope {
    crate::domain::policy::Scope {
        drivers: scope.drivers.iter().map(|name| Arc::from(name.as_str())).collect(),
        selector: scope.namespace_selector.as_ref().map(requirements),
        excluded: scope.excluded_namespaces.iter().map(|name| name.as_str().into()).collect(),
    }
}

/// All that a selector asks for.
pub(in crate::io) fn requirements(selector: &api::Selector) -> Vec<Requirement> {
    let labels = selector.match_labels.iter().map(|(key, value)| Requirement {
        key: key.as_str().into(),
        operator: Operator::In,
        values: [value.as_str().into()].into(),
    });
    labels.chain(selector.match_expressions.iter().map(requirement)).collect()
}

fn requirement(one: &api::Requirement) -> Requirement {
    Requirement {
        key: one.key.as_str().into(),
        operator: match one.operator {
            api::Operator::In => Operator::In,
            api::Operator::NotIn => Operator::NotIn,
            api::Operator::Exists => Operator::Exists,
            api::Operator::DoesNotExist => Operator::DoesNotExist,
        },
        values: one.values.iter().map(|value| value.as_str().into()).collect(),
    }
}

#[cfg(test)]
mod tests;
