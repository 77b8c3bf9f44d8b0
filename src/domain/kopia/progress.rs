//! How far a long piece of kopia's work is, from what it says on stderr meanwhile.
//!
//! A verification of a large repository takes a day and a full maintenance hours, and somebody who sees nothing of it
//! ends it in the middle. Nothing here decides anything: what was done is told by [`truth`](super::truth).

use std::fmt::Write as _;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use super::failure::plain;
use crate::domain::words;

/// In a log numbers stand so often at most. A new stage is told at once.
const QUIET: Duration = Duration::from_secs(60);
/// A rate over less is no rate.
const LEAST: Duration = Duration::from_secs(5);

/// One line of kopia's, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Blobs listed so far.
    Blobs(u64),
    /// Contents looked for in their packs.
    Contents {
        /// So many were.
        done: u64,
        /// Of so many, once kopia has counted them.
        of: Option<u64>,
        /// So many were not as they should be.
        errors: u64,
        /// So long it takes yet, by kopia's own reckoning.
        remaining: Option<Duration>,
    },
    /// Objects of snapshots looked for, and files read.
    Objects(Objects),
    /// What it does now, in its words.
    Stage(String),
}

/// How far a verification of snapshots is. What several snapshots share is looked at once and counted in each of them: it
/// ends at the totals at the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objects {
    /// Objects looked for.
    #[serde(rename = "processedObjectCount")]
    pub done: u64,
    /// So many there are at most.
    #[serde(rename = "expectedTotalObjectCount")]
    pub of: u64,
    /// Files read whole.
    #[serde(rename = "readFileCount", default)]
    pub files: u64,
    /// Bytes of them.
    #[serde(rename = "readBytes", default)]
    pub bytes: u64,
}

/// What a line says; none for what says nothing.
#[must_use]
pub fn progress(line: &str) -> Option<Progress> {
    let line = plain(line);
    if line.is_empty() {
        return None;
    }
    if line.starts_with('{') {
        return serde_json::from_str(&line).ok().map(Progress::Objects);
    }
    if let Some(count) = line.strip_suffix(" blobs...").and_then(|count| count.parse().ok()) {
        return Some(Progress::Blobs(count));
    }
    if let Some(contents) = line.strip_prefix("Verified ").and_then(contents) {
        return Some(contents);
    }
    Some(Progress::Stage(line))
}

/// `3095 of 9306 contents (33.3%), 0 errors, remaining 1s, ETA ...`, or `1 contents, 0 errors, estimating...`.
fn contents(rest: &str) -> Option<Progress> {
    let mut parts = rest.split(", ");
    let (counted, _) = parts.next()?.split_once(" contents")?;
    let (done, of) = match counted.split_once(" of ") {
        Some((done, of)) => (done, Some(of.parse().ok()?)),
        None => (counted, None),
    };
    let errors = parts.next()?.strip_suffix(" errors")?.parse().ok()?;
    let remaining = parts.next().and_then(|part| part.strip_prefix("remaining ")).and_then(duration);
    Some(Progress::Contents { done: done.parse().ok()?, of, errors, remaining })
}

/// A duration as Go writes it, such as `1h2m3.5s`.
fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok()?.try_into().ok()
}

/// Hears what kopia says, and tells how far it is.
#[derive(Debug, Default)]
pub struct Meter {
    latest: Option<Progress>,
    /// When objects were counted first, and how many there were: the rate is over what came since.
    first: Option<(Duration, u64)>,
    /// News that stand in no log yet, and when the last did.
    news: bool,
    logged: Option<Duration>,
}

impl Meter {
    /// Hears a line, so long after the work began.
    pub fn hear(&mut self, line: &str, elapsed: Duration) {
        let Some(progress) = progress(line) else { return };
        match &progress {
            Progress::Objects(objects) => {
                self.first.get_or_insert((elapsed, objects.done));
            }
            // A stage is never left out of a log.
            Progress::Stage(_) => self.logged = None,
            Progress::Blobs(_) | Progress::Contents { .. } => {}
        }
        self.latest = Some(progress);
        self.news = true;
    }

    /// How far it is, in one line; nothing before kopia has said anything.
    #[must_use]
    pub fn line(&self, elapsed: Duration) -> Option<String> {
        let mut out = String::new();
        match self.latest.as_ref()? {
            Progress::Blobs(count) => {
                let _ = write!(out, "{count} blobs listed");
            }
            Progress::Contents { done, of, errors, remaining } => {
                match of {
                    Some(of) => {
                        let _ = write!(out, "{done} of {of} contents looked for{}", percent(*done, *of));
                    }
                    None => {
                        let _ = write!(out, "{done} contents looked for");
                    }
                }
                if *errors > 0 {
                    let _ = write!(out, ", {errors} ERRORS");
                }
                if let Some(remaining) = remaining {
                    let _ = write!(out, ", {} to go", words::short(*remaining));
                }
            }
            Progress::Objects(objects) => {
                let Objects { done, of, files, bytes } = *objects;
                let _ = write!(out, "{done} of at most {of} objects{}", percent(done, of));
                if files > 0 {
                    let _ = write!(out, ", {files} files read ({})", words::size(bytes));
                }
                if let Some(left) = self.left(*objects, elapsed) {
                    let _ = write!(out, ", at most {} to go", words::short(left));
                }
            }
            Progress::Stage(said) => out.push_str(said),
        }
        Some(out)
    }

    /// The line for a log, if it is time for one.
    pub fn log(&mut self, elapsed: Duration) -> Option<String> {
        let due = self.logged.is_none_or(|at| elapsed.saturating_sub(at) >= QUIET);
        if !self.news || !due {
            return None;
        }
        (self.news, self.logged) = (false, Some(elapsed));
        self.line(elapsed)
    }

    /// By the rate so far, kopia gives none here.
    fn left(&self, objects: Objects, elapsed: Duration) -> Option<Duration> {
        let (began, before) = self.first?;
        let took = elapsed.checked_sub(began).filter(|took| *took >= LEAST)?;
        let done = objects.done.checked_sub(before).filter(|done| *done > 0)?;
        let rest = objects.of.saturating_sub(objects.done);
        let seconds = u128::from(took.as_secs()).checked_mul(u128::from(rest))?.checked_div(u128::from(done))?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }
}

fn percent(done: u64, of: u64) -> String {
    let part = u128::from(done.min(of)).saturating_mul(100).checked_div(u128::from(of));
    part.map(|part| format!(" ({part} %)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// As 0.23.1 says it.
    const VERIFYING: &str = "Listing blobs...\nListed 24 blobs.\nVerifying contents...\n\
        \x20 Verified 1 contents, 0 errors, estimating...\n\
        \x20 Verified 3095 of 9306 contents (33.3%), 0 errors, remaining 1m2s, ETA 2026-11-29 04:25:18 UTC\n\
        Finished verifying contents\n";
    const OBJECTS: &str = r#"{"processedObjectCount":1000,"processedBytes":80,"readFileCount":900,"readBytes":1572864,"expectedTotalObjectCount":9605,"expectedTotalFileCount":9602,"expectedTotalBytes":80080970}"#;

    #[test]
    fn what_kopia_says_meanwhile_is_read() {
        let heard: Vec<Progress> = VERIFYING.lines().filter_map(progress).collect();
        let stage = |text: &str| Progress::Stage(text.to_owned());
        assert_eq!(
            heard,
            [
                stage("Listing blobs..."),
                stage("Listed 24 blobs."),
                stage("Verifying contents..."),
                Progress::Contents { done: 1, of: None, errors: 0, remaining: None },
                Progress::Contents { done: 3095, of: Some(9306), errors: 0, remaining: Some(s(62)) },
                stage("Finished verifying contents"),
            ]
        );
        assert_eq!(progress("  5000 blobs..."), Some(Progress::Blobs(5000)));
        let objects = Objects { done: 1000, of: 9605, files: 900, bytes: 1_572_864 };
        assert_eq!(progress(OBJECTS), Some(Progress::Objects(objects)));
        assert_eq!(progress("\u{1b}[31mERROR\u{1b}[0m it broke"), Some(stage("it broke")));
        for nothing in ["", "  \t", "{\"processedObjectCount\":1", "{}"] {
            assert_eq!(progress(nothing), None, "{nothing:?}");
        }
        assert_eq!(progress("Verified nothing"), Some(stage("Verified nothing")));
    }

    #[test]
    fn it_says_how_far_and_how_long_and_guesses_nothing() {
        let mut meter = Meter::default();
        assert_eq!(meter.line(s(0)), None);
        meter.hear("  Verified 1 contents, 0 errors, estimating...", s(1));
        assert_eq!(meter.line(s(1)).unwrap(), "1 contents looked for");
        meter.hear("  Verified 50 of 200 contents (25.0%), 3 errors, remaining 90s, ETA x", s(2));
        assert_eq!(meter.line(s(2)).unwrap(), "50 of 200 contents looked for (25 %), 3 ERRORS, 90s to go");
        meter.hear(&OBJECTS.replace(":1000,", ":0,").replace(":900,", ":0,"), s(10));
        assert_eq!(meter.line(s(10)).unwrap(), "0 of at most 9605 objects (0 %)");
        meter.hear(OBJECTS, s(12));
        let said = "1000 of at most 9605 objects (10 %), 900 files read (1.5 MiB)";
        assert_eq!(meter.line(s(12)).unwrap(), said, "two seconds are no rate");
        assert_eq!(meter.line(s(20)).unwrap(), format!("{said}, at most 86s to go"));
        // Of nothing there is no part, and what says nothing changes nothing.
        meter.hear("", s(21));
        meter.hear(r#"{"processedObjectCount":0,"expectedTotalObjectCount":0}"#, s(22));
        assert_eq!(meter.line(s(22)).unwrap(), "0 of at most 0 objects");
    }

    #[test]
    fn a_log_has_each_stage_and_few_numbers() {
        let mut meter = Meter::default();
        let mut log = Vec::new();
        for second in 0..150 {
            match second {
                0 => meter.hear("Listing blobs...", s(second)),
                100 => meter.hear("Compacting an eligible uncompacted epoch...", s(second)),
                101..=140 => {}
                _ => meter.hear(OBJECTS, s(second)),
            }
            log.extend(meter.log(s(second)).map(|line| (second, line.chars().take(10).collect::<String>())));
        }
        let log: Vec<(u64, &str)> = log.iter().map(|(second, line)| (*second, line.as_str())).collect();
        assert_eq!(log, [(0, "Listing bl"), (60, "1000 of at"), (100, "Compacting")]);
    }
}
