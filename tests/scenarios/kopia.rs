//! Kopia repositories on the real stack: real Jobs of kube-controller-manager, their pods run by the kubelet stand-in
//! with the real kopia. The judges are kopia's own record, the repository's files, and the times of the Jobs.

mod expiry;
mod findings;
mod server;
mod turns;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use stack::{AuditLevel, Options, Stack};

use super::doctor::volwarden;
use super::warden::{self, REPOSITORIES, Warden};
use super::{SOON, text, turn};

/// Nobody's password, and easily found where it must not be.
const PASSWORD: &str = "correct-horse-battery-staple";
const NAMESPACE: &str = "backup";
/// A Job with all its kopias on a busy machine.
const LONG: Duration = Duration::from_secs(400);

/// A stack with a repository on a claim, and a node that runs Jobs.
struct Lab {
    stack: Stack,
    kopia: PathBuf,
}

impl Lab {
    /// The repository belongs to whoever made it: `mover@cluster`.
    fn begin() -> Self {
        let nodes = vec!["node-a".to_owned()];
        let options = Options { nodes, record: false, audit: AuditLevel::Request, ..Options::control_plane() };
        let stack = Stack::start(options).unwrap();
        let kopia = stack::available().unwrap().path("kopia").unwrap().to_owned();
        let lab = Self { stack, kopia };
        warden::install(&lab.stack, &[]);
        lab.image();
        fs::create_dir_all(lab.repository()).unwrap();
        fs::create_dir_all(lab.at("data")).unwrap();
        fs::write(lab.at("data/file"), "kept").unwrap();
        let repository = lab.repository().display().to_string();
        let mover = ["--override-username=mover", "--override-hostname=cluster"];
        lab.kopia(&["repository", "create", "filesystem", "--path", &repository, mover[0], mover[1]]);
        let data = lab.at("data").display().to_string();
        lab.kopia(&["snapshot", "create", &data, "--override-source=app@ns:/data"]);
        lab.kopia(&["snapshot", "create", &data, "--override-source=db@ns:/data"]);
        lab.namespace(NAMESPACE);
        lab
    }

    /// The image of the Jobs: our program, and kopia beside it. A file `hold` beside the repository keeps a Job at its
    /// beginning.
    fn image(&self) {
        let script = format!(
            "#!/bin/sh\nexport VOLWARDEN_KOPIA={}\nwhile [ -e /mnt/share/hold ]; do sleep 0.1; done\nexec {} \"$@\"\n",
            self.kopia.display(),
            env!("CARGO_BIN_EXE_volwarden")
        );
        let program = self.at("image");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let file = self.at("images.json");
        let mut images: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        images["volwarden"] = json!(program);
        fs::write(&file, images.to_string()).unwrap();
    }

    /// A namespace with the right to make Jobs, the Secret, and a claim of the share.
    fn namespace(&self, name: &str) {
        let stack = &self.stack;
        stack.kubectl(["create", "namespace", name]).unwrap();
        let rights = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base/kopia-namespace");
        stack.kubectl(["apply", "-n", name, "-k", rights.to_str().unwrap()]).unwrap();
        let data = json!({"KOPIA_PASSWORD": PASSWORD, "KOPIA_REPOSITORY": "filesystem:///mnt/share/repository"});
        let capacity = json!({"storage": "1Gi"});
        let volume = format!("share-{name}");
        let items = json!([
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kopia", "namespace": name}, "stringData": data},
            {
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
                "spec": {
                    "capacity": capacity, "accessModes": ["ReadWriteMany"], "storageClassName": "none",
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": self.at("share")},
                    "claimRef": {"namespace": name, "name": "share"},
                },
            },
            {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "share", "namespace": name},
                "spec": {
                    "accessModes": ["ReadWriteMany"], "storageClassName": "none", "volumeName": volume,
                    "resources": {"requests": capacity},
                },
            },
        ]);
        stack.apply_json(&json!({"apiVersion": "v1", "kind": "List", "items": items})).unwrap();
        let bound = || {
            let claim = stack.get("persistentvolumeclaim", Some(name), "share").ok()??;
            let account = stack.get("serviceaccount", Some(name), "default").ok()?;
            (text(&claim, "/status/phase") == "Bound" && account.is_some()).then_some(())
        };
        stack.wait("the share is bound", SOON, bound).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.stack.folder().join(path)
    }

    fn repository(&self) -> PathBuf {
        self.at("share/repository")
    }

    /// A snapshot of so long ago.
    fn snapshot_of(&self, source: &str, day: u8) {
        fs::write(self.at("data/file"), [b'x', day]).unwrap();
        let data = self.at("data").display().to_string();
        let times = ["start", "end"].map(|which| format!("--{which}-time=2026-01-0{day} 03:00:00 UTC"));
        let whose = format!("--override-source={source}");
        self.kopia(&["snapshot", "create", &data, &whose, &times[0], &times[1]]);
    }

    /// A kopia with a configuration, a cache and a log of its own, under this name.
    fn client(&self, name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.kopia);
        command
            .args(words)
            .arg(format!("--config-file={}", self.at(&format!("{name}.config")).display()))
            .env("HOME", self.stack.folder())
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .env("KOPIA_LOG_DIR", self.at(&format!("{name}-log")))
            .env("KOPIA_CACHE_DIRECTORY", self.at(&format!("{name}-cache")))
            .stdin(Stdio::null());
        command
    }

    /// Kopia itself, as a person would use it.
    fn kopia(&self, words: &[&str]) -> Value {
        let output = self.client("kopia", words).args(["--no-auto-maintenance", "--no-progress"]).output().unwrap();
        assert!(output.status.success(), "kopia {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// So many full maintenance runs are in kopia's own record, all of them successful; when each began and ended.
    fn full_runs(&self) -> Vec<(Timestamp, Timestamp)> {
        let info = self.kopia(&["maintenance", "info", "--json"]);
        let runs = info.pointer("/schedule/runs/snapshot-gc").and_then(Value::as_array).cloned().unwrap_or_default();
        let time = |run: &Value, field: &str| run[field].as_str().unwrap().parse().unwrap();
        assert!(runs.iter().all(|run| run["success"] == json!(true)), "{runs:?}");
        runs.iter().map(|run| (time(run, "start"), time(run, "end"))).collect()
    }

    /// A KopiaRepository that does nothing by itself.
    fn given_repository(&self, namespace: &str) {
        let object = json!({
            "apiVersion": "volwarden.dev/v1alpha1", "kind": "KopiaRepository",
            "metadata": {"name": "main", "namespace": namespace},
            "spec": {
                "secretRef": {"name": "kopia"},
                "volumes": [{"mountPath": "share", "volumeSource": {"persistentVolumeClaim": {"claimName": "share"}}}],
                "podSecurityContext": {"runAsUser": 0, "runAsGroup": 0},
            },
        });
        self.stack.apply_json(&object).unwrap();
    }

    fn annotate(&self, namespace: &str, word: &str) {
        self.stack.kubectl(["annotate", REPOSITORIES, "main", "-n", namespace, word, "--overwrite"]).unwrap();
    }

    fn request(&self, request: &str) {
        self.annotate(NAMESPACE, &format!("volwarden.dev/requestedAt={request}"));
    }

    fn status(&self, namespace: &str) -> Value {
        let object = self.stack.get(REPOSITORIES, Some(namespace), "main").unwrap().unwrap();
        object.get("status").cloned().unwrap_or_default()
    }

    fn wait_status(&self, namespace: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = || Some(self.status(namespace)).filter(&wanted);
        self.stack.wait(what, LONG, look).unwrap_or_else(|error| {
            let jobs = self.stack.kubectl(["get", "jobs,pods", "-A", "-o", "wide"]).unwrap();
            panic!("{error}: {:#}\n{jobs}", self.status(namespace))
        })
    }

    /// Asks for something, and gives the record of what came of it.
    fn run(&self, request: &str) -> Value {
        self.request(request);
        let status = self.wait_status(NAMESPACE, &format!("{request} is answered"), |status| {
            text(status, "/lastHandledRequest") == request && status.get("run").is_none()
        });
        status["history"][0].clone()
    }

    /// Events about repositories.
    fn events(&self) -> Vec<Value> {
        let all = self.stack.kubectl_json(["get", "events", "-n", NAMESPACE, "-o", "json"]).unwrap();
        let all = all["items"].as_array().unwrap().clone();
        all.into_iter().filter(|event| text(event, "/involvedObject/kind") == "KopiaRepository").collect()
    }

    fn jobs(&self) -> Vec<Value> {
        let all = self.stack.kubectl_json(["get", "jobs", "-A", "-o", "json"]).unwrap();
        all["items"].as_array().unwrap().clone()
    }

    /// The Job under way has a pod that runs.
    fn wait_running(&self, namespace: &str) -> String {
        let running = || {
            let job = text(&self.status(namespace), "/run/job");
            let pods = self.stack.kubectl_json(["get", "pods", "-n", namespace, "-o", "json"]).ok()?;
            let ours = pods["items"].as_array()?.iter().find(|pod| text(pod, "/metadata/labels/job-name") == job)?;
            (text(ours, "/status/phase") == "Running").then_some(job)
        };
        self.stack
            .wait("a Job's pod runs", LONG, running)
            .unwrap_or_else(|error| panic!("{error}: {:#}", self.status(namespace)))
    }

    fn hold(&self) {
        fs::write(self.at("share/hold"), "").unwrap();
    }

    fn let_go(&self) {
        fs::remove_file(self.at("share/hold")).unwrap();
    }
}

fn reason(status: &Value) -> String {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().find(|one| one["type"] == "Ready").map(|one| text(one, "/reason")).unwrap_or_default()
}

#[test]
fn eleven_1_a_repository_is_seen_owned_by_approval_maintained_and_verified() {
    let Some(_turn) = turn() else { return };
    let lab = Lab::begin();
    let before = stack::hashes(&lab.repository()).unwrap();

    println!("11.1.1 when a repository is given, then it is looked at, and nothing of it changes");
    let _daemon = Warden::start(&lab.stack, "volwarden");
    warden::wait_leads(&lab.stack);
    lab.given_repository(NAMESPACE);
    let status = lab.wait_status(NAMESPACE, "it is seen", |status| status.get("repository").is_some());
    let real = lab.kopia(&["repository", "status", "--json"]);
    assert_eq!(status["uniqueID"], real["uniqueIDHex"]);
    assert_eq!(
        (&status["repository"]["owner"], &status["repository"]["sources"]),
        (&json!("mover@cluster"), &json!(2))
    );
    assert!(status["repository"]["indexBlobs"].as_i64().unwrap() > 0, "{status:#}");
    assert_eq!(stack::hashes(&lab.repository()).unwrap(), before);
    assert_eq!((healthy(&status), findings(&status)), (Some(true), Vec::new()), "{status:#}");

    let status = held_while_somebody_else_owns_it(&lab, &before);
    owned_by_approval(&lab, &text(&status, "/ownerPlan"));
    let quick = maintained_and_verified(&lab);
    expiry::by_default_its_own(&lab);
    expiry::others_by_approval(&lab);
    says_no_password(&lab, &quick);
    owner_goes_to_and_fro(&lab);
    stopped_while_another_is_in_its_place(&lab, &text(&real, "/uniqueIDHex"));
}

fn held_while_somebody_else_owns_it(lab: &Lab, before: &stack::Files) -> Value {
    println!("11.1.2 then maintenance that somebody else owns is held, and says how it could be ours");
    lab.request("full:1");
    let status = lab.wait_status(NAMESPACE, "it is held", |status| reason(status) == "NotOwner");
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(lab.jobs().len(), 1, "the look alone");
    assert_eq!(stack::hashes(&lab.repository()).unwrap(), *before);
    lab.annotate(NAMESPACE, "volwarden.dev/approved=0123456789abcdef");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(lab.jobs().len(), 1, "that approves something else");
    status
}

fn owned_by_approval(lab: &Lab, plan: &str) {
    println!("11.1.3 when that is approved, then we are the owner, and what was asked for happens");
    lab.annotate(NAMESPACE, &format!("volwarden.dev/approved={plan}"));
    let status = lab.wait_status(NAMESPACE, "the request is answered", |status| {
        text(status, "/lastHandledRequest") == "full:1" && status.get("run").is_none()
    });
    let tasks: Vec<String> = status["history"].as_array().unwrap().iter().map(|one| text(one, "/task")).collect();
    assert_eq!(tasks, ["Full", "Own", "Stats"], "{status:#}");
    assert!(status["history"].as_array().unwrap().iter().all(|one| one["outcome"] == "Happened"), "{status:#}");
    let cluster = text(&lab.stack.get("namespace", None, "kube-system").unwrap().unwrap(), "/metadata/uid");
    let info = lab.kopia(&["maintenance", "info", "--json"]);
    assert_eq!(text(&info, "/owner"), format!("volwarden@{cluster}"));
    assert_eq!(lab.full_runs().len(), 1, "one run, and not one more");
}

fn maintained_and_verified(lab: &Lab) -> Value {
    println!("11.1.4 quick maintenance and both verifications happen, too");
    let quick = lab.run("quick:1");
    assert_eq!(
        (&quick["task"], &quick["outcome"], &quick["trigger"]),
        (&json!("Quick"), &json!("Happened"), &json!("Request"))
    );
    let whole = lab.run("verify-whole:1");
    assert_eq!((&whole["task"], &whole["outcome"]), (&json!("VerifyWhole"), &json!("Happened")), "{whole:#}");
    assert!(text(&whole, "/message").contains("of 2 files read"), "{whole:#}");
    assert_eq!(lab.run("verify:1")["outcome"], "Happened");
    by_name(lab);
    quick
}

fn by_name(lab: &Lab) {
    println!("11.1.4a by name it is asked for, waited for, and told as the daemon recorded it");
    let asked = |words: &[&str]| {
        let words = [&["kopia"], words, &["main", "-n", NAMESPACE, "-o", "json"]].concat();
        let output = volwarden(lab.stack.kubeconfig(), &words);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), answer)
    };
    let runs = lab.full_runs().len();
    let (code, answer) = asked(&["maintain", "--full", "--wait", "--timeout", "300s"]);
    assert_eq!(
        (code, &answer["result"], &answer["run"]["task"]),
        (Some(0), &json!("happened"), &json!("Full")),
        "{answer:#}"
    );
    assert_eq!(lab.full_runs().len(), runs + 1, "kopia's own record has it");
    let (code, answer) = asked(&["status"]);
    assert_eq!((code, &answer["jobs"], &answer["movers"]), (Some(0), &json!([]), &json!([])), "{answer:#}");
    assert_eq!(answer["status"]["history"][0]["task"], "Full");
    assert_eq!(answer["lease"]["held"], Value::Null, "{answer:#}");
    assert!(text(&answer, "/lease/lease").starts_with("volwarden-system/volwarden-kopia-"), "{answer:#}");
}

fn says_no_password(lab: &Lab, quick: &Value) {
    println!("11.1.5 the log of a Job is there, and the password is in no log and no object");
    let log = lab.stack.kubectl(["logs", "-n", NAMESPACE, &format!("job/{}", text(quick, "/job"))]).unwrap();
    assert!(log.contains("Running quick maintenance") && !log.contains(PASSWORD), "{log}");
    let all = lab.stack.kubectl(["get", "jobs,pods,kopiarepositories,leases", "-A", "-o", "yaml"]).unwrap();
    assert!(!all.contains(PASSWORD));
}

fn owner_goes_to_and_fro(lab: &Lab) {
    println!(
        "11.1.5b when somebody takes the ownership, then that is a finding, told once; and when it comes back, then two maintain it"
    );
    let ours = text(&lab.kopia(&["maintenance", "info", "--json"]), "/owner");
    lab.kopia(&["maintenance", "set", "--owner=maintenance@volsync"]);
    lab.run("stats:lost");
    let status = lab.wait_status(NAMESPACE, "it is lost", |status| !findings(status).is_empty());
    assert_eq!((healthy(&status), findings(&status)), (Some(false), vec!["MaintenanceOwnerLost".to_owned()]));
    let message = text(&status, "/findings/0/message");
    assert!(message.contains("maintenance@volsync is"), "{message}");
    lab.kopia(&["maintenance", "set", &format!("--owner={ours}")]);
    lab.run("stats:back");
    let back = |status: &Value| findings(status) == ["TwoManagers"];
    lab.wait_status(NAMESPACE, "it goes to and fro", back);
    let told = |class: &str| lab.events().iter().filter(|event| text(event, "/reason") == class).count();
    assert_eq!((told("MaintenanceOwnerLost"), told("TwoManagers")), (1, 1), "{:#?}", lab.events());
}

/// Whether the condition Healthy holds.
fn healthy(status: &Value) -> Option<bool> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == "Healthy").map(|one| one["status"] == "True")
}

fn findings(status: &Value) -> Vec<String> {
    let all = status["findings"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| text(one, "/class")).collect()
}

fn stopped_while_another_is_in_its_place(lab: &Lab, pinned: &str) {
    println!("11.1.6 when another repository is in its place, then nothing is written to it any more");
    let kept = lab.at("share/kept");
    fs::rename(lab.repository(), &kept).unwrap();
    fs::create_dir(lab.repository()).unwrap();
    let empty = lab.run_not("stats:1");
    assert_eq!(empty["class"], "NotInitialised");
    assert_eq!(fs::read_dir(lab.repository()).unwrap().count(), 0, "an empty folder stays empty");
    let other = lab.repository().display().to_string();
    let config = ["--config-file", &lab.at("other.config").display().to_string()].map(str::to_owned);
    let made = Command::new(&lab.kopia)
        .args(["repository", "create", "filesystem", "--path", &other])
        .args(config)
        .env("HOME", lab.stack.folder())
        .env("KOPIA_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert!(made.status.success());
    let before = stack::hashes(&lab.repository()).unwrap();
    let changed = lab.run_not("stats:2");
    assert_eq!(changed["class"], "RepositoryChanged");
    lab.request("full:2");
    let status = lab.wait_status(NAMESPACE, "it is stopped", |status| reason(status) == "Stopped");
    assert_eq!(findings(&status), ["RepositoryChanged", "TwoManagers"], "{status:#}");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(stack::hashes(&lab.repository()).unwrap(), before);
    assert_eq!(text(&status, "/uniqueID"), pinned, "the first one is remembered");

    println!("11.1.7 when it is back and was looked at, then what was asked for happens");
    fs::rename(lab.repository(), lab.at("share/another")).unwrap();
    fs::rename(&kept, lab.repository()).unwrap();
    assert_eq!(lab.run("stats:3")["outcome"], "Happened");
    assert_eq!(lab.run("full:3")["outcome"], "Happened");
    assert_eq!(findings(&lab.status(NAMESPACE)), ["TwoManagers"]);
    assert_eq!(lab.full_runs().len(), 3, "with the one that was asked for by name");
}

impl Lab {
    /// Asks for something that does not run: the request stays unanswered.
    fn run_not(&self, request: &str) -> Value {
        self.request(request);
        let tried = |status: &Value| {
            let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
            tasks.iter().any(|one| text(one, "/failedRequest") == request) && status.get("run").is_none()
        };
        let status = self.wait_status(NAMESPACE, &format!("{request} was tried"), tried);
        assert_ne!(text(&status, "/lastHandledRequest"), request);
        assert_eq!(status["history"][0]["outcome"], "NotRun", "{status:#}");
        status["history"][0].clone()
    }

    /// A repository that is ours from the start, seen by a daemon of this name that leads.
    fn watched(name: &str) -> (Self, Warden) {
        let lab = Self::begin();
        lab.given_owned();
        let daemon = Warden::start(&lab.stack, name);
        warden::wait_leads(&lab.stack);
        lab.given_repository(NAMESPACE);
        lab.wait_status(NAMESPACE, "it is seen", |status| status.get("repository").is_some());
        (lab, daemon)
    }

    /// The repository is ours from the start.
    fn given_owned(&self) {
        let cluster = text(&self.stack.get("namespace", None, "kube-system").unwrap().unwrap(), "/metadata/uid");
        self.kopia(&["maintenance", "set", &format!("--owner=volwarden@{cluster}")]);
    }
}
