//! Files that a command is given, or standard input.
//!
//! A terminal is never read: a command that waits in silence for somebody to type looks hung.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

/// The input's name in messages, and its text.
pub(super) fn read(file: &Path, what: &str) -> Result<(String, String), String> {
    let mut bytes = Vec::new();
    let name = if file.as_os_str() == "-" {
        let mut stdin = std::io::stdin().lock();
        if stdin.is_terminal() {
            return Err(format!("nothing to read: name a file with -f FILE, or pipe {what} in"));
        }
        stdin.read_to_end(&mut bytes).map_err(|error| format!("cannot read standard input: {error}"))?;
        "standard input".to_owned()
    } else {
        let name = file.display().to_string();
        File::open(file)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|error| format!("cannot read {name}: {error}; check the path given with -f"))?;
        name
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        format!("{name} is not UTF-8 text at byte {}; save it as UTF-8", error.utf8_error().valid_up_to())
    })?;
    Ok((name, text))
}
