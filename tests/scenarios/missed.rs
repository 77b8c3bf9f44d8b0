//! The event that csi-snapshotter never sees, made for real: create, pause the driver, delete, resume.
//!
//! Its work queue loses about one deletion in six when the ready status and the deletion arrive together;
//! without a resync nothing would ever bring it back.

use std::time::{Duration, Instant};

use serde_json::Value;
use stack::{DRIVER, Options, Stack};

use super::doctor::doctor;
use super::replay::Recorder;
use super::warden::{self, Warden};
use super::{CONTENTS, SNAPSHOTS, text, turn, wait_for, with_claim};

/// How often it is tried.
const TRIES: u32 = 40;

#[test]
fn two_11_a_missed_deletion_is_named_and_nudged() {
    let Some(_turn) = turn() else { return };
    let args = vec!["--resync-period=24h".to_owned()];
    let stack = with_claim(Options { snapshotter_args: args, ..Options::full() });
    let recorder = Recorder::start(&stack);
    let (content, missed) = (1..=TRIES)
        .find_map(|number| try_once(&stack, number))
        .unwrap_or_else(|| panic!("csi-snapshotter missed no deletion in {TRIES} tries"));
    let early = doctor(&stack);
    assert_eq!(early.class("VolumeSnapshotContent", &content), "", "not before its time");
    // Any write to it would wake csi-snapshotter, so this time has to pass for real.
    std::thread::sleep(Duration::from_secs(185).saturating_sub(missed.elapsed()));
    let report = doctor(&stack);
    let finding = report.finding("VolumeSnapshotContent", &content).unwrap_or_else(|| panic!("{:#}", report.json));
    assert_eq!(
        (text(finding, "/class"), text(finding, "/repair/rung")),
        ("MissedEvent".to_owned(), "Nudge".to_owned())
    );
    assert_eq!(finding.get("unverified"), Some(&Value::Bool(false)));
    recorder.agrees_with(&stack, &report);
    // The proof that it is what it is called: the nudge that the finding names mends it.
    warden::install(&stack, &[]);
    warden::enforce(&stack, &[DRIVER], |_| {});
    let daemon = Warden::start(&stack, "volwarden");
    let done = warden::wait_phase(&stack, "MissedEvent", &content, "Done", Duration::from_secs(240));
    assert_eq!(done.attempts, [("Nudge".to_owned(), "Applied".to_owned())]);
    super::wait_gone(&stack, CONTENTS, None, &content);
    let written = warden::writes(&stack);
    assert_eq!(written.len(), 1, "one annotation, and nothing else: {written:#?}");
    drop(daemon);
    assert!(stack.driver_snapshots().unwrap().is_empty(), "the driver really deleted it");
}

/// One race; the content and its time if the deletion was missed.
fn try_once(stack: &Stack, number: u32) -> Option<(String, Instant)> {
    let name = format!("race-{number}");
    let driver = stack.process("csi-driver").unwrap();
    driver.pause().unwrap();
    let snapshot = stack.snapshot("default", &name, "data", "fast").unwrap();
    let content = format!("snapcontent-{}", text(&snapshot, "/metadata/uid"));
    wait_for(stack, CONTENTS, None, &content, "/metadata/finalizers", Value::is_array);
    wait_for(stack, SNAPSHOTS, Some("default"), &name, "/status/boundVolumeSnapshotContentName", Value::is_string);
    stack.delete(SNAPSHOTS, Some("default"), &name).unwrap();
    wait_for(stack, CONTENTS, None, &content, "/metadata/deletionTimestamp", Value::is_string);
    let deleted = Instant::now();
    driver.resume().unwrap();
    let gone = stack.wait("the content is gone", Duration::from_secs(12), || {
        stack.get(CONTENTS, None, &content).ok()?.is_none().then_some(())
    });
    if gone.is_ok() {
        return None;
    }
    let stored = stack.get(CONTENTS, None, &content).unwrap()?;
    // Ready, and nobody is creating or failing any more: the deletion is lost.
    let ready = stored.pointer("/status/readyToUse") == Some(&Value::Bool(true));
    let log = stack.process("csi-snapshotter-0").unwrap().log();
    let tried = log.lines().any(|line| line.contains(&content) && line.contains("failed to delete snapshot"));
    (ready && !tried).then_some((content, deleted))
}
