//! The API server: the connection to it, and calls that end even if it does not answer.

use std::error::Error;
use std::fmt::Write;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before a call that failed is made again.
pub const PAUSE: Duration = Duration::from_secs(1);

/// A client, and where the server is: what containers find in `KUBERNETES_SERVICE_HOST` and `_PORT`.
pub async fn connect(kubeconfig: &Path) -> Result<(Client, [(String, String); 2]), Box<dyn Error>> {
    let mut config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default())
        .await
        .map_err(|error| format!("{} is no usable kubeconfig: {error}", kubeconfig.display()))?;
    // Every caller here tries again by itself, with what is true by then.
    config.default_retry = false;
    let host = config.cluster_url.host().unwrap_or("127.0.0.1").to_owned();
    let port = config.cluster_url.port_u16().unwrap_or(443);
    let service =
        [("KUBERNETES_SERVICE_HOST".to_owned(), host), ("KUBERNETES_SERVICE_PORT".to_owned(), port.to_string())];
    Ok((Client::try_from(config)?, service))
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{}", whole(.0))]
    Answered(#[from] kube::Error),
    #[error("the API server did not answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// An error and what caused it: the first of them alone may say no more than `client error`.
fn whole(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}"); // writing to a String cannot fail
        cause = error.source();
    }
    text
}

impl CallError {
    /// The HTTP code, if the server answered with one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Answered(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

/// A call, or its end.
pub async fn call<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(CallError::Answered),
        Err(_) => Err(CallError::Silent),
    }
}
