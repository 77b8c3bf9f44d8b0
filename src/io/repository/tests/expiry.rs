//! What a Job that deletes snapshots is told, and what its report becomes in the status.

use super::*;
use crate::domain::repository::report::{Approval, Expired};

fn words(mode: &str, sources: &Value) -> Vec<String> {
    let mut expire = json!({"mode": mode, "maxDeletionsPerRun": 7});
    if !sources.is_null() {
        expire["sources"] = sources.clone();
    }
    let job = made(&json!({"expire": expire}), Task::Expire);
    let words = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_expiry_is_told_its_sources_what_was_tried_and_what_was_approved() {
    let named = words("Enforce", &json!(["app@ns:/data"]));
    for word in ["--source=app@ns:/data", "--most=7", "--delete=terms", "--own=app@ns:/data=never", "--approved=plan"] {
        assert!(named.iter().any(|found| found == word), "{word} is not in {named:?}");
    }
    assert!(!words("Observe", &json!(["app@ns:/data"])).iter().any(|word| word.starts_with("--delete")));
    let own = words("Enforce", &Value::Null);
    assert!(!own.iter().any(|word| word.starts_with("--source")), "{own:?}");
    assert!(own.iter().any(|word| word == "--own=app@ns:/data=never"), "{own:?}");
    let full = made(&json!({}), Task::Full).to_string();
    assert!(!full.contains("--own") && !full.contains("--approved"), "no other task is told");
}

#[tokio::test(start_paused = true)]
async fn whose_a_source_may_be_is_read_from_the_replication_sources() {
    let one = |name: &str, spec: Value, status: Value| json!({"metadata": {"namespace": "media", "name": name}, "spec": spec, "status": status});
    let items = json!([
        one("restic", json!({"restic": {}}), json!({"lastSyncTime": "2026-11-25T09:00:00Z"})),
        one("new", json!({"kopia": {}}), json!(null)),
        one("odd", json!({"kopia": {}}), json!({"lastSyncTime": "yesterday"})),
        one(
            "app",
            json!({"kopia": {"username": "me", "hostname": "h", "sourcePathOverride": "/x", "repository": "r"}}),
            json!({"lastSyncTime": "2026-11-25T09:00:00Z", "lastSyncDuration": "1m30.5s",
                "lastSyncStartTime": "2026-11-25T09:30:00Z"}),
        ),
        one("web", json!({"kopia": {}}), json!({"lastSyncTime": "2026-11-25T09:00:00Z", "lastSyncDuration": "60s"})),
    ]);
    let (client, _) = server(move |asked| {
        if asked.uri.ends_with("/v1alpha1") {
            return ok(json!({"resources": [{"name": "replicationsources"}]}));
        }
        assert!(asked.uri.starts_with("/apis/volsync.backube/v1alpha1/replicationsources"), "{}", asked.uri);
        ok(json!({ "items": items }))
    });
    let found: Vec<String> = candidates(&client, at()).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "me@h:/x=2026-11-25T08:53:29.5Z/2026-11-25T09:05:00Z/2026-11-25T09:30:00Z",
            "new@media:/data=never",
            "odd@media:/data=never",
            "web@media:/data=2026-11-25T08:54:00Z/2026-11-25T09:05:00Z/2026-11-25T10:00:00Z",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_volsync_no_source_is_ours_and_without_an_answer_nothing_is_told() {
    let (client, _) = server(|_| refused(404, "NotFound"));
    assert_eq!(candidates(&client, at()).await, Ok(Vec::new()));
    let (client, _) = server(|_| refused(403, "Forbidden"));
    assert!(candidates(&client, at()).await.unwrap_err().to_string().contains("ReplicationSources"));
    let many: Vec<Value> = (0..2001)
        .map(|n| json!({"metadata": {"namespace": "media", "name": format!("app-{n}")}, "spec": {"kopia": {}}}))
        .collect();
    let (client, _) = server(move |asked| {
        let kinds = asked.uri.ends_with("/v1alpha1").then(|| json!({"resources": [{"name": "replicationsources"}]}));
        ok(kinds.unwrap_or_else(|| json!({ "items": many })))
    });
    assert!(candidates(&client, at()).await.unwrap_err().to_string().contains("2001 back up with kopia"));
}

/// One of which a Job has just said this.
fn expired(mode: &str, approval: Option<Approval>) -> Entry {
    let status = json!({"uniqueID": "id", "repository": {"owner": "volwarden@c-1"}});
    let mut entry = entry(&json!({"expire": {"mode": mode}}), &status);
    let report =
        Report { expired: Some(Expired { approval, ..Expired::default() }), ..Report::happened(Task::Expire, "2") };
    let conclusion = Conclusion { ended: Ended::Happened, class: None, said: "2".to_owned(), report: Some(report) };
    ended(&mut entry, Task::Expire, &conclusion);
    entry
}

#[test]
fn sources_that_ask_for_an_approval_are_named_with_the_way_to_give_it() {
    let approval = || {
        let foreign = vec!["web@x:/data".to_owned()];
        Some(Approval { plan: "e-1".to_owned(), given: false, foreign, global: vec!["app@ns:/data".to_owned()] })
    };
    let mut entry = expired("Enforce", approval());
    let (reason, message) = ready(&entry);
    assert_eq!(reason, "AwaitsApproval");
    let way = "kubectl -n backup annotate kopiarepository main.nas volwarden.dev/approved-expiry=e-1 --overwrite";
    assert!(message.contains(way), "{message}");
    let told = &patch(&entry)["status"]["expire"]["approval"];
    assert_eq!(
        *told,
        json!({"plan": "e-1", "given": false, "foreign": ["web@x:/data"], "globalPolicy": ["app@ns:/data"]})
    );
    // Given, it waits no more; what was given before is another plan's.
    for (given, reason) in [("e-1", "InForce"), ("e-0", "AwaitsApproval")] {
        entry.told.approved_expiry = Some(Hash::written(given));
        said(&mut entry, &Agenda::default(), &us(), None, at());
        assert_eq!(ready(&entry).0, reason, "{given}");
    }
    assert_eq!(ready(&expired("Observe", approval())).0, "InForce", "nothing goes there at all");
    let none = expired("Enforce", None);
    assert_eq!(ready(&none).0, "InForce");
    assert_eq!(patch(&none)["status"]["expire"]["approval"], Value::Null, "one of old is taken away");
}

#[test]
fn each_approval_has_its_own_annotation() {
    let mut object = object(&json!({}), &json!({}));
    object["metadata"]["annotations"] = json!({"volwarden.dev/approved": "o", "volwarden.dev/approved-expiry": "e"});
    let told = read(&object.to_string()).unwrap().told;
    assert_eq!((told.approved, told.approved_expiry), (Some(Hash::written("o")), Some(Hash::written("e"))));
}
