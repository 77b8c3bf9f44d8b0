//! Faults on demand: `faults.json` in the state folder, read at every call, so that it can change while the driver runs.
//!
//! A list of objects, of which the first that fits a call counts:
//! - `call`: such as `DeleteSnapshot`;
//! - `id`: only calls on this handle (`Delete...`) or name (`Create...`); all of them if absent;
//! - `delay_ms`: waits so long;
//! - `stuck`: then waits until the process ends, whatever the file says;
//! - `hang`: then waits until the fault is gone from the file;
//! - `code` and `message`: then fails with that gRPC status.
//!
//! Waiting calls hold their locks even after the caller gave up, which is what a call into a dead storage cluster does.
//! Every process on the folder reads the file: what only one of them is to suffer has to be lifted before the other's
//! calls, and `stuck` then keeps the first one's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tonic::{Code, Status};

use crate::log::{Call, FAULTS};

/// How often a hanging call looks whether its fault has been lifted.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One object of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    call: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    hang: bool,
    #[serde(default)]
    stuck: bool,
    #[serde(default)]
    code: Option<i32>,
    #[serde(default)]
    message: String,
}

/// The faults of one state folder.
pub struct Faults {
    file: PathBuf,
}

impl Faults {
    /// The faults that `faults.json` in `folder` holds at the time of each call.
    pub fn in_folder(folder: &Path) -> Self {
        Self { file: folder.join("faults.json") }
    }

    fn of(&self, call: &str, id: &str) -> Result<Option<Fault>, Status> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Status::internal(format!("cannot read {}: {error}", self.file.display()))),
        };
        let faults: Vec<Fault> = serde_json::from_slice(&text)
            .map_err(|error| Status::internal(format!("cannot understand {}: {error}", self.file.display())))?;
        Ok(faults.into_iter().find(|fault| fault.call == call && fault.id.as_deref().is_none_or(|wanted| wanted == id)))
    }

    /// Suffers what the file says of this call; returns when the call may go on.
    pub async fn suffer(&self, log: &Call, call: &str, id: &str) -> Result<(), Status> {
        let Some(fault) = self.of(call, id)? else { return Ok(()) };
        log.info(FAULTS, &format!("a fault on demand: {fault:?}"));
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        if fault.stuck {
            std::future::pending::<()>().await;
        }
        while fault.hang && self.of(call, id)?.is_some_and(|fault| fault.hang) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        fault.code.map_or(Ok(()), |code| Err(Status::new(Code::from_i32(code), fault.message)))
    }
}
