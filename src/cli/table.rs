//! The report for a person at 3 a.m.: worst first, and under each cause what hangs on it.
//!
//! One broken controller makes a thousand stuck snapshots. Shown as a flat list they hide the one line that
//! matters; shown beneath it, ten of them are enough and the rest is a number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;

use super::doctor::identity;
use super::output::one_line;
use crate::app::State;
use crate::domain::engine::SourceView;
use crate::domain::finding::{Cause, Class, Finding};

/// Columns a line may take; names longer than that are never cut, because they are copied.
const WIDTH: usize = 110;

/// Findings of one class shown beneath one cause; the rest is counted.
pub(super) const ALIKE: usize = 10;

/// The columns of a label such as `why` with what follows it.
pub(super) const LABEL: usize = 7;

/// The whole report.
pub(super) fn report(state: &State, colour: bool) -> String {
    let mut out = Tree::new(&state.findings, state.at, colour).draw();
    out.push_str(&sources_block(&state.sources));
    if let Some(first) = state.findings.first() {
        let subject = &first.subject;
        let _ = writeln!(out, "The evidence for one of them: volwarden why {} {}", subject.kind, subject.key);
    }
    out.push_str(&summary(state));
    out.push('\n');
    out
}

/// The findings with what hangs on what.
struct Tree<'a> {
    findings: &'a [Finding],
    children: BTreeMap<Cause, Vec<usize>>,
    roots: Vec<usize>,
    now: Timestamp,
    colour: bool,
    drawn: BTreeSet<usize>,
    out: String,
}

impl<'a> Tree<'a> {
    fn new(findings: &'a [Finding], now: Timestamp, colour: bool) -> Self {
        let known: BTreeSet<Cause> = findings.iter().map(identity).collect();
        let mut children: BTreeMap<Cause, Vec<usize>> = BTreeMap::new();
        let mut roots = Vec::new();
        for (at, finding) in findings.iter().enumerate() {
            match &finding.cause {
                Some(cause) if known.contains(cause) && *cause != identity(finding) => {
                    children.entry(cause.clone()).or_default().push(at);
                }
                _ => roots.push(at),
            }
        }
        Self { findings, children, roots, now, colour, drawn: BTreeSet::new(), out: String::new() }
    }

    fn draw(mut self) -> String {
        let roots = std::mem::take(&mut self.roots);
        self.siblings(&roots, None);
        // Two findings that name each other as cause have no root; they are shown all the same.
        let reachable = self.reachable(&roots);
        let rest: Vec<usize> = (0..self.findings.len()).filter(|at| !reachable.contains(at)).collect();
        for at in rest {
            if !self.drawn.contains(&at) {
                self.siblings(&[at], None);
            }
        }
        self.out
    }

    /// Everything below these, drawn or only counted.
    fn reachable(&self, roots: &[usize]) -> BTreeSet<usize> {
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        let mut open = roots.to_vec();
        while let Some(at) = open.pop() {
            if seen.insert(at)
                && let Some(below) = self.findings.get(at).and_then(|finding| self.children.get(&identity(finding)))
            {
                open.extend(below);
            }
        }
        seen
    }

    /// Draws findings that share a cause: the first of each class in full, at most [`ALIKE`] of a class.
    fn siblings(&mut self, siblings: &[usize], indent: Option<&str>) {
        let mut of_class: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        let mut order: Vec<Class> = Vec::new();
        for at in siblings {
            if let Some(finding) = self.findings.get(*at) {
                let alike = of_class.entry(finding.class).or_default();
                if alike.is_empty() {
                    order.push(finding.class);
                }
                alike.push(*at);
            }
        }
        for (place, class) in order.iter().enumerate() {
            let alike = of_class.remove(class).unwrap_or_default();
            let hidden = alike.len().saturating_sub(ALIKE);
            let shown = alike.len() - hidden;
            let mut helped = None;
            for (number, at) in alike.into_iter().take(shown).enumerate() {
                let last = place + 1 == order.len() && number + 1 == shown && hidden == 0;
                self.finding(at, indent, last, &mut helped);
            }
            if hidden > 0 {
                let last = place + 1 == order.len();
                let branch = indent.map(|indent| format!("{indent}{}", if last { "└─ " } else { "├─ " }));
                let _ = writeln!(
                    self.out,
                    "{}... and {hidden} more {class}; -o json lists all",
                    branch.unwrap_or_default()
                );
                if indent.is_none() {
                    self.out.push('\n');
                }
            }
        }
    }

    /// One finding and what hangs on it. `helped` holds what the one before it of its class said would help.
    fn finding(&mut self, at: usize, indent: Option<&str>, last: bool, helped: &mut Option<&'a str>) {
        let findings = self.findings;
        let Some(finding) = findings.get(at) else { return };
        if !self.drawn.insert(at) {
            return;
        }
        let below: Vec<usize> = self.children.get(&identity(finding)).cloned().unwrap_or_default();
        let (head, body) = match indent {
            None => (String::new(), String::new()),
            Some(indent) if last => (format!("{indent}└─ "), format!("{indent}   ")),
            Some(indent) => (format!("{indent}├─ "), format!("{indent}│  ")),
        };
        let _ = writeln!(self.out, "{head}{}", self.headline(finding));
        let rail = format!("{body}{}", if below.is_empty() { "  " } else { "│ " });
        self.labelled(&rail, "why", &finding.summary);
        if let Some(cause) = finding.cause.as_ref().filter(|_| indent.is_none()) {
            self.labelled(&rail, "cause", &cause.to_string());
        }
        // Said once for a run of the same: the tenth repetition hides the next class.
        if helped.replace(&finding.repair.text) != Some(&finding.repair.text) {
            self.labelled(&rail, "helps", &finding.repair.text);
            self.labelled(&rail, "docs", &finding.class.docs());
        }
        for risk in risks(finding) {
            self.labelled(&rail, "risk", risk);
        }
        self.siblings(&below, Some(&body));
        if indent.is_none() {
            self.out.push('\n');
        }
    }

    fn headline(&self, finding: &Finding) -> String {
        let class = paint(self.colour, class_colour(finding.class), finding.class.as_str());
        let unsure = if finding.unverified { "  (unverified)" } else { "" };
        format!("{class}  {}  {}{unsure}", finding.subject, age(finding.since, self.now))
    }

    fn labelled(&mut self, rail: &str, label: &str, text: &str) {
        labelled(&mut self.out, rail, label, text);
    }
}

/// A label and its text, wrapped under itself.
pub(super) fn labelled(out: &mut String, rail: &str, label: &str, text: &str) {
    let room = WIDTH.saturating_sub(rail.chars().count() + LABEL);
    for (number, line) in wrap(&one_line(text), room).iter().enumerate() {
        let label = if number == 0 { label } else { "" };
        let _ = writeln!(out, "{rail}{label:<LABEL$}{line}");
    }
}

/// What the repair puts at risk, in words.
pub(super) fn risks(finding: &Finding) -> impl Iterator<Item = &'static str> {
    let leaks = finding.leaks.then_some("the repair would leave a snapshot behind in the storage backend");
    let destroys = finding.destroys.then_some("the repair may destroy a backend snapshot that another cluster uses");
    leaks.into_iter().chain(destroys)
}

/// Breaks at spaces; a word longer than the room stays whole.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Red for what stays until somebody acts, yellow for what may end by itself or waits for another.
fn class_colour(class: Class) -> &'static str {
    if class.is_component() {
        "1;31"
    } else if class.severity() < Class::StillCreating.severity() {
        "31"
    } else {
        "33"
    }
}

pub(super) fn paint(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// An age as kubectl shows it: two units at most.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let total = now.as_second().saturating_sub(since.as_second()).max(0);
    let (days, hours, minutes, seconds) = (total / DAY, total / HOUR, total / MINUTE, total % MINUTE);
    let two = |big: i64, unit: char, small: i64, part: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{part}"),
    };
    match total {
        0..120 => format!("{total}s"),
        120..600 => two(minutes, 'm', seconds, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        _ => two(days / 365, 'y', days % 365, 'd'),
    }
}

/// Its list is complete, or known to be empty.
pub(super) fn is_known(source: &SourceView) -> bool {
    matches!(source.state, "Synced" | "NotInstalled")
}

/// Why a source could not be read, in words.
pub(super) fn blindness(source: &SourceView) -> String {
    let message = source.message.as_deref().map(|words| format!(": {}", one_line(words))).unwrap_or_default();
    match source.state {
        "Forbidden" => format!("{} is forbidden to us{message}", source.kind),
        "Failing" => format!("{} cannot be read{message}", source.kind),
        _ => format!("{} was not listed to its end in time{message}", source.kind),
    }
}

/// What could not be looked at; nothing when everything could.
pub(super) fn sources_block(sources: &[SourceView]) -> String {
    let mut out = String::new();
    for source in sources.iter().filter(|source| !is_known(source)) {
        labelled(&mut out, "", "blind", &blindness(source));
    }
    let absent: Vec<&str> =
        sources.iter().filter(|source| source.state == "NotInstalled").map(|source| source.kind).collect();
    if !absent.is_empty() {
        for line in wrap(&format!("Not installed: {}", absent.join(", ")), WIDTH) {
            let _ = writeln!(out, "{line}");
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The last line: what was found, or what was looked at in vain.
fn summary(state: &State) -> String {
    let objects =
        |kind: &str| state.sources.iter().find(|source| source.kind == kind).map_or(0, |source| source.objects);
    if state.findings.is_empty() {
        return format!(
            "No findings. {}, {}, {} looked at.",
            counted(objects("VolumeSnapshot"), "snapshot"),
            counted(objects("VolumeSnapshotContent"), "content"),
            counted(objects("CSIDriver"), "driver"),
        );
    }
    let mut counts: BTreeMap<usize, (Class, usize)> = BTreeMap::new();
    for finding in &state.findings {
        counts.entry(finding.class.severity()).or_insert((finding.class, 0)).1 += 1;
    }
    let classes: Vec<String> = counts.values().map(|(class, count)| format!("{count} {class}")).collect();
    format!("{}: {}", counted(state.findings.len() as u64, "finding"), classes.join(", "))
}

fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(super) mod tests;
