//! The plan for a person at 3 a.m.: what happens now, what waits for them, what is held, in this order.
//!
//! A batch of a hundred alike hides the one step that waits for an approval. So what is alike is shown ten times and
//! then counted, and what holds it is said once for a run of the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Item, Plan, State, tables};
use crate::cli::course::{self, Line};
use crate::domain::finding::Class;
use crate::domain::policy::Policy;

/// Each state with its heading.
const GROUPS: [(State, &str); 5] = [
    (State::Now, "Would be done now"),
    (State::AwaitingApproval, "Needs an approval"),
    (State::UnderWay, "Under way"),
    (State::Held, "Held"),
    (State::NoStep, "No step is left: a person is needed"),
];

/// The whole report.
pub(super) fn report(plan: &Plan<'_>, colour: bool) -> String {
    let mut out = policies(plan);
    out.push('\n');
    for (state, heading) in GROUPS {
        let items: Vec<&Item<'_>> = plan.of_state(state).collect();
        if !items.is_empty() {
            let heading = format!("{heading}: {}", items.len());
            let _ = writeln!(out, "{}", tables::paint(colour, "1", &heading));
            group(&mut out, &items, colour);
            out.push('\n');
        }
    }
    out.push_str(&tables::sources_block(&plan.planning.sources));
    out.push_str(&summary(plan));
    out
}

/// Which policies it is made under, and why one of them only observes.
fn policies(plan: &Plan<'_>) -> String {
    let mut out = String::new();
    let all: Vec<&Policy> = plan.planning.policies.iter().collect();
    let named: Vec<String> =
        all.iter().map(|policy| format!("{} ({})", policy.name(), policy.mode().as_str())).collect();
    let words = match plan.file {
        Some(file) => format!("{}, from {file} instead of the cluster's", named.join(", ")),
        None if named.is_empty() => "none: the built-in policy only observes".to_owned(),
        None => named.join(", "),
    };
    tables::labelled(&mut out, "", "policy", &words);
    for policy in all {
        for problem in policy.problems() {
            tables::labelled(&mut out, "", "", &format!("{} only observes: {problem}", policy.name()));
        }
    }
    out
}

/// Items of one state, by class and driver in the order of the first of each.
fn group(out: &mut String, items: &[&Item<'_>], colour: bool) {
    let mut alike: BTreeMap<(usize, &str), Vec<&Item<'_>>> = BTreeMap::new();
    for item in items {
        let driver = item.finding.driver.as_deref().unwrap_or_default();
        alike.entry((item.finding.class.severity(), driver)).or_default().push(item);
    }
    for ((_, driver), alike) in alike {
        let mut said = Vec::new();
        for item in alike.iter().take(tables::ALIKE) {
            one(out, item, &mut said, colour);
        }
        let hidden = alike.len().saturating_sub(tables::ALIKE);
        if let Some(class) = alike.first().map(|item| item.finding.class).filter(|_| hidden > 0) {
            let _ = writeln!(out, "  ... and {hidden} more {}; -o json lists all", of_driver(class, driver));
        }
    }
}

fn of_driver(class: Class, driver: &str) -> String {
    if driver.is_empty() { class.to_string() } else { format!("{class} of {driver}") }
}

/// One item. `said` is what held the one before it of its class and driver.
fn one(out: &mut String, item: &Item<'_>, said: &mut Vec<Line>, colour: bool) {
    let Item { finding, shown } = item;
    let since = tables::age(finding.since, shown.now.wall);
    let unsure = if finding.unverified { "  (unverified)" } else { "" };
    let class = tables::paint(colour, "31", finding.class.as_str());
    let _ = writeln!(out, "  {class}  {}  {since}{unsure}", finding.subject);
    for (label, text) in shown.step() {
        tables::labelled(out, "    ", label, &text);
    }
    if shown.state() == State::UnderWay
        && let Some(record) = shown.episode
    {
        tables::labelled(out, "    ", "entry", &course::entry(record));
    }
    let holds = shown.holds();
    if holds != *said {
        for (label, text) in &holds {
            tables::labelled(out, "    ", label, text);
        }
        *said = holds;
    }
    // A command is copied: it is never wrapped.
    if let Some((label, command)) = shown.approval() {
        let _ = writeln!(out, "    {label:<width$}{command}", width = tables::LABEL);
    }
}

fn summary(plan: &Plan<'_>) -> String {
    let count = |state| plan.of_state(state).count();
    let parts = [
        (State::Now, "would be done now"),
        (State::AwaitingApproval, "to be approved"),
        (State::UnderWay, "under way"),
        (State::Held, "held"),
        (State::NoStep, "without a step left"),
    ];
    let counted: Vec<String> = parts
        .into_iter()
        .map(|(state, words)| (count(state), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    let head = if counted.is_empty() { "Nothing to do".to_owned() } else { counted.join(", ") };
    match plan.planning.reported.len() {
        0 => format!("{head}.\n"),
        reported => format!("{head}; {reported} only reported: volwarden doctor shows why.\n"),
    }
}
