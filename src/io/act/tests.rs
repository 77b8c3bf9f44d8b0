//! What the hands keep to by themselves, whatever the engine asks for: a fresh read, one try, our lease, the deadline.

use http::Method;

use super::*;
use crate::domain::guard::tests::passed;
use crate::domain::ledger::Phase;
use crate::domain::name::{Key, Uid};
use crate::domain::record::DeletionPolicy;
use crate::domain::remedy::Step;
use crate::domain::remedy::action::{NUDGE, Orphan};
use crate::io::ledger::tests::sample;
use crate::io::tests::{Asked, BEGAN, Book, Told, Watch, ok, refused, server};

const SECOND: Duration = Duration::from_secs(1);

/// Hands before a server that answers so, with so much of the lease left.
struct Bench {
    hands: Hands<Watch>,
    book: Book,
    lease: watch::Sender<Option<Duration>>,
    told: mpsc::Receiver<Box<Record>>,
}

fn bench(left: Duration, answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Bench {
    let (client, book) = server(answer);
    let (lease, until) = watch::channel(Some(BEGAN + left));
    let (news, told) = mpsc::channel(NEWS);
    let hands = Hands { store: Store::new(client.clone()), client, lease: until, clock: Watch::start(), news };
    Bench { hands, book, lease, told }
}

/// Content `c` as the server has it.
fn content(uid: &str) -> Value {
    json!({
        "metadata": {"name": "c", "uid": uid, "resourceVersion": "41", "annotations": {"other": "x"}},
        "spec": {"driver": "d"},
    })
}

fn metadata(version: &str) -> Value {
    json!({"metadata": {"name": "r", "uid": "u-r", "resourceVersion": version, "creationTimestamp": "2026-11-22T20:00:00Z"}})
}

async fn act(bench: &Bench, lease_left: Duration) -> Acted {
    let errand = Effect::Act(Box::new(passed(Step::Nudge, lease_left)));
    match bench.hands.carry_out(errand).await {
        Some(Fact::Acted(acted)) => acted,
        other => panic!("{other:?}"),
    }
}

// === Actions ===

#[tokio::test(start_paused = true)]
async fn the_patch_is_made_of_the_fresh_read_and_sent_once() {
    let bench = bench(10 * SECOND, |_| ok(content("u")));
    let acted = act(&bench, 10 * SECOND).await;
    assert_eq!((acted.outcome, acted.attempt, &*acted.record), (Outcome::Applied, 1, "r"));
    let all = bench.book.all();
    assert_eq!(all.iter().map(|asked| asked.method.clone()).collect::<Vec<_>>(), [Method::GET, Method::PATCH]);
    assert!(all.iter().all(|asked| asked.uri == "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/c"));
    let pointer = NUDGE.replace('/', "~1");
    assert_eq!(
        all[1].body,
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            // The version of the read; the decision rested on 7.
            {"op": "test", "path": "/metadata/resourceVersion", "value": "41"},
            {"op": "add", "path": format!("/metadata/annotations/{pointer}"), "value": "2026-11-22T20:00:00Z"},
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_is_not_sent_again() {
    for (code, reason, outcome) in [
        (500, "InternalError", Outcome::Unreachable),
        (503, "ServiceUnavailable", Outcome::Unreachable),
        (429, "TooManyRequests", Outcome::Unreachable),
        (409, "Conflict", Outcome::Lost),
        (403, "Forbidden", Outcome::Denied),
    ] {
        let bench = bench(10 * SECOND, move |asked| match asked.method {
            Method::GET => ok(content("u")),
            _ => refused(code, reason),
        });
        assert_eq!(act(&bench, 10 * SECOND).await.outcome, outcome, "{code}");
        assert_eq!(bench.book.writes().len(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_what_is_not_what_was_meant() {
    type Server = fn(&Asked) -> Told;
    let another: Server = |_| ok(content("u-2"));
    let gone: Server = |_| refused(404, "NotFound");
    let unread: Server = |_| refused(500, "InternalError");
    for (answer, words) in [(another, "another object"), (gone, "is gone"), (unread, "cannot be read")] {
        let bench = bench(10 * SECOND, answer);
        let acted = act(&bench, 10 * SECOND).await;
        assert_eq!(acted.outcome, Outcome::Lost);
        assert!(acted.message.contains(words), "{}", acted.message);
        assert_eq!(bench.book.writes().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn without_our_lease_nothing_is_sent() {
    for until in [None, Some(BEGAN)] {
        let bench = bench(10 * SECOND, |_| ok(content("u")));
        bench.lease.send_replace(until);
        let acted = act(&bench, 10 * SECOND).await;
        assert_eq!((acted.outcome, bench.book.all().len()), (Outcome::Lost, 0), "{until:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_over_between_the_read_and_the_write_is_not_written() {
    let slow = |asked: &Asked| match asked.method {
        Method::GET => ok(content("u")).after(2),
        _ => ok(content("u")),
    };
    // Our lease runs out while the target is read; or it does not.
    for (lease, writes) in [(1, 0), (10, 1)] {
        let bench = bench(lease * SECOND, slow);
        let acted = act(&bench, 10 * SECOND).await;
        assert_eq!(bench.book.writes().len(), writes, "{lease}");
        assert_eq!(acted.outcome == Outcome::Applied, writes == 1);
    }
    // It is given up meanwhile.
    let bench = bench(10 * SECOND, slow);
    let given_up = async {
        tokio::time::sleep(SECOND).await;
        bench.lease.send_replace(None);
    };
    let (acted, ()) = tokio::join!(act(&bench, 10 * SECOND), given_up);
    assert_eq!((acted.outcome, bench.book.writes().len()), (Outcome::Lost, 0));
}

#[tokio::test(start_paused = true)]
async fn an_action_that_waited_too_long_for_its_turn_is_not_begun() {
    let bench = bench(60 * SECOND, |_| ok(content("u")));
    tokio::time::sleep(ACT).await;
    let acted = act(&bench, 10 * SECOND).await;
    assert_eq!((acted.outcome, bench.book.all().len()), (Outcome::Lost, 0));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_waited_for_no_longer_than_its_time() {
    let bench = bench(10 * SECOND, |asked| match asked.method {
        Method::GET => ok(content("u")).after(1),
        _ => ok(content("u")).after(3600),
    });
    let began = tokio::time::Instant::now();
    assert_eq!(act(&bench, 10 * SECOND).await.outcome, Outcome::Unreachable);
    assert_eq!(began.elapsed(), ACT);
}

// === The ledger ===

async fn stored(bench: &Bench, record: Record) -> Result<Box<str>, Arc<str>> {
    match bench.hands.carry_out(Effect::Record(Box::new(record))).await {
        Some(Fact::Recorded(_, stored)) => stored,
        other => panic!("{other:?}"),
    }
}

fn fresh() -> Record {
    Record { version: "".into(), ..sample(Phase::Held) }
}

/// A server of entries: creation is version 1, a status version 2, each after so many seconds.
fn entries(seconds: u64) -> impl Fn(&Asked) -> Told {
    move |asked| ok(metadata(if asked.method == Method::POST { "1" } else { "2" })).after(seconds)
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_created_and_its_status_patched_on_the_version_that_gave() {
    let mut bench = bench(10 * SECOND, entries(0));
    assert_eq!(stored(&bench, fresh()).await.as_deref(), Ok("2"));
    let writes = bench.book.writes();
    assert_eq!((&writes[0].method, writes[0].body["kind"].as_str()), (&Method::POST, Some("Remediation")));
    assert!(writes[1].uri.ends_with("/remediations/missed-event-u-1-6b49d200/status"), "{}", writes[1].uri);
    assert_eq!(writes[1].body["metadata"]["resourceVersion"], "1");
    assert!(bench.told.try_recv().is_ok(), "what is stored is told");
    // One that is there already is patched on the version that the engine knows.
    assert_eq!(stored(&bench, sample(Phase::Held)).await.as_deref(), Ok("2"));
    assert_eq!(bench.book.writes()[2].body["metadata"]["resourceVersion"], "7");
}

#[tokio::test(start_paused = true)]
async fn the_second_write_of_an_entry_is_within_our_lease_too() {
    let mut short = bench(3 * SECOND, entries(2));
    assert!(stored(&short, fresh()).await.is_err());
    assert!(short.told.try_recv().is_err(), "what was not stored is not told");
    // It ends two seconds before its time, and the other replica may begin.
    let given_up = bench(10 * SECOND, entries(2));
    let losing = async {
        tokio::time::sleep(SECOND).await;
        given_up.lease.send_replace(None);
    };
    let (answer, ()) = tokio::join!(stored(&given_up, fresh()), losing);
    assert_eq!(answer.unwrap_err(), OVER.into());
    assert_eq!(given_up.book.writes().len(), 1, "the status is not written any more");
    assert!(stored(&given_up, fresh()).await.is_err());
    assert_eq!(given_up.book.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_orphan_that_is_entered_already_is_announced_anew() {
    let orphan = Orphan {
        driver: "d".into(),
        handle: "h".into(),
        class: None,
        policy: DeletionPolicy::Delete,
        secret: None,
        volume_handle: None,
        content: (Key::cluster("c"), Uid::parse("u")),
        snapshot: (Key::namespaced("ns", "s"), None),
        ceph: None,
        reason: "why".to_owned(),
    };
    let bench = bench(10 * SECOND, |asked| match asked.method {
        Method::POST => refused(409, "AlreadyExists"),
        Method::GET => ok(metadata("30")),
        _ => ok(metadata("31")),
    });
    bench.hands.carry_out(Effect::Announce(Box::new(orphan), "r".into())).await;
    let writes = bench.book.writes();
    assert_eq!(writes.len(), 2);
    assert_eq!(writes[1].body["metadata"]["resourceVersion"], "30");
    assert_eq!(writes[1].body["status"]["phase"], "Announced");
}

/// Who let the content go may have died before it could write that: whoever ends the episode does.
#[tokio::test(start_paused = true)]
async fn an_episode_that_ends_confirms_what_it_announced_if_the_content_is_gone() {
    let written = async |phase: Phase, uid: Option<&'static str>, entry: Option<&'static str>| {
        let bench = bench(10 * SECOND, move |asked| {
            let (get, content) = (asked.method == Method::GET, asked.uri.contains("/volumesnapshotcontents/"));
            match uid {
                None if get && content => refused(404, "NotFound"),
                Some("unread") if get && content => refused(500, "InternalError"),
                Some(uid) if get && content => {
                    ok(json!({"metadata": {"name": "snapcontent-1", "uid": uid, "resourceVersion": "41"}}))
                }
                _ => {
                    let mut answer = metadata("30");
                    answer["status"] = json!({"phase": entry});
                    ok(answer)
                }
            }
        });
        let record = Record { orphan: Some("orphan-u-1".into()), ..sample(phase) };
        assert!(stored(&bench, record).await.is_ok());
        let phases = |one: Asked| one.body["status"]["phase"].as_str().unwrap_or_default().to_owned();
        bench.book.writes().into_iter().map(phases).collect::<Vec<_>>()
    };
    for entry in [None, Some("Announced")] {
        assert_eq!(written(Phase::Done, None, entry).await, ["Orphaned", "Done"], "the entry first: {entry:?}");
    }
    assert_eq!(written(Phase::Lapsed, Some("u-2"), None).await, ["Orphaned", "Lapsed"], "another one of its name");
    assert_eq!(written(Phase::Failed, Some("u-1"), None).await, ["Failed"], "it still holds the handle");
    assert_eq!(written(Phase::Done, Some("unread"), None).await, ["Done"], "nobody knows whether it does");
    assert_eq!(written(Phase::Done, None, Some("Reclaiming")).await, ["Done"], "one that has come further");
    assert_eq!(written(Phase::Verifying, None, None).await, ["Verifying"], "one that is not over");
}

#[tokio::test(start_paused = true)]
async fn an_old_entry_is_deleted_as_it_was_read() {
    let bench = bench(10 * SECOND, |_| ok(metadata("9")));
    bench.hands.carry_out(Effect::Forget("r".into())).await;
    let writes = bench.book.writes();
    assert_eq!((writes.len(), &writes[0].method), (1, &Method::DELETE));
    assert_eq!(writes[0].body["preconditions"], json!({"uid": "u-r", "resourceVersion": "9"}));
}

// === All of it ===

#[tokio::test(start_paused = true)]
async fn an_event_that_hangs_keeps_no_entry_waiting() {
    let (client, book) =
        server(|asked| if asked.uri.contains("/events") { ok(json!({})).after(3600) } else { entries(0)(asked) });
    let (_lease, until) = watch::channel(Some(BEGAN + 3600 * SECOND));
    let (ask, errands) = mpsc::channel(16);
    let (facts, mut told) = mpsc::channel(16);
    let reporter = Reporter::new(client.clone(), "me".into(), true, None);
    tokio::spawn(run(client, errands, facts, until, Watch::start(), reporter));
    let began = tokio::time::Instant::now();
    for number in 0..20 {
        let record = Record { name: format!("r-{number}").into(), ..sample(Phase::Failed) };
        ask.send(Effect::Record(Box::new(record))).await.unwrap();
        assert!(matches!(told.recv().await, Some(Fact::Recorded(_, Ok(_)))));
    }
    assert!(began.elapsed() < SECOND);
    assert!(book.writes().iter().any(|asked| asked.uri.contains("/events")));
}
