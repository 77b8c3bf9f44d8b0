//! What the metrics say of a KopiaRepository: read off its status, which every replica can read and the leader shows.
//!
//! Kopia itself exports none of it. A series whose subject is gone would be shown for ever as it was last; it is set to
//! NaN instead.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::kopia::{KopiaRepositoryStatus, TaskName};
use crate::domain::name::Key;
use crate::domain::repository::findings::Class;
use crate::telemetry::{
    self, KOPIA_AVAILABLE, KOPIA_BLOBS, KOPIA_CAPACITY, KOPIA_DURATION, KOPIA_EPOCH, KOPIA_FAILURES, KOPIA_FINDINGS,
    KOPIA_FREED, KOPIA_INDEX_BLOBS, KOPIA_NEWEST, KOPIA_SIZE, KOPIA_SNAPSHOTS, KOPIA_STOPPED, KOPIA_SUCCESS, Known,
    Metric,
};

/// So many sources of a repository have a series.
const SOURCES: usize = 10;

/// The series that are shown.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    shown: BTreeMap<Key, Vec<Known>>,
}

impl Gauges {
    /// Shows these repositories, and takes back what is not known any more.
    pub(super) fn show<'a>(&mut self, all: impl IntoIterator<Item = (&'a Key, &'a KopiaRepositoryStatus)>) {
        let now: BTreeMap<Key, Vec<Known>> =
            all.into_iter().map(|(key, status)| (key.clone(), known(status))).collect();
        for (key, series) in &self.shown {
            let kept = now.get(key).map(Vec::as_slice).unwrap_or_default();
            let same = |a: &Known, b: &Known| a.metric.name == b.metric.name && a.label == b.label;
            for gone in series.iter().filter(|one| !kept.iter().any(|other| same(one, other))) {
                set(key, &Known { value: f64::NAN, ..gone.clone() });
            }
        }
        for (key, series) in &now {
            for one in series {
                set(key, one);
            }
        }
        self.shown = now;
    }

    /// Takes everything back: somebody else leads.
    pub(super) fn clear(&mut self) {
        self.show([]);
    }
}

fn set(key: &Key, known: &Known) {
    telemetry::set_kopia(&key.namespace, &key.name, known);
}

fn word(task: TaskName) -> String {
    format!("{task:?}")
}

#[expect(clippy::cast_precision_loss, reason = "bytes and counts that are shown, not reckoned with")]
fn float(number: i64) -> f64 {
    number as f64
}

fn seconds(at: Timestamp) -> f64 {
    float(at.as_second())
}

fn known(status: &KopiaRepositoryStatus) -> Vec<Known> {
    let plain = |metric: Metric, value: Option<f64>| value.map(|value| Known { metric, label: None, value });
    let mut all = Vec::new();
    for one in &status.tasks {
        let of = |metric, value| Known { metric, label: Some(("task", word(one.task))), value };
        all.extend(one.last_success.map(|at| of(KOPIA_SUCCESS, seconds(at))));
        all.push(of(KOPIA_FAILURES, f64::from(one.failures)));
        if let Some(last) = status.history.iter().find(|last| last.task == one.task) {
            all.push(of(KOPIA_DURATION, seconds(last.finished_at) - seconds(last.started_at)));
        }
        if one.task == TaskName::Full {
            all.extend(plain(KOPIA_FREED, one.freed_bytes.map(float)));
        }
    }
    if let Some(sight) = &status.repository {
        all.extend(plain(KOPIA_INDEX_BLOBS, sight.index_blobs.map(float)));
        all.extend(plain(KOPIA_EPOCH, sight.epoch.map(float)));
        all.extend(plain(KOPIA_BLOBS, sight.blobs.map(float)));
        all.extend(plain(KOPIA_SIZE, sight.bytes.map(float)));
        all.extend(plain(KOPIA_CAPACITY, sight.volume_capacity.map(float)));
        all.extend(plain(KOPIA_AVAILABLE, sight.volume_available.map(float)));
        all.extend(plain(KOPIA_SNAPSHOTS, sight.snapshots.map(float)));
        for source in sight.stalest.iter().take(SOURCES) {
            let label = Some(("source", source.source.clone()));
            all.extend(source.newest.map(|at| Known { metric: KOPIA_NEWEST, label, value: seconds(at) }));
        }
    }
    all.extend(Class::ALL.into_iter().map(|class| {
        let holds = status.findings.iter().any(|one| one.class == class.as_str());
        let label = Some(("class", class.label()));
        Known { metric: KOPIA_FINDINGS, label, value: f64::from(u8::from(holds)) }
    }));
    all.extend(plain(KOPIA_STOPPED, Some(f64::from(u8::from(status.stopped.is_some())))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kopia::{FindingStatus, Sight, SourceSight, TaskStatus};

    fn status(sources: usize) -> KopiaRepositoryStatus {
        let at: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        let source = |n: usize| SourceSight {
            source: format!("app-{n}@ns:/data"),
            newest: Some(at),
            snapshots: 1,
            period_seconds: None,
        };
        let full = TaskStatus {
            task: TaskName::Full,
            last_scheduled: None,
            last_success: Some(at),
            freed_bytes: Some(7),
            failures: 2,
            retry_at: None,
            failed_generation: None,
            failed_request: None,
            failure: None,
            next: None,
        };
        KopiaRepositoryStatus {
            tasks: vec![full],
            repository: Some(Sight {
                index_blobs: Some(41),
                bytes: Some(9),
                stalest: (0..sources).map(source).collect(),
                ..Sight::default()
            }),
            ..KopiaRepositoryStatus::default()
        }
    }

    #[test]
    fn what_is_known_is_shown_and_sources_are_bounded() {
        let all = known(&status(50));
        let value = |metric: Metric| all.iter().find(|one| one.metric.name == metric.name).map(|one| one.value);
        assert_eq!(value(KOPIA_SUCCESS), Some(1_795_600_800.0));
        assert_eq!(
            (value(KOPIA_FAILURES), value(KOPIA_FREED), value(KOPIA_INDEX_BLOBS)),
            (Some(2.0), Some(7.0), Some(41.0))
        );
        assert_eq!((value(KOPIA_STOPPED), value(KOPIA_SIZE)), (Some(0.0), Some(9.0)));
        assert_eq!((value(KOPIA_BLOBS), value(KOPIA_AVAILABLE)), (None, None), "not told is not zero");
        assert_eq!(all.iter().filter(|one| one.metric.name == KOPIA_NEWEST.name).count(), 10);
    }

    #[test]
    fn a_finding_is_one_while_it_holds_and_every_other_class_is_zero() {
        let since = "2026-11-25T10:00:00Z".parse().unwrap();
        let finding = FindingStatus { class: "VolumeFull".to_owned(), since, message: String::new() };
        let all = known(&KopiaRepositoryStatus { findings: vec![finding], ..status(0) });
        let shown = all.into_iter().filter(|one| one.metric.name == KOPIA_FINDINGS.name);
        let (holds, not): (Vec<_>, Vec<_>) = shown.partition(|one| one.value > 0.0);
        assert_eq!((holds.len(), &holds[0].label), (1, &Some(("class", "volume_full".to_owned()))));
        assert_eq!(not.len(), Class::ALL.len() - 1);
    }

    #[test]
    fn what_is_gone_is_not_shown_for_ever() {
        let key = Key::namespaced("backup", "main");
        let mut gauges = Gauges::default();
        gauges.show([(&key, &status(2))]);
        assert_eq!(gauges.shown.len(), 1);
        gauges.clear();
        assert!(gauges.shown.is_empty());
    }
}
