//! `kopia repository status`, `index list` and `index epoch list`: what the repository is and how its index grows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Unreadable, read};

/// A repository as kopia describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// By which a repository is told from any other, whatever is mounted where.
    #[serde(rename = "uniqueID")]
    pub unique_id: Option<String>,
    /// The kind of storage, such as `filesystem`.
    pub storage: Option<String>,
    /// Where it is, for a folder.
    pub path: Option<String>,
    /// The version of its format.
    pub format: Option<u64>,
    /// How blocks are named.
    pub hash: Option<String>,
    /// How they are encrypted.
    pub encryption: Option<String>,
    /// Whether its index has epochs.
    pub epochs_enabled: bool,
    /// How long an epoch lasts at least, in seconds.
    pub min_epoch_seconds: Option<u64>,
    /// Bytes of the volume, for a folder.
    pub volume_capacity: Option<u64>,
    /// Free bytes of it.
    pub volume_available: Option<u64>,
}

impl Repository {
    /// Reads `kopia repository status --json`.
    ///
    /// # Errors
    /// When it is no such answer.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let wire: Wire = read("kopia repository status --json", text)?;
        let storage = wire.storage.unwrap_or_default();
        let content = wire.content_format.unwrap_or_default();
        let epochs = content.epoch_parameters.unwrap_or_default();
        let volume = wire.volume.unwrap_or_default();
        Ok(Self {
            unique_id: wire.unique_id.filter(|id| !id.is_empty()),
            storage: storage.kind,
            path: storage.config.unwrap_or_default().path,
            format: content.version,
            hash: content.hash,
            encryption: content.encryption,
            epochs_enabled: epochs.enabled.unwrap_or_default(),
            min_epoch_seconds: epochs.min_duration.map(|nanos| Duration::from_nanos(nanos).as_secs()),
            volume_capacity: volume.capacity,
            volume_available: volume.available,
        })
    }
}

/// How far the index has grown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Epochs {
    /// The epoch that is written now; only maintenance moves it on.
    pub current: Option<u64>,
    /// Index blobs in use.
    pub index_blobs: Option<usize>,
    /// Their bytes.
    pub index_bytes: Option<u64>,
}

/// The current epoch of `kopia index epoch list`, which has no JSON.
#[must_use]
pub fn epoch(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Current Epoch:"))
        .and_then(|number| number.trim().parse().ok())
}

/// What a repository takes on its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Its blobs.
    pub blobs: u64,
    /// Their bytes: everything in it, also what maintenance has yet to free.
    pub bytes: u64,
}

/// The totals of `kopia blob stats --raw`, which has no JSON.
#[must_use]
pub fn stored(text: &str) -> Option<Size> {
    let number = |label: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label))?;
        line.trim().parse().ok()
    };
    Some(Size { blobs: number("Count:")?, bytes: number("Total:")? })
}

/// Count and bytes of `kopia index list --json`.
///
/// # Errors
/// When it is no such answer.
pub fn indexes(text: &str) -> Result<(usize, u64), Unreadable> {
    let blobs: Option<Vec<WireIndex>> = read("kopia index list --json", text)?;
    let blobs = blobs.unwrap_or_default();
    Ok((blobs.len(), blobs.iter().filter_map(|blob| blob.length).fold(0, u64::saturating_add)))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    #[serde(rename = "uniqueIDHex")]
    unique_id: Option<String>,
    storage: Option<WireStorage>,
    volume: Option<WireVolume>,
    content_format: Option<WireContent>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireStorage {
    #[serde(rename = "type")]
    kind: Option<String>,
    config: Option<WirePath>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WirePath {
    path: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireVolume {
    capacity: Option<u64>,
    available: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireContent {
    hash: Option<String>,
    encryption: Option<String>,
    version: Option<u64>,
    epoch_parameters: Option<WireEpochs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireEpochs {
    #[serde(rename = "Enabled")]
    enabled: Option<bool>,
    #[serde(rename = "MinEpochDuration")]
    min_duration: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireIndex {
    length: Option<u64>,
}
