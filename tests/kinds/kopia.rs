//! KopiaRepositories on a real API server: what may be written, what is kept of it, and what a person sees; and their
//! Jobs, as the server completes them.

use serde_json::{Value, json};
use volwarden::api::check;
use volwarden::api::kopia::KopiaRepositoryStatus;
use volwarden::io::repository;

use crate::Ask;
use crate::definitions::{GROUP, defined};

/// A unique ID.
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const REPOSITORIES: &str = "/apis/volwarden.dev/v1alpha1/namespaces/default/kopiarepositories";

fn kopia(spec: &Value) -> Ask {
    let object = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "KopiaRepository", "metadata": {"name": "repository"}, "spec": spec,
    });
    Ask::create(&format!("{REPOSITORIES}?fieldValidation=Strict"), object)
}

/// The least that is one, with this besides.
fn with(more: &Value) -> Value {
    let mut spec = json!({"secretRef": {"name": "kopia"}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn six(latest: u32) -> Value {
    json!({"latest": latest, "hourly": 48, "daily": 7, "weekly": 4, "monthly": 24, "annual": 3})
}

/// Five counts of six, each time another one is missing.
fn fives() -> Vec<Value> {
    let names = six(0).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let five = |name: &String| {
        let mut five = six(0);
        five.as_object_mut().unwrap().remove(name);
        with(&json!({"retention": {"global": five}}))
    };
    names.iter().map(five).collect()
}

fn full() -> Value {
    let schedule = |cron: &str| json!({"cron": cron, "timeZone": "Europe/Berlin", "jitter": "10m"});
    with(&json!({
        "suspend": true, "path": "/mnt/repository", "uniqueID": ID, "takeover": "WhenOwnerGone",
        "volumes": [
            {"mountPath": "repository", "volumeSource": {"nfs": {"server": "nas.example.com", "path": "/srv/kopia"}}},
            {"mountPath": "other", "volumeSource": {"persistentVolumeClaim": {"claimName": "kopia"}}},
        ],
        "podSecurityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 568},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1.5Gi"}},
        "cache": {"sizeLimit": "2Gi"},
        "expire": {
            "mode": "Enforce", "sources": ["app@ns:/data", "db@ns:/data"], "maxDeletionsPerRun": 7,
            "acceptShrunk": ["db@ns:/data"],
        },
        "epochs": {
            "refreshFrequency": "20m", "minDuration": "6h", "cleanupSafetyMargin": "4h", "advanceOnCount": 20,
            "advanceOnSizeMB": 10, "deleteParallelism": 4, "checkpointFrequency": 7,
        },
        "retention": {"global": six(0), "sources": [{"source": "app@ns:/data", "keep": six(100_000)}]},
        "schedules": {
            "stats": schedule("0 * * * *"), "quick": schedule("15 * * * *"), "full": schedule("30 3 * * *"),
            "expire": schedule("0 3 * * *"), "settings": schedule("0 2 * * *"), "verify": schedule("0 5 * * *"), "verifyPercent": 2, "verifyWhole": schedule("0 6 1 * *"),
        },
        "findings": {"gapPeriods": 5, "volumePercent": 80, "indexBlobs": 2000, "retired": ["gone@ns:/data"]},
        "windows": [{"schedule": "0 22 * * *", "duration": "8h", "timeZone": "UTC"}],
        "deadlines": {"stats": "10m", "quick": "1h", "full": "6h", "verify": "24h"},
    }))
}

fn kept(sources: &[&str]) -> Value {
    let policies: Vec<Value> = sources.iter().map(|source| json!({"source": source, "keep": six(1)})).collect();
    json!({"retention": {"sources": policies}})
}

/// What may not be written, and a word of the server's answer that shows that it was for this reason.
fn wrong() -> Vec<(Value, &'static str)> {
    let volume = |source: Value| json!({"volumes": [{"mountPath": "repository", "volumeSource": source}]});
    let nfs = json!({"server": "nas", "path": "/srv"});
    let claim = json!({"claimName": "kopia"});
    let quick = |schedule: Value| json!({"schedules": {"quick": schedule}});
    vec![
        (json!({}), "secretRef: Required value"),
        (with(&json!({"secretRef": {"name": "Kopia"}})), "secretRef.name in body should match"),
        (with(&json!({"password": "x"})), "unknown field \"spec.password\""),
        (with(&json!({"path": "mnt"})), "spec.path in body should match"),
        (with(&json!({"uniqueID": "ABC"})), "uniqueID"),
        (with(&volume(json!({}))), "a volume is either nfs or persistentVolumeClaim"),
        (with(&volume(json!({"nfs": nfs, "persistentVolumeClaim": claim}))), "a volume is either nfs"),
        (with(&volume(json!({"hostPath": {"path": "/"}}))), "unknown field"),
        (with(&volume(json!({"nfs": {"server": "a b", "path": "/"}}))), "server in body should match"),
        (
            with(&json!({"volumes": [{"mountPath": "../x", "volumeSource": {"nfs": nfs}}]})),
            "mountPath in body should match",
        ),
        (with(&json!({"podSecurityContext": {"runAsUser": -1}})), "runAsUser"),
        (with(&json!({"podSecurityContext": {"privileged": true}})), "unknown field"),
        (with(&json!({"resources": {"limits": {"memory": "lots"}}})), "limits.memory in body should match"),
        (with(&json!({"cache": {"sizeLimit": "1GB"}})), "sizeLimit in body should match"),
        (with(&quick(json!({"cron": "@daily"}))), "cron in body should match"),
        (with(&quick(json!({"cron": "0 2 * * *", "jitter": "25h"}))), "has to be from 0s to 24h"),
        (with(&json!({"schedules": {"verifyPercent": 101}})), "verifyPercent"),
        (with(&json!({"schedules": {"expire": {"cron": "0 3 * * *"}}})), "schedules.expire needs expire"),
        (with(&json!({"expire": {"sources": []}})), "sources"),
        (with(&json!({"expire": {"sources": ["all sources"]}})), "sources[0] in body should match"),
        (with(&json!({"expire": {"sources": ["a@b:/c", "a@b:/c"]}})), "sources[1]: Duplicate value"),
        (with(&json!({"expire": {"sources": ["a@b:/c"], "maxDeletionsPerRun": 0}})), "maxDeletionsPerRun"),
        (
            with(&json!({"schedules": {"settings": {"cron": "0 2 * * *"}}})),
            "schedules.settings needs retention or epochs",
        ),
        (with(&json!({"epochs": {}})), "spec.epochs in body should have at least 1 properties"),
        (with(&json!({"epochs": {"minDuration": "30m"}})), "has to be from 1h to 168h"),
        (with(&json!({"epochs": {"cleanupSafetyMargin": "59m"}})), "has to be from 1h to 168h"),
        (with(&json!({"epochs": {"advanceOnCount": 9}})), "advanceOnCount in body should be greater than or equal"),
        (with(&json!({"epochs": {"maxDuration": "1h"}})), "unknown field"),
        (with(&json!({"retention": {}})), "retention needs global or sources"),
        (with(&json!({"retention": {"sources": []}})), "retention needs global or sources"),
        (with(&json!({"retention": {"global": six(100_001)}})), "global.latest in body should be less than or equal"),
        (with(&json!({"retention": {"global": {"latest": -1}}})), "latest in body should be greater than or equal"),
        (with(&kept(&["a@b:c"])), "source in body should match"),
        (with(&kept(&["-p@b:/c"])), "source in body should match"),
        (with(&kept(&["a@b:/c", "a@b:/c"])), "sources[1]: Duplicate value"),
        (with(&json!({"retention": {"sources": [{"source": "a@b:/c"}]}})), "keep: Required value"),
        (with(&json!({"findings": {"gapPeriods": 1}})), "gapPeriods"),
        (with(&json!({"findings": {"volumePercent": 101}})), "volumePercent"),
        (with(&json!({"findings": {"indexBlobs": 0}})), "indexBlobs"),
        (with(&json!({"findings": {"retired": ["all sources"]}})), "retired[0] in body should match"),
        (with(&json!({"takeover": "Always"})), "spec.takeover: Unsupported value"),
        (with(&json!({"deadlines": {"full": "1m"}})), "has to be from 10m to 168h"),
        (with(&json!({"windows": [{"schedule": "0 2 * * *"}]})), "duration: Required value"),
    ]
}

#[test]
fn a_wrong_repository_is_refused_by_the_server_and_by_us() {
    let Some(server) = defined() else { return };
    let own = with(&json!({"expire": {"mode": "Enforce"}, "schedules": {"expire": {"cron": "0 3 * * *"}}}));
    let epochs = with(&json!({"epochs": {"minDuration": "6h"}, "schedules": {"settings": {"cron": "0 2 * * *"}}}));
    for spec in [with(&json!({})), full(), own, epochs, with(&json!({"path": null, "schedules": {}, "volumes": []}))] {
        server.must(&kopia(&spec).dry());
        assert_eq!(check::kopia(&spec).flaws, [], "{spec}");
    }
    let least = server.must(&kopia(&with(&json!({}))).dry());
    let ours = serde_json::to_value(check::kopia(&with(&json!({}))).spec.unwrap()).unwrap();
    assert_eq!(least["spec"], ours, "the server's defaults");
    let none_of_six = fives().into_iter().map(|spec| (spec, "Required value"));
    for (spec, because) in wrong().into_iter().chain(none_of_six) {
        let (code, said) = server.send(&server.admin, &kopia(&spec).dry());
        assert!([400, 422].contains(&code), "{spec}: {code}");
        assert!(said["message"].as_str().unwrap().contains(because), "{spec}: {said}");
        assert!(!check::kopia(&spec).flaws.is_empty(), "{spec}: the server refuses it, and we would take it");
    }
}

#[test]
fn all_of_a_repository_is_kept_and_shown_and_it_stays_the_one_it_is() {
    let Some(server) = defined() else { return };
    let made = server.must(&kopia(&full()));
    assert_eq!(made["spec"], full());
    let path = format!("{REPOSITORIES}/repository");
    let status = full_status();
    let written = server.must(&Ask::merge(&format!("{path}/status?fieldValidation=Strict"), json!({"status": status})));
    assert_eq!(written["status"], status);
    let known: KopiaRepositoryStatus = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(known).unwrap(), status, "and nothing of it is unknown to us");

    for change in [json!({"uniqueID": ID.replace('0', "f")}), json!({"uniqueID": null})] {
        let (code, said) = server.send(&server.admin, &Ask::merge(&path, json!({"spec": change})));
        assert_eq!(code, 422, "{change}: {said}");
        assert!(said["message"].as_str().unwrap().contains("another repository is another KopiaRepository"), "{said}");
    }
    // What is written again from what was read is what was there.
    let entry = repository::read(&server.must(&Ask::get(&path)).to_string()).unwrap();
    assert_eq!(entry.custody.problems(), [] as [String; 0]);
    let again = server.must(&Ask::merge(&format!("{path}/status?fieldValidation=Strict"), repository::patch(&entry)));
    assert_eq!(again["status"], status);
    let table = server.stack.kubectl(["get", "krepo", "-o", "wide"]).unwrap();
    for word in [
        "LAST TASK",
        "INDEX BLOBS",
        "HEALTHY",
        "FINDING",
        "VolumeFull",
        "Full",
        "Happened",
        "True",
        "volwarden@c-1",
        "all is well",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(server.stack.kubectl(["get", "volwarden", "-o", "name"]).unwrap().contains("kopiarepository"));
    let crd = server.must(&Ask::get(&format!("{GROUP}/kopiarepositories")));
    assert_eq!(crd["items"].as_array().unwrap().len(), 1);
}

fn full_status() -> Value {
    let at = "2026-11-25T10:00:00Z";
    json!({
        "observedGeneration": 1,
        "conditions": [{
            "type": "Ready", "status": "True", "observedGeneration": 1, "lastTransitionTime": at, "reason": "InForce",
            "message": "all is well",
        }],
        "findings": [
            {"class": "VolumeFull", "since": at, "message": "it is full"},
            {"class": "IndexBlobsHigh", "since": at, "message": "there are many"},
        ],
        "owners": [{"since": at}, {"owner": "volwarden@c-1", "since": at}],
        "volumeTrend": [{"at": at, "capacity": 1_i64 << 44, "available": 1_i64 << 40}],
        "foreignRun": at,
        "uniqueID": ID, "identity": "volwarden@c-1", "ownedSince": at, "ownerPlan": "0123456789abcdef",
        "stopped": {"class": "DataDamaged", "said": "a pack is gone", "since": at},
        "repository": {
            "at": at, "owner": "volwarden@c-1", "lastMaintenance": at, "cycleSeconds": 86400, "format": 3, "epoch": 7,
            "indexBlobs": 41, "blobs": 9000, "bytes": 1_i64 << 43, "volumeCapacity": 1_i64 << 44,
            "volumeAvailable": 1_i64 << 40, "sources": 5, "snapshots": 60, "skewSeconds": -600,
            "stalest": [{"source": "app@ns:/data", "newest": at, "snapshots": 12, "periodSeconds": 3600}],
        },
        "expire": {
            "at": at, "terms": "0123456789abcdef", "would": 5, "deleted": 3,
            "held": [{"source": "app@ns:/data", "reason": "BackupShrunk", "said": "it shrank"}],
            "approval": {
                "plan": "0123456789abcdef", "given": true, "foreign": ["web@x:/data"], "globalPolicy": ["db@ns:/data"],
            },
        },
        "settings": {
            "at": at, "kept": 3, "setAt": at, "set": [{"target": "app@ns:/data", "change": "latest unset to 10"}],
            "again": ["app@ns:/data"], "againSince": at, "approvedAt": at,
            "approval": {"plan": "0123456789abcdef", "changes": [{"target": "global", "change": "hourly 48 to 24"}]},
        },
        "tasks": [{
            "task": "Full", "lastScheduled": at, "lastSuccess": at, "freedBytes": 3, "failures": 2, "retryAt": at,
            "failedGeneration": 1, "failedRequest": "full:1", "next": at,
            "failure": {"outcome": "Failed", "class": "NoSpace", "said": "it is full", "since": at, "at": at},
        }],
        "lastHandledRequest": "full:1",
        "run": {
            "task": "VerifyWhole", "trigger": "Request", "request": "verify-whole:2", "job": "r-verify-whole-1",
            "jobUID": "j-1", "startedAt": at, "generation": 1, "approved": "e-1", "heldBy": "the Lease is held",
        },
        "history": [{
            "task": "Full", "trigger": "Schedule", "job": "r-full-1", "startedAt": at, "finishedAt": at,
            "outcome": "Happened", "class": "NoTrace", "freedBytes": 3, "message": "snapshot-gc",
        }],
    })
}
