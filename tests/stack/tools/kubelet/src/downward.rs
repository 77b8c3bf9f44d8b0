//! What a pod may know of itself: `fieldRef` in environments and in files.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::failure::Failure;

/// The address of every node and every pod: there is one machine, and no network of pods.
pub const ADDRESS: &str = "127.0.0.1";

/// The value of a field such as `metadata.name` or `metadata.labels['app']`.
pub fn field(pod: &Pod, path: &str) -> Result<String, Failure> {
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => pod.labels(),
            "metadata.annotations" => pod.annotations(),
            _ => return Err(unsupported(path)),
        };
        return Ok(values.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" | "status.podIP" | "status.podIPs" => ADDRESS.to_owned(),
        _ => return Err(unsupported(path)),
    })
}

/// `metadata.labels['app']` is `app` of `metadata.labels`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((map, key))
}

/// A map as the file of a downward API volume holds it.
fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter().fold(String::new(), |mut text, (key, value)| {
        let newline = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{newline}{key}={value:?}"); // writing to a String cannot fail
        text
    })
}

fn unsupported(path: &str) -> Failure {
    Failure::config(format!("unsupported fieldPath: {path}"))
}

/// The host name that a container finds: its pod's, as long as Linux allows; on the host's network the node's.
pub fn hostname(pod: &Pod, node: &str) -> String {
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.host_network) == Some(true) {
        return node.to_owned();
    }
    let name = spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let name: String = name.unwrap_or_else(|| pod.name_any()).chars().take(63).collect();
    name.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;

    fn pod(name: &str, hostname: Option<&str>, host_network: bool) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.labels = Some(BTreeMap::from([
            ("app".to_owned(), "db".to_owned()),
            ("example.com/a".to_owned(), "say \"x\"".to_owned()),
        ]));
        let hostname = hostname.map(ToOwned::to_owned);
        pod.spec = Some(PodSpec { hostname, host_network: Some(host_network), ..PodSpec::default() });
        pod
    }

    #[test]
    fn a_host_name_is_cut_as_kubelet_cuts_it() {
        let long = "a".repeat(70);
        let dash = format!("{}-.{}", "b".repeat(61), "c".repeat(10));
        for (name, hostname_given, host_network, expected) in [
            ("web-0", None, false, "web-0"),
            ("web-0", Some("db"), false, "db"),
            ("web-0", Some(""), false, "web-0"),
            ("rook-ceph.rbd.csi.ceph.com-x", None, false, "rook-ceph.rbd.csi.ceph.com-x"),
            (long.as_str(), None, false, &long[..63]),
            (dash.as_str(), None, false, &dash[..61]),
            ("web-0", None, true, "node-a"),
        ] {
            assert_eq!(hostname(&pod(name, hostname_given, host_network), "node-a"), expected, "{name}");
        }
    }

    #[test]
    fn fields_are_read_by_path() {
        let pod = pod("web-0", None, false);
        for (path, expected) in [
            ("metadata.name", "web-0"),
            ("metadata.labels['app']", "db"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "app=\"db\"\nexample.com/a=\"say \\\"x\\\"\""),
            ("status.podIP", "127.0.0.1"),
        ] {
            assert_eq!(field(&pod, path).unwrap(), expected, "{path}");
        }
        assert!(field(&pod, "spec.containers").unwrap_err().message.contains("spec.containers"));
        assert!(field(&pod, "spec.x['a']").is_err());
    }
}
