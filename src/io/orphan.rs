//! The orphan ledger as it stands in the cluster: what a repair leaves behind as an OrphanedSnapshot, and back.
//!
//! The entry is written before the object that held the handle goes, because afterwards nobody can list what was
//! lost. So nothing that finds the snapshot again is ever shortened: a handle that the schema does not take is
//! refused by the server, and the repair holds.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::cut;
use crate::api::condition::{Condition, ConditionStatus, READY, RECONCILING, STALLED};
use crate::api::orphan::{
    self as api, CephLocation, ContentOrigin, OrphanPhase, OrphanedSnapshotSpec, OrphanedSnapshotStatus, SecretRef,
    SnapshotOrigin,
};
use crate::domain::ceph::Location;
use crate::domain::name::{Uid, fingerprint};
use crate::domain::record::{DeletionPolicy, Left};
use crate::domain::remedy::action::Orphan;

/// Reasons and messages.
const TEXT: usize = 1024;

/// What a POST sends: the entry of what this remediation is about to leave behind.
#[must_use]
pub fn created(orphan: &Orphan, remediation: &str) -> Value {
    let (content, content_uid) = &orphan.content;
    let (snapshot, snapshot_uid) = &orphan.snapshot;
    let named = !snapshot.name.is_empty() && !snapshot.namespace.is_empty();
    let spec = OrphanedSnapshotSpec {
        driver: orphan.driver.to_string(),
        snapshot_handle: orphan.handle.to_string(),
        volume_snapshot_class_name: orphan.class.as_deref().map(ToOwned::to_owned),
        deletion_policy: match orphan.policy {
            DeletionPolicy::Retain => api::DeletionPolicy::Retain,
            // One that nobody could read leaks like Delete: the snapshot was to go.
            DeletionPolicy::Delete | DeletionPolicy::Unknown => api::DeletionPolicy::Delete,
        },
        deletion_secret: orphan
            .secret
            .as_ref()
            .map(|secret| SecretRef { name: secret.name.to_string(), namespace: secret.namespace.to_string() }),
        source_volume_handle: orphan.volume_handle.as_deref().map(ToOwned::to_owned),
        csi_snapshot_name: orphan.csi_name(),
        ceph: orphan.ceph.as_ref().map(|location| CephLocation {
            cluster_id: location.cluster.to_string(),
            pool_id: location.pool,
            object_uuid: location.uuid.to_string(),
        }),
        origin: api::Origin {
            content: ContentOrigin { name: content.name.to_string(), uid: content_uid.to_string() },
            snapshot: named.then(|| SnapshotOrigin {
                namespace: snapshot.namespace.to_string(),
                name: snapshot.name.to_string(),
                uid: snapshot_uid.as_ref().map(ToString::to_string),
            }),
        },
        reason: cut(&orphan.reason, TEXT),
        command: command(orphan),
        remediation: (!remediation.is_empty()).then(|| remediation.to_owned()),
    };
    json!({
        "apiVersion": format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        "kind": "OrphanedSnapshot",
        "metadata": {"name": orphan.name()},
        "spec": serde_json::to_value(spec).unwrap_or_default(),
    })
}

// === What a storage administrator can run ===

/// How to find the snapshot in the backend and to delete it there; `None` where nothing tells.
fn command(orphan: &Orphan) -> Option<String> {
    let location = orphan.ceph.as_ref()?;
    if orphan.driver.ends_with("rbd.csi.ceph.com") {
        return Some(rbd(location, orphan.csi_name().as_deref()));
    }
    if orphan.driver.ends_with("cephfs.csi.ceph.com") {
        let volume = orphan.volume_handle.as_deref().and_then(Location::of)?;
        return Some(cephfs(location, &volume));
    }
    None
}

/// Names come from objects that anybody may have written, and the text is made to be pasted into a shell.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn cluster(location: &Location) -> &str {
    if plain(&location.cluster) { &location.cluster } else { "spec.ceph.clusterID" }
}

/// An image and a snapshot of it, both called `csi-snap-<uuid>`, and two entries of the driver's journal.
fn rbd(location: &Location, csi_name: Option<&str>) -> String {
    let Location { pool, uuid, .. } = location;
    let cluster = cluster(location);
    let mut text = format!(
        "# In the Ceph cluster that ceph-csi calls {cluster}; with a RADOS namespace, add --namespace to each.\n\
         POOL=$(ceph osd lspools | awk '$1 == {pool} {{print $2}}')\n\
         # Is it still there, and does anything hang on it?\n\
         rbd info \"$POOL/csi-snap-{uuid}\"\n\
         rbd children --all \"$POOL/csi-snap-{uuid}\"\n"
    );
    let journal = csi_name.filter(|name| plain(name)).map(|name| format!("csi.snaps.default csi.snap.{name}"));
    if let Some(journal) = &journal {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "rados -p \"$POOL\" getomapval {journal}   # has to show {uuid}");
    }
    let _ = write!(
        text,
        "# Only if nothing hangs on it, delete the image and what the driver's journal has of it:\n\
         rbd snap purge \"$POOL/csi-snap-{uuid}\"\n\
         rbd rm \"$POOL/csi-snap-{uuid}\"\n\
         rados -p \"$POOL\" rm csi.snap.{uuid}\n"
    );
    if let Some(journal) = &journal {
        let _ = writeln!(text, "rados -p \"$POOL\" rmomapkey {journal}");
    }
    text
}

/// A snapshot of the source's subvolume. Of a CephFS handle the number is the filesystem's.
fn cephfs(location: &Location, volume: &Location) -> String {
    let Location { pool: filesystem, uuid, .. } = location;
    let (cluster, volume) = (cluster(location), &volume.uuid);
    format!(
        "# In the Ceph cluster that ceph-csi calls {cluster}; the subvolume group is ceph-csi's default.\n\
         FS=$(ceph fs dump --format json 2>/dev/null \
         | jq -r '.filesystems[] | select(.id == {filesystem}) | .mdsmap.fs_name')\n\
         # Is it still there, and does anything hang on it?\n\
         ceph fs subvolume snapshot info \"$FS\" csi-vol-{volume} csi-snap-{uuid} --group_name csi\n\
         # Only if it has no pending clones, delete it:\n\
         ceph fs subvolume snapshot rm \"$FS\" csi-vol-{volume} csi-snap-{uuid} --group_name csi\n"
    )
}

// === Its status ===

/// The entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The version that is written on.
    pub version: &'a str,
    /// Its generation.
    pub generation: i64,
    /// When it was made.
    pub created: Timestamp,
}

/// The merge patch of the status subresource for an entry that comes to this phase now.
#[must_use]
pub fn status(entry: &Entry<'_>, phase: OrphanPhase, message: &str, now: Timestamp) -> Value {
    let message = cut(message, TEXT);
    let reason = match phase {
        OrphanPhase::Announced => "Announced",
        OrphanPhase::Orphaned => "Orphaned",
        OrphanPhase::Withdrawn => "Withdrawn",
        OrphanPhase::Reclaiming => "Reclaiming",
        OrphanPhase::Reclaimed => "Reclaimed",
    };
    let condition = |about: &str, holds: bool, since: Timestamp| Condition {
        r#type: about.to_owned(),
        status: if holds { ConditionStatus::True } else { ConditionStatus::False },
        observed_generation: Some(entry.generation),
        last_transition_time: since,
        reason: reason.to_owned(),
        message: message.clone(),
    };
    let open = condition(READY, false, entry.created);
    let conditions = match phase {
        OrphanPhase::Announced => vec![open, condition(RECONCILING, true, entry.created)],
        OrphanPhase::Reclaiming => vec![open, condition(RECONCILING, true, now)],
        OrphanPhase::Orphaned => vec![open, condition(STALLED, true, now)],
        OrphanPhase::Withdrawn | OrphanPhase::Reclaimed => vec![condition(READY, true, now)],
    };
    let status = OrphanedSnapshotStatus {
        observed_generation: Some(entry.generation),
        phase: Some(phase),
        message: Some(message),
        conditions,
    };
    json!({
        "metadata": {"resourceVersion": entry.version},
        "status": serde_json::to_value(status).unwrap_or_default(),
    })
}

// === Reading ===

/// The little of an entry that repairs rest on: all of it has been there in every version.
#[derive(Deserialize)]
struct View {
    spec: Spec,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    snapshot_handle: String,
    origin: Origin,
}

#[derive(Deserialize)]
struct Origin {
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    uid: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    phase: Option<String>,
}

/// Reads an entry; `None` for one that was withdrawn: nothing was left behind, so it stands for nothing, and would
/// have to be announced again.
///
/// # Errors
/// It cannot be read.
pub fn left(json: &str) -> Result<Option<Left>, serde_json::Error> {
    let View { spec, status } = serde_json::from_str(json)?;
    let phase = status.and_then(|status| status.phase);
    let withdrawn = phase.as_deref() == Some("Withdrawn");
    let left = Left { print: fingerprint(&spec.snapshot_handle), content: Uid::parse(&spec.origin.content.uid) };
    Ok((!withdrawn).then_some(left))
}

#[cfg(test)]
#[path = "orphan_tests.rs"]
mod tests;
