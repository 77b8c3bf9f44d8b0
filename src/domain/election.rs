//! Who leads: the algorithm on our own Lease, as client-go has it, without a clock and without a client.
//!
//! A candidate trusts only its own monotonic clock: a lease has run out when this process has watched it stand
//! still for the lease's length, however far apart the clocks of two replicas are. A leader counts from before it
//! sent the renewal, and gives up well before others may take over. Every write carries the version that was
//! read, so of two that try at once one fails. What this exists to prevent is two replicas that both write.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::fact::Now;

/// How an election is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who we are; another one after each start.
    pub identity: Arc<str>,
    /// How long a lease holds.
    pub duration: Duration,
    /// How long after its last renewal a leader still counts itself as one.
    pub renew_deadline: Duration,
    /// The time between two tries.
    pub retry: Duration,
}

impl Rules {
    /// client-go's times: 15, 10 and 2 seconds.
    #[must_use]
    pub fn new(identity: impl Into<Arc<str>>) -> Self {
        let seconds = Duration::from_secs;
        Self { identity: identity.into(), duration: seconds(15), renew_deadline: seconds(10), retry: seconds(2) }
    }
}

/// The lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// `metadata.resourceVersion`.
    pub version: Box<str>,
    /// `spec.holderIdentity`; empty when released.
    pub holder: Box<str>,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
    /// `spec.acquireTime`.
    pub acquired: Option<Timestamp>,
    /// `spec.renewTime`, by the holder's clock: it is only ever compared with itself.
    pub renewed: Option<Timestamp>,
    /// `spec.leaseTransitions`.
    pub transitions: i32,
}

/// What a read of the lease showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// There is none.
    Absent,
    /// There is one.
    Held(Held),
    /// It could not be read.
    Unknown,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The version that has to be replaced; `None`: it has to be created.
    pub version: Option<Box<str>>,
    /// The holder: us, or nobody on a release.
    pub holder: Arc<str>,
    /// How long it holds.
    pub duration: Duration,
    /// `spec.acquireTime`.
    pub acquired: Timestamp,
    /// `spec.renewTime`.
    pub renewed: Timestamp,
    /// `spec.leaseTransitions`.
    pub transitions: i32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take the lease: write this, then tell [`Election::written`].
    Acquire(Claim),
    /// Renew it: write this, then tell [`Election::written`].
    Renew(Claim),
    /// Somebody else has it, or it could not be kept: stop every write at once.
    Yield,
    /// Read again at this monotonic time.
    Sleep(Duration),
}

/// One candidate.
#[derive(Debug)]
pub struct Election {
    rules: Rules,
    /// The lease as it was last seen to change, and when.
    seen: Option<(Held, Duration)>,
    /// When the write that is under way was begun.
    writing: Option<Duration>,
    /// When the last renewal that was answered had been begun.
    renewed: Option<Duration>,
    next: Duration,
}

impl Election {
    /// Stands for election.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, seen: None, writing: None, renewed: None, next: Duration::ZERO }
    }

    /// Until when we lead, on the monotonic clock; `None` if we do not.
    #[must_use]
    pub fn leads_until(&self) -> Option<Duration> {
        self.renewed.map(|at| at + self.rules.renew_deadline)
    }

    /// Whether we lead now.
    #[must_use]
    pub fn leads(&self, now: Now) -> bool {
        self.leads_until().is_some_and(|until| until > now.mono)
    }

    /// When to read the lease again.
    #[must_use]
    pub fn next(&self) -> Duration {
        self.next
    }

    /// Takes in what a read showed; what to do.
    pub fn observe(&mut self, view: &View, now: Now) -> Step {
        self.next = now.mono + self.rules.retry;
        if self.renewed.is_some() && !self.leads(now) {
            return self.lose();
        }
        match view {
            View::Unknown => Step::Sleep(self.next),
            View::Absent if self.renewed.is_some() => self.lose(),
            View::Absent => {
                self.seen = None;
                self.writing = Some(now.mono);
                Step::Acquire(self.claim(None, now.wall, 0, now))
            }
            View::Held(held) => self.held(held, now),
        }
    }

    fn held(&mut self, held: &Held, now: Now) -> Step {
        // Whatever changed in it shows that somebody lives, also what is no renewal.
        let changed = self.seen.as_ref().is_none_or(|(before, _)| before != held);
        if changed {
            self.seen = Some((held.clone(), now.mono));
        }
        let ours = *held.holder == *self.rules.identity;
        if ours {
            // Ours by name and not by our own doing: a write whose answer was lost. It is renewed like any other,
            // and counts from then.
            self.writing = Some(now.mono);
            let acquired = held.acquired.unwrap_or(now.wall);
            return Step::Renew(self.claim(Some(&held.version), acquired, held.transitions, now));
        }
        if self.renewed.is_some() {
            return self.lose();
        }
        let stands = self.seen.as_ref().map_or(Duration::ZERO, |(_, at)| now.mono.saturating_sub(*at));
        let free = held.holder.is_empty() || stands >= held.duration.max(self.rules.duration);
        if !free {
            return Step::Sleep(self.next);
        }
        self.writing = Some(now.mono);
        Step::Acquire(self.claim(Some(&held.version), now.wall, held.transitions.saturating_add(1), now))
    }

    fn claim(&self, version: Option<&str>, acquired: Timestamp, transitions: i32, now: Now) -> Claim {
        Claim {
            version: version.map(Into::into),
            holder: Arc::clone(&self.rules.identity),
            duration: self.rules.duration,
            acquired,
            renewed: now.wall,
            transitions,
        }
    }

    /// The write that was asked for was taken, or was not.
    pub fn written(&mut self, taken: bool, now: Now) -> Step {
        let begun = self.writing.take();
        if taken && let Some(begun) = begun {
            self.renewed = Some(begun);
        }
        if self.renewed.is_some() && !self.leads(now) {
            return self.lose();
        }
        self.next = now.mono + self.rules.retry;
        Step::Sleep(self.next)
    }

    /// Gives the lease up at shutdown: what to write, if it is ours to release. Nobody waits it out then.
    pub fn release(&mut self, view: &View, now: Now) -> Option<Claim> {
        let led = self.renewed.take().is_some();
        let View::Held(held) = view else { return None };
        (led && *held.holder == *self.rules.identity).then(|| Claim {
            holder: Arc::from(""),
            duration: Duration::from_secs(1),
            ..self.claim(Some(&held.version), held.acquired.unwrap_or(now.wall), held.transitions, now)
        })
    }

    fn lose(&mut self) -> Step {
        self.renewed = None;
        self.writing = None;
        Step::Yield
    }
}

#[cfg(test)]
mod tests;
