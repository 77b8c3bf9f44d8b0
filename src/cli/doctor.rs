//! `volwarden doctor`: one look at the whole cluster.
//!
//! `-n` filters what is shown and never what is read: a snapshot's cause lies in another namespace as a rule,
//! and a look that did not read it would call the effect unexplained.

use std::collections::BTreeSet;

use clap::Args;

use super::{CliError, LookArgs, Outcome, Terminal, look, output, table};
use crate::app::{self, AppError, State};
use crate::config::Settings;
use crate::domain::engine::{self, SourceView};
use crate::domain::fact::Source;
use crate::domain::finding::{Cause, Finding};

#[derive(Args, Clone, Debug)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) look: LookArgs,

    /// Show only what is about this namespace; what has none (contents, drivers, controllers) and the causes of
    /// what is shown are always shown. The whole cluster is read all the same
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Show every namespace; this is the default
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
}

/// Looks, shows, and says by its exit code whether anything was found.
pub(super) async fn doctor(args: &DoctorArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let terminal = Terminal::new(args.look.no_color);
    terminal.progress("connecting");
    let looked = app::look(settings, judge(settings)).await;
    terminal.progress("");
    let looked = looked?;
    look::observe(&looked, &args.look, terminal).await?;
    let mut state = looked.desk.state().await.ok_or(AppError::EngineGone)?;
    if let Some(namespace) = &args.namespace {
        state.findings = shown_in(namespace, state.findings);
    }
    output::answer_as(args.look.output, &state, || table::report(&state, terminal.colour))?;
    Ok(judge_exit(&state))
}

/// A one-shot command shows what a longer look might revoke, and marks it.
pub(super) fn judge(settings: &Settings) -> engine::Settings {
    engine::Settings { eager: true, min_floor: settings.min_floor, ..engine::Settings::default() }
}

fn judge_exit(state: &State) -> Outcome {
    if !state.findings.is_empty() {
        return Outcome::Findings;
    }
    sighted(&state.sources)
}

/// Nothing was found: clean if what has to be seen for that was.
pub(super) fn sighted(sources: &[SourceView]) -> Outcome {
    let blind: Vec<String> = sources.iter().filter(|source| is_blind(source)).map(table::blindness).collect();
    if blind.is_empty() {
        return Outcome::Clean;
    }
    output::complain(&format!("could not tell: {}", blind.join("; ")));
    Outcome::Unknown
}

/// Without these two lists nothing can be called healthy. Not installed is an empty list, and known.
fn is_blind(source: &SourceView) -> bool {
    let needed = [Source::Snapshots.as_str(), Source::Contents.as_str()].contains(&source.kind);
    needed && !table::is_known(source)
}

/// What is about the namespace, what has no namespace, and whatever is the cause of something shown.
fn shown_in(namespace: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let mut shown: BTreeSet<Cause> = findings
        .iter()
        .filter(|finding| {
            let own = &*finding.subject.key.namespace;
            own.is_empty() || own == namespace || finding.class.is_component()
        })
        .map(identity)
        .collect();
    // A cause may have a cause of its own; each round shows at least one more or ends.
    loop {
        let causes: Vec<Cause> = findings
            .iter()
            .filter(|finding| shown.contains(&identity(finding)))
            .filter_map(|finding| finding.cause.clone())
            .filter(|cause| !shown.contains(cause))
            .collect();
        if causes.is_empty() {
            break;
        }
        shown.extend(causes);
    }
    findings.into_iter().filter(|finding| shown.contains(&identity(finding))).collect()
}

pub(super) fn identity(finding: &Finding) -> Cause {
    Cause { class: finding.class, subject: finding.subject.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::{finding, source};
    use super::*;
    use crate::domain::finding::Class;
    use crate::domain::record::Kind;

    fn state(sources: Vec<SourceView>, findings: Vec<Finding>) -> State {
        State { sources, findings, at: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_list_that_could_not_be_read_is_never_called_clean() {
        let snapshots = |state| source("VolumeSnapshot", state, 0);
        assert_eq!(judge_exit(&state(vec![snapshots("Synced")], vec![])), Outcome::Clean);
        assert_eq!(judge_exit(&state(vec![snapshots("NotInstalled")], vec![])), Outcome::Clean);
        for blind in ["Forbidden", "Failing", "Syncing"] {
            assert_eq!(judge_exit(&state(vec![snapshots(blind)], vec![])), Outcome::Unknown, "{blind}");
        }
        assert_eq!(judge_exit(&state(vec![source("Pod", "Forbidden", 0)], vec![])), Outcome::Clean);
        let found = vec![finding(Class::ControllerDown, Kind::Lease, "kube-system/leader", None)];
        assert_eq!(judge_exit(&state(vec![snapshots("Failing")], found)), Outcome::Findings);
    }

    #[test]
    fn a_namespace_hides_others_but_not_causes_components_and_contents() {
        let down = finding(Class::ControllerDown, Kind::Lease, "kube-system/leader", None);
        let elsewhere = finding(Class::CreateStuck, Kind::VolumeSnapshot, "other/source", None);
        let findings = vec![
            down.clone(),
            finding(Class::SourcePinned, Kind::PersistentVolumeClaim, "app/data", Some(&elsewhere)),
            elsewhere,
            finding(Class::WaitingForContent, Kind::VolumeSnapshot, "third/db", Some(&down)),
            finding(Class::OrphanedContent, Kind::VolumeSnapshotContent, "snapcontent-1", None),
        ];
        let shown: Vec<String> =
            shown_in("app", findings).iter().map(|finding| finding.subject.key.to_string()).collect();
        assert_eq!(shown, ["kube-system/leader", "app/data", "other/source", "snapcontent-1"]);
    }
}
