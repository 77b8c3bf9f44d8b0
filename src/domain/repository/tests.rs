use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Task;
use super::agenda::{self, Agenda, Case, Hold, Seen, TaskTold, Told, Trigger};
use super::course::{self, Conclusion, Going, Job, Last, Lease, Pods, Sighted, Step};
use super::report::{Ended, MOST, Report, Sight, Stale};
use super::rules::{Custody, Rules};
use crate::domain::digest::Hash;
use crate::domain::kopia::{Class, Done, Failure, Identity, Source, Verdict};
use crate::domain::name::Key;

const HOUR: Duration = Duration::from_secs(3600);

fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

fn us() -> Identity {
    Identity::on("c-1").unwrap()
}

fn rules() -> Rules {
    let daily = |cron: &str| (cron.into(), "UTC".into(), Duration::ZERO);
    Rules {
        schedules: [
            (Task::Quick, daily("0 * * * *")),
            (Task::Full, daily("0 3 * * *")),
            (Task::Verify, daily("0 5 * * *")),
        ]
        .into(),
        ..Rules::default()
    }
}

fn custody(rules: Rules) -> Custody {
    Custody::new(Key::namespaced("backup", "main"), rules)
}

/// Seen, ours, and served up to the 25th at 12.
fn told() -> Told {
    let served = || TaskTold { last_scheduled: Some(at("25T12:00:00")), ..TaskTold::default() };
    Told {
        generation: 1,
        created: Some(at("20T00:00:00")),
        unique_id: Some("id".into()),
        seen: Some(Seen { owner: Some("volwarden@c-1".into()), ..Seen::default() }),
        tasks: [Task::Quick, Task::Full, Task::Verify].into_iter().map(|task| (task, served())).collect(),
        ..Told::default()
    }
}

fn now(rules: Rules, told: &Told, now: &str) -> Agenda {
    agenda::agenda(Case { custody: &custody(rules), told, us: &us(), rival: None, now: at(now) })
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what an agenda holds")]
fn job(task: Task, trigger: Trigger) -> Option<(Task, Trigger)> {
    Some((task, trigger))
}

#[test]
fn a_repository_is_looked_at_before_anything_is_done_to_it() {
    let mut told = Told { unique_id: None, seen: None, tasks: [].into(), requested: Some("full".into()), ..told() };
    let agenda = now(rules(), &told, "25T12:30:00");
    assert_eq!(agenda.job, job(Task::Stats, Trigger::Need));
    assert_eq!(agenda.held, [(Task::Full, Hold::Unseen)], "what is asked for waits");
    // Named by a person, and never seen: the same.
    told.unique_id = Some("id".into());
    assert_eq!(now(rules(), &told, "25T12:30:00").job, job(Task::Stats, Trigger::Need));
    told.tasks.insert(Task::Stats, failed(1, "25T13:00:00"));
    assert_eq!(now(rules(), &told, "25T12:30:00").job, None, "not again at once");
    assert_eq!(now(rules(), &told, "25T13:00:00").job, job(Task::Stats, Trigger::Retry));
}

fn failed(failures: u32, until: &str) -> TaskTold {
    TaskTold {
        failures,
        retry_at: Some(at(until)),
        failed_generation: Some(1),
        last_scheduled: Some(at("25T12:00:00")),
        ..TaskTold::default()
    }
}

#[test]
fn what_is_due_is_done_once_and_the_larger_thing_first() {
    assert_eq!(now(rules(), &told(), "25T12:30:00"), Agenda::default());
    assert_eq!(now(rules(), &told(), "25T13:00:00").job, job(Task::Quick, Trigger::Schedule));
    assert_eq!(now(rules(), &told(), "29T13:00:00").job, job(Task::Full, Trigger::Schedule), "four days in one");
    let mut served = told();
    served.tasks.get_mut(&Task::Full).unwrap().last_scheduled = Some(at("26T03:00:00"));
    assert_eq!(now(rules(), &served, "26T05:00:00").job, job(Task::Quick, Trigger::Schedule));
    // What has no schedule is done when asked, and asked once.
    let mut asked = Told { requested: Some("verify-whole:a".into()), ..told() };
    assert_eq!(now(rules(), &asked, "25T12:30:00").job, job(Task::VerifyWhole, Trigger::Request));
    asked.handled = asked.requested.clone();
    assert_eq!(now(rules(), &asked, "25T12:30:00"), Agenda::default());
}

#[test]
fn a_request_names_a_task_and_ownership_is_none() {
    for (text, task) in [
        ("quick", Task::Quick),
        ("quick:2026-11-25T10:00:00Z", Task::Quick),
        ("stats:1", Task::Stats),
        ("2026-11-25T10:00:00Z", Task::Full),
        ("1764065400", Task::Full),
        ("own:1", Task::Full),
        ("", Task::Full),
    ] {
        let told = Told { requested: Some(text.into()), ..Told::default() };
        assert_eq!(agenda::request(&told), Some(task), "{text}");
    }
    assert_eq!(agenda::request(&Told::default()), None);
}

#[test]
fn whoever_maintains_under_our_name_is_made_room_for_a_day() {
    let told = Told { stranger: Some(at("25T12:50:00")), ..told() };
    let held = |text: &str| {
        now(rules(), &told, text).held.into_iter().map(|(task, hold)| (task, hold.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(held("25T13:30:00"), [(Task::Quick, "Rival")]);
    assert_eq!(now(rules(), &told, "25T13:30:00").job, None);
    assert_eq!(held("26T12:49:00"), [(Task::Full, "Rival"), (Task::Quick, "Rival")]);
    assert_eq!(now(rules(), &told, "26T12:50:00").job, job(Task::Full, Trigger::Schedule));
    // Once the owner is somebody else, that is what holds: nobody runs under our name any more.
    let theirs = Told { seen: Some(Seen { owner: Some("a@b".into()), ..Seen::default() }), ..told.clone() };
    let held = now(rules(), &theirs, "25T13:30:00").held;
    assert_eq!(held.iter().map(|(_, hold)| hold.as_str()).collect::<Vec<_>>(), ["NotOwner"]);
    // Whoever only looks may look on.
    assert_eq!(now(rules(), &told, "26T05:30:00").job, job(Task::Verify, Trigger::Schedule));
}

#[test]
fn each_hold_holds_what_it_is_for() {
    let due = "26T06:00:00";
    let held = |rules: Rules, told: &Told| {
        let agenda = now(rules, told, due);
        (agenda.job, agenda.held.iter().map(|(task, hold)| (*task, hold.as_str())).collect::<Vec<_>>())
    };
    let verify = job(Task::Verify, Trigger::Schedule);
    let (full, quick) = (Task::Full, Task::Quick);
    assert_eq!(held(rules(), &told()), (job(full, Trigger::Schedule), vec![]));
    let all = |name| vec![(full, name), (quick, name), (Task::Verify, name)];
    assert_eq!(held(Rules { suspended: true, ..rules() }, &told()), (None, all("Suspended")));
    let night = || vec![("0 22 * * *".into(), "UTC".into(), HOUR)];
    let nonsense = Rules { windows: vec![("x".into(), "UTC".into(), HOUR)], ..rules() };
    assert_eq!(held(nonsense, &told()), (None, all("Invalid")));
    // These hold what writes, and no more.
    let writes = |name| vec![(full, name), (quick, name)];
    assert_eq!(held(Rules { windows: night(), ..rules() }, &told()), (verify, writes("Window")));
    let stopped = Told { stopped: Some(Class::DataDamaged), ..told() };
    assert_eq!(held(rules(), &stopped), (verify, writes("Stopped")));
    for owner in [None, Some("volwarden@c-2"), Some("mover@c-1")] {
        let seen = Some(Seen { owner: owner.map(Into::into), ..Seen::default() });
        assert_eq!(held(rules(), &Told { seen, ..told() }), (verify, writes("NotOwner")), "{owner:?}");
    }
    let custody = custody(rules());
    let case = Case { custody: &custody, told: &told(), us: &us(), rival: Some("KopiaMaintenance a/b"), now: at(due) };
    let agenda = agenda::agenda(case);
    assert_eq!(agenda.job, verify);
    assert!(agenda.held.iter().all(|(task, hold)| task.writes() && hold.to_string().contains("a/b")));
    // A request is no way around.
    let asked = Told { requested: Some("quick".into()), ..stopped };
    assert!(held(rules(), &asked).1.contains(&(quick, "Stopped")));
}

#[test]
fn snapshots_go_only_where_that_is_said() {
    let asked = Told { requested: Some("expire:1".into()), ..told() };
    let agenda = now(rules(), &asked, "25T12:30:00");
    assert_eq!((agenda.job, agenda.held), (None, vec![(Task::Expire, Hold::NoExpiry)]));
    let named = || Rules { expires: true, ..rules() };
    assert_eq!(now(named(), &asked, "25T12:30:00").job, job(Task::Expire, Trigger::Request));
    // Who owns maintenance has no say in it; damage has.
    let foreign = Told { seen: Some(Seen { owner: Some("mover@app".into()), ..Seen::default() }), ..asked.clone() };
    assert_eq!(now(named(), &foreign, "25T12:30:00").job, job(Task::Expire, Trigger::Request));
    let stopped = Told { stopped: Some(Class::RepositoryChanged), ..asked };
    assert_eq!(now(named(), &stopped, "25T12:30:00").job, None);
}

#[test]
fn policies_are_set_only_where_the_spec_names_some_and_before_snapshots_go() {
    let asked = Told { requested: Some("settings:1".into()), ..told() };
    let agenda = now(rules(), &asked, "25T12:30:00");
    assert_eq!((agenda.job, agenda.held), (None, vec![(Task::Settings, Hold::NoSettings)]));
    let named = || Rules { settings: true, ..rules() };
    assert_eq!(now(named(), &asked, "25T12:30:00").job, job(Task::Settings, Trigger::Request));
    let stopped = Told { stopped: Some(Class::RepositoryChanged), ..asked };
    assert_eq!(now(named(), &stopped, "25T12:30:00").job, None);
    let daily = |task| (task, ("0 12 * * *".into(), "UTC".into(), Duration::ZERO));
    let both = Rules { schedules: [Task::Expire, Task::Settings].map(daily).into(), expires: true, ..named() };
    assert_eq!(now(both, &told(), "25T12:30:00").job, job(Task::Settings, Trigger::Schedule));
}

#[test]
fn each_task_takes_its_own_approval_along() {
    let hash = |text| Some(Hash::written(text));
    let told = Told { approved: hash("o"), approved_expiry: hash("e"), approved_settings: hash("s"), ..told() };
    for task in Task::ALL {
        let due = match task {
            Task::Expire => Some("e"),
            Task::Settings => Some("s"),
            _ => None,
        };
        assert_eq!(told.approval(task).map(Hash::as_str), due, "{task}");
    }
}

#[test]
fn a_failure_waits_by_its_class_and_ends_by_itself() {
    let wait = |failures, class| {
        let until = agenda::retry_at(failures, class, at("25T12:00:00"));
        until.duration_since(at("25T12:00:00")).as_mins()
    };
    for (failures, minutes) in [(1, 10), (2, 20), (5, 160), (6, 320), (7, 360), (40, 360), (u32::MAX, 360)] {
        assert_eq!(wait(failures, Some(Class::StorageErrors)), minutes, "{failures}");
        assert_eq!(wait(failures, None), minutes);
    }
    assert_eq!(wait(1, Some(Class::WrongPassword)), 24 * 60);
    assert_eq!(wait(9, Some(Class::NoSpace)), 24 * 60);

    let mut told = told();
    told.tasks.insert(Task::Quick, failed(1, "25T13:10:00"));
    let agenda = now(rules(), &told, "25T13:05:00");
    assert_eq!((agenda.job, &agenda.held[0].1), (None, &Hold::Failed(at("25T13:10:00"))));
    assert_eq!(now(rules(), &told, "25T13:10:00").job, job(Task::Quick, Trigger::Schedule));
    let mut early = told.clone();
    early.tasks.insert(Task::Quick, failed(1, "25T12:10:00"));
    assert_eq!(now(rules(), &early, "25T12:20:00").job, job(Task::Quick, Trigger::Retry), "before its next time");
    // A changed spec and a new request need not wait; a request that was tried does.
    told.generation = 2;
    assert_eq!(now(rules(), &told, "25T13:05:00").job, job(Task::Quick, Trigger::Schedule));
    told.generation = 1;
    told.requested = Some("quick:2".into());
    assert_eq!(now(rules(), &told, "25T13:05:00").job, job(Task::Quick, Trigger::Request));
    told.tasks.get_mut(&Task::Quick).unwrap().failed_request = told.requested.clone();
    assert_eq!(now(rules(), &told, "25T13:05:00").job, None);
    assert_eq!(now(rules(), &told, "25T13:10:00").job, job(Task::Quick, Trigger::Request));
}

#[test]
fn ownership_is_taken_by_approval_or_once_from_an_owner_that_is_gone() {
    let owned_by = |owner: Option<&str>| {
        let seen = Seen { owner: owner.map(Into::into), ..Seen::default() };
        Told { seen: Some(seen), ..told() }
    };
    let mut told = owned_by(Some("mover@app"));
    let plan = agenda::owner_plan(&told, &us()).unwrap();
    let due = "25T12:30:00";
    assert_eq!(now(rules(), &told, due).job, None);
    told.approved = Some(Hash::written("0123456789abcdef"));
    assert_eq!(now(rules(), &told, due).job, None);
    told.approved = Some(plan.clone());
    assert_eq!(now(rules(), &told, due).job, job(Task::Own, Trigger::Approval));
    // It is of this owner, this repository, and this time.
    for other in [
        Told { approved: Some(plan.clone()), ..owned_by(Some("other@app")) },
        Told { approved: Some(plan.clone()), ..owned_by(None) },
        Told { unique_id: Some("other".into()), ..told.clone() },
        Told { owned_since: Some(at("21T00:00:00")), ..told.clone() },
    ] {
        assert_eq!(now(rules(), &other, due).job, None, "{other:?}");
    }
    assert_eq!(agenda::owner_plan(&owned_by(Some("volwarden@c-1")), &us()), None, "it is ours");

    let takes = || Rules { takeover: true, schedules: [].into(), ..Rules::default() };
    let mut silent = owned_by(Some("mover@app"));
    let since = |silent: &mut Told, last: Option<Timestamp>, cycle: Option<Duration>| {
        let seen = silent.seen.as_mut().unwrap();
        (seen.last_maintenance, seen.cycle) = (last, cycle);
    };
    let week = at("25T12:00:00") - SignedDuration::from_hours(7 * 24);
    since(&mut silent, Some(week), Some(24 * HOUR));
    assert_eq!(now(takes(), &silent, "25T12:00:00").job, None, "a week to the second");
    assert_eq!(now(takes(), &silent, "25T12:00:01").job, job(Task::Own, Trigger::Need));
    assert_eq!(now(rules(), &silent, "25T12:00:01").job, None, "only if the spec says so");
    since(&mut silent, Some(week), Some(72 * HOUR));
    assert_eq!(now(takes(), &silent, "25T12:00:01").job, None, "it may only be slow");
    for (last, cycle) in [(None, Some(24 * HOUR)), (Some(week), None)] {
        since(&mut silent, last, cycle);
        assert_eq!(now(takes(), &silent, "25T12:00:01").job, None, "nothing is proved");
    }
    since(&mut silent, Some(week), Some(24 * HOUR));
    silent.owned_since = Some(at("01T00:00:00"));
    assert_eq!(now(takes(), &silent, "25T12:00:01").job, None, "never again");
}

#[test]
fn damage_stops_what_writes_until_it_is_shown_to_be_gone() {
    for class in Class::ALL {
        let stops =
            [Class::RepositoryChanged, Class::NotInitialised, Class::IndexDamaged, Class::DataDamaged].contains(&class);
        assert_eq!(agenda::stops(class), stops, "{class}");
    }
    assert!(agenda::clears(Task::Stats, Class::RepositoryChanged));
    assert!(!agenda::clears(Task::Stats, Class::DataDamaged) && agenda::clears(Task::Verify, Class::DataDamaged));
}

// === a run ===

fn going(task: Task, uid: Option<&str>) -> Going {
    Going { task, uid: uid.map(Into::into), since: at("25T12:00:00") }
}

#[expect(clippy::option_option, reason = "over or not, and failed or not, as the record has it")]
fn there(suspended: bool, over: Option<Option<&str>>) -> Sighted {
    Sighted::There(Job { uid: "j-1".into(), suspended, over: over.map(|why| why.map(str::to_owned)) })
}

fn ended(message: &str, code: i32) -> Pods {
    Pods::Ended(Last { message: Some(message.to_owned()), code: Some(code), reason: None })
}

/// The next step a minute later.
fn step(going: &Going, job: &Sighted, pods: &Pods, lease: &Lease) -> Step {
    course::next(going, job, pods, lease, None, at("25T12:01:00"))
}

/// What is done to which Job.
fn uid(step: &Step) -> (&str, &str) {
    match step {
        Step::Take(job) => ("take", job.uid()),
        Step::Start(job) => ("start", job.uid()),
        Step::GiveUp(job, why) => (why, job.uid()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_is_made_given_the_lease_and_let_go_in_this_order() {
    let (none, free) = (Pods::None, Lease::Free);
    assert_eq!(step(&going(Task::Full, None), &Sighted::Absent, &none, &free), Step::Create);
    let full = going(Task::Full, Some("j-1"));
    let waits = there(true, None);
    assert_eq!(uid(&step(&full, &waits, &none, &free)), ("take", "j-1"));
    assert_eq!(uid(&step(&full, &waits, &none, &Lease::Ours)), ("start", "j-1"));
    for lease in [Lease::Held("the Job a/b".to_owned()), Lease::Unknown("no answer".to_owned())] {
        assert!(matches!(step(&full, &waits, &none, &lease), Step::Wait(Some(_))), "{lease:?}");
    }
    assert_eq!(step(&full, &there(false, None), &Pods::Active(1), &Lease::Ours), Step::Wait(None));
    // What only reads needs no Lease.
    let verify = going(Task::Verify, Some("j-1"));
    assert_eq!(uid(&step(&verify, &waits, &none, &Lease::Held("x".to_owned()))), ("start", "j-1"));
    // Whoever suspends it by hand has its pod ended first.
    assert!(matches!(step(&full, &waits, &Pods::Active(1), &Lease::Ours), Step::Wait(Some(_))));
}

#[test]
fn what_has_not_begun_is_given_up_and_what_runs_is_not() {
    let full = going(Task::Full, Some("j-1"));
    let halt =
        |job: &Sighted| course::next(&full, job, &Pods::None, &Lease::Ours, Some("suspended"), at("25T12:01:00"));
    assert_eq!(uid(&halt(&there(true, None))), ("suspended", "j-1"));
    assert_eq!(halt(&there(false, None)), Step::Wait(None));
    let late = |lease: &Lease| course::next(&full, &there(true, None), &Pods::None, lease, None, at("25T13:00:01"));
    assert!(matches!(late(&Lease::Held("x".to_owned())), Step::GiveUp(..)));
    assert!(matches!(late(&Lease::Unknown("x".to_owned())), Step::Wait(_)));
    // One that was decided on long ago and never made is not made now.
    let stale =
        course::next(&going(Task::Full, None), &Sighted::Absent, &Pods::None, &Lease::Free, None, at("25T12:10:01"));
    assert!(matches!(stale, Step::Close(conclusion) if conclusion.ended == Ended::NotRun));
}

#[test]
fn a_lease_is_free_when_nothing_of_its_job_runs_however_old_it_is() {
    let over = there(false, Some(None));
    for (job, pods, free) in [
        (&over, Pods::None, true),
        (&over, ended("x", 0), true),
        (&Sighted::Absent, Pods::None, true),
        (&over, Pods::Active(1), false),
        (&over, Pods::Unknown("x".to_owned()), false),
        (&Sighted::Absent, Pods::Active(1), false),
        (&there(false, None), Pods::None, false),
        (&there(true, None), Pods::None, false),
        (&Sighted::Unknown("x".to_owned()), Pods::None, false),
    ] {
        assert_eq!(course::is_free(job, &pods).is_ok(), free, "{job:?} {pods:?}");
    }
}

fn closed(step: Step) -> Conclusion {
    match step {
        Step::Close(conclusion) => *conclusion,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_end_is_believed_by_its_report_alone() {
    let full = going(Task::Full, Some("j-1"));
    let report = Report { freed_bytes: Some(7), ..Report::happened(Task::Full, "snapshot-gc") };
    let (complete, failed) = (there(false, Some(None)), there(false, Some(Some("BackoffLimitExceeded"))));
    let of = |job: &Sighted, pods: &Pods| closed(step(&full, job, pods, &Lease::Ours));
    let good = of(&complete, &ended(&report.line(), 0));
    assert_eq!((good.ended, good.report), (Ended::Happened, Some(report.clone())));
    // A Job that is complete and left no report, one of another task, one that contradicts its exit code.
    for (job, pods) in [
        (&complete, Pods::None),
        (&complete, ended("", 0)),
        (&complete, ended("done", 0)),
        (&complete, ended(&Report::happened(Task::Quick, "").line(), 0)),
        (&failed, ended(&report.line(), 1)),
        (&there(false, Some(Some("DeadlineExceeded"))), Pods::None),
    ] {
        let conclusion = of(job, &pods);
        assert_eq!((conclusion.ended, conclusion.report), (Ended::Unclear, None), "{job:?} {pods:?}");
    }
    let failure = Failure::new(Class::NoSpace, "no space left on device");
    let told = Report::failed(Task::Full, Ended::Failed, &failure).line();
    let bad = of(&failed, &ended(&told, 1));
    assert_eq!((bad.ended, bad.class), (Ended::Failed, Some(Class::NoSpace)));
    let killed =
        of(&failed, &Pods::Ended(Last { message: None, code: Some(137), reason: Some("OOMKilled".to_owned()) }));
    assert_eq!((killed.ended, killed.class), (Ended::Failed, Some(Class::Killed)));
    // Its pod has to have ended, and a Job that is gone takes its result along.
    assert!(matches!(step(&full, &failed, &Pods::Active(1), &Lease::Ours), Step::Wait(Some(_))));
    assert!(matches!(step(&full, &Sighted::Absent, &Pods::Active(1), &Lease::Ours), Step::Wait(Some(_))));
    assert_eq!(closed(step(&full, &Sighted::Absent, &Pods::None, &Lease::Ours)).ended, Ended::Unclear);
    let other = Sighted::There(Job { uid: "j-2".into(), suspended: true, over: None });
    assert_eq!(closed(step(&full, &other, &Pods::None, &Lease::Free)).ended, Ended::Unclear);
}

// === reports ===

#[test]
fn of_many_sources_those_are_named_that_are_latest_by_their_own_period() {
    let source = |name: &str, newest: Option<&str>, period_seconds| Source {
        source: name.to_owned(),
        newest: newest.map(at),
        period_seconds,
        ..Source::default()
    };
    let mut all: Vec<Source> =
        (0..30).map(|n| source(&format!("on-time-{n}"), Some("25T11:00:00"), Some(3600))).collect();
    all.push(source("weekly", Some("18T13:00:00"), Some(7 * 86_400)));
    all.push(source("hourly", Some("25T04:00:00"), Some(3600)));
    all.push(source("never", None, None));
    let sight = Sight { at: Some(at("25T12:00:00")), ..Sight::default() }.sourced(&all);
    let named: Vec<&str> = sight.stalest.iter().map(|one| one.source.as_str()).collect();
    assert_eq!((named.len(), &named[..2]), (20, &["never", "hourly"][..]));
    assert!(!named.contains(&"weekly"), "it has its day until tomorrow");
    assert_eq!(sight.sources, Some(33));
}

#[test]
fn a_report_always_fits_and_says_what_matters_most() {
    let stale = |n: u64| Stale {
        source: format!("{}{n}", "ä".repeat(199)),
        newest: None,
        snapshots: n,
        period_seconds: Some(3600),
    };
    let sight = Sight { unique_id: Some("id".to_owned()), stalest: (0..20).map(stale).collect(), ..Sight::default() };
    let failure = Failure::new(Class::DataDamaged, "\u{1}\"".repeat(5000));
    let mut report = Report::failed(Task::Full, Ended::Failed, &failure);
    report.sight = Some(sight);
    let line = report.line();
    assert!(line.len() <= MOST, "{}", line.len());
    let read = Report::parse(&line, Task::Full).unwrap();
    assert_eq!((read.result, read.class()), (Ended::Failed, Some(Class::DataDamaged)));
    assert_eq!(Report::parse(&line, Task::Quick), None);
    assert_eq!(Report::parse("{\"task\":\"Full\"", Task::Full), None);
    let newer = r#"{"task":"Full","result":"failed","class":"NewClass","more":1}"#;
    assert_eq!(Report::parse(newer, Task::Full).unwrap().class(), None, "another version's words are no error");
}

#[test]
fn verdicts_become_reports() {
    let done = |freed| Done { task: "snapshot-gc".to_owned(), freed };
    let happened = Report::maintained(Task::Full, &Verdict::Happened(vec![done(Some(3)), done(Some(4)), done(None)]));
    assert_eq!((happened.result, happened.freed_bytes), (Ended::Happened, Some(7)));
    let not_run = Report::maintained(Task::Full, &Verdict::NotRun(Failure::new(Class::NotOwner, "x")));
    assert_eq!((not_run.result, not_run.class()), (Ended::NotRun, Some(Class::NotOwner)));
    assert_eq!(Report::maintained(Task::Full, &Verdict::Unclear("x".to_owned())).result, Ended::Unclear);
}
