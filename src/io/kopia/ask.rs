//! What kopia may be asked. What is not here cannot be run: nothing that makes a repository, mends one by force or lowers
//! kopia's safety.

use crate::domain::kopia::epochs::Epochs;
use crate::domain::kopia::settings::{NAMES, six};
use crate::domain::kopia::{Identity, Round};
use crate::domain::retention::Policy;

/// One question or order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// What the repository is.
    Status,
    /// Who maintains it, and what has run.
    Record,
    /// Its index blobs.
    Indexes,
    /// Its epoch.
    Epochs,
    /// How much it takes on its storage.
    Stored,
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
    /// Under which policy a source is.
    Policy(&'a str),
    /// Every policy that somebody set.
    Policies,
    /// That the policy of a source, else the global one, has these six counts. Whatever else is in it stays.
    SetPolicy(Option<&'a str>, Policy),
    /// That epochs have these parameters. Others stay.
    SetEpochs(&'a Epochs),
    /// How many snapshots of a source kopia would delete. It deletes none.
    Expire(&'a str),
    /// The deletion of these snapshots, by id, and of nothing else.
    Delete(&'a [String]),
}

impl Ask<'_> {
    /// Whether the connection has to be able to write.
    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Maintain(_) | Self::Own | Self::SetPolicy(..) | Self::SetEpochs(_) | Self::Delete(_))
    }

    /// The command line of somebody with this identity.
    pub(super) fn words(self, us: &Identity) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Status => &["repository", "status", "--json"],
            Self::Record => &["maintenance", "info", "--json"],
            Self::Indexes => &["index", "list", "--json"],
            Self::Epochs => &["index", "epoch", "list"],
            Self::Stored => &["blob", "stats", "--raw"],
            Self::Snapshots => &["snapshot", "list", "--json"],
            Self::Packs => &["content", "verify"],
            Self::Files(percent) => {
                let mut words = ["snapshot", "verify", "--json"].map(str::to_owned).to_vec();
                words.push(format!("--verify-files-percent={percent}"));
                return words;
            }
            Self::Policy(source) => &["policy", "show", "--json", source],
            Self::Policies => &["policy", "list", "--json"],
            Self::SetEpochs(epochs) => {
                let words = ["repository", "set-parameters"].map(str::to_owned).into_iter();
                return words
                    .chain(epochs.iter().map(|(name, to)| format!("--epoch-{name}={}", name.value(*to))))
                    .collect();
            }
            Self::SetPolicy(source, keep) => {
                let words = ["policy", "set", source.unwrap_or("--global")].map(str::to_owned).into_iter();
                let counts = NAMES.into_iter().zip(six(keep));
                return words.chain(counts.map(|(name, count)| format!("--keep-{name}={count}"))).collect();
            }
            Self::Expire(source) => &["snapshot", "expire", source],
            Self::Delete(ids) => {
                let words = ["snapshot", "delete", "--delete"].into_iter();
                return words.chain(ids.iter().map(String::as_str)).map(str::to_owned).collect();
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
    use crate::domain::kopia::epochs::Parameter;

    #[test]
    fn what_writes_is_known_and_an_expiry_is_always_dry() {
        let reads = [Ask::Status, Ask::Record, Ask::Indexes, Ask::Epochs, Ask::Stored, Ask::Snapshots, Ask::Packs];
        assert!(reads.iter().all(|ask| !ask.writes()) && !Ask::Files(1).writes());
        assert!([Ask::Policy("a@b:/c"), Ask::Policies, Ask::Expire("a@b:/c")].iter().all(|ask| !ask.writes()));
        assert!(Ask::Maintain(Round::Quick).writes() && Ask::Own.writes() && Ask::Delete(&[]).writes());
        let us = Identity::on("nas").unwrap();
        assert_eq!(Ask::Expire("a@b:/c").words(&us), ["snapshot", "expire", "a@b:/c"]);
        assert_eq!(Ask::Delete(&["1".to_owned()]).words(&us), ["snapshot", "delete", "--delete", "1"]);
        let keep = Policy { latest: 1, hourly: 2, daily: 3, weekly: 4, monthly: 5, annual: 0 };
        let counts = ["latest=1", "hourly=2", "daily=3", "weekly=4", "monthly=5", "annual=0"];
        let counts = counts.map(|count| format!("--keep-{count}"));
        for (source, word) in [(None, "--global"), (Some("a@b:/c"), "a@b:/c")] {
            let set = Ask::SetPolicy(source, keep);
            let words = ["policy", "set", word].map(str::to_owned).into_iter().chain(counts.clone());
            assert!(set.writes(), "and all six counts are named:");
            assert_eq!(set.words(&us), words.collect::<Vec<_>>());
        }
        let epochs = Parameter::ALL.into_iter().map(|one| (one, 7200)).collect();
        let set = Ask::SetEpochs(&epochs);
        assert!(set.writes());
        assert_eq!(
            set.words(&us),
            [
                "repository",
                "set-parameters",
                "--epoch-refresh-frequency=2h",
                "--epoch-min-duration=2h",
                "--epoch-cleanup-safety-margin=2h",
                "--epoch-advance-on-count=7200",
                "--epoch-advance-on-size-mb=7200",
                "--epoch-delete-parallelism=7200",
                "--epoch-checkpoint-frequency=7200",
            ]
        );
        assert_eq!(Ask::Own.words(&us), ["maintenance", "set", "--owner=volwarden@nas"], "and nothing else is set");
    }
}
