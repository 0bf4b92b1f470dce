//! The workload of the losses: a service whose pods may run in some places only, so that requests
//! that enter elsewhere have to use the place that is lost.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hanse_api::MoveState;
use hanse_tests_bodies::{Fleet, fleet::LONG, traffic, wait};
use kube::{Api, api::ListParams};

/// Namespace and name of everything.
pub(crate) const NAMESPACE: &str = "bench";
pub(crate) const NAME: &str = "web";
/// How many pods it has.
pub(crate) const REPLICAS: usize = 9;
const LABEL: &str = "app=web";

const MANIFESTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: bench}
---
apiVersion: hanse.dev/v1alpha1
kind: PropagationPolicy
metadata: {name: web, namespace: bench}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]
  placement:
    clusters: [{HOME}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: bench}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, appProtocol: http}]
---
apiVersion: hanse.dev/v1alpha1
kind: GlobalService
metadata: {name: web, namespace: bench}
spec: {service: web, ports: [{port: 80, protocol: HTTP}], routing: {ROUTING}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: bench}
spec:
  replicas: 9
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example/bench/web:1
          ports: [{name: http, containerPort: 8080}]
          resources: {requests: {cpu: 250m, memory: 256Mi}}
          readinessProbe: {httpGet: {path: /, port: http}}
";

/// What is lost, where the pods may be, and where traffic enters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    /// `region` or `cluster`.
    pub(crate) unit: &'static str,
    /// What is lost.
    pub(crate) target: &'static str,
    /// Where pods may be: fields of a cluster selection.
    home: &'static str,
    /// How the service finds the next cluster: fields of its routing.
    routing: &'static str,
    /// Traffic enters at the clusters whose names begin so.
    enters: &'static str,
}

/// The regions of the default fleet. Nobody has the region in Asia as the nearest of two, so that
/// there an order says what distance says elsewhere.
pub(crate) const REGIONS: [Scene; 3] = [
    Scene {
        unit: "region",
        target: "us-east1",
        home: "regions: [us-east1, southeastasia]",
        routing: "",
        enters: "aws-eu-west-1",
    },
    Scene {
        unit: "region",
        target: "eu-west-1",
        home: "regions: [eu-west-1, southeastasia]",
        routing: "",
        enters: "gcp-us-east1",
    },
    Scene {
        unit: "region",
        target: "southeastasia",
        home: "regions: [southeastasia, us-east1]",
        routing: "locality: Ordered, order: [{regions: [southeastasia]}, {regions: [us-east1]}]",
        enters: "aws-eu-west-1",
    },
];

/// One cluster, used by its neighbour in the region.
pub(crate) const CLUSTER: Scene = Scene {
    unit: "cluster",
    target: "gcp-us-east1-b",
    home: "names: [gcp-us-east1-b, azure-southeastasia-1]",
    routing: "",
    enters: "gcp-us-east1-c",
};

/// The workload, running.
#[derive(Debug)]
pub(crate) struct Running {
    /// Clusters that will be lost.
    pub(crate) target: BTreeSet<String>,
    /// Where traffic enters.
    pub(crate) entries: Vec<(String, SocketAddr)>,
    /// Ready pods in the target.
    pub(crate) held: usize,
}

/// Applies the workload of a scene, and waits until it runs and the target answers its entries.
pub(crate) async fn deploy(fleet: &Fleet, scene: &Scene) -> Result<Running> {
    let target: BTreeSet<String> =
        fleet.members.keys().filter(|name| scene.holds(name)).cloned().collect();
    ensure!(!target.is_empty(), "no cluster in {}", scene.target);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("web.yaml");
    let text = MANIFESTS.replace("ROUTING", scene.routing).replace("HOME", scene.home);
    std::fs::write(&path, text)?;
    fleet.kubectl.run(&["apply", "-f", &path.to_string_lossy()]).await?;
    let available = ["-n", NAMESPACE, "rollout", "status", "deployment/web", "--timeout=60s"];
    fleet.kubectl.run(&available).await?;
    let held = ready(fleet, |name| target.contains(name)).await?;
    ensure!(held > 0, "no pod of {NAME} is in {}", scene.target);
    let mut entries = Vec::new();
    for at in fleet.addresses(NAMESPACE, NAME, fleet.members.len()).await? {
        if at.cluster.starts_with(scene.enters) {
            let port = u16::try_from(at.port)?;
            entries.push((at.cluster, SocketAddr::new(at.address.parse()?, port)));
        }
    }
    ensure!(!entries.is_empty(), "no address in {}", scene.enters);
    for (cluster, address) in &entries {
        let look = async || traffic::get(*address).await;
        let by_target = |(status, by): &(u16, String)| *status == 200 && target.contains(by);
        let what = format!("{cluster} uses {}", scene.target);
        wait::until(&what, LONG, look, by_target).await?;
    }
    Ok(Running { target, entries, held })
}

impl Scene {
    fn holds(&self, cluster: &str) -> bool {
        match self.unit {
            "cluster" => cluster == self.target,
            // The default fleet names its clusters by region.
            _ => cluster.contains(self.target),
        }
    }
}

/// Ready pods in the members that `ask` names.
pub(crate) async fn ready(fleet: &Fleet, ask: impl Fn(&str) -> bool) -> Result<usize> {
    Ok(fleet.ready_pods(NAMESPACE, LABEL, ask).await?.values().sum())
}

/// Waits until every member is healthy and every move has ended; gives the replicas in all
/// members' own APIs.
pub(crate) async fn whole(fleet: &Fleet) -> Result<u64> {
    let look = async || {
        let healthy = fleet.verdicts().await?.values().all(|verdict| verdict == "Healthy");
        let bindings: Api<hanse_api::ResourceBinding> = Api::all(fleet.hub.clone());
        let open: Vec<String> = bindings
            .list(&ListParams::default())
            .await?
            .iter()
            .filter(|binding| binding.spec.moves.iter().any(|step| step.state != MoveState::Done))
            .map(kube::ResourceExt::name_any)
            .collect();
        Ok((healthy, open))
    };
    let ended = |(healthy, open): &(bool, Vec<String>)| *healthy && open.is_empty();
    wait::until("everything whole again", LONG * 3, look, ended).await?;
    // The last removal is decided; its delete is on its way.
    hanse_rt::sleep(Duration::from_secs(1)).await;
    let spread = fleet.spread(NAMESPACE, NAME, |_| true).await?;
    u64::try_from(spread.values().sum::<i32>()).context("a negative sum")
}
