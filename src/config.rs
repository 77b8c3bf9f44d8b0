//! Settings: from a flag, else the environment, else the settings file, else a default.
//!
//! Everything a person can set is here and shown by `--help`. A wrong value ends the program with one line
//! that names where it stands and what to write instead: a daemon that guesses a setting watches the wrong
//! thing for weeks. Pure over strings but for reading the one file.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_saphyr::Spanned;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Where `run` listens unless told otherwise: every address, as a pod's probes and scrapes need it.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// A floor above this would hide everything that is stuck today.
const MAX_FLOOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long one request with traces may take, as the standard says.
const TRACES_TIMEOUT: Duration = Duration::from_secs(10);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON
    #[default]
    Auto,
    /// One JSON object a line
    Json,
    /// For people
    Pretty,
}

/// The settings every command takes. All are optional here: what is absent falls through to the file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings (a flag wins over the environment, the environment over the file)")]
pub struct Flags {
    /// Settings file in YAML; its keys are the names of these flags, such as `min-floor: 10m`
    #[arg(long, env = "VOLWARDEN_CONFIG", hide_env_values = true, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Kubeconfig file [default: KUBECONFIG, then ~/.kube/config, then the pod's service account]
    #[arg(long, env = "VOLWARDEN_KUBECONFIG", hide_env_values = true, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current context]
    #[arg(long, env = "VOLWARDEN_CONTEXT", hide_env_values = true, value_name = "NAME", global = true)]
    pub context: Option<String>,

    /// Call nothing stuck before it is at least this old; can only raise what the sidecars' own arguments give
    /// [default: 0s]
    #[arg(long, env = "VOLWARDEN_MIN_FLOOR", hide_env_values = true, value_name = "DURATION",
          value_parser = parse_floor, global = true)]
    pub min_floor: Option<Duration>,

    /// How log lines look: auto (pretty on a terminal, else JSON), json or pretty [default: auto]
    #[arg(
        long,
        env = "VOLWARDEN_LOG_FORMAT",
        hide_env_values = true,
        hide_possible_values = true,
        value_name = "FORMAT",
        value_enum,
        global = true
    )]
    pub log_format: Option<LogFormat>,

    /// What is logged to stderr: off, error, warn, info, debug or trace, or by module, such as
    /// `info,kube=debug` [default: info for run, else off]
    #[arg(long, env = "VOLWARDEN_LOG_LEVEL", hide_env_values = true, value_name = "LEVEL",
          value_parser = parse_level, global = true)]
    pub log_level: Option<Targets>,
}

/// The settings only `run` takes.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// Address for /metrics, /healthz, /readyz and /api/v1/state [default: 0.0.0.0:8080]
    #[arg(long, env = "VOLWARDEN_LISTEN", hide_env_values = true, value_name = "ADDRESS",
          value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,

    /// Namespace of the Lease `volwarden`, by which one replica leads
    /// [default: the pod's own, or that of the kubeconfig's context]
    #[arg(long, env = "VOLWARDEN_LEASE_NAMESPACE", hide_env_values = true, value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Whether repairs are told as Kubernetes Events; --events=false turns them off [default: true]
    #[arg(long, env = "VOLWARDEN_EVENTS", hide_env_values = true, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub events: Option<bool>,

    /// Repair and prune nothing while the admission policies of deploy/base are not seen to stand around this account;
    /// without it their absence is only told [default: false]
    #[arg(long, env = "VOLWARDEN_REQUIRE_FENCE", hide_env_values = true, value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub require_fence: Option<bool>,

    /// Image of the Jobs that look after kopia repositories: ours, with kopia in it
    /// [default: that of the pod it runs in]
    #[arg(long, env = "VOLWARDEN_JOB_IMAGE", hide_env_values = true, value_name = "IMAGE")]
    pub job_image: Option<String>,
}

/// Where traces of episodes go: nowhere, unless the standard variables of OpenTelemetry say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Traces {
    /// Nowhere.
    #[default]
    Off,
    /// The variables ask for something that is not there: this, in words.
    Refused(String),
    /// To this address.
    To {
        /// The whole address, path included.
        endpoint: String,
        /// How long one request may take.
        timeout: Duration,
    },
}

impl Traces {
    /// What the variables say; of an endpoint only its variable is ever named, as there may be a password in it.
    fn of(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        // What is for traces alone wins.
        let either = |what: &str| {
            let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
            names.into_iter().find_map(|name| var(&name).map(|value| (name, value)))
        };
        if var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::Off;
        }
        let Some((name, mut endpoint)) = either("ENDPOINT") else { return Self::Off };
        match var("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Self::Off,
            Some(other) => {
                return Self::Refused(format!("OTEL_TRACES_EXPORTER is {other:?}; set it to otlp or none"));
            }
        }
        if !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            return Self::Refused(format!("{name} is no http address; write http://HOST:4318 or https://HOST:4318"));
        }
        if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
            endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        }
        if let Some((name, other)) = either("PROTOCOL").filter(|(_, value)| value != "http/protobuf") {
            return Self::Refused(format!(
                "{name} is {other:?}, and only http/protobuf is spoken; set it so, with the receiver's port for HTTP (4318)"
            ));
        }
        match either("TIMEOUT").map(|(name, value)| (name, value.parse::<u64>())) {
            None => Self::To { endpoint, timeout: TRACES_TIMEOUT },
            Some((_, Ok(millis))) if millis > 0 => Self::To { endpoint, timeout: Duration::from_millis(millis) },
            Some((name, _)) => Self::Refused(format!("{name} is no number of milliseconds; write such as 10000")),
        }
    }
}

/// Settings after every source has been asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where `run` listens.
    pub listen: SocketAddr,
    /// Namespace of our own Lease, where one is named.
    pub lease_namespace: Option<String>,
    /// Whether repairs are told as Events.
    pub events: bool,
    /// Nothing is repaired or pruned while the fence is not seen to stand.
    pub require_fence: bool,
    /// Image of the Jobs that look after kopia repositories, where one is named.
    pub job_image: Option<String>,
    /// Where traces of episodes go.
    pub traces: Traces,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged; each command has its own default.
    pub log_level: Option<Targets>,
    /// Raises every floor to at least this.
    pub min_floor: Duration,
    /// Kubeconfig, where one is named.
    pub kubeconfig: Option<PathBuf>,
    /// Context, where one is named.
    pub context: Option<String>,
}

/// A setting that cannot be used. Each text is one line: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings file {path}: {source}; name another with --config or VOLWARDEN_CONFIG")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file's text is wrong.
    #[error("settings file {path}, {problem}")]
    File {
        /// The file.
        path: String,
        /// Where in it and what.
        problem: FileProblem,
    },
}

/// What is wrong in the text of a settings file, and in which line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct FileProblem {
    line: u64,
    text: String,
}

impl Settings {
    /// Reads the file that the flags or the environment name, and puts everything together.
    ///
    /// # Errors
    /// When the file cannot be read or a key or value in it cannot be used.
    pub fn load(flags: &Flags, run: &RunFlags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            None => FileSettings::default(),
            Some(path) => read_file(path)?,
        };
        Ok(Self { traces: Traces::of(variable), ..Self::resolve(flags, run, file) })
    }

    /// Flag or environment (clap has put these two together) over file over default.
    fn resolve(flags: &Flags, run: &RunFlags, file: FileSettings) -> Self {
        Self {
            listen: run.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            lease_namespace: run.lease_namespace.clone().or(file.lease_namespace),
            events: run.events.or(file.events).unwrap_or(true),
            require_fence: run.require_fence.or(file.require_fence).unwrap_or(false),
            job_image: run.job_image.clone().or(file.job_image),
            traces: Traces::Off,
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            log_level: flags.log_level.clone().or(file.log_level),
            min_floor: flags.min_floor.or(file.min_floor).unwrap_or_default(),
            kubeconfig: flags.kubeconfig.clone().or(file.kubeconfig),
            context: flags.context.clone().or(file.context),
        }
    }
}

/// One variable that has no flag.
#[expect(
    clippy::disallowed_methods,
    reason = "the standard's variables, which clap knows nothing of, are read here alone"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The keys a settings file may have: the names of the flags.
const KEYS: [&str; 10] = [
    "listen",
    "lease-namespace",
    "events",
    "require-fence",
    "job-image",
    "log-format",
    "log-level",
    "min-floor",
    "kubeconfig",
    "context",
];

/// The file as written: every value a scalar with its place, so that an error can name the line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawFile {
    listen: Option<Spanned<String>>,
    lease_namespace: Option<Spanned<String>>,
    events: Option<Spanned<String>>,
    require_fence: Option<Spanned<String>>,
    job_image: Option<Spanned<String>>,
    log_format: Option<Spanned<String>>,
    log_level: Option<Spanned<String>>,
    min_floor: Option<Spanned<String>>,
    kubeconfig: Option<Spanned<String>>,
    context: Option<Spanned<String>>,
}

/// The file's settings after its values were understood.
#[derive(Debug, Default)]
struct FileSettings {
    listen: Option<SocketAddr>,
    lease_namespace: Option<String>,
    events: Option<bool>,
    require_fence: Option<bool>,
    job_image: Option<String>,
    log_format: Option<LogFormat>,
    log_level: Option<Targets>,
    min_floor: Option<Duration>,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
}

fn read_file(path: &Path) -> Result<FileSettings, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
    parse_file(&text).map_err(|problem| ConfigError::File { path: shown, problem })
}

fn parse_file(text: &str) -> Result<FileSettings, FileProblem> {
    let raw: RawFile =
        serde_saphyr::from_str::<Option<RawFile>>(text).map_err(|e| yaml_problem(&e))?.unwrap_or_default();
    Ok(FileSettings {
        listen: value("listen", raw.listen, parse_listen)?,
        lease_namespace: raw.lease_namespace.map(|at| at.value),
        events: value("events", raw.events, parse_bool)?,
        require_fence: value("require-fence", raw.require_fence, parse_bool)?,
        job_image: raw.job_image.map(|at| at.value),
        log_format: value("log-format", raw.log_format, |word| {
            LogFormat::from_str(word, true)
                .map_err(|_| format!("{word:?} is no log format: write auto, json or pretty"))
        })?,
        log_level: value("log-level", raw.log_level, parse_level)?,
        min_floor: value("min-floor", raw.min_floor, parse_floor)?,
        kubeconfig: raw.kubeconfig.map(|at| PathBuf::from(at.value)),
        context: raw.context.map(|at| at.value),
    })
}

fn value<T>(
    key: &str,
    raw: Option<Spanned<String>>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, FileProblem> {
    raw.map(|at| {
        parse(&at.value).map_err(|text| FileProblem { line: at.referenced.line(), text: format!("{key}: {text}") })
    })
    .transpose()
}

/// The parser's own words are kept to their first line; an unknown key gets the list of those that exist.
fn yaml_problem(error: &serde_saphyr::Error) -> FileProblem {
    let line = error.location().map_or(0, |at| at.line());
    let plain = error.without_snippet().to_string();
    let mut text = plain.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    // The place is said once, in front; and the parser's own options are none of the reader's.
    for surplus in [" at line ", ", set DuplicateKeyPolicy"] {
        text.truncate(text.find(surplus).unwrap_or(text.len()));
    }
    if text.contains("unknown") || text.contains("expected one of") {
        text.truncate(text.find(", expected").unwrap_or(text.len()));
        let _ = write!(text, "; the keys are {}", KEYS.join(", "));
    } else {
        text.push_str("; write one `key: value` a line");
    }
    FileProblem { line, text }
}

/// Reads a duration with its unit.
///
/// # Errors
/// In words that say what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("{text:?} is no duration: write a number with its unit, such as 30s, 5m or 1h30m"))
}

fn parse_floor(text: &str) -> Result<Duration, String> {
    let floor = parse_duration(text)?;
    if floor > MAX_FLOOR {
        return Err(format!("{text:?} would hide all that is stuck now: write at most 7d"));
    }
    Ok(floor)
}

fn parse_bool(word: &str) -> Result<bool, String> {
    match word {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{word:?} is neither true nor false")),
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    // `:8080` is what people know from other daemons.
    let full = if text.starts_with(':') { format!("{}{text}", DEFAULT_LISTEN.ip()) } else { text.to_owned() };
    full.parse().map_err(|_| {
        format!("{text:?} is no address to listen on: write IP:PORT, such as 0.0.0.0:8080, [::]:8080 or :8080")
    })
}

fn parse_level(text: &str) -> Result<Targets, String> {
    let wrong = || {
        format!("{text:?} is no log level: write off, error, warn, info, debug or trace, or by module: info,kube=debug")
    };
    // A bare word that is no level would be read as a module's name and switch everything else off.
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        level.trim().parse::<LevelFilter>().map_err(|_| wrong())?;
    }
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        run: RunFlags,
    }

    fn cli(args: &[&str]) -> Cli {
        Cli::try_parse_from(std::iter::once(&"volwarden").chain(args)).unwrap()
    }

    fn problem(text: &str) -> String {
        parse_file(text).unwrap_err().to_string()
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "# ours\nlisten: 127.0.0.1:9\nmin-floor: 10m\ncontext: staging\nlog-format: json\n";
        let given = cli(&["--listen", "127.0.0.1:7", "--min-floor", "1h30m"]);
        let settings = Settings::resolve(&given.flags, &given.run, parse_file(file).unwrap());
        assert_eq!(settings.listen.port(), 7);
        assert_eq!(settings.min_floor, Duration::from_secs(5400));
        assert_eq!(settings.context.as_deref(), Some("staging"));
        assert_eq!(settings.log_format, LogFormat::Json);

        let bare = cli(&[]);
        let settings = Settings::resolve(&bare.flags, &bare.run, parse_file(file).unwrap());
        assert_eq!((settings.listen.port(), settings.min_floor), (9, Duration::from_secs(600)));
        let settings = Settings::resolve(&bare.flags, &bare.run, parse_file("").unwrap());
        assert_eq!((settings.listen, settings.min_floor), (DEFAULT_LISTEN, Duration::ZERO));
    }

    #[test]
    fn a_fence_is_required_only_where_somebody_says_so() {
        let of = |args: &[&str], file: &str| {
            let given = cli(args);
            Settings::resolve(&given.flags, &given.run, parse_file(file).unwrap()).require_fence
        };
        assert!(!of(&[], ""));
        assert!(of(&["--require-fence"], "") && of(&["--require-fence=true"], "require-fence: false"));
        assert!(of(&[], "require-fence: true") && !of(&["--require-fence=false"], "require-fence: true"));
        assert!(problem("require-fence: yes").contains("neither true nor false"));
    }

    #[test]
    fn traces_go_where_the_standard_variables_say_and_nowhere_without_an_endpoint() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, value)| (format!("OTEL_{name}"), (*value).to_owned())).collect();
            Traces::of(|name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
        };
        let to = |endpoint: &str, timeout| Traces::To { endpoint: endpoint.to_owned(), timeout };
        let base = ("EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        for off in [
            vec![],
            vec![("EXPORTER_OTLP_ENDPOINT", " ")],
            vec![("SERVICE_NAME", "x"), ("EXPORTER_OTLP_PROTOCOL", "grpc"), ("TRACES_EXPORTER", "otlp")],
            vec![base, ("SDK_DISABLED", "TRUE")],
            vec![base, ("TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(of(&off), Traces::Off, "{off:?}");
        }
        assert_eq!(of(&[base]), to("http://collector:4318/v1/traces", TRACES_TIMEOUT));
        assert_eq!(of(&[base, ("SDK_DISABLED", "false")]), of(&[base]));
        assert_eq!(
            of(&[base, ("EXPORTER_OTLP_TRACES_ENDPOINT", "https://tempo/in"), ("EXPORTER_OTLP_TIMEOUT", "250")]),
            to("https://tempo/in", Duration::from_millis(250))
        );
        for (wrong, says) in [
            (("EXPORTER_OTLP_PROTOCOL", "grpc"), "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\""),
            (("EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"), "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
            (("TRACES_EXPORTER", "zipkin"), "otlp or none"),
            (("EXPORTER_OTLP_TIMEOUT", "10s"), "milliseconds"),
            (("EXPORTER_OTLP_TIMEOUT", "0"), "milliseconds"),
            (("EXPORTER_OTLP_TRACES_ENDPOINT", "me:hush@collector:4317"), "write http://HOST:4318"),
        ] {
            let Traces::Refused(said) = of(&[base, wrong]) else { panic!("{wrong:?} is taken") };
            assert!(said.contains(says) && !said.contains("hush") && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_keys_there_are() {
        let text = problem("listen: :8080\nmin-flor: 10m\n");
        assert!(text.starts_with("line 2: "), "{text}");
        assert!(text.contains("min-flor") && text.contains("min-floor"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line_key_and_remedy() {
        assert_eq!(
            problem("\nmin-floor: 10\n"),
            "line 2: min-floor: \"10\" is no duration: write a number with its unit, such as 30s, 5m or 1h30m"
        );
        assert!(problem("min-floor: 10 fortnights").contains("such as 30s"));
        assert!(problem("min-floor: 20d").contains("at most 7d"));
        assert!(problem("listen: here").contains("write IP:PORT"));
        assert!(problem("log-level: loud").contains("write off, error"));
        assert!(problem("log-format: xml").contains("auto, json or pretty"));
    }

    #[test]
    fn text_that_is_no_mapping_is_one_line() {
        for text in ["- a\n- b\n", "a: [", "listen: [1]", "listen: :1\nlisten: :2\n", "{{{{"] {
            let said = problem(text);
            assert!(said.starts_with("line ") && !said.contains('\n'), "{text:?}: {said}");
        }
        assert!(parse_file("# nothing\n").is_ok());
    }

    #[test]
    fn listen_takes_a_bare_port() {
        assert_eq!(parse_listen(":8080").unwrap(), DEFAULT_LISTEN);
        assert_eq!(parse_listen("[::1]:1").unwrap().port(), 1);
        assert!(parse_listen("8080").is_err());
    }

    #[test]
    fn a_missing_file_names_itself_and_the_remedy() {
        let given = cli(&["--config", "/does/not/exist.yaml"]);
        let said = Settings::load(&given.flags, &given.run).unwrap_err().to_string();
        assert!(said.contains("/does/not/exist.yaml") && said.contains("VOLWARDEN_CONFIG"), "{said}");
    }
}
