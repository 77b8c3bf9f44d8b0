//! What a pod's containers need before they can start: bound and attached claims, Secrets, ConfigMaps.

use serde_json::Value;

use crate::sim::actors::object;
use crate::sim::actors::volumes::{attachable, attachment_name};
use crate::sim::actors::workloads::owned::{self, items};
use crate::sim::process::Context;
use crate::sim::store::table::{ATTACHMENTS, CLAIMS, CONFIG_MAPS, Resource, SECRETS};

/// Why the pod cannot start yet.
pub(super) enum Missing {
    /// A volume is on its way.
    Later,
    /// A volume cannot be mounted, in the kubelet's words.
    Mount(String),
    /// A container cannot be made, in the kubelet's words.
    Config(String),
}

/// The first thing that is missing.
pub(super) fn missing(ctx: &mut Context<'_>, pod: &Value, node: &str) -> Option<Missing> {
    let namespace = object::namespace(pod);
    for name in owned::claims(pod) {
        let claim = ctx.get(CLAIMS, namespace, name);
        if !claim.is_ok_and(|claim| object::text(&claim, "/status/phase") == "Bound") {
            return Some(Missing::Later);
        }
        if let Some(volume) = attachable(ctx, namespace, name) {
            let attachment = ctx.get(ATTACHMENTS, "", &attachment_name(&volume, node));
            if !attachment.is_ok_and(|found| found.pointer("/status/attached") == Some(&Value::Bool(true))) {
                return Some(Missing::Later);
            }
        }
    }
    for volume in items(pod, "/spec/volumes") {
        let wanted = [
            (SECRETS, "secret", volume.pointer("/secret/secretName"), volume.pointer("/secret/optional")),
            (CONFIG_MAPS, "configmap", volume.pointer("/configMap/name"), volume.pointer("/configMap/optional")),
        ];
        for (resource, kind, name, optional) in wanted {
            if let Some(name) = absent(ctx, resource, namespace, name, optional) {
                let volume = object::text(volume, "/name");
                let words = format!("MountVolume.SetUp failed for volume \"{volume}\" : {kind} \"{name}\" not found");
                return Some(Missing::Mount(words));
            }
        }
    }
    let containers = items(pod, "/spec/containers").iter().chain(items(pod, "/spec/initContainers"));
    containers.flat_map(|container| items(container, "/env").iter().chain(items(container, "/envFrom"))).find_map(
        |env| {
            let source = env.get("valueFrom").unwrap_or(env);
            let secret = source.get("secretKeyRef").or_else(|| source.get("secretRef"))?;
            let name = absent(ctx, SECRETS, namespace, secret.get("name"), secret.get("optional"))?;
            Some(Missing::Config(format!("secret \"{name}\" not found")))
        },
    )
}

/// The name of what is wanted, if it is not there and not optional.
fn absent(
    ctx: &mut Context<'_>,
    resource: &'static Resource,
    namespace: &str,
    name: Option<&Value>,
    optional: Option<&Value>,
) -> Option<String> {
    let name = name.and_then(Value::as_str).filter(|_| optional != Some(&Value::Bool(true)))?;
    ctx.get(resource, namespace, name).is_err().then(|| name.to_owned())
}
