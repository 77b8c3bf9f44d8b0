//! Every decision here was made by kopia 0.23.1's own code: `kopia_retention_vectors.json` in UTC, and
//! `kopia_zones.json` with `TZ` set, each case of which kopia decides otherwise in UTC.
//!
//! A retention that is nearly kopia's passes any test that somebody thought of, and loses a snapshot in January.

use jiff::tz::TimeZone;
use serde::Deserialize;
use volwarden::domain::retention::{Calendar, Policy, Retention, Snapshot};

#[derive(Deserialize)]
struct Case {
    name: String,
    tz: String,
    policy: Counts,
    snapshots: Vec<Decided>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Counts {
    latest: u32,
    hourly: u32,
    daily: u32,
    weekly: u32,
    monthly: u32,
    annual: u32,
}

#[derive(Deserialize)]
struct Decided {
    start: jiff::Timestamp,
    #[serde(default)]
    incomplete: bool,
    reasons: Vec<String>,
}

fn cases(text: &str) -> Vec<Case> {
    serde_json::from_str(text).unwrap()
}

fn in_utc() -> Vec<Case> {
    cases(include_str!("kopia_retention_vectors.json"))
}

fn in_zones() -> Vec<Case> {
    cases(include_str!("kopia_zones.json"))
}

impl Case {
    fn decide(&self, calendar: Calendar, zone: TimeZone) -> Vec<Vec<String>> {
        let Counts { latest, hourly, daily, weekly, monthly, annual } = self.policy;
        let policy = Policy { latest, hourly, daily, weekly, monthly, annual };
        let snapshots: Vec<Snapshot> =
            self.snapshots.iter().map(|one| Snapshot { time: one.start, incomplete: one.incomplete }).collect();
        let plan = Retention { policy, calendar, zone }.plan(&snapshots);
        plan.iter().map(|reasons| reasons.iter().map(|reason| reason.to_string()).collect()).collect()
    }

    fn expected(&self) -> Vec<Vec<String>> {
        self.snapshots.iter().map(|one| one.reasons.clone()).collect()
    }

    fn agrees(&self, calendar: Calendar, zone: TimeZone) -> bool {
        self.decide(calendar, zone) == self.expected()
    }

    fn check(&self) {
        let decided = self.decide(Calendar::Kopia, TimeZone::get(&self.tz).unwrap());
        for ((snapshot, ours), theirs) in self.snapshots.iter().zip(&decided).zip(self.expected()) {
            assert_eq!(*ours, theirs, "{}: {}", self.name, snapshot.start);
        }
    }
}

#[test]
fn kopias_decisions_are_ours() {
    let cases = in_utc();
    assert_eq!(cases.len(), 120);
    assert_eq!(cases.iter().map(|case| case.snapshots.len()).sum::<usize>(), 4665);
    cases.iter().for_each(Case::check);
}

#[test]
fn kopias_decisions_in_other_time_zones_are_ours() {
    let cases = in_zones();
    assert_eq!(cases.len(), 101);
    cases.iter().for_each(Case::check);
}

/// What the two files are worth: a calendar without the surprises, or without the zone, does not pass them.
#[test]
fn an_oracle_tells_nearly_right_from_right() {
    let nearly = in_utc().iter().filter(|case| !case.agrees(Calendar::Strict, TimeZone::UTC)).count();
    assert_eq!(nearly, 9);
    assert!(in_zones().iter().all(|case| !case.agrees(Calendar::Kopia, TimeZone::UTC)));
}
