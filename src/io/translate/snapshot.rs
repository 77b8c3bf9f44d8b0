//! The snapshot API's own kinds: VolumeSnapshots, their contents, classes and groups.

use std::sync::Arc;

use crate::api::foreign;
use crate::domain::name::{Key, Stamp, Uid, fingerprint};
use crate::domain::record::{
    Content, ContentSource, ContentStatus, DeletionPolicy, Group, Handle, SecretName, Snapshot, SnapshotClass,
    SnapshotRef, SnapshotSource, StatusError,
};

use super::{Flaw, Translator};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Translator {
    pub(super) fn snapshot(&mut self, view: &foreign::VolumeSnapshot<'_>) -> Result<Snapshot, Flaw> {
        let spec = view.spec.as_ref();
        let status = view.status.as_ref();
        let source = spec.and_then(|spec| spec.source.as_ref());
        let claim = source.and_then(|source| source.persistent_volume_claim_name.as_deref());
        let content = source.and_then(|source| source.volume_snapshot_content_name.as_deref());
        Ok(Snapshot {
            meta: self.meta(&view.metadata)?,
            source: match (claim, content) {
                (Some(claim), _) => SnapshotSource::Claim(claim.into()),
                (None, Some(content)) => SnapshotSource::Content(content.into()),
                (None, None) => SnapshotSource::Unknown,
            },
            class: self.word(spec.and_then(|spec| spec.volume_snapshot_class_name.as_deref())),
            content: boxed(status.and_then(|status| status.bound_volume_snapshot_content_name.as_deref())),
            ready: status.and_then(|status| status.ready_to_use),
            error: status.and_then(|status| error(status.error.as_ref())),
            group: boxed(status.and_then(|status| status.volume_group_snapshot_name.as_deref())),
            do_not_delete: view.metadata.labels.as_ref().is_some_and(|labels| labels.do_not_delete),
        })
    }

    pub(super) fn content(&mut self, view: &foreign::VolumeSnapshotContent<'_>) -> Result<Content, Flaw> {
        let meta = self.meta(&view.metadata)?;
        let spec = view.spec.as_ref();
        let marks = view.metadata.annotations.as_ref();
        let labels = view.metadata.labels.as_ref();
        let source = spec.and_then(|spec| spec.source.as_ref());
        let status = view.status.as_ref().map(|status| content_status(status, meta.deleted.is_some()));
        Ok(Content {
            snapshot: self.snapshot_ref(spec.and_then(|spec| spec.volume_snapshot_ref.as_ref())),
            driver: self.names.text(spec.and_then(|spec| spec.driver.as_deref()).unwrap_or_default()),
            class: self.word(spec.and_then(|spec| spec.volume_snapshot_class_name.as_deref())),
            policy: policy(spec.and_then(|spec| spec.deletion_policy.as_deref())),
            source: match source {
                Some(source) if source.volume_handle.is_some() => ContentSource::Volume,
                Some(source) if source.snapshot_handle.is_some() => ContentSource::Handle,
                _ => ContentSource::Unknown,
            },
            being_deleted: marks.is_some_and(|marks| marks.being_deleted),
            being_created: marks.is_some_and(|marks| marks.being_created),
            secret: marks.and_then(|marks| self.secret(marks)),
            in_group: marks.is_some_and(|marks| marks.group_handle)
                || status.as_ref().is_some_and(|status| status.in_group),
            velero: marks.is_some_and(|marks| marks.velero) || labels.is_some_and(|labels| labels.velero),
            managed_by: self.word(labels.and_then(|labels| labels.managed_by.as_deref())),
            status,
            meta,
        })
    }

    fn snapshot_ref(&mut self, view: Option<&foreign::ObjectReference<'_>>) -> SnapshotRef {
        let namespace = view.and_then(|view| view.namespace.as_deref()).unwrap_or_default();
        let name = view.and_then(|view| view.name.as_deref()).unwrap_or_default();
        let uid = view.and_then(|view| view.uid.as_deref()).filter(|uid| !uid.is_empty());
        SnapshotRef { key: Key::namespaced(self.names.text(namespace), name), uid: uid.map(Uid::parse) }
    }

    /// One half alone is kept too: the evidence should show what the sidecar will stumble over.
    fn secret(&mut self, marks: &foreign::Annotations<'_>) -> Option<Arc<SecretName>> {
        let (name, namespace) = (&marks.deletion_secret_name, &marks.deletion_secret_namespace);
        if name.is_none() && namespace.is_none() {
            return None;
        }
        let secret = SecretName {
            namespace: self.names.text(namespace.as_deref().unwrap_or_default()),
            name: self.names.text(name.as_deref().unwrap_or_default()),
        };
        if let Some(known) = self.secrets.get(&secret) {
            return Some(Arc::clone(known));
        }
        let fresh = Arc::new(secret);
        self.secrets.insert(Arc::clone(&fresh));
        Some(fresh)
    }

    pub(super) fn snapshot_class(&mut self, view: &foreign::VolumeSnapshotClass<'_>) -> SnapshotClass {
        SnapshotClass {
            driver: self.names.text(view.driver.as_deref().unwrap_or_default()),
            policy: policy(view.deletion_policy.as_deref()),
            default: view.metadata.annotations.as_ref().is_some_and(|marks| marks.default_class),
        }
    }

    pub(super) fn group(&mut self, view: &foreign::Bare<'_>) -> Result<Group, Flaw> {
        Ok(Group { meta: self.meta(&view.metadata)?, handles: Box::default() })
    }

    pub(super) fn group_content(&mut self, view: &foreign::GroupContent<'_>) -> Result<Group, Flaw> {
        let mut handles = Vec::new();
        let source = view.spec.as_ref().and_then(|spec| spec.source.as_ref());
        let imported = source.and_then(|source| source.group_snapshot_handles.as_ref());
        for handle in imported.and_then(|handles| handles.volume_snapshot_handles.as_deref()).unwrap_or_default() {
            handles.push(fingerprint(handle));
        }
        let status = view.status.as_ref();
        let current = status.and_then(|status| status.volume_snapshot_info_list.as_deref());
        let former = status.and_then(|status| status.volume_snapshot_handle_pair_list.as_deref());
        for member in [current, former].into_iter().flatten().flatten() {
            handles.extend(member.snapshot_handle.as_deref().map(fingerprint));
        }
        handles.sort_unstable();
        handles.dedup();
        Ok(Group { meta: self.meta(&view.metadata)?, handles: handles.into() })
    }
}

fn content_status(view: &foreign::ContentStatus<'_>, deleting: bool) -> ContentStatus {
    ContentStatus {
        handle: view
            .snapshot_handle
            .as_deref()
            .map(|handle| Handle { print: fingerprint(handle), text: deleting.then(|| handle.into()) }),
        ready: view.ready_to_use,
        creation_time: view.creation_time.and_then(|nanos| Stamp::from_second(nanos.div_euclid(NANOS_PER_SECOND))),
        has_creation_time: view.creation_time.is_some(),
        has_restore_size: view.restore_size.is_some(),
        error: error(view.error.as_ref()),
        in_group: view.volume_group_snapshot_handle.is_some(),
    }
}

fn policy(word: Option<&str>) -> DeletionPolicy {
    match word {
        Some("Delete") => DeletionPolicy::Delete,
        Some("Retain") => DeletionPolicy::Retain,
        _ => DeletionPolicy::Unknown,
    }
}

fn error(view: Option<&foreign::SnapshotError<'_>>) -> Option<Box<StatusError>> {
    let view = view?;
    Some(Box::new(StatusError {
        message: view.message.as_deref().unwrap_or_default().into(),
        time: view.time.map(|time| time.0),
    }))
}

/// A name, where an empty one is none.
fn boxed(text: Option<&str>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}
