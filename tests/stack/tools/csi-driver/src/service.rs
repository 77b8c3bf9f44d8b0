//! gRPC: from a request's path to the driver's call and back.

use std::convert::Infallible;
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
use crate::log::{Call, Log};
use crate::wire::{
    Asked, Capabilities, Capability, CapabilityType, Empty, NodeInfo, PLUGIN_CONTROLLER_SERVICE, PluginInfo,
    ProbeResponse, RPC_CREATE_DELETE_SNAPSHOT, RPC_CREATE_DELETE_VOLUME, RPC_LIST_SNAPSHOTS,
};

/// The services `csi.v1.Identity`, `csi.v1.Controller` and what of `csi.v1.Node` needs no kubelet.
#[derive(Clone)]
pub struct Csi {
    driver: Arc<Driver>,
    log: Log,
}

impl Csi {
    /// Serves this driver.
    pub fn new(driver: Arc<Driver>, log: Log) -> Self {
        Self { driver, log }
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
        let incoming = Incoming { method: request.uri().path().to_owned(), log: self.log.clone(), request };
        Box::pin(async move { Ok(dispatch(driver, incoming).await) })
    }
}

async fn dispatch(driver: Arc<Driver>, incoming: Incoming) -> http::Response<Body> {
    let method = incoming.method.clone();
    match method.strip_prefix("/csi.v1.").unwrap_or_default() {
        "Identity/GetPluginInfo" => {
            let info = PluginInfo { name: driver.name.clone(), vendor_version: env!("CARGO_PKG_VERSION").to_owned() };
            incoming.answer_with(info).await
        }
        "Identity/GetPluginCapabilities" => incoming.answer_with(capabilities(&[PLUGIN_CONTROLLER_SERVICE])).await,
        "Identity/Probe" => incoming.answer_with(ProbeResponse { ready: Some(true) }).await,
        "Controller/ControllerGetCapabilities" => {
            let numbers = [RPC_CREATE_DELETE_VOLUME, RPC_CREATE_DELETE_SNAPSHOT, RPC_LIST_SNAPSHOTS];
            incoming.answer_with(capabilities(&numbers)).await
        }
        "Controller/CreateSnapshot" => {
            incoming.answer(move |call, asked| async move { driver.create_snapshot(&call, asked).await }).await
        }
        "Controller/DeleteSnapshot" => {
            incoming.answer(move |call, asked| async move { driver.delete_snapshot(&call, asked).await }).await
        }
        "Controller/ListSnapshots" => {
            incoming.answer(move |call, asked| async move { driver.list_snapshots(&call, asked).await }).await
        }
        "Controller/CreateVolume" => {
            incoming.answer(move |call, asked| async move { driver.create_volume(&call, asked).await }).await
        }
        "Controller/DeleteVolume" => {
            incoming.answer(move |call, asked| async move { driver.delete_volume(&call, asked).await }).await
        }
        "Controller/ValidateVolumeCapabilities" => {
            incoming.answer(move |_, asked| async move { driver.validate(asked) }).await
        }
        "Node/NodeGetInfo" => incoming.answer_with(NodeInfo { node_id: driver.node.clone() }).await,
        "Node/NodeGetCapabilities" => incoming.answer_with(Capabilities::default()).await,
        // Nothing is ever published, so it is unpublished already.
        "Node/NodeUnpublishVolume" => incoming.answer_with(Empty {}).await,
        // Group snapshots end here too.
        _ => {
            let status = Status::unimplemented(format!("{method} is not part of this driver"));
            incoming.log.begin("").failed(&status);
            status.into_http()
        }
    }
}

fn capabilities(numbers: &[i32]) -> Capabilities {
    let capability = |number: &i32| Capability { service: Some(CapabilityType { number: *number }) };
    Capabilities { capabilities: numbers.iter().map(capability).collect() }
}

/// A request that has arrived.
struct Incoming {
    method: String,
    log: Log,
    request: http::Request<Body>,
}

impl Incoming {
    /// Answers always the same.
    async fn answer_with(self, answer: impl Message + 'static) -> http::Response<Body> {
        self.answer(|_, _: Empty| async { Ok(answer) }).await
    }

    /// Decodes, calls, encodes.
    ///
    /// The call runs in a task of its own: a caller that gives up must not end it, since no storage cluster would
    /// notice.
    async fn answer<Question, Answer, Running>(
        self,
        serve: impl FnOnce(Call, Question) -> Running + Send + 'static,
    ) -> http::Response<Body>
    where
        Question: Asked,
        Answer: Message + 'static,
        Running: Future<Output = Result<Answer, Status>> + Send + 'static,
    {
        let Self { method, log, request } = self;
        let mut once = Some((serve, method));
        let handler = tower::service_fn(move |request: Request<Question>| {
            let asked = request.into_inner();
            let call = log.begin(asked.request_id());
            let running = once.take().map(|(serve, method)| {
                tokio::spawn(async move { call.run(&method, serve(call.clone(), asked)).await })
            });
            async move {
                let running = running.ok_or_else(|| Status::internal("one request was handed over twice"))?;
                let ended = running.await.map_err(|error| Status::internal(format!("the call did not end: {error}")));
                ended.flatten().map(Response::new)
            }
        });
        Grpc::new(ProstCodec::<Answer, Question>::default()).unary(handler, request).await
    }
}
