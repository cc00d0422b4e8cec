//! A generator that hands out bytes drawn elsewhere, so that this crate never draws any itself.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroize;

/// Hands out the given bytes in order, each once.
///
/// A library that asks for more than there is would get predictable bytes: [`Drawn::is_spent_exactly`]
/// tells, and callers refuse the result.
pub struct Drawn {
    bytes: Vec<u8>,
    at: usize,
    overdrawn: bool,
}

impl Drawn {
    /// Takes bytes that a cryptographic generator drew.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0, overdrawn: false }
    }

    /// Whether exactly the given bytes were handed out.
    #[must_use]
    pub fn is_spent_exactly(&self) -> bool {
        self.at == self.bytes.len() && !self.overdrawn
    }

    fn fill(&mut self, target: &mut [u8]) {
        let end = self.at.saturating_add(target.len());
        if let Some(source) = self.bytes.get(self.at..end) {
            target.copy_from_slice(source);
            self.at = end;
        } else {
            self.overdrawn = true;
            target.fill(0);
        }
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        self.fill(target);
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_handed_out_once_and_overdrawing_is_noticed() {
        let mut drawn = Drawn::new(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(drawn.try_next_u32(), Ok(u32::from_le_bytes([1, 2, 3, 4])));
        assert!(!drawn.is_spent_exactly());
        let mut rest = [0; 2];
        drawn.fill(&mut rest);
        assert_eq!(rest, [5, 6]);
        assert!(drawn.is_spent_exactly());
        drawn.fill(&mut rest);
        assert!(!drawn.is_spent_exactly());
    }
}
