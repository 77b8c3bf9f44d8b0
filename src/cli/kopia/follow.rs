//! How far a long piece of work is, while it goes on: one line that changes on a terminal, else lines for a log.
//!
//! It goes to stderr. A timer's journal that says nothing for hours looks like a run that hangs, and one with a line a
//! second is read by nobody.

use std::cell::RefCell;

use tokio::time::Instant;

use super::super::output::{self, Terminal};
use crate::domain::kopia::Meter;
use crate::domain::words;

/// Columns that a line may take where a terminal does not say how many it has: a longer one would not be replaced by the
/// next.
const WIDTH: usize = 100;

/// Follows one piece of work.
pub(super) struct Follow {
    terminal: Terminal,
    what: String,
    began: Instant,
    meter: RefCell<Meter>,
}

impl Follow {
    /// Begins now.
    pub(super) fn new(terminal: Terminal, what: String) -> Self {
        let follow = Self { terminal, what, began: Instant::now(), meter: RefCell::default() };
        follow.show();
        follow
    }

    /// Hears a line of kopia's, or that there is no new one.
    pub(super) fn hear(&self, line: Option<&str>) {
        let elapsed = self.began.elapsed();
        if let Some(line) = line {
            self.meter.borrow_mut().hear(line, elapsed);
        }
        if self.terminal.progress {
            self.show();
        } else if let Some(said) = self.meter.borrow_mut().log(elapsed) {
            output::complain(&format!("{}, {}: {said}", self.what, words::short(elapsed)));
        }
    }

    fn show(&self) {
        let elapsed = self.began.elapsed();
        let said = self.meter.borrow().line(elapsed).unwrap_or_else(|| "kopia begins ...".to_owned());
        let line = format!("{}, {}: {said}", self.what, words::short(elapsed));
        self.terminal.progress(&line.chars().take(self.terminal.width.min(WIDTH)).collect::<String>());
    }
}
