//! What the API server says when it does not do what it was asked, in its own words.
//!
//! Clients act on code and reason, people on the message; both are compared with a real server's.

use std::fmt;

use serde_json::{Value, json};

use super::table::Resource;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP code.
    pub code: u16,
    /// `reason` of the Status; may be empty.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<Details>>,
    /// A token to go on with, where a list's own has become too old.
    pub next: Option<String>,
}

/// What a refusal is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// Its API group.
    pub group: &'static str,
    /// Its resource or kind, as the server happens to say it for this reason.
    pub kind: &'static str,
    /// Single complaints: reason, message, field.
    pub causes: Vec<(&'static str, String, &'static str)>,
    /// When to try again, in seconds.
    pub retry_after: u32,
}

impl Refusal {
    /// A refusal that is about no object.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, next: None }
    }

    fn about(mut self, resource: &Resource, kind: &'static str, name: &str) -> Self {
        self.details =
            Some(Box::new(Details { name: name.to_owned(), group: resource.group, kind, ..Details::default() }));
        self
    }

    /// One more single complaint.
    #[must_use]
    pub(super) fn because(mut self, kind: &'static str, complaint: &str, field: &'static str) -> Self {
        self.details.get_or_insert_default().causes.push((kind, complaint.to_owned(), field));
        self
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(resource: &'static Resource, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
        Self::new(403, "Forbidden", message).about(resource, resource.plural, name)
    }

    /// 404 for a path below no group that is served: a page, as a web server would send it.
    #[must_use]
    pub fn no_page() -> Self {
        Self::new(404, "", "404 page not found")
    }

    /// 404 for a resource that its group does not have.
    #[must_use]
    pub fn not_served() -> Self {
        let mut refusal = Self::new(404, "NotFound", "the server could not find the requested resource");
        refusal.details = Some(Box::default());
        refusal
    }

    /// 404 for an object.
    #[must_use]
    pub fn not_found(resource: &'static Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, resource.plural, name)
    }

    /// 405.
    #[must_use]
    pub fn not_allowed() -> Self {
        let mut refusal =
            Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
        refusal.details = Some(Box::default());
        refusal
    }

    /// 409 for a name that is taken.
    #[must_use]
    pub fn already_exists(resource: &'static Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, resource.plural, name)
    }

    /// 409 for a precondition that does not hold.
    #[must_use]
    pub fn conflict(resource: &'static Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(resource, resource.plural, name)
    }

    /// 409 for a deletion whose precondition does not hold: the server names the kind here, not the resource.
    #[must_use]
    pub fn precondition(resource: &'static Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified_kind());
        Self::new(409, "Conflict", message).about(resource, resource.kind, name)
    }

    /// 409 for a write to an object that has changed since it was read.
    #[must_use]
    pub fn modified(resource: &'static Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 410: what happened after that version is no longer known.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media(wanted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {wanted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422 for an object that one field makes invalid. `kind` of complaint is `FieldValueInvalid` and the like.
    #[must_use]
    pub fn invalid(
        resource: &'static Resource,
        name: &str,
        kind: &'static str,
        field: &'static str,
        complaint: &str,
    ) -> Self {
        let message = format!("{} \"{name}\" is invalid: {field}: {complaint}", resource.qualified_kind());
        Self::new(422, "Invalid", message).about(resource, resource.kind, name).because(kind, complaint, field)
    }

    /// 422 for a change of metadata that may not be: it is checked twice, and complained of twice.
    #[must_use]
    pub fn invalid_change(
        resource: &'static Resource,
        name: &str,
        kind: &'static str,
        field: &'static str,
        complaint: &str,
    ) -> Self {
        Self::invalid(resource, name, kind, field, complaint).because(kind, complaint, field)
    }

    /// 422 for a write without the version that was read, where one is needed.
    #[must_use]
    pub fn without_version(resource: &'static Resource, name: &str) -> Self {
        let (field, complaint) = ("metadata.resourceVersion", "Invalid value: 0: must be specified for an update");
        let message = format!("{} \"{name}\" is invalid: {field}: {complaint}", resource.qualified());
        let refusal = Self::new(422, "Invalid", message).about(resource, resource.plural, name);
        refusal.because("FieldValueInvalid", complaint, field)
    }

    /// 422 for a request whose parameters do not go together.
    #[must_use]
    pub fn invalid_options(kind: &'static str, field: &'static str, complaint: &str) -> Self {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {complaint}");
        let mut refusal = Self::new(422, "Invalid", message);
        refusal.details = Some(Box::new(Details { group: "meta.k8s.io", kind: "ListOptions", ..Details::default() }));
        refusal.because(kind, complaint, field)
    }

    /// 422 for a patch that cannot be applied.
    #[must_use]
    pub fn unprocessable() -> Self {
        let mut refusal = Self::new(422, "Invalid", "the server rejected our request due to an error in our request");
        refusal.details = Some(Box::default());
        refusal
    }

    /// 504: a version that the server has not reached.
    #[must_use]
    pub fn too_large_version(wanted: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        let mut refusal = Self::new(504, "Timeout", format!("Timeout: {message}"));
        let causes = vec![("ResourceVersionTooLarge", "Too large resource version".to_owned(), "")];
        refusal.details = Some(Box::new(Details { causes, retry_after: 1, ..Details::default() }));
        refusal
    }

    /// The object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// A precondition did not hold.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// The name is taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// The Status object.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut metadata = json!({});
        if let Some(next) = &self.next {
            set(&mut metadata, "continue", next.as_str().into());
        }
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code});
        if !self.reason.is_empty() {
            set(&mut status, "reason", self.reason.into());
        }
        if let Some(details) = &self.details {
            set(&mut status, "details", details.json());
        }
        status
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl Details {
    fn json(&self) -> Value {
        let mut json = json!({});
        for (key, text) in [("name", self.name.as_str()), ("group", self.group), ("kind", self.kind)] {
            if !text.is_empty() {
                set(&mut json, key, text.into());
            }
        }
        let cause = |(reason, message, field): &(&str, String, &str)| {
            let mut cause = json!({"reason": reason, "message": message});
            if !field.is_empty() {
                set(&mut cause, "field", (*field).into());
            }
            cause
        };
        if !self.causes.is_empty() {
            set(&mut json, "causes", self.causes.iter().map(cause).collect());
        }
        if self.retry_after > 0 {
            set(&mut json, "retryAfterSeconds", self.retry_after.into());
        }
        json
    }
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}
