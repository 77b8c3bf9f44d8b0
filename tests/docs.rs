//! Each finding class has a page, because reports and alerts link to it: a dead link at 3 a.m. helps nobody. And what
//! a page says is done about its class is what the ladders do: a page that promises too little is as bad as a dead one.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use volwarden::api::policy::Rungs;
use volwarden::domain::finding::Class;
use volwarden::domain::guard::{Guard, TABLE, stands_before};
use volwarden::domain::prune::hold::Hold;
use volwarden::domain::prune::part::Part;
use volwarden::domain::remedy::{Step, Then, ladder};
use volwarden::domain::repository::findings;

#[test]
fn every_class_has_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = Class::ALL.iter().map(|class| class.docs());
    let pages = pages.chain(findings::Class::ALL.iter().map(|class| class.docs()));
    let missing: Vec<String> = pages.filter(|page| !root.join(page).is_file()).collect();
    assert!(missing.is_empty(), "{} pages are missing:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn every_page_is_about_a_class_and_names_it_in_its_title() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings");
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if stem.eq_ignore_ascii_case("readme") {
            continue;
        }
        let known = Class::from_name(stem).is_some() || findings::Class::from_name(stem).is_some();
        assert!(known, "{stem} is no finding class");
        let text = std::fs::read_to_string(&path).unwrap();
        let title = text.lines().next().unwrap_or_default();
        assert!(title.starts_with("# ") && title.contains(stem), "{stem}: its first line is {title:?}");
    }
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The text under a heading, up to the next one of its level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, from) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    from.split("\n## ").next().unwrap_or_default()
}

/// The cells of the rows of a table that begin with a name in backticks.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The key under `rungs` that switches a step on, if a policy can.
fn key(step: Step) -> Option<String> {
    if step.only_by_approval() {
        return None;
    }
    // One switch for both restarts.
    let name = if step == Step::RestartCandidate { Step::RestartLeader } else { step }.as_str();
    let key = format!("{}{}", name[..1].to_ascii_lowercase(), &name[1..]);
    let rungs = serde_json::to_value(Rungs::default()).unwrap();
    assert_eq!(rungs[&key], step.on_by_default(), "{key}");
    Some(key)
}

/// What a page says of a step: by default, or how it is switched on.
fn switch(step: Step) -> String {
    match key(step) {
        None => "by approval only".to_owned(),
        Some(_) if step.on_by_default() => "yes".to_owned(),
        Some(key) => format!("no: `rungs.{key}`"),
    }
}

/// The classes of a repository are in a table of their own, worst first, and all of them are a person's to mend.
#[test]
fn what_can_be_wrong_with_a_repository_is_listed_in_order_and_only_reported() {
    let readme = read("docs/findings/README.md");
    let rows = readme.lines().filter(|row| row.starts_with("| ") && row.contains("| KopiaRepository | `Report` |"));
    let listed: Vec<&str> = rows.filter_map(|row| row.split_once('[')?.1.split(']').next()).collect();
    let due: Vec<&str> = findings::Class::ALL.iter().map(|class| class.as_str()).collect();
    assert_eq!(listed, due);
    for class in findings::Class::ALL {
        let page = read(&class.docs());
        for row in ["| Subject | KopiaRepository |".to_owned(), format!("| Metric label | `{}` |", class.label())] {
            assert!(page.contains(&row), "{class}: {row}");
        }
        assert!(page.lines().any(|row| row.starts_with("| Least repair | `Report`: ")), "{class}");
        for heading in ["What it means", "When it is named", "See it by hand", "What is safe", "What is not"] {
            section(&page, heading);
        }
        let does = section(&page, "What Volwarden does");
        assert!(does.trim_start().starts_with("Reports only, in every mode."), "{class}");
        assert!(Class::from_name(class.as_str()).is_none(), "{class}: one page cannot be of two classes");
    }
}

#[test]
fn every_page_names_the_steps_of_its_ladder_in_order_or_says_that_there_are_none() {
    for class in Class::ALL {
        let page = read(&class.docs());
        let text = section(&page, "What Volwarden does");
        let said: Vec<[String; 3]> =
            rows(text).into_iter().map(|row| [row[0].clone(), row[1].clone(), row[3].clone()]).collect();
        let due: Vec<[String; 3]> = ladder(class)
            .iter()
            .map(|rung| {
                let failed = if rung.failed == Then::Climb { "the next" } else { "`Failed`: a person" };
                [format!("`{}`", rung.step), switch(rung.step), failed.to_owned()]
            })
            .collect();
        assert_eq!(said, due, "{class}");
        assert_eq!(text.trim_start().starts_with("Reports only, in every mode."), due.is_empty(), "{class}");
    }
}

#[test]
fn every_guard_that_a_page_names_stands_before_a_step_of_its_ladder() {
    for class in Class::ALL.into_iter().filter(|class| !ladder(*class).is_empty()) {
        let page = read(&class.docs());
        let text = section(&page, "What Volwarden does");
        let holds = text.split("\n\n").find(|paragraph| paragraph.starts_with("**Held by**"));
        let words = quoted(holds.unwrap_or_else(|| panic!("{class}: nothing is said of what holds it")));
        let names: Vec<&str> =
            words.into_iter().filter(|word| Guard::all().any(|guard| guard.as_str() == *word)).collect();
        assert!(!names.is_empty(), "{class}");
        for name in names {
            let (.., columns) = TABLE.iter().find(|(guard, ..)| guard.as_str() == name).unwrap();
            assert!(ladder(class).iter().any(|rung| stands_before(columns, rung.step)), "{class}: {name}");
        }
    }
}

#[test]
fn the_table_of_steps_is_that_of_the_code() {
    let readme = read("docs/findings/README.md");
    let said: Vec<[String; 3]> = rows(section(&readme, "Steps"))
        .into_iter()
        .map(|row| [row[0].clone(), row[2].clone(), row[4].trim_matches('`').to_owned()])
        .collect();
    let due = Step::ALL.map(|step| {
        let on = if step.only_by_approval() {
            "by approval only"
        } else if step.on_by_default() {
            "yes"
        } else {
            "no"
        };
        [format!("`{step}`"), on.to_owned(), key(step).unwrap_or_default()]
    });
    assert_eq!(said, due);
}

#[test]
fn the_least_repair_is_a_step_or_words_and_the_same_on_the_page_and_in_the_table() {
    let readme = read("docs/findings/README.md");
    for class in Class::ALL {
        let link = format!("[{class}]({class}.md)");
        let row = readme.lines().find(|least| least.starts_with("| ") && least.contains(&link));
        let row = row.unwrap_or_else(|| panic!("{class} has no row"));
        let listed: BTreeSet<&str> = quoted(row).into_iter().collect();
        let page = read(&class.docs());
        let least = page.lines().find(|least| least.starts_with("| Least repair |")).unwrap();
        let shown: BTreeSet<&str> = quoted(least).into_iter().collect();
        assert_eq!(listed, shown, "{class}");
        for word in listed {
            let step = Step::from_name(word);
            assert!(
                word == "Report" || step.is_some_and(|step| ladder(class).iter().any(|rung| rung.step == step)),
                "{class}: {word}"
            );
        }
    }
}

/// The names of the test targets: files of `tests/`, and folders of it with a `main.rs`.
fn targets() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let targets =
        paths.filter(|path| path.extension().is_some_and(|known| known == "rs") || path.join("main.rs").exists());
    targets.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_suite_is_explained() {
    let readme = read("tests/README.md");
    let explained: BTreeSet<&str> = quoted(&readme).into_iter().collect();
    let missing: Vec<String> = targets().into_iter().filter(|name| !explained.contains(name.as_str())).collect();
    assert_eq!(missing, [] as [String; 0], "tests/README.md has nothing on these");

    let script = read("tests/deep/run");
    let deep = script.lines().find_map(|line| line.strip_prefix("readonly all=(")?.strip_suffix(')')).unwrap();
    let named: Vec<String> =
        rows(section(&readme, "Deep")).into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(named, deep.split(' ').collect::<Vec<_>>());
}

/// Paths that a document names, as far as they are told by their roots.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let roots = ["src/", "tests/", "docs/", "benches/", "deploy/", "io/", "domain/", "app/", "cli/", "api/", "sim/"];
    let words = quoted(text)
        .into_iter()
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches([',', ':', ';', ')', '.']));
    words.filter(move |word| roots.iter().any(|root| word.starts_with(root)) && !word.contains(['<', '*', '{']))
}

#[test]
fn every_path_in_the_architecture_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = read("docs/architecture.md");
    let mut count = 0;
    for path in paths(&text) {
        let there = [root.join(path), root.join("src").join(path), root.join("src").join(format!("{path}.rs"))];
        assert!(there.iter().any(|path| path.exists()), "docs/architecture.md: {path} does not exist");
        count += 1;
    }
    assert!(count > 15, "the check sees nothing");
}

#[test]
fn every_reason_to_stay_is_explained() {
    let text = read("docs/retention.md");
    let rows = rows(&text);
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    let missing: Vec<&str> = Hold::ALL.iter().map(|hold| hold.as_str()).filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for part in Part::CLEANUP {
        let field = part.field().rsplit('.').next().unwrap();
        assert!(text.contains(&format!("**`{field}`**")), "{field}");
    }
}
