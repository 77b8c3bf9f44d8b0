//! What each call does: checks of the request, the locks, the fault, then the one change to the store. The order, the
//! codes and the words of refusals are those of ceph-csi's RBD driver.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::{Code, Status};

use crate::arguments::Arguments;
use crate::faults::Faults;
use crate::handle::Pool;
use crate::locks::Locks;
use crate::log::Call;
use crate::secrets::{self, Secrets};
use crate::store::{self, Store};
use crate::wire::{
    CapacityRange, Confirmed, ContentSource, CreateSnapshotRequest, CreateVolumeRequest, CreateVolumeResponse,
    DeleteRequest, Empty, ListSnapshotsRequest, ListSnapshotsResponse, Snapshot, SnapshotEntry, ValidateRequest,
    ValidateResponse, Volume, VolumeCapability, VolumeContentSource,
};

const GIBIBYTE: i64 = 1 << 30;

/// The driver behind the socket.
pub struct Driver {
    /// The driver's name, such as a VolumeSnapshotClass gives it.
    pub name: String,
    /// The node that it runs on.
    pub node: String,
    pool: Pool,
    require_secrets: bool,
    store: Store,
    volumes: Locks,
    snapshots: Locks,
    faults: Faults,
}

impl Driver {
    /// The driver that the command line asks for.
    pub fn new(arguments: &Arguments) -> io::Result<Self> {
        Ok(Self {
            name: arguments.drivername.clone(),
            node: arguments.nodeid.clone(),
            pool: arguments.pool(),
            require_secrets: arguments.require_secrets,
            store: Store::open(&arguments.state)?,
            volumes: Locks::new("Volume"),
            snapshots: Locks::new("Snapshot"),
            faults: Faults::in_folder(&arguments.state),
        })
    }

    /// Takes a snapshot, or finds the one of that name.
    pub async fn create_snapshot(&self, call: &Call, request: CreateSnapshotRequest) -> Result<SnapshotEntry, Status> {
        required(&request.name, "snapshot Name cannot be empty")?;
        required(&request.source_volume_id, "source Volume ID cannot be empty")?;
        self.credentials(&request.secrets, Code::Internal)?;
        let _name = self.snapshots.take(call, &request.name)?;
        self.faults.suffer(call, "CreateSnapshot", &request.name).await?;
        let volume = self
            .store
            .volumes
            .get(&request.source_volume_id)
            .map_err(failed)?
            .ok_or_else(|| Status::not_found(format!("source Volume ID {} not found", request.source_volume_id)))?;
        let age = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Status::internal(error.to_string()))?;
        let new = store::Snapshot {
            id: self.pool.new_handle().map_err(failed)?,
            name: request.name,
            volume_id: volume.id,
            size_bytes: volume.size_bytes,
            created_ns: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
            group: None,
        };
        let snapshot = self.store.snapshots.find_or_add(new).await.map_err(failed)?;
        if snapshot.volume_id != request.source_volume_id {
            let (name, other) = (snapshot.name, snapshot.volume_id);
            return Err(Status::already_exists(format!("the snapshot name {name} is taken, by one of volume {other}")));
        }
        Ok(SnapshotEntry { snapshot: Some(to_wire(&snapshot)) })
    }

    /// Deletes a snapshot; one that does not exist is deleted already.
    pub async fn delete_snapshot(&self, call: &Call, request: DeleteRequest) -> Result<Empty, Status> {
        self.credentials(&request.secrets, Code::Internal)?;
        required(&request.id, "snapshot ID cannot be empty")?;
        let _handle = self.snapshots.take(call, &request.id)?;
        let found = self.store.snapshots.get(&request.id).map_err(failed)?;
        if let Some(group) = found.as_ref().and_then(|found| found.group.as_deref()) {
            let id = &request.id;
            return Err(Status::invalid_argument(format!("the snapshot {id} is part of groupsnapshot {group}")));
        }
        // Taking a snapshot of that name meanwhile is turned away.
        let _name = found.map(|found| self.snapshots.take(call, &found.name)).transpose()?;
        self.faults.suffer(call, "DeleteSnapshot", &request.id).await?;
        self.store.snapshots.remove(&request.id).map_err(failed)?;
        Ok(Empty {})
    }

    /// Lists snapshots: one, those of a volume, or all, in pages.
    pub async fn list_snapshots(
        &self,
        call: &Call,
        request: ListSnapshotsRequest,
    ) -> Result<ListSnapshotsResponse, Status> {
        self.faults.suffer(call, "ListSnapshots", &request.snapshot_id).await?;
        let mut snapshots = if request.snapshot_id.is_empty() {
            self.store.snapshots.all().map_err(failed)?
        } else {
            self.store.snapshots.get(&request.snapshot_id).map_err(failed)?.into_iter().collect()
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
    pub async fn create_volume(
        &self,
        call: &Call,
        request: CreateVolumeRequest,
    ) -> Result<CreateVolumeResponse, Status> {
        required(&request.name, "volume Name cannot be empty")?;
        checked(&request.volume_capabilities)?;
        self.credentials(&request.secrets, Code::InvalidArgument)?;
        let from_snapshot = source(request.volume_content_source.as_ref())?;
        let range = request.capacity_range.unwrap_or_default();
        let _name = self.volumes.take(call, &request.name)?;
        // A restore holds the snapshot too: deleting it meanwhile is turned away.
        let _source = from_snapshot.as_deref().map(|id| self.snapshots.take(call, id)).transpose()?;
        self.faults.suffer(call, "CreateVolume", &request.name).await?;
        if let Some(id) = &from_snapshot
            && self.store.snapshots.get(id).map_err(failed)?.is_none()
        {
            return Err(Status::not_found(format!("{id} snapshot does not exist")));
        }
        let id = self.pool.new_handle().map_err(failed)?;
        let new =
            store::Volume { id, name: request.name, size_bytes: size(&range), from_snapshot: from_snapshot.clone() };
        let volume = self.store.volumes.find_or_add(new).await.map_err(failed)?;
        if volume.size_bytes < range.required_bytes || (range.limit_bytes > 0 && volume.size_bytes > range.limit_bytes)
        {
            return Err(Status::already_exists(format!("the volume name {} is taken, by another size", volume.name)));
        }
        if volume.from_snapshot != from_snapshot {
            return Err(Status::already_exists(format!("the volume name {} is taken, by another source", volume.name)));
        }
        let content_source = request.volume_content_source;
        Ok(CreateVolumeResponse {
            volume: Some(Volume { capacity_bytes: volume.size_bytes, volume_id: volume.id, content_source }),
        })
    }

    /// Deletes a volume; one that does not exist is deleted already.
    pub async fn delete_volume(&self, call: &Call, request: DeleteRequest) -> Result<Empty, Status> {
        required(&request.id, "empty volume ID in request")?;
        self.credentials(&request.secrets, Code::InvalidArgument)?;
        let _handle = self.volumes.take(call, &request.id)?;
        let found = self.store.volumes.get(&request.id).map_err(failed)?;
        // A volume that was added from outside may have one word for both.
        let other = found.map(|found| found.name).filter(|name| *name != request.id);
        let _name = other.map(|name| self.volumes.take(call, &name)).transpose()?;
        self.faults.suffer(call, "DeleteVolume", &request.id).await?;
        self.store.volumes.remove(&request.id).map_err(failed)?;
        Ok(Empty {})
    }

    /// Confirms whatever is asked of a volume that exists.
    pub fn validate(&self, request: ValidateRequest) -> Result<ValidateResponse, Status> {
        required(&request.volume_id, "empty volume ID in request")?;
        checked(&request.volume_capabilities)?;
        let (volume_context, volume_capabilities) = (request.volume_context, request.volume_capabilities);
        match self.store.volumes.get(&request.volume_id).map_err(failed)? {
            None => Err(Status::not_found(format!("volume ID {} not found", request.volume_id))),
            Some(_) => Ok(ValidateResponse {
                confirmed: Some(Confirmed { volume_context, volume_capabilities, parameters: request.parameters }),
            }),
        }
    }

    /// ceph-csi answers one and the same lack with another code for snapshots than for volumes.
    fn credentials(&self, given: &Secrets, otherwise: Code) -> Result<(), Status> {
        if !self.require_secrets {
            return Ok(());
        }
        secrets::check(given).map_err(|missing| Status::new(otherwise, missing))
    }
}

/// The snapshot that a volume is to be made from.
fn source(content: Option<&VolumeContentSource>) -> Result<Option<String>, Status> {
    match content.and_then(|content| content.source.as_ref()) {
        Some(ContentSource::Snapshot(snapshot)) if snapshot.id.is_empty() => {
            Err(Status::not_found("volume Snapshot ID cannot be empty"))
        }
        Some(ContentSource::Snapshot(snapshot)) => Ok(Some(snapshot.id.clone())),
        Some(ContentSource::Volume(_)) => Err(Status::invalid_argument("this driver does not clone volumes")),
        None => Ok(None),
    }
}

fn size(range: &CapacityRange) -> i64 {
    [range.required_bytes, range.limit_bytes].into_iter().find(|size| *size > 0).unwrap_or(GIBIBYTE)
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

fn required(value: &str, otherwise: &str) -> Result<(), Status> {
    if value.is_empty() { Err(Status::invalid_argument(otherwise)) } else { Ok(()) }
}

fn checked(capabilities: &[VolumeCapability]) -> Result<(), Status> {
    if capabilities.is_empty() || capabilities.iter().any(|capability| capability.access.is_none()) {
        return Err(Status::invalid_argument("volume Capabilities cannot be empty"));
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn failed(error: io::Error) -> Status {
    Status::internal(format!("the state folder: {error}"))
}
