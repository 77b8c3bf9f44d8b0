//! What the server says of itself: versions, groups and resources, in the old form and the aggregated one.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::sim::store::{Resource, Store, table};

use super::route::Call;
use super::{JSON, json as respond};

/// A document of discovery.
#[derive(Clone, Copy, Debug)]
pub(super) enum Document {
    Version,
    /// `/api`.
    Core,
    /// `/apis`.
    Groups,
    Group(&'static str),
    /// Group and version.
    Resources(&'static str, &'static str),
    /// `/openapi/v3`: kubectl looks there whether the server checks fields itself.
    OpenApi,
    /// Group and version.
    OpenApiOf(&'static str, &'static str),
}

/// The aggregated form, which kubectl asks for first.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// The Kubernetes that this one behaves like.
const VERSION: &str = "v1.36.2";

pub(super) fn answer(document: Document, call: &Call, store: &Store) -> Response {
    let aggregated = call.accept.contains("as=APIGroupDiscoveryList") && call.accept.contains("v=v2;");
    let (kind, value) = match document {
        Document::Core if aggregated => (AGGREGATED, aggregate(store, str::is_empty)),
        Document::Groups if aggregated => (AGGREGATED, aggregate(store, |group| !group.is_empty())),
        Document::Version => (JSON, version()),
        Document::Core => (JSON, json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        Document::Groups => {
            let groups: Vec<Value> =
                groups(store).into_iter().filter(|name| !name.is_empty()).map(|name| group(name, store)).collect();
            (JSON, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        Document::Group(name) => {
            let mut value = group(name, store);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("kind".to_owned(), "APIGroup".into());
                fields.insert("apiVersion".to_owned(), "v1".into());
            }
            (JSON, value)
        }
        Document::Resources(group, version) => (JSON, resources(group, version, store)),
        Document::OpenApi => (JSON, open_api(store)),
        Document::OpenApiOf(group, version) => (JSON, open_api_of(group, version, store)),
    };
    respond(StatusCode::OK, kind, &value)
}

fn version() -> Value {
    json!({"major": "1", "minor": "36", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "embedded"})
}

fn groups(store: &Store) -> BTreeSet<&'static str> {
    store.resources().map(|row| row.group).collect()
}

fn versions(group: &str, store: &Store) -> BTreeSet<&'static str> {
    store.resources().filter(|row| row.group == group).map(|row| row.version).collect()
}

fn group(name: &str, store: &Store) -> Value {
    let entry = |version: &str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<Value> = versions(name, store).into_iter().map(entry).collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn resources(group: &str, version: &str, store: &Store) -> Value {
    let mut list = Vec::new();
    for row in store.resources().filter(|row| row.group == group && row.version == version) {
        let mut entry = json!({"name": row.plural, "singularName": row.singular, "namespaced": row.namespaced,
            "kind": row.kind, "verbs": verbs(row), "shortNames": row.short});
        categorize(&mut entry, row);
        list.push(entry);
        for (name, verbs) in subresources(row) {
            list.push(json!({"name": format!("{}/{name}", row.plural), "singularName": "",
                "namespaced": row.namespaced, "kind": row.kind, "verbs": verbs}));
        }
    }
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list})
}

fn root(row: &Resource) -> String {
    if row.group.is_empty() { format!("api/{}", row.version) } else { format!("apis/{}/{}", row.group, row.version) }
}

fn open_api(store: &Store) -> Value {
    let entry = |row| (root(row), json!({"serverRelativeURL": format!("/openapi/v3/{}", root(row))}));
    let paths: Map<String, Value> = store.resources().map(entry).collect();
    json!({"paths": paths})
}

/// No schemas: only that every kind takes `fieldValidation`, so that kubectl leaves the checking to the server.
fn open_api_of(group: &str, version: &str, store: &Store) -> Value {
    let rows = store.resources().filter(|row| row.group == group && row.version == version);
    let entry = |row: &'static Resource| {
        let patch = json!({"parameters": [{"name": "fieldValidation", "in": "query"}],
            "x-kubernetes-group-version-kind": {"group": row.group, "version": row.version, "kind": row.kind}});
        (format!("/{}/{}/{{name}}", root(row), row.plural), json!({"patch": patch}))
    };
    let paths: Map<String, Value> = rows.map(entry).collect();
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": VERSION}, "paths": paths})
}

fn aggregate(store: &Store, wanted: impl Fn(&str) -> bool) -> Value {
    let items: Vec<Value> = groups(store)
        .into_iter()
        .filter(|group| wanted(group))
        .map(|group| {
            let versions: Vec<Value> = versions(group, store)
                .into_iter()
                .map(|version| {
                    let rows = store.resources().filter(|row| row.group == group && row.version == version);
                    let resources: Vec<Value> = rows.map(described).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn described(row: &'static Resource) -> Value {
    let kind = json!({"group": row.group, "version": row.version, "kind": row.kind});
    let subresources: Vec<Value> = subresources(row)
        .into_iter()
        .map(|(name, verbs)| json!({"subresource": name, "responseKind": kind, "verbs": verbs}))
        .collect();
    let mut entry = json!({"resource": row.plural, "responseKind": kind, "singularResource": row.singular,
        "shortNames": row.short, "scope": if row.namespaced { "Namespaced" } else { "Cluster" }, "verbs": verbs(row),
        "subresources": subresources});
    categorize(&mut entry, row);
    entry
}

fn categorize(entry: &mut Value, row: &'static Resource) {
    if let Some(fields) = entry.as_object_mut().filter(|_| !row.categories.is_empty()) {
        fields.insert("categories".to_owned(), row.categories.into());
    }
}

fn verbs(row: &'static Resource) -> &'static [&'static str] {
    if row == table::DEFINITIONS {
        return &["get", "list", "watch"];
    }
    &["create", "delete", "get", "list", "patch", "update", "watch"]
}

fn subresources(row: &'static Resource) -> Vec<(&'static str, &'static [&'static str])> {
    let mut all: Vec<(&str, &[&str])> = Vec::new();
    if row == table::PODS {
        all.push(("binding", &["create"]));
        all.push(("log", &["get"]));
    }
    if row.status && row != table::DEFINITIONS {
        all.push(("status", &["get", "patch", "update"]));
    }
    all
}
