//! What the sidecar asks of others: the driver, and the credentials that the driver wants.

use std::time::Duration;

use serde_json::Value;

use super::sync::Sidecar;
use crate::sim::actors::csi::{Code, Request, Response, Secrets, Snapshot, Status};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{SECRET_NAME, SECRET_NAMESPACE};
use crate::sim::process::ProcessId;
use crate::sim::store::table::SECRETS;
use crate::sim::task::Desk;

/// Waits until the driver answers, however long it takes.
pub(super) async fn connect(desk: Desk, socket: ProcessId, timeout: Duration) {
    while desk.call(socket, Request::Probe, timeout).await.is_err() {
        desk.note(|ctx| ctx.klog('W', "connection.go:234", "Still connecting to unix:///csi/csi.sock"));
        desk.sleep(Duration::from_secs(1)).await;
    }
}

/// Why a snapshot could not be cut: by the driver's word, or before it was asked.
pub(super) enum NotCut {
    ByDriver(Status),
    Before(String),
}

impl Sidecar {
    /// Has the driver cut the snapshot of a content.
    pub(super) async fn call_create(&self, content: &Value, secrets: Secrets, desk: &Desk) -> Result<Snapshot, NotCut> {
        let uid = object::text(content, "/spec/volumeSnapshotRef/uid");
        if uid.is_empty() {
            let name = object::name(content);
            let words = format!("cannot create snapshot. Snapshot content {name} not bound to a snapshot");
            return Err(NotCut::Before(words));
        }
        let request = Request::CreateSnapshot {
            name: format!("snapshot-{uid}"),
            volume: object::text(content, "/spec/source/volumeHandle").to_owned(),
            secrets,
        };
        match desk.call(self.socket, request, self.timeout).await {
            Ok(Response::Snapshot(snapshot)) => Ok(snapshot),
            Ok(other) => Err(NotCut::Before(format!("the driver answered {other:?}"))),
            Err(status) => Err(NotCut::ByDriver(status)),
        }
    }

    /// Has the driver delete the snapshot of a content.
    pub(super) async fn call_delete(&self, content: &Value, secrets: Secrets, desk: &Desk) -> Result<(), String> {
        let snapshot = handle(content).to_owned();
        let request = Request::DeleteSnapshot { snapshot, secrets };
        let answer = desk.call(self.socket, request, self.timeout).await;
        answer.map(drop).map_err(|status| {
            let name = object::name(content);
            format!("failed to delete snapshot content {name}: {}", quoted(&status.to_string()))
        })
    }

    /// Asks the driver about the snapshot of a content; a driver that cannot list snapshots has it ready.
    pub(super) async fn call_status(&self, content: &Value, desk: &Desk) -> Result<Snapshot, String> {
        let handle = handle(content).to_owned();
        let request = Request::GetSnapshot { snapshot: handle.clone() };
        match desk.call(self.socket, request, self.timeout).await {
            Ok(Response::Snapshot(snapshot)) => Ok(snapshot),
            Err(status) if status.code != Code::Unimplemented => {
                let name = object::name(content);
                Err(format!("failed to list snapshot for content {name}: {}", quoted(&status.to_string())))
            }
            Ok(_) | Err(_) => Ok(Snapshot { handle, created: desk.now().wall, size: 0, ready: true }),
        }
    }

    /// The credentials that a content's annotations name; none if they name none.
    pub(super) async fn credentials(&self, content: &Value, desk: &Desk) -> Result<Secrets, String> {
        let annotation = |key: &str| object::annotation(content, key).map(str::to_owned);
        let (Some(name), Some(namespace)) = (annotation(SECRET_NAME), annotation(SECRET_NAMESPACE)) else {
            return Ok(Secrets::new());
        };
        let content = quoted(object::name(content));
        if name.is_empty() || namespace.is_empty() {
            let why = "secret name or namespace not specified";
            return Err(format!("cannot retrieve secrets for snapshot content {content}, err: {why}"));
        }
        let secret = desk.api(SECRETS, move |ctx| ctx.get(SECRETS, &namespace, &name)).await;
        secret.map(|secret| object::data(&secret)).map_err(|refusal| {
            let line = format!("Failed to get credentials for snapshot {content}: {refusal}");
            desk.note(move |ctx| ctx.klog('E', "snapshot_controller.go:590", &line));
            format!("cannot get credentials for snapshot content {content}")
        })
    }
}

/// The handle of a content's snapshot.
fn handle(content: &Value) -> &str {
    let known = object::text(content, "/status/snapshotHandle");
    if known.is_empty() { object::text(content, "/spec/source/snapshotHandle") } else { known }
}

/// A text in quotes, as Go's `%q` writes it.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}
