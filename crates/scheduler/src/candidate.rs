//! Members that may hold replicas of one workload: what the rules say of each, what it holds and
//! what fits.

use std::{cmp::Reverse, sync::Arc};

use crate::{
    DivideBy, Fleet, Mode, Refusal, Report, Request,
    filter::{NO_DOMAIN, Selected, Standing, tie},
    room::Fits,
};

/// A member that may hold replicas.
#[expect(clippy::struct_excessive_bools, reason = "four facts that are independent of each other")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) at: u32,
    /// First tier that admits it, from 0.
    pub(crate) tier: u16,
    pub(crate) weight: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) domains: [u32; 2],
    pub(crate) tie: u64,
    /// How far it is from the workload's other replicas: 0 in a zone with some, 1 in a region with
    /// some, 2 at a provider with some, 3 elsewhere.
    pub(crate) far: u8,
    /// What it holds.
    pub(crate) previous: u32,
    /// Whether the object is there, with replicas or without.
    pub(crate) holds: bool,
    /// It takes nothing new.
    pub(crate) closed: bool,
    /// Nothing can be taken away there now.
    pub(crate) frozen: bool,
    pub(crate) fits: Fits,
    /// Whether `fits` was counted; unknown room is as good as endless for what does not divide
    /// by it.
    pub(crate) counted: bool,
}

impl Candidate {
    /// Most replicas that it may hold: its bound, and what fits beside what it has.
    pub(crate) fn upper(&self, elastic: bool) -> u32 {
        if self.closed {
            return self.previous.min(self.max);
        }
        let more = self.fits.more.saturating_add(if elastic { self.fits.elastic } else { 0 });
        let most = self.fits.most.max(self.previous);
        self.previous.saturating_add(more).min(most).min(self.max)
    }

    /// Order of preference among equals: already there, lower tier, more room, nearer, keyed hash.
    pub(crate) fn rank(
        &self,
        steady: bool,
        elastic: bool,
    ) -> (bool, u16, Reverse<u32>, u8, Reverse<u64>) {
        let there = steady && self.holds;
        (!there, self.tier, Reverse(self.upper(elastic)), self.far, Reverse(self.tie))
    }
}

/// Whether it matters how far members are from each other: where some are chosen before others.
/// A plain division goes by shares alone.
fn chooses(request: &Request) -> bool {
    match &request.mode {
        Mode::Everywhere | Mode::Whole => false,
        Mode::Duplicate => !request.rules.spread.is_empty(),
        Mode::Divide(by) => {
            matches!(by, DivideBy::Pack)
                || !request.rules.spread.is_empty()
                || request.rules.bounds.iter().any(|bounds| bounds.min > 1)
        }
    }
}

/// Measures how far each candidate is from those that hold replicas; where none does, from the
/// one that is the first choice. There are no measured distances here: a zone counts, then a
/// region, then a provider.
fn measure(fleet: &Fleet, request: &Request, list: &mut [Candidate]) {
    if !chooses(request) {
        return;
    }
    let index = fleet.index();
    let mut marked = vec![false; index.areas];
    let mut mark = |candidate: &Candidate| {
        index.spots[candidate.at as usize].iter().for_each(|area| marked[*area as usize] = true);
    };
    list.iter().filter(|candidate| candidate.previous > 0).for_each(&mut mark);
    if list.iter().all(|candidate| candidate.previous == 0) {
        let first = list.iter().filter(|c| !c.closed).min_by_key(|c| c.rank(false, false));
        first.into_iter().for_each(mark);
    }
    for candidate in list {
        let spot = &index.spots[candidate.at as usize];
        let near = spot.iter().position(|area| marked[*area as usize]);
        candidate.far = near.and_then(|far| u8::try_from(far).ok()).unwrap_or(FAR);
    }
}

/// As far as can be told apart.
const FAR: u8 = 3;

/// Finds the candidates of a request, in order of name, and puts them into `list`, whose memory is
/// used again. `fits` counts the room of one place.
pub(crate) fn candidates(
    fleet: &Fleet,
    request: &Request,
    selected: &Selected,
    key: u64,
    mut list: Vec<Candidate>,
    mut fits: impl FnMut(usize) -> Option<Fits>,
) -> (Vec<Candidate>, Report) {
    let mut report = selected.report.clone();
    let mut held: Vec<(usize, u32)> = request
        .previous
        .iter()
        .filter_map(|(name, count)| Some((fleet.place(name)?, count)))
        .collect();
    held.sort_unstable();
    let leaving = places(fleet, &request.leaving);
    let others = request.others.as_deref();
    let near = others.and_then(|others| others.near.as_ref()).map(|near| places(fleet, near));
    let away = others.map(|others| places(fleet, &others.away)).unwrap_or_default();
    list.clear();
    list.reserve(selected.open.len() + held.len());
    let mut rejected = Rejected::default();
    let mut next_held = 0;
    for standing in &selected.open {
        let at = standing.at as usize;
        while held.get(next_held).is_some_and(|(place, _)| *place < at) {
            closed_holder(
                fleet,
                request,
                selected,
                key,
                held[next_held],
                &leaving,
                &mut fits,
                &mut list,
            );
            next_held += 1;
        }
        let own = held.get(next_held).filter(|(place, _)| *place == at).map(|(_, count)| *count);
        next_held += usize::from(own.is_some());
        if leaving.binary_search(&at).is_ok() {
            rejected.add(Refusal::MovingAway, at);
            continue;
        }
        let room = fits(at);
        let refusal = if near.as_ref().is_some_and(|near| near.binary_search(&at).is_err()) {
            Some(Refusal::NotNear)
        } else if away.binary_search(&at).is_ok() {
            Some(Refusal::NotAway)
        } else {
            room_refusal(request, room)
        };
        if let Some(refusal) = refusal {
            rejected.add(refusal, at);
            if own.is_none() {
                continue;
            }
        }
        let frozen = false;
        list.push(candidate(standing, key, own, refusal.is_some(), frozen, room));
    }
    for holder in &held[next_held..] {
        closed_holder(fleet, request, selected, key, *holder, &leaving, &mut fits, &mut list);
    }
    rejected.tell(fleet, &mut report);
    measure(fleet, request, &mut list);
    (list, report)
}

fn places(fleet: &Fleet, names: &[Arc<str>]) -> Vec<usize> {
    let mut places: Vec<usize> = names.iter().filter_map(|name| fleet.place(name)).collect();
    places.sort_unstable();
    places
}

/// A member that may not take anything new and holds replicas keeps them: the drain takes them
/// out. It keeps none where the rules no longer select it.
#[expect(clippy::too_many_arguments, reason = "one step of the loop above, used twice")]
fn closed_holder(
    fleet: &Fleet,
    request: &Request,
    selected: &Selected,
    key: u64,
    (at, count): (usize, u32),
    leaving: &[usize],
    fits: &mut impl FnMut(usize) -> Option<Fits>,
    list: &mut Vec<Candidate>,
) {
    let standing = selected.standing(fleet, request, at);
    if standing.domains.contains(&NO_DOMAIN) {
        // It can be part of no spread; what it holds has to move.
        return;
    }
    let selects = selected.admits(fleet, &request.rules, at);
    if leaving.binary_search(&at).is_ok() || !selects {
        return;
    }
    let frozen = count > 0 && fleet.at(at).health.is_out_of_reach();
    list.push(candidate(&standing, key, Some(count), true, frozen, fits(at)));
}

fn candidate(
    standing: &Standing,
    key: u64,
    own: Option<u32>,
    closed: bool,
    frozen: bool,
    room: Option<Fits>,
) -> Candidate {
    let endless = Fits { more: u32::MAX, elastic: 0, most: u32::MAX };
    Candidate {
        at: standing.at,
        tier: standing.tier,
        weight: standing.weight,
        min: standing.min,
        max: standing.max,
        domains: standing.domains,
        tie: tie(key, standing.name_hash),
        far: FAR,
        previous: own.unwrap_or(0),
        holds: own.is_some(),
        closed,
        frozen,
        fits: room.unwrap_or(endless),
        counted: room.is_some(),
    }
}

fn room_refusal(request: &Request, room: Option<Fits>) -> Option<Refusal> {
    if matches!(request.mode, Mode::Everywhere) || request.replicas == 0 {
        return None;
    }
    match (&request.mode, room) {
        (Mode::Divide(DivideBy::Capacity | DivideBy::Pack), None) => Some(Refusal::RoomUnknown),
        (_, Some(fits)) if fits.more == 0 && fits.elastic == 0 => Some(Refusal::NoRoom),
        _ => None,
    }
}

/// Members ruled out one by one.
#[derive(Debug, Default)]
struct Rejected {
    counts: Vec<(Refusal, usize, Vec<usize>)>,
}

impl Rejected {
    fn add(&mut self, refusal: Refusal, place: usize) {
        let at = self.counts.iter().position(|entry| entry.0 == refusal).unwrap_or_else(|| {
            self.counts.push((refusal, 0, Vec::new()));
            self.counts.len() - 1
        });
        let entry = &mut self.counts[at];
        entry.1 += 1;
        if entry.2.len() < 3 {
            entry.2.push(place);
        }
    }

    fn tell(self, fleet: &Fleet, report: &mut Report) {
        for (refusal, count, examples) in self.counts {
            let names = examples.into_iter().map(|at| Arc::clone(&fleet.at(at).name));
            report.add(refusal, count, names);
        }
    }
}
