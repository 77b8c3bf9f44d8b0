//! What a driver in a pod answers, read where it really is: in `status.error`, in Events, in csi-snapshotter's log.

use serde_json::{Value, json};
use stack::{Fault, Options, Rook};

use super::story::{Cut, Story, driver_is};
use super::{CONTENTS, SNAPSHOTS, text, wait_for};

const DELETE: &str = "DeleteSnapshot";
const CREATE: &str = "CreateSnapshot";

/// With a csi-snapshotter that tries again soon, so that what is mended shows soon.
fn impatient(rook: Rook) -> Rook {
    Rook { snapshotter_args: vec!["--retry-interval-max=8s".to_owned()], ..rook }
}

/// Six shapes side by side behind one driver. Four of them are the driver's own failures, and twenty snapshots are
/// healthy: that is no storm.
#[test]
fn five_1_locks_errors_and_creations_that_never_end() {
    let Some(story) = Story::begin("5.1", "what the driver answers is named", Options::pods()) else { return };
    let rook = impatient(Rook::operator());
    story.given_driver(&rook);
    story.given_bound_volume("data", &rook);
    let healthy: Vec<String> = (0..20).map(|number| format!("healthy-{number}")).collect();
    story.given_snapshots("data", &rook, &healthy.iter().map(String::as_str).collect::<Vec<_>>());
    let cuts = story.given_snapshots("data", &rook, &["locked", "internal", "precondition"]);
    let [locked, internal, precondition] = cuts.as_slice() else { panic!("three snapshots: {cuts:?}") };
    let mismatched = story.given_snapshot_of_class("data", &rook, "mismatched", "shifting");

    let errors = [
        Fault::of(DELETE).on(&internal.handle).fail(13, "rados: ret=-5, Input/output error"),
        Fault::of(DELETE).on(&precondition.handle).fail(9, "snapshot has pending clones"),
    ];
    let endless = [Fault::of(DELETE).on(&locked.handle).stuck(), Fault::of(CREATE).stuck()];
    story.when_driver_fails(
        "never ends one deletion and no creation, and fails two deletions",
        &[errors.to_vec(), endless.to_vec()].concat(),
    );
    class_moves_to(&story, "shifting", "other.csi.example.com");
    let hung = story.when_created("hung", "data", &rook);
    let undone = story.when_created("undone", "data", &rook);
    let creating = |all: &Value| all.to_string().contains("being-created");
    wait_for(&story.stack, CONTENTS, None, &undone.content, "/metadata/annotations", creating);
    story.when_deleted(&[locked, internal, precondition, &mismatched, &undone]);
    for (cut, code) in [(locked, "Aborted"), (internal, "Internal"), (precondition, "FailedPrecondition")] {
        story.when_logged(&rook, &["could not sync content", &cut.content, &format!("code = {code}")]);
    }
    let refused = |error: &Value| error.to_string().contains("already exists");
    wait_for(&story.stack, CONTENTS, None, &hung.content, "/status/error", refused);
    story.then_nothing_is_named("all of it may still come right");

    // From now on no new call hangs: what is locked is locked by the process that holds it.
    story.when_driver_fails("fails two deletions and nothing else", &errors);
    story.when_time_passes(150, &[locked, internal, precondition, &mismatched, &hung, &undone]);
    let waiting =
        [locked, internal, precondition, &mismatched, &undone].map(|cut| cut.snapshot_is("WaitingForContent"));
    let shared = [
        mismatched.content_is("DriverMismatch"),
        hung.content_is("OperationLocked"),
        hung.snapshot_is("CreateStuck"),
        undone.content_is("StillCreating"),
    ];
    let told = [
        locked.content_is("OperationLocked"),
        internal.content_is("BackendError"),
        precondition.content_is("BackendError"),
    ];
    let report = story.then_doctor_says(&[waiting.to_vec(), shared.to_vec(), told.to_vec()].concat());
    let of = |cut: &Cut| report.finding("VolumeSnapshotContent", &cut.content).unwrap();
    assert!(text(of(internal), "/summary").contains("Internal: rados: ret=-5"), "{:#}", report.json);
    assert!(
        text(of(precondition), "/summary").contains("FailedPrecondition: snapshot has pending"),
        "{:#}",
        report.json
    );
    assert_eq!(text(of(locked), "/repair/rung"), "RestartLeader");
    let cause = text(report.finding("VolumeSnapshot", "hung").unwrap(), "/cause");
    assert_eq!(cause, format!("OperationLocked VolumeSnapshotContent {}", hung.content));
    let why = story.why("vsc", &locked.content);
    assert!(why.contains(&format!("given Volume ID {} already exists", locked.handle)), "{why}");

    // Without the log nobody can tell what the driver answers a deletion; a creation's answer stands in its status.
    let untold = [locked, internal, precondition].map(|cut| cut.content_is("Retrying"));
    story.then_doctor_without_logs_says(&[waiting.to_vec(), shared.to_vec(), untold.to_vec()].concat());

    // The least repair is the true one: with the process its locks go, and all of it comes right.
    class_moves_to(&story, "shifting", &rook.driver);
    story.when_driver_fails("is well again", &[]);
    story.when_leader_restarts(&rook);
    story.then_gone(&[locked, internal, precondition, &mismatched]);
    // csi-snapshotter may miss a deletion that was asked for before the creation was answered: hence the second step.
    story.when_nudged(&undone);
    story.then_gone(&[&undone]);
    story.ready("hung");
    story.then_nothing_is_named("all of it came right");
}

/// The driver of a class cannot be changed: somebody deletes it, and makes one of the same name.
fn class_moves_to(story: &Story, class: &str, driver: &str) {
    story.step(&format!("when the class {class} is made anew and names {driver}"));
    let kind = "volumesnapshotclass";
    let mut anew = story.stack.get(kind, None, class).unwrap().expect("the class is there");
    anew["driver"] = json!(driver);
    anew["metadata"] = json!({"name": class});
    story.stack.delete(kind, None, class).unwrap();
    super::wait_gone(&story.stack, kind, None, class);
    story.stack.create(&anew).unwrap();
}

#[test]
fn five_2_a_missing_secret_is_named_until_it_is_back() {
    let Some(story) = Story::begin("5.2", "a missing secret, and what is left once it is back", Options::pods()) else {
        return;
    };
    let rook = impatient(Rook { replicas: 1, ..Rook::classic() });
    story.given_driver(&rook);
    story.given_bound_volume("data", &rook);
    let cuts = story.given_snapshots("data", &rook, &["one"]);
    let [cut] = cuts.as_slice() else { panic!("one snapshot: {cuts:?}") };
    let (namespace, name) = (rook.namespace.as_str(), "rook-csi-rbd-provisioner");
    let secret = story.stack.get("secret", Some(namespace), name).unwrap().expect("the driver has its secret");
    story.step("when the secret is deleted before the snapshot");
    story.stack.delete("secret", Some(namespace), name).unwrap();
    story.when_deleted(&[cut]);
    story.when_logged(&rook, &["cannot get credentials for snapshot content", &cut.content]);
    story.then_nothing_is_named("not before its time");
    story.when_time_passes(100, &[cut]);
    let both = |class: &str| [cut.content_is(class), cut.snapshot_is("WaitingForContent")];
    let report = story.then_doctor_says(&both("SecretMissing"));
    let summary = text(report.finding("VolumeSnapshotContent", &cut.content).unwrap(), "/summary");
    assert!(summary.contains(&format!("{namespace}/{name}")), "the secret is named: {summary}");

    story.when_driver_fails("has a trouble of its own by then", &[Fault::of(DELETE).fail(14, "no quorum")]);
    story.step("when the secret is restored");
    let data = secret.pointer("/data").cloned().expect("the secret has data");
    let meta = json!({"name": name, "namespace": namespace});
    story.stack.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})).unwrap();
    story.when_logged(&rook, &["could not sync content", &cut.content, "code = Unavailable"]);
    let events = story.stack.kubectl(["get", "events", "-n", "default", "-o", "json"]).unwrap();
    assert!(events.contains("Failed to get snapshot credentials"), "the old Event lives on");
    story.then_doctor_says(&both("BackendError"));
    story.when_driver_fails("is well again", &[]);
    story.then_gone(&[cut]);
    story.then_nothing_is_named("it came right");
}

/// Forty contents behind one hung driver are one incident, and nothing else is said.
#[test]
fn five_3_one_hung_driver_with_forty_contents_is_one_finding() {
    let Some(story) = Story::begin("5.3", "a storm", Options::pods()) else { return };
    let rook = impatient(Rook::operator());
    story.given_driver(&rook);
    story.given_bound_volume("data", &rook);
    let names: Vec<String> = (0..40).map(|number| format!("storm-{number}")).collect();
    let cuts = story.given_snapshots("data", &rook, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let all: Vec<&Cut> = cuts.iter().collect();
    story.when_driver_fails("answers no deletion", &[Fault::of(DELETE).hang()]);
    story.when_deleted(&all);
    story.when_logged(&rook, &["could not sync content", "code = DeadlineExceeded"]);
    story.then_nothing_is_named("a deletion may take a minute");
    // Ten at a time. Events tell of most of them only: csi-snapshotter drops those that it cannot write soon enough.
    for cut in &all {
        story.when_tried(&rook, cut);
    }
    story.when_time_passes(150, &all);
    let report = story.then_doctor_says(&[driver_is("DriverDegraded", &rook.driver)]);
    let summary = text(report.finding("CSIDriver", &rook.driver).unwrap(), "/summary");
    assert!(summary.starts_with("40 of 40 contents"), "{summary}");
    story.when_driver_fails("answers again", &[]);
    story.then_gone(&all);
    assert!(story.stack.get(SNAPSHOTS, Some("default"), "storm-0").unwrap().is_none());
    story.then_nothing_is_named("the storm is over");
}
