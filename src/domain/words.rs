//! Durations and times in words, the same in every summary.

use std::time::Duration;

use jiff::Timestamp;

use super::name::Stamp;

/// kubectl's short form: `40s`, `5m3s`, `3h20m`, `2d4h`.
#[must_use]
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600, seconds / 60);
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else {
        format!("{days}d")
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
}

/// How long ago, zero for what a skewed clock puts into the future.
#[must_use]
pub fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}

/// How long ago a stamp was.
#[must_use]
pub fn stamp_age(now: Timestamp, then: Option<Stamp>) -> Duration {
    then.map_or(Duration::ZERO, |then| age(now, then.timestamp()))
}

/// A time of day as people on call read it, in UTC.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// `1 content`, `3 contents`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `MissedEvent` as `missed_event`, as values of metric labels are.
#[must_use]
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Bytes as people read them.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut last = (bytes, "B");
    let mut rest = 0;
    for unit in UNITS {
        if last.0 < 1024 {
            break;
        }
        rest = last.0 % 1024;
        last = (last.0 / 1024, unit);
    }
    match last {
        (bytes, "B") => format!("{bytes} B"),
        (whole, unit) => format!("{whole}.{} {unit}", rest * 10 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (303, "5m3s"), (660, "11m"), (12_000, "3h20m"), (187_200, "2d4h")]
        {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_label_is_in_snake_case() {
        assert_eq!((snake("MissedEvent"), snake("X")), ("missed_event".to_owned(), "x".to_owned()));
    }

    #[test]
    fn the_future_is_no_age() {
        let now: Timestamp = "2026-11-22T19:44:21Z".parse().unwrap();
        assert_eq!(age(now, now + Duration::from_secs(5)), Duration::ZERO);
        assert_eq!(age(now, now - Duration::from_secs(5)), Duration::from_secs(5));
        assert_eq!(clock(now), "19:44:21Z");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "16383.9 PiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
