//! SnapshotRetentions on a real API server: what may be written, what is kept of it, and what a person sees.

use serde_json::{Value, json};
use volwarden::api::check;
use volwarden::api::period::Period;
use volwarden::api::policy;
use volwarden::api::retention::{
    Approved, ByAge, Calendar, Cleanup, CleanupStatus, ConsentMode, Held, Keep, RetainedContents, RetentionCounts,
    RetentionPlan, Run, RunOutcome, RunRecord, Schedule, SnapshotRetentionSpec, SnapshotRetentionStatus, Trigger,
};

use crate::Ask;
use crate::definitions::{GROUP, at, conditions, defined, is_kept};

fn retention(spec: &Value) -> Ask {
    let object = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "SnapshotRetention",
        "metadata": {"name": "retention"}, "spec": spec,
    });
    Ask::create(&format!("{GROUP}/snapshotretentions?fieldValidation=Strict"), object)
}

/// What may not be written, and a word of the server's answer that shows that it was for this reason.
fn wrong() -> Vec<(Value, &'static str)> {
    let schedule =
        |cron: &str, zone: &str, jitter: &str| json!({"schedule": {"cron": cron, "timeZone": zone, "jitter": jitter}});
    vec![
        (json!({"mode": "Auto"}), "spec.mode: Unsupported value"),
        (json!({"mode": "Enforce"}), "mode Enforce needs the drivers named"),
        (json!({"cleanup": {"volsyncLeftovers": {"mode": "Enforce"}}}), "mode Enforce needs the drivers named"),
        (json!({"cleanup": {"failedSnapshots": {"mode": "Enforce"}}}), "mode Enforce needs the drivers named"),
        (
            json!({"drivers": ["d"], "cleanup": {"retainedContents": {"mode": "Enforce"}}}),
            "retainedContents.mode: Unsupported value",
        ),
        (json!({"cleanup": {"failedSnapshots": {"olderThan": "59s"}}}), "has to be from 1m to 8760h"),
        (json!({"cleanup": {"jobs": {}}}), "unknown field \"spec.cleanup.jobs\""),
        (json!({"approval": {"validFor": "25h"}}), "has to be from 1m to 24h"),
        (json!({"keep": {"dayly": 7}}), "unknown field \"spec.keep.dayly\""),
        (json!({"keep": {"daily": -1}}), "daily"),
        (json!({"keep": {"annual": 100_001}}), "annual"),
        (json!({"calendar": "Lunar"}), "spec.calendar: Unsupported value"),
        (json!({"timeZone": "Central Europe"}), "timeZone in body should match"),
        (json!({"minReady": 0}), "minReady"),
        (json!({"minAge": "1d"}), "minAge in body should match"),
        (json!({"minAge": "8761h"}), "has to be from 0s to 8760h"),
        (json!({"maxDeletionsPerRun": 0}), "maxDeletionsPerRun"),
        (json!({"maxDeletionsPerRun": 10_001}), "maxDeletionsPerRun"),
        (json!({"deletionsPerMinute": 601}), "deletionsPerMinute"),
        (json!({"classes": ["Fast"]}), "classes[0] in body should match"),
        (json!({"drivers": ["a", "a"]}), "spec.drivers[1]: Duplicate value"),
        (schedule("@daily", "UTC", "0s"), "cron in body should match"),
        (schedule("0 2 * * *", "Central Europe", "0s"), "timeZone in body should match"),
        (schedule("0 2 * * *", "UTC", "25h"), "has to be from 0s to 24h"),
        (json!({"schedule": {}}), "cron: Required value"),
        (json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}), "In and NotIn need values"),
        (json!({"windows": [{"schedule": "0 2 * * *", "duration": "0s"}]}), "has to be from 1m to 168h"),
    ]
}

#[test]
fn a_wrong_retention_is_refused_by_the_server_and_by_us() {
    let Some(server) = defined() else { return };
    let right = [
        json!({}),
        json!({"schedule": null, "selector": null}),
        json!({"cleanup": {"retainedContents": {"mode": "Approve"}, "volsyncLeftovers": {}, "failedSnapshots": null}}),
        json!({"drivers": ["d"], "cleanup": {"volsyncLeftovers": {"mode": "Enforce", "olderThan": "1h"}}}),
        json!({"approval": {"validFor": "30m"}}),
        json!({"mode": "Enforce", "drivers": ["csi.example.com"], "keep": {"daily": 7}, "classes": ["fast", "a.b-c"]}),
        json!({"schedule": {"cron": "30 2 * * *"}, "minAge": "0s", "minReady": 1000, "calendar": "Strict"}),
    ];
    for spec in right {
        server.must(&retention(&spec).dry());
        assert_eq!(check::retention(&spec).flaws, [], "{spec}");
    }
    let empty = server.must(&retention(&json!({})).dry());
    assert_eq!(empty["spec"], serde_json::to_value(SnapshotRetentionSpec::default()).unwrap(), "the server's defaults");
    for (spec, because) in wrong() {
        let (code, said) = server.send(&server.admin, &retention(&spec).dry());
        assert!([400, 422].contains(&code), "{spec}: {code}");
        assert!(said["message"].as_str().unwrap().contains(because), "{spec}: {said}");
        // The one rule over several fields is the core's.
        if because != "mode Enforce needs the drivers named" {
            assert!(!check::retention(&spec).flaws.is_empty(), "{spec}: the server refuses it, and a file is taken");
        }
    }
}

#[test]
fn all_of_a_retention_is_kept_and_shown() {
    let Some(server) = defined() else { return };
    is_kept(&server, "SnapshotRetention", "snapshotretentions", &full(), &full_status());
    let table = server.stack.kubectl(["get", "sret", "-o", "wide"]).unwrap();
    for word in ["MODE", "TO PRUNE", "NEXT RUN", "Approve", "True", "41", "0123456789abcdef"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(server.stack.kubectl(["get", "volwarden", "-o", "name"]).unwrap().contains("snapshotretention"));
}

fn full() -> SnapshotRetentionSpec {
    let selector = || {
        Some(policy::Selector {
            match_labels: [("tier".to_owned(), "db".to_owned())].into(),
            match_expressions: vec![policy::Requirement {
                key: "app".to_owned(),
                operator: policy::Operator::In,
                values: vec!["a".to_owned()],
            }],
        })
    };
    SnapshotRetentionSpec {
        mode: policy::Mode::Approve,
        suspend: true,
        pause: Some(policy::Pause { reason: "upgrade".to_owned(), until: at() }),
        selector: selector(),
        namespace_selector: selector(),
        classes: vec!["fast".to_owned()],
        drivers: vec!["csi.example.com".to_owned()],
        keep: Keep { latest: 1, hourly: 2, daily: 3, weekly: 4, monthly: 5, annual: 6 },
        calendar: Calendar::Strict,
        time_zone: "Europe/Berlin".to_owned(),
        min_ready: 2,
        min_age: Period::hours(2),
        schedule: Some(Schedule {
            cron: "30 2 * * *".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            jitter: Period::minutes(10),
        }),
        max_deletions_per_run: 7,
        deletions_per_minute: 8,
        windows: vec![policy::Window {
            schedule: "0 22 * * *".to_owned(),
            duration: Period::hours(6),
            time_zone: "UTC".to_owned(),
        }],
        approval: policy::Approvals { valid_for: Period::minutes(30) },
        cleanup: Some(Cleanup {
            retained_contents: Some(RetainedContents { mode: ConsentMode::Approve, older_than: Period::hours(720) }),
            volsync_leftovers: Some(ByAge { mode: policy::Mode::Enforce, older_than: Period::hours(24) }),
            failed_snapshots: Some(ByAge { mode: policy::Mode::Observe, older_than: Period::hours(48) }),
        }),
    }
}

fn full_status() -> SnapshotRetentionStatus {
    SnapshotRetentionStatus {
        observed_generation: Some(1),
        conditions: conditions(),
        last_handled_request: Some("now".to_owned()),
        last_scheduled: Some(at()),
        next_run: Some(at()),
        counts: Some(RetentionCounts { snapshots: 60, kept: 10, to_prune: 41, held: 9 }),
        held_by: vec![Held { reason: "TooYoung".to_owned(), count: 9 }],
        plan: Some(RetentionPlan {
            hash: "0123456789abcdef".to_owned(),
            at: at(),
            to_prune: 41,
            reclaimable_bytes: 1 << 40,
        }),
        cleanup: vec![CleanupStatus {
            part: "RetainedContents".to_owned(),
            to_prune: 3,
            held: 1,
            held_by: vec![Held { reason: "Unmarked".to_owned(), count: 1 }],
            hash: "fedcba9876543210".to_owned(),
            reclaimable_bytes: 1 << 30,
        }],
        approvals: vec![Approved {
            hash: "fedcba9876543210".to_owned(),
            at: at(),
            expires: at(),
            last_run: Some(at()),
        }],
        run: Some(Run {
            trigger: Trigger::Schedule,
            request: Some("now".to_owned()),
            started_at: at(),
            hash: "0123456789abcdef".to_owned(),
            planned: 7,
            deleted: 3,
            by: "volwarden-0".to_owned(),
            held_by: Some("window: closed".to_owned()),
        }),
        history: vec![RunRecord {
            trigger: Trigger::Request,
            started_at: at(),
            finished_at: at(),
            outcome: RunOutcome::Partly,
            planned: 7,
            deleted: 5,
            hanging: 1,
            message: "one hangs".to_owned(),
        }],
    }
}
