//! Writes bindings.

use hanse_api::{ResourceBinding, marks::BINDING_FINALIZER};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use super::plan::{Plan, binding_key};
use crate::{
    TemplateKey, World,
    write::{merge_patch, namespaced},
};

pub(super) async fn apply(world: &World, key: &TemplateKey, plan: Plan) -> Result<(), kube::Error> {
    let at = binding_key(key);
    let api: Api<ResourceBinding> = namespaced(&world.means().client, &at);
    match plan {
        Plan::Nothing => Ok(()),
        Plan::Create(spec) => {
            let mut binding = ResourceBinding::new(&at.name, *spec);
            binding.metadata.namespace = Some(at.namespace.clone());
            binding.metadata.finalizers = Some(vec![BINDING_FINALIZER.to_owned()]);
            match api.create(&PostParams::default(), &binding).await {
                // The watch will bring it.
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                other => other.map(|_| ()),
            }
        }
        Plan::Change(known, spec) => {
            let text = "a spec is plain data";
            let before = serde_json::to_value(&known.spec).expect(text);
            let after = serde_json::to_value(&*spec).expect(text);
            let body = json!({
                "metadata": {"resourceVersion": known.resource_version()},
                "spec": merge_patch(&before, &after),
            });
            api.patch(&at.name, &PatchParams::default(), &Patch::Merge(&body)).await.map(|_| ())
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
