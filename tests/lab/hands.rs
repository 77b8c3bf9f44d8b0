//! The hands of the laboratory: they store records, carry actions out, and answer fresh reads - or do not, where
//! a test says so. What the cluster makes of a write is told by a [`Works`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use volwarden::domain::engine::{Effect, Engine, Settings};
use volwarden::domain::fact::{Acted, Change, Fact, Source, SourceChange};
use volwarden::domain::gate::{Gate, Said};
use volwarden::domain::guard::Guarded;
use volwarden::domain::ledger::{Outcome, Phase, Record};
use volwarden::domain::name::{Key, Uid, fingerprint};
use volwarden::domain::plan::Course;
use volwarden::domain::policy::{Mode, Policy, Spec};
use volwarden::domain::record::{ContentSource, ContentStatus, Kind, Left, Namespace};
use volwarden::domain::remedy::Step;
use volwarden::domain::remedy::action::{Orphan, TargetKind};
use volwarden::domain::remedy::fresh::{Look, Looked};

use super::{DRIVER, Lab};

/// What comes of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Works {
    /// It is applied, and the controllers do what they should: the object goes.
    #[default]
    Heals,
    /// It is applied, and nothing follows.
    InVain,
    /// The API server answers with this, and nothing is changed.
    Answers(Answer),
    /// It is applied, and the answer never comes.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Lost,
    Denied,
    Unreachable,
}

/// Whether the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    #[default]
    Lives,
    /// It ends at a write to come.
    Doomed(Death),
    /// It has ended, and the next one has not begun.
    Ended,
}

/// The process ends at the write of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// The first is 1.
    pub at: usize,
    /// It ends before the write is made, and not right after.
    pub before: bool,
}

/// The hands.
pub struct Hands {
    pub works: Works,
    /// Records are stored.
    pub stores: bool,
    /// Orphans are entered into the orphan ledger.
    pub enters: bool,
    /// We hold our own lease.
    pub leads: bool,
    version: u64,
    pub records: BTreeMap<Box<str>, Record>,
    pub acts: Vec<Guarded>,
    pub orphans: Vec<Orphan>,
    pub forgotten: Vec<Box<str>>,
    /// What fresh reads show that the engine's world does not.
    pub looks: BTreeMap<(TargetKind, Key), Looked>,
    /// Time stamps of our nudges, by object.
    pub nudges: BTreeMap<Key, String>,
    /// What each gate's Prometheus answers, again and again.
    pub gates: Vec<(Gate, Said)>,
    /// What was already there when an intent was written: the record as stored at each act.
    pub intents: Vec<Record>,
    /// Writes that were asked for.
    pub writes: usize,
    pub life: Life,
}

impl Default for Hands {
    fn default() -> Self {
        Self {
            works: Works::default(),
            stores: true,
            enters: true,
            leads: false,
            version: 100,
            records: BTreeMap::new(),
            acts: Vec::new(),
            orphans: Vec::new(),
            forgotten: Vec::new(),
            looks: BTreeMap::new(),
            nudges: BTreeMap::new(),
            gates: Vec::new(),
            intents: Vec::new(),
            writes: 0,
            life: Life::default(),
        }
    }
}

/// A policy that enforces on the laboratory's driver, changed.
pub fn enforce(change: impl FnOnce(&mut Spec)) -> Policy {
    let mut spec = Spec { mode: Mode::Enforce, ..Spec::default() };
    spec.scope.drivers.insert(DRIVER.into());
    change(&mut spec);
    Policy::new("main", spec)
}

impl Lab {
    /// A healthy cluster under this policy, led by us.
    pub fn led(policy: Policy) -> Self {
        Self::led_with(policy, Settings::default())
    }

    /// The same, with an engine of these settings.
    pub fn led_with(policy: Policy, settings: Settings) -> Self {
        let mut lab = Self::with(settings);
        lab.feed(Fact::Namespace(Change::Applied(Key::cluster("default"), Namespace::default())));
        lab.policy(policy);
        lab.empty_log();
        lab.hands.leads = true;
        lab.keep_leading();
        lab
    }

    /// A process that starts anew on the same cluster: it knows what the watches tell, and the ledger.
    pub fn restarted(&mut self, identity: &str) {
        let old = std::mem::replace(
            &mut self.engine,
            Engine::new(Settings { identity: identity.into(), ..Settings::default() }),
        );
        self.feed(Fact::Leadership(None));
        let world = old.world();
        let mut facts = Vec::new();
        let sets =
            world.classes.iter().map(|(key, one)| Fact::SnapshotClass(Change::Applied(key.clone(), one.clone())));
        facts.extend(sets);
        facts.extend(world.drivers.iter().map(|(key, one)| Fact::CsiDriver(Change::Applied(key.clone(), one.clone()))));
        facts
            .extend(world.leases.iter().map(|(key, one)| Fact::Lease(Change::Applied(key.clone(), one.lease.clone()))));
        facts.extend(world.pods.iter().map(|(key, one)| Fact::Pod(Change::Applied(key.clone(), one.clone()))));
        facts
            .extend(world.snapshots.iter().map(|(key, one)| Fact::Snapshot(Change::Applied(key.clone(), one.clone()))));
        facts.extend(world.contents.iter().map(|(key, one)| Fact::Content(Change::Applied(key.clone(), one.clone()))));
        facts.extend(
            world.namespaces.iter().map(|(key, one)| Fact::Namespace(Change::Applied(key.clone(), one.clone()))),
        );
        facts.extend(world.policies.iter().map(|(key, one)| Fact::Policy(Change::Applied(key.clone(), one.clone()))));
        facts.extend(world.orphans.iter().map(|(key, one)| Fact::Orphan(Change::Applied(key.clone(), one.clone()))));
        facts.extend(
            self.hands.records.values().map(|record| {
                Fact::Remediation(Change::Applied(Key::cluster(&*record.name), Box::new(record.clone())))
            }),
        );
        for fact in facts {
            self.feed(fact);
        }
        self.sync_all();
        self.keep_leading();
    }

    pub fn policy(&mut self, policy: Policy) {
        let key = Key::cluster(&**policy.name());
        self.feed(Fact::Policy(Change::Applied(key, Box::new(policy))));
    }

    /// Our lease is renewed.
    pub fn lead(&mut self) {
        if self.hands.leads {
            let until = self.now().mono + Duration::from_secs(10);
            self.feed(Fact::Leadership(Some(until)));
        }
    }

    /// Our lease is renewed, and the watches give their signs of life.
    pub fn keep_leading(&mut self) {
        self.lead();
        self.signs_of_life();
    }

    /// The watches give their signs of life.
    pub fn signs_of_life(&mut self) {
        for source in Source::ALL {
            if self.engine.world().sources.known(source) && !self.silent.contains(&source) {
                self.feed(Fact::Source(source, SourceChange::Progress));
            }
        }
        for (gate, said) in self.hands.gates.clone() {
            self.feed(Fact::Gate(gate, said));
        }
    }

    pub fn lose_the_lease(&mut self) {
        self.hands.leads = false;
        self.feed(Fact::Leadership(None));
    }

    /// What a fresh read of an object shows.
    pub fn look(&self, kind: TargetKind, key: &Key) -> Looked {
        if let Some(looked) = self.hands.looks.get(&(kind, key.clone())) {
            return looked.clone();
        }
        let world = self.engine.world();
        let blank = |uid: &Uid| Look {
            uid: uid.clone(),
            version: "7".into(),
            deleting: false,
            finalizers: Vec::new().into(),
            annotated: true,
            nudge: self.hands.nudges.get(key).map(|value| value.as_str().into()),
            leave_behind: None,
            marked: false,
            creating: false,
            emptied: false,
            handle: None,
            volume_handle: None,
            made_by_controller: true,
        };
        let look = match kind {
            TargetKind::Content => world.contents.get(key).map(|found| Look {
                deleting: found.meta.deleted.is_some(),
                finalizers: Arc::clone(&found.meta.finalizers),
                marked: found.being_deleted,
                creating: found.being_created,
                emptied: found.status.as_ref().is_some_and(ContentStatus::emptied),
                handle: found.handle().and_then(|handle| handle.text.clone()),
                volume_handle: (found.source == ContentSource::Volume).then(|| "vol".into()),
                ..blank(&found.meta.uid)
            }),
            TargetKind::Snapshot => world.snapshots.get(key).map(|found| Look {
                deleting: found.meta.deleted.is_some(),
                finalizers: Arc::clone(&found.meta.finalizers),
                ..blank(&found.meta.uid)
            }),
            TargetKind::Pod => world
                .pods
                .get(key)
                .map(|found| Look { deleting: found.meta.deleted.is_some(), ..blank(&found.meta.uid) }),
            TargetKind::Lease => world.leases.get(key).map(|_| blank(&Uid::parse("uid-lease"))),
        };
        look.map_or(Looked::Absent, |look| Looked::There(Box::new(look)))
    }

    pub(super) fn carry_out(&mut self, effect: &Effect) -> Vec<Fact> {
        if matches!(effect, Effect::Probe(_) | Effect::Found(_) | Effect::Cleared(..)) {
            return Vec::new();
        }
        self.hands.writes += 1;
        let Life::Doomed(death) = self.hands.life else { return self.write(effect) };
        if death.at != self.hands.writes {
            return self.write(effect);
        }
        self.hands.life = Life::Ended;
        if death.before {
            return Vec::new();
        }
        // The cluster is changed, and nobody hears the answer.
        let mut told = self.write(effect);
        told.retain(|fact| !matches!(fact, Fact::Recorded(..) | Fact::Acted(_)));
        told
    }

    fn write(&mut self, effect: &Effect) -> Vec<Fact> {
        match effect {
            Effect::Record(record) => self.record(record),
            Effect::Announce(orphan, _) => {
                self.hands.orphans.push((**orphan).clone());
                let left = Left { print: fingerprint(&orphan.handle), content: orphan.content.1.clone() };
                let fact = Fact::Orphan(Change::Applied(Key::cluster(orphan.name()), left));
                self.hands.enters.then_some(fact).into_iter().collect()
            }
            Effect::Act(guarded) => self.act(guarded),
            Effect::Forget(name) => {
                self.hands.records.remove(name);
                self.hands.forgotten.push(name.clone());
                vec![Fact::Remediation(Change::Gone(Key::cluster(&**name)))]
            }
            Effect::Probe(_) | Effect::Found(_) | Effect::Cleared(..) => Vec::new(),
        }
    }

    /// A record is stored, and what is told of it.
    pub fn record(&mut self, record: &Record) -> Vec<Fact> {
        if !self.hands.stores {
            return Vec::new();
        }
        let stored = self.hands.records.get(&record.name);
        if stored.map_or("", |stored| &stored.version) != &*record.version {
            return vec![Fact::Recorded(record.name.clone(), Err("the object has been modified".into()))];
        }
        self.hands.version += 1;
        let version: Box<str> = self.hands.version.to_string().into();
        let stored = Record { version: version.clone(), ..record.clone() };
        self.hands.records.insert(record.name.clone(), stored.clone());
        let told = Fact::Remediation(Change::Applied(Key::cluster(&*record.name), Box::new(stored)));
        vec![told, Fact::Recorded(record.name.clone(), Ok(version))]
    }

    fn act(&mut self, guarded: &Guarded) -> Vec<Fact> {
        self.hands.acts.push(guarded.clone());
        let stored = self.hands.records.get(&**guarded.record()).expect("an action without a stored record");
        let intent = stored.intent.as_ref().expect("an action without a stored intent");
        assert_eq!((&intent.hash, intent.number), (guarded.hash(), guarded.attempt()), "the intent is another one");
        assert_eq!(intent.at, guarded.intended());
        self.hands.intents.push(stored.clone());
        let mut facts = Vec::new();
        let (outcome, message) = match self.hands.works {
            Works::Heals | Works::InVain => (Some(Outcome::Applied), "sent"),
            Works::Silent => (None, ""),
            Works::Answers(Answer::Lost) => (Some(Outcome::Lost), "somebody was faster"),
            Works::Answers(Answer::Denied) => (Some(Outcome::Denied), "forbidden"),
            Works::Answers(Answer::Unreachable) => (Some(Outcome::Unreachable), "timed out"),
        };
        if matches!(self.hands.works, Works::Heals | Works::InVain | Works::Silent) {
            self.effect_of(guarded, &mut facts);
        }
        if let Some(outcome) = outcome {
            facts.push(Fact::Acted(Acted {
                record: guarded.record().as_ref().into(),
                attempt: guarded.attempt(),
                outcome,
                message: message.into(),
            }));
        }
        facts
    }

    /// What the write itself does, and with [`Works::Heals`] what the controllers do after it.
    fn effect_of(&mut self, guarded: &Guarded, facts: &mut Vec<Fact>) {
        let action = guarded.action();
        let key = action.target.key.clone();
        let heals = self.hands.works == Works::Heals;
        match (action.step, action.target.kind) {
            (Step::Nudge, kind) => {
                self.hands.nudges.insert(key.clone(), guarded.intended().to_string());
                if heals {
                    facts.push(match kind {
                        TargetKind::Content => Fact::Content(Change::Gone(key)),
                        _ => Fact::Snapshot(Change::Gone(key)),
                    });
                }
            }
            (Step::MarkBeingDeleted, _) if heals => facts.push(Fact::Content(Change::Gone(key))),
            (Step::MarkBeingDeleted, _) => {
                let mut content = self.engine.world().contents.get(&key).unwrap().clone();
                content.being_deleted = true;
                facts.push(Fact::Content(Change::Applied(key, content)));
            }
            (_, TargetKind::Content) => {
                self.hands.looks.remove(&(TargetKind::Content, key.clone()));
                facts.push(Fact::Content(Change::Gone(key)));
            }
            (_, TargetKind::Snapshot) => facts.push(Fact::Snapshot(Change::Gone(key))),
            (_, TargetKind::Pod) => facts.extend(self.replace_pod(&key)),
            (_, TargetKind::Lease) => facts.push(Fact::Lease(Change::Gone(key))),
        }
    }

    /// What a Deployment does about a deleted pod: another one, with the next number, which leads if the old one did.
    fn replace_pod(&mut self, key: &Key) -> Vec<Fact> {
        let old = self.engine.world().pods.get(key).unwrap().clone();
        let (stem, number) = key.name.rsplit_once('-').unwrap();
        let name = format!("{stem}-{}", number.parse::<u32>().unwrap() + 1);
        if *self.holder == *key.name {
            self.holder.clone_from(&name);
        }
        let mut new = old;
        new.meta.uid = Uid::parse(&format!("uid-{name}"));
        new.meta.created = self.stamp(0);
        let added = Fact::Pod(Change::Applied(Key::namespaced(&*key.namespace, &*name), new));
        vec![added, Fact::Pod(Change::Gone(key.clone()))]
    }

    /// The steps that were carried out, with the names of what they were done to.
    pub fn steps(&self) -> Vec<(&'static str, String)> {
        let acts = self.hands.acts.iter();
        acts.map(|one| (one.action().step.as_str(), one.action().target.key.name.to_string())).collect()
    }

    /// The phases of all records, by subject.
    pub fn phases(&self) -> Vec<(String, Phase)> {
        self.hands.records.values().map(|record| (record.subject.key.name.to_string(), record.phase)).collect()
    }

    /// The one record.
    pub fn the_record(&self) -> Record {
        assert_eq!(self.hands.records.len(), 1, "{:?}", self.phases());
        self.hands.records.values().next().unwrap().clone()
    }

    /// Somebody sets the annotation that approves a record's plan.
    pub fn approve(&mut self, name: &str, hash: Option<&str>) {
        self.hands.version += 1;
        let record = self.hands.records.get_mut(name).unwrap();
        record.version = self.hands.version.to_string().into();
        record.approved = hash.map(volwarden::domain::digest::Hash::written);
        let record = record.clone();
        self.feed(Fact::Remediation(Change::Applied(Key::cluster(name), Box::new(record))));
    }

    /// What the guards say of a content's next step: the names of those that hold it.
    pub fn holding(&self, kind: Kind, key: Key) -> Vec<&'static str> {
        let subject = volwarden::domain::finding::Subject::new(kind, key);
        match self.engine.course(&subject, self.now()) {
            Some(Course::Step(planned)) => {
                let held = planned.judgement.verdicts().iter().filter(|(_, verdict)| !verdict.allows());
                held.map(|(guard, _)| guard.as_str()).collect()
            }
            other => panic!("no step: {other:?}"),
        }
    }
}
