//! kubectl in the versions people have, against the embedded server.

use anyhow::{Result, ensure};
use hanse_tests_api::{
    Embedded,
    kubectl::{Kubectl, programs},
};

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {tier: front}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: "registry/main:1", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"#;
const SHIPS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.hanse.dev}
spec:
  group: hanse.dev
  scope: Namespaced
  names: {kind: Ship, plural: ships, shortNames: [shp], categories: [fleet]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Masts, type: integer, jsonPath: .spec.masts}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What kind of ship it is.
            properties: {masts: {type: integer, minimum: 1, description: How many it has.}}
            x-kubernetes-validations: [{rule: "self.masts < 8", message: no ship has so many}]
"#;

/// Runs the story with each kubectl, on a server of its own.
#[expect(clippy::print_stdout, reason = "says why nothing was tested")]
async fn with_each(story: fn(&Kubectl) -> Result<()>) -> Result<()> {
    let programs = programs()?;
    if programs.is_empty() {
        println!("skipped: there is no kubectl");
    }
    for program in programs {
        let server = Embedded::start()?;
        let kubectl = Kubectl::new(&program, &server.kubeconfig(), "shop");
        // This blocks the test's own thread; the server has the workers.
        kubectl.says("create namespace shop", "", "namespace/shop created")?;
        story(&kubectl)?;
        server.stop().await;
    }
    Ok(())
}

fn ship(masts: u32) -> String {
    format!(
        "apiVersion: hanse.dev/v1
kind: Ship
metadata: {{name: cog}}
spec: {{masts: {masts}}}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_are_applied_changed_and_deleted() -> Result<()> {
    with_each(|kubectl| {
        kubectl.says("apply -f -", WEB, "deployment.apps/web created\nservice/web created")?;
        kubectl.says("apply -f -", WEB, "deployment.apps/web unchanged\nservice/web unchanged")?;
        let changed = WEB.replace("main:1", "main:2");
        kubectl.fails("diff -f -", &changed, "+      - image: registry/main:2")?;
        kubectl.says(
            "apply -f -",
            &changed,
            "deployment.apps/web configured\nservice/web unchanged",
        )?;
        let smaller = changed.replace("labels: {tier: front}", "labels: {}");
        kubectl.says("apply -f -", &smaller, "configured")?;
        kubectl.says("get deployment web -o jsonpath={.metadata.labels}-", "", "-")?;
        kubectl.fails(
            "apply -f -",
            &WEB.replace("replicas: 2", "replica: 2"),
            "unknown field \"spec.replica\"",
        )?;
        kubectl.fails(
            "apply -f -",
            &WEB.replace("matchLabels: {app: web}", "matchLabels: {app: api}"),
            "field is immutable",
        )?;
        kubectl.says("apply --dry-run=server -f -", WEB, "configured (server dry run)")?;
        kubectl.says("delete -f -", WEB, "service \"web\" deleted")?;
        kubectl.fails("get service web", "", "(NotFound): services \"web\" not found")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_shows_conflicts() -> Result<()> {
    with_each(|kubectl| {
        kubectl.says("apply --server-side -f -", WEB, "deployment.apps/web serverside-applied")?;
        let other = WEB.replace("replicas: 2", "replicas: 3");
        kubectl.fails(
            "apply --server-side --field-manager=other -f -",
            &other,
            "Apply failed with 1 conflict: conflict with \"kubectl\": .spec.replicas",
        )?;
        let force = "apply --server-side --field-manager=other --force-conflicts -f -";
        kubectl.says(force, &other, "serverside-applied")?;
        kubectl.says("get deployment web -o jsonpath={.spec.replicas}", "", "3")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_on_a_deployment_work() -> Result<()> {
    with_each(|kubectl| {
        kubectl.run("apply -f -", WEB)?;
        for (line, words) in [
            ("scale deployment web --replicas=5", "scaled"),
            ("get deployment web", "web    0/5     0            0"),
            ("get deployment web -o wide", "main         registry/main:1   app=web"),
            ("set image deployment/web main=registry/main:3", "image updated"),
            ("rollout restart deployment/web", "restarted"),
            ("rollout pause deployment/web", "paused"),
            ("rollout resume deployment/web", "resumed"),
            ("rollout history deployment/web", "deployment.apps/web"),
            ("label deployment web team=a", "labeled"),
            ("annotate deployment web note=b", "annotated"),
            ("get deployments -l team=a,tier=front -o name", "deployment.apps/web"),
            ("edit deployment web", "edited"),
            ("get deployments -l tier=back -o name", "deployment.apps/web"),
            ("describe deployment web", "Image:         registry/main:3"),
            (
                "patch deployment web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":4}]",
                "patched",
            ),
            (
                "patch deployment web -p {\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"main\",\"env\":[{\"name\":\"A\",\"value\":\"1\"}]}]}}}}",
                "patched",
            ),
            (
                "patch deployment web --subresource=status --type=merge -p {\"status\":{\"observedGeneration\":99,\"replicas\":4,\"updatedReplicas\":4,\"readyReplicas\":4,\"availableReplicas\":4,\"conditions\":[{\"type\":\"Available\",\"status\":\"True\"}]}}",
                "patched",
            ),
            ("rollout status deployment/web --timeout=60s", "successfully rolled out"),
            ("wait --for=condition=Available deployment/web --timeout=60s", "condition met"),
            ("expose deployment web --name=out --port=80 --target-port=8080", "exposed"),
            ("get all", "deployment.apps/web"),
            ("delete deployment web --timeout=60s", "deleted"),
        ] {
            kubectl.says(line, "", words)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_are_created_by_their_generators() -> Result<()> {
    with_each(|kubectl| {
        for line in [
            "create deployment api --image=api:1 --replicas=0",
            "create configmap settings --from-literal=a=b",
            "create secret generic key --from-literal=a=b",
            "create serviceaccount robot",
            "create job once --image=tool:1 -- run",
            "create cronjob often --image=tool:1 --schedule=*/5+*+*+*+* -- run",
            "create role reader --verb=get --resource=pods",
            "create rolebinding readers --role=reader --serviceaccount=shop:robot",
            "create quota few --hard=pods=5",
            "create poddisruptionbudget calm --selector=app=api --min-available=1",
            "create ingress in --rule=host.example/*=api:80",
            "run single --image=tool:1",
        ] {
            kubectl.says(line, "", " created")?;
        }
        for (line, words) in [
            ("get deployment api -o jsonpath={.spec.replicas}", "0"),
            ("get cronjob often", "*/5 * * * *"),
            ("get rolebinding readers -o wide", "shop/robot"),
            ("get pod single", "0/1     Pending   0"),
            ("auth can-i create pods", "yes"),
            ("auth whoami", "system:masters"),
            ("api-resources --namespaced=false", "customresourcedefinitions"),
            ("get --raw /readyz", "ok"),
            ("explain deployment.spec.strategy", "FIELDS:"),
            ("explain pods.spec.containers.ports", "-required-"),
            ("delete pod single --now --timeout=60s", "deleted"),
            ("delete namespace shop --timeout=60s", "deleted"),
        ] {
            kubectl.says(line, "", words)?;
        }
        kubectl.fails("create token robot", "", "not found")?;
        kubectl.fails("get namespace shop", "", "not found")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_of_ones_own_feels_built_in() -> Result<()> {
    with_each(|kubectl| {
        kubectl.says(
            "apply -f -",
            SHIPS,
            "customresourcedefinition.apiextensions.k8s.io/ships.hanse.dev created",
        )?;
        kubectl.says(
            "wait --for=condition=Established crd/ships.hanse.dev --timeout=60s",
            "",
            "condition met",
        )?;
        kubectl.says("apply -f -", &ship(3), "ship.hanse.dev/cog created")?;
        kubectl.fails("apply -f -", &ship(9), "no ship has so many")?;
        kubectl.fails("apply -f -", &ship(0), "should be greater than or equal to 1")?;
        kubectl.says("apply -f -", &ship(4), "ship.hanse.dev/cog configured")?;
        let table = kubectl.run("get shp", "")?;
        let words: Vec<&str> = table.split_whitespace().collect();
        ensure!(words == ["NAME", "MASTS", "cog", "4"], "{table}");
        kubectl.says("get fleet -o name", "", "ship.hanse.dev/cog")?;
        kubectl.says("explain ship.spec.masts", "", "How many it has.")?;
        kubectl.says("patch ship cog --type=merge -p {\"spec\":{\"masts\":5}}", "", "patched")?;
        kubectl.says("delete crd ships.hanse.dev --timeout=60s", "", "deleted")?;
        kubectl.fails("get --raw /apis/hanse.dev/v1", "", "could not find the requested resource")
    })
    .await
}
