//! Which rules fail, and where. Bounded: what does not fit is still told on its binding.

use std::collections::{BTreeMap, BTreeSet};

use hanse_render::PolicyName;

use crate::Key;

/// At most so many faults are remembered; further ones are told on their bindings only.
const KEPT: usize = 10_000;
/// So many are shown on the rule's object.
const SHOWN: usize = 3;

/// Whose rule it is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Origin {
    /// A policy of overrides.
    Override(PolicyName),
    /// An interpreter, by its name.
    Interpreter(String),
}

/// Where a rule fails.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Place {
    /// When the template is read.
    Template,
    /// When the members' status is read.
    Status,
    /// When the manifest of a member is made.
    Member(String),
}

/// Faults by binding and place.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<(Key, Place), (Origin, String)>);

impl Faults {
    /// Notes a fault, or that there is none any more; gives whom that concerns.
    pub(super) fn note(
        &mut self,
        binding: &Key,
        place: Place,
        fault: Option<(Origin, String)>,
    ) -> BTreeSet<Origin> {
        let key = (binding.clone(), place);
        if self.0.get(&key) == fault.as_ref() || (fault.is_some() && self.0.len() >= KEPT) {
            return BTreeSet::new();
        }
        let new = fault.as_ref().map(|(origin, _)| origin.clone());
        let old = match fault {
            Some(fault) => self.0.insert(key, fault),
            None => self.0.remove(&key),
        };
        old.map(|(origin, _)| origin).into_iter().chain(new).collect()
    }

    /// Places at which something fails for a binding.
    pub(super) fn places(&self, binding: &Key) -> Vec<Place> {
        let from = (binding.clone(), Place::Template);
        let own = self.0.range(from..).take_while(|((key, _), _)| key == binding);
        own.map(|((_, place), _)| place.clone()).collect()
    }

    /// How many faults a rule's object has, and the first of them.
    pub(super) fn of(&self, origin: &Origin) -> (usize, Vec<String>) {
        let own = || self.0.values().filter(|(other, _)| other == origin);
        (own().count(), own().take(SHOWN).map(|(_, words)| words.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(name: &str) -> Origin {
        Origin::Interpreter(name.to_owned())
    }

    #[test]
    fn a_fault_is_told_once_and_until_it_is_gone() {
        let mut faults = Faults::default();
        let (web, place) = (Key::new("shop", "web"), Place::Member("a".to_owned()));
        let fault = Some((origin("x"), "no".to_owned()));
        assert_eq!(faults.note(&web, place.clone(), fault.clone()).len(), 1);
        assert!(faults.note(&web, place.clone(), fault).is_empty());
        assert_eq!(faults.of(&origin("x")), (1, vec!["no".to_owned()]));
        let other = Some((origin("y"), "no".to_owned()));
        assert_eq!(faults.note(&web, place.clone(), other).len(), 2);
        assert_eq!(faults.places(&web).len(), 1);
        assert_eq!(faults.note(&web, place, None).len(), 1);
        assert_eq!(faults.of(&origin("y")).0, 0);
    }

    #[test]
    fn no_more_than_the_bound_is_remembered() {
        let mut faults = Faults::default();
        for number in 0..KEPT + 5 {
            let key = Key::new("shop", &number.to_string());
            faults.note(&key, Place::Status, Some((origin("x"), String::new())));
        }
        assert_eq!(faults.of(&origin("x")).0, KEPT);
        let first = Key::new("shop", "0");
        assert_eq!(faults.note(&first, Place::Status, None).len(), 1);
    }
}
