//! The workers of a controller: a queue of keys, so many hands, and straight-line work for each key.
//!
//! A worker does not pick up a key the moment it is added: a goroutine has to be woken. The little time this
//! takes decides which version of an object the work sees, so it is kept.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::csi;
use crate::sim::process::Context;
use crate::sim::task::{Desk, Tasks};
use crate::sim::work_queue::{Backoff, WorkQueue};

/// How long it takes until a free worker has a key in its hands.
const PICKED_UP: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(1));

/// What becomes of a key after the work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is well.
    Done,
    /// It must be tried again, later each time.
    Again,
}

type Work<K> = Pin<Box<dyn Future<Output = (K, Outcome)> + Send>>;
type Program<K> = Box<dyn Fn(K, Desk) -> Work<K> + Send>;

/// The workers of one controller.
pub struct Workers<K> {
    most: usize,
    queue: WorkQueue<K>,
    tasks: Tasks<(K, Outcome)>,
    later: BTreeMap<u64, K>,
    pickup: Option<u64>,
    program: Program<K>,
}

impl<K: Ord + Clone + Send + 'static> Workers<K> {
    /// So many workers that do this with each key.
    pub fn new<W>(most: usize, backoff: Backoff, program: impl Fn(K, Desk) -> W + Send + 'static) -> Self
    where
        W: Future<Output = Outcome> + Send + 'static,
    {
        let program = move |key: K, desk: Desk| -> Work<K> {
            let work = program(key.clone(), desk);
            Box::pin(async move { (key, work.await) })
        };
        Self {
            most,
            queue: WorkQueue::new(backoff),
            tasks: Tasks::default(),
            later: BTreeMap::new(),
            pickup: None,
            program: Box::new(program),
        }
    }

    /// Work on this key as soon as a worker is free.
    pub fn add(&mut self, ctx: &mut Context<'_>, key: K) {
        self.queue.add(key);
        self.wake(ctx);
    }

    /// A timer of the process ran out; it may be one of ours.
    pub fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) {
        if self.pickup == Some(timer) {
            self.pickup = None;
            return self.pick_up(ctx);
        }
        if let Some(key) = self.later.remove(&timer) {
            return self.add(ctx, key);
        }
        if let Some(ended) = self.tasks.timer(ctx, timer) {
            self.finish(ctx, ended);
        }
    }

    /// A gRPC call was answered; it may be one of ours.
    pub fn answered(&mut self, ctx: &mut Context<'_>, call: u64, result: Result<csi::Response, csi::Status>) {
        if let Some(ended) = self.tasks.answered(ctx, call, result) {
            self.finish(ctx, ended);
        }
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        if self.pickup.is_none() && self.queue.is_waiting() && self.queue.working() < self.most {
            let after = ctx.between(PICKED_UP.0, PICKED_UP.1);
            self.pickup = Some(ctx.set_timer(after));
        }
    }

    fn pick_up(&mut self, ctx: &mut Context<'_>) {
        while self.queue.working() < self.most {
            let Some(key) = self.queue.get() else { return };
            if let Some(ended) = self.tasks.spawn(ctx, |desk| (self.program)(key, desk)) {
                self.finish(ctx, ended);
            }
        }
    }

    fn finish(&mut self, ctx: &mut Context<'_>, (key, outcome): (K, Outcome)) {
        match outcome {
            Outcome::Done => self.queue.forget(&key),
            Outcome::Again => {
                let after = self.queue.failed(key.clone());
                self.later.insert(ctx.set_timer(after), key.clone());
            }
        }
        self.queue.done(&key);
        self.wake(ctx);
    }
}
