//! The real binary against kubeconfigs and API servers that are wrong in every way they can be.
//!
//! A person on call reads one line and a script reads one exit code. A panic, a backtrace or a hang in the
//! place of either makes the tool part of the incident.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "another process runs on the real clock")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How an API server can be wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Unauthorized,
    Forbidden,
    Broken,
    Garbage,
    Silent,
}

const WRONGS: [Wrong; 5] = [Wrong::Unauthorized, Wrong::Forbidden, Wrong::Broken, Wrong::Garbage, Wrong::Silent];

impl Wrong {
    fn answer(self) -> Option<String> {
        let status = |code: u16, reason: &str, message: &str| {
            let body = format!(
                "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"status\":\"Failure\",\
                 \"message\":\"{message}\",\"reason\":\"{reason}\",\"code\":{code}}}"
            );
            let length = body.len();
            format!(
                "HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            )
        };
        Some(match self {
            Self::Unauthorized => status(401, "Unauthorized", "Unauthorized"),
            Self::Forbidden => status(403, "Forbidden", "volumesnapshots is forbidden: User x cannot list resource"),
            Self::Broken => status(500, "InternalError", "etcdserver: leader changed"),
            Self::Garbage => {
                "HTTP/1.1 200 OK\r\nContent-Length: 19\r\nConnection: close\r\n\r\n<html>hello!</html>".to_owned()
            }
            Self::Silent => return None,
        })
    }

    /// Answers so for as long as the test runs.
    fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(answer) = self.answer() else {
                    held.push(stream);
                    continue;
                };
                std::thread::spawn(move || {
                    let mut request = [0_u8; 8192];
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(answer.as_bytes());
                });
            }
        });
        address
    }
}

/// The binary without anything of this machine's: no kubeconfig, no settings, no cluster around it.
fn volwarden(home: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    command.env_clear().env("HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What a developer's shell sets must not turn a clean line into a backtrace.
    command.env("RUST_BACKTRACE", "1");
    command
}

/// Reads a stream to its end, beside whoever waits: a child that says more than a pipe holds would wait for us.
fn read_all(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits at most this long, and ends what did not end.
fn finish(mut child: Child, limit: Duration) -> Output {
    let began = Instant::now();
    let (stdout, stderr) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > limit {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running after {limit:?}; stderr: {}", String::from_utf8_lossy(&stderr.join().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn run(command: &mut Command) -> Output {
    finish(command.spawn().unwrap(), Duration::from_secs(30))
}

/// Exit 2 and one line that names all of `words`.
fn assert_one_line(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("volwarden: ") && stderr.len() < 700, "{stderr}");
    for no in ["panicked", "backtrace", "Error {", "Err(", "Some(", "{ ", "\u{1b}", "secret-token"] {
        assert!(!stderr.contains(no), "{no} in {stderr}");
    }
    for word in words {
        assert!(stderr.contains(word), "{word} is not in {stderr}");
    }
}

fn kubeconfig(home: &TempDir, server: &str) -> PathBuf {
    let path = home.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: test, user: {{token: secret-token}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test, namespace: app}}}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn help_shows_every_setting_with_its_variable() {
    let home = TempDir::new().unwrap();
    // Long lines are wrapped, and a wrapped word is still there.
    let help = |args: &[&str]| {
        let text = stdout(&run(volwarden(&home).args(args)));
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let all = help(&["--help"]);
    let for_run = help(&["run", "--help"]);
    for setting in ["config", "kubeconfig", "context", "min-floor", "log-format", "log-level"] {
        let variable = format!("VOLWARDEN_{}", setting.to_ascii_uppercase().replace('-', "_"));
        for text in [&all, &for_run] {
            assert!(text.contains(&format!("--{setting} <")), "{setting}: {text}");
            assert!(text.contains(&format!("[env: {variable}]")), "{variable}: {text}");
        }
    }
    assert_eq!(all.matches("[default: ").count(), 5, "{all}");
    assert!(for_run.contains("--listen <") && for_run.contains("[env: VOLWARDEN_LISTEN]"), "{for_run}");
    assert!(for_run.contains("[default: 0.0.0.0:8080]"), "{for_run}");
    assert!(all.contains("Exit codes of doctor and why: 0"), "{all}");
    let doctor = help(&["doctor", "--help"]);
    for flag in ["--output <", "--observe <", "--timeout <", "--namespace <", "--all-namespaces", "--no-color"] {
        assert!(doctor.contains(flag), "{flag}: {doctor}");
    }
    for (command, flags) in [
        ("plan", &["--file <", "--namespace <", "--dry-run <", "--output <", "--observe <"][..]),
        ("approve", &["<NAME>", "--hash <", "--dry-run <", "kubectl annotate remediation"]),
        ("pause", &["[POLICY]...", "--all", "--reason <", "--for <", "--dry-run <"]),
        ("resume", &["[POLICY]...", "--all", "--dry-run <"]),
    ] {
        let text = help(&[command, "--help"]);
        assert!(flags.iter().all(|flag| text.contains(flag)), "{command}: {text}");
    }
    let reclaim = help(&["orphans", "reclaim", "--help"]);
    assert!(reclaim.contains("[default: volwarden-system]") && reclaim.contains("[default: 5m]"), "{reclaim}");
    assert!(help(&["orphans", "list", "--help"]).contains("--all"));
    assert!(
        all.contains("These write to the cluster, in your name: approve, pause, resume, orphans reclaim."),
        "{all}"
    );
    assert_eq!(help(&["--version"]), format!("volwarden {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn as_kubectl_plugin_it_shows_that_name() {
    let home = TempDir::new().unwrap();
    let link = home.path().join("kubectl-volwarden");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_volwarden"), &link).unwrap();
    let output = Command::new(link).arg("--help").output().unwrap();
    assert!(stdout(&output).contains("Usage: kubectl volwarden "), "{}", stdout(&output));
}

#[test]
fn usage_errors_end_with_2() {
    let home = TempDir::new().unwrap();
    for args in [&["frobnicate"][..], &[], &["doctor", "--observe", "5"], &["doctor", "-n", "a", "-A"], &["why"]] {
        let output = run(volwarden(&home).args(args));
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let output = run(volwarden(&home).args(["run", "--min-floor", "10"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("such as 30s, 5m or 1h30m"));
    assert_one_line(&run(volwarden(&home).args(["why", "snapshot", "db"])), &["volumesnapshot (vs)"]);
}

#[test]
fn completions_are_written_for_each_shell_and_survive_a_closed_pipe() {
    let home = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(volwarden(&home).args(["completions", shell])));
        for word in ["doctor", "min-floor", "plan", "approve", "pause", "resume", "orphans", "reclaim"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    for args in [&["completions", "bash"][..], &["--help"]] {
        let mut child = volwarden(&home).args(args).spawn().unwrap();
        drop(child.stdout.take());
        let output = finish(child, Duration::from_secs(10));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_one_line() {
    let home = TempDir::new().unwrap();
    let good = kubeconfig(&home, "http://127.0.0.1:1");
    let garbled = home.path().join("garbled");
    // What stands around the mistake in a kubeconfig is a secret as often as not.
    std::fs::write(&garbled, "users:\n- name: x\n  user: [\n    token: secret-token\nclusters: ]\n").unwrap();
    let nowhere = home.path().join("nowhere");
    for command in [
        &["doctor"][..],
        &["why", "vs", "app/db"],
        &["plan"],
        &["approve", "x"],
        &["resume"],
        &["orphans", "list"],
        &["run", "--listen", "127.0.0.1:0", "--log-level", "off"],
    ] {
        let with =
            |path: &Path, more: &[&str]| run(volwarden(&home).args(command).arg("--kubeconfig").arg(path).args(more));
        assert_one_line(&with(&nowhere, &[]), &["nowhere"]);
        assert_one_line(&with(&garbled, &[]), &["garbled"]);
        assert_one_line(&with(&good, &["--context", "prod"]), &["prod"]);
        assert_one_line(&run(volwarden(&home).args(command)), &["--kubeconfig"]);
    }
}

#[test]
fn a_settings_file_that_is_wrong_names_file_line_and_key() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("settings.yaml");
    std::fs::write(&file, "log-level: info\nmin-flor: 10m\n").unwrap();
    let output = run(volwarden(&home).arg("run").env("VOLWARDEN_CONFIG", &file));
    assert_one_line(&output, &["settings.yaml", "line 2", "min-flor", "min-floor"]);
    std::fs::write(&file, "log-level: info\nmin-floor: 10\n").unwrap();
    let output = run(volwarden(&home).arg("doctor").arg("--config").arg(&file));
    assert_one_line(&output, &["settings.yaml", "line 2", "min-floor", "such as 30s"]);
}

#[test]
fn doctor_against_a_server_that_is_not_there_is_one_line() {
    let home = TempDir::new().unwrap();
    let address = closed_port();
    let config = kubeconfig(&home, &format!("http://{address}"));
    let output = run(volwarden(&home).arg("doctor").arg("--kubeconfig").arg(&config));
    assert_one_line(&output, &[&address.to_string()]);
    assert!(output.stdout.is_empty());
}

#[test]
fn doctor_and_why_against_a_wrong_server_are_one_line_and_never_say_clean() {
    std::thread::scope(|scope| {
        for wrong in WRONGS {
            scope.spawn(move || {
                let home = TempDir::new().unwrap();
                let config = kubeconfig(&home, &format!("http://{}", wrong.serve()));
                for command in [
                    &["doctor", "--timeout", "5s"][..],
                    &["why", "vs", "db", "--timeout", "5s"],
                    &["plan", "--timeout", "5s"],
                    &["approve", "x"],
                    &["pause", "--reason", "x", "--for", "2h"],
                    &["orphans", "list"],
                ] {
                    let output = run(volwarden(&home).args(command).arg("--kubeconfig").arg(&config));
                    assert_one_line(&output, &[]);
                    let told = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(
                        !told.contains("secret-token") && !stdout(&output).contains("No findings"),
                        "{wrong:?}: {told}"
                    );
                }
            });
        }
    });
}

// === the daemon ===

/// A running daemon. Its log is read to the end in a thread, so that it never blocks on a full pipe.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    fn start(home: &TempDir, server: &str) -> Self {
        let config = kubeconfig(home, server);
        let mut child = volwarden(home)
            .args(["run", "--log-format", "json"])
            .env("VOLWARDEN_LISTEN", "127.0.0.1:0")
            .env("VOLWARDEN_KUBECONFIG", config)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let line: serde_json::Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("no JSON: {first}"));
        let address = line["address"].as_str().unwrap_or_else(|| panic!("no address: {first}")).parse().unwrap();
        Self { child, address }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn wait_for(&self, path: &str, wanted: &str) -> String {
        let began = Instant::now();
        loop {
            let (_, body) = self.get(path);
            if body.contains(wanted) {
                return body;
            }
            assert!(began.elapsed() < Duration::from_secs(25), "no {wanted} on {path}:\n{body}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// The exit code and how long it took.
    fn end(mut self, limit: Duration) -> (Option<i32>, Duration) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), began.elapsed());
            }
            assert!(began.elapsed() < limit, "still running after {limit:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the daemon shows while its API server is wrong, and that it ends in order.
fn degraded(server: &str, state: &str) {
    let home = TempDir::new().unwrap();
    let daemon = Daemon::start(&home, server);
    assert_eq!(daemon.get("/healthz").0, 200);
    if state.is_empty() {
        std::thread::sleep(Duration::from_secs(2));
    } else {
        daemon.wait_for("/readyz", &format!("VolumeSnapshot: {state}: "));
        daemon.wait_for("/metrics", &format!("volwarden_source_state{{kind=\"VolumeSnapshot\",state=\"{state}\"}} 1"));
    }
    let (status, words) = daemon.get("/readyz");
    assert!(status == 503 && words.starts_with("not ready: "), "{status} {words}");
    assert!(words.contains("VolumeSnapshot: ") && !words.contains("secret-token"), "{words}");
    let (status, metrics) = daemon.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("volwarden_source_state{kind=\"VolumeSnapshot\",state=\"Synced\"} 0"), "{metrics}");
    assert!(metrics.contains("volwarden_build_info{version=") && metrics.contains("process_resident_memory_bytes "));
    let (status, json) = daemon.get("/api/v1/state");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status, 200);
    assert!(
        json["sources"].as_array().is_some_and(|sources| sources.len() == volwarden::domain::fact::Source::ALL.len()),
        "{json}"
    );
    assert_eq!(daemon.get("/healthz").0, 200);
    daemon.signal("-TERM");
    let (code, took) = daemon.end(Duration::from_secs(10));
    assert!(code == Some(0) && took < Duration::from_secs(5), "{code:?} after {took:?}");
}

#[test]
fn the_daemon_outlives_a_server_that_is_wrong() {
    std::thread::scope(|scope| {
        for wrong in WRONGS {
            let state = match wrong {
                Wrong::Forbidden => "Forbidden",
                // 401 may be either: it refuses us, and it may pass when a token is renewed.
                Wrong::Unauthorized | Wrong::Silent => "",
                Wrong::Broken | Wrong::Garbage => "Failing",
            };
            scope.spawn(move || degraded(&format!("http://{}", wrong.serve()), state));
        }
        scope.spawn(|| degraded(&format!("http://{}", closed_port()), "Failing"));
    });
}

#[test]
fn a_second_signal_ends_the_daemon_at_once_and_one_alone_within_five_seconds() {
    let home = TempDir::new().unwrap();
    // A request that is never finished keeps the orderly shutdown waiting.
    let hold = |daemon: &Daemon| {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        stream
    };
    let server = format!("http://{}", closed_port());
    let daemon = Daemon::start(&home, &server);
    let unfinished = hold(&daemon);
    daemon.signal("-INT");
    std::thread::sleep(Duration::from_millis(500));
    daemon.signal("-TERM");
    let (code, took) = daemon.end(Duration::from_secs(2));
    assert_eq!((code, took < Duration::from_secs(1)), (Some(143), true));
    drop(unfinished);

    let daemon = Daemon::start(&home, &server);
    let unfinished = hold(&daemon);
    daemon.signal("-TERM");
    let (code, took) = daemon.end(Duration::from_secs(6));
    assert!(code == Some(0) && took < Duration::from_secs(5), "{code:?} after {took:?}");
    drop(unfinished);
}

#[test]
fn an_address_that_is_taken_is_one_line() {
    let home = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(volwarden(&home).args(["run", "--listen", &address]));
    assert_one_line(&output, &[&address, "VOLWARDEN_LISTEN"]);
}
