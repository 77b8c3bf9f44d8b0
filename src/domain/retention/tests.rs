//! Each rule on the smallest series that shows it, and each surprise of kopia's beside the strict reading.
//!
//! Zones are written as rules, so that these need no time zone database.

use super::*;

fn at(time: &str) -> Snapshot {
    let time = if time.len() == 10 { format!("{time}T12:00:00Z") } else { format!("{time}Z") };
    Snapshot { time: time.parse().unwrap(), incomplete: false }
}

fn unfinished(time: &str) -> Snapshot {
    Snapshot { incomplete: true, ..at(time) }
}

fn new_york() -> TimeZone {
    TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap()
}

fn words(retention: &Retention, snapshots: &[Snapshot]) -> Vec<String> {
    retention.plan(snapshots).iter().map(ToString::to_string).collect()
}

fn kopia(policy: Policy, times: &[&str]) -> Vec<String> {
    words(&Retention::new(policy), &times.iter().map(|time| at(time)).collect::<Vec<_>>())
}

fn strict(policy: Policy, times: &[&str]) -> Vec<String> {
    let retention = Retention { calendar: Calendar::Strict, ..Retention::new(policy) };
    words(&retention, &times.iter().map(|time| at(time)).collect::<Vec<_>>())
}

fn latest(latest: u32) -> Policy {
    Policy { latest, ..Policy::default() }
}

#[test]
fn nothing_in_nothing_out() {
    assert!(Retention::new(latest(1)).plan(&[]).is_empty());
}

#[test]
fn an_empty_policy_keeps_everything() {
    assert_eq!(kopia(Policy::default(), &["2020-01-01", "2026-01-01"]), ["latest-2", "latest-1"]);
    assert_eq!(strict(Policy::default(), &["2020-01-01", "2026-01-01"]), ["latest-2", "latest-1"]);
    assert!(Policy::default().keeps_all() && !latest(1).keeps_all());
}

#[test]
fn reasons_stand_in_kopias_order_and_with_the_snapshot_they_belong_to() {
    let all = Policy { latest: 1, hourly: 1, daily: 1, weekly: 1, monthly: 1, annual: 1 };
    let one = "latest-1 hourly-1 daily-1 weekly-1 monthly-1 annual-1";
    assert_eq!(kopia(all, &["2026-05-01", "2026-05-20", "2026-05-02"]), ["", one, ""]);
    let plan = Retention::new(all).plan(&[at("2026-05-20")]);
    assert_eq!(plan[0].number(Period::Weekly), Some(1));
    assert_eq!(plan[0].iter().next(), Some(Reason::Counted(Period::Latest, 1)));
    assert!(plan[0].kept() && !Reasons::default().kept());
}

#[test]
fn the_newest_of_each_period_stays() {
    let hourly = Policy { hourly: 2, ..Policy::default() };
    let times = ["2026-05-20T10:59:59", "2026-05-20T11:00:00", "2026-05-20T11:59:59"];
    assert_eq!(kopia(hourly, &times), ["hourly-2", "", "hourly-1"]);
    let daily = Policy { daily: 2, ..Policy::default() };
    let times = ["2026-05-19T23:59:59", "2026-05-20T00:00:00", "2026-05-20T11:00:00"];
    assert_eq!(kopia(daily, &times), ["daily-2", "", "daily-1"]);
    // A week begins on Monday, May 18.
    let weekly = Policy { weekly: 2, ..Policy::default() };
    assert_eq!(kopia(weekly, &["2026-05-17", "2026-05-18", "2026-05-20"]), ["weekly-2", "", "weekly-1"]);
    let monthly = Policy { monthly: 2, ..Policy::default() };
    assert_eq!(kopia(monthly, &["2026-04-30", "2026-05-01", "2026-05-20"]), ["monthly-2", "", "monthly-1"]);
    let annual = Policy { annual: 2, ..Policy::default() };
    assert_eq!(kopia(annual, &["2025-12-31", "2026-01-01", "2026-05-20"]), ["annual-2", "", "annual-1"]);
}

#[test]
fn before_1970_an_hour_is_an_hour_too() {
    let hourly = Policy { hourly: 3, ..Policy::default() };
    let times = ["1969-12-31T22:59:59.9", "1969-12-31T23:00:00.5", "1969-12-31T23:59:59.5", "1970-01-01T00:00:00"];
    assert_eq!(kopia(hourly, &times), ["hourly-3", "", "hourly-2", "hourly-1"]);
}

#[test]
fn a_count_is_a_reach_as_well_and_its_end_is_within() {
    // Three hours, days, weeks, months, years before; and a second more. The count alone would keep both.
    let newest = "2026-05-20T12:00:00";
    let cases = [
        (Policy { hourly: 3, ..Policy::default() }, "2026-05-20T09:00:00", "2026-05-20T08:59:59", "hourly-2"),
        (Policy { daily: 3, ..Policy::default() }, "2026-05-17T12:00:00", "2026-05-17T11:59:59", "daily-2"),
        (Policy { weekly: 3, ..Policy::default() }, "2026-04-29T12:00:00", "2026-04-29T11:59:59", "weekly-2"),
        (Policy { monthly: 3, ..Policy::default() }, "2026-02-20T12:00:00", "2026-02-20T11:59:59", "monthly-2"),
        (Policy { annual: 3, ..Policy::default() }, "2023-05-20T12:00:00", "2023-05-20T11:59:59", "annual-2"),
    ];
    for (policy, within, beyond, reason) in cases {
        assert_eq!(kopia(policy, &[within, newest])[0], reason);
        assert_eq!(kopia(policy, &[beyond, newest])[0], "", "{policy:?}");
        assert_eq!(strict(policy, &[within, newest])[0], reason);
        assert_eq!(strict(policy, &[beyond, newest])[0], "", "{policy:?}");
    }
}

#[test]
fn the_reach_is_measured_from_the_newest_complete_one() {
    let policy = Policy { daily: 3, ..Policy::default() };
    let snapshots = [at("2026-05-17"), at("2026-05-20"), unfinished("2026-05-25")];
    assert_eq!(words(&Retention::new(policy), &snapshots), ["daily-2", "daily-1", "incomplete"]);
}

#[test]
fn incomplete_ones_stay_while_they_are_young_or_few_and_none_has_followed() {
    let retention = Retention::new(latest(2));
    let young = [
        unfinished("2026-05-20T12:00:00"),
        unfinished("2026-05-20T11:00:00"),
        unfinished("2026-05-20T10:00:00"),
        unfinished("2026-05-20T08:00:01"),
        unfinished("2026-05-20T08:00:00"),
        at("2026-05-20T07:00:00"),
        unfinished("2026-05-20T06:59:59"),
    ];
    let kept = "incomplete";
    assert_eq!(words(&retention, &young), [kept, kept, kept, kept, "", "latest-1", ""], "younger than four hours");
    let few = ["2026-05-20", "2026-05-10", "2026-05-01", "2026-04-01"].map(unfinished);
    assert_eq!(words(&retention, &few), [kept, kept, kept, ""], "the three newest, however old");
    let followed = [at("2026-05-20T12:00:00"), unfinished("2026-05-20T11:59:59")];
    assert_eq!(words(&retention, &followed), ["latest-1", ""], "a complete one has followed");
}

#[test]
fn of_two_with_the_same_time_the_complete_one_counts_as_newer() {
    let same = [unfinished("2026-05-20"), at("2026-05-20")];
    assert_eq!(words(&Retention::new(latest(1)), &same), ["", "latest-1"]);
    let alike = [at("2026-05-20"), at("2026-05-20")];
    assert_eq!(words(&Retention::new(latest(1)), &alike), ["latest-1", ""]);
}

// === where kopia surprises, and strict does not; the examples of docs/retention.md ===

#[test]
fn kopia_takes_week_1_for_january() {
    let policy = Policy { weekly: 4, monthly: 6, ..Policy::default() };
    let sundays = ["2026-01-22", "2026-01-18", "2026-01-11", "2026-01-04", "2025-12-28"];
    assert_eq!(kopia(policy, &sundays), ["weekly-1 monthly-1", "weekly-2", "weekly-3", "", "weekly-4 monthly-2"]);
    assert_eq!(strict(policy, &sundays), ["weekly-1 monthly-1", "weekly-2", "weekly-3", "weekly-4", "monthly-2"]);
}

/// One an hour, the newest first.
fn hours(newest: &str, count: i64) -> Vec<Snapshot> {
    let newest = at(newest).time;
    (0..count).map(|back| Snapshot { time: newest - SignedDuration::from_hours(back), incomplete: false }).collect()
}

#[test]
fn kopia_takes_the_2026th_snapshot_for_the_year_2026() {
    let retention = Retention::new(Policy { latest: 2100, annual: 1, ..Policy::default() });
    let mut snapshots = hours("2026-05-20", 2100);
    let gone = |calendar, snapshots: &[Snapshot]| {
        let plan = Retention { calendar, ..retention.clone() }.plan(snapshots);
        (0..plan.len()).filter(|rank| !plan[*rank].kept()).collect::<Vec<_>>()
    };
    assert_eq!(gone(Calendar::Kopia, &snapshots), [2026]);
    assert!(gone(Calendar::Strict, &snapshots).is_empty());
    snapshots[5].incomplete = true;
    assert_eq!(gone(Calendar::Kopia, &snapshots), [5, 2026], "an incomplete one has a rank, too");
}

#[test]
fn kopia_takes_the_year_2026_for_the_2026th_snapshot() {
    // The 2026th back from early 2027 is in 2026 already counted as one of the latest, so the year gets no name.
    let retention = Retention::new(Policy { latest: 2050, annual: 2, ..Policy::default() });
    let mut snapshots = hours("2027-03-31T20:00:00", 2100);
    snapshots.push(at("2026-06-01"));
    let years = |calendar| {
        let plan = Retention { calendar, ..retention.clone() }.plan(&snapshots);
        plan.iter().filter_map(|reasons| reasons.number(Period::Annual)).collect::<Vec<_>>()
    };
    assert_eq!(snapshots[2099].time.to_string(), "2027-01-03T09:00:00Z");
    assert_eq!(years(Calendar::Kopia), [1]);
    assert_eq!(years(Calendar::Strict), [1, 2]);
}

#[test]
fn kopia_reads_days_in_utc_and_weeks_in_its_own_zone() {
    // 22:00 and 23:00 of Sunday, May 17 in New York; 02:00 and 03:00 of Monday in UTC.
    let snapshots = [at("2026-05-18T02:00:00"), at("2026-05-18T04:30:00")];
    let policy = Policy { daily: 2, weekly: 2, ..Policy::default() };
    let there = |calendar| words(&Retention { policy, calendar, zone: new_york() }, &snapshots);
    assert_eq!(there(Calendar::Kopia), ["weekly-2", "daily-1 weekly-1"], "one day, two weeks");
    assert_eq!(there(Calendar::Strict), ["daily-2 weekly-2", "daily-1 weekly-1"]);
    assert_eq!(words(&Retention::new(policy), &snapshots), ["", "daily-1 weekly-1"]);
}

#[test]
fn kopia_lets_a_day_that_does_not_exist_roll_over() {
    // May 31 less three months is "February 31": March 3 for kopia.
    let policy = Policy { monthly: 3, ..Policy::default() };
    let times = ["2026-05-31", "2026-04-30", "2026-03-02"];
    assert_eq!(kopia(policy, &times), ["monthly-1", "monthly-2", ""]);
    assert_eq!(strict(policy, &times), ["monthly-1", "monthly-2", "monthly-3"]);
    let times = ["2026-05-31", "2026-03-01T00:00:00", "2026-02-28T23:59:59"];
    assert_eq!(strict(policy, &times), ["monthly-1", "monthly-2", ""], "all of March, and nothing before it");
    // So the reach may move back when time goes on: a day later the same one is within it.
    assert_eq!(kopia(policy, &["2026-06-01", "2026-05-31", "2026-03-02"])[2], "monthly-3");
    let annual = Policy { annual: 1, ..Policy::default() };
    assert_eq!(kopia(Policy { daily: 1, ..annual }, &["2024-02-29", "2023-03-01"])[1], "");
}

#[test]
fn when_clocks_go_back_an_hour_that_comes_twice_is_two() {
    // 01:30 in daylight time, and an hour later 01:30 again.
    let snapshots = [at("2026-11-01T06:30:00"), at("2026-11-01T05:30:00")];
    let retention =
        Retention { policy: Policy { hourly: 2, ..Policy::default() }, calendar: Calendar::Strict, zone: new_york() };
    assert_eq!(words(&retention, &snapshots), ["hourly-1", "hourly-2"]);
}

#[test]
fn strict_hours_are_those_of_the_zone() {
    let zone = TimeZone::posix("<+0530>-5:30").unwrap();
    let snapshots = [at("2026-05-20T10:29:00"), at("2026-05-20T10:31:00")];
    let policy = Policy { hourly: 2, ..Policy::default() };
    let there = |calendar| words(&Retention { policy, calendar, zone: zone.clone() }, &snapshots);
    assert_eq!(there(Calendar::Strict), ["hourly-2", "hourly-1"], "15:59 and 16:01 there");
    assert_eq!(there(Calendar::Kopia), ["", "hourly-1"]);
}

/// The oldest moment that one day reaches back to from there.
fn a_day_before(calendar: Calendar, zone: &TimeZone, time: &str) -> String {
    let policy = Policy { daily: 1, ..Policy::default() };
    let cutoffs = calendar::Reader::new(calendar, zone).cutoffs(at(time).time, &policy);
    cutoffs.daily.unwrap().to_string()
}

#[test]
fn a_day_is_a_day_by_the_clock_when_clocks_change() {
    let zone = new_york();
    let strict = |time| a_day_before(Calendar::Strict, &zone, time);
    let kopia = |time| a_day_before(Calendar::Kopia, &zone, time);
    // 23:59 of the day on which clocks went forward; of the day before it.
    assert_eq!(kopia("2026-03-09T03:59:00"), "2026-03-08T04:59:00Z");
    assert_eq!(strict("2026-03-09T03:59:00"), "2026-03-08T04:59:00Z");
    // 02:30 did not exist the day before. Go takes 01:30; strict the change itself.
    assert_eq!(kopia("2026-03-09T06:30:00"), "2026-03-08T06:30:00Z");
    assert_eq!(strict("2026-03-09T06:30:00"), "2026-03-08T07:00:00Z");
    // 01:30 came twice the day before.
    assert_eq!(kopia("2026-11-02T06:30:00"), "2026-11-01T05:30:00Z");
    assert_eq!(strict("2026-11-02T06:30:00"), "2026-11-01T05:30:00Z");
    // In the hour that comes a second time strict reaches back no further than at its end.
    assert_eq!(kopia("2026-11-01T06:30:00"), "2026-10-31T05:30:00Z");
    assert_eq!(strict("2026-11-01T06:30:00"), "2026-10-31T06:00:00Z");
}

#[test]
fn a_count_beyond_all_time_reaches_everything() {
    let all = Policy {
        latest: u32::MAX,
        hourly: u32::MAX,
        daily: u32::MAX,
        weekly: u32::MAX,
        monthly: u32::MAX,
        annual: u32::MAX,
    };
    for calendar in [Calendar::Kopia, Calendar::Strict] {
        for zone in [TimeZone::UTC, new_york()] {
            let snapshots = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX]
                .map(|time| Snapshot { time, incomplete: false });
            let plan = Retention { policy: all, calendar, zone }.plan(&snapshots);
            for period in [Period::Latest, Period::Hourly, Period::Daily, Period::Monthly, Period::Annual] {
                assert_eq!(plan[0].number(period), Some(3), "{period}");
            }
        }
    }
}
