//! `volwarden retention plan`: what would go and what stays on the cluster as it is, and why.
//!
//! It is the daemon's own plan on the same lists, and it writes nothing. A snapshot that stays for another reason than
//! the counts is shown with that reason: whoever asks why the disk is full has to find the answer here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::super::{CliError, LookArgs, Outcome, Terminal, doctor, file, look, manifest, output};
use crate::app::AppError;
use crate::app::plan::Document;
use crate::app::prune::{self, Planned};
use crate::config::Settings;
use crate::domain::policy::Mode;
use crate::domain::prune::field::Cut;
use crate::domain::prune::part::Part;
use crate::domain::prune::plan::{Fate, Item, Object, Plan};
use crate::domain::prune::policy::Pruning;
use crate::domain::prune::relic::Detail;
use crate::domain::words;

/// Shown beneath the long help.
const EXAMPLES: &str = "\
Exit codes: 0 nothing would go, 1 something would, 2 could not tell.
It plans as the daemon would for a run that begins now, and writes nothing. A run deletes at most maxDeletionsPerRun of
what would go, the oldest first, and asks every guard again before each.";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    look: LookArgs,

    /// Plan with the SnapshotRetentions of this file instead of the cluster's; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Looks, plans, and says by its exit code whether anything would go.
pub(super) async fn plan(args: &PlanArgs, settings: &Settings) -> Result<Outcome, CliError> {
    let terminal = Terminal::new(args.look.no_color);
    let filed = args.file.as_deref().map(of_file).transpose().map_err(CliError::Usage)?;
    terminal.progress("connecting");
    let surveyor = prune::surveyor(settings, doctor::judge(settings)).await;
    terminal.progress("");
    let surveyor = surveyor?;
    let policies = match filed {
        Some(policies) => policies,
        None => surveyor.policies().await?,
    };
    look::observe(&surveyor.look, &args.look, terminal).await?;
    terminal.progress("listing snapshots");
    let planned = surveyor.plan(&policies).await;
    terminal.progress("");
    let (planned, at) = planned?.ok_or(AppError::EngineGone)?;
    let view = View::of(&planned, at);
    output::answer_as(args.look.output, &view, || table(&view))?;
    let goes = planned
        .plans
        .iter()
        .any(|(pruning, plan)| pruning.parts().any(|(part, _)| plan.going_of(part, &planned.field).next().is_some()));
    Ok(if goes { Outcome::Findings } else { Outcome::Clean })
}

fn of_file(path: &Path) -> Result<Vec<Pruning>, String> {
    let (name, text) = file::read(path, "YAML")?;
    let documents = manifest::documents(&text).map_err(|wrong| format!("{name}: {wrong}"))?;
    let placed = |one: manifest::Document| Document { place: format!("{name}, line {}", one.line), value: one.value };
    let documents: Vec<Document> = documents.into_iter().map(placed).collect();
    prune::of_file(&documents).map_err(|wrong| wrong.to_string().replace('\n', "; "))
}

// === For scripts ===

#[derive(Serialize)]
struct View {
    at: Timestamp,
    policies: Vec<PolicyView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyView {
    name: String,
    mode: &'static str,
    problems: Vec<String>,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    kept: usize,
    to_prune: usize,
    held: usize,
    reclaimable_bytes: u64,
    held_by: BTreeMap<&'static str, usize>,
    snapshots: Vec<SnapshotView>,
    cleanup: Vec<CleanupView>,
}

/// A part that cleans up.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CleanupView {
    part: &'static str,
    mode: &'static str,
    older_than: String,
    hash: String,
    to_prune: usize,
    held: usize,
    reclaimable_bytes: u64,
    held_by: BTreeMap<&'static str, usize>,
    objects: Vec<ObjectView>,
}

/// Something left over.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectView {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    uid: String,
    driver: Option<String>,
    /// What its age is measured from.
    since: Option<Timestamp>,
    restore_size: Option<u64>,
    /// `Held` or `Pruned`.
    fate: &'static str,
    /// What holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<&'static str>,
    /// The same in words.
    why: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotView {
    namespace: String,
    name: String,
    uid: String,
    claim: Option<String>,
    driver: Option<String>,
    taken: Option<Timestamp>,
    restore_size: Option<u64>,
    /// `Kept`, `Held` or `Pruned`.
    fate: &'static str,
    /// Why it is kept by the counts.
    reasons: Vec<String>,
    /// What holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<&'static str>,
    /// The same in words.
    why: String,
}

impl View {
    fn of(planned: &Planned, at: Timestamp) -> Self {
        let policy = |(pruning, plan): &(Pruning, Plan)| PolicyView::of(planned, pruning, plan);
        Self { at, policies: planned.plans.iter().map(policy).collect() }
    }
}

impl PolicyView {
    fn of(planned: &Planned, pruning: &Pruning, plan: &Plan) -> Self {
        let counts = plan.counts();
        let cuts = planned.field.cuts.iter().zip(&plan.fates).enumerate();
        let cuts = cuts.filter(|(at, (_, fate))| **fate != Fate::Outside && plan.part(*at) == Part::Snapshots);
        let mut shown: Vec<(&Cut, &Fate)> = cuts.map(|(_, one)| one).collect();
        shown.sort_by_key(|(cut, _)| (&cut.key.namespace, &cut.claim, std::cmp::Reverse(cut.taken), &cut.key.name));
        Self {
            name: pruning.name().to_string(),
            mode: pruning.mode().as_str(),
            problems: pruning.problems().to_vec(),
            hash: plan.hash(&planned.field, pruning).to_string(),
            refused: plan.refused.clone(),
            kept: counts.kept,
            to_prune: counts.going,
            held: counts.held,
            reclaimable_bytes: plan.reclaimable(&planned.field),
            held_by: plan.held_by().into_iter().map(|(hold, count)| (hold.as_str(), count)).collect(),
            snapshots: shown.into_iter().map(|(cut, fate)| SnapshotView::of(cut, fate)).collect(),
            cleanup: pruning
                .parts()
                .filter(|(part, _)| *part != Part::Snapshots)
                .map(|(part, mode)| CleanupView::of(planned, pruning, plan, (part, mode)))
                .collect(),
        }
    }
}

impl CleanupView {
    fn of(planned: &Planned, pruning: &Pruning, plan: &Plan, (part, mode): (Part, Mode)) -> Self {
        let field = &planned.field;
        let counts = plan.counts_of(part, field);
        let mut items: Vec<(Item, Fate)> = plan.of(part, field).collect();
        items.sort_by_key(|(item, _)| field.object(*item).map(|object| (object.thing(), object.since(), object.key())));
        let objects = items.into_iter().filter_map(|(item, fate)| Some(ObjectView::of(field.object(item)?, &fate)));
        Self {
            part: part.as_str(),
            mode: mode.as_str(),
            older_than: pruning.cleanup(part).map(|one| words::short(one.older_than)).unwrap_or_default(),
            hash: plan.hash_of(part, field, pruning).to_string(),
            to_prune: counts.going,
            held: counts.held,
            reclaimable_bytes: plan.reclaimable_of(part, field),
            held_by: plan.held_by_of(part, field).into_iter().map(|(hold, count)| (hold.as_str(), count)).collect(),
            objects: objects.collect(),
        }
    }
}

impl ObjectView {
    fn of(object: Object<'_>, fate: &Fate) -> Self {
        let (driver, last) = match object {
            Object::Cut(cut) => (cut.driver.as_deref(), false),
            Object::Relic(relic) => {
                let last = matches!(&relic.detail, Detail::Content(kept) if kept.last);
                (relic.driver.as_deref(), last)
            }
        };
        let (word, hold, why) = match fate {
            Fate::Held(hold) => ("Held", Some(hold.as_str()), hold.words().to_owned()),
            _ if last => ("Pruned", None, "old enough; the last copy of its volume".to_owned()),
            _ => ("Pruned", None, "old enough, and nothing holds it".to_owned()),
        };
        let key = object.key();
        Self {
            kind: object.thing().as_str(),
            namespace: Some(key.namespace.to_string()).filter(|name| !name.is_empty()),
            name: key.name.to_string(),
            uid: object.uid().to_string(),
            driver: driver.map(str::to_owned),
            since: object.since().map(Timestamp::from),
            restore_size: Some(object.size()).filter(|size| *size > 0),
            fate: word,
            hold,
            why,
        }
    }
}

impl SnapshotView {
    fn of(cut: &Cut, fate: &Fate) -> Self {
        let (word, reasons, hold, why) = match fate {
            Fate::Kept(reasons) => {
                let all: Vec<String> = reasons.iter().map(|reason| reason.to_string()).collect();
                let why = all.join(" ");
                ("Kept", all, None, why)
            }
            Fate::Held(hold) => ("Held", Vec::new(), Some(hold.as_str()), hold.words().to_owned()),
            Fate::Pruned | Fate::Outside => ("Pruned", Vec::new(), None, "no count keeps it".to_owned()),
        };
        Self {
            namespace: cut.key.namespace.to_string(),
            name: cut.key.name.to_string(),
            uid: cut.uid.to_string(),
            claim: cut.claim.as_deref().map(str::to_owned),
            driver: cut.driver.as_deref().map(str::to_owned),
            taken: cut.taken.map(Timestamp::from),
            restore_size: (cut.size > 0).then_some(cut.size),
            fate: word,
            reasons,
            hold,
            why,
        }
    }
}

// === For people ===

fn table(view: &View) -> String {
    let mut out = String::new();
    if view.policies.is_empty() {
        out.push_str("There is no SnapshotRetention in this cluster: nothing is pruned. Try one with -f FILE.\n");
    }
    for policy in &view.policies {
        head(policy, &mut out);
        let width = policy.snapshots.iter().map(|one| one.name.len()).max().unwrap_or_default();
        let mut group = None;
        for one in &policy.snapshots {
            let claim = (one.namespace.as_str(), one.claim.as_deref());
            if group.replace(claim) != Some(claim) {
                let _ = writeln!(out, "\n  {}/{}", claim.0, claim.1.unwrap_or("(without a claim)"));
            }
            let taken = one.taken.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string());
            let age = one.taken.map_or_else(String::new, |at| words::short(words::age(view.at, at)));
            let fate = match one.fate {
                "Pruned" => "goes".to_owned(),
                "Held" => format!("held   {}: {}", one.hold.unwrap_or_default(), one.why),
                _ => format!("kept   {}", one.why),
            };
            let _ = writeln!(out, "    {:width$}  {taken:16}  {age:>6}  {fate}", one.name);
        }
        for part in &policy.cleanup {
            cleanup(part, view.at, &mut out);
        }
        let _ = writeln!(out);
    }
    out
}

/// A part that cleans up, with all that it applies to.
fn cleanup(part: &CleanupView, now: Timestamp, out: &mut String) {
    let total = part.to_prune + part.held;
    let _ = writeln!(
        out,
        "\n  {}, mode {}, older than {}: of {} {} would go ({}), {} held",
        part.part,
        part.mode,
        part.older_than,
        words::count(total, "object"),
        part.to_prune,
        bytes(part.reclaimable_bytes),
        part.held
    );
    if part.to_prune > 0 {
        let _ = writeln!(out, "  Plan: {}", part.hash);
    }
    let shown = |one: &ObjectView| match &one.namespace {
        Some(namespace) => format!("{} {namespace}/{}", one.kind, one.name),
        None => format!("{} {}", one.kind, one.name),
    };
    let width = part.objects.iter().map(|one| shown(one).len()).max().unwrap_or_default();
    for one in &part.objects {
        let age = one.since.map_or_else(|| "-".to_owned(), |at| words::short(words::age(now, at)));
        let fate = match one.hold {
            Some(hold) => format!("held   {hold}: {}", one.why),
            None => format!("goes   {}", one.why),
        };
        let _ = writeln!(out, "    {:width$}  {age:>6}  {fate}", shown(one));
    }
}

fn head(policy: &PolicyView, out: &mut String) {
    let total = policy.kept + policy.to_prune + policy.held;
    let _ = writeln!(
        out,
        "SnapshotRetention {}, mode {}: of {} {} kept, {} would go ({}), {} held",
        policy.name,
        policy.mode,
        words::count(total, "VolumeSnapshot"),
        policy.kept,
        policy.to_prune,
        bytes(policy.reclaimable_bytes),
        policy.held
    );
    for problem in &policy.problems {
        let _ = writeln!(out, "  It only observes until this is mended: {problem}");
    }
    if let Some(why) = &policy.refused {
        let _ = writeln!(out, "  The whole plan is refused: {why}");
    }
    if !policy.held_by.is_empty() {
        let held: Vec<String> = policy.held_by.iter().map(|(hold, count)| format!("{hold} {count}")).collect();
        let _ = writeln!(out, "  Held by: {}", held.join(", "));
    }
    if policy.to_prune > 0 {
        let _ = writeln!(out, "  Plan: {}", policy.hash);
    }
}

/// Restore sizes, as kubectl writes them.
pub(in crate::cli) fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut shown, mut rest, mut unit) = (count, 0, 0);
    while shown >= 1024 && unit + 1 < units.len() {
        (shown, rest, unit) = (shown / 1024, shown % 1024, unit + 1);
    }
    let tenths = rest * 10 / 1024;
    let unit = units.get(unit).copied().unwrap_or_default();
    if tenths == 0 { format!("{shown} {unit}") } else { format!("{shown}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::domain::name::{Key, Stamp, Uid};
    use crate::domain::policy::Mode;
    use crate::domain::prune::field::{Field, Marks};
    use crate::domain::prune::plan::plan as make;
    use crate::domain::prune::policy::Rules;
    use crate::domain::retention::Policy;

    fn now() -> Timestamp {
        "2026-11-25T12:00:00Z".parse().unwrap()
    }

    fn planned() -> Planned {
        let cut = |name: &str, hours: i64, keep: bool| Cut {
            key: Key::namespaced("app", name),
            uid: Uid::parse(name),
            version: "1".into(),
            labels: std::sync::Arc::default(),
            class: None,
            driver: Some("d".into()),
            claim: Some("data".into()),
            volume: NonZeroU64::new(1),
            taken: Stamp::from_second(now().as_second() - hours * 3600),
            size: 3 << 29,
            marks: Marks { ready: true, bound: true, deletes: true, keep, ..Marks::default() },
            extra: None,
        };
        let cuts = vec![cut("db-1", 30, false), cut("db-2", 20, true), cut("db-3", 10, false)];
        let field = Field { cuts, ..Field::default() };
        let keep = Policy { latest: 1, ..Policy::default() };
        let pruning = Pruning::new("nightly", Rules { mode: Mode::Approve, keep, ..Rules::default() });
        let plan = make(&field, &pruning, &[], now());
        Planned { field, plans: vec![(pruning, plan)] }
    }

    #[test]
    fn each_snapshot_is_shown_with_its_fate_and_why() {
        let text = table(&View::of(&planned(), now()));
        let lines: Vec<&str> = text.lines().collect();
        let head = "SnapshotRetention nightly, mode Approve: of 3 VolumeSnapshots 1 kept, 1 would go (1.5 GiB), 1 held";
        assert_eq!(lines[0], head);
        assert_eq!(lines[1], "  Held by: Keep 1");
        assert!(lines[2].starts_with("  Plan: ") && lines[2].len() == 40);
        assert_eq!(
            lines[4..8],
            [
                "  app/data",
                "    db-3  2026-11-25 02:00     10h  kept   latest-1",
                "    db-2  2026-11-24 16:00     20h  held   Keep: it carries volwarden.dev/keep",
                "    db-1  2026-11-24 06:00     30h  goes",
            ]
        );
    }

    #[test]
    fn a_script_gets_the_same() {
        let json = serde_json::to_value(View::of(&planned(), now())).unwrap();
        let policy = &json["policies"][0];
        assert_eq!((&policy["toPrune"], &policy["heldBy"]["Keep"]), (&1.into(), &1.into()));
        let fates: Vec<&str> =
            policy["snapshots"].as_array().unwrap().iter().map(|one| one["fate"].as_str().unwrap()).collect();
        assert_eq!(fates, ["Kept", "Held", "Pruned"]);
        assert_eq!(policy["snapshots"][0]["reasons"][0], "latest-1");
    }

    #[test]
    fn sizes_are_written_as_people_read_them() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1 << 30, "1 GiB"), (3 << 29, "1.5 GiB"), (u64::MAX, "16383.9 PiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
