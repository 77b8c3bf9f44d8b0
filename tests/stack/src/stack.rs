//! The stack itself: starts the parts in order, knows when they are ready, and ends them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::Backend;
use crate::control_plane::ControlPlane;
use crate::error::Error;
use crate::etcd::Etcd;
use crate::kubectl::Kubectl;
use crate::options::Options;
use crate::process::{LOOK_AGAIN, Plan, Process};
use crate::reader::Reader;
use crate::recorder::Recorder;
use crate::tools::{Tools, available};
use crate::watchdog::Watchdog;
use crate::{CONTROLLER_LEASE, CONTROLLER_LEASE_NAMESPACE, DRIVER, SNAPSHOTTER_LEASE, SNAPSHOTTER_LEASE_NAMESPACE};
use crate::{failure, nodes, snapshots, tools};

/// Names a cluster to test against instead of a stack of one's own; see [`Stack::from_environment`].
const SCRATCH_CLUSTER: &str = "VOLWARDEN_TEST_KUBECONFIG";
/// How long a part may take to be ready, on a machine that has much else to do.
const READY: Duration = Duration::from_secs(90);
/// How often a start is tried again because someone took a port in the meantime.
const ATTEMPTS: u32 = 3;

/// A running stack. Dropping it ends all its processes and removes its folder.
pub struct Stack {
    // Fields are dropped in this order: the watchdog ends the processes, they are waited for, their folder goes.
    watchdog: Option<Watchdog>,
    processes: BTreeMap<String, Process>,
    control_plane: Option<ControlPlane>,
    backend: Option<Backend>,
    nodes: Vec<String>,
    recorder: OnceLock<Recorder>,
    reader: Option<Reader>,
    kubectl: Kubectl,
    kubeconfig: PathBuf,
    tools: Tools,
    folder: PathBuf,
}

impl Stack {
    /// Starts a stack and waits until all of it is ready.
    #[expect(clippy::needless_pass_by_value, reason = "options are written where they are used")]
    pub fn start(options: Options) -> Result<Self, Error> {
        let bare =
            !options.snapshot_crds && !options.snapshot_controller && !options.driver && options.nodes.is_empty();
        let tools = if bare { tools::control_plane()? } else { available()? };
        let mut attempt = 1;
        loop {
            match Self::start_once(&tools, &options) {
                Err(Error::Ended { log, .. })
                    if attempt < ATTEMPTS && log.to_lowercase().contains("address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Uses a cluster that is already there. It has no processes, no backend and no audit log of ours: what needs one
    /// of them answers with an error that says so.
    pub fn attach(kubeconfig: &Path) -> Result<Self, Error> {
        let (tools, _) = tools::find()?;
        let kubeconfig = std::path::absolute(kubeconfig)
            .map_err(Error::io(format!("cannot find the kubeconfig {}", kubeconfig.display())))?;
        let folder = new_folder()?;
        let watchdog = Watchdog::start(&folder)?;
        // Any kubectl will do for somebody else's cluster.
        let program = tools.path("kubectl").unwrap_or(Path::new("kubectl"));
        let kubectl = Kubectl::new(program, &kubeconfig, &folder);
        let stack = Self {
            watchdog: Some(watchdog),
            processes: BTreeMap::new(),
            control_plane: None,
            backend: None,
            nodes: Vec::new(),
            recorder: OnceLock::new(),
            reader: None,
            kubectl,
            kubeconfig,
            tools,
            folder,
        };
        stack.kubectl(["get", "--raw", "/readyz"])?;
        Ok(stack)
    }

    /// [`Self::attach`] to the cluster that `VOLWARDEN_TEST_KUBECONFIG` names, or else [`Self::start`].
    pub fn from_environment(options: Options) -> Result<Self, Error> {
        match std::env::var_os(SCRATCH_CLUSTER) {
            Some(kubeconfig) => Self::attach(Path::new(&kubeconfig)),
            None => Self::start(options),
        }
    }

    fn start_once(tools: &Tools, options: &Options) -> Result<Self, Error> {
        let folder = new_folder()?;
        let watchdog = Watchdog::start(&folder)?;
        let control_plane = ControlPlane::new(&folder)?;
        let kubeconfig = control_plane.admin.clone();
        let mut stack = Self {
            watchdog: Some(watchdog),
            processes: BTreeMap::new(),
            control_plane: None,
            backend: None,
            nodes: options.nodes.clone(),
            recorder: OnceLock::new(),
            reader: None,
            kubectl: Kubectl::new(tools.path("kubectl")?, &kubeconfig, &folder),
            kubeconfig,
            tools: tools.clone(),
            folder,
        };
        stack.run(control_plane.etcd_plan(tools)?)?;
        stack.run(control_plane.apiserver_plan(tools, options)?)?;
        stack.reader = Some(Reader::new(&control_plane)?);
        stack.control_plane = Some(control_plane);
        stack.wait_ready()?;
        stack.start_crds(options)?;
        stack.start_nodes()?;
        stack.start_snapshots(options)?;
        stack.wait_nodes()?;
        Ok(stack)
    }

    fn start_crds(&self, options: &Options) -> Result<(), Error> {
        let crds = snapshots::crd_files(&self.tools, options)?;
        if !crds.is_empty() {
            let files: Vec<_> = crds.iter().flat_map(|file| ["-f".into(), file.display().to_string()]).collect();
            self.kubectl(["create"].into_iter().chain(files.iter().map(String::as_str)))?;
            let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
            self.kubectl(wait.into_iter().chain(files.iter().map(String::as_str)))?;
        }
        if options.snapshot_crds && options.record { self.record_everything() } else { Ok(()) }
    }

    /// After the CRDs: kube-controller-manager looks for new kinds only every 30 s.
    fn start_nodes(&mut self) -> Result<(), Error> {
        if self.nodes.is_empty() {
            return Ok(());
        }
        let plane = self.control_plane()?;
        let mut parts = vec![nodes::controller_manager_plan(&self.tools, plane)?];
        for node in &self.nodes {
            parts.push(nodes::kubelet_plan(&self.tools, plane, &self.folder, node)?);
        }
        parts.into_iter().try_for_each(|plan| self.run(plan))
    }

    fn wait_nodes(&self) -> Result<(), Error> {
        self.nodes.iter().try_for_each(|node| self.wait_node(node))?;
        if self.nodes.is_empty() { Ok(()) } else { self.wait_namespace("default") }
    }

    fn start_snapshots(&mut self, options: &Options) -> Result<(), Error> {
        if options.driver_object {
            let spec = json!({"attachRequired": false, "podInfoOnMount": false});
            self.apply_json(&json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": spec,
            }))?;
        }
        if options.snapshot_controller {
            self.run(snapshots::controller_plan(&self.tools, options, &self.kubeconfig)?)?;
        }
        if options.driver || !options.nodes.is_empty() {
            let backend = Backend::new(&self.folder)?;
            for volume in &options.volumes {
                backend.add_volume(volume)?;
            }
            self.backend = Some(backend);
        }
        if options.driver {
            self.run(snapshots::driver_plan(&self.tools, &self.folder, self.backend()?.folder())?)?;
            self.until("csi-driver listens on its socket", || snapshots::socket(&self.folder).exists().then_some(()))?;
        }
        for (number, host) in options.snapshotters.iter().enumerate() {
            let plan = snapshots::snapshotter_plan(&self.tools, options, &self.folder, &self.kubeconfig, number, host)?;
            self.run(plan)?;
            if number == 0 {
                self.wait_lease(SNAPSHOTTER_LEASE_NAMESPACE, SNAPSHOTTER_LEASE)?;
            }
        }
        if options.snapshot_controller {
            self.wait_lease(CONTROLLER_LEASE_NAMESPACE, CONTROLLER_LEASE)?;
        }
        Ok(())
    }

    fn run(&mut self, plan: Plan) -> Result<(), Error> {
        let process = Process::new(plan, &self.folder);
        process.start()?;
        self.processes.insert(process.name().to_owned(), process);
        Ok(())
    }

    /// Waits until the API server answers that it is ready; for after it was paused or started again.
    pub fn wait_ready(&self) -> Result<(), Error> {
        self.until("kube-apiserver is ready", || {
            let ready = self.kubectl(["get", "--raw", "/readyz", "--request-timeout=5s"]).ok()?;
            let namespace = self.kubectl(["get", "namespace", "default", "kube-system", "-o", "name"]).ok()?;
            (ready.trim() == "ok" && !namespace.is_empty()).then_some(())
        })
    }

    fn wait_lease(&self, namespace: &str, name: &str) -> Result<(), Error> {
        self.until(&format!("someone holds the lease {namespace}/{name}"), || {
            let lease = self.get("lease", Some(namespace), name).ok()??;
            lease.pointer("/spec/holderIdentity").filter(|holder| *holder != "").map(drop)
        })
    }

    /// As [`Self::wait`], but a process that ends is the answer at once.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let mut ended = Ok(());
        let outcome = self.wait(what, READY, || {
            if let Some(found) = look() {
                return Some(Some(found));
            }
            ended = self.processes.values().try_for_each(Process::must_run);
            ended.is_err().then_some(None)
        });
        ended?;
        outcome?.ok_or_else(|| Error::other(format!("gave up waiting: {what}")))
    }

    /// Looks again and again until there is an answer; on timeout the error says what was waited for, and the end of
    /// every process's log.
    pub fn wait<T>(&self, what: &str, timeout: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if start.elapsed() >= timeout {
                let (waited_for, seconds) = (what.to_owned(), timeout.as_secs_f64());
                return Err(Error::Timeout { waited_for, seconds, logs: self.log_tails() });
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn log_tails(&self) -> String {
        let mut text = String::new();
        for process in self.processes.values() {
            let state = if process.is_running() { "running" } else { "ended" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "--- {} ({state})\n{}", process.name(), process.log_tail(8));
        }
        text
    }

    /// The control of a process: `etcd`, `kube-apiserver`, `snapshot-controller`, `csi-driver`, `csi-snapshotter-0`...
    pub fn process(&self, name: &str) -> Result<&Process, Error> {
        self.processes.get(name).ok_or_else(|| {
            let names: Vec<_> = self.processes.keys().map(String::as_str).collect();
            Error::other(match names.as_slice() {
                [] => format!("{name} is not ours to control: this is a cluster that was attached to"),
                names => format!("this stack has no process {name}; it has {}", names.join(", ")),
            })
        })
    }

    /// All processes, by name.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's address, `https://127.0.0.1:PORT`.
    pub fn server(&self) -> Result<&str, Error> {
        Ok(&self.control_plane()?.server)
    }

    /// The names of the nodes.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// A kubeconfig for a user who may do only what roles bound to them, or to their one group, allow.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        let control_plane = self.control_plane()?;
        control_plane.authority.kubeconfig(&control_plane.server, user, groups)
    }

    /// The stack's folder: a place for a test's own files, gone when the stack is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The programs that the stack was started from.
    #[must_use]
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// What the API server's audit log holds so far.
    pub fn audit(&self) -> Result<Vec<Value>, Error> {
        let path = &self.control_plane()?.audit_log;
        let log = std::fs::read_to_string(path).map_err(Error::io(format!("cannot read {}", path.display())))?;
        // A line without an end is one that is being written.
        log.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| {
                serde_json::from_str(line).map_err(|error| Error::other(format!("an audit line is no JSON: {error}")))
            })
            .collect()
    }

    /// Reads without kubectl, unless this is a cluster that was attached to.
    pub(crate) fn reader(&self) -> Option<&Reader> {
        self.reader.as_ref()
    }

    pub(crate) fn client(&self) -> &Kubectl {
        &self.kubectl
    }

    pub(crate) fn etcd(&self) -> Result<Etcd, Error> {
        Ok(Etcd::new(&self.control_plane()?.etcd))
    }

    pub(crate) fn recorder(&self) -> &OnceLock<Recorder> {
        &self.recorder
    }

    pub(crate) fn backend(&self) -> Result<&Backend, Error> {
        self.control_plane()?;
        self.backend.as_ref().ok_or_else(|| {
            Error::other("this stack has no backend: neither the CSI driver (Options::driver) nor nodes")
        })
    }

    pub(crate) fn control_plane(&self) -> Result<&ControlPlane, Error> {
        self.control_plane
            .as_ref()
            .ok_or_else(|| Error::other("this is a cluster that was attached to: its control plane is not ours"))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() && self.control_plane.is_some() {
            failure::keep(self);
        }
        drop(self.recorder.take());
        // One way to end for a dropped stack and for a killed harness: the watchdog's.
        drop(self.watchdog.take());
        for process in self.processes.values() {
            process.reap();
        }
    }
}

/// A new folder, whose removal is the watchdog's.
fn new_folder() -> Result<PathBuf, Error> {
    let folder = tempfile::Builder::new().prefix("volwarden-stack-").tempdir();
    folder.map(TempDir::keep).map_err(Error::io("cannot make a temporary folder"))
}
