//! How each policy stands, for its status.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::domain::fact::Now;
use crate::domain::policy::{Floor, Policies, Policy, Standing};
use crate::domain::words;

impl Engine {
    /// Every policy of the cluster, as it was last read, and how it stands.
    #[must_use]
    pub fn standings(&self, now: Now) -> Vec<(&Policy, Standing)> {
        let mut all = Policies::default();
        let told = || self.world.policies.iter().map(|(_, policy)| &**policy);
        told().for_each(|policy| all.put(policy.clone()));
        let standing = |policy| {
            let standing = Standing::of(policy, &all, self.ledger().iter(), now.wall);
            (policy, Standing { floors: self.floors(policy, now), ..standing })
        };
        told().map(standing).collect()
    }

    /// The floors that hold for the drivers a policy names, or for all that are known.
    fn floors(&self, policy: &Policy, now: Now) -> Vec<Floor> {
        let ctx = self.context(now);
        let named = &policy.spec().scope.drivers;
        let drivers: Vec<&Arc<str>> =
            if named.is_empty() { self.components.drivers.keys().collect() } else { named.iter().collect() };
        let least = policy.spec().min_floor;
        let floor = |driver: &Arc<str>| {
            let view = ctx.driver(driver);
            let timing = ctx.timing(view);
            let all = [timing.short_floor(), timing.nudge_floor(), timing.general_floor()];
            let [short, nudge, general] = all.map(|floor: Duration| words::short(floor.max(least)));
            let from = view.map_or("the documented defaults", |view| &*view.timing_from);
            Floor {
                driver: Arc::clone(driver),
                text: format!(
                    "{short} for what no healthy deletion passes through, {nudge} for a nudge, {general} for the rest ({from})"
                ),
                raised: all.into_iter().any(|floor| floor < least),
            }
        };
        drivers.into_iter().map(floor).collect()
    }
}
