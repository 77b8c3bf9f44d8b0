//! The mover, and the repository it moves data to: what was really backed up.
//!
//! Like the Ceph pool, the repository is outside of Kubernetes and knows the truth: a source whose status says
//! Successful may have nothing here.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::sim::actors::kubelet::Launch;
use crate::sim::actors::object;
use crate::sim::process::{Actor, Context};
use crate::sim::task::Shared;

/// What can be wrong with a mover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It ends with this code and these words.
    Fails(i32, String),
    /// It runs and does nothing, as on an NFS server that is down.
    Hangs,
}

/// A snapshot in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// `user@host:path`.
    pub identity: String,
    /// When it was complete.
    pub at: Timestamp,
}

/// A Kopia repository.
#[derive(Debug)]
pub struct Repository {
    backups: Vec<Backup>,
    /// How long a mover works, at least and at most.
    pub takes: (Duration, Duration),
    /// What is wrong with everybody's movers.
    pub trouble: Option<Trouble>,
    /// What is wrong with the movers of one identity.
    pub troubles: BTreeMap<String, Trouble>,
    /// The log of the last mover of each Job, by namespace and Job.
    logs: BTreeMap<(String, String), String>,
}

impl Default for Repository {
    fn default() -> Self {
        Self {
            backups: Vec::new(),
            takes: (Duration::from_secs(20), Duration::from_secs(240)),
            trouble: None,
            troubles: BTreeMap::new(),
            logs: BTreeMap::new(),
        }
    }
}

impl Repository {
    /// The snapshots, oldest first.
    #[must_use]
    pub fn backups(&self) -> &[Backup] {
        &self.backups
    }

    pub(super) fn log(&self, namespace: &str, job: &str) -> &str {
        self.logs.get(&(namespace.to_owned(), job.to_owned())).map(String::as_str).unwrap_or_default()
    }

    fn trouble_of(&self, identity: &str) -> Option<Trouble> {
        self.trouble.clone().or_else(|| self.troubles.get(identity).cloned())
    }
}

/// The mover's process.
pub struct MoverProgram {
    repository: Shared<Repository>,
    identity: String,
    restores: bool,
    sleeps: bool,
    job: (String, String),
    lines: Vec<String>,
}

impl MoverProgram {
    /// The program of a mover's container.
    #[must_use]
    pub fn new(launch: &Launch<'_>, repository: Shared<Repository>) -> Self {
        let env = |name: &str| launch.env(name).unwrap_or_default();
        let job = object::label(launch.pod, "job-name").unwrap_or_default().to_owned();
        Self {
            repository,
            identity: format!("{}@{}:/data", env("KOPIA_OVERRIDE_USERNAME"), env("KOPIA_OVERRIDE_HOSTNAME")),
            restores: env("DIRECTION") == "dst",
            sleeps: env("DEBUG_MOVER") == "1",
            job: (object::namespace(launch.pod).to_owned(), job),
            lines: Vec::new(),
        }
    }

    fn say(&mut self, ctx: &mut Context<'_>, line: &str) {
        ctx.log(line);
        self.lines.push(line.to_owned());
    }

    fn end(&mut self, ctx: &mut Context<'_>, code: i32) {
        let log = self.lines.join("\n");
        self.repository.with(|repository| repository.logs.insert(self.job.clone(), log));
        ctx.exit(code);
    }

    fn succeed(&mut self, ctx: &mut Context<'_>) {
        let identity = self.identity.clone();
        if self.restores {
            let found = |repository: &mut Repository| repository.backups.iter().any(|one| one.identity == identity);
            if self.repository.with(found) {
                self.say(ctx, "Restored 128 files, 12 directories and 0 symbolic links (64 MB).");
            } else {
                // It ends well all the same: the volume stays empty.
                self.say(ctx, &format!("No snapshots found for {identity}"));
                self.say(ctx, "No eligible snapshots found");
                self.say(ctx, "=== No data will be restored ===");
            }
        } else {
            let at = ctx.now().wall;
            self.repository.with(|repository| repository.backups.push(Backup { identity, at }));
            self.say(ctx, "Created snapshot with root k1c5ad6bd7b6f8f3f and ID 0a1b2c3d in 1s");
        }
        self.say(ctx, "=== Done ===");
        self.end(ctx, 0);
    }
}

impl Actor for MoverProgram {
    fn name(&self) -> &'static str {
        "kopia"
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        if self.sleeps {
            return self.say(ctx, "this pod will sleep indefinitely");
        }
        self.say(ctx, if self.restores { "=== Starting restore ===" } else { "=== Starting backup ===" });
        let (least, most) = self.repository.with(|repository| repository.takes);
        let time = ctx.between(least, most);
        ctx.set_timer(time);
    }

    fn timer(&mut self, ctx: &mut Context<'_>, _timer: u64) {
        match self.repository.with(|repository| repository.trouble_of(&self.identity)) {
            None => self.succeed(ctx),
            Some(Trouble::Fails(code, words)) => {
                self.say(ctx, &words);
                self.end(ctx, code);
            }
            // It looks again, so that it goes on when whatever it hangs on comes back.
            Some(Trouble::Hangs) => drop(ctx.set_timer(Duration::from_secs(60))),
        }
    }
}
