//! Others at work on the same repository: a kopia server that maintains it by itself, and a person who changes its format.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use super::*;

/// A kopia that runs beside ours, and ends with the test.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lab {
    /// By kopia's own record, how many runs of a task ended well.
    fn runs(&self, task: &str) -> usize {
        let info: Value = serde_json::from_slice(&self.kopia(&["maintenance", "info", "--json"]).stdout).unwrap();
        info["schedule"]["runs"][task].as_array().map_or(0, Vec::len)
    }
}

#[test]
fn a_kopia_server_that_maintains_by_itself_is_seen_and_left_to_it() {
    let Some(lab) = Lab::begin() else { return };
    let path = lab.repository().display().to_string();
    let connect = ["repository", "connect", "filesystem", "--path", &path, "--override-username=root"];
    let connected = lab.client("elsewhere", &connect).arg("--override-hostname=server").output().unwrap();
    assert!(connected.status.success(), "{connected:?}");
    lab.kopia(&["maintenance", "set", "--owner=root@server", "--quick-interval=2s", "--full-interval=4s"]);
    let mut server =
        lab.client("elsewhere", &["server", "start", "--insecure", "--without-password", "--address=127.0.0.1:0"]);
    let server = Beside(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let began = Instant::now();
    while lab.runs("snapshot-gc") < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "the server maintains nothing");
        std::thread::sleep(Duration::from_millis(500));
    }
    for words in [&["maintain"][..], &["maintain", "--full"]] {
        let (code, answer) = lab.asked(words);
        assert_eq!((code, &answer["result"], class(&answer)), (1, &"notRun".into(), "NotOwner"), "{answer}");
        assert!(answer["failure"].to_string().contains("root@server"), "{answer}");
    }
    let (code, answer) = lab.asked(&["status"]);
    assert_eq!((code, &answer["maintenance"]["ours"]), (0, &false.into()), "{answer}");
    let tasks = answer["maintenance"]["tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|task| task["task"] == "snapshot-gc" && task["success"].is_string()), "{answer}");
    assert_eq!(lab.asked(&["verify", "--percent", "100"]).0, 0, "what only reads goes on beside it");
    drop(server);
}

#[test]
fn a_format_that_is_being_changed_is_named_at_once_and_not_waited_for() {
    let Some(lab) = Lab::begin() else { return };
    // As an old kopia would have made it.
    for folder in ["repository", "repository-cache"] {
        fs::remove_dir_all(lab.at(folder)).unwrap();
    }
    fs::create_dir(lab.repository()).unwrap();
    let path = lab.repository().display().to_string();
    let us = ["--override-username=volwarden", "--override-hostname=nas"];
    lab.kopia(&["repository", "create", "filesystem", "--path", &path, "--format-version=1", us[0], us[1]]);
    lab.kopia(&["snapshot", "create", &lab.at("data").display().to_string()]);
    let (code, old) = lab.reads(&["status"]);
    assert_eq!((code, &old["repository"]["format"], &old["epochs"]["current"]), (0, &1.into(), &Value::Null), "{old}");
    assert_eq!(lab.asked(&["maintain", "--full"]).1["result"], "happened");

    // Somebody begins, and is called away: the lock stays.
    fs::copy(lab.config(), lab.at("elsewhere.config")).unwrap();
    let mut upgrade = lab.client("elsewhere", &["repository", "upgrade", "begin", "--upgrade-owner-id=somebody"]);
    upgrade.args(["--io-drain-timeout=1h", "--max-permitted-clock-drift=1s"]).env("KOPIA_UPGRADE_LOCK_ENABLED", "1");
    let mut upgrade = Beside(upgrade.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let said = BufReader::new(upgrade.0.stderr.take().unwrap()).lines();
    let placed = said.map_while(Result::ok).any(|line| line.contains("lock intent has been placed"));
    assert!(placed, "the change of format did not begin");
    drop(upgrade);

    let began = Instant::now();
    for words in [&["status"][..], &["sources"], &["maintain", "--full"], &["verify"]] {
        let (code, answer) = lab.reads(words);
        assert_eq!((code, class(&answer)), (1, "UpgradeInProgress"), "{words:?}: {answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "it was waited for");
    let output = lab.command(&["status"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("the format is being changed: nobody may write until that ends"), "{text}");
}
