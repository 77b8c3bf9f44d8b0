//! client-go's leader election, as the CSI sidecars use it.
//!
//! A candidate trusts its own clock only: it waits one lease duration from when *it* saw the lease change last.
//! A holder that dies says nothing, so its lease stands until then; that wait is what people see as an outage.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::actors::object;
use super::process::{Context, Written};
use super::recorder::{Recorder, Type};
use super::store::Part;
use super::store::table::LEASES;

/// How a program stands for election.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lock's name before it is made fit for a Lease.
    pub lock: String,
    /// The Lease's namespace.
    pub namespace: String,
    /// The host name: of the pod, or of the node in its network.
    pub host: String,
    /// How long a lease holds.
    pub duration: Duration,
    /// How long a leader tries to renew before it gives up.
    pub renew_deadline: Duration,
    /// The time between two tries.
    pub retry: Duration,
}

impl Options {
    /// The sidecars' own defaults: 15, 10 and 5 seconds.
    #[must_use]
    pub fn new(lock: impl Into<String>, namespace: impl Into<String>, host: impl Into<String>) -> Self {
        let seconds = Duration::from_secs;
        Self {
            lock: lock.into(),
            namespace: namespace.into(),
            host: host.into(),
            duration: seconds(15),
            renew_deadline: seconds(10),
            retry: seconds(5),
        }
    }

    /// The times that Rook and the operator of ceph-csi set: 137, 107 and 26 seconds.
    #[must_use]
    pub fn with_rook_times(self) -> Self {
        let seconds = Duration::from_secs;
        Self { duration: seconds(137), renew_deadline: seconds(107), retry: seconds(26), ..self }
    }
}

/// A name fit for a Lease or a holder identity.
#[must_use]
pub fn sanitized(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let mut name: String = name.chars().map(fit).collect();
    if name.ends_with('-') {
        name.push('X');
    }
    name
}

/// What an election came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It leads from now on.
    Began,
    /// It leads no longer, and must exit.
    Lost,
}

/// A candidate, or the leader.
#[derive(Debug)]
pub struct Elector {
    options: Options,
    identity: String,
    recorder: Recorder,
    /// The lease as it was when it changed last, and when that was seen.
    observed: Option<(Arc<Value>, Duration)>,
    /// While it leads: when it gives up unless a renewal succeeds.
    gives_up_at: Option<Duration>,
    timer: u64,
}

impl Elector {
    /// A candidate that has not tried yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let recorder = Recorder::new(format!("{}/{}", options.lock, options.host));
        let identity = sanitized(&options.host);
        Self { options, identity, recorder, observed: None, gives_up_at: None, timer: 0 }
    }

    /// It leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.gives_up_at.is_some()
    }

    /// Its first try.
    pub fn start(&mut self, ctx: &mut Context<'_>) -> Option<Turn> {
        let line =
            format!("Attempting to acquire leader lease... lock=\"{}/{}\"", self.options.namespace, self.lease());
        ctx.klog('I', "leaderelection.go:258", &line);
        self.acquire(ctx)
    }

    /// A timer of the process ran out; it may be ours.
    pub fn timer(&mut self, ctx: &mut Context<'_>, timer: u64) -> Option<Turn> {
        if timer != self.timer {
            return None;
        }
        if self.leads() { self.renew(ctx) } else { self.acquire(ctx) }
    }

    fn acquire(&mut self, ctx: &mut Context<'_>) -> Option<Turn> {
        if !self.try_once(ctx) {
            let jitter = 1.0 + 1.2 * ctx.rng().f64();
            self.timer = ctx.set_timer(self.options.retry.mul_f64(jitter));
            return None;
        }
        self.say(ctx, "became leader");
        ctx.klog('I', "leaderelection.go:272", "Successfully acquired lease");
        self.renewed(ctx);
        Some(Turn::Began)
    }

    fn renew(&mut self, ctx: &mut Context<'_>) -> Option<Turn> {
        if self.try_once(ctx) {
            self.renewed(ctx);
            return None;
        }
        if self.gives_up_at.is_some_and(|at| ctx.now().mono < at) {
            self.timer = ctx.set_timer(self.options.retry);
            return None;
        }
        self.gives_up_at = None;
        self.say(ctx, "stopped leading");
        ctx.klog('I', "leaderelection.go:297", "Failed to renew lease");
        Some(Turn::Lost)
    }

    fn renewed(&mut self, ctx: &mut Context<'_>) {
        // The deadline runs from the next try, which is one retry period away.
        self.gives_up_at = Some(ctx.now().mono + self.options.retry + self.options.renew_deadline);
        self.timer = ctx.set_timer(self.options.retry);
    }

    /// Takes the lease, or renews it, if nobody else has it.
    fn try_once(&mut self, ctx: &mut Context<'_>) -> bool {
        let (namespace, name) = (self.options.namespace.clone(), self.lease());
        let Ok(lease) = ctx.get(LEASES, &namespace, &name) else {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": namespace},
                "spec": self.spec(ctx, None),
            });
            let written = ctx.create(LEASES, &namespace, lease);
            return self.keep(ctx, written, "Error initially creating lease lock");
        };
        let now = ctx.now().mono;
        let same = |seen: &Arc<Value>| Arc::ptr_eq(seen, &lease) || seen.get("spec") == lease.get("spec");
        if self.observed.as_ref().is_none_or(|(seen, _)| !same(seen)) {
            self.observed = Some((Arc::clone(&lease), now));
        }
        let holder = object::text(&lease, "/spec/holderIdentity");
        let seen = self.observed.as_ref().map_or(now, |(_, at)| *at);
        let holds = object::at(&lease, "/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or_default();
        if !holder.is_empty() && holder != self.identity && now < seen + Duration::from_secs(holds) {
            return false;
        }
        let mut mine = Value::clone(&lease);
        if let Some(fields) = mine.as_object_mut() {
            fields.insert("spec".to_owned(), self.spec(ctx, Some(lease.get("spec").unwrap_or(&Value::Null))));
        }
        let written = ctx.replace(LEASES, Part::Object, mine);
        self.keep(ctx, written, "Failed to update lock")
    }

    fn keep(&mut self, ctx: &mut Context<'_>, written: Written, complaint: &str) -> bool {
        match written {
            Ok(lease) => {
                self.observed = Some((lease, ctx.now().mono));
                true
            }
            Err(refusal) => {
                ctx.klog('E', "leaderelection.go:448", &format!("\"{complaint}\" err=\"{refusal}\""));
                false
            }
        }
    }

    fn spec(&self, ctx: &Context<'_>, old: Option<&Value>) -> Value {
        let now = object::micros(ctx.now().wall);
        let transitions = |spec: &Value| spec.get("leaseTransitions").and_then(Value::as_u64).unwrap_or_default();
        let (acquired, transitions) = match old {
            None => (now.clone(), 0),
            Some(spec) if object::text(spec, "/holderIdentity") == self.identity => {
                (object::text(spec, "/acquireTime").to_owned(), transitions(spec))
            }
            Some(spec) => (now.clone(), transitions(spec) + 1),
        };
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.options.duration.as_secs(),
            "acquireTime": acquired,
            "renewTime": now,
            "leaseTransitions": transitions,
        })
    }

    fn say(&mut self, ctx: &mut Context<'_>, what: &str) {
        let Ok(lease) = ctx.get(LEASES, &self.options.namespace, &self.lease()) else { return };
        let message = format!("{} {what}", self.identity);
        self.recorder.event(ctx, (LEASES, &lease), Type::Normal, "LeaderElection", &message);
    }

    fn lease(&self) -> String {
        sanitized(&self.options.lock)
    }
}
