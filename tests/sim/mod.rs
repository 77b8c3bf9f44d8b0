//! An embedded API server for tests: a store without actors behind its HTTP front, on a port of its own.

#![allow(dead_code, reason = "each suite uses its part")]

use std::path::PathBuf;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use volwarden::io::client::{self, Target};
use volwarden::sim::http::{Faults, Front, Host, LogLine, Shared, kubeconfig};
use volwarden::sim::store::Store;

/// A store, a clock that stands still, and the lines of every container.
pub(crate) struct Still {
    pub(crate) store: Store,
    pub(crate) now: Timestamp,
    pub(crate) lines: Vec<LogLine>,
}

impl Host for Still {
    fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn log(&self, _namespace: &str, _pod: &str, _container: &str) -> Vec<LogLine> {
        self.lines.clone()
    }
}

/// A running front, until it is dropped.
pub(crate) struct Embedded {
    pub(crate) shared: Shared<Still>,
    pub(crate) faults: Faults,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

/// When the embedded clusters of these tests stand.
pub(crate) fn epoch() -> Timestamp {
    "2026-11-22T20:00:00Z".parse().unwrap()
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        let store = Store::new(1, epoch());
        let shared = Shared::new(Still { store, now: epoch(), lines: Vec::new() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = TempDir::new().unwrap();
        let text = kubeconfig(listener.local_addr().unwrap());
        std::fs::write(folder.path().join("kubeconfig"), text).unwrap();
        let front = Front::new(shared.clone());
        let faults = front.faults();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(front.serve(listener, async { drop(stopped.await) }));
        Self { shared, faults, folder, stop: Some(stop), task }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A client as the product builds it.
    pub(crate) async fn client(&self) -> kube::Client {
        let target = Target { kubeconfig: Some(self.kubeconfig()), context: None };
        client::connect(&target).await.unwrap()
    }

    /// Ends the front; its streams have to end by themselves.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}
