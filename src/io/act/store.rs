//! The ledger and the orphan ledger as they are stored: created once, then their status patched on its version.
//!
//! A status is a subresource: what a creation says of it is dropped, so an entry is two writes. One that ends
//! between them has no status, and is read as an episode in which nothing was tried.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use crate::api::orphan::OrphanPhase;
use crate::api::{GROUP, VERSION};
use crate::domain::ledger::Record;
use crate::domain::remedy::action::Orphan;
use crate::io::request::{self, JSON, Refusal};
use crate::io::{ledger, orphan as entries};

use super::send::{Call, send};

/// Most that is read of an entry, in bytes.
const ENTRY_BYTES: usize = 4 * 1024 * 1024;

/// Writes entries.
pub(super) struct Store {
    client: Client,
}

/// What every answer has.
#[derive(Debug, Deserialize)]
struct Answer {
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Box<str>,
    #[serde(default)]
    generation: Option<i64>,
    creation_timestamp: Timestamp,
    #[serde(default)]
    uid: Box<str>,
}

fn path(plural: &str, name: &str) -> String {
    format!("/apis/{GROUP}/{VERSION}/{plural}/{name}")
}

fn collection(plural: &str) -> String {
    format!("/apis/{GROUP}/{VERSION}/{plural}")
}

const REMEDIATIONS: &str = "remediations";
const ORPHANS: &str = "orphanedsnapshots";
/// A spec of ours never changes.
const GENERATION: i64 = 1;

impl Store {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Stores an entry of the ledger; its new version.
    pub(super) async fn record(&self, record: &Record, patience: Duration) -> Result<Box<str>, Arc<str>> {
        self.write_record(record, patience).await.map_err(|refusal| refusal.words)
    }

    async fn write_record(&self, record: &Record, patience: Duration) -> Result<Box<str>, Refusal> {
        let mut record = record.clone();
        if record.version.is_empty() {
            let call = Call::create(collection(REMEDIATIONS), ledger::created(&record));
            record.version = self.answered(call, patience).await?.resource_version;
        }
        let uri = format!("{}/status", path(REMEDIATIONS, &record.name));
        let call = Call::merge(uri, ledger::status(&record, GENERATION));
        Ok(self.answered(call, patience).await?.resource_version)
    }

    async fn answered(&self, call: Call, patience: Duration) -> Result<Metadata, Refusal> {
        let bytes = send(&self.client, call, patience).await?;
        Ok(request::parse::<Answer>(&bytes)?.metadata)
    }

    /// Deletes an entry of the ledger that nothing counts any more.
    pub(super) async fn forget(&self, name: &str, patience: Duration) -> Result<(), Arc<str>> {
        let found = match self.read(REMEDIATIONS, name, patience).await {
            Ok(found) => found,
            Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => return Ok(()),
            Err(refusal) => return Err(refusal.words),
        };
        let preconditions = json!({"uid": &*found.uid, "resourceVersion": &*found.resource_version});
        let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
        let call = Call { method: Method::DELETE, uri: path(REMEDIATIONS, name), content: JSON, body };
        send(&self.client, call, patience).await.map(drop).map_err(|refusal| refusal.words)
    }

    async fn read(&self, plural: &str, name: &str, patience: Duration) -> Result<Metadata, Refusal> {
        let bytes = request::fetch(&self.client, &path(plural, name), JSON, ENTRY_BYTES, patience).await?;
        Ok(request::parse::<Answer>(&bytes)?.metadata)
    }

    /// Enters what is about to be left behind.
    pub(super) async fn announce(
        &self,
        orphan: &Orphan,
        record: &str,
        now: Timestamp,
        patience: Duration,
    ) -> Result<(), Arc<str>> {
        let call = Call::create(collection(ORPHANS), entries::created(orphan, record));
        let found = match self.answered(call, patience).await {
            // One of this content's stands there already: the name is made of its uid.
            Err(refusal) if refusal.is(StatusCode::CONFLICT) => return Ok(()),
            other => other.map_err(|refusal| refusal.words)?,
        };
        let words = "the content still holds the handle";
        self.phase(orphan, &found, OrphanPhase::Announced, words, now, patience).await.map_err(|refusal| refusal.words)
    }

    /// The content has let go: what was announced is so.
    pub(super) async fn orphaned(&self, orphan: &Orphan, now: Timestamp, patience: Duration) {
        let words =
            "nothing in the cluster holds the handle any more; `volwarden orphans reclaim` lets the driver delete it";
        let written = async {
            let found = self.read(ORPHANS, &orphan.name(), patience).await?;
            self.phase(orphan, &found, OrphanPhase::Orphaned, words, now, patience).await
        };
        if let Err(refusal) = written.await {
            warn!(orphan = orphan.name(), %refusal, "the entry stands, and its phase could not be written");
        }
    }

    async fn phase(
        &self,
        orphan: &Orphan,
        found: &Metadata,
        phase: OrphanPhase,
        words: &str,
        now: Timestamp,
        patience: Duration,
    ) -> Result<(), Refusal> {
        let entry = entries::Entry {
            version: &found.resource_version,
            generation: found.generation.unwrap_or(GENERATION),
            created: found.creation_timestamp,
        };
        let patch: Value = entries::status(&entry, phase, words, now);
        let uri = format!("{}/status", path(ORPHANS, &orphan.name()));
        send(&self.client, Call::merge(uri, patch), patience).await.map(drop)
    }
}
