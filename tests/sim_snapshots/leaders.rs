//! Who leads, and how long nobody does.

use std::time::Duration;

use volwarden::sim::actors::csi_snapshotter::{self, CsiSnapshotter};
use volwarden::sim::actors::object;
use volwarden::sim::process::ProcessId;
use volwarden::sim::store::table::{CONTENTS, LEASES, SNAPSHOTS};

use super::lab::{DRIVER, Lab, Setup, seconds};

fn rook(host: &str) -> csi_snapshotter::Options {
    let mut options = csi_snapshotter::Options::new(DRIVER, "rook-ceph", host);
    options.election = options.election.map(volwarden::sim::election::Options::with_rook_times);
    options
}

/// A lab with Rook's times and a second candidate.
fn with_standby(seed: u64, host: &str) -> (Lab, ProcessId) {
    let mut setup = Setup::new(seed);
    setup.sidecar = rook("ctrlplugin-0");
    let mut lab = setup.start();
    let standby = lab.cluster.spawn(Box::new(CsiSnapshotter::new(rook(host), lab.driver)));
    lab.cluster.run_for(seconds(60));
    (lab, standby)
}

#[test]
fn a_killed_leader_is_followed_after_its_lease_and_a_retry() {
    for seed in 0..10 {
        let (mut lab, _) = with_standby(seed, "ctrlplugin-1");
        assert_eq!(object::text(&lab.lease(), "/spec/holderIdentity"), "ctrlplugin-0");
        assert_eq!(lab.lease().pointer("/spec/leaseDurationSeconds"), Some(&137.into()));
        lab.cluster.kill(lab.sidecar);
        let follows = |lab: &Lab| object::text(&lab.lease(), "/spec/holderIdentity") == "ctrlplugin-1";
        let took = lab.wait("the standby leads", seconds(300), follows);
        // A candidate looks every 26 to 57 seconds: so late it learns of the last renewal, and again of the end.
        let (least, most) = (seconds(137 - 26), seconds(137 + 58 + 58));
        assert!(took >= least && took <= most, "seed {seed}: {took:?}");
        assert_eq!(lab.lease().pointer("/spec/leaseTransitions"), Some(&1.into()));
        lab.ready_snapshot("a");
    }
}

#[test]
fn two_replicas_on_one_host_network_lead_both() {
    let (lab, standby) = with_standby(20, "ctrlplugin-0");
    let leads = |process| lab.lines(process, "Successfully acquired lease").len();
    assert_eq!((leads(lab.sidecar), leads(standby)), (1, 1));
}

#[test]
fn a_leader_that_cannot_renew_gives_up_and_exits() {
    let mut lab = Lab::new(21);
    lab.delete(LEASES, "rook-ceph", "external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com");
    lab.cluster.run_for(seconds(10));
    assert!(lab.cluster.is_running(lab.sidecar), "it makes the lease again");
    lab.cluster.pause(lab.sidecar);
    let standby = csi_snapshotter::Options::new(DRIVER, "rook-ceph", "ctrlplugin-1");
    lab.cluster.spawn(Box::new(CsiSnapshotter::new(standby, lab.driver)));
    lab.cluster.run_for(seconds(60));
    assert_eq!(object::text(&lab.lease(), "/spec/holderIdentity"), "ctrlplugin-1");
    lab.cluster.resume(lab.sidecar);
    lab.cluster.run_for(seconds(30));
    assert_eq!(lab.cluster.exit_code(lab.sidecar), Some(1));
    assert_eq!(lab.lines(lab.sidecar, "stopped leading").len(), 1);
    assert!(lab.events("external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com").len() >= 3);
}

#[test]
fn a_dotted_pod_name_is_sanitised_in_the_lease_and_not_in_the_events_source() {
    let mut setup = Setup::new(22);
    setup.sidecar = csi_snapshotter::Options::new(DRIVER, "rook-ceph", "rook-ceph.rbd.csi.ceph.com-ctrlplugin-0");
    let lab = setup.start();
    assert_eq!(object::text(&lab.lease(), "/spec/holderIdentity"), "rook-ceph-rbd-csi-ceph-com-ctrlplugin-0");
    let events = lab.cluster.store.list(volwarden::sim::store::table::EVENTS, Some("rook-ceph"));
    let sources: Vec<&str> = events.map(|event| object::text(event, "/source/component")).collect();
    let lock = "external-snapshotter-leader-rook-ceph.rbd.csi.ceph.com";
    assert_eq!(sources, [format!("{lock}/rook-ceph.rbd.csi.ceph.com-ctrlplugin-0")]);
}

#[test]
fn while_the_controller_stands_still_a_deletion_does_not_begin() {
    let mut lab = Lab::new(23);
    let content = lab.ready_snapshot("a");
    lab.cluster.pause(lab.controller);
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(Duration::from_secs(600));
    assert_eq!(object::finalizers(&lab.get(SNAPSHOTS, "default", "a").unwrap()).count(), 2);
    assert!(!object::is_deleting(&lab.get(CONTENTS, "", &content).unwrap()));
    lab.cluster.resume(lab.controller);
    lab.wait("it goes on where it stood", seconds(30), |lab| lab.is_gone(SNAPSHOTS, "default", "a"));
}
