//! A plan, and what is then done: both on the same world, frozen at a moment when something is wrong.
//!
//! Nothing happens in it any more but that leaders renew and watches give their signs of life. Beside it stand the
//! engine of `volwarden plan` and that of a daemon that watches and does not lead; in one instant the first one plans
//! and the second one begins to lead. It exists to catch a plan that shows something else than what is then done. Both
//! have looked for equally long: who has seen too little says so, and holds.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::json;

use super::home::Home;
use super::inject::Injector;
use super::moment::{self, Moment};
use super::script::{OVER, Scenario};
use super::tenants::Tenants;
use super::truth;
use crate::domain::engine::{Effect, Engine, Settings};
use crate::domain::fact::{Change, Fact, Now, Source, SourceChange};
use crate::domain::guard::Guarded;
use crate::domain::ledger::Record;
use crate::domain::name::{Key, fingerprint};
use crate::domain::plan::Course;
use crate::domain::record::{Lease, Left};
use crate::domain::remedy::Step;
use crate::sim::cluster::Cluster;
use crate::sim::daemon::{answer, listed, read};

/// The cluster stands, and the first faults have begun.
const EARLIEST: Duration = Duration::from_secs(15 * 60);
/// Whether something is wrong is looked at this often.
const STRIDE: Duration = Duration::from_secs(60);
/// So long something has to be stuck before the world is frozen.
const STUCK: Duration = Duration::from_secs(60);
/// The daemon has watched for so long when it begins to lead: everything was seen as often as it has to be.
const WATCHED: Duration = Duration::from_secs(400);
/// Unless something was found so shortly before that it has not been.
const SEEN: Duration = Duration::from_secs(150);
/// It leads at the latest then: some things are found again and again.
const LATEST: Duration = Duration::from_secs(900);
/// Leaders renew this often.
const BEAT: Duration = Duration::from_secs(5);

/// Our own lease is good for so long when it was taken.
const LED: Duration = Duration::from_secs(10);

/// A step and the hash of its action.
pub type Done = (Step, String);

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// What `plan` says would be done now.
    pub planned: BTreeSet<Done>,
    /// What the daemon does at once.
    pub done: BTreeSet<Done>,
    /// What stood in the plan and was held.
    pub held: usize,
}

/// Plans and enforces on the world of one seed; `None` where its cluster cannot be built, or nothing ever goes wrong.
#[must_use]
pub fn rehearse(seed: u64) -> Option<Rehearsal> {
    let home = gone_wrong(seed)?;
    let frozen = Frozen::of(&home)?;
    let (mut planner, mut daemon) = (Head::new(&frozen, true), Head::new(&frozen, false));
    let mut end = WATCHED;
    daemon.begin(Duration::ZERO);
    daemon.live(Duration::ZERO, end);
    while frozen.now(end).mono < daemon.found + SEEN && end < LATEST {
        daemon.live(end, end + BEAT);
        end += BEAT;
    }
    planner.begin(Duration::ZERO);
    planner.live(Duration::ZERO, end);

    let now = frozen.now(end);
    let mut come_to = Rehearsal { planned: BTreeSet::new(), done: BTreeSet::new(), held: 0 };
    for (_, course) in planner.engine.plan(now) {
        match course {
            Course::Step(step) if step.guarded.is_some() => {
                come_to.planned.insert((step.action.step, step.hash.as_str().to_owned()));
            }
            Course::Step(_) => come_to.held += 1,
            Course::Standing { .. } | Course::Exhausted(_) | Course::Repaired => {}
        }
    }
    daemon.feed(Fact::Leadership(Some(now.mono + LED)), now);
    come_to.done = daemon.acts.iter().map(|act| (act.action().step, act.hash().as_str().to_owned())).collect();
    Some(come_to)
}

/// The cluster of this seed at a moment when something is stuck.
fn gone_wrong(seed: u64) -> Option<Home> {
    let mut home = Home::new(seed).ok()?;
    let scenario = match seed % 3 {
        0 => "repairs",
        1 => "people",
        _ => "programs",
    };
    let mut injector = Injector::new(&Scenario::named(scenario)?.script(seed));
    let mut tenants = Tenants::new(seed, home.parts.apps.len());
    let latest = OVER.saturating_sub(EARLIEST).as_secs();
    let mut end = EARLIEST + Duration::from_secs(Rng::with_seed(seed ^ 0xF7EE).u64(..latest));
    while end < OVER {
        loop {
            let next = injector.next_at().min(tenants.next_at()).min(end);
            home.cluster.run_until(next);
            let now = home.cluster.now().mono;
            if injector.next_at() <= now {
                injector.act(&mut home, &mut []);
            }
            if tenants.next_at() <= now {
                tenants.act(&mut home);
            }
            if now >= end {
                break;
            }
        }
        if !truth::stuck(&VecDeque::from([Moment::take(&home.cluster, moment::all_places(&home.cluster))]), STUCK)
            .is_empty()
        {
            return Some(home);
        }
        end += STRIDE;
    }
    None
}

/// The world as it stands still.
struct Frozen<'a> {
    cluster: &'a Cluster,
    facts: Vec<Fact>,
    /// Leases whose holders renew them.
    renewed: Vec<(Key, Lease)>,
}

impl<'a> Frozen<'a> {
    fn of(home: &'a Home) -> Option<Self> {
        let cluster = &home.cluster;
        let mut facts = Vec::new();
        for source in Source::ALL {
            facts.push(Fact::Source(source, SourceChange::ListBegan));
            if source != Source::Policies {
                facts.extend(listed(source, &cluster.store));
            }
            facts.push(Fact::Source(source, SourceChange::ListEnded));
        }
        let mut spec = home.governance.spec.clone();
        spec.as_object_mut()?.insert("mode".to_owned(), "Enforce".into());
        let metadata = json!({"name": "main", "uid": "tried", "resourceVersion": "1"});
        facts.extend(read(Source::Policies, &json!({"metadata": metadata, "spec": spec})));
        let wall = cluster.now().wall;
        let renewed = facts.iter().filter_map(|fact| match fact {
            Fact::Lease(Change::Applied(key, lease)) if is_renewed(lease, wall) => Some((key.clone(), lease.clone())),
            _ => None,
        });
        Some(Self { cluster, renewed: renewed.collect(), facts })
    }

    /// So long after it was frozen.
    fn now(&self, after: Duration) -> Now {
        let now = self.cluster.now();
        Now { wall: now.wall.saturating_add(after).unwrap_or(now.wall), mono: now.mono + after }
    }
}

fn is_renewed(lease: &Lease, wall: Timestamp) -> bool {
    let held = lease.renewed.zip(lease.duration).filter(|_| !lease.holder.is_empty());
    held.is_some_and(|(at, duration)| at.saturating_add(duration).is_ok_and(|until| until >= wall))
}

/// An engine on the frozen world. Its reads are answered and its records stored; its actions are taken note of.
struct Head<'a> {
    frozen: &'a Frozen<'a>,
    engine: Engine,
    version: u64,
    acts: Vec<Guarded>,
    /// When something was found last.
    found: Duration,
}

impl<'a> Head<'a> {
    fn new(frozen: &'a Frozen<'a>, eager: bool) -> Self {
        let settings = Settings { eager, identity: Arc::from("frozen"), ..Settings::default() };
        Self { frozen, engine: Engine::new(settings), version: 1, acts: Vec::new(), found: Duration::ZERO }
    }

    /// Begins to look so long after the world was frozen.
    fn begin(&mut self, at: Duration) {
        for fact in &self.frozen.facts {
            self.feed(fact.clone(), self.frozen.now(at));
        }
    }

    /// Looks on from then until then.
    fn live(&mut self, from: Duration, until: Duration) {
        let mut at = from;
        while at < until {
            let beat = (at + BEAT).min(until);
            let began = self.frozen.cluster.now().mono;
            while let Some(wake) = self.engine.wake_at().map(|wake| wake.saturating_sub(began)).filter(|at| *at < beat)
            {
                at = at.max(wake) + Duration::from_millis(1);
                self.feed(Fact::Tick, self.frozen.now(at));
            }
            at = beat;
            self.beat(self.frozen.now(at));
        }
    }

    fn beat(&mut self, now: Now) {
        for (key, lease) in &self.frozen.renewed {
            let lease = Lease { renewed: Some(now.wall), ..lease.clone() };
            self.feed(Fact::Lease(Change::Applied(key.clone(), lease)), now);
        }
        for source in Source::ALL {
            self.feed(Fact::Source(source, SourceChange::Progress), now);
        }
        self.feed(Fact::Tick, now);
    }

    fn feed(&mut self, fact: Fact, now: Now) {
        let mut facts = VecDeque::from([fact]);
        while let Some(fact) = facts.pop_front() {
            for effect in self.engine.step(fact, now) {
                facts.extend(self.obey(effect, now));
            }
        }
    }

    fn obey(&mut self, effect: Effect, now: Now) -> Vec<Fact> {
        match effect {
            Effect::Probe(probe) => {
                let answer = answer(&probe, self.frozen.cluster);
                vec![Fact::Answered(probe, answer)]
            }
            Effect::Record(record) => {
                self.version += 1;
                let version: Box<str> = self.version.to_string().into();
                let stored = Record { version: version.clone(), ..*record };
                let name = stored.name.clone();
                let told = Fact::Remediation(Change::Applied(Key::cluster(&*name), Box::new(stored)));
                vec![told, Fact::Recorded(name, Ok(version))]
            }
            Effect::Announce(orphan, _) => {
                let left = Left { print: fingerprint(&orphan.handle), content: orphan.content.1.clone() };
                vec![Fact::Orphan(Change::Applied(Key::cluster(orphan.name()), left))]
            }
            Effect::Act(guarded) => {
                self.acts.push(*guarded);
                Vec::new()
            }
            Effect::Found(_) => {
                self.found = now.mono;
                Vec::new()
            }
            Effect::Cleared(..) | Effect::Forget(_) => Vec::new(),
        }
    }
}
