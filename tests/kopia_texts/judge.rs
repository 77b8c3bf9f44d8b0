//! What has to hold for any texts that a kopia could give, broken ones too: nothing panics, and nothing is taken for done,
//! sound or deletable that another reader of the same texts would not take for it.
//!
//! The suite `kopia_texts` and the fuzz target share it.

use std::collections::BTreeSet;

use serde_json::Value;
use volwarden::domain::kopia::{
    self, Check, Ended, Failure, Identity, Maintenance, Meter, Repository, Round, Verdict, expire,
};

/// So many texts are judged together.
pub(crate) const TEXTS: usize = 11;

/// Kopia's answers, as one visit gets them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers<'a> {
    pub(crate) status: &'a str,
    pub(crate) before: &'a str,
    pub(crate) after: &'a str,
    pub(crate) indexes: &'a str,
    pub(crate) epochs: &'a str,
    pub(crate) snapshots: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) expire: &'a str,
    pub(crate) packs: &'a str,
    pub(crate) verify: &'a str,
    pub(crate) run: &'a str,
    pub(crate) code: i32,
}

impl<'a> Answers<'a> {
    pub(crate) fn of(texts: [&'a str; TEXTS], code: i32) -> Self {
        let [status, before, after, indexes, epochs, snapshots, policy, expire, packs, verify, run] = texts;
        Self { status, before, after, indexes, epochs, snapshots, policy, expire, packs, verify, run, code }
    }
}

/// What was made of them, for whoever wants to know that anything ever is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) happened: bool,
    pub(crate) sound: bool,
    pub(crate) going: usize,
}

/// Judges them, and panics if something does not hold.
pub(crate) fn judge(answers: &Answers<'_>, source: &str) -> Made {
    let _ = (Repository::parse(answers.status), kopia::indexes(answers.indexes), kopia::epoch(answers.epochs));
    let _ = (kopia::sources(answers.snapshots), kopia::stored(answers.epochs), kopia::stored(answers.run));
    let mut meter = Meter::default();
    for line in [answers.run, answers.packs].iter().flat_map(|text| text.lines()) {
        meter.hear(line, std::time::Duration::from_secs(7));
        let _ = (meter.line(std::time::Duration::from_secs(20)), meter.log(std::time::Duration::MAX));
    }
    let said = Failure::told(answers.run).to_string();
    assert!(!said.contains('\n'), "a failure is one line: {said:?}");
    Made {
        happened: [Round::Full, Round::Quick].map(|round| happened(answers, round)).contains(&true),
        sound: sound(answers),
        going: going(answers, source),
    }
}

fn happened(answers: &Answers<'_>, round: Round) -> bool {
    let ended = Ended { code: Some(answers.code), stderr: answers.run.to_owned(), ..Ended::default() };
    if is_beyond(answers.before) || is_beyond(answers.after) {
        return false;
    }
    // Without a record of before nothing is begun.
    let Ok(before) = Maintenance::parse(answers.before) else { return false };
    let us = Identity::on("nas").expect("a host name");
    if kopia::may_maintain(&us, &before).is_ok() {
        assert_eq!(value(answers.before)["owner"], "volwarden@nas", "maintenance is somebody else's");
    }
    let after = Maintenance::parse(answers.after).map_err(|error| error.to_string());
    let verdict = kopia::judge(round, &ended, &before, after.as_ref().map_err(String::as_str));
    if !matches!(verdict, Verdict::Happened(_)) {
        return false;
    }
    assert_eq!(answers.code, 0);
    assert!(answers.run.contains(&format!("Running {} maintenance", round.as_str())), "{answers:?}");
    let (old, new) = (runs(answers.before), runs(answers.after));
    let proves = |(task, start, success): &&(String, Option<jiff::Timestamp>, bool)| {
        let newer = old.iter().filter(|(other, ..)| other == task).all(|(_, before, _)| before < start);
        *success && start.is_some() && newer && (round == Round::Quick || task == "snapshot-gc")
    };
    assert!(new.iter().any(|run| proves(&run)), "{round:?} is called done by {answers:?}");
    true
}

/// Task, beginning and success of each run in a record, read in another way.
fn runs(text: &str) -> Vec<(String, Option<jiff::Timestamp>, bool)> {
    let record = value(text);
    let tasks = record.pointer("/schedule/runs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut all = Vec::new();
    for (task, runs) in tasks {
        for run in runs.as_array().into_iter().flatten() {
            let start = run["start"].as_str().and_then(|text| text.parse().ok());
            let start = start.filter(|at| *at > jiff::Timestamp::UNIX_EPOCH);
            all.push((task.clone(), start, run["success"] == true));
        }
    }
    all
}

fn sound(answers: &Answers<'_>) -> bool {
    if is_beyond(answers.verify) {
        return false;
    }
    let packs = Ended { code: Some(answers.code), stderr: answers.packs.to_owned(), ..Ended::default() };
    let files = Ended { code: Some(answers.code), stdout: answers.verify.to_owned(), ..Ended::default() };
    if !matches!(kopia::verified(&packs, &files), Check::Sound(_)) {
        return false;
    }
    let told = value(answers.verify);
    assert_eq!(answers.code, 0);
    assert_eq!(told["errorCount"].as_u64().unwrap_or_default(), 0, "{told}");
    assert!(told["errorStrings"].as_array().is_none_or(Vec::is_empty), "{told}");
    assert!(told.pointer("/stats/expectedTotalObjectCount").and_then(Value::as_u64) > Some(0), "{told}");
    true
}

fn going(answers: &Answers<'_>, source: &str) -> usize {
    if is_beyond(answers.snapshots) {
        return 0;
    }
    let (Ok(all), Ok(policy)) = (expire::listed(answers.snapshots), expire::policy(answers.policy)) else { return 0 };
    let would = expire::would_delete(answers.expire);
    let expiry = expire::expiry(source, &all, policy, would, false);
    let Ok(going) = expiry.going else { return 0 };
    if going.is_empty() {
        return 0;
    }
    // Kopia's dry run names their number, kopia's list has no reason for any of them and no pin, and one that is newer stays.
    assert!(answers.expire.contains(&going.len().to_string()), "{going:?} by {:?}", answers.expire);
    let list = value(answers.snapshots);
    let list: Vec<&Value> = list.as_array().into_iter().flatten().collect();
    let none = |one: &Value, field: &str| one[field].as_array().is_none_or(Vec::is_empty);
    for id in &going {
        let with_this_id: Vec<&&Value> = list.iter().filter(|one| one["id"] == **id).collect();
        assert_eq!(with_this_id.len(), 1, "{id} in {list:?}");
        assert!(
            with_this_id.iter().all(|one| none(one, "retentionReason") && none(one, "pins")),
            "{list:?} keeps {id}"
        );
    }
    let unique: BTreeSet<&String> = going.iter().collect();
    assert!(unique.len() < list.len(), "none would stay of {list:?}");
    going.len()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// The other reader gives up at a number that no field of ours has: then it has nothing to say.
fn is_beyond(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_err_and(|error| error.to_string().starts_with("number out of range"))
}
