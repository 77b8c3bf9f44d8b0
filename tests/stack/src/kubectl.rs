//! kubectl, with the stack's kubeconfig and a discovery cache of its own.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::Error;
use crate::stack::Stack;
use crate::watchdog::MARK;

/// How kubectl is run.
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(program: &Path, kubeconfig: &Path, folder: &Path) -> Self {
        Self { program: program.to_owned(), kubeconfig: kubeconfig.to_owned(), folder: folder.to_owned() }
    }

    /// A command that has everything but its arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            // Ports come back with other clusters behind them: what was cached of one must not be believed of the next.
            .env("KUBECACHEDIR", self.folder.join("kubectl-cache"))
            .env_remove("KUBECONFIG")
            .env(MARK, &self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Runs a command to its end and returns what it wrote to standard output.
fn run(mut command: Command, input: Option<&str>) -> Result<String, Error> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    // Without `--kubeconfig PATH`.
    let shown = format!("kubectl {}", words.get(2..).unwrap_or_default().join(" "));
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let failed = || Error::io(format!("cannot run `{shown}`"));
    let mut child = command.spawn().map_err(failed())?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        // A kubectl that fails before it has read everything says why on standard error: that counts, not the pipe.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Command { command: shown, status: output.status.to_string(), stderr })
}

fn parsed(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::other(format!("kubectl's answer is no JSON: {error}")))
}

impl Stack {
    /// Runs kubectl as the administrator and returns its standard output; the error has its standard error.
    pub fn kubectl<Word: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = Word>) -> Result<String, Error> {
        let mut command = self.client().command();
        command.args(words);
        run(command, None)
    }

    /// As [`Self::kubectl`], for another user: with the kubeconfig of [`Stack::kubeconfig_for`].
    pub fn kubectl_as<Word: AsRef<OsStr>>(
        &self,
        kubeconfig: &Path,
        words: impl IntoIterator<Item = Word>,
    ) -> Result<String, Error> {
        let client = self.client();
        let mut command = Kubectl::new(&client.program, kubeconfig, &client.folder).command();
        command.args(words);
        run(command, None)
    }

    /// Runs kubectl with `-o json` added and parses its answer.
    pub fn kubectl_json<Word: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = Word>) -> Result<Value, Error> {
        let mut command = self.client().command();
        command.args(words).args(["-o", "json"]);
        parsed(&run(command, None)?)
    }

    /// Runs `kubectl apply -f -` on YAML or JSON.
    pub fn apply(&self, text: &str) -> Result<String, Error> {
        let mut command = self.client().command();
        command.args(["apply", "-f", "-"]);
        run(command, Some(text))
    }

    /// As [`Self::apply`].
    pub fn apply_json(&self, object: &Value) -> Result<String, Error> {
        self.apply(&object.to_string())
    }

    /// Creates an object and returns it as the server stored it.
    pub fn create(&self, object: &Value) -> Result<Value, Error> {
        let mut command = self.client().command();
        command.args(["create", "-o", "json", "-f", "-"]);
        parsed(&run(command, Some(&object.to_string()))?)
    }

    /// Merges a patch into an object; `subresource` may be `status`.
    pub fn patch(
        &self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<Value, Error> {
        let mut command = self.client().command();
        command.args(["patch", kind, name, "--type=merge", "-o", "json", "-p"]).arg(patch.to_string());
        command.args(namespace.map(|namespace| format!("--namespace={namespace}")));
        command.args(subresource.map(|subresource| format!("--subresource={subresource}")));
        parsed(&run(command, None)?)
    }

    /// An object as it is now, or `None` if there is none.
    pub fn get(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<Option<Value>, Error> {
        if let Some(reader) = self.reader() {
            return reader.object(kind, namespace, name);
        }
        let mut command = self.client().command();
        command.args(["get", kind, name, "--ignore-not-found", "-o", "json"]);
        command.args(namespace.map(|namespace| format!("--namespace={namespace}")));
        let text = run(command, None)?;
        if text.is_empty() { Ok(None) } else { parsed(&text).map(Some) }
    }

    /// Deletes an object and does not wait until it is gone.
    pub fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<(), Error> {
        let mut command = self.client().command();
        command.args(["delete", kind, name, "--wait=false"]);
        command.args(namespace.map(|namespace| format!("--namespace={namespace}")));
        run(command, None).map(drop)
    }
}
