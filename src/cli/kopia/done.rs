//! What came of maintenance and verification, in words and for a script.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::output;
use super::super::{CliError, Format, Outcome};
use crate::domain::kopia::{Check, Done, Failure, Round, Verdict, Verified};
use crate::domain::words;

/// For a script: one word of what came of it, and the rest as far as there is one.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<&'a [Done]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freed_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'a Verified>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unclear: Option<&'a str>,
}

/// Shows what came of maintenance.
pub(super) fn maintained(round: Round, verdict: &Verdict, format: Format) -> Result<Outcome, CliError> {
    let round = round.as_str();
    let (outcome, answer, text) = match verdict {
        Verdict::Happened(tasks) => {
            let freed = freed(tasks);
            let mut text = format!("{round} maintenance happened: {}", words::count(tasks.len(), "task"));
            let _ = match freed {
                Some(bytes) => writeln!(text, ", {} freed", words::size(bytes)),
                None => writeln!(text, "; this kopia does not tell what it freed"),
            };
            for done in tasks {
                let _ = writeln!(text, "  {}", done.task);
            }
            let answer = Answer { result: "happened", tasks: Some(tasks), freed_bytes: freed, ..Answer::default() };
            (Outcome::Clean, answer, text)
        }
        Verdict::Failed(failure) => {
            let text = format!("{round} maintenance failed: {failure}\n");
            (Outcome::Findings, Answer { result: "failed", failure: Some(failure), ..Answer::default() }, text)
        }
        Verdict::NotRun(failure) => {
            let text = format!("{round} maintenance did not run: {failure}\n");
            (Outcome::Findings, Answer { result: "notRun", failure: Some(failure), ..Answer::default() }, text)
        }
        Verdict::Unclear(why) => {
            let text = format!("whether {round} maintenance happened cannot be told: {why}\n");
            (Outcome::Unknown, Answer { result: "unclear", unclear: Some(why), ..Answer::default() }, text)
        }
    };
    output::answer_as(format, &Answer { round: Some(round), ..answer }, || text)?;
    Ok(outcome)
}

/// The bytes of all tasks, unless none of them tells.
fn freed(tasks: &[Done]) -> Option<u64> {
    tasks.iter().filter_map(|done| done.freed).reduce(u64::saturating_add)
}

/// Shows what a verification came to.
pub(super) fn verified(check: &Check, format: Format) -> Result<Outcome, CliError> {
    let (outcome, answer, text) = match check {
        Check::Sound(verified) => {
            let text = format!(
                "sound: every pack is there and whole in length, {} looked for, {} of {} files read ({})\n",
                words::count(usize::try_from(verified.objects).unwrap_or(usize::MAX), "object"),
                verified.files_read,
                verified.files,
                words::size(verified.bytes_read)
            );
            (Outcome::Clean, Answer { result: "sound", verified: Some(verified), ..Answer::default() }, text)
        }
        Check::Failed(failure) => {
            let text = format!("not verified: {failure}\n");
            (Outcome::Findings, Answer { result: "failed", failure: Some(failure), ..Answer::default() }, text)
        }
        Check::Unclear(why) => {
            let text = format!("whether it is sound cannot be told: {why}\n");
            (Outcome::Unknown, Answer { result: "unclear", unclear: Some(why), ..Answer::default() }, text)
        }
    };
    output::answer_as(format, &answer, || text)?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_nobody_told_are_not_zero() {
        let done = |freed| Done { task: "x".to_owned(), freed };
        assert_eq!(freed(&[done(None), done(None)]), None);
        assert_eq!(freed(&[done(None), done(Some(3)), done(Some(4))]), Some(7));
    }
}
