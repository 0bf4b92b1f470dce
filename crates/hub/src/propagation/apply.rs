//! Writes bindings. A new one carries its first decision where that can be made at once: one write,
//! and nobody ever sees it undecided.

use std::sync::Arc;

use hanse_api::{ResourceBinding, marks::BINDING_FINALIZER};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use super::plan::{Plan, binding_key};
use crate::{
    TemplateKey, World,
    placement::Placement,
    write::{merge_patch, namespaced},
};

pub(super) async fn apply(
    world: &World,
    placement: &Placement,
    key: &TemplateKey,
    plan: Plan,
) -> Result<(), kube::Error> {
    let at = binding_key(key);
    let api: Api<ResourceBinding> = namespaced(&world.means().client, &at);
    match plan {
        Plan::Nothing => Ok(()),
        Plan::Create(spec) => {
            let mut binding = ResourceBinding::new(&at.name, *spec);
            binding.metadata.namespace = Some(at.namespace.clone());
            binding.metadata.finalizers = Some(vec![BINDING_FINALIZER.to_owned()]);
            let bare = Arc::new(binding);
            let first = placement.first(&at, &bare);
            let mut binding = ResourceBinding::clone(&bare);
            if let Some(first) = &first {
                first.fill(&mut binding.spec);
            }
            let ticket = world.objects().bindings.ticket();
            let answer = api.create(&PostParams::default(), &binding).await;
            if let Some(first) = first {
                placement.made(first, answer.is_ok());
            }
            match answer {
                Ok(written) => world.objects().bindings.note_written(ticket, written),
                // The watch will bring it.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                Err(error) => return Err(error),
            }
            Ok(())
        }
        Plan::Change(known, spec) => {
            let text = "a spec is plain data";
            let before = serde_json::to_value(&known.spec).expect(text);
            let after = serde_json::to_value(&*spec).expect(text);
            let body = json!({
                "metadata": {"resourceVersion": known.resource_version()},
                "spec": merge_patch(&before, &after),
            });
            let ticket = world.objects().bindings.ticket();
            let params = PatchParams::default();
            let written = api.patch(&at.name, &params, &Patch::Merge(&body)).await?;
            world.objects().bindings.note_written(ticket, written);
            Ok(())
        }
        Plan::Delete(known) => {
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: known.uid(), resource_version: None }),
                ..DeleteParams::background()
            };
            match api.delete(&at.name, &params).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(|_| ()),
            }
        }
    }
}
