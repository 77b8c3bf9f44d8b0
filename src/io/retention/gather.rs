//! Lists what a plan is made from, page by page, and keeps slim records of it.
//!
//! The lists are read for this plan and complete, or there is no plan. Contents come first: a snapshot that is cut
//! while the lists are read has no content then, and is left alone for it. A tool that is not installed owns nothing;
//! one that may not be asked about may own what carries its mark.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Unlisted;
use crate::api::{IGNORE, KEEP, PRUNE_LAST, RECLAIMS};
use crate::domain::fact::Source;
use crate::domain::name::{Interner, Key, Stamp, Uid, fingerprint};
use crate::domain::prune::field::{Cut, Extra, Field, Labels, Maker, Marks, Owners};
use crate::domain::prune::part::Part;
use crate::domain::prune::relic::Failed;
use crate::domain::record::{Namespace, Owner};
use crate::domain::remedy::action::BEING_CREATED;
use crate::io::request::{self, JSON, Refusal, encode};
use crate::io::source::{Found, Place, discover};

mod relics;

/// A list as metadata alone, where that is all that counts.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.5";
/// Objects a page.
const PAGE: usize = 500;
/// Patience for a page.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most that is read of a page, in bytes: etcd lets an object have 1.5 MiB.
const LIMIT: usize = 64 * 1024 * 1024;

const BACKUPS: Place = Place::custom("velero.io", &["v1"], "backups");
const SCHEDULES: Place = Place::custom("snapscheduler.backube", &["v1"], "snapshotschedules");
const VOLSYNC: &str = "volsync.backube/";
const DO_NOT_DELETE: &str = "volsync.backube/do-not-delete";
/// VolSync's mark of a claim that is being made from the snapshot; the claim's uid follows.
const POPULATES: &str = "volsync.backube/volpop-pvc-";
const BACKUP: &str = "velero.io/backup-name";
const SCHEDULE: &str = "snapscheduler.backube/schedule";
const KOPIUR: &str = "kopiur.home-operations.com";
const IN_USE: &str = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
/// Finalizers whose owners let go by themselves.
const FINALIZERS: [&str; 4] = [
    IN_USE,
    "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection",
    "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection",
    "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection",
];
/// Velero cuts longer names and hashes them.
const LONGEST_LABEL: usize = 63;

// === Views ===

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default)]
    r#continue: Option<String>,
}

type Texts = BTreeMap<Box<str>, Box<str>>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Box<str>,
    namespace: Box<str>,
    uid: String,
    resource_version: Box<str>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    finalizers: Option<Vec<String>>,
    labels: Option<Texts>,
    annotations: Option<Texts>,
    owner_references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

#[derive(Deserialize)]
struct Bare {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct SnapshotView {
    metadata: Metadata,
    #[serde(default)]
    spec: SnapshotSpec,
    status: Option<SnapshotStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SnapshotSpec {
    source: SnapshotSource,
    volume_snapshot_class_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SnapshotSource {
    persistent_volume_claim_name: Option<String>,
    volume_snapshot_content_name: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotStatus {
    bound_volume_snapshot_content_name: Option<Box<str>>,
    creation_time: Option<Timestamp>,
    ready_to_use: Option<bool>,
    error: Option<serde::de::IgnoredAny>,
    restore_size: Option<serde::de::IgnoredAny>,
    volume_group_snapshot_name: Option<Box<str>>,
}

#[derive(Deserialize)]
struct ContentView {
    metadata: Metadata,
    #[serde(default)]
    spec: ContentSpec,
    status: Option<ContentStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContentSpec {
    driver: String,
    deletion_policy: Option<String>,
    source: ContentSource,
    volume_snapshot_ref: SnapshotRef,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContentSource {
    volume_handle: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SnapshotRef {
    uid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContentStatus {
    snapshot_handle: Option<String>,
    restore_size: Option<i64>,
    volume_group_snapshot_handle: Option<String>,
}

#[derive(Deserialize)]
struct ClaimView {
    metadata: Metadata,
    #[serde(default)]
    spec: ClaimSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    data_source: Option<SourceRef>,
    data_source_ref: Option<SourceRef>,
}

#[derive(Deserialize)]
struct SourceRef {
    kind: String,
    name: Box<str>,
    namespace: Option<Box<str>>,
}

#[derive(Deserialize)]
struct DestinationView {
    metadata: Metadata,
    status: Option<DestinationStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationStatus {
    latest_image: Option<SourceRef>,
}

// === Lists ===

/// Calls `take` with each object of a collection; `false`: discovery says that the kind is not there. A 404 for the
/// collection itself is an error like any other: nothing may rest on a list that nobody gave.
async fn each(
    client: &Client,
    place: Place,
    accept: &str,
    mut take: impl FnMut(&str) -> Result<(), serde_json::Error>,
) -> Result<bool, Refusal> {
    let path = match discover(client, place).await? {
        Found::At(path) => path,
        Found::NotInstalled => return Ok(false),
    };
    let mut next: Option<String> = None;
    loop {
        let mut uri = format!("{path}?limit={PAGE}");
        if !place.selector.is_empty() {
            uri.push('&');
            uri.push_str(place.selector);
        }
        if let Some(token) = &next {
            uri.push_str("&continue=");
            encode(&mut uri, token);
        }
        let bytes = request::fetch(client, &uri, accept, LIMIT, PATIENCE).await?;
        let page: Page = request::parse(&bytes)?;
        for item in page.items.unwrap_or_default() {
            take(item.get()).map_err(|error| Refusal::silent(format!("an object cannot be read ({error})")))?;
        }
        next = page.metadata.r#continue.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(true);
        }
    }
}

/// Those of a tool that live, as far as it can be told; and their uids.
async fn owners(client: &Client, places: &[Place], cluster: bool) -> (Owners, BTreeSet<Uid>) {
    let (mut living, mut uids) = (BTreeSet::new(), BTreeSet::new());
    let mut any = false;
    for place in places {
        let found = each(client, *place, METADATA, |json| {
            let Bare { metadata } = serde_json::from_str(json)?;
            // Backups are told apart by name alone: Velero does not say in which namespace it is.
            let namespace = if cluster { "" } else { &*metadata.namespace };
            living.insert(Key::namespaced(namespace, metadata.name));
            uids.insert(Uid::parse(&metadata.uid));
            Ok(())
        });
        match found.await {
            Ok(found) => any |= found,
            Err(_) => return (Owners::Unknown, uids),
        }
    }
    (if any { Owners::Living(living) } else { Owners::Absent }, uids)
}

/// Lists everything that plans of these parts are made from, but how the drivers are: that the engine says.
///
/// # Errors
/// Something cannot be listed that a plan rests on.
pub async fn gather(client: &Client, parts: &BTreeSet<Part>) -> Result<Field, Unlisted> {
    let unlisted = |what: &'static str| move |refusal: Refusal| Unlisted::new(what, &refusal);
    let (retained, leftovers) = (parts.contains(&Part::RetainedContents), parts.contains(&Part::VolsyncLeftovers));
    let mut maker = Assembly { drafts: retained.then(relics::Drafts::default), ..Assembly::default() };
    if parts.contains(&Part::FailedSnapshots) {
        let classes = Place::of(Source::SnapshotClasses);
        each(client, classes, JSON, |json| maker.class(json)).await.map_err(unlisted("VolumeSnapshotClasses"))?;
    }
    let contents = Place::of(Source::Contents);
    each(client, contents, JSON, |json| maker.content(json)).await.map_err(unlisted("VolumeSnapshotContents"))?;
    maker.find_shared();
    let snapshots = Place::of(Source::Snapshots);
    each(client, snapshots, JSON, |json| maker.snapshot(json)).await.map_err(unlisted("VolumeSnapshots"))?;
    let Assembly { mut field, drafts, .. } = maker;
    let mut uses = leftovers.then(relics::Uses::default);
    each(client, Place::of(Source::Claims), JSON, |json| {
        if let Some(uses) = &mut uses {
            uses.claim(&serde_json::from_str(json)?, &mut field);
        }
        claim(&mut field, json)
    })
    .await
    .map_err(unlisted("PersistentVolumeClaims"))?;
    each(client, Place::of(Source::Namespaces), METADATA, |json| namespace(&mut field, json))
        .await
        .map_err(unlisted("Namespaces"))?;
    let destinations = Place::of(Source::ReplicationDestinations);
    each(client, destinations, JSON, |json| destination(&mut field, json))
        .await
        .map_err(unlisted("ReplicationDestinations"))?;
    if let Some(drafts) = drafts {
        contents_left(client, drafts, &mut field).await?;
    }
    if let Some(uses) = uses {
        volsync_left(client, uses, &mut field).await?;
    }
    let replications = [Place::of(Source::ReplicationSources), destinations];
    (field.replications, field.replicating) = owners(client, &replications, false).await;
    (field.backups, _) = owners(client, &[BACKUPS], true).await;
    (field.schedules, _) = owners(client, &[SCHEDULES], false).await;
    let kopiur = request::fetch(client, &format!("/apis/{KOPIUR}"), JSON, LIMIT, PATIENCE).await;
    let absent = kopiur.is_err_and(|refusal| refusal.is(StatusCode::NOT_FOUND));
    field.kopiur = if absent { Owners::Absent } else { Owners::Unknown };
    Ok(field)
}

/// The contents that are left over, with what else has their handles.
async fn contents_left(client: &Client, mut drafts: relics::Drafts, field: &mut Field) -> Result<(), Unlisted> {
    let unlisted = |what: &'static str| move |refusal: Refusal| Unlisted::new(what, &refusal);
    let handles = &mut drafts.elsewhere;
    each(client, Place::of(Source::GroupContents), JSON, |json| {
        relics::group_handles(&serde_json::from_str::<Value>(json)?, handles);
        Ok(())
    })
    .await
    .map_err(unlisted("VolumeGroupSnapshotContents"))?;
    each(client, Place::of(Source::Orphans), JSON, |json| {
        relics::orphan_handle(&serde_json::from_str::<Value>(json)?, handles);
        Ok(())
    })
    .await
    .map_err(unlisted("OrphanedSnapshots"))?;
    drafts.finish(field);
    Ok(())
}

/// Jobs, and which claims are used.
async fn volsync_left(client: &Client, mut uses: relics::Uses, field: &mut Field) -> Result<(), Unlisted> {
    let unlisted = |what: &'static str| move |refusal: Refusal| Unlisted::new(what, &refusal);
    each(client, Place::of(Source::Jobs), JSON, |json| {
        relics::job(&serde_json::from_str::<Value>(json)?, field);
        Ok(())
    })
    .await
    .map_err(unlisted("Jobs"))?;
    each(client, Place::of(Source::Pods), JSON, |json| {
        uses.pod(&serde_json::from_str::<Value>(json)?);
        Ok(())
    })
    .await
    .map_err(unlisted("Pods"))?;
    uses.finish(field);
    Ok(())
}

pub(crate) fn claim(field: &mut Field, json: &str) -> Result<(), serde_json::Error> {
    let ClaimView { metadata, spec } = serde_json::from_str(json)?;
    for source in [spec.data_source, spec.data_source_ref].into_iter().flatten() {
        if source.kind == "VolumeSnapshot" {
            let namespace = source.namespace.filter(|name| !name.is_empty()).unwrap_or(metadata.namespace.clone());
            field.used.insert(Key::namespaced(&*namespace, source.name));
        }
    }
    Ok(())
}

pub(crate) fn namespace(field: &mut Field, json: &str) -> Result<(), serde_json::Error> {
    let Bare { metadata } = serde_json::from_str(json)?;
    let ignored = metadata.annotations.is_some_and(|marks| marks.contains_key(IGNORE));
    let found = Namespace { labels: metadata.labels.unwrap_or_default(), ignored };
    field.namespaces.insert(Arc::from(&*metadata.name), found);
    Ok(())
}

pub(crate) fn destination(field: &mut Field, json: &str) -> Result<(), serde_json::Error> {
    let DestinationView { metadata, status } = serde_json::from_str(json)?;
    if let Some(image) = status.and_then(|status| status.latest_image).filter(|image| image.kind == "VolumeSnapshot") {
        field.latest_images.insert(Key::namespaced(&*metadata.namespace, image.name));
    }
    Ok(())
}

// === Snapshots and their contents ===

/// What a plan has to know of a content.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of the object, there or not")]
struct Facts {
    snapshot: Option<Uid>,
    driver: Arc<str>,
    volume: Option<NonZeroU64>,
    handle: Option<u64>,
    size: u64,
    alive: bool,
    deletes: bool,
    in_group: bool,
    creating: bool,
}

#[derive(Deserialize)]
struct ClassView {
    metadata: Metadata,
    #[serde(default)]
    driver: String,
}

/// The records of a plan, put together object by object as the API server sends them: contents first.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    names: Interner,
    labels: BTreeSet<Labels>,
    contents: BTreeMap<Box<str>, Facts>,
    shared: BTreeSet<u64>,
    /// Drivers by VolumeSnapshotClass, where somebody asks.
    classes: BTreeMap<Box<str>, Arc<str>>,
    /// Contents that may be left over, where somebody asks.
    drafts: Option<relics::Drafts>,
    pub(crate) field: Field,
}

/// Two texts as one number; neither can be taken for the end of the other.
fn print(driver: &str, handle: &str) -> u64 {
    fingerprint(&format!("{}:{driver}{handle}", driver.len()))
}

impl Assembly {
    fn class(&mut self, json: &str) -> Result<(), serde_json::Error> {
        let ClassView { metadata, driver } = serde_json::from_str(json)?;
        let driver = self.names.text(&driver);
        self.classes.insert(metadata.name, driver);
        Ok(())
    }

    pub(crate) fn content(&mut self, json: &str) -> Result<(), serde_json::Error> {
        if let Some(drafts) = &mut self.drafts {
            drafts.content(&serde_json::from_str::<Value>(json)?);
        }
        let ContentView { metadata, spec, status } = serde_json::from_str(json)?;
        let volume = spec.source.volume_handle.filter(|handle| !handle.is_empty());
        let handle = status.as_ref().and_then(|status| status.snapshot_handle.as_deref());
        let size = status.as_ref().and_then(|status| status.restore_size).unwrap_or_default();
        let noted = |key: &str| metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(key));
        let facts = Facts {
            snapshot: spec.volume_snapshot_ref.uid.filter(|uid| !uid.is_empty()).map(|uid| Uid::parse(&uid)),
            volume: volume.and_then(|handle| NonZeroU64::new(print(&spec.driver, &handle))),
            handle: handle.map(|handle| print(&spec.driver, handle)),
            size: u64::try_from(size).unwrap_or_default(),
            alive: metadata.deletion_timestamp.is_none(),
            deletes: spec.deletion_policy.as_deref() == Some("Delete"),
            creating: noted(BEING_CREATED),
            in_group: noted("groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle")
                || status.as_ref().is_some_and(|status| status.volume_group_snapshot_handle.is_some()),
            driver: self.names.text(&spec.driver),
        };
        self.contents.insert(metadata.name, facts);
        Ok(())
    }

    pub(crate) fn find_shared(&mut self) {
        let mut seen = BTreeSet::new();
        let handles = self.contents.values().filter_map(|facts| facts.handle);
        self.shared = handles.filter(|handle| !seen.insert(*handle)).collect();
    }

    fn share(&mut self, labels: Texts) -> Labels {
        if let Some(known) = self.labels.get(&labels) {
            return Arc::clone(known);
        }
        let fresh: Labels = Arc::new(labels);
        self.labels.insert(Arc::clone(&fresh));
        fresh
    }

    pub(crate) fn snapshot(&mut self, json: &str) -> Result<(), serde_json::Error> {
        let SnapshotView { metadata, spec, status } = serde_json::from_str(json)?;
        let uid = Uid::parse(&metadata.uid);
        let usual = format!("snapcontent-{uid}");
        let (mut name, mut taken, mut ready, mut group, mut error, mut told) = (None, None, false, None, false, false);
        if let Some(status) = status {
            error = status.error.is_some() && status.ready_to_use != Some(true);
            told = status.creation_time.is_some() || status.restore_size.is_some();
            name = status.bound_volume_snapshot_content_name;
            taken = status.creation_time.and_then(Stamp::from_timestamp);
            ready = status.ready_to_use == Some(true) && status.error.is_none();
            group = status.volume_group_snapshot_name.filter(|name| !name.is_empty());
        }
        if let Some(drafts) = &mut self.drafts {
            drafts.lives(&uid, name.clone().into_iter().chain(spec.source.volume_snapshot_content_name));
        }
        // Of one that failed the status may not name its content yet.
        let unnamed = error.then_some(usual.as_str());
        let facts = name.as_deref().or(unnamed).and_then(|name| self.contents.get(name));
        let labels = metadata.labels.unwrap_or_default();
        let none = Texts::new();
        let notes = metadata.annotations.as_ref().unwrap_or(&none);
        let either = |key: &str| labels.contains_key(key) || notes.contains_key(key);
        let finalizers = metadata.finalizers.unwrap_or_default();
        let marks = Marks {
            deleting: metadata.deletion_timestamp.is_some(),
            ready,
            ignored: notes.contains_key(IGNORE),
            keep: either(KEEP),
            do_not_delete: either(DO_NOT_DELETE),
            reclaims: labels.contains_key(RECLAIMS),
            prune_last: notes.get(PRUNE_LAST).is_some_and(|value| **value == metadata.uid),
            as_source: finalizers.iter().any(|name| name == IN_USE)
                || labels.keys().any(|key| key.starts_with(POPULATES)),
            foreign_finalizer: finalizers.iter().any(|name| !FINALIZERS.contains(&name.as_str())),
            bound: facts.is_some_and(|facts| facts.alive && facts.snapshot.as_ref() == Some(&uid)),
            deletes: facts.is_some_and(|facts| facts.deletes),
            shared: facts.and_then(|facts| facts.handle).is_some_and(|handle| self.shared.contains(&handle)),
        };
        if group.is_none() && facts.is_some_and(|facts| facts.in_group) {
            group = Some("".into());
        }
        let made = metadata.creation_timestamp.and_then(Stamp::from_timestamp);
        let extra = Extra {
            owner: controller(metadata.owner_references.unwrap_or_default()),
            group,
            maker: made_by(&labels, notes),
            content: name.filter(|name| **name != *usual),
            temporary: relics::temporary(&labels, &metadata.name, "volsync-", &["-src"], made),
            failed: error.then(|| Failed {
                since: made,
                bare: facts.is_none(),
                creating: facts.is_some_and(|facts| facts.creating),
                told: told || facts.is_some_and(|facts| facts.handle.is_some()),
            }),
        };
        let class = spec.volume_snapshot_class_name.as_deref();
        let (driver, volume, size) = match facts {
            Some(facts) => (Some(Arc::clone(&facts.driver)), facts.volume, facts.size),
            None => (class.filter(|_| error).and_then(|name| self.classes.get(name)).map(Arc::clone), None, 0),
        };
        let cut = Cut {
            key: Key::namespaced(self.names.text(&metadata.namespace), metadata.name),
            uid,
            version: metadata.resource_version,
            class: spec.volume_snapshot_class_name.map(|name| self.names.text(&name)),
            claim: spec.source.persistent_volume_claim_name.map(|name| self.names.text(&name)),
            labels: self.share(labels),
            driver,
            volume,
            taken,
            size,
            marks,
            extra: (extra != Extra::default()).then(|| Box::new(extra)),
        };
        self.field.cuts.push(cut);
        Ok(())
    }
}

/// The owner that is a controller.
fn controller(owners: Vec<Reference>) -> Option<Owner> {
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    Some(Owner {
        // Another group's kind of the same name is not VolSync's: nobody can tell whether that one lives.
        kind: if owner.api_version.starts_with(VOLSYNC) {
            owner.kind.into()
        } else {
            format!("{} {}", owner.api_version, owner.kind).into()
        },
        name: owner.name.into(),
        uid: Uid::parse(&owner.uid),
    })
}

/// The tool that made a snapshot, by the marks it leaves.
fn made_by(labels: &Texts, notes: &Texts) -> Option<Maker> {
    let of = |domain: &str| {
        let within = |key: &str| {
            let (found, _) = key.split_once('/').unwrap_or((key, ""));
            found == domain || found.strip_suffix(domain).is_some_and(|before| before.ends_with('.'))
        };
        labels.keys().chain(notes.keys()).any(|key| within(key))
    };
    if of("velero.io") {
        let name = labels.get(BACKUP).filter(|name| !name.is_empty() && name.len() < LONGEST_LABEL);
        return Some(Maker::Velero(name.cloned()));
    }
    if let Some(schedule) = labels.get(SCHEDULE) {
        return Some(Maker::SnapScheduler(schedule.clone()));
    }
    of(KOPIUR).then_some(Maker::Kopiur)
}

#[cfg(test)]
pub(super) mod tests;
