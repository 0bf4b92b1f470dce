//! Why replicas have no place, in words for whoever reads the binding.

use hanse_scheduler::{Cause, Report, Shortfall as Short, Unplaceable};

use super::Work;
use crate::room::quantities;

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
