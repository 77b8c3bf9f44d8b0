//! The CSI driver of Volwarden's test stack: a controller whose volumes and snapshots are plain files, and which to
//! csi-snapshotter, csi-provisioner and a reader of its log looks like ceph-csi's RBD driver.
//!
//! It is a real backend as far as the sidecars can tell: what it holds outlives it, its operations hold locks as
//! ceph-csi's do, and its folder says what exists whatever Kubernetes believes. On top of that it fails on demand
//! (see [`faults`]). It attaches and mounts nothing, and group snapshots are not part of it.

mod arguments;
mod driver;
mod faults;
mod handle;
mod locks;
mod log;
mod secrets;
mod service;
mod store;
mod wire;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;

use crate::arguments::Arguments;
use crate::driver::Driver;
use crate::log::Log;
use crate::service::Csi;

async fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let driver = Arc::new(Driver::new(&arguments)?);
    let socket = &arguments.endpoint;
    // A socket file that a killed predecessor left behind would make bind fail.
    if socket.exists() {
        std::fs::remove_file(socket)?;
    }
    let listener =
        UnixListener::bind(socket).map_err(|error| format!("cannot listen on {}: {error}", socket.display()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    Log::info(&format!("Listening for connections on address: {}", socket.display()));
    let server = tonic::transport::Server::builder()
        .serve_with_incoming(Csi::new(driver, Log::new(arguments.verbosity)), UnixListenerStream::new(listener));
    // A hung operation must not keep a terminated driver alive, so there is no graceful shutdown.
    tokio::select! {
        outcome = server => outcome?,
        _ = terminate.recv() => Log::info("terminated"),
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = outcome.map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(serve(arguments));
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Log::fatal(&format!("csi-driver: {error}"));
            ExitCode::FAILURE
        }
    }
}
