//! The daemon's parts beside the engine's loop, wired once for the daemon and for the demo: prober, hands, lease,
//! the fence, the policies' status, watches.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::crew::Crew;
use super::fence::watch_fence;
use super::prune::Pruner;
use super::repository::{Home, Keeper};
use crate::domain::fact::Fact;
use crate::domain::gate::Gate;
use crate::driver::{Clock, Ends, Handle};
use crate::io::client::Client;
use crate::io::gate::Asker;
use crate::io::lease::{self, Seat};
use crate::io::report::Reporter;
use crate::io::trace::Traces;
use crate::io::{act, probe, watch as watches};

/// How often the policies' status is brought up to date.
const STANDINGS: Duration = Duration::from_secs(10);
/// So much of the lease has to be left for that; and so long may each write take.
const LEAST_LEASE: Duration = Duration::from_secs(3);

/// How often each gate is asked, and how soon after a policy came that has one.
const GATES: Duration = Duration::from_secs(20);
const NEW_GATE: Duration = Duration::from_secs(1);
/// Questions under way at the same time.
const GATES_AT_ONCE: usize = 8;

/// Everything that is needed to begin.
pub(super) struct Staff {
    pub(super) client: Client,
    pub(super) clock: Clock,
    /// What the engine's loop left open.
    pub(super) ends: Ends,
    /// Our lease, and who we are.
    pub(super) seat: Seat,
    /// Events are written too.
    pub(super) events: bool,
    /// Who takes traces.
    pub(super) traces: Option<Traces>,
    /// Where Jobs for kopia repositories are made from, if they are.
    pub(super) home: Option<Home>,
}

impl Staff {
    /// Sets them to work until `stop` turns true.
    pub(super) fn begin(self, crew: &mut Crew, stop: watch::Receiver<bool>) {
        let Self { client, clock, ends: Ends { handle, facts, probes, errands }, seat, events, traces, home } = self;
        let (prober, answers) = (client.clone(), facts.clone());
        crew.spawn("the prober", async move {
            probe::run(prober, probes, answers).await;
            "nobody asks it any more".to_owned()
        });
        let (lease, until) = watch::channel(None);
        crew.spawn("the policies' status", tell_policies(client.clone(), handle.clone(), until.clone(), clock.clone()));
        let asked = (client.clone(), seat.namespace.clone(), facts.clone(), until.clone(), clock.clone());
        crew.spawn("the fence's watch", async move {
            let (client, namespace, facts, lease, clock) = asked;
            watch_fence(client, namespace, facts, lease, clock).await
        });
        let pruning = handle.clone();
        crew.spawn("the gates", ask_gates(handle, facts.clone()));
        let reporter = Reporter::new(client.clone(), seat.rules.identity.clone(), events, traces);
        let identity = seat.rules.identity.clone();
        let teller = Reporter::new(client.clone(), identity.clone(), events, None);
        let pruner = Pruner::new(client.clone(), pruning, until.clone(), clock.clone(), identity.clone(), teller);
        crew.spawn("the pruning", pruner.run());
        if let Some(home) = home {
            let teller = Reporter::new(client.clone(), identity, events, None);
            let keeper = Keeper::new(client.clone(), until.clone(), clock.clone(), home, teller);
            crew.spawn("the kopia repositories", keeper.run());
        }
        let (hands, outcomes, time) = (client.clone(), facts.clone(), clock.clone());
        crew.spawn("the hands", async move {
            act::run(hands, errands, outcomes, until, time, reporter).await;
            "nobody wants anything written any more".to_owned()
        });
        let (seated, leadership) = (client.clone(), facts.clone());
        // It gives the lease up when it is told to stop: the other replica need not wait it out.
        crew.spawn_finishing("the lease", async move {
            lease::run(seated, seat, clock, leadership, lease, stop).await;
            "it was told to stop, or nobody wants to know who leads any more".to_owned()
        });
        watches::spawn(client, facts, &mut crew.tasks);
    }
}

/// Asks the gates of all policies, whoever leads: who takes over knows them already.
pub(super) async fn ask_gates(desk: Handle, facts: mpsc::Sender<Fact>) -> String {
    let asker = Asker::default();
    let mut when: BTreeMap<Gate, Instant> = BTreeMap::new();
    loop {
        let Some(mut gates) = desk.gates().await else { return "the engine's loop has ended".to_owned() };
        when.retain(|gate, at| gates.contains(gate) && at.elapsed() < GATES);
        gates.retain(|gate| !when.contains_key(gate));
        when.extend(gates.iter().map(|gate| (gate.clone(), Instant::now())));
        let asking = gates.into_iter().map(|gate| async { (asker.ask(&gate).await, gate) });
        let mut answers = stream::iter(asking).buffer_unordered(GATES_AT_ONCE);
        while let Some((said, gate)) = answers.next().await {
            if facts.send(Fact::Gate(gate, said)).await.is_err() {
                return "nobody wants to know what they say".to_owned();
            }
        }
        sleep(NEW_GATE).await;
    }
}

/// Who leads says in each policy's status how it stands.
async fn tell_policies(client: Client, desk: Handle, lease: watch::Receiver<Option<Duration>>, clock: Clock) -> String {
    let leads = || lease.borrow().is_some_and(|until| until > clock.now().mono + LEAST_LEASE);
    loop {
        clock.sleep_until(clock.now().mono + STANDINGS).await;
        if !leads() {
            continue;
        }
        let Some(all) = desk.standings().await else { return "the engine's loop has ended".to_owned() };
        for (policy, standing) in all {
            // Each write takes a while, and there may be many.
            if leads() {
                act::tell(&client, &policy, &standing, clock.now().wall, LEAST_LEASE).await;
            }
        }
    }
}
