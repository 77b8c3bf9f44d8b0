use std::collections::BTreeMap;

use super::super::course::tests::{finding, now, record, step};
use super::super::table::tests::source;
use super::*;
use crate::domain::finding::{Cause, Class};
use crate::domain::name::Key;
use crate::domain::plan::Course;
use crate::domain::policy::{Mode, Policies, Spec};
use crate::domain::record::Kind;

fn planning(courses: Vec<(Finding, Course)>) -> Planning {
    let mut policies = Policies::default();
    policies.put(Policy::new("p", Spec { mode: Mode::Approve, ..Spec::default() }));
    Planning {
        courses,
        episodes: BTreeMap::new(),
        reported: Vec::new(),
        policies,
        sources: vec![source("VolumeSnapshot", "Synced", 1), source("VolumeSnapshotContent", "Synced", 1)],
        now: now(),
    }
}

fn text(planning: &Planning, rehearsals: &BTreeMap<usize, Rehearsal>, file: Option<&str>) -> String {
    table::report(&Plan::of(planning, rehearsals, file), false)
}

const ORPHAN: Class = Class::OrphanedContent;

fn one(class: Class, name: &str, change: impl Fn(&mut crate::domain::guard::Case<'_>)) -> (Finding, Course) {
    (finding(class, name), step(class, name, |_| {}, change))
}

#[test]
fn what_happens_now_stands_first_and_then_what_waits_for_a_person() {
    let mut planning = planning(vec![
        one(ORPHAN, "c-1", |case| case.mode = Mode::Approve),
        one(ORPHAN, "c-2", |case| case.seen.times = 1),
        one(Class::MissedEvent, "c-3", |_| {}),
        (finding(Class::DriverUnknown, "c-4"), Course::Exhausted("nothing applies".to_owned())),
    ]);
    let entry = record(ORPHAN, "c-1");
    planning.episodes.insert(entry.subject.clone(), entry);
    let subject = Subject::new(Kind::VolumeSnapshot, Key::namespaced("app", "db"));
    planning.reported.push(Cause { class: Class::WaitingForContent, subject });
    let rehearsals = BTreeMap::from([(2, Rehearsal::Taken)]);
    assert_eq!(
        text(&planning, &rehearsals, None),
        "\
policy p (Approve)

Would be done now: 1
  MissedEvent  VolumeSnapshotContent c-3  5m3s
    step   Nudge: do it to c-3
    server would take it (dry run as this user)

Needs an approval: 1
  OrphanedContent  VolumeSnapshotContent c-1  5m3s
    step   MarkBeingDeleted: do it to c-1
    held   mode: policy p is in mode Approve, and nobody has approved this plan
    needs  volwarden approve entry-c-1 --hash 0123456789abcdef0123456789abcdef

Held: 1
  OrphanedContent  VolumeSnapshotContent c-2  5m3s
    step   MarkBeingDeleted: do it to c-2
    held   settled: 1 of 3 fresh reads agree so far

No step is left: a person is needed: 1
  DriverUnknown  VolumeSnapshotContent c-4  5m3s
    step   none is left: nothing applies

1 would be done now, 1 to be approved, 1 held, 1 without a step left; 1 only reported: volwarden doctor shows why.
"
    );
}

#[test]
fn a_batch_is_ten_and_a_number_for_each_class_and_driver_and_its_hold_is_said_once() {
    let held = |name: String| one(ORPHAN, &name, |case| case.storm = true);
    let mut courses: Vec<(Finding, Course)> =
        (0..62).map(|at| one(ORPHAN, &format!("c-{at}"), |case| case.limit = 0)).collect();
    courses.push(one(Class::MissedEvent, "m", |case| case.storm = true));
    let (mut other, course) = held("other".to_owned());
    other.driver = Some("e".into());
    courses.push((other, course));
    let said = text(&planning(courses), &BTreeMap::new(), None);
    assert!(said.contains("  ... and 52 more OrphanedContent of d; -o json lists all\n"), "{said}");
    assert!(said.contains("MissedEvent  VolumeSnapshotContent m") && said.contains("VolumeSnapshotContent other"));
    assert_eq!(said.matches("held   budget").count(), 1, "{said}");
    assert!(said.lines().count() < 40, "{said}");
    assert!(said.ends_with("1 would be done now, 63 held.\n"), "{said}");
}

#[test]
fn nothing_to_do_is_said_only_where_everything_was_seen() {
    let mut planning = planning(Vec::new());
    assert_eq!(Plan::of(&planning, &BTreeMap::new(), None).outcome(), Outcome::Clean);
    assert_eq!(text(&planning, &BTreeMap::new(), None), "policy p (Approve)\n\nNothing to do.\n");
    planning.sources[1] = source("VolumeSnapshotContent", "Forbidden", 0);
    assert_eq!(Plan::of(&planning, &BTreeMap::new(), None).outcome(), Outcome::Unknown);
    let said = text(&planning, &BTreeMap::new(), None);
    assert!(said.contains("blind  VolumeSnapshotContent is forbidden to us"), "{said}");
    planning.courses.push(one(ORPHAN, "c", |case| case.limit = 0));
    assert_eq!(Plan::of(&planning, &BTreeMap::new(), None).outcome(), Outcome::Findings);
}

#[test]
fn which_policies_it_is_made_under_is_said_first() {
    let mut planning = planning(Vec::new());
    let said = text(&planning, &BTreeMap::new(), Some("new.yaml"));
    assert!(said.starts_with("policy p (Approve), from new.yaml instead of the cluster's\n"), "{said}");
    planning.policies.put(Policy::new("q", Spec { mode: Mode::Enforce, ..Spec::default() }));
    let said = text(&planning, &BTreeMap::new(), None);
    assert!(
        said.starts_with("policy p (Approve), q (Observe)\n       q only observes: scope.drivers is empty"),
        "{said}"
    );
    planning.policies = Policies::default();
    assert!(text(&planning, &BTreeMap::new(), None).starts_with("policy none: the built-in policy only observes\n"));
}

#[test]
fn a_script_sees_every_guard_and_the_finding() {
    let planning = planning(vec![one(ORPHAN, "c", |case| case.seen.times = 1)]);
    let said = serde_json::to_value(Plan::of(&planning, &BTreeMap::new(), Some("f.yaml")).view()).unwrap();
    assert_eq!((&said["file"], &said["policies"][0]["mode"]), (&"f.yaml".into(), &"Approve".into()));
    let plan = &said["plans"][0];
    assert_eq!((&plan["state"], &plan["finding"]["class"]), (&"Held".into(), &"OrphanedContent".into()));
    assert_eq!(plan["step"]["verdicts"].as_array().unwrap().iter().filter(|one| one["verdict"] == "Wait").count(), 1);
}

#[test]
fn a_namespace_hides_what_is_in_another_and_nothing_that_is_in_none() {
    let subject = |kind, namespace: &str| Subject::new(kind, Key::namespaced(namespace, "x"));
    assert!(is_about(&subject(Kind::VolumeSnapshot, "app"), "app"));
    assert!(!is_about(&subject(Kind::VolumeSnapshot, "other"), "app"));
    assert!(is_about(&subject(Kind::VolumeSnapshotContent, ""), "app"));
}
