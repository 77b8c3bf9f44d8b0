//! When a schedule fires next.

use std::cell::RefCell;
use std::collections::BTreeMap;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use jiff::tz::TimeZone;

thread_local! {
    /// What was parsed before: a cluster has few schedules and asks for the next time of each all the time, and to parse
    /// one costs more than all the rest of a look at a source.
    static PARSED: RefCell<BTreeMap<String, Cron>> = const { RefCell::new(BTreeMap::new()) };
}

/// The first time after `after`; the words of the error if the expression is none.
pub(super) fn next(expression: &str, after: Timestamp) -> Result<Timestamp, String> {
    PARSED.with_borrow_mut(|parsed| {
        if let Some(cron) = parsed.get(expression) {
            return first(cron, expression, after);
        }
        let cron = CronParser::builder().seconds(Seconds::Disallowed).build().parse(expression);
        let cron = cron.map_err(|error| format!("failed to parse cron expression {expression:?}: {error}"))?;
        first(parsed.entry(expression.to_owned()).or_insert(cron), expression, after)
    })
}

fn first(cron: &Cron, expression: &str, after: Timestamp) -> Result<Timestamp, String> {
    let next = cron.find_next_occurrence(&after.to_zoned(TimeZone::UTC), false);
    next.map(|at| at.timestamp()).map_err(|error| format!("no next time for {expression:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_fire_after_and_never_at_the_moment_itself() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (expression, after, then) in [
            ("0 * * * *", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
            ("@hourly", "2026-03-01T10:59:59.5Z", "2026-03-01T11:00:00Z"),
            ("30 2 * * *", "2026-03-01T10:00:00Z", "2026-03-02T02:30:00Z"),
            ("*/15 * * * *", "2026-03-01T10:01:00Z", "2026-03-01T10:15:00Z"),
        ] {
            assert_eq!(next(expression, at(after)), Ok(at(then)), "{expression}");
        }
        assert!(next("0 0 * *", at("2026-03-01T10:00:00Z")).is_err());
    }
}
