//! The decision: filter, room, tiers and domains, division, history, survival.
//!
//! A planner keeps what repeats between decisions: what a set of rules selects, and how many
//! replicas of one shape fit in each member. Both are used again only while the fleet says that
//! they still hold, so that a planner never changes an answer, only its cost.

use std::sync::Arc;

use crate::{
    Assignment, Cause, Decision, DivideBy, Fleet, Mode, Note, PodNeeds, Report, Request, Rules,
    Shortfall, Unplaceable,
    candidate::{Candidate, candidates},
    choose::{Item, Want, choose},
    filter::Selected,
    report::Row,
    room::Fits,
    scratch::Scratch,
    share::{Counts, Try},
    survive,
};

/// Places one workload. `key` decides between equal members; give each workload its own, so that
/// every member wins its fair share.
///
/// # Errors
/// [`Unplaceable`] with the reasons: no member is possible, or they cannot hold all replicas and
/// the request wants all or nothing. What was placed before stays as it was.
pub fn schedule(fleet: &Fleet, request: &Request, key: u64) -> Result<Decision, Unplaceable> {
    Planner::default().schedule(fleet, request, key)
}

/// Places workloads one after the other; see the module.
#[derive(Debug, Default)]
pub struct Planner {
    selected: Vec<Known>,
    columns: Vec<Column>,
    /// Memory of the last candidates: large fleets would give it back and ask for it each time.
    list: Vec<Candidate>,
    scratch: Scratch,
    turn: u64,
}

/// What one set of rules selects.
#[derive(Debug)]
struct Known {
    rules: Arc<Rules>,
    mode: Mode,
    kind: Arc<str>,
    versions: (u64, u64),
    selected: Arc<Selected>,
    used: u64,
}

/// How many replicas of one shape fit in each member.
#[derive(Debug)]
struct Column {
    needs: Arc<PodNeeds>,
    used: u64,
    /// What was counted, and which room it was counted for; 0: none.
    fits: Vec<Option<Fits>>,
    rooms: Vec<u64>,
    /// For which rooms the 64 entries of a chunk were looked at last, and which of them hold.
    chunks: Vec<(u64, u64)>,
}

impl Column {
    fn fits(&mut self, fleet: &Fleet, at: usize) -> Option<Fits> {
        let (chunk, bit) = (at / 64, 1_u64 << (at % 64));
        let version = fleet.chunk_version(chunk);
        if self.chunks[chunk].0 != version {
            self.look_again(fleet, chunk, version);
        }
        if self.chunks[chunk].1 & bit == 0 {
            self.fits[at] = fleet.at(at).fits(&self.needs);
            self.rooms[at] = fleet.room_version(at);
            self.chunks[chunk].1 |= bit;
        }
        self.fits[at]
    }

    /// Which entries of a chunk are still those of the members' rooms. Versions are never given
    /// twice, so that an entry whose place belongs to another member now is not.
    #[cold]
    fn look_again(&mut self, fleet: &Fleet, chunk: usize, version: u64) {
        let first = chunk * 64;
        let mut valid = 0;
        for at in first..(first + 64).min(fleet.len()) {
            valid |= u64::from(self.rooms[at] == fleet.room_version(at)) << (at - first);
        }
        self.chunks[chunk] = (version, valid);
    }
}

/// How many sets of rules, and how many shapes, a planner keeps.
const KEPT: usize = 128;

impl Planner {
    /// Places one workload, as [`schedule`] does.
    ///
    /// # Errors
    /// As [`schedule`].
    pub fn schedule(
        &mut self,
        fleet: &Fleet,
        request: &Request,
        key: u64,
    ) -> Result<Decision, Unplaceable> {
        self.turn += 1;
        let selected = self.select(fleet, request);
        if let Some(decision) = unchanged(fleet, request, &selected) {
            return Ok(decision);
        }
        let (list, report) = self.candidates(fleet, request, &selected, key);
        let answer =
            Answer { fleet, request, candidates: &list, scratch: &self.scratch }.decide(report);
        self.list = list;
        answer
    }

    /// Places one workload and tells of each candidate what the rules, its room and history say.
    ///
    /// # Errors
    /// The outcome is part of the answer.
    pub fn explain(&mut self, fleet: &Fleet, request: &Request, key: u64) -> Explanation {
        self.turn += 1;
        let selected = self.select(fleet, request);
        let (list, report) = self.candidates(fleet, request, &selected, key);
        let outcome = match unchanged(fleet, request, &selected) {
            Some(decision) => Ok(Decision { report, ..decision }),
            None => {
                Answer { fleet, request, candidates: &list, scratch: &self.scratch }.decide(report)
            }
        };
        let rows = list.iter().map(|candidate| row(fleet, candidate, outcome.as_ref().ok()));
        Explanation { rows: rows.collect(), outcome }
    }

    fn select(&mut self, fleet: &Fleet, request: &Request) -> Arc<Selected> {
        let versions = (fleet.index().version, fleet.live().version);
        let same = |known: &Known| {
            Arc::ptr_eq(&known.rules, &request.rules)
                && known.kind == request.kind
                && same_weights(&known.mode, &request.mode)
        };
        let turn = self.turn;
        if let Some(known) = self.selected.iter_mut().find(|known| same(known)) {
            known.used = turn;
            if known.versions != versions {
                known.versions = versions;
                known.selected = Arc::new(Selected::new(fleet, request));
            }
            return Arc::clone(&known.selected);
        }
        forget(&mut self.selected, |known| known.used);
        let selected = Arc::new(Selected::new(fleet, request));
        self.selected.push(Known {
            rules: Arc::clone(&request.rules),
            mode: request.mode.clone(),
            kind: Arc::clone(&request.kind),
            versions,
            selected: Arc::clone(&selected),
            used: turn,
        });
        selected
    }

    fn candidates(
        &mut self,
        fleet: &Fleet,
        request: &Request,
        selected: &Selected,
        key: u64,
    ) -> (Vec<Candidate>, Report) {
        let list = std::mem::take(&mut self.list);
        let column = self.column(fleet, &request.needs);
        candidates(fleet, request, selected, key, list, |at| column.fits(fleet, at))
    }

    fn column(&mut self, fleet: &Fleet, needs: &Arc<PodNeeds>) -> &mut Column {
        let turn = self.turn;
        let same = |column: &Column| Arc::ptr_eq(&column.needs, needs) || column.needs == *needs;
        let at = self.columns.iter().position(same).unwrap_or_else(|| {
            forget(&mut self.columns, |column| column.used);
            self.columns.push(Column {
                needs: Arc::clone(needs),
                used: turn,
                fits: Vec::new(),
                rooms: Vec::new(),
                chunks: Vec::new(),
            });
            self.columns.len() - 1
        });
        let column = &mut self.columns[at];
        column.used = turn;
        if column.fits.len() != fleet.len() {
            column.fits.resize(fleet.len(), None);
            column.rooms.resize(fleet.len(), 0);
            column.chunks.clear();
            column.chunks.resize(fleet.len().div_ceil(64), (0, 0));
        }
        column
    }
}

/// Makes room for one more.
fn forget<T>(kept: &mut Vec<T>, used: impl Fn(&T) -> u64) {
    if kept.len() >= KEPT {
        let oldest = kept.iter().enumerate().min_by_key(|(_, entry)| used(entry));
        if let Some(at) = oldest.map(|(at, _)| at) {
            kept.swap_remove(at);
        }
    }
}

fn same_weights(a: &Mode, b: &Mode) -> bool {
    match (a, b) {
        (Mode::Divide(DivideBy::Weighted(a)), Mode::Divide(DivideBy::Weighted(b))) => {
            Arc::ptr_eq(a, b) || a == b
        }
        (Mode::Divide(DivideBy::Weighted(_)), _) | (_, Mode::Divide(DivideBy::Weighted(_))) => {
            false
        }
        _ => true,
    }
}

/// What stands already and may stand: with steady nothing else has to be looked at.
fn unchanged(fleet: &Fleet, request: &Request, selected: &Selected) -> Option<Decision> {
    let rules = &*request.rules;
    if !rules.steady
        || request.replicas == 0
        || !matches!(request.mode, Mode::Divide(_))
        || request.previous.total() != u64::from(request.replicas)
        || request.others.is_some()
        || rules.survive.is_some()
        || request.quota.is_some_and(|quota| quota < request.replicas)
    {
        return None;
    }
    let mut domains = vec![Vec::new(); rules.spread.len()];
    for (name, count) in request.previous.iter().filter(|(_, count)| *count > 0) {
        let at = fleet.place(name)?;
        if request.leaving.contains(name)
            || count > selected.max_of(rules, at)
            || !selected.admits(fleet, rules, at)
        {
            return None;
        }
        for (spread, seen) in rules.spread.iter().zip(&mut domains) {
            let domain = spread.key.of(fleet.at(at));
            if domain.is_empty() {
                return None;
            }
            if !seen.contains(&domain) {
                seen.push(domain);
            }
        }
    }
    for (spread, seen) in rules.spread.iter().zip(&domains) {
        let have = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        if have < spread.min.min(request.replicas) || spread.max.is_some_and(|max| have > max) {
            return None;
        }
    }
    let kept = request.previous.iter().filter(|(_, count)| *count > 0);
    Some(Decision {
        assignment: Assignment::from_sorted(kept.map(|(n, c)| (Arc::clone(n), c)).collect()),
        report: selected.report.clone(),
        shortfall: None,
        notes: vec![Note::Unchanged],
    })
}

/// A decision and what it looked at.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The candidates, in order of name.
    pub rows: Vec<Row>,
    /// The decision.
    pub outcome: Result<Decision, Unplaceable>,
}

fn row(fleet: &Fleet, candidate: &Candidate, decision: Option<&Decision>) -> Row {
    let member = fleet.at(candidate.at as usize);
    Row {
        member: Arc::clone(&member.name),
        tier: candidate.tier,
        weight: candidate.weight,
        min: candidate.min,
        max: (candidate.max != u32::MAX).then_some(candidate.max),
        fits: candidate.counted.then_some(candidate.fits.more),
        elastic: candidate.fits.elastic,
        previous: candidate.previous,
        closed: candidate.closed,
        count: decision.map_or(candidate.previous, |d| d.assignment.of(&member.name)),
    }
}

/// One request against its candidates.
#[derive(Debug)]
struct Answer<'a> {
    fleet: &'a Fleet,
    request: &'a Request,
    candidates: &'a [Candidate],
    scratch: &'a Scratch,
}

impl Answer<'_> {
    fn decide(&self, report: Report) -> Result<Decision, Unplaceable> {
        let request = self.request;
        if self.candidates.is_empty() {
            let shortfall = self.shortfall(u64::from(request.replicas));
            return Err(Unplaceable { why: Cause::NoClusterFits, report, shortfall });
        }
        match &request.mode {
            Mode::Everywhere | Mode::Duplicate => self.duplicate(report),
            Mode::Whole => self.whole(report),
            Mode::Divide(_) if request.replicas == 0 => Ok(self.scaled_to_zero(report)),
            Mode::Divide(strategy) => self.divided(strategy, report),
        }
    }

    fn name(&self, candidate: &Candidate) -> Arc<str> {
        Arc::clone(&self.fleet.at(candidate.at as usize).name)
    }

    fn divided(&self, strategy: &DivideBy, report: Report) -> Result<Decision, Unplaceable> {
        let request = self.request;
        let replicas = request.quota.map_or(request.replicas, |quota| quota.min(request.replicas));
        if replicas < request.replicas && (!request.partial || replicas == 0) {
            let shortfall = self.shortfall(u64::from(request.replicas - replicas));
            return Err(Unplaceable { why: Cause::TenantQuota(replicas), report, shortfall });
        }
        let want = Want::new(&request.rules.spread, Some(replicas));
        let mut tried = Try {
            request,
            strategy,
            candidates: self.candidates,
            want: &want,
            replicas,
            steady: request.rules.steady,
            elastic: false,
            scratch: self.scratch,
        };
        let mut counts = tried.run();
        if counts.placed < u64::from(replicas)
            && self.candidates.iter().any(|candidate| candidate.fits.elastic > 0)
        {
            tried.elastic = true;
            counts = self.with_elastic(&tried, &counts);
        }
        let missing = u64::from(request.replicas) - counts.placed;
        let fits_all = missing == 0;
        if !(fits_all || (request.partial && counts.placed > 0)) {
            return Err(self.refuse(&tried, &counts, report));
        }
        survive::keep_running(self.fleet, &tried, &mut counts);
        let notes = self.notes(&tried, &counts);
        // Enough running elsewhere may have found a place for more.
        let missing = u64::from(request.replicas) - counts.placed;
        let shortfall = (missing > 0).then(|| self.shortfall(missing));
        let decision = self.decision(&counts, report, notes, shortfall);
        match survive::broken(self.fleet, self.candidates, request, &counts) {
            Some((domain, missing)) => {
                let shortfall = self.shortfall(u64::from(missing));
                survive::answer(decision, request, domain, missing, shortfall)
            }
            None => Ok(decision),
        }
    }

    /// Adds elastic room to what ready room holds; from the start where that does not suffice, or
    /// where tiers say what is to be filled first.
    fn with_elastic(&self, tried: &Try<'_>, ready: &Counts) -> Counts {
        if self.request.rules.tiers.len() <= 1 {
            let filled = self.candidates.iter().zip(&ready.each).map(|(candidate, count)| {
                let more = count.saturating_sub(candidate.previous);
                let mut candidate = *candidate;
                candidate.previous += more;
                candidate.holds |= more > 0;
                candidate.fits.more -= more.min(candidate.fits.more);
                candidate
            });
            let filled: Vec<Candidate> = filled.collect();
            let counts = Try { candidates: &filled, steady: true, ..*tried }.run();
            if counts.placed == u64::from(tried.replicas) {
                return counts;
            }
        }
        tried.run()
    }

    fn refuse(&self, tried: &Try<'_>, counts: &Counts, report: Report) -> Unplaceable {
        let missing = u64::from(self.request.replicas) - counts.placed;
        let moves = tried.steady && {
            let fresh = Try { steady: false, ..*tried }.run();
            fresh.placed > counts.placed
        };
        let why = if moves {
            Cause::FitsOnlyByMoving
        } else {
            counts.cause.clone().unwrap_or(Cause::NoRoom)
        };
        Unplaceable { why, report, shortfall: self.shortfall(missing) }
    }

    fn notes(&self, tried: &Try<'_>, counts: &Counts) -> Vec<Note> {
        let mut notes = Vec::new();
        if let Some(tier) = counts.tier.filter(|tier| *tier > 0) {
            notes.push(Note::LaterTier(tier));
        }
        if tried.steady {
            let stays = |name: &Arc<str>| {
                self.fleet.place(name).is_some() && !self.request.leaving.contains(name)
            };
            let held = self.request.previous.iter().filter(|(name, _)| stays(name));
            let all: u64 = held.map(|(_, count)| u64::from(count)).sum();
            let kept = self.candidates.iter().zip(&counts.each);
            let kept: u64 = kept.map(|(c, count)| u64::from(c.previous.min(*count))).sum();
            let displaced = all.min(counts.placed).saturating_sub(kept);
            if displaced > 0 {
                notes.push(Note::Displaced(u32::try_from(displaced).unwrap_or(u32::MAX)));
            }
        }
        if tried.elastic {
            let pairs = self.candidates.iter().zip(&counts.each);
            let grown: u64 = pairs
                .map(|(c, count)| {
                    u64::from(count.saturating_sub(c.previous.saturating_add(c.fits.more)))
                })
                .sum();
            notes.push(Note::Elastic(u32::try_from(grown).unwrap_or(u32::MAX)));
        }
        if counts.bounded {
            notes.push(Note::SearchBounded);
        }
        notes
    }

    fn decision(
        &self,
        counts: &Counts,
        report: Report,
        notes: Vec<Note>,
        shortfall: Option<Shortfall>,
    ) -> Decision {
        let used = self.candidates.iter().zip(&counts.each).filter(|(_, count)| **count > 0);
        let entries = used.map(|(candidate, count)| (self.name(candidate), *count));
        Decision {
            assignment: Assignment::from_sorted(entries.collect()),
            report,
            shortfall,
            notes,
        }
    }

    /// Each member gets the full count, or the object alone; one without room for it is left out
    /// and counted.
    fn duplicate(&self, mut report: Report) -> Result<Decision, Unplaceable> {
        let request = self.request;
        let replicas = if request.mode == Mode::Everywhere { 0 } else { request.replicas };
        let mut counts: Vec<Option<u32>> = vec![None; self.candidates.len()];
        let mut short: u64 = 0;
        let mut items = Vec::new();
        for (of, candidate) in self.candidates.iter().enumerate() {
            let upper = candidate.upper(true);
            let base = u32::from(request.rules.steady && candidate.holds);
            if candidate.closed && replicas > 0 && upper < replicas {
                // What is there stays as it is; nothing new goes there.
                counts[of] = candidate.holds.then_some(candidate.previous);
            } else if upper >= replicas {
                counts[of] = Some(replicas);
            } else {
                let name = self.name(candidate);
                report.add(crate::Refusal::NoRoom, 1, std::iter::once(name));
                short += u64::from(replicas - upper);
                counts[of] = candidate.holds.then_some(upper);
            }
            if counts[of].is_some() {
                // Each holds the full count: only which members is to be chosen.
                items.push(Item { of, base, low: 0, upper: upper.max(1), hard: 0 });
            }
        }
        let want = Want::new(&request.rules.spread, None);
        if !want.is_empty() {
            let chosen = match choose(self.candidates, items.clone(), &want, 0, false) {
                Ok(chosen) => chosen,
                Err(why) => {
                    return Err(Unplaceable { why, report, shortfall: self.shortfall(short) });
                }
            };
            for item in items {
                if chosen.items.binary_search_by_key(&item.of, |item| item.of).is_err() {
                    counts[item.of] = None;
                }
            }
        }
        let entries: Vec<(Arc<str>, u32)> = self
            .candidates
            .iter()
            .zip(counts)
            .filter_map(|(candidate, count)| Some((self.name(candidate), count?)))
            .collect();
        let shortfall = (short > 0).then(|| self.shortfall(short));
        match shortfall {
            Some(shortfall) if entries.is_empty() => {
                Err(Unplaceable { why: Cause::NoRoom, report, shortfall })
            }
            shortfall => Ok(Decision {
                assignment: Assignment::from_sorted(entries),
                report,
                shortfall,
                notes: Vec::new(),
            }),
        }
    }

    /// One member gets everything.
    fn whole(&self, report: Report) -> Result<Decision, Unplaceable> {
        let request = self.request;
        let many = request.rules.spread.iter().find(|spread| spread.min > 1);
        if let Some(spread) = many {
            let key = spread.key.as_str().to_owned();
            let why = Cause::TooFewDomains { key, need: spread.min, have: 1 };
            let shortfall = self.shortfall(u64::from(request.replicas));
            return Err(Unplaceable { why, report, shortfall });
        }
        let steady = request.rules.steady;
        let (mut room, mut most) = (None, 0);
        for elastic in [false, true] {
            let enough = |c: &&Candidate| c.upper(elastic) >= request.replicas;
            room = self.candidates.iter().filter(enough).min_by_key(|c| c.rank(steady, elastic));
            most = self.candidates.iter().map(|c| c.upper(elastic)).max().unwrap_or(0);
            if room.is_some() {
                break;
            }
        }
        let holder = self.candidates.iter().find(|c| c.holds);
        match (room, holder) {
            (Some(best), Some(holder)) if steady && !best.holds => {
                let missing = request.replicas.saturating_sub(holder.upper(true));
                let shortfall = self.shortfall(u64::from(missing));
                Err(Unplaceable { why: Cause::FitsOnlyByMoving, report, shortfall })
            }
            (Some(best), _) => Ok(Decision {
                assignment: Assignment::from_sorted(vec![(self.name(best), request.replicas)]),
                report,
                shortfall: None,
                notes: Vec::new(),
            }),
            (None, _) => {
                let missing = u64::from(request.replicas.saturating_sub(most));
                let shortfall = self.shortfall(missing);
                Err(Unplaceable { why: Cause::NoRoom, report, shortfall })
            }
        }
    }

    /// Nothing runs, but the object stays where it is, or goes where its replicas will.
    fn scaled_to_zero(&self, report: Report) -> Decision {
        let first = self.candidates.iter().map(|c| c.tier).min();
        let held = self.candidates.iter().any(|c| c.holds);
        let chosen = self
            .candidates
            .iter()
            .filter(|c| if held { c.holds } else { !c.closed && Some(c.tier) == first });
        Decision {
            assignment: Assignment::from_sorted(chosen.map(|c| (self.name(c), 0)).collect()),
            report,
            shortfall: None,
            notes: Vec::new(),
        }
    }

    fn shortfall(&self, replicas: u64) -> Shortfall {
        let none = crate::Resources::default();
        Shortfall {
            replicas: u32::try_from(replicas).unwrap_or(u32::MAX),
            missing: none.plus(&self.request.needs.request, replicas),
        }
    }
}
