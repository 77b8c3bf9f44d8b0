//! What each object went through, as text: every write to it, told by what it changed.
//!
//! Times, uids, handles and resource versions are normalised, and of the objects nothing is left out but
//! `managedFields`: a field that only one side writes is a difference.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::backend::{Backend, Kind, Seen};

/// The steps of each object, by its title; of Events one line for each that is new.
pub(crate) type Histories = BTreeMap<String, Vec<String>>;

/// The fields of an object, as text by path.
type State = BTreeMap<String, String>;

/// The kinds that are told of.
pub(crate) const TOLD: [Kind; 4] = [Kind::Snapshot, Kind::Content, Kind::Claim, Kind::Event];

/// The API server's own: every object has them, and they change with every write.
const BOOKKEEPING: [&str; 4] =
    ["metadata.uid", "metadata.resourceVersion", "metadata.creationTimestamp", "metadata.managedFields"];
/// Fields of which it counts whether they are there, and not what they hold.
const TIMES: [&str; 4] = ["resourceVersion", "deletionTimestamp", "creationTime", "time"];

/// All that was seen in a cluster.
pub(crate) struct Everything {
    snapshots: Vec<Seen>,
    contents: Vec<Seen>,
    claims: Vec<Seen>,
    events: Vec<Seen>,
}

impl Everything {
    pub(crate) fn seen_by(backend: &mut impl Backend) -> Self {
        Self {
            snapshots: backend.seen(Kind::Snapshot),
            contents: backend.seen(Kind::Content),
            claims: backend.seen(Kind::Claim),
            events: backend.seen(Kind::Event),
        }
    }

    /// What happened to the objects of one scenario.
    pub(crate) fn of(&self, namespace: &str) -> Histories {
        let of = |all: &'_ [Seen], pointer: &str| -> Vec<Seen> {
            all.iter().filter(|seen| text(&seen.object, pointer) == namespace).cloned().collect()
        };
        let snapshots = of(&self.snapshots, "/metadata/namespace");
        let contents = of(&self.contents, "/spec/volumeSnapshotRef/namespace");
        let claims = of(&self.claims, "/metadata/namespace");
        let words = Words::of(&snapshots, &contents, &claims);
        let mut histories = Histories::new();
        let mut uids = Vec::new();
        for (kind, seen) in [("VolumeSnapshot", snapshots), ("VolumeSnapshotContent", contents), ("Claim", claims)] {
            uids.extend(seen.iter().map(|seen| text(&seen.object, "/metadata/uid").to_owned()));
            tell(kind, &seen, &words, &mut histories);
        }
        let events = self.events.iter().map(|seen| &seen.object);
        let about_these = |event: &&Value| uids.iter().any(|uid| uid == text(event, "/involvedObject/uid"));
        tell_events(events.filter(about_these), &words, &mut histories);
        histories
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What stands for the ids that differ from run to run.
struct Words(Vec<(String, String)>);

impl Words {
    fn of(snapshots: &[Seen], contents: &[Seen], claims: &[Seen]) -> Self {
        let mut words: BTreeMap<String, String> = BTreeMap::new();
        for seen in snapshots.iter().chain(contents).chain(claims) {
            let (uid, name) = (text(&seen.object, "/metadata/uid"), text(&seen.object, "/metadata/name"));
            words.entry(uid.to_owned()).or_insert_with(|| format!("<uid of {name}>"));
        }
        let mut letters = 'A'..='Z';
        for seen in contents {
            let handle = text(&seen.object, "/status/snapshotHandle");
            if !handle.is_empty() && !words.contains_key(handle) {
                words.insert(handle.to_owned(), format!("<handle {}>", letters.next().unwrap_or('?')));
            }
        }
        Self(words.into_iter().collect())
    }

    fn in_place_of_ids(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (id, word)| text.replace(id, word))
    }
}

fn tell(kind: &str, all: &[Seen], words: &Words, histories: &mut Histories) {
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    for seen in all {
        let name = text(&seen.object, "/metadata/name");
        let title = format!("{kind} {}", words.in_place_of_ids(name));
        let steps = histories.entry(title).or_default();
        let state = state(&seen.object, words);
        let before = states.get(name).cloned().unwrap_or_default();
        let changed = changes(&before, &state);
        match (seen.gone, changed.is_empty()) {
            (true, true) => steps.push("gone".to_owned()),
            (true, false) => steps.push(format!("gone; {changed}")),
            (false, true) => {}
            (false, false) => steps.push(changed),
        }
        if seen.gone {
            states.remove(name);
        } else {
            states.insert(name, state);
        }
    }
}

/// First occurrences, each program's for itself: what they send is not ordered between them.
fn tell_events<'a>(events: impl Iterator<Item = &'a Value>, words: &Words, histories: &mut Histories) {
    for event in events {
        let name = words.in_place_of_ids(text(event, "/involvedObject/name"));
        let (kind, component) = (text(event, "/involvedObject/kind"), text(event, "/source/component"));
        let steps = histories.entry(format!("Events of {component} about {kind} {name}")).or_default();
        let (level, reason, message) = (text(event, "/type"), text(event, "/reason"), text(event, "/message"));
        let line = format!("{level} {reason}: {}", words.in_place_of_ids(message));
        if !steps.contains(&line) {
            steps.push(line);
        }
    }
}

fn state(object: &Value, words: &Words) -> State {
    let mut state = State::new();
    flatten(object, "", words, &mut state);
    state
}

fn flatten(value: &Value, path: &str, words: &Words, state: &mut State) {
    if BOOKKEEPING.contains(&path) {
        return;
    }
    if TIMES.contains(&path.rsplit('.').next().unwrap_or_default()) {
        state.insert(path.to_owned(), "set".to_owned());
        return;
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(field, &path, words, state);
            }
        }
        Value::String(text) => {
            state.insert(path.to_owned(), words.in_place_of_ids(text));
        }
        other => {
            state.insert(path.to_owned(), words.in_place_of_ids(&other.to_string()));
        }
    }
}

/// What is different, as one line.
fn changes(before: &State, after: &State) -> String {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |path: &&String| {
        let (old, new) = (before.get(*path), after.get(*path));
        let absent = || "-".to_owned();
        let line = match (old, new) {
            (None, Some(new)) => format!("{path} = {new}"),
            (old, new) => {
                format!("{path}: {} -> {}", old.cloned().unwrap_or_else(absent), new.cloned().unwrap_or_else(absent))
            }
        };
        (old != new).then_some(line)
    };
    paths.iter().filter_map(change).collect::<Vec<_>>().join("; ")
}
