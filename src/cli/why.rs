//! `volwarden why`: one object, healthy ones too.
//!
//! "Nothing is wrong" is an answer a person acts on, so it is given only when the list it rests on was read;
//! otherwise the answer is that it could not be told.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::course::{self, CourseView, EpisodeView, Shown};
use super::{CliError, LookArgs, Outcome, Terminal, doctor, look, output, table};
use crate::app::AppError;
use crate::app::plan::Aim;
use crate::app::prune::{self, Told};
use crate::config::Settings;
use crate::domain::engine::{Explanation, SourceView};
use crate::domain::fact::Source;
use crate::domain::finding::{Cause, Finding, Subject, Verdict};
use crate::domain::name::Key;
use crate::domain::prune::part::Part;
use crate::domain::prune::plan::Fate;
use crate::domain::prune::relic::Thing;
use crate::domain::record::Kind;
use crate::domain::remedy::ladder;

#[derive(Args, Clone, Debug)]
pub(super) struct WhyArgs {
    /// KIND [NAMESPACE/]NAME or KIND/NAME; kinds: volumesnapshot (vs), volumesnapshotcontent (vsc),
    /// persistentvolumeclaim (pvc), csidriver, lease
    #[arg(value_name = "OBJECT", num_args = 1..=2, required = true)]
    object: Vec<String>,

    /// Namespace of the object [default: the kubeconfig context's, or `default`]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    #[command(flatten)]
    look: LookArgs,
}

/// Looks, explains, and says by its exit code whether something is wrong.
pub(super) async fn why(args: &WhyArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let asked = Asked::parse(&args.object, args.namespace.as_deref()).map_err(CliError::Usage)?;
    let terminal = Terminal::new(args.look.no_color);
    let surveyor = prune::surveyor(settings, doctor::judge(settings)).await?;
    let looked = &surveyor.look;
    let subject = asked.subject(&looked.namespace);
    look::observe(looked, &args.look, terminal).await?;
    let progress = looked.desk.progress().await.ok_or(AppError::EngineGone)?;
    let (explanation, _) = looked.desk.explain(subject.clone()).await.ok_or(AppError::EngineGone)?;
    let aim = looked.desk.aim(subject).await.ok_or(AppError::EngineGone)?;
    let pruning = match pruned_as(&explanation) {
        Some(thing) => surveyor.fates(thing, &explanation.subject.key).await.map_err(|error| error.to_string()),
        None => Ok(Vec::new()),
    };
    let blind = blind(&explanation, &progress.sources);
    let answer = Answer { explanation: &explanation, aim: &aim, blind, pruning };
    output::answer_as(args.look.output, &answer.view(), || answer.table(terminal.colour))?;
    Ok(answer.outcome())
}

/// The source that holds such objects, when it could not be read.
fn blind(explanation: &Explanation, sources: &[SourceView]) -> Option<String> {
    let source = match explanation.subject.kind {
        Kind::VolumeSnapshot => Source::Snapshots,
        Kind::VolumeSnapshotContent => Source::Contents,
        Kind::PersistentVolumeClaim => Source::Claims,
        Kind::CsiDriver => Source::CsiDrivers,
        Kind::Lease => Source::Leases,
    };
    sources.iter().find(|view| view.kind == source.as_str() && !table::is_known(view)).map(table::blindness)
}

/// What SnapshotRetentions would know it as, where they may say something of it.
fn pruned_as(explanation: &Explanation) -> Option<Thing> {
    if matches!(explanation.verdict, Verdict::NotFound) {
        return None;
    }
    match explanation.subject.kind {
        Kind::VolumeSnapshot => Some(Thing::Snapshot),
        Kind::VolumeSnapshotContent => Some(Thing::Content),
        Kind::PersistentVolumeClaim => Some(Thing::Claim),
        Kind::CsiDriver | Kind::Lease => None,
    }
}

/// What was asked for, before the default namespace is known.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    kind: Kind,
    namespace: Option<String>,
    name: String,
}

impl Asked {
    fn parse(words: &[String], namespace: Option<&str>) -> Result<Self, String> {
        let (kind, object) = match words {
            [kind, object] => (kind.as_str(), object.as_str()),
            [one] => one.split_once('/').ok_or_else(|| {
                format!("{one:?} names no object: write KIND [NAMESPACE/]NAME, such as volumesnapshot app/db-1")
            })?,
            _ => return Err("write KIND [NAMESPACE/]NAME, such as volumesnapshot app/db-1".to_owned()),
        };
        let kind = Kind::from_word(kind).ok_or_else(|| {
            format!(
                "{kind:?} is no kind to ask about: write volumesnapshot (vs), volumesnapshotcontent (vsc), \
                 persistentvolumeclaim (pvc), csidriver or lease"
            )
        })?;
        let (own, name) = object.split_once('/').map_or((None, object), |(own, name)| (Some(own), name));
        if name.is_empty() || name.contains('/') || own == Some("") {
            return Err(format!("{object:?} is no name: write NAME or NAMESPACE/NAME"));
        }
        if own.is_some() && !namespaced(kind) {
            return Err(format!("a {kind} has no namespace: write its name alone"));
        }
        if let (Some(own), Some(flag)) = (own, namespace)
            && own != flag
        {
            return Err(format!("{object:?} and --namespace {flag} name two namespaces: leave one out"));
        }
        Ok(Self { kind, namespace: own.or(namespace).map(str::to_owned), name: name.to_owned() })
    }

    fn subject(self, default: &str) -> Subject {
        let key = if namespaced(self.kind) {
            Key::namespaced(self.namespace.unwrap_or_else(|| default.to_owned()), self.name)
        } else {
            Key::cluster(self.name)
        };
        Subject::new(self.kind, key)
    }
}

fn namespaced(kind: Kind) -> bool {
    matches!(kind, Kind::VolumeSnapshot | Kind::PersistentVolumeClaim | Kind::Lease)
}

/// An explanation with what it may be worth.
struct Answer<'a> {
    explanation: &'a Explanation,
    aim: &'a Aim,
    blind: Option<String>,
    /// What SnapshotRetentions would do with it, or why that cannot be told.
    pruning: Result<Vec<Told>, String>,
}

/// What a SnapshotRetention would do with it.
#[derive(Serialize)]
struct PruningView {
    policy: String,
    part: &'static str,
    mode: &'static str,
    /// `Kept`, `Held` or `Pruned`.
    fate: &'static str,
    /// What holds it.
    hold: Option<&'static str>,
    /// Why, in words.
    why: String,
}

impl PruningView {
    fn of(told: &Told) -> Self {
        let (fate, hold, why) = match &told.fate {
            Fate::Kept(reasons) => ("Kept", None, reasons.to_string()),
            Fate::Held(hold) => ("Held", Some(hold.as_str()), hold.words().to_owned()),
            Fate::Pruned | Fate::Outside if told.part == Part::Snapshots => {
                ("Pruned", None, "no count keeps it".to_owned())
            }
            Fate::Pruned | Fate::Outside => ("Pruned", None, format!("old enough for {}", told.part.field())),
        };
        let mode = told.mode.as_str();
        Self { policy: told.policy.to_string(), part: told.part.as_str(), mode, fate, hold, why }
    }

    fn line(&self) -> String {
        let Self { policy, mode, why, .. } = self;
        match (self.fate, self.hold) {
            ("Kept", _) => format!("SnapshotRetention {policy} keeps it: {why}"),
            (_, Some(hold)) => format!("SnapshotRetention {policy} leaves it, {hold}: {why}"),
            _ => format!("SnapshotRetention {policy}, mode {mode}, lets it go: {why}"),
        }
    }
}

#[derive(Serialize)]
struct SubjectView<'a> {
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

/// The answer as a script sees it.
#[derive(Serialize)]
struct View<'a> {
    subject: SubjectView<'a>,
    verdict: &'static str,
    summary: String,
    until: Option<Timestamp>,
    finding: Option<&'a Finding>,
    related: &'a [Cause],
    /// There is a finding, and nothing is ever done about its class.
    #[serde(rename = "onlyReported")]
    only_reported: bool,
    /// What its ladder comes to.
    next: Option<CourseView<'a>>,
    remediation: Option<EpisodeView<'a>>,
    /// What each SnapshotRetention that applies to it would do; null: it cannot be told.
    retention: Option<Vec<PruningView>>,
}

impl Answer<'_> {
    fn outcome(&self) -> Outcome {
        match &self.explanation.verdict {
            Verdict::Finding(_) => Outcome::Findings,
            Verdict::Normal { .. } if self.blind.is_none() => Outcome::Clean,
            Verdict::Normal { .. } | Verdict::NotFound => Outcome::Unknown,
        }
    }

    /// One line that answers the question.
    fn summary(&self) -> String {
        let subject = &self.explanation.subject;
        match (&self.explanation.verdict, &self.blind) {
            (Verdict::Finding(finding), _) => finding.summary.clone(),
            (_, Some(blind)) => format!("could not tell: {blind}"),
            (Verdict::Normal { summary, .. }, None) => summary.clone(),
            (Verdict::NotFound, None) if namespaced(subject.kind) => format!(
                "no such {} in namespace {}; -n names another, and `kubectl get {} -A` lists all",
                subject.kind,
                subject.key.namespace,
                subject.kind.as_str().to_ascii_lowercase()
            ),
            (Verdict::NotFound, None) => {
                format!(
                    "no such {0}; `kubectl get {1}` lists all",
                    subject.kind,
                    subject.kind.as_str().to_ascii_lowercase()
                )
            }
        }
    }

    fn view(&self) -> View<'_> {
        let subject = &self.explanation.subject;
        let namespace = &*subject.key.namespace;
        let (verdict, until, finding) = match &self.explanation.verdict {
            Verdict::Finding(finding) => ("Finding", None, Some(&**finding)),
            Verdict::NotFound if self.blind.is_none() => ("NotFound", None, None),
            Verdict::Normal { until, .. } if self.blind.is_none() => ("Normal", *until, None),
            Verdict::Normal { .. } | Verdict::NotFound => ("Unknown", None, None),
        };
        View {
            subject: SubjectView {
                kind: subject.kind.as_str(),
                namespace: (!namespace.is_empty()).then_some(namespace),
                name: &subject.key.name,
            },
            verdict,
            summary: self.summary(),
            until,
            finding,
            related: &self.explanation.related,
            only_reported: finding.is_some_and(|finding| ladder(finding.class).is_empty()),
            next: self.shown().map(|shown| shown.view()),
            remediation: self.aim.episode.as_ref().map(EpisodeView::of),
            retention: self.pruning.as_ref().ok().map(|all| all.iter().map(PruningView::of).collect()),
        }
    }

    fn table(&self, colour: bool) -> String {
        let mut out = String::new();
        let subject = &self.explanation.subject;
        let Verdict::Finding(finding) = &self.explanation.verdict else {
            let (code, mark) = match self.view().verdict {
                "Normal" => ("32", "ok"),
                "NotFound" => ("33", "not found"),
                _ => ("33", "unknown"),
            };
            let _ = writeln!(out, "{}  {subject}", table::paint(colour, code, mark));
            table::labelled(&mut out, "  ", "why", &self.summary());
            self.related(&mut out);
            self.episode(&mut out);
            self.retained(&mut out);
            return out;
        };
        let since = table::age(finding.since, self.aim.now.wall);
        let unsure = if finding.unverified { "  (unverified)" } else { "" };
        let head = table::paint(colour, "31", finding.class.as_str());
        let _ = writeln!(out, "{head}  {subject}  {since}{unsure}");
        table::labelled(&mut out, "  ", "why", &finding.summary);
        for evidence in &finding.evidence {
            table::labelled(&mut out, "  ", "seen", evidence);
        }
        if let Some(cause) = &finding.cause {
            table::labelled(&mut out, "  ", "cause", &cause.to_string());
        }
        table::labelled(&mut out, "  ", "helps", &finding.repair.text);
        for risk in table::risks(finding) {
            table::labelled(&mut out, "  ", "risk", risk);
        }
        table::labelled(&mut out, "  ", "docs", &finding.class.docs());
        self.related(&mut out);
        self.repair(&mut out, finding);
        self.retained(&mut out);
        out
    }

    /// What pruning would do with it.
    fn retained(&self, out: &mut String) {
        match &self.pruning {
            Ok(all) => {
                for told in all {
                    table::labelled(out, "  ", "prune", &PruningView::of(told).line());
                }
            }
            Err(why) => table::labelled(out, "  ", "prune", &format!("what would be pruned cannot be told: {why}")),
        }
    }

    /// What its ladder comes to, where it has a finding.
    fn shown(&self) -> Option<Shown<'_>> {
        let course = self.aim.course.as_ref()?;
        let finding = matches!(self.explanation.verdict, Verdict::Finding(_));
        let episode = self.aim.episode.as_ref();
        finding.then_some(Shown { course, episode, rehearsal: None, tried: false, now: self.aim.now })
    }

    /// The next rung, with every guard's verdict.
    fn repair(&self, out: &mut String, finding: &Finding) {
        if ladder(finding.class).is_empty() {
            table::labelled(out, "  ", "repair", "none: what is like this is only reported");
        } else if let Some(shown) = self.shown() {
            for (label, text) in shown.step().iter().chain(&shown.guards()) {
                table::labelled(out, "  ", label, text);
            }
            if let Some(hash) = shown.hash() {
                table::labelled(out, "  ", "plan", hash);
            }
            // A command is copied: it is never wrapped.
            if let Some((label, command)) = shown.approval() {
                let _ = writeln!(out, "  {label:<width$}{command}", width = table::LABEL);
            }
        }
        self.episode(out);
    }

    /// Its open entry of the ledger.
    fn episode(&self, out: &mut String) {
        let Some(record) = &self.aim.episode else { return };
        let said = if record.message.is_empty() { String::new() } else { format!(": {}", record.message) };
        table::labelled(out, "  ", "entry", &format!("{}{said}", course::entry(record)));
        if let Some(last) = record.attempts.last() {
            table::labelled(out, "  ", "tried", &course::attempt(last, self.aim.now.wall));
        }
    }

    fn related(&self, out: &mut String) {
        let cause = match &self.explanation.verdict {
            Verdict::Finding(finding) => finding.cause.as_ref(),
            Verdict::Normal { .. } | Verdict::NotFound => None,
        };
        for related in self.explanation.related.iter().filter(|related| Some(*related) != cause) {
            table::labelled(out, "  ", "see", &related.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::course::tests::{at, finding as step_finding, now, record, step};
    use super::super::table::tests::{finding, source};
    use super::*;
    use crate::domain::finding::Class;
    use crate::domain::ledger::Outcome as Attempted;
    use crate::domain::policy::Mode;
    use crate::domain::prune::hold::Hold;

    fn asked(words: &[&str], namespace: Option<&str>) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Asked::parse(&words, namespace).map(|asked| asked.subject("here").to_string())
    }

    #[test]
    fn an_object_is_named_as_kubectl_names_it() {
        let ok = |words: &[&str], namespace| asked(words, namespace).unwrap();
        assert_eq!(ok(&["vs", "app/db"], None), "VolumeSnapshot app/db");
        assert_eq!(ok(&["vs", "db"], None), "VolumeSnapshot here/db");
        assert_eq!(ok(&["vs", "db"], Some("app")), "VolumeSnapshot app/db");
        assert_eq!(ok(&["vs/db"], Some("app")), "VolumeSnapshot app/db");
        assert_eq!(ok(&["vs/app/db"], None), "VolumeSnapshot app/db");
        assert_eq!(ok(&["vsc", "snap-1"], Some("app")), "VolumeSnapshotContent snap-1");
        assert_eq!(ok(&["csidriver", "csi.example.com"], None), "CSIDriver csi.example.com");
        assert_eq!(ok(&["VolumeSnapshot.snapshot.storage.k8s.io", "db"], None), "VolumeSnapshot here/db");
    }

    #[test]
    fn a_question_that_names_nothing_says_what_to_write() {
        assert!(asked(&["snapshot", "db"], None).unwrap_err().contains("volumesnapshot (vs)"));
        assert!(asked(&["db"], None).unwrap_err().contains("KIND [NAMESPACE/]NAME"));
        assert!(asked(&["vs", "a/b/c"], None).is_err());
        assert!(asked(&["vs", "/b"], None).is_err());
        assert!(asked(&["vs", "a/"], None).is_err());
        assert!(asked(&["vsc", "app/x"], None).unwrap_err().contains("has no namespace"));
        assert!(asked(&["vs", "app/db"], Some("other")).unwrap_err().contains("two namespaces"));
    }

    fn explanation(verdict: Verdict) -> Explanation {
        let subject = Subject::new(Kind::VolumeSnapshot, Key::namespaced("app", "db"));
        Explanation { subject, verdict, related: Vec::new() }
    }

    fn answer(explanation: &Explanation, state: &'static str) -> (Outcome, String, String) {
        let aim = Aim { course: None, episode: None, now: now() };
        answer_with(explanation, &aim, state)
    }

    fn answer_with(explanation: &Explanation, aim: &Aim, state: &'static str) -> (Outcome, String, String) {
        let sources = [source("VolumeSnapshot", state, 1)];
        let blind = blind(explanation, &sources);
        let answer = Answer { explanation, aim, blind, pruning: Ok(Vec::new()) };
        (answer.outcome(), answer.table(false), serde_json::to_string(&answer.view()).unwrap())
    }

    #[test]
    fn what_has_a_ladder_shows_its_next_rung_every_guard_and_its_entry() {
        let class = Class::OrphanedContent;
        let course = step(class, "c", |_| {}, |case| case.mode = Mode::Approve);
        let mut record = record(class, "c");
        record.message = "held by mode".to_owned();
        let verdict = Verdict::Finding(Box::new(step_finding(class, "c")));
        let explanation = Explanation { subject: record.subject.clone(), verdict, related: Vec::new() };
        let aim = Aim { course: Some(course), episode: Some(record), now: now() };
        let (_, table, json) = answer_with(&explanation, &aim, "Synced");
        let (_, repair) = table.split_once("docs/findings/OrphanedContent.md\n").unwrap();
        assert_eq!(
            repair,
            "  step   MarkBeingDeleted: do it to c
  held   mode: policy p is in mode Approve, and nobody has approved this plan
  allow  synced, leader, fence, paused, scope, settled, quiet, controller, storm, budget, breaker, window,
         alerts, consequence
  plan   0123456789abcdef0123456789abcdef
  needs  volwarden approve entry-c --hash 0123456789abcdef0123456789abcdef
  entry  Remediation entry-c, Held: held by mode
"
        );
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["onlyReported"], &json["next"]["state"]), (&false.into(), &"AwaitingApproval".into()));
        assert_eq!((&json["remediation"]["name"], &json["remediation"]["phase"]), (&"entry-c".into(), &"Held".into()));
    }

    #[test]
    fn what_has_no_ladder_says_so_and_an_entry_outlives_its_finding() {
        let waiting = finding(Class::WaitingForContent, Kind::VolumeSnapshot, "app/db", None);
        let (_, table, json) = answer(&explanation(Verdict::Finding(Box::new(waiting))), "Synced");
        assert!(table.ends_with("  repair none: what is like this is only reported\n"), "{table}");
        assert!(json.contains("\"onlyReported\":true,\"next\":null,\"remediation\":null"), "{json}");

        let mut record = record(Class::MissedEvent, "c");
        let plan = record.plan.clone().unwrap();
        record.intend(plan, &"me".into(), at(200));
        record.tried(Attempted::Applied, "the API server took it", at(203));
        let normal = explanation(Verdict::Normal { summary: "being deleted: normal".to_owned(), until: None });
        let aim = Aim { course: None, episode: Some(record), now: now() };
        let (outcome, table, _) = answer_with(&normal, &aim, "Synced");
        assert_eq!(outcome, Outcome::Clean);
        assert!(table.contains("  entry  Remediation entry-c, Verifying: the API server took it\n"), "{table}");
        assert!(table.ends_with("  tried  attempt 1, Nudge 103s ago, Applied: the API server took it\n"), "{table}");
    }

    #[test]
    fn what_pruning_would_do_with_it_is_said_with_why() {
        let told = |part, mode, fate| Told { policy: "nightly".into(), part, mode, fate };
        let normal = explanation(Verdict::Normal { summary: "ready".to_owned(), until: None });
        let aim = Aim { course: None, episode: None, now: now() };
        let shown = |pruning| {
            let answer = Answer { explanation: &normal, aim: &aim, blind: None, pruning };
            (answer.table(false), serde_json::to_value(answer.view()).unwrap()["retention"].clone())
        };
        let held = told(Part::Snapshots, Mode::Enforce, Fate::Held(Hold::Keep));
        let gone = told(Part::FailedSnapshots, Mode::Approve, Fate::Pruned);
        let (table, json) = shown(Ok(vec![held, gone]));
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "  prune  SnapshotRetention nightly leaves it, Keep: it carries volwarden.dev/keep",
                "  prune  SnapshotRetention nightly, mode Approve, lets it go: old enough for cleanup.failedSnapshots",
            ]
        );
        assert_eq!(
            (&json[0]["fate"], &json[0]["hold"], &json[1]["part"]),
            (&"Held".into(), &"Keep".into(), &"FailedSnapshots".into())
        );
        let (table, json) = shown(Err("cannot list Namespaces: 403".to_owned()));
        assert!(table.contains("cannot be told: cannot list Namespaces: 403") && json.is_null(), "{table}");
    }

    #[test]
    fn healthy_is_said_only_of_what_was_read() {
        let normal = explanation(Verdict::Normal { summary: "being deleted for 40 s: normal".to_owned(), until: None });
        let (outcome, table, json) = answer(&normal, "Synced");
        assert_eq!(outcome, Outcome::Clean);
        assert_eq!(table, "ok  VolumeSnapshot app/db\n  why    being deleted for 40 s: normal\n");
        assert!(json.contains("\"verdict\":\"Normal\""), "{json}");
        let (outcome, table, json) = answer(&normal, "Forbidden");
        assert_eq!(outcome, Outcome::Unknown);
        assert!(table.contains("could not tell: VolumeSnapshot is forbidden to us"), "{table}");
        assert!(json.contains("\"verdict\":\"Unknown\""), "{json}");
    }

    #[test]
    fn an_unknown_object_and_a_finding() {
        let (outcome, table, _) = answer(&explanation(Verdict::NotFound), "Synced");
        assert_eq!(outcome, Outcome::Unknown);
        assert!(table.starts_with("not found  VolumeSnapshot app/db\n"), "{table}");
        assert!(table.contains("no such VolumeSnapshot in namespace app"), "{table}");
        let down = finding(Class::ControllerDown, Kind::Lease, "kube-system/leader", None);
        let waiting = finding(Class::WaitingForContent, Kind::VolumeSnapshot, "app/db", Some(&down));
        let (outcome, table, json) = answer(&explanation(Verdict::Finding(Box::new(waiting))), "Synced");
        assert_eq!(outcome, Outcome::Findings);
        assert!(table.starts_with("WaitingForContent  VolumeSnapshot app/db  5m3s\n  why"), "{table}");
        assert!(table.contains("  seen   seen\n  cause  ControllerDown Lease kube-system/leader\n"), "{table}");
        assert!(json.contains("\"class\":\"WaitingForContent\""), "{json}");
    }
}
