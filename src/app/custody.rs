//! A person's look at a KopiaRepository of a cluster, and what that person asks of it.

use super::consent::Hand;
use crate::domain::kopia::Identity;
use crate::domain::name::Key;
use crate::domain::repository::Task;
use crate::domain::repository::agenda::{Case, Hold, agenda};
use crate::io::act::demand;
use crate::io::workers;

pub use crate::io::act::consent::Trouble;
pub use crate::io::repository::{Entry, read, task_name};
pub use crate::io::workers::{Hold as Held, Worker, Workers};

impl Hand {
    /// The namespace of the kubeconfig's context.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// A KopiaRepository.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn repository(&self, key: &Key) -> Result<Entry, Trouble> {
        demand::repository(&self.client, key).await
    }

    /// Asks for a task; the KopiaRepository as it is then.
    ///
    /// # Errors
    /// It was changed since it was read, or cannot be written.
    pub async fn demand(&self, entry: &Entry, request: &str, dry: bool) -> Result<Entry, Trouble> {
        demand::demand(&self.client, entry, request, dry).await
    }

    /// Approves a plan of it, by the annotation that is for it.
    ///
    /// # Errors
    /// It was changed since it was read, or cannot be written.
    pub async fn approve_repository(&self, entry: &Entry, plan: (&str, &str), dry: bool) -> Result<Entry, Trouble> {
        demand::approve(&self.client, entry, plan, dry).await
    }

    /// Who works on it now.
    pub async fn workers(&self, entry: &Entry) -> Workers {
        workers::look(&self.client, entry).await
    }

    /// What is due and held, by the daemon's own rules on what the object says; nothing before the daemon has said who it
    /// is. Another manager beside us is in the condition Ready.
    #[must_use]
    pub fn held(&self, entry: &Entry) -> Vec<(Task, Hold)> {
        let host = entry.status.identity.as_deref().and_then(|us| us.split_once('@')).map(|(_, host)| host);
        let Some(us) = host.and_then(|host| Identity::on(host).ok()) else { return Vec::new() };
        agenda(Case { custody: &entry.custody, told: &entry.told, us: &us, rival: None, now: self.now() }).held
    }
}
