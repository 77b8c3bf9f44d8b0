//! Retention on the real stack: what `retention plan` printed goes, and nothing else. The judges are the driver's own
//! list of snapshots before and after, and the API server's audit log.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};
use stack::{DRIVER, Fault, Options, Stack, Volume};

use super::doctor::volwarden;
use super::repairs::{handle_of, handles};
use super::warden::{self, RETENTIONS, Warden, Written};
use super::{CONTENTS, SNAPSHOTS, text, turn};

/// So many volumes, and so many snapshots of each, one a day.
const VOLUMES: usize = 10;
const EACH: usize = 30;
/// Hundreds of snapshots on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(400);

pub(super) fn policy(mode: &str) -> Value {
    json!({
        "apiVersion": "volwarden.dev/v1alpha1", "kind": "SnapshotRetention", "metadata": {"name": "nightly"},
        "spec": {
            "mode": mode, "drivers": [DRIVER], "keep": {"daily": 7, "weekly": 4}, "minReady": 2,
            "maxDeletionsPerRun": 1000, "deletionsPerMinute": 600,
        },
    })
}

fn snapshots(stack: &Stack) -> Vec<Value> {
    let all = stack.kubectl_json(["get", SNAPSHOTS, "-A", "-o", "json"]).unwrap();
    all["items"].as_array().unwrap().clone()
}

fn names(stack: &Stack) -> BTreeSet<String> {
    snapshots(stack).iter().map(|one| text(one, "/metadata/name")).collect()
}

/// A stack with so many volumes and the class `fast`.
pub(super) fn given_volumes(count: usize) -> Stack {
    let volumes = (0..count).map(|volume| Volume::new(format!("vol-{volume}"))).collect();
    // Their own throttling would make three hundred snapshots a matter of ten minutes.
    let fast = || vec!["--kube-api-qps=200".to_owned(), "--kube-api-burst=400".to_owned()];
    let (controller_args, snapshotter_args) = (fast(), fast());
    let stack = Stack::start(Options { volumes, controller_args, snapshotter_args, ..Options::full() }).unwrap();
    stack.snapshot_class("fast", "Delete").unwrap();
    warden::install(&stack, &[]);
    stack
}

/// So many snapshots of each of so many volumes, one a day: the driver says that it cut them then. They are imported,
/// those of one volume into one namespace, so that the real sidecar asks the driver for their times.
fn given_snapshots(stack: &Stack, volumes: usize, each: usize) {
    let mut made = Vec::new();
    let now = SystemTime::now();
    for volume in 0..volumes {
        let namespace = format!("vol-{volume}");
        stack.namespace(&namespace).unwrap();
        for number in 0..each {
            let (name, handle) = (format!("db-{volume}-{number:02}"), format!("h-{volume}-{number:02}"));
            let hours = 24 * u64::try_from(number).unwrap() + 2;
            stack.add_snapshot(&handle, &namespace, now - Duration::from_secs(hours * 3600)).unwrap();
            made.push(json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
                "metadata": {"name": format!("c-{name}")},
                "spec": {
                    "driver": DRIVER, "deletionPolicy": "Delete", "source": {"snapshotHandle": handle},
                    "volumeSnapshotClassName": "fast", "volumeSnapshotRef": {"namespace": namespace, "name": name},
                },
            }));
            made.push(json!({
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"volumeSnapshotClassName": "fast", "source": {"volumeSnapshotContentName": format!("c-{name}")}},
            }));
        }
    }
    stack.apply_json(&json!({"apiVersion": "v1", "kind": "List", "items": made})).unwrap();
    let settled = |one: &Value| {
        let finalizers = one.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(0, Vec::len);
        one.pointer("/status/readyToUse") == Some(&json!(true)) && finalizers == 2
    };
    let ready = stack.wait("all snapshots are ready", LONG, || {
        let all = snapshots(stack);
        (all.len() == volumes * each && all.iter().all(settled)).then_some(all)
    });
    for one in ready.unwrap() {
        let name = text(&one, "/metadata/name");
        let number: i64 = name.rsplit_once('-').unwrap().1.parse().unwrap();
        let taken: Timestamp = text(&one, "/status/creationTime").parse().unwrap();
        let hours = Timestamp::now().duration_since(taken).as_hours();
        assert!(
            (24 * number + 2..24 * number + 4).contains(&hours),
            "{name} is {hours} hours old: the driver's own time"
        );
    }
}

/// What `retention plan` says with the policies of a file, or the cluster's.
pub(super) fn planned(stack: &Stack, words: &[&str]) -> (i32, Value) {
    let words: Vec<&str> = ["retention", "plan", "-o", "json"].iter().chain(words).copied().collect();
    let output = volwarden(stack.kubeconfig(), &words);
    let said = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code().unwrap(), json)
}

fn with_fate(plan: &Value, fate: &str) -> BTreeSet<String> {
    let all = plan["policies"][0]["snapshots"].as_array().unwrap();
    all.iter().filter(|one| one["fate"] == fate).map(|one| text(one, "/name")).collect()
}

/// Asks for a run, and gives its record once it is over.
pub(super) fn run(stack: &Stack, request: &str) -> Value {
    run_while(stack, request, || ())
}

/// The same, and does this again and again meanwhile.
pub(super) fn run_while(stack: &Stack, request: &str, meanwhile: impl Fn()) -> Value {
    let ask = format!("volwarden.dev/requestedAt={request}");
    stack.kubectl(["annotate", RETENTIONS, "nightly", &ask, "--overwrite"]).unwrap();
    let over = stack.wait(&format!("run {request} is over"), LONG, || {
        meanwhile();
        let policy = stack.get(RETENTIONS, None, "nightly").ok()??;
        let answered = text(&policy, "/status/lastHandledRequest") == request && policy["status"].get("run").is_none();
        answered.then(|| policy["status"].clone())
    });
    over.unwrap_or_else(|error| panic!("{error}: {}", stack.kubectl(["get", RETENTIONS, "-o", "yaml"]).unwrap()))
}

#[test]
fn ten_1_a_run_prunes_exactly_what_the_plan_printed() {
    let Some(_turn) = turn() else { return };
    let stack = given_volumes(VOLUMES);

    println!("10.1.1 given 300 snapshots over 10 volumes, some of them to be kept for a reason");
    given_snapshots(&stack, VOLUMES, EACH);
    stack.kubectl(["label", "-n", "vol-0", SNAPSHOTS, "db-0-29", "volwarden.dev/keep=yes"]).unwrap();
    stack.kubectl(["label", "-n", "vol-1", SNAPSHOTS, "db-1-29", "volsync.backube/do-not-delete="]).unwrap();
    let before = handles(&stack);
    assert_eq!(before.len(), VOLUMES * EACH);

    println!("10.1.2 then a plan from a file shows what would go, and nothing is written");
    let file = stack.folder().join("policy.json");
    std::fs::write(&file, policy("Observe").to_string()).unwrap();
    let (code, tried) = planned(&stack, &["-f", file.to_str().unwrap()]);
    let going = with_fate(&tried, "Pruned");
    assert_eq!(code, 1, "something would go");
    assert_eq!(with_fate(&tried, "Held"), ["db-0-29", "db-1-29"].map(str::to_owned).into());
    assert_eq!(going.len() + with_fate(&tried, "Kept").len(), VOLUMES * EACH - 2);
    assert!((VOLUMES * 15..VOLUMES * 24).contains(&going.len()), "{} of 300", going.len());
    assert!(going.iter().all(|name| !name.ends_with("-00")), "the newest stays");
    println!("{} of 300 would go: {}", going.len(), tried["policies"][0]["heldBy"]);

    println!("10.1.3 when it enforces and is asked to run");
    stack.apply_json(&policy("Enforce")).unwrap();
    let (_, enforced) = planned(&stack, &[]);
    assert_eq!(with_fate(&enforced, "Pruned"), going, "the cluster's own policy comes to the same");
    let all: BTreeSet<String> = names(&stack);
    let _daemon = Warden::start(&stack, "volwarden");
    warden::wait_leads(&stack);
    let status = run(&stack, "one");
    let record = &status["history"][0];
    assert_eq!((&record["outcome"], &record["trigger"]), (&json!("Done"), &json!("Request")), "{status:#}");
    assert_eq!((&record["planned"], &record["deleted"]), (&json!(going.len()), &json!(going.len())));

    println!("10.1.4 then exactly that is gone: from the cluster, from the driver, and nothing else was touched");
    let left = names(&stack);
    assert_eq!(all.difference(&left).cloned().collect::<BTreeSet<_>>(), going);
    let after = handles(&stack);
    assert_eq!(after.len(), VOLUMES * EACH - going.len());
    assert!(after.iter().all(|handle| before.contains(handle)));
    let written = warden::writes(&stack);
    let wanted = |one: &Written| one.verb == "delete" && one.resource == "volumesnapshots" && one.code == 200;
    assert!(written.iter().all(wanted), "{written:?}");
    let deleted: BTreeSet<String> = written.iter().map(|one| one.name.clone()).collect();
    assert_eq!((deleted, written.len()), (going.clone(), going.len()), "each once");

    println!("10.1.5 a second run does nothing");
    let (code, again) = planned(&stack, &[]);
    assert_eq!((code, with_fate(&again, "Pruned").len()), (0, 0));
    let status = run(&stack, "two");
    let record = &status["history"][0];
    assert_eq!((&record["outcome"], &record["deleted"]), (&json!("Done"), &json!(0)), "{status:#}");
    assert_eq!((warden::writes(&stack).len(), handles(&stack)), (going.len(), after));
    let shown = String::from_utf8(volwarden(stack.kubeconfig(), &["retention", "plan"]).stdout).unwrap();
    assert!(shown.contains("SnapshotRetention nightly, mode Enforce: of ") && shown.contains("Held by: "), "{shown}");
}

fn deletions(stack: &Stack) -> Vec<String> {
    let written = warden::writes(stack);
    assert!(written.iter().all(|one| one.verb == "delete" && one.resource == "volumesnapshots"), "{written:?}");
    written.into_iter().filter(|one| one.code == 200).map(|one| one.name).collect()
}

#[test]
fn ten_2_a_run_that_broke_off_is_not_repeated_and_an_approval_is_of_one_plan() {
    let Some(_turn) = turn() else { return };
    let stack = given_volumes(2);
    given_snapshots(&stack, 2, 12);
    let retention = |mode: &str, per_minute: u32| {
        let mut policy = policy(mode);
        policy["spec"]["keep"] = json!({"latest": 2});
        policy["spec"]["maxDeletionsPerRun"] = json!(16);
        policy["spec"]["deletionsPerMinute"] = json!(per_minute);
        stack.apply_json(&policy).unwrap();
    };

    println!("10.2.1 when a daemon is killed in the middle of a run of 16, at six a minute");
    retention("Enforce", 6);
    let mut daemon = Warden::start(&stack, "one");
    warden::wait_leads(&stack);
    stack.kubectl(["annotate", RETENTIONS, "nightly", "volwarden.dev/requestedAt=one"]).unwrap();
    stack.wait("some are deleted", LONG, || (deletions(&stack).len() >= 4).then_some(())).unwrap();
    daemon.kill();
    let before = deletions(&stack).len();
    assert!((4..=6).contains(&before), "{before} in the first minute");

    println!("10.2.2 then the next one closes the run, and does not go on with it");
    let _daemon = Warden::start(&stack, "two");
    let closed = stack.wait("the run is closed", LONG, || {
        let policy = stack.get(RETENTIONS, None, "nightly").ok()??;
        (text(&policy, "/status/history/0/outcome") == "Interrupted").then(|| policy["status"].clone())
    });
    let closed = closed.unwrap();
    assert_eq!((text(&closed, "/lastHandledRequest"), closed.get("run")), ("one".to_owned(), None));
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(deletions(&stack).len(), before, "nobody asked for another run");

    println!("10.2.3 when it asks for approvals, then nothing goes without one");
    retention("Approve", 6);
    let status = run(&stack, "two");
    assert_eq!(text(&status, "/history/0/outcome"), "AwaitingApproval");
    assert_eq!(deletions(&stack).len(), before);
    stack.kubectl(["annotate", RETENTIONS, "nightly", "volwarden.dev/approved=0123456789abcdef"]).unwrap();
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(deletions(&stack).len(), before, "that is another plan");
    let (_, plan) = planned(&stack, &[]);
    assert_eq!(text(&plan, "/policies/0/hash"), text(&status, "/plan/hash"), "what is shown is what is approved");
    let approve = |plan: &Value| {
        let approval = format!("volwarden.dev/approved={}", text(plan, "/policies/0/hash"));
        stack.kubectl(["annotate", RETENTIONS, "nightly", &approval, "--overwrite"]).unwrap();
    };
    approve(&plan);
    stack.wait("some are deleted", LONG, || (deletions(&stack).len() >= before + 2).then_some(())).unwrap();

    println!("10.2.4 when the approval is taken back in the middle, then what is left stays");
    stack.kubectl(["annotate", RETENTIONS, "nightly", "volwarden.dev/approved-"]).unwrap();
    std::thread::sleep(Duration::from_secs(15));
    let taken_back = deletions(&stack).len();
    std::thread::sleep(Duration::from_secs(70));
    assert_eq!(deletions(&stack).len(), taken_back, "more than a minute's worth");
    let policy = stack.get(RETENTIONS, None, "nightly").unwrap().unwrap();
    assert!(text(&policy, "/status/run/heldBy").contains("not approved"), "{:#}", policy["status"]);

    println!("10.2.5 and what is approved anew goes");
    retention("Approve", 600);
    stack
        .wait("the run has ended", LONG, || {
            let policy = stack.get(RETENTIONS, None, "nightly").ok()??;
            policy["status"].get("run").is_none().then_some(())
        })
        .unwrap();
    let (_, plan) = planned(&stack, &[]);
    approve(&plan);
    let done = stack.wait("what is approved is looked at at once", LONG, || {
        let policy = stack.get(RETENTIONS, None, "nightly").ok()??;
        let record = policy.pointer("/status/history/0")?.clone();
        let over = policy["status"].get("run").is_none() && text(&record, "/outcome") == "Done";
        (over && text(&record, "/trigger") == "Approval").then_some(record)
    });
    let done = done.unwrap();
    let going = with_fate(&plan, "Pruned").len();
    assert_eq!((&done["outcome"], &done["deleted"]), (&json!("Done"), &json!(going.min(16))), "{done:#}");
    let all = deletions(&stack);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "each once");
    assert_eq!(names(&stack).len(), 24 - all.len());
}

/// What a part of the plan says of each of its objects.
pub(super) fn part(plan: &Value, name: &str) -> Value {
    let parts = plan["policies"][0]["cleanup"].as_array().unwrap();
    parts.iter().find(|one| one["part"] == name).unwrap_or_else(|| panic!("{name}: {plan:#}")).clone()
}

fn of(part: &Value, name: &str) -> (String, String) {
    let all = part["objects"].as_array().unwrap();
    let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {part:#}"));
    (text(one, "/fate"), text(one, "/hold"))
}

/// A content of this cluster and an imported one, both kept by policy Retain after their VolumeSnapshots went, and a
/// VolumeSnapshot that fails; the name and the handle of the first.
fn given_left_over(stack: &Stack) -> (String, String) {
    let ready = |name: &str| {
        stack.wait(&format!("{name} is ready"), LONG, || {
            let found = stack.get(SNAPSHOTS, Some("default"), name).ok()??;
            (found.pointer("/status/readyToUse") == Some(&json!(true))).then_some(found)
        })
    };
    stack.snapshot("default", "mine", "data", "kept").unwrap();
    let mine = text(&ready("mine").unwrap(), "/status/boundVolumeSnapshotContentName");
    stack.add_snapshot("h-other", "vol-0", SystemTime::now()).unwrap();
    let imported = json!([
        {
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": {"name": "imported"},
            "spec": {"driver": DRIVER, "deletionPolicy": "Retain", "source": {"snapshotHandle": "h-other"},
                     "volumeSnapshotRef": {"namespace": "default", "name": "imported"}},
        },
        {
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": "imported", "namespace": "default"},
            "spec": {"source": {"volumeSnapshotContentName": "imported"}},
        },
    ]);
    stack.apply_json(&json!({"apiVersion": "v1", "kind": "List", "items": imported})).unwrap();
    ready("imported").unwrap();
    stack.kubectl(["delete", "-n", "default", SNAPSHOTS, "mine", "imported"]).unwrap();
    let handle = handle_of(stack, &mine);
    stack.set_faults(&[Fault::of("CreateSnapshot").fail(3, "no such pool")]).unwrap();
    stack.snapshot("default", "bad", "data", "fast").unwrap();
    let failed = |one: &Value| one.pointer("/status/error/message").is_some();
    stack.wait("bad has failed", LONG, || stack.get(SNAPSHOTS, Some("default"), "bad").ok()?.filter(failed)).unwrap();
    (mine, handle)
}

#[test]
fn ten_3_what_is_left_over_goes_by_consent_and_the_driver_really_deletes() {
    let Some(_turn) = turn() else { return };
    let stack = given_volumes(1);
    stack.snapshot_class("kept", "Retain").unwrap();
    stack.bound_pvc("default", "data", "vol-0").unwrap();

    println!("10.3.1 given contents that Retain kept, one of this cluster and one imported, and one that failed");
    let (mine, handle) = given_left_over(&stack);
    assert_eq!(handles(&stack), BTreeSet::from([handle, "h-other".to_owned()]).into_iter().collect::<Vec<_>>());

    println!("10.3.2 then a plan says what would go and what is held, by name");
    let mut policy = policy("Observe");
    policy["spec"]["cleanup"] = json!({
        "retainedContents": {"mode": "Approve", "olderThan": "1m"},
        "failedSnapshots": {"mode": "Enforce", "olderThan": "1m"},
    });
    stack.apply_json(&policy).unwrap();
    let plan = stack.wait("they are old enough", LONG, || {
        let (_, plan) = planned(&stack, &[]);
        let goes = |name: &str, part: &Value| of(part, name).0 == "Pruned";
        let both = goes(&mine, &part(&plan, "RetainedContents")) && goes("bad", &part(&plan, "FailedSnapshots"));
        both.then_some(plan)
    });
    let plan = plan.unwrap();
    let contents = part(&plan, "RetainedContents");
    assert_eq!(of(&contents, "imported"), ("Held".to_owned(), "NotMadeHere".to_owned()));

    println!("10.3.3 a run takes the failed one, and no content without an approval");
    let _daemon = Warden::start(&stack, "volwarden");
    warden::wait_leads(&stack);
    let gone = |kind: &str, namespace: Option<&str>, name: &str| stack.get(kind, namespace, name).unwrap().is_none();
    for round in 0.. {
        // Its creation is tried again and again: one that has changed since the plan goes with the next run.
        run(&stack, &format!("failed-{round}"));
        if gone(SNAPSHOTS, Some("default"), "bad") {
            break;
        }
        assert!(round < 20, "{:#}", stack.get(RETENTIONS, None, "nightly").unwrap().unwrap());
    }
    assert_eq!(handles(&stack).len(), 2);
    let writes = |verb: &str| {
        let all = warden::writes(&stack);
        all.iter().filter(|one| one.verb == verb && one.resource == "volumesnapshotcontents" && one.code == 200).count()
    };
    assert_eq!((writes("patch"), writes("delete")), (0, 0));

    println!("10.3.4 when its plan is approved, then its driver deletes that one and nothing else");
    let approval = format!("volwarden.dev/approved={}", text(&contents, "/hash"));
    stack.kubectl(["annotate", RETENTIONS, "nightly", &approval]).unwrap();
    stack.wait("the content is gone", LONG, || gone(CONTENTS, None, &mine).then_some(())).unwrap();
    assert_eq!(handles(&stack), ["h-other"], "by the driver's own list");
    assert!(!gone(CONTENTS, None, "imported"));
    assert_eq!((writes("patch"), writes("delete")), (1, 1));
    let over = stack.wait("the run is over", LONG, || {
        let found = stack.get(RETENTIONS, None, "nightly").ok()??;
        (text(&found, "/status/history/0/trigger") == "Approval").then_some(found)
    });
    let over = over.unwrap();
    assert_eq!(
        (&over["status"]["history"][0]["outcome"], &over["status"]["history"][0]["deleted"]),
        (&json!("Done"), &json!(1))
    );
    assert!(!text(&over, "/status/approvals/0/lastRun").is_empty(), "{:#}", over["status"]);
}
