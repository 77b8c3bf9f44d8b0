//! `volwarden crds`: the definitions of our kinds, for `kubectl apply -f -`.
//!
//! They come from the types this very binary reads objects with, so that a daemon and its definitions cannot be
//! of two versions.

use crate::api;

use super::{CliError, Outcome, output};

const HEAD: &str = "# The custom resources of Volwarden, as `volwarden crds` prints them.\n";

pub(super) fn print() -> Result<Outcome, CliError> {
    output::answer(&text()?)?;
    Ok(Outcome::Clean)
}

/// All definitions as one YAML file of several documents.
fn text() -> Result<String, CliError> {
    let mut text = HEAD.to_owned();
    for crd in api::crds()? {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&crd)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_to_install_is_what_this_version_prints() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base/crds.yaml");
        let installed = std::fs::read_to_string(file).unwrap();
        assert!(installed == text().unwrap(), "after reading the change: cargo run -- crds > deploy/base/crds.yaml");
    }
}
