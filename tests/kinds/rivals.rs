//! Other managers of a kopia repository on a real API server, seen with the rights of `deploy/base`: which of them serve
//! ours, and that nothing is known where one of them cannot be read.

use serde_json::{Value, json};
use stack::Options;
use volwarden::io::repository::{self, Entry};

use crate::{Ask, SOON, Server, VOLWARDEN};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A kind whose objects may hold anything, as far as another manager's are concerned.
fn kind(group: &str, version: &str, plural: &str, kind: &str, scope: &str) -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": scope,
            "names": {"plural": plural, "kind": kind, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": anything}}],
        },
    })
}

impl Server {
    /// Installs a kind, and waits until it is served.
    fn kind(&self, group: &str, version: &str, plural: &str, kind: &str, scope: &str) {
        self.must(&Ask::create(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            self::kind(group, version, plural, kind, scope),
        ));
        let path = format!("/apis/{group}/{version}/{plural}");
        let served = || (self.send(&self.admin, &Ask::get(&path)).0 == 200).then_some(());
        self.stack.wait("the kind is served", SOON, served).unwrap();
    }

    fn object(&self, version: &str, plural: &str, kind: &str, namespace: Option<&str>, name: &str, rest: &Value) {
        let place = namespace.map_or_else(String::new, |namespace| format!("namespaces/{namespace}/"));
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        self.must(&Ask::create(&format!("/apis/{version}/{place}{plural}"), object));
    }

    /// Who serves this one, as the daemon's account sees it.
    fn rivals(&self, entry: &Entry) -> Result<Vec<String>, String> {
        let client = self.user(VOLWARDEN);
        let all = self.runtime.block_on(repository::rivals(&client)).map_err(|unread| unread.to_string())?;
        Ok(all.iter().filter_map(|rival| rival.of(entry)).collect())
    }
}

fn ours(owner: &str) -> Entry {
    let object = json!({
        "metadata": {"name": "main", "namespace": "backup", "uid": "r-1", "resourceVersion": "1", "generation": 1},
        "spec": {"secretRef": {"name": "kopia"}},
        "status": {"uniqueID": ID, "repository": {"owner": owner}},
    });
    repository::read(&object.to_string()).unwrap()
}

#[test]
fn other_managers_are_seen_where_they_serve_the_same_repository() {
    let Some(server) = Server::start(Options::api_only()) else { return };
    server.install();
    for namespace in ["backup", "elsewhere"] {
        server.namespace(namespace, &json!({}));
    }
    assert_eq!(server.rivals(&ours("volwarden@c-1")), Ok(Vec::new()), "none of them is installed");

    server.kind("volsync.backube", "v1alpha1", "kopiamaintenances", "KopiaMaintenance", "Namespaced");
    let version = "volsync.backube/v1alpha1";
    let volsync = |namespace: &str, name: &str, spec: Value| {
        server.object(version, "kopiamaintenances", "KopiaMaintenance", Some(namespace), name, &json!({"spec": spec}));
    };
    let kopia = json!({"repository": "kopia"});
    volsync("backup", "suspended", json!({"suspend": true, "repository": kopia}));
    volsync("elsewhere", "daily", json!({"repository": kopia}));
    assert_eq!(server.rivals(&ours("volwarden@c-1")), Ok(Vec::new()));
    volsync("backup", "daily", json!({"repository": kopia}));
    assert_eq!(server.rivals(&ours("volwarden@c-1")), Ok(vec!["KopiaMaintenance backup/daily".to_owned()]));
    server.must(&Ask::delete(&format!("/apis/{version}/namespaces/backup/kopiamaintenances/daily"), Value::Null));

    let group = "kopiur.home-operations.com";
    for (plural, kind, scope) in [
        ("maintenances", "Maintenance", "Namespaced"),
        ("repositories", "Repository", "Namespaced"),
        ("clusterrepositories", "ClusterRepository", "Cluster"),
    ] {
        server.kind(group, "v1alpha1", plural, kind, scope);
    }
    let version = format!("{group}/v1alpha1");
    let maintained = |name: &str, kind: &str, repository: &str| {
        let spec = json!({"spec": {"repository": {"kind": kind, "name": repository}}});
        server.object(&version, "maintenances", "Maintenance", Some("backup"), name, &spec);
    };
    let seen = |id: &str| json!({"status": {"uniqueId": id}});
    let password = |secret: Value| json!({"spec": {"encryption": {"passwordSecretRef": secret}}});
    server.object(&version, "repositories", "Repository", Some("backup"), "other", &seen(&ID.replace('0', "f")));
    server.object(&version, "repositories", "Repository", Some("backup"), "same", &seen(ID));
    server.object(&version, "repositories", "Repository", Some("backup"), "new", &password(json!({"name": "kopia"})));
    let elsewhere = password(json!({"name": "kopia", "namespace": "elsewhere"}));
    server.object(&version, "clusterrepositories", "ClusterRepository", None, "elsewhere", &elsewhere);
    server.object(&version, "clusterrepositories", "ClusterRepository", None, "same", &seen(ID));
    maintained("of-other", "Repository", "other");
    maintained("of-none", "Repository", "gone");
    maintained("of-elsewhere", "ClusterRepository", "elsewhere");
    assert_eq!(server.rivals(&ours("volwarden@c-1")), Ok(Vec::new()));
    for (name, kind, repository) in
        [("a", "Repository", "same"), ("b", "ClusterRepository", "same"), ("c", "Repository", "new")]
    {
        maintained(name, kind, repository);
        let found = server.rivals(&ours("volwarden@c-1"));
        assert_eq!(found, Ok(vec![format!("Maintenance backup/{name} of kopiur")]), "{repository}");
        server.must(&Ask::delete(&format!("/apis/{version}/namespaces/backup/maintenances/{name}"), Value::Null));
    }

    server.kind("velero.io", "v1", "backuprepositories", "BackupRepository", "Namespaced");
    let velero = |name: &str, kind: &str| {
        let spec = json!({"spec": {"repositoryType": kind, "backupStorageLocation": "default"}});
        server.object("velero.io/v1", "backuprepositories", "BackupRepository", Some("elsewhere"), name, &spec);
    };
    velero("old", "restic");
    assert_eq!(server.rivals(&ours("default@default")), Ok(Vec::new()));
    velero("app", "kopia");
    let named = "Velero, as default@default (BackupRepository elsewhere/app)".to_owned();
    assert_eq!(server.rivals(&ours("default@default")), Ok(vec![named]));
    assert_eq!(server.rivals(&ours("volwarden@c-1")), Ok(Vec::new()), "one that is not Velero's");

    // Without the right to see them nothing is known.
    let rules =
        json!({"rules": [{"apiGroups": ["volsync.backube"], "resources": ["kopiamaintenances"], "verbs": ["list"]}]});
    server.must(&Ask::merge("/apis/rbac.authorization.k8s.io/v1/clusterroles/volwarden", rules));
    let blind = || server.rivals(&ours("volwarden@c-1")).err();
    let said = server.stack.wait("the right is gone", SOON, blind).unwrap();
    assert!(said.contains("cannot read Maintenances of kopiur"), "{said}");
}
