//! `volwarden retention simulate`, the real binary: the oracle through a pipe, what a person sees, and one line for
//! whatever cannot be read.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The binary without anything of this machine's.
fn simulate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
    command.args(["retention", "simulate"]).args(args).env_clear().env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it with this on standard input.
fn piped(args: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut child = simulate(args).stdin(Stdio::piped()).spawn().unwrap();
    // A child that has already complained does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    child.wait_with_output().unwrap()
}

fn answer(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit 2, nothing on stdout, and one line that says all of this.
fn assert_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("volwarden: ") && said.len() < 700, "{said}");
    for no in ["panicked", "backtrace", "Error(", "Some(", "\u{1b}"] {
        assert!(!said.contains(no), "{no} in {said}");
    }
    for word in words {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

const WEEKS: &str = r#"{
  "name": "weeks", "policy": {"weekly": 4, "monthly": 6},
  "snapshots": [
    {"start": "2026-01-22T03:30:00Z"}, {"start": "2026-01-18T03:30:00Z"}, {"start": "2026-01-11T03:30:00Z"},
    {"start": "2026-01-04T03:30:00Z"}, {"start": "2026-01-03T03:30:00Z", "incomplete": true},
    {"start": "2025-12-28T03:30:00Z"}
  ]
}"#;

const ORACLES: [&str; 2] = ["kopia_retention_vectors.json", "kopia_zones.json"];

fn oracle(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/retention").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn kopias_decisions_go_in_and_come_out_the_same() {
    for name in ORACLES {
        let text = oracle(name);
        let cases: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&answer(&piped(&["-o", "json"], &text))).unwrap(), cases, "{name}");
        // The same without the reasons in it, from a file, as YAML.
        let mut bare = cases.clone();
        for case in bare.as_array_mut().unwrap() {
            for snapshot in case["snapshots"].as_array_mut().unwrap() {
                snapshot.as_object_mut().unwrap().remove("reasons").unwrap();
            }
        }
        let home = TempDir::new().unwrap();
        let file = home.path().join("cases.json");
        std::fs::write(&file, bare.to_string()).unwrap();
        let output = simulate(&["-f", file.to_str().unwrap(), "-o", "yaml"]).output().unwrap();
        let yaml: Value = serde_saphyr::from_str(&answer(&output)).unwrap();
        assert_eq!(yaml, cases, "{name}");
    }
}

#[test]
fn the_answer_is_what_was_given_with_reasons_added() {
    let input = r#"{"z": 1.5, "policy": {"daily": 1, "weekly": null}, "snapshots": [
        {"start": "2026-05-19T23:00:00+02:00", "b": {"y": [true], "x": null}, "a": "é"},
        {"reasons": ["stale"], "startTime": "2026-05-20T03:00:00.123456789Z", "incomplete": ""},
        {"start": "2026-05-20T04:00:00Z", "incomplete": "checkpoint"}], "a": 18446744073709551615}"#;
    let expected = r#"{"z": 1.5, "policy": {"daily": 1, "weekly": null}, "snapshots": [
        {"start": "2026-05-19T23:00:00+02:00", "b": {"y": [true], "x": null}, "a": "é", "reasons": []},
        {"reasons": ["daily-1"], "startTime": "2026-05-20T03:00:00.123456789Z", "incomplete": ""},
        {"start": "2026-05-20T04:00:00Z", "incomplete": "checkpoint", "reasons": ["incomplete"]}],
        "a": 18446744073709551615}"#;
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let out = answer(&piped(&["-o", "json"], input));
    assert_eq!(squeezed(&out), squeezed(expected), "the order of fields is kept");
    assert!(out.ends_with("}\n"), "{out}");
    assert_eq!(squeezed(&answer(&piped(&["-o", "json"], "[]"))), "[]");
    let marked = format!("\u{feff}{input}");
    assert_eq!(answer(&piped(&["-o", "json", "-f", "-"], marked)), out, "a mark at the beginning is no part of it");
}

#[test]
fn the_calendar_and_the_zone_are_chosen_by_flag() {
    let kept = |args: &[&str], input: &str| {
        let all = [&["-o", "json"], args].concat();
        let out: Value = serde_json::from_str(&answer(&piped(&all, input))).unwrap();
        let snapshots = out["snapshots"].as_array().unwrap();
        let words =
            |one: &Value| one["reasons"].as_array().unwrap().iter().map(ToString::to_string).collect::<String>();
        snapshots.iter().map(words).collect::<Vec<_>>().join(" ").replace('"', "")
    };
    assert_eq!(kept(&[], WEEKS), "weekly-1monthly-1 weekly-2 weekly-3   weekly-4monthly-2");
    assert_eq!(kept(&["--calendar", "kopia"], WEEKS), kept(&[], WEEKS));
    assert_eq!(kept(&["--calendar", "strict"], WEEKS), "weekly-1monthly-1 weekly-2 weekly-3 weekly-4  monthly-2");
    // Sunday evening and Monday in New York; one day in UTC. The flag wins over the case's own zone.
    let input = |tz: &str| {
        format!(
            r#"{{"policy":{{"weekly":2}},{tz}"snapshots":[{{"start":"2026-05-18T02:00:00Z"}},{{"start":"2026-05-18T04:30:00Z"}}]}}"#
        )
    };
    let (utc, there) = (" weekly-1", "weekly-2 weekly-1");
    assert_eq!(kept(&[], &input("")), utc);
    assert_eq!(kept(&["--time-zone", "America/New_York"], &input("")), there);
    assert_eq!(kept(&[], &input(r#""tz":"America/New_York","#)), there);
    assert_eq!(kept(&["--time-zone", "UTC"], &input(r#""tz":"America/New_York","#)), utc);
    assert_eq!(kept(&["--time-zone", "America/New_York"], &input(r#""tz":"UTC","#)), there);
}

#[test]
fn a_person_sees_a_time_line_and_a_list() {
    let table = answer(&piped(&[], WEEKS));
    let expected = "\
6 snapshots, 4 kept, 2 pruned
  policy     weekly 4, monthly 6
  calendar   kopia, UTC

             2025-12-28                                                   2026-01-22
  all        |                |  |                  |                   |          |  6
  weekly     ●                                      ●                   ●          ●  4 of 4
  monthly    ●                                                                     ●  2 of 6
  pruned                      ×  ×                                                    2

  keep   Thu 2026-01-22 03:30:00  weekly-1 monthly-1
  keep   Sun 2026-01-18 03:30:00  weekly-2
  keep   Sun 2026-01-11 03:30:00  weekly-3
  prune  Sun 2026-01-04 03:30:00 to Sat 2026-01-03 03:30:00, 2 snapshots, of which 1 incomplete
  keep   Sun 2025-12-28 03:30:00  weekly-4 monthly-2
";
    assert_eq!(table, expected);
    let two = answer(&piped(&["--calendar", "strict", "--time-zone", "Asia/Kolkata"], format!("[{WEEKS},{WEEKS}]")));
    assert!(two.starts_with("case 1 of 2, weeks\n6 snapshots, 5 kept, 1 pruned\n"), "{two}");
    assert!(two.contains("\n  calendar   strict, Asia/Kolkata\n"), "{two}");
    assert!(two.contains("keep   Sun 2026-01-04 09:00:00  weekly-4\n"), "{two}");
    assert!(two.ends_with("\n\n2 cases: 12 snapshots, 10 kept, 2 pruned\n"), "{two}");
    assert_eq!(answer(&piped(&[], "[]")), "0 cases: 0 snapshots, 0 kept, 0 pruned\n");
}

#[test]
fn help_says_what_goes_in() {
    let output = simulate(&["--help"]).output().unwrap();
    let help = answer(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    for word in
        ["--file <FILE>", "--output <", "--calendar <", "--time-zone <", "JSON in: {\"policy\"", "Exit codes: 0, or 2"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
}

/// What stands in for a terminal: `script` gives its command one.
fn on_a_terminal(columns: u32, words: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_volwarden");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("stty rows 30 cols {columns}; {binary} retention simulate {words}"))
        .arg("/dev/null")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .expect("script, of Debian's package bsdutils");
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

#[test]
fn a_terminal_has_colours_and_a_width() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("weeks.json");
    std::fs::write(&file, WEEKS).unwrap();
    let file = file.display();
    let bare = |text: &str| {
        ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[2m", "\u{1b}[0m"]
            .iter()
            .fold(text.to_owned(), |text, code| text.replace(code, ""))
    };
    for columns in [60, 150] {
        let table = on_a_terminal(columns, &format!("-f {file}"));
        assert!(table.contains("\u{1b}[32mkeep\u{1b}[0m") && table.contains("\u{1b}[31mprune\u{1b}[0m"), "{table}");
        let line = bare(&table).lines().find(|line| line.contains("monthly    ")).unwrap().to_owned();
        let last = line.chars().position(|c| c == '6').unwrap() + 1;
        assert_eq!(last, usize::try_from(columns).unwrap() - 8, "{line}");
    }
    let plain = on_a_terminal(100, &format!("-f {file} --no-color"));
    assert_eq!(plain, answer(&piped(&[], WEEKS)));
    let nobody_types_json = on_a_terminal(100, "");
    assert_eq!(nobody_types_json, "volwarden: nothing to read: name a file with -f FILE, or pipe JSON in\n");
}

#[test]
fn what_cannot_be_used_is_one_line_with_its_place_and_a_remedy() {
    let policy = |policy: &str| format!(r#"[{{"policy":{{}},"snapshots":[]}},{{"policy":{policy},"snapshots":[]}}]"#);
    let snapshot = |snapshot: &str| {
        format!(r#"{{"policy":{{"daily":7}},"snapshots":[{{"start":"2026-05-20T03:00:00Z"}},{snapshot}]}}"#)
    };
    let second = "case 1, snapshot 2: ";
    let cases: Vec<(String, Vec<&str>)> = vec![
        (String::new(), vec!["standard input is empty", "write a case such as {\"policy\""]),
        (" \n".into(), vec!["standard input is empty"]),
        ("{\"policy\":".into(), vec!["standard input is not JSON", "line 1 column 10"]),
        ("{}\n{}".into(), vec!["not JSON", "line 2"]),
        ("[".repeat(1_000_000), vec!["not JSON", "recursion limit"]),
        ("7".into(), vec!["holds a number", "or an array"]),
        ("[7]".into(), vec!["case 1 is a number", "write it as {"]),
        ("{}".into(), vec!["case 1: policy is missing", "{} to keep all"]),
        (policy("[]"), vec!["case 2: policy is an array"]),
        (policy(r#"{"daily":-1}"#), vec!["case 2: policy: daily is -1", "a whole number, such as 7"]),
        (policy(r#"{"daily":1.5}"#), vec!["case 2: policy: daily is 1.5", "a whole number"]),
        (policy(r#"{"daily":"7"}"#), vec!["case 2: policy: daily is \"7\""]),
        (policy(r#"{"daily":true}"#), vec!["case 2: policy: daily is true"]),
        (policy(r#"{"daily":1e30}"#), vec!["case 2: policy: daily is 1e+30"]),
        (policy(r#"{"dayly":7}"#), vec!["case 2: policy: there is no count \"dayly\"", "hourly, daily, weekly"]),
        (r#"{"policy":{}}"#.into(), vec!["case 1: snapshots is missing", "write an array"]),
        (r#"{"policy":{},"snapshots":{}}"#.into(), vec!["case 1: snapshots is an object", "write an array"]),
        (
            r#"{"name":"n","policy":{},"tz":"Mars/Olympus","snapshots":[]}"#.into(),
            vec!["case 1 (\"n\"): tz: \"Mars/Olympus\"", "Europe/Berlin"],
        ),
        (r#"{"policy":{},"tz":7,"snapshots":[]}"#.into(), vec!["case 1: tz is 7", "Europe/Berlin"]),
        (snapshot("7"), vec![second, "it is a number", "{\"start\""]),
        (snapshot("{}"), vec![second, "start is missing", "2026-01-31T03:00:00Z"]),
        (snapshot(r#"{"start":"yesterday"}"#), vec![second, "start is \"yesterday\"", "2026-01-31T03:00:00Z"]),
        (snapshot(r#"{"start":"2026-02-30T03:00:00Z"}"#), vec![second, "2026-02-30"]),
        (snapshot(r#"{"start":"2026-01-31T03:00:00"}"#), vec![second, "a time with its zone"]),
        (snapshot(r#"{"start":1767000000}"#), vec![second, "start is 1767000000"]),
        (snapshot(r#"{"startTime":[]}"#), vec![second, "startTime is an array"]),
        (
            snapshot(r#"{"start":"2026-05-20T03:00:00Z","incomplete":1}"#),
            vec![second, "incomplete is 1", "true or false"],
        ),
        (snapshot(&format!(r#"{{"start":"{}\u001b[31m"}}"#, "x".repeat(10_000))), vec![second, "xxx..."]),
    ];
    for (input, words) in cases {
        assert_refused(&piped(&["-o", "json"], &input), &words);
        assert_refused(&piped(&[], &input), &words);
    }
    assert_refused(
        &piped(&[], b"{\"policy\": \xff}"),
        &["standard input is not UTF-8 text at byte 11", "save it as UTF-8"],
    );
    assert_refused(
        &piped(&["--time-zone", "Mars/Olympus"], WEEKS),
        &["--time-zone: \"Mars/Olympus\" is no time zone", "Europe/Berlin"],
    );
    let home = TempDir::new().unwrap();
    let nowhere = home.path().join("nowhere.json");
    assert_refused(
        &simulate(&["-f", nowhere.to_str().unwrap()]).output().unwrap(),
        &["nowhere.json", "No such file", "-f"],
    );
    assert_refused(&simulate(&["-f", home.path().to_str().unwrap()]).output().unwrap(), &["cannot read", "directory"]);
    let empty = home.path().join("empty.json");
    std::fs::write(&empty, "").unwrap();
    assert_refused(&simulate(&["-f", empty.to_str().unwrap()]).output().unwrap(), &["empty.json is empty"]);
}

#[test]
fn a_wrong_flag_ends_with_2() {
    for args in [&["--calendar", "gregorian"][..], &["-o", "xml"], &["cases.json"]] {
        let output = piped(args, WEEKS);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_volwarden")).arg("retention").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// It asks no cluster, so nothing about one can be wrong.
#[test]
fn it_works_without_settings() {
    let mut command = simulate(&["-o", "json"]);
    command.env("VOLWARDEN_CONFIG", "/nowhere").env("KUBECONFIG", "/nowhere").stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(WEEKS.as_bytes()).unwrap();
    answer(&child.wait_with_output().unwrap());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = simulate(&[]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(oracle(ORACLES[0]).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

/// The text between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    text.split_once(begin).unwrap().1.split_once(end).unwrap().0
}

#[test]
fn the_documents_show_what_comes_out() {
    let read = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let readme = read("README.md");
    let sample = between(&readme, "$ echo '{\"policy\"", "```");
    let (input, expected) = sample.split_once("' | volwarden retention simulate\n").unwrap();
    assert_eq!(answer(&piped(&[], format!("{{\"policy\"{input}"))), expected);
    let page = read("docs/retention.md");
    let input = between(between(&page, "## JSON in", "One such case"), "```json\n", "```");
    let out: Value = serde_json::from_str(&answer(&piped(&["-o", "json"], input))).unwrap();
    let shown: Value =
        serde_json::from_str(between(between(&page, "## JSON out", "Without"), "```json\n", "```")).unwrap();
    assert_eq!(out["snapshots"][0], shown);
}

#[test]
fn a_policy_that_makes_no_sense_is_told_before_any_cluster_is_asked() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("policy.yaml");
    for (spec, words) in [
        ("{keep: {dayly: 7}}", &["policy.yaml, line 1, SnapshotRetention nightly: spec.keep.dayly"] as &[_]),
        ("{mode: Enforce}", &["spec.drivers is empty", "needs the drivers named"]),
        ("{timeZone: Mars, minReady: 0}", &["`Mars` is no time zone", "spec.minReady: 0 is out of range"]),
    ] {
        let kind = "apiVersion: volwarden.dev/v1alpha1\nkind: SnapshotRetention\nmetadata: {name: nightly}\n";
        std::fs::write(&file, format!("{kind}spec: {spec}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_volwarden"));
        command.args(["retention", "plan", "-f"]).arg(&file).env_clear();
        assert_refused(&command.output().unwrap(), words);
    }
}
