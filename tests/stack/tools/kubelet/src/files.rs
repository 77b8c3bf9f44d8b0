//! Volumes that are files with contents from the API: secret, configMap, downwardAPI and projected.
//!
//! They are written anew for each start of each container, so that a running one never sees a change: kubelet's live
//! updates have no counterpart here.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use crate::api::call;
use crate::config::{Source, Values};
use crate::downward;
use crate::failure::Failure;

const MODE: i32 = 0o644;

/// Paths below the volume's folder, and each file's contents and mode.
pub type Files = BTreeMap<String, (Vec<u8>, i32)>;

/// The files of a volume, or nothing if it is not a volume of files.
pub async fn of_volume(client: &Client, pod: &Pod, volume: &Volume) -> Result<Option<Files>, Failure> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(secret) = &volume.secret {
        let from = From {
            source: Source::Secret,
            name: secret.secret_name.as_deref().unwrap_or_default(),
            items: secret.items.as_deref(),
            optional: secret.optional,
            mode: secret.default_mode,
        };
        return from.files(client, &namespace).await.map(Some);
    }
    if let Some(map) = &volume.config_map {
        let from = From {
            source: Source::ConfigMap,
            name: &map.name,
            items: map.items.as_deref(),
            optional: map.optional,
            mode: map.default_mode,
        };
        return from.files(client, &namespace).await.map(Some);
    }
    if let Some(downward) = &volume.downward_api {
        return of_fields(pod, downward.items.as_deref(), downward.default_mode).map(Some);
    }
    match &volume.projected {
        Some(projected) => of_projected(client, pod, projected).await.map(Some),
        None => Ok(None),
    }
}

/// Writes the files into a new folder.
pub fn write(folder: &Path, files: &Files) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (path, (contents, mode)) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, contents)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(u32::try_from(*mode).unwrap_or(0o644)))?;
    }
    Ok(())
}

/// A Secret or a ConfigMap and what of it is wanted.
struct From<'a> {
    source: Source,
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    optional: Option<bool>,
    mode: Option<i32>,
}

impl From<'_> {
    async fn files(&self, client: &Client, namespace: &str) -> Result<Files, Failure> {
        let values = self.source.read(client, namespace, self.name, self.optional.unwrap_or_default()).await?;
        self.chosen(values, namespace)
    }

    fn chosen(&self, mut values: Values, namespace: &str) -> Result<Files, Failure> {
        let mode = self.mode.unwrap_or(MODE);
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            return Ok(values.into_iter().map(|(key, value)| (key, (value, mode))).collect());
        };
        let mut files = Files::new();
        for item in items {
            match values.remove(&item.key) {
                Some(value) => {
                    files.insert(item.path.clone(), (value, item.mode.unwrap_or(mode)));
                }
                None if self.optional == Some(true) => {}
                None => return Err(self.source.no_key(&item.key, namespace, self.name)),
            }
        }
        Ok(files)
    }
}

fn of_fields(pod: &Pod, items: Option<&[DownwardAPIVolumeFile]>, mode: Option<i32>) -> Result<Files, Failure> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let Some(field) = &item.field_ref else {
            return Err(Failure::config(format!("the source of the file {} is not supported here", item.path)));
        };
        let value = downward::field(pod, &field.field_path)?.into_bytes();
        files.insert(item.path.clone(), (value, item.mode.or(mode).unwrap_or(MODE)));
    }
    Ok(files)
}

async fn of_projected(client: &Client, pod: &Pod, projected: &ProjectedVolumeSource) -> Result<Files, Failure> {
    let mut files = Files::new();
    for source in projected.sources.iter().flatten() {
        files.extend(of_projection(client, pod, source, projected.default_mode).await?);
    }
    Ok(files)
}

async fn of_projection(
    client: &Client,
    pod: &Pod,
    projection: &VolumeProjection,
    mode: Option<i32>,
) -> Result<Files, Failure> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(secret) = &projection.secret {
        let (name, items) = (secret.name.as_str(), secret.items.as_deref());
        return From { source: Source::Secret, name, items, optional: secret.optional, mode }
            .files(client, &namespace)
            .await;
    }
    if let Some(map) = &projection.config_map {
        let (name, items) = (map.name.as_str(), map.items.as_deref());
        return From { source: Source::ConfigMap, name, items, optional: map.optional, mode }
            .files(client, &namespace)
            .await;
    }
    if let Some(downward) = &projection.downward_api {
        return of_fields(pod, downward.items.as_deref(), mode);
    }
    match &projection.service_account_token {
        Some(wanted) => {
            let token = token(client, pod, wanted).await?.into_bytes();
            Ok(Files::from([(wanted.path.clone(), (token, mode.unwrap_or(MODE)))]))
        }
        None => Err(Failure::config("a source of a projected volume is not supported here")),
    }
}

/// A token of the pod's service account that is good for nothing once the pod is gone.
async fn token(client: &Client, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Result<String, Failure> {
    let namespace = pod.namespace().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: wanted.audience.clone().map(|audience| vec![audience]),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
            expiration_seconds: wanted.expiration_seconds,
        }),
        ..TokenRequest::default()
    };
    let api = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
    let answer = call(api.create_token_request(account, &PostParams::default(), &request)).await;
    let answer = answer.map_err(|error| {
        Failure::config(format!("failed to fetch token of the service account {namespace}/{account}: {error}"))
    })?;
    Ok(answer.status.and_then(|status| status.token).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_choose_keys_paths_and_modes() {
        let values = || Values::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())]);
        let item = |key: &str| KeyToPath { key: key.to_owned(), path: format!("x/{key}"), mode: Some(0o400) };
        let from = |items, optional| From { source: Source::Secret, name: "s", items, optional, mode: Some(0o600) };
        let all = from(None, None).chosen(values(), "ns").unwrap();
        assert_eq!(all["b"], (b"2".to_vec(), 0o600));
        let items = [item("a"), item("none")];
        let chosen = from(Some(&items), Some(true)).chosen(values(), "ns").unwrap();
        assert_eq!(chosen, Files::from([("x/a".to_owned(), (b"1".to_vec(), 0o400))]));
        let refused = from(Some(&items), None).chosen(values(), "ns").unwrap_err();
        assert_eq!(refused.message, "couldn't find key none in Secret ns/s");
    }

    #[test]
    fn files_are_written_below_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::from([("a/b".to_owned(), (b"text".to_vec(), 0o400))]);
        write(&folder.path().join("volume"), &files).unwrap();
        let path = folder.path().join("volume/a/b");
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    }
}
