//! One child process: its own process group, a deadline, bounded output, and an environment without a setting of kopia's
//! that we did not make.
//!
//! Its output goes into files, so a child that says much can neither fill our memory nor wait for us to read. Whatever
//! ends the wait ends the whole group: a kopia that nobody waits for would go on writing.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::Trouble;
use super::connection::Password;
use crate::domain::kopia::Ended;

/// The longest answer: snapshots of a large cluster are some 100 MiB.
const LONGEST: u64 = 256 << 20;
/// A look at the child: the first at once, later ones less often.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// A process that was killed is gone by then, unless its storage hangs.
const GONE: Duration = Duration::from_secs(3);

/// What to run.
pub(super) struct Order<'a> {
    pub(super) program: &'a Path,
    pub(super) words: &'a [String],
    pub(super) password: &'a Password,
    pub(super) folder: &'a Path,
    pub(super) stdin: Option<Stdio>,
    pub(super) timeout: Duration,
    /// Hears each line that it says on stderr, as it says it; without one nothing new was said.
    pub(super) hear: &'a dyn Fn(Option<&str>),
}

/// A process group that ends when it is dropped.
struct Group {
    child: Child,
    ended: bool,
}

impl Group {
    fn kill(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // A group that has ended meanwhile is what is wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// Runs it to its end, or ends it.
pub(super) async fn run(order: Order<'_>) -> Result<Ended, Trouble> {
    let (out, err) = (order.folder.join("stdout"), order.folder.join("stderr"));
    let folder = |source| Trouble::Folder { path: order.folder.display().to_string(), source };
    let start = |source| Trouble::Start { program: order.program.display().to_string(), source };
    let (stdout, stderr) = (File::create(&out).map_err(folder)?, File::create(&err).map_err(folder)?);
    let mut command = Command::new(order.program);
    command.args(order.words).stdin(order.stdin.unwrap_or_else(Stdio::null)).process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KOPIA_") {
            command.env_remove(name);
        }
    }
    command
        .env("KOPIA_PASSWORD", order.password.reveal())
        .env("KOPIA_CACHE_DIRECTORY", order.folder.join("cache"))
        .env("KOPIA_LOG_DIR", order.folder.join("log"))
        .env("KOPIA_CHECK_FOR_UPDATES", "false")
        .env("KOPIA_USE_KEYRING", "false")
        .env("KOPIA_PERSIST_CREDENTIALS_ON_CONNECT", "false")
        .stdout(stdout)
        .stderr(stderr);
    let mut group = Group { child: command.spawn().map_err(start)?, ended: false };
    let mut cut = None;
    let mut ear = Ear { file: File::open(&err).map_err(folder)?, rest: Vec::new(), hear: order.hear };
    let status = match tokio::time::timeout(order.timeout, wait(&mut group, &[&out, &err], &mut ear)).await {
        Ok(waited) => waited.map_err(start)?,
        Err(_) => None,
    };
    if status.is_none() {
        group.kill();
        let gone = tokio::time::timeout(GONE, wait(&mut group, &[], &mut ear)).await;
        let after = if gone.is_ok() { "" } else { ", and it does not end: its storage may hang" };
        cut = Some(format!(
            "kopia was ended after it took longer than {} s or said more than {} MiB{after}; what it had done by then \
             cannot be told; give it longer with --timeout",
            order.timeout.as_secs(),
            LONGEST >> 20
        ));
    }
    ear.listen();
    ear.end();
    Ok(Ended {
        code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        cut,
        stdout: said(&out).map_err(folder)?,
        stderr: said(&err).map_err(folder)?,
    })
}

/// Follows a file that somebody else writes, line by line.
struct Ear<'a> {
    file: File,
    /// A line that has not ended yet.
    rest: Vec<u8>,
    hear: &'a dyn Fn(Option<&str>),
}

impl Ear<'_> {
    /// Hands on what is new. What cannot be read now is read at the end.
    fn listen(&mut self) {
        let _ = (&mut self.file).take(LONGEST).read_to_end(&mut self.rest);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            (self.hear)(Some(String::from_utf8_lossy(&line).trim_end()));
        }
        (self.hear)(None);
    }

    /// A last line without an end is one, too.
    fn end(&mut self) {
        if !self.rest.is_empty() {
            (self.hear)(Some(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).trim_end()));
        }
    }
}

/// Waits for the end; `None` if it says too much.
async fn wait(group: &mut Group, files: &[&Path], ear: &mut Ear<'_>) -> std::io::Result<Option<ExitStatus>> {
    let (mut pause, longest) = PAUSES;
    loop {
        ear.listen();
        if let Some(status) = group.child.try_wait()? {
            group.ended = true;
            return Ok(Some(status));
        }
        let length = |file: &&Path| std::fs::metadata(file).map_or(0, |file| file.len());
        if files.iter().map(length).any(|length| length > LONGEST) {
            return Ok(None);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn said(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
