//! Every kind of write that comes to mind, as Volwarden would send it, with the verdict it has to get.

use serde_json::json;

use crate::shapes::BEING_DELETED;
use crate::{Ask, Server};

mod components;
mod contents;
mod jobs;
mod records;
mod snapshots;

/// What is asked for, and which policy refuses it with which words; `None`: it passes. Where several policies refuse,
/// the server names any one of them, and none is named here.
pub(crate) struct Row {
    pub(crate) about: &'static str,
    pub(crate) ask: Ask,
    pub(crate) refused: Option<(&'static str, &'static str)>,
}

/// Rows are made against the objects of one server.
struct Table<'a> {
    server: &'a Server,
    rows: Vec<Row>,
}

impl Table<'_> {
    fn allow(&mut self, about: &'static str, ask: Ask) {
        self.rows.push(Row { about, ask, refused: None });
    }

    fn refuse(&mut self, about: &'static str, policy: &'static str, words: &'static str, ask: Ask) {
        self.rows.push(Row { about, ask, refused: Some((policy, words)) });
    }

    /// The removal of the finalizer at an index, as it is sent: with everything that was looked at as a precondition.
    fn removal(&self, path: &str, at: usize) -> Ask {
        let object = self.server.must(&Ask::get(path));
        let metadata = &object["metadata"];
        Ask::json_patch(
            path,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
                {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
                {"op": "test", "path": format!("/metadata/finalizers/{at}"), "value": metadata["finalizers"][at]},
                {"op": "remove", "path": format!("/metadata/finalizers/{at}")},
            ]),
        )
    }

    /// A deletion of exactly this object.
    fn deletion(&self, path: &str) -> Ask {
        let (uid, version) = self.server.identity(path);
        Ask::delete(path, json!({"preconditions": {"uid": uid, "resourceVersion": version}}))
    }
}

fn annotate(path: &str, key: &str, value: &str) -> Ask {
    Ask::merge(path, json!({"metadata": {"annotations": {key: value}}}))
}

fn nudge(path: &str) -> Ask {
    annotate(path, "volwarden.dev/nudge", "2026-11-25T10:00:00Z")
}

fn mark(path: &str) -> Ask {
    annotate(path, BEING_DELETED, "yes")
}

/// All rows, with the objects they are about.
pub(crate) fn table(server: &Server) -> Vec<Row> {
    let mut table = Table { server, rows: Vec::new() };
    contents::marks(&mut table);
    contents::removals(&mut table);
    contents::withheld_removals(&mut table);
    contents::deletions(&mut table);
    contents::changes(&mut table);
    snapshots::snapshots(&mut table);
    snapshots::reclaim(&mut table);
    snapshots::prunes(&mut table);
    components::pods(&mut table);
    components::leases(&mut table);
    jobs::jobs(&mut table);
    records::records(&mut table);
    records::retentions(&mut table);
    records::everything_else(&mut table);
    table.rows
}
