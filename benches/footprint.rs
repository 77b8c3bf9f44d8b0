//! What the daemon costs at size: memory, CPU and time until everything is synced, against a real API server.
//!
//! `cargo bench --bench footprint -- [PAIRS]` loads so many VolumeSnapshots and contents (default 20,000) and
//! measures `volwarden run` with streaming lists and with paged ones, beside the floor: a plain HTTP client that
//! reads the same two streaming lists and keeps nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it stands, prints, and reads the clock"
)]

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::AsyncBufReadExt as _;
use stack::{Load, Options, Stack};
use volwarden::io::client::{Target, connect};

/// What a process has used.
struct Usage {
    resident: f64,
    peak: f64,
    cpu: f64,
}

fn main() {
    let pairs = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(20_000);
    println!("| lists | ready | CPU | resident | peak | /api/v1/state | after 60 s |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for streaming in [true, false] {
        let options = Options {
            streaming_lists: streaming,
            record: false,
            apiserver_memory: Some("6GiB".to_owned()),
            ..Options::api_only()
        };
        let stack = Stack::start(options).expect("the stack starts");
        stack.load(&Load::pairs(pairs)).expect("the load is in");
        if streaming {
            floor(&stack);
        }
        daemon(&stack, if streaming { "streaming" } else { "paged" }, pairs);
    }
}

/// A plain HTTP client that reads the same two streaming lists to their end and keeps nothing.
fn floor(stack: &Stack) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let target = Target { kubeconfig: Some(stack.kubeconfig().to_owned()), context: None };
    let (bytes, took) = runtime.block_on(async {
        let client = connect(&target).await.unwrap();
        loop {
            let began = Instant::now();
            let (one, two) =
                (read_list(&client, "volumesnapshots").await, read_list(&client, "volumesnapshotcontents").await);
            // After a load straight into etcd the server's cache lags and answers with an error at first.
            if let (Some(one), Some(two)) = (one, two) {
                break (one + two, began.elapsed());
            }
        }
    });
    let megabytes = bytes / 1_000_000;
    println!("| floor: a plain client | {:.1} s | | | | {megabytes} MB read | |", took.as_secs_f64());
}

/// The bytes of a streaming list; `None` if the server ended it with an error.
async fn read_list(client: &kube::Client, plural: &str) -> Option<usize> {
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let path = format!("/apis/snapshot.storage.k8s.io/v1/{plural}?{query}&timeoutSeconds=600");
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let mut lines = std::pin::pin!(client.request_stream(request).await.unwrap());
    let (mut bytes, mut line) = (0, String::new());
    loop {
        line.clear();
        let read = lines.read_line(&mut line).await.unwrap();
        bytes += read;
        if read == 0 || line.starts_with("{\"type\":\"ERROR\"") {
            return None;
        }
        if line.starts_with("{\"type\":\"BOOKMARK\"") {
            return Some(bytes);
        }
    }
}

fn daemon(stack: &Stack, lists: &str, pairs: usize) {
    let address = free_address();
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_volwarden"))
        .args(["run", "--listen", &address.to_string(), "--kubeconfig"])
        .arg(stack.kubeconfig())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !get(address, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(child.try_wait().unwrap().is_none(), "the daemon ended");
        assert!(began.elapsed() < Duration::from_secs(600), "not ready in ten minutes: {:?}", get(address, "/readyz"));
        std::thread::sleep(Duration::from_millis(20));
    }
    let ready = began.elapsed();
    let at_ready = usage(&child);
    let asked = Instant::now();
    let state = get(address, "/api/v1/state").expect("it answers");
    let answered = asked.elapsed();
    assert!(state.contains(&format!("\"objects\":{pairs}")), "it knows all of them");
    std::thread::sleep(Duration::from_secs(60));
    let later = usage(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    println!(
        "| {lists} | {:.1} s | {:.1} s | {:.1} MiB | {:.1} MiB | {:.1} ms | {:.1} MiB, {:.2}% of a core |",
        ready.as_secs_f64(),
        at_ready.cpu,
        at_ready.resident,
        later.peak,
        answered.as_secs_f64() * 1000.0,
        later.resident,
        (later.cpu - at_ready.cpu) / 60.0 * 100.0,
    );
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    use std::io::Write as _;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn usage(child: &Child) -> Usage {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let kib = |field: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // utime and stime, in ticks of 10 ms.
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    Usage { resident: kib("VmRSS:") / 1024.0, peak: kib("VmHWM:") / 1024.0, cpu: ticks / 100.0 }
}
