//! Members that may hold replicas of one workload: what the rules say of each, what it holds and
//! what fits.

use std::sync::Arc;

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
    /// What the rules say of an open member, before a request is looked at: `tie` is the number of
    /// its name.
    pub(crate) const fn row(standing: &Standing) -> Self {
        Self {
            at: standing.at,
            tier: standing.tier,
            weight: standing.weight,
            min: standing.min,
            max: standing.max,
            domains: standing.domains,
            tie: standing.name_hash,
            far: FAR,
            previous: 0,
            holds: false,
            closed: false,
            frozen: false,
            fits: ENDLESS,
            counted: false,
        }
    }

    /// Notes what fits; absent: unknown.
    pub(crate) fn set_room(&mut self, room: Option<Fits>) {
        self.fits = room.unwrap_or(ENDLESS);
        self.counted = room.is_some();
    }

    /// Most replicas that it may hold: its bound, and what fits beside what it has.
    pub(crate) fn upper(&self, elastic: bool) -> u32 {
        if self.closed {
            return self.previous.min(self.max);
        }
        let more = self.fits.more.saturating_add(if elastic { self.fits.elastic } else { 0 });
        let most = self.fits.most.max(self.previous);
        self.previous.saturating_add(more).min(most).min(self.max)
    }

    /// `upper` where it was counted. Room that nobody knows attracts nothing.
    pub(crate) const fn known(&self, upper: u32) -> u32 {
        if self.counted || self.closed { upper } else { 0 }
    }

    /// Order of preference among equals: already there, lower tier, more weight, more room, nearer,
    /// keyed hash.
    pub(crate) fn rank(&self, steady: bool, elastic: bool) -> Rank {
        Rank::new(self, steady && self.holds, self.upper(elastic))
    }
}

/// How early a member is taken: the lower the better. Packed, because large fleets compare many.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Rank(u64, u64);

impl Rank {
    /// Behind every other one.
    pub(crate) const LAST: Self = Self(u64::MAX, u64::MAX);

    /// Those that hold replicas first, then lower tiers, then more weight, then more room, then
    /// nearer ones, then the keyed hash.
    #[inline]
    pub(crate) fn new(candidate: &Candidate, there: bool, upper: u32) -> Self {
        let tier = u64::from(!there) << 48 | u64::from(candidate.tier) << 32;
        let room = u64::from(!candidate.known(upper)) << 32 | u64::from(candidate.far) << 30;
        Self(tier | u64::from(!candidate.weight), room | !candidate.tie >> 34)
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
fn measure(fleet: &Fleet, request: &Request, list: &mut [Candidate], held: bool) {
    if !chooses(request) {
        return;
    }
    let index = fleet.index();
    let mut marked = vec![false; index.areas];
    let mut mark = |candidate: &Candidate| {
        index.spots[candidate.at as usize].iter().for_each(|area| marked[*area as usize] = true);
    };
    if held {
        list.iter().filter(|candidate| candidate.previous > 0).for_each(mark);
    } else {
        let first = list.iter().filter(|c| !c.closed).min_by_key(|c| c.rank(false, false));
        first.into_iter().for_each(&mut mark);
    }
    for candidate in list {
        let spot = &index.spots[candidate.at as usize];
        let near = spot.map(|area| marked[area as usize]);
        candidate.far = match near {
            [true, ..] => 0,
            [_, true, _] => 1,
            [.., true] => 2,
            _ => FAR,
        };
    }
}

/// As far as can be told apart.
const FAR: u8 = 3;

/// Room that nobody has counted.
const ENDLESS: Fits = Fits { more: u32::MAX, elastic: 0, most: u32::MAX };

/// Finds the candidates of a request, in order of name, and puts them into `list`, whose memory is
/// used again. `rows` say what the rules and its shape say of each open member; `fits` counts the
/// room of one that is not among them.
pub(crate) fn candidates(
    fleet: &Fleet,
    request: &Request,
    selected: &Selected,
    rows: &[Candidate],
    key: u64,
    list: Vec<Candidate>,
    fits: impl FnMut(usize) -> Option<Fits>,
) -> (Vec<Candidate>, Report) {
    let mut report = selected.report.clone();
    let others = request.others.as_deref();
    let mut held: Vec<(usize, u32)> = Vec::with_capacity(request.previous.len());
    let known = request.previous.iter();
    held.extend(known.filter_map(|(name, count)| Some((fleet.place(name)?, count))));
    held.sort_unstable();
    let mut gather = Gather {
        fleet,
        request,
        selected,
        key,
        leaving: places(fleet, &request.leaving),
        near: others.and_then(|others| others.near.as_ref()).map(|near| places(fleet, near)),
        away: others.map(|others| places(fleet, &others.away)).unwrap_or_default(),
        refuses: request.replicas > 0 && !matches!(request.mode, Mode::Everywhere),
        knows: matches!(request.mode, Mode::Divide(DivideBy::Capacity | DivideBy::Pack)),
        rejected: Rejected::default(),
        runs: false,
        fits,
        list,
    };
    gather.all(rows, &held);
    gather.rejected.tell(fleet, &mut report);
    let (mut list, runs) = (gather.list, gather.runs);
    measure(fleet, request, &mut list, runs);
    (list, report)
}

/// The candidates as they are found.
struct Gather<'a, F> {
    fleet: &'a Fleet,
    request: &'a Request,
    selected: &'a Selected,
    key: u64,
    /// Places that history, or other workloads, say something of; each in rising order.
    leaving: Vec<usize>,
    near: Option<Vec<usize>>,
    away: Vec<usize>,
    /// Whether a member without room is ruled out, and one whose room nobody knows.
    refuses: bool,
    knows: bool,
    rejected: Rejected,
    /// Whether a candidate has replicas already.
    runs: bool,
    fits: F,
    list: Vec<Candidate>,
}

impl<F: FnMut(usize) -> Option<Fits>> Gather<'_, F> {
    /// Most rows are taken as they are; one after the other is looked at only where something is
    /// said of the member beside them.
    fn all(&mut self, rows: &[Candidate], held: &[(usize, u32)]) {
        self.list.clear();
        self.list.reserve(rows.len() + held.len());
        let mut stops: Vec<usize> = Vec::new();
        let listed = self.leaving.iter().chain(&self.away).copied();
        if self.near.is_some() {
            stops.extend(rows.iter().map(|row| row.at as usize));
        }
        stops.extend(held.iter().map(|(at, _)| *at).chain(listed));
        stops.sort_unstable();
        stops.dedup();
        let (mut rows, mut held) = (rows, held);
        for stop in stops {
            rows = self.take_before(stop, rows);
            let row = rows.split_first().filter(|(row, _)| row.at as usize == stop);
            let own = held.split_first().filter(|((at, _), _)| *at == stop);
            self.special(stop, row.map(|(row, _)| row), own.map(|((_, count), _)| *count));
            rows = row.map_or(rows, |(_, rest)| rest);
            held = own.map_or(held, |(_, rest)| rest);
        }
        self.take_before(usize::MAX, rows);
    }

    /// Takes the rows before a place, and gives the others.
    fn take_before<'r>(&mut self, stop: usize, rows: &'r [Candidate]) -> &'r [Candidate] {
        for (number, row) in rows.iter().enumerate() {
            if row.at as usize >= stop {
                return &rows[number..];
            }
            match self.refusal(row) {
                None => self.list.push(Candidate { tie: tie(self.key, row.tie), ..*row }),
                Some(refusal) => self.rejected.add(refusal, row.at as usize),
            }
        }
        &[]
    }

    /// Why a member takes nothing new, for its room alone.
    #[inline]
    const fn refusal(&self, row: &Candidate) -> Option<Refusal> {
        if !self.refuses {
            None
        } else if self.knows && !row.counted {
            Some(Refusal::RoomUnknown)
        } else if row.fits.more == 0 && row.fits.elastic == 0 {
            Some(Refusal::NoRoom)
        } else {
            None
        }
    }

    /// A member that holds replicas, or that something is said of.
    fn special(&mut self, at: usize, row: Option<&Candidate>, own: Option<u32>) {
        let leaves = self.leaving.binary_search(&at).is_ok();
        let Some(row) = row else {
            if let (Some(count), false) = (own, leaves) {
                self.closed_holder(at, count);
            }
            return;
        };
        if leaves {
            self.rejected.add(Refusal::MovingAway, at);
            return;
        }
        let near = self.near.as_ref();
        let refusal = if near.is_some_and(|near| near.binary_search(&at).is_err()) {
            Some(Refusal::NotNear)
        } else if self.away.binary_search(&at).is_ok() {
            Some(Refusal::NotAway)
        } else {
            self.refusal(row)
        };
        if let Some(refusal) = refusal {
            self.rejected.add(refusal, at);
            if own.is_none() {
                return;
            }
        }
        self.runs |= own.is_some_and(|count| count > 0);
        self.list.push(Candidate {
            tie: tie(self.key, row.tie),
            previous: own.unwrap_or(0),
            holds: own.is_some(),
            closed: refusal.is_some(),
            ..*row
        });
    }

    /// A member that may not take anything new and holds replicas keeps them: the drain takes them
    /// out. It keeps none where the rules no longer select it.
    fn closed_holder(&mut self, at: usize, count: u32) {
        let standing = self.selected.standing(self.fleet, self.request, at);
        // In no domain it can be part of no spread; what it holds has to move.
        if standing.domains.contains(&NO_DOMAIN)
            || !self.selected.admits(self.fleet, &self.request.rules, at)
        {
            return;
        }
        let mut holder = Candidate::row(&standing);
        holder.tie = tie(self.key, standing.name_hash);
        holder.previous = count;
        holder.holds = true;
        holder.closed = true;
        holder.frozen = count > 0 && self.fleet.at(at).health.is_out_of_reach();
        holder.set_room((self.fits)(at));
        self.runs |= count > 0;
        self.list.push(holder);
    }
}

fn places(fleet: &Fleet, names: &[Arc<str>]) -> Vec<usize> {
    let mut places: Vec<usize> = names.iter().filter_map(|name| fleet.place(name)).collect();
    places.sort_unstable();
    places
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
