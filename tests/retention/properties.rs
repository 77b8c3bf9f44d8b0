//! What holds for any series of snapshots, any counts and any time zone.

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use volwarden::domain::retention::{Calendar, Period, Policy, Reasons, Retention, Snapshot};

/// The same cases every time; with `PROPTEST_CASES` in the environment, that many new ones.
fn cases(count: u32) -> Config {
    let base = Config { failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return base;
    }
    Config { cases: count, rng_seed: RngSeed::Fixed(6), ..base }
}

/// Where calendars are at their worst: turns of years and months, leap days, changes of clocks, a day left out.
const EDGES: [&str; 10] = [
    "2026-01-01T00:00:00Z",
    "2021-01-04T00:00:00Z",
    "2024-02-29T12:00:00Z",
    "2026-03-31T23:00:00Z",
    "2026-05-31T01:00:00Z",
    "2026-03-08T07:00:00Z",
    "2026-11-01T06:00:00Z",
    "2026-10-25T01:00:00Z",
    "2010-11-07T02:31:00Z",
    "2011-12-30T10:00:00Z",
];

const ZONES: [&str; 9] = [
    "UTC",
    "America/New_York",
    "America/St_Johns",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
];

fn zone() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(&ZONES[..]).prop_map(|name| TimeZone::get(name).unwrap())
}

fn calendar() -> impl Strategy<Value = Calendar> {
    prop::sample::select(vec![Calendar::Kopia, Calendar::Strict])
}

fn policy(count: impl Strategy<Value = u32> + Clone) -> impl Strategy<Value = Policy> {
    [count.clone(), count.clone(), count.clone(), count.clone(), count.clone(), count].prop_map(
        |[latest, hourly, daily, weekly, monthly, annual]| Policy { latest, hourly, daily, weekly, monthly, annual },
    )
}

/// Small counts, and often none.
fn small() -> impl Strategy<Value = Policy> {
    policy(prop_oneof![Just(0_u32), 1_u32..7])
}

fn retention() -> impl Strategy<Value = Retention> {
    (small(), calendar(), zone()).prop_map(|(policy, calendar, zone)| Retention { policy, calendar, zone })
}

/// Steps of every size around one of the edges, so that periods are shared, left out and just missed.
fn series() -> impl Strategy<Value = Vec<Snapshot>> {
    let step =
        (prop::sample::select(vec![1_i64, 60, 1800, 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400]), -3_i64..4)
            .prop_map(|(unit, count)| unit * count);
    let one = (step.clone(), step, prop::bool::weighted(0.1));
    (prop::sample::select(&EDGES[..]), prop::collection::vec(one, 0..40)).prop_map(|(edge, steps)| {
        let edge: Timestamp = edge.parse().unwrap();
        let at = |seconds: i64| edge + SignedDuration::from_secs(seconds);
        steps
            .iter()
            .map(|(one, other, incomplete)| Snapshot { time: at(one + other), incomplete: *incomplete })
            .collect()
    })
}

/// Neither weeks that could meet months, nor months that roll over.
fn unsurprising() -> impl Strategy<Value = (Policy, Vec<Snapshot>)> {
    let policy = (small(), any::<bool>()).prop_map(|(policy, weeks)| {
        if weeks { Policy { monthly: 0, ..policy } } else { Policy { weekly: 0, ..policy } }
    });
    (policy, series().prop_filter("the end of a month", |snapshots| is_early_in_the_month(snapshots)))
}

/// Any moment there is, with the ends more often than chance would have them.
fn any_time() -> impl Strategy<Value = Timestamp> {
    let all = Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond();
    let near_an_end = (any::<bool>(), 0_i64..40_000_000).prop_map(|(first, seconds)| {
        let seconds = SignedDuration::new(seconds, 1);
        if first { Timestamp::MIN + seconds } else { Timestamp::MAX - seconds }
    });
    prop_oneof![
        all.prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).unwrap()),
        near_an_end,
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
    ]
}

fn any_zone() -> impl Strategy<Value = TimeZone> {
    let furthest =
        (-93_599_i32..=93_599).prop_map(|seconds| jiff::tz::Offset::from_seconds(seconds).unwrap().to_time_zone());
    prop_oneof![zone(), furthest]
}

fn newest_first(snapshots: &[Snapshot], plan: &[Reasons]) -> Vec<(Timestamp, bool, Reasons)> {
    let mut all: Vec<_> =
        snapshots.iter().zip(plan).map(|(one, reasons)| (one.time, one.incomplete, *reasons)).collect();
    all.sort_by_key(|(time, incomplete, reasons)| (*time, *incomplete, reasons.to_string()));
    all.reverse();
    all
}

/// No day of the month that another month does not have: kopia's months do not roll over.
fn is_early_in_the_month(snapshots: &[Snapshot]) -> bool {
    let newest = snapshots.iter().filter(|one| !one.incomplete).map(|one| one.time).max();
    newest.is_none_or(|newest| TimeZone::UTC.to_datetime(newest).day() <= 28)
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// A second run right after the first prunes nothing and says the same of all that is left.
    #[test]
    fn what_is_kept_is_kept_again(retention in retention(), snapshots in series()) {
        let plan = retention.plan(&snapshots);
        let (left, reasons): (Vec<Snapshot>, Vec<Reasons>) =
            snapshots.iter().zip(plan).filter(|(_, reasons)| reasons.kept()).unzip();
        prop_assert_eq!(retention.plan(&left), reasons);
    }

    #[test]
    fn the_order_given_does_not_matter(
        retention in retention(),
        (one, other) in series().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let plans = (retention.plan(&one), retention.plan(&other));
        prop_assert_eq!(newest_first(&one, &plans.0), newest_first(&other, &plans.1));
    }

    /// In the strict calendar, anywhere: time that goes on never brings back what was to go.
    #[test]
    fn a_newer_one_never_brings_a_pruned_one_back(
        policy in small(), zone in zone(), snapshots in series(), later in 1_i64..100_000_000, incomplete: bool,
    ) {
        let retention = Retention { policy, calendar: Calendar::Strict, zone };
        none_comes_back(&retention, &snapshots, later, incomplete)?;
    }

    /// In kopia's, where neither months roll over nor weeks meet months.
    #[test]
    fn a_newer_one_never_brings_a_pruned_one_back_in_kopias_calendar_either(
        (policy, snapshots) in unsurprising(), later in 1_i64..100_000_000, incomplete: bool,
    ) {
        none_comes_back(&Retention::new(policy), &snapshots, later, incomplete)?;
    }

    #[test]
    fn without_a_policy_every_complete_one_stays(
        calendar in calendar(), zone in zone(), snapshots in series(),
    ) {
        let plan = Retention { policy: Policy::default(), calendar, zone }.plan(&snapshots);
        prop_assert!(snapshots.iter().zip(plan).all(|(one, reasons)| one.incomplete || reasons.kept()));
    }

    #[test]
    fn where_nothing_surprises_the_calendars_agree((policy, snapshots) in unsurprising()) {
        let kopia = Retention::new(policy);
        let strict = Retention { calendar: Calendar::Strict, ..kopia.clone() };
        prop_assert_eq!(kopia.plan(&snapshots), strict.plan(&snapshots));
    }

    /// Of the strict calendar: in kopia's one more month may take a week's name away.
    #[test]
    fn a_greater_count_never_keeps_less(
        policy in small(), zone in zone(), snapshots in series(), more in policy(0_u32..3),
    ) {
        prop_assume!(!policy.keeps_all());
        let greater = Policy {
            latest: policy.latest + more.latest,
            hourly: policy.hourly + more.hourly,
            daily: policy.daily + more.daily,
            weekly: policy.weekly + more.weekly,
            monthly: policy.monthly + more.monthly,
            annual: policy.annual + more.annual,
        };
        let strict = |policy| Retention { policy, calendar: Calendar::Strict, zone: zone.clone() }.plan(&snapshots);
        prop_assert!(strict(policy).iter().zip(strict(greater)).all(|(less, more)| !less.kept() || more.kept()));
    }

    /// Nothing panics at the ends of time, and what is said is sound.
    #[test]
    fn any_time_any_zone_any_count(
        policy in policy(prop_oneof![0_u32..5, any::<u32>()]),
        calendar in calendar(),
        zone in any_zone(),
        snapshots in prop::collection::vec(
            (any_time(), prop::bool::weighted(0.1)).prop_map(|(time, incomplete)| Snapshot { time, incomplete }), 0..12,
        ),
    ) {
        let plan = Retention { policy, calendar, zone }.plan(&snapshots);
        prop_assert_eq!(plan.len(), snapshots.len());
        sound(&policy, &snapshots, &plan)?;
    }

    #[test]
    fn what_is_said_is_sound(retention in retention(), snapshots in series()) {
        sound(&retention.policy, &snapshots, &retention.plan(&snapshots))?;
    }
}

fn none_comes_back(
    retention: &Retention,
    snapshots: &[Snapshot],
    later: i64,
    incomplete: bool,
) -> Result<(), TestCaseError> {
    let newest = snapshots.iter().map(|one| one.time).max().unwrap_or(Timestamp::UNIX_EPOCH);
    let added = Snapshot { time: newest + SignedDuration::from_secs(later), incomplete };
    let longer: Vec<Snapshot> = snapshots.iter().copied().chain([added]).collect();
    if retention.calendar == Calendar::Kopia && !is_early_in_the_month(&longer) {
        return Ok(());
    }
    for ((snapshot, before), after) in snapshots.iter().zip(retention.plan(snapshots)).zip(retention.plan(&longer)) {
        prop_assert!(before.kept() || !after.kept(), "{} comes back for {} after {}", snapshot.time, after, added.time);
    }
    Ok(())
}

/// No count is exceeded, numbers run from 1 without a gap and back in time, and the newest complete one stays.
fn sound(policy: &Policy, snapshots: &[Snapshot], plan: &[Reasons]) -> Result<(), TestCaseError> {
    let all = newest_first(snapshots, plan);
    for period in Period::ALL {
        let mut numbers: Vec<(u32, Timestamp)> =
            all.iter().filter_map(|(time, _, reasons)| reasons.number(period).map(|number| (number, *time))).collect();
        numbers.sort_by_key(|(number, _)| *number);
        let within = u32::try_from(numbers.len()).is_ok_and(|count| count <= policy.count(period));
        prop_assert!(policy.keeps_all() || within, "{:?} {:?}", period, numbers);
        for (expected, (number, _)) in (1..).zip(&numbers) {
            prop_assert_eq!(expected, *number);
        }
        prop_assert!(numbers.windows(2).all(|two| two[0].1 >= two[1].1), "{:?}", numbers);
    }
    let newest = all.iter().find(|(_, incomplete, _)| !incomplete);
    prop_assert!(
        newest.is_none_or(|(time, _, _)| all.iter().any(|(other, _, reasons)| other == time && reasons.kept()))
    );
    prop_assert!(
        all.iter().all(|(_, incomplete, reasons)| !incomplete || reasons.to_string().len() <= "incomplete".len())
    );
    Ok(())
}

/// The property above does not hold for kopia's own calendar, and this is why the strict one exists.
#[test]
fn in_kopias_calendar_a_pruned_one_can_come_back() {
    let at = |month: i8, day: i8| Snapshot {
        time: date(2026, month, day).at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp(),
        incomplete: false,
    };
    let policy = Policy { monthly: 3, ..Policy::default() };
    let kopia = |snapshots: &[Snapshot]| Retention::new(policy).plan(snapshots)[0].kept();
    assert!(!kopia(&[at(3, 2), at(5, 31)]));
    assert!(kopia(&[at(3, 2), at(5, 31), at(6, 1)]));
}
