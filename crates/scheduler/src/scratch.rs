//! Memory that one decision leaves to the next. Large fleets need vectors of hundreds of kilobytes
//! for a moment, which an allocator would give back to the system and ask for again each time.
//! Holds no values between decisions: whoever takes a vector clears it first.

use std::{cell::RefCell, cmp::Reverse};

use crate::{
    candidate::Rank,
    choose::Item,
    divide::{Memory, Share},
};

/// Vectors that are taken, used and put back.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) items: Pool<Item>,
    pub(crate) shares: Pool<Share>,
    pub(crate) bids: Memory,
    pub(crate) ranks: Pool<Reverse<(Rank, u32)>>,
}

/// One vector.
#[derive(Debug)]
pub(crate) struct Pool<T>(RefCell<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Pool<T> {
    /// An empty vector with whatever memory was put back.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut list = self.0.take();
        list.clear();
        list
    }

    /// Keeps the memory of a vector that is of no use any more.
    pub(crate) fn put_back(&self, list: Vec<T>) {
        self.0.replace(list);
    }
}
