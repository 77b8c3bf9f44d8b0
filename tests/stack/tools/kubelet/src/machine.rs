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

/// Kills what is left of a container whose first process died with its kubelet. Where that pid is in use, it is someone
/// else's by now; where it is not, no other process can have made a group of that number.
fn end_orphans(file: &Path) {
    let pid = std::fs::read_to_string(file).ok().and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|pid| !is_alive(*pid)) {
        launch::signal(pid, Signal::KILL);
    }
}

/// Whether a process has this pid, not counting one that is dead and only not yet waited for.
fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// The running containers, each as a file `NAMESPACE_POD_CONTAINER` that holds the pid of its process group.
#[derive(Clone)]
pub struct Processes {
    folder: PathBuf,
    running: Arc<Mutex<BTreeMap<i32, PathBuf>>>,
}

impl Processes {
    /// Processes with files in `folder`; what a former life of the kubelet left there is ended and removed.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        if folder.exists() {
            for file in std::fs::read_dir(folder)?.flatten() {
                end_orphans(&file.path());
            }
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn pid(child: &Child) -> Pid {
        Pid::from_child(child)
    }

    #[test]
    fn a_new_life_kills_what_outlived_a_container_and_no_one_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut other = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        // The first process ends with its input; the sleep goes on and holds the output open.
        let mut first = Command::new("sh")
            .args(["-c", "sleep 60 & exec cat >/dev/null"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::fs::write(folder.path().join("ns_web_main"), pid(&first).to_string()).unwrap();
        std::fs::write(folder.path().join("ns_web_other"), pid(&other).to_string()).unwrap();
        let mut output = first.stdout.take().unwrap();
        first.wait().unwrap();
        let begun = std::time::Instant::now();
        Processes::in_folder(folder.path()).unwrap();
        std::io::copy(&mut output, &mut std::io::sink()).unwrap();
        assert!(begun.elapsed().as_secs() < 50, "the sleep was not killed, it ended by itself");
        assert!(is_alive(pid(&other)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_file_is_its_containers_until_another_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let processes = Processes::in_folder(&folder.path().join("running")).unwrap();
        let (old, new) = (Pid::from_raw(1000).unwrap(), Pid::from_raw(1001).unwrap());
        let (file, draft) = (folder.path().join("running/ns_web_main"), folder.path().join("draft"));
        for pid in [old, new] {
            processes.add(pid, "ns_web_main");
            processes.publish(pid, &draft).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), pid.to_string());
        }
        processes.remove(old);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1001");
        processes.remove(new);
        assert!(!file.exists());
    }
}
