//! The plan for 1,000,000 snapshots: time and memory, each row in a process of its own.
//!
//! `cargo bench --bench retention` prints a table; the budget is 1 s and 400 MiB for 10,000 volumes. The memory is
//! the process's peak, with what goes in and what comes out all held at once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it stands, prints, and reads the clock"
)]

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
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

fn main() {
    if let Some(row) = std::env::args().find_map(|word| word.parse::<usize>().ok()) {
        return measure(*ROWS.get(row).unwrap());
    }
    println!("| volumes | calendar | time zone | order given | kept | plan | peak |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for row in 0..ROWS.len() {
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
