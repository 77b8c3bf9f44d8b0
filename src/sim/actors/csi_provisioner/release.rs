//! One look at a volume: if nobody wants it any more, its storage is deleted, and then it.

use serde_json::Value;

use super::Provisioner;
use super::provision::{PROVISIONED_BY, VOLUME_FINALIZER, secrets_of};
use crate::sim::actors::csi::{Request, Secrets};
use crate::sim::actors::object;
use crate::sim::store::table::{STORAGE_CLASSES, VOLUMES};
use crate::sim::store::{DeleteOptions, Part};
use crate::sim::task::Desk;

impl Provisioner {
    pub(super) async fn sync_volume(&self, name: &str, desk: &Desk) -> Result<(), String> {
        let Some(volume) = self.informers.with(|informers| informers.get(VOLUMES, "", name)) else { return Ok(()) };
        if !self.is_released(&volume) {
            return Ok(());
        }
        let request = Request::DeleteVolume {
            volume: object::text(&volume, "/spec/csi/volumeHandle").to_owned(),
            secrets: self.deletion_secrets(&volume, desk).await?,
        };
        desk.call(self.socket, request, self.timeout).await.map_err(|status| status.to_string())?;
        let wanted = name.to_owned();
        let deleted = desk.api(VOLUMES, move |ctx| ctx.delete(VOLUMES, "", &wanted, &DeleteOptions::default())).await;
        let deleted = match deleted {
            Err(refusal) if refusal.is_not_found() => return Ok(()),
            other => other.map_err(|refusal| refusal.message)?,
        };
        if object::has_finalizer(&deleted, VOLUME_FINALIZER) {
            let left = object::without_finalizers(&deleted, &[VOLUME_FINALIZER]);
            let freed = object::with_finalizers(&deleted, left);
            let written = desk.api(VOLUMES, move |ctx| ctx.replace(VOLUMES, Part::Object, freed)).await;
            written.map_err(|refusal| refusal.message)?;
        }
        Ok(())
    }

    fn is_released(&self, volume: &Value) -> bool {
        object::annotation(volume, PROVISIONED_BY) == Some(self.driver.as_str())
            && object::text(volume, "/spec/persistentVolumeReclaimPolicy") == "Delete"
            && object::text(volume, "/status/phase") == "Released"
    }

    async fn deletion_secrets(&self, volume: &Value, desk: &Desk) -> Result<Secrets, String> {
        let class = object::text(volume, "/spec/storageClassName");
        let Some(class) = self.informers.with(|informers| informers.get(STORAGE_CLASSES, "", class)) else {
            return Ok(Secrets::new());
        };
        secrets_of(&class, desk).await
    }
}
