//! The daemon's pruning on virtual time: lists, a plan made of them, and its deletions one by one.
//!
//! It stands for `app::prune`, `io::retention` and `io::act::prune`. What is due, what may go and in which order is
//! decided by the same code as in the daemon, and the same guards let each deletion out. Lists take their time, so that
//! a plan is old when it is carried out; the process may end at any moment, and what it had sent may still happen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::journal::{Entry, What};
use super::leader::MANAGER;
use super::lists::{contents, others, readable, verify};
use super::wire::{Flight, Reply};
use super::writes::{self, Sky};
use super::{Broken, Doom, Moment, Reading, Weather};
use crate::api::retention::RunOutcome;
use crate::domain::digest::Hash;
use crate::domain::engine::Engine;
use crate::domain::fact::Source;
use crate::domain::guard::{Guard, Verdict};
use crate::domain::ledger::Outcome;
use crate::domain::policy::Mode;
use crate::domain::prune::agenda::{self, Due, Trigger};
use crate::domain::prune::field::Field;
use crate::domain::prune::part::Part;
use crate::domain::prune::plan::{Plan, plan};
use crate::domain::prune::run::{Order, Run};
use crate::io::retention::gather::Assembly;
use crate::io::retention::{self, Entry as Policy};
use crate::sim::cluster::Cluster;
use crate::sim::process::draw;
use crate::sim::store::{DeleteOptions, Part as Subresource, Patch, Refusal, object, table};

/// How often policies are looked at while nothing runs, a run is looked at, and its progress is stored.
const LOOK: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_secs(1);
const PROGRESS: Duration = Duration::from_secs(10);
/// So much of the lease has to be left to begin anything.
const LEAST_LEASE: Duration = Duration::from_secs(3);
/// Patience for the status.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a list takes; and when everything is slow.
const LATENCY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(900));
const SLOWNESS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(20));
/// The run under way.
#[derive(Debug)]
struct Active {
    policy: Policy,
    run: Run,
    hashes: BTreeMap<Part, Hash>,
    stored: Duration,
    /// When the policy was read last.
    read: Duration,
}

/// Lists on their way: the contents come first.
#[derive(Debug)]
struct Listing {
    of: Arc<str>,
    due: Due,
    contents: Option<Assembly>,
    at: Duration,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is under way.
    Idle,
    Listing(Box<Listing>),
    /// A status is on its way; then this goes on, with the version it is stored in.
    Telling(Option<Box<Active>>, Over),
    Running(Box<Active>),
    /// The deletion of this number is on its way, and these come after it.
    Deleting(Box<Active>, usize, VecDeque<(usize, Order)>),
}

/// Whether a run ends with the status that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// It begins: not stored, not begun.
    Begins,
    /// It goes on either way.
    GoesOn,
    /// It ends, once that is stored.
    Ends,
}

/// What is sent.
#[derive(Debug)]
enum Errand {
    Tell(Value),
    Delete(Box<Order>),
}

#[derive(Debug)]
struct Sent {
    flight: Flight,
    errand: Errand,
    policy: Arc<str>,
    by: Arc<str>,
    come_to: ComeTo,
}

/// What became of something that was sent.
#[derive(Debug)]
enum ComeTo {
    /// It has not arrived.
    OnItsWay,
    /// It never does.
    Lost,
    /// The server's answer.
    Answered(Result<Arc<Value>, Refusal>),
}

/// All of it; see the module.
#[derive(Debug)]
pub(super) struct Pruner {
    identity: Arc<str>,
    stage: Stage,
    sent: Option<Sent>,
    /// What a process had sent before it ended.
    left_behind: Vec<Sent>,
    next: Duration,
    served: Arc<str>,
    /// Policies that were read before, with the objects they were read of.
    known: Vec<(Arc<Value>, Arc<Policy>)>,
    broken: Option<Broken>,
    rng: Rng,
}

impl Pruner {
    pub(super) fn new(identity: &Arc<str>, at: Duration, broken: Option<Broken>, rng: Rng) -> Self {
        Self {
            identity: Arc::clone(identity),
            stage: Stage::Idle,
            sent: None,
            left_behind: Vec::new(),
            next: at + LOOK,
            served: Arc::from(""),
            known: Vec::new(),
            broken,
            rng,
        }
    }

    /// The process ends and another one begins.
    pub(super) fn restart(&mut self, identity: &Arc<str>, at: Duration) {
        let under_way = self.sent.take().filter(Sent::is_on_its_way);
        if self.rng.bool() {
            self.left_behind.extend(under_way);
        }
        self.identity = Arc::clone(identity);
        self.stage = Stage::Idle;
        self.served = Arc::from("");
        self.next = at + LOOK;
    }

    /// When something arrives at the server.
    pub(super) fn arrives(&self) -> Option<Duration> {
        let waits = self.sent.iter().chain(&self.left_behind).filter(|sent| sent.is_on_its_way());
        waits.map(|sent| sent.flight.arrives).min()
    }

    /// When the process has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        match &self.sent {
            Some(sent) => (!sent.is_on_its_way()).then_some(sent.flight.answered),
            None => Some(self.next),
        }
    }

    /// What has come to the server by now.
    pub(super) fn arrive(&mut self, at: Duration, cluster: &mut Cluster, journal: &mut Vec<Entry>) {
        let broken = self.broken;
        if let Some(sent) = self.sent.as_mut().filter(|sent| sent.is_on_its_way() && sent.flight.arrives <= at) {
            sent.come_to = if sent.flight.happens {
                ComeTo::Answered(sent.happen(at, broken, cluster, journal))
            } else {
                ComeTo::Lost
            };
        }
        for sent in self.left_behind.extract_if(.., |sent| sent.flight.arrives <= at) {
            if sent.flight.happens {
                let _ = sent.happen(at, broken, cluster, journal);
            }
        }
    }

    /// Does what is due; whether the process ends over it.
    pub(super) fn advance(&mut self, sky: Sky<'_>, engine: &Engine, cluster: &Cluster, doom: &mut Doom) -> bool {
        while self.due().is_some_and(|due| due <= sky.at()) {
            if self.go_on(sky, engine, cluster, doom) {
                return true;
            }
        }
        false
    }

    fn go_on(&mut self, sky: Sky<'_>, engine: &Engine, cluster: &Cluster, doom: &mut Doom) -> bool {
        let sent = self.sent.take();
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        match (stage, sent) {
            (Stage::Telling(active, over), Some(sent)) => {
                self.told(active, over, sent.heard(), sky.at());
                false
            }
            (Stage::Deleting(mut active, number, rest), Some(sent)) => {
                let (outcome, words) = match sent.heard() {
                    Ok(_) => (Outcome::Applied, "the server took it".to_owned()),
                    Err(Some(refusal)) => (writes::outcome(&refusal), refusal.message),
                    Err(None) => (Outcome::Unreachable, "timed out".to_owned()),
                };
                active.run.sent(number, outcome, &words, sky.now.mono);
                self.send_next(active, rest, sky, engine, cluster, doom)
            }
            (stage, _) => {
                if sky.left() <= LEAST_LEASE {
                    // Whoever leads now finds the run in the policy's status, and closes it.
                    self.next = sky.at() + LOOK;
                    return false;
                }
                match stage {
                    Stage::Listing(listing) => self.list(*listing, sky, engine, cluster, doom),
                    Stage::Running(mut active) => {
                        verify(&mut active.run, sky, cluster);
                        let next = active.run.next(sky.now.mono).into_iter();
                        let next = next.map(|(number, order)| (number, order.clone())).collect();
                        self.send_next(active, next, sky, engine, cluster, doom)
                    }
                    _ => self.look_around(sky, cluster, doom),
                }
            }
        }
    }

    fn rest(&mut self, at: Duration, pace: Duration) -> bool {
        self.next = at + pace;
        false
    }

    fn run_on(&mut self, active: Box<Active>, at: Duration) -> bool {
        self.stage = Stage::Running(active);
        self.rest(at, PACE)
    }

    // === What is due ===

    fn look_around(&mut self, sky: Sky<'_>, cluster: &Cluster, doom: &mut Doom) -> bool {
        let at = sky.at();
        let Some(policies) = self.policies(sky.weather, cluster) else { return self.rest(at, LOOK) };
        let due = policies.iter().map(|one| (agenda::due(&one.pruning, &one.told, sky.now.wall), one));
        let due = due.filter(|(due, _)| *due != Due::Nothing);
        let after =
            |(_, one): &(Due, &Arc<Policy>)| (*one.pruning.name() <= self.served, Arc::clone(one.pruning.name()));
        let Some((due, policy)) = due.min_by_key(after) else { return self.rest(at, LOOK) };
        self.served = Arc::clone(policy.pruning.name());
        if due == Due::Close {
            let mut policy = Policy::clone(policy);
            retention::closed(&mut policy, sky.now.wall);
            retention::said(&mut policy, None, sky.now.wall);
            return self.tell(&policy, None, Over::GoesOn, sky, doom);
        }
        let listing = Listing { of: Arc::clone(policy.pruning.name()), due, contents: None, at: self.takes(sky) };
        self.next = listing.at;
        self.stage = Stage::Listing(Box::new(listing));
        false
    }

    /// The policies, by name; `None`: they cannot be read.
    fn policies(&mut self, weather: &Weather, cluster: &Cluster) -> Option<Vec<Arc<Policy>>> {
        if !readable(weather, &[Source::Policies]) {
            return None;
        }
        let all: Vec<&Arc<Value>> = cluster.store.list(table::RETENTIONS, None).collect();
        // A schedule takes longer to read than all the rest of a look.
        let same = all.len() == self.known.len()
            && all.iter().zip(&self.known).all(|(one, (known, _))| Arc::ptr_eq(one, known));
        if !same {
            let read = |one: &Arc<Value>| Some((Arc::clone(one), Arc::new(retention::read(&one.to_string())?)));
            self.known = all.into_iter().filter_map(read).collect();
        }
        Some(self.known.iter().map(|(_, policy)| Arc::clone(policy)).collect())
    }

    fn takes(&mut self, sky: Sky<'_>) -> Duration {
        let (least, most) = if sky.weather.reads == Reading::Slow { SLOWNESS } else { LATENCY };
        sky.at() + draw(&mut self.rng, least, most)
    }

    /// One list has come: the contents, or all the others.
    fn list(
        &mut self,
        mut listing: Listing,
        sky: Sky<'_>,
        engine: &Engine,
        cluster: &Cluster,
        doom: &mut Doom,
    ) -> bool {
        let at = sky.at();
        let Some(assembly) = listing.contents.take() else {
            let Some(assembly) = contents(sky.weather, cluster) else { return self.rest(at, LOOK) };
            let listing = Listing { contents: Some(assembly), at: self.takes(sky), ..listing };
            self.next = listing.at;
            self.stage = Stage::Listing(Box::new(listing));
            return false;
        };
        let (Some(mut field), Some(policies)) =
            (others(assembly, sky.weather, cluster), self.policies(sky.weather, cluster))
        else {
            return self.rest(at, LOOK);
        };
        field.drivers = engine.sight_drivers(sky.now);
        if self.broken == Some(Broken::PrunesLast) {
            field.cuts.iter_mut().for_each(|cut| cut.marks.prune_last = true);
        }
        let Some(at_place) = policies.iter().position(|one| *one.pruning.name() == listing.of) else {
            return self.rest(at, LOOK);
        };
        let alone: Vec<Plan> = policies.iter().map(|one| plan(&field, &one.pruning, &[], sky.now.wall)).collect();
        let others: Vec<&Plan> =
            alone.iter().enumerate().filter(|(place, _)| *place != at_place).map(|(_, plan)| plan).collect();
        let Some(policy) = policies.into_iter().nth(at_place) else { return self.rest(at, LOOK) };
        let plan = plan(&field, &policy.pruning, &others, sky.now.wall);
        self.take_up(Arc::unwrap_or_clone(policy), &plan, &field, listing.due, sky, doom)
    }

    /// Says what a policy comes to, and begins its run if there is one to make.
    fn take_up(
        &mut self,
        mut policy: Policy,
        plan: &Plan,
        field: &Field,
        due: Due,
        sky: Sky<'_>,
        doom: &mut Doom,
    ) -> bool {
        let wall = sky.now.wall;
        retention::notice(&mut policy, wall);
        let hashes = retention::looked(&mut policy, plan, field, wall);
        let Due::Run(trigger) = due else {
            retention::said(&mut policy, None, wall);
            return self.tell(&policy, None, Over::GoesOn, sky, doom);
        };
        let slot = agenda::scheduled(&policy.pruning, &policy.told, wall).filter(|_| trigger == Trigger::Schedule);
        let parts = agenda::parts(&policy.pruning, &policy.told, &hashes, trigger, wall);
        let run = Run::of_parts(plan, field, &policy.pruning, &parts);
        let carried: Vec<&Hash> = parts.iter().filter_map(|part| hashes.get(part)).collect();
        retention::begun(&mut policy, trigger, slot, (&carried, run.tally().planned), &self.identity, wall);
        if let Some(outcome) = idle(&policy, plan, &run) {
            retention::ended(&mut policy, outcome, run.tally(), "nothing is deleted", wall);
            retention::said(&mut policy, None, wall);
            return self.tell(&policy, None, Over::GoesOn, sky, doom);
        }
        retention::said(&mut policy, None, wall);
        let active = Active { policy: policy.clone(), run, hashes, stored: sky.now.mono, read: sky.now.mono };
        self.tell(&policy, Some(Box::new(active)), Over::Begins, sky, doom)
    }

    // === The status ===

    fn tell(
        &mut self,
        policy: &Policy,
        active: Option<Box<Active>>,
        over: Over,
        sky: Sky<'_>,
        doom: &mut Doom,
    ) -> bool {
        if doom.meets(Moment::Unsent) {
            return true;
        }
        let patience = PATIENCE.min(sky.left());
        self.stage = Stage::Telling(active, over);
        let errand = Errand::Tell(retention::patch(policy));
        self.send(Arc::clone(policy.pruning.name()), errand, patience, sky);
        false
    }

    fn send(&mut self, policy: Arc<str>, errand: Errand, patience: Duration, sky: Sky<'_>) {
        let flight = Flight::send(&mut self.rng, sky.weather.writes, sky.at(), patience);
        self.sent = Some(Sent { flight, errand, policy, by: Arc::clone(&self.identity), come_to: ComeTo::OnItsWay });
    }

    fn told(&mut self, active: Option<Box<Active>>, over: Over, heard: Heard, at: Duration) {
        self.next = at + LOOK;
        let stored = heard.is_ok();
        let ends = if over == Over::Begins { !stored } else { over == Over::Ends && stored };
        if let Some(mut active) = active.filter(|_| !ends) {
            if let Ok(object) = heard {
                active.policy.version = object::text(&object, "/metadata/resourceVersion").into();
            }
            self.run_on(active, at);
        }
    }

    // === Deletions ===

    /// Sends the first of these that may be sent.
    fn send_next(
        &mut self,
        mut active: Box<Active>,
        mut rest: VecDeque<(usize, Order)>,
        sky: Sky<'_>,
        engine: &Engine,
        cluster: &Cluster,
        doom: &mut Doom,
    ) -> bool {
        while let Some((number, order)) = rest.pop_front() {
            let hash = active.hashes.get(&order.part);
            let approved = hash.is_some_and(|hash| active.policy.told.approves(hash, sky.now.wall));
            let ask = active.run.ask(&order, &active.policy.pruning, approved, active.read, sky.now);
            let (judgement, guarded) = engine.judge_prune(&ask, sky.now);
            if let Some(guarded) = guarded {
                if doom.meets(Moment::Unsent) {
                    return true;
                }
                let until = sky.clock.time_of(guarded.deadline()).saturating_sub(sky.at()).min(sky.left());
                let name = Arc::clone(active.policy.pruning.name());
                self.send(name, Errand::Delete(Box::new(guarded.order().clone())), until, sky);
                self.stage = Stage::Deleting(active, number, rest);
                return false;
            } else if judgement.holds(Guard::Quiet) || judgement.holds(Guard::Consequence) {
                active.run.skip(number);
            } else if let Some((guard, verdict)) = judgement.held_by() {
                active.run.hold(guard.to_string(), sky.now.mono);
                if matches!(verdict, Verdict::Refuse { .. }) {
                    active.run.end();
                }
                break;
            }
        }
        self.wind_up(active, sky, cluster, doom)
    }

    /// Stores how far the run is; its end, if that has come.
    fn wind_up(&mut self, mut active: Box<Active>, sky: Sky<'_>, cluster: &Cluster, doom: &mut Doom) -> bool {
        let at = sky.at();
        let over = active.run.over();
        if !over && sky.now.mono.saturating_sub(active.stored) < PROGRESS {
            return self.run_on(active, at);
        }
        let Some(policies) = self.policies(sky.weather, cluster) else { return self.run_on(active, at) };
        let fresh = policies.into_iter().find(|one| one.pruning.name() == active.policy.pruning.name());
        let began = |policy: &Policy| policy.status.run.as_ref().map(|run| (run.by.clone(), run.started_at));
        let ours = |fresh: &Arc<Policy>| began(fresh).is_some() && began(fresh) == began(&active.policy);
        // Somebody closed it, or the policy is gone: nothing more is sent.
        let Some(fresh) = fresh.filter(ours) else { return self.rest(at, LOOK) };
        let status = std::mem::take(&mut active.policy.status);
        let same = fresh.told.generation == active.policy.told.generation;
        active.policy = Policy { status, ..Arc::unwrap_or_clone(fresh) };
        retention::notice(&mut active.policy, sky.now.wall);
        active.read = sky.now.mono;
        if !same {
            active.run.hold("a change of the policy".to_owned(), sky.now.mono);
            active.run.end();
        }
        let Active { policy, run, .. } = &mut *active;
        let news = retention::progressed(policy, run.tally(), run.held());
        let mut told = policy.clone();
        if over {
            let tally = run.tally();
            let outcome = if tally.deleted == tally.planned { RunOutcome::Done } else { RunOutcome::Partly };
            retention::ended(&mut told, outcome, tally, "it is over", sky.now.wall);
        }
        retention::said(&mut told, None, sky.now.wall);
        active.stored = sky.now.mono;
        if !(news || over) {
            return self.run_on(active, at);
        }
        self.tell(&told, Some(active), if over { Over::Ends } else { Over::GoesOn }, sky, doom)
    }
}

/// What came back: the object, a refusal, or nothing.
type Heard = Result<Arc<Value>, Option<Refusal>>;

impl Sent {
    fn is_on_its_way(&self) -> bool {
        matches!(self.come_to, ComeTo::OnItsWay)
    }

    fn heard(self) -> Heard {
        match (self.flight.reply, self.come_to) {
            (Reply::Refusal(refusal), _) | (Reply::Servers, ComeTo::Answered(Err(refusal))) => Err(Some(refusal)),
            (Reply::Servers, ComeTo::Answered(Ok(object))) => Ok(object),
            (Reply::Nothing, _) | (Reply::Servers, ComeTo::OnItsWay | ComeTo::Lost) => Err(None),
        }
    }

    fn happen(
        &self,
        at: Duration,
        broken: Option<Broken>,
        cluster: &mut Cluster,
        journal: &mut Vec<Entry>,
    ) -> Result<Arc<Value>, Refusal> {
        let (resource, namespace, name) = match &self.errand {
            Errand::Tell(_) => (table::RETENTIONS, String::new(), self.policy.to_string()),
            Errand::Delete(order) => (table::SNAPSHOTS, order.key.namespace.to_string(), order.key.name.to_string()),
        };
        let before = cluster.store.get(resource, &namespace, &name).ok();
        let policy = cluster.store.get(table::RETENTIONS, "", &self.policy).ok();
        let writer = cluster.writer(MANAGER);
        let store = &mut cluster.store;
        let (what, after) = match &self.errand {
            Errand::Tell(patch) => {
                let patch = Patch::Merge(patch.clone());
                (What::Retention, store.patch(writer, resource, &namespace, &name, Subresource::Status, &patch))
            }
            Errand::Delete(order) => {
                let resource_version = (broken != Some(Broken::StaleView)).then(|| order.version.to_string());
                let options =
                    DeleteOptions { uid: Some(order.uid.to_string()), resource_version, ..DeleteOptions::default() };
                (What::Prune(order.clone()), store.delete(writer, resource, &namespace, &name, &options))
            }
        };
        let answer = after.clone();
        journal.push(Entry {
            at,
            by: Arc::clone(&self.by),
            what,
            resource,
            namespace,
            name,
            before,
            after,
            intent: policy,
        });
        answer
    }
}

/// Why a run deletes nothing, if it does not.
fn idle(policy: &Policy, plan: &Plan, run: &Run) -> Option<RunOutcome> {
    if plan.refused.is_some() {
        return Some(RunOutcome::Refused);
    }
    if run.tally().planned > 0 {
        return None;
    }
    let going = plan.counts().going > 0;
    Some(match policy.pruning.mode() {
        Mode::Observe if going => RunOutcome::Observed,
        Mode::Approve if going => RunOutcome::AwaitingApproval,
        _ => RunOutcome::Done,
    })
}
