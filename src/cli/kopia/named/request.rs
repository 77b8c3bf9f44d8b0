//! Asking the daemon for a task of a KopiaRepository, and waiting for what comes of it.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::super::super::output::{self, Terminal};
use super::super::super::{CliError, Format, Outcome};
use crate::api::kopia::{JobOutcome, JobRecord, JobTrigger};
use crate::app::consent::Hand;
use crate::app::custody::{Entry, task_name};
use crate::domain::kopia::Class;
use crate::domain::repository::Task;
use crate::domain::repository::agenda::Hold;
use crate::domain::words::{self, size};

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_secs(2);

/// For a script.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    repository: String,
    task: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a JobRecord>,
}

/// How far a request is.
#[derive(Debug, PartialEq, Eq)]
enum Stand {
    /// It is waited for, and why.
    Waits(String),
    /// Its Job is under way.
    Runs(String),
    /// This came of it.
    Over(Box<JobRecord>),
    /// Somebody asked for something else before it was begun.
    Replaced(String),
}

/// Asks, and waits if that is wanted.
pub(super) async fn ask(
    hand: &Hand,
    entry: Entry,
    task: Task,
    (wait, dry): (Option<Duration>, bool),
    format: Format,
) -> Result<Outcome, CliError> {
    // Another value than any before, and one that says when.
    let request = format!("{}:{}", task.as_str(), hand.now());
    let mut entry = hand.demand(&entry, &request, dry).await?;
    let key = entry.custody.key().clone();
    let answer = |result| Answer {
        repository: key.to_string(),
        task: task.as_str(),
        result,
        request: None,
        waits: None,
        run: None,
    };
    if dry {
        let text = format!("{task} of KopiaRepository {key} would be asked for (dry run, nothing was written)\n");
        output::answer_as(format, &answer("dryRun"), || text)?;
        return Ok(Outcome::Clean);
    }
    let stand = |entry: &Entry| {
        let hold = hand.held(entry).into_iter().find(|(held, _)| *held == task).map(|(_, hold)| hold);
        stand(entry, task, &request, hold.as_ref())
    };
    let Some(patience) = wait else {
        let waits = match stand(&entry) {
            Stand::Waits(why) => Some(why),
            _ => None,
        };
        let answer = Answer { request: Some(&request), waits: waits.as_deref(), ..answer("asked") };
        output::answer_as(format, &answer, || {
            let why = waits.as_ref().map(|why| format!("it waits: {why}\n")).unwrap_or_default();
            format!(
                "{task} of KopiaRepository {key} is asked for\n{why}what comes of it: volwarden kopia status {} -n {}\n",
                key.name, key.namespace
            )
        })?;
        return Ok(Outcome::Clean);
    };
    let terminal = Terminal::new(true);
    let (began, mut told) = (Instant::now(), String::new());
    loop {
        let elapsed = began.elapsed();
        let now = match stand(&entry) {
            Stand::Over(record) => {
                terminal.progress("");
                let answer = Answer { request: Some(&request), run: Some(&record), ..answer(result(record.outcome)) };
                output::answer_as(format, &answer, || over(&record, task, &key.to_string()))?;
                return Ok(outcome(record.outcome));
            }
            Stand::Replaced(by) => {
                terminal.progress("");
                return Err(CliError::Usage(format!(
                    "somebody asked KopiaRepository {key} for {by} before {task} was begun: ask again"
                )));
            }
            Stand::Runs(how) | Stand::Waits(how) => how,
        };
        if elapsed >= patience {
            terminal.progress("");
            let answer = Answer { request: Some(&request), waits: Some(&now), ..answer("waiting") };
            output::answer_as(format, &answer, || {
                format!("{task} of KopiaRepository {key} is not over after {}: {now}\n", words::short(elapsed))
            })?;
            return Ok(Outcome::Unknown);
        }
        if terminal.progress {
            let line = format!("{task}, {}: {now}", words::short(elapsed));
            terminal.progress(&line.chars().take(terminal.width).collect::<String>());
        } else if now != told {
            output::complain(&format!("{task}, {}: {now}", words::short(elapsed)));
            told = now;
        }
        tokio::time::sleep(LOOK.min(patience.saturating_sub(elapsed))).await;
        // One look that fails is no end of it.
        match hand.repository(&key).await {
            Ok(seen) => entry = seen,
            Err(error) if began.elapsed() >= patience => return Err(error.into()),
            Err(_) => {}
        }
    }
}

/// How far it is, by what the object says.
fn stand(entry: &Entry, task: Task, request: &str, hold: Option<&Hold>) -> Stand {
    let status = &entry.status;
    let run = status.run.as_ref();
    if let Some(run) = run.filter(|run| run.request.as_deref() == Some(request)) {
        let waits = run.held_by.as_deref().map(|why| format!(", and waits: {why}")).unwrap_or_default();
        return Stand::Runs(format!("Job {} is under way{waits}", run.job));
    }
    // The newest that was made for a request is this one's, once the object says that it was answered or could not be run.
    let handled = status.last_handled_request.as_deref() == Some(request);
    let refused =
        status.tasks.iter().any(|one| one.task == task_name(task) && one.failed_request.as_deref() == Some(request));
    if handled || refused {
        let ours = |one: &&JobRecord| one.task == task_name(task) && one.trigger == JobTrigger::Request;
        if let Some(record) = status.history.iter().find(ours) {
            return Stand::Over(Box::new(record.clone()));
        }
    }
    if let Some(other) = entry.told.requested.as_deref().filter(|other| *other != request) {
        return Stand::Replaced(other.to_owned());
    }
    if let Some(hold) = hold {
        return Stand::Waits(hold.to_string());
    }
    match run {
        Some(run) => Stand::Waits(format!("Job {} has to end first", run.job)),
        None if status.observed_generation.is_none() => {
            Stand::Waits("nobody has looked at it yet: does the daemon run?".to_owned())
        }
        None => Stand::Waits("the daemon has not taken it up yet".to_owned()),
    }
}

fn result(outcome: JobOutcome) -> &'static str {
    match outcome {
        JobOutcome::Happened => "happened",
        JobOutcome::Failed => "failed",
        JobOutcome::NotRun => "notRun",
        JobOutcome::Unclear => "unclear",
    }
}

fn outcome(outcome: JobOutcome) -> Outcome {
    match outcome {
        JobOutcome::Happened => Outcome::Clean,
        JobOutcome::Failed | JobOutcome::NotRun => Outcome::Findings,
        JobOutcome::Unclear => Outcome::Unknown,
    }
}

fn over(record: &JobRecord, task: Task, key: &str) -> String {
    let how = match record.outcome {
        JobOutcome::Happened => "happened",
        JobOutcome::Failed => "failed",
        JobOutcome::NotRun => "did not run",
        JobOutcome::Unclear => "cannot be told",
    };
    let class = record.class.as_deref();
    let named = class.map(|class| format!("{class}: ")).unwrap_or_default();
    let remedy = class.and_then(Class::from_name).map(|class| format!("; {}", class.remedy())).unwrap_or_default();
    let freed = record.freed_bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    let freed = freed.map(|bytes| format!(", {} freed", size(bytes))).unwrap_or_default();
    let took = words::short(words::age(record.finished_at, record.started_at));
    format!("{task} of KopiaRepository {key} {how} ({took}{freed}): {named}{}{remedy}\n", record.message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(requested: &str, status: &Value) -> Entry {
        let object = json!({
            "metadata": {
                "name": "nas", "namespace": "backup", "uid": "u-1", "resourceVersion": "7", "generation": 1,
                "annotations": {"volwarden.dev/requestedAt": requested},
            },
            "spec": {"secretRef": {"name": "kopia"}}, "status": status,
        });
        crate::app::custody::read(&object.to_string()).unwrap()
    }

    fn record(task: &str, trigger: &str, outcome: &str) -> Value {
        json!({
            "task": task, "trigger": trigger, "job": format!("nas-{trigger}"), "startedAt": "2026-11-25T10:00:00Z",
            "finishedAt": "2026-11-25T10:05:00Z", "outcome": outcome, "class": "NoSpace", "message": "said",
        })
    }

    #[test]
    fn a_request_is_over_only_when_the_daemon_says_so() {
        let asked = "full:2";
        let stand = |status: &Value| stand(&entry(asked, status), Task::Full, asked, None);
        assert!(matches!(stand(&json!({})), Stand::Waits(why) if why.contains("does the daemon run?")));
        let seen = json!({"observedGeneration": 1, "lastHandledRequest": "full:1",
            "history": [record("Full", "Request", "Happened")]});
        assert!(
            matches!(stand(&seen), Stand::Waits(why) if why.contains("not taken it up")),
            "that was another request"
        );
        let mut runs = seen.clone();
        runs["run"] = json!({"task": "Full", "trigger": "Request", "request": asked, "job": "nas-2",
            "startedAt": "2026-11-25T10:00:00Z", "generation": 1, "heldBy": "another holds the Lease"});
        let Stand::Runs(how) = stand(&runs) else { panic!("it runs") };
        assert_eq!(how, "Job nas-2 is under way, and waits: another holds the Lease");
        runs["run"]["request"] = Value::Null;
        assert!(matches!(stand(&runs), Stand::Waits(why) if why == "Job nas-2 has to end first"));
        let done = json!({"lastHandledRequest": asked, "history": [
            record("Stats", "Request", "Happened"), record("Full", "Schedule", "Failed"), record("Full", "Request", "Failed"),
        ]});
        let Stand::Over(record) = stand(&done) else { panic!("it is over") };
        assert_eq!((record.job.as_str(), record.outcome), ("nas-Request", JobOutcome::Failed));
        let said = over(&record, Task::Full, "backup/nas");
        assert!(
            said.starts_with("full of KopiaRepository backup/nas failed (5m): NoSpace: said; free space"),
            "{said}"
        );
    }

    #[test]
    fn one_that_could_not_run_or_was_replaced_is_not_waited_for() {
        let status = json!({
            "tasks": [{"task": "Full", "failures": 1, "failedRequest": "full:2"}],
            "history": [record("Full", "Request", "NotRun")],
        });
        let over = stand(&entry("full:2", &status), Task::Full, "full:2", None);
        assert!(matches!(over, Stand::Over(record) if record.outcome == JobOutcome::NotRun));
        let replaced = stand(&entry("stats:3", &json!({})), Task::Full, "full:2", None);
        assert_eq!(replaced, Stand::Replaced("stats:3".to_owned()));
        let held = stand(&entry("full:2", &json!({})), Task::Full, "full:2", Some(&Hold::Suspended));
        assert_eq!(held, Stand::Waits("spec.suspend".to_owned()));
    }
}
