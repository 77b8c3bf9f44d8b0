//! Every metric's name, unit and help in one place, the recorder that serves them, and where logs go.
//!
//! A metric named in two places drifts apart, and dashboards that users built break in silence. So no other
//! file writes a metric's name: it takes a constant from here. Labels are bounded: kinds, states, classes, driver
//! names and names of policies, never another object's name.

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What a metric counts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instrument {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts into buckets.
    Histogram,
}

/// One metric as `/metrics` shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// The exported name.
    pub name: &'static str,
    /// What it counts with.
    pub instrument: Instrument,
    /// Its unit.
    pub unit: Unit,
    /// One line of help.
    pub help: &'static str,
}

const fn metric(name: &'static str, instrument: Instrument, unit: Unit, help: &'static str) -> Metric {
    Metric { name, instrument, unit, help }
}

use Instrument::{Counter, Gauge, Histogram};

/// `{class,driver}`; `driver` is empty where a finding concerns none.
pub const FINDINGS: Metric =
    metric("volwarden_findings", Gauge, Unit::Count, "Findings that hold now, by class and CSI driver.");
/// No labels.
pub const FINDINGS_UNVERIFIED: Metric = metric(
    "volwarden_findings_unverified",
    Gauge,
    Unit::Count,
    "Findings that hold now and rest on a look that was too short to be sure.",
);
/// `{kind}`.
pub const SOURCE_OBJECTS: Metric =
    metric("volwarden_source_objects", Gauge, Unit::Count, "Objects known of a watched collection.");
/// `{kind,state}`.
pub const SOURCE_STATE: Metric =
    metric("volwarden_source_state", Gauge, Unit::Count, "1 for the state a watched collection is in, else 0.");
/// `{kind}`.
pub const SOURCE_SILENT: Metric = metric(
    "volwarden_source_silent_seconds",
    Gauge,
    Unit::Seconds,
    "Seconds since the API server last said anything about a watched collection.",
);
/// `{kind}`.
pub const FACTS: Metric =
    metric("volwarden_facts_total", Counter, Unit::Count, "Facts taken in, by what they were about.");
/// No labels.
pub const STEP: Metric =
    metric("volwarden_step_duration_seconds", Histogram, Unit::Seconds, "Time from a fact to its diagnosis.");
/// `{kind,result}`.
pub const PROBES: Metric =
    metric("volwarden_probes_total", Counter, Unit::Count, "Single reads that were answered, by kind and result.");
/// No labels.
pub const PROBES_WAITING: Metric =
    metric("volwarden_probes_waiting", Gauge, Unit::Count, "Single reads that wait for a free place.");
/// No labels.
pub const LEADER: Metric =
    metric("volwarden_leader", Gauge, Unit::Count, "1 while this replica leads, else 0: only who leads writes.");
/// `{state}`.
pub const FENCE: Metric = metric(
    "volwarden_fence",
    Gauge,
    Unit::Count,
    "1 for what the leader last saw of the fence around its account, else 0; all 0 on a replica that does not lead.",
);
/// `{phase}`.
pub const REMEDIATIONS: Metric =
    metric("volwarden_remediations", Gauge, Unit::Count, "Entries of the ledger, by where they stand.");
/// `{guard}`.
pub const HELD: Metric = metric(
    "volwarden_remediations_held",
    Gauge,
    Unit::Count,
    "Open entries of the ledger that wait, by the first guard that holds them.",
);
/// `{rung,outcome}`.
pub const ACTIONS: Metric =
    metric("volwarden_actions_total", Counter, Unit::Count, "Steps of repair that were sent, by what came of it.");
/// `{policy,part,state}`.
pub const RETENTION_OBJECTS: Metric = metric(
    "volwarden_retention_objects",
    Gauge,
    Unit::Count,
    "Objects a SnapshotRetention applies to, by what becomes of them, as of its last look.",
);
/// `{policy,trigger,outcome}`.
pub const RETENTION_RUNS: Metric =
    metric("volwarden_retention_runs_total", Counter, Unit::Count, "Runs of a SnapshotRetention, by how they ended.");
/// `{policy,part}`.
pub const RETENTION_PRUNED: Metric = metric(
    "volwarden_retention_pruned_total",
    Counter,
    Unit::Count,
    "Objects that a SnapshotRetention deleted and that were verified gone.",
);
/// `{policy}`.
pub const RETENTION_FAILURES: Metric = metric(
    "volwarden_retention_failures_total",
    Counter,
    Unit::Count,
    "Plans that could not be made, and deletions that were refused or hang.",
);
/// `{policy}`.
pub const RETENTION_LAST_RUN: Metric = metric(
    "volwarden_retention_last_run_timestamp_seconds",
    Gauge,
    Unit::Seconds,
    "When the last run of a SnapshotRetention was over, in seconds since 1970.",
);
/// `{policy}`.
pub const RETENTION_RUN_DURATION: Metric = metric(
    "volwarden_retention_last_run_duration_seconds",
    Gauge,
    Unit::Seconds,
    "How long the last run of a SnapshotRetention took.",
);
/// `{namespace,repository,task}`.
pub const KOPIA_SUCCESS: Metric = metric(
    "volwarden_kopia_last_success_timestamp_seconds",
    Gauge,
    Unit::Seconds,
    "When a task of a KopiaRepository last truly happened, in seconds since 1970.",
);
/// `{namespace,repository,task}`.
pub const KOPIA_FAILURES: Metric = metric(
    "volwarden_kopia_task_failures",
    Gauge,
    Unit::Count,
    "Failures in a row of a task of a KopiaRepository; 0 after it happened.",
);
/// `{namespace,repository,task}`.
pub const KOPIA_DURATION: Metric = metric(
    "volwarden_kopia_task_duration_seconds",
    Gauge,
    Unit::Seconds,
    "How long the newest Job of a task took, from the decision to its end.",
);
/// `{namespace,repository}`.
pub const KOPIA_FREED: Metric = metric(
    "volwarden_kopia_freed_bytes",
    Gauge,
    Unit::Bytes,
    "What the storage got back by the newest full maintenance, where kopia tells.",
);
/// `{namespace,repository}`.
pub const KOPIA_INDEX_BLOBS: Metric = metric(
    "volwarden_kopia_index_blobs",
    Gauge,
    Unit::Count,
    "Index blobs in use of a repository; kopia warns above 1000.",
);
/// `{namespace,repository}`.
pub const KOPIA_EPOCH: Metric =
    metric("volwarden_kopia_epoch", Gauge, Unit::Count, "The epoch of the index that is written now.");
/// `{namespace,repository}`.
pub const KOPIA_BLOBS: Metric =
    metric("volwarden_kopia_blobs", Gauge, Unit::Count, "Blobs of a repository on its storage.");
/// `{namespace,repository}`.
pub const KOPIA_SIZE: Metric = metric(
    "volwarden_kopia_size_bytes",
    Gauge,
    Unit::Bytes,
    "Bytes of a repository on its storage, with what maintenance has yet to free.",
);
/// `{namespace,repository}`.
pub const KOPIA_CAPACITY: Metric =
    metric("volwarden_kopia_volume_capacity_bytes", Gauge, Unit::Bytes, "Size of the volume that a repository is on.");
/// `{namespace,repository}`.
pub const KOPIA_AVAILABLE: Metric = metric(
    "volwarden_kopia_volume_available_bytes",
    Gauge,
    Unit::Bytes,
    "Free space of the volume that a repository is on: maintenance needs some to begin.",
);
/// `{namespace,repository}`.
pub const KOPIA_SNAPSHOTS: Metric =
    metric("volwarden_kopia_snapshots", Gauge, Unit::Count, "Complete snapshots in a repository.");
/// `{namespace,repository,source}`; the ten latest sources of a repository at most.
pub const KOPIA_NEWEST: Metric = metric(
    "volwarden_kopia_newest_snapshot_timestamp_seconds",
    Gauge,
    Unit::Seconds,
    "When the newest complete snapshot of a source began, of those sources that are latest by their own period.",
);
/// `{namespace,repository}`.
pub const KOPIA_STOPPED: Metric = metric(
    "volwarden_kopia_stopped",
    Gauge,
    Unit::Count,
    "1 while nothing is written to a repository, because it is another one or damaged; else 0.",
);
/// `{namespace,repository,class}`.
pub const KOPIA_FINDINGS: Metric = metric(
    "volwarden_kopia_findings",
    Gauge,
    Unit::Count,
    "1 while something of this class is wrong with a KopiaRepository, else 0.",
);
/// `{version}`.
pub const BUILD_INFO: Metric = metric("volwarden_build_info", Gauge, Unit::Count, "1, labelled with the version.");
/// No labels.
pub const RESIDENT: Metric =
    metric("process_resident_memory_bytes", Gauge, Unit::Bytes, "Resident memory of this process.");
/// No labels. A gauge in spite of its name: this recorder's counters hold whole numbers only.
pub const CPU: Metric =
    metric("process_cpu_seconds_total", Gauge, Unit::Seconds, "User and system CPU time this process has used.");
/// No labels.
pub const START: Metric =
    metric("process_start_time_seconds", Gauge, Unit::Seconds, "When this process began, in seconds since 1970.");

/// Every metric there is; the documentation and the tests go by this list.
pub const ALL: [Metric; 38] = [
    FINDINGS,
    FINDINGS_UNVERIFIED,
    SOURCE_OBJECTS,
    SOURCE_STATE,
    SOURCE_SILENT,
    FACTS,
    STEP,
    PROBES,
    PROBES_WAITING,
    LEADER,
    FENCE,
    REMEDIATIONS,
    HELD,
    ACTIONS,
    RETENTION_OBJECTS,
    RETENTION_RUNS,
    RETENTION_PRUNED,
    RETENTION_FAILURES,
    RETENTION_LAST_RUN,
    RETENTION_RUN_DURATION,
    KOPIA_SUCCESS,
    KOPIA_FAILURES,
    KOPIA_DURATION,
    KOPIA_FREED,
    KOPIA_INDEX_BLOBS,
    KOPIA_EPOCH,
    KOPIA_BLOBS,
    KOPIA_SIZE,
    KOPIA_CAPACITY,
    KOPIA_AVAILABLE,
    KOPIA_SNAPSHOTS,
    KOPIA_NEWEST,
    KOPIA_STOPPED,
    KOPIA_FINDINGS,
    BUILD_INFO,
    RESIDENT,
    CPU,
    START,
];

/// From a microsecond up: a step costs a few of them, and a step of a millisecond is already too slow.
const STEP_BUCKETS: [f64; 13] = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 1e-1];

/// Histograms collect samples until they are drained; without this their memory grows.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Linux counts CPU time in hundredths of a second for every process, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// Telemetry that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The recorder refused.
    #[error("cannot set up metrics: {0}")]
    Recorder(#[from] BuildError),
    /// A subscriber is there already.
    #[error("cannot set up logs: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
}

/// Renders `/metrics`, and keeps the histograms small.
#[derive(Clone, Debug)]
pub struct Exporter {
    handle: PrometheusHandle,
}

impl Exporter {
    /// Installs the process-wide recorder and describes every metric.
    ///
    /// # Errors
    /// When a recorder is installed already.
    pub fn install() -> Result<Self, TelemetryError> {
        let handle = builder()?.install_recorder()?;
        describe();
        gauge!(BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { handle })
    }

    /// The exposition text, with this process's own figures as they are now.
    #[must_use]
    pub fn render(&self) -> String {
        record_process();
        self.handle.render()
    }

    /// Drains the histograms for ever.
    pub async fn upkeep(self) {
        let mut every = tokio::time::interval(UPKEEP_EVERY);
        loop {
            every.tick().await;
            self.handle.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(STEP.name.to_owned()), &STEP_BUCKETS)
}

fn describe() {
    for metric in ALL {
        match metric.instrument {
            Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            Histogram => describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

/// A fact was taken in.
pub fn count_fact(kind: &'static str) {
    counter!(FACTS.name, "kind" => kind).increment(1);
}

/// A read was answered.
pub fn count_probe(kind: &'static str, result: &'static str) {
    counter!(PROBES.name, "kind" => kind, "result" => result).increment(1);
}

/// Reads that wait.
pub fn set_probes_waiting(waiting: usize) {
    gauge!(PROBES_WAITING.name).set(float(waiting));
}

/// Whether this replica leads.
pub fn set_leader(leads: bool) {
    gauge!(LEADER.name).set(f64::from(u8::from(leads)));
}

/// What was last seen of the fence; `None`: this replica does not lead, or has not asked yet.
pub fn set_fence(state: Option<&'static str>, states: [&'static str; 3]) {
    for candidate in states {
        gauge!(FENCE.name, "state" => candidate).set(f64::from(u8::from(state == Some(candidate))));
    }
}

/// How many entries of the ledger stand there.
pub fn set_remediations(phase: &'static str, count: usize) {
    gauge!(REMEDIATIONS.name, "phase" => phase).set(float(count));
}

/// How many entries this guard holds.
pub fn set_held(guard: &'static str, count: usize) {
    gauge!(HELD.name, "guard" => guard).set(float(count));
}

/// A step was sent, or could not be.
pub fn count_action(rung: &'static str, outcome: &'static str) {
    counter!(ACTIONS.name, "rung" => rung, "outcome" => outcome).increment(1);
}

/// What a part of a SnapshotRetention comes to.
pub fn set_retention(policy: &str, part: &'static str, [kept, held, going]: [usize; 3]) {
    for (state, count) in [("kept", kept), ("held", held), ("going", going)] {
        gauge!(RETENTION_OBJECTS.name, "policy" => policy.to_owned(), "part" => part, "state" => state)
            .set(float(count));
    }
}

/// A run of a SnapshotRetention is over.
pub fn retention_ran(policy: &str, trigger: &'static str, outcome: &'static str, at_seconds: f64, took: Duration) {
    let policy = || policy.to_owned();
    counter!(RETENTION_RUNS.name, "policy" => policy(), "trigger" => trigger, "outcome" => outcome).increment(1);
    gauge!(RETENTION_LAST_RUN.name, "policy" => policy()).set(at_seconds);
    gauge!(RETENTION_RUN_DURATION.name, "policy" => policy()).set(took.as_secs_f64());
}

/// So many objects were deleted and are gone.
pub fn count_pruned(policy: &str, part: &'static str, count: u64) {
    counter!(RETENTION_PRUNED.name, "policy" => policy.to_owned(), "part" => part).increment(count);
}

/// Something of a SnapshotRetention failed.
pub fn count_retention_failure(policy: &str, count: u64) {
    counter!(RETENTION_FAILURES.name, "policy" => policy.to_owned()).increment(count);
}

/// What is known of a KopiaRepository, under the labels of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Which metric.
    pub metric: Metric,
    /// The label that it has besides, and its value.
    pub label: Option<(&'static str, String)>,
    /// Its value.
    pub value: f64,
}

/// Shows one series of a KopiaRepository. One that nobody knows any more is set to NaN, which no alert compares with.
pub fn set_kopia(namespace: &str, repository: &str, known: &Known) {
    let mut labels = vec![
        metrics::Label::new("namespace", namespace.to_owned()),
        metrics::Label::new("repository", repository.to_owned()),
    ];
    labels.extend(known.label.iter().map(|(name, value)| metrics::Label::new(*name, value.clone())));
    gauge!(known.metric.name, labels).set(known.value);
}

/// How many findings of a class a driver has. A series that ended is set to 0.
pub fn set_findings(class: String, driver: String, findings: usize) {
    gauge!(FINDINGS.name, "class" => class, "driver" => driver).set(float(findings));
}

/// How many findings are not sure yet.
pub fn set_unverified(findings: usize) {
    gauge!(FINDINGS_UNVERIFIED.name).set(float(findings));
}

/// The states a source can be in, as the label has them.
const SOURCE_STATES: [&str; 5] = ["Synced", "Syncing", "NotInstalled", "Forbidden", "Failing"];

/// What a source is like now. A source that nothing watches is silent for 0 s: its state says the rest.
pub fn set_source(kind: &'static str, state: &'static str, objects: u64, silent_seconds: Option<u64>) {
    gauge!(SOURCE_OBJECTS.name, "kind" => kind).set(float(objects));
    gauge!(SOURCE_SILENT.name, "kind" => kind).set(float(silent_seconds.unwrap_or(0)));
    for candidate in SOURCE_STATES {
        let is = f64::from(u8::from(candidate == state));
        gauge!(SOURCE_STATE.name, "kind" => kind, "state" => candidate).set(is);
    }
}

/// The histogram a step's duration goes into.
pub fn step_histogram() -> metrics::Histogram {
    metrics::histogram!(STEP.name)
}

/// The wall clock when the process began; the shell owns clocks, so it says it.
pub fn set_started(at_seconds: f64) {
    gauge!(START.name).set(at_seconds);
}

/// A gauge is a float; what does not fit one exactly is shown as nearly it.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn float(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

/// Where `/proc` is missing the two series stay away; nothing else depends on them.
fn record_process() {
    if let Some(bytes) = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        gauge!(RESIDENT.name).set(float(bytes));
    }
    if let Some(seconds) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        gauge!(CPU.name).set(seconds);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the command in parentheses and may hold spaces; fields 14 and 15 are the times.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: f64 = times.next()?.parse().ok()?;
    let system: f64 = times.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStyle {
    /// Pretty on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Sends logs to stderr: stdout belongs to what a command answers.
///
/// # Errors
/// When a subscriber is installed already.
pub fn install_logs(style: LogStyle, filter: Targets) -> Result<(), TelemetryError> {
    let terminal = std::io::stderr().is_terminal();
    let json = match style {
        LogStyle::Auto => !terminal,
        LogStyle::Json => true,
        LogStyle::Pretty => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        registry.with(layer).try_init()?;
    } else {
        let layer = tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(std::io::stderr);
        registry.with(layer).try_init()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in ALL {
            let prefixed = metric.name.starts_with("volwarden_") || metric.name.starts_with("process_");
            assert!(prefixed, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            if metric.instrument == Counter {
                assert!(metric.name.ends_with("_total"), "{}", metric.name);
            }
            match metric.unit {
                Unit::Seconds => assert!(metric.name.contains("_seconds"), "{}", metric.name),
                Unit::Bytes => assert!(metric.name.ends_with("_bytes"), "{}", metric.name),
                _ => {}
            }
        }
        assert!(STEP_BUCKETS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_step_histogram_has_buckets_and_every_metric_has_help() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            step_histogram().record(3e-6);
            count_fact("Lease");
            set_source("Lease", "Forbidden", 3, None);
        });
        let text = handle.render();
        assert!(text.contains("volwarden_step_duration_seconds_bucket{le=\"0.000005\"} 1"), "{text}");
        assert!(text.contains("# HELP volwarden_facts_total Facts taken in"), "{text}");
        assert!(text.contains("volwarden_facts_total{kind=\"Lease\"} 1"), "{text}");
        assert!(text.contains("volwarden_source_state{kind=\"Lease\",state=\"Forbidden\"} 1"), "{text}");
        assert!(text.contains("volwarden_source_state{kind=\"Lease\",state=\"Synced\"} 0"), "{text}");
    }

    #[test]
    fn a_fence_that_is_gone_is_one_series_of_several() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        let states = ["Stands", "Missing", "Untold"];
        metrics::with_local_recorder(&recorder, || {
            set_fence(Some("Stands"), states);
            set_fence(Some("Missing"), states);
        });
        let text = handle.render();
        assert!(text.contains("volwarden_fence{state=\"Stands\"} 0"), "{text}");
        assert!(text.contains("volwarden_fence{state=\"Missing\"} 1"), "{text}");
        metrics::with_local_recorder(&recorder, || set_fence(None, states));
        assert!(handle.render().contains("volwarden_fence{state=\"Missing\"} 0"), "whoever leads now says it");
    }

    #[test]
    fn a_run_is_told_by_policy_part_and_state() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            set_retention("nightly", "Snapshots", [7, 2, 3]);
            retention_ran("nightly", "Schedule", "Partly", 1000.0, Duration::from_secs(42));
            count_pruned("nightly", "Snapshots", 2);
            count_retention_failure("nightly", 1);
        });
        let text = handle.render();
        for line in [
            "volwarden_retention_objects{policy=\"nightly\",part=\"Snapshots\",state=\"held\"} 2",
            "volwarden_retention_objects{policy=\"nightly\",part=\"Snapshots\",state=\"going\"} 3",
            "volwarden_retention_runs_total{policy=\"nightly\",trigger=\"Schedule\",outcome=\"Partly\"} 1",
            "volwarden_retention_pruned_total{policy=\"nightly\",part=\"Snapshots\"} 2",
            "volwarden_retention_failures_total{policy=\"nightly\"} 1",
            "volwarden_retention_last_run_timestamp_seconds{policy=\"nightly\"} 1000",
            "volwarden_retention_last_run_duration_seconds{policy=\"nightly\"} 42",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn proc_files_are_read() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\nRssAnon:\t 1 kB\n"), Some(1_263_616));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 99 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (x) S 1"), None);
    }
}
