//! `volwarden kopia`: a kopia repository without a cluster, for a terminal and for a timer on a NAS.
//!
//! Exit codes: 0 it happened, 1 it did not and the class says why, 2 it cannot be told. A timer that takes "kopia ended
//! with 0" for "maintenance was done" finds out when the disk is full.

mod done;
mod expire;
mod follow;
mod status;
mod task;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

use self::follow::Follow;
use super::output::Terminal;
use super::{CliError, Format, Outcome};
use crate::app::kopia::Clearance;
use crate::app::{self, kopia as desk};
use crate::domain::kopia::Round;

/// Shown beneath the long help.
const EXAMPLES: &str = "\
FILE is what `kopia repository connect --config-file=FILE` wrote. It is only read: kopia is given a private copy, under the
identity volwarden@HOST. The password comes from --password-file, else from FILE.kopia-password, where kopia keeps it.

Maintenance has one owner. Make us that once: kopia maintenance set --owner=volwarden@HOST

Exit codes: 0 it happened; 1 it did not, with the class of the failure and what to do; 2 it cannot be told.
maintain writes to the repository, and expire with --delete; nothing else does.";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct KopiaArgs {
    #[command(subcommand)]
    command: KopiaCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum KopiaCommand {
    /// Say what a repository is, who maintains it, what was done, what is backed up, and who holds a lock
    Status(LookingArgs),
    /// List what is backed up, and how old the newest backup of each is
    Sources(LookingArgs),
    /// Run maintenance if it is ours to run, and say what truly happened
    Maintain(MaintainArgs),
    /// Look whether every pack and object is there, and read some of the files
    Verify(VerifyArgs),
    /// Say which snapshots of a source go, where kopia and we decide alike; delete them only under terms that were shown
    Expire(ExpireArgs),
    /// Say under which policy each source is, whoever set it
    Policy(PolicyArgs),
    /// What the pod of a KopiaRepository's Job runs; its report goes into the termination message
    #[command(hide = true)]
    Task(task::TaskArgs),
}

/// What each of them takes.
#[derive(Args, Clone, Debug)]
struct AccessArgs {
    /// Kopia's configuration of the repository; it is not changed
    // The name of the settings file's flag: these commands read no settings.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// File with the repository's password in one line [default: kopia's own, FILE.kopia-password]
    #[arg(long, env = "VOLWARDEN_KOPIA_PASSWORD_FILE", hide_env_values = true, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Host part of our identity volwarden@HOST [default: the host name in the configuration]
    #[arg(long, env = "VOLWARDEN_KOPIA_HOST", hide_env_values = true, value_name = "HOST")]
    host: Option<String>,

    /// The kopia program
    #[arg(long, env = "VOLWARDEN_KOPIA", hide_env_values = true, value_name = "PROGRAM", default_value = "kopia")]
    kopia: PathBuf,

    /// How the answer is written: table, json or yaml
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    output: Format,
}

#[derive(Args, Clone, Debug)]
struct LookingArgs {
    #[command(flatten)]
    access: AccessArgs,

    /// End kopia if one of its answers takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "5m")]
    timeout: Duration,
}

#[derive(Args, Clone, Debug)]
struct MaintainArgs {
    #[command(flatten)]
    access: AccessArgs,

    /// The large cycle, which frees space; else the small one, which keeps the index short
    #[arg(long)]
    full: bool,

    /// End kopia if it takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "6h")]
    timeout: Duration,
}

#[derive(Args, Clone, Debug)]
struct VerifyArgs {
    #[command(flatten)]
    access: AccessArgs,

    /// How many of a hundred files are read whole, drawn at random
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100), default_value_t = 1)]
    percent: u8,

    /// End kopia if it takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "24h")]
    timeout: Duration,
}

#[derive(Args, Clone, Debug)]
struct ExpireArgs {
    #[command(flatten)]
    access: AccessArgs,

    /// A source as `volwarden kopia sources` shows it; may be repeated
    #[arg(long, value_name = "SOURCE", required = true)]
    source: Vec<String>,

    /// Delete, under the terms that a call without this showed; under others nothing is deleted
    #[arg(long, value_name = "TERMS")]
    delete: Option<String>,

    /// Delete so many at most, the oldest of each source first
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,

    /// Of this source it is known and meant that its newest snapshot is small; may be repeated
    #[arg(long, value_name = "SOURCE")]
    accept_shrunk: Vec<String>,

    /// End kopia if one of its answers takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "1h")]
    timeout: Duration,
}

#[derive(Args, Clone, Debug)]
struct PolicyArgs {
    #[command(flatten)]
    access: AccessArgs,

    /// A source as `volwarden kopia sources` shows it; may be repeated
    #[arg(long, value_name = "SOURCE", required = true)]
    source: Vec<String>,

    /// End kopia if one of its answers takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "5m")]
    timeout: Duration,
}

impl AccessArgs {
    fn within(&self, timeout: Duration) -> desk::Access {
        desk::Access {
            config: self.config.clone(),
            password_file: self.password_file.clone(),
            host: self.host.clone(),
            program: self.kopia.clone(),
            timeout,
        }
    }
}

/// Whether it runs in a pod, whose log is all that is left of it.
pub(super) fn is_task(args: &KopiaArgs) -> bool {
    matches!(args.command, KopiaCommand::Task(_))
}

/// Does what the subcommand says, until it is done or a signal asks for the end: then kopia is ended with it.
pub(super) fn kopia(args: &KopiaArgs, runtime: &Runtime) -> Result<Outcome, CliError> {
    let mut stop = app::stop_signal()?;
    if let KopiaCommand::Task(args) = &args.command {
        let report = runtime.block_on(async {
            tokio::select! {
                report = task::run(args) => report,
                _ = stop.wait_for(|stop| *stop) => task::stopped(args),
            }
        });
        return task::tell(args, &report);
    }
    runtime.block_on(async {
        tokio::select! {
            done = command(args) => done,
            _ = stop.wait_for(|stop| *stop) => {
                Err(CliError::Usage("told to stop: kopia was ended; what it had done by then cannot be told".to_owned()))
            }
        }
    })
}

async fn command(args: &KopiaArgs) -> Result<Outcome, CliError> {
    let terminal = Terminal::new(true);
    match &args.command {
        KopiaCommand::Status(args) => {
            terminal.progress("asking kopia ...");
            let standing = desk::status(&args.access.within(args.timeout)).await;
            terminal.progress("");
            status::show(&standing?, args.access.output)
        }
        KopiaCommand::Sources(args) => {
            terminal.progress("asking kopia ...");
            let listed = desk::sources(&args.access.within(args.timeout)).await;
            terminal.progress("");
            status::show_sources(&listed?, args.access.output)
        }
        KopiaCommand::Maintain(args) => {
            let round = if args.full { Round::Full } else { Round::Quick };
            let follow = Follow::new(terminal, format!("{} maintenance", round.as_str()));
            let hear = |_: &str, line: Option<&str>| follow.hear(line);
            let verdict = desk::maintain(&args.access.within(args.timeout), round, &hear).await;
            terminal.progress("");
            done::maintained(round, &verdict?, args.access.output)
        }
        KopiaCommand::Verify(args) => {
            let follow = Follow::new(terminal, "verification".to_owned());
            let hear = |_: &str, line: Option<&str>| follow.hear(line);
            let check = desk::verify(&args.access.within(args.timeout), args.percent, &hear).await;
            terminal.progress("");
            done::verified(&check?, args.access.output)
        }
        KopiaCommand::Expire(args) => {
            let clearance = Clearance {
                sources: args.source.clone(),
                most: args.most,
                terms: args.delete.clone(),
                accepted: args.accept_shrunk.clone(),
            };
            terminal.progress("asking kopia ...");
            let expired = desk::expire(&args.access.within(args.timeout), &clearance).await;
            terminal.progress("");
            expire::expired(&expired?, args.delete.is_some(), args.access.output)
        }
        KopiaCommand::Policy(args) => {
            terminal.progress("asking kopia ...");
            let policies = desk::policies(&args.access.within(args.timeout), &args.source).await;
            terminal.progress("");
            expire::policies(&policies?, args.access.output)
        }
        KopiaCommand::Task(args) => task::tell(args, &task::run(args).await),
    }
}
