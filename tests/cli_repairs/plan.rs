//! `volwarden plan`.

use volwarden::sim::http::{Fault, Rule, Verb};
use volwarden::sim::store::Refusal;

use super::*;

const ENFORCE: &str = r#"{"mode": "Enforce", "scope": {"drivers": ["rbd.example.com"]}}"#;

fn spec(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A cluster with one orphaned content of a driver that works, under this policy.
async fn stuck(mode: &str) -> Embedded {
    let embedded = cluster().await;
    driver(&embedded);
    orphan(&embedded, "snapcontent-1");
    let spec = json!({"mode": mode, "scope": {"drivers": [DRIVER]}});
    make(&embedded, table::POLICIES, &policy("default", &spec));
    embedded
}

#[tokio::test]
async fn what_nothing_holds_is_tried_on_the_server_and_not_done() {
    let embedded = stuck("Enforce").await;
    let before = stands(&embedded, table::CONTENTS, "", "snapcontent-1");
    let said = volwarden(&embedded, &["plan"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out.starts_with("policy default (Enforce)\n\nWould be done now: 1\n  OrphanedContent  "),
        "{}",
        said.out
    );
    assert!(said.out.contains("    server would take it (dry run as this user)\n"), "{}", said.out);
    assert_eq!(stands(&embedded, table::CONTENTS, "", "snapcontent-1"), before);

    let json = volwarden(&embedded, &["plan", "-o", "json", "--dry-run=none"]).await.json();
    assert_eq!((&json["plans"][0]["state"], &json["plans"][0]["step"]["dryRun"]), (&json!("Now"), &Value::Null));
    assert!(json["plans"][0]["step"]["verdicts"].as_array().unwrap().iter().all(|one| one["verdict"] == "Allow"));
    embedded.stop().await;
}

#[tokio::test]
async fn a_user_who_may_not_write_is_told_so_and_gets_the_plan() {
    let embedded = stuck("Enforce").await;
    let forbid = Refusal::forbidden(table::CONTENTS, "snapcontent-1", "User jane cannot patch");
    embedded.faults.add(Rule::next(Fault::Refuse(forbid)).verb(Verb::Patch).plural("volumesnapshotcontents"));
    let said = volwarden(&embedded, &["plan"]).await;
    assert_eq!((said.code, said.err.as_str()), (1, ""), "{}", said.out);
    let words = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("server forbidden to this user, so not tried") && words.contains("jane"), "{words}");
    embedded.stop().await;
}

#[tokio::test]
async fn policies_of_a_file_stand_instead_of_the_clusters() {
    let embedded = stuck("Observe").await;
    let said = volwarden(&embedded, &["plan"]).await;
    assert!(said.out.contains("held   mode: policy default is in mode Observe"), "{}", said.out);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.yaml");
    let name = file.to_str().unwrap();
    std::fs::write(&file, policy("tried", &spec(ENFORCE)).to_string()).unwrap();
    let said = volwarden(&embedded, &["plan", "-f", name]).await;
    assert!(said.out.starts_with("policy tried (Enforce), from "), "{}", said.out);
    assert!(said.out.contains("Would be done now: 1\n"), "{}", said.out);

    let approve = ENFORCE.replace("Enforce", "Approve");
    std::fs::write(&file, policy("tried", &spec(&approve)).to_string()).unwrap();
    let json = volwarden(&embedded, &["plan", "-f", name, "-o", "json"]).await.json();
    assert_eq!((&json["file"], &json["plans"][0]["state"]), (&json!(name), &json!("AwaitingApproval")));
    let policies = json["sources"].as_array().unwrap().iter().find(|one| one["kind"] == "RemediationPolicy").unwrap();
    assert_eq!((&policies["state"], &policies["objects"]), (&json!("Synced"), &json!(1)));

    std::fs::write(&file, "apiVersion: volwarden.dev/v1alpha1\nkind: RemediationPolicy\nspec: {mode: Enforce}\n")
        .unwrap();
    volwarden(&embedded, &["plan", "-f", name]).await.refused(&["line 1", "metadata.name", "drivers named"]);
    std::fs::write(&file, "a: [\n").unwrap();
    volwarden(&embedded, &["plan", "-f", name]).await.refused(&["new.yaml", "has to be YAML"]);
    embedded.stop().await;
}

#[tokio::test]
async fn without_the_kinds_everything_is_held_and_says_why() {
    let embedded = stuck("Enforce").await;
    embedded.shared.with(|host| host.store.uninstall(table::OUR_GROUP));
    let said = volwarden(&embedded, &["plan"]).await;
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("policy none: the built-in policy only observes\n\nHeld: 1\n"), "{}", said.out);
    assert!(said.out.contains("held   synced: Remediations are not installed"), "{}", said.out);
    embedded.stop().await;
}

#[tokio::test]
async fn a_plan_that_is_in_the_ledger_comes_with_the_command_that_approves_it() {
    let embedded = stuck("Approve").await;
    let json = volwarden(&embedded, &["plan", "-o", "json"]).await.json();
    assert_eq!(json["plans"][0]["state"], "AwaitingApproval");
    let hash = json["plans"][0]["step"]["hash"].as_str().unwrap().to_owned();
    let uid = json["plans"][0]["finding"]["subject"]["uid"].as_str().unwrap();
    make(&embedded, table::REMEDIATIONS, &remediation("entry-1", uid, &hash, "AwaitingApproval"));
    let said = volwarden(&embedded, &["plan"]).await;
    assert!(said.out.contains(&format!("    needs  volwarden approve entry-1 --hash {hash}\n")), "{}", said.out);
    let json = volwarden(&embedded, &["plan", "-o", "json"]).await.json();
    assert_eq!(json["plans"][0]["remediation"]["name"], "entry-1");
    embedded.stop().await;
}

#[tokio::test]
async fn nothing_to_do_and_could_not_tell_differ() {
    let embedded = cluster().await;
    let said = volwarden(&embedded, &["plan"]).await;
    assert_eq!((said.code, said.out.lines().last()), (0, Some("Nothing to do.")), "{}{}", said.out, said.err);
    let forbid = Refusal::new(403, "Forbidden", "volumesnapshots is forbidden");
    embedded.faults.add(Rule::next(Fault::Refuse(forbid)).plural("volumesnapshots").times(1000));
    let said = volwarden(&embedded, &["plan", "--timeout", "5s"]).await;
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("could not tell: VolumeSnapshot is forbidden to us"), "{}", said.err);
    embedded.stop().await;
}
