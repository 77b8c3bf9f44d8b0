//! Starts a full stack and keeps it until standard input ends or Ctrl-C comes.
//!
//! `cargo run -p stack --example up [-- HOST...]`: one csi-snapshotter for each host name, or one in all. It has the
//! bound claim `default/data`, the class `fast` (Delete) and the class `kept` (Retain).

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::time::Instant;

use stack::{Options, Stack, Volume};

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut options = Options { volumes: vec![Volume::new("vol-1")], ..Options::full() };
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    if !hosts.is_empty() {
        options.snapshotters = hosts;
    }
    let stack = Stack::start(options)?;
    stack.bound_pvc("default", "data", "vol-1")?;
    stack.snapshot_class("fast", "Delete")?;
    stack.snapshot_class("kept", "Retain")?;

    let mut out = std::io::stdout();
    writeln!(out, "export KUBECONFIG={}", stack.kubeconfig().display())?;
    writeln!(
        out,
        "# ready in {:.1} s; logs and backend in {}",
        start.elapsed().as_secs_f64(),
        stack.folder().display()
    )?;
    for process in stack.processes() {
        writeln!(out, "# {} is pid {}", process.name(), process.pid().unwrap_or_default())?;
    }
    writeln!(out, "# ends with standard input, or Ctrl-C")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
