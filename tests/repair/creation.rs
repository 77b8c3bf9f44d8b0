//! A content that is deleted while its creation is unanswered: only the driver can end that, unless nobody asks it.

use std::time::Duration;

use volwarden::domain::fact::LogTail;
use volwarden::domain::finding::Class;
use volwarden::domain::ledger::Phase;
use volwarden::domain::record::{ContentStatus, Kind};

use super::lab::hands::{Works, enforce};
use super::lab::{Lab, ctrlplugin, deleting, status_error};

const CONTENT: Kind = Kind::VolumeSnapshotContent;

/// With this log of csi-snapshotter's.
fn unanswered(log: LogTail) -> Lab {
    let mut lab = Lab::led(enforce(|_| {}));
    lab.log = log;
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election"]);
    lab.pod("rook-ceph", "leader-0", pod);
    let mut content = deleting(&lab, "c", "s", 2000);
    content.being_created = true;
    let error = status_error("Failed to create snapshot: DeadlineExceeded");
    content.status = Some(ContentStatus { error, ..ContentStatus::default() });
    lab.content("c", content);
    lab
}

fn tail(lab: &Lab, text: &str) -> LogTail {
    LogTail::Lines { text: text.into(), since: Some(lab.start) }
}

fn failed(lab: &Lab, ago: u64) -> String {
    let at = lab.ago(Duration::from_secs(ago));
    format!(
        "{at} E1122 snapshot_controller_base.go:298] could not sync content \"c\": failed to take snapshot of the volume \
         vol-1: \"rpc error: code = DeadlineExceeded desc = context deadline exceeded\""
    )
}

#[test]
fn it_is_left_alone_while_csi_snapshotter_tries() {
    let begin = Lab::new();
    let mut lab = unanswered(tail(&begin, &failed(&begin, 5)));
    for _ in 0..6 {
        lab.pass(200);
        lab.log = tail(&lab, &failed(&lab, 5));
    }
    assert_eq!(lab.class(CONTENT, "c"), Some(Class::StillCreating));
    assert_eq!(lab.steps(), []);
    assert!(lab.hands.records.is_empty(), "there is no step yet, and no entry");
    // The tries have ended: the last is older than any pause between two of them.
    lab.hands.works = Works::Heals;
    lab.pass(1200);
    assert_eq!(lab.steps(), [("Nudge", "c".to_owned())]);
    assert_eq!(lab.the_record().phase, Phase::Done);
}

#[test]
fn it_is_left_alone_where_nobody_can_tell_whether_it_is_tried() {
    let short = LogTail::Lines { text: "".into(), since: Some(Lab::new().ago(Duration::ZERO)) };
    for log in [LogTail::Forbidden, short] {
        let mut lab = unanswered(log);
        lab.pass(300);
        assert_eq!(lab.class(CONTENT, "c"), Some(Class::StillCreating));
        assert_eq!(lab.steps(), []);
    }
}
