//! From a driver's name to its lease, and from a lease's holder to its pod.
//!
//! The sanitising of names loses information (`a.b` and `a-b` become one), so the way is always driver to
//! expected lease name and pod to expected identity, never back. The rules are csi-lib-utils'
//! `leaderelection` and the kubelet's truncation of host names.

use super::record::{Container, Pod};

/// Lease of snapshot-controller's leader.
pub const CONTROLLER_LEASE: &str = "snapshot-controller-leader";
/// Component of snapshot-controller's Events.
pub const CONTROLLER_COMPONENT: &str = "snapshot-controller";
/// What a csi-snapshotter's component begins with; its driver's name follows.
pub const SNAPSHOTTER_COMPONENT: &str = "csi-snapshotter ";
/// Longest host name a kubelet gives a pod, in bytes.
const MAX_HOSTNAME: usize = 63;

/// csi-lib-utils' `sanitizeName`: everything but letters, digits and dashes becomes a dash, and a name that
/// would end in one gets an `X`.
#[must_use]
pub fn sanitize(name: &str) -> String {
    let mut out: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    if out.ends_with('-') {
        out.push('X');
    }
    out
}

/// Name of the lease on which the csi-snapshotters of a driver elect their leader.
#[must_use]
pub fn snapshotter_lease(driver: &str) -> String {
    sanitize(&format!("external-snapshotter-leader-{}", driver.replace('/', "-")))
}

/// Component of the Events that a driver's csi-snapshotter writes.
#[must_use]
pub fn snapshotter_component(driver: &str) -> String {
    format!("{SNAPSHOTTER_COMPONENT}{driver}")
}

/// Whether this pod would put `holder` into a lease: by its host name, or on the host network by its node's.
#[must_use]
pub fn is_holder(pod: &Pod, pod_name: &str, holder: &str) -> bool {
    if holder.is_empty() {
        return false;
    }
    if pod.host_network {
        return pod.node.as_deref().is_some_and(|node| sanitize(node) == holder);
    }
    let hostname = pod.hostname.as_deref().unwrap_or(pod_name);
    sanitize(truncate_hostname(hostname)) == holder
}

/// The kubelet's `truncatePodHostnameIfNeeded`: 63 bytes, without dashes and dots at the end.
fn truncate_hostname(name: &str) -> &str {
    if name.len() <= MAX_HOSTNAME {
        return name;
    }
    name.get(..MAX_HOSTNAME).unwrap_or(name).trim_end_matches(['-', '.'])
}

/// Last path element of an image without tag and digest: `csi-snapshotter` of `registry.k8s.io/sig-storage/csi-snapshotter:v8.5.0`.
#[must_use]
pub fn image_base(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let last = last.split('@').next().unwrap_or(last);
    last.split(':').next().unwrap_or(last)
}

/// Whether this container is the csi-snapshotter sidecar.
#[must_use]
pub fn is_snapshotter(container: &Container) -> bool {
    &*container.name == "csi-snapshotter" || image_base(&container.image) == "csi-snapshotter"
}

/// Whether this container is snapshot-controller.
#[must_use]
pub fn is_controller(container: &Container) -> bool {
    &*container.name == "snapshot-controller" || image_base(&container.image) == "snapshot-controller"
}

/// Whether this container is a plugin of this driver, by its own argument.
#[must_use]
pub fn serves_driver(container: &Container, driver: &str) -> bool {
    ["drivername", "driver-name"].into_iter().any(|flag| super::timing::argument(&container.args, flag) == Some(driver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::Uid;
    use crate::domain::record::Meta;

    fn pod(host_network: bool, node: &str) -> Pod {
        Pod {
            meta: Meta {
                uid: Uid::parse("u"),
                created: None,
                deleted: None,
                finalizers: Vec::new().into(),
                ignored: false,
            },
            node: Some(node.into()),
            host_network,
            hostname: None,
            phase: "Running".into(),
            ready: true,
            ready_changed: None,
            owner: None,
            containers: Box::new([]),
        }
    }

    #[test]
    fn lease_names_are_those_of_the_sidecar() {
        for (driver, lease) in [
            ("rook-ceph.rbd.csi.ceph.com", "external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com"),
            ("hostpath.csi.k8s.io", "external-snapshotter-leader-hostpath-csi-k8s-io"),
            ("a/b", "external-snapshotter-leader-a-b"),
            ("ends.", "external-snapshotter-leader-ends-X"),
        ] {
            assert_eq!(snapshotter_lease(driver), lease);
        }
    }

    #[test]
    fn holders_are_found_behind_dots_long_names_and_host_networks() {
        let plain = pod(false, "node-1.example");
        let dotted = "rook-ceph.rbd.csi.ceph.com-ctrlplugin-75b99498fb-7mq7f";
        assert!(is_holder(&plain, dotted, "rook-ceph-rbd-csi-ceph-com-ctrlplugin-75b99498fb-7mq7f"));
        assert!(!is_holder(&plain, dotted, dotted));
        let long = "a-very-long-namespace-name.rbd.csi.ceph.com-ctrlplugin-7599498-f-xx7mq7f";
        let held = "a-very-long-namespace-name-rbd-csi-ceph-com-ctrlplugin-7599498";
        assert!(is_holder(&plain, long, held), "{} {}", sanitize(truncate_hostname(long)), held);
        assert!(is_holder(&pod(true, "node-1.example"), dotted, "node-1-example"));
        assert!(!is_holder(&pod(true, "node-1.example"), dotted, &sanitize(dotted)));
        assert!(!is_holder(&plain, "", ""));
    }

    #[test]
    fn images_are_read_without_registry_tag_and_digest() {
        let image = "registry.k8s.io:5000/sig-storage/csi-snapshotter:v8.5.0@sha256:00";
        assert_eq!(image_base(image), "csi-snapshotter");
        assert_eq!(image_base("csi-snapshotter"), "csi-snapshotter");
    }
}
