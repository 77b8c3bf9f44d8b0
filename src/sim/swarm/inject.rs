//! Carries a fault script out: on the cluster, on its programs, and between the API and the daemons.
//!
//! What lasts is derived from the set of faults that stand, so that two of a kind may overlap and the end of
//! one does not end the other.

use std::time::Duration;

use jiff::SignedDuration;

use super::home::{CONTROLLER, Home, PLUGIN, SNAPSHOTTER};
use super::people;
use super::script::{Fault, Kind};
use crate::domain::fact::Source;
use crate::sim::actors::ceph::{self, Trouble};
use crate::sim::actors::csi::{Code, Status};
use crate::sim::daemon::{Daemon, Moment, Reading, Sky, Writing};
use crate::sim::process::ProcessId;
use crate::sim::refuse::{Order, Verb};
use crate::sim::store::{Refusal, Resource, table};

/// Where our own objects are watched.
const OURS: [Source; 3] = [Source::Policies, Source::Remediations, Source::Orphans];

/// What puts things right again when a fault ends.
pub(super) enum Undo {
    /// A program goes on.
    Resume(ProcessId),
    /// An object comes back.
    Create(&'static Resource, String, serde_json::Value),
    /// An object goes.
    Delete(&'static Resource, String, String),
    /// A finalizer goes from whatever is still there of the object.
    Unpin(&'static Resource, String, String),
    /// A Deployment is what it was.
    Redeploy(serde_json::Value),
    /// A node is back.
    NodeBack(usize),
    /// The content of a snapshot is deleted.
    DeleteContentOf(String, String),
    /// The policy says this again.
    Policy(serde_json::Value),
    /// The policy is there again.
    PolicyBack,
    /// Our kinds are there again, and the policy.
    KindsBack,
    /// A namespace is no longer to be ignored.
    Heed(String),
}

/// A script as it is carried out.
pub(super) struct Injector {
    /// What is to come, the next one last.
    coming: Vec<Fault>,
    standing: Vec<(Fault, Vec<Undo>)>,
}

impl Injector {
    pub(super) fn new(script: &[Fault]) -> Self {
        let mut coming = script.to_vec();
        coming.sort_by_key(|fault| std::cmp::Reverse(fault.at));
        Self { coming, standing: Vec::new() }
    }

    pub(super) fn next_at(&self) -> Duration {
        let begins = self.coming.last().map(|fault| fault.at);
        let ends = self.standing.iter().map(|(fault, _)| fault.end()).min();
        begins.into_iter().chain(ends).min().unwrap_or(Duration::MAX)
    }

    /// Begins and ends what is due.
    pub(super) fn act(&mut self, home: &mut Home, daemons: &mut [Daemon]) {
        let now = home.cluster.now().mono;
        while let Some(place) = self.standing.iter().position(|(fault, _)| fault.end() <= now) {
            let (fault, undos) = self.standing.remove(place);
            for undo in undos {
                people::undo(home, undo);
            }
            self.apply(fault.kind, home, daemons, now);
        }
        while self.coming.last().is_some_and(|fault| fault.at <= now) {
            let Some(fault) = self.coming.pop() else { return };
            let undos = begin(&fault, home, daemons, now);
            let kind = fault.kind;
            if !fault.lasts.is_zero() {
                self.standing.push((fault, undos));
                self.apply(kind, home, daemons, now);
            }
        }
    }

    /// Derives what lasts from what stands.
    fn apply(&self, kind: Kind, home: &mut Home, daemons: &mut [Daemon], now: Duration) {
        if kind.is_of_daemon() {
            for (number, daemon) in daemons.iter_mut().enumerate() {
                self.weather(number, daemon, now);
            }
            return;
        }
        let standing = || self.standing.iter().map(|(fault, _)| fault);
        home.parts.pool.with(|pool| pool.is_up = !standing().any(|fault| fault.kind == Kind::PoolDown));
        home.parts.faults.with(|faults| {
            faults.clear();
            standing().filter_map(of_driver).flatten().for_each(|fault| faults.add(fault));
        });
        let refused = standing().filter(|fault| fault.kind == Kind::WritesRefused);
        let mut orders: Vec<Order> = refused.flat_map(refusals).collect();
        for fault in standing().filter(|fault| fault.kind == Kind::ReleasesRefused) {
            orders.extend(home.aimed_at(SNAPSHOTTER, fault.aim).map(no_release));
        }
        home.cluster.refuse_only(orders);
    }

    fn weather(&self, number: usize, daemon: &mut Daemon, now: Duration) {
        let mut skies: Vec<(Source, Sky)> = Source::ALL.into_iter().map(|source| (source, Sky::Fine)).collect();
        daemon.weather.reads = Reading::Fine;
        daemon.weather.writes = Writing::Fine;
        daemon.weather.logs_refused = false;
        daemon.weather.skew = SignedDuration::ZERO;
        for (fault, _) in self.standing.iter().filter(|(fault, _)| meets(fault, number)) {
            let one = source(fault);
            let sky = match fault.kind {
                Kind::SourceRefused => Some((Some(one), Sky::Refused)),
                Kind::SourceErring => Some((Some(one), Sky::Erring)),
                Kind::SourceGarbled => Some((Some(one), Sky::Garbled)),
                Kind::LinesSlow => Some((None, Sky::Slow)),
                Kind::ServerUnreachable => Some((None, Sky::Unreachable)),
                _ => None,
            };
            if let Some((of, sky)) = sky {
                let under = skies.iter_mut().filter(|(source, _)| of.is_none_or(|of| of == *source));
                under.for_each(|(_, has)| *has = sky);
            }
            match fault.kind {
                Kind::OwnWritesSlow => daemon.weather.writes = Writing::Slow,
                Kind::OwnWritesHung => daemon.weather.writes = Writing::Hung,
                Kind::OwnWritesErring => daemon.weather.writes = Writing::Failing,
                Kind::ServerUnreachable => daemon.weather.writes = Writing::Away,
                _ => {}
            }
            match fault.kind {
                Kind::ReadsSlow => daemon.weather.reads = Reading::Slow,
                Kind::ReadsHung | Kind::ServerUnreachable => daemon.weather.reads = Reading::Hung,
                Kind::ReadsFailing => daemon.weather.reads = Reading::Failing,
                Kind::LogsRefused => daemon.weather.logs_refused = true,
                Kind::ClockAhead => daemon.weather.skew = skew(fault),
                Kind::ClockBehind => daemon.weather.skew = -skew(fault),
                _ => {}
            }
        }
        for (source, sky) in skies {
            daemon.turn(source, sky, now);
        }
    }
}

/// The first daemon lives through everything, a second one through every other fault.
fn meets(fault: &Fault, number: usize) -> bool {
    number == 0 || fault.aim.is_multiple_of(2)
}

fn source(fault: &Fault) -> Source {
    // Findings rest on the first ones: those are aimed at more often.
    let place = fault.aim as usize / 2 % (Source::ALL.len() + 9);
    Source::ALL.get(place % Source::ALL.len()).copied().unwrap_or(Source::Snapshots)
}

fn skew(fault: &Fault) -> SignedDuration {
    SignedDuration::from_secs(i64::from(fault.aim / 2 % 7200) + 30)
}

/// What the driver does while this fault stands.
fn of_driver(fault: &Fault) -> Option<Vec<ceph::Fault>> {
    let codes = [
        (Code::Internal, "rados: ret=-30, Read-only file system"),
        (Code::Unavailable, "connection error: transport is closing"),
        (Code::ResourceExhausted, "too many operations in flight"),
        (Code::FailedPrecondition, "snapshot has pending clones"),
        (Code::InvalidArgument, "missing pool"),
    ];
    let (code, words) = codes.get(fault.aim as usize % codes.len()).copied()?;
    let failing = || Trouble::Fail(Status::new(code, words));
    let any = |trouble| ceph::Fault { method: None, subject: None, trouble, times: None };
    Some(match fault.kind {
        Kind::DriverHung => vec![any(Trouble::Hang)],
        Kind::DriverStuck => {
            let method = if fault.aim.is_multiple_of(3) { "CreateSnapshot" } else { "DeleteSnapshot" };
            vec![ceph::Fault::of(method, Trouble::Stuck).times(1)]
        }
        Kind::DriverSlow => vec![any(Trouble::Slow(Duration::from_secs(u64::from(fault.aim % 400))))],
        Kind::DeleteErring => vec![ceph::Fault::of("DeleteSnapshot", failing())],
        Kind::CreateErring => vec![ceph::Fault::of("CreateSnapshot", failing())],
        _ => return None,
    })
}

/// What the API server answers to the controllers' writes while this fault stands.
fn refusals(fault: &Fault) -> [Order; 4] {
    let resources = [table::CONTENTS, table::SNAPSHOTS, table::CLAIMS, table::LEASES];
    let answers = [
        (
            409,
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        (429, "TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        (500, "InternalError", "etcdserver: request timed out"),
        (503, "ServiceUnavailable", "the server is currently unable to handle the request"),
    ];
    let aim = fault.aim as usize;
    let resource = resources.get(aim % resources.len()).copied().unwrap_or(table::CONTENTS);
    let (code, reason, words) = answers.get(aim / 4 % answers.len()).copied().unwrap_or((500, "InternalError", ""));
    let refusal = Refusal::new(code, reason, words);
    [Verb::Create, Verb::Update, Verb::Patch, Verb::Delete].map(|verb| Order {
        process: None,
        verb,
        resource,
        name: None,
        skip: 0,
        times: u32::MAX,
        refusal: refusal.clone(),
    })
}

/// Takes a csi-snapshotter the means to let a content go.
fn no_release(process: ProcessId) -> Order {
    let refusal = Refusal::new(500, "InternalError", "etcdserver: request timed out");
    let (verb, resource) = (Verb::Patch, table::CONTENTS);
    Order { process: Some(process), verb, resource, name: None, skip: 0, times: u32::MAX, refusal }
}

/// What happens at once when a fault begins, and what will put it right.
fn begin(fault: &Fault, home: &mut Home, daemons: &mut [Daemon], now: Duration) -> Vec<Undo> {
    match fault.kind {
        Kind::SidecarKilled => kill(home, fault, SNAPSHOTTER),
        Kind::DriverKilled => kill(home, fault, PLUGIN),
        Kind::ControllerKilled => kill(home, fault, CONTROLLER),
        Kind::SidecarFrozen => freeze(home, fault, SNAPSHOTTER),
        Kind::DriverFrozen => freeze(home, fault, PLUGIN),
        Kind::ControllerFrozen => freeze(home, fault, CONTROLLER),
        kind if kind.is_of_daemon() => {
            for (_, daemon) in daemons.iter_mut().enumerate().filter(|(number, _)| meets(fault, *number)) {
                strike(fault, daemon, home, now);
            }
            Vec::new()
        }
        Kind::CutUnseen => {
            for daemon in daemons.iter_mut() {
                daemon.stall(Source::Snapshots, now);
            }
            people::begin(fault, home)
        }
        Kind::KindsRemoved => {
            let undos = people::begin(fault, home);
            for daemon in daemons.iter_mut() {
                for source in OURS {
                    daemon.cut(source, now);
                }
            }
            undos
        }
        _ => people::begin(fault, home),
    }
}

fn strike(fault: &Fault, daemon: &mut Daemon, home: &Home, now: Duration) {
    match fault.kind {
        Kind::WatchStalled => daemon.stall(source(fault), now),
        Kind::WatchesStalled => Source::ALL.into_iter().for_each(|source| daemon.stall(source, now)),
        Kind::WatchesCut => Source::ALL.into_iter().for_each(|source| daemon.cut(source, now)),
        Kind::WatchExpired => daemon.expire(source(fault), now),
        Kind::WatchesExpired => Source::ALL.into_iter().for_each(|source| daemon.expire(source, now)),
        Kind::Frozen => daemon.freeze(fault.end()),
        Kind::Crash => daemon.crash(&home.cluster),
        Kind::CrashAtWrite => {
            let moment = if (fault.aim / 2).is_multiple_of(2) { Moment::Unsent } else { Moment::Unanswered };
            daemon.doom(fault.aim / 4 % 6, moment);
        }
        _ => {}
    }
}

fn kill(home: &mut Home, fault: &Fault, container: &str) -> Vec<Undo> {
    if let Some(process) = home.aimed_at(container, fault.aim) {
        home.cluster.kill(process);
    }
    Vec::new()
}

fn freeze(home: &mut Home, fault: &Fault, container: &str) -> Vec<Undo> {
    let process = home.aimed_at(container, fault.aim);
    process.into_iter().inspect(|process| home.cluster.pause(*process)).map(Undo::Resume).collect()
}
