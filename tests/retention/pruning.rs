//! What holds of pruning for any snapshots and any policy: a plan is stable, and no volume loses its last good ones,
//! whatever happens between a plan and its deletions.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use volwarden::domain::ledger::Outcome;
use volwarden::domain::name::{Key, Stamp, Uid};
use volwarden::domain::policy::Mode;
use volwarden::domain::prune::field::{Cut, Field, Marks};
use volwarden::domain::prune::hold::Hold;
use volwarden::domain::prune::plan::{Fate, Plan, plan};
use volwarden::domain::prune::policy::{Pruning, Rules};
use volwarden::domain::prune::run::{Run, Seen};
use volwarden::domain::retention::{Calendar, Policy};

/// The same cases every time; with `PROPTEST_CASES` in the environment, that many new ones.
fn cases(count: u32) -> Config {
    let base = Config { failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return base;
    }
    Config { cases: count, rng_seed: RngSeed::Fixed(6), ..base }
}

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// One snapshot of a volume, so many hours old; now and then with something about it.
#[derive(Clone, Debug)]
struct Shape {
    volume: u64,
    hours: i64,
    odd: u8,
}

fn cut(number: usize, shape: &Shape, at: Timestamp) -> Cut {
    let mut marks = Marks { ready: true, bound: true, deletes: true, ..Marks::default() };
    match shape.odd {
        0 => marks.ready = false,
        1 => marks.keep = true,
        2 => marks.deleting = true,
        3 => marks.as_source = true,
        _ => {}
    }
    Cut {
        key: Key::namespaced("app", format!("s-{number}")),
        uid: Uid::parse(&format!("uid-{number}")),
        version: "1".into(),
        labels: Arc::default(),
        class: None,
        driver: Some("d".into()),
        // Two volumes share a claim's name: the claim was made anew.
        claim: Some(format!("data-{}", shape.volume / 2).into()),
        volume: NonZeroU64::new(shape.volume + 1),
        taken: Stamp::from_timestamp(at - SignedDuration::from_hours(shape.hours)),
        size: 1,
        marks,
        extra: None,
    }
}

fn shapes(volumes: u64) -> impl Strategy<Value = Vec<Shape>> {
    let one = (0..volumes, 2_i64..3000, 0_u8..30).prop_map(|(volume, hours, odd)| Shape { volume, hours, odd });
    prop::collection::vec(one, 0..60)
}

fn pruning() -> impl Strategy<Value = Pruning> {
    let counts = prop::array::uniform6(prop_oneof![2 => Just(0_u32), 3 => 1_u32..5]);
    (counts, 1_u32..4, 1_u32..20).prop_map(|([latest, hourly, daily, weekly, monthly, annual], min_ready, most)| {
        let keep = Policy { latest, hourly, daily, weekly, monthly, annual };
        let rules = Rules {
            mode: Mode::Enforce,
            drivers: [Arc::from("d")].into(),
            keep,
            calendar: Calendar::Strict,
            min_ready,
            max_deletions: most,
            per_minute: 600,
            ..Rules::default()
        };
        Pruning::new("p", rules)
    })
}

fn field(shapes: &[Shape]) -> Field {
    let cuts = shapes.iter().enumerate().map(|(number, shape)| cut(number, shape, now())).collect();
    Field { cuts, ..Field::default() }
}

fn made(field: &Field, pruning: &Pruning) -> Plan {
    plan(field, pruning, &[], now())
}

/// Ready ones of each volume.
fn ready(cuts: &[Cut]) -> BTreeMap<u64, usize> {
    let mut ready = BTreeMap::new();
    for cut in cuts.iter().filter(|cut| cut.marks.ready && !cut.marks.deleting) {
        *ready.entry(cut.volume.unwrap().get()).or_default() += 1;
    }
    ready
}

/// What is left of a field once a plan is carried out.
fn left(field: &Field, plan: &Plan) -> Field {
    let stays = field.cuts.iter().zip(&plan.fates).filter(|(_, fate)| **fate != Fate::Pruned);
    Field { cuts: stays.map(|(cut, _)| cut.clone()).collect(), ..field.clone() }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn a_plan_once_carried_out_leaves_nothing_to_do(shapes in shapes(4), pruning in pruning()) {
        let field = field(&shapes);
        let first = made(&field, &pruning);
        prop_assert!(first.refused.is_none(), "{:?}", first.refused);
        let rest = left(&field, &first);
        let again = made(&rest, &pruning);
        prop_assert_eq!(again.going().count(), 0);
        // And what was kept by a count is kept by one again.
        let mut kept = field.cuts.iter().zip(&first.fates).filter(|(_, fate)| matches!(fate, Fate::Kept(_)));
        let after: BTreeMap<&Key, &Fate> = rest.cuts.iter().map(|cut| &cut.key).zip(&again.fates).collect();
        prop_assert!(kept.all(|(cut, _)| matches!(after[&cut.key], Fate::Kept(_))));
    }

    #[test]
    fn never_fewer_ready_ones_than_have_to_stay(shapes in shapes(6), pruning in pruning()) {
        let field = field(&shapes);
        let (before, after) = (ready(&field.cuts), ready(&left(&field, &made(&field, &pruning)).cuts));
        for (volume, count) in before {
            prop_assert!(after.get(&volume).copied().unwrap_or_default() >= count.min(pruning.min_ready()));
        }
    }

    #[test]
    fn a_newer_one_never_brings_back_what_was_to_go(shapes in shapes(6), pruning in pruning(), volume in 0_u64..6) {
        let mut field = field(&shapes);
        // One volume a claim: a last one that a new volume drives out is held, and that is as it should be.
        for cut in &mut field.cuts {
            cut.claim = Some(format!("claim-{}", cut.volume.unwrap()).into());
        }
        let first = made(&field, &pruning);
        let mut newer = cut(1000, &Shape { volume, hours: 1, odd: 9 }, now());
        newer.claim = Some(format!("claim-{}", newer.volume.unwrap()).into());
        field.cuts.push(newer);
        let second = made(&field, &pruning);
        for (before, after) in first.fates.iter().zip(&second.fates) {
            prop_assert!(*before != Fate::Pruned || *after == Fate::Pruned, "{before:?} {after:?}");
        }
    }

    #[test]
    fn what_is_not_ready_or_marked_never_goes(shapes in shapes(4), pruning in pruning()) {
        let field = field(&shapes);
        for (cut, fate) in field.cuts.iter().zip(&made(&field, &pruning).fates) {
            let Marks { ready, deleting, keep, as_source, .. } = cut.marks;
            prop_assert!(*fate != Fate::Pruned || (ready && !deleting && !keep && !as_source));
            prop_assert_eq!(!ready || deleting, matches!(fate, Fate::Held(Hold::NotReady | Hold::BeingDeleted)));
        }
    }
}

// === Between a plan and its deletions ===

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// A snapshot of a volume becomes ready, or fails.
    Cut { volume: u64, ready: bool },
    /// Time goes by, or the clock of the daemons jumps.
    Hours(i64),
    /// A daemon makes a plan.
    Plan(usize),
    /// A daemon takes its next steps.
    Step(usize),
    /// Somebody deletes one by hand.
    Deleted(usize),
    /// One is not ready any more.
    Breaks(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = prop_oneof![
        6 => (0_u64..4, prop::bool::weighted(0.7)).prop_map(|(volume, ready)| Event::Cut { volume, ready }),
        4 => prop_oneof![4 => 1_i64..100, 1 => -5000_i64..5000].prop_map(Event::Hours),
        3 => (0_usize..2).prop_map(Event::Plan),
        8 => (0_usize..2).prop_map(Event::Step),
        1 => (0_usize..50).prop_map(Event::Deleted),
        1 => (0_usize..50).prop_map(Event::Breaks),
    ];
    prop::collection::vec(one, 0..150)
}

/// A cluster in which nothing but the daemons prunes, and what the API server checks of a deletion.
struct Model {
    cuts: Vec<Cut>,
    made: usize,
    clock: Timestamp,
    mono: Duration,
    daemons: [Option<Run>; 2],
}

impl Model {
    fn there(&self, key: &Key, uid: &Uid) -> Option<usize> {
        self.cuts.iter().position(|cut| cut.key == *key && cut.uid == *uid)
    }

    /// One round of a daemon's run: each deletion is judged by what is there now, as the guards do.
    fn step(&mut self, daemon: usize, pruning: &Pruning) -> Result<(), TestCaseError> {
        let Some(mut run) = self.daemons[daemon].take() else { return Ok(()) };
        let next: Vec<_> = run.next(self.mono).into_iter().map(|(number, order)| (number, order.clone())).collect();
        for (number, order) in next {
            let stays = |(key, uid): &(Key, Uid)| self.there(key, uid).is_some_and(|at| self.cuts[at].marks.ready);
            if !order.staying.iter().all(stays) {
                run.skip(number);
                continue;
            }
            let found = self.there(&order.key, &order.uid).filter(|at| self.cuts[*at].version == order.version);
            let Some(at) = found else {
                run.sent(number, Outcome::Lost, "", self.mono);
                continue;
            };
            let volume = self.cuts[at].volume.unwrap().get();
            self.cuts.remove(at);
            let count = ready(&self.cuts).get(&volume).copied().unwrap_or_default();
            prop_assert!(count >= pruning.min_ready(), "{} ready ones left of volume {volume}", count);
            run.sent(number, Outcome::Applied, "", self.mono);
            run.seen(number, Seen::Gone, self.mono);
        }
        self.daemons[daemon] = (!run.over()).then_some(run);
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn the_last_good_ones_survive_failures_clocks_two_daemons_and_hands(events in events(), pruning in pruning()) {
        let mut model =
            Model { cuts: Vec::new(), made: 0, clock: now(), mono: Duration::from_secs(1000), daemons: [None, None] };
        for event in events {
            match event {
                Event::Cut { volume, ready } => {
                    let shape = Shape { volume, hours: 0, odd: if ready { 9 } else { 0 } };
                    model.cuts.push(cut(model.made, &shape, model.clock));
                    model.made += 1;
                }
                Event::Hours(hours) => {
                    model.clock += SignedDuration::from_hours(hours);
                    model.mono += Duration::from_secs(hours.unsigned_abs() * 3600);
                }
                Event::Plan(daemon) => {
                    let field = Field { cuts: model.cuts.clone(), ..Field::default() };
                    let plan = plan(&field, &pruning, &[], model.clock);
                    model.daemons[daemon] = Some(Run::of(&plan, &field, &pruning));
                }
                Event::Step(daemon) => model.step(daemon, &pruning)?,
                Event::Deleted(number) if number < model.cuts.len() => drop(model.cuts.remove(number)),
                Event::Breaks(number) if number < model.cuts.len() => {
                    model.cuts[number].marks.ready = false;
                    model.cuts[number].version = "2".into();
                }
                Event::Deleted(_) | Event::Breaks(_) => {}
            }
        }
    }
}
