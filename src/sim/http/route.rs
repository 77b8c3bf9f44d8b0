//! What a request asks for: path, verb, query and headers, read once.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use crate::sim::store::{Refusal, Resource, Store, resource};

use super::discovery::Document;

/// What a request does, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads a collection.
    List,
    /// Follows a collection.
    Watch,
    /// Makes an object.
    Create,
    /// Replaces one.
    Update,
    /// Changes one.
    Patch,
    /// Deletes one.
    Delete,
}

/// A subresource that can be read and written like the object itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sub {
    None,
    Status,
    Binding,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A fixed text, such as that of `/healthz`.
    Text(&'static str),
    Discovery(Document),
    Collection {
        resource: &'static Resource,
        namespace: Option<String>,
    },
    Object {
        resource: &'static Resource,
        namespace: String,
        name: String,
        sub: Sub,
    },
    Log {
        namespace: String,
        pod: String,
    },
}

/// A request.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) target: Target,
    query: BTreeMap<String, String>,
    pub(super) accept: String,
    pub(super) content_type: String,
    /// Who writes: as the server finds its field manager.
    pub(super) manager: String,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn read(head: &Parts, body: Bytes, store: &Store) -> Result<Self, Refusal> {
        let query: Query<BTreeMap<String, String>> =
            Query::try_from_uri(&head.uri).map_err(|error| Refusal::bad_request(error.to_string()))?;
        let target = target(head.uri.path(), store)?;
        let watching = matches!(query.get("watch").map(String::as_str), Some("true" | "1"));
        let verb = verb(&head.method, &target, watching)?;
        let agent = text(&head.headers, header::USER_AGENT);
        let manager = query.get("fieldManager").cloned();
        let manager = manager.unwrap_or_else(|| agent.split('/').next().unwrap_or_default().to_owned());
        let content_type = text(&head.headers, header::CONTENT_TYPE);
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        let accept = text(&head.headers, header::ACCEPT);
        Ok(Self { verb, target, query: query.0, accept, content_type, manager, body })
    }

    /// A parameter of the query; empty where there is none.
    pub(super) fn query(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.query(name), "true" | "1")
    }

    /// A number of the query.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.query(name) {
            "" => Ok(None),
            text => {
                text.parse().map(Some).map_err(|_| Refusal::bad_request(format!("{name}: \"{text}\" is no number")))
            }
        }
    }

    /// The resource that is asked for.
    pub(super) fn resource(&self) -> Option<&'static Resource> {
        match &self.target {
            Target::Collection { resource, .. } | Target::Object { resource, .. } => Some(resource),
            Target::Log { .. } => resource("", "pods"),
            Target::Text(_) | Target::Discovery(_) => None,
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn verb(method: &Method, target: &Target, watching: bool) -> Result<Verb, Refusal> {
    let collection = matches!(target, Target::Collection { .. });
    let object = matches!(target, Target::Object { .. });
    let binding = matches!(target, Target::Object { sub: Sub::Binding, .. });
    match *method {
        Method::GET if collection && watching => Ok(Verb::Watch),
        Method::GET if collection => Ok(Verb::List),
        Method::GET if !binding => Ok(Verb::Get),
        Method::POST if collection || binding => Ok(Verb::Create),
        Method::PUT if object && !binding => Ok(Verb::Update),
        Method::PATCH if object && !binding => Ok(Verb::Patch),
        Method::DELETE if object && !binding => Ok(Verb::Delete),
        _ => Err(Refusal::not_allowed()),
    }
}

/// Where a path leads.
fn target(path: &str, store: &Store) -> Result<Target, Refusal> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let document = match parts.as_slice() {
        ["healthz" | "livez" | "readyz"] => return Ok(Target::Text("ok")),
        ["version"] => Document::Version,
        ["api"] => Document::Core,
        ["apis"] => Document::Groups,
        ["openapi", "v3"] => Document::OpenApi,
        ["openapi", "v3", "api", "v1"] => Document::OpenApiOf("", "v1"),
        ["openapi", "v3", "apis", group, version] => {
            let (group, version) = served(group, Some(version), store)?;
            Document::OpenApiOf(group, version)
        }
        ["api", "v1"] => Document::Resources("", "v1"),
        ["api", "v1", rest @ ..] => return within("", "v1", rest, store),
        ["apis", group] => Document::Group(served(group, None, store)?.0),
        ["apis", group, version] => {
            let (group, version) = served(group, Some(version), store)?;
            Document::Resources(group, version)
        }
        ["apis", group, version, rest @ ..] => {
            let (group, version) = served(group, Some(version), store)?;
            return within(group, version, rest, store);
        }
        _ => return Err(Refusal::no_page()),
    };
    Ok(Target::Discovery(document))
}

/// The group (and version) as the table has it.
fn served(group: &str, version: Option<&str>, store: &Store) -> Result<(&'static str, &'static str), Refusal> {
    let matches = |row: &&Resource| {
        row.group == group && !group.is_empty() && version.is_none_or(|version| row.version == version)
    };
    store.resources().find(matches).map(|row| (row.group, row.version)).ok_or_else(Refusal::no_page)
}

/// A path below a group version.
fn within(group: &'static str, version: &str, parts: &[&str], store: &Store) -> Result<Target, Refusal> {
    let find = |plural: &str| {
        let found = resource(group, plural).filter(|row| row.version == version && store.serves(row));
        // A group of custom resources does not know what it might have served.
        let custom = || store.resources().any(|row| row.group == group && row.custom);
        found.ok_or_else(|| if custom() { Refusal::no_page() } else { Refusal::not_served() })
    };
    let (namespace, parts) = match parts {
        ["namespaces", _] | ["namespaces", _, "status"] => (None, parts),
        ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
        _ => (None, parts),
    };
    let [plural, rest @ ..] = parts else { return Err(Refusal::not_served()) };
    let resource = find(plural)?;
    if namespace.is_some() && !resource.namespaced {
        return Err(Refusal::not_served());
    }
    let [name, rest @ ..] = rest else { return Ok(Target::Collection { resource, namespace }) };
    if resource.namespaced && namespace.is_none() {
        return Err(Refusal::not_served());
    }
    let (namespace, name) = (namespace.unwrap_or_default(), (*name).to_owned());
    let pod = resource.kind == "Pod";
    let sub = match rest {
        [] => Sub::None,
        ["status"] if resource.status => Sub::Status,
        ["binding"] if pod => Sub::Binding,
        ["log"] if pod => return Ok(Target::Log { namespace, pod: name }),
        _ => return Err(Refusal::not_served()),
    };
    Ok(Target::Object { resource, namespace, name, sub })
}
