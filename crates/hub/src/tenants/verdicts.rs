//! What became of each Tenant: whether it counts, and what it uses.

use hanse_api::{
    Quota, Tenant, TenantStatus,
    conditions::{self, policy, reason},
};
use hanse_render::format_milli;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;

use super::book::Amounts;
use crate::{Key, World, write::change_status};

pub(super) async fn write(world: &World, key: &Key) -> Result<(), kube::Error> {
    let Some(known) = world.objects().tenants.get(key) else {
        return Ok(());
    };
    let used = quota(world.tenants().used(&key.name));
    let (holds, why, words) = match world.tenants().disputed(&key.name) {
        None => (true, reason::ACCEPTED, String::new()),
        Some((namespace, names)) => {
            let words = format!(
                "namespace {namespace} stands in the Tenants {}: nothing new is placed from it \
                 until it is taken out of all but one",
                names.join(", ")
            );
            (false, reason::NAMESPACE_TAKEN, words)
        }
    };
    let (generation, now) = (known.metadata.generation, Time(world.means().wall.now()));
    let accepted = conditions::condition(policy::ACCEPTED, holds, why, words, generation, now);
    let api: Api<Tenant> = Api::all(world.means().client.clone());
    let change = |status: &mut TenantStatus| {
        status.observed_generation = generation;
        status.used.clone_from(&used);
        conditions::set(&mut status.conditions, accepted.clone());
    };
    change_status(&api, &world.means().status_writes, known, change).await.map(|_| ())
}

/// What is used, in the words of a quota; extended resources are those with a domain.
fn quota(mut used: Amounts) -> Quota {
    let cpu = used.remove("cpu").map(|amount| {
        if amount % 1000 == 0 { (amount / 1000).to_string() } else { format!("{amount}m") }
    });
    let memory = used.remove("memory").map(whole);
    let pods = used.remove("pods").map(|pods| i64::try_from(pods / 1000).unwrap_or(i64::MAX));
    let domain = used.into_iter().filter(|(name, _)| name.contains('/')).take(32);
    let extended = domain.map(|(name, amount)| (name, whole(amount)));
    Quota { cpu, memory, pods, extended: extended.collect() }
}

/// In whole units, rounded up.
fn whole(milli: i128) -> String {
    format_milli((milli + 999) / 1000 * 1000)
}
