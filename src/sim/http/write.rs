//! Requests that change something: their bodies, and what is answered.
//!
//! Bodies are JSON, merge patches and JSON patches; protobuf, which `kubectl create configmap` and its like send, is
//! 415. Server-side apply is answered with 415, as by a server without
//! it. A strategic merge patch is a merge patch as far as it holds no lists, which is what `kubectl annotate`,
//! `label` and `patch` send of Kubernetes' own kinds; with lists, or on custom resources, it is 415.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::sim::store::{DeleteOptions, Part, Patch, Propagation, Refusal, Resource, Store, Writer, object};

use super::present::Shape;
use super::route::{Call, Sub, Target, Verb};
use super::{Host, JSON, Shared, json as respond};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

/// What became of a write.
enum Outcome {
    Created(Arc<Value>),
    Stored(Arc<Value>),
    /// No longer there.
    Gone(Arc<Value>),
    Bound,
}

pub(super) fn answer<H: Host>(shared: &Shared<H>, call: &Call) -> Result<Response, Refusal> {
    let resource = call.resource().ok_or_else(Refusal::not_served)?;
    let (outcome, now) = shared.with(|host| {
        let now = host.now();
        let writer = Writer { name: &call.manager, at: now };
        let store = host.store();
        // What is only tried is done and taken back.
        let before = (!call.query("dryRun").is_empty()).then(|| store.clone());
        let outcome = carry_out(store, writer, call);
        if let Some(before) = before {
            *store = before;
        }
        (outcome, now)
    });
    let shape = Shape::of(&call.accept);
    Ok(match outcome? {
        Outcome::Created(object) => respond(StatusCode::CREATED, JSON, &shape.object(resource, &object, now)),
        Outcome::Gone(object) if !resource.returns_deleted => {
            respond(StatusCode::OK, JSON, &success(resource, &object))
        }
        Outcome::Stored(object) | Outcome::Gone(object) => {
            respond(StatusCode::OK, JSON, &shape.object(resource, &object, now))
        }
        Outcome::Bound => {
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            respond(StatusCode::CREATED, JSON, &status)
        }
    })
}

fn carry_out(store: &mut Store, writer: Writer<'_>, call: &Call) -> Result<Outcome, Refusal> {
    match (&call.target, call.verb) {
        (Target::Collection { resource, namespace }, Verb::Create) => {
            let object = body(call)?;
            let said = object::namespace(&object).to_owned();
            let namespace = match namespace {
                Some(namespace) => namespace,
                None if resource.namespaced && !said.is_empty() => &said,
                None if resource.namespaced => return Err(Refusal::not_allowed()),
                None => "",
            };
            store.create(writer, resource, namespace, object).map(Outcome::Created)
        }
        (Target::Object { resource, namespace, name, sub: Sub::Binding }, Verb::Create) => {
            let node = object::text(&body(call)?, "/target/name").to_owned();
            let patch = Patch::Merge(json!({"spec": {"nodeName": node}}));
            store.patch(writer, resource, namespace, name, Part::Object, &patch)?;
            Ok(Outcome::Bound)
        }
        (Target::Object { resource, namespace, name, sub }, Verb::Update) => {
            store.replace(writer, resource, namespace, name, part(*sub), body(call)?).map(Outcome::Stored)
        }
        (Target::Object { resource, namespace, name, sub }, Verb::Patch) => {
            store.patch(writer, resource, namespace, name, part(*sub), &patch(resource, call)?).map(Outcome::Stored)
        }
        (Target::Object { resource, namespace, name, sub: Sub::None }, Verb::Delete) => {
            let object = store.delete(writer, resource, namespace, name, &delete_options(call)?)?;
            let there = store.get(resource, namespace, name).is_ok();
            Ok(if there { Outcome::Stored(object) } else { Outcome::Gone(object) })
        }
        _ => Err(Refusal::not_allowed()),
    }
}

fn part(sub: Sub) -> Part {
    if sub == Sub::Status { Part::Status } else { Part::Object }
}

fn body(call: &Call) -> Result<Value, Refusal> {
    if !call.content_type.is_empty() && call.content_type != JSON {
        return Err(Refusal::unsupported_media(JSON));
    }
    parse(call)
}

fn parse(call: &Call) -> Result<Value, Refusal> {
    serde_json::from_slice(&call.body).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn patch(resource: &Resource, call: &Call) -> Result<Patch, Refusal> {
    match call.content_type.as_str() {
        MERGE_PATCH => parse(call).map(Patch::Merge),
        JSON_PATCH => parse(call).and_then(Patch::json),
        STRATEGIC_PATCH if !resource.custom => {
            let patch = parse(call)?;
            if has_list(&patch) { Err(unsupported()) } else { Ok(Patch::Merge(patch)) }
        }
        _ => Err(unsupported()),
    }
}

fn unsupported() -> Refusal {
    Refusal::unsupported_media(&[JSON_PATCH, MERGE_PATCH].join(", "))
}

/// A list, whose merging depends on the type of what it is in; or a directive about one.
fn has_list(patch: &Value) -> bool {
    match patch {
        Value::Array(_) => true,
        Value::Object(fields) => fields.iter().any(|(key, value)| key.starts_with('$') || has_list(value)),
        _ => false,
    }
}

/// From the body, or else from the query.
fn delete_options(call: &Call) -> Result<DeleteOptions, Refusal> {
    let body = if call.body.is_empty() { Value::Null } else { parse(call)? };
    let said = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
    let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
    let grace = grace.or_else(|| call.query("gracePeriodSeconds").parse().ok());
    let policy = said("/propagationPolicy").unwrap_or_else(|| call.query("propagationPolicy").to_owned());
    let propagation = match policy.as_str() {
        "" => None,
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        other => return Err(Refusal::bad_request(format!("propagationPolicy: no such policy: {other}"))),
    };
    Ok(DeleteOptions {
        uid: said("/preconditions/uid"),
        resource_version: said("/preconditions/resourceVersion"),
        grace_seconds: grace,
        propagation,
    })
}

/// What most kinds answer when an object has gone.
fn success(resource: &Resource, object: &Value) -> Value {
    let mut details = json!({"name": object::name(object), "kind": resource.plural, "uid": object::uid(object)});
    if let Some(fields) = details.as_object_mut().filter(|_| !resource.group.is_empty()) {
        fields.insert("group".to_owned(), resource.group.into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
