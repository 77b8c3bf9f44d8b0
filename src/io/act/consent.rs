//! What a person decides, written in that person's name: an approval, a pause, and the end of one.
//!
//! Each is one merge patch on the version that was read and shown: whoever approves has seen exactly what is approved.
//! The failure this exists to prevent is a consent that lands on something else than what was looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::send::{Call, send};
use crate::api::{APPROVED, GROUP, VERSION};
use crate::domain::digest::Hash;
use crate::domain::ledger::Record;
use crate::domain::policy::{Pause, Policy};
use crate::io::request::{self, JSON, Refusal, encode};
use crate::io::retention::{self, Entry};
use crate::io::{ledger, policy};

/// Patience for one answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Most that is read of an answer, in bytes.
pub(super) const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A kind of ours, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// `RemediationPolicy`.
    Policy,
    /// `Remediation`.
    Remediation,
    /// `OrphanedSnapshot`.
    Orphan,
    /// `SnapshotRetention`.
    Retention,
    /// `KopiaRepository`; its objects are in namespaces.
    Repository,
}

impl Ours {
    /// Its kind.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Policy => "RemediationPolicy",
            Self::Remediation => "Remediation",
            Self::Orphan => "OrphanedSnapshot",
            Self::Retention => "SnapshotRetention",
            Self::Repository => "KopiaRepository",
        }
    }

    /// Its plural.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Policy => "remediationpolicies",
            Self::Remediation => "remediations",
            Self::Orphan => "orphanedsnapshots",
            Self::Retention => "snapshotretentions",
            Self::Repository => "kopiarepositories",
        }
    }

    pub(super) fn collection(self) -> String {
        format!("/apis/{GROUP}/{VERSION}/{}", self.plural())
    }

    pub(super) fn object(self, name: &str) -> String {
        let mut path = format!("{}/", self.collection());
        encode(&mut path, name);
        path
    }
}

/// Why something could not be read or written, in one line: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The cluster does not know the kind.
    #[error(
        "{plural}.{GROUP} is not installed in this cluster; install it with `kubectl apply -k deploy/base`, or its \
         definition alone with `volwarden crds | kubectl apply -f -`"
    )]
    NotInstalled {
        /// The plural of the kind.
        plural: &'static str,
    },
    /// There is none of this name.
    #[error("there is no {what}; `kubectl get {plural}` lists all")]
    NotFound {
        /// Kind and name.
        what: String,
        /// The plural of the kind.
        plural: &'static str,
    },
    /// Whoever asks may not.
    #[error("this user may not {doing} ({words}); {remedy}")]
    Forbidden {
        /// What was to be done.
        doing: String,
        /// The API server's words.
        words: String,
        /// Who may.
        remedy: &'static str,
    },
    /// Another writer was first.
    #[error(
        "cannot {doing}: somebody else has changed it just now, and nothing was written; look at it and run this again"
    )]
    Conflict {
        /// What was to be done.
        doing: String,
    },
    /// The server does not take it.
    #[error("cannot {doing}: the API server does not take it ({words}); nothing was written")]
    Refused {
        /// What was to be done.
        doing: String,
        /// The API server's words.
        words: String,
    },
    /// No answer that says either.
    #[error("cannot {doing}: {words}; look whether it was done before you run this again")]
    Unanswered {
        /// What was to be done.
        doing: String,
        /// What was said, or that nothing was.
        words: String,
    },
    /// It is there, and this version does not understand it.
    #[error("{what} cannot be read by this version ({words}); use the version that wrote it")]
    Unreadable {
        /// Kind and name.
        what: String,
        /// What is wrong.
        words: String,
    },
}

/// Who may approve and pause.
const APPROVER: &str = "the ClusterRole volwarden-approver has that right";

impl Trouble {
    /// What a refusal means for something of ours.
    pub(super) fn of(refusal: &Refusal, ours: Ours, name: &str, doing: &str) -> Self {
        let what = format!("{} {name}", ours.kind());
        let plural = ours.plural();
        match refusal.code {
            // A kind that is not served is answered without the name of an object.
            Some(StatusCode::NOT_FOUND) if refusal.about.as_deref() != Some(name) || name.is_empty() => {
                Self::NotInstalled { plural }
            }
            Some(StatusCode::NOT_FOUND) => Self::NotFound { what, plural },
            _ => Self::other(refusal, format!("{doing} {what}").trim_end().to_owned(), APPROVER),
        }
    }

    /// What a refusal means, wherever it comes from.
    pub(super) fn other(refusal: &Refusal, doing: String, remedy: &'static str) -> Self {
        let words = refusal.words.to_string();
        match refusal.code {
            Some(StatusCode::CONFLICT) => Self::Conflict { doing },
            Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) | None => {
                Self::Unanswered { doing, words }
            }
            Some(_) if refusal.forbidden() => Self::Forbidden { doing, words, remedy },
            Some(code) if code.is_client_error() => Self::Refused { doing, words },
            Some(_) => Self::Unanswered { doing, words },
        }
    }
}

/// Reads one object of ours.
pub(super) async fn read(client: &Client, ours: Ours, name: &str) -> Result<String, Trouble> {
    // No object has such a name, and a server asked for it would answer about something else.
    if name.is_empty() || name.contains(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))) {
        return Err(Trouble::NotFound { what: format!("{} {name}", ours.kind()), plural: ours.plural() });
    }
    let refused = |refusal: Refusal| Trouble::of(&refusal, ours, name, "read");
    let bytes = request::fetch(client, &ours.object(name), JSON, ANSWER_BYTES, PATIENCE).await.map_err(refused)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lays a patch over one object of ours; the version in it is the precondition.
async fn lay(
    client: &Client,
    (ours, name): (Ours, &str),
    patch: Value,
    (dry, doing): (bool, &str),
) -> Result<String, Trouble> {
    let call = Call::merge(ours.object(name), patch);
    let call = if dry { call.dry() } else { call };
    let bytes = send(client, call, PATIENCE).await.map_err(|refusal| Trouble::of(&refusal, ours, name, doing))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An entry of the ledger.
///
/// # Errors
/// It is not there, or cannot be read.
pub async fn remediation(client: &Client, name: &str) -> Result<Record, Trouble> {
    recorded(name, &read(client, Ours::Remediation, name).await?)
}

fn recorded(name: &str, json: &str) -> Result<Record, Trouble> {
    let what = || format!("Remediation {name}");
    ledger::record(json).map_err(|error| Trouble::Unreadable { what: what(), words: error.to_string() })
}

/// Writes the hash that approves a plan onto its entry, or takes it away; the entry as it is then.
///
/// # Errors
/// It was changed since it was read, or cannot be written.
pub async fn approve(client: &Client, record: &Record, hash: Option<&Hash>, dry: bool) -> Result<Record, Trouble> {
    let annotations = json!({(APPROVED): hash.map(Hash::as_str)});
    let patch = json!({"metadata": {"resourceVersion": &*record.version, "annotations": annotations}});
    let json = lay(client, (Ours::Remediation, &record.name), patch, (dry, "approve")).await?;
    recorded(&record.name, &json)
}

/// A SnapshotRetention.
///
/// # Errors
/// It is not there, or cannot be read.
pub async fn retention(client: &Client, name: &str) -> Result<Entry, Trouble> {
    entry(name, &read(client, Ours::Retention, name).await?)
}

fn entry(name: &str, json: &str) -> Result<Entry, Trouble> {
    let unreadable = || Trouble::Unreadable {
        what: format!("SnapshotRetention {name}"),
        words: "it is no object of an API server's".to_owned(),
    };
    retention::read(json).ok_or_else(unreadable)
}

/// Writes the hashes that are approved onto a SnapshotRetention; the policy as it is then.
///
/// # Errors
/// It was changed since it was read, or cannot be written.
pub async fn approve_retention(
    client: &Client,
    policy: &Entry,
    hashes: &BTreeSet<Hash>,
    dry: bool,
) -> Result<Entry, Trouble> {
    let name = policy.pruning.name();
    let all: Vec<&str> = hashes.iter().map(Hash::as_str).collect();
    let value = (!all.is_empty()).then(|| all.join(","));
    let patch = json!({"metadata": {"resourceVersion": &*policy.version, "annotations": {(APPROVED): value}}});
    entry(name, &lay(client, (Ours::Retention, name), patch, (dry, "approve")).await?)
}

/// Every SnapshotRetention of the cluster, by name.
///
/// # Errors
/// They cannot be read.
pub async fn retentions(client: &Client) -> Result<Vec<Entry>, Trouble> {
    let all = list(client, Ours::Retention).await?;
    let mut all: Vec<Entry> = all.iter().filter_map(|item| retention::read(item.get())).collect();
    all.sort_by(|one, two| one.pruning.name().cmp(two.pruning.name()));
    Ok(all)
}

/// Pauses a SnapshotRetention, or resumes it.
///
/// # Errors
/// It was changed since it was read, or cannot be written.
pub async fn pause_retention(client: &Client, policy: &Entry, pause: Option<&Pause>, dry: bool) -> Result<(), Trouble> {
    let patch = paused(&policy.version, pause);
    let doing = if pause.is_some() { "pause" } else { "resume" };
    lay(client, (Ours::Retention, policy.pruning.name()), patch, (dry, doing)).await.map(drop)
}

fn paused(version: &str, pause: Option<&Pause>) -> Value {
    let said = pause.map(|pause| json!({"reason": &*pause.reason, "until": pause.until}));
    json!({"metadata": {"resourceVersion": version}, "spec": {"pause": said}})
}

/// Every policy of the cluster, by name.
///
/// # Errors
/// They cannot be read.
pub async fn policies(client: &Client) -> Result<Vec<Policy>, Trouble> {
    #[derive(Deserialize)]
    struct Name {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    let mut policies = Vec::new();
    for item in list(client, Ours::Policy).await? {
        let unreadable = |error: serde_json::Error| Trouble::Unreadable {
            what: "a RemediationPolicy".to_owned(),
            words: error.to_string(),
        };
        let name = serde_json::from_str::<Name>(item.get()).map_err(unreadable)?.metadata.name;
        policies.push(policy::read(&name, item.get()));
    }
    policies.sort_by(|one, two| one.name().cmp(two.name()));
    Ok(policies)
}

/// Every object of a kind of ours.
pub(super) async fn list(client: &Client, ours: Ours) -> Result<Vec<Box<RawValue>>, Trouble> {
    #[derive(Deserialize)]
    struct List {
        items: Option<Vec<Box<RawValue>>>,
    }
    let refused = |refusal: Refusal| match refusal.code {
        Some(StatusCode::NOT_FOUND) => Trouble::NotInstalled { plural: ours.plural() },
        _ => Trouble::other(&refusal, format!("list {}", ours.plural()), APPROVER),
    };
    let bytes = request::fetch(client, &ours.collection(), JSON, ANSWER_BYTES, PATIENCE).await.map_err(refused)?;
    Ok(request::parse::<List>(&bytes).map_err(refused)?.items.unwrap_or_default())
}

/// Pauses a policy, or resumes it.
///
/// # Errors
/// It was changed since it was read, or cannot be written.
pub async fn pause(client: &Client, policy: &Policy, pause: Option<&Pause>, dry: bool) -> Result<(), Trouble> {
    let doing = if pause.is_some() { "pause" } else { "resume" };
    let patch = paused(&policy.told().version, pause);
    lay(client, (Ours::Policy, policy.name()), patch, (dry, doing)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::foreign::{Status, StatusDetails};

    fn refused(code: u16, about: Option<&str>) -> Refusal {
        let details = about.map(|name| StatusDetails { name: Some(name.to_owned()) });
        let status = Status { message: Some("said".to_owned()), details, ..Status::default() };
        Refusal::from_status(StatusCode::from_u16(code).unwrap(), status)
    }

    #[test]
    fn each_trouble_says_what_where_and_what_to_do() {
        for (refusal, words) in [
            (refused(404, None), "remediations.volwarden.dev is not installed in this cluster; install it with"),
            (refused(404, Some("x")), "there is no Remediation x; `kubectl get remediations` lists all"),
            (refused(403, Some("x")), "this user may not approve Remediation x (403: said); the ClusterRole"),
            (refused(409, Some("x")), "cannot approve Remediation x: somebody else has changed it just now"),
            (refused(422, Some("x")), "cannot approve Remediation x: the API server does not take it (422: said)"),
            (refused(429, None), "cannot approve Remediation x: 429: said; look whether it was done"),
            (refused(500, None), "cannot approve Remediation x: 500: said; look whether it was done"),
            (Refusal::silent("reset"), "cannot approve Remediation x: reset; look whether it was done"),
        ] {
            let said = Trouble::of(&refusal, Ours::Remediation, "x", "approve").to_string();
            assert!(said.starts_with(words), "{said}");
        }
    }

    #[test]
    fn a_name_cannot_become_another_path() {
        assert_eq!(Ours::Remediation.object("../pods?x"), "/apis/volwarden.dev/v1alpha1/remediations/..%2Fpods%3Fx");
    }
}
