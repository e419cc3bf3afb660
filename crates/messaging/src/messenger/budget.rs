//! How much content is held in memory at once.

/// What may still be resolved for one answer, in bytes. The first content always may: so whatever
/// the budget, one message at a time gets through.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: u64,
    untouched: bool,
}

impl Budget {
    /// So many bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            left: bytes,
            untouched: true,
        }
    }

    /// Takes `size` bytes, if they are left.
    pub fn take(&mut self, size: u64) -> bool {
        let fits = size <= self.left || self.untouched;
        if fits {
            self.left = self.left.saturating_sub(size);
            self.untouched = false;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_always_fits_and_the_others_share() {
        let mut budget = Budget::new(10);
        assert!(budget.take(4));
        assert!(!budget.take(7), "it would be too much");
        assert!(budget.take(6));
        assert!(!budget.take(1));
        let mut small = Budget::new(10);
        assert!(small.take(11), "one at a time gets through");
        assert!(!small.take(1));
    }
}
