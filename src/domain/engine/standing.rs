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
        let (fence, unfenced) = (self.fence(), self.desk(self.context(now)).unfenced());
        let standing = |policy| {
            let standing = Standing::of(policy, &all, self.ledger().iter(), now.wall);
            let (fence, unfenced) = (fence.cloned(), unfenced.clone());
            (policy, Standing { floors: self.floors(policy, now), fence, unfenced, ..standing })
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::engine::Settings;
    use crate::domain::fact::{Change, Fact};
    use crate::domain::name::Key;
    use crate::domain::policy::Spec;

    #[test]
    fn each_policy_shows_the_floors_of_its_drivers_and_those_it_raised() {
        let now = Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(1) };
        let mut engine = Engine::new(Settings::default());
        for (name, minutes) in [("careful", 10), ("plain", 0)] {
            let mut spec = Spec { min_floor: Duration::from_secs(60 * minutes), ..Spec::default() };
            spec.scope.drivers.insert("csi.example.com".into());
            let policy = Box::new(Policy::new(name, spec));
            engine.step(Fact::Policy(Change::Applied(Key::cluster(name), policy)), now);
        }
        let standings = engine.standings(now);
        let shown: Vec<(&str, &str, bool)> = standings
            .iter()
            .flat_map(|(policy, standing)| standing.floors.iter().map(|one| (&**policy.name(), &*one.text, one.raised)))
            .collect();
        let documented = "(the documented defaults)";
        assert_eq!(
            shown,
            [
                (
                    "careful",
                    &*format!(
                        "10m for what no healthy deletion passes through, 10m for a nudge, 16m for the rest {documented}"
                    ),
                    true
                ),
                (
                    "plain",
                    &*format!(
                        "60s for what no healthy deletion passes through, 3m for a nudge, 16m for the rest {documented}"
                    ),
                    false
                ),
            ]
        );
        assert_eq!(standings[0].1.conflicts, [Arc::from("plain")]);
    }
}
