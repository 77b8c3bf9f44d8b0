//! The guards before a deletion by a SnapshotRetention: a table of their own, with the names of the others.
//!
//! Which object may go was decided by a plan; whether this deletion may be sent now is decided here, by what the
//! engine sees at this moment. Only [`pass`] makes a [`GuardedPrune`], the one thing for which `io::act` deletes a
//! VolumeSnapshot of a user's, a retained content, or what VolSync left.

use std::time::Duration;

use super::{Alerts, Guard, Judgement, Standing, Verdict};
use crate::domain::fact::Now;
use crate::domain::policy::Mode;
use crate::domain::prune::run::{Ask, Order};
use crate::domain::remedy::action::ACT;
use crate::domain::words;

/// What has to be left of our lease beyond the time a deletion may take.
const MARGIN: Duration = Duration::from_secs(1);

/// Everything the guards look at.
#[derive(Clone, Debug)]
pub struct PruneCase<'a> {
    /// The present.
    pub now: Now,
    /// The deletion, with what its policy says.
    pub ask: &'a Ask,
    /// Why sources cannot be relied on that the decision rests on.
    pub doubts: Vec<String>,
    /// How much of our own lease is left; `None`: we do not hold it.
    pub lease_left: Option<Duration>,
    /// Why the fence is not taken to stand, where it has to.
    pub unfenced: Option<String>,
    /// What says stop.
    pub pauses: Vec<String>,
    /// Uses of the object.
    pub uses: Vec<String>,
    /// The driver's csi-snapshotter.
    pub snapshotter: Standing,
    /// snapshot-controller.
    pub controller: Standing,
    /// Why the driver is to be left alone.
    pub storm: Option<String>,
    /// The configured alerts.
    pub alerts: Alerts,
    /// Those of its volume that were to stay, and are not there and ready.
    pub missing: Vec<String>,
    /// Why more would be lost by it now than when the plan was made.
    pub threats: Vec<String>,
}

/// A policy that was not read for so long lets nothing more go.
const UNREAD: Duration = Duration::from_secs(30);

type Check = fn(&PruneCase<'_>) -> Verdict;

/// Every guard that stands before a deletion, in the order in which they are asked.
pub const TABLE: [(Guard, Check); 13] = [
    (Guard::Synced, synced),
    (Guard::Leader, leader),
    (Guard::Fence, fence),
    (Guard::Mode, mode),
    (Guard::Paused, paused),
    (Guard::Scope, scope),
    (Guard::Quiet, quiet),
    (Guard::Controller, controller),
    (Guard::Storm, storm),
    (Guard::Budget, budget),
    (Guard::Window, window),
    (Guard::Alerts, alerts),
    (Guard::Consequence, consequence),
];

fn synced(case: &PruneCase<'_>) -> Verdict {
    let Ask { policy, unread, .. } = case.ask;
    if *unread > UNREAD {
        // It may have been suspended meanwhile, or an approval taken back.
        return Verdict::wait(None, format!("policy {policy} was not read for {}", words::short(*unread)));
    }
    if case.doubts.is_empty() { Verdict::Allow } else { Verdict::wait(None, case.doubts.join("; ")) }
}

fn leader(case: &PruneCase<'_>) -> Verdict {
    match case.lease_left {
        None => Verdict::wait(None, "this replica does not lead"),
        Some(left) if left < ACT + MARGIN => Verdict::wait(
            None,
            format!("{} of the lease are left, and a write needs {}", words::short(left), words::short(ACT + MARGIN)),
        ),
        Some(_) => Verdict::Allow,
    }
}

fn fence(case: &PruneCase<'_>) -> Verdict {
    case.unfenced.as_ref().map_or(Verdict::Allow, |why| Verdict::wait(None, why))
}

fn mode(case: &PruneCase<'_>) -> Verdict {
    let Ask { policy, mode, approved, order, .. } = case.ask;
    match mode {
        Mode::Enforce if order.part.only_by_approval() && !approved => {
            Verdict::wait(None, format!("{} go only by an approval", order.part))
        }
        Mode::Enforce => Verdict::Allow,
        Mode::Approve if *approved => Verdict::Allow,
        Mode::Approve => {
            Verdict::wait(None, format!("policy {policy} is in mode Approve, and this plan is not approved"))
        }
        Mode::Observe => Verdict::refuse(format!("policy {policy} is in mode Observe")),
    }
}

fn paused(case: &PruneCase<'_>) -> Verdict {
    if case.ask.suspended {
        return Verdict::wait(None, format!("policy {} is suspended or paused", case.ask.policy));
    }
    if case.pauses.is_empty() { Verdict::Allow } else { Verdict::wait(None, case.pauses.join("; ")) }
}

fn scope(case: &PruneCase<'_>) -> Verdict {
    let Ask { policy, order, in_scope, .. } = case.ask;
    if *in_scope {
        return Verdict::Allow;
    }
    let driver = order.driver.as_deref().unwrap_or("of nobody");
    Verdict::refuse(format!("policy {policy} does not name driver {driver}"))
}

fn quiet(case: &PruneCase<'_>) -> Verdict {
    match case.uses.as_slice() {
        [] => Verdict::Allow,
        [first, ..] => Verdict::wait(None, first.clone()),
    }
}

/// Both have to finish the job: without them the object would only pile up.
fn controller(case: &PruneCase<'_>) -> Verdict {
    for (name, standing) in [("csi-snapshotter", &case.snapshotter), ("snapshot-controller", &case.controller)] {
        match standing {
            Standing::Alive => {}
            Standing::Unknown(why) => {
                return Verdict::wait(None, format!("whether {name} works cannot be told: {why}"));
            }
            Standing::Dead(why) => return Verdict::wait(None, format!("{name} does not work: {why}")),
        }
    }
    Verdict::Allow
}

fn storm(case: &PruneCase<'_>) -> Verdict {
    case.storm.as_ref().map_or(Verdict::Allow, |why| Verdict::wait(None, why.clone()))
}

fn budget(case: &PruneCase<'_>) -> Verdict {
    let Ask { sent, limit, sent_in_minute, per_minute, order, .. } = case.ask;
    if sent >= limit {
        return Verdict::wait(None, format!("{sent} of {limit} deletions of a run are used"));
    }
    if sent_in_minute >= per_minute {
        let driver = order.driver.as_deref().unwrap_or("what has no driver");
        let reason = format!("{sent_in_minute} of {per_minute} deletions in a minute are used for {driver}");
        return Verdict::wait(None, reason);
    }
    Verdict::Allow
}

fn window(case: &PruneCase<'_>) -> Verdict {
    match case.ask.window {
        Ok(()) => Verdict::Allow,
        Err(None) => Verdict::refuse("no maintenance window ever opens"),
        Err(Some(opens)) => {
            Verdict::wait(Some(opens), format!("outside of the maintenance window, which opens at {opens}"))
        }
    }
}

fn alerts(case: &PruneCase<'_>) -> Verdict {
    match &case.alerts {
        Alerts::Quiet => Verdict::Allow,
        Alerts::Firing(name) => Verdict::wait(None, format!("alert {name} says hold")),
        Alerts::Unasked(why) => Verdict::wait(None, format!("alerts cannot be asked: {why}")),
    }
}

/// What was to stay when the plan was made has to be there still: somebody may have deleted it meanwhile.
fn consequence(case: &PruneCase<'_>) -> Verdict {
    if let Some(threat) = case.threats.first() {
        return Verdict::refuse(format!("{threat}: it is planned anew"));
    }
    match case.missing.as_slice() {
        [] => Verdict::Allow,
        [first, ..] => Verdict::refuse(format!("{first} was to stay, and is not there and ready: it is planned anew")),
    }
}

/// A deletion that every guard has let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedPrune {
    order: Order,
    deadline: Duration,
}

impl GuardedPrune {
    /// The deletion.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Whatever is not sent and answered by then, on the monotonic clock, must not be sent any more.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }
}

/// Lets a deletion pass if every guard allows it; what they say either way.
#[must_use]
pub fn pass(case: &PruneCase<'_>) -> (Judgement, Option<GuardedPrune>) {
    let judgement = Judgement(TABLE.iter().map(|(guard, check)| (*guard, check(case))).collect());
    let left = case.lease_left.filter(|_| judgement.held_by().is_none());
    let deadline = |left: Duration| case.now.mono + ACT.min(left);
    let guarded = left.map(|left| GuardedPrune { order: case.ask.order.clone(), deadline: deadline(left) });
    (judgement, guarded)
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::name::{Key, Uid};
    use crate::domain::prune::part::Part;
    use crate::domain::prune::relic::{Kept, Thing};

    fn ask() -> Ask {
        Ask {
            order: Order {
                part: Part::Snapshots,
                thing: Thing::Snapshot,
                key: Key::namespaced("app", "db-1"),
                uid: Uid::parse("u"),
                version: "7".into(),
                content: Some(Key::cluster("c")),
                driver: Some("d".into()),
                staying: [].into(),
                kept: None,
                temporary: None,
            },
            policy: "p".into(),
            mode: Mode::Enforce,
            approved: false,
            suspended: false,
            in_scope: true,
            sent: 0,
            limit: 10,
            sent_in_minute: 0,
            per_minute: 10,
            unread: UNREAD,
            window: Ok(()),
        }
    }

    fn case(ask: &Ask) -> PruneCase<'_> {
        PruneCase {
            now: Now { wall: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(100) },
            ask,
            doubts: Vec::new(),
            lease_left: Some(Duration::from_secs(9)),
            unfenced: None,
            pauses: Vec::new(),
            uses: Vec::new(),
            snapshotter: Standing::Alive,
            controller: Standing::Alive,
            storm: None,
            alerts: Alerts::Quiet,
            missing: Vec::new(),
            threats: Vec::new(),
        }
    }

    /// A pass for `app/db-1`, given at this monotonic time with 9 s of the lease left; or for what is made of it.
    pub(crate) fn passed(at: Duration, change: impl FnOnce(&mut Order)) -> GuardedPrune {
        let mut ask = ask();
        change(&mut ask.order);
        let case = case(&ask);
        pass(&PruneCase { now: Now { mono: at, ..case.now }, ..case }).1.unwrap()
    }

    /// Makes an order one for a retained content `c`.
    pub(crate) fn content(order: &mut Order) {
        order.part = Part::FailedSnapshots;
        order.thing = Thing::Content;
        order.key = Key::cluster("c");
        order.content = None;
        let snapshot = Some((Key::namespaced("app", "db-1"), Uid::parse("gone")));
        order.kept = Some(Kept { snapshot, retained: true, ..Kept::default() });
    }

    #[test]
    fn what_nothing_holds_passes_until_its_deadline() {
        let ask = ask();
        let (judgement, guarded) = pass(&case(&ask));
        assert_eq!(judgement.verdicts().len(), TABLE.len());
        let guarded = guarded.unwrap();
        assert_eq!((guarded.order(), guarded.deadline()), (&ask.order, Duration::from_secs(105)));
    }

    #[test]
    fn each_guard_holds_for_its_own_reason_alone() {
        type Change = fn(&mut PruneCase<'_>);
        type Edit = fn(&mut Ask);
        let firing = Alerts::Firing("Ceph".to_owned());
        let dead = || Standing::Dead("gone".to_owned());
        let of_case: [(Guard, Change); 10] = [
            (Guard::Fence, |case| case.unfenced = Some("it does not stand".to_owned())),
            (Guard::Consequence, |case| case.missing.push("app/db-9".to_owned())),
            (Guard::Consequence, |case| case.threats.push("another content carries its handle".to_owned())),
            (Guard::Synced, |case| case.doubts.push("Claims are not listed yet".to_owned())),
            (Guard::Leader, |case| case.lease_left = None),
            (Guard::Leader, |case| case.lease_left = Some(Duration::from_secs(5))),
            (Guard::Paused, |case| case.pauses.push("ignored".to_owned())),
            (Guard::Quiet, |case| case.uses.push("a claim".to_owned())),
            (Guard::Controller, |case| case.controller = Standing::Unknown("early".to_owned())),
            (Guard::Storm, |case| case.storm = Some("d is degraded".to_owned())),
        ];
        let held = |case: &PruneCase<'_>| {
            let (judgement, guarded) = pass(case);
            assert!(guarded.is_none());
            let held: Vec<Guard> =
                judgement.verdicts().iter().filter(|(_, verdict)| !verdict.allows()).map(|(guard, _)| *guard).collect();
            held
        };
        for (guard, change) in of_case {
            let ask = ask();
            let mut case = case(&ask);
            change(&mut case);
            assert_eq!(held(&case), [guard]);
        }
        let plain = ask();
        assert_eq!(held(&PruneCase { snapshotter: dead(), ..case(&plain) }), [Guard::Controller]);
        assert_eq!(held(&PruneCase { alerts: firing, ..case(&plain) }), [Guard::Alerts]);
        let of_ask: [(Guard, Edit); 9] = [
            (Guard::Synced, |ask| ask.unread = UNREAD + Duration::from_secs(1)),
            (Guard::Mode, |ask| ask.order.part = Part::RetainedContents),
            (Guard::Mode, |ask| ask.mode = Mode::Observe),
            (Guard::Mode, |ask| ask.mode = Mode::Approve),
            (Guard::Paused, |ask| ask.suspended = true),
            (Guard::Scope, |ask| ask.in_scope = false),
            (Guard::Budget, |ask| ask.sent = 10),
            (Guard::Budget, |ask| ask.sent_in_minute = 10),
            (Guard::Window, |ask| ask.window = Err(None)),
        ];
        for (guard, change) in of_ask {
            let mut ask = ask();
            change(&mut ask);
            assert_eq!(held(&case(&ask)), [guard]);
        }
        let approved = Ask { mode: Mode::Approve, approved: true, ..ask() };
        assert!(pass(&case(&approved)).1.is_some());
    }
}
