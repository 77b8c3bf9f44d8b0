//! `status.conditions`: a list in which the time of a condition moves only when its status does.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sim::actors::object;

/// What a condition says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    /// Its type.
    pub(crate) kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'a str,
    /// Its reason.
    pub(crate) reason: &'a str,
    /// Its message.
    pub(crate) message: &'a str,
}

/// Sets a condition. `stamps` are its times besides `lastTransitionTime`, which move whenever it is said anew.
pub(crate) fn set(conditions: &mut Vec<Value>, at: Timestamp, stamps: &[&str], said: Said<'_>) {
    let Said { kind, status, reason, message } = said;
    let now = object::seconds(at);
    let old = conditions.iter_mut().find(|old| object::text(old, "/type") == kind);
    let same = |old: &Value| {
        let say = |field: &str| object::text(old, field);
        say("/status") == status && say("/reason") == reason && say("/message") == message
    };
    if old.as_ref().is_some_and(|old| same(old)) {
        return;
    }
    let since = match &old {
        Some(old) if object::text(old, "/status") == status => object::text(old, "/lastTransitionTime").to_owned(),
        _ => now.clone(),
    };
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": since});
    if let Some(fields) = condition.as_object_mut() {
        let words = [("reason", reason), ("message", message)].into_iter().filter(|(_, words)| !words.is_empty());
        let times = stamps.iter().map(|stamp| (*stamp, now.as_str()));
        fields.extend(words.chain(times).map(|(field, value)| (field.to_owned(), Value::from(value))));
    }
    match old {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        let said = Said { kind: "Available", status: "False", reason: "A", message: "a" };
        set(&mut conditions, at(10), &[], said);
        set(&mut conditions, at(20), &[], Said { reason: "B", ..said });
        assert_eq!(conditions[0]["lastTransitionTime"], "1970-01-01T00:00:10Z");
        assert_eq!(conditions[0]["reason"], "B");
        set(&mut conditions, at(30), &["lastUpdateTime"], Said { status: "True", ..said });
        assert_eq!(conditions[0]["lastTransitionTime"], "1970-01-01T00:00:30Z");
        assert_eq!(conditions[0]["lastUpdateTime"], "1970-01-01T00:00:30Z");
        assert_eq!(conditions.len(), 1);
    }
}
