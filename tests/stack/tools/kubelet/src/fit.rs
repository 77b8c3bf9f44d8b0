//! Whether a node may take a pod: the part of kube-scheduler's rules that needs nothing but the two.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration};
use kube::ResourceExt;

/// Whether this pod waits for a node and this node may take it.
pub fn fits(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let waits = spec.node_name.is_none()
        && pod.metadata.deletion_timestamp.is_none()
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        && spec.scheduler_name.as_deref().is_none_or(|name| name == "default-scheduler");
    waits && selects(spec, node) && tolerates(spec, node)
}

fn selects(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.labels();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| matches(term, node)))
}

/// A term without any requirement selects nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.labels();
    let by_labels = term.match_expressions.iter().flatten();
    let by_fields = term.match_fields.iter().flatten();
    let name = node.metadata.name.as_deref();
    (by_labels.clone().next().is_some() || by_fields.clone().next().is_some())
        && by_labels.clone().all(|wanted| meets(wanted, labels.get(&wanted.key).map(String::as_str)))
        && by_fields.clone().all(|wanted| wanted.key == "metadata.name" && meets(wanted, name))
}

fn meets(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|one| one == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let both = number(value).zip(number(values.first().map(String::as_str)));
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => both.is_some_and(|(value, limit)| value > limit),
        "Lt" => both.is_some_and(|(value, limit)| value < limit),
        _ => false,
    }
}

fn tolerates(spec: &PodSpec, node: &Node) -> bool {
    let node = node.spec.as_ref();
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let cordoned = node.and_then(|node| node.unschedulable).unwrap_or_default();
    let taints = node.and_then(|node| node.taints.as_deref()).unwrap_or_default();
    let mut repelling =
        taints.iter().filter(|taint| taint.effect != "PreferNoSchedule").chain(cordoned.then_some(&cordon));
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    repelling.all(|taint| tolerations.iter().any(|one| tolerated(taint, one)))
}

fn tolerated(taint: &Taint, toleration: &Toleration) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let exists = toleration.operator.as_deref() == Some("Exists");
    let key = match given(&toleration.key) {
        Some(key) => key == taint.key,
        None => exists,
    };
    let effect = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    key && effect && (exists || given(&toleration.value) == given(&taint.value))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        let mut whole = json!({"containers": []});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": whole})).unwrap()
    }

    fn required(terms: &Value) -> Value {
        let selector = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}})
    }

    #[test]
    fn a_pod_goes_where_its_selectors_let_it() {
        let node = json!({"metadata": {"name": "node-a", "labels": {"disk": "ssd", "zone": "1", "size": "8"}}});
        let node: Node = serde_json::from_value(node).unwrap();
        let label = |key, operator, values| json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
        let name = |name| json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]);
        for (spec, expected) in [
            (json!({}), true),
            (json!({"nodeName": "node-a"}), false),
            (json!({"schedulerName": "default-scheduler"}), true),
            (json!({"schedulerName": "other"}), false),
            (json!({"schedulingGates": [{"name": "wait"}]}), false),
            (json!({"nodeSelector": {"disk": "ssd"}}), true),
            (json!({"nodeSelector": {"disk": "ssd", "zone": "2"}}), false),
            (required(&name("node-a")), true),
            (required(&name("node-b")), false),
            (required(&json!([{}])), false),
            (required(&label("disk", "In", json!(["hdd", "ssd"]))), true),
            (required(&label("disk", "NotIn", json!(["ssd"]))), false),
            (required(&label("none", "NotIn", json!(["ssd"]))), true),
            (required(&label("none", "Exists", json!([]))), false),
            (required(&label("none", "DoesNotExist", json!([]))), true),
            (required(&label("size", "Gt", json!(["7"]))), true),
            (required(&label("size", "Lt", json!(["8"]))), false),
            (required(&label("size", "Near", json!(["8"]))), false),
        ] {
            assert_eq!(fits(&pod(&spec), &node), expected, "{spec}");
        }
    }

    #[test]
    fn a_taint_repels_what_does_not_tolerate_it() {
        let tainted = |effect| json!({"taints": [{"key": "role", "value": "db", "effect": effect}]});
        let any = json!([{"operator": "Exists"}]);
        let equal = json!([{"key": "role", "operator": "Equal", "value": "db", "effect": "NoSchedule"}]);
        let other = json!([{"key": "role", "value": "web"}]);
        let cordon = json!([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]);
        for (spec, tolerations, expected) in [
            (json!({}), json!([]), true),
            (tainted("NoSchedule"), json!([]), false),
            (tainted("NoExecute"), json!([]), false),
            (tainted("PreferNoSchedule"), json!([]), true),
            (tainted("NoSchedule"), any.clone(), true),
            (tainted("NoSchedule"), equal.clone(), true),
            (tainted("NoExecute"), equal, false),
            (tainted("NoSchedule"), other, false),
            (json!({"unschedulable": true}), json!([]), false),
            (json!({"unschedulable": true}), cordon, true),
        ] {
            let node = serde_json::from_value(json!({"metadata": {"name": "node-a"}, "spec": spec})).unwrap();
            assert_eq!(fits(&pod(&json!({"tolerations": tolerations})), &node), expected, "{spec} {tolerations}");
        }
    }
}
