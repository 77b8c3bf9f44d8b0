//! `volwarden kopia ... NAME`: a KopiaRepository by its name.

use super::*;

const AT: &str = "/metadata/annotations/volwarden.dev~1requestedAt";

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

/// A repository that the daemon has seen, with a Job under way.
fn repository(status: &Value) -> Value {
    json!({"apiVersion": "volwarden.dev/v1alpha1", "kind": "KopiaRepository",
        "metadata": {"namespace": "backup", "name": "nas"},
        "spec": {"secretRef": {"name": "kopia"}, "expire": {"mode": "Enforce", "sources": ["app@media:/data"]},
            "schedules": {"full": {"cron": "30 3 * * *"}}},
        "status": status})
}

fn seen() -> Value {
    json!({"observedGeneration": 1, "uniqueID": "a1", "identity": "volwarden@home",
        "conditions": [{"type": "Ready", "status": "True", "reason": "InForce", "message": "Full: 3 tasks",
            "lastTransitionTime": ago(90)}],
        "repository": {"at": ago(20), "owner": "volwarden@home", "lastMaintenance": ago(30), "format": 3, "epoch": 4,
            "indexBlobs": 120, "blobs": 5000, "bytes": 95_563_022_336_i64, "volumeCapacity": 107_374_182_400_i64,
            "volumeAvailable": 1_073_741_824, "sources": 40, "snapshots": 900, "stalest": [{"source": "app@media:/data", "newest": ago(3000), "snapshots": 12}]},
        "tasks": [{"task": "Full", "lastSuccess": ago(30), "freedBytes": 1_572_864, "failures": 0},
            {"task": "Verify", "failures": 2, "retryAt": Timestamp::now() + SignedDuration::from_mins(31)}],
        "history": [{"task": "Full", "trigger": "Schedule", "job": "nas-full-1", "startedAt": ago(35),
            "finishedAt": ago(30), "outcome": "Happened", "message": "3 tasks"}]})
}

async fn backup(status: &Value) -> Embedded {
    let embedded = cluster().await;
    for name in ["backup", "media"] {
        make(&embedded, table::NAMESPACES, &json!({"metadata": {"name": name}}));
    }
    make(&embedded, table::REPOSITORIES, &repository(status));
    embedded
}

fn requested(embedded: &Embedded) -> Option<String> {
    stands(embedded, table::REPOSITORIES, "backup", "nas")?.pointer(AT)?.as_str().map(str::to_owned)
}

fn job(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"template": {"spec": {"containers": [{"name": "kopia", "image": "x"}]}}},
        "status": {"active": 1, "startTime": ago(3)}})
}

#[tokio::test]
async fn status_says_what_was_seen_what_runs_and_that_there_is_nothing_to_unlock() {
    let embedded = backup(&seen()).await;
    let uid = stands(&embedded, table::REPOSITORIES, "backup", "nas").unwrap()["metadata"]["uid"].clone();
    make(&embedded, table::JOBS, &job("backup", "nas-full-2", &json!({"volwarden.dev/repository": uid})));
    make(&embedded, table::JOBS, &job("media", "volsync-src-app", &json!({"app.kubernetes.io/created-by": "volsync"})));
    let before = version(&embedded);
    let said = volwarden(&embedded, &["kopia", "status", "nas", "-n", "backup"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    for words in [
        "KopiaRepository backup/nas",
        "volwarden@home, which is us",
        "20m ago: format 3, epoch 4, 120 index blobs",
        "89.0 GiB in 5000 blobs",
        "1.0 GiB free of 100.0 GiB",
        "40 sources, 900 snapshots",
        "ready True    InForce: Full: 3 tasks",
        "30m ago, freed 1.5 MiB",
        "never; has no schedule; failed 2 times in a row, tried again in 3",
        "backup/nas-full-2 for 3m, 1 pod",
        "media/volsync-src-app for 3m, 1 pod",
        "there is none: nothing of ours has written to it yet",
        "there is nothing to unlock",
    ] {
        assert!(said.out.contains(words), "{words:?} is not in\n{}", said.out);
    }
    let json = volwarden(&embedded, &["kopia", "status", "nas", "-n", "backup", "-o", "json"]).await.json();
    assert_eq!(json["status"]["repository"]["indexBlobs"], 120);
    assert_eq!((&json["jobs"][0]["job"], &json["movers"][0]["pods"]), (&json!("backup/nas-full-2"), &json!(1)));
    assert_eq!((&json["lease"], &json["unclear"]), (&Value::Null, &json!([])));

    let said = volwarden(&embedded, &["kopia", "sources", "nas", "-n", "backup"]).await;
    assert!(
        said.code == 0 && said.out.contains("39 more that are less late by their own period"),
        "{}{}",
        said.out,
        said.err
    );
    let said = volwarden(&embedded, &["kopia", "policy", "nas", "-n", "backup"]).await;
    assert!(said.code == 0 && said.out.contains("Enforce: 100 a run at most"), "{}{}", said.out, said.err);
    assert!(said.out.contains("app@media:/data") && said.out.contains("not in the object"), "{}", said.out);
    assert_eq!(version(&embedded), before, "looking writes nothing");
    embedded.stop().await;
}

#[tokio::test]
async fn a_finding_is_told_with_its_page_and_is_an_exit_code() {
    let mut status = seen();
    status["findings"] =
        json!([{"class": "VolumeFull", "since": ago(120), "message": "99 % of its volume are in use"}]);
    let embedded = backup(&status).await;
    let said = volwarden(&embedded, &["kopia", "status", "nas", "-n", "backup"]).await;
    assert_eq!((said.code, said.err.as_str()), (1, ""), "{}", said.out);
    for words in ["VolumeFull for 120m: 99 % of its volume are in use", "docs/findings/VolumeFull.md"] {
        assert!(said.out.contains(words), "{words:?} is not in\n{}", said.out);
    }
    embedded.stop().await;
}

#[tokio::test]
async fn a_task_is_asked_for_by_one_annotation_and_told_as_asked() {
    let embedded = backup(&seen()).await;
    let ask = ["kopia", "maintain", "nas", "-n", "backup", "--full"];
    let before = version(&embedded);
    let said = volwarden(&embedded, &[&ask[..], &["--dry-run=server"]].concat()).await;
    assert!(said.code == 0 && said.out.contains("would be asked for (dry run"), "{}{}", said.out, said.err);
    assert_eq!((version(&embedded), requested(&embedded)), (before, None));

    let said = volwarden(&embedded, &ask).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("full of KopiaRepository backup/nas is asked for\n"), "{}", said.out);
    let value = requested(&embedded).unwrap();
    assert!(value.strip_prefix("full:").unwrap().parse::<Timestamp>().is_ok(), "{value}");
    for (words, task) in [
        (&["maintain"][..], "quick:"),
        (&["verify"], "verify:"),
        (&["verify", "--percent", "100"], "verify-whole:"),
        (&["expire"], "expire:"),
    ] {
        let said = volwarden(&embedded, &[&["kopia"], words, &["nas", "-n", "backup"]].concat()).await;
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        assert!(requested(&embedded).unwrap().starts_with(task), "{words:?}");
    }
    embedded.stop().await;
}

#[tokio::test]
async fn waiting_ends_with_what_came_of_it_or_says_what_holds_it() {
    let embedded = backup(&seen()).await;
    let ask = ["kopia", "maintain", "nas", "-n", "backup", "--full", "--wait", "-o", "json"];
    // Nobody takes it up.
    let said = volwarden(&embedded, &[&ask[..], &["--timeout", "1s"]].concat()).await;
    let answer = said.json();
    assert_eq!((said.code, &answer["result"]), (2, &json!("waiting")), "{answer}");
    assert_eq!(answer["waits"], "the daemon has not taken it up yet");
    assert!(said.err.contains("volwarden: full, 0s: the daemon has not taken it up yet"), "{}", said.err);

    // A daemon that answers it, with each outcome.
    for (outcome, code, result) in [("Happened", 0, "happened"), ("Failed", 1, "failed"), ("Unclear", 2, "unclear")] {
        let (asked, shared) = (requested(&embedded), embedded.shared.clone());
        let daemon = tokio::spawn(async move {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                let answered = shared.with(|host| {
                    let object = host.store.get(table::REPOSITORIES, "backup", "nas").unwrap();
                    let request = object.pointer(AT).and_then(Value::as_str).map(str::to_owned);
                    if request == asked {
                        return false;
                    }
                    let record = json!({"task": "Full", "trigger": "Request", "job": "nas-full-9", "startedAt": ago(5),
                        "finishedAt": ago(0), "outcome": outcome, "message": "it went so"});
                    let patch = Patch::Merge(json!({"status": {"lastHandledRequest": request, "history": [record]}}));
                    let writer = Writer { name: "volwarden", at: host.now };
                    host.store.patch(writer, table::REPOSITORIES, "backup", "nas", Part::Status, &patch).unwrap();
                    true
                });
                if answered {
                    return;
                }
            }
        });
        let said = volwarden(&embedded, &[&ask[..], &["--timeout", "30s"]].concat()).await;
        daemon.await.unwrap();
        let answer = said.json();
        assert_eq!((said.code, &answer["result"]), (code, &json!(result)), "{answer}{}", said.err);
        assert_eq!((&answer["run"]["job"], &answer["run"]["message"]), (&json!("nas-full-9"), &json!("it went so")));
    }
    embedded.stop().await;
}

#[tokio::test]
async fn what_holds_a_request_is_said_at_once() {
    let mut status = seen();
    status["repository"]["owner"] = json!("mover@elsewhere");
    let embedded = backup(&status).await;
    let said = volwarden(&embedded, &["kopia", "maintain", "nas", "-n", "backup"]).await;
    assert!(said.out.contains("it waits: the owner of maintenance is mover@elsewhere, not us"), "{}", said.out);
    let said = volwarden(&embedded, &["kopia", "status", "nas", "-n", "backup"]).await;
    assert!(said.out.contains("quick: the owner of maintenance is mover@elsewhere, not us"), "{}", said.out);
    assert!(said.out.contains("mover@elsewhere, not us: we run no maintenance here"), "{}", said.out);
    embedded.stop().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_nothing_is_written() {
    let embedded = backup(&seen()).await;
    let before = version(&embedded);
    for (words, said) in [
        (
            &["status", "other", "-n", "backup"][..],
            &["there is no KopiaRepository backup/other", "kopiarepositories -A"][..],
        ),
        (&["status", "nas"], &["there is no KopiaRepository default/nas"]),
        (&["verify", "nas", "-n", "backup", "--percent", "50"], &["spec.schedules.verifyPercent", "--percent 100"]),
    ] {
        volwarden(&embedded, &[&["kopia"], words].concat()).await.refused(said);
    }
    for words in [
        &["status"][..],
        &["status", "nas", "--config", "f"],
        &["maintain", "--config", "f", "--wait"],
        &["expire", "nas", "--source", "a@b:/c"],
        &["expire", "--config", "f"],
    ] {
        let said = volwarden(&embedded, &[&["kopia"], words].concat()).await;
        assert!(said.code == 2 && said.out.is_empty() && said.err.contains("error:"), "{words:?}: {}", said.err);
    }
    assert_eq!((version(&embedded), requested(&embedded)), (before, None));

    // A version that nobody has written yet.
    let embedded_newer = backup(&json!({"observedGeneration": "a number of another kind"})).await;
    let said = volwarden(&embedded_newer, &["kopia", "maintain", "nas", "-n", "backup"]).await;
    said.refused(&["use the version that wrote it"]);
    embedded_newer.stop().await;
    embedded.stop().await;
}

#[tokio::test]
async fn each_approval_of_a_repository_is_its_own_and_the_one_that_is_meant() {
    let mut status = seen();
    status["ownerPlan"] = json!("o-1");
    status["expire"] = json!({"terms": "t-1", "would": 2, "deleted": 0, "held": [],
        "approval": {"plan": "e-1", "given": false, "foreign": ["app@media:/data"], "globalPolicy": []}});
    let embedded = backup(&status).await;
    let annotations = || {
        let object = stands(&embedded, table::REPOSITORIES, "backup", "nas").unwrap();
        object["metadata"].get("annotations").cloned().unwrap_or_default()
    };
    let way = "volwarden approve kopiarepository/nas -n backup --hash e-1";
    for command in ["status", "policy"] {
        let said = volwarden(&embedded, &["kopia", command, "nas", "-n", "backup"]).await;
        for words in ["app@media:/data: it is not shown to be this cluster's", way] {
            assert!(said.out.contains(words), "{words:?} is not in\n{}", said.out);
        }
    }
    let approve =
        async |words: &[&str]| volwarden(&embedded, &[&["approve", "kopiarepository/nas"], words].concat()).await;
    let said = approve(&["-n", "backup"]).await;
    assert!(said.code == 2 && said.err.contains("two plans") && said.err.contains("--hash e-1"), "{}", said.err);
    let said = approve(&["-n", "backup", "--hash", "e-1", "--dry-run=server"]).await;
    assert!(said.code == 0 && said.out.contains("Nothing was written"), "{}{}", said.out, said.err);
    assert_eq!(annotations(), Value::Null);
    let said = approve(&["-n", "backup", "--hash", "e-1"]).await;
    assert!(said.code == 0 && said.out.contains("Approved. It is good for exactly these"), "{}{}", said.out, said.err);
    assert_eq!(annotations(), json!({"volwarden.dev/approved-expiry": "e-1"}));
    let said = approve(&["-n", "backup", "--hash", "o-1"]).await;
    assert!(said.code == 0 && said.out.contains("Approved. It is done once."), "{}{}", said.out, said.err);
    assert_eq!(annotations(), json!({"volwarden.dev/approved-expiry": "e-1", "volwarden.dev/approved": "o-1"}));
    let said = volwarden(&embedded, &["approve", "nothing", "-n", "backup"]).await;
    assert!(said.code == 2 && said.err.contains("only a KopiaRepository has a namespace"), "{}", said.err);
    embedded.stop().await;
}

#[tokio::test]
async fn what_is_kept_set_is_shown_as_wanted_set_and_waiting_and_approved_by_its_own_annotation() {
    let embedded = cluster().await;
    make(&embedded, table::NAMESPACES, &json!({"metadata": {"name": "backup"}}));
    let mut status = seen();
    status["settings"] = json!({"at": ago(20), "kept": 1, "setAt": ago(120),
        "set": [{"target": "app@media:/data", "change": "latest unset to 10"}], "again": ["app@media:/data"],
        "againSince": ago(3000), "approval": {"plan": "s-1", "changes": [{"target": "epochs", "change": "min-duration 24h to 6h"}]}});
    let mut object = repository(&status);
    let six = json!({"latest": 10, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 6, "annual": 0});
    object["spec"]["retention"] = json!({"sources": [{"source": "app@media:/data", "keep": six}]});
    object["spec"]["epochs"] = json!({"minDuration": "6h"});
    make(&embedded, table::REPOSITORIES, &object);
    let said = volwarden(&embedded, &["kopia", "policy", "nas", "-n", "backup"]).await;
    for words in [
        "app@media:/data: latest 10, hourly 24, daily 7, weekly 4, monthly 6, annual 0",
        "epochs: min-duration 6h",
        "20m ago: 1 were as the spec says",
        "120m ago, app@media:/data: latest unset to 10; somebody sets it back each time",
        "epochs: min-duration 24h to 6h",
        "volwarden approve kopiarepository/nas -n backup --hash s-1",
    ] {
        assert!(said.out.contains(words), "{words:?} is not in\n{}{}", said.out, said.err);
    }
    let json = volwarden(&embedded, &["kopia", "policy", "nas", "-n", "backup", "-o", "json"]).await.json();
    assert_eq!(
        (&json["settings"]["approval"]["plan"], &json["epochs"]),
        (&json!("s-1"), &json!({"minDuration": "6h"}))
    );
    let said = volwarden(&embedded, &["approve", "kopiarepository/nas", "-n", "backup"]).await;
    assert!(said.code == 0 && said.out.contains("epochs: min-duration 24h to 6h"), "{}{}", said.out, said.err);
    let object = stands(&embedded, table::REPOSITORIES, "backup", "nas").unwrap();
    assert_eq!(object["metadata"]["annotations"], json!({"volwarden.dev/approved-settings": "s-1"}));
    embedded.stop().await;
}

/// The daemon on an embedded cluster; it ends with the test.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn start(embedded: &Embedded) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
        command.args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--job-image",
            "example.com/volwarden:1",
            "--log-level",
            "off",
        ]);
        command.arg("--kubeconfig").arg(embedded.kubeconfig()).env_clear();
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

#[tokio::test]
async fn a_job_of_the_daemons_is_told_whose_a_source_may_be_and_what_was_approved() {
    let embedded = cluster().await;
    for name in ["backup", "media"] {
        make(&embedded, table::NAMESPACES, &json!({"metadata": {"name": name}}));
    }
    let (synced, never) = ("2026-01-03T03:00:30Z", json!({}));
    let source = |name: &str, spec: Value, status: &Value| {
        json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource",
        "metadata": {"namespace": "media", "name": name}, "spec": spec, "status": status})
    };
    let did = json!({"lastSyncTime": synced, "lastSyncDuration": "30s"});
    for (name, spec, status) in [
        ("app", json!({"kopia": {}}), &did),
        ("new", json!({"kopia": {}}), &never),
        ("files", json!({"restic": {}}), &did),
    ] {
        make(&embedded, table::REPLICATION_SOURCES, &source(name, spec, status));
    }
    let mut status = seen();
    status["expire"] = json!({"terms": "t-1", "would": 0, "deleted": 0, "held": []});
    let mut object = repository(&status);
    object["spec"] = json!({"secretRef": {"name": "kopia"}, "expire": {"mode": "Enforce"}});
    object["metadata"]["annotations"] =
        json!({"volwarden.dev/requestedAt": "expire:1", "volwarden.dev/approved-expiry": "e-1"});
    make(&embedded, table::REPOSITORIES, &object);
    let _daemon = Daemon::start(&embedded);
    let began = std::time::Instant::now();
    let job = loop {
        let status = stands(&embedded, table::REPOSITORIES, "backup", "nas").unwrap()["status"].clone();
        let name = status.pointer("/run/job").and_then(Value::as_str).unwrap_or_default();
        if let Some(job) = stands(&embedded, table::JOBS, "backup", name) {
            assert_eq!((&status["run"]["task"], &status["run"]["approved"]), (&json!("Expire"), &json!("e-1")));
            break job;
        }
        assert!(began.elapsed().as_secs() < 120, "no Job is made: {status:#}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    let words = job.pointer("/spec/template/spec/containers/0/args").unwrap().as_array().unwrap().clone();
    let of = |flag: &str| -> Vec<&str> {
        words.iter().filter_map(|word| word.as_str().unwrap().strip_prefix(&format!("--{flag}="))).collect()
    };
    let own = of("own");
    let window = "app@media:/data=2026-01-03T02:55:00Z/2026-01-03T03:05:30Z/20";
    assert!(own.len() == 2 && own[0].starts_with(window) && own[1] == "new@media:/data=never", "{words:?}");
    assert_eq!((of("source").len(), of("approved"), of("delete")), (0, vec!["e-1"], vec!["t-1"]));
    embedded.stop().await;
}
