//! Starts a container: a process with a private view of the host's files and a host name of its own.
//!
//! The script that makes the view becomes the program itself, so that one pid, which leads its own process group, is
//! the container from beginning to end.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::environment::Environment;
use crate::volumes::Mount;

const SCRIPT: &str = include_str!("container.sh");
/// How long a container may take until its program runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a container's process is made of.
#[derive(Clone, Debug)]
pub struct Launch {
    /// An empty folder of the host, on which the private layer is mounted.
    pub layer: PathBuf,
    pub hostname: String,
    pub working_dir: String,
    pub mounts: Vec<Mount>,
    pub environment: Environment,
    /// The program and its arguments.
    pub command: Vec<String>,
}

impl Launch {
    /// Starts the process; [`Starting::running`] tells when its program runs.
    pub fn spawn(&self) -> io::Result<Starting> {
        let (failure, write_end) = io::pipe()?;
        let failure = pipe::Receiver::from_owned_fd(OwnedFd::from(failure))?;
        let mut unshare = Command::new("unshare");
        let root = rustix::process::geteuid().is_root();
        if !root {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--uts", "--mount", "--", "sh", "-c", SCRIPT, "container"]);
        unshare.arg(&self.layer).args([&self.hostname, &self.working_dir]);
        unshare.arg(if root { "" } else { ",userxattr" });
        unshare.arg(self.command.first().map_or("", String::as_str));
        unshare.arg(self.environment.get("PATH").unwrap_or_default());
        for mount in &self.mounts {
            unshare.arg(if mount.read_only { "ro" } else { "rw" }).arg(&mount.source).arg(&mount.target);
        }
        let child = unshare
            .arg("--")
            .args(self.environment.words())
            .args(&self.command)
            .stdin(Stdio::from(write_end))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a new process has no pid"))?;
        Ok(Starting { child, pid, failure })
    }
}

/// A process that is still making its view.
#[derive(Debug)]
pub struct Starting {
    pub child: Child,
    pub pid: Pid,
    failure: pipe::Receiver,
}

impl Starting {
    /// Waits until the program runs; the error is why it cannot.
    pub async fn running(&mut self) -> Result<(), String> {
        let mut text = String::new();
        match tokio::time::timeout(PATIENCE, self.failure.read_to_string(&mut text)).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(_)) => Err(text.trim().to_owned()),
            Ok(Err(error)) => Err(format!("cannot hear how the start goes: {error}")),
            Err(_) => Err(format!("the start took longer than {} s", PATIENCE.as_secs())),
        }
    }
}

/// Sends a signal to all processes of a container; false if there are none.
pub fn signal(pid: Pid, signal: Signal) -> bool {
    match kill_process_group(pid, signal) {
        Ok(()) => true,
        Err(rustix::io::Errno::SRCH) => false,
        Err(error) => {
            eprintln!("cannot signal the process group {}: {error}", pid.as_raw_nonzero());
            true
        }
    }
}
