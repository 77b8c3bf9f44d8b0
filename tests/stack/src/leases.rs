//! Which pod leads: from a leader lease to the pod that holds it.
//!
//! csi-snapshotter's identity is its host name, made fit for a label, and a host name is not always the pod's name:
//! kubelet cuts it, `spec.hostname` replaces it, and with hostNetwork it is the node's.

use serde_json::Value;

use crate::stack::Stack;

/// How long a host name may be; kubelet cuts a pod's.
const HOST_NAME: usize = 63;

impl Stack {
    /// The name of the leader lease of a driver's csi-snapshotters.
    #[must_use]
    pub fn lease_of(&self, driver: &str) -> String {
        sanitise(&format!("external-snapshotter-leader-{driver}"))
    }

    /// The pod whose csi-snapshotter leads for a driver, even if it is being deleted. `None` if nobody holds the lease,
    /// or if its holder is not exactly one pod.
    #[must_use]
    pub fn leader_pod(&self, namespace: &str, driver: &str) -> Option<String> {
        let lease = self.get("lease", Some(namespace), &self.lease_of(driver)).ok()??;
        let holder = lease.pointer("/spec/holderIdentity")?.as_str()?;
        let pods = self.pod_list(namespace, "");
        let mut held = pods.iter().filter(|pod| has_snapshotter(pod) && identity(pod).as_deref() == Some(holder));
        let leader = held.next()?.pointer("/metadata/name")?.as_str()?.to_owned();
        held.next().is_none().then_some(leader)
    }
}

fn has_snapshotter(pod: &Value) -> bool {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let named = |container: &Value| container.get("name").is_some_and(|name| name == "csi-snapshotter");
    containers.is_some_and(|containers| containers.iter().any(named))
}

/// What a pod's sidecars call themselves in a lease.
fn identity(pod: &Value) -> Option<String> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
        return text("/spec/nodeName").map(sanitise);
    }
    let name = text("/spec/hostname").or_else(|| text("/metadata/name"))?;
    Some(sanitise(name.get(..HOST_NAME).unwrap_or(name).trim_end_matches(['-', '.'])))
}

/// As csi-lib-utils makes names fit: what is no letter, digit or `-` becomes `-`, and the last sign is no `-`.
fn sanitise(name: &str) -> String {
    let mut name: String = name.chars().map(|sign| if sign.is_ascii_alphanumeric() { sign } else { '-' }).collect();
    if name.ends_with('-') {
        name.push('X');
    }
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_identity_is_the_host_name_and_that_is_not_always_the_pod() {
        let named = |name: &str| identity(&json!({"metadata": {"name": name}, "spec": {}})).unwrap();
        assert_eq!(named("rook-ceph.rbd.csi.ceph.com-ctrlplugin-7-x"), "rook-ceph-rbd-csi-ceph-com-ctrlplugin-7-x");
        let (long, cut) = (format!("{}.-tail", "a".repeat(61)), "a".repeat(61));
        assert_eq!(named(&long), cut, "63 signs, then the trailing ones trimmed");
        let spec = json!({"nodeName": "node-a.example", "hostname": "own", "hostNetwork": false});
        let mut pod = json!({"metadata": {"name": "pod"}, "spec": spec});
        assert_eq!(identity(&pod).unwrap(), "own");
        pod["spec"]["hostNetwork"] = json!(true);
        assert_eq!(identity(&pod).unwrap(), "node-a-example");
        assert_eq!(sanitise("a.b."), "a-b-X");
    }
}
