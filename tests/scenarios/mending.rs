//! Repairs of drivers whose controllers run as pods: locks, stale leaders, a storm. The judges are the driver's own
//! state before and after, and the API server's audit log.

use std::time::Duration;

use serde_json::{Value, json};
use stack::{Fault, Options, Rook};

use super::story::{Cut, Story};
use super::warden::{self, Warden};
use super::{CONTENTS, text};

const DELETE: &str = "DeleteSnapshot";
/// A whole ladder with its waits, on a busy machine.
const MENDED: Duration = Duration::from_secs(300);

/// With a csi-snapshotter that tries again soon.
fn impatient(rook: Rook) -> Rook {
    Rook { snapshotter_args: vec!["--retry-interval-max=8s".to_owned()], ..rook }
}

/// Handles that the backend has.
fn handles(story: &Story) -> Vec<String> {
    let mut all: Vec<String> = story.stack.driver_snapshots().unwrap().into_iter().map(|found| found.id).collect();
    all.sort();
    all
}

/// The pods that the daemon deleted, in order.
fn restarted(story: &Story) -> Vec<String> {
    let written = warden::writes(&story.stack).into_iter();
    written.filter(|one| one.resource == "pods" && one.verb == "delete").map(|one| one.name).collect()
}

/// Contents that the daemon wrote to, each as often as it did.
fn contents_written(story: &Story) -> Vec<String> {
    let written = warden::writes(&story.stack).into_iter().filter(|one| one.code < 300);
    let mut names: Vec<String> =
        written.filter(|one| one.resource == "volumesnapshotcontents").map(|one| one.name).collect();
    names.sort();
    names
}

#[test]
fn eight_1_a_lock_is_broken_by_one_restart_and_what_hung_is_really_deleted() {
    let Some(story) = Story::begin("8.1", "a lock that is never let go", Options::pods()) else { return };
    let rook = impatient(Rook::operator());
    story.given_driver(&rook);
    warden::install(&story.stack, &[&rook.namespace]);
    story.given_bound_volume("data", &rook);
    let names: Vec<String> = (0..8).map(|number| format!("healthy-{number}")).collect();
    story.given_snapshots("data", &rook, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let cuts = story.given_snapshots("data", &rook, &["locked", "failing"]);
    let [locked, failing] = cuts.as_slice() else { panic!("two snapshots: {cuts:?}") };
    let before = handles(&story);
    let fails = Fault::of(DELETE).on(&failing.handle).fail(9, "snapshot has pending clones");
    story.when_driver_fails(
        "never ends one deletion, and refuses another",
        &[Fault::of(DELETE).on(&locked.handle).stuck(), fails.clone()],
    );
    story.when_deleted(&[locked, failing]);
    story.when_logged(&rook, &["could not sync content", &locked.content, "code = Aborted"]);
    story.when_driver_fails("refuses another", &[fails]);
    story.when_time_passes(400, &[locked, failing]);
    let leader = story.leader(&rook);

    story.step("when a policy enforces, with restarts on");
    warden::enforce(&story.stack, &[&rook.driver], |_| {});
    let daemon = Warden::start(&story.stack, "volwarden");
    let done = warden::wait_phase(&story.stack, "OperationLocked", &locked.content, "Done", MENDED);
    story.then_gone(&[locked]);

    story.step("then the leader was restarted once, and nothing is lost that was to stay");
    let applied = |rung: &str| (rung.to_owned(), "Applied".to_owned());
    assert_eq!(done.attempts.first(), Some(&applied("RestartLeader")));
    assert_eq!(restarted(&story), [leader]);
    let expected: Vec<String> = before.into_iter().filter(|handle| *handle != locked.handle).collect();
    assert_eq!(handles(&story), expected);
    assert!(!contents_written(&story).contains(&failing.content), "what the backend refuses is not touched");
    drop(daemon);
}

/// Forty contents behind one hung call: the driver is mended, not forty objects.
#[test]
fn eight_2_a_storm_is_ended_by_one_restart_and_nothing_leaks() {
    let Some(story) = Story::begin("8.2", "forty contents behind a driver that hangs", Options::pods()) else { return };
    let rook = impatient(Rook::operator());
    story.given_driver(&rook);
    warden::install(&story.stack, &[&rook.namespace]);
    story.given_bound_volume("data", &rook);
    let names: Vec<String> = (0..40).map(|number| format!("storm-{number}")).collect();
    let cuts = story.given_snapshots("data", &rook, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let kept = story.given_snapshots("data", &rook, &["kept"]);
    let all: Vec<&Cut> = cuts.iter().collect();
    story.when_driver_fails("hangs at each deletion", &[Fault::of(DELETE).stuck()]);
    story.when_deleted(&all);
    let last = cuts.last().unwrap();
    story.when_logged(&rook, &["could not sync content", &last.content]);
    story.when_driver_fails("is well again; the calls that hang still hang", &[]);
    story.when_time_passes(1000, &all);

    story.step("when a policy enforces, with restarts on");
    warden::enforce(&story.stack, &[&rook.driver], |_| {});
    let daemon = Warden::start(&story.stack, "volwarden");
    let all_gone = || {
        let found = story.stack.kubectl_json(["get", CONTENTS, "-o", "json"]).ok()?;
        let items = found.pointer("/items").and_then(Value::as_array)?;
        (items.len() == 1).then_some(())
    };
    story.stack.wait("all of the storm is gone", MENDED, all_gone).unwrap_or_else(|error| {
        panic!("{error}\n{}", story.stack.kubectl(["get", warden::REMEDIATIONS, "-o", "yaml"]).unwrap_or_default())
    });
    story.step("then one pod was restarted, and the backend has what was to stay");
    assert_eq!(restarted(&story).len(), 1, "{:?}", restarted(&story));
    assert_eq!(handles(&story), [kept[0].handle.clone()]);
    drop(daemon);
}

#[test]
fn eight_3_a_stale_leader_is_answered_by_its_candidate() {
    let Some(story) = Story::begin("8.3", "a candidate that does not take over", Options::pods()) else { return };
    let rook = impatient(Rook::operator());
    story.given_driver(&rook);
    warden::install(&story.stack, &[&rook.namespace]);
    story.given_bound_volume("data", &rook);
    let cuts = story.given_snapshots("data", &rook, &["waiting", "kept"]);
    let [waiting, kept] = cuts.as_slice() else { panic!("two snapshots: {cuts:?}") };
    let (leader, candidate) = (story.leader(&rook), story.candidate(&rook));
    story.step("when the candidate is frozen, and the leader's node loses its power");
    story.stack.pod(&rook.namespace, &candidate).unwrap().pause("csi-snapshotter").unwrap();
    let node = story.stack.pod(&rook.namespace, &leader).unwrap().node().to_owned();
    story.stack.kill_node(&node).unwrap();
    story.when_deleted(&[waiting]);

    story.step("when a policy enforces, with restarts on");
    warden::enforce(&story.stack, &[&rook.driver], |_| {});
    let daemon = Warden::start(&story.stack, "volwarden");
    let done = warden::wait_phase(&story.stack, "StaleLeader", &rook.driver, "Done", MENDED);
    assert_eq!(done.attempts.first().map(|(rung, _)| rung.as_str()), Some("RestartCandidate"));
    story.then_gone(&[waiting]);
    assert_eq!(restarted(&story), [candidate]);
    assert_eq!(handles(&story), std::slice::from_ref(&kept.handle));
    drop(daemon);
}

/// Ten minutes of deletion, a leader that is restarted by hand, many deletions at once: nothing of it is an incident.
#[test]
fn eight_4_a_healthy_but_slow_cluster_is_left_alone() {
    let Some(story) = Story::begin("8.4", "slow, and healthy", Options::pods()) else { return };
    let rook = impatient(Rook::operator());
    story.given_driver(&rook);
    warden::install(&story.stack, &[&rook.namespace]);
    story.given_bound_volume("data", &rook);
    let names: Vec<String> = (0..20).map(|number| format!("slow-{number}")).collect();
    let cuts = story.given_snapshots("data", &rook, &names.iter().map(String::as_str).collect::<Vec<_>>());
    warden::enforce(&story.stack, &[&rook.driver], |policy| {
        policy["spec"]["rungs"]["nudge"] = json!(true);
    });
    let daemon = Warden::start(&story.stack, "volwarden");
    warden::wait_leads(&story.stack);
    let slow = Fault::of(DELETE).slow(Duration::from_secs(4));
    story.when_driver_fails("takes four seconds for each deletion", &[slow]);
    let all: Vec<&Cut> = cuts.iter().collect();
    story.when_deleted(&all);
    story.when_leader_restarts(&rook);
    story.then_gone(&all);
    story.step("then the ledger is empty, and nothing was written");
    assert_eq!(warden::ledger(&story.stack), []);
    assert_eq!(warden::writes(&story.stack), []);
    let lease = story.stack.get("lease", Some("volwarden-system"), "volwarden").unwrap().unwrap();
    assert!(!text(&lease, "/spec/holderIdentity").is_empty());
    drop(daemon);
}
