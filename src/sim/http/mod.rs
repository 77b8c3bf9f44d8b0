//! The API server's face on loopback: what kube's client and kubectl need to work on the store.
//!
//! ```text
//! route ──> faults ──> discovery | read | watch | write | logs ──> Shared (the cluster behind a lock)
//!                               present: whole objects, metadata alone, tables
//! ```
//!
//! The one part of the embedded cluster with real time and a network in it; it decides nothing about objects.

mod discovery;
mod faults;
mod logs;
mod present;
mod read;
mod route;
mod watch;
mod write;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch as signal;

pub use faults::{Fault, Faults, Rule};
pub use route::Verb;

use super::store::{Refusal, Store};
use route::{Call, Target};

/// Most that is read of a request, in bytes: what etcd lets an object have, and some.
const REQUEST_BYTES: usize = 3 * 1024 * 1024;
/// How often a quiet watch hears how far the server is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// One line of a container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its place among all that the container ever wrote: lines rotated away keep theirs.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Without its line feed.
    pub text: String,
}

/// What stands behind the front.
pub trait Host: Send + 'static {
    /// The objects.
    fn store(&mut self) -> &mut Store;
    /// The cluster's wall clock.
    fn now(&self) -> Timestamp;
    /// What a container has written so far, oldest first.
    fn log(&self, namespace: &str, pod: &str, container: &str) -> Vec<LogLine>;
}

/// A host that several share, and a signal for those who wait for something to happen to it.
pub struct Shared<H> {
    host: Arc<Mutex<H>>,
    changed: Arc<signal::Sender<()>>,
}

impl<H> Clone for Shared<H> {
    fn clone(&self) -> Self {
        Self { host: Arc::clone(&self.host), changed: Arc::clone(&self.changed) }
    }
}

impl<H: Host> Shared<H> {
    /// Puts a host behind a lock.
    pub fn new(host: H) -> Self {
        Self { host: Arc::new(Mutex::new(host)), changed: Arc::new(signal::Sender::new(())) }
    }

    /// Works on the host, and lets everybody who waits look again.
    pub fn with<R>(&self, work: impl FnOnce(&mut H) -> R) -> R {
        let result = work(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    /// Looks at the host without changing it.
    fn look<R>(&self, look: impl FnOnce(&mut H) -> R) -> R {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, H> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> signal::Receiver<()> {
        self.changed.subscribe()
    }
}

/// The HTTP front.
pub struct Front<H> {
    shared: Shared<H>,
    faults: Faults,
    bookmark_every: Duration,
    /// Turns true when the server is to end: what would go on for ever looks at it.
    closing: signal::Sender<bool>,
}

impl<H: Host> Front<H> {
    /// A front of this host.
    #[must_use]
    pub fn new(shared: Shared<H>) -> Self {
        Self { shared, faults: Faults::default(), bookmark_every: BOOKMARK_EVERY, closing: signal::Sender::new(false) }
    }

    /// The host's time runs so many times faster than ours, and bookmarks with it.
    #[must_use]
    pub fn sped_up(self, speed: u32) -> Self {
        Self { bookmark_every: BOOKMARK_EVERY / speed.max(1), ..self }
    }

    /// What goes wrong on demand.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Serves until `stop` resolves; streams end then.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        // Small answers must not wait for the acknowledgement of the one before.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let front = Arc::new(self);
        let router = Router::new().fallback(handle::<H>).with_state(Arc::clone(&front));
        let end = async move {
            stop.await;
            front.closing.send_replace(true);
        };
        axum::serve(listener, router).with_graceful_shutdown(end).await
    }
}

/// A kubeconfig for a front at this address.
#[must_use]
pub fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: embedded\n\
         clusters:\n- name: embedded\n  cluster:\n    server: http://{address}\n\
         users:\n- name: admin\n  user: {{}}\n\
         contexts:\n- name: embedded\n  context:\n    cluster: embedded\n    user: admin\n    namespace: default\n"
    )
}

async fn handle<H: Host>(State(front): State<Arc<Front<H>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, REQUEST_BYTES).await else {
        return refused(&Refusal::new(413, "RequestEntityTooLarge", "the request is larger than 3 MiB"));
    };
    let call = match front.shared.look(|host| Call::read(&head, body, host.store())) {
        Ok(call) => call,
        Err(refusal) => return refused(&refusal),
    };
    match front.faults.take(&call) {
        None => front.answer(&call),
        Some(fault) => front.answer_badly(&call, fault).await,
    }
}

impl<H: Host> Front<H> {
    fn answer(&self, call: &Call) -> Response {
        let answer = match &call.target {
            Target::Text(text) => Ok((StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], *text).into_response()),
            Target::Discovery(document) => {
                Ok(self.shared.look(|host| discovery::answer(*document, call, host.store())))
            }
            Target::Collection { .. } if call.verb == Verb::Watch => watch::answer(self, call, None),
            Target::Collection { .. } if call.verb == Verb::List => read::list(&self.shared, call),
            Target::Object { .. } if call.verb == Verb::Get => read::get(&self.shared, call),
            Target::Log { .. } => logs::answer(self, call),
            Target::Collection { .. } | Target::Object { .. } => write::answer(&self.shared, call),
        };
        answer.unwrap_or_else(|refusal| refused(&refusal))
    }

    async fn answer_badly(&self, call: &Call, fault: Fault) -> Response {
        match fault {
            Fault::Refuse(refusal) => refused(&refusal),
            Fault::Slow(time) => {
                tokio::time::sleep(time).await;
                self.answer(call)
            }
            Fault::Hang => {
                // An answer nobody will wait for: it only frees the connection.
                let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            Fault::CutWatch(lines) if call.verb == Verb::Watch => {
                watch::answer(self, call, Some(lines)).unwrap_or_else(|refusal| refused(&refusal))
            }
            Fault::CutWatch(_) => self.answer(call),
            Fault::Truncate(bytes) => faults::truncated(self.answer(call), bytes),
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    let code = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if refusal.reason.is_empty() && code == StatusCode::NOT_FOUND {
        return (code, [(header::CONTENT_TYPE, TEXT)], format!("{}\n", refusal.message)).into_response();
    }
    let mut response = json(code, JSON, &refusal.status());
    if let Some(details) = refusal.details.as_ref().filter(|details| details.retry_after > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, details.retry_after.into());
    }
    response
}

fn json(code: StatusCode, kind: &'static str, value: &Value) -> Response {
    let mut response = Response::new(Body::from(format!("{value}\n")));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
