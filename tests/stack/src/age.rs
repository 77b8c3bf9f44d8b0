//! Moves a timestamp of a stored object into the past, so that what waits for time to go by can be tested at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::error::Error;
use crate::stack::Stack;

/// How often a rewrite is tried that another writer was faster than.
const ATTEMPTS: usize = 20;

impl Stack {
    /// Makes a timestamp of a custom resource older, and waits until the API server serves it so.
    ///
    /// `resource` is `volumesnapshotcontents.snapshot.storage.k8s.io`, `pointer` a JSON pointer such as
    /// `/metadata/deletionTimestamp` or `/status/error/time`. The object is rewritten in etcd, since the API lets
    /// nobody change these; watchers see an ordinary modification with a new resourceVersion.
    pub fn age(
        &self,
        resource: &str,
        namespace: Option<&str>,
        name: &str,
        pointer: &str,
        by: Duration,
    ) -> Result<(), Error> {
        let (plural, group) = resource.split_once('.').ok_or_else(|| {
            Error::other(format!("{resource} is not PLURAL.GROUP; only custom resources are stored as JSON"))
        })?;
        let key = match namespace {
            Some(namespace) => format!("/registry/{group}/{plural}/{namespace}/{name}"),
            None => format!("/registry/{group}/{plural}/{name}"),
        };
        let etcd = self.etcd()?;
        for _ in 0..ATTEMPTS {
            let stored = etcd.get(&key)?.ok_or_else(|| Error::other(format!("etcd has nothing at {key}")))?;
            let mut object: Value = serde_json::from_slice(&stored.value)
                .map_err(|error| Error::other(format!("what etcd has at {key} is no JSON: {error}")))?;
            let field = object.pointer_mut(pointer).ok_or_else(|| Error::other(format!("{key} has no {pointer}")))?;
            let older = earlier(field, by).map_err(|why| Error::other(format!("{pointer} of {key}: {why}")))?;
            *field = Value::String(older.clone());
            if etcd.replace(&key, &stored, object.to_string().as_bytes())? {
                return self.wait_served(resource, namespace, name, pointer, &older);
            }
        }
        Err(Error::other(format!("{key} was written by others {ATTEMPTS} times in a row")))
    }

    fn wait_served(
        &self,
        resource: &str,
        namespace: Option<&str>,
        name: &str,
        pointer: &str,
        older: &str,
    ) -> Result<(), Error> {
        let what = format!("the API server serves {resource} {name} with {pointer} {older}");
        self.wait(&what, Duration::from_secs(20), || match self.get(resource, namespace, name) {
            // Gone is fine: the older time may be what someone waited for.
            Ok(None) => Some(()),
            Ok(Some(object)) => object.pointer(pointer).filter(|served| *served == older).map(drop),
            Err(_) => None,
        })
    }
}

fn earlier(field: &Value, by: Duration) -> Result<String, String> {
    let text = field.as_str().ok_or_else(|| format!("{field} is no timestamp"))?;
    let time: Timestamp = text.parse().map_err(|error| format!("{text} is no timestamp: {error}"))?;
    let by = SignedDuration::try_from(by).map_err(|error| error.to_string())?;
    Ok(time.checked_sub(by).map_err(|error| error.to_string())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_form() {
        let hour = Duration::from_secs(3600);
        assert_eq!(earlier(&Value::from("2026-01-01T00:30:00Z"), hour).unwrap(), "2025-12-31T23:30:00Z");
        assert_eq!(earlier(&Value::from("2026-01-01T00:30:00.000001Z"), hour).unwrap(), "2025-12-31T23:30:00.000001Z");
        assert_eq!(earlier(&Value::from(7), hour).unwrap_err(), "7 is no timestamp");
    }
}
