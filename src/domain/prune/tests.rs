use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::agenda::{Due, Told, Trigger, due};
use super::field::{Cut, DriverSight, Extra, Field, Maker, Marks, Owners};
use super::hold::Hold;
use super::part::Part;
use super::plan::{Fate, Item, Plan, Volume, broken, plan};
use super::policy::{Cleanup, Pruning, Rules};
use super::run::{HELD, PATIENCE, Run, Seen};
use crate::domain::digest::Hash;
use crate::domain::ledger::Outcome;
use crate::domain::name::{Key, Stamp, Uid};
use crate::domain::policy::{Mode, Operator, Pause, Requirement};
use crate::domain::record::{Namespace, Owner};
use crate::domain::retention::Policy;

pub(super) fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// So many hours before now.
pub(super) fn hours(ago: i64) -> Option<Stamp> {
    Stamp::from_second(now().as_second() - ago * 3600)
}

/// A ready snapshot of a volume, with nothing against its going.
pub(super) fn cut(name: &str, volume: u64, ago: i64) -> Cut {
    Cut {
        key: Key::namespaced("app", name),
        uid: Uid::parse(name),
        version: "1".into(),
        labels: Arc::default(),
        class: Some("fast".into()),
        driver: Some("d".into()),
        claim: Some("data".into()),
        volume: NonZeroU64::new(volume),
        taken: hours(ago),
        size: 1 << 30,
        marks: Marks { ready: true, bound: true, deletes: true, ..Marks::default() },
        extra: None,
    }
}

pub(super) fn with_extra(mut cut: Cut, extra: Extra) -> Cut {
    cut.extra = Some(Box::new(extra));
    cut
}

/// Three of one volume: `new` and `old`, and `mid` between them, which the policy lets go.
pub(super) fn field() -> Field {
    let none = || Owners::Absent;
    Field {
        cuts: vec![cut("old", 1, 30), cut("mid", 1, 20), cut("new", 1, 10)],
        backups: none(),
        schedules: none(),
        kopiur: none(),
        replications: none(),
        ..Field::default()
    }
}

fn rules() -> Rules {
    let drivers = BTreeSet::from([Arc::from("d")]);
    Rules { mode: Mode::Enforce, drivers, keep: Policy { latest: 1, ..Policy::default() }, ..Rules::default() }
}

pub(super) fn pruning(change: impl FnOnce(&mut Rules)) -> Pruning {
    let mut rules = rules();
    change(&mut rules);
    Pruning::new("p", rules)
}

pub(super) fn planned(field: &Field, pruning: &Pruning) -> Plan {
    plan(field, pruning, &[], now())
}

pub(super) fn fate(plan: &Plan, field: &Field, name: &str) -> Fate {
    let at = field.cuts.iter().position(|cut| &*cut.key.name == name).unwrap();
    plan.fates[at]
}

fn held(field: &Field, pruning: &Pruning, name: &str) -> Option<Hold> {
    match fate(&planned(field, pruning), field, name) {
        Fate::Held(hold) => Some(hold),
        _ => None,
    }
}

fn going<'a>(plan: &Plan, field: &'a Field) -> Vec<&'a str> {
    plan.going().map(|at| &*field.cuts[at].key.name).collect()
}

#[test]
fn what_the_counts_let_go_and_nothing_holds_goes() {
    let field = field();
    let plan = planned(&field, &pruning(|_| ()));
    assert_eq!(going(&plan, &field), ["old", "mid"]);
    assert!(matches!(fate(&plan, &field, "new"), Fate::Kept(reasons) if reasons.to_string() == "latest-1"));
    assert_eq!((plan.reclaimable(&field), plan.refused.clone()), (2 << 30, None));
}

type Change = fn(&mut Field);

/// Each reason on the oldest one, which would go without it.
#[test]
fn each_reason_holds_what_would_go_without_it() {
    let table: [(Hold, Change); 27] = [
        (Hold::BeingDeleted, |field| field.cuts[0].marks.deleting = true),
        (Hold::NotReady, |field| field.cuts[0].marks.ready = false),
        (Hold::NoCreationTime, |field| field.cuts[0].taken = None),
        (Hold::FromTheFuture, |field| field.cuts[0].taken = hours(-1)),
        (Hold::Ignored, |field| field.cuts[0].marks.ignored = true),
        (Hold::Ignored, |field| {
            field.namespaces.insert("app".into(), Namespace { ignored: true, ..Namespace::default() });
        }),
        (Hold::Keep, |field| field.cuts[0].marks.keep = true),
        (Hold::DoNotDelete, |field| field.cuts[0].marks.do_not_delete = true),
        (Hold::Reclaims, |field| field.cuts[0].marks.reclaims = true),
        (Hold::LatestImage, |field| field.latest_images.extend([Key::namespaced("app", "old")])),
        (Hold::InUse, |field| field.cuts[0].marks.as_source = true),
        (Hold::InUse, |field| field.used.extend([Key::namespaced("app", "old")])),
        (Hold::Velero, |field| {
            field.backups = Owners::Living([Key::cluster("nightly")].into());
            made(field, Maker::Velero(Some("nightly".into())));
        }),
        (Hold::Velero, |field| {
            field.backups = Owners::Unknown;
            made(field, Maker::Velero(Some("nightly".into())));
        }),
        (Hold::Velero, |field| {
            field.backups = Owners::Living(BTreeSet::new());
            made(field, Maker::Velero(None));
        }),
        (Hold::SnapScheduler, |field| {
            field.schedules = Owners::Living([Key::namespaced("app", "daily")].into());
            made(field, Maker::SnapScheduler("daily".into()));
        }),
        (Hold::Kopiur, |field| {
            field.kopiur = Owners::Unknown;
            made(field, Maker::Kopiur);
        }),
        (Hold::Owned, |field| {
            owned(field, "Cluster", "pg");
        }),
        (Hold::Owned, |field| {
            field.replications = Owners::Living([Key::namespaced("app", "data")].into());
            owned(field, "ReplicationSource", "data");
        }),
        (Hold::NoContent, |field| field.cuts[0].marks.bound = false),
        (Hold::SharedHandle, |field| field.cuts[0].marks.shared = true),
        (Hold::Retained, |field| field.cuts[0].marks.deletes = false),
        (Hold::ForeignFinalizer, |field| field.cuts[0].marks.foreign_finalizer = true),
        (Hold::DriverDegraded, |field| {
            field.drivers.insert("d".into(), DriverSight { degraded: true, failing: 9, stuck: 9 });
        }),
        (Hold::DeletionsHang, |field| {
            field.drivers.insert("d".into(), DriverSight { degraded: false, failing: 1, stuck: 0 });
        }),
        (Hold::GroupMember, |field| {
            field.cuts[0].extra = Some(Box::new(Extra { group: Some("g".into()), ..Extra::default() }));
        }),
        (Hold::GroupKept, |field| {
            for at in [0, 2] {
                field.cuts[at].extra = Some(Box::new(Extra { group: Some("g".into()), ..Extra::default() }));
            }
        }),
    ];
    for (hold, change) in table {
        let mut field = field();
        change(&mut field);
        assert_eq!(held(&field, &pruning(|_| ()), "old"), Some(hold), "{hold}");
    }
    let field = field();
    let old = |change: fn(&mut Rules)| held(&field, &pruning(change), "old");
    assert_eq!(old(|rules| rules.min_age = Duration::from_secs(30 * 3600 + 1)), Some(Hold::TooYoung));
    assert_eq!(old(|rules| rules.min_age = Duration::from_secs(30 * 3600)), None);
    assert_eq!(old(|rules| rules.min_ready = 3), Some(Hold::LastReady));
}

fn made(field: &mut Field, maker: Maker) {
    field.cuts[0].extra = Some(Box::new(Extra { maker: Some(maker), ..Extra::default() }));
}

fn owned(field: &mut Field, kind: &str, name: &str) {
    let owner = Owner { kind: kind.into(), name: name.into(), uid: Uid::parse("o") };
    field.cuts[0].extra = Some(Box::new(Extra { owner: Some(owner), ..Extra::default() }));
}

#[test]
fn what_belongs_to_somebody_who_is_gone_goes() {
    let gone: [fn(&mut Field); 5] = [
        |field| made(field, Maker::Velero(Some("nightly".into()))),
        |field| {
            field.backups = Owners::Living([Key::cluster("other")].into());
            made(field, Maker::Velero(Some("nightly".into())));
        },
        |field| {
            field.schedules = Owners::Living([Key::namespaced("elsewhere", "daily")].into());
            made(field, Maker::SnapScheduler("daily".into()));
        },
        |field| made(field, Maker::Kopiur),
        |field| owned(field, "ReplicationSource", "data"),
    ];
    for change in gone {
        let mut field = field();
        change(&mut field);
        assert_eq!(fate(&planned(&field, &pruning(|_| ())), &field, "old"), Fate::Pruned);
    }
}

#[test]
fn broken_snapshots_count_for_nothing() {
    let mut field = field();
    // The newest two failed: the last good one is the one to keep.
    field.cuts[1].marks.ready = false;
    field.cuts[2].marks.ready = false;
    let plan = planned(&field, &pruning(|_| ()));
    assert!(matches!(fate(&plan, &field, "old"), Fate::Kept(_)));
    assert_eq!(fate(&plan, &field, "new"), Fate::Held(Hold::NotReady));
    // One that claims the next century must not push the others out of reach.
    let mut field = super::tests::field();
    field.cuts[2].taken = Stamp::from_second(i64::from(u32::MAX));
    let plan = planned(&field, &pruning(|rules| rules.keep = Policy { daily: 2, ..Policy::default() }));
    assert!(matches!(fate(&plan, &field, "mid"), Fate::Kept(_)));
}

#[test]
fn one_whose_content_goes_neither_counts_nor_stays_as_a_good_one() {
    let mut field = field();
    // The newest says "ready" still, and its content is told to go.
    field.cuts[2].marks.bound = false;
    let plan = planned(&field, &pruning(|_| ()));
    assert_eq!(going(&plan, &field), ["old"], "the next one is the newest good one");
    let plan = planned(&field, &pruning(|rules| rules.min_ready = 2));
    assert_eq!(going(&plan, &field), Vec::<&str>::new(), "two good ones are all there are");
    assert_eq!(held(&field, &pruning(|_| ()), "new"), Some(Hold::NoContent));
}

#[test]
fn a_claim_made_anew_under_its_old_name_does_not_push_the_old_volume_out() {
    let mut field = field();
    field.cuts.extend([cut("fresh-1", 2, 3), cut("fresh-2", 2, 2)]);
    let keep = pruning(|rules| rules.keep = Policy { latest: 2, ..Policy::default() });
    let plan = planned(&field, &keep);
    assert_eq!(going(&plan, &field), ["old", "mid"], "one group, and `new` is the old volume's last");
    assert_eq!(fate(&plan, &field, "new"), Fate::Held(Hold::LastReady));
    // With consent on it, and the consent's own uid only, it goes.
    field.cuts[2].marks.prune_last = true;
    assert_eq!(going(&planned(&field, &keep), &field), ["old", "mid", "new"]);
    // Without handles the group stands for the volume.
    for cut in &mut field.cuts {
        cut.volume = None;
        cut.marks.prune_last = false;
    }
    assert_eq!(going(&planned(&field, &keep), &field), ["old", "mid", "new"]);
}

#[test]
fn those_without_a_claim_are_one_group_a_namespace() {
    let mut field = field();
    for cut in &mut field.cuts {
        cut.claim = None;
    }
    field.cuts.push(Cut { key: Key::namespaced("other", "lone"), volume: NonZeroU64::new(9), ..cut("lone", 9, 40) });
    field.cuts[3].claim = None;
    let plan = planned(&field, &pruning(|_| ()));
    assert_eq!(going(&plan, &field), ["old", "mid"]);
    assert!(matches!(fate(&plan, &field, "lone"), Fate::Kept(_)));
}

#[test]
fn a_policy_applies_to_what_it_names() {
    let mut field = field();
    field.cuts[0].labels = Arc::new([("tier".into(), "db".into())].into());
    field
        .namespaces
        .insert("app".into(), Namespace { labels: [("team".into(), "a".into())].into(), ..Namespace::default() });
    let wants =
        |key: &str, value: &str| Requirement { key: key.into(), operator: Operator::In, values: [value.into()].into() };
    let outside = |change: &dyn Fn(&mut Rules)| {
        let plan = planned(&field, &pruning(change));
        field.cuts.iter().zip(&plan.fates).filter(|(_, fate)| **fate == Fate::Outside).count()
    };
    assert_eq!(outside(&|_| ()), 0);
    assert_eq!(outside(&|rules| rules.selector = vec![wants("tier", "db")]), 2);
    assert_eq!(outside(&|rules| rules.namespaces = Some(vec![wants("team", "a")])), 0);
    assert_eq!(outside(&|rules| rules.namespaces = Some(vec![wants("team", "b")])), 3);
    assert_eq!(outside(&|rules| rules.classes.extend(["slow".into()])), 3);
    assert_eq!(outside(&|rules| rules.drivers = [Arc::from("e")].into()), 3);
}

#[test]
fn what_another_policy_keeps_or_holds_stays() {
    let field = field();
    let other = planned(&field, &pruning(|rules| rules.keep = Policy { latest: 2, ..Policy::default() }));
    let plan = super::plan::plan(&field, &pruning(|_| ()), &[&other], now());
    assert_eq!(fate(&plan, &field, "mid"), Fate::Held(Hold::KeptByAnother));
    assert_eq!(going(&plan, &field), ["old"], "both let it go");
}

#[test]
fn a_result_that_breaks_a_rule_is_recognised_whoever_made_it() {
    let field = field();
    let pruning = pruning(|rules| rules.min_ready = 2);
    let volumes = vec![Volume::Handle(1); 3];
    let judged = |fates: &[Fate]| broken(&field, &pruning, &volumes, fates, now());
    let kept = Fate::Held(Hold::Keep);
    assert_eq!(judged(&[Fate::Pruned, kept, kept]), None);
    assert!(judged(&[Fate::Pruned, Fate::Pruned, kept]).unwrap().contains("fewer than 2 ready"));
    let mut field = super::tests::field();
    field.cuts[0].marks.keep = true;
    let said = broken(&field, &pruning, &volumes, &[Fate::Pruned, kept, kept], now());
    assert!(said.unwrap().contains("app/old would go although"));
    let mut field = super::tests::field();
    field.cuts[0] = with_extra(cut("old", 1, 30), Extra { group: Some("g".into()), ..Extra::default() });
    assert!(broken(&field, &pruning, &volumes, &[Fate::Pruned, kept, kept], now()).is_some());
}

#[test]
fn the_oldest_go_first_and_no_more_than_a_run_may() {
    let mut field = field();
    field.cuts.extend([cut("b-old", 2, 40), cut("b-mid", 2, 15), cut("b-new", 2, 5)]);
    field.cuts[3].claim = Some("other".into());
    field.cuts[4].claim = Some("other".into());
    field.cuts[5].claim = Some("other".into());
    let plan = planned(&field, &pruning(|_| ()));
    let named = |most: usize| -> Vec<Vec<&str>> {
        let lines = plan.lines(&field, &[Part::Snapshots], most);
        let name = |item: &Item| &*field.object(*item).unwrap().key().name;
        lines.iter().map(|line| line.items.iter().map(name).collect()).collect()
    };
    assert_eq!(named(10), [vec!["old", "mid"], vec!["b-old", "b-mid"]]);
    assert_eq!(named(3), [vec!["old", "mid"], vec!["b-old"]], "of all, the oldest");
}

#[test]
fn a_hash_is_of_what_goes_and_of_the_rules() {
    let mut field = field();
    let hash = |field: &Field, pruning: &Pruning| planned(field, pruning).hash(field, pruning);
    let first = hash(&field, &pruning(|_| ()));
    assert_eq!(first, hash(&field, &pruning(|_| ())));
    assert_ne!(first, hash(&field, &pruning(|rules| rules.max_deletions = 5)));
    let paused = Pause { reason: "upgrade".into(), until: now() };
    assert_eq!(first, hash(&field, &pruning(|rules| rules.pause = Some(paused))), "a pause is no other plan");
    field.cuts[0].marks.keep = true;
    assert_ne!(first, hash(&field, &pruning(|_| ())));
}

// === Runs ===

const AT: Duration = Duration::from_secs(1000);

fn run(field: &Field, pruning: &Pruning) -> Run {
    Run::of(&planned(field, pruning), field, pruning)
}

fn names(run: &Run, now: Duration) -> Vec<String> {
    run.next(now).into_iter().map(|(_, order)| order.key.name.to_string()).collect()
}

#[test]
fn one_volume_s_deletions_follow_each_other_and_each_is_verified() {
    let field = field();
    let mut run = run(&field, &pruning(|_| ()));
    assert_eq!((names(&run, AT), run.tally().planned), (vec!["old".to_owned()], 2));
    let staying: Vec<&Key> = run.next(AT)[0].1.staying.iter().map(|(key, _)| key).collect();
    assert_eq!(staying, [&Key::namespaced("app", "new")], "what has to be there when it goes");
    run.sent(0, Outcome::Applied, "", AT);
    assert!(names(&run, AT).is_empty() && !run.over());
    run.seen(0, Seen::Unknown, AT);
    run.seen(0, Seen::There, AT);
    assert!(names(&run, AT).is_empty(), "it is not gone yet");
    run.seen(0, Seen::Gone, AT);
    assert_eq!(names(&run, AT), ["mid"]);
    run.sent(0, Outcome::Unreachable, "", AT);
    run.seen(0, Seen::Gone, AT);
    assert!(run.over());
    assert_eq!((run.tally().deleted, run.tally().sent, run.tally().hanging), (2, 2, 0));
}

#[test]
fn a_deletion_that_hangs_stops_its_volume_and_no_other() {
    let mut field = field();
    for (name, ago) in [("b-old", 30), ("b-mid", 20), ("b-new", 10)] {
        field.cuts.push(Cut { claim: Some("other".into()), ..cut(name, 2, ago) });
    }
    let mut run = run(&field, &pruning(|_| ()));
    for number in [0, 1] {
        run.sent(number, Outcome::Applied, "", AT);
    }
    run.seen(1, Seen::Gone, AT);
    let late = AT + PATIENCE;
    run.seen(0, Seen::There, late);
    assert_eq!(run.hanging().map(|order| &*order.key.name).collect::<Vec<_>>(), ["old"]);
    assert_eq!(names(&run, late), ["b-mid"]);
    run.sent(1, Outcome::Applied, "", late);
    run.seen(1, Seen::Gone, late);
    assert!(run.over(), "what hangs keeps nobody waiting");
    assert_eq!((run.tally().deleted, run.tally().hanging), (2, 1));
    run.seen(0, Seen::Gone, late);
    assert_eq!((run.tally().deleted, run.tally().hanging), (3, 0));
}

#[test]
fn rate_and_limit_are_never_exceeded() {
    let mut field = field();
    field.cuts.clear();
    for volume in 1..=30 {
        for (name, ago) in [("old", 30), ("new", 10)] {
            let claim = Some(Arc::from(format!("c{volume}")));
            field.cuts.push(Cut { claim, ..cut(&format!("{name}-{volume}"), volume, ago) });
        }
    }
    let pruning = pruning(|rules| (rules.per_minute, rules.max_deletions) = (5, 12));
    let mut run = run(&field, &pruning);
    let mut sent = Vec::new();
    for second in 0..600 {
        let now = AT + Duration::from_secs(second);
        let next: Vec<usize> = run.next(now).into_iter().map(|(number, _)| number).collect();
        for number in next {
            sent.push(now);
            run.sent(number, Outcome::Applied, "", now);
            run.seen(number, Seen::Gone, now);
        }
    }
    assert_eq!((sent.len(), run.over()), (12, true));
    for at in &sent {
        let within = sent.iter().filter(|other| **other >= *at && **other < *at + Duration::from_secs(60)).count();
        assert!(within <= 5, "{within} in a minute");
    }
}

#[test]
fn what_changed_is_left_alone_and_a_refusal_stops_the_volume() {
    let field = field();
    let mut first = run(&field, &pruning(|_| ()));
    first.sent(0, Outcome::Lost, "conflict", AT);
    assert_eq!((names(&first, AT), first.tally().changed, first.tally().sent), (vec!["mid".to_owned()], 1, 0));
    first.sent(0, Outcome::Denied, "the fence says no", AT);
    assert!(first.over() && first.tally().refused.as_ref().unwrap().contains("the fence says no"));
    let mut second = run(&field, &pruning(|_| ()));
    second.skip(0);
    assert_eq!(names(&second, AT), ["mid"]);
    second.hold("window: closed".to_owned(), AT);
    assert!(!second.over() && second.held() == Some("window: closed"));
    second.hold("window: closed".to_owned(), AT + HELD);
    assert!(second.over(), "it is not held for ever");
}

// === When ===

fn told() -> Told {
    Told { generation: 1, observed: Some(1), created: Some(now()), ..Told::default() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_schedule_is_run_once_however_many_times_were_missed() {
    let daily = pruning(|rules| rules.schedule = Some(("0 3 * * *".into(), "UTC".into(), Duration::ZERO)));
    let mut told = told();
    assert_eq!(due(&daily, &told, at("2026-11-26T02:59:59Z")), Due::Nothing, "not before its first time");
    let week = at("2026-12-02T10:00:00Z");
    assert_eq!(due(&daily, &told, week), Due::Run(Trigger::Schedule));
    told.last_scheduled = super::agenda::scheduled(&daily, &told, week);
    assert_eq!(told.last_scheduled, Some(at("2026-12-02T03:00:00Z")));
    assert_eq!(due(&daily, &told, week), Due::Nothing);
    assert_eq!(due(&daily, &told, at("2026-11-20T10:00:00Z")), Due::Nothing, "a clock that goes back repeats nothing");
    assert_eq!(due(&daily, &told, at("2026-12-03T03:00:00Z")), Due::Run(Trigger::Schedule));
}

#[test]
fn requests_approvals_and_broken_runs() {
    let plain = pruning(|_| ());
    let requested = Told { requested: Some("x".into()), ..told() };
    assert_eq!(due(&plain, &requested, now()), Due::Run(Trigger::Request));
    assert_eq!(due(&plain, &Told { handled: Some("x".into()), ..requested.clone() }, now()), Due::Nothing);
    assert_eq!(due(&pruning(|rules| rules.suspended = true), &requested, now()), Due::Nothing);
    let pause = |until| pruning(|rules| rules.pause = Some(Pause { reason: "upgrade".into(), until }));
    assert_eq!(due(&pause(now() + Duration::from_secs(1)), &requested, now()), Due::Nothing);
    assert_eq!(due(&pause(now()), &requested, now()), Due::Run(Trigger::Request), "it ends by itself");
    assert_eq!(due(&pruning(|rules| rules.drivers.clear()), &requested, now()), Due::Nothing, "it makes no sense");
    assert_eq!(due(&plain, &Told { observed: None, ..told() }, now()), Due::Look);
    assert_eq!(due(&plain, &Told { running: Some("another".into()), ..requested }, now()), Due::Close);
}

#[test]
fn an_approval_is_of_one_plan_for_a_while_and_each_is_looked_at_at_once() {
    let hash = |text: &str| Hash::written(text);
    let (one, two) = (hash("0123456789abcdef"), hash("fedcba9876543210"));
    let asks = pruning(|rules| rules.mode = Mode::Approve);
    let valid = asks.rules().approval_valid;
    assert_eq!(valid, Duration::from_secs(3600), "as long as one of a repair");
    let mut approved =
        Told { approved: [one.clone()].into(), planned: [(Part::Snapshots, one.clone())].into(), ..told() };
    assert_eq!(due(&asks, &approved, now()), Due::Run(Trigger::Approval), "before it was even noticed");
    assert!(approved.notice(valid, now()) && !approved.notice(valid, now() + Duration::from_secs(60)));
    assert_eq!(due(&asks, &approved, now()), Due::Run(Trigger::Approval));
    assert_eq!(due(&pruning(|_| ()), &approved, now()), Due::Nothing, "only in mode Approve");
    // Its run is over: not again at once, and not after it has expired, however long it stands there.
    approved.noticed.get_mut(&one).unwrap().run = Some(now());
    assert_eq!(due(&asks, &approved, now()), Due::Nothing);
    assert_eq!(due(&asks, &approved, now() + Duration::from_secs(600)), Due::Run(Trigger::Approval));
    let late = now() + valid;
    assert!(approved.approves(&one, late - Duration::from_secs(1)) && !approved.approves(&one, late));
    assert!(!approved.notice(valid, late));
    assert_eq!(due(&asks, &approved, late), Due::Nothing);
    // Another plan is another approval, and waits for none before it.
    approved.planned.insert(Part::Snapshots, two.clone());
    assert_eq!(due(&asks, &approved, now()), Due::Nothing, "not approved");
    approved.approved = [two.clone()].into();
    assert_eq!(due(&asks, &approved, now()), Due::Run(Trigger::Approval));
    // Taken away it is forgotten, and the same hash set anew is a new approval.
    assert!(approved.notice(valid, now()));
    approved.approved.clear();
    assert_eq!(due(&asks, &approved, now()), Due::Look);
    assert!(approved.notice(valid, now()) && approved.noticed.is_empty());
    assert!(!approved.approves(&two, now()));
}

#[test]
fn a_run_carries_out_what_is_enforced_and_what_is_approved() {
    let cleanup = |mode| Cleanup { mode, older_than: Duration::from_secs(3600) };
    let pruning = pruning(|rules| {
        rules.cleanup.insert(Part::RetainedContents, cleanup(Mode::Approve));
        rules.cleanup.insert(Part::VolsyncLeftovers, cleanup(Mode::Observe));
    });
    let hash = Hash::written("0123456789abcdef");
    let plans = [(Part::Snapshots, Hash::written("x")), (Part::RetainedContents, hash.clone())].into();
    let mut told = told();
    let parts = |told: &Told, why| super::agenda::parts(&pruning, told, &plans, why, now());
    assert_eq!(parts(&told, Trigger::Schedule), [Part::Snapshots]);
    assert_eq!(parts(&told, Trigger::Approval), []);
    told.approved = [hash].into();
    assert_eq!(parts(&told, Trigger::Schedule), [Part::Snapshots], "not noticed yet");
    told.notice(Duration::from_secs(60), now());
    assert_eq!(parts(&told, Trigger::Request), [Part::Snapshots, Part::RetainedContents]);
    assert_eq!(parts(&told, Trigger::Approval), [Part::RetainedContents]);
}

#[test]
fn what_makes_no_sense_only_observes() {
    type Break = (&'static str, fn(&mut Rules));
    let broken: [Break; 5] = [
        ("no time zone", |rules| rules.zone = "Mars".into()),
        ("no schedule", |rules| rules.schedule = Some(("x".into(), "UTC".into(), Duration::ZERO))),
        ("windows[0]", |rules| rules.windows = vec![("x".into(), "UTC".into(), Duration::from_secs(60))]),
        ("drivers named", |rules| rules.drivers.clear()),
        ("at least 1", |rules| rules.min_ready = 0),
    ];
    assert_eq!(pruning(|_| ()).mode(), Mode::Enforce);
    for (word, change) in broken {
        let pruning = pruning(change);
        assert_eq!(pruning.mode(), Mode::Observe, "{word}");
        assert!(pruning.problems().iter().any(|one| one.contains(word)), "{:?}", pruning.problems());
        assert!(pruning.min_ready() >= 1);
    }
}
