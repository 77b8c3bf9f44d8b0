//! The messages of CSI v1 that a controller with snapshots needs, field numbers as in the specification.
//!
//! Fields that the driver does not read are left out: protobuf skips what a message does not declare.
#![expect(clippy::struct_field_names, reason = "the specification's names")]

use std::collections::HashMap;

use prost::{Message, Oneof};

/// A request of CSI.
pub trait Asked: Message + Default + 'static {
    /// The handle or name that it is about; empty if it is about none.
    fn request_id(&self) -> &str;
}

/// Requests without a field that the driver reads, and answers that say only "done".
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct PluginInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub vendor_version: String,
}

/// `PluginCapability` and `ControllerServiceCapability` have one shape: a number inside a message inside a message.
#[derive(Clone, PartialEq, Message)]
pub struct Capability {
    #[prost(message, optional, tag = "1")]
    pub service: Option<CapabilityType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CapabilityType {
    #[prost(int32, tag = "1")]
    pub number: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Capabilities {
    #[prost(message, repeated, tag = "1")]
    pub capabilities: Vec<Capability>,
}

/// `PluginCapability.Service.Type`.
pub const PLUGIN_CONTROLLER_SERVICE: i32 = 1;
/// `ControllerServiceCapability.RPC.Type`.
pub const RPC_CREATE_DELETE_VOLUME: i32 = 1;
/// See [`RPC_CREATE_DELETE_VOLUME`].
pub const RPC_CREATE_DELETE_SNAPSHOT: i32 = 5;
/// See [`RPC_CREATE_DELETE_VOLUME`].
pub const RPC_LIST_SNAPSHOTS: i32 = 6;

#[derive(Clone, PartialEq, Message)]
pub struct ProbeResponse {
    /// A `google.protobuf.BoolValue`.
    #[prost(message, optional, tag = "1")]
    pub ready: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateVolumeRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub capacity_range: Option<CapacityRange>,
    #[prost(message, repeated, tag = "3")]
    pub volume_capabilities: Vec<VolumeCapability>,
    #[prost(map = "string, string", tag = "5")]
    pub secrets: HashMap<String, String>,
    #[prost(message, optional, tag = "6")]
    pub volume_content_source: Option<VolumeContentSource>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CapacityRange {
    #[prost(int64, tag = "1")]
    pub required_bytes: i64,
    #[prost(int64, tag = "2")]
    pub limit_bytes: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct VolumeContentSource {
    #[prost(oneof = "ContentSource", tags = "1, 2")]
    pub source: Option<ContentSource>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum ContentSource {
    #[prost(message, tag = "1")]
    Snapshot(SourceId),
    #[prost(message, tag = "2")]
    Volume(SourceId),
}

#[derive(Clone, PartialEq, Message)]
pub struct SourceId {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct VolumeCapability {
    #[prost(oneof = "Access", tags = "1, 2")]
    pub access: Option<Access>,
    #[prost(message, optional, tag = "3")]
    pub access_mode: Option<AccessMode>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Access {
    #[prost(message, tag = "1")]
    Block(Empty),
    #[prost(message, tag = "2")]
    Mount(Mount),
}

#[derive(Clone, PartialEq, Message)]
pub struct Mount {
    #[prost(string, tag = "1")]
    pub fs_type: String,
    #[prost(string, repeated, tag = "2")]
    pub mount_flags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AccessMode {
    #[prost(int32, tag = "1")]
    pub mode: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Volume {
    #[prost(int64, tag = "1")]
    pub capacity_bytes: i64,
    #[prost(string, tag = "2")]
    pub volume_id: String,
    #[prost(message, optional, tag = "4")]
    pub content_source: Option<VolumeContentSource>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateVolumeResponse {
    #[prost(message, optional, tag = "1")]
    pub volume: Option<Volume>,
}

/// `DeleteVolumeRequest` and `DeleteSnapshotRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteRequest {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(map = "string, string", tag = "2")]
    pub secrets: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValidateRequest {
    #[prost(string, tag = "1")]
    pub volume_id: String,
    #[prost(map = "string, string", tag = "2")]
    pub volume_context: HashMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    pub volume_capabilities: Vec<VolumeCapability>,
    #[prost(map = "string, string", tag = "4")]
    pub parameters: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Confirmed {
    #[prost(map = "string, string", tag = "1")]
    pub volume_context: HashMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    pub volume_capabilities: Vec<VolumeCapability>,
    #[prost(map = "string, string", tag = "3")]
    pub parameters: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValidateResponse {
    #[prost(message, optional, tag = "1")]
    pub confirmed: Option<Confirmed>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateSnapshotRequest {
    #[prost(string, tag = "1")]
    pub source_volume_id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(map = "string, string", tag = "3")]
    pub secrets: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Snapshot {
    #[prost(int64, tag = "1")]
    pub size_bytes: i64,
    #[prost(string, tag = "2")]
    pub snapshot_id: String,
    #[prost(string, tag = "3")]
    pub source_volume_id: String,
    #[prost(message, optional, tag = "4")]
    pub creation_time: Option<prost_types::Timestamp>,
    #[prost(bool, tag = "5")]
    pub ready_to_use: bool,
}

/// `CreateSnapshotResponse`, and an entry of [`ListSnapshotsResponse`].
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotEntry {
    #[prost(message, optional, tag = "1")]
    pub snapshot: Option<Snapshot>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ListSnapshotsRequest {
    #[prost(int32, tag = "1")]
    pub max_entries: i32,
    #[prost(string, tag = "2")]
    pub starting_token: String,
    #[prost(string, tag = "3")]
    pub source_volume_id: String,
    #[prost(string, tag = "4")]
    pub snapshot_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ListSnapshotsResponse {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<SnapshotEntry>,
    #[prost(string, tag = "2")]
    pub next_token: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeInfo {
    #[prost(string, tag = "1")]
    pub node_id: String,
}

impl Asked for Empty {
    fn request_id(&self) -> &'static str {
        ""
    }
}

impl Asked for CreateVolumeRequest {
    fn request_id(&self) -> &str {
        &self.name
    }
}

impl Asked for DeleteRequest {
    fn request_id(&self) -> &str {
        &self.id
    }
}

impl Asked for ValidateRequest {
    fn request_id(&self) -> &str {
        &self.volume_id
    }
}

impl Asked for CreateSnapshotRequest {
    fn request_id(&self) -> &str {
        &self.name
    }
}

impl Asked for ListSnapshotsRequest {
    fn request_id(&self) -> &str {
        &self.snapshot_id
    }
}
