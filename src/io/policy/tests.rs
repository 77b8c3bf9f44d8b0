use jiff::Timestamp;
use serde_json::json;

use super::file::{Document, policies};
use super::*;
use crate::api::check::walk;
use crate::api::period::Period;
use crate::domain::fence::Fence;
use crate::domain::policy::{Floor, Policies, Standing};

fn object(spec: &Value) -> Value {
    json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "RemediationPolicy",
        "metadata": {"name": "default", "resourceVersion": "7", "generation": 3, "uid": "u"},
        "spec": spec,
    })
}

fn policy(spec: &Value) -> Policy {
    read("default", &object(spec).to_string())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

// === The spec ===

#[test]
fn a_policy_that_says_nothing_is_the_cores_own_default() {
    let policy = policy(&json!({}));
    assert_eq!((policy.spec(), policy.problems()), (&Spec::default(), &[] as &[String]));
    assert_eq!((&*policy.told().version, policy.told().generation), ("7", 3));
}

fn ceph() -> Gate {
    let (name, server, query) = ("ceph".into(), "http://prometheus:9090".into(), "ceph_health_status == 2".into());
    Gate { name, server, query }
}

#[test]
fn every_field_arrives() {
    let policy = policy(&json!({
        "mode": "Enforce",
        "suspend": true,
        "pause": {"reason": "upgrade of Ceph", "until": "2026-11-25T22:00:00Z"},
        "scope": {
            "drivers": ["b", "a"],
            "namespaceSelector": {
                "matchLabels": {"team": "storage"},
                "matchExpressions": [
                    {"key": "tier", "operator": "NotIn", "values": ["test"]},
                    {"key": "zone", "operator": "In", "values": ["x", "y"]},
                    {"key": "backup", "operator": "Exists"},
                    {"key": "old", "operator": "DoesNotExist"},
                ],
            },
            "excludedNamespaces": ["kube-system"],
        },
        "rungs": {"nudge": false, "releaseLease": true},
        "thresholds": {"minFloor": "45m", "observations": 5, "observationInterval": "1m"},
        "limits": {
            "budgets": {
                "nudgesPerHour": 1, "marksPerHour": 2, "finalizersPerHour": 3, "leasesPerHour": 4, "restartsPerSixHours": 5,
            },
            "firstSingly": 6, "maxInFlight": 7,
            "breaker": {"failures": 8, "halfOpenAfter": "1h", "maxOpenFor": "24h"},
        },
        "windows": [{"schedule": "0 22 * * Mon-Fri", "duration": "6h", "timeZone": "Europe/Berlin"}, {"schedule": "0 1 * * *", "duration": "1h"}],
        "alerts": [{"name": "ceph", "prometheus": "http://prometheus:9090/", "query": "ceph_health_status == 2"}],
        "backend": {"assumeHealthy": true}, "approval": {"validFor": "30m"},
        "ledger": {"keep": 500, "keepFor": "48h"},
    }));
    assert_eq!(policy.problems(), &[] as &[String]);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let requirement = |key: &str, operator, values: &[&str]| Requirement {
        key: key.into(),
        operator,
        values: values.iter().map(|value| Box::from(*value)).collect(),
    };
    let expected = Spec {
        mode: Mode::Enforce,
        suspended: true,
        pause: Some(Pause { reason: "upgrade of Ceph".into(), until: "2026-11-25T22:00:00Z".parse().unwrap() }),
        scope: crate::domain::policy::Scope {
            drivers: ["a".into(), "b".into()].into(),
            selector: Some(vec![
                requirement("team", Operator::In, &["storage"]),
                requirement("tier", Operator::NotIn, &["test"]),
                requirement("zone", Operator::In, &["x", "y"]),
                requirement("backup", Operator::Exists, &[]),
                requirement("old", Operator::DoesNotExist, &[]),
            ]),
            excluded: ["kube-system".into()].into(),
        },
        steps: [
            Step::MarkBeingDeleted,
            Step::ReleaseLease,
            Step::RemoveContentFinalizer,
            Step::RemoveProvisionerFinalizer,
        ]
        .into(),
        min_floor: minutes(45),
        observations: 5,
        observation_interval: minutes(1),
        budgets: Budgets { nudges: 1, marks: 2, finalizers: 3, leases: 4, restarts: 5 },
        first_singly: 6,
        max_in_flight: 7,
        breaker: Breaker { failures: 8, half_open_after: minutes(60), max_open_for: minutes(24 * 60) },
        windows: vec![
            ("0 22 * * Mon-Fri".into(), "Europe/Berlin".into(), minutes(360)),
            ("0 1 * * *".into(), "UTC".into(), minutes(60)),
        ],
        gates: vec![ceph()],
        assume_healthy: true,
        approval_valid: minutes(30),
        keep: 500,
        keep_for: minutes(48 * 60),
    };
    assert_eq!(policy.spec(), &expected);
    let everywhere = self::policy(&json!({"scope": {"namespaceSelector": {}}}));
    assert_eq!(everywhere.spec().scope.selector, Some(Vec::new()), "an empty selector selects every namespace");
}

#[test]
fn each_switch_turns_its_steps_and_no_other() {
    let all: Vec<Step> = Step::ALL.into_iter().filter(|step| !step.only_by_approval()).collect();
    let off = serde_json::to_value(Rungs::default()).unwrap();
    let off: serde_json::Map<_, _> = off.as_object().unwrap().keys().map(|key| (key.clone(), json!(false))).collect();
    let mut seen = Vec::new();
    for key in off.keys() {
        let mut rungs = off.clone();
        rungs.insert(key.clone(), json!(true));
        let on: Vec<Step> = policy(&json!({"rungs": rungs})).spec().steps.iter().copied().collect();
        let mut name = key.clone();
        name[..1].make_ascii_uppercase();
        let expected: &[Step] = match key.as_str() {
            "restartLeader" => &[Step::RestartLeader, Step::RestartCandidate],
            _ => &[Step::from_name(&name).unwrap()],
        };
        assert_eq!(on, expected, "{key}");
        seen.extend(on);
    }
    seen.sort();
    assert_eq!(seen, all);
    assert!(policy(&json!({"rungs": off})).spec().steps.is_empty());
}

// === What cannot be read ===

#[test]
fn what_cannot_be_read_observes_everywhere_and_what_is_out_of_range_where_it_applies() {
    let enforce = |more: Value| {
        let mut spec = json!({"mode": "Enforce", "scope": {"drivers": ["d"]}});
        json_patch::merge(&mut spec, &more);
        policy(&spec)
    };
    assert_eq!(enforce(json!({})).mode(), Mode::Enforce);
    for (more, because) in [
        (json!({"limit": 1}), "it cannot be read: spec.limit: there is no such field"),
        (json!({"limits": {"budgets": {"nudges": 1}}}), "it cannot be read: spec.limits.budgets.nudges: there is no"),
        (json!({"mode": "Auto"}), "it cannot be read: spec.mode: `Auto` is not known"),
        (json!({"windows": [{"schedule": "0 1 * * *"}]}), "it cannot be read: spec.windows[0].duration: it is missing"),
        (json!({"thresholds": {"minFloor": "1d"}}), "it cannot be read: spec.thresholds.minFloor: `1d` is no length"),
    ] {
        let policy = enforce(more.clone());
        assert_eq!((policy.mode(), policy.spec()), (Mode::Observe, &Spec::default()), "{more}");
        assert!(policy.problems()[0].starts_with(because), "{:?}", policy.problems());
        assert_eq!(&*policy.told().version, "7");
    }
    for (more, because) in [
        (json!({"thresholds": {"observations": 1}}), "spec.thresholds.observations: 1 is out of range; write 3 to 20"),
        (json!({"limits": {"budgets": {"restartsPerSixHours": 100}}}), "spec.limits.budgets.restartsPerSixHours: 100"),
        (json!({"approval": {"validFor": "720h"}}), "spec.approval.validFor: 720h is out of range"),
        (
            json!({"windows": [{"schedule": "0 1 * * *", "duration": "1h", "timeZone": "Mars/Olympus"}]}),
            "windows[0]: `Mars",
        ),
    ] {
        let policy = enforce(more.clone());
        assert_eq!((policy.mode(), policy.spec().scope.drivers.len()), (Mode::Observe, 1), "{more}");
        assert!(policy.problems()[0].starts_with(because), "{:?}", policy.problems());
    }
    for json in ["", "[]", "{}", r#"{"metadata": {}}"#, r#"{"metadata": {"generation": "x"}, "spec": {}}"#] {
        let policy = read("p", json);
        assert!(policy.mode() == Mode::Observe && policy.problems()[0].starts_with("it cannot be read"), "{json}");
    }
}

// === The status ===

fn schema() -> Value {
    let crds = crate::api::crds().unwrap();
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == "RemediationPolicy").unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status").unwrap().clone()
}

/// The object after its status was written, and what was written.
fn written(object: &Value, standing: &Standing, second: i64) -> Option<(Value, Value)> {
    let policy = read("default", &object.to_string());
    let patch = status(&policy, standing, at(second))?;
    assert_eq!(patch["metadata"], json!({"resourceVersion": &*policy.told().version}));
    let mut object = object.clone();
    json_patch::merge(&mut object, &patch);
    let mut flaws = Vec::new();
    walk(&schema(), &object["status"], "status", &mut flaws);
    assert!(flaws.is_empty(), "{flaws:?}");
    Some((object, patch["status"].clone()))
}

fn told(status: &Value) -> Vec<String> {
    let one = |one: &Value| {
        let since: Timestamp = one["lastTransitionTime"].as_str().unwrap().parse().unwrap();
        let word = |key: &str| one[key].as_str().unwrap().to_owned();
        let since = since.duration_since(at(0)).as_secs();
        format!("{} {} {} {since}", word("type"), word("status"), word("reason"))
    };
    status["conditions"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn a_status_is_written_once_and_its_times_stay_while_nothing_changes() {
    let quiet = Standing::default();
    let (object, said) = written(&object(&json!({})), &quiet, 1).unwrap();
    assert_eq!(told(&said), ["Ready True InForce 1"]);
    assert_eq!((&said["observedGeneration"], &said["paused"]), (&json!(3), &Value::Null));
    assert_eq!(written(&object, &quiet, 2), None, "there is nothing new to say");

    let busy = Standing { held: 1, acting: 2, done: 3, failed: 4, ..Standing::default() };
    let (object, said) = written(&object, &busy, 3).unwrap();
    assert_eq!(told(&said), ["Ready True InForce 1"], "it has been Ready since then");
    assert_eq!(said["counts"], json!({"held": 1, "acting": 2, "done": 3, "failed": 4}));

    let paused = Standing { paused: Some(("upgrade".to_owned(), Some(at(99)))), ..Standing::default() };
    let (object, said) = written(&object, &paused, 4).unwrap();
    assert_eq!(told(&said), ["Ready True Paused 1"]);
    assert_eq!(said["paused"], json!({"reason": "upgrade", "until": at(99).to_string()}));
    let suspended = Standing { paused: Some(("it is suspended".to_owned(), None)), ..Standing::default() };
    let (object, said) = written(&object, &suspended, 5).unwrap();
    assert_eq!(
        (told(&said), &object["status"]["paused"]),
        (vec!["Ready True Suspended 1".to_owned()], &json!({"reason": "it is suspended"}))
    );
    let (object, _) = written(&object, &quiet, 6).unwrap();
    assert_eq!(object["status"].get("paused"), None);

    let mut edited = object;
    edited["metadata"]["generation"] = json!(4);
    let (_, said) = written(&edited, &quiet, 7).unwrap();
    assert_eq!(said["observedGeneration"], 4, "also where nothing else is new");
}

#[test]
fn a_policy_that_makes_no_sense_is_stalled_until_it_is_mended() {
    let quiet = Standing::default();
    let (mut broken, said) = written(&object(&json!({"mode": "Enforce"})), &quiet, 1).unwrap();
    assert_eq!(told(&said), ["Ready False Invalid 1", "Stalled True Invalid 1"]);
    assert!(said["conditions"][0]["message"].as_str().unwrap().contains("mode Enforce needs the drivers named"));
    broken["spec"] = json!({"mode": "Enforce", "scope": {"drivers": ["d"]}});
    let (_, said) = written(&broken, &quiet, 2).unwrap();
    assert_eq!(told(&said), ["Ready True InForce 2"]);
    let mut unknown = object(&json!({}));
    unknown["status"] = json!({"conditions": "none"});
    assert!(written(&unknown, &quiet, 3).is_some(), "a status nobody can read is written anew");
}

#[test]
fn two_policies_at_odds_say_so_both() {
    let objects = [("one", "Enforce"), ("two", "Approve")].map(|(name, mode)| {
        let mut object = object(&json!({"mode": mode, "scope": {"drivers": ["d"]}}));
        object["metadata"]["name"] = json!(name);
        (name, object)
    });
    let mut all = Policies::default();
    for (name, object) in &objects {
        all.put(read(name, &object.to_string()));
    }
    for ((name, object), other) in objects.iter().zip(["two", "one"]) {
        let policy = read(name, &object.to_string());
        let standing = Standing::of(&policy, &all, [], at(1));
        let said = status(&policy, &standing, at(1)).unwrap()["status"].clone();
        assert_eq!(told(&said), ["Ready True Narrowed 1", "Conflict True DiffersFromOthers 1"]);
        let message = said["conditions"][1]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("it differs from {other} over the same objects")), "{message}");
    }
}

#[test]
fn what_was_seen_of_the_fence_is_a_condition_and_what_it_holds_is_said() {
    let seen = |fence: Fence, unfenced: Option<&str>| Standing {
        fence: Some(fence),
        unfenced: unfenced.map(str::to_owned),
        ..Standing::default()
    };
    let (object, said) = written(&object(&json!({})), &seen(Fence::Stands, None), 1).unwrap();
    assert_eq!(told(&said), ["Ready True InForce 1", "Fenced True Stands 1"]);
    let missing = || Fence::Missing("the API server would take a write".into());
    let (object, said) = written(&object, &seen(missing(), None), 2).unwrap();
    assert_eq!(told(&said), ["Ready True InForce 1", "Fenced False Missing 2"], "it is told, and repairs go on");
    let (object, said) = written(&object, &seen(missing(), Some("it does not stand")), 3).unwrap();
    assert_eq!(told(&said), ["Ready True Unfenced 1", "Fenced False Missing 2"]);
    let words = said["conditions"][0]["message"].as_str().unwrap();
    assert!(words.contains("--require-fence") && words.ends_with("it does not stand"), "{words}");
    assert_eq!(&*read("default", &object.to_string()).told().conditions[0].reason, "Unfenced", "a look reads it back");
    let (object, said) = written(&object, &seen(Fence::Untold("500: etcd".into()), None), 4).unwrap();
    assert_eq!(told(&said), ["Ready True InForce 1", "Fenced Unknown Untold 4"]);
    assert_eq!(written(&object, &seen(Fence::Untold("500: etcd".into()), None), 5), None);
}

#[test]
fn what_is_too_long_or_too_much_for_a_status_is_cut() {
    let long = "ß".repeat(3000);
    let floor = |driver: String| Floor { driver: driver.into(), text: long.clone(), raised: true };
    let standing = Standing {
        conflicts: vec![long.as_str().into()],
        paused: Some((long.clone(), None)),
        floors: (0..100).map(|n| floor(format!("d{n}"))).chain([floor("d".repeat(64))]).collect(),
        ..Standing::default()
    };
    let (object, said) = written(&object(&json!({"mode": "Enforce"})), &standing, 1).unwrap();
    assert_eq!(said["floors"].as_array().unwrap().len(), 64);
    assert_eq!(written(&object, &standing, 2), None);
}

#[test]
fn the_patch_names_every_field_of_the_schema() {
    let paused = Standing { paused: Some(("x".to_owned(), None)), ..Standing::default() };
    let (_, said) = written(&object(&json!({})), &paused, 1).unwrap();
    for (field, schema) in schema()["properties"].as_object().unwrap() {
        let found = said.get(field).unwrap_or_else(|| panic!("{field} would stay as it was"));
        for inner in schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(found.get(inner).is_some(), "{field}.{inner} would stay as it was");
        }
    }
}

// === Files ===

fn filed(values: &[Value]) -> Result<Vec<Policy>, String> {
    let numbered = values.iter().zip(1..);
    let documents: Vec<Document> = numbered
        .map(|(value, line)| Document { place: format!("p.yaml, line {line}"), value: value.clone() })
        .collect();
    policies(&documents).map_err(|wrong| wrong.to_string())
}

#[test]
fn a_file_has_policies_in_documents_and_lists() {
    let named = |name: &str| {
        let mut object = object(&json!({"mode": "Approve"}));
        object["metadata"]["name"] = json!(name);
        object["status"] = json!({"counts": {"held": 1}});
        object
    };
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [named("b"), named("c.d-1")]});
    let read = filed(&[Value::Null, named("a"), list]).unwrap();
    let found: Vec<&str> = read.iter().map(|policy| &**policy.name()).collect();
    assert_eq!(found, ["a", "b", "c.d-1"]);
    assert!(read.iter().all(|policy| policy.mode() == Mode::Approve && policy.told().generation == 0));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_wrong_file_is_told_by_place_field_and_remedy() {
    let with = |change: Value| {
        let mut object = object(&json!({"mode": "Enforce", "scope": {"drivers": ["d"]}}));
        json_patch::merge(&mut object, &change);
        object
    };
    let place = "p.yaml, line 1, RemediationPolicy default: ";
    for (values, lines) in [
        (
            vec![with(json!({"spec": {"budget": 1, "limits": {"firstSingly": 0}}}))],
            vec![
                format!(
                    "{place}spec.budget: there is no such field; the fields here are alerts, approval, backend, ledger, limits, mode, \
                     pause, rungs, scope, suspend, thresholds, windows"
                ),
                format!("{place}spec.limits.firstSingly: 0 is out of range; write 1 to 100"),
            ],
        ),
        (
            vec![with(json!({"spec": {"scope": {"drivers": []}}}))],
            vec![format!("{place}spec.scope.drivers is empty: mode Enforce needs the drivers named")],
        ),
        (
            vec![with(json!({"spec": {"limits": {"breaker": {"halfOpenAfter": "13h"}}}}))],
            vec![format!("{place}spec.limits.breaker: halfOpenAfter has to be more than 0 and not more than maxOpenFor")],
        ),
        (
            vec![with(json!({"spec": {"ledger": {"keepFor": "12h"}}}))],
            vec![format!(
                "{place}spec.ledger.keepFor has to be longer than 12h: budgets and the breaker are counted from the ledger"
            )],
        ),
        (
            vec![with(json!({"spec": {"windows": [{"schedule": "0 1 * 13 *", "duration": "0s", "timeZone": "A B"}]}}))],
            vec![
                format!("{place}spec.windows[0].duration: 0s is out of range; write 1m to 168h"),
                format!("{place}spec.windows[0].timeZone: `A B` is no time zone; write an IANA name such as Europe/Berlin, or UTC"),
            ],
        ),
        (
            vec![with(json!({"spec": null, "sepc": {}}))],
            vec![
                format!("{place}sepc: there is no such field; what a policy sets stands under spec"),
                format!("{place}spec: it is missing; write `spec: {{}}` for a policy that only observes"),
            ],
        ),
        (
            vec![with(json!({"metadata": {"name": "My Policy"}}))],
            vec![
                "p.yaml, line 1, RemediationPolicy My Policy: metadata.name: it has to be a name of lower-case letters, digits, \
                 `-` and `.`; write one such as default"
                    .to_owned(),
            ],
        ),
        (
            vec![json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}), json!(3), json!({})],
            vec![
                "p.yaml, line 1: it is v1 ConfigMap; only RemediationPolicies of volwarden.dev/v1alpha1 are read here, take it \
                 out"
                .to_owned(),
                "p.yaml, line 2: it is no object; write apiVersion, kind, metadata and spec".to_owned(),
                "p.yaml, line 3: it is of no kind; only RemediationPolicies of volwarden.dev/v1alpha1 are read here, take it out"
                    .to_owned(),
            ],
        ),
        (
            vec![with(json!({"apiVersion": "volwarden.dev/v1"}))],
            vec![
                "p.yaml, line 1: it is volwarden.dev/v1 RemediationPolicy; only RemediationPolicies of volwarden.dev/v1alpha1 \
                 are read here, take it out"
                    .to_owned(),
            ],
        ),
        (
            vec![with(json!({})), with(json!({}))],
            vec!["RemediationPolicy default stands there twice; keep one".to_owned()],
        ),
        (
            vec![json!({"apiVersion": "v1", "kind": "List", "items": [with(json!({"spec": {"mode": 1}}))]})],
            vec!["p.yaml, line 1, items[0], RemediationPolicy default: spec.mode: `1` is not a text; write a text".to_owned()],
        ),
        (
            vec![],
            vec!["there is no policy in it; write a RemediationPolicy of volwarden.dev/v1alpha1".to_owned()],
        ),
    ] {
        assert_eq!(filed(&values).unwrap_err().lines().collect::<Vec<_>>(), lines, "{values:?}");
    }
}

#[test]
fn periods_are_those_of_the_kind() {
    assert_eq!(translated(&RemediationPolicySpec::default()), Spec::default());
    let mut spec = RemediationPolicySpec::default();
    spec.ledger.keep_for = Period::hours(2160);
    assert_eq!(translated(&spec).keep_for, Duration::from_secs(90 * 24 * 3600));
}
