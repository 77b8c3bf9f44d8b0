mod expiry;
mod settings;

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::api::kopia::JobOutcome;
use crate::domain::repository::agenda::Agenda;
use crate::domain::repository::course::{Conclusion, Job, Last, Lease, Pods, Sighted};
use crate::domain::repository::report::{Ended, Report, Sight};
use crate::io::tests::{Asked, Told as Answer, ok, refused, server};

fn at() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

fn us() -> Identity {
    Identity::on("c-1").unwrap()
}

fn object(spec: &Value, status: &Value) -> Value {
    let mut whole = json!({"secretRef": {"name": "kopia"}});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({
        "metadata": {
            "name": "main.nas", "namespace": "backup", "uid": "r-1", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-11-20T00:00:00Z",
        },
        "spec": whole, "status": status,
    })
}

fn entry(spec: &Value, status: &Value) -> Entry {
    read(&object(spec, status).to_string()).unwrap()
}

fn made(spec: &Value, task: Task) -> Value {
    let entry = entry(spec, &json!({}));
    assert_eq!(entry.custody.problems(), [] as [String; 0]);
    let own = ["app@ns:/data=never".parse().unwrap()];
    manifest(Mould {
        custody: &entry.custody,
        spec: entry.spec.as_ref().unwrap(),
        uid: &entry.uid,
        task,
        name: "main-full-1",
        image: "example.com/volwarden:1",
        us: &us(),
        unique_id: Some("id"),
        tried: Some("terms"),
        approved: Some("plan"),
        approved_before: Some(at()),
        own: &own,
    })
}

#[test]
fn a_job_is_suspended_tried_once_and_without_rights() {
    let job = made(&json!({}), Task::Full);
    let spec = &job["spec"];
    assert_eq!((&spec["suspend"], &spec["backoffLimit"], &spec["parallelism"]), (&json!(true), &json!(0), &json!(1)));
    assert_eq!((&spec["activeDeadlineSeconds"], &spec["podReplacementPolicy"]), (&json!(43_200), &json!("Failed")));
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("KopiaRepository"), &json!("r-1")));
    let pod = &spec["template"]["spec"];
    assert_eq!((&pod["automountServiceAccountToken"], &pod["restartPolicy"]), (&json!(false), &json!("Never")));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], json!(true));
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], json!(true));
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    let words: Vec<&str> = container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words, ["kopia", "task", "full", "--host", "c-1", "--timeout=43170s", "--unique-id=id"]);
    // The Secret is named and not read: no value of it is anywhere.
    let env = container["env"].as_array().unwrap();
    assert_eq!(
        env[0]["valueFrom"]["secretKeyRef"],
        json!({"name": "kopia", "key": "KOPIA_PASSWORD", "optional": false})
    );
}

#[test]
fn volumes_user_and_limits_are_those_of_the_spec() {
    let job = made(
        &json!({
            "volumes": [
                {"mountPath": "share", "volumeSource": {"nfs": {"server": "nas", "path": "/srv"}}},
                {"mountPath": "claim", "volumeSource": {"persistentVolumeClaim": {"claimName": "kopia"}}},
            ],
            "path": "/mnt/share/kopia", "podSecurityContext": {"runAsUser": 0, "runAsGroup": 568, "fsGroup": 568},
            "resources": {"limits": {"memory": "1Gi"}}, "cache": {"sizeLimit": "2Gi"},
            "schedules": {"verifyPercent": 5},
        }),
        Task::Verify,
    );
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0], json!({"name": "scratch", "emptyDir": {"sizeLimit": "2Gi"}}));
    assert_eq!(pod["volumes"][1]["nfs"], json!({"server": "nas", "path": "/srv"}));
    assert_eq!(pod["volumes"][2]["persistentVolumeClaim"], json!({"claimName": "kopia"}));
    let container = &pod["containers"][0];
    assert_eq!(container["volumeMounts"][2], json!({"name": "volume-1", "mountPath": "/mnt/claim"}));
    assert_eq!(container["resources"]["limits"], json!({"memory": "1Gi"}));
    let user = &pod["securityContext"];
    assert_eq!(
        (&user["runAsNonRoot"], &user["runAsGroup"], &user["fsGroup"]),
        (&json!(false), &json!(568), &json!(568))
    );
    let words = container["args"].to_string();
    assert!(words.contains("--path=/mnt/share/kopia") && words.contains("--percent=5"), "{words}");
}

#[test]
fn what_cannot_be_read_of_an_object_begins_nothing() {
    for (spec, status, words) in [
        (json!({"secretRef": {}}), json!({}), "secretRef.name"),
        (json!({"schedules": {"full": {"cron": "61 * * * *"}}}), json!({}), "schedules, full"),
        (json!({}), json!({"run": {"task": "Shrink"}}), "its status cannot be read"),
        (json!({"uniqueID": "a".repeat(64)}), json!({"uniqueID": "b".repeat(64)}), "make another KopiaRepository"),
    ] {
        let problems = entry(&spec, &status).custody.problems().join("; ");
        assert!(problems.contains(words), "{problems}");
    }
    assert!(entry(&json!({}), &json!({"run": {"task": "Shrink"}})).unreadable);
    let mut fresh = object(&json!({}), &json!({}));
    fresh.as_object_mut().unwrap().remove("status");
    let fresh = read(&fresh.to_string()).unwrap();
    assert!(!fresh.unreadable && fresh.custody.problems().is_empty(), "one that was just made has no status");
    let mut going = object(&json!({}), &json!({}));
    going["metadata"]["deletionTimestamp"] = json!("2026-11-25T10:00:00Z");
    assert!(!read(&going.to_string()).unwrap().custody.problems().is_empty());
}

/// What of the Job and of its pods is answered.
async fn seen(job: fn(&Asked) -> Answer, pods: fn(&Asked) -> Answer) -> (Sighted, Pods) {
    let (client, _) = server(move |asked| if asked.uri.contains("/pods?") { pods(asked) } else { job(asked) });
    let (seen, _) = look(&client, &Key::namespaced("backup", "j")).await;
    (seen, super::pods(&client, "backup", "j-1").await)
}

#[tokio::test(start_paused = true)]
async fn a_job_and_its_pods_are_seen_as_they_are() {
    let (job, pods) = seen(
        |_| {
            ok(json!({"metadata": {"uid": "j-1"}, "spec": {"suspend": false}, "status": {"conditions": [
                {"type": "FailureTarget", "status": "True"}, {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"},
            ]}}))
        },
        |asked| {
            assert!(asked.uri.ends_with("?labelSelector=batch.kubernetes.io%2Fcontroller-uid%3Dj-1"), "{}", asked.uri);
            ok(json!({"items": [{"metadata": {}, "status": {"phase": "Failed", "containerStatuses": [
                {"name": "sidecar", "state": {"terminated": {"message": "no"}}},
                {"name": "kopia", "state": {"terminated": {"message": "yes", "exitCode": 1, "reason": "Error"}}},
            ]}}]}))
        },
    )
    .await;
    let over = Some(Some("BackoffLimitExceeded".to_owned()));
    assert_eq!(job, Sighted::There(Job { uid: "j-1".into(), suspended: false, over }));
    let last = Last { message: Some("yes".to_owned()), code: Some(1), reason: Some("Error".to_owned()) };
    assert_eq!(pods, Pods::Ended(last));

    let (job, pods) = seen(|_| refused(404, "NotFound"), |_| refused(403, "Forbidden")).await;
    assert!(matches!((job, pods), (Sighted::Absent, Pods::Unknown(_))));
    let (job, pods) = seen(|_| refused(500, "InternalError"), |_| ok(json!({"items": null}))).await;
    assert!(matches!((job, pods), (Sighted::Unknown(_), Pods::None)));
    // A Job that is about to be over is not over, and a pod without a phase has not ended.
    let (job, pods) = seen(
        |_| {
            ok(json!({"metadata": {"uid": "j"}, "status": {"conditions": [
                {"type": "Complete", "status": "False"}, {"type": "SuccessCriteriaMet", "status": "True"},
            ]}}))
        },
        |_| ok(json!({"items": [{"metadata": {}, "status": {"phase": "Succeeded"}}, {"metadata": {}}]})),
    )
    .await;
    assert!(matches!((job, pods), (Sighted::There(Job { over: None, .. }), Pods::Active(1))));
}

/// Who holds a Lease that names the Job `backup/j` of this uid, seen from the Job `mine`.
async fn lease_of(holder: &'static str, job: fn(&Asked) -> Answer, pods: Value) -> Lease {
    let (client, _) = server(move |asked| if asked.uri.contains("/pods?") { ok(pods.clone()) } else { job(asked) });
    let leased = Leased {
        version: "1".into(),
        holder: holder.into(),
        job: Some(Key::namespaced("backup", "j")),
        transitions: 0,
    };
    held(&client, &Kept::There(leased), "mine").await
}

#[tokio::test(start_paused = true)]
async fn a_lease_belongs_to_the_job_that_it_names_while_anything_of_that_runs() {
    let running = |_: &Asked| ok(json!({"metadata": {"uid": "j-1"}, "status": {}}));
    let over = |_: &Asked| {
        ok(json!({"metadata": {"uid": "j-1"}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}))
    };
    let (none, one) = (json!({"items": []}), json!({"items": [{"metadata": {}, "status": {"phase": "Running"}}]}));
    assert_eq!(lease_of("mine", running, one.clone()).await, Lease::Ours);
    assert_eq!(lease_of("", running, one.clone()).await, Lease::Free);
    assert!(matches!(lease_of("j-1", running, none.clone()).await, Lease::Held(_)));
    assert!(matches!(lease_of("j-1", over, one.clone()).await, Lease::Held(_)));
    assert_eq!(lease_of("j-1", over, none.clone()).await, Lease::Free);
    assert_eq!(lease_of("j-1", |_| refused(404, "NotFound"), none.clone()).await, Lease::Free);
    assert!(matches!(lease_of("j-1", |_| refused(404, "NotFound"), one.clone()).await, Lease::Held(_)));
    assert!(matches!(lease_of("j-1", |_| refused(503, "x"), none.clone()).await, Lease::Held(_)));
    // Another Job has taken the name: the one that is named is gone.
    assert_eq!(lease_of("j-0", running, none).await, Lease::Free);
    assert!(matches!(lease_of("j-0", running, one).await, Lease::Held(_)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_read_back_as_it_was_written() {
    let key = Key::namespaced("backup", "j");
    let mut lease = written("volwarden-kopia-1", &Kept::Absent, Some(("j-1", &key)), at());
    assert_eq!(lease["metadata"].get("resourceVersion"), None, "it is made");
    lease["metadata"]["resourceVersion"] = json!("5");
    let (client, book) = server(move |_| ok(lease.clone()));
    let kept = kept(&client, "home", "volwarden-kopia-1").await;
    let leased = Leased { version: "5".into(), holder: "j-1".into(), job: Some(key.clone()), transitions: 0 };
    assert_eq!(kept, Kept::There(leased));
    assert_eq!((&book.all()[0].method, book.writes().len()), (&Method::GET, 0));
    let next = written("volwarden-kopia-1", &kept, Some(("j-2", &key)), at());
    assert_eq!((&next["metadata"]["resourceVersion"], &next["spec"]["leaseTransitions"]), (&json!("5"), &json!(1)));
    let free = written("volwarden-kopia-1", &kept, None, at());
    assert_eq!((&free["spec"]["holderIdentity"], &free["spec"]["leaseTransitions"]), (&json!(""), &json!(0)));
    // One repository, one name, which a Lease may have.
    assert_eq!(lease_name("id"), lease_name("id"));
    assert!(lease_name("id") != lease_name("other") && lease_name("id").len() < 63);
}

fn ready(entry: &Entry) -> (&str, &str) {
    let one = entry.status.conditions.iter().find(|one| one.r#type == "Ready").unwrap();
    (one.reason.as_str(), one.message.as_str())
}

fn ended(entry: &mut Entry, task: Task, conclusion: &Conclusion) {
    begun(entry, task, Trigger::Request, "main-1", at());
    closed(entry, &us(), conclusion, at());
    said(entry, &Agenda::default(), &us(), None, at());
}

#[test]
fn a_run_is_in_the_status_before_it_is_and_its_result_after() {
    let mut entry = entry(&json!({"schedules": {"full": {"cron": "0 3 * * *"}}}), &json!({}));
    entry.told.requested = Some("full:1".into());
    begun(&mut entry, Task::Full, Trigger::Request, "main-1", at());
    said(&mut entry, &Agenda::default(), &us(), None, at());
    let stored = patch(&entry);
    assert_eq!(
        (&stored["metadata"]["resourceVersion"], &stored["status"]["run"]["job"]),
        (&json!("7"), &json!("main-1"))
    );
    assert_eq!(stored["status"]["run"]["jobUID"], Value::Null);
    assert_eq!(stored["status"]["tasks"][0]["lastScheduled"], "2026-11-25T03:00:00Z", "its time is served");
    assert!(entry.status.conditions.iter().any(|one| one.r#type == "Reconciling"));
    // Read by the next leader, it is the same run.
    let again = self::entry(&json!({}), &stored["status"]);
    assert_eq!(again.going, entry.going);

    let sight = Sight { unique_id: Some("id".to_owned()), index_blobs: Some(3), ..Sight::default() };
    let report = Report { freed_bytes: Some(9), sight: Some(sight), ..Report::happened(Task::Full, "gc") };
    let said_so = Conclusion { ended: Ended::Happened, class: None, said: "gc".to_owned(), report: Some(report) };
    closed(&mut entry, &us(), &said_so, at());
    let status = &entry.status;
    assert_eq!((status.unique_id.as_deref(), status.last_handled_request.as_deref()), (Some("id"), Some("full:1")));
    assert_eq!((status.tasks[0].last_success, status.tasks[0].freed_bytes), (Some(at()), Some(9)));
    assert_eq!((status.history.len(), status.history[0].outcome), (1, JobOutcome::Happened));
    assert_eq!((entry.going.clone(), entry.told.unique_id.as_deref()), (None, Some("id")));
    assert_eq!(patch(&entry)["status"]["run"], Value::Null);
}

#[test]
fn failures_are_counted_and_what_did_not_run_is_not_answered() {
    let mut entry = entry(&json!({}), &json!({"uniqueID": "id", "repository": {"owner": "volwarden@c-1"}}));
    entry.told.requested = Some("full:1".into());
    let fails = |ended, class| Conclusion::without_report(ended, Some(class), "no");
    self::ended(&mut entry, Task::Full, &fails(Ended::NotRun, Class::LockHeld));
    assert_eq!(entry.status.last_handled_request, None);
    assert_eq!(entry.status.tasks[0].failed_request.as_deref(), Some("full:1"));
    self::ended(&mut entry, Task::Full, &fails(Ended::Failed, Class::StorageErrors));
    assert_eq!((entry.status.tasks[0].failures, entry.status.tasks[0].failed_generation), (2, Some(3)));
    assert_eq!(entry.status.last_handled_request.as_deref(), Some("full:1"));
    assert_eq!(ready(&entry).0, "TaskFails");
    assert!(!entry.status.conditions.iter().any(|one| one.r#type == "Stalled"), "it may pass by itself");
    self::ended(&mut entry, Task::Full, &fails(Ended::Failed, Class::NoSpace));
    assert!(entry.status.conditions.iter().any(|one| one.r#type == "Stalled"), "a person has to help");

    // Damage stops it; a look does not show that it is gone, a verification does.
    self::ended(&mut entry, Task::Verify, &fails(Ended::Failed, Class::DataDamaged));
    assert_eq!((ready(&entry).0, entry.told.stopped), ("Stopped", Some(Class::DataDamaged)));
    let good = Conclusion::without_report(Ended::Happened, None, "well");
    self::ended(&mut entry, Task::Stats, &good);
    assert_eq!(entry.told.stopped, Some(Class::DataDamaged));
    self::ended(&mut entry, Task::Verify, &good);
    assert_eq!(entry.told.stopped, None);
    for _ in 0..40 {
        self::ended(&mut entry, Task::Full, &good);
    }
    assert_eq!((entry.status.history.len(), entry.status.tasks[1].failures), (25, 0));
    assert_eq!(ready(&entry).0, "InForce");
}

#[tokio::test(start_paused = true)]
async fn a_kopia_maintenance_at_work_on_the_same_secret_is_a_rival() {
    fn kinds(asked: &Asked) -> Option<Answer> {
        // Of the others none is installed.
        let others = ["kopiur.home-operations.com", "velero.io"].iter().any(|group| asked.uri.contains(group));
        let here = || ok(json!({"resources": [{"name": "kopiamaintenances"}]}));
        others.then(|| refused(404, "NotFound")).or_else(|| asked.uri.ends_with("/v1alpha1").then(here))
    }
    let (client, _) = server(|asked| {
        if let Some(kinds) = kinds(asked) {
            return kinds;
        }
        let one = |namespace: &str, name: &str, spec: Value| json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
        let kopia = json!({"repository": "kopia"});
        ok(json!({"items": [
            one("backup", "off", json!({"enabled": false, "repository": kopia})),
            one("backup", "suspended", json!({"suspend": true, "repository": kopia})),
            one("elsewhere", "daily", json!({"repository": kopia})),
            one("backup", "other", json!({"repository": {"repository": "other"}})),
            one("backup", "daily", json!({"repository": kopia})),
        ]}))
    });
    let ours = entry(&json!({}), &json!({}));
    let found: Vec<String> = rivals(&client).await.unwrap().iter().filter_map(|rival| rival.of(&ours)).collect();
    assert_eq!(found, ["KopiaMaintenance backup/daily"]);
    let (client, _) = server(|_| refused(404, "NotFound"));
    assert_eq!(rivals(&client).await, Ok(Vec::new()));
    let (client, _) = server(|_| refused(403, "Forbidden"));
    assert!(rivals(&client).await.is_err());
    let (client, _) = server(|asked| kinds(asked).unwrap_or_else(|| refused(404, "NotFound")));
    assert!(rivals(&client).await.is_err(), "a list that nobody gave is no empty one");
}

#[test]
fn a_foreign_owner_is_named_with_the_way_to_become_it() {
    let status = json!({"uniqueID": "id", "repository": {"owner": "mover@app"}});
    let mut entry = entry(&json!({}), &status);
    entry.told.requested = Some("full:1".into());
    let custody = entry.custody.clone();
    let case = crate::domain::repository::agenda::Case {
        custody: &custody,
        told: &entry.told.clone(),
        us: &us(),
        rival: None,
        now: at(),
    };
    let due = crate::domain::repository::agenda::agenda(case);
    said(&mut entry, &due, &us(), None, at());
    let plan = entry.status.owner_plan.clone().unwrap();
    let (reason, message) = ready(&entry);
    assert_eq!(reason, "NotOwner");
    let way = format!("kubectl -n backup annotate kopiarepository main.nas volwarden.dev/approved={plan}");
    assert!(message.contains("mover@app") && message.contains("volwarden@c-1") && message.contains(&way), "{message}");
}

#[test]
fn the_limits_of_a_spec_that_names_none_are_those_of_the_core() {
    let spec = entry(&json!({}), &json!({})).spec.unwrap();
    assert_eq!(translated(&spec).limits, Limits::default());
    let retired = json!({"findings": {"gapPeriods": 5, "retired": ["app@ns:/data"]}});
    let limits = translated(&entry(&retired, &json!({})).spec.unwrap()).limits;
    assert_eq!((limits.gap_periods, limits.retired, limits.volume_percent), (5, vec!["app@ns:/data".into()], 90));
}

/// One look after another, by Jobs that end at these minutes.
fn looks(entry: &mut Entry, sights: &[(i64, Sight)]) {
    for (minute, sight) in sights {
        let now = at() + SignedDuration::from_mins(*minute);
        begun(entry, Task::Stats, Trigger::Schedule, "main-1", now - SignedDuration::from_mins(1));
        let report = Report { sight: Some(sight.clone()), ..Report::happened(Task::Stats, "it was looked at") };
        let conclusion = Conclusion { ended: Ended::Happened, class: None, said: String::new(), report: Some(report) };
        closed(entry, &us(), &conclusion, now);
    }
}

#[test]
fn what_looks_saw_is_remembered_and_is_the_same_to_who_leads_next() {
    let mut entry = entry(&json!({}), &json!({"ownedSince": "2026-11-20T00:00:00Z"}));
    let sight = |owner: &str, minute: i64, available| Sight {
        at: Some(at() + SignedDuration::from_mins(minute)),
        owner: Some(owner.to_owned()),
        last_maintenance: Some(at() + SignedDuration::from_mins(minute - 5)),
        volume_capacity: Some(1000),
        volume_available: Some(available),
        ..Sight::default()
    };
    let ours = "volwarden@c-1";
    let seen = [sight("a@b", 0, 700), sight(ours, 60, 600), sight(ours, 24 * 60, 500), sight("a@b", 25 * 60 - 30, 400)];
    looks(&mut entry, &[0, 60, 24 * 60, 25 * 60].into_iter().zip(seen).collect::<Vec<_>>());
    let stored = patch(&entry)["status"].clone();
    let owners: Vec<&Value> = stored["owners"].as_array().unwrap().iter().map(|one| &one["owner"]).collect();
    assert_eq!(owners, ["a@b", ours, "a@b"]);
    assert_eq!(stored["volumeTrend"].as_array().unwrap().len(), 2, "one a day: {stored:#}");
    assert_eq!(stored["volumeTrend"][1]["available"], 400);
    assert_eq!(stored["repository"]["skewSeconds"], -29 * 60, "the node's clock lay before the run began");
    // While it was ours somebody ran it; a look under another owner says nothing of that, and forgets nothing.
    assert_eq!(stored["foreignRun"], "2026-11-26T09:55:00Z");
    let again = self::entry(&json!({}), &stored);
    assert_eq!(again.told.owners, entry.told.owners);
    assert_eq!((&again.told.trend, again.told.stranger), (&entry.told.trend, entry.told.stranger));
}

#[test]
fn a_finding_stands_in_the_status_and_is_news_once() {
    let mut entry = entry(&json!({}), &json!({"repository": {"indexBlobs": 1001}}));
    assert_eq!(entry.news(), []);
    let judge = |entry: &mut Entry| {
        let (custody, told, us) = (entry.custody.clone(), entry.told.clone(), us());
        let case =
            crate::domain::repository::agenda::Case { custody: &custody, told: &told, us: &us, rival: None, now: at() };
        found(entry, &findings::findings(case));
        said(entry, &Agenda::default(), &us, None, at());
    };
    judge(&mut entry);
    let healthy = |entry: &Entry| {
        let one = entry.status.conditions.iter().find(|one| one.r#type == "Healthy").cloned().unwrap();
        (one.status == crate::api::condition::ConditionStatus::True, one.reason, one.message)
    };
    let (holds, reason, message) = healthy(&entry);
    assert_eq!((holds, reason.as_str()), (false, "IndexBlobsHigh"));
    assert!(message.starts_with("IndexBlobsHigh: 1001 index blobs"), "{message}");
    assert_eq!(ready(&entry).0, "Unseen", "to work and to be well are two things");
    let news = entry.news();
    assert_eq!((news.len(), news[0].0), (1, findings::Class::IndexBlobsHigh));
    assert_eq!(entry.news(), []);
    // Read by who leads next it is no news either, and it goes when it is over.
    let mut again = self::entry(&json!({}), &patch(&entry)["status"]);
    assert_eq!(again.news(), []);
    again.status.repository.as_mut().unwrap().index_blobs = Some(3);
    again.retell();
    judge(&mut again);
    assert_eq!((again.status.findings.len(), healthy(&again).0), (0, true));
}

#[test]
fn why_a_task_fails_is_kept_until_it_happens() {
    let mut entry = entry(&json!({}), &json!({"uniqueID": "id", "repository": {"owner": "volwarden@c-1"}}));
    for minute in [0, 5] {
        let now = at() + SignedDuration::from_mins(minute);
        begun(&mut entry, Task::Full, Trigger::Schedule, "main-1", now);
        closed(&mut entry, &us(), &Conclusion::without_report(Ended::Failed, Some(Class::NoSpace), "full"), now);
    }
    let failure = patch(&entry)["status"]["tasks"][0]["failure"].clone();
    assert_eq!(
        failure,
        json!({"outcome": "Failed", "class": "NoSpace", "said": "full", "since": "2026-11-25T10:00:00Z", "at": "2026-11-25T10:05:00Z"})
    );
    assert_eq!(self::entry(&json!({}), &patch(&entry)["status"]).told.tasks, entry.told.tasks);
    ended(&mut entry, Task::Full, &Conclusion::without_report(Ended::Happened, None, "well"));
    assert_eq!(entry.status.tasks[0].failure, None);
}

#[test]
fn what_another_object_of_the_same_repository_ran_is_no_strangers() {
    let of = |name: &str, id: &str, rest: Value| {
        let mut status = json!({"uniqueID": id});
        status.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let mut one = object(&json!({}), &status);
        one["metadata"]["uid"] = json!(name);
        read(&one.to_string()).unwrap()
    };
    let done = json!({"tasks": [{"task": "Full", "lastSuccess": "2026-11-25T03:00:00Z"}, {"task": "Verify", "lastSuccess": "2026-11-25T05:00:00Z"}]});
    let run = json!({"task": "Quick", "trigger": "Schedule", "job": "j", "startedAt": "2026-11-25T09:00:00Z", "generation": 1});
    let all = [
        of("a", "id", json!({})),
        of("b", "id", done.clone()),
        of("c", "other", done),
        of("d", "other", json!({"run": run})),
    ];
    let three = "2026-11-25T03:00:00Z".parse().unwrap();
    assert_eq!(siblings(&all, at()), [Some(three), None, Some(at()), Some(three)], "while one runs it ends now");
}

#[test]
fn a_task_has_one_name_in_both_vocabularies() {
    for one in Task::ALL {
        assert_eq!((task(task_name(one)), format!("{:?}", task_name(one))), (one, format!("{one:?}")));
    }
}
