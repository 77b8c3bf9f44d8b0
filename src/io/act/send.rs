//! One request that changes something: the only place in the crate that sends anything but GET.
//!
//! Nothing is sent twice. A write whose answer is lost may have happened, and sending it again on a guess is how
//! a finalizer gets removed that has come back in the meantime; what became of it is read from the cluster.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use kube::Client;
use serde_json::Value;
use tokio::time::timeout;

use crate::api::foreign::Status;
use crate::domain::ledger::Outcome;
use crate::io::request::{JSON, Refusal, chain, unwrapped};

/// Most that is read of an answer, in bytes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// What the API server says of a JSON patch that it cannot apply: one of its tests did not hold.
const PATCH_REFUSED: &str = "the server rejected our request due to an error in our request";

/// A patch of single operations, each of which may be a test.
pub(in crate::io) const JSON_PATCH: &str = "application/json-patch+json";
/// A patch that is laid over the object.
pub(in crate::io) const MERGE_PATCH: &str = "application/merge-patch+json";

/// One write, ready to be sent.
#[derive(Clone, Debug)]
pub(in crate::io) struct Call {
    /// POST, PUT, PATCH or DELETE.
    pub(in crate::io) method: Method,
    /// Path and query.
    pub(in crate::io) uri: String,
    /// Type of the body.
    pub(in crate::io) content: &'static str,
    /// The body.
    pub(in crate::io) body: Value,
}

impl Call {
    /// Creates an object in a collection.
    pub(in crate::io) fn create(collection: impl Into<String>, object: Value) -> Self {
        Self { method: Method::POST, uri: collection.into(), content: JSON, body: object }
    }

    /// Replaces an object; the version in it is the precondition.
    pub(in crate::io) fn replace(uri: impl Into<String>, object: Value) -> Self {
        Self { method: Method::PUT, uri: uri.into(), content: JSON, body: object }
    }

    /// Lays a patch over an object; the version in it is the precondition.
    pub(in crate::io) fn merge(uri: impl Into<String>, patch: Value) -> Self {
        Self { method: Method::PATCH, uri: uri.into(), content: MERGE_PATCH, body: patch }
    }

    /// The same request, which the server checks in full and does not carry out.
    #[must_use]
    pub(in crate::io) fn dry(mut self) -> Self {
        self.uri.push_str(if self.uri.contains('?') { "&dryRun=All" } else { "?dryRun=All" });
        self
    }
}

/// Sends it and reads the answer, within `patience`.
pub(in crate::io) async fn send(client: &Client, call: Call, patience: Duration) -> Result<Bytes, Refusal> {
    let Call { method, uri, content, body } = call;
    let body = serde_json::to_vec(&body).map_err(|error| Refusal::silent(format!("cannot write it: {error}")))?;
    let request = Request::builder()
        .method(method)
        .uri(&uri)
        .header(ACCEPT, JSON)
        .header(ACCEPT_ENCODING, "identity")
        .header(CONTENT_TYPE, content)
        .body(kube::client::Body::from(body))
        .map_err(|error| Refusal::silent(format!("cannot ask for {uri}: {error}")))?;
    let answer = async {
        let response = client.send(request).await.map_err(|error| Refusal::silent(unwrapped(&error)))?;
        let code = response.status();
        let read = to_bytes(Body::new(response.into_body()), ANSWER_BYTES).await;
        if code.is_success() {
            return read.map_err(|error| Refusal::silent(format!("answer broken off: {}", chain(&error))));
        }
        let bytes = read.unwrap_or_default();
        let status = serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|_| Status {
            message: Some(String::from_utf8_lossy(&bytes).into_owned()),
            ..Status::default()
        });
        Err(Refusal::from_status(code, status))
    };
    let late = |_| Err(Refusal::silent(format!("no answer within {} s", patience.as_secs())));
    timeout(patience, answer).await.unwrap_or_else(late)
}

/// The one table of what an answer means for a write with preconditions.
pub(in crate::io) fn outcome(refusal: &Refusal) -> Outcome {
    let Some(code) = refusal.code else { return Outcome::Unreachable };
    match code {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE => Outcome::Lost,
        // 422 is a test of the patch that did not hold, or an object that some rule does not let through.
        StatusCode::UNPROCESSABLE_ENTITY if refusal.words.contains(PATCH_REFUSED) => Outcome::Lost,
        // Asked to come later: it may have been counted and was not carried out, which nobody but the server knows.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Outcome::Unreachable,
        code if code.is_client_error() => Outcome::Denied,
        _ => Outcome::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, reason: &str, message: &str) -> Refusal {
        let status = Status { reason: Some(reason.into()), message: Some(message.into()), ..Status::default() };
        Refusal::from_status(StatusCode::from_u16(code).unwrap(), status)
    }

    #[test]
    fn what_an_answer_means() {
        for (code, reason, message, means) in [
            (404, "NotFound", "not found", Outcome::Lost),
            (409, "Conflict", "the object has been modified", Outcome::Lost),
            (409, "Conflict", "Precondition failed: UID in precondition: a, UID in object meta: b", Outcome::Lost),
            (422, "Invalid", "the server rejected our request due to an error in our request", Outcome::Lost),
            (422, "Invalid", "ValidatingAdmissionPolicy 'x' denied request: no", Outcome::Denied),
            (403, "Forbidden", "cannot patch", Outcome::Denied),
            (401, "Unauthorized", "Unauthorized", Outcome::Denied),
            (400, "BadRequest", "no", Outcome::Denied),
            (415, "UnsupportedMediaType", "no", Outcome::Denied),
            (429, "TooManyRequests", "later", Outcome::Unreachable),
            (500, "InternalError", "etcd", Outcome::Unreachable),
            (503, "ServiceUnavailable", "no", Outcome::Unreachable),
            (504, "Timeout", "no", Outcome::Unreachable),
        ] {
            assert_eq!(outcome(&refused(code, reason, message)), means, "{code} {message}");
        }
        assert_eq!(outcome(&Refusal::silent("connection reset")), Outcome::Unreachable);
    }

    #[test]
    fn a_dry_run_says_so_to_the_server() {
        assert!(Call::create("/apis/x/v1/ys", Value::Null).dry().uri.ends_with("/ys?dryRun=All"));
        assert!(Call::create("/apis/x/v1/ys?a=b", Value::Null).dry().uri.ends_with("?a=b&dryRun=All"));
    }
}
