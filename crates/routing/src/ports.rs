//! Allocation of service ports: the number by which every gateway knows a service. Stable while
//! the service lives, read back after a loss, never taken twice. It must not know who stores it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash as _, Hasher as _},
};

use crate::{model::ServiceKey, snapshot::Fnv};

/// First service port. Below the ephemeral range of Linux, above the ports of common daemons.
pub const FIRST: u16 = 10_000;
/// Last service port.
pub const LAST: u16 = 29_999;
/// The hop between gateways; never a service port.
pub const HOP: u16 = 15_443;

/// Who has which port after an allocation.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allocation {
    /// The port of each wanted service.
    pub ports: BTreeMap<ServiceKey, u16>,
    /// Services whose port that was read back could not be kept: out of range, or another's.
    pub moved: BTreeSet<ServiceKey>,
    /// Services for which no port is left.
    pub exhausted: BTreeSet<ServiceKey>,
}

/// Gives each wanted service a port. `held` is what was read back; where two hold the same
/// number the first by name keeps it. `reserved` are the gateway's own further ports.
pub fn allocate(
    held: &BTreeMap<ServiceKey, u16>,
    wanted: &BTreeSet<ServiceKey>,
    reserved: &BTreeSet<u16>,
) -> Allocation {
    let mut result = Allocation::default();
    let mut taken = reserved.clone();
    taken.insert(HOP);
    for key in wanted {
        let Some(port) = held.get(key).copied() else {
            continue;
        };
        if (FIRST..=LAST).contains(&port) && taken.insert(port) {
            result.ports.insert(key.clone(), port);
        } else {
            result.moved.insert(key.clone());
        }
    }
    for key in wanted {
        if result.ports.contains_key(key) {
            continue;
        }
        match first_free(key, &taken) {
            Some(port) => {
                taken.insert(port);
                result.ports.insert(key.clone(), port);
            }
            None => drop(result.exhausted.insert(key.clone())),
        }
    }
    result
}

/// Starts at a place given by the name, so that two hubs that lost everything mostly agree.
fn first_free(key: &ServiceKey, taken: &BTreeSet<u16>) -> Option<u16> {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hash);
    let count = LAST - FIRST + 1;
    let start =
        u16::try_from(hash.finish() % u64::from(count)).expect("a remainder below 20,000 fits");
    (0..count).map(|step| FIRST + (start + step) % count).find(|port| !taken.contains(port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(index: u32) -> ServiceKey {
        ServiceKey::new("shop", format!("s{index}"), 80).unwrap()
    }

    #[test]
    fn a_port_read_back_is_kept_and_the_hop_is_never_given() {
        let held = BTreeMap::from([(key(1), 12_345), (key(2), HOP), (key(3), 80)]);
        let wanted = BTreeSet::from([key(1), key(2), key(3)]);
        let got = allocate(&held, &wanted, &BTreeSet::new());
        assert_eq!(got.ports[&key(1)], 12_345);
        assert_eq!(got.moved, BTreeSet::from([key(2), key(3)]));
        assert!(got.ports.values().all(|port| *port != HOP));
    }

    #[test]
    fn when_all_are_taken_the_rest_is_named() {
        let reserved: BTreeSet<u16> = (FIRST..LAST).collect();
        let got = allocate(&BTreeMap::new(), &BTreeSet::from([key(1), key(2)]), &reserved);
        assert_eq!(got.ports, BTreeMap::from([(key(1), LAST)]));
        assert_eq!(got.exhausted, BTreeSet::from([key(2)]));
    }

    proptest! {
        #[test]
        fn ports_are_unique_in_range_and_stable(
            first in prop::collection::btree_set(0_u32..400, 0..200),
            second in prop::collection::btree_set(0_u32..400, 0..200),
        ) {
            let first: BTreeSet<_> = first.into_iter().map(key).collect();
            let second: BTreeSet<_> = second.into_iter().map(key).collect();
            let before = allocate(&BTreeMap::new(), &first, &BTreeSet::new());
            let after = allocate(&before.ports, &second, &BTreeSet::new());
            let unique: BTreeSet<u16> = after.ports.values().copied().collect();
            prop_assert_eq!(unique.len(), second.len());
            prop_assert!(unique.iter().all(|port| (FIRST..=LAST).contains(port) && *port != HOP));
            for (key, port) in &after.ports {
                if let Some(kept) = before.ports.get(key) {
                    prop_assert_eq!(kept, port);
                }
            }
            prop_assert_eq!(allocate(&after.ports, &second, &BTreeSet::new()).ports, after.ports);
        }
    }
}
