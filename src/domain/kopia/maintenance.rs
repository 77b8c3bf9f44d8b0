//! `kopia maintenance info --json`: who maintains, how often, and which tasks have run.
//!
//! `nextFullMaintenance` moves on before any work is done, also when that work then fails: it proves nothing, and is
//! not shown as if it did. Only entries with `success` count.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Unreadable, read};

/// The command whose answer this is.
const WHAT: &str = "kopia maintenance info --json";

/// Who maintains, and what has run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Who may run it; nobody has been set when it is absent.
    pub owner: Option<String>,
    /// The small cycle.
    pub quick: Cycle,
    /// The large one.
    pub full: Cycle,
    /// What has run, by task, newest first.
    pub runs: BTreeMap<String, Vec<Run>>,
}

/// One of the two cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cycle {
    /// Whether kopia would run it by itself.
    pub enabled: bool,
    /// How often, in seconds.
    #[serde(rename = "intervalSeconds", serialize_with = "seconds")]
    pub interval: Option<Duration>,
}

#[expect(clippy::ref_option, reason = "the signature serde wants")]
fn seconds<S: serde::Serializer>(interval: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
    interval.map(|interval| interval.as_secs()).serialize(out)
}

/// One task of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub start: Option<Timestamp>,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Whether it did what it should.
    pub success: bool,
    /// Why not.
    pub error: Option<String>,
    /// Bytes that the storage got back; kopia tells them from 0.22 on.
    pub freed: Option<u64>,
}

/// A task that ran, in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Kopia's name of it.
    pub task: String,
    /// Bytes that the storage got back, where kopia tells.
    #[serde(rename = "freedBytes")]
    pub freed: Option<u64>,
}

/// The newest success of a task, and whether it has failed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Newest {
    /// Kopia's name of it.
    pub task: String,
    /// When it last ended well.
    pub success: Option<Timestamp>,
    /// What that brought, where kopia tells.
    pub freed_bytes: Option<u64>,
    /// Why its newest run failed, if it did.
    pub failed_since: Option<String>,
}

impl Maintenance {
    /// Reads the answer.
    ///
    /// # Errors
    /// When it is no such answer.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let wire: Wire = read(WHAT, text)?;
        let runs = wire.schedule.unwrap_or_default().runs.unwrap_or_default();
        Ok(Self {
            owner: wire.owner.filter(|owner| !owner.is_empty()),
            quick: wire.quick.unwrap_or_default().into(),
            full: wire.full.unwrap_or_default().into(),
            runs: runs
                .into_iter()
                .map(|(task, runs)| {
                    let mut runs: Vec<Run> = runs.unwrap_or_default().into_iter().map(Run::from).collect();
                    runs.sort_by_key(|run| std::cmp::Reverse(run.start));
                    (task, runs)
                })
                .collect(),
        })
    }

    /// The newest success of each task that ever ran.
    #[must_use]
    pub fn newest(&self) -> Vec<Newest> {
        let newest = |(task, runs): (&String, &Vec<Run>)| {
            let good = runs.iter().find(|run| run.success);
            let failed = runs.first().filter(|run| !run.success);
            Newest {
                task: task.clone(),
                success: good.and_then(|run| run.end.or(run.start)),
                freed_bytes: good.and_then(|run| run.freed),
                failed_since: failed.map(|run| run.error.clone().unwrap_or_else(|| "kopia gives no reason".to_owned())),
            }
        };
        self.runs.iter().map(newest).collect()
    }

    /// What is newer in this than everything that an earlier look had of the same task; and what failed and does not say
    /// when. An entry that is merely another one proves nothing: the record may be damaged, or another repository's.
    pub(super) fn since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a str, &'a Run)> {
        self.runs.iter().flat_map(move |(task, runs)| {
            let newest = before.runs.get(task).and_then(|old| old.iter().filter_map(|run| run.start).max());
            let is_news = move |run: &&Run| run.start > newest || (run.start.is_none() && !run.success);
            runs.iter().filter(is_news).map(move |run| (task.as_str(), run))
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    owner: Option<String>,
    quick: Option<WireCycle>,
    full: Option<WireCycle>,
    schedule: Option<WireSchedule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireCycle {
    enabled: Option<bool>,
    interval: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireSchedule {
    runs: Option<BTreeMap<String, Option<Vec<WireRun>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireRun {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    success: Option<bool>,
    error: Option<String>,
    extra: Option<Vec<Value>>,
}

impl From<WireCycle> for Cycle {
    fn from(wire: WireCycle) -> Self {
        Self { enabled: wire.enabled.unwrap_or_default(), interval: wire.interval.map(Duration::from_nanos) }
    }
}

impl From<WireRun> for Run {
    fn from(wire: WireRun) -> Self {
        Self {
            start: wire.start.filter(|at| ever(*at)),
            end: wire.end.filter(|at| ever(*at)),
            success: wire.success.unwrap_or_default(),
            error: wire.error.filter(|error| !error.is_empty()),
            freed: wire.extra.map(|extra| extra.iter().map(freed).fold(0, u64::saturating_add)),
        }
    }
}

/// Kopia writes the year 1 for never.
fn ever(at: Timestamp) -> bool {
    at > Timestamp::UNIX_EPOCH
}

/// What a task took from the storage. What `snapshotGCStats` calls deleted is only marked.
fn freed(extra: &Value) -> u64 {
    let field = match extra.get("kind").and_then(Value::as_str) {
        Some("deleteUnreferencedPacksStats" | "cleanupSupersededIndexesStats") => "deletedTotalSize",
        Some("cleanupLogsStats") => "deletedBlobSize",
        _ => return 0,
    };
    extra.get("data").and_then(|data| data.get(field)).and_then(Value::as_u64).unwrap_or_default()
}
