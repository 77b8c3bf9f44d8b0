//! `volwarden crds` on a real API server: structural, established, with every limit awake.

use std::process::Command;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stack::Options;
use volwarden::api::condition::{Condition, ConditionStatus};
use volwarden::api::orphan::{self, OrphanPhase, OrphanedSnapshotSpec, OrphanedSnapshotStatus};
use volwarden::api::period::Period;
use volwarden::api::policy::{self, RemediationPolicySpec, RemediationPolicyStatus};
use volwarden::api::remediation::{self, RemediationSpec, RemediationStatus};
use volwarden::domain::ceph::Location;
use volwarden::domain::digest::Hash;
use volwarden::domain::finding::{Class, Finding, Repair, Rung, Subject};
use volwarden::domain::guard::{TABLE, Verdict};
use volwarden::domain::ledger::{Approval, Outcome, Phase, Plan, Record};
use volwarden::domain::name::{Key, Uid};
use volwarden::domain::policy::Standing;
use volwarden::domain::record::DeletionPolicy;
use volwarden::domain::record::Kind;
use volwarden::domain::remedy::Step;
use volwarden::domain::remedy::action::Orphan;
use volwarden::domain::remedy::action::{Target, TargetKind};
use volwarden::io::ledger::{self, GENERATION};
use volwarden::io::policy::file::{self, Document};
use volwarden::io::{orphan as io_orphan, policy as io_policy};

use crate::{Ask, Server};

pub(crate) const GROUP: &str = "/apis/volwarden.dev/v1alpha1";

/// A server with our definitions, as a user brings them there.
pub(crate) fn defined() -> Option<Server> {
    let server = Server::start(Options::control_plane())?;
    let printed = Command::new(env!("CARGO_BIN_EXE_volwarden")).arg("crds").output().unwrap();
    assert!(printed.status.success() && printed.stderr.is_empty());
    server.stack.apply(&String::from_utf8(printed.stdout).unwrap()).unwrap();
    server.wait_established();
    Some(server)
}

fn policy(spec: &Value) -> Ask {
    let object = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy",
        "metadata": {"name": "policy"}, "spec": spec,
    });
    Ask::create(&format!("{GROUP}/remediationpolicies?fieldValidation=Strict"), object)
}

/// What may not be written, and a word of the server's answer that shows that it was for this reason.
fn wrong_policies() -> Vec<(Value, &'static str)> {
    let drivers = |drivers: Value| json!({"scope": {"drivers": drivers}});
    let budgets = |key: &str, value: i64| json!({"limits": {"budgets": {key: value}}});
    let limits = |key: &str, value: i64| json!({"limits": {key: value}});
    let breaker = |breaker: Value| json!({"limits": {"breaker": breaker}});
    let window = |schedule: &str, duration: &str, zone: &str| json!({"windows": [{"schedule": schedule, "duration": duration, "timeZone": zone}]});
    let selector = |requirement: Value| json!({"scope": {"namespaceSelector": {"matchExpressions": [requirement]}}});
    let alert =
        |prometheus: &str, query: &str| json!({"alerts": [{"name": "a", "prometheus": prometheus, "query": query}]});
    vec![
        (alert("http://user:word@prometheus", "up == 0"), "alerts[0].prometheus in body should match"),
        (alert("prometheus:9090", "up == 0"), "alerts[0].prometheus in body should match"),
        (alert("http://prometheus", "ALERTS{alertname=\"VolSyncVolumeOutOfSync\"}"), "are the incident"),
        (alert("http://prometheus", "volwarden_findings > 0"), "are the incident"),
        (alert("http://prometheus", ""), "alerts[0].query in body should be at least 1 chars long"),
        (json!({"mode": "Auto"}), "spec.mode: Unsupported value"),
        (json!({"mode": "Enforce"}), "mode Enforce needs the drivers named"),
        (json!({"mode": "Enforce", "scope": {"drivers": []}}), "mode Enforce needs the drivers named"),
        (json!({"budget": 1}), "unknown field \"spec.budget\""),
        (drivers(json!(["a", "a"])), "spec.scope.drivers[1]: Duplicate value"),
        (drivers(json!(["a b"])), "spec.scope.drivers[0] in body should match"),
        (drivers(json!(["a".repeat(64)])), "spec.scope.drivers[0]: Too long"),
        (drivers((0..65).map(|n| json!(format!("d{n}"))).collect()), "spec.scope.drivers: Too many"),
        (json!({"scope": {"excludedNamespaces": ["Kube"]}}), "excludedNamespaces[0] in body should match"),
        (selector(json!({"key": "a", "operator": "In"})), "In and NotIn need values"),
        (selector(json!({"key": "a", "operator": "Exists", "values": ["b"]})), "In and NotIn need values"),
        (selector(json!({"key": "a", "operator": "Like"})), "operator: Unsupported value"),
        (json!({"thresholds": {"minFloor": "1d"}}), "minFloor in body should match"),
        (json!({"thresholds": {"minFloor": "-1m"}}), "minFloor in body should match"),
        (json!({"thresholds": {"minFloor": "30m1h"}}), "minFloor in body should match"),
        (json!({"thresholds": {"minFloor": ""}}), "minFloor"),
        (json!({"thresholds": {"minFloor": "169h"}}), "has to be from 0s to 168h"),
        (json!({"thresholds": {"observations": 2}}), "observations"),
        (json!({"thresholds": {"observationInterval": "29s"}}), "has to be from 30s to 10m"),
        (budgets("nudgesPerHour", -1), "nudgesPerHour"),
        (budgets("nudgesPerHour", 100_001), "nudgesPerHour"),
        (budgets("marksPerHour", 100_001), "marksPerHour"),
        (budgets("finalizersPerHour", 1_001), "finalizersPerHour"),
        (budgets("leasesPerHour", 7), "leasesPerHour"),
        (budgets("restartsPerSixHours", 13), "restartsPerSixHours"),
        (limits("firstSingly", 0), "firstSingly"),
        (limits("maxInFlight", 0), "maxInFlight"),
        (limits("maxInFlight", 65), "maxInFlight"),
        (breaker(json!({"failures": 0})), "failures"),
        (breaker(json!({"failures": 11})), "failures"),
        (breaker(json!({"halfOpenAfter": "4m"})), "has to be from 5m to 168h"),
        (breaker(json!({"halfOpenAfter": "13h"})), "halfOpenAfter may not be longer"),
        (breaker(json!({"maxOpenFor": "169h"})), "has to be from 5m to 168h"),
        (window("0 2 * *", "1h", "UTC"), "schedule in body should match"),
        (window("@daily", "1h", "UTC"), "schedule in body should match"),
        (window("0 2 * * *", "0s", "UTC"), "has to be from 1m to 168h"),
        (window("0 2 * * *", "1h", "Central Europe"), "timeZone in body should match"),
        (json!({"windows": [{"schedule": "0 2 * * *"}]}), "duration: Required value"),
        (json!({"approval": {"validFor": "25h"}}), "has to be from 1m to 24h"),
        (json!({"ledger": {"keep": 99}}), "keep"),
        (json!({"ledger": {"keepFor": "6h"}}), "has to be from 7h to 2160h"),
        (json!({"ledger": {"keepFor": "12h"}}), "ledger.keepFor has to be longer"),
        (
            json!({"ledger": {"keepFor": "24h"}, "limits": {"breaker": {"maxOpenFor": "24h"}}}),
            "keepFor has to be longer",
        ),
        (json!({"pause": {"reason": "maintenance"}}), "pause.until: Required value"),
        (json!({"pause": {"reason": "", "until": "2026-01-01T00:00:00Z"}}), "pause.reason"),
        (json!({"pause": {"reason": "x", "until": "tomorrow"}}), "pause.until"),
    ]
}

/// At the edges of what may be written.
fn right_policies() -> Vec<Value> {
    let window =
        |schedule: &str, zone: &str| json!({"windows": [{"schedule": schedule, "duration": "168h", "timeZone": zone}]});
    vec![
        json!({}),
        json!({"mode": null, "pause": null, "scope": {"namespaceSelector": null}}),
        json!({"mode": "Enforce", "scope": {"drivers": ["csi.example.com"]}}),
        json!({"limits": {"breaker": {"maxOpenFor": "24h"}}, "ledger": {"keepFor": "25h"}}),
        json!({"scope": {"drivers": ["a".repeat(63), "A-b.9"], "excludedNamespaces": ["0", "a-b"], "namespaceSelector": {}}}),
        json!({"thresholds": {"minFloor": "0s", "observations": 20, "observationInterval": "10m"}}),
        json!({"pause": {"reason": "ß".repeat(256), "until": "2026-01-01T01:00:00+01:00"}}),
        window("0 22 * * Mon-Fri", "America/Argentina/Buenos_Aires"),
        window("*/5 1,2 1-7 JAN 6#1", "Etc/GMT+5"),
    ]
}

#[test]
fn definitions_are_structural_and_a_wrong_policy_is_refused() {
    let Some(server) = defined() else { return };
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for kind in ["remediationpolicies", "remediations", "orphanedsnapshots", "snapshotretentions", "kopiarepositories"]
    {
        let crd = server.must(&Ask::get(&format!("{crds}/{kind}.volwarden.dev")));
        let conditions = crd["status"]["conditions"].as_array().unwrap().iter();
        let conditions: Vec<_> = conditions.map(|condition| (&condition["type"], &condition["status"])).collect();
        assert!(!conditions.iter().any(|(kind, _)| **kind == json!("NonStructuralSchema")), "{kind}: {conditions:?}");
        assert!(conditions.iter().all(|(_, status)| **status == json!("True")), "{kind}: {conditions:?}");
    }

    for spec in right_policies() {
        server.must(&policy(&spec).dry());
        let found = file::policies(&[Document { place: "file".to_owned(), value: policy(&spec).body }]);
        assert!(found.is_ok(), "{spec}: the server takes it, and a file with it is refused: {found:?}");
    }
    let empty = server.must(&policy(&json!({})).dry());
    assert_eq!(empty["spec"], serde_json::to_value(RemediationPolicySpec::default()).unwrap(), "the server's defaults");

    for (spec, because) in wrong_policies() {
        let (code, said) = server.send(&server.admin, &policy(&spec).dry());
        assert!([400, 422].contains(&code), "{spec}: {code}");
        assert!(said["message"].as_str().unwrap().contains(because), "{spec}: {said}");
        let found = file::policies(&[Document { place: "file".to_owned(), value: policy(&spec).body }]);
        assert!(found.is_err(), "{spec}: the server refuses it, and a file with it is taken");
    }
}

/// Writes an object and its status, and reads both again: what the schema does not know would be dropped in silence.
pub(crate) fn is_kept<Spec, Status>(server: &Server, kind: &str, plural: &str, spec: &Spec, status: &Status) -> String
where
    Spec: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    Status: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let path = format!("{GROUP}/{plural}");
    let object = json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": kind, "metadata": {"name": "full"}, "spec": spec, "status": {"phase": "x"},
    });
    let created = server.must(&Ask::create(&path, object));
    assert_eq!(created.get("status"), None, "status is a subresource");
    let path = format!("{path}/full");
    let written = server.must(&Ask::merge(&format!("{path}/status?fieldValidation=Strict"), json!({"status": status})));
    assert_eq!(&serde_json::from_value::<Spec>(written["spec"].clone()).unwrap(), spec);
    assert_eq!(&serde_json::from_value::<Status>(written["status"].clone()).unwrap(), status);
    path
}

#[test]
fn what_the_types_hold_is_kept_and_what_never_changes_cannot() {
    let Some(server) = defined() else { return };
    let path = is_kept(&server, "RemediationPolicy", "remediationpolicies", &full_policy(), &full_policy_status());
    server.must(&Ask::merge(&path, json!({"spec": {"mode": "Observe"}})));

    let path = is_kept(&server, "Remediation", "remediations", &full_remediation(), &full_remediation_status());
    for change in [json!({"class": "MissedEvent"}), json!({"subject": {"uid": "u-2"}}), json!({"driver": null})] {
        let (code, said) = server.send(&server.admin, &Ask::merge(&path, json!({"spec": change})));
        assert_eq!(code, 422, "{change}: {said}");
        assert!(said["message"].as_str().unwrap().contains("an entry's spec never changes"), "{said}");
    }
    for (status, because) in [
        (json!({"phase": "Running"}), "status.phase: Unsupported value"),
        (json!({"plan": {"hash": "short"}}), "status.plan.hash"),
        (json!({"verdicts": [{"guard": "budget", "verdict": "Maybe", "reason": "x"}]}), "verdict: Unsupported value"),
        (json!({"attempts": [{"number": 0}]}), "status.attempts[0].number"),
    ] {
        let (code, said) =
            server.send(&server.admin, &Ask::merge(&format!("{path}/status"), json!({"status": status})));
        assert_eq!(code, 422, "{status}: {said}");
        assert!(said["message"].as_str().unwrap().contains(because), "{status}: {said}");
    }

    let path = is_kept(&server, "OrphanedSnapshot", "orphanedsnapshots", &full_orphan(), &full_orphan_status());
    let (code, said) = server.send(&server.admin, &Ask::merge(&path, json!({"spec": {"snapshotHandle": "other"}})));
    assert_eq!(code, 422, "{said}");
    assert!(said["message"].as_str().unwrap().contains("recorded once and never changes"), "{said}");

    let shown = |words: &[&str]| server.stack.kubectl(words).unwrap();
    let table = shown(&["get", "rem"]);
    for word in ["CLASS", "HELD BY", "OrphanedContent", "snapcontent-1", "MarkBeingDeleted", "AwaitingApproval", "mode"]
    {
        assert!(table.contains(word), "{word}: {table}");
    }
    let table = shown(&["get", "rpol", "-o", "wide"]);
    assert!(
        ["MODE", "PAUSED UNTIL", "Observe", "True", "all is well"].iter().all(|word| table.contains(word)),
        "{table}"
    );
    let table = shown(&["get", "orphan", "-o", "wide"]);
    assert!(["HANDLE", "POOL", "0001-0009", "Orphaned", "7"].iter().all(|word| table.contains(word)), "{table}");
    let all = shown(&["get", "volwarden", "-o", "name"]);
    assert_eq!(all.lines().count(), 3, "the category: {all}");
    let waiting = shown(&["get", "rem", "-o", "name", "--field-selector", "status.phase=AwaitingApproval"]);
    assert_eq!(waiting, "remediation.volwarden.dev/full\n");
    assert_eq!(shown(&["get", "rem", "-o", "name", "--field-selector", "status.phase=Done"]), "");
}

#[test]
fn an_orphan_and_the_status_of_a_policy_are_kept() {
    let Some(server) = defined() else { return };
    let orphan = Orphan {
        driver: "rook-ceph.rbd.csi.ceph.com".into(),
        handle: ORPHAN.into(),
        class: Some("fast".into()),
        policy: DeletionPolicy::Delete,
        secret: None,
        volume_handle: Some("vol-1".into()),
        content: (Key::cluster("snapcontent-1"), Uid::parse("c-1")),
        snapshot: (Key::namespaced("default", "db-1"), Some(Uid::parse("s-1"))),
        ceph: Location::of(ORPHAN),
        reason: "its driver is gone".to_owned(),
    };
    let path = format!("{GROUP}/orphanedsnapshots");
    let strict = |path: &str| format!("{path}?fieldValidation=Strict");
    let made = server.must(&Ask::create(&strict(&path), io_orphan::created(&orphan, "driver-unknown-c-1-6b")));
    assert_eq!(made["spec"], io_orphan::created(&orphan, "driver-unknown-c-1-6b")["spec"]);
    assert!(made["spec"]["command"].as_str().unwrap().contains("rbd rm"));
    let status = format!("{path}/{}/status", orphan.name());
    let mut version = made["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    for phase in [OrphanPhase::Announced, OrphanPhase::Orphaned, OrphanPhase::Withdrawn] {
        let entry = io_orphan::Entry { version: &version, generation: GENERATION, created: at() };
        let stored = server.must(&Ask::merge(&strict(&status), io_orphan::status(&entry, phase, "in words", at())));
        version = stored["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let left = io_orphan::left(&stored.to_string()).unwrap();
        assert_eq!(left.is_some(), phase != OrphanPhase::Withdrawn, "{phase:?}");
    }

    let path = format!("{GROUP}/remediationpolicies/policy");
    server.must(&policy(&json!({"mode": "Approve"})));
    let mut standing = Standing { held: 1, conflicts: vec!["other".into()], ..Standing::default() };
    standing.paused = Some(("upgrade".to_owned(), Some(at())));
    let write = |standing: &Standing| {
        let read = io_policy::read("policy", &server.must(&Ask::get(&path)).to_string());
        let change = io_policy::status(&read, standing, at())?;
        Some(server.must(&Ask::merge(&strict(&format!("{path}/status")), change)))
    };
    let stored = write(&standing).unwrap();
    assert_eq!(
        (&stored["status"]["counts"]["held"], &stored["status"]["paused"]["reason"]),
        (&json!(1), &json!("upgrade"))
    );
    assert_eq!(stored["status"]["observedGeneration"], 1);
    assert_eq!(write(&standing), None, "the object says it already");
    let stored = write(&Standing::default()).unwrap();
    assert_eq!(stored["status"].get("paused"), None);
}

/// A handle of ceph-csi.
const ORPHAN: &str = "0001-0009-rook-ceph-000000000000001f-5286d2fc-b692-4bc7-90b0-d76f2e38d0f7";

#[test]
fn a_record_goes_there_and_comes_back() {
    let Some(server) = defined() else { return };
    let plan = Plan {
        hash: Hash::written("0123456789abcdef0123456789abcdef"),
        step: Step::RemoveContentFinalizer,
        summary: "remove the finalizer".to_owned(),
        policies: vec!["default".into()],
        target: Target {
            kind: TargetKind::Content,
            key: Key::cluster("snapcontent-1"),
            uid: Uid::parse("u-1"),
            version: "42".into(),
        },
        leaks: true,
        destroys: true,
        handle: Some("snap-1".into()),
    };
    let finding = Finding {
        class: Class::DeletedNotReleased,
        subject: Subject::new(Kind::VolumeSnapshotContent, Key::cluster("snapcontent-1")),
        uid: Some(Uid::parse("u-1")),
        driver: Some("csi.example.com".into()),
        cause: None,
        since: at(),
        summary: String::new(),
        evidence: vec!["its status is emptied".to_owned()],
        leaks: false,
        destroys: false,
        unverified: false,
        repair: Repair { rung: Rung::RemoveProvisionerFinalizer, text: String::new() },
    };
    let mut record = Record::open(&finding, &"csi.example.com".into(), at());
    let path = format!("{GROUP}/remediations");
    let read = |object: &Value| ledger::record(&object.to_string()).unwrap();
    let made = server.must(&Ask::create(&format!("{path}?fieldValidation=Strict"), ledger::created(&record)));
    assert_eq!(made["metadata"]["generation"], GENERATION);
    let fresh = read(&made);
    assert_eq!((fresh.phase, fresh.attempts.len(), &fresh.subject), (Phase::Held, 0, &record.subject));
    record.version = fresh.version;

    let path = format!("{path}/{}", record.name);
    let store = |record: &mut Record| {
        let write = Ask::merge(&format!("{path}/status?fieldValidation=Strict"), ledger::status(record, GENERATION));
        let stored = read(&server.must(&write));
        record.version = stored.version.clone();
        assert_eq!(&stored, record);
    };
    let wait = Verdict::Wait { until: Some(at()), reason: "closed".to_owned() };
    record.verdicts = TABLE.iter().map(|(guard, ..)| (*guard, wait.clone())).collect();
    record.approval = Some(Approval { hash: plan.hash.clone(), at: at(), expires: at() });
    record.orphan = Some("orphan-u-1".into());
    record.intend(plan.clone(), &"volwarden-0".into(), at());
    store(&mut record);
    let stale = record.clone();
    record.tried(Outcome::Lost, "somebody was first", at());
    store(&mut record);
    (record.plan, record.approval, record.orphan) = (None, None, None);
    record.verdicts.clear();
    store(&mut record);
    record.intend(plan, &"volwarden-0".into(), at());
    record.tried(Outcome::Applied, "done", at());
    record.verified(true, "it is gone", at());
    record.finish(Phase::Done, "it is gone", at());
    store(&mut record);
    let (code, said) =
        server.send(&server.admin, &Ask::merge(&format!("{path}/status"), ledger::status(&stale, GENERATION)));
    assert_eq!(code, 409, "a version that is not the newest: {said}");
    let ready = ["get", "rem", "-o", "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}"];
    assert_eq!(server.stack.kubectl(ready).unwrap(), "True");
}

// === one of each, with every field ===

pub(crate) fn at() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "what is optional is always there, so that it is seen to be kept")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(crate) fn conditions() -> Vec<Condition> {
    vec![Condition {
        r#type: "Ready".to_owned(),
        status: ConditionStatus::True,
        observed_generation: Some(1),
        last_transition_time: at(),
        reason: "Succeeded".to_owned(),
        message: "all is well".to_owned(),
    }]
}

fn full_policy() -> RemediationPolicySpec {
    let requirement = |key: &str, operator, values: &[&str]| policy::Requirement {
        key: key.to_owned(),
        operator,
        values: values.iter().map(ToString::to_string).collect(),
    };
    RemediationPolicySpec {
        mode: policy::Mode::Enforce,
        suspend: true,
        pause: Some(policy::Pause { reason: "maintenance".to_owned(), until: at() }),
        scope: policy::Scope {
            drivers: vec!["rook-ceph.rbd.csi.ceph.com".to_owned()],
            namespace_selector: Some(policy::Selector {
                match_labels: [("team".to_owned(), "storage".to_owned())].into(),
                match_expressions: vec![
                    requirement("tier", policy::Operator::NotIn, &["test"]),
                    requirement("backup", policy::Operator::Exists, &[]),
                ],
            }),
            excluded_namespaces: vec!["kube-system".to_owned()],
        },
        rungs: policy::Rungs { restart_leader: true, nudge: false, ..policy::Rungs::default() },
        thresholds: policy::Thresholds {
            min_floor: Period::minutes(45),
            observations: 5,
            observation_interval: Period::minutes(1),
        },
        limits: policy::Limits {
            budgets: policy::Budgets { nudges_per_hour: 0, ..policy::Budgets::default() },
            first_singly: 5,
            max_in_flight: 2,
            breaker: policy::Breaker {
                failures: 2,
                half_open_after: Period::hours(1),
                max_open_for: Period::hours(24),
            },
        },
        windows: vec![policy::Window {
            schedule: "0 22 * * Mon-Fri".to_owned(),
            duration: Period::hours(6),
            time_zone: "Europe/Berlin".to_owned(),
        }],
        alerts: vec![policy::Gate {
            name: "ceph-health".to_owned(),
            prometheus: "http://prometheus-operated.monitoring.svc:9090".to_owned(),
            query: "ceph_health_status == 2".to_owned(),
        }],
        backend: policy::Backend { assume_healthy: true },
        approval: policy::Approvals { valid_for: Period::minutes(30) },
        ledger: policy::Ledger { keep: 500, keep_for: Period::hours(48) },
    }
}

fn full_policy_status() -> RemediationPolicyStatus {
    RemediationPolicyStatus {
        observed_generation: Some(1),
        conditions: conditions(),
        counts: Some(policy::Counts { held: 1, acting: 2, done: 3, failed: 4 }),
        floors: vec![policy::Floor { driver: "d".to_owned(), text: "17m30s, from --timeout".to_owned(), raised: true }],
        paused: Some(policy::Paused { reason: "suspended".to_owned(), until: Some(at()) }),
    }
}

fn full_remediation() -> RemediationSpec {
    RemediationSpec {
        subject: remediation::ObjectRef {
            kind: "VolumeSnapshotContent".to_owned(),
            namespace: some("default"),
            name: "snapcontent-1".to_owned(),
            uid: some("u-1"),
        },
        class: "OrphanedContent".to_owned(),
        driver: some("rook-ceph.rbd.csi.ceph.com"),
        since: at(),
    }
}

fn full_remediation_status() -> RemediationStatus {
    let target = remediation::Target {
        kind: "VolumeSnapshotContent".to_owned(),
        namespace: some("default"),
        name: "snapcontent-1".to_owned(),
        uid: "u-1".to_owned(),
        resource_version: "42".to_owned(),
    };
    let verdicts = vec![remediation::GuardVerdict {
        guard: "mode".to_owned(),
        verdict: remediation::Verdict::Wait,
        reason: "needs an approval".to_owned(),
        until: Some(at()),
    }];
    RemediationStatus {
        observed_generation: Some(1),
        phase: Some(remediation::Phase::AwaitingApproval),
        message: some("waits for an approval"),
        held_by: some("mode"),
        evidence: vec!["not marked for deletion".to_owned()],
        plan: Some(remediation::Plan {
            hash: "0123456789abcdef".to_owned(),
            rung: "MarkBeingDeleted".to_owned(),
            summary: "add the annotation".to_owned(),
            policies: vec!["policy".to_owned()],
            target: target.clone(),
            leaks: false,
            destroys: true,
            finalizer: some("a/b"),
            handle: some("0001-0009-rook-ceph-0000000000000007-x"),
        }),
        verdicts,
        approval: Some(remediation::Approval { hash: "0123".to_owned(), at: at(), expires: at() }),
        intent: Some(remediation::Intent {
            attempt: 2,
            rung: "Nudge".to_owned(),
            hash: "0123".to_owned(),
            target: target.clone(),
            at: at(),
            by: "volwarden-0".to_owned(),
            leaks: true,
            destroys: true,
        }),
        attempts: vec![remediation::Attempt {
            number: 1,
            rung: "Nudge".to_owned(),
            target,
            at: at(),
            outcome: remediation::AttemptOutcome::Applied,
            verification: Some(remediation::Verification::Failed),
            message: "nothing moved".to_owned(),
            ended_at: Some(at()),
            duration: Some(Period::seconds(90)),
        }],
        orphaned_snapshot: some("orphan-1"),
        outcome: some("gone"),
        opened_at: Some(at()),
        started_at: Some(at()),
        finished_at: Some(at()),
        conditions: conditions(),
    }
}

fn full_orphan() -> OrphanedSnapshotSpec {
    OrphanedSnapshotSpec {
        driver: "rook-ceph.rbd.csi.ceph.com".to_owned(),
        snapshot_handle: "0001-0009-rook-ceph-0000000000000007-x".to_owned(),
        volume_snapshot_class_name: some("fast"),
        deletion_policy: orphan::DeletionPolicy::Delete,
        deletion_secret: Some(orphan::SecretRef { name: "s".to_owned(), namespace: "rook-ceph".to_owned() }),
        source_volume_handle: some("vol-1"),
        csi_snapshot_name: some("snapshot-6d1b"),
        ceph: Some(orphan::CephLocation {
            cluster_id: "rook-ceph".to_owned(),
            pool_id: 7,
            object_uuid: "x".to_owned(),
        }),
        origin: orphan::Origin {
            content: orphan::ContentOrigin { name: "snapcontent-1".to_owned(), uid: "u-1".to_owned() },
            snapshot: Some(orphan::SnapshotOrigin {
                namespace: "default".to_owned(),
                name: "db-1".to_owned(),
                uid: some("u-2"),
            }),
        },
        reason: "its driver is gone for good".to_owned(),
        command: some("rbd snap ls"),
        remediation: some("rem-1"),
    }
}

fn full_orphan_status() -> OrphanedSnapshotStatus {
    OrphanedSnapshotStatus {
        observed_generation: Some(1),
        phase: Some(OrphanPhase::Orphaned),
        message: some("left behind"),
        conditions: conditions(),
    }
}
