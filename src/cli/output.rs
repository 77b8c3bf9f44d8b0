//! Where text leaves the program: answers to stdout, complaints and progress to stderr.
//!
//! A reader that closes the pipe (`| head`) has seen enough: that is no error and never a panic. A complaint
//! is one line, because a script's log shows one.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use serde::Serialize;

use super::{CliError, Format};

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// Answers may be coloured.
    pub(super) colour: bool,
    /// Progress may be shown.
    pub(super) progress: bool,
    /// Columns that a drawing may take.
    pub(super) width: usize,
}

/// Where nothing says how wide it is: a pipe, a file.
const WIDTH: usize = 100;

impl Terminal {
    /// Colours only on a terminal and only when nobody asked for none.
    pub(super) fn new(no_color: bool) -> Self {
        let stdout = std::io::stdout();
        let width = terminal_size::terminal_size_of(&stdout).map_or(WIDTH, |(width, _)| usize::from(width.0));
        Self {
            colour: stdout.is_terminal() && !no_color,
            progress: std::io::stderr().is_terminal(),
            // A drawing needs some room, and a very long line is no drawing.
            width: width.clamp(48, 240),
        }
    }

    /// Replaces the progress line; without text it is taken away.
    pub(super) fn progress(self, text: &str) {
        if self.progress {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
        }
    }
}

/// Writes an answer.
pub(super) fn answer(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes an answer for a script, or the table for a person.
pub(super) fn answer_as(
    format: Format,
    value: &impl Serialize,
    table: impl FnOnce() -> String,
) -> Result<(), CliError> {
    match format {
        Format::Table => answer(&table()),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(value)?;
            text.push('\n');
            answer(&text)
        }
        Format::Yaml => answer(&serde_saphyr::to_string(value)?),
    }
}

/// Says in one line on stderr why there is no answer.
pub(super) fn complain(error: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "volwarden: {}", one_line(&error.to_string()));
}

/// Whatever a server or a parser said, as one line of bounded length without control characters.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some((at, _)) => format!("{}...", line.get(..at).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line_without_escapes() {
        assert_eq!(one_line("a\n  b\tc\u{1b}[31m d\r\n"), "a b c [31m d");
        assert_eq!(one_line(&"é".repeat(700)).chars().count(), 603);
    }
}
