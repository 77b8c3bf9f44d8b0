//! The spec of a policy judged as the API server judges it, for what no server has seen, or an older one has let in.
//!
//! The schema that the server gets is walked here too, so that the two cannot drift; only patterns and CEL rules,
//! which nothing here evaluates, are written a second time, and a test counts them. The failure this prevents is a
//! file that `plan` finds good, and the server does not, or the other way round. Every flaw names its field and
//! what to write instead.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use kube::CustomResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::kopia::{KopiaRepository, KopiaRepositorySpec, VolumeSource};
use super::period::{self, Period};
use super::policy::{Operator, RemediationPolicy, RemediationPolicySpec, Selector};
use super::retention::{SnapshotRetention, SnapshotRetentionSpec};

/// The spec's schema, as it is installed.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema(&serde_json::to_value(RemediationPolicy::crd())));
/// The same of a SnapshotRetention.
static RETENTION: LazyLock<Value> = LazyLock::new(|| schema(&serde_json::to_value(SnapshotRetention::crd())));

/// The same of a KopiaRepository.
static KOPIA: LazyLock<Value> = LazyLock::new(|| schema(&serde_json::to_value(KopiaRepository::crd())));

fn schema(crd: &Result<Value, serde_json::Error>) -> Value {
    let crd = crd.as_ref().map(|crd| super::tidy(crd.clone())).unwrap_or_default();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").cloned().unwrap_or_default()
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The field, from `spec` on.
    pub field: String,
    /// What is wrong with it, and what to write.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

/// A spec, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Checked<Spec> {
    /// The spec, if it can be read at all.
    pub spec: Option<Spec>,
    /// Everything that is wrong.
    pub flaws: Vec<Flaw>,
}

/// Judges the spec of a policy. Rules that join several fields are `domain::policy::Policy`'s.
#[must_use]
pub fn policy(spec: &Value) -> Checked<RemediationPolicySpec> {
    let mut checked = judge::<RemediationPolicySpec>(&SCHEMA, spec);
    if let Some(spec) = &checked.spec {
        requirements("scope.namespaceSelector", spec.scope.namespace_selector.as_ref(), &mut checked.flaws);
    }
    checked
}

/// Judges the spec of a SnapshotRetention. Rules that join several fields are `domain::prune::policy`'s.
#[must_use]
pub fn retention(spec: &Value) -> Checked<SnapshotRetentionSpec> {
    let mut checked = judge::<SnapshotRetentionSpec>(&RETENTION, spec);
    if let Some(spec) = &checked.spec {
        requirements("selector", spec.selector.as_ref(), &mut checked.flaws);
        requirements("namespaceSelector", spec.namespace_selector.as_ref(), &mut checked.flaws);
    }
    checked
}

/// Judges the spec of a KopiaRepository. That its unique ID stays is the server's to see.
#[must_use]
pub fn kopia(spec: &Value) -> Checked<KopiaRepositorySpec> {
    let mut checked = judge::<KopiaRepositorySpec>(&KOPIA, spec);
    for (at, volume) in checked.spec.iter().flat_map(|spec| &spec.volumes).enumerate() {
        let VolumeSource { nfs, persistent_volume_claim: claim } = &volume.volume_source;
        if nfs.is_some() == claim.is_some() {
            let what = "a volume is either nfs or persistentVolumeClaim; write one of them".to_owned();
            checked.flaws.push(Flaw { field: format!("spec.volumes[{at}].volumeSource"), what });
        }
    }
    if checked.spec.as_ref().is_some_and(|spec| spec.schedules.expire.is_some() && spec.expire.is_none()) {
        let what = "schedules.expire needs expire, which says that snapshots may go; write it".to_owned();
        checked.flaws.push(Flaw { field: "spec.expire".to_owned(), what });
    }
    let nothing = |spec: &KopiaRepositorySpec| spec.retention.is_none() && spec.epochs.is_none();
    if checked.spec.as_ref().is_some_and(|spec| spec.schedules.settings.is_some() && nothing(spec)) {
        let what = "schedules.settings needs retention or epochs, which say what is set; write one".to_owned();
        checked.flaws.push(Flaw { field: "spec.retention".to_owned(), what });
    }
    let retention = checked.spec.as_ref().and_then(|spec| spec.retention.as_ref());
    if retention.is_some_and(|retention| retention.global.is_none() && retention.sources.is_empty()) {
        let what = "retention needs global or sources; write one of them, or leave retention out".to_owned();
        checked.flaws.push(Flaw { field: "spec.retention".to_owned(), what });
    }
    checked
}

fn judge<Spec: DeserializeOwned>(schema: &Value, spec: &Value) -> Checked<Spec> {
    let mut spec = spec.clone();
    without_nulls(&mut spec);
    let mut flaws = Vec::new();
    walk(schema, &spec, "spec", &mut flaws);
    match serde_json::from_value::<Spec>(spec) {
        Ok(spec) => Checked { spec: Some(spec), flaws },
        Err(error) => {
            if flaws.is_empty() {
                flaws.push(Flaw { field: "spec".to_owned(), what: error.to_string() });
            }
            Checked { spec: None, flaws }
        }
    }
}

/// The server takes a null for a field that is not there.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The CEL rule of a requirement.
fn requirements(place: &str, selector: Option<&Selector>, flaws: &mut Vec<Flaw>) {
    let all = selector.iter().flat_map(|selector| &selector.match_expressions);
    for (at, one) in all.enumerate() {
        let what = match (one.operator, one.values.is_empty()) {
            (Operator::In | Operator::NotIn, true) => "In and NotIn need values; write at least one",
            (Operator::Exists | Operator::DoesNotExist, false) => {
                "Exists and DoesNotExist take no values; leave them out"
            }
            _ => continue,
        };
        let field = format!("spec.{place}.matchExpressions[{at}].values");
        flaws.push(Flaw { field, what: what.to_owned() });
    }
}

// === The schema ===

pub(crate) fn walk(schema: &Value, value: &Value, field: &str, flaws: &mut Vec<Flaw>) {
    let mut wrong = |what: String| flaws.push(Flaw { field: field.to_owned(), what });
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    match (kind, value) {
        ("object", Value::Object(map)) => object(schema, map, field, flaws),
        ("array", Value::Array(items)) => array(schema, items, field, flaws),
        ("string", Value::String(text)) => {
            if let Some(what) = string(schema, text) {
                wrong(what);
            }
        }
        ("integer", Value::Number(number)) if number.is_i64() || number.is_u64() => {
            if let Some(what) = integer(schema, number.as_i64().unwrap_or(i64::MAX)) {
                wrong(what);
            }
        }
        ("boolean", Value::Bool(_)) => {}
        (kind, value) => {
            let wanted = match kind {
                "object" => "fields with their values",
                "array" => "a list",
                "integer" => "a whole number",
                "boolean" => "true or false",
                _ => "a text",
            };
            wrong(format!("{} is not {wanted}; write {wanted}", shown(value)));
        }
    }
}

fn object(schema: &Value, map: &Map<String, Value>, field: &str, flaws: &mut Vec<Flaw>) {
    let known = schema.get("properties").and_then(Value::as_object);
    let any = schema.get("additionalProperties");
    for (name, value) in map {
        let inner = format!("{field}.{name}");
        if let Some(schema) = known.and_then(|known| known.get(name)).or(any) {
            walk(schema, value, &inner, flaws);
        } else {
            let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
            let what = format!("there is no such field; the fields here are {}", names.join(", "));
            flaws.push(Flaw { field: inner, what });
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str).filter(|name| !map.contains_key(*name)) {
        flaws.push(Flaw { field: format!("{field}.{name}"), what: "it is missing; it has to be there".to_owned() });
    }
    if let Some(least) = schema.get("minProperties").and_then(Value::as_u64)
        && size(map.len()) < least
    {
        flaws
            .push(Flaw { field: field.to_owned(), what: format!("it is empty; write at least {least} of its fields") });
    }
    if let Some(most) = schema.get("maxProperties").and_then(Value::as_u64)
        && size(map.len()) > most
    {
        let what = format!("{} entries are too many; write at most {most}", map.len());
        flaws.push(Flaw { field: field.to_owned(), what });
    }
}

fn array(schema: &Value, items: &[Value], field: &str, flaws: &mut Vec<Flaw>) {
    if let Some(most) = schema.get("maxItems").and_then(Value::as_u64)
        && size(items.len()) > most
    {
        let what = format!("{} entries are too many; write at most {most}", items.len());
        flaws.push(Flaw { field: field.to_owned(), what });
    }
    if let Some(least) = schema.get("minItems").and_then(Value::as_u64)
        && size(items.len()) < least
    {
        flaws.push(Flaw { field: field.to_owned(), what: format!("it is too short; write at least {least}") });
    }
    let is_set = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let alike = |one: &Value, other: &Value| {
        keys.is_some_and(|keys| keys.iter().filter_map(Value::as_str).all(|key| one.get(key) == other.get(key)))
    };
    for (at, item) in items.iter().enumerate() {
        let inner = format!("{field}[{at}]");
        if items.iter().take(at).any(|other| (is_set && other == item) || alike(item, other)) {
            flaws.push(Flaw { field: inner.clone(), what: format!("{} stands twice; write it once", shown(item)) });
        }
        if let Some(schema) = schema.get("items") {
            walk(schema, item, &inner, flaws);
        }
    }
}

fn integer(schema: &Value, number: i64) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let (least, most) = (bound("minimum")?, bound("maximum")?);
    // Every bound of ours is a small whole number: exact as a float.
    #[expect(clippy::cast_precision_loss, reason = "what is too large to be exact is out of range either way")]
    let number_as = number as f64;
    (number_as < least || number_as > most).then(|| format!("{number} is out of range; write {least} to {most}"))
}

fn string(schema: &Value, text: &str) -> Option<String> {
    let word = |name: &str| schema.get(name).and_then(Value::as_str);
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return (!words.contains(&text)).then(|| format!("{} is not known; write {}", quoted(text), one_of(&words)));
    }
    if word("format") == Some("date-time") {
        let example = "write one such as 2026-11-25T22:00:00Z";
        return text.parse::<Timestamp>().err().map(|_| format!("{} is no time; {example}", quoted(text)));
    }
    if word("pattern") == Some(period::PATTERN) {
        return match text.parse::<Period>() {
            Ok(period) => schema.get("x-kubernetes-validations").and_then(|rules| within(rules, period)),
            Err(error) => Some(error.to_string()),
        };
    }
    let length = size(text.chars().count());
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    if bound("minLength").is_some_and(|least| length < least) {
        return Some("it is empty; write something".to_owned());
    }
    if let Some(most) = bound("maxLength").filter(|most| length > *most) {
        return Some(format!("{} is too long; write at most {most} characters", quoted(text)));
    }
    let (_, fits, remedy) = PATTERNS.iter().find(|(pattern, ..)| word("pattern") == Some(pattern))?;
    (!fits(text)).then(|| format!("{} is {remedy}", quoted(text)))
}

/// The rules that `api::within` makes, read back.
fn within(rules: &Value, period: Period) -> Option<String> {
    let mut rules = rules.as_array().into_iter().flatten();
    let (least, most) = rules.find_map(|rule| bounds(rule.get("rule")?.as_str()?))?;
    (period < least || period > most).then(|| format!("{period} is out of range; write {least} to {most}"))
}

fn bounds(rule: &str) -> Option<(Period, Period)> {
    let rest = rule.strip_prefix("duration(self) >= duration('")?;
    let (least, most) = rest.split_once("') && duration(self) <= duration('")?;
    Some((least.parse().ok()?, most.strip_suffix("')")?.parse().ok()?))
}

/// A pattern of the schema, the same as a function, and what to say.
type Pattern = (&'static str, fn(&str) -> bool, &'static str);

const PATTERNS: [Pattern; 13] = [
    (
        "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        |text| is_name(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), |c| matches!(c, '-' | '.')),
        "no name of an object; write lower-case letters, digits, `-` and `.`, with a letter or digit at both \
         ends",
    ),
    (
        "^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$",
        |text| is_name(text, |c| c.is_ascii_alphanumeric(), |c| matches!(c, '-' | '.')),
        "no name of a CSI driver; write letters, digits, `-` and `.`, with a letter or digit at both ends",
    ),
    (
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        |text| is_name(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), |c| c == '-'),
        "no name of a namespace; write lower-case letters, digits and `-`, with a letter or digit at both ends",
    ),
    (
        "^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$",
        |text| {
            let part =
                |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "*,/#-".contains(c));
            text.split(' ').count() == 5 && text.split(' ').all(part)
        },
        "no schedule; write minute, hour, day of month, month, day of week, such as `0 22 * * 6`",
    ),
    (
        "^[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+)*$",
        |text| {
            let part =
                |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "+_-".contains(c));
            text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.split('/').all(part)
        },
        "no time zone; write an IANA name such as Europe/Berlin, or UTC",
    ),
    (
        "^https?://[^ ?#@]+$",
        |text| {
            let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
            !rest.is_empty() && !rest.contains([' ', '?', '#', '@'])
        },
        "no address of a Prometheus; write one such as http://prometheus-operated.monitoring.svc:9090, without credentials",
    ),
    (
        "^/[-A-Za-z0-9._/]*$",
        |text| text.starts_with('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c)),
        "no path; write an absolute one of letters, digits, `-`, `.` and `_`",
    ),
    (
        "^[-A-Za-z0-9._]+@[-A-Za-z0-9._]+:/[-A-Za-z0-9._/]*$",
        is_source,
        "no source; write user@host:/path as `volwarden kopia sources` shows it",
    ),
    (
        "^[A-Za-z0-9._][-A-Za-z0-9._]*@[-A-Za-z0-9._]+:/[-A-Za-z0-9._/]*$",
        |text| is_source(text) && !text.starts_with('-'),
        "no source whose policy can be set; write user@host:/path as `volwarden kopia sources` shows it",
    ),
    (
        "^[0-9a-f]{64}$",
        |text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
        "no unique ID of a kopia repository; write the 64 digits that `kopia repository status` shows",
    ),
    (
        "^[A-Za-z0-9][-A-Za-z0-9_.]*$",
        |text| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        },
        "no name of a folder; write letters, digits, `-`, `_` and `.`, as it is mounted beneath /mnt",
    ),
    (
        "^[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$",
        |text| is_name(text, |c| c.is_ascii_alphanumeric(), |c| matches!(c, '-' | '.' | ':')),
        "no server; write its name or address",
    ),
    (
        "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$",
        |text| {
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = text.get(number.len()..).unwrap_or_default();
            let (whole, rest) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
            digits(whole)
                && rest.is_none_or(digits)
                && ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&unit)
        },
        "no amount; write one such as 500m, 2 or 1Gi",
    ),
];

/// A character of `ends` at both ends, and between them one of `ends` or `between`.
fn is_name(text: &str, ends: fn(char) -> bool, between: fn(char) -> bool) -> bool {
    text.starts_with(ends) && text.ends_with(ends) && text.chars().all(|c| ends(c) || between(c))
}

/// A source of kopia's.
fn is_source(text: &str) -> bool {
    let plain = |part: &str, more: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let parts = text.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(":/")?)));
    parts.is_some_and(|(user, (host, path))| {
        !user.is_empty() && !host.is_empty() && plain(user, "-._") && plain(host, "-._") && plain(path, "-._/")
    })
}

// === Words ===

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("`{short}`")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map of fields".to_owned(),
        other => quoted(&other.to_string()),
    }
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
