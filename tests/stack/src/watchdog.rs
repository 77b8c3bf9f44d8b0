//! Ends every process of a stack and removes its folder once the harness is gone, whatever ended it.
//!
//! A shell holds the read end of a pipe whose write end only the harness has: end of file means that the harness
//! dropped the stack, or died. Each process of the stack carries the stack's folder in its environment, which is how
//! the shell knows them: a folder's name is random, so neither a reused pid nor a namesake can be hit, and a process
//! that was being started when the harness was killed is found as well.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use crate::error::Error;

/// The variable that marks the processes of a stack; its value is the stack's folder.
pub(crate) const MARK: &str = "VOLWARDEN_STACK_FOLDER";
/// Set to anything, it keeps the stacks' folders, with all logs, for reading.
const KEEP: &str = "VOLWARDEN_STACK_KEEP";
/// csi-snapshotter writes here when it loses its driver, container or not.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// $1: the marking variable and its value. $2: the folder. $3: a file that was not there before, or nothing. $4: keep.
/// Two empty rounds: a process that was between fork and exec in the first one shows in the next.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
empty=0
while [ "$empty" -lt 2 ]; do
    empty=$((empty + 1))
    for environment in $(grep -lszxF -e "$1" /proc/[0-9]*/environ); do
        pid=${environment#/proc/}
        kill -9 "${pid%/environ}" 2>/dev/null && empty=0
    done
    sleep 0.02
done
[ -z "$3" ] || rm -f -- "$3"
[ -n "$4" ] || rm -rf -- "$2"
"#;

/// Whether a process that is alive belongs to the stack in `folder`.
pub(crate) fn carries_mark(pid: Pid, folder: &Path) -> bool {
    let mark = format!("{MARK}={}", folder.display());
    // Of a process that has ended, waited for or not, nothing can be read.
    let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// The shell that waits for the end of the harness.
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Starts watching over the stack in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self, Error> {
        let foreign = if Path::new(TERMINATION_LOG).exists() { "" } else { TERMINATION_LOG };
        let keep = std::env::var_os(KEEP).unwrap_or_default();
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "volwarden-stack-watchdog"])
            .arg(format!("{MARK}={}", folder.display()))
            .arg(folder)
            .arg(foreign)
            .arg(keep)
            .env_remove(MARK)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // what is sent to the harness's group, as by Ctrl-C, must not reach it
            .spawn()
            .map_err(Error::io("cannot start `sh` to watch over the stack"))?;
        Ok(Self { shell })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing to be done about a failure here: the shell itself goes on to the end.
        let _ = self.shell.wait();
    }
}
