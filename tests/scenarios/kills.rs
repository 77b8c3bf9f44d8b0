//! `kill -9` before and after every write: it was never made, or it has happened and whoever made it never learns so.
//!
//! Two replicas stand behind a proxy each. A proxy that is asked for a write of a kind that was not seen before kills
//! its replica and drops the write; the next time it passes the write on and kills its replica instead of answering.
//! The other one takes over, and the dead one is started again. It goes on like that until the ladders are at their
//! ends. The audit log tells whether anything was done twice.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use stack::{DRIVER, Fault, Options, Rook, Stack};
use volwarden::io::client::{self, Client, Target};

use super::repairs::{driver_is_gone, handle_of, handles, impatient, only_we_remove_finalizers, orphaned};
use super::shapes::{stripped, three_2_only_the_provisioners_finalizer};
use super::story::{Cut, Story};
use super::warden::{self, Entry, Warden};
use super::{CONTENTS, SNAPSHOTS, age_content, age_snapshot, ready_snapshot, turn, wait_gone, with_claim};

/// All lives together.
const PATIENCE: Duration = Duration::from_secs(2700);

/// What stands between a replica and the API server.
#[derive(Clone)]
struct Proxy {
    admin: Client,
    /// The replica's process; 0: there is none.
    pid: Arc<AtomicU32>,
    kills: Arc<AtomicU32>,
    /// Moments at which somebody has died: before or after which write.
    deadly: Arc<Mutex<BTreeSet<String>>>,
}

/// Which write of a ladder this is: who takes an intent over writes the same once more.
fn step_of(method: &Method, path: &str, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let attempts = body.pointer("/status/attempts").and_then(Value::as_array).map_or(0, Vec::len);
    let phase = super::text(&body, "/status/phase");
    // Two actions on one object differ in what they change.
    let operations = body.as_array().into_iter().flatten().filter(|one| one["op"] != "test");
    let changed: Vec<String> = operations.map(|one| super::text(one, "/path")).collect();
    format!("{method} {path} {phase} {attempts} {} {changed:?}", super::text(&body, "/status/intent/rung"))
}

/// A write of repairs; the lease, Events and dry runs are none.
fn is_write(request: &Request) -> bool {
    let path = request.uri().path();
    let apart = path.contains("/leases/volwarden") || path.ends_with("/leases") || path.contains("/events");
    let dry = request.uri().query().is_some_and(|query| query.contains("dryRun"));
    request.method() != Method::GET && !apart && !dry && !path.contains("/remediationpolicies/")
}

async fn pass(State(proxy): State<Proxy>, mut request: Request) -> Result<Response, StatusCode> {
    let is_write = is_write(&request);
    let headers = request.headers_mut();
    headers.remove("host");
    headers.insert("impersonate-user", HeaderValue::from_static(warden::ACCOUNT));
    headers.insert("impersonate-group", HeaderValue::from_static("system:authenticated"));
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    parts.uri = path.parse().map_err(|_| StatusCode::BAD_GATEWAY)?;
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let step = step_of(&parts.method, &path, &body);
    if is_write && proxy.kills_at(format!("before {step}")) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let request = axum::http::Request::from_parts(parts, client_body(body.to_vec()));
    let answer = proxy.admin.send(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    if is_write && answer.status().is_success() && proxy.kills_at(format!("after {step}")) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let (parts, body) = answer.into_parts();
    Ok(Response::from_parts(parts, Body::new(body)))
}

impl Proxy {
    /// Kills the replica, if it is alive and nobody has died at this moment yet.
    fn kills_at(&self, moment: String) -> bool {
        let pid = self.pid.load(Ordering::SeqCst);
        let first = pid != 0 && self.deadly.lock().unwrap().insert(moment);
        if !first || self.pid.swap(0, Ordering::SeqCst) != pid {
            return false;
        }
        self.kills.fetch_add(1, Ordering::SeqCst);
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.unwrap().success());
        true
    }
}

fn client_body(bytes: Vec<u8>) -> kube::client::Body {
    kube::client::Body::from(bytes)
}

/// How many died, and after which writes.
type Told = (Arc<AtomicU32>, Arc<Mutex<BTreeSet<String>>>);

/// A proxy of its own, and a kubeconfig that leads to it.
fn proxy(stack: &Stack, runtime: &tokio::runtime::Runtime, name: &str, told: &Told) -> (PathBuf, Proxy) {
    let target = Target { kubeconfig: Some(stack.kubeconfig().to_owned()), context: None };
    let admin = runtime.block_on(client::connect(&target)).unwrap();
    let proxy = Proxy { admin, pid: Arc::default(), kills: Arc::clone(&told.0), deadly: Arc::clone(&told.1) };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(pass).with_state(proxy.clone());
    runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
    });
    let path = stack.folder().join(format!("{name}.kubeconfig"));
    std::fs::write(&path, config.to_string()).unwrap();
    (path, proxy)
}

/// Two replicas that die at every write, and are started again.
struct Doomed<'a> {
    stack: &'a Stack,
    proxies: [(PathBuf, Proxy); 2],
    lives: [Option<Warden>; 2],
    started: u32,
    told: Told,
}

impl<'a> Doomed<'a> {
    fn of(stack: &'a Stack) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = Told::default();
        let proxies = ["one", "two"].map(|name| proxy(stack, &runtime, name, &told));
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self { stack, proxies, lives: [None, None], started: 0, told }
    }

    /// Starts whoever has died.
    fn raise(&mut self) {
        for (life, (kubeconfig, proxy)) in self.lives.iter_mut().zip(&self.proxies) {
            if proxy.pid.load(Ordering::SeqCst) == 0 {
                *life = None;
                self.started += 1;
                let born = Warden::start_with(self.stack, kubeconfig, &format!("life-{}", self.started));
                proxy.pid.store(born.pid(), Ordering::SeqCst);
                *life = Some(born);
            }
        }
    }

    /// Lets them die and rise until this is so; `meanwhile` is what the world does.
    fn until(&mut self, what: &str, mut meanwhile: impl FnMut(), done: impl Fn(&[Entry]) -> bool) {
        let stack = self.stack;
        let over = stack.wait(what, PATIENCE, || {
            // The ledger is asked for by kubectl, which costs as much as all the rest.
            for _ in 0..10 {
                self.raise();
                std::thread::sleep(Duration::from_millis(200));
            }
            meanwhile();
            done(&warden::ledger(stack)).then_some(())
        });
        over.unwrap_or_else(|error| panic!("{error}\n{:#?}", warden::ledger(stack)));
    }

    /// Ends both; how many have died, which has to be at least so many.
    fn end(self, least: u32) -> u32 {
        drop(self.lives);
        let kills = self.told.0.load(Ordering::SeqCst);
        assert!(kills >= least, "only {kills} died: {:?}", self.told.1.lock().unwrap());
        kills
    }
}

fn ended(entries: &[Entry], class: &str) -> bool {
    entries.iter().any(|entry| entry.class == class && entry.phase == "Done")
}

/// The steps of the one episode of a class, as the ledger has them.
fn steps(stack: &Stack, class: &str) -> Vec<String> {
    let mut all = warden::ledger(stack).into_iter().filter(|entry| entry.class == class);
    let (Some(entry), None) = (all.next(), all.next()) else {
        panic!("one episode of {class}: {:#?}", warden::ledger(stack))
    };
    applied(entry)
}

fn applied(entry: Entry) -> Vec<String> {
    entry.attempts.into_iter().filter(|(_, outcome)| outcome == "Applied").map(|(rung, _)| rung).collect()
}

/// What was written and taken, but for the repairs' own kinds: verb, kind and name, each as often as it was.
fn written(stack: &Stack) -> Vec<[String; 3]> {
    let taken = warden::writes(stack).into_iter().filter(|one| one.code < 300);
    let mut all: Vec<[String; 3]> = taken.map(|one| [one.verb, one.resource, one.name]).collect();
    all.sort();
    all
}

fn write(verb: &str, resource: &str, name: &str) -> [String; 3] {
    [verb, resource, name].map(ToOwned::to_owned)
}

/// Somebody approves whatever waits for it.
fn approve(stack: &Stack) {
    for entry in warden::ledger(stack).iter().filter(|entry| entry.phase == "AwaitingApproval") {
        let approval = format!("volwarden.dev/approved={}", entry.hash);
        stack.kubectl(["annotate", "--overwrite", warden::REMEDIATIONS, &entry.name, &approval]).unwrap();
    }
}

#[test]
fn nine_1_killed_before_and_after_every_write_the_ladders_end_the_same() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    warden::install(&stack, &[]);
    println!("9.1.1 given what is to be marked, kept and released");
    let alive = ready_snapshot(&stack, "alive");
    three_2_only_the_provisioners_finalizer(&stack);
    let [orphan, retained] = orphaned(&stack, [("orphaned", "fast"), ("retained", "kept")]);
    let mut expected = vec![handle_of(&stack, &alive), handle_of(&stack, &retained)];
    expected.sort();
    for content in [&orphan, &retained] {
        age_content(&stack, content, "/metadata/deletionTimestamp", 1300);
    }
    age_snapshot(&stack, "provisioned", "/metadata/deletionTimestamp", 900);
    warden::enforce(&stack, &[DRIVER], |_| {});

    println!("9.1.2 when each of two replicas is killed before and after each of a ladder's writes");
    let mut doomed = Doomed::of(&stack);
    let done = |entries: &[Entry]| entries.iter().filter(|entry| entry.phase == "Done").count() == 3;
    doomed.until("all three ladders are at their ends", || {}, done);
    let kills = doomed.end(20);

    println!("9.1.3 then after {kills} deaths everything is as if nothing had happened");
    wait_gone(&stack, CONTENTS, None, &orphan);
    wait_gone(&stack, CONTENTS, None, &retained);
    wait_gone(&stack, SNAPSHOTS, Some("default"), "provisioned");
    assert_eq!(handles(&stack), expected);
    let patched = |name: &str| write("patch", "volumesnapshotcontents", name);
    let mut once = vec![patched(&orphan), patched(&retained), write("patch", "volumesnapshots", "provisioned")];
    once.sort();
    assert_eq!(written(&stack), once, "each exactly once");
}

/// A nudge in vain, and then the finalizer that nobody else lets go of.
#[test]
fn nine_2_a_nudge_and_a_confirmed_deletion() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options { snapshotter_args: impatient(), ..Options::full() });
    warden::install(&stack, &[]);
    println!("9.2.1 given a content whose deletion is confirmed and never released");
    let kept = ready_snapshot(&stack, "kept");
    let kept = handle_of(&stack, &kept);
    let content = ready_snapshot(&stack, "confirmed");
    assert_eq!(handles(&stack).len(), 2);
    only_we_remove_finalizers(&stack);
    stack.delete(SNAPSHOTS, Some("default"), "confirmed").unwrap();
    super::wait_for(&stack, CONTENTS, None, &content, "/status", |status| *status == json!({}));
    age_content(&stack, &content, "/metadata/deletionTimestamp", 1300);
    warden::enforce(&stack, &[DRIVER], |_| {});

    println!("9.2.2 when each of two replicas is killed before and after each write");
    let mut doomed = Doomed::of(&stack);
    // What the server's refusal was tried with is stuck as well, and comes later.
    let of = |entries: &[Entry]| entries.iter().any(|one| one.subject == content && one.phase == "Done");
    doomed.until("the ladder is at its end", || {}, of);
    let kills = doomed.end(12);

    println!("9.2.3 then after {kills} deaths it was nudged once and released once");
    wait_gone(&stack, CONTENTS, None, &content);
    let done = warden::wait_phase(&stack, "DeletedNotReleased", &content, "Done", Duration::from_secs(10));
    assert_eq!(applied(done), ["Nudge", "RemoveContentFinalizer"]);
    let patched = || write("patch", "volumesnapshotcontents", &content);
    let ours: Vec<_> = written(&stack).into_iter().filter(|[.., name]| *name == content).collect();
    assert_eq!(ours, [patched(), patched()]);
    assert_eq!(handles(&stack), [kept]);
}

/// A live content without a VolumeSnapshot, which goes only by an approval of each step that destroys.
#[test]
fn nine_3_what_was_abandoned_goes_by_approval() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    warden::install(&stack, &[]);
    println!("9.3.1 given a content that was abandoned a day ago");
    let kept = ready_snapshot(&stack, "kept");
    let kept = handle_of(&stack, &kept);
    let content = stripped(&stack, "abandoned", "fast");
    assert_eq!(handles(&stack).len(), 2);
    age_content(&stack, &content, "/metadata/creationTimestamp", 90_000);
    warden::enforce(&stack, &[DRIVER], |_| {});

    println!("9.3.2 when each of two replicas is killed before and after each write, and whatever waits is approved");
    let mut doomed = Doomed::of(&stack);
    doomed.until("the ladder is at its end", || approve(&stack), |entries| ended(entries, "AbandonedContent"));
    let kills = doomed.end(12);

    println!(
        "9.3.3 then after {kills} deaths it was deleted once and marked once, and the driver has really deleted it"
    );
    wait_gone(&stack, CONTENTS, None, &content);
    assert_eq!(steps(&stack, "AbandonedContent"), ["DeleteAbandoned", "MarkBeingDeleted"]);
    let of = |verb| write(verb, "volumesnapshotcontents", &content);
    assert_eq!(written(&stack), [of("delete"), of("patch")]);
    assert_eq!(handles(&stack), [kept]);
}

/// A driver that is gone: what it left behind is let go of by consent, and is in the orphan ledger, once.
#[test]
fn nine_4_what_a_gone_driver_left_goes_into_the_orphan_ledger_once() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    warden::install(&stack, &[]);
    println!("9.4.1 given a content whose driver is gone, and consent on it");
    let content = ready_snapshot(&stack, "left");
    let other = ready_snapshot(&stack, "other");
    let handle = handle_of(&stack, &content);
    let mut before = vec![handle.clone(), handle_of(&stack, &other)];
    before.sort();
    driver_is_gone(&stack);
    stack.delete(SNAPSHOTS, Some("default"), "left").unwrap();
    super::wait_for(&stack, CONTENTS, None, &content, "/metadata/deletionTimestamp", Value::is_string);
    age_content(&stack, &content, "/metadata/deletionTimestamp", 1300);
    let uid = super::text(&stack.get(CONTENTS, None, &content).unwrap().unwrap(), "/metadata/uid");
    let agreed = json!({"metadata": {"annotations": {"volwarden.dev/leave-behind": uid}}});
    stack.patch(CONTENTS, None, &content, None, &agreed).unwrap();
    warden::enforce(&stack, &[DRIVER], |_| {});

    println!("9.4.2 when each of two replicas is killed before and after each write, and whatever waits is approved");
    let mut doomed = Doomed::of(&stack);
    doomed.until("the ladder is at its end", || approve(&stack), |entries| ended(entries, "DriverUnknown"));
    let kills = doomed.end(12);

    println!("9.4.3 then after {kills} deaths it was let go of once, and what it left is remembered once");
    wait_gone(&stack, CONTENTS, None, &content);
    assert_eq!(steps(&stack, "DriverUnknown"), ["RemoveIntoOrphanLedger"]);
    assert_eq!(written(&stack), [write("patch", "volumesnapshotcontents", &content)]);
    assert_eq!(handles(&stack), before, "the backend still has both");
    let orphans = stack.kubectl_json(["get", warden::ORPHANS, "-o", "json"]).unwrap();
    let orphans = orphans.pointer("/items").and_then(Value::as_array).unwrap();
    let told: Vec<_> =
        orphans.iter().map(|one| ["/spec/snapshotHandle", "/status/phase"].map(|at| super::text(one, at))).collect();
    assert_eq!(told, [[handle, "Orphaned".to_owned()]]);
}

/// The candidate is restarted in vain, and then the lease of a leader that is no more is taken away.
#[test]
fn nine_5_a_stale_leaders_candidate_and_then_its_lease() {
    let Some(story) = Story::begin("9.5", "a leader that is gone, and nobody takes over", Options::pods()) else {
        return;
    };
    let (rook, [waiting, kept]) = given_two(&story);
    let (leader, candidate) = (story.leader(&rook), story.candidate(&rook));
    let frozen = RefCell::new(BTreeSet::new());
    // A pod that is new waits for as long as the lease is good before it takes over: it is frozen before that.
    let freeze = || {
        for pod in story.stack.pods(&rook.namespace, &format!("app={}", rook.app)) {
            if pod != leader && !frozen.borrow().contains(&pod) && pause(&story, &rook, &pod) {
                frozen.borrow_mut().insert(pod);
            }
        }
    };
    story.step("when every other pod is frozen, and the leader's node loses its power and the leader its pod");
    freeze();
    let node = story.stack.pod(&rook.namespace, &leader).unwrap().node().to_owned();
    story.stack.kill_node(&node).unwrap();
    let force = ["delete", "pod", "-n", &rook.namespace, &leader, "--force", "--grace-period=0"];
    story.stack.kubectl(force).unwrap();
    story.when_deleted(&[&waiting]);
    let lease = || story.stack.get("lease", Some(&rook.namespace), &story.stack.lease_of(&rook.driver)).unwrap();
    let uid = super::text(&lease().unwrap(), "/metadata/uid");

    story.step("when each of two replicas is killed before and after each write");
    warden::enforce(&story.stack, &[&rook.driver], |_| {});
    let mut doomed = Doomed::of(&story.stack);
    let thawed = Cell::new(false);
    let meanwhile = || {
        let stands = lease().is_some_and(|lease| super::text(&lease, "/metadata/uid") == uid);
        if stands {
            freeze();
        } else if !thawed.replace(true) {
            for pod in &*frozen.borrow() {
                // The first of them was restarted.
                let _ = story.stack.pod(&rook.namespace, pod).and_then(|pod| pod.resume("csi-snapshotter"));
            }
        }
    };
    doomed.until("the ladder is at its end", meanwhile, |entries| ended(entries, "StaleLeader"));
    let kills = doomed.end(12);

    story.step(&format!("then after {kills} deaths one pod and one lease were deleted, and nothing is lost"));
    story.then_gone(&[&waiting]);
    assert_eq!(steps(&story.stack, "StaleLeader"), ["RestartCandidate", "ReleaseLease"]);
    let deleted = written(&story.stack);
    assert_eq!(deleted.len(), 2, "{deleted:?}");
    assert_eq!(deleted[0], write("delete", "leases", &story.stack.lease_of(&rook.driver)));
    assert!(
        deleted[1][1] == "pods" && (deleted[1][2] == candidate || frozen.borrow().contains(&deleted[1][2])),
        "{deleted:?}"
    );
    assert_eq!(handles(&story.stack), [kept.handle]);
}

#[test]
fn nine_6_a_lock_is_broken_by_one_restart() {
    let Some(story) = Story::begin("9.6", "a lock that is never let go", Options::pods()) else { return };
    let (rook, [locked, kept]) = given_two(&story);
    let healthy: Vec<String> = (0..8).map(|number| format!("healthy-{number}")).collect();
    story.given_snapshots("data", &rook, &healthy.iter().map(String::as_str).collect::<Vec<_>>());
    let before = handles(&story.stack);
    assert!(before.contains(&kept.handle));
    story.when_driver_fails("never ends one deletion", &[Fault::of("DeleteSnapshot").on(&locked.handle).stuck()]);
    story.when_deleted(&[&locked]);
    story.when_logged(&rook, &["could not sync content", &locked.content, "code = Aborted"]);
    story.when_driver_fails("is well again; the call that hangs still hangs", &[]);
    story.when_time_passes(400, &[&locked]);
    let leader = story.leader(&rook);

    story.step("when each of two replicas is killed before and after each write");
    warden::enforce(&story.stack, &[&rook.driver], |_| {});
    let mut doomed = Doomed::of(&story.stack);
    doomed.until("the ladder is at its end", || {}, |entries| ended(entries, "OperationLocked"));
    let kills = doomed.end(8);

    story.step(&format!("then after {kills} deaths one pod was restarted, and the driver has really deleted"));
    story.then_gone(&[&locked]);
    assert_eq!(steps(&story.stack, "OperationLocked").first().map(String::as_str), Some("RestartLeader"));
    let pods: Vec<_> = written(&story.stack).into_iter().filter(|[_, resource, _]| resource == "pods").collect();
    assert_eq!(pods, [write("delete", "pods", &leader)]);
    let expected: Vec<String> = before.into_iter().filter(|handle| *handle != locked.handle).collect();
    assert_eq!(handles(&story.stack), expected);
}

#[test]
fn nine_7_a_storm_is_ended_by_one_restart() {
    let Some(story) = Story::begin("9.7", "a driver that hangs at every deletion", Options::pods()) else { return };
    let (rook, [first, kept]) = given_two(&story);
    let names: Vec<String> = (0..9).map(|number| format!("storm-{number}")).collect();
    let mut cuts = story.given_snapshots("data", &rook, &names.iter().map(String::as_str).collect::<Vec<_>>());
    cuts.push(first);
    let all: Vec<&Cut> = cuts.iter().collect();
    assert_eq!(handles(&story.stack).len(), 11);
    story.when_driver_fails("hangs at each deletion", &[Fault::of("DeleteSnapshot").stuck()]);
    story.when_deleted(&all);
    for cut in &all {
        story.when_logged(&rook, &["could not sync content", &cut.content]);
    }
    story.when_driver_fails("is well again; the calls that hang still hang", &[]);
    story.when_time_passes(1000, &all);
    let leader = story.leader(&rook);

    story.step("when each of two replicas is killed before and after each write");
    warden::enforce(&story.stack, &[&rook.driver], |_| {});
    let mut doomed = Doomed::of(&story.stack);
    doomed.until("the ladder is at its end", || {}, |entries| ended(entries, "DriverDegraded"));
    let kills = doomed.end(8);

    story.step(&format!("then after {kills} deaths one pod was restarted, and the backend has what was to stay"));
    story.then_gone(&all);
    assert_eq!(steps(&story.stack, "DriverDegraded").first().map(String::as_str), Some("RestartLeader"));
    let pods: Vec<_> = written(&story.stack).into_iter().filter(|[_, resource, _]| resource == "pods").collect();
    assert_eq!(pods, [write("delete", "pods", &leader)]);
    assert_eq!(handles(&story.stack), [kept.handle]);
}

/// A driver as pods, with two ready snapshots, and Volwarden's kinds, rights and fence.
fn given_two(story: &Story) -> (Rook, [Cut; 2]) {
    let rook = Rook { snapshotter_args: vec!["--retry-interval-max=8s".to_owned()], ..Rook::operator() };
    story.given_driver(&rook);
    warden::install(&story.stack, &[&rook.namespace]);
    story.given_bound_volume("data", &rook);
    let cuts = story.given_snapshots("data", &rook, &["going", "kept"]);
    (rook, cuts.try_into().expect("two snapshots"))
}

/// Whether its csi-snapshotter is frozen now; it may not have begun yet.
fn pause(story: &Story, rook: &Rook, pod: &str) -> bool {
    story.stack.pod(&rook.namespace, pod).and_then(|pod| pod.pause("csi-snapshotter")).is_ok()
}
