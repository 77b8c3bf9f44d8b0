//! Which program an image stands for: there is no registry to pull from, so a file names them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Container;

use crate::failure::Failure;

/// The file that maps repositories to programs; read at each start, so that it may change meanwhile.
#[derive(Clone, Debug)]
pub struct Images {
    file: PathBuf,
}

impl Images {
    /// The images that `file` lists.
    pub fn in_file(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// The program of a container's image, if the file lists it.
    pub fn program(&self, container: &Container) -> Result<Option<String>, Failure> {
        let file = self.file.display();
        let text = std::fs::read(&self.file).map_err(|error| Failure::image(format!("cannot read {file}: {error}")))?;
        let programs: BTreeMap<String, String> = serde_json::from_slice(&text)
            .map_err(|error| Failure::image(format!("{file} is not an object of image: program: {error}")))?;
        let image = container.image.as_deref().unwrap_or_default();
        let program = programs.get(repository(image));
        if program.is_none() && container.command.as_ref().is_none_or(Vec::is_empty) {
            let text = format!("failed to pull image \"{image}\": {file} does not list it, and there is no command");
            return Err(Failure::image(text));
        }
        Ok(program.cloned())
    }
}

/// An image's name without tag and digest.
fn repository(image: &str) -> &str {
    let named = image.split_once('@').map_or(image, |(name, _)| name);
    match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name, // else the colon is a registry's port
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        for (image, expected) in [
            ("registry.k8s.io/sig-storage/csi-snapshotter:v8.7.0", "registry.k8s.io/sig-storage/csi-snapshotter"),
            ("quay.io/cephcsi/cephcsi", "quay.io/cephcsi/cephcsi"),
            ("localhost:5000/a/b", "localhost:5000/a/b"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b"),
            ("a/b:1@sha256:00ff", "a/b"),
            ("busybox", "busybox"),
            ("", ""),
        ] {
            assert_eq!(repository(image), expected, "{image}");
        }
    }

    #[test]
    fn an_unlisted_image_needs_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images.json");
        std::fs::write(&file, r#"{"a/b": "/bin/b"}"#).unwrap();
        let images = Images::in_file(&file);
        let container = |image: &str, command: &[&str]| Container {
            image: Some(image.to_owned()),
            command: Some(command.iter().map(ToString::to_string).collect()),
            ..Container::default()
        };
        assert_eq!(images.program(&container("a/b:1", &[])).unwrap().as_deref(), Some("/bin/b"));
        assert_eq!(images.program(&container("c", &["sleep"])).unwrap(), None);
        let refused = images.program(&container("c:2", &[])).unwrap_err();
        assert_eq!(refused.reason, "ErrImagePull");
        assert!(refused.message.contains("\"c:2\""), "{}", refused.message);
    }
}
