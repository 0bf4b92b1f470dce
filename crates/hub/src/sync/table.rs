//! How all copies stand, by binding, and by member what does not stand as it should.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
};

use litemap::LiteMap;

use super::Stand;
use crate::Key;

/// How a copy stands, as sync knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Synced {
    /// Hash of the template and the share that was compared: another one is another manifest.
    pub input: u64,
    /// The result.
    pub stand: Stand,
}

/// How all copies stand. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct SyncTable(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// By binding, and then by member: most have a few.
    stands: BTreeMap<Key, LiteMap<String, Known>>,
    /// By member.
    failing: BTreeMap<String, BTreeSet<Key>>,
}

#[derive(Debug)]
struct Known {
    synced: Synced,
    /// Whether this hub has ever looked at the copy itself.
    looked: bool,
}

impl Synced {
    const fn is_failing(&self) -> bool {
        matches!(self.stand, Stand::Waiting(_) | Stand::Failed(..))
    }
}

impl SyncTable {
    /// How the copy of a binding in a member stands.
    pub fn get(&self, binding: &Key, member: &str) -> Option<Synced> {
        let table = self.0.read().expect("no holder of this lock panics");
        table.stands.get(binding)?.get(member).map(|known| known.synced.clone())
    }

    /// Members that keep a copy which is not wanted there, with the reason in words.
    pub fn kept(&self, binding: &Key) -> BTreeMap<String, String> {
        let table = self.0.read().expect("no holder of this lock panics");
        let members = table.stands.get(binding).into_iter().flat_map(LiteMap::iter);
        let kept = members.filter_map(|(member, known)| match &known.synced.stand {
            Stand::Kept(words) => Some((member.clone(), words.clone())),
            _ => None,
        });
        kept.collect()
    }

    /// The same, and whether this hub has ever looked at the copy itself.
    pub(crate) fn look(&self, binding: &Key, member: &str) -> (Option<Synced>, bool) {
        let table = self.0.read().expect("no holder of this lock panics");
        let known = table.stands.get(binding).and_then(|members| members.get(member));
        (known.map(|known| known.synced.clone()), known.is_some_and(|known| known.looked))
    }

    /// Whether anything bound to a member does not stand there as it should; the first such
    /// binding with its reason.
    pub fn first_failure(&self, member: &str) -> Option<(Key, Stand)> {
        let table = self.0.read().expect("no holder of this lock panics");
        let key = table.failing.get(member)?.first()?;
        let known = table.stands.get(key)?.get(member)?;
        Some((key.clone(), known.synced.stand.clone()))
    }

    /// Notes how a copy stands; says whether that is new.
    pub(super) fn set(&self, binding: &Key, member: &str, synced: Synced) -> bool {
        let mut table = self.0.write().expect("no holder of this lock panics");
        let known = table.stands.get(binding).and_then(|members| members.get(member));
        if known.is_some_and(|known| known.synced == synced) {
            return false;
        }
        let failed = known.is_some_and(|known| known.synced.is_failing());
        let looked =
            known.is_some_and(|known| known.looked) || !matches!(synced.stand, Stand::Waiting(_));
        if synced.is_failing() && !failed {
            table.failing.entry(member.to_owned()).or_default().insert(binding.clone());
        } else if failed && !synced.is_failing() {
            table.mend(binding, member);
        }
        let known = Known { synced, looked };
        table.stands.entry(binding.clone()).or_default().insert(member.to_owned(), known);
        true
    }

    /// Forgets a member; gives the bindings of which it knew something there.
    pub(super) fn forget_member(&self, member: &str) -> Vec<Key> {
        let mut table = self.0.write().expect("no holder of this lock panics");
        table.failing.remove(member);
        let mut known = Vec::new();
        table.stands.retain(|binding, members| {
            if members.remove(member).is_some() {
                known.push(binding.clone());
            }
            !members.is_empty()
        });
        known
    }

    /// Forgets a binding.
    pub(super) fn forget(&self, binding: &Key) {
        let mut table = self.0.write().expect("no holder of this lock panics");
        for (member, known) in table.stands.remove(binding).unwrap_or_default() {
            if known.synced.is_failing() {
                table.mend(binding, &member);
            }
        }
    }
}

impl Table {
    fn mend(&mut self, binding: &Key, member: &str) {
        if let Some(keys) = self.failing.get_mut(member) {
            keys.remove(binding);
            if keys.is_empty() {
                self.failing.remove(member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_failure_until_the_last_one_is_mended_or_forgotten() {
        let table = SyncTable::default();
        let (web, db) = (Key::new("shop", "web"), Key::new("shop", "db"));
        let waiting = || Synced { input: 1, stand: Stand::Waiting("x".to_owned()) };
        let applied = || Synced { input: 1, stand: Stand::Applied };
        assert!(table.set(&web, "a", waiting()));
        assert!(!table.set(&web, "a", waiting()), "that is known");
        assert_eq!(table.look(&web, "a"), (Some(waiting()), false));
        table.set(&db, "a", Synced { input: 1, stand: Stand::Failed("Why", "y".to_owned()) });
        table.set(&db, "b", applied());
        assert_eq!(table.first_failure("a").map(|(key, _)| key), Some(db.clone()));
        assert_eq!(table.first_failure("b"), None);
        table.set(&db, "a", applied());
        let expected = (web.clone(), Stand::Waiting("x".to_owned()));
        assert_eq!(table.first_failure("a"), Some(expected));
        table.forget(&web);
        assert_eq!(table.first_failure("a"), None);
        assert_eq!(table.get(&db, "a"), Some(applied()));
        let kept = || Synced { input: 1, stand: Stand::Kept("data".to_owned()) };
        table.set(&db, "b", kept());
        assert_eq!(table.first_failure("b"), None, "what stays for its data has not failed");
        assert_eq!(table.kept(&db), BTreeMap::from([("b".to_owned(), "data".to_owned())]));
        table.set(&db, "a", waiting());
        assert_eq!(table.look(&db, "a"), (Some(waiting()), true), "it was looked at");
        assert_eq!(table.forget_member("a").len(), 1);
        assert_eq!((table.get(&db, "a"), table.first_failure("a")), (None, None));
        assert_eq!(table.get(&db, "b"), Some(kept()));
    }
}
