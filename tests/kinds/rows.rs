//! Every kind of write that comes to mind, as Volwarden would send it, with the verdict it has to get.

use serde_json::{Value, json};

use crate::shapes::{
    BEING_CREATED, BEING_DELETED, BOUND, CONTENTS, Content, GROUP_HANDLE, PROVISIONER, SNAPSHOT_BOUND, emptied,
    orphaned, ready,
};
use crate::{Ask, Server};

const FOREIGN: &str = "example.com/hold";
const IMAGE: &str = "registry.k8s.io/sig-storage/csi-snapshotter:v8.7.0";

/// What is asked for, and which policy refuses it with which words; `None`: it passes. Where several policies refuse,
/// the server names any one of them, and none is named here.
pub(crate) struct Row {
    pub(crate) about: &'static str,
    pub(crate) ask: Ask,
    pub(crate) refused: Option<(&'static str, &'static str)>,
}

/// Rows are made against the objects of one server.
struct Table<'a> {
    server: &'a Server,
    rows: Vec<Row>,
}

impl Table<'_> {
    fn allow(&mut self, about: &'static str, ask: Ask) {
        self.rows.push(Row { about, ask, refused: None });
    }

    fn refuse(&mut self, about: &'static str, policy: &'static str, words: &'static str, ask: Ask) {
        self.rows.push(Row { about, ask, refused: Some((policy, words)) });
    }

    /// The removal of the finalizer at an index, as it is sent: with everything that was looked at as a precondition.
    fn removal(&self, path: &str, at: usize) -> Ask {
        let object = self.server.must(&Ask::get(path));
        let metadata = &object["metadata"];
        Ask::json_patch(
            path,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
                {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
                {"op": "test", "path": format!("/metadata/finalizers/{at}"), "value": metadata["finalizers"][at]},
                {"op": "remove", "path": format!("/metadata/finalizers/{at}")},
            ]),
        )
    }

    /// A deletion of exactly this object.
    fn deletion(&self, path: &str) -> Ask {
        let (uid, version) = self.server.identity(path);
        Ask::delete(path, json!({"preconditions": {"uid": uid, "resourceVersion": version}}))
    }
}

fn annotate(path: &str, key: &str, value: &str) -> Ask {
    Ask::merge(path, json!({"metadata": {"annotations": {key: value}}}))
}

fn nudge(path: &str) -> Ask {
    annotate(path, "volwarden.dev/nudge", "2026-11-25T10:00:00Z")
}

fn mark(path: &str) -> Ask {
    annotate(path, BEING_DELETED, "yes")
}

/// All rows, with the objects they are about.
pub(crate) fn table(server: &Server) -> Vec<Row> {
    let mut table = Table { server, rows: Vec::new() };
    marks(&mut table);
    removals(&mut table);
    deletions(&mut table);
    changes_of_contents(&mut table);
    snapshots(&mut table);
    reclaim(&mut table);
    pods(&mut table);
    leases(&mut table);
    records(&mut table);
    everything_else(&mut table);
    table.rows
}

/// R3: the being-deleted annotation.
fn marks(table: &mut Table<'_>) {
    let server = table.server;
    let content = |name: &str, content: Content| server.content(name, &content);
    table.allow("mark an orphaned content", mark(&content("mark-orphaned", orphaned())));
    let retained = Content { policy: "Retain", ..orphaned() };
    table.allow("mark one under Retain", mark(&content("mark-retained", retained.clone())));
    let retained = content("mark-retained-bare", Content { status: Value::Null, ..retained });
    table.allow("mark one under Retain that has no status", mark(&retained));

    let words = "being-deleted only to a content";
    let shapes = [
        ("mark a live content", "mark-alive", Content { deleting: false, ..orphaned() }),
        ("mark one without status", "mark-bare", Content { status: Value::Null, ..orphaned() }),
        ("mark one without handle", "mark-emptied", Content { annotations: json!({}), ..emptied() }),
        (
            "mark a pre-provisioned one",
            "mark-imported",
            Content { source: json!({"snapshotHandle": "snap-1"}), ..orphaned() },
        ),
        ("mark one that was never bound", "mark-unbound", Content { reference_uid: None, ..orphaned() }),
        (
            "mark one whose creation is unanswered",
            "mark-creating",
            Content { annotations: json!({BEING_CREATED: "yes"}), ..orphaned() },
        ),
        (
            "mark a group's member by annotation",
            "mark-grouped",
            Content { annotations: json!({GROUP_HANDLE: "g-1"}), ..orphaned() },
        ),
    ];
    for (about, name, shape) in shapes {
        table.refuse(about, "volwarden-contents", words, mark(&content(name, shape)));
    }
    let mut grouped = ready();
    grouped["volumeGroupSnapshotHandle"] = json!("g-1");
    let path = content("mark-grouped-status", Content { status: grouped, ..orphaned() });
    table.refuse("mark a group's member by status", "volwarden-contents", words, mark(&path));
    let path = content("mark-no", orphaned());
    table.refuse(
        "add a user's annotation with the same value",
        "volwarden-contents",
        words,
        annotate(&path, "team", "yes"),
    );
    table.refuse("mark with another value", "volwarden-contents", words, annotate(&path, BEING_DELETED, "no"));
    let words = "does not touch what is annotated";
    let path =
        content("mark-ignored", Content { annotations: json!({"volwarden.dev/ignore": "by storage"}), ..orphaned() });
    table.refuse("mark one to be ignored", "volwarden-contents", words, mark(&path));
}

/// R1, R2, R4: a content's finalizer.
fn removals(table: &mut Table<'_>) {
    let server = table.server;
    let content = |name: &str, content: Content| server.content(name, &content);
    let path = content("free-emptied", emptied());
    table.allow("free a content whose deletion the driver confirmed", table.removal(&path, 0));
    let path = content("free-beside-foreign", Content { finalizers: vec![FOREIGN, BOUND], ..emptied() });
    table.allow("free it of the one finalizer, beside somebody else's", table.removal(&path, 1));
    let words = "no finalizer of a content but";
    table.refuse("remove somebody else's finalizer", "volwarden-contents", words, table.removal(&path, 0));
    let both = Ask::json_patch(&path, json!([{"op": "remove", "path": "/metadata/finalizers"}]));
    table.refuse("remove the whole list", "volwarden-contents", words, both);

    let retained = Content { policy: "Retain", ..orphaned() };
    let path = content("free-retained", retained.clone());
    table.allow("free a content under Retain", table.removal(&path, 0));
    let path = content("free-consented", orphaned());
    let (uid, _) = server.identity(&path);
    server.must(&annotate(&path, "volwarden.dev/leave-behind", &uid));
    table.allow("free one whose snapshot somebody leaves behind", table.removal(&path, 0));

    let words = "only once the driver has confirmed";
    let shapes = [
        ("free one that has its handle still", "free-handle", orphaned()),
        (
            "free one that has its handle still, and is marked",
            "free-marked",
            Content { annotations: json!({BEING_DELETED: "yes"}), ..orphaned() },
        ),
        ("free one without status", "free-bare", Content { status: Value::Null, ..emptied() }),
        ("free an emptied one that is not marked", "free-unmarked", Content { annotations: json!({}), ..emptied() }),
        ("free one with a size left", "free-size", Content { status: json!({"restoreSize": 1}), ..emptied() }),
        ("free one with a time left", "free-time", Content { status: json!({"creationTime": 1}), ..emptied() }),
        (
            "free one that is said to be ready",
            "free-ready",
            Content { status: json!({"readyToUse": true}), ..emptied() },
        ),
        (
            "free one with only its handle left",
            "free-left",
            Content { status: json!({"snapshotHandle": "s"}), ..emptied() },
        ),
        (
            "free one whose creation is unanswered",
            "free-creating",
            Content { annotations: json!({BEING_DELETED: "yes", BEING_CREATED: "yes"}), ..emptied() },
        ),
        (
            "free a pre-provisioned one",
            "free-imported",
            Content { source: json!({"snapshotHandle": "snap-1"}), ..emptied() },
        ),
        (
            "free one under Retain whose creation is unanswered",
            "free-creating-retained",
            Content { annotations: json!({BEING_CREATED: "yes"}), ..retained.clone() },
        ),
        (
            "free a group's member",
            "free-grouped",
            Content { annotations: json!({BEING_DELETED: "yes", GROUP_HANDLE: "g-1"}), ..emptied() },
        ),
        (
            "free a group's member under Retain",
            "free-grouped-retained",
            Content { annotations: json!({GROUP_HANDLE: "g-1"}), ..retained.clone() },
        ),
        (
            "free one with a consent that came with a copied manifest",
            "free-copied",
            Content { annotations: json!({"volwarden.dev/leave-behind": uid}), ..orphaned() },
        ),
    ];
    for (about, name, shape) in shapes {
        let path = content(name, shape);
        table.refuse(about, "volwarden-contents", words, table.removal(&path, 0));
    }
    for (about, name, shape) in [
        ("free a live content", "free-alive", Content { deleting: false, ..emptied() }),
        ("free a live content under Retain", "free-alive-retained", Content { deleting: false, ..retained }),
    ] {
        let path = content(name, shape);
        let words = "only from an object that is being deleted";
        table.refuse(about, "volwarden-contents", words, table.removal(&path, 0));
    }
    let path = content("free-and-nudge", emptied());
    let twofold = json!({"metadata": {"finalizers": null, "annotations": {"volwarden.dev/nudge": "x"}}});
    table.refuse(
        "free and nudge in one write",
        "volwarden-contents",
        "changes nothing else with it",
        Ask::merge(&path, twofold),
    );
    let path = content(
        "free-ignored",
        Content { annotations: json!({BEING_DELETED: "yes", "volwarden.dev/ignore": ""}), ..emptied() },
    );
    table.refuse("free one to be ignored", "volwarden-contents", "does not touch", table.removal(&path, 0));
}

/// An abandoned content.
fn deletions(table: &mut Table<'_>) {
    let server = table.server;
    let alive = || Content { deleting: false, ..orphaned() };
    let abandoned = server.content("delete-abandoned", &alive());
    table.allow("delete an abandoned content", table.deletion(&abandoned));
    let words = "deletes a content only by its uid";
    table.refuse("delete one under any uid", "volwarden-contents", words, Ask::delete(&abandoned, Value::Null));
    for (about, name, shape) in [
        ("delete one again", "delete-again", orphaned()),
        ("delete one under Retain", "delete-retained", Content { policy: "Retain", ..alive() }),
        ("delete one that was never bound", "delete-unbound", Content { reference_uid: None, ..alive() }),
        ("delete a group's member", "delete-grouped", Content { annotations: json!({GROUP_HANDLE: "g-1"}), ..alive() }),
        (
            "delete one whose creation is unanswered",
            "delete-creating",
            Content { annotations: json!({BEING_CREATED: "yes"}), ..alive() },
        ),
    ] {
        let path = server.content(name, &shape);
        table.refuse(about, "volwarden-contents", words, table.deletion(&path));
    }
    let ignored = Content { annotations: json!({"volwarden.dev/ignore": ""}), ..alive() };
    let path = server.content("delete-ignored", &ignored);
    table.refuse("delete one to be ignored", "volwarden-contents", "what is annotated", table.deletion(&path));
}

fn changes_of_contents(table: &mut Table<'_>) {
    let server = table.server;
    let alive = server.content("change-alive", &Content { deleting: false, ..orphaned() });
    let deleting = server.content(
        "change-deleting",
        &Content { annotations: json!({BEING_DELETED: "yes", BEING_CREATED: "yes", "team": "a"}), ..orphaned() },
    );
    let nudged = server.content(
        "change-nudged",
        &Content { annotations: json!({"volwarden.dev/nudge": "2026-11-25T09:00:00Z"}), ..orphaned() },
    );
    table.allow("nudge a live content", nudge(&alive));
    table.allow("nudge one being deleted", nudge(&deleting));
    table.allow("nudge one again", nudge(&nudged));

    let refuse = |table: &mut Table<'_>, about, words, path: &str, body: Value| {
        table.refuse(about, "volwarden-contents", words, Ask::merge(path, body));
    };
    let annotation = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
    let words = "no annotation but volwarden.dev/nudge";
    refuse(table, "take the mark away", words, &deleting, annotation(BEING_DELETED, Value::Null));
    refuse(table, "take being-created away", words, &deleting, annotation(BEING_CREATED, Value::Null));
    refuse(table, "change a user's annotation", words, &deleting, annotation("team", json!("b")));
    refuse(table, "take the nudge away", words, &nudged, annotation("volwarden.dev/nudge", Value::Null));
    let words = "Volwarden adds volwarden.dev/nudge, and";
    refuse(table, "add being-created", words, &alive, annotation(BEING_CREATED, json!("yes")));
    refuse(table, "add a user's annotation", words, &alive, annotation("team", json!("b")));
    refuse(table, "consent in somebody's place", words, &nudged, annotation("volwarden.dev/leave-behind", json!("u")));
    refuse(table, "ask itself to ignore one", words, &alive, annotation("volwarden.dev/ignore", json!("")));
    let words = "changes no spec, no label and no owner";
    refuse(table, "change the policy", words, &alive, json!({"spec": {"deletionPolicy": "Retain"}}));
    refuse(table, "change a label", words, &alive, json!({"metadata": {"labels": {"team": "b"}}}));
    refuse(table, "remove a label", words, &alive, json!({"metadata": {"labels": {"team": null}}}));
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "o-1"}]);
    refuse(table, "give it an owner", words, &alive, json!({"metadata": {"ownerReferences": owner}}));
    let words = "adds no finalizer";
    refuse(table, "add a finalizer", words, &alive, json!({"metadata": {"finalizers": [BOUND, "volwarden.dev/mine"]}}));

    table.refuse("delete all contents", "", "", Ask::delete(CONTENTS, Value::Null));
    let status = Ask::merge(&format!("{deleting}/status"), json!({"status": {"snapshotHandle": null}}));
    table.refuse("empty a status in the driver's place", "volwarden-scope", "no business", status);
}

/// The nudge of a VolumeSnapshot, and R5.
fn snapshots(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-snapshots";
    let alive = server.snapshot("default", "alive", &[SNAPSHOT_BOUND, PROVISIONER], false);
    let orphan = server.snapshot("default", "orphan", &[PROVISIONER], true);
    let waiting = server.snapshot("default", "waiting", &[SNAPSHOT_BOUND, PROVISIONER], true);
    let ignored = server.snapshot("ignored", "orphan", &[PROVISIONER], true);
    table.allow("nudge a live VolumeSnapshot", nudge(&alive));
    table.allow("nudge one being deleted", nudge(&waiting));
    table.allow("free one of csi-provisioner's finalizer", table.removal(&orphan, 0));
    table.allow("free one of it beside another", table.removal(&waiting, 1));

    table.refuse("free one of snapshot-controller's", policy, "but csi-provisioner's", table.removal(&waiting, 0));
    let all = Ask::json_patch(&waiting, json!([{"op": "remove", "path": "/metadata/finalizers"}]));
    table.refuse("remove the whole list", policy, "but csi-provisioner's", all);
    let twofold = json!({"metadata": {"finalizers": null, "annotations": {"volwarden.dev/nudge": "x"}}});
    table.refuse("free and nudge in one write", policy, "changes nothing else", Ask::merge(&orphan, twofold));
    let more = json!({"metadata": {"finalizers": [SNAPSHOT_BOUND, PROVISIONER, "volwarden.dev/mine"]}});
    table.refuse("add a finalizer", policy, "adds no finalizer", Ask::merge(&alive, more));
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "o-1"}]);
    let owned = json!({"metadata": {"ownerReferences": owner}});
    table.refuse("give it an owner", policy, "no spec, no label", Ask::merge(&alive, owned));
    table.refuse("free a live one", policy, "being deleted", table.removal(&alive, 1));
    table.refuse("free one in an ignored namespace", policy, "in a namespace annotated", table.removal(&ignored, 0));
    table.refuse("nudge one in an ignored namespace", policy, "in a namespace annotated", nudge(&ignored));
    table.refuse("annotate one", policy, "adds no annotation", annotate(&alive, "volwarden.dev/ignore", ""));
    table.refuse("mark one", policy, "adds no annotation", mark(&waiting));
    let label = json!({"metadata": {"labels": {"volwarden.dev/reclaims": "x"}}});
    let waiting_long = server.snapshot("default", "waiting-long", &[SNAPSHOT_BOUND], true);
    server.must(&annotate(&waiting_long, "team", "a"));
    server.must(&annotate(&waiting_long, "volwarden.dev/nudge", "2026-11-25T09:00:00Z"));
    table.allow("nudge one again, beside a user's annotation", nudge(&waiting_long));
    let words = "no annotation but volwarden.dev/nudge";
    table.refuse("change a user's annotation", policy, words, annotate(&waiting_long, "team", "b"));
    let without = json!({"metadata": {"annotations": {"team": null}}});
    table.refuse("take a user's annotation away", policy, words, Ask::merge(&waiting_long, without));
    let without = json!({"metadata": {"annotations": {"volwarden.dev/nudge": null}}});
    table.refuse("take the nudge away", policy, words, Ask::merge(&waiting_long, without));
    let left = server.snapshot("default", "left-alone", &[], false);
    server.must(&annotate(&left, "volwarden.dev/ignore", ""));
    table.refuse("nudge one to be ignored", policy, "what is annotated", nudge(&left));
    table.refuse("label one as its own", policy, "no spec, no label", Ask::merge(&alive, label));
    let spec = json!({"spec": {"volumeSnapshotClassName": "slow"}});
    table.refuse("change one's spec", policy, "no spec, no label", Ask::merge(&alive, spec));
    table.refuse("delete a user's", policy, "but those it made", table.deletion(&alive));
    let (collection, _) = alive.rsplit_once('/').unwrap();
    table.refuse("delete all", "", "", Ask::delete(collection, Value::Null));
    let status = Ask::merge(&format!("{alive}/status"), json!({"status": {"readyToUse": true}}));
    table.refuse("write one's status", "volwarden-scope", "no business", status);
}

/// An orphan imported again, so that its driver deletes it.
fn reclaim(table: &mut Table<'_>) {
    let server = table.server;
    let snapshots =
        |namespace: &str| format!("/apis/snapshot.storage.k8s.io/v1/namespaces/{namespace}/volumesnapshots");
    let content = |edit: &dyn Fn(&mut Value)| {
        let mut object = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
            "metadata": {
                "name": "reclaim", "labels": {"volwarden.dev/reclaims": "orphan-1"},
                "annotations": {
                    "snapshot.storage.kubernetes.io/deletion-secret-name": "s",
                    "snapshot.storage.kubernetes.io/deletion-secret-namespace": "rook-ceph",
                },
            },
            "spec": {
                "driver": "csi.example.com", "deletionPolicy": "Delete", "source": {"snapshotHandle": "snap-1"},
                "volumeSnapshotRef": {"namespace": "volwarden-system", "name": "reclaim"},
            },
        });
        edit(&mut object);
        Ask::create(CONTENTS, object)
    };
    let snapshot = |namespace: &str, edit: &dyn Fn(&mut Value)| {
        let mut object = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": "reclaim", "labels": {"volwarden.dev/reclaims": "orphan-1"}},
            "spec": {"source": {"volumeSnapshotContentName": "reclaim"}},
        });
        edit(&mut object);
        Ask::create(&snapshots(namespace), object)
    };
    table.allow("import an orphan's content", content(&|_| ()));
    table.allow("import its VolumeSnapshot", snapshot("volwarden-system", &|_| ()).renamed("reclaim-2"));

    let no_label = |object: &mut Value| object["metadata"]["labels"] = json!({});
    let contents: [(_, &dyn Fn(&mut Value)); 6] = [
        ("create a content without our label", &no_label),
        ("create a dynamic content", &|object| object["spec"]["source"] = json!({"volumeHandle": "vol-1"})),
        ("create one under Retain", &|object| object["spec"]["deletionPolicy"] = json!("Retain")),
        ("create one for a user's VolumeSnapshot", &|object| {
            object["spec"]["volumeSnapshotRef"]["namespace"] = json!("default")
        }),
        ("create one with a finalizer", &|object| object["metadata"]["finalizers"] = json!([BOUND])),
        ("create one already marked", &|object| object["metadata"]["annotations"][BEING_DELETED] = json!("yes")),
    ];
    for (about, edit) in contents {
        table.refuse(about, "volwarden-contents", "creates a content only to reclaim", content(edit));
    }
    let words = "creates a VolumeSnapshot only to reclaim";
    table.refuse("create one elsewhere", "volwarden-snapshots", words, snapshot("default", &|_| ()));
    table.refuse("create one without label", "volwarden-snapshots", words, snapshot("volwarden-system", &no_label));
    let of_claim = snapshot("volwarden-system", &|object| {
        object["spec"]["source"] = json!({"persistentVolumeClaimName": "data"});
    });
    table.refuse("take a snapshot", "volwarden-snapshots", words, of_claim);
    let held = snapshot("volwarden-system", &|object| object["metadata"]["finalizers"] = json!([SNAPSHOT_BOUND]));
    table.refuse("create one with a finalizer", "volwarden-snapshots", words, held);

    server.must(&snapshot("volwarden-system", &|_| ()));
    let ours = format!("{}/reclaim", snapshots("volwarden-system"));
    table.allow("delete the imported VolumeSnapshot", table.deletion(&ours));
    let another = server.snapshot("volwarden-system", "users", &[], false);
    let words = "but those it made";
    table.refuse("delete another beside it", "volwarden-snapshots", words, table.deletion(&another));
    let label = json!({"metadata": {"labels": {"volwarden.dev/reclaims": "x"}}});
    let labelled = server.snapshot("volwarden-system", "labelled", &[], false);
    server.must(&Ask::merge(&labelled, label));
    table.refuse("delete one that was taken of a claim", "volwarden-snapshots", words, table.deletion(&labelled));
    server.must(&snapshot("volwarden-system", &no_label).renamed("imported"));
    let imported = format!("{}/imported", snapshots("volwarden-system"));
    table.refuse("delete what somebody else imported", "volwarden-snapshots", words, table.deletion(&imported));
    server.must(&snapshot("default", &|_| ()));
    let copied = format!("{}/reclaim", snapshots("default"));
    table.refuse("delete a copy elsewhere", "volwarden-snapshots", words, table.deletion(&copied));
}

fn pods(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-pods";
    let driver = json!({"name": "csi-rbdplugin", "image": "quay.io/cephcsi/cephcsi:v3.15.0"});
    let named = json!([driver, {"name": "csi-snapshotter", "image": "mirror.example.com:5000/snap:v8"}]);
    let imaged = |image: &str| json!([driver, {"name": "sidecar", "image": image}]);
    let set = Some(("apps/v1", "ReplicaSet"));
    let by_name = server.pod("rook-ceph", "by-name", set, &named);
    table.allow("restart a pod with a container csi-snapshotter", table.deletion(&by_name));
    let by_image = server.pod("rook-ceph", "by-image", Some(("apps/v1", "StatefulSet")), &imaged(IMAGE));
    table.allow("restart one with its image", table.deletion(&by_image));
    let digest =
        "localhost:5000/csi-snapshotter:v8@sha256:0123456789012345678901234567890123456789012345678901234567890123";
    let by_digest = server.pod("rook-ceph", "by-digest", set, &imaged(digest));
    table.allow("restart one with its image by digest", table.deletion(&by_digest));

    for (about, name, edit) in [
        ("restart one that nobody has placed yet", "unplaced", json!({"spec": {"nodeName": null}})),
        ("restart one that asks for no grace", "graceless", json!({"spec": {"terminationGracePeriodSeconds": 0}})),
        ("restart one that has ended", "ended", json!({})),
    ] {
        let path = server.edited_pod("rook-ceph", name, set, &named, &edit);
        if name == "ended" {
            server.must(&Ask::merge(&format!("{path}/status"), json!({"status": {"phase": "Failed"}})));
        }
        table.allow(about, table.deletion(&path));
    }

    let words = "makes anew";
    let edit = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "owner", "uid": "o-1", "controller": false},
    ]}});
    let path = server.edited_pod("rook-ceph", "uncontrolled", None, &named, &edit);
    table.refuse("restart a pod that its ReplicaSet does not control", policy, words, table.deletion(&path));
    for (about, name, owner) in [
        ("restart a node plugin's", "daemon", Some(("apps/v1", "DaemonSet"))),
        ("delete a pod nobody makes anew", "bare", None),
        ("delete a Job's pod", "job", Some(("batch/v1", "Job"))),
        ("delete a pod of somebody's own ReplicaSet", "custom", Some(("example.com/v1", "ReplicaSet"))),
    ] {
        let path = server.pod("rook-ceph", name, owner, &named);
        table.refuse(about, policy, words, table.deletion(&path));
    }
    let words = "only pods with a csi-snapshotter";
    let provisioner = server.pod("rook-ceph", "provisioner", set, &imaged("example.com/csi-provisioner:v6"));
    table.refuse("restart a pod without one", policy, words, table.deletion(&provisioner));
    let alike = server.pod("rook-ceph", "alike", set, &imaged("example.com/not-csi-snapshotter:v6"));
    table.refuse("restart a pod whose image only ends so", policy, words, table.deletion(&alike));
    let folder = server.pod("rook-ceph", "folder", set, &imaged("example.com/csi-snapshotter/other:v6"));
    table.refuse("restart a pod whose image lies below it", policy, words, table.deletion(&folder));

    let words = "only by its uid";
    table.refuse("restart without a precondition", policy, words, Ask::delete(&by_name, Value::Null));
    let (uid, _) = server.identity(&by_name);
    let forced = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    table.refuse("force a pod away", policy, "does not force", Ask::delete(&by_name, forced));
    let collection = Ask::delete("/api/v1/namespaces/rook-ceph/pods?labelSelector=app%3Dby-name", Value::Null);
    table.refuse("delete all pods of an app", "", "", collection);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "by-name"}});
    let evict = Ask::create(&format!("{by_name}/eviction"), eviction);
    table.refuse("evict a pod", "volwarden-scope", "no business", evict);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    table.refuse("change a pod", "volwarden-scope", "no business", Ask::merge(&by_name, label));
}

fn leases(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-leases";
    let stale = server.lease("rook-ceph", "external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com");
    table.allow("release a csi-snapshotter's lease", table.deletion(&stale));
    let (uid, version) = server.identity(&stale);
    let options = json!({"preconditions": {"uid": uid}});
    table.refuse("release it in any version", policy, "in the version it looked at", Ask::delete(&stale, options));
    let options = json!({"preconditions": {"resourceVersion": version}});
    table.refuse("release it under any uid", policy, "only by its uid", Ask::delete(&stale, options));
    let holder = json!({"spec": {"holderIdentity": ""}});
    table.refuse("write a csi-snapshotter's lease", policy, "but its own", Ask::merge(&stale, holder.clone()));
    for (about, namespace, name) in [
        ("release csi-provisioner's", "rook-ceph", "rook-ceph-rbd-csi-ceph-com"),
        ("release snapshot-controller's", "kube-system", "snapshot-controller-leader"),
        ("release csi-addons'", "rook-ceph", "rook-ceph-rbd-csi-ceph-com-csi-addons"),
        ("release csi-attacher's", "rook-ceph", "external-attacher-leader-rook-ceph-rbd-csi-ceph-com"),
    ] {
        let path = server.lease(namespace, name);
        table.refuse(about, policy, "but a csi-snapshotter's", table.deletion(&path));
    }
    let create = |namespace: &str, name: &str| {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        Ask::create(&path, json!({"metadata": {"name": name}, "spec": {"holderIdentity": "volwarden-0"}}))
    };
    table.refuse("make another lease", policy, "but its own", create("volwarden-system", "another"));
    table.refuse("make its lease elsewhere", policy, "but its own", create("default", "volwarden"));
    let own = server.lease("volwarden-system", "volwarden");
    table.allow("renew its own lease", Ask::merge(&own, holder.clone()));
    table.refuse("delete its own lease", policy, "but a csi-snapshotter's", table.deletion(&own));
    server.must(&create("volwarden-system", "standby"));
    table.refuse(
        "write another's lease beside it",
        policy,
        "but its own",
        Ask::merge("/apis/coordination.k8s.io/v1/namespaces/volwarden-system/leases/standby", holder),
    );
}

/// Its own kinds, and Events.
fn records(table: &mut Table<'_>) {
    let server = table.server;
    let group = "/apis/volwarden.dev/v1alpha1";
    let entry = |name: &str, annotations: Value| {
        let spec = json!({
            "class": "OrphanedContent", "since": "2026-11-25T10:00:00Z",
            "subject": {"kind": "VolumeSnapshotContent", "name": "c", "uid": "u-1"},
        });
        let metadata = json!({"name": name, "annotations": annotations});
        let object =
            json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "Remediation", "metadata": metadata, "spec": spec});
        Ask::create(&format!("{group}/remediations"), object)
    };
    table.allow("open an entry", entry("new", json!({})));
    table.refuse(
        "open an entry that is approved already",
        "volwarden-ledger",
        "does not approve its own plans",
        entry("new", json!({"volwarden.dev/approved": "0123456789abcdef"})),
    );
    for (name, phase) in [("fresh", None), ("acting", Some("Acting")), ("held", Some("Held")), ("done", Some("Done"))] {
        server.must(&entry(name, json!({})));
        if let Some(phase) = phase {
            let path = format!("{group}/remediations/{name}/status");
            server.must(&Ask::merge(&path, json!({"status": {"phase": phase}})));
        }
    }
    let path = |name: &str| format!("{group}/remediations/{name}");
    table.allow(
        "write an entry's status",
        Ask::merge(&format!("{}/status", path("fresh")), json!({"status": {"phase": "Held"}})),
    );
    table.allow("take an old entry away", table.deletion(&path("done")));
    let words = "before it is over";
    for (about, name) in [
        ("take an entry away that is being acted on", "acting"),
        ("take an entry away that is held", "held"),
        ("take an entry away that has no status", "fresh"),
    ] {
        table.refuse(about, "volwarden-ledger", words, table.deletion(&path(name)));
    }
    let approve = annotate(&path("held"), "volwarden.dev/approved", "0123456789abcdef");
    table.refuse("approve its own plan", "volwarden-scope", "no business", approve);
    let all = Ask::delete(&format!("{group}/remediations"), Value::Null);
    table.refuse("empty the ledger", "", "", all);
    let old = Ask::delete(&format!("{group}/remediations?fieldSelector=status.phase%3DDone"), Value::Null);
    table.refuse("take all old entries away at once", "volwarden-scope", "never a collection", old);

    let orphan = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "OrphanedSnapshot", "metadata": {"name": "orphan-1"},
        "spec": {
            "driver": "csi.example.com", "snapshotHandle": "snap-1", "deletionPolicy": "Delete", "reason": "gone",
            "origin": {"content": {"name": "c", "uid": "u-1"}},
        },
    });
    let orphans = format!("{group}/orphanedsnapshots");
    table.allow("record an orphan", Ask::create(&orphans, orphan.clone()).renamed("orphan-2"));
    server.must(&Ask::create(&orphans, orphan));
    let orphan = format!("{orphans}/orphan-1");
    let status = json!({"status": {"phase": "Orphaned"}});
    table.allow("write an orphan's status", Ask::merge(&format!("{orphan}/status"), status));
    table.refuse("take an orphan's record away", "volwarden-scope", "no business", table.deletion(&orphan));

    let policies = format!("{group}/remediationpolicies");
    let policy = json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy", "metadata": {"name": "p"}, "spec": {}});
    server.must(&Ask::create(&policies, policy.clone()));
    let status = json!({"status": {"observedGeneration": 1}});
    table.allow("write a policy's status", Ask::merge(&format!("{policies}/p/status"), status));
    let raise = Ask::merge(&format!("{policies}/p"), json!({"spec": {"mode": "Approve"}}));
    table.refuse("give itself another mode", "volwarden-scope", "no business", raise);
    table.refuse("make a policy", "volwarden-scope", "no business", Ask::create(&policies, policy).renamed("p2"));

    let event = json!({
        "metadata": {"name": "e"}, "eventTime": "2026-11-25T10:00:00.000000Z", "action": "Repair", "reason": "Repaired",
        "type": "Normal", "reportingController": "volwarden.dev/volwarden", "reportingInstance": "volwarden-0",
        "regarding": {"kind": "VolumeSnapshotContent", "name": "c"}, "note": "x",
    });
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    table.allow("publish an Event", Ask::create(events, event.clone()));
    let mut unnamed = event;
    unnamed["metadata"] = json!({"generateName": "e-"});
    table.allow("publish an Event under a name of the server's", Ask::create(events, unnamed));
}

/// A few of all the things a service account with every right could do.
fn everything_else(table: &mut Table<'_>) {
    let mut refuse = |about, ask| table.refuse(about, "volwarden-scope", "no business", ask);
    let named = |path: &str| Ask::create(path, json!({"metadata": {"name": "x"}}));
    refuse("make a secret", named("/api/v1/namespaces/default/secrets"));
    refuse("make a namespace", named("/api/v1/namespaces"));
    refuse("delete a namespace", Ask::delete("/api/v1/namespaces/rook-ceph", Value::Null));
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/everything-else";
    let binding = json!({
        "metadata": {"name": "everything-else"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    });
    refuse("give rights away", Ask::create(role.trim_end_matches("/everything-else"), binding));
    let scale = json!({"spec": {"replicas": 0}});
    let deployment = "/apis/apps/v1/namespaces/volwarden-system/deployments/volwarden";
    refuse("scale a Deployment", Ask::merge(&format!("{deployment}/scale"), scale));
    refuse("change a Deployment", Ask::merge(deployment, json!({"metadata": {"labels": {"a": "b"}}})));
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/remediations.volwarden.dev";
    refuse("take a definition away", Ask::delete(crd, Value::Null));
    refuse("make an Event the old way", named("/api/v1/namespaces/default/events"));
}
