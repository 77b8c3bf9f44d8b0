//! Nothing of a stack outlives the process that started it, even if that is killed outright.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stack::{Options, Rook, Stack};

/// Makes this test program the victim: with it set, a test starts its stack, says where, and waits to be killed.
const VICTIM: &str = "VOLWARDEN_STACK_VICTIM";

/// Pids of the processes that carry the mark of the stack in `folder`.
fn marked(folder: &Path) -> Vec<u32> {
    let mark = format!("VOLWARDEN_STACK_FOLDER={}", folder.display());
    let carries = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(carries).collect()
}

fn be_the_victim(stack: &Stack) {
    println!("\nFOLDER {}", stack.folder().display());
    std::thread::sleep(Duration::from_secs(300));
}

/// Runs a test of this program as the victim, kills it once its stack is up, and waits until nothing is left of that.
/// At least so many processes have to be there before.
fn nothing_survives_the_victim(test: &str, processes: usize) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let folder = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("FOLDER ").map(ToOwned::to_owned));
    let folder = folder.expect("the victim starts its stack");
    let folder = Path::new(&folder);
    let pids = marked(folder);
    assert!(pids.len() >= processes, "of {processes} processes there are {pids:?}");

    victim.kill().unwrap();
    victim.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while folder.exists() || !marked(folder).is_empty() {
        assert!(Instant::now() < end, "left behind: {} and {:?}", folder.display(), marked(folder));
        std::thread::sleep(Duration::from_millis(50));
    }
    for pid in pids {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "pid {pid} is still there: {state}");
    }
}

#[test]
fn nothing_survives_a_harness_that_is_killed() {
    if std::env::var_os(VICTIM).is_some() {
        let snapshotters = vec!["a".to_owned(), "b".to_owned()];
        let stack = Stack::start(Options { snapshotters, ..Options::full() }).unwrap();
        stack.process("csi-driver").unwrap().pause().unwrap();
        let file = stack.folder().join("watch.jsonl");
        let _recording = stack.record_watch("/api/v1/namespaces", &file).unwrap();
        return be_the_victim(&stack);
    }
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    // etcd, kube-apiserver, snapshot-controller, the driver, two csi-snapshotters and a watch.
    nothing_survives_the_victim("nothing_survives_a_harness_that_is_killed", 7);
}

#[test]
fn no_pod_survives_a_harness_that_is_killed() {
    if std::env::var_os(VICTIM).is_some() {
        let rook = Rook::operator();
        let stack = Stack::start(Options::pods()).unwrap();
        stack.deploy(&rook).unwrap();
        let leader = stack.leader_pod(&rook.namespace, &rook.driver).unwrap();
        stack.pod(&rook.namespace, &leader).unwrap().pause("csi-rbdplugin").unwrap();
        stack.lose_node("node-b").unwrap();
        return be_the_victim(&stack);
    }
    if stack::not_run().is_some() {
        return;
    }
    // etcd, kube-apiserver, kube-controller-manager, snapshot-controller, two kubelets, two pods of three containers.
    nothing_survives_the_victim("no_pod_survives_a_harness_that_is_killed", 12);
}

#[test]
fn nothing_survives_a_stack_that_is_dropped() {
    if std::env::var_os(VICTIM).is_some() || stack::not_run().is_some() {
        return;
    }
    let stack = Stack::start(Options::control_plane()).unwrap();
    let folder = stack.folder().to_owned();
    assert_eq!(marked(&folder).len(), 2);
    drop(stack);
    assert_eq!(marked(&folder), Vec::<u32>::new());
    assert!(!folder.exists());
}
