//! Waiting lines: one for each driver and class whose repairs wait for a free place or for budget.
//!
//! Ten thousand orphaned contents wait for the same budget. If each woke up when it frees, every single repair
//! would plan ten thousand times; so only the head of a line is looked at, and the next one when it went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::engine::{Effect, Engine};
use crate::domain::fact::Now;
use crate::domain::finding::{Class, Subject};

/// So many of a line are looked at in one step.
const HEADS: usize = 16;

/// A driver and a class.
pub(super) type Line = (Arc<str>, Class);

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: BTreeMap<Line, BTreeSet<(Timestamp, Subject)>>,
    place: BTreeMap<Subject, (Line, Timestamp)>,
    wakes: BTreeMap<Line, Duration>,
}

impl Lines {
    /// Puts a subject into its line; `at` is when it is worth asking again.
    pub(super) fn join(&mut self, line: Line, since: Timestamp, subject: &Subject, at: Duration) {
        self.leave(subject);
        self.waiting.entry(line.clone()).or_default().insert((since, subject.clone()));
        self.place.insert(subject.clone(), (line.clone(), since));
        let wake = self.wakes.entry(line).or_insert(at);
        *wake = at.min(*wake);
    }

    /// Takes a subject out.
    pub(super) fn leave(&mut self, subject: &Subject) {
        let Some((line, since)) = self.place.remove(subject) else { return };
        if let Some(waiting) = self.waiting.get_mut(&line) {
            waiting.remove(&(since, subject.clone()));
            if waiting.is_empty() {
                self.waiting.remove(&line);
                self.wakes.remove(&line);
            }
        }
    }

    /// A place in this line may be free.
    pub(super) fn nudge(&mut self, line: &Line, now: Now) {
        if self.waiting.contains_key(line) {
            self.wakes.insert(line.clone(), now.mono);
        }
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        self.wakes.values().min().copied()
    }

    pub(super) fn waits(&self, subject: &Subject) -> bool {
        self.place.contains_key(subject)
    }

    fn due(&mut self, now: Now) -> Vec<Line> {
        let due: Vec<Line> =
            self.wakes.iter().filter(|(_, at)| **at <= now.mono).map(|(line, _)| line.clone()).collect();
        for line in &due {
            self.wakes.remove(line);
        }
        due
    }

    fn head(&self, line: &Line) -> Option<Subject> {
        self.waiting.get(line)?.first().map(|(_, subject)| subject.clone())
    }
}

impl Engine {
    /// Looks at the heads of the lines that are due, each until one is held again.
    pub(super) fn pump_lines(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for line in self.repair.lines.due(now) {
            for _ in 0..HEADS {
                let Some(head) = self.repair.lines.head(&line) else { break };
                self.repair.lines.leave(&head);
                self.advance(&head, now, effects);
                if self.repair.lines.waits(&head) {
                    break;
                }
            }
            // Whoever is left has to be looked at again, also where the last head went elsewhere.
            if self.repair.lines.head(&line).is_some() && !self.repair.lines.wakes.contains_key(&line) {
                self.repair.lines.wakes.insert(line, now.mono + super::AGAIN);
            }
        }
    }
}
