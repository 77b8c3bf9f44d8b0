//! A repository's folder, looked at without a password.

use std::path::Path;

use jiff::Timestamp;

use crate::domain::kopia::signs::Signs;
use crate::driver::Clock;
use crate::io::kopia::blobs;

/// What the folder shows, and when it was looked at.
///
/// # Errors
/// Something in it cannot be looked at: what is said of the rest would be too little.
pub fn signs(folder: &Path) -> Result<(Signs, Timestamp), String> {
    let mut signs = Signs::default();
    blobs(folder, &mut |blob| signs.take(blob))?;
    Ok((signs, Clock::start().now().wall))
}
