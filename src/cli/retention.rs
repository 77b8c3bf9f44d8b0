//! `volwarden retention`: what a policy would keep, on times from a file or on the cluster as it is.
//!
//! A retention policy is found out to be wrong on the day somebody needs the snapshot that it deleted. Here it
//! can be tried beforehand. It deletes nothing; what it cannot read for certain
//! it refuses, because a plan for half of the snapshots looks like a plan.

mod drawing;
mod input;
mod json;
mod plan;

pub(super) use plan::bytes;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::tz::TimeZone;

use super::output::{self, Terminal};
use super::{CliError, Format, Outcome, file, not_empty};
use crate::config::Settings;
use crate::domain::retention::{Calendar, Reasons, Retention, Snapshot};

use input::{Case, Input};
use json::Json;

#[derive(Args, Clone, Debug)]
pub(super) struct RetentionArgs {
    #[command(subcommand)]
    command: RetentionCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum RetentionCommand {
    /// Say which snapshots a policy keeps and why, for times given as JSON; no cluster is asked
    Simulate(SimulateArgs),
    /// Say what would go and what stays on the cluster as it is, and why; nothing is written
    Plan(plan::PlanArgs),
}

/// Shown beneath the long help.
const EXAMPLES: &str = "\
JSON in: {\"policy\": {\"hourly\": 24, \"daily\": 7}, \"snapshots\": [{\"start\": \"2026-01-31T03:00:00Z\"}]}, or an array of
such cases. Counts: latest, hourly, daily, weekly, monthly, annual; without any, everything is kept. A snapshot may have
\"incomplete\": true. The same comes out with -o json, with \"reasons\" for each snapshot; one without a reason goes.

Exit codes: 0, or 2 if the input cannot be used.";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
struct SimulateArgs {
    /// The file with the cases; - is standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    file: PathBuf,

    /// How the answer is written: table, json or yaml
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    output: Format,

    /// Whose reading of weeks, months and cutoffs: kopia, to the letter, or strict, without its surprises
    #[arg(long, value_enum, default_value_t, value_name = "CALENDAR", hide_possible_values = true)]
    calendar: CalendarName,

    /// Where a day begins, such as Europe/Berlin [default: the case's "tz", or UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// No colours, even on a terminal (the variable counts when it is not empty)
    #[arg(long, env = "NO_COLOR", hide_env_values = true, value_parser = not_empty)]
    no_color: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CalendarName {
    #[default]
    Kopia,
    Strict,
}

impl From<CalendarName> for Calendar {
    fn from(name: CalendarName) -> Self {
        match name {
            CalendarName::Kopia => Self::Kopia,
            CalendarName::Strict => Self::Strict,
        }
    }
}

/// A case and what becomes of its snapshots, in the order given.
#[derive(Debug)]
struct Planned {
    case: Case,
    retention: Retention,
    plan: Vec<Reasons>,
}

impl RetentionArgs {
    /// It asks no cluster.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self.command, RetentionCommand::Simulate(_))
    }
}

/// Does what the subcommand says.
pub(super) async fn retention(args: &RetentionArgs, settings: &Settings) -> Result<Outcome, CliError> {
    match &args.command {
        RetentionCommand::Simulate(args) => simulated(args),
        RetentionCommand::Plan(args) => plan::plan(args, settings).await,
    }
}

/// What asks no cluster.
pub(super) fn simulate(args: &RetentionArgs) -> Result<Outcome, CliError> {
    match &args.command {
        RetentionCommand::Simulate(args) => simulated(args),
        RetentionCommand::Plan(_) => Ok(Outcome::Unknown),
    }
}

/// Reads, plans, and writes the answer.
fn simulated(args: &SimulateArgs) -> Result<Outcome, CliError> {
    let zone = args.time_zone.as_deref().map(flag_zone).transpose().map_err(CliError::Usage)?;
    let (name, text) = file::read(&args.file, "JSON").map_err(CliError::Usage)?;
    let input = input::parse(&name, &text).map_err(CliError::Usage)?;
    drop(text);
    let Input { cases, many } = input;
    let planned: Vec<Planned> =
        cases.into_iter().map(|case| decide(case, args.calendar.into(), zone.as_ref())).collect();
    let terminal = Terminal::new(args.no_color);
    if args.output == Format::Table {
        output::answer(&drawing::report(&planned, terminal.width, terminal.colour))?;
        return Ok(Outcome::Clean);
    }
    let mut answers: Vec<Json> = planned.into_iter().map(|planned| planned.case.answer(&planned.plan)).collect();
    let answer = if many { Json::Array(answers) } else { answers.pop().unwrap_or(Json::Null) };
    output::answer_as(args.output, &answer, String::new)?;
    Ok(Outcome::Clean)
}

/// The flag wins over the case's own zone.
fn decide(case: Case, calendar: Calendar, zone: Option<&TimeZone>) -> Planned {
    let zone = zone.or(case.zone.as_ref()).cloned().unwrap_or(TimeZone::UTC);
    let retention = Retention { policy: case.policy, calendar, zone };
    let snapshots: Vec<Snapshot> = case.snapshots.iter().map(|entry| entry.snapshot).collect();
    let plan = retention.plan(&snapshots);
    Planned { case, retention, plan }
}

fn flag_zone(name: &str) -> Result<TimeZone, String> {
    input::zone(name).map_err(|wrong| format!("--time-zone: {wrong}"))
}
