//! Watches every source of the table and turns what it says into facts.
//!
//! One task a source: discover, list, watch, resume. No object is kept: each is translated and dropped before
//! the next is read, and the one bounded channel holds the server back when the engine is busy. It exists to
//! prevent two silences that look alike: a collection in which nothing happens, and one we no longer hear.

mod clock;
mod pace;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::StatusCode;
use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::api::foreign::Page;
use crate::domain::fact::{Fact, Source, SourceChange};

use super::request::{self, JSON, Lines, Refusal, encode};
use super::source::{Found, Place, discover};
use super::translate::{Line, Translator, Unreadable, Verb};
use clock::{Clock, Due};
use pace::{Backoff, Complaints, jittered};

/// Sources that list at the same time; more would only raise the peak of memory on both sides.
const LISTS_AT_ONCE: usize = 3;
/// How long a list waits for its turn. A courtesy and no gate: a hung list must not keep others from starting.
const TURN: Duration = Duration::from_secs(5);
/// Objects on a page of a paged list (about 1 MB of snapshots).
const PAGE: u32 = 500;
/// Most that is read of a page, in bytes.
const PAGE_BYTES: usize = 256 * 1024 * 1024;
/// Patience for a page, and for the head of a watch's answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the server is asked to hold a watch open; and how much of that is jitter.
const WATCH: Duration = Duration::from_secs(280);
const WATCH_JITTER: Duration = Duration::from_secs(20);
/// Patience for that probe, and most that is read of its answer.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
const PROBE_BYTES: usize = 16 * 1024 * 1024;
/// Bookmarks become facts at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// A watch cut sooner than this is no progress, and is resumed with a delay.
const SHORT: Duration = Duration::from_secs(5);
/// How often an absent kind and a refusal are looked at again; and how much of that is jitter.
const LOOK_AGAIN: Duration = Duration::from_secs(55);
const LOOK_AGAIN_JITTER: Duration = Duration::from_secs(10);

/// Starts a task for every source; the tasks end when the receiver of `facts` is dropped, or by abort.
#[allow(clippy::needless_pass_by_value, reason = "the tasks own their clones; callers hand theirs over")]
pub fn spawn(client: Client, facts: mpsc::Sender<Fact>, tasks: &mut JoinSet<()>) {
    spawn_but(client, facts, tasks, &[]);
}

/// The same, but for these sources: somebody else tells them.
#[allow(clippy::needless_pass_by_value, reason = "the tasks own their clones; callers hand theirs over")]
pub fn spawn_but(client: Client, facts: mpsc::Sender<Fact>, tasks: &mut JoinSet<()>, but: &[Source]) {
    let turns = Arc::new(Semaphore::new(LISTS_AT_ONCE));
    for source in Source::ALL.into_iter().filter(|source| !but.contains(source)) {
        let watcher = Watcher::new(client.clone(), source, facts.clone(), Arc::clone(&turns));
        tasks.spawn(watcher.run());
    }
}

/// One source: where it is, how far we have read, how it fares.
struct Watcher {
    client: Client,
    source: Source,
    place: Place,
    facts: mpsc::Sender<Fact>,
    turns: Arc<Semaphore>,
    translator: Translator,
    /// Path of the collection, once discovered.
    path: Option<String>,
    /// Where a watch goes on; `None` until a list is complete.
    version: Option<String>,
    /// The server has refused or ignored a streaming list: this source is listed by pages from then on.
    paged: bool,
    /// What the engine was last told of our state.
    told: Told,
    /// The collection was not found although discovery knows it; once may be a CRD on its way out.
    lost: bool,
    /// When a list last began: a second one at once waits.
    listed: Option<Instant>,
    /// When the last sign of life was passed on.
    progressed: Option<Instant>,
    backoff: Backoff,
    complaints: Complaints,
}

/// What the engine was last told of a source's state, as far as it changes what to tell next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing, or that it goes well, or that it is refused.
    Fine,
    /// That it fails.
    Failing,
    /// That the kind is not installed.
    Absent,
}

/// Why a round ended.
#[derive(Debug)]
enum End {
    /// Nobody listens any more.
    Closed,
    /// The watch ended as watches do; it had lasted so long.
    Cut(Duration),
    /// What we know is too old to go on from.
    Relist(Arc<str>),
    /// No streaming lists here.
    Fallback(Arc<str>),
    /// Discovery does not know the kind.
    NotInstalled,
    /// The collection is not where it was.
    NotFound(Arc<str>),
    /// The server refuses us.
    Forbidden(Arc<str>),
    /// Anything else. What was read so far holds.
    Failing(Arc<str>),
    /// The stream cannot be trusted: only a new list can tell what is there.
    Broken(Arc<str>),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        if refusal.forbidden() {
            Self::Forbidden(refusal.words)
        } else if refusal.is(StatusCode::NOT_FOUND) {
            Self::NotFound(refusal.words)
        } else if refusal.is(StatusCode::GONE) {
            Self::Relist(refusal.words)
        } else {
            Self::Failing(refusal.words)
        }
    }
}

impl<T> From<mpsc::error::SendError<T>> for End {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self::Closed
    }
}

/// A list's turn, held until it is complete; empty when the wait for one was too long.
struct Turn<'a>(#[allow(dead_code, reason = "held for its Drop")] Option<SemaphorePermit<'a>>);

type Probe = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

impl Watcher {
    fn new(client: Client, source: Source, facts: mpsc::Sender<Fact>, turns: Arc<Semaphore>) -> Self {
        Self {
            client,
            source,
            place: Place::of(source),
            facts,
            turns,
            translator: Translator::new(source),
            path: None,
            version: None,
            paged: false,
            told: Told::Fine,
            lost: false,
            listed: None,
            progressed: None,
            backoff: Backoff::default(),
            complaints: Complaints::default(),
        }
    }

    async fn run(mut self) {
        let facts = self.facts.clone();
        tokio::select! {
            () = facts.closed() => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(&mut self) {
        loop {
            let end = match self.round().await {
                Ok(never) => match never {},
                Err(end) => end,
            };
            tracing::debug!(kind = %self.source, ?end, "round over");
            let Ok(pause) = self.digest(end).await else { return };
            sleep(pause).await;
        }
    }

    /// Tells the engine what it has to know of a round's end; how long to wait before the next.
    async fn digest(&mut self, end: End) -> Result<Duration, End> {
        let look_again = jittered(LOOK_AGAIN, LOOK_AGAIN_JITTER);
        Ok(match end {
            End::Closed => return Err(End::Closed),
            End::Cut(lasted) if lasted >= SHORT => Duration::ZERO,
            End::Cut(_) => self.backoff.after_failure(),
            End::Relist(words) => {
                tracing::info!(kind = %self.source, %words, "listing again");
                self.version = None;
                // Too old again at once: the list cannot keep up with the server's history.
                let again = self.listed.is_some_and(|at| at.elapsed() < SHORT);
                if again { self.fail(words).await? } else { Duration::ZERO }
            }
            End::Fallback(words) => {
                tracing::debug!(kind = %self.source, %words, "no streaming lists here, reading pages");
                self.paged = true;
                Duration::ZERO
            }
            End::NotInstalled => {
                // Said once: the engine empties the set and looks at everything anew each time it hears it.
                let known = self.told == Told::Absent;
                self.say(if known { SourceChange::Progress } else { SourceChange::NotInstalled }).await?;
                self.forget();
                self.told = Told::Absent;
                self.lost = false;
                look_again
            }
            End::Forbidden(words) => {
                tracing::warn!(kind = %self.source, %words, "refused");
                self.say(SourceChange::Forbidden(words)).await?;
                self.forget();
                look_again
            }
            // Perhaps its CRD is being removed: discovery will say. If it insists that the kind is there, the
            // second time is a failure.
            End::NotFound(_) if self.place.optional && !self.lost => {
                self.forget();
                self.lost = true;
                self.backoff.after_failure()
            }
            End::NotFound(words) => {
                self.forget();
                self.fail(words).await?
            }
            End::Failing(words) => self.fail(words).await?,
            End::Broken(words) => {
                self.version = None;
                self.fail(words).await?
            }
        })
    }

    async fn fail(&mut self, words: Arc<str>) -> Result<Duration, End> {
        if self.told == Told::Failing {
            tracing::debug!(kind = %self.source, %words, "still failing");
        } else {
            tracing::warn!(kind = %self.source, %words, "failing");
        }
        self.told = Told::Failing;
        self.say(SourceChange::Failing(words)).await?;
        Ok(self.backoff.after_failure())
    }

    /// What is known about place and progress no longer holds.
    fn forget(&mut self) {
        self.path = None;
        self.version = None;
        self.told = Told::Fine;
    }

    async fn round(&mut self) -> Result<std::convert::Infallible, End> {
        let path = match self.path.clone() {
            Some(path) => path,
            None => match discover(&self.client, self.place).await {
                // A 404 cannot come out of discovery; whatever else it is, it is not an answer about objects.
                Err(refusal) if refusal.forbidden() => return Err(End::Forbidden(refusal.words)),
                Err(refusal) => return Err(End::Failing(refusal.words)),
                Ok(Found::NotInstalled) => return Err(End::NotInstalled),
                Ok(Found::At(path)) => self.path.insert(path).clone(),
            },
        };
        if self.version.is_none() {
            let turns = Arc::clone(&self.turns);
            let turn = timeout(TURN, turns.acquire()).await.ok().and_then(Result::ok);
            if !self.paged {
                return Err(self.stream(&path, Some(Turn(turn))).await);
            }
            self.read_pages(&path).await?;
        }
        Err(self.stream(&path, None).await)
    }

    // === Lists by pages ===

    async fn read_pages(&mut self, path: &str) -> Result<(), End> {
        self.begin_list().await?;
        let mut more: Option<String> = None;
        loop {
            let mut uri = format!("{path}?limit={PAGE}");
            self.select(&mut uri);
            if let Some(token) = &more {
                uri.push_str("&continue=");
                encode(&mut uri, token);
            }
            let bytes = request::fetch(&self.client, &uri, JSON, PAGE_BYTES, PATIENCE).await?;
            let page: Page<'_> = request::parse(&bytes)?;
            for item in page.items.iter().flatten() {
                match self.translator.object(Verb::Applied, item.get()) {
                    Ok(object) => self.pass_on(object.fact).await?,
                    Err(unreadable) => {
                        self.unreadable(unreadable).await?;
                    }
                }
            }
            more = page.metadata.more.as_deref().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
            if more.is_none() {
                let version = page.metadata.resource_version.as_deref().filter(|version| !version.is_empty());
                let Some(version) = version.map(ToOwned::to_owned) else {
                    return Err(End::Broken("a list without a resourceVersion".into()));
                };
                return self.end_list(version).await;
            }
        }
    }

    async fn begin_list(&mut self) -> Result<(), End> {
        self.listed = Some(Instant::now());
        self.translator.begin_list();
        self.say(SourceChange::ListBegan).await
    }

    async fn end_list(&mut self, version: String) -> Result<(), End> {
        self.say(SourceChange::ListEnded).await?;
        tracing::debug!(kind = %self.source, version, passed = self.translator.passed(), "listed");
        self.version = Some(version);
        self.told = Told::Fine;
        self.lost = false;
        self.backoff.healthy();
        Ok(())
    }

    // === Watches ===

    /// Watches until something ends it; with a `turn`, begins with a streaming list.
    async fn stream(&mut self, path: &str, mut turn: Option<Turn<'_>>) -> End {
        let hold = jittered(WATCH, WATCH_JITTER);
        let uri = self.watch_uri(path, hold, turn.is_some());
        let body = match request::open(&self.client, &uri, JSON, PATIENCE).await {
            Ok(body) => body,
            Err(refusal) if turn.is_some() && refuses_streaming(&refusal) => return End::Fallback(refusal.words),
            Err(refusal) => return refusal.into(),
        };
        if turn.is_some()
            && let Err(end) = self.begin_list().await
        {
            return end;
        }
        self.backoff.healthy();
        let mut lines = Lines::new(body);
        let mut clock = Clock::new(hold);
        let mut probe: Option<Probe> = None;
        // Once it goes on, all that happened before it was opened has been told: that too is worth saying.
        let mut unconfirmed = turn.is_none();
        loop {
            let initial = turn.is_some();
            let due = clock.due(initial, unconfirmed, probe.is_some());
            tokio::select! {
                biased;
                line = lines.next() => {
                    let line = match line {
                        Ok(Some(line)) => line,
                        Ok(None) if initial => return End::Broken("the list broke off".into()),
                        Err(refusal) if initial => return End::Broken(refusal.words),
                        Ok(None) | Err(_) => return End::Cut(clock.opened.elapsed()),
                    };
                    clock.heard();
                    probe = None;
                    match self.take(&line, initial).await {
                        Ok(Took::Object) => {}
                        Ok(Took::Bookmark) => clock.bookmarks = true,
                        Ok(Took::ListEnd) => turn = None,
                        Err(end) => return end,
                    }
                }
                answer = answer_of(&mut probe) => {
                    probe = None;
                    clock.checked = Instant::now();
                    let done = match answer {
                        Ok(()) => self.answered().await,
                        Err(refusal) => Err(refusal.into()),
                    };
                    if let Err(end) = done {
                        return end;
                    }
                }
                () = sleep_until(due) => match clock.what(initial, unconfirmed) {
                    Due::Unlisted => return End::Fallback("the streaming list does not end".into()),
                    Due::Dead => return End::Cut(clock.opened.elapsed()),
                    Due::Confirmed => {
                        unconfirmed = false;
                        if let Err(end) = self.progress().await {
                            return end;
                        }
                    }
                    Due::Quiet => probe = Some(self.probe(path)),
                }
            }
        }
    }

    fn watch_uri(&self, path: &str, hold: Duration, initial: bool) -> String {
        let seconds = hold.as_secs();
        let mut uri = format!("{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}");
        self.select(&mut uri);
        match &self.version {
            Some(version) if !initial => {
                uri.push_str("&resourceVersion=");
                encode(&mut uri, version);
            }
            _ => uri.push_str("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
        }
        uri
    }

    fn select(&self, uri: &mut String) {
        if !self.place.selector.is_empty() {
            uri.push('&');
            uri.push_str(self.place.selector);
        }
    }

    /// Takes one line in.
    async fn take(&mut self, line: &Bytes, initial: bool) -> Result<Took, End> {
        let text = std::str::from_utf8(line).map_err(|_| End::Broken("the watch sent what is no text".into()))?;
        match self.translator.line(text).map_err(|garbage| End::Broken(garbage.to_string().into()))? {
            Line::Object(object) => {
                // The objects of a streaming list do not come in the order of their versions: only the bookmark
                // at its end is a place to go on from.
                if !initial {
                    note(&mut self.version, object.version.as_deref());
                    if self.told == Told::Failing {
                        self.progress().await?;
                    }
                }
                self.pass_on(object.fact).await?;
                Ok(Took::Object)
            }
            Line::Unreadable(unreadable) => {
                let version = self.unreadable(unreadable).await?;
                if !initial {
                    note(&mut self.version, version.as_deref());
                }
                Ok(Took::Object)
            }
            Line::Bookmark { version, ends_list: true } if initial => {
                let version = version.as_deref().filter(|version| !version.is_empty());
                let version = version.map(ToOwned::to_owned);
                self.end_list(version.ok_or_else(|| End::Broken("a bookmark without a version".into()))?).await?;
                Ok(Took::ListEnd)
            }
            // A server that does not know streaming lists sends ordinary bookmarks and never that one.
            Line::Bookmark { .. } if initial => Err(End::Fallback("the streaming list has no end".into())),
            Line::Bookmark { version, .. } => {
                note(&mut self.version, version.as_deref());
                let lately = self.progressed.is_some_and(|at| at.elapsed() < PROGRESS_EVERY);
                if self.told == Told::Failing || !lately {
                    self.progress().await?;
                }
                Ok(Took::Bookmark)
            }
            Line::Error(status) => {
                let code = status.code.and_then(|code| StatusCode::from_u16(code).ok());
                let refusal = Refusal::from_status(code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), status);
                if initial && refuses_streaming(&refusal) {
                    return Err(End::Fallback(refusal.words));
                }
                Err(refusal.into())
            }
        }
    }

    /// Reports an object that cannot be read; its version, where that can be.
    async fn unreadable(&mut self, unreadable: Unreadable) -> Result<Option<String>, End> {
        if let Some(suppressed) = self.complaints.due() {
            tracing::warn!(kind = %self.source, %unreadable, suppressed, "an object cannot be read");
        }
        match unreadable.key {
            Some(key) => {
                self.say(SourceChange::Unreadable(key)).await?;
                Ok(unreadable.version)
            }
            // Without a name nobody can say what it is that is still there.
            None => Err(End::Broken(unreadable.to_string().into())),
        }
    }

    /// Asks for one object past the watch: does the server still answer for this collection?
    fn probe(&self, path: &str) -> Probe {
        let mut uri = format!("{path}?limit=1");
        self.select(&mut uri);
        let client = self.client.clone();
        Box::pin(async move {
            let bytes = request::fetch(&client, &uri, JSON, PROBE_BYTES, PROBE_PATIENCE).await?;
            request::parse::<Page<'_>>(&bytes).map(|_| ())
        })
    }

    // === Facts ===

    async fn progress(&mut self) -> Result<(), End> {
        self.progressed = Some(Instant::now());
        self.told = Told::Fine;
        self.say(SourceChange::Progress).await
    }

    /// The server answers, on another connection than the watch.
    async fn answered(&mut self) -> Result<(), End> {
        self.told = Told::Fine;
        self.say(SourceChange::Answered).await
    }

    async fn say(&self, change: SourceChange) -> Result<(), End> {
        Ok(self.facts.send(Fact::Source(self.source, change)).await?)
    }

    async fn pass_on(&self, fact: Option<Fact>) -> Result<(), End> {
        match fact {
            Some(fact) => Ok(self.facts.send(fact).await?),
            None => Ok(()),
        }
    }
}

/// What a line was.
enum Took {
    Object,
    Bookmark,
    ListEnd,
}

async fn answer_of(probe: &mut Option<Probe>) -> Result<(), Refusal> {
    match probe {
        Some(probe) => probe.await,
        None => std::future::pending().await,
    }
}

/// Remembers how far we have read.
fn note(version: &mut Option<String>, seen: Option<&str>) {
    if let Some(seen) = seen.filter(|seen| !seen.is_empty()) {
        let version = version.get_or_insert_default();
        version.clear();
        version.push_str(seen);
    }
}

/// Whether this refusal is about the streaming list and not about us: servers before 1.27 call its parameters
/// invalid, and one whose etcd cannot tell its progress answers 500. kube's own watcher retries both for ever.
fn refuses_streaming(refusal: &Refusal) -> bool {
    refusal.is(StatusCode::BAD_REQUEST)
        || refusal.is(StatusCode::UNPROCESSABLE_ENTITY)
        || (refusal.is(StatusCode::INTERNAL_SERVER_ERROR) && refusal.words.contains("RequestWatchProgress"))
}
