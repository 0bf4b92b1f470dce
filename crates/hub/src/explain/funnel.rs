//! The engine's explanation in terms of people. Pure.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use hanse_scheduler::{
    Decision, DivideBy, Enforce, Explanation, Fleet, Mode, Note, Planner, Request, Rules, Standby,
    TierMode, Topology,
};

use super::report::{
    Funnel, History, Outcome, Rejected, Row, Said, SpreadOver, SurviveCheck, Tier,
};
use crate::room::quantities;

/// Makes a decision and tells all of it. Nothing is reserved.
pub fn funnel(planner: &mut Planner, fleet: &Fleet, request: &Request, key: u64) -> Funnel {
    let told = planner.explain(fleet, request, key);
    let afresh = afresh(planner, fleet, request, key);
    tell(fleet, request, &told, afresh.as_ref())
}

/// The decision if nothing stood anywhere; absent when history plays no part. What stands keeps
/// its room, so that both are over the same fleet.
fn afresh(planner: &mut Planner, fleet: &Fleet, request: &Request, key: u64) -> Option<Decision> {
    let matters = request.rules.steady
        && request.previous.total() > 0
        && matches!(request.mode, Mode::Divide(_));
    if !matters {
        return None;
    }
    let rules = Arc::new(Rules { steady: false, ..Rules::clone(&request.rules) });
    planner.schedule(fleet, &Request { rules, ..request.clone() }, key).ok()
}

/// Puts the engine's words into a funnel.
pub(super) fn tell(
    fleet: &Fleet,
    request: &Request,
    told: &Explanation,
    afresh: Option<&Decision>,
) -> Funnel {
    let rules = &request.rules;
    let report = match &told.outcome {
        Ok(decision) => &decision.report,
        Err(refusal) => &refusal.report,
    };
    let clusters = rows(request, told, afresh);
    Funnel {
        strategy: strategy(&request.mode).to_owned(),
        replicas: request.replicas,
        partial: request.partial,
        considered: report.considered,
        rejected: report
            .rejected
            .iter()
            .map(|entry| Rejected {
                reason: entry.reason.as_str().to_owned(),
                count: entry.count,
                names: entry.examples.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        tier_mode: match rules.tier_mode {
            TierMode::Fallback => "Fallback",
            TierMode::Overflow => "Overflow",
        }
        .to_owned(),
        tiers: tiers(rules, &clusters),
        spread: spread(fleet, rules, &clusters),
        history: history(request, &clusters),
        survive: survive(fleet, request, told, &clusters),
        quota: request.quota,
        held_for: Vec::new(),
        outcome: outcome(told),
        clusters,
    }
}

const fn strategy(mode: &Mode) -> &'static str {
    match mode {
        Mode::Divide(DivideBy::Capacity) => "divided by free room",
        Mode::Divide(DivideBy::Weighted(_)) => "divided by weight",
        Mode::Divide(DivideBy::Pack) => "packed into few clusters",
        Mode::Duplicate => "all of them in every cluster",
        Mode::Whole => "all of them in one cluster",
        Mode::Everywhere => "in every cluster",
    }
}

fn rows(request: &Request, told: &Explanation, afresh: Option<&Decision>) -> Vec<Row> {
    let weighted = matches!(request.mode, Mode::Divide(DivideBy::Weighted(_)));
    let row = |row: &hanse_scheduler::Row| Row {
        name: row.member.to_string(),
        tier: usize::from(row.tier) + 1,
        weight: weighted.then_some(row.weight),
        min: row.min,
        max: row.max,
        fits: row.fits,
        elastic: row.elastic,
        held: row.previous,
        closed: row.closed,
        count: row.count,
        afresh: afresh.map(|decision| decision.assignment.of(&row.member)),
    };
    told.rows.iter().map(row).collect()
}

impl Row {
    /// Most replicas that it may hold; absent: nothing known bounds it.
    pub fn most(&self) -> Option<u64> {
        let held = u64::from(self.held);
        let room = if self.closed {
            Some(held)
        } else {
            self.fits.map(|fits| held + u64::from(fits) + u64::from(self.elastic))
        };
        match (room, self.max.map(u64::from)) {
            (Some(room), Some(max)) => Some(room.min(max)),
            (room, max) => room.or(max),
        }
    }
}

fn tiers(rules: &Rules, rows: &[Row]) -> Vec<Tier> {
    (1..=rules.tiers.len().max(1))
        .map(|tier| {
            let of_tier: Vec<&Row> = rows.iter().filter(|row| row.tier == tier).collect();
            let most = of_tier.iter().map(|row| row.most());
            Tier {
                tier,
                clusters: of_tier.len(),
                room: most.sum(),
                replicas: of_tier.iter().map(|row| u64::from(row.count)).sum(),
            }
        })
        .collect()
}

fn domain(fleet: &Fleet, key: &Topology, name: &str) -> Option<String> {
    let domain = key.of(fleet.get(name)?);
    (!domain.is_empty()).then(|| domain.to_owned())
}

fn spread(fleet: &Fleet, rules: &Rules, rows: &[Row]) -> Vec<SpreadOver> {
    let over = |spread: &hanse_scheduler::Spread| {
        let domains = |counts: &dyn Fn(&Row) -> bool| -> Vec<String> {
            let rows = rows.iter().filter(|row| counts(row));
            let set: BTreeSet<String> =
                rows.filter_map(|row| domain(fleet, &spread.key, &row.name)).collect();
            set.into_iter().collect()
        };
        SpreadOver {
            key: spread.key.as_str().to_owned(),
            min: spread.min,
            max: spread.max,
            possible: domains(&|row| row.most() != Some(0)),
            used: domains(&|row| row.count > 0),
        }
    };
    rules.spread.iter().map(over).collect()
}

fn history(request: &Request, rows: &[Row]) -> History {
    let kept = rows.iter().map(|row| u64::from(row.held.min(row.count))).sum();
    let beyond =
        rows.iter().filter_map(|row| Some(u64::from(row.count.saturating_sub(row.afresh?))));
    History {
        steady: request.rules.steady,
        held: request.previous.total(),
        kept,
        changed: beyond.sum(),
        leaving: request.leaving.iter().map(ToString::to_string).collect(),
    }
}

fn survive(
    fleet: &Fleet,
    request: &Request,
    told: &Explanation,
    rows: &[Row],
) -> Option<SurviveCheck> {
    let survive = request.rules.survive.as_ref()?;
    let mut domains: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.count > 0) {
        let name = domain(fleet, &survive.domain, &row.name).unwrap_or_else(|| row.name.clone());
        *domains.entry(name).or_default() += u64::from(row.count);
    }
    let broken = match &told.outcome {
        Ok(decision) => decision.notes.iter().find_map(|note| match note {
            Note::WouldNotSurvive(domain, missing) => Some((domain.to_string(), *missing)),
            _ => None,
        }),
        Err(refusal) => match &refusal.why {
            hanse_scheduler::Cause::WouldNotSurvive { domain, missing } => {
                Some((domain.to_string(), *missing))
            }
            _ => None,
        },
    };
    let share = u64::from(request.replicas) * u64::from(survive.min_percent.min(100));
    Some(SurviveCheck {
        domain: survive.domain.as_str().to_owned(),
        needed: u32::try_from(share.div_ceil(100)).unwrap_or(u32::MAX),
        standby: match survive.standby {
            Standby::Spare => "Spare",
            Standby::Running => "Running",
        }
        .to_owned(),
        enforce: match survive.enforce {
            Enforce::Warn => "Warn",
            Enforce::Require => "Require",
        }
        .to_owned(),
        domains,
        broken,
    })
}

pub(super) fn outcome(told: &Explanation) -> Outcome {
    let (placed, reason, message, shortfall, notes) = match &told.outcome {
        Ok(decision) => {
            let reason = if decision.shortfall.is_some() { "Partial" } else { "Scheduled" };
            let replicas = decision.assignment.total();
            let clusters = decision.assignment.iter().len();
            let message = match clusters {
                1 => format!("{replicas} replicas in 1 cluster"),
                _ => format!("{replicas} replicas in {clusters} clusters"),
            };
            let notes = decision.notes.iter().map(words).collect();
            (true, reason, message, decision.shortfall.as_ref(), notes)
        }
        Err(refusal) => {
            let message = refusal.why.to_string();
            (false, refusal.why.as_str(), message, Some(&refusal.shortfall), Vec::new())
        }
    };
    Outcome {
        placed,
        reason: reason.to_owned(),
        message,
        short: shortfall.map_or(0, |shortfall| u64::from(shortfall.replicas)),
        missing: shortfall.map(|short| quantities(&short.missing)).unwrap_or_default(),
        notes,
    }
}

fn words(note: &Note) -> Said {
    let message = match note {
        Note::Unchanged => "what stands may stand: no other cluster had to be looked at".to_owned(),
        Note::LaterTier(tier) => {
            format!("all is in tier {}: the tiers before it cannot hold it", tier + 1)
        }
        Note::Displaced(count) => format!(
            "{count} running replicas have to move: a bound or the spread no longer lets them stay"
        ),
        Note::Elastic(count) => format!("{count} replicas wait for nodes that clusters add"),
        Note::SearchBounded => {
            "with two spread keys not every combination of domains was tried".to_owned()
        }
        Note::WouldNotSurvive(domain, missing) => {
            format!("the loss of {domain} would leave {missing} replicas too few")
        }
    };
    Said { reason: note.as_str().to_owned(), message }
}
