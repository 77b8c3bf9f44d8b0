//! A look that plans: the cluster as it is, its policies or those of a file, and what its API server says of a step.
//!
//! The engine is the daemon's, with an assumed lease; nothing is written, a step is only ever sent as a dry run. With
//! policies from a file the cluster's own are not read at all: a plan of both would be nobody's.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

use super::{AppError, Look, Settings, connect, engine, looking};
use crate::domain::fact::{Change, Fact, Source, SourceChange};
use crate::domain::name::Key;
use crate::domain::policy::Policy;
use crate::domain::remedy::action::Action;
use crate::io::act;
use crate::io::client::Client;

pub use crate::driver::{Aim, Planning};
pub use crate::io::act::Rehearsal;
/// Policies from a file, judged as the API server and the daemon would judge them.
pub use crate::io::policy::file::{Document, Wrong, policies};

/// Dry runs under way at the same time.
const AT_ONCE: usize = 4;
/// A source that nobody watches says so often that it is still there, before it counts as silent.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// A cluster being looked at for a plan. Everything stops when it is dropped.
pub struct Planner {
    /// The look.
    pub look: Look,
    client: Client,
}

/// Connects and begins to watch; `policies` stand instead of the cluster's.
///
/// # Errors
/// When there is no usable kubeconfig or no API server behind it.
pub async fn planner(
    settings: &Settings,
    judge: engine::Settings,
    policies: Option<Vec<Policy>>,
) -> Result<Planner, AppError> {
    let client = connect(settings).await?;
    let but: &[Source] = if policies.is_some() { &[Source::Policies] } else { &[] };
    let (mut look, facts) = looking(client.clone(), judge, but);
    if let Some(policies) = policies {
        look.tasks.spawn(tell(policies, facts));
    }
    Ok(Planner { look, client })
}

/// Tells of the policies as a watch of them would, for as long as anybody listens.
async fn tell(policies: Vec<Policy>, facts: mpsc::Sender<Fact>) {
    let listed = policies.into_iter().map(|policy| {
        let key = Key::cluster(&**policy.name());
        Fact::Policy(Change::Applied(key, Box::new(policy)))
    });
    let source = |change| Fact::Source(Source::Policies, change);
    let told: Vec<Fact> = std::iter::once(source(SourceChange::ListBegan))
        .chain(listed)
        .chain([source(SourceChange::ListEnded)])
        .collect();
    for fact in told {
        if facts.send(fact).await.is_err() {
            return;
        }
    }
    let mut life = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    loop {
        life.tick().await;
        if facts.send(source(SourceChange::Progress)).await.is_err() {
            return;
        }
    }
}

impl Planner {
    /// What the API server says of each of these actions; nothing is carried out.
    pub async fn rehearse(&self, actions: &[&Action], intended: Timestamp) -> Vec<Rehearsal> {
        let asked = stream::iter(actions).map(|action| act::rehearse(&self.client, action, intended));
        asked.buffered(AT_ONCE).collect().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn policies_of_a_file_are_told_as_a_watch_would_and_never_go_silent() {
        let (facts, mut told) = mpsc::channel(8);
        let task = tokio::spawn(tell(vec![Policy::built_in()], facts));
        let began = Instant::now();
        let mut next = async || told.recv().await.unwrap();
        assert_eq!(next().await, Fact::Source(Source::Policies, SourceChange::ListBegan));
        assert!(matches!(next().await, Fact::Policy(Change::Applied(key, _)) if &*key.name == "built-in"));
        assert_eq!(next().await, Fact::Source(Source::Policies, SourceChange::ListEnded));
        for minutes in 1..4 {
            assert_eq!(next().await, Fact::Source(Source::Policies, SourceChange::Progress));
            assert!(began.elapsed() <= minutes * Duration::from_secs(61));
        }
        drop(told);
        task.await.unwrap();
    }
}
