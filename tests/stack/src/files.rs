//! Files of a folder by what is in them: whatever must not write leaves them as they were.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

/// Every file beneath a folder, and a hash of what is in it.
pub type Files = BTreeMap<PathBuf, u64>;

/// Reads every file beneath a folder.
///
/// # Errors
/// The folder or a file in it cannot be read.
pub fn hashes(folder: &Path) -> io::Result<Files> {
    let mut found = Files::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(hashes(&path)?);
        } else {
            let mut hasher = DefaultHasher::new();
            fs::read(&path)?.hash(&mut hasher);
            found.insert(path, hasher.finish());
        }
    }
    Ok(found)
}
