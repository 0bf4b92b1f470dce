//! Figures of calls, as a table and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

/// What some calls of one kind cost together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) calls: u32,
    /// Microseconds of processor time.
    pub(crate) micros: f64,
    pub(crate) allocations: u64,
    /// Bytes of the answers.
    pub(crate) answered: usize,
}

/// One row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figure {
    call: &'static str,
    /// Cheapest batch, microseconds of processor time a call.
    best_micros: f64,
    /// Median batch.
    typical_micros: f64,
    /// Of the median batch by allocations.
    allocations: f64,
    /// Bytes of an answer, median.
    answer_bytes: f64,
}

/// All rows, in the order in which calls were first made.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    order: Vec<&'static str>,
    costs: BTreeMap<&'static str, Vec<Cost>>,
}

impl Figures {
    pub(crate) fn add(&mut self, call: &'static str, cost: Cost) {
        if !self.costs.contains_key(call) {
            self.order.push(call);
        }
        self.costs.entry(call).or_default().push(cost);
    }

    pub(crate) fn table(&self) -> String {
        let head = format!(
            "{:<52} {:>10} {:>10} {:>8} {:>10}\n",
            "call", "best us", "typical us", "allocs", "bytes"
        );
        let rows = self.rows().map(|row| {
            format!(
                "{:<52} {:>10.1} {:>10.1} {:>8.0} {:>10.0}\n",
                row.call, row.best_micros, row.typical_micros, row.allocations, row.answer_bytes
            )
        });
        std::iter::once(head).chain(rows).collect()
    }

    fn rows(&self) -> impl Iterator<Item = Figure> {
        self.order.iter().filter_map(|call| {
            let costs = self.costs.get(call)?;
            let sorted = |of: fn(&Cost) -> f64| {
                let mut all: Vec<f64> =
                    costs.iter().map(|cost| of(cost) / f64::from(cost.calls.max(1))).collect();
                all.sort_by(f64::total_cmp);
                all
            };
            let median = |all: &[f64]| all.get(all.len() / 2).copied().unwrap_or(f64::NAN);
            let micros = sorted(|cost| cost.micros);
            Some(Figure {
                call,
                best_micros: micros.first().copied().unwrap_or(f64::NAN),
                typical_micros: median(&micros),
                allocations: median(&sorted(|cost| number(cost.allocations))),
                answer_bytes: median(&sorted(|cost| {
                    number(u64::try_from(cost.answered).unwrap_or(u64::MAX))
                })),
            })
        })
    }
}

impl Serialize for Figures {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows())
    }
}

fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
