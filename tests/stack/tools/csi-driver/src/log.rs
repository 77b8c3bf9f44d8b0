//! The log, in klog's lines and ceph-csi's words: who reads the real driver's log must be able to read this one.
//!
//! A line is written whole and at once, so that a driver that is killed has said all that it did. Nothing of a request
//! but its handle or name is ever said: requests carry secrets.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, interval_at};
use tonic::{Code, Status};

/// From this verbosity on, slow calls are said.
const SLOW: u8 = 3;
/// From this verbosity on, faults are said.
pub const FAULTS: u8 = 4;
/// From this verbosity on, every call is said.
const CALLS: u8 = 5;
/// How often a call that is still running is said.
const SLOW_INTERVAL: Duration = Duration::from_secs(30);

/// The process's log, which counts its calls.
#[derive(Clone)]
pub struct Log {
    verbosity: u8,
    calls: Arc<AtomicU64>,
}

impl Log {
    /// A log that says what belongs to a verbosity.
    pub fn new(verbosity: u8) -> Self {
        Self { verbosity, calls: Arc::default() }
    }

    /// Says something that belongs to no call.
    pub fn info(text: &str) {
        write_line('I', text);
    }

    /// Says why the process ends.
    pub fn fatal(text: &str) {
        write_line('F', text);
    }

    /// A call begins; `request` is the handle or name that it is about, or empty.
    pub fn begin(&self, request: &str) -> Call {
        let id = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let request = if request.is_empty() { String::new() } else { format!("Req-ID: {request} ") };
        Call { verbosity: self.verbosity, prefix: format!("ID: {id} {request}") }
    }
}

/// What the lines of one call have in common.
#[derive(Clone)]
pub struct Call {
    verbosity: u8,
    prefix: String,
}

impl Call {
    /// Says something from a verbosity on.
    pub fn info(&self, from: u8, text: &str) {
        if self.verbosity >= from {
            write_line('I', &format!("{}{text}", self.prefix));
        }
    }

    /// Says an error, always.
    pub fn error(&self, text: &str) {
        write_line('E', &format!("{}{text}", self.prefix));
    }

    /// Runs a call to its end, saying what ceph-csi says of it.
    pub async fn run<T>(&self, method: &str, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.info(CALLS, &format!("GRPC call: {method}"));
        let slow = |passed| self.info(SLOW, &format!("Slow GRPC call {method} ({})", go_duration(passed)));
        let outcome = watch(call, slow).await;
        if let Err(status) = &outcome {
            self.failed(status);
        }
        outcome
    }

    /// Says what the call is answered with instead of success.
    pub fn failed(&self, status: &Status) {
        self.error(&format!("GRPC error: rpc error: code = {} desc = {}", go_code(status.code()), status.message()));
    }
}

/// Waits for a call, and tells at every interval how long it has been running.
async fn watch<T>(call: impl Future<Output = T>, mut slow: impl FnMut(Duration)) -> T {
    let start = Instant::now();
    let mut ticks = interval_at(start + SLOW_INTERVAL, SLOW_INTERVAL);
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            biased;
            outcome = &mut call => return outcome,
            tick = ticks.tick() => slow(tick - start),
        }
    }
}

/// Whole seconds as Go writes a duration.
fn go_duration(passed: Duration) -> String {
    let seconds = passed.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The code's name as Go writes it: with one l, unlike Rust's.
fn go_code(code: Code) -> String {
    if code == Code::Cancelled { "Canceled".to_owned() } else { format!("{code:?}") }
}

fn write_line(severity: char, text: &str) {
    let line = klog_line(severity, Timestamp::now(), std::process::id(), text);
    // Whoever read the log may be gone; the driver goes on without it, as ceph-csi does.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// The place in the source is always the same: it is there because every klog line has one.
fn klog_line(severity: char, at: Timestamp, process: u32, text: &str) -> String {
    format!("{severity}{} {process:>7} utils.go:240] {text}\n", at.strftime("%m%d %H:%M:%S%.6f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_klog_writes_it() {
        let at: Timestamp = "2026-11-23T08:15:04.123456789Z".parse().unwrap();
        let call = Log::new(0).begin("snapshot-1");
        assert_eq!(
            klog_line('I', at, 1, &format!("{}GRPC call: /csi.v1.Controller/DeleteSnapshot", call.prefix)),
            "I1123 08:15:04.123456       1 utils.go:240] ID: 1 Req-ID: snapshot-1 GRPC call: \
             /csi.v1.Controller/DeleteSnapshot\n"
        );
    }

    #[test]
    fn calls_are_counted_and_one_about_nothing_has_no_request_id() {
        let log = Log::new(0);
        assert_eq!(log.begin("").prefix, "ID: 1 ");
        assert_eq!(log.clone().begin("vol-1").prefix, "ID: 2 Req-ID: vol-1 ");
    }

    #[test]
    fn codes_and_durations_are_as_go_writes_them() {
        assert_eq!(
            [Code::Aborted, Code::Cancelled, Code::InvalidArgument].map(go_code),
            ["Aborted", "Canceled", "InvalidArgument"]
        );
        assert_eq!(
            [30, 60, 90, 3600, 3725].map(|s| go_duration(Duration::from_secs(s))),
            ["30s", "1m0s", "1m30s", "1h0m0s", "1h2m5s"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_is_told_every_half_minute_until_it_ends() {
        let mut told = Vec::new();
        watch(tokio::time::sleep(Duration::from_secs(95)), |passed| told.push(go_duration(passed))).await;
        assert_eq!(told, ["30s", "1m0s", "1m30s"]);
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(told.len(), 3, "nothing more after its end");
    }
}
