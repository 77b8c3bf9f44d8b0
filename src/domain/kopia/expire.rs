//! Which snapshots of a source go: by kopia's own decision and by ours, and only where the two are the same.
//!
//! Kopia's `snapshot expire` decides anew at the moment it deletes, by a policy of which every field that nobody set is
//! inherited. So what goes is named one by one, after two programs came to the same answer. A source whose newest snapshot
//! is nearly empty is left alone: an application that came up without its data is backed up as well as any other, and
//! the good snapshots behind it are the ones that expire.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::plain;
use super::sources::{WireRoot, WireSource};
use super::{Unreadable, read};
use crate::domain::digest::{Encoding, Hash};
use crate::domain::retention::{Policy, Retention, Snapshot};
use crate::domain::words;

/// Of the largest of so many, the newest has to have a tenth.
const COMPARED: usize = 10;

/// A snapshot as kopia lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// By which it is deleted. Who pins it gives it another one.
    pub id: String,
    /// `user@host:path`.
    pub source: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// It never did.
    pub incomplete: bool,
    /// Somebody wants it kept.
    pub pinned: bool,
    /// Kopia has a reason to keep it.
    pub kept: bool,
    /// Bytes of its files.
    pub bytes: Option<u64>,
}

/// Reads `kopia snapshot list --json`.
///
/// # Errors
/// When it is no such answer, or a snapshot in it has no id or time, or stands there twice: each would be counted, and
/// another one would go for it.
pub fn listed(text: &str) -> Result<Vec<Listed>, Unreadable> {
    let what = "kopia snapshot list --json";
    let list: Option<Vec<Wire>> = read(what, text)?;
    let lacks = |field: &str| Unreadable { what, problem: format!("a snapshot has no {field}") };
    let one = |wire: Wire| {
        let summary = wire.root.unwrap_or_default().summary.unwrap_or_default();
        Ok(Listed {
            id: wire.id.filter(|id| !id.is_empty()).ok_or_else(|| lacks("id"))?,
            source: wire.source.unwrap_or_default().name(),
            start: wire.start.ok_or_else(|| lacks("startTime"))?,
            end: wire.end,
            incomplete: wire.incomplete.is_some_and(|reason| !reason.is_empty()),
            pinned: wire.pins.is_some_and(|pins| !pins.is_empty()),
            kept: wire.reasons.is_some_and(|reasons| !reasons.is_empty()),
            bytes: summary.size,
        })
    };
    let all: Vec<Listed> = list.unwrap_or_default().into_iter().map(one).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    match all.iter().find(|one| !seen.insert(one.id.as_str())) {
        Some(twice) => Err(Unreadable { what, problem: format!("the snapshot {} stands there twice", twice.id) }),
        None => Ok(all),
    }
}

/// Reads the counts of `kopia policy show SOURCE --json`: what holds for that source, whoever set it.
///
/// # Errors
/// When it is no such answer. A count that is missing is an error, too: kopia names all six.
pub fn policy(text: &str) -> Result<Policy, Unreadable> {
    let what = "kopia policy show --json";
    let wire: WirePolicy = read(what, text)?;
    let counts = wire.retention.unwrap_or_default();
    let count = |count: Option<i64>, name: &str| {
        let count = count.ok_or_else(|| Unreadable { what, problem: format!("it has no {name}") })?;
        u32::try_from(count).map_err(|_| Unreadable { what, problem: format!("{name} is {count}") })
    };
    Ok(Policy {
        latest: count(counts.latest, "keepLatest")?,
        hourly: count(counts.hourly, "keepHourly")?,
        daily: count(counts.daily, "keepDaily")?,
        weekly: count(counts.weekly, "keepWeekly")?,
        monthly: count(counts.monthly, "keepMonthly")?,
        annual: count(counts.annual, "keepAnnual")?,
    })
}

/// How many `kopia snapshot expire SOURCE` would delete, by its words; `None` if it does not say.
#[must_use]
pub fn would_delete(said: &str) -> Option<usize> {
    said.lines().map(plain).find_map(|line| {
        if line.starts_with("Nothing to delete for ") {
            return Some(0);
        }
        let (count, rest) = line.split_once(' ')?;
        rest.contains(" would be deleted").then(|| count.parse().ok()).flatten()
    })
}

/// Why nothing of a source goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The source.
    pub source: String,
    /// The reason's name.
    pub reason: String,
    /// In words.
    pub said: String,
}

impl Held {
    /// One with its reason.
    #[must_use]
    pub fn new(source: &str, reason: &str, said: impl Into<String>) -> Self {
        Self { source: source.to_owned(), reason: reason.to_owned(), said: said.into() }
    }

    /// Kopia could not be asked about it.
    #[must_use]
    pub fn unasked(source: &str, said: impl Into<String>) -> Self {
        Self::new(source, "Unclear", said)
    }
}

/// What becomes of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The source.
    pub source: String,
    /// By which counts.
    pub policy: Policy,
    /// How many snapshots it has.
    pub snapshots: usize,
    /// The ids that go, oldest first; or why none does.
    pub going: Result<Vec<String>, Held>,
    /// The source is not shown to be this cluster's.
    pub foreign: bool,
    /// A count of it is the repository's global policy's, which is everybody's.
    pub global: bool,
}

impl Expiry {
    /// Whether somebody has to approve before any of it goes.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.foreign || self.global
    }

    /// How many snapshots go.
    #[must_use]
    pub fn count(&self) -> usize {
        self.going.as_ref().map_or(0, Vec::len)
    }
}

/// What was decided about all sources of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of each.
    pub expiries: Vec<Expiry>,
    /// Sources that are none of the run's, and why.
    pub apart: Vec<Held>,
    /// What an approval has to be of; none: nothing asks for one.
    pub approval: Option<Hash>,
    /// That was given.
    pub approved: bool,
    /// So many were deleted; none: it was only looked.
    pub deleted: Option<usize>,
}

/// Decides for one source. `would` is how many kopia's own dry run names; `accepted`: that it shrank is known and meant.
#[must_use]
pub fn expiry(source: &str, all: &[Listed], policy: Policy, would: Option<usize>, accepted: bool) -> Expiry {
    let mut ours: Vec<&Listed> = all.iter().filter(|one| one.source == source).collect();
    // Of two that began together kopia takes the one that ended later for the newer.
    ours.sort_by_key(|one| Reverse((one.start, one.end)));
    let going = decided(source, &ours, policy, would, accepted);
    Expiry { source: source.to_owned(), policy, snapshots: ours.len(), going, foreign: false, global: false }
}

fn decided(
    source: &str,
    ours: &[&Listed],
    policy: Policy,
    would: Option<usize>,
    accepted: bool,
) -> Result<Vec<String>, Held> {
    let times: Vec<Snapshot> =
        ours.iter().map(|one| Snapshot { time: one.start, incomplete: one.incomplete }).collect();
    let plan = Retention::new(policy).plan(&times);
    let lost = |one: &Listed, kept: bool| !kept && !one.pinned;
    let by_us: BTreeSet<&str> = ours
        .iter()
        .zip(&plan)
        .filter(|(one, reasons)| lost(one, reasons.kept()))
        .map(|(one, _)| one.id.as_str())
        .collect();
    let by_kopia: BTreeSet<&str> = ours.iter().filter(|one| lost(one, one.kept)).map(|one| one.id.as_str()).collect();
    if by_us != by_kopia {
        let only = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| a.difference(b).count();
        let said = format!(
            "kopia would delete {} that we would keep, and keep {} that we would delete; nothing is deleted before the two \
             agree. A kopia whose time zone is not UTC decides otherwise",
            words::count(only(&by_kopia, &by_us), "snapshot"),
            only(&by_us, &by_kopia)
        );
        return Err(Held::new(source, "Disagreement", said));
    }
    if would != Some(by_us.len()) {
        let would = would.map_or_else(|| "nothing that can be read".to_owned(), |would| would.to_string());
        let said = format!("kopia's dry run says {would}, and its list {}", by_us.len());
        return Err(Held::new(source, "Disagreement", said));
    }
    if by_us.is_empty() {
        return Ok(Vec::new());
    }
    let complete: Vec<&Listed> = ours.iter().filter(|one| !one.incomplete).copied().collect();
    if complete.first().is_none_or(|newest| by_us.contains(newest.id.as_str())) {
        return Err(Held::new(source, "NothingWouldStay", "its newest complete snapshot would go, or it has none"));
    }
    if let Some(said) = shrunk(&complete).filter(|_| !accepted) {
        return Err(Held::new(source, "BackupShrunk", said));
    }
    let going = ours.iter().rev().filter(|one| by_us.contains(one.id.as_str()));
    Ok(going.map(|one| one.id.clone()).collect())
}

/// In words, if the newest is less than a tenth of the largest before it.
fn shrunk(complete: &[&Listed]) -> Option<String> {
    let (newest, before) = complete.split_first()?;
    let newest = newest.bytes.unwrap_or_default();
    let largest = before.iter().take(COMPARED).filter_map(|one| one.bytes).max()?;
    (newest < largest / 10).then(|| {
        format!(
            "its newest snapshot has {newest} bytes, and one of those before it had {largest}; was it backed up empty? Its old \
             snapshots are kept until that is accepted"
        )
    })
}

/// So many of each in their turn, the oldest of each source first, until `most`; of a source that asks for an approval only
/// if that was given.
#[must_use]
pub fn within(expiries: &[Expiry], most: usize, approved: bool) -> Vec<String> {
    let free = expiries.iter().filter(|one| approved || !one.asks());
    let lines: Vec<&[String]> = free.filter_map(|one| one.going.as_ref().ok()).map(Vec::as_slice).collect();
    let longest = lines.iter().map(|line| line.len()).max().unwrap_or_default();
    let rounds = (0..longest).flat_map(|round| lines.iter().filter_map(move |line| line.get(round)));
    rounds.take(most).cloned().collect()
}

/// Under which policies these sources are: what a dry run was of. Another one is tried dry first.
#[must_use]
pub fn terms(expiries: &[Expiry]) -> Hash {
    let mut terms = Encoding::of("kopia-expire/1");
    for one in expiries {
        encode(&mut terms, one);
    }
    terms.hash()
}

fn encode(hash: &mut Encoding, one: &Expiry) {
    hash.field("source", &one.source);
    let Policy { latest, hourly, daily, weekly, monthly, annual } = one.policy;
    hash.list("keep", [latest, hourly, daily, weekly, monthly, annual]);
}

/// What an approval is of: this repository, and each source that asks for one, with why and under which counts. Sources that
/// ask for none are not in it: one more or less of them leaves it good.
#[must_use]
pub fn approval(expiries: &[Expiry], unique_id: Option<&str>) -> Option<Hash> {
    let mut plan = Encoding::of("kopia-expiry-approval/1");
    plan.optional("uniqueID", unique_id);
    let asking: Vec<&Expiry> = expiries.iter().filter(|one| one.asks()).collect();
    for one in &asking {
        encode(&mut plan, one);
        plan.field("foreign", one.foreign);
        plan.field("global", one.global);
    }
    (!asking.is_empty()).then(|| plan.hash())
}

#[derive(Deserialize)]
struct Wire {
    id: Option<String>,
    source: Option<WireSource>,
    #[serde(rename = "startTime")]
    start: Option<Timestamp>,
    #[serde(rename = "endTime")]
    end: Option<Timestamp>,
    incomplete: Option<String>,
    pins: Option<Vec<String>>,
    #[serde(rename = "retentionReason")]
    reasons: Option<Vec<String>>,
    #[serde(rename = "rootEntry")]
    root: Option<WireRoot>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WirePolicy {
    retention: Option<Counts>,
}

/// The six counts, as every answer about a policy has them.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    #[serde(rename = "keepLatest")]
    pub(super) latest: Option<i64>,
    #[serde(rename = "keepHourly")]
    pub(super) hourly: Option<i64>,
    #[serde(rename = "keepDaily")]
    pub(super) daily: Option<i64>,
    #[serde(rename = "keepWeekly")]
    pub(super) weekly: Option<i64>,
    #[serde(rename = "keepMonthly")]
    pub(super) monthly: Option<i64>,
    #[serde(rename = "keepAnnual")]
    pub(super) annual: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "app@ns:/data";

    /// One a day, the newest first; kopia keeps the first `kept`.
    fn daily(count: i64, kept: i64) -> Vec<Listed> {
        let newest: Timestamp = "2026-11-25T03:00:00Z".parse().unwrap();
        let one = |n: i64| Listed {
            id: format!("id-{n}"),
            source: SOURCE.to_owned(),
            start: newest - jiff::SignedDuration::from_hours(24 * n),
            end: Some(newest - jiff::SignedDuration::from_hours(24 * n - 1)),
            incomplete: false,
            pinned: false,
            kept: n < kept,
            bytes: Some(1000),
        };
        (0..count).map(one).collect()
    }

    fn latest(count: u32) -> Policy {
        Policy { latest: count, ..Policy::default() }
    }

    fn going(all: &[Listed], policy: Policy, would: usize) -> Result<Vec<String>, String> {
        expiry(SOURCE, all, policy, Some(would), false).going.map_err(|held| held.reason)
    }

    #[test]
    fn what_both_let_go_goes_oldest_first_and_pins_stay() {
        let mut all = daily(6, 3);
        let gone = |ids: &[i64]| Ok(ids.iter().map(|n| format!("id-{n}")).collect::<Vec<_>>());
        assert_eq!(going(&all, latest(3), 3), gone(&[5, 4, 3]));
        all.reverse();
        assert_eq!(going(&all, latest(3), 3), gone(&[5, 4, 3]), "in whatever order they are listed");
        all.iter_mut().find(|one| one.id == "id-4").unwrap().pinned = true;
        assert_eq!(going(&all, latest(3), 2), gone(&[5, 3]));
        // Another source's are none of this one's.
        let mut other = daily(3, 0);
        for one in &mut other {
            one.source = "db@ns:/data".to_owned();
        }
        assert_eq!(going(&[daily(6, 3), other].concat(), latest(3), 3), gone(&[5, 4, 3]));
        assert_eq!(going(&daily(6, 6), Policy::default(), 0), gone(&[]), "a policy without a count keeps everything");
    }

    #[test]
    fn any_difference_between_kopia_and_us_deletes_nothing() {
        for (kept, would) in [(2, 4), (4, 2), (3, 2), (3, 4)] {
            assert_eq!(going(&daily(6, kept), latest(3), would), Err("Disagreement".to_owned()), "{kept} {would}");
        }
        let silent = expiry(SOURCE, &daily(6, 3), latest(3), None, false);
        assert_eq!(silent.going.unwrap_err().reason, "Disagreement");
        // The same number, and another one.
        let mut all = daily(6, 3);
        (all[2].kept, all[3].kept) = (false, true);
        assert_eq!(going(&all, latest(3), 3), Err("Disagreement".to_owned()));
    }

    #[test]
    fn a_backup_that_shrank_holds_its_source_until_that_is_accepted() {
        for (newest, before, held) in
            [(99, 1000, true), (100, 1000, false), (0, 10, true), (0, 9, false), (0, 0, false), (5000, 1000, false)]
        {
            let mut all = daily(6, 3);
            all[0].bytes = Some(newest);
            all[2].bytes = Some(before);
            for at in [1, 3, 4, 5] {
                all[at].bytes = Some(newest);
            }
            let result = going(&all, latest(3), 3);
            assert_eq!(result == Err("BackupShrunk".to_owned()), held, "{newest} after {before}: {result:?}");
            assert!(expiry(SOURCE, &all, latest(3), Some(3), true).going.is_ok());
        }
        let mut unknown = daily(6, 3);
        unknown[0].bytes = None;
        assert_eq!(going(&unknown, latest(3), 3), Err("BackupShrunk".to_owned()), "not told is not known to be good");
    }

    #[test]
    fn a_source_without_a_complete_snapshot_loses_nothing() {
        let mut all = daily(6, 0);
        for one in &mut all {
            one.incomplete = true;
        }
        for (at, one) in all.iter_mut().enumerate() {
            one.kept = at < 3;
        }
        assert_eq!(going(&all, latest(3), 3), Err("NothingWouldStay".to_owned()));
    }

    #[test]
    fn a_run_takes_the_oldest_of_each_source_in_turn() {
        let of = |source: &str, ids: &[&str]| Expiry {
            going: Ok(ids.iter().map(|id| (*id).to_owned()).collect()),
            ..expiry(source, &[], latest(1), Some(0), false)
        };
        let held = Expiry { going: Err(Held::unasked("c", "x")), ..of("c", &[]) };
        let all = [of("a", &["a1", "a2", "a3"]), held, of("b", &["b1"])];
        assert_eq!(within(&all, 3, false), ["a1", "b1", "a2"]);
        assert_eq!(within(&all, 100, false).len(), 4);
        assert_eq!(within(&all, 0, true).len(), 0);
        // What asks for an approval goes with one.
        let asks = [
            Expiry { foreign: true, ..of("a", &["a1", "a2"]) },
            of("b", &["b1"]),
            Expiry { global: true, ..of("c", &["c1"]) },
        ];
        assert_eq!(within(&asks, 100, false), ["b1"]);
        assert_eq!(within(&asks, 100, true), ["a1", "b1", "c1", "a2"]);
    }

    #[test]
    fn an_approval_is_of_what_asks_for_one_and_of_nothing_else() {
        let of = |source: &str, count| expiry(source, &[], latest(count), Some(0), false);
        let foreign = |source: &str, count| Expiry { foreign: true, ..of(source, count) };
        let one = approval(&[foreign("a", 3)], Some("id"));
        assert_eq!(approval(&[of("a", 3)], Some("id")), None, "nobody is asked");
        assert_eq!(one, approval(&[of("b", 1), foreign("a", 3)], Some("id")), "others come and go");
        for (other, id) in [
            (vec![foreign("a", 4)], "id"),
            (vec![foreign("b", 3)], "id"),
            (vec![foreign("a", 3), foreign("b", 3)], "id"),
            (vec![Expiry { global: true, ..foreign("a", 3) }], "id"),
            (vec![Expiry { global: true, ..of("a", 3) }], "id"),
            (vec![foreign("a", 3)], "another"),
        ] {
            assert_ne!(one, approval(&other, Some(id)), "{other:?}");
        }
        assert_ne!(one, Some(terms(&[foreign("a", 3)])), "terms approve nothing");
    }

    #[test]
    fn terms_are_sources_with_their_counts() {
        let of = |source: &str, policy| expiry(source, &[], policy, Some(0), false);
        let one = terms(&[of("a", latest(3))]);
        assert_eq!(one, terms(&[of("a", latest(3))]));
        for other in [vec![of("a", latest(4))], vec![of("b", latest(3))], vec![of("a", latest(3)), of("b", latest(3))]]
        {
            assert_ne!(one, terms(&other));
        }
    }

    #[test]
    fn kopias_words_are_read_and_what_cannot_be_read_is_no_number() {
        for (said, count) in [
            ("2 snapshot(s) of app@ns:/data would be deleted. Pass --delete to do it.\n", Some(2)),
            ("Nothing to delete for app@ns:/data.\n", Some(0)),
            ("\u{1b}[31mWARN\u{1b}[0m x\n12 snapshot(s) of a would be deleted. Pass --delete to do it.", Some(12)),
            ("many snapshot(s) of a would be deleted.", None),
            ("Deleted 2 snapshots of a...", None),
            ("", None),
        ] {
            assert_eq!(would_delete(said), count, "{said:?}");
        }
        let counts = r#"{"retention": {"keepLatest": 10, "keepHourly": 48, "keepDaily": 7, "keepWeekly": 4, "keepMonthly": 24, "keepAnnual": 3}}"#;
        assert_eq!(policy(counts).unwrap().monthly, 24);
        for text in ["{}", r#"{"retention": {"keepLatest": 10}}"#, &counts.replace("48", "-1"), "[]"] {
            assert!(policy(text).is_err(), "{text}");
        }
        let list = r#"[{"id": "1", "source": {"host": "ns", "userName": "app", "path": "/data"}, "startTime": "2026-01-01T00:00:00Z",
            "pins": ["x"], "retentionReason": ["latest-1"], "rootEntry": {"summ": {"size": 3}}}]"#;
        let one = &listed(list).unwrap()[0];
        assert_eq!((one.source.as_str(), one.pinned, one.kept, one.bytes), (SOURCE, true, true, Some(3)));
        assert_eq!(listed("[\n]").unwrap(), []);
        let twice = format!("[{0},{0}]", &list[1..list.len() - 1]);
        assert!(listed(&twice).unwrap_err().to_string().contains("the snapshot 1 stands there twice"));
        assert!(
            listed(&list.replace("\"id\": \"1\",", "")).is_err() && listed(&list.replace("startTime", "x")).is_err()
        );
    }
}
