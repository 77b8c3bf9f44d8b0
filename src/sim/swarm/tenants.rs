//! People and their schedules: they cut snapshots of their claims and delete old ones, all the time.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::home::{CLASS, Home};
use crate::sim::store::{DeleteOptions, object, table};

/// Time between two turns of one application.
const EVERY: (u64, u64) = (240, 1200);
/// Snapshots that an application keeps.
const KEEP: usize = 3;

/// Everybody who cuts snapshots.
#[derive(Debug)]
pub(super) struct Tenants {
    turns: Vec<Duration>,
    cut: u32,
    rng: Rng,
}

impl Tenants {
    pub(super) fn new(seed: u64, apps: usize) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x7E4A);
        let turns = (0..apps).map(|_| Duration::from_secs(rng.u64(EVERY.0..EVERY.1))).collect();
        Self { turns, cut: 0, rng }
    }

    pub(super) fn next_at(&self) -> Duration {
        self.turns.iter().min().copied().unwrap_or(Duration::MAX)
    }

    /// Those whose turn it is cut one and delete the oldest.
    pub(super) fn act(&mut self, home: &mut Home) {
        let now = home.cluster.now().mono;
        for place in 0..self.turns.len() {
            let Some(turn) = self.turns.get_mut(place).filter(|turn| **turn <= now) else { continue };
            *turn = now + Duration::from_secs(self.rng.u64(EVERY.0..EVERY.1));
            let Some(app) = home.parts.apps.get(place).cloned() else { continue };
            self.cut += 1;
            let snapshot = json!({"metadata": {"name": format!("nightly-{}", self.cut), "namespace": app},
                "spec": {"volumeSnapshotClassName": CLASS, "source": {"persistentVolumeClaimName": app}}});
            home.create(table::SNAPSHOTS, &app, snapshot);
            delete_oldest(home, &app);
        }
    }
}

fn delete_oldest(home: &mut Home, app: &str) {
    let alive = home.cluster.store.list(table::SNAPSHOTS, Some(app)).filter(|one| !object::is_deleting(one));
    let mut alive: Vec<(u64, String)> = alive
        .filter_map(|one| {
            let number = object::name(one).strip_prefix("nightly-")?.parse().ok()?;
            Some((number, object::name(one).to_owned()))
        })
        .collect();
    alive.sort_unstable();
    for (_, name) in alive.iter().take(alive.len().saturating_sub(KEEP)) {
        let writer = home.cluster.writer("kubectl");
        let _ = home.cluster.store.delete(writer, table::SNAPSHOTS, app, name, &DeleteOptions::default());
    }
}
