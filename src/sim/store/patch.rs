//! The two patches that everybody's objects take.

use serde_json::Value;

use super::refusal::Refusal;

/// A change to an object that need not know all of it.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386: what is named is set, `null` removes.
    Merge(Value),
    /// RFC 6902: operations, all or none of which happen.
    Json(json_patch::Patch),
}

impl Patch {
    /// A JSON patch from its JSON.
    ///
    /// # Errors
    /// It is not a list of operations.
    pub fn json(operations: Value) -> Result<Self, Refusal> {
        let patch = serde_json::from_value(operations);
        patch.map(Self::Json).map_err(|error| Refusal::bad_request(error.to_string()))
    }

    /// The object with the change made.
    pub(super) fn apply(&self, object: &Value) -> Result<Value, Refusal> {
        let mut patched = object.clone();
        match self {
            Self::Merge(patch) => json_patch::merge(&mut patched, patch),
            Self::Json(operations) => {
                json_patch::patch(&mut patched, operations).map_err(|_| Refusal::unprocessable())?;
            }
        }
        Ok(patched)
    }
}
