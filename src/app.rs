//! The composition root: builds the client, the channels and the tasks, and ends them in order.
//!
//! It holds every task in one set. A task that ends while the daemon should run ends the daemon, with an error
//! that names it: a daemon that lost its watches and still answers its health checks is worse than none.

pub mod consent;
pub mod demo;
pub mod plan;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::config::{LogFormat, Settings, Traces as Wanted};
use crate::domain::election::Rules;
use crate::domain::engine::{self, Engine, SourceView};
use crate::domain::fact::{Fact, Now, Source};
use crate::driver::{Clock, Driver, Ends, Handle};
use crate::io::client::{self, Client, ClientError, Target};
use crate::io::lease::{self, Seat};
use crate::io::report::Reporter;
use crate::io::trace::{self, Receiver, Traces};
use crate::io::{act, http, probe, watch as watches};
use crate::telemetry::{self, Exporter, LogStyle, TelemetryError};

/// What a command gets as an answer.
pub use crate::driver::{Progress, State};

/// How long the API server may take to answer a command's first question.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// How often the policies' status is brought up to date.
const STANDINGS: Duration = Duration::from_secs(10);

/// So much of the lease has to be left for that; and so long may each write take.
const LEAST_LEASE: Duration = Duration::from_secs(3);

/// How long giving up the lease may take at shutdown, and beside it the last traces.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// How long open HTTP requests may take to finish at shutdown.
const LAST_REQUESTS: Duration = Duration::from_millis(1500);

/// After this the process ends, whatever still runs: the pod's grace period is not ours to use up.
const SHUTDOWN: Duration = Duration::from_millis(4500);

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
    let judge = engine::Settings { min_floor: settings.min_floor, identity: Arc::clone(&identity), eager: false };
    let (driver, Ends { handle, facts, probes, errands }) = Driver::new(Engine::new(judge), clock.clone());

    let mut crew = Crew::new();
    crew.spawn("the engine's loop", async move { driver.run().await.to_string() });
    let desk = handle.clone();
    let front = Arc::new(Front { handle, exporter: exporter.clone() });
    let mut stopped = stop.clone();
    crew.spawn("the HTTP server", async move {
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
    let (prober_client, prober_facts) = (client.clone(), facts.clone());
    crew.spawn("the prober", async move {
        probe::run(prober_client, probes, prober_facts).await;
        "nobody asks it any more".to_owned()
    });
    let seat = Seat {
        namespace: settings.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned()),
        rules: Rules::new(Arc::clone(&identity)),
    };
    let traces = traces(&settings.traces, &mut crew);
    let reporter = Reporter::new(client.clone(), identity, settings.events, traces.clone());
    let (lease, until) = watch::channel(None);
    crew.spawn("the policies' status", tell_policies(client.clone(), desk, until.clone(), clock.clone()));
    let (hands_client, hands_facts, hands_clock) = (client.clone(), facts.clone(), clock.clone());
    crew.spawn("the hands", async move {
        act::run(hands_client, errands, hands_facts, until, hands_clock, Some(reporter)).await;
        "nobody wants anything written any more".to_owned()
    });
    let (seat_client, seat_facts, seat_stop) = (client.clone(), facts.clone(), stop.clone());
    let seat = tokio::spawn(lease::run(seat_client, seat, clock, seat_facts, lease, seat_stop));
    watches::spawn(client, facts, &mut crew.tasks);

    if let Err(ended) = crew.work(&mut stop).await {
        error!(error = %ended, "shutting down");
        return Err(ended);
    }
    info!("told to stop");
    // The lease first, while the loop still runs: the other replica need not wait it out.
    let last_traces = async {
        if let Some(traces) = &traces {
            traces.flush().await;
        }
    };
    let last_words = tokio::time::timeout(LAST_WORDS, seat);
    let _ = tokio::join!(last_words, tokio::time::timeout(LAST_WORDS, last_traces));
    crew.dismiss().await
}

/// Who takes traces, if anybody is to: one that cannot be used is said, and stops nothing.
fn traces(wanted: &Wanted, crew: &mut Crew) -> Option<Traces> {
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
            Some(traces)
        }
        Err(why) => {
            warn!(%why, "no traces are sent");
            None
        }
    }
}

/// Who leads says in each policy's status how it stands.
async fn tell_policies(
    client: client::Client,
    desk: Handle,
    lease: watch::Receiver<Option<Duration>>,
    clock: Clock,
) -> String {
    loop {
        clock.sleep_until(clock.now().mono + STANDINGS).await;
        let until = *lease.borrow();
        if until.is_none_or(|until| until <= clock.now().mono + LEAST_LEASE) {
            continue;
        }
        let Some(all) = desk.standings().await else { return "the engine's loop has ended".to_owned() };
        for (policy, standing) in all {
            act::tell(&client, &policy, &standing, clock.now().wall, LEAST_LEASE).await;
        }
    }
}

/// Who we are in leases and in the ledger: this pod or machine, and another one at each start.
fn identity(now: jiff::Timestamp) -> Arc<str> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "volwarden" } else { host };
    format!("{host}_{:x}-{:x}", std::process::id(), now.as_nanosecond()).into()
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

/// All tasks of the daemon. Those without a name here are watches, which `io` spawns itself.
struct Crew {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    reasons: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

impl Crew {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), reasons: mpsc::unbounded_channel() }
    }

    /// The future's text is why it ended.
    fn spawn(&mut self, name: &'static str, work: impl Future<Output = String> + Send + 'static) {
        let reasons = self.reasons.0.clone();
        let task = self.tasks.spawn(async move { drop(reasons.send(work.await)) });
        self.names.insert(task.id(), name);
    }

    /// Lets them work until they are told to stop; or says which of them ended without having been told.
    async fn work(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), AppError> {
        let ended = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            ended = self.first_end() => ended,
        };
        // The HTTP server ends at the same word, and the word may reach it first.
        if *stop.borrow() { Ok(()) } else { Err(ended) }
    }

    async fn first_end(&mut self) -> AppError {
        let (id, panicked) = match self.tasks.join_next_with_id().await {
            None => return AppError::Ended { task: "everything", reason: "no task is left".to_owned() },
            Some(Ok((id, ()))) => (id, false),
            Some(Err(error)) => (error.id(), JoinError::is_panic(&error)),
        };
        let reason = if panicked {
            "it panicked; this is a bug of volwarden's".to_owned()
        } else {
            self.reasons.1.try_recv().unwrap_or_else(|_| "it returned".to_owned())
        };
        AppError::Ended { task: self.names.remove(&id).unwrap_or("a watch"), reason }
    }

    /// Lets open requests finish, then drops everything: nothing here has state that must be saved.
    async fn dismiss(mut self) -> Result<(), AppError> {
        let server = self.names.iter().find(|(_, name)| **name == "the HTTP server").map(|(id, _)| *id);
        let last_requests = async {
            // One that has ended already serves nobody.
            while server.is_some()
                && let Some(ended) = self.tasks.join_next_with_id().await
            {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                if Some(id) == server {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(LAST_REQUESTS, last_requests).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.shutdown()).await;
        info!("stopped");
        Ok(())
    }
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

/// Turns true at the first SIGTERM or SIGINT. A second one, or a shutdown that takes too long, ends the
/// process at once. Signals have a thread of their own, so that a stuck engine cannot swallow them.
///
/// # Errors
/// When the operating system refuses the thread or the handlers.
pub fn stop_signal() -> Result<watch::Receiver<bool>, AppError> {
    let (stop, stopped) = watch::channel(false);
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("signals".to_owned()).stack_size(256 * 1024).spawn(move || {
        let watching = Builder::new_current_thread().enable_all().build().map(|runtime| {
            runtime.block_on(async {
                let mut handlers = match handlers() {
                    Ok(handlers) => handlers,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                drop(ready.send(Ok(())));
                handlers.next().await;
                stop.send_replace(true);
                let code = tokio::time::timeout(SHUTDOWN, handlers.next()).await.unwrap_or(1);
                end_process(code);
            });
        });
        // Without a runtime `ready` is dropped, and the starting thread learns it from that.
        drop(watching);
    })?;
    match is_ready.recv() {
        Ok(answer) => answer?,
        Err(_) => return Err(AppError::System(std::io::Error::other("no event queue for signals"))),
    }
    Ok(stopped)
}

struct Handlers {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

fn handlers() -> std::io::Result<Handlers> {
    Ok(Handlers { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
}

impl Handlers {
    /// Waits for the next one and gives the exit code that shells show for it.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => 128 + 15,
            _ = self.interrupt.recv() => 128 + 2,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the second signal aborts, and an orderly end has had its time")]
fn end_process(code: i32) -> ! {
    std::process::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_task_that_ended_is_named_with_its_reason() {
        let mut crew = Crew::new();
        crew.spawn("the prober", async { "nobody asks it any more".to_owned() });
        crew.spawn("the HTTP server", std::future::pending());
        assert_eq!(crew.first_end().await.to_string(), "the prober ended: nobody asks it any more");

        let mut crew = Crew::new();
        crew.tasks.spawn(async {});
        assert_eq!(crew.first_end().await.to_string(), "a watch ended: it returned");

        let mut crew = Crew::new();
        crew.spawn("the engine's loop", async { panic!("on purpose") });
        let said = crew.first_end().await.to_string();
        assert!(said.starts_with("the engine's loop ended: it panicked"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hears_the_word_first_has_not_failed() {
        let mut crew = Crew::new();
        let (word, mut stop) = watch::channel(false);
        crew.spawn("the prober", std::future::pending());
        let said = word.clone();
        crew.spawn("the HTTP server", async move {
            // Said, but nobody has been woken yet: the thread that says it may be held up just there.
            said.send_if_modified(|stop| {
                *stop = true;
                false
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
            "it was told to stop".to_owned()
        });
        crew.work(&mut stop).await.unwrap();
        let began = tokio::time::Instant::now();
        crew.dismiss().await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(100), "it waits for a server that has ended");
        drop(word);
    }

    #[tokio::test(start_paused = true)]
    async fn who_ends_untold_is_named() {
        let mut crew = Crew::new();
        let (_word, mut stop) = watch::channel(false);
        crew.spawn("the HTTP server", async { "no socket".to_owned() });
        assert_eq!(crew.work(&mut stop).await.unwrap_err().to_string(), "the HTTP server ended: no socket");
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_does_not_wait_for_a_request_that_never_ends() {
        let mut crew = Crew::new();
        crew.spawn("the HTTP server", std::future::pending());
        crew.spawn("the prober", std::future::pending());
        let began = tokio::time::Instant::now();
        crew.dismiss().await.unwrap();
        assert!(began.elapsed() < SHUTDOWN);
    }
}
