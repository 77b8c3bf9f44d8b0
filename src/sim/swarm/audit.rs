//! What must hold of every write, one small function each.
//!
//! A write is judged by the journal of the API server and by the cluster's own truth at that moment: the lease as
//! it is stored, the object as it was right before, the storage pool, the policy as it stood when the daemon could
//! last see it. What the engine thought of it is not asked; a copy of its rules would agree with its mistakes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::SETTLED_AT;
use super::governance::Regime;
use super::home::Home;
use super::invariants::{Invariant, SLACK, Violation};
use super::moment::Moment;
use super::pruned::Pruned;
use crate::domain::fact::Source;
use crate::domain::finding::{Class, Subject};
use crate::domain::guard::{Guard, Guarded};
use crate::domain::ledger::Record;
use crate::domain::ledger::count::Budget;
use crate::domain::plan::Course;
use crate::domain::policy::Budgets;
use crate::domain::prune::run::Order;
use crate::domain::remedy::action::TargetKind;
use crate::domain::remedy::{Rung, Step};
use crate::io::ledger;
use crate::sim::daemon::Daemon;
use crate::sim::daemon::journal::{Entry, What};
use crate::sim::store::{Change, ChangeKind, object, table};

/// How long our lease holds after its last renewal.
const LEASE: Duration = Duration::from_secs(15);
/// A fresh read and the write that rests on it take no longer.
const FRESH: Duration = Duration::from_secs(6);

/// What may be repaired is repaired by then, unless something lasting holds it.
const HEALED_BY: Duration = Duration::from_secs(35 * 60);
/// An intent is closed by then, and an episode whose object is gone.
const LOOSE: Duration = Duration::from_secs(20 * 60);
/// A record is written no more often than this in the quiet.
const CHURN: usize = 16;
/// And the status of a SnapshotRetention: a few times for each of its runs.
const TOLD: usize = 60;
/// Whatever ended is written down by then.
const STILL_FOR: Duration = Duration::from_secs(300);
/// What holds a repair for longer than a run lasts, or until somebody else does something.
const LASTING: [Guard; 8] = [
    Guard::Quiet,
    Guard::Controller,
    Guard::Backend,
    Guard::Storm,
    Guard::Budget,
    Guard::Breaker,
    Guard::Mode,
    Guard::Consequence,
];

/// When something was intended, and for which record.
type Spent = (Timestamp, Box<str>);

/// Watches every write of one run.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Who holds our lease, and when that was written last.
    lease: Option<(String, Duration)>,
    policy: Vec<(Duration, Option<Value>)>,
    /// Namespaces that were to be ignored: when that began, and when it ended.
    ignored: BTreeMap<String, Vec<(Duration, Duration)>>,
    /// The last handle of each content, by its uid.
    handles: BTreeMap<String, String>,
    /// When the lease of a driver was changed last, by its name.
    renewed: BTreeMap<String, Duration>,
    stored: BTreeMap<Box<str>, Record>,
    done: BTreeSet<(Box<str>, u32)>,
    /// What was taken of each budget.
    spent: BTreeMap<(String, Budget), Vec<Spent>>,
    /// When something other than the lease was written, and to which record.
    written: Vec<(Duration, Option<Box<str>>)>,
    /// When there was something to repair last, or to see the end of.
    busy: Duration,
    /// Steps that were taken, by name.
    pub(super) repairs: BTreeMap<&'static str, u64>,
    /// What was let go by SnapshotRetentions.
    pruned: Pruned,
    accused: BTreeSet<(Invariant, String)>,
    pub(super) violations: Vec<Violation>,
}

/// One write and everything it is judged by.
pub(super) struct Scene<'a> {
    pub(super) entry: &'a Entry,
    pub(super) daemon: &'a Daemon,
    pub(super) home: &'a Home,
    pub(super) moments: &'a VecDeque<Moment>,
}

impl Scene<'_> {
    /// Somebody has approved this very plan.
    pub(super) fn is_approved(&self, guarded: &Guarded) -> bool {
        let record = self.entry.intent.as_deref().and_then(record_of);
        record.and_then(|record| record.approval).is_some_and(|approval| approval.hash == *guarded.hash())
    }

    /// Up to when the daemon can have known this, with the time of a decision.
    pub(super) fn sight(&self, sources: &[Source]) -> Duration {
        self.daemon.known_up_to(sources, self.entry.at).saturating_sub(SLACK)
    }

    /// At some moment that the daemon may go by, this was so.
    pub(super) fn was(&self, sources: &[Source], so: impl Fn(&Moment) -> bool) -> bool {
        let sight = self.sight(sources);
        self.moments.iter().rev().take_while(|moment| moment.at >= sight).any(so)
    }
}

impl Audit {
    fn accuse(&mut self, invariant: Invariant, at: Duration, about: &str, words: &str) {
        if self.accused.insert((invariant, about.to_owned())) {
            self.violations.push(Violation::new(invariant, at, format!("{about}: {words}")));
        }
    }

    // === What it keeps of the cluster ===

    /// Something in the cluster has changed.
    pub(super) fn changed(&mut self, change: &Change, at: Duration) {
        let (resource, one) = (change.resource, &*change.object);
        if resource == table::CONTENTS {
            let handle = object::text(one, "/status/snapshotHandle");
            if !handle.is_empty() {
                self.handles.insert(object::uid(one).to_owned(), handle.to_owned());
            }
        } else if resource == table::LEASES {
            self.renewed.insert(object::name(one).to_owned(), at);
        } else if resource == table::POLICIES {
            let there = change.kind != ChangeKind::Deleted;
            self.policy.push((at, there.then(|| one.get("spec").cloned().unwrap_or_default())));
        } else if resource == table::RETENTIONS {
            self.pruned.changed(change, at);
        } else if resource == table::NAMESPACES {
            let ignored = object::annotation(one, crate::api::IGNORE).is_some();
            let spans = self.ignored.entry(object::name(one).to_owned()).or_default();
            match spans.last_mut().filter(|(_, end)| *end == Duration::MAX) {
                Some((_, end)) if !ignored => *end = at,
                None if ignored => spans.push((at, Duration::MAX)),
                _ => {}
            }
        } else if resource == table::REMEDIATIONS && change.kind == ChangeKind::Deleted {
            // Whoever takes the ledger away takes along what is counted from it.
            let name: Box<str> = object::name(one).into();
            self.stored.remove(&name);
            self.spent.values_mut().for_each(|spent| spent.retain(|(_, record)| *record != name));
        }
    }

    // === One write ===

    /// A daemon has written.
    pub(super) fn wrote(&mut self, scene: &Scene<'_>) {
        let entry = scene.entry;
        if let What::Lease = entry.what {
            if let (true, Ok(lease)) = (entry.took(), &entry.after) {
                self.lease = Some((object::text(lease, "/spec/holderIdentity").to_owned(), entry.at));
            }
            return;
        }
        self.is_led(entry);
        match &entry.what {
            What::Retention => return self.tells(entry),
            What::Prune(order) => return self.prunes(order, scene),
            _ => {}
        }
        let record = match &entry.what {
            What::Record(record) => Some(record.name.clone()),
            What::Act { guarded, .. } => Some(guarded.record().as_ref().into()),
            What::Lease | What::Announce | What::Forget | What::Retention | What::Prune(_) => None,
        };
        self.is_called_for(entry);
        self.written.push((entry.at, record));
        match &entry.what {
            What::Record(record) if entry.took() => {
                self.is_just(record, scene);
                self.is_the_only_one(record, entry);
            }
            What::Act { guarded, looked } => {
                self.is_intended(guarded, entry);
                if entry.took() {
                    *self.repairs.entry(guarded.action().step.as_str()).or_default() += 1;
                    self.is_fresh(looked.as_ref(), guarded, entry);
                    self.is_new(guarded, entry);
                    self.is_within_budget(guarded, scene);
                    self.is_permitted(guarded, scene);
                    self.fits(guarded, scene);
                }
            }
            _ => {}
        }
    }

    fn tells(&mut self, entry: &Entry) {
        if entry.at >= SETTLED_AT {
            self.pruned.wrote();
        }
    }

    /// A VolumeSnapshot was deleted by a SnapshotRetention.
    fn prunes(&mut self, order: &Order, scene: &Scene<'_>) {
        let entry = scene.entry;
        if !entry.took() {
            return;
        }
        *self.repairs.entry("Prune").or_default() += 1;
        for (invariant, words) in self.pruned.judge(order, scene) {
            self.accuse(invariant, entry.at, &order.key.to_string(), &words);
        }
        let sight = scene.sight(&[Source::Namespaces]);
        if self.is_ignored(&order.key.namespace, sight, entry.at) {
            self.accuse(Invariant::Permitted, entry.at, &order.key.to_string(), "pruned in a namespace to be ignored");
        }
    }

    /// The namespace was to be ignored all the time since then.
    fn is_ignored(&self, namespace: &str, sight: Duration, at: Duration) -> bool {
        let spans = self.ignored.get(namespace).into_iter().flatten();
        spans.into_iter().any(|(begin, end)| *begin <= sight && at < *end)
    }

    /// Whoever writes holds our lease.
    fn is_led(&mut self, entry: &Entry) {
        let by = &*entry.by;
        let words = match &self.lease {
            Some((holder, at)) if holder == by && entry.at < *at + LEASE => return,
            Some((holder, at)) if holder == by => {
                format!("its lease was renewed {:?} ago", entry.at.saturating_sub(*at))
            }
            Some((holder, _)) => format!("{holder} holds the lease"),
            None => "nobody holds the lease".to_owned(),
        };
        self.accuse(
            Invariant::Led,
            entry.at,
            by,
            &format!("writes {} {}, and {words}", entry.resource.kind, entry.name),
        );
    }

    /// The intent stands in the ledger as it is carried out.
    fn is_intended(&mut self, guarded: &Guarded, entry: &Entry) {
        let record = entry.intent.as_deref().and_then(record_of);
        let intent = record.as_ref().and_then(|record| record.intent.as_ref());
        let right = intent.is_some_and(|intent| {
            intent.number == guarded.attempt()
                && intent.hash == *guarded.hash()
                && intent.target.uid == guarded.action().target.uid
                && *intent.by == *entry.by
        });
        if !right {
            let words = format!("{} without the intent, which is {intent:?}", guarded.action().summary);
            self.accuse(Invariant::Intended, entry.at, guarded.record(), &words);
        }
    }

    /// What was written to is what a read a moment ago showed.
    fn is_fresh(&mut self, looked: Option<&(Box<str>, Duration)>, guarded: &Guarded, entry: &Entry) {
        let version = entry.before.as_deref().map_or("", |before| object::text(before, "/metadata/resourceVersion"));
        let fresh = looked.is_some_and(|(seen, at)| **seen == *version && entry.at.saturating_sub(*at) <= FRESH);
        if !fresh {
            let words = format!("{} on version {version} after a look at {looked:?}", guarded.action().summary);
            self.accuse(Invariant::Fresh, entry.at, guarded.record(), &words);
        }
    }

    /// Nothing is done twice.
    fn is_new(&mut self, guarded: &Guarded, entry: &Entry) {
        if !self.done.insert((guarded.record().as_ref().into(), guarded.attempt())) {
            let words = format!("attempt {} a second time: {}", guarded.attempt(), guarded.action().summary);
            self.accuse(Invariant::Once, entry.at, guarded.record(), &words);
        }
    }

    /// What a step was to take away had not long been gone when the step was called a failure. Of a leftover more than
    /// its own end is expected.
    fn is_just(&mut self, record: &Record, scene: &Scene<'_>) {
        let failed = record.attempts.last().filter(|last| last.helped == Some(false));
        let Some(attempt) = failed.filter(|_| record.class != Class::DriverDegraded) else { return };
        let before = self.stored.get(&record.name).map_or(&[][..], |before| &before.attempts);
        if before.iter().any(|one| one.number == attempt.number && one.helped.is_some()) {
            return;
        }
        let resource = match attempt.target.kind {
            TargetKind::Content => table::CONTENTS,
            TargetKind::Snapshot => table::SNAPSHOTS,
            TargetKind::Pod | TargetKind::Lease => return,
        };
        let at = scene.entry.at;
        let mut recent = scene.moments.iter().rev().take_while(|moment| moment.at + SLACK >= at);
        if !recent.any(|moment| moment.under(resource, &attempt.target.key, Some(&attempt.target.uid)).is_some()) {
            let words = format!("{} is called a failure, and its object had long been gone", attempt.step);
            self.accuse(Invariant::Just, at, &record.name, &words);
        }
    }

    /// In the quiet nothing is written but about what is to be repaired, or has been not long ago.
    fn is_called_for(&mut self, entry: &Entry) {
        if entry.at >= SETTLED_AT && entry.at > self.busy + STILL_FOR {
            let words = format!("{} was written with nothing to repair", entry.name);
            self.accuse(Invariant::Still, entry.at, "the ledger", &words);
        }
    }

    /// A finding with this ladder stands.
    pub(super) fn may_be_busy(&mut self, ladder: &[Rung], at: Duration) {
        if !ladder.is_empty() {
            self.busy = at;
        }
    }

    /// A step that was taken has to be seen to its end, although the finding may be over by it.
    pub(super) fn is_under_way(&mut self, at: Duration) {
        if self.stored.values().any(|record| !record.phase.is_over() && record.unverified().is_some()) {
            self.busy = at;
        }
    }

    /// No two records of one object have an intent at the same time.
    fn is_the_only_one(&mut self, record: &Record, entry: &Entry) {
        let mut record = record.clone();
        // What is created has no status yet.
        if entry.before.is_none() {
            record.intent = None;
        }
        let intends = |one: &Record| one.intent.is_some() && !one.phase.is_over();
        let others = self.stored.values().filter(|one| one.subject == record.subject && one.name != record.name);
        let other = others.filter(|one| intends(one)).map(|one| one.name.clone()).next();
        if let Some(other) = other.filter(|_| intends(&record)) {
            let words = format!("{} has an intent while {other} has one", record.name);
            self.accuse(Invariant::OneEpisode, entry.at, &record.subject.to_string(), &words);
        }
        self.stored.insert(record.name.clone(), record);
    }

    /// By the daemon's own clock, since that is what it counts with.
    fn is_within_budget(&mut self, guarded: &Guarded, scene: &Scene<'_>) {
        let action = guarded.action();
        let budget = Budget::of(action.step);
        let limit = budget.limit(&budgets(&scene.home.governance.spec));
        let spent = self.spent.entry((action.driver.to_string(), budget)).or_default();
        let from = guarded.intended().checked_sub(jiff::SignedDuration::try_from(budget.window()).unwrap_or_default());
        let from = from.unwrap_or(Timestamp::MIN);
        let used = spent.iter().filter(|(at, _)| *at > from).count();
        spent.push((guarded.intended(), guarded.record().as_ref().into()));
        if used >= limit as usize {
            let words = format!("{used} of {limit} {} were used: {}", budget.words(), action.summary);
            self.accuse(Invariant::WithinBudget, scene.entry.at, guarded.record(), &words);
        }
    }

    /// The policy, as it stood when the daemon could last see it, lets it.
    fn is_permitted(&mut self, guarded: &Guarded, scene: &Scene<'_>) {
        let entry = scene.entry;
        let sight = scene.sight(&[Source::Policies, Source::Namespaces]);
        let record = entry.intent.as_deref().and_then(record_of);
        let approved = scene.is_approved(guarded);
        let ahead = Duration::try_from(scene.daemon.weather.skew).unwrap_or_default();
        let wall = scene.home.cluster.now().wall.saturating_add(ahead).unwrap_or(Timestamp::MAX);
        // What stood when sight begins, and everything after.
        let first = self.policy.iter().rposition(|(at, _)| *at <= sight).unwrap_or_default();
        let stood = self.policy.iter().skip(first).filter_map(|(_, regime)| regime.as_ref());
        if !stood.clone().any(|spec| permits(spec, approved, wall)) {
            let words = format!("{} under {:?}", guarded.action().summary, stood.collect::<Vec<_>>());
            return self.accuse(Invariant::Permitted, entry.at, guarded.record(), &words);
        }
        let namespace = namespace_of(entry.before.as_deref());
        if self.is_ignored(namespace, sight, entry.at) {
            let words = format!("{} in a namespace that is to be ignored", guarded.action().summary);
            return self.accuse(Invariant::Permitted, entry.at, guarded.record(), &words);
        }
        let first = record.is_none_or(|record| record.attempts.is_empty());
        let minute = u64::try_from(guarded.intended().as_second().div_euclid(60).rem_euclid(60)).unwrap_or_default();
        if first && !scene.home.governance.is_open(minute) {
            let words = format!("begun at minute {minute}, outside of its window: {}", guarded.action().summary);
            self.accuse(Invariant::Permitted, entry.at, guarded.record(), &words);
        }
    }

    /// The object is one to which the rules let this be done.
    fn fits(&mut self, guarded: &Guarded, scene: &Scene<'_>) {
        let handles = &self.handles;
        let handle = |one: &Value| handles.get(object::uid(one)).map(String::as_str);
        let renewed = self.renewed.get(&scene.entry.name).copied();
        let fits = super::rules::fits(guarded, scene, &handle, renewed);
        let leaks_nothing = super::rules::leaks_nothing(guarded, scene, &handle);
        if let Err(words) = fits {
            let words = format!("{}: {words}", guarded.action().summary);
            self.accuse(Invariant::Fitting, scene.entry.at, guarded.record(), &words);
        }
        if let Err(words) = leaks_nothing {
            self.accuse(Invariant::Announced, scene.entry.at, guarded.record(), &words);
        }
    }

    // === The end ===

    /// The daemon that leads by the lease in the store; somebody has to.
    pub(super) fn leading<'a>(&mut self, daemons: &'a [Daemon], at: Duration) -> Option<&'a Daemon> {
        let holder = self.lease.as_ref().filter(|(_, renewed)| at < *renewed + LEASE).map(|(holder, _)| holder.clone());
        let leader = holder.and_then(|holder| daemons.iter().find(|daemon| **daemon.identity() == *holder));
        if leader.is_none() {
            self.accuse(Invariant::Healed, at, "nobody leads", &format!("the lease is {:?}", self.lease));
        }
        leader
    }

    /// What Enforce may repair is repaired, under way, or held for a reason that time alone does not lift.
    pub(super) fn all_is_healed(&mut self, leader: &Daemon, home: &Home) {
        if home.governance.regime != Regime::Mode("Enforce") {
            return;
        }
        let now = leader.now(&home.cluster);
        let at = home.cluster.now().mono;
        for (finding, course) in leader.engine().plan(now) {
            let age = Duration::try_from(now.wall.duration_since(finding.since)).unwrap_or_default();
            let Course::Step(planned) = course else { continue };
            let record = self.stored.values().find(|one| one.subject == finding.subject && !one.phase.is_over());
            let under_way = record.is_some_and(|record| record.intent.is_some() || record.unverified().is_some());
            if age < HEALED_BY || under_way {
                continue;
            }
            let held = planned.judgement.verdicts().iter().filter(|(_, verdict)| !verdict.allows());
            let held: Vec<Guard> = held.map(|(guard, _)| *guard).collect();
            let lasting =
                |guard: &Guard| LASTING.contains(guard) || (home.governance.windowed && *guard == Guard::Window);
            if !held.iter().any(lasting) {
                let words =
                    format!("it is {}s old, and only {held:?} hold it: {}", age.as_secs(), planned.action.summary);
                self.accuse(Invariant::Healed, at, &format!("{} {}", finding.class, finding.subject), &words);
            }
        }
    }

    /// No episode is forgotten half-way: what is open is about something that is still so, and an intent is carried
    /// out or closed.
    pub(super) fn no_loose_ends(&mut self, leader: &Daemon, home: &Home) {
        let now = home.cluster.now();
        let found: BTreeSet<&Subject> =
            leader.engine().findings().into_iter().map(|finding| &finding.subject).collect();
        let old =
            |at: Timestamp| now.wall.duration_since(at).as_secs() > i64::try_from(LOOSE.as_secs()).unwrap_or(i64::MAX);
        let mut loose = Vec::new();
        for record in self.stored.values().filter(|record| !record.phase.is_over() && old(record.opened)) {
            let tried = record.attempts.last().and_then(|attempt| attempt.ended.or(Some(attempt.at)));
            if !found.contains(&record.subject) && tried.is_none_or(old) {
                loose.push((
                    record.name.clone(),
                    format!("is {:?} about what is no more: {}", record.phase, record.message),
                ));
            }
            if let Some(intent) = record.intent.as_ref().filter(|intent| old(intent.at)) {
                loose.push((record.name.clone(), format!("has an open intent since {}", intent.at)));
            }
        }
        for (name, words) in loose {
            self.accuse(Invariant::Healed, now.mono, &name, &words);
        }
        if let Some(words) = self.pruned.loose(now.wall) {
            self.accuse(Invariant::Healed, now.mono, "the SnapshotRetention", &words);
        }
    }

    /// No record is written over and over, and no status of a SnapshotRetention.
    pub(super) fn rests(&mut self, at: Duration) {
        let told = self.pruned.told();
        if told > TOLD {
            self.accuse(Invariant::Still, at, "a SnapshotRetention", &format!("told {told} times in the quiet"));
        }
        let mut times: BTreeMap<&Option<Box<str>>, usize> = BTreeMap::new();
        for (_, record) in self.written.iter().filter(|(at, _)| *at >= SETTLED_AT) {
            *times.entry(record).or_default() += 1;
        }
        let most = times.iter().max_by_key(|(_, times)| **times).map(|(record, times)| (format!("{record:?}"), *times));
        if let Some((record, times)) = most.filter(|(_, times)| *times > CHURN) {
            self.accuse(Invariant::Still, at, &record, &format!("written {times} times in the quiet"));
        }
    }
}

/// The record that an object of the ledger holds.
fn record_of(object: &Value) -> Option<Record> {
    ledger::record(&object.to_string()).ok()
}

fn permits(spec: &Value, approved: bool, wall: Timestamp) -> bool {
    let mode = object::text(spec, "/mode");
    let until: Option<Timestamp> = object::text(spec, "/pause/until").parse().ok();
    let suspended = object::at(spec, "/suspend") == Some(&Value::Bool(true));
    let stops = suspended || until.is_some_and(|until| until > wall);
    !stops && (mode == "Enforce" || (mode == "Approve" && approved))
}

/// Whose namespace an object is in; a content is in that of its VolumeSnapshot.
fn namespace_of(one: Option<&Value>) -> &str {
    let Some(one) = one else { return "" };
    match object::text(one, "/spec/volumeSnapshotRef/namespace") {
        "" => object::namespace(one),
        namespace => namespace,
    }
}

/// The budgets of a policy's spec.
fn budgets(spec: &Value) -> Budgets {
    let default = Budgets::default();
    let said = |field: &str, default: u32| {
        let said = object::at(spec, &format!("/limits/budgets/{field}")).and_then(Value::as_u64);
        said.and_then(|said| u32::try_from(said).ok()).unwrap_or(default)
    };
    Budgets {
        nudges: said("nudgesPerHour", default.nudges),
        marks: said("marksPerHour", default.marks),
        finalizers: said("finalizersPerHour", default.finalizers),
        leases: said("leasesPerHour", default.leases),
        restarts: said("restartsPerSixHours", default.restarts),
    }
}

/// A step that the audit knows how to judge.
pub(super) fn removes_finalizer(step: Step) -> bool {
    matches!(
        step,
        Step::RemoveContentFinalizer
            | Step::RemoveRetainedFinalizer
            | Step::RemoveProvisionerFinalizer
            | Step::RemoveIntoOrphanLedger
    )
}
