//! Policies from a file, for `plan -f`: judged as the API server and the daemon would judge them.
//!
//! A file that the server would refuse must not give a plan, and a field that is passed over may have been a limit.
//! Everything that is wrong is told at once, with its place in the file.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::translated;
use crate::api::check::{self, Checked, Flaw};
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

/// A kind of policy, as it is read from a file.
pub(in crate::io) struct Readable<T> {
    /// The kind.
    pub(in crate::io) kind: &'static str,
    /// A policy of this name with this spec, or all that is wrong with it.
    pub(in crate::io) judge: fn(&str, &Value) -> Result<T, Vec<String>>,
    /// Its name.
    pub(in crate::io) name: fn(&T) -> &str,
}

/// Reads policies from documents; lists, as `kubectl get -o yaml` writes them, are taken apart.
///
/// # Errors
/// With all that is wrong: place, field, and what to write.
pub fn policies(documents: &[Document]) -> Result<Vec<Policy>, Wrong> {
    Readable { kind: "RemediationPolicy", judge, name: |policy: &Policy| policy.name() }.read(documents)
}

impl<T> Readable<T> {
    pub(in crate::io) fn read(&self, documents: &[Document]) -> Result<Vec<T>, Wrong> {
        let mut policies = Vec::new();
        let mut wrong = Vec::new();
        for Document { place, value } in documents {
            if !value.is_null() {
                self.taken(value, place, &mut policies, &mut wrong);
            }
        }
        let mut names = BTreeSet::new();
        let twice = policies.iter().map(self.name).filter(|name| !names.insert(*name));
        wrong.extend(twice.map(|name| format!("{} {name} stands there twice; keep one", self.kind)));
        if policies.is_empty() && wrong.is_empty() {
            wrong.push(format!("there is no policy in it; write a {} of {GROUP}/{VERSION}", self.kind));
        }
        if wrong.is_empty() { Ok(policies) } else { Err(Wrong(wrong)) }
    }

    fn taken(&self, value: &Value, place: &str, policies: &mut Vec<T>, wrong: &mut Vec<String>) {
        let Some(object) = value.as_object() else {
            wrong.push(format!("{place}: it is no object; write apiVersion, kind, metadata and spec"));
            return;
        };
        let word = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (word("apiVersion"), word("kind"));
        let ours = version == format!("{GROUP}/{VERSION}");
        let of_list = kind == "List" || kind.strip_suffix("List") == Some(self.kind);
        if let Some(items) = object.get("items").and_then(Value::as_array).filter(|_| of_list)
            && (ours || version == "v1")
        {
            for (at, item) in items.iter().enumerate() {
                self.taken(item, &format!("{place}, items[{at}]"), policies, wrong);
            }
        } else if kind == self.kind && ours {
            match self.one(object, place) {
                Ok(policy) => policies.push(policy),
                Err(flaws) => wrong.extend(flaws),
            }
        } else {
            let found = [version, kind].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            let found = if found.is_empty() { "of no kind" } else { &found };
            // Plural of the kind, as people write it.
            let all =
                self.kind.strip_suffix('y').map_or_else(|| format!("{}s", self.kind), |stem| format!("{stem}ies"));
            wrong.push(format!("{place}: it is {found}; only {all} of {GROUP}/{VERSION} are read here, take it out"));
        }
    }

    fn one(&self, object: &Map<String, Value>, place: &str) -> Result<T, Vec<String>> {
        let name = object.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
        let place = match name {
            Some(name) => format!("{place}, {} {name}", self.kind),
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
            Some(spec) => match (self.judge)(name.unwrap_or_default(), spec) {
                Ok(policy) if wrong.is_empty() => return Ok(policy),
                Ok(_) => {}
                Err(flaws) => wrong.extend(flaws.iter().map(|flaw| format!("{place}: {flaw}"))),
            },
        }
        Err(wrong)
    }
}

fn judge(name: &str, spec: &Value) -> Result<Policy, Vec<String>> {
    let Checked { spec, flaws } = check::policy(spec);
    let mut wrong: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    let Some(spec) = spec else { return Err(wrong) };
    let policy = Policy::new(name, translated(&spec));
    wrong.extend(unsaid(policy.problems(), &flaws));
    if wrong.is_empty() { Ok(policy) } else { Err(wrong) }
}

/// Problems that no flaw has named: what is out of its range may make no sense with others either.
pub(in crate::io) fn unsaid(problems: &[String], flaws: &[Flaw]) -> Vec<String> {
    let known = |problem: &&String| {
        let field = problem.split([':', ' ', ',']).next().unwrap_or_default();
        flaws.iter().any(|flaw| flaw.field.starts_with(&format!("spec.{field}")))
    };
    problems.iter().filter(|problem| !known(problem)).map(|problem| format!("spec.{problem}")).collect()
}

/// A DNS subdomain, which the name of any object of ours has to be.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(inside) && !part.starts_with('-') && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}
