//! A real kopia server that maintains a repository by itself: it is left to it under its own name, and yielded to under ours.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::super::{SOON, text, turn};
use super::turns::is_full;
use super::{Lab, NAMESPACE, findings, reason};

/// What a daemon bears before a run under our name is called somebody else's: two clocks may be so far apart.
const SKEW: Duration = Duration::from_secs(300);

/// A kopia server beside the cluster. It ends with the test.
struct Server(Child);

impl Server {
    /// One that maintains under this name.
    fn start(lab: &Lab, user: &str, host: &str) -> Self {
        let kopia = |words: &[&str]| {
            let mut command = lab.client("server", words);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let repository = lab.repository().display().to_string();
        let whose = [format!("--override-username={user}"), format!("--override-hostname={host}")];
        let mut connect = kopia(&["repository", "connect", "filesystem", "--path", &repository]);
        assert!(connect.args(&whose).status().unwrap().success(), "the server cannot connect");
        let mut serve = kopia(&["server", "start", "--insecure", "--without-password", "--address=127.0.0.1:0"]);
        let server = Self(serve.spawn().unwrap());
        let runs = lab.quick_runs();
        let maintains = || (lab.quick_runs() > runs).then_some(());
        lab.stack.wait("the server maintains", SOON, maintains).unwrap();
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lab {
    /// When maintenance of the index last began, by kopia's own record.
    fn quick_runs(&self) -> Option<String> {
        let info = self.kopia(&["maintenance", "info", "--json"]);
        let runs = info.pointer("/schedule/runs/advance-epoch").and_then(Value::as_array)?;
        runs.iter().map(|run| text(run, "/start")).max()
    }

    /// Jobs for full maintenance, of old ones too.
    fn full_jobs(&self) -> usize {
        self.jobs().iter().filter(|job| is_full(job)).count()
    }

    fn owner(&self) -> String {
        text(&self.kopia(&["maintenance", "info", "--json"]), "/owner")
    }
}

pub(super) fn left_to_it(lab: &Lab) {
    println!("11.3.8 a kopia server that is the owner maintains, and nothing of ours does; who it is and when is said");
    let ours = lab.full_jobs();
    lab.kopia(&["maintenance", "set", "--owner=root@server", "--quick-interval=2s", "--pause-quick=1s"]);
    let server = Server::start(lab, "root", "server");
    lab.run("stats:server");
    lab.request("full:server");
    let status = lab.wait_status(NAMESPACE, "it is theirs", |status| reason(status) == "NotOwner");
    let conditions = status["conditions"].as_array().unwrap();
    let said = conditions.iter().find(|one| one["type"] == "Ready").map(|one| text(one, "/message")).unwrap();
    assert!(said.contains("root@server") && said.contains("it last ended well at 20"), "{said}");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!((lab.full_jobs(), lab.owner().as_str()), (ours, "root@server"));
    drop(server);
}

#[test]
fn eleven_4_a_kopia_server_that_was_given_our_name_is_yielded_to() {
    let Some(_turn) = turn() else { return };
    let (lab, _daemon) = Lab::watched("volwarden");
    assert_eq!(lab.run("full:1")["outcome"], "Happened");

    println!("11.4.1 when it maintains under our own name, then that is seen as soon as no clock can be the reason");
    // It is due at once and not only in an hour: ours has moved the next one on.
    lab.kopia(&["maintenance", "set", "--quick-interval=2s", "--pause-quick=1s"]);
    let owner = lab.owner();
    let (user, host) = owner.split_once('@').unwrap();
    let server = Server::start(&lab, user, host);
    lab.run("stats:1");
    assert!(findings(&lab.status(NAMESPACE)).is_empty(), "it may be our own run, by another clock");
    std::thread::sleep(SKEW + Duration::from_secs(10));
    lab.run("stats:2");
    let status = lab.wait_status(NAMESPACE, "two maintain it", |status| findings(status) == ["TwoManagers"]);
    let said = text(&status, "/findings/0/message");
    assert!(said.contains("under our own name, and no Job of ours did that"), "{said}");

    println!("11.4.2 then nothing of ours writes, and looks and verifications go on");
    lab.request("full:2");
    lab.wait_status(NAMESPACE, "it is yielded to", |status| reason(status) == "Rival");
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(lab.full_jobs(), 1);
    assert_eq!(lab.run("verify:1")["outcome"], "Happened");
    drop(server);
}
