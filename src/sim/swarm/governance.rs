//! The policy of a run, drawn from its seed, and the people who change it and approve what waits for them.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::home::Home;
use super::inject::Undo;
use super::people::{self, KUBECTL};
use super::script::{Fault, Kind};
use crate::api;
use crate::sim::actors::object::seconds;
use crate::sim::daemon::leader;
use crate::sim::store::{Part, Patch, object, table};

/// The policy's name.
pub(super) const POLICY: &str = "main";
/// The name of the SnapshotRetention.
const RETENTION: &str = "nightlies";
/// When a window opens, and for how long: minutes of the hour.
const WINDOW: (u64, u64) = (15, 6);
/// An approver looks this often.
const LOOKS: Duration = Duration::from_secs(90);

/// What a run may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Regime {
    /// Our kinds are not there.
    NoKinds,
    /// They are, and no policy is.
    NoPolicy,
    /// A policy in this mode.
    Mode(&'static str),
}

/// What holds in a run where no fault changes it.
#[derive(Debug)]
pub(super) struct Governance {
    pub(super) regime: Regime,
    /// Repairs may begin in windows only.
    pub(super) windowed: bool,
    /// The policy's spec.
    pub(super) spec: Value,
    /// The spec of a SnapshotRetention, if there is one.
    retention: Option<Value>,
    /// The CephCluster is somewhere else: only the policy tells of the backend's health.
    external: bool,
}

impl Governance {
    pub(super) fn new(seed: u64, driver: &str) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x90C1);
        let (regime, windowed) = match rng.u8(..16) {
            0 => (Regime::NoKinds, false),
            1 => (Regime::NoPolicy, false),
            2 => (Regime::Mode("Observe"), false),
            3 | 4 => (Regime::Mode("Approve"), false),
            5 => (Regime::Mode("Enforce"), true),
            _ => (Regime::Mode("Enforce"), false),
        };
        let mode = if let Regime::Mode(mode) = regime { mode } else { "Observe" };
        let tight = rng.u8(..3) == 0;
        let budgets = if tight {
            json!({"nudgesPerHour": rng.u32(1..=3), "marksPerHour": rng.u32(1..=3), "finalizersPerHour": 1,
                "leasesPerHour": 1, "restartsPerSixHours": 1})
        } else {
            json!({"restartsPerSixHours": rng.u32(1..=3)})
        };
        let windows = if windowed {
            json!([{"schedule": format!("*/{} * * * *", WINDOW.0), "duration": format!("{}m", WINDOW.1)}])
        } else {
            json!([])
        };
        let rungs = json!({"nudge": true, "markBeingDeleted": true, "restartLeader": true, "releaseLease": true,
            "removeContentFinalizer": true, "removeRetainedFinalizer": true, "removeProvisionerFinalizer": true});
        let spec = json!({"mode": mode, "scope": {"drivers": [driver]}, "rungs": rungs,
            "limits": {"budgets": budgets, "firstSingly": rng.u32(1..=3), "maxInFlight": rng.u32(1..=4)},
            "windows": windows, "backend": {"assumeHealthy": true}});
        let external = rng.u8(..3) == 0;
        let retention = rng.bool().then(|| {
            json!({"mode": mode, "drivers": [driver], "keep": {"latest": rng.u32(1..=2)}, "minReady": rng.u32(1..=3),
                "minAge": format!("{}m", rng.u32(2..=10)), "schedule": {"cron": "*/5 * * * *"},
                "maxDeletionsPerRun": rng.u32(1..=4), "deletionsPerMinute": rng.u32(1..=3)})
        });
        Self { regime, windowed, spec, retention, external }
    }

    /// Whether a repair may begin at this minute of an hour.
    pub(super) fn is_open(&self, minute: u64) -> bool {
        !self.windowed || minute % WINDOW.0 < WINDOW.1
    }

    /// Puts it in force.
    pub(super) fn begin(&self, home: &mut Home) {
        home.create(table::NAMESPACES, "", json!({"metadata": {"name": leader::NAMESPACE}}));
        if self.external {
            let clusters: Vec<(String, String)> =
                home.cluster.store.list(table::CEPH_CLUSTERS, None).map(key).collect();
            for (namespace, name) in clusters {
                people::delete(home, table::CEPH_CLUSTERS, &namespace, &name);
            }
        }
        match self.regime {
            Regime::NoKinds => home.cluster.store.uninstall(table::OUR_GROUP),
            Regime::NoPolicy => {}
            Regime::Mode(_) => self.apply(home),
        }
    }

    fn apply(&self, home: &mut Home) {
        home.create(table::POLICIES, "", json!({"metadata": {"name": POLICY}, "spec": self.spec}));
    }

    /// Puts its SnapshotRetention in force, if there is one.
    pub(super) fn retain(&self, home: &mut Home) {
        if let (Some(spec), Regime::Mode(_)) = (&self.retention, self.regime) {
            home.create(table::RETENTIONS, "", json!({"metadata": {"name": RETENTION}, "spec": spec}));
        }
    }

    /// Changes it, as a fault says.
    pub(super) fn change(&self, fault: &Fault, home: &mut Home) -> Vec<Undo> {
        let back = |spec: Value| vec![Undo::Policy(spec)];
        match fault.kind {
            Kind::PolicyPaused => {
                let now = home.cluster.now().wall;
                let until = now.saturating_add(fault.lasts).unwrap_or(now);
                edit(home, &json!({"pause": {"reason": "a drill", "until": seconds(until)}}));
                back(json!({"pause": null}))
            }
            Kind::PolicySuspended => {
                edit(home, &json!({"suspend": true}));
                back(json!({"suspend": false}))
            }
            Kind::PolicyObserves => {
                edit(home, &json!({"mode": "Observe"}));
                back(json!({"mode": self.spec.get("mode")}))
            }
            Kind::PolicyDeleted => {
                people::delete(home, table::POLICIES, "", POLICY);
                vec![Undo::PolicyBack]
            }
            Kind::KindsRemoved => {
                home.cluster.store.uninstall(table::OUR_GROUP);
                vec![Undo::KindsBack]
            }
            Kind::NamespaceIgnored => {
                let apps = home.parts.apps.clone();
                let Some(app) = (fault.aim as usize).checked_rem(apps.len()).and_then(|at| apps.get(at)) else {
                    return Vec::new();
                };
                annotate(home, (table::NAMESPACES, "", app), api::IGNORE, Some("a drill"));
                vec![Undo::Heed(app.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// The policy is there again.
    pub(super) fn restore(&self, home: &mut Home) {
        if matches!(self.regime, Regime::Mode(_)) {
            self.apply(home);
        }
    }

    /// Our kinds are there again, and with them the policy.
    pub(super) fn install(&self, home: &mut Home) {
        if self.regime != Regime::NoKinds {
            let now = home.cluster.now().wall;
            home.cluster.store.install(table::OUR_GROUP, now);
            self.restore(home);
            self.retain(home);
        }
    }
}

/// Somebody who approves what waits for it, unless it would lose something.
#[derive(Debug)]
pub(super) struct Approver {
    next_look: Duration,
}

impl Approver {
    pub(super) fn new(governance: &Governance) -> Self {
        let next_look = if governance.regime == Regime::Mode("Approve") { LOOKS } else { Duration::MAX };
        Self { next_look }
    }

    pub(super) fn next_at(&self) -> Duration {
        self.next_look
    }

    pub(super) fn act(&mut self, home: &mut Home) {
        self.next_look = home.cluster.now().mono + LOOKS;
        let waits = |one: &Value| {
            let is = |field: &str| object::at(one, &format!("/status/plan/{field}")) == Some(&Value::Bool(true));
            let harmless = !is("leaks") && !is("destroys");
            (harmless && object::text(one, "/status/phase") == "AwaitingApproval")
                .then(|| (object::name(one).to_owned(), object::text(one, "/status/plan/hash").to_owned()))
        };
        let waiting: Vec<(String, String)> =
            home.cluster.store.list(table::REMEDIATIONS, None).filter_map(|one| waits(one)).collect();
        for (name, hash) in waiting {
            annotate(home, (table::REMEDIATIONS, "", &name), api::APPROVED, Some(&hash));
        }
        let retention = home.cluster.store.get(table::RETENTIONS, "", RETENTION).ok();
        let hash = retention.map(|one| object::text(&one, "/status/plan/hash").to_owned()).unwrap_or_default();
        if !hash.is_empty() {
            annotate(home, (table::RETENTIONS, "", RETENTION), api::APPROVED, Some(&hash));
        }
    }
}

/// Changes the spec of the policy, if there is one.
pub(super) fn edit(home: &mut Home, spec: &Value) {
    let writer = home.cluster.writer(KUBECTL);
    let patch = Patch::Merge(json!({"spec": spec}));
    let _ = home.cluster.store.patch(writer, table::POLICIES, "", POLICY, Part::Object, &patch);
}

/// Sets or takes an annotation.
pub(super) fn annotate(
    home: &mut Home,
    (resource, namespace, name): (&'static table::Resource, &str, &str),
    annotation: &str,
    value: Option<&str>,
) {
    let writer = home.cluster.writer(KUBECTL);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
    let _ = home.cluster.store.patch(writer, resource, namespace, name, Part::Object, &patch);
}

fn key(one: &std::sync::Arc<Value>) -> (String, String) {
    (object::namespace(one).to_owned(), object::name(one).to_owned())
}
