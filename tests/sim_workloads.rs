//! Workloads, volumes and nodes of the embedded cluster behave as a real cluster's do.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test"
)]

#[path = "sim_home/mod.rs"]
mod sim_home;

use serde_json::{Value, json};
use sim_home::{World, condition, deployment, minutes, number, seconds};
use volwarden::sim::actors::home_cluster::{HomeCluster, Layout};
use volwarden::sim::actors::kubelet::{EXIT, RUNS_FOR};
use volwarden::sim::actors::object;
use volwarden::sim::store::table::{
    ATTACHMENTS, CLAIMS, DAEMON_SETS, DEPLOYMENTS, JOBS, NAMESPACES, NODES, PODS, REPLICA_SETS, SECRETS, SNAPSHOTS,
    STORAGE_CLASSES, VOLUMES,
};
use volwarden::sim::store::{ChangeKind, DeleteOptions, Propagation};

const LEADER: &str = "external-snapshotter-leader-rook-ceph-rbd-csi-ceph-com";

/// Pods with this label `app`.
fn pods(world: &World, namespace: &str, app: &str) -> Vec<Value> {
    let all = world.all(PODS, namespace);
    all.iter().filter(|pod| object::label(pod, "app") == Some(app)).map(|pod| (**pod).clone()).collect()
}

fn is_available(world: &World, namespace: &str, name: &str) -> bool {
    world.get(DEPLOYMENTS, namespace, name).is_some_and(|found| {
        let all = number(&found, "/spec/replicas");
        let generation = number(&found, "/metadata/generation");
        number(&found, "/status/observedGeneration") == generation
            && ["replicas", "updatedReplicas", "availableReplicas"]
                .iter()
                .all(|field| number(&found, &format!("/status/{field}")) == all)
    })
}

// === Deployments ===

#[test]
fn a_home_cluster_comes_up_and_its_drivers_elect_a_leader() {
    for layout in [Layout::Operator, Layout::Classic] {
        let mut world = World::new(1, &HomeCluster { layout, ..HomeCluster::default() });
        let deployment = world.home.deployment.clone();
        world.until("the driver runs", minutes(2), |world| is_available(world, "rook-ceph", &deployment));
        world
            .until("the apps run", minutes(2), |world| world.home.apps.iter().all(|app| is_available(world, app, app)));
        let holder = world.holder("rook-ceph", LEADER);
        let mine = pods(&world, "rook-ceph", &deployment);
        assert_eq!(mine.len(), 2);
        let sanitized: Vec<String> = mine.iter().map(|pod| object::name(pod).replace('.', "-")).collect();
        assert!(sanitized.contains(&holder), "{holder} is one of {sanitized:?}");
        let nodes: std::collections::BTreeSet<_> = mine.iter().map(|pod| object::text(pod, "/spec/nodeName")).collect();
        assert_eq!(nodes.len(), 2, "replicas spread");
        let found = world.get(DEPLOYMENTS, "rook-ceph", &deployment).unwrap();
        assert_eq!(condition(&found, "Available").as_deref(), Some("True"));
        assert_eq!(found["status"]["conditions"][1]["reason"], "NewReplicaSetAvailable");
    }
}

#[test]
fn a_rollout_that_recreates_has_a_moment_without_pods() {
    let mut world = World::bare(2);
    let deployment = world.home.deployment.clone();
    let before = pods(&world, "rook-ceph", &deployment);
    world.home.restart(&mut world.cluster, "rook-ceph", &deployment).unwrap();
    world.until("the old ones go", minutes(2), |world| pods(world, "rook-ceph", &deployment).is_empty());
    world.until("the new ones run", minutes(2), |world| is_available(world, "rook-ceph", &deployment));
    let after = pods(&world, "rook-ceph", &deployment);
    assert!(after.iter().all(|pod| before.iter().all(|old| object::uid(old) != object::uid(pod))));
    let sets = world.all(REPLICA_SETS, "rook-ceph");
    let mine = sets.iter().filter(|set| object::name(set).starts_with(&deployment));
    let mut wanted: Vec<i64> = mine.map(|set| number(set, "/spec/replicas")).collect();
    wanted.sort_unstable();
    assert_eq!(wanted, [0, 2]);
    // The lease of the leader that went stands for its whole duration.
    let old = world.holder("rook-ceph", LEADER);
    assert!(before.iter().any(|pod| object::name(pod).replace('.', "-") == old));
    let took = world.until("somebody takes over", minutes(4), |world| world.holder("rook-ceph", LEADER) != old);
    assert!(took > seconds(60) && took < seconds(200), "{took:?}");
}

#[test]
fn a_rolling_update_never_goes_below_what_must_be_available() {
    let mut world = World::bare(3);
    world.namespace("shop");
    world.create(DEPLOYMENTS, "shop", deployment("web", 4, "RollingUpdate"));
    world.until("it runs", minutes(1), |world| is_available(world, "shop", "web"));
    let template =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:2"}]}}}});
    world.patch(DEPLOYMENTS, "shop", "web", template);
    let least = std::cell::Cell::new(usize::MAX);
    let most = std::cell::Cell::new(0);
    world.cluster.run_for(seconds(1));
    world.until("it rolled", minutes(5), |world| {
        let all = pods(world, "shop", "web");
        let ready = all.iter().filter(|pod| condition(pod, "Ready").as_deref() == Some("True")).count();
        least.set(least.get().min(ready));
        most.set(most.get().max(all.iter().filter(|pod| !object::is_deleting(pod)).count()));
        is_available(world, "shop", "web")
    });
    assert_eq!((least.get(), most.get()), (3, 5), "a quarter fewer, a quarter more");
    world.patch(DEPLOYMENTS, "shop", "web", json!({"spec": {"replicas": 1}}));
    world.until("it is scaled", minutes(2), |world| pods(world, "shop", "web").len() == 1);
    assert!(world.reasons("shop", "web").iter().all(|reason| reason == "ScalingReplicaSet"));
}

#[test]
fn a_daemon_set_has_a_pod_on_each_node() {
    let world = World::bare(4);
    let set = world.all(DAEMON_SETS, "rook-ceph").remove(0);
    let mut nodes: Vec<String> = pods(&world, "rook-ceph", object::name(&set))
        .iter()
        .map(|pod| object::text(pod, "/spec/nodeName").to_owned())
        .collect();
    nodes.sort();
    assert_eq!(nodes, ["k8s-0", "k8s-1", "k8s-2"]);
    assert_eq!(set["status"]["numberReady"], 3);
}

// === Pods ===

fn pod(name: &str, policy: &str, annotations: &Value) -> Value {
    json!({"metadata": {"name": name, "annotations": annotations},
        "spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "example.com/c:1"}]}})
}

#[test]
fn a_container_that_keeps_failing_waits_longer_each_time() {
    let mut world = World::bare(5);
    world.create(PODS, "default", pod("p", "Always", &json!({EXIT: "3", RUNS_FOR: "1s"})));
    let restarts = |world: &World| {
        world.get(PODS, "default", "p").map_or(0, |pod| number(&pod, "/status/containerStatuses/0/restartCount"))
    };
    let mut waits = Vec::new();
    for count in 1..=4 {
        waits.push(world.until("it starts again", minutes(3), |world| restarts(world) == count).as_secs());
    }
    assert!(waits[1] >= 10 && waits[1] < 15 && waits[2] >= 20 && waits[2] < 25 && waits[3] >= 40, "{waits:?}");
    world.cluster.run_for(seconds(5));
    let pod = world.get(PODS, "default", "p").unwrap();
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!((&pod["status"]["phase"], condition(&pod, "Ready")), (&json!("Running"), Some("False".to_owned())));
}

#[test]
fn a_frozen_process_outlives_the_deletion_of_its_pod_until_the_grace_is_over() {
    let mut world = World::bare(6);
    world.create(PODS, "default", pod("p", "Always", &json!({})));
    world
        .until("it runs", minutes(1), |world| world.get(PODS, "default", "p").unwrap()["status"]["phase"] == "Running");
    let process = world.process("default", "p", "c");
    world.cluster.pause(process);
    world.delete(PODS, "default", "p");
    let gone = world.until("it goes", minutes(1), |world| world.get(PODS, "default", "p").is_none());
    assert!(gone >= seconds(30) && gone < seconds(33), "{gone:?}");
    assert!(!world.cluster.is_running(process));

    world.create(PODS, "default", pod("q", "Always", &json!({})));
    world
        .until("it runs", minutes(1), |world| world.get(PODS, "default", "q").unwrap()["status"]["phase"] == "Running");
    world.delete(PODS, "default", "q");
    let gone = world.until("it goes", minutes(1), |world| world.get(PODS, "default", "q").is_none());
    assert!(gone < seconds(3), "one that hears goes at once: {gone:?}");
}

#[test]
fn a_pod_whose_secret_is_missing_says_which() {
    let mut world = World::bare(7);
    let mut object = pod("p", "Always", &json!({}));
    object["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}]);
    world.create(PODS, "default", object);
    world.cluster.run_for(seconds(10));
    let pod = world.get(PODS, "default", "p").unwrap();
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(
        (waiting["reason"].as_str(), waiting["message"].as_str()),
        (Some("CreateContainerConfigError"), Some("secret \"keys\" not found"))
    );
    world.create(SECRETS, "default", json!({"metadata": {"name": "keys"}}));
    world
        .until("it runs", minutes(2), |world| world.get(PODS, "default", "p").unwrap()["status"]["phase"] == "Running");
}

// === Jobs ===

fn job(name: &str, limit: u32, annotations: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"backoffLimit": limit, "template": {
        "metadata": {"annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/c:1"}]}}}})
}

/// What a Job's status went through: active, ready, succeeded, failed, the conditions.
fn statuses(world: &World, name: &str) -> Vec<(i64, i64, i64, i64, Vec<String>)> {
    let history = world.history(JOBS, "default", name);
    let mut seen = Vec::new();
    for (_, job) in history.iter().filter(|(kind, _)| *kind != ChangeKind::Deleted) {
        let conditions = job.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let names = conditions.iter().map(|condition| object::text(condition, "/type").to_owned()).collect();
        let count = |field: &str| number(job, &format!("/status/{field}"));
        seen.push((count("active"), count("ready"), count("succeeded"), count("failed"), names));
    }
    seen.dedup();
    seen
}

#[test]
fn a_job_that_succeeds_says_so_twice() {
    let mut world = World::bare(8);
    let mut object = job("j", 6, &json!({EXIT: "0", RUNS_FOR: "20s"}));
    object["spec"]["ttlSecondsAfterFinished"] = json!(60);
    world.create(JOBS, "default", object);
    world.until("it is complete", minutes(2), |world| {
        world.get(JOBS, "default", "j").is_some_and(|job| condition(&job, "Complete").is_some())
    });
    let both = ["SuccessCriteriaMet", "Complete"].map(ToOwned::to_owned).to_vec();
    assert_eq!(
        statuses(&world, "j"),
        [
            (0, 0, 0, 0, vec![]),
            (1, 0, 0, 0, vec![]),
            (1, 1, 0, 0, vec![]),
            (0, 0, 0, 0, both[..1].to_vec()),
            (0, 0, 1, 0, both),
        ]
    );
    let job = world.get(JOBS, "default", "j").unwrap();
    assert_eq!(job["status"]["uncountedTerminatedPods"], json!({}));
    assert!(job["status"]["completionTime"].is_string() && job["status"]["startTime"].is_string());
    let pod = world.all(PODS, "default").remove(0);
    assert_eq!((object::finalizers(&pod).count(), &pod["status"]["phase"]), (0, &json!("Succeeded")));
    assert_eq!(object::label(&pod, "job-name"), Some("j"));
    let gone = world.until("its time is over", minutes(3), |world| {
        world.get(JOBS, "default", "j").is_none() && world.all(PODS, "default").is_empty()
    });
    assert!(gone >= seconds(58) && gone < seconds(65), "{gone:?}");
}

#[test]
fn a_job_that_fails_tries_as_often_as_it_may() {
    let mut world = World::bare(9);
    world.create(JOBS, "default", job("j", 2, &json!({EXIT: "1", RUNS_FOR: "1s"})));
    world.until("it failed", minutes(5), |world| {
        world.get(JOBS, "default", "j").is_some_and(|job| condition(&job, "Failed").is_some())
    });
    let job = world.get(JOBS, "default", "j").unwrap();
    assert_eq!((number(&job, "/status/failed"), number(&job, "/status/succeeded")), (3, 0));
    let conditions = job["status"]["conditions"].as_array().unwrap();
    let said: Vec<_> =
        conditions.iter().map(|one| (one["type"].as_str().unwrap(), one["reason"].as_str().unwrap())).collect();
    assert_eq!(said, [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]);
    let pods = world.all(PODS, "default");
    let mut begun: Vec<i64> = pods
        .iter()
        .map(|pod| object::text(pod, "/metadata/creationTimestamp").parse::<jiff::Timestamp>().unwrap().as_second())
        .collect();
    begun.sort_unstable();
    let waits: Vec<i64> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((11..20).contains(&waits[0]) && (21..30).contains(&waits[1]), "{waits:?}");
    // As kubectl deletes it; with no word about its pods the server would leave them behind.
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    world.delete_with(JOBS, "default", "j", &options);
    world.until("its pods go too", seconds(10), |world| world.all(PODS, "default").is_empty());
}

// === Nodes ===

#[test]
fn a_lost_node_is_noticed_and_its_pods_stay_until_it_is_back() {
    let mut world = World::bare(10);
    world.namespace("shop");
    world.create(DEPLOYMENTS, "shop", deployment("web", 1, "RollingUpdate"));
    world.until("it runs", minutes(1), |world| is_available(world, "shop", "web"));
    let old = pods(&world, "shop", "web").remove(0);
    let node_name = object::text(&old, "/spec/nodeName").to_owned();
    let node = world.home.nodes.iter().find(|node| node.name() == node_name).unwrap().clone();
    node.lose(&mut world.cluster);
    let noticed = world.until("it is noticed", minutes(2), |world| world.node_is(&node_name, "Unknown"));
    assert!(noticed > seconds(40) && noticed <= seconds(55), "{noticed:?}");
    world.cluster.run_for(seconds(1));
    let pod = world.get(PODS, "shop", object::name(&old)).unwrap();
    assert_eq!((&pod["status"]["phase"], condition(&pod, "Ready")), (&json!("Running"), Some("False".to_owned())));
    let evicted = world.until("its pods are asked to go", minutes(10), |world| {
        object::is_deleting(&world.get(PODS, "shop", object::name(&old)).unwrap())
    });
    assert!(evicted >= seconds(298) && evicted < seconds(302), "{evicted:?}");
    world.until("another one runs elsewhere", minutes(1), |world| is_available(world, "shop", "web"));
    world.cluster.run_for(minutes(60));
    assert!(world.get(PODS, "shop", object::name(&old)).is_some(), "nobody confirmed its end");
    node.restore(&mut world.cluster);
    world.until("the node is back", seconds(10), |world| world.node_is(&node_name, "True"));
    world.until("the pod goes", minutes(1), |world| world.get(PODS, "shop", object::name(&old)).is_none());
    assert!(world.get(NODES, "", &node_name).unwrap().pointer("/spec/taints").is_none());
}

#[test]
fn after_a_power_cut_pods_start_again_where_they_were() {
    let mut world = World::bare(11);
    let deployment = world.home.deployment.clone();
    let victim = pods(&world, "rook-ceph", &deployment).remove(0);
    let node_name = object::text(&victim, "/spec/nodeName").to_owned();
    let node = world.home.nodes.iter().find(|node| node.name() == node_name).unwrap().clone();
    node.cut_power(&mut world.cluster);
    world.cluster.run_for(minutes(2));
    assert!(world.node_is(&node_name, "Unknown"));
    node.power_on(&mut world.cluster);
    world.until("it is ready again", minutes(2), |world| {
        let pod = world.get(PODS, "rook-ceph", object::name(&victim)).unwrap();
        world.node_is(&node_name, "True") && condition(&pod, "Ready").as_deref() == Some("True")
    });
    let pod = world.get(PODS, "rook-ceph", object::name(&victim)).unwrap();
    assert_eq!(object::uid(&pod), object::uid(&victim));
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!((number(status, "/restartCount"), &status["lastState"]["terminated"]["reason"]), (1, &json!("Unknown")));
}

// === Owners and namespaces ===

#[test]
fn what_is_owned_goes_after_its_owner_or_before_it_or_stays() {
    let mut world = World::bare(12);
    for (name, propagation) in
        [("a", Propagation::Background), ("b", Propagation::Foreground), ("c", Propagation::Orphan)]
    {
        world.namespace(name);
        world.create(DEPLOYMENTS, name, deployment("web", 2, "RollingUpdate"));
        world.until("it runs", minutes(1), |world| is_available(world, name, "web"));
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        world.delete_with(DEPLOYMENTS, name, "web", &options);
        world.until("the owner goes", minutes(2), |world| world.get(DEPLOYMENTS, name, "web").is_none());
        let sets = world.all(REPLICA_SETS, name);
        match propagation {
            Propagation::Background => {
                assert_eq!(sets.len(), 1, "it went first");
                world.until("all went", minutes(2), |world| {
                    world.all(REPLICA_SETS, name).is_empty() && world.all(PODS, name).is_empty()
                });
            }
            Propagation::Foreground => assert_eq!(sets.len(), 0, "it went last"),
            Propagation::Orphan => {
                world.cluster.run_for(minutes(5));
                assert_eq!((sets.len(), world.all(PODS, name).len()), (1, 2), "they stay");
                assert!(sets[0].pointer("/metadata/ownerReferences").is_none());
            }
        }
    }
}

#[test]
fn a_namespace_stays_while_something_in_it_is_held() {
    let mut world = World::bare(13);
    world.namespace("shop");
    world.create(DEPLOYMENTS, "shop", deployment("web", 1, "RollingUpdate"));
    let held = json!({"metadata": {"name": "s", "finalizers": ["example.com/hold"]},
        "spec": {"source": {"volumeSnapshotContentName": "none"}}});
    world.create(SNAPSHOTS, "shop", held);
    world.until("it runs", minutes(1), |world| is_available(world, "shop", "web"));
    world.delete(NAMESPACES, "", "shop");
    world.cluster.run_for(minutes(3));
    let namespace = world.get(NAMESPACES, "", "shop").unwrap();
    assert_eq!(namespace["status"]["phase"], "Terminating");
    let said = namespace["status"]["conditions"].as_array().unwrap();
    let message = |kind: &str| said.iter().find(|one| one["type"] == kind).unwrap()["message"].as_str().unwrap();
    assert_eq!(
        message("NamespaceContentRemaining"),
        "Some resources are remaining: volumesnapshots.snapshot.storage.k8s.io has 1 resource instances"
    );
    assert_eq!(
        message("NamespaceFinalizersRemaining"),
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    assert!(world.all(DEPLOYMENTS, "shop").is_empty() && world.all(PODS, "shop").is_empty());
    let left = world.get(SNAPSHOTS, "shop", "s").unwrap();
    assert_eq!(object::finalizers(&left).collect::<Vec<_>>(), ["example.com/hold"]);
    world.patch(SNAPSHOTS, "shop", "s", json!({"metadata": {"finalizers": null}}));
    world.until("it goes", seconds(30), |world| world.get(NAMESPACES, "", "shop").is_none());
}

// === Volumes ===

fn claim(name: &str, class: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "resources": {"requests": {"storage": "1Gi"}}}})
}

fn mounting(name: &str, claim: &str) -> Value {
    let mut pod = pod(name, "Always", &json!({}));
    pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
    pod
}

#[test]
fn a_claim_is_bound_mounted_and_protected() {
    let mut world = World::bare(14);
    let bound = |world: &World, name: &str| world.get(CLAIMS, "default", name).unwrap()["status"]["phase"] == "Bound";
    world.create(CLAIMS, "default", claim("a", "ceph-block"));
    world.until("it is bound", minutes(4), |world| bound(world, "a"));
    let claim_a = world.get(CLAIMS, "default", "a").unwrap();
    let volume = object::text(&claim_a, "/spec/volumeName").to_owned();
    assert_eq!(world.get(VOLUMES, "", &volume).unwrap()["status"]["phase"], "Bound");
    assert_eq!(object::annotation(&claim_a, "pv.kubernetes.io/bind-completed"), Some("yes"));
    world.create(PODS, "default", mounting("p", "a"));
    world
        .until("it runs", minutes(1), |world| world.get(PODS, "default", "p").unwrap()["status"]["phase"] == "Running");
    let attached = world.cluster.store.list(ATTACHMENTS, None).next().unwrap().clone();
    assert_eq!(
        (&attached["spec"]["source"]["persistentVolumeName"], &attached["status"]["attached"]),
        (&json!(volume), &json!(true))
    );
    world.delete(CLAIMS, "default", "a");
    world.cluster.run_for(minutes(1));
    assert!(world.get(CLAIMS, "default", "a").is_some(), "a pod mounts it");
    world.delete(PODS, "default", "p");
    world.until("all of it goes", minutes(1), |world| {
        world.get(CLAIMS, "default", "a").is_none()
            && world.get(VOLUMES, "", &volume).is_none()
            && world.cluster.store.list(ATTACHMENTS, None).next().is_none()
    });
    assert_eq!(world.home.pool.with(|pool| pool.volumes().len()), 0);
}

#[test]
fn a_claim_that_waits_for_its_consumer_gets_the_consumers_node() {
    let mut world = World::bare(15);
    let class = json!({"metadata": {"name": "late"}, "provisioner": world.home.driver, "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer"});
    world.create(STORAGE_CLASSES, "", class);
    world.create(CLAIMS, "default", claim("a", "late"));
    world.cluster.run_for(minutes(3));
    assert_eq!(world.get(CLAIMS, "default", "a").unwrap()["status"]["phase"], "Pending");
    world.create(PODS, "default", mounting("p", "a"));
    world
        .until("it runs", minutes(1), |world| world.get(PODS, "default", "p").unwrap()["status"]["phase"] == "Running");
    let [claim, pod] =
        [(CLAIMS, "a"), (PODS, "p")].map(|(resource, name)| world.get(resource, "default", name).unwrap());
    let node = object::annotation(&claim, "volume.kubernetes.io/selected-node");
    assert_eq!(node, Some(object::text(&pod, "/spec/nodeName")));
}

#[test]
fn a_pod_whose_claim_is_not_bound_is_not_scheduled() {
    let mut world = World::bare(16);
    world.create(CLAIMS, "default", claim("a", "absent"));
    world.create(PODS, "default", mounting("p", "a"));
    world.cluster.run_for(minutes(2));
    let pod = world.get(PODS, "default", "p").unwrap();
    assert_eq!(
        (&pod["status"]["phase"], condition(&pod, "PodScheduled")),
        (&json!("Pending"), Some("False".to_owned()))
    );
    assert!(world.reasons("default", "a").contains(&"ProvisioningFailed".to_owned()));
    let mut manual = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "storageClassName": "absent", "hostPath": {"path": "/v"}}});
    manual["spec"]["claimRef"] = json!({"namespace": "default", "name": "a"});
    world.create(VOLUMES, "", manual);
    world
        .until("it runs", minutes(2), |world| world.get(PODS, "default", "p").unwrap()["status"]["phase"] == "Running");
}

// === All of it ===

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed: u64| {
        let mut world = World::new(seed, &HomeCluster { apps: 2, ..HomeCluster::default() });
        world.cluster.run_for(minutes(20));
        let log = world.cluster.store.changes_since(0).unwrap();
        log.iter().map(|change| format!("{:?} {}", change.kind, change.object)).collect::<Vec<_>>()
    };
    let first = run(17);
    assert!(first == run(17), "the same bytes");
    assert!(first != run(18), "another seed, another run");
}
