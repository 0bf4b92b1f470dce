//! What has to find a place again when a domain is lost: everything that stands in it, in a fixed
//! order, placed anew for the decision at hand, so that what a decision says of a loss is what
//! would happen then.

use std::{cmp::Reverse, collections::BTreeMap, ops::Bound, sync::Arc};

use crate::{
    Assignment, Fleet, Planner, Request, Rules, Topology,
    survive::{domain_of, needed},
};

/// When a workload is placed again among those that lose replicas with one domain: the most
/// important first, among equals the one that was there first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Turn {
    importance: Reverse<i32>,
    since: i64,
    number: u64,
    id: u64,
}

impl Turn {
    /// The turn of a workload of this importance that is there since then, in any unit. The id is
    /// its own, and decides between equal members when it is placed again.
    pub const fn new(importance: i32, since: i64, id: u64) -> Self {
        Self { importance: Reverse(importance), since, number: 0, id }
    }

    /// The turn among others that are there since the same time: the lowest number comes first.
    #[must_use]
    pub const fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    /// The workload's own number.
    pub const fn id(&self) -> u64 {
        self.id
    }
}

/// What may be lost of one workload.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Its turn.
    pub turn: Turn,
    /// What was asked for it.
    pub request: Arc<Request>,
    /// Where it stands.
    pub placed: Assignment,
}

impl Loss {
    /// Whether a workload that asks for this, and stands there, would be placed again alike.
    fn is_as(&self, request: &Request, placed: &Assignment) -> bool {
        let own = &*self.request;
        let same_needs = Arc::ptr_eq(&own.needs, &request.needs) || own.needs == request.needs;
        self.placed == *placed
            && Arc::ptr_eq(&own.rules, &request.rules)
            && same_needs
            && own.kind == request.kind
            && own.replicas == request.replicas
            && own.mode == request.mode
            && own.leaving == request.leaving
            && own.others == request.others
            && own.quota == request.quota
    }
}

type ByTurn = BTreeMap<Turn, Arc<Loss>>;

/// Workloads by the domains of one kind that they stand in.
#[derive(Clone, Debug)]
pub struct Losses {
    key: Topology,
    all: BTreeMap<u64, Arc<Loss>>,
    by_domain: BTreeMap<Arc<str>, Arc<ByTurn>>,
    /// Names the places of members that the domains were taken from.
    index: u64,
}

impl Losses {
    /// With more workloads than this in a domain a decision takes what was promised to them at
    /// last, where that is given, instead of placing all of them again: each costs as much as a
    /// decision.
    pub const MOST: usize = 128;

    /// No workloads, for domains of this kind.
    pub const fn new(key: Topology) -> Self {
        Self { key, all: BTreeMap::new(), by_domain: BTreeMap::new(), index: 0 }
    }

    /// The kind of domain.
    pub const fn kind(&self) -> &Topology {
        &self.key
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All workloads, those that are placed again first in front.
    pub fn in_turn(&self) -> Vec<Arc<Loss>> {
        let mut all: Vec<Arc<Loss>> = self.all.values().cloned().collect();
        all.sort_by_key(|loss| loss.turn);
        all
    }

    /// Whether a domain has more workloads than are placed again for each decision.
    pub fn is_crowded(&self) -> bool {
        self.by_domain.values().any(|all| all.len() > Self::MOST)
    }

    /// Whether the members are not where they were, so that [`Self::follow`] has something to do.
    pub fn is_behind(&self, fleet: &Fleet) -> bool {
        self.index != fleet.index().version
    }

    /// Takes the domains from this fleet.
    pub fn follow(&mut self, fleet: &Fleet) {
        if self.is_behind(fleet) {
            self.index = fleet.index().version;
            self.by_domain.clear();
            for loss in self.all.values() {
                enter(&mut self.by_domain, fleet, &self.key, loss);
            }
        }
    }

    /// Notes what may be lost of a workload, instead of what is known of the same id.
    pub fn note(&mut self, fleet: &Fleet, loss: Loss) {
        self.follow(fleet);
        let id = loss.turn.id;
        if self.has(fleet, &loss) {
            return;
        }
        self.forget(id);
        let loss = Arc::new(loss);
        enter(&mut self.by_domain, fleet, &self.key, &loss);
        self.all.insert(id, loss);
    }

    /// Whether this is noted already, for members that stand where they do now.
    pub fn has(&self, fleet: &Fleet, loss: &Loss) -> bool {
        let known = self.all.get(&loss.turn.id);
        let same = known.is_some_and(|known| {
            known.turn == loss.turn && known.is_as(&loss.request, &loss.placed)
        });
        same && !self.is_behind(fleet)
    }

    /// Forgets a workload.
    pub fn forget(&mut self, id: u64) {
        let Some(loss) = self.all.remove(&id) else {
            return;
        };
        self.by_domain.retain(|_, all| {
            if all.contains_key(&loss.turn) {
                Arc::make_mut(all).remove(&loss.turn);
            }
            !all.is_empty()
        });
    }

    fn of(&self, domain: &str) -> Option<&Arc<ByTurn>> {
        self.by_domain.get(domain)
    }
}

fn enter(
    by_domain: &mut BTreeMap<Arc<str>, Arc<ByTurn>>,
    fleet: &Fleet,
    key: &Topology,
    loss: &Arc<Loss>,
) {
    for (name, _) in loss.placed.iter().filter(|(_, count)| *count > 0) {
        if let Some(at) = fleet.place(name) {
            let all = by_domain.entry(domain_of(fleet, key, at)).or_default();
            Arc::make_mut(all).insert(loss.turn, Arc::clone(loss));
        }
    }
}

/// Room that is left when a domain is lost.
#[derive(Clone, Debug)]
pub struct Spare {
    /// The workload's own turn.
    pub turn: Turn,
    /// What else may be lost.
    pub losses: Arc<Losses>,
    /// For crowded domains: the fleet without each, less what is promised to all.
    pub without: BTreeMap<Arc<str>, Fleet>,
    /// What is promised there to this workload.
    pub own: BTreeMap<Arc<str>, Assignment>,
}

impl Spare {
    /// What else may be lost, each placed again for the decision.
    pub const fn new(turn: Turn, losses: Arc<Losses>) -> Self {
        Self { turn, losses, without: BTreeMap::new(), own: BTreeMap::new() }
    }

    /// What is promised for a domain that has too many workloads to place them all again.
    pub(crate) fn promised(&self, domain: &str) -> Option<(&Fleet, Option<&Assignment>)> {
        let crowded = self.losses.of(domain).is_some_and(|all| all.len() > Losses::MOST);
        let without = self.without.get(domain).filter(|_| crowded)?;
        Some((without, self.own.get(domain)))
    }
}

/// Places lost replicas again.
#[derive(Debug, Default)]
pub(crate) struct Replacer {
    planner: Option<Box<Planner>>,
    /// Rules, and what is left of them when something is lost; shared, so that what they select
    /// is known from one time to the next.
    rules: Vec<(Arc<Rules>, Arc<Rules>)>,
    known: Vec<Known>,
}

/// How many rules, and for how many domains answers, are kept.
const KEPT: usize = 128;

/// What was found for all workloads of a domain.
#[derive(Debug)]
struct Known {
    losses: Arc<ByTurn>,
    domain: Arc<str>,
    /// Names the fleet for which it was found.
    stamp: Vec<u64>,
    missing: BTreeMap<Turn, u32>,
}

impl Replacer {
    /// How many replicas of a workload find no place when a domain is lost, after all others
    /// whose turn comes before. `fleet` is the room before the decision.
    pub(crate) fn missing(
        &mut self,
        fleet: &Fleet,
        (key, domain): (&Topology, &Arc<str>),
        request: &Request,
        placed: &Assignment,
        id: u64,
    ) -> u32 {
        let spare = request.spare.as_deref();
        let others = spare.and_then(|spare| Some((spare.turn, spare.losses.of(domain)?)));
        let adds = placed.iter().any(|(name, count)| count > request.previous.of(name));
        if let Some((turn, all)) = others.filter(|_| !adds)
            && all.get(&turn).is_some_and(|own| own.is_as(request, placed))
        {
            return self.of_all(fleet, (key, domain), all).get(&turn).copied().unwrap_or(0);
        }
        let mut left = fleet.without_domain(key, domain);
        // What the decision adds takes room that the fleet still shows as free.
        for (name, count) in placed.iter() {
            left.reserve(name, &request.needs, count.saturating_sub(request.previous.of(name)));
        }
        if let Some((turn, all)) = others {
            for loss in all.range((Bound::Unbounded, Bound::Excluded(turn))).map(|(_, loss)| loss) {
                let asked = Asked { key, domain, request: &loss.request, placed: &loss.placed };
                self.place(fleet, &mut left, &asked, &Assignment::default(), loss.turn.id);
            }
        }
        let asked = Asked { key, domain, request, placed };
        self.place(fleet, &mut left, &asked, &Assignment::default(), id).0
    }

    /// How many replicas of each workload in a domain find no place, where nothing is added.
    fn of_all(
        &mut self,
        fleet: &Fleet,
        (key, domain): (&Topology, &Arc<str>),
        losses: &Arc<ByTurn>,
    ) -> &BTreeMap<Turn, u32> {
        let stamp = fleet.stamp();
        let same = |known: &Known| Arc::ptr_eq(&known.losses, losses) && known.domain == *domain;
        let at = self.known.iter().position(same);
        let at = match at {
            Some(at) if self.known[at].stamp == stamp => at,
            known => {
                let mut left = fleet.without_domain(key, domain);
                let mut missing = BTreeMap::new();
                for (turn, loss) in &**losses {
                    let asked = Asked { key, domain, request: &loss.request, placed: &loss.placed };
                    let none = Assignment::default();
                    missing.insert(*turn, self.place(fleet, &mut left, &asked, &none, turn.id).0);
                }
                if let Some(at) = known {
                    self.known.remove(at);
                } else if self.known.len() >= KEPT {
                    self.known.remove(0);
                }
                let (losses, domain) = (Arc::clone(losses), Arc::clone(domain));
                self.known.push(Known { losses, domain, stamp, missing });
                self.known.len() - 1
            }
        };
        &self.known[at].missing
    }

    /// Places again in `left` what a workload loses, and gives how many replicas find no place,
    /// and what is promised to it. `own` is what was promised to it before.
    pub(crate) fn place(
        &mut self,
        fleet: &Fleet,
        left: &mut Fleet,
        asked: &Asked<'_>,
        own: &Assignment,
        id: u64,
    ) -> (u32, Assignment) {
        let Some((outside, need)) = asked.lost(fleet) else {
            return (0, own.clone());
        };
        // What is promised counts as taken there, so that only what is beyond it takes more.
        let mut standing = outside.clone();
        for (name, count) in own.iter() {
            standing.set(name, standing.of(name).saturating_add(count));
        }
        let again = Request {
            rules: self.loosened(&asked.request.rules),
            replicas: need,
            partial: true,
            previous: standing.clone(),
            spare: None,
            ..asked.request.clone()
        };
        let planner = self.planner.get_or_insert_default();
        let found = match planner.schedule(left, &again, id) {
            Ok(decision) => decision.assignment,
            Err(_) => outside.clone(),
        };
        let mut promised = own.clone();
        for (name, count) in found.iter() {
            left.reserve(name, &again.needs, count.saturating_sub(standing.of(name)));
            let more = count.saturating_sub(outside.of(name)).max(own.of(name));
            if more > 0 {
                promised.set(name, more);
            }
        }
        (need.saturating_sub(u32::try_from(found.total()).unwrap_or(u32::MAX)), promised)
    }

    /// The rules by which a loss is placed again: nothing that stands moves, and no second loss is
    /// looked at.
    fn loosened(&mut self, rules: &Arc<Rules>) -> Arc<Rules> {
        if let Some((_, known)) = self.rules.iter().find(|(of, _)| Arc::ptr_eq(of, rules)) {
            return Arc::clone(known);
        }
        if self.rules.len() >= KEPT {
            self.rules.remove(0);
        }
        let loose = Arc::new(Rules { survive: None, steady: true, ..Rules::clone(rules) });
        self.rules.push((Arc::clone(rules), Arc::clone(&loose)));
        loose
    }
}

/// What a workload asks for when a domain is lost.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a Topology,
    pub(crate) domain: &'a str,
    pub(crate) request: &'a Request,
    pub(crate) placed: &'a Assignment,
}

impl Asked<'_> {
    /// What stands outside the domain, and how many have to run; absent where enough runs outside,
    /// or nothing stands inside.
    fn lost(&self, fleet: &Fleet) -> Option<(Assignment, u32)> {
        let stays = |name: &str| {
            fleet.place(name).is_some_and(|at| *domain_of(fleet, self.key, at) != *self.domain)
        };
        let held = self.placed.iter().filter(|(name, count)| *count > 0 && stays(name));
        let outside: Assignment = held.map(|(name, count)| (Arc::clone(name), count)).collect();
        let percent = self.request.rules.survive.as_ref().map_or(100, |s| s.min_percent);
        let need = needed(percent, self.request.replicas);
        let runs = u32::try_from(outside.total()).unwrap_or(u32::MAX);
        (runs < need && outside.total() < self.placed.total()).then_some((outside, need))
    }
}
