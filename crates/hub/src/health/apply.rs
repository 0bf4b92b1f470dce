//! Writes judgements into status where they changed, and says so where a user would ask.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use hanse_api::{Federation, MemberCluster};
use hanse_detector::verdict::Verdict;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt as _};

use super::{Judgement, observe::Observed, plan};
use crate::{
    World,
    events::{Subject, Tone},
    write::change_status,
};

/// Verdicts that are written at once.
const AT_ONCE: usize = 32;

/// What was written last; the same is not written again.
#[derive(Debug, Default)]
pub(super) struct Written {
    members: BTreeMap<String, (Judgement, bool)>,
    whole: Option<(BTreeMap<Verdict, usize>, bool, usize)>,
}

impl Written {
    /// Writes what changed. What cannot be written is tried again with the next look.
    pub(super) async fn apply(
        &mut self,
        world: &World,
        observed: &Observed,
        judgements: BTreeMap<String, Judgement>,
    ) {
        self.members.retain(|name, _| judgements.contains_key(name));
        let mut counts = BTreeMap::new();
        for judgement in judgements.values() {
            *counts.entry(judgement.verdict).or_default() += 1;
        }
        let changed = judgements.into_iter().filter_map(|(name, judgement)| {
            let wanted = (judgement, observed.cordoned.contains(&name));
            (self.members.get(&name) != Some(&wanted)).then_some((name, wanted))
        });
        // Members of a lost region have to be told of together, not one after the other.
        let writes = changed.collect::<Vec<_>>().into_iter().map(|(name, wanted)| async move {
            let result = member(world, &name, &wanted.0, wanted.1).await;
            (name, wanted, result)
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
        while let Some((name, wanted, result)) = writes.next().await {
            match result {
                Ok(()) => drop(self.members.insert(name, wanted)),
                Err(error) => tracing::warn!(member = name, %error, "verdict not written"),
            }
        }
        let whole = (counts, observed.evidence.hub_isolated(), observed.evidence.members.len());
        if self.whole.as_ref() != Some(&whole) {
            match federation(world, observed, &whole.0).await {
                Ok(true) => self.whole = Some(whole),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "federation status not written"),
            }
        }
    }
}

async fn member(
    world: &World,
    name: &str,
    judgement: &Judgement,
    cordoned: bool,
) -> Result<(), kube::Error> {
    let Some(known) = world.member(name) else {
        return Ok(());
    };
    let api: Api<MemberCluster> = Api::all(world.means().client.clone());
    let now = Time(world.means().wall.now());
    let generation = known.metadata.generation;
    let before = known.status.as_ref().and_then(|status| status.verdict.clone());
    let subject = Subject {
        api_version: "hanse.dev/v1alpha1".to_owned(),
        kind: "MemberCluster".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
        uid: known.uid().unwrap_or_default(),
    };
    change_status(&api, &world.means().status_writes.first(), known, |status| {
        plan::status(status, judgement, cordoned, generation, &now);
    })
    .await?;
    let verdict = judgement.verdict.as_str();
    if before.as_deref() != Some(verdict) && judgement.verdict != Verdict::Unknown {
        let reason = judgement.reason.as_str();
        tracing::info!(member = name, verdict, reason, "verdict");
        let tone = if judgement.verdict == Verdict::Healthy { Tone::Normal } else { Tone::Warning };
        world.means().recorder.say(&subject, tone, verdict, format!("{verdict}: {reason}"));
    }
    Ok(())
}

async fn federation(
    world: &World,
    observed: &Observed,
    counts: &BTreeMap<Verdict, usize>,
) -> Result<bool, kube::Error> {
    let Some(known) = world.federation() else {
        return Ok(false);
    };
    let api: Api<Federation> = Api::all(world.means().client.clone());
    let now = Time(world.means().wall.now());
    let generation = known.metadata.generation;
    change_status(&api, &world.means().status_writes.first(), known, |status| {
        let verdicts =
            counts.iter().flat_map(|(verdict, count)| std::iter::repeat_n(*verdict, *count));
        plan::whole(status, &observed.evidence, verdicts, generation, &now);
    })
    .await?;
    Ok(true)
}
