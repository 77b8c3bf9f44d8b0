//! Why a container cannot be started, in the words of its status: a reason, and a message that names what is missing.

use std::fmt;

/// A start that failed before there was a process; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub message: String,
}

impl Failure {
    /// Something that the pod's spec refers to is missing or wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self { reason: "CreateContainerConfigError", message: message.into() }
    }

    /// There is no program for the image.
    pub fn image(message: impl Into<String>) -> Self {
        Self { reason: "ErrImagePull", message: message.into() }
    }

    /// The same failure, said of a volume.
    pub fn of_volume(self, volume: &str) -> Self {
        Self { message: format!("MountVolume.SetUp failed for volume \"{volume}\" : {}", self.message), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.reason, self.message)
    }
}
