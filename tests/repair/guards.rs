//! The guards through the engine: for each a scenario that only it stops, gathered from a real world. The same
//! scenario without the obstacle is carried out, so that taking a guard out makes the forbidden write.

use std::time::Duration;

use volwarden::domain::engine::Settings;
use volwarden::domain::fact::{Change, Fact, Source, SourceChange};
use volwarden::domain::fence::Fence;
use volwarden::domain::gate::{Gate, Said};
use volwarden::domain::ledger::Phase;
use volwarden::domain::name::Key;
use volwarden::domain::policy::{Mode, Pause, Policy, Scope, Spec, Stated, Told};
use volwarden::domain::record::{CephCluster, ClaimPhase, Kind, Namespace, StorageClass};
use volwarden::domain::remedy::Step;

use super::lab::hands::{Works, enforce};
use super::lab::*;

/// An orphaned content under an enforcing policy: what is marked unless something is in the way.
fn scenario(policy: Policy, obstacle: impl FnOnce(&mut Lab)) -> Lab {
    scenario_of(Lab::led(policy), obstacle)
}

fn scenario_of(mut lab: Lab, obstacle: impl FnOnce(&mut Lab)) -> Lab {
    let mut content = deleting(&lab, "c", "s", 600);
    content.being_deleted = false;
    lab.content("c", content);
    obstacle(&mut lab);
    lab.pass(300);
    lab
}

fn holds(guard: &str, policy: Policy, obstacle: impl FnOnce(&mut Lab)) {
    let lab = scenario(policy, obstacle);
    assert_eq!(lab.steps(), [], "{guard} lets it through");
    assert_eq!(lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c")), [guard]);
}

fn plain() -> Policy {
    enforce(|_| {})
}

#[test]
fn nothing_is_in_the_way_of_the_plain_scenario() {
    let lab = scenario(plain(), |_| {});
    assert_eq!(lab.steps().len(), 1);
}

#[test]
fn synced() {
    for source in [Source::Claims, Source::Namespaces, Source::Policies, Source::Remediations, Source::Orphans] {
        holds("synced", plain(), |lab| lab.feed(Fact::Source(source, SourceChange::Failing("500".into()))));
    }
    holds("synced", plain(), |lab| lab.feed(Fact::Source(Source::Remediations, SourceChange::NotInstalled)));
}

#[test]
fn leader() {
    let mut lab = Lab::led(plain());
    let mut content = deleting(&lab, "c", "s", 600);
    content.being_deleted = false;
    lab.content("c", content);
    lab.lose_the_lease();
    lab.pass(100);
    assert_eq!(lab.steps(), []);
    assert_eq!(lab.hands.records.len(), 0, "who does not lead writes nothing at all");
    assert_eq!(lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c")), ["leader"]);
    lab.hands.leads = true;
    lab.pass(10);
    assert_eq!(lab.steps().len(), 1, "who leads now goes on");
}

#[test]
fn fence() {
    let required = || Lab::led_with(plain(), Settings { require_fence: true, ..Settings::default() });
    let seen = |said: Fence| move |lab: &mut Lab| lab.feed(Fact::Fence(said));
    let held = |lab: &Lab| lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c"));
    for said in [Fence::Missing("x".into()), Fence::Untold("x".into())] {
        let lab = scenario_of(required(), seen(said.clone()));
        assert_eq!((lab.steps(), held(&lab)), (vec![], vec!["fence"]), "{said:?}");
        assert_eq!(lab.the_record().phase, Phase::Held, "and it is in the ledger why");
        assert_eq!(scenario(plain(), seen(said)).steps().len(), 1, "where it is not required, it is only told");
    }
    assert_eq!(held(&scenario_of(required(), |_| {})), ["fence"], "nobody has asked yet");
    let mut lab = scenario_of(required(), seen(Fence::Missing("x".into())));
    lab.feed(Fact::Fence(Fence::Stands));
    lab.pass(5);
    assert_eq!(lab.steps().len(), 1, "it is put up, and what was held goes on");
    // Whoever begins to lead asks again.
    let lab = scenario_of(required(), |lab| {
        lab.feed(Fact::Fence(Fence::Stands));
        lab.feed(Fact::Leadership(None));
        lab.lead();
    });
    assert_eq!((lab.steps(), held(&lab)), (vec![], vec!["fence"]));
}

#[test]
fn a_fence_that_nobody_has_asked_for_in_a_while_holds_again() {
    let mut lab = Lab::led_with(plain(), Settings { require_fence: true, ..Settings::default() });
    lab.feed(Fact::Fence(Fence::Stands));
    lab.pass(900);
    let lab = scenario_of(lab, |_| {});
    assert_eq!(lab.steps(), []);
    assert_eq!(lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c")), ["fence"]);
}

#[test]
fn a_look_shows_what_the_daemon_says_of_its_fence() {
    let look = |reason: &str| {
        let mut lab = Lab::eager();
        lab.feed(Fact::Namespace(Change::Applied(Key::cluster("default"), Namespace::default())));
        let since = lab.ago(Duration::ZERO);
        let stated = Stated { about: "Ready".into(), holds: Some(true), reason: reason.into(), since };
        lab.policy(plain().as_told(Told { conditions: vec![stated], ..Told::default() }));
        lab.empty_log();
        let mut content = deleting(&lab, "c", "s", 600);
        content.being_deleted = false;
        lab.content("c", content);
        lab.pass(120);
        lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c"))
    };
    assert_eq!(look("InForce"), [] as [&str; 0]);
    assert_eq!(look("Unfenced"), ["fence"]);
}

#[test]
fn mode() {
    holds("mode", enforce(|spec| spec.mode = Mode::Observe), |_| {});
    holds("mode", enforce(|spec| assert!(spec.steps.remove(&Step::MarkBeingDeleted))), |_| {});
    let lab = scenario(enforce(|spec| spec.mode = Mode::Observe), |_| {});
    assert_eq!(lab.hands.records.len(), 0, "an observer writes nothing");
    let mut lab = scenario(enforce(|spec| spec.mode = Mode::Approve), |_| {});
    let record = lab.the_record();
    assert_eq!(lab.steps(), []);
    lab.approve(&record.name, Some(record.plan.unwrap().hash.as_str()));
    lab.pass(5);
    assert_eq!(lab.steps().len(), 1);
}

#[test]
fn paused() {
    holds("paused", enforce(|spec| spec.suspended = true), |_| {});
    holds("paused", plain(), |lab| {
        let ignored = Namespace { ignored: true, ..Namespace::default() };
        lab.feed(Fact::Namespace(Change::Applied(Key::cluster("default"), ignored)));
    });
    holds("paused", plain(), |lab| {
        let mut content = lab.engine.world().contents.get(&Key::cluster("c")).unwrap().clone();
        content.meta.ignored = true;
        lab.content("c", content);
    });
    let mut lab = Lab::led(plain());
    let until = lab.now().wall + Duration::from_secs(400);
    lab = scenario(enforce(|spec| spec.pause = Some(Pause { reason: "a drill".into(), until })), |_| {});
    assert_eq!(lab.steps(), []);
    lab.pass(200);
    assert_eq!(lab.steps().len(), 1, "a pause ends by itself");
}

#[test]
fn scope() {
    holds("scope", enforce(|spec| assert!(spec.scope.excluded.insert("default".into()))), |lab| {
        let other = enforce(|_| {});
        lab.policy(Policy::new("z", Spec { scope: Scope::default(), ..other.spec().clone() }));
        lab.feed(Fact::Policy(Change::Gone(Key::cluster("z"))));
        // Another policy covers the driver's namespaces with a label that this one does not have.
        let mut spec = enforce(|_| {}).spec().clone();
        spec.scope.selector = Some(vec![volwarden::domain::policy::Requirement {
            key: "team".into(),
            operator: volwarden::domain::policy::Operator::Exists,
            values: std::collections::BTreeSet::default(),
        }]);
        lab.feed(Fact::Namespace(Change::Gone(Key::cluster("default"))));
        lab.policy(Policy::new("labelled", spec));
    });
}

#[test]
fn settled() {
    let lab = scenario(enforce(|spec| spec.observations = 50), |_| {});
    assert_eq!(lab.steps(), []);
    assert_eq!(lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c")), ["settled"]);
    holds("settled", enforce(|spec| spec.min_floor = Duration::from_secs(3600)), |_| {});
}

#[test]
fn quiet() {
    holds("quiet", plain(), |lab| lab.claim("restore", claim("restore", ClaimPhase::Pending, Some("default/s"))));
}

#[test]
fn controller() {
    let mut lab = Lab::led(plain());
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(90);
    let mut content = deleting(&lab, "c", "s", 600);
    content.being_deleted = false;
    lab.content("c", content);
    lab.pass(300);
    assert_eq!(lab.steps(), []);
    assert_eq!(lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c")), ["controller"]);
}

#[test]
fn window_and_alerts() {
    holds(
        "window",
        enforce(|spec| spec.windows = vec![("0 3 * * *".into(), "UTC".into(), Duration::from_secs(3600))]),
        |_| {},
    );
    let gate = || Gate { name: "ceph".into(), server: "http://p".into(), query: "ceph_health_status == 2".into() };
    let gated = || enforce(|spec| spec.gates = vec![gate()]);
    for said in [Said::Holds("{}".into()), Said::Failed("timed out".into())] {
        holds("alerts", gated(), |lab| lab.hands.gates = vec![(gate(), said)]);
    }
    holds("alerts", gated(), |_| {});
    let lab = scenario(gated(), |lab| lab.hands.gates = vec![(gate(), Said::Quiet)]);
    assert_eq!(lab.steps().len(), 1);
}

#[test]
fn budget() {
    let lab = scenario(enforce(|spec| spec.budgets.marks = 0), |_| {});
    assert_eq!(lab.steps(), []);
    assert_eq!(lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c")), ["budget"]);
}

/// After a failure the batch rests for half an hour, and its object too: after its second one for an hour.
#[test]
fn breaker() {
    let mut lab = Lab::led(plain());
    let content = deleting(&lab, "c", "s", 2000);
    lab.content("c", content);
    lab.hands.works = Works::InVain;
    let failed = |lab: &Lab| lab.phases().iter().filter(|(_, phase)| *phase == Phase::Failed).count();
    for _ in 0..120 {
        if failed(&lab) < 2 {
            lab.pass(60);
        }
    }
    assert_eq!((failed(&lab), lab.steps().len()), (2, 2));
    lab.pass(2700);
    assert_eq!(lab.steps().len(), 2, "breaker lets it through");
    assert_eq!(lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c")), ["breaker"]);
    lab.pass(1200);
    assert_eq!(lab.steps().len(), 3, "its time is over");
}

#[test]
fn a_restart_is_held_by_progressing_work_and_by_the_backend() {
    let begin = |assume| {
        let mut lab = Lab::led(enforce(|spec| {
            spec.steps.insert(Step::RestartLeader);
            spec.assume_healthy = assume;
        }));
        let pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
        lab.pod("rook-ceph", "leader-0", pod);
        for ago in [900, 600, 300] {
            lab.log_failure("c", "Aborted", "an operation with the given Volume ID x already exists", ago);
        }
        let content = deleting(&lab, "c", "s", 2000);
        lab.content("c", content);
        lab
    };
    let held = |lab: &Lab| lab.holding(Kind::VolumeSnapshotContent, Key::cluster("c"));

    let mut lab = begin(false);
    lab.pass(300);
    assert_eq!((lab.steps().len(), held(&lab)), (0, vec!["backend"]), "nothing tells of the backend");

    let mut lab = begin(false);
    let ceph = |lab: &Lab, health: &str, ago| CephCluster {
        health: Some(health.into()),
        checked: Some(lab.ago(Duration::from_secs(ago))),
        fsid: None,
    };
    let key = Key::namespaced("rook-ceph", "rook-ceph");
    let sick = ceph(&lab, "HEALTH_ERR", 10);
    lab.feed(Fact::CephCluster(Change::Applied(key.clone(), sick)));
    lab.pass(120);
    assert_eq!((lab.steps().len(), held(&lab)), (0, vec!["backend"]));
    let stale = ceph(&lab, "HEALTH_OK", 700);
    lab.feed(Fact::CephCluster(Change::Applied(key.clone(), stale)));
    lab.pass(120);
    assert_eq!((lab.steps().len(), held(&lab)), (0, vec!["backend"]), "its health is stale");
    let well = ceph(&lab, "HEALTH_WARN", 10);
    lab.feed(Fact::CephCluster(Change::Applied(key, well)));
    lab.pass(60);
    assert_eq!(lab.steps(), [("RestartLeader", "leader-0".to_owned())]);

    let mut lab = begin(true);
    lab.feed(Fact::StorageClass(Change::Applied(
        Key::cluster("block"),
        StorageClass { provisioner: DRIVER.into(), waits_for_consumer: false },
    )));
    let mut work = claim("new", ClaimPhase::Pending, None);
    work.storage_class = Some("block".into());
    work.meta.created = lab.stamp(0);
    lab.claim("new", work);
    lab.pass(150);
    assert_eq!((lab.steps().len(), held(&lab)), (0, vec!["quiet"]), "a volume is being made");
    lab.pass(90);
    assert_eq!(lab.steps().len(), 1, "what has hung for longer than two calls is no work");
}

#[test]
fn the_least_permissive_of_two_policies_wins() {
    let lab = scenario(plain(), |lab| {
        let mut spec = enforce(|_| {}).spec().clone();
        spec.mode = Mode::Observe;
        lab.policy(Policy::new("careful", spec));
    });
    assert_eq!((lab.steps().len(), lab.hands.records.len()), (0, 0));
}

#[test]
fn a_policy_edited_in_the_middle_stops_what_has_not_begun() {
    let mut lab = scenario(enforce(|spec| spec.mode = Mode::Approve), |_| {});
    let record = lab.the_record();
    let hash = record.plan.unwrap().hash;
    lab.policy(enforce(|spec| {
        spec.mode = Mode::Approve;
        spec.budgets.marks = 5;
    }));
    lab.pass(60);
    lab.approve(&record.name, Some(hash.as_str()));
    lab.pass(60);
    assert_eq!(lab.steps(), [], "what was approved is a plan under another policy");
    assert_ne!(lab.the_record().plan.unwrap().hash, hash);
}

#[test]
fn a_subject_made_anew_under_the_same_name_is_not_written_to() {
    let mut lab = scenario(enforce(|spec| spec.mode = Mode::Approve), |_| {});
    let record = lab.the_record();
    let hash = record.plan.unwrap().hash;
    let mut content = alive(&lab, "c", "s");
    content.meta.uid = volwarden::domain::name::Uid::parse("another");
    lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
    lab.content("c", content);
    lab.approve(&record.name, Some(hash.as_str()));
    lab.pass(60);
    assert_eq!(lab.steps(), []);
    assert!(lab.hands.records[&record.name].phase.is_over());
}
