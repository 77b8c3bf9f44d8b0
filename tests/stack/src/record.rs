//! Records what a watch of the real API server sends, line by line.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::error::Error;
use crate::stack::Stack;

/// A watch that is being written to a file; dropping it ends the recording and leaves the file.
#[derive(Debug)]
pub struct WatchRecording {
    child: Child,
    file: PathBuf,
}

impl WatchRecording {
    /// Ends the recording and returns its events, each `{"type": ..., "object": ...}`.
    pub fn stop(mut self) -> Result<Vec<Value>, Error> {
        self.end();
        self.events()
    }

    /// The events so far.
    pub fn events(&self) -> Result<Vec<Value>, Error> {
        let cannot = Error::io(format!("cannot read {}", self.file.display()));
        let text = std::fs::read_to_string(&self.file).map_err(cannot)?;
        // A line without an end is one that is being written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let wrong = |error| Error::other(format!("{} has a line that is no event: {error}", self.file.display()));
        lines.map(|line| serde_json::from_str(line).map_err(wrong)).collect()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for WatchRecording {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stack {
    /// Records a watch, such as of `/apis/snapshot.storage.k8s.io/v1/volumesnapshots`, from now on (what exists comes
    /// first, as `ADDED`). Query parameters may stand in the path; the lines in `file` are the server's own.
    pub fn record_watch(&self, path: &str, file: &Path) -> Result<WatchRecording, Error> {
        let created = || File::create(file).map_err(Error::io(format!("cannot write {}", file.display())));
        let joint = if path.contains('?') { '&' } else { '?' };
        let child = self
            .client()
            .command()
            .args(["get", "--raw", &format!("{path}{joint}watch=true")])
            .stdout(created()?)
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("cannot run kubectl"))?;
        Ok(WatchRecording { child, file: file.to_owned() })
    }
}
