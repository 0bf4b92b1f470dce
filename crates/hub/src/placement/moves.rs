//! Moves: replicas on their way from one member to another.
//!
//! ```text
//!          replacement ready        old member healthy      old copy gone
//! Adding ───────────────────► Waiting ──────────────► Removing ─────────► Done
//! ```
//! A move whose member comes back before anything of it stands elsewhere is Withdrawn: the old
//! copies stay. Until Removing the decision names both members: the new one with its replicas and the old one
//! with what it gives up. An old copy goes only when everything that shall run elsewhere is ready
//! and its own member is healthy again, so nothing is deleted because somebody was out of sight.

use std::collections::BTreeMap;

use hanse_api::{Move, MoveReason, MoveState, RemoveOld, ResourceBinding};

/// How many moves of a binding are under way at once: what else has to move stays where it is until
/// some of them have ended. A move takes some 300 bytes, and etcd takes objects of 1.5 MiB.
pub const MOST_OPEN: usize = 2500;
/// How many ended moves a binding keeps; the oldest go first.
const KEPT: usize = 200;
/// Letters of an event's id that are kept in the ids of its moves.
const EVENT_LETTERS: usize = 100;

/// Whether a binding has moves that are not at their end.
pub fn has_open(binding: &ResourceBinding) -> bool {
    binding.spec.moves.iter().any(|item| !item.state.is_final())
}

/// Replicas that each member gives up but still holds.
pub fn outgoing(moves: &[Move]) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for item in moves.iter().filter(|item| item.state.keeps_old()) {
        *all.entry(item.from.clone()).or_default() += u32::try_from(item.replicas).unwrap_or(0);
    }
    all
}

/// What a move looks at in members.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Members {
    /// Ready replicas of the workload, by member.
    pub ready: BTreeMap<String, u32>,
    /// Members that have a copy of the workload.
    pub copies: Vec<String>,
    /// Members that are known to have no copy of it.
    pub absent: Vec<String>,
    /// Members in which old copies may be removed: reachable, healthy, past their soak.
    pub healthy: Vec<String>,
}

/// Withdraws what nobody has begun to carry out, once its member is back: it was lost, no order to
/// leave it is in force, it is healthy, and the new member has no copy at all. `held` gives up what
/// was meant for the new member.
pub fn withdraw(
    moves: &mut [Move],
    held: &mut BTreeMap<String, u32>,
    members: &Members,
    ordered: impl Fn(&str) -> bool,
) {
    for item in moves.iter_mut() {
        let back =
            item.reason.is_loss() && !ordered(&item.from) && members.healthy.contains(&item.from);
        if item.state == MoveState::Adding && back && members.absent.contains(&item.to) {
            item.state = MoveState::Withdrawn;
            take(held, &item.to, item.replicas);
        }
    }
}

/// Takes every move as far as it can go. `settled` is what each member shall hold in the end, and
/// `held` what the decision names now; removals take from `held`. `turn` says whether a removal
/// may begin now. Returns whether some removal waits for its turn.
pub fn advance(
    moves: &mut [Move],
    held: &mut BTreeMap<String, u32>,
    settled: &BTreeMap<String, u32>,
    members: &Members,
    remove_old: RemoveOld,
    mut turn: impl FnMut() -> bool,
) -> bool {
    let lacks = |member: &str, count: u32| members.ready.get(member).copied().unwrap_or(0) < count;
    let any_missing = settled.iter().any(|(member, count)| lacks(member, *count));
    let mut waits = false;
    for item in moves.iter_mut() {
        // What cannot run is missed by nobody: its replacement is all that has to be ready.
        let missing = match item.reason {
            MoveReason::CannotRun => {
                settled.get(&item.to).is_some_and(|count| lacks(&item.to, *count))
            }
            _ => any_missing,
        };
        if item.state == MoveState::Adding && !missing {
            item.state = MoveState::Waiting;
        }
        if item.state == MoveState::Waiting && missing {
            // What was ready is so no more: the old copy is still the safer one.
            item.state = MoveState::Adding;
        }
        let may_remove = remove_old == RemoveOld::WhenReplaced || !item.reason.is_loss();
        if item.state == MoveState::Waiting && may_remove && members.healthy.contains(&item.from) {
            if turn() {
                item.state = MoveState::Removing;
                take(held, &item.from, item.replicas);
            } else {
                waits = true;
            }
        }
    }
    for item in moves.iter_mut().filter(|item| item.state == MoveState::Removing) {
        let keeps_some = held.get(&item.from).copied().unwrap_or(0) > 0;
        if keeps_some || !members.copies.contains(&item.from) {
            item.state = MoveState::Done;
        }
    }
    waits
}

fn take(held: &mut BTreeMap<String, u32>, member: &str, replicas: i32) {
    let replicas = u32::try_from(replicas).unwrap_or(0);
    if let Some(count) = held.get_mut(member) {
        *count = count.saturating_sub(replicas);
        if *count == 0 {
            held.remove(member);
        }
    }
}

/// Pairs what members lose with what others gain: in order of name, each loss with the first gain
/// that is left.
pub fn pair(
    losses: &BTreeMap<String, u32>,
    gains: &BTreeMap<String, u32>,
) -> Vec<(String, String, u32)> {
    let mut left: Vec<(&String, u32)> = gains.iter().map(|(name, count)| (name, *count)).collect();
    let mut pairs = Vec::new();
    for (from, lost) in losses {
        let mut lost = *lost;
        for (to, gain) in &mut left {
            let part = lost.min(*gain);
            if part > 0 {
                pairs.push((from.clone(), (*to).clone(), part));
                lost -= part;
                *gain -= part;
            }
        }
    }
    pairs
}

/// An id that no move of the binding has yet.
pub fn fresh_id(moves: &[Move], event: &str, from: &str, to: &str) -> String {
    let event: String = event.chars().take(EVENT_LETTERS).collect();
    let stem = format!("{event}/{from}/{to}");
    let taken = |id: &str| moves.iter().any(|item| item.id == id);
    if !taken(&stem) {
        return stem;
    }
    let mut number = 2_u32;
    while taken(&format!("{stem}/{number}")) {
        number += 1;
    }
    format!("{stem}/{number}")
}

/// Drops the oldest ended moves above the bound.
pub fn trim(moves: &mut Vec<Move>) {
    let ended = moves.iter().filter(|item| item.state.is_final()).count();
    let mut surplus = ended.saturating_sub(KEPT);
    moves.retain(|item| {
        let drops = surplus > 0 && item.state.is_final();
        surplus -= usize::from(drops);
        !drops
    });
}

/// How many more moves may begin.
pub fn room_for(moves: &[Move]) -> usize {
    MOST_OPEN.saturating_sub(moves.iter().filter(|item| !item.state.is_final()).count())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn started(from: &str, to: &str, replicas: i32) -> Move {
        Move {
            id: format!("{from}-{to}"),
            from: from.to_owned(),
            to: to.to_owned(),
            replicas,
            reason: MoveReason::MemberLost,
            evidence: String::new(),
            state: MoveState::Adding,
            started_at: Time(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    fn map(counts: &[(&str, u32)]) -> BTreeMap<String, u32> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    struct Case {
        moves: Vec<Move>,
        held: BTreeMap<String, u32>,
    }

    impl Case {
        fn new() -> Self {
            Self { moves: vec![started("a", "b", 3)], held: map(&[("a", 3), ("b", 6)]) }
        }

        fn step(&mut self, ready: u32, healthy: bool, copy: bool, turn: bool) -> (MoveState, bool) {
            let list = |there: bool| {
                if there { vec!["a".to_owned()] } else { Vec::new() }
            };
            let members = Members {
                ready: map(&[("b", ready)]),
                copies: list(copy),
                healthy: list(healthy),
                ..Members::default()
            };
            let settled = map(&[("b", 6)]);
            let waits = advance(
                &mut self.moves,
                &mut self.held,
                &settled,
                &members,
                RemoveOld::WhenReplaced,
                || turn,
            );
            (self.moves[0].state, waits)
        }
    }

    #[test]
    fn a_move_goes_to_its_end_step_by_step() {
        let mut case = Case::new();
        assert_eq!(case.step(3, false, true, true), (MoveState::Adding, false));
        assert_eq!(case.step(6, false, true, true), (MoveState::Waiting, false));
        assert_eq!(case.held, map(&[("a", 3), ("b", 6)]));
        assert_eq!(case.step(6, true, true, false), (MoveState::Waiting, true));
        assert_eq!(case.step(6, true, true, true), (MoveState::Removing, false));
        assert_eq!(case.held, map(&[("b", 6)]));
        assert_eq!(case.step(6, true, true, true).0, MoveState::Removing);
        assert_eq!(case.step(6, true, false, true).0, MoveState::Done);
    }

    #[test]
    fn nothing_is_removed_before_its_replacement_is_ready() {
        let mut case = Case::new();
        assert_eq!(case.step(5, true, true, true).0, MoveState::Adding);
        assert_eq!(case.step(6, false, true, true).0, MoveState::Waiting);
        assert_eq!(case.step(4, true, true, true).0, MoveState::Adding);
        assert_eq!(case.held, map(&[("a", 3), ("b", 6)]));
    }

    #[test]
    fn a_policy_may_keep_old_copies_for_ever() {
        let mut case = Case::new();
        let members = Members {
            ready: map(&[("b", 6)]),
            copies: vec!["a".to_owned()],
            healthy: vec!["a".to_owned()],
            ..Members::default()
        };
        let settled = map(&[("b", 6)]);
        advance(&mut case.moves, &mut case.held, &settled, &members, RemoveOld::Never, || true);
        assert_eq!(case.moves[0].state, MoveState::Waiting);
    }

    #[test]
    fn losses_and_gains_are_paired_without_remainder() {
        let pairs = pair(&map(&[("a", 3), ("c", 2)]), &map(&[("x", 4), ("y", 1)]));
        let expected = [("a", "x", 3), ("c", "x", 1), ("c", "y", 1)];
        assert!(pairs.iter().map(|(f, t, n)| (f.as_str(), t.as_str(), *n)).eq(expected));
    }

    #[test]
    fn ids_are_unique_and_ended_moves_are_dropped_first() {
        let mut moves = vec![started("a", "b", 1)];
        moves[0].id = fresh_id(&[], "e1", "a", "b");
        assert_eq!(moves[0].id, "e1/a/b");
        assert_eq!(fresh_id(&moves, "e1", "a", "b"), "e1/a/b/2");
        moves.extend((0..=KEPT).map(|_| Move { state: MoveState::Done, ..started("x", "y", 1) }));
        trim(&mut moves);
        assert_eq!((moves.len(), moves[0].state), (1 + KEPT, MoveState::Adding));
        let (event, name) = ("e".repeat(300), "n".repeat(63));
        let longest = fresh_id(&moves, &event, &name, &name);
        assert!(longest.len() <= 240, "the API takes 256 characters: {longest}");
    }
}
