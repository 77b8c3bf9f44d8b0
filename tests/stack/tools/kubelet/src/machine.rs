//! What a node offers to all of its pods: its name, its folders, and the processes that must not outlive it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::PodStatus;
use kube::Client;
use rustix::process::{Pid, Signal};

use crate::images::Images;
use crate::launch;
use crate::logs::Logs;

/// A node.
#[derive(Clone)]
pub struct Machine {
    pub client: Client,
    pub node: String,
    pub folder: PathBuf,
    pub images: Images,
    pub logs: Logs,
    /// Where containers find the API server.
    pub service: [(String, String); 2],
    pub pods: Pods,
    pub processes: Processes,
}

/// The statuses of the pods as the endpoint for logs needs them.
#[derive(Clone, Default)]
pub struct Pods(Arc<Mutex<Statuses>>);

/// By namespace and name: the uid and the status.
type Statuses = HashMap<(String, String), (String, PodStatus)>;

impl Pods {
    /// The uid and the status of a pod.
    pub fn get(&self, namespace: &str, name: &str) -> Option<(String, PodStatus)> {
        self.all().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Remembers a pod's status.
    pub fn set(&self, namespace: &str, name: &str, uid: &str, status: PodStatus) {
        self.all().insert((namespace.to_owned(), name.to_owned()), (uid.to_owned(), status));
    }

    /// Forgets a pod, unless another has its name by now.
    pub fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut all = self.all();
        if all.get(&key).is_some_and(|(known, _)| known == uid) {
            all.remove(&key);
        }
    }

    fn all(&self) -> MutexGuard<'_, Statuses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running containers, each as a file `NAMESPACE_POD_CONTAINER` that holds the pid of its process group.
#[derive(Clone)]
pub struct Processes {
    folder: PathBuf,
    running: Arc<Mutex<BTreeMap<i32, PathBuf>>>,
}

impl Processes {
    /// Processes with files in `folder`; what a former life of the kubelet left there is removed.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), running: Arc::default() })
    }

    /// A container has a process now; its file comes with [`Self::publish`].
    pub fn add(&self, pid: Pid, name: &str) {
        self.running().insert(pid.as_raw_nonzero().get(), self.folder.join(name));
    }

    /// Writes the file of a container whose program runs; `draft` is a free path on the same file system.
    pub fn publish(&self, pid: Pid, draft: &Path) -> io::Result<()> {
        let Some(path) = self.running().get(&pid.as_raw_nonzero().get()).cloned() else { return Ok(()) };
        std::fs::write(draft, pid.to_string())?;
        std::fs::rename(draft, path)
    }

    /// The process has ended.
    pub fn remove(&self, pid: Pid) {
        let Some(path) = self.running().remove(&pid.as_raw_nonzero().get()) else { return };
        // A pod of the same name may have taken the file over.
        if std::fs::read_to_string(&path).is_ok_and(|text| text == pid.to_string())
            && let Err(error) = std::fs::remove_file(&path)
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }

    /// Kills them all; true if none was left.
    pub fn kill(&self) -> bool {
        let pids: Vec<_> = self.running().keys().filter_map(|pid| Pid::from_raw(*pid)).collect();
        let alive = |pid: &Pid| launch::signal(*pid, Signal::KILL);
        let (alive, dead): (Vec<_>, Vec<_>) = pids.into_iter().partition(alive);
        for pid in dead {
            self.remove(pid);
        }
        alive.is_empty()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<i32, PathBuf>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
