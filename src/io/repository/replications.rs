//! VolSync's ReplicationSources, as far as they tell which sources of a repository are this cluster's own.
//!
//! They are listed when a Job is made that deletes snapshots or sets policies, and not kept: what decides is when each last synchronised, and
//! that moves. What cannot be listed makes no Job; a time that cannot be read shows nothing.

use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;

use super::Unread;
use super::rivals::{Object, each, key};
use crate::domain::fact::Source;
use crate::domain::repository::own::{self, Candidate, Replication};
use crate::domain::timing::go_duration;
use crate::io::source::Place;

/// More sources than these do not fit into a Job.
const MOST: usize = 2000;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    kopia: Option<Kopia>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kopia {
    username: Option<String>,
    hostname: Option<String>,
    source_path_override: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(rename = "lastSyncTime")]
    synced: Option<String>,
    #[serde(rename = "lastSyncDuration")]
    took: Option<String>,
    #[serde(rename = "lastSyncStartTime")]
    since: Option<String>,
}

/// The sources that may be this cluster's, as its ReplicationSources are now; none where VolSync is not installed.
///
/// # Errors
/// They cannot be listed, or are too many.
pub async fn candidates(client: &Client, now: Timestamp) -> Result<Vec<Candidate>, Unread> {
    let what = "ReplicationSources, of which this cluster's own sources are told";
    let all: Vec<Object<Spec, Option<Status>>> = each(client, Place::of(Source::ReplicationSources), what).await?;
    let all: Vec<Replication> = all.into_iter().filter_map(replication).collect();
    let found = own::candidates(&all, now);
    if found.len() > MOST {
        let words = format!("{} back up with kopia, and a Job takes {MOST}", found.len());
        return Err(Unread { what: what.to_owned(), words });
    }
    Ok(found)
}

fn replication(one: Object<Spec, Option<Status>>) -> Option<Replication> {
    let kopia = one.spec.kopia?;
    let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let Status { synced, took, since } = &one.status.unwrap_or_default();
    Some(Replication {
        key: key(&one.metadata),
        username: kopia.username,
        hostname: kopia.hostname,
        path: kopia.source_path_override,
        synced: time(synced),
        took: took.as_deref().and_then(go_duration).unwrap_or_default(),
        since: time(since),
    })
}
