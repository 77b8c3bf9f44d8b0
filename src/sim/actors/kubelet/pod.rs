//! One pod on its node: which container runs, which waits, and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::sim::actors::object::{self, Key};
use crate::sim::actors::workloads::owned::{self, items};
use crate::sim::process::ProcessId;

/// First wait of a container that keeps failing; it doubles.
const BACKOFF: Duration = Duration::from_secs(10);
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// A container that has run so long starts anew with its waits.
const WELL: Duration = Duration::from_secs(600);

/// How a container ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
}

/// What a container is doing.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Not yet, or not again.
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        since: Timestamp,
    },
    Ended(Ended),
}

impl State {
    pub(super) fn creating() -> Self {
        Self::Waiting { reason: "ContainerCreating", message: String::new() }
    }
}

/// A container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    /// As in the pod's spec.
    pub(super) spec: Value,
    pub(super) init: bool,
    /// It is started again whatever its exit code.
    always: bool,
    on_failure: bool,
    pub(super) process: Option<ProcessId>,
    pub(super) state: State,
    pub(super) last: Option<Ended>,
    pub(super) restarts: u32,
    failures: u32,
    /// Not before this.
    pub(super) due: Duration,
}

impl Container {
    fn new(pod: &Value, spec: &Value, init: bool) -> Self {
        let policy = object::text(pod, "/spec/restartPolicy");
        let sidecar = init && object::text(spec, "/restartPolicy") == "Always";
        let mut container = Self {
            name: object::text(spec, "/name").to_owned(),
            spec: spec.clone(),
            init,
            always: sidecar || (!init && policy != "OnFailure" && policy != "Never"),
            on_failure: policy != "Never",
            process: None,
            state: State::creating(),
            last: None,
            restarts: 0,
            failures: 0,
            due: Duration::ZERO,
        };
        container.remember(pod);
        container
    }

    /// The node came back after a power cut: what ran then has ended, and nobody saw how.
    fn remember(&mut self, pod: &Value) {
        let list = if self.init { "/status/initContainerStatuses" } else { "/status/containerStatuses" };
        let of_name = |status: &&Value| object::text(status, "/name") == self.name;
        let Some(status) = items(pod, list).iter().find(of_name) else { return };
        self.restarts = u32::try_from(owned::number(status, "/restartCount").unwrap_or_default()).unwrap_or_default();
        if let Some(started) = owned::time(status, "/state/running/startedAt") {
            self.last = Some(Ended { code: 255, started, finished: started });
            self.restarts += 1;
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Nothing more will come of it.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.state, State::Ended(ended) if !self.restarts_after(ended.code))
    }

    fn restarts_after(&self, code: i32) -> bool {
        self.always || (self.on_failure && code != 0)
    }

    /// It ended; the time after which it starts again, if it does.
    pub(super) fn end(&mut self, now: (Timestamp, Duration), code: i32, pod: &Key, uid: &str) -> Option<Duration> {
        let State::Running { since } = self.state else { return None };
        let ended = Ended { code, started: since, finished: now.0 };
        let ran = Duration::try_from(now.0.duration_since(since)).unwrap_or_default();
        self.state = State::Ended(ended.clone());
        if !self.restarts_after(code) {
            return None;
        }
        self.failures = if ran >= WELL { 1 } else { self.failures.saturating_add(1) };
        // The first time it starts again at once.
        let doubled = self.failures.checked_sub(2).map(|times| BACKOFF.saturating_mul(2_u32.saturating_pow(times)));
        let wait = doubled.unwrap_or_default().min(MAX_BACKOFF);
        if !wait.is_zero() {
            let message = format!(
                "back-off {} restarting failed container={} pod={}_{}({uid})",
                go_duration(wait),
                self.name,
                pod.1,
                pod.0
            );
            self.last = Some(ended);
            self.state = State::Waiting { reason: "CrashLoopBackOff", message };
        }
        self.due = now.1 + wait;
        Some(wait)
    }

    /// It starts, for the first time or again.
    pub(super) fn begin(&mut self, at: Timestamp, process: ProcessId) {
        if let State::Ended(ended) = &self.state {
            self.last = Some(ended.clone());
        }
        if self.process.is_some() {
            self.restarts += 1;
        }
        self.process = Some(process);
        self.state = State::Running { since: at };
    }
}

/// As Go prints a duration of whole seconds.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// A pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) key: Key,
    pub(super) uid: String,
    /// As it was when it came to this node.
    pub(super) object: Arc<Value>,
    pub(super) containers: Vec<Container>,
    pub(super) since: Timestamp,
    /// Its volumes are there.
    pub(super) mounted: bool,
    /// How often they were not.
    pub(super) tries: u32,
    /// Its images are there.
    pub(super) pulled: bool,
    /// It is on its way out.
    pub(super) ending: bool,
}

impl Pod {
    pub(super) fn new(object: &Arc<Value>, since: Timestamp) -> Self {
        let of = |pointer: &str, init: bool| {
            let specs = items(object, pointer).iter();
            specs.map(|spec| Container::new(object, spec, init)).collect::<Vec<_>>()
        };
        let containers = [of("/spec/initContainers", true), of("/spec/containers", false)].concat();
        let (key, uid) = (object::key(object), object::uid(object).to_owned());
        let object = Arc::clone(object);
        Self { key, uid, object, containers, since, mounted: false, tries: 0, pulled: false, ending: false }
    }

    /// The containers that may start now, by their place.
    pub(super) fn startable(&self, now: Duration) -> Vec<usize> {
        let mut startable = Vec::new();
        let mut initialized = true;
        for (place, container) in self.containers.iter().enumerate() {
            let ready = !container.is_running() && !container.is_over() && container.due <= now;
            let turn = if container.init { initialized } else { initialized || container.process.is_some() };
            if ready && turn {
                startable.push(place);
            }
            // An init container must have ended well before the next one may start; a sidecar must only run.
            let done = matches!(&container.state, State::Ended(ended) if ended.code == 0) && container.is_over();
            if container.init && !done && !(container.always && (container.is_running() || ready)) {
                initialized = false;
            }
        }
        startable
    }

    pub(super) fn running(&self) -> impl Iterator<Item = ProcessId> {
        self.containers.iter().filter(|container| container.is_running()).filter_map(|container| container.process)
    }

    /// The processes of its containers, by container.
    pub(super) fn peers(&self) -> BTreeMap<String, ProcessId> {
        self.containers.iter().filter_map(|container| Some((container.name.clone(), container.process?))).collect()
    }

    /// `Pending`, `Running`, `Succeeded` or `Failed`.
    pub(super) fn phase(&self) -> &'static str {
        let main = || self.containers.iter().filter(|container| !container.init);
        let lost = |container: &Container| matches!(&container.state, State::Ended(ended) if ended.code != 0);
        let init_lost = self.containers.iter().any(|one| one.init && one.is_over() && lost(one));
        let all_over = main().all(|one| one.is_over() || (self.ending && !one.is_running()));
        if init_lost || (all_over && main().any(lost)) {
            "Failed"
        } else if all_over && main().any(|one| one.process.is_some()) {
            "Succeeded"
        } else if main().all(|one| one.process.is_none()) {
            "Pending"
        } else {
            "Running"
        }
    }
}

/// What `hostname` says in a pod: its name as far as a host name goes, or the node's.
pub(super) fn host_name(pod: &Value, node: &str) -> String {
    if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
        return node.to_owned();
    }
    let wanted = object::text(pod, "/spec/hostname");
    let name = if wanted.is_empty() { object::name(pod) } else { wanted };
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn host_names_are_cut_and_trimmed_as_the_kubelet_does() {
        let long = "rook-ceph.rbd.csi.ceph.com-ctrlplugin-75b99498fb-aaaaaaaaaaaaa.7mq7f-b";
        let pod = json!({"metadata": {"name": long}});
        assert_eq!(host_name(&pod, "node-a"), &long[..62], "the 63rd letter is a dot");
        let pod = json!({"metadata": {"name": "a"}, "spec": {"hostname": "b"}});
        assert_eq!(host_name(&pod, "node-a"), "b");
        let pod = json!({"metadata": {"name": "a"}, "spec": {"hostNetwork": true}});
        assert_eq!(host_name(&pod, "node-a"), "node-a");
    }

    #[test]
    fn a_crash_loop_waits_longer_each_time() {
        let object = Arc::new(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"restartPolicy": "Always", "containers": [{"name": "c"}]}}));
        let at =
            |second| (Timestamp::from_second(second).unwrap(), Duration::from_secs(u64::try_from(second).unwrap()));
        let mut pod = Pod::new(&object, at(0).0);
        let container = &mut pod.containers[0];
        let mut waits = Vec::new();
        for second in [1, 100, 200, 300, 400, 500, 600, 700] {
            container.begin(at(second).0, ProcessId(1));
            waits.push(container.end(at(second + 1), 1, &pod.key, &pod.uid).unwrap().as_secs());
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        let State::Waiting { reason, message } = &container.state else { panic!("{:?}", container.state) };
        assert_eq!(*reason, "CrashLoopBackOff");
        assert_eq!(message, "back-off 5m0s restarting failed container=c pod=p_n(u)");
        container.begin(at(800).0, ProcessId(1));
        assert_eq!(container.end(at(1400), 1, &pod.key, &pod.uid), Some(Duration::ZERO), "it was well for ten minutes");
    }
}
