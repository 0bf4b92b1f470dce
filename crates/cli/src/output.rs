//! Results on standard output, messages on standard error.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::args::Output;

/// Prints a result in the form that was asked for; `table` is called for people.
///
/// # Errors
/// When the result cannot be written in that form.
#[expect(clippy::print_stdout, reason = "results go to standard output")]
pub(crate) fn print<T: Serialize>(
    output: Output,
    value: &T,
    names: impl FnOnce() -> Vec<String>,
    table: impl FnOnce(bool) -> String,
) -> Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(value)?),
        Output::Yaml => print!("{}", serde_saphyr::to_string(value)?),
        Output::Name => names().iter().for_each(|name| println!("{name}")),
        Output::Table => println!("{}", table(false)),
        Output::Wide => println!("{}", table(true)),
        Output::Svg => bail!("-o svg is for explain, and for plan of one workload"),
    }
    Ok(())
}

/// A result that is text already.
#[expect(clippy::print_stdout, reason = "results go to standard output")]
pub(crate) fn raw(text: &str) {
    print!("{text}");
}

/// A line for people that is no result.
#[expect(clippy::print_stderr, reason = "messages go to standard error")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A plain table in kubectl's manner.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> =
        vec![header.iter().map(|title| title.to_uppercase()).collect()];
    lines.extend(rows);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let text = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   "));
        cells.collect::<String>().trim_end().to_owned()
    });
    text.collect::<Vec<_>>().join("\n")
}

/// Bytes as people read them.
pub(crate) fn bytes(value: u128) -> String {
    const UNITS: [(&str, u32); 4] = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    for (unit, shift) in UNITS {
        if value >= 1 << shift {
            return format!("{}{unit}", value >> shift);
        }
    }
    value.to_string()
}
