//! A KopiaRepository for a person: what the daemon saw last, what runs, what holds it, and the answer to "locked".

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::super::super::output::{self, one_line};
use super::super::super::{CliError, Format, Outcome};
use super::super::status::line;
use crate::api::condition::READY;
use crate::api::kopia::{
    EpochParameters, Expire, ExpireMode, ExpireStatus, KopiaRepositoryStatus, RetentionPolicies, SettingsStatus, Sight,
    TaskStatus,
};
use crate::app::custody::{Entry, Held, Worker, Workers};
use crate::domain::kopia::settings::{NAMES, six};
use crate::domain::repository::Task;
use crate::domain::repository::agenda::Hold;
use crate::domain::repository::findings::Class;
use crate::domain::words::{self, size};

/// What the object does not carry.
const NOT_HERE: &str = "not in the object: who holds kopia's lock on some machine, and a change of format; a Job that meets one \
                        says so in the history";

/// For a script. What cannot be read is null, and named in `unclear`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    namespace: &'a str,
    name: &'a str,
    at: Timestamp,
    status: &'a KopiaRepositoryStatus,
    held: Vec<HeldTask>,
    jobs: Option<&'a [Worker]>,
    lease: Option<&'a Held>,
    movers: Option<&'a [Worker]>,
    unclear: Vec<String>,
}

#[derive(Serialize)]
struct HeldTask {
    task: &'static str,
    hold: &'static str,
    why: String,
}

/// Shows all of it.
pub(super) fn status(
    entry: &Entry,
    workers: &Workers,
    held: &[(Task, Hold)],
    now: Timestamp,
    format: Format,
) -> Result<Outcome, CliError> {
    let key = entry.custody.key();
    let unclear = unclear(workers);
    let answer = Answer {
        namespace: &key.namespace,
        name: &key.name,
        at: now,
        status: &entry.status,
        held: held
            .iter()
            .map(|(task, hold)| HeldTask { task: task.as_str(), hold: hold.as_str(), why: hold.to_string() })
            .collect(),
        jobs: workers.jobs.as_deref().ok(),
        lease: workers.lease.as_ref().ok().and_then(Option::as_ref),
        movers: workers.movers.as_deref().ok(),
        unclear,
    };
    output::answer_as(format, &answer, || text(entry, workers, held, now))?;
    Ok(match ready(&entry.status) {
        Some(true) if !entry.status.findings.is_empty() => Outcome::Findings,
        Some(true) if answer.unclear.is_empty() => Outcome::Clean,
        Some(false) => Outcome::Findings,
        // Not looked at by the daemon, or only half of it could be read here.
        _ => Outcome::Unknown,
    })
}

fn ready(status: &KopiaRepositoryStatus) -> Option<bool> {
    use crate::api::condition::ConditionStatus::{False, True, Unknown};
    let ready = status.conditions.iter().find(|one| one.r#type == READY)?;
    match ready.status {
        True => Some(true),
        False => Some(false),
        Unknown => None,
    }
}

fn unclear(workers: &Workers) -> Vec<String> {
    let jobs = workers.jobs.as_ref().err().map(|why| format!("our Jobs: {why}"));
    let lease = workers.lease.as_ref().err().map(|why| format!("the Lease: {why}"));
    let movers = workers.movers.as_ref().err().map(|why| format!("VolSync's movers: {why}"));
    [jobs, lease, movers].into_iter().flatten().map(|why| one_line(&why)).collect()
}

fn text(entry: &Entry, workers: &Workers, held: &[(Task, Hold)], now: Timestamp) -> String {
    let status = &entry.status;
    let mut out = String::new();
    line(&mut out, "repository", &format!("KopiaRepository {}", entry.custody.key()));
    line(&mut out, "unique ID", status.unique_id.as_deref().unwrap_or("not seen yet"));
    line(&mut out, "we are", status.identity.as_deref().unwrap_or("not told by the daemon yet"));
    match &status.repository {
        Some(sight) => seen(&mut out, sight, status.identity.as_deref(), now),
        None => line(&mut out, "seen", "never: ask for a look with requestedAt=stats, or see the condition below"),
    }
    match status.conditions.iter().find(|one| one.r#type == READY) {
        Some(ready) => line(
            &mut out,
            &format!("ready {:?}", ready.status),
            &format!("{}: {}", ready.reason, one_line(&ready.message)),
        ),
        None => line(&mut out, "ready", "the daemon has not looked at it yet: does it run?"),
    }
    for finding in &status.findings {
        let since = words::short(words::age(now, finding.since));
        line(&mut out, "FINDING", &format!("{} for {since}: {}", finding.class, one_line(&finding.message)));
        if let Some(class) = Class::from_name(&finding.class) {
            line(&mut out, "", &class.docs());
        }
    }
    if let Some(stopped) = &status.stopped {
        let since = words::short(words::age(now, stopped.since));
        line(&mut out, "STOPPED", &format!("{} for {since}: {}", stopped.class, one_line(&stopped.said)));
    }
    for (task, hold) in held {
        line(&mut out, "held", &format!("{task}: {hold}"));
    }
    if let Some(asked) = entry.told.requested.as_deref().filter(|asked| Some(*asked) != entry.told.handled.as_deref()) {
        line(&mut out, "asked for", &format!("{}, not answered yet", one_line(asked)));
    }
    asking(&mut out, entry);
    tasks(&mut out, &status.tasks, now);
    if let Some(last) = status.history.first() {
        let ago = words::short(words::age(now, last.finished_at));
        let class = last.class.as_ref().map(|class| format!(" {class}")).unwrap_or_default();
        let said = one_line(&last.message);
        line(&mut out, "newest run", &format!("{:?} {:?}{class}, {ago} ago: {said}", last.task, last.outcome));
    }
    working(&mut out, entry, workers, now);
    out
}

fn seen(out: &mut String, sight: &Sight, us: Option<&str>, now: Timestamp) {
    let owner = match sight.owner.as_deref() {
        Some(owner) if Some(owner) == us => format!("{owner}, which is us"),
        Some(owner) => format!("{owner}, not us: we run no maintenance here"),
        None => "nobody: no maintenance runs here".to_owned(),
    };
    line(out, "owner", &owner);
    let number = |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let when = sight.at.map_or_else(|| "?".to_owned(), |at| format!("{} ago", words::short(words::age(now, at))));
    let (format, epoch, blobs) = (number(sight.format), number(sight.epoch), number(sight.index_blobs));
    line(out, "seen", &format!("{when}: format {format}, epoch {epoch}, {blobs} index blobs"));
    let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).map(size);
    if let (Some(stored), Some(blobs)) = (bytes(sight.bytes), sight.blobs) {
        line(out, "size", &format!("{stored} in {blobs} blobs"));
    }
    if let (Some(free), Some(all)) = (bytes(sight.volume_available), bytes(sight.volume_capacity)) {
        line(out, "volume", &format!("{free} free of {all}"));
    }
    line(out, "backed up", &format!("{} sources, {} snapshots", number(sight.sources), number(sight.snapshots)));
    let ended = sight.last_maintenance.map(|at| format!("{} ago", words::short(words::age(now, at))));
    line(out, "maintained", &ended.unwrap_or_else(|| "never, by kopia's own record".to_owned()));
}

fn tasks(out: &mut String, tasks: &[TaskStatus], now: Timestamp) {
    let ago = |at: Option<Timestamp>| {
        at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", words::short(words::age(now, at))))
    };
    let ahead =
        |at: Timestamp| if at <= now { "due".to_owned() } else { format!("in {}", words::short(words::age(at, now))) };
    for one in tasks {
        let name = format!("{:?}", one.task);
        let mut said = format!("{name:<12}{}", ago(one.last_success));
        if let Some(freed) = one.freed_bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
            let _ = write!(said, ", freed {}", size(freed));
        }
        let next = one.next.map_or_else(|| "has no schedule".to_owned(), |at| format!("next {}", ahead(at)));
        let _ = write!(said, "; {next}");
        if one.failures > 0 {
            let _ = write!(said, "; failed {} times in a row", one.failures);
            if let Some(again) = one.retry_at {
                let _ = write!(said, ", tried again {}", ahead(again));
            }
        }
        line(out, "  succeeded", &said);
    }
}

/// What is done by approval only, and how it is given.
fn asking(out: &mut String, entry: &Entry) {
    asking_expiry(out, entry);
    if let Some(approval) = entry.awaits_settings() {
        for one in &approval.changes {
            line(out, "WAITS", &format!("{}: {}", one.target, one.change));
        }
        approve(out, entry, &approval.plan);
    }
}

fn approve(out: &mut String, entry: &Entry, plan: &str) {
    let key = entry.custody.key();
    line(out, "approve", &format!("volwarden approve kopiarepository/{} -n {} --hash {plan}", key.name, key.namespace));
}

fn asking_expiry(out: &mut String, entry: &Entry) {
    let Some(approval) = entry.status.expire.as_ref().and_then(|expire| expire.approval.as_ref()) else { return };
    let awaits = entry.awaits().is_some();
    let label = if awaits { "WAITS" } else { "by approval" };
    for source in &approval.foreign {
        line(out, label, &format!("{source}: it is not shown to be this cluster's"));
    }
    for source in &approval.global_policy {
        line(out, label, &format!("{source}: a count of it is the repository's global policy's, or nobody's"));
    }
    if awaits {
        approve(out, entry, &approval.plan);
    }
}

/// What runs, who may write, and that there is nothing to unlock.
fn working(out: &mut String, entry: &Entry, workers: &Workers, now: Timestamp) {
    if let Some(run) = &entry.status.run {
        let held = run.held_by.as_deref().map(|why| format!(", and waits: {}", one_line(why))).unwrap_or_default();
        let since = words::short(words::age(now, run.started_at));
        line(out, "under way", &format!("{:?} by {:?} for {since}, Job {}{held}", run.task, run.trigger, run.job));
    }
    let job = |one: &Worker| {
        let since = one.since.map(|since| format!(" for {}", words::short(words::age(now, since)))).unwrap_or_default();
        let how = if one.suspended { ", suspended: nothing of it runs".to_owned() } else { since };
        format!("{}{how}, {}", one.job, words::count(usize::try_from(one.pods).unwrap_or(usize::MAX), "pod"))
    };
    match &workers.jobs {
        Ok(jobs) if jobs.is_empty() => line(out, "Jobs", "none of ours is under way"),
        Ok(jobs) => jobs.iter().for_each(|one| line(out, "Job", &job(one))),
        Err(why) => line(out, "Jobs", &format!("cannot be told: {}", one_line(why))),
    }
    match &workers.lease {
        Ok(Some(Held { lease, held: Some(who) })) => line(out, "Lease", &format!("{lease}: {}", one_line(who))),
        Ok(Some(Held { lease, held: None })) => line(out, "Lease", &format!("{lease}: nobody holds it")),
        Ok(None) => line(out, "Lease", "there is none: nothing of ours has written to it yet"),
        Err(why) => line(out, "Lease", &format!("cannot be told: {}", one_line(why))),
    }
    match &workers.movers {
        Ok(movers) if movers.is_empty() => {
            line(out, "movers", "no kopia mover of VolSync's is at work in this cluster");
        }
        Ok(movers) => {
            for one in movers {
                line(out, "mover", &job(one));
            }
            line(out, "", "whether a mover uses this very repository stands in its Secret, which is not read");
        }
        Err(why) => line(out, "movers", &format!("cannot be told: {}", one_line(why))),
    }
    line(
        out,
        "locks",
        "there is nothing to unlock: backups take no lock, and what is held above goes with its Job's pods",
    );
    line(out, "", NOT_HERE);
}

/// For a script.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    namespace: &'a str,
    name: &'a str,
    at: Option<Timestamp>,
    sources: Option<i64>,
    stalest: &'a [crate::api::kopia::SourceSight],
}

/// Shows what is backed up, as far as the object carries it.
pub(super) fn sources(entry: &Entry, now: Timestamp, format: Format) -> Result<Outcome, CliError> {
    let key = entry.custody.key();
    let sight = entry.status.repository.as_ref();
    let listed = Listed {
        namespace: &key.namespace,
        name: &key.name,
        at: sight.and_then(|sight| sight.at),
        sources: sight.and_then(|sight| sight.sources),
        stalest: sight.map(|sight| sight.stalest.as_slice()).unwrap_or_default(),
    };
    output::answer_as(format, &listed, || {
        let Some(sight) = sight else {
            return format!("KopiaRepository {key} has not been seen yet: volwarden kopia status says why\n");
        };
        let width = sight.stalest.iter().map(|one| one.source.chars().count()).max().unwrap_or_default().max(6);
        let mut out = format!("{:width$}  {:>9}  {:>6}\n", "SOURCE", "SNAPSHOTS", "NEWEST");
        for one in &sight.stalest {
            let newest = one.newest.map_or_else(|| "none".to_owned(), |at| words::short(words::age(now, at)));
            let _ = writeln!(out, "{:width$}  {:>9}  {newest:>6}", one.source, one.snapshots);
        }
        let when = sight.at.map(|at| format!(", {} ago", words::short(words::age(now, at)))).unwrap_or_default();
        let _ = writeln!(out, "as the daemon saw it last{when}");
        let shown = i64::try_from(sight.stalest.len()).unwrap_or(i64::MAX);
        let more = sight.sources.unwrap_or_default().saturating_sub(shown);
        if more > 0 {
            let _ = writeln!(out, "{more} more that are less late by their own period are not in the object");
        }
        out.push_str("sizes are not in the object: volwarden kopia sources --config FILE\n");
        out
    })?;
    Ok(if sight.is_some() { Outcome::Clean } else { Outcome::Unknown })
}

/// For a script.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policies<'a> {
    namespace: &'a str,
    name: &'a str,
    expire: Option<&'a Expire>,
    last: Option<&'a ExpireStatus>,
    retention: Option<&'a RetentionPolicies>,
    epochs: Option<&'a EpochParameters>,
    settings: Option<&'a SettingsStatus>,
}

/// Shows which policies are kept set and which snapshots may go, as far as the object carries it.
pub(super) fn policy(entry: &Entry, now: Timestamp, format: Format) -> Result<Outcome, CliError> {
    let key = entry.custody.key();
    let expire = entry.spec.as_ref().and_then(|spec| spec.expire.as_ref());
    let last = entry.status.expire.as_ref();
    let retention = entry.spec.as_ref().and_then(|spec| spec.retention.as_ref());
    let epochs = entry.spec.as_ref().and_then(|spec| spec.epochs.as_ref());
    let settings = entry.status.settings.as_ref();
    let answer = Policies { namespace: &key.namespace, name: &key.name, expire, last, retention, epochs, settings };
    output::answer_as(format, &answer, || {
        let mut out = String::new();
        match expire {
            None => line(&mut out, "expire", "no snapshot ever goes: there is no spec.expire"),
            Some(expire) => {
                let most = format!("{} a run at most", expire.max_deletions_per_run);
                let mode = match expire.mode {
                    ExpireMode::Observe => "Observe: it is only said what would go".to_owned(),
                    ExpireMode::Enforce => format!("Enforce: {most}"),
                };
                line(&mut out, "expire", &mode);
                match &expire.sources {
                    Some(sources) => sources.iter().for_each(|source| line(&mut out, "source", source)),
                    None => line(&mut out, "sources", "those that are shown to be this cluster's"),
                }
                expire.accept_shrunk.iter().for_each(|source| line(&mut out, "may shrink", source));
            }
        }
        if let Some(last) = last {
            let (would, deleted) = (last.would, last.deleted);
            line(&mut out, "last run", &format!("{would} were to go, {deleted} went, under the terms {}", last.terms));
            for one in &last.held {
                line(&mut out, "held", &format!("{}: {}: {}", one.source, one.reason, one_line(&one.said)));
            }
        }
        wanted(&mut out, entry, now);
        asking(&mut out, entry);
        line(
            &mut out,
            "counts",
            "kept in the repository, not in the object: volwarden kopia policy --config FILE --source SOURCE",
        );
        out
    })?;
    Ok(Outcome::Clean)
}

/// Which policies and epochs are to be there, and what came of it last.
fn wanted(out: &mut String, entry: &Entry, now: Timestamp) {
    for wish in entry.wishes() {
        let counts: Vec<String> =
            NAMES.iter().zip(six(wish.keep)).map(|(name, count)| format!("{name} {count}")).collect();
        line(out, "wanted", &format!("{}: {}", wish.target, counts.join(", ")));
    }
    for (name, value) in entry.epochs() {
        line(out, "wanted", &format!("epochs: {name} {}", name.value(value)));
    }
    let Some(settings) = &entry.status.settings else { return };
    let ago = |at: Option<Timestamp>| at.map_or_else(|| "?".to_owned(), |at| words::short(words::age(now, at)));
    line(out, "compared", &format!("{} ago: {} were as the spec says", ago(settings.at), settings.kept));
    for one in &settings.set {
        let again = if settings.again.contains(&one.target) { "; somebody sets it back each time" } else { "" };
        line(out, "set", &format!("{} ago, {}: {}{again}", ago(settings.set_at), one.target, one.change));
    }
}
