//! Pods do what pods do: they roll, log, end, crash, and see what their manifests say.
//!
//! What the scenarios believe of pods stands on this.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stack::{Options, Stack};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const SOON: Duration = Duration::from_secs(30);

/// The turn to run, or `None` where programs are missing and `VOLWARDEN_STACK_OPTIONAL=1` makes that no failure.
fn turn() -> Option<MutexGuard<'static, ()>> {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A control plane with two nodes and no storage.
fn two_nodes() -> Stack {
    let nodes = ["node-a", "node-b"].map(ToOwned::to_owned).to_vec();
    Stack::start(Options { nodes, ..Options::control_plane() }).unwrap()
}

/// A pod spec whose container `main` runs a script with the host's shell; `/shared` is a folder of the test.
fn runs(script: &str, shared: &Path) -> Value {
    json!({
        "containers": [{
            "name": "main", "image": "example.org/any", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        }],
        "volumes": [{"name": "shared", "hostPath": {"path": shared}}],
    })
}

fn pod(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn wait_phase(stack: &Stack, name: &str, phase: &str) -> Value {
    let found = stack.wait(&format!("{name} is {phase}"), SOON, || {
        stack.get("pod", Some("default"), name).ok()?.filter(|pod| text(pod, "/status/phase") == phase)
    });
    found.unwrap()
}

fn wait_gone(stack: &Stack, name: &str) {
    let gone = || stack.get("pod", Some("default"), name).ok()?.is_none().then_some(());
    stack.wait(&format!("{name} is gone"), SOON, gone).unwrap();
}

/// The pid of a pod's container `main`.
fn pid(stack: &Stack, name: &str) -> u32 {
    let node = stack.pod("default", name).unwrap().node().to_owned();
    let file = stack.folder().join("nodes").join(node).join("running").join(format!("default_{name}_main"));
    std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_deployment_rolls_and_its_logs_are_what_was_written() {
    let Some(_turn) = turn() else { return };
    let stack = two_nodes();
    let spec = runs("for i in 1 2 3 4 5; do echo line $i; done; exec sleep infinity", stack.folder());
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    });
    stack.create(&object).unwrap();
    stack.rollout("default", "web").unwrap();
    let first = stack.pods("default", "app=web");
    assert_eq!(first.len(), 2);
    let nodes: Vec<_> = first.iter().map(|name| stack.pod("default", name).unwrap().node().to_owned()).collect();
    assert_ne!(nodes[0], nodes[1], "replicas spread");

    let lines = "line 1\nline 2\nline 3\nline 4\nline 5\n";
    for name in &first {
        let pod = stack.pod("default", name).unwrap();
        stack.wait("all lines are there", SOON, || (pod.log("main").ok()? == lines).then_some(())).unwrap();
        assert_eq!(stack.kubectl(["logs", name, "--tail=2"]).unwrap(), "line 4\nline 5\n");
    }

    stack.kubectl(["rollout", "restart", "deployment/web"]).unwrap();
    stack.rollout("default", "web").unwrap();
    stack
        .wait("only new pods are there", SOON, || {
            let now = stack.pods("default", "app=web");
            (now.len() == 2 && first.iter().all(|name| !now.contains(name))).then_some(())
        })
        .unwrap();
    for name in &first {
        wait_gone(&stack, name);
    }

    let victim = stack.pods("default", "app=web").remove(0);
    let process = pid(&stack, &victim);
    stack.delete("pod", Some("default"), &victim).unwrap();
    wait_gone(&stack, &victim);
    assert!(!is_alive(process));
    stack.rollout("default", "web").unwrap();
    assert_eq!(stack.pods("default", "app=web").len(), 2, "another pod took its place");
}

#[test]
fn logs_can_be_followed_and_a_crash_loop_remembers_the_last_life() {
    let Some(_turn) = turn() else { return };
    let stack = two_nodes();
    let shared = stack.folder().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let script = "echo one; until [ -e /shared/go ]; do sleep 0.05; done; echo two";
    let mut spec = runs(script, &shared);
    spec["restartPolicy"] = json!("Never");
    stack.create(&pod("talker", &spec)).unwrap();
    wait_phase(&stack, "talker", "Running");
    thread::scope(|scope| {
        let follower = scope.spawn(|| stack.kubectl(["logs", "-f", "talker"]));
        stack
            .wait("the first line is there", SOON, || {
                (stack.kubectl(["logs", "talker"]).ok()? == "one\n").then_some(())
            })
            .unwrap();
        assert!(!follower.is_finished(), "it follows");
        std::fs::write(shared.join("go"), "").unwrap();
        assert_eq!(follower.join().unwrap().unwrap(), "one\ntwo\n");
    });
    wait_phase(&stack, "talker", "Succeeded");

    let script =
        "if [ -e /shared/lived ]; then echo second; exec sleep infinity; fi; touch /shared/lived; echo first; exit 1";
    stack.create(&pod("reborn", &runs(script, &shared))).unwrap();
    let logs = |words: &[&str]| stack.kubectl(["logs", "reborn"].iter().chain(words)).unwrap_or_default();
    stack.wait("the second life has begun", SOON, || (logs(&[]) == "second\n").then_some(())).unwrap();
    assert_eq!(logs(&["--previous"]), "first\n");

    stack.create(&pod("crasher", &runs("echo life; exit 3", &shared))).unwrap();
    let status = "/status/containerStatuses/0";
    let looping = stack.wait("it loops", SOON, || {
        let pod = stack.get("pod", Some("default"), "crasher").ok()??;
        (text(&pod, &format!("{status}/state/waiting/reason")) == "CrashLoopBackOff").then_some(pod)
    });
    let looping = looping.unwrap();
    assert_eq!(looping["status"]["phase"], "Running");
    let container = looping.pointer(status).unwrap();
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(container["lastState"]["terminated"]["reason"], "Error");
    assert!(text(container, "/state/waiting/message").starts_with("back-off 10s restarting failed container=main"));
    assert_eq!(container["restartCount"], 1, "the first restart is at once, the second one waits");
    assert_eq!(stack.kubectl(["logs", "crasher"]).unwrap(), "life\n", "of the last life, while none runs");
}

#[test]
fn a_deletion_gives_grace_and_no_more() {
    let Some(_turn) = turn() else { return };
    let stack = two_nodes();
    let polite = "trap 'echo bye > /shared/bye; exit 0' TERM; while :; do sleep 0.05; done";
    stack.create(&pod("polite", &runs(polite, stack.folder()))).unwrap();
    let mut frozen = runs("exec sleep infinity", stack.folder());
    frozen["terminationGracePeriodSeconds"] = json!(2);
    stack.create(&pod("frozen", &frozen)).unwrap();
    stack.create(&pod("forced", &runs("trap '' TERM; while :; do sleep 1; done", stack.folder()))).unwrap();
    let pids = ["polite", "frozen", "forced"].map(|name| {
        wait_phase(&stack, name, "Running");
        pid(&stack, name)
    });
    assert!(pids.iter().all(|pid| is_alive(*pid)));

    stack.delete("pod", Some("default"), "polite").unwrap();
    wait_gone(&stack, "polite");
    assert_eq!(std::fs::read_to_string(stack.folder().join("bye")).unwrap(), "bye\n");

    stack.pod("default", "frozen").unwrap().pause("main").unwrap();
    let start = Instant::now();
    stack.delete("pod", Some("default"), "frozen").unwrap();
    wait_gone(&stack, "frozen");
    assert!(start.elapsed() >= Duration::from_secs(2), "SIGTERM does not reach what is frozen");

    stack.kubectl(["delete", "pod", "forced", "--force", "--grace-period=0"]).unwrap();
    wait_gone(&stack, "forced");
    let ended = || (!pids.iter().any(|pid| is_alive(*pid))).then_some(());
    stack.wait("no process is left", SOON, ended).unwrap();
}

#[test]
fn jobs_complete_and_fail_and_say_why() {
    let Some(_turn) = turn() else { return };
    let stack = two_nodes();
    let job = |name: &str, script: &str| {
        let mut spec = runs(script, stack.folder());
        spec["restartPolicy"] = json!("Never");
        spec["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
        let metadata = json!({"name": name});
        let spec = json!({"backoffLimit": 0, "template": {"spec": spec}});
        stack.create(&json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})).unwrap();
    };
    let ends_as = |name: &str, condition: &str| {
        let what = format!("the job {name} is {condition}");
        let wait = stack.wait(&what, SOON, || {
            let job = stack.get("job", Some("default"), name).ok()??;
            let conditions = job.pointer("/status/conditions")?.as_array()?;
            conditions.iter().any(|found| found["type"] == condition && found["status"] == "True").then_some(())
        });
        wait.unwrap();
        let pods = stack.kubectl_json(["get", "pods", "-l", &format!("job-name={name}")]).unwrap();
        assert_eq!(pods["items"].as_array().unwrap().len(), 1);
        pods["items"][0]["status"].clone()
    };
    job("good", "echo all is well > /dev/termination-log; echo not this");
    let status = ends_as("good", "Complete");
    assert_eq!(status["phase"], "Succeeded");
    let end = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(0), &json!("Completed")));
    assert_eq!(end["message"], "all is well\n");

    job("bad", "echo the disk is full >&2; exit 42");
    let status = ends_as("bad", "Failed");
    assert_eq!(status["phase"], "Failed");
    let end = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(42), &json!("Error")));
    assert_eq!(end["message"], "the disk is full\n");
}

#[test]
fn a_pod_sees_its_secrets_its_token_and_its_host_name() {
    let Some(_turn) = turn() else { return };
    let stack = two_nodes();
    stack
        .kubectl(["create", "secret", "generic", "login", "--from-literal=user=ada", "--from-literal=key=abc"])
        .unwrap();
    stack.kubectl(["create", "configmap", "paint", "--from-literal=colour=red"]).unwrap();
    let kubectl = stack.tools().path("kubectl").unwrap().display().to_string();
    let script = r#"echo "$LOGIN $COLOUR"; cat /etc/login/key; echo; cat /etc/paint/colour; echo
        "$KUBECTL" auth whoami -o 'jsonpath={.status.userInfo.username}'"#;
    let spec = json!({
        "restartPolicy": "Never",
        "containers": [{
            "name": "main", "image": "example.org/any", "command": ["sh", "-c", script],
            "env": [
                {"name": "KUBECTL", "value": kubectl},
                {"name": "LOGIN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "user"}}},
                {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "paint", "key": "colour"}}},
            ],
            "volumeMounts": [
                {"name": "login", "mountPath": "/etc/login"}, {"name": "paint", "mountPath": "/etc/paint"},
            ],
        }],
        "volumes": [
            {"name": "login", "secret": {"secretName": "login"}},
            {"name": "paint", "configMap": {"name": "paint"}},
        ],
    });
    stack.create(&pod("seer", &spec)).unwrap();
    wait_phase(&stack, "seer", "Succeeded");
    let log = stack.pod("default", "seer").unwrap().log("main").unwrap();
    assert_eq!(log, "ada red\nabc\nred\nsystem:serviceaccount:default:default");

    let sixteen = "long".repeat(16);
    let name = format!("{sixteen}.tail");
    for (name, own, network) in
        [("has.dots.in.it", "has.dots.in.it", false), (&name, &sixteen[..63], false), ("on-the-host", "node-b", true)]
    {
        let mut spec = runs("hostname; echo $HOSTNAME", stack.folder());
        spec["restartPolicy"] = json!("Never");
        spec["hostNetwork"] = json!(network);
        spec["nodeSelector"] = json!({"kubernetes.io/hostname": "node-b"});
        stack.create(&pod(name, &spec)).unwrap();
        wait_phase(&stack, name, "Succeeded");
        let pod = stack.pod("default", name).unwrap();
        assert_eq!(pod.node(), "node-b");
        assert_eq!(pod.log("main").unwrap(), format!("{own}\n{own}\n"));
    }
}
