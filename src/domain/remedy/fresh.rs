//! A fresh read of one object, and whether a step is still right on it.
//!
//! The watched world is always a little old. Before a write the target is read again, past every cache, and
//! compared with what the decision rested on ([`Expect`]); the patch is made of what that read showed, and tests
//! it again on the server. The failure this exists to prevent is removing the finalizer that moved into the
//! place of the one that was meant.

use std::sync::Arc;

use jiff::Timestamp;

use super::action::{Action, BEING_CREATED, BEING_DELETED, Expect, LEAVE_BEHIND, NUDGE, Write};
use crate::domain::name::{Names, Uid};

/// What a fresh read of one object showed. Fields that its kind does not have are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark of the object, there or not")]
pub struct Look {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub version: Box<str>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `metadata.finalizers`, in order.
    pub finalizers: Names,
    /// There is a map of annotations at all: a patch has to make it otherwise.
    pub annotated: bool,
    /// Our own annotation that a nudge touches.
    pub nudge: Option<Box<str>>,
    /// The consent to leave the backend snapshot behind.
    pub leave_behind: Option<Box<str>>,
    /// being-deleted is there.
    pub marked: bool,
    /// being-created is there.
    pub creating: bool,
    /// The status is present, and all that a driver writes into it is gone.
    pub emptied: bool,
    /// `status.snapshotHandle`.
    pub handle: Option<Box<str>>,
    /// `spec.source.volumeHandle`.
    pub volume_handle: Option<Box<str>>,
    /// managedFields show snapshot-controller, and nobody else, as the maker of the spec.
    pub made_by_controller: bool,
}

/// What a fresh read answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The API server answered 404.
    Absent,
    /// It is there.
    There(Box<Look>),
    /// No answer that says either.
    Unknown(Arc<str>),
}

/// One operation of a JSON patch, on strings only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The server refuses the whole patch unless this is so.
    Test(String, String),
    /// Adds or replaces.
    Add(String, String),
    /// Adds an empty map.
    AddMap(String),
    /// Removes.
    Remove(String),
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A JSON patch; uid and version are tested in it.
    Patch(Vec<Op>),
    /// A deletion with these preconditions.
    Delete {
        /// The uid.
        uid: Uid,
        /// The version.
        version: Box<str>,
    },
}

/// What to send now, or why there is nothing to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// This.
    Send(Request),
    /// Its effect is there already.
    Done,
    /// Somebody was faster: what the decision rested on is no longer so.
    Lost(String),
}

impl Action {
    /// Whether a look shows the effect of this very intent.
    #[must_use]
    pub fn shows(&self, looked: &Looked, intended: Timestamp) -> bool {
        match looked {
            Looked::Unknown(_) => false,
            Looked::Absent => true,
            Looked::There(look) => effect(&self.write, &self.target.uid, look, intended),
        }
    }

    /// What to send, given a fresh read of the target.
    #[must_use]
    pub fn fit(&self, looked: &Looked, intended: Timestamp) -> Fit {
        let look = match looked {
            Looked::Unknown(words) => return Fit::Lost(format!("{} cannot be read: {words}", self.target)),
            Looked::Absent => return Fit::Lost(format!("{} is gone", self.target)),
            Looked::There(look) => look,
        };
        if look.uid != self.target.uid {
            return Fit::Lost(format!("{} is another object by now (uid {})", self.target, look.uid));
        }
        if self.shows(looked, intended) {
            return Fit::Done;
        }
        if let Some(why) = changed(&self.expect, &self.target.version, look) {
            return Fit::Lost(format!("{}: {why}", self.target));
        }
        match &self.write {
            Write::Delete => Fit::Send(Request::Delete { uid: look.uid.clone(), version: look.version.clone() }),
            Write::Annotate { key } => Fit::Send(annotate(look, key, self.annotation(intended))),
            Write::RemoveFinalizer(name) => match look.finalizers.iter().position(|finalizer| &**finalizer == *name) {
                Some(at) => Fit::Send(remove(look, name, at)),
                None => Fit::Done,
            },
        }
    }
}

/// Whether the object shows what the write does.
#[must_use]
pub fn effect(write: &Write, uid: &Uid, look: &Look, intended: Timestamp) -> bool {
    if look.uid != *uid {
        return true;
    }
    match write {
        Write::Annotate { key } if *key == NUDGE => look.nudge.as_deref() == Some(&*intended.to_string()),
        Write::Annotate { .. } => look.marked,
        Write::RemoveFinalizer(name) => !look.finalizers.iter().any(|finalizer| &**finalizer == *name),
        Write::Delete => look.deleting,
    }
}

/// What is no longer as it was expected.
fn changed(expect: &Expect, version: &str, look: &Look) -> Option<String> {
    let Expect { deleting, finalizers, marked, not_creating, emptied, handle, made_by_controller, consent, unchanged } =
        expect;
    if look.deleting != *deleting {
        return Some(if look.deleting { "it is being deleted" } else { "it is not being deleted" }.to_owned());
    }
    if finalizers.as_ref().is_some_and(|names| *names != look.finalizers) {
        return Some(format!("its finalizers have changed to [{}]", look.finalizers.join(", ")));
    }
    if marked.is_some_and(|marked| marked != look.marked) {
        return Some(format!("{BEING_DELETED} has changed"));
    }
    if *not_creating && look.creating {
        return Some(format!("{BEING_CREATED} is there"));
    }
    if *emptied && !look.emptied {
        return Some("its status is not emptied".to_owned());
    }
    if handle.is_some() && *handle != look.handle {
        return Some("its snapshotHandle has changed".to_owned());
    }
    if *made_by_controller && !look.made_by_controller {
        return Some("its spec was not made by snapshot-controller alone".to_owned());
    }
    if *consent && look.leave_behind.as_deref() != Some(&*look.uid.to_string()) {
        return Some(format!("{LEAVE_BEHIND} does not carry its uid"));
    }
    if *unchanged && *version != *look.version {
        return Some("it has changed".to_owned());
    }
    None
}

fn tests(look: &Look) -> Vec<Op> {
    vec![
        Op::Test("/metadata/uid".to_owned(), look.uid.to_string()),
        Op::Test("/metadata/resourceVersion".to_owned(), look.version.to_string()),
    ]
}

fn annotate(look: &Look, key: &str, value: Option<String>) -> Request {
    let mut ops = tests(look);
    if !look.annotated {
        ops.push(Op::AddMap("/metadata/annotations".to_owned()));
    }
    ops.push(Op::Add(format!("/metadata/annotations/{}", pointer(key)), value.unwrap_or_default()));
    Request::Patch(ops)
}

fn remove(look: &Look, name: &str, at: usize) -> Request {
    let path = format!("/metadata/finalizers/{at}");
    let mut ops = tests(look);
    ops.push(Op::Test(path.clone(), name.to_owned()));
    ops.push(Op::Remove(path));
    Request::Patch(ops)
}

/// A key as one part of a JSON pointer.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
