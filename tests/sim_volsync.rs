//! VolSync in the embedded home cluster: days that go well, and slots that wait for what will not go.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test"
)]

#[path = "sim_home/mod.rs"]
mod sim_home;

use serde_json::{Value, json};
use sim_home::{World, condition, minutes, seconds};
use volwarden::sim::actors::home_cluster::{HomeCluster, Layout};
use volwarden::sim::actors::object;
use volwarden::sim::store::table::{
    ATTACHMENTS, CLAIMS, CONTENTS, JOBS, PODS, REPLICATION_SOURCES, SNAPSHOTS, VOLUMES,
};

/// What a ReplicationSource says of itself: the reason and the message of its condition.
fn said(world: &World, app: &str) -> (String, String) {
    let source = world.get(REPLICATION_SOURCES, app, app).unwrap();
    let words = |field: &str| object::text(&source, &format!("/status/conditions/0/{field}")).to_owned();
    (words("reason"), words("message"))
}

fn status(world: &World, app: &str, field: &str) -> Value {
    let source = world.get(REPLICATION_SOURCES, app, app).unwrap();
    source.pointer(&format!("/status/{field}")).cloned().unwrap_or_default()
}

#[test]
fn a_day_of_hourly_backups_leaves_nothing_behind() {
    let begun = std::time::Instant::now();
    let mut world = World::new(7, &HomeCluster::default());
    world.cluster.run_for(minutes(24 * 60));
    let took = begun.elapsed();
    let backups = world.home.repository.with(|repository| repository.backups().to_vec());
    println!("a day of 5 apps: {took:?}, {} versions, {} backups", world.cluster.store.version(), backups.len());
    for app in world.home.apps.clone() {
        let identity = format!("{app}@{app}:/data");
        let mine = backups.iter().filter(|backup| backup.identity == identity).count();
        assert_eq!(mine, 25, "{app}: one at once, and one each hour");
        assert_eq!(said(&world, &app).0, "WaitingForSchedule");
        assert_eq!(status(&world, &app, "latestMoverStatus")["result"], "Successful");
        assert_eq!(world.names(SNAPSHOTS, &app), [""; 0]);
        assert_eq!(world.names(JOBS, &app), [""; 0]);
        assert_eq!(world.names(CLAIMS, &app), [app.as_str()]);
        assert_eq!(world.all(PODS, &app).len(), 1, "the app's own");
    }
    assert_eq!(world.cluster.store.list(CONTENTS, None).count(), 0);
    assert_eq!(world.cluster.store.list(VOLUMES, None).count(), 5);
    assert_eq!(world.cluster.store.list(ATTACHMENTS, None).count(), 5);
    let (snapshots, volumes) = world.home.pool.with(|pool| (pool.snapshots().len(), pool.volumes().len()));
    assert_eq!((snapshots, volumes), (0, 5), "the pool agrees");
}
