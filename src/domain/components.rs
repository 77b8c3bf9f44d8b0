//! Whether the controllers behind the objects live: each driver's csi-snapshotter, and snapshot-controller.
//!
//! Found from the driver by lease, holder and owner, never by a label (`app=csi-rbdplugin-provisioner` matches
//! nothing on a current Rook). A wrong "the driver is dead" turns a slow deletion into a repair, so whatever
//! cannot be told stays unknown.

mod evidence;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::engine::Settings;
use super::fact::{Now, Source};
use super::finding::Class;
use super::identity::{self, CONTROLLER_COMPONENT, CONTROLLER_LEASE};
use super::lease::{self, Pulse};
use super::name::{Key, Uid};
use super::record::{Container, Pod};
use super::timing::Timing;
use super::words;
use super::world::{WatchedLease, World};
pub use evidence::Evidence;
use evidence::Sight;

/// While pods are told anew, it is looked at again this often.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// A pod this young may still become Ready.
const STARTING: Duration = Duration::from_secs(120);
/// A lease unrenewed for so long belongs to a driver that was taken away.
const LONG_GONE: Duration = Duration::from_secs(24 * 3600);
/// An event this young shows that its writer lives.
const RECENT: Duration = Duration::from_secs(300);

/// Whether a component works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works; `seen` when we saw it renew and do not only trust a timestamp.
    Alive {
        /// A renewal was seen.
        seen: bool,
    },
    /// Too early to say.
    Undecided,
    /// It cannot be told, for this reason.
    Unknown(String),
    /// It does not work.
    Down {
        /// `DriverUnknown`, `DriverGone`, `StaleLeader` or `ControllerDown`.
        class: Class,
        /// It rests on timestamps and a short look.
        unverified: bool,
    },
}

/// A container whose log can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSource {
    /// The pod.
    pub pod: Key,
    /// Its uid.
    pub uid: Uid,
    /// The container.
    pub container: Arc<str>,
}

/// What is known of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Whether it works.
    pub health: Health,
    /// Look again at this monotonic time, even if nothing is heard.
    pub recheck: Option<Duration>,
    /// Its times; the documented defaults when no pod shows its arguments.
    pub timing: Timing,
    /// Where its times come from, in words.
    pub timing_from: String,
    /// Its lease.
    pub lease: Option<Key>,
    /// The csi-snapshotter of the leader's pod.
    pub log: Option<LogSource>,
    /// When it was seen to work again after it had not, on the monotonic clock.
    pub back: Option<Duration>,
    /// Since when it is down.
    pub since: Option<Timestamp>,
    /// What was observed.
    pub evidence: Vec<Evidence>,
    /// One line of why it is down.
    pub why: String,
    /// That it is down rests on what is not there: it has to stay away for a while.
    pub by_absence: bool,
}

impl View {
    /// The class of the finding about it, when it is down.
    #[must_use]
    pub fn down(&self) -> Option<(Class, bool)> {
        match self.health {
            Health::Down { class, unverified } => Some((class, unverified)),
            Health::Alive { .. } | Health::Undecided | Health::Unknown(_) => None,
        }
    }

    /// What was observed, in words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.evidence.iter().map(ToString::to_string).collect()
    }

    /// It works.
    #[must_use]
    pub fn alive(&self) -> bool {
        matches!(self.health, Health::Alive { .. })
    }

    /// How long it has worked without a break as far as that was seen: what it found on its return it has to
    /// be given time for.
    #[must_use]
    pub fn at_work(&self, now: Now) -> Duration {
        self.back.map_or(Duration::MAX, |back| now.mono.saturating_sub(back))
    }

    /// Takes over from the view before what is known of its return.
    pub fn follow(&mut self, before: Option<&Self>, now: Now) {
        let Some(before) = before else { return };
        self.back = if before.alive() { before.back } else { Some(now.mono) };
    }
}

/// A pod of a component with the container that matters.
struct Member<'a> {
    key: &'a Key,
    pod: &'a Pod,
    container: &'a Container,
    /// It holds the lease.
    leads: bool,
}

impl Member<'_> {
    fn ready(&self) -> bool {
        self.pod.meta.deleted.is_none() && self.pod.ready && self.container.ready && self.container.running
    }

    fn trouble(&self) -> bool {
        self.container.waiting.as_deref().is_some_and(|why| {
            matches!(why, "CrashLoopBackOff" | "ImagePullBackOff" | "ErrImagePull" | "CreateContainerConfigError")
        })
    }

    /// Until when it may still come up, or, once it is Ready, take over: a candidate waits out the lease from when it
    /// first saw it, so not before its own beginning, nor before it was Ready again: its node may have been cut off.
    fn starting_until(&self, takeover: Duration, now: Now) -> Option<Duration> {
        let back = self.pod.ready_changed.filter(|_| self.ready());
        let age = words::stamp_age(now.wall, self.pod.meta.created.max(back));
        let patience = if self.ready() { takeover } else { STARTING };
        let young = age < patience && !self.trouble() && self.pod.meta.deleted.is_none();
        young.then(|| now.mono + patience.saturating_sub(age))
    }

    fn sight(&self) -> Evidence {
        Evidence::Pod(Sight::new(self.key, self.pod, self.container, self.ready()))
    }
}

/// A pod with a driver's csi-snapshotter in it, as far as a repair has to know it.
#[derive(Clone, Copy, Debug)]
pub struct Sidecar<'a> {
    /// The pod's key.
    pub key: &'a Key,
    /// The pod.
    pub pod: &'a Pod,
    /// It holds the driver's lease.
    pub leads: bool,
    /// It is Ready, with its csi-snapshotter running, and not being deleted.
    pub ready: bool,
}

/// The pods that a driver's lease is fought out among.
#[must_use]
pub fn sidecars<'a>(world: &'a World, driver: &str) -> Vec<Sidecar<'a>> {
    let found = world.lease(&identity::snapshotter_lease(driver));
    let holder = found.map(|(key, watched)| (key, &*watched.lease.holder));
    let members = snapshotters(world, driver, holder).into_iter();
    members
        .map(|member| Sidecar { key: member.key, pod: member.pod, leads: member.leads, ready: member.ready() })
        .collect()
}

/// What is known of a driver's csi-snapshotter.
#[must_use]
pub fn driver(world: &World, name: &str, settings: &Settings, now: Now) -> View {
    let lease_name = identity::snapshotter_lease(name);
    let found = world.lease(&lease_name);
    let holder = found.map(|(key, watched)| (key, &*watched.lease.holder));
    let members = snapshotters(world, name, holder);
    let leader = members.iter().find(|member| member.leads).or_else(|| members.iter().find(|member| member.ready()));
    let mut view = blank(leader.or_else(|| members.first()), settings);
    view.lease = found.map(|(key, _)| key.clone());
    view.log = leader.map(|member| LogSource {
        pod: member.key.clone(),
        uid: member.pod.meta.uid.clone(),
        container: Arc::clone(&member.container.name),
    });
    view.evidence.extend(members.iter().map(Member::sight));
    let alive_at = world.sign_of_life(&identity::snapshotter_component(name));
    if let Some((key, watched)) = found {
        view.evidence.insert(0, Evidence::Lease(key.clone(), watched.clone(), now));
        view.since = lease::missing_since(watched);
        let takeover = view.timing.takeover(lease::duration(watched)).max(settings.min_floor);
        let told = world.sources.told_up_to(Source::Leases, now);
        let pulse = lease::pulse(watched, takeover, told, settings.eager, now);
        view.health = match by_lease(&mut view, pulse, alive_at, now) {
            Ok(health) => health,
            Err(unverified) => {
                if let Some(until) = coming_up(&members, takeover, now) {
                    view.recheck = Some(until);
                    Health::Undecided
                } else if !settings.eager && world.sources.catches_up(Source::Pods, now) {
                    // The watch is telling what it missed: who is Ready in what it showed before may be gone.
                    view.recheck = Some(now.mono + CATCHING_UP);
                    Health::Undecided
                } else {
                    let long_gone = watched.lease.renewed.is_none_or(|at| words::age(now.wall, at) >= LONG_GONE);
                    without_leader(world, name, &members, long_gone, unverified, &mut view)
                }
            }
        };
    } else {
        view.by_absence = true;
        view.health = without_lease(world, name, &members, alive_at, now, &mut view);
    }
    if view.down().is_some() {
        view.evidence.extend(deployments_without_sidecar(world, name).into_iter().map(Evidence::Words));
    }
    view
}

/// Takes in that the lease was renewed by whoever was seen to hold it, where all else stands as it was: a healthy
/// component tells nothing else for days. `false`: look at all of it.
pub fn renewed(view: &mut View, world: &World, name: &str, settings: &Settings, now: Now) -> bool {
    let same = |old: &WatchedLease, new: &WatchedLease| {
        let terms =
            |watched: &WatchedLease| (watched.lease.duration, watched.lease.transitions, watched.lease.acquired);
        old.lease.holder == new.lease.holder && terms(old) == terms(new)
    };
    let Some((key, watched)) = world.lease(name) else { return false };
    if view.health != (Health::Alive { seen: true }) {
        return false;
    }
    let Some(Evidence::Lease(known, seen, at)) = view.evidence.first_mut() else { return false };
    if known != key || !same(seen, watched) {
        return false;
    }
    let takeover = view.timing.takeover(lease::duration(watched)).max(settings.min_floor);
    let told = world.sources.told_up_to(Source::Leases, now);
    let Pulse::Beating { seen: true, until } = lease::pulse(watched, takeover, told, settings.eager, now) else {
        return false;
    };
    (*seen, *at) = (watched.clone(), now);
    view.since = lease::missing_since(watched);
    view.recheck = Some(until);
    true
}

fn blank(member: Option<&Member<'_>>, settings: &Settings) -> View {
    let (mut timing, timing_from) = match member {
        Some(member) => (Timing::from_args(&member.container.args), format!("the arguments of Pod {}", member.key)),
        None => (Timing::default(), "the sidecar's documented defaults (no pod of it is visible)".to_owned()),
    };
    timing.raised_to = settings.min_floor;
    View {
        health: Health::Unknown(String::new()),
        recheck: None,
        timing,
        timing_from,
        lease: None,
        log: None,
        back: None,
        since: None,
        evidence: Vec::new(),
        why: String::new(),
        by_absence: false,
    }
}

/// What the lease alone says; `Err` when its holder is dead, with whether that is unverified.
fn by_lease(view: &mut View, pulse: Pulse, alive_at: Option<Timestamp>, now: Now) -> Result<Health, bool> {
    let (judged, recheck) = match pulse {
        Pulse::Beating { seen, until } => (Ok(Health::Alive { seen }), Some(until)),
        Pulse::Undecided(until) => (Ok(Health::Undecided), Some(until)),
        Pulse::Dead { .. } if works_without_lease(alive_at, view.since, now) => {
            (Ok(Health::Alive { seen: false }), still_recent(alive_at, now))
        }
        Pulse::Dead { unverified } => (Err(unverified.is_some()), unverified),
    };
    view.recheck = recheck;
    judged
}

/// Until when one of these pods may still come up, or take over.
fn coming_up(members: &[Member<'_>], takeover: Duration, now: Now) -> Option<Duration> {
    members.iter().filter_map(|member| member.starting_until(takeover, now)).max()
}

/// Events that a dead leader cannot have written: newer than its lease, and recent.
fn works_without_lease(alive_at: Option<Timestamp>, missing_since: Option<Timestamp>, now: Now) -> bool {
    alive_at.is_some_and(|at| words::age(now.wall, at) < RECENT && missing_since.is_none_or(|since| at > since))
}

/// When the newest event stops being a sign of life.
fn still_recent(alive_at: Option<Timestamp>, now: Now) -> Option<Duration> {
    alive_at.map(|at| now.mono + RECENT.saturating_sub(words::age(now.wall, at)))
}

fn holds(key: &Key, pod: &Pod, lease: &Key, holder: &str) -> bool {
    key.namespace == lease.namespace && identity::is_holder(pod, &key.name, holder)
}

/// The lease is dead: who could have taken it?
fn without_leader(
    world: &World,
    driver: &str,
    members: &[Member<'_>],
    long_gone: bool,
    unverified: bool,
    view: &mut View,
) -> Health {
    // Who was Ready when pods could be read last may be gone by now.
    let pods_seen = world.sources.outdated(Source::Pods).is_none();
    let mut ready = members.iter().filter(|member| pods_seen && member.ready());
    if let Some(candidate) = ready.clone().find(|member| !member.leads).or_else(|| ready.next()) {
        view.why = if candidate.leads {
            format!("Pod {} holds the lease and is Ready, but does not renew it", candidate.key)
        } else {
            format!("the leader's lease expired and Pod {}, which is Ready, did not take over", candidate.key)
        };
        return Health::Down { class: Class::StaleLeader, unverified };
    }
    if long_gone && members.is_empty() && !known(world, driver) && world.sources.known(Source::CsiDrivers) {
        "the lease has not been renewed for a day, and neither a CSIDriver nor a pod of it exists"
            .clone_into(&mut view.why);
        return Health::Down { class: Class::DriverUnknown, unverified };
    }
    view.why = if !world.sources.known(Source::Pods) {
        "nobody renews the lease of its csi-snapshotter (pods cannot be read)".to_owned()
    } else if members.is_empty() {
        "nobody renews the lease of its csi-snapshotter and no pod of it exists".to_owned()
    } else {
        "nobody renews the lease of its csi-snapshotter and no pod of it is Ready".to_owned()
    };
    Health::Down { class: Class::DriverGone, unverified }
}

/// There is no lease: a sidecar without leader election, or no sidecar.
fn without_lease(
    world: &World,
    driver: &str,
    members: &[Member<'_>],
    alive_at: Option<Timestamp>,
    now: Now,
    view: &mut View,
) -> Health {
    for source in [Source::Leases, Source::Pods, Source::CsiDrivers] {
        if let Some(doubt) = world.sources.doubt(source) {
            return Health::Unknown(doubt);
        }
    }
    if let Some(until) = coming_up(members, STARTING, now) {
        view.recheck = Some(until);
        return Health::Undecided;
    }
    if members.iter().any(|member| member.ready() && !Timing::from_args(&member.container.args).elects) {
        return Health::Alive { seen: true };
    }
    if let Some(member) = members.iter().find(|member| member.ready()) {
        return Health::Unknown(format!("Pod {} elects a leader, but there is no lease", member.key));
    }
    if works_without_lease(alive_at, None, now) {
        view.recheck = still_recent(alive_at, now);
        return Health::Alive { seen: false };
    }
    // Without the Events nobody knows that it writes none.
    if let Some(doubt) = world.sources.doubt(Source::ContentEvents) {
        return Health::Unknown(doubt);
    }
    let lease = identity::snapshotter_lease(driver);
    view.evidence.push(Evidence::Words(format!("no Lease named {lease} in any namespace")));
    let exists = known(world, driver);
    view.evidence.push(Evidence::Words(if world.drivers.get(&Key::cluster(driver)).is_some() {
        format!("CSIDriver {driver} exists")
    } else {
        format!("no CSIDriver named {driver}")
    }));
    if exists || !members.is_empty() {
        view.why = if members.is_empty() {
            "the driver is installed, but no csi-snapshotter runs for it".to_owned()
        } else {
            "no csi-snapshotter of it is Ready".to_owned()
        };
        return Health::Down { class: Class::DriverGone, unverified: false };
    }
    "neither a CSIDriver nor a pod nor a lease of it exists".clone_into(&mut view.why);
    Health::Down { class: Class::DriverUnknown, unverified: false }
}

/// Something of the driver is installed: a CSIDriver, or a pod that serves it.
fn known(world: &World, driver: &str) -> bool {
    world.drivers.get(&Key::cluster(driver)).is_some()
        || world.pods.iter().any(|(_, pod)| pod.containers.iter().any(|c| identity::serves_driver(c, driver)))
}

fn snapshotters<'a>(world: &'a World, driver: &str, holder: Option<(&Key, &str)>) -> Vec<Member<'a>> {
    let operator = world.drivers.get(&Key::cluster(driver)).and_then(|record| record.owner.as_ref());
    let mut found = Vec::new();
    for (key, pod) in world.pods.iter() {
        let Some(container) = pod.containers.iter().find(|c| identity::is_snapshotter(c)) else { continue };
        let serves = pod.containers.iter().any(|c| identity::serves_driver(c, driver));
        let others = pod.containers.iter().any(|c| {
            ["drivername", "driver-name"].into_iter().any(|flag| super::timing::argument(&c.args, flag).is_some())
        });
        let leads = holder.is_some_and(|(lease, holder)| holds(key, pod, lease, holder));
        let owned = operator.is_some_and(|owner| {
            key.namespace == owner.namespace
                && deployment(world, key, pod).is_some_and(|name| *name == *format!("{}-ctrlplugin", owner.name))
        });
        // A container that names a driver outweighs leases and owners.
        if serves || (!others && (leads || owned)) {
            found.push(Member { key, pod, container, leads });
        }
    }
    found
}

/// The Deployment above a pod, by its ReplicaSet's own word.
fn deployment(world: &World, key: &Key, pod: &Pod) -> Option<Arc<str>> {
    let owner = pod.owner.as_ref().filter(|owner| &*owner.kind == "ReplicaSet")?;
    let set = world.replica_sets.get(&Key::namespaced(Arc::clone(&key.namespace), &*owner.name))?;
    set.owner.as_ref().filter(|owner| &*owner.kind == "Deployment").map(|owner| Arc::clone(&owner.name))
}

/// Controller Deployments that serve the driver and hold no csi-snapshotter: Rook's `snapshotPolicy: none`.
fn deployments_without_sidecar(world: &World, driver: &str) -> Vec<String> {
    world
        .deployments
        .iter()
        .filter(|(_, workload)| {
            workload.containers.iter().any(|c| identity::serves_driver(c, driver))
                && !workload.containers.iter().any(identity::is_snapshotter)
        })
        .map(|(key, _)| format!("Deployment {key} serves {driver} and has no csi-snapshotter container"))
        .collect()
}

/// What is known of snapshot-controller. `waiting` is an object that only it can move, with the time since.
#[must_use]
pub fn controller(world: &World, waiting: Option<(&Key, Timestamp)>, settings: &Settings, now: Now) -> View {
    let members: Vec<Member<'_>> = world
        .pods
        .iter()
        .filter_map(|(key, pod)| {
            let container = pod.containers.iter().find(|c| identity::is_controller(c))?;
            Some(Member { key, pod, container, leads: false })
        })
        .collect();
    let mut view = blank(members.iter().find(|member| member.ready()).or_else(|| members.first()), settings);
    view.evidence.extend(members.iter().map(Member::sight));
    let alive_at = world.sign_of_life(CONTROLLER_COMPONENT);
    if let Some((key, watched)) = world.lease(CONTROLLER_LEASE) {
        view.lease = Some(key.clone());
        view.evidence.insert(0, Evidence::Lease(key.clone(), watched.clone(), now));
        view.since = lease::missing_since(watched);
        let takeover = view.timing.takeover(lease::duration(watched)).max(settings.min_floor);
        let told = world.sources.told_up_to(Source::Leases, now);
        let pulse = lease::pulse(watched, takeover, told, settings.eager, now);
        view.health = match by_lease(&mut view, pulse, alive_at, now) {
            Ok(health) => health,
            Err(unverified) => match coming_up(&members, takeover, now) {
                Some(until) => {
                    view.recheck = Some(until);
                    Health::Undecided
                }
                None => Health::Down { class: Class::ControllerDown, unverified },
            },
        };
        "nobody renews the lease of snapshot-controller".clone_into(&mut view.why);
        return view;
    }
    view.by_absence = true;
    view.health = controller_without_lease(world, &members, alive_at, waiting, now, &mut view);
    view
}

fn controller_without_lease(
    world: &World,
    members: &[Member<'_>],
    alive_at: Option<Timestamp>,
    waiting: Option<(&Key, Timestamp)>,
    now: Now,
    view: &mut View,
) -> Health {
    for source in [Source::Leases, Source::Pods] {
        if let Some(doubt) = world.sources.doubt(source) {
            return Health::Unknown(doubt);
        }
    }
    if members.iter().any(Member::ready) {
        return Health::Alive { seen: true };
    }
    if works_without_lease(alive_at, None, now) {
        view.recheck = still_recent(alive_at, now);
        return Health::Alive { seen: false };
    }
    // Without the Events nobody knows that it writes none; without contents and claims, that it is its turn.
    for source in [Source::SnapshotEvents, Source::Contents, Source::Claims] {
        if let Some(doubt) = world.sources.doubt(source) {
            return Health::Unknown(doubt);
        }
    }
    let Some((key, since)) = waiting else {
        return Health::Unknown(format!("no lease named {CONTROLLER_LEASE}, and nothing that waits for it"));
    };
    view.evidence.push(Evidence::Words(format!("no Lease named {CONTROLLER_LEASE} in any namespace")));
    let waits = format!("VolumeSnapshot {key} has waited for it since {since}, untouched");
    view.evidence.push(Evidence::Words(waits));
    view.since = Some(since);
    "no snapshot-controller was found, and VolumeSnapshots wait for it".clone_into(&mut view.why);
    Health::Down { class: Class::ControllerDown, unverified: false }
}

#[cfg(test)]
mod tests;
