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
    /// without a look at what the cluster maximum lets them use, fewer replicas than the fewest
    /// domains). Ours finds the placement.
    FeasibleIsPlaced,
    /// The recorded answer moves running replicas though none has to move (static weights
    /// recomputed at each change, aggregation of what runs). Ours moves only what has to.
    SteadyMovesNothing,
    /// Aggregated: the recorded answer divides by weight among the fewest clusters. Ours fills
    /// one after the other, which leaves the last ones the most room for what comes.
    PackFills,
    /// Both spreads are valid, and ours stands on more domains that the constraint admits, or on
    /// clusters with more room or where more runs already: the recorded scheduler takes the smallest set of regions, and does
    /// not choose clusters at all for static weights.
    SpreadUsesWhatItMay,
    /// Both divisions are exact for the same weights; they differ in who gets an odd replica. Ours
    /// goes by a hash of workload and cluster, so that no cluster wins or loses always.
    TieByKey,
    /// The recorded answer adds replicas on a cluster whose taint the work does not tolerate, or
    /// that does not serve its kind, because some run there; or it leaves an open cluster for such
    /// a one where some have to be left. Ours keeps what runs there, adds nothing, and leaves it
    /// first.
    ClosedTakesNothing,
    /// The recorded scheduler takes the object away everywhere when it is scaled to zero. Ours
    /// leaves it in place with no replicas, so that scaling up finds it there.
    ZeroStaysInPlace,
    /// The recorded scheduler empties the placement when no cluster passes its filters, and takes
    /// copies off a cluster that takes nothing new. Ours keeps what runs: a drain takes it out.
    PlacementIsKept,
    /// Asked to calculate anew, the recorded scheduler still prefers clusters that hold the work.
    /// Ours gives what a new workload would get, so that no trace of history is left.
    FreshForgets,
    /// With overflow tiers the recorded scheduler gives the clusters of each tier another part of a
    /// count that each should have in full. Ours gives a cluster everything or nothing.
    CopiesAreWhole,
    /// The recorded answer uses a later tier while a cluster of an earlier one has room: spreads are
    /// chosen there without a look at overflow tiers. Ours fills one tier after the other.
    EarlierTiersFirst,
    /// The recorded scheduler takes a cluster whose totals nobody reported for full, and takes
    /// replicas away from it, or gives it none of its weight's. Ours keeps what runs where nothing
    /// is known, and lets given weights decide.
    UnknownIsKept,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 14] = [
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
        Self::FreshForgets,
        Self::CopiesAreWhole,
        Self::EarlierTiersFirst,
        Self::UnknownIsKept,
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
            Self::FreshForgets => "FreshForgets",
            Self::CopiesAreWhole => "CopiesAreWhole",
            Self::EarlierTiersFirst => "EarlierTiersFirst",
            Self::UnknownIsKept => "UnknownIsKept",
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
            let rules = [
                (Rule::ZeroStaysInPlace, request.replicas == 0 && ours.runs_nothing()),
                (Rule::FeasibleIsPlaced, !ours.is_plain() || ours.has_fewer_than_wanted_domains()),
            ];
            first(&rules, "a plain division by free room is placed that was refused")
        }
        (Err(_), None) if theirs.counts.is_empty() && case.previous.is_empty() => Verdict::Same,
        (Err(refusal), None) => {
            let rules = [
                (Rule::ZeroStaysInPlace, request.replicas == 0 && theirs.counts.is_empty()),
                (Rule::RoomIsRespected, theirs.exceeds_room()),
                (Rule::SpreadHolds, theirs.breaks_spread()),
                (Rule::CopiesAreWhole, theirs.has_parts_of_copies()),
                (Rule::ClosedTakesNothing, theirs.grows_where_closed()),
                (Rule::SteadyMovesNothing, theirs.displaces() > 0),
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
            (
                Rule::CopiesAreWhole,
                theirs.has_parts_of_copies() && !ours.has_parts_of_copies()
                    || theirs.starts_parts_of_copies() && !ours.starts_parts_of_copies(),
            ),
            (Rule::ClosedTakesNothing, theirs.grows_where_closed()),
            (Rule::PlacementIsKept, ours.differs_by_what_it_keeps_where_closed(theirs)),
            (Rule::SteadyMovesNothing, ours.request.rules.steady && theirs.drops_more_than(ours)),
            (Rule::SpreadUsesWhatItMay, ours.uses_more_of_its_spread(theirs)),
            (Rule::FreshForgets, ours.forgets_more_than(theirs)),
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
            (Rule::SpreadHolds, theirs.breaks_spread() && !ours.breaks_spread()),
            (
                Rule::ClosedTakesNothing,
                theirs.grows_where_closed() || theirs.leaves_open_for_closed(ours),
            ),
            (Rule::SteadyMovesNothing, theirs.displaces() > ours.displaces()),
            (Rule::TieByKey, ours.is_exact() && theirs.is_exact() && ours.is_tied_with(theirs)),
            (Rule::FreshForgets, ours.forgets_more_than(theirs)),
            (Rule::UnknownIsKept, ours.keeps_more_unseen_than(theirs)),
        ];
        return first(&rules, "a plain division by free room differs");
    }
    let pack = matches!(ours.request.mode, Mode::Divide(DivideBy::Pack));
    let rules = [
        (Rule::RoomIsRespected, theirs.exceeds_room()),
        (Rule::SpreadHolds, theirs.breaks_spread()),
        (Rule::SteadyMovesNothing, theirs.displaces() > ours.displaces()),
        (Rule::PackFills, pack && plain(ours).len() <= plain(theirs).len() && ours.is_filled()),
        (Rule::ClosedTakesNothing, theirs.grows_where_closed()),
        (Rule::TieByKey, ours.is_exact() && theirs.is_exact() && ours.is_tied_with(theirs)),
        (Rule::SpreadUsesWhatItMay, ours.uses_more_of_its_spread(theirs)),
        (Rule::FreshForgets, ours.forgets_more_than(theirs)),
        (Rule::EarlierTiersFirst, theirs.passes_tiers_over() && !ours.passes_tiers_over()),
        (
            Rule::UnknownIsKept,
            ours.keeps_more_unseen_than(theirs) || ours.trusts_more_unseen_than(theirs),
        ),
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

    /// What a cluster can hold: what runs there, and what is free beside it. Where no totals were
    /// reported, room is not known, which is not the same as none.
    fn room(&self, cluster: &str) -> u64 {
        if self.is_unseen(cluster) {
            return u64::MAX;
        }
        self.free(cluster) + u64::from(self.previous(cluster))
    }

    /// Divided by free room, over clusters alone.
    fn is_plain(&self) -> bool {
        matches!(self.request.mode, Mode::Divide(DivideBy::Capacity))
            && self.request.rules.spread.iter().all(|spread| spread.key == Topology::Cluster)
    }

    /// Whether nobody has reported the totals of a cluster.
    fn is_unseen(&self, cluster: &str) -> bool {
        let known = self.case.clusters.iter().find(|known| known.name == cluster);
        known.is_some_and(|known| known.allocatable.is_none())
    }

    /// Whether more of what ran on clusters without totals stays there than in another answer.
    fn keeps_more_unseen_than(&self, other: &Self) -> bool {
        let kept = |side: &Self| -> u64 {
            let unseen = side.request.previous.iter().filter(|(name, _)| side.is_unseen(name));
            unseen.map(|(name, count)| u64::from(count.min(side.count(name)))).sum()
        };
        kept(self) > kept(other)
    }

    /// Whether by given weights more stands on clusters without totals than in another answer.
    fn trusts_more_unseen_than(&self, other: &Self) -> bool {
        let given = |side: &Self| -> u64 {
            let unseen = side.counts.iter().filter(|(name, _)| side.is_unseen(name));
            unseen.map(|(_, count)| u64::from(*count)).sum()
        };
        matches!(self.request.mode, Mode::Divide(DivideBy::Weighted(_)))
            && given(self) > given(other)
    }

    /// Whether a cluster was given more although one that is as open, of an earlier tier, has room.
    fn passes_tiers_over(&self) -> bool {
        let grown = self.counts.iter().filter(|(name, count)| **count > self.previous(name));
        let last = grown.map(|(name, _)| self.tier(name)).max().unwrap_or(0);
        let open = self.case.clusters.iter().filter(|known| {
            let admitted = self.member(&known.name).is_some_and(|member| {
                self.request.rules.tiers.iter().any(|tier| tier.admits(&member))
            });
            admitted && self.case.is_open(known) && self.case.may_use(known)
        });
        open.into_iter().any(|known| {
            self.tier(&known.name) < last
                && u64::from(self.count(&known.name)) < self.room(&known.name)
        })
    }

    /// Whether a spread wants more domains than there are replicas.
    fn has_fewer_than_wanted_domains(&self) -> bool {
        self.request.rules.spread.iter().any(|spread| spread.min > self.request.replicas)
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
        let divided = matches!(self.request.mode, Mode::Divide(_));
        self.request.rules.spread.iter().any(|spread| {
            let domains = self.domains(&spread.key);
            let most = if divided { self.request.replicas } else { u32::MAX };
            domains.len() < spread.min.min(most) as usize
                || domains.contains("")
                || spread.max.is_some_and(|max| domains.len() > max as usize)
        })
    }

    /// What may stay where it ran.
    fn kept(&self) -> impl Iterator<Item = (&str, u32)> {
        let tiers = &self.request.rules.tiers;
        let stays = |cluster: &str| {
            let known = self.case.clusters.iter().find(|known| known.name == cluster);
            !self.case.evicting.iter().any(|name| name == cluster)
                && known.is_some_and(|known| !known.deleting)
                && self.member(cluster).is_some_and(|member| {
                    tiers.is_empty() || tiers.iter().any(|tier| tier.admits(&member))
                })
        };
        let held = self.request.previous.iter().map(|(name, count)| (&**name, count));
        held.filter(move |(name, _)| stays(name))
    }

    /// How many replicas move, or grow where others shrink, on clusters that stay, though the
    /// whole does not need it.
    fn displaces(&self) -> u64 {
        if !self.request.rules.steady {
            return 0;
        }
        let kept: Vec<_> = self.kept().collect();
        let held: u64 = kept.iter().map(|(_, count)| u64::from(*count)).sum();
        if held <= u64::from(self.request.replicas) {
            let fewer = kept.iter().map(|(name, count)| count.saturating_sub(self.count(name)));
            fewer.map(u64::from).sum()
        } else {
            let grown = self.counts.iter();
            let more = grown.map(|(name, count)| count.saturating_sub(self.previous(name)));
            more.map(u64::from).sum()
        }
    }

    /// Whether a cluster that is closed to the work was given more than it had.
    fn grows_where_closed(&self) -> bool {
        let closed = self.case.clusters.iter().filter(|cluster| !self.case.is_open(cluster));
        closed.into_iter().any(|cluster| self.count(&cluster.name) > self.previous(&cluster.name))
    }

    fn closed(&self) -> impl Iterator<Item = &str> {
        let closed = self.case.clusters.iter().filter(|cluster| !self.case.is_open(cluster));
        closed.map(|cluster| cluster.name.as_str())
    }

    /// Whether it leaves clusters though they are open, where another answer that is as valid
    /// leaves closed ones.
    fn leaves_open_for_closed(&self, other: &Self) -> bool {
        let left = |side: &Self, open: bool| {
            let held = side.kept().filter(|(name, count)| *count > 0 && side.count(name) == 0);
            held.filter(|(name, _)| side.closed().all(|closed| closed != *name) == open).count()
        };
        !other.exceeds_room()
            && !other.breaks_spread()
            && left(self, true) > left(other, true)
            && left(self, false) < left(other, false)
    }

    /// Whether two answers are the same but for what this one keeps on closed clusters.
    fn differs_by_what_it_keeps_where_closed(&self, other: &Self) -> bool {
        let closed: BTreeSet<&str> = self.closed().collect();
        let names = self.counts.keys().chain(other.counts.keys());
        names.into_iter().all(|name| {
            self.count(name) == other.count(name)
                || closed.contains(name.as_str())
                    && self.count(name) > other.count(name)
                    && self.count(name) <= self.previous(name)
        })
    }

    /// Whether it was calculated anew, and more of it stands where nothing stood than in another
    /// answer that is as valid.
    fn forgets_more_than(&self, other: &Self) -> bool {
        let remembered = |side: &Self| {
            side.counts.iter().filter(|(name, n)| **n > 0 && side.previous(name) > 0).count()
        };
        self.case.fresh
            && !self.exceeds_room()
            && !self.breaks_spread()
            && (!matches!(self.request.mode, Mode::Divide(_)) || self.is_exact())
            && remembered(self) < remembered(other)
    }

    /// Whether a cluster got something of a work that each should have in full, and not all of it.
    fn has_parts_of_copies(&self) -> bool {
        let given = self.counts.iter().filter(|(name, count)| **count != self.previous(name));
        self.request.mode == Mode::Duplicate
            && given.into_iter().any(|(_, count)| *count != self.request.replicas)
    }

    /// Whether a cluster that had nothing of a work got a part of what each should have in full.
    fn starts_parts_of_copies(&self) -> bool {
        let new = self.counts.iter().filter(|(name, n)| **n > 0 && self.previous(name) == 0);
        new.into_iter().any(|(_, count)| *count != self.request.replicas)
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

    /// Whether one cluster was filled after the other: of those that were given replicas, or that
    /// keep some where the whole shrinks, all are full but one.
    fn is_filled(&self) -> bool {
        let steady = self.request.rules.steady;
        let shrinks = steady && self.request.previous.total() >= u64::from(self.request.replicas);
        // A spread keeps one replica at least in as many clusters as it wants.
        let spread = &self.request.rules.spread;
        let fewest = spread.iter().filter(|spread| spread.key == Topology::Cluster);
        let fewest = fewest.map(|spread| spread.min as usize).max().unwrap_or(0);
        let used = self.counts.values().filter(|count| **count > 0).count();
        let open = self.counts.iter().filter(|(cluster, count)| {
            let own = self.previous(cluster);
            if **count == 1 && used <= fewest {
                return false;
            }
            let full = if shrinks { u64::from(own) } else { self.room(cluster) };
            let takes_part = !steady || shrinks || **count > own;
            **count > 0 && takes_part && u64::from(**count) < full
        });
        open.count() <= 1
    }

    /// The tier of a cluster: divisions are exact within one.
    fn tier(&self, cluster: &str) -> usize {
        let tiers = &self.request.rules.tiers;
        let member = self.member(cluster);
        tiers.iter().position(|tier| member.as_ref().is_some_and(|m| tier.admits(m))).unwrap_or(0)
    }

    /// The tier of each cluster, what it got, its weight and its limit, in this division.
    fn shares(&self) -> Vec<(usize, u64, u64, u64)> {
        let total: u64 = self.counts.values().map(|count| u64::from(*count)).sum();
        let held: u64 = self.kept().map(|(_, count)| u64::from(count)).sum();
        let steady = self.request.rules.steady && held > 0;
        let used = self.counts.iter().filter(|(_, count)| **count > 0);
        used.map(|(cluster, count)| {
            let (count, own) = (u64::from(*count), u64::from(self.previous(cluster)));
            let (free, tier) = (self.free(cluster), self.tier(cluster));
            match &self.request.mode {
                Mode::Divide(DivideBy::Weighted(weights)) => {
                    (tier, count, self.given(cluster, weights), free + own)
                }
                _ if steady && total >= held => (tier, count.saturating_sub(own), free, free),
                _ if steady => (tier, count, own, own),
                _ => (tier, count, free + own, free + own),
            }
        })
        .collect()
    }

    fn member(&self, cluster: &str) -> Option<Member> {
        let known = self.case.clusters.iter().find(|known| known.name == cluster)?;
        member(known).ok()
    }

    fn given(&self, cluster: &str, weights: &[Weight]) -> u64 {
        let member = self.member(cluster);
        let entry = member.and_then(|m| weights.iter().find(|entry| entry.clusters.admits(&m)));
        if weights.is_empty() { 1 } else { entry.map_or(0, |entry| u64::from(entry.weight)) }
    }

    /// Whether no replica could change hands without making the division worse (Webster), nor go
    /// to an earlier tier.
    fn is_exact(&self) -> bool {
        if self.displaces() > 0 {
            return false;
        }
        let shares = self.shares();
        shares.iter().all(|(tier, count, weight, _)| {
            *count == 0
                || shares.iter().all(|(beside, other, theirs, limit)| {
                    // A tier is used when those before it are full.
                    other >= limit
                        || beside > tier
                        || beside == tier && weight * (2 * other + 1) >= theirs * (2 * count - 1)
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
                side.shares().into_iter().map(|(.., weight, limit)| (weight, limit)).collect();
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
        let weighted = matches!(self.request.mode, Mode::Divide(DivideBy::Weighted(_)));
        let chooses = self
            .request
            .rules
            .spread
            .iter()
            .any(|spread| weighted || spread.key != Topology::Cluster);
        let wider = self
            .request
            .rules
            .spread
            .iter()
            .any(|spread| self.domains(&spread.key).len() > other.domains(&spread.key).len());
        let used = |side: &Self, of: &dyn Fn(&str) -> u64| -> u64 {
            let names = side.counts.iter().filter(|(_, count)| **count > 0);
            names.fold(0, |sum, (name, _)| sum.saturating_add(of(name)))
        };
        let room = |side: &Self| used(side, &|name| side.room(name));
        let regions = |side: &Self| side.room_of_regions();
        let held = |side: &Self| used(side, &|name| u64::from(side.previous(name)));
        chooses
            && !self.breaks_spread()
            && !self.exceeds_room()
            && (wider
                || room(self) >= room(other)
                || held(self) > held(other)
                || self.domains(&Topology::Region) != other.domains(&Topology::Region)
                    && regions(self) >= regions(other))
    }

    /// What the regions that it uses can hold, in as many clusters each as the spread lets it use
    /// beside one in each of the others.
    fn room_of_regions(&self) -> u64 {
        let regions = self.domains(&Topology::Region);
        let spread = &self.request.rules.spread;
        let most = spread.iter().filter(|spread| spread.key == Topology::Cluster);
        let most =
            most.filter_map(|spread| spread.max).min().map_or(usize::MAX, |max| max as usize);
        let each = most.saturating_sub(regions.len().saturating_sub(1)).max(1);
        let of = |region: &&str| -> u64 {
            let open = self
                .case
                .clusters
                .iter()
                .filter(|known| known.region == **region && self.case.may_use(known));
            let mut rooms: Vec<u64> = open.map(|known| self.room(&known.name)).collect();
            rooms.sort_unstable();
            rooms.iter().rev().take(each).fold(0, |sum, room| sum.saturating_add(*room))
        };
        regions.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// Counts as an operator reads them.
pub(crate) fn words<'a>(counts: impl Iterator<Item = (&'a str, u32)>) -> String {
    let list: Vec<String> = counts.map(|(name, count)| format!("{name}={count}")).collect();
    list.join(" ")
}
