//! The daemon's reads: a live GET, the tail of a log, the Events of a claim.
//!
//! It stands for `io::probe` on virtual time: four at a time, each bounded in time, and an answer only ever
//! says what was really learned.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::{Broken, Reading, Weather, line};
use crate::domain::fact::{Answer, Fact, Live, LogTail, Probe, Source};
use crate::domain::name::{Key, Uid};
use crate::domain::record::Kind;
use crate::domain::remedy::action::TargetKind;
use crate::domain::remedy::fresh::Looked;
use crate::io::look::look;
use crate::io::probe::since;
use crate::sim::cluster::Cluster;
use crate::sim::process::Place;
use crate::sim::store::{Resource, object, table};

/// Reads under way at the same time.
const AT_ONCE: usize = 4;
/// How long an answer takes; the same on a slow server; and the patience for one.
const LATENCY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
const SLOWNESS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(9_900));
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands before the driver's code in a line.
const ANSWER: &str = "rpc error: code = ";
/// Lines of a log that are asked for.
const LOG_LINES: usize = 2000;

/// The reads that were asked for.
#[derive(Debug)]
pub(super) struct Reads {
    waiting: VecDeque<Probe>,
    under_way: Vec<(Duration, Probe)>,
    broken: Option<Broken>,
    rng: Rng,
}

impl Reads {
    pub(super) fn new(broken: Option<Broken>, rng: Rng) -> Self {
        Self { waiting: VecDeque::new(), under_way: Vec::new(), broken, rng }
    }

    /// Asks; the answer comes as a fact.
    pub(super) fn ask(&mut self, probe: Probe, weather: &Weather, at: Duration) {
        self.waiting.push_back(probe);
        self.begin(weather, at);
    }

    fn begin(&mut self, weather: &Weather, at: Duration) {
        while self.under_way.len() < AT_ONCE {
            let Some(probe) = self.waiting.pop_front() else { return };
            let takes = match weather.reads {
                Reading::Fine | Reading::Failing => crate::sim::process::draw(&mut self.rng, LATENCY.0, LATENCY.1),
                Reading::Slow => crate::sim::process::draw(&mut self.rng, SLOWNESS.0, SLOWNESS.1),
                Reading::Hung => PATIENCE,
            };
            self.under_way.push((at + takes, probe));
        }
    }

    /// When the next answer comes.
    pub(super) fn due(&self) -> Option<Duration> {
        self.under_way.iter().map(|(at, _)| *at).min()
    }

    /// The answers that have come.
    pub(super) fn advance(&mut self, at: Duration, weather: &Weather, cluster: &Cluster) -> Vec<Fact> {
        let mut facts = Vec::new();
        while let Some(next) = self.due().filter(|next| *next <= at) {
            let Some(place) = self.under_way.iter().position(|(at, _)| *at == next) else { break };
            let (_, probe) = self.under_way.remove(place);
            let answer = self.answer(&probe, weather, cluster);
            facts.push(Fact::Answered(probe, answer));
            self.begin(weather, next);
        }
        facts
    }

    fn answer(&self, probe: &Probe, weather: &Weather, cluster: &Cluster) -> Answer {
        let trouble = match weather.reads {
            Reading::Fine | Reading::Slow => None,
            Reading::Hung => Some("timed out"),
            Reading::Failing => Some("503 Service Unavailable"),
        };
        match probe {
            Probe::Get { kind: Kind::VolumeSnapshot, .. } if self.broken == Some(Broken::NeverAsks) => {
                Answer::Get(Live::Absent)
            }
            Probe::Get { kind, key } => Answer::Get(match trouble {
                Some(words) => Live::Unknown(words.into()),
                None => live(cluster, *kind, key, weather),
            }),
            Probe::Log { pod, uid, container } => Answer::Log(match trouble {
                _ if weather.logs_refused => LogTail::Forbidden,
                Some(words) => LogTail::Failed(words.into()),
                None => self.log(cluster, pod, uid, container),
            }),
            Probe::ClaimEvents { claim, uid } => {
                Answer::ClaimEvents(if trouble.is_some() { None } else { newest_warning(cluster, claim, uid) })
            }
            Probe::Look { kind, key } => Answer::Look(match trouble {
                Some(words) => Looked::Unknown(words.into()),
                None => look_at(cluster, *kind, key, weather, self.broken),
            }),
        }
    }

    fn log(&self, cluster: &Cluster, pod: &Key, uid: &Uid, container: &str) -> LogTail {
        let Ok(found) = cluster.store.get(table::PODS, &pod.namespace, &pod.name) else {
            return LogTail::Failed(format!("pods \"{}\" not found", pod.name).into());
        };
        if Uid::parse(object::uid(&found)) != *uid {
            return LogTail::Failed(format!("pod {pod} is another one by now").into());
        }
        let Some(text) = log_of(cluster, pod, container) else {
            return LogTail::Failed(format!("container {container} of pod {pod} has no log").into());
        };
        let statuses = object::items(&found, "/status/containerStatuses");
        let status = statuses.iter().find(|status| object::text(status, "/name") == container);
        let started =
            status.and_then(|status| object::text(status, "/state/running/startedAt").parse::<Timestamp>().ok());
        let since = since(&text, LOG_LINES, started);
        let text = if self.broken == Some(Broken::EveryErrorIsALock) { all_locked(&text) } else { text };
        LogTail::Lines { since, text }
    }
}

/// What a read shows where nothing is in its way.
pub(in crate::sim) fn answer(probe: &Probe, cluster: &Cluster) -> Answer {
    Reads::new(None, Rng::with_seed(0)).answer(probe, &Weather::default(), cluster)
}

fn log_of(cluster: &Cluster, pod: &Key, container: &str) -> Option<Arc<str>> {
    let place =
        Place { namespace: pod.namespace.to_string(), pod: pod.name.to_string(), container: container.to_owned() };
    let log = cluster.log(cluster.process_in(&place)?)?;
    let mut newest: Vec<String> =
        log.lines().rev().take(LOG_LINES).map(|(at, line)| format!("{at} {line}\n")).collect();
    newest.reverse();
    Some(newest.concat().into())
}

/// The log of a driver that answers every failed call with the word for a lock.
fn all_locked(text: &str) -> Arc<str> {
    let line = |line: &str| match line.split_once(ANSWER) {
        Some((before, _)) => {
            format!("{before}{ANSWER}Aborted desc = an operation with the given Volume ID x already exists\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect::<String>().into()
}

fn place_of(kind: Kind) -> (&'static Resource, Source) {
    match kind {
        Kind::VolumeSnapshot => (table::SNAPSHOTS, Source::Snapshots),
        Kind::VolumeSnapshotContent => (table::CONTENTS, Source::Contents),
        Kind::PersistentVolumeClaim => (table::CLAIMS, Source::Claims),
        Kind::CsiDriver => (table::CSI_DRIVERS, Source::CsiDrivers),
        Kind::Lease => (table::LEASES, Source::Leases),
    }
}

fn live(cluster: &Cluster, kind: Kind, key: &Key, weather: &Weather) -> Live {
    let (resource, source) = place_of(kind);
    if let Some(words) = weather.sky(source).trouble() {
        return Live::Unknown(words.into());
    }
    match cluster.store.get(resource, &key.namespace, &key.name) {
        Ok(found) => Live::Present(Uid::parse(object::uid(&found))),
        Err(refusal) if refusal.reason == "NotFound" && cluster.store.serves(resource) => Live::Absent,
        Err(refusal) => Live::Unknown(refusal.message.into()),
    }
}

/// Where objects of this kind are.
pub(super) fn resource_of(kind: TargetKind) -> (&'static Resource, Source) {
    match kind {
        TargetKind::Snapshot => (table::SNAPSHOTS, Source::Snapshots),
        TargetKind::Content => (table::CONTENTS, Source::Contents),
        TargetKind::Pod => (table::PODS, Source::Pods),
        TargetKind::Lease => (table::LEASES, Source::Leases),
    }
}

/// An object as a fresh read shows it, by the same reader as a real server's.
pub(super) fn look_at(
    cluster: &Cluster,
    kind: TargetKind,
    key: &Key,
    weather: &Weather,
    broken: Option<Broken>,
) -> Looked {
    let (resource, source) = resource_of(kind);
    if let Some(words) = weather.sky(source).trouble() {
        return Looked::Unknown(words.into());
    }
    match cluster.store.get(resource, &key.namespace, &key.name) {
        Ok(mut found) => {
            if broken == Some(Broken::TrustsCopies) && kind == TargetKind::Content {
                line::as_made_here(Arc::make_mut(&mut found));
            }
            look(&found).map_or_else(
                || Looked::Unknown("the answer is not the object asked for".into()),
                |look| Looked::There(Box::new(look)),
            )
        }
        Err(refusal) if refusal.reason == "NotFound" && cluster.store.serves(resource) => Looked::Absent,
        Err(refusal) => Looked::Unknown(refusal.message.into()),
    }
}

fn newest_warning(cluster: &Cluster, claim: &Key, uid: &Uid) -> Option<Arc<str>> {
    let events = cluster.store.list(table::EVENTS, Some(&claim.namespace));
    let about = events.filter(|event| Uid::parse(object::text(event, "/involvedObject/uid")) == *uid);
    let newest = about
        .filter(|event| object::text(event, "/type") == "Warning")
        .max_by_key(|event| object::text(event, "/lastTimestamp").to_owned())?;
    Some(format!("{}: {}", object::text(newest, "/reason"), object::text(newest, "/message")).into())
}
