//! Events as client-go's recorder writes them: one object for a series, counted, and silent when it is too much.
//!
//! Nobody sees every retry: after 25 Events about one object the recorder writes one in five minutes. What
//! reads Events must live with that, so the embedded cluster keeps the rule.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::actors::object;
use super::process::Context;
use super::store::table::{EVENTS, Resource};
use super::store::{Part, Patch};

/// Events about one object that come at once.
const BURST: f64 = 25.0;
/// One more comes after this.
const REFILL: Duration = Duration::from_secs(300);

/// `Normal` or `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// Something that should happen.
    Normal,
    /// Something that should not.
    Warning,
}

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Type::Normal => "Normal",
            Type::Warning => "Warning",
        }
    }
}

#[derive(Debug)]
struct Series {
    name: String,
    count: u64,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The recorder of one component.
#[derive(Debug)]
pub struct Recorder {
    component: String,
    series: BTreeMap<String, Series>,
    buckets: BTreeMap<String, Bucket>,
}

impl Recorder {
    /// A recorder whose Events come from `component`.
    #[must_use]
    pub fn new(component: impl Into<String>) -> Self {
        Self { component: component.into(), series: BTreeMap::new(), buckets: BTreeMap::new() }
    }

    /// Says that something happened to an object.
    pub fn event(
        &mut self,
        ctx: &mut Context<'_>,
        (resource, about): (&'static Resource, &Value),
        kind: Type,
        reason: &str,
        message: &str,
    ) {
        let involved = object::reference(resource, about);
        let identity = |fields: &[&str]| fields.join("\u{1f}");
        let (namespace, name, uid) = (object::namespace(about), object::name(about), object::uid(about));
        let spam = identity(&[resource.kind, namespace, name, uid, kind.as_str()]);
        if !self.may_speak(ctx.now().mono, spam.clone()) {
            return;
        }
        let series = identity(&[&spam, reason, message]);
        if self.continues(ctx, namespace, &series) {
            return;
        }
        self.begins(ctx, &series, &involved, kind, reason, message);
    }

    fn may_speak(&mut self, now: Duration, key: String) -> bool {
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: BURST, at: now });
        let refilled = (now.saturating_sub(bucket.at)).as_secs_f64() / REFILL.as_secs_f64();
        bucket.tokens = (bucket.tokens + refilled).min(BURST);
        bucket.at = now;
        let may = bucket.tokens >= 1.0;
        if may {
            bucket.tokens -= 1.0;
        }
        may
    }

    /// Counts one more of a series that is there. An Event that expired begins anew.
    fn continues(&mut self, ctx: &mut Context<'_>, namespace: &str, series: &str) -> bool {
        let Some(found) = self.series.get_mut(series) else { return false };
        found.count += 1;
        let patch = json!({"count": found.count, "lastTimestamp": object::seconds(ctx.now().wall)});
        let namespace = events_namespace(namespace);
        ctx.patch(EVENTS, namespace, &found.name, Part::Object, &Patch::Merge(patch)).is_ok()
    }

    fn begins(
        &mut self,
        ctx: &mut Context<'_>,
        series: &str,
        involved: &Value,
        kind: Type,
        reason: &str,
        message: &str,
    ) {
        let wall = ctx.now().wall;
        let namespace = events_namespace(object::text(involved, "/namespace")).to_owned();
        let mut name = format!("{}.{:x}", object::text(involved, "/name"), wall.as_nanosecond());
        let count = self.series.get(series).map_or(1, |known| known.count);
        let at = object::seconds(wall);
        // Two Events of one nanosecond cannot be in reality, where time passes between two statements.
        while ctx.get(EVENTS, &namespace, &name).is_ok() {
            name.push('0');
        }
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "source": {"component": self.component},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": count,
            "type": kind.as_str(),
            "eventTime": null,
            "reportingComponent": self.component,
            "reportingInstance": "",
        });
        if ctx.create(EVENTS, &namespace, event).is_ok() {
            self.series.insert(series.to_owned(), Series { name, count });
        }
    }
}

/// Events about what is cluster-scoped live in `default`.
fn events_namespace(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}
