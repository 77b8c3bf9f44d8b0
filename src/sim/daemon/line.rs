//! Objects as the lines of a watch: the daemon in the model reads the same text as the one on a real server.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::feed::verb;
use crate::sim::store::{Change, object};

/// Most lines are shorter than this.
const USUAL: usize = 1000;

/// One line of a watch.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its resourceVersion.
    pub(super) version: u64,
    pub(super) text: Arc<str>,
}

/// A change that several daemons may want to read: made into text once, and only if somebody does.
#[derive(Debug)]
pub struct Sent<'a> {
    /// The change.
    pub change: &'a Change,
    line: OnceLock<Line>,
}

impl<'a> Sent<'a> {
    /// A change nobody has read yet.
    #[must_use]
    pub fn new(change: &'a Change) -> Self {
        Self { change, line: OnceLock::new() }
    }

    pub(super) fn line(&self) -> &Line {
        self.line.get_or_init(|| of(self.change))
    }
}

pub(super) fn of(change: &Change) -> Line {
    Line { version: change.version, text: text(verb(change.kind), &change.object) }
}

pub(super) fn added(object: &Value) -> Line {
    Line { version: object::version(object), text: text("ADDED", object) }
}

/// Every write of a run goes through here for each source that is watched: straight to bytes, not through a formatter.
fn text(verb: &str, object: &Value) -> Arc<str> {
    let mut line = Vec::with_capacity(USUAL);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(verb.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    let written = serde_json::to_writer(&mut line, object).is_ok();
    line.push(b'}');
    String::from_utf8(line).ok().filter(|_| written).unwrap_or_default().into()
}

/// The same object in a shape that nobody can read but for its name.
pub(super) fn garbled(line: &Line) -> Arc<str> {
    let read: Value = serde_json::from_str(&line.text).unwrap_or_default();
    if read.get("type").and_then(Value::as_str) == Some("DELETED") {
        return Arc::clone(&line.text);
    }
    let object = read.get("object").unwrap_or(&Value::Null);
    let version = object::version(object).to_string();
    let metadata = json!({"name": object::name(object), "namespace": object::namespace(object),
        "resourceVersion": version, "uid": 7, "creationTimestamp": 7});
    text("MODIFIED", &json!({"metadata": metadata}))
}

/// A content as if it had been made here a moment ago, and had a handle of its own.
pub(super) fn as_made_here(content: &mut Value) {
    let own = format!("{}-{}", object::text(content, "/status/snapshotHandle"), object::uid(content));
    let made: Option<Timestamp> = object::text(content, "/metadata/creationTimestamp").parse().ok();
    if let Some(status) = content.get_mut("status").and_then(Value::as_object_mut) {
        if status.contains_key("snapshotHandle") {
            status.insert("snapshotHandle".to_owned(), own.into());
        }
        if let Some(made) = made.filter(|_| status.contains_key("creationTime")) {
            status.insert("creationTime".to_owned(), (made.as_second() * 1_000_000_000).into());
        }
    }
    for entry in content.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = entry.as_object_mut() {
            fields.insert("manager".to_owned(), "snapshot-controller".into());
        }
    }
}

/// The same of a line.
pub(super) fn made_here(line: &Line) -> Arc<str> {
    let mut read: Value = serde_json::from_str(&line.text).unwrap_or_default();
    let verb = object::text(&read, "/type").to_owned();
    let mut content = read.get_mut("object").map(Value::take).unwrap_or_default();
    as_made_here(&mut content);
    text(&verb, &content)
}
