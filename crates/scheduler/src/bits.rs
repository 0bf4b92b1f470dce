//! Sets of members by their place in the fleet, one bit each. Knows nothing but numbers.

/// A set of places below a fixed length.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set over `length` places.
    pub(crate) fn none(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    /// All of `length` places.
    pub(crate) fn all(length: usize) -> Self {
        let mut bits = Self(vec![u64::MAX; length.div_ceil(64)]);
        if let Some(last) = bits.0.last_mut()
            && !length.is_multiple_of(64)
        {
            *last = (1 << (length % 64)) - 1;
        }
        bits
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    pub(crate) fn set(&mut self, at: usize, member: bool) {
        if member {
            self.insert(at);
        } else {
            self.0[at / 64] &= !(1 << (at % 64));
        }
    }

    pub(crate) fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    pub(crate) fn without(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }

    /// Splits off the places that are also in `other`.
    pub(crate) fn take(&mut self, other: &Self) -> Self {
        let mut taken = self.clone();
        taken.and(other);
        self.without(other);
        taken
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The places in rising order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            std::iter::successors((*word != 0).then_some(*word), |left| {
                let rest = left & (left - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |left| at * 64 + left.trailing_zeros() as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in_in_rising_order() {
        let mut bits = Bits::none(130);
        for at in [129, 0, 64, 63] {
            bits.insert(at);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(Bits::all(130).count(), 130);
        let mut low = Bits::none(130);
        (0..64).for_each(|at| low.insert(at));
        let taken = bits.take(&low);
        assert_eq!(taken.iter().collect::<Vec<_>>(), [0, 63]);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [64, 129]);
        bits.set(64, false);
        assert!(!bits.has(64) && bits.has(129) && !bits.has(4000));
    }
}
