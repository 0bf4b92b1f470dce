//! An immutable snapshot of all members, as placement sees them.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use crate::{PodNeeds, Resources};

/// All members of the federation; cheap to clone and to update one member of.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    members: BTreeMap<Arc<str>, Arc<Member>>,
}

/// One member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Member {
    /// Name of the MemberCluster.
    pub name: String,
    /// Its provider.
    pub provider: String,
    /// Its region.
    pub region: String,
    /// Its zone; empty when it names none.
    pub zone: String,
    /// Labels of the MemberCluster.
    pub labels: BTreeMap<String, String>,
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value; may be empty.
    pub value: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// Effect of a taint, of a member or a node. Both keep new work away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TaintEffect {
    /// Keeps new work away.
    NoSchedule,
    /// Also drains what is there; placement leaves that to the drain.
    NoExecute,
}

/// Free room of a member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Room {
    /// Not observed yet: its own case, not zero.
    #[default]
    Unknown,
    /// Nodes by distinct shape.
    Nodes(Vec<NodeShape>),
}

/// Nodes that are alike in every way that placement looks at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeShape {
    /// How many of them there are.
    pub nodes: u64,
    /// What each offers to pods.
    pub allocatable: Resources,
    /// What is left of it on each.
    pub free: Resources,
    /// How many more pods each takes.
    pub free_pods: u64,
    /// Labels that pods may ask for.
    pub labels: BTreeMap<String, String>,
    /// Taints that pods must tolerate.
    pub taints: Vec<Taint>,
}

impl Fleet {
    /// A fleet of these members; of two with one name the last one counts.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let mut fleet = Self::default();
        for member in members {
            fleet.set(member);
        }
        fleet
    }

    /// Adds or replaces one member.
    pub fn set(&mut self, member: Member) {
        self.members.insert(member.name.as_str().into(), Arc::new(member));
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        self.members.remove(name);
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.members.get(name).map(Arc::as_ref)
    }

    /// All members in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(Arc::as_ref)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes room for replicas that are decided but not running yet, from the emptiest nodes
    /// first, as the kube-scheduler spreads. What does not fit is ignored: the room is then zero.
    pub fn reserve(&mut self, member: &str, needs: &PodNeeds, replicas: u32) {
        if replicas == 0 {
            return;
        }
        if let Some(member) = self.members.get_mut(member) {
            Arc::make_mut(member).room.reserve(needs, replicas);
        }
    }
}
