use std::sync::Arc;

use super::*;
use crate::api::check;
use crate::domain::name::Key;
use crate::domain::record::SecretName;

const UUID: &str = "5286d2fc-b692-4bc7-90b0-d76f2e38d0f7";
const VOLUME: &str = "0f0e0d0c-b692-4bc7-90b0-d76f2e38d0f7";

fn handle(cluster: &str, uuid: &str) -> String {
    format!("0001-{:04x}-{cluster}-000000000000001f-{uuid}", cluster.len())
}

fn orphan(driver: &str, cluster: &str) -> Orphan {
    let handle = handle(cluster, UUID);
    Orphan {
        driver: driver.into(),
        ceph: Location::of(&handle),
        handle: handle.into(),
        class: Some("fast".into()),
        policy: DeletionPolicy::Delete,
        secret: Some(Arc::new(SecretName { namespace: "rook-ceph".into(), name: "s".into() })),
        volume_handle: Some(self::handle(cluster, VOLUME).into()),
        content: (Key::cluster("snapcontent-1"), Uid::parse("C-1")),
        snapshot: (Key::namespaced("media", "a"), Some(Uid::parse("5286d2fc-b692-4bc7-90b0-d76f2e38d0f8"))),
        reason: "its driver is gone, and its finalizer was removed by consent".to_owned(),
    }
}

fn schema(part: &str) -> Value {
    let crds = crate::api::crds().unwrap();
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == "OrphanedSnapshot").unwrap();
    crd.pointer(&format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}")).unwrap().clone()
}

fn fits(part: &str, value: &Value) {
    let mut flaws = Vec::new();
    check::walk(&schema(part), value, part, &mut flaws);
    assert!(flaws.is_empty(), "{flaws:?}");
}

fn commands(driver: &str, cluster: &str) -> String {
    created(&orphan(driver, cluster), "")["spec"]["command"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_entry_has_all_that_finds_the_snapshot_again_and_is_read_back() {
    let mut one = orphan("rook-ceph.rbd.csi.ceph.com", "rook-ceph");
    let object = created(&one, "driver-unknown-c-1-6b");
    fits("spec", &object["spec"]);
    let spec = &object["spec"];
    assert_eq!(object["metadata"], json!({"name": "orphan-c-1"}));
    for field in schema("spec")["properties"].as_object().unwrap().keys() {
        assert!(!spec[field].is_null(), "{field} is not filled");
    }
    assert_eq!(spec["ceph"], json!({"clusterID": "rook-ceph", "poolID": 31, "objectUUID": UUID}));
    assert_eq!(spec["deletionSecret"], json!({"name": "s", "namespace": "rook-ceph"}));
    assert_eq!(spec["csiSnapshotName"], "snapshot-5286d2fc-b692-4bc7-90b0-d76f2e38d0f8");
    assert_eq!(
        left(&object.to_string()).unwrap(),
        Some(Left { print: fingerprint(&one.handle), content: Uid::parse("C-1") })
    );

    one.handle = "x".repeat(2000).into();
    assert_eq!(created(&one, "r")["spec"]["snapshotHandle"].as_str().unwrap().len(), 2000, "never shortened");
    one = Orphan {
        ceph: None,
        class: None,
        secret: None,
        volume_handle: None,
        snapshot: (Key::namespaced("", ""), None),
        reason: "ß".repeat(2000),
        ..orphan("csi.example.com", "c")
    };
    for (policy, written) in
        [(DeletionPolicy::Delete, "Delete"), (DeletionPolicy::Retain, "Retain"), (DeletionPolicy::Unknown, "Delete")]
    {
        one.policy = policy;
        let object = created(&one, "");
        fits("spec", &object["spec"]);
        assert_eq!(object["spec"]["deletionPolicy"], written);
        assert_eq!(object["spec"].get("command"), None);
        assert!(left(&object.to_string()).unwrap().is_some());
    }
}

#[test]
fn the_command_names_image_and_journal_of_rbd_and_the_subvolume_of_cephfs() {
    let rbd = commands("rook-ceph.rbd.csi.ceph.com", "rook-ceph");
    for line in [
        "POOL=$(ceph osd lspools | awk '$1 == 31 {print $2}')",
        "rbd info \"$POOL/csi-snap-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7\"",
        "rados -p \"$POOL\" rm csi.snap.5286d2fc-b692-4bc7-90b0-d76f2e38d0f7",
        "rados -p \"$POOL\" rmomapkey csi.snaps.default csi.snap.snapshot-5286d2fc-b692-4bc7-90b0-d76f2e38d0f8",
    ] {
        assert!(rbd.lines().any(|one| one == line), "{line} is not in\n{rbd}");
    }
    let cephfs = commands("cephfs.csi.ceph.com", "rook-ceph");
    let rm = "ceph fs subvolume snapshot rm \"$FS\" csi-vol-0f0e0d0c-b692-4bc7-90b0-d76f2e38d0f7 \
              csi-snap-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7 --group_name csi";
    assert!(cephfs.lines().any(|line| line == rm), "{cephfs}");
    assert!(cephfs.contains("select(.id == 31)"), "{cephfs}");
    assert_eq!(commands("some.ceph.driver", "rook-ceph"), "", "which kind it is, nobody can tell");
    assert!(rbd.len() < 4096 && cephfs.len() < 4096);
}

#[test]
fn nothing_that_a_shell_would_obey_gets_into_a_command() {
    for evil in ["c\nrm -rf ~", "$(reboot)", "`reboot`", "a;b", "a b"] {
        let mut one = orphan("rbd.csi.ceph.com", evil);
        one.snapshot.1 = Some(Uid::parse(evil));
        let text = created(&one, "")["spec"]["command"].as_str().unwrap().to_owned();
        assert!(!text.contains(evil), "{text}");
        assert!(text.contains("spec.ceph.clusterID") && !text.contains("omap"), "{text}");
        assert!(!commands("cephfs.csi.ceph.com", evil).contains(evil));
    }
}

#[test]
fn a_status_is_kstatus_and_fits() {
    let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
    let entry = Entry { version: "7", generation: 1, created: at(0) };
    for (phase, expected) in [
        (OrphanPhase::Announced, vec![("Ready", "False", 0), ("Reconciling", "True", 0)]),
        (OrphanPhase::Orphaned, vec![("Ready", "False", 0), ("Stalled", "True", 9)]),
        (OrphanPhase::Withdrawn, vec![("Ready", "True", 9)]),
        (OrphanPhase::Reclaiming, vec![("Ready", "False", 0), ("Reconciling", "True", 9)]),
        (OrphanPhase::Reclaimed, vec![("Ready", "True", 9)]),
    ] {
        let patch = status(&entry, phase, &"ß".repeat(2000), at(9));
        fits("status", &patch["status"]);
        assert_eq!(patch["metadata"], json!({"resourceVersion": "7"}));
        let told: Vec<Value> = patch["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| json!([one["type"], one["status"], one["lastTransitionTime"], one["reason"]]))
            .collect();
        let reason = &patch["status"]["phase"];
        let expected: Vec<Value> = expected
            .into_iter()
            .map(|(about, holds, second)| json!([about, holds, at(second).to_string(), reason]))
            .collect();
        assert_eq!(told, expected);
        for field in schema("status")["properties"].as_object().unwrap().keys() {
            assert!(patch["status"].get(field).is_some(), "{field} would stay as it was");
        }
    }
}

#[test]
fn what_was_withdrawn_stands_for_nothing_and_any_other_phase_counts() {
    let mut object = created(&orphan("d", "c"), "r");
    for (phase, counts) in [
        (json!(null), true),
        (json!("Announced"), true),
        (json!("Orphaned"), true),
        (json!("Reclaimed"), true),
        (json!("Later"), true),
        (json!("Withdrawn"), false),
    ] {
        object["status"] = json!({"phase": phase});
        assert_eq!(left(&object.to_string()).unwrap().is_some(), counts, "{phase}");
    }
    object["status"] = Value::Null;
    assert!(left(&object.to_string()).unwrap().is_some());
    object["spec"]["origin"] = json!({});
    assert!(left(&object.to_string()).is_err());
}
