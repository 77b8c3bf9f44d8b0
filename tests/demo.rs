//! `volwarden demo` as a newcomer or a script runs it: the real binary, its own cluster, its own word.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "another process runs on the real clock")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use volwarden::sim::incidents::Incident;

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    command.arg("demo").env_remove("KUBECONFIG").env("HOME", std::env::temp_dir());
    command
}

/// Runs it to its end: its exit code, and every line it told.
fn play(words: &[&str]) -> (i32, Vec<Value>) {
    let output = demo().args(["--headless", "-o", "json"]).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let lines = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    (output.status.code().unwrap_or_else(|| panic!("{complained}")), lines)
}

fn of_type<'a>(lines: &'a [Value], wanted: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["type"] == wanted)
}

#[test]
fn incidents_are_found_by_their_public_names_and_cleared_when_they_are_mended() {
    let (code, lines) =
        play(&["--speed", "200", "--scenario", "foreign-finalizer,finalizers-stripped,controller-down"]);
    let summary = lines.last().unwrap();
    assert_eq!(code, 0, "{summary:#}");
    assert_eq!(summary["type"], "summary");
    let outcome = |one: &Value| {
        let found = one["found"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        format!("{} {found} {}", one["name"].as_str().unwrap(), one["cleared"])
    };
    let mut outcomes: Vec<String> = summary["incidents"].as_array().unwrap().iter().map(outcome).collect();
    outcomes.sort();
    assert_eq!(
        outcomes,
        [
            "controller-down ControllerDown true",
            "finalizers-stripped AbandonedContent OrphanedContent true",
            "foreign-finalizer ForeignFinalizer null",
        ]
    );
    assert_eq!((&summary["pool"]["leaked"], &summary["pool"]["lost"]), (&0.into(), &0.into()));

    // Nothing is found before something broke, and what is found is the daemon's whole finding.
    let first = lines.iter().position(|line| line["type"] == "found").unwrap();
    assert!(of_type(&lines[..first], "broke").next().is_some());
    for found in of_type(&lines, "found") {
        let finding = &found["finding"];
        assert!(finding["repair"]["text"].is_string() && finding["subject"]["name"].is_string(), "{finding}");
    }
    let cleared: Vec<&Value> = of_type(&lines, "cleared").map(|line| &line["class"]).collect();
    assert!(cleared.contains(&&"OrphanedContent".into()) && cleared.contains(&&"ControllerDown".into()), "{cleared:?}");
    let kubeconfig = lines[0]["kubeconfig"].as_str().unwrap();
    assert!(!Path::new(kubeconfig).parent().unwrap().exists(), "the folder goes with the demo");
}

#[test]
fn without_time_for_an_incident_it_says_that_it_could_not_tell() {
    let (code, lines) = play(&["--for", "300ms", "--scenario", "storm"]);
    let summary = lines.last().unwrap();
    assert_eq!((code, &summary["incidents"][0]["begun"]), (2, &false.into()));
    assert_eq!(of_type(&lines, "broke").count(), 0, "nothing breaks that could not be told");
}

#[test]
fn without_a_kopia_that_can_show_one_a_line_says_that_no_repository_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let said = |words: &[&str]| {
        let words = [&["--headless", "--for", "200ms", "--scenario", "storm"], words].concat();
        let output = demo().args(words).env("PATH", folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "kopia is no part of what the exit code says");
        String::from_utf8(output.stdout).unwrap()
    };
    let line = |text: &str| text.lines().find(|line| line.starts_with("Kopia repository: ")).unwrap().to_owned();
    assert_eq!(line(&said(&[])), "Kopia repository: skipped, because kopia is not on the PATH");
    let kopia = folder.path().join("kopia");
    std::fs::write(&kopia, "#!/bin/sh\n: >\"$0.ran\"\n").unwrap();
    assert!(line(&said(&[])).contains("not on the PATH"), "a file that may not be run is no program");
    std::fs::set_permissions(&kopia, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(line(&said(&["--kopia-config", "/nowhere/at/all"])).contains("cannot read kopia's configuration"));
    let ran = folder.path().join("kopia.ran");
    assert!(!ran.exists(), "kopia is not run for nothing, and the demo's own repository is not shown instead");
    let silent = line(&said(&[]));
    assert!(
        ran.exists() && silent.contains("this kopia does not read the repository that comes with the demo"),
        "{silent}"
    );
}

#[test]
fn ctrl_c_ends_it_in_order() {
    let child = demo().args(["--headless", "-o", "json"]).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let kubeconfig = started["kubeconfig"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    assert!(text.contains("server: http://127.0.0.1:"), "{text}");

    let looked = Command::new(env!("CARGO_BIN_EXE_volwarden"))
        .args(["why", "csidriver", "rook-ceph.rbd.csi.ceph.com", "--kubeconfig", &kubeconfig])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&looked.stdout);
    assert!(said.contains("CSIDriver rook-ceph.rbd.csi.ceph.com"), "{said}");

    let asked = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    child.wait().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(4));
    assert_eq!(rest.last().unwrap()["type"], "summary", "the end is told all the same");
    assert!(!Path::new(&kubeconfig).parent().unwrap().exists());
}

#[test]
fn the_list_has_every_incident_with_what_it_is_worth() {
    let output = demo().arg("--list").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for incident in Incident::ALL {
        assert!(said.contains(incident.name) && said.contains(incident.about), "{said}");
        assert!(incident.expects().all(|class| said.contains(class.as_str())), "{said}");
    }
    let wrong = demo().args(["--scenario", "weather"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("sidecar-removed"));
}
