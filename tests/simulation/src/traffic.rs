//! Traffic through modelled gateways: each knows its own member's endpoints at once, and of the
//! others what the hub said last. It tries an endpoint after the other, as the real one does with
//! a request that was not sent; only what nobody answers is an error.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use hanse_api::ResourceBinding;
use hanse_rt::TaskSet;
use hanse_sim::{
    faults::{Ends, Passage},
    member::Member,
    world::World,
};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{Api, Client, api::ListParams};

/// Each gateway gets a request this often.
const EVERY: Duration = Duration::from_millis(100);
/// The hub tells gateways what changed within this time.
const PUBLISH: Duration = Duration::from_millis(200);

/// Ready endpoints by cluster, as the hub said last. Gateways keep it when the hub is silent.
pub(crate) type Snapshot = Arc<Mutex<BTreeMap<String, i32>>>;

/// What came of the requests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Served {
    pub(crate) requests: usize,
    /// Answered by another cluster than the one that was entered.
    pub(crate) elsewhere: usize,
    /// What nobody answered: when it entered where.
    pub(crate) errors: Vec<String>,
}

/// The hub's part: publishes what it knows, and dies with the hub's tasks.
pub(crate) fn publish(hub: &TaskSet, client: Client, snapshot: Snapshot) {
    hub.spawn("modelled snapshots", async move {
        let bindings: Api<ResourceBinding> = Api::namespaced(client, "default");
        let mut ticks = hanse_rt::interval(PUBLISH, Duration::ZERO);
        loop {
            ticks.tick().await;
            let Ok(all) = bindings.list(&ListParams::default()).await else {
                continue;
            };
            let web = all.iter().find(|binding| {
                binding.spec.template.kind == "Deployment" && binding.spec.template.name == "web"
            });
            let Some(status) = web.and_then(|binding| binding.status.as_ref()) else {
                continue;
            };
            let ready = status.clusters.iter().map(|c| (c.name.clone(), c.ready)).collect();
            *snapshot.lock().expect("no holder of this lock panics") = ready;
        }
    });
}

/// Sends requests to every gateway until `tasks` end.
pub(crate) fn run(tasks: &TaskSet, world: &World, snapshot: &Snapshot) -> Arc<Mutex<Served>> {
    let served: Arc<Mutex<Served>> = Arc::default();
    for member in world.members() {
        let (world, snapshot) = (world.clone(), Arc::clone(snapshot));
        let (member, served) = (member.clone(), Arc::clone(&served));
        tasks.spawn("modelled traffic", async move {
            let mut ticks = hanse_rt::interval(EVERY, Duration::ZERO);
            let started = ticks.tick().await;
            loop {
                let now = ticks.tick().await;
                let answered = ask(&world, &member, &snapshot).await;
                let mut served = served.lock().expect("no holder of this lock panics");
                served.requests += 1;
                match answered {
                    Ok(Some(by)) => served.elsewhere += usize::from(by != member.name()),
                    other => served.errors.push(format!(
                        "{:?} after the start at {}: {other:?}",
                        now - started,
                        member.name()
                    )),
                }
            }
        });
    }
    served
}

/// Who answers a request that enters at a member's gateway.
async fn ask(world: &World, entered: &Member, snapshot: &Snapshot) -> Result<Option<String>> {
    if answers(entered).await? {
        return Ok(Some(entered.name().to_owned()));
    }
    let known = snapshot.lock().expect("no holder of this lock panics").clone();
    let mut others: Vec<(Duration, String)> = known
        .into_iter()
        .filter(|(name, ready)| *ready > 0 && name != entered.name())
        .map(|(name, _)| (world.distance(entered.name(), &name), name))
        .collect();
    others.sort();
    for (distance, name) in others {
        let Some(other) = world.member(&name) else {
            continue;
        };
        let from = (entered.name().to_owned(), entered.faults());
        let ends = Ends::new(from, (name.clone(), other.faults()));
        if !matches!(ends.passage(), Passage::Open(_)) {
            continue;
        }
        hanse_rt::sleep(distance).await;
        if answers(other).await? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether a gateway finds a pod of its own member: it tries what its EndpointSlices say is ready,
/// and a pod that has gone meanwhile refuses the connection.
async fn answers(member: &Member) -> Result<bool> {
    let slices: Api<EndpointSlice> = Api::namespaced(member.local_client(), "default");
    let pods: Api<Pod> = Api::namespaced(member.local_client(), "default");
    let of_web = ListParams::default().labels("kubernetes.io/service-name=web");
    for slice in slices.list(&of_web).await? {
        for endpoint in slice.endpoints.unwrap_or_default() {
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready);
            let Some(name) = endpoint.target_ref.and_then(|target| target.name) else {
                continue;
            };
            if ready == Some(true) && pods.get_opt(&name).await?.is_some_and(|pod| runs(&pod)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn runs(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
