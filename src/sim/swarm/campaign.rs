//! Many seeds: spread over threads, put together in the order of the seeds.
//!
//! What it says depends on the seeds alone; only `timing` differs from run to run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::script::{Fault, Kind, Scenario};
use super::{Outcome, Violation, run, shortest};
use crate::domain::finding::Class;
use crate::sim::daemon::Broken;

/// Failing seeds whose scripts are cut down; those that follow keep theirs.
const SHORTENED: usize = 5;

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seeds.
    pub seeds: Range<u64>,
    /// Where scripts are drawn from.
    pub scenario: &'static Scenario,
    /// Threads.
    pub jobs: usize,
    /// How the daemons are broken on purpose.
    pub broken: Option<Broken>,
}

/// A seed that failed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What did not hold, in the order in which it was seen.
    pub violations: Vec<Violation>,
    /// The faults for which the first of these still does not hold.
    pub script: Vec<Fault>,
    /// The script is the shortest that still fails, and not the one that was drawn.
    pub shortest: bool,
}

/// How long it took; the only part that differs between two runs of the same seeds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// Wall time.
    pub seconds: f64,
    /// Rate.
    pub seeds_per_second: f64,
}

/// What became of all seeds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The first seed, and the one after the last.
    pub seeds: (u64, u64),
    /// Where scripts were drawn from.
    pub scenario: &'static str,
    /// Steps of the clusters and facts of the daemons.
    pub steps: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<Kind, u64>,
    /// Findings that appeared, by class.
    pub findings: BTreeMap<Class, u64>,
    /// Steps of repair that were taken, by name.
    pub repairs: BTreeMap<&'static str, u64>,
    /// Seeds that failed.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub timing: Timing,
}

impl Campaign {
    /// Runs all seeds; `progress` hears how many are done.
    #[expect(clippy::disallowed_methods, reason = "how long it took is told to people, and decides nothing")]
    pub fn run(&self, progress: impl Fn(u64) + Sync) -> Summary {
        let started = Instant::now();
        let outcomes = self.outcomes(progress);
        let mut summary = Summary {
            seeds: (self.seeds.start, self.seeds.end),
            scenario: self.scenario.name,
            steps: 0,
            faults: BTreeMap::new(),
            findings: BTreeMap::new(),
            repairs: BTreeMap::new(),
            failures: Vec::new(),
            timing: Timing { seconds: 0.0, seeds_per_second: 0.0 },
        };
        for (seed, outcome) in outcomes {
            let script = self.scenario.script(seed);
            summary.steps += outcome.steps;
            for (class, times) in outcome.findings {
                *summary.findings.entry(class).or_default() += times;
            }
            for (step, times) in outcome.repairs {
                *summary.repairs.entry(step).or_default() += times;
            }
            for fault in &script {
                *summary.faults.entry(fault.kind).or_default() += 1;
            }
            if !outcome.violations.is_empty() {
                let shorten = summary.failures.len() < SHORTENED;
                summary.failures.push(self.failure(seed, script, outcome.violations, shorten));
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let count = self.seeds.end.saturating_sub(self.seeds.start);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        summary.timing = Timing { seconds, seeds_per_second: rate };
        summary
    }

    fn outcomes(&self, progress: impl Fn(u64) + Sync) -> BTreeMap<u64, Outcome> {
        let next = AtomicU64::new(self.seeds.start);
        let done = AtomicU64::new(0);
        let outcomes = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            return;
                        }
                        let outcome = run(seed, &self.scenario.script(seed), self.broken);
                        if let Ok(mut outcomes) = outcomes.lock() {
                            outcomes.insert(seed, outcome);
                        }
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                });
            }
        });
        outcomes.into_inner().unwrap_or_default()
    }

    fn failure(&self, seed: u64, script: Vec<Fault>, violations: Vec<Violation>, shorten: bool) -> Failure {
        let Some(first) = violations.first().map(|violation| violation.invariant).filter(|_| shorten) else {
            return Failure { seed, violations, script, shortest: false };
        };
        let fails = |outcome: &Outcome| outcome.violations.iter().any(|violation| violation.invariant == first);
        let script = shortest(&script, |script| fails(&run(seed, script, self.broken)));
        let violations = run(seed, &script, self.broken).violations;
        Failure { seed, violations, script, shortest: true }
    }
}

impl Timing {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let taken = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        format!("{:.1} seeds/s, {}ms", self.seeds_per_second, taken.as_millis())
    }
}
