//! Which snapshots of one volume a policy keeps, and why: kopia's retention, exactly.
//!
//! The volume's other backups are kept and expired by kopia. If its snapshots were pruned by rules of our own,
//! a policy with the same six counts would leave a Tuesday on one side and a Wednesday on the other, and nobody
//! would find out before the restore. So the order of the rules, the cutoffs and even the surprises are kopia's;
//! [`Calendar::Strict`] is the same without the surprises. `docs/retention.md` has an example of each.
//!
//! Nothing here depends on the time of day: a plan rests on the snapshots alone, so a volume that is no longer
//! backed up never loses its last ones.

mod calendar;
mod lanes;
mod reasons;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use lanes::Lanes;
pub use reasons::{Period, Reason, Reasons};

/// An incomplete snapshot younger than this, measured from the newest of all, is kept.
const YOUNG: SignedDuration = SignedDuration::from_hours(4);

/// So many of the newest are kept while they are incomplete, however old.
const FEW: usize = 3;

/// How many of each period are kept. Zero and "not set" are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest ones, whatever their time.
    pub latest: u32,
    /// The newest one of an hour.
    pub hourly: u32,
    /// The newest one of a day.
    pub daily: u32,
    /// The newest one of an ISO week, which begins on Monday.
    pub weekly: u32,
    /// The newest one of a month.
    pub monthly: u32,
    /// The newest one of a year.
    pub annual: u32,
}

impl Policy {
    /// The count of one period.
    #[must_use]
    pub fn count(&self, period: Period) -> u32 {
        match period {
            Period::Latest => self.latest,
            Period::Hourly => self.hourly,
            Period::Daily => self.daily,
            Period::Weekly => self.weekly,
            Period::Monthly => self.monthly,
            Period::Annual => self.annual,
        }
    }

    /// Asks for nothing, and therefore keeps everything: that is kopia's reading, and the safe one.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        *self == Self::default()
    }

    /// What is counted: an empty policy counts every snapshot as one of the latest.
    fn effective(self) -> Self {
        if self.keeps_all() { Self { latest: u32::MAX, ..self } } else { self }
    }
}

/// Whose reading of years, months, weeks, days and hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calendar {
    /// Kopia's, to the letter: the same snapshots as `kopia snapshot expire` would keep in that time zone.
    #[default]
    Kopia,
    /// The same rules without four surprises: week 1 is not taken for January, the 2026th snapshot not for the year
    /// 2026, every period is of the time zone and not some of UTC, and a cutoff on a day that does not exist, such
    /// as February 31, means the end of that month.
    Strict,
}

/// One snapshot of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When it was begun.
    pub time: Timestamp,
    /// It was never finished. It counts for nothing, and is kept only while it is new.
    pub incomplete: bool,
}

/// A policy with the calendar it is read by.
#[derive(Clone, Debug)]
pub struct Retention {
    /// How many of what.
    pub policy: Policy,
    /// Whose reading of the periods.
    pub calendar: Calendar,
    /// Where a day begins. [`Calendar::Kopia`] uses it for weeks and cutoffs only, as kopia does with `TZ`.
    pub zone: TimeZone,
}

impl Retention {
    /// Kopia's calendar in UTC, as its pods normally run.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, calendar: Calendar::Kopia, zone: TimeZone::UTC }
    }

    /// Why each snapshot of one volume is kept, in the order given; one without a reason goes.
    ///
    /// Of two with the same time the complete one counts as newer, as kopia's last checkpoint and the backup
    /// that it led to have the same start; of two that are alike in that too, the one given first.
    ///
    /// ```
    /// use volwarden::domain::retention::{Policy, Retention, Snapshot};
    ///
    /// let at = |time: &str| Snapshot { time: time.parse().unwrap(), incomplete: false };
    /// let snapshots = [at("2026-03-01T03:00:00Z"), at("2026-03-01T23:00:00Z"), at("2026-03-02T03:00:00Z")];
    /// let plan = Retention::new(Policy { daily: 7, ..Policy::default() }).plan(&snapshots);
    /// let reasons: Vec<String> = plan.iter().map(ToString::to_string).collect();
    /// assert_eq!(reasons, ["", "daily-2", "daily-1"]);
    /// ```
    #[must_use]
    pub fn plan(&self, snapshots: &[Snapshot]) -> Vec<Reasons> {
        let order = newest_first(snapshots);
        let mut plan = vec![Reasons::default(); snapshots.len()];
        self.keep_complete(&order, &mut plan);
        keep_incomplete(&order, &mut plan);
        plan
    }

    fn keep_complete(&self, order: &[Ranked], plan: &mut [Reasons]) {
        let Some(newest) = order.iter().find(|ranked| !ranked.snapshot.incomplete) else { return };
        let mut lanes = Lanes::new(self, newest.snapshot.time);
        for (rank, ranked) in order.iter().enumerate() {
            if ranked.snapshot.incomplete {
                continue;
            }
            if !lanes.any_open(ranked.snapshot.time) {
                break;
            }
            let reasons = lanes.offer(rank, ranked.snapshot.time);
            if let Some(place) = plan.get_mut(ranked.at) {
                *place = reasons;
            }
        }
    }
}

/// A snapshot and where it stands in what was given.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    snapshot: Snapshot,
    at: usize,
}

fn newest_first(snapshots: &[Snapshot]) -> Vec<Ranked> {
    let mut order: Vec<Ranked> =
        snapshots.iter().enumerate().map(|(at, snapshot)| Ranked { snapshot: *snapshot, at }).collect();
    order.sort_unstable_by_key(|ranked| (Reverse(ranked.snapshot.time), ranked.snapshot.incomplete, ranked.at));
    order
}

/// Those that no complete one has followed yet: what a backup that is under way, or just failed, can go on from.
fn keep_incomplete(order: &[Ranked], plan: &mut [Reasons]) {
    let Some(newest) = order.first() else { return };
    for (rank, ranked) in order.iter().enumerate() {
        let young = newest.snapshot.time.duration_since(ranked.snapshot.time) < YOUNG;
        if !ranked.snapshot.incomplete || !(young || rank < FEW) {
            break;
        }
        if let Some(place) = plan.get_mut(ranked.at) {
            *place = Reasons::incomplete();
        }
    }
}
