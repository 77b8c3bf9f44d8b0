//! What is no incident, and what nobody but its owner can end: left alone, in Enforce, with everything switched on. The
//! judge is the API server's audit log.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::{DRIVER, Fault, Options, Rook, Stack};

use super::repairs::{handle_of, handles, orphaned};
use super::story::Story;
use super::warden::{self, Warden, Written};
use super::{CONTENTS, SNAPSHOTS, SOON, age_content, ready_snapshot, text, turn, wait_gone, with_claim};

/// Three fresh reads, 30 s apart, and what a busy machine adds.
const REPAIRED: Duration = Duration::from_secs(240);
/// Deletions at once.
const MANY: usize = 500;

fn contents(stack: &Stack) -> Vec<Value> {
    let all = stack.kubectl_json(["get", CONTENTS, "-o", "json"]).unwrap();
    all.pointer("/items").and_then(Value::as_array).unwrap().clone()
}

/// The daemon says that it has found this.
fn wait_found(stack: &Stack, daemon: &Warden, class: &str) {
    let found = || daemon.log().contains(&format!("\"class\":\"{class}\"")).then_some(());
    stack.wait(&format!("the daemon has found {class}"), REPAIRED, found).unwrap();
}

/// A write to one content.
fn patched(content: &str) -> Written {
    let (verb, resource) = ("patch".to_owned(), "volumesnapshotcontents".to_owned());
    Written { verb, resource, name: content.to_owned(), code: 200 }
}

#[test]
fn eight_5_what_only_its_driver_can_end_is_reported_and_left_alone() {
    let Some(story) = Story::begin("8.5", "what only a driver can end", Options::pods()) else { return };
    let rook = Rook { snapshotter_args: vec!["--retry-interval-max=8s".to_owned()], ..Rook::operator() };
    let gone = Rook {
        driver: "gone.csi.example.com".to_owned(),
        app: "csi-gone".to_owned(),
        deployment: "csi-gone".to_owned(),
        nodes: false,
        replicas: 1,
        ..Rook::classic()
    };
    for (one, claim) in [(&rook, "data"), (&gone, "lost")] {
        story.given_driver(one);
        story.given_bound_volume(claim, one);
    }
    warden::install(&story.stack, &[&rook.namespace]);
    let healthy: Vec<String> = (0..10).map(|number| format!("healthy-{number}")).collect();
    story.given_snapshots("data", &rook, &healthy.iter().map(String::as_str).collect::<Vec<_>>());
    let cuts = story.given_snapshots("data", &rook, &["failing"]);
    let [failing] = cuts.as_slice() else { panic!("one snapshot: {cuts:?}") };
    let lost = story.given_snapshots("lost", &gone, &["waiting"]);
    let [waiting] = lost.as_slice() else { panic!("one snapshot: {lost:?}") };
    let before = handles(&story.stack);
    let fails = Fault::of("DeleteSnapshot").on(&failing.handle).fail(13, "rados: ret=-5, Input/output error");
    story.when_driver_fails("fails one deletion, and ends no creation", &[fails, Fault::of("CreateSnapshot").stuck()]);
    let undone = story.when_created("undone", "data", &rook);
    let creating = |all: &Value| all.to_string().contains("being-created");
    super::wait_for(&story.stack, CONTENTS, None, &undone.content, "/metadata/annotations", creating);
    story.step("when the other driver's Deployment is scaled to nothing");
    let scale = ["scale", "deployment", &gone.deployment, "-n", &gone.namespace, "--replicas=0"];
    story.stack.kubectl(scale).unwrap();
    story.when_deleted(&[failing, &undone, waiting]);
    story.when_logged(&rook, &["could not sync content", &failing.content, "Internal"]);
    story.when_logged(&rook, &["could not sync content", &undone.content]);
    story.when_time_passes(1300, &[failing, &undone, waiting]);

    story.step("when a policy enforces, with restarts on");
    warden::enforce(&story.stack, &[&rook.driver, &gone.driver], |_| {});
    let daemon = Warden::start(&story.stack, "volwarden");
    for class in ["BackendError", "StillCreating", "DriverGone"] {
        wait_found(&story.stack, &daemon, class);
    }
    story.step("then three minutes later nothing has been written");
    std::thread::sleep(Duration::from_secs(180));
    assert_eq!(warden::writes(&story.stack), []);
    let tried: Vec<_> = warden::ledger(&story.stack).into_iter().filter(|entry| !entry.attempts.is_empty()).collect();
    assert_eq!(tried, []);
    for content in before {
        assert!(handles(&story.stack).contains(&content), "{content} is still in the backend");
    }
}

#[test]
fn seven_4_five_hundred_deletions_at_once_are_no_incident_and_one_fault_among_them_is_repaired() {
    let Some(_turn) = turn() else { return };
    let fast = ["--kube-api-qps=200", "--kube-api-burst=400"].map(ToOwned::to_owned).to_vec();
    let stack = with_claim(Options { snapshotter_args: fast.clone(), controller_args: fast, ..Options::full() });
    warden::install(&stack, &[]);
    println!("7.4.1 given an orphan, and {MANY} ready snapshots");
    let kept = ready_snapshot(&stack, "kept");
    let kept = handle_of(&stack, &kept);
    let [orphan] = orphaned(&stack, [("orphaned", "fast")]);
    let items: Vec<Value> = (0..MANY)
        .map(|number| {
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "metadata": {"name": format!("many-{number}"), "namespace": "default", "labels": {"many": "yes"}},
                "spec": {"volumeSnapshotClassName": "fast", "source": {"persistentVolumeClaimName": "data"}},
            })
        })
        .collect();
    stack.apply_json(&json!({"apiVersion": "v1", "kind": "List", "items": items})).unwrap();
    let is_ready = |content: &Value| content.pointer("/status/readyToUse") == Some(&json!(true));
    let ready = || (contents(&stack).iter().filter(|content| is_ready(content)).count() > MANY).then_some(());
    stack.wait("all are ready", 4 * SOON, ready).unwrap();

    println!("7.4.2 when all of them are deleted at once, under a policy that enforces");
    warden::enforce(&stack, &[DRIVER], |_| {});
    let mut daemon = Warden::start(&stack, "volwarden");
    warden::wait_leads(&stack);
    stack.kubectl(["delete", SNAPSHOTS, "-n", "default", "-l", "many=yes", "--wait=false"]).unwrap();
    age_content(&stack, &orphan, "/metadata/deletionTimestamp", 1300);
    let began = Instant::now();
    stack.wait("all but what is kept are gone", 8 * SOON, || (contents(&stack).len() == 1).then_some(())).unwrap();
    println!("      gone after {} s", began.elapsed().as_secs());

    println!("7.4.3 then exactly the orphan was written to");
    warden::wait_phase(&stack, "OrphanedContent", &orphan, "Done", REPAIRED);
    daemon.kill();
    assert_eq!(warden::writes(&stack), [patched(&orphan)]);
    assert_eq!(warden::ledger(&stack).len(), 1, "{:#?}", warden::ledger(&stack));
    assert_eq!(handles(&stack), [kept]);
}

/// Without its ledger it writes nothing, and it says so; with it again it goes on.
#[test]
fn seven_5_the_ledgers_kind_is_deleted_while_the_daemon_runs() {
    let Some(_turn) = turn() else { return };
    let stack = with_claim(Options::full());
    warden::install(&stack, &[]);
    warden::enforce(&stack, &[DRIVER], |_| {});
    let kept = ready_snapshot(&stack, "kept");
    let kept = handle_of(&stack, &kept);
    let mut daemon = Warden::start(&stack, "volwarden");
    warden::wait_leads(&stack);
    println!("7.5.1 when the kind Remediation is deleted, and then something breaks");
    let kind = format!("crd/{}", warden::REMEDIATIONS);
    let definition = stack.kubectl_json(["get", &kind, "-o", "json"]).unwrap();
    stack.kubectl(["delete", &kind]).unwrap();
    let [orphan] = orphaned(&stack, [("orphaned", "fast")]);
    age_content(&stack, &orphan, "/metadata/deletionTimestamp", 1300);
    wait_found(&stack, &daemon, "OrphanedContent");
    std::thread::sleep(Duration::from_secs(120));
    assert_eq!(warden::writes(&stack), [], "nothing without a ledger");
    let why = super::doctor::volwarden(stack.kubeconfig(), &["why", "vsc", &orphan]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("no ledger to write an intent to"), "{why}");

    println!("7.5.2 when it is there again");
    let again = json!({
        "apiVersion": definition["apiVersion"], "kind": definition["kind"],
        "metadata": {"name": warden::REMEDIATIONS}, "spec": definition["spec"],
    });
    stack.create(&again).unwrap();
    let done = warden::wait_phase(&stack, "OrphanedContent", &orphan, "Done", 2 * REPAIRED);
    assert_eq!(done.attempts.len(), 1);
    wait_gone(&stack, CONTENTS, None, &orphan);
    daemon.kill();
    assert_eq!(warden::writes(&stack), [patched(&orphan)]);
    assert_eq!(handles(&stack), [kept]);
    assert!(!text(&definition, "/spec/group").is_empty());
}
