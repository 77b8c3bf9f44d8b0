//! `volwarden plan`: what would be done now, and what is held by which guard until when.
//!
//! It is the daemon's own code on the same data, so that a plan is never a guess at what the daemon would do; only the
//! lease is assumed, and that a finding was seen often enough. What it cannot see it says: a plan made half blind that
//! reads "nothing to do" is worse than none.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::course::{CourseView, EpisodeView, Shown, State};
use super::{CliError, LookArgs, Outcome, Terminal, doctor, file, look, manifest, output, table as tables};
use crate::app::AppError;
use crate::app::plan::{self, Planner, Planning, Rehearsal};
use crate::config::Settings;
use crate::domain::engine::SourceView;
use crate::domain::finding::{Finding, Subject};
use crate::domain::policy::Policy;

/// Shown beneath the long help.
const EXAMPLES: &str = "\
Exit codes: 0 nothing to do, 1 something is planned or held, 2 could not tell.
It plans as the daemon that leads would. It does not write: what nothing holds is sent to the API server as a dry run,
in this user's name.";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) look: LookArgs,

    /// Plan with the RemediationPolicies of this file instead of the cluster's; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Show only what is about this namespace, and what has none (contents, drivers); all of it is planned all the same
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Whether the API server is asked to check each step that nothing holds: server or none. Nothing is written
    #[arg(long, value_enum, default_value_t, value_name = "HOW", hide_possible_values = true)]
    dry_run: Check,
}

/// Who checks a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Check {
    #[default]
    Server,
    None,
}

/// Looks, plans, and says by its exit code whether there is anything to do.
pub(super) async fn plan(args: &PlanArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let terminal = Terminal::new(args.look.no_color);
    let file = args.file.as_deref().map(filed).transpose().map_err(CliError::Usage)?;
    let (file, policies) = file.unzip();
    terminal.progress("connecting");
    let planner = plan::planner(settings, doctor::judge(settings), policies).await;
    terminal.progress("");
    let planner = planner?;
    look::observe(&planner.look, &args.look, terminal).await?;
    let mut planning = planner.look.desk.plan().await.ok_or(AppError::EngineGone)?;
    if let Some(namespace) = &args.namespace {
        planning.courses.retain(|(finding, _)| is_about(&finding.subject, namespace));
        planning.reported.retain(|one| is_about(&one.subject, namespace));
    }
    let rehearsals = match args.dry_run {
        Check::Server => rehearse(&planner, &planning, terminal).await,
        Check::None => BTreeMap::new(),
    };
    let plan = Plan::of(&planning, &rehearsals, file.as_deref());
    output::answer_as(args.look.output, &plan.view(), || table::report(&plan, terminal.colour))?;
    Ok(plan.outcome())
}

/// The file's name, and its policies.
fn filed(path: &Path) -> Result<(String, Vec<Policy>), String> {
    let (name, text) = file::read(path, "YAML")?;
    let documents = manifest::documents(&text).map_err(|wrong| format!("{name}: {wrong}"))?;
    let placed =
        |one: manifest::Document| plan::Document { place: format!("{name}, line {}", one.line), value: one.value };
    let documents: Vec<plan::Document> = documents.into_iter().map(placed).collect();
    // Everything that is wrong is told at once, and a complaint is one line.
    let policies = plan::policies(&documents).map_err(|wrong| wrong.to_string().replace('\n', "; "))?;
    Ok((name, policies))
}

/// What has no namespace may be a cause of what is in it.
fn is_about(subject: &Subject, namespace: &str) -> bool {
    subject.key.namespace.is_empty() || &*subject.key.namespace == namespace
}

/// What the API server says of each step that nothing holds; by its place among the courses.
async fn rehearse(planner: &Planner, planning: &Planning, terminal: Terminal) -> BTreeMap<usize, Rehearsal> {
    let none = BTreeMap::new();
    let plan = Plan::of(planning, &none, None);
    let unheld: Vec<_> =
        plan.items.iter().enumerate().filter_map(|(at, one)| Some((at, one.shown.unheld()?))).collect();
    if unheld.is_empty() {
        return none;
    }
    terminal.progress(&format!("asking the API server about {} steps", unheld.len()));
    let actions: Vec<_> = unheld.iter().map(|(_, planned)| &planned.action).collect();
    let said = planner.rehearse(&actions, planning.now.wall).await;
    terminal.progress("");
    unheld.iter().map(|(at, _)| *at).zip(said).collect()
}

/// Everything that is to be shown.
struct Plan<'a> {
    planning: &'a Planning,
    items: Vec<Item<'a>>,
    /// The file whose policies stand instead of the cluster's.
    file: Option<&'a str>,
}

/// One finding that has a ladder.
struct Item<'a> {
    finding: &'a Finding,
    shown: Shown<'a>,
}

impl<'a> Plan<'a> {
    fn of(planning: &'a Planning, rehearsals: &'a BTreeMap<usize, Rehearsal>, file: Option<&'a str>) -> Self {
        let item = |(at, (finding, course)): (usize, &'a (Finding, _))| Item {
            finding,
            shown: Shown {
                course,
                episode: planning.episodes.get(&finding.subject),
                rehearsal: rehearsals.get(&at),
                tried: file.is_some(),
                now: planning.now,
            },
        };
        Self { planning, items: planning.courses.iter().enumerate().map(item).collect(), file }
    }

    fn outcome(&self) -> Outcome {
        if !self.items.is_empty() {
            return Outcome::Findings;
        }
        doctor::sighted(&self.planning.sources)
    }

    fn of_state(&self, state: State) -> impl Iterator<Item = &Item<'a>> {
        self.items.iter().filter(move |item| item.shown.state() == state)
    }

    fn view(&self) -> View<'_> {
        View {
            at: self.planning.now.wall,
            file: self.file,
            policies: self.planning.policies.iter().map(PolicyView::of).collect(),
            sources: &self.planning.sources,
            plans: self.items.iter().map(ItemView::of).collect(),
            only_reported: self.planning.reported.len(),
        }
    }
}

// === For scripts ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    at: Timestamp,
    /// The policies are those of this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    policies: Vec<PolicyView<'a>>,
    sources: &'a [SourceView],
    plans: Vec<ItemView<'a>>,
    only_reported: usize,
}

#[derive(Serialize)]
struct PolicyView<'a> {
    name: &'a str,
    mode: &'static str,
    problems: &'a [String],
}

impl<'a> PolicyView<'a> {
    fn of(policy: &'a Policy) -> Self {
        Self { name: policy.name(), mode: policy.mode().as_str(), problems: policy.problems() }
    }
}

#[derive(Serialize)]
struct ItemView<'a> {
    #[serde(flatten)]
    course: CourseView<'a>,
    remediation: Option<EpisodeView<'a>>,
    finding: &'a Finding,
}

impl<'a> ItemView<'a> {
    fn of(item: &Item<'a>) -> Self {
        Self { course: item.shown.view(), remediation: item.shown.episode.map(EpisodeView::of), finding: item.finding }
    }
}

#[cfg(test)]
mod tests;
