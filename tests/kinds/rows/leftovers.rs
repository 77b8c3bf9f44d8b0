//! What VolSync left: claims and Jobs, and no others.

use serde_json::{Value, json};

use super::Table;
use crate::Ask;

/// VolSync's own labels, with these fields besides.
fn metadata(edit: &dyn Fn(&mut Value)) -> Value {
    let mut metadata = json!({
        "labels": {"app.kubernetes.io/created-by": "volsync", "volsync.backube/cleanup": "rs-1"}, "annotations": {},
    });
    edit(&mut metadata);
    metadata
}

pub(super) fn leftovers(table: &mut Table<'_>) {
    let server = table.server;
    let policy = "volwarden-leftovers";
    let plain = metadata(&|_| ());
    let source = server.claim("default", "volsync-data-src", &plain);
    let destination = server.claim("default", "volsync-data-dest", &plain);
    table.allow("delete VolSync's temporary claim", table.deletion(&source));
    table.allow("delete one of a destination", table.deletion(&destination));
    let owner = |kind: &str, controller: bool| json!([{"apiVersion": "volsync.backube/v1alpha1", "kind": kind, "name": "o", "uid": "o-1", "controller": controller}]);
    let volsyncs = metadata(&|one| one["ownerReferences"] = owner("ReplicationSource", true));
    let path = server.claim("default", "volsync-owned-src", &volsyncs);
    table.allow("delete one that names its owner", table.deletion(&path));
    let noted = metadata(&|one| one["ownerReferences"] = owner("ConfigMap", false));
    let path = server.claim("default", "volsync-noted-src", &noted);
    table.allow("delete one with an owner that is no controller", table.deletion(&path));
    let words = "for one synchronisation";
    for (about, name, edit) in [
        (
            "delete a user's claim",
            "volsync-user-src",
            &(|one: &mut Value| one["labels"] = json!({})) as &dyn Fn(&mut Value),
        ),
        ("delete a claim that VolSync keeps", "volsync-kept-src", &|one| {
            one["labels"]["volsync.backube/cleanup"] = json!("");
        }),
        ("delete a claim that somebody else labelled", "volsync-else-src", &|one| {
            one["labels"]["app.kubernetes.io/created-by"] = json!("somebody");
        }),
        ("delete a claim of another name", "data", &|_| ()),
        ("delete a cache", "volsync-src-data-cache", &|_| ()),
    ] {
        let path = server.claim("default", name, &metadata(edit));
        table.refuse(about, policy, words, table.deletion(&path));
    }
    let words = "marked to be kept";
    for (at, key) in ["volwarden.dev/ignore", "volwarden.dev/keep", "volsync.backube/do-not-delete"].iter().enumerate()
    {
        for place in ["labels", "annotations"] {
            let marked = metadata(&|one| one[place][*key] = json!("x"));
            let path = server.claim("default", &format!("volsync-{place}-{at}-src"), &marked);
            table.refuse("delete a claim that is marked", policy, words, table.deletion(&path));
        }
    }
    let ignored = server.claim("ignored", "volsync-data-src", &plain);
    table.refuse("delete one in an ignored namespace", policy, "in a namespace annotated", table.deletion(&ignored));
    let theirs = metadata(&|one| one["ownerReferences"] = owner("StatefulSet", true));
    let path = server.claim("default", "volsync-theirs-src", &theirs);
    table.refuse("delete one of another controller", policy, "of a controller", table.deletion(&path));
    let repository =
        json!([{"apiVersion": "volwarden.dev/v1alpha1", "kind": "KopiaRepository", "name": "o", "uid": "o-1"}]);
    let ours = metadata(&|one| {
        one["labels"] = json!({});
        one["ownerReferences"] = repository.clone();
    });
    let path = server.claim("default", "data-of-a-repository", &ours);
    table.refuse("delete a claim of a repository", policy, "for one synchronisation", table.deletion(&path));
    let (uid, version) = server.identity(&source);
    for (about, preconditions) in [
        ("delete whatever claim is there now", json!({})),
        ("delete whatever claim has this uid", json!({"uid": uid})),
        ("delete whatever claim has this version", json!({"resourceVersion": version})),
    ] {
        table.refuse(about, policy, "the very object", Ask::delete(&source, json!({"preconditions": preconditions})));
    }
    let make = Ask::merge(&source, json!({"metadata": {"labels": {"a": "b"}}}));
    table.refuse("label a claim", "volwarden-scope", "no business", make);
    jobs(table);
}

fn jobs(table: &mut Table<'_>) {
    let (server, policy) = (table.server, "volwarden-leftovers");
    let plain = metadata(&|_| ());
    let finished = json!({"conditions": [{"type": "Failed", "status": "True"}, {"type": "FailureTarget", "status": "True"}],
        "startTime": "2026-11-25T09:00:00Z"});
    let job = server.job("default", "volsync-src-data", &plain, &finished);
    table.allow("delete VolSync's failed Job", table.deletion(&job));

    let words = "for one synchronisation";
    let job = server.job("default", "volsync-data-src", &plain, &finished);
    table.refuse("delete a Job of a claim's name", policy, words, table.deletion(&job));
    for (name, api, kind) in [
        ("volsync-src-near", "volwarden.dev/v1alpha1", "SnapshotRetention"),
        ("volsync-src-like", "a.io/v1", "KopiaRepository"),
    ] {
        let of_it = |one: &mut Value| {
            one["ownerReferences"] = json!([{"apiVersion": api, "kind": kind, "name": "o", "uid": "o-1"}]);
        };
        let job = server.job("default", name, &metadata(&of_it), &finished);
        table.allow("delete VolSync's Job with an owner much like a KopiaRepository", table.deletion(&job));
        let users = metadata(&|one| {
            of_it(one);
            one["labels"] = json!({});
        });
        let job = server.job("default", &format!("user-{name}"), &users, &finished);
        table.refuse("delete a Job with an owner much like a KopiaRepository", policy, words, table.deletion(&job));
    }
    let words = "not finished";
    let running = server.job("default", "volsync-src-running", &plain, &json!({"active": 1}));
    table.refuse("delete a Job that runs", policy, words, table.deletion(&running));
    let idle = server.job("default", "volsync-src-idle", &plain, &Value::Null);
    table.refuse("delete a Job that has not begun", policy, words, table.deletion(&idle));
    let suspended =
        json!({"conditions": [{"type": "Suspended", "status": "True"}, {"type": "Failed", "status": "False"}]});
    let suspended = server.job("default", "volsync-src-suspended", &plain, &suspended);
    table.refuse("delete a Job that is suspended", policy, words, table.deletion(&suspended));
}
