//! `volwarden sim`: the real engine against the embedded cluster, one run a seed.
//!
//! The same seeds give the same answer, byte for byte; only the last line, or the field `timing`, differs.
//! Exit code 1 means that something did not hold.

use std::fmt::Write as _;
use std::ops::Range;

use clap::Args;

use super::output::{self, Terminal};
use super::{CliError, Format, Outcome};
use crate::sim::swarm::script::{SCENARIOS, Scenario};
use crate::sim::swarm::{Campaign, Failure, Summary};

/// Violations of one seed that a person is shown.
const SHOWN: usize = 3;

#[derive(Args, Clone, Debug)]
pub(super) struct SimArgs {
    /// The seeds to run: from the first up to, and without, the second
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..100")]
    seeds: Range<u64>,

    /// Only faults of this theme; see --list-scenarios
    #[arg(long, value_name = "NAME", value_parser = scenario, default_value = "everything")]
    scenario: &'static Scenario,

    /// Print the scenarios and what each is about
    #[arg(long)]
    list_scenarios: bool,

    /// How the answer is written: table, json or yaml
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    output: Format,

    /// Threads [default: one a processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    parsed
        .filter(|seeds: &Range<u64>| !seeds.is_empty())
        .ok_or_else(|| "two numbers are wanted, the second larger than the first, such as 0..2000".to_owned())
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    let names = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    Scenario::named(name).ok_or_else(|| format!("no such scenario; there are {}", names()))
}

/// Runs the seeds, and says what did not hold.
pub(super) fn sim(args: &SimArgs) -> Result<Outcome, CliError> {
    if args.list_scenarios {
        let lines = SCENARIOS.iter().map(|scenario| format!("{:<12}{}\n", scenario.name, scenario.about));
        output::answer(&lines.collect::<String>())?;
        return Ok(Outcome::Clean);
    }
    let terminal = Terminal::new(false);
    let jobs = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let count = args.seeds.end - args.seeds.start;
    let campaign = Campaign { seeds: args.seeds.clone(), scenario: args.scenario, jobs, broken: None };
    let summary = campaign.run(|done| terminal.progress(&format!("{done} of {count} seeds")));
    terminal.progress("");
    output::answer_as(args.output, &summary, || table(&summary))?;
    Ok(if summary.failures.is_empty() { Outcome::Clean } else { Outcome::Findings })
}

fn table(summary: &Summary) -> String {
    let mut out = String::new();
    let (from, to) = summary.seeds;
    let _ = writeln!(out, "seeds {from}..{to}, scenario {}: {} steps", summary.scenario, summary.steps);
    let faults: Vec<(String, u64)> = summary.faults.iter().map(|(kind, times)| (kind.to_string(), *times)).collect();
    counts(&mut out, "FAULTS", &faults);
    let found: Vec<(String, u64)> = summary.findings.iter().map(|(class, times)| (class.to_string(), *times)).collect();
    counts(&mut out, "FINDINGS", &found);
    let taken: Vec<(String, u64)> = summary.repairs.iter().map(|(step, times)| ((*step).to_owned(), *times)).collect();
    counts(&mut out, "REPAIRS", &taken);
    let _ = writeln!(out, "\nVIOLATIONS  {}", summary.failures.len());
    for failure in &summary.failures {
        describe(&mut out, failure);
    }
    let _ = writeln!(out, "\ntook: {}", summary.timing.words());
    out
}

fn counts(out: &mut String, title: &str, rows: &[(String, u64)]) {
    let total: u64 = rows.iter().map(|(_, times)| times).sum();
    let _ = writeln!(out, "\n{title}  {total}");
    for (name, times) in rows {
        let _ = writeln!(out, "  {name:<22}{times:>8}");
    }
}

fn describe(out: &mut String, failure: &Failure) {
    let words = if failure.shortest { "the shortest script that still fails" } else { "the script" };
    let _ = writeln!(out, "  seed {}: {words}:", failure.seed);
    for fault in &failure.script {
        let _ = writeln!(out, "    {fault}");
    }
    for violation in failure.violations.iter().take(SHOWN) {
        let _ = writeln!(out, "    {:?} at {}s: {}", violation.invariant, violation.at, violation.words);
    }
    let more = failure.violations.len().saturating_sub(SHOWN);
    if more > 0 {
        let _ = writeln!(out, "    and {more} more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_two_numbers_in_order() {
        assert_eq!(seeds("3..7"), Ok(3..7));
        for wrong in ["", "3", "7..3", "3..3", "a..b", "-1..2", "1..2..3"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_scenario_is_answered_with_those_there_are() {
        assert_eq!(scenario("driver").unwrap().name, "driver");
        assert!(scenario("weather").unwrap_err().contains("everything"));
    }
}
