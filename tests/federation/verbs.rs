//! What the command line says of one template: what a cluster gets, what stands in a
//! FederatedManifest, and how a placement without a policy is taken away.

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{Fleet, fleet::LONG, wait};
use serde_json::Value;

use crate::up::Up;

const POLICY: &str = "
apiVersion: hanse.dev/v1alpha1
kind: PropagationPolicy
metadata: {name: web, namespace: default}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]
  placement: {clusters: [{names: [aws-eu-west-1a, gcp-us-east1-b]}]}
---
apiVersion: hanse.dev/v1alpha1
kind: OverridePolicy
metadata: {name: mirror, namespace: default}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]
  rules: [{clusters: {providers: [aws]}, image: [{registry: mirror.example.com}]}]
";
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: default}
spec:
  replicas: 6
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers:
        - name: web
          image: registry.example/web:1
          resources: {requests: {cpu: 100m, memory: 64Mi}}
";

async fn apply(up: &Up, fleet: &Fleet, manifests: &str) -> Result<()> {
    let path = up.data().join("applied.yaml");
    std::fs::write(&path, manifests)?;
    fleet.kubectl.run(&["apply", "-f", &path.to_string_lossy()]).await.map(drop)
}

/// Six replicas, and no more, of a Deployment; or none.
async fn placed(fleet: &Fleet, name: &str, replicas: i32) -> Result<()> {
    let spread = async || fleet.spread("default", name, |_| true).await;
    let sum = |spread: &std::collections::BTreeMap<String, i32>| spread.values().sum::<i32>();
    let what = format!("{replicas} replicas of {name}");
    wait::until(&what, LONG, spread, |spread| sum(spread) == replicas).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_rendered_and_forgotten_and_found_in_its_manifest() -> Result<()> {
    let (up, fleet) = Up::start().await?;
    let web = DEPLOYMENT.replace("NAME", "web");
    apply(&up, &fleet, &format!("{POLICY}---\n{web}")).await?;
    placed(&fleet, "web", 6).await?;
    renders(&up, &fleet).await?;
    finds_what_stands_in_a_manifest(&up, &fleet).await?;
    forgets(&up, &fleet).await
}

/// What `render` says is what the member has, and each change on the way has its line.
async fn renders(up: &Up, fleet: &Fleet) -> Result<()> {
    let render = ["render", "deployment/web", "--cluster", "aws-eu-west-1a"];
    let text = up.must(&[&render[..], &["-o", "json"]].concat()).await?;
    let told: Value = serde_json::from_str(&text)?;
    let spread = fleet.spread("default", "web", |member| member == "aws-eu-west-1a").await?;
    let replicas = spread.get("aws-eu-west-1a").copied().context("a share")?;
    ensure!(told["manifest"]["spec"]["replicas"] == replicas, "{told:#}");
    let image = &told["manifest"]["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(image == "mirror.example.com/web:1", "{told:#}");
    let text = up.must(&render).await?;
    let share = format!("# its share  /spec/replicas: 6 → {replicas}");
    ensure!(text.contains(&share), "{text}");
    ensure!(text.contains("by OverridePolicy default/mirror, rules[0].image"), "{text}");
    ensure!(text.contains("# stripped   /status"), "{text}");
    let refused = up.hanse(&["render", "deployment/web", "--cluster", "nowhere"]).await?;
    ensure!(refused.stderr.contains("there is no cluster `nowhere`"), "{refused:?}");
    Ok(())
}

async fn finds_what_stands_in_a_manifest(up: &Up, fleet: &Fleet) -> Result<()> {
    let object = DEPLOYMENT.replace("NAME", "inner").replace('\n', "\n      ");
    let manifest = |object: &str| {
        format!(
            "apiVersion: hanse.dev/v1alpha1\nkind: FederatedManifest\n\
             metadata: {{name: app, namespace: default}}\nspec:\n  manifests:\n    - {}\n",
            object.trim_start()
        )
    };
    apply(up, fleet, &manifest(&object)).await?;
    placed(fleet, "inner", 6).await?;
    for name in ["deployment/inner", "deploy/inner", "fm/app"] {
        let text = up.must(&["explain", name]).await?;
        ensure!(text.starts_with("Deployment/inner in default"), "{text}");
        ensure!(text.contains("FederatedManifest default/app"), "{text}");
    }
    for name in ["deployment/inner", "fm/app"] {
        let text = up.must(&["tree", name]).await?;
        ensure!(text.starts_with("deployment/inner (namespace default)"), "{text}");
        ensure!(text.contains("(6 replicas)"), "{text}");
    }
    let render = ["render", "deployment/inner", "--cluster", "gcp-us-east1-b", "-o", "json"];
    let told: Value = serde_json::from_str(&up.must(&render).await?)?;
    ensure!(told["manifest"]["metadata"]["name"] == "inner", "{told:#}");
    let lost = up.hanse(&["explain", "deployment/web", "-n", "kube-system"]).await?;
    ensure!(lost.stderr.contains("there is one in `default`: write -n default"), "{lost:?}");
    // One that is refused says so, instead of not being there.
    let clash = DEPLOYMENT.replace("NAME", "web").replace('\n', "\n      ");
    let clash = manifest(&clash).replace("{name: app,", "{name: second,");
    apply(up, fleet, &clash).await?;
    let explain = async || up.hanse(&["explain", "fm/second"]).await;
    let refused = wait::until("the refusal", LONG, explain, |ran| ran.stderr.contains("Conflict"));
    ensure!(refused.await?.code == 1);
    Ok(())
}

async fn forgets(up: &Up, fleet: &Fleet) -> Result<()> {
    let kept = up.hanse(&["forget", "deployment/web"]).await?;
    ensure!(kept.code == 1, "{kept:?}");
    ensure!(kept.stderr.contains("PropagationPolicy web decides about it"), "{kept:?}");
    fleet.kubectl.run(&["delete", "pp", "web", "-n", "default"]).await?;
    let explain = async || up.must(&["explain", "deployment/web"]).await;
    let advice = "hanse forget Deployment/web -n default";
    wait::until("the way out", LONG, explain, |text| text.contains(advice)).await?;
    placed(fleet, "web", 6).await?;
    let words: Vec<&str> = advice.split(' ').skip(1).collect();
    let text = up.must(&words).await?;
    ensure!(text.contains("Deployment/web"), "{text}");
    placed(fleet, "web", 0).await?;
    fleet.kubectl.run(&["get", "deployment", "web", "-n", "default"]).await?;
    let again = up.hanse(&["forget", "deployment/web"]).await?;
    ensure!(again.stderr.contains("there is nothing to forget"), "{again:?}");
    Ok(())
}
