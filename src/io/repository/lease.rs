//! The Lease of a repository: one of ours at a time writes to it. It names the Job by its uid, and says where that is.
//!
//! It is looked at by the repository's own unique ID, so that two objects for one repository have one Lease. It binds
//! this cluster alone; between clusters it is kopia's one owner that keeps them apart.

use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::job;
use super::{LIMIT, PATIENCE};
use crate::api::JOB;
use crate::domain::digest::Encoding;
use crate::domain::name::Key;
use crate::domain::repository::course::{Lease, Sighted, is_free};
use crate::io::request::{self, JSON, encode};

/// A Lease as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It cannot be read.
    Unknown(String),
    /// It is not there.
    Absent,
    /// It is.
    There(Leased),
}

/// One that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Its version.
    pub version: Box<str>,
    /// The uid of the Job that it names.
    pub holder: Box<str>,
    /// Where that Job is.
    pub job: Option<Key>,
    /// How often it has changed hands.
    pub transitions: i32,
}

/// Its name, by the repository's unique ID.
#[must_use]
pub fn name(unique_id: &str) -> String {
    let mut encoding = Encoding::of("kopia-lease/1");
    encoding.field("uniqueID", unique_id);
    format!("volwarden-kopia-{}", encoding.hash())
}

/// Where it is.
#[must_use]
pub fn path(namespace: &str, name: &str) -> String {
    let mut path = "/apis/coordination.k8s.io/v1/namespaces/".to_owned();
    encode(&mut path, namespace);
    path.push_str("/leases/");
    encode(&mut path, name);
    path
}

/// Reads it.
pub async fn kept(client: &Client, namespace: &str, name: &str) -> Kept {
    match request::fetch(client, &path(namespace, name), JSON, LIMIT, PATIENCE).await {
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => Kept::Absent,
        Err(refusal) => Kept::Unknown(refusal.words.to_string()),
        Ok(bytes) => match request::parse::<View>(&bytes) {
            Ok(view) => Kept::There(view.leased()),
            Err(refusal) => Kept::Unknown(refusal.words.to_string()),
        },
    }
}

/// Who holds it, seen from a Job of this uid: whoever it names is looked at, however old it is.
pub async fn held(client: &Client, kept: &Kept, ours: &str) -> Lease {
    let leased = match kept {
        Kept::Unknown(why) => return Lease::Unknown(why.clone()),
        Kept::Absent => return Lease::Free,
        Kept::There(leased) => leased,
    };
    if *leased.holder == *ours {
        return Lease::Ours;
    }
    if leased.holder.is_empty() {
        return Lease::Free;
    }
    let Some(key) = &leased.job else {
        return Lease::Held(format!("{}, and it does not say where that is", leased.holder));
    };
    let (found, _) = job::look(client, key).await;
    // Another Job under the same name is not the one that is named.
    let found = match found {
        Sighted::There(job) if job.uid != leased.holder => Sighted::Absent,
        other => other,
    };
    let pods = job::pods(client, &key.namespace, &leased.holder).await;
    match is_free(&found, &pods) {
        Ok(()) => Lease::Free,
        Err(why) => Lease::Held(format!("the Job {key} holds it, and {why}")),
    }
}

/// The Lease for a Job, or for nobody; in the version that was read, if it was there.
#[must_use]
pub fn written(name: &str, kept: &Kept, holder: Option<(&str, &Key)>, now: Timestamp) -> Value {
    let (version, transitions) = match kept {
        Kept::There(leased) => (Some(&leased.version), leased.transitions.saturating_add(i32::from(holder.is_some()))),
        Kept::Unknown(_) | Kept::Absent => (None, 0),
    };
    let (uid, job) = holder.map_or(("", None), |(uid, key)| (uid, Some(key.to_string())));
    let at = format!("{now:.6}");
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "annotations": {JOB: job.unwrap_or_default()}},
        "spec": {"holderIdentity": uid, "acquireTime": at, "renewTime": at, "leaseTransitions": transitions},
    });
    if let (Some(version), Some(metadata)) = (version, lease.get_mut("metadata").and_then(Value::as_object_mut)) {
        metadata.insert("resourceVersion".to_owned(), json!(version));
    }
    lease
}

#[derive(Deserialize)]
struct View {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: Box<str>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<Box<str>>,
    lease_transitions: Option<i32>,
}

impl View {
    fn leased(self) -> Leased {
        let job = self.metadata.annotations.get(JOB).and_then(|text| text.split_once('/'));
        Leased {
            version: self.metadata.resource_version,
            holder: self.spec.holder_identity.unwrap_or_default(),
            job: job.map(|(namespace, name)| Key::namespaced(namespace, name)),
            transitions: self.spec.lease_transitions.unwrap_or_default(),
        }
    }
}
