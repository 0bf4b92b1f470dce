//! Gathers what traffic depends on: the hub's objects, the members' endpoints, what operators
//! and drills ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_api::{DomainKind, Effect, MemberCluster, marks::DRAIN_TAINT};
use hanse_rt::Mono;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;

use super::{
    RoundTrips,
    endpoints::Endpoints,
    plan::{Seen, verdict_of},
    ramp::{Ramps, Standing},
};
use crate::{Cache, Key, World, drill};

/// Gathers it; the ramps move on.
pub(crate) fn observe(
    world: &World,
    templates: &Cache<Service>,
    endpoints: &Endpoints,
    ramps: &mut Ramps,
    round_trips: &RoundTrips,
) -> Seen {
    let now = Mono::now();
    let members = world.objects().members.all();
    let isolated: BTreeMap<String, i64> = drill::isolations(world)
        .into_iter()
        .map(|(member, until)| (member, until.as_second()))
        .collect();
    let drained = drained(world, &members);
    let standing = members
        .iter()
        .map(|member| {
            let name = member.name_any();
            let verdict = member.status.as_ref().and_then(|status| status.verdict.as_deref());
            let lost = verdict.is_some_and(|verdict| verdict_of(verdict).is_lost_for_traffic());
            let stands = Standing {
                draining: drained.contains(&name),
                out: lost || isolated.contains_key(&name),
            };
            (name, stands)
        })
        .collect();
    ramps.update(&standing, now);
    Seen {
        services: world.objects().global_services.all(),
        templates: templates
            .all()
            .into_iter()
            .map(|service| (Key::of(service.as_ref()), service))
            .collect(),
        ready: endpoints.ready(),
        shares: ramps.shares(now),
        isolated,
        round_trips: round_trips.clone(),
        hub: world.federation().and_then(|federation| {
            let place = federation.spec.hub.clone()?;
            Some((place.provider, place.region))
        }),
        now: world.means().wall.now().as_second(),
        members,
    }
}

/// Members that an operator or a drill drains.
fn drained(world: &World, members: &[Arc<MemberCluster>]) -> BTreeSet<String> {
    let federation = world.federation();
    let drains = federation.as_ref().map(|f| f.spec.drains.as_slice()).unwrap_or_default();
    let by_drill = drill::evacuated(world);
    members
        .iter()
        .filter(|member| {
            let (name, spec) = (member.name_any(), &member.spec);
            let named = drains.iter().any(|drain| match drain.domain {
                DomainKind::Cluster => drain.name == name,
                DomainKind::Zone => Some(&drain.name) == spec.zone.as_ref(),
                DomainKind::Region => drain.name == spec.region,
                DomainKind::Provider => drain.name == spec.provider,
            });
            let tainted = spec
                .taints
                .iter()
                .any(|taint| taint.key == DRAIN_TAINT && taint.effect == Effect::NoExecute);
            named || tainted || by_drill.contains_key(&name)
        })
        .map(|member| member.name_any())
        .collect()
}
