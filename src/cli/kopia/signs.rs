//! `volwarden kopia signs`: what a repository's folder shows without a password, for who stands before the file server.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::status::line;
use crate::app::kopia as desk;
use crate::cli::{CliError, Format, Outcome, output};
use crate::domain::kopia::Failure;
use crate::domain::kopia::signs::Signs;
use crate::domain::words::{age, count, short, size};

#[derive(Args, Clone, Debug)]
pub(super) struct SignsArgs {
    /// The folder of a repository, as it is mounted here
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,

    /// How the answer is written: table, json or yaml
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    output: Format,
}

#[derive(Serialize)]
struct Answer<'a> {
    at: Timestamp,
    folder: &'a Path,
    #[serde(flatten)]
    signs: &'a Signs,
    failures: &'a [Failure],
}

/// Looks, and says what it saw.
pub(super) async fn signs(args: &SignsArgs) -> Result<Outcome, CliError> {
    let (signs, at) = desk::signs(args.folder.clone()).await.map_err(CliError::Usage)?;
    let failures = signs.failures();
    let answer = Answer { at, folder: &args.folder, signs: &signs, failures: &failures };
    output::answer_as(args.output, &answer, || text(&answer))?;
    Ok(if failures.is_empty() { Outcome::Clean } else { Outcome::Findings })
}

fn text(answer: &Answer<'_>) -> String {
    let mut out = String::new();
    let Signs { blobs, bytes, newest, maintenance, empty, .. } = answer.signs;
    let ago = |at: Timestamp| format!("{} ago", short(age(answer.at, at)));
    let blobs = count(usize::try_from(*blobs).unwrap_or(usize::MAX), "blob");
    line(&mut out, "folder", &answer.folder.display().to_string());
    line(&mut out, "holds", &format!("{blobs}, {}; {empty} of them empty", size(*bytes)));
    line(&mut out, "last write", &newest.map_or_else(|| "none".to_owned(), ago));
    let began = maintenance.map_or_else(|| "has no record here".to_owned(), |at| format!("began {}", ago(at)));
    line(&mut out, "maintenance", &began);
    line(
        &mut out,
        "",
        "whether it came to its end stands in the repository: volwarden kopia status, with the password",
    );
    for failure in answer.failures {
        line(&mut out, "FAILED", &failure.to_string());
    }
    out
}
