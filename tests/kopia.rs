//! `volwarden kopia` with the pinned kopia on repositories that are as they should be, and on those that are not.
//!
//! Each failure has to be named by its class, and nothing but maintenance may change a repository: its files are hashed
//! before and after. An empty mount stays empty.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stdout, reason = "a suite that cannot run says so")]
#![allow(clippy::disallowed_methods, reason = "other processes run on the real clock")]

#[path = "kopia/demo.rs"]
mod demo;
#[path = "kopia/mounts.rs"]
mod mounts;
#[path = "kopia/others.rs"]
mod others;
#[path = "kopia/own.rs"]
mod own;
#[path = "kopia/settings.rs"]
mod settings;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use volwarden::domain::kopia::Class;

/// Nobody's password, and easily found where it must not be.
const PASSWORD: &str = "correct-horse-battery-staple";

/// The program; or nothing where it may be missing.
fn program() -> Option<PathBuf> {
    if let Some(missing) = stack::not_run() {
        println!("NOT RUN: {missing}");
        return None;
    }
    // Another version's answers are read as well: the whole suite can be run with one.
    let other = std::env::var_os("VOLWARDEN_TEST_KOPIA").map(PathBuf::from);
    Some(other.unwrap_or_else(|| stack::available().unwrap().path("kopia").unwrap().to_owned()))
}

/// A repository of its own, and who asks for it.
struct Lab {
    home: TempDir,
    kopia: PathBuf,
}

impl Lab {
    /// A repository whose maintenance is ours, with two sources; or nothing where the programs may be missing.
    fn begin() -> Option<Self> {
        let lab = Self { home: tempfile::tempdir().unwrap(), kopia: program()? };
        fs::create_dir_all(lab.repository()).unwrap();
        fs::create_dir_all(lab.at("data")).unwrap();
        fs::write(lab.at("data/small"), "kept").unwrap();
        let noise: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        fs::write(lab.at("data/large"), noise).unwrap();
        let repository = lab.repository().display().to_string();
        let us = ["--override-username=volwarden", "--override-hostname=nas"];
        lab.kopia(&["repository", "create", "filesystem", "--path", &repository, us[0], us[1]]);
        let data = lab.at("data").display().to_string();
        lab.kopia(&["snapshot", "create", &data]);
        lab.kopia(&["snapshot", "create", &data, "--override-source=app@ns:/data"]);
        Some(lab)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn repository(&self) -> PathBuf {
        self.at("repository")
    }

    fn config(&self) -> PathBuf {
        self.at("repository.config")
    }

    /// A kopia with a configuration, a cache and a log of its own, under this name, as another machine would have.
    fn client(&self, name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.kopia);
        command
            .args(words)
            .arg(format!("--config-file={}", self.at(&format!("{name}.config")).display()))
            .env("HOME", self.home.path())
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .env("KOPIA_LOG_DIR", self.at(&format!("{name}-log")))
            .env("KOPIA_CACHE_DIRECTORY", self.at(&format!("{name}-cache")))
            .stdin(Stdio::null());
        command
    }

    /// Kopia itself, as a person would use it.
    fn kopia(&self, words: &[&str]) -> Output {
        let mut command = self.client("repository", words);
        let output = command.args(["--no-auto-maintenance", "--no-progress"]).output().unwrap();
        assert!(output.status.success(), "kopia {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Our command, not yet started.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
        command.arg("kopia").args(words).arg("--config").arg(self.config()).arg("--kopia").arg(&self.kopia);
        // Settings of the caller's kopia must not reach ours.
        command
            .env("KOPIA_CONFIG_PATH", "/nowhere")
            .env("KOPIA_PASSWORD", "of somebody else")
            .env("TMPDIR", self.tmp());
        command
    }

    fn tmp(&self) -> PathBuf {
        let tmp = self.at("tmp");
        fs::create_dir_all(&tmp).unwrap();
        tmp
    }

    /// Our answer as JSON, with its exit code. The password is nowhere in it, and nothing is left behind.
    fn asked(&self, words: &[&str]) -> (i32, Value) {
        let config = fs::read(self.config()).unwrap();
        let output = self.command(words).args(["-o", "json"]).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD), "{out}{err}");
        assert_eq!(fs::read(self.config()).unwrap(), config, "the configuration was touched");
        assert_eq!(fs::read_dir(self.tmp()).unwrap().count(), 0, "something was left behind");
        let answer = serde_json::from_str(&out).unwrap_or_else(|_| json!({ "said": err }));
        (output.status.code().unwrap(), answer)
    }

    /// The same, and the repository is what it was.
    fn reads(&self, words: &[&str]) -> (i32, Value) {
        let before = stack::hashes(&self.repository()).unwrap();
        let answer = self.asked(words);
        assert_eq!(stack::hashes(&self.repository()).unwrap(), before, "{words:?} changed the repository");
        answer
    }

    /// The one file of the repository whose path begins so.
    fn blob(&self, folder: &str) -> PathBuf {
        let files = stack::hashes(&self.repository()).unwrap();
        files.into_keys().find(|path| path.strip_prefix(self.repository()).unwrap().starts_with(folder)).unwrap()
    }

    fn truncate(file: &Path, length: u64) {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
    }
}

/// The processes named in a file have ended, at the latest in a moment.
fn gone(pids: &Path) {
    let began = Instant::now();
    for pid in fs::read_to_string(pids).unwrap().split_whitespace() {
        loop {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(5), "process {pid} lives: {state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What went wrong, wherever a command puts it.
fn class(answer: &Value) -> &str {
    let failure = answer.get("failure").unwrap_or(&answer["failures"][0]);
    failure["class"].as_str().unwrap_or_else(|| panic!("no failure in {answer}"))
}

#[test]
fn status_tells_everything_and_writes_nothing() {
    let Some(lab) = Lab::begin() else { return };
    let (code, answer) = lab.reads(&["status"]);
    assert_eq!(code, 0, "{answer}");
    assert_eq!(answer["repository"]["uniqueID"].as_str().unwrap().len(), 64);
    assert_eq!((&answer["repository"]["format"], &answer["identity"]), (&3.into(), &"volwarden@nas".into()));
    assert_eq!(
        (&answer["maintenance"]["owner"], &answer["maintenance"]["ours"]),
        (&"volwarden@nas".into(), &true.into())
    );
    assert_eq!((&answer["epochs"]["current"], &answer["epochs"]["indexBlobs"]), (&0.into(), &3.into()));
    // What it takes is what its files do.
    let files = stack::hashes(&lab.repository()).unwrap();
    let blobs = files.keys().filter(|file| file.extension().is_some_and(|ending| ending == "f"));
    let bytes: Vec<u64> = blobs.map(|file| fs::metadata(file).unwrap().len()).collect();
    let size = json!({"blobs": bytes.len(), "bytes": bytes.iter().sum::<u64>()});
    assert_eq!(answer["size"], size);
    let sources: Vec<&str> =
        answer["sources"].as_array().unwrap().iter().map(|s| s["source"].as_str().unwrap()).collect();
    assert_eq!(sources[0], "app@ns:/data");
    assert_eq!(sources.len(), 2);
    assert_eq!(answer["lock"]["holders"], json!([]));

    let output = lab.command(&["status"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["volwarden@nas, which is us", "has never run", "there is nothing to unlock", "app@ns:/data"] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let (code, answer) = lab.reads(&["sources"]);
    assert_eq!((code, answer["sources"].as_array().unwrap().len()), (0, 2));
}

#[test]
fn maintenance_happens_and_is_told_from_kopias_own_record() {
    let Some(lab) = Lab::begin() else { return };
    let (code, answer) = lab.asked(&["maintain"]);
    assert_eq!((code, &answer["result"], &answer["round"]), (0, &"happened".into(), &"quick".into()), "{answer}");
    let (code, answer) = lab.asked(&["maintain", "--full"]);
    assert_eq!((code, &answer["result"]), (0, &"happened".into()), "{answer}");
    let tasks: Vec<&str> = answer["tasks"].as_array().unwrap().iter().map(|t| t["task"].as_str().unwrap()).collect();
    assert!(tasks.contains(&"snapshot-gc"), "{tasks:?}");
    let info = lab.kopia(&["maintenance", "info", "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["schedule"]["runs"]["snapshot-gc"].as_array().unwrap().len(), 1, "one run, and not one more");
    let (code, answer) = lab.reads(&["status"]);
    assert_eq!(code, 0);
    let newest = answer["maintenance"]["tasks"].as_array().unwrap();
    assert!(newest.iter().any(|task| task["task"] == "snapshot-gc" && task["success"].is_string()), "{answer}");
    // What is backed up is still there.
    assert_eq!(lab.reads(&["verify", "--percent", "100"]).0, 0);
}

#[test]
fn long_work_says_how_far_it_is_on_a_terminal_and_in_a_log() {
    let Some(lab) = Lab::begin() else { return };
    // For a log, lines; the answer alone is on stdout.
    let output = lab.command(&["maintain", "--full", "-o", "json"]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["result"], "happened");
    let said = String::from_utf8(output.stderr).unwrap();
    for words in ["volwarden: full maintenance, ", ": Running full maintenance...\n", ": Cleaned up 0 logs.\n"] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    // On a terminal, one line that changes and is gone at the end.
    let ours = lab.command(&["verify", "--percent", "100"]);
    let words: Vec<String> = [ours.get_program()]
        .into_iter()
        .chain(ours.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &words.join(" "), "/dev/null"]);
    let output = script.env("TMPDIR", lab.tmp()).stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && shown.contains("sound: every pack is there"), "{shown}");
    assert!(shown.contains("\r\u{1b}[Kverification, 0s: kopia begins ..."), "{shown:?}");
    assert!(shown.contains("Listed ") && shown.contains(" objects"), "{shown:?}");
    assert!(!shown.contains("volwarden: "), "a terminal has no lines of a log: {shown:?}");
}

#[test]
fn a_foreign_owner_is_left_alone() {
    let Some(lab) = Lab::begin() else { return };
    lab.kopia(&["maintenance", "set", "--owner=root@kopia"]);
    let (code, answer) = lab.reads(&["maintain", "--full"]);
    assert_eq!((code, &answer["result"], class(&answer)), (1, &"notRun".into(), "NotOwner"));
    let failure = answer["failure"].to_string();
    assert!(
        failure.contains("root@kopia") && failure.contains("kopia maintenance set --owner=volwarden@nas"),
        "{failure}"
    );
    let (code, answer) = lab.reads(&["status"]);
    assert_eq!((code, &answer["maintenance"]["ours"]), (0, &false.into()));
    // Another host name is another identity.
    lab.kopia(&["maintenance", "set", "--owner=volwarden@nas"]);
    assert_eq!(class(&lab.reads(&["maintain", "--host", "nas2"]).1), "NotOwner");
}

#[test]
fn two_at_once_are_one() {
    let Some(lab) = Lab::begin() else { return };
    let lock = lab.at("repository.config.mlock");
    let held = File::create(&lock).unwrap();
    held.lock().unwrap();
    let (code, answer) = lab.reads(&["maintain", "--full"]);
    assert_eq!((code, &answer["result"], class(&answer)), (1, &"notRun".into(), "LockHeld"));
    assert_eq!(answer["failure"]["advice"], "retry");
    let us = format!("process {}", std::process::id());
    assert!(answer["failure"]["said"].as_str().unwrap().contains(&us), "{answer}");
    let (_, answer) = lab.reads(&["status"]);
    assert_eq!(answer["lock"]["holders"][0]["pid"], std::process::id());
    drop(held);

    // Two of ours: whoever comes second says so, and kopia ran as often as it is said to have run.
    let start = || lab.command(&["maintain", "--full"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let codes: Vec<i32> =
        [start(), start()].into_iter().map(|mut child| child.wait().unwrap().code().unwrap()).collect();
    assert!(codes.contains(&0) && codes.iter().all(|code| matches!(code, 0 | 1)), "{codes:?}");
    let info: Value = serde_json::from_slice(&lab.kopia(&["maintenance", "info", "--json"]).stdout).unwrap();
    let runs = info["schedule"]["runs"]["snapshot-gc"].as_array().unwrap().len();
    assert_eq!(runs, codes.iter().filter(|code| **code == 0).count());
}

#[test]
fn a_wrong_password_and_none_are_told_apart() {
    let Some(lab) = Lab::begin() else { return };
    let file = lab.at("password");
    fs::write(&file, "wrong-horse\n").unwrap();
    let named = file.display().to_string();
    for words in [&["status"][..], &["sources"], &["maintain"], &["verify"]] {
        let (code, answer) = lab.reads(&[words, &["--password-file", &named]].concat());
        assert_eq!((code, class(&answer)), (1, "WrongPassword"), "{words:?}");
        assert!(!answer.to_string().contains("wrong-horse"), "{answer}");
    }
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    fs::remove_file(lab.at("repository.config.kopia-password")).unwrap();
    assert_eq!(lab.reads(&["status", "--password-file", &named]).0, 0);
    let (code, answer) = lab.reads(&["status"]);
    assert_eq!(code, 2);
    assert!(answer["said"].as_str().unwrap().contains("--password-file"), "{answer}");
}

#[test]
fn an_empty_folder_stays_empty() {
    let Some(lab) = Lab::begin() else { return };
    let kept = lab.at("kept");
    fs::rename(lab.repository(), &kept).unwrap();
    fs::create_dir(lab.repository()).unwrap();
    for words in [&["status"][..], &["sources"], &["maintain", "--full"], &["verify"]] {
        let (code, answer) = lab.reads(words);
        assert_eq!((code, class(&answer)), (1, "NotInitialised"), "{words:?}");
        assert!(answer.to_string().contains("missing mount"), "{answer}");
        assert_eq!(fs::read_dir(lab.repository()).unwrap().count(), 0);
    }
    fs::remove_dir(lab.repository()).unwrap();
    let (code, answer) = lab.asked(&["maintain"]);
    assert_eq!((code, class(&answer)), (1, "Unreachable"));
    assert!(!lab.repository().exists());
}

#[test]
fn damage_is_named_and_not_made_worse() {
    let Some(lab) = Lab::begin() else { return };
    let (pack, index) = (lab.blob("p"), lab.blob("x"));
    let (whole_pack, whole_index) = (fs::read(&pack).unwrap(), fs::read(&index).unwrap());

    // The plain verification of kopia's does not see this one.
    Lab::truncate(&pack, 1000);
    let (code, answer) = lab.reads(&["verify", "--percent", "0"]);
    assert_eq!((code, class(&answer), &answer["failure"]["advice"]), (1, "DataDamaged", &"human".into()), "{answer}");
    let mut flipped = whole_pack.clone();
    flipped[500_000] ^= 1;
    fs::write(&pack, flipped).unwrap();
    let (code, answer) = lab.reads(&["verify", "--percent", "100"]);
    assert_eq!((code, class(&answer)), (1, "DataDamaged"), "{answer}");
    fs::remove_file(&pack).unwrap();
    assert_eq!(class(&lab.reads(&["verify"]).1), "DataDamaged");
    fs::write(&pack, whole_pack).unwrap();
    assert_eq!(lab.reads(&["verify", "--percent", "100"]).0, 0);

    let signs = |code| {
        let folder = lab.repository().display().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_volwarden"))
            .args(["kopia", "signs", &folder, "-o", "json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let sound = signs(0);
    assert!(sound["blobs"].as_u64() > Some(4) && sound["newest"].is_string(), "{sound}");
    Lab::truncate(&index, 0);
    let torn = signs(1);
    assert_eq!(
        (&torn["empty"], &torn["failures"][0]["class"]),
        (&1.into(), &"IndexDamaged".into()),
        "without a password"
    );
    for words in [&["status"][..], &["sources"], &["maintain", "--full"], &["verify"]] {
        let (code, answer) = lab.reads(words);
        assert_eq!((code, class(&answer)), (1, "IndexDamaged"), "{words:?}");
    }
    fs::write(&index, whole_index).unwrap();

    lab.asked(&["maintain"]);
    assert!(signs(0)["maintenance"].is_string());
    Lab::truncate(&lab.at("repository/kopia.maintenance.f"), 0);
    let (code, answer) = lab.reads(&["maintain", "--full"]);
    assert_eq!((code, class(&answer)), (1, "ScheduleDamaged"), "{answer}");
    // The rest of the status is told all the same.
    let (code, answer) = lab.reads(&["status"]);
    assert_eq!((code, class(&answer), answer["sources"].as_array().unwrap().len()), (1, "ScheduleDamaged", 2));
}

#[test]
fn a_kopia_that_hangs_is_ended_with_its_children_and_lies_are_not_believed() {
    let Some(mut lab) = Lab::begin() else { return };
    let (real, fake) = (lab.kopia.clone(), lab.at("fake"));
    let script = |text: &str| {
        fs::write(&fake, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    };
    lab.kopia = fake.clone();
    let pids = lab.at("pids");
    script(&format!("sleep 300 & echo $! $$ > {}; wait", pids.display()));
    let began = Instant::now();
    let (code, answer) = lab.reads(&["status", "--timeout", "1s"]);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(code, 2, "{answer}");
    assert!(answer["unclear"][0].as_str().unwrap().contains("--timeout"), "{answer}");
    gone(&pids);

    // What takes too long and is no more than a number is left out, and the rest is told.
    let real_but = |asked: &str, does: &str| {
        format!("case \"$*\" in *'{asked}'*) {does};; *) exec {} \"$@\";; esac", real.display())
    };
    script(&real_but("blob stats", "exec sleep 300"));
    let (code, answer) = lab.reads(&["status", "--timeout", "10s"]);
    assert_eq!((code, &answer["size"], &answer["epochs"]["indexBlobs"]), (0, &Value::Null, &3.into()), "{answer}");
    script(&format!("sleep 300 & echo $! $$ > {}; wait", pids.display()));

    // Told to stop, it leaves nobody behind either.
    fs::remove_file(&pids).unwrap();
    let mut ours = lab.command(&["maintain"]).stderr(Stdio::null()).spawn().unwrap();
    while fs::read_to_string(&pids).unwrap_or_default().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").arg(ours.id().to_string()).status().unwrap().success());
    assert_eq!(ours.wait().unwrap().code(), Some(2));
    gone(&pids);

    // Exit code 0 and no word is what a held lock looks like; words without a record are no run.
    let lying = |said: &str| real_but("maintenance run", said);
    script(&lying("exit 0"));
    assert_eq!(class(&lab.reads(&["maintain"]).1), "LockHeld");
    script(&lying("echo 'Running quick maintenance...' >&2; echo 'Finished quick maintenance.' >&2; exit 0"));
    let (code, answer) = lab.reads(&["maintain"]);
    assert_eq!((code, class(&answer)), (1, "NoTrace"));
    script("echo '{\"uniqueIDHex\": '");
    let (code, answer) = lab.reads(&["status"]);
    assert_eq!(code, 2);
    assert!(answer["unclear"][0].as_str().unwrap().contains("line 2 column 0"), "{answer}");

    // Our settings and nobody else's reach kopia; the password only by the environment.
    let seen = lab.at("seen");
    script(&format!("env > {0}; echo \"$@\" >> {0}; exit 1", seen.display()));
    lab.reads(&["maintain"]);
    let text = fs::read_to_string(&seen).unwrap();
    assert!(text.contains(&format!("KOPIA_PASSWORD={PASSWORD}")) && !text.contains("KOPIA_CONFIG_PATH"), "{text}");
    let words = text.lines().last().unwrap();
    assert!(words.contains("--no-auto-maintenance") && !words.contains(PASSWORD), "{words}");
    assert!(!words.contains(&lab.config().display().to_string()), "kopia saw the shared configuration: {words}");
}

impl Lab {
    /// Back-dated snapshots of a source: one a day, the newest yesterday's; each of so many bytes.
    fn snapshots(&self, source: &str, sizes: &[usize]) {
        let today = jiff::Timestamp::now();
        let data = self.at("dated");
        fs::create_dir_all(&data).unwrap();
        for (days, size) in sizes.iter().enumerate().rev() {
            // Another first byte each day: what has not changed is a snapshot all the same, but is told apart.
            let mut content = vec![b'x'; *size];
            content.iter_mut().take(1).for_each(|byte| *byte = u8::try_from(days).unwrap());
            fs::write(data.join("file"), content).unwrap();
            let at = |seconds: i64| {
                let back = jiff::SignedDuration::from_hours(24 * (i64::try_from(days).unwrap() + 1));
                let time = today - back + jiff::SignedDuration::from_secs(seconds);
                time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
            };
            let times = [format!("--start-time={}", at(0)), format!("--end-time={}", at(60))];
            let whose = format!("--override-source={source}");
            self.kopia(&["snapshot", "create", &data.display().to_string(), &whose, &times[0], &times[1]]);
        }
    }

    fn keep(&self, source: &str, latest: u32) {
        let none = ["hourly", "daily", "weekly", "monthly", "annual"].map(|period| format!("--keep-{period}=0"));
        let latest = format!("--keep-latest={latest}");
        let mut words = vec!["policy", "set", source, &latest];
        words.extend(none.iter().map(String::as_str));
        self.kopia(&words);
    }

    /// The ids of a source's snapshots, the oldest first.
    fn ids(&self, source: &str) -> Vec<String> {
        let list: Value = serde_json::from_slice(&self.kopia(&["snapshot", "list", "--json"]).stdout).unwrap();
        let of = |one: &Value| {
            let part = |field: &str| one["source"][field].as_str().unwrap().to_owned();
            format!("{}@{}:{}", part("userName"), part("host"), part("path"))
        };
        let mut ours: Vec<&Value> = list.as_array().unwrap().iter().filter(|one| of(one) == source).collect();
        ours.sort_by_key(|one| one["startTime"].as_str().unwrap().to_owned());
        ours.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn exactly_what_kopia_and_we_let_go_is_deleted_and_only_under_terms_that_were_shown() {
    let Some(lab) = Lab::begin() else { return };
    let sources = ["a@ns:/data", "b@ns:/data", "c@ns:/data", "d@ns:/data", "e@ns:/data"];
    for source in &sources[..4] {
        lab.snapshots(source, &[100; 6]);
        lab.keep(source, 4);
    }
    // The newest is nearly empty.
    lab.snapshots(sources[4], &[1, 5000, 5000, 5000]);
    lab.keep(sources[4], 2);
    let pinned = lab.ids(sources[1])[0].clone();
    lab.kopia(&["snapshot", "pin", &pinned, "--add=keep"]);
    let before: Vec<Vec<String>> = sources.iter().map(|source| lab.ids(source)).collect();

    let (code, answer) = lab.reads(&["policy", "--source", sources[0]]);
    assert_eq!((code, &answer["sources"][0]["policy"]["keepLatest"]), (0, &4.into()), "{answer}");
    let mut words = vec!["expire"];
    for source in [0, 1, 2, 4] {
        words.extend(["--source", sources[source]]);
    }
    let (code, dry) = lab.reads(&words);
    assert_eq!((code, &dry["result"]), (1, &"dryRun".into()), "one is held: {dry}");
    assert_eq!(dry["sources"][0]["going"], json!(before[0][..2]), "the oldest first");
    assert_eq!(dry["sources"][1]["going"], json!([before[1][1]]), "the oldest is pinned, and stays");
    assert_eq!(dry["sources"][3]["held"]["reason"], "BackupShrunk");
    let terms = dry["terms"].as_str().unwrap().to_owned();

    // Other terms delete nothing, and say so.
    let other = [&words[..], &["--delete", "0123456789abcdef"]].concat();
    assert_eq!((lab.reads(&other).0, lab.reads(&other).1["result"].clone()), (1, "dryRun".into()));
    lab.keep(sources[2], 5);
    let now_other = [&words[..], &["--delete", &terms]].concat();
    assert_eq!(lab.reads(&now_other).1["result"], "dryRun", "a policy has changed since");
    lab.keep(sources[2], 4);

    let few = [&words[..], &["--delete", &terms, "--most", "2"]].concat();
    let (_, answer) = lab.asked(&few);
    assert_eq!((&answer["result"], &answer["deleted"]), (&"deleted".into(), &2.into()), "{answer}");
    let (_, answer) = lab.asked(&[&words[..], &["--delete", &terms]].concat());
    assert_eq!(answer["deleted"], 3, "{answer}");
    for (at, source) in sources.iter().enumerate() {
        let gone: Vec<&String> = before[at].iter().filter(|id| !lab.ids(source).contains(id)).collect();
        let going = dry["sources"].as_array().unwrap().iter().find(|row| row["source"] == *source);
        let going = going.and_then(|row| row["going"].as_array()).cloned().unwrap_or_default();
        assert_eq!(json!(gone), json!(going), "{source}");
    }
    assert_eq!(lab.ids(sources[3]).len(), 6, "nobody named it");
    let accepted = ["expire", "--source", sources[4], "--accept-shrunk", sources[4]];
    let terms = lab.reads(&accepted).1["terms"].as_str().unwrap().to_owned();
    let (code, answer) = lab.asked(&[&accepted[..], &["--delete", &terms]].concat());
    assert_eq!((code, &answer["deleted"]), (0, &2.into()), "{answer}");
    assert_eq!(lab.reads(&["verify", "--percent", "100"]).0, 0);
}

#[test]
fn a_kopia_that_decides_otherwise_deletes_nothing() {
    let Some(mut lab) = Lab::begin() else { return };
    lab.snapshots("a@ns:/data", &[100; 6]);
    lab.keep("a@ns:/data", 4);
    let (real, fake) = (lab.kopia.clone(), lab.at("fake"));
    let script = |case: &str| {
        let text = format!("#!/bin/sh\ncase \"$*\" in {case};; *) exec {} \"$@\";; esac\n", real.display());
        fs::write(&fake, text).unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let words = ["expire", "--source", "a@ns:/data"];
    let terms = lab.reads(&words).1["terms"].as_str().unwrap().to_owned();
    lab.kopia = fake.clone();
    let delete = [&words[..], &["--delete", &terms]].concat();
    // Its dry run names another number; its list has other reasons.
    script("*'snapshot expire'*) echo '3 snapshot(s) of a@ns:/data would be deleted.' >&2");
    let (code, answer) = lab.reads(&delete);
    assert_eq!(
        (code, &answer["sources"][0]["held"]["reason"], &answer["deleted"]),
        (1, &"Disagreement".into(), &0.into())
    );
    script(&format!("*'snapshot list'*) {} \"$@\" | sed 's/\"latest-4\"//'", real.display()));
    assert_eq!(lab.reads(&delete).1["sources"][0]["held"]["reason"], "Disagreement");
    // It says that it deleted, and did not.
    script("*'snapshot delete'*) exit 0");
    assert_eq!(class(&lab.reads(&delete).1), "NoTrace");
}

#[test]
fn the_page_has_every_class_with_its_advice() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kopia.md")).unwrap();
    let (_, table) = page.split_once("## Failures").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let said: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| (row.split('`').next().unwrap(), row.split(" | ").nth(1).unwrap()))
        .collect();
    let due: Vec<(String, String)> =
        Class::ALL.iter().map(|class| (class.to_string(), format!("{:?}", class.advice()).to_lowercase())).collect();
    let due: Vec<(&str, &str)> = due.iter().map(|(name, advice)| (name.as_str(), advice.as_str())).collect();
    assert_eq!(said, due);
}

#[test]
fn what_must_never_be_run_is_not_in_the_code() {
    const NEVER: [&str; 9] = [
        "--safety",
        "--force",
        "repository create",
        "repository repair",
        "index recover",
        "dangerous-commands",
        "\"create\"",
        "\"repair\"",
        "\"recover\"",
    ];
    fn read(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // Words of a command alone, as an argument; elsewhere in the tree they are verbs of Kubernetes.
            let inside = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            let of_kopia = inside.to_string_lossy().contains("kopia");
            let words = NEVER.iter().filter(|word| of_kopia || !word.starts_with('"'));
            found.extend(words.filter(|word| text.contains(**word)).map(|word| format!("{}: {word}", path.display())));
        }
    }
    let mut found = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert_eq!(found, [] as [String; 0]);
}
