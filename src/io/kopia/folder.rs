//! The blobs of a repository in a folder, by their files alone: nothing is opened, and nothing is written.

use std::fs::{self, Metadata};
use std::path::Path;

use jiff::Timestamp;

use crate::domain::kopia::signs::Blob;

/// What kopia adds to a blob's name.
const SUFFIX: &str = ".f";
/// Kopia lays blobs in folders of their names' first letters, two of them by itself. Below this there are none.
const DEEPEST: usize = 8;

/// Tells each blob beneath this folder. Links are not followed.
///
/// # Errors
/// A folder or a file cannot be looked at; which one.
pub fn blobs(folder: &Path, tell: &mut impl FnMut(Blob)) -> Result<(), String> {
    below(folder, "", 0, tell)
}

fn below(folder: &Path, prefix: &str, depth: usize, tell: &mut impl FnMut(Blob)) -> Result<(), String> {
    let cannot = |what: &Path, error: &std::io::Error| {
        format!(
            "cannot look at {}: {error}; look whether it is mounted, and as whom its files may be read",
            what.display()
        )
    };
    for entry in fs::read_dir(folder).map_err(|error| cannot(folder, &error))? {
        let entry = entry.map_err(|error| cannot(folder, &error))?;
        let path = entry.path();
        let name = entry.file_name();
        // No name of kopia's is anything else.
        let Some(name) = name.to_str() else { continue };
        let kind = entry.file_type().map_err(|error| cannot(&path, &error))?;
        if kind.is_dir() && depth < DEEPEST {
            below(&path, &format!("{prefix}{name}"), depth + 1, tell)?;
        } else if kind.is_file()
            && let Some(last) = name.strip_suffix(SUFFIX)
        {
            match entry.metadata() {
                Ok(metadata) => tell(blob(format!("{prefix}{last}"), &metadata)),
                // Kopia has deleted it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot(&path, &error)),
            }
        }
    }
    Ok(())
}

fn blob(name: String, metadata: &Metadata) -> Blob {
    let modified = metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
    Blob { name, size: metadata.len(), modified }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_together_and_what_is_no_blob_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        fs::create_dir_all(at("p/527")).unwrap();
        for (path, text) in
            [("kopia.repository.f", "x"), ("p/527/99b.f", ""), ("p/527/99c.f.tmp.12", ""), (".shards", "{}")]
        {
            fs::write(at(path), text).unwrap();
        }
        std::os::unix::fs::symlink(at("p"), at("q")).unwrap();
        let mut seen = Vec::new();
        blobs(home.path(), &mut |blob| seen.push((blob.name, blob.size, blob.modified.is_some()))).unwrap();
        seen.sort();
        assert_eq!(seen, [("kopia.repository".to_owned(), 1, true), ("p52799b".to_owned(), 0, true)]);
        let deep = (0..=DEEPEST).fold(at("p"), |folder, _| folder.join("a"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("b.f"), "x").unwrap();
        let mut again = 0;
        blobs(home.path(), &mut |_| again += 1).unwrap();
        assert_eq!(again, 2, "what lies so deep is no blob of kopia's");
        let missing = blobs(&at("nowhere"), &mut |_| {}).unwrap_err();
        assert!(missing.starts_with("cannot look at ") && missing.contains("/nowhere: "), "{missing}");
    }
}
