//! The words that scenarios are written in.

use super::backend::{Component, Fate, Trouble};

/// One scenario: what is done to a cluster, and what may differ from run to run and why.
pub(crate) struct Scenario {
    pub(crate) number: usize,
    pub(crate) title: &'static str,
    pub(crate) steps: Vec<Step>,
    /// What is free in this one besides [`super::table::EVERYWHERE`].
    pub(crate) freedoms: Vec<Freedom>,
}

/// An object of the scenario's own namespace, or one that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Snapshot(&'static str),
    /// The content that was made for this VolumeSnapshot.
    ContentOf(&'static str),
    /// A content that was made by hand.
    Content(&'static str),
    Claim(&'static str),
}

/// One step. Each scenario begins with a bound claim `data` in a namespace of its own.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A VolumeSnapshot of the claim `data`, of this class.
    Take {
        name: &'static str,
        class: &'static str,
    },
    /// A content made by hand for the physical snapshot of `handle_of`'s content, and the VolumeSnapshot that it is for.
    Import {
        name: &'static str,
        content: &'static str,
        handle_of: &'static str,
    },
    /// A claim that is to be restored from a VolumeSnapshot, and waits for its provisioner.
    Restore {
        claim: &'static str,
        from: &'static str,
    },
    /// A class of the driver.
    Class {
        name: &'static str,
        policy: &'static str,
    },
    Secret(&'static str),
    Delete(Thing),
    /// Somebody removes all finalizers.
    Strip(Thing),
    /// Somebody adds a finalizer of their own.
    Hold(Thing, &'static str),
    Annotate(Thing, &'static str, &'static str),
    /// The content's deletion needs this secret of the scenario's namespace.
    NeedsSecret(Thing, &'static str),
    /// The status is emptied, as csi-snapshotter does after the driver has deleted.
    EmptyStatus(Thing),
    Meets(Component, Fate),
    /// The csi-snapshotter that leads is killed; until the other one leads.
    LeaderDies,
    /// A csi-snapshotter that was killed starts again.
    LeaderReturns,
    /// The driver and the csi-snapshotters end, and start again, as when somebody deletes their pods.
    DriverRestarts,
    Trouble(Trouble),
    /// The driver is well again.
    Well,
    Until(Thing, Condition),
    /// Until it is gone. csi-snapshotter may have missed that it should go: then somebody annotates it.
    UntilGoneOrNudged(Thing),
    /// The leading csi-snapshotter has written this.
    UntilLog(&'static str),
    /// It is not so.
    Not(Thing, Condition),
    /// So many physical snapshots of the claim exist now.
    Left(usize),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Made, cut, and all that is written at that has been written.
    Ready,
    /// It is being deleted.
    Deleting,
    Gone,
    /// Its status tells of an error.
    Failed,
    /// It has these finalizers and no others (their last parts).
    HeldBy(&'static [&'static str]),
    Annotated(&'static str),
    /// There is an Event about it with this reason.
    Told(&'static str),
    /// There is an Event about it with these words.
    ToldWords(&'static str),
}

/// The reason for a freedom: read by whoever wonders whether it is one.
pub(crate) type Why = &'static str;

/// What the real components are free to do in one order or another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Freedom {
    /// Nothing orders these two: steps with these words may change places.
    Race { one: &'static str, other: &'static str, why: Why },
    /// Whether steps with these words happen depends on the moment.
    Chance { step: &'static str, why: Why },
}
