//! The process ends at every write of every ladder, right before it is made or right after, and the next one goes on:
//! in the end the same was done, and nothing twice.

use std::sync::Arc;

use volwarden::domain::fact::{Change, Fact};
use volwarden::domain::ledger::Phase;
use volwarden::domain::name::Key;
use volwarden::domain::policy::{Mode, Policy, Scope, Spec};
use volwarden::domain::record::{ContentStatus, DeletionPolicy};
use volwarden::domain::remedy::Step;
use volwarden::domain::remedy::action::TargetKind;
use volwarden::domain::remedy::fresh::{Look, Looked};

use super::lab::hands::{Death, Life, Works, enforce};
use super::lab::*;

/// A ladder: how its world is built, and how long it takes to its end.
struct Ladder {
    name: &'static str,
    build: fn() -> Lab,
    takes: u64,
    steps: &'static [Step],
}

fn everything(change: impl FnOnce(&mut Lab)) -> Lab {
    let mut lab = Lab::led(enforce(|spec| {
        spec.steps.extend(Step::ALL);
        spec.assume_healthy = true;
    }));
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
    lab.pod("rook-ceph", "leader-0", pod);
    change(&mut lab);
    lab
}

fn orphaned(policy: DeletionPolicy) -> Lab {
    everything(|lab| {
        let mut content = deleting(lab, "c", "s", 600);
        (content.being_deleted, content.policy) = (false, policy);
        lab.content("c", content);
    })
}

fn missed() -> Lab {
    everything(|lab| {
        let content = deleting(lab, "c", "s", 2000);
        lab.content("c", content);
    })
}

fn unanswered() -> Lab {
    everything(|lab| {
        let mut content = deleting(lab, "c", "s", 2000);
        content.being_created = true;
        let error = status_error("Failed to create snapshot: DeadlineExceeded");
        content.status = Some(ContentStatus { error, ..ContentStatus::default() });
        lab.content("c", content);
    })
}

fn confirmed() -> Lab {
    let mut lab = everything(|lab| {
        let mut content = deleting(lab, "c", "s", 2000);
        content.status = Some(ContentStatus::default());
        lab.content("c", content);
    });
    lab.hands.works = Works::InVain;
    lab
}

fn provisioned() -> Lab {
    everything(|lab| {
        let snapshot = going(lab, "s", "c", 2000, &[PROVISIONER]);
        lab.snapshot("s", snapshot);
    })
}

fn locked() -> Lab {
    everything(|lab| {
        for ago in [900, 600, 300] {
            lab.log_failure("c", "Aborted", "an operation with the given Volume ID x already exists", ago);
        }
        let content = deleting(lab, "c", "s", 2000);
        lab.content("c", content);
        lab.delete_error("c", "Failed to delete snapshot", 300);
    })
}

fn stale() -> Lab {
    let mut lab = Lab::led(enforce(|spec| {
        spec.steps.extend(Step::ALL);
        spec.assume_healthy = true;
    }));
    let pod = ctrlplugin(&lab, "candidate-1", &["--leader-election"]);
    lab.pod("rook-ceph", "candidate-1", pod);
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.hands.works = Works::InVain;
    lab.stop_leader(DRIVER_LEASE);
    lab
}

fn stormy() -> Lab {
    everything(|lab| {
        let names: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
        for name in &names {
            lab.log_failure(name, "Internal", "connection refused", 20);
        }
        for (at, name) in (0..).zip(&names) {
            let content = deleting(lab, name, &format!("s-{name}"), 3000 - at);
            lab.content(name, content);
        }
    })
}

fn abandoned() -> Lab {
    everything(|lab| {
        let mut content = alive(lab, "c", "s");
        content.meta.created = lab.stamp(200_000);
        lab.content("c", content);
    })
}

fn of_a_driver_that_is_gone() -> Lab {
    let mut lab = Lab::led(enforce(|_| {}));
    let mut content = deleting(&lab, "c", "s", 2000);
    (content.driver, content.class) = ("gone.example.com".into(), None);
    lab.content("c", content);
    let scope = Scope { drivers: [Arc::from("gone.example.com")].into(), ..Scope::default() };
    lab.policy(Policy::new("gone", Spec { mode: Mode::Enforce, scope, ..Spec::default() }));
    let key = Key::cluster("c");
    let Looked::There(shown) = lab.look(TargetKind::Content, &key) else { panic!() };
    let agreed = Look { leave_behind: Some("uid-c".into()), ..*shown };
    lab.hands.looks.insert((TargetKind::Content, key), Looked::There(Box::new(agreed)));
    lab
}

const LADDERS: [Ladder; 11] = [
    Ladder {
        name: "OrphanedContent",
        build: || orphaned(DeletionPolicy::Delete),
        takes: 600,
        steps: &[Step::MarkBeingDeleted],
    },
    Ladder {
        name: "OrphanedContent under Retain",
        build: || orphaned(DeletionPolicy::Retain),
        takes: 600,
        steps: &[Step::MarkBeingDeleted],
    },
    Ladder { name: "MissedEvent", build: missed, takes: 600, steps: &[Step::Nudge] },
    Ladder { name: "StillCreating", build: unanswered, takes: 1200, steps: &[Step::Nudge] },
    Ladder {
        name: "DeletedNotReleased",
        build: confirmed,
        takes: 1200,
        steps: &[Step::Nudge, Step::RemoveContentFinalizer],
    },
    Ladder { name: "ProvisionerOrphan", build: provisioned, takes: 900, steps: &[Step::RemoveProvisionerFinalizer] },
    Ladder { name: "OperationLocked", build: locked, takes: 900, steps: &[Step::RestartLeader, Step::Nudge] },
    Ladder { name: "StaleLeader", build: stale, takes: 2400, steps: &[Step::RestartCandidate, Step::ReleaseLease] },
    Ladder { name: "DriverDegraded", build: stormy, takes: 2400, steps: &[Step::RestartLeader, Step::Nudge] },
    Ladder { name: "AbandonedContent", build: abandoned, takes: 1200, steps: &[Step::DeleteAbandoned] },
    Ladder {
        name: "DriverUnknown",
        build: of_a_driver_that_is_gone,
        takes: 1500,
        steps: &[Step::RemoveIntoOrphanLedger],
    },
];

/// What came of it: what was done to what, and how each episode ended.
type End = (Vec<(&'static str, String)>, Vec<(String, Phase)>, Vec<String>);

fn run(ladder: &Ladder, death: Option<Death>) -> (End, Lab) {
    let mut lab = (ladder.build)();
    lab.hands.life = death.map_or(Life::Lives, Life::Doomed);
    for _ in 0..ladder.takes / 20 {
        lab.pass(20);
        for record in lab.hands.records.values().cloned().collect::<Vec<_>>() {
            let hash = record.plan.filter(|_| record.phase == Phase::AwaitingApproval).map(|plan| plan.hash);
            if let Some(hash) = hash.filter(|hash| record.approved.as_ref() != Some(hash)) {
                lab.approve(&record.name, Some(hash.as_str()));
            }
        }
        let released = lab.steps().iter().any(|(step, _)| *step == Step::ReleaseLease.as_str());
        if released {
            // The candidate takes over, and does what was waiting for it.
            lab.start_leader("rook-ceph", DRIVER_LEASE);
            lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
        }
    }
    let (mut steps, mut phases) = (lab.steps(), lab.phases());
    steps.sort();
    phases.sort_by_key(|(name, _)| name.clone());
    let mut left: Vec<String> = lab.hands.orphans.iter().map(|orphan| orphan.handle.to_string()).collect();
    left.sort();
    left.dedup();
    ((steps, phases, left), lab)
}

#[test]
fn whoever_dies_at_any_write_of_any_ladder_leaves_it_to_end_the_same() {
    let mut deaths = 0;
    for ladder in &LADDERS {
        let (expected, lab) = run(ladder, None);
        let name = ladder.name;
        let done: std::collections::BTreeSet<&str> = expected.0.iter().map(|(step, _)| *step).collect();
        let wanted: std::collections::BTreeSet<&str> = ladder.steps.iter().map(|step| step.as_str()).collect();
        assert_eq!(done, wanted, "{name}: {:?} {:?}", lab.classes(), lab.hands.records);
        let writes = lab.hands.writes;
        for at in 1..=writes {
            for before in [true, false] {
                let (end, lab) = run(ladder, Some(Death { at, before }));
                assert_eq!(lab.hands.life, Life::Lives, "{name}: nobody died at write {at} of {writes}");
                let told: Vec<&str> = lab.hands.records.values().map(|record| &*record.message).collect();
                assert_eq!(end, expected, "{name}: death at write {at} of {writes}, before it: {before}: {told:?}");
                deaths += 1;
            }
        }
    }
    println!("{deaths} deaths");
    assert!(deaths > 100, "{deaths}");
}
