//! A published application, unchanged: Online Boutique with a policy beside it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{Fleet, fleet::LONG, wait};

/// The application's manifests.
pub const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/online-boutique.yaml");
/// Deployments it has, and Services.
const WORKLOADS: usize = 12;

const POLICY: &str = "\
apiVersion: hanse.dev/v1alpha1
kind: ClusterPropagationPolicy
metadata: {name: boutique}
spec:
  resourceSelectors:
    - {apiVersion: apps/v1, kind: Deployment, namespaces: [default]}
  placement:
    replicas: {mode: MODE}
";

/// Applies the application with its Deployments divided, or duplicated, and waits until kubectl
/// says that they are available; then checks that each member has what it should.
///
/// # Errors
/// What did not hold.
pub async fn deploy(fleet: &Fleet, mode: &str) -> Result<()> {
    apply(fleet, mode).await?;
    check(fleet, mode).await
}

/// Applies the application and waits until kubectl says that every Deployment is available.
///
/// # Errors
/// What kubectl says.
pub async fn apply(fleet: &Fleet, mode: &str) -> Result<()> {
    send_policy(fleet, mode).await?;
    send(fleet).await?;
    let available = ["wait", "--for=condition=Available", "deployment", "--all", "--timeout=60s"];
    fleet.kubectl.run(&available).await.map(drop)
}

/// Applies the policy, with Deployments divided or duplicated.
///
/// # Errors
/// What kubectl says.
pub async fn send_policy(fleet: &Fleet, mode: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, POLICY.replace("MODE", mode))?;
    fleet.kubectl.run(&["apply", "-f", &policy.to_string_lossy()]).await.map(drop)
}

/// Applies the application and waits for nothing.
///
/// # Errors
/// What kubectl says.
pub async fn send(fleet: &Fleet) -> Result<()> {
    fleet.kubectl.run(&["apply", "-f", MANIFESTS]).await.map(drop)
}

/// Deletes the application and waits for nothing.
///
/// # Errors
/// What kubectl says.
pub async fn take_back(fleet: &Fleet) -> Result<()> {
    fleet.kubectl.run(&["delete", "-f", MANIFESTS, "--wait=false"]).await.map(drop)
}

/// Names of its Deployments.
///
/// # Errors
/// When the manifests cannot be read.
pub fn workloads() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(MANIFESTS)?;
    let name = |part: &str| {
        let mut lines = part.lines();
        lines.any(|line| line == "kind: Deployment").then_some(())?;
        lines.find_map(|line| line.strip_prefix("  name: ")).map(str::to_owned)
    };
    let names: Vec<String> = text.split("\n---").filter_map(name).collect();
    ensure!(names.len() == WORKLOADS, "{MANIFESTS} names {names:?}");
    Ok(names)
}

/// Checks that the rollout is over and that each member has what it should.
///
/// # Errors
/// What does not hold.
pub async fn check(fleet: &Fleet, mode: &str) -> Result<()> {
    let kubectl = &fleet.kubectl;
    kubectl.run(&["rollout", "status", "deployment/frontend", "--timeout=30s"]).await?;
    let wide = kubectl.run(&["get", "deploy", "-o", "wide"]).await?;
    ensure!(wide.lines().count() == WORKLOADS + 1, "kubectl get deploy -o wide:\n{wide}");
    sums(fleet, mode).await?;
    companions(fleet).await
}

/// For each template the sum over members is its replicas, or replicas times clusters.
async fn sums(fleet: &Fleet, mode: &str) -> Result<()> {
    let templates: Api<Deployment> = Api::namespaced(fleet.hub.clone(), "default");
    for template in templates.list(&ListParams::default()).await? {
        let name = template.name_any();
        let replicas = template.spec.replicas.unwrap_or(1);
        let spread = fleet.spread("default", &name, |_| true).await?;
        let clusters = i32::try_from(fleet.members.len())?;
        let wanted = if mode == "Divide" { replicas } else { replicas * clusters };
        let sum: i32 = spread.values().sum();
        ensure!(sum == wanted, "{name}: {sum} replicas over {spread:?}, wanted {wanted}");
    }
    Ok(())
}

/// Services and ServiceAccounts are where their Deployments are.
async fn companions(fleet: &Fleet) -> Result<()> {
    use k8s_openapi::api::core::v1::{Service, ServiceAccount};
    let look = || async {
        let mut missing = Vec::new();
        for (member, client) in &fleet.members {
            let services: Api<Service> = Api::namespaced(client.clone(), "default");
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
            for name in ["frontend", "cartservice", "checkoutservice"] {
                let here = fleet.spread("default", name, |other| other == member).await?;
                let service = services.get_opt(name).await?.is_some();
                let account = accounts.get_opt(name).await?.is_some();
                if here.contains_key(member) != service || here.contains_key(member) != account {
                    missing.push(format!("{name} in {member}"));
                }
            }
        }
        Ok(missing)
    };
    wait::until("companions follow their workloads", LONG, look, Vec::is_empty).await.map(drop)
}

/// Scales on the hub and waits until the members have it.
///
/// # Errors
/// When they do not in time.
pub async fn scale(fleet: &Fleet, name: &str, replicas: i32) -> Result<BTreeMap<String, i32>> {
    let count = format!("--replicas={replicas}");
    fleet.kubectl.run(&["scale", "deployment", name, &count]).await?;
    let look = || fleet.spread("default", name, |_| true);
    let sum = |spread: &BTreeMap<String, i32>| spread.values().sum::<i32>() == replicas;
    wait::until("the scale reaches the members", LONG, look, sum).await
}

/// Deletes one Deployment on the hub: it goes everywhere, and only it.
///
/// # Errors
/// When it stays, or something else goes.
pub async fn delete(fleet: &Fleet, name: &str, other: &str) -> Result<()> {
    let before = fleet.spread("default", other, |_| true).await?;
    fleet.kubectl.run(&["delete", "deployment", name, "--timeout=30s"]).await?;
    let look = || fleet.spread("default", name, |_| true);
    wait::until("the deleted Deployment is gone", LONG, look, BTreeMap::is_empty).await?;
    hanse_rt::sleep(Duration::from_millis(500)).await;
    let after = fleet.spread("default", other, |_| true).await?;
    ensure!(before == after, "{other} was {before:?} and is {after:?}");
    Ok(())
}
