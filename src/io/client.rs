//! Builds the client of the API server, and says in one line why it cannot.
//!
//! Every error names the thing, the place and the remedy. kube's own retries are off: they repeat any request
//! for minutes, while our watches pace themselves and one-shot commands should fail at once.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use kube::Config;
use kube::client::{AuthError, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use tokio::time::timeout;

pub use kube::Client;

use crate::api::foreign::{Status, Version};

use super::request::{chain, one_line, unwrapped};

/// Patience for a TCP and TLS connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Patience for `/version`.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most that is read of its answer, in bytes.
const LIMIT: usize = 64 * 1024;

/// Which cluster to talk to. Without a file: `KUBECONFIG`, then `~/.kube/config`, then the pod's own account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// A kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; its current context when absent.
    pub context: Option<String>,
}

/// What the server answers at `/version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// Such as `v1.36.2`.
    pub git_version: String,
    /// Major version, as the server writes it.
    pub major: String,
    /// Minor version, as the server writes it; may have a `+` at its end.
    pub minor: String,
}

/// Why there is no usable client, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no kubeconfig, and this is no pod.
    #[error("no kubeconfig at {place}, and not inside a pod; pass --kubeconfig or set KUBECONFIG")]
    NoTarget {
        /// Where it was looked for.
        place: String,
    },
    /// The kubeconfig that was named does not exist.
    #[error("kubeconfig {place} does not exist; check the path given with --kubeconfig or KUBECONFIG")]
    KubeconfigMissing {
        /// Its path.
        place: String,
    },
    /// The kubeconfig cannot be read.
    #[error("kubeconfig {place} cannot be read ({why}); check its owner and mode")]
    KubeconfigUnreadable {
        /// Its path.
        place: String,
        /// The system's words.
        why: String,
    },
    /// The kubeconfig makes no sense.
    #[error("kubeconfig {place} is not valid ({why}); compare `kubectl config view`")]
    KubeconfigInvalid {
        /// Its path.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// No such context.
    #[error("kubeconfig {place} has no context `{context}` (it has: {known}); choose one with --context")]
    UnknownContext {
        /// The kubeconfig.
        place: String,
        /// The context asked for.
        context: String,
        /// The contexts there are.
        known: String,
    },
    /// Neither a current context nor one asked for.
    #[error("kubeconfig {place} sets no current context (it has: {known}); choose one with --context")]
    NoContext {
        /// The kubeconfig.
        place: String,
        /// The contexts there are.
        known: String,
    },
    /// The pod's service account cannot be used.
    #[error("the pod's service account cannot be used ({why}); check automountServiceAccountToken")]
    ServiceAccount {
        /// What is wrong.
        why: String,
    },
    /// Credentials cannot be obtained or used.
    #[error("no usable credentials for {place} ({why}); check the user of the context, or log in again")]
    Credentials {
        /// The API server.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The kubeconfig wants a proxy, which this build cannot use.
    #[error("the kubeconfig reaches {place} through proxy {proxy}, which is not supported; use a direct address")]
    Proxy {
        /// The API server.
        place: String,
        /// The proxy.
        proxy: String,
    },
    /// Nobody listens there.
    #[error("{place} refuses connections ({why}); is the API server running, and is this its address?")]
    Refused {
        /// The API server.
        place: String,
        /// The system's words.
        why: String,
    },
    /// The network or the name service does not lead there.
    #[error("{place} cannot be reached ({why}); check the address, DNS and the network")]
    Unreachable {
        /// The API server.
        place: String,
        /// What went wrong.
        why: String,
    },
    /// TLS failed.
    #[error("TLS to {place} failed ({why}); check certificate-authority, server name and client certificate")]
    Tls {
        /// The API server.
        place: String,
        /// What went wrong.
        why: String,
    },
    /// 401.
    #[error("{place} does not accept the credentials ({why}); log in again or renew the token or certificate")]
    Unauthorized {
        /// The API server.
        place: String,
        /// The server's words.
        why: String,
    },
    /// 403.
    #[error("{place} forbids this user to ask for /version ({why}); grant system:discovery or use another user")]
    Forbidden {
        /// The API server.
        place: String,
        /// The server's words.
        why: String,
    },
    /// Any other error status.
    #[error("{place} answered /version with {why}; try again, and look at the API server's health")]
    Server {
        /// The API server.
        place: String,
        /// Status and words.
        why: String,
    },
    /// Success, but not an API server's.
    #[error("{place} does not answer as an API server does ({why}); check the address and proxies in between")]
    NotAnApiServer {
        /// The API server.
        place: String,
        /// What came instead.
        why: String,
    },
    /// No answer in time.
    #[error("{place} did not answer /version within {seconds} s; check the network, or try again")]
    TimedOut {
        /// The API server.
        place: String,
        /// How long we waited.
        seconds: u64,
    },
}

/// The address `connect` last made a client for. kube's `Client` does not tell its address, and an error that
/// does not name the place sends people to the wrong cluster. One process talks to one cluster.
static PLACE: Mutex<Option<Arc<str>>> = Mutex::new(None);

fn place() -> String {
    let known = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_deref().unwrap_or("the API server").to_owned()
}

/// Builds a client; no request is sent yet (a credential plugin of the kubeconfig may run).
///
/// # Errors
/// The kubeconfig, its context, certificates or credentials cannot be used.
#[allow(clippy::unused_async, reason = "credential plugins and files may one day be read asynchronously")]
pub async fn connect(target: &Target) -> Result<Client, ClientError> {
    install_crypto();
    let mut config = configure(target).await?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    // A watch may be silent for minutes: reads are timed by whoever asks.
    config.read_timeout = None;
    let agent = concat!("volwarden/", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    let at = config.cluster_url.to_string();
    *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = Some(at.trim_end_matches('/').into());
    ClientBuilder::try_from(config).map(ClientBuilder::build).map_err(|error| explain(&error))
}

/// A client of something else than an API server: without credentials, and without a question asked yet.
///
/// # Errors
/// When TLS cannot be set up.
pub(in crate::io) fn plain(at: http::Uri) -> Result<Client, kube::Error> {
    install_crypto();
    let mut config = Config::new(at);
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = None;
    ClientBuilder::try_from(config).map(ClientBuilder::build)
}

/// One provider for the whole process; a second call, or one by somebody else, changes nothing.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider is installed already");
        }
    });
}

async fn configure(target: &Target) -> Result<Config, ClientError> {
    let read = match &target.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let default = Path::new("$KUBECONFIG or ~/.kube/config");
    let place = target.kubeconfig.as_deref().unwrap_or(default).display().to_string();
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) if target.kubeconfig.is_none() && target.context.is_none() && is_missing(&error) => {
            return in_cluster(&error, place);
        }
        Err(error) => return Err(explain_kubeconfig(&error, place, None, &[])),
    };
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let chosen = target.context.clone().or_else(|| kubeconfig.current_context.clone());
    let proxied = has_proxy(&kubeconfig, chosen.as_deref());
    let options = KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| explain_kubeconfig(&error, place, chosen, &known))?;
    if !proxied && config.proxy_url.take().is_some() {
        tracing::debug!("HTTPS_PROXY is set and not used: the connection to the API server is direct");
    }
    Ok(config)
}

/// Whether the kubeconfig itself, and not the environment, names a proxy.
fn has_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> bool {
    let named = kubeconfig.contexts.iter().find(|named| Some(named.name.as_str()) == context);
    let cluster = named.and_then(|named| named.context.as_ref()).map(|context| context.cluster.as_str());
    let cluster = kubeconfig.clusters.iter().find(|named| Some(named.name.as_str()) == cluster);
    let proxy = cluster.and_then(|named| named.cluster.as_ref()).and_then(|cluster| cluster.proxy_url.as_deref());
    proxy.is_some_and(|proxy| !proxy.is_empty())
}

fn in_cluster(missing: &KubeconfigError, place: String) -> Result<Config, ClientError> {
    use kube::config::InClusterError;
    Config::incluster().map_err(|error| match error {
        InClusterError::ReadEnvironmentVariable(_) => match missing {
            KubeconfigError::ReadConfig(_, path) => ClientError::NoTarget { place: path.display().to_string() },
            _ => ClientError::NoTarget { place },
        },
        other => ClientError::ServiceAccount { why: chain(&other) },
    })
}

fn is_missing(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(why, _) => why.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn explain_kubeconfig(
    error: &KubeconfigError,
    place: String,
    context: Option<String>,
    known: &[String],
) -> ClientError {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    match error {
        KubeconfigError::ReadConfig(why, path) => {
            let place = path.display().to_string();
            match why.kind() {
                io::ErrorKind::NotFound => ClientError::KubeconfigMissing { place },
                io::ErrorKind::InvalidData => ClientError::KubeconfigInvalid { place, why: why.to_string() },
                _ => ClientError::KubeconfigUnreadable { place, why: why.to_string() },
            }
        }
        KubeconfigError::CurrentContextNotSet => ClientError::NoContext { place, known },
        KubeconfigError::LoadContext(name) => {
            ClientError::UnknownContext { place, context: context.unwrap_or_else(|| name.clone()), known }
        }
        // Only the first line: the others quote the file, and there are tokens in it.
        KubeconfigError::Parse(why) => {
            let why = why.to_string().lines().next().unwrap_or_default().to_owned();
            ClientError::KubeconfigInvalid { place, why }
        }
        other => ClientError::KubeconfigInvalid { place, why: chain(other) },
    }
}

/// Asks the server for its version, and waits for at most 10 s.
///
/// # Errors
/// The server cannot be reached, refuses us, does not answer, or does not answer as an API server does.
pub async fn check(client: &Client) -> Result<ServerVersion, ClientError> {
    timeout(PATIENCE, ask_version(client))
        .await
        .unwrap_or_else(|_| Err(ClientError::TimedOut { place: place(), seconds: PATIENCE.as_secs() }))
}

async fn ask_version(client: &Client) -> Result<ServerVersion, ClientError> {
    let invalid = |why: String| ClientError::NotAnApiServer { place: place(), why };
    let request = Request::get("/version").body(kube::client::Body::empty());
    let request = request.map_err(|error| invalid(error.to_string()))?;
    let response = client.send(request).await.map_err(|error| explain(&error))?;
    let code = response.status();
    let body = to_bytes(Body::new(response.into_body()), LIMIT).await;
    if !code.is_success() {
        let bytes = body.unwrap_or_default();
        let said = serde_json::from_slice::<Status>(&bytes).ok().and_then(|status| status.message);
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
        let why = one_line(format!("{code}: {said}").trim_end_matches([':', ' ']));
        let place = place();
        return Err(match code {
            StatusCode::UNAUTHORIZED => ClientError::Unauthorized { place, why },
            StatusCode::FORBIDDEN => ClientError::Forbidden { place, why },
            _ => ClientError::Server { place, why },
        });
    }
    let bytes = body.map_err(|error| invalid(chain(&error)))?;
    let version: Version = serde_json::from_slice(&bytes).map_err(|error| {
        let start: String = String::from_utf8_lossy(&bytes).chars().take(60).collect();
        invalid(format!("{error}; it begins `{}`", one_line(&start)))
    })?;
    Ok(ServerVersion {
        git_version: version.git_version,
        major: version.major.unwrap_or_default(),
        minor: version.minor.unwrap_or_default(),
    })
}

/// The TLS error inside an `io::Error`, however often it was wrapped: what an `io::Error` wraps is not its source.
fn tls_inside(io: &io::Error) -> Option<String> {
    let inner = io.get_ref()?;
    if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    inner.downcast_ref::<io::Error>().and_then(tls_inside)
}

/// What a failure to send means.
fn explain(error: &kube::Error) -> ClientError {
    let place = place();
    if let kube::Error::ProxyProtocolDisabled { proxy_url, .. } | kube::Error::ProxyProtocolUnsupported { proxy_url } =
        error
    {
        return ClientError::Proxy { place, proxy: proxy_url.to_string() };
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(auth) = current.downcast_ref::<AuthError>() {
            // A plugin's standard output is a token; only what it says on the other one may be shown.
            let why = match auth {
                AuthError::AuthExecRun { cmd, out } => {
                    format!("`{cmd}` failed with {}: {}", out.status, String::from_utf8_lossy(&out.stderr))
                }
                other => chain(other),
            };
            return ClientError::Credentials { place, why: one_line(&why) };
        }
        if current.is::<rustls::Error>() {
            return ClientError::Tls { place, why: current.to_string() };
        }
        if let Some(io) = current.downcast_ref::<io::Error>() {
            if let Some(why) = tls_inside(io) {
                return ClientError::Tls { place, why };
            }
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return ClientError::Refused { place, why: io.to_string() };
            }
            if io.kind() == io::ErrorKind::TimedOut {
                return ClientError::Unreachable {
                    place,
                    why: format!("no connection within {} s", CONNECT.as_secs()),
                };
            }
        }
        cause = current.source();
    }
    match error {
        kube::Error::RustlsTls(_) | kube::Error::InferKubeconfig(_) => ClientError::Tls { place, why: chain(error) },
        _ => ClientError::Unreachable { place, why: unwrapped(error) },
    }
}
