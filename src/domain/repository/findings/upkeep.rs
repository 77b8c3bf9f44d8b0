//! Whether maintenance happens, and who else does it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Again, Class, Draft, Owner, later, named};
use crate::domain::repository::Task;
use crate::domain::repository::agenda::{Case, Seen};
use crate::domain::repository::rules::Custody;

/// Kopia's own interval of the large cycle, for a record that names none.
const CYCLE: Duration = Duration::from_secs(24 * 3600);
/// Nothing is overdue before this: a verification may keep maintenance waiting for hours.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Ownership that comes and goes within this goes to and fro; and so long is a run remembered that was not ours.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// Times of a schedule that are looked through for two at which maintenance could begin.
const SLOTS: usize = 200;

fn ours(case: Case<'_>, seen: &Seen) -> bool {
    seen.owner.as_deref().is_some_and(|owner| case.us.is(owner))
}

/// The newest two times at which a task was due and could have begun; a time outside of all windows counts as that of the
/// next opening. None of them is looked for that is not after `base`.
fn due(custody: &Custody, task: Task, base: Timestamp, now: Timestamp) -> Option<[Timestamp; 2]> {
    let timer = custody.timer(task)?;
    let mut newest: Option<Timestamp> = None;
    let mut before = now;
    for _ in 0..SLOTS {
        let slot = timer.last(before)?;
        let begins = match custody.may_begin(slot) {
            Ok(()) => Some(slot),
            Err(opens) => opens,
        };
        if let Some(begins) = begins.filter(|begins| *begins <= now) {
            if begins <= base {
                return None;
            }
            match newest {
                None => newest = Some(begins),
                Some(newest) if begins < newest => return Some([begins, newest]),
                Some(_) => {}
            }
        }
        before = slot.checked_sub(SignedDuration::from_secs(1)).ok()?;
    }
    None
}

/// Ours by its schedule, and everybody else's by kopia's own record.
pub(super) fn overdue(case: Case<'_>) -> Option<Draft> {
    let seen = case.told.seen.as_ref()?;
    let scheduled = |task: &Task| case.custody.timer(*task).is_some();
    if ours(case, seen) && [Task::Full, Task::Quick].iter().any(scheduled) {
        return [Task::Full, Task::Quick].into_iter().find_map(|task| late(case, task));
    }
    let limit = seen.cycle.unwrap_or(CYCLE).saturating_mul(2);
    let due = later(seen.last_maintenance.or(case.told.created)?, limit);
    let (who, mends) = match seen.owner.as_deref() {
        Some(owner) if ours(case, seen) => (format!("{owner} (us)"), "give it spec.schedules.quick and full"),
        Some(owner) => (owner.to_owned(), "look at whoever that is, or approve once that we become the owner"),
        None => ("nobody".to_owned(), "approve once that we become the owner"),
    };
    let last = seen.last_maintenance.map_or_else(|| "never".to_owned(), |last| format!("last at {last}"));
    let said = format!("by kopia's record maintenance has happened {last}; its owner is {who}: {mends}");
    (due < seen.at?).then(|| Draft::new(Class::MaintenanceOverdue, due, said))
}

fn late(case: Case<'_>, task: Task) -> Option<Draft> {
    let told = case.told;
    let success = |task: Task| told.tasks.get(&task).and_then(|one| one.last_success);
    // The large cycle keeps the index short, too.
    let done = if task == Task::Quick { success(Task::Quick).max(success(Task::Full)) } else { success(task) };
    let base = done.into_iter().chain(told.owned_since).chain(told.created).max()?;
    let [first, _] = due(case.custody, task, base, case.now)?;
    if later(base, DAY) > case.now {
        return None;
    }
    let last = done.map_or_else(|| "never".to_owned(), |at| format!("last at {at}"));
    let why = match told.tasks.get(&task).and_then(|one| one.failure.as_ref()) {
        Some(failure) => format!("; its newest Job: {}", failure.said),
        None if case.custody.rules().suspended => "; spec.suspend holds it".to_owned(),
        None => "; the condition Ready says what holds it".to_owned(),
    };
    let said = format!("{task} maintenance has happened {last}, and two of its times have passed since{why}");
    Some(Draft::new(Class::MaintenanceOverdue, first, said))
}

/// We were the owner, and somebody else is.
pub(super) fn owner_lost(case: Case<'_>) -> Option<Draft> {
    let told = case.told;
    let seen = told.seen.as_ref().filter(|seen| !ours(case, seen))?;
    let owned = told.owned_since?;
    let since = told.owners.last().filter(|last| last.since > owned).map(|last| last.since);
    let who = seen.owner.as_deref().unwrap_or("nobody");
    let said = format!(
        "we became the owner of maintenance at {owned}, and now {who} is: somebody took it, and it is never taken back by \
         itself; let one manager be, or approve anew that we become the owner"
    );
    Some(Draft::new(Class::MaintenanceOwnerLost, since, said))
}

/// Two who manage one repository: an object of another manager's, ownership that goes to and fro, runs under our own name
/// that are not ours, or policies that somebody sets back.
pub(super) fn two_managers(case: Case<'_>) -> Option<Draft> {
    let told = case.told;
    let seen = told.seen.as_ref();
    let maintains = [Task::Quick, Task::Full].iter().any(|task| case.custody.timer(*task).is_some());
    let mut reasons = Vec::new();
    let mut since = Vec::new();
    if let Some(rival) = case.rival.filter(|_| maintains || seen.is_some_and(|seen| ours(case, seen))) {
        reasons.push(format!("{rival} serves it, too"));
    }
    if let Some((words, first)) = to_and_fro(&told.owners, case.now) {
        reasons.push(words);
        since.push(first);
    }
    if let Some(run) = told.stranger.filter(|run| later(*run, WEEK) > case.now) {
        reasons.push(format!("maintenance ended well at {run} under our own name, and no Job of ours did that"));
        since.push(run);
    }
    if !reasons.is_empty() {
        reasons.push(
            "kopia has no lock between machines, and two that maintain at once can damage it: suspend one of them"
                .to_owned(),
        );
    }
    if let Some(Again { targets, since: first, at }) = &told.again {
        reasons.push(format!(
            "at {at} these had to be set as they had been before, since somebody sets them back: {}; VolSync's retain does so \
             after each backup: name a source there or in spec.retention, not in both",
            named(targets)
        ));
        since.push(*first);
    }
    if reasons.is_empty() {
        return None;
    }
    Some(Draft::new(Class::TwoManagers, since.into_iter().min(), reasons.join("; ")))
}

/// An owner that came back after another one, within a week.
fn to_and_fro(owners: &[Owner], now: Timestamp) -> Option<(String, Timestamp)> {
    let newest = owners.last()?;
    let recent = |one: &&Owner| later(one.since, WEEK) > now;
    // Who was the owner when the week began is part of it.
    let first = owners.iter().position(|one| recent(&one)).unwrap_or(owners.len()).saturating_sub(1);
    let week: Vec<&Owner> = owners.iter().skip(first).collect();
    let back = |one: &Owner| week.iter().filter(|other| other.owner == one.owner).count() > 1;
    if !week.iter().any(|one| back(one)) {
        return None;
    }
    let names: Vec<&str> = week.iter().map(|one| one.owner.as_deref().unwrap_or("nobody")).collect();
    let second = week.get(1).map_or(newest.since, |one| one.since);
    Some((format!("its ownership goes to and fro: {}", names.join(", then ")), second))
}
