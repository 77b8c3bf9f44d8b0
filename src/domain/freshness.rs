//! How far each watched collection can be trusted.
//!
//! "Not installed" is an empty set, "forbidden" and "failing" are unknown ones, and a silent source grows
//! stale. Decisions that rest on an absence must ask here first: a list that never completed holds no proof
//! that anything is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fact::{Now, Source, SourceChange};

/// A watch that was silent for longer has to catch up before its silence means anything.
const CATCHING_UP: Duration = Duration::from_secs(30);

/// A watch sends a bookmark a minute: one that was silent for longer was not followed.
const NOT_FOLLOWED: Duration = Duration::from_secs(75);

/// State of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was heard yet, or a list is under way.
    Syncing,
    /// A list completed and changes follow.
    Synced,
    /// The server does not know the kind.
    NotInstalled,
    /// The server refuses us.
    Forbidden(Arc<str>),
    /// The source fails; what was known before is stale.
    Failing(Arc<str>),
}

impl State {
    /// The public word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Syncing => "Syncing",
            Self::Synced => "Synced",
            Self::NotInstalled => "NotInstalled",
            Self::Forbidden(_) => "Forbidden",
            Self::Failing(_) => "Failing",
        }
    }
}

/// One collection's state and its last sign of life.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// State.
    pub state: State,
    /// A list has completed at least once since the process began.
    pub ever_synced: bool,
    /// When the server last said anything about it, on the monotonic clock.
    pub heard: Option<Duration>,
    followed: Followed,
    /// The list under way is the first one since it could not be read.
    lost: bool,
}

/// How far the watch itself has been followed. An answer on another connection says nothing about that.
#[derive(Clone, Copy, Debug, Default)]
struct Followed {
    /// When it said something last.
    last: Option<Duration>,
    silence: Option<Silence>,
}

/// The last silence that was long enough for something to have been missed.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// Up to here everything had been told.
    before: Duration,
    /// What ended it.
    end: Duration,
    /// Not even a bookmark came: the watch may have been another one since.
    broken: bool,
}

impl Followed {
    fn speaks(&mut self, now: Now) {
        if let Some(last) = self.last.filter(|last| now.mono.saturating_sub(*last) > CATCHING_UP) {
            // Cut off again before it had caught up, it has told no more than before the first time.
            let before = self.catching_up(now).map_or(last, |silence| silence.before);
            let broken = now.mono.saturating_sub(last) > NOT_FOLLOWED;
            self.silence = Some(Silence { before, end: now.mono, broken });
        }
        self.last = Some(now.mono);
    }

    /// The silence whose gap it has not told yet. A watch that broke has to be heard again after that time: the mere
    /// passing of it tells nothing, it may have died once more.
    fn catching_up(&self, now: Now) -> Option<Silence> {
        let silence = self.silence?;
        let heard = if silence.broken { self.last? } else { now.mono };
        (heard.saturating_sub(silence.end) < CATCHING_UP).then_some(silence)
    }
}

/// The freshness of every collection.
#[derive(Clone, Debug)]
pub struct Sources(BTreeMap<Source, Freshness>);

impl Default for Sources {
    fn default() -> Self {
        let fresh = || Freshness {
            state: State::Syncing,
            ever_synced: false,
            heard: None,
            followed: Followed::default(),
            lost: false,
        };
        Self(Source::ALL.into_iter().map(|source| (source, fresh())).collect())
    }
}

impl Sources {
    /// Takes a change of state in.
    pub fn apply(&mut self, source: Source, change: &SourceChange, now: Now) {
        let Some(entry) = self.0.get_mut(&source) else { return };
        match change {
            SourceChange::ListBegan => {
                entry.lost |= matches!(entry.state, State::Failing(_) | State::Forbidden(_));
                entry.state = State::Syncing;
            }
            SourceChange::ListEnded => {
                entry.lost = false;
                entry.state = State::Synced;
                entry.ever_synced = true;
            }
            // A failing source whose watch goes on again says so with a sign of life.
            SourceChange::Progress | SourceChange::Answered | SourceChange::Unreadable(_) => {
                if matches!(entry.state, State::Failing(_)) && entry.ever_synced {
                    entry.state = State::Synced;
                }
            }
            SourceChange::NotInstalled => entry.state = State::NotInstalled,
            SourceChange::Forbidden(words) => entry.state = State::Forbidden(Arc::clone(words)),
            SourceChange::Failing(words) => entry.state = State::Failing(Arc::clone(words)),
        }
        if !matches!(change, SourceChange::Failing(_) | SourceChange::ListBegan) {
            entry.heard = Some(now.mono);
        }
        if matches!(change, SourceChange::Progress | SourceChange::ListEnded | SourceChange::Unreadable(_)) {
            entry.followed.speaks(now);
        }
    }

    /// An object of the collection arrived: a sign of life, and the end of a failure.
    pub fn heard(&mut self, source: Source, now: Now) {
        if let Some(entry) = self.0.get_mut(&source) {
            entry.heard = Some(now.mono);
            entry.followed.speaks(now);
            if matches!(entry.state, State::Failing(_)) && entry.ever_synced {
                entry.state = State::Synced;
            }
        }
    }

    /// Whatever happened in this collection up to then has been told: that something stands still can be said of
    /// that time only. A watch that is dead or cut off says nothing, and after a silence it first catches up.
    #[must_use]
    pub fn told_up_to(&self, source: Source, now: Now) -> Option<Duration> {
        let followed = self.get(source)?.followed;
        followed.catching_up(now).map(|silence| silence.before).or(followed.last)
    }

    /// After a long silence its watch is told what happened meanwhile: when that was cannot be said.
    #[must_use]
    pub fn catches_up(&self, source: Source, now: Now) -> bool {
        self.get(source).is_some_and(|entry| {
            let silence = entry.followed.silence;
            silence.is_some_and(|silence| silence.broken && now.mono.saturating_sub(silence.end) < CATCHING_UP)
        })
    }

    /// One collection.
    #[must_use]
    pub fn get(&self, source: Source) -> Option<&Freshness> {
        self.0.get(&source)
    }

    /// The set can be reasoned about: complete, or known not to exist.
    #[must_use]
    pub fn known(&self, source: Source) -> bool {
        self.get(source).is_some_and(|entry| matches!(entry.state, State::Synced | State::NotInstalled))
    }

    /// Why the set cannot be reasoned about, in words; `None` when it can.
    #[must_use]
    pub fn doubt(&self, source: Source) -> Option<String> {
        match &self.get(source)?.state {
            State::Synced | State::NotInstalled => None,
            State::Syncing => Some(format!("{source}s are not listed yet")),
            State::Forbidden(_) => Some(format!("{source}s may not be read (forbidden)")),
            State::Failing(words) => Some(format!("{source}s cannot be read now ({words})")),
        }
    }

    /// Why what is known of the set may be no longer so, in words. A list under way takes nothing back, unless it is
    /// the first since a loss.
    #[must_use]
    pub fn outdated(&self, source: Source) -> Option<String> {
        self.doubt(source).filter(|_| self.get(source).is_some_and(|entry| entry.lost || entry.state != State::Syncing))
    }

    /// No collection is still on its first list.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.0.values().all(|entry| entry.state != State::Syncing)
    }

    /// Every collection is complete or not installed; otherwise those that are not.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.0.keys().all(|source| self.known(*source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Now {
        Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Duration::from_secs(second) }
    }

    #[test]
    fn not_installed_is_known_and_empty_but_forbidden_is_unknown() {
        let mut sources = Sources::default();
        assert!(!sources.known(Source::Pods));
        sources.apply(Source::Pods, &SourceChange::Forbidden("no".into()), at(1));
        assert!(!sources.known(Source::Pods));
        assert!(sources.doubt(Source::Pods).unwrap().contains("forbidden"));
        sources.apply(Source::Pods, &SourceChange::NotInstalled, at(2));
        assert!(sources.known(Source::Pods));
        assert_eq!(sources.doubt(Source::Pods), None);
    }

    #[test]
    fn a_source_that_never_completed_a_list_is_not_healed_by_a_sign_of_life() {
        let mut sources = Sources::default();
        sources.apply(Source::Pods, &SourceChange::Failing("500".into()), at(1));
        sources.apply(Source::Pods, &SourceChange::Progress, at(2));
        assert!(!sources.known(Source::Pods));
        sources.apply(Source::Pods, &SourceChange::ListEnded, at(3));
        sources.apply(Source::Pods, &SourceChange::Failing("500".into()), at(4));
        assert!(!sources.known(Source::Pods));
        sources.apply(Source::Pods, &SourceChange::Progress, at(5));
        assert!(sources.known(Source::Pods));
    }

    #[test]
    fn what_a_watch_has_not_told_yet_did_not_stand_still() {
        let mut sources = Sources::default();
        let told =
            |sources: &Sources, second| sources.told_up_to(Source::Leases, at(second)).map(|told| told.as_secs());
        assert_eq!(told(&sources, 1), None);
        sources.apply(Source::Leases, &SourceChange::ListEnded, at(1));
        sources.heard(Source::Leases, at(8));
        sources.heard(Source::Leases, at(16));
        assert_eq!(told(&sources, 16), Some(16));
        sources.apply(Source::Leases, &SourceChange::Answered, at(76));
        sources.apply(Source::Leases, &SourceChange::Failing("timed out".into()), at(80));
        assert_eq!(told(&sources, 100), Some(16), "silence of the watch, whoever else answers");
        sources.heard(Source::Leases, at(166));
        assert_eq!(told(&sources, 195), Some(16), "what came meanwhile may be on its way");
        assert!(sources.catches_up(Source::Leases, at(195)));
        assert_eq!(told(&sources, 196), Some(16), "nobody has heard of it since");
        assert!(!sources.catches_up(Source::Leases, at(196)));
        sources.apply(Source::Leases, &SourceChange::Progress, at(226));
        assert_eq!(told(&sources, 255), Some(16), "what this ended was a silence too");
        assert!(!sources.catches_up(Source::Leases, at(226)), "but none in which a bookmark was missed");
        assert_eq!(told(&sources, 256), Some(226));
        sources.apply(Source::Leases, &SourceChange::Progress, at(286));
        assert_eq!(told(&sources, 286), Some(226), "a bookmark a minute takes nothing back");
        assert_eq!(told(&sources, 316), Some(286));
    }

    #[test]
    fn a_watch_that_breaks_again_while_it_catches_up_has_told_nothing_of_the_gap() {
        let mut sources = Sources::default();
        let told =
            |sources: &Sources, second| sources.told_up_to(Source::Leases, at(second)).map(|told| told.as_secs());
        sources.heard(Source::Leases, at(10));
        for second in [160, 162, 165] {
            sources.heard(Source::Leases, at(second));
        }
        assert_eq!(told(&sources, 230), Some(10), "it died over the second line");
        sources.heard(Source::Leases, at(260));
        assert_eq!(told(&sources, 260), Some(10), "and told no more when it came back");
        for second in (262..=290).step_by(2) {
            sources.heard(Source::Leases, at(second));
        }
        assert_eq!(told(&sources, 290), Some(290));
    }

    #[test]
    fn what_was_lost_is_outdated_until_the_next_list_is_whole() {
        let mut sources = Sources::default();
        let mut told = |change: SourceChange| {
            sources.apply(Source::Pods, &change, at(1));
            sources.outdated(Source::Pods).is_some()
        };
        assert!(!told(SourceChange::ListEnded));
        assert!(!told(SourceChange::ListBegan), "a list among others");
        assert!(!told(SourceChange::ListEnded));
        assert!(told(SourceChange::Forbidden("no".into())));
        assert!(told(SourceChange::ListBegan));
        assert!(!told(SourceChange::ListEnded));
    }

    #[test]
    fn a_relist_under_way_proves_nothing_absent() {
        let mut sources = Sources::default();
        sources.apply(Source::Snapshots, &SourceChange::ListEnded, at(1));
        sources.apply(Source::Snapshots, &SourceChange::ListBegan, at(2));
        assert!(!sources.known(Source::Snapshots));
    }
}
