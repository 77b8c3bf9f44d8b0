//! What kopia may be asked. What is not here cannot be run: nothing that makes a repository, mends one by force or lowers
//! kopia's safety.

use crate::domain::kopia::{Identity, Round};

/// One question or order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What the repository is.
    Status,
    /// Who maintains it, and what has run.
    Record,
    /// Its index blobs.
    Indexes,
    /// Its epoch.
    Epochs,
    /// Its snapshots.
    Snapshots,
    /// Whether each pack is there and as long as the index says.
    Packs,
    /// Whether each snapshot's objects are there; so many of a hundred files are read whole.
    Files(u8),
    /// Maintenance.
    Maintain(Round),
    /// That maintenance is ours: once, and by a person's approval or on proof.
    Own,
}

impl Ask {
    /// Whether the connection has to be able to write.
    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Maintain(_) | Self::Own)
    }

    /// The command line of somebody with this identity.
    pub(super) fn words(self, us: &Identity) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Status => &["repository", "status", "--json"],
            Self::Record => &["maintenance", "info", "--json"],
            Self::Indexes => &["index", "list", "--json"],
            Self::Epochs => &["index", "epoch", "list"],
            Self::Snapshots => &["snapshot", "list", "--json"],
            Self::Packs => &["content", "verify"],
            Self::Files(percent) => {
                let mut words = ["snapshot", "verify", "--json"].map(str::to_owned).to_vec();
                words.push(format!("--verify-files-percent={percent}"));
                return words;
            }
            Self::Own => return vec!["maintenance".to_owned(), "set".to_owned(), format!("--owner={us}")],
            Self::Maintain(Round::Quick) => &["maintenance", "run"],
            Self::Maintain(Round::Full) => &["maintenance", "run", "--full"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_maintenance_and_becoming_its_owner_may_write() {
        let reads = [Ask::Status, Ask::Record, Ask::Indexes, Ask::Epochs, Ask::Snapshots, Ask::Packs, Ask::Files(1)];
        assert!(reads.iter().all(|ask| !ask.writes()));
        assert!(Ask::Maintain(Round::Quick).writes() && Ask::Own.writes());
        let us = Identity::on("nas").unwrap();
        assert_eq!(Ask::Own.words(&us), ["maintenance", "set", "--owner=volwarden@nas"], "and nothing else is set");
    }
}
