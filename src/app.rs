//! The composition root: builds the client, the channels and the tasks, and ends them in order.
//!
//! It holds every task in one set. A task that ends while the daemon should run ends the daemon, with an error
//! that names it: a daemon that lost its watches and still answers its health checks is worse than none.

pub mod consent;
mod crew;
pub mod custody;
pub mod demo;
mod fence;
mod gauges;
pub mod kopia;
pub mod plan;
pub mod prune;
mod repository;
mod signals;
mod staff;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::config::{LogFormat, Settings, Traces as Wanted};
use crate::domain::election::Rules;
use crate::domain::engine::{self, Engine, SourceView};
use crate::domain::fact::{Fact, Now, Source};
use crate::driver::{Clock, Driver, Handle};
use crate::io::client::{self, Client, ClientError, Target};
use crate::io::lease::Seat;
use crate::io::trace::{self, Receiver, Traces};
use crate::io::{http, probe, watch as watches};
use crate::telemetry::{self, Exporter, LogStyle, TelemetryError};

use crew::Crew;
use repository::Home;
use staff::Staff;

/// What a command gets as an answer.
pub use crate::driver::{Progress, State};
pub use signals::stop_signal;

/// How long the API server may take to answer a command's first question.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// Why the program could not do its work. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No client, or the API server refused or did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API server took the connection and said nothing.
    #[error("the API server has not answered for {} s; is it the right address, and is it up?", FIRST_ANSWER.as_secs())]
    Silent,
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another with --listen or VOLWARDEN_LISTEN")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Metrics or logs.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The operating system refused a thread, a signal handler or an event queue.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// A task ended that should have run for ever.
    #[error("{task} ended: {reason}")]
    Ended {
        /// Which.
        task: &'static str,
        /// Why.
        reason: String,
    },
    /// The embedded cluster could not be built.
    #[error("the embedded cluster refuses an object of its own: {0}; this is a bug of volwarden's")]
    Embedded(String),
    /// The engine's loop is gone, so nothing can be answered.
    #[error("the engine ended before it could answer; this is a bug of volwarden's")]
    EngineGone,
}

/// Sends logs to stderr as the settings say; `default` is the level of a command that was told none.
///
/// # Errors
/// When logs go somewhere already.
pub fn install_logs(settings: &Settings, default: LevelFilter) -> Result<(), AppError> {
    let filter = settings.log_level.clone().unwrap_or_else(|| Targets::new().with_default(default));
    let style = match settings.log_format {
        LogFormat::Auto => LogStyle::Auto,
        LogFormat::Json => LogStyle::Json,
        LogFormat::Pretty => LogStyle::Pretty,
    };
    Ok(telemetry::install_logs(style, filter)?)
}

/// One thread does all the work: there is one writer, and the rest waits for the network. A second worker
/// would only buy a second allocator arena, which the memory budget does not have.
///
/// # Errors
/// When the operating system refuses an event queue.
pub fn runtime() -> Result<Runtime, AppError> {
    Ok(Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?)
}

/// A cluster being looked at by a one-shot command. Everything stops when it is dropped.
#[derive(Debug)]
pub struct Look {
    /// Answers questions.
    pub desk: Handle,
    /// The namespace that the kubeconfig's context names, or `default`.
    pub namespace: String,
    tasks: JoinSet<()>,
}

/// Connects, makes sure that an API server answers, and begins to watch.
///
/// # Errors
/// When there is no usable kubeconfig or no API server behind it.
pub async fn look(settings: &Settings, judge: engine::Settings) -> Result<Look, AppError> {
    let client = connect(settings).await?;
    Ok(looking(client, judge, &[]).0)
}

/// A client behind which an API server answers.
async fn connect(settings: &Settings) -> Result<Client, AppError> {
    let client = client::connect(&target(settings)).await?;
    tokio::time::timeout(FIRST_ANSWER, client::check(&client)).await.map_err(|_| AppError::Silent)??;
    Ok(client)
}

/// Watches every source but these, and where to tell of those.
fn looking(client: Client, judge: engine::Settings, but: &[Source]) -> (Look, mpsc::Sender<Fact>) {
    let namespace = client.default_namespace().to_owned();
    let (driver, ends) = Driver::new(Engine::new(judge), Clock::start());
    // A look has no lease: its engine asks for no write.
    drop(ends.errands);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _ = driver.run().await;
    });
    tasks.spawn(probe::run(client.clone(), ends.probes, ends.facts.clone()));
    let gates = staff::ask_gates(ends.handle.clone(), ends.facts.clone());
    tasks.spawn(async { drop(gates.await) });
    watches::spawn_but(client, ends.facts.clone(), &mut tasks, but);
    (Look { desk: ends.handle, namespace, tasks }, ends.facts)
}

fn target(settings: &Settings) -> Target {
    Target { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() }
}

/// The daemon: listens first, so that probes are answered from the first moment, then connects and watches
/// until `stop` turns true.
///
/// # Errors
/// When it cannot start, or a task ends that should not.
pub async fn serve(settings: &Settings, mut stop: watch::Receiver<bool>) -> Result<(), AppError> {
    let exporter = Exporter::install()?;
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| AppError::Bind { address, source })?;
    info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "listening");

    let clock = Clock::start();
    telemetry::set_started(seconds(clock.now().wall));
    let identity = identity(clock.now().wall);
    let (min_floor, require_fence) = (settings.min_floor, settings.require_fence);
    let judge = engine::Settings { min_floor, identity: Arc::clone(&identity), require_fence, eager: false };
    let (driver, ends) = Driver::new(Engine::new(judge), clock.clone());

    let mut crew = Crew::new();
    crew.spawn("the engine's loop", async move { driver.run().await.to_string() });
    let front = Arc::new(Front { handle: ends.handle.clone(), exporter: exporter.clone() });
    let mut stopped = stop.clone();
    crew.spawn_finishing("the HTTP server", async move {
        let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
        match http::serve(listener, front, stop).await {
            Ok(()) => "it was told to stop".to_owned(),
            Err(error) => error.to_string(),
        }
    });
    crew.spawn("metrics upkeep", async move {
        exporter.upkeep().await;
        String::new()
    });

    let target = target(settings);
    let client = tokio::select! {
        client = client::connect(&target) => client?,
        _ = stop.wait_for(|stop| *stop) => return crew.dismiss().await,
    };
    let namespace = settings.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let home = Home { namespace: namespace.clone(), pod: hostname(), image: settings.job_image.clone() };
    let seat = Seat { namespace, rules: Rules::new(identity) };
    let traces = traces(&settings.traces, &mut crew, &stop);
    Staff { client, clock, ends, seat, events: settings.events, traces, home: Some(home) }
        .begin(&mut crew, stop.clone());

    if let Err(ended) = crew.work(&mut stop).await {
        error!(error = %ended, "shutting down");
        return Err(ended);
    }
    info!("told to stop");
    crew.dismiss().await
}

/// Who takes traces, if anybody is to: one that cannot be used is said, and stops nothing.
fn traces(wanted: &Wanted, crew: &mut Crew, stop: &watch::Receiver<bool>) -> Option<Traces> {
    let opened = match wanted {
        Wanted::Off => return None,
        Wanted::Refused(why) => Err(why.clone()),
        Wanted::To { endpoint, timeout } => {
            let receiver = Receiver { endpoint: endpoint.clone(), timeout: *timeout };
            trace::open(&receiver).map_err(|error| error.to_string())
        }
    };
    match opened {
        Ok((traces, exporter)) => {
            crew.spawn("the trace exporter", async move {
                exporter.run().await;
                "nobody tells it anything any more".to_owned()
            });
            let (last, mut stop) = (traces.clone(), stop.clone());
            crew.spawn_finishing("the last traces", async move {
                // Without a sender nobody will ever say so: the end of the others counts then.
                let _ = stop.wait_for(|stop| *stop).await;
                last.flush().await;
                "they are sent".to_owned()
            });
            Some(traces)
        }
        Err(why) => {
            warn!(%why, "no traces are sent");
            None
        }
    }
}

/// Who we are in leases and in the ledger: this pod or machine, and another one at each start.
fn identity(now: jiff::Timestamp) -> Arc<str> {
    let host = hostname();
    format!("{host}_{:x}-{:x}", std::process::id(), now.as_nanosecond()).into()
}

fn hostname() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "volwarden".to_owned() } else { host.to_owned() }
}

impl crate::io::clock::Clock for Clock {
    fn now(&self) -> Now {
        Self::now(self)
    }

    async fn sleep_until(&self, mono: Duration) {
        Self::sleep_until(self, mono).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a float until the year 287396")]
fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

/// The HTTP server's view of engine and metrics.
struct Front {
    handle: Handle,
    exporter: Exporter,
}

impl http::Desk for Front {
    fn state_json(&self) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(self.handle.state_json())
    }

    fn readiness(&self) -> BoxFuture<'_, Option<(bool, Vec<SourceView>)>> {
        Box::pin(async { self.handle.progress().await.map(|progress| (progress.ready, progress.sources)) })
    }

    fn refresh(&self) -> BoxFuture<'_, Option<()>> {
        Box::pin(self.handle.record_gauges())
    }

    fn metrics(&self) -> String {
        self.exporter.render()
    }
}
