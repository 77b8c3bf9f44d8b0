//! The cluster: a store, a clock, an agenda, and the processes that live by them.
//!
//! One step is one call of one actor. What it wrote is then shown to everybody's informers, each with its own
//! small delay, so that two controllers see the same world at different moments: the races of the real
//! programs happen here too, and the same seed makes the same ones happen again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};

use super::actors::csi;
use super::agenda::Agenda;
use super::process::{Actor, Body, Command, Context, Log, Message, Place, ProcessId, draw};
use super::refuse::{Order, Refusals};
use super::store::table::Resource;
use super::store::{Change, ChangeKind, Store, Writer};
use crate::domain::fact::Now;

/// How long a change takes to reach an informer. Together with what a request takes, this makes csi-snapshotter
/// 8.6 miss a deletion during the cut about once in six times, as was seen of the real one.
const SHOWN: (Duration, Duration) = (Duration::from_micros(300), Duration::from_millis(3));
/// How long a list takes when an informer starts.
const LISTED: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(30));
/// The exit code of a process that was killed.
const KILLED: i32 = 137;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Ended(i32),
}

struct Process {
    /// Its actor's name.
    program: Arc<str>,
    actor: Option<Box<dyn Actor>>,
    place: Option<Place>,
    state: State,
    /// Counts its starts: what was planned for an earlier life does not reach the next one.
    life: u32,
    log: Log,
    parent: Option<ProcessId>,
    /// The processes that hold a connection to it.
    peers: BTreeSet<ProcessId>,
    /// When each of its informers was shown something last: a watch keeps its order.
    shown: BTreeMap<&'static Resource, Duration>,
    /// What came while it was paused.
    held: Vec<What>,
}

enum What {
    Start,
    Timer(u64),
    Changed(Change),
    Message(Message),
    Terminate,
}

struct Entry {
    process: ProcessId,
    life: u32,
    what: What,
}

/// A Kubernetes cluster on virtual time.
pub struct Cluster {
    /// The objects. Whoever writes from outside takes [`Cluster::writer`].
    pub store: Store,
    epoch: Timestamp,
    /// The present; set by [`Cluster::pass`] alone.
    now: Now,
    rng: Rng,
    agenda: Agenda<Entry>,
    processes: BTreeMap<ProcessId, Process>,
    refusals: Refusals,
    seen: u64,
    next_timer: u64,
    next_process: u32,
}

impl Cluster {
    /// An empty cluster whose clock stands at `epoch`.
    #[must_use]
    pub fn new(seed: u64, epoch: Timestamp) -> Self {
        let store = Store::new(seed, epoch);
        Self {
            seen: store.version(),
            store,
            epoch,
            now: Now { wall: epoch, mono: Duration::ZERO },
            rng: Rng::with_seed(seed),
            agenda: Agenda::default(),
            processes: BTreeMap::new(),
            refusals: Refusals::default(),
            next_timer: 0,
            next_process: 0,
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Lets time pass up to this moment. The present is asked for far more often than it moves.
    fn pass(&mut self, mono: Duration) {
        if mono > self.now.mono {
            let since = SignedDuration::try_from(mono).unwrap_or(SignedDuration::MAX);
            self.now = Now { wall: self.epoch.saturating_add(since).unwrap_or(Timestamp::MAX), mono };
        }
    }

    /// A writer from outside, such as `kubectl`, at the present moment.
    #[must_use]
    pub fn writer<'a>(&self, name: &'a str) -> Writer<'a> {
        Writer { name, at: self.now().wall }
    }

    /// The cluster's generator, for whoever drives it.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Orders the API server to refuse.
    pub fn refuse(&mut self, order: Order) {
        self.refusals.add(order);
    }

    /// Orders the API server to refuse this and nothing else.
    pub fn refuse_only(&mut self, orders: Vec<Order>) {
        self.refusals.set(orders);
    }

    /// Starts a program beside the cluster.
    pub fn spawn(&mut self, actor: Box<dyn Actor>) -> ProcessId {
        self.spawn_in(None, actor)
    }

    /// Starts a program, in a container of a pod if a place is given.
    pub fn spawn_in(&mut self, place: Option<Place>, actor: Box<dyn Actor>) -> ProcessId {
        self.next_process += 1;
        let process = ProcessId(self.next_process);
        self.insert(process, place, None, actor);
        process
    }

    /// Starts a program anew that has ended, in the same container.
    pub fn start(&mut self, id: ProcessId, actor: Box<dyn Actor>) {
        self.distribute();
        if let Some(process) = self.processes.get_mut(&id) {
            process.life += 1;
            process.state = State::Running;
            process.program = actor.name().into();
            process.actor = Some(actor);
            process.shown.clear();
            process.held.clear();
            self.begin(id);
        }
    }

    /// Stops a process in its tracks, as SIGSTOP does: nothing reaches it, and it does nothing.
    pub fn pause(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(&id)
            && process.state == State::Running
        {
            process.state = State::Paused;
        }
    }

    /// Lets a paused process go on: everything that came meanwhile reaches it now, in order.
    pub fn resume(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.state != State::Paused {
            return;
        }
        process.state = State::Running;
        let life = process.life;
        for what in std::mem::take(&mut process.held) {
            self.agenda.add(self.now.mono, Entry { process: id, life, what });
        }
    }

    /// Ends a process without a word from it, as SIGKILL does.
    pub fn kill(&mut self, id: ProcessId) {
        self.end(id, KILLED);
    }

    /// It runs, and is not paused.
    #[must_use]
    pub fn is_running(&self, id: ProcessId) -> bool {
        self.processes.get(&id).is_some_and(|process| process.state == State::Running)
    }

    /// The code with which it ended.
    #[must_use]
    pub fn exit_code(&self, id: ProcessId) -> Option<i32> {
        match self.processes.get(&id)?.state {
            State::Ended(code) => Some(code),
            State::Running | State::Paused => None,
        }
    }

    /// What a process has written.
    #[must_use]
    pub fn log(&self, id: ProcessId) -> Option<&Log> {
        self.processes.get(&id).map(|process| &process.log)
    }

    /// The process in a container.
    #[must_use]
    pub fn process_in(&self, place: &Place) -> Option<ProcessId> {
        self.processes.iter().rev().find(|(_, process)| process.place.as_ref() == Some(place)).map(|(id, _)| *id)
    }

    /// When the next thing happens.
    pub fn next_at(&mut self) -> Option<Duration> {
        self.distribute();
        self.agenda.next_at()
    }

    /// Does the next thing; false if nothing is planned.
    pub fn step(&mut self) -> bool {
        self.distribute();
        let Some((at, entry)) = self.agenda.pop() else { return false };
        self.pass(at);
        self.dispatch(entry);
        self.distribute();
        true
    }

    /// Does everything that happens up to this moment, and stands there.
    pub fn run_until(&mut self, mono: Duration) {
        while self.next_at().is_some_and(|at| at <= mono) {
            self.step();
        }
        self.pass(mono);
    }

    /// Does everything that happens in this time from now on.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now.mono + time);
    }

    fn insert(&mut self, id: ProcessId, place: Option<Place>, parent: Option<ProcessId>, actor: Box<dyn Actor>) {
        self.distribute();
        let process = Process {
            program: actor.name().into(),
            actor: Some(actor),
            place,
            state: State::Running,
            life: 0,
            log: Log::default(),
            parent,
            peers: BTreeSet::new(),
            shown: BTreeMap::new(),
            held: Vec::new(),
        };
        self.processes.insert(id, process);
        self.begin(id);
    }

    /// Plans the start of a process, and the lists that its informers begin with.
    fn begin(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(actor) = &process.actor else { return };
        let life = process.life;
        let watches = actor.watches();
        // Like any client of client-go it waits until all its caches are filled: who works on one that is empty
        // takes everything for deleted.
        let at =
            if watches.is_empty() { self.now.mono } else { self.now.mono + draw(&mut self.rng, LISTED.0, LISTED.1) };
        for resource in watches.iter().copied() {
            process.shown.insert(resource, at);
            for object in self.store.list(resource, None) {
                let version = super::actors::object::version(object);
                let change =
                    Change { version, resource, kind: ChangeKind::Added, object: Arc::clone(object), before: None };
                self.agenda.add(at, Entry { process: id, life, what: What::Changed(change) });
            }
        }
        self.agenda.add(at, Entry { process: id, life, what: What::Start });
    }

    /// Plans when each informer is shown what was written since the last time.
    fn distribute(&mut self) {
        if self.store.version() == self.seen {
            return;
        }
        // Nobody compacts what has not been distributed: an expired log has nothing new for informers.
        let Ok(changes) = self.store.changes_since(self.seen) else { return };
        for change in changes {
            for (id, process) in &mut self.processes {
                let Some(last) = process.shown.get_mut(&change.resource) else { continue };
                let at = (self.now.mono + draw(&mut self.rng, SHOWN.0, SHOWN.1)).max(*last);
                *last = at;
                let entry = Entry { process: *id, life: process.life, what: What::Changed(change.clone()) };
                self.agenda.add(at, entry);
            }
        }
        self.seen = self.store.version();
    }

    fn dispatch(&mut self, entry: Entry) {
        let Some(process) = self.processes.get_mut(&entry.process) else { return };
        match process.state {
            State::Ended(_) => return self.bounce(&entry),
            _ if process.life != entry.life => return,
            State::Paused => return process.held.push(entry.what),
            State::Running => {}
        }
        if let What::Message(message) = &entry.what {
            process.peers.insert(message.from);
        }
        let commands = self.call(entry.process, entry.what);
        for command in commands {
            self.obey(entry.process, command);
        }
    }

    /// Nobody listens there any more: whoever calls is told so, as by a refused connection.
    fn bounce(&mut self, entry: &Entry) {
        let What::Message(Message { from, body: Body::Call { id, .. } }) = entry.what else { return };
        let body = Body::Answer { id, result: Err(csi::Status::unavailable()) };
        self.obey(entry.process, Command::Send { to: from, after: Duration::from_millis(1), body });
    }

    fn call(&mut self, id: ProcessId, what: What) -> Vec<Command> {
        let now = self.now();
        let Some(process) = self.processes.get_mut(&id) else { return Vec::new() };
        let Some(mut actor) = process.actor.take() else { return Vec::new() };
        let mut ctx = Context {
            now,
            me: id,
            program: Arc::clone(&process.program),
            place: process.place.as_ref(),
            rng: &mut self.rng,
            store: &mut self.store,
            refusals: &mut self.refusals,
            log: &mut process.log,
            next_timer: &mut self.next_timer,
            next_process: &mut self.next_process,
            commands: Vec::new(),
            writes: 0,
        };
        match what {
            What::Start => actor.start(&mut ctx),
            What::Timer(timer) => actor.timer(&mut ctx, timer),
            What::Changed(change) => actor.changed(&mut ctx, &change),
            What::Message(message) => actor.message(&mut ctx, message),
            What::Terminate => actor.terminate(&mut ctx),
        }
        let commands = ctx.commands;
        process.actor = Some(actor);
        commands
    }

    fn obey(&mut self, from: ProcessId, command: Command) {
        match command {
            Command::Timer { id, after } => self.plan(from, after, What::Timer(id)),
            Command::Send { to, after, body } => self.plan(to, after, What::Message(Message { from, body })),
            Command::Spawn { process, place, actor } => self.insert(process, place, Some(from), actor),
            Command::Start { process, actor } => self.start(process, actor),
            Command::Terminate { process } => self.plan(process, Duration::from_millis(1), What::Terminate),
            Command::Kill { process } => self.end(process, KILLED),
            Command::Forget { process } => drop(self.processes.remove(&process)),
            Command::Exit { code } => self.end(from, code),
        }
    }

    fn plan(&mut self, process: ProcessId, after: Duration, what: What) {
        let life = self.processes.get(&process).map_or(0, |found| found.life);
        self.agenda.add(self.now.mono + after, Entry { process, life, what });
    }

    fn end(&mut self, id: ProcessId, code: i32) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        if matches!(process.state, State::Ended(_)) {
            return;
        }
        process.state = State::Ended(code);
        process.actor = None;
        process.held.clear();
        process.shown.clear();
        let parent = process.parent;
        for peer in std::mem::take(&mut process.peers) {
            let body = Body::ConnectionLost;
            self.plan(peer, Duration::from_millis(1), What::Message(Message { from: id, body }));
        }
        if let Some(parent) = parent {
            let body = Body::Exited { process: id, code };
            self.plan(parent, Duration::from_millis(1), What::Message(Message { from: id, body }));
        }
    }
}
