//! A repository's folder, looked at without a password.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::domain::kopia::signs::Signs;
use crate::driver::Clock;
use crate::io::kopia::blobs;

/// What the folder shows, and when it was looked at. On a thread of its own: a mount that hangs lets a signal end us.
///
/// # Errors
/// Something in it cannot be looked at: what is said of the rest would be too little.
pub async fn signs(folder: PathBuf) -> Result<(Signs, Timestamp), String> {
    let looked = tokio::task::spawn_blocking(move || {
        let mut signs = Signs::default();
        blobs(&folder, &mut |blob| signs.take(blob)).map(|()| signs)
    });
    let signs = looked.await.map_err(|error| format!("it could not be looked at: {error}"))??;
    Ok((signs, Clock::start().now().wall))
}
