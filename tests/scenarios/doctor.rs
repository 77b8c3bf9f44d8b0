//! Runs the real binary as a person would and reads what it says.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use stack::Stack;

/// What `doctor -o json` said.
pub(crate) struct Report {
    pub(crate) json: Value,
    pub(crate) exit: i32,
}

/// Runs `volwarden` with a kubeconfig.
pub(crate) fn volwarden(kubeconfig: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_volwarden"))
        .args(words)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .env_remove("KUBECONFIG")
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the binary runs")
}

/// `volwarden doctor -o json` as the cluster's administrator.
pub(crate) fn doctor(stack: &Stack) -> Report {
    doctor_as(stack.kubeconfig(), &[])
}

/// The same as somebody else, with more words.
pub(crate) fn doctor_as(kubeconfig: &Path, words: &[&str]) -> Report {
    let output = volwarden(kubeconfig, &[&["doctor", "-o", "json"], words].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&said).unwrap_or_else(|error| {
        panic!("doctor's JSON: {error}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    Report { json, exit: output.status.code().expect("doctor ends by itself") }
}

/// `volwarden why KIND NAME`, as text.
pub(crate) fn why(stack: &Stack, kind: &str, name: &str) -> String {
    String::from_utf8_lossy(&volwarden(stack.kubeconfig(), &["why", kind, name]).stdout).into_owned()
}

impl Report {
    pub(crate) fn findings(&self) -> &[Value] {
        self.json.pointer("/findings").and_then(Value::as_array).expect("doctor's JSON has findings")
    }

    /// The finding about this object.
    pub(crate) fn finding(&self, kind: &str, name: &str) -> Option<&Value> {
        self.findings().iter().find(|finding| {
            finding.pointer("/subject/kind") == Some(&kind.into())
                && finding.pointer("/subject/name") == Some(&name.into())
        })
    }

    /// The class of the finding about this object, or "".
    pub(crate) fn class(&self, kind: &str, name: &str) -> &str {
        self.finding(kind, name).and_then(|finding| finding.get("class")).and_then(Value::as_str).unwrap_or("")
    }

    /// All findings as `Class Kind name`, sorted.
    pub(crate) fn lines(&self) -> Vec<String> {
        let word = |finding: &Value, pointer: &str| super::text(finding, pointer);
        let line = |finding: &Value| {
            format!("{} {} {}", word(finding, "/class"), word(finding, "/subject/kind"), word(finding, "/subject/name"))
        };
        let mut lines: Vec<String> = self.findings().iter().map(line).collect();
        lines.sort();
        lines
    }

    pub(crate) fn source(&self, kind: &str) -> &Value {
        let sources = self.json.pointer("/sources").and_then(Value::as_array).expect("doctor's JSON has sources");
        sources.iter().find(|source| source.get("kind") == Some(&kind.into())).expect("the source is listed")
    }
}
