//! The times of one watch: when silence has lasted long enough to ask, to confirm, or to give up.

use std::time::Duration;

use tokio::time::Instant;

/// A streaming list that says nothing for so long comes from a server that does not know the parameter.
const LIST_QUIET: Duration = Duration::from_secs(10);
/// Beyond the watch's own end: then the connection is dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// Silence after which a source is probed.
const QUIET: Duration = Duration::from_secs(60);
/// Silence after which a watch that used to send bookmarks is resumed: the server sends one a minute, and a
/// probe travels on another connection and cannot show that this one still lives.
const NO_BOOKMARKS: Duration = Duration::from_secs(150);
/// A resumed watch that has not been refused for so long goes on: "410 Gone" comes at once or not at all.
const CONFIRM: Duration = Duration::from_secs(1);

/// What has come due while a watch said nothing.
pub(super) enum Due {
    Unlisted,
    Dead,
    Confirmed,
    Quiet,
}

/// The times of one watch.
pub(super) struct Clock {
    pub(super) opened: Instant,
    /// Last line.
    line: Instant,
    /// Last line, or last answer of a probe.
    pub(super) checked: Instant,
    /// Silence that means the connection is dead.
    patience: Duration,
    /// This watch sends bookmarks.
    pub(super) bookmarks: bool,
}

impl Clock {
    pub(super) fn new(hold: Duration) -> Self {
        let now = Instant::now();
        Self { opened: now, line: now, checked: now, patience: hold.saturating_add(DEAD_AFTER), bookmarks: false }
    }

    pub(super) fn heard(&mut self) {
        self.line = Instant::now();
        self.checked = self.line;
    }

    fn dead(&self) -> Instant {
        let patience = if self.bookmarks { self.patience.min(NO_BOOKMARKS) } else { self.patience };
        later(self.line, patience)
    }

    /// When to look up if nothing comes.
    pub(super) fn due(&self, initial: bool, unconfirmed: bool, probing: bool) -> Instant {
        if initial {
            return later(self.line, LIST_QUIET);
        }
        let mut due = self.dead();
        if unconfirmed {
            due = due.min(later(self.opened, CONFIRM));
        }
        if !probing {
            due = due.min(later(self.checked, QUIET));
        }
        due
    }

    /// What has come due.
    pub(super) fn what(&self, initial: bool, unconfirmed: bool) -> Due {
        let now = Instant::now();
        if initial {
            Due::Unlisted
        } else if now >= self.dead() {
            Due::Dead
        } else if unconfirmed && now >= later(self.opened, CONFIRM) {
            Due::Confirmed
        } else {
            Due::Quiet
        }
    }
}

fn later(from: Instant, by: Duration) -> Instant {
    from.checked_add(by).unwrap_or(from)
}
