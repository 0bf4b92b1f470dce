//! Replicas by member, in order of name: what placement answers, and what it is told of history.

use std::{collections::BTreeMap, sync::Arc};

/// Replicas by member. A member with 0 replicas stands here only when the object itself is, or
/// shall be, there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Assignment(Vec<(Arc<str>, u32)>);

impl Assignment {
    /// Replicas of a member; absent when it does not stand here.
    pub fn get(&self, member: &str) -> Option<u32> {
        let at = self.0.binary_search_by(|(name, _)| name.as_ref().cmp(member)).ok()?;
        Some(self.0[at].1)
    }

    /// Replicas of a member, 0 when it does not stand here.
    pub fn of(&self, member: &str) -> u32 {
        self.get(member).unwrap_or(0)
    }

    /// Whether a member stands here.
    pub fn contains(&self, member: &str) -> bool {
        self.get(member).is_some()
    }

    /// Sets the replicas of a member.
    pub fn set(&mut self, member: &str, replicas: u32) {
        match self.0.binary_search_by(|(name, _)| name.as_ref().cmp(member)) {
            Ok(at) => self.0[at].1 = replicas,
            Err(at) => self.0.insert(at, (member.into(), replicas)),
        }
    }

    /// Members and replicas in order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, u32)> {
        self.0.iter().map(|(name, count)| (name, *count))
    }

    /// How many members stand here.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none does.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of all replicas.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Entries that are in order of name already.
    pub(crate) fn from_sorted(entries: Vec<(Arc<str>, u32)>) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "members stand in order of name");
        Self(entries)
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, u32)> for Assignment {
    /// Of two entries for one member the last one counts.
    fn from_iter<I: IntoIterator<Item = (N, u32)>>(entries: I) -> Self {
        let sorted: BTreeMap<Arc<str>, u32> =
            entries.into_iter().map(|(name, count)| (name.into(), count)).collect();
        Self(sorted.into_iter().collect())
    }
}
