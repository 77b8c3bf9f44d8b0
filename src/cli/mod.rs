//! The command line: what can be asked, and how an answer becomes text and an exit code.
//!
//! One file a subcommand. Exit codes are an interface: 0 nothing found, 1 findings, 2 could not tell. A
//! script must never read "could not tell" as "nothing found", so every error path ends in 2.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

use crate::app::consent::{NotReclaimed, Trouble};
use crate::app::kopia::KopiaError;
use crate::app::prune::Unlisted;
use crate::app::{self, AppError};
use crate::config::{ConfigError, Flags, RunFlags, Settings};

mod approve;
mod approve_repository;
mod approve_retention;
mod completions;
mod course;
mod crds;
mod demo;
mod doctor;
mod file;
mod kopia;
mod look;
mod manifest;
mod orphans;
mod output;
mod pause;
mod plan;
mod retention;
mod run;
mod sim;
mod table;
mod why;

use output::Terminal;

/// Shown beneath every long help.
const EXAMPLES: &str = "\
Examples:
  volwarden doctor                        what is stuck in the cluster, why, and what would help
  volwarden doctor -n app -o json         the same for one namespace, for a script
  volwarden why volumesnapshot app/db-1   why one object is as it is, healthy ones too, and what would be done about it
  volwarden plan                          what would be done now, and what is held by which guard until when
  volwarden plan -f policy.yaml           the same under a policy that is not in the cluster: try it in Observe first
  volwarden approve NAME                  approve the plan of a Remediation, after showing what it is
  volwarden approve snapshotretention/NAME   the same for what a SnapshotRetention would prune
  volwarden pause --reason upgrade --for 2h   let nothing be repaired meanwhile; volwarden resume ends it
  volwarden orphans list                  what repairs left behind in the storage backend
  volwarden run                           the daemon; it also listens: --listen, VOLWARDEN_LISTEN
  volwarden retention simulate -f a.json  which snapshots a policy would keep, and why
  volwarden kopia status NAME             a KopiaRepository: what truly ran, what runs, what holds it, who holds a lock
  volwarden kopia status --config FILE    the same of a kopia repository without a cluster
  volwarden demo                          the same without a cluster: one in the process, on which things break
  volwarden crds | kubectl apply -f -     the definitions of its own kinds
  volwarden completions bash > /etc/bash_completion.d/volwarden

Exit codes of doctor and why: 0 nothing found, 1 findings, 2 could not tell; of plan: 0 nothing to do, 1 something is
planned or held, 2 could not tell; of demo: 0 if every incident was found; of kopia: 0 it happened, 1 it did not, 2
could not tell; of the others 0, or 2 with one line of why.
These write to the cluster, in your name: approve, pause, resume, orphans reclaim. run repairs as far as a
RemediationPolicy lets it, and keeps its lease and its ledger. kopia maintain writes to its repository; by NAME, it,
verify and expire write one annotation that asks the daemon.
Everything else only reads.";

/// Says what is stuck in VolumeSnapshots and their CSI drivers, and why, and repairs it under guards
#[derive(Debug, Parser)]
#[command(name = "volwarden", version, after_help = EXAMPLES, max_term_width = 120, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    settings: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at the cluster once: what is stuck, why, and what would help
    Doctor(doctor::DoctorArgs),
    /// Say why one object is as it is, healthy ones too
    Why(why::WhyArgs),
    /// Say what would be done now, and what is held by which guard until when
    Plan(plan::PlanArgs),
    /// Approve the plan of a Remediation, after showing what it is
    Approve(approve::ApproveArgs),
    /// Let nothing be repaired under a policy for a while
    Pause(pause::PauseArgs),
    /// End a pause before its time
    Resume(pause::ResumeArgs),
    /// List what repairs left behind in the storage backend, and let the driver delete it
    Orphans(orphans::OrphansArgs),
    /// Watch the cluster as a daemon: findings as metrics and logs, state over HTTP; repairs where a policy lets it
    #[command(
        after_help = "Each repair that is over is told as a trace to the receiver that OTEL_EXPORTER_OTLP_ENDPOINT names; \
                            without it nothing is. docs/install.md has all of these variables."
    )]
    Run(RunFlags),
    /// Say which snapshots a retention policy keeps, on the cluster or on times from a file
    Retention(retention::RetentionArgs),
    /// Look after a kopia repository, by its KopiaRepository or without a cluster: status, sources, maintain, verify
    Kopia(kopia::KopiaArgs),
    /// See it without a cluster: one in this process, on which things break
    Demo(demo::DemoArgs),
    /// Try the engine against the embedded cluster under seeded faults; exit code 1 is a violation
    Sim(sim::SimArgs),
    /// Print the definitions of Volwarden's own kinds, for kubectl apply -f -
    Crds,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For scripts
    Json,
    /// For scripts
    Yaml,
}

/// What every command that looks once takes.
#[derive(Args, Clone, Debug)]
struct LookArgs {
    /// How the answer is written: table, json or yaml
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    output: Format,

    /// Look for this long after everything has synced, so that what needs two looks is seen twice
    /// [default: one lease duration, at most 30s, and less once a longer look would show nothing new]
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration)]
    observe: Option<Duration>,

    /// Wait at most this long for the first lists; what is missing then is said
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "60s")]
    timeout: Duration,

    /// No colours, even on a terminal (the variable counts when it is not empty)
    #[arg(long, env = "NO_COLOR", hide_env_values = true, value_parser = not_empty)]
    no_color: bool,
}

/// <https://no-color.org>: any value counts but the empty one. `false` is what clap hands in for an absent flag.
#[expect(clippy::unnecessary_wraps, reason = "the signature clap wants of a parser")]
fn not_empty(value: &str) -> Result<bool, String> {
    Ok(!value.is_empty() && value != "false")
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It looked, and there is nothing.
    Clean,
    /// It looked, and there is something.
    Findings,
    /// It could not tell.
    Unknown,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::SUCCESS,
            Outcome::Findings => Self::from(1),
            Outcome::Unknown => Self::from(2),
        }
    }
}

/// Why a command could not answer.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(transparent)]
    Kopia(#[from] KopiaError),
    #[error(transparent)]
    Unlisted(#[from] Unlisted),
    #[error(transparent)]
    NotReclaimed(#[from] NotReclaimed),
    #[error("cannot write the answer: {0}")]
    Write(#[from] std::io::Error),
    #[error("cannot write the answer as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("cannot write the answer as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
    #[error("{0}")]
    Usage(String),
}

/// Reads the command line, does what it says, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => {
            let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A reader that closed the pipe has seen enough.
            let _ = error.print();
            return if wanted { ExitCode::SUCCESS } else { Outcome::Unknown.into() };
        }
    };
    match dispatch(&cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            output::complain(&error);
            // A daemon that was up and lost a part of itself is not a usage error.
            let lost = matches!(error, CliError::App(AppError::Ended { .. }));
            if lost { ExitCode::from(1) } else { Outcome::Unknown.into() }
        }
    }
}

/// Under the name `kubectl-volwarden` we are a plugin of kubectl, and help has to say so.
fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let plugin = args.first().map(Path::new).and_then(Path::file_stem).is_some_and(|name| name == "kubectl-volwarden");
    if plugin {
        let examples = EXAMPLES.replace("  volwarden ", "  kubectl volwarden ").replace("   ", "  ");
        command = command.name("kubectl-volwarden").bin_name("kubectl volwarden").after_help(examples);
    }
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

fn dispatch(cli: &Cli) -> Result<Outcome, CliError> {
    let (run, default_level) = match &cli.command {
        Command::Run(flags) => (flags.clone(), LevelFilter::INFO),
        // What a one-shot command has to say, it says in its answer.
        _ => (RunFlags::default(), LevelFilter::OFF),
    };
    // These ask no cluster: settings that are wrong are none of their business.
    match &cli.command {
        Command::Completions(args) => return completions::print(args),
        Command::Retention(args) if args.is_offline() => return retention::simulate(args),
        Command::Crds => return crds::print(),
        Command::Kopia(args) if !kopia::is_named(args) => {
            if kopia::is_task(args) {
                app::install_logs(&Settings::load(&cli.settings, &run)?, LevelFilter::INFO)?;
            }
            let runtime = app::runtime()?;
            let done = kopia::kopia(args, &runtime);
            runtime.shutdown_background();
            return done;
        }
        _ => {}
    }
    let settings = Settings::load(&cli.settings, &run)?;
    app::install_logs(&settings, default_level)?;
    let runtime = app::runtime()?;
    let result = match &cli.command {
        Command::Doctor(args) => runtime.block_on(doctor::doctor(args, &settings)),
        Command::Why(args) => runtime.block_on(why::why(args, &settings)),
        Command::Plan(args) => runtime.block_on(plan::plan(args, &settings)),
        Command::Approve(args) => runtime.block_on(approve::approve(args, &settings)),
        Command::Pause(args) => runtime.block_on(pause::pause(args, &settings)),
        Command::Resume(args) => runtime.block_on(pause::resume(args, &settings)),
        Command::Orphans(args) => runtime.block_on(orphans::orphans(args, &settings)),
        Command::Run(_) => run::run(&runtime, &settings),
        Command::Demo(args) => demo::demo(args, &runtime),
        Command::Sim(args) => sim::sim(args),
        Command::Retention(args) => runtime.block_on(retention::retention(args, &settings)),
        Command::Kopia(args) => runtime.block_on(kopia::named(args, &settings)),
        Command::Completions(_) | Command::Crds => Ok(Outcome::Clean),
    };
    // A name lookup that hangs in a helper thread must not hold the exit back.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn as_a_plugin_of_kubectl_help_shows_that_name() {
        let args = ["/usr/local/bin/kubectl-volwarden", "--help"].map(OsString::from);
        let help = parse(&args).unwrap_err().to_string();
        assert!(help.contains("Usage: kubectl volwarden [OPTIONS] <COMMAND>"), "{help}");
        assert!(help.contains("kubectl volwarden doctor"), "{help}");
        let args = ["kubectl-volwarden", "why", "--help"].map(OsString::from);
        assert!(parse(&args).unwrap_err().to_string().contains("Usage: kubectl volwarden why"));
    }

    #[test]
    fn no_color_counts_when_it_is_not_empty() {
        assert_eq!((not_empty(""), not_empty("1"), not_empty("0")), (Ok(false), Ok(true), Ok(true)));
        let args = ["volwarden", "doctor", "--no-color"].map(OsString::from);
        let Command::Doctor(doctor) = parse(&args).unwrap().command else { panic!("doctor") };
        assert!(doctor.look.no_color);
    }
}
