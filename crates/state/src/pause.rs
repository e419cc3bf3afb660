//! How long to wait before trying again.

use std::time::Duration;

/// Pauses that double from 100 ms up to a bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    next: Duration,
    most: Duration,
}

const FIRST: Duration = Duration::from_millis(100);

impl Pauses {
    /// From the first pause up to `most`; always `most` when that is shorter.
    pub(crate) fn up_to(most: Duration) -> Self {
        Self {
            next: FIRST.min(most),
            most,
        }
    }

    /// The pause now; the next is longer.
    pub(crate) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.most);
        now
    }

    /// Begins again with the first: something worked.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_again() {
        let mut pauses = Pauses::up_to(Duration::from_millis(350));
        let mut next = || pauses.next().as_millis();
        assert_eq!([next(), next(), next(), next()], [100, 200, 350, 350]);
        pauses.reset();
        assert_eq!(pauses.next(), FIRST);
        assert_eq!(
            Pauses::up_to(Duration::from_millis(7)).next(),
            Duration::from_millis(7)
        );
    }
}
