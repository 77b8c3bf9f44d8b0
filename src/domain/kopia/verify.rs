//! What a verification proved. An empty repository verifies without an error, which proves nothing.

use serde::{Deserialize, Serialize};

use super::failure::{Class, Failure};
use super::truth::Ended;
use super::{Unreadable, read};

/// What was looked at, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Folders and files whose blocks were looked for.
    pub objects: u64,
    /// Files that were read whole.
    pub files_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// How many files there are in all snapshots.
    pub files: u64,
}

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing is wrong in what was looked at.
    Sound(Verified),
    /// Something is, or it could not be looked at.
    Failed(Failure),
    /// It cannot be told.
    Unclear(String),
}

/// Judges `kopia snapshot verify --json` with the check of the packs' lengths that was run before it
/// (`kopia content verify`): the first does not see a pack that was cut short.
#[must_use]
pub fn verified(packs: &Ended, files: &Ended) -> Check {
    for ended in [packs, files] {
        if let Some(cut) = &ended.cut {
            return Check::Unclear(cut.clone());
        }
        if let Some(failure) = ended.failure() {
            return Check::Failed(failure);
        }
    }
    let answer = match parse(&files.stdout) {
        Ok(answer) => answer,
        Err(unreadable) => return Check::Unclear(unreadable.to_string()),
    };
    if let Some(first) = answer.errors.unwrap_or_default().first() {
        return Check::Failed(Failure::told(first));
    }
    if answer.count.unwrap_or_default() > 0 {
        return Check::Failed(Failure::new(Class::DataDamaged, "kopia counts errors and names none"));
    }
    let stats = answer.stats.unwrap_or_default();
    if stats.expected_total_object_count.unwrap_or_default() == 0 {
        return Check::Failed(Failure::new(Class::NothingToVerify, "kopia found no object to look at"));
    }
    Check::Sound(Verified {
        objects: stats.processed_object_count.unwrap_or_default(),
        files_read: stats.read_file_count.unwrap_or_default(),
        bytes_read: stats.read_bytes.unwrap_or_default(),
        files: stats.expected_total_file_count.unwrap_or_default(),
    })
}

fn parse(text: &str) -> Result<Wire, Unreadable> {
    read("kopia snapshot verify --json", text)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    stats: Option<WireStats>,
    #[serde(rename = "errorCount")]
    count: Option<u64>,
    #[serde(rename = "errorStrings")]
    errors: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireStats {
    processed_object_count: Option<u64>,
    read_file_count: Option<u64>,
    read_bytes: Option<u64>,
    expected_total_object_count: Option<u64>,
    expected_total_file_count: Option<u64>,
}
