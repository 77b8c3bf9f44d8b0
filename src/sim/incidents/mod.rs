//! The incidents of the manual, as short scripts on a home cluster: what breaks, and what puts it right.
//!
//! A script knows what it does and which classes it is worth; it never tells what is wrong. That is the
//! daemon's part, and whether it found it is judged from what the daemon itself said.

mod components;
mod objects;
mod stage;

use std::time::Duration;

pub use stage::{Notes, Stage};

use crate::domain::finding::Class;

/// One line of a script.
#[derive(Clone, Copy)]
pub enum Step {
    /// Something is done as soon as it can be, and told in these words; `None`: it cannot be done yet.
    Do(fn(&mut Stage, &mut Notes) -> Option<String>),
    /// The daemon finds this.
    Found(Class),
}

/// An incident.
pub struct Incident {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// It breaks what others need: nothing else happens meanwhile.
    pub alone: bool,
    /// The daemon has so long to find everything.
    pub patience: Duration,
    /// What breaks, and what is to be found.
    pub breaks: &'static [Step],
    /// Volwarden puts it right by itself, under the demo's policy. If it does not, people do in the end.
    pub heals: bool,
    /// The manual's right steps. Without any it is left as it is.
    pub mends: &'static [fn(&mut Stage, &mut Notes) -> Option<String>],
}

impl Incident {
    /// In the order in which they are told.
    pub const ALL: [&'static Self; 10] = [
        &objects::FOREIGN_FINALIZER,
        &components::SIDECAR_REMOVED,
        &objects::FINALIZERS_STRIPPED,
        &objects::MISSED_EVENT,
        &objects::PROVISIONER_ORPHAN,
        &components::CONTROLLER_DOWN,
        &components::LEADER_FROZEN,
        &components::DRIVER_HUNG,
        &components::SECRET_MISSING,
        &components::STORM,
    ];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|incident| incident.name == name)
    }

    /// The classes that the daemon has to name.
    pub fn expects(&self) -> impl Iterator<Item = Class> {
        self.breaks.iter().filter_map(|step| match step {
            Step::Found(class) => Some(*class),
            Step::Do(_) => None,
        })
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incident_has_a_name_of_its_own_and_something_to_be_found() {
        for (place, incident) in Incident::ALL.into_iter().enumerate() {
            assert_eq!(Incident::ALL.iter().position(|one| one.name == incident.name), Some(place));
            assert!(incident.expects().count() > 0, "{}", incident.name);
            assert!(matches!(incident.breaks, [Step::Do(_), ..]), "{} begins with a deed", incident.name);
        }
    }
}
