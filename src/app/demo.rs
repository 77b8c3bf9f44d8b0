//! The demo: the embedded cluster behind its HTTP front on loopback, and the daemon's parts watching it.
//!
//! One loop moves the cluster's clock, and the engine's with it: the engine is told the time after the cluster
//! has lived through it. A machine that stalls makes the story slower; it never makes healthy leaders look dead,
//! as two clocks would that run on by themselves.

pub mod sample;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{AppError, Crew, FIRST_ANSWER, Staff, engine};
use crate::domain::election::Rules;
use crate::domain::engine::Engine;
use crate::driver::{Clock, Driver, Handle};
use crate::io::client::{self, Target};
use crate::io::lease::Seat;
use crate::sim::demo::Demo;
use crate::sim::http::{Front, Shared, kubeconfig};

/// What the demo tells, as it tells it.
pub use crate::sim::demo::{Event, Outcome, Summary};
/// What can happen in it.
pub use crate::sim::incidents::Incident;

/// How often the clock is moved, and the longest time of ours that one move stands for.
const BEAT: Duration = Duration::from_millis(10);
const LONGEST_BEAT: Duration = Duration::from_millis(50);
/// How often it is asked whether the first lists are there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is to be shown.
#[derive(Clone)]
pub struct Play {
    /// Of the cluster.
    pub seed: u64,
    /// The cluster's time runs so many times faster than ours.
    pub speed: u32,
    /// For how long, in our time; without it until all incidents are told.
    pub lasts: Option<Duration>,
    /// What happens, in order.
    pub incidents: Vec<&'static Incident>,
}

/// Something to be told.
#[derive(Debug)]
pub enum Told<'a> {
    /// The cluster is up, and can be reached with this kubeconfig.
    Started(&'a Path),
    /// Something happened, so long after the start in our time.
    Happened(&'a Event, Duration),
    /// The cluster's clock moved.
    Passed(Timestamp),
}

/// Plays until it is over, or until `stop` turns true.
///
/// # Errors
/// When it cannot start, when a part of it ends that should not, or when `tell` fails.
pub async fn demo<E: From<AppError>>(
    play: &Play,
    mut stop: watch::Receiver<bool>,
    mut tell: impl FnMut(Told<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    let mut stage = Stage::open(play, stop.clone()).await?;
    tell(Told::Started(&stage.kubeconfig))?;
    let ended = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        ended = stage.crew.first_end() => Err(ended.into()),
        played = unfold(play, &stage.cluster, &stage.time, &stage.handle, &mut tell) => played,
    };
    let summary = stage.cluster.with(|demo| demo.summary());
    stage.close().await?;
    ended.map(|()| summary)
}

/// Time moves in strides here, each longer than a renewal may take: the lease is held more loosely.
fn rules(identity: Arc<str>) -> Rules {
    let seconds = Duration::from_secs;
    Rules { identity, duration: seconds(120), renew_deadline: seconds(90), retry: seconds(5) }
}

/// Where the daemon's own lease is.
const NAMESPACE: &str = "volwarden-system";

/// Everything that runs.
struct Stage {
    cluster: Shared<Demo>,
    time: watch::Sender<crate::domain::fact::Now>,
    handle: Handle,
    crew: Crew,
    folder: TempDir,
    kubeconfig: std::path::PathBuf,
}

impl Stage {
    async fn open(play: &Play, stop: watch::Receiver<bool>) -> Result<Self, AppError> {
        let demo = Demo::new(play.seed, &play.incidents).map_err(|refusal| AppError::Embedded(refusal.message))?;
        let (time, told) = watch::channel(demo.time());
        let cluster = Shared::new(demo);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let folder = tempfile::Builder::new().prefix("volwarden-demo-").tempdir()?;
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig(listener.local_addr()?))?;

        let mut crew = Crew::new();
        let front = Front::new(cluster.clone()).sped_up(play.speed);
        crew.spawn("the embedded API server", async move {
            let ended = front.serve(listener, std::future::pending()).await;
            ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string())
        });
        let target = Target { kubeconfig: Some(path.clone()), context: None };
        let client = client::connect(&target).await?;
        let identity: Arc<str> = "demo".into();
        let judge = engine::Settings { identity: Arc::clone(&identity), ..engine::Settings::default() };
        let clock = Clock::told(told);
        let (driver, ends) = Driver::new(Engine::new(judge), clock.clone());
        let handle = ends.handle.clone();
        crew.spawn("the engine's loop", async move { driver.run().await.to_string() });
        let seat = Seat { namespace: NAMESPACE.to_owned(), rules: rules(identity) };
        Staff { client, clock, ends, seat, events: true, traces: None, home: None }.begin(&mut crew, stop);
        Ok(Self { cluster, time, handle, crew, folder, kubeconfig: path })
    }

    /// Ends what runs, then removes the folder.
    async fn close(mut self) -> Result<(), AppError> {
        self.crew.tasks.shutdown().await;
        Ok(self.folder.close()?)
    }
}

/// Moves the clock until everything is told.
async fn unfold<E: From<AppError>>(
    play: &Play,
    cluster: &Shared<Demo>,
    time: &watch::Sender<crate::domain::fact::Now>,
    handle: &Handle,
    tell: &mut impl FnMut(Told<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let began = Instant::now();
    // Time stands still until the daemon has seen everything once. If it does not, the story shows that too.
    let _ = timeout(FIRST_ANSWER, settle(handle)).await;
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = beat.tick().await;
    loop {
        let now = beat.tick().await.max(Instant::now());
        let left = play.lasts.map(|lasts| lasts.saturating_sub(began.elapsed()));
        let is_over = cluster.with(|demo| demo.is_over());
        if left.map_or(is_over, |left| left.is_zero()) {
            return Ok(());
        }
        let passed = now.duration_since(last).min(LONGEST_BEAT).saturating_mul(play.speed);
        last = now;
        let left = left.map_or(Duration::MAX, |left| left.saturating_mul(play.speed));
        time.send_replace(cluster.with(|demo| {
            demo.pass(passed, left);
            demo.time()
        }));
        let state = handle.state().await.ok_or(AppError::EngineGone)?;
        let events = cluster.with(|demo| {
            demo.hear(state.findings);
            demo.take_events()
        });
        for event in &events {
            tell(Told::Happened(event, began.elapsed()))?;
        }
        tell(Told::Passed(state.at))?;
    }
}

/// Waits until every first list is there.
async fn settle(handle: &Handle) {
    while handle.progress().await.is_some_and(|progress| !progress.settled) {
        sleep(LOOK_AGAIN).await;
    }
}
