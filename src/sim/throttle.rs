//! client-go's rate limiter: a client sends no faster than this, however fast its workers are.
//!
//! Two controllers that contradict each other, or one that contradicts itself, would write as fast as requests
//! travel. What holds them down in a real cluster is their own client.

use std::time::Duration;

use super::store::table::{Resource, SNAPSHOT_GROUP};

/// A token bucket: `--kube-api-qps` and `--kube-api-burst`.
#[derive(Clone, Debug)]
pub struct Throttle {
    /// Between two requests once the burst is used up.
    pace: Duration,
    /// What the burst is ahead of the pace.
    ahead: Duration,
    /// When the next request would be due if there were no burst.
    due: Duration,
}

impl Throttle {
    /// So many requests a second, and so many at once after a pause.
    #[must_use]
    pub fn new(qps: u32, burst: u32) -> Self {
        let pace = Duration::from_secs(1) / qps.max(1);
        Self { pace, ahead: pace * burst.saturating_sub(1), due: Duration::ZERO }
    }

    /// How long a request that is made now has to wait before it is sent; those before it go first.
    pub fn reserve(&mut self, now: Duration) -> Duration {
        let due = self.due.max(now);
        self.due = due + self.pace;
        due.saturating_sub(self.ahead).saturating_sub(now)
    }

    /// How long a request would have to wait.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Duration {
        self.due.saturating_sub(self.ahead).saturating_sub(now)
    }
}

/// The clients of a CSI sidecar and of snapshot-controller: one for snapshots and one for the rest, each with the
/// documented defaults of the flags. Leases have a third, which never has much to say.
#[derive(Clone, Debug)]
pub struct Clients {
    snapshots: Throttle,
    others: Throttle,
}

impl Default for Clients {
    fn default() -> Self {
        Self { snapshots: Throttle::new(5, 10), others: Throttle::new(5, 10) }
    }
}

impl Clients {
    /// How long a request for this resource has to wait before it is sent.
    pub fn reserve(&mut self, resource: &Resource, now: Duration) -> Duration {
        let client = if resource.group == SNAPSHOT_GROUP { &mut self.snapshots } else { &mut self.others };
        client.reserve(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::store::table::{CLAIMS, CONTENTS, SNAPSHOTS};

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_its_pace() {
        let mut throttle = Throttle::new(5, 10);
        let second = Duration::from_secs(1);
        let waits: Vec<u128> = (0..13).map(|_| throttle.reserve(second).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 400, 600]);
        assert_eq!(throttle.wait(second), Duration::from_millis(800));
        assert_eq!(throttle.reserve(second * 2), Duration::ZERO, "the bucket fills by five a second");
        assert_eq!(throttle.wait(second * 60), Duration::ZERO);
        let again: Vec<u128> = (0..11).map(|_| throttle.reserve(second * 60).as_millis()).collect();
        assert_eq!(again, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200], "and never holds more than the burst");
    }

    #[test]
    fn what_is_said_of_snapshots_does_not_hold_up_the_rest() {
        let mut clients = Clients::default();
        let waits = |clients: &mut Clients, resource: &Resource| {
            (0..11).map(|_| clients.reserve(resource, Duration::ZERO)).max().unwrap()
        };
        assert_eq!(waits(&mut clients, SNAPSHOTS), Duration::from_millis(200));
        assert_eq!(clients.reserve(CLAIMS, Duration::ZERO), Duration::ZERO);
        assert_eq!(clients.reserve(CONTENTS, Duration::ZERO), Duration::from_millis(400), "both are snapshots");
    }
}
