//! `deploy/kubernetes`, as kustomize builds it.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use super::{
    read,
    tools::{self, Variables},
};
use crate::architecture::root;

pub(super) const FOLDER: &str = "deploy/kubernetes/";
const MOUNTED: &str = "/run/secrets/mingle/";
const ROLES: &[&str] = &["gateway", "matchmaking", "chat", "presence", "ratelimit", "cache"];
/// The oldest that has what the manifests use, and a new one.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];
/// What the last spans may take to leave.
const LAST_SPANS: u64 = 3;

fn built() -> String {
    tools::succeed(Command::new(tools::kustomize()).arg("build").arg(root().join(FOLDER)))
}

/// It is part of what is built, which the other tests judge.
pub(super) fn is_used(path: &str) {
    let name = path.strip_prefix(FOLDER).unwrap();
    let all = &tools::documents(&read(&format!("{FOLDER}kustomization.yaml")))[0];
    let patches = all["patches"].as_array().unwrap().iter().map(|patch| &patch["path"]);
    let mut listed = all["resources"].as_array().unwrap().iter().chain(patches);
    assert!(name == "kustomization.yaml" || listed.any(|it| it == name), "{path} is not listed");
}

#[test]
fn the_manifests_are_valid() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), built()).unwrap();
    let validate = mingle_testkit::installed("kubernetes-validate-1.37.0/bin/kubernetes-validate");
    for version in VERSIONS {
        let mut judge = tools::python();
        judge.arg(&validate).args(["--strict", "-k", version]).arg(file.path());
        tools::succeed(&mut judge);
    }
}

/// Everything of one kind, by name.
fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<(&'a str, &'a Value)> {
    let of_kind = all.iter().filter(|it| it["kind"] == kind);
    of_kind.map(|it| (it["metadata"]["name"].as_str().unwrap(), it)).collect()
}

fn one<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = of_kind(all, kind).into_iter().find(|(of, _)| *of == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}")).1
}

fn pod<'a>(all: &'a [Value], role: &str) -> (&'a Value, &'a Value) {
    let deployment = one(all, "Deployment", &format!("mingle-{role}"));
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["args"], serde_json::json!(["serve", role]));
    (pod, container)
}

/// What a pod of the role is told.
fn variables(all: &[Value], role: &str) -> Variables {
    let (_, container) = pod(all, role);
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], "mingle");
    let map = one(all, "ConfigMap", "mingle")["data"].as_object().unwrap();
    let map = map.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    let own = container["env"].as_array().unwrap().iter().map(|pair| {
        let text = |key: &str| pair[key].as_str().unwrap().to_owned();
        (text("name"), text("value"))
    });
    map.chain(own).collect()
}

#[tokio::test]
async fn mingle_takes_what_its_pods_are_told() {
    let (all, secrets) = (tools::documents(&built()), tools::secrets());
    for role in ROLES {
        let told = variables(&all, role);
        let (pod, _) = pod(&all, role);
        let items = pod["volumes"][0]["secret"]["items"].as_array().unwrap().iter();
        let mut mounted: Vec<_> = items.map(|item| item["path"].as_str().unwrap()).collect();
        mounted.sort_unstable();
        assert_eq!(tools::named_secrets(&told, MOUNTED), mounted, "{role}: what it reads");
        let here = tools::with_secrets(&told, MOUNTED, secrets.path());
        tools::assert_taken(role, &here).await;
    }
}

#[test]
fn everybody_is_called_where_they_listen() {
    let all = tools::documents(&built());
    for role in ROLES {
        let told = variables(&all, role);
        let listen =
            if *role == "gateway" { "MINGLE_GATEWAY__LISTEN" } else { "MINGLE_GRPC__LISTEN" };
        let port: u64 = told[listen].strip_prefix("0.0.0.0:").unwrap().parse().unwrap();
        assert_eq!(told["MINGLE_PROBES__LISTEN"], "0.0.0.0:9464");
        let (_, container) = pod(&all, role);
        let ports = container["ports"].as_array().unwrap();
        assert_eq!(
            (&ports[0]["containerPort"], &ports[1]["containerPort"]),
            (&port.into(), &9464.into())
        );
        let service = &one(&all, "Service", &format!("mingle-{role}"))["spec"];
        assert_eq!(service["ports"][0]["targetPort"], ports[0]["name"], "{role}");
        if *role != "gateway" {
            assert_eq!(
                (&service["clusterIP"], &service["ports"][0]["port"]),
                (&"None".into(), &port.into())
            );
            let peer = format!("[\"dns:///mingle-{role}:{port}\"]");
            assert_eq!(told[&format!("MINGLE_PEERS__{}", role.to_uppercase())], peer);
        }
    }
}

#[test]
fn a_pod_has_time_to_go() {
    let all = tools::documents(&built());
    let defaults = read("services/runtime/config.default.toml");
    let grace = defaults.lines().find_map(|line| line.strip_prefix("grace_ms = ")).unwrap();
    for role in ROLES {
        let told = variables(&all, role);
        let grace = told.get("MINGLE_PROCESS__GRACE_MS").map_or(grace, |grace| grace);
        let (pod, container) = pod(&all, role);
        let waits = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        let needed = waits + grace.parse::<u64>().unwrap() / 1000 + LAST_SPANS;
        let given = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(waits >= 5 && given > needed, "{role}: {given} s of {needed} s");
    }
}

#[test]
fn every_role_is_scaled_and_kept_and_guarded() {
    let all = tools::documents(&built());
    let names =
        |kind| -> BTreeSet<&str> { of_kind(&all, kind).into_iter().map(|(it, _)| it).collect() };
    let deployments = names("Deployment");
    assert_eq!(deployments.len(), ROLES.len());
    assert_eq!(names("PodDisruptionBudget"), deployments);
    assert_eq!(names("HorizontalPodAutoscaler"), deployments);
    for (name, scaler) in of_kind(&all, "HorizontalPodAutoscaler") {
        assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], name);
        assert!(scaler["spec"]["minReplicas"].as_u64() >= Some(2), "{name}");
    }
    let labels = |it: &Value, role: &str| it["app.kubernetes.io/component"] == role;
    for role in ROLES {
        let name = format!("mingle-{role}");
        let chosen = [
            &one(&all, "PodDisruptionBudget", &name)["spec"]["selector"]["matchLabels"],
            &one(&all, "NetworkPolicy", &name)["spec"]["podSelector"]["matchLabels"],
            &one(&all, "Service", &name)["spec"]["selector"],
            &one(&all, "Deployment", &name)["spec"]["template"]["metadata"]["labels"],
        ];
        assert!(chosen.iter().all(|it| labels(it, role)), "{role}: {chosen:?}");
    }
}

#[tokio::test]
async fn callers_reach_what_they_call_and_nobody_else_does() {
    let (all, secrets) = (tools::documents(&built()), tools::secrets());
    let mut wanted = BTreeSet::new();
    for caller in ROLES {
        // Who has no addresses says whose it needs.
        let mut told = tools::with_secrets(&variables(&all, caller), MOUNTED, secrets.path());
        told.retain(|name, _| !name.starts_with("MINGLE_PEERS__"));
        let wrong = tools::mingle(&["config", caller], &told).await.err;
        let called = ROLES.iter().filter(|role| wrong.contains(&format!("{caller} calls {role}")));
        wanted.extend(called.map(|called| (*caller, *called)));
    }
    assert!(wanted.len() > 5, "{wanted:?}");
    let mut allowed = BTreeSet::new();
    for called in &ROLES[1..] {
        let policy = &one(&all, "NetworkPolicy", &format!("mingle-{called}"))["spec"]["ingress"];
        assert_eq!(policy.as_array().unwrap().len(), 1, "{policy}");
        let callers = &policy[0]["from"][0]["podSelector"]["matchExpressions"][0]["values"];
        let callers = callers.as_array().unwrap().iter().map(|caller| caller.as_str().unwrap());
        allowed.extend(callers.map(|caller| (caller, *called)));
    }
    assert_eq!(allowed, wanted);
}
