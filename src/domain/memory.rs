//! What the engine remembers besides the world: answers to its reads, and how long a shape has stood.
//!
//! All of it may be thrown away at any moment: it is read or seen again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::fact::{Answer, Live, LogTail, Now, Probe};
use super::finding::{Class, Subject};
use super::logline::{self, Attempt};
use super::name::{Key, Uid};
use super::record::Kind;

/// An answer older than this counts no more; it is asked for again at half that age.
const STALE: Duration = Duration::from_secs(600);
/// A log is read at most this often.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// A read without an answer for so long is lost.
const LOST: Duration = Duration::from_secs(30);

/// What a sidecar's log said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The newest failure of each content.
    Read {
        /// Of a deletion, by content name.
        attempts: BTreeMap<Box<str>, Attempt>,
        /// When its creation last failed, by content name.
        creations: BTreeMap<Box<str>, Timestamp>,
        /// The log is complete from here on.
        since: Option<Timestamp>,
        /// The log was read then: it says nothing of what came later.
        read: Timestamp,
    },
    /// RBAC refuses `pods/log`.
    Forbidden,
    /// It could not be read.
    Failed(Arc<str>),
}

/// Answers and standing shapes.
#[derive(Debug, Default)]
pub struct Memory {
    live: BTreeMap<(Kind, Key), (Live, Duration)>,
    logs: BTreeMap<(Key, Uid), (Log, Duration)>,
    claim_events: BTreeMap<Key, (Option<Arc<str>>, Duration)>,
    asked: BTreeMap<Probe, Duration>,
    shapes: BTreeMap<Subject, (Class, Duration)>,
    askers: BTreeMap<Probe, BTreeSet<Subject>>,
}

impl Memory {
    /// Takes an answer in; the subjects that waited for it.
    pub fn answer(&mut self, probe: Probe, answer: Answer, now: Now) -> BTreeSet<Subject> {
        self.asked.remove(&probe);
        let waiting = self.askers.remove(&probe).unwrap_or_default();
        match (probe, answer) {
            (Probe::Get { kind, key }, Answer::Get(live)) => {
                self.live.insert((kind, key), (live, now.mono));
            }
            (Probe::Log { pod, uid, .. }, Answer::Log(tail)) => {
                let log = match tail {
                    LogTail::Lines { text, since } => {
                        let (attempts, creations) = (logline::attempts(&text), logline::creations(&text));
                        Log::Read { attempts, creations, since, read: now.wall }
                    }
                    LogTail::Forbidden => Log::Forbidden,
                    LogTail::Failed(words) => Log::Failed(words),
                };
                self.logs.insert((pod, uid), (log, now.mono));
            }
            (Probe::ClaimEvents { claim, .. }, Answer::ClaimEvents(words)) => {
                self.claim_events.insert(claim, (words, now.mono));
            }
            // An answer of another kind than the question: the read is simply made again.
            (Probe::Get { .. } | Probe::Log { .. } | Probe::ClaimEvents { .. } | Probe::Look { .. }, _) => {}
        }
        waiting
    }

    /// Whether this read should be made now for `subject`: no usable answer, and not under way.
    pub fn ask(&mut self, probe: &Probe, subject: &Subject, now: Now) -> bool {
        let answered = match probe {
            Probe::Get { kind, key } => self.live.get(&(*kind, key.clone())).map(|(_, at)| (*at, STALE / 2)),
            Probe::Log { pod, uid, .. } => self.logs.get(&(pod.clone(), uid.clone())).map(|(_, at)| (*at, LOG_EVERY)),
            Probe::ClaimEvents { claim, .. } => self.claim_events.get(claim).map(|(_, at)| (*at, LOG_EVERY)),
            // Whoever wants to look knows himself how old a look may be.
            Probe::Look { .. } => None,
        };
        if answered.is_some_and(|(at, valid)| now.mono.saturating_sub(at) < valid) {
            return false;
        }
        self.askers.entry(probe.clone()).or_default().insert(subject.clone());
        if self.asked.get(probe).is_some_and(|at| now.mono.saturating_sub(*at) < LOST) {
            return false;
        }
        self.asked.insert(probe.clone(), now.mono);
        true
    }

    /// Whether a read is under way.
    #[must_use]
    pub fn waiting(&self, now: Now) -> bool {
        self.asked.values().any(|at| now.mono.saturating_sub(*at) < LOST)
    }

    /// What a live GET of this object answered, unless that is too long ago.
    #[must_use]
    pub fn live(&self, kind: Kind, key: &Key, now: Now) -> Option<&Live> {
        let (live, at) = self.live.get(&(kind, key.clone()))?;
        (now.mono.saturating_sub(*at) < STALE).then_some(live)
    }

    /// An object arrived: what was read of its absence, or of another one under its name, is void.
    pub fn forget_absence(&mut self, kind: Kind, key: &Key, uid: &Uid) {
        let place = (kind, key.clone());
        if self.live.get(&place).is_some_and(|(live, _)| *live != Live::Present(uid.clone())) {
            self.live.remove(&place);
        }
    }

    /// What was read of this object is void.
    pub fn forget_live(&mut self, kind: Kind, key: &Key) {
        self.live.remove(&(kind, key.clone()));
    }

    /// What the log of this pod's sidecar said.
    #[must_use]
    pub fn log(&self, pod: &Key, uid: &Uid) -> Option<&Log> {
        self.logs.get(&(pod.clone(), uid.clone())).map(|(log, _)| log)
    }

    /// The newest warning about a claim.
    #[must_use]
    pub fn claim_event(&self, claim: &Key) -> Option<&Arc<str>> {
        self.claim_events.get(claim).and_then(|(words, _)| words.as_ref())
    }

    /// How long the subject has had this shape without a break.
    #[must_use]
    pub fn held(&self, subject: &Subject, class: Class, now: Now) -> Duration {
        match self.shapes.get(subject) {
            Some((shape, since)) if *shape == class => now.mono.saturating_sub(*since),
            _ => Duration::ZERO,
        }
    }

    /// Notes the shape a subject has now.
    pub fn note_shape(&mut self, subject: &Subject, class: Option<Class>, now: Now) {
        match class {
            None => {
                self.shapes.remove(subject);
            }
            Some(class) => {
                let entry = self.shapes.entry(subject.clone()).or_insert((class, now.mono));
                if entry.0 != class {
                    *entry = (class, now.mono);
                }
            }
        }
    }

    /// Drops answers that nobody can use any more.
    pub fn shrink(&mut self, now: Now) {
        let fresh = |at: &Duration| now.mono.saturating_sub(*at) < STALE;
        self.live.retain(|_, (_, at)| fresh(at));
        self.logs.retain(|_, (_, at)| fresh(at));
        self.claim_events.retain(|_, (_, at)| fresh(at));
        let asked = &self.asked;
        self.askers.retain(|probe, _| asked.contains_key(probe));
    }
}
