//! A real Kubernetes control plane with CSI snapshots as plain processes on loopback, for tests and benchmarks.
//!
//! [`Stack::start`] runs etcd, kube-apiserver, snapshot-controller, csi-snapshotter and a CSI driver whose folder
//! tells the truth about what exists. Everything blocks; nothing outlives the process that started it, however that
//! ends. The programs come from `tests/stack/build`, which this crate asks but never runs on its own: [`available`]
//! says what is missing.
//!
//! ```no_run
//! use std::time::Duration;
//! use stack::{Options, Stack, Volume};
//!
//! # fn main() -> Result<(), stack::Error> {
//! let stack = Stack::start(Options { volumes: vec![Volume::new("vol-1")], ..Options::full() })?;
//! stack.bound_pvc("default", "data", "vol-1")?;
//! stack.snapshot_class("fast", "Delete")?;
//! stack.snapshot("default", "one", "data", "fast")?;
//! stack.wait("the snapshot is in the backend", Duration::from_secs(20), || {
//!     stack.driver_snapshots().ok()?.pop()
//! })?;
//! stack.process("csi-driver")?.pause()?;
//! # Ok(()) }
//! ```

mod age;
mod backend;
mod certs;
mod control_plane;
mod error;
mod etcd;
mod failure;
mod files;
mod kubectl;
mod leases;
mod load;
mod nodes;
mod objects;
mod options;
mod outage;
mod pods;
mod process;
mod rbac;
mod reader;
mod record;
mod recorder;
mod rook;
mod snapshots;
mod stack;
mod tools;
mod watchdog;

pub use backend::{DriverSnapshot, Fault, Volume};
pub use error::Error;
pub use files::{Files, hashes};
pub use load::{Load, Loaded};
pub use options::{AuditLevel, Options};
pub use pods::Pod;
pub use process::Process;
pub use record::WatchRecording;
pub use rook::{LeaseTimes, Rook};
pub use stack::Stack;
pub use tools::{Missing, Tools, available, not_run};

/// The name of the stack's CSI driver, as a class and a content give it.
pub const DRIVER: &str = "stack.csi.volwarden.dev";
/// Where the csi-snapshotters keep their leader lease.
pub const SNAPSHOTTER_LEASE_NAMESPACE: &str = "default";
/// The csi-snapshotters' leader lease for [`DRIVER`].
pub const SNAPSHOTTER_LEASE: &str = "external-snapshotter-leader-stack-csi-volwarden-dev";
/// Where snapshot-controller keeps its leader lease.
pub const CONTROLLER_LEASE_NAMESPACE: &str = "kube-system";
/// snapshot-controller's leader lease.
pub const CONTROLLER_LEASE: &str = "snapshot-controller-leader";
