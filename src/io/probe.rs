//! Makes the reads the engine asks for: a live GET, the tail of a log, the Events of a claim.
//!
//! Each read is bounded in time and size and answers with what was really learned. "Absent" is only ever the
//! API server's own word about that object: taking a proxy's 404, or another's pod of the same name, for an
//! answer would let a deletion rest on nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc;

use crate::api::foreign::{Bare, Event, Page, Pod};
use crate::domain::fact::{Answer, Fact, Live, LogTail, Probe};
use crate::domain::name::{Key, Uid};
use crate::domain::record::Kind;
use crate::domain::remedy::action::TargetKind;
use crate::domain::remedy::fresh::Looked;

use super::look::look;
use super::request::{self, JSON, METADATA, Refusal, encode};

/// Reads under way at the same time.
const AT_ONCE: usize = 4;
/// Patience for one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most that is read of one object, in bytes.
const OBJECT_BYTES: usize = 4 * 1024 * 1024;
/// Most that is read of a log, in bytes.
const LOG_BYTES: usize = 1024 * 1024;
/// Lines of a log to ask for: fewer where the lines are so long that they exceed [`LOG_BYTES`], because the
/// server cuts at the end and would keep the newest from us.
const LOG_LINES: [usize; 3] = [2000, 400, 50];
/// A log whose first line is this close to the container's start has not been rotated away.
const STARTUP: Duration = Duration::from_secs(60);
/// Events of a claim to ask for.
const EVENTS: u32 = 200;

/// Serves probes, four at a time, until the request channel closes or nobody wants the answers any more.
pub async fn run(client: Client, requests: mpsc::Receiver<Probe>, facts: mpsc::Sender<Fact>) {
    let probes =
        stream::unfold(requests, |mut requests| async move { requests.recv().await.map(|probe| (probe, requests)) });
    let served = probes.for_each_concurrent(AT_ONCE, |probe| {
        let client = &client;
        let facts = &facts;
        async move {
            let answer = answer(client, &probe).await;
            // The receiver's end is noticed below.
            let _ = facts.send(Fact::Answered(probe, answer)).await;
        }
    });
    tokio::select! {
        () = facts.closed() => {}
        () = served => {}
    }
}

async fn answer(client: &Client, probe: &Probe) -> Answer {
    match probe {
        Probe::Get { kind, key } => Answer::Get(live(client, *kind, key).await),
        Probe::Log { pod, uid, container } => Answer::Log(log(client, pod, uid, container).await),
        Probe::ClaimEvents { claim, uid } => Answer::ClaimEvents(claim_events(client, claim, uid).await),
        Probe::Look { kind, key } => Answer::Look(look_at(client, *kind, key, PATIENCE).await),
    }
}

// === Live reads ===

fn path_of(kind: Kind, key: &Key) -> String {
    let Key { namespace, name } = key;
    match kind {
        Kind::VolumeSnapshot => {
            format!("/apis/snapshot.storage.k8s.io/v1/namespaces/{namespace}/volumesnapshots/{name}")
        }
        Kind::VolumeSnapshotContent => format!("/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/{name}"),
        Kind::PersistentVolumeClaim => format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"),
        Kind::CsiDriver => format!("/apis/storage.k8s.io/v1/csidrivers/{name}"),
        Kind::Lease => format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"),
    }
}

async fn live(client: &Client, kind: Kind, key: &Key) -> Live {
    let read = async {
        // Without a resourceVersion this is a read of the latest state, past every cache.
        let bytes = request::fetch(client, &path_of(kind, key), METADATA, OBJECT_BYTES, PATIENCE).await?;
        let bare: Bare<'_> = request::parse(&bytes)?;
        let uid = bare.metadata.uid.as_deref().filter(|uid| !uid.is_empty());
        let named = bare.metadata.name.as_deref() == Some(&*key.name);
        uid.filter(|_| named).map(Uid::parse).ok_or_else(|| Refusal::silent("the answer is not the object asked for"))
    };
    match read.await {
        Ok(uid) => Live::Present(uid),
        Err(refusal) if says_absent(&refusal, key) => Live::Absent,
        Err(refusal) => Live::Unknown(refusal.words),
    }
}

/// Path of an object that may be written to.
#[must_use]
pub fn target_path(kind: TargetKind, key: &Key) -> String {
    let Key { namespace, name } = key;
    match kind {
        TargetKind::Snapshot => path_of(Kind::VolumeSnapshot, key),
        TargetKind::Content => path_of(Kind::VolumeSnapshotContent, key),
        TargetKind::Lease => path_of(Kind::Lease, key),
        TargetKind::Pod => format!("/api/v1/namespaces/{namespace}/pods/{name}"),
    }
}

/// Reads an object afresh, past every cache.
pub async fn look_at(client: &Client, kind: TargetKind, key: &Key, patience: Duration) -> Looked {
    let read = async {
        let bytes = request::fetch(client, &target_path(kind, key), JSON, OBJECT_BYTES, patience).await?;
        let object: serde_json::Value = request::parse(&bytes)?;
        let named = object.pointer("/metadata/name").and_then(serde_json::Value::as_str) == Some(&*key.name);
        look(&object).filter(|_| named).ok_or_else(|| Refusal::silent("the answer is not the object asked for"))
    };
    match read.await {
        Ok(look) => Looked::There(Box::new(look)),
        Err(refusal) if says_absent(&refusal, key) => Looked::Absent,
        Err(refusal) => Looked::Unknown(refusal.words),
    }
}

/// Only a Status with the reason NotFound about this very name: a missing API answers 404 in plain text, and a
/// missing namespace or a proxy in between in its own words.
fn says_absent(refusal: &Refusal, key: &Key) -> bool {
    refusal.is(StatusCode::NOT_FOUND)
        && refusal.reason == "NotFound"
        && refusal.about.as_deref().is_none_or(|name| name == &*key.name)
}

// === Logs ===

async fn log(client: &Client, pod: &Key, uid: &Uid, container: &str) -> LogTail {
    match read_log(client, pod, uid, container).await {
        Ok(tail) => tail,
        Err(refusal) if refusal.forbidden() => LogTail::Forbidden,
        Err(refusal) => LogTail::Failed(refusal.words),
    }
}

async fn read_log(client: &Client, pod: &Key, uid: &Uid, container: &str) -> Result<LogTail, Refusal> {
    let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
    let bytes = request::fetch(client, &path, JSON, OBJECT_BYTES, PATIENCE).await?;
    let view: Pod<'_> = request::parse(&bytes)?;
    if view.metadata.uid.as_deref().map(Uid::parse).as_ref() != Some(uid) {
        return Err(Refusal::silent(format!("pod {pod} is another one by now")));
    }
    let started = started_at(&view, container);
    for lines in LOG_LINES {
        let mut uri = format!("{path}/log?timestamps=true&tailLines={lines}&limitBytes={LOG_BYTES}&container=");
        encode(&mut uri, container);
        let bytes = request::fetch(client, &uri, "*/*", LOG_BYTES.saturating_mul(2), PATIENCE).await?;
        if bytes.len() >= LOG_BYTES {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes);
        return Ok(LogTail::Lines { since: since(&text, lines, started), text: Arc::from(text) });
    }
    Err(Refusal::silent(format!("the last lines of the log of {pod} are longer than {LOG_BYTES} bytes")))
}

fn started_at(pod: &Pod<'_>, container: &str) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let known = all.into_iter().find(|status| status.name.as_deref() == Some(container))?;
    known.state.as_ref()?.running.as_ref()?.started_at.map(|at| at.0)
}

/// From when on the log is complete. A tail that was not cut goes back to the container's start, unless the
/// kubelet has rotated the file: so only where its first line is from about then. Otherwise from the first
/// line on, and nothing is known of an empty log.
#[must_use]
pub fn since(text: &str, asked: usize, started: Option<Timestamp>) -> Option<Timestamp> {
    let first = text.lines().find_map(|line| line.split(' ').next()?.parse::<Timestamp>().ok())?;
    let whole = text.lines().count() < asked;
    match started {
        Some(started) if whole && first.duration_since(started).unsigned_abs() <= STARTUP => Some(started.min(first)),
        _ => Some(first),
    }
}

// === Events ===

async fn claim_events(client: &Client, claim: &Key, uid: &Uid) -> Option<Arc<str>> {
    let mut uri = format!("/api/v1/namespaces/{}/events?limit={EVENTS}&fieldSelector=", claim.namespace);
    encode(&mut uri, &format!("involvedObject.uid={uid},type=Warning"));
    match newest_event(client, &uri).await {
        Ok(words) => words,
        Err(refusal) => {
            tracing::debug!(%claim, words = %refusal, "the claim's Events cannot be read");
            None
        }
    }
}

async fn newest_event(client: &Client, uri: &str) -> Result<Option<Arc<str>>, Refusal> {
    let bytes = request::fetch(client, uri, JSON, OBJECT_BYTES, PATIENCE).await?;
    let page: Page<'_> = request::parse(&bytes)?;
    let events = page.items.iter().flatten().filter_map(|item| serde_json::from_str::<Event<'_>>(item.get()).ok());
    let warnings = events.filter(|event| event.r#type.as_deref() == Some("Warning"));
    let newest = warnings.max_by_key(|event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time);
        let times = [event.last_timestamp, series, event.event_time, event.metadata.creation_timestamp];
        times.into_iter().flatten().map(|moment| moment.0).max()
    });
    Ok(newest.map(|event| {
        let reason = event.reason.as_deref().unwrap_or_default();
        let message = event.message.as_deref().unwrap_or_default();
        Arc::from(if reason.is_empty() { message.to_owned() } else { format!("{reason}: {message}") })
    }))
}
