//! The real kubectl on the embedded cluster.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use volwarden::sim::store::{Part, Patch, Writer, table};

use super::sim::Embedded;
use super::{content, lines, make, pod, run, snapshot};

/// kubectl on this cluster, or `None` where it is not built and that is no failure.
struct Kubectl {
    program: std::path::PathBuf,
    kubeconfig: String,
}

impl Kubectl {
    fn find(embedded: &Embedded) -> Option<Self> {
        if let Some(missing) = stack::not_run() {
            println!("NOT RUN: {missing}");
            return None;
        }
        let program = stack::available().unwrap().path("kubectl").unwrap().to_owned();
        Some(Self { program, kubeconfig: embedded.kubeconfig().display().to_string() })
    }

    fn words(&self, words: &str) -> Vec<String> {
        let cache = format!("{}-cache", self.kubeconfig);
        let own = ["--kubeconfig", &self.kubeconfig, "--cache-dir", &cache];
        own.into_iter().chain(words.split(' ')).map(str::to_owned).collect()
    }

    /// Everything it says: a word of complaint is something that nobody sees on a real cluster.
    async fn says(&self, words: &str) -> String {
        let output = run(self.program.clone(), self.words(words)).await;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && complained.is_empty(), "kubectl {words}: {said}\n{complained}");
        said.into_owned()
    }

    fn start(&self, words: &str) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut child =
            Command::new(&self.program).args(self.words(words)).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().unwrap());
        (child, lines)
    }
}

/// The words of each line.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

async fn next(mut lines: BufReader<std::process::ChildStdout>) -> (String, BufReader<std::process::ChildStdout>) {
    let read = move || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        (line.trim_end().to_owned(), lines)
    };
    let read = tokio::task::spawn_blocking(read);
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("a line in time").unwrap()
}

#[tokio::test]
async fn get_prints_what_people_know() {
    let embedded = Embedded::start().await;
    let Some(kubectl) = Kubectl::find(&embedded) else { return };
    make(&embedded, table::SNAPSHOTS, "default", snapshot("one"));
    make(&embedded, table::CONTENTS, "", content("c"));
    make(&embedded, table::PODS, "default", pod("p", &["plugin", "sidecar"]));
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "p"}});
    make(&embedded, table::LEASES, "default", lease);
    embedded.shared.with(|host| {
        let writer = Writer { name: "csi-snapshotter", at: host.now };
        let status = Patch::Merge(json!({"status": {"readyToUse": true, "restoreSize": 1_073_741_824}}));
        host.store.patch(writer, table::CONTENTS, "", "c", Part::Status, &status).unwrap();
        host.now += jiff::SignedDuration::from_mins(5);
    });
    let said = kubectl.says("get volumesnapshots -A").await;
    let table = cells(&said);
    assert_eq!(table[0][..4], ["NAMESPACE", "NAME", "READYTOUSE", "SOURCEPVC"], "{said}");
    assert_eq!(table[1], ["default", "one", "data", "fast", "5m"], "{said}");
    let said = kubectl.says("get vsc").await;
    assert_eq!(
        cells(&said)[1],
        ["c", "true", "1073741824", "Delete", "rbd.example.com", "fast", "gone", "default", "5m"]
    );
    assert_eq!(cells(&kubectl.says("get pods").await)[1], ["p", "0/2", "Pending", "0", "5m"]);
    assert_eq!(cells(&kubectl.says("get leases").await)[1], ["l", "p", "5m"]);
    assert!(kubectl.says("get crd").await.contains("replicationsources.volsync.backube"));
    assert_eq!(kubectl.says("get vs one -o name").await.trim(), "volumesnapshot.snapshot.storage.k8s.io/one");
    assert_eq!(kubectl.says("get vs -o jsonpath={.items[*].spec.volumeSnapshotClassName}").await, "fast");
    assert!(kubectl.says("api-resources").await.contains("volumesnapshotcontents"));
    assert!(kubectl.says("version").await.contains("Server Version: v1.36"));
    embedded.stop().await;
}

#[tokio::test]
async fn describe_shows_the_object_and_its_events() {
    let embedded = Embedded::start().await;
    let Some(kubectl) = Kubectl::find(&embedded) else { return };
    make(&embedded, table::CONTENTS, "", content("c"));
    make(&embedded, table::PODS, "default", pod("p", &["plugin"]));
    let uid = embedded.shared.with(|host| host.store.get(table::CONTENTS, "", "c").unwrap()["metadata"]["uid"].clone());
    let event = json!({"metadata": {"name": "c.1"}, "reason": "SnapshotDeleteError", "message": "Failed to delete snapshot",
        "type": "Warning", "count": 3, "source": {"component": "csi-snapshotter"},
        "firstTimestamp": "2026-11-22T19:59:00Z", "lastTimestamp": "2026-11-22T20:00:00Z",
        "involvedObject": {"kind": "VolumeSnapshotContent", "name": "c", "uid": uid}});
    make(&embedded, table::EVENTS, "default", event);
    let said = kubectl.says("describe volumesnapshotcontent c").await;
    assert!(said.contains("Deletion Policy:  Delete") && said.contains("SnapshotDeleteError"), "{said}");
    let said = kubectl.says("describe pod p").await;
    assert!(said.contains("plugin:") && said.contains("Status:") && said.contains("Events:"), "{said}");
    assert!(kubectl.says("get events").await.contains("SnapshotDeleteError"));
    embedded.stop().await;
}

#[tokio::test]
async fn writes_do_what_they_say() {
    let embedded = Embedded::start().await;
    let Some(kubectl) = Kubectl::find(&embedded) else { return };
    make(&embedded, table::CONTENTS, "", content("c"));
    make(&embedded, table::PODS, "default", pod("p", &["plugin"]));
    kubectl.says("annotate vsc c snapshot.storage.kubernetes.io/volumesnapshot-being-deleted=yes").await;
    kubectl.says("label pod p app=a").await;
    kubectl.says("patch vsc c --type=json -p [{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}]").await;
    kubectl.says("annotate vsc c tried=yes --dry-run=server").await;
    let (content, pod) = embedded.shared.with(|host| {
        (host.store.get(table::CONTENTS, "", "c").unwrap(), host.store.get(table::PODS, "default", "p").unwrap())
    });
    let annotations = json!({"snapshot.storage.kubernetes.io/volumesnapshot-being-deleted": "yes"});
    assert_eq!((&content["metadata"]["annotations"], content["metadata"].get("finalizers")), (&annotations, None));
    assert_eq!(pod["metadata"]["labels"], json!({"app": "a"}));
    assert_eq!(content["metadata"]["managedFields"][1]["manager"], "kubectl-annotate");
    // It waits until they are gone.
    kubectl.says("delete vsc c").await;
    kubectl.says("delete pod p").await;
    let file = format!("{}-object.json", kubectl.kubeconfig);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "v"}});
    std::fs::write(&file, map.to_string()).unwrap();
    kubectl.says(&format!("create -f {file}")).await;
    assert_eq!(kubectl.says("get cm m -o jsonpath={.data.k}").await, "v");
    embedded.stop().await;
}

#[tokio::test]
async fn it_follows_what_happens() {
    let embedded = Embedded::start().await;
    let Some(kubectl) = Kubectl::find(&embedded) else { return };
    make(&embedded, table::SNAPSHOTS, "default", snapshot("one"));
    make(&embedded, table::PODS, "default", pod("p", &["plugin"]));
    lines(&embedded, &["first"]);

    let (mut logs, out) = kubectl.start("logs -f p --tail=1");
    let (line, out) = next(out).await;
    assert_eq!(line, "first");
    lines(&embedded, &["second"]);
    assert_eq!(next(out).await.0, "second");
    logs.kill().unwrap();
    logs.wait().unwrap();

    let (mut get, out) = kubectl.start("get volumesnapshots -w");
    let (header, out) = next(out).await;
    assert!(header.starts_with("NAME"), "{header}");
    let (first, out) = next(out).await;
    assert!(first.starts_with("one"), "{first}");
    make(&embedded, table::SNAPSHOTS, "default", snapshot("two"));
    let (second, _) = next(out).await;
    assert!(second.starts_with("two"), "one header is enough: {second}");
    get.kill().unwrap();
    get.wait().unwrap();
    embedded.stop().await;
}
