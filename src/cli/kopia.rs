//! `volwarden kopia`: a kopia repository, by the configuration that reaches it or by its KopiaRepository in a cluster.
//!
//! By `--config` kopia is asked here and no cluster is: for a terminal, and for a timer on a NAS. By name it is the
//! other way round: what the daemon saw is told, and what is to be done is asked of the daemon ([`named`]).
//!
//! Exit codes: 0 it happened, 1 it did not and the class says why, 2 it cannot be told. A timer that takes "kopia ended
//! with 0" for "maintenance was done" finds out when the disk is full.

mod done;
mod expire;
mod follow;
mod named;
mod signs;
mod status;
mod task;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

use self::follow::Follow;
use super::approve::DryRun;
use super::output::Terminal;
use super::{CliError, Format, Outcome};
use crate::app::kopia::Clearance;
use crate::app::{self, kopia as desk};
use crate::config::Settings;
use crate::domain::kopia::{Round, Standing};
use crate::domain::repository::Task;

/// Shown beneath the long help.
const EXAMPLES: &str = "\
NAME is a KopiaRepository of a cluster: its status says what the daemon saw, and maintain, verify and expire ask the daemon
for a run (volwarden.dev/requestedAt), whose end --wait waits for. What it does is in its spec; no kopia is asked here.

FILE is what `kopia repository connect --config-file=FILE` wrote. It is only read: kopia is given a private copy, under the
identity volwarden@HOST. The password comes from --password-file, else from FILE.kopia-password, where kopia keeps it.

Maintenance has one owner. Make us that once: kopia maintenance set --owner=volwarden@HOST

Exit codes: 0 it happened, or was asked for; 1 it did not, with the class of the failure and what to do; 2 it cannot be told.
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
    /// Say what a repository's folder shows without its password: when maintenance began last, and blobs that are empty
    Signs(signs::SignsArgs),
    /// What the pod of a KopiaRepository's Job runs; its report goes into the termination message
    #[command(hide = true)]
    Task(Box<task::TaskArgs>),
}

/// Which repository is meant: one of the two.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// A KopiaRepository of a cluster
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Kopia's configuration of the repository; it is not changed
    // The name of the settings file's flag: whoever names a repository so reads no settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What each of them takes.
#[derive(Args, Clone, Debug)]
struct AccessArgs {
    #[command(flatten)]
    which: Which,

    /// Namespace of NAME [default: that of the kubeconfig's context]
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "config")]
    namespace: Option<String>,

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

/// What asking the daemon takes.
#[derive(Args, Clone, Debug)]
struct AskArgs {
    /// With NAME: wait until it is done, at most for --timeout, and say what came of it
    #[arg(long, conflicts_with = "config")]
    wait: bool,

    #[command(flatten)]
    dry: DryRun,
}

#[derive(Args, Clone, Debug)]
struct MaintainArgs {
    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    ask: AskArgs,

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

    #[command(flatten)]
    ask: AskArgs,

    /// How many of a hundred files are read whole, drawn at random [default: 1; with NAME spec.schedules.verifyPercent, and
    /// 100 is what else may be asked for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: Option<u8>,

    /// End kopia if it takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "24h")]
    timeout: Duration,
}

#[derive(Args, Clone, Debug)]
struct ExpireArgs {
    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    ask: AskArgs,

    /// A source as `volwarden kopia sources` shows it; may be repeated. With NAME spec.expire says which
    #[arg(long, value_name = "SOURCE", required_unless_present = "name", conflicts_with = "name")]
    source: Vec<String>,

    /// Delete, under the terms that a call without this showed; under others nothing is deleted. With NAME
    /// spec.expire.mode says whether
    #[arg(long, value_name = "TERMS", conflicts_with = "name")]
    delete: Option<String>,

    /// Delete so many at most, the oldest of each source first
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "name")]
    most: usize,

    /// Of this source it is known and meant that its newest snapshot is small; may be repeated
    #[arg(long, value_name = "SOURCE", conflicts_with = "name")]
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
    #[arg(long, value_name = "SOURCE", required_unless_present = "name", conflicts_with = "name")]
    source: Vec<String>,

    /// End kopia if one of its answers takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "5m")]
    timeout: Duration,
}

impl AccessArgs {
    fn within(&self, timeout: Duration) -> desk::Access {
        desk::Access {
            // Without it there is a name, and kopia is not asked.
            config: self.which.config.clone().unwrap_or_default(),
            password_file: self.password_file.clone(),
            host: self.host.clone(),
            program: self.kopia.clone(),
            timeout,
        }
    }
}

impl KopiaCommand {
    fn access(&self) -> Option<&AccessArgs> {
        match self {
            Self::Status(args) | Self::Sources(args) => Some(&args.access),
            Self::Maintain(args) => Some(&args.access),
            Self::Verify(args) => Some(&args.access),
            Self::Expire(args) => Some(&args.access),
            Self::Policy(args) => Some(&args.access),
            Self::Signs(_) | Self::Task(_) => None,
        }
    }
}

/// A repository at one look, as `status` shows it.
pub(super) fn shown(standing: &Standing) -> String {
    status::text(standing)
}

/// Whether it asks a cluster.
pub(super) fn is_named(args: &KopiaArgs) -> bool {
    args.command.access().is_some_and(|access| access.which.name.is_some())
}

/// Does what the subcommand says with a KopiaRepository of a cluster.
pub(super) async fn named(args: &KopiaArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let order = match &args.command {
        KopiaCommand::Status(_) => named::Order::Status,
        KopiaCommand::Sources(_) => named::Order::Sources,
        KopiaCommand::Policy(_) => named::Order::Policy,
        KopiaCommand::Maintain(args) => {
            let task = if args.full { Task::Full } else { Task::Quick };
            named::Order::ask(task, &args.ask, args.timeout)
        }
        KopiaCommand::Verify(args) => {
            let task = match args.percent {
                None => Task::Verify,
                Some(100) => Task::VerifyWhole,
                Some(_) => {
                    let said = "a KopiaRepository is verified by its spec.schedules.verifyPercent: leave --percent away, or \
                                write --percent 100 for every file";
                    return Err(CliError::Usage(said.to_owned()));
                }
            };
            named::Order::ask(task, &args.ask, args.timeout)
        }
        KopiaCommand::Expire(args) => named::Order::ask(Task::Expire, &args.ask, args.timeout),
        KopiaCommand::Signs(_) | KopiaCommand::Task(_) => {
            return Err(CliError::Usage("this has no name".to_owned()));
        }
    };
    let Some(access) = args.command.access() else { return Ok(Outcome::Unknown) };
    let name = access.which.name.as_deref().unwrap_or_default();
    named::run(settings, (access.namespace.as_deref(), name), &order, access.output).await
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
            let check = desk::verify(&args.access.within(args.timeout), args.percent.unwrap_or(1), &hear).await;
            terminal.progress("");
            done::verified(&check?, args.access.output)
        }
        KopiaCommand::Expire(args) => {
            let clearance = Clearance {
                sources: args.source.clone(),
                most: args.most,
                terms: args.delete.clone(),
                accepted: args.accept_shrunk.clone(),
                cluster: None,
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
        KopiaCommand::Signs(args) => signs::signs(args).await,
        KopiaCommand::Task(args) => task::tell(args, &task::run(args).await),
    }
}
