//! The stack's own CSI driver is a CSI driver: csi-sanity, the specification's conformance suite, says so.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

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

fn start_driver(program: &Path, folder: &Path) -> (Running, PathBuf) {
    let (socket, state) = (folder.join("csi.sock"), folder.join("state"));
    let child = Command::new(program)
        .args(["--name", stack::DRIVER, "--socket"])
        .arg(&socket)
        .arg("--state")
        .arg(state)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        assert!(Instant::now() < end, "the driver does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    (Running(child), socket)
}

#[test]
fn csi_sanity_passes() {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    let tools = stack::available().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (_driver, socket) = start_driver(tools.path("csi-driver").unwrap(), folder.path());
    let output = Command::new(tools.path("csi-sanity").unwrap())
        .arg(format!("--csi.endpoint=unix://{}", socket.display()))
        .arg(format!("--csi.mountdir={}", folder.path().join("mount").display()))
        .arg(format!("--csi.stagingdir={}", folder.path().join("staging").display()))
        .args(["--ginkgo.skip=Node Service", "--ginkgo.no-color"]) // there is no kubelet, so the driver mounts nothing
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("SUCCESS! -- 35 Passed | 0 Failed"), "{said}");
}
