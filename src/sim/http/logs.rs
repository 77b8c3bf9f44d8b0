//! Logs of containers, from the end backwards or as they are written.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch as signal;

use crate::sim::store::{Refusal, object, table};

use super::route::{Call, Target};
use super::{Front, Host, LogLine, Shared, TEXT};

pub(super) fn answer<H: Host>(front: &Front<H>, call: &Call) -> Result<Response, Refusal> {
    let Target::Log { namespace, pod } = &call.target else { return Err(Refusal::not_served()) };
    let (lines, container, now) = front.shared.look(|host| {
        let found = host.store().get(table::PODS, namespace, pod)?;
        let container = container(&found, call)?;
        Ok::<_, Refusal>((host.log(namespace, pod, &container), container, host.now()))
    })?;
    let next = lines.last().map_or(0, |line| line.number.saturating_add(1));
    let mut text = VecDeque::new();
    let timestamps = call.flag("timestamps");
    text.push_back(tail(call, &lines, now)?.iter().map(|line| shown(line, timestamps)).collect::<String>());
    let body = if call.flag("follow") {
        let place = [namespace.clone(), pod.clone(), container];
        let (changes, closing) = (front.shared.changes(), front.closing.subscribe());
        let follow = Follow { shared: front.shared.clone(), changes, closing, place, next, timestamps, text };
        Body::from_stream(stream::unfold(follow, |mut follow| async move {
            let text = follow.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(text)), follow))
        }))
    } else {
        let mut text = text.pop_front().unwrap_or_default().into_bytes();
        if let Some(limit) = call.number("limitBytes")? {
            text.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Body::from(text)
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}

/// The container that is meant.
fn container(pod: &Value, call: &Call) -> Result<String, Refusal> {
    let name = object::name(pod);
    let known: Vec<&str> =
        object::items(pod, "/spec/containers").iter().map(|container| object::text(container, "/name")).collect();
    let container = match (call.query("container"), known.as_slice()) {
        ("", [only]) => *only,
        ("", _) => {
            let choice = known.join(" ");
            let message = format!("a container name must be specified for pod {name}, choose one of: [{choice}]");
            return Err(Refusal::bad_request(message));
        }
        (wanted, known) if known.contains(&wanted) => wanted,
        (wanted, _) => {
            return Err(Refusal::bad_request(format!("container {wanted} is not valid for pod {name}")));
        }
    };
    if call.flag("previous") {
        let message = format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
        return Err(Refusal::bad_request(message));
    }
    Ok(container.to_owned())
}

/// The lines that are asked for.
fn tail<'a>(call: &Call, lines: &'a [LogLine], now: Timestamp) -> Result<&'a [LogLine], Refusal> {
    let mut since = call.query("sinceTime").parse::<Timestamp>().ok();
    if let Some(seconds) = call.number("sinceSeconds")? {
        let age = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        since = now.checked_sub(age).ok();
    }
    let start = since.map_or(0, |since| lines.partition_point(|line| line.at < since));
    let count = call.number("tailLines")?.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let start = start.max(lines.len().saturating_sub(count));
    Ok(lines.get(start..).unwrap_or_default())
}

fn shown(line: &LogLine, timestamps: bool) -> String {
    if timestamps { format!("{} {}\n", line.at, line.text) } else { format!("{}\n", line.text) }
}

/// A log that is being followed.
struct Follow<H> {
    shared: Shared<H>,
    changes: signal::Receiver<()>,
    closing: signal::Receiver<bool>,
    /// Namespace, pod, container.
    place: [String; 3],
    /// Number of the next line to send.
    next: u64,
    timestamps: bool,
    text: VecDeque<String>,
}

impl<H: Host> Follow<H> {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(text) = self.text.pop_front().filter(|text| !text.is_empty()) {
                return Some(text);
            }
            if *self.closing.borrow() {
                return None;
            }
            self.changes.mark_unchanged();
            let [namespace, pod, container] = &self.place;
            let (lines, there) = self.shared.look(|host| {
                let there = host.store().get(table::PODS, namespace, pod).is_ok();
                (host.log(namespace, pod, container), there)
            });
            let new = lines.get(lines.partition_point(|line| line.number < self.next)..).unwrap_or_default();
            self.text.push_back(new.iter().map(|line| shown(line, self.timestamps)).collect());
            if let Some(last) = new.last() {
                self.next = last.number.saturating_add(1);
                continue;
            }
            if !there {
                return None;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = self.closing.changed() => {}
            }
        }
    }
}
