//! The CSI driver of Volwarden's test stack: a controller whose volumes and snapshots are plain files.
//!
//! It is a real backend as far as csi-snapshotter can tell: what it holds outlives it, its operations hold locks as
//! ceph-csi's do, and its folder says what exists whatever Kubernetes believes. On top of that it fails on demand
//! (see [`faults`]). It mounts nothing: there is no kubelet in the stack.
#![forbid(unsafe_code)]

mod driver;
mod faults;
mod locks;
mod service;
mod store;
mod wire;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;

const USAGE: &str = "usage: csi-driver --name DRIVER --socket PATH --state FOLDER";

/// What the command line says.
struct Arguments {
    name: String,
    socket: PathBuf,
    state: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut name, mut socket, mut state) = (None, None, None);
        while let Some(word) = words.next() {
            let place = match word.as_str() {
                "--name" => &mut name,
                "--socket" => &mut socket,
                "--state" => &mut state,
                other => return Err(format!("unknown argument {other}; {USAGE}")),
            };
            *place = Some(words.next().ok_or_else(|| format!("{word} needs a value; {USAGE}"))?);
        }
        match (name, socket, state) {
            (Some(name), Some(socket), Some(state)) => Ok(Self { name, socket: socket.into(), state: state.into() }),
            _ => Err(USAGE.to_owned()),
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let store = store::Store::open(&arguments.state)?;
    // A socket file that a killed predecessor left behind would make bind fail.
    if arguments.socket.exists() {
        std::fs::remove_file(&arguments.socket)?;
    }
    let listener = UnixListener::bind(&arguments.socket)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let driver = Arc::new(driver::Driver::new(arguments.name, store, faults::Faults::in_folder(&arguments.state)));
    eprintln!("serving on {}", arguments.socket.display());
    let server = tonic::transport::Server::builder()
        .serve_with_incoming(service::Csi::new(driver), UnixListenerStream::new(listener));
    // A hung operation must not keep a terminated driver alive, so there is no graceful shutdown.
    tokio::select! {
        outcome = server => outcome?,
        _ = terminate.recv() => eprintln!("terminated"),
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome = Arguments::parse(std::env::args().skip(1)).map_err(Into::into).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(serve(arguments));
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("csi-driver: {error}");
            ExitCode::FAILURE
        }
    }
}
