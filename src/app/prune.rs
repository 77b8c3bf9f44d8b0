//! Pruning in the daemon: looks which SnapshotRetention is due, has a plan made of fresh lists, and carries it out.
//!
//! Only the leader does, one run at a time. What is to be done is decided by `domain::prune`, whether a deletion may be
//! sent now by the guards, and everything is written by `io::act`. The run itself is in this process's memory: its
//! beginning is stored before its first deletion, and a process that finds one that is not its own closes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{AppError, Look, Settings, connect, engine, looking};
use crate::api::retention::{RunOutcome, RunRecord};
use crate::domain::digest::Hash;
use crate::domain::fact::Now;
use crate::domain::guard::{Guard, Verdict};
use crate::domain::name::Key;
use crate::domain::policy::Mode;
use crate::domain::prune::agenda::{self, Due, Trigger};
use crate::domain::prune::field::Field;
use crate::domain::prune::part::Part;
use crate::domain::prune::plan::{Fate, Item, Plan, plan};
use crate::domain::prune::policy::Pruning;
use crate::domain::prune::relic::Thing;
use crate::domain::prune::run::Order;
use crate::domain::prune::run::Run;
use crate::driver::{Clock, Handle};
use crate::io::act::prune as hands;
use crate::io::client::Client;
use crate::io::report::{About, Reporter, Word};
use crate::io::retention;
use crate::telemetry;

/// Why a plan cannot be made.
pub use crate::io::retention::Unlisted;
/// Policies from a file, judged as the API server and the daemon would judge them.
pub use crate::io::retention::file::policies as of_file;
/// A policy with what its object says; and read from what an API server sends.
pub use crate::io::retention::{Entry, read as read_policy};

/// How often the policies are looked at while nothing runs.
const LOOK: Duration = Duration::from_secs(10);
/// How often a run is looked at.
const PACE: Duration = Duration::from_secs(1);
/// How often a run's progress is stored.
const PROGRESS: Duration = Duration::from_secs(10);
/// So much of the lease has to be left to begin anything.
const LEAST_LEASE: Duration = Duration::from_secs(3);
/// Looks at deletions under way at the same time.
const AT_ONCE: usize = 8;

/// A plan with all that it was made from.
pub struct Planned {
    /// What there is.
    pub field: Field,
    /// Each policy, and what becomes of each snapshot under it.
    pub plans: Vec<(Pruning, Plan)>,
}

/// Plans for these policies; what one keeps, none of the others lets go.
///
/// # Errors
/// Something cannot be listed that a plan rests on.
pub async fn planned(
    client: &Client,
    desk: &Handle,
    policies: &[Pruning],
    now: jiff::Timestamp,
) -> Result<Option<Planned>, Unlisted> {
    let parts: BTreeSet<Part> = policies.iter().flat_map(Pruning::parts).map(|(part, _)| part).collect();
    let mut field = retention::gather(client, &parts).await?;
    let Some(drivers) = desk.drivers().await else { return Ok(None) };
    field.drivers = drivers;
    let alone: Vec<Plan> = policies.iter().map(|pruning| plan(&field, pruning, &[], now)).collect();
    let with_others = |(at, pruning): (usize, &Pruning)| {
        let others: Vec<&Plan> =
            alone.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, plan)| plan).collect();
        (pruning.clone(), plan(&field, pruning, &others, now))
    };
    let plans = policies.iter().enumerate().map(with_others).collect();
    Ok(Some(Planned { field, plans }))
}

/// What becomes of one object under one policy.
#[derive(Clone, Debug)]
pub struct Told {
    /// The policy.
    pub policy: Arc<str>,
    /// The part of it that decides.
    pub part: Part,
    /// That part's mode.
    pub mode: Mode,
    /// What becomes of it.
    pub fate: Fate,
}

/// A cluster being looked at for a plan. Everything stops when it is dropped.
pub struct Surveyor {
    /// The look.
    pub look: Look,
    client: Client,
}

/// Connects and begins to watch.
///
/// # Errors
/// When there is no usable kubeconfig or no API server behind it.
pub async fn surveyor(settings: &Settings, judge: engine::Settings) -> Result<Surveyor, AppError> {
    let client = connect(settings).await?;
    let (look, _) = looking(client.clone(), judge, &[]);
    Ok(Surveyor { look, client })
}

impl Surveyor {
    /// The policies of the cluster.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn policies(&self) -> Result<Vec<Pruning>, Unlisted> {
        Ok(retention::list(&self.client).await?.into_iter().map(|entry| entry.pruning).collect())
    }

    /// What becomes of one object under each policy of the cluster that says anything of it.
    ///
    /// # Errors
    /// Something cannot be listed that a plan rests on.
    pub async fn fates(&self, thing: Thing, key: &Key) -> Result<Vec<Told>, Unlisted> {
        let policies = self.policies().await?;
        if policies.is_empty() {
            return Ok(Vec::new());
        }
        let Some((Planned { field, plans }, _)) = self.plan(&policies).await? else { return Ok(Vec::new()) };
        let told = |(pruning, plan): &(Pruning, Plan)| {
            pruning.parts().find_map(|(part, mode)| {
                let is = |(item, _): &(Item, Fate)| {
                    field.object(*item).is_some_and(|object| object.thing() == thing && object.key() == key)
                };
                let (_, fate) = plan.of(part, &field).find(is)?;
                Some(Told { policy: Arc::clone(pruning.name()), part, mode, fate })
            })
        };
        Ok(plans.iter().filter_map(told).collect())
    }

    /// What each of these policies comes to, and when that was so.
    ///
    /// # Errors
    /// Something cannot be listed that a plan rests on.
    pub async fn plan(&self, policies: &[Pruning]) -> Result<Option<(Planned, jiff::Timestamp)>, Unlisted> {
        let Some(state) = self.look.desk.state().await else { return Ok(None) };
        let planned = planned(&self.client, &self.look.desk, policies, state.at).await?;
        Ok(planned.map(|planned| (planned, state.at)))
    }
}

/// The daemon's pruning.
pub(super) struct Pruner {
    client: Client,
    desk: Handle,
    lease: watch::Receiver<Option<Duration>>,
    clock: Clock,
    identity: Arc<str>,
    reporter: Reporter,
    active: Option<Active>,
    /// What went wrong last with a policy's plan: each is told once.
    troubled: BTreeMap<Arc<str>, String>,
    /// Whose turn it was last: one that cannot be served must not keep the others waiting.
    served: Arc<str>,
}

/// The run under way.
struct Active {
    entry: Entry,
    run: Run,
    hashes: BTreeMap<Part, Hash>,
    stored: Duration,
    /// When the policy was read last.
    read: Duration,
}

/// The engine's loop has ended.
struct Gone;

impl Pruner {
    pub(super) fn new(
        client: Client,
        desk: Handle,
        lease: watch::Receiver<Option<Duration>>,
        clock: Clock,
        identity: Arc<str>,
        reporter: Reporter,
    ) -> Self {
        let (active, troubled) = (None, BTreeMap::new());
        Self { client, desk, lease, clock, identity, reporter, active, troubled, served: "".into() }
    }

    pub(super) async fn run(mut self) -> String {
        loop {
            let pace = if self.active.is_some() { PACE } else { LOOK };
            self.clock.sleep_until(self.clock.now().mono + pace).await;
            if !self.leads() {
                // Whoever leads now finds the run in the policy's status, and closes it.
                self.active = None;
                continue;
            }
            let done = match self.active.take() {
                Some(active) => self.go_on(active).await,
                None => self.look_around().await,
            };
            if done.is_err() {
                return "the engine's loop has ended".to_owned();
            }
        }
    }

    fn leads(&self) -> bool {
        (*self.lease.borrow()).is_some_and(|until| until > self.clock.now().mono + LEAST_LEASE)
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    async fn store(&self, entry: &mut Entry) -> bool {
        let name = Arc::clone(entry.pruning.name());
        match hands::tell(&self.client, &name, retention::patch(entry), &self.lease, &self.clock).await {
            Ok(version) => {
                entry.version = version;
                true
            }
            Err(words) => {
                warn!(policy = &*name, %words, "the status of a SnapshotRetention was not stored");
                false
            }
        }
    }

    /// Takes up the first policy that is due.
    async fn look_around(&mut self) -> Result<(), Gone> {
        let entries = match retention::list(&self.client).await {
            Ok(entries) => entries,
            Err(error) => {
                warn!(%error, "SnapshotRetentions");
                return Ok(());
            }
        };
        let now = self.now().wall;
        let due = entries.iter().map(|entry| agenda::due(&entry.pruning, &entry.told, now));
        let due = due.enumerate().filter(|(_, due)| *due != Due::Nothing);
        let after = |(at, _): &(usize, Due)| {
            let name = entries.get(*at).map(|entry| entry.pruning.name());
            (name.is_none_or(|name| *name <= self.served), name.cloned())
        };
        let Some((at, due)) = due.min_by_key(after) else { return Ok(()) };
        let policies: Vec<Pruning> = entries.iter().map(|entry| entry.pruning.clone()).collect();
        let Some(mut entry) = entries.into_iter().nth(at) else { return Ok(()) };
        self.served = Arc::clone(entry.pruning.name());
        if due == Due::Close {
            retention::closed(&mut entry, now);
            retention::said(&mut entry, None, now);
            if self.store(&mut entry).await {
                self.tell_end(&entry).await;
            }
            return Ok(());
        }
        match planned(&self.client, &self.desk, &policies, now).await {
            Ok(Some(found)) => {
                let Planned { field, plans } = found;
                let Some((_, plan)) = plans.into_iter().nth(at) else { return Ok(()) };
                let trigger = if let Due::Run(trigger) = due { Some(trigger) } else { None };
                self.take_up(entry, &plan, &field, trigger).await;
                Ok(())
            }
            Ok(None) => Err(Gone),
            Err(error) => {
                // It stays due. Its status says why nothing happens, and no write follows another for nothing.
                let words = error.to_string();
                let known = entry.status.conditions.iter().any(|one| one.message == words);
                if self.troubled.insert(Arc::clone(entry.pruning.name()), words.clone()).as_ref() != Some(&words) {
                    telemetry::count_retention_failure(entry.pruning.name(), 1);
                }
                if !known {
                    let word = Word { warning: true, reason: "CannotPlan", action: "Plan", note: words.clone() };
                    self.tell_policy(&entry, &word).await;
                    retention::said(&mut entry, Some(&words), now);
                    self.store(&mut entry).await;
                }
                Ok(())
            }
        }
    }

    /// Says what a policy comes to, and begins its run if there is one to make.
    async fn take_up(&mut self, mut entry: Entry, plan: &Plan, field: &Field, trigger: Option<Trigger>) {
        let now = self.now();
        retention::notice(&mut entry, now.wall);
        let hashes = retention::looked(&mut entry, plan, field, now.wall);
        self.troubled.remove(entry.pruning.name());
        for (part, _) in entry.pruning.parts() {
            let counts = plan.counts_of(part, field);
            let counts = [counts.kept, counts.held, counts.going];
            telemetry::set_retention(entry.pruning.name(), part.as_str(), counts);
        }
        let Some(trigger) = trigger else {
            retention::said(&mut entry, None, now.wall);
            self.store(&mut entry).await;
            return;
        };
        let slot = agenda::scheduled(&entry.pruning, &entry.told, now.wall);
        let parts = agenda::parts(&entry.pruning, &entry.told, &hashes, trigger, now.wall);
        let run = Run::of_parts(plan, field, &entry.pruning, &parts);
        let carried: Vec<&Hash> = parts.iter().filter_map(|part| hashes.get(part)).collect();
        let begins = (carried.as_slice(), run.tally().planned);
        retention::begun(&mut entry, trigger, slot, begins, &self.identity, now.wall);
        if let Some((outcome, message)) = idle(&entry, plan, field, &run, &hashes, now.wall) {
            retention::ended(&mut entry, outcome, run.tally(), &message, now.wall);
            retention::said(&mut entry, None, now.wall);
            if self.store(&mut entry).await {
                self.tell_end(&entry).await;
            }
            return;
        }
        retention::said(&mut entry, None, now.wall);
        // Not stored, not begun.
        if self.store(&mut entry).await {
            info!(policy = &**entry.pruning.name(), planned = run.tally().planned, "a run begins");
            let note = format!("a run by {} deletes {} at most", trigger.as_str(), run.tally().planned);
            self.tell_policy(&entry, &Word { warning: false, reason: "PruningBegun", action: "Prune", note }).await;
            self.active = Some(Active { entry, run, hashes, stored: now.mono, read: now.mono });
        }
    }

    /// One round of a run: look at what was sent, send what may be sent.
    async fn go_on(&mut self, mut active: Active) -> Result<(), Gone> {
        self.verify(&mut active).await;
        let next: Vec<_> = active.run.next(self.now().mono).into_iter().map(|(at, one)| (at, one.clone())).collect();
        for (number, order) in next {
            let now = self.now();
            // As the policy was read last: an approval that is taken back or expires holds what is left.
            let hash = active.hashes.get(&order.part);
            let approved = hash.is_some_and(|hash| active.entry.told.approves(hash, now.wall));
            let ask = active.run.ask(&order, &active.entry.pruning, approved, active.read, now);
            let Some((judgement, guarded)) = self.desk.prune(ask).await else { return Err(Gone) };
            if let Some(guarded) = guarded {
                let (outcome, words) = hands::prune(&self.client, &guarded, &self.lease, &self.clock).await;
                info!(policy = &**active.entry.pruning.name(), object = %order, outcome = outcome.as_str(), words, "pruned");
                active.run.sent(number, outcome, &words, self.now().mono);
            } else if judgement.holds(Guard::Quiet) || judgement.holds(Guard::Consequence) {
                active.run.skip(number);
            } else if let Some((guard, verdict)) = judgement.held_by() {
                let why = match verdict {
                    Verdict::Wait { reason, .. } | Verdict::Refuse { reason } => format!("{guard}: {reason}"),
                    Verdict::Allow => guard.to_string(),
                };
                active.run.hold(why, now.mono);
                if matches!(verdict, Verdict::Refuse { .. }) {
                    active.run.end();
                }
                break;
            }
        }
        self.wind_up(active).await;
        Ok(())
    }

    async fn verify(&self, active: &mut Active) {
        let sent: Vec<_> = active.run.in_flight().map(|(number, order)| (number, order.clone())).collect();
        let looks = stream::iter(sent)
            .map(|(number, order)| async move { (number, retention::seen(&self.client, &order).await) });
        let seen: Vec<_> = looks.buffered(AT_ONCE).collect().await;
        for (number, seen) in seen {
            if let Some(order) = active.run.seen(number, seen, self.now().mono) {
                telemetry::count_pruned(active.entry.pruning.name(), order.part.as_str(), 1);
                self.tell_gone(&active.entry, &order).await;
            }
        }
    }

    /// Says on an object that it was deleted, and by which policy.
    async fn tell_gone(&self, entry: &Entry, order: &Order) {
        let why = match order.part {
            Part::Snapshots => "no count keeps it".to_owned(),
            part => part.field().to_owned(),
        };
        let note = format!("deleted by SnapshotRetention {}: {why}", entry.pruning.name());
        let about =
            About { version: order.thing.api_version(), kind: order.thing.as_str(), key: &order.key, uid: &order.uid };
        let word = Word { warning: false, reason: "Pruned", action: "Prune", note };
        self.reporter.say(about, &word, self.now().wall).await;
    }

    async fn tell_policy(&self, entry: &Entry, word: &Word) {
        let version = format!("{}/{}", crate::api::GROUP, crate::api::VERSION);
        let key = Key::cluster(&**entry.pruning.name());
        let about = About { version: &version, kind: "SnapshotRetention", key: &key, uid: &entry.uid };
        self.reporter.say(about, word, self.now().wall).await;
    }

    /// Tells how the last run ended.
    async fn tell_end(&self, entry: &Entry) {
        let Some(record) = entry.status.history.first() else { return };
        let RunRecord { trigger, outcome, started_at, finished_at, hanging, message, .. } = record;
        let took = crate::domain::words::age(*finished_at, *started_at);
        let policy = entry.pruning.name();
        telemetry::retention_ran(policy, trigger.as_str(), outcome.as_str(), super::seconds(*finished_at), took);
        telemetry::count_retention_failure(policy, u64::from(*hanging));
        let (warning, reason) = match outcome {
            RunOutcome::Done | RunOutcome::Observed => (false, "PruningDone"),
            RunOutcome::AwaitingApproval => (false, "ApprovalNeeded"),
            RunOutcome::Partly => (true, "PruningPartly"),
            RunOutcome::Refused => (true, "PruningRefused"),
            RunOutcome::Interrupted => (true, "PruningInterrupted"),
            RunOutcome::Failed => (true, "PruningFailed"),
        };
        self.tell_policy(entry, &Word { warning, reason, action: "Prune", note: message.clone() }).await;
    }

    /// Stores how far the run is; its end, if that has come.
    async fn wind_up(&mut self, mut active: Active) {
        let now = self.now();
        let over = active.run.over();
        if !over && now.mono.saturating_sub(active.stored) < PROGRESS {
            self.active = Some(active);
            return;
        }
        // What was set meanwhile counts: a policy that is suspended stops its run.
        let fresh = retention::list(&self.client).await;
        let fresh = fresh.map(|all| all.into_iter().find(|one| one.pruning.name() == active.entry.pruning.name()));
        match fresh {
            Ok(Some(fresh)) if ours(&fresh, &active.entry) => {
                let status = std::mem::take(&mut active.entry.status);
                let same = fresh.told.generation == active.entry.told.generation;
                active.entry = Entry { status, ..fresh };
                active.read = now.mono;
                retention::notice(&mut active.entry, now.wall);
                if !same {
                    active.run.hold("a change of the policy".to_owned(), now.mono);
                    active.run.end();
                }
            }
            // Somebody closed it, or the policy is gone: nothing more is sent.
            Ok(_) => return,
            Err(_) => {
                self.active = Some(active);
                return;
            }
        }
        let Active { entry, run, .. } = &mut active;
        let news = retention::progressed(entry, run.tally(), run.held());
        let mut told = entry.clone();
        if over {
            let (outcome, message) = result(run);
            retention::ended(&mut told, outcome, run.tally(), &message, now.wall);
            info!(policy = &**entry.pruning.name(), message, "a run is over");
        }
        retention::said(&mut told, None, now.wall);
        active.stored = now.mono;
        let stored = !(news || over) || self.store(&mut told).await;
        if stored && over {
            if active.run.tally().refused.is_some() {
                telemetry::count_retention_failure(told.pruning.name(), 1);
            }
            self.tell_end(&told).await;
            return;
        }
        // An end that could not be stored is told again: nothing is left that could be sent.
        active.entry.version = told.version;
        self.active = Some(active);
    }
}

/// The run in its status is still the one that we began.
fn ours(fresh: &Entry, known: &Entry) -> bool {
    let began = |entry: &Entry| entry.status.run.as_ref().map(|run| (run.by.clone(), run.started_at));
    began(fresh).is_some() && began(fresh) == began(known)
}

/// Why a run deletes nothing, if it does not.
fn idle(
    entry: &Entry,
    plan: &Plan,
    field: &Field,
    run: &Run,
    hashes: &BTreeMap<Part, Hash>,
    now: jiff::Timestamp,
) -> Option<(RunOutcome, String)> {
    if let Some(why) = &plan.refused {
        return Some((RunOutcome::Refused, format!("nothing is deleted: {why}")));
    }
    if run.tally().planned > 0 {
        return None;
    }
    let (mut observed, mut awaiting) = (Vec::new(), Vec::new());
    for (part, mode) in entry.pruning.parts() {
        let going = plan.counts_of(part, field).going;
        let what = if part == Part::Snapshots { String::new() } else { format!(" by {}", part.field()) };
        match (mode, hashes.get(&part)) {
            _ if going == 0 => {}
            (Mode::Approve, Some(hash)) if !entry.told.approves(hash, now) => {
                let name = entry.pruning.name();
                let how =
                    format!("kubectl annotate snapshotretention {name} volwarden.dev/approved={hash} --overwrite");
                awaiting.push(format!("{going} would go{what}; approve this plan: {how}"));
            }
            (Mode::Observe, _) => observed.push(format!("{going} would go{what}; mode Observe deletes nothing")),
            // It goes with the next run by schedule or on request.
            _ => {}
        }
    }
    let outcome = match (awaiting.is_empty(), observed.is_empty()) {
        (false, _) => RunOutcome::AwaitingApproval,
        (true, false) => RunOutcome::Observed,
        (true, true) => {
            let counts = plan.counts();
            let message = format!("nothing is to go; {} are kept, {} held", counts.kept, counts.held);
            return Some((RunOutcome::Done, message));
        }
    };
    awaiting.append(&mut observed);
    Some((outcome, awaiting.join("; ")))
}

/// How a run ended.
fn result(run: &Run) -> (RunOutcome, String) {
    let tally = run.tally();
    let mut parts = vec![format!("{} of {} are deleted and gone", tally.deleted, tally.planned)];
    if tally.hanging > 0 {
        let names: Vec<String> = run.hanging().take(3).map(ToString::to_string).collect();
        parts.push(format!("{} deletions hang ({}); see `volwarden why KIND NAME`", tally.hanging, names.join(", ")));
    }
    if tally.changed > 0 {
        parts.push(format!("{} had changed since the plan and were left alone", tally.changed));
    }
    if let Some(words) = &tally.refused {
        parts.push(format!("the API server refused: {words}"));
    }
    if let Some(why) = run.held() {
        parts.push(format!("the rest was held by {why}"));
    }
    let outcome = if tally.deleted == tally.planned { RunOutcome::Done } else { RunOutcome::Partly };
    (outcome, parts.join("; "))
}
