//! What is mounted into a container: each volume as a path of the host, made or checked before the container starts.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, HostPathVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, Volume, VolumeMount,
};
use kube::{Api, Client, ResourceExt};

use crate::api::call;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::files;

/// A path of the host that a container sees at another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// Where the volumes of a pod live on the host.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// For what the containers of the pod share.
    pub pod: &'a Path,
    /// For what is made for this start of this container; empty so far.
    pub container: &'a Path,
}

/// The mounts of a container, parents before what is mounted into them.
pub async fn mounts(
    client: &Client,
    pod: &Pod,
    container: &Container,
    environment: &Environment,
    places: Places<'_>,
) -> Result<Vec<Mount>, Failure> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| Failure::config(format!("the pod has no volume \"{}\"", mount.name)))?;
        let path = path(client, pod, volume, places).await.map_err(|failure| failure.of_volume(&volume.name))?;
        let source = below(&path, mount, environment).map_err(|failure| failure.of_volume(&volume.name))?;
        let read_only = mount.read_only.unwrap_or_default() || claimed_read_only(volume);
        mounts.push(Mount { source, target: mount.mount_path.clone(), read_only });
    }
    mounts.sort_by_key(|mount| mount.target.len());
    Ok(mounts)
}

/// The host's path of a volume.
async fn path(client: &Client, pod: &Pod, volume: &Volume, places: Places<'_>) -> Result<PathBuf, Failure> {
    if volume.empty_dir.is_some() {
        return made(places.pod.join(&volume.name));
    }
    if let Some(host_path) = &volume.host_path {
        return checked(host_path);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return claimed(client, &pod.namespace().unwrap_or_default(), &claim.claim_name).await;
    }
    let Some(files) = files::of_volume(client, pod, volume).await? else {
        return Err(Failure::config("volumes of this type are not supported here"));
    };
    let folder = places.container.join(&volume.name);
    files::write(&folder, &files).map_err(|error| cannot("write", &folder, &error))?;
    Ok(folder)
}

/// The part of the volume that a mount's `subPath` names; a folder that is made if it is missing.
fn below(volume: &Path, mount: &VolumeMount, environment: &Environment) -> Result<PathBuf, Failure> {
    let sub_path = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) => environment.expand(expression),
        (None, sub_path) => sub_path.clone().unwrap_or_default(),
    };
    if sub_path.is_empty() {
        return Ok(volume.to_owned());
    }
    if sub_path.starts_with('/') || sub_path.split('/').any(|part| part == "..") {
        return Err(Failure::config(format!("subPath \"{sub_path}\" leads out of the volume")));
    }
    let path = volume.join(sub_path);
    if path.exists() { Ok(path) } else { made(path) }
}

fn claimed_read_only(volume: &Volume) -> bool {
    volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only).unwrap_or_default()
}

/// The path of a hostPath volume, made or checked as its type says.
fn checked(volume: &HostPathVolumeSource) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(&volume.path);
    let is = |fits: fn(&std::fs::FileType) -> bool| path.metadata().is_ok_and(|data| fits(&data.file_type()));
    let (wanted, fits) = match volume.type_.as_deref().unwrap_or_default() {
        "" if path.exists() => return Ok(path),
        "" | "DirectoryOrCreate" => return made(path),
        "FileOrCreate" => {
            let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
            return opened.map(|_| path.clone()).map_err(|error| cannot("create", &path, &error));
        }
        "Directory" => ("a directory", is(std::fs::FileType::is_dir)),
        "File" => ("a file", is(std::fs::FileType::is_file)),
        "Socket" => ("a socket file", is(FileTypeExt::is_socket)),
        "CharDevice" => ("a character device", is(FileTypeExt::is_char_device)),
        "BlockDevice" => ("a block device", is(FileTypeExt::is_block_device)),
        other => return Err(Failure::config(format!("hostPath knows no type {other}"))),
    };
    if fits {
        return Ok(path);
    }
    Err(Failure::config(format!("hostPath type check failed: {} is not {wanted}", path.display())))
}

/// The path of the volume that a claim is bound to; only volumes that are paths of this machine can be mounted.
async fn claimed(client: &Client, namespace: &str, name: &str) -> Result<PathBuf, Failure> {
    let unreadable = |what: String, error| Failure::config(format!("failed to read {what}: {error}"));
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    let claim = call(claims.get(name)).await.map_err(|error| match error.code() {
        Some(404) => Failure::config(format!("persistentvolumeclaim \"{name}\" not found")),
        _ => unreadable(format!("persistentvolumeclaim \"{name}\""), error),
    })?;
    let bound = claim.status.and_then(|status| status.phase).as_deref() == Some("Bound");
    let Some(volume) = claim.spec.and_then(|spec| spec.volume_name).filter(|_| bound) else {
        return Err(Failure::config(format!("persistentvolumeclaim \"{name}\" is not bound")));
    };
    let found = call(Api::<PersistentVolume>::all(client.clone()).get(&volume)).await;
    let spec = found.map_err(|error| unreadable(format!("persistentvolume \"{volume}\""), error))?.spec;
    let spec = spec.unwrap_or_default();
    if let Some(host_path) = &spec.host_path {
        return checked(host_path);
    }
    match spec.local {
        Some(local) => Ok(local.path.into()),
        None => Err(Failure::config(format!(
            "persistentvolume \"{volume}\" of claim \"{name}\" is neither hostPath nor local: it cannot be mounted here"
        ))),
    }
}

fn made(path: PathBuf) -> Result<PathBuf, Failure> {
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(cannot("create", &path, &error)),
    }
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::config(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_path_is_made_or_checked_as_its_type_says() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, kind: &str| {
            let path = folder.path().join(name).to_string_lossy().into_owned();
            checked(&HostPathVolumeSource { path, type_: Some(kind.to_owned()) })
        };
        std::fs::write(folder.path().join("file"), "").unwrap();
        for (name, kind, fits) in [
            ("file", "", true),
            ("file", "File", true),
            ("file", "Directory", false),
            ("file", "Socket", false),
            ("file", "DirectoryOrCreate", false),
            ("new-1", "", true),
            ("new-2/below", "DirectoryOrCreate", true),
            ("new-2", "Directory", true),
            ("new-3", "Directory", false),
            ("new-4", "FileOrCreate", true),
            ("new-4", "File", true),
            ("file", "Nonsense", false),
        ] {
            assert_eq!(at(name, kind).is_ok(), fits, "{name} as {kind}");
        }
        assert!(folder.path().join("new-1").is_dir());
        let refused = at("none", "Directory").unwrap_err().message;
        assert!(refused.starts_with("hostPath type check failed: ") && refused.ends_with("none is not a directory"));
    }

    #[test]
    fn a_sub_path_stays_in_its_volume() {
        let folder = tempfile::tempdir().unwrap();
        let mount = |sub_path: &str| VolumeMount { sub_path: Some(sub_path.to_owned()), ..VolumeMount::default() };
        let environment = Environment::common("web-0", &[]);
        assert_eq!(below(folder.path(), &mount(""), &environment).unwrap(), folder.path());
        assert!(below(folder.path(), &mount("a/b"), &environment).unwrap().is_dir());
        let expression = VolumeMount { sub_path_expr: Some("x-$(HOSTNAME)".to_owned()), ..VolumeMount::default() };
        assert_eq!(below(folder.path(), &expression, &environment).unwrap(), folder.path().join("x-web-0"));
        for outside in ["../x", "a/../../b", "/etc"] {
            assert!(below(folder.path(), &mount(outside), &environment).is_err(), "{outside}");
        }
    }
}
