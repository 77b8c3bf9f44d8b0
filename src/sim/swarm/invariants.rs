//! What must hold in every run, one small function each.
//!
//! The daemon's words are compared with the cluster's truth. It may say what was so when it last could see,
//! and `SLACK` more for what is on its way; it may never say what was so at no such moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::moment::{self, Moment};
use super::truth::{self, Tries};
use crate::domain::engine::Engine;
use crate::domain::fact::Source;
use crate::domain::finding::{Class, Finding, Subject, Verdict};
use crate::domain::name::Uid;
use crate::domain::record::Kind;
use crate::domain::timing::{SWEEPS, Timing};
use crate::sim::cluster::Cluster;
use crate::sim::daemon::{Daemon, Reading};
use crate::sim::store::{object, table};

/// What is on its way: a slow line, the next renewal of a lease, a read.
pub(super) const SLACK: Duration = Duration::from_secs(60);
/// Logs are read once a minute, by whoever is looked at once a minute.
const LOG_AGE: Duration = Duration::from_secs(180);
/// Moments are taken this often, and kept for longer than the longest blindness.
pub(super) const EVERY: Duration = Duration::from_secs(20);
const KEPT: Duration = Duration::from_secs(3600);
/// Timestamps of the API have whole seconds.
const ROUNDING: Duration = Duration::from_millis(1500);
/// A component is not called down sooner than this after it last worked.
const COMPONENT_FLOOR: Duration = Duration::from_secs(50);
/// What is stuck for so long has to be named.
const NAMED_BY: Duration = Duration::from_secs(20 * 60);

/// The sources that findings rest on.
const SEEN: [Source; 9] = [
    Source::Snapshots,
    Source::Contents,
    Source::SnapshotClasses,
    Source::Leases,
    Source::Claims,
    Source::Pods,
    Source::CsiDrivers,
    Source::ContentEvents,
    Source::SnapshotEvents,
];

/// What must hold. The name is public: violations show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Invariant {
    /// Nothing panics.
    NoPanic,
    /// Whoever writes holds our lease.
    Led,
    /// No action without its intent in the ledger.
    Intended,
    /// No action on anything but what a read a moment ago showed.
    Fresh,
    /// No action that the policy does not let.
    Permitted,
    /// No action on an object to which the rules do not let it be done.
    Fitting,
    /// Nothing is left behind in the backend that does not stand in the orphan ledger before.
    Announced,
    /// Nothing is done twice.
    Once,
    /// No deletion leaves a volume fewer ready snapshots than the policy says.
    MinReady,
    /// No two episodes of one object are acted in at the same time.
    OneEpisode,
    /// No more is done than the budgets let, whoever was started anew.
    WithinBudget,
    /// No step is called a failure whose object had long been gone.
    Just,
    /// What is found is so.
    True,
    /// Nothing is found before its time.
    NotBeforeItsTime,
    /// After the faults, the daemon says what a fresh one says.
    Converged,
    /// After the faults, what is stuck is named.
    AllNamed,
    /// After the faults, no finding comes and goes.
    Silent,
    /// After the faults, two daemons say the same.
    Agreed,
    /// After the faults, somebody leads, and what may be repaired is repaired or held for a reason.
    Healed,
    /// After the faults, and with nothing to repair, nothing is written; and no record over and over.
    Still,
    /// Without faults nothing is named, and nothing is written.
    Peaceful,
}

/// Something that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// What.
    pub invariant: Invariant,
    /// When, on the cluster's clock.
    #[serde(rename = "atSeconds")]
    pub at: u64,
    /// In words.
    pub words: String,
}

impl Violation {
    pub(super) fn new(invariant: Invariant, at: Duration, words: String) -> Self {
        Self { invariant, at: at.as_secs(), words }
    }
}

/// Watches one run.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) moments: VecDeque<Moment>,
    tries: Tries,
    pub(super) violations: Vec<Violation>,
    /// Said once is enough.
    accused: BTreeSet<(Invariant, Subject, Class)>,
}

impl Judge {
    pub(super) fn look(&mut self, cluster: &Cluster) {
        let places = moment::all_places(cluster);
        self.tries.harvest(cluster, &places, self.moments.back());
        let moment = Moment::take(cluster, places);
        let old = moment.at.saturating_sub(KEPT);
        while self.moments.front().is_some_and(|first| first.at < old) {
            self.moments.pop_front();
        }
        self.moments.push_back(moment);
    }

    fn accuse(&mut self, invariant: Invariant, at: Duration, finding: &Finding, words: &str) {
        if self.accused.insert((invariant, finding.subject.clone(), finding.class)) {
            let words = format!("{} {}: {words} ({})", finding.class, finding.subject, finding.summary);
            self.violations.push(Violation::new(invariant, at, words));
        }
    }

    /// A finding is so, or was when the daemon last could see.
    pub(super) fn is_true(&mut self, daemon: &Daemon, finding: &Finding, cluster: &Cluster) {
        let at = cluster.now().mono;
        if daemon.weather.skew.is_positive() && is_young(finding, cluster) {
            return;
        }
        let seen = sight(daemon, at);
        let recent = self.moments.iter().rev().take_while(|moment| moment.at + SLACK >= seen);
        let key = &finding.subject.key;
        let is_deleting = |moment: &Moment| moment.get(table::CONTENTS, key).is_none_or(object::is_deleting);
        let mut was_so = recent.filter(|moment| truth::holds(finding, moment)).map(is_deleting).peekable();
        if was_so.peek().is_none() {
            return self.accuse(Invariant::True, at, finding, "is not so, and was not when it could be seen");
        }
        if finding.subject.kind == Kind::VolumeSnapshotContent && finding.since <= cluster.now().wall {
            // What is said of a live one is about its creation, and that stands in its status.
            let deleting = was_so.all(|deleting| deleting);
            let seen = wall(cluster, seen.min(reading(daemon, at)).saturating_sub(LOG_AGE));
            if deleting && !self.tries.bear_out(finding.class, &key.name, finding.since, seen) {
                self.accuse(Invariant::True, at, finding, "is not what the driver answered");
            }
        }
    }

    /// No class is younger than its floor, by the true clock.
    pub(super) fn is_of_age(&mut self, daemon: &Daemon, finding: &Finding, cluster: &Cluster) {
        let now = cluster.now();
        if matches!(finding.subject.kind, Kind::CsiDriver | Kind::Lease) {
            if finding.class != Class::DriverDegraded && !self.was_down_for(daemon, finding, now.mono) {
                self.accuse(Invariant::NotBeforeItsTime, now.mono, finding, "worked a moment ago");
            }
            return;
        }
        let resource = match finding.subject.kind {
            Kind::VolumeSnapshotContent => table::CONTENTS,
            Kind::VolumeSnapshot => table::SNAPSHOTS,
            _ => table::CLAIMS,
        };
        let key = &finding.subject.key;
        let Ok(one) = cluster.store.get(resource, &key.namespace, &key.name) else { return };
        if finding.uid.as_ref().is_some_and(|uid| Uid::parse(object::uid(&one)) != *uid) {
            return;
        }
        // What is said of a living object is measured from its birth, even if it is being deleted by now.
        let of_the_living = matches!(finding.class, Class::CreateStuck | Class::AbandonedContent);
        let field = if object::is_deleting(&one) && !of_the_living {
            "/metadata/deletionTimestamp"
        } else {
            "/metadata/creationTimestamp"
        };
        let age = truth::age(&one, field, now.wall);
        // A floor is measured with the daemon's own clock: one that is ahead takes it for passed so much sooner.
        let ahead = Duration::try_from(daemon.weather.skew).unwrap_or_default();
        if age + ROUNDING + ahead < floor(finding.class, &one) {
            let words = format!("is {}s old, before its time", age.as_secs());
            self.accuse(Invariant::NotBeforeItsTime, now.mono, finding, &words);
        }
    }

    /// At some moment that the daemon may speak of, it had been so for a while.
    fn was_down_for(&self, daemon: &Daemon, finding: &Finding, at: Duration) -> bool {
        let seen = sight(daemon, at);
        let mut down_since = None;
        self.moments.iter().any(|moment| {
            if !truth::is_down(finding, moment) {
                down_since = None;
                return false;
            }
            let since = *down_since.get_or_insert(moment.at);
            moment.at + SLACK >= seen && moment.at.saturating_sub(since) + EVERY * 2 >= COMPONENT_FLOOR
        })
    }

    /// Everything that is stuck is named, or lies beneath what is.
    pub(super) fn all_is_named(&mut self, daemon: &Daemon, cluster: &Cluster) {
        let Some(moment) = self.moments.back() else { return };
        for stuck in truth::stuck(&self.moments, NAMED_BY) {
            let explanation = daemon.engine().explain(&stuck.subject, daemon.now(cluster));
            if !matches!(explanation.verdict, Verdict::Finding(_)) {
                let words =
                    format!("{} has been stuck for {}s: {:?}", stuck.subject, stuck.age.as_secs(), explanation.verdict);
                self.violations.push(Violation::new(Invariant::AllNamed, moment.at, words));
            }
        }
    }

    /// Two daemons say the same.
    pub(super) fn agree(&mut self, invariant: Invariant, at: Duration, one: &Engine, other: &Engine) {
        let (one, other) = (verdicts(one), verdicts(other));
        if one != other {
            let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
                these.difference(those).cloned().collect::<Vec<_>>().join("; ")
            };
            let words = format!("only it: [{}]; only the other: [{}]", only(&one, &other), only(&other, &one));
            self.violations.push(Violation::new(invariant, at, words));
        }
    }

    /// No finding comes, goes and comes again.
    pub(super) fn is_silent(&mut self, at: Duration, found: &BTreeMap<(Class, Subject), u32>) {
        for ((class, subject), times) in found.iter().filter(|(_, times)| **times > 1) {
            let words = format!("{class} {subject} was found {times} times in the quiet");
            self.violations.push(Violation::new(Invariant::Silent, at, words));
        }
    }
}

/// With a clock that is ahead no floor gives two watches the time to agree.
fn is_young(finding: &Finding, cluster: &Cluster) -> bool {
    let age = Duration::try_from(cluster.now().wall.duration_since(finding.since)).unwrap_or_default();
    age < Timing::default().short_floor()
}

/// Up to when the daemon can know what it rests on.
fn sight(daemon: &Daemon, at: Duration) -> Duration {
    daemon.known_up_to(&SEEN, at)
}

/// Up to when it can know what logs say; troubled reads are taken for the longest.
fn reading(daemon: &Daemon, at: Duration) -> Duration {
    let fine = daemon.weather.reads == Reading::Fine && !daemon.weather.logs_refused;
    if fine { at } else { at.saturating_sub(KEPT) }
}

fn wall(cluster: &Cluster, at: Duration) -> Timestamp {
    let now = cluster.now();
    let ago = SignedDuration::try_from(now.mono.saturating_sub(at)).unwrap_or_default();
    now.wall.saturating_sub(ago).unwrap_or(now.wall)
}

/// The least age of a class, by the documented defaults of the sidecar and Rook's own, whichever is less.
fn floor(class: Class, one: &Value) -> Duration {
    let timing = Timing::default();
    match class {
        Class::GroupMember
        | Class::StillCreating
        | Class::DeletedNotReleased
        | Class::OperationLocked
        | Class::MissedEvent
        | Class::SourcePinned
        | Class::AbandonedContent
        | Class::CreateStuck => timing.nudge_floor(),
        // Of a snapshot that only csi-provisioner holds it says why, after the time that a class with the reason has.
        Class::Unexplained if truth::is_provisioners(one) => SWEEPS,
        Class::Unexplained => timing.general_floor(),
        Class::ProvisionerOrphan => SWEEPS,
        _ => timing.short_floor(),
    }
}

/// What others act on of every finding: not its wording.
fn verdicts(engine: &Engine) -> BTreeSet<String> {
    let verdict = |finding: &&Finding| {
        let cause = finding.cause.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let Finding { class, subject, leaks, destroys, repair, .. } = finding;
        format!("{class} {subject} by {cause}, leaks {leaks}, destroys {destroys}, {:?}", repair.rung)
    };
    engine.findings().iter().map(verdict).collect()
}
