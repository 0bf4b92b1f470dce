//! Placement at scale. First the scheduler alone, beside a peer's recorded figures; then a hub with
//! a thousand simulated members and as many bindings as asked: first placement, memory, a
//! member's status, a restart, the loss of a member and of a region. Exits 1 when a target is
//! missed.

mod board;
mod cases;
mod decisions;
mod figures;
mod fleet;
mod machine;
mod stage;
mod workload;

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result};
use clap::Parser;

use figures::{Figures, Part};

/// That of `hanse`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Placement at scale.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keeps the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Members.
    #[arg(long, default_value_t = 1000)]
    members: u64,
    /// Bindings, one run each; the targets are for 10000 and 100000.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000])]
    bindings: Vec<u64>,
    /// Leaves the hub out: decisions only.
    #[arg(long)]
    decisions_only: bool,
    /// Leaves the scheduler's own rows out.
    #[arg(long, conflicts_with = "decisions_only")]
    hub_only: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut figures = Figures::default();
    for bindings in &arguments.bindings {
        if !arguments.hub_only {
            decisions::run(arguments.members, &mut figures.rows(Part::Decisions, *bindings));
        }
        if arguments.hub_only && arguments.bindings.len() == 1 {
            hub(arguments.members, &mut figures, *bindings)?;
        } else if !arguments.decisions_only {
            hub_apart(arguments.members, &mut figures, *bindings)?;
        }
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{}", figures.table())?;
    writeln!(
        out,
        "decisions: processor time of one thread, no API and no members\nhub: wall time with API \
         server and members in the same process, unless it says otherwise\nKarmada: f8fdd02df, \
         recorded on a machine of the same kind, its scheduler alone, resource summary only, \
         10,000 bindings\nmachine: {}",
        machine::words()
    )?;
    if let Some(file) = &arguments.json {
        figures.keep(file)?;
    }
    Ok(if figures.are_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A run in a process of its own: the memory of one says nothing of the next.
fn hub_apart(members: u64, figures: &mut Figures, bindings: u64) -> Result<()> {
    let name = format!("hanse-bench-placement-{}-{bindings}.json", std::process::id());
    let file = std::env::temp_dir().join(name);
    let status = Command::new(std::env::current_exe()?)
        .args(["--hub-only", "--members", &members.to_string()])
        .args(["--bindings", &bindings.to_string(), "--json"])
        .arg(&file)
        .stdout(Stdio::null())
        .status()
        .context("a process for the hub")?;
    let taken = figures.take(&file);
    drop(std::fs::remove_file(&file));
    taken.with_context(|| format!("the run with a hub came to no figures: {status}"))
}

fn hub(members: u64, figures: &mut Figures, bindings: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("threads for the hub")?;
    let result = runtime.block_on(cases::run(members, &mut figures.rows(Part::Hub, bindings)));
    runtime.shutdown_background();
    result
}
