//! The engine: one fact at a time in, effects out.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::fact::{Fact, Now, Probe, Source};
use super::finding::{Cause, Class, Finding, Subject, Verdict};

/// How the engine judges; the same for daemon and one-shot commands but for `eager`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Report what a longer look would be needed for, marked `unverified` (`doctor`); the daemon waits instead.
    pub eager: bool,
    /// Raises every floor to at least this; can never lower one.
    pub min_floor: Duration,
}

/// What a step asks of the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this read and bring the answer back as a fact.
    Probe(Probe),
    /// A finding appeared, or changed its class.
    Found(Box<Finding>),
    /// A finding is over.
    Cleared(Subject, Class),
}

/// A watched collection as a report shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Public name of the collection.
    pub kind: &'static str,
    /// `Synced`, `Syncing`, `NotInstalled`, `Forbidden` or `Failing`.
    pub state: &'static str,
    /// Objects in the collection, as far as known.
    pub objects: u64,
    /// Seconds since the API server last said anything about it; absent where nothing is watched.
    pub silent_seconds: Option<u64>,
    /// The API server's words when it is Forbidden or Failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
}

/// Why one object is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The object.
    pub subject: Subject,
    /// What can be said of it.
    pub verdict: Verdict,
    /// Other findings it hangs on or that hang on it.
    pub related: Vec<Cause>,
}

/// World, findings and timers. The only writer of all three.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
}

impl Engine {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Takes one fact in and says what the shell should do.
    pub fn step(&mut self, _fact: Fact, _now: Now) -> Vec<Effect> {
        let _ = &self.settings;
        Vec::new()
    }

    /// When to call [`step`](Self::step) with [`Fact::Tick`] at the latest, on the monotonic clock.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        None
    }

    /// All findings, worst first, what hangs on a cause directly after it.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        Vec::new()
    }

    /// Every source, in the order of [`Source::ALL`].
    #[must_use]
    pub fn sources(&self, _now: Now) -> Vec<SourceView> {
        let _ = Source::ALL;
        Vec::new()
    }

    /// Every source has either synced or is known not to be there, refused or failing.
    #[must_use]
    pub fn settled(&self) -> bool {
        false
    }

    /// Every source has either synced or is known not to be installed: what `/readyz` answers.
    #[must_use]
    pub fn ready(&self) -> bool {
        false
    }

    /// Something would become surer with a longer look (a lease not yet seen to renew, a read under way).
    #[must_use]
    pub fn undecided(&self, _now: Now) -> bool {
        false
    }

    /// The longest `leaseDurationSeconds` among the leases that matter: how long a look has to be.
    #[must_use]
    pub fn longest_lease(&self) -> Option<Duration> {
        None
    }

    /// Why this object is as it is, healthy ones too.
    #[must_use]
    pub fn explain(&self, subject: &Subject, _now: Now) -> Explanation {
        Explanation { subject: subject.clone(), verdict: Verdict::NotFound, related: Vec::new() }
    }
}
