use super::*;
use crate::domain::finding::{Repair, Rung, Subject};
use crate::domain::name::Key;
use crate::domain::record::Kind;

/// A finding that began at the epoch.
pub(in crate::cli) fn finding(class: Class, kind: Kind, name: &str, cause: Option<&Finding>) -> Finding {
    let key = match name.split_once('/') {
        Some((namespace, name)) => Key::namespaced(namespace, name),
        None => Key::cluster(name),
    };
    Finding {
        class,
        subject: Subject::new(kind, key),
        uid: None,
        driver: None,
        cause: cause.map(identity),
        since: Timestamp::UNIX_EPOCH,
        summary: format!("why {name} is stuck"),
        evidence: vec!["seen".to_owned()],
        leaks: false,
        destroys: false,
        unverified: false,
        repair: Repair { rung: Rung::Report, text: format!("mend {class}") },
    }
}

pub(in crate::cli) fn source(kind: &'static str, state: &'static str, objects: u64) -> SourceView {
    SourceView { kind, state, objects, silent_seconds: Some(1), message: None }
}

fn shown(sources: Vec<SourceView>, findings: Vec<Finding>) -> String {
    report(&State { sources, findings, at: Timestamp::from_second(303).unwrap() }, false)
}

#[test]
fn what_hangs_on_a_cause_stands_beneath_it() {
    let down = finding(Class::ControllerDown, Kind::Lease, "kube-system/leader", None);
    let mut waiting = finding(Class::WaitingForContent, Kind::VolumeSnapshot, "app/db-1", Some(&down));
    waiting.unverified = true;
    let mut orphan = finding(Class::OrphanedContent, Kind::VolumeSnapshotContent, "snapcontent-1", None);
    orphan.destroys = true;
    let second = finding(Class::WaitingForContent, Kind::VolumeSnapshot, "app/db-2", Some(&down));
    assert_eq!(
        shown(vec![], vec![down, waiting, second, orphan]),
        "\
ControllerDown  Lease kube-system/leader  5m3s
│ why    why kube-system/leader is stuck
│ helps  mend ControllerDown
│ docs   docs/findings/ControllerDown.md
├─ WaitingForContent  VolumeSnapshot app/db-1  5m3s  (unverified)
│    why    why app/db-1 is stuck
│    helps  mend WaitingForContent
│    docs   docs/findings/WaitingForContent.md
└─ WaitingForContent  VolumeSnapshot app/db-2  5m3s
     why    why app/db-2 is stuck

OrphanedContent  VolumeSnapshotContent snapcontent-1  5m3s
  why    why snapcontent-1 is stuck
  helps  mend OrphanedContent
  docs   docs/findings/OrphanedContent.md
  risk   the repair may destroy a backend snapshot that another cluster uses

The evidence for one of them: volwarden why Lease kube-system/leader
4 findings: 1 ControllerDown, 1 OrphanedContent, 2 WaitingForContent
"
    );
}

#[test]
fn a_thousand_alike_are_ten_and_a_number() {
    let gone = finding(Class::DriverGone, Kind::CsiDriver, "csi.example.com", None);
    let stuck = |at| finding(Class::WaitingForContent, Kind::VolumeSnapshot, &format!("app/{at}"), Some(&gone));
    let findings: Vec<Finding> = std::iter::once(gone.clone()).chain((0..1000).map(stuck)).collect();
    let text = shown(vec![], findings);
    assert!(text.lines().count() < 40, "{text}");
    assert!(text.contains("└─ ... and 990 more WaitingForContent; -o json lists all\n"), "{text}");
    assert!(text.ends_with("1001 findings: 1 DriverGone, 1000 WaitingForContent\n"), "{text}");
}

#[test]
fn findings_that_name_each_other_are_not_lost() {
    let mut one = finding(Class::WaitingForContent, Kind::VolumeSnapshot, "app/a", None);
    let two = finding(Class::AwaitingSnapshot, Kind::VolumeSnapshotContent, "b", Some(&one));
    one.cause = Some(identity(&two));
    let text = shown(vec![], vec![one, two]);
    assert!(text.contains("VolumeSnapshot app/a") && text.contains("VolumeSnapshotContent b"), "{text}");
}

#[test]
fn a_cause_that_is_not_shown_is_named() {
    let down = finding(Class::ControllerDown, Kind::Lease, "kube-system/leader", None);
    let text = shown(vec![], vec![finding(Class::WaitingForContent, Kind::VolumeSnapshot, "a/b", Some(&down))]);
    assert!(text.contains("cause  ControllerDown Lease kube-system/leader"), "{text}");
}

#[test]
fn nothing_found_says_what_was_looked_at_and_what_could_not_be() {
    let mut pods = source("Pod", "Forbidden", 0);
    pods.message = Some("pods is forbidden:\n no".into());
    let sources = vec![
        source("VolumeSnapshot", "Synced", 42),
        source("VolumeSnapshotContent", "Synced", 42),
        source("CSIDriver", "Synced", 1),
        pods,
        source("CephCluster", "NotInstalled", 0),
        source("ReplicationSource", "NotInstalled", 0),
    ];
    assert_eq!(
        shown(sources, vec![]),
        "\
blind  Pod is forbidden to us: pods is forbidden: no
Not installed: CephCluster, ReplicationSource

No findings. 42 snapshots, 42 contents, 1 driver looked at.
"
    );
}

#[test]
fn no_line_is_longer_than_120_columns() {
    let mut long = finding(Class::BackendError, Kind::VolumeSnapshotContent, "snapcontent-1", None);
    long.summary = "the driver answered with an error that goes on and on ".repeat(20);
    let below = finding(Class::WaitingForContent, Kind::VolumeSnapshot, "app/db", Some(&long));
    let below = Finding { summary: long.summary.clone(), ..below };
    assert!(shown(vec![], vec![long, below]).lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn ages_are_kubectls() {
    let cases = [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (303, "5m3s"),
        (3600, "60m"),
        (3 * 3600 + 120, "3h2m"),
        (9 * 3600 + 60, "9h"),
        (50 * 3600, "2d2h"),
        (9 * 86_400, "9d"),
        (800 * 86_400, "2y70d"),
    ];
    for (seconds, text) in cases {
        assert_eq!(age(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap()), text);
    }
    assert_eq!(age(Timestamp::from_second(9).unwrap(), Timestamp::UNIX_EPOCH), "0s", "their clock is ahead of ours");
}
