//! The life of snapshots as it was recorded from the real components, and as the embedded ones write it.

use std::collections::{BTreeMap, BTreeSet};

use volwarden::sim::actors::object;
use volwarden::sim::store::table::{CONTENTS, SNAPSHOTS};

use super::lab::{FIELDS, Lab, line, seconds};

const RECORDED: &str = include_str!("../scenarios/csi-transitions.log");

/// What one recorded object went through, from its beginning.
fn recorded(kind: &str) -> Vec<Vec<String>> {
    let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut ended = Vec::new();
    for entry in RECORDED.lines().filter(|entry| !entry.starts_with('#')) {
        let mut words = entry.split_whitespace().skip(1);
        let (Some(what), Some(change), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        if what != kind {
            continue;
        }
        let life = lives.entry(name.to_owned()).or_default();
        life.push(normalised(entry, change));
        if change == "DELETED" {
            ended.push(std::mem::take(life));
        }
    }
    ended.into_iter().filter(|life| life.first().is_some_and(|first| first.starts_with("ADDED"))).collect()
}

fn normalised(entry: &str, change: &str) -> String {
    let part = |from: &str, to: &str| {
        let rest = entry.split_once(from).map_or("", |(_, rest)| rest);
        rest.split_once(to).map_or(rest, |(part, _)| part).to_owned()
    };
    let quoted = |text: &str| -> Vec<String> {
        text.split('\'').skip(1).step_by(2).filter(|word| *word != "yes").map(str::to_owned).collect()
    };
    let mut annotations = quoted(&part(" ann={", "} status="));
    annotations.sort();
    let status = part(" status={", "\n");
    let fields: Vec<&str> = FIELDS.into_iter().filter(|field| status.contains(&format!("'{field}'"))).collect();
    let finalizers = quoted(&part(" fin=[", "] ann="));
    let ready = status.contains("'readyToUse': True");
    line(change, !entry.contains(" del=- "), &finalizers, &annotations, &fields, ready)
}

/// A snapshot made, ready and deleted while all is well.
fn life(seed: u64) -> (Vec<String>, Vec<String>) {
    let mut lab = Lab::new(seed);
    let content = lab.ready_snapshot("a");
    lab.delete(SNAPSHOTS, "default", "a");
    lab.wait("both are gone", seconds(5), |lab| {
        lab.is_gone(SNAPSHOTS, "default", "a") && lab.is_gone(CONTENTS, "", &content)
    });
    assert!(lab.pool.with(|pool| pool.snapshots().is_empty()), "the driver has deleted it");
    (lab.transitions(SNAPSHOTS, "a"), lab.transitions(CONTENTS, &content))
}

#[test]
fn a_normal_life_is_the_recorded_one() {
    let (snapshots, contents): (Vec<_>, Vec<_>) = (0..10).map(life).unzip();
    for (kind, ours) in [("VS", snapshots), ("VSC", contents)] {
        let theirs = recorded(kind);
        assert!(theirs.len() > 5, "{kind}: {} lives are recorded", theirs.len());
        assert!(ours.iter().any(|life| theirs.contains(life)), "{kind}: nobody recorded {ours:#?}");
        // However it began, from the fourth change on there is one way.
        let rest = |life: &Vec<String>| life.get(3..).map(<[String]>::to_vec);
        let rests: BTreeSet<_> = theirs.iter().map(rest).collect();
        for life in &ours {
            assert!(rests.contains(&rest(life)), "{kind}: nobody recorded {life:#?}");
        }
    }
}

/// The recordings hold two orders of a content's beginning, because two controllers write to it at once.
#[test]
fn the_beginning_of_a_content_has_the_recorded_orders_and_no_other() {
    let beginning = |life: &Vec<String>| life.iter().take(5).cloned().collect::<Vec<_>>();
    let at_once = |life: &&Vec<String>| life.get(4).is_some_and(|change| change.ends_with("ready=true"));
    let theirs: BTreeSet<Vec<String>> = recorded("VSC").iter().filter(at_once).map(beginning).collect();
    let ours: BTreeSet<Vec<String>> = (0..40).map(|seed| beginning(&life(seed).1)).collect();
    assert_eq!(theirs.len(), 2, "{theirs:#?}");
    assert_eq!(ours, theirs);
}

#[test]
fn the_steps_of_a_deletion_come_in_their_order_across_the_objects() {
    let mut lab = Lab::new(7);
    let content = lab.ready_snapshot("a");
    let before = lab.cluster.store.version();
    lab.delete(SNAPSHOTS, "default", "a");
    lab.cluster.run_for(seconds(2));
    let changes = lab.cluster.store.changes_since(before).unwrap();
    let here = changes.iter().filter(|change| [SNAPSHOTS, CONTENTS].contains(&change.resource));
    let steps: Vec<String> = here
        .map(|change| {
            let kind = change.resource.kind.trim_start_matches("Volume");
            let finalizers = object::finalizers(&change.object).count();
            let status = object::status(&change.object).is_some_and(|status| !status.is_empty());
            let deleting = object::is_deleting(&change.object);
            format!("{kind} {:?} deleting={deleting} finalizers={finalizers} status={status}", change.kind)
        })
        .collect();
    assert_eq!(
        steps,
        [
            "Snapshot Modified deleting=true finalizers=2 status=true",
            "SnapshotContent Modified deleting=false finalizers=1 status=true",
            "SnapshotContent Modified deleting=true finalizers=1 status=true",
            "Snapshot Modified deleting=true finalizers=1 status=true",
            "SnapshotContent Modified deleting=true finalizers=1 status=false",
            "SnapshotContent Deleted deleting=true finalizers=1 status=false",
            "Snapshot Deleted deleting=true finalizers=1 status=true",
        ],
        "{content}"
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut lab = Lab::new(seed);
        let content = lab.ready_snapshot("a");
        lab.cluster.pause(lab.driver);
        lab.delete(SNAPSHOTS, "default", "a");
        lab.cluster.run_for(seconds(400));
        let changes = lab.cluster.store.changes_since(0).unwrap();
        let objects: Vec<String> = changes.iter().map(|change| change.object.to_string()).collect();
        (content, objects, lab.cluster.log(lab.sidecar).unwrap().text())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).1, run(4).1);
}
