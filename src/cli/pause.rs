//! `volwarden pause` and `resume`: nobody is repaired while somebody works, and it ends by itself.
//!
//! A pause that is forgotten is how a cluster is found unrepaired a month later: so a pause has a reason for whoever
//! finds it, and an end. With several policies nothing is guessed: which of them is meant has to be said.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::approve::{DryRun, is_retention};
use super::course::moment;
use super::{CliError, Outcome, output};
use crate::app::consent::{self, Hand, Trouble};
use crate::app::prune::Entry;
use crate::config::Settings;
use crate::domain::policy::{Pause, Policy};

/// The longest reason that the API server takes.
const REASON: usize = 256;

/// Which policies are meant.
#[derive(Args, Clone, Debug)]
struct Which {
    /// RemediationPolicies by name, SnapshotRetentions as snapshotretention/NAME; may be left out where there is only one
    /// RemediationPolicy
    #[arg(value_name = "POLICY")]
    policies: Vec<String>,

    /// All policies of the cluster, of both kinds
    #[arg(long, conflicts_with = "policies")]
    all: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    which: Which,

    /// Why, for whoever finds it; at most 256 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,

    /// For how long, such as 2h; it ends by itself then
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::config::parse_duration)]
    lasts: Duration,

    #[command(flatten)]
    dry: DryRun,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    dry: DryRun,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("it is empty: say why, for whoever finds it".to_owned()),
        length if length > REASON => Err(format!("it has {length} characters: write at most {REASON}")),
        _ => Ok(text.to_owned()),
    }
}

/// Pauses, and says until when.
pub(super) async fn pause(args: &PauseArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let hand = consent::reach(settings).await?;
    let now = hand.now();
    let until = ends(now, args.lasts).map_err(CliError::Usage)?;
    let pause = Pause { reason: args.reason.as_str().into(), until };
    let all = All::read(&hand, &args.which).await?;
    let mut said = Said::default();
    for policy in chosen(&all, &args.which).map_err(CliError::Usage)? {
        let done = policy.set(&hand, Some(&pause), args.dry.is_dry()).await;
        said.done(done, || paused(policy, &pause, now, args.dry.is_dry()));
    }
    if !said.lines.is_empty() {
        said.lines.push_str("What is under way is still verified; nothing new is begun.\n");
    }
    said.end()
}

/// Resumes what is paused.
pub(super) async fn resume(args: &ResumeArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let hand = consent::reach(settings).await?;
    let all = All::read(&hand, &args.which).await?;
    let now = hand.now();
    let mut said = Said::default();
    for policy in chosen(&all, &args.which).map_err(CliError::Usage)? {
        let done = take_back(&hand, policy, now, args.dry.is_dry()).await;
        said.done(done, || resumed(policy, now, args.dry.is_dry()));
    }
    said.end()
}

/// A pause that has ended by itself is left where it stands.
async fn take_back(hand: &Hand, policy: Subject<'_>, now: Timestamp, dry: bool) -> Result<(), Trouble> {
    match active(policy, now) {
        Some(_) => policy.set(hand, None, dry).await,
        None => Ok(()),
    }
}

/// The policies of both kinds, as far as they are asked for.
#[derive(Default)]
struct All {
    repairs: Vec<Policy>,
    retentions: Vec<Entry>,
}

impl All {
    async fn read(hand: &Hand, which: &Which) -> Result<Self, Trouble> {
        let named = |name: &&String| name.split_once('/').is_some_and(|(kind, _)| is_retention(kind));
        let pruning = which.policies.iter().filter(named).count();
        let only = pruning > 0 && pruning == which.policies.len();
        let repairs = if only { Vec::new() } else { hand.policies().await? };
        let retentions = if pruning > 0 || which.all { hand.retentions().await } else { Ok(Vec::new()) };
        let retentions = match retentions {
            Err(Trouble::NotInstalled { .. }) if which.all => Vec::new(),
            other => other?,
        };
        Ok(Self { repairs, retentions })
    }
}

/// A policy of either kind.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Repairs(&'a Policy),
    Retention(&'a Entry),
}

impl<'a> Subject<'a> {
    fn kind(self) -> &'static str {
        match self {
            Self::Repairs(_) => "RemediationPolicy",
            Self::Retention(_) => "SnapshotRetention",
        }
    }

    fn name(self) -> &'a str {
        match self {
            Self::Repairs(policy) => policy.name(),
            Self::Retention(entry) => entry.pruning.name(),
        }
    }

    fn pause(self) -> Option<&'a Pause> {
        match self {
            Self::Repairs(policy) => policy.spec().pause.as_ref(),
            Self::Retention(entry) => entry.pruning.rules().pause.as_ref(),
        }
    }

    fn suspended(self) -> bool {
        match self {
            Self::Repairs(policy) => policy.spec().suspended,
            Self::Retention(entry) => entry.pruning.rules().suspended,
        }
    }

    async fn set(self, hand: &Hand, pause: Option<&Pause>, dry: bool) -> Result<(), Trouble> {
        match self {
            Self::Repairs(policy) => hand.pause(policy, pause, dry).await,
            Self::Retention(entry) => hand.pause_retention(entry, pause, dry).await,
        }
    }
}

/// What was done, and whether all of it was.
#[derive(Default)]
struct Said {
    lines: String,
    failed: bool,
}

impl Said {
    /// One that fails does not keep the others from being done.
    fn done(&mut self, done: Result<(), Trouble>, line: impl FnOnce() -> String) {
        match done {
            Ok(()) => self.lines.push_str(&line()),
            Err(trouble) => {
                output::complain(&trouble);
                self.failed = true;
            }
        }
    }

    fn end(self) -> Result<Outcome, CliError> {
        output::answer(&self.lines)?;
        Ok(if self.failed { Outcome::Unknown } else { Outcome::Clean })
    }
}

/// When a pause ends; to the second, as people read it.
fn ends(now: Timestamp, lasts: Duration) -> Result<Timestamp, String> {
    if lasts.is_zero() {
        return Err("a pause of no length is none: write --for 2h or the like".to_owned());
    }
    let whole = jiff::TimestampRound::new().smallest(jiff::Unit::Second).mode(jiff::RoundMode::Ceil);
    let end = now.checked_add(lasts).and_then(|end| end.round(whole));
    end.map_err(|_| "a pause has to end: write --for 2h or the like".to_owned())
}

/// The policies that are meant, or why it cannot be told.
fn chosen<'a>(all: &'a All, which: &Which) -> Result<Vec<Subject<'a>>, String> {
    let repairs = all.repairs.iter().map(Subject::Repairs);
    let every: Vec<Subject<'a>> = repairs.chain(all.retentions.iter().map(Subject::Retention)).collect();
    let names = |kind: &str| {
        let names: Vec<&str> = every.iter().filter(|one| one.kind() == kind).map(|one| one.name()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    if which.all && !every.is_empty() {
        return Ok(every);
    }
    if which.policies.is_empty() {
        return match all.repairs.as_slice() {
            [] => {
                Err("there is no RemediationPolicy in this cluster: without one nothing is repaired anyway".to_owned())
            }
            [one] => Ok(vec![Subject::Repairs(one)]),
            several => Err(format!(
                "there are {} policies ({}): name those that are meant, or write --all",
                several.len(),
                names("RemediationPolicy")
            )),
        };
    }
    let mut chosen: Vec<Subject<'a>> = Vec::new();
    for word in &which.policies {
        let (kind, name) = match word.split_once('/') {
            Some((kind, name)) if is_retention(kind) => ("SnapshotRetention", name),
            Some((kind, name)) if kind.to_ascii_lowercase().starts_with("remediationpolic") => {
                ("RemediationPolicy", name)
            }
            Some((kind, _)) => return Err(format!("{kind:?} cannot be paused: write NAME, or snapshotretention/NAME")),
            None => ("RemediationPolicy", word.as_str()),
        };
        let found = every.iter().find(|one| one.kind() == kind && one.name() == name);
        let found = found.ok_or_else(|| format!("there is no {kind} {name}; there is {}", names(kind)))?;
        if !chosen.iter().any(|one| one.kind() == kind && one.name() == name) {
            chosen.push(*found);
        }
    }
    Ok(chosen)
}

/// The pause in force.
fn active(policy: Subject<'_>, now: Timestamp) -> Option<&Pause> {
    policy.pause().filter(|pause| pause.until > now)
}

fn paused(policy: Subject<'_>, pause: &Pause, now: Timestamp, dry: bool) -> String {
    let would = if dry { "would be paused (dry run, nothing was written)" } else { "is paused" };
    let before = match active(policy, now) {
        Some(old) => format!(" (before: until {}, {})", moment(old.until, now), old.reason),
        None => String::new(),
    };
    let until = moment(pause.until, now);
    format!("{} {} {would} until {until}: {}{before}\n", policy.kind(), policy.name(), pause.reason)
}

fn resumed(policy: Subject<'_>, now: Timestamp, dry: bool) -> String {
    let (kind, name) = (policy.kind(), policy.name());
    let suspended = if policy.suspended() { "; it stays suspended (spec.suspend)" } else { "" };
    match active(policy, now) {
        None => format!("{kind} {name} was not paused{suspended}\n"),
        Some(_) if dry => format!("{kind} {name} would be resumed (dry run, nothing was written){suspended}\n"),
        Some(old) => format!("{kind} {name} is resumed; it was paused for: {}{suspended}\n", old.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::course::tests::at;
    use super::*;
    use crate::domain::policy::Spec;

    fn policy(name: &str, pause: Option<i64>, suspended: bool) -> Policy {
        let pause = pause.map(|until| Pause { reason: "old work".into(), until: at(until) });
        Policy::new(name, Spec { suspended, pause, ..Spec::default() })
    }

    fn which(policies: &[&str], all: bool) -> Which {
        Which { policies: policies.iter().map(ToString::to_string).collect(), all }
    }

    fn names(all: &[Policy], which: &Which) -> Result<Vec<String>, String> {
        let all = All { repairs: all.to_vec(), retentions: vec![retention("nightly"), retention("one")] };
        chosen(&all, which).map(|found| found.iter().map(|policy| policy.name().to_owned()).collect())
    }

    fn retention(name: &str) -> Entry {
        let object = serde_json::json!({"metadata": {"name": name, "resourceVersion": "1"}, "spec": {}});
        crate::app::prune::read_policy(&object.to_string()).unwrap()
    }

    #[test]
    fn one_policy_need_not_be_named_and_of_several_none_is_guessed() {
        let (one, two) = (policy("one", None, false), policy("two", None, false));
        let both = [one.clone(), two];
        assert_eq!(names(&[one], &which(&[], false)).unwrap(), ["one"]);
        assert!(names(&both, &which(&[], false)).unwrap_err().starts_with("there are 2 policies (one, two)"));
        assert_eq!(names(&both, &which(&[], true)).unwrap(), ["one", "two", "nightly", "one"], "of both kinds");
        assert_eq!(names(&both, &which(&["sret/nightly", "two"], false)).unwrap(), ["nightly", "two"]);
        assert!(names(&both, &which(&["nightly"], false)).is_err(), "a name alone is a RemediationPolicy's");
        assert!(names(&both, &which(&["pod/x"], false)).unwrap_err().contains("snapshotretention/NAME"));
        assert_eq!(names(&both, &which(&["two", "two"], false)).unwrap(), ["two"]);
        assert_eq!(
            names(&both, &which(&["x"], false)).unwrap_err(),
            "there is no RemediationPolicy x; there is one, two"
        );
        assert!(names(&[], &which(&[], false)).unwrap_err().contains("no RemediationPolicy in this cluster"));
        assert!(chosen(&All::default(), &which(&[], true)).is_err());
    }

    #[test]
    fn a_pause_has_a_reason_and_an_end() {
        assert!(reason("  ").is_err() && reason(&"x".repeat(257)).is_err());
        assert_eq!(reason(" upgrade ").unwrap(), "upgrade");
        assert!(ends(at(0), Duration::ZERO).is_err());
        assert!(ends(at(0), Duration::MAX).unwrap_err().contains("has to end"));
        let now = at(5) + Duration::from_millis(300);
        assert_eq!(ends(now, Duration::from_secs(60)).unwrap(), at(66));
    }

    #[test]
    fn what_was_done_is_said_with_what_was_before() {
        let pause = Pause { reason: "upgrade".into(), until: at(303 + 7200) };
        assert_eq!(
            paused(Subject::Repairs(&policy("p", None, false)), &pause, at(303), false),
            "RemediationPolicy p is paused until 02:05:03Z, in 120m: upgrade\n"
        );
        let again = paused(Subject::Repairs(&policy("p", Some(603), false)), &pause, at(303), true);
        assert!(again.contains("would be paused (dry run, nothing was written)"), "{again}");
        assert!(again.ends_with("(before: until 00:10:03Z, in 5m, old work)\n"), "{again}");
        let resumed = |pause, suspended, dry| resumed(Subject::Repairs(&policy("p", pause, suspended)), at(303), dry);
        assert_eq!(resumed(Some(603), false, false), "RemediationPolicy p is resumed; it was paused for: old work\n");
        assert_eq!(resumed(Some(303), false, false), "RemediationPolicy p was not paused\n", "it has ended by itself");
        assert!(resumed(None, true, false).ends_with("it stays suspended (spec.suspend)\n"));
        assert!(resumed(Some(603), false, true).contains("would be resumed (dry run"));
    }
}
