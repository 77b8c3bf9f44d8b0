//! The plan for 1,000,000 snapshots: time and memory, each row in a process of its own.
//!
//! `cargo bench --bench retention` prints two tables: the counts alone, and the whole plan of a SnapshotRetention, with
//! every reason to hold a snapshot asked for and the run put in order. The budget is 1 s and 400 MiB for 10,000 volumes.
//! The memory is the process's peak, with what goes in and what comes out all held at once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it stands, prints, and reads the clock"
)]

use std::hint::black_box;
use std::num::NonZeroU64;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use volwarden::domain::name::{Interner, Key, Stamp, Uid};
use volwarden::domain::policy::Mode;
use volwarden::domain::prune::field::{Cut, DriverSight, Field, Marks};
use volwarden::domain::prune::plan::plan;
use volwarden::domain::prune::policy::{Pruning, Rules};
use volwarden::domain::prune::run::Run;
use volwarden::domain::retention::{Calendar, Policy, Reasons, Retention, Snapshot};

const SNAPSHOTS: usize = 1_000_000;
const POLICY: Policy = Policy { latest: 10, hourly: 24, daily: 7, weekly: 4, monthly: 6, annual: 3 };

/// Volumes, calendar, time zone, whether the snapshots come in any order.
const ROWS: [(usize, &str, &str, bool); 6] = [
    (10_000, "kopia", "UTC", false),
    (10_000, "kopia", "UTC", true),
    (10_000, "kopia", "America/New_York", true),
    (10_000, "strict", "America/New_York", true),
    (1, "kopia", "UTC", true),
    (1, "keep all", "UTC", true),
];

/// Volumes, and whether some driver is degraded, for whole plans.
const WHOLE: [(usize, bool); 3] = [(10_000, false), (10_000, true), (100_000, false)];

fn main() {
    if let Some(row) = std::env::args().find_map(|word| word.parse::<usize>().ok()) {
        return match ROWS.get(row) {
            Some(row) => measure(*row),
            None => measure_whole(*WHOLE.get(row - ROWS.len()).unwrap()),
        };
    }
    println!("| volumes | calendar | time zone | order given | kept | plan | peak |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for row in 0..ROWS.len() + WHOLE.len() {
        if row == ROWS.len() {
            println!();
            println!(
                "| volumes | half of the drivers degraded | kept | held | would go | plan | run in order | peak |"
            );
            println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        }
        let output = Command::new(std::env::current_exe().unwrap()).arg(row.to_string()).output().unwrap();
        print!("{}", String::from_utf8(output.stdout).unwrap());
    }
}

fn measure((volumes, calendar, zone, any_order): (usize, &str, &str, bool)) {
    let groups = groups(volumes, any_order);
    let retention = Retention {
        policy: if calendar == "keep all" { Policy::default() } else { POLICY },
        calendar: if calendar == "strict" { Calendar::Strict } else { Calendar::Kopia },
        zone: TimeZone::get(zone).unwrap(),
    };
    let began = Instant::now();
    let plans: Vec<Vec<Reasons>> = groups.iter().map(|group| retention.plan(group)).collect();
    let took = began.elapsed();
    let kept = black_box(&plans).iter().flatten().filter(|reasons| reasons.kept()).count();
    let order = if any_order { "any" } else { "newest first" };
    println!(
        "| {volumes} | {calendar} | {zone} | {order} | {kept} | {:.0} ms | {:.0} MiB |",
        took.as_secs_f64() * 1e3,
        peak()
    );
}

/// The plan of a SnapshotRetention over all of them, as they come from the lists: in order of namespace and name.
fn measure_whole((volumes, degraded): (usize, bool)) {
    let field = field(volumes, degraded);
    let rules = Rules { mode: Mode::Enforce, keep: POLICY, max_deletions: 10_000, ..Rules::default() };
    let drivers = (0..4).map(|number| Arc::from(format!("driver-{number}.csi.example.com")));
    let pruning = Pruning::new("nightly", Rules { drivers: drivers.collect(), ..rules });
    let began = Instant::now();
    let plan = plan(&field, &pruning, &[], "2026-04-01T00:00:00Z".parse().unwrap());
    let planned = began.elapsed();
    let run = black_box(Run::of(&plan, &field, &pruning));
    let ordered = began.elapsed().saturating_sub(planned);
    let counts = plan.counts();
    assert_eq!((counts.covered, run.tally().planned), (SNAPSHOTS, counts.going.min(10_000)));
    println!(
        "| {volumes} | {} | {} | {} | {} | {:.0} ms | {:.0} ms | {:.0} MiB |",
        if degraded { "yes" } else { "no" },
        counts.kept,
        counts.held,
        counts.going,
        planned.as_secs_f64() * 1e3,
        ordered.as_secs_f64() * 1e3,
        peak()
    );
}

fn field(volumes: usize, degraded: bool) -> Field {
    let mut field = Field::default();
    let shared = Interner::default().text("fast");
    let labels = Arc::default();
    let drivers: Vec<Arc<str>> = (0..4).map(|number| format!("driver-{number}.csi.example.com").into()).collect();
    for (volume, group) in groups(volumes, false).into_iter().enumerate() {
        let namespace: Arc<str> = format!("namespace-{:04}", volume / 5).into();
        let claim: Arc<str> = format!("data-{}", volume % 5).into();
        let driver = drivers.get(volume % drivers.len()).unwrap();
        for (number, snapshot) in group.into_iter().rev().enumerate() {
            let id = u128::try_from(volume * SNAPSHOTS + number).unwrap();
            field.cuts.push(Cut {
                key: Key::namespaced(Arc::clone(&namespace), format!("data-{}-{number:06}", volume % 5)),
                uid: Uid::Uuid(id.to_be_bytes()),
                version: format!("{}", 1_000_000 + number).into(),
                labels: Arc::clone(&labels),
                class: Some(Arc::clone(&shared)),
                driver: Some(Arc::clone(driver)),
                claim: Some(Arc::clone(&claim)),
                volume: NonZeroU64::new(u64::try_from(volume).unwrap() + 1),
                taken: Stamp::from_timestamp(snapshot.time),
                size: 1 << 30,
                marks: Marks { ready: !snapshot.incomplete, bound: true, deletes: true, ..Marks::default() },
                extra: None,
            });
        }
    }
    for driver in drivers.iter().take(if degraded { 2 } else { 0 }) {
        field.drivers.insert(Arc::clone(driver), DriverSight { degraded: true, failing: 100, stuck: 100 });
    }
    field
}

/// Backups each hour, six hours, day or week, never on the dot, the newest of each volume at another time.
fn groups(volumes: usize, any_order: bool) -> Vec<Vec<Snapshot>> {
    let newest: Timestamp = "2026-03-31T03:30:00Z".parse().unwrap();
    let mut seed: u64 = 6;
    let mut random = move |below: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(seed >> 33).unwrap() % below
    };
    let each = SNAPSHOTS / volumes;
    let mut groups = Vec::with_capacity(volumes);
    for step in [1, 6, 24, 168].into_iter().cycle().take(volumes) {
        let mut time = newest - SignedDuration::from_secs(random(7 * 86_400));
        let mut group = Vec::with_capacity(each);
        for _ in 0..each {
            group.push(Snapshot { time, incomplete: random(50) == 0 });
            time -= SignedDuration::from_secs(step * 3600 + random(600) - 300);
        }
        if any_order {
            for at in 1..group.len() {
                group.swap(at, usize::try_from(random(i64::try_from(at).unwrap() + 1)).unwrap());
            }
        }
        groups.push(group);
    }
    groups
}

/// The most that this process had resident, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
