//! The plan for a person: a time line with a row a reason, then each snapshot with why it stays.
//!
//! Whether a policy is the right one is seen at a glance on the line (where is the gap?) and checked in the list.
//! Neither hides anything that goes: a run of them is one line with its ends and its number.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::output::one_line;
use super::super::table::{paint, wrap};
use super::Planned;
use crate::domain::retention::{Calendar, Period, Reason, Reasons, Snapshot};

/// Columns of the rows' names, with what stands before and after them.
const LABEL: usize = 13;
/// Columns of the numbers behind a row, such as `  7 of 7`.
const TALLY: usize = 16;
/// Lines of one case's list; what is beyond is counted.
const LINES: usize = 200;

const GREEN: &str = "32";
const RED: &str = "31";
const DIM: &str = "2";

/// The whole report.
pub(super) fn report(planned: &[Planned], width: usize, colour: bool) -> String {
    let mut out = String::new();
    for (at, case) in planned.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if planned.len() > 1 {
            let _ = write!(out, "case {} of {}", at + 1, planned.len());
            let name = case.case.name.as_deref().map(|name| format!(", {}", one_line(name))).unwrap_or_default();
            let _ = writeln!(out, "{name}");
        }
        Picture::new(case, width, colour).draw(&mut out);
    }
    if planned.len() != 1 {
        let all: usize = planned.iter().map(|case| case.plan.len()).sum();
        let kept: usize = planned.iter().map(|case| kept(&case.plan)).sum();
        let gap = if planned.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{} cases: {}", planned.len(), tally(all, kept));
    }
    out
}

fn kept(plan: &[Reasons]) -> usize {
    plan.iter().filter(|reasons| reasons.kept()).count()
}

fn tally(all: usize, kept: usize) -> String {
    let s = if all == 1 { "" } else { "s" };
    format!("{all} snapshot{s}, {kept} kept, {} pruned", all - kept)
}

/// One case.
struct Picture<'a> {
    case: &'a Planned,
    /// Newest first.
    items: Vec<Item<'a>>,
    width: usize,
    colour: bool,
}

struct Item<'a> {
    snapshot: Snapshot,
    reasons: &'a Reasons,
}

impl<'a> Picture<'a> {
    fn new(case: &'a Planned, width: usize, colour: bool) -> Self {
        let entries = case.case.snapshots.iter().zip(&case.plan);
        let mut items: Vec<Item<'a>> =
            entries.map(|(entry, reasons)| Item { snapshot: entry.snapshot, reasons }).collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.snapshot.time));
        Self { case, items, width, colour }
    }

    fn draw(&self, out: &mut String) {
        let _ = writeln!(out, "{}", tally(self.items.len(), kept(&self.case.plan)));
        self.labelled(out, "policy", &self.policy());
        self.labelled(out, "calendar", &self.calendar());
        if let (Some(newest), Some(oldest)) = (self.items.first(), self.items.last()) {
            out.push('\n');
            self.time_line(out, oldest.snapshot.time, newest.snapshot.time);
            out.push('\n');
            self.list(out);
        }
    }

    fn labelled(&self, out: &mut String, label: &str, text: &str) {
        for (number, line) in wrap(text, self.width.saturating_sub(LABEL)).iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let _ = writeln!(out, "  {label:<11}{line}");
        }
    }

    fn policy(&self) -> String {
        let policy = &self.case.retention.policy;
        if policy.keeps_all() {
            return "none, which keeps everything".to_owned();
        }
        let counts = Period::ALL.into_iter().map(|period| (period, policy.count(period)));
        let words: Vec<String> =
            counts.filter(|(_, count)| *count > 0).map(|(period, count)| format!("{period} {count}")).collect();
        words.join(", ")
    }

    fn calendar(&self) -> String {
        let zone = &self.case.retention.zone;
        let name = zone_name(zone);
        match self.case.retention.calendar {
            Calendar::Strict => format!("strict, {name}"),
            Calendar::Kopia if *zone == TimeZone::UTC => "kopia, UTC".to_owned(),
            Calendar::Kopia => format!("kopia, weeks and cutoffs in {name}, the rest in UTC"),
        }
    }

    /// A row for all, for each reason that is there, and for what goes.
    fn time_line(&self, out: &mut String, oldest: Timestamp, newest: Timestamp) {
        let scale = Scale::new(oldest, newest, self.width.saturating_sub(LABEL + TALLY).max(2));
        let row = |label: &str, mark: char, code: &str, tally: &str, belongs: &dyn Fn(&Item<'_>) -> bool| {
            let mut cells = vec![' '; scale.columns];
            for item in self.items.iter().filter(|item| belongs(item)) {
                if let Some(cell) = cells.get_mut(scale.column(item.snapshot.time)) {
                    *cell = mark;
                }
            }
            let cells: String = cells.into_iter().collect();
            let line = format!("  {label:<11}{}  {tally}", paint(self.colour, code, &cells));
            line.trim_end().to_owned()
        };
        let count = |belongs: &dyn Fn(&Item<'_>) -> bool| self.items.iter().filter(|item| belongs(item)).count();
        let mut rows = vec![row("all", '|', DIM, &self.items.len().to_string(), &|_| true)];
        let is_incomplete = |item: &Item<'_>| item.reasons.iter().any(|reason| reason == Reason::Incomplete);
        if count(&is_incomplete) > 0 {
            rows.push(row("incomplete", '○', GREEN, &count(&is_incomplete).to_string(), &is_incomplete));
        }
        for period in Period::ALL {
            let belongs = |item: &Item<'_>| item.reasons.number(period).is_some();
            let (there, wanted) = (count(&belongs), self.case.retention.policy.count(period));
            if wanted > 0 {
                rows.push(row(period.as_str(), '●', GREEN, &format!("{there} of {wanted}"), &belongs));
            } else if there > 0 {
                rows.push(row(period.as_str(), '●', GREEN, &there.to_string(), &belongs));
            }
        }
        let goes = |item: &Item<'_>| !item.reasons.kept();
        if count(&goes) > 0 {
            rows.push(row("pruned", '×', RED, &count(&goes).to_string(), &goes));
        }
        let _ = writeln!(out, "{}", self.axis(&scale, oldest, newest));
        for row in rows {
            let _ = writeln!(out, "{row}");
        }
    }

    /// The dates of both ends, with the time of day where that is all the difference.
    fn axis(&self, scale: &Scale, oldest: Timestamp, newest: Timestamp) -> String {
        let civil = |time: Timestamp| self.case.retention.zone.to_datetime(time);
        let one_day = civil(oldest).date() == civil(newest).date();
        let format = if one_day { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d" };
        let end = |time: Timestamp| civil(time).strftime(format).to_string();
        let (left, right) = (end(oldest), end(newest));
        let room = scale.columns.saturating_sub(left.len());
        let indent = " ".repeat(LABEL);
        if left == right {
            format!("{indent}{left}")
        } else if room > right.len() {
            format!("{indent}{left}{right:>room$}")
        } else {
            format!("  from       {left}\n  to         {right}")
        }
    }

    /// Newest first: each that stays with its reasons, and what goes between two of them on one line.
    fn list(&self, out: &mut String) {
        let mut lines = Vec::new();
        for run in self.items.chunk_by(|one, other| !one.reasons.kept() && !other.reasons.kept()) {
            let (Some(newest), Some(oldest)) = (run.first(), run.last()) else { continue };
            if newest.reasons.kept() {
                let head = format!("{}  ", self.stamp(newest.snapshot.time));
                self.row(&mut lines, ("keep", GREEN), &head, &newest.reasons.to_string());
                continue;
            }
            let mut text = self.stamp(newest.snapshot.time);
            let incomplete = run.iter().filter(|item| item.snapshot.incomplete).count();
            if run.len() > 1 {
                let _ = write!(text, " to {}, {} snapshots", self.stamp(oldest.snapshot.time), run.len());
            }
            match incomplete {
                0 => {}
                all if all == run.len() => text.push_str(", incomplete"),
                some => drop(write!(text, ", of which {some} incomplete")),
            }
            self.row(&mut lines, ("prune", RED), "", &text);
        }
        let hidden = lines.len().saturating_sub(LINES);
        for line in lines.iter().take(LINES) {
            let _ = writeln!(out, "{line}");
        }
        if hidden > 0 {
            let _ = writeln!(out, "  ... and {hidden} more lines; -o json lists every snapshot");
        }
    }

    /// A label, what stands at its side, and a text that is wrapped beneath itself.
    fn row(&self, lines: &mut Vec<String>, (label, code): (&str, &str), head: &str, text: &str) {
        const WIDEST: usize = "prune".len();
        let indent = WIDEST + 4 + head.len();
        let pad = " ".repeat(WIDEST.saturating_sub(label.len()));
        for (number, part) in wrap(text, self.width.saturating_sub(indent)).iter().enumerate() {
            lines.push(match number {
                0 => format!("  {}{pad}  {head}{part}", paint(self.colour, code, label)),
                _ => format!("{}{part}", " ".repeat(indent)),
            });
        }
    }

    fn stamp(&self, time: Timestamp) -> String {
        self.case.retention.zone.to_datetime(time).strftime("%a %Y-%m-%d %H:%M:%S").to_string()
    }
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("a time zone without a name").to_owned()
}

/// From the oldest in the first column to the newest in the last.
struct Scale {
    oldest: Timestamp,
    span: i128,
    columns: usize,
}

impl Scale {
    fn new(oldest: Timestamp, newest: Timestamp, columns: usize) -> Self {
        Self { oldest, span: newest.as_nanosecond() - oldest.as_nanosecond(), columns }
    }

    fn column(&self, time: Timestamp) -> usize {
        let last = i128::try_from(self.columns.saturating_sub(1)).unwrap_or(0);
        let passed = time.as_nanosecond() - self.oldest.as_nanosecond();
        let column = (passed * last + self.span / 2).checked_div(self.span).unwrap_or(0);
        usize::try_from(column).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide;
    use super::super::input;
    use super::*;

    fn drawn(text: &str, width: usize) -> String {
        let cases = input::parse("here", text).unwrap().cases;
        let planned: Vec<Planned> = cases.into_iter().map(|case| decide(case, Calendar::Kopia, None)).collect();
        report(&planned, width, false)
    }

    fn daily(count: usize, policy: &str) -> String {
        let first: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let snapshots: Vec<String> = (0..count)
            .map(|day| {
                format!(
                    "{{\"start\":\"{}\"}}",
                    first + jiff::SignedDuration::from_hours(24) * i32::try_from(day).unwrap()
                )
            })
            .collect();
        format!("{{\"policy\":{policy},\"snapshots\":[{}]}}", snapshots.join(","))
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let policy = r#"{"latest":2,"hourly":24,"daily":7,"weekly":4,"monthly":12,"annual":3}"#;
        for width in [48, 60, 100, 200] {
            for line in drawn(&daily(90, policy), width).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_time_line_are_the_first_and_the_last_snapshot() {
        let out = drawn(&daily(40, r#"{"daily":3}"#), 80);
        let all = out.lines().find(|line| line.starts_with("  all")).unwrap();
        let cells: String = all.chars().skip(LABEL).take(80 - LABEL - TALLY).collect();
        assert!(cells.starts_with('|') && cells.ends_with('|'), "{all}");
        assert!(out.contains("             2026-01-01                               2026-02-09\n"), "{out}");
        assert!(out.contains("● ●●  3 of 3\n"), "{out}");
    }

    #[test]
    fn one_snapshot_and_none() {
        let out = drawn(&daily(1, "{}"), 80);
        assert!(out.starts_with("1 snapshot, 1 kept, 0 pruned\n  policy     none, which keeps everything\n"), "{out}");
        assert!(out.contains("             2026-01-01 00:00:00\n  all        |"), "{out}");
        assert!(out.ends_with("  keep   Thu 2026-01-01 00:00:00  latest-1\n"), "{out}");
        assert!(drawn(&daily(0, "{}"), 80).ends_with("  calendar   kopia, UTC\n"));
    }

    #[test]
    fn a_list_without_end_is_counted() {
        let out = drawn(&daily(450, "{}"), 80);
        assert!(out.ends_with("  ... and 250 more lines; -o json lists every snapshot\n"), "{out}");
    }

    #[test]
    fn incomplete_ones_are_marked() {
        let out = drawn(
            r#"{"policy":{"latest":1},"tz":"Europe/Berlin","snapshots":[
                {"start":"2026-05-20T12:00:00Z","incomplete":true},{"start":"2026-05-20T11:00:00Z"},
                {"start":"2026-05-20T10:00:00Z","incomplete":true}]}"#,
            80,
        );
        assert!(out.contains("  incomplete                                                   ○  1\n"), "{out}");
        let ends = "             2026-05-20 12:00:00             2026-05-20 14:00:00\n";
        assert!(out.contains(ends), "{out}");
        assert!(out.contains("  calendar   kopia, weeks and cutoffs in Europe/Berlin, the rest in UTC\n"), "{out}");
        assert!(out.contains("  keep   Wed 2026-05-20 14:00:00  incomplete\n"), "{out}");
        assert!(out.contains("  prune  Wed 2026-05-20 12:00:00, incomplete\n"), "{out}");
    }
}
