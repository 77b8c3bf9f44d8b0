//! One run of a container: its process from start to end, what it writes, and its last words.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, ContainerStateTerminated, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use rustix::process::{Pid, Signal};
use tokio::io::AsyncRead;
use tokio::process::Child;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::launch::{self, Launch};
use crate::log_query::last_lines;
use crate::logs::{Run, Writer};
use crate::machine::{Machine, Processes};
use crate::prepare::Folder;

/// How long to wait for the last lines of a process that has ended: what it left behind may hold its output open.
const LAST_LINES: Duration = Duration::from_secs(1);
/// As much of a termination message as kubelet reports.
const MESSAGE: usize = 4096;
/// As much of a log as kubelet reports in its place.
const FALLBACK_LINES: usize = 80;
const FALLBACK: usize = 2048;

/// A run has ended.
#[derive(Debug)]
pub struct Ended {
    /// Which of the pod's containers it was.
    pub index: usize,
    pub terminated: ContainerStateTerminated,
}

/// What became of a start.
#[derive(Debug)]
pub enum Start {
    /// The program runs, and its end will be told.
    Running(Pid),
    /// The program cannot be run.
    Refused(ContainerStateTerminated),
}

/// The present second; the API knows no smaller parts.
pub fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// The id of a run; the endpoint for logs finds the attempt's number in it.
pub fn id(pod: &Pod, container: &str, attempt: i32) -> String {
    format!("process://{}/{container}/{attempt}", pod.uid().unwrap_or_default())
}

/// The number of the attempt that an id names.
pub fn attempt(id: &str) -> Option<i32> {
    id.rsplit_once('/').and_then(|(_, attempt)| attempt.parse().ok())
}

/// A container of a pod, and which run of it.
#[derive(Clone, Copy, Debug)]
pub struct Which<'a> {
    pub pod: &'a Pod,
    pub spec: &'a Spec,
    pub index: usize,
    pub attempt: i32,
}

/// Starts a run; an error is one of this machine, not of the program.
pub async fn start(
    machine: &Machine,
    which: Which<'_>,
    launch: &Launch,
    ends: mpsc::Sender<Ended>,
) -> Result<Start, Failure> {
    let Which { pod, spec, index, attempt } = which;
    let (namespace, name, uid) = (pod.namespace().unwrap_or_default(), pod.name_any(), pod.uid().unwrap_or_default());
    let run = Run { namespace: &namespace, pod: &name, uid: &uid, container: &spec.name, attempt };
    let broken =
        |what: &str, error| Failure { reason: "RunContainerError", message: format!("cannot {what}: {error}") };
    let log = machine.logs.create(run).map_err(|error| broken("open the log", error))?;
    let mut starting = launch.spawn().map_err(|error| broken("run `unshare`", error))?;
    let (pid, started_at) = (starting.pid, now());
    machine.processes.add(pid, &format!("{namespace}_{name}_{}", spec.name));
    let folder = Folder::of(machine, pod);
    let terminated = ContainerStateTerminated {
        container_id: Some(id(pod, &spec.name, attempt)),
        started_at: Some(started_at),
        ..ContainerStateTerminated::default()
    };
    if let Err(message) = starting.running().await {
        launch::signal(pid, Signal::KILL);
        let _ = starting.child.wait().await; // only so that no zombie is left
        machine.processes.remove(pid);
        return Ok(Start::Refused(ContainerStateTerminated {
            exit_code: 128,
            reason: Some("StartError".to_owned()),
            message: Some(message),
            finished_at: Some(now()),
            ..terminated
        }));
    }
    if let Err(error) = machine.processes.publish(pid, &folder.container(&spec.name).join("pid")) {
        eprintln!("cannot write the pid of {name}'s container {}: {error}", spec.name);
    }
    let process = Process {
        child: starting.child,
        pid,
        processes: machine.processes.clone(),
        log: Arc::new(log),
        log_file: machine.logs.path(run),
        words: folder.termination_log(&spec.name),
        fall_back: spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"),
    };
    tokio::spawn(async move {
        let terminated = process.watch(terminated).await;
        let _ = ends.send(Ended { index, terminated }).await; // a pod that is gone needs no telling
    });
    Ok(Start::Running(pid))
}

/// A process and where it leaves what is to be known of it.
struct Process {
    child: Child,
    pid: Pid,
    processes: Processes,
    log: Arc<Writer>,
    log_file: PathBuf,
    words: PathBuf,
    fall_back: bool,
}

impl Process {
    /// Stores what it writes until it ends, and tells how it ended.
    async fn watch(mut self, started: ContainerStateTerminated) -> ContainerStateTerminated {
        let out = self.child.stdout.take().map(|stream| self.copy("stdout", stream));
        let err = self.child.stderr.take().map(|stream| self.copy("stderr", stream));
        let exit_code = self.child.wait().await.map_or(255, exit_code);
        let finished_at = now();
        launch::signal(self.pid, Signal::KILL); // what it left behind
        self.processes.remove(self.pid);
        for copy in [out, err].into_iter().flatten() {
            let _ = tokio::time::timeout(LAST_LINES, copy).await;
        }
        ContainerStateTerminated {
            exit_code,
            reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned()),
            message: self.last_words(exit_code),
            finished_at: Some(finished_at),
            ..started
        }
    }

    fn copy(&self, name: &'static str, stream: impl AsyncRead + Unpin + Send + 'static) -> tokio::task::JoinHandle<()> {
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            if let Err(error) = log.copy(name, stream).await {
                eprintln!("a container's {name} is lost from here on: {error}");
            }
        })
    }

    fn last_words(&self, exit_code: i32) -> Option<String> {
        let mut words = std::fs::read(&self.words).unwrap_or_default();
        words.truncate(MESSAGE);
        if words.is_empty() && self.fall_back && exit_code != 0 {
            let log = std::fs::read(&self.log_file).unwrap_or_default();
            words = crate::log_query::plain(last_lines(&log, Some(FALLBACK_LINES)));
            words.drain(..words.len().saturating_sub(FALLBACK));
        }
        (!words.is_empty()).then(|| String::from_utf8_lossy(&words).into_owned())
    }
}

/// The exit code as a container runtime reports it: 128 and the signal's number if a signal ended the process.
fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_exit_code_is_the_programs_or_128_and_the_signal() {
        for (raw, expected) in [(0, 0), (3 << 8, 3), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), expected, "{raw}");
        }
    }

    #[test]
    fn an_id_names_its_attempt() {
        assert_eq!(attempt(&id(&Pod::default(), "main", 12)), Some(12));
        assert_eq!(attempt("process://uid/main/"), None);
    }
}
