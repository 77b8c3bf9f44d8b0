//! Looking once: waits until the lists are there, then as long as a longer look could change the answer.
//!
//! Too short a look calls a healthy leader dead; a look without an end hangs a script. So there are two
//! bounds, and what stayed unsure within them is marked in the findings themselves.

use std::time::Duration;

use tokio::time::Instant;

use super::{CliError, LookArgs, Terminal};
use crate::app::{AppError, Look, Progress};
use crate::domain::engine::SourceView;

/// How often progress is asked for.
const EVERY: Duration = Duration::from_millis(100);

/// The shortest look: the reads that the first diagnosis asks for are answered within it.
const GRACE: Duration = Duration::from_millis(500);

/// How long a source that fails from the beginning is waited for.
const TRY_AGAIN: Duration = Duration::from_secs(8);

/// The longest look unless one is asked for.
const LONGEST: Duration = Duration::from_secs(30);

/// How long reads that are still under way at the end are waited for.
const LAST_READS: Duration = Duration::from_secs(10);

/// Waits until there is an answer worth giving, or the time is up.
pub(super) async fn observe(look: &Look, args: &LookArgs, terminal: Terminal) -> Result<(), CliError> {
    let began = Instant::now();
    let mut settled_at = None;
    loop {
        let progress = look.desk.progress().await.ok_or(AppError::EngineGone)?;
        let settled = match settled_at {
            Some(at) => at,
            None if settled(&progress, began.elapsed()) || began.elapsed() >= args.timeout => {
                *settled_at.insert(Instant::now())
            }
            None => {
                terminal.progress(&syncing(&progress.sources));
                tokio::time::sleep(EVERY).await;
                continue;
            }
        };
        let observed = settled.elapsed();
        if enough(observed, args.observe, &progress) {
            terminal.progress("");
            return Ok(());
        }
        let until = args.observe.unwrap_or_else(|| implied(&progress));
        terminal.progress(&format!("observing: {} of at most {} s", observed.as_secs(), until.as_secs()));
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether every source has said where it stands. One that fails is tried again first: a CRD that was made a
/// moment ago answers with errors for as long.
fn settled(progress: &Progress, waited: Duration) -> bool {
    let failing = progress.sources.iter().any(|source| source.state == "Failing");
    progress.settled && (!failing || waited >= TRY_AGAIN)
}

/// One lease duration: a live leader renews within it.
fn implied(progress: &Progress) -> Duration {
    progress.longest_lease.unwrap_or_default().clamp(GRACE, LONGEST)
}

/// Whether the look was long enough. A length that was asked for is kept, whatever is seen.
fn enough(observed: Duration, asked: Option<Duration>, progress: &Progress) -> bool {
    let answered = progress.outstanding == 0;
    let length = asked.unwrap_or_else(|| implied(progress));
    let ended = observed >= length && (answered || observed >= length + LAST_READS);
    let sure = asked.is_none() && observed >= GRACE && answered && !progress.undecided;
    ended || sure
}

fn syncing(sources: &[SourceView]) -> String {
    let done = sources.iter().filter(|source| source.state != "Syncing").count();
    let objects: u64 = sources.iter().map(|source| source.objects).sum();
    format!("syncing: {done} of {} sources, {objects} objects", sources.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(undecided: bool, outstanding: usize, lease: Option<u64>) -> Progress {
        Progress {
            settled: true,
            ready: true,
            undecided,
            longest_lease: lease.map(Duration::from_secs),
            outstanding,
            sources: Vec::new(),
        }
    }

    #[test]
    fn a_source_that_fails_is_tried_again_before_it_is_called_so() {
        let mut failing = progress(false, 0, None);
        failing.sources.push(SourceView {
            kind: "VolumeSnapshot",
            state: "Failing",
            objects: 0,
            silent_seconds: None,
            message: None,
        });
        assert!(!settled(&failing, Duration::from_secs(7)));
        assert!(settled(&failing, TRY_AGAIN));
        assert!(settled(&progress(false, 0, None), Duration::ZERO));
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_sure_answer_is_given_after_the_grace_and_not_before() {
        assert!(!enough(Duration::from_millis(100), None, &progress(false, 0, Some(15))));
        assert!(enough(GRACE, None, &progress(false, 0, Some(15))));
    }

    #[test]
    fn an_unsure_one_waits_one_lease_and_at_most_thirty_seconds() {
        assert!(!enough(s(14), None, &progress(true, 0, Some(15))));
        assert!(enough(s(15), None, &progress(true, 0, Some(15))));
        assert!(!enough(s(29), None, &progress(true, 0, Some(137))));
        assert!(enough(s(30), None, &progress(true, 0, Some(137))));
    }

    #[test]
    fn reads_under_way_are_waited_for_but_not_for_ever() {
        assert!(!enough(s(1), None, &progress(false, 1, Some(15))));
        assert!(!enough(s(16), None, &progress(false, 1, Some(15))));
        assert!(enough(s(25), None, &progress(false, 1, Some(15))));
    }

    #[test]
    fn a_length_that_was_asked_for_is_kept() {
        assert!(!enough(s(59), Some(s(60)), &progress(false, 0, Some(15))));
        assert!(enough(s(60), Some(s(60)), &progress(true, 0, Some(15))));
        assert!(enough(s(0), Some(s(0)), &progress(true, 0, Some(15))));
    }
}
