//! Jobs that several clusters share. Pure.
//!
//! A Job goes whole to one cluster, unless its policy says `mode: Divide` when it is placed: then
//! the clusters share its parallelism and its completions. How often a Job has to succeed cannot
//! be changed in a member, so that the parts are cut once: a divided Job keeps its clusters to its
//! end, and parallelism that changes later is cut in the same proportion. Nothing of it moves, and
//! what has finished is never started again.

use hanse_api::{ReplicaMode, ResourceBinding};
use hanse_render::Kind;

use super::{moves, plan::Seen};

/// Whether several clusters share this Job.
pub(crate) fn is_divided(binding: &ResourceBinding) -> bool {
    let template = &binding.spec.template;
    Kind::of(&template.api_version, &template.kind) == Kind::Job
        && binding.spec.clusters.len() > 1
        // What moves whole stands in two clusters for a while.
        && !moves::has_open(binding)
}

/// Whether a Job is to be divided that is not placed yet.
pub(super) fn divides(seen: &Seen) -> bool {
    let is_job = seen.template.as_ref().is_some_and(|template| template.kind == Kind::Job);
    let mode = seen.policy.as_ref().and_then(|policy| policy.placement.replicas.mode);
    let spec = &seen.binding.spec;
    is_job && mode == Some(ReplicaMode::Divide) && spec.clusters.is_empty() && spec.replicas > 0
}

/// Why a Job cannot be divided, and what to write instead.
pub(super) fn refusal(seen: &Seen) -> Option<String> {
    let template = seen.template.as_ref().filter(|_| divides(seen))?;
    let object = template.object();
    (object["spec"]["completionMode"] == "Indexed").then(|| {
        format!(
            "Job {} is Indexed: its pods are told apart by number, and each cluster would count \
             from 0; write completionMode: NonIndexed in the Job, or leave mode: Divide out of \
             placement.replicas in a policy for it, so that it goes whole to one cluster",
            template.key.name
        )
    })
}
