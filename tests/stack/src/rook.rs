//! A driver's controller as Rook deploys it: one Deployment whose pods hold the driver and its sidecars.
//!
//! Names, labels, strategy and arguments are what the product has to recognise, so they are Rook's own. Only the times
//! are short, since 137 s of lease are not what most tests are about.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::Error;
use crate::rbac;
use crate::stack::Stack;

/// The Secret that a driver's classes name.
const SECRET: &str = "rook-csi-rbd-provisioner";
/// The driver's socket, in the emptyDir that a pod's containers share.
const SOCKET: &str = "unix:///csi/csi-provisioner.sock";
/// Where a driver's container sees the backend's folder.
const BACKEND: &str = "/backend";

/// Seconds of a leader election. Rook's are 137, 107 and 26.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long a lease is good for.
    pub duration: u32,
    /// How long a leader tries to renew it before it gives up.
    pub renew: u32,
    /// How often it is tried.
    pub retry: u32,
}

/// How a driver's controller is deployed; see [`Stack::deploy`]. Start from one of the functions and change fields.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one part of the deployment, there or not")]
pub struct Rook {
    /// Where it is deployed.
    pub namespace: String,
    /// The CSI driver's name.
    pub driver: String,
    /// The Deployment's name.
    pub deployment: String,
    /// The label `app` of its pods, by which it selects them.
    pub app: String,
    /// More labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// The name of the node plugin's DaemonSet, and the label `app` of its pods.
    pub nodeplugin: String,
    /// Its pods' service account.
    pub service_account: String,
    /// How many pods.
    pub replicas: u32,
    /// Strategy Recreate, otherwise RollingUpdate.
    pub recreate: bool,
    /// Whether the CSIDriver object says which Driver resource of ceph-csi-operator it belongs to.
    pub owned: bool,
    /// Whether its pods have the node's network, and so its host name.
    pub host_network: bool,
    /// Whether its pods have the container `csi-snapshotter`.
    pub snapshotter: bool,
    /// Whether its pods have the container `csi-provisioner`.
    pub provisioner: bool,
    /// Whether the node plugin's DaemonSet is there: on every node a container `csi-rbdplugin` that nobody may restart.
    pub nodes: bool,
    /// The sidecars' leader elections.
    pub lease: LeaseTimes,
    /// How long a sidecar waits for the driver, in seconds. Rook's is 150.
    pub timeout: u32,
    /// How much all containers log (`--v`). Rook's is 0.
    pub verbosity: u32,
    /// More of the driver's arguments, such as `--require-secrets`.
    pub driver_args: Vec<String>,
    /// More of csi-snapshotter's arguments, such as `--retry-interval-max=2s`.
    pub snapshotter_args: Vec<String>,
}

impl Rook {
    /// As ceph-csi-operator does, so Rook from 1.18 on: `rook-ceph.rbd.csi.ceph.com` in `rook-ceph`.
    #[must_use]
    pub fn operator() -> Self {
        Self::operator_of("rook-ceph", "rook-ceph.rbd.csi.ceph.com")
    }

    /// As [`Self::operator`], for another driver: it may stand beside the first.
    #[must_use]
    pub fn operator_of(namespace: &str, driver: &str) -> Self {
        let deployment = format!("{driver}-ctrlplugin");
        Self {
            namespace: namespace.to_owned(),
            driver: driver.to_owned(),
            app: deployment.clone(),
            deployment,
            labels: BTreeMap::new(),
            nodeplugin: format!("{driver}-nodeplugin"),
            service_account: "ceph-csi-rbd-ctrlplugin-sa".to_owned(),
            replicas: 2,
            recreate: true,
            owned: true,
            host_network: false,
            snapshotter: true,
            provisioner: true,
            nodes: true,
            lease: LeaseTimes { duration: 6, renew: 4, retry: 1 },
            timeout: 5,
            verbosity: 0,
            driver_args: Vec::new(),
            snapshotter_args: Vec::new(),
        }
    }

    /// As Rook itself did before it had ceph-csi-operator.
    #[must_use]
    pub fn classic() -> Self {
        let name = "csi-rbdplugin-provisioner".to_owned();
        Self {
            app: name.clone(),
            deployment: name,
            labels: BTreeMap::from([("contains".to_owned(), "csi-rbdplugin-metrics".to_owned())]),
            nodeplugin: "csi-rbdplugin".to_owned(),
            service_account: "rook-csi-rbd-provisioner-sa".to_owned(),
            recreate: false,
            owned: false,
            ..Self::operator()
        }
    }

    fn objects(&self, backend: &Path) -> Value {
        let namespace = &self.namespace;
        let mut items = vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/rook",
                "metadata": {"name": SECRET, "namespace": namespace},
                "stringData": {"userID": "csi-rbd-provisioner", "userKey": "c3RhY2sncyBvd24ga2V5Cg=="},
            }),
            self.csi_driver(),
            self.controller(backend),
        ];
        items.extend(rbac::objects(namespace, &self.service_account));
        items.extend(self.nodes.then(|| self.node_plugin()));
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }

    fn csi_driver(&self) -> Value {
        let owner = json!({"Namespace": self.namespace, "Name": self.driver}).to_string();
        let annotations = if self.owned { json!({"csi.ceph.io/ownerref": owner}) } else { json!({}) };
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
            "metadata": {"name": self.driver, "annotations": annotations},
            "spec": {"attachRequired": true, "podInfoOnMount": false, "fsGroupPolicy": "File", "seLinuxMount": true},
        })
    }

    fn controller(&self, backend: &Path) -> Value {
        let mut labels = self.labels.clone();
        labels.insert("app".to_owned(), self.app.clone());
        let mut containers = vec![self.driver_container()];
        containers.extend(self.provisioner.then(|| self.provisioner_container()));
        containers.extend(self.snapshotter.then(|| self.snapshotter_container()));
        let strategy = if self.recreate { "Recreate" } else { "RollingUpdate" };
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.deployment, "namespace": self.namespace},
            "spec": {
                "replicas": self.replicas, "strategy": {"type": strategy},
                "selector": {"matchLabels": {"app": self.app}},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "serviceAccountName": self.service_account, "hostNetwork": self.host_network,
                    "containers": containers,
                    "volumes": [
                        {"name": "socket-dir", "emptyDir": {"medium": "Memory"}},
                        {"name": "backend", "hostPath": {"path": backend, "type": "Directory"}},
                    ],
                }},
            },
        })
    }

    fn driver_container(&self) -> Value {
        let mut args = vec![
            "--type=rbd".to_owned(),
            format!("--v={}", self.verbosity),
            format!("--endpoint={SOCKET}"),
            "--nodeid=$(NODE_ID)".to_owned(),
            "--controllerserver=true".to_owned(),
            format!("--drivername={}", self.driver),
            "--pidlimit=-1".to_owned(),
            format!("--state={BACKEND}"),
        ];
        args.extend(self.driver_args.iter().cloned());
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        json!({
            "name": "csi-rbdplugin", "image": "quay.io/cephcsi/cephcsi:v3.14.0", "args": args,
            "env": [
                field("POD_IP", "status.podIP"), field("NODE_ID", "spec.nodeName"),
                field("POD_NAMESPACE", "metadata.namespace"),
            ],
            "volumeMounts": [{"name": "socket-dir", "mountPath": "/csi"}, {"name": "backend", "mountPath": BACKEND}],
        })
    }

    fn provisioner_container(&self) -> Value {
        let mut args = self.sidecar_args();
        args.extend(["--retry-interval-start=500ms", "--default-fstype=ext4"].map(ToOwned::to_owned));
        sidecar("csi-provisioner", "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0", &args)
    }

    fn snapshotter_container(&self) -> Value {
        let mut args = self.sidecar_args();
        // Without the group CRDs it would wait for them, and this driver knows no groups.
        args.push("--feature-gates=CSIVolumeGroupSnapshot=false".to_owned());
        args.extend(self.snapshotter_args.iter().cloned());
        sidecar("csi-snapshotter", "registry.k8s.io/sig-storage/csi-snapshotter:v8.7.0", &args)
    }

    fn sidecar_args(&self) -> Vec<String> {
        let LeaseTimes { duration, renew, retry } = self.lease;
        vec![
            "--csi-address=$(ADDRESS)".to_owned(),
            format!("--v={}", self.verbosity),
            format!("--timeout={}s", self.timeout),
            "--leader-election=true".to_owned(),
            format!("--leader-election-namespace={}", self.namespace),
            format!("--leader-election-lease-duration={duration}s"),
            format!("--leader-election-renew-deadline={renew}s"),
            format!("--leader-election-retry-period={retry}s"),
            "--extra-create-metadata=true".to_owned(),
        ]
    }

    fn node_plugin(&self) -> Value {
        let labels = json!({"app": self.nodeplugin});
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": self.nodeplugin, "namespace": self.namespace},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [{
                    "name": "csi-rbdplugin", "image": "quay.io/cephcsi/cephcsi:v3.14.0",
                    "command": ["sleep", "infinity"],
                }],
            }}},
        })
    }
}

fn sidecar(name: &str, image: &str, args: &[String]) -> Value {
    json!({
        "name": name, "image": image, "args": args,
        "env": [{"name": "ADDRESS", "value": SOCKET}],
        "volumeMounts": [{"name": "socket-dir", "mountPath": "/csi"}],
    })
}

impl Stack {
    /// Deploys a driver's controller, or changes it, and waits until its rollout is complete and, if it has a
    /// csi-snapshotter, one of its pods leads. The stack needs nodes.
    pub fn deploy(&self, rook: &Rook) -> Result<(), Error> {
        let backend = self.backend()?.folder().to_owned();
        self.apply_json(&rook.objects(&backend))?;
        self.rollout(&rook.namespace, &rook.deployment)?;
        if !rook.snapshotter || rook.replicas == 0 {
            return Ok(());
        }
        let selector = format!("app={}", rook.app);
        self.until(&format!("a pod of {} leads for {}", rook.deployment, rook.driver), || {
            let leader = self.leader_pod(&rook.namespace, &rook.driver)?;
            self.pods(&rook.namespace, &selector).contains(&leader).then_some(())
        })
    }

    /// Makes a StorageClass of a driver that [`Self::deploy`] deployed.
    pub fn storage_class(&self, name: &str, driver: &str) -> Result<(), Error> {
        let secret = |role: &str, field: &str| format!("csi.storage.k8s.io/{role}-secret-{field}");
        let namespace = self.namespace_of(driver)?;
        self.create(&json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": driver, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
            "parameters": {
                "clusterID": namespace, "pool": "replicapool", "imageFeatures": "layering",
                "csi.storage.k8s.io/fstype": "ext4",
                secret("provisioner", "name"): SECRET, secret("provisioner", "namespace"): namespace,
            },
        }))
        .map(drop)
    }

    /// Makes a VolumeSnapshotClass of a driver that [`Self::deploy`] deployed; `policy` is `Delete` or `Retain`. With
    /// `secret` it names the driver's Secret, as Rook's does.
    pub fn snapshot_class_of(&self, name: &str, driver: &str, policy: &str, secret: bool) -> Result<(), Error> {
        let namespace = self.namespace_of(driver)?;
        let mut parameters = json!({"clusterID": namespace});
        if let (true, Some(parameters)) = (secret, parameters.as_object_mut()) {
            parameters.insert("csi.storage.k8s.io/snapshotter-secret-name".to_owned(), json!(SECRET));
            parameters.insert("csi.storage.k8s.io/snapshotter-secret-namespace".to_owned(), json!(namespace));
        }
        self.create(&json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": name},
            "driver": driver, "deletionPolicy": policy, "parameters": parameters,
        }))
        .map(drop)
    }

    /// The namespace of the Deployment that runs a driver.
    fn namespace_of(&self, driver: &str) -> Result<String, Error> {
        let deployments = self.kubectl_json(["get", "deployments", "--all-namespaces"])?;
        let runs = json!(format!("--drivername={driver}"));
        let runs = |container: &Value| {
            container.get("args").and_then(Value::as_array).is_some_and(|args| args.contains(&runs))
        };
        let items = deployments.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let found = items.iter().find(|deployment| {
            let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
            containers.is_some_and(|containers| containers.iter().any(runs))
        });
        let namespace = found.and_then(|deployment| deployment.pointer("/metadata/namespace")?.as_str());
        namespace.map(ToOwned::to_owned).ok_or_else(|| {
            Error::other(format!("no Deployment runs the driver {driver}; remedy: Stack::deploy it first"))
        })
    }
}
