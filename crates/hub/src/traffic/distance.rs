//! How far regions are from each other: what is configured, else what gateways measure of each
//! other. A measurement counts until another one differs clearly, so that the order of clusters
//! does not follow every late answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_api::MemberCluster;
use hanse_rt::Mono;
use hanse_xds::report::Seen;
use kube::ResourceExt as _;

use super::RoundTrips;

/// Older observations say nothing new.
const FRESH: Duration = Duration::from_secs(5);
/// Measured times are told in steps of so many microseconds: what is nearer to each other than
/// that is equally far, and stands in order of name.
const STEP_MICROS: u64 = 10_000;
/// A change counts above this many microseconds, and above a quarter of what was known.
const CLEAR_MICROS: u64 = 1000;

/// Distances between regions.
#[derive(Debug)]
pub(super) struct Distances {
    configured: RoundTrips,
    measured: RoundTrips,
}

impl Distances {
    pub(super) const fn new(configured: RoundTrips) -> Self {
        Self { configured, measured: RoundTrips::new() }
    }

    /// What counts now.
    pub(super) fn all(&self) -> RoundTrips {
        let step = |micros: &u64| micros / STEP_MICROS * STEP_MICROS;
        let measured = self.measured.iter().map(|(pair, micros)| (pair.clone(), step(micros)));
        measured.chain(self.configured.clone()).collect()
    }

    /// Takes in what gateways have measured, by observer and target; whether anything changed.
    pub(super) fn measure(
        &mut self,
        members: &[Arc<MemberCluster>],
        seen: &BTreeMap<(String, String), Seen>,
        now: Mono,
    ) -> bool {
        let regions: BTreeMap<String, &String> =
            members.iter().map(|member| (member.name_any(), &member.spec.region)).collect();
        // The least of all pairs of members is closest to the way itself.
        let mut least: RoundTrips = RoundTrips::new();
        for ((observer, target), seen) in seen {
            let (Some(from), Some(to)) = (regions.get(observer), regions.get(target)) else {
                continue;
            };
            let Some(time) = seen.round_trip else { continue };
            if from == to || now.saturating_duration_since(seen.at) > FRESH {
                continue;
            }
            let pair = ((*from).min(*to).clone(), (*from).max(*to).clone());
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let known = least.entry(pair).or_insert(micros);
            *known = micros.min(*known);
        }
        let mut changed = false;
        for (pair, micros) in least {
            let known = self.measured.get(&pair);
            let clear =
                |known: &u64| known.abs_diff(micros) > CLEAR_MICROS.max(known.saturating_div(4));
            if known.is_none_or(clear) && !self.is_configured(&pair) {
                self.measured.insert(pair, micros);
                changed = true;
            }
        }
        changed
    }

    fn is_configured(&self, (from, to): &(String, String)) -> bool {
        self.configured.contains_key(&(from.clone(), to.clone()))
            || self.configured.contains_key(&(to.clone(), from.clone()))
    }
}

#[cfg(test)]
mod tests {
    use hanse_xds::Level;
    use serde_json::json;

    use super::*;

    fn members() -> Vec<Arc<MemberCluster>> {
        let of = |(name, region): (&str, &str)| {
            let member = serde_json::from_value(json!({"metadata": {"name": name},
                "spec": {"provider": "p", "region": region, "connection": {"simulated": {}}}}));
            Arc::new(member.unwrap())
        };
        [("eu-1", "eu"), ("eu-2", "eu"), ("us-1", "us"), ("asia-1", "asia")].map(of).to_vec()
    }

    fn seen(pairs: &[(&str, &str, u64)], at: Mono) -> BTreeMap<(String, String), Seen> {
        let of = |(from, to, millis): &(&str, &str, u64)| {
            let round_trip = Some(Duration::from_millis(*millis));
            let seen = Seen { level: Level::Up, at, sequence: 1, round_trip };
            (((*from).to_owned(), (*to).to_owned()), seen)
        };
        pairs.iter().map(of).collect()
    }

    fn told(distances: &Distances) -> Vec<(String, u64)> {
        let word = |((from, to), micros)| (format!("{from}-{to}"), micros / 1000);
        distances.all().into_iter().map(word).collect()
    }

    fn map(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(pair, millis)| ((*pair).to_owned(), *millis)).collect()
    }

    #[test]
    fn regions_are_as_far_as_their_closest_gateways() {
        let (mut distances, now) = (Distances::new(RoundTrips::new()), Mono::now());
        let first = [
            ("eu-1", "us-1", 95),
            ("us-1", "eu-2", 85),
            ("asia-1", "eu-1", 180),
            ("eu-1", "eu-2", 1),
            ("eu-1", "stranger", 5),
        ];
        assert!(distances.measure(&members(), &seen(&first, now), now));
        assert_eq!(told(&distances), map(&[("asia-eu", 180), ("eu-us", 80)]));
        assert!(!distances.measure(&members(), &seen(&first, now), now), "nothing new");
    }

    #[test]
    fn regions_that_are_about_as_far_are_equally_far() {
        let (mut distances, now) = (Distances::new(RoundTrips::new()), Mono::now());
        let close = [("eu-1", "us-1", 3), ("eu-1", "asia-1", 9)];
        distances.measure(&members(), &seen(&close, now), now);
        assert_eq!(told(&distances), map(&[("asia-eu", 0), ("eu-us", 0)]));
    }

    #[test]
    fn a_small_or_an_old_difference_changes_nothing_and_a_clear_one_does() {
        let (mut distances, now) = (Distances::new(RoundTrips::new()), Mono::now());
        distances.measure(&members(), &seen(&[("eu-1", "us-1", 80)], now), now);
        assert!(!distances.measure(&members(), &seen(&[("eu-1", "us-1", 99)], now), now));
        let later = now + Duration::from_secs(6);
        assert!(!distances.measure(&members(), &seen(&[("eu-1", "us-1", 200)], now), later));
        assert_eq!(told(&distances), map(&[("eu-us", 80)]), "kept while nobody measures");
        assert!(distances.measure(&members(), &seen(&[("eu-1", "us-1", 101)], now), now));
        assert_eq!(told(&distances), map(&[("eu-us", 100)]));
    }

    #[test]
    fn what_is_configured_is_not_measured() {
        let pair = ("us".to_owned(), "eu".to_owned());
        let configured = RoundTrips::from([(pair, 70_000)]);
        let (mut distances, now) = (Distances::new(configured), Mono::now());
        assert!(!distances.measure(&members(), &seen(&[("eu-1", "us-1", 200)], now), now));
        assert_eq!(told(&distances), map(&[("us-eu", 70)]));
    }
}
