//! Starts a full stack and keeps it until standard input ends or Ctrl-C comes.
//!
//! `cargo run -p stack --example up -- [--load PAIRS] [HOST...]`: one csi-snapshotter for each host name, or one in
//! all. With `--rook` or `--classic` instead of hosts, driver and csi-snapshotters are pods on two nodes, as Rook
//! deploys them now or did before 1.18, and there is the storage class `rbd`.
//!
//! It has the bound claim `default/data`, the class `fast` (Delete) and the class `kept` (Retain); `--load` adds so many
//! synthetic pairs of snapshot and content of another driver.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::time::Instant;

use stack::{Load, Options, Rook, Stack, Volume};

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut rook = None;
    let mut hosts = Vec::new();
    let mut pairs = 0;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--load" => pairs = words.next().ok_or("--load needs a number of pairs")?.parse()?,
            "--rook" => rook = Some(Rook::operator()),
            "--classic" => rook = Some(Rook::classic()),
            flag if flag.starts_with('-') => return Err(format!("there is no option {flag}").into()),
            _ => hosts.push(word),
        }
    }
    let stack = match &rook {
        Some(_) if !hosts.is_empty() => return Err("hosts are for csi-snapshotters that are no pods".into()),
        Some(rook) => with_rook(rook)?,
        None => with_processes(hosts)?,
    };

    let mut out = std::io::stdout();
    writeln!(out, "export KUBECONFIG={}", stack.kubeconfig().display())?;
    writeln!(
        out,
        "# ready in {:.1} s; logs and backend in {}",
        start.elapsed().as_secs_f64(),
        stack.folder().display()
    )?;
    if let Some(rook) = &rook {
        writeln!(out, "# the driver's pods are in the namespace {}", rook.namespace)?;
    }
    for process in stack.processes() {
        writeln!(out, "# {} is pid {}", process.name(), process.pid().unwrap_or_default())?;
    }
    if pairs > 0 {
        let loaded = stack.load(&Load::pairs(pairs))?;
        let (objects, mean) = (loaded.objects, loaded.bytes / loaded.objects);
        writeln!(out, "# {objects} objects of {mean} bytes loaded in {:.1} s", loaded.elapsed.as_secs_f64())?;
    }
    writeln!(out, "# ends with standard input, or Ctrl-C")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn with_processes(hosts: Vec<String>) -> Result<Stack, stack::Error> {
    let mut options = Options { volumes: vec![Volume::new("vol-1")], ..Options::full() };
    if !hosts.is_empty() {
        options.snapshotters = hosts;
    }
    let stack = Stack::start(options)?;
    stack.bound_pvc("default", "data", "vol-1")?;
    stack.snapshot_class("fast", "Delete")?;
    stack.snapshot_class("kept", "Retain")?;
    Ok(stack)
}

fn with_rook(rook: &Rook) -> Result<Stack, stack::Error> {
    let stack = Stack::start(Options::pods())?;
    stack.deploy(rook)?;
    stack.storage_class("rbd", &rook.driver)?;
    stack.snapshot_class_of("fast", &rook.driver, "Delete", true)?;
    stack.snapshot_class_of("kept", &rook.driver, "Retain", true)?;
    stack.claim("default", "data", "rbd", None)?;
    stack.wait_bound("default", "data")?;
    Ok(stack)
}
