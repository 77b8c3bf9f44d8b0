//! The one path on which Volwarden changes a cluster: actions, the ledger, the orphan ledger.
//!
//! It carries out what the engine let out and decides nothing. Each write is made once, with preconditions, within
//! what is left of our own lease at that very moment; an action reads its target afresh first and patches exactly
//! what that read showed. What it exists to prevent is a write that was right a while ago.

pub mod consent;
pub mod demand;
pub mod fence;
pub mod prune;
pub mod reclaim;
pub mod repository;
pub(in crate::io) mod send;
mod store;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::domain::engine::Effect;
use crate::domain::fact::{Acted, Fact};
use crate::domain::guard::Guarded;
use crate::domain::ledger::{Outcome, Record};
use crate::domain::policy::{Policy, Standing};
use crate::domain::remedy::action::{ACT, Action, TargetKind};
use crate::domain::remedy::fresh::{Fit, Looked, Op, Request};

use super::clock::Clock;
use super::probe::{look_at, target_path};
use super::report::Reporter;
use super::request::{JSON, Refusal};
use consent::Ours;
use send::{Call, JSON_PATCH, outcome, send};
use store::Store;

/// Writes under way at the same time.
const AT_ONCE: usize = 8;
/// Stored entries that wait to be told of.
const NEWS: usize = 256;
/// Why nothing is written any more.
const OVER: &str = "our lease is over";

/// Carries out what the engine asks to have written, until it asks no more or nobody wants the answers.
pub async fn run<C: Clock>(
    client: Client,
    errands: mpsc::Receiver<Effect>,
    facts: mpsc::Sender<Fact>,
    lease: watch::Receiver<Option<Duration>>,
    clock: C,
    reporter: Reporter,
) {
    let (news, told) = mpsc::channel(NEWS);
    let hands = Hands { store: Store::new(client.clone()), client, lease, clock: clock.clone(), news };
    let errands =
        stream::unfold(errands, |mut errands| async move { errands.recv().await.map(|errand| (errand, errands)) });
    let served = errands.for_each_concurrent(AT_ONCE, |errand| {
        let (hands, facts) = (&hands, &facts);
        async move {
            if let Some(fact) = hands.carry_out(errand).await {
                // The receiver's end is noticed below.
                let _ = facts.send(fact).await;
            }
        }
    });
    tokio::select! {
        () = facts.closed() => {}
        () = served => {}
        () = report(reporter, told, clock) => {}
    }
}

/// Tells what was stored, beside the hands: an Event that hangs must not keep a repair waiting.
async fn report<C: Clock>(reporter: Reporter, mut told: mpsc::Receiver<Box<Record>>, clock: C) {
    while let Some(record) = told.recv().await {
        reporter.tell(&record, clock.now().wall).await;
    }
}

/// How long a write may take from now, by our lease and a deadline on the same clock; `None`: it may not be sent any
/// more.
fn left(lease: &watch::Receiver<Option<Duration>>, clock: &impl Clock, deadline: Duration) -> Option<Duration> {
    let until = (*lease.borrow())?.min(deadline);
    until.checked_sub(clock.now().mono).filter(|left| !left.is_zero()).map(|left| left.min(ACT))
}

struct Hands<C> {
    client: Client,
    store: Store,
    lease: watch::Receiver<Option<Duration>>,
    clock: C,
    news: mpsc::Sender<Box<Record>>,
}

impl<C: Clock> Hands<C> {
    async fn carry_out(&self, errand: Effect) -> Option<Fact> {
        match errand {
            Effect::Record(record) => {
                self.confirm_orphan(&record).await;
                let stored = self.within(self.store.record(&record)).await;
                let name = record.name.clone();
                match &stored {
                    Ok(_) => {
                        if self.news.try_send(record).is_err() {
                            warn!(remediation = &*name, "so much is to be told that its Event and trace are left out");
                        }
                    }
                    Err(words) => warn!(remediation = &*name, %words, "the ledger's entry was not stored"),
                }
                Some(Fact::Recorded(name, stored))
            }
            Effect::Announce(orphan, record) => {
                let entered = self.within(self.store.announce(&orphan, &record, self.clock.now().wall)).await;
                if let Err(words) = entered {
                    warn!(remediation = &*record, orphan = orphan.name(), %words, "the orphan was not entered");
                }
                None
            }
            Effect::Act(guarded) => Some(Fact::Acted(self.acted(&guarded).await)),
            Effect::Forget(name) => {
                if let Err(words) = self.within(self.store.forget(&name)).await {
                    warn!(remediation = &*name, %words, "an old entry of the ledger could not be deleted");
                }
                None
            }
            Effect::Probe(_) | Effect::Found(_) | Effect::Cleared(..) => None,
        }
    }

    /// Before an episode that announced an orphan is stored as over: whoever let the content go may have ended in
    /// between, and nobody would write afterwards that the entry has come true.
    async fn confirm_orphan(&self, record: &Record) {
        let Some(name) = record.orphan.as_deref().filter(|_| record.phase.is_over()) else { return };
        let Some(patience) = self.left(Duration::MAX) else { return };
        let holds = match look_at(&self.client, TargetKind::Content, &record.subject.key, patience).await {
            Looked::Absent => false,
            Looked::There(look) => record.uid.as_ref() == Some(&look.uid),
            Looked::Unknown(_) => true,
        };
        if holds {
            return;
        }
        if let Err(words) = self.within(self.store.orphaned(name, self.clock.now().wall)).await {
            warn!(orphan = name, %words, "the entry stands, and its phase could not be written");
        }
    }

    fn left(&self, deadline: Duration) -> Option<Duration> {
        left(&self.lease, &self.clock, deadline)
    }

    /// All of what belongs together, within what is left of our lease now: a second write begins no later than that.
    async fn within<T>(&self, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Arc<str>> {
        let Some(left) = self.left(Duration::MAX) else { return Err(OVER.into()) };
        let mut lease = self.lease.clone();
        tokio::select! {
            biased;
            _ = lease.wait_for(Option::is_none) => Err(OVER.into()),
            done = timeout(left, work) => match done {
                Ok(done) => done.map_err(|refusal| refusal.words),
                Err(_) => Err(format!("not done within {} s, as long as it may take", left.as_secs()).into()),
            }
        }
    }

    async fn acted(&self, guarded: &Guarded) -> Acted {
        let (outcome, message) = self.act(guarded).await;
        let action = guarded.action();
        info!(
            remediation = &**guarded.record(),
            attempt = guarded.attempt(),
            rung = action.step.as_str(),
            target = %action.target,
            outcome = outcome.as_str(),
            message,
            "acted"
        );
        if outcome == Outcome::Applied
            && let Some(orphan) = &action.orphan
            && let Err(words) = self.within(self.store.orphaned(&orphan.name(), self.clock.now().wall)).await
        {
            warn!(orphan = orphan.name(), %words, "the entry stands, and its phase could not be written");
        }
        Acted { record: guarded.record().as_ref().into(), attempt: guarded.attempt(), outcome, message: message.into() }
    }

    async fn act(&self, guarded: &Guarded) -> (Outcome, String) {
        let late = || (Outcome::Lost, "its time was over before it could be sent: nothing was changed".to_owned());
        let action = guarded.action();
        let Some(patience) = self.left(guarded.deadline()) else { return late() };
        let looked = look_at(&self.client, action.target.kind, &action.target.key, patience).await;
        let request = match action.fit(&looked, guarded.intended()) {
            Fit::Send(request) => request,
            Fit::Done => return (Outcome::Applied, "its effect is there already".to_owned()),
            Fit::Lost(why) => return (Outcome::Lost, why),
        };
        let Some(patience) = self.left(guarded.deadline()) else { return late() };
        match send(&self.client, call(action, &request), patience).await {
            Ok(_) => (Outcome::Applied, "the API server took it".to_owned()),
            Err(refusal) => (outcome(&refusal), refusal.words.to_string()),
        }
    }
}

/// Writes how a policy stands into its status, where that is news.
pub async fn tell(client: &Client, policy: &Policy, standing: &Standing, now: Timestamp, patience: Duration) {
    let Some(patch) = super::policy::status(policy, standing, now) else { return };
    let uri = format!("{}/status", Ours::Policy.object(policy.name()));
    if let Err(refusal) = send(client, Call::merge(uri, patch), patience).await {
        debug!(policy = &**policy.name(), %refusal, "its status could not be written");
    }
}

/// What the API server says of an action that it checks in full and does not carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// It would take it.
    Taken,
    /// Whoever asks may not write so. The daemon's account may, and the other way round.
    Forbidden(Arc<str>),
    /// It would not take it, or there is nothing to send, or no answer came.
    Refused(Outcome, Arc<str>),
}

/// Has the API server check an action: nothing is written.
pub async fn rehearse(client: &Client, action: &Action, intended: Timestamp) -> Rehearsal {
    let looked = look_at(client, action.target.kind, &action.target.key, ACT).await;
    match action.fit(&looked, intended) {
        Fit::Send(request) => match send(client, call(action, &request).dry(), ACT).await {
            Ok(_) => Rehearsal::Taken,
            Err(refusal) if refusal.forbidden() => Rehearsal::Forbidden(refusal.words),
            Err(refusal) => Rehearsal::Refused(outcome(&refusal), refusal.words),
        },
        Fit::Done => Rehearsal::Taken,
        Fit::Lost(why) => Rehearsal::Refused(Outcome::Lost, why.into()),
    }
}

fn call(action: &Action, request: &Request) -> Call {
    let uri = target_path(action.target.kind, &action.target.key);
    match request {
        Request::Patch(ops) => Call { method: Method::PATCH, uri, content: JSON_PATCH, body: patch(ops) },
        Request::Delete { uid, version } => {
            let preconditions = json!({"uid": uid.to_string(), "resourceVersion": &**version});
            let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
            Call { method: Method::DELETE, uri, content: JSON, body }
        }
    }
}

/// A JSON patch as it is sent.
#[must_use]
pub fn patch(ops: &[Op]) -> Value {
    let op = |op: &Op| match op {
        Op::Test(path, value) => json!({"op": "test", "path": path, "value": value}),
        Op::Add(path, value) => json!({"op": "add", "path": path, "value": value}),
        Op::AddMap(path) => json!({"op": "add", "path": path, "value": {}}),
        Op::Remove(path) => json!({"op": "remove", "path": path}),
    };
    ops.iter().map(op).collect()
}

#[cfg(test)]
mod tests;
