//! Which program an image is.
//!
//! An image nobody registered is a program that sleeps, or ends by itself when the pod's annotations say so:
//! enough for an app whose only part in a story is to hold a volume.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use crate::sim::actors::object;
use crate::sim::actors::workloads::owned;
use crate::sim::process::{Actor, Context, ProcessId};

/// Annotation of a pod: the exit code of its unknown programs.
pub const EXIT: &str = "sim.volwarden.dev/exit";
/// Annotation of a pod: how long its unknown programs run, such as `90s`.
pub const RUNS_FOR: &str = "sim.volwarden.dev/runs-for";

/// What a program learns of the container it starts in.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The pod.
    pub pod: &'a Value,
    /// Its container, as in the pod's spec.
    pub container: &'a Value,
    /// What `hostname` says there.
    pub host_name: &'a str,
    /// The processes of the pod's containers that have started before it.
    pub peers: &'a BTreeMap<String, ProcessId>,
}

impl<'a> Launch<'a> {
    /// The value of `--flag=value` among the arguments.
    #[must_use]
    pub fn flag(&self, flag: &str) -> Option<&'a str> {
        let args = owned::items(self.container, "/args").iter().filter_map(Value::as_str);
        args.filter_map(|arg| arg.strip_prefix("--")?.strip_prefix(flag)?.strip_prefix('=')).next_back()
    }

    /// The same as a duration, as Go writes them.
    #[must_use]
    pub fn duration(&self, flag: &str) -> Option<Duration> {
        duration(self.flag(flag)?)
    }

    /// The value of an environment variable that the spec itself gives.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&'a str> {
        let of_name = |one: &&Value| object::text(one, "/name") == name;
        owned::items(self.container, "/env").iter().find(of_name)?.get("value")?.as_str()
    }
}

fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok().and_then(|duration| duration.try_into().ok())
}

/// Makes the program of a container.
pub type Factory = Arc<dyn Fn(&Launch<'_>) -> Box<dyn Actor> + Send + Sync>;

/// The programs that are known, by image without tag.
#[derive(Clone, Default)]
pub struct Images(BTreeMap<String, Factory>);

impl Images {
    /// One more.
    #[must_use]
    pub fn with(
        mut self,
        image: &str,
        factory: impl Fn(&Launch<'_>) -> Box<dyn Actor> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(image.to_owned(), Arc::new(factory));
        self
    }

    /// The program of a container.
    pub(super) fn launch(&self, launch: &Launch<'_>) -> Box<dyn Actor> {
        let image = repository(object::text(launch.container, "/image"));
        match self.0.get(image) {
            Some(factory) => factory(launch),
            None => idle(launch),
        }
    }
}

/// A program that does nothing, or ends as the pod's annotations say.
#[must_use]
pub fn idle(launch: &Launch<'_>) -> Box<dyn Actor> {
    Box::new(Unknown::new(launch))
}

/// An image without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// A program of which nothing is known.
struct Unknown {
    name: String,
    runs_for: Option<Duration>,
    exit: i32,
}

impl Unknown {
    fn new(launch: &Launch<'_>) -> Self {
        let exit = object::annotation(launch.pod, EXIT).and_then(|code| code.parse().ok());
        let runs_for = object::annotation(launch.pod, RUNS_FOR).and_then(duration);
        Self {
            name: object::text(launch.container, "/name").to_owned(),
            runs_for: runs_for.or(exit.map(|_| Duration::ZERO)),
            exit: exit.unwrap_or_default(),
        }
    }
}

impl Actor for Unknown {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self, ctx: &mut Context<'_>) {
        if let Some(time) = self.runs_for {
            ctx.set_timer(time);
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, _timer: u64) {
        ctx.exit(self.exit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_and_digests_are_no_part_of_the_name() {
        for (image, name) in [
            ("quay.io/cephcsi/cephcsi:v3.14.0", "quay.io/cephcsi/cephcsi"),
            ("localhost:5000/app", "localhost:5000/app"),
            ("localhost:5000/app:1", "localhost:5000/app"),
            ("busybox@sha256:00", "busybox"),
            ("busybox:1@sha256:00", "busybox"),
        ] {
            assert_eq!(repository(image), name);
        }
    }

    #[test]
    fn flags_are_read_by_their_whole_name() {
        let container = json!({"args": ["--v=0", "--timeout=150s", "--timeout-x=1s", "--retry=1m30s"]});
        let launch = Launch { pod: &json!({}), container: &container, host_name: "", peers: &BTreeMap::new() };
        assert_eq!((launch.flag("v"), launch.flag("time")), (Some("0"), None));
        assert_eq!(launch.duration("timeout"), Some(Duration::from_secs(150)));
        assert_eq!(launch.duration("retry"), Some(Duration::from_secs(90)));
    }
}
