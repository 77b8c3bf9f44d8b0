//! What `volwarden demo` shows of a kopia repository: its own, and one that somebody names. Both are only read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Lab, program};

/// A demo that is over at once, with this on its PATH and nothing of the caller's kopia.
fn demo(path: &Path, tmp: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    command.args(["demo", "--headless", "--for", "200ms", "--scenario", "storm"]).args(words);
    command.env("PATH", path).env("TMPDIR", tmp).env("HOME", "/nowhere").env("KOPIA_CONFIG_PATH", "/nowhere");
    command
}

fn told(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "no incident had time, and kopia is no part of that");
    String::from_utf8(output.stdout).unwrap()
}

/// What the demo says of kopia for a script.
fn line(text: &str) -> Value {
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["type"], "summary", "the demo went on");
    lines.into_iter().find(|line| line["type"] == "kopia").unwrap()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// A kopia on a PATH of its own, which is watched.
struct Watched {
    home: TempDir,
}

impl Watched {
    /// Kopia without a network, and what it made of the repository: a copy of it after each call, the call's words and its
    /// environment.
    fn begin() -> Option<Self> {
        let kopia = program()?;
        let watched = Self { home: tempfile::tempdir().unwrap() };
        fs::create_dir(watched.at("seen")).unwrap();
        fs::create_dir(watched.at("tmp")).unwrap();
        fs::create_dir(watched.at("bin")).unwrap();
        let seen = watched.at("seen").display().to_string();
        watched.script(&format!(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
             unshare --map-root-user --net '{}' \"$@\"\n\
             code=$?\n\
             echo \"$@\" >>'{seen}/words'\n\
             env >>'{seen}/environment'\n\
             stat -c %a \"$TMPDIR\"/volwarden-*kopia-* >>'{seen}/modes'\n\
             cp -r \"$TMPDIR\"/volwarden-demo-kopia-*/repository '{seen}/repository-'$$\n\
             exit $code",
            kopia.display()
        ));
        Some(watched)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn script(&self, text: &str) {
        let kopia = self.at("bin/kopia");
        fs::write(&kopia, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&kopia, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn demo(&self, words: &[&str]) -> Command {
        demo(&self.at("bin"), &self.at("tmp"), words)
    }

    fn seen(&self, file: &str) -> String {
        fs::read_to_string(self.at("seen").join(file)).unwrap()
    }
}

/// Names and hashes of the files of a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let inside = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    stack::hashes(folder).unwrap().into_iter().map(|(path, hash)| (inside(path), hash)).collect()
}

#[test]
fn it_brings_a_real_repository_that_is_only_read() {
    let Some(watched) = Watched::begin() else { return };
    let text = told(&mut watched.demo(&[]));
    for words in [
        "Kopia repository that comes with the demo, as volwarden kopia status shows it. Kopia made it on 20",
        "volwarden@demo, which is us",
        "quick every 60m, full every 24h",
        "snapshot-gc",
        "there is nothing to unlock",
        "home-assistant@home:/data          6",
        "paperless@home:/data               4",
        "vaultwarden@home:/data             4",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(!text.contains("FAILED") && !text.contains("unclear"), "{text}");
    let shown = line(&told(&mut watched.demo(&["-o", "json"])));
    let mut keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["standing", "type"]);
    let standing = &shown["standing"];
    assert_eq!(standing["repository"]["uniqueID"].as_str().unwrap().len(), 64, "{shown}");
    // The ages are true: the newest backup is of the day before it was made.
    let sources = standing["sources"].as_array().unwrap();
    let newest = sources.iter().map(|one| one["newest"].as_str().unwrap()).max().unwrap();
    let made = text.split("Kopia made it on ").nth(1).unwrap().split(',').next().unwrap();
    let made: jiff::civil::Date = made.parse().unwrap();
    assert_eq!(newest.split('T').next().unwrap(), made.yesterday().unwrap().to_string());

    // Not a byte of it changed, by whichever call, and kopia asked for nothing but what there is.
    let brought = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-repository"));
    let copies = fs::read_dir(watched.at("seen")).unwrap().map(|entry| entry.unwrap().path());
    let copies: Vec<PathBuf> = copies.filter(|path| path.is_dir()).collect();
    assert!(copies.len() >= 10, "five calls each time");
    for copy in copies {
        assert_eq!(files(&copy), brought, "{}", copy.display());
    }
    // Whatever kopia keeps, it keeps in there; and nobody else looks into it.
    let tmp = watched.at("tmp").display().to_string();
    for call in watched.seen("words").lines() {
        assert!(call.contains(&format!("--config-file={tmp}/volwarden-kopia-")), "{call}");
        assert!(!call.contains("connect") && !call.contains("create") && !call.contains("volwarden-demo "), "{call}");
    }
    let environment = watched.seen("environment");
    for variable in ["KOPIA_CACHE_DIRECTORY", "KOPIA_LOG_DIR"] {
        let mut values = environment.lines().filter_map(|line| line.strip_prefix(variable));
        assert!(values.all(|value| value.starts_with(&format!("={tmp}/volwarden-kopia-"))), "{environment}");
    }
    assert!(watched.seen("modes").lines().all(|mode| mode == "700"), "{}", watched.seen("modes"));
    assert!(is_empty(&watched.at("tmp")), "nothing is left behind");
}

#[test]
fn a_kopia_that_fails_costs_one_line_and_a_signal_ends_it() {
    let Some(watched) = Watched::begin() else { return };
    watched.script("echo 'open repository: unable to open repository: unsupported format version 9' >&2; exit 1");
    let text = told(&mut watched.demo(&[]));
    let about: Vec<&str> = text.lines().filter(|line| line.contains("opia")).collect();
    assert_eq!(about.len(), 1, "{text}");
    assert!(about[0].starts_with("Kopia repository: skipped: this kopia does not read the repository"), "{about:?}");
    assert!(about[0].contains("unsupported format version 9") && about[0].contains("0.23.1"), "{about:?}");
    let shown = line(&told(&mut watched.demo(&["-o", "json"])));
    assert!(shown["skipped"].is_string() && shown["standing"].is_null(), "{shown}");
    assert!(is_empty(&watched.at("tmp")));

    // One that hangs is ended with the demo.
    watched.script(&format!(": >'{}'; exec /bin/sleep 300", watched.at("began").display()));
    let child = watched.demo(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !watched.at("began").exists() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let asked = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Kopia repository: skipped, because the demo was ended"), "{text}");
    assert!(is_empty(&watched.at("tmp")));
}

#[test]
fn it_shows_the_one_that_somebody_names_instead() {
    let Some(lab) = Lab::begin() else { return };
    let bin = lab.at("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(&lab.kopia, bin.join("kopia")).unwrap();
    let before = stack::hashes(&lab.repository()).unwrap();
    let config = lab.config().display().to_string();
    let text = told(&mut demo(&bin, &lab.tmp(), &["--kopia-config", &config]));
    assert!(text.contains("app@ns:/data") && text.contains("volwarden@nas, which is us"), "{text}");
    assert!(!text.contains("comes with the demo"), "{text}");
    let shown = line(&told(&mut demo(&bin, &lab.tmp(), &["--kopia-config", &config, "-o", "json"])));
    assert_eq!(shown["standing"]["repository"]["uniqueID"].as_str().unwrap().len(), 64, "{shown}");
    assert_eq!(stack::hashes(&lab.repository()).unwrap(), before);
}
