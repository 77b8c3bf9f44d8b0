//! The real stack: the real programs, in real time.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::Value;
use stack::{Fault, Options, Stack, Volume, WatchRecording};

use super::backend::{Backend, Component, Fate, Id, Kind, Seen, Trouble};
use super::history::TOLD;

/// The two csi-snapshotters.
const HOSTS: [&str; 2] = ["one", "two"];
/// How long one look at a condition waits for the next.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// Nothing happens for so long when all is done.
const QUIET: Duration = Duration::from_secs(1);

/// The stack, and what its API server tells from the start.
pub(crate) struct Real {
    stack: Stack,
    watches: Vec<Watch>,
    began: Instant,
}

/// What the API server has told of one kind. Conditions are read from it: asking with a kubectl each time would take
/// the processor from the programs that are waited for.
struct Watch {
    kind: Kind,
    file: File,
    line: String,
    seen: Vec<Seen>,
    _recording: WatchRecording,
}

impl Watch {
    fn start(stack: &Stack, kind: Kind) -> Self {
        let (group, plural) = kind.resource();
        let prefix = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
        let path = stack.folder().join(format!("watch-{plural}.jsonl"));
        let recording = stack.record_watch(&format!("{prefix}/{plural}"), &path).unwrap();
        let file = File::open(path).unwrap();
        Self { kind, file, line: String::new(), seen: Vec::new(), _recording: recording }
    }

    fn read(&mut self) -> &[Seen] {
        self.file.read_to_string(&mut self.line).unwrap();
        while let Some((line, rest)) = self.line.split_once('\n') {
            let mut event: Value = serde_json::from_str(line).unwrap();
            self.seen.push(Seen { gone: event["type"] == "DELETED", object: event["object"].take() });
            self.line = rest.to_owned();
        }
        &self.seen
    }
}

impl Real {
    pub(crate) fn start() -> Self {
        let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
        let options = Options {
            snapshotters: words(&HOSTS),
            // Short, so that many timeouts fit into a minute; the model is given the same.
            snapshotter_args: words(&[
                "--timeout=3s",
                "--retry-interval-start=3s",
                "--leader-election-lease-duration=6s",
                "--leader-election-renew-deadline=4s",
                "--leader-election-retry-period=1s",
            ]),
            controller_args: words(&["--retry-interval-start=3s"]),
            ..Options::full()
        };
        let stack = Stack::start(options).unwrap();
        let watches = TOLD.map(|kind| Watch::start(&stack, kind)).into();
        Self { stack, watches, began: Instant::now() }
    }

    fn kind(kind: Kind) -> String {
        match kind.resource() {
            ("", plural) => plural.to_owned(),
            (group, plural) => format!("{plural}.{group}"),
        }
    }

    fn process(&self, component: Component) -> &stack::Process {
        let name = match component {
            Component::Controller => "snapshot-controller".to_owned(),
            Component::Driver => "csi-driver".to_owned(),
            Component::Snapshotter(number) => format!("csi-snapshotter-{number}"),
        };
        self.stack.process(&name).unwrap()
    }
}

fn namespace(id: &Id) -> Option<&str> {
    (!id.namespace.is_empty()).then_some(id.namespace.as_str())
}

impl Backend for Real {
    fn create(&mut self, _: Kind, _: &str, object: Value) -> Value {
        self.stack.create(&object).unwrap()
    }

    fn get(&mut self, id: &Id) -> Option<Value> {
        if let Some(watch) = self.watches.iter_mut().find(|watch| watch.kind == id.kind) {
            let is = |seen: &&Seen| {
                seen.object["metadata"]["name"] == id.name.as_str()
                    && seen.object["metadata"]["namespace"].as_str().unwrap_or_default() == id.namespace
            };
            return watch.read().iter().rfind(is).filter(|last| !last.gone).map(|last| last.object.clone());
        }
        self.stack.get(&Self::kind(id.kind), namespace(id), &id.name).unwrap()
    }

    fn patch(&mut self, id: &Id, status: bool, patch: &Value) {
        let subresource = status.then_some("status");
        self.stack.patch(&Self::kind(id.kind), namespace(id), &id.name, subresource, patch).unwrap();
    }

    fn delete(&mut self, id: &Id) {
        self.stack.delete(&Self::kind(id.kind), namespace(id), &id.name).unwrap();
    }

    fn meets(&mut self, component: Component, fate: Fate) {
        let process = self.process(component);
        match fate {
            Fate::Pause => process.pause(),
            Fate::Resume => process.resume(),
            Fate::Kill => process.kill(),
            Fate::Start => process.start(),
        }
        .unwrap();
    }

    fn log(&mut self, component: Component) -> String {
        self.process(component).log()
    }

    fn host(&self, snapshotter: usize) -> &'static str {
        HOSTS[snapshotter]
    }

    fn add_volume(&mut self, handle: &str) {
        self.stack.add_volume(&Volume::new(handle)).unwrap();
    }

    fn set_trouble(&mut self, trouble: Option<Trouble>) {
        let fault = |trouble| match trouble {
            Trouble::Fails(call, code, words) => Fault::of(call).fail(code, words),
            Trouble::Stuck(call) => Fault::of(call).stuck(),
        };
        let faults: Vec<Fault> = trouble.into_iter().map(fault).collect();
        self.stack.set_faults(&faults).unwrap();
    }

    fn snapshots_of(&mut self, volume: &str) -> usize {
        self.stack.driver_snapshots().unwrap().iter().filter(|snapshot| snapshot.volume_id == volume).count()
    }

    fn pass(&mut self) {
        std::thread::sleep(LOOK_AGAIN);
    }

    fn settle(&mut self) {
        let mut told = 0;
        loop {
            let now: usize = self.watches.iter_mut().map(|watch| watch.read().len()).sum();
            if now == told {
                return;
            }
            told = now;
            std::thread::sleep(QUIET);
        }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn seen(&mut self, kind: Kind) -> Vec<Seen> {
        let watch = self.watches.iter_mut().find(|watch| watch.kind == kind);
        watch.unwrap_or_else(|| panic!("{kind:?} is not watched")).read().to_vec()
    }
}
