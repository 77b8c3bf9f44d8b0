//! What a csi-snapshotter's log says of each content: the gRPC code that no API object carries.
//!
//! The driver's real answer is neither in the content's status nor in its Event; only the sidecar logs it,
//! at every verbosity, as `could not sync content "X": failed to delete snapshot ... rpc error: code = C desc = D`.
//! A try also fails when the API server refuses what the sidecar writes of it; under `Retain`, where no driver is asked,
//! only this line tells of the try. A line of neither shape is skipped: the log is a hint that confirms, never the only
//! ground for a repair. So is a failed creation: a driver that was slow to cut has refused no deletion.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One failed try of the sidecar to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// gRPC code as Go prints it, such as `Aborted`; empty when the failure was none of the driver's.
    pub code: Box<str>,
    /// The driver's words, or the sidecar's.
    pub words: Box<str>,
    /// When, by the kubelet's clock.
    pub at: Option<Timestamp>,
    /// How many tries in the log ended with this code in a row, up to this one.
    pub in_a_row: u32,
    /// The driver refused nothing: the API server did, what csi-snapshotter had to write of the content.
    pub unwritten: bool,
}

impl Attempt {
    /// The driver refuses because it believes another operation still runs.
    #[must_use]
    pub fn is_lock(&self) -> bool {
        &*self.code == "Aborted" && is_lock_text(&self.words)
    }

    /// The deletion secret could not be read.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.words.contains("cannot get credentials")
    }
}

/// ceph-csi's words for a lock that is held: `an operation with the given Volume ID X already exists`,
/// `a Restore operation with given id X already exists`, `cannot acquire lock for "delete", ...`.
#[must_use]
pub fn is_lock_text(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let given = words.contains("operation with the given ") || words.contains("operation with given ");
    (given && words.contains("already exists"))
        || (words.contains("cannot acquire lock for") && words.contains("operation"))
}

/// What csi-snapshotter says of each content whose turn ended in an error.
const MARK: &str = "could not sync content \"";

/// The newest failed deletion of each content that a log mentions.
#[must_use]
pub fn attempts(log: &str) -> BTreeMap<Box<str>, Attempt> {
    let mut found: BTreeMap<Box<str>, Attempt> = BTreeMap::new();
    for line in log.lines() {
        let Some((content, mut attempt)) = parse_line(line) else { continue };
        if let Some(before) = found.get(content) {
            let same = (&before.code, before.unwritten) == (&attempt.code, attempt.unwritten);
            attempt.in_a_row = if same { before.in_a_row.saturating_add(1) } else { 1 };
        }
        found.insert(content.into(), attempt);
    }
    found
}

/// When csi-snapshotter last failed to create the snapshot of each content that a log mentions.
#[must_use]
pub fn creations(log: &str) -> BTreeMap<Box<str>, Timestamp> {
    const CREATION: &str = ": failed to take snapshot of the volume ";
    let line = |line: &str| {
        let at = line.split_once(' ')?.0.parse().ok()?;
        let (content, rest) = line.split_once(MARK)?.1.split_once('"')?;
        (rest.starts_with(CREATION) && !content.is_empty()).then(|| (content.into(), at))
    };
    log.lines().filter_map(line).collect()
}

fn parse_line(line: &str) -> Option<(&str, Attempt)> {
    /// In both of its forms: `failed to delete snapshot` and `failed to get input parameters to delete snapshot`.
    const DELETION: &str = " to delete snapshot ";
    let at = line.split_once(' ').and_then(|(stamp, _)| stamp.parse().ok());
    let (_, rest) = line.split_once(MARK)?;
    let (content, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(':').unwrap_or(rest).trim_start();
    let unwritten = is_unwritten(rest);
    if !unwritten && !rest.contains(DELETION) {
        return None;
    }
    let (code, words) = match rest.split_once("rpc error: code = ").filter(|_| !unwritten) {
        Some((_, answer)) => answer.split_once(" desc = ").unwrap_or((answer, "")),
        None => ("", rest),
    };
    let (code, words) = (code.trim().into(), words.trim().trim_matches('"').into());
    (!content.is_empty()).then_some((content, Attempt { code, words, at, in_a_row: 1, unwritten }))
}

/// csi-snapshotter's words for a read or a write of the content itself that failed. Those of a creation stand behind
/// words of their own.
fn is_unwritten(rest: &str) -> bool {
    rest.starts_with("snapshot controller failed to update ") || rest.starts_with("error get snapshot content ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: &str = "2026-11-22T19:44:31.5Z E1122 19:44:31.500000       1 snapshot_controller_base.go:359] could not sync content \"snapcontent-a\": failed to delete snapshot \"snapcontent-a\", err: failed to delete snapshot content snapcontent-a: \"rpc error: code = DeadlineExceeded desc = context deadline exceeded\"";
    const LOCK: &str = "2026-11-22T19:45:31.5Z E1122 19:45:31.500000       1 snapshot_controller_base.go:359] could not sync content \"snapcontent-a\": failed to delete snapshot \"snapcontent-a\", err: failed to delete snapshot content snapcontent-a: \"rpc error: code = Aborted desc = an operation with the given Volume ID 0001-0009-rook-ceph-0000000000000001-x already exists\"";
    const SECRET: &str = "E1122 could not sync content \"snapcontent-b\": failed to get input parameters to delete snapshot for content snapcontent-b: \"cannot get credentials for snapshot content \\\"snapcontent-b\\\"\"";

    #[test]
    fn the_newest_answer_counts_and_rows_are_counted() {
        let found = attempts(&[SLOW, LOCK, "noise", LOCK, SECRET].join("\n"));
        let a = &found["snapcontent-a"];
        assert_eq!((&*a.code, a.in_a_row, a.is_lock()), ("Aborted", 2, true));
        assert_eq!(a.at.unwrap().to_string(), "2026-11-22T19:45:31.5Z");
        assert!(found["snapcontent-b"].is_secret());
        assert!(!attempts(SLOW)["snapcontent-a"].is_lock());
    }

    #[test]
    fn cut_and_foreign_lines_are_skipped() {
        for line in ["", "could not sync content \"", "could not sync content \"\": x", "2026 something else"] {
            assert!(attempts(line).is_empty(), "{line}");
        }
        let cut =
            attempts("could not sync content \"c\": failed to delete snapshot \"c\", err: rpc error: code = Internal");
        assert_eq!((&*cut["c"].code, &*cut["c"].words), ("Internal", ""));
    }

    #[test]
    fn a_failed_creation_is_no_failed_deletion() {
        let took = "could not sync content \"c\": failed to take snapshot of the volume v: \"rpc error: code = DeadlineExceeded desc = context deadline exceeded\"";
        let secret = "could not sync content \"c\": failed to get input parameters to create snapshot for content c: \"cannot get credentials for snapshot content \\\"c\\\"\"";
        assert!(attempts(&[took, secret].join("\n")).is_empty());
        assert_eq!(attempts(&[SLOW, took].join("\n")).len(), 1);
    }

    #[test]
    fn a_write_that_the_server_refuses_is_a_failed_try_and_not_the_drivers() {
        const REFUSED: &str = "2026-11-22T19:46:31.5Z E1122 19:46:31.500000       1 snapshot_controller_base.go:298] could not sync content \"snapcontent-a\": snapshot controller failed to update snapcontent-a on API server: etcdserver: request timed out";
        const UNREAD: &str = "2026-11-22T19:47:31.5Z E1122 19:47:31.500000       1 snapshot_controller_base.go:298] could not sync content \"snapcontent-a\": error get snapshot content snapcontent-a from api server: rpc error: code = Unavailable desc = transport is closing";
        let found = attempts(&[LOCK, REFUSED, UNREAD].join("\n"));
        let a = &found["snapcontent-a"];
        assert_eq!((&*a.code, a.in_a_row, a.unwritten), ("", 2, true), "whatever the server's words are");
        assert!(a.words.starts_with("error get snapshot content"), "{}", a.words);
        assert!(!attempts(&[REFUSED, LOCK].join("\n"))["snapcontent-a"].unwritten);
        let creating = "could not sync content \"c\": failed to add VolumeSnapshotBeingCreated annotation on the content c: \"snapshot controller failed to update c on API server: no\"";
        let cut = "could not sync content \"c\": error updating status for volume snapshot content c: error get snapshot content c from api server: no";
        assert!(attempts(&[creating, cut].join("\n")).is_empty());
    }

    #[test]
    fn every_known_wording_of_a_held_lock_is_recognised() {
        for words in [
            "an operation with the given Volume ID 0001-x already exists",
            "an operation with the given Snapshot ID snapshot-1 already exists",
            "a Restore operation with given id 0001-x already exists",
            "cannot acquire lock for \"delete\", an \"restore\" operation with given id 0001-x already exists",
        ] {
            assert!(is_lock_text(words), "{words}");
        }
        assert!(!is_lock_text("snapshot 0001-x has pending clones"));
        assert!(!is_lock_text("volume already exists"));
    }
}
