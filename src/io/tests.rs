//! What the tests of several edges share: an API server whose answers are a function of the request, and a clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::Clock;
use crate::domain::fact::Now;

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) body: Value,
}

/// What is answered, and how long that takes.
pub(crate) struct Told {
    pub(crate) after: Duration,
    pub(crate) code: u16,
    pub(crate) body: Value,
}

/// An object.
pub(crate) fn ok(body: Value) -> Told {
    Told { after: Duration::ZERO, code: 200, body }
}

/// A Status.
pub(crate) fn refused(code: u16, reason: &str) -> Told {
    let body = json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code});
    Told { after: Duration::ZERO, code, body }
}

impl Told {
    /// The same, so long after the request has come in.
    pub(crate) fn after(self, seconds: u64) -> Self {
        Self { after: Duration::from_secs(seconds), ..self }
    }
}

/// What has been asked so far.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Vec<Asked>>>);

impl Book {
    pub(crate) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    /// Everything but reads.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        self.all().into_iter().filter(|asked| asked.method != Method::GET).collect()
    }
}

/// A client of such a server, and its book.
pub(crate) fn server(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> (Client, Book) {
    let (book, answer) = (Book::default(), Arc::new(answer));
    let kept = book.clone();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (kept, answer) = (kept.clone(), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let body = to_bytes(Body::new(body), usize::MAX).await?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let asked = Asked { method: head.method, uri: head.uri.to_string(), body };
            kept.0.lock().unwrap().push(asked.clone());
            let told = answer(&asked);
            sleep(told.after).await;
            let code = StatusCode::from_u16(told.code).unwrap();
            let answer = Response::builder().status(code).body(Body::from(told.body.to_string())).unwrap();
            Ok::<_, axum::Error>(answer)
        }
    });
    (Client::new(service, "default"), book)
}

/// The runtime's own time, which a test may pause; it stands at 1000 s when it is made.
#[derive(Clone)]
pub(crate) struct Watch(Instant);

/// Where its monotonic clock begins.
pub(crate) const BEGAN: Duration = Duration::from_secs(1000);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Watch {
    fn now(&self) -> Now {
        let passed = self.0.elapsed();
        let began: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        Now { wall: began + passed, mono: BEGAN + passed }
    }

    async fn sleep_until(&self, mono: Duration) {
        sleep_until(self.0 + mono.saturating_sub(BEGAN)).await;
    }
}
