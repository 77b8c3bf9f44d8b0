//! What the pod of a Job runs: one task on a repository that is mounted, and a report of it in the termination message.
//!
//! A Job that ends with 0 proves nothing: whoever made it reads the report. It is written whatever happens, also when the
//! pod is told to stop.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::super::{CliError, Outcome};
use crate::app::kopia::{self as desk, Clearance, Cluster, Errand, Order, Place};
use crate::domain::kopia::epochs::{Parameter, parameter};
use crate::domain::kopia::settings::Wish;
use crate::domain::repository::Task;
use crate::domain::repository::own::Candidate;
use crate::domain::repository::report::{Ended, Report};

#[derive(Args, Clone)]
pub(super) struct TaskArgs {
    /// What is done: stats, own, quick, full, verify, verify-whole, expire or settings
    #[arg(value_name = "TASK", value_parser = task)]
    task: Task,

    /// Host part of our identity volwarden@HOST
    #[arg(long, value_name = "HOST")]
    host: String,

    /// The repository's unique ID: with another nothing is done
    #[arg(long, value_name = "ID")]
    unique_id: Option<String>,

    /// The folder of the repository [default: that of KOPIA_REPOSITORY, as filesystem:///mnt/repository]
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,

    /// The repository as `filesystem://` and its folder
    #[arg(long, env = "KOPIA_REPOSITORY", hide_env_values = true, hide = true)]
    repository: Option<String>,

    /// The password; a command line is no place for it
    #[arg(long, env = "KOPIA_PASSWORD", hide_env_values = true, hide = true)]
    password: Option<String>,

    /// How many of a hundred files are read whole by verify
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100), default_value_t = 1)]
    percent: u8,

    /// A source that may lose snapshots by expire; may be repeated. Without any, those of --own that are shown to be the
    /// cluster's
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,

    /// A source that may be the cluster's: it is if its newest complete snapshot that ended before BEFORE ended from FROM to
    /// TO; may be repeated
    #[arg(long, value_name = "SOURCE=FROM/TO/BEFORE")]
    own: Vec<Candidate>,

    /// What somebody has approved: of sources that are not shown to be the cluster's, and of the global policy
    #[arg(long, value_name = "HASH")]
    approved: Option<String>,

    /// A policy that is to be set by settings, of `global` or a source; may be repeated
    #[arg(long, value_name = "TARGET=LATEST,HOURLY,DAILY,WEEKLY,MONTHLY,ANNUAL")]
    keep: Vec<Wish>,

    /// A parameter of the index's epochs that is to be set by settings, in seconds, MiB or as a count; may be repeated
    #[arg(long, value_name = "NAME=NUMBER", value_parser = parameter)]
    epoch: Vec<(Parameter, u64)>,

    /// When something was last set by an approval
    #[arg(long, value_name = "TIME")]
    approved_before: Option<jiff::Timestamp>,

    /// A source of which it is known that its newest snapshot is small; may be repeated
    #[arg(long, value_name = "SOURCE")]
    accept_shrunk: Vec<String>,

    /// Delete so many snapshots at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,

    /// Delete, if the terms are these; else only say what would go
    #[arg(long, value_name = "TERMS")]
    delete: Option<String>,

    /// The kopia program
    #[arg(long, env = "VOLWARDEN_KOPIA", hide_env_values = true, value_name = "PROGRAM", default_value = "kopia")]
    kopia: PathBuf,

    /// End kopia if it takes longer
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration, default_value = "48h")]
    timeout: Duration,

    /// Where the report is written
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    report: PathBuf,
}

impl std::fmt::Debug for TaskArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskArgs").field("task", &self.task).finish_non_exhaustive()
    }
}

fn task(word: &str) -> Result<Task, String> {
    Task::from_name(word).ok_or_else(|| {
        let names: Vec<&str> = Task::ALL.iter().map(|task| task.as_str()).collect();
        format!("{word:?} is no task; write {}", names.join(", "))
    })
}

/// Does it, and gives what came of it.
pub(super) async fn run(args: &TaskArgs) -> Report {
    let errand = match errand(args) {
        Ok(errand) => errand,
        Err(why) => return Report { result: Ended::NotRun, ..Report::unclear(args.task, why) },
    };
    match desk::errand(&errand).await {
        Ok(report) => report,
        Err(error) => Report { result: Ended::NotRun, ..Report::unclear(args.task, error.to_string()) },
    }
}

/// The report of a task that was told to stop.
pub(super) fn stopped(args: &TaskArgs) -> Report {
    Report::unclear(args.task, "its pod was told to stop: kopia was ended, and what it had done by then cannot be told")
}

/// Writes the report where the kubelet finds it, and the same into the log.
pub(super) fn tell(args: &TaskArgs, report: &Report) -> Result<Outcome, CliError> {
    let line = report.line();
    desk::log(&line);
    std::fs::write(&args.report, &line)?;
    Ok(match report.result {
        Ended::Happened => Outcome::Clean,
        Ended::Failed | Ended::NotRun => Outcome::Findings,
        Ended::Unclear => Outcome::Unknown,
    })
}

fn errand(args: &TaskArgs) -> Result<Errand, String> {
    let folder = match (&args.path, args.repository.as_deref()) {
        (Some(path), _) => path.clone(),
        (None, Some(url)) => folder(url)?,
        (None, None) => {
            return Err(
                "nobody says where the repository is: set KOPIA_REPOSITORY in the Secret, or spec.path".to_owned()
            );
        }
    };
    let cluster =
        Cluster { candidates: args.own.clone(), approved: args.approved.clone(), unique_id: args.unique_id.clone() };
    let password = args.password.clone();
    let password = password.ok_or_else(|| "there is no password: set KOPIA_PASSWORD in the Secret".to_owned())?;
    Ok(Errand {
        task: args.task,
        place: Place { folder, password, host: args.host.clone(), program: args.kopia.clone(), timeout: args.timeout },
        unique_id: args.unique_id.clone(),
        percent: args.percent,
        expire: Clearance {
            sources: args.source.clone(),
            most: args.most,
            terms: args.delete.clone(),
            accepted: args.accept_shrunk.clone(),
            cluster: Some(cluster.clone()),
        },
        settings: Order {
            wishes: args.keep.clone(),
            epochs: args.epoch.iter().copied().collect(),
            cluster,
            approved_before: args.approved_before,
        },
    })
}

/// The folder of `filesystem:///mnt/repository`. What else may stand there can hold keys, and is not repeated.
fn folder(url: &str) -> Result<PathBuf, String> {
    let path = url.trim().strip_prefix("filesystem://").filter(|path| path.starts_with('/') && path.len() > 1);
    path.map(PathBuf::from).ok_or_else(|| {
        "KOPIA_REPOSITORY is no folder; write filesystem:///mnt/NAME of a volume that is mounted there: other storages are \
         not served yet"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_folder_and_its_keys_are_not_repeated() {
        assert_eq!(folder("filesystem:///mnt/repository"), Ok("/mnt/repository".into()));
        assert_eq!(folder(" filesystem:///repository\n"), Ok("/repository".into()));
        for url in ["", "filesystem://", "filesystem://x", "s3://bucket?secret=hidden", "/mnt/repository"] {
            let said = folder(url).unwrap_err();
            assert!(said.contains("filesystem:///mnt/") && !said.contains("hidden"), "{said}");
        }
        assert!(task("full").is_ok() && task("prune").unwrap_err().contains("verify-whole"));
    }
}
