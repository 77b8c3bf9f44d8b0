//! When a volume will be full, from one look a day.
//!
//! Free space goes up and down: maintenance gives back at once what many backups took. So the rate is the median of the
//! rates between all pairs of days, which one such day does not move.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Days that are remembered.
const DAYS: usize = 14;
/// Fewer days, or days that lie closer together, tell nothing.
const LEAST: usize = 4;
const SPAN: i64 = 3 * 86_400;
/// A forecast for later than this says that nothing is to be done.
const HORIZON: i64 = 366 * 86_400;

/// A volume at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Its bytes.
    pub capacity: u64,
    /// Free ones.
    pub available: u64,
}

/// The points with a new one: the newest of each day (UTC), and the newest days, oldest first.
#[must_use]
pub fn with_point(points: &[Point], new: Point) -> Vec<Point> {
    let mut days: BTreeMap<_, Point> = BTreeMap::new();
    for point in points.iter().chain([&new]) {
        let day = point.at.to_zoned(TimeZone::UTC).date();
        let known = days.entry(day).or_insert(*point);
        // Of two at the same moment the fuller one, so that their order does not matter.
        let rank = |one: &Point| (one.at, std::cmp::Reverse(one.available), one.capacity);
        if rank(point) > rank(known) {
            *known = *point;
        }
    }
    let all: Vec<Point> = days.into_values().collect();
    let surplus = all.len().saturating_sub(DAYS);
    all.into_iter().skip(surplus).collect()
}

/// When nothing will be free any more, if that is within a year. Days on which the volume had another size do not count.
#[must_use]
pub fn full_at(points: &[Point]) -> Option<Timestamp> {
    let newest = points.iter().max_by_key(|point| point.at)?;
    let same: Vec<&Point> = points.iter().filter(|point| point.capacity == newest.capacity).collect();
    let first = same.iter().map(|point| point.at.as_second()).min()?;
    if same.len() < LEAST || newest.at.as_second().saturating_sub(first) < SPAN {
        return None;
    }
    let mut rates: Vec<f64> = Vec::new();
    for (at, one) in same.iter().enumerate() {
        for other in same.iter().skip(at + 1) {
            let seconds = other.at.as_second().saturating_sub(one.at.as_second());
            if seconds != 0 {
                rates.push((float(other.available) - float(one.available)) / signed(seconds));
            }
        }
    }
    rates.sort_by(f64::total_cmp);
    let rate = rates.get(rates.len() / 2).copied().filter(|rate| *rate < 0.0)?;
    let left = float(newest.available) / -rate;
    if !left.is_finite() || left > signed(HORIZON) {
        return None;
    }
    newest.at.checked_add(std::time::Duration::try_from_secs_f64(left).ok()?).ok()
}

#[expect(clippy::cast_precision_loss, reason = "a forecast to the day")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_precision_loss, reason = "a forecast to the day")]
fn signed(seconds: i64) -> f64 {
    seconds as f64
}
