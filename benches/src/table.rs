//! The table of results.

use std::fmt::Write;

use crate::stats::Spread;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Operations per second.
    PerSecond,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
    /// Bytes, written in MB.
    Bytes,
}

impl Unit {
    fn write(self, spread: Spread) -> String {
        let Spread { low, median, high } = spread;
        match self {
            Self::PerSecond => format!("{median:.0}/s ({low:.0}–{high:.0})"),
            Self::Micros if high >= 10_000.0 => {
                let [median, low, high] = [median, low, high].map(|value| value / 1e3);
                format!("{median:.1} ms ({low:.1}–{high:.1})")
            }
            Self::Micros => format!("{median:.0} µs ({low:.0}–{high:.0})"),
            Self::Nanos if high < 100.0 => format!("{median:.1} ns ({low:.1}–{high:.1})"),
            Self::Nanos => format!("{median:.0} ns ({low:.0}–{high:.0})"),
            Self::Bytes => format!(
                "{:.1} MB ({:.1}–{:.1})",
                median / 1e6,
                low / 1e6,
                high / 1e6
            ),
        }
    }

    fn write_limit(self, limit: f64) -> String {
        match self {
            Self::PerSecond => format!("{limit:.0}/s"),
            Self::Micros => format!("{limit:.0} µs"),
            Self::Nanos => format!("{limit:.0} ns"),
            Self::Bytes => format!("{:.0} MB", limit / 1e6),
        }
    }
}

/// What must hold of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The ratio's median is at least this.
    AtLeast(f64),
    /// The ratio's median is at most this.
    AtMost(f64),
    /// The largest value stays below this.
    Below(f64),
    /// The median is below this.
    MedianBelow(f64),
    /// The median is less than this above that of the other side.
    AddsBelow(f64),
    /// Nothing; it is told for comparison.
    None,
}

/// One comparison.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub what: String,
    /// The unit of both values.
    pub unit: Unit,
    /// What Statehouse took or reached.
    pub ours: Spread,
    /// What it is compared with.
    pub other: Option<(String, Spread)>,
    /// Ours by the other, round by round.
    pub ratio: Option<Spread>,
    /// What must hold.
    pub goal: Goal,
}

impl Row {
    /// Compares the values of each round with those of another.
    pub fn compare(what: &str, unit: Unit, ours: &[f64], other: (&str, &[f64])) -> Self {
        let (name, values) = other;
        let pairs = ours.iter().copied().zip(values.iter().copied());
        Self {
            what: what.to_owned(),
            unit,
            ours: Spread::of(ours.iter().copied()),
            other: Some((name.to_owned(), Spread::of(values.iter().copied()))),
            ratio: Some(Spread::of_ratios(pairs)),
            goal: Goal::None,
        }
    }

    /// Tells a value beside nothing.
    pub fn alone(what: &str, unit: Unit, ours: &[f64]) -> Self {
        Self {
            what: what.to_owned(),
            unit,
            ours: Spread::of(ours.iter().copied()),
            other: None,
            ratio: None,
            goal: Goal::None,
        }
    }

    /// With what must hold.
    pub fn must(self, goal: Goal) -> Self {
        Self { goal, ..self }
    }

    /// Whether the goal is met; `None` without one.
    pub fn held(&self) -> Option<bool> {
        let ratio = self.ratio.map(|ratio| ratio.median);
        match self.goal {
            Goal::AtLeast(least) => ratio.map(|ratio| ratio >= least),
            Goal::AtMost(most) => ratio.map(|ratio| ratio <= most),
            Goal::Below(limit) => Some(self.ours.high < limit),
            Goal::MedianBelow(limit) => Some(self.ours.median < limit),
            Goal::AddsBelow(limit) => {
                let (_, other) = self.other.as_ref()?;
                Some(self.ours.median - other.median < limit)
            }
            Goal::None => None,
        }
    }

    fn line(&self) -> String {
        let other = self
            .other
            .as_ref()
            .map_or_else(String::new, |(name, value)| {
                format!("{name}: {}", self.unit.write(*value))
            });
        let ratio = self.ratio.map_or_else(String::new, |ratio| {
            format!(
                "**{:.2}** ({:.2}–{:.2})",
                ratio.median, ratio.low, ratio.high
            )
        });
        let goal = match self.goal {
            Goal::AtLeast(least) => format!("≥ {least}"),
            Goal::AtMost(most) => format!("≤ {most}"),
            Goal::Below(limit) | Goal::MedianBelow(limit) => {
                format!("< {}", self.unit.write_limit(limit))
            }
            Goal::AddsBelow(limit) => format!("adds < {}", self.unit.write_limit(limit)),
            Goal::None => String::new(),
        };
        let held = match self.held() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let ours = self.unit.write(self.ours);
        format!(
            "| {} | {ours} | {other} | {ratio} | {goal} | {held} |",
            self.what
        )
    }
}

/// A part of the results.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// How it was measured.
    pub about: String,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Section {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.about);
        if self.rows.is_empty() {
            return text;
        }
        text.push_str("\n| what | Statehouse | beside it | ratio | must be | held |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        for row in &self.rows {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{}", row.line());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::compare(
            "puts",
            Unit::PerSecond,
            &[80.0, 90.0, 70.0],
            ("bare", &[100.0; 3]),
        )
    }

    #[test]
    fn a_goal_is_held_by_the_median_ratio() {
        assert_eq!(row().must(Goal::AtLeast(0.8)).held(), Some(true));
        assert_eq!(row().must(Goal::AtLeast(0.81)).held(), Some(false));
        assert_eq!(row().must(Goal::AtMost(0.79)).held(), Some(false));
        assert_eq!(row().held(), None);
    }

    #[test]
    fn a_limit_is_held_by_the_largest_value() {
        let log = Row::alone("log", Unit::Bytes, &[1e6, 63e6]);
        assert_eq!(log.clone().must(Goal::Below(64e6)).held(), Some(true));
        assert_eq!(log.clone().must(Goal::Below(63e6)).held(), Some(false));
        let adds = |limit| row().must(Goal::AddsBelow(limit)).held();
        assert_eq!((adds(-19.0), adds(-20.0)), (Some(true), Some(false)));
        let last = log.must(Goal::MedianBelow(64e6));
        assert_eq!(last.held(), Some(true));
        assert!(last.line().ends_with("| < 64 MB | yes |"));
    }

    #[test]
    fn a_row_tells_what_was_missed() {
        let line = row().must(Goal::AtLeast(0.9)).line();
        let expected = "| puts | 80/s (70–90) | bare: 100/s (100–100) | **0.80** (0.70–0.90) | \
                        ≥ 0.9 | **no** |";
        assert_eq!(line, expected);
    }
}
