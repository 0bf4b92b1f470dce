//! `kubectl scale` and `kubectl delete` on the hub, until every member's own API shows it.

use std::fmt::Write as _;

use anyhow::Result;
use hanse_rt::Mono;

use crate::{
    Bench,
    board::{Board, HUB, Seen},
    federation::Federation,
    figures::{Case, Target},
};

const BOUND: Target = Target::AtMost(500);
const POLICY: &str = "
apiVersion: hanse.dev/v1alpha1
kind: PropagationPolicy
metadata: {name: all, namespace: default}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]
  placement: {replicas: {mode: Duplicate}}
";
const DEPLOYMENT: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers:
        - {name: main, image: registry.example/bench/main:1, resources: {requests: {cpu: 10m, memory: 16Mi}}}
";

/// Measures both, `repeats` times each.
pub(crate) async fn run(bench: &Bench, case: &mut Case<'_>) -> Result<()> {
    let (_federation, fleet) = Federation::start(&bench.program).await?;
    let members: Vec<&String> = fleet.members.keys().collect();
    let board = Board::open(&fleet, "default");
    let names: Vec<String> = (0..bench.repeats).map(|number| format!("web-{number}")).collect();
    let mut manifests = POLICY.to_owned();
    for name in &names {
        write!(manifests, "{}", DEPLOYMENT.replace("NAME", name))?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("scale.yaml");
    std::fs::write(&path, manifests)?;
    let kubectl = &fleet.kubectl;
    kubectl.run(&["apply", "-f", &path.to_string_lossy()]).await?;
    kubectl.run(&["wait", "--for=condition=Available", "deployment", "--all"]).await?;
    let at = |seen: &Seen, place: &str, name: &str| {
        seen.get(&(place.to_owned(), name.to_owned())).copied()
    };
    let (mut whole, mut behind) = (Vec::new(), Vec::new());
    for name in &names {
        let started = Mono::now();
        let reach = async {
            let on_hub = board.until("the hub has it", |seen| at(seen, HUB, name) == Some(3));
            let everywhere = |seen: &Seen| members.iter().all(|m| at(seen, m, name) == Some(3));
            let on_hub = on_hub.await?;
            Ok::<_, anyhow::Error>((on_hub, board.until("every member has it", everywhere).await?))
        };
        let scale = ["scale", "deployment", name.as_str(), "--replicas=3"];
        let (_, (on_hub, everywhere)) = futures::try_join!(kubectl.run(&scale), reach)?;
        whole.push(everywhere - started);
        behind.push(everywhere.saturating_duration_since(on_hub));
    }
    case.times("kubectl scale to all members", &whole, BOUND);
    case.times("of it: hub to all members", &behind, Target::Shown);
    let mut gone = Vec::new();
    for name in &names {
        let started = Mono::now();
        let nowhere = |seen: &Seen| !seen.keys().any(|(_, other)| other == name);
        let delete = ["delete", "deployment", name.as_str(), "--wait=false"];
        let wait = board.until("it is gone everywhere", nowhere);
        let (_, everywhere) = futures::try_join!(kubectl.run(&delete), wait)?;
        gone.push(everywhere - started);
    }
    case.times("kubectl delete to gone everywhere", &gone, Target::Shown);
    Ok(())
}
