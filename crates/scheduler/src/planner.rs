//! The decision: filter, room, tiers and domains, division, history, survival.
//!
//! A planner keeps what repeats between decisions: what a set of rules selects, and how many
//! replicas of one shape fit in each member. Both are used again only while the fleet says that
//! they still hold, so that a planner never changes an answer, only its cost.

mod copies;

use std::{cell::RefCell, sync::Arc};

use crate::{
    Assignment, Cause, Decision, DivideBy, Fleet, Mode, Note, Report, Request, Shortfall, Standby,
    Unplaceable,
    candidate::{Candidate, candidates},
    choose::Want,
    filter::Selected,
    kept::Kept,
    losses::Replacer,
    report::Row,
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
    kept: Kept,
    /// Memory of the last candidates: large fleets would give it back and ask for it each time.
    list: Vec<Candidate>,
    scratch: Scratch,
    replacer: RefCell<Replacer>,
}

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
        let (known, selected) = self.kept.select(fleet, request);
        if let Some(decision) = unchanged(fleet, request, &selected) {
            return Ok(decision);
        }
        let (list, report) = self.candidates(fleet, request, (known, &selected), key);
        let answer = self.answer(fleet, request, &list, key).decide(report);
        self.list = list;
        answer
    }

    /// Places one workload and tells of each candidate what the rules, its room and history say.
    ///
    /// # Errors
    /// The outcome is part of the answer.
    pub fn explain(&mut self, fleet: &Fleet, request: &Request, key: u64) -> Explanation {
        let (known, selected) = self.kept.select(fleet, request);
        let (list, report) = self.candidates(fleet, request, (known, &selected), key);
        let outcome = match unchanged(fleet, request, &selected) {
            Some(decision) => Ok(Decision { report, ..decision }),
            None => self.answer(fleet, request, &list, key).decide(report),
        };
        let rows = list.iter().map(|candidate| row(fleet, candidate, outcome.as_ref().ok()));
        Explanation { rows: rows.collect(), outcome }
    }

    const fn answer<'a>(
        &'a self,
        fleet: &'a Fleet,
        request: &'a Request,
        candidates: &'a [Candidate],
        key: u64,
    ) -> Answer<'a> {
        let (scratch, replacer) = (&self.scratch, &self.replacer);
        Answer { fleet, request, candidates, key, scratch, replacer }
    }

    fn candidates(
        &mut self,
        fleet: &Fleet,
        request: &Request,
        selected: (u64, &Arc<Selected>),
        key: u64,
    ) -> (Vec<Candidate>, Report) {
        let list = std::mem::take(&mut self.list);
        let (rows, column) = self.kept.rows(fleet, selected, &request.needs);
        candidates(fleet, request, selected.1, rows, key, list, |at| column.fits(fleet, at))
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
    key: u64,
    scratch: &'a Scratch,
    replacer: &'a RefCell<Replacer>,
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
        // A quota keeps more from being added and takes nothing away.
        let stands = u32::try_from(request.previous.total()).unwrap_or(u32::MAX);
        let quota = request.quota.map_or(u32::MAX, |quota| quota.max(stands));
        let replicas = request.replicas.min(quota);
        if replicas < request.replicas && (!request.partial || replicas == 0) {
            let shortfall = self.shortfall(u64::from(request.replicas - replicas));
            return Err(Unplaceable { why: Cause::TenantQuota(replicas), report, shortfall });
        }
        let by_weight = matches!(strategy, DivideBy::Weighted(given) if !given.is_empty());
        let want = Want::new(&request.rules.spread, Some(replicas), by_weight);
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
        self.keep_running(&mut tried, &mut counts);
        let notes = self.notes(&tried, &counts);
        // Enough running elsewhere may have found a place for more.
        let missing = u64::from(request.replicas) - counts.placed;
        let shortfall = (missing > 0).then(|| self.shortfall(missing));
        let decision = self.decision(&counts, report, notes, shortfall);
        let replacer = &mut *self.replacer.borrow_mut();
        let found =
            survive::broken(self.fleet, self.candidates, request, &counts, (replacer, self.key));
        match found {
            Some((domain, missing)) => {
                let shortfall = self.shortfall(u64::from(missing));
                survive::answer(decision, request, domain, missing, shortfall)
            }
            None => Ok(decision),
        }
    }

    /// Where enough has to run elsewhere when a domain is lost, spreads what was counted; with room
    /// that members add, where ready room does not suffice.
    fn keep_running(&self, tried: &mut Try<'_>, counts: &mut Counts) {
        let survive = self.request.rules.survive.as_ref();
        let Some(survive) = survive.filter(|survive| survive.standby == Standby::Running) else {
            return;
        };
        let grow = !tried.elastic && self.candidates.iter().any(|one| one.fits.elastic > 0);
        for elastic in std::iter::once(tried.elastic).chain(grow.then_some(true)) {
            let spread = Try { elastic, ..*tried };
            if let Some(kept) = survive::keep_running(self.fleet, survive, &spread, counts) {
                (*tried, *counts) = (spread, kept);
                return;
            }
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
        if tried.steady && !self.request.previous.is_empty() {
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
        let many = counts.each.iter().filter(|count| **count > 0).count();
        let mut entries = Vec::with_capacity(many);
        let used = self.candidates.iter().zip(&counts.each).filter(|(_, count)| **count > 0);
        entries.extend(used.map(|(candidate, count)| (self.name(candidate), *count)));
        Decision { assignment: Assignment::from_sorted(entries), report, shortfall, notes }
    }

    fn shortfall(&self, replicas: u64) -> Shortfall {
        let none = crate::Resources::default();
        Shortfall {
            replicas: u32::try_from(replicas).unwrap_or(u32::MAX),
            missing: none.plus(&self.request.needs.request, replicas),
        }
    }
}
