//! Who is on: begins incidents, waits for what is to be found, has it mended, and notes how it went.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Identity;
use super::record::{Deed, Event, Outcome};
use crate::domain::fact::Now;
use crate::domain::finding::Finding;
use crate::sim::incidents::{Incident, Notes, Stage, Step};

/// How long what was found is left standing, so that it can be looked at.
const SHOWN: Duration = Duration::from_secs(60);
/// How long the daemon has to see that all is well again.
const MENDING: Duration = Duration::from_secs(10 * 60);
/// How long Volwarden has to heal what it can, before people do.
const HEALING: Duration = Duration::from_secs(20 * 60);
/// Between the end of one incident and the beginning of the next.
const REST: Duration = Duration::from_secs(20);

/// What the daemon says now.
type Standing = BTreeMap<Identity, Finding>;

/// Runs the incidents.
pub(super) struct Director {
    coming: VecDeque<&'static Incident>,
    running: Vec<Running>,
    over: Vec<Outcome>,
    not_before: Duration,
}

impl Director {
    pub(super) fn new(incidents: &[&'static Incident]) -> Self {
        let coming = incidents.iter().copied().collect();
        Self { coming, running: Vec::new(), over: Vec::new(), not_before: Duration::ZERO }
    }

    /// Does what can be done now. Nothing begins that could not be told in the time that is left.
    pub(super) fn act(&mut self, stage: &mut Stage, standing: &Standing, left: Duration, events: &mut Vec<Event>) {
        let now = stage.cluster.now().mono;
        self.begin(now, standing, left);
        for one in &mut self.running {
            one.go_on(stage, events);
        }
        let mut still = Vec::new();
        for one in std::mem::take(&mut self.running) {
            match one.ended(standing, now) {
                None => still.push(one),
                Some(outcome) => {
                    self.not_before = now + REST;
                    self.over.push(outcome);
                }
            }
        }
        self.running = still;
    }

    fn begin(&mut self, now: Duration, standing: &Standing, left: Duration) {
        while let Some(incident) = self.coming.front().copied() {
            if incident.patience > left {
                self.over.push(Outcome::of(incident));
                self.coming.pop_front();
                continue;
            }
            let alone = incident.alone || self.running.iter().any(|one| one.incident.alone);
            if now < self.not_before || (alone && !self.running.is_empty()) {
                return;
            }
            self.coming.pop_front();
            self.not_before = now + REST;
            self.running.push(Running::new(incident, now, standing));
        }
    }

    /// Takes in a finding: which incident it belongs to, and how long that one had stood.
    pub(super) fn found(&mut self, finding: &Finding, now: Duration) -> Option<(&'static str, Duration)> {
        let one = self.running.iter_mut().find(|one| one.concerns(finding))?;
        let after = now.saturating_sub(one.broke.unwrap_or(one.began));
        one.found.insert((finding.subject.clone(), finding.class));
        one.outcome.found.entry(finding.class).or_insert(after.as_secs());
        Some((one.incident.name, after))
    }

    pub(super) fn is_over(&self) -> bool {
        self.coming.is_empty() && self.running.is_empty()
    }

    /// How each one went, those that are not over as far as they are.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let running = self.running.iter().map(|one| one.outcome.clone());
        self.over.iter().cloned().chain(running).chain(self.coming.iter().map(|one| Outcome::of(one))).collect()
    }
}

/// An incident under way.
struct Running {
    incident: &'static Incident,
    notes: Notes,
    began: Duration,
    /// When something broke: not before what has to be arranged for it was arranged.
    broke: Option<Duration>,
    outcome: Outcome,
    /// The next step of what breaks; then of what mends, which is done since that moment.
    next: usize,
    mended_since: Option<Duration>,
    /// The next step is not taken before this.
    not_before: Duration,
    /// What stood when it began, and what was found of it.
    before: BTreeSet<Identity>,
    found: BTreeSet<Identity>,
}

impl Running {
    fn new(incident: &'static Incident, began: Duration, standing: &Standing) -> Self {
        Self {
            incident,
            notes: Notes::default(),
            began,
            broke: None,
            outcome: Outcome { begun: true, ..Outcome::of(incident) },
            next: 0,
            mended_since: None,
            not_before: began,
            before: standing.keys().cloned().collect(),
            found: BTreeSet::new(),
        }
    }

    fn concerns(&self, finding: &Finding) -> bool {
        let expected = self.incident.expects().any(|class| class == finding.class);
        expected && (finding.class.is_component() || self.notes.concern(&finding.subject.key.name))
    }

    /// Takes the next step, if it can be taken.
    fn go_on(&mut self, stage: &mut Stage, events: &mut Vec<Event>) {
        let now = stage.cluster.now();
        if now.mono < self.not_before {
            return;
        }
        if let Some(since) = self.mended_since {
            if self.incident.heals && now.mono < since + HEALING {
                return;
            }
            let step = self.incident.mends.get(self.next);
            let words = step.and_then(|step| step(stage, &mut self.notes));
            return self.done(Deed::Mended, now, words, events);
        }
        match self.incident.breaks.get(self.next) {
            Some(_) if now.mono >= self.began + self.incident.patience => self.mend(now.mono),
            None => self.mend(now.mono),
            Some(Step::Do(step)) => {
                let words = step(stage, &mut self.notes);
                self.done(Deed::Broke, now, words, events);
            }
            Some(Step::Found(class)) => {
                if self.outcome.found.contains_key(class) {
                    self.next += 1;
                    self.not_before = now.mono + SHOWN;
                }
            }
        }
    }

    fn done(&mut self, deed: Deed, now: Now, words: Option<String>, events: &mut Vec<Event>) {
        if let Some(words) = words {
            self.next += 1;
            self.broke.get_or_insert(now.mono);
            events.push(Event::deed(deed, now.wall, self.incident.name, words));
        }
    }

    fn mend(&mut self, now: Duration) {
        self.next = 0;
        self.mended_since = Some(now);
    }

    /// How it went, once it is over.
    fn ended(&self, standing: &Standing, now: Duration) -> Option<Outcome> {
        let since = self.mended_since?;
        let mends = self.incident.mends.len();
        if mends == 0 {
            return Some(self.outcome.clone());
        }
        // What its findings were about is gone, and no hand of the script's was in it.
        let healed = self.incident.heals && self.next == 0 && self.is_clear(standing);
        let cleared = healed || (self.next == mends && self.is_clear(standing));
        let patience = if self.incident.heals { HEALING + MENDING } else { MENDING };
        let over = cleared || now >= since + patience;
        let healed = self.incident.heals.then_some(healed);
        over.then(|| Outcome { cleared: Some(cleared), healed, ..self.outcome.clone() })
    }

    /// Nothing of it stands any more. Who was alone answers for everything that came up meanwhile.
    fn is_clear(&self, standing: &Standing) -> bool {
        let came_up = |identity: &Identity| !self.before.contains(identity);
        let ours =
            |identity: &Identity| if self.incident.alone { came_up(identity) } else { self.found.contains(identity) };
        !standing.keys().any(ours)
    }
}
