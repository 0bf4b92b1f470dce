//! An immutable, indexed snapshot of all members, as placement sees them.
//!
//! Members stand in order of name in chunks of 64 that snapshots share, so that a snapshot with
//! one member changed copies one chunk. Everything that placement selects by (labels, provider,
//! region, zone, kinds, and apart from these health, cordon and taints, which change more often)
//! is kept as sets of places. A change of room touches none of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{PodNeeds, Room, Topology, bits::Bits};

/// All members of the federation; cheap to clone and to update one member of.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    chunks: Vec<Arc<Chunk>>,
    index: Arc<Index>,
    live: Arc<Live>,
    length: usize,
}

/// Up to 64 members that stand together.
#[derive(Clone, Debug)]
struct Chunk {
    /// Names what the rooms of the chunk are now.
    version: u64,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    member: Arc<Member>,
    /// Names the room that the member has now; no two rooms in a process have the same.
    version: u64,
}

/// One member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Member {
    /// Name of the MemberCluster.
    pub name: Arc<str>,
    /// Its provider.
    pub provider: Arc<str>,
    /// Its region.
    pub region: Arc<str>,
    /// Its zone; empty when it names none.
    pub zone: Arc<str>,
    /// Labels of the MemberCluster.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Taints of the MemberCluster.
    pub taints: Vec<Taint>,
    /// Whether it takes new work, and if not, why.
    pub health: Health,
    /// No new work by an operator's order.
    pub cordoned: bool,
    /// Kinds that it serves, as `apiVersion/Kind`; absent when that is not known yet.
    pub kinds: Option<Arc<BTreeSet<String>>>,
    /// Percent of each node's allocatable resources left to local use, 0 to 100.
    pub reserve_percent: u8,
    /// Free room.
    pub room: Room,
}

/// Whether a member takes new work.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Health {
    /// It does.
    #[default]
    Good,
    /// It has not joined, or is leaving.
    NotJoined,
    /// Its API server does not answer.
    ControlLost,
    /// Its gateways do not answer.
    DataLost,
    /// It is lost.
    Lost,
    /// It is back and has to prove itself first.
    Recovering,
}

impl Health {
    /// Whether what is decided for the member cannot reach it now.
    pub const fn is_out_of_reach(self) -> bool {
        matches!(self, Self::ControlLost | Self::Lost)
    }
}

/// A taint of a member.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value; may be empty.
    pub value: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// Effect of a taint, of a member or a node. Both keep new work away.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TaintEffect {
    /// Keeps new work away.
    NoSchedule,
    /// Also drains what is there; placement leaves that to the drain.
    NoExecute,
}

/// Sets of places by what a member seldom changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Names this index; no two in a process have the same.
    pub(crate) version: u64,
    pub(crate) places: HashMap<Arc<str>, usize, BuildHasherDefault<Fnv>>,
    pub(crate) providers: BTreeMap<Arc<str>, Bits>,
    pub(crate) regions: BTreeMap<Arc<str>, Bits>,
    pub(crate) zones: BTreeMap<Arc<str>, Bits>,
    pub(crate) labels: BTreeMap<String, BTreeMap<String, Bits>>,
    /// Members whose kinds are known.
    pub(crate) known: Bits,
    pub(crate) kinds: BTreeMap<String, Bits>,
    /// Where each member is.
    pub(crate) spots: Vec<Spot>,
    /// How many numbers the spots use.
    pub(crate) areas: usize,
}

/// Numbers of a member's zone, region and provider, the smallest first. Zones of one name in two
/// regions are two, and all numbers differ; a member that names no zone has one of its own.
pub(crate) type Spot = [u32; 3];

/// Sets of places by what opens and closes a member for new work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// Names these sets; no two in a process have the same.
    pub(crate) version: u64,
    pub(crate) taints: BTreeMap<Taint, Bits>,
    pub(crate) health: BTreeMap<Health, Bits>,
    pub(crate) cordoned: Bits,
}

/// Numbers for rooms and indices. They are compared for equality only, so that what placement
/// decides does not depend on them.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Fleet {
    /// A fleet of these members; of two with one name the last one counts.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let by_name: BTreeMap<Arc<str>, Arc<Member>> = members
            .into_iter()
            .map(|member| (Arc::clone(&member.name), Arc::new(member)))
            .collect();
        let entries = by_name.into_values().map(|member| Entry { member, version: fresh() });
        Self::from_entries(&entries.collect::<Vec<_>>())
    }

    fn from_entries(entries: &[Entry]) -> Self {
        let mut fleet = Self { length: entries.len(), ..Self::default() };
        let chunk = |entries: &[Entry]| Chunk { version: fresh(), entries: entries.to_vec() };
        fleet.chunks = entries.chunks(64).map(|entries| Arc::new(chunk(entries))).collect();
        fleet.index = Arc::new(Index::new(&fleet));
        fleet.live = Arc::new(Live::new(&fleet));
        fleet
    }

    /// Adds or replaces one member. Cheap while it stays where it is and has the labels it had.
    pub fn set(&mut self, member: Member) {
        self.set_all(vec![member]);
    }

    /// Adds or replaces members. All that are new cost as much as one that is.
    pub fn set_all(&mut self, members: Vec<Member>) {
        let (known, new): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| self.place(&member.name).is_some());
        if !new.is_empty() {
            let entry = |member| Entry { member: Arc::new(member), version: fresh() };
            let all = self.entries().cloned().chain(new.into_iter().map(entry));
            let by_name: BTreeMap<Arc<str>, Entry> =
                all.map(|entry| (Arc::clone(&entry.member.name), entry)).collect();
            *self = Self::from_entries(&by_name.into_values().collect::<Vec<_>>());
        }
        for member in known {
            self.replace(member);
        }
    }

    fn replace(&mut self, member: Member) {
        let Some(at) = self.place(&member.name) else {
            return;
        };
        let chunk = Arc::make_mut(&mut self.chunks[at / 64]);
        let entry = &mut chunk.entries[at % 64];
        let before = std::mem::replace(&mut entry.member, Arc::new(member));
        if before.room != entry.member.room
            || before.reserve_percent != entry.member.reserve_percent
        {
            entry.version = fresh();
            chunk.version = fresh();
        }
        let after = Arc::clone(&entry.member);
        if !is_placed_alike(&before, &after) {
            self.index = Arc::new(Index::new(self));
        } else if before.kinds != after.kinds {
            Arc::make_mut(&mut self.index).change_kinds(at, self.length, &before, &after);
        }
        if !is_open_alike(&before, &after) {
            Arc::make_mut(&mut self.live).change(at, self.length, &before, &after);
        }
    }

    /// Replaces the room of one member, if there is one of this name.
    pub fn set_room(&mut self, name: &str, room: Room) {
        if let Some(at) = self.place(name) {
            let chunk = Arc::make_mut(&mut self.chunks[at / 64]);
            let entry = &mut chunk.entries[at % 64];
            if entry.member.room != room {
                Arc::make_mut(&mut entry.member).room = room;
                entry.version = fresh();
                chunk.version = fresh();
            }
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        if let Some(at) = self.place(name) {
            let mut entries: Vec<Entry> = self.entries().cloned().collect();
            entries.remove(at);
            *self = Self::from_entries(&entries);
        }
    }

    /// The fleet without the members that `gone` names.
    pub fn without(&self, gone: impl Fn(&Member) -> bool) -> Self {
        let left = self.entries().filter(|entry| !gone(&entry.member)).cloned();
        Self::from_entries(&left.collect::<Vec<_>>())
    }

    /// The fleet where the members of a domain take nothing: they are in it, and lost. A member
    /// in no domain of the kind is one by itself.
    pub(crate) fn without_domain(&self, key: &Topology, domain: &str) -> Self {
        let mut lost = Bits::none(self.length);
        let index = &*self.index;
        let named = match key {
            Topology::Cluster => None,
            Topology::Zone => index.zones.get(domain),
            Topology::Region => index.regions.get(domain),
            Topology::Provider => index.providers.get(domain),
            Topology::Label(key) => index.labels.get(key).and_then(|sets| sets.get(domain)),
        };
        if let Some(named) = named.filter(|_| !domain.is_empty()) {
            lost.or(named);
        }
        let own = self
            .place(domain)
            .filter(|at| *key == Topology::Cluster || key.of(self.at(*at)).is_empty());
        if let Some(at) = own {
            lost.insert(at);
        }
        let mut left = self.clone();
        let live = Arc::make_mut(&mut left.live);
        live.version = fresh();
        live.health.entry(Health::Lost).or_insert_with(|| Bits::none(self.length)).or(&lost);
        left
    }

    /// Names everything that placement sees of the fleet: no two fleets with different members or
    /// rooms have the same.
    pub(crate) fn stamp(&self) -> Vec<u64> {
        let chunks = self.chunks.iter().map(|chunk| chunk.version);
        chunks.chain([self.index.version, self.live.version]).collect()
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.place(name).map(|at| self.at(at))
    }

    /// All members in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.entries().map(|entry| entry.member.as_ref())
    }

    /// How many members there are.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes room for replicas that are decided but not running yet, from the emptiest nodes
    /// first, as the kube-scheduler spreads. What does not fit is ignored: the room is then zero.
    pub fn reserve(&mut self, member: &str, needs: &PodNeeds, replicas: u32) {
        if replicas == 0 {
            return;
        }
        if let Some(at) = self.place(member) {
            let chunk = Arc::make_mut(&mut self.chunks[at / 64]);
            let entry = &mut chunk.entries[at % 64];
            Arc::make_mut(&mut entry.member).room.reserve(needs, replicas);
            entry.version = fresh();
            chunk.version = fresh();
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter())
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.index.places.get(name).copied()
    }

    pub(crate) fn at(&self, place: usize) -> &Member {
        &self.chunks[place / 64].entries[place % 64].member
    }

    /// Names the room of the member at this place.
    pub(crate) fn room_version(&self, place: usize) -> u64 {
        self.chunks[place / 64].entries[place % 64].version
    }

    /// Names the rooms of the 64 members from `64 * chunk` on.
    pub(crate) fn chunk_version(&self, chunk: usize) -> u64 {
        self.chunks[chunk].version
    }
}

fn is_placed_alike(a: &Member, b: &Member) -> bool {
    a.provider == b.provider && a.region == b.region && a.zone == b.zone && a.labels == b.labels
}

fn is_open_alike(a: &Member, b: &Member) -> bool {
    a.health == b.health && a.cordoned == b.cordoned && a.taints == b.taints
}

impl Live {
    fn new(fleet: &Fleet) -> Self {
        let length = fleet.len();
        let mut live = Self { cordoned: Bits::none(length), ..Self::default() };
        let nothing = Member::default();
        for (at, member) in fleet.iter().enumerate() {
            live.change(at, length, &nothing, member);
        }
        live.version = fresh();
        live
    }

    fn change(&mut self, at: usize, length: usize, before: &Member, after: &Member) {
        self.version = fresh();
        self.cordoned.set(at, after.cordoned);
        if let Some(bits) = self.health.get_mut(&before.health) {
            bits.set(at, false);
        }
        self.health.entry(after.health).or_insert_with(|| Bits::none(length)).insert(at);
        for taint in &before.taints {
            if let Some(bits) = self.taints.get_mut(taint) {
                bits.set(at, false);
            }
        }
        for taint in &after.taints {
            self.taints.entry(taint.clone()).or_insert_with(|| Bits::none(length)).insert(at);
        }
    }
}

impl Index {
    fn new(fleet: &Fleet) -> Self {
        let length = fleet.len();
        let mut index = Self { version: fresh(), known: Bits::none(length), ..Self::default() };
        index.spots = Vec::with_capacity(length);
        let mut areas = Areas::default();
        // Most members serve the same kinds; each distinct set is spelt out once.
        let mut kinds: Vec<(Arc<BTreeSet<String>>, Bits)> = Vec::new();
        for (at, member) in fleet.iter().enumerate() {
            index.places.insert(Arc::clone(&member.name), at);
            index.note(at, member, length);
            index.spots.push(areas.spot(member));
            if let Some(served) = &member.kinds {
                index.known.insert(at);
                let same = |set: &Arc<_>| Arc::ptr_eq(set, served) || set == served;
                let known = kinds.iter().position(|(set, _)| same(set)).unwrap_or_else(|| {
                    kinds.push((Arc::clone(served), Bits::none(length)));
                    kinds.len() - 1
                });
                kinds[known].1.insert(at);
            }
        }
        for (served, bits) in kinds {
            for kind in served.iter() {
                match index.kinds.get_mut(kind) {
                    Some(known) => known.or(&bits),
                    None => drop(index.kinds.insert(kind.clone(), bits.clone())),
                }
            }
        }
        index.areas = areas.0.len();
        index
    }

    /// A member serves other kinds than before, or is known to serve some: when a hub starts that
    /// happens once for each.
    fn change_kinds(&mut self, at: usize, length: usize, before: &Member, after: &Member) {
        self.version = fresh();
        self.known.set(at, after.kinds.is_some());
        for kind in before.kinds.iter().flat_map(|kinds| kinds.iter()) {
            if let Some(bits) = self.kinds.get_mut(kind) {
                bits.set(at, false);
            }
        }
        for kind in after.kinds.iter().flat_map(|kinds| kinds.iter()) {
            if let Some(bits) = self.kinds.get_mut(kind) {
                bits.insert(at);
                continue;
            }
            let mut bits = Bits::none(length);
            bits.insert(at);
            self.kinds.insert(kind.clone(), bits);
        }
    }

    fn note(&mut self, at: usize, member: &Member, length: usize) {
        let domains = [
            (&mut self.providers, &member.provider),
            (&mut self.regions, &member.region),
            (&mut self.zones, &member.zone),
        ];
        for (map, value) in domains {
            let bits = map.entry(Arc::clone(value)).or_insert_with(|| Bits::none(length));
            bits.insert(at);
        }
        for (key, value) in member.labels.iter() {
            if !self.labels.contains_key(key) {
                self.labels.insert(key.clone(), BTreeMap::new());
            }
            let values = self.labels.get_mut(key).expect("it was put in just now");
            if !values.contains_key(value) {
                values.insert(value.clone(), Bits::none(length));
            }
            values.get_mut(value).expect("it was put in just now").insert(at);
        }
    }
}

/// Numbers of zones, regions and providers, by their names from the provider down.
#[derive(Default)]
struct Areas<'a>(BTreeMap<[&'a str; 4], u32>);

impl<'a> Areas<'a> {
    fn spot(&mut self, member: &'a Member) -> Spot {
        let (provider, region, zone) = (&*member.provider, &*member.region, &*member.zone);
        let own = if zone.is_empty() { &*member.name } else { "" };
        [[provider, region, zone, own], [provider, region, "", ""], [provider, "", "", ""]]
            .map(|names| self.number(names))
    }

    fn number(&mut self, names: [&'a str; 4]) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(names).or_insert(next)
    }
}

/// FNV-1a, so that a place is found the same way in every run.
#[derive(Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeShape;

    fn member(name: &str, region: &str) -> Member {
        Member { name: name.into(), region: region.into(), ..Member::default() }
    }

    #[test]
    fn a_changed_copy_leaves_the_snapshot_it_came_from_as_it_was() {
        let before = Fleet::new((0..100).map(|at| member(&format!("m{at:03}"), "r1")));
        let mut after = before.clone();
        after.set(Member { cordoned: true, ..member("m070", "r1") });
        after.set(member("a", "r2"));
        after.remove("m001");
        assert_eq!((before.len(), after.len()), (100, 100));
        assert!(!before.get("m070").unwrap().cordoned && after.get("m070").unwrap().cordoned);
        assert_eq!(after.iter().next().unwrap().name.as_ref(), "a");
        assert_eq!(after.index().regions["r2"].count(), 1);
    }

    #[test]
    fn members_that_come_and_change_are_found_as_in_a_fleet_made_of_them() {
        let kinds = |names: &[&str]| {
            Some(Arc::new(names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>()))
        };
        let with = |name: &str, served| Member { kinds: served, ..member(name, "r1") };
        let mut fleet = Fleet::default();
        fleet.set_all(vec![with("b", None), with("d", None), with("b", kinds(&["v1/Pod"]))]);
        fleet.set_all(vec![with("a", kinds(&["v1/Pod"])), with("d", kinds(&["v1/Pod", "v1/Job"]))]);
        fleet.set_all(vec![with("b", kinds(&["v1/Job"])), with("c", None)]);
        fleet.set(with("a", None));
        let ends = [
            with("a", None),
            with("b", kinds(&["v1/Job"])),
            with("c", None),
            with("d", kinds(&["v1/Pod", "v1/Job"])),
        ];
        let made = Fleet::new(ends.clone());
        assert!(fleet.iter().eq(ends.iter()));
        assert_eq!(fleet.index().known, made.index().known);
        assert_eq!(fleet.index().kinds, made.index().kinds);
        assert_eq!(fleet.index().regions, made.index().regions);
        assert_eq!(fleet.index().places, made.index().places);
    }

    #[test]
    fn a_change_of_room_keeps_the_index_and_names_a_new_room() {
        let mut fleet = Fleet::new([member("m1", "r1"), member("m2", "r1")]);
        let (index, rooms) =
            (fleet.index().version, [fleet.room_version(0), fleet.room_version(1)]);
        fleet.set_room("m1", Room::nodes(vec![NodeShape { nodes: 1, ..NodeShape::default() }]));
        assert_eq!(fleet.index().version, index);
        assert_ne!(fleet.room_version(0), rooms[0]);
        assert_eq!(fleet.room_version(1), rooms[1]);
    }
}
