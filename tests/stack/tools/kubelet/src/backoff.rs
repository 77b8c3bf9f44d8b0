//! How long a container that ended waits before it is started again: not at all at first, then 10 s, doubled each time
//! up to 5 minutes, and from the start again after 10 minutes of running.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
const FORGIVEN: Duration = Duration::from_secs(600);

/// What a container has waited so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The wait after a run of this length.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= FORGIVEN {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = if wait.is_zero() { FIRST } else { (wait * 2).min(LONGEST) };
        wait
    }
}

/// A wait as Go prints it, which is how it stands in a status: `10s`, `1m20s`, `5m0s`.
pub fn in_words(wait: Duration) -> String {
    match (wait.as_secs() / 60, wait.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_a_long_run_forgives() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| in_words(backoff.after(Duration::from_secs(1)))).collect();
        assert_eq!(waits, ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
        assert_eq!(backoff.after(Duration::from_secs(599)), LONGEST);
        assert_eq!(backoff.after(FORGIVEN), Duration::ZERO);
        assert_eq!(backoff.after(Duration::ZERO), FIRST);
    }
}
