//! `volwarden orphans`: what repairs left behind in the storage backend, and how the driver gets to delete it.
//!
//! Reclaiming asks a driver to delete something by a handle alone. So it is refused while the driver does not work, and
//! what is said at the end is what is known: that the driver answered OK. That storage was freed, nobody here can see.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::{CliError, Format, LookArgs, Outcome, Terminal, doctor, look, not_empty, output, table};
use crate::api::orphan::{OrphanPhase, OrphanedSnapshotSpec, OrphanedSnapshotStatus};
use crate::app::consent::{self, Orphaned, Reclaimed, reclaimable};
use crate::app::{self, AppError};
use crate::config::Settings;
use crate::domain::finding::{Class, Finding, Subject, Verdict};

/// Shown beneath the long help.
const EXAMPLES: &str = "\
It imports the handle again (a VolumeSnapshotContent with policy Delete, and a VolumeSnapshot), waits until it is bound,
and deletes the VolumeSnapshot, so that the driver deletes. It is refused if anything else in the cluster has the handle.
After an interruption the same command goes on.

Exit codes: 0 the driver answered OK, 2 refused or not finished, with one line that says why.";

#[derive(Args, Clone, Debug)]
pub(super) struct OrphansArgs {
    #[command(subcommand)]
    command: OrphansCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum OrphansCommand {
    /// List what repairs left behind in the storage backend
    List(ListArgs),
    /// Let the driver delete what was left behind
    Reclaim(ReclaimArgs),
}

#[derive(Args, Clone, Debug)]
struct ListArgs {
    /// How the answer is written: table, json or yaml
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    output: Format,

    /// Those that are reclaimed or withdrawn too
    #[arg(long)]
    all: bool,

    /// No colours, even on a terminal (the variable counts when it is not empty)
    #[arg(long, env = "NO_COLOR", hide_env_values = true, value_parser = not_empty)]
    no_color: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
struct ReclaimArgs {
    /// The OrphanedSnapshot: volwarden orphans list
    #[arg(value_name = "NAME")]
    name: String,

    /// Namespace of the VolumeSnapshot that is made for it
    #[arg(long, value_name = "NAMESPACE", default_value = "volwarden-system")]
    namespace: String,

    /// Wait at most this long; the same command goes on later
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "5m")]
    timeout: Duration,
}

pub(super) async fn orphans(args: &OrphansArgs, settings: &Settings) -> Result<Outcome, CliError> {
    match &args.command {
        OrphansCommand::List(args) => list(args, settings).await,
        OrphansCommand::Reclaim(args) => reclaim(args, settings).await,
    }
}

async fn list(args: &ListArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let hand = consent::reach(settings).await?;
    let mut all = hand.orphans().await?;
    if !args.all {
        all.retain(|entry| !entry.is_over());
    }
    let views: Vec<View<'_>> = all.iter().map(View::of).collect();
    let colour = Terminal::new(args.no_color).colour;
    output::answer_as(args.output, &views, || report(&all, hand.now(), colour))?;
    Ok(Outcome::Clean)
}

async fn reclaim(args: &ReclaimArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let terminal = Terminal::new(false);
    let hand = consent::reach(settings).await?;
    let entry = hand.orphan(&args.name).await?;
    reclaimable(&entry)?;
    works(&entry.spec.driver, settings, terminal).await?;
    let tell = |words: &str| terminal.progress(words);
    let done = hand.reclaim(&args.name, &args.namespace, args.timeout, &tell).await;
    terminal.progress("");
    output::answer(&reclaimed(&entry, &done?))?;
    Ok(Outcome::Clean)
}

/// One look, by the same code as doctor's, whether whoever has to finish the job is there.
async fn works(driver: &str, settings: &Settings, terminal: Terminal) -> Result<(), CliError> {
    let looked = app::look(settings, doctor::judge(settings)).await?;
    let args = LookArgs { output: Format::Table, observe: None, timeout: Duration::from_secs(60), no_color: false };
    look::observe(&looked, &args, terminal).await?;
    let (explained, _) = looked.desk.explain(Subject::driver(driver)).await.ok_or(AppError::EngineGone)?;
    let state = looked.desk.state().await.ok_or(AppError::EngineGone)?;
    standing(driver, &explained.verdict, &state.findings).map_err(CliError::Usage)
}

/// Why nobody would finish the job.
fn standing(driver: &str, verdict: &Verdict, findings: &[Finding]) -> Result<(), String> {
    if let Some(down) = findings.iter().find(|finding| finding.class == Class::ControllerDown) {
        return Err(format!("snapshot-controller does not work ({}): nobody would bind the import", down.summary));
    }
    match verdict {
        Verdict::Finding(finding) => Err(format!(
            "{driver} does not work now: {} ({}); only its driver can delete the snapshot",
            finding.summary, finding.class
        )),
        Verdict::NotFound => {
            Err(format!("there is no driver {driver} in this cluster; only it can delete the snapshot"))
        }
        Verdict::Normal { .. } => Ok(()),
    }
}

fn reclaimed(entry: &Orphaned, done: &Reclaimed) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "OrphanedSnapshot {} of {}", entry.metadata.name, entry.spec.driver);
    let mut line = |label, text: &str| table::labelled(&mut out, "  ", label, text);
    line("handle", &entry.spec.snapshot_handle);
    line(
        "import",
        &format!("VolumeSnapshotContent {}, VolumeSnapshot {}; both are gone again", done.content, done.snapshot),
    );
    out.push_str("The driver answered OK to its deletion. Whether storage was freed, only the backend knows.\n");
    out
}

/// Where an entry stands; one without a status was only just written down.
fn phase(entry: &Orphaned) -> &'static str {
    match entry.status.phase {
        None => "Pending",
        Some(OrphanPhase::Announced) => "Announced",
        Some(OrphanPhase::Orphaned) => "Orphaned",
        Some(OrphanPhase::Withdrawn) => "Withdrawn",
        Some(OrphanPhase::Reclaiming) => "Reclaiming",
        Some(OrphanPhase::Reclaimed) => "Reclaimed",
    }
}

fn report(all: &[Orphaned], now: Timestamp, colour: bool) -> String {
    let mut out = String::new();
    for entry in all {
        let Orphaned { metadata, spec, status } = entry;
        let head = table::paint(colour, if entry.is_over() { "32" } else { "31" }, phase(entry));
        let age = table::age(metadata.creation_timestamp, now);
        let _ = writeln!(out, "{head}  {}  {age}", metadata.name);
        let mut line = |label, text: &str| table::labelled(&mut out, "  ", label, text);
        line("driver", &spec.driver);
        line("handle", &spec.snapshot_handle);
        let snapshot = spec.origin.snapshot.as_ref();
        let from = snapshot.map(|one| format!(", VolumeSnapshot {}/{}", one.namespace, one.name)).unwrap_or_default();
        line("from", &format!("VolumeSnapshotContent {}{from}", spec.origin.content.name));
        line("why", &spec.reason);
        if let Some(message) = &status.message {
            line("state", message);
        }
        out.push('\n');
    }
    let _ = match all.iter().filter(|entry| !entry.is_over()).count() {
        0 => writeln!(out, "Nothing is left behind, as far as the ledger knows."),
        1 => writeln!(out, "1 snapshot is left behind. volwarden orphans reclaim NAME lets its driver delete it."),
        open => {
            writeln!(out, "{open} snapshots are left behind. volwarden orphans reclaim NAME lets a driver delete one.")
        }
    };
    out
}

/// An entry as a script sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    name: &'a str,
    created: Timestamp,
    phase: &'static str,
    spec: &'a OrphanedSnapshotSpec,
    status: &'a OrphanedSnapshotStatus,
}

impl<'a> View<'a> {
    fn of(entry: &'a Orphaned) -> Self {
        let Orphaned { metadata, spec, status } = entry;
        Self { name: &metadata.name, created: metadata.creation_timestamp, phase: phase(entry), spec, status }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::table::tests::finding;
    use super::*;
    use crate::domain::record::Kind;

    #[expect(clippy::needless_pass_by_value, reason = "a literal at every call")]
    fn entry(name: &str, status: Value) -> Orphaned {
        let value = json!({
            "metadata": {"name": name, "resourceVersion": "1", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"driver": "d", "snapshotHandle": "h-1", "deletionPolicy": "Delete", "reason": "its driver is gone",
                "deletionSecret": {"name": "s", "namespace": "n"},
                "origin": {"content": {"name": "c", "uid": "u"}, "snapshot": {"namespace": "app", "name": "db"}}},
            "status": status,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_left_behind_is_listed_with_where_it_came_from() {
        let all = [
            entry("orphan-1", json!({"phase": "Orphaned", "message": "nothing holds the handle"})),
            entry("orphan-2", json!({"phase": "Reclaimed"})),
            entry("orphan-3", json!({})),
        ];
        let now = Timestamp::from_second(303).unwrap();
        let said = report(&all, now, false);
        assert!(
            said.starts_with(
                "\
Orphaned  orphan-1  5m3s
  driver d
  handle h-1
  from   VolumeSnapshotContent c, VolumeSnapshot app/db
  why    its driver is gone
  state  nothing holds the handle

Reclaimed  orphan-2  5m3s
"
            ),
            "{said}"
        );
        assert!(said.contains("\nPending  orphan-3") && said.contains("\n2 snapshots are left behind."), "{said}");
        assert_eq!(report(&[], now, false), "Nothing is left behind, as far as the ledger knows.\n");
        let json = serde_json::to_value(View::of(&all[0])).unwrap();
        assert_eq!((&json["phase"], &json["spec"]["snapshotHandle"]), (&json!("Orphaned"), &json!("h-1")));
    }

    #[test]
    fn a_driver_that_does_not_work_is_not_asked_to_delete() {
        let normal = Verdict::Normal { summary: String::new(), until: None };
        assert_eq!(standing("d", &normal, &[]), Ok(()));
        assert!(standing("d", &Verdict::NotFound, &[]).unwrap_err().contains("there is no driver d"));
        let gone = finding(Class::DriverUnknown, Kind::CsiDriver, "d", None);
        let said = standing("d", &Verdict::Finding(Box::new(gone)), &[]).unwrap_err();
        assert!(said.contains("d does not work now") && said.contains("(DriverUnknown)"), "{said}");
        let down = finding(Class::ControllerDown, Kind::Lease, "kube-system/leader", None);
        assert!(standing("d", &normal, &[down]).unwrap_err().contains("snapshot-controller does not work"));
    }

    #[test]
    fn the_end_says_what_is_known_and_no_more() {
        let done = Reclaimed { content: "reclaim-1".to_owned(), snapshot: "ns/reclaim-1".to_owned() };
        let said = reclaimed(&entry("orphan-1", json!({})), &done);
        assert!(said.ends_with(
            "\nThe driver answered OK to its deletion. Whether storage was freed, only the backend knows.\n"
        ));
        assert!(said.contains("  handle h-1\n") && said.contains("VolumeSnapshot ns/reclaim-1"), "{said}");
    }
}
