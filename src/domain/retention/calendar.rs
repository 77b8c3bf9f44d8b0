//! Which year, month, week, day and hour a moment belongs to, and how far back a count reaches.
//!
//! Both are where an implementation that is nearly kopia's goes wrong: kopia subtracts a month as Go does, with
//! days that roll over (March 31 less a month is March 3), and reads some periods in UTC and some in its own
//! time zone. Each of these decides over snapshots that somebody wants back.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

use super::{Calendar, Policy};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The periods of one moment, as numbers: two moments are in the same period if the numbers are equal.
///
/// `month` and `week` are year times 100 plus the number, because kopia compares the two with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) week: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
}

/// The oldest moment that each count reaches; `None` when it reaches beyond the beginning of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cutoffs {
    pub(super) hourly: Option<Timestamp>,
    pub(super) daily: Option<Timestamp>,
    pub(super) weekly: Option<Timestamp>,
    pub(super) monthly: Option<Timestamp>,
    pub(super) annual: Option<Timestamp>,
}

/// A calendar in a time zone.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    calendar: Calendar,
    zone: &'a TimeZone,
}

impl<'a> Reader<'a> {
    pub(super) fn new(calendar: Calendar, zone: &'a TimeZone) -> Self {
        Self { calendar, zone }
    }

    /// The periods of a moment.
    pub(super) fn ids(&self, time: Timestamp) -> Ids {
        let local = self.zone.to_offset(time);
        let labels = match self.calendar {
            Calendar::Kopia => Offset::UTC,
            Calendar::Strict => local,
        };
        let civil = labels.to_datetime(time);
        let in_week = if local == labels { civil } else { local.to_datetime(time) };
        let week = in_week.date().iso_week_date();
        let second = floor_second(time);
        let shown = second + i64::from(labels.seconds());
        Ids {
            year: i64::from(civil.year()),
            month: i64::from(civil.year()) * 100 + i64::from(civil.month()),
            week: i64::from(week.year()) * 100 + i64::from(week.week()),
            day: shown.div_euclid(DAY),
            // The hour's first second and not its name: when clocks go back, one name stands for two hours.
            hour: second - shown.rem_euclid(HOUR),
        }
    }

    /// How far back each count of the policy reaches from the newest complete snapshot.
    pub(super) fn cutoffs(&self, newest: Timestamp, policy: &Policy) -> Cutoffs {
        let back = |months: i64, days: i64| match self.calendar {
            Calendar::Kopia => rolled_back(self.zone, newest, months, days),
            Calendar::Strict => stepped_back(self.zone, newest, months, days),
        };
        let seconds = SignedDuration::from_secs(i64::from(policy.hourly) * HOUR);
        Cutoffs {
            hourly: newest.checked_sub(seconds).ok(),
            daily: back(0, i64::from(policy.daily)),
            weekly: back(0, i64::from(policy.weekly) * 7),
            monthly: back(i64::from(policy.monthly), 0),
            annual: back(i64::from(policy.annual) * 12, 0),
        }
    }
}

/// The second a moment is in; jiff's own rounds towards 1970.
fn floor_second(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

/// The first day of the month that is so many months before this one; `None` before the calendar's first year.
fn first_of_month(date: Date, months_back: i64) -> Option<Date> {
    let month = i64::from(date.year()) * 12 + i64::from(date.month()) - 1 - months_back;
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    Date::new(year, i8::try_from(month.rem_euclid(12)).ok()? + 1, 1).ok()
}

fn plus_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

/// Go's `AddDate`: a day that the month does not have rolls over into the next month. The clock time stays, and
/// where it stands for no moment or for two, this chooses as Go's `time.Date` does.
fn rolled_back(zone: &TimeZone, from: Timestamp, months: i64, days: i64) -> Option<Timestamp> {
    let civil = zone.to_datetime(from);
    let first = first_of_month(civil.date(), months)?;
    let date = plus_days(first, i64::from(civil.day()) - 1 - days)?;
    let as_utc = Offset::UTC.to_timestamp(date.to_datetime(civil.time())).ok()?;
    let guess = zone.to_offset(as_utc).to_utc(as_utc)?;
    zone.to_offset(guess).to_utc(as_utc)
}

trait ToUtc {
    /// What is written in `local`, read as a clock of this offset.
    fn to_utc(self, local: Timestamp) -> Option<Timestamp>;
}

impl ToUtc for Offset {
    fn to_utc(self, local: Timestamp) -> Option<Timestamp> {
        local.checked_sub(SignedDuration::from_secs(i64::from(self.seconds()))).ok()
    }
}

/// The same clock time so many days or months before. A later `from` never gives an earlier moment: a snapshot that
/// was too old stays too old.
fn stepped_back(zone: &TimeZone, from: Timestamp, months: i64, days: i64) -> Option<Timestamp> {
    let civil = forward_only(zone, from);
    let first = first_of_month(civil.date(), months)?;
    let to = if civil.day() > first.days_in_month() {
        // That day does not exist: the whole next month is within reach, and nothing before it.
        first_of_month(first, -1)?.to_datetime(Time::midnight())
    } else {
        plus_days(first, i64::from(civil.day()) - 1 - days)?.to_datetime(civil.time())
    };
    let ambiguous = zone.to_ambiguous_timestamp(to);
    match ambiguous.offset() {
        // In a gap: the moment at which the clocks went forward.
        AmbiguousOffset::Gap { before, .. } => last_change(zone, before.to_timestamp(to).ok()?),
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
    }
}

/// The clock time of a moment, except that in an hour shown twice the second time counts as its end.
fn forward_only(zone: &TimeZone, at: Timestamp) -> DateTime {
    let civil = zone.to_datetime(at);
    if let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(civil).offset()
        && zone.to_offset(at) == after
        && let Some(change) = last_change(zone, at)
    {
        return before.to_datetime(change);
    }
    civil
}

/// When the zone's clocks were changed last, at this moment or before.
fn last_change(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let just_after = at.checked_add(SignedDuration::from_nanos(1)).ok()?;
    zone.preceding(just_after).next().map(|change| change.timestamp())
}
