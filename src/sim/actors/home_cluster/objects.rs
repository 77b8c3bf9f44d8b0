//! The objects of a home cluster, in the order in which they are applied.

use std::time::Duration;

use serde_json::{Value, json};

use super::{HomeCluster, Layout, Release};
use crate::sim::store::table::{
    CEPH_CLUSTERS, CLAIMS, CSI_DRIVERS, DAEMON_SETS, DEPLOYMENTS, KOPIA_MAINTENANCES, NAMESPACES, REPLICATION_SOURCES,
    Resource, SECRETS, SNAPSHOT_CLASSES, STORAGE_CLASSES,
};

/// The container of the driver itself.
pub(super) const DRIVER_CONTAINER: &str = "csi-rbdplugin";
/// How long Ceph takes for what a driver asks.
pub(super) const LATENCY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1500));

pub(super) const NAMESPACE: &str = "rook-ceph";
const STORAGE_CLASS: &str = "ceph-block";
const SNAPSHOT_CLASS: &str = "csi-ceph-blockpool";
const SECRET: &str = "rook-csi-rbd-provisioner";
const VOLSYNC: &str = "volsync-system";
const SOCKET: &str = "unix:///csi/csi-provisioner.sock";
/// What people run.
const APPS: [&str; 12] = [
    "sonarr",
    "radarr",
    "home-assistant",
    "paperless",
    "plex",
    "vaultwarden",
    "mealie",
    "miniflux",
    "zigbee2mqtt",
    "prowlarr",
    "immich",
    "forgejo",
];

/// An object: its resource, its namespace, itself, and its status if somebody outside of this cluster writes it.
pub(super) type Applied = (&'static Resource, String, Value, Option<Value>);

/// The names that everything goes by.
pub(super) struct Plan<'a> {
    pub(super) wanted: &'a HomeCluster,
    pub(super) namespace: String,
    pub(super) driver: String,
    pub(super) deployment: String,
    pub(super) apps: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(wanted: &'a HomeCluster) -> Self {
        let driver = format!("{NAMESPACE}.rbd.csi.ceph.com");
        let deployment = match wanted.layout {
            Layout::Operator => format!("{driver}-ctrlplugin"),
            Layout::Classic => "csi-rbdplugin-provisioner".to_owned(),
        };
        let names = APPS.iter().cycle().enumerate().take(wanted.apps);
        let apps = names.map(|(place, app)| match place / APPS.len() {
            0 => (*app).to_owned(),
            round => format!("{app}-{}", round + 1),
        });
        Self { wanted, namespace: NAMESPACE.to_owned(), driver, deployment, apps: apps.collect() }
    }

    pub(super) fn node_names(&self) -> Vec<String> {
        (0..self.wanted.nodes).map(|number| format!("k8s-{number}")).collect()
    }

    pub(super) fn volsync_image(&self) -> &'static str {
        if self.wanted.fork { "ghcr.io/perfectra1n/volsync" } else { "quay.io/backube/volsync" }
    }

    pub(super) fn objects(&self) -> Vec<Applied> {
        let mut objects = self.storage();
        objects.push(self.snapshot_controller());
        if self.wanted.volsync {
            objects.extend(self.volsync());
        }
        objects.extend(self.apps.iter().flat_map(|app| self.app(app)));
        objects
    }

    fn storage(&self) -> Vec<Applied> {
        let here = || self.namespace.clone();
        let keys = json!({"userID": "Y3NpLXJiZC1wcm92aXNpb25lcg==", "userKey": "bm8ga2V5IGF0IGFsbAo="});
        let healthy = json!({"phase": "Ready", "ceph": {"health": "HEALTH_OK"}});
        vec![
            namespace(&self.namespace),
            plain(SECRETS, here(), json!({"metadata": {"name": SECRET}, "type": "kubernetes.io/rook", "data": keys})),
            (
                CEPH_CLUSTERS,
                here(),
                json!({"metadata": {"name": NAMESPACE}, "spec": {"mon": {"count": 3}}}),
                Some(healthy),
            ),
            self.csi_driver(),
            self.storage_class(),
            self.snapshot_class(),
            plain(DEPLOYMENTS, here(), self.controller()),
            plain(DAEMON_SETS, here(), self.node_plugin()),
        ]
    }

    fn csi_driver(&self) -> Applied {
        let owner = json!({"Namespace": self.namespace, "Name": self.driver}).to_string();
        let mut metadata = json!({"name": self.driver});
        if self.wanted.layout == Layout::Operator {
            json_patch::merge(&mut metadata, &json!({"annotations": {"csi.ceph.io/ownerref": owner}}));
        }
        let spec =
            json!({"attachRequired": true, "podInfoOnMount": false, "fsGroupPolicy": "File", "seLinuxMount": true});
        plain(CSI_DRIVERS, String::new(), json!({"metadata": metadata, "spec": spec}))
    }

    fn storage_class(&self) -> Applied {
        let default = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        let secret = |role: &str, field: &str| format!("csi.storage.k8s.io/{role}-secret-{field}");
        let class = json!({
            "metadata": {"name": STORAGE_CLASS, "annotations": default},
            "provisioner": self.driver, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": true,
            "parameters": {
                "clusterID": self.namespace, "pool": "ceph-blockpool", "imageFeatures": "layering",
                "csi.storage.k8s.io/fstype": "ext4",
                secret("provisioner", "name"): SECRET, secret("provisioner", "namespace"): self.namespace,
            },
        });
        plain(STORAGE_CLASSES, String::new(), class)
    }

    fn snapshot_class(&self) -> Applied {
        let class = json!({
            "metadata": {"name": SNAPSHOT_CLASS,
                "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
            "driver": self.driver, "deletionPolicy": "Delete",
            "parameters": {
                "clusterID": self.namespace,
                "csi.storage.k8s.io/snapshotter-secret-name": SECRET,
                "csi.storage.k8s.io/snapshotter-secret-namespace": self.namespace,
            },
        });
        plain(SNAPSHOT_CLASSES, String::new(), class)
    }

    /// The driver's controller, as Rook deploys it.
    fn controller(&self) -> Value {
        let mut labels = json!({"app": self.deployment});
        let (account, strategy) = match self.wanted.layout {
            Layout::Operator => ("ceph-csi-rbd-ctrlplugin-sa", "Recreate"),
            Layout::Classic => {
                json_patch::merge(&mut labels, &json!({"contains": "csi-rbdplugin-metrics"}));
                ("rook-csi-rbd-provisioner-sa", "RollingUpdate")
            }
        };
        let snapshotter = self.snapshotter();
        let mut containers = vec![
            self.driver_container(),
            self.sidecar("csi-provisioner", "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0"),
            self.sidecar("csi-resizer", "registry.k8s.io/sig-storage/csi-resizer:v2.1.0"),
            self.sidecar("csi-attacher", "registry.k8s.io/sig-storage/csi-attacher:v4.11.0"),
        ];
        containers.extend(self.wanted.snapshotter.then(|| self.sidecar("csi-snapshotter", &snapshotter)));
        json!({
            "metadata": {"name": self.deployment},
            "spec": {
                "replicas": self.wanted.replicas, "strategy": {"type": strategy},
                "selector": {"matchLabels": {"app": self.deployment}},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "serviceAccountName": account, "hostNetwork": false, "containers": containers,
                    "volumes": [{"name": "socket-dir", "emptyDir": {"medium": "Memory"}}],
                }},
            },
        })
    }

    fn driver_container(&self) -> Value {
        let driver = format!("--drivername={}", self.driver);
        json!({
            "name": DRIVER_CONTAINER, "image": "quay.io/cephcsi/cephcsi:v3.14.0",
            "args": ["--type=rbd", "--v=0", format!("--endpoint={SOCKET}"), "--nodeid=$(NODE_ID)",
                "--controllerserver=true", driver, "--pidlimit=-1"],
        })
    }

    fn sidecar(&self, name: &str, image: &str) -> Value {
        json!({
            "name": name, "image": image,
            "args": ["--csi-address=$(ADDRESS)", "--v=0", "--timeout=150s", "--leader-election=true",
                format!("--leader-election-namespace={}", self.namespace), "--leader-election-lease-duration=137s",
                "--leader-election-renew-deadline=107s", "--leader-election-retry-period=26s",
                "--extra-create-metadata=true"],
            "env": [{"name": "ADDRESS", "value": SOCKET}],
        })
    }

    /// The image of csi-snapshotter, and of snapshot-controller by another name.
    fn snapshotter(&self) -> String {
        let minor = match self.wanted.release {
            Release::V8_0 => "8.0.1",
            Release::V8_3 => "8.5.0",
            Release::V8_6 => "8.6.0",
        };
        format!("registry.k8s.io/sig-storage/csi-snapshotter:v{minor}")
    }

    fn node_plugin(&self) -> Value {
        let name = match self.wanted.layout {
            Layout::Operator => format!("{}-nodeplugin", self.driver),
            Layout::Classic => DRIVER_CONTAINER.to_owned(),
        };
        let labels = json!({"app": name});
        let args = ["--type=rbd", "--nodeserver=true", "--pidlimit=-1"];
        let container = json!({"name": DRIVER_CONTAINER, "image": "quay.io/cephcsi/cephcsi:v3.14.0", "args": args});
        json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"hostNetwork": true, "containers": [container]}}}})
    }

    fn snapshot_controller(&self) -> Applied {
        let image = self.snapshotter().replace("csi-snapshotter", "snapshot-controller");
        let container = json!({"name": "snapshot-controller", "image": image,
            "args": ["--v=5", "--leader-election=true", "--leader-election-namespace=kube-system"]});
        plain(DEPLOYMENTS, "kube-system".to_owned(), deployment("snapshot-controller", 1, &container, &[]))
    }

    fn volsync(&self) -> Vec<Applied> {
        let image = format!("{}:{}", self.volsync_image(), if self.wanted.fork { "v0.17.11" } else { "0.16.0" });
        let container = json!({"name": "manager", "image": image, "args": ["--health-probe-bind-address=:8081"]});
        let maintenance = json!({"metadata": {"name": "daily"}, "spec": {"repository": {"repository": "kopia-maintenance"},
            "schedule": "0 2 * * *", "trigger": {"schedule": "0 */12 * * *"}, "enabled": true}});
        let mut objects =
            vec![namespace(VOLSYNC), plain(DEPLOYMENTS, VOLSYNC.to_owned(), deployment("volsync", 1, &container, &[]))];
        if self.wanted.fork {
            objects.push(plain(KOPIA_MAINTENANCES, VOLSYNC.to_owned(), maintenance));
        }
        objects
    }

    fn app(&self, app: &str) -> Vec<Applied> {
        let here = || app.to_owned();
        let claim = json!({"metadata": {"name": app}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": STORAGE_CLASS, "resources": {"requests": {"storage": "5Gi"}}}});
        let container = json!({"name": "app", "image": format!("ghcr.io/home-operations/{app}:latest")});
        let volumes = [json!({"name": "config", "persistentVolumeClaim": {"claimName": app}})];
        let mut objects = vec![
            namespace(app),
            plain(CLAIMS, here(), claim),
            plain(DEPLOYMENTS, here(), deployment(app, 1, &container, &volumes)),
        ];
        if self.wanted.volsync {
            let keys = json!({"KOPIA_REPOSITORY": "ZmlsZXN5c3RlbTovLy9yZXBvc2l0b3J5", "KOPIA_PASSWORD": "c2VjcmV0"});
            let secret = format!("{app}-volsync-secret");
            objects.push(plain(SECRETS, here(), json!({"metadata": {"name": secret}, "data": keys})));
            objects.push(plain(REPLICATION_SOURCES, here(), self.replication_source(app, &secret)));
        }
        objects
    }

    fn replication_source(&self, app: &str, secret: &str) -> Value {
        json!({"metadata": {"name": app}, "spec": {
            "sourcePVC": app, "trigger": {"schedule": self.wanted.schedule},
            "kopia": {
                "copyMethod": "Snapshot", "repository": secret, "volumeSnapshotClassName": SNAPSHOT_CLASS,
                "storageClassName": STORAGE_CLASS, "accessModes": ["ReadWriteOnce"], "compression": "zstd-fastest",
                "parallelism": 2, "retain": {"hourly": 24, "daily": 7},
            },
        }})
    }
}

fn plain(resource: &'static Resource, namespace: String, object: Value) -> Applied {
    (resource, namespace, object, None)
}

fn namespace(name: &str) -> Applied {
    let labels = json!({"kubernetes.io/metadata.name": name});
    plain(NAMESPACES, String::new(), json!({"metadata": {"name": name, "labels": labels}}))
}

/// A Deployment of one container.
fn deployment(name: &str, replicas: u32, container: &Value, volumes: &[Value]) -> Value {
    let labels = json!({"app.kubernetes.io/name": name});
    let strategy = if volumes.is_empty() { "RollingUpdate" } else { "Recreate" };
    let mounts: Vec<Value> =
        volumes.iter().map(|volume| json!({"name": volume.get("name"), "mountPath": "/config"})).collect();
    let mut container = container.clone();
    json_patch::merge(&mut container, &json!({"volumeMounts": mounts}));
    json!({"metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": replicas, "strategy": {"type": strategy}, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels},
            "spec": {"serviceAccountName": name, "containers": [container], "volumes": volumes}},
    }})
}
