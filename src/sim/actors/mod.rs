//! The programs of the embedded cluster: what the real ones write, in their order, with their mistakes.

pub mod ceph;
pub mod csi;
pub mod csi_provisioner;
pub mod csi_snapshotter;
pub mod informer;
pub mod object;
pub mod snapshot_controller;
pub mod snapshots;
pub mod workers;

// The control plane, the nodes, and what runs on them.
pub mod home_cluster;
mod keys;
pub mod kubelet;
pub mod rook;
pub mod scheduler;
pub mod volsync;
mod volumes;
pub mod workloads;
