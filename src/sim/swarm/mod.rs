//! The swarm: the real engine against the embedded cluster, under a fault script drawn from each seed.
//!
//! ```text
//! script ──> inject ──> cluster, weather        invariants <── truth <── cluster
//!                             │                      ^
//!                             └──> daemons ──────────┘ what they say
//! ```
//!
//! One seed is one run: calm, faults, quiet. It exists to find the failure nobody thought of, and to hand it
//! over as a seed and the few faults that are needed for it.

mod audit;
mod campaign;
mod governance;
mod home;
mod inject;
mod invariants;
mod moment;
mod people;
mod pruned;
pub mod rehearsal;
mod rules;
pub mod script;
mod shrink;
mod tenants;
mod truth;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::finding::{Class, Subject};
use crate::domain::remedy::ladder;
use crate::sim::daemon::journal::What;
use crate::sim::daemon::{Broken, Daemon, Sent, Word};
use crate::sim::store::{Refusal, table};
use audit::{Audit, Scene};
use governance::Approver;
use home::Home;
use inject::Injector;
use invariants::{EVERY, Judge};
use script::{Fault, OVER};
use tenants::Tenants;

pub use campaign::{Campaign, Failure, Summary};
pub use invariants::{Invariant, Violation};
pub use shrink::shortest;

/// After the faults nothing more goes wrong for so long.
const QUIET: Duration = Duration::from_secs(45 * 60);
/// By then everything has settled: from here on no finding may come and go.
const SETTLED: Duration = Duration::from_secs(28 * 60);
/// The same on the cluster's clock.
const SETTLED_AT: Duration = OVER.saturating_add(SETTLED);
/// The daemon starts once the cluster stands.
const DAEMON_STARTS: Duration = Duration::from_secs(300);
/// What stands is judged again this often.
const REVIEW: Duration = Duration::from_secs(60);
/// etcd forgets what is older than this.
const COMPACTION: Duration = Duration::from_secs(300);

/// What became of one run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Facts taken in by all daemons, and steps of the cluster.
    pub steps: u64,
    /// Findings that appeared, by class.
    pub findings: BTreeMap<Class, u64>,
    /// Steps of repair that were taken, by name.
    pub repairs: BTreeMap<&'static str, u64>,
    /// What did not hold.
    pub violations: Vec<Violation>,
}

/// Runs one seed; a panic is a violation like others.
#[must_use]
pub fn run(seed: u64, script: &[Fault], broken: Option<Broken>) -> Outcome {
    let whole = || match Run::new(seed, script, broken) {
        Ok(run) => run.finish(),
        Err(refusal) => {
            let words = format!("the cluster cannot be built: {refusal}");
            Outcome {
                violations: vec![Violation::new(Invariant::NoPanic, Duration::ZERO, words)],
                ..Outcome::default()
            }
        }
    };
    catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        let violation = Violation::new(Invariant::NoPanic, Duration::ZERO, words);
        Outcome { violations: vec![violation], ..Outcome::default() }
    })
}

/// One run under way.
struct Run {
    home: Home,
    tenants: Tenants,
    approver: Approver,
    injector: Injector,
    daemons: Vec<Daemon>,
    judge: Judge,
    audit: Audit,
    peaceful: bool,
    seed: u64,
    broken: Option<Broken>,
    /// The store's version up to which changes were shown to the daemons.
    shown: u64,
    next_look: Duration,
    next_review: Duration,
    next_compaction: Duration,
    old_version: u64,
    steps: u64,
    findings: BTreeMap<Class, u64>,
    /// What the first daemon found since everything has settled.
    late: BTreeMap<(Class, Subject), u32>,
}

impl Run {
    fn new(seed: u64, script: &[Fault], broken: Option<Broken>) -> Result<Self, Refusal> {
        let mut home = Home::new(seed)?;
        // Without faults nothing but the lease may be written, and pruning is writing.
        if !script.is_empty() {
            let governance = Arc::clone(&home.governance);
            governance.retain(&mut home);
        }
        Ok(Self {
            tenants: Tenants::new(seed, home.parts.apps.len()),
            approver: Approver::new(&home.governance),
            injector: Injector::new(script),
            daemons: Vec::new(),
            judge: Judge::default(),
            audit: Audit::default(),
            peaceful: script.is_empty(),
            seed,
            broken,
            // What the cluster was built of counts too.
            shown: 0,
            next_look: Duration::ZERO,
            next_review: Duration::ZERO,
            next_compaction: COMPACTION,
            old_version: 0,
            steps: 0,
            findings: BTreeMap::new(),
            late: BTreeMap::new(),
            home,
        })
    }

    fn finish(mut self) -> Outcome {
        self.advance(DAEMON_STARTS);
        self.start();
        // A second one in every fourth run.
        if self.seed.is_multiple_of(4) {
            self.start();
        }
        self.advance(OVER);
        self.start();
        self.advance(OVER + QUIET);
        self.judge_the_end();
        let facts: u64 = self.daemons.iter().map(Daemon::steps).sum();
        let mut violations = self.judge.violations;
        violations.extend(self.audit.violations);
        violations.sort_by_key(|violation| violation.at);
        Outcome { steps: self.steps + facts, findings: self.findings, repairs: self.audit.repairs, violations }
    }

    fn start(&mut self) {
        let seed = self.seed.wrapping_mul(31).wrapping_add(self.daemons.len() as u64);
        self.daemons.push(Daemon::start(seed, &self.home.cluster, self.broken));
    }

    /// Lets time pass up to this moment.
    fn advance(&mut self, end: Duration) {
        loop {
            let due = self.daemons.iter().map(Daemon::due).min().unwrap_or(Duration::MAX);
            let ours = [
                due,
                self.injector.next_at(),
                self.tenants.next_at(),
                self.approver.next_at(),
                self.next_look,
                self.next_review,
                self.next_compaction,
            ];
            let next = ours.into_iter().min().unwrap_or(end).min(end);
            self.step_cluster(next);
            self.show();
            let now = self.home.cluster.now().mono;
            if now < next {
                continue;
            }
            if self.injector.next_at() <= now {
                // A watch that dies now shows this moment until it is found dead.
                self.judge.look(&self.home.cluster);
                self.injector.act(&mut self.home, &mut self.daemons);
            }
            if self.tenants.next_at() <= now {
                self.tenants.act(&mut self.home);
            }
            if self.approver.next_at() <= now {
                self.approver.act(&mut self.home);
            }
            self.show();
            self.advance_daemons(now);
            self.show();
            self.listen();
            self.look(now);
            if now >= end {
                return;
            }
        }
    }

    /// Lets the daemons do what is due, and judges what they write.
    fn advance_daemons(&mut self, now: Duration) {
        for daemon in self.daemons.iter_mut().filter(|daemon| daemon.due() <= now) {
            daemon.advance(&mut self.home.cluster);
            for entry in daemon.take_written() {
                if matches!(entry.what, What::Act { .. } | What::Prune(_)) {
                    // What a write leaves may pass in a moment, and be spoken of.
                    self.judge.look(&self.home.cluster);
                }
                let scene = Scene { entry: &entry, daemon, home: &self.home, moments: &self.judge.moments };
                self.audit.wrote(&scene);
                if self.peaceful && !matches!(entry.what, What::Lease) {
                    let words = format!("{} wrote {} {}", entry.by, entry.resource.kind, entry.name);
                    self.judge.violations.push(Violation::new(Invariant::Peaceful, now, words));
                }
            }
        }
    }

    /// Lets the cluster work up to this moment, or until it has written something.
    fn step_cluster(&mut self, next: Duration) {
        let cluster = &mut self.home.cluster;
        while cluster.next_at().is_some_and(|at| at <= next) {
            cluster.step();
            self.steps += 1;
            if cluster.store.version() != self.shown {
                return;
            }
        }
        cluster.run_until(next);
    }

    /// Shows the daemons what was written.
    fn show(&mut self) {
        let cluster = &self.home.cluster;
        if cluster.store.version() == self.shown {
            return;
        }
        let at = cluster.now().mono;
        let Ok(changes) = cluster.store.changes_since(self.shown) else { return };
        let sent: Vec<Sent<'_>> = changes.iter().map(Sent::new).collect();
        for daemon in &mut self.daemons {
            daemon.hear(&sent, at);
        }
        // A clock that is ahead makes findings of what passes in a moment: none of these may be missed.
        let ahead = self.daemons.iter().any(|daemon| daemon.weather.skew.is_positive());
        for change in changes {
            self.audit.changed(change, at);
            if ahead && [table::SNAPSHOTS, table::CONTENTS].contains(&change.resource) {
                self.judge.look(cluster);
            }
        }
        self.shown = cluster.store.version();
    }

    /// Judges what the daemons have said.
    fn listen(&mut self) {
        let cluster = &self.home.cluster;
        for (number, daemon) in self.daemons.iter_mut().enumerate() {
            for said in daemon.take_said() {
                let Word::Found(finding) = said.what else { continue };
                *self.findings.entry(finding.class).or_default() += 1;
                self.judge.look(cluster);
                self.judge.is_true(daemon, &finding, cluster);
                self.judge.is_of_age(daemon, &finding, cluster);
                if self.peaceful {
                    let words = format!("{} {}: {}", finding.class, finding.subject, finding.summary);
                    self.judge.violations.push(Violation::new(Invariant::Peaceful, said.at, words));
                }
                self.audit.may_be_busy(ladder(finding.class), said.at);
                if number == 0 && said.at >= SETTLED_AT {
                    *self.late.entry((finding.class, finding.subject.clone())).or_default() += 1;
                }
            }
        }
    }

    /// What is done every few seconds: the cluster's truth is noted, and what still stands is judged again.
    fn look(&mut self, now: Duration) {
        if now >= self.next_look {
            self.next_look = now + EVERY;
            self.judge.look(&self.home.cluster);
        }
        if now >= self.next_review {
            self.next_review = now + REVIEW;
            for daemon in &self.daemons {
                for finding in daemon.engine().findings() {
                    self.judge.is_true(daemon, finding, &self.home.cluster);
                    self.audit.may_be_busy(ladder(finding.class), now);
                }
            }
            self.audit.is_under_way(now);
        }
        if now >= self.next_compaction {
            self.next_compaction = now + COMPACTION;
            self.home.cluster.store.compact(self.old_version);
            self.old_version = self.shown;
        }
    }

    fn judge_the_end(&mut self) {
        let at = self.home.cluster.now().mono;
        self.judge.look(&self.home.cluster);
        self.judge.is_silent(at, &self.late);
        self.audit.rests(at);
        if let Some(leader) = self.audit.leading(&self.daemons, at) {
            self.audit.all_is_healed(leader, &self.home);
            self.audit.no_loose_ends(leader, &self.home);
        }
        let Some((daemon, others)) = self.daemons.split_first() else { return };
        self.judge.all_is_named(daemon, &self.home.cluster);
        let Some((fresh, others)) = others.split_last() else { return };
        self.judge.agree(Invariant::Converged, at, daemon.engine(), fresh.engine());
        for other in others {
            self.judge.agree(Invariant::Agreed, at, daemon.engine(), other.engine());
        }
    }
}
