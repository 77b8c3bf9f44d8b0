//! A container's environment: what its spec says and a little that every container has, never the kubelet's own.

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};
use kube::{Client, ResourceExt};

use crate::config::{Source, Values};
use crate::downward;
use crate::expand::expand;
use crate::failure::Failure;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How the harness finds every process that it started, whatever became of the processes between.
const MARK: &str = "VOLWARDEN_STACK_FOLDER";

/// Names and values, in the order in which they were given; a later value of a name replaces the earlier one.
#[derive(Clone, Debug, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// What every container has.
    pub fn common(hostname: &str, service: &[(String, String)]) -> Self {
        let mut environment = Self::default();
        environment.set("PATH", PATH.to_owned());
        environment.set("HOME", "/root".to_owned());
        environment.set("HOSTNAME", hostname.to_owned());
        if let Ok(folder) = std::env::var(MARK) {
            environment.set(MARK, folder);
        }
        for (name, value) in service {
            environment.set(name, value.clone());
        }
        environment
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `text` with its references to this environment replaced.
    pub fn expand(&self, text: &str) -> String {
        expand(text, |name| self.get(name))
    }

    /// `NAME=VALUE` of each.
    pub fn words(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Adds what the spec of a container says.
    pub async fn extend(&mut self, client: &Client, pod: &Pod, container: &Container) -> Result<(), Failure> {
        let namespace = pod.namespace().unwrap_or_default();
        for from in container.env_from.iter().flatten() {
            let (source, name, optional) = match (&from.secret_ref, &from.config_map_ref) {
                (Some(secret), _) => (Source::Secret, &secret.name, secret.optional),
                (None, Some(map)) => (Source::ConfigMap, &map.name, map.optional),
                (None, None) => continue,
            };
            let values = source.read(client, &namespace, name, optional.unwrap_or_default()).await?;
            let prefix = from.prefix.as_deref().unwrap_or_default();
            for (key, value) in values.into_iter().filter(|(key, _)| !key.contains('=')) {
                self.set(&format!("{prefix}{key}"), text(&value));
            }
        }
        for variable in container.env.iter().flatten() {
            if let Some(value) = self.value(client, pod, variable).await? {
                self.set(&variable.name, value);
            }
        }
        Ok(())
    }

    async fn value(&self, client: &Client, pod: &Pod, variable: &EnvVar) -> Result<Option<String>, Failure> {
        match &variable.value_from {
            None => Ok(Some(self.expand(variable.value.as_deref().unwrap_or_default()))),
            Some(from) => referred(client, pod, from, &variable.name).await,
        }
    }
}

async fn referred(client: &Client, pod: &Pod, from: &EnvVarSource, name: &str) -> Result<Option<String>, Failure> {
    if let Some(field) = &from.field_ref {
        return downward::field(pod, &field.field_path).map(Some);
    }
    let (source, object, key, optional) = match (&from.secret_key_ref, &from.config_map_key_ref) {
        (Some(secret), _) => (Source::Secret, &secret.name, &secret.key, secret.optional),
        (None, Some(map)) => (Source::ConfigMap, &map.name, &map.key, map.optional),
        (None, None) => {
            return Err(Failure::config(format!("the source of the variable {name} is not supported here")));
        }
    };
    let optional = optional.unwrap_or_default();
    let namespace = pod.namespace().unwrap_or_default();
    let values: Values = source.read(client, &namespace, object, optional).await?;
    match values.get(key) {
        Some(value) => Ok(Some(text(value))),
        None if optional => Ok(None),
        None => Err(source.no_key(key, &namespace, object)),
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_replaces_the_earlier_one_and_sees_it() {
        let mut environment = Environment::common("web-0", &[]);
        environment.set("PATH", environment.expand("/opt/bin:$(PATH)"));
        environment.set("NAME", environment.expand("$(HOSTNAME).$(LATER)"));
        assert_eq!(environment.get("NAME"), Some("web-0.$(LATER)"));
        let words: Vec<_> = environment.words().filter(|word| word.starts_with("PATH=")).collect();
        assert_eq!(words, [format!("PATH=/opt/bin:{PATH}")]);
    }
}
