//! What a stack is made of.

use crate::backend::Volume;

/// How much the audit log says of each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditLevel {
    /// Who did what to which object, and what came of it.
    #[default]
    Metadata,
    /// The bodies of writes too.
    Request,
}

impl AuditLevel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metadata => "Metadata",
            Self::Request => "Request",
        }
    }
}

/// What to start besides etcd and kube-apiserver, and how. Start from one of the functions and change fields.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one part of the stack, on or off")]
pub struct Options {
    /// The CRDs of VolumeSnapshot, its content and its class.
    pub snapshot_crds: bool,
    /// The CRDs of VolumeGroupSnapshot, its content and its class.
    pub group_crds: bool,
    /// The process `snapshot-controller`.
    pub snapshot_controller: bool,
    /// More of its arguments.
    pub controller_args: Vec<String>,
    /// The process `csi-driver`.
    pub driver: bool,
    /// The CSIDriver object of [`crate::DRIVER`].
    pub driver_object: bool,
    /// Volumes that the driver has from the start; [`crate::Stack::add_volume`] adds more.
    pub volumes: Vec<Volume>,
    /// One `csi-snapshotter-N` for each host name; the first leads. They need the driver.
    pub snapshotters: Vec<String>,
    /// More of their arguments, such as `--resync-period=24h`; repeating one overrides the stack's own.
    pub snapshotter_args: Vec<String>,
    /// The nodes that pods run on, each a process `kubelet-NAME`, and with any of them kube-controller-manager. What
    /// these kubelets do not do stands in the README.
    pub nodes: Vec<String>,
    /// Whether watches of all that matters are recorded from the start; see [`crate::Stack::record_everything`]. Only
    /// with the snapshot CRDs.
    pub record: bool,
    /// Whether the API server streams lists (WatchList).
    pub streaming_lists: bool,
    /// More of kube-apiserver's arguments.
    pub apiserver_args: Vec<String>,
    /// kube-apiserver's `GOMEMLIMIT`, such as `6GiB`.
    pub apiserver_memory: Option<String>,
    /// What the audit log holds.
    pub audit: AuditLevel,
}

impl Options {
    /// etcd and kube-apiserver only.
    #[must_use]
    pub fn control_plane() -> Self {
        Self {
            snapshot_crds: false,
            group_crds: false,
            snapshot_controller: false,
            controller_args: Vec::new(),
            driver: false,
            driver_object: false,
            volumes: Vec::new(),
            snapshotters: Vec::new(),
            snapshotter_args: Vec::new(),
            nodes: Vec::new(),
            record: true,
            streaming_lists: true,
            apiserver_args: Vec::new(),
            apiserver_memory: None,
            audit: AuditLevel::Metadata,
        }
    }

    /// The control plane with the snapshot CRDs, and nobody who acts on them: for loads and for playing every part.
    #[must_use]
    pub fn api_only() -> Self {
        Self { snapshot_crds: true, ..Self::control_plane() }
    }

    /// Everything: the CRDs, snapshot-controller, the driver, its object and one csi-snapshotter.
    #[must_use]
    pub fn full() -> Self {
        Self {
            snapshot_controller: true,
            driver: true,
            driver_object: true,
            snapshotters: vec!["snapshotter-0".to_owned()],
            ..Self::api_only()
        }
    }

    /// Everything, where the driver and its csi-snapshotters are to run as pods: two nodes, and nobody who looks after
    /// snapshot contents until [`crate::Stack::deploy`].
    #[must_use]
    pub fn pods() -> Self {
        Self {
            snapshot_controller: true,
            nodes: ["node-a", "node-b"].map(ToOwned::to_owned).to_vec(),
            ..Self::api_only()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::full()
    }
}
