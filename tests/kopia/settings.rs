//! Policies that are kept set, as the pod of a Job does it with the real kopia: one that is as the spec says is not written,
//! and everybody's and another's only by an approval of that very change, once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Lab;
use super::own::said;

const OURS: &str = "ours@ns:/data";
const OTHERS: &str = "web@other:/data";

impl Lab {
    /// The six counts that a target has itself, from latest to annual; `null` for one that it inherits.
    fn counts(&self, target: &str) -> Value {
        let list: Value = serde_json::from_slice(&self.kopia(&["policy", "list", "--json"]).stdout).unwrap();
        let of = |one: &Value| {
            let part = |field: &str| one["target"][field].as_str().unwrap().to_owned();
            format!("{}@{}:{}", part("userName"), part("host"), part("path"))
        };
        let target = if target == "global" { "@:" } else { target };
        let Some(one) = list.as_array().unwrap().iter().find(|one| of(one) == target).cloned() else {
            return Value::Null;
        };
        let names = ["Latest", "Hourly", "Daily", "Weekly", "Monthly", "Annual"];
        names.iter().map(|name| one["retention"].get(format!("keep{name}")).cloned().unwrap_or_default()).collect()
    }

    /// A pod that is to set these, and changes no file of the repository.
    fn leaves(&self, words: &[String]) -> Value {
        let before = stack::hashes(&self.repository()).unwrap();
        let report = self.pod("settings", words);
        assert_eq!(stack::hashes(&self.repository()).unwrap(), before, "it wrote: {report}");
        report
    }
}

fn waits(report: &Value) -> (String, Value) {
    let approval = &report["settings"]["approval"];
    let plan = approval["plan"].as_str().unwrap_or_else(|| panic!("nothing waits: {report}"));
    (format!("--approved={plan}"), approval["changes"].clone())
}

#[test]
fn a_policy_that_is_not_as_the_spec_says_is_set_and_one_that_is_is_not_written() {
    let Some(lab) = Lab::begin() else { return };
    lab.snapshots(OURS, &[100; 2]);
    let words = [format!("--keep={OURS}=10,24,7,4,6,0"), lab.synced(OURS, SignedDuration::ZERO)];
    // It has none; it inherits five; it has another; and what else is in it stays.
    for (given, from) in [
        (
            &[][..],
            "latest unset to 10, hourly unset to 24, daily unset to 7, weekly unset to 4, monthly unset to 6, annual unset to 0",
        ),
        (
            &["--keep-hourly=24"],
            "latest unset to 10, daily unset to 7, weekly unset to 4, monthly unset to 6, annual unset to 0",
        ),
        (
            &[
                "--keep-latest=9",
                "--keep-hourly=24",
                "--keep-daily=7",
                "--keep-weekly=4",
                "--keep-monthly=6",
                "--keep-annual=0",
                "--compression=zstd",
            ],
            "latest 9 to 10",
        ),
    ] {
        if !given.is_empty() {
            lab.kopia(&["policy", "delete", OURS]);
            lab.kopia(&[&["policy", "set", OURS], given].concat());
        }
        let report = lab.pod("settings", &words);
        assert_eq!(report["result"], "happened", "{report}");
        assert_eq!(said(&report), format!("0 of 1 were as the spec says, 1 set ({OURS}: {from})"));
        assert_eq!(report["settings"]["set"], json!([{"target": OURS, "change": from}]));
        assert_eq!(lab.counts(OURS), json!([10, 24, 7, 4, 6, 0]));
        assert_eq!(said(&lab.leaves(&words)), "1 of 1 were as the spec says, 0 set");
    }
    let shown: Value = serde_json::from_slice(&lab.kopia(&["policy", "show", OURS, "--json"]).stdout).unwrap();
    assert_eq!(shown["compression"]["compressorName"], "zstd");
    assert_eq!(lab.ids(OURS).len(), 2, "no snapshot went");
    // Nothing of it is the global policy's any more.
    let expiry = lab.pod("expire", &words[1..]);
    assert_eq!((said(&expiry), expiry["expired"].get("approval")), ("0 would be deleted; 0 sources held", None));
}

#[test]
fn everybodys_policy_and_anothers_are_set_by_an_approval_of_that_very_change_and_once() {
    let Some(lab) = Lab::begin() else { return };
    for source in [OURS, OTHERS] {
        lab.snapshots(source, &[100; 2]);
    }
    let keep = |target: &str, latest: u32| format!("--keep={target}={latest},48,7,4,24,3");
    let words = [
        keep("global", 20),
        keep(OTHERS, 5),
        keep("unknown@ns:/data", 5),
        keep(OURS, 4),
        lab.synced(OURS, SignedDuration::ZERO),
    ];
    let first = lab.pod("settings", &words);
    assert_eq!(first["settings"]["set"].as_array().unwrap().len(), 1, "{first}");
    assert_eq!(
        (lab.counts(OURS), lab.counts(OTHERS)),
        (json!([4, 48, 7, 4, 24, 3]), json!([null, null, null, null, null, null]))
    );
    assert_eq!(lab.counts("global"), json!([10, 48, 7, 4, 24, 3]), "as kopia made it");
    let (approved, changes) = waits(&first);
    let targets: Vec<&str> = changes.as_array().unwrap().iter().map(|one| one["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["global", OTHERS, "unknown@ns:/data"]);
    assert_eq!(changes[0]["change"], "latest 10 to 20");
    // Held without one, with another's, and with this one when the change is another.
    let with = |words: &[String], more: &[&str]| {
        [words, &more.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()].concat()
    };
    for more in
        [&[][..], &["--approved=0123456789abcdef"], &[approved.as_str(), "--approved-before=2026-01-01T00:00:00Z"]]
    {
        assert!(said(&lab.leaves(&with(&words, more))).contains("0 set, 3 more by approval only"), "{more:?}");
    }
    let mut other = words.clone();
    other[0] = keep("global", 21);
    lab.leaves(&with(&other, &[&approved]));
    lab.kopia(&["policy", "set", "--global", "--keep-latest=11"]);
    lab.leaves(&with(&words, &[&approved]));
    lab.kopia(&["policy", "set", "--global", "--keep-latest=10"]);

    let done = lab.pod("settings", &with(&words, &[&approved]));
    assert_eq!((&done["result"], done["settings"].get("approval")), (&json!("happened"), None), "{done}");
    assert_eq!((&done["settings"]["byApproval"], done["settings"]["set"].as_array().unwrap().len()), (&json!(true), 3));
    assert_eq!(lab.counts("global"), json!([20, 48, 7, 4, 24, 3]));
    assert_eq!(
        (lab.counts(OTHERS), lab.counts("unknown@ns:/data")),
        (json!([5, 48, 7, 4, 24, 3]), json!([5, 48, 7, 4, 24, 3]))
    );
    lab.leaves(&with(&words, &[&approved]));
    // Changed back by somebody, it is another plan: the daemon says when one was used.
    for target in [&["--global", "--keep-latest=10"][..], &[OTHERS, "--keep-latest=inherit"]] {
        lab.kopia(&[&["policy", "set"], target].concat());
    }
    let again = lab.leaves(&with(&words, &[&approved, "--approved-before=2026-01-01T00:00:00Z"]));
    assert_ne!(waits(&again).0, approved);
}

#[test]
fn a_kopia_that_says_it_set_a_policy_and_did_not_is_not_believed() {
    let Some(mut lab) = Lab::begin() else { return };
    let two = [OURS, "app@ns:/data"];
    lab.snapshots(OURS, &[100; 2]);
    let mut words = two.map(|source| format!("--keep={source}=10,24,7,4,6,0")).to_vec();
    words.extend(two.map(|source| lab.synced(source, SignedDuration::ZERO)));
    let (real, fake) = (lab.kopia.clone(), lab.at("fake"));
    let script = |case: &str| {
        let text = format!("#!/bin/sh\ncase \"$*\" in {case};; *) exec {} \"$@\";; esac\n", real.display());
        fs::write(&fake, text).unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    };
    lab.kopia = fake.clone();
    script("*'policy set ours'*) exit 0");
    let report = lab.pod("settings", &words);
    assert_eq!((&report["result"], &report["class"]), (&json!("failed"), &json!("NoTrace")), "{report}");
    assert!(said(&report).contains(&format!("it set {OURS}, and it is not so")), "{report}");
    let set = &report["settings"]["set"];
    assert_eq!((set.as_array().unwrap().len(), &set[0]["target"]), (1, &json!(two[1])), "the other was: {report}");
    // It sets one count of six.
    script(&format!(
        "*'policy set ours'*) shift 2; exec {} policy set \"$1\" --keep-latest=10 \"$8\" --no-auto-maintenance",
        real.display()
    ));
    assert_eq!(lab.pod("settings", &words)["class"], "NoTrace");
    // It refuses; an answer that cannot be read sets nothing.
    script("*'policy set'*) echo 'no space left on device' >&2; exit 1");
    assert_eq!(lab.leaves(&words)["class"], "NoSpace");
    script("*'policy list'*) echo nothing");
    assert_eq!(lab.leaves(&words)["result"], "unclear");
    lab.kopia = real;
    assert_eq!(lab.pod("settings", &words)["result"], "happened");
    assert_eq!(lab.counts(OURS), json!([10, 24, 7, 4, 6, 0]));
}

#[test]
fn epochs_are_set_by_approval_and_those_that_are_not_named_stay() {
    let Some(lab) = Lab::begin() else { return };
    let now = || {
        // Another client keeps a copy of the format for 15 minutes.
        let _ = fs::remove_dir_all(lab.at("repository-cache"));
        let status: Value = serde_json::from_slice(&lab.kopia(&["repository", "status", "--json"]).stdout).unwrap();
        let epochs = &status["contentFormat"]["epochParameters"];
        let hours = |name: &str| epochs[name].as_u64().unwrap() / 3_600_000_000_000;
        (
            hours("MinEpochDuration"),
            hours("CleanupSafetyMargin"),
            epochs["EpochAdvanceOnTotalSizeBytesThreshold"].as_u64(),
        )
    };
    let before = now();
    assert_eq!(before, (24, 4, Some(10 << 20)), "kopia's own");
    let words = ["--epoch=min-duration=21600", "--epoch=advance-on-size-mb=20"].map(str::to_owned);
    let held = lab.leaves(&words);
    let (approved, changes) = waits(&held);
    let change = "min-duration 24h to 6h, advance-on-size-mb 10 to 20";
    assert_eq!(changes, json!([{"target": "epochs", "change": change}]));
    let with = |words: &[String]| [words, std::slice::from_ref(&approved)].concat();
    lab.leaves(&with(&words[..1]));
    let done = lab.pod("settings", &with(&words));
    assert_eq!(said(&done), format!("0 of 1 were as the spec says, 1 set (epochs: {change})"));
    assert_eq!(now(), (6, 4, Some(20 << 20)));
    assert_eq!(said(&lab.leaves(&with(&words))), "1 of 1 were as the spec says, 0 set");
    // What does not fit together is kopia's to refuse.
    let words = ["--epoch=min-duration=1800".to_owned()];
    let (approved, _) = waits(&lab.leaves(&words));
    let report = lab.pod("settings", &[&words[..], &[approved]].concat());
    assert!(report["result"] == "failed" && said(&report).contains("epoch refresh period is too long"), "{report}");
    assert_eq!(now(), (6, 4, Some(20 << 20)));
}
