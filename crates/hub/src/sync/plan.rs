//! What is to be done about one copy. Pure.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::{
    ClusterReplicas, Conflict, Member, MemberCluster, ResourceBinding, conditions::reason, marks,
};
use hanse_render::{
    InterpretError, Interpreters, Kind, Manifest, Marks, RenderError, Rules, Share, Target,
    difference, render, retain, stage,
};
use kube::ResourceExt as _;
use serde_json::Value;

use crate::{Key, Ruling, Template, TemplateKey, placement::is_divided, session::Copy};

/// What sync has seen of one binding in one member.
#[expect(clippy::struct_excessive_bools, reason = "each is seen for itself")]
#[derive(Clone, Debug)]
pub struct Seen {
    /// The member.
    pub member: String,
    /// Key of the binding.
    pub key: Key,
    /// Id of this hub.
    pub hub_id: String,
    /// Whether the member may be written to.
    pub reach: Reach,
    /// Whether it serves the kind; absent while that is not known.
    pub served: Option<bool>,
    /// What keeps new copies away from it.
    pub barrier: Option<Barrier>,
    /// What overrides look at in the member.
    pub place: Place,
    /// The rules that hold for the template.
    pub ruling: Ruling,
    /// Whether a copy that is not known is not there.
    pub synced: bool,
    /// The copy.
    pub copy: Option<Copy>,
    /// Hash of what the manifest is made from.
    pub input: u64,
    /// What happens to an unmanaged object of the same name.
    pub conflict: Conflict,
    /// Whether a copy shall be there.
    pub is_wanted: bool,
    /// The member's share of the replicas.
    pub share: Option<Share>,
    /// Whether an autoscaler in the member owns the count of replicas there.
    pub scaled: bool,
    /// Whether a workload that this companion follows still has a copy there.
    pub workloads_left: bool,
    /// A companion that has to stand first.
    pub waits_for: Option<String>,
    /// Key of the template.
    pub template_key: TemplateKey,
    /// The template; absent while it is not known.
    pub template: Option<Arc<Template>>,
    /// The binding.
    pub binding: Arc<ResourceBinding>,
}

/// What overrides look at in a member.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Place {
    /// Its provider.
    pub provider: String,
    /// Its region.
    pub region: String,
    /// Its zone; empty when it names none.
    pub zone: String,
    /// Labels of the MemberCluster.
    pub labels: BTreeMap<String, String>,
}

impl Place {
    /// Where a member is.
    pub fn of(member: &MemberCluster) -> Self {
        Self {
            provider: member.spec.provider.clone(),
            region: member.spec.region.clone(),
            zone: member.spec.zone.clone().unwrap_or_default(),
            labels: member.labels().clone(),
        }
    }

    /// The same under the member's name.
    pub fn named<'a>(&'a self, name: &'a str) -> Member<'a> {
        let Self { provider, region, zone, labels } = self;
        Member { name, provider, region, zone, labels }
    }
}

/// What keeps copies away from a member, whatever the decision says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Barrier {
    /// The template is in a namespace, and the member keeps its kind out of them, or the other way.
    Misplaced,
    /// The namespace's tenant may not use the member.
    NotInTenant,
}

/// Whether a member may be written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Its API answers.
    Up,
    /// Its API does not answer.
    Down,
    /// It counts as lost, or a drill takes it out: nothing there is touched.
    TakenOut,
    /// It leaves the federation, and keeps what it has.
    Left,
}

/// How a copy stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stand {
    /// As rendered.
    Applied,
    /// Not there, as it should be.
    Gone,
    /// Not wanted there, and left all the same because of the data in it; in words.
    Kept(String),
    /// On its way; what is waited for.
    Waiting(String),
    /// It cannot be made so: reason and words.
    Failed(&'static str, String),
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Nothing; this is how it stands.
    Stands(Stand),
    /// The copy was compared and is right.
    Compared(u64),
    /// Look whether somebody else's object has the name, then apply.
    Create(Box<Manifest>, Conflict),
    /// Apply.
    Apply(Box<Manifest>),
    /// Delete the copy of this uid.
    Delete(String),
}

/// What is to be done.
pub fn plan(seen: &Seen) -> Action {
    let waiting = |text: &str| Action::Stands(Stand::Waiting(text.to_owned()));
    match seen.reach {
        Reach::Up => {}
        Reach::Left => return Action::Stands(Stand::Gone),
        Reach::Down => return waiting("the member's API does not answer"),
        Reach::TakenOut => return waiting("the member is taken out"),
    }
    if seen.binding.spec.finished.contains(&seen.member) && seen.is_wanted {
        return Action::Stands(Stand::Applied);
    }
    match seen.served {
        None => return waiting("the member's kinds are not known yet"),
        Some(false) if !seen.is_wanted => return Action::Stands(Stand::Gone),
        Some(false) => {
            let TemplateKey { api_version, kind, .. } = &seen.template_key;
            let text = format!(
                "member {} does not serve {api_version} {kind}: install it there, or keep the \
                 policy away from that member",
                seen.member
            );
            return Action::Stands(Stand::Failed(reason::KIND_NOT_SERVED, text));
        }
        Some(true) if seen.barrier == Some(Barrier::Misplaced) => {
            let TemplateKey { api_version, kind, .. } = &seen.template_key;
            let text = format!(
                "member {} keeps {api_version} {kind} out of namespaces: only a \
                 ClusterPropagationPolicy places such objects",
                seen.member
            );
            return Action::Stands(Stand::Failed(reason::NOT_ALLOWED, text));
        }
        Some(true) => {}
    }
    if !seen.synced {
        return waiting("the member's objects are being listed");
    }
    if seen.is_wanted { plan_present(seen) } else { plan_absent(seen) }
}

fn plan_absent(seen: &Seen) -> Action {
    let ours = |copy: &&Copy| copy.digest.binding == seen.key.to_string();
    let Some(copy) = seen.copy.as_ref().filter(ours) else {
        return Action::Stands(Stand::Gone);
    };
    if copy.digest.deleting {
        return Action::Stands(Stand::Waiting("the old copy is being deleted".to_owned()));
    }
    if seen.workloads_left {
        return Action::Stands(Stand::Waiting("its workload is still there".to_owned()));
    }
    if seen.is_volume() && !seen.has_ended(copy) {
        return Action::Stands(Stand::Kept(seen.kept_words()));
    }
    Action::Delete(copy.digest.uid.clone())
}

fn plan_present(seen: &Seen) -> Action {
    let Some(template) = &seen.template else {
        return Action::Stands(Stand::Waiting("the template is not known".to_owned()));
    };
    if let Some(companion) = &seen.waits_for {
        return Action::Stands(Stand::Waiting(format!("{companion} comes first")));
    }
    if seen.barrier == Some(Barrier::NotInTenant) && seen.copy.is_none() {
        let text = format!(
            "the tenant of namespace {} may not use member {}",
            seen.template_key.namespace, seen.member
        );
        return Action::Stands(Stand::Failed(reason::NOT_IN_TENANT, text));
    }
    // Without numbers that are understood, a cluster might get all that others have.
    if let Some(fault) = &template.fault {
        let error = RenderError::Interpret(InterpretError::clone(fault));
        return Action::Stands(refusal(seen, &error));
    }
    let rendered = match rendered(seen, template) {
        Ok(rendered) => rendered,
        Err(error) => return Action::Stands(refusal(seen, &error)),
    };
    let Some(copy) = &seen.copy else {
        return Action::Create(Box::new(rendered), seen.conflict);
    };
    if copy.digest.deleting {
        return Action::Stands(Stand::Waiting("the old copy is being deleted".to_owned()));
    }
    if copy.digest.template_uid != template.uid {
        // The template was made anew: its copy is another object too.
        return Action::Delete(copy.digest.uid.clone());
    }
    match &copy.unseen {
        None if copy.digest.applied == rendered.digest => Action::Stands(Stand::Applied),
        Some(live) if is_as_rendered(seen, &rendered, live) => {
            Action::Compared(copy.digest.fingerprint)
        }
        _ => Action::Apply(Box::new(rendered)),
    }
}

/// Whether a live object is as rendered, the member's own fields aside.
fn is_as_rendered(seen: &Seen, rendered: &Manifest, live: &Value) -> bool {
    let retained = seen.retained();
    if retained.is_empty() {
        return difference(&rendered.object, live).is_none();
    }
    let mut object = rendered.object.clone();
    retain(&mut object, live, &retained);
    difference(&object, live).is_none()
}

fn rendered(seen: &Seen, template: &Template) -> Result<Manifest, RenderError> {
    let marks = Marks {
        hub_id: &seen.hub_id,
        binding_namespace: &seen.key.namespace,
        binding_name: &seen.key.name,
        template_uid: &template.uid,
    };
    let cluster = seen.place.named(&seen.member);
    let target = Target { cluster, share: seen.share, marks };
    let rules =
        Rules { interpreters: &seen.ruling.interpreters, overrides: &seen.ruling.overrides };
    let mut manifest = render(template.object(), target, rules)?;
    if seen.scaled {
        // With the autoscaler the owner of the count comes and goes: that is another manifest.
        manifest.digest.push_str("-scaled");
        manifest.object["metadata"]["annotations"][marks::DIGEST_ANNOTATION] =
            manifest.digest.clone().into();
    }
    Ok(manifest)
}

/// The member keeps what it has: a rule fails, and says so.
fn refusal(seen: &Seen, error: &RenderError) -> Stand {
    let why = match error {
        RenderError::Override(_) => reason::OVERRIDE_FAILED,
        RenderError::Interpret(_) => reason::INTERPRETER_FAILED,
    };
    Stand::Failed(why, format!("member {}: {error}", seen.member))
}

impl Seen {
    /// Whether the object is the data itself: a claim, or a volume.
    fn is_volume(&self) -> bool {
        let TemplateKey { api_version, kind, .. } = &self.template_key;
        let volumes = ["PersistentVolumeClaim", "PersistentVolume"];
        api_version == "v1" && volumes.contains(&kind.as_str())
    }

    /// Whether it is a namespace, which takes all that is in it along.
    pub(super) fn is_namespace(&self) -> bool {
        self.template_key.api_version == "v1" && self.template_key.kind == "Namespace"
    }

    /// Whether the template that a copy was made from is gone, and not only elsewhere.
    pub(super) fn has_ended(&self, copy: &Copy) -> bool {
        let uid = &self.binding.spec.template.uid;
        self.binding.metadata.deletion_timestamp.is_some()
            || (!uid.is_empty() && copy.digest.template_uid != *uid)
    }

    /// Why a copy stays that is not wanted.
    pub(super) fn kept_words(&self) -> String {
        format!(
            "{}: the copy in {} stays with its data until {} is deleted on the hub, or somebody \
             deletes the copy there",
            reason::HOLDS_DATA,
            self.member,
            self.template_key
        )
    }

    /// Fields that belong to the member once the object stands there: JSON pointers.
    pub fn retained(&self) -> Vec<String> {
        let TemplateKey { api_version, kind, .. } = &self.template_key;
        let interpreters = &self.ruling.interpreters;
        let mut all = interpreters.retained(api_version, kind).to_vec();
        if self.scaled {
            let counts = interpreters.replica_paths(api_version, kind);
            all.extend(counts.into_iter().map(str::to_owned));
        }
        all
    }

    /// The rule that fails here, if one does.
    pub(super) fn fault(&self) -> Option<RenderError> {
        let template = self.template.as_ref()?;
        match &template.fault {
            Some(fault) => Some(RenderError::Interpret(InterpretError::clone(fault))),
            None => rendered(self, template).err(),
        }
    }
}

/// Whether a member is to have a copy.
pub(super) fn is_wanted(binding: &ResourceBinding, member: &str) -> bool {
    binding.metadata.deletion_timestamp.is_none()
        && binding.spec.clusters.iter().any(|cluster| cluster.name == member)
}

/// Who goes first of those that wait for a member: what others build on when it comes, and what
/// builds on others when it goes.
pub(super) fn importance(binding: &ResourceBinding, member: &str) -> i32 {
    let lead = stage(&binding.spec.template.api_version, &binding.spec.template.kind).lead();
    if is_wanted(binding, member) { lead } else { -lead }
}

/// A member's share of the replicas. Companions take the share of the first workload they follow.
pub fn share_of(
    interpreters: &Interpreters,
    binding: &ResourceBinding,
    followed: &[Arc<ResourceBinding>],
    member: &str,
) -> Option<Share> {
    let template = &binding.spec.template;
    let kind = Kind::of(&template.api_version, &template.kind);
    let counted = !interpreters.replica_paths(&template.api_version, &template.kind).is_empty();
    if counted || is_divided(binding) {
        return cut(binding, member);
    }
    if !matches!(kind, Kind::HorizontalPodAutoscaler | Kind::PodDisruptionBudget) {
        return None;
    }
    let mut sorted: Vec<&Arc<ResourceBinding>> = followed.iter().collect();
    sorted.sort_by_key(|workload| workload.name_any());
    sorted.into_iter().find_map(|workload| cut(workload, member))
}

fn cut(binding: &ResourceBinding, member: &str) -> Option<Share> {
    let count = |cluster: &ClusterReplicas| u32::try_from(cluster.replicas).unwrap_or(0);
    let clusters = &binding.spec.clusters;
    let at = clusters.iter().position(|cluster| cluster.name == member)?;
    let own = count(&clusters[at]);
    let replicas = u32::try_from(binding.spec.replicas).unwrap_or(0);
    let total: u32 = clusters.iter().map(count).sum();
    let block = binding.spec.ordinals.iter().find(|block| block.name == member);
    let start = block.map_or(0, |block| u32::try_from(block.start).unwrap_or(0));
    if clusters.iter().all(|cluster| count(cluster) == replicas) {
        // Every cluster has the full count: nothing is divided.
        return Some(Share { before: 0, own, total: own, start });
    }
    Some(Share { before: clusters[..at].iter().map(count).sum(), own, total, start })
}

#[cfg(test)]
mod tests;
