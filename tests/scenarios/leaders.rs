//! Who leads: pods that are killed, frozen, rolled and cut off, under every name a holder can have.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stack::{Options, Rook, Stack};

use super::doctor::doctor;
use super::story::{Story, driver_is};
use super::{SOON, text};

const SNAPSHOTTER: &str = "csi-snapshotter";

/// A driver beside Rook's own, deployed as Rook used to.
fn another(driver: &str, deployment: &str) -> Rook {
    let (driver, deployment) = (driver.to_owned(), deployment.to_owned());
    Rook { driver, app: deployment.clone(), deployment, nodes: false, replicas: 1, ..Rook::classic() }
}

/// Three drivers side by side: one that keeps dying, one whose only pod is lost, and one with a frozen candidate.
#[test]
fn six_1_drivers_that_die_and_six_2_leaders_whose_node_does() {
    let Some(story) = Story::begin("6.1", "drivers and leaders that die", Options::pods()) else { return };
    let dying = Rook { recreate: true, ..another("dying.csi.example.com", "csi-dying") };
    let alone = another("alone.csi.example.com", "csi-alone");
    let pair = Rook::operator();
    for (rook, claim) in [(&dying, "dying"), (&alone, "alone"), (&pair, "pair")] {
        story.given_driver(rook);
        story.given_bound_volume(claim, rook);
    }
    story.given_snapshots("alone", &alone, &["alone"]);
    story.given_snapshots("pair", &pair, &["pair"]);
    one_that_died_once_is_not_gone(&story, &dying);
    let gone = one_that_keeps_dying_is(&story, &dying);
    dead_leaders_without_and_with_a_candidate(&story, &alone, &pair, &gone);
}

fn one_that_died_once_is_not_gone(story: &Story, rook: &Rook) {
    let cuts = story.given_snapshots("dying", rook, &["kept"]);
    let [kept] = cuts.as_slice() else { panic!("one snapshot: {cuts:?}") };
    let pod = story.leader(rook);
    story.step("when the driver's process is killed once");
    story.stack.pod(&rook.namespace, &pod).unwrap().kill("csi-rbdplugin").unwrap();
    let statuses = |wanted: &dyn Fn(&str) -> bool| {
        let wanted = |all: &Value| wanted(&all.to_string());
        super::wait_for(&story.stack, "pod", Some(&rook.namespace), &pod, "/status/containerStatuses", wanted);
    };
    statuses(&|all| all.contains(r#""restartCount":1"#) && all.matches(r#""ready":true"#).count() == 3);
    story.then_nothing_is_named("the kubelet has started it again");
    // csi-snapshotter notices at its next call, ends, and is started again too.
    story.when_deleted(&[kept]);
    statuses(&|all| all.contains("Lost connection to CSI driver, exiting"));
    story.then_gone(&[kept]);
    story.then_nothing_is_named("both work again");
}

/// What is named in the end.
fn one_that_keeps_dying_is(story: &Story, rook: &Rook) -> [String; 3] {
    let cuts = story.given_snapshots("dying", rook, &["waiting"]);
    let [waiting] = cuts.as_slice() else { panic!("one snapshot: {cuts:?}") };
    story.step("when the driver cannot start any more");
    let container = json!({"name": "csi-rbdplugin", "command": ["false"]});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    let words = ["patch", "deployment", &rook.deployment, "-n", &rook.namespace, "-p", &patch.to_string()];
    story.stack.kubectl(words).unwrap();
    let looping = |pods: &Value| pods.to_string().contains("CrashLoopBackOff");
    let selector = format!("app={}", rook.app);
    let pods = ["get", "pods", "-n", &rook.namespace, "-l", &selector];
    let what = "the driver's container is in CrashLoopBackOff";
    story.stack.wait(what, SOON, || story.stack.kubectl_json(pods).ok().filter(looping).map(drop)).unwrap();
    story.when_deleted(&[waiting]);
    story.then_nothing_is_named("its lease may still be taken");
    story.when_time_passes(100, &[waiting]);
    // A pod has two minutes to become Ready; the long look adds the last of them.
    let [pod] = story.stack.pods(&rook.namespace, &selector).try_into().expect("one pod");
    let pod = story.stack.get("pod", Some(&rook.namespace), &pod).unwrap().expect("it is there");
    let created: Timestamp = text(&pod, "/metadata/creationTimestamp").parse().unwrap();
    let old_enough = || (Timestamp::now().duration_since(created) > SignedDuration::from_secs(85)).then_some(());
    story.stack.wait("its pod has had its time", 2 * SOON, old_enough).unwrap();
    let gone = [
        driver_is("DriverGone", &rook.driver),
        waiting.content_is("DriverGone"),
        waiting.snapshot_is("WaitingForContent"),
    ];
    let report = story.then_a_long_look_says(&gone);
    let finding = report.finding("CSIDriver", &rook.driver).unwrap();
    assert!(text(finding, "/summary").contains("no pod of it is Ready"), "{finding:#}");
    assert_eq!(finding.get("unverified"), Some(&json!(false)));
    gone
}

/// A pod that is not Ready may be starting for its first two minutes: by now these are older.
fn dead_leaders_without_and_with_a_candidate(story: &Story, alone: &Rook, pair: &Rook, before: &[String]) {
    let (leader, candidate) = (story.leader(pair), story.candidate(pair));
    let only = story.leader(alone);
    story.step("when the candidate is frozen, and the leaders' nodes lose their power");
    let pod = |rook: &Rook, name: &str| story.stack.pod(&rook.namespace, name).unwrap();
    pod(pair, &candidate).pause(SNAPSHOTTER).unwrap();
    let node = pod(pair, &leader).node().to_owned();
    if pod(alone, &only).node() != node {
        // On the candidate's node: scaled down instead. What it held stays in the lease all the same.
        story
            .stack
            .kubectl(["scale", "deployment", &alone.deployment, "-n", &alone.namespace, "--replicas=0"])
            .unwrap();
    }
    story.stack.kill_node(&node).unwrap();
    story.then_doctor_says(before); // a lease has its time
    let dead = [driver_is("DriverGone", &alone.driver), driver_is("StaleLeader", &pair.driver)];
    let report = story.then_a_long_look_says(&[before, &dead].concat());
    let stale = report.finding("CSIDriver", &pair.driver).unwrap();
    assert!(text(stale, "/summary").contains(&format!("{candidate}, which is Ready, did not take over")), "{stale:#}");
    assert_eq!(text(stale, "/repair/rung"), "RestartCandidate");
    story.step("when the candidate goes on");
    pod(pair, &candidate).resume(SNAPSHOTTER).unwrap();
    let leads = || story.stack.leader_pod(&pair.namespace, &pair.driver).filter(|name| *name == candidate);
    story.stack.wait("the candidate leads", SOON, leads).unwrap();
    story.then_doctor_says(&[before, &dead[..1]].concat());
}

/// The holder of a lease is found for what it is: each frozen leader is named by its pod.
#[test]
fn six_3_holders_with_dots_long_names_and_on_the_host_network() {
    let Some(story) = Story::begin("6.3", "names of holders", Options::pods()) else { return };
    let dots = Rook { replicas: 1, ..Rook::operator() };
    let long = Rook { replicas: 0, ..another("long.csi.example.com", "csi-long") };
    let host = Rook { host_network: true, ..another("host.csi.example.com", "csi-host") };
    let all = [&dots, &long, &host];
    for rook in all {
        story.given_driver(rook);
        if rook.replicas == 0 {
            pod_of_its_own(&story, rook, &format!("{}-and.more", "x".repeat(62)));
        }
        let claim = rook.driver.replace('.', "-");
        story.given_bound_volume(&claim, rook);
        story.given_snapshots(&claim, rook, &[&claim]);
    }
    let leaders = all.map(|rook| story.leader(rook));
    assert!(leaders[0].contains('.') && leaders[1].len() > 63, "{leaders:?}");
    story.step("when every leader is frozen");
    for (rook, leader) in all.iter().zip(&leaders) {
        story.stack.pod(&rook.namespace, leader).unwrap().pause(SNAPSHOTTER).unwrap();
    }
    story.then_nothing_is_named("a lease has its time");
    let report = story.then_a_long_look_says(&all.map(|rook| driver_is("StaleLeader", &rook.driver)));
    for (rook, leader) in all.iter().zip(&leaders) {
        let summary = text(report.finding("CSIDriver", &rook.driver).unwrap(), "/summary");
        assert!(summary.contains(&format!("{leader} holds the lease and is Ready")), "{summary}");
    }
    story.step("when they go on");
    for (rook, leader) in all.iter().zip(&leaders) {
        story.stack.pod(&rook.namespace, leader).unwrap().resume(SNAPSHOTTER).unwrap();
    }
    let healthy = || doctor(&story.stack).lines().is_empty().then_some(());
    story.stack.wait("nothing is named any more", SOON, healthy).unwrap();
}

/// A pod made by hand of a Deployment's template: only such a one can have a name that no host name holds.
fn pod_of_its_own(story: &Story, rook: &Rook, name: &str) {
    story.step(&format!("given the pod {name}"));
    let deployment = story.stack.get("deployment", Some(&rook.namespace), &rook.deployment).unwrap().unwrap();
    let spec = deployment.pointer("/spec/template/spec").expect("a Deployment has a template");
    let meta = json!({"name": name, "namespace": rook.namespace, "labels": {"by": "hand"}});
    story.stack.create(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})).unwrap();
    assert_eq!(story.leader(rook), name);
}

/// A healthy driver that is rolled, and whose leader changes, is nothing to speak of: not to `doctor`, and not to the
/// daemon, which watches all the time.
#[test]
fn six_4_rollouts_and_changes_of_leader_are_nothing() {
    let Some(story) = Story::begin("6.4", "a healthy driver is rolled", Options::pods()) else { return };
    let (recreated, rolling) =
        (Rook::operator(), Rook { replicas: 2, ..another("rolling.csi.example.com", "csi-rolling") });
    for (rook, claim) in [(&recreated, "recreated"), (&rolling, "rolling")] {
        story.given_driver(rook);
        story.given_bound_volume(claim, rook);
        story.given_snapshots(claim, rook, &[claim]);
    }
    let daemon = Daemon::start(&story.stack);
    for rook in [&recreated, &rolling] {
        story.step(&format!("when Deployment {} is rolled", rook.deployment));
        story.stack.kubectl(["rollout", "restart", "deployment", &rook.deployment, "-n", &rook.namespace]).unwrap();
        story.then_nothing_is_named("a rollout begins");
        story.stack.rollout(&rook.namespace, &rook.deployment).unwrap();
        story.then_nothing_is_named("a rollout has ended");
        story.when_leader_restarts(rook);
        story.then_nothing_is_named("another leads");
    }
    let (first, second) = (story.ready("recreated"), story.ready("rolling"));
    story.when_deleted(&[&first, &second]);
    story.then_gone(&[&first, &second]);
    story.step("then the daemon has named nothing either");
    assert_eq!(daemon.named(), Vec::<String>::new());
}

/// `volwarden run` beside the scenario; ended with it.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(stack: &Stack) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = stack.folder().join("volwarden.log");
        let child = Command::new(env!("CARGO_BIN_EXE_volwarden"))
            .args(["run", "--listen", &address.to_string(), "--kubeconfig"])
            .arg(stack.kubeconfig())
            .env("VOLWARDEN_LOG_FORMAT", "json")
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self { child, log };
        stack.wait("the daemon is ready", SOON, || is_ready(address).then_some(())).unwrap();
        daemon
    }

    /// The findings that it has ever logged.
    fn named(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(log.contains("listening"), "this is its log: {log}");
        log.lines().filter(|line| line.contains("finding")).map(ToOwned::to_owned).collect()
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let mut answer = String::new();
    let asked = TcpStream::connect_timeout(&address, Duration::from_secs(1)).and_then(|mut stream| {
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
