//! The binary against any real API server, with or without snapshots: a scratch cluster that
//! `VOLWARDEN_TEST_KUBECONFIG` names, the programs in `KUBEBUILDER_ASSETS`, or the stack's own.
//!
//! What is stuck there is not ours to say; that it is read whole, and only read, is.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where it stands and waits in real time"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stack::{Options, Stack};

fn volwarden(kubeconfig: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    command.env_remove("KUBECONFIG").env("VOLWARDEN_KUBECONFIG", kubeconfig);
    command
}

#[test]
fn doctor_reads_every_kind_and_run_becomes_ready() {
    let stack = Stack::from_environment(Options::control_plane()).unwrap();
    let output = volwarden(stack.kubeconfig()).args(["doctor", "-o", "json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("doctor's JSON: {error}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    let findings = said.pointer("/findings").and_then(Value::as_array).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())), "0 without findings, 1 with");
    for source in said.pointer("/sources").and_then(Value::as_array).unwrap() {
        let state = source.get("state").and_then(Value::as_str).unwrap();
        assert!(["Synced", "NotInstalled"].contains(&state), "{source}");
    }
    becomes_ready(stack.kubeconfig());
}

fn becomes_ready(kubeconfig: &Path) {
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child =
        volwarden(kubeconfig).args(["run", "--listen", &address.to_string()]).stderr(Stdio::null()).spawn().unwrap();
    let ready = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        get(address, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    let metrics = get(address, "/metrics").unwrap_or_default();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready, "ready within 30 s");
    assert!(metrics.contains("volwarden_source_objects"), "{metrics}");
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
