//! The daemon's own question whether the fence stands, asked of a real API server as the account of `deploy/base`.

use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};
use stack::Options;
use tokio::sync::watch;
use volwarden::domain::fence::{Fence, Part};
use volwarden::driver::Clock;
use volwarden::io::act;

use crate::{Ask, SOON, Server, VOLWARDEN};

const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

fn seen(server: &Server, client: &Client) -> Fence {
    let (_lease, until) = watch::channel(Some(Duration::from_secs(3600)));
    let asked = async { act::fence::ask(client, "volwarden-system", &until, &Clock::start()).await };
    server.runtime.block_on(asked).expect("it leads")
}

/// Waits until the server minds what was changed: it watches its policies too.
fn wait_seen(server: &Server, client: &Client, what: &str, wanted: impl Fn(&Fence) -> bool) {
    let said = || Some(seen(server, client)).filter(|fence| wanted(fence)).map(drop);
    let found = server.stack.wait(what, SOON, said);
    found.unwrap_or_else(|error| panic!("{error}: {:?}", seen(server, client)));
}

fn missing(part: Part) -> impl Fn(&Fence) -> bool {
    move |fence| matches!(fence, Fence::Missing(words) if words.contains(part.policy()))
}

#[test]
fn a_fence_is_seen_to_stand_and_each_binding_that_is_gone_is_missed() {
    let Some(server) = Server::start(Options::api_only()) else { return };
    server.install();
    let volwarden = server.user(VOLWARDEN);
    wait_seen(&server, &volwarden, "the fence stands", |fence| *fence == Fence::Stands);
    for part in Part::ALL {
        let path = format!("{BINDINGS}/{}", part.policy());
        let mut binding = server.must(&Ask::get(&path));
        server.must(&Ask::delete(&path, Value::Null));
        wait_seen(&server, &volwarden, "the binding is missed", missing(part));
        // Neither does one that only warns keep anything out.
        let metadata = json!({"name": part.policy()});
        binding["metadata"] = metadata;
        let mut warns = binding.clone();
        warns["spec"]["validationActions"] = json!(["Warn"]);
        server.must(&Ask::create(BINDINGS, warns));
        wait_seen(&server, &volwarden, "a warning is no fence", missing(part));
        server.must(&Ask::merge(&path, json!({"spec": {"validationActions": ["Deny"]}})));
        wait_seen(&server, &volwarden, "it stands again", |fence| *fence == Fence::Stands);
    }
    for place in [
        "/apis/coordination.k8s.io/v1/namespaces/volwarden-system/leases",
        "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents",
        "/apis/snapshot.storage.k8s.io/v1/namespaces/volwarden-system/volumesnapshots",
        "/apis/volwarden.dev/v1alpha1/remediations",
    ] {
        assert_eq!(server.must(&Ask::get(place))["items"], json!([]), "{place}: nothing that was asked for is stored");
    }
}

#[test]
fn whom_it_is_not_around_and_who_may_not_write_is_not_taken_for_fenced() {
    let Some(server) = Server::start(Options::api_only()) else { return };
    server.install();
    let everything = seen(&server, &server.admin);
    assert!(matches!(&everything, Fence::Missing(words) if Part::ALL.iter().all(|part| words.contains(part.policy()))));
    let nothing = seen(&server, &server.user("system:serviceaccount:volwarden-system:another"));
    assert!(matches!(&nothing, Fence::Untold(words) if words.contains("cannot create resource")), "{nothing:?}");
}
