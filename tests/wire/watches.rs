//! Watches: cut, resumed, too old, silent, dead, slow to be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use serde_json::json;
use volwarden::domain::fact::Source;

use super::server::{
    Reply, SNAPSHOTS, Seen, Server, Step, added, bookmark, event, list_end, refusal, snapshot, status,
};

/// A server that streams the list of `a` at version 9 and then does what the script says for later requests.
fn after_list(mut later: impl FnMut(&Seen) -> Option<Reply> + Send + 'static, tail: fn() -> Vec<Step>) -> Server {
    let mut listed = false;
    Server::new(move |seen| {
        if seen.path != SNAPSHOTS {
            return None;
        }
        if seen.streams() && !std::mem::replace(&mut listed, true) {
            let mut steps = vec![added("a", "4"), added("b", "5"), Step::Line(list_end("9"))];
            steps.extend(tail());
            return Some(Reply::Stream(steps));
        }
        later(seen)
    })
}

fn resumed(server: &Server) -> Vec<String> {
    server.seen(SNAPSHOTS).iter().filter_map(Seen::resumes).map(ToOwned::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cut_watch_goes_on_where_it_was_without_a_new_list() {
    let cuts: [fn() -> Vec<Step>; 3] = [
        || vec![added("c", "12"), Step::Cut],
        || vec![added("c", "12")],
        // A line cut in two: its beginning must not count.
        || vec![added("c", "12"), Step::Raw(event("ADDED", &snapshot("d", "13")).chars().take(60).collect())],
    ];
    for tail in cuts {
        let server = after_list(|seen| seen.resumes().map(|_| Reply::Stream(vec![added("d", "13"), Step::Hang])), tail);
        let mut facts = server.watch();
        assert_eq!(facts.until("+d").await, ["began", "+a", "+b", "ended", "+c", "+d"]);
        assert_eq!(resumed(&server), ["12"]);
        assert_eq!(server.seen(SNAPSHOTS).iter().filter(|seen| seen.streams() || seen.pages()).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_moves_the_place_to_go_on_from() {
    let server = after_list(
        |seen| seen.resumes().map(|_| Reply::Stream(vec![Step::Hang])),
        || vec![added("c", "12"), Step::Line(bookmark("40")), Step::Cut],
    );
    let mut facts = server.watch();
    facts.until("progress").await;
    facts.during(Duration::from_secs(10)).await;
    assert_eq!(resumed(&server), ["40"]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_told_by_name_and_moves_on_too() {
    let server = after_list(
        |seen| seen.resumes().map(|_| Reply::Stream(vec![Step::Hang])),
        || vec![Step::Line(event("DELETED", &snapshot("a", "21"))), Step::Cut],
    );
    let mut facts = server.watch();
    assert_eq!(facts.until("-a").await.last().unwrap(), "-a");
    facts.during(Duration::from_secs(10)).await;
    assert_eq!(resumed(&server), ["21"]);
}

#[tokio::test(start_paused = true)]
async fn gone_leads_to_a_new_list_that_makes_deletions_explicit() {
    let gone: [fn() -> Reply; 2] = [
        || refusal(410, "Expired", "too old resource version"),
        || Reply::Stream(vec![Step::Line(event("ERROR", &status(410, "Expired", "too old resource version")))]),
    ];
    for gone in gone {
        let server = after_list(
            move |seen| match seen.resumes() {
                Some("9") => Some(gone()),
                Some(_) => None,
                None => Some(Reply::Stream(vec![added("b", "5"), Step::Line(list_end("30")), Step::Hang])),
            },
            // Longer than a moment: a second 410 right after a list would be a failure.
            || vec![Step::Wait(Duration::from_secs(30)), Step::Cut],
        );
        let mut facts = server.watch();
        facts.until("ended").await;
        // `a` is not in the second list: between these two it is deleted.
        assert_eq!(facts.until("ended").await, ["began", "+b", "ended"]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_error_in_the_stream_is_a_failure_and_no_relist() {
    let server = after_list(
        |seen| seen.resumes().map(|_| Reply::Stream(vec![Step::Hang])),
        || vec![Step::Line(event("ERROR", &status(500, "InternalError", "etcd is away")))],
    );
    let mut facts = server.watch();
    facts.until("ended").await;
    assert_eq!(facts.next().await, "failing: 500: etcd is away");
    assert_eq!(facts.next().await, "progress");
    assert_eq!(resumed(&server), ["9"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_failed_is_not_called_alive_by_a_watch_that_is_refused_at_once() {
    // The server is back, takes the watch and says in it that we are too late: no sign of life before the list.
    let mut asked = 0;
    let server = after_list(
        move |seen| {
            seen.resumes()?;
            asked += 1;
            Some(match asked {
                1 => refusal(503, "ServiceUnavailable", "starting"),
                _ => Reply::Stream(vec![
                    Step::Wait(Duration::from_millis(200)),
                    Step::Line(event("ERROR", &status(410, "Expired", "too old"))),
                ]),
            })
        },
        || vec![Step::Wait(Duration::from_secs(30)), Step::Cut],
    );
    let mut facts = server.watch();
    facts.until("ended").await;
    let words = facts.until("ended").await;
    assert!(words[0].starts_with("failing: 503"), "{words:?}");
    assert_eq!(words[1..], ["began", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn ten_quiet_minutes_are_shown_to_be_quiet() {
    let server = after_list(|_| None, || vec![Step::Hang]);
    let mut facts = server.watch();
    facts.until("ended").await;
    let words = facts.during(Duration::from_secs(600)).await;
    // Answers to questions; and twice a watch that ended in its time and goes on.
    assert!(words.iter().all(|word| word == "answered" || word == "progress"), "{words:?}");
    assert!((1..=3).contains(&words.iter().filter(|word| *word == "progress").count()), "{words:?}");
    assert!((8..=14).contains(&words.len()), "{} signs of life", words.len());
    let probes = server.seen(SNAPSHOTS).iter().filter(|seen| seen.probes()).count();
    assert!((8..=12).contains(&probes), "{probes} probes");
    assert_eq!(server.seen(SNAPSHOTS).iter().filter(|seen| seen.streams()).count(), 1, "no new list");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_is_a_failing_source_and_the_watch_is_made_anew() {
    let failures: [fn() -> Reply; 4] = [
        || refusal(500, "InternalError", "etcd is away"),
        || Reply::Hang,
        || Reply::Text(200, "<html>login</html>"),
        || Reply::Json(200, json!({"kind": "Status"})),
    ];
    for fail in failures {
        let server = after_list(
            move |seen| match seen.probes() {
                true => Some(fail()),
                false => seen.resumes().map(|_| Reply::Stream(vec![Step::Hang])),
            },
            || vec![Step::Hang],
        );
        let mut facts = server.watch();
        facts.until("ended").await;
        let start = tokio::time::Instant::now();
        let word = facts.next().await;
        assert!(word.starts_with("failing: "), "{word}");
        assert!((60..=71).contains(&start.elapsed().as_secs()), "after {:?}", start.elapsed());
        assert_eq!(facts.next().await, "progress", "the watch made anew goes on");
        assert_eq!(resumed(&server), ["9"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_dropped_although_probes_answer() {
    // Without bookmarks after the watch's own time, with them as soon as they stay away.
    type Tail = fn() -> Vec<Step>;
    let tails: [(Tail, u64, &str); 2] =
        [(|| vec![Step::Hang], 310, "9"), (|| vec![Step::Line(bookmark("11")), Step::Hang], 155, "11")];
    for (tail, bound, version) in tails {
        let server = after_list(|_| None, tail);
        let mut facts = server.watch();
        facts.until("ended").await;
        let start = tokio::time::Instant::now();
        facts.during(Duration::from_secs(bound)).await;
        let again = server.seen(SNAPSHOTS).into_iter().find(|seen| seen.resumes().is_some()).expect("watched again");
        assert_eq!(again.resumes(), Some(version));
        assert!((again.at - start).as_secs() >= bound / 2, "not before it can be called dead");
    }
}

#[tokio::test(start_paused = true)]
async fn bookmarks_are_signs_of_life_but_not_a_flood() {
    let server = after_list(
        |_| None,
        || {
            let marks =
                (0..100).flat_map(|n| [Step::Line(bookmark(&n.to_string())), Step::Wait(Duration::from_millis(100))]);
            marks.chain([Step::Hang]).collect()
        },
    );
    let mut facts = server.watch();
    facts.until("ended").await;
    let words = facts.during(Duration::from_secs(12)).await;
    assert!((2..=3).contains(&words.len()), "{words:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_always_cut_is_resumed_ever_more_slowly() {
    let mut cuts = 0;
    let cut = move |seen: &Seen| {
        seen.resumes()?;
        cuts += 1;
        // Without a delay this would go on for ever at one moment.
        Some(if cuts < 200 { Reply::Stream(vec![]) } else { Reply::Hang })
    };
    let server = after_list(cut, || vec![Step::Cut]);
    let mut facts = server.watch();
    facts.during(Duration::from_secs(600)).await;
    let watches = resumed(&server).len();
    assert!((20..=60).contains(&watches), "{watches} watches in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_holds_the_server_back() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = Server::new(move |seen| {
        if seen.path != SNAPSHOTS || !seen.streams() {
            return None;
        }
        let counter = Arc::clone(&counter);
        Some(Reply::Body(Body::from_stream(stream::repeat_with(move || {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            let line = event("ADDED", &snapshot(&format!("s{number}"), "1")) + "\n";
            Ok::<_, std::io::Error>(Bytes::from(line))
        }))))
    });
    let mut facts = server.watch_through(4);
    assert_eq!(facts.next().await, "began");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let held = sent.load(Ordering::Relaxed);
    assert!(held <= 8, "{held} objects were read while nobody took them");
    for _ in 0..1000 {
        facts.next().await;
    }
    assert!(sent.load(Ordering::Relaxed) >= 1000);
}

#[tokio::test(start_paused = true)]
async fn every_task_ends_when_nobody_listens() {
    let server = after_list(|_| None, || vec![Step::Hang]);
    let mut facts = server.watch();
    facts.until("ended").await;
    let mut tasks = facts.drop_receiver();
    assert_eq!(tasks.len(), Source::ALL.len());
    let ended = async { while tasks.join_next().await.is_some_and(|end| end.is_ok()) {} };
    tokio::time::timeout(Duration::from_secs(1), ended).await.expect("tasks go on");
    assert!(tasks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_removed_while_watched_becomes_not_installed() {
    let mut removed = false;
    let server = Server::new(move |seen| {
        if seen.resumes().is_some() && seen.path == SNAPSHOTS {
            removed = true;
            return Some(Reply::Text(404, "404 page not found"));
        }
        if removed && seen.path == super::server::GROUP {
            return Some(Reply::Text(404, "404 page not found"));
        }
        let list = seen.path == SNAPSHOTS && seen.streams();
        list.then(|| Reply::Stream(vec![Step::Line(list_end("9")), Step::Wait(Duration::from_secs(30)), Step::Cut]))
    });
    let mut facts = server.watch();
    facts.until("ended").await;
    assert_eq!(facts.next().await, "not installed");
}

#[tokio::test(start_paused = true)]
async fn selectors_keep_the_noise_on_the_server() {
    let server = Server::new(|_| None);
    let mut facts = server.watch();
    facts.during(Duration::from_secs(70)).await;
    let all = |path: &str, name: &str, value: &str| {
        let seen = server.seen(path);
        assert!(!seen.is_empty(), "{path}");
        seen.iter().filter(|seen| seen.get(name) == Some(value)).count()
    };
    assert!(all("/apis/coordination.k8s.io/v1/leases", "fieldSelector", "metadata.namespace!=kube-node-lease") >= 2);
    assert!(all("/api/v1/events", "fieldSelector", "involvedObject.kind=VolumeSnapshotContent") >= 2);
    assert!(all("/api/v1/events", "fieldSelector", "involvedObject.kind=VolumeSnapshot") >= 2);
    assert!(all("/apis/batch/v1/jobs", "labelSelector", "app.kubernetes.io/created-by=volsync") >= 2);
    let pods = server.seen("/api/v1/pods");
    let watch = pods.iter().find(|seen| seen.streams()).unwrap();
    let seconds: u64 = watch.get("timeoutSeconds").unwrap().parse().unwrap();
    assert!((280..=300).contains(&seconds), "{seconds}");
}
