//! Keeps what tells what happened when a test panics: the stack's folder is gone a moment later.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, create_dir, write};
use crate::stack::Stack;

/// The folder below cargo's `target`.
const FOLDER: &str = "stack-failures";
/// What is asked of the API server.
const KINDS: [&str; 12] = [
    "volumesnapshots",
    "volumesnapshotcontents",
    "volumesnapshotclasses",
    "leases",
    "csidrivers",
    "persistentvolumeclaims",
    "persistentvolumes",
    "deployments",
    "jobs",
    "pods",
    "nodes",
    "events",
];

/// Copies what there is and says where. Never panics, since a panic is under way: what cannot be had is named.
pub(crate) fn keep(stack: &Stack) {
    let mut lost = Vec::new();
    let target = match new_folder() {
        Ok(target) => target,
        Err(error) => return eprintln!("the stack's logs are lost: {error}"),
    };
    copy_files(stack.folder(), &target, &mut lost);
    for node in stack.nodes() {
        let logs = crate::nodes::folder(stack.folder(), node).join("logs");
        copy_folder(&logs, &target.join("pods").join(node), &mut lost);
    }
    copy_folder(&stack.folder().join("backend"), &target.join("backend"), &mut lost);
    objects(stack, &target, &mut lost);
    eprintln!("the stack's logs, watches and objects are in {}", target.display());
    if !lost.is_empty() {
        eprintln!("not there: {}", lost.join("; "));
    }
}

/// A new folder that is named after the test's thread, or else after the time.
fn new_folder() -> Result<PathBuf, Error> {
    let built = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let built = built.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let name = match std::thread::current().name() {
        Some(test) if test != "main" => test.replace(['/', ':'], "-"),
        _ => "stack".to_owned(),
    };
    let target = built.join(FOLDER).join(format!("{name}-{time}"));
    create_dir(&target)?;
    std::path::absolute(&target).map_err(Error::io(format!("cannot find {}", target.display())))
}

/// Copies the files that lie directly in a folder: logs, the audit log, recorded watches.
fn copy_files(from: &Path, to: &Path, lost: &mut Vec<String>) {
    for entry in entries(from, lost) {
        if entry.is_file() {
            copy(&entry, to, lost);
        }
    }
}

/// Copies a folder, if it is there, and what is below it.
fn copy_folder(from: &Path, to: &Path, lost: &mut Vec<String>) {
    if !from.is_dir() {
        return;
    }
    for entry in entries(from, lost) {
        if entry.is_dir() {
            copy_folder(&entry, &to.join(entry.file_name().unwrap_or_default()), lost);
        } else {
            copy(&entry, to, lost);
        }
    }
}

fn entries(folder: &Path, lost: &mut Vec<String>) -> Vec<PathBuf> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            lost.push(format!("{}: {error}", folder.display()));
            Vec::new()
        }
    }
}

fn copy(file: &Path, to: &Path, lost: &mut Vec<String>) {
    let copied =
        std::fs::create_dir_all(to).and_then(|()| std::fs::copy(file, to.join(file.file_name().unwrap_or_default())));
    if let Err(error) = copied {
        lost.push(format!("{}: {error}", file.display()));
    }
}

/// Asks the API server for the objects. A test may have frozen it, or what it needs.
fn objects(stack: &Stack, to: &Path, lost: &mut Vec<String>) {
    for process in ["etcd", "kube-apiserver"] {
        let _ = stack.process(process).and_then(crate::Process::resume); // one that has ended shows below
    }
    if let Err(error) = stack.kubectl(["get", "--raw", "/readyz", "--request-timeout=5s"]) {
        return lost.push(format!("all objects: {error}"));
    }
    for kind in KINDS {
        let objects = stack.kubectl(["get", kind, "--all-namespaces", "-o", "json", "--request-timeout=10s"]);
        let kept = objects.and_then(|objects| write(&to.join(format!("{kind}.json")), objects));
        match kept {
            Err(Error::Command { stderr, .. }) if stderr.contains("doesn't have a resource type") => {}
            Err(error) => lost.push(format!("{kind}: {error}")),
            Ok(()) => {}
        }
    }
}
