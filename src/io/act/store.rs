//! The ledger and the orphan ledger as they are stored: created once, then their status patched on its version.
//!
//! A status is a subresource: what a creation says of it is dropped, so an entry is two writes. One that ends
//! between them has no status, and is read as an episode in which nothing was tried.

use http::{Method, StatusCode};
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::orphan::OrphanPhase;
use crate::domain::ledger::Record;
use crate::domain::remedy::action::{ACT, Orphan};
use crate::io::ledger::GENERATION;
use crate::io::request::{self, JSON, Refusal};
use crate::io::{ledger, orphan as entries};

use super::consent::Ours;
use super::send::{Call, send};

/// Most that is read of an entry, in bytes.
const ENTRY_BYTES: usize = 4 * 1024 * 1024;

/// Writes entries.
pub(super) struct Store {
    client: Client,
}

/// What every answer has, and the phase of an entry of the orphan ledger.
#[derive(Debug, Deserialize)]
struct Answer {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: Option<Box<str>>,
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

impl Store {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Stores an entry of the ledger; its new version.
    pub(super) async fn record(&self, record: &Record) -> Result<Box<str>, Refusal> {
        let mut record = record.clone();
        if record.version.is_empty() {
            let call = Call::create(Ours::Remediation.collection(), ledger::created(&record));
            record.version = self.answered(call).await?.resource_version;
        }
        let uri = format!("{}/status", Ours::Remediation.object(&record.name));
        let call = Call::merge(uri, ledger::status(&record, GENERATION));
        Ok(self.answered(call).await?.resource_version)
    }

    async fn answered(&self, call: Call) -> Result<Metadata, Refusal> {
        let bytes = send(&self.client, call, ACT).await?;
        Ok(request::parse::<Answer>(&bytes)?.metadata)
    }

    /// Deletes an entry of the ledger that nothing counts any more.
    pub(super) async fn forget(&self, name: &str) -> Result<(), Refusal> {
        let found = match self.read(Ours::Remediation, name).await {
            Err(refusal) if refusal.is(StatusCode::NOT_FOUND) => return Ok(()),
            found => found?,
        };
        let preconditions = json!({"uid": &*found.uid, "resourceVersion": &*found.resource_version});
        let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
        let call = Call { method: Method::DELETE, uri: Ours::Remediation.object(name), content: JSON, body };
        send(&self.client, call, ACT).await.map(drop)
    }

    async fn read(&self, ours: Ours, name: &str) -> Result<Metadata, Refusal> {
        Ok(self.whole(ours, name).await?.metadata)
    }

    async fn whole(&self, ours: Ours, name: &str) -> Result<Answer, Refusal> {
        let bytes = request::fetch(&self.client, &ours.object(name), JSON, ENTRY_BYTES, ACT).await?;
        request::parse(&bytes)
    }

    /// Enters what is about to be left behind.
    pub(super) async fn announce(&self, orphan: &Orphan, record: &str, now: Timestamp) -> Result<(), Refusal> {
        let call = Call::create(Ours::Orphan.collection(), entries::created(orphan, record));
        let found = match self.answered(call).await {
            // One of this content's stands there already, its name is made of the content's uid: it may have been
            // withdrawn since, and is announced anew.
            Err(refusal) if refusal.is(StatusCode::CONFLICT) => self.read(Ours::Orphan, &orphan.name()).await?,
            found => found?,
        };
        self.phase(&orphan.name(), &found, OrphanPhase::Announced, "the content still holds the handle", now).await
    }

    /// The content has let go: what was announced under this name is so. One that has come further stays as it is.
    pub(super) async fn orphaned(&self, name: &str, now: Timestamp) -> Result<(), Refusal> {
        let words =
            "nothing in the cluster holds the handle any more; `volwarden orphans reclaim` lets the driver delete it";
        let found = self.whole(Ours::Orphan, name).await?;
        if found.status.phase.is_some_and(|phase| &*phase != "Announced") {
            return Ok(());
        }
        self.phase(name, &found.metadata, OrphanPhase::Orphaned, words, now).await
    }

    async fn phase(
        &self,
        name: &str,
        found: &Metadata,
        phase: OrphanPhase,
        words: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let entry = entries::Entry {
            version: &found.resource_version,
            generation: found.generation.unwrap_or(GENERATION),
            created: found.creation_timestamp,
        };
        let patch: Value = entries::status(&entry, phase, words, now);
        let uri = format!("{}/status", Ours::Orphan.object(name));
        send(&self.client, Call::merge(uri, patch), ACT).await.map(drop)
    }
}
