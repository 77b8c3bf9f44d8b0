//! The reads the engine asks for: what counts as an answer.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use volwarden::domain::fact::{Answer, Fact, Live, LogTail, Probe};
use volwarden::domain::name::{Key, Uid};
use volwarden::domain::record::Kind;
use volwarden::io::probe;

use super::server::{Reply, Seen, Server, Step, refusal};

const UID: &str = "5286d2fc-b692-4bc7-90b0-d76f2e38d0f7";

/// Asks one probe of a server with this script.
async fn ask(script: impl FnMut(&Seen) -> Option<Reply> + Send + 'static, probe: Probe) -> (Answer, Vec<Seen>) {
    let server = Server::new(script);
    let (requests, receiver) = mpsc::channel(4);
    let (sender, mut facts) = mpsc::channel(4);
    let serving = tokio::spawn(probe::run(server.client(), receiver, sender));
    requests.send(probe.clone()).await.unwrap();
    drop(requests);
    let Some(Fact::Answered(of, answer)) = facts.recv().await else { panic!("no answer") };
    assert_eq!(of, probe);
    serving.await.expect("it ends when the requests do");
    let mut seen = Vec::new();
    for path in [VS, POD, LOG, EVENTS] {
        seen.extend(server.seen(path));
    }
    (answer, seen)
}

const VS: &str = "/apis/snapshot.storage.k8s.io/v1/namespaces/media/volumesnapshots/a";
const POD: &str = "/api/v1/namespaces/rook-ceph/pods/ctrl-0";
const LOG: &str = "/api/v1/namespaces/rook-ceph/pods/ctrl-0/log";
const EVENTS: &str = "/api/v1/namespaces/media/events";

fn get() -> Probe {
    Probe::Get { kind: Kind::VolumeSnapshot, key: Key::namespaced("media", "a") }
}

fn absent(name: Option<&str>) -> Reply {
    let details = name.map_or(json!({}), |name| json!({"name": name, "kind": "volumesnapshots"}));
    Reply::Json(
        404,
        json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "volumesnapshots \"a\" not found", "details": details}),
    )
}

#[tokio::test(start_paused = true)]
async fn a_live_read_asks_for_metadata_past_every_cache() {
    let object = json!({"kind": "PartialObjectMetadata", "metadata": {"name": "a", "namespace": "media", "uid": UID}});
    let (answer, seen) = ask(move |_| Some(Reply::Json(200, object.clone())), get()).await;
    assert_eq!(answer, Answer::Get(Live::Present(Uid::parse(UID))));
    assert!(seen[0].accept.contains("as=PartialObjectMetadata"), "{}", seen[0].accept);
    assert_eq!(seen[0].get("resourceVersion"), None);
}

#[tokio::test(start_paused = true)]
async fn only_the_servers_word_about_this_object_is_an_absence() {
    let (answer, _) = ask(|_| Some(absent(Some("a"))), get()).await;
    assert_eq!(answer, Answer::Get(Live::Absent));
    let (answer, _) = ask(|_| Some(absent(None)), get()).await;
    assert_eq!(answer, Answer::Get(Live::Absent));
    let others: [fn() -> Reply; 8] = [
        || Reply::Text(404, "404 page not found"),
        || absent(Some("media")),
        || refusal(403, "Forbidden", "no"),
        || refusal(500, "InternalError", "no"),
        || Reply::Text(200, "<html>login</html>"),
        || Reply::Json(200, json!({"metadata": {"name": "another", "uid": UID}})),
        || Reply::Json(200, json!({"metadata": {"name": "a"}})),
        || Reply::Hang,
    ];
    for (number, other) in others.into_iter().enumerate() {
        let (answer, _) = ask(move |_| Some(other()), get()).await;
        assert!(matches!(answer, Answer::Get(Live::Unknown(_))), "{number}: {answer:?}");
    }
}

// === Logs ===

fn log() -> Probe {
    Probe::Log {
        pod: Key::namespaced("rook-ceph", "ctrl-0"),
        uid: Uid::parse(UID),
        container: "csi-snapshotter".into(),
    }
}

fn pod(uid: &str, started: &str) -> Value {
    json!({"metadata": {"name": "ctrl-0", "namespace": "rook-ceph", "uid": uid}, "status": {"containerStatuses": [
        {"name": "csi-snapshotter", "ready": true, "restartCount": 0, "state": {"running": {"startedAt": started}}}]}})
}

async fn read_log(uid: &'static str, started: &'static str, text: impl Fn(&Seen) -> Reply + Send + 'static) -> LogTail {
    let script = move |seen: &Seen| match seen.path.as_str() {
        POD => Some(Reply::Json(200, pod(uid, started))),
        _ => Some(text(seen)),
    };
    let (answer, seen) = ask(script, log()).await;
    for seen in seen.iter().filter(|seen| seen.path == LOG) {
        assert_eq!(seen.get("container"), Some("csi-snapshotter"));
        assert_eq!(seen.get("timestamps"), Some("true"));
        assert!(seen.get("limitBytes").is_some());
    }
    let Answer::Log(tail) = answer else { panic!("{answer:?}") };
    tail
}

fn raw(text: String) -> Reply {
    Reply::Stream(vec![Step::Raw(text)])
}

fn since(tail: &LogTail) -> Option<String> {
    let LogTail::Lines { since, .. } = tail else { panic!("{tail:?}") };
    since.map(|at| at.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_log_is_complete_as_far_back_as_it_shows() {
    let line = "2026-11-22T10:00:02.5Z I1122 Version: v8.5.0\n2026-11-22T11:00:00Z E1122 could not sync content\n";
    // From the container's start, when the first line is from about then.
    let tail = read_log(UID, "2026-11-22T10:00:00Z", move |_| raw(line.to_owned())).await;
    assert_eq!(since(&tail).as_deref(), Some("2026-11-22T10:00:00Z"));
    // Rotated by the kubelet: from the first line only.
    let tail = read_log(UID, "2026-11-20T10:00:00Z", move |_| raw(line.to_owned())).await;
    assert_eq!(since(&tail).as_deref(), Some("2026-11-22T10:00:02.5Z"));
    // Cut to its tail: from the first line only.
    let tail = read_log(UID, "2026-11-22T10:00:00Z", |seen| {
        let lines: usize = seen.get("tailLines").unwrap().parse().unwrap();
        raw("2026-11-22T10:00:30Z x\n".repeat(lines))
    });
    assert_eq!(since(&tail.await).as_deref(), Some("2026-11-22T10:00:30Z"));
    // Empty, or without times: nothing is known.
    for text in ["", "no time here\n"] {
        let tail = read_log(UID, "2026-11-22T10:00:00Z", move |_| raw(text.to_owned())).await;
        assert_eq!(since(&tail), None);
    }
}

#[tokio::test(start_paused = true)]
async fn lines_too_long_for_the_limit_are_asked_for_again_in_smaller_number() {
    // `limitBytes` cuts at the end, where the newest lines are.
    let tail = read_log(UID, "2026-11-22T10:00:00Z", |seen| {
        let lines: usize = seen.get("tailLines").unwrap().parse().unwrap();
        let limit: usize = seen.get("limitBytes").unwrap().parse().unwrap();
        let mut text = format!("2026-11-22T10:00:30Z {}\n", "x".repeat(1000)).repeat(lines - 1);
        text.push_str("2026-11-22T12:00:00Z newest\n");
        text.truncate(limit);
        raw(text)
    });
    let LogTail::Lines { text, .. } = tail.await else { panic!("no lines") };
    assert!(text.ends_with("newest\n"));
    let tail =
        read_log(UID, "2026-11-22T10:00:00Z", |seen| raw("x".repeat(seen.get("limitBytes").unwrap().parse().unwrap())));
    assert!(matches!(tail.await, LogTail::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn another_pod_of_the_same_name_is_no_answer() {
    let other = "00000000-b692-4bc7-90b0-d76f2e38d0f7";
    let tail = read_log(other, "2026-11-22T10:00:00Z", |_| raw("2026-11-22T10:00:00Z x\n".to_owned())).await;
    assert!(matches!(tail, LogTail::Failed(_)), "{tail:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_refused_is_told_from_one_that_fails() {
    let tail = read_log(UID, "2026-11-22T10:00:00Z", |_| refusal(403, "Forbidden", "no pods/log")).await;
    assert_eq!(tail, LogTail::Forbidden);
    let tail = read_log(UID, "2026-11-22T10:00:00Z", |_| refusal(400, "BadRequest", "container is waiting")).await;
    assert!(matches!(&tail, LogTail::Failed(words) if words.contains("container is waiting")), "{tail:?}");
    let tail = read_log(UID, "2026-11-22T10:00:00Z", |_| Reply::Hang).await;
    assert!(matches!(&tail, LogTail::Failed(words) if words.contains("10 s")), "{tail:?}");
}

// === Events ===

#[tokio::test(start_paused = true)]
async fn the_newest_warning_about_a_claim_is_its_cause() {
    let event = |kind: &str, at: &str, message: &str| {
        json!({"metadata": {"name": "e"}, "type": kind, "reason": "ProvisioningFailed", "message": message,
            "lastTimestamp": at})
    };
    let items = vec![
        event("Warning", "2026-11-22T10:00:00Z", "old"),
        json!({"metadata": {"name": "n"}, "type": "Warning", "reason": "Slow", "message": "newest", "lastTimestamp": null,
            "eventTime": "2026-11-22T10:30:00.000001Z", "series": {"count": 3, "lastObservedTime": "2026-11-22T12:00:00Z"}}),
        json!({"metadata": 7}),
        event("Warning", "2026-11-22T11:00:00Z", "newer"),
        event("Normal", "2026-11-22T13:00:00Z", "all is well"),
    ];
    let probe = || Probe::ClaimEvents { claim: Key::namespaced("media", "data"), uid: Uid::parse(UID) };
    let (answer, seen) =
        ask(move |_| Some(Reply::Json(200, json!({"metadata": {}, "items": items.clone()}))), probe()).await;
    assert_eq!(answer, Answer::ClaimEvents(Some("Slow: newest".into())));
    assert_eq!(seen[0].get("fieldSelector"), Some(format!("involvedObject.uid={UID},type=Warning").as_str()));
    let (answer, _) = ask(|_| Some(Reply::Json(200, json!({"metadata": {}, "items": []}))), probe()).await;
    assert_eq!(answer, Answer::ClaimEvents(None));
    let (answer, _) = ask(|_| Some(refusal(403, "Forbidden", "no")), probe()).await;
    assert_eq!(answer, Answer::ClaimEvents(None));
}

// === Serving ===

#[tokio::test(start_paused = true)]
async fn four_reads_at_a_time_and_a_hung_one_holds_none_up_for_ever() {
    let server = Server::new(|_| Some(Reply::Hang));
    let (requests, receiver) = mpsc::channel(32);
    let (sender, mut facts) = mpsc::channel(32);
    let serving = tokio::spawn(probe::run(server.client(), receiver, sender));
    for _ in 0..12 {
        requests.send(get()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.seen(VS).len(), 4);
    for _ in 0..12 {
        facts.recv().await.unwrap();
    }
    let times: Vec<_> = server.seen(VS).iter().map(|seen| seen.at).collect();
    assert_eq!((times[11] - times[0]).as_secs(), 20, "three rounds of ten seconds");
    drop(facts);
    tokio::time::timeout(Duration::from_secs(1), serving).await.expect("nobody listens").unwrap();
}
