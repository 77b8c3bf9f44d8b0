//! The ladders: what is done about each class, in which order, and what follows.
//!
//! [`LADDERS`] is the one table. Each rung is one [`Step`] on one kind of target; the next is only ever reached
//! over the one before. A class that is not in it is reported and left alone: the failure this file exists to
//! prevent is a repair nobody decided on. What a step needs first is in [`prepare`], how its success is told in
//! [`verify`], what may hold it in `guard`.

pub mod action;
pub mod fresh;
pub mod prepare;
pub mod verify;

use std::time::Duration;

use action::Write;

use super::diagnose::content::OWN_FINALIZER;
use super::diagnose::snapshot::PROVISIONER;
use super::finding::Class;
use super::timing::{SHORT, Timing};

/// The least time between two nudges of what a storm left over.
pub const LEFTOVERS_EVERY: Duration = Duration::from_secs(10);
/// How long a pod may take to come up again.
const POD_START: Duration = Duration::from_secs(120);
/// What client-go's jitter makes of a retry period at the worst, times ten.
const JITTER_TENTHS: u32 = 22;

/// One kind of step. Its name is public: in policies, in the ledger, in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Touch one annotation of ours, so that the controller looks again.
    Nudge,
    /// Add the being-deleted annotation, so that the driver really deletes (rule R3).
    MarkBeingDeleted,
    /// Restart the pod of the csi-snapshotter leader.
    RestartLeader,
    /// Restart the Ready candidate that failed to take over.
    RestartCandidate,
    /// Delete a csi-snapshotter's lease that nobody renews (rule R7).
    ReleaseLease,
    /// Remove a content's own finalizer after the driver confirmed the deletion (rule R1).
    RemoveContentFinalizer,
    /// Remove a content's own finalizer under policy Retain (rule R2).
    RemoveRetainedFinalizer,
    /// Remove csi-provisioner's finalizer from a VolumeSnapshot nobody provisions from (rule R5).
    RemoveProvisionerFinalizer,
    /// Remove a content's own finalizer and leave its backend snapshot behind, by consent on the object (rule R4).
    RemoveIntoOrphanLedger,
    /// Delete a live content whose VolumeSnapshot is gone.
    DeleteAbandoned,
}

impl Step {
    /// All of them, least first.
    pub const ALL: [Self; 10] = [
        Self::Nudge,
        Self::MarkBeingDeleted,
        Self::RestartLeader,
        Self::RestartCandidate,
        Self::ReleaseLease,
        Self::RemoveContentFinalizer,
        Self::RemoveRetainedFinalizer,
        Self::RemoveProvisionerFinalizer,
        Self::RemoveIntoOrphanLedger,
        Self::DeleteAbandoned,
    ];

    /// The public name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nudge => "Nudge",
            Self::MarkBeingDeleted => "MarkBeingDeleted",
            Self::RestartLeader => "RestartLeader",
            Self::RestartCandidate => "RestartCandidate",
            Self::ReleaseLease => "ReleaseLease",
            Self::RemoveContentFinalizer => "RemoveContentFinalizer",
            Self::RemoveRetainedFinalizer => "RemoveRetainedFinalizer",
            Self::RemoveProvisionerFinalizer => "RemoveProvisionerFinalizer",
            Self::RemoveIntoOrphanLedger => "RemoveIntoOrphanLedger",
            Self::DeleteAbandoned => "DeleteAbandoned",
        }
    }

    /// Reads a public name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == name)
    }

    /// On in a policy that does not say otherwise: what cannot lose anything and disturbs nobody.
    #[must_use]
    pub fn on_by_default(self) -> bool {
        matches!(
            self,
            Self::Nudge | Self::MarkBeingDeleted | Self::RemoveContentFinalizer | Self::RemoveProvisionerFinalizer
        )
    }

    /// No policy can switch it on: each single one needs an approval.
    #[must_use]
    pub fn only_by_approval(self) -> bool {
        matches!(self, Self::RemoveIntoOrphanLedger | Self::DeleteAbandoned)
    }

    /// It restarts or unseats a driver's controller: everybody's objects hang on that.
    #[must_use]
    pub fn reaches_driver(self) -> bool {
        matches!(self, Self::RestartLeader | Self::RestartCandidate | Self::ReleaseLease)
    }

    /// What it writes.
    #[must_use]
    pub fn write(self) -> Write {
        match self {
            Self::Nudge => Write::Annotate { key: action::NUDGE },
            Self::MarkBeingDeleted => Write::Annotate { key: action::BEING_DELETED },
            Self::RemoveContentFinalizer | Self::RemoveRetainedFinalizer | Self::RemoveIntoOrphanLedger => {
                Write::RemoveFinalizer(OWN_FINALIZER)
            }
            Self::RemoveProvisionerFinalizer => Write::RemoveFinalizer(PROVISIONER),
            Self::RestartLeader | Self::RestartCandidate | Self::ReleaseLease | Self::DeleteAbandoned => Write::Delete,
        }
    }

    /// How long its success may take to show, once it is done.
    #[must_use]
    pub fn patience(self, timing: &Timing, lease: Duration) -> Duration {
        match self {
            Self::Nudge => timing.nudge_floor(),
            Self::MarkBeingDeleted => timing.general_floor(),
            Self::RestartLeader | Self::RestartCandidate => settling(timing, lease).saturating_mul(2) + POD_START,
            Self::ReleaseLease => timing.takeover(lease).saturating_mul(2),
            Self::RemoveContentFinalizer
            | Self::RemoveRetainedFinalizer
            | Self::RemoveProvisionerFinalizer
            | Self::RemoveIntoOrphanLedger
            | Self::DeleteAbandoned => SHORT,
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The least wait after a restart before anybody says that the new leader works: the lease, the retries of the
/// candidates at their worst, and one call.
#[must_use]
pub fn settling(timing: &Timing, lease: Duration) -> Duration {
    lease + timing.lease_retry.saturating_mul(JITTER_TENTHS) / 10 + timing.timeout
}

/// What a rung's step is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The finding's own subject.
    Subject,
    /// The pod that leads for the driver.
    Leader,
    /// The Ready pod that should have taken over.
    Candidate,
    /// The driver's lease.
    Lease,
    /// The oldest content of the driver that fails.
    Canary,
    /// Each content that still fails, one after the other.
    Leftovers,
}

/// What follows a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The episode ends, repaired.
    Repaired,
    /// The next rung, or failure where there is none.
    Climb,
    /// The episode ends, failed: a human is needed.
    Stop,
}

/// One rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The step.
    pub step: Step,
    /// What it is done to.
    pub on: On,
    /// What follows when it helped.
    pub helped: Then,
    /// What follows when its patience is over without that.
    pub failed: Then,
}

const fn rung(step: Step, on: On, helped: Then, failed: Then) -> Rung {
    Rung { step, on, helped, failed }
}

/// By class: the rungs in order. What a rung asks for first stands in `prepare`.
#[rustfmt::skip]
pub const LADDERS: &[(Class, &[Rung])] = {
    use On::{Candidate, Canary, Leader, Lease, Leftovers, Subject};
    use Step::{
        DeleteAbandoned, MarkBeingDeleted, Nudge, ReleaseLease, RemoveContentFinalizer, RemoveIntoOrphanLedger,
        RemoveProvisionerFinalizer, RemoveRetainedFinalizer, RestartCandidate, RestartLeader,
    };
    use Then::{Climb, Repaired, Stop};
    &[
        //                            step                        on         helped    failed
        (Class::OrphanedContent, &[
            rung(MarkBeingDeleted,           Subject,   Repaired, Climb),
            rung(RemoveRetainedFinalizer,    Subject,   Repaired, Stop),
        ]),
        (Class::MissedEvent, &[
            rung(Nudge,                      Subject,   Repaired, Climb),
            rung(RemoveRetainedFinalizer,    Subject,   Repaired, Stop),
        ]),
        (Class::StillCreating, &[
            rung(Nudge,                      Subject,   Repaired, Stop),
        ]),
        (Class::DeletedNotReleased, &[
            rung(Nudge,                      Subject,   Repaired, Climb),
            rung(RemoveContentFinalizer,     Subject,   Repaired, Stop),
        ]),
        (Class::ProvisionerOrphan, &[
            rung(RemoveProvisionerFinalizer, Subject,   Repaired, Stop),
        ]),
        (Class::OperationLocked, &[
            rung(RestartLeader,              Leader,    Climb,    Stop),
            rung(Nudge,                      Subject,   Repaired, Stop),
        ]),
        (Class::StaleLeader, &[
            rung(RestartCandidate,           Candidate, Repaired, Climb),
            rung(ReleaseLease,               Lease,     Repaired, Stop),
        ]),
        (Class::DriverDegraded, &[
            rung(RestartLeader,              Leader,    Climb,    Stop),
            rung(Nudge,                      Canary,    Climb,    Stop),
            rung(Nudge,                      Leftovers, Repaired, Stop),
        ]),
        (Class::DriverUnknown, &[
            rung(RemoveRetainedFinalizer,    Subject,   Repaired, Climb),
            rung(RemoveIntoOrphanLedger,     Subject,   Repaired, Stop),
        ]),
        (Class::AbandonedContent, &[
            rung(DeleteAbandoned,            Subject,   Climb,    Stop),
            rung(MarkBeingDeleted,           Subject,   Repaired, Stop),
        ]),
    ]
};

/// The ladder of a class; empty for what is only reported.
#[must_use]
pub fn ladder(class: Class) -> &'static [Rung] {
    LADDERS.iter().find(|(of, _)| *of == class).map_or(&[], |(_, rungs)| *rungs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_somebody_else_has_no_ladder() {
        let left_alone: Vec<&str> =
            Class::ALL.into_iter().filter(|class| ladder(*class).is_empty()).map(Class::as_str).collect();
        assert_eq!(
            left_alone,
            [
                "ControllerDown",
                "DriverGone",
                "BackendError",
                "SecretMissing",
                "CreateStuck",
                "Unexplained",
                "DriverMismatch",
                "SourcePinned",
                "AwaitingSnapshot",
                "ForeignFinalizer",
                "GroupMember",
                "RestoreInProgress",
                "WaitingForContent",
                "Retrying",
            ]
        );
    }

    #[test]
    fn each_class_stands_once_and_no_ladder_climbs_beyond_its_end_by_success() {
        let mut seen = std::collections::BTreeSet::new();
        for (class, rungs) in LADDERS {
            assert!(seen.insert(class) && !rungs.is_empty(), "{class}");
            assert_eq!(rungs.last().unwrap().helped, Then::Repaired, "{class}");
            assert_ne!(rungs.last().unwrap().failed, Then::Climb, "{class}");
        }
    }

    #[test]
    fn a_finalizer_is_removed_only_after_something_smaller_where_that_exists() {
        for (class, rungs) in LADDERS {
            let first = rungs[0].step;
            let removes = matches!(first, Step::RemoveContentFinalizer | Step::ReleaseLease);
            assert!(!removes, "{class}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for step in Step::ALL {
            assert_eq!(Step::from_name(step.as_str()), Some(step));
        }
        assert_eq!(Step::from_name("nudge"), None);
    }

    #[test]
    fn rooks_leaders_are_given_the_time_that_they_take() {
        let rook =
            Timing { timeout: Duration::from_secs(150), lease_retry: Duration::from_secs(26), ..Timing::default() };
        assert_eq!(settling(&rook, Duration::from_secs(137)).as_secs(), 344);
    }
}
