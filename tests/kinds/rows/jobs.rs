//! Jobs: the one kind of them that it makes, and every other.

use serde_json::{Value, json};
use volwarden::domain::kopia::Identity;
use volwarden::domain::repository::Task;
use volwarden::io::repository::{self, Mould};

use super::Table;
use crate::Ask;

const JOBS: &str = "/apis/batch/v1/namespaces/backup/jobs";
const POLICY: &str = "volwarden-jobs";

/// What the daemon makes for a repository with a share and a claim.
fn job(name: &str) -> Value {
    let object = json!({
        "metadata": {"name": "repository", "namespace": "backup", "uid": "r-1"},
        "spec": {"secretRef": {"name": "kopia"}, "volumes": [
            {"mountPath": "share", "volumeSource": {"nfs": {"server": "nas", "path": "/srv"}}},
            {"mountPath": "claim", "volumeSource": {"persistentVolumeClaim": {"claimName": "kopia"}}},
        ]},
    });
    let entry = repository::read(&object.to_string()).unwrap();
    let us = Identity::on("c-1").unwrap();
    repository::manifest(Mould {
        custody: &entry.custody,
        spec: entry.spec.as_ref().unwrap(),
        uid: "r-1",
        task: Task::Full,
        name,
        image: "volwarden:0.1.0",
        us: &us,
        unique_id: Some("0123"),
        tried: None,
        approved: None,
        approved_before: None,
        own: &[],
    })
}

/// The same with one thing changed.
fn changed(change: impl FnOnce(&mut Value)) -> Ask {
    let mut job = job("new");
    change(&mut job);
    Ask::create(JOBS, job)
}

pub(super) fn jobs(table: &mut Table<'_>) {
    let server = table.server;
    table.allow("make the Job of a repository", Ask::create(JOBS, job("new")));
    let words = "but a KopiaRepository's";
    let owner = "/metadata/ownerReferences/0";
    table.refuse(
        "make a Job of nobody's",
        POLICY,
        words,
        changed(|job| job["metadata"]["ownerReferences"] = json!([])),
    );
    for (about, field, value) in [
        ("make a Job of another group's KopiaRepository", "apiVersion", "example.com/v1"),
        ("make a Job of a KopiaMaintenance's", "kind", "KopiaMaintenance"),
    ] {
        let ask = changed(|job| job.pointer_mut(owner).unwrap()[field] = json!(value));
        table.refuse(about, POLICY, words, ask);
    }
    table.refuse(
        "make a Job that begins at once",
        POLICY,
        "makes Jobs suspended",
        changed(|job| job["spec"]["suspend"] = json!(false)),
    );
    pods(table);

    server.must(&Ask::create(JOBS, job("waits")));
    let waits = format!("{JOBS}/waits");
    let (uid, version) = server.identity(&waits);
    let begin = json!({"metadata": {"uid": uid, "resourceVersion": version}, "spec": {"suspend": false}});
    table.allow("let it go", Ask::merge(&waits, begin));
    let words = "but that it may begin";
    for (about, patch) in [
        ("give a Job another label", json!({"metadata": {"labels": {"a": "b"}}})),
        ("give a Job another node", json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}})),
        (
            "give a Job another owner",
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": "volwarden.dev/v1alpha1", "kind": "KopiaRepository", "name": "other", "uid": "r-2"},
            ]}}),
        ),
    ] {
        table.refuse(about, POLICY, words, Ask::merge(&waits, patch));
    }
    table.allow("take one away that never ran", table.deletion(&waits));
    table.refuse("take one away in any version", POLICY, "in the version it looked at", {
        Ask::delete(&waits, json!({"preconditions": {"uid": uid}}))
    });
    table.refuse("take one away under any uid", POLICY, "only by its uid", {
        Ask::delete(&waits, json!({"preconditions": {"resourceVersion": version}}))
    });
    let mut runs = job("runs");
    runs["spec"]["suspend"] = json!(false);
    server.must(&Ask::create(JOBS, runs));
    table.refuse(
        "take one away that has begun",
        POLICY,
        "none away that has begun",
        table.deletion(&format!("{JOBS}/runs")),
    );
    let mut other = job("other");
    other["metadata"]["ownerReferences"] = json!([]);
    server.must(&Ask::create(JOBS, other));
    // That of another is the matter of the fence's part about what VolSync left.
    let words = "for one synchronisation";
    table.refuse("take another's away", "volwarden-leftovers", words, table.deletion(&format!("{JOBS}/other")));
    let begin = json!({"spec": {"suspend": false}});
    let words = "but a KopiaRepository's";
    table.refuse("let another's go", POLICY, words, Ask::merge(&format!("{JOBS}/other"), begin));
}

/// What its pod may not be.
fn pods(table: &mut Table<'_>) {
    let spec = |job: &mut Value, field: &str, value: Value| job["spec"]["template"]["spec"][field] = value;
    let words = "has no account";
    for (about, field, value) in [
        ("make a Job with a token", "automountServiceAccountToken", json!(true)),
        ("make a Job that does not refuse a token", "automountServiceAccountToken", Value::Null),
        ("make a Job under an account", "serviceAccountName", json!("admin")),
    ] {
        table.refuse(about, POLICY, words, changed(|job| spec(job, field, value)));
    }
    let words = "sees nothing of its node";
    for (about, field, value) in [
        ("make a Job on the node's network", "hostNetwork", json!(true)),
        ("make a Job among the node's processes", "hostPID", json!(true)),
        ("make a Job in the node's IPC", "hostIPC", json!(true)),
    ] {
        table.refuse(about, POLICY, words, changed(|job| spec(job, field, value)));
    }
    for (about, source) in [
        ("make a Job with a folder of the node's", json!({"hostPath": {"path": "/"}})),
        ("make a Job with a Secret as files", json!({"secret": {"secretName": "other"}})),
    ] {
        let ask = changed(|job| {
            let mut volume = source.clone();
            volume["name"] = json!("volume-0");
            job["spec"]["template"]["spec"]["volumes"][1] = volume;
        });
        table.refuse(about, POLICY, words, ask);
    }
    let words = "nothing but its own program";
    let container = |job: &mut Value, pointer: &str, value: Value| {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        job["spec"]["template"]["spec"]["containers"][0].pointer_mut(parent).unwrap()[field] = value;
    };
    for (about, pointer, value) in [
        ("make a Job with another program", "/command", json!(["sh"])),
        ("make a Job with other words", "/args", json!(["run"])),
        ("make a Job with a whole Secret", "/envFrom", json!([{"secretRef": {"name": "other"}}])),
        ("make a Job that may gain privileges", "/securityContext/allowPrivilegeEscalation", json!(true)),
        ("make a Job with capabilities", "/securityContext/capabilities/drop", json!([])),
        ("make a Job with one capability", "/securityContext/capabilities/add", json!(["SYS_ADMIN"])),
    ] {
        table.refuse(about, POLICY, words, changed(|job| container(job, pointer, value)));
    }
    table.refuse("make a Job with a container before", POLICY, words, {
        changed(|job| spec(job, "initContainers", json!([{"name": "i", "image": "i"}])))
    });
}
