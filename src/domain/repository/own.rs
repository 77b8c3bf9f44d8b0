//! Which sources of a repository are this cluster's own, and which are shown to be none of it.
//!
//! A ReplicationSource of VolSync's names its repository by a Secret of its namespace, which is not read here. So two
//! witnesses have to agree that it writes to this one: the repository has a source of its name, and the newest backup of
//! that source ended within its last synchronisation. By the name alone, a cluster that was made from the same manifests
//! as another would thin out the other's backups.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::kopia::expire::{Held, Listed};
use crate::domain::name::Key;

/// So far apart may be the clocks of whoever backs up and of VolSync's controller.
const SLACK: SignedDuration = SignedDuration::from_mins(5);
/// As whom a ReplicationSource backs up of whose name nothing is left.
const NAMELESS: &str = "volsync-default";
/// VolSync cuts a user off after so many characters.
const USER: usize = 50;
/// What VolSync backs up, if nothing else is said.
const PATH: &str = "/data";
/// The longest source, in characters, as in spec.expire.sources.
const LONGEST: usize = 253;

/// A ReplicationSource that backs up with kopia.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Its namespace and name.
    pub key: Key,
    /// `spec.kopia.username`.
    pub username: Option<String>,
    /// `spec.kopia.hostname`.
    pub hostname: Option<String>,
    /// `spec.kopia.sourcePathOverride`.
    pub path: Option<String>,
    /// When its last synchronisation ended.
    pub synced: Option<Timestamp>,
    /// How long that took.
    pub took: Duration,
    /// Since when it synchronises, if it does.
    pub since: Option<Timestamp>,
}

impl Replication {
    /// The source that it backs up as (VolSync's `mover/kopia/builder.go`); `None` for a name that cannot be handed to
    /// kopia safely.
    #[must_use]
    pub fn source(&self) -> Option<String> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let user = set(&self.username).unwrap_or_else(|| {
            let user = kept(&self.key.name, |c| matches!(c, '-' | '_'));
            if user.is_empty() { NAMELESS.to_owned() } else { user.chars().take(USER).collect() }
        });
        let host = set(&self.hostname).unwrap_or_else(|| {
            let host = kept(&self.key.namespace.replace('_', "-"), |c| matches!(c, '-' | '.'));
            if host.is_empty() { NAMELESS.to_owned() } else { host }
        });
        let path = set(&self.path).unwrap_or_else(|| PATH.to_owned());
        let plain = |part: &str, more: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        // A user that begins with a dash would be taken for an option.
        let fits = plain(&user, "-._") && plain(&host, "-._") && plain(&path, "-._/") && path.starts_with('/');
        let source = format!("{user}@{host}:{path}");
        (fits && !user.starts_with('-') && source.len() <= LONGEST).then_some(source)
    }
}

/// Letters, digits and these signs, without any of these at the ends.
fn kept(name: &str, sign: impl Fn(char) -> bool) -> String {
    let all: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || sign(*c)).collect();
    all.trim_matches(sign).to_owned()
}

/// What would show that a source is this cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Of its complete backups that ended before one time, the newest ended between two others. What ended later is not
    /// asked: it may be the next synchronisation's.
    Within {
        /// Not before.
        from: Timestamp,
        /// Not after.
        to: Timestamp,
        /// What ended later is left out.
        before: Timestamp,
    },
    /// It has not synchronised yet.
    Never,
    /// Two ReplicationSources back up as it.
    Shared,
}

/// A source that may be this cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `user@host:path`.
    pub source: String,
    /// What would show that it is.
    pub proof: Proof,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.proof {
            Proof::Within { from, to, before } => write!(f, "{}={from}/{to}/{before}", self.source),
            Proof::Never => write!(f, "{}=never", self.source),
            Proof::Shared => write!(f, "{}=shared", self.source),
        }
    }
}

impl FromStr for Candidate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no SOURCE=FROM/TO/BEFORE");
        let (source, proof) = text.rsplit_once('=').ok_or_else(wrong)?;
        let proof = match proof {
            "never" => Proof::Never,
            "shared" => Proof::Shared,
            times => {
                let times: Vec<Timestamp> = times.split('/').map_while(|time| time.parse().ok()).collect();
                let [from, to, before] = times.try_into().map_err(|_| wrong())?;
                Proof::Within { from, to, before }
            }
        };
        Ok(Self { source: source.to_owned(), proof })
    }
}

/// The sources that may be this cluster's, by name, as its ReplicationSources are now.
#[must_use]
pub fn candidates(all: &[Replication], now: Timestamp) -> Vec<Candidate> {
    let mut named: BTreeMap<String, Proof> = BTreeMap::new();
    for one in all {
        let Some(source) = one.source() else { continue };
        named.entry(source).and_modify(|proof| *proof = Proof::Shared).or_insert_with(|| proof(one, now));
    }
    named.into_iter().map(|(source, proof)| Candidate { source, proof }).collect()
}

fn proof(one: &Replication, now: Timestamp) -> Proof {
    let Some(synced) = one.synced else { return Proof::Never };
    let began = synced.checked_sub(one.took).unwrap_or(synced);
    let from = began.checked_sub(SLACK).unwrap_or(began);
    let to = synced.checked_add(SLACK).unwrap_or(synced);
    Proof::Within { from, to, before: one.since.unwrap_or(now).max(to) }
}

/// A source that may lose snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// `user@host:path`.
    pub source: String,
    /// It is not shown to be this cluster's: somebody has to approve.
    pub foreign: bool,
}

/// Of which sources snapshots may go: of those that are named; if none is, of those that are shown to be this cluster's.
/// Second, the sources that are not shown to be, though the cluster has a ReplicationSource of that name.
#[must_use]
pub fn choose(named: &[String], candidates: &[Candidate], all: &[Listed]) -> (Vec<Choice>, Vec<Held>) {
    if !named.is_empty() {
        let shown = |source: &str| candidates.iter().any(|one| one.source == source && shown(one, all));
        let named: BTreeSet<&String> = named.iter().collect();
        let choice = |source: &String| Choice { source: source.clone(), foreign: !shown(source) };
        return (named.into_iter().map(choice).collect(), Vec::new());
    }
    let here = candidates.iter().filter(|one| all.iter().any(|listed| listed.source == one.source));
    let (ours, others): (Vec<&Candidate>, Vec<&Candidate>) = here.partition(|one| shown(one, all));
    let ours = ours.into_iter().map(|one| Choice { source: one.source.clone(), foreign: false });
    (ours.collect(), others.into_iter().map(unshown).collect())
}

/// Whether its newest backup is of the last synchronisation.
fn shown(candidate: &Candidate, all: &[Listed]) -> bool {
    let Proof::Within { from, to, before } = candidate.proof else { return false };
    let ours = all.iter().filter(|one| one.source == candidate.source && !one.incomplete);
    let newest = ours.filter_map(|one| one.end).filter(|end| *end <= before).max();
    newest.is_some_and(|end| from <= end && end <= to)
}

fn unshown(candidate: &Candidate) -> Held {
    let (reason, why) = match candidate.proof {
        Proof::Within { .. } => (
            "NotShown",
            "its newest backup here is not of the last synchronisation of the ReplicationSource with that name",
        ),
        Proof::Never => ("NotShown", "the ReplicationSource with that name has never synchronised"),
        Proof::Shared => ("NameShared", "two ReplicationSources back up under that name"),
    };
    let said = format!(
        "it is not shown to be this cluster's: {why}; if it is, name it in spec.expire.sources, and approve that"
    );
    Held::new(&candidate.source, reason, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-{time}Z").parse().unwrap()
    }

    fn now() -> Timestamp {
        at("25T12:00:00")
    }

    fn replication(namespace: &str, name: &str) -> Replication {
        Replication {
            key: Key::namespaced(namespace, name),
            username: None,
            hostname: None,
            path: None,
            synced: Some(at("25T11:10:00")),
            took: Duration::from_secs(600),
            since: None,
        }
    }

    fn listed(source: &str, end: &str) -> Listed {
        let end = at(end);
        let start = end - SignedDuration::from_mins(1);
        let id = format!("{source} {end}");
        Listed {
            id,
            source: source.to_owned(),
            start,
            end: Some(end),
            incomplete: false,
            pinned: false,
            kept: true,
            bytes: Some(1),
        }
    }

    const APP: &str = "app@media:/data";

    #[test]
    fn a_replication_source_backs_up_under_the_name_that_volsync_makes() {
        let of = |namespace: &str, name: &str| replication(namespace, name).source();
        let long = "a".repeat(60);
        for (namespace, name, source) in [
            ("media", "app", APP),
            ("media", "app.v2", "appv2@media:/data"),
            ("a.b", "-x-", "x@a.b:/data"),
            ("media", "...", "volsync-default@media:/data"),
            ("media", long.as_str(), &format!("{}@media:/data", "a".repeat(50))),
        ] {
            assert_eq!(of(namespace, name).as_deref(), Some(source));
        }
        let set = |value: &str| Some(value.to_owned());
        let own = Replication {
            username: set("me_1"),
            hostname: set("my.host"),
            path: set("/srv/x"),
            ..replication("media", "app")
        };
        assert_eq!(own.source().as_deref(), Some("me_1@my.host:/srv/x"));
        let empty = Replication { username: set(""), hostname: set(""), path: set(""), ..own.clone() };
        assert_eq!(empty.source().as_deref(), Some(APP));
        // Names that kopia would take for something else are nobody's.
        for (username, path) in
            [("--config-file=x", "/data"), ("a b", "/data"), ("a@b", "/data"), ("a", "data"), ("a", "/d ")]
        {
            let odd = Replication { username: set(username), path: set(path), ..own.clone() };
            assert_eq!(odd.source(), None, "{username} {path}");
        }
        let endless = Replication { path: Some(format!("/{}", "a".repeat(250))), ..own };
        assert_eq!(endless.source(), None);
    }

    /// Whether the source counts as this cluster's with these backups.
    fn ours(one: Replication, ends: &[&str]) -> bool {
        let all: Vec<Listed> = ends.iter().map(|end| listed(APP, end)).collect();
        let (ours, others) = choose(&[], &candidates(&[one], now()), &all);
        assert_eq!(ours.len() + others.len(), 1, "it is one or the other");
        assert!(ours.iter().all(|one| one.source == APP && !one.foreign));
        assert!(others.iter().all(|one| one.source == APP && one.reason == "NotShown"));
        ours.len() == 1
    }

    #[test]
    fn a_source_is_ours_if_its_newest_backup_is_of_our_last_synchronisation() {
        let app = || replication("media", "app");
        // The synchronisation was from 11:00 to 11:10.
        for (end, is) in [
            ("25T10:54:59", false),
            ("25T10:55:00", true),
            ("25T11:05:00", true),
            ("25T11:15:00", true),
            ("25T11:15:01", false),
            ("24T11:05:00", false),
        ] {
            assert_eq!(ours(app(), &[end]), is, "{end}");
        }
        assert!(ours(app(), &["24T11:05:00", "25T11:05:00"]), "old ones are anybody's");
        assert!(!ours(app(), &["25T11:05:00", "25T11:40:00"]), "somebody else has backed up since");
        assert!(ours(app(), &["25T11:05:00", "25T12:00:01"]), "that ended after we looked, and says nothing");
        assert!(!ours(Replication { synced: None, ..app() }, &["25T11:05:00"]), "it has never synchronised");
    }

    #[test]
    fn a_synchronisation_under_way_does_not_hide_the_last_one() {
        let under_way = Replication { since: Some(at("25T11:30:00")), ..replication("media", "app") };
        assert!(ours(under_way.clone(), &["25T11:05:00", "25T11:40:00"]));
        assert!(!ours(under_way, &["25T11:05:00", "25T11:20:00"]), "that was before it began");
    }

    #[test]
    fn what_is_not_complete_shows_nothing() {
        let mut torn = listed(APP, "25T11:05:00");
        torn.incomplete = true;
        let mut endless = listed(APP, "25T11:05:00");
        endless.end = None;
        let found = candidates(&[replication("media", "app")], now());
        for one in [torn, endless] {
            assert!(choose(&[], &found, &[one]).0.is_empty());
        }
    }

    #[test]
    fn two_under_one_name_are_neither_and_what_is_not_here_is_not_told() {
        let all = [listed(APP, "25T11:05:00"), listed("web@media:/data", "25T11:05:00")];
        let two = [replication("media", "app"), replication("media", "app."), replication("media", "elsewhere")];
        let found = candidates(&two, now());
        assert_eq!(found.iter().filter(|one| one.proof == Proof::Shared).count(), 1);
        let (ours, others) = choose(&[], &found, &all);
        let others: Vec<(&str, &str)> = others.iter().map(|one| (one.source.as_str(), one.reason.as_str())).collect();
        assert_eq!((ours, others), (vec![], vec![(APP, "NameShared")]));
    }

    #[test]
    fn a_named_source_that_is_not_shown_to_be_ours_is_foreign() {
        let all = [listed(APP, "25T11:05:00"), listed("db@media:/data", "24T11:05:00")];
        let found = candidates(&[replication("media", "app"), replication("media", "db")], now());
        let named = ["web@media:/data", "db@media:/data", APP, APP].map(str::to_owned);
        let (chosen, held) = choose(&named, &found, &all);
        let chosen: Vec<(&str, bool)> = chosen.iter().map(|one| (one.source.as_str(), one.foreign)).collect();
        assert_eq!(chosen, [(APP, false), ("db@media:/data", true), ("web@media:/data", true)]);
        assert_eq!(held, []);
    }

    #[test]
    fn a_candidate_is_the_same_on_a_command_line() {
        let synced = replication("media", "app");
        let never = Replication { synced: None, ..replication("media", "new") };
        let found = candidates(&[synced.clone(), never, synced, replication("media", "db")], now());
        assert_eq!(found.len(), 3);
        for one in found {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        for text in ["", APP, "app@media:/data=", "a@b:/c=2026-11-25T11:00:00Z/2026-11-25T11:00:00Z", "a@b:/c=x/y/z"] {
            assert!(text.parse::<Candidate>().is_err(), "{text}");
        }
    }
}
