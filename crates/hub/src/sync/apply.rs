//! Writes to a member.

use std::sync::Arc;

use hanse_api::{Conflict, conditions::reason, marks};
use hanse_render::{Manifest, retain};
use hanse_rt::Mono;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use serde_json::Value;
use tracing::Instrument as _;

use super::{
    namespace,
    plan::{Action, Seen, Stand},
};
use crate::{
    Session, World,
    events::{Subject, Tone},
    metrics::HubMetrics,
};

pub(super) async fn apply(
    world: &World,
    session: &Arc<Session>,
    seen: &Seen,
    action: Action,
    metrics: &HubMetrics,
) -> Stand {
    let (verb, started) = (verb(&action), Mono::now());
    let action = match action {
        Action::Stands(stand) => return stand,
        Action::Compared(fingerprint) => {
            session.note_compared(&seen.template_key, fingerprint);
            return Stand::Applied;
        }
        write => write,
    };
    let span = world.traces().apply(&seen.key, &seen.member, verb);
    let stand = carry_out(world, session, seen, action).instrument(span.clone()).await;
    let result = match &stand {
        Stand::Failed(reason, _) => reason,
        _ => verb,
    };
    span.record("result", result);
    metrics.wrote(&seen.member, result, started.elapsed());
    if let Stand::Failed(reason, text) = &stand {
        tell(world, seen, reason, text);
    }
    stand
}

async fn carry_out(world: &World, session: &Arc<Session>, seen: &Seen, action: Action) -> Stand {
    match action {
        Action::Create(manifest, conflict) => {
            create(world, session, seen, &manifest, conflict).await
        }
        Action::Apply(manifest) => overwrite(world, session, seen, *manifest).await,
        Action::Delete(uid) => delete(session, seen, uid).await,
        Action::Stands(stand) => stand,
        Action::Compared(_) => Stand::Applied,
    }
}

const fn verb(action: &Action) -> &'static str {
    match action {
        Action::Create(..) => "Created",
        Action::Apply(_) => "Applied",
        Action::Delete(_) => "Deleted",
        Action::Stands(_) | Action::Compared(_) => "Unchanged",
    }
}

/// Says on the template what a user would ask about.
pub(super) fn tell(world: &World, seen: &Seen, reason: &'static str, text: &str) {
    let subject = Subject::of(&seen.binding.spec.template);
    world.means().recorder.say(&subject, Tone::Warning, reason, text.to_owned());
}

fn api(session: &Session, seen: &Seen) -> Option<Api<DynamicObject>> {
    let key = &seen.template_key;
    let kinds = session.kinds()?;
    let served = kinds.get(&key.api_version, &key.kind)?;
    Some(if served.namespaced {
        Api::namespaced_with(session.client(), &key.namespace, &served.resource)
    } else {
        Api::all_with(session.client(), &served.resource)
    })
}

fn no_api() -> Stand {
    Stand::Waiting("the member's kinds are not known yet".to_owned())
}

/// A version that no object has: a write that asks for it is refused where the name is taken, and
/// makes the object where it is not.
const NOBODYS: &str = "1";

/// Applies where nothing is known to stand, without asking first: the member refuses it when
/// somebody has the name. Then it depends on who that is.
async fn create(
    world: &World,
    session: &Arc<Session>,
    seen: &Seen,
    manifest: &Manifest,
    conflict: Conflict,
) -> Stand {
    let Some(api) = api(session, seen) else {
        return no_api();
    };
    let mut fresh = manifest.object.clone();
    fresh["metadata"]["resourceVersion"] = NOBODYS.into();
    match send(world, session, seen, &api, &fresh).await {
        Err(kube::Error::Api(status)) if status.is_conflict() => {}
        Err(error) => return failed(seen, &error),
        Ok(()) => return Stand::Applied,
    }
    let live = match api.get_opt(&seen.template_key.name).await {
        Ok(live) => live,
        Err(error) => return failed(seen, &error),
    };
    if let Some(live) = &live {
        let owner = live.metadata.labels.as_ref().and_then(|all| all.get(marks::HUB_LABEL));
        if owner != Some(&seen.hub_id) && conflict == Conflict::Abort {
            let who = owner.map_or_else(
                || "Hanse did not make".to_owned(),
                |hub| format!("belongs to another hub ({hub})"),
            );
            let text = format!(
                "member {} has a {} of this name that {who}: rename one of them, delete it \
                 there, or take it over with conflict: Overwrite in a ClusterPropagationPolicy",
                seen.member, seen.template_key
            );
            return Stand::Failed(reason::CONFLICT, text);
        }
    }
    if live.is_some() {
        return overwrite(world, session, seen, manifest.clone()).await;
    }
    write(world, session, seen, manifest).await
}

/// Applies over a copy; what belongs to the member is taken from there.
async fn overwrite(
    world: &World,
    session: &Arc<Session>,
    seen: &Seen,
    mut manifest: Manifest,
) -> Stand {
    let retained = seen.retained();
    if !retained.is_empty() {
        let Some(api) = api(session, seen) else {
            return no_api();
        };
        match api.get_opt(&seen.template_key.name).await {
            Ok(Some(live)) => {
                let live = value(&live);
                retain(&mut manifest.object, &live, &retained);
                if seen.scaled {
                    // What the autoscaler writes meanwhile is not taken back.
                    manifest.object["metadata"]["resourceVersion"] =
                        live["metadata"]["resourceVersion"].clone();
                }
            }
            Ok(None) => {}
            Err(error) => return failed(seen, &error),
        }
    }
    write(world, session, seen, &manifest).await
}

async fn write(world: &World, session: &Arc<Session>, seen: &Seen, manifest: &Manifest) -> Stand {
    let Some(api) = api(session, seen) else {
        return no_api();
    };
    match send(world, session, seen, &api, &manifest.object).await {
        Ok(()) => Stand::Applied,
        // Its event brings it here again.
        Err(kube::Error::Api(status)) if seen.scaled && status.is_conflict() => {
            Stand::Waiting("it changed meanwhile".to_owned())
        }
        Err(error) => failed(seen, &error),
    }
}

/// Applies an object, in a namespace that is made when it is missing.
async fn send(
    world: &World,
    session: &Arc<Session>,
    seen: &Seen,
    api: &Api<DynamicObject>,
    object: &Value,
) -> Result<(), kube::Error> {
    let params = PatchParams::apply(marks::FIELD_MANAGER).force();
    let patch = Patch::Apply(object);
    let name = &seen.template_key.name;
    let mut answer = api.patch(name, &params, &patch).await;
    if let Err(kube::Error::Api(status)) = &answer
        && status.is_not_found()
        && !seen.template_key.namespace.is_empty()
    {
        namespace::ensure(world, session, &seen.template_key.namespace).await?;
        answer = api.patch(name, &params, &patch).await;
    }
    session.note_written(&seen.template_key, &value(&answer?));
    Ok(())
}

async fn delete(session: &Arc<Session>, seen: &Seen, uid: String) -> Stand {
    let Some(api) = api(session, seen) else {
        return no_api();
    };
    let ended = seen.copy.as_ref().is_some_and(|copy| seen.has_ended(copy));
    if seen.is_namespace() && !ended {
        // Claims in it would go too, whoever made them.
        match has_claims(session, &seen.template_key.name).await {
            Ok(false) => {}
            Ok(true) => return Stand::Kept(seen.kept_words()),
            Err(error) => return failed(seen, &error),
        }
    }
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&seen.template_key.name, &params).await {
        Ok(answer) if answer.is_right() => {
            session.note_gone(&seen.template_key);
            if seen.is_wanted {
                Stand::Waiting("the old copy was deleted".to_owned())
            } else {
                Stand::Gone
            }
        }
        Ok(_) => Stand::Waiting("the old copy is being deleted".to_owned()),
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            session.note_gone(&seen.template_key);
            Stand::Gone
        }
        // Another object has the name by now: it is not ours to delete.
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            Stand::Waiting("another object took the name".to_owned())
        }
        Err(error) => failed(seen, &error),
    }
}

async fn has_claims(session: &Session, namespace: &str) -> Result<bool, kube::Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(session.client(), namespace);
    let found = claims.list_metadata(&ListParams::default().limit(1)).await?;
    Ok(!found.items.is_empty())
}

fn failed(seen: &Seen, error: &kube::Error) -> Stand {
    let words = match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    Stand::Failed(reason::APPLY_FAILED, format!("member {}: {words}", seen.member))
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
