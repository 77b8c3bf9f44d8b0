//! The kubelet of Volwarden's test stack: a node of a real Kubernetes control plane whose containers are processes.
//!
//! There is no container engine and no network of pods. A container is a process with a host name and a file system of
//! its own, on the addresses of the machine; see [`launch`]. The node behaves as kubelet's does as far as its API can
//! tell: phases, states, restarts with their back-off, deletion with its grace, logs.
//!
//! What it has not: probes, hooks, events, resource limits, users (`runAsUser`), block volumes, CSI volumes, live updates
//! of Secrets and ConfigMaps, `kubectl exec` and `port-forward`. What differs: SIGTERM goes to all processes of a
//! container, none of which is pid 1, so that it ends even one that has no handler for it; a volume that cannot be
//! mounted is told in the container's status, not by an event; a pod that vanishes is killed without grace. When the
//! kubelet dies, its containers' first processes die with it.
#![forbid(unsafe_code)]

mod api;
mod backoff;
mod conditions;
mod config;
mod container;
mod downward;
mod environment;
mod expand;
mod failure;
mod files;
mod fit;
mod images;
mod launch;
mod log_query;
mod logs;
mod machine;
mod node;
mod pod;
mod pods;
mod prepare;
mod run;
mod scheduler;
mod server;
mod status;
mod tls;
mod volumes;
mod watch;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::images::Images;
use crate::logs::Logs;
use crate::machine::{Machine, Pods, Processes};
use crate::node::Identity;
use crate::scheduler::Owners;

/// How long killed containers may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the pods of one node as plain processes of this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// The node's name.
    #[arg(long)]
    node: String,
    /// How to reach the API server.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Where pods, logs and `running/NAMESPACE_POD_CONTAINER` are kept.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// The port of loopback that logs are served on.
    #[arg(long)]
    port: u16,
    /// The certificate shown there.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The authority whose clients are served.
    #[arg(long, value_name = "FILE")]
    client_ca: PathBuf,
    /// A JSON object from image repositories to the programs that they stand for.
    #[arg(long, value_name = "FILE")]
    images: PathBuf,
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    std::fs::create_dir_all(&arguments.folder)?;
    let folder = arguments.folder.canonicalize()?;
    let acceptor = tls::acceptor(&arguments.certificate, &arguments.key, &arguments.client_ca)?;
    let listener = tls::Listener::bind(arguments.port, acceptor).await?;
    let (client, service) = api::connect(&arguments.kubeconfig).await?;
    let machine = Machine {
        client: client.clone(),
        node: arguments.node.clone(),
        images: Images::in_file(&arguments.images),
        logs: Logs::in_folder(&folder.join("logs")),
        service,
        pods: Pods::default(),
        processes: Processes::in_folder(&folder.join("running"))?,
        folder,
    };
    let processes = machine.processes.clone();
    let owners = Owners::default();
    let (known, node) = tokio::sync::watch::channel(None);
    tokio::spawn(node::keep(client.clone(), Identity { name: arguments.node.clone(), port: arguments.port }, known));
    tokio::spawn(scheduler::offer(client, arguments.node, node, owners.clone()));
    let server = axum::serve(listener, server::routes(machine.clone()));
    tokio::select! {
        outcome = server => outcome?,
        () = pods::run(machine, owners) => {}
        _ = terminate.recv() => eprintln!("terminated"),
        _ = interrupt.recv() => eprintln!("interrupted"),
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while !processes.kill() && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // There is none yet, or it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread: a container dies with the thread that started it, which must not end before the kubelet does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubelet: {error}");
            ExitCode::FAILURE
        }
    }
}
