//! The arrows of `docs/architecture.md`, and the purity of the core, as a test.
//!
//! A drawing that nothing enforces is wrong within a month: one `use` in a hurry, and the pure core has a
//! clock in it that no test can stop. This reads every file under `src/`, takes comments, literals and test
//! modules out, resolves the paths that are left, and names each one that no arrow allows. The last tests feed
//! it code that breaks each rule: a check that cannot fail is no check.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "layering/reader.rs"]
mod reader;

use reader::{paths, strip, tokens, without_tests};

/// From, to, why. What is not here is forbidden. The first block is the drawing, the second the exceptions.
const ARROWS: &[(&str, &str, &str)] = &[
    ("main", "cli", "boot"),
    ("cli", "app", "commands run the composition root"),
    ("app", "config", "settings become parts"),
    ("app", "telemetry", "installs it"),
    ("app", "driver", "spawns the loop"),
    ("app", "io", "spawns the edges"),
    ("app", "api", "registers our kinds"),
    ("app", "sim", "the demo's cluster"),
    ("driver", "domain", "owns the engine"),
    ("io", "api", "reads objects"),
    ("io", "domain", "makes facts of them"),
    ("sim", "driver", "runs the real loop"),
    ("sim", "domain", "runs the real engine"),
    ("sim", "api", "serves objects"),
    ("sim", "io", "the lines of the model are read by the same code as a real server's"),
    ("cli", "config", "flags are parsed where the command line is"),
    ("cli", "api", "crds prints the definitions of our kinds"),
    ("cli", "domain", "findings and subjects are what it prints and asks about"),
    ("cli", "sim", "the fault scripts and violations of the swarm are what it draws and prints"),
    ("app", "domain", "makes the engine that it hands to the loop"),
    ("driver", "telemetry", "metric names stand there and nowhere else"),
];

/// Crates a layer may name beside `std`. Empty: it needs none. A layer that is not here does not exist.
const CRATES: &[(&str, &[&str])] = &[
    ("main", &["volwarden"]),
    ("lib", &[]),
    (
        "cli",
        &[
            "clap",
            "clap_complete",
            "jiff",
            "serde",
            "serde_json",
            "serde_saphyr",
            "terminal_size",
            "thiserror",
            "tokio",
            "tracing_subscriber",
        ],
    ),
    ("app", &["futures", "jiff", "tempfile", "thiserror", "tokio", "tracing", "tracing_subscriber"]),
    ("config", &["clap", "humantime", "serde", "serde_saphyr", "thiserror", "tracing_subscriber"]),
    ("telemetry", &["metrics", "metrics_exporter_prometheus", "thiserror", "tokio", "tracing_subscriber"]),
    ("driver", &["jiff", "metrics", "serde", "serde_json", "thiserror", "tokio", "tracing"]),
    (
        "io",
        &[
            "axum",
            "backon",
            "base64",
            "futures",
            "http",
            "jiff",
            "k8s_openapi",
            "kube",
            "opentelemetry",
            "opentelemetry_http",
            "opentelemetry_otlp",
            "opentelemetry_sdk",
            "rustix",
            "rustls",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tracing",
        ],
    ),
    ("api", &["jiff", "k8s_openapi", "kube", "schemars", "serde", "serde_json", "thiserror"]),
    (
        "sim",
        &[
            "axum",
            "croner",
            "fastrand",
            "futures",
            "http",
            "jiff",
            "json_patch",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tracing",
        ],
    ),
    ("domain", &["croner", "jiff", "serde", "serde_json", "sha2", "thiserror"]),
];

/// What of `std` the pure core may not touch: clocks, the world outside, threads, and maps whose order is random.
const IMPURE: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::env",
    "std::fs",
    "std::future",
    "std::hash::RandomState",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::task",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
];

// === the rules ===

/// The layer of a file, and the module path it stands for.
fn place(file: &str) -> (String, Vec<String>) {
    let trimmed = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = trimmed.split('/').map(str::to_owned).collect();
    let layer = module[0].clone();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    (layer, module)
}

/// `self::` and `super::` as paths from the crate's root; other paths as they are.
fn absolute(path: &[String], module: &[String]) -> Vec<String> {
    let mut here = module.to_vec();
    let mut rest = path;
    let relative = matches!(rest.first().map(String::as_str), Some("self" | "super"));
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "self" => {}
            "super" => drop(here.pop()),
            _ => break,
        }
        rest = after;
    }
    if !relative {
        return path.to_vec();
    }
    std::iter::once("crate".to_owned()).chain(here).chain(rest.iter().cloned()).collect()
}

/// Everything in `text`, standing for `file`, that no rule allows.
fn violations(file: &str, text: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let (layer, module) = place(file);
    let Some((_, crates)) = CRATES.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("{file}: no layer is called {layer}")];
    };
    let tokens = without_tests(&tokens(&strip(text)));
    let mut found = BTreeSet::new();
    let paths: Vec<Vec<String>> = paths(&tokens).iter().map(|path| absolute(path, &module)).collect();
    let ours = paths.iter().filter(|path| path[0] == "crate" && path.len() > 1);
    let bound: BTreeSet<&str> = ours.filter_map(|path| path.last()).map(String::as_str).collect();
    for path in &paths {
        let shown = path.join("::");
        let root = path[0].as_str();
        if root == "crate" {
            let Some(to) = path.get(1) else { continue };
            // In lib.rs the root holds only modules; a name there is one of them or a type of this file.
            let exists = CRATES.iter().any(|(name, _)| name == to) && to != "lib" && to != "main";
            let allowed = ARROWS.iter().any(|(from, target, _)| *from == layer && target == to);
            if *to == layer || layer == "lib" || allowed {
                continue;
            }
            let why = if exists { "no arrow" } else { "no such layer" };
            found.insert(format!("{file}: {layer} -> {to}: {why}: {shown}"));
        } else if bound.contains(root) {
            // A module of ours that happens to have a crate's name, such as io::http.
        } else if dependencies.contains(root) || root == "volwarden" {
            if !crates.contains(&root) {
                found.insert(format!("{file}: {layer} may not name the crate {root}: {shown}"));
            }
        } else if layer == "domain" && matches!(root, "std" | "core" | "alloc") {
            let as_std =
                std::iter::once("std").chain(path[1..].iter().map(String::as_str)).collect::<Vec<_>>().join("::");
            if impure(&as_std) {
                found.insert(format!("{file}: the core may not touch {shown}"));
            }
        }
        if layer == "domain" && path.iter().skip(1).any(|part| part == "now" || part == "system") {
            found.insert(format!("{file}: the core may not ask a clock or the system: {shown}"));
        }
    }
    if layer == "domain" {
        for word in ["async", "await", "unsafe"] {
            if tokens.iter().any(|token| token == word) {
                found.insert(format!("{file}: the core has no {word}"));
            }
        }
    }
    found.into_iter().collect()
}

/// Named itself, or a module that holds it imported whole, under which it could be named later.
fn impure(path: &str) -> bool {
    let whole = path.trim_end_matches("::*").trim_end_matches("::self");
    IMPURE.iter().any(|forbidden| {
        path == *forbidden
            || path.starts_with(&format!("{forbidden}::"))
            || forbidden.strip_prefix(whole).is_some_and(|rest| rest.starts_with("::"))
    })
}

/// The crates of Cargo.toml, as code names them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut out = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
        } else if inside && let Some((name, _)) = line.split_once('=') {
            out.insert(name.trim().replace('-', "_"));
        }
    }
    out
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Files that exist only for tests: `x_tests.rs` and `tests.rs`, which a `#[cfg(test)] mod` pulls in.
fn is_test_file(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
        || path.parent().is_some_and(|folder| folder.ends_with("tests"))
}

#[test]
fn no_file_breaks_an_arrow() {
    let dependencies = dependencies(&std::fs::read_to_string(root().join("Cargo.toml")).unwrap());
    assert!(dependencies.contains("k8s_openapi") && dependencies.contains("tokio"), "{dependencies:?}");
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    assert!(files.len() > 10, "{files:?}");
    let mut broken = Vec::new();
    for path in files.iter().filter(|path| !is_test_file(path)) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        broken.extend(violations(&name, &std::fs::read_to_string(path).unwrap(), &dependencies));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// What a file says that sends something other than GET; comments, literals and tests are taken out before.
fn sends(code: &str) -> Vec<String> {
    const VERBS: [&str; 8] = ["POST", "PUT", "PATCH", "DELETE", "post", "put", "patch", "delete"];
    let stripped = without_tests(&tokens(&strip(code)));
    let words = |at: usize| stripped.get(at).map(String::as_str).unwrap_or_default();
    let mut found = Vec::new();
    for at in 0..stripped.len() {
        let path = words(at + 1) == "::" || (words(at + 1) == ":" && words(at + 2) == ":");
        let verb = if words(at + 1) == "::" { words(at + 2) } else { words(at + 3) };
        if path && ["Method", "Request"].contains(&words(at)) && VERBS.contains(&verb) {
            found.push(format!("{}::{verb}", words(at)));
        }
    }
    found
}

#[test]
fn only_the_act_path_sends_anything_but_get() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut senders = Vec::new();
    for path in files.iter().filter(|path| !is_test_file(path)) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        // The embedded cluster receives requests; it sends none.
        if !sends(&std::fs::read_to_string(path).unwrap()).is_empty() && !name.starts_with("src/sim/http/") {
            senders.push(name);
        }
    }
    assert!(!senders.is_empty(), "the check sees nothing");
    assert!(senders.iter().all(|name| name.starts_with("src/io/act/")), "{senders:?}");
}

#[test]
fn a_write_is_seen_however_it_is_spelled() {
    for code in ["fn f() { Method::PATCH; }", "fn f() { http::Method::DELETE; }", "fn f() { http::Request::post(x); }"]
    {
        assert_eq!(sends(code).len(), 1, "{code}");
    }
    for code in
        ["fn f() { Request::get(x); map.put(x); set.delete(); }", "#[cfg(test)] mod tests { fn f() { Method::PUT; } }"]
    {
        assert_eq!(sends(code), [] as [String; 0], "{code}");
    }
}

#[test]
fn a_test_file_is_only_ever_included_by_tests() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    for path in files.iter().filter(|path| is_test_file(path) && path.extension().is_some()) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.parent().is_some_and(|folder| folder.ends_with("tests")) {
            continue;
        }
        let folder = path.parent().unwrap();
        let mut around = Vec::new();
        rust_files(folder, &mut around);
        around.extend(["rs"].iter().map(|extension| folder.with_extension(extension)).filter(|path| path.exists()));
        let included = around.iter().any(|other| {
            let text = std::fs::read_to_string(other).unwrap();
            let named = text.contains(&format!("mod {stem};")) || text.contains(&format!("{stem}.rs\""));
            named && text.contains("#[cfg(test)]")
        });
        assert!(included, "{} is no file of a #[cfg(test)] module", path.display());
    }
}

// === the check, checked ===

fn caught(file: &str, code: &str) -> Vec<String> {
    let manifest = "[dependencies]\nkube = \"5\"\ntokio = \"1\"\nmetrics = \"1\"\ntracing = \"1\"\nk8s-openapi = \"1\"\njiff = \"1\"\nserde=\"1\"\n";
    violations(file, code, &dependencies(manifest))
}

#[test]
fn impurity_in_the_core_is_caught_however_it_is_written() {
    for code in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "use std::{fmt, time::{Duration, Instant as Then}};",
        "use std::time;",
        "use std::time as t;",
        "use std::time::*;",
        "use core::time::*;",
        "fn f() { let _ = std::time::Instant::now(); }",
        "fn f() { std::thread::sleep(d) }",
        "fn f() -> ::std::io::Result<()> { x }",
        "use std::env;",
        "use std::collections::HashMap;",
        "use std::{collections::{BTreeMap, HashSet}};",
        "fn f() { jiff::Timestamp::now(); }",
        "fn f() { Timestamp::now(); }",
        "fn f() { let clock = Zoned::now; }",
        "fn f() { TimeZone::system(); }",
        "async fn f() {}",
        "fn f() { x.await }",
        "use kube::Client;",
        "fn f(_: k8s_openapi::api::core::v1::Pod) {}",
        "use {serde::Serialize, tokio::sync::mpsc};",
        "fn f() { tokio::spawn(x); }",
        "fn f() { metrics::counter!(X); }",
        "tracing::info!(x);",
        "use tokio;",
        "use tokio as executor;",
        "use crate::io::client;",
        "use crate::{domain::fact::Fact, telemetry};",
        "fn f() { crate::driver::x(); }",
        "use super::super::io::http;",
        "pub(in crate::domain) fn f() { super::super::config::x() }",
        "/* a comment /* in a comment */ still */ use std::fs;",
        "const A: &str = r#\" \" \"#; use std::fs;",
        "const A: char = '\"'; use std::fs; const B: char = '\"';",
        "#[cfg(test)] mod tests { fn f() {} } use std::fs;",
        "#[cfg(test)]\nmod tests;\nuse std::fs;",
        "fn f<'a>(x: &'a str) -> &'a str { std::fs::read(x) }",
    ] {
        assert!(!caught("src/domain/world.rs", code).is_empty(), "not caught: {code}");
    }
}

#[test]
fn a_forbidden_arrow_is_caught_in_every_layer() {
    for (file, code) in [
        ("src/io/watch.rs", "use crate::driver::Handle;"),
        ("src/io/watch.rs", "use super::super::telemetry;"),
        ("src/io/watch.rs", "use metrics as m;"),
        ("src/driver.rs", "use crate::io::probe;"),
        ("src/driver.rs", "use super::io::probe;"),
        ("src/driver.rs", "use kube::Client;"),
        ("src/api/foreign.rs", "use crate::domain::record::Kind;"),
        ("src/api/mod.rs", "use crate::domain::record::Kind;"),
        ("src/cli/why.rs", "use crate::io::client;"),
        ("src/cli/why.rs", "use super::super::driver::Handle;"),
        ("src/config.rs", "use crate::domain::engine::Settings;"),
        ("src/telemetry.rs", "use crate::domain::finding::Class;"),
        ("src/main.rs", "use volwarden_other::x; use tokio::x;"),
        ("src/app.rs", "use crate::cli::Outcome;"),
        ("src/helpers.rs", "fn f() {}"),
        ("src/cli/why.rs", "use crate::helpers::x;"),
    ] {
        assert!(!caught(file, code).is_empty(), "not caught in {file}: {code}");
    }
}

#[test]
fn what_is_allowed_is_not_called_broken() {
    for (file, code) in [
        ("src/domain/world.rs", "use std::time::Duration; use std::collections::{BTreeMap, BTreeSet};"),
        ("src/domain/world.rs", "use super::fact::Now; use crate::domain::name::Key; use self::x::y;"),
        ("src/domain/world.rs", "// use std::fs;\n/// std::env::var\nfn f() {}"),
        (
            "src/domain/world.rs",
            "const A: &str = \"use std::fs; \\\" tokio::x\"; const B: &[u8] = br##\"std::fs \"# \"##;",
        ),
        ("src/domain/world.rs", "fn f(now: Now) { self.now(); x.now; let tokio = 1; }"),
        ("src/domain/world.rs", "#[cfg(test)]\nmod tests { use std::fs; fn f() { { std::fs::x() } } }\nfn g() {}"),
        ("src/domain/world.rs", "#[cfg(test)]\nuse std::fs;"),
        ("src/domain/diagnose/content.rs", "use super::super::world::World; use super::rules;"),
        ("src/driver.rs", "use crate::domain::engine::Engine; use crate::telemetry; use tokio::sync::mpsc;"),
        ("src/cli/why.rs", "use super::table; use crate::app::{self, AppError};"),
        ("src/main.rs", "fn main() { volwarden::cli::main() }"),
    ] {
        assert_eq!(caught(file, code), Vec::<String>::new(), "{code}");
    }
}

#[test]
fn every_arrow_has_a_reason_and_two_ends() {
    let layers: BTreeSet<&str> = CRATES.iter().map(|(layer, _)| *layer).collect();
    let mut seen = BTreeSet::new();
    for (from, to, why) in ARROWS {
        assert!(layers.contains(from) && layers.contains(to) && !why.is_empty(), "{from} -> {to}");
        assert!(seen.insert((from, to)), "{from} -> {to} stands twice");
    }
}
