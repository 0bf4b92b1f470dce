//! `hanse plan --diff`: what policies would move if they stood as the files say. The hub that runs
//! works it out over its own view of the fleet; nothing is written.

use anyhow::{Context as _, Result, bail};
use hanse_api::{ClusterPropagationPolicy, PropagationPolicy};
use hanse_hub::explain::{Changed, Changes, Step};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::Ended;
use crate::{
    args::Global,
    connect::{Connection, connect, within},
    output, questions,
};

pub(super) async fn run(global: &Global, objects: Vec<Value>) -> Result<Ended> {
    let Connection { client, namespace } = connect(global).await?;
    let mut policies = Vec::new();
    for object in objects {
        policies.push(accepted(&client, &namespace, object).await?);
    }
    let body = serde_json::to_vec(&policies)?;
    let changes: Changes = questions::ask(&client, "/changes", Some(body)).await?;
    let moved = || changes.workloads.iter().filter(|one| one.is_change());
    let names = || moved().map(|one| one.template.clone()).collect();
    output::print(global.output, &changes, names, |_| write(&changes))?;
    for kind in &changes.unknown_kinds {
        output::say(&format!(
            "{kind}: no policy selects this kind yet, so the hub has not listed it; what would be \
             placed of it is not known"
        ));
    }
    Ok(ended(&changes))
}

fn ended(changes: &Changes) -> Ended {
    if changes.workloads.iter().any(|one| !one.outcome.placed) {
        Ended::Short
    } else if changes.workloads.iter().any(Changed::is_change) {
        Ended::Changes
    } else {
        Ended::Nothing
    }
}

/// The policy as the API would keep it, with its defaults; the API says what is wrong with it.
async fn accepted(client: &Client, namespace: &str, object: Value) -> Result<Value> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        "PropagationPolicy" => {
            let own = object["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
            let api: Api<PropagationPolicy> = Api::namespaced(client.clone(), &own);
            dry(&api, &kind, object).await
        }
        "ClusterPropagationPolicy" => {
            let api: Api<ClusterPropagationPolicy> = Api::all(client.clone());
            dry(&api, &kind, object).await
        }
        _ => bail!(
            "--diff is about PropagationPolicies and ClusterPropagationPolicies; leave `{kind}` \
             out, or plan it with --topology"
        ),
    }
}

async fn dry<K>(api: &Api<K>, kind: &str, object: Value) -> Result<Value>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug + ResourceExt,
{
    let name = object["metadata"]["name"].as_str().context("a policy has no name")?.to_owned();
    let params = PatchParams::apply("hanse-plan").force().dry_run();
    let patch = Patch::Apply(&object);
    let asked = api.patch(&name, &params, &patch);
    let policy = within(&format!("{kind}/{name}"), asked).await?;
    let mut value = serde_json::to_value(&policy)?;
    value["kind"] = Value::from(kind);
    Ok(value)
}

fn write(changes: &Changes) -> String {
    let mut lines = Vec::new();
    let (moved, stays): (Vec<&Changed>, Vec<&Changed>) =
        changes.workloads.iter().partition(|one| one.is_change() || !one.outcome.placed);
    for one in &moved {
        lines.push(match &one.policy {
            Some(policy) => format!("{}, {policy}", one.template),
            None => format!("{}, no policy: everything stays", one.template),
        });
        lines.extend(one.steps.iter().map(|step| format!("  {}", words(step))));
        if !one.outcome.placed {
            lines.push(format!(
                "  {}: {}; what stands stays",
                one.outcome.reason, one.outcome.message
            ));
        } else if one.outcome.short > 0 {
            lines.push(format!("  {} replicas have no place", one.outcome.short));
        }
    }
    let replicas: u64 =
        moved.iter().flat_map(|one| &one.steps).map(|s| u64::from(s.replicas)).sum();
    let workloads = moved.iter().filter(|one| one.is_change()).count();
    lines.push(match workloads {
        0 => format!("nothing would change; {} workloads looked at", changes.workloads.len()),
        _ => format!(
            "{replicas} replicas of {workloads} workloads would change; {} stay as they are",
            stays.len()
        ),
    });
    lines.join("\n")
}

fn words(step: &Step) -> String {
    let (count, why) = (step.replicas, &step.why);
    let replicas = if count == 1 { "replica" } else { "replicas" };
    match (&step.from, &step.to) {
        (Some(from), Some(to)) => format!("{count} {replicas} from {from} to {to}: {why}"),
        (Some(from), None) if count == 0 => format!("leaves {from}: {why}"),
        (None, Some(to)) if count == 0 => format!("comes to {to}: {why}"),
        (Some(from), None) => format!("{count} {replicas} go from {from}: {why}"),
        (None, Some(to)) => format!("{count} {replicas} come to {to}: {why}"),
        (None, None) => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use hanse_hub::explain::Outcome;

    use super::*;

    fn changed(steps: Vec<Step>, placed: bool, reason: &str) -> Changed {
        let (reason, message) = (reason.to_owned(), "the possible clusters are full".to_owned());
        Changed {
            template: "Deployment/web in shop".to_owned(),
            policy: Some("PropagationPolicy shop/web".to_owned()),
            steps,
            outcome: Outcome { placed, reason, message, ..Outcome::default() },
            ..Changed::default()
        }
    }

    fn step(from: Option<&str>, to: Option<&str>, replicas: u32) -> Step {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        Step { from: owned(from), to: owned(to), replicas, why: "a bound".to_owned() }
    }

    #[test]
    fn every_way_to_change_has_its_words_and_its_end() {
        let steps = vec![
            step(Some("a"), Some("b"), 1),
            step(Some("a"), None, 2),
            step(None, Some("c"), 3),
            step(None, Some("d"), 0),
        ];
        let moves = changed(steps, true, "Scheduled");
        let stays = changed(Vec::new(), true, "Scheduled");
        let short = changed(Vec::new(), false, "NoRoom");
        for (workloads, end, text) in [
            (vec![], Ended::Nothing, "nothing would change; 0 workloads looked at"),
            (vec![&stays], Ended::Nothing, "nothing would change; 1 workloads looked at"),
            (
                vec![&moves, &stays],
                Ended::Changes,
                "Deployment/web in shop, PropagationPolicy shop/web\n  \
                 1 replica from a to b: a bound\n  2 replicas go from a: a bound\n  \
                 3 replicas come to c: a bound\n  comes to d: a bound\n\
                 6 replicas of 1 workloads would change; 1 stay as they are",
            ),
            (
                vec![&short],
                Ended::Short,
                "Deployment/web in shop, PropagationPolicy shop/web\n  \
                 NoRoom: the possible clusters are full; what stands stays\n\
                 nothing would change; 1 workloads looked at",
            ),
        ] {
            let workloads = workloads.into_iter().cloned().collect();
            let changes = Changes { workloads, ..Changes::default() };
            assert_eq!((ended(&changes), write(&changes)), (end, text.to_owned()));
        }
    }
}
