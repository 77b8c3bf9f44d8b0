//! Maintenance windows: when repairs may begin. And timers: when something runs by itself.
//!
//! A window is a cron expression for its opening, a zone, and how long it stays open; it belongs to the day it
//! opens, so "Saturday 22:00 for 6 h" reaches into Sunday. Its length is real time: in the night the clocks
//! change it neither loses nor gains an hour. What this exists to prevent is a repair that begins in the middle
//! of a working day because somebody's zone was read as UTC.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use super::name::fingerprint;

/// The longest a window may stay open.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Clocks of two replicas may differ by so much.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Why a text is no window, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWindow {
    /// The expression cannot be read.
    #[error("`{0}` is no schedule ({1}); write minute, hour, day of month, month, day of week, such as `0 22 * * 6`")]
    Schedule(Box<str>, Box<str>),
    /// The zone is not known.
    #[error("`{0}` is no time zone; write an IANA name such as Europe/Berlin, or UTC")]
    Zone(Box<str>),
    /// It would never be open, or never closed.
    #[error("a window has to be open for at least a minute and at most 7 days, not for {0} s")]
    Length(u64),
}

/// When repairs may begin.
#[derive(Clone, Debug)]
pub struct Window {
    text: Box<str>,
    zone_name: Box<str>,
    cron: Cron,
    zone: TimeZone,
    length: Duration,
}

/// By what was written: two windows are the same if they read the same.
impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.zone_name, self.length) == (&other.text, &other.zone_name, other.length)
    }
}

impl Eq for Window {}

impl Window {
    /// Reads a window.
    ///
    /// # Errors
    /// When the expression, the zone or the length makes no sense.
    pub fn parse(schedule: &str, zone: &str, length: Duration) -> Result<Self, NoWindow> {
        let cron = cron(schedule)?;
        if length < Duration::from_secs(60) || length > LONGEST {
            return Err(NoWindow::Length(length.as_secs()));
        }
        let found = time_zone(zone)?;
        Ok(Self { text: schedule.into(), zone_name: zone.into(), cron, zone: found, length })
    }

    /// The schedule as it was written.
    #[must_use]
    pub fn schedule(&self) -> &str {
        &self.text
    }

    /// The zone's name as it was written.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    /// How long it stays open.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Until when it is open, if it is.
    #[must_use]
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.to_zoned(self.zone.clone());
        let opened = self.cron.find_previous_occurrence(&local, true).ok()?.timestamp();
        opened.checked_add(self.length).ok().filter(|closes| *closes > now)
    }

    /// When it opens next.
    #[must_use]
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&local, false).ok().map(|at| at.timestamp())
    }
}

fn cron(schedule: &str) -> Result<Cron, NoWindow> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
    parser.parse(schedule).map_err(|error| NoWindow::Schedule(schedule.into(), error.to_string().into()))
}

/// The copy in the program, not the machine's: a zone means the same wherever a plan is made.
fn time_zone(name: &str) -> Result<TimeZone, NoWindow> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| NoWindow::Zone(name.into()))
}

/// When something runs by itself: a schedule, and how much later than that it is due. The delay is made of a name, so
/// that each run of one policy has the same and two policies do not begin together.
#[derive(Clone, Debug)]
pub struct Timer {
    cron: Cron,
    zone: TimeZone,
    delay: SignedDuration,
}

impl Timer {
    /// Reads a timer; it is due up to `jitter` late.
    ///
    /// # Errors
    /// When the expression or the zone makes no sense.
    pub fn parse(schedule: &str, zone: &str, jitter: Duration, name: &str) -> Result<Self, NoWindow> {
        let delay = fingerprint(name).checked_rem(jitter.as_secs()).unwrap_or_default();
        let delay = SignedDuration::from_secs(i64::try_from(delay).unwrap_or_default());
        Ok(Self { cron: cron(schedule)?, zone: time_zone(zone)?, delay })
    }

    /// The newest time of the schedule that is due.
    #[must_use]
    pub fn last(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.checked_sub(self.delay).ok()?.to_zoned(self.zone.clone());
        self.cron.find_previous_occurrence(&local, true).ok().map(|at| at.timestamp())
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.checked_sub(self.delay).ok()?.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&local, false).ok()?.timestamp().checked_add(self.delay).ok()
    }
}

/// When one of these windows lets repairs begin: `Ok` while one is open or there is none, else the next opening.
///
/// # Errors
/// The next opening; `None` if none ever comes.
pub fn may_begin(windows: &[Window], now: Timestamp) -> Result<(), Option<Timestamp>> {
    if windows.is_empty() || windows.iter().any(|window| window.open_until(now).is_some()) {
        return Ok(());
    }
    Err(windows.iter().filter_map(|window| window.opens_at(now)).min())
}

/// The time of a schedule that was last served, unless it lies ahead of us: the clock of whoever wrote it down was wrong,
/// and nothing would run again before that time has come.
#[must_use]
pub fn served(last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    last.filter(|last| last.duration_since(now) <= AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(schedule: &str, zone: &str, hours: u64) -> Window {
        Window::parse(schedule, zone, Duration::from_secs(hours * 3600)).unwrap()
    }

    #[test]
    fn a_window_belongs_to_the_day_it_opens() {
        let saturday = window("0 22 * * 6", "UTC", 6);
        assert_eq!(saturday.open_until(at("2026-11-28T21:59:59Z")), None);
        assert_eq!(saturday.open_until(at("2026-11-28T22:00:00Z")), Some(at("2026-11-29T04:00:00Z")));
        assert_eq!(saturday.open_until(at("2026-11-29T03:59:59Z")), Some(at("2026-11-29T04:00:00Z")), "Sunday");
        assert_eq!(saturday.open_until(at("2026-11-29T04:00:00Z")), None);
        assert_eq!(saturday.opens_at(at("2026-11-29T04:00:00Z")), Some(at("2026-12-05T22:00:00Z")));
    }

    #[test]
    fn the_zone_decides_when_it_opens_and_real_time_how_long() {
        let night = window("0 1 * * *", "Europe/Berlin", 3);
        assert_eq!(night.open_until(at("2026-07-01T00:30:00Z")), Some(at("2026-07-01T02:00:00Z")), "01:00+02:00");
        assert_eq!(night.open_until(at("2026-12-01T00:30:00Z")), Some(at("2026-12-01T03:00:00Z")), "01:00+01:00");
        // Clocks go from 02:00 to 03:00, and from 03:00 back to 02:00: three hours all the same.
        assert_eq!(night.open_until(at("2026-03-29T02:59:59Z")), Some(at("2026-03-29T03:00:00Z")));
        assert_eq!(night.open_until(at("2026-10-25T01:59:59Z")), Some(at("2026-10-25T02:00:00Z")));
        assert_eq!(night.open_until(at("2026-10-25T02:00:00Z")), None);
    }

    #[test]
    fn an_opening_in_the_missing_hour_comes_after_it_and_one_in_the_doubled_hour_once() {
        let gap = window("30 2 * * *", "Europe/Berlin", 1);
        assert_eq!(gap.opens_at(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")), "03:00+02:00");
        let first = gap.opens_at(at("2026-10-24T12:00:00Z")).unwrap();
        assert_eq!(gap.opens_at(first).unwrap().duration_since(first).as_hours(), 25, "not twice in that night");
    }

    #[test]
    fn a_timer_is_due_late_by_its_name_and_always_by_the_same() {
        let timer =
            |jitter, name| Timer::parse("30 2 * * *", "Europe/Berlin", Duration::from_secs(jitter), name).unwrap();
        let prompt = timer(0, "a");
        assert_eq!(prompt.last(at("2026-12-01T01:30:00Z")), Some(at("2026-12-01T01:30:00Z")));
        assert_eq!(prompt.last(at("2026-12-01T01:29:59Z")), Some(at("2026-11-30T01:30:00Z")));
        assert_eq!(prompt.next(at("2026-12-01T01:30:00Z")), Some(at("2026-12-02T01:30:00Z")));
        let late = timer(600, "a");
        let due = late.next(at("2026-12-01T00:00:00Z")).unwrap();
        let delay = due.duration_since(at("2026-12-01T01:30:00Z")).as_secs();
        assert!((1..600).contains(&delay) && delay != timer(600, "b").delay.as_secs(), "{delay}");
        assert_eq!(late.last(due), Some(at("2026-12-01T01:30:00Z")), "due then, and not a second before");
        assert_eq!(late.last(due - SignedDuration::from_secs(1)), Some(at("2026-11-30T01:30:00Z")));
        assert!(Timer::parse("30 2", "UTC", Duration::ZERO, "a").is_err());
        assert!(Timer::parse("30 2 * * *", "Mars", Duration::ZERO, "a").is_err());
    }

    #[test]
    fn without_a_window_repairs_may_always_begin() {
        assert_eq!(may_begin(&[], at("2026-07-01T00:30:00Z")), Ok(()));
        let windows = [window("0 1 * * *", "UTC", 1), window("0 5 * * *", "UTC", 1)];
        assert_eq!(may_begin(&windows, at("2026-07-01T05:30:00Z")), Ok(()));
        assert_eq!(may_begin(&windows, at("2026-07-01T03:00:00Z")), Err(Some(at("2026-07-01T05:00:00Z"))));
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let hour = Duration::from_secs(3600);
        for (schedule, zone, length, word) in [
            ("every night", "UTC", hour, "no schedule"),
            ("0 0 0 1 * * *", "UTC", hour, "no schedule"),
            ("0 1 * * *", "Mars/Olympus", hour, "no time zone"),
            ("0 1 * * *", "UTC", Duration::ZERO, "at least a minute"),
            ("0 1 * * *", "UTC", Duration::MAX, "at most 7 days"),
        ] {
            let error = Window::parse(schedule, zone, length).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_a_clock_that_was_ahead_wrote_down_was_not_served() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-25T12:00:00Z");
        for last in ["2026-11-25T11:00:00Z", "2026-11-25T12:05:00Z"] {
            assert_eq!(served(Some(at(last)), now), Some(at(last)));
        }
        assert_eq!(served(Some(at("2026-11-25T12:05:01Z")), now), None);
        assert_eq!(served(None, now), None);
    }
}
