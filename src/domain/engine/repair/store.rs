//! The ledger between the engine and the cluster: what was sent, what is stored, what came from the watch.
//!
//! A record counts from the moment it is sent, so that budgets cannot be spent twice in the meantime; but only
//! one that is known to be stored lets an action out. A watch tells old versions after new ones have been
//! answered: those are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AGAIN, Repair};
use crate::domain::engine::{Effect, Engine};
use crate::domain::fact::Now;
use crate::domain::finding::Subject;
use crate::domain::ledger::Record;
use crate::domain::name::Key;

/// What is under way to the cluster.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// By name: the record as it was before, and the newest that the watch told meanwhile.
    under_way: BTreeMap<Box<str>, (Option<Record>, Option<Record>)>,
    /// Of these, those that a list or a deletion meanwhile told to be gone.
    missing: BTreeSet<Box<str>>,
}

/// Versions are opaque by contract and numbers in fact; one that is no number is taken as newer.
fn older(one: &str, two: &str) -> bool {
    match (one.parse::<u64>(), two.parse::<u64>()) {
        (Ok(one), Ok(two)) => one < two,
        _ => false,
    }
}

impl Repair {
    /// Sends a record; it counts at once.
    pub(super) fn save(&mut self, record: Record, effects: &mut Vec<Effect>) {
        let before = self.ledger.get(&record.name).cloned();
        self.store.under_way.insert(record.name.clone(), (before, None));
        effects.push(Effect::Record(Box::new(record.clone())));
        self.ledger.put(record);
    }

    /// A write of this record is not answered yet.
    pub(super) fn saving(&self, name: &str) -> bool {
        self.store.under_way.contains_key(name)
    }

    /// Whose record this is.
    pub(super) fn subject_of(&self, name: &str) -> Option<Subject> {
        self.ledger.get(name).map(|record| record.subject.clone())
    }

    /// A write was answered.
    pub(super) fn recorded(&mut self, name: &str, answer: Result<Box<str>, Arc<str>>) {
        let missing = self.store.missing.remove(name);
        let Some((before, told)) = self.store.under_way.remove(name) else { return };
        let Some(mut record) = self.ledger.get(name).cloned() else { return };
        match answer {
            Ok(version) => {
                record.version = version;
                let newer = told.filter(|told| older(&record.version, &told.version));
                self.ledger.put(newer.unwrap_or(record));
            }
            // Not stored: what the cluster has counts, and the next look plans anew.
            Err(_) => match told.or(before.filter(|_| !missing)) {
                Some(record) => self.ledger.put(record),
                None => drop(self.ledger.remove(name)),
            },
        }
    }

    /// The watch told a record.
    pub(super) fn told(&mut self, record: &Record) {
        if let Some((_, newest)) = self.store.under_way.get_mut(&record.name) {
            *newest = Some(record.clone());
            return;
        }
        let stale = self.ledger.get(&record.name).is_some_and(|known| older(&record.version, &known.version));
        if !stale {
            self.ledger.put(record.clone());
        }
    }
}

impl Engine {
    /// After a record could not be stored it is left alone for a while: tried again at once, it would be refused at
    /// once.
    pub(super) fn is_refused(&mut self, subject: &Subject, now: Now) -> bool {
        let Some(at) = self.repair.refused.get(subject).copied() else { return false };
        if now.mono.saturating_sub(at) < AGAIN {
            self.repair.wake(subject, at + AGAIN);
            return true;
        }
        self.repair.refused.remove(subject);
        false
    }

    /// One record was told, or is gone.
    pub(in crate::domain::engine) fn reread_record(&mut self, name: &str) {
        match self.world.remediations.get(&Key::cluster(name)) {
            Some(record) => {
                let record = (**record).clone();
                self.repair.touch(&record.subject);
                self.repair.told(&record);
            }
            None if self.repair.saving(name) => {
                self.repair.store.missing.insert(name.into());
            }
            None => {
                if let Some(record) = self.repair.ledger.remove(name) {
                    self.repair.touch(&record.subject);
                }
            }
        }
    }

    /// A new list of the ledger is complete: what it does not hold is gone.
    pub(in crate::domain::engine) fn reread_ledger(&mut self) {
        let names: Vec<Box<str>> = self.repair.ledger.iter().map(|record| record.name.clone()).collect();
        let told: Vec<Box<str>> = self.world.remediations.iter().map(|(key, _)| key.name.clone()).collect();
        for name in names.iter().chain(&told) {
            self.reread_record(name);
        }
    }
}
