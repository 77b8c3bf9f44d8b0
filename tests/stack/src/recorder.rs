//! Records what the API server says of everything that matters, from the start: when a test fails, the order of events
//! is what nobody can find out afterwards.
//!
//! One thread and one connection for each kind, since a kubectl for each would cost a process.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ureq::Agent;

use crate::control_plane::ControlPlane;
use crate::error::Error;
use crate::stack::Stack;

/// How long to wait before an API server that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// The kinds, by the name of their file, and where the API server has them.
const KINDS: [(&str, &str); 9] = [
    ("volumesnapshots", "/apis/snapshot.storage.k8s.io/v1/volumesnapshots"),
    ("volumesnapshotcontents", "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"),
    ("volumesnapshotclasses", "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"),
    ("leases", "/apis/coordination.k8s.io/v1/leases"),
    ("csidrivers", "/apis/storage.k8s.io/v1/csidrivers"),
    ("persistentvolumeclaims", "/api/v1/persistentvolumeclaims"),
    ("persistentvolumes", "/api/v1/persistentvolumes"),
    ("events", "/api/v1/events"),
    ("pods", "/api/v1/pods"),
];

/// The recording threads of a stack. Dropping it tells them to end, which they do when the API server does.
pub(crate) struct Recorder {
    ended: Arc<AtomicBool>,
}

impl Recorder {
    fn start(plane: &ControlPlane, folder: &Path, nodes: bool) -> Result<Self, Error> {
        // In the audit log its watches are nobody else's.
        let agent = plane.agent("recorder")?;
        let recorder = Self { ended: Arc::default() };
        for (kind, path) in KINDS.iter().filter(|(kind, _)| nodes || *kind != "pods") {
            let file = file(folder, kind);
            let file = File::create(&file).map_err(Error::io(format!("cannot write {}", file.display())))?;
            let (agent, address) = (agent.clone(), format!("{}{path}?watch=true", plane.server));
            let ended = Arc::clone(&recorder.ended);
            let thread = thread::Builder::new().name(format!("record-{kind}"));
            let started = thread.spawn(move || record(&agent, &address, file, &ended));
            started.map_err(Error::io("cannot start a thread to record a watch"))?;
        }
        Ok(recorder)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Watches again and again. What exists comes first in each watch, as `ADDED`.
fn record(agent: &Agent, address: &str, mut file: File, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        // A refusal is no event; it would look like one in the file.
        if let Some(mut answer) = agent.get(address).call().ok().filter(|answer| answer.status() == 200) {
            let mut lines = BufReader::new(answer.body_mut().as_reader());
            let mut line = Vec::new();
            // Only whole lines: one that was cut would spoil the next.
            while lines.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n") {
                if file.write_all(&line).is_err() {
                    return;
                }
                line.clear();
            }
        }
        thread::sleep(AGAIN);
    }
}

fn file(folder: &Path, kind: &str) -> PathBuf {
    folder.join(format!("watch-{kind}.jsonl"))
}

impl Stack {
    /// Records, from now until the stack is dropped, what the API server sends of snapshots, contents, classes, leases,
    /// claims, volumes, CSI drivers, events and, with nodes, pods: to `watch-KIND.jsonl` in the stack's folder, in the
    /// server's own lines. A second call changes nothing. [`crate::Options::record`] does this at the start.
    pub fn record_everything(&self) -> Result<(), Error> {
        if self.recorder().get().is_none() {
            let recorder = Recorder::start(self.control_plane()?, self.folder(), !self.nodes().is_empty())?;
            // Of two threads that call this at once, the slower one's recorder ends as it is dropped.
            let _ = self.recorder().set(recorder);
        }
        Ok(())
    }
}
