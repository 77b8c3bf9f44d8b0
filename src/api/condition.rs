//! Conditions as kstatus reads them, so that `kubectl wait` and GitOps tools know when an object is done.
//!
//! An object is fine when it is `Ready`; `Reconciling` and `Stalled` are only there while they are true. Without
//! `observedGeneration` a tool would take the verdict on the last spec for one on the new.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The object is as its spec says, and was looked at in this generation.
pub const READY: &str = "Ready";
/// Work on it goes on.
pub const RECONCILING: &str = "Reconciling";
/// Nothing goes on until somebody changes something; the message says what.
pub const STALLED: &str = "Stalled";

/// Nothing is found wrong with what the object is about.
pub const HEALTHY: &str = "Healthy";

/// A policy differs from another over the same objects.
pub const CONFLICT: &str = "Conflict";

/// The fence around the daemon's account refuses what it has to.
pub const FENCED: &str = "Fenced";

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It could not be told.
    Unknown,
}

/// One condition of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about: Ready, Reconciling, Stalled.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the object it was said about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Since when the status is this.
    pub last_transition_time: Timestamp,
    /// Why, in one word.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub reason: String,
    /// Why, in words.
    #[schemars(length(max = 1024))]
    pub message: String,
}

impl Condition {
    /// Says whether something holds now. Since when that is so stands in those that were said `before`.
    #[must_use]
    pub fn turned(
        before: &[Self],
        (about, holds): (&str, bool),
        (reason, message): (&str, String),
        generation: i64,
        now: Timestamp,
    ) -> Self {
        let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
        let same = before.iter().find(|one| one.r#type == about && one.status == status);
        Self {
            r#type: about.to_owned(),
            status,
            observed_generation: Some(generation),
            last_transition_time: same.map_or(now, |one| one.last_transition_time),
            reason: reason.to_owned(),
            message,
        }
    }
}
