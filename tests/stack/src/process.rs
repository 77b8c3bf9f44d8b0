//! One process of the stack: start it, pause it, end it the hard or the soft way, and read its log.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::Error;
use crate::watchdog::MARK;

/// How long [`Process::stop`] waits before it kills.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often something that is waited for is looked at.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How a process is started, each time.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Plan {
    pub(crate) fn new(name: &str, program: &Path) -> Self {
        Self { name: name.to_owned(), program: program.to_owned(), args: Vec::new(), environment: BTreeMap::new() }
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds `--name=value`.
    pub(crate) fn flag(self, name: &str, value: impl std::fmt::Display) -> Self {
        self.arg(format!("--{name}={value}"))
    }

    /// Adds `--name=path`.
    pub(crate) fn path(self, name: &str, value: &Path) -> Self {
        self.flag(name, value.display())
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = String>) -> Self {
        self.args.extend(args);
        self
    }
}

/// What a program is called where it is released: without the hash that its file's name ends in here. It is what the
/// API server writes into managedFields.
fn called(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    match name.rsplit_once('-') {
        Some((plain, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            plain.to_owned()
        }
        _ => name.into_owned(),
    }
}

/// A process of the stack; see [`crate::Stack::process`].
///
/// It may be stopped and started again as often as a test likes; its log goes on in the same file.
#[derive(Debug)]
pub struct Process {
    plan: Plan,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// A process that is not running yet.
    pub(crate) fn new(plan: Plan, folder: &Path) -> Self {
        Self { plan, folder: folder.to_owned(), child: Mutex::new(None) }
    }

    /// Its name, such as `snapshot-controller`.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Starts it; an error if it is running. It may not be ready yet when this returns.
    pub fn start(&self) -> Result<(), Error> {
        let mut child = self.child();
        if running(&mut child).is_some() {
            return Err(Error::other(format!("{} is running already", self.name())));
        }
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(Error::io(format!("cannot share {}'s log", self.name())))?;
        let started = Command::new(&self.plan.program)
            .arg0(called(&self.plan.program))
            .args(&self.plan.args)
            .envs(&self.plan.environment)
            .env(MARK, &self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("cannot start {}", self.plan.program.display())))?;
        *child = Some(started);
        Ok(())
    }

    /// [`Self::stop`], then [`Self::start`].
    pub fn restart(&self) -> Result<(), Error> {
        self.stop()?;
        self.start()
    }

    /// Freezes it (SIGSTOP): its connections stay open and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Kills it (SIGKILL) and waits for its end; nothing to do if it is not running.
    pub fn kill(&self) -> Result<(), Error> {
        let mut slot = self.child();
        let Some(child) = slot.as_mut() else { return Ok(()) };
        let ended = child.kill().and_then(|()| child.wait());
        ended.map(drop).map_err(Error::io(format!("cannot kill {}", self.name())))
    }

    /// Asks it to end (SIGTERM), and kills it if it has not after 10 s; nothing to do if it is not running.
    pub fn stop(&self) -> Result<(), Error> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)?; // a paused process would not notice the first
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if !self.is_running() {
                return Ok(());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.kill()
    }

    /// Whether it runs; a paused process does.
    pub fn is_running(&self) -> bool {
        running(&mut self.child()).is_some()
    }

    /// How it ended, if it was started and has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child().as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Its pid, if it runs.
    pub fn pid(&self) -> Option<u32> {
        running(&mut self.child()).map(|child| child.id())
    }

    /// What it has written so far, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read(self.log_path()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The file that it logs to.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name()))
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        tail(&self.log(), lines)
    }

    /// An error if it has ended.
    pub(crate) fn must_run(&self) -> Result<(), Error> {
        match self.ended() {
            None => Ok(()),
            Some(status) => {
                Err(Error::Ended { name: self.name().to_owned(), status: status.to_string(), log: self.log_tail(15) })
            }
        }
    }

    /// Waits for a process that was killed by someone else, so that no zombie is left.
    pub(crate) fn reap(&self) {
        if let Some(child) = self.child().as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let mut slot = self.child();
        let child = running(&mut slot).ok_or_else(|| Error::other(format!("{} is not running", self.name())))?;
        kill_process(Pid::from_child(child), signal)
            .map_err(|error| Error::io(format!("cannot signal {}", self.name()))(error.into()))
    }

    fn open_log(&self) -> Result<File, Error> {
        let path = self.log_path();
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        opened.map_err(Error::io(format!("cannot open {}", path.display())))
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The child, if there is one and it has not ended.
fn running(slot: &mut Option<Child>) -> Option<&mut Child> {
    let child = slot.as_mut()?;
    matches!(child.try_wait(), Ok(None)).then_some(child)
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}
