//! What a Job that sets policies is told, and what its report becomes in the status.

use super::*;
use crate::domain::repository::report::{Consent, Difference, Settings};

fn retention() -> Value {
    let six =
        |latest: u32| json!({"latest": latest, "hourly": 48, "daily": 7, "weekly": 4, "monthly": 24, "annual": 3});
    json!({
        "retention": {"global": six(10), "sources": [{"source": "app@ns:/data", "keep": six(0)}]},
        "epochs": {"minDuration": "6h", "advanceOnSizeMB": 20},
    })
}

#[test]
fn a_job_is_told_all_six_counts_whose_sources_are_and_what_was_approved() {
    let job = made(&retention(), Task::Settings);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 7200);
    let words = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    let words: Vec<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(
        words,
        [
            "kopia",
            "task",
            "settings",
            "--host",
            "c-1",
            "--timeout=7170s",
            "--unique-id=id",
            "--own=app@ns:/data=never",
            "--approved=plan",
            "--keep=global=10,48,7,4,24,3",
            "--keep=app@ns:/data=0,48,7,4,24,3",
            "--epoch=min-duration=21600",
            "--epoch=advance-on-size-mb=20",
            "--approved-before=2026-11-25T10:00:00Z",
        ]
    );
    let others = [Task::Full, Task::Expire].map(|task| made(&retention(), task).to_string());
    assert!(
        others
            .iter()
            .all(|job| !job.contains("--keep") && !job.contains("--epoch") && !job.contains("--approved-before")),
        "{others:?}"
    );
}

/// One of which a Job has just said this.
fn told(entry: &mut Entry, settings: Settings) {
    let report = Report { settings: Some(settings), ..Report::happened(Task::Settings, "1 set") };
    let conclusion = Conclusion { ended: Ended::Happened, class: None, said: "1 set".to_owned(), report: Some(report) };
    ended(entry, Task::Settings, &conclusion);
}

fn difference(target: &str) -> Difference {
    Difference { target: target.to_owned(), change: "hourly 24 to 48".to_owned() }
}

#[test]
fn what_waits_is_named_with_the_way_to_give_it_and_what_was_set_stays() {
    let status = json!({"uniqueID": "id", "repository": {"owner": "volwarden@c-1"}});
    let mut entry = entry(&retention(), &status);
    let asks = Consent { plan: "s-1".to_owned(), changes: vec![difference("global")] };
    told(
        &mut entry,
        Settings { kept: 0, set: vec![difference("app@ns:/data")], approval: Some(asks), ..Settings::default() },
    );
    let (reason, message) = ready(&entry);
    assert_eq!(reason, "AwaitsApproval");
    let way = "kubectl -n backup annotate kopiarepository main.nas volwarden.dev/approved-settings=s-1 --overwrite";
    assert!(message.contains(way) && message.contains("status.settings.approval"), "{message}");
    let change = |target: &str| json!({"target": target, "change": "hourly 24 to 48"});
    let at = "2026-11-25T10:00:00Z";
    assert_eq!(
        patch(&entry)["status"]["settings"],
        json!({
            "at": at, "kept": 0, "setAt": at, "set": [change("app@ns:/data")], "again": [],
            "againSince": null, "approvedAt": null,
            "approval": {"plan": "s-1", "changes": [change("global")]},
        })
    );
    // Approved, it waits no more; the approval of an expiry is none of settings.
    for (expiry, settings, reason) in [(Some("s-1"), None, "AwaitsApproval"), (None, Some("s-1"), "InForce")] {
        entry.told.approved_expiry = expiry.map(Hash::written);
        entry.told.approved_settings = settings.map(Hash::written);
        said(&mut entry, &Agenda::default(), &us(), None, at.parse().unwrap());
        assert_eq!(ready(&entry).0, reason);
    }
    // A run that sets nothing leaves what was set last; one by approval says when.
    told(&mut entry, Settings { kept: 2, ..Settings::default() });
    let settings = entry.status.settings.clone().unwrap();
    assert_eq!((settings.kept, settings.set.len(), settings.approved_at, settings.approval), (2, 1, None, None));
    told(&mut entry, Settings { kept: 1, set: vec![difference("global")], by_approval: true, approval: None });
    let settings = entry.status.settings.clone().unwrap();
    assert_eq!((settings.set[0].target.as_str(), settings.approved_at), ("global", Some(super::at())));
    told(&mut entry, Settings { kept: 2, ..Settings::default() });
    assert_eq!(entry.status.settings.unwrap().approved_at, Some(super::at()), "that is not forgotten");
}

#[test]
fn what_has_to_be_set_again_and_again_is_a_finding_while_the_spec_names_it() {
    let status = json!({"uniqueID": "id", "repository": {"owner": "volwarden@c-1"}});
    let mut entry = entry(&retention(), &status);
    let set = |targets: &[&str]| Settings {
        set: targets.iter().map(|target| difference(target)).collect(),
        ..Settings::default()
    };
    told(&mut entry, set(&["app@ns:/data"]));
    assert_eq!(entry.told.again, None, "once is what it is for");
    entry.status.settings.as_mut().unwrap().set_at = Some("2026-11-24T10:00:00Z".parse().unwrap());
    told(&mut entry, set(&["global", "app@ns:/data"]));
    let again =
        Again { targets: vec!["app@ns:/data".to_owned()], since: "2026-11-24T10:00:00Z".parse().unwrap(), at: at() };
    assert_eq!(entry.told.again, Some(again.clone()));
    told(&mut entry, set(&["app@ns:/data"]));
    assert_eq!(entry.told.again, Some(again), "since the first of them");
    let status = serde_json::to_value(&entry.status).unwrap();
    assert_eq!(super::entry(&json!({}), &status).told.again, None, "it is not named any more");
    told(&mut entry, Settings { kept: 3, ..Settings::default() });
    assert_eq!(entry.told.again, None, "it has stayed");
}

#[test]
fn an_approval_whose_run_failed_is_used_up() {
    let status = json!({"uniqueID": "id", "repository": {"owner": "volwarden@c-1"}});
    // Without a report, and with one that knows of nothing that was set.
    let lost = |result: Ended| Conclusion { ended: result, class: None, said: "no report".to_owned(), report: None };
    let told = |result: Ended| {
        let settings = Some(Settings { kept: 1, ..Settings::default() });
        Conclusion { report: Some(Report { settings, ..Report::happened(Task::Settings, "") }), ..lost(result) }
    };
    let after = |approval: Option<&str>, task: Task, conclusion: &Conclusion| {
        let mut entry = entry(&retention(), &status);
        entry.told.approved_settings = approval.map(Hash::written);
        entry.told.approved_expiry = approval.map(Hash::written);
        ended(&mut entry, task, conclusion);
        entry.status.settings.and_then(|settings| settings.approved_at)
    };
    let used = |approval: Option<&str>, task: Task, result: Ended| after(approval, task, &lost(result));
    for result in [Ended::Failed, Ended::Unclear] {
        assert_eq!(after(Some("s-1"), Task::Settings, &told(result)), Some(at()));
    }
    assert_eq!(after(Some("s-1"), Task::Settings, &told(Ended::Happened)), None, "it says that it used none");
    assert_eq!(used(Some("s-1"), Task::Settings, Ended::Unclear), Some(at()));
    assert_eq!(used(Some("s-1"), Task::Settings, Ended::NotRun), None, "it did nothing");
    assert_eq!(used(None, Task::Settings, Ended::Unclear), None);
    assert_eq!(used(Some("s-1"), Task::Expire, Ended::Unclear), None);
}

#[test]
fn both_approvals_that_wait_are_told_and_a_spec_without_policies_waits_for_none() {
    let status = json!({
        "uniqueID": "id", "repository": {"owner": "volwarden@c-1"},
        "expire": {"terms": "t", "approval": {"plan": "e-1", "foreign": ["web@x:/data"]}},
        "settings": {"approval": {"plan": "s-1", "changes": [{"target": "global", "change": "annual 3 to 0"}]}},
    });
    let mut spec = retention();
    spec["expire"] = json!({"mode": "Enforce"});
    let mut both = entry(&spec, &status);
    said(&mut both, &Agenda::default(), &us(), None, at());
    let (reason, message) = ready(&both);
    assert_eq!(reason, "AwaitsApproval");
    assert!(
        message.contains("approved-expiry=e-1 --overwrite. some") && message.contains("approved-settings=s-1"),
        "{message}"
    );
    let mut none = entry(&json!({}), &status);
    said(&mut none, &Agenda::default(), &us(), None, at());
    assert_eq!(ready(&none).0, "InForce");
}
