//! `volwarden demo`: a cluster in the process, incidents that unfold on it, and what the daemon says of them.
//!
//! What is told as found is the daemon's own word. The exit code is its mark: 0 only if it named every incident
//! that began.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::output::{self, Terminal};
use super::{CliError, Outcome, not_empty, table};
use crate::app::demo::{Event, Incident, Outcome as Ending, Play, Summary, Told, sample};
use crate::app::{self, kopia};
use crate::domain::finding::{Class, Finding};
use crate::domain::kopia::Standing;
use crate::domain::words;

#[derive(Args, Clone, Debug)]
pub(super) struct DemoArgs {
    /// Only these incidents, in this order [default: all, one after another]
    #[arg(long, value_name = "NAME", value_parser = incident, value_delimiter = ',')]
    scenario: Vec<Chosen>,

    /// Print the incidents and the findings they are worth
    #[arg(long)]
    list: bool,

    /// The same seed makes the same cluster
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// How many times faster than real time the cluster runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=600))]
    speed: u32,

    /// Run for so long, in real time [default: until every incident is told]
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::config::parse_duration)]
    lasts: Option<Duration>,

    /// Line by line, without colours and progress
    #[arg(long)]
    headless: bool,

    /// Show this kopia repository at the end: what `kopia repository connect --config-file=FILE` wrote. It is only read
    /// [default: a small one that comes with the demo]
    #[arg(long, value_name = "FILE")]
    kopia_config: Option<PathBuf>,

    /// How the story is told: table, or json with one document a line
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    output: Form,

    /// No colours, even on a terminal (the variable counts when it is not empty)
    #[arg(long, env = "NO_COLOR", hide_env_values = true, value_parser = not_empty)]
    no_color: bool,
}

/// How the story is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// For scripts
    Json,
}

/// An incident by its name.
#[derive(Clone, Copy)]
struct Chosen(&'static Incident);

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

fn incident(name: &str) -> Result<Chosen, String> {
    let names = || Incident::ALL.map(|incident| incident.name).join(", ");
    Incident::named(name).map(Chosen).ok_or_else(|| format!("no such incident; there are {}", names()))
}

/// Plays, and says by the exit code whether everything was found.
pub(super) fn demo(args: &DemoArgs, runtime: &Runtime) -> Result<Outcome, CliError> {
    if args.list {
        output::answer(&list())?;
        return Ok(Outcome::Clean);
    }
    let chosen: Vec<&'static Incident> = args.scenario.iter().map(|chosen| chosen.0).collect();
    let incidents = if chosen.is_empty() { Incident::ALL.to_vec() } else { chosen };
    let play = Play { seed: args.seed, speed: args.speed, lasts: args.lasts, incidents };
    let mut teller = Teller::new(args, &play);
    let stop = app::stop_signal()?;
    let summary = runtime.block_on(app::demo::demo(&play, stop.clone(), |told| teller.tell(&told)))?;
    teller.terminal.progress("asking kopia ...");
    let shown = runtime.block_on(repository(args.kopia_config.as_deref(), stop));
    teller.repository(&shown)?;
    teller.end(&summary)?;
    if summary.found().1 == 0 {
        output::complain(&"there was no time for any incident; give more with --for, or a higher --speed");
    }
    Ok(mark(&summary))
}

/// The kopia repository that is shown, or why none is.
enum Shown {
    Skipped(String),
    /// That of somebody who named it.
    Named(Box<Standing>),
    /// That of the demo.
    Brought(Box<Standing>),
}

/// The program, as it is found on the PATH.
const KOPIA: &str = "kopia";
/// How long one answer of kopia may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at the repository that somebody names, else at the demo's own. That one was made long ago: what cannot be run
/// cannot be run by mistake, so no command of ours makes a repository.
async fn repository(config: Option<&Path>, mut stop: watch::Receiver<bool>) -> Shown {
    if !kopia::on_path(KOPIA) {
        return Shown::Skipped("skipped, because kopia is not on the PATH".to_owned());
    }
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Shown::Skipped("skipped, because the demo was ended".to_owned()),
        shown = async {
            match config {
                Some(config) => named(config).await,
                None => sample::look(Path::new(KOPIA), PATIENCE).await.map(|standing| Shown::Brought(Box::new(standing))),
            }
        } => shown.unwrap_or_else(|why| Shown::Skipped(format!("skipped: {why}"))),
    }
}

async fn named(config: &Path) -> Result<Shown, String> {
    let access = kopia::Access {
        config: config.to_owned(),
        password_file: None,
        host: None,
        program: KOPIA.into(),
        timeout: PATIENCE,
    };
    let standing = kopia::status(&access).await.map_err(|error| error.to_string())?;
    Ok(Shown::Named(Box::new(standing)))
}

fn mark(summary: &Summary) -> Outcome {
    match summary.found() {
        (_, 0) => Outcome::Unknown,
        (found, begun) if found == begun => Outcome::Clean,
        _ => Outcome::Findings,
    }
}

fn list() -> String {
    let mut out = String::new();
    for (number, incident) in (1..).zip(Incident::ALL) {
        let worth: Vec<&str> = incident.expects().map(Class::as_str).collect();
        let _ = writeln!(out, "{number:>2}  {:<20}  {}", incident.name, incident.about);
        let _ = writeln!(out, "    {:<20}  worth: {}", "", worth.join(", "));
    }
    out
}

/// Tells the story.
struct Teller {
    form: Form,
    terminal: Terminal,
    began: tokio::time::Instant,
    seed: u64,
    speed: u32,
    /// The minute that the progress line shows.
    minute: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a Event,
    real_seconds: f64,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "started", rename_all = "camelCase")]
struct Started<'a> {
    kubeconfig: &'a Path,
    seed: u64,
    speed: u32,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "kopia", rename_all = "camelCase")]
struct Repository<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<&'a Standing>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct End<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    real_seconds: f64,
}

impl Teller {
    fn new(args: &DemoArgs, play: &Play) -> Self {
        let mut terminal = Terminal::new(args.no_color || args.headless);
        terminal.progress &= !args.headless;
        let began = tokio::time::Instant::now();
        Self { form: args.output, terminal, began, seed: play.seed, speed: play.speed, minute: 0 }
    }

    fn tell(&mut self, told: &Told<'_>) -> Result<(), CliError> {
        match (told, self.form) {
            (Told::Passed(at), _) => self.passed(*at),
            (Told::Started(kubeconfig), Form::Json) => {
                json_line(&Started { kubeconfig, seed: self.seed, speed: self.speed })?;
            }
            (Told::Started(kubeconfig), Form::Table) => output::answer(&self.started(kubeconfig))?,
            (Told::Happened(event, real), Form::Json) => {
                json_line(&Line { event, real_seconds: rounded(*real) })?;
            }
            (Told::Happened(event, real), Form::Table) => {
                self.terminal.progress("");
                output::answer(&self.happened(event, *real))?;
            }
        }
        Ok(())
    }

    fn passed(&mut self, at: Timestamp) {
        let minute = at.as_second() / 60;
        if minute != self.minute {
            self.minute = minute;
            self.terminal.progress(&format!("{}  watching", at.strftime("%H:%M:%S")));
        }
    }

    fn started(&self, kubeconfig: &Path) -> String {
        let path = kubeconfig.display();
        format!(
            "A home cluster runs in this process, {} times faster than real time: Rook's Ceph, snapshot-controller,\n\
             VolSync, and apps that are backed up each hour. Things will break. Volwarden watches, under a policy that lets\n\
             it repair.\n\n  \
             kubectl --kubeconfig {path} get volumesnapshots -A\n  \
             kubectl --kubeconfig {path} get remediations\n\n",
            self.speed
        )
    }

    fn happened(&self, event: &Event, real: Duration) -> String {
        let mut out = String::new();
        let (at, code, mark) = match event {
            Event::Broke { at, .. } => (at, "33", "broke"),
            Event::Mended { at, .. } => (at, "36", "mended"),
            Event::Found { at, .. } => (at, "31", "found"),
            Event::Repair { at, .. } => (at, "35", "repair"),
            Event::Cleared { at, .. } => (at, "32", "cleared"),
        };
        let mark = table::paint(self.terminal.colour, code, &format!("{mark:<7}"));
        let _ = write!(out, "{}  {:>6.1}s  {mark}  ", at.strftime("%H:%M:%S"), real.as_secs_f64());
        match event {
            Event::Broke { incident, words, .. } | Event::Mended { incident, words, .. } => {
                let _ = writeln!(out, "{incident}: {words}");
            }
            Event::Found { after_seconds, finding, .. } => found(&mut out, finding, *after_seconds),
            Event::Repair { class, subject, phase, message, .. } => {
                let _ = writeln!(out, "{phase}: {class} {subject}");
                table::labelled(&mut out, INDENT, "", message);
            }
            Event::Cleared { class, subject, .. } => {
                let _ = writeln!(out, "{class} {subject}");
            }
        }
        out
    }

    fn repository(&self, shown: &Shown) -> Result<(), CliError> {
        self.terminal.progress("");
        if matches!(self.form, Form::Json) {
            let (skipped, standing) = match shown {
                Shown::Skipped(why) => (Some(why.as_str()), None),
                Shown::Named(standing) | Shown::Brought(standing) => (None, Some(&**standing)),
            };
            return json_line(&Repository { skipped, standing });
        }
        output::answer(&match shown {
            Shown::Skipped(why) => format!("\nKopia repository: {why}\n"),
            Shown::Named(standing) => {
                format!("\nKopia repository, as volwarden kopia status shows it:\n{}", super::kopia::shown(standing))
            }
            Shown::Brought(standing) => format!(
                "\nKopia repository that comes with the demo, as volwarden kopia status shows it. Kopia made it on {}, and\n\
                 nothing was backed up to it or maintained there since: its ages are true. It is only read:\n{}",
                sample::made(),
                super::kopia::shown(standing)
            ),
        })
    }

    fn end(&self, summary: &Summary) -> Result<(), CliError> {
        self.terminal.progress("");
        let real = self.began.elapsed();
        match self.form {
            Form::Json => json_line(&End { summary, real_seconds: rounded(real) }),
            Form::Table => output::answer(&ending(summary, real)),
        }
    }
}

/// What is told beneath an event.
const INDENT: &str = "                            ";

/// What hangs on a cause says so in one line: the cause has been told in full.
fn found(out: &mut String, finding: &Finding, after: Option<u64>) {
    let after = after.map(|seconds| format!("  ({} after it broke)", duration(seconds))).unwrap_or_default();
    let _ = writeln!(out, "{} {}{after}", finding.class, finding.subject);
    if let Some(cause) = &finding.cause {
        let _ = writeln!(out, "{INDENT}because of {cause}");
        return;
    }
    table::labelled(out, INDENT, "why", &finding.summary);
    table::labelled(out, INDENT, "", &format!("would help: {}", finding.repair.text));
}

fn ending(summary: &Summary, real: Duration) -> String {
    let mut out = String::from("\nTHE END\n");
    for one in &summary.incidents {
        let _ = writeln!(out, "  {:<20}  {}", one.name, went(one));
    }
    let totals: Vec<String> = summary.findings.iter().map(|(class, times)| format!("{class} {times}")).collect();
    let pool = summary.pool;
    let _ = writeln!(out, "\nFindings: {}; {} stand at the end.", totals.join(", "), summary.standing);
    let _ = writeln!(
        out,
        "The driver's own pool: {} snapshots, {} leaked, {} lost.",
        pool.snapshots, pool.leaked, pool.lost
    );
    let (found, begun) = summary.found();
    let _ = writeln!(
        out,
        "{found} of {begun} incidents found, in {} of the cluster's time and {:.0} s of ours.\n{}",
        duration(summary.virtual_seconds),
        real.as_secs_f64(),
        healed(summary)
    );
    out
}

fn healed(summary: &Summary) -> String {
    let tried: Vec<bool> = summary.incidents.iter().filter_map(|one| one.healed).collect();
    let healed = tried.iter().filter(|healed| **healed).count();
    format!("{healed} of {} were healed by Volwarden; the others were mended by hand, as the manual says.", tried.len())
}

fn went(one: &Ending) -> String {
    if !one.begun {
        return "not begun: no time was left for it".to_owned();
    }
    let classes = one.expected.iter().map(|class| match one.found.get(class) {
        Some(seconds) => format!("{class} after {}", duration(*seconds)),
        None => format!("{class} NOT FOUND"),
    });
    let cleared = match one.cleared {
        Some(true) if one.healed == Some(true) => "healed by Volwarden",
        Some(_) if one.healed == Some(false) => "NOT HEALED by Volwarden, and mended by hand",
        Some(true) => "mended, and cleared",
        Some(false) => "mended, and NOT CLEARED",
        None => "left as it is",
    };
    format!("{}; {cleared}", classes.collect::<Vec<_>>().join(", "))
}

fn duration(seconds: u64) -> String {
    words::short(Duration::from_secs(seconds))
}

fn json_line(value: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    output::answer(&text)
}

fn rounded(real: Duration) -> f64 {
    (real.as_secs_f64() * 1000.0).round() / 1000.0
}
