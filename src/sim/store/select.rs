//! Label and field selectors.

use std::borrow::Cow;

use serde_json::Value;

use super::object;
use super::refusal::Refusal;
use super::table::Resource;

/// Which objects are wanted; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<(String, Condition)>,
    fields: Vec<(String, Condition)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// From the two texts of a query; either may be empty.
    ///
    /// # Errors
    /// A text is no selector, or names a field that this resource cannot be selected by.
    pub fn parse(resource: &'static Resource, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = split(labels).into_iter().map(label_requirement).collect::<Result<_, _>>()?;
        let requirements = fields.split(',').filter(|one| !one.is_empty());
        let fields = requirements.map(|one| field_requirement(resource, one)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether an object is wanted.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        let labels = self.labels.iter().all(|(key, condition)| condition.holds(object::label(object, key)));
        labels && self.fields.iter().all(|(pointer, condition)| condition.holds(Some(&field(object, pointer))))
    }
}

impl Condition {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |wanted: &[String]| value.is_some_and(|value| wanted.iter().any(|one| one == value));
        match self {
            Self::In(wanted) => among(wanted),
            Self::NotIn(unwanted) => !among(unwanted),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

/// Splits at commas that are not in brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = text.split(|letter: char| {
        match letter {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn label_requirement(text: &str) -> Result<(String, Condition), Refusal> {
    if let Some((key, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match key.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => Ok((key.trim().to_owned(), Condition::In(values))),
            Some((key, "notin")) => Ok((key.trim().to_owned(), Condition::NotIn(values))),
            _ => Err(unreadable(text)),
        };
    }
    let (key, condition) = match comparison(text) {
        Some((key, condition)) => (key, condition),
        None => match text.strip_prefix('!') {
            Some(key) => (key, Condition::Absent),
            None => (text, Condition::Exists),
        },
    };
    let key = key.trim();
    if key.is_empty() || key.contains(|letter: char| letter.is_whitespace() || "!=()".contains(letter)) {
        return Err(unreadable(text));
    }
    Ok((key.to_owned(), condition))
}

/// `a=b`, `a==b`, `a!=b`.
fn comparison(text: &str) -> Option<(&str, Condition)> {
    if let Some((key, value)) = text.split_once("!=") {
        return Some((key, Condition::NotIn(vec![value.trim().to_owned()])));
    }
    let (key, value) = text.split_once("==").or_else(|| text.split_once('='))?;
    Some((key, Condition::In(vec![value.trim().to_owned()])))
}

fn field_requirement(resource: &'static Resource, text: &str) -> Result<(String, Condition), Refusal> {
    let (label, condition) =
        comparison(text).ok_or_else(|| Refusal::bad_request(format!("invalid field selector: \"{text}\"")))?;
    let known = label == "metadata.name"
        || (label == "metadata.namespace" && resource.namespaced)
        || resource.fields.contains(&label);
    if !known {
        // Kinds with fields of their own say it in other words than those without.
        let message = if resource.custom || !resource.fields.is_empty() {
            format!("field label not supported: {label}")
        } else {
            let also = if resource.namespaced { ", \"metadata.namespace\"" } else { "" };
            format!("\"{label}\" is not a known field selector: only \"metadata.name\"{also}")
        };
        return Err(Refusal::bad_request(message));
    }
    Ok((format!("/{}", label.replace('.', "/")), condition))
}

/// The text of a field; absent, it is empty.
fn field<'a>(object: &'a Value, pointer: &str) -> Cow<'a, str> {
    // Two selectable fields have names of their own.
    let pointer = match pointer {
        "/source" => "/source/component",
        "/status/successful" => "/status/succeeded",
        other => other,
    };
    match object::at(object, pointer) {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(Value::Null) | None => Cow::Borrowed(""),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

fn unreadable(text: &str) -> Refusal {
    Refusal::bad_request(format!("unable to parse requirement: {text}"))
}
