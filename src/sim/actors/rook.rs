//! Rook, as far as anybody asks it: once a minute it writes into its CephCluster how the storage is.

use std::time::Duration;

use serde_json::json;

use super::ceph::Pool;
use super::object;
use crate::sim::process::{Actor, Context};
use crate::sim::store::table::CEPH_CLUSTERS;
use crate::sim::store::{Part, Patch};
use crate::sim::task::Shared;

/// Rook's `healthCheck.daemonHealth.status.interval`.
const EVERY: Duration = Duration::from_secs(60);

/// The operator's process.
pub struct Rook {
    namespace: String,
    name: String,
    pool: Shared<Pool>,
}

impl Rook {
    /// An operator that looks after this CephCluster.
    #[must_use]
    pub fn new(namespace: &str, name: &str, pool: Shared<Pool>) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), pool }
    }

    fn check(&self, ctx: &mut Context<'_>) {
        let health = if self.pool.with(|pool| pool.is_up) { "HEALTH_OK" } else { "HEALTH_ERR" };
        let checked = object::seconds(ctx.now().wall);
        let status = json!({"status": {"phase": "Ready", "ceph": {"health": health, "lastChecked": checked}}});
        // One that is not there, or cannot be written to now, is looked at again in a minute.
        let _ = ctx.patch(CEPH_CLUSTERS, &self.namespace, &self.name, Part::Status, &Patch::Merge(status));
        ctx.set_timer(EVERY);
    }
}

impl Actor for Rook {
    fn name(&self) -> &'static str {
        "rook"
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        self.check(ctx);
    }

    fn timer(&mut self, ctx: &mut Context<'_>, _timer: u64) {
        self.check(ctx);
    }
}
