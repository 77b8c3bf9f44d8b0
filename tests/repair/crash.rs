//! Ends of the process between any two facts: the next leader reads the ledger, looks at the world, and goes on.

use volwarden::domain::fact::{Change, Fact};
use volwarden::domain::ledger::{Outcome, Phase};
use volwarden::domain::name::Key;
use volwarden::domain::remedy::Step;

use super::lab::hands::{Works, enforce};
use super::lab::*;

fn missed() -> Lab {
    let mut lab = Lab::led(enforce(|_| {}));
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    lab
}

fn until_it_acts(lab: &mut Lab) {
    for _ in 0..120 {
        if !lab.hands.acts.is_empty() {
            return;
        }
        lab.pass(5);
    }
    panic!("nothing was done: {:?}, {:?}", lab.classes(), lab.phases());
}

#[test]
fn nothing_is_let_out_before_its_intent_is_stored() {
    let mut lab = missed();
    lab.hands.stores = false;
    lab.pass(600);
    assert_eq!(lab.steps(), []);
}

#[test]
fn an_effect_that_was_made_before_the_end_is_not_made_again() {
    let mut lab = missed();
    lab.hands.works = Works::Silent;
    until_it_acts(&mut lab);
    assert!(lab.the_record().intent.is_some());
    lab.restarted("next");
    lab.pass(60);
    assert_eq!(lab.hands.acts.len(), 1, "the nudge's own time stands on the object");
    let record = lab.the_record();
    assert_eq!(record.attempts[0].outcome, Outcome::Applied);
    assert!(record.attempts[0].message.contains("next leader"), "{}", record.attempts[0].message);
    lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
    lab.pass(30);
    assert_eq!((lab.the_record().phase, lab.hands.acts.len()), (Phase::Done, 1));
}

#[test]
fn an_intent_that_was_never_carried_out_is_taken_over_and_counts_once() {
    let mut lab = missed();
    lab.hands.works = Works::Silent;
    until_it_acts(&mut lab);
    // As if the process had ended before it sent anything.
    lab.hands.acts.clear();
    lab.hands.nudges.clear();
    lab.restarted("next");
    lab.hands.works = Works::Heals;
    lab.pass(300);
    assert_eq!(lab.steps(), [("Nudge", "c".to_owned())]);
    let record = lab.the_record();
    assert_eq!((record.phase, record.attempts.len(), record.attempts[0].number), (Phase::Done, 1, 1));
}

#[test]
fn a_missing_answer_is_looked_for_in_the_world_and_tried_again_by_count() {
    let mut lab = missed();
    lab.hands.works = Works::Silent;
    until_it_acts(&mut lab);
    lab.hands.works = Works::Heals;
    lab.pass(400);
    let record = lab.the_record();
    assert_eq!(record.attempts[0].outcome, Outcome::Unreachable);
    assert_eq!(record.phase, Phase::Done);
    assert_eq!(lab.hands.acts.len(), 2);
}

#[test]
fn a_restart_in_the_middle_of_a_ladder_goes_on_at_its_rung_and_budgets_are_not_reset() {
    let restarting = || {
        let mut lab = Lab::led(enforce(|spec| {
            spec.steps.insert(Step::RestartLeader);
            spec.assume_healthy = true;
        }));
        let pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
        lab.pod("rook-ceph", "leader-0", pod);
        lab
    };
    let lock = |lab: &mut Lab, name: &str| {
        for ago in [900, 600, 300] {
            lab.log_failure(name, "Aborted", "an operation with the given Volume ID x already exists", ago);
        }
        let content = deleting(lab, name, &format!("s-{name}"), 2000);
        lab.content(name, content);
    };
    let mut lab = restarting();
    lab.hands.works = Works::InVain;
    lock(&mut lab, "c");
    lab.pass(80);
    assert_eq!(lab.steps(), [("RestartLeader", "leader-0".to_owned())]);
    lab.restarted("next");
    lab.hands.works = Works::Heals;
    lab.pass(400);
    assert_eq!(lab.steps().last(), Some(&("Nudge", "c".to_owned())));
    assert_eq!(lab.the_record().phase, Phase::Done);

    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
    lab.pod("rook-ceph", "leader-0", pod);
    lock(&mut lab, "d");
    lab.restarted("third");
    lab.pass(1200);
    assert_eq!(lab.hands.acts.len(), 2, "one restart in six hours, whoever asks");
}

#[test]
fn losing_the_lease_stops_writes_at_once_and_the_next_leader_goes_on() {
    let mut lab = missed();
    lab.lose_the_lease();
    lab.pass(600);
    assert_eq!((lab.steps().len(), lab.hands.records.len()), (0, 0));
    lab.hands.leads = true;
    lab.pass(60);
    assert_eq!(lab.steps().len(), 1);
}

#[test]
fn a_record_that_somebody_else_changed_is_read_again_and_not_overwritten() {
    let mut lab = Lab::led(enforce(|spec| spec.mode = volwarden::domain::policy::Mode::Approve));
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    lab.pass(300);
    let record = lab.the_record();
    let hash = record.plan.unwrap().hash;
    // The approval is on the object, and the watch has not told it yet.
    let mut approved = lab.hands.records[&record.name].clone();
    approved.version = "100000".into();
    approved.approved = Some(hash);
    lab.hands.records.insert(record.name.clone(), approved.clone());
    lab.pass(120);
    assert_eq!(lab.steps(), []);
    lab.feed(Fact::Remediation(Change::Applied(Key::cluster(&*record.name), Box::new(approved))));
    lab.pass(5);
    assert!(lab.hands.records[&record.name].approval.is_some());
}
