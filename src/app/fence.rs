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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::domain::fence::Part;
    use crate::io::tests::{Told, ok, server};

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_by_who_begins_to_lead_again_while_it_stands_and_sooner_while_it_does_not() {
        let stands = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&stands);
        let (client, book) = server(move |_| {
            let said: Vec<&str> = Part::ALL.map(Part::refusal).to_vec();
            let body = json!({"message": said.join("; "), "reason": "Invalid", "code": 422});
            if told.load(Ordering::Relaxed) { Told { code: 422, ..ok(body) } } else { ok(json!({})) }
        });
        let (facts, mut heard) = mpsc::channel(8);
        let (lease, until) = watch::channel(None);
        tokio::spawn(watch_fence(client, "home".to_owned(), facts, until, Clock::start()));
        let asked = || book.all().len() / Part::ALL.len();
        sleep(EVERY * 2).await;
        assert_eq!(asked(), 0, "who does not lead asks nothing");
        lease.send_replace(Some(Duration::MAX));
        assert!(matches!(heard.recv().await, Some(Fact::Fence(Fence::Stands))));
        sleep(EVERY.saturating_sub(Duration::from_secs(1))).await;
        assert_eq!(asked(), 1);
        stands.store(false, Ordering::Relaxed);
        assert!(matches!(heard.recv().await, Some(Fact::Fence(Fence::Missing(_)))));
        assert_eq!(asked(), 2);
        stands.store(true, Ordering::Relaxed);
        sleep(AGAIN + Duration::from_secs(1)).await;
        assert!(matches!(heard.recv().await, Some(Fact::Fence(Fence::Stands))));
        // It is lost and won again.
        lease.send_replace(None);
        advance(Duration::from_secs(1)).await;
        sleep(Duration::from_secs(1)).await;
        lease.send_replace(Some(Duration::MAX));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(asked(), 4, "whoever begins to lead asks at once");
    }
}
