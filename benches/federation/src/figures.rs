//! Figures with the bounds they must keep, as a table and as JSON.

use std::time::Duration;

use serde::Serialize;

/// What a figure must keep.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    /// Not more.
    AtMost(u64),
    /// Not less.
    AtLeast(u64),
    /// Exactly this.
    Exactly(u64),
    /// Only shown.
    Shown,
}

impl Target {
    const fn is_met(self, value: u64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
            Self::Exactly(bound) => value == bound,
            Self::Shown => true,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::AtLeast(bound) => format!(">= {bound}"),
            Self::Exactly(bound) => format!("= {bound}"),
            Self::Shown => String::new(),
        }
    }
}

/// One figure of one case.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    case: String,
    name: String,
    value: u64,
    unit: &'static str,
    target: Target,
    met: bool,
}

/// All figures of a run, and the cases that broke.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    figures: Vec<Figure>,
    broken: Vec<Broken>,
}

/// A case that came to no figures.
#[derive(Debug, Serialize)]
struct Broken {
    case: String,
    why: String,
}

/// Figures of one case.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    name: String,
    all: &'a mut Figures,
}

impl Figures {
    /// Starts a case.
    pub(crate) fn case(&mut self, name: &str) -> Case<'_> {
        Case { name: name.to_owned(), all: self }
    }

    /// Notes that a case broke.
    pub(crate) fn broke(&mut self, case: &str, error: &anyhow::Error) {
        self.broken.push(Broken { case: case.to_owned(), why: format!("{error:#}") });
    }

    /// Whether every target was met and every case ran to its end.
    pub(crate) fn are_met(&self) -> bool {
        self.broken.is_empty()
            && !self.figures.is_empty()
            && self.figures.iter().all(|figure| figure.met)
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let header = ["case", "figure", "measured", "unit", "target", ""].map(str::to_owned);
        let mut rows = vec![header];
        rows.extend(self.figures.iter().map(|figure| {
            let verdict = match (figure.target, figure.met) {
                (Target::Shown, _) => "",
                (_, true) => "met",
                (_, false) => "MISSED",
            };
            [
                figure.case.clone(),
                figure.name.clone(),
                figure.value.to_string(),
                figure.unit.to_owned(),
                figure.target.words(),
                verdict.to_owned(),
            ]
        }));
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..6).map(width).collect();
        let mut lines: Vec<String> = rows
            .iter()
            .map(|row| {
                let cells =
                    row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
                cells.collect::<String>().trim_end().to_owned()
            })
            .collect();
        lines.extend(
            self.broken.iter().map(|broken| format!("BROKEN {}: {}", broken.case, broken.why)),
        );
        lines.join("\n")
    }
}

impl Case<'_> {
    /// Adds a figure.
    pub(crate) fn add(&mut self, name: &str, value: u64, unit: &'static str, target: Target) {
        let figure = Figure {
            case: self.name.clone(),
            name: name.to_owned(),
            value,
            unit,
            target,
            met: target.is_met(value),
        };
        self.all.figures.push(figure);
    }

    /// Adds a time in milliseconds.
    pub(crate) fn time(&mut self, name: &str, value: Duration, target: Target) {
        self.add(name, milliseconds(value), "ms", target);
    }

    /// Adds median and worst of some times, both under the same target.
    pub(crate) fn times(&mut self, name: &str, values: &[Duration], target: Target) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let (Some(median), Some(worst)) = (sorted.get(sorted.len() / 2), sorted.last()) else {
            return;
        };
        self.time(&format!("{name}, median of {}", sorted.len()), *median, target);
        self.time(&format!("{name}, worst"), *worst, target);
    }
}

/// Whole milliseconds, saturating.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A count as a figure.
pub(crate) fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_a_broken_case_and_no_figures_at_all_fail_the_run() {
        let mut figures = Figures::default();
        assert!(!figures.are_met());
        figures.case("a").add("x", 3, "", Target::AtMost(3));
        figures.case("a").add("y", 3, "", Target::Exactly(3));
        assert!(figures.are_met());
        figures.case("b").add("z", 0, "", Target::AtLeast(1));
        assert!(!figures.are_met());
        assert!(figures.table().contains("MISSED"), "{}", figures.table());
        let mut broken = Figures::default();
        broken.case("a").add("x", 3, "", Target::Shown);
        broken.broke("b", &anyhow::anyhow!("no"));
        assert!(!broken.are_met());
    }

    #[test]
    fn of_some_times_the_median_and_the_worst_are_shown() {
        let mut figures = Figures::default();
        let times: Vec<Duration> = [9, 1, 5].into_iter().map(Duration::from_millis).collect();
        figures.case("a").times("t", &times, Target::AtMost(6));
        let shown: Vec<_> = figures.figures.iter().map(|f| (f.value, f.met)).collect();
        assert_eq!(shown, [(5, true), (9, false)]);
    }
}
