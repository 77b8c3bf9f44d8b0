//! Tells each episode that is over as one OpenTelemetry trace, over OTLP (HTTP, protobuf).
//!
//! Nothing waits for it: what is told goes into a bounded queue, and a task of its own sends it. A receiver that hangs
//! or refuses costs traces and never a repair; it is said once, and once more when it answers again. Spans are made
//! from the record, with ids of its own, so the tracer that would draw ids at random is not used.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes, to_bytes};
use futures::future::BoxFuture;
use http::uri::{InvalidUriParts, PathAndQuery};
use http::{Request, Response, Uri};
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{
    EnvResourceDetector, ResourceDetector as _, SdkProvidedResourceDetector, TelemetryResourceDetector,
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use tracing::{debug, info, warn};

use crate::domain::ledger::Record;
use crate::domain::trace::{self, Attribute, Span, Trace, Value};

use super::client::{self, Client};

/// Episodes that wait to be sent.
const WAITING: usize = 256;
/// Episodes sent in one request.
const AT_ONCE: usize = 64;
/// Pauses before a request is made again: a receiver that restarts is back by then.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// Most that is read of an answer, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;
/// What a service is called that was not given a name.
const NAMELESS: &str = "unknown_service";

/// Where traces are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The whole address, path included.
    pub endpoint: String,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Why traces cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The address is none.
    #[error("the OTLP endpoint is no address: {0}; write http://HOST:4318 or https://HOST:4318")]
    Address(#[from] http::uri::InvalidUri),
    /// It is one, and lacks its scheme or host.
    #[error("the OTLP endpoint is no whole address: {0}; write http://HOST:4318 or https://HOST:4318")]
    Part(#[from] InvalidUriParts),
    /// No client can be made for it.
    #[error("no connection to the OTLP receiver can be set up: {0}; set SSL_CERT_FILE, or use http")]
    Client(Box<kube::Error>),
    /// The variables do not make an exporter.
    #[error("{0}")]
    Build(#[from] opentelemetry_otlp::ExporterBuildError),
}

enum Told {
    Episode(Box<Trace>),
    Flush(oneshot::Sender<()>),
}

/// Takes episodes, and never waits.
#[derive(Clone)]
pub struct Traces {
    queue: mpsc::Sender<Told>,
    lost: Arc<AtomicU64>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Traces {
    /// Has an episode sent, if it is over and there is room.
    pub fn tell(&self, record: &Record) {
        let Some(trace) = trace::of(record) else { return };
        if self.queue.try_send(Told::Episode(Box::new(trace))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was told before has been sent, or has failed; the caller says how long.
    pub async fn flush(&self) {
        let (done, said) = oneshot::channel();
        if self.queue.send(Told::Flush(done)).await.is_ok() {
            // Without an answer the exporter is gone, and there is nothing to wait for.
            let _ = said.await;
        }
    }
}

/// Sends what is told.
pub struct Exporter {
    spans: SpanExporter,
    host: String,
    queue: mpsc::Receiver<Told>,
    lost: Arc<AtomicU64>,
    failing: bool,
}

/// Makes both ends. Nothing is opened before the first episode is over.
///
/// # Errors
/// When the receiver cannot be used at all.
pub fn open(receiver: &Receiver) -> Result<(Traces, Exporter), TraceError> {
    let uri: Uri = receiver.endpoint.parse()?;
    let client = client::plain(root(&uri)?).map_err(|error| TraceError::Client(Box::new(error)))?;
    let client = Post { client, patience: receiver.timeout };
    // Headers are the exporter's own to read: OTEL_EXPORTER_OTLP_HEADERS may hold a secret.
    let mut spans = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(receiver.endpoint.clone())
        .with_timeout(receiver.timeout)
        // Its own would put the whole thread to sleep in between.
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    spans.set_resource(&resource());
    let (queue, told) = mpsc::channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let host = uri.host().unwrap_or_default().to_owned();
    Ok((Traces { queue, lost: Arc::clone(&lost) }, Exporter { spans, host, queue: told, lost, failing: false }))
}

/// The address without its path, which each request brings along.
fn root(uri: &Uri) -> Result<Uri, InvalidUriParts> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts)
}

/// kube's HTTP client as the exporter wants one.
struct Post {
    client: Client,
    patience: Duration,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

impl HttpClient for Post {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let answer = async {
            let request = request.map(kube::client::Body::from);
            let (head, body) = self.client.send(request).await?.into_parts();
            Ok::<_, HttpError>(Response::from_parts(head, to_bytes(Body::new(body), ANSWER_BYTES).await?))
        };
        Box::pin(async move {
            // kube would log each failure as an error, and the exporter keeps to itself what went wrong on the way.
            let answer = answer.with_subscriber(NoSubscriber::default());
            let answered = timeout(self.patience, answer).await.map_err(HttpError::from).and_then(|answered| answered);
            answered.inspect_err(|error| debug!(%error, "a trace did not get through"))
        })
    }
}

/// Who sends: our own words, over which `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` win.
fn resource() -> Resource {
    let name = Key::from_static_str("service.name");
    let named = SdkProvidedResourceDetector.detect().get(&name);
    let named = named.filter(|found| !found.as_str().starts_with(NAMELESS));
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", "volwarden"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(named.map(|value| KeyValue::new(name, value)))
        .build()
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Sends until nobody tells anything any more.
    pub async fn run(mut self) {
        let mut told = Vec::with_capacity(AT_ONCE);
        while self.queue.recv_many(&mut told, AT_ONCE).await > 0 {
            let (mut traces, mut waiting) = (Vec::new(), Vec::new());
            for one in told.drain(..) {
                match one {
                    Told::Episode(trace) => traces.push(trace),
                    Told::Flush(done) => waiting.push(done),
                }
            }
            self.send(&traces).await;
            for done in waiting {
                // Who asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    async fn send(&mut self, traces: &[Box<Trace>]) {
        if traces.is_empty() {
            return;
        }
        let batch: Vec<SpanData> = traces.iter().flat_map(|trace| spans(trace)).collect();
        let mut answered = self.spans.export(batch.clone()).await;
        for pause in PAUSES {
            // One that is known to be away is asked once.
            if answered.is_ok() || self.failing {
                break;
            }
            sleep(pause).await;
            answered = self.spans.export(batch.clone()).await;
        }
        match answered {
            Ok(()) if self.failing => {
                self.failing = false;
                let lost = self.lost.swap(0, Ordering::Relaxed);
                info!(receiver = self.host, lost, "traces are taken again");
            }
            Ok(()) => {}
            Err(error) => {
                let count = u64::try_from(traces.len()).unwrap_or(u64::MAX);
                self.lost.fetch_add(count, Ordering::Relaxed);
                if !self.failing {
                    self.failing = true;
                    warn!(
                        receiver = self.host,
                        %error,
                        "a trace could not be sent; those of now are lost until the receiver takes them again, and \
                         nothing else waits for it"
                    );
                }
            }
        }
    }
}

fn spans(trace: &Trace) -> impl Iterator<Item = SpanData> + '_ {
    let scope = InstrumentationScope::builder("volwarden").with_version(env!("CARGO_PKG_VERSION")).build();
    let id = TraceId::from_hex(&trace.id).unwrap_or(TraceId::INVALID);
    trace.spans.iter().map(move |span| span_data(id, span, scope.clone()))
}

fn span_data(trace: TraceId, span: &Span, scope: InstrumentationScope) -> SpanData {
    let id = |text: &str| SpanId::from_hex(text).unwrap_or(SpanId::INVALID);
    let mut events = SpanEvents::default();
    let happened = span.moments.iter();
    events.events = happened
        .map(|moment| Event::new(moment.name, SystemTime::from(moment.at), attributes(&moment.attributes), 0))
        .collect();
    SpanData {
        span_context: SpanContext::new(trace, id(&span.id), TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: span.parent.as_deref().map_or(SpanId::INVALID, id),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.clone().into(),
        start_time: span.start.into(),
        end_time: span.end.into(),
        attributes: attributes(&span.attributes),
        dropped_attributes_count: 0,
        events,
        links: SpanLinks::default(),
        status: span.failed.as_ref().map_or(Status::Ok, |why| Status::error(why.clone())),
        instrumentation_scope: scope,
    }
}

fn attributes(of: &[Attribute]) -> Vec<KeyValue> {
    let value = |(name, value): &Attribute| match value {
        Value::Text(text) => KeyValue::new(*name, text.clone()),
        Value::Flag(flag) => KeyValue::new(*name, *flag),
        Value::Count(count) => KeyValue::new(*name, *count),
    };
    of.iter().map(value).collect()
}
