//! Traces over OTLP: what a receiver really gets, and that one which does not take them costs nothing but traces.
//!
//! The receiver is an HTTP server of its own that decodes the protobuf as any collector does. The episode is ended by
//! the real binary on the embedded API server, so that the way from a stored entry to the receiver is the daemon's.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test"
)]

#[path = "sim/mod.rs"]
mod sim;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use sim::Embedded;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use volwarden::domain::engine::Effect;
use volwarden::domain::fact::Fact;
use volwarden::domain::finding::{Class, Subject};
use volwarden::domain::ledger::{Attempt, Outcome, Phase, Record};
use volwarden::domain::name::{Key, Uid};
use volwarden::domain::record::Kind;
use volwarden::domain::remedy::Step;
use volwarden::domain::remedy::action::{Target, TargetKind};
use volwarden::driver::Clock;
use volwarden::io::report::Reporter;
use volwarden::io::trace::{self, Exporter, Receiver, Traces};
use volwarden::io::{act, ledger};
use volwarden::sim::store::{Part, Patch, Writer, table};

const UID: &str = "5e1c8fbe-6af3-4e03-a08e-8633a9294d26";
const LONG: Duration = Duration::from_secs(60);

// === the receiver ===

/// What it does with a request.
const TAKES: usize = 200;
const REFUSES: usize = 503;
const HANGS: usize = 0;

#[derive(Default)]
struct Inbox {
    conduct: AtomicUsize,
    connections: AtomicUsize,
    requests: Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>,
}

impl Inbox {
    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let resources = requests.iter().flat_map(|(_, request)| &request.resource_spans);
        resources.flat_map(|one| &one.scope_spans).flat_map(|one| one.spans.clone()).collect()
    }
}

async fn take(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    inbox.connections.fetch_add(1, Ordering::SeqCst);
    match inbox.conduct.load(Ordering::SeqCst) {
        HANGS => std::future::pending().await,
        TAKES => {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            inbox.requests.lock().unwrap().push((headers, request));
            StatusCode::OK
        }
        code => StatusCode::from_u16(u16::try_from(code).unwrap()).unwrap(),
    }
}

async fn receiver(conduct: usize) -> (Arc<Inbox>, SocketAddr) {
    let inbox = Arc::new(Inbox { conduct: conduct.into(), ..Inbox::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&inbox));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (inbox, address)
}

fn attribute(of: &[KeyValue], name: &str) -> Option<Value> {
    of.iter().find(|one| one.key == name)?.value.clone()?.value
}

fn words(of: &[KeyValue], name: &str) -> String {
    match attribute(of, name) {
        Some(Value::StringValue(words)) => words,
        other => panic!("{name} is {other:?}"),
    }
}

// === an episode ===

/// One step was taken a minute ago; whether it helped is still to be seen.
fn episode(name: &str, now: Timestamp) -> Record {
    let ago = |seconds| now - jiff::SignedDuration::from_secs(seconds);
    let target = Target {
        kind: TargetKind::Content,
        key: Key::cluster("snapcontent-1"),
        uid: Uid::parse(UID),
        version: "7".into(),
    };
    Record {
        name: name.into(),
        version: "".into(),
        subject: Subject::new(Kind::VolumeSnapshotContent, Key::cluster("snapcontent-1")),
        uid: Some(Uid::parse(UID)),
        class: Class::MissedEvent,
        driver: "csi.example.com".into(),
        since: ago(3000),
        evidence: vec!["marked, and no try".to_owned()],
        opened: ago(90),
        phase: Phase::Verifying,
        message: "the API server took it".to_owned(),
        plan: None,
        verdicts: Vec::new(),
        approved: None,
        approval: None,
        intent: None,
        attempts: vec![Attempt {
            number: 1,
            step: Step::Nudge,
            target,
            at: ago(60),
            outcome: Outcome::Applied,
            helped: None,
            message: "the API server took it".to_owned(),
            ended: None,
        }],
        orphan: None,
        finished: None,
    }
}

fn ended(name: &str, now: Timestamp) -> Record {
    let mut record = episode(name, now);
    record.verified(true, "it is gone", now);
    record.finish(Phase::Done, "it is gone", now);
    record
}

// === the daemon ===

fn daemon(embedded: &Embedded, variables: &[(&str, String)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    command.args(["run", "--listen", "127.0.0.1:0", "--log-format", "json", "--kubeconfig"]).arg(embedded.kubeconfig());
    command.env_clear().envs(variables.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// SIGTERM, and what it said until its end.
async fn ended_by_signal(child: Child) -> (Output, Duration) {
    let began = Instant::now();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    (output, began.elapsed())
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "not within {LONG:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A cluster whose ledger has an episode that ends as soon as somebody leads: its content is gone.
async fn cluster() -> Embedded {
    let embedded = Embedded::start().await;
    let now = Timestamp::now();
    let record = episode("missed-event-1", now);
    embedded.shared.with(|host| {
        host.now = now;
        let writer = Writer { name: "volwarden", at: now };
        host.store.create(writer, table::REMEDIATIONS, "", ledger::created(&record)).unwrap();
        let status = Patch::Merge(ledger::status(&record, ledger::GENERATION));
        host.store.patch(writer, table::REMEDIATIONS, "", "missed-event-1", Part::Status, &status).unwrap();
    });
    embedded
}

fn phase(embedded: &Embedded) -> String {
    embedded.shared.with(|host| {
        let entry = host.store.get(table::REMEDIATIONS, "", "missed-event-1").unwrap();
        entry.pointer("/status/phase").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    })
}

#[tokio::test]
async fn an_episode_that_ends_arrives_as_one_trace_with_its_steps() {
    let (inbox, address) = receiver(TAKES).await;
    let embedded = cluster().await;
    let child = daemon(
        &embedded,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-scope-orgid=home".to_owned()),
            ("OTEL_SERVICE_NAME", "night-watch".to_owned()),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=home".to_owned()),
        ],
    );
    until("a trace", || !inbox.spans().is_empty()).await;
    let (output, _) = ended_by_signal(child).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(phase(&embedded), "Done");

    let spans = inbox.spans();
    let [root, step] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!((root.name.as_str(), step.name.as_str()), ("episode MissedEvent", "Nudge"));
    assert_eq!((root.parent_span_id.len(), &step.parent_span_id, &step.trace_id), (0, &root.span_id, &root.trace_id));
    assert!(
        root.start_time_unix_nano < step.start_time_unix_nano && step.end_time_unix_nano <= root.end_time_unix_nano
    );
    for (name, due) in [
        ("volwarden.class", "MissedEvent"),
        ("volwarden.subject.kind", "VolumeSnapshotContent"),
        ("volwarden.driver", "csi.example.com"),
        ("volwarden.outcome", "Done"),
        ("volwarden.remediation", "missed-event-1"),
    ] {
        assert_eq!(words(&root.attributes, name), due, "{name}");
    }
    assert_eq!(words(&step.attributes, "volwarden.rung"), "Nudge");
    assert_eq!(words(&step.attributes, "volwarden.outcome"), "Applied");
    assert_eq!(attribute(&step.attributes, "volwarden.helped"), Some(Value::BoolValue(true)));

    let requests = inbox.requests.lock().unwrap();
    let (headers, request) = &requests[0];
    assert_eq!(headers["x-scope-orgid"], "home");
    let resource = &request.resource_spans[0].resource.as_ref().unwrap().attributes;
    assert_eq!(words(resource, "service.name"), "night-watch");
    assert_eq!(words(resource, "service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(words(resource, "k8s.cluster.name"), "home");

    // Another replica that tells it again adds nothing: the trace is the record's, not the teller's.
    let mut again = ended("missed-event-1", Timestamp::now());
    again.uid = Some(Uid::parse(UID));
    let again = volwarden::domain::trace::of(&again).unwrap();
    let hex = |bytes: &[u8]| format!("{:032x}", bytes.iter().fold(0_u128, |all, byte| all << 8 | u128::from(*byte)));
    let span = |bytes: &[u8]| hex(bytes)[16..].to_owned();
    assert_eq!((again.id, again.spans[0].id.clone()), (hex(&root.trace_id), span(&root.span_id)));
    assert_eq!(again.spans[1].id, span(&step.span_id));
}

#[tokio::test]
async fn a_daemon_whose_receiver_hangs_repairs_and_ends_in_time() {
    let (inbox, address) = receiver(HANGS).await;
    let embedded = cluster().await;
    let child = daemon(&embedded, &[("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))]);
    until("the end of the episode", || phase(&embedded) == "Done").await;
    until("a request", || inbox.connections.load(Ordering::SeqCst) > 0).await;
    let (output, took) = ended_by_signal(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[tokio::test]
async fn what_cannot_be_used_is_said_in_one_line_and_stops_nothing() {
    let (inbox, address) = receiver(TAKES).await;
    let embedded = cluster().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
    ];
    let child = daemon(&embedded, &variables);
    until("the end of the episode", || phase(&embedded) == "Done").await;
    let (output, _) = ended_by_signal(child).await;
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("OTEL_")).collect();
    assert!(lines.len() == 1 && lines[0].contains("only http/protobuf is spoken"), "{said}");
    assert_eq!((output.status.code(), inbox.connections.load(Ordering::SeqCst)), (Some(0), 0), "{said}");
}

// === its parts ===

fn open(address: SocketAddr, timeout: Duration) -> (Traces, Exporter) {
    trace::open(&Receiver { endpoint: format!("http://{address}/v1/traces"), timeout }).unwrap()
}

#[tokio::test]
async fn nothing_is_sent_before_an_episode_is_over() {
    let (inbox, address) = receiver(TAKES).await;
    let (traces, exporter) = open(address, LONG);
    tokio::spawn(exporter.run());
    let now = Timestamp::now();
    traces.tell(&episode("one", now));
    traces.flush().await;
    assert_eq!(inbox.connections.load(Ordering::SeqCst), 0);
    traces.tell(&ended("one", now));
    traces.tell(&ended("two", now));
    traces.flush().await;
    let spans = inbox.spans();
    let ids: std::collections::BTreeSet<&[u8]> = spans.iter().map(|span| &*span.trace_id).collect();
    assert_eq!((spans.len(), ids.len()), (4, 2));
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_no_stored_entry_waiting() {
    let (inbox, address) = receiver(HANGS).await;
    let embedded = Embedded::start().await;
    let (traces, exporter) = open(address, LONG);
    tokio::spawn(exporter.run());
    let client = embedded.client().await;
    let reporter = Reporter::new(client.clone(), "test".into(), false, Some(traces.clone()));
    let ((errands, asked), (told, mut facts)) = (mpsc::channel(8), mpsc::channel(8));
    let (_lease, until_then) = watch::channel(Some(Duration::MAX));
    tokio::spawn(act::run(client, asked, told, until_then, Clock::start(), reporter));

    let began = Instant::now();
    for at in 0..300 {
        let record = ended(&format!("missed-event-{at}"), Timestamp::now());
        errands.send(Effect::Record(Box::new(record))).await.unwrap();
        let fact = timeout(LONG, facts.recv()).await.unwrap().unwrap();
        assert!(matches!(fact, Fact::Recorded(_, Ok(_))), "{fact:?}");
    }
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    until("a request", || inbox.connections.load(Ordering::SeqCst) > 0).await;
    assert!(timeout(Duration::from_millis(200), traces.flush()).await.is_err(), "it hangs");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map(|mut log| log.extend_from_slice(bytes)).map_err(|_| std::io::ErrorKind::Other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn said(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Takes what this thread logs from now on, as `run` logs unless told otherwise.
fn logged() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn nobody_who_listens_is_said_once_too() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (log, _logged) = logged();
    let (traces, exporter) = open(address, Duration::from_secs(5));
    tokio::spawn(exporter.run());
    for name in ["one", "two", "three"] {
        traces.tell(&ended(name, Timestamp::now()));
        traces.flush().await;
    }
    let said = log.said();
    assert!(said.lines().count() == 1 && said.contains("WARN") && said.contains("127.0.0.1"), "{said}");
}

#[tokio::test]
async fn a_refusal_is_said_once_and_its_end_once() {
    let (log, _logged) = logged();
    let (inbox, address) = receiver(REFUSES).await;
    let (traces, exporter) = open(address, Duration::from_secs(5));
    tokio::spawn(exporter.run());
    let tell = async |name: &str| {
        traces.tell(&ended(name, Timestamp::now()));
        traces.flush().await;
    };
    for name in ["one", "two", "three"] {
        tell(name).await;
    }
    // Twice more for the first, and only once for those after it; the exporter's own tries would stop the whole thread.
    assert_eq!(inbox.connections.load(Ordering::SeqCst), 5);
    inbox.conduct.store(TAKES, Ordering::SeqCst);
    tell("four").await;
    tell("five").await;

    let said = log.said();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("WARN") && lines[0].contains("could not be sent") && lines[0].contains("503"), "{said}");
    assert!(lines[1].contains("INFO") && lines[1].contains("taken again") && lines[1].contains("lost=3"), "{said}");
    assert_eq!(inbox.spans().len(), 4);
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    let receiver = Receiver { endpoint: "http://[collector".to_owned(), timeout: LONG };
    assert!(trace::open(&receiver).unwrap_err().to_string().contains("write http://HOST:4318"));
}
