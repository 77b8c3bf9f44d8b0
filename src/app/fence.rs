//! Has the fence asked for as long as we lead: when we begin to, and again and again.
//!
//! What it comes to goes to the engine as a fact, which holds what has to be held. It is said in the log once each time it
//! changes. The failure this exists to prevent is a fence that was taken away on Tuesday, and is missed on Friday.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::domain::fact::Fact;
use crate::domain::fence::{AGAIN, EVERY, Fence};
use crate::driver::Clock;
use crate::io::act;
use crate::io::client::Client;

/// Asks until nobody wants to know; why it ended.
pub(super) async fn watch_fence(
    client: Client,
    namespace: String,
    facts: mpsc::Sender<Fact>,
    mut lease: watch::Receiver<Option<Duration>>,
    clock: Clock,
) -> String {
    let ended = || "nobody says any more who leads".to_owned();
    let mut told = None;
    loop {
        if lease.wait_for(Option::is_some).await.is_err() {
            return ended();
        }
        let asked = act::fence::ask(&client, &namespace, &lease, &clock).await;
        let pause = if asked == Some(Fence::Stands) { EVERY } else { AGAIN };
        if let Some(fence) = asked {
            if told.as_ref() != Some(&fence) {
                say(&fence);
                told = Some(fence.clone());
            }
            if facts.send(Fact::Fence(fence)).await.is_err() {
                return "nobody wants to know whether it stands".to_owned();
            }
        }
        tokio::select! {
            () = clock.sleep_until(clock.now().mono + pause) => {}
            // Whoever leads next asks at once, and that may be us.
            lost = lease.wait_for(Option::is_none) => if lost.is_err() { return ended() },
        }
    }
}

fn say(fence: &Fence) {
    match fence {
        Fence::Stands => info!("{}", fence.words()),
        Fence::Missing(_) | Fence::Untold(_) => warn!("{}", fence.words()),
    }
}
