//! `volwarden run`: the daemon.
//!
//! A cluster that is unreachable or refuses does not end it: it says so on `/readyz` and goes on trying. Only
//! what no waiting can mend (a kubeconfig that cannot be read, an address that is taken) does.

use tokio::runtime::Runtime;

use super::{CliError, Outcome};
use crate::app;
use crate::config::Settings;
use crate::telemetry::Exporter;

pub(super) fn run(runtime: &Runtime, settings: &Settings) -> Result<Outcome, CliError> {
    let exporter = Exporter::install()?;
    let stop = app::stop_signal()?;
    runtime.block_on(app::serve(settings, exporter, stop))?;
    Ok(Outcome::Clean)
}
