//! Traffic: GlobalServices, endpoints, verdicts and what operators ask for become one route
//! snapshot per member, served to its relay. It alone writes the status of GlobalServices and
//! the service ports in their annotation.
//!
//! The decision is the routing engine's. Endpoints of a member never come back to it from here:
//! its relay knows its own.

mod apply;
mod distance;
mod endpoints;
mod observe;
mod plan;
mod ramp;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_rt::{Mono, TaskSet};
use hanse_xds::{AdsServer, ReportTable};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use tokio::sync::Notify;

use crate::{Cache, World};

/// Changes that come within this time are planned together: 10 ms of the 30 that an endpoint's
/// change may take to all gateways.
const TOGETHER: Duration = Duration::from_millis(10);
/// Ramps move, and what failed is tried again, after this time.
const LOOK: Duration = Duration::from_secs(1);

/// Microseconds between two regions.
pub type RoundTrips = BTreeMap<(String, String), u64>;

/// Plans and publishes routes until `tasks` end. The hub's own objects are known by now; routes
/// are published once its Services are too, so that a start takes nothing away.
pub(crate) async fn run(
    world: World,
    tasks: TaskSet,
    server: AdsServer,
    round_trips: RoundTrips,
    reports: ReportTable,
) {
    let wake = Arc::new(Notify::new());
    listen(&world, &wake);
    let means = world.means();
    let templates = Cache::<Service>::default();
    let listed = hanse_rt::Readiness::new();
    let rng = means.rng.fork("traffic", "services");
    templates.follow(&tasks, &listed, Api::all(means.client.clone()), "services", rng);
    on_change(&templates, &wake);
    listed.ready().await;
    let mut endpoints = endpoints::Endpoints::new(&tasks, &means.rng, Arc::clone(&wake));
    let mut ramps = ramp::Ramps::default();
    let mut published = apply::Published::new(server, &world);
    let mut distances = distance::Distances::new(round_trips);
    let mut complete = false;
    let mut ticks = hanse_rt::interval(LOOK, LOOK);
    wake.notify_one();
    loop {
        hanse_rt::select! {
            () = wake.notified() => hanse_rt::sleep(TOGETHER).await,
            _ = ticks.tick() => {
                let isolated = !crate::drill::isolations(&world).is_empty();
                let members = world.objects().members.all();
                let measured = distances.measure(&members, &reports.all(), Mono::now());
                if complete && !isolated && !measured && !ramps.is_moving(Mono::now()) {
                    continue;
                }
            }
        }
        endpoints.follow(&world).await;
        let seen = observe::observe(&world, &templates, &endpoints, &mut ramps, &distances.all());
        complete = published.apply(&world, &plan::plan(&seen)).await;
    }
}

fn listen(world: &World, wake: &Arc<Notify>) {
    let objects = world.objects();
    on_change(&objects.global_services, wake);
    on_change(&objects.members, wake);
    on_change(&objects.drills, wake);
    on_change(&objects.federations, wake);
    let wake = Arc::clone(wake);
    // A new session begins with a look at its API server.
    world.on_session(move |_, event| {
        if matches!(event, crate::SessionEvent::Sight) {
            wake.notify_one();
        }
    });
}

fn on_change<K: Send + Sync + 'static>(cache: &Cache<K>, wake: &Arc<Notify>) {
    let wake = Arc::clone(wake);
    cache.on_change(move |_, _, _| wake.notify_one());
}
