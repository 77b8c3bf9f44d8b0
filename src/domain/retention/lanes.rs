//! The walk's memory: which periods have been seen and how many of each are taken.
//!
//! Kopia keeps the names of all periods in one set of strings, and so takes ISO week `2026-01` for the month
//! `2026-01`. Here they are numbers in a lane a kind, and the places where kopia's names would meet are asked for
//! by name. A faithful copy of the set would cost a million strings a plan.

use jiff::Timestamp;

use super::calendar::{Cutoffs, Ids, Reader};
use super::{Calendar, Period, Policy, Reasons, Retention};

/// Ids of periods that were taken, newest first. The walk goes back in time, so nearly every one comes at the end.
#[derive(Debug, Default)]
struct Seen(Vec<i64>);

impl Seen {
    /// Where the id stands, or where it would.
    fn find(&self, id: i64) -> Result<usize, usize> {
        match self.0.last() {
            Some(oldest) if id >= *oldest => self.0.binary_search_by(|seen| id.cmp(seen)),
            _ => Err(self.0.len()),
        }
    }

    fn contains(&self, id: i64) -> bool {
        self.find(id).is_ok()
    }

    fn insert(&mut self, id: i64) {
        if let Err(place) = self.find(id) {
            self.0.insert(place, id);
        }
    }
}

/// One kind of period.
#[derive(Debug)]
struct Lane {
    limit: u32,
    taken: u32,
    /// What is older is not kept for this reason; `None`: nothing is too old.
    cutoff: Option<Timestamp>,
    seen: Seen,
}

impl Lane {
    fn new(limit: u32, cutoff: Option<Timestamp>) -> Self {
        Self { limit, taken: 0, cutoff, seen: Seen::default() }
    }

    /// It may still keep one of this time. Once it may not, it may keep no older one either.
    fn open(&self, time: Timestamp) -> bool {
        self.taken < self.limit && self.cutoff.is_none_or(|cutoff| time >= cutoff)
    }

    /// Takes the first of a period and numbers it.
    fn take(&mut self, time: Timestamp, id: i64) -> Option<u32> {
        if !self.open(time) || self.seen.contains(id) {
            return None;
        }
        self.seen.insert(id);
        self.taken += 1;
        Some(self.taken)
    }
}

/// All kinds of periods of one walk.
#[derive(Debug)]
pub(super) struct Lanes<'a> {
    reader: Reader<'a>,
    /// The names of different kinds meet, as in kopia's one set.
    shared: bool,
    latest: Lane,
    hourly: Lane,
    daily: Lane,
    weekly: Lane,
    monthly: Lane,
    annual: Lane,
}

impl<'a> Lanes<'a> {
    /// Ready for the newest complete one.
    pub(super) fn new(retention: &'a Retention, newest: Timestamp) -> Self {
        let policy: Policy = retention.policy.effective();
        let reader = Reader::new(retention.calendar, &retention.zone);
        let Cutoffs { hourly, daily, weekly, monthly, annual } = reader.cutoffs(newest, &policy);
        Self {
            reader,
            shared: retention.calendar == Calendar::Kopia,
            latest: Lane::new(policy.latest, None),
            hourly: Lane::new(policy.hourly, hourly),
            daily: Lane::new(policy.daily, daily),
            weekly: Lane::new(policy.weekly, weekly),
            monthly: Lane::new(policy.monthly, monthly),
            annual: Lane::new(policy.annual, annual),
        }
    }

    /// One of this time, or an older one, could still be kept.
    pub(super) fn any_open(&self, time: Timestamp) -> bool {
        [&self.latest, &self.hourly, &self.daily, &self.weekly, &self.monthly, &self.annual]
            .into_iter()
            .any(|lane| lane.open(time))
    }

    /// Why the next complete one is kept. `rank` counts all snapshots, incomplete ones too, from the newest.
    ///
    /// The order of the questions is kopia's, and matters where names are shared: a month is asked before a week.
    pub(super) fn offer(&mut self, rank: usize, time: Timestamp) -> Reasons {
        let Ids { year, month, week, day, hour } = self.reader.ids(time);
        let rank = i64::try_from(rank).unwrap_or(i64::MAX);
        let mut reasons = Reasons::default();
        let mut keep = |period, number: Option<u32>| {
            if let Some(number) = number {
                reasons.add(period, number);
            }
        };
        // A later rank is an older snapshot, hence the minus.
        if !(self.shared && self.annual.seen.contains(rank)) {
            keep(Period::Latest, self.latest.take(time, -rank));
        }
        if !(self.shared && self.latest.seen.contains(-year)) {
            keep(Period::Annual, self.annual.take(time, year));
        }
        // A week never stands in a month's way: whatever is in both was asked for its month first.
        keep(Period::Monthly, self.monthly.take(time, month));
        if !(self.shared && self.monthly.seen.contains(week)) {
            keep(Period::Weekly, self.weekly.take(time, week));
        }
        keep(Period::Daily, self.daily.take(time, day));
        keep(Period::Hourly, self.hourly.take(time, hour));
        reasons
    }
}
