use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::{collection, option, sample};

use super::*;
use crate::domain::kopia::{Class as Kopia, Identity};
use crate::domain::name::Key;
use crate::domain::repository::agenda::TaskTold;
use crate::domain::repository::rules::{Custody, Rules};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

fn us() -> Identity {
    Identity::on("c-1").unwrap()
}

fn custody(change: impl FnOnce(&mut Rules)) -> Custody {
    let cron = |cron: &str| (cron.into(), "UTC".into(), Duration::ZERO);
    let schedules = [(Task::Quick, cron("15 * * * *")), (Task::Full, cron("30 3 * * *"))].into();
    let mut rules = Rules { schedules, ..Rules::default() };
    change(&mut rules);
    let custody = Custody::new(Key::namespaced("backup", "main"), rules);
    assert_eq!(custody.problems(), [] as [String; 0]);
    custody
}

/// As it should be, on the 25th at noon.
fn told() -> Told {
    let done = |text: &str| TaskTold { last_success: Some(at(text)), ..TaskTold::default() };
    Told {
        generation: 1,
        created: Some(at("01T00:00:00")),
        unique_id: Some("id".into()),
        owned_since: Some(at("01T01:00:00")),
        owners: vec![owner("mover@app", "01T00:30:00"), owner("volwarden@c-1", "01T01:00:00")],
        tasks: [(Task::Quick, done("25T11:20:00")), (Task::Full, done("25T03:40:00"))].into(),
        seen: Some(Seen {
            at: Some(at("25T11:50:00")),
            owner: Some("volwarden@c-1".into()),
            last_maintenance: Some(at("25T11:19:00")),
            cycle: Some(DAY),
            index_blobs: Some(41),
            capacity: Some(1000),
            available: Some(700),
            skew: None,
            sources: vec![source("app@ns:/data", "25T11:00:00", 1), source("db@ns:/data", "24T12:00:00", 24)],
        }),
        ..Told::default()
    }
}

fn owner(name: &str, since: &str) -> Owner {
    Owner { owner: Some(name.into()), since: at(since) }
}

fn source(name: &str, newest: &str, hours: u32) -> SourceSeen {
    SourceSeen { source: name.into(), newest: Some(at(newest)), period: Some(HOUR * hours) }
}

fn failure(class: Option<Kopia>, ended: Ended, text: &str) -> Failing {
    Failing { ended, class, said: "kopia's words".into(), since: at(text), at: at(text) }
}

fn failed(told: &mut Told, task: Task, failures: u32, failure: Failing) {
    let one = told.tasks.entry(task).or_default();
    (one.failures, one.failure) = (failures, Some(failure));
}

fn judged(told: &Told, rules: impl FnOnce(&mut Rules), rival: Option<&str>, now: &str) -> Vec<Finding> {
    findings(Case { custody: &custody(rules), told, us: &us(), rival, now: at(now) })
}

/// At noon, under the rules as they are.
fn noon(told: &Told) -> Vec<(Class, Timestamp)> {
    judged(told, |_| {}, None, "25T12:00:00").into_iter().map(|one| (one.class, one.since)).collect()
}

fn only(told: &Told) -> Finding {
    let mut all = judged(told, |_| {}, None, "25T12:00:00");
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn classes(all: &[Finding]) -> Vec<Class> {
    all.iter().map(|one| one.class).collect()
}

#[test]
fn names_are_read_back_and_none_stands_twice() {
    for class in Class::ALL {
        assert_eq!((Class::from_name(class.as_str()), Class::ALL[class.severity()]), (Some(class), class));
    }
    assert_eq!((Class::VolumeFull.label(), Class::from_name("Volume")), ("volume_full".to_owned(), None));
}

#[test]
fn one_that_is_as_it_should_be_has_none_and_so_has_one_that_was_never_seen() {
    assert_eq!(noon(&told()), []);
    assert_eq!(noon(&Told { created: Some(at("01T00:00:00")), ..Told::default() }), []);
}

#[test]
fn another_repository_and_damage_are_told_since_writing_stopped() {
    for (stopped, class) in [
        (Kopia::RepositoryChanged, Class::RepositoryChanged),
        (Kopia::NotInitialised, Class::RepositoryChanged),
        (Kopia::DataDamaged, Class::VerifyFailed),
        (Kopia::IndexDamaged, Class::VerifyFailed),
    ] {
        let told = Told { stopped: Some(stopped), stopped_since: Some(at("24T00:00:00")), ..told() };
        let found = only(&told);
        assert_eq!((found.class, found.since), (class, at("24T00:00:00")));
        assert!(found.said.contains(stopped.remedy()), "{found:?}");
    }
}

#[test]
fn it_is_unreachable_while_nothing_has_happened_since() {
    let mut told = told();
    failed(&mut told, Task::Stats, 1, failure(Some(Kopia::StaleMount), Ended::NotRun, "25T11:55:00"));
    assert_eq!(noon(&told), [(Class::RepositoryUnreachable, at("25T11:55:00"))]);
    assert!(only(&told).said.contains("StaleMount: kopia's words"));
    // Maintenance has happened after that.
    told.tasks.get_mut(&Task::Quick).unwrap().last_success = Some(at("25T11:56:00"));
    assert_eq!(noon(&told), []);
    // A lock that is held is no closed door.
    let mut told = self::told();
    failed(&mut told, Task::Quick, 1, failure(Some(Kopia::LockHeld), Ended::NotRun, "25T11:55:00"));
    assert_eq!(noon(&told), []);
}

#[test]
fn jobs_without_a_word_are_a_share_that_cannot_be_mounted_from_the_second_on() {
    for (ended, failures, found) in
        [(Ended::Unclear, 1, false), (Ended::Unclear, 2, true), (Ended::NotRun, 5, false), (Ended::Failed, 5, false)]
    {
        let mut told = told();
        failed(&mut told, Task::Stats, failures, failure(None, ended, "25T11:55:00"));
        let classes: Vec<Class> = noon(&told).into_iter().map(|(class, _)| class).collect();
        assert_eq!(classes == [Class::RepositoryUnreachable], found, "{ended:?} {failures}: {classes:?}");
    }
}

#[test]
fn a_verification_that_failed_counts_until_one_succeeds() {
    let mut told = told();
    failed(&mut told, Task::VerifyWhole, 1, failure(Some(Kopia::Unknown), Ended::Failed, "24T06:00:00"));
    assert_eq!(noon(&told), [(Class::VerifyFailed, at("24T06:00:00"))]);
    let good = |text: &str| TaskTold { last_success: Some(at(text)), ..TaskTold::default() };
    told.tasks.insert(Task::Verify, good("23T00:00:00"));
    assert_eq!(noon(&told).len(), 1, "that one was before it");
    told.tasks.insert(Task::Verify, good("24T07:00:00"));
    assert_eq!(noon(&told), []);
    // What never got to the data says nothing of it; an empty repository proves nothing.
    for (class, ended, found) in [
        (Some(Kopia::Killed), Ended::Failed, false),
        (Some(Kopia::StaleMount), Ended::Failed, false),
        (Some(Kopia::WrongPassword), Ended::NotRun, false),
        (None, Ended::Unclear, false),
        (Some(Kopia::NothingToVerify), Ended::NotRun, true),
    ] {
        let mut told = self::told();
        failed(&mut told, Task::Verify, 1, failure(class, ended, "24T06:00:00"));
        let found_any = noon(&told).iter().any(|(found, _)| *found == Class::VerifyFailed);
        assert_eq!(found_any, found, "{class:?}");
    }
}

#[test]
fn a_volume_is_full_by_its_percent_by_kopias_word_or_soon_by_its_trend() {
    let with = |available: u64| {
        let mut told = told();
        told.seen.as_mut().unwrap().available = Some(available);
        told
    };
    assert_eq!(noon(&with(110)), []);
    assert_eq!(only(&with(109)).class, Class::VolumeFull, "89.1 of 100 are rounded up");
    let percent = |percent| move |rules: &mut Rules| rules.limits.volume_percent = percent;
    assert_eq!(judged(&with(109), percent(95), None, "25T12:00:00"), []);
    // A volume of which nothing is told is not full.
    let mut none = with(0);
    none.seen.as_mut().unwrap().capacity = Some(0);
    assert_eq!(noon(&none), []);

    let mut told = told();
    failed(&mut told, Task::Full, 1, failure(Some(Kopia::NoSpace), Ended::Failed, "25T11:55:00"));
    assert_eq!(noon(&told), [(Class::VolumeFull, at("25T11:55:00"))]);

    // 100 bytes a day, of 700 that are left.
    let day = |n: u8, available| Point { at: at(&format!("{:02}T11:50:00", 20 + n)), capacity: 1000, available };
    let mut falling = self::told();
    falling.trend = (0..6).map(|n| day(n, 700 + 100 * (5 - u64::from(n)))).collect();
    let found = only(&falling);
    assert!(found.class == Class::VolumeFull && found.said.contains("full on 2026-12-02"), "{found:?}");
    // One day on which maintenance gave much back does not hide it.
    falling.trend[3].available = 1000;
    assert_eq!(only(&falling).class, Class::VolumeFull);
    // Ten bytes a day last for long, and three days tell nothing.
    let mut slow = self::told();
    slow.trend = (0..6).map(|n| day(n, 700 + 10 * (5 - u64::from(n)))).collect();
    assert_eq!(noon(&slow), []);
    falling.trend.drain(..3);
    assert_eq!(noon(&falling), []);
}

#[test]
fn a_trend_keeps_the_newest_of_each_day_and_ends_where_the_size_changed() {
    let mut all = Vec::new();
    for day in 1..=20 {
        for hour in [1, 23] {
            let at = at(&format!("{day:02}T{hour:02}:00:00"));
            all = with_point(&all, Point { at, capacity: 1000, available: 1000 - day * 10 });
        }
    }
    assert_eq!((all.len(), all[0].at, all[13].at), (14, at("07T23:00:00"), at("20T23:00:00")));
    assert_eq!(full_at(&all), Some(at("20T23:00:00") + SignedDuration::from_hours(80 * 24)));
    // It was made larger: what was free before says nothing.
    all[13].capacity = 2000;
    assert_eq!(full_at(&all), None);
}

#[test]
fn a_forecast_needs_days_that_agree_and_is_for_a_year() {
    let point = |n: i64, hours: i64, available| Point {
        at: at("01T00:00:00") + SignedDuration::from_hours(n * hours),
        capacity: 1000,
        available,
    };
    let falling = |count: i64, hours: i64, by: u64| -> Vec<Point> {
        (0..count).zip((0..).map(|n| 900 - n * by)).map(|(n, available)| point(n, hours, available)).collect()
    };
    assert!(full_at(&falling(4, 24, 100)).is_some());
    assert_eq!(full_at(&falling(3, 36, 100)), None, "three days tell nothing");
    assert_eq!(full_at(&falling(4, 23, 100)), None, "nor do three days less an hour");
    assert!(full_at(&falling(6, 24, 3)).is_some(), "in 295 days");
    assert_eq!(full_at(&falling(6, 24, 1)), None, "in more than a year");
    // One large backup is no trend.
    let once: Vec<Point> = (0..6).map(|n| point(n, 24, if n == 5 { 500 } else { 900 })).collect();
    assert_eq!(full_at(&once), None);
}

#[test]
fn a_source_is_late_after_three_of_its_own_periods() {
    let mut told = told();
    let seen = |told: &mut Told, sources: Vec<SourceSeen>| told.seen.as_mut().unwrap().sources = sources;
    seen(&mut told, vec![source("app@ns:/data", "25T08:49:00", 1), source("db@ns:/data", "22T12:00:00", 24)]);
    let found = only(&told);
    assert_eq!((found.class, found.since), (Class::SnapshotGap, at("25T11:49:00")));
    assert!(found.said.starts_with("1 source ") && found.said.contains("app@ns:/data"), "{}", found.said);
    let more = |rules: &mut Rules| rules.limits.gap_periods = 4;
    assert_eq!(judged(&told, more, None, "25T12:00:00"), []);
    let retired = |rules: &mut Rules| rules.limits.retired = vec!["app@ns:/data".into()];
    assert_eq!(judged(&told, retired, None, "25T12:00:00"), []);
    // As of the look: what was backed up since then has not been seen.
    told.seen.as_mut().unwrap().at = Some(at("25T11:48:00"));
    assert_eq!(noon(&told), []);
    // Each ten minutes is not late after half an hour; without a period nothing is told.
    let often = SourceSeen { period: Some(Duration::from_secs(600)), ..source("a@b:/", "25T10:30:00", 1) };
    let rare = SourceSeen { period: None, ..source("c@b:/", "01T00:00:00", 1) };
    let never = SourceSeen { newest: None, ..source("d@b:/", "01T00:00:00", 1) };
    seen(&mut told, vec![often, rare, never]);
    assert_eq!(noon(&told), []);
    // Many are named by the first three.
    seen(&mut told, (0..7).map(|n| source(&format!("app-{n}@ns:/"), "20T00:00:00", 1)).collect());
    let found = only(&told);
    assert!(found.said.starts_with("7 sources") && found.said.contains("and 4 more"), "{}", found.said);
}

#[test]
fn clocks_are_judged_by_kopia_by_the_node_and_by_snapshots() {
    let mut told = told();
    failed(&mut told, Task::Stats, 1, failure(Some(Kopia::ClockSkew), Ended::NotRun, "25T11:55:00"));
    assert_eq!(noon(&told), [(Class::ClockSkew, at("25T11:55:00"))]);
    let mut node = self::told();
    node.seen.as_mut().unwrap().skew = Some(SignedDuration::from_mins(-10));
    assert!(only(&node).said.contains("10m behind ours"));
    let mut mover = self::told();
    mover.seen.as_mut().unwrap().sources.push(source("x@y:/", "25T11:54:00", 1));
    assert_eq!(noon(&mover), []);
    mover.seen.as_mut().unwrap().sources.push(source("y@y:/", "25T11:56:00", 1));
    assert!(only(&mover).said.contains("y@y:/"));
    let span = |seen| skew(at(seen), at("25T11:00:00"), at("25T12:00:00"));
    assert_eq!((span("25T10:56:00"), span("25T12:04:00")), (None, None));
    assert_eq!(span("25T10:50:00"), Some(SignedDuration::from_mins(-10)));
    assert_eq!(span("25T12:06:00"), Some(SignedDuration::from_mins(6)));
}

#[test]
fn our_maintenance_is_overdue_after_two_of_its_times_and_a_day() {
    let found = |now: &str, change: fn(&mut Rules)| judged(&told(), change, None, now);
    assert_eq!(found("26T11:00:00", |_| {}), [], "quick is late, and a day has not passed");
    let late = found("26T11:30:00", |_| {});
    assert_eq!((classes(&late), late[0].since), (vec![Class::MaintenanceOverdue], at("26T10:15:00")));
    assert!(late[0].said.starts_with("quick maintenance has happened last at 2026-11-25T11:20:00Z"), "{late:?}");
    let full = |rules: &mut Rules| drop(rules.schedules.remove(&Task::Quick));
    assert_eq!(found("27T03:00:00", full), []);
    let late = found("27T03:31:00", full);
    assert!(late[0].said.starts_with("full") && late[0].since == at("26T03:30:00"), "{late:?}");
    // The large cycle keeps the index short as well; why it is late is told.
    let mut done = told();
    done.tasks.get_mut(&Task::Full).unwrap().last_success = Some(at("26T03:40:00"));
    assert_eq!(judged(&done, |_| {}, None, "26T12:00:00"), []);
    failed(&mut done, Task::Quick, 3, failure(Some(Kopia::LockHeld), Ended::NotRun, "27T11:00:00"));
    assert!(judged(&done, |_| {}, None, "27T12:00:00")[0].said.ends_with("its newest Job: kopia's words"));
    assert!(found("29T00:00:00", |rules| rules.suspended = true)[0].said.ends_with("spec.suspend holds it"));
}

#[test]
fn times_outside_of_all_windows_are_not_missed() {
    let night = |rules: &mut Rules| rules.windows = vec![("0 22 * * *".into(), "UTC".into(), HOUR * 8)];
    let mut told = told();
    let done = |text: &str| TaskTold { last_success: Some(at(text)), ..TaskTold::default() };
    told.tasks = [(Task::Quick, done("25T05:20:00")), (Task::Full, done("25T03:40:00"))].into();
    assert_eq!(judged(&told, night, None, "25T21:00:00"), []);
    assert_eq!(classes(&judged(&told, night, None, "26T05:30:00")), [Class::MaintenanceOverdue]);
    // A time that never lies in a window is one of the next opening.
    let weekly = |rules: &mut Rules| {
        night(rules);
        rules.schedules = [(Task::Full, ("0 12 * * *".into(), "UTC".into(), Duration::ZERO))].into();
    };
    assert_eq!(judged(&told, weekly, None, "25T23:00:00"), []);
    assert_eq!(classes(&judged(&told, weekly, None, "26T23:00:00")), [Class::MaintenanceOverdue]);
}

#[test]
fn maintenance_of_others_is_overdue_by_kopias_record() {
    let mut told = told();
    (told.owned_since, told.owners) = (None, vec![owner("mover@app", "01T00:30:00")]);
    let seen = |told: &mut Told, last: Option<&str>| {
        let seen = told.seen.as_mut().unwrap();
        (seen.owner, seen.last_maintenance) = (Some("mover@app".into()), last.map(at));
    };
    seen(&mut told, Some("23T12:00:00"));
    assert_eq!(noon(&told), []);
    seen(&mut told, Some("23T11:00:00"));
    let found = only(&told);
    assert_eq!((found.class, found.since), (Class::MaintenanceOverdue, at("25T11:00:00")));
    assert!(found.said.contains("mover@app"), "{}", found.said);
    seen(&mut told, None);
    assert!(only(&told).said.contains("happened never"), "nobody ever did");
    told.created = Some(at("25T00:00:00"));
    assert_eq!(noon(&told), [], "it was only just given");
}

#[test]
fn ownership_that_was_ours_is_lost_and_one_that_never_was_is_not() {
    let mut told = told();
    told.seen.as_mut().unwrap().owner = Some("maintenance@volsync".into());
    told.owners.push(owner("maintenance@volsync", "25T02:00:00"));
    assert_eq!(noon(&told), [(Class::MaintenanceOwnerLost, at("25T02:00:00"))]);
    told.owned_since = None;
    assert_eq!(noon(&told), []);
}

#[test]
fn two_managers_are_an_object_an_owner_that_comes_back_or_a_run_that_is_not_ours() {
    let rival = judged(&told(), |_| {}, Some("KopiaMaintenance backup/daily"), "25T12:00:00");
    assert_eq!(classes(&rival), [Class::TwoManagers]);
    assert!(rival[0].said.contains("KopiaMaintenance backup/daily serves it"), "{rival:?}");
    // Who only looks has no rival.
    let mut theirs = told();
    (theirs.owned_since, theirs.owners) = (None, Vec::new());
    theirs.seen.as_mut().unwrap().owner = Some("maintenance@volsync".into());
    assert_eq!(judged(&theirs, |rules| rules.schedules.clear(), Some("x"), "25T12:00:00"), []);

    let mut fro = told();
    fro.owners = vec![
        owner("a@b", "01T00:00:00"),
        owner("volwarden@c-1", "20T00:00:00"),
        owner("a@b", "21T00:00:00"),
        owner("volwarden@c-1", "22T00:00:00"),
    ];
    let found = only(&fro);
    assert_eq!((found.class, found.since), (Class::TwoManagers, at("20T00:00:00")));
    assert!(found.said.contains("a@b, then volwarden@c-1, then a@b, then volwarden@c-1"), "{}", found.said);
    assert_eq!(judged(&fro, |rules| rules.schedules.clear(), None, "30T00:00:00"), [], "a week ago");

    let mut run = told();
    run.stranger = Some(at("25T10:00:00"));
    assert_eq!(noon(&run), [(Class::TwoManagers, at("25T10:00:00"))]);
    run.stranger = Some(at("18T11:00:00"));
    assert_eq!(noon(&run), [], "more than a week ago");
}

#[test]
fn two_managers_are_policies_that_somebody_sets_back_too() {
    let mut told = told();
    let targets = vec!["app@media:/data".to_owned()];
    told.again = Some(Again { targets, since: at("23T02:30:00"), at: at("25T02:30:00") });
    let found = only(&told);
    assert_eq!((found.class, found.since), (Class::TwoManagers, at("23T02:30:00")));
    let said = &found.said;
    assert!(said.contains("sets them back: app@media:/data; VolSync's retain") && !said.contains("no lock"), "{said}");
    told.stranger = Some(at("25T10:00:00"));
    let both = only(&told).said;
    assert!(both.contains("no lock between machines") && both.contains("sets them back"), "{both}");
}

#[test]
fn a_run_is_not_ours_if_it_is_newer_than_all_that_we_know_of() {
    let (told, us, now) = (told(), us(), at("25T12:00:00"));
    let ended = |last: &str, owner: &str| {
        let seen = Seen { owner: Some(owner.into()), last_maintenance: Some(at(last)), ..Seen::default() };
        stranger(&told, &us, &seen, now)
    };
    assert_eq!(ended("25T11:24:00", "volwarden@c-1"), None);
    assert_eq!(ended("25T11:26:00", "volwarden@c-1"), Some(at("25T11:26:00")));
    assert_eq!(ended("25T11:26:00", "mover@app"), None, "it is theirs to run");
    assert_eq!(ended("25T12:06:00", "volwarden@c-1"), None, "it has not ended yet");
    let seen =
        Seen { owner: Some("volwarden@c-1".into()), last_maintenance: Some(at("25T11:26:00")), ..Seen::default() };
    assert_eq!(stranger(&Told::default(), &us, &seen, now), None, "nobody knows since when it is ours");
    let mut failing = told.clone();
    failed(&mut failing, Task::Full, 1, failure(None, Ended::Failed, "25T11:25:00"));
    assert_eq!(stranger(&failing, &us, &seen, now), None, "a run of ours that failed did some of it");
    let sibling = Told { sibling: Some(at("25T11:25:00")), ..told.clone() };
    assert_eq!(stranger(&sibling, &us, &seen, now), None, "another object of the same repository ran it");
    let skewed = Seen { skew: Some(SignedDuration::from_mins(10)), ..seen };
    assert_eq!(stranger(&told, &us, &skewed, now), None, "by a wrong clock nothing is told");
}

#[test]
fn too_many_index_blobs_and_since_when() {
    let mut told = told();
    told.seen.as_mut().unwrap().index_blobs = Some(1000);
    assert_eq!(noon(&told), []);
    told.seen.as_mut().unwrap().index_blobs = Some(1001);
    assert_eq!(noon(&told), [(Class::IndexBlobsHigh, at("25T12:00:00"))]);
    told.findings.insert(Class::IndexBlobsHigh, at("24T12:00:00"));
    assert_eq!(noon(&told), [(Class::IndexBlobsHigh, at("24T12:00:00"))], "as it was told before");
}

#[test]
fn owners_are_remembered_when_they_change() {
    let mut all = Vec::new();
    for (name, hour) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
        all = with_owner(&all, Some(name), at(&format!("25T{hour:02}:00:00")));
    }
    assert_eq!(all, [owner("a", "25T01:00:00"), owner("b", "25T03:00:00"), owner("a", "25T04:00:00")]);
    for n in 0..20 {
        all = with_owner(&all, Some(&n.to_string()), at("26T00:00:00"));
    }
    assert_eq!((all.len(), all[7].owner.as_deref()), (OWNERS, Some("19")));
}

// === for any object ===

fn moment() -> impl Strategy<Value = Timestamp> {
    let any_second = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    let near = at("24T00:00:00").as_second()..=at("26T00:00:00").as_second();
    let second = prop_oneof![near, any_second, Just(Timestamp::MAX.as_second()), Just(Timestamp::MIN.as_second())];
    second.prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn sources() -> impl Strategy<Value = Vec<SourceSeen>> {
    let one = ("[a-z]{1,3}", option::of(moment()), option::of(any::<u64>().prop_map(Duration::from_secs)));
    let one = one.prop_map(|(name, newest, period)| SourceSeen { source: name.into(), newest, period });
    collection::vec(one, 0..12)
}

fn points() -> impl Strategy<Value = Vec<Point>> {
    let point = (moment(), 0..3_u64, any::<u64>());
    let point = point.prop_map(|(at, capacity, available)| Point { at, capacity, available });
    collection::vec(point, 0..30)
}

fn any_told() -> impl Strategy<Value = Told> {
    let failing = (sample::select(&Kopia::ALL), moment(), moment()).prop_map(|(class, since, at)| Failing {
        ended: Ended::Failed,
        class: Some(class),
        said: "x".into(),
        since,
        at,
    });
    let task = (option::of(moment()), option::of(failing), any::<u32>());
    let task = task.prop_map(|(last_success, failure, failures)| TaskTold {
        last_success,
        failures,
        failure,
        ..TaskTold::default()
    });
    let tasks = collection::btree_map(sample::select(&Task::ALL), task, 0..7);
    let sizes =
        (option::of(any::<u64>()), option::of(any::<u64>()), option::of(any::<u64>()), option::of(any::<u64>()));
    let whose = sample::select(&["volwarden@c-1", "a@b"]);
    let seen = (option::of(moment()), option::of(whose.clone()), option::of(moment()), sizes, any::<i64>(), sources());
    let seen = seen.prop_map(|(at, owner, last_maintenance, sizes, skew, sources)| Seen {
        at,
        owner: owner.map(Into::into),
        last_maintenance,
        cycle: sizes.3.map(Duration::from_secs),
        index_blobs: sizes.0,
        capacity: sizes.1,
        available: sizes.2,
        skew: Some(SignedDuration::from_secs(skew)),
        sources,
    });
    let owners = collection::vec((whose, moment()), 0..8);
    let stopped = option::of(sample::select(&Kopia::ALL));
    let times = (option::of(moment()), option::of(moment()), option::of(moment()), option::of(moment()));
    (tasks, option::of(seen), owners, stopped, times, points()).prop_map(
        |(tasks, seen, owners, stopped, times, trend)| Told {
            tasks,
            seen,
            owners: owners.into_iter().map(|(name, since)| Owner { owner: Some(name.into()), since }).collect(),
            stopped,
            created: times.0,
            owned_since: times.1,
            stopped_since: times.2,
            stranger: times.3,
            trend,
            ..Told::default()
        },
    )
}

proptest! {
    /// Clocks may be wrong by thousands of years, and sizes may be nonsense: each class once, worst first, no panic. And
    /// what was told before is told since then.
    #[test]
    fn any_object_can_be_judged(told in any_told(), now in moment(), night in any::<bool>()) {
        let custody = custody(|rules| if night { rules.windows = vec![("0 22 * * *".into(), "UTC".into(), HOUR)] });
        let judge = |told: &Told| findings(Case { custody: &custody, told, us: &us(), rival: None, now });
        let all = judge(&told);
        prop_assert!(all.windows(2).all(|pair| pair[0].class.severity() < pair[1].class.severity()));
        let again = Told { findings: all.iter().map(|one| (one.class, one.since)).collect(), ..told };
        prop_assert_eq!(judge(&again), all);
    }

    /// In whatever order sources are listed and looks arrive.
    #[test]
    fn the_order_of_sources_and_of_looks_does_not_matter(told in any_told(), now in moment()) {
        let custody = custody(|_| {});
        let judge = |told: &Told| findings(Case { custody: &custody, told, us: &us(), rival: None, now });
        let keep = |points: &[Point]| points.iter().fold(Vec::new(), |all, point| with_point(&all, *point));
        let (mut one, mut other) = (told.clone(), told);
        if let Some(seen) = &mut other.seen {
            // One of a name: two are never listed.
            let mut names = std::collections::BTreeSet::new();
            seen.sources.retain(|source| names.insert(source.source.clone()));
            one.seen.clone_from(&other.seen);
            other.seen.as_mut().unwrap().sources.reverse();
        }
        other.trend.reverse();
        (one.trend, other.trend) = (keep(&one.trend), keep(&other.trend));
        prop_assert_eq!(&one.trend, &other.trend);
        prop_assert_eq!(judge(&one), judge(&other));
    }

    /// A repository that everybody serves as they should has none, whenever it is looked at.
    #[test]
    fn one_that_is_served_has_none(hours in 0..1000_i64, used in 0..85_u64, blobs in 0..=1000_u64) {
        let now = at("01T00:00:00") + SignedDuration::from_hours(hours);
        let ago = |minutes: i64| Some(now - SignedDuration::from_mins(minutes));
        let mut told = told();
        told.created = ago(1);
        let done = |minutes| TaskTold { last_success: ago(minutes), ..TaskTold::default() };
        told.tasks = [(Task::Quick, done(70)), (Task::Full, done(60 * 25))].into();
        let seen = told.seen.as_mut().unwrap();
        (seen.at, seen.last_maintenance) = (ago(50), ago(71));
        (seen.available, seen.index_blobs) = (Some(1000 - used * 10), Some(blobs));
        seen.sources = (0..5).map(|n| SourceSeen { newest: ago(60 * 24 * n), period: Some(DAY * 2), source: n.to_string().into() }).collect();
        seen.sources.retain(|source| source.newest <= ago(45));
        let all = findings(Case { custody: &custody(|_| {}), told: &told, us: &us(), rival: None, now });
        prop_assert_eq!(all, []);
    }
}
