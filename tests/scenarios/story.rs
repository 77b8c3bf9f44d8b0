//! The words that scenarios are told in: given a driver and its snapshots, when something breaks, then `doctor` says so.
//!
//! A story says each step as it takes it, so that the output of a failed one reads like a report; what the API server
//! sent and what the processes wrote is kept by the stack. A step waits until the cluster is as it says, so that no
//! step has to know how long the one before it takes. New steps go here, and only what one theme needs stays with it.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::time::Duration;

use serde_json::{Value, json};
use stack::{Fault, Options, Rook, Stack};

use super::doctor::{Report, doctor, doctor_as, why};
use super::{CONTENTS, SNAPSHOTS, SOON, text, turn, wait_gone};

const NAMESPACE: Option<&str> = Some("default");

/// A snapshot that was cut: the objects and the handle that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) snapshot: String,
    pub(crate) content: String,
    pub(crate) handle: String,
}

impl Cut {
    /// A line of a report about the content.
    pub(crate) fn content_is(&self, class: &str) -> String {
        format!("{class} VolumeSnapshotContent {}", self.content)
    }

    /// A line of a report about the snapshot.
    pub(crate) fn snapshot_is(&self, class: &str) -> String {
        format!("{class} VolumeSnapshot {}", self.snapshot)
    }
}

/// A line of a report about a driver.
pub(crate) fn driver_is(class: &str, driver: &str) -> String {
    format!("{class} CSIDriver {driver}")
}

/// One scenario on a stack of its own.
pub(crate) struct Story {
    pub(crate) stack: Stack,
    number: &'static str,
    steps: Cell<u32>,
    _turn: MutexGuard<'static, ()>,
}

impl Story {
    /// Begins, or `None` where programs are missing and that is no failure.
    pub(crate) fn begin(number: &'static str, title: &str, options: Options) -> Option<Self> {
        let turn = turn()?;
        println!("\n{number} {title}");
        let stack = Stack::start(options).unwrap();
        Some(Self { stack, number, steps: Cell::new(0), _turn: turn })
    }

    /// Says a step that has no word of its own.
    pub(crate) fn step(&self, what: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("{}.{} {what}", self.number, self.steps.get());
    }

    // === given ===

    /// A driver whose controller is deployed like this, with the StorageClass and the VolumeSnapshotClass (Delete) of
    /// its name.
    pub(crate) fn given_driver(&self, rook: &Rook) {
        self.step(&format!("given driver {} as Deployment {}", rook.driver, rook.deployment));
        self.stack.deploy(rook).unwrap();
        self.stack.storage_class(&rook.driver, &rook.driver).unwrap();
        self.stack.snapshot_class_of(&rook.driver, &rook.driver, "Delete", true).unwrap();
    }

    /// A claim that the driver's csi-provisioner has made a volume for.
    pub(crate) fn given_bound_volume(&self, claim: &str, rook: &Rook) {
        self.step(&format!("given a bound volume {claim} of {}", rook.driver));
        self.create_claim(claim, rook, None);
        super::wait_for(&self.stack, "persistentvolumeclaim", NAMESPACE, claim, "/status/phase", |phase| {
            phase == "Bound"
        });
    }

    /// A claim of the driver's class, from a snapshot if one is named; it is not bound yet.
    pub(crate) fn create_claim(&self, claim: &str, rook: &Rook, from: Option<&str>) {
        let source =
            from.map(|name| json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}));
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": rook.driver, "dataSource": source,
        });
        let meta = json!({"name": claim, "namespace": "default"});
        let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec});
        self.stack.create(&object).unwrap();
    }

    /// Snapshots of the claim, all of them ready.
    pub(crate) fn given_snapshots(&self, claim: &str, rook: &Rook, names: &[&str]) -> Vec<Cut> {
        self.step(&format!("given {} ready snapshots of {claim}: {}", names.len(), names.join(", ")));
        for name in names {
            self.stack.snapshot("default", name, claim, &rook.driver).unwrap();
        }
        names.iter().map(|name| self.ready(name)).collect()
    }

    /// A ready snapshot of a class of its own, of this driver.
    pub(crate) fn given_snapshot_of_class(&self, claim: &str, rook: &Rook, name: &str, class: &str) -> Cut {
        self.step(&format!("given a ready snapshot {name} of {claim} by the class {class}"));
        self.stack.snapshot_class_of(class, &rook.driver, "Delete", true).unwrap();
        self.stack.snapshot("default", name, claim, class).unwrap();
        self.ready(name)
    }

    /// Waits until a snapshot is ready and has all its finalizers.
    pub(crate) fn ready(&self, name: &str) -> Cut {
        let what = format!("VolumeSnapshot {name} is ready");
        let content = self.stack.wait(&what, SOON, || {
            let snapshot = self.stack.get(SNAPSHOTS, NAMESPACE, name).ok()??;
            let content = text(&snapshot, "/status/boundVolumeSnapshotContentName");
            let ready = snapshot.pointer("/status/readyToUse") == Some(&json!(true));
            let held = snapshot.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(0, Vec::len) >= 2;
            if ready && held { self.stack.get(CONTENTS, None, &content).ok()? } else { None }
        });
        let content = content.unwrap();
        let handle = text(&content, "/status/snapshotHandle");
        Cut { snapshot: name.to_owned(), content: text(&content, "/metadata/name"), handle }
    }

    // === when ===

    /// From now on the driver has these faults and no others, in all its processes.
    pub(crate) fn when_driver_fails(&self, what: &str, faults: &[Fault]) {
        self.step(&format!("when the driver {what}"));
        self.stack.set_faults(faults).unwrap();
    }

    /// A snapshot is asked for and bound; it need not become ready.
    pub(crate) fn when_created(&self, name: &str, claim: &str, rook: &Rook) -> Cut {
        self.step(&format!("when VolumeSnapshot {name} of {claim} is created"));
        let snapshot = self.stack.snapshot("default", name, claim, &rook.driver).unwrap();
        let held = |all: &Value| all.as_array().is_some_and(|all| all.len() == 2);
        super::wait_for(&self.stack, SNAPSHOTS, NAMESPACE, name, "/metadata/finalizers", held);
        let content = format!("snapcontent-{}", text(&snapshot, "/metadata/uid"));
        Cut { snapshot: name.to_owned(), content, handle: String::new() }
    }

    /// Snapshots are deleted, and their contents have been marked for it.
    pub(crate) fn when_deleted(&self, cuts: &[&Cut]) {
        let names: Vec<_> = cuts.iter().map(|cut| cut.snapshot.as_str()).collect();
        self.step(&format!("when {} is deleted", names.join(", ")));
        for cut in cuts {
            self.stack.delete(SNAPSHOTS, NAMESPACE, &cut.snapshot).unwrap();
        }
        for cut in cuts {
            let marked = || match self.stack.get(CONTENTS, None, &cut.content).ok()? {
                Some(content) => content.pointer("/metadata/deletionTimestamp").map(drop),
                None => Some(()), // a healthy driver is quick
            };
            self.stack.wait(&format!("{} is being deleted", cut.content), SOON, marked).unwrap();
        }
    }

    /// So much time passes, as far as the timestamps of these and their contents tell.
    pub(crate) fn when_time_passes(&self, seconds: u64, cuts: &[&Cut]) {
        self.step(&format!("when {seconds} s pass"));
        let by = Duration::from_secs(seconds);
        for cut in cuts {
            for (kind, namespace, name) in [(CONTENTS, None, &cut.content), (SNAPSHOTS, NAMESPACE, &cut.snapshot)] {
                let object =
                    self.stack.get(kind, namespace, name).unwrap().unwrap_or_else(|| panic!("{kind} {name} is gone"));
                let deleting = object.pointer("/metadata/deletionTimestamp").is_some();
                let pointer = if deleting { "/metadata/deletionTimestamp" } else { "/metadata/creationTimestamp" };
                self.stack.age(kind, namespace, name, pointer, by).unwrap();
            }
        }
    }

    /// Waits until csi-snapshotter has failed to delete this one.
    pub(crate) fn when_tried(&self, rook: &Rook, cut: &Cut) {
        self.when_logged(rook, &["could not sync content", &cut.content]);
    }

    /// Waits until the leader's csi-snapshotter has logged a line with all these words.
    pub(crate) fn when_logged(&self, rook: &Rook, words: &[&str]) {
        self.step(&format!("when csi-snapshotter of {} has logged {words:?}", rook.driver));
        let found = self.stack.wait(&format!("csi-snapshotter logs {words:?}"), SOON, || {
            let leader = self.stack.leader_pod(&rook.namespace, &rook.driver)?;
            let log = self.stack.pod(&rook.namespace, &leader).ok()?.log("csi-snapshotter").ok()?;
            log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
        });
        found.unwrap();
    }

    /// The pod of the csi-snapshotter that leads.
    pub(crate) fn leader(&self, rook: &Rook) -> String {
        let what = format!("a pod holds {}'s lease", rook.driver);
        self.stack.wait(&what, SOON, || self.stack.leader_pod(&rook.namespace, &rook.driver)).unwrap()
    }

    /// The pod that does not lead.
    pub(crate) fn candidate(&self, rook: &Rook) -> String {
        let leader = self.leader(rook);
        let pods = self.stack.pods(&rook.namespace, &format!("app={}", rook.app));
        pods.into_iter().find(|pod| *pod != leader).expect("there is a second pod")
    }

    /// The leader's pod is deleted, as one does by hand, and another leads afterwards.
    pub(crate) fn when_leader_restarts(&self, rook: &Rook) {
        let old = self.leader(rook);
        self.step(&format!("when the leader's pod {old} is deleted"));
        self.stack.delete("pod", Some(&rook.namespace), &old).unwrap();
        let what = "another pod leads";
        self.stack.wait(what, SOON, || self.leader_now(rook).filter(|new| *new != old)).unwrap();
    }

    /// The nudge: one annotation of a content is touched, once its creation has been answered.
    pub(crate) fn when_nudged(&self, cut: &Cut) {
        self.step(&format!("when {} is nudged", cut.content));
        let what = "its creation has been answered";
        let answered = || match self.stack.get(CONTENTS, None, &cut.content).ok()? {
            Some(content) => (!content.to_string().contains("being-created")).then_some(()),
            None => Some(()), // it needed no nudge
        };
        self.stack.wait(what, SOON, answered).unwrap();
        let nudged = self.stack.kubectl(["annotate", CONTENTS, &cut.content, "example.com/nudge=1"]);
        if let Err(error) = nudged {
            assert!(error.to_string().contains("NotFound"), "{error}");
        }
    }

    fn leader_now(&self, rook: &Rook) -> Option<String> {
        self.stack.leader_pod(&rook.namespace, &rook.driver)
    }

    // === then ===

    /// Nothing is named.
    pub(crate) fn then_nothing_is_named(&self, because: &str) {
        self.step(&format!("then doctor names nothing: {because}"));
        let report = doctor(&self.stack);
        assert_eq!(report.lines(), Vec::<String>::new(), "{because}\n{:#}", report.json);
    }

    /// These findings, and no others.
    pub(crate) fn then_doctor_says(&self, lines: &[String]) -> Report {
        self.then(lines, doctor(&self.stack))
    }

    /// The same after so long a look that leases are judged by what was seen of them.
    pub(crate) fn then_a_long_look_says(&self, lines: &[String]) -> Report {
        self.then(lines, doctor_as(self.stack.kubeconfig(), &["--observe", "50s"]))
    }

    /// The same for somebody who may read all but the logs of pods.
    pub(crate) fn then_doctor_without_logs_says(&self, lines: &[String]) -> Report {
        let kubeconfig = self.somebody_without_logs();
        self.then(lines, doctor_as(&kubeconfig, &[]))
    }

    fn then(&self, lines: &[String], report: Report) -> Report {
        let mut wanted = lines.to_vec();
        wanted.sort();
        self.step(&format!("then doctor says {wanted:#?}"));
        assert_eq!(report.lines(), wanted, "{:#}", report.json);
        report
    }

    /// The driver has deleted these for real, and Kubernetes has forgotten them.
    pub(crate) fn then_gone(&self, cuts: &[&Cut]) {
        self.step("then they are gone, in Kubernetes and in the backend");
        for cut in cuts {
            wait_gone(&self.stack, SNAPSHOTS, NAMESPACE, &cut.snapshot);
            wait_gone(&self.stack, CONTENTS, None, &cut.content);
        }
        let left = self.stack.driver_snapshots().unwrap();
        let leaked: Vec<_> = left.iter().filter(|found| cuts.iter().any(|cut| cut.handle == found.id)).collect();
        assert!(leaked.is_empty(), "left behind in the backend: {leaked:?}");
    }

    /// What `why` says of an object, on one line.
    pub(crate) fn why(&self, kind: &str, name: &str) -> String {
        self.step(&format!("then why {kind} {name}"));
        why(&self.stack, kind, name).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A user who may read everything that Volwarden watches, and no logs.
    fn somebody_without_logs(&self) -> PathBuf {
        let user = "without-logs";
        if self.stack.get("clusterrole", None, user).unwrap().is_none() {
            let read = json!(["get", "list", "watch"]);
            let of =
                |groups: Value, resources: Value| json!({"apiGroups": groups, "resources": resources, "verbs": read});
            let core = json!(["pods", "events", "persistentvolumeclaims", "persistentvolumes", "namespaces"]);
            let others = json!([
                "apps",
                "batch",
                "coordination.k8s.io",
                "storage.k8s.io",
                "snapshot.storage.k8s.io",
                "groupsnapshot.storage.k8s.io",
                "volsync.backube",
                "ceph.rook.io"
            ]);
            let rules = json!([of(json!([""]), core), of(others, json!(["*"]))]);
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules,
            });
            self.stack.create(&role).unwrap();
            let bind = ["create", "clusterrolebinding", user, "--clusterrole=without-logs", "--user=without-logs"];
            self.stack.kubectl(bind).unwrap();
        }
        self.stack.kubeconfig_for(user, &[]).unwrap()
    }
}
