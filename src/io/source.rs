//! The table of what is watched, and discovery: is a kind there at all?
//!
//! "Not installed", "forbidden" and "failing" look alike to a client that only counts objects. Telling them
//! apart is this file's point: the first is an empty set, the other two are unknown ones.

use std::time::Duration;

use http::StatusCode;
use kube::Client;

use crate::api::foreign::ResourceList;
use crate::domain::fact::Source;

use super::request::{self, JSON, Refusal};

/// How long discovery may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most that is read of a resource list, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;

/// Where a source is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Versions we can read, the preferred one first.
    pub versions: &'static [&'static str],
    /// Plural of the kind.
    pub plural: &'static str,
    /// Selector for the query, percent-encoded; empty for none.
    pub selector: &'static str,
    /// The kind comes with a CRD and may not be there.
    pub optional: bool,
}

const V1: &[&str] = &["v1"];
const SNAPSHOT: &str = "snapshot.storage.k8s.io";
const GROUP_SNAPSHOT: &str = "groupsnapshot.storage.k8s.io";
const GROUP_SNAPSHOT_VERSIONS: &[&str] = &["v1", "v1beta2", "v1beta1"];
const VOLSYNC: &str = "volsync.backube";
const VOLSYNC_VERSIONS: &[&str] = &["v1alpha1"];
const OURS: &str = "volwarden.dev";
const OUR_VERSIONS: &[&str] = &["v1alpha1"];
const STORAGE: &str = "storage.k8s.io";

impl Place {
    const fn built_in(group: &'static str, plural: &'static str) -> Self {
        Self { group, versions: V1, plural, selector: "", optional: false }
    }

    /// A kind that comes with a CRD.
    pub(super) const fn custom(group: &'static str, versions: &'static [&'static str], plural: &'static str) -> Self {
        Self { group, versions, plural, selector: "", optional: true }
    }

    const fn selecting(self, selector: &'static str) -> Self {
        Self { selector, ..self }
    }

    /// Where this source is to be found.
    #[must_use]
    pub const fn of(source: Source) -> Self {
        match source {
            Source::Snapshots => Self::custom(SNAPSHOT, V1, "volumesnapshots"),
            Source::Contents => Self::custom(SNAPSHOT, V1, "volumesnapshotcontents"),
            Source::SnapshotClasses => Self::custom(SNAPSHOT, V1, "volumesnapshotclasses"),
            // A kubelet renews its lease every 10 s: on a large cluster nine in ten lease events are theirs.
            Source::Leases => Self::built_in("coordination.k8s.io", "leases")
                .selecting("fieldSelector=metadata.namespace%21%3Dkube-node-lease"),
            Source::Claims => Self::built_in("", "persistentvolumeclaims"),
            Source::Volumes => Self::built_in("", "persistentvolumes"),
            Source::Pods => Self::built_in("", "pods"),
            Source::ReplicaSets => Self::built_in("apps", "replicasets"),
            Source::Deployments => Self::built_in("apps", "deployments"),
            Source::Jobs => {
                Self::built_in("batch", "jobs").selecting("labelSelector=app.kubernetes.io%2Fcreated-by%3Dvolsync")
            }
            Source::StorageClasses => Self::built_in(STORAGE, "storageclasses"),
            Source::CsiDrivers => Self::built_in(STORAGE, "csidrivers"),
            Source::Attachments => Self::built_in(STORAGE, "volumeattachments"),
            Source::ContentEvents => {
                Self::built_in("", "events").selecting("fieldSelector=involvedObject.kind%3DVolumeSnapshotContent")
            }
            Source::SnapshotEvents => {
                Self::built_in("", "events").selecting("fieldSelector=involvedObject.kind%3DVolumeSnapshot")
            }
            Source::CephClusters => Self::custom("ceph.rook.io", V1, "cephclusters"),
            Source::ReplicationSources => Self::custom(VOLSYNC, VOLSYNC_VERSIONS, "replicationsources"),
            Source::ReplicationDestinations => Self::custom(VOLSYNC, VOLSYNC_VERSIONS, "replicationdestinations"),
            // Only one fork of VolSync has it: its group version is there without the kind.
            Source::KopiaMaintenances => Self::custom(VOLSYNC, VOLSYNC_VERSIONS, "kopiamaintenances"),
            Source::Groups => Self::custom(GROUP_SNAPSHOT, GROUP_SNAPSHOT_VERSIONS, "volumegroupsnapshots"),
            Source::Namespaces => Self::built_in("", "namespaces"),
            Source::Policies => Self::custom(OURS, OUR_VERSIONS, "remediationpolicies"),
            Source::Remediations => Self::custom(OURS, OUR_VERSIONS, "remediations"),
            Source::Orphans => Self::custom(OURS, OUR_VERSIONS, "orphanedsnapshots"),
            Source::GroupContents => {
                Self::custom(GROUP_SNAPSHOT, GROUP_SNAPSHOT_VERSIONS, "volumegroupsnapshotcontents")
            }
        }
    }

    /// Path of a group version.
    fn root(&self, version: &str) -> String {
        if self.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", self.group) }
    }

    /// Path of the collection in this version.
    #[must_use]
    pub fn path(&self, version: &str) -> String {
        format!("{}/{}", self.root(version), self.plural)
    }
}

/// What discovery found.
#[derive(Debug)]
pub(super) enum Found {
    /// The collection is served at this path.
    At(String),
    /// The server knows none of the versions, or not the kind.
    NotInstalled,
}

/// Finds the path of a source; kinds of Kubernetes' own are there without asking.
pub(super) async fn discover(client: &Client, place: Place) -> Result<Found, Refusal> {
    if !place.optional {
        return Ok(place.versions.first().map_or(Found::NotInstalled, |version| Found::At(place.path(version))));
    }
    let mut served = false;
    for version in place.versions {
        let answer = request::fetch(client, &place.root(version), JSON, LIMIT, PATIENCE).await;
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => continue,
            Err(refusal) => return Err(refusal),
        };
        served = true;
        let list: ResourceList = request::parse(&bytes)?;
        if list.resources.iter().any(|resource| resource.name == place.plural) {
            return Ok(Found::At(place.path(version)));
        }
    }
    if served {
        return Ok(Found::NotInstalled);
    }
    // A group that has moved on to versions unknown here is there, and taking it for an empty set would be a lie.
    match request::fetch(client, &format!("/apis/{}", place.group), JSON, LIMIT, PATIENCE).await {
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => Ok(Found::NotInstalled),
        Err(refusal) => Err(refusal),
        Ok(_) => {
            let read = place.versions.join(", ");
            Err(Refusal::silent(format!("{} is served, and not in a version that can be read ({read})", place.group)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::io::tests::{Asked, Told, ok, refused, server};

    /// A server that serves this group in this version, with the kind or without it.
    fn serving(version: &'static str, kinds: &'static [&'static str]) -> impl Fn(&Asked) -> Told {
        move |asked| match asked.uri.as_str() {
            "/apis/volsync.backube" => ok(json!({"kind": "APIGroup"})),
            uri if uri == format!("/apis/volsync.backube/{version}") => {
                ok(json!({"resources": kinds.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}))
            }
            _ => refused(404, "NotFound"),
        }
    }

    #[tokio::test]
    async fn a_kind_that_is_not_there_is_told_from_one_that_cannot_be_read() {
        let place = Place::of(Source::ReplicationDestinations);
        let found = async |answer: Box<dyn Fn(&Asked) -> Told + Send + Sync>| discover(&server(answer).0, place).await;
        let path = "/apis/volsync.backube/v1alpha1/replicationdestinations";
        let there = found(Box::new(serving("v1alpha1", &["replicationdestinations"]))).await;
        assert!(matches!(there, Ok(Found::At(at)) if at == path));
        let without = found(Box::new(serving("v1alpha1", &["replicationsources"]))).await;
        assert!(matches!(without, Ok(Found::NotInstalled)));
        let nothing = found(Box::new(|_: &Asked| refused(404, "NotFound"))).await;
        assert!(matches!(nothing, Ok(Found::NotInstalled)));
        let moved = found(Box::new(serving("v2", &["replicationdestinations"]))).await;
        assert!(moved.unwrap_err().words.contains("not in a version that can be read (v1alpha1)"));
        let failing = found(Box::new(|_: &Asked| refused(503, "ServiceUnavailable"))).await;
        assert!(failing.is_err());
    }
}
