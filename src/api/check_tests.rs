use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn flaws(spec: &Value) -> Vec<String> {
    policy(spec).flaws.iter().map(ToString::to_string).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn each_flaw_names_its_field_and_what_to_write() {
    let selector = |one: Value| json!({"scope": {"namespaceSelector": {"matchExpressions": [one]}}});
    let window =
        |schedule: &str, zone: &str| json!({"windows": [{"schedule": schedule, "duration": "1h", "timeZone": zone}]});
    for (spec, flaw) in [
        (json!([]), "spec: a list is not fields with their values; write fields with their values"),
        (json!({"mode": "Auto"}), "spec.mode: `Auto` is not known; write Observe, Approve or Enforce"),
        (json!({"mode": 1}), "spec.mode: `1` is not a text; write a text"),
        (
            json!({"backend": {"assumeHealty": true}}),
            "spec.backend.assumeHealty: there is no such field; the fields here are assumeHealthy",
        ),
        (json!({"rungs": {"nudge": "yes"}}), "spec.rungs.nudge: `yes` is not true or false; write true or false"),
        (json!({"limits": {"firstSingly": 0}}), "spec.limits.firstSingly: 0 is out of range; write 1 to 100"),
        (
            json!({"limits": {"budgets": {"nudgesPerHour": -1}}}),
            "spec.limits.budgets.nudgesPerHour: -1 is out of range; write 0 to 100000",
        ),
        (json!({"ledger": {"keep": 1.5}}), "spec.ledger.keep: `1.5` is not a whole number; write a whole number"),
        (
            json!({"ledger": {"keep": u64::MAX}}),
            "spec.ledger.keep: 9223372036854775807 is out of range; write 100 to 10000",
        ),
        (
            json!({"thresholds": {"minFloor": "1d"}}),
            "spec.thresholds.minFloor: `1d` is no length of time: write hours, minutes and seconds in that order, such as \
             1h30m or 45s",
        ),
        (
            json!({"thresholds": {"observationInterval": "29s"}}),
            "spec.thresholds.observationInterval: 29s is out of range; write 30s to 10m",
        ),
        (json!({"pause": {"reason": "x"}}), "spec.pause.until: it is missing; it has to be there"),
        (
            json!({"pause": {"reason": "", "until": "2026-01-01T00:00:00Z"}}),
            "spec.pause.reason: it is empty; write something",
        ),
        (
            json!({"pause": {"reason": "x", "until": "tomorrow"}}),
            "spec.pause.until: `tomorrow` is no time; write one such as 2026-11-25T22:00:00Z",
        ),
        (json!({"scope": {"drivers": ["a", "a"]}}), "spec.scope.drivers[1]: `a` stands twice; write it once"),
        (
            json!({"scope": {"drivers": ["a b"]}}),
            "spec.scope.drivers[0]: `a b` is no name of a CSI driver; write letters, digits, `-` and `.`, with a letter or \
             digit at both ends",
        ),
        (
            json!({"scope": {"drivers": (0..65).map(|n| format!("d{n}")).collect::<Vec<_>>()}}),
            "spec.scope.drivers: 65 entries are too many; write at most 64",
        ),
        (
            json!({"scope": {"excludedNamespaces": ["Kube"]}}),
            "spec.scope.excludedNamespaces[0]: `Kube` is no name of a namespace; write lower-case letters, digits and `-`, \
             with a letter or digit at both ends",
        ),
        (
            json!({"scope": {"namespaceSelector": {"matchLabels": {"a": 1}}}}),
            "spec.scope.namespaceSelector.matchLabels.a: `1` is not a text; write a text",
        ),
        (
            selector(json!({"key": "a", "operator": "In"})),
            "spec.scope.namespaceSelector.matchExpressions[0].values: In and NotIn need values; write at least one",
        ),
        (
            selector(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
            "spec.scope.namespaceSelector.matchExpressions[0].values: Exists and DoesNotExist take no values; leave them out",
        ),
        (
            window("@daily", "UTC"),
            "spec.windows[0].schedule: `@daily` is no schedule; write minute, hour, day of month, month, day of week, such as \
             `0 22 * * 6`",
        ),
        (
            window("0 2 * * *", "Central Europe"),
            "spec.windows[0].timeZone: `Central Europe` is no time zone; write an IANA name such as Europe/Berlin, or UTC",
        ),
    ] {
        assert_eq!(flaws(&spec), [flaw], "{spec}");
    }
    let long = flaws(&json!({"scope": {"drivers": ["a".repeat(64)]}}));
    assert!(long[0].ends_with("is too long; write at most 63 characters"), "{long:?}");
    let labels: Map<String, Value> = (0..17).map(|n| (format!("l{n}"), json!("v"))).collect();
    let many = flaws(&json!({"scope": {"namespaceSelector": {"matchLabels": labels}}}));
    assert_eq!(many, ["spec.scope.namespaceSelector.matchLabels: 17 entries are too many; write at most 16"]);
}

#[test]
fn all_flaws_are_told_at_once() {
    let all = flaws(&json!({"budget": 1, "limits": {"firstSingly": 0, "maxInFlight": 65}}));
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn a_null_is_a_field_that_is_not_there() {
    let checked = policy(&json!({"mode": null, "pause": null, "scope": {"drivers": ["d"], "namespaceSelector": null}}));
    assert_eq!(checked.flaws, []);
    assert_eq!(checked.spec.unwrap().scope.drivers, ["d"]);
    assert_eq!(flaws(&json!({"pause": {"reason": "x", "until": null}})).len(), 1);
}

#[test]
fn a_source_has_one_policy() {
    let six = json!({"latest": 1, "hourly": 1, "daily": 1, "weekly": 1, "monthly": 1, "annual": 1});
    let two = |other: &str| {
        let sources = ["a@b:/c", other].map(|source| json!({"source": source, "keep": six}));
        kopia(&json!({"secretRef": {"name": "kopia"}, "retention": {"sources": sources}})).flaws
    };
    assert_eq!(two("a@b:/d"), []);
    assert_eq!(two("a@b:/c")[0].field, "spec.retention.sources[1]");
}

#[test]
fn the_defaults_are_the_schemas() {
    let checked = policy(&json!({}));
    assert_eq!((checked.flaws, checked.spec), (Vec::new(), Some(RemediationPolicySpec::default())));
    let whole = serde_json::to_value(RemediationPolicySpec::default()).unwrap();
    assert_eq!(policy(&whole).flaws, []);
}

/// A pattern or a rule that is added to the schema has to be written here too.
#[test]
fn nothing_of_the_schema_is_passed_over() {
    fn collect<'a>(schema: &'a Value, patterns: &mut BTreeSet<&'a str>, rules: &mut BTreeSet<&'a str>) {
        patterns.extend(schema.get("pattern").and_then(Value::as_str));
        let own = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
        let own = own.filter(|rule| bounds(rule["rule"].as_str().unwrap()).is_none());
        rules.extend(own.map(|rule| rule["message"].as_str().unwrap()));
        if schema["type"] == "integer" {
            assert!(schema["minimum"].is_f64() && schema["maximum"].is_f64(), "{schema}");
        }
        let known = ["description", "default", "type", "properties", "required", "items", "enum", "format", "pattern"];
        let bounds = [
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "minItems",
            "maxItems",
            "maxProperties",
            "minProperties",
            "additionalProperties",
        ];
        for key in
            schema.as_object().unwrap().keys().map(String::as_str).filter(|key| !key.starts_with("x-kubernetes-"))
        {
            assert!(known.contains(&key) || bounds.contains(&key), "nobody looks at {key} of {schema}");
        }
        let inner = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values);
        for one in inner.chain(schema.get("items")).chain(schema.get("additionalProperties")) {
            collect(one, patterns, rules);
        }
    }
    let (mut patterns, mut rules) = (BTreeSet::new(), BTreeSet::new());
    collect(&SCHEMA, &mut patterns, &mut rules);
    collect(&RETENTION, &mut patterns, &mut rules);
    collect(&KOPIA, &mut patterns, &mut rules);
    let ours: BTreeSet<&str> = PATTERNS.iter().map(|(pattern, ..)| *pattern).chain([period::PATTERN]).collect();
    assert_eq!(patterns, ours);
    assert_eq!(
        rules.into_iter().collect::<Vec<_>>(),
        [
            "In and NotIn need values, Exists and DoesNotExist take none",
            "a volume is either nfs or persistentVolumeClaim",
            "alerts of Volwarden and VolSync are the incident that is to be repaired: they may not hold it",
            "halfOpenAfter may not be longer than maxOpenFor",
            "ledger.keepFor has to be longer than the longest budget (6h) and than limits.breaker.maxOpenFor: both are counted \
             from the ledger",
            "mode Enforce needs the drivers named in drivers",
            "mode Enforce needs the drivers named in scope.drivers",
            "retention needs global or sources",
            "schedules.expire needs expire, which says that snapshots may go",
            "schedules.settings needs retention or epochs, which say what is set",
            "uniqueID may not change: another repository is another KopiaRepository",
        ],
        "the first two and those of expire and retention are looked at here, that of the unique ID by the server alone, the others by \
         domain::policy::Policy and domain::prune::policy::Pruning"
    );
}

#[test]
fn a_retention_is_judged_as_the_server_judges_it() {
    let said = |spec: &Value| retention(spec).flaws.iter().map(ToString::to_string).collect::<Vec<_>>();
    let checked = retention(&json!({}));
    assert_eq!((checked.flaws, checked.spec), (Vec::new(), Some(SnapshotRetentionSpec::default())));
    let whole = serde_json::to_value(SnapshotRetentionSpec::default()).unwrap();
    assert_eq!(said(&whole), [""; 0]);
    let keep = |key: &str| json!({"keep": {key: 3}});
    assert_eq!(said(&keep("daily")), [""; 0]);
    for (spec, flaw) in [
        (keep("dayly"), "spec.keep.dayly: there is no such field"),
        (json!({"minReady": 0}), "spec.minReady: 0 is out of range; write 1 to 1000"),
        (json!({"classes": ["Fast"]}), "spec.classes[0]: `Fast` is no name of an object"),
        (json!({"schedule": {"cron": "0 2 * * *", "jitter": "25h"}}), "spec.schedule.jitter: 25h is out of range"),
        (json!({"schedule": {}}), "spec.schedule.cron: it is missing"),
        (
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "spec.selector.matchExpressions[0].values: In and NotIn need values",
        ),
        (
            json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}),
            "spec.namespaceSelector.matchExpressions[0].values: Exists and DoesNotExist take no values",
        ),
    ] {
        let all = said(&spec);
        assert!(all.len() == 1 && all[0].starts_with(flaw), "{spec}: {all:?}");
    }
}
