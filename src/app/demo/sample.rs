//! A real kopia repository for the demo to show. Kopia made it once (`tests/kopia/make-demo-repository`) and its files are
//! in the binary: none of our commands can make one.

mod files;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use self::files::{FILES, MADE, PASSWORD};
use crate::app::kopia::{self, Place};
use crate::domain::kopia::Standing;

/// The day on which it was made.
#[must_use]
pub fn made() -> &'static str {
    MADE
}

/// Lays it out in a private folder, looks at it with a kopia, and takes the folder away.
///
/// # Errors
/// In one line, why nothing can be shown: a part of it would not be what the demo is to show.
pub async fn look(program: &Path, timeout: Duration) -> Result<Standing, String> {
    let (_goes_at_the_end, folder) = laid_out().map_err(|error| {
        format!(
            "the repository of the demo cannot be laid out: {error}; see whether TMPDIR has space and may be written"
        )
    })?;
    let place =
        Place { folder, password: PASSWORD.to_owned(), host: "demo".to_owned(), program: program.to_owned(), timeout };
    let standing = kopia::status_in(&place).await.map_err(|error| error.to_string())?;
    let failed = standing.failures.first().map(ToString::to_string).or_else(|| standing.unclear.first().cloned());
    failed.map_or(Ok(standing), |why| {
        Err(format!("this kopia does not read the repository that comes with the demo: {why}; kopia 0.23.1 reads it"))
    })
}

/// The folder to be kept while it is needed, and the repository's in it.
fn laid_out() -> std::io::Result<(TempDir, PathBuf)> {
    let kept = kopia::private("volwarden-demo-kopia-")?;
    let folder = kept.path().join("repository");
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    for (name, content) in FILES {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        file.write_all(content)?;
    }
    Ok((kept, folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_whole_small_and_nobody_elses_to_read() {
        let (kept, folder) = laid_out().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(kept.path()), mode(&folder)), (0o700, 0o700));
        let mut bytes = 0;
        // The list is the folder: a file that was forgotten would be damage.
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-repository");
        let names = |folder: &Path| -> Vec<_> {
            let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&folder), names(&source));
        for name in names(&source) {
            let laid = fs::read(folder.join(&name)).unwrap();
            assert_eq!(laid, fs::read(source.join(&name)).unwrap(), "{name:?}");
            assert_eq!(mode(&folder.join(&name)), 0o600);
            bytes += laid.len();
        }
        assert!(bytes < 150_000, "{bytes} bytes are in every binary");
        let gone = kept.path().to_owned();
        drop(kept);
        assert!(!gone.exists());
    }
}
