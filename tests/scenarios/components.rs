//! What hangs on a component: a paused driver, a stopped controller, a sidecar that is not there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::{Fault, Options, Stack, Volume};

use super::doctor::{doctor, doctor_as, why};
use super::replay::Recorder;
use super::{
    CONTENT_FINALIZER, CONTENTS, SNAPSHOTS, SOON, age_content, age_snapshot, ready_snapshot, text, turn, wait_for,
    wait_gone, with_claim,
};

const VS: &str = "VolumeSnapshot";
const VSC: &str = "VolumeSnapshotContent";

#[test]
fn a_paused_driver_a_stopped_controller_and_a_lost_sidecar_are_told_apart() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    // Four minutes of real time for the claim that a snapshot pins: its timestamps are not ours to move.
    let pinned_at = four_4_a_claim_pinned_by_its_snapshot(&stack);
    two_8_a_paused_driver_is_retried(&stack);
    one_10_a_stopped_controller(&stack);
    two_3_emptied_and_not_released_and_one_1_driver_gone(&stack);
    let left = Duration::from_secs(190).saturating_sub(pinned_at.elapsed());
    std::thread::sleep(left);
    let report = doctor(&stack);
    assert_eq!(report.class("PersistentVolumeClaim", "pinned"), "SourcePinned", "{:#}", report.json);
    let finding = report.finding("PersistentVolumeClaim", "pinned").unwrap();
    assert!(text(finding, "/summary").contains("default/never-ready"), "it names the snapshot");
}

/// The driver never cuts this one snapshot, so the claim it is cut from cannot go.
fn four_4_a_claim_pinned_by_its_snapshot(stack: &Stack) -> Instant {
    let never = || Fault::of("CreateSnapshot").fail(13, "no space left in pool");
    stack.add_volume(&Volume::new("vol-2")).unwrap();
    stack.bound_pvc("default", "pinned", "vol-2").unwrap();
    stack.set_faults(&[never()]).unwrap();
    let snapshot = stack.snapshot("default", "never-ready", "pinned", "fast").unwrap();
    stack.set_faults(&[never().on(&format!("snapshot-{}", text(&snapshot, "/metadata/uid")))]).unwrap();
    let pinned = |all: &Value| all.to_string().contains("pvc-as-source-protection");
    wait_for(stack, "persistentvolumeclaim", Some("default"), "pinned", "/metadata/finalizers", pinned);
    stack.delete("persistentvolumeclaim", Some("default"), "pinned").unwrap();
    stack.release_pvc("default", "pinned").unwrap();
    let since = Instant::now();
    let report = doctor(stack);
    assert_eq!(report.lines(), Vec::<String>::new(), "nothing before its time");
    since
}

fn two_8_a_paused_driver_is_retried(stack: &Stack) {
    let content = ready_snapshot(stack, "slow");
    let driver = stack.process("csi-driver").unwrap();
    driver.pause().unwrap();
    stack.delete(SNAPSHOTS, Some("default"), "slow").unwrap();
    stack
        .wait("the Event of the first failure", SOON, || {
            let events = stack.kubectl(["get", "events", "-n", "default", "-o", "json"]).ok()?;
            (events.contains("Failed to delete snapshot") && events.contains(&content)).then_some(())
        })
        .unwrap();
    assert_eq!(doctor(stack).class(VSC, &content), "", "one failure is no trouble yet");
    age_content(stack, &content, "/metadata/deletionTimestamp", 60);
    age_snapshot(stack, "slow", "/metadata/deletionTimestamp", 60);
    let report = doctor(stack);
    assert_eq!(report.class(VSC, &content), "Retrying", "{:#}", report.json);
    assert_eq!(report.class(VS, "slow"), "WaitingForContent");
    driver.resume().unwrap();
    wait_gone(stack, SNAPSHOTS, Some("default"), "slow");
    wait_gone(stack, CONTENTS, None, &content);
    assert!(!backend_has(stack, &content), "the driver really deleted it");
}

fn one_10_a_stopped_controller(stack: &Stack) {
    let with_driver = ready_snapshot(stack, "with-driver");
    ready_snapshot(stack, "untouched");
    let controller = stack.process("snapshot-controller").unwrap();
    let sidecar = stack.process("csi-driver").unwrap();
    // One is with the driver already when the controller stops, the other has not been touched.
    sidecar.pause().unwrap();
    stack.delete(SNAPSHOTS, Some("default"), "with-driver").unwrap();
    wait_for(stack, CONTENTS, None, &with_driver, "/metadata/deletionTimestamp", Value::is_string);
    controller.pause().unwrap();
    stack.delete(SNAPSHOTS, Some("default"), "untouched").unwrap();
    let early = doctor(stack);
    assert_eq!(early.class("Lease", "snapshot-controller-leader"), "", "one missed renewal proves nothing");
    for name in ["with-driver", "untouched"] {
        age_snapshot(stack, name, "/metadata/deletionTimestamp", 120);
    }
    age_content(stack, &with_driver, "/metadata/deletionTimestamp", 120);
    std::thread::sleep(Duration::from_secs(20));
    // Long enough that the lease is judged on our own clock, not on its timestamps.
    let late = doctor_as(stack.kubeconfig(), &["--observe", "60s"]);
    let down = late.finding("Lease", "snapshot-controller-leader").unwrap();
    assert_eq!((text(down, "/class").as_str(), down.get("unverified")), ("ControllerDown", Some(&json!(false))));
    assert_eq!(late.class(VS, "untouched"), "ControllerDown", "{:#}", late.json);
    assert_eq!(late.class(VS, "with-driver"), "WaitingForContent", "{:#}", late.json);
    let cause = text(late.finding(VS, "untouched").unwrap(), "/cause");
    assert_eq!(cause, "ControllerDown Lease kube-system/snapshot-controller-leader");
    assert!(why(stack, "vs", "untouched").contains("bring snapshot-controller back"));
    controller.resume().unwrap();
    sidecar.resume().unwrap();
    for name in ["with-driver", "untouched"] {
        wait_gone(stack, SNAPSHOTS, Some("default"), name);
    }
    wait_for(
        stack,
        "lease",
        Some("kube-system"),
        "snapshot-controller-leader",
        "/spec/holderIdentity",
        Value::is_string,
    );
    let report = doctor(stack);
    assert_eq!(report.class("Lease", "snapshot-controller-leader"), "", "over once it renews");
}

/// The shape that sidecars 8.0 to 8.2 could leave: the driver's answer is in the status, the finalizer is not out.
fn two_3_emptied_and_not_released_and_one_1_driver_gone(stack: &Stack) {
    let emptied = ready_snapshot(stack, "emptied");
    let waiting = ready_snapshot(stack, "waiting");
    stack.process("csi-snapshotter-0").unwrap().kill().unwrap();
    for (name, content) in [("emptied", &emptied), ("waiting", &waiting)] {
        stack.delete(SNAPSHOTS, Some("default"), name).unwrap();
        wait_for(stack, CONTENTS, None, content, "/metadata/deletionTimestamp", Value::is_string);
    }
    let nothing = json!({"status": {
        "snapshotHandle": null, "readyToUse": null, "creationTime": null, "restoreSize": null,
    }});
    stack.patch(CONTENTS, None, &emptied, Some("status"), &nothing).unwrap();
    wait_for(stack, CONTENTS, None, &emptied, "/status", |status| *status == json!({}));
    wait_for(stack, CONTENTS, None, &emptied, "/metadata/finalizers", |all| *all == json!([CONTENT_FINALIZER]));
    let early = doctor(stack);
    assert_eq!((early.class(VSC, &emptied), early.class(VSC, &waiting)), ("", ""), "not before their time");
    for content in [&emptied, &waiting] {
        age_content(stack, content, "/metadata/deletionTimestamp", 190);
    }
    let late = doctor_as(stack.kubeconfig(), &["--observe", "60s"]);
    assert_eq!(late.class(VSC, &emptied), "DeletedNotReleased", "{:#}", late.json);
    assert_eq!(late.class(VSC, &waiting), "DriverGone", "{:#}", late.json);
    assert_eq!(late.class("CSIDriver", stack::DRIVER), "DriverGone");
    let finding = late.finding(VSC, &emptied).unwrap();
    assert_eq!((text(finding, "/repair/rung").as_str(), finding.get("unverified")), ("Nudge", Some(&json!(false))));
    stack.process("csi-snapshotter-0").unwrap().start().unwrap();
    wait_gone(stack, CONTENTS, None, &waiting);
    assert!(!backend_has(stack, &waiting), "the driver really deleted it");
}

/// Whether the driver still has the snapshot of this content.
fn backend_has(stack: &Stack, content: &str) -> bool {
    let name = content.replace("snapcontent-", "snapshot-");
    stack.driver_snapshots().unwrap().iter().any(|snapshot| snapshot.name == name)
}

#[test]
fn three_8_without_a_csi_snapshotter_nothing_is_ever_cut() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options { snapshotters: Vec::new(), ..Options::full() });
    let recorder = Recorder::start(&stack);
    stack.snapshot("default", "stuck", "data", "fast").unwrap();
    wait_for(&stack, SNAPSHOTS, Some("default"), "stuck", "/status/boundVolumeSnapshotContentName", Value::is_string);
    assert_eq!(doctor(&stack).class(VS, "stuck"), "", "not before its time");
    age_snapshot(&stack, "stuck", "/metadata/creationTimestamp", 190);
    let report = doctor(&stack);
    assert_eq!(report.class(VS, "stuck"), "CreateStuck", "{:#}", report.json);
    let finding = report.finding(VS, "stuck").unwrap();
    assert_eq!(text(finding, "/cause"), format!("DriverGone CSIDriver {}", stack::DRIVER));
    assert_eq!(report.class("CSIDriver", stack::DRIVER), "DriverGone");
    recorder.agrees_with(&stack, &report);
}

#[test]
fn one_3_a_change_of_leader_is_nothing() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options { snapshotters: vec!["one".to_owned(), "two".to_owned()], ..Options::full() });
    let content = ready_snapshot(&stack, "kept");
    stack.process("csi-snapshotter-0").unwrap().kill().unwrap();
    let during = doctor(&stack);
    assert_eq!(during.lines(), Vec::<String>::new(), "the other takes over");
    let lease = stack::SNAPSHOTTER_LEASE;
    wait_for(&stack, "lease", Some("default"), lease, "/spec/holderIdentity", |holder| *holder == json!("two"));
    stack.delete(SNAPSHOTS, Some("default"), "kept").unwrap();
    wait_gone(&stack, CONTENTS, None, &content);
    assert_eq!(doctor(&stack).lines(), Vec::<String>::new());
}
