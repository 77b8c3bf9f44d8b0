//! What `deploy/` says, read as the files they are: that they agree with each other and with the code.
//!
//! A right that is wider than its comment, a policy nobody bound, or an annotation that the fence spells differently
//! from the code would only be noticed in somebody's cluster.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use volwarden::api;
use volwarden::domain::fact::Source;
use volwarden::domain::fence::Part;
use volwarden::io::source::Place;

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base")
}

fn text(file: &str) -> String {
    fs::read_to_string(base().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn objects(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn named(file: &str, kind: &str, name: &str) -> Value {
    let found = objects(file).into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{file} has no {kind} {name}"))
}

/// The files that a kustomization takes in.
fn resources(folder: &str) -> BTreeSet<String> {
    let kustomization = &objects(&format!("{folder}kustomization.yaml"))[0];
    let files = kustomization["resources"].as_array().unwrap().iter();
    files.map(|file| format!("{folder}{}", file.as_str().unwrap())).collect()
}

fn yaml_files(folder: &Path, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "yaml") && !path.ends_with("kustomization.yaml")
        {
            out.insert(path.strip_prefix(base()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_file_is_installed() {
    let mut files = BTreeSet::new();
    yaml_files(&base(), &mut files);
    let folders = ["", "driver-namespace/", "volsync-leftovers/", "kopia-namespace/"];
    let installed: BTreeSet<String> = folders.into_iter().flat_map(resources).collect();
    assert_eq!(files, installed);
}

#[test]
fn the_image_is_of_this_version() {
    let kustomization = &objects("kustomization.yaml")[0];
    assert_eq!(kustomization["images"], json!([{"name": "volwarden", "newTag": env!("CARGO_PKG_VERSION")}]));
}

// === the image ===

/// The lines of the Dockerfile without comments, by stage.
fn stages() -> Vec<Vec<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile");
    let mut stages = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let Some((word, rest)) = line.split_once(' ') else { continue };
        if word == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("a stage").push((word.to_owned(), rest.to_owned()));
    }
    stages
}

#[test]
fn image_and_deployment_agree() {
    let stages = stages();
    let (build, last) = (&stages[0], stages.last().unwrap());
    let of = |stage: &[(String, String)], word: &str| -> Vec<String> {
        stage.iter().filter(|(known, _)| known == word).map(|(_, rest)| rest.clone()).collect()
    };
    let pod = named("deployment.yaml", "Deployment", "volwarden")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let (user, group) = (&pod["securityContext"]["runAsUser"], &pod["securityContext"]["runAsGroup"]);
    assert_eq!(of(last, "USER"), [format!("{user}:{group}")]);
    assert!(user.as_u64().unwrap() > 0);
    // The Deployment gives the arguments and leaves the program to the image; where there may be no fence, as in a
    // container of its own, none is asked for.
    assert_eq!(container.get("command"), None);
    assert_eq!(container["args"], json!(["run", "--require-fence"]));
    assert_eq!(of(last, "CMD"), [r#"["run"]"#]);
    let port = container["ports"][0]["containerPort"].as_u64().unwrap();
    assert_eq!(of(last, "EXPOSE"), [port.to_string()]);
    assert_eq!(port, u64::from(volwarden::config::DEFAULT_LISTEN.port()));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{probe}");
    }

    let binary = of(last, "ENTRYPOINT")[0].trim_matches(['[', ']', '"']).to_owned();
    let copied = format!("--from=build --chmod=0555 /src/target/release/{} {binary}", env!("CARGO_PKG_NAME"));
    // Where the Jobs of KopiaRepositories find it: `kopia`, on the PATH that a container has without a word of its own.
    let kopia = "--from=kopia --chmod=0555 /kopia /usr/local/bin/kopia".to_owned();
    assert_eq!(of(last, "COPY"), [copied, kopia]);
    let [_, pinned, _] = stages.as_slice() else { panic!("three stages") };
    assert!(of(pinned, "FROM")[0].ends_with(" AS kopia"));
    assert_eq!(of(pinned, "COPY"), ["tests/stack/tools/kopia ."], "the kopia of the tests");
    assert!(of(pinned, "RUN")[0].ends_with(" -o /kopia github.com/kopia/kopia"));
    assert_eq!(of(build, "WORKDIR"), ["/src"]);
    assert_eq!(of(build, "RUN"), [format!("cargo build --release --locked --bin {}", env!("CARGO_PKG_NAME"))]);
    // There is no shell that could run anything.
    assert_eq!(of(last, "RUN"), [] as [String; 0]);

    let compiler = of(build, "FROM")[0].split(['-', ':']).nth(1).unwrap().to_owned();
    let minor = |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok()).unwrap();
    assert!(minor(&compiler) >= minor(env!("CARGO_PKG_RUST_VERSION")), "{compiler}");
    // The binary is linked against the C library of the stage in which it was built.
    assert!(of(build, "FROM")[0].contains("-bookworm ") && of(last, "FROM")[0].ends_with("-debian12"));
}

// === rights ===

fn words(rule: &Value, key: &str) -> Vec<String> {
    let list = rule.get(key).and_then(Value::as_array).into_iter().flatten();
    list.map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn rules() -> Vec<Value> {
    let files = ["rbac.yaml", "driver-namespace/role.yaml", "volsync-leftovers/role.yaml", "kopia-namespace/role.yaml"];
    files.into_iter().flat_map(objects).filter_map(|role| role.get("rules")?.as_array().cloned()).flatten().collect()
}

#[test]
fn no_right_is_a_wildcard_and_none_is_to_secrets_or_to_the_fence() {
    assert!(rules().len() > 15);
    for rule in rules() {
        let everything = ["apiGroups", "resources", "verbs"].iter().flat_map(|key| words(&rule, key));
        assert!(everything.clone().all(|word| !word.contains('*')), "{rule}");
        let forbidden = [
            "secrets",
            "configmaps",
            "admissionregistration.k8s.io",
            "deletecollection",
            "impersonate",
            "escalate",
            "bind",
        ];
        assert!(everything.clone().all(|word| !forbidden.contains(&word.as_str())), "{rule}");
        assert!(!words(&rule, "resources").is_empty() && !words(&rule, "verbs").is_empty(), "{rule}");
    }
}

#[test]
fn everything_that_is_watched_may_be_read() {
    let role = named("rbac.yaml", "ClusterRole", "volwarden");
    let may = |group: &str, resource: &str, verb: &str| {
        let has = |rule: &Value, key: &str, word: &str| words(rule, key).iter().any(|known| known == word);
        let mut rules = role["rules"].as_array().unwrap().iter();
        rules.any(|rule| has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb))
    };
    for source in Source::ALL {
        let place = Place::of(source);
        for verb in ["get", "list", "watch"] {
            assert!(may(place.group, place.plural, verb), "may not {verb} {}", place.plural);
        }
    }
}

// === the fence ===

const FENCE: [&str; 7] = [
    "fence/scope.yaml",
    "fence/contents.yaml",
    "fence/snapshots.yaml",
    "fence/components.yaml",
    "fence/ledger.yaml",
    "fence/leftovers.yaml",
    "fence/jobs.yaml",
];

#[test]
fn every_policy_is_bound_denies_and_fails_closed() {
    let all: Vec<Value> = FENCE.iter().flat_map(|file| objects(file)).collect();
    let of = |kind: &str| all.iter().filter(|object| object["kind"] == kind).cloned().collect::<Vec<_>>();
    let (policies, bindings) = (of("ValidatingAdmissionPolicy"), of("ValidatingAdmissionPolicyBinding"));
    assert_eq!((policies.len(), bindings.len(), all.len()), (8, 8, 16));
    for policy in &policies {
        let name = &policy["metadata"]["name"];
        let spec = &policy["spec"];
        assert_eq!(spec["failurePolicy"], "Fail", "{name}");
        assert_eq!(spec["matchConditions"], policies[0]["spec"]["matchConditions"], "{name}");
        let binding = bindings.iter().find(|binding| binding["spec"]["policyName"] == *name).unwrap();
        assert_eq!(binding["spec"], json!({"policyName": name, "validationActions": ["Deny"]}), "{name}");
        let rules = spec["validations"].as_array().unwrap();
        assert!(
            rules.iter().all(|rule| rule.get("message").is_some() || rule.get("messageExpression").is_some()),
            "{name}"
        );
    }
}

/// What the daemon takes for the fence's own words.
#[test]
fn each_refusal_that_is_asked_for_is_the_message_of_its_policy() {
    for part in Part::ALL {
        let policies = FENCE.iter().flat_map(|file| objects(file));
        let mut named = policies
            .filter(|one| one["kind"] == "ValidatingAdmissionPolicy" && one["metadata"]["name"] == part.policy());
        let policy = named.next().unwrap_or_else(|| panic!("{} is not in the fence", part.policy()));
        let rules = policy["spec"]["validations"].as_array().unwrap();
        let begins =
            |rule: &&Value| rule["message"].as_str().is_some_and(|message| message.starts_with(part.refusal()));
        assert_eq!(rules.iter().filter(begins).count(), 1, "{part:?}");
    }
}

/// The fence cannot use the code's constants.
#[test]
fn fence_and_code_mean_the_same_annotations() {
    let all: String = FENCE.iter().map(|file| text(file)).collect();
    let quoted = |word: &str| all.contains(&format!("'{word}'"));
    for word in [api::NUDGE, api::IGNORE, api::APPROVED, api::LEAVE_BEHIND, api::RECLAIMS, api::KEEP] {
        assert!(quoted(word), "{word}");
        assert!(word.starts_with(&format!("{}/", api::GROUP)), "{word}");
    }
    let known = [api::NUDGE, api::IGNORE, api::APPROVED, api::LEAVE_BEHIND, api::RECLAIMS, api::KEEP]
        .map(|word| format!("'{word}"));
    for (at, _) in all.match_indices("'volwarden.dev/") {
        assert!(known.iter().any(|word| all[at..].starts_with(word.as_str())), "{}", &all[at..at + 40]);
    }
}
