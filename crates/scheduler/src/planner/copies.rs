//! Work that is not divided: a full copy in each member, everything in one, or the object alone.

use std::{ops::RangeInclusive, sync::Arc};

use super::Answer;
use crate::{
    Assignment, Cause, Decision, Mode, Note, Refusal, Report, TierMode, Unplaceable,
    candidate::Candidate,
    choose::{Item, Want, choose},
};

/// What a member may have of a work that goes to each in full.
#[derive(Clone, Copy, Debug)]
enum Copy {
    /// The full count.
    Full,
    /// What it has, because it takes nothing new.
    Kept,
    /// Not the full count. What it holds already may stay, as far as there is room.
    Short,
}

impl Answer<'_> {
    /// Each member gets the full count, or the object alone; one without room for it is left out
    /// and counted. An object without replicas goes to every tier. A copy goes to the first tier
    /// that takes one, where it stands already that one before all others; with Overflow to as
    /// many of the first ones as the spread asks for.
    pub(super) fn duplicate(&self, report: Report) -> Result<Decision, Unplaceable> {
        let request = self.request;
        let tiers = u16::try_from(request.rules.tiers.len()).unwrap_or(u16::MAX);
        if tiers <= 1 || request.mode == Mode::Everywhere {
            return self.copies(report, &(0..=u16::MAX));
        }
        let fallback = request.rules.tier_mode == TierMode::Fallback;
        let takes =
            |candidate: &Candidate| !candidate.closed && matches!(self.copy(candidate), Copy::Full);
        let stands = self.candidates.iter().filter(|c| request.rules.steady && c.holds && takes(c));
        let first = stands.map(|candidate| candidate.tier).min().unwrap_or(0);
        let (mut stays, mut refused) = (None, None);
        for tier in std::iter::once(first).chain((0..tiers).filter(|tier| *tier != first)) {
            let open = if fallback { tier..=tier } else { 0..=tier };
            let any = self.candidates.iter().any(|c| open.contains(&c.tier) && takes(c));
            match self.copies(report.clone(), &open) {
                Ok(mut decision) if any => {
                    if fallback && tier > 0 {
                        decision.notes.push(Note::LaterTier(tier));
                    }
                    return Ok(decision);
                }
                // What stands may stay where no tier takes more.
                Ok(decision) if !decision.assignment.is_empty() => stays = stays.or(Some(decision)),
                Ok(_) => {}
                Err(why) => refused = Some(why),
            }
        }
        let shortfall = self.shortfall(u64::from(request.replicas));
        let none = || Unplaceable { why: Cause::NoRoom, report, shortfall };
        stays.ok_or_else(|| refused.unwrap_or_else(none))
    }

    fn copy(&self, candidate: &Candidate) -> Copy {
        let replicas = self.asked();
        let upper = candidate.upper(true);
        if upper >= replicas {
            Copy::Full
        } else if candidate.closed {
            // What is there stays as it is; nothing new goes there.
            Copy::Kept
        } else {
            Copy::Short
        }
    }

    /// Replicas of each copy.
    fn asked(&self) -> u32 {
        if self.request.mode == Mode::Everywhere { 0 } else { self.request.replicas }
    }

    /// Copies in the tiers that are open. Copies that stand in others stay with steady, and where
    /// a member takes nothing new.
    fn copies(
        &self,
        mut report: Report,
        open: &RangeInclusive<u16>,
    ) -> Result<Decision, Unplaceable> {
        let request = self.request;
        let (steady, replicas) = (request.rules.steady, self.asked());
        let mut counts: Vec<Option<u32>> = vec![None; self.candidates.len()];
        let mut short: u64 = 0;
        for (count, candidate) in counts.iter_mut().zip(self.candidates) {
            let stays = candidate.holds && (steady || candidate.closed);
            if !open.contains(&candidate.tier) && !stays {
                continue;
            }
            *count = match self.copy(candidate) {
                Copy::Full => Some(replicas),
                Copy::Kept => candidate.holds.then_some(candidate.previous),
                Copy::Short => {
                    let upper = candidate.upper(true);
                    report.add(Refusal::NoRoom, 1, std::iter::once(self.name(candidate)));
                    short += u64::from(replicas - upper);
                    candidate.holds.then_some(upper)
                }
            };
        }
        let want = Want::new(&request.rules.spread, None, false);
        if !want.is_empty()
            && let Err(why) = self.choose_copies(&want, &mut counts)
        {
            return Err(Unplaceable { why, report, shortfall: self.shortfall(short) });
        }
        let many = counts.iter().flatten().count();
        let mut entries: Vec<(Arc<str>, u32)> = Vec::with_capacity(many);
        let pairs = self.candidates.iter().zip(counts);
        entries.extend(pairs.filter_map(|(candidate, n)| Some((self.name(candidate), n?))));
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

    /// Leaves out the members that a spread does not take.
    fn choose_copies(&self, want: &Want, counts: &mut [Option<u32>]) -> Result<(), Cause> {
        let pairs = self.candidates.iter().zip(&*counts).enumerate();
        let items = pairs.filter(|(_, (_, count))| count.is_some()).map(|(of, (candidate, _))| {
            // Each holds the full count: only which members is to be chosen.
            let base = u32::from(self.request.rules.steady && candidate.holds);
            Item { of, base, low: 0, upper: candidate.upper(true).max(1), hard: 0 }
        });
        let items: Vec<Item> = items.collect();
        let chosen = choose(self.candidates, items.clone(), want, 0, false)?;
        for item in items {
            if chosen.items.binary_search_by_key(&item.of, |item| item.of).is_err() {
                counts[item.of] = None;
            }
        }
        Ok(())
    }

    /// One member gets everything.
    pub(super) fn whole(&self, report: Report) -> Result<Decision, Unplaceable> {
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
    pub(super) fn scaled_to_zero(&self, report: Report) -> Decision {
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
}
