//! Fault scripts: what goes wrong in one run, when, and for how long.
//!
//! A script is drawn from a seed and is data: it can be printed, cut down to what still fails, and played
//! again. A fault carries its own number to aim with, so that taking one away leaves the others what they are.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use serde::{Serialize, Serializer};

/// Nothing goes wrong before.
pub const CALM: Duration = Duration::from_secs(8 * 60);
/// Every fault has ended by then.
pub const OVER: Duration = Duration::from_secs(55 * 60);
/// Faults begin no later than so long before [`OVER`].
const LAST: Duration = Duration::from_secs(10 * 60);
/// Most faults of one script.
const MOST: usize = 16;

/// A kind of fault. The name is public: scripts and totals show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    // === Drivers and their storage ===
    /// Calls to the driver do not return; when it ends they do.
    DriverHung,
    /// One call to the driver never returns and keeps its lock.
    DriverStuck,
    /// Calls to the driver take minutes.
    DriverSlow,
    /// The driver answers deletions with an error.
    DeleteErring,
    /// The driver answers creations with an error.
    CreateErring,
    /// The storage pool is down.
    PoolDown,
    /// The driver's secret is deleted, and comes back.
    SecretDeleted,

    // === Programs, pods and nodes ===
    /// The csi-snapshotter of the leader is killed.
    SidecarKilled,
    /// The csi-snapshotter of the leader stands still.
    SidecarFrozen,
    /// The driver's process is killed.
    DriverKilled,
    /// The driver's process stands still.
    DriverFrozen,
    /// snapshot-controller stands still.
    ControllerFrozen,
    /// snapshot-controller is killed.
    ControllerKilled,
    /// A pod of the driver is deleted.
    PodDeleted,
    /// The driver's Deployment is rolled out anew.
    Rollout,
    /// The node under the leader is lost, and comes back.
    NodeLost,
    /// The csi-snapshotter is taken out of the driver's Deployment, and put back.
    SidecarRemoved,
    /// The driver's Deployment is scaled to nothing, and back.
    DriverScaledDown,
    /// The CSIDriver is deleted, and made anew.
    CsiDriverRemoved,
    /// The VolumeSnapshotClass is made anew with another driver, and back.
    ClassRemade,

    /// The API server refuses the controllers' writes of one kind: conflicts, throttling, errors.
    WritesRefused,
    /// The API server refuses the finalizers of contents to the csi-snapshotter of the leader.
    ReleasesRefused,

    // === Somebody's kubectl ===
    /// All finalizers of a VolumeSnapshot that is being deleted are removed.
    SnapshotStripped,
    /// All finalizers of a content that is being deleted are removed.
    ContentStripped,
    /// All finalizers of a live VolumeSnapshot are removed and it is deleted; sometimes its content too.
    LiveSnapshotStripped,
    /// A content whose VolumeSnapshot lives is deleted.
    ContentDeleted,
    /// The driver's lease is deleted.
    LeaseDeleted,
    /// A VolumeSnapshot gets a finalizer that nobody serves, and loses it.
    SnapshotPinned,
    /// A content gets a finalizer that nobody serves, and loses it.
    ContentPinned,
    /// A claim that nobody provisions is restored from a snapshot that is then deleted; the claim goes.
    RestorePending,
    /// csi-provisioner's finalizer is left on a snapshot that is then deleted.
    ProvisionerOrphaned,
    /// A content of another cluster is applied here, with its handle; sometimes it is deleted.
    ContentCopied,
    /// A content is set to Retain, its VolumeSnapshot loses its finalizers, and both are deleted.
    ContentRetained,
    /// The watches of VolumeSnapshots die without a word, somebody cuts a snapshot, and its content is deleted.
    CutUnseen,

    // === Somebody's kubectl on our own objects ===
    /// The policy is paused.
    PolicyPaused,
    /// The policy is suspended.
    PolicySuspended,
    /// The policy is set to Observe.
    PolicyObserves,
    /// The policy is deleted, and made anew.
    PolicyDeleted,
    /// A namespace is to be ignored.
    NamespaceIgnored,
    /// The definitions of our kinds are deleted, and with them policy and ledger; they come back.
    KindsRemoved,

    // === Between the API and the daemon ===
    /// The connection of one watch dies without a word.
    WatchStalled,
    /// The connections of all watches die without a word.
    WatchesStalled,
    /// All watches are closed.
    WatchesCut,
    /// A watch is told 410 Gone.
    WatchExpired,
    /// All watches are told 410 Gone.
    WatchesExpired,
    /// The server refuses one source.
    SourceRefused,
    /// The server fails for one source.
    SourceErring,
    /// The server cannot be reached.
    ServerUnreachable,
    /// Objects of one source cannot be read.
    SourceGarbled,
    /// Lines of all watches come late.
    LinesSlow,
    /// Single reads come late.
    ReadsSlow,
    /// Single reads never come back.
    ReadsHung,
    /// Single reads fail.
    ReadsFailing,
    /// Logs may not be read.
    LogsRefused,
    /// The daemon's writes come late.
    OwnWritesSlow,
    /// The daemon's writes are never answered; some of them happen.
    OwnWritesHung,
    /// The daemon's writes are answered with 409, 429, 500 or 503; some of those with 500 happen.
    OwnWritesErring,

    // === The daemon itself ===
    /// The daemon's wall clock is ahead.
    ClockAhead,
    /// The daemon's wall clock is behind.
    ClockBehind,
    /// The daemon's process stands still.
    Frozen,
    /// The daemon's process ends and starts again.
    Crash,
    /// It ends at one of its next writes: before it is sent, or before its answer comes.
    CrashAtWrite,
}

/// Whether a fault has an end, and how long it lasts.
#[derive(Clone, Copy)]
enum Length {
    /// It just happens.
    Instant,
    /// Seconds, at least and at most.
    Lasting(u64, u64),
}

const SHORT: Length = Length::Lasting(20, 240);
const LONG: Length = Length::Lasting(120, 1500);

impl Kind {
    /// All of them, by theme.
    pub const ALL: [Self; 62] = [
        Self::DriverHung,
        Self::DriverStuck,
        Self::DriverSlow,
        Self::DeleteErring,
        Self::CreateErring,
        Self::PoolDown,
        Self::SecretDeleted,
        Self::SidecarKilled,
        Self::SidecarFrozen,
        Self::DriverKilled,
        Self::DriverFrozen,
        Self::ControllerFrozen,
        Self::ControllerKilled,
        Self::PodDeleted,
        Self::Rollout,
        Self::NodeLost,
        Self::SidecarRemoved,
        Self::DriverScaledDown,
        Self::CsiDriverRemoved,
        Self::ClassRemade,
        Self::WritesRefused,
        Self::ReleasesRefused,
        Self::SnapshotStripped,
        Self::ContentStripped,
        Self::LiveSnapshotStripped,
        Self::ContentDeleted,
        Self::LeaseDeleted,
        Self::SnapshotPinned,
        Self::ContentPinned,
        Self::RestorePending,
        Self::ProvisionerOrphaned,
        Self::ContentCopied,
        Self::ContentRetained,
        Self::CutUnseen,
        Self::PolicyPaused,
        Self::PolicySuspended,
        Self::PolicyObserves,
        Self::PolicyDeleted,
        Self::NamespaceIgnored,
        Self::KindsRemoved,
        Self::WatchStalled,
        Self::WatchesStalled,
        Self::WatchesCut,
        Self::WatchExpired,
        Self::WatchesExpired,
        Self::SourceRefused,
        Self::SourceErring,
        Self::ServerUnreachable,
        Self::SourceGarbled,
        Self::LinesSlow,
        Self::ReadsSlow,
        Self::ReadsHung,
        Self::ReadsFailing,
        Self::LogsRefused,
        Self::OwnWritesSlow,
        Self::OwnWritesHung,
        Self::OwnWritesErring,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::Frozen,
        Self::Crash,
        Self::CrashAtWrite,
    ];

    fn length(self) -> Length {
        match self {
            Self::LinesSlow
            | Self::ReadsSlow
            | Self::ReadsHung
            | Self::WritesRefused
            | Self::OwnWritesSlow
            | Self::OwnWritesHung
            | Self::OwnWritesErring => SHORT,
            Self::Frozen => Length::Lasting(2, 60),
            Self::CutUnseen => Length::Lasting(10, 40),
            Self::SidecarKilled
            | Self::DriverKilled
            | Self::ControllerKilled
            | Self::PodDeleted
            | Self::Rollout
            | Self::SnapshotStripped
            | Self::ContentStripped
            | Self::LiveSnapshotStripped
            | Self::ContentDeleted
            | Self::LeaseDeleted
            | Self::ProvisionerOrphaned
            | Self::ContentCopied
            | Self::ContentRetained
            | Self::WatchStalled
            | Self::WatchesStalled
            | Self::WatchesCut
            | Self::WatchExpired
            | Self::WatchesExpired
            | Self::Crash
            | Self::CrashAtWrite => Length::Instant,
            _ => LONG,
        }
    }

    /// It comes between the API and the daemon, or is the daemon's own.
    #[must_use]
    pub fn is_of_daemon(self) -> bool {
        self >= Self::WatchStalled
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// When, on the cluster's clock.
    #[serde(rename = "atSeconds", serialize_with = "seconds")]
    pub at: Duration,
    /// For how long; zero for what just happens.
    #[serde(rename = "forSeconds", serialize_with = "seconds")]
    pub lasts: Duration,
    /// What it is aimed at: taken modulo the number of targets.
    pub aim: u32,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

impl Fault {
    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.at + self.lasts
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}s", self.kind, self.at.as_secs())?;
        if self.lasts.is_zero() { Ok(()) } else { write!(f, " for {}s", self.lasts.as_secs()) }
    }
}

/// A theme for scripts.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its public name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    kinds: fn(Kind) -> bool,
}

/// Every scenario. Without a name, scripts are of the first.
pub const SCENARIOS: [Scenario; 8] = [
    Scenario { name: "everything", about: "any fault, and now and then none", kinds: |_| true },
    Scenario { name: "nothing", about: "no fault at all: then nothing may be named", kinds: |_| false },
    Scenario {
        name: "driver",
        about: "the driver and its storage hang, crawl, err or lose their secret",
        kinds: |kind| kind <= Kind::SecretDeleted,
    },
    Scenario {
        name: "programs",
        about: "sidecars, controllers, pods and nodes die, freeze and are taken away; writes are refused",
        kinds: |kind| (Kind::SidecarKilled..=Kind::ReleasesRefused).contains(&kind),
    },
    Scenario {
        name: "people",
        about: "somebody's kubectl: finalizers, contents, leases, claims, copied YAML",
        kinds: |kind| (Kind::SnapshotStripped..=Kind::CutUnseen).contains(&kind),
    },
    Scenario {
        name: "repairs",
        about: "people and the driver leave things stuck, while the policy changes and the daemon's own writes fail",
        kinds: |kind| {
            kind <= Kind::SecretDeleted
                || (Kind::ReleasesRefused..=Kind::KindsRemoved).contains(&kind)
                || kind >= Kind::OwnWritesSlow
        },
    },
    Scenario {
        name: "view",
        about: "what the daemon sees is late, cut, stale, refused or unreadable",
        kinds: |kind| (Kind::WatchStalled..=Kind::LogsRefused).contains(&kind),
    },
    Scenario {
        name: "clock",
        about: "the daemon's clock jumps, its process stands still and crashes, while the driver fails",
        kinds: |kind| kind <= Kind::SecretDeleted || kind >= Kind::ClockAhead,
    },
];

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// The script of a seed, by time.
    #[must_use]
    pub fn script(&self, seed: u64) -> Vec<Fault> {
        let mut rng = Rng::with_seed(seed ^ 0x5C21_B7F3);
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| (self.kinds)(*kind)).collect();
        // One run in sixteen is left in peace.
        let count = if kinds.is_empty() || rng.u8(..16) == 0 { 0 } else { rng.usize(1..=MOST) };
        let mut faults: Vec<Fault> = (0..count).filter_map(|_| fault(&kinds, &mut rng)).collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }
}

fn fault(kinds: &[Kind], rng: &mut Rng) -> Option<Fault> {
    let kind = *kinds.get(rng.usize(..kinds.len()))?;
    let at = Duration::from_secs(rng.u64(CALM.as_secs()..OVER.saturating_sub(LAST).as_secs()));
    let lasts = match kind.length() {
        Length::Instant => Duration::ZERO,
        Length::Lasting(least, most) => Duration::from_secs(rng.u64(least..=most)),
    };
    Some(Fault { kind, at, lasts: lasts.min(OVER.saturating_sub(at)), aim: rng.u32(..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_script_and_every_kind_is_drawn() {
        let everything = Scenario::named("everything").unwrap();
        let mut kinds = std::collections::BTreeSet::new();
        let mut peaceful = 0;
        for seed in 0..500 {
            let script = everything.script(seed);
            assert_eq!(script, everything.script(seed));
            assert!(script.iter().all(|fault| fault.at >= CALM && fault.end() <= OVER), "{script:?}");
            assert!(script.is_sorted_by_key(|fault| fault.at));
            peaceful += u32::from(script.is_empty());
            kinds.extend(script.into_iter().map(|fault| fault.kind));
        }
        assert_eq!(kinds.len(), Kind::ALL.len());
        assert!((10..100).contains(&peaceful), "{peaceful}");
    }

    #[test]
    fn a_scenario_draws_only_its_own() {
        for scenario in &SCENARIOS {
            let drawn: Vec<Fault> = (0..100).flat_map(|seed| scenario.script(seed)).collect();
            assert!(drawn.iter().all(|fault| (scenario.kinds)(fault.kind)), "{}", scenario.name);
            assert_eq!(drawn.is_empty(), scenario.name == "nothing", "{}", scenario.name);
        }
        assert!(Scenario::named("weather").is_none());
    }
}
