//! Event to decision inside the engine: how long one step takes, at 1,000 and at 100,000 objects.
//!
//! `cargo bench --bench engine` prints a table; the budget is a p99 below 1 ms that does not grow with the
//! cluster. Two kinds of event are measured: a healthy object's (a snapshot made and bound, the bulk of a
//! cluster's life), and one about a content that is being deleted and retried.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it stands, prints, and reads the clock"
)]

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::time::{Duration, Instant};

use lab::{DRIVER, DRIVER_LEASE, Lab, alive, class, deleting, ready};
use volwarden::domain::engine::Settings;
use volwarden::domain::fact::{Change, Fact, Source, SourceChange};
use volwarden::domain::name::Key;
use volwarden::domain::record::CsiDriver;

const EVENTS: u32 = 20_000;

fn main() {
    println!("| pairs | filled in | event | p50 | p99 | max |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for pairs in [1_000, 10_000, 100_000] {
        measure(pairs);
    }
}

fn measure(pairs: u32) {
    let began = Instant::now();
    let mut lab = filled(pairs);
    let filled = began.elapsed();
    let row = |event: &str, mut times: Vec<Duration>| {
        times.sort();
        let at = |percent: usize| times.get((times.len() - 1) * percent / 100).unwrap().as_secs_f64() * 1e6;
        println!(
            "| {pairs} | {:.2} s | {event} | {:.1} us | {:.1} us | {:.0} us |",
            filled.as_secs_f64(),
            at(50),
            at(99),
            at(100)
        );
    };
    let mut healthy = Vec::new();
    for at in 0..EVENTS {
        let number = at * 7 % pairs;
        let (name, content) = (format!("s{number}"), format!("c{number}"));
        let fact = if at % 2 == 0 {
            Fact::Snapshot(Change::Applied(Key::namespaced("default", name.clone()), ready(&lab, &name, &content)))
        } else {
            Fact::Content(Change::Applied(Key::cluster(content.clone()), alive(&lab, &content, &name)))
        };
        healthy.push(time(&mut lab, fact));
    }
    row("a healthy object", healthy);
    let mut stuck = Vec::new();
    for at in 0..EVENTS {
        let number = at % 3;
        let content = format!("c{number}");
        stuck.push(if at % 2 == 0 {
            let record = deleting(&lab, &content, &format!("s{number}"), 400);
            time(&mut lab, Fact::Content(Change::Applied(Key::cluster(content.clone()), record)))
        } else {
            let began = Instant::now();
            lab.delete_error(&content, "Failed to delete snapshot", 5);
            began.elapsed()
        });
    }
    row("a stuck deletion", stuck);
    let mut renewals = Vec::new();
    for at in 0..EVENTS {
        let lease = lab::lease("leader-0", 15, lab.now().wall, at);
        let fact = Fact::Lease(Change::Applied(Key::namespaced("rook-ceph", DRIVER_LEASE), lease));
        renewals.push(time(&mut lab, fact));
    }
    row("a leader's renewal", renewals);
}

fn time(lab: &mut Lab, fact: Fact) -> Duration {
    let now = lab.now();
    let began = Instant::now();
    let effects = lab.engine.step(fact, now);
    let took = began.elapsed();
    drop(effects);
    took
}

/// A healthy cluster of so many snapshots, each with its content.
fn filled(pairs: u32) -> Lab {
    let mut lab = Lab::bare(Settings::default());
    lab.feed(Fact::CsiDriver(Change::Applied(Key::cluster(DRIVER), CsiDriver { owner: None })));
    lab.feed(Fact::SnapshotClass(Change::Applied(Key::cluster("csi-ceph-blockpool"), class(DRIVER))));
    lab.start_leader("rook-ceph", DRIVER_LEASE);
    for source in Source::ALL {
        lab.feed(Fact::Source(source, SourceChange::ListBegan));
    }
    for number in 0..pairs {
        let (name, content) = (format!("s{number}"), format!("c{number}"));
        let snapshot = ready(&lab, &name, &content);
        lab.snapshot(&name, snapshot);
        let record = alive(&lab, &content, &name);
        lab.content(&content, record);
    }
    lab.sync_all();
    lab
}
