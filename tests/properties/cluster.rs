//! A small universe of facts: generators, and the cluster that they add up to.
//!
//! Names are consistent as the controllers make them (a content is named after its snapshot's uid), so that a
//! property which fails shows a fault of the engine and not an impossible cluster.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::needless_for_each,
    clippy::unnecessary_wraps,
    clippy::unchecked_time_subtraction,
    clippy::single_match_else,
    reason = "a case that cannot be built may stop where it stands"
)]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;
use volwarden::domain::fact::{Change, Fact, Source};
use volwarden::domain::name::{Key, Stamp, Uid, fingerprint};
use volwarden::domain::record::{
    Claim, ClaimPhase, ClaimSource, Content, ContentSource, ContentStatus, CsiDriver, DeletionPolicy, EventRecord,
    Handle, Kind, Meta, Pod, Snapshot, SnapshotClass, SnapshotRef, SnapshotSource, StatusError,
};

use crate::lab;

/// Our wall clock when a case begins.
pub(crate) const BEGIN: &str = "2026-11-22T20:00:00Z";
pub(crate) const DRIVERS: [&str; 2] = ["a.csi.example.com", "b.csi.example.com"];
const CLASSES: [&str; 2] = ["class-a", "class-b"];
const CLAIMS: [&str; 2] = ["data-0", "data-1"];
/// Snapshots and contents of each generation; a snapshot that is made again keeps its name and not its uid.
const SNAPSHOTS: usize = 3;
const AGES: [u64; 7] = [5, 45, 59, 100, 200, 1_000, 90_000];
pub(crate) const LOCK: &str = "an operation with the given Volume ID 0001 already exists";

pub(crate) fn begin() -> Timestamp {
    BEGIN.parse().unwrap()
}

fn ago(seconds: u64) -> Timestamp {
    begin() - Duration::from_secs(seconds)
}

fn age() -> impl Strategy<Value = u64> {
    select(&AGES[..])
}

fn stamp(seconds: u64) -> Option<Stamp> {
    Stamp::from_timestamp(ago(seconds))
}

fn often_deleted() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 2 => age().prop_map(Some)]
}

fn uid(snapshot: usize, again: bool) -> String {
    format!("s{snapshot}{}", if again { "-again" } else { "" })
}

fn content_name(snapshot: usize, again: bool) -> String {
    format!("snapcontent-{}", uid(snapshot, again))
}

pub(crate) fn snapshot_key(snapshot: usize) -> Key {
    Key::namespaced("default", format!("s{snapshot}"))
}

fn meta(uid: &str, created: u64, deleted: Option<u64>, finalizers: &[&str]) -> Meta {
    let created = created.max(deleted.unwrap_or(0));
    lab::meta(uid, stamp(created), deleted.and_then(stamp), finalizers)
}

fn change<T>(gone: bool, key: Key, record: T) -> Change<T> {
    if gone { Change::Gone(key) } else { Change::Applied(key, record) }
}

fn rarely(weight: f64) -> impl Strategy<Value = bool> {
    prop::bool::weighted(weight)
}

fn error() -> impl Strategy<Value = Option<Box<StatusError>>> {
    let texts = [
        format!("rpc error: code = Aborted desc = {LOCK}"),
        "rpc error: code = Internal desc = pool is full".to_owned(),
        "no such secret".to_owned(),
    ];
    prop_oneof![3 => Just(None), 1 => select(texts.to_vec()).prop_map(|text| lab::status_error(&text))]
}

const SNAPSHOT_FINALIZERS: [&[&str]; 6] =
    [&[lab::AS_SOURCE, lab::BOUND], &[lab::BOUND], &[lab::AS_SOURCE], &[lab::PROVISIONER], &["example.com/hold"], &[]];

pub(crate) fn snapshot(again: f64) -> impl Strategy<Value = Fact> {
    let shape = (0..SNAPSHOTS, rarely(again), often_deleted(), age(), select(&SNAPSHOT_FINALIZERS[..]));
    let spec = (prop::option::weighted(0.8, select(&["class-a", "class-b", "class-missing"][..])), 0..CLAIMS.len());
    let status = (select(&[None, Some(false), Some(true)][..]), any::<bool>(), error(), rarely(0.05));
    (shape, spec, status, rarely(0.2)).prop_map(|(shape, (class, claim), (ready, bound, error, imported), gone)| {
        let (at, again, deleted, created, finalizers) = shape;
        let content = content_name(at, again);
        let snapshot = Snapshot {
            meta: meta(&uid(at, again), created, deleted, finalizers),
            source: if imported {
                SnapshotSource::Content(content.clone().into())
            } else {
                SnapshotSource::Claim(CLAIMS[claim].into())
            },
            class: class.map(Arc::from),
            content: bound.then(|| content.into()),
            ready,
            error,
            group: None,
            do_not_delete: false,
        };
        Fact::Snapshot(change(gone, snapshot_key(at), snapshot))
    })
}

const CONTENT_FINALIZERS: [&[&str]; 4] =
    [&[lab::CONTENT_FINALIZER], &[lab::CONTENT_FINALIZER, "example.com/hold"], &["example.com/hold"], &[]];

fn status(name: &str, kind: u8, error: Option<Box<StatusError>>) -> Option<ContentStatus> {
    // Copies of one another carry one handle.
    let handle = if kind == 3 { "shared" } else { name };
    match kind {
        0 => None,
        1 => Some(ContentStatus::default()),
        2 => Some(ContentStatus { error, ..ContentStatus::default() }),
        _ => Some(ContentStatus {
            handle: Some(Handle { print: fingerprint(handle), text: Some(handle.into()) }),
            error,
            ..lab::answered(handle, stamp(90_000))
        }),
    }
}

pub(crate) fn content(again: f64) -> impl Strategy<Value = Fact> {
    let shape = (0..SNAPSHOTS, rarely(again), often_deleted(), age(), select(&CONTENT_FINALIZERS[..]));
    let spec = (
        select(&DRIVERS[..]),
        prop::option::weighted(0.7, select(&CLASSES[..])),
        select(&[DeletionPolicy::Delete, DeletionPolicy::Delete, DeletionPolicy::Retain][..]),
        prop_oneof![4 => Just(ContentSource::Volume), 1 => Just(ContentSource::Handle)],
    );
    let flags = (rarely(0.6), rarely(0.1), rarely(0.05), rarely(0.05), rarely(0.05));
    (shape, spec, flags, (0..6_u8, error()), rarely(0.2)).prop_map(|(shape, spec, flags, (kind, error), gone)| {
        let (at, again, deleted, created, finalizers) = shape;
        let (driver, class, policy, source) = spec;
        let (being_deleted, being_created, in_group, velero, managed) = flags;
        let name = content_name(at, again);
        let content = Content {
            meta: meta(&format!("uid-{name}"), created, deleted, finalizers),
            snapshot: SnapshotRef { key: snapshot_key(at), uid: Some(Uid::parse(&uid(at, again))) },
            driver: driver.into(),
            class: class.map(Arc::from),
            policy,
            source,
            status: status(&name, kind, error),
            being_deleted,
            being_created,
            secret: None,
            in_group,
            velero,
            managed_by: managed.then(|| "node-1".into()),
        };
        Fact::Content(change(gone, Key::cluster(name), content))
    })
}

/// A content that hangs with the driver, one of many alike: what storms are made of.
pub(crate) fn storming(number: usize, driver: usize) -> Fact {
    let name = format!("snapcontent-storm-{number}");
    let content = Content {
        meta: meta(&format!("uid-{name}"), 2_000, Some(1_000), &[lab::CONTENT_FINALIZER]),
        snapshot: SnapshotRef {
            key: Key::namespaced("default", format!("storm-{number}")),
            uid: Some(Uid::parse(&format!("storm-{number}"))),
        },
        driver: DRIVERS[driver].into(),
        class: None,
        policy: DeletionPolicy::Delete,
        source: ContentSource::Volume,
        status: status(&name, 5, None),
        being_deleted: true,
        being_created: false,
        secret: None,
        in_group: false,
        velero: false,
        managed_by: None,
    };
    Fact::Content(Change::Applied(Key::cluster(name), content))
}

pub(crate) fn class() -> impl Strategy<Value = Fact> {
    (select(&CLASSES[..]), select(&DRIVERS[..]), any::<bool>(), rarely(0.2)).prop_map(
        |(name, driver, default, gone)| {
            let class = SnapshotClass { driver: driver.into(), policy: DeletionPolicy::Delete, default };
            Fact::SnapshotClass(change(gone, Key::cluster(name), class))
        },
    )
}

const CLAIM_FINALIZERS: [&[&str]; 2] = [&[], &[lab::PVC_SOURCE]];

pub(crate) fn claim() -> impl Strategy<Value = Fact> {
    let held = select(&CLAIM_FINALIZERS[..]);
    let phase = select(&[ClaimPhase::Pending, ClaimPhase::Bound][..]);
    let from = prop::option::of(0..SNAPSHOTS);
    (select(&CLAIMS[..]), phase, from, often_deleted(), held, rarely(0.2)).prop_map(
        |(name, phase, from, deleted, held, gone)| {
            let claim = Claim {
                meta: meta(&format!("uid-{name}"), 90_000, deleted, held),
                phase,
                volume: None,
                storage_class: None,
                sources: from.map(|at| ClaimSource { snapshot: snapshot_key(at) }).into_iter().collect(),
                node_selected: true,
            };
            Fact::Claim(change(gone, Key::namespaced("default", name), claim))
        },
    )
}

pub(crate) fn lease_names() -> [String; 3] {
    let [a, b] = DRIVERS.map(volwarden::domain::identity::snapshotter_lease);
    [a, b, lab::CONTROLLER_LEASE.to_owned()]
}

pub(crate) fn lease() -> impl Strategy<Value = Fact> {
    let holder = select(&["leader-a", "leader-b", "leader-c", ""][..]);
    (select(lease_names().to_vec()), holder, age(), 0..4_u32, rarely(0.2)).prop_map(
        |(name, holder, renewed, transitions, gone)| {
            let lease = lab::lease(holder, 15, ago(renewed), transitions);
            Fact::Lease(change(gone, Key::namespaced("system", name), lease))
        },
    )
}

pub(crate) fn driver() -> impl Strategy<Value = Fact> {
    (select(&DRIVERS[..]), rarely(0.4))
        .prop_map(|(name, gone)| Fact::CsiDriver(change(gone, Key::cluster(name), CsiDriver { owner: None })))
}

pub(crate) const SIDECAR_ARGS: [&[&str]; 4] = [
    &["--leader-election=true"],
    &["--leader-election=true", "--timeout=150s", "--resync-period=30m"],
    &["--leader-election", "--timeout=10s", "--retry-interval-max=20m"],
    &[],
];

pub(crate) fn pod(kinds_of_args: usize) -> impl Strategy<Value = Fact> {
    let name = select(&["leader-a", "idle-a", "leader-b", "controller-0"][..]);
    (name, select(&SIDECAR_ARGS[..kinds_of_args]), age(), age(), 0..3_u8, rarely(0.2)).prop_map(
        |(name, args, created, changed, state, gone)| {
            let containers = match name {
                "controller-0" => vec![lab::container("snapshot-controller", "snapshot-controller:v8.5.0", args)],
                _ => {
                    let of = usize::from(name.ends_with("-b"));
                    let driver = format!("--drivername={}", DRIVERS[of]);
                    vec![
                        lab::container("plugin", "plugin:v1", &[&driver]),
                        lab::container("csi-snapshotter", "csi-snapshotter:v8.5.0", args),
                    ]
                }
            };
            let mut pod = Pod {
                meta: meta(&format!("uid-{name}-{created}"), created, (state == 2).then_some(5), &[]),
                node: None,
                host_network: false,
                hostname: None,
                phase: "Running".into(),
                ready: true,
                ready_changed: stamp(changed),
                owner: None,
                containers: containers.into(),
            };
            if state == 1 {
                pod = lab::broken(pod, "CrashLoopBackOff");
            }
            Fact::Pod(change(gone, Key::namespaced("system", name), pod))
        },
    )
}

pub(crate) fn content_event(again: f64) -> impl Strategy<Value = Fact> {
    let message = select(&["Failed to get snapshot credentials: no", "Failed to delete snapshot"][..]);
    let reason = select(&["SnapshotDeleteError", "SnapshotDeleteError", "SnapshotCreationFailed"][..]);
    let about = (0..SNAPSHOTS, rarely(again), rarely(0.1));
    (about, reason, message, select(&DRIVERS[..]), age(), rarely(0.8), rarely(0.2)).prop_map(
        |((at, again, stale), reason, message, driver, last, warning, gone)| {
            let name = content_name(at, again);
            let of = if stale { "uid-of-a-former-one".to_owned() } else { format!("uid-{name}") };
            let event = EventRecord {
                kind: Kind::VolumeSnapshotContent,
                about: Key::cluster(name.clone()),
                uid: Some(Uid::parse(&of)),
                reason: reason.into(),
                message: message.into(),
                component: format!("csi-snapshotter {driver}").into(),
                warning,
                count: 1,
                first: Some(ago(last)),
                last: Some(ago(last)),
            };
            Fact::ContentEvent(change(
                gone,
                Key::namespaced("default", format!("{name}.{reason}-{warning}-{stale}")),
                event,
            ))
        },
    )
}

pub(crate) fn snapshot_event() -> impl Strategy<Value = Fact> {
    (0..SNAPSHOTS, age(), any::<bool>(), rarely(0.2)).prop_map(|(at, last, warning, gone)| {
        let event = EventRecord {
            kind: Kind::VolumeSnapshot,
            about: snapshot_key(at),
            uid: Some(Uid::parse(&uid(at, false))),
            reason: "SnapshotFinalizerError".into(),
            message: "no".into(),
            component: "snapshot-controller".into(),
            warning,
            count: 1,
            first: None,
            last: Some(ago(last)),
        };
        Fact::SnapshotEvent(change(gone, Key::namespaced("default", format!("s{at}.{warning}")), event))
    })
}

/// Any object, as it is now or gone.
pub(crate) fn object() -> impl Strategy<Value = Fact> {
    of_kinds(0.5, SIDECAR_ARGS.len())
}

/// The same, but no snapshot is made again under the name of a former one, and every sidecar has the same floors.
pub(crate) fn object_once() -> impl Strategy<Value = Fact> {
    of_kinds(0.0, 1)
}

fn of_kinds(again: f64, args: usize) -> impl Strategy<Value = Fact> {
    prop_oneof![
        6 => snapshot(again),
        8 => content(again),
        2 => class(),
        3 => claim(),
        3 => lease(),
        2 => driver(),
        3 => pod(args),
        3 => content_event(again),
        1 => snapshot_event(),
    ]
}

/// Collections that the universe has objects of.
pub(crate) const SOURCES: [Source; 9] = [
    Source::Snapshots,
    Source::Contents,
    Source::SnapshotClasses,
    Source::Claims,
    Source::Leases,
    Source::CsiDrivers,
    Source::Pods,
    Source::ContentEvents,
    Source::SnapshotEvents,
];

/// Which object a fact is about, and whether it is there.
pub(crate) fn place(fact: &Fact) -> Option<(Source, Key, bool)> {
    fn of<T>(source: Source, change: &Change<T>) -> Option<(Source, Key, bool)> {
        Some(match change {
            Change::Applied(key, _) => (source, key.clone(), true),
            Change::Gone(key) => (source, key.clone(), false),
        })
    }
    match fact {
        Fact::Snapshot(change) => of(Source::Snapshots, change),
        Fact::Content(change) => of(Source::Contents, change),
        Fact::SnapshotClass(change) => of(Source::SnapshotClasses, change),
        Fact::Claim(change) => of(Source::Claims, change),
        Fact::Lease(change) => of(Source::Leases, change),
        Fact::CsiDriver(change) => of(Source::CsiDrivers, change),
        Fact::Pod(change) => of(Source::Pods, change),
        Fact::ContentEvent(change) => of(Source::ContentEvents, change),
        Fact::SnapshotEvent(change) => of(Source::SnapshotEvents, change),
        _ => None,
    }
}
