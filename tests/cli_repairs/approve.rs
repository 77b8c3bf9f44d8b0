//! `volwarden approve`.

use std::time::Duration;

use volwarden::sim::http::{Fault, Rule, Verb};
use volwarden::sim::store::Refusal;

use super::*;

const HASH: &str = "0123456789abcdef0123456789abcdef";
const APPROVED: &str = "/metadata/annotations/volwarden.dev~1approved";

/// A cluster with one entry of the ledger in this phase.
async fn waiting(phase: &str) -> Embedded {
    let embedded = cluster().await;
    make(&embedded, table::REMEDIATIONS, &remediation("entry-1", "u-1", HASH, phase));
    let spec = json!({"mode": "Approve", "scope": {"drivers": [DRIVER]}, "approval": {"validFor": "30m"}});
    make(&embedded, table::POLICIES, &policy("default", &spec));
    embedded
}

/// The hash that stands on the entry.
fn approved(embedded: &Embedded) -> Option<String> {
    let entry = stands(embedded, table::REMEDIATIONS, "", "entry-1")?;
    entry.pointer(APPROVED)?.as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_plan_is_approved_by_its_hash_and_once() {
    let embedded = waiting("AwaitingApproval").await;
    let said = volwarden(&embedded, &["approve", "entry-1", "--dry-run=server"]).await;
    assert!(said.code == 0 && said.out.contains("Nothing was written (dry run)."), "{}{}", said.out, said.err);
    assert_eq!(approved(&embedded), None);

    let said = volwarden(&embedded, &["approve", "entry-1", "--hash", HASH]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("OrphanedContent  VolumeSnapshotContent snapcontent-1  50m\n"), "{}", said.out);
    assert!(said.out.contains("in 30m (approval.validFor 30m of policy default)."), "{}", said.out);
    assert_eq!(approved(&embedded).as_deref(), Some(HASH));

    let before = version(&embedded);
    let again = volwarden(&embedded, &["approve", "entry-1"]).await;
    assert!(again.code == 0 && again.out.ends_with("has not noticed it yet.\n"), "{}", again.out);
    assert_eq!(version(&embedded), before, "there is nothing to write");
    embedded.stop().await;
}

#[tokio::test]
async fn what_cannot_be_approved_is_refused_and_nothing_is_written() {
    for (phase, words, said) in [
        ("Done", &["entry-1"][..], &["is over (Done)"][..]),
        ("Held", &["entry-1", "--hash", "ffff"], &[HASH, "not ffff"]),
        ("Held", &["another"], &["there is no Remediation another", "kubectl get remediations"]),
        ("Held", &["../remediationpolicies/default"], &["has no plans", "snapshotretention/NAME"]),
        ("Held", &["remediation/../remediationpolicies/default"], &["there is no Remediation"]),
    ] {
        let embedded = waiting(phase).await;
        let before = version(&embedded);
        volwarden(&embedded, &[&["approve"], words].concat()).await.refused(said);
        assert_eq!((version(&embedded), approved(&embedded)), (before, None), "{words:?}");
        embedded.stop().await;
    }
}

#[tokio::test]
async fn an_entry_that_changes_after_it_was_read_is_not_approved() {
    let embedded = waiting("Held").await;
    // The read is answered late, and by then somebody has written.
    embedded.faults.add(Rule::next(Fault::Slow(Duration::from_millis(400))).verb(Verb::Patch).plural("remediations"));
    let shared = embedded.shared.clone();
    let racing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            shared.with(|host| {
                let writer = Writer { name: "volwarden", at: host.now };
                let patch = Patch::Merge(json!({"metadata": {"labels": {"v": host.store.version().to_string()}}}));
                host.store.patch(writer, table::REMEDIATIONS, "", "entry-1", Part::Object, &patch).unwrap();
            });
        }
    });
    let said = volwarden(&embedded, &["approve", "entry-1"]).await;
    racing.abort();
    said.refused(&["cannot approve Remediation entry-1", "somebody else has changed it", "nothing was written"]);
    assert_eq!(approved(&embedded), None);
    embedded.stop().await;
}

#[tokio::test]
async fn no_kind_no_right_and_no_answer_are_told_apart() {
    let embedded = waiting("Held").await;
    let forbid = Refusal::forbidden(table::REMEDIATIONS, "entry-1", "User jane cannot patch");
    embedded.faults.add(Rule::next(Fault::Refuse(forbid)).verb(Verb::Patch).plural("remediations"));
    let said = volwarden(&embedded, &["approve", "entry-1"]).await;
    said.refused(&["this user may not approve Remediation entry-1", "jane", "volwarden-approver"]);
    let busy = Refusal::new(500, "InternalError", "etcdserver: leader changed");
    embedded.faults.add(Rule::next(Fault::Refuse(busy)).verb(Verb::Patch).plural("remediations"));
    volwarden(&embedded, &["approve", "entry-1"]).await.refused(&["leader changed", "look whether it was done"]);
    let fenced = Refusal::new(422, "Invalid", "ValidatingAdmissionPolicy 'x' denied request: no");
    embedded.faults.add(Rule::next(Fault::Refuse(fenced)).verb(Verb::Patch).plural("remediations"));
    volwarden(&embedded, &["approve", "entry-1"]).await.refused(&["does not take it", "denied request: no"]);
    embedded.shared.with(|host| host.store.uninstall(table::OUR_GROUP));
    let said = volwarden(&embedded, &["approve", "entry-1"]).await;
    said.refused(&["remediations.volwarden.dev is not installed", "deploy/base"]);
    embedded.stop().await;
}

/// The daemon's part: what it notes of an approval goes when the annotation is gone.
async fn daemon(shared: volwarden::sim::http::Shared<sim::Still>) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        shared.with(|host| {
            let entry = host.store.get(table::REMEDIATIONS, "", "entry-1").unwrap();
            if entry.pointer(APPROVED).is_none() && entry.pointer("/status/approval").is_some() {
                let writer = Writer { name: "volwarden", at: host.now };
                let patch = Patch::Merge(json!({"status": {"approval": null}}));
                host.store.patch(writer, table::REMEDIATIONS, "", "entry-1", Part::Status, &patch).unwrap();
            }
        });
    }
}

#[tokio::test]
async fn an_approval_that_expired_is_given_anew_once_the_daemon_has_seen_the_old_one_gone() {
    let embedded = waiting("AwaitingApproval").await;
    embedded.shared.with(|host| {
        let writer = Writer { name: "jane", at: host.now };
        let hour_ago = host.now - SignedDuration::from_hours(1);
        let marked = Patch::Merge(json!({"metadata": {"annotations": {"volwarden.dev/approved": HASH}}}));
        let noted = Patch::Merge(json!({"status": {"approval": {"hash": HASH, "at": hour_ago, "expires": hour_ago}}}));
        for (part, patch) in [(Part::Object, marked), (Part::Status, noted)] {
            host.store.patch(writer, table::REMEDIATIONS, "", "entry-1", part, &patch).unwrap();
        }
    });
    let before = version(&embedded);
    let said = volwarden(&embedded, &["approve", "entry-1", "--dry-run=server"]).await;
    assert!(said.code == 0 && version(&embedded) == before, "a dry run takes nothing away: {}", said.out);
    let running = tokio::spawn(daemon(embedded.shared.clone()));
    let said = volwarden(&embedded, &["approve", "entry-1"]).await;
    running.abort();
    assert!(
        said.code == 0 && said.out.contains("\nApproved. It is good for this plan alone"),
        "{}{}",
        said.out,
        said.err
    );
    let entry = stands(&embedded, table::REMEDIATIONS, "", "entry-1").unwrap();
    assert_eq!((approved(&embedded).as_deref(), entry.pointer("/status/approval")), (Some(HASH), None));
    embedded.stop().await;
}
