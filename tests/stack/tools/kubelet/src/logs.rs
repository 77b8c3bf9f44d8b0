//! What containers write, line by line with its time, in the files and the format that container runtimes keep.
//!
//! A file stays when its pod is deleted: who looks for the cause of something looks afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::watch;

/// A longer line is stored in parts.
const LONGEST_LINE: u64 = 16 << 10;

/// All logs of a kubelet.
#[derive(Clone, Debug)]
pub struct Logs {
    folder: PathBuf,
    open: Arc<Mutex<HashMap<PathBuf, watch::Receiver<()>>>>,
}

/// One run of a container, as its log is called by it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub uid: &'a str,
    pub container: &'a str,
    pub attempt: i32,
}

impl Logs {
    /// Logs below `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: Arc::default() }
    }

    /// The file of a run.
    pub fn path(&self, run: Run<'_>) -> PathBuf {
        let pod = format!("{}_{}_{}", run.namespace, run.pod, run.uid);
        self.folder.join(pod).join(run.container).join(format!("{}.log", run.attempt))
    }

    /// Opens the log of a run that is about to start.
    pub fn create(&self, run: Run<'_>) -> io::Result<Writer> {
        let path = self.path(run);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = File::options().create(true).append(true).open(&path)?;
        let (grown, receiver) = watch::channel(());
        self.open().insert(path.clone(), receiver);
        Ok(Writer { logs: self.clone(), path, file, grown })
    }

    /// Changes whenever the log grows, and closes at its end; nothing if it has ended.
    pub fn growth(&self, path: &Path) -> Option<watch::Receiver<()>> {
        self.open().get(path).cloned()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<PathBuf, watch::Receiver<()>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log that is being written.
#[derive(Debug)]
pub struct Writer {
    logs: Logs,
    path: PathBuf,
    file: File,
    grown: watch::Sender<()>,
}

impl Writer {
    /// Stores what a stream of a container says, until its end.
    pub async fn copy(&self, stream: &str, from: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut from).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
            let whole = match line.last() {
                None => return Ok(()),
                Some(b'\n') => line.pop().is_some(),
                Some(_) => false,
            };
            let mut entry = format!("{:.9} {stream} {} ", Timestamp::now(), if whole { 'F' } else { 'P' }).into_bytes();
            entry.extend_from_slice(&line);
            entry.push(b'\n');
            (&self.file).write_all(&entry)?; // in one piece: the other stream's lines go to the same file
            self.grown.send_replace(());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.logs.open().remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run<'_> = Run { namespace: "ns", pod: "web", uid: "1-2", container: "main", attempt: 3 };

    #[tokio::test]
    async fn lines_are_stored_with_time_stream_and_whether_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::in_folder(folder.path());
        let writer = logs.create(RUN).unwrap();
        let path = folder.path().join("ns_web_1-2/main/3.log");
        let growth = logs.growth(&path).unwrap();
        writer.copy("stdout", &b"one\n\ntwo"[..]).await.unwrap();
        writer.copy("stderr", "x".repeat(17 << 10).as_bytes()).await.unwrap();
        assert!(growth.has_changed().unwrap());
        drop(writer);
        assert!(growth.has_changed().is_err() && logs.growth(&path).is_none());
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.splitn(2, ' ').collect::<Vec<_>>()).collect();
        assert_eq!([lines[0][1], lines[1][1], lines[2][1]], ["stdout F one", "stdout F ", "stdout P two"]);
        assert_eq!([lines[3][1].len(), lines[4][1].len(), lines.len()], [9 + (16 << 10), 9 + (1 << 10), 5]);
        assert_eq!(lines[0][0].len(), "2026-01-01T00:00:00.123456789Z".len());
    }
}
