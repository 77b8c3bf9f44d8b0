//! The nodes of a stack and kube-controller-manager: how they are started, and where a node keeps its files.
//!
//! A node is a process of `tools/kubelet`, which runs the containers of its pods as plain processes of this machine.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, free_ports};
use crate::error::{Error, create_dir, write};
use crate::process::Plan;
use crate::stack::Stack;
use crate::tools::Tools;

/// The controllers that pods, jobs and claims need. The node lifecycle controller is not among them: how a node is lost
/// is for a test to say, and no pod is to be evicted because this machine was busy.
const CONTROLLERS: [&str; 15] = [
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
];

/// Which of the stack's programs is the entry point of which image.
const IMAGES: [(&str, &str); 5] = [
    ("registry.k8s.io/sig-storage/csi-snapshotter", "csi-snapshotter"),
    ("registry.k8s.io/sig-storage/csi-provisioner", "csi-provisioner"),
    ("registry.k8s.io/sig-storage/snapshot-controller", "snapshot-controller"),
    ("quay.io/cephcsi/cephcsi", "csi-driver"),
    ("ghcr.io/kopia/kopia", "kopia"),
];

/// Where a node keeps its files: its pods' logs and volumes, and the pids of its containers.
pub(crate) fn folder(stack: &Path, node: &str) -> PathBuf {
    stack.join("nodes").join(node)
}

/// How kube-controller-manager is started.
pub(crate) fn controller_manager_plan(tools: &Tools, plane: &ControlPlane) -> Result<Plan, Error> {
    let user = plane.authority.kubeconfig(&plane.server, "system:kube-controller-manager", &[])?;
    Ok(Plan::new("kube-controller-manager", tools.path("kube-controller-manager")?)
        .path("kubeconfig", &user)
        .flag("controllers", CONTROLLERS.join(","))
        .flag("use-service-account-credentials", true)
        .path("service-account-private-key-file", &plane.token_key)
        .path("root-ca-file", &plane.authority.certificate())
        .flag("leader-elect", false)
        .flag("secure-port", 0)
        .flag("profiling", false)
        .flag("kube-api-qps", 500)
        .flag("kube-api-burst", 1000)
        .flag("v", 2))
}

/// How the kubelet of a node is started.
pub(crate) fn kubelet_plan(tools: &Tools, plane: &ControlPlane, stack: &Path, node: &str) -> Result<Plan, Error> {
    let folder = folder(stack, node);
    create_dir(&folder)?;
    let [port] = free_ports()?;
    let name = format!("kubelet-{node}");
    let certificate = plane.authority.server(&name, &[node])?;
    let user = plane.authority.kubeconfig(&plane.server, &format!("system:node:{node}"), &["system:masters"])?;
    Ok(Plan::new(&name, tools.path("kubelet")?)
        .flag("node", node)
        .path("kubeconfig", &user)
        .path("folder", &folder)
        .flag("port", port)
        .path("certificate", &certificate.certificate)
        .path("key", &certificate.key)
        .path("client-ca", &plane.authority.certificate())
        .path("images", &images_file(tools, stack)?))
}

fn images_file(tools: &Tools, stack: &Path) -> Result<PathBuf, Error> {
    let path = stack.join("images.json");
    let images: Result<serde_json::Map<_, _>, Error> =
        IMAGES.iter().map(|(image, tool)| Ok(((*image).to_owned(), json!(tools.path(tool)?)))).collect();
    write(&path, Value::Object(images?).to_string())?;
    Ok(path)
}

impl Stack {
    /// Waits until a node says that it is ready.
    pub(crate) fn wait_node(&self, node: &str) -> Result<(), Error> {
        self.until(&format!("the node {node} is ready"), || {
            let node = self.get("node", None, node).ok()??;
            let conditions = node.pointer("/status/conditions")?.as_array()?;
            conditions
                .iter()
                .any(|condition| has(condition, "type", "Ready") && has(condition, "status", "True"))
                .then_some(())
        })
    }

    /// Waits until kube-controller-manager has given the namespace what every pod in it needs.
    pub(crate) fn wait_namespace(&self, namespace: &str) -> Result<(), Error> {
        self.until(&format!("the namespace {namespace} has its service account and the cluster's certificate"), || {
            let account = self.get("serviceaccount", Some(namespace), "default").ok()?;
            let certificate = self.get("configmap", Some(namespace), "kube-root-ca.crt").ok()?;
            account.and(certificate).map(drop)
        })
    }
}

fn has(object: &Value, field: &str, value: &str) -> bool {
    object.get(field).is_some_and(|found| found == value)
}
