//! What was seen of a component, kept as it was seen and put into words only for who reads it: leases are renewed every
//! few seconds, and hardly any renewal ends in a finding.

use std::fmt;
use std::sync::Arc;

use crate::domain::fact::Now;
use crate::domain::lease;
use crate::domain::name::Key;
use crate::domain::record::{Container, Pod};
use crate::domain::world::WatchedLease;

/// One thing that was seen; its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A lease, as it was then.
    Lease(Key, WatchedLease, Now),
    /// A pod with the container that matters.
    Pod(Sight),
    /// Anything else, in words.
    Words(String),
}

/// A pod's container as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    pod: Key,
    container: Arc<str>,
    state: State,
    /// Message of its last termination.
    last: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Deleted,
    Ready,
    Waiting(Arc<str>, u32),
    Phase(Arc<str>),
}

impl Sight {
    pub(super) fn new(key: &Key, pod: &Pod, container: &Container, ready: bool) -> Self {
        let state = if pod.meta.deleted.is_some() {
            State::Deleted
        } else if ready {
            State::Ready
        } else if let Some(why) = &container.waiting {
            State::Waiting(Arc::clone(why), container.restarts)
        } else {
            State::Phase(Arc::clone(&pod.phase))
        };
        let container_name = Arc::clone(&container.name);
        Self { pod: key.clone(), container: container_name, state, last: container.last_termination.clone() }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease(key, watched, at) => f.write_str(&lease::describe(&key.to_string(), watched, *at)),
            Self::Pod(sight) => sight.fmt(f),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pod {} container {}: ", self.pod, self.container)?;
        match &self.state {
            State::Deleted => f.write_str("being deleted")?,
            State::Ready => f.write_str("Ready")?,
            State::Waiting(why, restarts) => write!(f, "{why}, {restarts} restarts")?,
            State::Phase(phase) => write!(f, "{phase}, not ready")?,
        }
        match &self.last {
            Some(text) => write!(f, "; it last ended with: {}", text.lines().last().unwrap_or_default()),
            None => Ok(()),
        }
    }
}
