//! The swarm: seeds must be clean, every invariant must be able to notice, and a seed is always the same run.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "how many seeds are run is set from outside")]

use std::collections::BTreeMap;
use std::ops::Range;

use volwarden::domain::remedy::Step;
use volwarden::sim::daemon::Broken;
use volwarden::sim::swarm::rehearsal::{Rehearsal, rehearse};
use volwarden::sim::swarm::script::{Fault, Kind, Scenario};
use volwarden::sim::swarm::{Campaign, Invariant, Summary};

/// Seeds that have to be clean in every run of the tests; `VOLWARDEN_SWARM_SEEDS` asks for more.
const SEEDS: u64 = 1000;
/// A daemon that is wrong has to be caught within so many.
const CAUGHT_WITHIN: u64 = 200;

fn run(seeds: Range<u64>, scenario: &str, broken: Option<Broken>) -> Summary {
    let scenario = Scenario::named(scenario).expect("a scenario of this name");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    Campaign { seeds, scenario, jobs, broken }.run(|_| {})
}

fn is_clean(summary: &Summary) {
    assert!(summary.failures.is_empty(), "{}", serde_json::to_string_pretty(&summary.failures).unwrap());
}

#[test]
fn every_seed_is_clean() {
    let seeds = std::env::var("VOLWARDEN_SWARM_SEEDS").ok().map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    let summary = run(0..seeds, "everything", None);
    println!("{} steps, {}", summary.steps, summary.timing.words());
    is_clean(&summary);
    let (faults, findings, steps) = (summary.faults.len(), summary.findings.len(), summary.steps);
    // A run that meets nothing proves nothing.
    assert!(faults > 40 && findings > 20 && steps > 0, "{faults} {findings}");
}

#[test]
fn what_is_left_in_peace_is_named_by_nobody() {
    let summary = run(0..40, "nothing", None);
    is_clean(&summary);
    assert!(summary.findings.is_empty() && summary.steps > 0, "{:?}", summary.findings);
}

#[test]
fn a_daemon_that_is_wrong_is_caught() {
    let mut missed = Vec::new();
    for broken in Broken::ALL {
        let caught = (0..CAUGHT_WITHIN).step_by(10).find_map(|from| {
            let summary = run(from..from + 10, "everything", Some(broken));
            summary.failures.first().map(|failure| (failure.seed, failure.violations.first().map(|one| one.invariant)))
        });
        println!("{broken:?}: {caught:?}");
        missed.extend(caught.is_none().then_some(broken));
    }
    assert!(missed.is_empty(), "not caught within {CAUGHT_WITHIN} seeds: {missed:?}");
}

#[test]
fn a_failure_that_is_none_is_noticed() {
    let fault = |kind, at, lasts, aim| {
        let seconds = std::time::Duration::from_secs;
        Fault { kind, at: seconds(at), lasts: seconds(lasts), aim }
    };
    // An orphaned content whose deletion takes minutes, and VolumeSnapshotContents that cannot be read meanwhile.
    let script = [
        fault(Kind::LiveSnapshotStripped, 2200, 0, 0),
        fault(Kind::DriverSlow, 2210, 300, 40),
        fault(Kind::SourceErring, 2330, 1700, 2),
    ];
    let unjust = |broken| {
        let violations = (0..12).flat_map(|seed| volwarden::sim::swarm::run(seed, &script, broken).violations);
        violations.filter(|violation| violation.invariant == Invariant::Just).count()
    };
    assert_eq!(unjust(None), 0);
    assert!(unjust(Some(Broken::FailuresUntold)) > 0);
}

/// Worlds in which a plan is compared with what is then done.
const REHEARSED: u64 = 500;

#[test]
fn on_a_frozen_world_a_daemon_does_exactly_what_the_plan_says() {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let share = |job| (0..REHEARSED).skip(job).step_by(jobs).filter_map(|seed| Some((seed, rehearse(seed)?)));
    let rehearsed: Vec<(u64, Rehearsal)> = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..jobs).map(|job| scope.spawn(move || share(job).collect::<Vec<_>>())).collect();
        jobs.into_iter().flat_map(|job| job.join().unwrap()).collect()
    });
    let mut steps = BTreeMap::<Step, u32>::new();
    for (_, one) in &rehearsed {
        one.planned.iter().for_each(|(step, _)| *steps.entry(*step).or_default() += 1);
    }
    let planned = rehearsed.iter().filter(|(_, one)| !one.planned.is_empty()).count();
    let held: usize = rehearsed.iter().map(|(_, one)| one.held).sum();
    println!("{} worlds, {planned} with something to do now, {held} steps held, {steps:?}", rehearsed.len());
    let differ: Vec<_> = rehearsed.iter().filter(|(_, one)| one.planned != one.done).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    // Worlds in which nothing is to be done agree by themselves.
    assert!(planned >= 100 && steps.len() >= 5 && held > 0, "{planned} {steps:?} {held}");
}

#[test]
fn the_same_seeds_are_the_same_run_on_any_number_of_threads() {
    let told = |jobs| {
        let scenario = Scenario::named("everything").unwrap();
        let summary = Campaign { seeds: 10..22, scenario, jobs, broken: None }.run(|_| {});
        let mut told = serde_json::to_value(&summary).unwrap();
        told.as_object_mut().unwrap().remove("timing");
        told
    };
    assert_eq!(told(1), told(3));
}
