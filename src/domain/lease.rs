//! Whether the holder of somebody else's lease lives.
//!
//! Judged on our monotonic clock since we last saw the lease change, never by comparing its `renewTime` with
//! our wall clock: two clocks a minute apart would make every healthy leader look dead. The wall clock may
//! only make us look longer, or - for a one-shot command that cannot - mark what it reports as unverified.

use std::time::Duration;

use jiff::Timestamp;

use super::fact::Now;
use super::words;
use super::world::WatchedLease;

/// client-go's default, used when a lease does not say.
const DEFAULT_DURATION: Duration = Duration::from_secs(15);
/// A lease of which nothing is told is looked at again so soon.
const AGAIN: Duration = Duration::from_secs(2);
/// The longest a one-shot command looks at a lease.
pub const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// What can be said of a lease's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Renewed; `seen` when we saw it change ourselves.
    Beating {
        /// We saw a renewal, and do not only trust a timestamp.
        seen: bool,
        /// Without another renewal, look again at this monotonic time.
        until: Duration,
    },
    /// Too early to say; look again at this monotonic time.
    Undecided(Duration),
    /// Nobody renews it.
    Dead {
        /// It rests on timestamps and a short look; look again at this monotonic time.
        unverified: Option<Duration>,
    },
}

/// The lease's own duration.
#[must_use]
pub fn duration(watched: &WatchedLease) -> Duration {
    watched.lease.duration.filter(|duration| !duration.is_zero()).unwrap_or(DEFAULT_DURATION)
}

/// Takes the pulse. `takeover` is how long candidates may take to replace a dead leader; `told` is up to when
/// the watch of leases has told everything; `eager` accepts a short look together with an old timestamp.
#[must_use]
pub fn pulse(watched: &WatchedLease, takeover: Duration, told: Option<Duration>, eager: bool, now: Now) -> Pulse {
    let duration = duration(watched);
    let still = now.mono.saturating_sub(watched.changed);
    // A lease stands still while we are told of leases, not while we are told nothing: an API server that is
    // away for a minute would kill every leader. A one-shot command has just listed them.
    let seen_still = if eager { still } else { told.unwrap_or_default().saturating_sub(watched.changed) };
    let fresh_by_wall = watched.lease.renewed.is_some_and(|at| words::age(now.wall, at) < takeover);
    let released = watched.lease.holder.is_empty();
    if !released && still < duration && (watched.moved || fresh_by_wall) {
        return Pulse::Beating { seen: watched.moved, until: watched.changed + duration };
    }
    if seen_still >= takeover {
        return Pulse::Dead { unverified: None };
    }
    let look = duration.min(LONGEST_LOOK);
    let suspicious = !watched.moved && !fresh_by_wall;
    if eager && suspicious && still >= look {
        return Pulse::Dead { unverified: Some(watched.changed + takeover) };
    }
    let wait = if eager && suspicious { look } else { takeover };
    Pulse::Undecided((watched.changed + wait).max(if still >= wait { now.mono + AGAIN } else { Duration::ZERO }))
}

/// The wall-clock time from which the holder has been missing, by its own last renewal.
#[must_use]
pub fn missing_since(watched: &WatchedLease) -> Option<Timestamp> {
    watched.lease.renewed.and_then(|at| at.checked_add(duration(watched)).ok())
}

/// The lease in words.
#[must_use]
pub fn describe(name: &str, watched: &WatchedLease, now: Now) -> String {
    let still = words::short(now.mono.saturating_sub(watched.changed));
    let holder = if watched.lease.holder.is_empty() { "nobody" } else { &watched.lease.holder };
    let renewed = watched.lease.renewed.map_or_else(
        || "never renewed".to_owned(),
        |at| format!("renewTime {at}, {} ago", words::short(words::age(now.wall, at))),
    );
    format!("Lease {name}: held by {holder}, {renewed}; unchanged for {still} while we watched")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Lease;

    fn watched(renewed_ago: i64, moved: bool) -> (WatchedLease, impl Fn(u64) -> Now) {
        let start: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        let lease = Lease {
            holder: "vm".into(),
            duration: Some(Duration::from_secs(15)),
            renewed: Some(start - jiff::SignedDuration::from_secs(renewed_ago)),
            acquired: None,
            transitions: 0,
        };
        let zero = Duration::from_secs(100);
        let now = move |second: u64| Now {
            wall: start + Duration::from_secs(second),
            mono: zero + Duration::from_secs(second),
        };
        (WatchedLease { lease, first_seen: zero, changed: zero, moved }, now)
    }

    const TAKEOVER: Duration = Duration::from_secs(56);

    fn take(lease: &WatchedLease, eager: bool, now: Now) -> Pulse {
        pulse(lease, TAKEOVER, Some(now.mono), eager, now)
    }

    #[test]
    fn a_lease_of_which_nothing_is_told_does_not_stand_still() {
        let (lease, now) = watched(0, true);
        let told = |told: u64| pulse(&lease, TAKEOVER, Some(Duration::from_secs(100 + told)), false, now(3000));
        assert_eq!(told(55), Pulse::Undecided(now(3000).mono + AGAIN));
        assert_eq!(told(56), Pulse::Dead { unverified: None });
        assert!(matches!(pulse(&lease, TAKEOVER, None, false, now(3000)), Pulse::Undecided(_)));
    }

    #[test]
    fn a_fresh_lease_beats_and_is_sure_once_it_moved() {
        let (lease, now) = watched(2, false);
        assert_eq!(take(&lease, false, now(3)), Pulse::Beating { seen: false, until: Duration::from_secs(115) });
        let (lease, now) = watched(2, true);
        assert_eq!(take(&lease, false, now(3)), Pulse::Beating { seen: true, until: Duration::from_secs(115) });
    }

    #[test]
    fn a_clock_hours_ahead_never_makes_a_renewed_lease_dead() {
        let (lease, now) = watched(7200, true);
        assert_eq!(take(&lease, true, now(10)), Pulse::Beating { seen: true, until: Duration::from_secs(115) });
    }

    #[test]
    fn a_dead_holder_is_named_after_the_takeover_and_no_earlier() {
        let (lease, now) = watched(0, true);
        assert!(matches!(take(&lease, true, now(55)), Pulse::Undecided(_)));
        assert_eq!(take(&lease, false, now(56)), Pulse::Dead { unverified: None });
    }

    #[test]
    fn a_short_look_with_an_old_timestamp_is_unverified_and_only_for_one_shot_commands() {
        let (lease, now) = watched(3600, false);
        assert!(matches!(take(&lease, true, now(14)), Pulse::Undecided(_)));
        assert_eq!(take(&lease, true, now(15)), Pulse::Dead { unverified: Some(Duration::from_secs(156)) });
        assert!(matches!(take(&lease, false, now(15)), Pulse::Undecided(_)));
        assert_eq!(take(&lease, false, now(56)), Pulse::Dead { unverified: None });
    }

    #[test]
    fn a_released_lease_is_nobodys_pulse() {
        let (mut lease, now) = watched(0, true);
        lease.lease.holder = "".into();
        assert!(matches!(take(&lease, true, now(1)), Pulse::Undecided(_)));
        assert_eq!(take(&lease, true, now(60)), Pulse::Dead { unverified: None });
    }
}
