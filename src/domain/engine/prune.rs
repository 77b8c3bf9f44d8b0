//! What the engine has to say about pruning: the state of drivers for a plan, and a pass for each single deletion.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::domain::fact::Now;
use crate::domain::guard::Judgement;
use crate::domain::guard::prune::GuardedPrune;
use crate::domain::prune::field::DriverSight;
use crate::domain::prune::run::Ask;

impl Engine {
    /// How each driver's deletions go.
    #[must_use]
    pub fn sight_drivers(&self, now: Now) -> BTreeMap<Arc<str>, DriverSight> {
        let desk = self.desk(self.context(now));
        let names = self.world.content_drivers().chain(self.components.failing.keys());
        names.map(|driver| (Arc::clone(driver), desk.sight_driver(driver))).collect()
    }

    /// Asks every guard about a deletion; a pass, if none holds it.
    #[must_use]
    pub fn judge_prune(&self, ask: &Ask, now: Now) -> (Judgement, Option<GuardedPrune>) {
        self.desk(self.context(now)).judge_prune(ask)
    }
}
