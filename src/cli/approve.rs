//! `volwarden approve`: somebody's consent to one plan, after showing what it is.
//!
//! What is approved is the hash that was read with all that is shown, in that very version of the entry: a plan that
//! changes in between is not approved by accident. Nothing is asked back, so what cannot be meant is refused.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::course::moment;
use super::{CliError, Outcome, Terminal, approve_repository, approve_retention, not_empty, output, table};
use crate::api::APPROVED;
use crate::app::consent::{self, Hand, Trouble};
use crate::config::Settings;
use crate::domain::digest::Hash;
use crate::domain::guard::{Guard, Verdict};
use crate::domain::ledger::{Approval, Plan, Record};
use crate::domain::name::Key;
use crate::domain::policy::{Mode, Policy};
use crate::domain::words;

/// Shown beneath the long help.
const EXAMPLES: &str = "\
Exit codes: 0 approved, or approved already; 2 refused, with one line that says why.
With kubectl: kubectl annotate remediation NAME volwarden.dev/approved=HASH --overwrite";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ApproveArgs {
    /// The Remediation whose plan is approved: volwarden plan, or kubectl get remediations. A plan of a SnapshotRetention
    /// is approved by snapshotretention/NAME: volwarden retention plan; what a KopiaRepository waits for by
    /// kopiarepository/NAME: volwarden kopia status
    #[arg(value_name = "NAME")]
    name: String,

    /// Namespace of a KopiaRepository [default: that of the kubeconfig's context]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Only if this is still the plan's hash
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,

    #[command(flatten)]
    dry: DryRun,

    /// No colours, even on a terminal (the variable counts when it is not empty)
    #[arg(long, env = "NO_COLOR", hide_env_values = true, value_parser = not_empty)]
    no_color: bool,
}

/// What every command that writes takes.
#[derive(Args, Clone, Debug)]
pub(super) struct DryRun {
    /// server: the API server checks the write in full and does not carry it out; none: it is carried out
    #[arg(long, value_enum, default_value_t, value_name = "HOW", hide_possible_values = true)]
    dry_run: Dry,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Dry {
    Server,
    #[default]
    None,
}

impl DryRun {
    pub(super) fn is_dry(&self) -> bool {
        self.dry_run == Dry::Server
    }
}

/// How often it is looked whether the daemon has noticed, and for how long.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// Reads, shows and approves.
pub(super) async fn approve(args: &ApproveArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let terminal = Terminal::new(args.no_color);
    let meant = meant(&args.name).map_err(CliError::Usage)?;
    if args.namespace.is_some() && !matches!(meant, Meant::Repository(_)) {
        return Err(CliError::Usage("only a KopiaRepository has a namespace: leave --namespace away".to_owned()));
    }
    let name = match meant {
        Meant::Remediation(name) => name,
        Meant::Repository(name) => {
            let hand = consent::reach(settings).await?;
            let key = Key::namespaced(args.namespace.as_deref().unwrap_or(hand.namespace()), name);
            return approve_repository::approve(&hand, &key, args.hash.as_deref(), args.dry.is_dry()).await;
        }
        Meant::Retention(name) => {
            let (hand, hash) = (consent::reach(settings).await?, args.hash.as_deref());
            return approve_retention::approve(&hand, name, hash, args.dry.is_dry(), terminal).await;
        }
    };
    let hand = consent::reach(settings).await?;
    let record = hand.remediation(name).await?;
    let plan = approvable(&record, args.hash.as_deref()).map_err(CliError::Usage)?;
    let given = given(&record, &plan.hash, hand.now());
    let entry = match given {
        Given::Not | Given::Noticed(_) | Given::Unnoticed => record.clone(),
        Given::Expired if args.dry.is_dry() => record.clone(),
        Given::Expired => withdraw(&hand, &record, &plan.hash, terminal).await?,
    };
    if matches!(given, Given::Not | Given::Expired) {
        hand.approve(&entry, Some(&plan.hash), args.dry.is_dry()).await?;
    }
    let policies = hand.policies().await;
    let told = Told { record: &record, plan, given, policies: &policies, dry: args.dry.is_dry(), now: hand.now() };
    output::answer(&told.text(terminal.colour))?;
    Ok(Outcome::Clean)
}

/// What is meant by a name, or by KIND/NAME.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant<'a> {
    /// A Remediation.
    Remediation(&'a str),
    /// A SnapshotRetention.
    Retention(&'a str),
    /// A KopiaRepository.
    Repository(&'a str),
}

fn meant(words: &str) -> Result<Meant<'_>, String> {
    match words.split_once('/') {
        None => Ok(Meant::Remediation(words)),
        Some((kind, name)) if is_retention(kind) => Ok(Meant::Retention(name)),
        Some((kind, name)) if is_repository(kind) => Ok(Meant::Repository(name)),
        Some((kind, name)) if matches!(kind.to_ascii_lowercase().as_str(), "remediation" | "remediations") => {
            Ok(Meant::Remediation(name))
        }
        Some((kind, _)) => Err(format!(
            "{kind:?} has no plans: write NAME of a Remediation, snapshotretention/NAME, or kopiarepository/NAME"
        )),
    }
}

/// Whether a word names the kind SnapshotRetention, as kubectl would take it.
pub(super) fn is_retention(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    matches!(word.split('.').next(), Some("snapshotretention" | "snapshotretentions" | "sret"))
}

fn is_repository(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    matches!(word.split('.').next(), Some("kopiarepository" | "kopiarepositories" | "krepo"))
}

/// The plan that would be approved, or why none would.
fn approvable<'a>(record: &'a Record, hash: Option<&str>) -> Result<&'a Plan, String> {
    let name = &record.name;
    if record.phase.is_over() {
        return Err(format!("Remediation {name} is over ({}): there is nothing to approve", record.phase.as_str()));
    }
    let Some(plan) = &record.plan else {
        return Err(format!("Remediation {name} has no plan yet: look again in a minute with volwarden plan"));
    };
    match hash {
        Some(hash) if Hash::written(hash) != plan.hash => Err(format!(
            "the plan of Remediation {name} is now {} and not {hash}: something has changed since; look at it with \
             volwarden plan, and approve that",
            plan.hash
        )),
        _ => Ok(plan),
    }
}

/// How far this very plan is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// It is not.
    Not,
    /// It is, until then.
    Noticed(Timestamp),
    /// It is, and the daemon has not noticed it yet.
    Unnoticed,
    /// It was. The daemon takes the same hash for the same approval, until it has seen it gone.
    Expired,
}

fn given(record: &Record, hash: &Hash, now: Timestamp) -> Given {
    match &record.approval {
        Some(Approval { hash: known, expires, .. }) if known == hash && now < *expires => Given::Noticed(*expires),
        Some(Approval { hash: known, .. }) if known == hash => Given::Expired,
        _ if record.approved.as_ref() == Some(hash) => Given::Unnoticed,
        _ => Given::Not,
    }
}

/// Takes an approval that has expired away, and waits until the daemon has noticed; the entry as it is then.
async fn withdraw(hand: &Hand, record: &Record, hash: &Hash, terminal: Terminal) -> Result<Record, CliError> {
    let name = &record.name;
    let mut entry = record.clone();
    if entry.approved.is_some() {
        entry = hand.approve(&entry, None, false).await?;
    }
    let tries = NOTICED_WITHIN.as_millis().checked_div(LOOK_AGAIN.as_millis()).unwrap_or_default();
    for _ in 0..tries {
        if entry.approval.is_none() {
            terminal.progress("");
            approvable(&entry, Some(hash.as_str())).map_err(CliError::Usage)?;
            return Ok(entry);
        }
        terminal.progress("the last approval has expired: waiting until the daemon has seen it gone");
        tokio::time::sleep(LOOK_AGAIN).await;
        entry = hand.remediation(name).await?;
    }
    terminal.progress("");
    Err(CliError::Usage(format!(
        "the last approval of Remediation {name} had expired and was taken away, and no daemon has noticed within {}: \
         is one running? Run this again when it does",
        words::short(NOTICED_WITHIN)
    )))
}

/// What somebody has approved.
struct Told<'a> {
    record: &'a Record,
    plan: &'a Plan,
    given: Given,
    policies: &'a Result<Vec<Policy>, Trouble>,
    dry: bool,
    now: Timestamp,
}

impl Told<'_> {
    fn text(&self, colour: bool) -> String {
        let (record, plan) = (self.record, self.plan);
        let mut out = String::new();
        let since = table::age(record.since, self.now);
        let class = table::paint(colour, "31", record.class.as_str());
        let _ = writeln!(out, "{class}  {}  {since}", record.subject);
        let mut line = |label: &str, text: &str| table::labelled(&mut out, "  ", label, text);
        line("entry", &super::course::entry(record));
        line("driver", &record.driver);
        line("step", &format!("{}: {}", plan.step, plan.summary));
        line("target", &format!("{}, uid {}", plan.target, plan.target.uid));
        if let Some(handle) = &plan.handle {
            line("handle", handle);
        }
        if plan.leaks {
            line("risk", "it leaves a snapshot behind in the storage backend");
        }
        if plan.destroys {
            line("risk", "it may destroy a backend snapshot that another cluster uses, or a last copy");
        }
        for (guard, verdict) in &record.verdicts {
            if let (false, Verdict::Wait { reason, .. } | Verdict::Refuse { reason }) =
                (matches!(guard, Guard::Mode | Guard::Consequence), verdict)
            {
                line("held", &format!("{guard}: {reason}"));
            }
        }
        line("plan", plan.hash.as_str());
        let _ = writeln!(out, "{}", self.outcome());
        if matches!(self.given, Given::Not | Given::Expired) {
            let dry = if self.dry { " --dry-run=server" } else { "" };
            let _ = writeln!(
                out,
                "With kubectl: kubectl annotate remediation {} {APPROVED}={} --overwrite{dry}",
                record.name, plan.hash
            );
        }
        out
    }

    fn outcome(&self) -> String {
        match self.given {
            Given::Noticed(expires) => format!("Approved already, until {}.", moment(expires, self.now)),
            Given::Unnoticed => "Approved already; the daemon has not noticed it yet.".to_owned(),
            Given::Not | Given::Expired if self.dry => {
                "It could be approved: the API server would take it. Nothing was written (dry run).".to_owned()
            }
            Given::Not | Given::Expired => format!("Approved. {}", self.validity()),
        }
    }

    /// Until when it will be good, as far as that can be told.
    fn validity(&self) -> String {
        let all = match self.policies {
            Ok(all) => all,
            Err(trouble) => return format!("Until when it is good cannot be told: {trouble}"),
        };
        let governing: Vec<&Policy> = all.iter().filter(|one| self.plan.policies.contains(one.name())).collect();
        if let Some(observes) = governing.iter().find(|one| one.mode() == Mode::Observe) {
            return format!("But policy {} only observes: nothing is done under it.", observes.name());
        }
        let Some(shortest) = governing.iter().min_by_key(|one| one.spec().approval_valid) else {
            return format!(
                "But the plan's policies ({}) are gone: it will be planned anew.",
                self.plan.policies.join(", ")
            );
        };
        let valid = shortest.spec().approval_valid;
        let until = self.now.checked_add(valid).map(|at| moment(at, self.now)).unwrap_or_default();
        format!(
            "It is good for this plan alone, until about {until} (approval.validFor {} of policy {}).",
            words::short(valid),
            shortest.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::course::tests::{HASH, at, record};
    use super::*;
    use crate::domain::finding::Class;
    use crate::domain::ledger::Phase;
    use crate::domain::policy::Spec;

    fn entry() -> Record {
        record(Class::OrphanedContent, "c")
    }

    fn approval(hash: &str, expires: i64) -> Approval {
        Approval { hash: Hash::written(hash), at: at(0), expires: at(expires) }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let mut over = entry();
        over.finish(Phase::Lapsed, "gone", at(1));
        assert!(approvable(&over, None).unwrap_err().contains("is over (Lapsed)"));
        let mut bare = entry();
        bare.plan = None;
        assert!(approvable(&bare, None).unwrap_err().contains("has no plan yet"));
        let changed = approvable(&entry(), Some("0123")).unwrap_err();
        assert!(changed.contains(HASH) && changed.contains("and not 0123"), "{changed}");
        assert_eq!(approvable(&entry(), Some(HASH)).unwrap().hash.as_str(), HASH);
        assert!(approvable(&entry(), None).is_ok());
    }

    #[test]
    fn a_name_alone_is_a_remediation_s() {
        assert_eq!(meant("entry-c"), Ok(Meant::Remediation("entry-c")));
        assert_eq!(meant("Remediation/entry-c"), Ok(Meant::Remediation("entry-c")));
        for kind in ["snapshotretention", "SnapshotRetention", "snapshotretentions.volwarden.dev", "sret"] {
            assert_eq!(meant(&format!("{kind}/nightly")), Ok(Meant::Retention("nightly")));
        }
        for kind in ["kopiarepository", "KopiaRepository", "kopiarepositories.volwarden.dev", "krepo"] {
            assert_eq!(meant(&format!("{kind}/nas")), Ok(Meant::Repository("nas")));
        }
        assert!(meant("pod/x").unwrap_err().contains("snapshotretention/NAME"));
    }

    #[test]
    fn an_approval_is_given_once_and_again_only_after_it_expired() {
        let hash = Hash::written(HASH);
        let mut record = entry();
        assert_eq!(given(&record, &hash, at(10)), Given::Not);
        record.approved = Some(hash.clone());
        assert_eq!(given(&record, &hash, at(10)), Given::Unnoticed);
        record.approval = Some(approval(HASH, 11));
        assert_eq!(given(&record, &hash, at(10)), Given::Noticed(at(11)));
        assert_eq!(given(&record, &hash, at(11)), Given::Expired);
        record.approved = None;
        assert_eq!(given(&record, &hash, at(11)), Given::Expired, "the daemon has not seen it gone yet");
        record.approval = Some(approval("another", 99));
        assert_eq!(given(&record, &hash, at(10)), Given::Not);
    }

    fn told(record: &Record, given: Given, policies: &Result<Vec<Policy>, Trouble>, dry: bool) -> String {
        let plan = record.plan.as_ref().unwrap();
        Told { record, plan, given, policies, dry, now: at(303) }.text(false)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands for a read that may fail")]
    fn policies(mode: Mode) -> Result<Vec<Policy>, Trouble> {
        let mut spec = Spec { mode, approval_valid: Duration::from_secs(1800), ..Spec::default() };
        spec.scope.drivers.insert("d".into());
        Ok(vec![Policy::new("other", Spec::default()), Policy::new("p", spec)])
    }

    #[test]
    fn what_was_approved_is_shown_whole_with_until_when_and_with_kubectls_words() {
        let mut record = entry();
        record.plan.as_mut().unwrap().destroys = true;
        record.verdicts = vec![
            (Guard::Mode, Verdict::Wait { until: None, reason: "nobody has approved".to_owned() }),
            (Guard::Window, Verdict::Wait { until: Some(at(900)), reason: "closed".to_owned() }),
        ];
        assert_eq!(
            told(&record, Given::Not, &policies(Mode::Approve), false),
            "\
OrphanedContent  VolumeSnapshotContent c  5m3s
  entry  Remediation entry-c, Held
  driver d
  step   MarkBeingDeleted: do it to c
  target VolumeSnapshotContent c, uid u
  handle h-1
  risk   it may destroy a backend snapshot that another cluster uses, or a last copy
  held   window: closed
  plan   0123456789abcdef0123456789abcdef
Approved. It is good for this plan alone, until about 00:35:03Z, in 30m (approval.validFor 30m of policy p).
With kubectl: kubectl annotate remediation entry-c volwarden.dev/approved=0123456789abcdef0123456789abcdef --overwrite
"
        );
    }

    #[test]
    fn the_last_line_says_what_it_is_worth() {
        let record = entry();
        let last = |given, policies: &_, dry| told(&record, given, policies, dry);
        let approve = policies(Mode::Approve);
        assert!(
            last(Given::Noticed(at(363)), &approve, false).ends_with("Approved already, until 00:06:03Z, in 60s.\n")
        );
        assert!(last(Given::Unnoticed, &approve, false).ends_with("has not noticed it yet.\n"));
        let dry = last(Given::Not, &approve, true);
        assert!(dry.contains("Nothing was written (dry run).") && dry.ends_with("--dry-run=server\n"), "{dry}");
        assert!(last(Given::Not, &policies(Mode::Observe), false).contains("policy p only observes"));
        let gone = Ok(vec![Policy::new("other", Spec::default())]);
        assert!(last(Given::Not, &gone, false).contains("the plan's policies (p) are gone"));
        let trouble = Err(Trouble::NotInstalled { plural: "remediationpolicies" });
        assert!(last(Given::Expired, &trouble, false).contains("Approved. Until when it is good cannot be told: "));
        let mut two = record.clone();
        two.plan.as_mut().unwrap().policies = vec![Arc::from("p"), Arc::from("q")];
        let Ok(mut all) = policies(Mode::Approve) else { panic!("policies") };
        all.push(Policy::new(
            "q",
            Spec { mode: Mode::Approve, approval_valid: Duration::from_secs(60), ..Spec::default() },
        ));
        assert!(told(&two, Given::Not, &Ok(all), false).contains("validFor 60s of policy q"), "the shortest counts");
    }
}
