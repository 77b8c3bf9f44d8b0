//! Somebody edits an object between our fresh read and our write: the server refuses it, and nothing is changed.

use serde_json::json;
use stack::Options;
use volwarden::domain::finding::{Class, Subject};
use volwarden::domain::name::Key;
use volwarden::domain::record::Kind;
use volwarden::domain::remedy::Step;
use volwarden::domain::remedy::action::{Action, Expect, Target, TargetKind};
use volwarden::domain::remedy::fresh::{Fit, Looked, Request};
use volwarden::io::{act, look};

use crate::shapes::{BOUND, Content, orphaned};
use crate::{Ask, Server};

#[test]
fn a_write_made_of_a_read_that_is_old_is_refused_by_the_server() {
    let Some(server) = Server::start(Options::api_only()) else { return };
    let path =
        server.content("raced", &Content { finalizers: vec!["other/hold", BOUND], deleting: false, ..orphaned() });
    let read = server.must(&Ask::get(&path));
    let seen = look::look(&read).unwrap();
    let key = Key::cluster("raced");
    let target =
        Target { kind: TargetKind::Content, key: key.clone(), uid: seen.uid.clone(), version: seen.version.clone() };
    let action = |step: Step| Action {
        step,
        class: Class::DeletedNotReleased,
        subject: Subject::new(Kind::VolumeSnapshotContent, key.clone()),
        subject_uid: Some(seen.uid.clone()),
        driver: "csi.example.com".into(),
        target: target.clone(),
        write: step.write(),
        expect: Expect::default(),
        handle: None,
        leaks: false,
        destroys: false,
        doubts: Vec::new(),
        orphan: None,
        summary: String::new(),
    };
    let request = |step| {
        let looked = Looked::There(Box::new(seen.clone()));
        match action(step).fit(&looked, "2026-11-25T10:00:00Z".parse().unwrap()) {
            Fit::Send(request) => request,
            other => panic!("{other:?}"),
        }
    };
    let (Request::Patch(removal), Request::Patch(nudge)) =
        (request(Step::RemoveContentFinalizer), request(Step::Nudge))
    else {
        panic!("both are patches")
    };
    let Request::Delete { uid, version } = request(Step::DeleteAbandoned) else { panic!("a deletion") };

    // In the place of the one that is meant stands another one now.
    server.must(&Ask::merge(&path, json!({"metadata": {"finalizers": [BOUND, "other/hold"]}})));
    for ops in [removal, nudge] {
        let (code, said) = server.send(&server.admin, &Ask::json_patch(&path, act::patch(&ops)));
        let words = said["message"].as_str().unwrap();
        // The hands read these very words as: somebody was first.
        assert_eq!((code, words), (422, "the server rejected our request due to an error in our request"), "{said}");
    }
    let preconditions = json!({"uid": uid.to_string(), "resourceVersion": &*version});
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
    let (code, said) = server.send(&server.admin, &Ask::delete(&path, body));
    assert_eq!(code, 409, "{said}");
    let left = server.must(&Ask::get(&path));
    assert_eq!(left["metadata"]["finalizers"], json!([BOUND, "other/hold"]));
    assert_eq!(left["metadata"]["annotations"], read["metadata"]["annotations"]);
}
