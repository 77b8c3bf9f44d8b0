//! The part of the Container Storage Interface that sidecars and drivers speak here.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

/// A gRPC code, as Go prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The caller gave up.
    Canceled,
    /// The request makes no sense.
    InvalidArgument,
    /// The caller's time was up.
    DeadlineExceeded,
    /// There is no such thing.
    NotFound,
    /// There is one already, and it is different.
    AlreadyExists,
    /// The secrets do not do.
    PermissionDenied,
    /// No room, no quota.
    ResourceExhausted,
    /// Something stands in the way.
    FailedPrecondition,
    /// Another operation is under way.
    Aborted,
    /// The driver cannot do this.
    Unimplemented,
    /// Something broke.
    Internal,
    /// Nobody answers.
    Unavailable,
    /// Secrets are missing.
    Unauthenticated,
}

/// An answer that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its code.
    pub code: Code,
    /// The server's words.
    pub message: String,
}

impl Status {
    /// A status in words.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What a caller makes of an answer that did not come in time.
    #[must_use]
    pub fn deadline_exceeded() -> Self {
        Self::new(Code::DeadlineExceeded, "context deadline exceeded")
    }

    /// What a caller makes of a socket that nobody listens on.
    #[must_use]
    pub fn unavailable() -> Self {
        let words = "connection error: desc = \"transport: Error while dialing: dial unix /csi/csi.sock: \
                     connect: connection refused\"";
        Self::new(Code::Unavailable, words)
    }

    /// The operation did not happen and will not: a sidecar need not ask whether it did.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(
            self.code,
            Code::Canceled | Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted | Code::Aborted
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {:?} desc = {}", self.code, self.message)
    }
}

/// What a Secret holds.
pub type Secrets = BTreeMap<String, String>;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is the driver there?
    Probe,
    /// Cut a snapshot.
    CreateSnapshot {
        /// Its name: the same name means the same snapshot.
        name: String,
        /// Of which volume.
        volume: String,
        /// Credentials.
        secrets: Secrets,
    },
    /// Delete a snapshot.
    DeleteSnapshot {
        /// Its handle.
        snapshot: String,
        /// Credentials.
        secrets: Secrets,
    },
    /// What is known of one snapshot.
    GetSnapshot {
        /// Its handle.
        snapshot: String,
    },
    /// Make a volume, empty or from a snapshot.
    CreateVolume {
        /// Its name: the same name means the same volume.
        name: String,
        /// Bytes.
        size: i64,
        /// The snapshot to restore.
        snapshot: Option<String>,
        /// Credentials.
        secrets: Secrets,
    },
    /// Delete a volume.
    DeleteVolume {
        /// Its handle.
        volume: String,
        /// Credentials.
        secrets: Secrets,
    },
}

impl Request {
    /// The method, as in `/csi.v1.Controller/DeleteSnapshot`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Request::Probe => "Probe",
            Request::CreateSnapshot { .. } => "CreateSnapshot",
            Request::DeleteSnapshot { .. } => "DeleteSnapshot",
            Request::GetSnapshot { .. } => "ListSnapshots",
            Request::CreateVolume { .. } => "CreateVolume",
            Request::DeleteVolume { .. } => "DeleteVolume",
        }
    }

    /// What the driver's log calls the request by.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Request::Probe => "",
            Request::CreateSnapshot { name, .. } | Request::CreateVolume { name, .. } => name,
            Request::DeleteSnapshot { snapshot, .. } | Request::GetSnapshot { snapshot } => snapshot,
            Request::DeleteVolume { volume, .. } => volume,
        }
    }
}

/// A snapshot, as the driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its handle.
    pub handle: String,
    /// When.
    pub created: Timestamp,
    /// Bytes.
    pub size: i64,
    /// It can be restored.
    pub ready: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Done; there is nothing to say.
    Done,
    /// A snapshot.
    Snapshot(Snapshot),
    /// A volume.
    Volume {
        /// Its handle.
        handle: String,
        /// Bytes.
        size: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_go_prints_it_and_knows_whether_it_is_final() {
        let status = Status::deadline_exceeded();
        assert_eq!(status.to_string(), "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
        assert!(!status.is_final());
        assert!(Status::new(Code::Internal, "x").is_final());
        for code in [Code::Canceled, Code::Unavailable, Code::ResourceExhausted, Code::Aborted] {
            assert!(!Status::new(code, "").is_final(), "{code:?}");
        }
    }
}
