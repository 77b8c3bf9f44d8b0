//! VolumeAttachments of the pods that mount CSI volumes.
//!
//! It plays the attach-detach controller and the driver's csi-attacher in one: ceph-csi's attacher does nothing
//! but say yes, and no incident of this product begins there. What counts is that the objects are there while a
//! pod uses a volume and gone afterwards, since they are evidence of use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::sim::actors::object::{self, Key};
use crate::sim::actors::workloads::{Synced, owned};
use crate::sim::process::Context;
use crate::sim::store::table::{ATTACHMENTS, CLAIMS, CSI_DRIVERS, PODS, VOLUMES};
use crate::sim::store::{DeleteOptions, Part, Patch};

/// How long an attacher takes to say yes.
const ANSWERED: Duration = Duration::from_millis(300);

/// Which attachments each pod needs.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    needed: BTreeMap<Key, BTreeSet<String>>,
}

impl Attachments {
    pub(crate) fn sync(&mut self, ctx: &mut Context<'_>, key: &Key) -> Synced {
        let pod = ctx.get(PODS, &key.0, &key.1).ok().filter(|pod| !owned::is_finished(pod));
        let Some(pod) = pod else { return self.detach(ctx, key) };
        let node = object::text(&pod, "/spec/nodeName").to_owned();
        let volumes: Vec<String> = owned::claims(&pod).filter_map(|claim| attachable(ctx, &key.0, claim)).collect();
        let mut again = None;
        for volume in volumes {
            let name = name(&volume, &node);
            match ctx.get(ATTACHMENTS, "", &name) {
                Ok(attachment) if attachment.pointer("/status/attached") == Some(&Value::Bool(true)) => {}
                Ok(_) => {
                    let patch = Patch::Merge(json!({"status": {"attached": true}}));
                    ctx.patch(ATTACHMENTS, "", &name, Part::Status, &patch)?;
                }
                Err(_) => {
                    let attachment = attachment(ctx, &volume, &node, &name);
                    ctx.create(ATTACHMENTS, "", attachment)?;
                    again = Some(ANSWERED);
                }
            }
            self.needed.entry(key.clone()).or_default().insert(name);
        }
        Ok(again)
    }

    fn detach(&mut self, ctx: &mut Context<'_>, key: &Key) -> Synced {
        for name in self.needed.remove(key).unwrap_or_default() {
            let used = self.needed.values().any(|names| names.contains(&name));
            if !used && ctx.get(ATTACHMENTS, "", &name).is_ok() {
                ctx.delete(ATTACHMENTS, "", &name, &DeleteOptions::default())?;
            }
        }
        Ok(None)
    }
}

/// The volume behind a claim, if its driver wants it attached.
pub(crate) fn attachable(ctx: &Context<'_>, namespace: &str, claim: &str) -> Option<String> {
    let claim = ctx.list(CLAIMS, Some(namespace)).find(|found| object::name(found) == claim)?;
    let name = object::text(claim, "/spec/volumeName");
    let volume = ctx.list(VOLUMES, None).find(|found| object::name(found) == name)?;
    let driver = object::text(volume, "/spec/csi/driver");
    let driver = ctx.list(CSI_DRIVERS, None).find(|found| object::name(found) == driver)?;
    let attaches = driver.pointer("/spec/attachRequired") != Some(&Value::Bool(false));
    attaches.then(|| name.to_owned())
}

/// Its name is a long hash of what is attached where.
pub(crate) fn name(volume: &str, node: &str) -> String {
    let text = format!("{volume}/{node}");
    let part = |seed: u64| text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let parts = [0xcbf2_9ce4_8422_2325, 1, 2, 3].map(|seed| format!("{:016x}", part(seed)));
    format!("csi-{}", parts.concat())
}

fn attachment(ctx: &Context<'_>, volume: &str, node: &str, name: &str) -> Value {
    let mut volumes = ctx.list(VOLUMES, None);
    let found = volumes.find(|found| object::name(found) == volume);
    let driver = found.map(|found| object::text(found, "/spec/csi/driver")).unwrap_or_default();
    json!({"metadata": {"name": name}, "spec": {"attacher": driver, "nodeName": node,
        "source": {"persistentVolumeName": volume}}})
}
