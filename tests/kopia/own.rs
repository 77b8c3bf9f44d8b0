//! Whose sources are, as the pod of a Job finds out with the real kopia: what is shown to be this cluster's loses snapshots
//! unasked; what is not, or is under everybody's policy, by approval only.

use std::fs;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Lab, PASSWORD};

const SIX: [&str; 6] = ["latest", "hourly", "daily", "weekly", "monthly", "annual"];

impl Lab {
    /// The report of an expiry in a pod, with these words besides; nothing else of the repository is changed by a dry one.
    fn task(&self, words: &[String]) -> Value {
        let told = self.pod("expire", words);
        assert_eq!(told["result"], "happened", "{told}");
        told
    }

    /// The report of a task in a pod, with these words besides.
    pub(super) fn pod(&self, task: &str, words: &[String]) -> Value {
        let report = self.at("report");
        let output = Command::new(env!("CARGO_BIN_EXE_volwarden"))
            .args(["kopia", "task", task, "--host", "nas", "--unique-id", &self.unique_id(), "--path"])
            .arg(self.repository())
            .arg("--report")
            .arg(&report)
            .arg("--kopia")
            .arg(&self.kopia)
            .args(words)
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("TMPDIR", self.tmp())
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        assert_eq!(output.status.success(), told["result"] == "happened", "{told}: {output:?}");
        told
    }

    fn unique_id(&self) -> String {
        let status: Value = serde_json::from_slice(&self.kopia(&["repository", "status", "--json"]).stdout).unwrap();
        status["uniqueIDHex"].as_str().unwrap().to_owned()
    }

    /// When the newest backup of a source ended.
    fn ended(&self, source: &str) -> Timestamp {
        let list: Value = serde_json::from_slice(&self.kopia(&["snapshot", "list", "--json"]).stdout).unwrap();
        let newest = self.ids(source).pop().unwrap();
        let one = list.as_array().unwrap().iter().find(|one| one["id"] == newest.as_str()).unwrap();
        one["endTime"].as_str().unwrap().parse().unwrap()
    }

    /// What a daemon says of a source whose ReplicationSource last synchronised so long after its newest backup.
    pub(super) fn synced(&self, source: &str, after: SignedDuration) -> String {
        let ended = self.ended(source) + after;
        let slack = SignedDuration::from_mins(5);
        format!("--own={source}={}/{}/{}", ended - slack, ended + slack, Timestamp::now())
    }

    /// Sets such a count for each of these periods.
    fn count(&self, target: &[&str], periods: &[&str], latest: u32) {
        let count = |period: &&str| format!("--keep-{period}={}", if *period == "latest" { latest } else { 0 });
        let words: Vec<String> = periods.iter().map(count).collect();
        let words = words.iter().map(String::as_str);
        self.kopia(&["policy", "set"].into_iter().chain(target.iter().copied()).chain(words).collect::<Vec<_>>());
    }

    fn numbers(&self, sources: &[&str]) -> Vec<usize> {
        sources.iter().map(|source| self.ids(source).len()).collect()
    }
}

fn terms(report: &Value) -> String {
    format!("--delete={}", report["expired"]["terms"].as_str().unwrap())
}

pub(super) fn said(report: &Value) -> &str {
    report["said"].as_str().unwrap()
}

#[test]
fn of_unnamed_sources_only_those_that_are_shown_to_be_the_clusters_lose_snapshots() {
    let Some(lab) = Lab::begin() else { return };
    let sources = ["ours@ns:/data", "alike@ns:/data", "web@other:/data"];
    for source in sources {
        lab.snapshots(source, &[100; 6]);
        lab.keep(source, 4);
    }
    // One synchronised when its newest backup ended; one an hour later, somewhere else; one is nobody's here.
    let elsewhere = lab.synced(sources[1], SignedDuration::from_hours(1));
    let own = [lab.synced(sources[0], SignedDuration::ZERO), elsewhere, "--own=new@ns:/data=never".to_owned()];
    let before = stack::hashes(&lab.repository()).unwrap();
    let dry = lab.task(&own);
    assert_eq!(stack::hashes(&lab.repository()).unwrap(), before, "a dry run changes nothing");
    assert_eq!(said(&dry), "2 would be deleted; 1 source held");
    let held = &dry["expired"]["held"];
    assert_eq!((&held[0]["source"], &held[0]["reason"]), (&json!(sources[1]), &json!("NotShown")));
    assert_eq!(held.as_array().unwrap().len(), 1, "what the repository has not is not told: {held}");
    let real = lab.task(&[&own[..], &[terms(&dry)]].concat());
    assert_eq!(said(&real), "2 of 2 were deleted; 1 source held");
    assert_eq!(lab.numbers(&sources), [4, 6, 6]);

    // Shown from now on: it is a source more, and so a dry run first.
    let more = sources.map(|source| lab.synced(source, SignedDuration::ZERO));
    let dry = lab.task(&[&more[..2], &[terms(&dry)]].concat());
    assert_eq!(said(&dry), "2 would be deleted; 0 sources held");
    let none = lab.task(&[terms(&dry)]);
    assert_eq!(said(&none), "0 would be deleted; 0 sources held", "a cluster without a source of its own");
    assert_eq!(lab.numbers(&sources), [4, 6, 6]);
}

#[test]
fn a_foreign_source_loses_snapshots_only_by_an_approval_of_its_very_counts() {
    let Some(lab) = Lab::begin() else { return };
    let sources = ["ours@ns:/data", "web@other:/data"];
    for source in sources {
        lab.snapshots(source, &[100; 6]);
        lab.keep(source, 4);
    }
    let mut words: Vec<String> = sources.iter().map(|source| format!("--source={source}")).collect();
    words.push(lab.synced(sources[0], SignedDuration::ZERO));
    let with = |more: &[String]| lab.task(&[&words[..], more].concat());
    let dry = with(&[]);
    assert_eq!(said(&dry), "2 would be deleted, 2 more by approval; 0 sources held");
    let asking = &dry["expired"]["approval"];
    assert_eq!((&asking["foreign"], &asking["global"]), (&json!([sources[1]]), &json!([])));
    let plan = asking["plan"].as_str().unwrap().to_owned();
    for wrong in [terms(&dry).replace("--delete", "--approved"), "--approved=0123456789abcdef".to_owned()] {
        with(&[terms(&dry), wrong]);
        assert_eq!(lab.numbers(&sources), [4, 6]);
    }
    let approved = format!("--approved={plan}");
    // An approval is no dry run.
    lab.keep(sources[1], 3);
    let other = with(&[terms(&dry), approved.clone()]);
    assert_eq!(said(&other), "0 would be deleted, 3 more by approval; 0 sources held");
    let still = with(&[terms(&other), approved.clone()]);
    assert_eq!(said(&still), "0 of 0 were deleted, 3 more by approval; 0 sources held", "another count");
    lab.keep(sources[1], 4);
    let real = with(&[terms(&dry), approved]);
    assert_eq!(said(&real), "2 of 2 were deleted; 0 sources held");
    assert_eq!((&real["expired"]["approval"]["given"], lab.numbers(&sources)), (&json!(true), vec![4, 4]));
}

#[test]
fn the_global_policy_is_everybodys_and_its_counts_need_an_approval() {
    let Some(lab) = Lab::begin() else { return };
    let source = "ours@ns:/data";
    lab.snapshots(source, &[100; 6]);
    lab.count(&["--global"], &SIX, 4);
    let own = [lab.synced(source, SignedDuration::ZERO)];
    let asks = |what: &str| {
        let report = lab.task(&own);
        let global = report["expired"]["approval"]["global"].as_array().is_some_and(|all| all == &[json!(source)]);
        assert_eq!(said(&report).contains("2 more by approval"), global, "{what}: {report}");
        global
    };
    assert!(asks("nothing is its own"));
    lab.count(&[source], &SIX[..5], 4);
    assert!(asks("one of six is not"));
    let dry = lab.task(&own);
    lab.task(&[&own[..], &[terms(&dry)]].concat());
    assert_eq!(lab.numbers(&[source]), [6]);
    // The sixth is its host's, its user's, or that of a folder above.
    for target in ["@ns", "ours@ns", "ours@ns:/"] {
        lab.count(&[target], &SIX[5..], 4);
        assert!(!asks(target), "{target}");
        lab.kopia(&["policy", "delete", target]);
        assert!(asks("that is gone"));
    }
    let plan = dry["expired"]["approval"]["plan"].as_str().unwrap();
    let real = lab.task(&[&own[..], &[terms(&dry), format!("--approved={plan}")]].concat());
    assert_eq!((said(&real), lab.numbers(&[source])), ("2 of 2 were deleted; 0 sources held", vec![4]));
}
