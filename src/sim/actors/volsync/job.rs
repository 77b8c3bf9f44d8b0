//! The mover's Job: made, watched until it ends, and made again when it failed too often.
//!
//! It has no deadline: a mover whose pod cannot start, or never ends, is waited for without end.

use serde_json::{Value, json};

use super::mover::Repository;
use super::stage::{CREATED_BY, Stage, words};
use crate::sim::actors::object;
use crate::sim::actors::workloads::owned;
use crate::sim::process::Context;
use crate::sim::store::table::{CLAIMS, JOBS, SECRETS, SERVICE_ACCOUNTS};
use crate::sim::store::{DeleteOptions, Propagation};
use crate::sim::task::Shared;

/// Failed pods after which a Job is given up.
const BACKOFF_LIMIT: u32 = 8;
/// As much of a mover's log as a status keeps.
const LOG_BYTES: usize = 1024;
/// Names of Jobs are labels of their pods.
const LONGEST_NAME: usize = 63;

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Source,
    Destination,
}

impl Direction {
    /// As it stands in names.
    fn short(self) -> &'static str {
        match self {
            Direction::Source => "src",
            Direction::Destination => "dst",
        }
    }
}

/// What a Job has come to.
pub(super) enum Ended {
    NotYet,
    /// Its log, cut.
    Well(String),
    Badly(String),
}

/// The mover of one replication.
pub(super) struct Mover<'a> {
    pub(super) direction: Direction,
    pub(super) image: &'a str,
    pub(super) repository: &'a Shared<Repository>,
}

impl Mover<'_> {
    /// Cache, account, Secret and Job; then how the Job stands.
    pub(super) fn run(&self, ctx: &mut Context<'_>, stage: &mut Stage<'_>, data: &Value) -> Result<Ended, String> {
        let cache = self.cache(ctx, stage)?;
        let account = format!("volsync-{}-{}", self.direction.short(), object::name(stage.owner));
        stage.ensure(ctx, SERVICE_ACCOUNTS, &account, |stage| json!({"metadata": stage.metadata(&account, false)}))?;
        check_secret(ctx, stage)?;
        let name = self.name(object::name(stage.owner));
        let job = |stage: &Stage<'_>| self.job(stage, &name, &account, data, cache.as_deref());
        let (job, _) = stage.ensure(ctx, JOBS, &name, job)?;
        let log = || self.repository.with(|repository| tail(repository.log(stage.namespace(), &name)));
        if owned::has_condition(&job, "Failed") {
            let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
            ctx.delete(JOBS, stage.namespace(), &name, &options).map_err(words)?;
            return Ok(Ended::Badly(log()));
        }
        let succeeded = owned::number(&job, "/status/succeeded").unwrap_or_default() > 0;
        Ok(if succeeded { Ended::Well(log()) } else { Ended::NotYet })
    }

    fn name(&self, owner: &str) -> String {
        let prefix = format!("volsync-{}-", self.direction.short());
        let name = format!("{prefix}{owner}");
        if name.len() <= LONGEST_NAME {
            return name;
        }
        let hash = owner.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        format!("{prefix}{hash:08x}")
    }

    /// The claim of the mover's cache; none: it caches in its pod.
    fn cache(&self, ctx: &mut Context<'_>, stage: &mut Stage<'_>) -> Result<Option<String>, String> {
        if stage.text("cacheStorageClassName").is_empty() && stage.spec.get("cacheAccessModes").is_none() {
            return Ok(None);
        }
        let name = format!("volsync-{}-{}-cache", self.direction.short(), object::name(stage.owner));
        let temporary = stage.spec.get("cleanupCachePVC") == Some(&Value::Bool(true));
        let fields = ["cacheCapacity", "cacheStorageClassName", "cacheAccessModes"];
        stage.new_claim(ctx, &name, temporary, fields).map(|claim| Some(object::name(&claim).to_owned()))
    }

    fn job(&self, stage: &Stage<'_>, name: &str, account: &str, data: &Value, cache: Option<&str>) -> Value {
        let secret = stage.text("repository");
        let from_secret = |key: &str| json!({"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}});
        let or = |field: &str, default: &str| match stage.text(field) {
            "" => default.to_owned(),
            own => own.to_owned(),
        };
        let debug = object::annotation(stage.owner, "volsync.backube/enable-debug-mover").is_some();
        let mut env = vec![
            json!({"name": "DATA_DIR", "value": "/data"}),
            json!({"name": "DIRECTION", "value": self.direction.short()}),
            json!({"name": "KOPIA_OVERRIDE_USERNAME", "value": or("username", object::name(stage.owner))}),
            json!({"name": "KOPIA_OVERRIDE_HOSTNAME", "value": or("hostname", stage.namespace())}),
            from_secret("KOPIA_PASSWORD"),
            from_secret("KOPIA_REPOSITORY"),
        ];
        env.extend(debug.then(|| json!({"name": "DEBUG_MOVER", "value": "1"})));
        let cache = match cache {
            Some(claim) => json!({"name": "cache", "persistentVolumeClaim": {"claimName": claim}}),
            None => json!({"name": "cache", "emptyDir": {"sizeLimit": "8Gi"}}),
        };
        json!({
            "metadata": stage.metadata(name, true),
            "spec": {"backoffLimit": BACKOFF_LIMIT, "parallelism": 1, "completions": 1, "template": {
                "metadata": {"labels": {CREATED_BY: "volsync"}},
                "spec": {
                    "restartPolicy": "Never", "serviceAccountName": account,
                    "containers": [{
                        "name": "kopia", "image": self.image, "command": ["/mover-kopia/entry.sh"], "env": env,
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "cache", "mountPath": "/cache"}],
                    }],
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": object::name(data)}},
                        cache,
                        {"name": "tempdir", "emptyDir": {"medium": "Memory"}},
                    ],
                },
            }},
        })
    }
}

fn check_secret(ctx: &mut Context<'_>, stage: &Stage<'_>) -> Result<(), String> {
    let name = stage.text("repository");
    let Ok(secret) = ctx.get(SECRETS, stage.namespace(), name) else {
        return Err(format!("Secret \"{name}\" not found"));
    };
    for key in ["KOPIA_REPOSITORY", "KOPIA_PASSWORD"] {
        let found =
            ["data", "stringData"].into_iter().any(|part| secret.get(part).is_some_and(|part| part.get(key).is_some()));
        if !found {
            return Err(format!("secret is missing field: {key}"));
        }
    }
    Ok(())
}

/// The claim of this name; the words of the API if there is none.
pub(super) fn claim(ctx: &mut Context<'_>, namespace: &str, name: &str) -> Result<std::sync::Arc<Value>, String> {
    ctx.get(CLAIMS, namespace, name).map_err(|_| format!("PersistentVolumeClaim \"{name}\" not found"))
}

fn tail(log: &str) -> String {
    let mut from = log.len().saturating_sub(LOG_BYTES);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    log.get(from..).unwrap_or_default().to_owned()
}
