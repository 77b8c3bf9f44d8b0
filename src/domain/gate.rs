//! Gates: PromQL queries of a policy's that say hold, and what was last heard of each.
//!
//! A gate holds while its query gives a series, as an alerting rule fires, and also while nobody can tell: a gate
//! that fails open is none. Our own alerts and VolSync's cannot be asked for - they are the incident, and a repair
//! that waits for its own alert to end waits for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::guard::Alerts;
use super::words;

/// An answer is good for so long: one that is asked for each 20 s may be missed a few times.
pub const FRESH: Duration = Duration::from_secs(90);
/// What a query may not mention, in lower case.
const INCIDENT: [&str; 2] = ["volwarden", "volsync"];

/// One query that says hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gate {
    /// Its name, for people.
    pub name: Arc<str>,
    /// Base address of the Prometheus that is asked.
    pub server: Arc<str>,
    /// The query, in PromQL.
    pub query: Arc<str>,
}

impl Gate {
    /// Why it makes no sense.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let query = self.query.to_lowercase();
        if let Some(word) = INCIDENT.into_iter().find(|word| query.contains(word)) {
            return Some(format!(
                "{}: the query names {word}: its alerts are the incident that is to be repaired",
                self.name
            ));
        }
        let web = ["http://", "https://"]
            .into_iter()
            .any(|scheme| self.server.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        (!web).then(|| format!("{}: prometheus has to begin with http:// or https://", self.name))
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// No series.
    Quiet,
    /// Series; the first one in words.
    Holds(Arc<str>),
    /// No answer, or none that can be understood.
    Failed(Arc<str>),
}

/// What was last heard of each gate, and when on the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Gates(BTreeMap<Gate, (Said, Duration)>);

impl Gates {
    /// Takes an answer in; whether it is another than the last.
    pub fn hear(&mut self, gate: Gate, said: Said, at: Duration) -> bool {
        self.0.retain(|_, (_, heard)| *heard + FRESH > at);
        let news = self.0.get(&gate).is_none_or(|(before, _)| *before != said);
        self.0.insert(gate, (said, at));
        news
    }

    /// Whether each of these was asked, whatever came of it.
    #[must_use]
    pub fn asked<'a>(&self, mut gates: impl Iterator<Item = &'a Gate>) -> bool {
        gates.all(|gate| self.0.contains_key(gate))
    }

    /// What they come to: one that holds counts more than one that cannot be asked.
    #[must_use]
    pub fn come_to(&self, gates: &BTreeSet<Gate>, now: Duration) -> Alerts {
        let mut unasked = None;
        for gate in gates {
            match self.0.get(gate) {
                Some((said, at)) if *at + FRESH > now => match said {
                    Said::Quiet => {}
                    Said::Holds(words) => return Alerts::Firing(format!("{} ({words})", gate.name)),
                    Said::Failed(words) => unasked = unasked.or_else(|| Some(format!("{}: {words}", gate.name))),
                },
                // Without its age: words that change by themselves would be written anew each second.
                Some(_) => {
                    let fresh = words::short(FRESH);
                    unasked = unasked.or_else(|| Some(format!("{}: the last answer is older than {fresh}", gate.name)));
                }
                None => unasked = unasked.or_else(|| Some(format!("{}: it has not been asked yet", gate.name))),
            }
        }
        unasked.map_or(Alerts::Quiet, Alerts::Unasked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(name: &str, query: &str) -> Gate {
        Gate { name: name.into(), server: "http://prometheus:9090".into(), query: query.into() }
    }

    #[test]
    fn what_it_comes_to_fails_closed() {
        let (one, two) = (gate("one", "a"), gate("two", "b"));
        let both = BTreeSet::from([one.clone(), two.clone()]);
        let at = Duration::from_secs(100);
        let mut gates = Gates::default();
        assert_eq!(gates.come_to(&BTreeSet::new(), at), Alerts::Quiet, "none is configured");
        let held = |gates: &Gates, now| match gates.come_to(&both, now) {
            Alerts::Quiet => String::new(),
            Alerts::Firing(words) | Alerts::Unasked(words) => words,
        };
        assert_eq!(held(&gates, at), "one: it has not been asked yet");
        gates.hear(one.clone(), Said::Quiet, at);
        assert_eq!(held(&gates, at), "two: it has not been asked yet");
        gates.hear(two.clone(), Said::Failed("no answer within 5 s".into()), at);
        assert_eq!(held(&gates, at), "two: no answer within 5 s");
        gates.hear(two.clone(), Said::Quiet, at);
        assert_eq!(held(&gates, at), "");
        assert_eq!(held(&gates, at + FRESH), "one: the last answer is older than 90s");
        gates.hear(one, Said::Failed("x".into()), at);
        gates.hear(two, Said::Holds("{alertname=\"A\"}".into()), at);
        assert_eq!(gates.come_to(&both, at), Alerts::Firing("two ({alertname=\"A\"})".to_owned()));
    }

    #[test]
    fn gates_that_nobody_asks_any_more_are_forgotten() {
        let mut gates = Gates::default();
        gates.hear(gate("old", "a"), Said::Quiet, Duration::ZERO);
        gates.hear(gate("new", "b"), Said::Quiet, FRESH);
        assert!(!gates.asked([gate("old", "a")].iter()) && gates.asked([gate("new", "b")].iter()));
    }

    #[test]
    fn the_incident_itself_is_no_gate() {
        assert_eq!(gate("g", "ALERTS{alertname=\"CephHealthError\"}").problem(), None);
        for query in ["ALERTS{alertname=\"VolSyncVolumeOutOfSync\"}", "volwarden_findings > 0"] {
            assert!(gate("g", query).problem().unwrap().contains("the incident"), "{query}");
        }
        for server in ["prometheus:9090", "http://", "file:///etc/passwd"] {
            assert!(Gate { server: server.into(), ..gate("g", "up == 0") }.problem().unwrap().contains("http://"));
        }
    }
}
