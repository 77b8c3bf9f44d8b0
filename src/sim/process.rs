//! A program and what it can do: the only door from an actor to the rest of the cluster.
//!
//! An actor holds no reference to the store, the clock or another actor: it is handed a [`Context`] for the
//! length of one call. What it wants of others (a timer, a message, a new process) is noted there and done by
//! the cluster afterwards, in order. So one moment has one writer, and a run can be repeated.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::Value;

use super::actors::csi;
use super::refuse::{Refusals, Verb};
use super::store::table::{EVENTS, Resource};
use super::store::{Change, DeleteOptions, Part, Patch, Refusal, Store, Writer};
use crate::domain::fact::Now;

/// A process of the cluster. It stays the same when the container starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

/// Where a process runs: what `kubectl logs` asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
}

/// One program. It sees the cluster as its informers show it: late, in order, and each resource on its own.
pub trait Actor: Send {
    /// The program's name, which is also its field manager.
    fn name(&self) -> &str;

    /// What its informers watch.
    fn watches(&self) -> &'static [&'static Resource] {
        &[]
    }

    /// It starts. Its informers have shown it all that there is.
    fn start(&mut self, ctx: &mut Context<'_>);

    /// An informer shows a change.
    fn changed(&mut self, _ctx: &mut Context<'_>, _change: &Change) {}

    /// A timer of its own ran out.
    fn timer(&mut self, _ctx: &mut Context<'_>, _timer: u64) {}

    /// Something came from another process.
    fn message(&mut self, _ctx: &mut Context<'_>, _message: Message) {}

    /// SIGTERM: it is asked to end.
    fn terminate(&mut self, ctx: &mut Context<'_>) {
        ctx.exit(0);
    }
}

/// Something that one process sends to another.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who sent it.
    pub from: ProcessId,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Body {
    /// A gRPC request.
    Call {
        /// The caller's number for it.
        id: u64,
        /// The request.
        request: csi::Request,
        /// When the caller stops waiting, on the monotonic clock.
        deadline: Duration,
    },
    /// The answer to a request.
    Answer {
        /// The caller's number for it.
        id: u64,
        /// What the server said.
        result: Result<csi::Response, csi::Status>,
    },
    /// The process at the other end of a connection died.
    ConnectionLost,
    /// A process that this one started ended.
    Exited {
        /// Which.
        process: ProcessId,
        /// Its exit code.
        code: i32,
    },
}

/// The lines of a container, each with the moment the kubelet would have stamped on it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: VecDeque<(Timestamp, String)>,
    rotated: u64,
}

/// As many lines as a container's log keeps before the kubelet would have rotated it away.
const LOG_LINES: usize = 4096;

impl Log {
    pub(super) fn push(&mut self, at: Timestamp, line: String) {
        if self.lines.len() == LOG_LINES {
            self.lines.pop_front();
            self.rotated += 1;
        }
        self.lines.push_back((at, line));
    }

    /// How many lines were rotated away.
    #[must_use]
    pub fn rotated(&self) -> u64 {
        self.rotated
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = (Timestamp, &str)> {
        self.lines.iter().map(|(at, line)| (*at, line.as_str()))
    }

    /// The log as `timestamps=true` gives it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (at, line) in self.lines() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{at} {line}");
        }
        text
    }
}

/// What an actor asked of the cluster during one call.
pub(super) enum Command {
    Timer { id: u64, after: Duration },
    Send { to: ProcessId, after: Duration, body: Body },
    Spawn { process: ProcessId, place: Option<Place>, actor: Box<dyn Actor> },
    Start { process: ProcessId, actor: Box<dyn Actor> },
    Terminate { process: ProcessId },
    Kill { process: ProcessId },
    Forget { process: ProcessId },
    Exit { code: i32 },
}

/// What an actor can do, for the length of one call.
pub struct Context<'a> {
    pub(super) now: Now,
    pub(super) me: ProcessId,
    pub(super) program: Arc<str>,
    pub(super) place: Option<&'a Place>,
    pub(super) rng: &'a mut Rng,
    pub(super) store: &'a mut Store,
    pub(super) refusals: &'a mut Refusals,
    pub(super) log: &'a mut Log,
    pub(super) next_timer: &'a mut u64,
    pub(super) next_process: &'a mut u32,
    pub(super) commands: Vec<Command>,
    /// Requests of this call that are to change something; Events go by a client of their own.
    pub(super) writes: u32,
}

/// What a write gives: the object as stored, or why not.
pub type Written = Result<Arc<Value>, Refusal>;

impl Context<'_> {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// This process.
    #[must_use]
    pub fn me(&self) -> ProcessId {
        self.me
    }

    /// Where it runs, if a pod holds it.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place
    }

    /// The one generator of the cluster.
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// A duration between the two, drawn.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        draw(self.rng, least, most)
    }

    /// A line on its standard error.
    pub fn log(&mut self, line: impl Into<String>) {
        self.log.push(self.now.wall, line.into());
    }

    /// A line as klog writes it: `E` for errors, `W`, `I`.
    pub fn klog(&mut self, severity: char, source: &str, line: &str) {
        let stamp = self.now.wall.strftime("%m%d %H:%M:%S%.6f").to_string();
        self.log(format!("{severity}{stamp}       1 {source}] {line}"));
    }

    /// A timer; its number comes back in [`Actor::timer`].
    pub fn set_timer(&mut self, after: Duration) -> u64 {
        *self.next_timer += 1;
        let id = *self.next_timer;
        self.commands.push(Command::Timer { id, after });
        id
    }

    /// Sends to another process; it arrives after `latency`.
    pub fn send(&mut self, to: ProcessId, latency: Duration, body: Body) {
        self.commands.push(Command::Send { to, after: latency, body });
    }

    /// Starts a new process. This one is told when it ends.
    pub fn spawn(&mut self, place: Option<Place>, actor: Box<dyn Actor>) -> ProcessId {
        *self.next_process += 1;
        let process = ProcessId(*self.next_process);
        self.commands.push(Command::Spawn { process, place, actor });
        process
    }

    /// Starts a process anew that has ended: a container that starts again.
    pub fn start(&mut self, process: ProcessId, actor: Box<dyn Actor>) {
        self.commands.push(Command::Start { process, actor });
    }

    /// Asks another process to end; one that is paused does not hear it.
    pub fn terminate(&mut self, process: ProcessId) {
        self.commands.push(Command::Terminate { process });
    }

    /// Kills another process.
    pub fn kill(&mut self, process: ProcessId) {
        self.commands.push(Command::Kill { process });
    }

    /// Nobody will ask for this process again, nor for its log.
    pub fn forget(&mut self, process: ProcessId) {
        self.commands.push(Command::Forget { process });
    }

    /// Ends this process.
    pub fn exit(&mut self, code: i32) {
        self.commands.push(Command::Exit { code });
    }

    /// How many requests of this call were to change something, Events left out.
    #[must_use]
    pub fn writes(&self) -> u32 {
        self.writes
    }

    fn sends(&mut self, verb: Verb, resource: &'static Resource, name: &str) -> Result<(), Refusal> {
        self.writes += u32::from(verb != Verb::Get && resource != EVENTS);
        self.refusals.check(self.me, verb, resource, name)
    }

    /// GET, past every cache.
    ///
    /// # Errors
    /// What the server refuses with.
    pub fn get(&mut self, resource: &'static Resource, namespace: &str, name: &str) -> Written {
        self.sends(Verb::Get, resource, name)?;
        self.store.get(resource, namespace, name)
    }

    /// The objects of a resource as they are now, past every cache.
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Value>> {
        self.store.list(resource, namespace)
    }

    /// POST.
    ///
    /// # Errors
    /// What the server refuses with.
    pub fn create(&mut self, resource: &'static Resource, namespace: &str, object: Value) -> Written {
        self.sends(Verb::Create, resource, "")?;
        let writer = Writer { name: &self.program, at: self.now.wall };
        self.store.create(writer, resource, namespace, object)
    }

    /// PUT of the object, or of its status. Name and namespace are the object's own.
    ///
    /// # Errors
    /// What the server refuses with.
    pub fn replace(&mut self, resource: &'static Resource, part: Part, object: Value) -> Written {
        let namespace = super::actors::object::namespace(&object).to_owned();
        let name = super::actors::object::name(&object).to_owned();
        self.sends(Verb::Update, resource, &name)?;
        let writer = Writer { name: &self.program, at: self.now.wall };
        self.store.replace(writer, resource, &namespace, &name, part, object)
    }

    /// PATCH of the object, or of its status.
    ///
    /// # Errors
    /// What the server refuses with.
    pub fn patch(
        &mut self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Patch,
    ) -> Written {
        self.sends(Verb::Patch, resource, name)?;
        let writer = Writer { name: &self.program, at: self.now.wall };
        self.store.patch(writer, resource, namespace, name, part, patch)
    }

    /// DELETE.
    ///
    /// # Errors
    /// What the server refuses with.
    pub fn delete(
        &mut self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Written {
        self.sends(Verb::Delete, resource, name)?;
        let writer = Writer { name: &self.program, at: self.now.wall };
        self.store.delete(writer, resource, namespace, name, options)
    }
}

/// A duration between the two, drawn.
pub(super) fn draw(rng: &mut Rng, least: Duration, most: Duration) -> Duration {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.u64(micros(least)..=micros(most).max(micros(least))))
}
