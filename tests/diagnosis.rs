//! Unit tables of the finding classes: each scenario makes one shape and asks what it is called, and that it
//! is not called so before its time. Numbers are `kind-scenario`: 1 components, 2 contents, 3 snapshots,
//! 4 alive but wrong.

mod lab;

use std::sync::Arc;

use lab::*;
use volwarden::domain::fact::{Change, Fact, Live, Source, SourceChange};
use volwarden::domain::finding::{Class, Rung};
use volwarden::domain::name::{Key, Uid};
use volwarden::domain::record::{
    ClaimPhase, ContentSource, ContentStatus, DeletionPolicy, Group, Kind, SnapshotSource,
};

use Kind::{CsiDriver, Lease as LeaseKind, PersistentVolumeClaim, VolumeSnapshot, VolumeSnapshotContent};

/// Puts a content into a healthy cluster with `age` seconds since its deletion and gives its class.
fn content_class(age: u64, change: impl Fn(&mut Lab, &mut volwarden::domain::record::Content)) -> Option<Class> {
    let mut lab = Lab::eager();
    let mut content = deleting(&lab, "c", "s", age);
    change(&mut lab, &mut content);
    lab.content("c", content);
    lab.class(VolumeSnapshotContent, "c")
}

/// The class appears with its floor and not a second earlier.
fn at_its_time(
    number: &str,
    floor: u64,
    class: Class,
    change: impl Fn(&mut Lab, &mut volwarden::domain::record::Content),
) {
    assert_ne!(content_class(floor - 1, &change), Some(class), "{number}: named before its time");
    assert_eq!(content_class(floor, &change), Some(class), "{number}");
}

fn of_bogus_driver(content: &mut volwarden::domain::record::Content) {
    content.driver = "bogus.example.com".into();
    content.class = None;
}

#[test]
fn two_0_a_normal_deletion_is_nothing_until_the_general_floor() {
    assert_eq!(content_class(5, |lab, _| lab.empty_log()), None);
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 40);
    lab.content("c", content);
    let why = lab.why(VolumeSnapshotContent, Key::cluster("c"));
    assert!(why.contains("being deleted for 40s") && why.contains("normal"), "{why}");
    lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
    lab.pass(1200);
    assert_eq!(lab.classes(), []);
}

#[test]
fn two_1_contents_are_named_by_their_shape_and_not_before_their_time() {
    at_its_time("2-1 group member", 180, Class::GroupMember, |_, c| c.in_group = true);
    at_its_time("2-2 foreign finalizer", 60, Class::ForeignFinalizer, |_, c| {
        c.meta.finalizers = vec![Arc::from("example.com/hold")].into();
    });
    at_its_time("2-3 still creating", 180, Class::StillCreating, |_, c| {
        c.being_created = true;
        c.status = None;
    });
    at_its_time("2-4 orphaned", 60, Class::OrphanedContent, |_, c| c.being_deleted = false);
    at_its_time("2-5 awaiting its snapshot", 60, Class::AwaitingSnapshot, |lab, c| {
        let snapshot = ready(lab, "s", "c");
        lab.snapshot("s", snapshot);
        c.being_deleted = false;
    });
    at_its_time("2-6 mismatch", 60, Class::DriverMismatch, |lab, _| {
        lab.feed(Fact::SnapshotClass(Change::Applied(Key::cluster("csi-ceph-blockpool"), class("other"))));
    });
    at_its_time("2-7 unknown driver", 60, Class::DriverUnknown, |_, c| of_bogus_driver(c));
    at_its_time("2-8 unexplained", 960, Class::Unexplained, |_, c| c.status = None);
}

#[test]
fn two_2_a_finalizer_of_somebody_else_beside_the_drivers_own_is_only_a_note() {
    let class = content_class(100, |_, c| {
        c.meta.finalizers = vec![Arc::from(CONTENT_FINALIZER), Arc::from("example.com/hold")].into();
    });
    assert_eq!(class, None);
}

#[test]
fn two_3_an_absent_status_is_not_an_emptied_one() {
    let emptied = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        lab.empty_log();
        c.status = Some(ContentStatus::default());
    };
    assert_eq!(content_class(180, emptied), Some(Class::DeletedNotReleased));
    assert_eq!(content_class(180, |_, c| c.status = None), None);
    // The driver is unknown: an emptied look proves nothing about who answered.
    assert_eq!(
        content_class(180, |_, c| {
            c.status = Some(ContentStatus::default());
            of_bogus_driver(c);
        }),
        Some(Class::DriverUnknown)
    );
}

#[test]
fn two_4_an_emptied_status_has_to_stand_before_the_daemon_names_it() {
    let mut lab = Lab::new();
    lab.empty_log();
    let mut content = deleting(&lab, "c", "s", 600);
    content.status = Some(ContentStatus::default());
    lab.content("c", content);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None, "the finalizer may go any moment");
    lab.pass(29);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    lab.pass(1);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::DeletedNotReleased));
}

#[test]
fn two_5_a_missing_snapshot_needs_a_complete_list_and_a_live_404() {
    let orphan = |lab: &Lab| {
        let mut content = deleting(lab, "c", "s", 600);
        content.being_deleted = false;
        content
    };
    // A list under way proves nothing.
    let mut lab = Lab::new();
    lab.feed(Fact::Source(Source::Snapshots, SourceChange::ListBegan));
    let content = orphan(&lab);
    lab.content("c", content);
    assert_ne!(lab.class(VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
    lab.feed(Fact::Source(Source::Snapshots, SourceChange::ListEnded));
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
    // Nor does a forbidden or failing one.
    let mut lab = Lab::new();
    lab.feed(Fact::Source(Source::Snapshots, SourceChange::Forbidden("no".into())));
    let content = orphan(&lab);
    lab.content("c", content);
    assert_ne!(lab.class(VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
    // The live read still finds it.
    let mut lab = Lab::new();
    lab.live.insert((VolumeSnapshot, Key::namespaced("default", "s")), Live::Present(Uid::parse("uid-s")));
    let content = orphan(&lab);
    lab.content("c", content);
    assert_ne!(lab.class(VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
    // The live read never answers: the daemon says nothing, doctor says that it is not sure.
    let mut lab = Lab::new();
    lab.mute = true;
    let content = orphan(&lab);
    lab.content("c", content);
    lab.pass(600);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    let mut lab = Lab::eager();
    lab.mute = true;
    let content = orphan(&lab);
    lab.content("c", content);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!((finding.class, finding.unverified), (Class::OrphanedContent, true));
}

#[test]
fn two_16_what_cannot_be_told_is_said_by_the_daemon_too() {
    let mut lab = Lab::new();
    lab.feed(Fact::Source(Source::Snapshots, SourceChange::Forbidden("no".into())));
    let mut content = deleting(&lab, "c", "s", 600);
    content.being_deleted = false;
    lab.content("c", content);
    assert_eq!(lab.classes(), []);
    lab.pass(370);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!(finding.class, Class::Unexplained);
    assert!(finding.summary.contains("cannot be told"), "{}", finding.summary);
}

#[test]
fn two_6_the_name_taken_by_a_new_snapshot_is_not_the_old_one() {
    let class = content_class(100, |lab, c| {
        let mut again = ready(lab, "s", "other");
        again.meta.uid = Uid::parse("uid-new");
        lab.snapshot("s", again);
        c.being_deleted = false;
    });
    assert_eq!(class, Some(Class::OrphanedContent));
}

#[test]
fn two_7_an_orphan_is_destroyed_only_in_the_safe_shape() {
    let verdict = |change: &dyn Fn(&mut Lab, &mut volwarden::domain::record::Content)| {
        let mut lab = Lab::eager();
        let mut content = deleting(&lab, "c", "s", 600);
        content.being_deleted = false;
        change(&mut lab, &mut content);
        lab.content("c", content);
        let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
        assert_eq!((finding.class, finding.repair.rung), (Class::OrphanedContent, Rung::MarkBeingDeleted));
        finding.destroys
    };
    assert!(!verdict(&|_, _| {}), "the safe shape");
    assert!(!verdict(&|_, c| c.policy = DeletionPolicy::Retain), "the backend is kept");
    assert!(verdict(&|_, c| c.policy = DeletionPolicy::Unknown));
    assert!(verdict(&|_, c| c.source = ContentSource::Handle), "imported");
    assert!(verdict(&|_, c| c.status = None), "no handle");
    assert!(verdict(&|lab, c| c.meta.created = lab.stamp(60)), "cut an hour before the object was made: a copy");
    assert!(verdict(&|lab, c| {
        let mut twin = alive(lab, "twin", "t");
        twin.status.clone_from(&c.status);
        lab.content("twin", twin);
    }));
    assert!(verdict(&|lab, c| {
        let group = Group { meta: meta("g", None, None, &[]), handles: Box::new([c.handle().unwrap().print]) };
        lab.feed(Fact::GroupContent(Change::Applied(Key::cluster("g"), group)));
    }));
}

#[test]
fn two_8_what_the_drivers_answers_say() {
    let lock = "an operation with the given Volume ID 0001-0009-rook-ceph-0000000000000001-c already exists";
    let with_log = |code: &'static str, words: &'static str, age: u64| {
        content_class(age, move |lab, _| {
            let pod = ctrlplugin(lab, "leader-0", &["--leader-election=true"]);
            lab.pod("rook-ceph", "leader-0", pod);
            lab.delete_error("c", "Failed to delete snapshot", 20);
            lab.log_failure("c", code, words, 10);
        })
    };
    assert_eq!(with_log("Aborted", lock, 179), Some(Class::Retrying), "a lock may be a restore's");
    assert_eq!(with_log("Aborted", lock, 180), Some(Class::OperationLocked));
    assert_eq!(with_log("Internal", "rados: ret=-5, I/O error", 60), Some(Class::BackendError));
    assert_eq!(with_log("Internal", "rados: ret=-5, I/O error", 30), None);
    assert_eq!(with_log("FailedPrecondition", "snapshot 0001 has pending clones", 60), Some(Class::BackendError));
    assert_eq!(with_log("DeadlineExceeded", "context deadline exceeded", 200), Some(Class::Retrying));
    // An Event tells of a newer try, and the log that was read since does not: another pod made it and took its answer
    // with it. One of this moment may merely not be read yet.
    let overtaken = |code: &'static str, words: &'static str, event_ago| {
        content_class(400, move |lab, _| {
            let pod = ctrlplugin(lab, "leader-0", &["--leader-election=true"]);
            lab.pod("rook-ceph", "leader-0", pod);
            lab.delete_error("c", "Failed to delete snapshot", event_ago);
            lab.log_failure("c", code, words, 300);
        })
    };
    for (code, words, class) in
        [("Aborted", lock, Class::OperationLocked), ("Internal", "rados: ret=-5, I/O error", Class::BackendError)]
    {
        assert_eq!(overtaken(code, words, 100), Some(Class::Retrying));
        assert_eq!(overtaken(code, words, 1), Some(class));
    }
    // Without the log the driver's words are unknown, the retry is not.
    let blind = |age, event_ago| {
        content_class(age, move |lab, _| lab.delete_error("c", "Failed to delete snapshot", event_ago))
    };
    assert_eq!(blind(59, 5), None);
    assert_eq!(blind(60, 5), Some(Class::Retrying));
    assert_eq!(blind(4000, 660), Some(Class::Retrying), "within the window");
    assert_eq!(blind(4000, 661), Some(Class::Unexplained), "nobody tries any more");
}

#[test]
fn two_9_unexplained_says_what_would_explain_it() {
    let mut lab = Lab::eager();
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election=true"]);
    lab.pod("rook-ceph", "leader-0", pod);
    let mut content = deleting(&lab, "c", "s", 4000);
    content.status = None;
    lab.content("c", content);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!(finding.class, Class::Unexplained);
    assert!(finding.repair.text.contains("grant pods/log"), "{}", finding.repair.text);
}

#[test]
fn two_10_the_secret_that_is_missing_is_named_until_a_newer_answer() {
    let mut lab = Lab::eager();
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election=true"]);
    lab.pod("rook-ceph", "leader-0", pod);
    lab.empty_log();
    let mut content = deleting(&lab, "c", "s", 100);
    content.secret = secret("rook-ceph", "rook-csi-rbd-provisioner");
    lab.content("c", content);
    lab.delete_error("c", "Failed to get snapshot credentials", 30);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!(finding.class, Class::SecretMissing);
    assert!(finding.summary.contains("rook-ceph/rook-csi-rbd-provisioner"), "{}", finding.summary);
    // The secret is back: the driver now answers something else, while the old event lives on.
    lab.log_failure("c", "Internal", "rados: ret=-5", 5);
    lab.pass(121);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::BackendError));
}

#[test]
fn two_11_a_missed_event_rests_on_silence_that_would_have_been_heard() {
    at_its_time("2-11 missed", 180, Class::MissedEvent, |_, _| {});
    assert_eq!(
        content_class(200, |lab, _| lab.delete_error("c", "Failed to delete snapshot", 30)),
        Some(Class::Retrying)
    );
    // Events and log cannot be read: nothing would have been heard.
    let deaf = |lab: &mut Lab, _: &mut volwarden::domain::record::Content| {
        lab.feed(Fact::Source(Source::ContentEvents, SourceChange::Forbidden("no".into())));
    };
    assert_eq!(content_class(200, deaf), None);
    // The log can: it is complete since the deletion.
    let logged = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        deaf(lab, c);
        let pod = ctrlplugin(lab, "leader-0", &["--leader-election=true"]);
        lab.pod("rook-ceph", "leader-0", pod);
        lab.empty_log();
    };
    assert_eq!(content_class(200, logged), Some(Class::MissedEvent));
    // A try in the log, none in the events.
    let tried = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        logged(lab, c);
        lab.log_failure("c", "DeadlineExceeded", "context deadline exceeded", 20);
    };
    assert_eq!(content_class(200, tried), Some(Class::Retrying));
    // The event of a namesake that lived before is no try of this one.
    let namesake = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        lab.delete_error("c", "Failed to delete snapshot", 30);
        c.meta.uid = Uid::parse("uid-of-another-life");
    };
    assert_eq!(content_class(200, namesake), Some(Class::MissedEvent));
}

#[test]
fn two_11_a_release_that_the_server_refuses_is_a_try() {
    let readable = |lab: &mut Lab| {
        let pod = ctrlplugin(lab, "leader-0", &["--leader-election=true"]);
        lab.pod("rook-ceph", "leader-0", pod);
        lab.empty_log();
    };
    let retained = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        readable(lab);
        c.policy = volwarden::domain::record::DeletionPolicy::Retain;
    };
    assert_eq!(content_class(200, retained), Some(Class::MissedEvent), "no try in the log");
    let refused = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        retained(lab, c);
        lab.log_line("c", "snapshot controller failed to update c on API server: etcdserver: request timed out", 20);
    };
    assert_eq!(content_class(200, refused), Some(Class::Retrying));
    // Nor do Events tell of it: with them alone nobody knows whether it was tried.
    let unlogged = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        retained(lab, c);
        lab.log = volwarden::domain::fact::LogTail::Forbidden;
    };
    assert_eq!(content_class(200, unlogged), None);
    let unread = |lab: &mut Lab, _: &mut volwarden::domain::record::Content| {
        readable(lab);
        lab.log_line("c", "error get snapshot content c from api server: etcdserver: request timed out", 20);
        lab.delete_error("c", "Failed to clear content status", 20);
    };
    assert_eq!(content_class(200, unread), Some(Class::Retrying));
    // Under Delete that Event always comes too: a write that is refused without it was about the creation.
    let created = |lab: &mut Lab, _: &mut volwarden::domain::record::Content| {
        readable(lab);
        lab.log_line("c", "snapshot controller failed to update c on API server: etcdserver: request timed out", 20);
    };
    assert_eq!(content_class(200, created), Some(Class::MissedEvent));
    let deaf = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        created(lab, c);
        lab.feed(Fact::Source(Source::ContentEvents, SourceChange::Forbidden("no".into())));
    };
    assert_eq!(content_class(200, deaf), None, "and without Events nobody knows");
}

#[test]
fn two_11_what_is_marked_late_is_not_missed_at_once() {
    let mut lab = Lab::new();
    let mut content = deleting(&lab, "c", "s", 3600);
    content.being_deleted = false;
    lab.content("c", content.clone());
    lab.pass(60);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
    content.being_deleted = true;
    lab.content("c", content);
    lab.pass(60);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None, "csi-snapshotter has only just been told");
    lab.pass(200);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent));
}

#[test]
fn two_12_floors_come_from_the_running_sidecar() {
    let rook = |lab: &mut Lab, c: &mut volwarden::domain::record::Content| {
        let pod = ctrlplugin(lab, "leader-0", &["--timeout=150s", "--leader-election=true"]);
        lab.pod("rook-ceph", "leader-0", pod);
        lab.empty_log();
        c.being_created = true;
    };
    at_its_time("2-12 rook's timeout", 360, Class::StillCreating, rook);
}

#[test]
fn two_13_configuration_raises_floors_only() {
    for (min, floor) in [(600, 600), (1, 60)] {
        let settings = volwarden::domain::engine::Settings {
            eager: true,
            min_floor: std::time::Duration::from_secs(min),
            ..Default::default()
        };
        for (age, expected) in [(floor - 1, None), (floor, Some(Class::OrphanedContent))] {
            let mut lab = Lab::with(settings.clone());
            let mut content = deleting(&lab, "c", "s", age);
            content.being_deleted = false;
            lab.content("c", content);
            assert_eq!(lab.class(VolumeSnapshotContent, "c"), expected, "min {min}, age {age}");
        }
    }
}

#[test]
fn two_15_a_nodes_own_sidecar_is_not_the_leader() {
    let mut lab = Lab::new();
    lab.drop_lease("rook-ceph", DRIVER_LEASE);
    let pod = ctrlplugin(&lab, "node-b", &["--node-deployment=true"]);
    lab.pod("rook-ceph", "node-b", pod);
    lab.empty_log();
    let mut content = deleting(&lab, "c", "s", 300);
    content.managed_by = Some("node-a".into());
    lab.content("c", content);
    lab.pass(70);
    assert_ne!(lab.class(VolumeSnapshotContent, "c"), Some(Class::MissedEvent));
}

#[test]
fn two_14_removal_without_a_driver_leaks_and_says_so() {
    let mut lab = Lab::eager();
    let mut content = deleting(&lab, "c", "s", 100);
    of_bogus_driver(&mut content);
    lab.content("c", content);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert!(finding.leaks && finding.repair.rung == Rung::RemoveIntoOrphanLedger, "{finding:?}");
    assert_eq!(finding.cause.unwrap().class, Class::DriverUnknown);
    assert_eq!(lab.class(CsiDriver, "bogus.example.com"), Some(Class::DriverUnknown));
}

// === 1: components ===

#[test]
fn one_1_a_dead_leader_without_a_candidate_is_driver_gone_after_the_takeover() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(55);
    assert_eq!(lab.class(CsiDriver, DRIVER), None);
    lab.pass(1);
    assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::DriverGone));
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!((finding.class, finding.cause.unwrap().class), (Class::DriverGone, Class::DriverGone));
    lab.start_leader("rook-ceph", DRIVER_LEASE);
    lab.pass(10);
    assert_eq!(lab.class(CsiDriver, DRIVER), None, "over once somebody renews");
}

#[test]
fn one_2_a_ready_candidate_that_does_not_take_over_makes_it_a_stale_leader() {
    let mut lab = Lab::new();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    let pod = ctrlplugin(&lab, "candidate", &["--leader-election=true"]);
    lab.pod("rook-ceph", "candidate", pod);
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(56);
    let finding = lab.finding(CsiDriver, DRIVER).unwrap();
    assert_eq!((finding.class, finding.repair.rung), (Class::StaleLeader, Rung::RestartCandidate));
    let pod = broken(ctrlplugin(&lab, "candidate", &["--leader-election=true"]), "CrashLoopBackOff");
    lab.pod("rook-ceph", "candidate", pod);
    assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::DriverGone), "a candidate that is not Ready is none");
}

#[test]
fn one_1_a_pod_that_has_just_ceased_to_be_ready_is_no_young_one() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(55);
    let mut pod = broken(ctrlplugin(&lab, "lost", &["--leader-election=true"]), "Error");
    pod.ready_changed = lab.stamp(0);
    lab.pod("rook-ceph", "lost", pod);
    lab.pass(1);
    assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::DriverGone));
}

#[test]
fn one_3_a_rollout_and_a_change_of_leader_are_nothing() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 10);
    lab.content("c", content);
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(40);
    lab.start_leader("rook-ceph", DRIVER_LEASE);
    lab.pass(20);
    // A pod that just started may take two minutes.
    lab.stop_leader(DRIVER_LEASE);
    let mut pod = broken(ctrlplugin(&lab, "fresh", &["--leader-election=true"]), "ContainerCreating");
    pod.meta.created = lab.stamp(0);
    lab.pod("rook-ceph", "fresh", pod);
    lab.pass(110);
    assert_eq!(lab.classes().into_iter().filter(|(class, _)| class.is_component()).collect::<Vec<_>>(), []);
}

#[test]
fn one_2_a_candidate_has_its_takeover_time_from_its_own_beginning_or_return() {
    // A pod that is new; and an old one, whose node was cut off and is back.
    for returns in [false, true] {
        let mut lab = Lab::new();
        let content = alive(&lab, "c", "s");
        lab.content("c", content);
        let snapshot = ready(&lab, "s", "c");
        lab.snapshot("s", snapshot);
        lab.stop_leader(DRIVER_LEASE);
        // Rook's times: 137 s from when the candidate first sees the lease, and its retries.
        let last = lease("leader-0", 137, lab.now().wall, 7);
        lab.feed(Fact::Lease(Change::Applied(Key::namespaced("rook-ceph", DRIVER_LEASE), last)));
        lab.pass(100);
        let mut pod = ctrlplugin(&lab, "candidate", &["--leader-election=true", "--leader-election-retry-period=26s"]);
        if returns {
            pod.ready_changed = lab.stamp(0);
        } else {
            pod.meta.created = lab.stamp(0);
        }
        lab.pod("rook-ceph", "candidate", pod);
        lab.pass(190);
        assert_eq!(lab.class(CsiDriver, DRIVER), None, "the lease is long dead, but the candidate is 190 s there");
        lab.pass(90);
        assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::StaleLeader));
    }
}

#[test]
fn one_4_clocks_two_minutes_apart_name_nobody_dead() {
    for skew in [-120, 120, 7200] {
        let mut lab = Lab::eager();
        lab.skew(skew);
        let content = alive(&lab, "c", "s");
        lab.content("c", content);
        let snapshot = ready(&lab, "s", "c");
        lab.snapshot("s", snapshot);
        lab.pass(300);
        assert_eq!(lab.classes(), [], "skew {skew}");
    }
}

#[test]
fn one_5_no_lease_no_pod_but_a_csidriver_is_gone_and_the_missing_sidecar_is_named() {
    let mut lab = Lab::eager();
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.drop_lease("rook-ceph", DRIVER_LEASE);
    lab.feed(deployment(
        "rook-ceph.rbd.csi.ceph.com-ctrlplugin",
        vec![container("csi-rbdplugin", "cephcsi", &[&format!("--drivername={DRIVER}")])],
    ));
    let finding = lab.finding(CsiDriver, DRIVER).unwrap();
    assert_eq!(finding.class, Class::DriverGone);
    assert!(
        finding.evidence.iter().any(|line| line.contains("has no csi-snapshotter container")),
        "{:?}",
        finding.evidence
    );
}

#[test]
fn one_6_what_cannot_be_read_stays_unknown() {
    for source in [Source::Leases, Source::Pods, Source::CsiDrivers] {
        let mut lab = Lab::eager();
        let content = deleting(&lab, "c", "s", 100);
        lab.content("c", content);
        lab.drop_lease("rook-ceph", DRIVER_LEASE);
        lab.feed(Fact::Source(source, SourceChange::Forbidden("no".into())));
        assert_eq!(lab.class(CsiDriver, DRIVER), None, "{source}");
    }
}

#[test]
fn one_7_a_sidecar_without_leader_election_lives_by_its_pod() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.drop_lease("rook-ceph", DRIVER_LEASE);
    let pod = ctrlplugin(&lab, "csi-hostpathplugin-0", &["--csi-address=/csi/csi.sock"]);
    lab.pod("rook-ceph", "csi-hostpathplugin-0", pod);
    lab.pass(120);
    assert_eq!(lab.class(CsiDriver, DRIVER), None);
}

#[test]
fn one_8_forty_contents_behind_one_driver_are_one_incident() {
    let mut lab = Lab::eager();
    let pod = ctrlplugin(&lab, "leader-0", &["--leader-election=true"]);
    lab.pod("rook-ceph", "leader-0", pod);
    for at in 0..40 {
        let name = format!("c{at}");
        lab.log_failure(&name, "DeadlineExceeded", "context deadline exceeded", 5);
        let content = deleting(&lab, &name, &format!("s{at}"), 400);
        lab.content(&name, content);
        let snapshot = going(&lab, &format!("s{at}"), &name, 400, &[BOUND]);
        lab.snapshot(&format!("s{at}"), snapshot);
    }
    lab.pass(121);
    assert_eq!(lab.classes(), [(Class::DriverDegraded, DRIVER.to_owned())]);
    let finding = lab.finding(CsiDriver, DRIVER).unwrap();
    assert!(finding.summary.starts_with("40 of 40 contents"), "{}", finding.summary);
    // Thirty-six end: four are no storm, each is named again.
    for at in 0..36 {
        lab.feed(Fact::Content(Change::Gone(Key::cluster(format!("c{at}")))));
        lab.feed(Fact::Snapshot(Change::Gone(Key::namespaced("default", format!("s{at}")))));
    }
    lab.pass(61);
    assert_eq!(lab.class(CsiDriver, DRIVER), None);
    assert_eq!(lab.class(VolumeSnapshotContent, "c39"), Some(Class::Retrying));
}

#[test]
fn one_9_a_storm_needs_five_and_a_fifth() {
    for (failing, healthy, storm) in [(4, 0, false), (5, 20, true), (5, 21, false)] {
        let mut lab = Lab::eager();
        for at in 0..failing {
            let name = format!("c{at}");
            let content = deleting(&lab, &name, &format!("s{at}"), 400);
            lab.content(&name, content);
            lab.delete_error(&name, "Failed to delete snapshot", 20);
        }
        for at in 0..healthy {
            let mut content = alive(&lab, &format!("h{at}"), "s");
            content.velero = true;
            lab.content(&format!("h{at}"), content);
        }
        lab.pass(61);
        let expected = storm.then_some(Class::DriverDegraded);
        assert_eq!(lab.class(CsiDriver, DRIVER), expected, "{failing} of {}", failing + healthy);
    }
}

#[test]
fn one_14_a_snapshot_counts_once_in_a_storm() {
    let mut lab = Lab::eager();
    lab.claim("data", claim("data", ClaimPhase::Bound, None));
    let lock = "Failed to create snapshot: rpc error: code = Aborted desc = an operation with the given Volume ID x already exists";
    for at in 0..3 {
        let (content, snapshot) = (format!("c{at}"), format!("s{at}"));
        let mut record = alive(&lab, &content, &snapshot);
        record.status =
            Some(ContentStatus { ready: Some(false), error: status_error(lock), ..ContentStatus::default() });
        lab.content(&content, record);
        let mut record = unready(&lab, &snapshot, 400);
        record.content = Some(content.as_str().into());
        record.ready = Some(false);
        lab.snapshot(&snapshot, record);
    }
    lab.pass(61);
    assert_eq!(lab.class(CsiDriver, DRIVER), None, "three are no storm");
    assert_eq!(lab.class(VolumeSnapshotContent, "c0"), Some(Class::OperationLocked));
}

#[test]
fn one_15_what_is_merely_not_there_has_to_stay_away() {
    let mut lab = Lab::new();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    lab.drop_lease("rook-ceph", DRIVER_LEASE);
    let pod = ctrlplugin(&lab, "p-0", &["--csi-address=/csi/csi.sock"]);
    lab.pod("rook-ceph", "p-0", pod.clone());
    lab.pass(10);
    let gone = || Fact::Pod(Change::Gone(Key::namespaced("rook-ceph", "p-0")));
    lab.feed(gone());
    lab.pass(59);
    assert_eq!(lab.class(CsiDriver, DRIVER), None, "its only pod may be replaced");
    lab.pod("rook-ceph", "p-0", pod);
    lab.pass(10);
    lab.feed(gone());
    lab.pass(59);
    assert_eq!(lab.class(CsiDriver, DRIVER), None, "the gap begins anew");
    lab.pass(2);
    assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::DriverGone));
    // doctor cannot wait a minute: it looks twice, and says until then that it is not sure.
    let mut lab = Lab::eager();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    lab.drop_lease("rook-ceph", DRIVER_LEASE);
    assert!(lab.finding(CsiDriver, DRIVER).unwrap().unverified);
    lab.pass(10);
    assert!(!lab.finding(CsiDriver, DRIVER).unwrap().unverified);
}

#[test]
fn one_16_a_controller_whose_pods_cannot_be_read_is_not_called_down() {
    let mut lab = Lab::new();
    lab.drop_lease("kube-system", CONTROLLER_LEASE);
    lab.feed(Fact::Source(Source::Pods, SourceChange::Forbidden("no".into())));
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 100, &[AS_SOURCE, BOUND]);
    lab.snapshot("s", snapshot);
    lab.pass(200);
    assert_eq!(lab.class(LeaseKind, CONTROLLER_LEASE), None);
}

#[test]
fn one_17_a_hung_holder_and_an_idle_candidate_are_told_apart() {
    let why = |pod: &str| {
        let mut lab = Lab::new();
        let content = alive(&lab, "c", "s");
        lab.content("c", content);
        let record = ctrlplugin(&lab, pod, &["--leader-election=true"]);
        lab.pod("rook-ceph", pod, record);
        lab.stop_leader(DRIVER_LEASE);
        lab.pass(60);
        let finding = lab.finding(CsiDriver, DRIVER).unwrap();
        assert_eq!(finding.class, Class::StaleLeader);
        finding.summary
    };
    assert!(why("leader-0").contains("holds the lease and is Ready, but does not renew it"));
    assert!(why("idle-1").contains("did not take over"));
}

#[test]
fn one_10_a_snapshot_controller_that_stopped_is_the_cause_of_what_waits_for_it() {
    let mut lab = Lab::new();
    lab.stop_leader(CONTROLLER_LEASE);
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 100, &[AS_SOURCE, BOUND]);
    lab.snapshot("s", snapshot);
    lab.pass(55);
    assert_eq!(lab.classes(), []);
    lab.pass(6);
    assert_eq!(lab.class(LeaseKind, CONTROLLER_LEASE), Some(Class::ControllerDown));
    let finding = lab.finding(VolumeSnapshot, "s").unwrap();
    assert_eq!((finding.class, finding.cause.unwrap().class), (Class::ControllerDown, Class::ControllerDown));
}

#[test]
fn one_11_no_snapshot_controller_at_all_shows_by_what_waits() {
    let mut lab = Lab::new();
    lab.drop_lease("kube-system", CONTROLLER_LEASE);
    lab.pass(600);
    assert_eq!(lab.classes(), [], "nothing waits for it");
    lab.claim("data", claim("data", ClaimPhase::Bound, None));
    let mut snapshot = unready(&lab, "s", 0);
    snapshot.meta.finalizers = Vec::new().into();
    lab.snapshot("s", snapshot);
    lab.pass(59);
    assert_eq!(lab.classes(), []);
    lab.pass(121);
    assert_eq!(lab.class(LeaseKind, CONTROLLER_LEASE), Some(Class::ControllerDown));
    assert_eq!(lab.finding(VolumeSnapshot, "s").unwrap().cause.unwrap().class, Class::ControllerDown);
}

#[test]
fn one_12_an_event_that_only_it_could_write_shows_that_it_lives() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 100);
    lab.content("c", content);
    lab.stop_leader(DRIVER_LEASE);
    lab.pass(100);
    assert_eq!(lab.class(CsiDriver, DRIVER), Some(Class::DriverGone));
    lab.delete_error("c", "Failed to delete snapshot", 1);
    lab.pass(61);
    assert_eq!(lab.class(CsiDriver, DRIVER), None);
}

#[test]
fn one_13_a_driver_nobody_snapshots_with_is_nobodys_business() {
    let mut lab = Lab::eager();
    lab.drop_lease("rook-ceph", DRIVER_LEASE);
    lab.pass(600);
    assert_eq!(lab.classes(), []);
}

// === 3: snapshots ===

fn snapshot_class(age: u64, finalizers: &[&str], change: impl Fn(&mut Lab)) -> Option<Class> {
    let mut lab = Lab::eager();
    change(&mut lab);
    let snapshot = going(&lab, "s", "c", age, finalizers);
    lab.snapshot("s", snapshot);
    lab.class(VolumeSnapshot, "s")
}

fn snapshot_at_its_time(number: &str, floor: u64, class: Class, finalizers: &[&str], change: impl Fn(&mut Lab)) {
    assert_ne!(snapshot_class(floor - 1, finalizers, &change), Some(class), "{number}: named before its time");
    assert_eq!(snapshot_class(floor, finalizers, &change), Some(class), "{number}");
}

#[test]
fn three_1_snapshots_are_named_by_their_shape_and_not_before_their_time() {
    let restore = |lab: &mut Lab| {
        lab.claim("restored", claim("restored", ClaimPhase::Pending, Some("default/s")));
        let content = alive(lab, "c", "s");
        lab.content("c", content);
    };
    snapshot_at_its_time("3-1 restore", 60, Class::RestoreInProgress, &[AS_SOURCE, BOUND], restore);
    snapshot_at_its_time("3-2 provisioner", 600, Class::ProvisionerOrphan, &[PROVISIONER], |_| {});
    snapshot_at_its_time("3-3 foreign", 60, Class::ForeignFinalizer, &["example.com/hold"], |_| {});
    snapshot_at_its_time("3-4 missed", 180, Class::MissedEvent, &[BOUND], |_| {});
    snapshot_at_its_time("3-5 waiting", 60, Class::WaitingForContent, &[BOUND], |lab| {
        let mut content = deleting(lab, "c", "s", 600);
        content.secret = secret("ns", "gone");
        lab.content("c", content);
        lab.delete_error("c", "Failed to get snapshot credentials", 10);
    });
    snapshot_at_its_time("3-6 unexplained", 960, Class::Unexplained, &[AS_SOURCE, BOUND], |lab| {
        let content = alive(lab, "c", "s");
        lab.content("c", content);
    });
}

#[test]
fn three_2_only_a_live_pending_claim_is_a_restore() {
    for phase in [ClaimPhase::Bound, ClaimPhase::Lost] {
        let class = snapshot_class(100, &[AS_SOURCE, BOUND], |lab| {
            lab.claim("restored", claim("restored", phase, Some("default/s")));
            let content = alive(lab, "c", "s");
            lab.content("c", content);
        });
        assert_eq!(class, None, "{phase:?}");
    }
    // From another namespace, by dataSourceRef.
    let class = snapshot_class(100, &[PROVISIONER], |lab| {
        let key = Key::namespaced("elsewhere", "restored");
        lab.feed(Fact::Claim(Change::Applied(key, claim("restored", ClaimPhase::Pending, Some("default/s")))));
    });
    assert_eq!(class, Some(Class::RestoreInProgress));
}

#[test]
fn three_3_a_restore_shows_the_claims_own_trouble() {
    let mut lab = Lab::new();
    lab.claim_warning = Some("ProvisioningFailed: no space left".into());
    lab.claim("restored", claim("restored", ClaimPhase::Pending, Some("default/s")));
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 100, &[AS_SOURCE, BOUND]);
    lab.snapshot("s", snapshot);
    let finding = lab.finding(VolumeSnapshot, "s").unwrap();
    assert!(finding.evidence.iter().any(|line| line.contains("no space left")), "{:?}", finding.evidence);
}

#[test]
fn three_4_the_provisioners_sweeps_count_from_the_last_claim() {
    let mut lab = Lab::new();
    lab.claim("restored", claim("restored", ClaimPhase::Pending, Some("default/s")));
    let snapshot = going(&lab, "s", "c", 3000, &[PROVISIONER]);
    lab.snapshot("s", snapshot);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::RestoreInProgress));
    lab.claim("restored", claim("restored", ClaimPhase::Bound, Some("default/s")));
    lab.pass(599);
    assert_eq!(lab.class(VolumeSnapshot, "s"), None, "{:?}", lab.classes());
    lab.pass(2);
    let finding = lab.finding(VolumeSnapshot, "s").unwrap();
    assert_eq!((finding.class, finding.repair.rung), (Class::ProvisionerOrphan, Rung::RemoveProvisionerFinalizer));
}

#[test]
fn three_9_a_restore_that_ended_unnoticed_wants_a_nudge() {
    let mut lab = Lab::new();
    lab.claim("restored", claim("restored", ClaimPhase::Pending, Some("default/s")));
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 3000, &[AS_SOURCE, BOUND]);
    lab.snapshot("s", snapshot);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::RestoreInProgress));
    lab.claim("restored", claim("restored", ClaimPhase::Bound, Some("default/s")));
    lab.pass(179);
    assert_eq!(lab.class(VolumeSnapshot, "s"), None, "it may still be on its way");
    lab.pass(2);
    let finding = lab.finding(VolumeSnapshot, "s").unwrap();
    assert_eq!((finding.class, finding.repair.rung), (Class::MissedEvent, Rung::Nudge));
}

#[test]
fn three_10_an_imported_snapshot_that_is_never_ready_is_found_at_the_start() {
    let mut lab = Lab::bare(volwarden::domain::engine::Settings { eager: true, ..Default::default() });
    let mut snapshot = unready(&lab, "s", 4000);
    snapshot.source = SnapshotSource::Content("nope".into());
    lab.snapshot("s", snapshot);
    lab.sync_all();
    lab.pass(30);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::CreateStuck));
}

#[test]
fn three_5_a_content_that_a_live_read_finds_is_no_missed_event() {
    let class = snapshot_class(200, &[BOUND], |lab| {
        lab.live.insert((VolumeSnapshotContent, Key::cluster("c")), Live::Present(Uid::parse("uid-c")));
    });
    assert_eq!(class, None);
}

#[test]
fn three_6_a_snapshot_in_its_content_turn_is_not_the_controllers() {
    let mut lab = Lab::new();
    let content = deleting(&lab, "c", "s", 1000);
    lab.content("c", content);
    let snapshot = going(&lab, "s", "c", 1000, &[BOUND]);
    lab.snapshot("s", snapshot);
    lab.stop_leader(CONTROLLER_LEASE);
    lab.pass(120);
    assert_eq!(lab.class(VolumeSnapshot, "s"), Some(Class::WaitingForContent));
}

#[test]
fn three_7_members_of_a_group_go_with_it() {
    let with_group = |known: bool| {
        let mut lab = Lab::eager();
        if known {
            let group = Group { meta: meta("g", None, None, &[]), handles: Box::new([]) };
            lab.feed(Fact::Group(Change::Applied(Key::namespaced("default", "g"), group)));
        }
        let mut snapshot = going(&lab, "s", "c", 200, &[AS_SOURCE, BOUND]);
        snapshot.group = Some("g".into());
        lab.snapshot("s", snapshot);
        lab.class(VolumeSnapshot, "s")
    };
    assert_eq!(with_group(true), Some(Class::GroupMember));
    assert_ne!(with_group(false), Some(Class::GroupMember));
}

#[test]
fn three_8_a_snapshot_that_was_never_cut_says_why() {
    let stuck = |age: u64, change: &dyn Fn(&mut Lab, &mut volwarden::domain::record::Snapshot)| {
        let mut lab = Lab::eager();
        lab.claim("data", claim("data", ClaimPhase::Bound, None));
        lab.feed(Fact::Volume(Change::Applied(Key::cluster("pv-data"), volume(DRIVER))));
        let mut snapshot = unready(&lab, "s", age);
        change(&mut lab, &mut snapshot);
        lab.snapshot("s", snapshot);
        lab.pass(20);
        lab.finding(VolumeSnapshot, "s")
    };
    let summary = |age, change: &dyn Fn(&mut Lab, &mut volwarden::domain::record::Snapshot)| {
        stuck(age, change).map(|f| f.summary)
    };
    // Nothing says why: a resync has to pass.
    assert_eq!(summary(900, &|_, _| {}), None);
    assert!(summary(960, &|_, _| {}).unwrap().contains("nothing that can be seen"));
    // Positive evidence shortens that.
    assert_eq!(summary(100, &|_, s| s.class = Some("typo".into())), None);
    assert!(
        summary(180, &|_, s| s.class = Some("typo".into()))
            .unwrap()
            .contains("VolumeSnapshotClass typo does not exist")
    );
    assert!(
        summary(180, &|_, s| s.source = SnapshotSource::Claim("nope".into()))
            .unwrap()
            .contains("default/nope does not exist")
    );
    let mismatch: &dyn Fn(&mut Lab, &mut volwarden::domain::record::Snapshot) = &|lab, _| {
        lab.feed(Fact::Volume(Change::Applied(Key::cluster("pv-data"), volume("other.driver"))));
    };
    assert!(summary(180, mismatch).unwrap().contains("belongs to driver other.driver"));
    let no_sidecar = stuck(180, &|lab, _| lab.drop_lease("rook-ceph", DRIVER_LEASE)).unwrap();
    assert_eq!(no_sidecar.cause.unwrap().class, Class::DriverGone);
    let lock = "Failed to create snapshot: rpc error: code = Aborted desc = an operation with the given Volume ID x already exists";
    let locked = stuck(180, &|lab, s| {
        let mut content = alive(lab, "c", "s");
        content.status =
            Some(ContentStatus { ready: Some(false), error: status_error(lock), ..ContentStatus::default() });
        lab.content("c", content);
        s.content = Some("c".into());
        s.ready = Some(false);
    })
    .unwrap();
    assert_eq!(locked.class, Class::CreateStuck);
    assert_eq!(locked.cause.unwrap().class, Class::OperationLocked);
}

// === 4: alive but wrong ===

#[test]
fn four_1_a_content_whose_snapshot_was_stripped_is_abandoned_once_seen_twice() {
    let mut lab = Lab::new();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    lab.pass(29);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), None);
    lab.pass(1);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!(
        (finding.class, finding.repair.rung, finding.destroys),
        (Class::AbandonedContent, Rung::DeleteAbandoned, true)
    );
}

#[test]
fn four_2_what_is_parked_on_purpose_is_not_abandoned() {
    type Change = fn(&mut volwarden::domain::record::Content);
    let parked: [(&str, Change); 5] = [
        ("Velero's", |c| c.velero = true),
        ("kept by Retain", |c| c.policy = DeletionPolicy::Retain),
        ("imported", |c| c.source = ContentSource::Handle),
        ("a group's", |c| c.in_group = true),
        ("not bound yet", |c| c.snapshot.uid = None),
    ];
    for (name, change) in parked {
        let mut lab = Lab::new();
        let mut content = alive(&lab, "c", "s");
        change(&mut content);
        lab.content("c", content);
        lab.pass(2000);
        assert_eq!(lab.classes(), [], "{name}");
    }
}

#[test]
fn four_3_a_snapshot_that_comes_back_ends_the_suspicion() {
    let mut lab = Lab::new();
    let content = alive(&lab, "c", "s");
    lab.content("c", content);
    lab.pass(40);
    assert_eq!(lab.class(VolumeSnapshotContent, "c"), Some(Class::AbandonedContent));
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    assert_eq!(lab.classes(), []);
}

#[test]
fn four_4_a_pinned_claim_names_the_snapshot_that_pins_it() {
    let mut lab = Lab::eager();
    let snapshot = unready(&lab, "s", 2000);
    lab.snapshot("s", snapshot);
    let mut pinned = claim("data", ClaimPhase::Bound, None);
    pinned.meta = meta("uid-data", None, lab.stamp(179), &[PVC_SOURCE]);
    lab.claim("data", pinned);
    assert_eq!(lab.class(PersistentVolumeClaim, "data"), None);
    lab.pass(1);
    let finding = lab.finding(PersistentVolumeClaim, "data").unwrap();
    assert_eq!(finding.class, Class::SourcePinned);
    assert!(finding.summary.contains("default/s"), "{}", finding.summary);
    assert_eq!(finding.cause.unwrap().class, Class::CreateStuck);
    // Ready at last: nothing pins it any more.
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    lab.pass(61);
    assert_eq!(lab.class(PersistentVolumeClaim, "data"), None);
}

#[test]
fn four_6_raised_floors_hold_for_claims_too() {
    let settings = volwarden::domain::engine::Settings {
        eager: true,
        min_floor: std::time::Duration::from_secs(3600),
        ..Default::default()
    };
    let mut lab = Lab::with(settings);
    let snapshot = unready(&lab, "s", 2000);
    lab.snapshot("s", snapshot);
    let mut pinned = claim("data", ClaimPhase::Bound, None);
    pinned.meta = meta("uid-data", None, lab.stamp(300), &[PVC_SOURCE]);
    lab.claim("data", pinned);
    assert_eq!(lab.class(PersistentVolumeClaim, "data"), None);
}

#[test]
fn four_5_a_locked_creation_is_named_on_the_live_content() {
    let mut lab = Lab::eager();
    let snapshot = ready(&lab, "s", "c");
    lab.snapshot("s", snapshot);
    let mut content = alive(&lab, "c", "s");
    let words = "Failed to create snapshot: rpc error: code = Aborted desc = an operation with the given Volume ID v already exists";
    content.status = Some(ContentStatus { ready: Some(false), error: status_error(words), ..ContentStatus::default() });
    lab.content("c", content);
    let finding = lab.finding(VolumeSnapshotContent, "c").unwrap();
    assert_eq!((finding.class, finding.repair.rung), (Class::OperationLocked, Rung::RestartLeader));
}
