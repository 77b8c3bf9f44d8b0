//! What is wrong with a repository, as the daemon finds it on the real stack, each for a reason that is really there; and
//! policies that are kept set although somebody sets them back.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::doctor::volwarden;
use super::super::warden::REPOSITORIES;
use super::super::{text, turn};
use super::expiry::{OURS, given_volsync};
use super::{Lab, NAMESPACE, PASSWORD, findings, healthy, reason, server};

impl Lab {
    fn specifies(&self, spec: &Value) {
        self.stack.patch(REPOSITORIES, Some(NAMESPACE), "main", None, &json!({"spec": spec})).unwrap();
    }

    /// Waits until exactly these are wrong, and gives what is said of the first.
    fn finds(&self, classes: &[&str]) -> String {
        let status = self.wait_status(NAMESPACE, &format!("{classes:?}"), |status| findings(status) == classes);
        assert_eq!(healthy(&status), Some(classes.is_empty()), "{status:#}");
        text(&status, "/findings/0/message")
    }

    fn password(&self, password: &str) {
        let patch = json!({"stringData": {"KOPIA_PASSWORD": password}});
        self.stack.patch("secret", Some(NAMESPACE), "kopia", None, &patch).unwrap();
    }

    /// The largest pack: a file's own bytes are in it.
    fn pack(&self) -> PathBuf {
        let files = stack::hashes(&self.repository()).unwrap().into_keys();
        let packs = files.filter(|file| file.strip_prefix(self.repository()).unwrap().starts_with("p"));
        packs.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
    }

    /// What VolSync's mover does after each backup for a `retain` that names one count.
    fn mover_retains(&self) {
        self.kopia(&["policy", "set", OURS, "--keep-latest=2"]);
    }
}

#[test]
fn eleven_3_what_is_wrong_is_found_and_policies_are_kept_set() {
    let Some(_turn) = turn() else { return };
    let (lab, _daemon) = Lab::watched("volwarden");
    limits(&lab);
    clocks(&lab);
    unreachable(&lab);
    damaged(&lab);
    settings(&lab);
    set_back(&lab);
    overdue(&lab);
    server::left_to_it(&lab);
}

fn limits(lab: &Lab) {
    println!("11.3.1 a volume and an index that are over the limits of the spec are found without another look");
    lab.finds(&[]);
    lab.specifies(&json!({"findings": {"volumePercent": 1, "indexBlobs": 1}}));
    let full = lab.finds(&["VolumeFull", "IndexBlobsHigh"]);
    let sight = lab.status(NAMESPACE)["repository"].clone();
    assert!(full.contains(&format!("{} bytes are free", sight["volumeAvailable"])), "{full} of {sight:#}");
    assert!(sight["blobs"].as_i64() > Some(3) && sight["bytes"].as_i64() > Some(1000), "{sight:#}");
    lab.specifies(&json!({"findings": null}));
    lab.finds(&[]);
}

fn clocks(lab: &Lab) {
    println!("11.3.2 a backup from tomorrow is somebody's wrong clock");
    let data = lab.at("data").display().to_string();
    let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
    let time = |which: &str| format!("--{which}-time={}", tomorrow.strftime("%Y-%m-%d %H:%M:%S UTC"));
    let made = lab.kopia(&[
        "snapshot",
        "create",
        &data,
        "--override-source=early@ns:/data",
        &time("start"),
        &time("end"),
        "--json",
    ]);
    lab.run("stats:skew");
    let skew = lab.finds(&["ClockSkew"]);
    assert!(skew.contains("the newest snapshot of early@ns:/data says that it began at "), "{skew}");
    lab.kopia(&["snapshot", "delete", &text(&made, "/id"), "--delete"]);
    lab.run("stats:time");
    lab.finds(&[]);
}

fn unreachable(lab: &Lab) {
    println!("11.3.3 one that cannot be opened is found, with the reason, and is well again when it can");
    lab.password("wrong-horse");
    let closed = lab.run_not("stats:closed");
    assert_eq!(closed["class"], "WrongPassword");
    let said = lab.finds(&["RepositoryUnreachable"]);
    assert!(said.contains("WrongPassword") && !said.contains("wrong-horse"), "{said}");
    lab.password(PASSWORD);
    lab.run("stats:open");
    lab.finds(&[]);
}

fn damaged(lab: &Lab) {
    println!("11.3.4 one flipped bit is found by a verification, stops what writes, and only a verification ends that");
    let noise: Vec<u8> = (0..500_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(lab.at("data/file"), noise).unwrap();
    lab.kopia(&["snapshot", "create", &lab.at("data").display().to_string(), "--override-source=app@ns:/data"]);
    let pack = lab.pack();
    let whole = fs::read(&pack).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&pack, flipped).unwrap();
    let before = stack::hashes(&lab.repository()).unwrap();
    let failed = lab.run("verify-whole:bad");
    assert_eq!((&failed["outcome"], &failed["class"]), (&json!("Failed"), &json!("DataDamaged")), "{failed:#}");
    lab.finds(&["VerifyFailed"]);
    lab.request("full:held");
    let status = lab.wait_status(NAMESPACE, "it is stopped", |status| reason(status) == "Stopped");
    assert_eq!(status["stopped"]["class"], "DataDamaged", "{status:#}");
    lab.request("stats:looks");
    let looked = |status: &Value| text(status, "/lastHandledRequest") == "stats:looks" && status.get("run").is_none();
    lab.wait_status(NAMESPACE, "a look goes on", looked);
    assert_eq!(findings(&lab.status(NAMESPACE)), ["VerifyFailed"], "a look proves nothing of data");
    assert_eq!(stack::hashes(&lab.repository()).unwrap(), before, "nothing was written");
    fs::write(&pack, whole).unwrap();
    assert_eq!(lab.run("verify-whole:good")["outcome"], "Happened");
    lab.finds(&[]);
}

fn settings(lab: &Lab) {
    println!("11.3.5 the policy of a source of ours is set unasked; everybody's, and the epochs, by one approval");
    lab.snapshot_of(OURS, 3);
    given_volsync(lab);
    lab.mover_retains();
    let keep =
        |latest: u32| json!({"latest": latest, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 6, "annual": 0});
    lab.specifies(&json!({
        "retention": {"global": keep(20), "sources": [{"source": OURS, "keep": keep(10)}]},
        "epochs": {"minDuration": "6h"},
    }));
    let first = lab.run("settings:1");
    assert_eq!(first["outcome"], "Happened", "{first:#}");
    let status = lab.wait_status(NAMESPACE, "it waits", |status| reason(status) == "AwaitsApproval");
    let told = &status["settings"];
    let targets = |all: &Value| all.as_array().unwrap().iter().map(|one| text(one, "/target")).collect::<Vec<_>>();
    assert_eq!(
        (targets(&told["set"]), targets(&told["approval"]["changes"])),
        (vec![OURS.to_owned()], vec!["global".to_owned(), "epochs".to_owned()]),
        "{told:#}"
    );
    let policy = |target: &str| lab.kopia(&["policy", "show", "--json", target])["retention"]["keepLatest"].clone();
    let epoch = || {
        // A client of kopia's believes its own copy of the format for a quarter of an hour.
        fs::remove_dir_all(lab.at("kopia-cache")).unwrap();
        lab.kopia(&["repository", "status", "--json"])["contentFormat"]["epochParameters"]["MinEpochDuration"].clone()
    };
    let hours = |hours: i64| json!(hours * 3_600_000_000_000);
    assert_eq!((policy(OURS), policy("--global"), epoch()), (json!(10), json!(10), hours(24)));
    let plan = text(told, "/approval/plan");
    let words = ["approve", "kopiarepository/main", "-n", NAMESPACE, "--hash", &plan];
    let output = volwarden(lab.stack.kubeconfig(), &words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let second = lab.run("settings:2");
    assert_eq!(second["outcome"], "Happened", "{second:#}");
    assert_eq!((policy(OURS), policy("--global"), epoch()), (json!(10), json!(20), hours(6)));
    let told = lab.status(NAMESPACE)["settings"].clone();
    assert_eq!((&told["kept"], told.get("approval")), (&json!(1), None), "{told:#}");
}

fn set_back(lab: &Lab) {
    println!("11.3.6 when VolSync's mover sets a policy back each time, then that is two managers, until it stays");
    for request in ["settings:3", "settings:4"] {
        lab.finds(&[]);
        lab.mover_retains();
        lab.run(request);
    }
    let said = lab.finds(&["TwoManagers"]);
    assert!(said.contains(&format!("somebody sets them back: {OURS}; VolSync's retain")), "{said}");
    lab.run("settings:5");
    lab.finds(&[]);
}

fn overdue(lab: &Lab) {
    println!("11.3.7 maintenance that nobody has scheduled is overdue by kopia's own record, until it happens");
    lab.kopia(&["maintenance", "set", "--full-interval=30s"]);
    lab.run("stats:overdue");
    let said = lab.finds(&["MaintenanceOverdue"]);
    assert!(said.contains("happened never") && said.contains("spec.schedules.quick and full"), "{said}");
    assert_eq!(lab.run("full:1")["outcome"], "Happened");
    lab.finds(&[]);
    assert_eq!(lab.full_runs().len(), 1, "what was held meanwhile was never run");
}
