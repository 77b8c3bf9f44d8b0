//! `volwarden run`: the daemon.
//!
//! A cluster that is unreachable or refuses does not end it: it says so on `/readyz` and goes on trying. Only
//! what no waiting can mend (a kubeconfig that cannot be read, an address that is taken) does.

use tokio::runtime::Runtime;

use super::{CliError, Outcome};
use crate::app;
use crate::config::Settings;

pub(super) fn run(runtime: &Runtime, settings: &Settings) -> Result<Outcome, CliError> {
    let stop = app::stop_signal()?;
    runtime.block_on(app::serve(settings, stop))?;
    Ok(Outcome::Clean)
}
