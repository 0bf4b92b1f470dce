//! The calls, in the order in which a binding causes them.

use anyhow::Result;
use serde_json::Value;

use crate::{
    figures::Figures,
    objects,
    server::{APPLY, Call, MERGE, Server},
};

const BINDINGS: &str = "/apis/hanse.dev/v1alpha1/namespaces/team/resourcebindings";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/team/deployments";
const MEMBERS: &str = "/apis/hanse.dev/v1alpha1/memberclusters";
/// Changes that a hub's server and a member's remember of each kind.
const HUB_HISTORY: usize = 2048;
const MEMBER_HISTORY: usize = 128;
/// Lists of everything that are counted.
const LISTS: usize = 10;

pub(crate) async fn run(objects: u32, batch: u32, figures: &mut Figures) -> Result<()> {
    let (mut hub, mut member) = servers().await?;
    let mut first = 0;
    while first < objects {
        let numbers: Vec<u32> = (first..objects.min(first + batch)).collect();
        of_a_hub(&mut hub, &numbers, figures).await?;
        of_a_member(&mut member, &numbers, figures).await?;
        first += batch;
    }
    let list = [Call::get(DEPLOYMENTS)];
    for _ in 0..LISTS {
        hub.count("list all Deployments", figures, &list).await?;
    }
    Ok(())
}

async fn servers() -> Result<(Server, Server)> {
    let (mut hub, mut member) = (Server::new(HUB_HISTORY)?, Server::new(MEMBER_HISTORY)?);
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for definition in hanse_api::crds() {
        let definition = serde_json::to_value(&definition)?;
        hub.make(&[Call::create(definitions, &definition)]).await?;
    }
    for server in [&mut hub, &mut member] {
        server.make(&[Call::create("/api/v1/namespaces", &objects::namespace())]).await?;
        server.watch("/apis/apps/v1/deployments").await?;
    }
    hub.watch("/apis/hanse.dev/v1alpha1/resourcebindings").await?;
    hub.watch(MEMBERS).await?;
    Ok((hub, member))
}

async fn of_a_hub(hub: &mut Server, numbers: &[u32], figures: &mut Figures) -> Result<()> {
    let all = |make: &dyn Fn(u32) -> Call| numbers.iter().map(|one| make(*one)).collect::<Vec<_>>();
    let calls = all(&|one| Call::create(DEPLOYMENTS, &objects::deployment(one)));
    let templates = hub.count("create a Deployment", figures, &calls).await?;

    let calls = patches(&templates, |template| Call::create(BINDINGS, &objects::binding(template)));
    let bindings = hub.count("create a ResourceBinding", figures, &calls).await?;

    let calls = patches(&bindings, |binding| {
        Call::patch(&path(BINDINGS, binding), MERGE, &objects::decision(binding))
    });
    let bindings = hub.count("patch spec.clusters of a ResourceBinding", figures, &calls).await?;

    let calls = patches(&bindings, |binding| {
        let path = format!("{}/status", path(BINDINGS, binding));
        Call::patch(&path, MERGE, &objects::reasons(binding))
    });
    let name = "patch the decision in a ResourceBinding's status";
    let mut bindings = hub.count(name, figures, &calls).await?;

    let name = "patch the state in a ResourceBinding's status";
    for ready in 1..=2 {
        let calls = patches(&bindings, |binding| {
            let path = format!("{}/status", path(BINDINGS, binding));
            Call::patch(&path, MERGE, &objects::state(binding, ready))
        });
        bindings = hub.count(name, figures, &calls).await?;
    }

    let calls = patches(&templates, |template| {
        let path = format!("{}/status", path(DEPLOYMENTS, template));
        Call::patch(&path, MERGE, &objects::status(template))
    });
    hub.count("patch the status of a Deployment", figures, &calls).await?;

    let calls = all(&|one| Call::create(MEMBERS, &objects::member(one)));
    let members = hub.count("create a MemberCluster", figures, &calls).await?;
    hub.make(&patches(&members, |member| member_status(member, 0))).await?;
    let calls = patches(&members, |member| member_status(member, 1));
    hub.count("patch the status of a MemberCluster", figures, &calls).await?;

    let calls = patches(&bindings, |binding| Call::get(&path(BINDINGS, binding)));
    hub.count("get a ResourceBinding", figures, &calls).await.map(drop)
}

async fn of_a_member(member: &mut Server, numbers: &[u32], figures: &mut Figures) -> Result<()> {
    let applied = |one: u32, tag: u32| {
        let copy = objects::copy(one, tag);
        let path = format!("{}?fieldManager=hanse&force=true", path(DEPLOYMENTS, &copy));
        Call::patch(&path, APPLY, &copy)
    };
    let apply = |tag: u32| numbers.iter().map(|one| applied(*one, tag)).collect::<Vec<_>>();
    let copies = member.count("apply a new Deployment", figures, &apply(1)).await?;
    let calls = patches(&copies, |copy| {
        let path = format!("{}/status", path(DEPLOYMENTS, copy));
        Call::patch(&path, MERGE, &objects::status(copy))
    });
    member.count("patch the status of an applied Deployment", figures, &calls).await?;
    member.count("apply an unchanged Deployment", figures, &apply(1)).await?;
    member.count("apply a changed Deployment", figures, &apply(2)).await.map(drop)
}

fn member_status(member: &Value, beat: u32) -> Call {
    let path = format!("{}/status", path(MEMBERS, member));
    Call::patch(&path, MERGE, &objects::member_status(beat))
}

fn patches(objects: &[Value], make: impl Fn(&Value) -> Call) -> Vec<Call> {
    objects.iter().map(make).collect()
}

/// Where an object is.
fn path(collection: &str, object: &Value) -> String {
    format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap_or_default())
}
