//! Every random choice of a simulation, drawn from its seed alone.

use std::{ops::Range, time::Duration};

/// A stream of random numbers (SplitMix64): small, fast, and the same on every machine. It keeps no secret.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// A stream for one purpose: what one purpose draws does not shift what another does.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut draw = Self(seed ^ purpose.wrapping_mul(0xA24B_AED4_963E_E407));
        draw.next();
        draw
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero if that is zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }

    /// Whether something happens that does so `count` times in `of`.
    pub(crate) fn chance(&mut self, count: u64, of: u64) -> bool {
        self.next() % of < count
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).cloned()
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let block = self.next().to_be_bytes();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        bytes
    }

    /// The time until something next happens that does so once in `mean` on average.
    pub(crate) fn wait(&mut self, mean: Duration) -> u64 {
        let unit = ((self.next() >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        (-unit.ln() * mean.as_millis() as f64) as u64 + 1
    }
}
