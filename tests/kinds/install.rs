//! `deploy/base` as kubectl installs it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use stack::Options;

use crate::{Ask, Server, VOLWARDEN, deploy, fenced};

#[test]
fn it_installs_twice_and_its_pods_are_restricted() {
    let Some(server) = Server::start(Options::control_plane()) else { return };
    server.install();
    let again = server.apply_folder(&deploy().join("base"), None);
    assert!(again.lines().count() > 20 && again.lines().all(|line| line.ends_with(" unchanged")), "{again}");

    let deployment = server.must(&Ask::get("/apis/apps/v1/namespaces/volwarden-system/deployments/volwarden"));
    assert_eq!(deployment["spec"]["replicas"], 2);
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image, concat!("volwarden:", env!("CARGO_PKG_VERSION")));
    let pods = "/api/v1/namespaces/volwarden-system/pods";
    let pod = json!({"metadata": {"name": "volwarden"}, "spec": deployment["spec"]["template"]["spec"]});
    server.must(&Ask::create(pods, pod.clone()).dry());
    let mut loose = pod;
    loose["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    let (code, said) = server.send(&server.admin, &Ask::create(pods, loose).dry());
    assert_eq!(code, 403, "{said}");
    assert!(said["message"].as_str().unwrap().contains("violates PodSecurity \"restricted"), "{said}");
}

/// A copy of `deploy/base` and an overlay on it that only changes the namespace.
fn overlay(folder: &Path, namespace: &str) -> std::path::PathBuf {
    copy(&deploy().join("base"), &folder.join("base"));
    let overlay = folder.join("overlay");
    fs::create_dir(&overlay).unwrap();
    let text = format!("namespace: {namespace}\nresources: [../base]\n");
    fs::write(overlay.join("kustomization.yaml"), text).unwrap();
    overlay
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// kustomize does not look into CEL: a fence that names a namespace would stand open in any other.
#[test]
fn in_another_namespace_the_fence_is_around_it_too() {
    let Some(server) = Server::start(Options::control_plane()) else { return };
    let folder = overlay(server.stack.folder(), "backup");
    server.apply_folder(&folder, None);
    server.wait_established();
    let moved = "system:serviceaccount:backup:volwarden";
    let lease = |namespace: &str, name: &str| {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        Ask::create(&path, json!({"metadata": {"name": name}})).dry()
    };
    let client = server.user(moved);
    assert_eq!(server.send(&client, &lease("backup", "volwarden")).0, 201, "its own lease, with its own rights");
    server.bind_admin("everything", moved);
    server.bind_admin("everything-of-another", VOLWARDEN);
    server
        .stack
        .wait("the fence is up", crate::SOON, || {
            let answer: (u16, Value) = server.send(&client, &lease("default", "volwarden"));
            (fenced(&answer).as_deref() == Some("volwarden-leases")).then_some(())
        })
        .unwrap();
}
