//! Why replicas have no place, in words for whoever reads the binding.

use hanse_api::{ClusterReplicas, DecisionNote, conditions::reason};
use hanse_scheduler::{Cause, Report, Shortfall as Short, Unplaceable};

use super::{Seen, Work};
use crate::room::quantities;

/// So many members are named in notes at most.
const MOST: usize = 4;

/// Notes where work stays because of its data although its member is to be left.
pub(super) fn note_data(seen: &Seen, held: &[ClusterReplicas], notes: &mut Vec<DecisionNote>) {
    notes.retain(|note| note.reason != reason::HOLDS_DATA);
    let unsaid = seen.policy.as_ref().is_none_or(|policy| policy.failover.mode.is_none());
    if !unsaid || !seen.template.as_ref().is_some_and(|template| template.holds_data) {
        return;
    }
    let waits = held.iter().filter(|cluster| {
        let order = seen.evacuations.get(&cluster.name);
        cluster.replicas > 0 && order.is_some_and(|order| !order.manual_too)
    });
    notes.extend(waits.take(MOST).map(|cluster| DecisionNote {
        reason: reason::HOLDS_DATA.to_owned(),
        message: format!(
            "{} replicas stay in {}, which is to be left: they mount volumes, whose data would \
             not come along; `hanse drain cluster {}` moves them, or failover.mode: Automatic \
             in the policy",
            cluster.replicas, cluster.name, cluster.name
        ),
    }));
}

/// Of work that goes whole to one cluster.
pub(super) const WHOLE: &str = "it goes whole to one cluster, and all of it stops when that one is \
                                lost; whether another could take it is not kept: only work that \
                                is divided survives";

impl Work<'_> {
    pub(super) fn refusal_words(&self, refusal: &Unplaceable) -> String {
        match &refusal.why {
            Cause::NoRoom => self.short_words(&refusal.shortfall, &refusal.report),
            none @ Cause::NoClusterFits => format!("{none}: {}", refusal.report.in_words()),
            other => {
                let report = &refusal.report;
                let ruled_out = match report.rejected.as_slice() {
                    [] => String::new(),
                    _ => format!(": {}", report.in_words()),
                };
                format!(
                    "{} of {} replicas are not placed: {other}; {} clusters considered{ruled_out}",
                    refusal.shortfall.replicas, self.request.replicas, report.considered,
                )
            }
        }
    }

    pub(super) fn short_words(&self, short: &Short, report: &Report) -> String {
        let missing: Vec<String> = quantities(&short.missing)
            .into_iter()
            .map(|(name, amount)| format!("{name} {amount}"))
            .collect();
        let missing =
            if missing.is_empty() { "room for pods".to_owned() } else { missing.join(", ") };
        format!(
            "{} of {} replicas have no room; missing: {missing}; {} clusters considered: {}",
            short.replicas,
            self.request.replicas,
            report.considered,
            self.why(report)
        )
    }

    /// Why clusters were ruled out, or that none was.
    fn why(&self, report: &Report) -> String {
        if !report.rejected.is_empty() {
            report.in_words()
        } else if self.request.rules.bounds.is_empty() {
            "the possible clusters are full".to_owned()
        } else {
            "the possible clusters are full or at their max".to_owned()
        }
    }
}
