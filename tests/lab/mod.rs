//! A laboratory for the engine: facts in, virtual time, reads answered from what the test says is there.
//!
//! Everything begins healthy: all sources synced, snapshot-controller and the driver's csi-snapshotter renew
//! their leases every five seconds. A scenario takes away what it wants to be missing.

#![allow(dead_code, unreachable_pub, reason = "each test binary includes this file and uses a part of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scenario that cannot be built may stop where it stands"
)]
#![allow(clippy::unnecessary_wraps, reason = "the value goes into an optional field")]

pub mod hands;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use volwarden::domain::engine::{Effect, Engine, Settings};
use volwarden::domain::fact::{Answer, Change, Fact, Live, LogTail, Now, Probe, Source, SourceChange};
use volwarden::domain::finding::{Class, Finding, Subject};
use volwarden::domain::name::{Key, Stamp, Uid, fingerprint};
use volwarden::domain::record::{
    Claim, ClaimPhase, ClaimSource, Container, Content, ContentSource, ContentStatus, CsiDriver, DeletionPolicy,
    EventRecord, Handle, Kind, Lease, Meta, Owner, Pod, SecretName, Snapshot, SnapshotClass, SnapshotRef,
    SnapshotSource, StatusError, Volume, Workload,
};

pub const DRIVER: &str = "rook-ceph.rbd.csi.ceph.com";
pub const DRIVER_LEASE: &str = "external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com";
pub const CONTROLLER_LEASE: &str = "snapshot-controller-leader";
pub const CONTENT_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
pub const AS_SOURCE: &str = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
pub const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
pub const PROVISIONER: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
pub const PVC_SOURCE: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";

/// The engine with a clock and a cluster's answers around it.
pub struct Lab {
    pub engine: Engine,
    pub effects: Vec<Effect>,
    pub log: LogTail,
    /// What live reads answer where the test says otherwise than the engine's own world.
    pub live: BTreeMap<(Kind, Key), Live>,
    /// Warning that reads of a claim's events give.
    pub claim_warning: Option<Arc<str>>,
    /// Reads are not answered at all.
    pub mute: bool,
    /// Watches that are dead, and nobody knows.
    pub silent: BTreeSet<Source>,
    /// What carries repairs out.
    pub hands: hands::Hands,
    pub probes: Vec<Probe>,
    pub start: Timestamp,
    mono: Duration,
    skew: jiff::SignedDuration,
    alive: BTreeSet<Key>,
    renewals: u32,
    /// Who holds the leases that are renewed.
    holder: String,
}

impl Lab {
    /// The daemon's engine in a healthy cluster.
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// `doctor`'s engine in a healthy cluster.
    pub fn eager() -> Self {
        Self::with(Settings { eager: true, ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Self {
        let mut lab = Self::bare(settings);
        lab.feed(Fact::CsiDriver(Change::Applied(Key::cluster(DRIVER), CsiDriver { owner: None })));
        lab.feed(Fact::SnapshotClass(Change::Applied(Key::cluster("csi-ceph-blockpool"), class(DRIVER))));
        lab.start_leader("kube-system", CONTROLLER_LEASE);
        lab.start_leader("rook-ceph", DRIVER_LEASE);
        lab.sync_all();
        lab
    }

    /// An engine that has heard nothing.
    pub fn bare(settings: Settings) -> Self {
        let settings =
            if settings.identity.is_empty() { Settings { identity: "me".into(), ..settings } } else { settings };
        Self {
            engine: Engine::new(settings),
            effects: Vec::new(),
            log: LogTail::Forbidden,
            live: BTreeMap::new(),
            claim_warning: None,
            mute: false,
            silent: BTreeSet::new(),
            hands: hands::Hands::default(),
            probes: Vec::new(),
            start: "2026-11-22T20:00:00Z".parse().unwrap(),
            mono: Duration::from_secs(1000),
            skew: jiff::SignedDuration::ZERO,
            alive: BTreeSet::new(),
            renewals: 0,
            holder: "leader-0".to_owned(),
        }
    }

    pub fn sync_all(&mut self) {
        for source in Source::ALL {
            self.feed(Fact::Source(source, SourceChange::ListEnded));
        }
    }

    pub fn now(&self) -> Now {
        Now { wall: self.start + self.mono + self.skew, mono: self.mono }
    }

    /// The present moved back: the time that a timestamp `ago` in the past shows.
    pub fn ago(&self, ago: Duration) -> Timestamp {
        self.now().wall - ago
    }

    pub fn stamp(&self, ago: u64) -> Option<Stamp> {
        Stamp::from_timestamp(self.ago(Duration::from_secs(ago)))
    }

    /// Our wall clock is off by this from now on.
    pub fn skew(&mut self, seconds: i64) {
        self.skew = jiff::SignedDuration::from_secs(seconds);
    }

    pub fn feed(&mut self, fact: Fact) {
        let mut queue = vec![fact];
        while let Some(fact) = queue.pop() {
            let effects = self.engine.step(fact, self.now());
            for effect in effects {
                if self.hands.life == hands::Life::Ended {
                    break;
                }
                if let Effect::Probe(probe) = &effect {
                    self.probes.push(probe.clone());
                    if !self.mute {
                        let answer = self.answer(probe);
                        queue.push(Fact::Answered(probe.clone(), answer));
                    }
                }
                queue.extend(self.carry_out(&effect));
                self.effects.push(effect);
            }
        }
        if self.hands.life == hands::Life::Ended {
            self.hands.life = hands::Life::Lives;
            self.restarted("the next one");
        }
    }

    fn answer(&self, probe: &Probe) -> Answer {
        match probe {
            Probe::Get { kind, key } => {
                Answer::Get(self.live.get(&(*kind, key.clone())).cloned().unwrap_or_else(|| {
                    let world = self.engine.world();
                    let uid = match kind {
                        Kind::VolumeSnapshot => world.snapshots.get(key).map(|snapshot| snapshot.meta.uid.clone()),
                        Kind::VolumeSnapshotContent => world.contents.get(key).map(|content| content.meta.uid.clone()),
                        _ => None,
                    };
                    uid.map_or(Live::Absent, Live::Present)
                }))
            }
            Probe::Look { kind, key } => Answer::Look(self.look(*kind, key)),
            Probe::Log { .. } => Answer::Log(self.log.clone()),
            Probe::ClaimEvents { .. } => Answer::ClaimEvents(self.claim_warning.clone()),
        }
    }

    /// Lets time pass: leaders renew every 5 s, due timers fire.
    pub fn pass(&mut self, seconds: u64) {
        let end = self.mono + Duration::from_secs(seconds);
        while self.mono < end {
            let next = (self.mono + Duration::from_secs(5)).min(end);
            while let Some(at) = self.engine.wake_at().filter(|at| *at < next) {
                self.mono = self.mono.max(at);
                self.feed(Fact::Tick);
            }
            self.mono = next;
            self.lead();
            for key in self.alive.clone() {
                self.renew(&key);
            }
            self.signs_of_life();
            self.feed(Fact::Tick);
        }
    }

    pub fn start_leader(&mut self, namespace: &str, lease: &str) {
        let key = Key::namespaced(namespace, lease);
        self.alive.insert(key.clone());
        self.renew(&key);
    }

    /// The leader stops renewing; the lease stays.
    pub fn stop_leader(&mut self, lease: &str) {
        self.alive.retain(|key| &*key.name != lease);
    }

    pub fn drop_lease(&mut self, namespace: &str, lease: &str) {
        self.stop_leader(lease);
        self.feed(Fact::Lease(Change::Gone(Key::namespaced(namespace, lease))));
    }

    fn renew(&mut self, key: &Key) {
        self.renewals += 1;
        // The holder's clock is its own: only that the lease moves tells that it lives.
        let renewed = self.start + self.mono;
        let lease = lease(&self.holder, 15, renewed, self.renewals);
        self.feed(Fact::Lease(Change::Applied(key.clone(), lease)));
    }

    pub fn content(&mut self, name: &str, content: Content) {
        self.feed(Fact::Content(Change::Applied(Key::cluster(name), content)));
    }

    pub fn snapshot(&mut self, name: &str, snapshot: Snapshot) {
        self.feed(Fact::Snapshot(Change::Applied(Key::namespaced("default", name), snapshot)));
    }

    pub fn claim(&mut self, name: &str, claim: Claim) {
        self.feed(Fact::Claim(Change::Applied(Key::namespaced("default", name), claim)));
    }

    pub fn pod(&mut self, namespace: &str, name: &str, pod: Pod) {
        self.feed(Fact::Pod(Change::Applied(Key::namespaced(namespace, name), pod)));
    }

    /// A SnapshotDeleteError event about content `c`, last seen `ago` seconds ago.
    pub fn delete_error(&mut self, content: &str, message: &str, ago: u64) {
        let last = self.ago(Duration::from_secs(ago));
        let event = EventRecord {
            kind: Kind::VolumeSnapshotContent,
            about: Key::cluster(content),
            uid: Some(Uid::parse(&format!("uid-{content}"))),
            reason: "SnapshotDeleteError".into(),
            message: message.into(),
            component: format!("csi-snapshotter {DRIVER}").into(),
            warning: true,
            count: 3,
            first: Some(last),
            last: Some(last),
        };
        let key = Key::namespaced("default", format!("{content}.1"));
        self.feed(Fact::ContentEvent(Change::Applied(key, event)));
    }

    /// The sidecar's log says that `content` failed with this code and these words, `ago` seconds ago.
    pub fn log_failure(&mut self, content: &str, code: &str, words: &str, ago: u64) {
        let words = format!(
            "failed to delete snapshot \"{content}\", err: failed to delete snapshot content {content}: \"rpc error: code = \
             {code} desc = {words}\""
        );
        self.log_line(content, &words, ago);
    }

    /// The sidecar's log says that its turn of `content` ended with these words, `ago` seconds ago.
    pub fn log_line(&mut self, content: &str, words: &str, ago: u64) {
        let at = self.ago(Duration::from_secs(ago));
        let line =
            format!("{at} E1122 snapshot_controller_base.go:359] could not sync content \"{content}\": {words}\n");
        let before = if let LogTail::Lines { text, .. } = &self.log { text.to_string() } else { String::new() };
        self.log = LogTail::Lines { text: (before + &line).into(), since: Some(self.start) };
    }

    /// The sidecar's log is readable and has nothing in it.
    pub fn empty_log(&mut self) {
        self.log = LogTail::Lines { text: "".into(), since: Some(self.start) };
    }

    pub fn finding(&self, kind: Kind, name: &str) -> Option<Finding> {
        let found = self.engine.findings().into_iter().find(|f| f.subject.kind == kind && &*f.subject.key.name == name);
        found.cloned()
    }

    pub fn class(&self, kind: Kind, name: &str) -> Option<Class> {
        self.finding(kind, name).map(|finding| finding.class)
    }

    pub fn classes(&self) -> Vec<(Class, String)> {
        self.engine.findings().into_iter().map(|f| (f.class, f.subject.key.to_string())).collect()
    }

    /// What `why` says of an object that has no finding.
    pub fn why(&self, kind: Kind, key: Key) -> String {
        match self.engine.explain(&Subject::new(kind, key), self.now()).verdict {
            volwarden::domain::finding::Verdict::Normal { summary, .. } => summary,
            other => format!("{other:?}"),
        }
    }
}

pub fn meta(uid: &str, created: Option<Stamp>, deleted: Option<Stamp>, finalizers: &[&str]) -> Meta {
    let finalizers: Vec<Arc<str>> = finalizers.iter().map(|name| Arc::from(*name)).collect();
    Meta { uid: Uid::parse(uid), created, deleted, finalizers: finalizers.into(), ignored: false }
}

pub fn class(driver: &str) -> SnapshotClass {
    SnapshotClass { driver: driver.into(), policy: DeletionPolicy::Delete, default: false }
}

pub fn lease(holder: &str, seconds: u64, renewed: Timestamp, transitions: u32) -> Lease {
    Lease {
        holder: holder.into(),
        duration: Some(Duration::from_secs(seconds)),
        renewed: Some(renewed),
        acquired: Some(renewed),
        transitions: i32::try_from(transitions).unwrap(),
    }
}

/// What the driver's answer to the creation left in the status.
pub fn answered(handle: &str, created: Option<Stamp>) -> ContentStatus {
    ContentStatus {
        handle: Some(Handle { print: fingerprint(handle), text: Some(handle.into()) }),
        ready: Some(true),
        creation_time: created,
        has_creation_time: true,
        has_restore_size: true,
        error: None,
        in_group: false,
    }
}

/// A content of snapshot `default/<snapshot>`, made an hour ago, deleted `deleted` seconds ago, as the
/// controllers leave it in a normal deletion that is with the driver.
pub fn deleting(lab: &Lab, name: &str, snapshot: &str, deleted: u64) -> Content {
    let mut content = alive(lab, name, snapshot);
    content.meta.deleted = lab.stamp(deleted);
    content.being_deleted = true;
    content
}

/// A bound, ready content of snapshot `default/<snapshot>`, made an hour ago.
pub fn alive(lab: &Lab, name: &str, snapshot: &str) -> Content {
    Content {
        meta: meta(&format!("uid-{name}"), lab.stamp(3600), None, &[CONTENT_FINALIZER]),
        snapshot: SnapshotRef {
            key: Key::namespaced("default", snapshot),
            uid: Some(Uid::parse(&format!("uid-{snapshot}"))),
        },
        driver: DRIVER.into(),
        class: Some("csi-ceph-blockpool".into()),
        policy: DeletionPolicy::Delete,
        source: ContentSource::Volume,
        status: Some(answered(&format!("0001-0009-rook-ceph-0000000000000001-{name}"), lab.stamp(3600))),
        being_deleted: false,
        being_created: false,
        secret: None,
        in_group: false,
        velero: false,
        managed_by: None,
    }
}

/// A ready snapshot of claim `data`, bound to content `content`, made an hour ago.
pub fn ready(lab: &Lab, name: &str, content: &str) -> Snapshot {
    Snapshot {
        meta: meta(&format!("uid-{name}"), lab.stamp(3600), None, &[AS_SOURCE, BOUND]),
        source: SnapshotSource::Claim("data".into()),
        class: Some("csi-ceph-blockpool".into()),
        content: Some(content.into()),
        ready: Some(true),
        error: None,
        group: None,
        do_not_delete: false,
    }
}

/// The same, deleted `deleted` seconds ago and held by `finalizers`.
pub fn going(lab: &Lab, name: &str, content: &str, deleted: u64, finalizers: &[&str]) -> Snapshot {
    let mut snapshot = ready(lab, name, content);
    snapshot.meta = meta(&format!("uid-{name}"), lab.stamp(3600), lab.stamp(deleted), finalizers);
    snapshot
}

/// A snapshot of claim `data` that nobody has cut, made `created` seconds ago.
pub fn unready(lab: &Lab, name: &str, created: u64) -> Snapshot {
    let mut snapshot = ready(lab, name, "");
    snapshot.meta.created = lab.stamp(created);
    snapshot.meta.finalizers = vec![Arc::from(AS_SOURCE)].into();
    snapshot.content = None;
    snapshot.ready = None;
    snapshot
}

/// A claim; `source` is the snapshot (`namespace/name`) it is restored from.
pub fn claim(name: &str, phase: ClaimPhase, source: Option<&str>) -> Claim {
    let source = source.map(|text| {
        let (namespace, name) = text.split_once('/').unwrap();
        ClaimSource { snapshot: Key::namespaced(namespace, name) }
    });
    Claim {
        meta: meta(&format!("uid-{name}"), None, None, &["kubernetes.io/pvc-protection"]),
        phase,
        volume: Some("pv-data".into()),
        storage_class: None,
        sources: source.into_iter().collect(),
        node_selected: true,
    }
}

pub fn volume(driver: &str) -> Volume {
    Volume { driver: Some(driver.into()), handle: None }
}

pub fn container(name: &str, image: &str, args: &[&str]) -> Container {
    let args: Vec<Arc<str>> = args.iter().map(|arg| Arc::from(*arg)).collect();
    Container {
        name: name.into(),
        image: image.into(),
        args: args.into(),
        ready: true,
        running: true,
        waiting: None,
        last_termination: None,
        restarts: 0,
    }
}

/// A Ready controller pod as the operator makes it: plugin and sidecar.
pub fn ctrlplugin(lab: &Lab, name: &str, sidecar_args: &[&str]) -> Pod {
    let drivername = format!("--drivername={DRIVER}");
    Pod {
        meta: meta(&format!("uid-{name}"), lab.stamp(7200), None, &[]),
        node: Some("node-1".into()),
        host_network: false,
        hostname: None,
        phase: "Running".into(),
        ready: true,
        ready_changed: lab.stamp(7190),
        owner: Some(Owner { kind: "ReplicaSet".into(), name: "ctrlplugin-75b99498fb".into(), uid: Uid::parse("rs") }),
        containers: Box::new([
            container("csi-rbdplugin", "quay.io/cephcsi/cephcsi:v3.15", &[&drivername]),
            container("csi-snapshotter", "registry.k8s.io/sig-storage/csi-snapshotter:v8.5.0", sidecar_args),
        ]),
    }
}

pub fn broken(mut pod: Pod, waiting: &str) -> Pod {
    pod.ready = false;
    for container in &mut pod.containers {
        container.ready = false;
        container.running = false;
        container.waiting = Some(waiting.into());
    }
    pod
}

pub fn deployment(name: &str, containers: Vec<Container>) -> Fact {
    let workload = Workload {
        meta: meta("uid-deployment", None, None, &[]),
        owner: None,
        replicas: Some(2),
        ready: 2,
        containers: containers.into(),
    };
    Fact::Deployment(Change::Applied(Key::namespaced("rook-ceph", name), workload))
}

pub fn status_error(message: &str) -> Option<Box<StatusError>> {
    Some(Box::new(StatusError { message: message.into(), time: None }))
}

pub fn secret(namespace: &str, name: &str) -> Option<Arc<SecretName>> {
    Some(Arc::new(SecretName { namespace: namespace.into(), name: name.into() }))
}
