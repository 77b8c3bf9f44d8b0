//! Claims, volumes, classes, leases, Events and the kinds of Rook and VolSync.

use std::sync::Arc;
use std::time::Duration;

use crate::api::foreign::{self, Moment};
use crate::domain::name::{Key, Uid, fingerprint};
use crate::domain::record::{
    Attachment, CephCluster, Claim, ClaimPhase, ClaimSource, CsiDriver, EventRecord, Kind, Lease, Replication,
    StorageClass, Volume,
};

use super::{Flaw, Translator};

const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";

impl Translator {
    pub(super) fn lease(view: &foreign::Lease<'_>) -> Lease {
        let spec = view.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
        Lease {
            holder: spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default().into(),
            duration: seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
            renewed: spec.and_then(|spec| spec.renew_time).map(|time| time.0),
            acquired: spec.and_then(|spec| spec.acquire_time).map(|time| time.0),
            transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
        }
    }

    pub(super) fn claim(&mut self, view: &foreign::PersistentVolumeClaim<'_>) -> Result<Claim, Flaw> {
        let spec = view.spec.as_ref();
        let own = view.metadata.namespace.as_deref().unwrap_or_default();
        let mut sources: Vec<ClaimSource> = Vec::new();
        let first = spec.and_then(|spec| spec.data_source.as_ref());
        let second = spec.and_then(|spec| spec.data_source_ref.as_ref());
        for source in [first, second].into_iter().flatten() {
            if let Some(snapshot) = self.snapshot_of(source, own)
                && !sources.iter().any(|known| known.snapshot == snapshot)
            {
                sources.push(ClaimSource { snapshot });
            }
        }
        Ok(Claim {
            meta: self.meta(&view.metadata)?,
            // An unknown word counts as Pending: work may be under way, so others hold.
            phase: match view.status.as_ref().and_then(|status| status.phase.as_deref()) {
                Some("Bound") => ClaimPhase::Bound,
                Some("Lost") => ClaimPhase::Lost,
                _ => ClaimPhase::Pending,
            },
            volume: spec.and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty()).map(Into::into),
            storage_class: spec.and_then(|spec| spec.storage_class_name.as_deref()).map(|class| self.names.text(class)),
            sources: sources.into(),
            node_selected: view.metadata.annotations.as_ref().is_some_and(|marks| marks.selected_node),
        })
    }

    fn snapshot_of(&mut self, source: &foreign::DataSource<'_>, own: &str) -> Option<Key> {
        let is_snapshot = source.api_group.as_deref() == Some(SNAPSHOT_GROUP)
            && source.kind.as_deref() == Some(Kind::VolumeSnapshot.as_str());
        let name = source.name.as_deref().filter(|_| is_snapshot)?;
        let namespace = source.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own);
        Some(self.key_of(Some(namespace), name))
    }

    pub(super) fn volume(&mut self, view: &foreign::PersistentVolume<'_>) -> Volume {
        let csi = view.spec.as_ref().and_then(|spec| spec.csi.as_ref());
        Volume {
            driver: self.word(csi.and_then(|csi| csi.driver.as_deref())),
            handle: csi.and_then(|csi| csi.volume_handle.as_deref()).map(fingerprint),
        }
    }

    pub(super) fn storage_class(&mut self, view: &foreign::StorageClass<'_>) -> StorageClass {
        StorageClass {
            provisioner: self.names.text(view.provisioner.as_deref().unwrap_or_default()),
            waits_for_consumer: view.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
        }
    }

    pub(super) fn csi_driver(&mut self, view: &foreign::Bare<'_>) -> CsiDriver {
        let text = view.metadata.annotations.as_ref().and_then(|marks| marks.ceph_owner.as_deref());
        // Only a hint where to look for the Deployment: one that cannot be read is as good as none.
        let owner = text.and_then(|text| serde_json::from_str::<foreign::CephOwner<'_>>(text).ok());
        let owner = owner.and_then(|owner| {
            let name = owner.name.as_deref()?;
            Some(self.key_of(owner.namespace.as_deref(), name))
        });
        CsiDriver { owner }
    }

    pub(super) fn attachment(&mut self, view: &foreign::VolumeAttachment<'_>) -> Attachment {
        let spec = view.spec.as_ref();
        let source = spec.and_then(|spec| spec.source.as_ref());
        Attachment {
            attacher: self.names.text(spec.and_then(|spec| spec.attacher.as_deref()).unwrap_or_default()),
            volume: source.and_then(|source| source.persistent_volume_name.as_deref()).map(Into::into),
            attached: view.status.as_ref().and_then(|status| status.attached).unwrap_or_default(),
        }
    }

    /// `None` for an Event about something else, should a server not know the field selector.
    pub(super) fn event(&mut self, kind: Kind, view: &foreign::Event<'_>) -> Option<EventRecord> {
        let about = view.involved_object.as_ref()?;
        if about.kind.as_deref() != Some(kind.as_str()) {
            return None;
        }
        let key = match kind {
            Kind::VolumeSnapshotContent => self.key_of(None, about.name.as_deref()?),
            _ => self.key_of(about.namespace.as_deref(), about.name.as_deref()?),
        };
        let warning = view.r#type.as_deref() == Some("Warning");
        let message = view.message.as_deref().unwrap_or_default();
        let series = view.series.as_ref();
        let count = [view.count, series.and_then(|series| series.count)].into_iter().flatten().max().unwrap_or(1);
        let observed = series.and_then(|series| series.last_observed_time);
        let at = |moment: Option<Moment>| moment.map(|moment| moment.0);
        let last = [at(view.last_timestamp), at(observed), at(view.event_time)].into_iter().flatten().max();
        let first = [at(view.first_timestamp), at(view.event_time)].into_iter().flatten().min();
        let created = at(view.metadata.creation_timestamp);
        Some(EventRecord {
            kind,
            about: key,
            uid: about.uid.as_deref().filter(|uid| !uid.is_empty()).map(Uid::parse),
            reason: self.names.text(view.reason.as_deref().unwrap_or_default()),
            // Warnings repeat the same few sentences; normal ones name their object, and sharing those would
            // only fill the table.
            message: if warning { self.names.text(message) } else { Arc::from(message) },
            component: self.component(view),
            warning,
            count: u32::try_from(count.max(1)).unwrap_or(u32::MAX),
            first: first.or(created),
            last: last.or(first).or(created),
        })
    }

    fn component(&mut self, view: &foreign::Event<'_>) -> Arc<str> {
        let old = view.source.as_ref().and_then(|source| source.component.as_deref());
        let new = view.reporting_component.as_deref();
        let name = old.filter(|name| !name.is_empty()).or(new).unwrap_or_default();
        self.names.text(name)
    }

    pub(super) fn ceph_cluster(view: &foreign::CephCluster<'_>) -> CephCluster {
        let ceph = view.status.as_ref().and_then(|status| status.ceph.as_ref());
        CephCluster {
            health: ceph.and_then(|ceph| ceph.health.as_deref()).map(Into::into),
            // Rook writes text here and not a Kubernetes time: what cannot be read is unknown, hence stale.
            checked: ceph.and_then(|ceph| ceph.last_checked.as_deref()).and_then(|text| text.parse().ok()),
            fsid: ceph.and_then(|ceph| ceph.fsid.as_deref()).filter(|fsid| !fsid.is_empty()).map(Into::into),
        }
    }

    pub(super) fn replication(&mut self, view: &foreign::Replication<'_>) -> Result<Replication, Flaw> {
        let spec = view.spec.as_ref();
        let status = view.status.as_ref();
        let at = |first: Option<Moment>, second: Option<Moment>| first.or(second).map(|moment| moment.0);
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let failed = conditions.iter().find(|condition| {
            condition.r#type.as_deref() == Some("Synchronizing") && condition.reason.as_deref() == Some("Error")
        });
        Ok(Replication {
            meta: self.meta(&view.metadata)?,
            claim: spec.and_then(|spec| spec.source_pvc.as_deref()).map(Into::into),
            paused: spec.is_some_and(|spec| spec.paused == Some(true) || spec.suspend == Some(true)),
            started: at(status.and_then(|status| status.last_sync_start_time), None),
            finished: at(
                status.and_then(|status| status.last_sync_time),
                status.and_then(|status| status.last_maintenance_time),
            ),
            next: at(
                status.and_then(|status| status.next_sync_time),
                status.and_then(|status| status.next_scheduled_maintenance),
            ),
            error: failed.map(|condition| condition.message.as_deref().unwrap_or_default().into()),
        })
    }
}
