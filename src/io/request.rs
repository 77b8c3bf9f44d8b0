//! One GET to the API server, and what its answer means.
//!
//! Everything here is bounded: the wait for an answer, the size of an error, the length of a line. The status
//! code is the HTTP one, never the one a body claims, so that a proxy's page is not taken for the server's
//! word. This file sends nothing but GET: what changes something goes through `act`.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, to_bytes};
use futures::StreamExt;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{Request, StatusCode};
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::api::foreign::Status;

/// Most that is read of an error's body, in bytes.
const ERROR_BYTES: usize = 64 * 1024;
/// Most that is kept of a message nobody made for reading (a proxy's page), in characters.
const WORDS: usize = 300;
/// Longest line of a watch, in bytes: ten times what etcd lets an object have.
const LINE_BYTES: usize = 16 * 1024 * 1024;

/// What is asked for as JSON.
pub(super) const JSON: &str = "application/json";
/// The same as metadata alone, for reads that only ask whether an object is there.
pub(super) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.5";

/// An answer that is no success, or no answer.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// HTTP status; `None` when no answer came.
    pub(super) code: Option<StatusCode>,
    /// `reason` of a Status, such as `NotFound`; empty where the answer was none.
    pub(super) reason: String,
    /// Name of the object the Status is about.
    pub(super) about: Option<String>,
    /// What was said, in one line.
    pub(super) words: Arc<str>,
}

impl Refusal {
    /// A failure without an answer.
    pub(super) fn silent(words: impl Into<Arc<str>>) -> Self {
        Self { code: None, reason: String::new(), about: None, words: words.into() }
    }

    /// The answer had this status.
    pub(super) fn is(&self, code: StatusCode) -> bool {
        self.code == Some(code)
    }

    /// Credentials or permissions: nothing a retry in a second could change.
    pub(super) fn forbidden(&self) -> bool {
        self.is(StatusCode::FORBIDDEN) || self.is(StatusCode::UNAUTHORIZED)
    }

    /// From a Status sent with this code.
    pub(super) fn from_status(code: StatusCode, status: Status) -> Self {
        let message = status.message.filter(|message| !message.is_empty());
        let said = message.or_else(|| status.reason.clone()).unwrap_or_default();
        Self {
            code: Some(code),
            reason: status.reason.unwrap_or_default(),
            about: status.details.and_then(|details| details.name),
            words: format!("{}: {}", code.as_u16(), one_line(&said)).into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Sends a GET and waits at most `patience` for the head of a successful answer.
pub(super) async fn open(client: &Client, uri: &str, accept: &str, patience: Duration) -> Result<Body, Refusal> {
    let request = Request::get(uri)
        .header(ACCEPT, accept)
        // Kubernetes 1.37 compresses a watch one member an event, which decoders stop after the first of.
        .header(ACCEPT_ENCODING, "identity")
        .body(kube::client::Body::empty())
        .map_err(|error| Refusal::silent(format!("cannot ask for {uri}: {error}")))?;
    let answer = async {
        let response = client.send(request).await.map_err(|error| Refusal::silent(unwrapped(&error)))?;
        let code = response.status();
        let body = Body::new(response.into_body());
        if code.is_success() {
            return Ok(body);
        }
        let bytes = to_bytes(body, ERROR_BYTES).await.unwrap_or_default();
        let status = serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|_| Status {
            message: Some(String::from_utf8_lossy(&bytes).into_owned()),
            ..Status::default()
        });
        Err(Refusal::from_status(code, status))
    };
    timeout(patience, answer)
        .await
        .unwrap_or_else(|_| Err(Refusal::silent(format!("no answer within {} s", patience.as_secs()))))
}

/// The objects of one of our own collections, each as it was sent; none where the kind is not installed. Only for what
/// asks for work by being there: whatever rests on an absence asks discovery first.
pub(super) async fn objects(
    client: &Client,
    uri: &str,
    limit: usize,
    patience: Duration,
) -> Result<Vec<Box<RawValue>>, Refusal> {
    #[derive(Deserialize)]
    struct List {
        items: Option<Vec<Box<RawValue>>>,
    }
    let bytes = match fetch(client, uri, JSON, limit, patience).await {
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => return Ok(Vec::new()),
        answer => answer?,
    };
    Ok(parse::<List>(&bytes)?.items.unwrap_or_default())
}

/// Sends a GET and reads the whole answer, at most `limit` bytes and within `patience`.
pub(super) async fn fetch(
    client: &Client,
    uri: &str,
    accept: &str,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Refusal> {
    let whole = async {
        let body = open(client, uri, accept, patience).await?;
        to_bytes(body, limit).await.map_err(|error| Refusal::silent(format!("answer broken off: {}", chain(&error))))
    };
    timeout(patience, whole)
        .await
        .unwrap_or_else(|_| Err(Refusal::silent(format!("no complete answer within {} s", patience.as_secs()))))
}

/// Reads a JSON answer.
pub(super) fn parse<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        let start: String = String::from_utf8_lossy(bytes.get(..80).unwrap_or(bytes)).into_owned();
        Refusal::silent(format!("the answer is not what an API server sends ({error}): `{}`", one_line(&start)))
    })
}

/// A failure to send, without kube's own name for where it noticed.
pub(super) fn unwrapped(error: &kube::Error) -> String {
    match error {
        kube::Error::Service(inner) => chain(&**inner),
        other => chain(other),
    }
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = next.source();
    }
    one_line(&words)
}

/// One line of bounded length.
pub(super) fn one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(WORDS) {
        line.truncate(at);
        line.push_str("...");
    }
    line
}

/// Percent-encodes a query value.
pub(super) fn encode(uri: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}

// === Lines ===

/// The lines of a streamed answer, one at a time; nothing is buffered beyond the line under way.
pub(super) struct Lines {
    body: BodyDataStream,
    /// Received and not yet handed out.
    chunk: Bytes,
    /// Beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), chunk: Bytes::new(), partial: Vec::new() }
    }

    /// The next complete line with its line feed; `None` at the end. What stands after the last line feed is a
    /// line cut off and is never handed out. May be dropped and called again without losing anything.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(at) = self.chunk.iter().position(|byte| *byte == b'\n') {
                let line = self.chunk.split_to(at.saturating_add(1));
                if self.partial.is_empty() {
                    return Ok(Some(line));
                }
                self.partial.extend_from_slice(&line);
                return Ok(Some(Bytes::from(std::mem::take(&mut self.partial))));
            }
            if self.partial.len().saturating_add(self.chunk.len()) > LINE_BYTES {
                return Err(Refusal::silent("a line of the watch does not end"));
            }
            self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
            match self.body.next().await {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(Refusal::silent(chain(&error))),
                None => return Ok(None),
            }
        }
    }
}
