//! SnapshotRetentions from a file, for `retention plan -f`: judged as the API server and the daemon would judge them.

use serde_json::Value;

use super::translated;
use crate::api::check::{self, Checked};
use crate::domain::prune::policy::Pruning;
use crate::io::policy::file::{Document, Readable, Wrong, unsaid};

/// Reads policies from documents.
///
/// # Errors
/// With all that is wrong: place, field, and what to write.
pub fn policies(documents: &[Document]) -> Result<Vec<Pruning>, Wrong> {
    Readable { kind: "SnapshotRetention", judge, name: |pruning: &Pruning| pruning.name() }.read(documents)
}

fn judge(name: &str, spec: &Value) -> Result<Pruning, Vec<String>> {
    let Checked { spec, flaws } = check::retention(spec);
    let mut wrong: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    let Some(spec) = spec else { return Err(wrong) };
    let pruning = Pruning::new(name, translated(&spec));
    wrong.extend(unsaid(pruning.problems(), &flaws));
    if wrong.is_empty() { Ok(pruning) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: &Value) -> Result<Vec<Pruning>, String> {
        let value = json!({
            "apiVersion": "volwarden.dev/v1alpha1", "kind": "SnapshotRetention", "metadata": {"name": "p"}, "spec": spec,
        });
        policies(&[Document { place: "f, line 1".to_owned(), value }]).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_file_is_judged_as_the_cluster_would() {
        assert_eq!(read(&json!({"keep": {"daily": 7}})).unwrap()[0].rules().keep.daily, 7);
        for (spec, words) in [
            (json!({"keep": {"dayly": 7}}), "f, line 1, SnapshotRetention p: spec.keep.dayly: there is no such field"),
            (json!({"mode": "Enforce"}), "f, line 1, SnapshotRetention p: spec.drivers is empty"),
            (json!({"timeZone": "Mars"}), "f, line 1, SnapshotRetention p: spec.timeZone: `Mars` is no time zone"),
            (json!({"minReady": 0}), "f, line 1, SnapshotRetention p: spec.minReady: 0 is out of range"),
        ] {
            let said = read(&spec).unwrap_err();
            assert!(said.starts_with(words) && said.lines().count() == 1, "{said}");
        }
        let other = json!({"apiVersion": "v1", "kind": "Pod"});
        let said = policies(&[Document { place: "f".to_owned(), value: other }]).unwrap_err().to_string();
        assert!(said.contains("only SnapshotRetentions of volwarden.dev/v1alpha1 are read here"), "{said}");
    }
}
