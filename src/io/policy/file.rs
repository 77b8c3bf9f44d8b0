//! Policies from a file, for `plan -f`: judged as the API server and the daemon would judge them.
//!
//! A file that the server would refuse must not give a plan, and a field that is passed over may have been a limit.
//! Everything that is wrong is told at once, with its place in the file.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::translated;
use crate::api::check::{self, Checked};
use crate::api::{GROUP, VERSION};
use crate::domain::policy::Policy;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it stands, in words: `policy.yaml, line 12`.
    pub place: String,
    /// What is in it.
    pub value: Value,
}

/// Everything that is wrong with a file, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Wrong(Vec<String>);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Reads policies from documents; lists, as `kubectl get -o yaml` writes them, are taken apart.
///
/// # Errors
/// With all that is wrong: place, field, and what to write.
pub fn policies(documents: &[Document]) -> Result<Vec<Policy>, Wrong> {
    let mut policies = Vec::new();
    let mut wrong = Vec::new();
    for Document { place, value } in documents {
        if !value.is_null() {
            taken(value, place, &mut policies, &mut wrong);
        }
    }
    let mut names = BTreeSet::new();
    let twice = policies.iter().filter(|policy| !names.insert(policy.name().clone()));
    wrong.extend(twice.map(|policy| format!("RemediationPolicy {} stands there twice; keep one", policy.name())));
    if policies.is_empty() && wrong.is_empty() {
        wrong.push(format!("there is no policy in it; write a RemediationPolicy of {GROUP}/{VERSION}"));
    }
    if wrong.is_empty() { Ok(policies) } else { Err(Wrong(wrong)) }
}

fn taken(value: &Value, place: &str, policies: &mut Vec<Policy>, wrong: &mut Vec<String>) {
    let Some(object) = value.as_object() else {
        wrong.push(format!("{place}: it is no object; write apiVersion, kind, metadata and spec"));
        return;
    };
    let word = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (word("apiVersion"), word("kind"));
    let ours = version == format!("{GROUP}/{VERSION}");
    match (kind, object.get("items").and_then(Value::as_array)) {
        ("List" | "RemediationPolicyList", Some(items)) if ours || version == "v1" => {
            for (at, item) in items.iter().enumerate() {
                taken(item, &format!("{place}, items[{at}]"), policies, wrong);
            }
        }
        ("RemediationPolicy", _) if ours => match one(object, place) {
            Ok(policy) => policies.push(policy),
            Err(flaws) => wrong.extend(flaws),
        },
        _ => {
            let found = [version, kind].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            let found = if found.is_empty() { "of no kind" } else { &found };
            wrong.push(format!(
                "{place}: it is {found}; only RemediationPolicies of {GROUP}/{VERSION} are read here, take it out"
            ));
        }
    }
}

fn one(object: &Map<String, Value>, place: &str) -> Result<Policy, Vec<String>> {
    let name = object.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
    let place = match name {
        Some(name) => format!("{place}, RemediationPolicy {name}"),
        None => place.to_owned(),
    };
    let mut wrong = Vec::new();
    if !name.is_some_and(is_name) {
        wrong.push(format!(
            "{place}: metadata.name: it has to be a name of lower-case letters, digits, `-` and `.`; write one such as default"
        ));
    }
    for field in object.keys() {
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&field.as_str()) {
            wrong.push(format!("{place}: {field}: there is no such field; what a policy sets stands under spec"));
        }
    }
    match object.get("spec") {
        None | Some(Value::Null) => {
            wrong.push(format!("{place}: spec: it is missing; write `spec: {{}}` for a policy that only observes"));
        }
        Some(spec) => {
            let Checked { spec, flaws } = check::policy(spec);
            wrong.extend(flaws.iter().map(|flaw| format!("{place}: {flaw}")));
            if let Some(spec) = spec {
                let policy = Policy::new(name.unwrap_or_default(), translated(&spec));
                // What is out of its range may make no sense with others either: that is said once.
                let known = |problem: &str| {
                    let field = problem.split([':', ' ', ',']).next().unwrap_or_default();
                    flaws.iter().any(|flaw| flaw.field.starts_with(&format!("spec.{field}")))
                };
                let problems = policy.problems().iter().filter(|problem| !known(problem));
                wrong.extend(problems.map(|problem| format!("{place}: spec.{problem}")));
                if wrong.is_empty() {
                    return Ok(policy);
                }
            }
        }
    }
    Err(wrong)
}

/// A DNS subdomain, which the name of any object of ours has to be.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(inside) && !part.starts_with('-') && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}
