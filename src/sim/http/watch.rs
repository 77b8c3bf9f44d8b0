//! Watches: what has happened since a version, and what happens from then on, one line each.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch as signal;
use tokio::time::{Instant, sleep_until};

use crate::sim::store::{Change, ChangeKind, Refusal, Resource, Selector, object};

use super::present::Shape;
use super::route::{Call, Target};
use super::{Front, Host, JSON, Shared};

/// How long before its end it hears that for the last time.
const BEFORE_END: Duration = Duration::from_secs(2);
/// How long a watch lasts that names no time.
const LASTS: u64 = 1800;
const LIST_END: &str = "k8s.io/initial-events-end";

/// A watch, in the state between two lines.
struct Watch<H> {
    shared: Shared<H>,
    changes: signal::Receiver<()>,
    closing: signal::Receiver<bool>,
    resource: &'static Resource,
    namespace: Option<String>,
    selector: Selector,
    shape: Shape,
    /// Everything up to here has been told.
    version: u64,
    /// Lines to be sent.
    lines: VecDeque<String>,
    /// Lines that may still be sent, if the watch is to be cut.
    left: Option<usize>,
    bookmarks: bool,
    bookmark_every: Duration,
    next_bookmark: Instant,
    end: Instant,
    ended: bool,
}

/// Where a watch begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With all there is.
    List,
    /// With all there is, and a bookmark that says that this was all.
    StreamedList,
    /// After this version.
    After(u64),
}

pub(super) fn answer<H: Host>(front: &Front<H>, call: &Call, cut: Option<usize>) -> Result<Response, Refusal> {
    let Target::Collection { resource, namespace } = &call.target else { return Err(Refusal::not_served()) };
    let selector = Selector::parse(resource, call.query("labelSelector"), call.query("fieldSelector"))?;
    let start = start(call)?;
    let lasts = call.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).unwrap_or(LASTS);
    let now = Instant::now();
    let end = now + Duration::from_secs(lasts);
    let mut watch = Watch {
        shared: front.shared.clone(),
        changes: front.shared.changes(),
        closing: front.closing.subscribe(),
        resource,
        namespace: namespace.clone(),
        selector,
        shape: Shape::of(&call.accept),
        version: 0,
        lines: VecDeque::new(),
        left: cut,
        bookmarks: call.flag("allowWatchBookmarks"),
        bookmark_every: front.bookmark_every,
        next_bookmark: next_bookmark(now, front.bookmark_every, end),
        end,
        ended: false,
    };
    watch.begin(start);
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), watch))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    Ok(response)
}

/// Regularly, and once more just before the end: whoever goes on from there misses nothing.
fn next_bookmark(last: Instant, every: Duration, end: Instant) -> Instant {
    let regular = last + every;
    match end.checked_sub(BEFORE_END).filter(|before| *before > last) {
        Some(before) => regular.min(before),
        None => regular,
    }
}

fn start(call: &Call) -> Result<Start, Refusal> {
    let version = call.number("resourceVersion")?.unwrap_or_default();
    let matching = call.query("resourceVersionMatch");
    if call.query("sendInitialEvents").is_empty() {
        if !matching.is_empty() {
            let why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(Refusal::invalid_options("FieldValueForbidden", "resourceVersionMatch", why));
        }
        return Ok(if version == 0 { Start::List } else { Start::After(version) });
    }
    if matching != "NotOlderThan" {
        let why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Refusal::invalid_options("FieldValueForbidden", "resourceVersionMatch", why));
    }
    if !call.flag("sendInitialEvents") {
        return Ok(Start::After(version));
    }
    Ok(Start::StreamedList)
}

impl<H: Host> Watch<H> {
    fn begin(&mut self, start: Start) {
        if let Start::After(version) = start {
            self.version = version;
            return;
        }
        let (objects, version, now) = self.shared.look(|host| {
            let objects: Vec<_> = host.store().list(self.resource, self.namespace.as_deref()).cloned().collect();
            (objects, host.store().version(), host.now())
        });
        self.version = version;
        for object in objects.iter().filter(|object| self.selector.matches(object)) {
            self.lines.push_back(line("ADDED", &self.shape.object(self.resource, object, now)));
        }
        if start == Start::StreamedList && self.bookmarks {
            self.bookmark(&json!({LIST_END: "true"}));
        }
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.left == Some(0) {
                return None;
            }
            if let Some(line) = self.lines.pop_front() {
                self.left = self.left.map(|left| left.saturating_sub(1));
                return Some(line);
            }
            if self.ended || *self.closing.borrow() {
                return None;
            }
            self.changes.mark_unchanged();
            self.catch_up();
            if self.lines.is_empty() {
                self.wait().await;
            }
        }
    }

    /// Until something may have happened.
    async fn wait(&mut self) {
        tokio::select! {
            // Ends with an error only when nobody is left who could change anything.
            changed = self.changes.changed() => self.ended = changed.is_err(),
            _ = self.closing.changed() => {}
            () = sleep_until(self.next_bookmark), if self.bookmarks => {
                self.next_bookmark = next_bookmark(self.next_bookmark, self.bookmark_every, self.end);
                self.bookmark(&Value::Null);
            }
            () = sleep_until(self.end) => self.ended = true,
        }
    }

    /// Takes in what has happened since the last look.
    fn catch_up(&mut self) {
        let Self { shared, resource, namespace, selector, shape, version, lines, ended, .. } = self;
        shared.look(|host| {
            let now = host.now();
            let store = host.store();
            match store.changes_since(*version) {
                Ok(changes) => {
                    let ours = changes.iter().filter(|change| {
                        change.resource == *resource
                            && namespace.as_ref().is_none_or(|wanted| wanted == object::namespace(&change.object))
                    });
                    let told = ours.filter_map(|change| told(change, selector));
                    lines.extend(told.map(|(verb, object)| line(verb, &shape.object(resource, &object, now))));
                    *version = store.version();
                }
                Err(refusal) => {
                    lines.push_back(line("ERROR", &refusal.status()));
                    *ended = true;
                }
            }
        });
    }

    fn bookmark(&mut self, annotations: &Value) {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if let (Some(fields), true) = (metadata.as_object_mut(), annotations.is_object()) {
            fields.insert("annotations".to_owned(), annotations.clone());
        }
        let bookmark =
            json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata});
        self.lines.push_back(line("BOOKMARK", &bookmark));
    }
}

/// What a change is to somebody who sees only some of the objects.
fn told(change: &Change, selector: &Selector) -> Option<(&'static str, Value)> {
    let before = change.before.as_ref().is_some_and(|before| selector.matches(before));
    let after = change.kind != ChangeKind::Deleted && selector.matches(&change.object);
    match (before, after) {
        (false, false) => None,
        (false, true) => Some(("ADDED", (*change.object).clone())),
        (true, true) => Some(("MODIFIED", (*change.object).clone())),
        (true, false) => {
            // As it was when last seen, with the version of what took it out of sight.
            let mut last = change.before.as_deref()?.clone();
            object::set_metadata(&mut last, "resourceVersion", change.version.to_string());
            Some(("DELETED", last))
        }
    }
}

fn line(verb: &str, object: &Value) -> String {
    // By hand: the server writes the type first, and readers rely on it.
    format!("{{\"type\":\"{verb}\",\"object\":{object}}}\n")
}
