//! From a rung to an action: what each step asks for first, and what exactly it would write.
//!
//! These are the rules R0 to R8 as code. Each rule looks at the world, at a fresh read of the subject, and at the
//! orphan ledger; it answers with the action, with the read it is missing, with the time it has to wait for, or
//! with why the step does not apply. Nothing here permits anything: what is prepared still has to pass every guard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, BEING_DELETED, Expect, LEAVE_BEHIND, NUDGE, Orphan, Target, TargetKind};
use super::fresh::{Look, Looked};
use super::{LEFTOVERS_EVERY, On, Rung, Step};
use crate::domain::ceph::Location;
use crate::domain::components::{self, Sidecar};
use crate::domain::diagnose::Context;
use crate::domain::diagnose::content::OWN_FINALIZER;
use crate::domain::diagnose::snapshot::PROVISIONER;
use crate::domain::finding::{Class, Finding, Subject};
use crate::domain::identity;
use crate::domain::lease;
use crate::domain::memory::Log;
use crate::domain::name::{Key, Uid, fingerprint};
use crate::domain::record::{Content, ContentStatus, DeletionPolicy, Kind};
use crate::domain::words;

/// A lock is called one after so many refusals in a row (the restart gate).
const REFUSALS: u32 = 3;
/// And after this, on top of two calls.
const LOCKED_FOR: Duration = Duration::from_secs(300);
/// An abandoned content is this old before anybody may delete it.
const ABANDONED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Everything a rule may look at.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// World, components, findings, the present.
    pub ctx: &'a Context<'a>,
    /// What fresh reads showed.
    pub looks: &'a dyn Fn(TargetKind, &Key) -> Option<&'a Looked>,
    /// [`fingerprint`]s of the handles in the orphan ledger.
    pub orphans: &'a BTreeSet<u64>,
    /// What was nudged in this episode, and when last (monotonic).
    pub nudged: (&'a BTreeSet<Key>, Option<Duration>),
}

/// Why there is no action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A fresh read of this is missing.
    Look(TargetKind, Key),
    /// Not before this monotonic time.
    NotBefore(Duration, String),
    /// It may come to apply: until then the ladder stands here.
    Hold(String),
    /// The step does not apply to this object: the ladder goes on as if it had failed.
    Skip(String),
}

type Prepared = Result<Action, Unfit>;

/// The action that a rung comes to for a finding.
///
/// # Errors
/// Why there is none.
pub fn prepare(bench: &Bench<'_>, finding: &Finding, rung: &Rung) -> Prepared {
    let Some(driver) = finding.driver.as_ref().or_else(|| snapshot_driver(bench, finding)) else {
        return Err(Unfit::Hold("no driver is known for it: no policy can cover it".to_owned()));
    };
    let case = Case { bench, finding, driver };
    match (rung.step, rung.on) {
        (Step::Nudge, On::Canary) => case.canary(),
        (Step::Nudge, On::Leftovers) => case.leftovers(),
        (Step::Nudge, _) if finding.class == Class::StillCreating => case.nudge_untried(),
        (Step::Nudge, _) => case.nudge(&finding.subject),
        (Step::MarkBeingDeleted, _) => case.mark(),
        (Step::RestartLeader, _) => case.restart_leader(),
        (Step::RestartCandidate, _) => case.restart_candidate(),
        (Step::ReleaseLease, _) => case.release_lease(),
        (Step::RemoveContentFinalizer, _) => case.remove_confirmed(),
        (Step::RemoveRetainedFinalizer, _) => case.remove_retained(),
        (Step::RemoveProvisionerFinalizer, _) => case.remove_provisioners(),
        (Step::RemoveIntoOrphanLedger, _) => case.remove_into_ledger(),
        (Step::DeleteAbandoned, _) => case.delete_abandoned(),
    }
}

/// The driver of a VolumeSnapshot whose content is gone: by its class.
fn snapshot_driver<'a>(bench: &Bench<'a>, finding: &Finding) -> Option<&'a Arc<str>> {
    let world = bench.ctx.world;
    let snapshot =
        world.snapshots.get(&finding.subject.key).filter(|_| finding.subject.kind == Kind::VolumeSnapshot)?;
    world.drivers_of(snapshot.class.as_ref()).into_iter().next()
}

/// One finding on the bench.
struct Case<'a, 'b> {
    bench: &'b Bench<'a>,
    finding: &'b Finding,
    driver: &'b Arc<str>,
}

impl Case<'_, '_> {
    fn look(&self, kind: TargetKind, key: &Key) -> Result<&Look, Unfit> {
        match (self.bench.looks)(kind, key) {
            None => Err(Unfit::Look(kind, key.clone())),
            Some(Looked::There(look)) => Ok(look),
            Some(Looked::Absent) => Err(Unfit::Hold(format!("{} {key} is gone by a fresh read", kind.as_str()))),
            Some(Looked::Unknown(words)) => {
                Err(Unfit::Hold(format!("{} {key} cannot be read afresh: {words}", kind.as_str())))
            }
        }
    }

    fn content(&self, key: &Key) -> Result<&Content, Unfit> {
        let found = self.bench.ctx.world.contents.get(key);
        found.ok_or_else(|| Unfit::Hold(format!("VolumeSnapshotContent {key} is gone")))
    }

    /// The subject, which has to be a content; with a fresh read of it under the uid of the finding.
    fn own_content(&self) -> Result<(&Content, &Look), Unfit> {
        let subject = &self.finding.subject;
        if subject.kind != Kind::VolumeSnapshotContent {
            return Err(Unfit::Skip("it is no VolumeSnapshotContent".to_owned()));
        }
        let content = self.content(&subject.key)?;
        let look = self.look(TargetKind::Content, &subject.key)?;
        if look.uid != content.meta.uid {
            return Err(Unfit::Hold(format!("{subject} is another object by a fresh read")));
        }
        Ok((content, look))
    }

    fn action(&self, step: Step, target: (TargetKind, &Key, &Look), summary: String) -> Action {
        let (kind, key, look) = target;
        Action {
            step,
            class: self.finding.class,
            subject: self.finding.subject.clone(),
            subject_uid: self.finding.uid.clone(),
            driver: Arc::clone(self.driver),
            target: Target { kind, key: key.clone(), uid: look.uid.clone(), version: look.version.clone() },
            write: step.write(),
            expect: Expect { deleting: look.deleting, ..Expect::default() },
            handle: look.handle.clone(),
            leaks: false,
            destroys: false,
            doubts: Vec::new(),
            orphan: None,
            summary,
        }
    }

    // === Nudges ===

    fn nudge(&self, subject: &Subject) -> Prepared {
        let Some(kind) = TargetKind::of(subject.kind) else {
            return Err(Unfit::Skip(format!("{subject} cannot be nudged")));
        };
        let look = self.look(kind, &subject.key)?;
        let summary = format!("set the annotation {NUDGE} of {subject}, so that its controller looks at it again");
        Ok(self.action(Step::Nudge, (kind, &subject.key, look), summary))
    }

    /// A creation is nudged when nobody tries it any more: as long as csi-snapshotter does, only its driver can help.
    fn nudge_untried(&self) -> Prepared {
        let ctx = self.bench.ctx;
        let name = &self.finding.subject.key.name;
        let view = ctx.driver(self.driver);
        let log = view.and_then(|view| view.log.as_ref()).and_then(|log| ctx.memory.log(&log.pod, &log.uid));
        let Some(Log::Read { creations, since, read, .. }) = log else {
            let words = "csi-snapshotter's log cannot be read, so nobody can tell whether it still tries".to_owned();
            return Err(Unfit::Hold(words));
        };
        let window = ctx.timing(view).retry_window(1);
        if creations.get(name).is_some_and(|last| words::age(ctx.now.wall, *last) <= window) {
            // Without the time: words that change by themselves would be written anew each second.
            return Err(Unfit::Hold("csi-snapshotter still tries: its driver has to answer".to_owned()));
        }
        // Silence counts for as long as the log was listened to, and a call may hang that long before it is told of.
        let heard = since.map_or(Duration::ZERO, |since| words::age(*read, since));
        if heard <= window {
            let window = words::short(window);
            return Err(Unfit::Hold(format!("csi-snapshotter's log does not yet speak for {window}")));
        }
        self.nudge(&self.finding.subject)
    }

    /// Contents of the driver that fail, oldest first.
    fn failing(&self) -> Vec<&Subject> {
        let ctx = self.bench.ctx;
        let failing = ctx.components.failing.get(self.driver).into_iter().flatten();
        let mut contents: Vec<(jiff::Timestamp, &Subject)> = failing
            .filter(|subject| subject.kind == Kind::VolumeSnapshotContent)
            .filter_map(|subject| {
                let content = ctx.world.contents.get(&subject.key)?;
                Some((content.meta.deleted?.timestamp(), subject))
            })
            .collect();
        contents.sort();
        contents.into_iter().map(|(_, subject)| subject).collect()
    }

    fn canary(&self) -> Prepared {
        match self.failing().first() {
            Some(oldest) => self.nudge(oldest),
            None => Err(Unfit::Hold("no content of it that is being deleted fails".to_owned())),
        }
    }

    fn leftovers(&self) -> Prepared {
        let (nudged, last) = self.bench.nudged;
        if let Some(at) = last.map(|at| at + LEFTOVERS_EVERY).filter(|at| *at > self.bench.ctx.now.mono) {
            let pace = words::short(LEFTOVERS_EVERY);
            return Err(Unfit::NotBefore(at, format!("what the storm left over is nudged one by one, {pace} apart")));
        }
        match self.failing().into_iter().find(|subject| !nudged.contains(&subject.key)) {
            Some(next) => self.nudge(next),
            None => Err(Unfit::Hold("each content that fails has been nudged once".to_owned())),
        }
    }

    // === R3 ===

    fn mark(&self) -> Prepared {
        let (content, look) = self.own_content()?;
        if content.meta.deleted.is_none() || !look.deleting {
            return Err(Unfit::Hold("it is not being deleted".to_owned()));
        }
        if content.being_deleted || look.marked {
            return Err(Unfit::Hold("it carries the annotation already".to_owned()));
        }
        let kept = content.policy == DeletionPolicy::Retain;
        knows_handle(look)?;
        let mut doubts = Vec::new();
        if self.finding.destroys {
            let told = self.finding.evidence.iter().filter(|line| line.starts_with("doubtful: "));
            doubts.extend(told.cloned());
        }
        if !kept && !look.made_by_controller {
            doubts.push(
                "doubtful: its managedFields do not show snapshot-controller as the maker of its spec".to_owned(),
            );
        }
        if !kept && look.handle.as_ref().is_some_and(|handle| self.bench.orphans.contains(&fingerprint(handle))) {
            doubts.push("doubtful: an OrphanedSnapshot carries the same snapshotHandle".to_owned());
        }
        let summary = format!(
            "set the annotation {BEING_DELETED} of {}, so that csi-snapshotter {}",
            self.finding.subject,
            if kept { "lets go of it; the backend snapshot is kept (Retain)" } else { "really deletes it" }
        );
        let target = (TargetKind::Content, &self.finding.subject.key, look);
        let mut action = self.action(Step::MarkBeingDeleted, target, summary);
        action.expect = Expect {
            deleting: true,
            marked: Some(false),
            not_creating: true,
            handle: look.handle.clone(),
            made_by_controller: !kept && look.made_by_controller,
            ..Expect::default()
        };
        action.destroys = !doubts.is_empty();
        action.doubts = doubts;
        if kept {
            action.orphan = self.orphan(content, look, "deletionPolicy Retain: its content was deleted and let go");
        }
        Ok(action)
    }

    fn orphan(&self, content: &Content, look: &Look, reason: &str) -> Option<Orphan> {
        let handle = look.handle.clone()?;
        Some(Orphan {
            driver: Arc::clone(&content.driver),
            ceph: Location::of(&handle),
            handle,
            class: content.class.clone(),
            policy: content.policy,
            secret: content.secret.clone(),
            volume_handle: look.volume_handle.clone(),
            content: (self.finding.subject.key.clone(), content.meta.uid.clone()),
            snapshot: (content.snapshot.key.clone(), content.snapshot.uid.clone()),
            reason: reason.to_owned(),
        })
    }

    // === Restarts, and the lease ===

    fn restart(&self, step: Step, sidecar: &Sidecar<'_>, summary: String) -> Prepared {
        let owner = sidecar.pod.owner.as_ref().map(|owner| &*owner.kind);
        if !matches!(owner, Some("ReplicaSet" | "StatefulSet")) {
            let owner = owner.unwrap_or("nobody");
            return Err(Unfit::Skip(format!(
                "Pod {} belongs to {owner}: only pods of a Deployment or a StatefulSet are restarted",
                sidecar.key
            )));
        }
        let look = self.look(TargetKind::Pod, sidecar.key)?;
        if look.uid != sidecar.pod.meta.uid {
            return Err(Unfit::Hold(format!("Pod {} is another one by a fresh read", sidecar.key)));
        }
        let mut action = self.action(step, (TargetKind::Pod, sidecar.key, look), summary);
        action.expect = Expect::default();
        Ok(action)
    }

    fn restart_leader(&self) -> Prepared {
        if self.finding.class == Class::OperationLocked {
            self.locked_long_enough()?;
        }
        let sidecars = components::sidecars(self.bench.ctx.world, self.driver);
        let mut leaders = sidecars.iter().filter(|sidecar| sidecar.leads && sidecar.pod.meta.deleted.is_none());
        let Some(leader) = leaders.next() else {
            return Err(Unfit::Hold(format!(
                "no pod of {} holds its lease: which one leads is not known",
                self.driver
            )));
        };
        if leaders.next().is_some() {
            return Err(Unfit::Hold(format!("more than one pod could be the leader of {}", self.driver)));
        }
        let summary = format!("delete Pod {}: it leads for {} and its driver holds the lock", leader.key, self.driver);
        self.restart(Step::RestartLeader, leader, summary)
    }

    /// The restart gate's first condition: the same refusal, several times, for longer than any rightful holder.
    fn locked_long_enough(&self) -> Result<(), Unfit> {
        let ctx = self.bench.ctx;
        let view = ctx.driver(self.driver);
        let least = ctx.timing(view).timeout.saturating_mul(2) + LOCKED_FOR;
        let since = words::age(ctx.now.wall, self.finding.since);
        if since < least {
            return Err(Unfit::NotBefore(
                ctx.now.mono + least.saturating_sub(since),
                format!("a lock is broken only after {}; a restore may hold it by right", words::short(least)),
            ));
        }
        // A creation's lock stands in the content's status, and no log counts it.
        let content = self.content(&self.finding.subject.key)?;
        if content.meta.deleted.is_none() {
            return Ok(());
        }
        let log = view.and_then(|view| view.log.as_ref()).and_then(|log| ctx.memory.log(&log.pod, &log.uid));
        let row = match log {
            Some(Log::Read { attempts, .. }) => {
                attempts.get(&self.finding.subject.key.name).map_or(0, |one| one.in_a_row)
            }
            Some(Log::Forbidden | Log::Failed(_)) | None => 0,
        };
        if row < REFUSALS {
            return Err(Unfit::Hold(format!(
                "the driver has refused {row} times in a row by csi-snapshotter's log, and a restart needs {REFUSALS}"
            )));
        }
        Ok(())
    }

    fn restart_candidate(&self) -> Prepared {
        let sidecars = components::sidecars(self.bench.ctx.world, self.driver);
        let mut ready: Vec<&Sidecar<'_>> = sidecars.iter().filter(|sidecar| sidecar.ready).collect();
        ready.sort_by_key(|sidecar| (sidecar.leads, sidecar.key));
        let Some(candidate) = ready.first() else {
            return Err(Unfit::Hold(format!("no pod of {} is Ready", self.driver)));
        };
        let summary = format!("delete Pod {}: it is Ready and does not take over the lease", candidate.key);
        self.restart(Step::RestartCandidate, candidate, summary)
    }

    fn release_lease(&self) -> Prepared {
        let ctx = self.bench.ctx;
        let name = identity::snapshotter_lease(self.driver);
        let Some((key, watched)) = ctx.world.lease(&name) else {
            return Err(Unfit::Hold(format!("there is no Lease {name}")));
        };
        let still = ctx.now.mono.saturating_sub(watched.changed);
        let timing = ctx.timing(ctx.driver(self.driver));
        let least = lease::duration(watched).saturating_mul(2).max(timing.takeover(lease::duration(watched)));
        if still <= least {
            return Err(Unfit::NotBefore(
                watched.changed + least + Duration::from_secs(1),
                format!("the lease has to stand still for {} while we watch", words::short(least)),
            ));
        }
        let holder = &*watched.lease.holder;
        let pods = ctx.world.pods.iter().filter(|(pod, _)| pod.namespace == key.namespace);
        if let Some((pod, _)) = pods.into_iter().find(|(pod, record)| identity::is_holder(record, &pod.name, holder)) {
            return Err(Unfit::Skip(format!("its holder {holder} is Pod {pod}, which exists: two could lead at once")));
        }
        let sidecars = components::sidecars(ctx.world, self.driver);
        if !sidecars.iter().any(|sidecar| sidecar.ready && !sidecar.leads) {
            return Err(Unfit::Hold(format!("no Ready pod of {} could take the lease over", self.driver)));
        }
        let look = self.look(TargetKind::Lease, key)?;
        let summary = format!("delete Lease {key}: its holder {holder} is gone, and nobody takes over");
        let mut action = self.action(Step::ReleaseLease, (TargetKind::Lease, key, look), summary);
        action.expect = Expect { unchanged: true, ..Expect::default() };
        Ok(action)
    }

    // === Finalizers ===

    fn removal(&self, step: Step, kind: TargetKind, look: &Look, name: &'static str, why: &str) -> Prepared {
        if !look.deleting {
            return Err(Unfit::Hold("it is not being deleted by a fresh read".to_owned()));
        }
        if !look.finalizers.iter().any(|finalizer| &**finalizer == name) {
            return Err(Unfit::Hold(format!("{name} is gone by a fresh read")));
        }
        let summary = format!("remove the finalizer {name} of {}: {why}", self.finding.subject);
        let target = (kind, &self.finding.subject.key, look);
        let mut action = self.action(step, target, summary);
        action.expect.finalizers = Some(Arc::clone(&look.finalizers));
        Ok(action)
    }

    fn remove_confirmed(&self) -> Prepared {
        let (content, look) = self.own_content()?;
        let confirmed = content.status.as_ref().is_some_and(ContentStatus::emptied) && look.emptied;
        if !confirmed || !content.being_deleted || !look.marked || content.being_created || look.creating {
            return Err(Unfit::Hold("the driver has not confirmed the deletion".to_owned()));
        }
        if look.volume_handle.is_none() || content.in_group || content.policy != DeletionPolicy::Delete {
            return Err(Unfit::Skip("it is not a dynamic content with policy Delete outside of groups".to_owned()));
        }
        // It has to look so for as long as a leader that is merely slow could need.
        let ctx = self.bench.ctx;
        let held = ctx.memory.held(&self.finding.subject, self.finding.class, ctx.now);
        let found = ctx.world.lease(&identity::snapshotter_lease(self.driver));
        let least = found.map_or(Duration::ZERO, |(_, watched)| lease::duration(watched));
        if held < least {
            return Err(Unfit::NotBefore(
                ctx.now.mono + least.saturating_sub(held),
                format!("it has to stay like this for a lease's length, {}", words::short(least)),
            ));
        }
        let why = "the driver has confirmed the deletion, nothing is lost";
        let mut action = self.removal(Step::RemoveContentFinalizer, TargetKind::Content, look, OWN_FINALIZER, why)?;
        action.expect.emptied = true;
        action.expect.marked = Some(true);
        action.expect.not_creating = true;
        Ok(action)
    }

    fn remove_retained(&self) -> Prepared {
        let (content, look) = self.own_content()?;
        if content.policy != DeletionPolicy::Retain || content.in_group {
            return Err(Unfit::Skip("its deletionPolicy is not Retain".to_owned()));
        }
        knows_handle(look)?;
        let why = "deletionPolicy Retain, the backend snapshot is kept";
        let mut action = self.removal(Step::RemoveRetainedFinalizer, TargetKind::Content, look, OWN_FINALIZER, why)?;
        action.expect.not_creating = true;
        action.expect.handle.clone_from(&look.handle);
        action.orphan = self.orphan(content, look, "deletionPolicy Retain: its content's finalizer was removed");
        Ok(action)
    }

    fn remove_provisioners(&self) -> Prepared {
        let key = &self.finding.subject.key;
        let look = self.look(TargetKind::Snapshot, key)?;
        if Some(&look.uid) != self.finding.uid.as_ref() {
            return Err(Unfit::Hold(format!("{} is another object by a fresh read", self.finding.subject)));
        }
        if look.finalizers.len() != 1 {
            return Err(Unfit::Hold("csi-provisioner's is not the only finalizer that is left".to_owned()));
        }
        let why = "no claim is being restored from it, and csi-provisioner's own sweeps left it";
        self.removal(Step::RemoveProvisionerFinalizer, TargetKind::Snapshot, look, PROVISIONER, why)
    }

    fn remove_into_ledger(&self) -> Prepared {
        let (content, look) = self.own_content()?;
        if content.in_group {
            return Err(Unfit::Skip("it is a member of a group".to_owned()));
        }
        if !consents(look, &content.meta.uid) {
            return Err(Unfit::Hold(format!(
                "removing its finalizer leaves the backend snapshot behind: only with the annotation {LEAVE_BEHIND}={} on it",
                content.meta.uid
            )));
        }
        let why = "its driver is gone; the backend snapshot is left behind, by consent on the object";
        let mut action = self.removal(Step::RemoveIntoOrphanLedger, TargetKind::Content, look, OWN_FINALIZER, why)?;
        action.expect.consent = true;
        action.expect.handle.clone_from(&look.handle);
        action.leaks = content.policy != DeletionPolicy::Retain && look.handle.is_some();
        action.orphan = self.orphan(content, look, "its driver is gone, and its finalizer was removed by consent");
        Ok(action)
    }

    fn delete_abandoned(&self) -> Prepared {
        let (content, look) = self.own_content()?;
        if content.meta.deleted.is_some() || look.deleting {
            return Err(Unfit::Skip("it is being deleted already".to_owned()));
        }
        let age = words::stamp_age(self.bench.ctx.now.wall, content.meta.created);
        if age < ABANDONED_FOR {
            return Err(Unfit::NotBefore(
                self.bench.ctx.now.mono + ABANDONED_FOR.saturating_sub(age),
                format!("it is younger than {}", words::short(ABANDONED_FOR)),
            ));
        }
        let summary = format!("delete {}: its VolumeSnapshot is gone", self.finding.subject);
        let target = (TargetKind::Content, &self.finding.subject.key, look);
        let mut action = self.action(Step::DeleteAbandoned, target, summary);
        action.expect = Expect { finalizers: Some(Arc::clone(&look.finalizers)), ..Expect::default() };
        action.expect.handle.clone_from(&look.handle);
        action.destroys = true;
        action.doubts.push("deleting it takes the backend's only copy of that moment".to_owned());
        Ok(action)
    }
}

/// Under Retain too: a creation whose answer was lost has left a snapshot that no orphan ledger could name.
fn knows_handle(look: &Look) -> Result<(), Unfit> {
    let words = "it has no snapshotHandle: csi-snapshotter would drop it without asking the driver, and nobody would know \
                 what was lost";
    look.handle.as_ref().map(drop).ok_or_else(|| Unfit::Skip(words.to_owned()))
}

/// A copied manifest does not carry the consent along: it has another uid.
fn consents(look: &Look, uid: &Uid) -> bool {
    look.leave_behind.as_deref() == Some(&*uid.to_string())
}
