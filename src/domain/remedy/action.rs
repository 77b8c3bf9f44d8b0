//! An intended write as plain data: what is changed, on what, and what must still be so when it is changed.
//!
//! `io::act` carries it out and decides nothing. Everything that makes a step dangerous is a field here, so that
//! it can be hashed, written into the ledger, shown to whoever approves it, and compared with a fresh read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Step;
use crate::domain::ceph::Location;
use crate::domain::digest::{Encoding, Hash};
use crate::domain::finding::{Class, Subject};
use crate::domain::name::{Key, Names, Uid};
use crate::domain::policy::Governing;
use crate::domain::record::{DeletionPolicy, Kind, SecretName};

/// How long reading the target afresh and writing to it may take together.
pub const ACT: Duration = Duration::from_secs(5);

/// The one annotation that a nudge touches; its value is a time.
pub const NUDGE: &str = "volwarden.dev/nudge";
/// Consent on a content that its backend snapshot be left behind; the value is the content's own uid.
pub const LEAVE_BEHIND: &str = "volwarden.dev/leave-behind";
/// What snapshot-controller puts on a content before it deletes it.
pub const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
/// What csi-snapshotter puts on a content whose creation has not been answered.
pub const BEING_CREATED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";

/// Kinds of objects that are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// VolumeSnapshot.
    Snapshot,
    /// VolumeSnapshotContent.
    Content,
    /// Pod.
    Pod,
    /// Lease.
    Lease,
}

impl TargetKind {
    /// The Kubernetes kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "VolumeSnapshot",
            Self::Content => "VolumeSnapshotContent",
            Self::Pod => "Pod",
            Self::Lease => "Lease",
        }
    }

    /// Reads the Kubernetes kind back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Snapshot, Self::Content, Self::Pod, Self::Lease].into_iter().find(|kind| kind.as_str() == name)
    }

    /// The target that is a finding's own subject, if it can be one.
    #[must_use]
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::VolumeSnapshot => Some(Self::Snapshot),
            Kind::VolumeSnapshotContent => Some(Self::Content),
            Kind::PersistentVolumeClaim | Kind::CsiDriver | Kind::Lease => None,
        }
    }
}

/// The object that is written to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its kind.
    pub kind: TargetKind,
    /// Its key.
    pub key: Key,
    /// Its uid: a precondition of the write.
    pub uid: Uid,
    /// Its version when it was decided on. It guards the write of a lease, and is no part of a plan's hash.
    pub version: Box<str>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key)
    }
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets this annotation, to the time of the intent for a nudge.
    Annotate {
        /// Its key: one of ours, or being-deleted.
        key: &'static str,
    },
    /// Removes this one finalizer.
    RemoveFinalizer(&'static str),
    /// Deletes the object.
    Delete,
}

/// What must be so at the fresh read, beside the uid. Anything else means that somebody was faster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of the object, asked for or not")]
pub struct Expect {
    /// `deletionTimestamp` is set, or is not.
    pub deleting: bool,
    /// Exactly these finalizers, in this order.
    pub finalizers: Option<Names>,
    /// being-deleted is there, or is not.
    pub marked: Option<bool>,
    /// being-created is not there.
    pub not_creating: bool,
    /// The status is present and emptied.
    pub emptied: bool,
    /// The status has this handle.
    pub handle: Option<Box<str>>,
    /// snapshot-controller made the content's spec.
    pub made_by_controller: bool,
    /// The consent to leave the backend snapshot behind is there.
    pub consent: bool,
    /// The object has not changed at all since.
    pub unchanged: bool,
}

/// A backend snapshot that stays behind, with all that is needed to find it again. Written before the object
/// that held the handle goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The driver.
    pub driver: Arc<str>,
    /// Its handle of the snapshot.
    pub handle: Box<str>,
    /// The class.
    pub class: Option<Arc<str>>,
    /// The content's policy.
    pub policy: DeletionPolicy,
    /// The secret the driver needs to delete it.
    pub secret: Option<Arc<SecretName>>,
    /// The handle of the volume it was cut from.
    pub volume_handle: Option<Box<str>>,
    /// The content.
    pub content: (Key, Uid),
    /// The VolumeSnapshot the content names, with its uid.
    pub snapshot: (Key, Option<Uid>),
    /// Where it lies, if the handle is one of ceph-csi's.
    pub ceph: Option<Location>,
    /// Why it stays behind.
    pub reason: String,
}

impl Orphan {
    /// The entry's name: of the content's uid, so that the same orphan is never entered twice.
    #[must_use]
    pub fn name(&self) -> String {
        format!("orphan-{}", self.content.1).to_ascii_lowercase()
    }

    /// The name under which the driver was asked to make it.
    #[must_use]
    pub fn csi_name(&self) -> Option<String> {
        self.snapshot.1.as_ref().map(|uid| format!("snapshot-{uid}"))
    }
}

/// One step on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The step.
    pub step: Step,
    /// The finding it is about.
    pub class: Class,
    /// The finding's subject.
    pub subject: Subject,
    /// The subject's uid, where it has one.
    pub subject_uid: Option<Uid>,
    /// The driver concerned.
    pub driver: Arc<str>,
    /// What is written to.
    pub target: Target,
    /// What is written.
    pub write: Write,
    /// What must still be so.
    pub expect: Expect,
    /// The backend's handle of the snapshot concerned.
    pub handle: Option<Box<str>>,
    /// It leaves a backend snapshot behind that the object's policy would have deleted.
    pub leaks: bool,
    /// It may destroy a backend snapshot that is another cluster's, or somebody's last copy.
    pub destroys: bool,
    /// Why it may.
    pub doubts: Vec<String>,
    /// What stays behind; entered into the orphan ledger first.
    pub orphan: Option<Orphan>,
    /// What it does, in words.
    pub summary: String,
}

impl Action {
    /// The hash of the plan to do exactly this under these policies. Versions are left out: they only guard the
    /// write. So is the time a nudge will carry.
    #[must_use]
    pub fn hash(&self, policies: &Governing) -> Hash {
        let mut out = Encoding::of("volwarden-plan/1");
        out.field("step", self.step);
        out.field("class", self.class);
        out.field("subject", &self.subject);
        out.optional("subjectUid", self.subject_uid.as_ref());
        out.field("driver", &self.driver);
        out.field("target", &self.target);
        out.field("targetUid", &self.target.uid);
        match &self.write {
            Write::Annotate { key } => out.field("annotate", key),
            Write::RemoveFinalizer(name) => out.field("removeFinalizer", name),
            Write::Delete => out.field("delete", ""),
        }
        let Expect {
            deleting,
            finalizers,
            marked,
            not_creating,
            emptied,
            handle,
            made_by_controller,
            consent,
            unchanged: _,
        } = &self.expect;
        out.list("finalizers", finalizers.iter().flat_map(|names| names.iter()));
        out.optional("marked", marked.as_ref());
        out.list("expect", [deleting, not_creating, emptied, made_by_controller, consent]);
        out.optional("expectHandle", handle.as_ref());
        out.optional("handle", self.handle.as_ref());
        out.field("leaks", self.leaks);
        out.field("destroys", self.destroys);
        out.list("doubts", &self.doubts);
        out.optional("orphan", self.orphan.as_ref().map(|orphan| &orphan.handle));
        policies.encode(&mut out);
        out.hash()
    }

    /// The value that its annotation is set to.
    #[must_use]
    pub fn annotation(&self, intended: Timestamp) -> Option<String> {
        match &self.write {
            Write::Annotate { key } if *key == NUDGE => Some(intended.to_string()),
            Write::Annotate { .. } => Some("yes".to_owned()),
            Write::RemoveFinalizer(_) | Write::Delete => None,
        }
    }
}
