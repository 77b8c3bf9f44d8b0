//! Objects as the lines of a watch: the daemon in the model reads the same text as the one on a real server.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::feed::verb;
use crate::sim::store::{Change, object};

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

fn text(verb: &str, object: &impl fmt::Display) -> Arc<str> {
    format!("{{\"type\":\"{verb}\",\"object\":{object}}}").into()
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
