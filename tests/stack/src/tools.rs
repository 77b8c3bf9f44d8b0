//! Where the programs of the stack are: asks `tests/stack/build --print`, which builds nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// The script that knows the pins and the cache.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/build");
/// Set to `1`, it turns missing programs from a failure into a suite that says it did not run.
const OPTIONAL: &str = "VOLWARDEN_STACK_OPTIONAL";
/// What a control plane needs, and [`crate::Options::control_plane`] nothing else.
const CONTROL_PLANE: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];
/// What everything else needs besides.
const SNAPSHOTS: [&str; 8] = [
    "csi-driver",
    "csi-provisioner",
    "csi-snapshotter",
    "kopia",
    "kube-controller-manager",
    "kubelet",
    "snapshot-controller",
    "snapshot-crds",
];

/// The programs of the stack, by name.
#[derive(Clone, Debug)]
pub struct Tools(BTreeMap<String, PathBuf>);

impl Tools {
    /// The path of a tool, such as `kubectl`; `snapshot-crds` is a folder.
    pub fn path(&self, name: &str) -> Result<&Path, Error> {
        self.0.get(name).map(PathBuf::as_path).ok_or_else(|| {
            Error::other(format!("the tool {name} has not been built; remedy: run `tests/stack/build {name}`"))
        })
    }

    /// Those that are there, with their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0.iter().map(|(name, path)| (name.as_str(), path.as_path()))
    }
}

/// Why the stack cannot run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The tools that have not been built.
    pub tools: Vec<String>,
    /// What the build script said, if it could not even look.
    pub said: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tools.is_empty() {
            return write!(out, "the test stack cannot be found: {}", self.said);
        }
        let tools = self.tools.join(" ");
        write!(out, "programs of the test stack have not been built: {tools}; remedy: run `tests/stack/build`")
    }
}

impl std::error::Error for Missing {}

/// Finds the programs in the cache, or says which are missing. Builds nothing.
pub fn available() -> Result<Tools, Missing> {
    needed(CONTROL_PLANE.iter().chain(&SNAPSHOTS))
}

/// The same for a bare control plane, which `KUBEBUILDER_ASSETS` has too.
pub(crate) fn control_plane() -> Result<Tools, Missing> {
    needed(CONTROL_PLANE.iter())
}

fn needed<'a>(names: impl Iterator<Item = &'a &'a str>) -> Result<Tools, Missing> {
    let (found, said) = find()?;
    let tools: Vec<_> = names.filter(|name| !found.0.contains_key(**name)).map(ToString::to_string).collect();
    if tools.is_empty() { Ok(found) } else { Err(Missing { tools, said }) }
}

/// The programs that are there, and what the script said of the others.
pub(crate) fn find() -> Result<(Tools, String), Missing> {
    let output = Command::new(SCRIPT).arg("--print").output();
    let output =
        output.map_err(|error| Missing { tools: Vec::new(), said: format!("cannot run {SCRIPT}: {error}") })?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // 1 is "some are missing"; anything else that is not success is a script that could not look.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(Missing { tools: Vec::new(), said });
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = lines.lines().filter_map(|line| line.split_once('=')).filter(|(_, path)| !path.is_empty());
    Ok((Tools(found.map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect()), said))
}

/// For a suite: `Some(why)` if it is to be named as not run. Only where `VOLWARDEN_STACK_OPTIONAL=1` allows that;
/// otherwise missing programs are for [`crate::Stack::start`] to fail on.
#[must_use]
pub fn not_run() -> Option<Missing> {
    if std::env::var_os(OPTIONAL).is_none_or(|value| value != "1") {
        return None;
    }
    available().err()
}
