//! Findings: the public vocabulary of what can be wrong, and what would help.
//!
//! Class names appear in JSON, resources, Events and (as snake_case) in metric labels, and each has a page
//! under `docs/findings/`. Renaming one breaks alerts that users wrote, so it is a breaking change.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::name::{Key, Uid};
use super::record::Kind;
use super::words;

/// What is wrong, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Class {
    /// snapshot-controller does not work.
    ControllerDown,
    /// Nothing of the driver exists in the cluster.
    DriverUnknown,
    /// The driver is known, but no csi-snapshotter of it lives.
    DriverGone,
    /// The leader's lease expired and a Ready candidate did not take over.
    StaleLeader,
    /// Many contents of one driver fail at once: one incident, not many.
    DriverDegraded,
    /// Member of a group snapshot: only the group can be deleted.
    GroupMember,
    /// Held by a finalizer that belongs to somebody else.
    ForeignFinalizer,
    /// Being deleted while the driver still owes the answer to its creation.
    StillCreating,
    /// Content deleted by hand while its VolumeSnapshot lives.
    AwaitingSnapshot,
    /// Content being deleted whose VolumeSnapshot is gone and which nobody marked for the driver.
    OrphanedContent,
    /// The class names another driver than the content.
    DriverMismatch,
    /// The driver confirmed the deletion, the finalizer stayed.
    DeletedNotReleased,
    /// The deletion secret is missing.
    SecretMissing,
    /// The driver refuses because of an operation that never ended.
    OperationLocked,
    /// The storage backend answers with an error.
    BackendError,
    /// The driver fails and will try again.
    Retrying,
    /// The controller never noticed the deletion.
    MissedEvent,
    /// A claim is being restored from this snapshot.
    RestoreInProgress,
    /// The VolumeSnapshot waits for its content to go.
    WaitingForContent,
    /// Only the provisioner's finalizer is left and nobody provisions from the snapshot.
    ProvisionerOrphan,
    /// The snapshot was never cut.
    CreateStuck,
    /// A live content whose VolumeSnapshot is gone: storage nobody refers to.
    AbandonedContent,
    /// A claim cannot be deleted because a snapshot of it never became ready.
    SourcePinned,
    /// Stuck, and no rule explains it.
    Unexplained,
}

impl Class {
    /// Every class, worst first: the order of a report.
    pub const ALL: [Self; 24] = [
        Self::ControllerDown,
        Self::DriverUnknown,
        Self::DriverGone,
        Self::StaleLeader,
        Self::DriverDegraded,
        Self::OrphanedContent,
        Self::OperationLocked,
        Self::BackendError,
        Self::SecretMissing,
        Self::MissedEvent,
        Self::DeletedNotReleased,
        Self::CreateStuck,
        Self::Unexplained,
        Self::StillCreating,
        Self::DriverMismatch,
        Self::ProvisionerOrphan,
        Self::AbandonedContent,
        Self::SourcePinned,
        Self::AwaitingSnapshot,
        Self::ForeignFinalizer,
        Self::GroupMember,
        Self::RestoreInProgress,
        Self::WaitingForContent,
        Self::Retrying,
    ];

    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControllerDown => "ControllerDown",
            Self::DriverUnknown => "DriverUnknown",
            Self::DriverGone => "DriverGone",
            Self::StaleLeader => "StaleLeader",
            Self::DriverDegraded => "DriverDegraded",
            Self::GroupMember => "GroupMember",
            Self::ForeignFinalizer => "ForeignFinalizer",
            Self::StillCreating => "StillCreating",
            Self::AwaitingSnapshot => "AwaitingSnapshot",
            Self::OrphanedContent => "OrphanedContent",
            Self::DriverMismatch => "DriverMismatch",
            Self::DeletedNotReleased => "DeletedNotReleased",
            Self::SecretMissing => "SecretMissing",
            Self::OperationLocked => "OperationLocked",
            Self::BackendError => "BackendError",
            Self::Retrying => "Retrying",
            Self::MissedEvent => "MissedEvent",
            Self::RestoreInProgress => "RestoreInProgress",
            Self::WaitingForContent => "WaitingForContent",
            Self::ProvisionerOrphan => "ProvisionerOrphan",
            Self::CreateStuck => "CreateStuck",
            Self::AbandonedContent => "AbandonedContent",
            Self::SourcePinned => "SourcePinned",
            Self::Unexplained => "Unexplained",
        }
    }

    /// Reads a public name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// The name as a metric label value: snake_case.
    #[must_use]
    pub fn label(self) -> String {
        words::snake(self.as_str())
    }

    /// Its page in the documentation, relative to the repository.
    #[must_use]
    pub fn docs(self) -> String {
        format!("docs/findings/{}.md", self.as_str())
    }

    /// Place in a report: 0 is the worst.
    #[must_use]
    pub fn severity(self) -> usize {
        Self::ALL.iter().position(|class| *class == self).unwrap_or(Self::ALL.len())
    }

    /// Whether it is about a controller or a driver and not about one object.
    #[must_use]
    pub fn is_component(self) -> bool {
        matches!(
            self,
            Self::ControllerDown | Self::DriverUnknown | Self::DriverGone | Self::StaleLeader | Self::DriverDegraded
        )
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The object a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: Key,
}

impl Subject {
    /// Names an object.
    #[must_use]
    pub fn new(kind: Kind, key: Key) -> Self {
        Self { kind, key }
    }

    /// A driver, by the name of its CSIDriver object (which may not exist).
    #[must_use]
    pub fn driver(name: &str) -> Self {
        Self::new(Kind::CsiDriver, Key::cluster(name))
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// A step of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Rung {
    /// Nothing but words: somebody else must act, or waiting is right.
    Report,
    /// Touch one annotation of ours, so that the controller looks again.
    Nudge,
    /// Add the being-deleted annotation, so that the driver really deletes.
    MarkBeingDeleted,
    /// Restart the csi-snapshotter leader's pod.
    RestartLeader,
    /// Restart the candidate that failed to take over.
    RestartCandidate,
    /// Remove csi-provisioner's finalizer.
    RemoveProvisionerFinalizer,
    /// Remove the content's finalizer into the orphan ledger; only by opt-in on the object.
    RemoveIntoOrphanLedger,
    /// Delete the object, by approval.
    DeleteAbandoned,
}

/// What would help, least first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The step.
    pub rung: Rung,
    /// The step in words, for the person on call.
    pub text: String,
}

/// A finding that lies beneath another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The class of the cause.
    pub class: Class,
    /// What the cause is about.
    pub subject: Subject,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.class, self.subject)
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub class: Class,
    /// With which object.
    pub subject: Subject,
    /// The object's uid, where it exists.
    pub uid: Option<Uid>,
    /// The CSI driver concerned.
    pub driver: Option<Arc<str>>,
    /// The finding that explains this one.
    pub cause: Option<Cause>,
    /// Since when.
    pub since: Timestamp,
    /// One line of why.
    pub summary: String,
    /// What was observed, in words.
    pub evidence: Vec<String>,
    /// The least repair would leave a backend snapshot behind.
    pub leaks: bool,
    /// The least repair may destroy a backend snapshot that could be another cluster's.
    pub destroys: bool,
    /// It rests on a look that was too short to be sure.
    pub unverified: bool,
    /// What would help.
    pub repair: Repair,
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct SubjectView<'a> {
            kind: &'a str,
            namespace: Option<&'a str>,
            name: &'a str,
            uid: Option<String>,
        }
        #[derive(Serialize)]
        struct View<'a> {
            class: Class,
            subject: SubjectView<'a>,
            driver: Option<&'a str>,
            cause: Option<&'a Cause>,
            since: Timestamp,
            summary: &'a str,
            evidence: &'a [String],
            leaks: bool,
            destroys: bool,
            unverified: bool,
            repair: &'a Repair,
            docs: String,
        }
        let namespace = &*self.subject.key.namespace;
        View {
            class: self.class,
            subject: SubjectView {
                kind: self.subject.kind.as_str(),
                namespace: (!namespace.is_empty()).then_some(namespace),
                name: &self.subject.key.name,
                uid: self.uid.as_ref().map(ToString::to_string),
            },
            driver: self.driver.as_deref(),
            cause: self.cause.as_ref(),
            since: self.since,
            summary: &self.summary,
            evidence: &self.evidence,
            leaks: self.leaks,
            destroys: self.destroys,
            unverified: self.unverified,
            repair: &self.repair,
            docs: self.class.docs(),
        }
        .serialize(serializer)
    }
}

/// What can be said of one subject now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something is wrong.
    Finding(Box<Finding>),
    /// Nothing is wrong, or nothing yet.
    Normal {
        /// Why, in words.
        summary: String,
        /// When this would become a finding if nothing moves.
        until: Option<Timestamp>,
    },
    /// The model does not know such an object.
    NotFound,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_ranked_once() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(Class::ALL.iter().all(|class| seen.insert(*class)));
        assert_eq!(Class::ALL.iter().map(|class| class.severity()).max(), Some(23));
        assert!(Class::ALL.into_iter().all(|class| Class::from_name(class.as_str()) == Some(class)));
        assert_eq!(Class::from_name("orphaned_content"), None);
    }

    #[test]
    fn labels_are_snake_case() {
        assert_eq!(Class::OrphanedContent.label(), "orphaned_content");
    }
}
