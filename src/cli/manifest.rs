//! YAML files of Kubernetes objects, as the CLI reads them: text to documents, each with its line.
//!
//! What is in a document is judged elsewhere; here a file that is no YAML, or is one twice over (a key that stands
//! twice), is refused with its line. A key that was read once and passed over once may have been a limit.

use std::fmt;

use serde_json::Value;
use serde_saphyr::Spanned;

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// The line where it begins, from 1.
    pub(super) line: u64,
    /// What is in it.
    pub(super) value: Value,
}

/// Why a text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) struct NoYaml {
    /// The line, from 1; 0 where it is not known.
    pub(super) line: u64,
    /// What is wrong, in one line.
    pub(super) what: String,
}

impl fmt::Display for NoYaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        write!(f, "{}; this has to be YAML or JSON, documents apart by `---`", self.what)
    }
}

/// Reads all documents; empty ones are left out.
///
/// # Errors
/// Where the text is no YAML.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, NoYaml> {
    let read: Vec<Spanned<Value>> = serde_saphyr::from_multiple(text).map_err(|error| no_yaml(&error))?;
    let document = |one: Spanned<Value>| Document { line: one.referenced.line(), value: one.value };
    Ok(read.into_iter().map(document).collect())
}

fn no_yaml(error: &serde_saphyr::Error) -> NoYaml {
    let line = error.location().map_or(0, |at| at.line());
    let plain = error.without_snippet().to_string();
    let mut what = plain.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    // The place is said once, in front; and the parser's own options are none of the reader's.
    for surplus in [" at line ", ", set DuplicateKeyPolicy"] {
        what.truncate(what.find(surplus).unwrap_or(what.len()));
    }
    NoYaml { line, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Mode;
    use crate::io::policy::file;

    const FILE: &str = "\
# What may be done about snapshots.
apiVersion: volwarden.dev/v1alpha1
kind: RemediationPolicy
metadata:
  name: default
spec:
  mode: Approve
  scope:
    drivers: [rook-ceph.rbd.csi.ceph.com]
---
---
apiVersion: volwarden.dev/v1alpha1
kind: RemediationPolicy
metadata: {name: nights}
spec:
  mode: Enforce
  pause: {reason: upgrade, until: 2026-11-25T22:00:00Z}
  scope: {drivers: [rook-ceph.rbd.csi.ceph.com]}
  windows:
  - schedule: 0 22 * * *
    duration: 6h
    timeZone: Europe/Berlin
";

    fn policies(text: &str) -> Result<Vec<crate::domain::policy::Policy>, String> {
        let read = documents(text).map_err(|error| error.to_string())?;
        let placed = |one: Document| file::Document { place: format!("line {}", one.line), value: one.value };
        file::policies(&read.into_iter().map(placed).collect::<Vec<_>>()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_file_of_several_documents_gives_its_policies() {
        let lines: Vec<u64> = documents(FILE).unwrap().iter().map(|one| one.line).collect();
        assert_eq!(lines, [2, 12]);
        let read = policies(FILE).unwrap();
        assert_eq!((&**read[0].name(), read[0].mode(), read[0].problems().len()), ("default", Mode::Approve, 0));
        assert_eq!((&**read[1].name(), read[1].mode(), read[1].spec().windows.len()), ("nights", Mode::Enforce, 1));
        assert!(documents("").unwrap().is_empty() && documents("# nothing\n---\n").unwrap().is_empty());
        assert_eq!(documents("{\"a\": [1, true, null]}").unwrap()[0].value, serde_json::json!({"a": [1, true, null]}));
    }

    #[test]
    fn the_policy_of_the_install_guide_is_one() {
        let guide = include_str!("../../docs/install.md");
        let yaml = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(policies(yaml).unwrap()[0].mode(), Mode::Approve);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_field() {
        let wrong = FILE.replace("drivers: [rook-ceph.rbd.csi.ceph.com]}", "driver: [rook-ceph.rbd.csi.ceph.com]}");
        assert_eq!(
            policies(&wrong).unwrap_err(),
            "line 12, RemediationPolicy nights: spec.scope.driver: there is no such field; the fields here are drivers, \
             excludedNamespaces, namespaceSelector"
        );
        for (text, line) in [("a: 1\na: 2\n", 2), ("a: [\n", 0), ("a: 1\n\tb: 2\n", 0), ("x: *y\n", 1)] {
            let error = documents(text).unwrap_err();
            assert!(line == 0 || error.line == line, "{text:?}: {error:?}");
            let shown = error.to_string();
            assert!(!shown.contains('\n') && shown.contains("YAML"), "{shown}");
        }
    }
}
