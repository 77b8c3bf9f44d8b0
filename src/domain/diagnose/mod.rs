//! Diagnosis: what one subject's records say, in the order that the design fixes.
//!
//! Each kind has a table of rules, evaluated first match first ([`content`], [`snapshot`], [`claim`]); a new
//! finding class is one more rule in one of the tables. Rules are pure: they see the world, what is known of
//! the components, and answers to earlier reads. The failure this exists to prevent is naming something stuck
//! before its time, or on the strength of something that merely has not been seen yet.

pub mod claim;
pub mod content;
pub mod driver;
pub mod snapshot;
pub mod spare;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::components::View;
use super::engine::Settings;
use super::fact::{Live, Now, Probe, Source};
use super::finding::{Cause, Class, Finding, Repair, Rung, Subject, Verdict};
use super::memory::Memory;
use super::name::Key;
use super::record::{Content, Kind, Meta, Snapshot};
use super::timing::Timing;
use super::words;
use super::world::World;

/// Two looks at the same thing are at least this far apart.
const SECOND_LOOK: Duration = Duration::from_secs(30);
/// The same for a one-shot command, which cannot look longer than a lease lasts.
const SECOND_LOOK_EAGER: Duration = Duration::from_secs(10);

/// Whether a watch has said something is looked at this often.
const UNTOLD: Duration = Duration::from_secs(10);

/// What is known of the components.
#[derive(Debug, Default)]
pub struct Components {
    /// By driver name.
    pub drivers: BTreeMap<Arc<str>, View>,
    /// snapshot-controller.
    pub controller: Option<View>,
    /// Contents of each driver that fail for a driver's reason.
    pub failing: BTreeMap<Arc<str>, BTreeSet<Subject>>,
}

/// Everything a rule may look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The cluster.
    pub world: &'a World,
    /// How to judge.
    pub settings: &'a Settings,
    /// Sidecars and controllers.
    pub components: &'a Components,
    /// Answers and standing shapes.
    pub memory: &'a Memory,
    /// Findings made so far: causes.
    pub findings: &'a BTreeMap<Subject, Finding>,
    /// The present.
    pub now: Now,
}

/// What a rule found out about a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What can be said.
    pub verdict: Verdict,
    /// The class it is or may become: remembered, so that a shape has to stand.
    pub shape: Option<Class>,
    /// Look again at this monotonic time, even if nothing changes.
    pub recheck: Option<Duration>,
    /// Reads that would tell more.
    pub wants: Vec<Probe>,
}

impl Diagnosis {
    /// Nothing is wrong.
    #[must_use]
    pub fn healthy(summary: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Normal { summary: summary.into(), until: None },
            shape: None,
            recheck: None,
            wants: Vec::new(),
        }
    }

    /// No such object.
    #[must_use]
    pub fn not_found() -> Self {
        Self { verdict: Verdict::NotFound, shape: None, recheck: None, wants: Vec::new() }
    }

    /// The finding, if it is one.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match &self.verdict {
            Verdict::Finding(finding) => Some(finding),
            Verdict::Normal { .. } | Verdict::NotFound => None,
        }
    }

    fn wanting(mut self, probes: impl IntoIterator<Item = Probe>) -> Self {
        self.wants.extend(probes);
        self
    }
}

/// A finding in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    class: Class,
    since: Timestamp,
    summary: String,
    evidence: Vec<String>,
    cause: Option<Cause>,
    leaks: bool,
    destroys: bool,
    unverified: bool,
    repair: Repair,
}

impl Draft {
    /// Begins with what every finding has.
    #[must_use]
    pub fn new(class: Class, since: Timestamp, summary: impl Into<String>) -> Self {
        Self {
            class,
            since,
            summary: summary.into(),
            evidence: Vec::new(),
            cause: None,
            leaks: false,
            destroys: false,
            unverified: false,
            repair: Repair { rung: Rung::Report, text: String::new() },
        }
    }

    fn repair(mut self, rung: Rung, text: impl Into<String>) -> Self {
        self.repair = Repair { rung, text: text.into() };
        self
    }

    fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    fn caused_by(mut self, cause: Option<Cause>) -> Self {
        self.cause = cause;
        self
    }

    fn leaks(mut self, leaks: bool) -> Self {
        self.leaks = leaks;
        self
    }

    fn destroys(mut self, destroys: bool) -> Self {
        self.destroys = destroys;
        self
    }

    fn unverified(mut self, unverified: bool) -> Self {
        self.unverified |= unverified;
        self
    }
}

/// How long something has to be so before it is a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// By the object's own timestamp.
    pub age: Duration,
    /// And seen twice, not only once.
    pub twice: bool,
    /// And the daemon has seen it stand for a while: what is on its way looks the same for a moment. A one-shot command
    /// says what it sees.
    pub stands: bool,
    /// And this collection has told everything up to when it was first seen: what it shows from before that is of no
    /// use beside something newer.
    pub told_by: Option<Source>,
}

impl Floor {
    /// By the object's own timestamp only.
    #[must_use]
    pub fn age(age: Duration) -> Self {
        Self { age, twice: false, stands: false, told_by: None }
    }

    /// And seen twice.
    #[must_use]
    pub fn seen_twice(age: Duration) -> Self {
        Self { age, twice: true, stands: false, told_by: None }
    }

    /// And not only for a moment.
    #[must_use]
    pub fn standing(age: Duration) -> Self {
        Self { stands: true, ..Self::age(age) }
    }

    /// And told by this collection since.
    #[must_use]
    pub fn told_by(self, source: Source) -> Self {
        Self { told_by: Some(source), ..self }
    }
}

/// Whether the VolumeSnapshot a content points to lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotState<'a> {
    /// It does.
    Lives(&'a Snapshot),
    /// It is gone: not in a completed list, and a live read confirmed it (or another uid has its name); the
    /// content is still there, by a live read too.
    Gone(String),
    /// The list does not hold it; a live read has not answered yet.
    Unconfirmed,
    /// It cannot be told, for this reason.
    Unknown(String),
    /// The content never named one by uid.
    Unbound,
}

impl<'a> Context<'a> {
    /// Diagnoses any subject.
    #[must_use]
    pub fn diagnose(&self, subject: &Subject) -> Diagnosis {
        match subject.kind {
            Kind::VolumeSnapshot => snapshot::diagnose(self, &subject.key),
            Kind::VolumeSnapshotContent => content::diagnose(self, &subject.key),
            Kind::PersistentVolumeClaim => claim::diagnose(self, &subject.key),
            Kind::CsiDriver => driver::diagnose(self, &subject.key.name),
            Kind::Lease => driver::diagnose_lease(self, &subject.key),
        }
    }

    /// Makes a finding of a draft once its floors are passed; before, says until when it is normal.
    #[must_use]
    pub fn settle(
        &self,
        subject: &Subject,
        meta: &Meta,
        driver: Option<&Arc<str>>,
        floor: Floor,
        draft: Draft,
    ) -> Diagnosis {
        let age = words::age(self.now.wall, draft.since);
        let held = self.memory.held(subject, draft.class, self.now);
        let too_young = floor.age.saturating_sub(age);
        let look = if self.settings.eager { SECOND_LOOK_EAGER } else { SECOND_LOOK };
        let too_new = if floor.twice { look.saturating_sub(held) } else { Duration::ZERO };
        let shape = Some(draft.class);
        let first_seen = self.now.mono.saturating_sub(held);
        let told = |source| self.world.sources.told_up_to(source, self.now).is_some_and(|told| told >= first_seen);
        let untold = if floor.told_by.is_none_or(told) { Duration::ZERO } else { UNTOLD };
        let fleeting = if floor.stands { SECOND_LOOK.saturating_sub(held) } else { Duration::ZERO };
        let wait = if self.settings.eager { too_young } else { too_young.max(too_new).max(fleeting).max(untold) };
        // The daemon can wait for the answer that is missing; a one-shot command says that it is not sure.
        let unsure = draft.unverified && !self.settings.eager;
        if !wait.is_zero() || unsure {
            let until = if wait.is_zero() { None } else { self.now.wall.checked_add(wait).ok() };
            return Diagnosis {
                verdict: Verdict::Normal { summary: draft.summary, until },
                shape,
                recheck: (!wait.is_zero()).then(|| self.now.mono + wait),
                wants: Vec::new(),
            };
        }
        let unverified = draft.unverified || !too_new.is_zero();
        Diagnosis {
            verdict: Verdict::Finding(Box::new(Finding {
                class: draft.class,
                subject: subject.clone(),
                uid: Some(meta.uid.clone()),
                driver: driver.cloned(),
                cause: draft.cause,
                since: draft.since,
                summary: draft.summary,
                evidence: draft.evidence,
                leaks: draft.leaks,
                destroys: draft.destroys,
                unverified,
                repair: draft.repair,
            })),
            shape,
            recheck: (!too_new.is_zero()).then(|| self.now.mono + too_new),
            wants: Vec::new(),
        }
    }

    /// A floor that a component must also have been at work for, in terms of the object's age.
    #[must_use]
    pub fn floor_at_work(&self, view: &View, floor: Duration, age: Duration) -> Duration {
        floor.max(age + floor.saturating_sub(view.at_work(self.now)))
    }

    /// What hangs on a component that is down is told as long as leases can be read: one that is down by an old
    /// view may long be back.
    #[must_use]
    pub fn sees_leaders(&self) -> bool {
        self.world.sources.outdated(Source::Leases).is_none()
    }

    /// What is known of a driver's sidecar.
    #[must_use]
    pub fn driver(&self, name: &str) -> Option<&'a View> {
        self.components.drivers.get(name)
    }

    /// The times that count for what this view is about: the documented defaults without one, raised as configured.
    #[must_use]
    pub fn timing(&self, view: Option<&View>) -> Timing {
        view.map_or_else(
            || Timing { raised_to: self.settings.min_floor, ..Timing::default() },
            |view| view.timing.clone(),
        )
    }

    /// The driver's own finding, as a cause.
    #[must_use]
    pub fn driver_cause(&self, name: &str) -> Option<Cause> {
        let subject = Subject::driver(name);
        self.findings.get(&subject).map(|finding| Cause { class: finding.class, subject })
    }

    /// snapshot-controller's own finding, as a cause.
    #[must_use]
    pub fn controller_cause(&self) -> Option<Cause> {
        let subject = driver::controller_subject(self.components.controller.as_ref()?);
        self.findings.get(&subject).map(|finding| Cause { class: finding.class, subject })
    }

    /// The finding about another object, as a cause.
    #[must_use]
    pub fn cause(&self, kind: Kind, key: &Key) -> Option<Cause> {
        let subject = Subject::new(kind, key.clone());
        self.findings.get(&subject).map(|finding| Cause { class: finding.class, subject })
    }

    /// Whether the driver's contents fail in such numbers that it is one incident.
    #[must_use]
    pub fn storm(&self, driver: &str) -> bool {
        let failing = self.components.failing.get(driver).map_or(0, BTreeSet::len);
        driver::is_storm(failing, self.world.content_count(driver))
    }

    /// Whether the VolumeSnapshot of this content lives. That it is gone says something only of a content that
    /// is still there itself: a late watch of contents would show every deleted one as left behind.
    #[must_use]
    pub fn snapshot_of(&self, own_key: &Key, content: &Content) -> SnapshotState<'a> {
        match self.snapshot_by_name(content) {
            SnapshotState::Gone(words) => match self.memory.live(Kind::VolumeSnapshotContent, own_key, self.now) {
                Some(Live::Present(uid)) if *uid == content.meta.uid => SnapshotState::Gone(words),
                None => SnapshotState::Unconfirmed,
                Some(Live::Present(_) | Live::Absent) => SnapshotState::Unknown(format!(
                    "{words}; and so is VolumeSnapshotContent {own_key} itself, by a live GET"
                )),
                Some(Live::Unknown(failure)) => SnapshotState::Unknown(format!(
                    "{words}; a live GET of VolumeSnapshotContent {own_key} failed: {failure}"
                )),
            },
            state => state,
        }
    }

    fn snapshot_by_name(&self, content: &Content) -> SnapshotState<'a> {
        let key = &content.snapshot.key;
        let Some(uid) = &content.snapshot.uid else { return SnapshotState::Unbound };
        let outgrown = || self.world.is_outgrown(Source::Snapshots, key);
        match self.world.snapshots.get(key) {
            Some(snapshot) if snapshot.meta.uid == *uid => return SnapshotState::Lives(snapshot),
            // Seen before the watch broke off, or before what could not be read, it may be the one that came before this
            // content's own.
            Some(other) if self.world.sources.outdated(Source::Snapshots).is_none() && !outgrown() => {
                let words = format!("VolumeSnapshot {key} exists again under uid {}, not {uid}", other.meta.uid);
                return SnapshotState::Gone(words);
            }
            Some(_) | None => {}
        }
        if let Some(doubt) = self.world.sources.doubt(Source::Snapshots) {
            return SnapshotState::Unknown(doubt);
        }
        match self.memory.live(Kind::VolumeSnapshot, key, self.now) {
            None => SnapshotState::Unconfirmed,
            Some(Live::Absent) => SnapshotState::Gone(format!(
                "VolumeSnapshot {key} (uid {uid}) is gone: not listed, and a live GET answers 404"
            )),
            Some(Live::Present(other)) if other == uid => SnapshotState::Unknown(format!(
                "VolumeSnapshot {key} answers a live GET but is not in the watched list yet"
            )),
            Some(Live::Present(other)) => {
                SnapshotState::Gone(format!("VolumeSnapshot {key} exists again under uid {other}, not {uid}"))
            }
            Some(Live::Unknown(words)) => {
                SnapshotState::Unknown(format!("VolumeSnapshot {key} is not listed, and a live GET failed: {words}"))
            }
        }
    }
}

/// The reads that tell whether a content is there without its VolumeSnapshot.
#[must_use]
pub fn get_both(own_key: &Key, content: &Content) -> [Probe; 2] {
    let get = |kind, key: &Key| Probe::Get { kind, key: key.clone() };
    [get(Kind::VolumeSnapshot, &content.snapshot.key), get(Kind::VolumeSnapshotContent, own_key)]
}

/// Time of a deletion, and its age.
#[must_use]
pub fn deletion(meta: &Meta, now: Now) -> Option<(Timestamp, Duration)> {
    let at = meta.deleted?.timestamp();
    Some((at, words::age(now.wall, at)))
}

/// Finalizers by their last, telling part.
#[must_use]
pub fn finalizers(meta: &Meta) -> String {
    if meta.finalizers.is_empty() { "none".to_owned() } else { meta.finalizers.join(", ") }
}
