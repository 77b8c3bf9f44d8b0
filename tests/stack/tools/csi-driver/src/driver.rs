//! What each call does: checks of the request, the lock, the fault, then the one change to the store.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::Status;

use crate::faults::Faults;
use crate::locks::Locks;
use crate::store::{self, Store};
use crate::wire::{
    Confirmed, ContentSource, CreateSnapshotRequest, CreateVolumeRequest, CreateVolumeResponse, DeleteRequest, Empty,
    ListSnapshotsRequest, ListSnapshotsResponse, Snapshot, SnapshotEntry, ValidateRequest, ValidateResponse, Volume,
    VolumeCapability,
};

const GIBIBYTE: i64 = 1 << 30;

/// The driver behind the socket.
pub struct Driver {
    /// The driver's name, such as a VolumeSnapshotClass gives it.
    pub name: String,
    store: Mutex<Store>,
    locks: Locks,
    faults: Faults,
}

impl Driver {
    /// A driver over a store.
    pub fn new(name: String, store: Store, faults: Faults) -> Self {
        Self { name, store: Mutex::new(store), locks: Locks::default(), faults }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a snapshot, or finds the one of that name.
    pub async fn create_snapshot(&self, request: CreateSnapshotRequest) -> Result<SnapshotEntry, Status> {
        required(&request.name, "the snapshot's name")?;
        required(&request.source_volume_id, "the source volume's id")?;
        let _held = self.locks.take(&request.name)?;
        self.faults.suffer("CreateSnapshot", &request.name).await?;
        let mut store = self.store();
        if let Some(snapshot) = store.snapshot_named(&request.name).map_err(failed)? {
            if snapshot.volume_id == request.source_volume_id {
                return Ok(SnapshotEntry { snapshot: Some(to_wire(&snapshot)) });
            }
            return Err(Status::already_exists(format!(
                "the snapshot {} is of volume {}",
                request.name, snapshot.volume_id
            )));
        }
        let volume = store
            .volume(&request.source_volume_id)
            .map_err(failed)?
            .ok_or_else(|| Status::not_found(format!("there is no volume {}", request.source_volume_id)))?;
        let age = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Status::internal(error.to_string()))?;
        let snapshot = store::Snapshot {
            id: store::new_id("snap").map_err(failed)?,
            name: request.name,
            volume_id: volume.id,
            size_bytes: volume.size_bytes,
            created_ns: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
        };
        store.add_snapshot(&snapshot).map_err(failed)?;
        eprintln!("CreateSnapshot {}: {}", snapshot.name, snapshot.id);
        Ok(SnapshotEntry { snapshot: Some(to_wire(&snapshot)) })
    }

    /// Deletes a snapshot; one that does not exist is deleted already.
    pub async fn delete_snapshot(&self, request: DeleteRequest) -> Result<Empty, Status> {
        required(&request.id, "the snapshot's id")?;
        let _held = self.locks.take(&request.id)?;
        self.faults.suffer("DeleteSnapshot", &request.id).await?;
        self.store().remove_snapshot(&request.id).map_err(failed)?;
        eprintln!("DeleteSnapshot {}", request.id);
        Ok(Empty {})
    }

    /// Lists snapshots: one, those of a volume, or all, in pages.
    pub async fn list_snapshots(&self, request: ListSnapshotsRequest) -> Result<ListSnapshotsResponse, Status> {
        self.faults.suffer("ListSnapshots", &request.snapshot_id).await?;
        let mut snapshots = if request.snapshot_id.is_empty() {
            self.store().snapshots().map_err(failed)?
        } else {
            self.store().snapshot(&request.snapshot_id).map_err(failed)?.into_iter().collect()
        };
        snapshots.retain(|found| request.source_volume_id.is_empty() || found.volume_id == request.source_volume_id);
        let start: usize = match request.starting_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| Status::aborted(format!("{token} is no token of this driver")))?,
        };
        let most = match usize::try_from(request.max_entries) {
            Err(_) => return Err(Status::invalid_argument("max_entries is negative")),
            Ok(0) => usize::MAX,
            Ok(most) => most,
        };
        let end = start.saturating_add(most);
        let next_token = if end < snapshots.len() { end.to_string() } else { String::new() };
        let entries = snapshots
            .iter()
            .skip(start)
            .take(most)
            .map(|found| SnapshotEntry { snapshot: Some(to_wire(found)) })
            .collect();
        Ok(ListSnapshotsResponse { entries, next_token })
    }

    /// Makes a volume, empty or from a snapshot, or finds the one of that name.
    pub async fn create_volume(&self, request: CreateVolumeRequest) -> Result<CreateVolumeResponse, Status> {
        required(&request.name, "the volume's name")?;
        checked(&request.volume_capabilities)?;
        let from_snapshot = match request.volume_content_source.as_ref().and_then(|content| content.source.as_ref()) {
            Some(ContentSource::Snapshot(snapshot)) => Some(snapshot.id.clone()),
            Some(ContentSource::Volume(_)) => {
                return Err(Status::invalid_argument("this driver does not clone volumes"));
            }
            None => None,
        };
        let _held = self.locks.take(&request.name)?;
        // A restore holds the snapshot too: deleting it meanwhile is turned away, as with ceph-csi.
        let _source = from_snapshot.as_deref().map(|id| self.locks.take(id)).transpose()?;
        self.faults.suffer("CreateVolume", &request.name).await?;
        let mut store = self.store();
        let range = request.capacity_range.unwrap_or_default();
        let size_bytes =
            [range.required_bytes, range.limit_bytes, GIBIBYTE].into_iter().find(|size| *size > 0).unwrap_or(GIBIBYTE);
        let volume = match store.volume_named(&request.name).map_err(failed)? {
            Some(volume)
                if volume.size_bytes < range.required_bytes
                    || (range.limit_bytes > 0 && volume.size_bytes > range.limit_bytes) =>
            {
                return Err(Status::already_exists(format!("the volume {} has another size", request.name)));
            }
            Some(volume) if volume.from_snapshot != from_snapshot => {
                return Err(Status::already_exists(format!("the volume {} has another source", request.name)));
            }
            Some(volume) => volume,
            None => {
                if let Some(id) = &from_snapshot
                    && store.snapshot(id).map_err(failed)?.is_none()
                {
                    return Err(Status::not_found(format!("there is no snapshot {id}")));
                }
                let volume = store::Volume {
                    id: store::new_id("vol").map_err(failed)?,
                    name: request.name,
                    size_bytes,
                    from_snapshot,
                };
                store.add_volume(&volume).map_err(failed)?;
                volume
            }
        };
        let content_source = request.volume_content_source;
        Ok(CreateVolumeResponse {
            volume: Some(Volume { capacity_bytes: volume.size_bytes, volume_id: volume.id, content_source }),
        })
    }

    /// Deletes a volume; one that does not exist is deleted already.
    pub async fn delete_volume(&self, request: DeleteRequest) -> Result<Empty, Status> {
        required(&request.id, "the volume's id")?;
        let _held = self.locks.take(&request.id)?;
        self.faults.suffer("DeleteVolume", &request.id).await?;
        self.store().remove_volume(&request.id).map_err(failed)?;
        Ok(Empty {})
    }

    /// Confirms whatever is asked of a volume that exists.
    pub fn validate(&self, request: ValidateRequest) -> Result<ValidateResponse, Status> {
        required(&request.volume_id, "the volume's id")?;
        checked(&request.volume_capabilities)?;
        let (volume_context, volume_capabilities) = (request.volume_context, request.volume_capabilities);
        match self.store().volume(&request.volume_id).map_err(failed)? {
            None => Err(Status::not_found(format!("there is no volume {}", request.volume_id))),
            Some(_) => Ok(ValidateResponse {
                confirmed: Some(Confirmed { volume_context, volume_capabilities, parameters: request.parameters }),
            }),
        }
    }
}

fn to_wire(snapshot: &store::Snapshot) -> Snapshot {
    Snapshot {
        size_bytes: snapshot.size_bytes,
        snapshot_id: snapshot.id.clone(),
        source_volume_id: snapshot.volume_id.clone(),
        creation_time: Some(snapshot.created().into()),
        ready_to_use: true,
    }
}

fn required(value: &str, what: &str) -> Result<(), Status> {
    if value.is_empty() { Err(Status::invalid_argument(format!("{what} is missing"))) } else { Ok(()) }
}

fn checked(capabilities: &[VolumeCapability]) -> Result<(), Status> {
    if capabilities.is_empty() || capabilities.iter().any(|capability| capability.access.is_none()) {
        return Err(Status::invalid_argument("the volume's capabilities are missing"));
    }
    Ok(())
}

fn failed(error: io::Error) -> Status {
    Status::internal(format!("the state folder: {error}"))
}
