//! What changes at the API server: a list, then a watch from there on, and both anew whenever the watch breaks.
//!
//! A list names everything there is, so that the receiver learns of what vanished while no watch was open.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use tokio::sync::mpsc;

use crate::api::{CallError, PAUSE, call};

/// A watch that says nothing for longer than the server keeps one open (290 s) is dead.
const DEAD: Duration = Duration::from_secs(300);

/// One thing that happened.
pub enum Event<K> {
    /// All that exists.
    Listed(Vec<K>),
    /// Something is new or has changed.
    Changed(K),
    /// Something is gone.
    Gone(K),
}

/// The events of all objects with these fields.
pub fn objects<K>(api: Api<K>, fields: String) -> mpsc::Receiver<Event<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let (events, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while !events.is_closed() {
            if let Err(error) = follow(&api, &fields, &events).await {
                eprintln!("the watch of {fields} broke: {error}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    receiver
}

async fn follow<K>(api: &Api<K>, fields: &str, events: &mpsc::Sender<Event<K>>) -> Result<(), CallError>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let list = call(api.list(&ListParams::default().fields(fields))).await?;
    let mut version = list.metadata.resource_version.unwrap_or_default();
    if events.send(Event::Listed(list.items)).await.is_err() {
        return Ok(());
    }
    loop {
        let mut stream = call(api.watch(&WatchParams::default().fields(fields), &version)).await?.boxed();
        while let Ok(Some(event)) = tokio::time::timeout(DEAD, stream.next()).await {
            let event = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.meta().resource_version.clone().unwrap_or(version);
                    Event::Changed(object)
                }
                WatchEvent::Deleted(object) => {
                    version = object.meta().resource_version.clone().unwrap_or(version);
                    Event::Gone(object)
                }
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            };
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
    }
}
