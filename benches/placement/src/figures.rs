//! Figures with their targets and the peer's, as a table and as JSON.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// What a row is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Part {
    /// The scheduler alone: decisions and their reservations, one thread.
    Decisions,
    /// A hub with its API and its members, both cores.
    Hub,
}

/// One row.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    part: Part,
    bindings: u64,
    name: String,
    value: f64,
    unit: String,
    /// Not more than this.
    target: Option<f64>,
    /// What Karmada's scheduler took for 10,000 bindings over 1,000 clusters, the same unit.
    karmada: Option<f64>,
    met: bool,
}

/// All rows of a run.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(Vec<Figure>);

/// Rows of one part for a number of bindings.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    all: &'a mut Figures,
    part: Part,
    bindings: u64,
}

impl Figure {
    fn line(&self) -> String {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
        let part = match self.part {
            Part::Decisions => "decisions",
            Part::Hub => "hub",
        };
        format!(
            "{part:<9} {:>8}  {:<62} {:>11.3} {:<4} {:>8} {:>8}{}\n",
            self.bindings,
            self.name,
            self.value,
            self.unit,
            shown(self.target),
            shown(self.karmada),
            if self.met { "" } else { "  MISSED" }
        )
    }
}

impl Figures {
    /// Starts rows.
    pub(crate) fn rows(&mut self, part: Part, bindings: u64) -> Rows<'_> {
        Rows { all: self, part, bindings }
    }

    /// Whether every target was met.
    pub(crate) fn are_met(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|figure| figure.met)
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let header = format!(
            "{:<9} {:>8}  {:<62} {:>11} {:<4} {:>8} {:>8}\n",
            "part", "bindings", "figure", "measured", "", "target", "Karmada"
        );
        std::iter::once(header).chain(self.0.iter().map(Figure::line)).collect()
    }

    /// Keeps the rows as JSON.
    pub(crate) fn keep(&self, file: &Path) -> Result<()> {
        std::fs::write(file, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Figures {
    /// Takes the rows that another process kept.
    pub(crate) fn take(&mut self, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let rows: Self = serde_json::from_str(&text)?;
        self.0.extend(rows.0);
        Ok(())
    }
}

impl Rows<'_> {
    /// How many bindings the rows are about.
    pub(crate) const fn bindings(&self) -> u64 {
        self.bindings
    }

    /// Adds a row that is only shown.
    pub(crate) fn show(&mut self, name: &str, value: f64, unit: &'static str) {
        self.add(name, value, unit, (None, None));
    }

    /// Adds a row with what it must keep.
    pub(crate) fn keep(&mut self, name: &str, value: f64, unit: &'static str, target: f64) {
        self.add(name, value, unit, (Some(target), None));
    }

    /// Adds a row with target and the peer's figure.
    pub(crate) fn add(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        (target, karmada): (Option<f64>, Option<f64>),
    ) {
        let met = target.is_none_or(|target| value <= target);
        let (part, bindings) = (self.part, self.bindings);
        let (name, unit) = (name.to_owned(), unit.to_owned());
        say(&format!("{name}: {value:.3} {unit}"));
        self.all.0.push(Figure { part, bindings, name, value, unit, target, karmada, met });
    }
}

/// Tells who waits how far it has come.
pub(crate) fn say(text: &str) {
    // Nobody may be listening any more; the figures count all the same.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// A count as a figure.
pub(crate) fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_and_no_figures_at_all_fail_the_run() {
        let mut figures = Figures::default();
        assert!(!figures.are_met());
        figures.rows(Part::Hub, 1).keep("a", 3.0, "s", 3.0);
        assert!(figures.are_met());
        figures.rows(Part::Hub, 1).keep("b", 3.1, "s", 3.0);
        assert!(!figures.are_met());
        assert!(figures.table().contains("MISSED"));
    }
}
