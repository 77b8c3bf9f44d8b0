//! The table of requests: each names what it is about, and may keep its answer's uid and version under a name,
//! which later requests use as `<name.uid>` and `<name.rv>`.

use serde_json::{Value, json};

/// What is sent with a request.
pub(crate) enum Body {
    None,
    /// Content type and body.
    Some(&'static str, Value),
}

/// One request.
pub(crate) struct Ask {
    pub(crate) about: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Body,
    pub(crate) keep: Option<&'static str>,
    /// Only these fields of the answer are compared, if there are any.
    pub(crate) only: &'static [&'static str],
}

/// Of a refusal whose message is in words of the server's programming language.
const VERDICT: &[&str] = &["/code", "/reason"];
/// Of the events of a watch on such objects.
const EVENT: &[&str] =
    &["/object/metadata/deletionGracePeriodSeconds", "/object/metadata/generation", "/object/metadata/name", "/type"];
/// Of an object whose kind has many defaults that nobody here reads.
const FATE: &[&str] = &[
    "/code",
    "/kind",
    "/metadata/deletionGracePeriodSeconds",
    "/metadata/finalizers",
    "/metadata/generation",
    "/reason",
    "/spec/nodeName",
    "/spec/persistentVolumeReclaimPolicy",
    "/spec/restartPolicy",
    "/spec/terminationGracePeriodSeconds",
    "/spec/volumeMode",
    "/status/phase",
];

impl Ask {
    fn keep(self, name: &'static str) -> Self {
        Self { keep: Some(name), ..self }
    }

    fn fate(self) -> Self {
        Self { only: FATE, ..self }
    }

    fn events(self) -> Self {
        Self { only: EVENT, ..self }
    }

    fn loosely(self) -> Self {
        Self { only: VERDICT, ..self }
    }
}

const SNAPSHOTS: &str = "/apis/snapshot.storage.k8s.io/v1/namespaces/default/volumesnapshots";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn get(about: &'static str, path: impl Into<String>) -> Ask {
    Ask { about, method: "GET", path: path.into(), body: Body::None, keep: None, only: &[] }
}

fn send(about: &'static str, method: &'static str, path: impl Into<String>, kind: &'static str, body: Value) -> Ask {
    Ask { about, method, path: path.into(), body: Body::Some(kind, body), keep: None, only: &[] }
}

fn create(about: &'static str, path: impl Into<String>, body: Value) -> Ask {
    send(about, "POST", path, "application/json", body)
}

fn put(about: &'static str, path: impl Into<String>, body: Value) -> Ask {
    send(about, "PUT", path, "application/json", body)
}

fn merge(about: &'static str, path: impl Into<String>, body: Value) -> Ask {
    send(about, "PATCH", path, "application/merge-patch+json", body)
}

fn json_patch(about: &'static str, path: impl Into<String>, body: Value) -> Ask {
    send(about, "PATCH", path, "application/json-patch+json", body)
}

fn delete(about: &'static str, path: impl Into<String>, body: Value) -> Ask {
    send(about, "DELETE", path, "application/json", body)
}

#[expect(clippy::needless_pass_by_value, reason = "callers write a literal")]
fn snapshot(metadata: Value) -> Value {
    json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": metadata,
        "spec": {"source": {"persistentVolumeClaimName": "data"}}})
}

fn one(path: &str, name: &str) -> String {
    format!("{path}/{name}")
}

/// All of them, in the order in which they are sent.
pub(crate) fn asks() -> Vec<Ask> {
    [creating(), updating(), patching(), deleting(), listing(), watching(), selecting(), built_in(), pods(), kinds()]
        .into_iter()
        .flatten()
        .collect()
}

fn creating() -> Vec<Ask> {
    vec![
        get("an object that is not there", one(SNAPSHOTS, "none")),
        create("a new object; its status is not taken", SNAPSHOTS, {
            let mut object = snapshot(json!({"name": "one", "labels": {"app": "a"}}));
            object["status"] = json!({"readyToUse": true});
            object
        })
        .keep("one"),
        create("the same once more", SNAPSHOTS, snapshot(json!({"name": "one"}))),
        create(
            "a namespace that is not there",
            "/apis/snapshot.storage.k8s.io/v1/namespaces/nowhere/volumesnapshots",
            snapshot(json!({"name": "one"})),
        ),
        create(
            "another namespace than the path's",
            SNAPSHOTS,
            snapshot(json!({"name": "x", "namespace": "kube-system"})),
        ),
        create("a name that is none", SNAPSHOTS, snapshot(json!({"name": "Not_Valid"}))),
        create("no name", CONFIG_MAPS, json!({"apiVersion": "v1", "kind": "ConfigMap"})),
        create("a name that the server completes", SNAPSHOTS, snapshot(json!({"generateName": "made-"}))),
        create("a version from elsewhere", SNAPSHOTS, snapshot(json!({"name": "x", "resourceVersion": "7"}))),
        create(
            "another kind than the path's",
            SNAPSHOTS,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}),
        ),
        create("another kind of the same group", SNAPSHOTS, {
            let mut object = snapshot(json!({"name": "x"}));
            object["kind"] = "VolumeSnapshotClass".into();
            object
        })
        .loosely(),
        get("a group that is not served", "/apis/example.com/v1/things"),
        get("a resource that is not served", "/apis/snapshot.storage.k8s.io/v1/things"),
        get("a resource that is not served by Kubernetes itself", "/apis/apps/v1/things"),
        send("a method that is not served", "PUT", CONFIG_MAPS, "application/json", json!({})),
    ]
}

fn updating() -> Vec<Ask> {
    let path = one(SNAPSHOTS, "one");
    vec![
        put("status alone: the spec in it is ignored", one(&path, "status"), {
            let mut object = snapshot(json!({"name": "one", "resourceVersion": "<one.rv>", "labels": {"app": "b"}}));
            object["spec"] = json!({"source": {"persistentVolumeClaimName": "other"}});
            object["status"] = json!({"readyToUse": false});
            object
        })
        .keep("two"),
        put("an old version", &path, snapshot(json!({"name": "one", "resourceVersion": "<one.rv>"}))),
        put("no version", &path, snapshot(json!({"name": "one"}))),
        put(
            "another uid",
            &path,
            snapshot(json!({"name": "one", "resourceVersion": "<two.rv>", "uid": "not-the-one"})),
        ),
        put("another name", &path, snapshot(json!({"name": "other", "resourceVersion": "<two.rv>"}))),
        put("nothing is there", one(SNAPSHOTS, "none"), snapshot(json!({"name": "none", "resourceVersion": "1"}))),
        put("all but the status: the status in it is ignored", &path, {
            let mut object = snapshot(json!({"name": "one", "resourceVersion": "<two.rv>", "annotations": {"a": "1"}}));
            object["spec"]["volumeSnapshotClassName"] = "fast".into();
            object["status"] = json!({"readyToUse": true});
            object
        })
        .keep("three"),
    ]
}

fn patching() -> Vec<Ask> {
    let path = one(SNAPSHOTS, "one");
    let finalizer = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    vec![
        merge("nothing new", &path, json!({"metadata": {"annotations": {"a": "1"}}})),
        get(
            "and no new version",
            "/apis/snapshot.storage.k8s.io/v1/namespaces/default/volumesnapshots?resourceVersion=<three.rv>&resourceVersionMatch=Exact&limit=1",
        ),
        merge("null removes", &path, json!({"metadata": {"annotations": {"a": null, "b": "2"}}})),
        merge("an old version", &path, json!({"metadata": {"resourceVersion": "<one.rv>", "labels": {"x": "y"}}})),
        merge("another uid", &path, json!({"metadata": {"uid": "not-the-one", "labels": {"x": "y"}}})),
        merge("another name", &path, json!({"metadata": {"name": "other"}})),
        merge("the right uid", &path, json!({"metadata": {"uid": "<one.uid>", "labels": {"x": "y"}}})),
        merge("the status, through the object", &path, json!({"status": {"readyToUse": true}})),
        merge("the status, through its subresource", one(&path, "status"), json!({"status": {"readyToUse": true}})),
        merge("labels, through the status", one(&path, "status"), json!({"metadata": {"labels": {"x": "z"}}})),
        merge("nothing is there", one(SNAPSHOTS, "none"), json!({})),
        json_patch(
            "a test that fails",
            &path,
            json!([{"op": "test", "path": "/metadata/uid", "value": "not-the-one"}]),
        ),
        json_patch(
            "a test that holds",
            &path,
            json!([{"op": "test", "path": "/metadata/uid", "value": "<one.uid>"},
                {"op": "add", "path": "/metadata/annotations/c~1d", "value": "3"}]),
        ),
        json_patch("a path that is not there", &path, json!([{"op": "remove", "path": "/metadata/nothing"}])),
        json_patch("no list of operations", &path, json!({"op": "remove"})).loosely(),
        send("a strategic merge patch", "PATCH", &path, "application/strategic-merge-patch+json", json!({})).loosely(),
        merge("a finalizer", &path, finalizer).keep("held"),
    ]
}

fn deleting() -> Vec<Ask> {
    let path = one(SNAPSHOTS, "one");
    let another = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    vec![
        delete("nothing is there", one(SNAPSHOTS, "none"), json!({})),
        delete("another uid", &path, json!({"preconditions": {"uid": "not-the-one"}})),
        delete("an old version", &path, json!({"preconditions": {"resourceVersion": "<one.rv>"}})),
        delete(
            "held by a finalizer",
            &path,
            json!({"preconditions": {"uid": "<one.uid>", "resourceVersion": "<held.rv>"}}),
        )
        .keep("going"),
        delete("once more", &path, json!({})),
        merge("one more finalizer", &path, another),
        merge("a label on what is being deleted", &path, json!({"metadata": {"labels": {"late": "yes"}}})),
        merge("the last finalizer goes", &path, json!({"metadata": {"finalizers": null}})),
        get("and the object with it", &path),
        create("an object that nothing holds", SNAPSHOTS, snapshot(json!({"name": "free"}))),
        delete("goes at once", one(SNAPSHOTS, "free"), json!({"propagationPolicy": "Background"})),
        create("an object", SNAPSHOTS, snapshot(json!({"name": "owner"}))),
        delete("whose dependents go first", one(SNAPSHOTS, "owner"), json!({"propagationPolicy": "Foreground"})),
    ]
}

fn listing() -> Vec<Ask> {
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"suite": "list"}}});
    let selected = format!("{CONFIG_MAPS}?labelSelector=suite%3Dlist");
    vec![
        create("first", CONFIG_MAPS, map("a")).keep("first"),
        create("second", CONFIG_MAPS, map("b")).keep("second"),
        create("third", CONFIG_MAPS, map("c")).keep("third"),
        get("a page", format!("{selected}&limit=2")).keep("page"),
        get("the next one", format!("{selected}&limit=2&continue=<page.continue>")),
        get("a token and a version", format!("{selected}&limit=2&continue=<page.continue>&resourceVersion=5")),
        get("no token at all", format!("{selected}&limit=2&continue=nonsense")).loosely(),
        get("as of a version", format!("{selected}&resourceVersion=<second.rv>&resourceVersionMatch=Exact")),
        get("a version to come", format!("{selected}&resourceVersion=999999999")),
        get("a version that is none", format!("{selected}&resourceVersion=abc")).loosely(),
        get("a limit that is none", format!("{selected}&limit=abc")).loosely(),
        get("a match without a version", format!("{selected}&resourceVersionMatch=Exact")),
        get("a match of no kind", format!("{selected}&resourceVersionMatch=Nearly&resourceVersion=5")),
    ]
}

fn watching() -> Vec<Ask> {
    let selected = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1&labelSelector=suite%3Dlist");
    vec![
        merge("a change", one(CONFIG_MAPS, "a"), json!({"data": {"k": "v"}})),
        merge("out of sight", one(CONFIG_MAPS, "b"), json!({"metadata": {"labels": {"suite": null}}})),
        merge("in sight again", one(CONFIG_MAPS, "b"), json!({"metadata": {"labels": {"suite": "list"}}})),
        delete("gone", one(CONFIG_MAPS, "c"), json!({})),
        get("from a version", format!("{selected}&resourceVersion=<third.rv>")),
        get("from the beginning", &selected),
        get("from any version", format!("{selected}&resourceVersion=0")),
        get("from too old a version", format!("{SNAPSHOTS}?watch=true&timeoutSeconds=1&resourceVersion=1")),
        get(
            "a streaming list",
            format!("{selected}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"),
        ),
        get("a streaming list without a match", format!("{selected}&sendInitialEvents=true")),
        get(
            "a streaming list without bookmarks",
            format!("{selected}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
        ),
        get("a match without a streaming list", format!("{selected}&resourceVersionMatch=NotOlderThan")),
    ]
}

fn selecting() -> Vec<Ask> {
    let maps = |selector: &str| format!("{CONFIG_MAPS}?{selector}");
    vec![
        get("in", maps("labelSelector=suite%20in%20(list,other)")),
        get("not in, and there", maps("labelSelector=suite%20notin%20(other),suite")),
        get("not there", maps("labelSelector=!suite,suite!%3Dlist&fieldSelector=metadata.name%3Da")),
        get("no selector", maps("labelSelector=a%20b%20c")).loosely(),
        get("by name", maps("fieldSelector=metadata.name%3Db")),
        get(
            "by anything but a name",
            maps("fieldSelector=metadata.name!%3Db,metadata.namespace%3Ddefault&labelSelector=suite"),
        ),
        get("by a field that is none", maps("fieldSelector=data.k%3Dv")),
        get("by a field that is none, of a custom resource", format!("{SNAPSHOTS}?fieldSelector=spec.x%3Dv")),
    ]
}

fn built_in() -> Vec<Ask> {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a"}});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}});
    vec![
        create("a claim is protected", CLAIMS, claim),
        delete("and stays", one(CLAIMS, "data"), json!({})),
        merge(
            "takes no finalizer",
            one(CLAIMS, "data"),
            json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection", "a.b/c"]}}),
        ),
        merge("and no uid", one(CLAIMS, "data"), json!({"metadata": {"uid": "not-the-one"}})),
        merge("until it is released", one(CLAIMS, "data"), json!({"metadata": {"finalizers": []}})),
        create("a lease", LEASES, lease.clone()),
        put("a lease without a version", one(LEASES, "l"), lease),
        put(
            "a map without a version",
            one(CONFIG_MAPS, "a"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "w"}}),
        ),
        delete("a map of another uid", one(CONFIG_MAPS, "a"), json!({"preconditions": {"uid": "not-the-one"}})),
        create("a namespace", "/api/v1/namespaces", namespace),
        create(
            "a namespace of no name",
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}),
        ),
        delete("a namespace goes when it is empty", "/api/v1/namespaces/later", json!({})),
        create(
            "and takes nothing new",
            "/api/v1/namespaces/later/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}),
        ),
        get("no log of no pod", one(PODS, "none/log")),
        get("no status of what has none", one(CONFIG_MAPS, "a/status")),
    ]
}

fn pods() -> Vec<Ask> {
    let pod = |name: &str, node: Option<&str>| {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "example.com/i:1"}]}});
        if let Some(node) = node {
            pod["spec"]["nodeName"] = node.into();
        }
        pod
    };
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let strategic = "application/strategic-merge-patch+json";
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "late"},
        "target": {"kind": "Node", "name": "n"}});
    vec![
        create("a pod that runs nowhere", PODS, pod("nowhere", None)).fate().keep("nowhere"),
        delete("goes at once", one(PODS, "nowhere"), json!({})).fate(),
        create("a pod on a node", PODS, pod("somewhere", Some("n"))).fate(),
        send(
            "an annotation of kubectl's",
            "PATCH",
            one(PODS, "somewhere"),
            strategic,
            json!({"metadata": {"annotations": {"a": "b"}}}),
        )
        .fate(),
        delete("is given time to end", one(PODS, "somewhere"), json!({})).fate(),
        delete("once more", one(PODS, "somewhere"), json!({})).fate(),
        delete("less time", one(PODS, "somewhere"), json!({"gracePeriodSeconds": 5})).fate(),
        delete("the kubelet says that it has ended", one(PODS, "somewhere"), json!({"gracePeriodSeconds": 0})).fate(),
        get("and it is gone", one(PODS, "somewhere")),
        get("how they went", format!("{PODS}?watch=true&timeoutSeconds=1&resourceVersion=<nowhere.rv>")).events(),
        create("a pod that is to be placed", PODS, pod("late", None)).fate(),
        create("is placed", one(PODS, "late/binding"), binding).fate(),
        get("on that node", one(PODS, "late")).fate(),
        merge("has ended", one(PODS, "late/status"), json!({"status": {"phase": "Succeeded"}})).fate(),
        merge("is held", one(PODS, "late"), held).fate(),
        delete("needs no more time, but stays", one(PODS, "late"), json!({})).fate(),
        merge("until it is released", one(PODS, "late"), json!({"metadata": {"finalizers": null}})).fate(),
        get("and it is gone", one(PODS, "late")),
    ]
}

/// What each of Kubernetes' own kinds does with a new object, a label, a changed spec and a deletion.
fn kinds() -> Vec<Ask> {
    let template = json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": "example.com/i:1"}]}});
    let once = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/i:1"}]}});
    let workload = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let volume = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "d", "volumeHandle": "h"}});
    let attachment = json!({"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}});
    let involved = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    let rows = [
        ("/api/v1/nodes", json!({"spec": {}}), json!({"spec": {"unschedulable": true}})),
        (
            "/api/v1/namespaces/default/services",
            json!({"spec": {"clusterIP": "None"}}),
            json!({"spec": {"publishNotReadyAddresses": true}}),
        ),
        (CONFIG_MAPS, json!({}), json!({"data": {"k": "v"}})),
        ("/api/v1/namespaces/default/secrets", json!({}), json!({"stringData": {"k": "v"}})),
        ("/api/v1/namespaces/default/serviceaccounts", json!({}), json!({"automountServiceAccountToken": false})),
        ("/api/v1/namespaces/default/events", json!({"involvedObject": involved}), json!({"count": 2})),
        (
            "/api/v1/persistentvolumes",
            json!({"spec": volume}),
            json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}),
        ),
        ("/apis/apps/v1/namespaces/default/deployments", json!({"spec": workload}), json!({"spec": {"replicas": 2}})),
        ("/apis/apps/v1/namespaces/default/replicasets", json!({"spec": workload}), json!({"spec": {"replicas": 2}})),
        (
            "/apis/apps/v1/namespaces/default/daemonsets",
            json!({"spec": workload}),
            json!({"spec": {"minReadySeconds": 2}}),
        ),
        ("/apis/apps/v1/namespaces/default/statefulsets", json!({"spec": workload}), json!({"spec": {"replicas": 2}})),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            json!({"spec": {"template": once}}),
            json!({"spec": {"parallelism": 2}}),
        ),
        (
            "/apis/batch/v1/namespaces/default/cronjobs",
            json!({"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": once}}}}),
            json!({"spec": {"suspend": true}}),
        ),
        (LEASES, json!({"spec": {"holderIdentity": "a"}}), json!({"spec": {"holderIdentity": "b"}})),
        (
            "/apis/storage.k8s.io/v1/csidrivers",
            json!({"spec": {"attachRequired": false}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
        ("/apis/storage.k8s.io/v1/storageclasses", json!({"provisioner": "d"}), json!({"allowVolumeExpansion": true})),
        (
            "/apis/storage.k8s.io/v1/volumeattachments",
            json!({"spec": attachment}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
    ];
    let asks = rows.into_iter().flat_map(|(path, mut object, change)| {
        object["metadata"] = json!({"name": "kind"});
        let there = one(path, "kind");
        [
            create("an object of this kind", path, object).fate(),
            merge("a label", &there, json!({"metadata": {"labels": {"l": "m"}}})).fate(),
            merge("another spec", &there, change).fate(),
            delete("a deletion", &there, json!({})).fate(),
        ]
    });
    asks.collect()
}
