//! Properties of the engine over a small universe of snapshots, contents, claims, drivers, pods and events:
//! what holds for any order and any loss of facts, not only for the shapes that somebody thought of.
//!
//! A failure prints its smallest sequence of facts and a seed; the sequence is what to put into a table test.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::needless_for_each,
    clippy::unnecessary_wraps,
    clippy::unchecked_time_subtraction,
    clippy::single_match_else,
    reason = "a case that cannot be built may stop where it stands"
)]

#[path = "properties/cluster.rs"]
mod cluster;
mod lab;
#[path = "properties/rig.rs"]
mod rig;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use rig::{Op, Reads, Rig, any_log, any_reads, ops, source};
use volwarden::domain::engine::Settings;
use volwarden::domain::fact::{Change, Fact, Source, SourceChange};
use volwarden::domain::finding::Class;
use volwarden::domain::name::Key;
use volwarden::domain::record::{ClaimPhase, Kind};

/// The same cases every time, so that a change is judged by itself; with `PROPTEST_CASES` in the environment,
/// that many new ones.
fn cases(count: u32) -> Config {
    let base = Config { failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return base;
    }
    Config { cases: count, rng_seed: RngSeed::Fixed(8), ..base }
}

fn facts(most: usize) -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(cluster::object(), 1..most)
}

/// Facts about different objects, in two orders.
fn in_two_orders() -> impl Strategy<Value = (Vec<Fact>, Vec<Fact>)> {
    prop::collection::vec(cluster::object_once(), 1..8)
        .prop_map(|facts| {
            let mut seen = BTreeSet::new();
            let place = |fact: &Fact| cluster::place(fact).map(|(source, key, _)| (source, key));
            facts.into_iter().filter(|fact| seen.insert(place(fact))).collect::<Vec<_>>()
        })
        .prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle()))
}

/// Tells all of one instant: the cluster has changed before the first of them arrives.
fn at_once(rig: &mut Rig, facts: &[Fact]) {
    facts.iter().for_each(|fact| rig.change(fact));
    facts.iter().for_each(|fact| rig.told(fact.clone()));
}

proptest! {
    #![proptest_config(cases(128))]

    /// A driver that nobody needs for a moment in between is missed from then on: both are given two minutes.
    #[test]
    fn facts_about_different_objects_commute(
        before in prop::collection::vec(rig::op_once(), 0..8),
        (one, other) in in_two_orders(),
        after in prop::collection::vec(rig::op_once(), 0..6),
    ) {
        let (mut left, mut right) = (Rig::steady(), Rig::steady());
        left.run_all(&before);
        right.run_all(&before);
        for source in cluster::SOURCES {
            left.relist(source);
            right.relist(source);
        }
        at_once(&mut left, &one);
        at_once(&mut right, &other);
        left.pass(125, true);
        right.pass(125, true);
        prop_assert_eq!(left.verdicts(), right.verdicts());
        left.run_all(&after);
        right.run_all(&after);
        left.pass(125, true);
        right.pass(125, true);
        prop_assert_eq!(left.verdicts(), right.verdicts());
    }

    #[test]
    fn a_fact_told_twice_is_a_fact_told_once(ops in ops(20)) {
        let (mut once, mut twice) = (Rig::new(), Rig::new());
        for op in ops {
            once.run(op.clone());
            twice.run(op.clone());
            let Op::Told(fact) = op else { continue };
            let asked = twice.effects.len();
            twice.feed(fact);
            prop_assert_eq!(&twice.effects[asked..], &[]);
            prop_assert_eq!(once.verdicts(), twice.verdicts());
        }
        prop_assert_eq!(once.effects, twice.effects);
    }

    /// What happened within a cut of the watch, as its events or as the list after it. What only the events
    /// show is left out of the universe: a lease that moved and moved back, and a restore that began and ended.
    /// A shape seen in between begins its time anew, so that both are given five minutes.
    #[test]
    fn a_list_says_what_the_events_before_it_said(
        before in facts(12),
        passed in rig::pass(),
        gap in prop::collection::vec(
            prop_oneof![cluster::snapshot(0.5), cluster::content(0.5), cluster::class(), cluster::driver(), cluster::pod(cluster::SIDECAR_ARGS.len())],
            1..10,
        ),
    ) {
        let (mut watched, mut listed) = (Rig::new(), Rig::new());
        for rig in [&mut watched, &mut listed] {
            before.iter().for_each(|fact| rig.told(fact.clone()));
            rig.run(passed.clone());
            gap.iter().for_each(|fact| rig.change(fact));
        }
        gap.iter().for_each(|fact| watched.feed(fact.clone()));
        for source in cluster::SOURCES {
            listed.relist(source);
        }
        for rig in [&mut watched, &mut listed] {
            rig.signs_of_life();
            rig.pass(300, true);
        }
        prop_assert_eq!(watched.verdicts(), listed.verdicts());
    }

    /// Whatever hangs on a fact is looked at again when the fact arrives: deriving all anew at the same instant
    /// finds nothing else, and doing so twice neither. Not so when a name is used again while the content of its
    /// former bearer is still there, nor when a sidecar's arguments move the floors of a live content: those are
    /// looked at within a minute, which the next property holds.
    #[test]
    fn what_a_fact_changes_is_seen_at_once(
        batches in prop::collection::vec((prop::collection::vec(cluster::object_once(), 1..5), rig::pass()), 1..6), reads in any_reads(), log in any_log(),
    ) {
        let mut rig = Rig::steady();
        rig.reads = reads;
        rig.log = log;
        for (facts, passed) in batches {
            for fact in facts {
                rig.told(fact);
            }
            let seen = rig.verdicts();
            rig.derive_anew();
            prop_assert_eq!(&seen, &rig.verdicts(), "left: as seen, right: derived anew");
            rig.derive_anew();
            prop_assert_eq!(&seen, &rig.verdicts(), "left: as seen, right: derived anew twice");
            rig.run(passed);
            rig.derive_anew();
        }
    }

    /// Whatever happens: no finding differs for longer than a minute from what deriving all anew every second finds.
    #[test]
    fn nothing_is_overlooked_for_longer_than_a_minute(before in ops(14)) {
        let (mut rig, mut anew) = (Rig::new(), Rig::new());
        for op in before {
            rig.run(op.clone());
            anew.run(op);
            anew.derive_anew();
        }
        let mut found: Vec<BTreeSet<_>> = vec![anew.classes().into_iter().collect()];
        if found == [rig.classes().into_iter().collect()] {
            return Ok(());
        }
        rig.pass(61, false);
        for _ in 0..61 {
            anew.pass(1, false);
            anew.derive_anew();
            found.push(anew.classes().into_iter().collect());
        }
        for finding in rig.classes() {
            prop_assert!(found.iter().any(|found| found.contains(&finding)), "{} {} is over", finding.0, finding.1);
        }
        let always = found.iter().skip(1).fold(found[0].clone(), |always, found| &always & found);
        for (class, subject) in always {
            prop_assert!(rig.classes().contains(&(class, subject.clone())), "{} {} is overlooked", class, subject);
        }
    }

    #[test]
    fn the_same_facts_have_the_same_effects(ops in ops(20)) {
        let (mut one, mut other) = (Rig::new(), Rig::new());
        one.run_all(&ops);
        other.run_all(&ops);
        prop_assert_eq!(format!("{:?}", one.effects), format!("{:?}", other.effects));
        prop_assert_eq!(one.engine.wake_at(), other.engine.wake_at());
    }

    #[test]
    fn every_finding_is_listed_once_after_its_cause_and_every_change_is_told(ops in ops(25)) {
        let mut rig = Rig::new();
        for op in ops {
            rig.run(op);
            prop_assert_eq!(&rig.misfit, &None);
            let listed = rig.classes();
            let mut seen = BTreeSet::new();
            for finding in rig.engine.findings() {
                let known = listed.iter().any(|(class, subject)| {
                    finding.cause.as_ref().is_some_and(|cause| cause.class == *class && cause.subject == *subject)
                });
                if known {
                    let cause = finding.cause.as_ref().map(|cause| cause.subject.clone());
                    prop_assert!(cause.is_some_and(|cause| seen.contains(&cause)), "{} comes before its cause", finding.subject);
                }
                prop_assert!(seen.insert(finding.subject.clone()), "{} is listed twice", finding.subject);
            }
            let degraded: Vec<_> = rig.open.values().filter(|finding| finding.class == Class::DriverDegraded).collect();
            for (subject, open) in &rig.open {
                let swallowed = degraded.iter().any(|incident| incident.driver == open.driver && incident.subject != *subject);
                let there = listed.contains(&(open.class, subject.clone()));
                prop_assert!(there || swallowed, "{} {} was found and is not listed", open.class, subject);
            }
            prop_assert!(listed.iter().all(|(class, subject)| rig.open.get(subject).is_some_and(|open| open.class == *class)));
        }
    }
}

/// What is said because something is not there.
const BY_ABSENCE: [Class; 7] = [
    Class::OrphanedContent,
    Class::AbandonedContent,
    Class::MissedEvent,
    Class::DriverGone,
    Class::DriverUnknown,
    Class::ControllerDown,
    Class::ProvisionerOrphan,
];

const POORER: [Source; 7] = [
    Source::Snapshots,
    Source::Contents,
    Source::Leases,
    Source::Pods,
    Source::CsiDrivers,
    Source::ContentEvents,
    Source::SnapshotEvents,
];

proptest! {
    #![proptest_config(cases(256))]

    /// Two daemons in one cluster; one of them may not read everything. A lease that stands still is seen and not
    /// missed, so there is none where its holder's other signs of life, pods or Events, are hidden.
    #[test]
    fn who_sees_less_never_names_more_of_what_is_not_there(
        facts in facts(14),
        dark in prop::sample::subsequence(POORER.to_vec(), 0..3),
        kind in 0..3_u8,
        muted in any::<bool>(),
        passed in prop::collection::vec(rig::pass(), 1..3),
    ) {
        let signs = [Source::Pods, Source::ContentEvents, Source::SnapshotEvents];
        let hidden = dark.iter().any(|source| signs.contains(source));
        let facts: Vec<Fact> = facts.into_iter().filter(|fact| !hidden || !matches!(fact, Fact::Lease(_))).collect();
        let (mut rich, mut poor) = (Rig::new(), Rig::bare(Settings::default()));
        poor.dark.clone_from(&dark);
        if muted {
            poor.reads = Reads::Mute;
        }
        for source in Source::ALL {
            // A watch that lags: its list is complete, and what came since is not told.
            let lags = kind == 2 && source == Source::Snapshots;
            let state = match kind {
                _ if !dark.contains(&source) || lags => SourceChange::ListEnded,
                0 => SourceChange::Forbidden("no".into()),
                _ => SourceChange::Failing("500".into()),
            };
            poor.feed(Fact::Source(source, state));
        }
        for rig in [&mut rich, &mut poor] {
            facts.iter().for_each(|fact| rig.change(fact));
            facts.iter().for_each(|fact| rig.told(fact.clone()));
        }
        for passed in passed {
            rich.run(passed.clone());
            poor.run(passed);
            // The richer one may look a moment later at what only time changes.
            rich.derive_anew();
            let mut known: BTreeSet<_> = rich.classes().into_iter().collect();
            // That it is gone says less than that nothing of it exists.
            let unknown = known.iter().filter(|(class, _)| *class == Class::DriverUnknown);
            let gone: Vec<_> = unknown.map(|(_, subject)| (Class::DriverGone, subject.clone())).collect();
            known.extend(gone);
            for finding in poor.classes().into_iter().filter(|(class, _)| BY_ABSENCE.contains(class)) {
                prop_assert!(known.contains(&finding), "{} {} without {:?}, muted {}; all see {:?}", finding.0, finding.1, dark, muted, known);
            }
        }
    }

    #[test]
    fn nothing_panics_and_a_timer_that_fired_is_over(
        ops in prop::collection::vec(
            prop_oneof![8 => rig::op(), 1 => any::<i64>().prop_map(Op::Jump), 2 => (-100_000..100_000_i64).prop_map(Op::Jump)],
            0..25,
        ),
        eager in any::<bool>(),
        synced in any::<bool>(),
        strange in source(),
    ) {
        let mut rig = Rig::bare(Settings { eager, ..Settings::default() });
        if synced {
            Source::ALL.iter().for_each(|source| rig.feed(Fact::Source(*source, SourceChange::ListEnded)));
        }
        rig.feed(Fact::Source(strange, SourceChange::NotInstalled));
        for op in ops {
            rig.run(op);
            for _ in 0..3 {
                let Some(at) = rig.engine.wake_at() else { break };
                rig.wait_until(at);
                rig.feed(Fact::Tick);
                prop_assert!(rig.engine.wake_at().is_none_or(|next| next > rig.now().mono), "woken at {at:?} for nothing");
            }
            for subject in rig.open.keys() {
                let _ = rig.engine.explain(subject, rig.now());
            }
            prop_assert!(rig.engine.longest_lease().is_none_or(|lease| lease < Duration::from_secs(3600)));
        }
    }
}

// === The smallest sequences of what the properties found ===

/// A live content of snapshot `s` with the handle `shared`.
fn copy(lab: &lab::Lab, name: &str) -> volwarden::domain::record::Content {
    let mut content = lab::alive(lab, name, "s");
    content.status = Some(lab::answered("shared", lab.stamp(3600)));
    content
}

#[test]
fn a_copy_that_arrives_makes_the_orphans_deletion_doubtful_at_once() {
    let mut lab = lab::Lab::new();
    let mut orphan = copy(&lab, "c");
    orphan.meta.deleted = lab.stamp(600);
    lab.content("c", orphan);
    let destroys = |lab: &lab::Lab| lab.finding(Kind::VolumeSnapshotContent, "c").map(|finding| finding.destroys);
    assert_eq!(destroys(&lab), Some(false));
    let other = copy(&lab, "other");
    lab.content("other", other);
    assert_eq!(destroys(&lab), Some(true));
    lab.feed(Fact::Content(Change::Gone(Key::cluster("other"))));
    assert_eq!(destroys(&lab), Some(false));
}

#[test]
fn a_claim_that_arrives_ends_what_was_said_of_its_absence() {
    let mut lab = lab::Lab::new();
    let snapshot = lab::unready(&lab, "s", 300);
    lab.snapshot("s", snapshot);
    assert_eq!(lab.class(Kind::VolumeSnapshot, "s"), Some(Class::CreateStuck));
    lab.claim("data", lab::claim("data", ClaimPhase::Bound, None));
    assert_eq!(lab.class(Kind::VolumeSnapshot, "s"), None);
}

#[test]
fn two_that_wait_for_each_other_are_both_listed() {
    let mut lab = lab::Lab::new();
    let mut content = lab::deleting(&lab, "c", "s", 600);
    content.being_deleted = false;
    let mut status = lab::answered("c", None);
    status.error = lab::status_error("rpc error: code = Internal desc = pool is full");
    content.status = Some(status);
    lab.content("c", content);
    lab.claim("data", lab::claim("data", ClaimPhase::Bound, None));
    let mut snapshot = lab::unready(&lab, "s", 600);
    snapshot.content = Some("c".into());
    lab.snapshot("s", snapshot);
    lab.pass(61);
    assert_eq!(lab.class(Kind::VolumeSnapshotContent, "c"), Some(Class::AwaitingSnapshot));
    assert_eq!(lab.class(Kind::VolumeSnapshot, "s"), Some(Class::CreateStuck));
}

#[test]
fn a_list_that_is_refused_ends_what_rested_on_the_one_before() {
    let mut lab = lab::Lab::new();
    let mut orphan = copy(&lab, "c");
    orphan.meta.deleted = lab.stamp(600);
    lab.content("c", orphan);
    assert_eq!(lab.class(Kind::VolumeSnapshotContent, "c"), Some(Class::OrphanedContent));
    lab.feed(Fact::Source(Source::Snapshots, SourceChange::ListBegan));
    lab.feed(Fact::Source(Source::Snapshots, SourceChange::Forbidden("no".into())));
    assert_eq!(lab.class(Kind::VolumeSnapshotContent, "c"), None);
}

#[test]
fn a_driver_that_was_nobodys_business_is_not_missed_since_before() {
    let mut lab = lab::Lab::new();
    lab.drop_lease("rook-ceph", lab::DRIVER_LEASE);
    let content = lab::alive(&lab, "c", "s");
    lab.content("c", content.clone());
    lab.pass(30);
    lab.feed(Fact::Content(Change::Gone(Key::cluster("c"))));
    lab.pass(600);
    lab.content("c", content);
    assert_eq!(lab.class(Kind::CsiDriver, lab::DRIVER), None);
    lab.pass(60);
    assert_eq!(lab.class(Kind::CsiDriver, lab::DRIVER), Some(Class::DriverGone));
}

#[test]
fn deriving_everything_anew_does_not_forget_how_long_a_driver_is_missing() {
    let mut lab = lab::Lab::new();
    lab.drop_lease("rook-ceph", lab::DRIVER_LEASE);
    let content = lab::alive(&lab, "c", "s");
    lab.content("c", content);
    lab.pass(60);
    for _ in 0..2 {
        assert_eq!(lab.class(Kind::CsiDriver, lab::DRIVER), Some(Class::DriverGone));
        lab.feed(Fact::Source(Source::Jobs, SourceChange::ListEnded));
    }
}
