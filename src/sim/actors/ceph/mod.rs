//! A driver like ceph-csi for RBD: one process of it, in front of a pool that all of them share.
//!
//! Its locks live in the process. A call takes them when it begins and gives them back when its handler
//! returns; a caller that has stopped waiting changes nothing. So a handler that hangs makes every later call
//! for the same snapshot fail with `Aborted`, until it returns or the process ends.

mod fault;
mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use fault::{Fault, Faults, Trouble};
pub use pool::{Deletion, Pool, PoolSnapshot, Volume};

use super::csi::{Code, Request, Response, Secrets, Status};
use crate::sim::process::{Actor, Body, Context, Message, ProcessId};
use crate::sim::task::Shared;

/// How often a call that hangs looks whether it may go on.
const LOOKS_AGAIN: Duration = Duration::from_secs(1);

/// How a driver is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name, as it gives it.
    pub driver: String,
    /// Whose driver it is, for the pool's record: two clusters may share a pool.
    pub owner: String,
    /// It insists on credentials.
    pub wants_secrets: bool,
    /// It can say how a snapshot is, as ceph-csi's RBD driver cannot.
    pub lists_snapshots: bool,
    /// The least and the most time that a call takes.
    pub latency: (Duration, Duration),
    /// A snapshot is ready so long after it was cut.
    pub ready_after: Duration,
}

impl Options {
    /// A healthy driver that asks for no secrets.
    #[must_use]
    pub fn new(driver: &str) -> Self {
        Self {
            driver: driver.to_owned(),
            owner: "cluster".to_owned(),
            wants_secrets: false,
            lists_snapshots: false,
            latency: (Duration::from_millis(2), Duration::from_millis(30)),
            ready_after: Duration::ZERO,
        }
    }
}

struct Operation {
    number: u64,
    caller: ProcessId,
    call: u64,
    request: Request,
    locks: Vec<String>,
    fails: Option<Status>,
}

/// The process.
pub struct CephDriver {
    options: Options,
    pool: Shared<Pool>,
    faults: Shared<Faults>,
    locks: BTreeSet<String>,
    /// The calls under way, by the timer that ends them.
    running: BTreeMap<u64, Operation>,
    /// Counts the calls, for the log.
    calls: u64,
}

impl CephDriver {
    /// A driver in front of a pool, with the faults that somebody else sets.
    #[must_use]
    pub fn new(options: Options, pool: Shared<Pool>, faults: Shared<Faults>) -> Self {
        Self { options, pool, faults, locks: BTreeSet::new(), running: BTreeMap::new(), calls: 0 }
    }

    fn begin(&mut self, ctx: &mut Context<'_>, caller: ProcessId, call: u64, request: Request) {
        self.calls += 1;
        let locks = self.locks_of(&request);
        let mut operation = Operation { number: self.calls, caller, call, request, locks: Vec::new(), fails: None };
        if let Some(taken) = locks.iter().find(|lock| self.locks.contains(*lock)) {
            return Self::answer(ctx, &operation, Err(already_exists(taken)));
        }
        self.locks.extend(locks.iter().cloned());
        operation.locks = locks;
        let mut after = ctx.between(self.options.latency.0, self.options.latency.1);
        match self.faults.with(|faults| faults.meet(&operation.request)) {
            // Nothing will ever end it: its locks are all that is left of it.
            Some(Trouble::Stuck) => return,
            Some(Trouble::Slow(time)) => after += time,
            Some(Trouble::Fail(status)) => operation.fails = Some(status),
            Some(Trouble::Hang) | None => {}
        }
        self.running.insert(ctx.set_timer(after), operation);
    }

    fn finish(&mut self, ctx: &mut Context<'_>, operation: Operation) {
        let is_down = operation.request != Request::Probe && !self.pool.with(|pool| pool.is_up);
        if is_down || self.faults.with(|faults| faults.hangs(&operation.request)) {
            self.running.insert(ctx.set_timer(LOOKS_AGAIN), operation);
            return;
        }
        let result = match operation.fails.clone() {
            Some(status) => Err(status),
            None => self.handle(ctx, &operation.request),
        };
        for lock in &operation.locks {
            self.locks.remove(lock);
        }
        Self::answer(ctx, &operation, result);
    }

    fn answer(ctx: &mut Context<'_>, operation: &Operation, result: Result<Response, Status>) {
        if let Err(status) = &result {
            let (number, subject) = (operation.number, operation.request.subject());
            ctx.klog('E', "utils.go:271", &format!("ID: {number} Req-ID: {subject} GRPC error: {status}"));
        }
        let body = Body::Answer { id: operation.call, result };
        ctx.send(operation.caller, Duration::from_micros(300), body);
    }

    /// The keys that a call locks: what it is about, by handle and by the name it was made under.
    fn locks_of(&self, request: &Request) -> Vec<String> {
        match request {
            Request::Probe | Request::GetSnapshot { .. } => Vec::new(),
            Request::CreateSnapshot { name, .. } => vec![name.clone()],
            Request::DeleteSnapshot { snapshot, .. } => {
                let name = self.pool.with(|pool| pool.snapshots().get(snapshot).map(|found| found.name.clone()));
                std::iter::once(snapshot.clone()).chain(name).collect()
            }
            Request::CreateVolume { name, snapshot, .. } => {
                std::iter::once(name.clone()).chain(snapshot.clone()).collect()
            }
            Request::DeleteVolume { volume, .. } => vec![volume.clone()],
        }
    }

    fn handle(&self, ctx: &mut Context<'_>, request: &Request) -> Result<Response, Status> {
        match request {
            Request::Probe => return Ok(Response::Done),
            Request::GetSnapshot { .. } if !self.options.lists_snapshots => {
                return Err(Status::new(Code::Unimplemented, ""));
            }
            Request::GetSnapshot { .. } => {}
            Request::CreateSnapshot { secrets, .. }
            | Request::DeleteSnapshot { secrets, .. }
            | Request::CreateVolume { secrets, .. }
            | Request::DeleteVolume { secrets, .. } => self.check_secrets(secrets)?,
        }
        let (now, owner) = (ctx.now(), self.options.owner.as_str());
        self.pool.with(|pool| match request {
            Request::CreateSnapshot { name, volume, .. } => {
                let missing = || Status::new(Code::NotFound, format!("source Volume ID {volume} not found"));
                let handle = pool.snapshot(ctx.rng(), name, volume, now, owner).ok_or_else(missing)?;
                let snapshot = pool.describe(&handle, now, self.options.ready_after);
                snapshot.map(Response::Snapshot).ok_or_else(missing)
            }
            Request::DeleteSnapshot { snapshot, .. } => {
                pool.delete_snapshot(snapshot, now.wall, owner);
                Ok(Response::Done)
            }
            Request::CreateVolume { name, size, snapshot, .. } => {
                if let Some(source) = snapshot.as_ref().filter(|source| !pool.snapshots().contains_key(*source)) {
                    return Err(Status::new(Code::NotFound, format!("snapshot ID {source} not found")));
                }
                let (handle, size) = pool.volume(ctx.rng(), name, *size, snapshot.clone());
                Ok(Response::Volume { handle, size })
            }
            Request::DeleteVolume { volume, .. } => {
                pool.delete_volume(volume, now.wall, owner);
                Ok(Response::Done)
            }
            Request::GetSnapshot { snapshot } => {
                let missing = || Status::new(Code::NotFound, format!("there is no snapshot {snapshot}"));
                let found = pool.describe(snapshot, now, self.options.ready_after);
                found.map(Response::Snapshot).ok_or_else(missing)
            }
            Request::Probe => Ok(Response::Done),
        })
    }

    fn check_secrets(&self, secrets: &Secrets) -> Result<(), Status> {
        if self.options.wants_secrets && !secrets.contains_key("userID") {
            return Err(Status::new(Code::Internal, "missing ID field 'userID' in secrets"));
        }
        Ok(())
    }
}

impl Actor for CephDriver {
    fn name(&self) -> &'static str {
        "csi-rbdplugin"
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        let line = format!("Driver: {} is running", self.options.driver);
        ctx.klog('I', "server.go:117", &line);
    }

    fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        if let Some(operation) = self.running.remove(&timer) {
            self.finish(ctx, operation);
        }
    }

    fn message(&mut self, ctx: &mut Context<'_>, message: Message) {
        // A call whose caller gave up before it was read is never begun.
        if let Body::Call { id, request, deadline } = message.body
            && ctx.now().mono < deadline
        {
            self.begin(ctx, message.from, id, request);
        }
    }
}

/// RBD says "Volume ID" of snapshots too.
fn already_exists(key: &str) -> Status {
    Status::new(Code::Aborted, format!("an operation with the given Volume ID {key} already exists"))
}
