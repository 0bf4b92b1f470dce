//! Pod numbers of a StatefulSet that several clusters share: a block for each cluster, given once.
//! Pure; knows nothing of how replicas are divided.
//!
//! A cluster gets the lowest free block when it is first used, and keeps it while it is in the
//! decision or may still have a copy: whatever else scales or moves, its pods keep their names,
//! and no two clusters have pods of one name. A block is free again when the copy is known to be
//! gone. No cluster holds more replicas than a block has numbers (the rules see to that).

use std::collections::BTreeSet;

use hanse_api::{ClusterOrdinals, ORDINALS_BLOCK};

/// The blocks that go with a decision, in order of name. `known` are those given before, `held`
/// the clusters that have or get a copy, in order of name, and `stood` those of them that had one
/// before: theirs come first, so that a StatefulSet that stood whole in one cluster keeps its
/// names. `is_gone` says that a cluster has no copy any more. `shared`: whether new blocks are
/// given at all.
pub(super) fn blocks(
    known: &[ClusterOrdinals],
    held: &BTreeSet<&str>,
    stood: &BTreeSet<&str>,
    is_gone: impl Fn(&str) -> bool,
    shared: bool,
) -> Vec<ClusterOrdinals> {
    let stays = |block: &&ClusterOrdinals| held.contains(&*block.name) || !is_gone(&block.name);
    let mut blocks: Vec<ClusterOrdinals> = known.iter().filter(stays).cloned().collect();
    if shared {
        let mut taken: BTreeSet<i32> = blocks.iter().map(|block| block.start).collect();
        let named: BTreeSet<String> = blocks.iter().map(|block| block.name.clone()).collect();
        let (first, then): (Vec<&str>, Vec<&str>) = held
            .iter()
            .filter(|name| !named.contains(**name))
            .partition(|name| stood.contains(**name));
        for name in first.into_iter().chain(then) {
            let start = lowest_free(&taken);
            taken.insert(start);
            blocks.push(ClusterOrdinals { name: name.to_owned(), start });
        }
    }
    blocks.sort();
    blocks
}

fn lowest_free(taken: &BTreeSet<i32>) -> i32 {
    let size = i32::try_from(ORDINALS_BLOCK).expect("a block is small");
    let mut start = 0;
    while taken.contains(&start) {
        start += size;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(
        known: &[(&str, i32)],
        held: &[&'static str],
        stood: &[&'static str],
        gone: &[&str],
    ) -> Vec<(String, i32)> {
        let known: Vec<ClusterOrdinals> = known
            .iter()
            .map(|(name, start)| ClusterOrdinals { name: (*name).to_owned(), start: *start })
            .collect();
        let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<&str>>();
        let is_gone = |name: &str| gone.contains(&name);
        let made = blocks(&known, &set(held), &set(stood), is_gone, true);
        made.into_iter().map(|block| (block.name, block.start)).collect()
    }

    fn owned(list: &[(&str, i32)]) -> Vec<(String, i32)> {
        list.iter().map(|(name, start)| ((*name).to_owned(), *start)).collect()
    }

    #[test]
    fn new_clusters_get_the_lowest_free_block_in_order_of_name() {
        let made = given(&[], &["a", "b", "c"], &[], &[]);
        assert_eq!(made, owned(&[("a", 0), ("b", 1000), ("c", 2000)]));
        let made = given(&[("b", 0), ("d", 2000)], &["a", "b", "c", "d"], &["b", "d"], &[]);
        assert_eq!(made, owned(&[("a", 1000), ("b", 0), ("c", 3000), ("d", 2000)]));
    }

    #[test]
    fn a_block_is_free_again_only_when_the_copy_is_gone() {
        let known = [("a", 0), ("b", 1000)];
        assert_eq!(
            given(&known, &["b", "c"], &["b"], &[]),
            owned(&[("a", 0), ("b", 1000), ("c", 2000)])
        );
        assert_eq!(given(&known, &["b", "c"], &["b"], &["a"]), owned(&[("b", 1000), ("c", 0)]));
        // Where it comes back to before that, it has its numbers again.
        assert_eq!(given(&known, &["a", "b"], &["b"], &[]), owned(&known));
    }

    #[test]
    fn who_stood_whole_in_one_cluster_keeps_its_names_there() {
        let made = given(&[], &["a", "b", "c"], &["c"], &[]);
        assert_eq!(made, owned(&[("a", 1000), ("b", 2000), ("c", 0)]));
    }

    #[test]
    fn where_nothing_is_shared_no_block_is_given_and_known_ones_stay() {
        let held: BTreeSet<&str> = ["a", "b"].into();
        assert_eq!(blocks(&[], &held, &held, |_| true, false), []);
        let known = [ClusterOrdinals { name: "b".to_owned(), start: 1000 }];
        assert_eq!(blocks(&known, &held, &held, |_| true, false), known);
    }

    #[test]
    fn in_random_histories_no_number_changes_hands_while_a_copy_may_be_there() {
        let names: Vec<String> = (0..8).map(|at| format!("m{at}")).collect();
        for seed in 0..200_u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut toss = || {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % 3 == 0
            };
            let (mut known, mut stood) = (Vec::new(), BTreeSet::new());
            let mut copies: BTreeSet<&str> = BTreeSet::new();
            for _ in 0..30 {
                let held: BTreeSet<&str> =
                    names.iter().map(String::as_str).filter(|_| toss()).collect();
                let next = blocks(&known, &held, &stood, |name| !copies.contains(name), true);
                let starts: BTreeSet<i32> = next.iter().map(|block| block.start).collect();
                assert_eq!(starts.len(), next.len(), "two clusters have the same numbers");
                for block in known.iter().filter(|block| copies.contains(&*block.name)) {
                    assert!(next.contains(block), "{block:?} changed while its copy was there");
                }
                assert!(held.iter().all(|name| next.iter().any(|block| block.name == *name)));
                assert!(starts.iter().all(|start| *start < 8000), "free blocks are used again");
                // Copies come with the decision, and go some time after it.
                copies.retain(|name| held.contains(name) || toss());
                copies.extend(&held);
                (known, stood) = (next, held);
            }
        }
    }
}
