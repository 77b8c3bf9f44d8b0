//! What the daemon's pruning reads: the lists of a plan, by the same code that reads a real server's, and whether what was
//! deleted is gone. Whatever cannot be read there is no plan without.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Reading, Sky, Weather, writes};
use crate::domain::fact::Source;
use crate::domain::name::Key;
use crate::domain::prune::field::{Field, Owners};
use crate::domain::prune::run::{Order, Run, Seen};
use crate::io::retention::gather::{self, Assembly};
use crate::sim::cluster::Cluster;
use crate::sim::store::{object, table};

/// What a plan rests on beside the contents.
const RESTS_ON: [Source; 5] = [
    Source::Snapshots,
    Source::Claims,
    Source::Namespaces,
    Source::ReplicationSources,
    Source::ReplicationDestinations,
];

/// Straight to bytes, not through a formatter.
fn text(object: &Value) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

pub(super) fn readable(weather: &Weather, sources: &[Source]) -> bool {
    let fine = |source: &Source| {
        let sky = weather.sky(*source);
        sky.trouble().is_none() && sky != Sky::Garbled
    };
    matches!(weather.reads, Reading::Fine | Reading::Slow) && sources.iter().all(fine)
}

pub(super) fn contents(weather: &Weather, cluster: &Cluster) -> Option<Assembly> {
    if !readable(weather, &[Source::Contents]) {
        return None;
    }
    let mut assembly = Assembly::default();
    for one in cluster.store.list(table::CONTENTS, None) {
        assembly.content(&text(one)).ok()?;
    }
    assembly.find_shared();
    Some(assembly)
}

pub(super) fn others(mut assembly: Assembly, weather: &Weather, cluster: &Cluster) -> Option<Field> {
    if !readable(weather, &RESTS_ON) {
        return None;
    }
    let list = |resource| cluster.store.list(resource, None);
    for one in list(table::SNAPSHOTS) {
        assembly.snapshot(&text(one)).ok()?;
    }
    let mut field = assembly.field;
    for one in list(table::CLAIMS) {
        gather::claim(&mut field, &text(one)).ok()?;
    }
    for one in list(table::NAMESPACES) {
        gather::namespace(&mut field, &text(one)).ok()?;
    }
    for one in list(table::REPLICATION_DESTINATIONS) {
        gather::destination(&mut field, &text(one)).ok()?;
    }
    let owners = list(table::REPLICATION_SOURCES).chain(list(table::REPLICATION_DESTINATIONS));
    let owners: BTreeSet<Key> = owners.map(|one| Key::namespaced(object::namespace(one), object::name(one))).collect();
    field.replications = Owners::Living(owners);
    Some(field)
}

pub(super) fn verify(run: &mut Run, sky: writes::Sky<'_>, cluster: &Cluster) {
    let fine = readable(sky.weather, &[Source::Snapshots, Source::Contents]);
    let sent: Vec<(usize, Order)> = run.in_flight().map(|(number, order)| (number, order.clone())).collect();
    for (number, order) in sent {
        let there = || {
            let found = cluster.store.get(table::SNAPSHOTS, &order.key.namespace, &order.key.name);
            found.is_ok_and(|found| object::uid(&found) == order.uid.to_string())
                || order.content.as_ref().is_some_and(|one| cluster.store.get(table::CONTENTS, "", &one.name).is_ok())
        };
        let seen = match fine {
            false => Seen::Unknown,
            true if there() => Seen::There,
            true => Seen::Gone,
        };
        run.seen(number, seen, sky.now.mono);
    }
}
