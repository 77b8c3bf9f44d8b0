//! VolumeSnapshotContents: R1 to R4, and what may happen to none.

use serde_json::{Value, json};

use super::{Table, annotate, mark, nudge};
use crate::Ask;
use crate::shapes::{BEING_CREATED, BEING_DELETED, BOUND, CONTENTS, Content, GROUP_HANDLE, emptied, orphaned, ready};

const FOREIGN: &str = "example.com/hold";

/// R3: the being-deleted annotation.
pub(super) fn marks(table: &mut Table<'_>) {
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
pub(super) fn removals(table: &mut Table<'_>) {
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

/// Shapes in which removing it would lose the backend snapshot, or in which nobody knows.
pub(super) fn withheld_removals(table: &mut Table<'_>) {
    let server = table.server;
    let content = |name: &str, content: Content| server.content(name, &content);
    let retained = Content { policy: "Retain", ..orphaned() };
    let uid = "6d1b1b1c-0000-4000-8000-00000000000f";
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
}

/// An abandoned content.
pub(super) fn deletions(table: &mut Table<'_>) {
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

pub(super) fn changes(table: &mut Table<'_>) {
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

/// A content that policy Retain kept: its policy is switched, and it is deleted under Delete.
pub(super) fn reclaimed(table: &mut Table<'_>) {
    let server = table.server;
    let kept =
        || Content { deleting: false, policy: "Retain", annotations: json!({BEING_DELETED: "yes"}), ..orphaned() };
    let switch = json!({"spec": {"deletionPolicy": "Delete"}});
    let alive = server.content("reclaim-kept", &kept());
    table.allow("switch a retained content to Delete", Ask::merge(&alive, switch.clone()));
    let switched = server.content("reclaim-switched", &Content { policy: "Delete", ..kept() });
    table.allow("delete it then", table.deletion(&switched));

    let words = "changes no spec, no label and no owner";
    let refuse = |table: &mut Table<'_>, about, path: &str, body: Value| {
        table.refuse(about, "volwarden-contents", words, Ask::merge(path, body));
    };
    refuse(table, "switch one back to Retain", &switched, json!({"spec": {"deletionPolicy": "Retain"}}));
    for (about, field, value) in [
        ("switch one to another class with it", "volumeSnapshotClassName", json!("slow")),
        ("switch one to another driver with it", "driver", json!("csi.other.com")),
        ("switch one to another mode of its volume with it", "sourceVolumeMode", json!("Block")),
        (
            "switch one for another VolumeSnapshot with it",
            "volumeSnapshotRef",
            json!({"namespace": "default", "name": "another"}),
        ),
    ] {
        let mut body = switch.clone();
        body["spec"][field] = value;
        refuse(table, about, &alive, body);
    }
    let class = json!({"spec": {"volumeSnapshotClassName": "slow"}});
    refuse(table, "change its class alone", &alive, class);
    let mut labelled = switch.clone();
    labelled["metadata"]["labels"] = json!({"team": "b"});
    refuse(table, "label it with it", &alive, labelled);
    for (about, name, shape) in [
        ("switch one that is being deleted", "reclaim-deleting", Content { deleting: true, ..kept() }),
        ("switch one that is not marked", "reclaim-unmarked", Content { annotations: json!({}), ..kept() }),
        (
            "switch one whose creation is unanswered",
            "reclaim-creating",
            Content { annotations: json!({BEING_DELETED: "yes", BEING_CREATED: "yes"}), ..kept() },
        ),
        (
            "switch a group's member",
            "reclaim-grouped",
            Content { annotations: json!({BEING_DELETED: "yes", GROUP_HANDLE: "g-1"}), ..kept() },
        ),
        (
            "switch an imported one",
            "reclaim-imported",
            Content { source: json!({"snapshotHandle": "snap-1"}), ..kept() },
        ),
        ("switch one that was never bound", "reclaim-unbound", Content { reference_uid: None, ..kept() }),
        ("switch one without a handle", "reclaim-bare", Content { status: Value::Null, ..kept() }),
        ("switch one without its finalizer", "reclaim-free", Content { finalizers: vec![], ..kept() }),
    ] {
        let path = server.content(name, &shape);
        refuse(table, about, &path, switch.clone());
    }
    let ignored = Content { annotations: json!({BEING_DELETED: "yes", "volwarden.dev/ignore": ""}), ..kept() };
    let path = server.content("reclaim-ignored", &ignored);
    table.refuse("switch one to be ignored", "volwarden-contents", "what is annotated", Ask::merge(&path, switch));
}
