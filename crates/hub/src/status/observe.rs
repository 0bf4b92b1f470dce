//! What status looks at for one binding.

use std::{collections::BTreeMap, sync::Arc};

use hanse_api::{ClusterReplicas, MemberCluster, ResourceBinding, conditions::reason};
use hanse_member::Digest;
use hanse_render::Share;
use serde_json::Value;

use crate::{
    Evacuations, Key, Ruling, Template, TemplateKey, World,
    placement::{is_divided, moves},
    propagation::{key_of_binding, key_of_template},
    status::plan::{self, MemberSeen, Seen},
    sync::{Place, Stand, SyncTable, input, share_of},
};

/// Whether a hub that has just started would tell of copies as missing that it has not seen yet.
/// It is asked for every binding each time one of its members has told of it, so that it looks at
/// no more than it needs to.
pub(super) fn knows_less(world: &World, table: &SyncTable, key: &Key) -> bool {
    let Some(binding) = world.objects().bindings.get(key) else {
        return false;
    };
    plan::knows_less(&binding, |name| {
        let up = world.session(name).and_then(|session| session.sight().borrow().up);
        let (_, looked) = table.look(key, name);
        plan::is_pending(up, looked)
            && is_staying(world, name)
            && (is_divided(&binding)
                || !is_to_leave(&world.evacuations(), &moves::outgoing(&binding.spec.moves), name))
    })
}

/// Whether a member is one of the federation and not lost.
fn is_staying(world: &World, name: &str) -> bool {
    let staying = |member: Arc<MemberCluster>| member.metadata.deletion_timestamp.is_none();
    world.member(name).is_some_and(staying) && world.verdict(name) != "Lost"
}

/// Whether what stands in a member is to leave it.
fn is_to_leave(orders: &Evacuations, outgoing: &BTreeMap<String, u32>, name: &str) -> bool {
    orders.contains_key(name) || outgoing.contains_key(name)
}

pub(super) fn observe(world: &World, table: &SyncTable, key: &Key) -> Option<Seen> {
    let binding = world.objects().bindings.get(key)?;
    if binding.metadata.deletion_timestamp.is_some() || binding.spec.decision.is_none() {
        // There is nothing to tell before the first decision.
        return None;
    }
    let template_key = key_of_template(&binding.spec.template);
    let template = world.templates().get(&template_key);
    let template = template.filter(|_| key_of_binding(&template_key) == *key);
    let followed: Vec<_> = binding
        .spec
        .follows
        .iter()
        .filter_map(|name| world.objects().bindings.get(&Key::new(&key.namespace, name)))
        .collect();
    let outgoing = moves::outgoing(&binding.spec.moves);
    let orders = world.evacuations();
    let ruling = template.as_ref().map(|one| world.rules().of(one)).unwrap_or_default();
    let interpreters = world.rules().interpreters();
    let divided = is_divided(&binding);
    let copies = Copies {
        world,
        table,
        key,
        binding: &binding,
        template: template.as_deref(),
        ruling: &ruling,
        autoscaler: template
            .as_ref()
            .filter(|one| one.counts_replicas())
            .and_then(|one| world.templates().autoscaler(one)),
    };
    let members = binding.spec.clusters.iter().map(|cluster| {
        let mut seen =
            copies.of(cluster, share_of(&interpreters, &binding, &followed, &cluster.name));
        if divided {
            // A part of a Job does not move: it counts where it is, and for good once it ended.
            seen.counts |= seen.copy.as_ref().is_some_and(|copy| has_ended(&copy.status.value()));
        } else {
            seen.counts &= !is_to_leave(&orders, &outgoing, &seen.name);
        }
        seen
    });
    let held = binding.spec.clusters.iter().map(|c| i64::from(c.replicas));
    let leaving = outgoing.values().map(|count| i64::from(*count));
    Some(Seen {
        members: members.collect(),
        settled: held.sum::<i64>() - leaving.sum::<i64>(),
        kept: kept(world, table, key, &binding),
        now: world.means().wall.now(),
        interpreters,
        template,
        binding,
    })
}

/// Members out of the decision that keep a copy for its data. What was told of a member is told
/// on while the copy is known, and until its objects are known again.
fn kept(
    world: &World,
    table: &SyncTable,
    key: &Key,
    binding: &ResourceBinding,
) -> BTreeMap<String, String> {
    let template = key_of_template(&binding.spec.template);
    let is_gone = |name: &str| {
        let session = world.session(name).filter(|one| one.is_synced(&template.kind_id()));
        session.is_some_and(|session| session.copy(&template).is_none())
    };
    let told = binding.status.iter().flat_map(|status| &status.clusters);
    let told = told.filter(|told| told.message.starts_with(reason::HOLDS_DATA));
    let told = told.filter(|told| world.member(&told.name).is_some() && !is_gone(&told.name));
    let mut all: BTreeMap<String, String> =
        told.map(|told| (told.name.clone(), told.message.clone())).collect();
    all.extend(table.kept(key));
    all.retain(|name, _| !binding.spec.clusters.iter().any(|cluster| cluster.name == *name));
    all
}

/// Whether a Job's status says that it has ended.
fn has_ended(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| {
        condition["status"] == "True"
            && matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
    })
}

/// Where the copies of one binding are looked for.
struct Copies<'a> {
    world: &'a World,
    table: &'a SyncTable,
    key: &'a Key,
    binding: &'a ResourceBinding,
    template: Option<&'a Template>,
    ruling: &'a Ruling,
    /// What owns the count of replicas in each member.
    autoscaler: Option<TemplateKey>,
}

impl Copies<'_> {
    fn of(&self, cluster: &ClusterReplicas, share: Option<Share>) -> MemberSeen {
        let name = &cluster.name;
        let template_key = key_of_template(&self.binding.spec.template);
        let session = self.world.session(name);
        let member = self.world.member(name);
        let place = member.as_ref().map(|member| Place::of(member)).unwrap_or_default();
        let wanted = self.template.map(|one| input(one, share, self.ruling, &place));
        let (synced, looked) = self.table.look(self.key, name);
        let up = session.as_ref().and_then(|session| session.sight().borrow().up);
        let copy = session.as_ref().and_then(|session| session.copy(&template_key));
        let copy = copy.map(|copy| copy.digest);
        let scaled = session.is_some_and(|session| session.scales(self.autoscaler.as_ref()));
        let count = |copy: &Arc<Digest>| copy.status.value()["replicas"].as_u64();
        let scaled = copy.as_ref().filter(|_| scaled).and_then(count);
        let current = synced
            .as_ref()
            .is_some_and(|synced| synced.stand == Stand::Applied && Some(synced.input) == wanted);
        MemberSeen {
            name: name.clone(),
            assigned: u32::try_from(cluster.replicas).unwrap_or(0),
            scaled: scaled.and_then(|count| u32::try_from(count).ok()),
            counts: is_staying(self.world, name),
            up,
            status: copy.as_ref().map(|copy| copy.status.value()),
            copy,
            stand: synced.map(|synced| synced.stand),
            current,
            looked,
        }
    }
}
