//! What the engine knows of the components: each driver's csi-snapshotter, and snapshot-controller.
//!
//! Refreshed when a lease, a pod or a class moves, or when their own timers fire; the objects that hang on a
//! component are looked at again only if the judgement turned, not on every renewal of a lease.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Effect, Engine, SECOND_LOOK, Work};
use crate::domain::components::{self, Health, View};
use crate::domain::diagnose::{driver as driver_rules, snapshot as snapshot_rules};
use crate::domain::fact::Now;
use crate::domain::finding::{Class, Subject};
use crate::domain::identity;
use crate::domain::name::{Key, Stamp};
use crate::domain::record::Kind;
use crate::domain::timing::{SHORT, Timing};
use crate::domain::words;
use crate::domain::world::content_key;

impl Engine {
    /// Brings what is known of the touched components up to date; what hangs on a changed one is queued.
    pub(super) fn refresh_components(&mut self, work: &mut Work, now: Now, effects: &mut Vec<Effect>) {
        if work.components {
            work.controller = true;
            let drivers = self.concerned_drivers();
            self.leases.clear();
            for driver in &drivers {
                self.leases.entry(identity::snapshotter_lease(driver)).or_default().insert(Arc::clone(driver));
            }
            work.drivers.extend(drivers);
            let known: Vec<Arc<str>> = self.components.drivers.keys().cloned().collect();
            work.drivers.extend(known);
            work.components = false;
        }
        for name in std::mem::take(&mut work.leases) {
            if &*name == identity::CONTROLLER_LEASE {
                work.controller = work.controller || !self.beats(None, &name, now, effects);
            }
            let drivers: Vec<Arc<str>> = self.leases.get(&*name).into_iter().flatten().cloned().collect();
            for driver in drivers {
                if !work.drivers.contains(&driver) && !self.beats(Some(&driver), &name, now, effects) {
                    work.drivers.insert(driver);
                }
            }
        }
        if std::mem::take(&mut work.controller) {
            self.refresh_controller(work, now, effects);
        }
        for driver in std::mem::take(&mut work.drivers) {
            self.refresh_driver(&driver, work, now, effects);
        }
    }

    /// A lease was told of, the controller's or this driver's; whether that is all there is to know of the component.
    fn beats(&mut self, driver: Option<&Arc<str>>, lease: &str, now: Now, effects: &mut Vec<Effect>) -> bool {
        let view = match driver {
            Some(driver) => self.components.drivers.get_mut(driver),
            None => self.components.controller.as_mut(),
        };
        let Some(view) = view else { return false };
        if !components::renewed(view, &self.world, lease, &self.settings, now) {
            return false;
        }
        let subject = driver.map_or_else(|| driver_rules::controller_subject(view), |driver| Subject::driver(driver));
        // One that works lets nothing hang on it: whether something is found of the driver itself may still change.
        let changed = self.rediagnose_component(&subject, now, effects);
        !changed
    }

    /// Drivers that a content names, or the class of a snapshot that is not ready.
    pub(super) fn concerned_drivers(&self) -> BTreeSet<Arc<str>> {
        let mut drivers: BTreeSet<Arc<str>> = self.world.content_drivers().cloned().collect();
        if self.world.unready_snapshots().next().is_some() {
            drivers.extend(
                self.world
                    .classes
                    .iter()
                    .map(|(_, class)| Arc::clone(&class.driver))
                    .filter(|driver| self.world.unready_snapshots().any(|key| self.class_names(key, driver))),
            );
        }
        drivers
    }

    /// A snapshot that waits for a driver nobody asked about so far.
    pub(super) fn meet_driver(&mut self, subject: &Subject, now: Now, effects: &mut Vec<Effect>) {
        if subject.kind != Kind::VolumeSnapshot {
            return;
        }
        let Some(snapshot) = self.world.snapshots.get(&subject.key).filter(|snapshot| snapshot.ready != Some(true))
        else {
            return;
        };
        let classes = self.world.classes.iter().filter(|(key, class)| match &snapshot.class {
            Some(name) => *key.name == **name,
            None => class.default,
        });
        let unmet = |driver: &Arc<str>| !self.components.drivers.contains_key(driver);
        let drivers: BTreeSet<Arc<str>> = classes.map(|(_, class)| Arc::clone(&class.driver)).filter(unmet).collect();
        for driver in drivers {
            self.refresh_driver(&driver, &mut Work::default(), now, effects);
        }
    }

    fn class_names(&self, snapshot: &Key, driver: &Arc<str>) -> bool {
        let Some(snapshot) = self.world.snapshots.get(snapshot) else { return false };
        match &snapshot.class {
            Some(name) => self.world.classes.get(&Key::cluster(&**name)).is_some_and(|class| class.driver == *driver),
            None => self.world.classes.iter().any(|(_, class)| class.default && class.driver == *driver),
        }
    }

    fn refresh_driver(&mut self, driver: &Arc<str>, work: &mut Work, now: Now, effects: &mut Vec<Effect>) {
        let subject = Subject::driver(driver);
        let concerned = self.world.content_count(driver) > 0
            || self.world.unready_snapshots().any(|key| self.class_names(key, driver));
        if !concerned {
            self.components.drivers.remove(driver);
            self.components.failing.remove(driver);
            self.memory.note_shape(&subject, None, now);
            self.leases.retain(|_, drivers| {
                drivers.remove(driver);
                !drivers.is_empty()
            });
            self.rediagnose_component(&subject, now, effects);
            return;
        }
        self.leases.entry(identity::snapshotter_lease(driver)).or_default().insert(Arc::clone(driver));
        let mut view = components::driver(&self.world, driver, &self.settings, now);
        self.hold(&subject, &mut view, now);
        view.follow(self.components.drivers.get(driver), now);
        let before = self.components.drivers.insert(Arc::clone(driver), view);
        let changed = self.rediagnose_component(&subject, now, effects);
        let after = self.components.drivers.get(driver);
        let turned = before.as_ref().map(judgement) != after.map(judgement);
        if changed || turned {
            self.queue_objects_of(driver, work);
        }
    }

    fn refresh_controller(&mut self, work: &mut Work, now: Now, effects: &mut Vec<Effect>) {
        let waiting = if self.world.lease(identity::CONTROLLER_LEASE).is_none() {
            self.waiting_for_controller(now)
        } else {
            None
        };
        let waiting = waiting.as_ref().map(|(key, since)| (key, *since));
        let mut view = components::controller(&self.world, waiting, &self.settings, now);
        let subject = driver_rules::controller_subject(&view);
        self.hold(&subject, &mut view, now);
        view.follow(self.components.controller.as_ref(), now);
        let before = self.components.controller.replace(view);
        let old = before.as_ref().map(driver_rules::controller_subject).filter(|old| *old != subject);
        if let Some(old) = old {
            self.rediagnose_component(&old, now, effects);
        }
        let changed = self.rediagnose_component(&subject, now, effects);
        let turned = before.as_ref().map(judgement) != self.components.controller.as_ref().map(judgement);
        if changed || turned {
            let keys: Vec<Key> =
                self.world.deleting_snapshots().chain(self.world.unready_snapshots()).cloned().collect();
            for key in keys {
                work.subject(Subject::new(Kind::VolumeSnapshot, key));
            }
        }
        if self.world.lease(identity::CONTROLLER_LEASE).is_none() {
            self.wake_no_later(&subject, now.mono + SHORT);
        }
    }

    /// What is said to be down because nothing of it is there has to stay away for a while: a pod that is being
    /// replaced leaves the same gap.
    fn hold(&mut self, subject: &Subject, view: &mut View, now: Now) {
        let down = if view.by_absence { view.down() } else { None };
        self.memory.note_shape(subject, down.map(|(class, _)| class), now);
        let Some((class, _)) = down else { return };
        let held = self.memory.held(subject, class, now);
        let floor = if self.settings.eager { SECOND_LOOK } else { view.timing.short_floor() };
        if held >= floor {
            return;
        }
        view.recheck = Some(now.mono + floor.saturating_sub(held));
        view.health = if self.settings.eager { Health::Down { class, unverified: true } } else { Health::Undecided };
    }

    /// A snapshot that only snapshot-controller can move and that nobody has touched for a minute.
    fn waiting_for_controller(&self, now: Now) -> Option<(Key, Timestamp)> {
        let untouched = |key: &&Key| {
            let snapshot = self.world.snapshots.get(key)?;
            let since = match snapshot.meta.deleted {
                Some(deleted) => {
                    let content = self.world.contents.get(&content_key(snapshot));
                    let marked = content.is_some_and(|content| content.being_deleted);
                    let held = snapshot.meta.has_finalizer(snapshot_rules::AS_SOURCE)
                        || snapshot.meta.has_finalizer(snapshot_rules::BOUND);
                    (!marked && held && self.world.restores(key).next().is_none()).then_some(deleted)?
                }
                None if snapshot.content.is_none() && snapshot.meta.finalizers.is_empty() => snapshot.meta.created?,
                None => return None,
            };
            (words::stamp_age(now.wall, Some(since)) >= SHORT).then_some(since)
        };
        self.world
            .deleting_snapshots()
            .chain(self.world.unready_snapshots())
            .filter_map(|key| untouched(&key).map(|since: Stamp| (key.clone(), since.timestamp())))
            .min_by_key(|(_, since)| *since)
    }

    pub(super) fn rediagnose_component(&mut self, subject: &Subject, now: Now, effects: &mut Vec<Effect>) -> bool {
        let diagnosis = self.context(now).diagnose(subject);
        self.wake(subject, diagnosis.recheck);
        self.publish(subject, diagnosis, effects)
    }

    /// Objects of a driver that are not simply healthy: only those can hang on it.
    fn queue_objects_of(&self, driver: &Arc<str>, work: &mut Work) {
        for (key, content) in self.world.contents.iter() {
            let concerned = content.meta.deleted.is_some() || content.status.as_ref().is_none_or(|s| s.error.is_some());
            if content.driver == *driver && concerned {
                work.subject(Subject::new(Kind::VolumeSnapshotContent, key.clone()));
                work.subject(Subject::new(Kind::VolumeSnapshot, content.snapshot.key.clone()));
            }
        }
        let keys: Vec<Key> = self.world.unready_snapshots().cloned().collect();
        for key in keys {
            work.subject(Subject::new(Kind::VolumeSnapshot, key));
        }
    }
}

/// What objects rest on: not the evidence's ever-changing seconds.
fn judgement(view: &View) -> (std::mem::Discriminant<Health>, Option<(Class, bool)>, &Timing, bool) {
    let seen = matches!(view.health, Health::Alive { seen: true });
    (std::mem::discriminant(&view.health), view.down(), &view.timing, seen)
}
