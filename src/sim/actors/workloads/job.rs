//! Jobs: a pod until one succeeds, or until too many have failed.
//!
//! Each pod is counted exactly once, however often the controller dies in between: it carries a finalizer until
//! its uid has been written to `uncountedTerminatedPods`. The interim conditions (`SuccessCriteriaMet`,
//! `FailureTarget`) come before the final ones, so that a reader of either sees what the real ones write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{self, Said};
use super::owned::{self, items, number};
use super::{Key, Synced};
use crate::sim::actors::object;
use crate::sim::process::Context;
use crate::sim::recorder::{Recorder, Type};
use crate::sim::store::table::{JOBS, PODS};
use crate::sim::store::{DeleteOptions, Part, Patch, Propagation, Refusal};

/// The finalizer of pods that are not counted yet.
pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Wait after the first failed pod; it doubles with each.
const POD_BACKOFF: Duration = Duration::from_secs(10);
const MAX_POD_BACKOFF: Duration = Duration::from_secs(600);

const SUCCESS: [&str; 2] = ["SuccessCriteriaMet", "Complete"];
const FAILURE: [&str; 2] = ["FailureTarget", "Failed"];

/// The Job controller.
#[derive(Debug)]
pub(super) struct Jobs {
    recorder: Recorder,
    /// Failed pods since the last success, and when the last of them ended; by the Job's uid.
    failures: BTreeMap<String, (u32, Timestamp)>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { recorder: Recorder::new("job-controller"), failures: BTreeMap::new() }
    }
}

/// What one look at a Job works with.
struct Look {
    job: Arc<Value>,
    pods: Vec<Arc<Value>>,
    active: Vec<Arc<Value>>,
    /// Pods that have ended and still carry the finalizer.
    ended: Vec<Arc<Value>>,
    succeeded: i64,
    failed: i64,
}

/// How a Job ends: its interim and its final condition, and why.
struct End {
    conditions: [&'static str; 2],
    reason: &'static str,
    message: &'static str,
}

impl Jobs {
    pub(super) fn sync(&mut self, ctx: &mut Context<'_>, key: &Key) -> Synced {
        release_orphans(ctx, key)?;
        let Ok(job) = ctx.get(JOBS, &key.0, &key.1) else { return Ok(None) };
        if owned::has_condition(&job, SUCCESS[1]) || owned::has_condition(&job, FAILURE[1]) {
            self.failures.remove(object::uid(&job));
            return delete_when_over(ctx, &job);
        }
        let look = look(ctx, job);
        self.remember_failures(&look);
        let mut again = None;
        let mut end = end(&look);
        let mut active = look.active.clone();
        if end.is_some() {
            self.delete_pods(ctx, &look.job, std::mem::take(&mut active))?;
        } else {
            if !object::is_deleting(&look.job) {
                again = self.manage(ctx, &look, &mut active)?;
            }
            let completions = number(&look.job, "/spec/completions").unwrap_or(1);
            let message = "Reached expected number of succeeded pods";
            if look.succeeded >= completions && active.is_empty() {
                end = Some(End { conditions: SUCCESS, reason: "CompletionsReached", message });
            }
        }
        self.write(ctx, &look, &active, end)?;
        Ok(again)
    }

    /// Creates what is missing and deletes what is too much; when to look again, if it is too early.
    fn manage(&mut self, ctx: &mut Context<'_>, look: &Look, active: &mut Vec<Arc<Value>>) -> Synced {
        let job = &look.job;
        let left = number(job, "/spec/completions").unwrap_or(1) - look.succeeded;
        let suspended = job.pointer("/spec/suspend") == Some(&Value::Bool(true));
        let most = if suspended { 0 } else { number(job, "/spec/parallelism").unwrap_or(1) };
        let wanted = usize::try_from(left.min(most)).unwrap_or_default();
        if active.len() > wanted {
            let surplus = active.split_off(wanted);
            self.delete_pods(ctx, job, surplus)?;
        }
        while active.len() < wanted {
            if let Some(wait) = self.wait(job, ctx.now().wall) {
                return Ok(Some(wait));
            }
            let pod = ctx.create(PODS, object::namespace(job), pod(job))?;
            let message = format!("Created pod: {}", object::name(&pod));
            self.recorder.event(ctx, (JOBS, job), Type::Normal, "SuccessfulCreate", &message);
            active.push(pod);
        }
        Ok(None)
    }

    fn delete_pods(&mut self, ctx: &mut Context<'_>, job: &Value, pods: Vec<Arc<Value>>) -> Result<(), Refusal> {
        for pod in pods {
            ctx.delete(PODS, object::namespace(job), object::name(&pod), &DeleteOptions::default())?;
            let message = format!("Deleted pod: {}", object::name(&pod));
            self.recorder.event(ctx, (JOBS, job), Type::Normal, "SuccessfulDelete", &message);
        }
        Ok(())
    }

    /// The finalizers go between two writes: who has been counted, then how many.
    fn write(
        &mut self,
        ctx: &mut Context<'_>,
        look: &Look,
        active: &[Arc<Value>],
        end: Option<End>,
    ) -> Result<(), Refusal> {
        let (namespace, name) = (object::namespace(&look.job), object::name(&look.job));
        let at = ctx.now().wall;
        let mut said = items(&look.job, "/status/conditions").to_vec();
        if let Some(End { conditions: [interim, _], reason, message }) = &end {
            let said_now = Said { kind: interim, status: "True", reason, message };
            conditions::set(&mut said, at, &["lastProbeTime"], said_now);
        }
        let (lost, succeeded): (Vec<_>, Vec<_>) = look.ended.iter().partition(|pod| failed(pod));
        let uids = |pods: &[&Arc<Value>]| {
            (!pods.is_empty()).then(|| pods.iter().map(|pod| object::uid(pod).to_owned()).collect::<Vec<_>>())
        };
        let is_ready = |pod: &&Arc<Value>| owned::has_condition(pod, "Ready");
        let going = look.pods.iter().filter(|pod| object::is_deleting(pod) && !owned::is_finished(pod)).count();
        let start = look.job.pointer("/status/startTime").cloned();
        let mut status = json!({
            "startTime": start.unwrap_or_else(|| object::seconds(at).into()),
            "active": (!active.is_empty()).then_some(active.len()),
            "ready": active.iter().filter(is_ready).count(),
            "terminating": going,
            "uncountedTerminatedPods": {"succeeded": uids(&succeeded), "failed": uids(&lost)},
            "conditions": (!said.is_empty()).then_some(&said),
        });
        let write = |ctx: &mut Context<'_>, status: &Value| {
            ctx.patch(JOBS, namespace, name, Part::Status, &Patch::Merge(json!({"status": status})))
        };
        write(ctx, &status)?;
        if look.ended.is_empty() && end.is_none() {
            return Ok(());
        }
        for pod in &look.ended {
            release(ctx, pod)?;
        }
        let counted = |field: &str, more: usize| {
            let before = number(&look.job, &format!("/status/{field}")).unwrap_or_default();
            before + i64::try_from(more).unwrap_or_default()
        };
        let numbers = [("succeeded", succeeded.len()), ("failed", lost.len())];
        for (field, more) in numbers.into_iter().filter(|(_, more)| *more > 0) {
            json_patch::merge(&mut status, &json!({field: counted(field, more)}));
        }
        if let Some(end) = end.filter(|_| going == 0) {
            self.finish(ctx, &look.job, &mut status, &mut said, &end);
        }
        // `null` removes in a patch: what is not there stays not there.
        let counted = json!({"succeeded": null, "failed": null});
        if let Some(fields) = status.as_object_mut() {
            fields.insert("uncountedTerminatedPods".to_owned(), counted);
        }
        write(ctx, &status).map(drop)
    }

    fn finish(&mut self, ctx: &mut Context<'_>, job: &Value, status: &mut Value, said: &mut Vec<Value>, end: &End) {
        let at = ctx.now().wall;
        let End { conditions: [_, last], reason, message } = end;
        conditions::set(said, at, &["lastProbeTime"], Said { kind: last, status: "True", reason, message });
        json_patch::merge(status, &json!({"conditions": said}));
        if *last == SUCCESS[1] {
            json_patch::merge(status, &json!({"completionTime": object::seconds(at)}));
            self.recorder.event(ctx, (JOBS, job), Type::Normal, "Completed", "Job completed");
        } else {
            self.recorder.event(ctx, (JOBS, job), Type::Warning, reason, message);
        }
    }

    fn remember_failures(&mut self, look: &Look) {
        let uid = object::uid(&look.job);
        if look.ended.iter().any(|pod| !failed(pod)) {
            self.failures.remove(uid);
        }
        for pod in look.ended.iter().filter(|pod| failed(pod)) {
            let entry = self.failures.entry(uid.to_owned()).or_insert((0, Timestamp::UNIX_EPOCH));
            *entry = (entry.0.saturating_add(1), entry.1.max(ended_at(pod)));
        }
    }

    /// How long the next pod has to wait.
    fn wait(&self, job: &Value, now: Timestamp) -> Option<Duration> {
        let (failures, last) = self.failures.get(object::uid(job))?;
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let backoff = POD_BACKOFF.saturating_mul(doubled).min(MAX_POD_BACKOFF);
        let passed = Duration::try_from(now.duration_since(*last)).unwrap_or_default();
        backoff.checked_sub(passed).filter(|wait| !wait.is_zero())
    }
}

fn look(ctx: &Context<'_>, job: Arc<Value>) -> Look {
    let pods = owned::controlled(ctx, PODS, &job);
    let active = pods.iter().filter(|pod| owned::is_active(pod)).cloned().collect();
    let over = |pod: &&Arc<Value>| object::has_finalizer(pod, TRACKING) && !owned::is_active(pod);
    let ended: Vec<_> = pods.iter().filter(over).cloned().collect();
    let count = |pointer: &str, which: bool| {
        let more = ended.iter().filter(|pod| failed(pod) == which).count();
        number(&job, pointer).unwrap_or_default() + i64::try_from(more).unwrap_or_default()
    };
    let (succeeded, failed) = (count("/status/succeeded", false), count("/status/failed", true));
    Look { job, pods, active, ended, succeeded, failed }
}

/// The Job ends badly, or has been ending already.
fn end(look: &Look) -> Option<End> {
    let limit = number(&look.job, "/spec/backoffLimit").unwrap_or(6);
    let begun = owned::has_condition(&look.job, FAILURE[0]);
    let message = "Job has reached the specified backoff limit";
    let failure = End { conditions: FAILURE, reason: "BackoffLimitExceeded", message };
    (begun || look.failed > limit).then_some(failure)
}

/// A pod that is deleted before it succeeds has failed.
fn failed(pod: &Value) -> bool {
    object::text(pod, "/status/phase") != "Succeeded"
}

fn ended_at(pod: &Value) -> Timestamp {
    let statuses = items(pod, "/status/containerStatuses").iter();
    let times = statuses.filter_map(|status| owned::time(status, "/state/terminated/finishedAt"));
    let fallback = || owned::time(pod, "/metadata/deletionTimestamp");
    times.max().or_else(fallback).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn pod(job: &Value) -> Value {
    let (name, uid) = (object::name(job), object::uid(job));
    let mut template = job.pointer("/spec/template").cloned().unwrap_or_default();
    let labels = json!({"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
        "controller-uid": uid, "job-name": name});
    json_patch::merge(&mut template, &json!({"metadata": {"labels": labels, "finalizers": [TRACKING]}}));
    owned::pod_from(&template, name, &owned::reference_to(JOBS, job))
}

fn release(ctx: &mut Context<'_>, pod: &Value) -> Result<(), Refusal> {
    let left = object::without_finalizers(pod, &[TRACKING]);
    let patch = Patch::Merge(json!({"metadata": {"uid": object::uid(pod), "finalizers": left}}));
    match ctx.patch(PODS, object::namespace(pod), object::name(pod), Part::Object, &patch) {
        Err(refusal) if refusal.code != 404 => Err(refusal),
        _ => Ok(()),
    }
}

/// Pods whose Job is gone are counted by nobody.
fn release_orphans(ctx: &mut Context<'_>, key: &Key) -> Result<(), Refusal> {
    let job = ctx.get(JOBS, &key.0, &key.1).ok();
    let uid = job.as_ref().map(|job| object::uid(job)).unwrap_or_default();
    let orphan = |pod: &&Arc<Value>| {
        let of_job = |owner: &Value| object::text(owner, "/kind") == JOBS.kind && object::text(owner, "/name") == key.1;
        object::has_finalizer(pod, TRACKING)
            && owned::controller(pod).is_some_and(|owner| of_job(owner) && object::text(owner, "/uid") != uid)
    };
    let orphans: Vec<_> = ctx.list(PODS, Some(&key.0)).filter(orphan).cloned().collect();
    orphans.iter().try_for_each(|pod| release(ctx, pod))
}

/// `ttlSecondsAfterFinished`.
fn delete_when_over(ctx: &mut Context<'_>, job: &Value) -> Synced {
    let Some(ttl) = number(job, "/spec/ttlSecondsAfterFinished") else { return Ok(None) };
    let conditions = items(job, "/status/conditions").iter();
    let ends = conditions.filter(|one| matches!(object::text(one, "/type"), "Complete" | "Failed"));
    let Some(ended) = ends.filter_map(|one| owned::time(one, "/lastTransitionTime")).max() else { return Ok(None) };
    let passed = ctx.now().wall.duration_since(ended).as_secs();
    if passed < ttl {
        return Ok(Some(Duration::from_secs(u64::try_from(ttl - passed).unwrap_or_default())));
    }
    let options = DeleteOptions {
        uid: Some(object::uid(job).to_owned()),
        propagation: Some(Propagation::Foreground),
        ..DeleteOptions::default()
    };
    ctx.delete(JOBS, object::namespace(job), object::name(job), &options)?;
    Ok(None)
}
