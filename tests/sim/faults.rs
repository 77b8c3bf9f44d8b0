//! Every fault strikes as it was ordered, as often as it was ordered, and nothing else.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use volwarden::sim::http::{Fault, Rule, Verb};
use volwarden::sim::store::{Details, Refusal, table};

use super::sim::Embedded;
use super::{ORPHAN, doctor, make, snapshot, with_orphan};

const SNAPSHOTS: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshots";

async fn send(client: &Client, path: &str) -> http::Response<Body> {
    let request = Request::get(path).body(kube::client::Body::empty()).unwrap();
    client.send(request).await.unwrap().map(Body::new)
}

/// Code and JSON of an answer.
pub(crate) async fn get(client: &Client, path: &str) -> (u16, Value) {
    let response = send(client, path).await;
    let code = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn refusals_come_as_often_as_ordered_and_say_when_to_come_back() {
    let embedded = Embedded::start().await;
    let client = embedded.client().await;
    let mut busy = Refusal::new(429, "TooManyRequests", "try again later");
    busy.details = Some(Box::new(Details { retry_after: 7, ..Details::default() }));
    embedded.faults.add(Rule::next(Fault::Refuse(busy)).plural("volumesnapshots").after(1).times(2));
    assert_eq!(send(&client, SNAPSHOTS).await.status(), 200, "the first is left alone");
    assert_eq!(send(&client, "/api/v1/pods").await.status(), 200, "and so are others");
    for _ in 0..2 {
        let refused = send(&client, SNAPSHOTS).await;
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (429, b"7".as_slice()));
    }
    assert_eq!(send(&client, SNAPSHOTS).await.status(), 200);
    for code in [410, 409, 500, 503] {
        embedded.faults.add(Rule::next(Fault::Refuse(Refusal::new(code, "", "no"))));
        assert_eq!(get(&client, SNAPSHOTS).await.0, code);
    }
    embedded.stop().await;
}

#[tokio::test]
async fn answers_come_late_not_at_all_or_in_part() {
    let embedded = Embedded::start().await;
    let client = embedded.client().await;
    embedded.faults.add(Rule::next(Fault::Slow(Duration::from_millis(300))).verb(Verb::List));
    let start = Instant::now();
    assert_eq!(get(&client, SNAPSHOTS).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());

    embedded.faults.add(Rule::next(Fault::Truncate(10)));
    let broken = to_bytes(send(&client, SNAPSHOTS).await.into_body(), usize::MAX).await;
    assert!(broken.is_err(), "{broken:?}");

    embedded.faults.add(Rule::next(Fault::Hang));
    assert!(timeout(Duration::from_millis(500), send(&client, SNAPSHOTS)).await.is_err());
    assert_eq!(get(&client, SNAPSHOTS).await.0, 200, "only the one");
    embedded.stop().await;
}

#[tokio::test]
async fn a_watch_is_cut_after_its_lines() {
    let embedded = Embedded::start().await;
    for name in ["a", "b", "c"] {
        make(&embedded, table::SNAPSHOTS, "default", snapshot(name));
    }
    let client = embedded.client().await;
    embedded.faults.add(Rule::next(Fault::CutWatch(2)).verb(Verb::Watch));
    let body = send(&client, &format!("{SNAPSHOTS}?watch=true")).await.into_body();
    let text = timeout(Duration::from_secs(20), to_bytes(body, usize::MAX)).await.expect("it ends").unwrap();
    assert_eq!(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 2);
    embedded.stop().await;
}

#[tokio::test]
async fn doctor_is_not_misled_by_a_server_that_stumbles() {
    let embedded = with_orphan().await;
    let expired = Refusal::expired("too old resource version: 1 (2)");
    let contents = |fault| Rule::next(fault).plural("volumesnapshotcontents");
    embedded.faults.add(contents(Fault::Refuse(expired)));
    embedded.faults.add(contents(Fault::Truncate(40)));
    embedded.faults.add(contents(Fault::CutWatch(0)));
    embedded.faults.add(Rule::next(Fault::Refuse(Refusal::new(503, "ServiceUnavailable", "busy"))).plural("leases"));
    assert_eq!(doctor(&embedded).await, (1, ORPHAN.map(str::to_owned).to_vec()));
    embedded.stop().await;
}
