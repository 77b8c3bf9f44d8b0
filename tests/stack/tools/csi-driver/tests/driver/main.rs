//! What csi-sanity does not ask: that processes on one folder agree, and that refusals are ceph-csi's.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod process;
#[allow(dead_code, reason = "the driver's side of the messages")]
#[path = "../../src/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::path::Path;

use tempfile::TempDir;
use tonic::{Code, Status};

use crate::process::Driver;
use crate::wire::{
    Access, ContentSource, CreateSnapshotRequest, CreateVolumeRequest, DeleteRequest, Empty, ListSnapshotsRequest,
    ListSnapshotsResponse, Mount, SourceId, VolumeCapability, VolumeContentSource,
};

const STUCK_DELETION: &str = r#"[{"call": "DeleteSnapshot", "stuck": true}]"#;

/// A folder whose state has the volume `vol-1`, added from outside.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let volumes = folder.path().join("state/volumes");
    std::fs::create_dir_all(&volumes).unwrap();
    std::fs::write(volumes.join("vol-1.json"), r#"{"id": "vol-1", "name": "pv-1", "size_bytes": 1073741824}"#).unwrap();
    folder
}

fn set_faults(folder: &Path, faults: &str) {
    let partial = folder.join("faults");
    std::fs::write(&partial, faults).unwrap();
    std::fs::rename(partial, folder.join("state/faults.json")).unwrap();
}

fn files(folder: &Path, kind: &str) -> usize {
    let entries = std::fs::read_dir(folder.join("state").join(kind)).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "json")).count()
}

fn restore(name: &str, handle: &str) -> CreateVolumeRequest {
    let access = Some(Access::Mount(Mount::default()));
    let source = Some(ContentSource::Snapshot(SourceId { id: handle.to_owned() }));
    CreateVolumeRequest {
        name: name.to_owned(),
        volume_capabilities: vec![VolumeCapability { access, access_mode: None }],
        volume_content_source: Some(VolumeContentSource { source }),
        ..CreateVolumeRequest::default()
    }
}

fn says(error: &Status, code: Code, text: &str) {
    assert_eq!((error.code(), error.message()), (code, text));
}

fn locked(key: &str) -> String {
    format!("an operation with the given Volume ID {key} already exists")
}

/// Begins a deletion that suffers `faults`, waits until it holds its locks, and gives it up. The faults are lifted then.
async fn give_up(driver: &Driver, folder: &Path, handle: &str, faults: &str) {
    set_faults(folder, faults);
    tokio::select! {
        ended = driver.delete(handle) => panic!("a waiting call ended: {ended:?}"),
        () = driver.logs("a fault on demand") => {}
    }
    set_faults(folder, "[]");
}

#[tokio::test]
async fn what_one_process_does_the_other_knows() {
    let folder = folder();
    let (one, other) =
        (Driver::start(folder.path(), "one", &[]).await, Driver::start(folder.path(), "other", &[]).await);
    let handle = one.snapshot("snapshot-1").await.unwrap();
    assert!(handle.starts_with("0001-0009-rook-ceph-0000000000000001-"), "{handle}");
    assert_eq!(other.snapshot("snapshot-1").await.unwrap(), handle, "the name is found");
    let volume = other.volume(restore("pvc-1", &handle)).await.unwrap();
    assert_eq!(one.volume(restore("pvc-1", &handle)).await.unwrap(), volume);

    other.delete(&handle).await.unwrap();
    let asked = ListSnapshotsRequest { snapshot_id: handle.clone(), ..ListSnapshotsRequest::default() };
    let listed: ListSnapshotsResponse = one.call("Controller/ListSnapshots", asked).await.unwrap();
    assert_eq!(listed.entries, [], "it is gone for the first one too");
    let error = one.volume(restore("pvc-2", &handle)).await.unwrap_err();
    says(&error, Code::NotFound, &format!("{handle} snapshot does not exist"));
    one.delete(&handle).await.unwrap();
    assert_ne!(one.snapshot("snapshot-1").await.unwrap(), handle, "a name that is free again gets a new handle");
}

#[tokio::test]
async fn a_name_that_two_processes_want_at_once_is_given_once() {
    const NAMES: usize = 200;
    let folder = folder();
    let (one, other) =
        (Driver::start(folder.path(), "one", &[]).await, Driver::start(folder.path(), "other", &[]).await);
    for number in 0..NAMES {
        let name = format!("snapshot-{number}");
        let (here, there) = tokio::join!(one.snapshot(&name), other.snapshot(&name));
        assert_eq!(here.unwrap(), there.unwrap(), "{name}");
    }
    assert_eq!(files(folder.path(), "snapshots"), NAMES);
}

#[tokio::test]
async fn a_process_that_is_frozen_while_it_adds_delays_additions_only() {
    let folder = folder();
    let driver = Driver::start(folder.path(), "one", &[]).await;
    let handle = driver.snapshot("snapshot-1").await.unwrap();
    let held = std::fs::File::open(folder.path().join("state/snapshots/.lock")).unwrap();
    held.lock().unwrap();
    let released = async {
        driver.logs("Req-ID: snapshot-2 GRPC call").await;
        driver.delete(&handle).await.unwrap();
        assert_eq!(files(folder.path(), "snapshots"), 0, "nothing is added meanwhile");
        drop(held);
    };
    let (added, ()) = tokio::join!(driver.snapshot("snapshot-2"), released);
    added.unwrap();
}

#[tokio::test]
async fn a_stuck_call_locks_its_own_process_only() {
    let folder = folder();
    let (one, other) =
        (Driver::start(folder.path(), "one", &[]).await, Driver::start(folder.path(), "other", &[]).await);
    let handle = one.snapshot("snapshot-1").await.unwrap();
    give_up(&one, folder.path(), &handle, STUCK_DELETION).await;

    says(&one.delete(&handle).await.unwrap_err(), Code::Aborted, &locked(&handle));
    says(&one.snapshot("snapshot-1").await.unwrap_err(), Code::Aborted, &locked("snapshot-1"));
    one.snapshot("snapshot-2").await.unwrap();
    other.delete(&handle).await.unwrap();
    assert_eq!(files(folder.path(), "snapshots"), 1, "the other one deleted it");
    says(&one.delete(&handle).await.unwrap_err(), Code::Aborted, &locked(&handle));

    let restarted = Driver::start(folder.path(), "restarted", &[]).await;
    restarted.delete(&handle).await.unwrap();
}

#[tokio::test]
async fn a_restore_holds_its_snapshot() {
    let folder = folder();
    let driver = Driver::start(folder.path(), "one", &[]).await;
    let handle = driver.snapshot("snapshot-1").await.unwrap();
    set_faults(folder.path(), r#"[{"call": "CreateVolume", "id": "pvc-1", "hang": true}]"#);
    let lifted = async {
        driver.logs("a fault on demand").await;
        says(&driver.delete(&handle).await.unwrap_err(), Code::Aborted, &locked(&handle));
        set_faults(folder.path(), "[]");
    };
    let (restored, ()) = tokio::join!(driver.volume(restore("pvc-1", &handle)), lifted);
    restored.unwrap();
    driver.delete(&handle).await.unwrap();
}

#[tokio::test]
async fn without_secrets_nothing_is_made_or_deleted() {
    let folder = folder();
    let driver = Driver::start(folder.path(), "one", &["--require-secrets"]).await;
    let empty = "provided secret is empty";
    says(&driver.snapshot("snapshot-1").await.unwrap_err(), Code::Internal, empty);
    says(&driver.delete("any").await.unwrap_err(), Code::Internal, empty);
    let mut new = restore("pvc-1", "any");
    new.volume_content_source = None;
    says(&driver.volume(new.clone()).await.unwrap_err(), Code::InvalidArgument, empty);
    let delete = DeleteRequest { id: "vol-1".to_owned(), ..DeleteRequest::default() };
    let error = driver.call::<_, Empty>("Controller/DeleteVolume", delete.clone()).await.unwrap_err();
    says(&error, Code::InvalidArgument, empty);
    assert_eq!((files(folder.path(), "volumes"), files(folder.path(), "snapshots")), (1, 0));

    let secrets =
        HashMap::from([("userID", "admin"), ("userKey", "c3VwZXIgc2VjcmV0")].map(|(k, v)| (k.into(), v.into())));
    new.secrets.clone_from(&secrets);
    driver.volume(new).await.unwrap();
    let asked = CreateSnapshotRequest {
        name: "snapshot-1".to_owned(),
        source_volume_id: "vol-1".to_owned(),
        secrets: secrets.clone(),
    };
    driver.call::<_, wire::SnapshotEntry>("Controller/CreateSnapshot", asked).await.unwrap();
    driver.call::<_, Empty>("Controller/DeleteVolume", DeleteRequest { secrets, ..delete }).await.unwrap();
    assert_eq!((files(folder.path(), "volumes"), files(folder.path(), "snapshots")), (1, 1));
    assert!(!driver.log().contains("c3VwZXIgc2VjcmV0"), "a secret in the log:\n{}", driver.log());
}

#[tokio::test]
async fn group_snapshots_are_refused() {
    let folder = folder();
    let driver = Driver::start(folder.path(), "one", &[]).await;
    for method in ["GroupControllerGetCapabilities", "CreateVolumeGroupSnapshot", "DeleteVolumeGroupSnapshot"] {
        let answer = driver.call::<_, Empty>(&format!("GroupController/{method}"), Empty {}).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "{method}");
    }
    let handle = driver.snapshot("snapshot-1").await.unwrap();
    let file = folder.path().join(format!("state/snapshots/{handle}.json"));
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["group"] = "group-1".into();
    std::fs::write(&file, record.to_string()).unwrap();
    let error = driver.delete(&handle).await.unwrap_err();
    says(&error, Code::InvalidArgument, &format!("the snapshot {handle} is part of groupsnapshot group-1"));
    assert!(file.exists());
}

#[tokio::test]
async fn the_log_is_read_as_ceph_csis_is() {
    let folder = folder();
    let driver = Driver::start(folder.path(), "one", &["--v=0"]).await;
    let handle = driver.snapshot("snapshot-1").await.unwrap();
    set_faults(folder.path(), r#"[{"call": "DeleteSnapshot", "code": 13, "message": "rados: ret=-110"}]"#);
    driver.delete(&handle).await.unwrap_err();
    let log = driver.log();
    let line = log.lines().last().unwrap();
    let (head, text) = line.split_once("] ").unwrap();
    assert!(head.starts_with('E') && head.ends_with(" utils.go:240"), "{line}");
    assert_eq!(text, format!("ID: 2 Req-ID: {handle} GRPC error: rpc error: code = Internal desc = rados: ret=-110"));
    assert!(!log.contains("GRPC call"), "not at this verbosity:\n{log}");

    let driver = Driver::start(folder.path(), "loud", &[]).await;
    give_up(&driver, folder.path(), &handle, STUCK_DELETION).await;
    driver.delete(&handle).await.unwrap_err();
    driver.logs(&format!("Req-ID: {handle} GRPC call: /csi.v1.Controller/DeleteSnapshot\n")).await;
    driver.logs(&format!("an operation with the given Snapshot ID {handle} already exists\n")).await;
    driver.logs(&format!("GRPC error: rpc error: code = Aborted desc = {}\n", locked(&handle))).await;
}

#[tokio::test]
async fn an_error_is_logged_though_its_caller_has_gone() {
    let folder = folder();
    let driver = Driver::start(folder.path(), "one", &[]).await;
    let handle = driver.snapshot("snapshot-1").await.unwrap();
    let late = r#"[{"call": "DeleteSnapshot", "hang": true, "code": 4, "message": "too late"}]"#;
    give_up(&driver, folder.path(), &handle, late).await;
    driver.logs("GRPC error: rpc error: code = DeadlineExceeded desc = too late").await;
}
