//! Counters of the hub. A decision's reason is a label here, the reason of a condition on the
//! object and a word in `hanse explain`: one name everywhere.

use hanse_rt::{
    Metrics,
    metrics::{Counters, Histograms},
};

/// Counter of decisions by reason.
pub const DECISIONS: &str = "hanse_placement_decisions";
/// Counter of promises that decisions broke: a series of it is a fault of the scheduler.
pub const VIOLATIONS: &str = "hanse_placement_violations";

/// Counters of the hub.
#[derive(Clone, Debug)]
pub(crate) struct HubMetrics {
    decisions: Counters,
    violations: Counters,
    writes: Counters,
    refusals: Counters,
    apply_seconds: Histograms,
}

impl HubMetrics {
    /// Registers them.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            decisions: metrics.counters(DECISIONS, "Placement decisions by reason"),
            violations: metrics.counters(
                VIOLATIONS,
                "Promises that placement decisions broke, by an independent check: always 0",
            ),
            writes: metrics.counters("hanse_member_writes", "Writes to members by result"),
            refusals: metrics.counters(
                "hanse_rule_refusals",
                "Copies that rules forbid or fail to make, by reason",
            ),
            apply_seconds: metrics
                .histograms("hanse_member_write_seconds", "Time of writes to members"),
        }
    }

    /// Counts a decision.
    pub(crate) fn decided(&self, reason: &str) {
        self.decisions.get_or_create(&vec![("reason", reason.to_owned())]).inc();
    }

    /// Counts a copy that a rule forbids or fails to make.
    pub(crate) fn refused(&self, reason: &str) {
        self.refusals.get_or_create(&vec![("reason", reason.to_owned())]).inc();
    }

    /// Counts a promise that a decision broke.
    pub(crate) fn violated(&self, violation: &str) {
        self.violations.get_or_create(&vec![("violation", violation.to_owned())]).inc();
    }

    /// Counts a write to a member.
    pub(crate) fn wrote(&self, member: &str, result: &str, took: std::time::Duration) {
        let labels = vec![("member", member.to_owned()), ("result", result.to_owned())];
        self.writes.get_or_create(&labels).inc();
        self.apply_seconds
            .get_or_create(&vec![("member", member.to_owned())])
            .observe(took.as_secs_f64());
    }
}
