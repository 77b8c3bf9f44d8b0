//! The daemon's writes: records of the ledger, orphans, and actions.
//!
//! It stands for `io::ledger` and `io::act` on virtual time. An action is sent only after a fresh read, only if
//! that still fits, and only before its deadline; nothing is sent again by itself. The process may end at any
//! moment: what it had sent by then may still happen, and nobody hears of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::journal::{Entry, What};
use super::leader::MANAGER;
use super::reads::{look_at, resource_of};
use super::wire::{Flight, Reply};
use super::{Broken, Clock, Reading, Weather};
use crate::domain::fact::{Acted, Change, Fact, Now};
use crate::domain::guard::Guarded;
use crate::domain::ledger::{Outcome, Record};
use crate::domain::name::{Key, fingerprint};
use crate::domain::record::Left;
use crate::domain::remedy::action::{Orphan, TargetKind};
use crate::domain::remedy::fresh::{Fit, Look, Looked, Op, Request};
use crate::io::{ledger, orphan};
use crate::sim::cluster::Cluster;
use crate::sim::process::draw;
use crate::sim::store::{DeleteOptions, Part, Patch, Refusal, Resource, object, table};

/// Writes under way at the same time.
const AT_ONCE: usize = 4;
/// Patience for a write of the ledger.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a fresh read takes, each way; and when everything is slow.
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(60));
const SLOWNESS: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(4));
/// The least that anything takes.
const INSTANT: Duration = Duration::from_millis(1);

/// What was asked for.
#[derive(Debug)]
enum Task {
    Record(Box<Record>),
    Announce(Box<Orphan>, Box<str>),
    Act(Box<Guarded>),
    Forget(Box<str>),
}

/// What is sent.
#[derive(Debug)]
enum Sent {
    Create(Value),
    Status(Value),
    Patch(Value),
    Delete(DeleteOptions),
    /// What a broken daemon does instead.
    StripLive,
}

/// What came back.
#[derive(Debug)]
enum Heard {
    Done(Arc<Value>),
    Refused(Refusal),
    Nothing,
}

#[derive(Debug)]
enum Stage {
    /// The fresh read is on its way.
    Looking { arrives: Duration, answered: Duration, fails: Option<&'static str> },
    /// Its answer is.
    Looked { answered: Duration, looked: Looked, seen: Duration },
    /// The write is on its way.
    Sent(Flight, Sent),
    /// Its answer is.
    Heard(Duration, Heard),
}

#[derive(Debug)]
struct Job {
    task: Task,
    stage: Stage,
    by: Arc<str>,
    /// The version that the fresh read showed, and when.
    looked: Option<(Box<str>, Duration)>,
}

/// All of them; see the module.
#[derive(Debug)]
pub(super) struct Writes {
    identity: Arc<str>,
    waiting: VecDeque<Task>,
    under_way: Vec<Job>,
    /// What a process had sent before it ended.
    left_behind: Vec<Job>,
    /// Reads of a daemon that decides by them much later.
    old_looks: BTreeMap<(TargetKind, Key), (Look, Duration)>,
    broken: Option<Broken>,
    rng: Rng,
}

/// Everything that sending depends on.
#[derive(Clone, Copy)]
pub(super) struct Sky<'a> {
    pub(super) now: Now,
    pub(super) clock: Clock,
    pub(super) weather: &'a Weather,
    /// Until when we lead, on our monotonic clock.
    pub(super) leads_until: Option<Duration>,
}

impl Sky<'_> {
    pub(super) fn at(&self) -> Duration {
        self.clock.time_of(self.now.mono)
    }

    pub(super) fn left(&self) -> Duration {
        self.leads_until.map_or(Duration::ZERO, |until| until.saturating_sub(self.now.mono))
    }
}

impl Writes {
    pub(super) fn new(identity: &Arc<str>, broken: Option<Broken>, rng: Rng) -> Self {
        Self {
            identity: Arc::clone(identity),
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            left_behind: Vec::new(),
            old_looks: BTreeMap::new(),
            broken,
            rng,
        }
    }

    /// The process ends and another one begins: of what is on its way some arrives, and nobody waits for it.
    pub(super) fn restart(&mut self, identity: &Arc<str>) {
        self.identity = Arc::clone(identity);
        self.waiting.clear();
        self.old_looks.clear();
        for job in std::mem::take(&mut self.under_way) {
            if matches!(job.stage, Stage::Sent(..)) && self.rng.bool() {
                self.left_behind.push(job);
            }
        }
    }

    pub(super) fn record(&mut self, record: Box<Record>, sky: Sky<'_>) {
        self.ask(Task::Record(record), sky);
    }

    pub(super) fn announce(&mut self, orphan: Box<Orphan>, record: Box<str>, sky: Sky<'_>) {
        self.ask(Task::Announce(orphan, record), sky);
    }

    pub(super) fn act(&mut self, guarded: Box<Guarded>, sky: Sky<'_>) {
        self.ask(Task::Act(guarded), sky);
    }

    pub(super) fn forget(&mut self, name: Box<str>, sky: Sky<'_>) {
        self.ask(Task::Forget(name), sky);
    }

    /// A read was answered: whoever skips the fresh one will use it.
    pub(super) fn overhear(&mut self, kind: TargetKind, key: &Key, looked: &Looked, at: Duration) {
        if let (Some(Broken::StaleView), Looked::There(look)) = (self.broken, looked) {
            self.old_looks.insert((kind, key.clone()), ((**look).clone(), at));
        }
    }

    fn ask(&mut self, task: Task, sky: Sky<'_>) {
        self.waiting.push_back(task);
        self.begin(sky);
    }

    fn begin(&mut self, sky: Sky<'_>) {
        while self.under_way.len() < AT_ONCE {
            let Some(task) = self.waiting.pop_front() else { return };
            let stage = self.first_stage(&task, sky);
            self.under_way.push(Job { task, stage, by: Arc::clone(&self.identity), looked: None });
        }
    }

    fn first_stage(&mut self, task: &Task, sky: Sky<'_>) -> Stage {
        let at = sky.at();
        if sky.left().is_zero() {
            let refusal = Refusal::new(409, "Conflict", "this replica does not lead");
            return Stage::Heard(at + INSTANT, Heard::Refused(refusal));
        }
        let sent = match task {
            Task::Act(guarded) => return self.look(guarded, sky),
            Task::Record(record) if self.broken == Some(Broken::NoIntent) => {
                let version = format!("{}0", record.version);
                let stored = json!({"metadata": {"resourceVersion": version}, "status": {}});
                return Stage::Heard(at + INSTANT, Heard::Done(Arc::new(stored)));
            }
            Task::Announce(..) if self.broken == Some(Broken::NoOrphans) => {
                return Stage::Heard(at + INSTANT, Heard::Nothing);
            }
            Task::Record(record) if record.version.is_empty() => Sent::Create(ledger::created(record)),
            Task::Record(record) => Sent::Status(status(record, &record.version)),
            Task::Announce(orphan, record) => Sent::Create(orphan::created(orphan, record)),
            Task::Forget(_) => Sent::Delete(DeleteOptions::default()),
        };
        let patience = PATIENCE.min(sky.left());
        Stage::Sent(Flight::send(&mut self.rng, sky.weather.writes, at, patience), sent)
    }

    fn look(&mut self, guarded: &Guarded, sky: Sky<'_>) -> Stage {
        let at = sky.at();
        let target = &guarded.action().target;
        if let Some((look, seen)) = self.old_looks.get(&(target.kind, target.key.clone())) {
            return Stage::Looked {
                answered: at + INSTANT,
                looked: Looked::There(Box::new(look.clone())),
                seen: *seen,
            };
        }
        let reads = sky.weather.reads;
        let (least, most) = if reads == Reading::Slow { SLOWNESS } else { LATENCY };
        let (way, back) = (draw(&mut self.rng, least, most), draw(&mut self.rng, least, most));
        let left = sky.clock.time_of(guarded.deadline()).saturating_sub(at);
        let fails = match reads {
            Reading::Failing => Some("503 Service Unavailable"),
            Reading::Hung => Some("timed out"),
            Reading::Fine | Reading::Slow => (way + back >= left).then_some("timed out"),
        };
        let answered = if fails == Some("timed out") { at + left.max(INSTANT) } else { at + way + back };
        Stage::Looking { arrives: (at + way).min(answered), answered, fails }
    }

    // === Time ===

    /// When something arrives at the server.
    pub(super) fn arrives(&self) -> Option<Duration> {
        let all = self.under_way.iter().chain(&self.left_behind);
        all.filter_map(|job| match &job.stage {
            Stage::Looking { arrives, .. } => Some(*arrives),
            Stage::Sent(flight, _) => Some(flight.arrives),
            Stage::Looked { .. } | Stage::Heard(..) => None,
        })
        .min()
    }

    /// When the process has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        let all = self.under_way.iter();
        all.filter_map(|job| match &job.stage {
            Stage::Looked { answered, .. } | Stage::Heard(answered, _) => Some(*answered),
            Stage::Looking { .. } | Stage::Sent(..) => None,
        })
        .min()
    }

    /// What has come to the server by now.
    pub(super) fn arrive(&mut self, at: Duration, weather: &Weather, cluster: &mut Cluster, journal: &mut Vec<Entry>) {
        let came = |job: &Job| match &job.stage {
            Stage::Looking { arrives, .. } => *arrives <= at,
            Stage::Sent(flight, _) => flight.arrives <= at,
            Stage::Looked { .. } | Stage::Heard(..) => false,
        };
        for job in self.under_way.iter_mut().filter(|job| came(job)) {
            job.arrive(at, weather, self.broken, cluster, journal);
        }
        for mut job in self.left_behind.extract_if(.., |job| came(job)) {
            job.arrive(at, weather, self.broken, cluster, journal);
        }
    }

    /// Does what is due; what the engine has to hear of it.
    pub(super) fn advance(&mut self, sky: Sky<'_>) -> Vec<Fact> {
        let at = sky.at();
        let mut facts = Vec::new();
        let due = |job: &Job| match &job.stage {
            Stage::Looked { answered, .. } | Stage::Heard(answered, _) => *answered <= at,
            Stage::Looking { .. } | Stage::Sent(..) => false,
        };
        while let Some(place) = self.under_way.iter().position(due) {
            let job = self.under_way.remove(place);
            let job = self.go_on(job, sky, &mut facts);
            self.under_way.extend(job);
        }
        self.begin(sky);
        facts
    }

    /// The next stage of a job, or its end and what the engine has to hear of it.
    fn go_on(&mut self, mut job: Job, sky: Sky<'_>, facts: &mut Vec<Fact>) -> Option<Job> {
        let at = sky.at();
        let heard = match job.stage {
            Stage::Looked { looked, seen, .. } => {
                let Task::Act(guarded) = &job.task else { return None };
                job.looked = if let Looked::There(look) = &looked { Some((look.version.clone(), seen)) } else { None };
                let (outcome, why) = match guarded.action().fit(&looked, guarded.intended()) {
                    Fit::Send(request) => {
                        let left = sky.clock.time_of(guarded.deadline()).saturating_sub(at).min(sky.left());
                        if !left.is_zero() {
                            let flight = Flight::send(&mut self.rng, sky.weather.writes, at, left);
                            job.stage = Stage::Sent(flight, wire_form(request, self.broken));
                            return Some(job);
                        }
                        (Outcome::Lost, "no time was left to send it".to_owned())
                    }
                    Fit::Done => (Outcome::Applied, "it is so already".to_owned()),
                    Fit::Lost(why) => (Outcome::Lost, why),
                };
                facts.push(acted(guarded, outcome, &why));
                return None;
            }
            Stage::Heard(_, heard) => heard,
            stage => {
                job.stage = stage;
                return Some(job);
            }
        };
        match (&job.task, heard) {
            (Task::Record(record), Heard::Done(object)) if object.get("status").is_none() && !sky.left().is_zero() => {
                let version = object::text(&object, "/metadata/resourceVersion");
                let flight = Flight::send(&mut self.rng, sky.weather.writes, at, PATIENCE.min(sky.left()));
                job.stage = Stage::Sent(flight, Sent::Status(status(record, version)));
                return Some(job);
            }
            (Task::Record(record), heard) => facts.push(recorded(record, heard)),
            (Task::Act(guarded), heard) => {
                let (outcome, words) = match heard {
                    Heard::Done(_) => (Outcome::Applied, "the server took it".to_owned()),
                    Heard::Refused(refusal) => (outcome(&refusal), refusal.message),
                    Heard::Nothing => (Outcome::Unreachable, "timed out".to_owned()),
                };
                facts.push(acted(guarded, outcome, &words));
            }
            (Task::Announce(orphan, _), _) if self.broken == Some(Broken::NoOrphans) => {
                let left = Left { print: fingerprint(&orphan.handle), content: orphan.content.1.clone() };
                facts.push(Fact::Orphan(Change::Applied(Key::cluster(orphan.name()), left)));
            }
            // The watch tells whether they happened.
            (Task::Announce(..) | Task::Forget(_), _) => {}
        }
        None
    }
}

/// What came of storing a record. One that was made and has no status yet is not stored.
fn recorded(record: &Record, heard: Heard) -> Fact {
    let version = match heard {
        Heard::Done(object) if object.get("status").is_none() => Err("this replica does not lead".into()),
        Heard::Done(object) => Ok(object::text(&object, "/metadata/resourceVersion").into()),
        Heard::Refused(refusal) => Err(refusal.message.into()),
        Heard::Nothing => Err("timed out".into()),
    };
    Fact::Recorded(record.name.clone(), version)
}

/// What a refusal means for an action.
pub(super) fn outcome(refusal: &Refusal) -> Outcome {
    // A failed test and an invalid object share their code: only the second says what is invalid.
    let failed_test = refusal.code == 422 && refusal.details.as_ref().is_none_or(|details| details.causes.is_empty());
    match refusal.code {
        404 | 409 => Outcome::Lost,
        422 if failed_test => Outcome::Lost,
        429 | 500.. => Outcome::Unreachable,
        _ => Outcome::Denied,
    }
}

fn acted(guarded: &Guarded, outcome: Outcome, words: &str) -> Fact {
    let (record, attempt) = (guarded.record().as_ref().into(), guarded.attempt());
    Fact::Acted(Acted { record, attempt, outcome, message: words.into() })
}

/// The status of a record, guarded by the version it replaces.
fn status(record: &Record, version: &str) -> Value {
    let mut patch = ledger::status(record, ledger::GENERATION);
    object::set_metadata(&mut patch, "resourceVersion", version);
    patch
}

fn wire_form(request: Request, broken: Option<Broken>) -> Sent {
    match (request, broken) {
        (_, Some(Broken::StripsLive)) => Sent::StripLive,
        (Request::Delete { uid, version }, _) => {
            let version = (broken != Some(Broken::StaleView)).then(|| version.to_string());
            Sent::Delete(DeleteOptions { uid: Some(uid.to_string()), resource_version: version, ..Default::default() })
        }
        (Request::Patch(ops), _) => {
            let stale = |op: &&Op| matches!(op, Op::Test(path, _) if path == "/metadata/resourceVersion");
            let ops = ops.iter().filter(|op| broken != Some(Broken::StaleView) || !stale(op));
            Sent::Patch(ops.map(operation).collect())
        }
    }
}

fn operation(op: &Op) -> Value {
    match op {
        Op::Test(path, value) => json!({"op": "test", "path": path, "value": value}),
        Op::Add(path, value) => json!({"op": "add", "path": path, "value": value}),
        Op::AddMap(path) => json!({"op": "add", "path": path, "value": {}}),
        Op::Remove(path) => json!({"op": "remove", "path": path}),
    }
}

// === At the server ===

impl Job {
    /// What it is sent to.
    fn target(&self) -> (&'static Resource, String, String) {
        match &self.task {
            Task::Record(record) => (table::REMEDIATIONS, String::new(), record.name.to_string()),
            Task::Forget(name) => (table::REMEDIATIONS, String::new(), name.to_string()),
            Task::Announce(orphan, _) => (table::ORPHANS, String::new(), orphan.name()),
            Task::Act(guarded) => {
                let target = &guarded.action().target;
                (resource_of(target.kind).0, target.key.namespace.to_string(), target.key.name.to_string())
            }
        }
    }

    fn arrive(
        &mut self,
        at: Duration,
        weather: &Weather,
        broken: Option<Broken>,
        cluster: &mut Cluster,
        journal: &mut Vec<Entry>,
    ) {
        let stage = std::mem::replace(&mut self.stage, Stage::Heard(at, Heard::Nothing));
        self.stage = match (stage, &self.task) {
            (Stage::Looking { answered, fails, .. }, Task::Act(guarded)) => {
                let target = &guarded.action().target;
                let looked = match fails {
                    Some(words) => Looked::Unknown(words.into()),
                    None => look_at(cluster, target.kind, &target.key, weather, broken),
                };
                Stage::Looked { answered, looked, seen: at }
            }
            (Stage::Sent(flight, sent), _) => {
                let answer = flight.happens.then(|| self.happen(at, sent, cluster, journal));
                let heard = match (flight.reply, answer) {
                    (Reply::Refusal(refusal), _) | (Reply::Servers, Some(Err(refusal))) => Heard::Refused(refusal),
                    (Reply::Servers, Some(Ok(object))) => Heard::Done(object),
                    (Reply::Nothing, _) | (Reply::Servers, None) => Heard::Nothing,
                };
                Stage::Heard(flight.answered, heard)
            }
            (stage, _) => stage,
        };
    }

    fn happen(
        &self,
        at: Duration,
        sent: Sent,
        cluster: &mut Cluster,
        journal: &mut Vec<Entry>,
    ) -> Result<Arc<Value>, Refusal> {
        let (mut resource, mut namespace, mut name) = self.target();
        if matches!(sent, Sent::StripLive) {
            (resource, namespace, name) = live_content(cluster).unwrap_or((resource, namespace, name));
        }
        let before = cluster.store.get(resource, &namespace, &name).ok();
        let intent = match &self.task {
            Task::Act(guarded) => cluster.store.get(table::REMEDIATIONS, "", guarded.record()).ok(),
            _ => None,
        };
        let writer = cluster.writer(MANAGER);
        let store = &mut cluster.store;
        let after = match sent {
            Sent::Create(object) => store.create(writer, resource, &namespace, object),
            Sent::Status(patch) => store.patch(writer, resource, &namespace, &name, Part::Status, &Patch::Merge(patch)),
            Sent::Patch(operations) => Patch::json(operations)
                .and_then(|patch| store.patch(writer, resource, &namespace, &name, Part::Object, &patch)),
            Sent::Delete(options) => store.delete(writer, resource, &namespace, &name, &options),
            Sent::StripLive => Patch::json(json!([{"op": "remove", "path": "/metadata/finalizers/0"}]))
                .and_then(|patch| store.patch(writer, resource, &namespace, &name, Part::Object, &patch)),
        };
        let what = match &self.task {
            Task::Record(record) => What::Record(record.clone()),
            Task::Announce(..) => What::Announce,
            Task::Forget(_) => What::Forget,
            Task::Act(guarded) => What::Act { guarded: guarded.clone(), looked: self.looked.clone() },
        };
        let (by, answer) = (Arc::clone(&self.by), after.clone());
        journal.push(Entry { at, by, what, resource, namespace, name, before, after, intent });
        answer
    }
}

/// The content that lives and has a finalizer to lose.
fn live_content(cluster: &Cluster) -> Option<(&'static Resource, String, String)> {
    let mut contents = cluster.store.list(table::CONTENTS, None);
    let live = contents.find(|one| !object::is_deleting(one) && object::finalizers(one).next().is_some())?;
    Some((table::CONTENTS, String::new(), object::name(live).to_owned()))
}
