//! Room that proved to be an illusion: replicas of some shape found no node in a member although
//! its nodes seemed to hold them. Nothing of that shape, or of a larger one, goes there until the
//! member shows otherwise: a replica of it is bound, or its nodes seem to hold more than ever
//! since.

use std::{collections::BTreeMap, sync::Arc};

use hanse_scheduler::{Member, PodNeeds};

use crate::room::{Owner, RoomSeen};

/// How many shapes are remembered of one member; the oldest go first.
const KEPT: usize = 32;

/// Illusions by member.
#[derive(Debug, Default)]
pub(super) struct Illusions(BTreeMap<String, Vec<Illusion>>);

#[derive(Debug)]
struct Illusion {
    owner: Owner,
    needs: Arc<PodNeeds>,
    /// How many its nodes seemed to hold.
    shown: u64,
    /// How many of the owner's pods stood on nodes.
    bound: u32,
}

impl Illusions {
    /// Notes that replicas found no node. `shown` is how many seem to fit beside them. Returns
    /// whether that is new.
    pub(super) fn note(
        &mut self,
        member: &str,
        owner: &Owner,
        needs: &Arc<PodNeeds>,
        (shown, bound): (u64, u32),
    ) -> bool {
        let list = self.0.entry(member.to_owned()).or_default();
        if list.iter().any(|known| known.owner == *owner && known.needs == *needs) {
            return false;
        }
        if list.len() >= KEPT {
            list.remove(0);
        }
        let (owner, needs) = (owner.clone(), Arc::clone(needs));
        list.push(Illusion { owner, needs, shown, bound });
        true
    }

    /// What the member's room has to be corrected by, now that it is as seen. `raw` is the member
    /// with the room that its nodes show.
    pub(super) fn corrections(&mut self, raw: &Member, seen: &RoomSeen) -> Vec<(PodNeeds, u64)> {
        let Some(list) = self.0.get_mut(&*raw.name) else {
            return Vec::new();
        };
        list.retain(|known| {
            let shown = raw.seems_to_hold(&known.needs).unwrap_or(0);
            let bound = seen.bound.get(&known.owner).copied().unwrap_or(0);
            shown <= known.shown && bound <= known.bound
        });
        let corrections = list.iter().map(|known| (PodNeeds::clone(&known.needs), 0)).collect();
        if list.is_empty() {
            self.0.remove(&*raw.name);
        }
        corrections
    }

    /// Forgets a member.
    pub(super) fn forget(&mut self, member: &str) {
        self.0.remove(member);
    }
}

#[cfg(test)]
mod tests {
    use hanse_scheduler::{NodeShape, Resources, Room};

    use super::*;

    fn member(nodes: u64) -> Member {
        let free = Resources { cpu_milli: 1000, ..Resources::default() };
        let shape = NodeShape { nodes, free, free_pods: 10, ..NodeShape::default() };
        Member { name: "m".into(), room: Room::nodes(vec![shape]), ..Member::default() }
    }

    #[test]
    fn an_illusion_lasts_until_the_member_shows_otherwise() {
        let owner: Owner = ("shop".to_owned(), "Deployment".to_owned(), "web".to_owned());
        let request = Resources { cpu_milli: 500, ..Resources::default() };
        let needs = Arc::new(PodNeeds { request, ..PodNeeds::default() });
        let mut illusions = Illusions::default();
        let mut seen = RoomSeen::default();
        assert!(illusions.note("m", &owner, &needs, (4, 0)));
        assert!(!illusions.note("m", &owner, &needs, (9, 0)), "it is known");
        let expected = [(PodNeeds::clone(&needs), 0)];
        assert_eq!(illusions.corrections(&member(2), &seen), expected);
        assert_eq!(illusions.corrections(&member(1), &seen), expected, "less is no proof");
        assert!(illusions.corrections(&member(3), &seen).is_empty(), "more nodes");
        illusions.note("m", &owner, &needs, (4, 0));
        seen.bound.insert(owner, 1);
        assert!(illusions.corrections(&member(2), &seen).is_empty(), "one has found a node");
    }
}
