//! Writes what was planned: service ports first, because what a gateway listens on must be
//! known after a loss; then the snapshots; then what GlobalServices say.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::{
    GlobalService, GlobalServiceStatus,
    conditions::{self, global_service},
};
use hanse_routing::ClusterName;
use hanse_rt::metrics::Counters;
use hanse_xds::{AdsServer, compile, encode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::plan::{PORTS_ANNOTATION, Plan, Says, Told};
use crate::{
    Key, World,
    events::{Subject, Tone},
    write::{change_status, namespaced},
};

/// What was published last.
#[derive(Debug)]
pub(crate) struct Published {
    server: AdsServer,
    versions: BTreeMap<ClusterName, u64>,
    count: Counters,
}

impl Published {
    pub(crate) fn new(server: AdsServer, world: &World) -> Self {
        let count = world
            .means()
            .metrics
            .counters("hanse_route_snapshots", "route snapshots published, by member");
        Self { server, versions: BTreeMap::new(), count }
    }

    /// Brings everything about; true when nothing is left to try again.
    pub(crate) async fn apply(&mut self, world: &World, plan: &Plan) -> bool {
        let mut complete = true;
        for (key, told) in &plan.told {
            complete &= self.keep_ports(world, key, told).await;
        }
        if !complete {
            // A port that is not written down could be another service's after a restart.
            return false;
        }
        self.publish(plan);
        for (key, told) in &plan.told {
            complete &= tell(world, key, told).await;
        }
        complete
    }

    fn publish(&mut self, plan: &Plan) {
        for (member, snapshot) in &plan.snapshots {
            let version = snapshot.version();
            if self.versions.insert(member.clone(), version) != Some(version) {
                let resources = encode(&compile(snapshot));
                self.server.publish(member.as_str(), Arc::new(resources));
                self.count.get_or_create(&vec![("member", member.to_string())]).inc();
            }
        }
        let server = &self.server;
        self.versions.retain(|member, _| {
            let stays = plan.snapshots.contains_key(member);
            if !stays {
                server.remove(member.as_str());
            }
            stays
        });
    }

    async fn keep_ports(&self, world: &World, key: &Key, told: &Told) -> bool {
        let Some(global) = world.objects().global_services.get(key) else {
            return true;
        };
        let kept = global.annotations().get(PORTS_ANNOTATION);
        if told.ports.is_empty() || kept == Some(&told.ports) {
            return true;
        }
        let api = namespaced::<GlobalService>(&world.means().client, key);
        let patch = json!({"metadata": {
            "annotations": {PORTS_ANNOTATION: told.ports},
            "resourceVersion": global.resource_version(),
        }});
        let written = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        match written {
            Ok(object) => {
                // Planning again before the watch has brought this back changes nothing.
                world.objects().global_services.set(key.clone(), object);
                true
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => true,
            Err(error) => {
                tracing::warn!(%key, %error, "service ports are not written down");
                false
            }
        }
    }
}

async fn tell(world: &World, key: &Key, told: &Told) -> bool {
    let Some(global) = world.objects().global_services.get(key) else {
        return true;
    };
    let before = global.status.clone().unwrap_or_default();
    let now = Time(world.means().wall.now());
    let generation = global.metadata.generation;
    let subject = subject(key, &global);
    let api = namespaced::<GlobalService>(&world.means().client, key);
    let first = world.means().status_writes.first();
    let written = change_status(&api, &first, global, |status| {
        status.observed_generation = generation;
        status.addresses.clone_from(&told.addresses);
        status.endpoints.clone_from(&told.endpoints);
        status.order.clone_from(&told.order);
        for (type_, says) in parts(told) {
            let wanted = conditions::condition(
                type_,
                says.status,
                says.reason,
                says.message.clone(),
                generation,
                now.clone(),
            );
            conditions::set(&mut status.conditions, wanted);
        }
    });
    match written.await {
        Ok(_) => {
            for (type_, says) in parts(told) {
                announce(world, &subject, &before, type_, says);
            }
            true
        }
        Err(error) => {
            tracing::warn!(%key, %error, "the status of a GlobalService is not written");
            false
        }
    }
}

fn parts(told: &Told) -> [(&'static str, &Says); 2] {
    [(global_service::PROGRAMMED, &told.programmed), (global_service::HEALTHY, &told.healthy)]
}

/// An event where a condition flips.
fn announce(
    world: &World,
    subject: &Subject,
    before: &GlobalServiceStatus,
    type_: &str,
    says: &Says,
) {
    let was = before.conditions.iter().find(|condition| condition.type_ == type_);
    let flipped = was.is_none_or(|was| (was.status == "True") != says.status);
    if flipped {
        let tone = if says.status { Tone::Normal } else { Tone::Warning };
        let note = says.message.clone();
        world.means().recorder.say(subject, tone, says.reason, note);
    }
}

fn subject(key: &Key, global: &GlobalService) -> Subject {
    Subject {
        api_version: GlobalService::api_version(&()).into_owned(),
        kind: GlobalService::kind(&()).into_owned(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: global.uid().unwrap_or_default(),
    }
}
