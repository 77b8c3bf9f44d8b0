//! From a container's spec to what its process is made of; everything that the spec refers to is read here.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;

use crate::downward;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::launch::Launch;
use crate::machine::Machine;
use crate::volumes::{self, Mount, Places};

const TERMINATION_LOG: &str = "/dev/termination-log";

/// The folders of a pod on the host.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder of a pod.
    pub fn of(machine: &Machine, pod: &Pod) -> Self {
        Self(machine.folder.join("pods").join(pod.uid().unwrap_or_default()))
    }

    /// Removes the folders of pods that vanished while no kubelet looked.
    pub fn sweep(machine: &Machine, living: &[String]) {
        let folders = std::fs::read_dir(machine.folder.join("pods")).into_iter().flatten().flatten();
        for folder in folders.filter(|folder| living.iter().all(|uid| folder.file_name() != uid.as_str())) {
            Self(folder.path()).remove();
        }
    }

    /// The folder of one of its containers.
    pub fn container(&self, name: &str) -> PathBuf {
        self.0.join("containers").join(name)
    }

    /// Where a container leaves its last words.
    pub fn termination_log(&self, name: &str) -> PathBuf {
        self.container(name).join("termination-log")
    }

    /// Removes all of it.
    pub fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// What the next process of a container is made of.
pub async fn launch(machine: &Machine, pod: &Pod, container: &Container) -> Result<Launch, Failure> {
    let program = machine.images.program(container)?;
    let hostname = downward::hostname(pod, &machine.node);
    let mut environment = Environment::common(&hostname, &machine.service);
    environment.extend(&machine.client, pod, container).await?;

    let folder = Folder::of(machine, pod);
    let layer = fresh(&folder, &container.name)?;
    let places =
        Places { pod: &folder.0.join("volumes"), container: &folder.container(&container.name).join("volumes") };
    let mut mounts = volumes::mounts(&machine.client, pod, container, &environment, places).await?;
    mounts.push(Mount {
        source: folder.termination_log(&container.name),
        target: container.termination_message_path.clone().unwrap_or_else(|| TERMINATION_LOG.to_owned()),
        read_only: false,
    });
    if let Some(program) = &program {
        // It may be on a file system that the private layer does not show.
        mounts.push(Mount { source: program.into(), target: program.clone(), read_only: true });
    }
    Ok(Launch {
        layer,
        hostname,
        working_dir: container.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
        mounts,
        command: command(program, container, &environment),
        environment,
    })
}

/// The program and its arguments: the spec's command instead of the image's program, and the spec's arguments.
fn command(program: Option<String>, container: &Container, environment: &Environment) -> Vec<String> {
    let given = container.command.iter().flatten().map(|word| environment.expand(word));
    let mut command: Vec<_> = given.collect();
    if command.is_empty() {
        command.extend(program);
    }
    command.extend(container.args.iter().flatten().map(|word| environment.expand(word)));
    command
}

/// Empties the folder of a container for its next start; the layer's folder is returned.
fn fresh(folder: &Folder, container: &str) -> Result<PathBuf, Failure> {
    let path = folder.container(container);
    let layer = path.join("layer");
    let make = |path: &Path| -> std::io::Result<()> {
        if path.exists() {
            std::fs::remove_dir_all(path)?;
        }
        std::fs::create_dir_all(&layer)?;
        std::fs::write(folder.termination_log(container), "")
    };
    match make(&path) {
        Ok(()) => Ok(layer),
        Err(error) => Err(Failure::config(format!("cannot prepare {}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_replaces_the_images_program_and_arguments_follow_either() {
        let environment = Environment::common("web-0", &[]);
        let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (program, given, args, expected) in [
            (Some("/bin/csi"), &[][..], &["--host=$(HOSTNAME)", "$$(X)"][..], "/bin/csi --host=web-0 $(X)"),
            (Some("/bin/csi"), &["sleep"], &["1"], "sleep 1"),
            (None, &["sh", "-c"], &["echo $(date)"], "sh -c echo $(date)"),
        ] {
            let container = Container { command: words(given), args: words(args), ..Container::default() };
            assert_eq!(command(program.map(ToOwned::to_owned), &container, &environment).join(" "), expected);
        }
    }
}
