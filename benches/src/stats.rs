//! Medians, percentiles, spreads.

/// What several rounds measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub low: f64,
    /// The one in the middle.
    pub median: f64,
    /// The largest.
    pub high: f64,
}

impl Spread {
    /// Of one value per round; all zero without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            low: at(0),
            median: at(sorted.len() / 2),
            high: at(sorted.len().saturating_sub(1)),
        }
    }

    /// Of the ratios of each round's pair.
    pub fn of_ratios(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self::of(pairs.into_iter().map(|(ours, other)| ours / other))
    }
}

/// What the callers of one round waited for each call, in microseconds, sorted.
#[derive(Clone, Debug, Default)]
pub struct Waits(Vec<f64>);

impl Waits {
    /// In any order.
    pub fn of(mut micros: Vec<f64>) -> Self {
        micros.sort_unstable_by(f64::total_cmp);
        Self(micros)
    }

    /// What `share` (0 to 1) of the calls did not exceed; zero without any.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.0.get(index).copied().unwrap_or_default()
    }

    /// How many calls there were.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_ends_and_the_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of_ratios([(1.0, 2.0)]).median, 0.5);
        assert_eq!(Spread::of([]).median, 0.0);
    }

    #[test]
    fn a_percentile_is_one_of_the_waits() {
        let waits = Waits::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(waits.percentile(0.5), 50.0);
        assert_eq!(waits.percentile(0.99), 99.0);
        assert_eq!(waits.percentile(1.0), 100.0);
        assert_eq!(Waits::default().percentile(0.5), 0.0);
    }
}
