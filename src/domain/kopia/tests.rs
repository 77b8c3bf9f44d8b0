//! Kopia's own texts, of 0.23.1 and of 0.21.1, and what is made of them.

use proptest::prelude::*;

use super::*;
use crate::domain::repository::Task;
use crate::domain::repository::report::Report;

const STATUS: &str = r#"{"configFile":"/c","uniqueIDHex":"30f4535aa757e3cf","clientOptions":{"hostname":"nas","username":"volwarden","readonly":true,"enableActions":false,"formatBlobCacheDuration":900000000000},"storage":{"type":"filesystem","config":{"path":"/srv/repo","fileMode":384,"dirMode":448,"dirShards":null}},"volume":{"capacity":270553174016,"available":33392267264},"contentFormat":{"hash":"BLAKE2B-256-128","encryption":"AES256-GCM-HMAC-SHA256","version":3,"maxPackSize":20971520,"indexVersion":2,"epochParameters":{"Enabled":true,"EpochRefreshFrequency":1200000000000,"MinEpochDuration":86400000000000},"enablePasswordChange":true},"objectFormat":{"splitter":"DYNAMIC-4M-BUZHASH"},"blobRetention":{}}"#;
const NEVER: &str = r#"{"owner":"volwarden@nas","quick":{"enabled":true,"interval":3600000000000},"full":{"enabled":true,"interval":86400000000000},"logRetention":{"maxTotalSize":1073741824},"extendObjectLocks":false,"schedule":{"nextFullMaintenance":"0001-01-01T00:00:00Z","nextQuickMaintenance":"0001-01-01T00:00:00Z","runs":null}}"#;
const ONCE: &str = r#"{"owner":"volwarden@nas","quick":{"enabled":true,"interval":3600000000000},"full":{"enabled":true,"interval":86400000000000},"schedule":{"nextFullMaintenance":"2026-11-26T19:45:00.547492771Z","nextQuickMaintenance":"2026-11-25T20:45:00Z","runs":{"compact-single-epoch":[{"start":"2026-11-25T19:45:00.575446491Z","end":"2026-11-25T19:45:00.57547319Z","success":true,"extra":[{"kind":"compactSingleEpochStats","data":null}]}],"cleanup-logs":[{"start":"2026-11-25T19:45:00.602170191Z","end":"2026-11-25T19:45:00.602402806Z","success":true,"extra":[{"kind":"cleanupLogsStats","data":{"deletedBlobCount":2,"deletedBlobSize":3898}}]}],"snapshot-gc":[{"start":"2026-11-25T19:45:00.557865255Z","end":"2026-11-25T19:45:00.561048236Z","success":true,"extra":[{"kind":"snapshotGCStats","data":{"deletedContentCount":7,"deletedContentSize":900}}]}]}}}"#;
const RAN: &str =
    "Running full maintenance...\nGC found 0 unused contents (0 B)\nCleaned up 0 logs.\nFinished full maintenance.\n";
/// As 0.21.1 writes to a pipe: each line in colour.
const REFUSED_021: &str = "\u{1b}[31mERROR\u{1b}[0m maintenance must be run by designated user: root@kopia\n";

const SNAPSHOTS: &str = r#"[{"id":"150a","source":{"host":"ns","userName":"app","path":"/data"},"startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:01:00Z","pins":["keep"],"retentionReason":["latest-1"],"rootEntry":{"summ":{"size":3}}}]"#;
const REPORT: &str = r#"{"task":"Full","result":"failed","class":"NoSpace","said":"x","sight":{"uniqueID":"id","stalest":[{"source":"a@b:/c","snapshots":1}]}}"#;

fn ended(code: i32, stderr: &str) -> Ended {
    Ended { code: Some(code), stderr: stderr.to_owned(), ..Ended::default() }
}

fn info(text: &str) -> Maintenance {
    Maintenance::parse(text).unwrap()
}

fn told(stderr: &str) -> Class {
    Failure::told(stderr).class
}

#[test]
fn a_status_is_read() {
    let status = Repository::parse(STATUS).unwrap();
    assert_eq!(status.unique_id.as_deref(), Some("30f4535aa757e3cf"));
    assert_eq!((status.format, status.epochs_enabled, status.min_epoch_seconds), (Some(3), true, Some(86_400)));
    assert_eq!((status.path.as_deref(), status.volume_available), (Some("/srv/repo"), Some(33_392_267_264)));
    assert_eq!(Repository::parse("{}").unwrap(), Repository::default());
}

#[test]
fn what_was_never_run_has_no_success() {
    assert_eq!(info(NEVER).newest(), []);
    let zero =
        r#"{"schedule":{"runs":{"snapshot-gc":[{"start":"0001-01-01T00:00:00Z","end":"0001-01-01T00:00:00Z"}]}}}"#;
    assert_eq!(info(zero).newest()[0].success, None);
}

#[test]
fn the_newest_success_is_told_and_a_failure_after_it() {
    let newest = info(ONCE).newest();
    assert_eq!(
        newest.iter().map(|n| n.task.as_str()).collect::<Vec<_>>(),
        ["cleanup-logs", "compact-single-epoch", "snapshot-gc"]
    );
    // What the collector calls deleted is only marked, and frees nothing.
    assert_eq!(newest.iter().map(|n| n.freed_bytes).collect::<Vec<_>>(), [Some(3898), Some(0), Some(0)]);
    let runs = r#"{"schedule":{"runs":{"snapshot-gc":[
        {"start":"2026-11-25T19:00:00Z","end":"2026-11-25T19:01:00Z","success":true},
        {"start":"2026-11-26T19:00:00Z","end":"2026-11-26T19:01:00Z","error":"no space left on device"}]}}}"#;
    let gc = &info(runs).newest()[0];
    assert_eq!(gc.success.unwrap().to_string(), "2026-11-25T19:01:00Z");
    // 0.21.1 tells no bytes: that is not zero.
    assert_eq!((gc.freed_bytes, gc.failed_since.as_deref()), (None, Some("no space left on device")));
}

#[test]
fn a_run_counts_when_exit_code_line_and_record_agree() {
    let (never, once) = (info(NEVER), info(ONCE));
    let Verdict::Happened(done) = judge(Round::Full, &ended(0, RAN), &never, Ok(&once)) else { panic!("it happened") };
    assert_eq!(done.len(), 3);
    // One witness after the other is missing.
    let Verdict::Failed(failure) = judge(Round::Full, &ended(1, RAN), &never, Ok(&once)) else { panic!("exit code") };
    assert_eq!(failure.class, Class::Unknown);
    let Verdict::NotRun(failure) = judge(Round::Full, &ended(0, ""), &never, Ok(&once)) else { panic!("no line") };
    assert_eq!((failure.class, failure.advice), (Class::LockHeld, Advice::Retry));
    let Verdict::Failed(failure) = judge(Round::Full, &ended(0, RAN), &once, Ok(&once)) else { panic!("no entry") };
    assert_eq!(failure.class, Class::NoTrace);
    // Entries that are others and not newer, or that do not say when, are no news.
    for other in [ONCE.replace("2026-11-25T19", "2026-11-24T19"), ONCE.replace("\"start\"", "\"begin\"")] {
        let Verdict::Failed(failure) = judge(Round::Full, &ended(0, RAN), &once, Ok(&info(&other))) else {
            panic!("{other}")
        };
        assert_eq!(failure.class, Class::NoTrace);
    }
    // The line of another cycle, and the entries of another cycle, are none.
    assert!(matches!(judge(Round::Quick, &ended(0, RAN), &never, Ok(&once)), Verdict::NotRun(_)));
    let quick = r#"{"schedule":{"runs":{"advance-epoch":[{"start":"2026-11-25T19:45:00Z","success":true}]}}}"#;
    assert!(matches!(judge(Round::Full, &ended(0, RAN), &never, Ok(&info(quick))), Verdict::Failed(_)));
    let ran = "Running quick maintenance...\n";
    assert!(matches!(judge(Round::Quick, &ended(0, ran), &never, Ok(&info(quick))), Verdict::Happened(_)));
}

#[test]
fn a_new_entry_without_success_is_a_failure_whatever_the_exit_code() {
    let failed = r#"{"schedule":{"runs":{"snapshot-gc":[{"start":"2026-11-25T19:45:00Z","success":true}],
        "full-delete-blobs":[{"start":"2026-11-25T19:46:00Z","error":"write x: no space left on device"}]}}}"#;
    let Verdict::Failed(failure) = judge(Round::Full, &ended(0, RAN), &info(NEVER), Ok(&info(failed))) else {
        panic!("it failed")
    };
    assert_eq!(failure.class, Class::NoSpace);
    assert!(failure.said.starts_with("full-delete-blobs failed"), "{failure}");
}

#[test]
fn what_cannot_be_told_is_not_called_done() {
    let (never, once) = (info(NEVER), info(ONCE));
    assert!(matches!(judge(Round::Full, &ended(0, RAN), &never, Err("gone")), Verdict::Unclear(_)));
    let cut = Ended { cut: Some("ended after 5 s".to_owned()), ..ended(0, RAN) };
    assert!(matches!(judge(Round::Full, &cut, &never, Ok(&once)), Verdict::Unclear(_)));
}

#[test]
fn a_refusal_of_either_version_is_read() {
    for text in [REFUSED_021, "maintenance must be run by designated user: root@kopia\n"] {
        let Verdict::NotRun(failure) = judge(Round::Full, &ended(1, text), &info(NEVER), Err("")) else {
            panic!("{text}")
        };
        assert_eq!(failure.said, "maintenance must be run by designated user: root@kopia");
        assert_eq!((failure.class, failure.advice), (Class::NotOwner, Advice::Hold));
    }
}

#[test]
fn only_the_owner_maintains_and_nobody_is_not_us() {
    let us = Identity::on("nas").unwrap();
    assert_eq!(may_maintain(&us, &info(NEVER)), Ok(()));
    let other = Identity::on("nas2").unwrap();
    for info in [info(NEVER), Maintenance::default()] {
        let failure = may_maintain(&other, &info).unwrap_err();
        assert_eq!(failure.class, Class::NotOwner);
        assert!(failure.remedy.ends_with("kopia maintenance set --owner=volwarden@nas2"), "{failure}");
    }
    for host in ["", "a b", "a@b", "a:/b", "ä"] {
        assert!(Identity::on(host).is_err(), "{host}");
    }
}

#[test]
fn each_failure_is_told_by_kopias_own_words() {
    for (said, class) in [
        (
            "open repository: unable to open repository: unable to create format manager: invalid repository password",
            Class::WrongPassword,
        ),
        ("unable to read format blob: error getting kopia.repository blob: BLOB not found", Class::NotInitialised),
        ("error connecting to repository: repository not initialized in the provided storage", Class::NotInitialised),
        (
            "open repository: cannot open storage: cannot access storage path: stat /x: no such file or directory",
            Class::Unreachable,
        ),
        (
            "error loading index blob xn0_60-c1: decrypt blob: error decrypting BLOB xn0_60-c1: ciphertext too short: 0",
            Class::IndexDamaged,
        ),
        ("unable to get maintenance schedule: invalid schedule blob", Class::ScheduleDamaged),
        ("unable to decrypt schedule blob: cipher: message authentication failed", Class::ScheduleDamaged),
        ("unable to load active sessions: error decrypting session: s12", Class::SessionDamaged),
        (
            "error updating maintenance schedule: unable to complete PutBlobInPath:/r/kopia.maintenance.f despite 2 retries: \
          can't write temporary file: write /r/k.f.tmp.ba: no space left on device",
            Class::NoSpace,
        ),
        (
            "unable to complete PutBlobInPath:/r/k.f despite 2 retries: cannot create temporary file: open /r/k.f.tmp.f7: \
          read-only file system",
            Class::ReadOnlyStorage,
        ),
        (
            "unable to complete GetBlobFromPath:/r/p despite 10 retries: open /r/p: permission denied",
            Class::PermissionDenied,
        ),
        (
            "unable to complete GetBlobFromPath:/r/p despite 10 retries: read /r/p: connection reset",
            Class::StorageErrors,
        ),
        ("cannot access storage path: stat /r: stale NFS file handle", Class::StaleMount),
        (
            "error checking for clock skew: clock skew detected: local clock is out of sync by 10m. Refusing to run \
          maintenance.",
            Class::ClockSkew,
        ),
        ("not running maintenance on read-only repository connection", Class::ReadOnlyConnection),
        ("repository upgrade in progress", Class::UpgradeInProgress),
        ("open repository: repository is not connected. See https://kopia.io/docs/repositories/", Class::NotConnected),
        (
            "content 2024 out of bounds of its pack blob p6fb\nverify contents: encountered 1 errors: the repository is \
          corrupted, it is missing pack blobs with index-referenced content",
            Class::DataDamaged,
        ),
        ("object 5746 is backed by missing blob p6fb", Class::DataDamaged),
        (
            "unexpected content error: invalid checksum at p6fb offset 63: decrypt: unable to decrypt content: cipher: \
          message authentication failed",
            Class::DataDamaged,
        ),
        ("something new", Class::Unknown),
        ("", Class::Unknown),
    ] {
        assert_eq!(told(said), class, "{said}");
    }
    // The error comes last; a warning before it names nothing, nor does `Finished`, which stands beneath failures too.
    assert_eq!(
        told("unable to write diagnostics blob: read-only file system\ninvalid repository password"),
        Class::WrongPassword
    );
    assert_eq!(Failure::told("it broke\nFinished full maintenance.\n").said, "it broke");
    let killed = Ended { signal: Some(9), ..Ended::default() };
    assert_eq!(killed.failure().unwrap().class, Class::Killed);
}

#[test]
fn every_class_says_what_to_do_in_one_line() {
    for class in Class::ALL {
        let line = Failure::new(class, "x").to_string();
        assert!(line.len() > 20 && !line.contains('\n') && !line.contains("  "), "{line}");
    }
}

#[test]
fn sources_are_counted_and_a_checkpoint_is_no_backup() {
    let list = r#"[
 {"id":"8","source":{"host":"ns","userName":"app","path":"/data"},"startTime":"2026-11-25T19:44:56Z","rootEntry":{"summ":{"size":3145731,"files":2,"numFailed":1}}},
 {"id":"9","source":{"host":"ns","userName":"app","path":"/data"},"startTime":"2026-11-25T20:44:56Z","incomplete":"checkpoint"},
 {"id":"7","source":{"host":"ns","userName":"app","path":"/data"},"startTime":"2026-11-24T19:44:56Z","rootEntry":null}
]"#;
    let found = sources(list).unwrap();
    assert_eq!(found.len(), 1);
    let app = &found[0];
    assert_eq!((app.source.as_str(), app.snapshots, app.incomplete), ("app@ns:/data", 2, 1));
    assert_eq!(app.newest.unwrap().to_string(), "2026-11-25T19:44:56Z");
    assert_eq!((app.newest_bytes, app.newest_failed), (Some(3_145_731), 1));
    assert_eq!(sources("[\n]").unwrap(), []);
}

#[test]
fn the_period_of_a_source_is_the_median_of_its_newest_distances() {
    let list = |hours: &[u32]| {
        let one = |hour: &u32| {
            let (day, hour) = (1 + hour / 24, hour % 24);
            format!(
                r#"{{"source":{{"host":"ns","userName":"app","path":"/data"}},"startTime":"2026-11-{day:02}T{hour:02}:00:00Z"}}"#
            )
        };
        sources(&format!("[{}]", hours.iter().map(one).collect::<Vec<_>>().join(","))).unwrap()[0].period_seconds
    };
    assert_eq!(list(&[0, 1, 2]), None, "three tell nothing");
    assert_eq!(list(&[3, 0, 2, 1]), Some(3600));
    // Old ones are thinned out, and one was missed.
    assert_eq!(list(&[0, 24, 48, 72, 96, 97, 98, 99, 100, 103, 104, 105]), Some(3600));
    assert_eq!(list(&[5, 5, 5, 5]), None, "no time at all is no period");
}

#[test]
fn a_verification_of_nothing_proves_nothing() {
    let sound = r#"{"stats":{"processedObjectCount":3,"readFileCount":2,"readBytes":9,"expectedTotalObjectCount":6,"expectedTotalFileCount":4},"errorCount":0}"#;
    let answer = |text: &str| Ended { stdout: text.to_owned(), ..ended(0, "") };
    let Check::Sound(verified_now) = verified(&ended(0, ""), &answer(sound)) else { panic!("sound") };
    assert_eq!((verified_now.objects, verified_now.files_read, verified_now.files), (3, 2, 4));
    let empty = r#"{"stats":{"expectedTotalObjectCount":0},"errorCount":0}"#;
    let Check::Failed(failure) = verified(&ended(0, ""), &answer(empty)) else { panic!("empty") };
    assert_eq!(failure.class, Class::NothingToVerify);
    let wrong = r#"{"stats":{"expectedTotalObjectCount":6},"errorCount":1,"errorStrings":["object 5 is backed by missing blob p6"]}"#;
    assert!(matches!(verified(&ended(0, ""), &answer(wrong)), Check::Failed(_)));
    assert!(matches!(verified(&ended(1, "invalid checksum at p"), &answer(sound)), Check::Failed(_)));
    assert!(matches!(verified(&ended(0, ""), &answer("{")), Check::Unclear(_)));
}

#[test]
fn the_holder_of_a_lock_is_found_and_a_waiting_one_is_none() {
    let text = "1: FLOCK  ADVISORY  WRITE 18972 fe:00:77 0 EOF\n2: FLOCK  ADVISORY  READ 5 fe:00:77 0 EOF\n\
                3: POSIX  ADVISORY  WRITE 6 fe:00:77 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 7 fe:00:77 0 EOF\n\
                4: FLOCK  ADVISORY  WRITE 8 00:1b:77 0 EOF\n5: FLOCK  ADVISORY  WRITE -1 00:1b:78 0 EOF\n";
    assert_eq!(holders(text, 254, 0, 77), [18972]);
    // Another device number than the file has: all that have its inode.
    assert_eq!(holders(text, 9, 9, 77), [18972, 8]);
    assert_eq!(holders(text, 0, 0x1b, 78), [0]);
    assert_eq!(holders(text, 254, 0, 1), [] as [u32; 0]);
}

#[test]
fn an_answer_cut_short_names_its_place_and_what_to_do() {
    for end in (0..ONCE.len()).step_by(17) {
        let error = Maintenance::parse(&ONCE[..end]).unwrap_err().to_string();
        assert!(error.contains("kopia maintenance info --json") && error.contains("line 1 column"), "{error}");
        assert!(error.contains("run that command by hand") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn epochs_and_indexes_are_read() {
    assert_eq!(epoch("Current Epoch: 12\n0 2026-11-25 ... 3 blobs, 597 B, span 2s\n"), Some(12));
    assert_eq!(epoch("epoch manager is not active"), None);
    let list = r#"[{"id":"xn0_97","length":143,"Superseded":null},{"id":"xn0_60","length":311}]"#;
    assert_eq!(indexes(list).unwrap(), (2, 454));
}

proptest! {
    #[test]
    fn no_input_panics(text in "\\PC{0,200}", cut in 0_usize..2000, change in any::<u8>()) {
        let mut inputs = vec![text];
        for sound in [STATUS, NEVER, ONCE, RAN, REFUSED_021, SNAPSHOTS, REPORT] {
            let mut bytes = sound.as_bytes().to_vec();
            let at = cut % bytes.len();
            bytes[at] = change;
            inputs.push(String::from_utf8_lossy(&bytes).into_owned());
            inputs.push(String::from_utf8_lossy(&bytes[..at]).into_owned());
        }
        for input in inputs {
            let _ = (Repository::parse(&input), sources(&input), indexes(&input), epoch(&input));
            let parsed = Maintenance::parse(&input);
            if let Ok(maintenance) = &parsed {
                let _ = maintenance.newest();
            }
            let ended = Ended { stdout: input.clone(), ..ended(i32::from(change % 2), &input) };
            let _ = (verified(&ended, &ended), holders(&input, 1, 1, 1), Failure::told(&input).to_string());
            let _ = (expire::listed(&input), expire::policy(&input), expire::would_delete(&input));
            let _ = origin::defined(&input).map(|all| origin::is_global(&input, &all));
            let _ = Report::parse(&input, Task::Full);
            let now = parsed.unwrap_or_default();
            let _ = judge(Round::Full, &ended, &Maintenance::default(), Ok(&now));
        }
    }
}
