//! Which sources of a shared repository lose snapshots: unasked those of this cluster's ReplicationSources that really wrote
//! there last, and nobody else's without an approval. VolSync is two objects here, as its controller would leave them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::doctor::volwarden;
use super::super::leftovers::definition;
use super::super::warden::REPOSITORIES;
use super::super::{SOON, text};
use super::{Lab, NAMESPACE, findings, reason};

pub(super) const OURS: &str = "app@media:/data";
const ELSEWHERE: &str = "db@media:/data";
const FOREIGN: &str = "old@ns:/data";

impl Lab {
    fn expires(&self, expire: &Value) {
        let patch = json!({"spec": {"expire": expire}});
        self.stack.patch(REPOSITORIES, Some(NAMESPACE), "main", None, &patch).unwrap();
    }

    /// How many snapshots each of them has.
    fn listed(&self) -> [usize; 3] {
        let all = self.kopia(&["snapshot", "list", "--json"]);
        let of = |one: &Value| {
            let part = |field: &str| text(one, &format!("/source/{field}"));
            format!("{}@{}:{}", part("userName"), part("host"), part("path"))
        };
        [OURS, ELSEWHERE, FOREIGN].map(|source| all.as_array().unwrap().iter().filter(|one| of(one) == source).count())
    }
}

/// VolSync's kind with two objects of it: one has synchronised when the newest backup here ended, one at another time.
pub(super) fn given_volsync(lab: &Lab) {
    lab.stack.apply_json(&definition("ReplicationSource")).unwrap();
    let established =
        ["wait", "--for=condition=Established", "--timeout=60s", "crd/replicationsources.volsync.backube"];
    lab.stack.kubectl(established).unwrap();
    lab.stack.kubectl(["create", "namespace", "media"]).unwrap();
    let source = |name: &str, synced: Timestamp| {
        json!({
            "apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource",
            "metadata": {"name": name, "namespace": "media"},
            "spec": {"sourcePVC": name, "kopia": {"repository": "somewhere"}},
            "status": {"lastSyncTime": synced, "lastSyncDuration": "1m0.5s"},
        })
    };
    let items = json!([source("app", "2026-01-03T03:00:30Z".parse().unwrap()), source("db", Timestamp::now())]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let made = || lab.stack.apply_json(&list).ok();
    lab.stack.wait("VolSync's objects are there", SOON, made).unwrap();
}

pub(super) fn by_default_its_own(lab: &Lab) {
    println!("11.1.4b snapshots go only of what is shown to be this cluster's, and not by the first run");
    for (source, days) in [(OURS, 3), (ELSEWHERE, 3), (FOREIGN, 4)] {
        for day in 1..=days {
            lab.snapshot_of(source, day);
        }
        let none = ["hourly", "daily", "weekly", "monthly", "annual"].map(|period| format!("--keep-{period}=0"));
        let none = none.iter().map(String::as_str);
        lab.kopia(&["policy", "set", source, "--keep-latest=2"].into_iter().chain(none).collect::<Vec<_>>());
    }
    given_volsync(lab);
    lab.expires(&json!({"mode": "Enforce"}));
    let dry = lab.run("expire:1");
    assert!(text(&dry, "/message").starts_with("1 would be deleted; 1 source held"), "{dry:#}");
    let status = lab.status(NAMESPACE);
    let held = &status["expire"]["held"];
    assert_eq!((text(held, "/0/source"), text(held, "/0/reason")), (ELSEWHERE.to_owned(), "NotShown".to_owned()));
    assert_eq!(lab.listed(), [3, 3, 4]);
    // The last snapshot of one is of January, and there was one a day: so says kopia's own list.
    let late = |status: &Value| findings(status) == ["SnapshotGap"];
    let gap = text(&lab.wait_status(NAMESPACE, "a source is late", late), "/findings/0/message");
    assert!(gap.starts_with("1 source ") && gap.contains("old@ns:/data has none since 2026-01-04T03:00:00Z"), "{gap}");
    assert!(gap.contains("had one each 24h"), "{gap}");
    let real = lab.run("expire:2");
    assert!(text(&real, "/message").starts_with("1 of 1 were deleted"), "{real:#}");
    assert_eq!(lab.listed(), [2, 3, 4]);
}

pub(super) fn others_by_approval(lab: &Lab) {
    println!("11.1.4c those of others go only when somebody has approved exactly that");
    lab.expires(&json!({"sources": [OURS, FOREIGN]}));
    let dry = lab.run("expire:3");
    assert!(text(&dry, "/message").starts_with("0 would be deleted, 2 more by approval"), "{dry:#}");
    let status = lab.wait_status(NAMESPACE, "it awaits an approval", |status| reason(status) == "AwaitsApproval");
    let asking = &status["expire"]["approval"];
    assert_eq!((&asking["foreign"], &asking["globalPolicy"]), (&json!([FOREIGN]), &json!([])), "{status:#}");
    let plan = text(asking, "/plan");
    // What approves the ownership approves no deletion.
    lab.annotate(NAMESPACE, &format!("volwarden.dev/approved={plan}"));
    let held = lab.run("expire:4");
    assert!(text(&held, "/message").starts_with("0 of 0 were deleted, 2 more by approval"), "{held:#}");
    assert_eq!(lab.listed(), [2, 3, 4]);

    let asked = |words: &[&str]| {
        let output = volwarden(lab.stack.kubeconfig(), words);
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said, String::from_utf8(output.stderr).unwrap())
    };
    let (_, said, err) = asked(&["kopia", "status", "main", "-n", NAMESPACE]);
    let way = format!("volwarden approve kopiarepository/main -n {NAMESPACE} --hash {plan}");
    assert!(
        said.contains(&format!("{FOREIGN}: it is not shown to be this cluster's")) && said.contains(&way),
        "{said}{err}"
    );
    let (code, said, err) = asked(&["approve", "kopiarepository/main", "-n", NAMESPACE, "--hash", &plan]);
    assert_eq!((code, said.contains("Approved.")), (Some(0), true), "{said}{err}");
    let in_force = |status: &Value| reason(status) == "InForce";
    lab.wait_status(NAMESPACE, "it is approved", in_force);
    let real = lab.run("expire:5");
    assert!(text(&real, "/message").starts_with("2 of 2 were deleted"), "{real:#}");
    assert_eq!(lab.listed(), [2, 3, 2]);
    lab.wait_status(NAMESPACE, "two snapshots tell no period", |status| findings(status).is_empty());
    assert_eq!(lab.status(NAMESPACE)["expire"]["deleted"], 2);
}
