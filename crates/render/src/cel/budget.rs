//! What an evaluation may spend.

use super::CelError;

/// Steps and bytes that are left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    steps: u64,
    bytes: u64,
    steps_given: u64,
    bytes_given: u64,
}

impl Budget {
    /// For an expression about one object: 100,000 steps, 2 MiB.
    pub(crate) const OBJECT: Self = Self::of(100_000, 2 << 20);
    /// For all expressions of an override policy about one object: 300,000 steps, 8 MiB.
    pub(crate) const POLICY: Self = Self::of(300_000, 8 << 20);
    /// For an expression about all members: 4,000,000 steps, 32 MiB.
    pub(crate) const FLEET: Self = Self::of(4_000_000, 32 << 20);

    const fn of(steps: u64, bytes: u64) -> Self {
        Self { steps, bytes, steps_given: steps, bytes_given: bytes }
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), CelError> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.steps = self.steps.checked_sub(steps).ok_or(CelError::Steps(self.steps_given))?;
        Ok(())
    }

    /// Data that is about to be made; reading and writing it takes steps too.
    pub(super) fn make(&mut self, bytes: usize) -> Result<(), CelError> {
        self.spend(bytes / 64 + 1)?;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes = self.bytes.checked_sub(bytes).ok_or(CelError::Bytes(self.bytes_given))?;
        Ok(())
    }

    /// Text that is about to be read.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), CelError> {
        self.spend(bytes / 64 + 1)
    }
}
