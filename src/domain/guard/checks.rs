//! One function a guard. Each looks at its own fields of the case, and answers with a reason that a person on
//! call can act on.

use std::time::Duration;

use jiff::Timestamp;

use super::{Alerts, Backend, Case, Standing, Verdict};
use crate::domain::finding::Class;
use crate::domain::ledger::Approved;
use crate::domain::ledger::count::Fuse;
use crate::domain::policy::Mode;
use crate::domain::record::Kind;
use crate::domain::remedy::Step;
use crate::domain::remedy::action::{ACT, TargetKind};
use crate::domain::words;

/// What has to be left of our lease beyond the time an action may take.
const MARGIN: Duration = Duration::from_secs(1);

fn later(now: Timestamp, by: Duration) -> Option<Timestamp> {
    now.checked_add(by).ok()
}

pub(super) fn synced(case: &Case<'_>) -> Verdict {
    match case.doubts.as_slice() {
        [] => Verdict::Allow,
        doubts => Verdict::wait(None, doubts.join("; ")),
    }
}

pub(super) fn leader(case: &Case<'_>) -> Verdict {
    let needed = ACT + MARGIN;
    match case.lease_left {
        None => Verdict::wait(None, "this replica does not lead"),
        Some(left) if left < needed => Verdict::wait(
            None,
            format!("{} of the lease are left, and a write needs {}", words::short(left), words::short(needed)),
        ),
        Some(_) => Verdict::Allow,
    }
}

pub(super) fn fence(case: &Case<'_>) -> Verdict {
    case.unfenced.as_ref().map_or(Verdict::Allow, |why| Verdict::wait(None, why))
}

pub(super) fn mode(case: &Case<'_>) -> Verdict {
    let step = case.action.step;
    if case.mode == Mode::Observe {
        return Verdict::refuse(format!("policy {} is in mode Observe", case.policies));
    }
    if case.approved == Approved::Yes {
        return if case.switched_on || step.only_by_approval() {
            Verdict::Allow
        } else {
            Verdict::refuse(format!("step {step} is not switched on in policy {}", case.policies))
        };
    }
    if step.only_by_approval() {
        return Verdict::wait(None, unapproved(case.approved, "this step is only ever taken by approval"));
    }
    if !case.switched_on {
        return Verdict::refuse(format!("step {step} is not switched on in policy {}", case.policies));
    }
    match case.mode {
        Mode::Enforce => Verdict::Allow,
        Mode::Observe | Mode::Approve => {
            Verdict::wait(None, unapproved(case.approved, &format!("policy {} is in mode Approve", case.policies)))
        }
    }
}

fn unapproved(approved: Approved, why: &str) -> String {
    match approved {
        Approved::Expired(at) => {
            format!("{why}, and the approval of this plan expired at {at}: take it away and give it anew")
        }
        Approved::Another => format!("{why}, and what was approved is another plan: something has changed since"),
        Approved::No | Approved::Yes => format!("{why}, and nobody has approved this plan"),
    }
}

pub(super) fn paused(case: &Case<'_>) -> Verdict {
    if case.pauses.is_empty() {
        return Verdict::Allow;
    }
    let reasons: Vec<&str> = case.pauses.iter().map(|(reason, _)| reason.as_str()).collect();
    let ends: Option<Vec<Timestamp>> = case.pauses.iter().map(|(_, until)| *until).collect();
    Verdict::wait(ends.and_then(|ends| ends.into_iter().max()), reasons.join("; "))
}

pub(super) fn scope(case: &Case<'_>) -> Verdict {
    match &case.out_of_scope {
        None => Verdict::Allow,
        Some(why) => Verdict::refuse(why),
    }
}

pub(super) fn settled(case: &Case<'_>) -> Verdict {
    let seen = &case.seen;
    if seen.unverified {
        return Verdict::wait(None, "it rests on a look that was too short to be sure");
    }
    if seen.age < seen.floor {
        let until = later(case.now.wall, seen.floor.saturating_sub(seen.age));
        return Verdict::wait(
            until,
            format!("it has been so for {} and has to be for {}", words::short(seen.age), words::short(seen.floor)),
        );
    }
    if seen.times < seen.needed {
        return Verdict::wait(seen.next, format!("{} of {} fresh reads agree so far", seen.times, seen.needed));
    }
    Verdict::Allow
}

pub(super) fn quiet(case: &Case<'_>) -> Verdict {
    let step = case.action.step;
    let disturbed: Vec<&String> = if step.reaches_driver() {
        case.work.iter().collect()
    } else if matches!(step, Step::RemoveIntoOrphanLedger | Step::DeleteAbandoned) {
        case.restores.iter().chain(&case.uses).collect()
    } else {
        case.restores.iter().collect()
    };
    let Some(first) = disturbed.first() else { return Verdict::Allow };
    let more = if disturbed.len() > 1 { format!(" (and {} more)", disturbed.len() - 1) } else { String::new() };
    Verdict::wait(None, format!("{first}{more}"))
}

/// Who has to finish the job: csi-snapshotter, or for a VolumeSnapshot snapshot-controller.
pub(super) fn controller(case: &Case<'_>) -> Verdict {
    let of_snapshot = case.action.target.kind == TargetKind::Snapshot;
    let (name, standing) =
        if of_snapshot { ("snapshot-controller", &case.controller) } else { ("csi-snapshotter", &case.snapshotter) };
    match standing {
        Standing::Alive => Verdict::Allow,
        // A nudge or an annotation harms nobody, and waits for whoever may be there.
        Standing::Unknown(_) if !of_snapshot => Verdict::Allow,
        Standing::Unknown(why) => Verdict::wait(None, format!("whether {name} works cannot be told: {why}")),
        Standing::Dead(why) => Verdict::wait(None, format!("{name} does not work: {why}")),
    }
}

pub(super) fn backend(case: &Case<'_>) -> Verdict {
    match &case.backend {
        Backend::Healthy => Verdict::Allow,
        Backend::Trouble(why) => Verdict::wait(None, format!("{why}: a new process would hang as well")),
        Backend::Untold if case.assume_healthy => Verdict::Allow,
        Backend::Untold => Verdict::refuse(
            "no CephCluster tells whether the storage backend is healthy, and backend.assumeHealthy is not set",
        ),
    }
}

pub(super) fn storm(case: &Case<'_>) -> Verdict {
    // The driver's own ladder is what a storm is treated with.
    if case.action.subject.kind == Kind::CsiDriver {
        return Verdict::Allow;
    }
    let spared =
        matches!(case.action.class, Class::OrphanedContent | Class::DeletedNotReleased | Class::ProvisionerOrphan);
    if case.storm && !spared {
        return Verdict::wait(
            None,
            format!("{} is degraded: its objects are left alone until the driver is mended", case.action.driver),
        );
    }
    if let Some(failed) = case.batch.failed {
        let until = failed.checked_add(case.rest).ok().filter(|until| *until > case.now.wall);
        if until.is_some() {
            return Verdict::wait(
                until,
                format!("a repair of {} failed at {failed}: the batch rests", case.action.class),
            );
        }
    }
    let limit = if case.batch.repaired < case.first_singly { 1 } else { case.max_in_flight };
    if case.batch.in_flight >= limit {
        let class = case.action.class;
        return Verdict::wait(
            None,
            match limit {
                1 => format!("the first repairs of {class} are made one at a time, and one is under way"),
                _ => format!("{} repairs of {class} are under way", case.batch.in_flight),
            },
        );
    }
    Verdict::Allow
}

pub(super) fn budget(case: &Case<'_>) -> Verdict {
    if case.spent.used < case.limit {
        return Verdict::Allow;
    }
    let words = case.budget().words();
    let reason = format!("{} of {} {words} are used for {}", case.spent.used, case.limit, case.action.driver);
    if case.limit == 0 { Verdict::refuse(reason) } else { Verdict::wait(case.spent.frees, reason) }
}

pub(super) fn breaker(case: &Case<'_>) -> Verdict {
    let driver = &case.action.driver;
    if let Some(until) = case.rests {
        return Verdict::wait(
            Some(until),
            format!("the last repair of {} failed; it is left alone until {until}", case.action.subject),
        );
    }
    match case.fuse {
        Fuse::Closed => Verdict::Allow,
        Fuse::Open(until) => {
            Verdict::wait(Some(until), format!("repairs on {driver} keep failing; it is left alone until {until}"))
        }
        Fuse::HalfOpen if case.driver_in_flight == 0 => Verdict::Allow,
        Fuse::HalfOpen => {
            Verdict::wait(None, format!("repairs on {driver} kept failing; one is being tried, and decides"))
        }
    }
}

pub(super) fn window(case: &Case<'_>) -> Verdict {
    match case.window {
        Ok(()) => Verdict::Allow,
        Err(None) => Verdict::refuse("no maintenance window ever opens"),
        Err(Some(opens)) => {
            Verdict::wait(Some(opens), format!("outside of the maintenance window, which opens at {opens}"))
        }
    }
}

pub(super) fn alerts(case: &Case<'_>) -> Verdict {
    match &case.alerts {
        Alerts::Quiet => Verdict::Allow,
        Alerts::Firing(name) => Verdict::wait(None, format!("alert {name} says hold")),
        Alerts::Unasked(why) => Verdict::wait(None, format!("alerts cannot be asked: {why}")),
    }
}

pub(super) fn consequence(case: &Case<'_>) -> Verdict {
    if (!case.action.leaks && !case.action.destroys) || case.approved == Approved::Yes {
        return Verdict::Allow;
    }
    let what = match (case.action.leaks, case.action.destroys) {
        (true, true) => "it leaves a backend snapshot behind, and may destroy one that is another cluster's",
        (true, false) => "it leaves a backend snapshot behind",
        (false, _) => "it may destroy a backend snapshot that is another cluster's, or a last copy",
    };
    let why = if case.action.doubts.is_empty() {
        what.to_owned()
    } else {
        format!("{what} ({})", case.action.doubts.join("; "))
    };
    Verdict::wait(None, unapproved(case.approved, &why))
}
