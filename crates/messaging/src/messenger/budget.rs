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

    /// Whether content of `size` bytes may be resolved now.
    pub fn fits(&self, size: u64) -> bool {
        size <= self.left || self.untouched
    }

    /// Content of so many bytes was resolved. More than what fitted may be spent: what a message
    /// says of its size is its sender's word.
    pub fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
        self.untouched = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_always_fits_and_the_others_share() {
        let mut budget = Budget::new(10);
        budget.spend(4);
        assert!(!budget.fits(7), "it would be too much");
        assert!(budget.fits(6));
        budget.spend(6);
        assert!(!budget.fits(1));
        let mut small = Budget::new(10);
        assert!(small.fits(11), "one at a time gets through");
        small.spend(11);
        assert!(!small.fits(1));
    }

    #[test]
    fn what_was_more_than_it_said_is_paid_for() {
        let mut budget = Budget::new(10);
        assert!(budget.fits(1));
        budget.spend(100);
        assert!(!budget.fits(1));
    }
}
