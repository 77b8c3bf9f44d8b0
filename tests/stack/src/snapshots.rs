//! The snapshot side: CRDs, snapshot-controller, the CSI driver and its csi-snapshotters.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::options::Options;
use crate::process::Plan;
use crate::tools::Tools;
use crate::{CONTROLLER_LEASE_NAMESPACE, DRIVER, SNAPSHOTTER_LEASE_NAMESPACE};

/// The CRD files that the options ask for.
pub(crate) fn crd_files(tools: &Tools, options: &Options) -> Result<Vec<PathBuf>, Error> {
    if !options.snapshot_crds && !options.group_crds {
        // A bare control plane has no need of them, and may run where they are not.
        return Ok(Vec::new());
    }
    let folder = tools.path("snapshot-crds")?;
    let cannot = || Error::io(format!("cannot read the CRDs in {}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot())? {
        let entry = entry.map_err(cannot())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = (name.starts_with("snapshot.storage.k8s.io_") && options.snapshot_crds)
            || (name.starts_with("groupsnapshot.storage.k8s.io_") && options.group_crds);
        if wanted {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Without the group CRDs snapshot-controller would look for them for 30 s before it begins to work.
fn group_gate(options: &Options) -> Option<String> {
    (!options.group_crds).then(|| "--feature-gates=CSIVolumeGroupSnapshot=false".to_owned())
}

/// How snapshot-controller is started.
pub(crate) fn controller_plan(tools: &Tools, options: &Options, kubeconfig: &Path) -> Result<Plan, Error> {
    Ok(Plan::new("snapshot-controller", tools.path("snapshot-controller")?)
        .path("kubeconfig", kubeconfig)
        .arg("--leader-election")
        .flag("leader-election-namespace", CONTROLLER_LEASE_NAMESPACE)
        .flag("v", 5)
        .args(group_gate(options))
        .args(options.controller_args.iter().cloned()))
}

/// The driver's socket.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("csi.sock")
}

/// How the CSI driver is started: with the words of a ceph-csi pod, and a log that says every call.
pub(crate) fn driver_plan(tools: &Tools, folder: &Path, state: &Path) -> Result<Plan, Error> {
    Ok(Plan::new("csi-driver", tools.path("csi-driver")?)
        .flag("type", "rbd")
        .flag("drivername", DRIVER)
        .flag("endpoint", format!("unix://{}", socket(folder).display()))
        .flag("nodeid", "stack")
        .flag("controllerserver", true)
        .flag("v", 5)
        .path("state", state))
}

/// How a csi-snapshotter is started: under a host name of its own, since that is its identity in the leader lease.
pub(crate) fn snapshotter_plan(
    tools: &Tools,
    options: &Options,
    folder: &Path,
    kubeconfig: &Path,
    number: usize,
    host: &str,
) -> Result<Plan, Error> {
    let name = format!("csi-snapshotter-{number}");
    let mut plan = Plan::new(&name, Path::new("unshare"));
    if !rustix::process::geteuid().is_root() {
        plan = plan.arg("--user").arg("--map-root-user");
    }
    Ok(plan
        .arg("--uts")
        .arg("sh")
        .arg("-c")
        .arg(r#"hostname "$1" && shift && exec "$@""#)
        .arg("sh")
        .arg(host)
        .arg(tools.path("csi-snapshotter")?.to_string_lossy())
        .path("kubeconfig", kubeconfig)
        .path("csi-address", &socket(folder))
        .arg("--leader-election")
        .flag("leader-election-namespace", SNAPSHOTTER_LEASE_NAMESPACE)
        .flag("timeout", "10s")
        .flag("v", 5)
        .args(group_gate(options))
        .args(options.snapshotter_args.iter().cloned()))
}
