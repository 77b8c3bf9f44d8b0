//! A driver as a process, and a client that speaks to it as a sidecar does.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::wire::{CreateSnapshotRequest, CreateVolumeRequest, DeleteRequest, Empty};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running driver, which ends with the test.
pub(crate) struct Driver {
    child: Child,
    channel: Channel,
    log: PathBuf,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Driver {
    /// Starts a driver called `name`, whose state is below `folder`, and connects to it.
    pub(crate) async fn start(folder: &Path, name: &str, more: &[&str]) -> Self {
        let (socket, log) = (folder.join(format!("{name}.sock")), folder.join(format!("{name}.log")));
        let child = Command::new(env!("CARGO_BIN_EXE_csi-driver"))
            .args(["--type=rbd", "--drivername=rbd.test", "--nodeid=node-a", "--controllerserver=true"])
            .args(["--v=5", "--pidlimit=-1"])
            .arg(format!("--endpoint=unix://{}", socket.display()))
            .arg(format!("--state={}", folder.join("state").display()))
            .args(more)
            .stderr(Stdio::from(File::create(&log).unwrap()))
            .spawn()
            .unwrap();
        // The socket's file is there a moment before anyone listens on it.
        until("the driver listens", || UnixStream::connect(&socket).is_ok()).await;
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap().connect().await.unwrap();
        Self { child, channel, log }
    }

    /// Calls a method of `csi.v1`.
    pub(crate) async fn call<Asked, Answer>(&self, method: &str, asked: Asked) -> Result<Answer, Status>
    where
        Asked: Message + 'static,
        Answer: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::try_from(format!("/csi.v1.{method}")).unwrap();
        let answer = grpc.unary(Request::new(asked), path, ProstCodec::<Asked, Answer>::default()).await?;
        Ok(answer.into_inner())
    }

    /// Takes a snapshot of the volume `vol-1`; its handle.
    pub(crate) async fn snapshot(&self, name: &str) -> Result<String, Status> {
        let asked = CreateSnapshotRequest {
            name: name.to_owned(),
            source_volume_id: "vol-1".to_owned(),
            ..CreateSnapshotRequest::default()
        };
        let answer: crate::wire::SnapshotEntry = self.call("Controller/CreateSnapshot", asked).await?;
        Ok(answer.snapshot.unwrap().snapshot_id)
    }

    /// Deletes a snapshot.
    pub(crate) async fn delete(&self, handle: &str) -> Result<(), Status> {
        let asked = DeleteRequest { id: handle.to_owned(), ..DeleteRequest::default() };
        self.call::<_, Empty>("Controller/DeleteSnapshot", asked).await.map(drop)
    }

    /// Makes a volume; its handle.
    pub(crate) async fn volume(&self, asked: CreateVolumeRequest) -> Result<String, Status> {
        let answer: crate::wire::CreateVolumeResponse = self.call("Controller/CreateVolume", asked).await?;
        Ok(answer.volume.unwrap().volume_id)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged something.
    pub(crate) async fn logs(&self, text: &str) {
        until(text, || self.log().contains(text)).await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited for {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
