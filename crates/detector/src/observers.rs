//! Who observes whom: up to five gateways chosen by rendezvous hash over other regions.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::evidence::Place;

/// Observers of each member beside the hub. Five survive the loss of two without a tie.
pub const OBSERVERS: usize = 5;

/// The members whose gateways observe `target`: first one per region, at most two of one
/// provider while others exist. The choice depends on names only, so it is stable while they live.
pub fn choose(target: &str, members: &BTreeMap<String, Place>) -> Vec<String> {
    let Some(home) = members.get(target) else {
        return Vec::new();
    };
    let mut candidates: Vec<_> = members
        .iter()
        .filter(|(name, place)| *name != target && place.region != home.region)
        .map(|(name, place)| (Reverse(weight(target, name)), name, place))
        .collect();
    candidates.sort();
    let mut chosen: Vec<(&String, &Place)> = Vec::new();
    let spread = |chosen: &[(&String, &Place)], place: &Place| {
        let of_provider = chosen
            .iter()
            .filter(|(_, other)| other.provider == place.provider)
            .count();
        let new_region = chosen.iter().all(|(_, other)| other.region != place.region);
        (new_region, of_provider < 2)
    };
    for wanted in [(true, true), (true, false), (false, true), (false, false)] {
        for (_, name, place) in &candidates {
            let taken = chosen.iter().any(|(other, _)| other == name);
            let (new_region, room) = spread(&chosen, place);
            let fits = (new_region || !wanted.0) && (room || !wanted.1);
            if chosen.len() < OBSERVERS && !taken && fits {
                chosen.push((name, place));
            }
        }
    }
    chosen.into_iter().map(|(name, _)| name.clone()).collect()
}

/// FNV-1a over both names, mixed once more so that near names do not sort together.
fn weight(target: &str, observer: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in target.bytes().chain([0xff]).chain(observer.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(regions: usize, each: usize) -> BTreeMap<String, Place> {
        (0..regions * each)
            .map(|n| {
                let region = n % regions;
                let place = Place {
                    provider: format!("p{}", region % 3),
                    region: format!("r{region}"),
                };
                (format!("m{n}"), place)
            })
            .collect()
    }

    #[test]
    fn observers_are_five_of_other_regions_and_no_region_twice_while_others_exist() {
        let members = fleet(8, 4);
        for target in members.keys() {
            let chosen = choose(target, &members);
            assert_eq!(chosen.len(), OBSERVERS);
            let mut regions: Vec<_> = chosen.iter().map(|name| &members[name].region).collect();
            assert!(!regions.contains(&&members[target].region));
            regions.sort();
            regions.dedup();
            assert_eq!(regions.len(), OBSERVERS);
        }
    }

    #[test]
    fn with_few_regions_all_of_them_observe() {
        let members = fleet(3, 2);
        assert_eq!(choose("m0", &members).len(), 4);
    }

    #[test]
    fn the_loss_of_an_uninvolved_member_changes_nothing() {
        let members = fleet(8, 4);
        let before = choose("m0", &members);
        let uninvolved = members
            .keys()
            .find(|name| !before.contains(name) && *name != "m0");
        let mut fewer = members.clone();
        fewer.remove(uninvolved.unwrap());
        assert_eq!(choose("m0", &fewer), before);
    }
}
