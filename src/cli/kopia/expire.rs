//! Which snapshots go, in words and for a script; and under which policy a source is.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::output;
use super::super::{CliError, Format, Outcome};
use crate::app::kopia::{Expired, Policies};
use crate::domain::kopia::Failure;
use crate::domain::kopia::expire::{Decision, Expiry, Held, terms};
use crate::domain::retention::Policy;
use crate::domain::words;

/// The six counts, as kopia names them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "kopia's own names")]
struct Counts {
    keep_latest: u32,
    keep_hourly: u32,
    keep_daily: u32,
    keep_weekly: u32,
    keep_monthly: u32,
    keep_annual: u32,
}

impl From<Policy> for Counts {
    fn from(policy: Policy) -> Self {
        let Policy { latest, hourly, daily, weekly, monthly, annual } = policy;
        Self {
            keep_latest: latest,
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_annual: annual,
        }
    }
}

fn counts(policy: Policy) -> String {
    let Policy { latest, hourly, daily, weekly, monthly, annual } = policy;
    format!("latest {latest}, hourly {hourly}, daily {daily}, weekly {weekly}, monthly {monthly}, annual {annual}")
}

/// For a script.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<usize>,
    sources: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unclear: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    source: &'a str,
    policy: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshots: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    going: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a Held>,
    #[serde(skip_serializing_if = "Option::is_none")]
    global_policy: Option<bool>,
}

/// Shows what became of snapshots; `asked`: they were to be deleted.
pub(super) fn expired(expired: &Expired, asked: bool, format: Format) -> Result<Outcome, CliError> {
    let (outcome, answer, text) = match expired {
        Expired::Decided(Decision { expiries: all, deleted, .. }) => {
            let sources = all.iter().map(rowed).collect();
            let result = if deleted.is_some() { "deleted" } else { "dryRun" };
            let terms = Some(terms(all).as_str().to_owned());
            let held = all.iter().any(|one| one.going.is_err());
            // Who asked for a deletion and got none has to hear of it.
            let outcome = if held || (asked && deleted.is_none()) { Outcome::Findings } else { Outcome::Clean };
            let answer = Answer { result, terms, deleted: *deleted, sources, ..Answer::default() };
            (outcome, answer, decided(all, *deleted, asked))
        }
        Expired::Failed(failure) => {
            let answer = Answer { result: "failed", failure: Some(failure), ..Answer::default() };
            (Outcome::Findings, answer, format!("nothing is known to be deleted: {failure}\n"))
        }
        Expired::Unclear(why) => {
            let answer = Answer { result: "unclear", unclear: Some(why), ..Answer::default() };
            (Outcome::Unknown, answer, format!("what was deleted cannot be told: {why}\n"))
        }
    };
    output::answer_as(format, &answer, || text)?;
    Ok(outcome)
}

fn rowed(one: &Expiry) -> Row<'_> {
    Row {
        source: &one.source,
        policy: one.policy.into(),
        snapshots: Some(one.snapshots),
        going: one.going.as_deref().ok(),
        held: one.going.as_ref().err(),
        global_policy: Some(one.global),
    }
}

fn decided(all: &[Expiry], deleted: Option<usize>, asked: bool) -> String {
    let mut out = String::new();
    for one in all {
        let _ = writeln!(out, "{}: {} ({})", one.source, words::count(one.snapshots, "snapshot"), counts(one.policy));
        if one.global {
            out.push_str("  not all six counts are its own, its user's or its host's: whoever changes the global policy changes them\n");
        }
        match &one.going {
            Ok(going) => {
                let _ = writeln!(out, "  {} would go", going.len());
            }
            Err(held) => {
                let _ = writeln!(out, "  held, {}: {}", held.reason, held.said);
            }
        }
    }
    let terms = terms(all);
    let _ = match deleted {
        Some(deleted) => writeln!(out, "{} deleted and gone", words::count(deleted, "snapshot")),
        None if asked => writeln!(out, "nothing was deleted: the terms are {terms}, and others were named"),
        None => writeln!(out, "nothing was deleted; to delete under these terms: --delete {terms}"),
    };
    out
}

/// Shows under which policy each source is.
pub(super) fn policies(policies: &Policies, format: Format) -> Result<Outcome, CliError> {
    let (outcome, answer, text) = match policies {
        Policies::Are(all) => {
            let sources = all.iter().map(policied).collect();
            let mut text = String::new();
            for (source, policy) in all {
                let _ = writeln!(text, "{source}: {}", counts(*policy));
            }
            (Outcome::Clean, Answer { result: "shown", sources, ..Answer::default() }, text)
        }
        Policies::Failed(failure) => {
            let answer = Answer { result: "failed", failure: Some(failure), ..Answer::default() };
            (Outcome::Findings, answer, format!("no policy: {failure}\n"))
        }
        Policies::Unclear(why) => {
            let answer = Answer { result: "unclear", unclear: Some(why), ..Answer::default() };
            (Outcome::Unknown, answer, format!("no policy: {why}\n"))
        }
    };
    output::answer_as(format, &answer, || text)?;
    Ok(outcome)
}

fn policied((source, policy): &(String, Policy)) -> Row<'_> {
    Row { source, policy: (*policy).into(), snapshots: None, going: None, held: None, global_policy: None }
}
