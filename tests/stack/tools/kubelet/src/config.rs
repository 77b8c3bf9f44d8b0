//! Secrets and ConfigMaps as keys and values, read when they are needed: a container that starts again sees new ones.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::api::{CallError, call};
use crate::failure::Failure;

/// Where values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Secret,
    ConfigMap,
}

impl Source {
    fn kind(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// What a missing key of it is called, as kubelet says it.
    pub fn no_key(self, key: &str, namespace: &str, name: &str) -> Failure {
        Failure::config(format!("couldn't find key {key} in {} {namespace}/{name}", self.kind()))
    }

    fn not_found(self, name: &str) -> Failure {
        Failure::config(format!("{} \"{name}\" not found", self.kind().to_lowercase()))
    }

    /// All its keys; nothing if it may be missing and is.
    pub async fn read(self, client: &Client, namespace: &str, name: &str, optional: bool) -> Result<Values, Failure> {
        let read = match self {
            Self::Secret => call(Api::<Secret>::namespaced(client.clone(), namespace).get(name)).await.map(of_secret),
            Self::ConfigMap => {
                call(Api::<ConfigMap>::namespaced(client.clone(), namespace).get(name)).await.map(of_config_map)
            }
        };
        match read {
            Ok(values) => Ok(values),
            Err(error) if error.code() == Some(404) && optional => Ok(Values::new()),
            Err(error) if error.code() == Some(404) => Err(self.not_found(name)),
            Err(error) => Err(self.unreadable(namespace, name, &error)),
        }
    }

    fn unreadable(self, namespace: &str, name: &str, error: &CallError) -> Failure {
        Failure::config(format!("failed to read {} {namespace}/{name}: {error}", self.kind()))
    }
}

/// Keys and what they hold.
pub type Values = BTreeMap<String, Vec<u8>>;

fn of_secret(secret: Secret) -> Values {
    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
}

fn of_config_map(map: ConfigMap) -> Values {
    let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    text.chain(binary).collect()
}
