//! The stack's own CSI driver is a CSI driver: csi-sanity, the specification's conformance suite, says so.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends the driver however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a driver on the state in `folder`; `name` tells it from others there.
fn start_driver(program: &Path, folder: &Path, name: &str) -> (Running, PathBuf) {
    let socket = folder.join(format!("{name}.sock"));
    let child = Command::new(program)
        .args(["--type=rbd", "--controllerserver=true", "--nodeid=node-a", "--pidlimit=-1"])
        .arg(format!("--drivername={}", stack::DRIVER))
        .arg(format!("--endpoint=unix://{}", socket.display()))
        .arg(format!("--state={}", folder.join("state").display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    // The socket's file is there a moment before anyone listens on it.
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < end, "the driver does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    (Running(child), socket)
}

fn assert_sane(csi_sanity: &Path, folder: &Path, socket: &Path) {
    let output = Command::new(csi_sanity)
        .arg(format!("--csi.endpoint=unix://{}", socket.display()))
        .arg(format!("--csi.mountdir={}", folder.join("mount").display()))
        .arg(format!("--csi.stagingdir={}", folder.join("staging").display()))
        .args(["--ginkgo.skip=Node Service", "--ginkgo.no-color"]) // there is no kubelet, so the driver mounts nothing
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("SUCCESS! -- 35 Passed | 0 Failed"), "{said}");
}

#[test]
fn csi_sanity_passes() {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    let tools = stack::available().unwrap();
    let (program, csi_sanity) = (tools.path("csi-driver").unwrap(), tools.path("csi-sanity").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (_one, socket) = start_driver(program, folder.path(), "one");
    assert_sane(csi_sanity, folder.path(), &socket);
}

#[test]
fn csi_sanity_passes_for_each_of_two_drivers_on_one_folder() {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    let tools = stack::available().unwrap();
    let (program, csi_sanity) = (tools.path("csi-driver").unwrap(), tools.path("csi-sanity").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (_one, first) = start_driver(program, folder.path(), "one");
    let (_other, second) = start_driver(program, folder.path(), "other");
    // One after the other: the suite counts snapshots, so it must be alone in making them.
    for socket in [first, second] {
        assert_sane(csi_sanity, folder.path(), &socket);
    }
}
