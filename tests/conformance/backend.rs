//! What a scenario needs of a cluster: the API, its programs, and the truth about the storage behind it.
//!
//! Nothing here knows which cluster it is. So a scenario cannot treat the two differently by accident.

use std::time::Duration;

use serde_json::Value;

/// A kind of object, as scenarios touch them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Namespace,
    Secret,
    Claim,
    Volume,
    Event,
    Lease,
    Class,
    Snapshot,
    Content,
}

impl Kind {
    /// Group and plural, as in a path of the API.
    pub(crate) fn resource(self) -> (&'static str, &'static str) {
        const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
        match self {
            Self::Namespace => ("", "namespaces"),
            Self::Secret => ("", "secrets"),
            Self::Claim => ("", "persistentvolumeclaims"),
            Self::Volume => ("", "persistentvolumes"),
            Self::Event => ("", "events"),
            Self::Lease => ("coordination.k8s.io", "leases"),
            Self::Class => (SNAPSHOTS, "volumesnapshotclasses"),
            Self::Snapshot => (SNAPSHOTS, "volumesnapshots"),
            Self::Content => (SNAPSHOTS, "volumesnapshotcontents"),
        }
    }
}

/// One object: its kind, its namespace (empty for none) and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A program of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// snapshot-controller.
    Controller,
    /// The CSI driver.
    Driver,
    /// One of the two csi-snapshotters.
    Snapshotter(usize),
}

/// What happens to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is frozen.
    Pause,
    /// It goes on.
    Resume,
    /// It ends without a word.
    Kill,
    /// It starts again.
    Start,
}

/// What the driver gets wrong, for one of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The call fails with a gRPC code and words.
    Fails(&'static str, i32, &'static str),
    /// The call never returns while the driver's process lives.
    Stuck(&'static str),
}

/// Something that the API server told a watcher.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) gone: bool,
    pub(crate) object: Value,
}

/// A cluster.
pub(crate) trait Backend {
    fn create(&mut self, kind: Kind, namespace: &str, object: Value) -> Value;
    /// The object as watchers know it.
    fn get(&mut self, id: &Id) -> Option<Value>;
    /// A merge patch, of the object or of its status.
    fn patch(&mut self, id: &Id, status: bool, patch: &Value);
    fn delete(&mut self, id: &Id);
    fn meets(&mut self, component: Component, fate: Fate);
    fn log(&mut self, component: Component) -> String;
    /// The host name that a csi-snapshotter leads under.
    fn host(&self, snapshotter: usize) -> &'static str;
    /// Gives the driver one more volume.
    fn add_volume(&mut self, handle: &str);
    /// Replaces what the driver gets wrong.
    fn set_trouble(&mut self, trouble: Option<Trouble>);
    /// How many snapshots of a volume really exist.
    fn snapshots_of(&mut self, volume: &str) -> usize;
    /// Lets a little time pass.
    fn pass(&mut self);
    /// Waits until nothing more happens.
    fn settle(&mut self);
    /// The time since it began.
    fn elapsed(&self) -> Duration;
    /// All that happened to objects of this kind so far, in order.
    fn seen(&mut self, kind: Kind) -> Vec<Seen>;
}
