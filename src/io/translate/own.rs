//! Namespaces, as far as a policy's scope and `volwarden.dev/ignore` rest on them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::record::Namespace;

/// A Namespace's metadata.
#[derive(Debug, Deserialize)]
pub(super) struct NamespaceView {
    metadata: Marks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Marks {
    labels: Option<BTreeMap<Box<str>, Box<str>>>,
    annotations: Option<BTreeMap<Box<str>, Box<str>>>,
}

impl NamespaceView {
    pub(super) fn record(self) -> Namespace {
        let ignored = self.metadata.annotations.is_some_and(|marks| marks.contains_key("volwarden.dev/ignore"));
        Namespace { labels: self.metadata.labels.unwrap_or_default(), ignored }
    }
}
