//! The claim that a snapshot is cut from is held until the cut is done.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Controller, update_failed};
use crate::sim::actors::object;
use crate::sim::actors::snapshots::{CLAIM_FINALIZER, is_ready};
use crate::sim::store::table::{CLAIMS, SNAPSHOTS};
use crate::sim::store::{Part, Refusal};
use crate::sim::task::Desk;

/// client-go's default retry on conflicts.
const TRIES: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(10);

impl Controller {
    /// The claim that a snapshot is cut from, as the informer shows it.
    pub(super) fn source_claim(&self, snapshot: &Value) -> Option<Arc<Value>> {
        let name = object::text(snapshot, "/spec/source/persistentVolumeClaimName");
        self.informers.with(|informers| informers.get(CLAIMS, object::namespace(snapshot), name))
    }

    /// Holds the claim while a snapshot of it is cut.
    pub(super) async fn hold_claim(&self, snapshot: &Value, desk: &Desk) -> Result<(), String> {
        let Some(claim) = self.source_claim(snapshot) else {
            return Err(update_failed(object::name(snapshot), "cannot get claim from snapshot"));
        };
        if object::has_finalizer(&claim, CLAIM_FINALIZER) {
            return Ok(());
        }
        if object::is_deleting(&claim) {
            let words = "cannot add finalizer on claim because it is being deleted";
            return Err(update_failed(object::name(&claim), words));
        }
        let all: Vec<&str> = object::finalizers(&claim).chain([CLAIM_FINALIZER]).collect();
        let held = object::with_finalizers(&claim, json!(all));
        let written = desk.api(CLAIMS, move |ctx| ctx.replace(CLAIMS, Part::Object, held)).await;
        written.map(drop).map_err(|refusal| update_failed(object::name(&claim), &refusal.message))
    }

    /// Lets the claim go if no snapshot of it is still being cut; `without` leaves this snapshot out.
    pub(super) async fn release_claim(&self, snapshot: &Value, without: bool, desk: &Desk) -> Result<(), String> {
        let Some(claim) = self.source_claim(snapshot) else { return Ok(()) };
        if !object::has_finalizer(&claim, CLAIM_FINALIZER) || self.is_being_cut(&claim, snapshot, without) {
            return Ok(());
        }
        for tries in 1.. {
            match self.drop_claim_finalizer(&claim, desk).await {
                Ok(()) => break,
                Err(refusal) if refusal.is_conflict() && tries < TRIES => desk.sleep(BETWEEN).await,
                Err(refusal) => return Err(update_failed(object::name(&claim), &refusal.message)),
            }
        }
        Ok(())
    }

    async fn drop_claim_finalizer(&self, claim: &Value, desk: &Desk) -> Result<(), Refusal> {
        let (namespace, name) = object::key(claim);
        let claim = desk.api(CLAIMS, move |ctx| ctx.get(CLAIMS, &namespace, &name)).await?;
        let left = object::with_finalizers(&claim, object::without_finalizers(&claim, &[CLAIM_FINALIZER]));
        desk.api(CLAIMS, move |ctx| ctx.replace(CLAIMS, Part::Object, left)).await.map(drop)
    }

    fn is_being_cut(&self, claim: &Value, snapshot: &Value, without: bool) -> bool {
        let cuts = |other: &Arc<Value>| {
            let left_out = without && object::name(other) == object::name(snapshot);
            let source = object::text(other, "/spec/source/persistentVolumeClaimName");
            !left_out && source == object::name(claim) && !is_ready(other)
        };
        self.informers.with(|informers| informers.list_in(SNAPSHOTS, object::namespace(snapshot)).any(cuts))
    }
}
