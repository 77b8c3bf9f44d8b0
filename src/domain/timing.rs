//! How long a controller may take before it may be called stuck.
//!
//! The times come from the running sidecar's own arguments, with its documented defaults where an argument is
//! unset; configuration can raise a floor and never lower one. Calling something stuck too early is how
//! scripts turn a slow deletion into leaked storage.

use std::time::Duration;

use super::name::Names;

/// The annotated-by-nobody floor: R3's, and that of every shape no healthy deletion passes through.
pub const SHORT: Duration = Duration::from_secs(60);
/// What is added to the floors that rest on a resync.
const SLACK: Duration = Duration::from_secs(60);
/// client-go's event filter lets one event through in five minutes once its burst is used up.
const EVENT_FILTER: Duration = Duration::from_secs(300);
/// Two sweeps of the provisioner's finalizer controller.
pub const SWEEPS: Duration = Duration::from_secs(600);

/// The arguments of a csi-snapshotter that say how long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `--timeout`: of one call to the driver.
    pub timeout: Duration,
    /// `--retry-interval-max`: the longest pause between two tries.
    pub retry_max: Duration,
    /// `--resync-period`.
    pub resync: Duration,
    /// `--worker-threads`.
    pub workers: u32,
    /// `--leader-election-retry-period`.
    pub lease_retry: Duration,
    /// `--leader-election` is on.
    pub elects: bool,
    /// No floor is below this (`--min-floor`).
    pub raised_to: Duration,
}

impl Default for Timing {
    /// The sidecar's documented defaults.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            retry_max: Duration::from_secs(300),
            resync: Duration::from_secs(900),
            workers: 10,
            lease_retry: Duration::from_secs(5),
            elects: false,
            raised_to: Duration::ZERO,
        }
    }
}

impl Timing {
    /// Reads a sidecar's arguments; what is unset or unreadable keeps its default.
    #[must_use]
    pub fn from_args(args: &Names) -> Self {
        let default = Self::default();
        let duration = |flag: &str, or: Duration| argument(args, flag).and_then(go_duration).unwrap_or(or);
        Self {
            timeout: duration("timeout", default.timeout),
            retry_max: duration("retry-interval-max", default.retry_max),
            resync: duration("resync-period", default.resync),
            workers: argument(args, "worker-threads")
                .and_then(|text| text.parse().ok())
                .filter(|workers| *workers > 0)
                .unwrap_or(default.workers),
            lease_retry: duration("leader-election-retry-period", default.lease_retry),
            elects: argument(args, "leader-election").is_some_and(|value| value != "false"),
            raised_to: Duration::ZERO,
        }
    }

    /// Floor of shapes that no healthy deletion passes through.
    #[must_use]
    pub fn short_floor(&self) -> Duration {
        SHORT.max(self.raised_to)
    }

    /// Floor of what a nudge mends: two calls and a minute.
    #[must_use]
    pub fn nudge_floor(&self) -> Duration {
        (self.timeout.saturating_mul(2) + SHORT).max(self.raised_to)
    }

    /// Floor of everything else: a resync has passed, and a retry with its call.
    #[must_use]
    pub fn general_floor(&self) -> Duration {
        (self.resync.max(self.retry_max.saturating_add(self.timeout)) + SLACK).max(self.raised_to)
    }

    /// How old the newest failure may be before "it will try again" stops being true: the longest pause, a
    /// turn for everyone in the queue, and the event filter.
    #[must_use]
    pub fn retry_window(&self, stuck: u32) -> Duration {
        let turns = stuck.max(1).div_ceil(self.workers.max(1));
        self.retry_max + self.timeout.saturating_mul(turns) + EVENT_FILTER
    }

    /// How long candidates may take to replace a dead leader of a lease with this duration.
    #[must_use]
    pub fn takeover(&self, lease: Duration) -> Duration {
        let retry = self.lease_retry.saturating_mul(22) / 10;
        (lease.saturating_mul(2)).max(lease + retry + Duration::from_secs(30))
    }
}

/// The value of a Go flag: `--flag=value`, `-flag=value`, `--flag value`; `true` for a bare one.
#[must_use]
pub fn argument<'a>(args: &'a Names, flag: &str) -> Option<&'a str> {
    let mut found = None;
    let mut rest = args.iter().map(|arg| &**arg).peekable();
    while let Some(arg) = rest.next() {
        let Some(name) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else { continue };
        let Some(after) = name.strip_prefix(flag) else { continue };
        if after.is_empty() {
            // A boolean flag takes no word of its own; the next one, if it is no flag, is a value.
            found = Some(rest.peek().copied().filter(|next| !next.starts_with('-')).unwrap_or("true"));
        } else if let Some(value) = after.strip_prefix('=') {
            found = Some(value);
        }
    }
    found
}

/// Reads Go's `time.Duration` text: `150s`, `1h30m`, `1.5s`, `500ms`.
#[must_use]
pub fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0.0_f64;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    // Go's own limit, 292 years: sums of a few of them stay within a Duration.
    Duration::try_from_secs_f64(total).ok().filter(|duration| duration.as_nanos() <= i64::MAX.unsigned_abs().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::Interner;

    #[test]
    fn go_durations() {
        for (text, seconds) in [("150s", 150.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("500ms", 0.5), ("0", 0.0)] {
            assert_eq!(go_duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "15", "s", "1x", "-1s", "1.2.3s", "99999999999999999999h"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_flag_is_no_other_that_begins_like_it() {
        let args: Names = Interner::default().list(&["--timeout-extra=5s", "--leader-election-namespace", "rook-ceph"]);
        assert_eq!((argument(&args, "timeout"), argument(&args, "leader-election")), (None, None));
        assert_eq!(argument(&args, "leader-election-namespace"), Some("rook-ceph"));
    }

    #[test]
    fn rooks_arguments_give_rooks_floors_and_nonsense_keeps_the_defaults() {
        let mut interner = Interner::default();
        let rook = interner.list(&["--timeout=150s", "--leader-election=true", "-retry-interval-max", "10m", "--v=0"]);
        let timing = Timing::from_args(&rook);
        assert!(timing.elects);
        assert_eq!(timing.nudge_floor(), Duration::from_secs(360));
        assert_eq!(timing.general_floor(), Duration::from_secs(960));
        let odd = interner.list(&["--timeout=soon", "--worker-threads=0", "--leader-election", "--resync-period"]);
        assert_eq!(Timing::from_args(&odd), Timing { elects: true, ..Timing::default() });
    }

    #[test]
    fn a_floor_can_be_raised_and_never_lowered() {
        let raised = Timing { raised_to: Duration::from_secs(3600), ..Timing::default() };
        assert_eq!(raised.short_floor(), Duration::from_secs(3600));
        let lower = Timing { raised_to: Duration::from_secs(1), ..Timing::default() };
        assert_eq!(lower.short_floor(), SHORT);
        assert_eq!(lower.nudge_floor(), Duration::from_secs(180));
    }

    #[test]
    fn the_retry_window_gives_everyone_in_the_queue_a_turn() {
        let timing = Timing::default();
        assert_eq!(timing.retry_window(1), Duration::from_secs(660));
        assert_eq!(timing.retry_window(10), Duration::from_secs(660));
        assert_eq!(timing.retry_window(11), Duration::from_secs(720));
    }
}
