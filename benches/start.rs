//! How large the program is, and how long it takes from its start to its first request to an API server.
//!
//! `cargo bench --bench start`. A listener stands in for the API server: it hears when the first request is there, and
//! answers none. It needs nothing but Rust.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it stands, prints, and reads the clock"
)]

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_volwarden");
/// Starts, of which the first is the disk's more than ours.
const TIMES: usize = 21;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let first = started(&kubeconfig);
    let mut all: Vec<Duration> = (1..TIMES).map(|_| started(&kubeconfig)).collect();
    all.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("| program | the first start | p50 of {} more | max |", all.len());
    println!("| --- | --- | --- | --- |");
    println!(
        "| {:.1} MiB | {:.0} ms | {:.0} ms | {:.0} ms |",
        mebibytes(fs::metadata(PROGRAM).unwrap().len()),
        millis(first),
        millis(all[all.len() / 2]),
        millis(all[all.len() - 1])
    );
}

/// From the start of the process until the head of its first request is there.
fn started(kubeconfig: &Path) -> Duration {
    // Another one each time: what the last process has left behind is no request of this one.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{name: here, cluster: {{server: 'http://{address}'}}}}]\n\
         users: [{{name: here, user: {{}}}}]\n\
         contexts: [{{name: here, context: {{cluster: here, user: here}}}}]\n"
    );
    fs::write(kubeconfig, text).unwrap();
    let began = Instant::now();
    let mut program = Command::new(PROGRAM)
        .args(["run", "--listen=127.0.0.1:0", "--kubeconfig"])
        .arg(kubeconfig)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut connection, _) = server.accept().unwrap();
    let mut head = [0; 16];
    connection.read_exact(&mut head).unwrap();
    let took = began.elapsed();
    assert!(head.starts_with(b"GET /"), "no request: {head:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    took
}

#[expect(clippy::cast_precision_loss, reason = "a file is far smaller than 2^53 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
