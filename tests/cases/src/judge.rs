//! Same, differing by a rule, or wrong. Each rule is a property that the recorded answer lacks, or
//! that ours has beside it.

use std::collections::{BTreeMap, BTreeSet};

use hanse_scheduler::{Decision, DivideBy, Member, Mode, Request, Topology, Unplaceable, Weight};

use crate::{recorded::Case, translate::member};

/// What was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Both answers are the same.
    Same,
    /// They differ, and ours is better by this rule.
    Differs(Rule),
    /// Ours breaks a promise, or nothing explains the difference.
    Wrong(String),
}

/// Why an answer of ours may differ, and why that is better. The list is closed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// The recorded answer puts more on a cluster than fits there (static weights and duplicated
    /// work look at no room). Ours never does: such replicas would only wait.
    RoomIsRespected,
    /// The recorded answer stands in fewer or more domains than the constraint says (static
    /// weights, zones and providers, a cluster maximum below the regions). Ours holds every one.
    SpreadHolds,
    /// The recorded scheduler refuses what can be placed (zones or providers alone, regions chosen
    /// without a look at what the cluster maximum lets them use). Ours finds the placement.
    FeasibleIsPlaced,
    /// The recorded answer moves running replicas though none has to move (static weights
    /// recomputed at each change, aggregation of what runs). Ours moves only what has to.
    SteadyMovesNothing,
    /// Aggregated: the recorded answer divides by weight among the fewest clusters. Ours fills
    /// one after the other, which leaves the last ones the most room for what comes.
    PackFills,
    /// Both spreads are valid, and ours stands on more domains that the constraint admits, or on
    /// clusters with more room: the recorded scheduler takes the smallest set of regions.
    SpreadUsesWhatItMay,
    /// Both divisions are exact for the same weights; they differ in who gets an odd replica. Ours
    /// goes by a hash of workload and cluster, so that no cluster wins or loses always.
    TieByKey,
    /// The recorded answer adds replicas on a cluster whose taint the work does not tolerate,
    /// because some run there. Ours keeps what runs there and adds nothing.
    ClosedTakesNothing,
    /// The recorded scheduler takes the object away everywhere when it is scaled to zero. Ours
    /// leaves it in place with no replicas, so that scaling up finds it there.
    ZeroStaysInPlace,
    /// The recorded scheduler empties the placement when no cluster passes its filters. Ours keeps
    /// what runs.
    PlacementIsKept,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 10] = [
        Self::RoomIsRespected,
        Self::SpreadHolds,
        Self::FeasibleIsPlaced,
        Self::SteadyMovesNothing,
        Self::PackFills,
        Self::SpreadUsesWhatItMay,
        Self::TieByKey,
        Self::ClosedTakesNothing,
        Self::ZeroStaysInPlace,
        Self::PlacementIsKept,
    ];

    /// The rule's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoomIsRespected => "RoomIsRespected",
            Self::SpreadHolds => "SpreadHolds",
            Self::FeasibleIsPlaced => "FeasibleIsPlaced",
            Self::SteadyMovesNothing => "SteadyMovesNothing",
            Self::PackFills => "PackFills",
            Self::SpreadUsesWhatItMay => "SpreadUsesWhatItMay",
            Self::TieByKey => "TieByKey",
            Self::ClosedTakesNothing => "ClosedTakesNothing",
            Self::ZeroStaysInPlace => "ZeroStaysInPlace",
            Self::PlacementIsKept => "PlacementIsKept",
        }
    }
}

type Counts = BTreeMap<String, u32>;

/// Judges an answer that keeps all promises.
pub(crate) fn judge(
    case: &Case,
    request: &Request,
    answer: &Result<Decision, Unplaceable>,
) -> Verdict {
    let theirs: Counts = case.result.iter().map(|r| (r.cluster.clone(), r.replicas)).collect();
    let theirs = Side { case, request, counts: theirs };
    match (answer, case.error_kind.as_deref()) {
        (Err(_), Some("nofit")) if !case.previous.is_empty() => {
            Verdict::Differs(Rule::PlacementIsKept)
        }
        (Err(_), Some(_)) => Verdict::Same,
        (Ok(decision), Some(_)) => {
            let counts = decision.assignment.iter().map(|(n, c)| (n.to_string(), c)).collect();
            let ours = Side { case, request, counts };
            first(
                &[(Rule::FeasibleIsPlaced, !ours.is_plain())],
                "a plain division by free room is placed that was refused",
            )
        }
        (Err(refusal), None) => {
            let rules = [
                (Rule::RoomIsRespected, theirs.exceeds_room()),
                (Rule::SpreadHolds, theirs.breaks_spread()),
                (Rule::SteadyMovesNothing, theirs.moves_running()),
            ];
            first(&rules, &format!("ours refuses: {}", refusal.why))
        }
        (Ok(decision), None) => {
            let counts = decision.assignment.iter().map(|(n, c)| (n.to_string(), c)).collect();
            compare(&Side { case, request, counts }, &theirs)
        }
    }
}

fn first(rules: &[(Rule, bool)], otherwise: &str) -> Verdict {
    match rules.iter().find(|(_, holds)| *holds) {
        Some((rule, _)) => Verdict::Differs(*rule),
        None => Verdict::Wrong(otherwise.to_owned()),
    }
}

fn compare(ours: &Side<'_>, theirs: &Side<'_>) -> Verdict {
    let empty_means_nothing = matches!(ours.request.mode, Mode::Divide(_));
    let plain = |side: &Side<'_>| -> Counts {
        let entries = side.counts.iter().filter(|(_, count)| !empty_means_nothing || **count > 0);
        entries.map(|(name, count)| (name.clone(), *count)).collect()
    };
    if plain(ours) == plain(theirs) {
        return Verdict::Same;
    }
    if !matches!(ours.request.mode, Mode::Divide(_)) {
        let nothing = ours.request.replicas == 0 && theirs.counts.is_empty();
        let rules = [
            (Rule::ZeroStaysInPlace, nothing && ours.runs_nothing()),
            (Rule::RoomIsRespected, theirs.exceeds_room()),
            (Rule::SpreadHolds, theirs.breaks_spread()),
            (Rule::ClosedTakesNothing, theirs.grows_where_closed()),
            (Rule::SpreadUsesWhatItMay, ours.uses_more_of_its_spread(theirs)),
            (
                Rule::TieByKey,
                ours.request.rules.spread.iter().any(|spread| spread.max.is_some())
                    && ours.counts.len() == theirs.counts.len()
                    && !ours.drops_more_than(theirs),
            ),
        ];
        return first(&rules, "duplicated work stands on other clusters");
    }
    if ours.is_plain() {
        // Free room decides over all clusters, or over the best few: nothing but ties may differ.
        let rules = [
            (Rule::ClosedTakesNothing, theirs.grows_where_closed()),
            (Rule::TieByKey, ours.is_exact() && theirs.is_exact() && ours.is_tied_with(theirs)),
        ];
        return first(&rules, "a plain division by free room differs");
    }
    let pack = matches!(ours.request.mode, Mode::Divide(DivideBy::Pack));
    let rules = [
        (Rule::RoomIsRespected, theirs.exceeds_room()),
        (Rule::SpreadHolds, theirs.breaks_spread()),
        (Rule::SteadyMovesNothing, theirs.moves_running() && !ours.moves_running()),
        (Rule::PackFills, pack && plain(ours).len() <= plain(theirs).len() && ours.is_filled()),
        (Rule::ClosedTakesNothing, theirs.grows_where_closed()),
        (Rule::SpreadUsesWhatItMay, ours.uses_more_of_its_spread(theirs)),
        (Rule::TieByKey, ours.is_exact() && theirs.is_exact() && ours.is_tied_with(theirs)),
    ];
    first(&rules, "nothing explains the difference")
}

/// One of the two answers.
struct Side<'a> {
    case: &'a Case,
    request: &'a Request,
    counts: Counts,
}

impl Side<'_> {
    fn previous(&self, cluster: &str) -> u32 {
        self.request.previous.of(cluster)
    }

    fn count(&self, cluster: &str) -> u32 {
        self.counts.get(cluster).copied().unwrap_or(0)
    }

    fn free(&self, cluster: &str) -> u64 {
        self.case.estimate.get(cluster).map_or(0, |free| u64::try_from(*free).unwrap_or(0))
    }

    /// What a cluster can hold: what runs there, and what is free beside it.
    fn room(&self, cluster: &str) -> u64 {
        self.free(cluster) + u64::from(self.previous(cluster))
    }

    /// Divided by free room, over clusters alone.
    fn is_plain(&self) -> bool {
        matches!(self.request.mode, Mode::Divide(DivideBy::Capacity))
            && self.request.rules.spread.iter().all(|spread| spread.key == Topology::Cluster)
    }

    fn exceeds_room(&self) -> bool {
        self.counts.iter().any(|(cluster, count)| u64::from(*count) > self.room(cluster))
    }

    fn domain<'b>(&'b self, key: &Topology, cluster: &'b str) -> &'b str {
        let known = self.case.clusters.iter().find(|known| known.name == cluster);
        known.map_or("", |known| match key {
            Topology::Cluster => &known.name,
            Topology::Region => &known.region,
            Topology::Provider => &known.provider,
            Topology::Zone => known.zones.iter().flatten().next().map_or("", String::as_str),
            Topology::Label(label) => known.labels.get(label).map_or("", String::as_str),
        })
    }

    fn domains(&self, key: &Topology) -> BTreeSet<&str> {
        let used = self.counts.iter().filter(|(_, count)| **count > 0);
        used.map(|(cluster, _)| self.domain(key, cluster)).collect()
    }

    fn breaks_spread(&self) -> bool {
        self.request.rules.spread.iter().any(|spread| {
            let domains = self.domains(&spread.key);
            let min = spread.min.min(self.request.replicas) as usize;
            domains.len() < min
                || domains.contains("")
                || spread.max.is_some_and(|max| domains.len() > max as usize)
        })
    }

    /// Whether replicas of a cluster that stays are moved though the whole does not need it.
    fn moves_running(&self) -> bool {
        if !self.request.rules.steady {
            return false;
        }
        let stays = |cluster: &str| {
            self.member(cluster).is_some_and(|member| {
                let tiers = &self.request.rules.tiers;
                tiers.is_empty() || tiers.iter().any(|tier| tier.admits(&member))
            }) && !self.case.evicting.iter().any(|name| name == cluster)
        };
        let kept: Vec<_> = self.request.previous.iter().filter(|(name, _)| stays(name)).collect();
        let held: u64 = kept.iter().map(|(_, count)| u64::from(*count)).sum();
        let fewer = kept.iter().any(|(name, count)| self.count(name) < *count);
        let more = self.counts.iter().any(|(name, count)| *count > self.previous(name));
        if held <= u64::from(self.request.replicas) { fewer } else { more }
    }

    /// Whether a cluster that the work does not tolerate was given more than it had.
    fn grows_where_closed(&self) -> bool {
        let tolerations = &self.case.placement.cluster_tolerations;
        self.case.clusters.iter().any(|cluster| {
            let closed = cluster.taints.iter().any(|taint| {
                taint.effect != "PreferNoSchedule"
                    && !tolerations.iter().any(|own| {
                        (own.key.is_empty() || own.key == taint.key)
                            && (own.operator == "Exists" || own.value == taint.value)
                            && (own.effect.is_empty() || own.effect == taint.effect)
                    })
            });
            closed && self.count(&cluster.name) > self.previous(&cluster.name)
        })
    }

    /// Whether the object is somewhere, and no replica runs.
    fn runs_nothing(&self) -> bool {
        !self.counts.is_empty() && self.counts.values().all(|count| *count == 0)
    }

    /// Whether it leaves clusters that hold the work, and another answer leaves fewer.
    fn drops_more_than(&self, other: &Self) -> bool {
        let dropped = |side: &Self| {
            let held = self.request.previous.iter();
            held.filter(|(name, _)| !side.counts.contains_key(&***name)).count()
        };
        dropped(self) > dropped(other)
    }

    /// Whether all clusters that are used are full, but one.
    fn is_filled(&self) -> bool {
        let used = self.counts.iter().filter(|(_, count)| **count > 0);
        used.filter(|(cluster, count)| u64::from(**count) < self.room(cluster)).count() <= 1
    }

    /// What each cluster got, its weight and its limit, in this division.
    fn shares(&self) -> Vec<(u64, u64, u64)> {
        let total: u64 = self.counts.values().map(|count| u64::from(*count)).sum();
        let held = self.request.previous.total();
        let steady = self.request.rules.steady && held > 0;
        let used = self.counts.iter().filter(|(_, count)| **count > 0);
        used.map(|(cluster, count)| {
            let (count, own) = (u64::from(*count), u64::from(self.previous(cluster)));
            let free = self.free(cluster);
            match &self.request.mode {
                Mode::Divide(DivideBy::Weighted(weights)) => {
                    (count, self.given(cluster, weights), free + own)
                }
                _ if steady && total >= held => (count.saturating_sub(own), free, free),
                _ if steady => (count, own, own),
                _ => (count, free + own, free + own),
            }
        })
        .collect()
    }

    fn member(&self, cluster: &str) -> Option<Member> {
        let known = self.case.clusters.iter().find(|known| known.name == cluster)?;
        member(known, &self.request.kind).ok()
    }

    fn given(&self, cluster: &str, weights: &[Weight]) -> u64 {
        let member = self.member(cluster);
        let entry = member.and_then(|m| weights.iter().find(|entry| entry.clusters.admits(&m)));
        if weights.is_empty() { 1 } else { entry.map_or(0, |entry| u64::from(entry.weight)) }
    }

    /// Whether no replica could change hands without making the division worse (Webster).
    fn is_exact(&self) -> bool {
        if self.moves_running() {
            return false;
        }
        let shares = self.shares();
        shares.iter().all(|(count, weight, _)| {
            *count == 0
                || shares.iter().all(|(other, theirs, limit)| {
                    other >= limit || weight * (2 * other + 1) >= theirs * (2 * count - 1)
                })
        })
    }

    /// Whether the answers differ by replicas that equal quotients decide, on clusters that are as
    /// good as each other.
    fn is_tied_with(&self, other: &Self) -> bool {
        let sorted = |side: &Side<'_>| {
            let mut shares = side.shares();
            shares.sort_unstable();
            shares
        };
        let values = |side: &Side<'_>| {
            let mut values: Vec<(u64, u64)> =
                side.shares().into_iter().map(|(_, weight, limit)| (weight, limit)).collect();
            values.sort_unstable();
            values
        };
        let total = |side: &Side<'_>| side.counts.values().map(|c| u64::from(*c)).sum::<u64>();
        let by_one = self
            .counts
            .keys()
            .chain(other.counts.keys())
            .all(|cluster| self.count(cluster).abs_diff(other.count(cluster)) <= 1);
        total(self) == total(other)
            && (sorted(self) == sorted(other) || by_one || values(self) == values(other))
    }

    /// Whether a valid spread stands on more domains than another, or on clusters with more room.
    fn uses_more_of_its_spread(&self, other: &Self) -> bool {
        let by_domain =
            self.request.rules.spread.iter().any(|spread| spread.key != Topology::Cluster);
        let wider = self
            .request
            .rules
            .spread
            .iter()
            .any(|spread| self.domains(&spread.key).len() > other.domains(&spread.key).len());
        let room = |side: &Side<'_>| -> u64 {
            side.counts.iter().filter(|(_, n)| **n > 0).map(|(name, _)| side.room(name)).sum()
        };
        by_domain
            && !self.breaks_spread()
            && !self.exceeds_room()
            && (wider || room(self) >= room(other))
    }
}

/// Counts as an operator reads them.
pub(crate) fn words<'a>(counts: impl Iterator<Item = (&'a str, u32)>) -> String {
    let list: Vec<String> = counts.map(|(name, count)| format!("{name}={count}")).collect();
    list.join(" ")
}
