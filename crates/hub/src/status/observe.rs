//! What status looks at for one binding.

use crate::{
    Key, World,
    placement::moves,
    propagation::{key_of_binding, key_of_template},
    status::plan::{MemberSeen, Seen},
    sync::{Stand, SyncTable, input, share_of},
};

pub(super) fn observe(world: &World, table: &SyncTable, key: &Key) -> Option<Seen> {
    let binding = world.objects().bindings.get(key)?;
    let decided = binding
        .status
        .as_ref()
        .is_some_and(|status| status.decision.is_some());
    if binding.metadata.deletion_timestamp.is_some() || !decided {
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
        .filter_map(|name| {
            world
                .objects()
                .bindings
                .get(&Key::new(&key.namespace, name))
        })
        .collect();
    let known_moves = binding
        .status
        .as_ref()
        .map(|status| status.moves.as_slice());
    let outgoing = moves::outgoing(known_moves.unwrap_or_default());
    let orders = world.evacuations();
    let members = binding.spec.clusters.iter().map(|cluster| {
        let name = &cluster.name;
        let session = world.session(name);
        let verdict = world.verdict(name);
        let member = world.member(name);
        let staying = member.is_some_and(|member| member.metadata.deletion_timestamp.is_none());
        let share = share_of(&binding, &followed, name);
        let wanted = template.as_ref().map(|template| input(template, share));
        let synced = table.get(key, name);
        let current = synced
            .as_ref()
            .is_some_and(|synced| synced.stand == Stand::Applied && Some(synced.input) == wanted);
        MemberSeen {
            name: name.clone(),
            assigned: u32::try_from(cluster.replicas).unwrap_or(0),
            counts: staying
                && verdict != "Lost"
                && !orders.contains_key(name)
                && !outgoing.contains_key(name),
            up: session.as_ref().is_some_and(|session| session.is_up()),
            copy: session
                .and_then(|session| session.copy(&template_key))
                .map(|copy| copy.digest),
            stand: synced.map(|synced| synced.stand),
            current,
        }
    });
    let held = binding.spec.clusters.iter().map(|c| i64::from(c.replicas));
    let leaving = outgoing.values().map(|count| i64::from(*count));
    Some(Seen {
        members: members.collect(),
        settled: held.sum::<i64>() - leaving.sum::<i64>(),
        now: world.means().wall.now(),
        template,
        binding,
    })
}
