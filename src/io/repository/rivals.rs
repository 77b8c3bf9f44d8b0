//! Other managers of kopia repositories in this cluster: VolSync's KopiaMaintenance, kopiur's Maintenance, and Velero.
//!
//! Each of them makes itself the owner, or refuses to work beside one. Two that maintain at the same time can damage a
//! repository, so while one of them is at work on ours nothing of ours writes to it; and what cannot be read of them is no
//! proof that there is none.

use kube::Client;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Entry, LIMIT, Metadata, PATIENCE, Unread};
use crate::domain::fact::Source;
use crate::domain::name::Key;
use crate::io::request::{self, JSON, Refusal};
use crate::io::source::{Found, Place, discover};

const KOPIUR: &str = "kopiur.home-operations.com";
const KOPIUR_VERSIONS: &[&str] = &["v1alpha1"];
const MAINTENANCES: Place = Place::custom(KOPIUR, KOPIUR_VERSIONS, "maintenances");
const REPOSITORIES: Place = Place::custom(KOPIUR, KOPIUR_VERSIONS, "repositories");
const CLUSTER_REPOSITORIES: Place = Place::custom(KOPIUR, KOPIUR_VERSIONS, "clusterrepositories");
const BACKUP_REPOSITORIES: Place = Place::custom("velero.io", &["v1"], "backuprepositories");
/// As whom Velero maintains, in every cluster.
const VELERO: &str = "default@default";

/// By what another manager's repository is known to be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
enum By {
    /// It goes by this Secret.
    Secret(Key),
    /// It has this unique ID.
    UniqueId(String),
    /// Kopia's owner of it is this one: its objects tell nothing of where it is.
    Owner(&'static str),
}

/// Another manager that is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    words: String,
    by: By,
}

impl Rival {
    /// In words, if it serves the repository of this KopiaRepository.
    #[must_use]
    pub fn of(&self, entry: &Entry) -> Option<String> {
        let same = match &self.by {
            By::Secret(secret) => entry.spec.as_ref().is_some_and(|spec| {
                secret.namespace == entry.custody.key().namespace && *secret.name == *spec.secret_ref.name
            }),
            By::UniqueId(id) => entry.told.unique_id.as_deref() == Some(id.as_str()),
            By::Owner(owner) => entry.told.seen.as_ref().and_then(|seen| seen.owner.as_deref()) == Some(*owner),
        };
        same.then(|| self.words.clone())
    }
}

/// Every other manager at work; none of a kind that is not installed.
///
/// # Errors
/// They cannot be listed.
pub async fn rivals(client: &Client) -> Result<Vec<Rival>, Unread> {
    let mut all = volsync(client).await?;
    all.extend(kopiur(client).await?);
    all.extend(velero(client).await?);
    Ok(all)
}

/// The objects of a kind; none where discovery says that it is not installed. A 404 out of the blue, as a proxy gives it,
/// would let two managers work.
pub(super) async fn each<T: DeserializeOwned>(client: &Client, place: Place, what: &str) -> Result<Vec<T>, Unread> {
    #[derive(Deserialize)]
    struct List<T> {
        items: Option<Vec<T>>,
    }
    let unread = |refusal: Refusal| Unread::new(what, &refusal);
    let path = match discover(client, place).await.map_err(unread)? {
        Found::At(path) => path,
        Found::NotInstalled => return Ok(Vec::new()),
    };
    let bytes = request::fetch(client, &path, JSON, LIMIT, PATIENCE).await.map_err(unread)?;
    let list: List<T> = request::parse(&bytes).map_err(unread)?;
    Ok(list.items.unwrap_or_default())
}

/// An object, as far as it is read.
#[derive(Deserialize)]
#[serde(bound(deserialize = "Spec: Default + Deserialize<'de>, Status: Default + Deserialize<'de>"))]
pub(super) struct Object<Spec, Status = IgnoredAny> {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: Spec,
    #[serde(default)]
    pub(super) status: Status,
}

pub(super) fn key(metadata: &Metadata) -> Key {
    Key::namespaced(&*metadata.namespace, metadata.name.clone())
}

/// A KopiaMaintenance takes ownership at each of its runs.
async fn volsync(client: &Client) -> Result<Vec<Rival>, Unread> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Spec {
        enabled: Option<bool>,
        suspend: Option<bool>,
        repository: Option<Named>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        repository: Option<String>,
    }
    let all: Vec<Object<Spec>> = each(client, Place::of(Source::KopiaMaintenances), "KopiaMaintenances").await?;
    let at_work = |one: &Object<Spec>| one.spec.enabled != Some(false) && one.spec.suspend != Some(true);
    let rival = |one: Object<Spec>| {
        let secret = one.spec.repository.and_then(|named| named.repository).unwrap_or_default();
        let words = format!("KopiaMaintenance {}", key(&one.metadata));
        Rival { words, by: By::Secret(Key::namespaced(&*one.metadata.namespace, secret)) }
    };
    Ok(all.into_iter().filter(at_work).map(rival).collect())
}

/// A Maintenance of kopiur's is at work as long as it is there.
async fn kopiur(client: &Client) -> Result<Vec<Rival>, Unread> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Spec {
        repository: Option<Named>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        kind: Option<String>,
        name: String,
        namespace: Option<String>,
    }
    let all: Vec<Object<Spec>> = each(client, MAINTENANCES, "Maintenances of kopiur").await?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let mut repositories: Vec<Kopiur> = each(client, REPOSITORIES, "Repositories of kopiur").await?;
    repositories.extend(each::<Kopiur>(client, CLUSTER_REPOSITORIES, "ClusterRepositories of kopiur").await?);
    let rival = |one: &Object<Spec>| {
        let named = one.spec.repository.as_ref()?;
        // One that is of the cluster has no namespace.
        let namespace = match named.kind.as_deref() {
            Some("ClusterRepository") => "",
            _ => named.namespace.as_deref().unwrap_or(&one.metadata.namespace),
        };
        let found = repositories.iter().find(|repository| {
            *repository.metadata.name == *named.name && *repository.metadata.namespace == *namespace
        })?;
        Some(Rival { words: format!("Maintenance {} of kopiur", key(&one.metadata)), by: found.by()? })
    };
    Ok(all.iter().filter_map(rival).collect())
}

/// A Repository or a ClusterRepository of kopiur's.
type Kopiur = Object<KopiurSpec, KopiurStatus>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct KopiurSpec {
    encryption: Option<KopiurEncryption>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KopiurEncryption {
    password_secret_ref: Option<KopiurSecret>,
}

#[derive(Deserialize)]
struct KopiurSecret {
    name: String,
    namespace: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct KopiurStatus {
    unique_id: Option<String>,
}

impl Kopiur {
    /// By its unique ID, once kopiur has seen it; before that by its password.
    fn by(&self) -> Option<By> {
        if let Some(id) = self.status.unique_id.as_deref().filter(|id| !id.is_empty()) {
            return Some(By::UniqueId(id.to_owned()));
        }
        let secret = self.spec.encryption.as_ref()?.password_secret_ref.as_ref()?;
        let namespace = secret.namespace.as_deref().unwrap_or(&self.metadata.namespace);
        Some(By::Secret(Key::namespaced(namespace, secret.name.clone())))
    }
}

/// Velero maintains each of its repositories of kopia's kind, all of them under one name.
async fn velero(client: &Client) -> Result<Vec<Rival>, Unread> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Spec {
        repository_type: String,
    }
    let all: Vec<Object<Spec>> = each(client, BACKUP_REPOSITORIES, "BackupRepositories of Velero").await?;
    let kopia = all.into_iter().filter(|one| one.spec.repository_type != "restic");
    let rival = |one: Object<Spec>| {
        let words = format!("Velero, as {VELERO} (BackupRepository {})", key(&one.metadata));
        Rival { words, by: By::Owner(VELERO) }
    };
    Ok(kopia.map(rival).collect())
}
