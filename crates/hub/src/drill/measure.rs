//! What a drill measures, from samples to figures. Pure: samples and instants in, figures out.

use std::{collections::BTreeSet, time::Duration};

use hanse_api::{DrillMeasured, Entered, Percentiles};

/// One request that the drill sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sample {
    /// When it was due, counted from the start of the fault; a slow answer counts from here.
    pub(super) due: Duration,
    /// The cluster by whose gateway it entered.
    pub(super) entered: String,
    /// The cluster that answered well, if any did.
    pub(super) answered: Option<String>,
    /// From due to answered.
    pub(super) took: Duration,
}

/// An answer that took longer than this was slow.
const SLOW: Duration = Duration::from_secs(1);

/// Sums samples up as they come; its size does not grow with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Measure {
    target: BTreeSet<String>,
    elsewhere: Entered,
    there: Entered,
    slow: i64,
    last_unshifted: Option<Duration>,
    /// How long the fault lasts; after it the target may answer again.
    lasts: Option<Duration>,
    used_target_before: i64,
}

impl Measure {
    /// Measures the loss of these clusters.
    pub(super) fn of(target: BTreeSet<String>) -> Self {
        Self { target, ..Self::default() }
    }

    /// Says how long the fault lasts. Until then every request counts.
    pub(super) const fn fault_lasts(&mut self, lasts: Duration) {
        self.lasts = Some(lasts);
    }

    /// Takes one request that was due before the fault, when all was well.
    pub(super) fn take_before(&mut self, entered: &str, answered: Option<&str>) {
        let used = !self.target.contains(entered)
            && answered.is_some_and(|cluster| self.target.contains(cluster));
        self.used_target_before += i64::from(used);
    }

    /// Takes one sample. What was due after the fault is no part of the measurement.
    pub(super) fn take(&mut self, sample: &Sample) {
        let over = |at: Duration| self.lasts.is_some_and(|lasts| at >= lasts);
        if over(sample.due) {
            return;
        }
        let answered_after = over(sample.due + sample.took);
        let failed = sample.answered.is_none();
        let count = if self.target.contains(&sample.entered) {
            &mut self.there
        } else {
            &mut self.elsewhere
        };
        count.requests += 1;
        count.errors += i64::from(failed);
        self.slow += i64::from(sample.took > SLOW);
        if self.target.contains(&sample.entered) {
            return;
        }
        let by_target = sample.answered.as_ref().is_some_and(|name| self.target.contains(name));
        // An answer of the target that comes after the fault does not say where it was sent before.
        if (by_target && !answered_after) || failed {
            self.last_unshifted = self.last_unshifted.max(Some(sample.due));
        }
    }

    /// Requests that entered elsewhere and failed, in a million; none before the first request.
    pub(super) fn errors_per_million(&self) -> Option<i64> {
        let Entered { requests, errors } = self.elsewhere;
        (requests > 0).then(|| errors * 1_000_000 / requests)
    }

    /// The figures. `detected` is the time from fault to verdict, `replaced` the time from fault
    /// to all replicas ready elsewhere, for each workload that had any in the target.
    pub(super) fn figures(
        &self,
        detected: Option<Duration>,
        replaced: &[Duration],
    ) -> DrillMeasured {
        DrillMeasured {
            detected_milliseconds: detected.map(milliseconds),
            traffic_shifted_milliseconds: Some(self.last_unshifted.map_or(0, milliseconds)),
            used_target_before: self.used_target_before,
            replaced_milliseconds: percentiles(replaced),
            requests: self.elsewhere.requests + self.there.requests,
            errors: self.elsewhere.errors + self.there.errors,
            slow: self.slow,
            entered_elsewhere: self.elsewhere,
            entered_there: self.there,
        }
    }
}

/// Whole milliseconds, saturating.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Percentiles by the nearest-rank method; none of nothing.
fn percentiles(times: &[Duration]) -> Option<Percentiles> {
    let mut sorted: Vec<i64> = times.iter().copied().map(milliseconds).collect();
    sorted.sort_unstable();
    let rank = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    };
    Some(Percentiles { p50: rank(50)?, p99: rank(99)?, max: rank(100)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(due: u64, entered: &str, answered: Option<&str>) -> Sample {
        Sample {
            due: Duration::from_millis(due),
            entered: entered.to_owned(),
            answered: answered.map(str::to_owned),
            took: Duration::from_millis(5),
        }
    }

    #[test]
    fn the_shift_ends_with_the_last_request_that_the_target_answered_or_nobody_did() {
        let mut measure = Measure::of(BTreeSet::from(["a".to_owned()]));
        for (due, answered) in [(0, Some("a")), (400, Some("a")), (700, None), (900, Some("b"))] {
            measure.take(&sample(due, "b", answered));
        }
        measure.take(&sample(5000, "a", None));
        let figures = measure.figures(None, &[]);
        assert_eq!(figures.traffic_shifted_milliseconds, Some(700));
        assert_eq!(figures.entered_elsewhere, Entered { requests: 4, errors: 1 });
        assert_eq!(figures.entered_there, Entered { requests: 1, errors: 1 });
        assert_eq!(measure.errors_per_million(), Some(250_000));
    }

    #[test]
    fn answers_of_the_target_after_the_fault_are_not_of_the_shift() {
        let mut measure = Measure::of(BTreeSet::from(["a".to_owned()]));
        measure.fault_lasts(Duration::from_secs(20));
        for (due, took, answered) in
            [(600, 5, Some("a")), (19_990, 15, Some("a")), (19_995, 5, None), (20_001, 5, None)]
        {
            let took = Duration::from_millis(took);
            measure.take(&Sample { took, ..sample(due, "b", answered) });
        }
        let figures = measure.figures(None, &[]);
        assert_eq!(figures.traffic_shifted_milliseconds, Some(19_995));
        assert_eq!(figures.entered_elsewhere, Entered { requests: 3, errors: 1 });
        let mut measure = Measure::of(BTreeSet::from(["a".to_owned()]));
        measure.fault_lasts(Duration::from_secs(20));
        measure.take(&sample(600, "b", Some("a")));
        let late = Sample { took: Duration::from_secs(5), ..sample(15_000, "b", Some("a")) };
        measure.take(&late);
        assert_eq!(measure.figures(None, &[]).traffic_shifted_milliseconds, Some(600));
    }

    #[test]
    fn only_requests_from_elsewhere_that_the_target_answered_exercise_the_shift() {
        let mut measure = Measure::of(BTreeSet::from(["a".to_owned()]));
        measure.take_before("b", Some("a"));
        measure.take_before("b", Some("b"));
        measure.take_before("a", Some("a"));
        measure.take_before("b", None);
        let figures = measure.figures(None, &[]);
        assert_eq!((figures.used_target_before, figures.requests), (1, 0));
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentiles(&times), Some(Percentiles { p50: 50, p99: 99, max: 100 }));
        assert_eq!(percentiles(&[]), None);
    }
}
