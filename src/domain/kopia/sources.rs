//! `kopia snapshot list --json`: what is backed up, and how old the newest backup of each is.
//!
//! The list holds checkpoints of backups that never ended. They are counted apart: a newest snapshot that nobody can
//! restore from is no backup.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Unreadable, read};
use crate::domain::words;

/// The snapshots of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `user@host:path`.
    pub source: String,
    /// Complete snapshots.
    pub snapshots: usize,
    /// Those that never ended.
    pub incomplete: usize,
    /// When the newest complete one began.
    pub newest: Option<Timestamp>,
    /// Bytes of the files in it.
    pub newest_bytes: Option<u64>,
    /// Files that could not be read for it.
    pub newest_failed: u64,
    /// How far apart its newest complete snapshots are, in seconds: the median, if there are enough to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<u64>,
}

/// The period of a source is told from so many of its newest snapshots, and not from fewer than these.
const NEWEST: usize = 8;
const LEAST: usize = 4;

/// The median distance of the newest. Retention thins the old ones out: they are further apart than they were.
fn period(mut times: Vec<Timestamp>) -> Option<u64> {
    times.sort_unstable();
    let newest = times.get(times.len().saturating_sub(NEWEST)..)?;
    if newest.len() < LEAST {
        return None;
    }
    let pairs = newest.iter().zip(newest.iter().skip(1));
    let mut apart: Vec<u64> = pairs.map(|(one, next)| words::age(*next, *one).as_secs()).collect();
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied().filter(|seconds| *seconds > 0)
}

/// Reads the list; one entry a source, by name.
///
/// # Errors
/// When it is no such answer.
pub fn sources(text: &str) -> Result<Vec<Source>, Unreadable> {
    let list: Option<Vec<Wire>> = read("kopia snapshot list --json", text)?;
    let mut found: BTreeMap<String, Source> = BTreeMap::new();
    let mut times: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for snapshot in list.unwrap_or_default() {
        let name = snapshot.source.unwrap_or_default().name();
        let source = found.entry(name.clone()).or_insert_with(|| Source { source: name.clone(), ..Source::default() });
        if snapshot.incomplete.as_deref().is_some_and(|reason| !reason.is_empty()) {
            source.incomplete += 1;
            continue;
        }
        source.snapshots += 1;
        times.entry(name).or_default().extend(snapshot.start);
        if snapshot.start > source.newest {
            let summary = snapshot.root.unwrap_or_default().summary.unwrap_or_default();
            source.newest = snapshot.start;
            source.newest_bytes = summary.size;
            source.newest_failed = summary.failed.unwrap_or_default();
        }
    }
    for (name, times) in times {
        if let Some(source) = found.get_mut(&name) {
            source.period_seconds = period(times);
        }
    }
    Ok(found.into_values().collect())
}

#[derive(Deserialize)]
struct Wire {
    source: Option<WireSource>,
    #[serde(rename = "startTime")]
    start: Option<Timestamp>,
    incomplete: Option<String>,
    #[serde(rename = "rootEntry")]
    root: Option<WireRoot>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WireSource {
    host: Option<String>,
    user_name: Option<String>,
    path: Option<String>,
}

impl WireSource {
    pub(super) fn name(self) -> String {
        let part = |part: Option<String>| part.unwrap_or_default();
        format!("{}@{}:{}", part(self.user_name), part(self.host), part(self.path))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireRoot {
    #[serde(rename = "summ")]
    pub(super) summary: Option<WireSummary>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireSummary {
    pub(super) size: Option<u64>,
    #[serde(rename = "numFailed")]
    failed: Option<u64>,
}
