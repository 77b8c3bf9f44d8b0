//! Refusals on demand: an API server that says no to one writer, one verb, one object.
//!
//! Some bugs of real controllers need nothing more than a single refused request at the right moment (a
//! throttled annotation, a finalizer PATCH that met a restart). Here such a moment can be ordered.

use super::process::ProcessId;
use super::store::Refusal;
use super::store::table::Resource;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// GET.
    Get,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// An order to refuse.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose requests; `None`: anyone's.
    pub process: Option<ProcessId>,
    /// Which verb.
    pub verb: Verb,
    /// Which resource.
    pub resource: &'static Resource,
    /// Which object; `None`: any.
    pub name: Option<String>,
    /// How many requests pass first.
    pub skip: u32,
    /// How many requests are refused then.
    pub times: u32,
    /// With what.
    pub refusal: Refusal,
}

/// The orders that are left.
#[derive(Debug, Default)]
pub struct Refusals {
    orders: Vec<Order>,
}

impl Refusals {
    /// One more.
    pub fn add(&mut self, order: Order) {
        self.orders.push(order);
    }

    /// These and no others.
    pub fn set(&mut self, orders: Vec<Order>) {
        self.orders = orders;
    }

    /// Refuses if an order says so.
    ///
    /// # Errors
    /// The ordered refusal.
    pub(super) fn check(
        &mut self,
        process: ProcessId,
        verb: Verb,
        resource: &'static Resource,
        name: &str,
    ) -> Result<(), Refusal> {
        let meant = |order: &&mut Order| {
            order.verb == verb
                && order.resource == resource
                && order.process.is_none_or(|wanted| wanted == process)
                && order.name.as_deref().is_none_or(|wanted| wanted == name)
        };
        let Some(order) = self.orders.iter_mut().find(meant) else { return Ok(()) };
        if order.skip > 0 {
            order.skip -= 1;
            return Ok(());
        }
        let refusal = order.refusal.clone();
        order.times = order.times.saturating_sub(1);
        self.orders.retain(|order| order.times > 0);
        Err(refusal)
    }
}
