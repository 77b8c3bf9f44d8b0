//! Runs scenarios on a cluster, step by step; which cluster it is, it does not know.

use std::time::Duration;

use serde_json::{Value, json};

use super::backend::{Backend, Component, Fate, Id, Kind};
use super::scenario::{Condition, Scenario, Step, Thing};

/// Time enough for healthy programs on a busy machine, and for one election.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a deletion may take before it counts as missed: longer than a call and a retry.
const MISSED: Duration = Duration::from_secs(8);
/// An annotation of ours: a change that means nothing but makes csi-snapshotter look.
pub(crate) const NUDGE: &str = "example.com/nudge";
const API: &str = "snapshot.storage.k8s.io/v1";

/// The namespace of a scenario.
pub(crate) fn namespace(scenario: &Scenario) -> String {
    format!("case-{}", scenario.number)
}

/// The cluster's part of what every scenario begins with.
pub(crate) fn prepare(backend: &mut impl Backend) {
    for (name, driver, policy) in [
        ("fast", stack::DRIVER, "Delete"),
        ("kept", stack::DRIVER, "Retain"),
        ("elsewhere", "elsewhere.example.com", "Delete"),
    ] {
        backend.create(Kind::Class, "", class(name, driver, policy));
    }
}

fn class(name: &str, driver: &str, policy: &str) -> Value {
    json!({
        "apiVersion": API, "kind": "VolumeSnapshotClass", "metadata": {"name": name},
        "driver": driver, "deletionPolicy": policy,
    })
}

/// Runs one scenario to its end.
pub(crate) fn run(backend: &mut impl Backend, scenario: &Scenario) {
    let mut run = Run {
        backend,
        namespace: namespace(scenario),
        volume: format!("vol-{}", scenario.number),
        at: format!("scenario {} ({})", scenario.number, scenario.title),
        uids: Vec::new(),
        dead: None,
    };
    run.begin();
    for (number, step) in scenario.steps.iter().enumerate() {
        run.at = format!("scenario {} ({}), step {}: {step:?}", scenario.number, scenario.title, number + 1);
        run.step(step);
    }
}

struct Run<'a, B> {
    backend: &'a mut B,
    namespace: String,
    volume: String,
    at: String,
    /// The uids of VolumeSnapshots: what their contents are named after, even when they are gone.
    uids: Vec<(&'static str, String)>,
    /// The csi-snapshotter that was killed.
    dead: Option<usize>,
}

impl<B: Backend> Run<'_, B> {
    fn begin(&mut self) {
        let namespace = self.namespace.clone();
        self.backend.create(
            Kind::Namespace,
            "",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        );
        self.backend.add_volume(&self.volume);
        self.bound_claim();
    }

    /// Nobody provisions here: claim and volume are bound by hand, as a provisioner and the binder leave them.
    fn bound_claim(&mut self) {
        let (namespace, volume) = (self.namespace.clone(), self.volume.clone());
        let (modes, capacity) = (json!(["ReadWriteOnce"]), json!({"storage": "1Gi"}));
        let claim = self.claim("data", &json!({"volumeName": volume}));
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "accessModes": modes, "capacity": capacity, "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem",
                "csi": {"driver": stack::DRIVER, "volumeHandle": volume},
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "data", "namespace": namespace,
                    "uid": claim.pointer("/metadata/uid"),
                },
            },
        });
        self.backend.create(Kind::Volume, "", volume);
        let bound = json!({"status": {"phase": "Bound", "accessModes": modes, "capacity": capacity}});
        let claim = self.id(Thing::Claim("data"));
        self.backend.patch(&claim, true, &bound);
        let volume = Id { kind: Kind::Volume, namespace: String::new(), name: self.volume.clone() };
        self.backend.patch(&volume, true, &json!({"status": {"phase": "Bound"}}));
    }

    /// A claim with what the API server adds to one.
    fn claim(&mut self, name: &str, more: &Value) -> Value {
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "",
            "volumeMode": "Filesystem",
        });
        let fields = spec.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec, "status": {"phase": "Pending"},
            "metadata": {
                "name": name, "namespace": self.namespace, "finalizers": ["kubernetes.io/pvc-protection"],
            },
        });
        let namespace = self.namespace.clone();
        self.backend.create(Kind::Claim, &namespace, claim)
    }

    fn id(&self, thing: Thing) -> Id {
        let (kind, namespace, name) = match thing {
            Thing::Snapshot(name) => (Kind::Snapshot, self.namespace.clone(), name.to_owned()),
            Thing::Claim(name) => (Kind::Claim, self.namespace.clone(), name.to_owned()),
            Thing::Content(name) => (Kind::Content, String::new(), name.to_owned()),
            Thing::ContentOf(snapshot) => (Kind::Content, String::new(), self.content_of(snapshot)),
        };
        Id { kind, namespace, name }
    }

    fn content_of(&self, snapshot: &str) -> String {
        let uid = self.uids.iter().rev().find(|(name, _)| *name == snapshot).map(|(_, uid)| uid);
        format!("snapcontent-{}", uid.unwrap_or_else(|| panic!("{}: {snapshot} was never made", self.at)))
    }

    fn get(&mut self, thing: Thing) -> Option<Value> {
        let id = self.id(thing);
        self.backend.get(&id)
    }

    fn patch(&mut self, thing: Thing, status: bool, patch: &Value) {
        let id = self.id(thing);
        self.backend.patch(&id, status, patch);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Take { name, class } => self.take(name, class),
            Step::Import { name, content, handle_of } => self.import(name, content, handle_of),
            Step::Restore { claim, from } => self.restore(claim, from),
            Step::Class { name, policy } => {
                self.backend.create(Kind::Class, "", class(name, stack::DRIVER, policy));
            }
            Step::Secret(name) => self.secret(name),
            Step::Delete(thing) => {
                let id = self.id(thing);
                self.backend.delete(&id);
            }
            Step::Strip(thing) => self.patch(thing, false, &json!({"metadata": {"finalizers": null}})),
            Step::Hold(thing, finalizer) => self.hold(thing, finalizer),
            Step::Annotate(thing, key, value) => self.annotate(thing, key, value),
            Step::NeedsSecret(thing, name) => self.needs_secret(thing, name),
            Step::EmptyStatus(thing) => {
                let nothing =
                    json!({"snapshotHandle": null, "readyToUse": null, "creationTime": null, "restoreSize": null});
                self.patch(thing, true, &json!({"status": nothing}));
            }
            Step::Meets(component, fate) => self.backend.meets(component, fate),
            Step::LeaderDies => self.leader_dies(),
            Step::LeaderReturns => {
                let dead = self.dead.take().unwrap_or_else(|| panic!("{}: nobody died", self.at));
                self.backend.meets(Component::Snapshotter(dead), Fate::Start);
            }
            Step::DriverRestarts => self.driver_restarts(),
            Step::Trouble(trouble) => self.backend.set_trouble(Some(trouble)),
            Step::Well => self.backend.set_trouble(None),
            Step::Until(thing, condition) => self.until(thing, condition),
            Step::Not(thing, condition) => assert!(!self.holds(thing, condition), "{}", self.at),
            Step::UntilGoneOrNudged(thing) => self.until_gone_or_nudged(thing),
            Step::UntilLog(words) => self.until_log(words),
            Step::Left(count) => {
                let volume = self.volume.clone();
                assert_eq!(self.backend.snapshots_of(&volume), count, "{}: physical snapshots", self.at);
            }
        }
    }

    fn take(&mut self, name: &'static str, class: &str) {
        self.snapshot(
            name,
            &json!({
                "volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": "data"},
            }),
        );
    }

    fn snapshot(&mut self, name: &'static str, spec: &Value) {
        let namespace = self.namespace.clone();
        let metadata = json!({"name": name, "namespace": namespace});
        let snapshot = json!({"apiVersion": API, "kind": "VolumeSnapshot", "metadata": metadata, "spec": spec});
        let stored = self.backend.create(Kind::Snapshot, &namespace, snapshot);
        self.uids.push((name, text(&stored, "/metadata/uid").to_owned()));
    }

    fn import(&mut self, name: &'static str, content: &'static str, handle_of: &'static str) {
        let source = self.get(Thing::ContentOf(handle_of)).unwrap_or_default();
        let handle = text(&source, "/status/snapshotHandle").to_owned();
        let made = json!({
            "apiVersion": API, "kind": "VolumeSnapshotContent", "metadata": {"name": content},
            "spec": {
                "driver": stack::DRIVER, "deletionPolicy": "Delete", "source": {"snapshotHandle": handle},
                "volumeSnapshotRef": {"name": name, "namespace": self.namespace},
            },
        });
        self.backend.create(Kind::Content, "", made);
        self.snapshot(name, &json!({"source": {"volumeSnapshotContentName": content}}));
    }

    fn restore(&mut self, claim: &str, from: &str) {
        let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": from});
        self.claim(claim, &json!({"dataSource": source, "dataSourceRef": source}));
        let id = Id { kind: Kind::Claim, namespace: self.namespace.clone(), name: claim.to_owned() };
        self.backend.patch(&id, true, &json!({"status": {"phase": "Pending"}}));
    }

    fn secret(&mut self, name: &str) {
        let namespace = self.namespace.clone();
        let metadata = json!({"name": name, "namespace": namespace});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"userID": "YWRtaW4="}});
        self.backend.create(Kind::Secret, &namespace, secret);
    }

    fn hold(&mut self, thing: Thing, finalizer: &str) {
        let object = self.get(thing).unwrap_or_default();
        let mut finalizers = list(&object, "/metadata/finalizers");
        finalizers.push(finalizer.to_owned());
        self.patch(thing, false, &json!({"metadata": {"finalizers": finalizers}}));
    }

    fn annotate(&mut self, thing: Thing, key: &str, value: &str) {
        self.patch(thing, false, &json!({"metadata": {"annotations": {key: value}}}));
    }

    fn needs_secret(&mut self, thing: Thing, name: &str) {
        let annotations = json!({
            "snapshot.storage.kubernetes.io/deletion-secret-name": name,
            "snapshot.storage.kubernetes.io/deletion-secret-namespace": self.namespace,
        });
        self.patch(thing, false, &json!({"metadata": {"annotations": annotations}}));
    }

    /// The number of the csi-snapshotter that holds the lease.
    fn leader(&mut self) -> Option<usize> {
        let (namespace, name) = (stack::SNAPSHOTTER_LEASE_NAMESPACE.to_owned(), stack::SNAPSHOTTER_LEASE.to_owned());
        let lease = self.backend.get(&Id { kind: Kind::Lease, namespace, name })?;
        (0..2).find(|number| text(&lease, "/spec/holderIdentity") == self.backend.host(*number))
    }

    fn leader_dies(&mut self) {
        let dead = self.leader().unwrap_or_else(|| panic!("{}: nobody leads", self.at));
        self.backend.meets(Component::Snapshotter(dead), Fate::Kill);
        self.dead = Some(dead);
        self.wait(PATIENCE, |run| run.leader().is_some_and(|leader| leader != dead));
    }

    /// What deleting the pods does: the driver ends, and csi-snapshotter with it.
    fn driver_restarts(&mut self) {
        let all = [Component::Driver, Component::Snapshotter(0), Component::Snapshotter(1)];
        for fate in [Fate::Kill, Fate::Start] {
            for component in all {
                self.backend.meets(component, fate);
            }
        }
    }

    fn until(&mut self, thing: Thing, condition: Condition) {
        self.wait(PATIENCE, |run| run.holds(thing, condition));
    }

    fn until_gone_or_nudged(&mut self, thing: Thing) {
        let end = self.backend.elapsed() + MISSED;
        while self.backend.elapsed() < end && self.get(thing).is_some() {
            self.backend.pass();
        }
        if self.get(thing).is_some() {
            self.annotate(thing, NUDGE, "1");
        }
        self.until(thing, Condition::Gone);
    }

    fn until_log(&mut self, words: &str) {
        self.wait(PATIENCE, |run| {
            let leader = run.leader();
            leader.is_some_and(|leader| run.backend.log(Component::Snapshotter(leader)).contains(words))
        });
    }

    fn wait(&mut self, patience: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.backend.elapsed() + patience;
        while !done(self) {
            assert!(self.backend.elapsed() < end, "{}: still not so after {patience:?}", self.at);
            self.backend.pass();
        }
    }

    fn holds(&mut self, thing: Thing, condition: Condition) -> bool {
        let Some(object) = self.get(thing) else { return condition == Condition::Gone };
        match condition {
            Condition::Gone => false,
            Condition::Ready => self.is_ready(thing, &object),
            Condition::Deleting => object.pointer("/metadata/deletionTimestamp").is_some(),
            Condition::Failed => object.pointer("/status/error").is_some(),
            Condition::HeldBy(wanted) => {
                let held = list(&object, "/metadata/finalizers");
                held.len() == wanted.len() && held.iter().zip(wanted).all(|(held, wanted)| held.ends_with(wanted))
            }
            Condition::Annotated(key) => {
                object.pointer("/metadata/annotations").is_some_and(|all| all.get(key).is_some())
            }
            Condition::Told(reason) => self.is_told(&object, |event| text(event, "/reason") == reason),
            Condition::ToldWords(words) => self.is_told(&object, |event| text(event, "/message").contains(words)),
        }
    }

    /// All has been written, the last Event and annotation too: what is done next must not race with it.
    fn is_ready(&mut self, thing: Thing, snapshot: &Value) -> bool {
        let name = text(snapshot, "/status/boundVolumeSnapshotContentName").to_owned();
        let ready = |object: &Value| object.pointer("/status/readyToUse") == Some(&json!(true));
        if !ready(snapshot) || name.is_empty() {
            return false;
        }
        let id = Id { kind: Kind::Content, namespace: String::new(), name };
        let Some(content) = self.backend.get(&id) else { return false };
        let held = if text(&content, "/spec/deletionPolicy") == "Delete" { 2 } else { 1 };
        ready(&content)
            && list(snapshot, "/metadata/finalizers").len() == held
            && list(&content, "/metadata/finalizers").len() == 1
            && !content.pointer("/metadata/annotations").is_some_and(|all| all.to_string().contains("being-created"))
            && self.holds(thing, Condition::Told("SnapshotReady"))
    }

    fn is_told(&mut self, about: &Value, wanted: impl Fn(&Value) -> bool) -> bool {
        let uid = text(about, "/metadata/uid");
        let events = self.backend.seen(Kind::Event);
        events.iter().any(|seen| text(&seen.object, "/involvedObject/uid") == uid && wanted(&seen.object))
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list(object: &Value, pointer: &str) -> Vec<String> {
    let all = object.pointer(pointer).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
