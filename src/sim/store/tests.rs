use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn writer(second: i64) -> Writer<'static> {
    Writer { name: "tester", at: at(second) }
}

fn store() -> Store {
    Store::new(7, at(0))
}

fn snapshot(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"source": {"persistentVolumeClaimName": "data"}}})
}

fn create(store: &mut Store, name: &str) -> Arc<Value> {
    store.create(writer(1), table::SNAPSHOTS, "default", snapshot(name)).unwrap()
}

fn merge(store: &mut Store, by: Writer<'_>, name: &str, part: Part, patch: Value) -> Arc<Value> {
    store.patch(by, table::SNAPSHOTS, "default", name, part, &Patch::Merge(patch)).unwrap()
}

fn names(objects: &[Arc<Value>]) -> Vec<&str> {
    objects.iter().map(|object| object::name(object)).collect()
}

#[test]
fn the_same_seed_gives_the_same_objects_and_another_seed_others() {
    let run = |seed| {
        let mut store = Store::new(seed, at(0));
        let made = json!({"metadata": {"generateName": "made-"}});
        store.create(writer(1), table::SNAPSHOTS, "default", made).unwrap().to_string()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn every_change_has_a_version_of_its_own_and_the_log_holds_them_all() {
    let mut store = store();
    let born = store.version();
    let made = create(&mut store, "a");
    let ready = merge(&mut store, writer(2), "a", Part::Status, json!({"status": {"readyToUse": true}}));
    store.delete(writer(3), table::SNAPSHOTS, "default", "a", &DeleteOptions::default()).unwrap();
    let changes = store.changes_since(born).unwrap();
    let kinds: Vec<ChangeKind> = changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Modified, ChangeKind::Deleted]);
    let versions: Vec<u64> = changes.iter().map(|change| object::version(&change.object)).collect();
    assert_eq!(versions, [born + 1, born + 2, born + 3]);
    assert_eq!(changes[1].before.as_ref(), Some(&made));
    assert_eq!(changes[2].before.as_ref(), Some(&ready));
    assert_eq!(changes[2].object["status"], json!({"readyToUse": true}), "as it last was");
}

#[test]
fn the_past_can_be_listed_until_it_is_forgotten() {
    let mut store = store();
    create(&mut store, "a");
    create(&mut store, "b");
    let then = store.version();
    merge(&mut store, writer(2), "b", Part::Object, json!({"metadata": {"labels": {"late": "yes"}}}));
    store.delete(writer(3), table::SNAPSHOTS, "default", "a", &DeleteOptions::default()).unwrap();
    create(&mut store, "c");
    let past = store.list_at(table::SNAPSHOTS, Some("default"), then).unwrap();
    assert_eq!(names(&past), ["a", "b"]);
    assert_eq!(object::label(&past[1], "late"), None);
    assert_eq!(store.list(table::SNAPSHOTS, Some("kube-system")).count(), 0);
    store.compact(then + 1);
    assert_eq!(store.list_at(table::SNAPSHOTS, None, then).unwrap_err().code, 410);
    assert_eq!(store.changes_since(then).unwrap_err().reason, "Expired");
    assert_eq!(store.changes_since(then + 1).unwrap().len(), 2);
    assert_eq!(store.changes_since(store.version() + 1).unwrap_err().code, 504);
}

#[test]
fn a_write_that_changes_nothing_is_none_whoever_makes_it() {
    let mut store = store();
    let before = create(&mut store, "a");
    let other = Writer { name: "somebody-else", at: at(9) };
    let after = merge(&mut store, other, "a", Part::Object, json!({"spec": before["spec"].clone()}));
    assert_eq!(before, after);
    let status = merge(&mut store, other, "a", Part::Object, json!({"status": {"readyToUse": true}}));
    assert_eq!(before, status, "the status has its own door");
}

#[test]
fn managed_fields_tell_who_made_the_spec() {
    let mut store = store();
    create(&mut store, "a");
    let sidecar = Writer { name: "csi-snapshotter", at: at(5) };
    let patch = json!({"metadata": {"annotations": {"x": "y"}}, "status": {"readyToUse": true}});
    merge(&mut store, sidecar, "a", Part::Object, patch.clone());
    let object = merge(&mut store, sidecar, "a", Part::Status, patch);
    let entries: Vec<(&str, &str, &str)> = object::items(&object, "/metadata/managedFields")
        .iter()
        .map(|entry| {
            let fields = entry["fieldsV1"].as_object().unwrap().keys().next().unwrap();
            (object::text(entry, "/manager"), object::text(entry, "/subresource"), fields.as_str())
        })
        .collect();
    let expected =
        [("tester", "", "f:spec"), ("csi-snapshotter", "", "f:metadata"), ("csi-snapshotter", "status", "f:status")];
    assert_eq!(entries, expected);
}

#[test]
fn preconditions_hold_for_exactly_what_was_read() {
    let mut store = store();
    let read = create(&mut store, "a");
    merge(&mut store, writer(2), "a", Part::Object, json!({"metadata": {"labels": {"l": "m"}}}));
    let stale = DeleteOptions::exactly(&read);
    let refused = store.delete(writer(3), table::SNAPSHOTS, "default", "a", &stale).unwrap_err();
    assert!(refused.is_conflict(), "{refused}");
    let fresh = DeleteOptions::exactly(&store.get(table::SNAPSHOTS, "default", "a").unwrap());
    store.delete(writer(3), table::SNAPSHOTS, "default", "a", &fresh).unwrap();
    let again = create(&mut store, "a");
    let same_name = DeleteOptions { resource_version: None, ..fresh };
    assert!(store.delete(writer(4), table::SNAPSHOTS, "default", "a", &same_name).unwrap_err().is_conflict());
    assert_eq!(store.get(table::SNAPSHOTS, "default", "a").unwrap(), again);
}

#[test]
fn a_removed_group_leaves_nothing_behind() {
    let mut store = store();
    create(&mut store, "a");
    store.remove_group(table::SNAPSHOT_GROUP);
    assert!(store.get(table::SNAPSHOTS, "default", "a").unwrap_err().is_not_found());
    assert_eq!(store.create(writer(2), table::SNAPSHOTS, "default", snapshot("b")).unwrap_err().code, 404);
    let definitions: Vec<&str> = store.list(table::DEFINITIONS, None).map(|object| object::name(object)).collect();
    assert!(definitions.contains(&"cephclusters.ceph.rook.io"), "{definitions:?}");
    assert!(!definitions.iter().any(|name| name.ends_with(".snapshot.storage.k8s.io")), "{definitions:?}");
}

#[test]
fn a_version_is_as_old_as_the_time_it_was_written_at() {
    let mut store = store();
    let object = create(&mut store, "a");
    assert_eq!(object::text(&object, "/metadata/creationTimestamp"), at(1).to_string());
    merge(&mut store, writer(2), "a", Part::Object, json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let going = store.delete(writer(60), table::SNAPSHOTS, "default", "a", &DeleteOptions::default()).unwrap();
    assert_eq!(object::text(&going, "/metadata/deletionTimestamp"), at(60).to_string());
    let later = store.delete(writer(90), table::SNAPSHOTS, "default", "a", &DeleteOptions::default()).unwrap();
    assert_eq!(going, later, "the first deletion counts");
}

#[test]
fn our_own_kinds_are_served_as_their_definitions_say() {
    for crd in crate::api::crds().unwrap() {
        let names = &crd["spec"]["names"];
        let row = resource(crate::api::GROUP, names["plural"].as_str().unwrap()).unwrap();
        let version = &crd["spec"]["versions"][0];
        assert_eq!(row.version, version["name"]);
        assert_eq!(json!([row.kind, row.singular]), json!([names["kind"], names["singular"]]));
        assert_eq!(json!([row.short, row.categories]), json!([names["shortNames"], names["categories"]]));
        assert_eq!((row.namespaced, row.custom, row.generation), (crd["spec"]["scope"] == "Namespaced", true, true));
        assert_eq!(row.status, version["subresources"].get("status").is_some());
        let selectable = object::items(version, "/selectableFields").iter();
        let selectable: Vec<&str> =
            selectable.map(|one| object::text(one, "/jsonPath").trim_start_matches('.')).collect();
        assert_eq!(row.fields, selectable);
        let told = object::items(version, "/additionalPrinterColumns").iter();
        let told: Vec<Value> =
            told.map(|one| json!([one["name"], one["type"], one.get("priority").unwrap_or(&json!(0))])).collect();
        let shown = row.columns.iter().skip(1).map(|column| json!([column.name, column.kind, column.priority]));
        assert_eq!(shown.collect::<Vec<_>>(), told, "{}", row.kind);
    }
}

#[test]
fn a_group_that_is_taken_out_takes_its_objects_along_and_comes_back_empty() {
    let mut store = store();
    let policy = json!({"metadata": {"name": "main"}, "spec": {"mode": "Observe"}});
    store.create(writer(1), table::POLICIES, "", policy.clone()).unwrap();
    let before = store.version();
    let crd = table::POLICIES.qualified();
    store.uninstall(table::OUR_GROUP);
    let gone = store.changes_since(before).unwrap();
    assert!(gone.iter().all(|change| change.kind == ChangeKind::Deleted));
    assert_eq!(gone.iter().filter(|change| change.resource == table::POLICIES).count(), 1);
    assert!(!store.serves(table::POLICIES) && store.get(table::DEFINITIONS, "", &crd).is_err());
    assert_eq!(store.create(writer(2), table::POLICIES, "", policy).unwrap_err(), Refusal::not_served());
    store.install(table::OUR_GROUP, at(3));
    assert!(store.serves(table::POLICIES) && store.get(table::DEFINITIONS, "", &crd).is_ok());
    assert_eq!(store.list(table::POLICIES, None).count(), 0);
    assert_eq!(store.resources().count(), table::ALL.len());
}

#[test]
fn a_generation_moves_with_the_spec_and_never_with_the_status() {
    let mut store = store();
    let generation = |object: &Value| object["metadata"]["generation"].as_i64();
    let policy =
        json!({"metadata": {"name": "main"}, "spec": {"mode": "Observe"}, "status": {"observedGeneration": 7}});
    let made = store.create(writer(1), table::POLICIES, "", policy).unwrap();
    assert_eq!((generation(&made), made.get("status")), (Some(1), None));
    let mut patch =
        |part, patch| store.patch(writer(2), table::POLICIES, "", "main", part, &Patch::Merge(patch)).unwrap();
    let told = patch(Part::Status, json!({"status": {"observedGeneration": 1}, "spec": {"mode": "Enforce"}}));
    assert_eq!((generation(&told), &told["spec"]["mode"]), (Some(1), &json!("Observe")));
    let changed = patch(Part::Object, json!({"spec": {"mode": "Enforce"}}));
    assert_eq!(generation(&changed), Some(2));
    let marked = patch(Part::Object, json!({"metadata": {"annotations": {"a": "b"}}}));
    assert_eq!(generation(&marked), Some(2));
}
