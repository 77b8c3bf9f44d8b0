//! A KopiaRepository of a cluster: what the daemon says of it, and what is asked of the daemon.
//!
//! What the object does not carry is said and not guessed. Asking is no doing: a request that was written is told as
//! that, and as done only when the daemon has recorded what came of it.

mod request;
mod view;

use std::time::Duration;

use super::super::{CliError, Format, Outcome};
use super::AskArgs;
use crate::app::consent;
use crate::config::Settings;
use crate::domain::name::Key;
use crate::domain::repository::Task;

/// What is to be done.
pub(super) enum Order {
    /// Tell all of it.
    Status,
    /// Tell what is backed up.
    Sources,
    /// Tell which policies are kept set, and which snapshots may go.
    Policy,
    /// Ask for a task.
    Ask {
        /// Which.
        task: Task,
        /// Wait so long for its end.
        wait: Option<Duration>,
        /// Only try whether it could be asked for.
        dry: bool,
    },
}

impl Order {
    pub(super) fn ask(task: Task, args: &AskArgs, timeout: Duration) -> Self {
        Self::Ask { task, wait: args.wait.then_some(timeout), dry: args.dry.is_dry() }
    }
}

/// Does it.
pub(super) async fn run(
    settings: &Settings,
    (namespace, name): (Option<&str>, &str),
    order: &Order,
    format: Format,
) -> Result<Outcome, CliError> {
    let hand = consent::reach(settings).await?;
    let key = Key::namespaced(namespace.unwrap_or(hand.namespace()), name);
    let entry = hand.repository(&key).await?;
    match order {
        Order::Status => {
            let workers = hand.workers(&entry).await;
            view::status(&entry, &workers, &hand.held(&entry), hand.now(), format)
        }
        Order::Sources => view::sources(&entry, hand.now(), format),
        Order::Policy => view::policy(&entry, hand.now(), format),
        Order::Ask { task, wait, dry } => request::ask(&hand, entry, *task, (*wait, *dry), format).await,
    }
}
