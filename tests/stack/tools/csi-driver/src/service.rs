//! gRPC: from a request's path to the driver's call and back.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::driver::Driver;
use crate::wire::{
    Capabilities, Capability, CapabilityType, Empty, NodeInfo, PLUGIN_CONTROLLER_SERVICE, PluginInfo, ProbeResponse,
    RPC_CREATE_DELETE_SNAPSHOT, RPC_CREATE_DELETE_VOLUME, RPC_LIST_SNAPSHOTS,
};

/// The services `csi.v1.Identity`, `csi.v1.Controller` and what of `csi.v1.Node` needs no kubelet.
#[derive(Clone)]
pub struct Csi {
    driver: Arc<Driver>,
}

impl Csi {
    /// Serves this driver.
    pub fn new(driver: Arc<Driver>) -> Self {
        Self { driver }
    }
}

impl NamedService for Csi {
    const NAME: &'static str = "csi.v1";
}

impl Service<http::Request<Body>> for Csi {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let driver = Arc::clone(&self.driver);
        Box::pin(async move { Ok(dispatch(driver, request).await) })
    }
}

async fn dispatch(driver: Arc<Driver>, request: http::Request<Body>) -> http::Response<Body> {
    let path = request.uri().path().to_owned();
    match path.strip_prefix("/csi.v1.").unwrap_or_default() {
        "Identity/GetPluginInfo" => {
            let info = PluginInfo { name: driver.name.clone(), vendor_version: env!("CARGO_PKG_VERSION").to_owned() };
            answer(request, move |_: Empty| async move { Ok(info) }).await
        }
        "Identity/GetPluginCapabilities" => {
            answer(request, |_: Empty| async { Ok(capabilities(&[PLUGIN_CONTROLLER_SERVICE])) }).await
        }
        "Identity/Probe" => answer(request, |_: Empty| async { Ok(ProbeResponse { ready: Some(true) }) }).await,
        "Controller/ControllerGetCapabilities" => {
            let numbers = [RPC_CREATE_DELETE_VOLUME, RPC_CREATE_DELETE_SNAPSHOT, RPC_LIST_SNAPSHOTS];
            answer(request, move |_: Empty| async move { Ok(capabilities(&numbers)) }).await
        }
        "Controller/CreateSnapshot" => {
            answer(request, move |asked| async move { driver.create_snapshot(asked).await }).await
        }
        "Controller/DeleteSnapshot" => {
            answer(request, move |asked| async move { driver.delete_snapshot(asked).await }).await
        }
        "Controller/ListSnapshots" => {
            answer(request, move |asked| async move { driver.list_snapshots(asked).await }).await
        }
        "Controller/CreateVolume" => {
            answer(request, move |asked| async move { driver.create_volume(asked).await }).await
        }
        "Controller/DeleteVolume" => {
            answer(request, move |asked| async move { driver.delete_volume(asked).await }).await
        }
        "Controller/ValidateVolumeCapabilities" => {
            answer(request, move |asked| async move { driver.validate(asked) }).await
        }
        "Node/NodeGetInfo" => answer(request, |_: Empty| async { Ok(NodeInfo { node_id: "stack".to_owned() }) }).await,
        "Node/NodeGetCapabilities" => answer(request, |_: Empty| async { Ok(Capabilities::default()) }).await,
        // Nothing is ever published, so it is unpublished already.
        "Node/NodeUnpublishVolume" => answer(request, |_: Empty| async { Ok(Empty {}) }).await,
        _ => Status::unimplemented(format!("{path} is not part of this driver")).into_http(),
    }
}

fn capabilities(numbers: &[i32]) -> Capabilities {
    let capability = |number: &i32| Capability { service: Some(CapabilityType { number: *number }) };
    Capabilities { capabilities: numbers.iter().map(capability).collect() }
}

/// Decodes, calls, encodes.
///
/// The call runs in a task of its own: a caller that gives up must not end it, since no storage cluster would notice.
async fn answer<Asked, Answered, Call, Running>(request: http::Request<Body>, call: Call) -> http::Response<Body>
where
    Asked: Message + Default + 'static,
    Answered: Message + 'static,
    Call: FnOnce(Asked) -> Running + Send + 'static,
    Running: Future<Output = Result<Answered, Status>> + Send + 'static,
{
    let mut call = Some(call);
    let handler = tower::service_fn(move |request: Request<Asked>| {
        let running = call.take().map(|call| tokio::spawn(call(request.into_inner())));
        async move {
            let running = running.ok_or_else(|| Status::internal("one request was handed over twice"))?;
            let ended = running.await.map_err(|error| Status::internal(format!("the call did not end: {error}")));
            ended.flatten().inspect_err(|status| eprintln!("GRPC error: {status}")).map(Response::new)
        }
    });
    Grpc::new(ProstCodec::<Answered, Asked>::default()).unary(handler, request).await
}
