//! All tasks of the daemon in one set: who ends untold is named and ends the daemon; who is told may finish.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tracing::info;

use super::AppError;

/// How long those may take who have something to finish when they are told to stop.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// All tasks of the daemon. Those without a name here are watches, which `io` spawns itself.
pub(super) struct Crew {
    pub(super) tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    /// Those that end by themselves when they are told to stop.
    finishing: HashSet<Id>,
    reasons: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

impl Crew {
    pub(super) fn new() -> Self {
        let (names, finishing) = (HashMap::new(), HashSet::new());
        Self { tasks: JoinSet::new(), names, finishing, reasons: mpsc::unbounded_channel() }
    }

    /// The future's text is why it ended.
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = String> + Send + 'static) {
        self.enlist(name, work);
    }

    /// One that hears by itself that it is time to stop, and has something to finish then.
    pub(super) fn spawn_finishing(&mut self, name: &'static str, work: impl Future<Output = String> + Send + 'static) {
        let id = self.enlist(name, work);
        self.finishing.insert(id);
    }

    fn enlist(&mut self, name: &'static str, work: impl Future<Output = String> + Send + 'static) -> Id {
        let reasons = self.reasons.0.clone();
        let id = self.tasks.spawn(async move { drop(reasons.send(work.await)) }).id();
        self.names.insert(id, name);
        id
    }

    /// Lets them work until they are told to stop; or says which of them ended without having been told.
    pub(super) async fn work(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), AppError> {
        let ended = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            ended = self.first_end() => ended,
        };
        // Some end at the same word, and the word may reach them first.
        if *stop.borrow() { Ok(()) } else { Err(ended) }
    }

    pub(super) async fn first_end(&mut self) -> AppError {
        let (id, panicked) = match self.tasks.join_next_with_id().await {
            None => return AppError::Ended { task: "everything", reason: "no task is left".to_owned() },
            Some(Ok((id, ()))) => (id, false),
            Some(Err(error)) => (error.id(), JoinError::is_panic(&error)),
        };
        self.finishing.remove(&id);
        let reason = if panicked {
            "it panicked; this is a bug of volwarden's".to_owned()
        } else {
            self.reasons.1.try_recv().unwrap_or_else(|_| "it returned".to_owned())
        };
        AppError::Ended { task: self.names.remove(&id).unwrap_or("a watch"), reason }
    }

    /// Lets those finish that have something to finish, while all others still work; then drops everything.
    pub(super) async fn dismiss(mut self) -> Result<(), AppError> {
        let finished = async {
            while !self.finishing.is_empty()
                && let Some(ended) = self.tasks.join_next_with_id().await
            {
                self.finishing.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
        };
        let _ = timeout(LAST_WORDS, finished).await;
        let _ = timeout(Duration::from_secs(1), self.tasks.shutdown()).await;
        info!("stopped");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::signals::SHUTDOWN;
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
        crew.spawn_finishing("the HTTP server", async move {
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
        crew.spawn_finishing("the HTTP server", std::future::pending());
        crew.spawn("the prober", std::future::pending());
        let began = tokio::time::Instant::now();
        crew.dismiss().await.unwrap();
        assert!(began.elapsed() < SHUTDOWN);
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_who_has_something_to_finish_is_waited_for_and_the_others_work_meanwhile() {
        let mut crew = Crew::new();
        let (ask, mut asked) = mpsc::channel::<()>(1);
        let (finished, mut result) = mpsc::unbounded_channel();
        crew.spawn("the engine's loop", async move {
            while asked.recv().await.is_some() {}
            std::future::pending().await
        });
        crew.spawn_finishing("the HTTP server", async { String::new() });
        crew.spawn_finishing("the lease", async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            // The loop still takes what it is told.
            finished.send(ask.send(()).await.is_ok()).unwrap();
            String::new()
        });
        crew.dismiss().await.unwrap();
        assert_eq!(result.try_recv(), Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_task_that_panics_ends_the_daemon() {
        let mut crew = Crew::new();
        let (_word, mut stop) = watch::channel(false);
        crew.spawn("the prober", std::future::pending());
        crew.spawn_finishing("the lease", async { panic!("on purpose") });
        let said = crew.work(&mut stop).await.unwrap_err().to_string();
        assert!(said.starts_with("the lease ended: it panicked"), "{said}");
    }
}
