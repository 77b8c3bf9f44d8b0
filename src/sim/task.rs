//! Straight-line code on virtual time: a worker's work, with a pause at every request it makes.
//!
//! Between a real controller's two requests the world goes on. To be true to that, work is written as an
//! `async fn` that asks through a [`Desk`]; each request takes its time, and others act meanwhile. There is no
//! runtime and no thread: [`Tasks`] polls a task exactly when the one thing it waits for has come.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::actors::csi;
use super::process::{Body, Context, ProcessId};
use super::store::table::Resource;
use super::throttle::Clients;
use crate::domain::fact::Now;

/// How long a request takes to reach the API server, and its answer to come back.
const ON_THE_WIRE: (Duration, Duration) = (Duration::from_micros(800), Duration::from_millis(4));
/// How long a local gRPC message takes.
const ON_THE_SOCKET: Duration = Duration::from_micros(300);

/// Something that several tasks of one process share.
#[derive(Debug, Default)]
pub struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    /// Shares it.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    /// Works with it.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut guard: MutexGuard<'_, T> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut guard)
    }
}

type Request = Box<dyn FnOnce(&mut Context<'_>) + Send>;
type Reply<R> = Shared<Option<R>>;
type Called = Result<csi::Response, csi::Status>;

enum Ask {
    Sleep { time: Duration, reply: Reply<()> },
    Api { of: &'static Resource, request: Request },
    Call { to: ProcessId, request: csi::Request, timeout: Duration, reply: Reply<Called> },
}

#[derive(Default)]
struct Slot {
    now: Option<Now>,
    ask: Option<Ask>,
    notes: Vec<Request>,
}

/// Where a task asks for things.
#[derive(Clone, Default)]
pub struct Desk(Shared<Slot>);

impl Desk {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let started = Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Duration::ZERO };
        self.0.with(|slot| slot.now).unwrap_or(started)
    }

    /// Something that takes no time, such as a line of log; done when the task next waits or ends.
    pub fn note(&self, note: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        self.0.with(|slot| slot.notes.push(Box::new(note)));
    }

    /// Waits.
    pub async fn sleep(&self, time: Duration) {
        self.ask(|reply| Ask::Sleep { time, reply }).await;
    }

    /// A request about a resource to the API server: it is sent when the client's rate limiter lets it, it reaches the
    /// server after a while, and so does its answer come back.
    pub async fn api<R: Send + 'static>(
        &self,
        of: &'static Resource,
        request: impl FnOnce(&mut Context<'_>) -> R + Send + 'static,
    ) -> R {
        self.ask(|reply: Reply<R>| {
            let request: Request = Box::new(move |ctx| {
                let result = request(ctx);
                reply.with(|reply| *reply = Some(result));
            });
            Ask::Api { of, request }
        })
        .await
    }

    /// A gRPC call, given up after `timeout`.
    ///
    /// # Errors
    /// The status of the server, or `DeadlineExceeded`.
    pub async fn call(&self, to: ProcessId, request: csi::Request, timeout: Duration) -> Called {
        self.ask(|reply| Ask::Call { to, request, timeout, reply }).await
    }

    async fn ask<R>(&self, ask: impl FnOnce(Reply<R>) -> Ask) -> R {
        let reply = Reply::default();
        let ask = ask(reply.clone());
        self.0.with(|slot| slot.ask = Some(ask));
        std::future::poll_fn(|_| reply.with(Option::take).map_or(Poll::Pending, Poll::Ready)).await
    }
}

/// What a task waits for.
enum Waits {
    /// Time.
    Sleep { reply: Reply<()> },
    /// That its request reaches the API server.
    Request { request: Request },
    /// That the answer of the API server comes back.
    Response,
    /// The answer to a gRPC call, or the end of its patience.
    Call { reply: Reply<Called> },
}

struct Task<T> {
    work: Pin<Box<dyn Future<Output = T> + Send>>,
    desk: Desk,
    waits: Option<Waits>,
}

/// The tasks of one process.
pub struct Tasks<T> {
    running: BTreeMap<u64, Task<T>>,
    /// The timer that wakes a task; for a call it is the call's number too.
    timers: BTreeMap<u64, u64>,
    clients: Clients,
    started: u64,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self { running: BTreeMap::new(), timers: BTreeMap::new(), clients: Clients::default(), started: 0 }
    }
}

impl<T> Tasks<T> {
    /// Starts a task; its result if it never had to wait.
    pub fn spawn<W>(&mut self, ctx: &mut Context<'_>, work: impl FnOnce(Desk) -> W) -> Option<T>
    where
        W: Future<Output = T> + Send + 'static,
    {
        let desk = Desk::default();
        desk.0.with(|slot| slot.now = Some(ctx.now()));
        let task = Task { work: Box::pin(work(desk.clone())), desk, waits: None };
        self.started += 1;
        self.running.insert(self.started, task);
        self.advance(ctx, self.started)
    }

    /// A timer ran out; the result of the task that it woke, if that ended.
    pub fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) -> Option<T> {
        let id = self.timers.remove(&timer)?;
        let task = self.running.get_mut(&id)?;
        match task.waits.take()? {
            Waits::Sleep { reply } => reply.with(|reply| *reply = Some(())),
            Waits::Request { request } => {
                request(ctx);
                task.waits = Some(Waits::Response);
                self.wake_after(ctx, id, ON_THE_WIRE);
                return None;
            }
            Waits::Response => {}
            Waits::Call { reply } => reply.with(|reply| *reply = Some(Err(csi::Status::deadline_exceeded()))),
        }
        self.advance(ctx, id)
    }

    /// A call was answered; the result of the task that made it, if that ended. A late answer is nobody's.
    pub fn answered(&mut self, ctx: &mut Context<'_>, call: u64, result: Called) -> Option<T> {
        let id = self.timers.remove(&call)?;
        let task = self.running.get_mut(&id)?;
        if let Some(Waits::Call { reply }) = task.waits.take() {
            reply.with(|reply| *reply = Some(result));
        }
        self.advance(ctx, id)
    }

    fn wake_after(&mut self, ctx: &mut Context<'_>, id: u64, (least, most): (Duration, Duration)) {
        let after = ctx.between(least, most);
        self.timers.insert(ctx.set_timer(after), id);
    }

    fn advance(&mut self, ctx: &mut Context<'_>, id: u64) -> Option<T> {
        let task = self.running.get_mut(&id)?;
        task.desk.0.with(|slot| slot.now = Some(ctx.now()));
        let polled = task.work.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
        let (ask, notes) = task.desk.0.with(|slot| (slot.ask.take(), std::mem::take(&mut slot.notes)));
        for note in notes {
            note(ctx);
        }
        if let Poll::Ready(result) = polled {
            self.running.remove(&id);
            return Some(result);
        }
        match ask? {
            Ask::Sleep { time, reply } => {
                task.waits = Some(Waits::Sleep { reply });
                self.wake_after(ctx, id, (time, time));
            }
            Ask::Api { of, request } => {
                task.waits = Some(Waits::Request { request });
                let held = self.clients.reserve(of, ctx.now().mono);
                self.wake_after(ctx, id, (held + ON_THE_WIRE.0, held + ON_THE_WIRE.1));
            }
            Ask::Call { to, request, timeout, reply } => {
                task.waits = Some(Waits::Call { reply });
                let call = ctx.set_timer(timeout);
                self.timers.insert(call, id);
                let deadline = ctx.now().mono + timeout;
                ctx.send(to, ON_THE_SOCKET, Body::Call { id: call, request, deadline });
            }
        }
        None
    }
}
