//! Recordings of what the API server really sent, replayed through the translation into a fresh engine.
//!
//! A live run's findings have to come out of its recording again: the diagnosis rests on nothing but the facts.
//! And the order of what each object goes through is judged by a log of transitions taken on another stack.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use stack::{Options, Stack, WatchRecording};
use volwarden::domain::engine::{Effect, Engine, Settings};
use volwarden::domain::fact::{Answer, Fact, Live, LogTail, Now, Probe, Source, SourceChange};
use volwarden::domain::record::Kind;
use volwarden::domain::remedy::fresh::Looked;
use volwarden::io::translate::{Translator, facts};

use super::doctor::Report;
use super::{CONTENTS, SNAPSHOTS, ready_snapshot, turn, wait_for, wait_gone, with_claim};

const RECORDED: [(Source, &str); 9] = [
    (Source::SnapshotClasses, "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"),
    (Source::CsiDrivers, "/apis/storage.k8s.io/v1/csidrivers"),
    (Source::Snapshots, "/apis/snapshot.storage.k8s.io/v1/volumesnapshots"),
    (Source::Contents, "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"),
    (Source::Leases, "/apis/coordination.k8s.io/v1/leases"),
    (Source::Claims, "/api/v1/persistentvolumeclaims"),
    (Source::Volumes, "/api/v1/persistentvolumes"),
    (Source::ContentEvents, "/api/v1/events?fieldSelector=involvedObject.kind%3DVolumeSnapshotContent"),
    (Source::SnapshotEvents, "/api/v1/events?fieldSelector=involvedObject.kind%3DVolumeSnapshot"),
];

/// Raw watch lines of every kind that a scenario changes, in files of the stack's folder.
pub(crate) struct Recorder {
    watches: Vec<(Source, PathBuf, WatchRecording)>,
}

impl Recorder {
    pub(crate) fn start(stack: &Stack) -> Self {
        let watches = RECORDED.into_iter().map(|(source, path)| {
            let file = stack.folder().join(format!("watch-{source:?}.jsonl"));
            let recording = stack.record_watch(path, &file).unwrap();
            (source, file, recording)
        });
        Self { watches: watches.collect() }
    }

    /// Ends the recording; replayed, it gives the findings that the live run gave.
    pub(crate) fn agrees_with(self, stack: &Stack, live: &Report) {
        let at = Timestamp::now();
        let mut replay = Replay::new(at);
        for (source, file, recording) in self.watches {
            recording.stop().unwrap();
            let lines = std::fs::read_to_string(&file).unwrap();
            let may_be_empty = [Source::SnapshotEvents, Source::ContentEvents, Source::Claims].contains(&source);
            assert!(!lines.is_empty() || may_be_empty, "nothing recorded of {source}");
            replay.source(source, &lines);
        }
        replay.finish();
        let replayed: Vec<String> = replay.lines();
        assert_eq!(replayed, live.lines(), "the recording in {} tells another story", stack.folder().display());
    }
}

/// A fresh engine that is fed a recording; reads are answered from the recording's own end state.
struct Replay {
    engine: Engine,
    wall: Timestamp,
    mono: Duration,
}

impl Replay {
    fn new(wall: Timestamp) -> Self {
        let settings = Settings { eager: true, ..Settings::default() };
        Self { engine: Engine::new(settings), wall, mono: Duration::from_secs(1) }
    }

    fn source(&mut self, source: Source, lines: &str) {
        let mut translator = Translator::new(source);
        self.feed(Fact::Source(source, SourceChange::ListBegan));
        for line in lines.lines() {
            for fact in facts(&mut translator, line).unwrap() {
                self.feed(fact);
            }
        }
        // The lists of this recording came as events; from its end on everything is known.
        self.feed(Fact::Source(source, SourceChange::ListEnded));
    }

    fn finish(&mut self) {
        for source in Source::ALL {
            if !RECORDED.iter().any(|(recorded, _)| *recorded == source) {
                self.feed(Fact::Source(source, SourceChange::NotInstalled));
            }
        }
        // A second look, within the leases' duration.
        for _ in 0..12 {
            self.mono += Duration::from_secs(1);
            self.feed(Fact::Tick);
        }
    }

    fn feed(&mut self, fact: Fact) {
        let mut queue = vec![fact];
        while let Some(fact) = queue.pop() {
            for effect in self.engine.step(fact, Now { wall: self.wall, mono: self.mono }) {
                if let Effect::Probe(probe) = effect {
                    let answer = self.answer(&probe);
                    queue.push(Fact::Answered(probe, answer));
                }
            }
        }
    }

    fn answer(&self, probe: &Probe) -> Answer {
        let world = self.engine.world();
        match probe {
            Probe::Get { kind, key } => {
                let uid = match kind {
                    Kind::VolumeSnapshot => world.snapshots.get(key).map(|snapshot| snapshot.meta.uid.clone()),
                    _ => world.contents.get(key).map(|content| content.meta.uid.clone()),
                };
                Answer::Get(uid.map_or(Live::Absent, Live::Present))
            }
            // Nobody leads here: no decision rests on it.
            Probe::Look { .. } => Answer::Look(Looked::Unknown("a recording".into())),
            Probe::Log { .. } => Answer::Log(LogTail::Forbidden),
            Probe::ClaimEvents { .. } => Answer::ClaimEvents(None),
        }
    }

    fn lines(&self) -> Vec<String> {
        let findings = self.engine.findings();
        let line =
            |f: &&volwarden::domain::finding::Finding| format!("{} {} {}", f.class, f.subject.kind, f.subject.key.name);
        let mut lines: Vec<String> = findings.iter().map(line).collect();
        lines.sort();
        lines
    }
}

// === The oracle: what a VolumeSnapshot and its content go through, and in which order ===

/// A content's or snapshot's state with everything taken out that differs from run to run.
type State = String;

/// Transitions of the oracle: `csi-transitions.log`, taken on another stack with another driver.
fn oracle() -> BTreeSet<String> {
    let text = include_str!("csi-transitions.log");
    let mut last: std::collections::BTreeMap<String, State> = std::collections::BTreeMap::new();
    let mut transitions = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(_), Some(kind @ ("VS" | "VSC")), Some(event), Some(name)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let state = oracle_state(kind, event, line);
        let subject = format!("{kind} {name}");
        let before = last.insert(subject.clone(), state.clone());
        // A snapshot that is made again under its old name begins anew.
        if event != "ADDED"
            && let Some(before) = before
        {
            transitions.insert(change(&before, &state));
        }
    }
    transitions
}

/// A transition. While an object is made, two controllers write side by side in any order, so only what changes
/// counts; a deletion has one order, so there everything counts.
fn change(before: &State, after: &State) -> String {
    if before.contains("deleted=true") {
        return format!("{before} -> {after}");
    }
    let changed: Vec<String> = before
        .split("; ")
        .zip(after.split("; "))
        .enumerate()
        .filter(|(at, (before, after))| *at == 0 || before != after)
        .map(|(_, (before, after))| format!("{before} -> {after}"))
        .collect();
    changed.join(", ")
}

fn oracle_state(kind: &str, event: &str, line: &str) -> State {
    let field = |from: &str, to: &str| {
        line.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map_or("", |(text, _)| text)
    };
    let deleted = !field("del=", " ").starts_with('-');
    let finalizers = field("fin=[", "]");
    let annotations = field("ann={", "}");
    let status = line.split_once("status={").map_or("", |(_, rest)| rest);
    let has = |text: &str, word: &str| text.contains(word);
    state(
        kind,
        event == "DELETED",
        deleted,
        &[has(finalizers, "as-source"), has(finalizers, "volumesnapshot-bound"), has(finalizers, "content-bound")],
        &[has(annotations, "being-created"), has(annotations, "being-deleted")],
        &[has(status, "snapshotHandle"), has(status, "'readyToUse': True"), has(status, "boundVolume")],
    )
}

fn recorded_state(kind: &str, event: &Value) -> State {
    let object = event.get("object").unwrap();
    let text = |pointer: &str| object.pointer(pointer).map(Value::to_string).unwrap_or_default();
    let (finalizers, annotations, status) =
        (text("/metadata/finalizers"), text("/metadata/annotations"), text("/status"));
    let has = |text: &str, word: &str| text.contains(word);
    state(
        kind,
        event.get("type") == Some(&"DELETED".into()),
        object.pointer("/metadata/deletionTimestamp").is_some(),
        &[has(&finalizers, "as-source"), has(&finalizers, "volumesnapshot-bound"), has(&finalizers, "content-bound")],
        &[has(&annotations, "being-created"), has(&annotations, "being-deleted")],
        &[has(&status, "snapshotHandle"), has(&status, "\"readyToUse\":true"), has(&status, "boundVolume")],
    )
}

fn state(kind: &str, gone: bool, deleted: bool, finalizers: &[bool], annotations: &[bool], status: &[bool]) -> State {
    format!(
        "{kind}; gone={gone}; deleted={deleted}; finalizers={finalizers:?}; annotations={annotations:?}; status={status:?}"
    )
}

#[test]
fn what_objects_go_through_is_what_the_oracle_saw() {
    let Some(_turn) = turn() else { return };
    let known = oracle();
    assert!(known.len() > 15, "the oracle holds {} transitions", known.len());
    let stack = with_claim(Options::full());
    let folder = stack.folder().to_owned();
    let watch = |kind: &str, file: &str| {
        let path = format!("/apis/snapshot.storage.k8s.io/v1/{kind}");
        stack.record_watch(&path, &folder.join(file)).unwrap()
    };
    let (snapshots, contents) = (watch("volumesnapshots", "vs.jsonl"), watch("volumesnapshotcontents", "vsc.jsonl"));
    for name in ["one", "two", "three"] {
        let content = ready_snapshot(&stack, name);
        wait_for(&stack, CONTENTS, None, &content, "/metadata/annotations", |all| {
            !all.to_string().contains("being-created")
        });
        stack.delete(SNAPSHOTS, Some("default"), name).unwrap();
        wait_gone(&stack, SNAPSHOTS, Some("default"), name);
        wait_gone(&stack, CONTENTS, None, &content);
    }
    std::thread::sleep(Duration::from_secs(1));
    let (snapshots, contents) = (snapshots.stop().unwrap(), contents.stop().unwrap());
    let mut compared = 0;
    for (kind, events) in [("VS", &snapshots), ("VSC", &contents)] {
        let mut last: std::collections::BTreeMap<String, State> = std::collections::BTreeMap::new();
        for event in events {
            let name = super::text(event, "/object/metadata/name");
            let state = recorded_state(kind, event);
            if let Some(before) = last.insert(name.clone(), state.clone())
                && before != state
            {
                compared += 1;
                let change = change(&before, &state);
                assert!(known.contains(&change), "{name}: {change}");
            }
        }
    }
    println!("{compared} transitions compared with the oracle's {}", known.len());
    assert!(compared >= 20, "only {compared} transitions were seen");
    deletion_order(&snapshots, &contents);
}

/// The order of a deletion's writes (S0 to S7), by resource version.
fn deletion_order(snapshots: &[Value], contents: &[Value]) {
    type Look = fn(&Value) -> bool;
    let gone: Look = |event| event.get("type") == Some(&"DELETED".into());
    let deleted: Look = |event| event.pointer("/object/metadata/deletionTimestamp").is_some();
    let marked: Look = |event| event.to_string().contains("volumesnapshot-being-deleted");
    let let_go: Look = |event| {
        event.pointer("/object/metadata/deletionTimestamp").is_some()
            && !event.pointer("/object/metadata/finalizers").is_some_and(|all| all.to_string().contains("as-source"))
    };
    let emptied: Look = |event| event.pointer("/object/status") == Some(&serde_json::json!({})) && deleted_at(event);
    let steps: [(&str, &[Value], Look); 6] = [
        ("S0 VolumeSnapshot deleted", snapshots, deleted),
        ("S1 content marked", contents, marked),
        ("S2 content deleted", contents, deleted),
        ("S3 as-source finalizer out", snapshots, let_go),
        ("S5 content's status emptied", contents, emptied),
        ("S7 VolumeSnapshot gone", snapshots, gone),
    ];
    let versions: Vec<(u64, &str)> = steps
        .into_iter()
        .map(|(name, events, look)| {
            let event = events.iter().find(|event| look(event)).unwrap_or_else(|| panic!("never seen: {name}"));
            (super::text(event, "/object/metadata/resourceVersion").parse().unwrap(), name)
        })
        .collect();
    // Between S2 and S5 the two controllers work side by side; each for itself keeps its order.
    let order = |names: &[&str]| {
        let picked: Vec<_> =
            names.iter().map(|name| versions.iter().find(|(_, step)| step.starts_with(name)).unwrap()).collect();
        assert!(picked.is_sorted(), "{picked:?}");
    };
    order(&["S0", "S1", "S2", "S5", "S7"]);
    order(&["S0", "S3", "S7"]);
}

fn deleted_at(event: &Value) -> bool {
    event.pointer("/object/metadata/deletionTimestamp").is_some()
}
