//! Gives the orders, and writes what the brakes hold into the Federation's status.

use std::collections::BTreeMap;

use hanse_api::{
    Federation,
    conditions::{self, condition, federation, reason},
};
use hanse_detector::brakes::Brake;
use hanse_rt::metrics::Gauges;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt as _};

use super::plan::Planned;
use crate::{
    World,
    events::{Subject, Tone},
    write::change_status,
};

/// What was said last.
pub(super) struct Written {
    held: Option<BTreeMap<String, Brake>>,
    ordered: BTreeMap<String, String>,
    brakes: Gauges,
    orders: Gauges,
}

impl Written {
    pub(super) fn new(world: &World) -> Self {
        let metrics = &world.means().metrics;
        Self {
            held: None,
            ordered: BTreeMap::new(),
            brakes: metrics
                .gauges("hanse_domains_held", "lost domains that a brake holds, by brake"),
            orders: metrics
                .gauges("hanse_members_evacuating", "members that are being left, by cause"),
        }
    }

    /// Gives the orders and writes what changed.
    pub(super) async fn apply(&mut self, world: &World, planned: Planned) {
        self.orders.clear();
        for order in planned.orders.values() {
            let labels = vec![("reason", format!("{:?}", order.reason))];
            self.orders.get_or_create(&labels).inc();
        }
        let ordered: BTreeMap<String, String> =
            planned.orders.iter().map(|(name, order)| (name.clone(), order.id.clone())).collect();
        for (name, id) in ordered.iter().filter(|(name, id)| self.ordered.get(*name) != Some(id)) {
            tracing::info!(member = name, event = id, "evacuation ordered");
        }
        self.ordered = ordered;
        world.order_evacuations(planned.orders);
        self.brakes.clear();
        for brake in planned.held.values() {
            self.brakes.get_or_create(&vec![("brake", brake.as_str().to_owned())]).inc();
        }
        if self.held.as_ref() == Some(&planned.held) {
            return;
        }
        match write(world, &planned.held).await {
            Ok(true) => self.held = Some(planned.held),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "brake not written"),
        }
    }
}

async fn write(world: &World, held: &BTreeMap<String, Brake>) -> Result<bool, kube::Error> {
    let Some(known) = world.federation() else {
        return Ok(false);
    };
    let settled: Vec<_> = held.iter().filter(|(_, brake)| **brake != Brake::Settling).collect();
    let subject = Subject {
        api_version: "hanse.dev/v1alpha1".to_owned(),
        kind: "Federation".to_owned(),
        namespace: String::new(),
        name: known.name_any(),
        uid: known.uid().unwrap_or_default(),
    };
    let text = settled
        .iter()
        .map(|(domain, brake)| {
            format!(
                "{domain} is lost and held by {}; `hanse failover approve {domain}` evacuates it",
                brake.as_str()
            )
        })
        .collect::<Vec<_>>()
        .join("; ");
    let why = settled.first().map_or(reason::NOTHING_HELD, |(_, brake)| brake.as_str());
    let api: Api<Federation> = Api::all(world.means().client.clone());
    let now = Time(world.means().wall.now());
    let generation = known.metadata.generation;
    let wanted = condition(
        federation::BRAKE_RELEASED,
        settled.is_empty(),
        why,
        text.clone(),
        generation,
        now,
    );
    change_status(&api, &world.means().status_writes.first(), known, |status| {
        conditions::set(&mut status.conditions, wanted.clone());
    })
    .await?;
    if !settled.is_empty() {
        world.means().recorder.say(&subject, Tone::Warning, "EvacuationHeld", text);
    }
    Ok(true)
}
