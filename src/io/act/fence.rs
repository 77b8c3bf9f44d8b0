//! Asks the API server whether the fence stands: writes that it has to refuse, as dry runs.
//!
//! A dry run goes through admission and is never stored, and none of these is about an object that exists. They are
//! sent like every write: by who leads, once, within what is left of the lease. What the answers come to is decided
//! in [`crate::domain::fence`]. The failure this exists to prevent is a daemon that believes in a fence nobody put up.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::consent::Ours;
use super::left;
use super::send::{Call, send};
use crate::api::{APPROVED, GROUP, VERSION};
use crate::domain::fence::{Answer, Fence, Part};
use crate::io::clock::Clock;
use crate::io::request::Refusal;

/// Name of everything that is asked for. No such object exists, and the fence lets none of this name through.
const NAME: &str = "volwarden-fence-check";
/// API group and version of the snapshot kinds.
const SNAPSHOTS: &str = "snapshot.storage.k8s.io/v1";

/// Asks for each part; `namespace` is that of our own lease. `None`: we do not lead, so nothing was asked.
pub async fn ask(
    client: &Client,
    namespace: &str,
    lease: &watch::Receiver<Option<Duration>>,
    clock: &impl Clock,
) -> Option<Fence> {
    let patience = left(lease, clock, Duration::MAX)?;
    let answers = Part::ALL.map(|part| async move {
        let said = send(client, probe(part, namespace).dry(), patience).await;
        (part, answer(part, &said.map(drop)))
    });
    Some(Fence::of(&join_all(answers).await))
}

/// A write that our rights allow and this part has to refuse. Each is a whole object that its kind would take: a server
/// looks at its schema before it asks any policy.
fn probe(part: Part, namespace: &str) -> Call {
    let group = |rest: String| format!("/apis/{SNAPSHOTS}/{rest}");
    let within = json!({"name": NAME, "namespace": namespace});
    match part {
        Part::Leases => Call::create(
            format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": within}),
        ),
        Part::Contents => Call::create(
            group("volumesnapshotcontents".to_owned()),
            json!({
                "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotContent", "metadata": {"name": NAME},
                "spec": {
                    "driver": "fence-check.volwarden.dev", "deletionPolicy": "Retain",
                    "source": {"snapshotHandle": NAME}, "volumeSnapshotRef": within,
                },
            }),
        ),
        Part::Snapshots => Call::create(
            group(format!("namespaces/{namespace}/volumesnapshots")),
            json!({
                "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshot", "metadata": within,
                "spec": {"source": {"volumeSnapshotContentName": NAME}},
            }),
        ),
        Part::Ledger => Call::create(Ours::Remediation.collection(), approved()),
    }
}

/// An entry of the ledger that is approved before anybody has seen it.
fn approved() -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Remediation",
        "metadata": {"name": NAME, "annotations": {(APPROVED): NAME}},
        "spec": {
            "subject": {"kind": "VolumeSnapshotContent", "name": NAME},
            "class": "MissedEvent", "since": "1970-01-01T00:00:00Z",
        },
    })
}

fn answer(part: Part, said: &Result<(), Refusal>) -> Answer {
    match said {
        Ok(()) => Answer::Taken,
        Err(refusal) if refusal.words.contains(part.refusal()) => Answer::Refused,
        // A kind that is not served is answered without the name of an object; a namespace that is not there, with it.
        Err(refusal) if refusal.is(StatusCode::NOT_FOUND) && refusal.about.is_none() => Answer::NotInstalled,
        Err(refusal) => Answer::Untold(refusal.words.clone()),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::io::tests::{Asked, BEGAN, Book, Told, Watch, ok, refused, server};

    fn part(asked: &Asked) -> Part {
        let kind = asked.body["kind"].as_str().unwrap();
        let kinds = ["Lease", "VolumeSnapshotContent", "VolumeSnapshot", "Remediation"];
        Part::ALL[kinds.iter().position(|one| *one == kind).unwrap()]
    }

    /// As a server says it whose fence has this prefix before its names.
    fn fenced(asked: &Asked) -> Told {
        let part = part(asked);
        let name = format!("our-{}", part.policy());
        let said =
            format!("ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {} ...", part.refusal());
        let body = json!({"kind": "Status", "reason": "Invalid", "message": said, "code": 422});
        Told { code: 422, body, ..ok(Value::Null) }
    }

    async fn asked(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> (Option<Fence>, Book) {
        let (client, book) = server(answer);
        let (_lease, until) = watch::channel(Some(BEGAN + Duration::from_secs(10)));
        (ask(&client, "home", &until, &Watch::start()).await, book)
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_is_asked_once_and_nothing_could_be_stored() {
        let (said, book) = asked(fenced).await;
        assert_eq!(said, Some(Fence::Stands));
        let all = book.all();
        assert_eq!(all.len(), Part::ALL.len());
        for one in all {
            assert!(one.method == Method::POST && one.uri.ends_with("?dryRun=All"), "{} {}", one.method, one.uri);
            assert_eq!(one.body["metadata"]["name"], NAME);
            let namespace = &one.body["metadata"]["namespace"];
            assert!(namespace.is_null() || namespace == "home" && one.uri.contains("/namespaces/home/"), "{}", one.uri);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_its_own_words_are_taken_for_the_fences() {
        for without in Part::ALL {
            let but =
                |told: fn() -> Told| move |asked: &Asked| if part(asked) == without { told() } else { fenced(asked) };
            let (said, _) = asked(but(|| ok(json!({})))).await;
            assert!(matches!(&said, Some(Fence::Missing(words)) if words.contains(without.policy())), "{said:?}");
            // RBAC, another policy, a webhook that knows no dry run, a server that is ill.
            for (code, reason) in [(403, "Forbidden"), (422, "Invalid"), (400, "BadRequest"), (500, "InternalError")] {
                let told =
                    move |asked: &Asked| if part(asked) == without { refused(code, reason) } else { fenced(asked) };
                let (said, _) = self::asked(told).await;
                assert!(matches!(&said, Some(Fence::Untold(words)) if words.contains(reason)), "{code}: {said:?}");
            }
            let (said, _) = asked(but(|| ok(json!({})).after(3600))).await;
            assert!(matches!(&said, Some(Fence::Untold(words)) if words.contains("no answer within 5 s")), "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_installed_needs_no_fence_and_a_namespace_that_is_not_there_is_no_answer() {
        let missing = |about: Value| {
            move |asked: &Asked| match part(asked) {
                Part::Snapshots => {
                    let body = json!({"reason": "NotFound", "message": "not found", "details": about, "code": 404});
                    Told { code: 404, body, ..ok(Value::Null) }
                }
                _ => fenced(asked),
            }
        };
        assert_eq!(asked(missing(Value::Null)).await.0, Some(Fence::Stands));
        let (said, _) = asked(missing(json!({"name": "home", "kind": "namespaces"}))).await;
        assert!(matches!(said, Some(Fence::Untold(_))), "{said:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_lead_asks_nothing() {
        let (client, book) = server(fenced);
        for until in [None, Some(BEGAN)] {
            let (_lease, until) = watch::channel(until);
            assert_eq!(ask(&client, "home", &until, &Watch::start()).await, None);
        }
        assert_eq!(book.all().len(), 0);
    }
}
