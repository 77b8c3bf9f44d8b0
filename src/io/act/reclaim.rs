//! Brings an orphan back into the cluster, so that its driver really deletes it.
//!
//! A pre-provisioned content with policy Delete carries the handle, a VolumeSnapshot binds it, and the deletion of that
//! VolumeSnapshot makes the driver delete. Whoever is asked to delete by a handle deletes whatever has it: the failure
//! this exists to prevent is that it is somebody's. So a handle that stands anywhere else in the cluster is refused,
//! and that the driver answered OK is said only if the emptied status was seen, which only its answer makes.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::consent::{ANSWER_BYTES, Ours, PATIENCE, Trouble, list, read};
use super::send::{Call, send};
use crate::api::RECLAIMS;
use crate::api::foreign::Page;
use crate::api::orphan::{OrphanPhase, OrphanedSnapshotSpec, OrphanedSnapshotStatus};
use crate::domain::diagnose::content::OWN_FINALIZER;
use crate::domain::diagnose::snapshot::BOUND;
use crate::domain::fact::Source;
use crate::io::orphan::{Entry, status};
use crate::io::request::{self, JSON, Lines, Refusal, encode};
use crate::io::source::{Found, Place, discover};

const CONTENTS: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents";
const CLASSES: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses";
const SECRET_NAME: &str = "snapshot.storage.kubernetes.io/deletion-secret-name";
const SECRET_NAMESPACE: &str = "snapshot.storage.kubernetes.io/deletion-secret-namespace";
/// Objects on a page.
const PAGE: u32 = 500;
/// How often it is looked whether the import is bound.
const EVERY: Duration = Duration::from_secs(1);
/// How long a watch is asked to last.
const WATCH: u32 = 120;
/// The longest value of a label.
const LABEL: usize = 63;
/// Who may do all this.
const RIGHTS: &str = "reclaiming needs create on volumesnapshotcontents, create and delete on volumesnapshots in the \
    namespace, and patch on orphanedsnapshots/status";

/// An entry of the orphan ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Orphaned {
    /// Name, version and times.
    pub metadata: Metadata,
    /// What was left behind.
    pub spec: OrphanedSnapshotSpec,
    /// What became of it.
    #[serde(default)]
    pub status: OrphanedSnapshotStatus,
}

/// What is read of an entry's metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its version.
    pub resource_version: String,
    /// Its generation.
    #[serde(default)]
    pub generation: i64,
    /// When it was made.
    pub creation_timestamp: Timestamp,
}

impl Orphaned {
    /// Whether nothing is to be done about it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase, Some(OrphanPhase::Reclaimed | OrphanPhase::Withdrawn))
    }
}

/// Why it was not reclaimed. Each text is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReclaimed {
    /// Something could not be read or written.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// It must not be, or it did not come to its end.
    #[error("{0}")]
    Because(String),
}

fn because<T>(words: impl Into<String>) -> Result<T, NotReclaimed> {
    Err(NotReclaimed::Because(words.into()))
}

fn read_as(name: &str, json: &str) -> Result<Orphaned, Trouble> {
    let unreadable = |error: serde_json::Error| Trouble::Unreadable {
        what: format!("OrphanedSnapshot {name}").trim_end().to_owned(),
        words: error.to_string(),
    };
    serde_json::from_str(json).map_err(unreadable)
}

/// One entry.
///
/// # Errors
/// It is not there, or cannot be read.
pub async fn orphan(client: &Client, name: &str) -> Result<Orphaned, Trouble> {
    read_as(name, &read(client, Ours::Orphan, name).await?)
}

/// Every entry, oldest first.
///
/// # Errors
/// They cannot be read.
pub async fn orphans(client: &Client) -> Result<Vec<Orphaned>, Trouble> {
    let items = list(client, Ours::Orphan).await?;
    let mut all: Vec<Orphaned> = items.iter().map(|item| read_as("", item.get())).collect::<Result<_, _>>()?;
    all.sort_by(|one, two| {
        let key = |entry: &Orphaned| (entry.metadata.creation_timestamp, entry.metadata.name.clone());
        key(one).cmp(&key(two))
    });
    Ok(all)
}

/// What is asked for.
pub struct Asked<'a> {
    /// Name of the entry.
    pub name: &'a str,
    /// Namespace of the VolumeSnapshot that is made for it.
    pub namespace: &'a str,
    /// How long all of it may take.
    pub patience: Duration,
    /// Told of each step.
    pub tell: &'a dyn Fn(&str),
    /// The wall clock.
    pub now: &'a dyn Fn() -> Timestamp,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaimed {
    /// The content that was made and is gone.
    pub content: String,
    /// The VolumeSnapshot that was made and is gone.
    pub snapshot: String,
}

/// Whether an entry may be reclaimed by itself, without a look at the rest of the cluster.
///
/// # Errors
/// Why not.
pub fn reclaimable(entry: &Orphaned) -> Result<(), NotReclaimed> {
    let name = &entry.metadata.name;
    match entry.status.phase {
        Some(OrphanPhase::Reclaimed) => {
            because(format!("OrphanedSnapshot {name} is reclaimed already: the driver has answered OK to its deletion"))
        }
        Some(OrphanPhase::Withdrawn) => because(format!(
            "OrphanedSnapshot {name} was withdrawn: its content was not removed, nothing was left behind"
        )),
        _ if name.len() > LABEL => because(format!(
            "the name of OrphanedSnapshot {name} is too long for a label: it is none of Volwarden's own"
        )),
        _ => Ok(()),
    }
}

/// Reclaims an orphan, or goes on where an earlier call ended.
///
/// # Errors
/// Why it must not be reclaimed, or how far it came.
pub async fn reclaim(client: &Client, asked: &Asked<'_>) -> Result<Reclaimed, NotReclaimed> {
    let entry = orphan(client, asked.name).await?;
    reclaimable(&entry)?;
    (asked.tell)("looking whether the handle stands anywhere else");
    let own = format!("reclaim-{}", asked.name);
    let holders = holders(client, &entry, &own).await?;
    if let Some(first) = holders.first() {
        let more = if holders.len() > 1 { format!(" and {} more", holders.len() - 1) } else { String::new() };
        return because(format!(
            "the handle {} stands in {first}{more} too: deleting it would delete theirs; look which of them it belongs to",
            entry.spec.snapshot_handle
        ));
    }
    let work = Work {
        client,
        asked,
        content: format!("{CONTENTS}/{own}"),
        own,
        deadline: Instant::now() + asked.patience,
        spec: entry.spec,
    };
    work.run().await
}

/// Everything else in the cluster that has an entry's handle.
async fn holders(client: &Client, entry: &Orphaned, own: &str) -> Result<Vec<String>, Trouble> {
    let handle = entry.spec.snapshot_handle.as_str();
    let mut holders = Vec::new();
    for other in orphans(client).await? {
        if other.metadata.name != entry.metadata.name && !other.is_over() && other.spec.snapshot_handle == handle {
            holders.push(format!("OrphanedSnapshot {}", other.metadata.name));
        }
    }
    let doing = "read VolumeSnapshotContents";
    each(client, CONTENTS, doing, |object| {
        let has = |path: &str| object.pointer(path).and_then(Value::as_str) == Some(handle);
        let name = text(object, "/metadata/name");
        if name != own && (has("/status/snapshotHandle") || has("/spec/source/snapshotHandle")) {
            holders.push(format!("VolumeSnapshotContent {name}"));
        }
    })
    .await?;
    let doing = "read VolumeGroupSnapshotContents";
    let found = discover(client, Place::of(Source::GroupContents)).await;
    if let Found::At(path) = found.map_err(|refusal| Trouble::other(&refusal, doing.to_owned(), RIGHTS))? {
        each(client, &path, doing, |object| {
            // A group's handles stand in lists whose names have changed with its versions.
            let mentions = ["/status", "/spec/source"]
                .iter()
                .any(|part| object.pointer(part).is_some_and(|part| mentions(part, handle)));
            if mentions {
                holders.push(format!("VolumeGroupSnapshotContent {}", text(object, "/metadata/name")));
            }
        })
        .await?;
    }
    Ok(holders)
}

fn mentions(value: &Value, handle: &str) -> bool {
    match value {
        Value::String(text) => text == handle,
        Value::Array(items) => items.iter().any(|item| mentions(item, handle)),
        Value::Object(map) => map.values().any(|item| mentions(item, handle)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Every object of a collection, page by page.
async fn each(client: &Client, path: &str, doing: &str, mut take: impl FnMut(&Value)) -> Result<(), Trouble> {
    let trouble = |refusal: Refusal| Trouble::other(&refusal, doing.to_owned(), RIGHTS);
    let mut more: Option<String> = None;
    loop {
        let mut uri = format!("{path}?limit={PAGE}");
        if let Some(token) = &more {
            uri.push_str("&continue=");
            encode(&mut uri, token);
        }
        let bytes = request::fetch(client, &uri, JSON, ANSWER_BYTES, PATIENCE).await.map_err(trouble)?;
        let page: Page<'_> = request::parse(&bytes).map_err(trouble)?;
        for item in page.items.iter().flatten() {
            let object: Value = request::parse(item.get().as_bytes()).map_err(trouble)?;
            take(&object);
        }
        more = page.metadata.more.as_deref().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
        if more.is_none() {
            return Ok(());
        }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn deleting(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

fn finalized(object: &Value, name: &str) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.into_iter().flatten().any(|one| one == name)
}

/// The status is there, and all that a driver writes into it is gone: only its answer to a deletion makes that.
fn emptied(content: &Value) -> bool {
    let Some(status) = content.get("status").and_then(Value::as_object) else { return false };
    // An error stands in what was never bound: that goes without the driver's being asked.
    ["snapshotHandle", "readyToUse", "creationTime", "restoreSize", "error"]
        .iter()
        .all(|field| status.get(*field).is_none_or(Value::is_null))
}

/// One orphan being reclaimed.
struct Work<'a> {
    client: &'a Client,
    asked: &'a Asked<'a>,
    /// Name of both objects that are made for it.
    own: String,
    /// Path of the content.
    content: String,
    deadline: Instant,
    /// What is reclaimed; it never changes.
    spec: OrphanedSnapshotSpec,
}

impl Work<'_> {
    fn tell(&self, words: &str) {
        (self.asked.tell)(words);
    }

    async fn run(&self) -> Result<Reclaimed, NotReclaimed> {
        let found = self.get(&self.content, &self.own).await?;
        let namespace = self.home(found.as_ref())?.to_owned();
        let snapshot = format!("/apis/snapshot.storage.k8s.io/v1/namespaces/{namespace}/volumesnapshots");
        let going = found.as_ref().is_some_and(deleting);
        self.enter(OrphanPhase::Reclaiming, "it is imported again, so that the driver deletes it").await?;
        if !going {
            if found.is_none() {
                self.create(CONTENTS, "VolumeSnapshotContent", self.manifest().await?).await?;
            }
            self.bind(&snapshot).await?;
        }
        self.gone().await?;
        let words = "the driver answered OK to its deletion; whether storage was freed, only the backend knows";
        self.enter(OrphanPhase::Reclaimed, words).await?;
        Ok(Reclaimed { content: self.own.clone(), snapshot: format!("{namespace}/{}", self.own) })
    }

    /// The namespace of the VolumeSnapshot: that of an earlier call, if its content is still there.
    fn home<'b>(&'b self, content: Option<&'b Value>) -> Result<&'b str, NotReclaimed> {
        let Some(content) = content else { return Ok(self.asked.namespace) };
        let ours = content.pointer("/metadata/labels").and_then(|labels| labels.get(RECLAIMS));
        let ours = ours.and_then(Value::as_str) == Some(self.asked.name)
            && text(content, "/spec/source/snapshotHandle") == self.spec.snapshot_handle
            && text(content, "/spec/driver") == self.spec.driver;
        if !ours {
            return because(format!(
                "VolumeSnapshotContent {} is there already and was not made for this orphan; see whose it is",
                self.own
            ));
        }
        Ok(text(content, "/spec/volumeSnapshotRef/namespace"))
    }

    async fn get(&self, path: &str, name: &str) -> Result<Option<Value>, Trouble> {
        let trouble = |refusal: Refusal| Trouble::other(&refusal, format!("read {name}"), RIGHTS);
        match request::fetch(self.client, path, JSON, ANSWER_BYTES, PATIENCE).await {
            Ok(bytes) => request::parse(&bytes).map(Some).map_err(trouble),
            Err(refusal) if refusal.is(StatusCode::NOT_FOUND) && refusal.about.as_deref() == Some(name) => Ok(None),
            Err(refusal) => Err(trouble(refusal)),
        }
    }

    /// Writes where the orphan stands; the entry is read afresh, because others write its status too.
    async fn enter(&self, phase: OrphanPhase, words: &str) -> Result<(), Trouble> {
        let fresh = orphan(self.client, self.asked.name).await?;
        if fresh.status.phase != Some(phase) {
            let metadata = &fresh.metadata;
            let entry = Entry {
                version: &metadata.resource_version,
                generation: metadata.generation,
                created: metadata.creation_timestamp,
            };
            let patch = status(&entry, phase, words, (self.asked.now)());
            let call = Call::merge(format!("{}/status", Ours::Orphan.object(self.asked.name)), patch);
            let doing = format!("write the status of OrphanedSnapshot {}", self.asked.name);
            let sent = send(self.client, call, PATIENCE).await;
            sent.map_err(|refusal| Trouble::other(&refusal, doing, RIGHTS))?;
        }
        Ok(())
    }

    async fn create(&self, collection: &str, kind: &str, object: Value) -> Result<(), Trouble> {
        self.tell(&format!("creating {kind} {}", self.own));
        match send(self.client, Call::create(collection, object), PATIENCE).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => Err(Trouble::Refused {
                doing: format!("create {kind} {}", self.own),
                words: format!("{refusal}; name a namespace that exists with --namespace"),
            }),
            Err(refusal) => Err(Trouble::other(&refusal, format!("create {kind} {}", self.own), RIGHTS)),
        }
    }

    /// The content as the fence lets it be made.
    async fn manifest(&self) -> Result<Value, Trouble> {
        let spec = &self.spec;
        let mut annotations = json!({});
        if let (Some(secret), Some(map)) = (&spec.deletion_secret, annotations.as_object_mut()) {
            map.insert(SECRET_NAME.to_owned(), secret.name.as_str().into());
            map.insert(SECRET_NAMESPACE.to_owned(), secret.namespace.as_str().into());
        }
        // A class that is gone, or another driver's by now, would keep it from ever being bound.
        let class = match &spec.volume_snapshot_class_name {
            Some(name) => self
                .get(&format!("{CLASSES}/{name}"), name)
                .await?
                .filter(|class| text(class, "/driver") == spec.driver),
            None => None,
        };
        let mut content = json!({
            "driver": spec.driver,
            "deletionPolicy": "Delete",
            "source": {"snapshotHandle": spec.snapshot_handle},
            "volumeSnapshotRef": {"namespace": self.asked.namespace, "name": self.own},
        });
        if let (Some(class), Some(map)) = (&class, content.as_object_mut()) {
            map.insert("volumeSnapshotClassName".to_owned(), text(class, "/metadata/name").into());
        }
        Ok(json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": self.own, "labels": {(RECLAIMS): self.asked.name}, "annotations": annotations},
            "spec": content,
        }))
    }

    /// Makes the VolumeSnapshot, waits until both are bound, and deletes it.
    async fn bind(&self, snapshots: &str) -> Result<(), NotReclaimed> {
        let path = format!("{snapshots}/{}", self.own);
        if self.get(&path, &self.own).await?.is_none() {
            let object = json!({
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": self.own, "labels": {(RECLAIMS): self.asked.name}},
                "spec": {"source": {"volumeSnapshotContentName": self.own}},
            });
            self.create(snapshots, "VolumeSnapshot", object).await?;
        }
        loop {
            let content = self.get(&self.content, &self.own).await?;
            let snapshot = self.get(&path, &self.own).await?;
            let (Some(content), Some(snapshot)) = (content, snapshot) else {
                return because(format!(
                    "VolumeSnapshotContent or VolumeSnapshot {} went away before it was bound; run this again",
                    self.own
                ));
            };
            if deleting(&content) || deleting(&snapshot) {
                return Ok(());
            }
            let waits = unbound(&content, &snapshot, &self.spec.snapshot_handle);
            let Some(why) = waits else {
                return self.delete(&path, text(&snapshot, "/metadata/uid")).await;
            };
            self.tell(&format!("waiting until it is bound: {why}"));
            if Instant::now() + EVERY > self.deadline {
                return because(format!(
                    "{} was not bound in time: {why}; the same command goes on from here. To give it up: kubectl delete {}",
                    self.own,
                    path_words(snapshots, &self.own)
                ));
            }
            sleep(EVERY).await;
        }
    }

    async fn delete(&self, path: &str, uid: &str) -> Result<(), NotReclaimed> {
        self.tell(&format!("deleting VolumeSnapshot {}, so that the driver deletes", self.own));
        let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        let call = Call { method: Method::DELETE, uri: path.to_owned(), content: JSON, body };
        match send(self.client, call, PATIENCE).await {
            Err(refusal) if !refusal.is(StatusCode::NOT_FOUND) => {
                Err(Trouble::other(&refusal, format!("delete VolumeSnapshot {}", self.own), RIGHTS).into())
            }
            _ => Ok(()),
        }
    }

    /// Follows the content until it is gone, and sees whether the driver answered before.
    async fn gone(&self) -> Result<(), NotReclaimed> {
        let mut answered = false;
        self.tell("waiting for the driver's answer");
        while let Some(content) = self.get(&self.content, &self.own).await? {
            answered |= emptied(&content);
            let followed = timeout_at(self.deadline, self.follow(&content, &mut answered)).await;
            if followed.is_err() {
                return because(format!(
                    "VolumeSnapshotContent {0} is not gone in time: `volwarden why vsc {0}` says what it waits for, and \
                     the same command goes on from here",
                    self.own
                ));
            }
        }
        if answered {
            return Ok(());
        }
        self.enter(OrphanPhase::Orphaned, "its import went away, and no answer of the driver's was seen").await?;
        because(format!(
            "VolumeSnapshotContent {} is gone, and that the driver answered OK was not seen: somebody may have removed its \
             finalizer; run this again, or look in the backend",
            self.own
        ))
    }

    /// Watches the content from this version on until it is gone or the watch ends.
    async fn follow(&self, content: &Value, answered: &mut bool) {
        let version = text(content, "/metadata/resourceVersion");
        let uri = format!(
            "{CONTENTS}?watch=true&timeoutSeconds={WATCH}&resourceVersion={version}&fieldSelector=metadata.name%3D{}",
            self.own
        );
        let Ok(body) = request::open(self.client, &uri, JSON, PATIENCE).await else {
            return sleep(EVERY).await;
        };
        let mut lines = Lines::new(body);
        while let Ok(Some(line)) = lines.next().await {
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { return };
            let kind = text(&event, "/type");
            *answered |= matches!(kind, "MODIFIED" | "DELETED") && event.get("object").is_some_and(emptied);
            if !matches!(kind, "ADDED" | "MODIFIED") {
                return;
            }
        }
        sleep(EVERY).await;
    }
}

/// Why the deletion of the VolumeSnapshot would not yet make the driver delete; `None`: it would.
fn unbound(content: &Value, snapshot: &Value, handle: &str) -> Option<String> {
    let uid = text(snapshot, "/metadata/uid");
    let told = [text(content, "/status/error/message"), text(snapshot, "/status/error/message")];
    let told = told.into_iter().find(|words| !words.is_empty());
    let known = text(content, "/spec/volumeSnapshotRef/uid");
    let waits = if known != uid {
        match known {
            "" => "snapshot-controller has not bound the two yet",
            _ => "the content is bound to a VolumeSnapshot that is gone",
        }
    } else if text(content, "/status/snapshotHandle") != handle {
        "csi-snapshotter has not confirmed the handle yet"
    } else if !finalized(content, OWN_FINALIZER) || !finalized(snapshot, BOUND) {
        "the finalizers by which the deletion goes on to the driver are not there yet"
    } else {
        return None;
    };
    Some(told.map_or_else(|| waits.to_owned(), |told| format!("{waits} ({told})")))
}

/// The object as kubectl wants it named.
fn path_words(snapshots: &str, name: &str) -> String {
    let namespace = snapshots.rsplit('/').nth(1).unwrap_or_default();
    format!("volumesnapshot -n {namespace} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, phase: Option<&str>) -> Orphaned {
        let json = json!({
            "metadata": {"name": name, "resourceVersion": "1", "creationTimestamp": "2026-11-22T20:00:00Z"},
            "spec": {"driver": "d", "snapshotHandle": "h", "deletionPolicy": "Delete", "reason": "r",
                "origin": {"content": {"name": "c", "uid": "u"}}},
            "status": {"phase": phase},
        });
        read_as(name, &json.to_string()).unwrap()
    }

    #[test]
    fn what_is_over_is_not_reclaimed() {
        let why = |name: &str, phase| reclaimable(&entry(name, phase)).err().map(|error| error.to_string());
        for open in [None, Some("Announced"), Some("Orphaned"), Some("Reclaiming")] {
            assert_eq!(why("x", open), None, "{open:?}");
        }
        assert!(why("x", Some("Reclaimed")).unwrap().contains("is reclaimed already"));
        assert!(why("x", Some("Withdrawn")).unwrap().contains("was withdrawn"));
        assert!(why(&"x".repeat(64), None).unwrap().contains("too long for a label"));
    }

    type Change = (&'static str, fn(&mut Value, &mut Value), &'static str);

    #[test]
    fn bound_is_what_hands_the_deletion_on_to_the_driver() {
        let content = json!({"metadata": {"finalizers": [OWN_FINALIZER]}, "spec": {"volumeSnapshotRef": {"uid": "u"}},
            "status": {"snapshotHandle": "h"}});
        let snapshot = json!({"metadata": {"uid": "u", "finalizers": [BOUND]}});
        assert_eq!(unbound(&content, &snapshot, "h"), None);
        let changes: [Change; 6] = [
            ("not bound", |content, _| content["spec"]["volumeSnapshotRef"] = json!({}), "has not bound the two yet"),
            (
                "another",
                |_, snapshot| snapshot["metadata"]["uid"] = json!("v"),
                "bound to a VolumeSnapshot that is gone",
            ),
            ("no handle", |content, _| content["status"] = json!({}), "has not confirmed the handle yet"),
            ("free content", |content, _| content["metadata"] = json!({}), "finalizers"),
            ("free snapshot", |_, snapshot| snapshot["metadata"]["finalizers"] = json!([]), "finalizers"),
            (
                "an error",
                |content, _| content["status"] = json!({"error": {"message": "can not find snapshot"}}),
                "(can not find snapshot)",
            ),
        ];
        for (name, change, words) in changes {
            let (mut content, mut snapshot) = (content.clone(), snapshot.clone());
            change(&mut content, &mut snapshot);
            let why = unbound(&content, &snapshot, "h").unwrap_or_default();
            assert!(why.contains(words), "{name}: {why}");
        }
    }

    #[test]
    fn only_an_emptied_status_is_the_drivers_answer() {
        for (status, answer) in [
            (json!({}), true),
            (json!({"snapshotHandle": null}), true),
            (json!({"error": {"message": "x"}}), false),
            (json!({"readyToUse": false}), false),
            (json!({"snapshotHandle": "h"}), false),
            (Value::Null, false),
        ] {
            assert_eq!(emptied(&json!({"status": status})), answer, "{status}");
        }
        assert!(!emptied(&json!({})));
    }

    #[test]
    fn a_handle_is_found_wherever_a_group_has_it() {
        let group = json!({"volumeSnapshotInfoList": [{"snapshotHandle": "h", "volumeHandle": "v"}]});
        assert!(mentions(&group, "h") && !mentions(&group, "hh"));
        assert!(mentions(&json!({"groupSnapshotHandles": {"volumeSnapshotHandles": ["g", "h"]}}), "h"));
        assert_eq!(path_words("/apis/x/v1/namespaces/ns/volumesnapshots", "a"), "volumesnapshot -n ns a");
    }
}
