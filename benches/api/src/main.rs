//! What a call to the embedded API server costs: processor time and allocations of the writes that a
//! hub makes for one binding, of a member's share in them, and of reads. The objects have the shape
//! that the hub gives them, and each kind is watched once, as a hub watches it. It has no targets:
//! it shows figures.

mod calls;
mod figures;
mod objects;
mod server;

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use hanse_bench_scheduler::count;

use figures::Figures;

#[global_allocator]
static COUNTING: count::Counting = count::Counting;

/// Cost of calls to the embedded API server.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keeps the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Objects of each kind.
    #[arg(long, default_value_t = 10_000)]
    objects: u32,
    /// Objects that go through all steps together.
    #[arg(long, default_value_t = 100)]
    batch: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut figures = Figures::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(calls::run(arguments.objects, arguments.batch.max(1), &mut figures))?;
    let mut out = std::io::stdout().lock();
    write!(out, "{}", figures.table())?;
    writeln!(
        out,
        "processor time of one thread a call, in process, without TLS; answers are read and one \
         watch of each kind is served\n{} objects of each kind, {} at a time",
        arguments.objects, arguments.batch
    )?;
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
