//! One at a time: a Job outlives the daemon that made it, and two daemons and two objects of one repository take turns. The
//! judges are kopia's own record, the times of the Jobs, and the API server's audit log.

use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::warden::Warden;
use super::super::{text, turn};
use super::{Lab, NAMESPACE};

pub(super) fn is_full(job: &Value) -> bool {
    text(job, "/metadata/labels/volwarden.dev~1task") == "full"
}

/// Follows the Lease through the audit log: nothing that needs it is let go while it names another Job, and it is not given
/// on before the Job that it named was over. The uids of those that were let go.
fn one_at_a_time(lab: &Lab) -> Vec<String> {
    let jobs = lab.jobs();
    let time = |value: &Value, pointer: &str| text(value, pointer).parse::<Timestamp>().unwrap();
    let (mut holder, mut let_go) = (String::new(), Vec::new());
    for line in lab.stack.audit().unwrap() {
        let good = line.pointer("/responseStatus/code").and_then(Value::as_i64).is_some_and(|code| code < 300);
        if text(&line, "/stage") != "ResponseComplete" || !good || text(&line, "/verb") == "get" {
            continue;
        }
        let name = text(&line, "/objectRef/name");
        match text(&line, "/objectRef/resource").as_str() {
            "leases"
                if name.starts_with("volwarden-kopia-")
                    || text(&line, "/requestObject/metadata/name").starts_with("volwarden-kopia-") =>
            {
                let next = text(&line, "/requestObject/spec/holderIdentity");
                let before = jobs.iter().find(|job| text(job, "/metadata/uid") == holder).filter(|_| next != holder);
                if let Some(before) = before {
                    let (over, given) = (time(before, "/status/completionTime"), time(&line, "/stageTimestamp"));
                    assert!(over <= given, "the Lease was given on at {given}, and {holder} was over at {over}");
                }
                holder = next;
            }
            "jobs"
                if line.pointer("/requestObject/spec/suspend") == Some(&json!(false))
                    && text(&line, "/verb") == "patch" =>
            {
                let uid = text(&line, "/requestObject/metadata/uid");
                if jobs.iter().any(|job| is_full(job) && text(job, "/metadata/uid") == uid) {
                    assert_eq!(uid, holder, "let go without the Lease: {line:#}");
                    let_go.push(uid);
                }
            }
            _ => {}
        }
    }
    let_go
}

/// No two of these overlap.
fn apart(mut spans: Vec<(Timestamp, Timestamp)>) -> bool {
    spans.sort();
    spans.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

#[test]
fn eleven_2_a_job_outlives_its_daemon_and_no_two_run_at_once() {
    let Some(_turn) = turn() else { return };
    let (lab, mut one) = Lab::watched("one");

    println!("11.2.1 when the daemon is killed in the middle of a Job, then the next one takes the Job over");
    lab.hold();
    lab.request("full:1");
    let job = lab.wait_running(NAMESPACE);
    one.kill();
    let two = Warden::start(&lab.stack, "two");
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(lab.jobs().len(), 2, "the look and the one Job");
    lab.let_go();
    let status = lab.wait_status(NAMESPACE, "the Job is over", |status| status.get("run").is_none());
    let record = &status["history"][0];
    assert_eq!((text(record, "/job"), &record["outcome"]), (job, &json!("Happened")), "{status:#}");
    assert_eq!((text(&status, "/lastHandledRequest"), lab.full_runs().len()), ("full:1".to_owned(), 1));

    println!("11.2.2 when two objects are one repository and two daemons work, one of them stopped and let go again");
    lab.namespace("second");
    lab.given_repository("second");
    lab.wait_status("second", "it is seen there, too", |status| status.get("repository").is_some());
    let three = Warden::start(&lab.stack, "three");
    lab.hold();
    lab.request("full:2");
    lab.wait_running(NAMESPACE);
    lab.annotate("second", "volwarden.dev/requestedAt=full:2");
    let held = lab.wait_status("second", "it waits for the Lease", |status| {
        text(status, "/run/heldBy").contains("the Lease is held")
    });
    assert!(text(&held, "/run/heldBy").contains(&format!("{NAMESPACE}/main-full-")), "{held:#}");
    let pause = |pid: u32, signal: &str| {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    };
    pause(two.pid(), "-STOP");
    std::thread::sleep(Duration::from_secs(25));
    lab.let_go();
    lab.wait_status(NAMESPACE, "the first is over", |status| text(status, "/lastHandledRequest") == "full:2");
    pause(two.pid(), "-CONT");
    lab.wait_status("second", "the second is over", |status| text(status, "/lastHandledRequest") == "full:2");
    assert_eq!(lab.full_runs().len(), 3);

    println!("11.2.3 then no two runs overlap: neither by kopia's record nor by the Jobs' own times");
    assert!(apart(lab.full_runs()), "{:?}", lab.full_runs());
    let maintained = lab.jobs().into_iter().filter(is_full);
    let time = |job: &Value, field: &str| text(job, &format!("/status/{field}")).parse().unwrap();
    let spans: Vec<_> = maintained.map(|job| (time(&job, "startTime"), time(&job, "completionTime"))).collect();
    assert_eq!(spans.len(), 3);
    assert!(apart(spans.clone()), "{spans:?}");

    println!("11.2.4 and by the audit log each was made once, and let go once, while the Lease named it");
    let mut let_go = one_at_a_time(&lab);
    let_go.sort();
    let mut made: Vec<String> =
        lab.jobs().iter().filter(|job| is_full(job)).map(|job| text(job, "/metadata/uid")).collect();
    made.sort();
    assert_eq!(let_go, made);
    drop((two, three));
}
