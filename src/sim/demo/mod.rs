//! The demo's cluster: it stands behind the HTTP front, incidents unfold on it, and it keeps the record of them.
//!
//! What is told as found comes in from outside, from the daemon that watches over HTTP like any other client.
//! Nothing here can put a word in its mouth; an incident that it does not name ends as not found.

mod director;
mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

pub use record::{Event, Outcome, Pool, Summary};

use super::http::{Host, LogLine};
use super::incidents::{Incident, Stage};
use super::process::Place;
use super::store::{Refusal, Store, object, table};
use crate::domain::fact::Now;
use crate::domain::finding::{Class, Finding, Subject};
use director::Director;

/// When the story begins, in the cluster's time: shortly before the hourly backups.
const BEGINS: i64 = 1_795_600_560;
/// How long the log of changes reaches back: no watcher is slower.
const LOG: Duration = Duration::from_secs(20 * 60);

/// A finding is one as long as this stays the same.
type Identity = (Subject, Class);

/// A cluster, its incidents, and what was found of them.
pub struct Demo {
    stage: Stage,
    director: Director,
    /// What the daemon says now.
    standing: BTreeMap<Identity, Finding>,
    events: Vec<Event>,
    totals: BTreeMap<Class, u32>,
    /// The ledger's entries, by name: the phase that was told last.
    told: BTreeMap<String, String>,
    began: Duration,
    compacted: (Duration, u64),
}

impl Demo {
    /// A cluster that has run for a while and on which these will happen, in this order.
    ///
    /// # Errors
    /// The API refuses an object, which a fresh cluster does not.
    pub fn new(seed: u64, incidents: &[&'static Incident]) -> Result<Self, Refusal> {
        let mut stage = Stage::new(seed, Timestamp::from_second(BEGINS).unwrap_or_default())?;
        stage.permit()?;
        let began = stage.cluster.now().mono;
        Ok(Self {
            compacted: (began, stage.cluster.store.version()),
            stage,
            director: Director::new(incidents),
            standing: BTreeMap::new(),
            events: Vec::new(),
            totals: BTreeMap::new(),
            told: BTreeMap::new(),
            began,
        })
    }

    /// The cluster's present.
    #[must_use]
    pub fn time(&self) -> Now {
        self.stage.cluster.now()
    }

    /// How long the story has gone on, in the cluster's time.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.time().mono.saturating_sub(self.began)
    }

    /// Lets the cluster's time pass. Nothing new breaks that could not be told in what is left.
    pub fn pass(&mut self, time: Duration, left: Duration) {
        self.stage.cluster.run_for(time);
        self.director.act(&mut self.stage, &self.standing, left, &mut self.events);
        let (at, version) = self.compacted;
        if self.time().mono >= at + LOG {
            self.stage.cluster.store.compact(version);
            self.compacted = (self.time().mono, self.stage.cluster.store.version());
        }
    }

    /// Takes in everything that the daemon says now.
    pub fn hear(&mut self, findings: Vec<Finding>) {
        let at = self.time();
        let identity = |finding: &Finding| (finding.subject.clone(), finding.class);
        // In the daemon's order: a cause comes before what hangs on it.
        for finding in &findings {
            if !self.standing.contains_key(&identity(finding)) {
                *self.totals.entry(finding.class).or_default() += 1;
                let told = self.director.found(finding, at.mono);
                self.events.push(Event::found(at.wall, finding, told));
            }
        }
        let said: BTreeMap<Identity, Finding> =
            findings.into_iter().map(|finding| (identity(&finding), finding)).collect();
        for (identity, finding) in &self.standing {
            if !said.contains_key(identity) {
                self.events.push(Event::cleared(at.wall, finding));
            }
        }
        self.standing = said;
        self.read_ledger(at.wall);
    }

    /// What the daemon wrote into its ledger since the last time.
    fn read_ledger(&mut self, at: Timestamp) {
        for entry in self.stage.cluster.store.list(table::REMEDIATIONS, None) {
            let (name, phase) = (object::name(entry), object::text(entry, "/status/phase"));
            if phase.is_empty() || self.told.get(name).is_some_and(|told| told == phase) {
                continue;
            }
            self.told.insert(name.to_owned(), phase.to_owned());
            self.events.push(Event::repair(at, entry));
        }
    }

    /// Everything is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.director.is_over()
    }

    /// What happened since the last time.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What there is to say at the end.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            at: self.time().wall,
            virtual_seconds: self.elapsed().as_secs(),
            incidents: self.director.outcomes(),
            findings: self.totals.clone(),
            standing: self.standing.len(),
            pool: Pool::look(&self.stage),
        }
    }
}

impl Host for Demo {
    fn store(&mut self) -> &mut Store {
        &mut self.stage.cluster.store
    }

    fn now(&self) -> Timestamp {
        self.time().wall
    }

    fn log(&self, namespace: &str, pod: &str, container: &str) -> Vec<LogLine> {
        let [namespace, pod, container] = [namespace, pod, container].map(str::to_owned);
        let process = self.stage.cluster.process_in(&Place { namespace, pod, container });
        let Some(log) = process.and_then(|process| self.stage.cluster.log(process)) else { return Vec::new() };
        let lines = (log.rotated()..).zip(log.lines());
        lines.map(|(number, (at, text))| LogLine { number, at, text: text.to_owned() }).collect()
    }
}
