//! Incidents of the programs and of what they all need: one thing breaks, and everything behind it waits.

use serde_json::{Value, json};

use super::objects::label;
use super::stage::{Pair, SNAPSHOTTER, Stage};
use super::{Incident, Step, minutes};
use crate::domain::finding::Class;
use crate::sim::actors::ceph::{Fault, Trouble};
use crate::sim::actors::csi::{Code, Status};
use crate::sim::store::{object, table};

const SECRET: &str = "rook-csi-rbd-provisioner";
const CONTROLLER: (&str, &str) = ("kube-system", "snapshot-controller");
/// Snapshots that are deleted in a storm, of each app.
const STORM_OF_EACH: usize = 2;

pub(super) const SIDECAR_REMOVED: Incident = Incident {
    name: "sidecar-removed",
    about: "the driver's Deployment is applied without csi-snapshotter, and every backup stops in silence",
    alone: true,
    patience: minutes(14),
    heals: false,
    breaks: &[
        Step::Do(|stage, notes| {
            let containers = containers(stage);
            let without: Vec<Value> =
                containers.iter().filter(|one| object::text(one, "/name") != SNAPSHOTTER).cloned().collect();
            redeploy(stage, &without);
            notes.kept = Some(Value::Array(containers));
            let app = stage.home.apps.first()?.clone();
            stage.cut(&app, "before-upgrade");
            Some(format!(
                "an upgrade applied Deployment {} without the container csi-snapshotter; somebody asks for \
                 VolumeSnapshot {app}/before-upgrade all the same",
                stage.home.deployment
            ))
        }),
        Step::Found(Class::DriverGone),
        Step::Found(Class::CreateStuck),
    ],
    mends: &[
        |stage, notes| {
            redeploy(stage, notes.kept.as_ref()?.as_array()?);
            Some(format!("Deployment {} was applied with csi-snapshotter again", stage.home.deployment))
        },
        // The lease of the one that is gone has to expire first.
        |stage, _| {
            let leader = stage.leader()?;
            stage.process(&leader, SNAPSHOTTER)?;
            Some(format!("csi-snapshotter in Pod {leader} leads, and the backups go on"))
        },
    ],
};

fn containers(stage: &Stage) -> Vec<Value> {
    let found = stage.cluster.store.get(table::DEPLOYMENTS, &stage.home.namespace, &stage.home.deployment);
    found.map(|found| object::items(&found, "/spec/template/spec/containers").to_vec()).unwrap_or_default()
}

fn redeploy(stage: &mut Stage, containers: &[Value]) {
    let (namespace, name) = (stage.home.namespace.clone(), stage.home.deployment.clone());
    stage.set_deployment(&namespace, &name, &json!({"template": {"spec": {"containers": containers}}}));
}

pub(super) const CONTROLLER_DOWN: Incident = Incident {
    name: "controller-down",
    about: "snapshot-controller is scaled to nothing",
    alone: true,
    patience: minutes(6),
    heals: false,
    breaks: &[
        Step::Do(|stage, notes| {
            stage.set_deployment(CONTROLLER.0, CONTROLLER.1, &json!({"replicas": 0}));
            let pair = delete_one(stage)?;
            let words =
                format!("somebody scaled snapshot-controller to 0; then VolumeSnapshot {} was deleted", label(&pair));
            notes.pair = Some(pair);
            Some(words)
        }),
        Step::Found(Class::ControllerDown),
    ],
    mends: &[|stage, _| {
        stage.set_deployment(CONTROLLER.0, CONTROLLER.1, &json!({"replicas": 1}));
        Some("snapshot-controller was scaled to 1".to_owned())
    }],
};

pub(super) const LEADER_FROZEN: Incident = Incident {
    name: "leader-frozen",
    about: "the leading csi-snapshotter freezes, and the candidate, which is Ready, does not take over",
    alone: true,
    patience: minutes(9),
    heals: false,
    breaks: &[
        Step::Do(|stage, notes| {
            let leader = stage.leader()?;
            let pods = stage.controllers();
            notes.frozen = pods.iter().filter_map(|pod| stage.process(pod, SNAPSHOTTER)).collect();
            for process in &notes.frozen {
                stage.cluster.pause(*process);
            }
            Some(format!(
                "csi-snapshotter in Pod {leader}, which leads, froze, and so did the one that should take over"
            ))
        }),
        Step::Found(Class::StaleLeader),
    ],
    mends: &[
        |stage, _| {
            let leader = stage.leader()?;
            let candidate = stage.controllers().into_iter().find(|pod| *pod != leader)?;
            let namespace = stage.home.namespace.clone();
            stage.delete(table::PODS, &namespace, &candidate);
            Some(format!("Pod {candidate}, the candidate, was deleted; its Deployment makes a new one"))
        },
        |stage, notes| {
            // The new one has taken the lease: what froze may wake up and find itself deposed.
            let leader = stage.leader()?;
            let leads = stage.process(&leader, SNAPSHOTTER)?;
            if notes.frozen.contains(&leads) {
                return None;
            }
            for process in std::mem::take(&mut notes.frozen) {
                stage.cluster.resume(process);
            }
            Some(format!("Pod {leader} leads now; the frozen one woke up"))
        },
    ],
};

pub(super) const DRIVER_HUNG: Incident = Incident {
    name: "driver-hung",
    about: "a deletion hangs in the driver for ever and keeps its lock, so that every later try is refused",
    alone: true,
    patience: minutes(12),
    heals: false,
    breaks: &[
        Step::Do(|stage, notes| {
            let pair = stage.pick()?;
            let handle = stage.handle(&pair)?;
            let stuck = Fault::of("DeleteSnapshot", Trouble::Stuck).on(&handle).times(1);
            stage.home.faults.with(|faults| faults.add(stuck));
            stage.delete(table::SNAPSHOTS, &pair.namespace, &pair.snapshot);
            let words =
                format!("VolumeSnapshot {} was deleted, and the driver's call for it hangs in librados", label(&pair));
            notes.pair = Some(pair);
            Some(words)
        }),
        Step::Found(Class::OperationLocked),
    ],
    mends: &[|stage, _| {
        let leader = stage.leader()?;
        let namespace = stage.home.namespace.clone();
        stage.delete(table::PODS, &namespace, &leader);
        Some(format!("Pod {leader} was deleted: its csi-snapshotter leads, and its driver holds the lock in memory"))
    }],
};

pub(super) const SECRET_MISSING: Incident = Incident {
    name: "secret-missing",
    about: "the driver's secret is deleted before the snapshots that need it",
    alone: true,
    patience: minutes(6),
    heals: false,
    breaks: &[
        Step::Do(|stage, notes| {
            let namespace = stage.home.namespace.clone();
            notes.kept = stage.take_away(table::SECRETS, &namespace, SECRET);
            let pair = delete_one(stage)?;
            Some(format!(
                "somebody deleted Secret {namespace}/{SECRET}; then VolumeSnapshot {} was deleted",
                label(&pair)
            ))
        }),
        Step::Found(Class::SecretMissing),
    ],
    mends: &[|stage, notes| {
        let namespace = stage.home.namespace.clone();
        stage.create(table::SECRETS, &namespace, notes.kept.take()?);
        Some(format!("Secret {namespace}/{SECRET} was restored"))
    }],
};

pub(super) const STORM: Incident = Incident {
    name: "storm",
    about: "Ceph answers every deletion with an error: one incident, and not one for each snapshot",
    alone: true,
    patience: minutes(10),
    heals: false,
    breaks: &[
        Step::Do(|stage, _| {
            let error = Status::new(Code::Internal, "rados: ret=-110, Connection timed out");
            let failing = Fault::of("DeleteSnapshot", Trouble::Fail(error));
            stage.home.faults.with(|faults| faults.add(failing));
            let mut deleted = 0;
            for app in stage.home.apps.clone() {
                for pair in stage.nightlies(&app).into_iter().take(STORM_OF_EACH) {
                    stage.delete(table::SNAPSHOTS, &pair.namespace, &pair.snapshot);
                    deleted += 1;
                }
            }
            Some(format!("Ceph's monitors became unreachable while {deleted} old VolumeSnapshots were being deleted"))
        }),
        Step::Found(Class::DriverDegraded),
    ],
    mends: &[|stage, _| {
        stage.home.faults.with(crate::sim::actors::ceph::Faults::clear);
        Some("Ceph answers again; csi-snapshotter tries on by itself".to_owned())
    }],
};

fn delete_one(stage: &mut Stage) -> Option<Pair> {
    let pair = stage.pick()?;
    stage.delete(table::SNAPSHOTS, &pair.namespace, &pair.snapshot);
    Some(pair)
}
