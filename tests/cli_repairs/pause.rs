//! `volwarden pause` and `volwarden resume`.

use volwarden::sim::http::{Fault, Rule, Verb};
use volwarden::sim::store::Refusal;

use super::*;

fn paused(embedded: &Embedded, name: &str) -> Option<Value> {
    stands(embedded, table::POLICIES, "", name)?.pointer("/spec/pause").cloned()
}

#[tokio::test]
async fn a_pause_has_an_end_and_can_be_taken_back() {
    let embedded = cluster().await;
    make(&embedded, table::POLICIES, &policy("default", &json!({"mode": "Approve"})));
    let words = ["pause", "--reason", "upgrade of Rook", "--for", "2h"];
    let said = volwarden(&embedded, &[&words[..], &["--dry-run=server"]].concat()).await;
    assert!(said.code == 0 && said.out.contains("would be paused (dry run"), "{}{}", said.out, said.err);
    assert_eq!(paused(&embedded, "default"), None);

    let said = volwarden(&embedded, &words).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("RemediationPolicy default is paused until "), "{}", said.out);
    let pause = paused(&embedded, "default").unwrap();
    let until: Timestamp = pause["until"].as_str().unwrap().parse().unwrap();
    let left = until.duration_since(Timestamp::now());
    assert!(pause["reason"] == "upgrade of Rook" && left > SignedDuration::from_mins(118), "{pause}");
    assert_eq!(stands(&embedded, table::POLICIES, "", "default").unwrap()["spec"]["mode"], "Approve");

    let said = volwarden(&embedded, &["resume"]).await;
    assert_eq!(said.out, "RemediationPolicy default is resumed; it was paused for: upgrade of Rook\n");
    assert_eq!(paused(&embedded, "default"), None);
    let before = version(&embedded);
    let said = volwarden(&embedded, &["resume", "default"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "RemediationPolicy default was not paused\n"));
    assert_eq!(version(&embedded), before);
    embedded.stop().await;
}

#[tokio::test]
async fn of_several_policies_none_is_guessed_and_one_that_fails_keeps_no_other_back() {
    let embedded = cluster().await;
    for name in ["one", "two"] {
        make(&embedded, table::POLICIES, &policy(name, &json!({})));
    }
    let words = ["pause", "--reason", "upgrade", "--for", "2h"];
    volwarden(&embedded, &words).await.refused(&["there are 2 policies (one, two)", "--all"]);
    volwarden(&embedded, &[&words[..], &["three"]].concat()).await.refused(&["there is no RemediationPolicy three"]);
    let said = volwarden(&embedded, &[&words[..], &["two"]].concat()).await;
    assert!(said.code == 0 && paused(&embedded, "one").is_none() && paused(&embedded, "two").is_some());

    embedded.faults.add(
        Rule::next(Fault::Refuse(Refusal::modified(table::POLICIES, "one")))
            .verb(Verb::Patch)
            .plural("remediationpolicies"),
    );
    let said = volwarden(&embedded, &[&words[..], &["--all"]].concat()).await;
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("cannot pause RemediationPolicy one: somebody else has changed it"), "{}", said.err);
    assert!(said.out.contains("RemediationPolicy two is paused") && said.out.contains("before: until"), "{}", said.out);
    embedded.stop().await;
}

#[tokio::test]
async fn what_makes_no_pause_is_refused() {
    let embedded = cluster().await;
    let words = ["pause", "--reason", "upgrade", "--for", "2h"];
    volwarden(&embedded, &words).await.refused(&["there is no RemediationPolicy in this cluster"]);
    for words in
        [&["pause", "--for", "2h"][..], &["pause", "--reason", "x"], &["pause", "--reason", " ", "--for", "2h"]]
    {
        let said = volwarden(&embedded, words).await;
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{words:?}");
    }
    embedded.shared.with(|host| host.store.uninstall(table::OUR_GROUP));
    volwarden(&embedded, &words).await.refused(&["remediationpolicies.volwarden.dev is not installed"]);
    embedded.stop().await;
}
