//! A repository at one look, for a person: what it is, whether maintenance truly happened, and the answer to "locked".

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::super::output;
use super::super::table::LABEL;
use super::super::{CliError, Format, Outcome};
use crate::app::kopia::{Listed, Missed};
use crate::domain::kopia::{Class, Cycle, Failure, LockView, Repository, Source, Standing, Upkeep};
use crate::domain::words::{self, size};

/// Columns of a label with what follows it.
const WIDTH: usize = LABEL + 7;

/// Shows it.
pub(super) fn show(standing: &Standing, format: Format) -> Result<Outcome, CliError> {
    output::answer_as(format, standing, || text(standing))?;
    Ok(if !standing.failures.is_empty() {
        Outcome::Findings
    } else if !standing.unclear.is_empty() {
        Outcome::Unknown
    } else {
        Outcome::Clean
    })
}

/// One label with what it says.
pub(super) fn line(out: &mut String, label: &str, what: &str) {
    let _ = writeln!(out, "{label:WIDTH$}{what}");
}

/// It in words.
pub(super) fn text(standing: &Standing) -> String {
    let mut out = String::new();
    if let Some(repository) = &standing.repository {
        describe(&mut out, repository);
    }
    line(&mut out, "we are", &standing.identity.to_string());
    if let Some(upkeep) = &standing.maintenance {
        maintained(&mut out, upkeep, standing);
    }
    if let Some(stored) = standing.size {
        line(&mut out, "size", &format!("{} in {} blobs", size(stored.bytes), stored.blobs));
    }
    if let Some(blobs) = standing.epochs.index_blobs {
        let epoch = standing.epochs.current.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
        let bytes = size(standing.epochs.index_bytes.unwrap_or_default());
        line(&mut out, "index", &format!("{} ({bytes}){epoch}", words::count(blobs, "blob")));
    }
    lock(&mut out, &standing.lock, standing.failures.iter().any(is_upgrade));
    for failure in &standing.failures {
        line(&mut out, "FAILED", &failure.to_string());
    }
    for why in &standing.unclear {
        line(&mut out, "unclear", why);
    }
    if let Some(sources) = &standing.sources {
        out.push('\n');
        out.push_str(&table(sources, standing.at));
    }
    out
}

fn describe(out: &mut String, repository: &Repository) {
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".to_owned());
    let place = repository.path.as_deref().unwrap_or_default();
    line(out, "repository", &format!("{} {place}", word(&repository.storage)));
    line(out, "unique ID", &word(&repository.unique_id));
    let format = repository.format.map_or_else(|| "?".to_owned(), |format| format.to_string());
    line(out, "format", &format!("{format}, {}, {}", word(&repository.hash), word(&repository.encryption)));
    if let (Some(free), Some(all)) = (repository.volume_available, repository.volume_capacity) {
        line(out, "volume", &format!("{} free of {}", size(free), size(all)));
    }
}

fn maintained(out: &mut String, upkeep: &Upkeep, standing: &Standing) {
    let owner = match &upkeep.owner {
        Some(owner) if upkeep.ours => format!("{owner}, which is us"),
        Some(owner) => format!("{owner}, not us: we run no maintenance here"),
        None => "nobody: no maintenance runs here".to_owned(),
    };
    line(out, "owner", &owner);
    line(out, "cycles", &format!("quick {}, full {}", cycle(upkeep.quick), cycle(upkeep.full)));
    if upkeep.tasks.is_empty() {
        line(out, "maintenance", "has never run");
    }
    for task in &upkeep.tasks {
        let success = match task.success {
            Some(at) => format!("{} ago", words::short(words::age(standing.at, at))),
            None => "never".to_owned(),
        };
        let freed = task.freed_bytes.filter(|bytes| *bytes > 0);
        let freed = freed.map(|bytes| format!(", freed {}", size(bytes))).unwrap_or_default();
        let failed =
            task.failed_since.as_ref().map(|why| format!("; its newest run failed: {why}")).unwrap_or_default();
        line(out, "  succeeded", &format!("{:<32}{success}{freed}{failed}", task.task));
    }
}

fn cycle(cycle: Cycle) -> String {
    match cycle.interval {
        Some(interval) if cycle.enabled => format!("every {}", words::short(interval)),
        _ if cycle.enabled => "on".to_owned(),
        _ => "off".to_owned(),
    }
}

fn is_upgrade(failure: &Failure) -> bool {
    failure.class == Class::UpgradeInProgress
}

/// What a lock of kopia's is, and that there is nothing to unlock.
fn lock(out: &mut String, lock: &LockView, upgrade: bool) {
    if upgrade {
        line(out, "lock", "the format is being changed: nobody may write until that ends");
    }
    let held: Vec<String> = lock.holders.iter().map(ToString::to_string).collect();
    if held.is_empty() {
        line(out, "lock", &format!("nobody on this machine holds {}", lock.file));
    } else {
        line(out, "lock", &format!("{} is held by {}: maintenance runs", lock.file, held.join(", ")));
    }
    line(out, "", "there is nothing to unlock: backups take no lock, and this one goes with its process");
    line(
        out,
        "movers",
        "not looked for: no cluster is asked here; with a KopiaRepository, volwarden kopia status NAME does",
    );
}

/// For a script.
#[derive(Serialize)]
struct Answer<'a> {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<&'a [Source]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unclear: Option<&'a str>,
}

/// Shows the sources.
pub(super) fn show_sources(listed: &Listed, format: Format) -> Result<Outcome, CliError> {
    let mut answer = Answer { at: listed.at, sources: None, failure: None, unclear: None };
    let (outcome, text) = match &listed.sources {
        Ok(sources) => {
            answer.sources = Some(sources);
            (Outcome::Clean, table(sources, listed.at))
        }
        Err(Missed::Failed(failure)) => {
            answer.failure = Some(failure);
            (Outcome::Findings, format!("no list: {failure}\n"))
        }
        Err(Missed::Unclear(why)) => {
            answer.unclear = Some(why);
            (Outcome::Unknown, format!("no list: {why}\n"))
        }
    };
    output::answer_as(format, &answer, || text)?;
    Ok(outcome)
}

fn table(sources: &[Source], now: Timestamp) -> String {
    if sources.is_empty() {
        return "nothing is backed up here\n".to_owned();
    }
    let width = sources.iter().map(|source| source.source.chars().count()).max().unwrap_or_default().max(6);
    let mut out = format!("{:width$}  {:>9}  {:>6}  {:>10}\n", "SOURCE", "SNAPSHOTS", "NEWEST", "SIZE");
    for source in sources {
        let newest = source.newest.map_or_else(|| "none".to_owned(), |at| words::short(words::age(now, at)));
        let bytes = source.newest_bytes.map_or_else(|| "?".to_owned(), size);
        let _ = write!(out, "{:width$}  {:>9}  {newest:>6}  {bytes:>10}", source.source, source.snapshots);
        if source.incomplete > 0 {
            let _ = write!(out, "  {} not complete", source.incomplete);
        }
        if source.newest_failed > 0 {
            let _ = write!(out, "  {} files of the newest could not be read", source.newest_failed);
        }
        out.push('\n');
    }
    out
}
