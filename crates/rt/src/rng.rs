//! Seeded randomness as a tree: each use forks its own stream by name, so that a new draw in one
//! place moves no other. Generator: xoshiro256++ (Blackman and Vigna, 2019), seeded by SplitMix64.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    root: u64,
    state: [u64; 4],
}

impl Rng {
    /// A stream that is the same for the same seed, on any machine.
    pub const fn from_seed(seed: u64) -> Self {
        let mut mix = seed;
        let mut state = [0; 4];
        let mut index = 0;
        while index < 4 {
            let (next, value) = split_mix(mix);
            mix = next;
            state[index] = value;
            index += 1;
        }
        Self { root: seed, state }
    }

    /// A stream seeded by the operating system.
    pub fn from_entropy() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the operating system gives random bytes");
        Self::from_seed(u64::from_le_bytes(seed))
    }

    /// The stream for one use, named by its `purpose` and `subject`. It depends on the seed and
    /// the names only, not on what was drawn before.
    pub fn fork(&self, purpose: &str, subject: &str) -> Self {
        let mut hash = self.root ^ 0xcbf2_9ce4_8422_2325;
        for byte in purpose.bytes().chain([0xff]).chain(subject.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self::from_seed(split_mix(hash).1)
    }

    /// The next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c2 = c ^ a;
        let d2 = d ^ b;
        self.state = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        result
    }

    /// A number in `0..bound`; 0 for an empty range. The bias is below 2^-32 for bounds under 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a 128-bit product fits")
    }

    /// True in `parts` of 1,000,000 draws.
    pub fn chance(&mut self, parts_per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(parts_per_million)
    }

    /// A random version 4 UUID.
    pub fn uuid(&mut self) -> uuid::Uuid {
        let wide = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(wide.to_be_bytes()).into_uuid()
    }

    /// `length` characters of the alphabet that Kubernetes uses for generated names.
    pub fn name_suffix(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length)
            .map(|_| {
                let at = self.below(ALPHABET.len() as u64);
                char::from(ALPHABET[usize::try_from(at).expect("an index below 27 fits")])
            })
            .collect()
    }
}

/// A secret of 256 bits from the operating system, as lower-case hex: for bearer tokens.
pub fn secret_token() -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const fn split_mix(state: u64) -> (u64, u64) {
    let next = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = next;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (next, value ^ (value >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let (mut a, mut b) = (Rng::from_seed(7), Rng::from_seed(7));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
    }

    #[test]
    fn a_fork_depends_on_its_names_and_not_on_earlier_draws() {
        let mut root = Rng::from_seed(7);
        let before = root.fork("probe", "aws-1").next_u64();
        root.next_u64();
        assert_eq!(before, root.fork("probe", "aws-1").next_u64());
        assert_ne!(before, root.fork("probe", "aws-2").next_u64());
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut rng = Rng::from_seed(3);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[usize::try_from(rng.below(7)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(rng.below(0), 0);
    }
}
