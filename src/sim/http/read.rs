//! Single objects, and collections with their pages.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::sim::store::{Refusal, Resource, Selector, Store, object};

use super::present::Shape;
use super::route::{Call, Target};
use super::{Host, JSON, Shared, json as respond};

/// What a server says when a list cannot be gone on with as it was begun.
const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start \
    a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
    of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
    modified, or deleted between the time the first chunk was returned and now may show up in the list.";

pub(super) fn get<H: Host>(shared: &Shared<H>, call: &Call) -> Result<Response, Refusal> {
    let Target::Object { resource, namespace, name, .. } = &call.target else { return Err(Refusal::not_served()) };
    let (found, now) = shared.look(|host| (host.store().get(resource, namespace, name), host.now()));
    let object = found?;
    Ok(respond(StatusCode::OK, JSON, &Shape::of(&call.accept).object(resource, &object, now)))
}

pub(super) fn list<H: Host>(shared: &Shared<H>, call: &Call) -> Result<Response, Refusal> {
    let Target::Collection { resource, namespace } = &call.target else { return Err(Refusal::not_served()) };
    let selector = Selector::parse(resource, call.query("labelSelector"), call.query("fieldSelector"))?;
    let limit =
        call.number("limit")?.filter(|limit| *limit > 0).map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let from = Start::of(call)?;
    let (listed, now) = shared.look(|host| {
        let now = host.now();
        (from.read(host.store(), resource, namespace.as_deref()), now)
    });
    let (objects, version) = listed?;
    let after = from.after();
    let wanted = |object: &&Arc<Value>| after.is_none_or(|after| key(object) > after) && selector.matches(object);
    let objects: Vec<&Value> = objects.iter().filter(wanted).map(|object| &**object).collect();
    let (page, rest) = objects.split_at(limit.unwrap_or(usize::MAX).min(objects.len()));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let (Some(last), Some(fields), false) = (page.last(), metadata.as_object_mut(), rest.is_empty()) {
        fields.insert("continue".to_owned(), token(Some(version), key(last)).into());
        if call.query("labelSelector").is_empty() && call.query("fieldSelector").is_empty() {
            fields.insert("remainingItemCount".to_owned(), rest.len().into());
        }
    }
    Ok(respond(StatusCode::OK, JSON, &Shape::of(&call.accept).list(resource, page, &metadata, now)))
}

/// Where a list begins.
enum Start {
    /// As things are now; not before this version.
    Now(u64),
    /// As things were at this version.
    At(u64),
    /// After this object; as of this version, or as things are now.
    After { version: Option<u64>, namespace: String, name: String },
}

impl Start {
    fn of(call: &Call) -> Result<Self, Refusal> {
        let token = call.query("continue");
        let version = call.number("resourceVersion")?;
        if token.is_empty() {
            let field = "resourceVersionMatch";
            return match (call.query(field), version) {
                ("", version) => Ok(Self::Now(version.unwrap_or_default())),
                ("Exact", Some(version)) => Ok(Self::At(version)),
                ("NotOlderThan", Some(version)) => Ok(Self::Now(version)),
                (_, None) => {
                    let why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
                    Err(Refusal::invalid_options("FieldValueForbidden", field, why))
                }
                (other, Some(_)) => {
                    let why =
                        format!("Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\", \"\"");
                    Err(Refusal::invalid_options("FieldValueNotSupported", field, &why))
                }
            };
        }
        if version.is_some_and(|version| version > 0) {
            return Err(Refusal::bad_request("specifying resource version is not allowed when using continue"));
        }
        let mut parts = token.splitn(3, '/');
        let (Some(version), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::bad_request("continue key is not valid"));
        };
        Ok(Self::After { version: version.parse().ok(), namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The objects, and the version they are of.
    fn read(
        &self,
        store: &Store,
        resource: &'static Resource,
        namespace: Option<&str>,
    ) -> Result<(Vec<Arc<Value>>, u64), Refusal> {
        let at = match self {
            Self::Now(least) if *least > store.version() => {
                return Err(Refusal::too_large_version(*least, store.version()));
            }
            Self::At(version) | Self::After { version: Some(version), .. } => *version,
            Self::Now(_) | Self::After { version: None, .. } => store.version(),
        };
        let listed = store.list_at(resource, namespace, at);
        let objects = listed.map_err(|refusal| match self {
            Self::After { namespace, name, .. } if refusal.code == 410 => {
                Refusal { next: Some(token(None, (namespace, name))), ..Refusal::expired(TOO_OLD) }
            }
            _ => refusal,
        })?;
        Ok((objects, at))
    }

    /// The last object of the page before.
    fn after(&self) -> Option<(&str, &str)> {
        match self {
            Self::After { namespace, name, .. } => Some((namespace, name)),
            Self::Now(_) | Self::At(_) => None,
        }
    }
}

fn key(object: &Value) -> (&str, &str) {
    (object::namespace(object), object::name(object))
}

fn token(version: Option<u64>, (namespace, name): (&str, &str)) -> String {
    let version = version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    format!("{version}/{namespace}/{name}")
}
