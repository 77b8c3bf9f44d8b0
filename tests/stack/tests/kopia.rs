//! The pinned kopia: it is the version that its pin says, and it keeps a repository on this machine.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs kopia with a configuration of its own and gives its standard output.
fn kopia(program: &Path, home: &Path, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .arg(format!("--config-file={}", home.join("repository.config").display()))
        .env("HOME", home)
        .env("KOPIA_PASSWORD", "stack")
        .env("KOPIA_CHECK_FOR_UPDATES", "false")
        .env("KOPIA_LOG_DIR", home.join("log"))
        .env("KOPIA_CACHE_DIRECTORY", home.join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kopia {words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kopia_is_the_pinned_one_and_keeps_a_repository() {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return;
    }
    let tools = stack::available().unwrap();
    let program = tools.path("kopia").unwrap();
    let home = tempfile::tempdir().unwrap();
    assert!(kopia(program, home.path(), &["--version"]).starts_with("0.23.1 "));

    let (repository, data) = (home.path().join("repository"), home.path().join("data"));
    std::fs::create_dir_all(&repository).unwrap();
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("file"), "kept").unwrap();
    kopia(program, home.path(), &["repository", "create", "filesystem", "--path", repository.to_str().unwrap()]);
    kopia(program, home.path(), &["snapshot", "create", data.to_str().unwrap()]);
    let snapshots: Value = serde_json::from_str(&kopia(program, home.path(), &["snapshot", "list", "--json"])).unwrap();
    assert_eq!(snapshots[0]["source"]["path"], data.to_str().unwrap());
    assert_eq!(snapshots[0]["stats"]["fileCount"], 1);
    let info: Value = serde_json::from_str(&kopia(program, home.path(), &["maintenance", "info", "--json"])).unwrap();
    assert!(info["owner"].as_str().is_some_and(|owner| owner.contains('@')), "{info}");
}
