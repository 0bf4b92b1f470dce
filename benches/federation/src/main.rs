//! Measures a whole federation as a user runs it: `hanse up` as a process on a fresh data
//! directory, kubectl and the command line beside it. Every figure stands beside its target; a
//! missed one fails the run. Must not reach into the process: what it sees, a user can see.
#![forbid(unsafe_code)]

mod board;
mod cases;
mod federation;
mod figures;
mod load;
mod machine;
mod workload;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use hanse_tests_bodies::Turn;
use serde_json::json;

use figures::Figures;
use machine::Machine;

/// Measures a whole federation as a user runs it.
#[derive(Debug, Parser)]
pub(crate) struct Bench {
    /// The program; else `hanse` beside this one
    #[arg(long = "hanse", value_name = "FILE", default_value_os_t = beside())]
    pub(crate) program: PathBuf,
    /// Where to keep the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these cases
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often every case with a loss is measured
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// How often the start is measured
    #[arg(long, default_value_t = 3)]
    pub(crate) starts: usize,
    /// How often scale and delete are measured
    #[arg(long, default_value_t = 10)]
    pub(crate) repeats: usize,
    /// Requests a second during losses
    #[arg(long, default_value_t = 200)]
    pub(crate) rate: u32,
    /// Seconds that a loss lasts
    #[arg(long, default_value_t = 30)]
    pub(crate) duration: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Start to ready, and idle memory
    Start,
    /// A published application
    Deploy,
    /// Scale and delete
    Scale,
    /// Drills of each region and of a cluster
    Drill,
    /// Killed and blackholed cluster and region
    Fault,
    /// Killed process in the middle of an evacuation
    Restart,
}

/// One case: its name and what is measured.
#[derive(Clone, Debug)]
struct Planned {
    name: String,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Start,
    Deploy,
    Scale,
    Drill(workload::Scene),
    Fault(workload::Scene, &'static str),
    Restart,
}

fn beside() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("hanse")
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to people")]
fn main() -> ExitCode {
    let bench = Bench::parse();
    drop(rustls::crypto::ring::default_provider().install_default());
    let measured = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")
        .and_then(|runtime| runtime.block_on(measure(&bench)));
    match measured {
        Ok((machine, figures)) => {
            println!("{}\n\n{}", machine.text(), figures.table());
            if figures.are_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(bench: &Bench) -> Result<(Machine, Figures)> {
    let _turn = Turn::take().await?;
    let machine = Machine::look(&bench.program).await;
    let mut figures = Figures::default();
    for planned in bench.cases() {
        bench.run(&planned, &mut figures).await;
        // Kept after each case: a long run that is ended early has said something.
        if let Some(path) = &bench.json {
            let all = json!({"machine": machine, "measured": figures});
            hanse_rt::disk::write_atomically(path, &serde_json::to_vec_pretty(&all)?)
                .with_context(|| path.display().to_string())?;
        }
    }
    Ok((machine, figures))
}

impl Bench {
    fn cases(&self) -> Vec<Planned> {
        let wanted = |part| self.only.is_empty() || self.only.contains(&part);
        let mut cases = Vec::new();
        let mut plan = |name: String, what| cases.push(Planned { name, what });
        for (part, name, what) in [
            (Part::Start, "start", What::Start),
            (Part::Deploy, "deploy", What::Deploy),
            (Part::Scale, "scale", What::Scale),
        ] {
            if wanted(part) {
                plan(name.to_owned(), what);
            }
        }
        let scenes = workload::REGIONS.iter().chain([&workload::CLUSTER]);
        for _ in 0..self.rounds {
            for scene in scenes.clone().filter(|_| wanted(Part::Drill)) {
                let name = format!("drill {} {}", scene.unit, scene.target);
                plan(name, What::Drill(*scene));
            }
            for fault in ["kill", "blackhole"] {
                for scene in [&workload::CLUSTER, &workload::REGIONS[0]] {
                    if wanted(Part::Fault) {
                        let name = format!("{fault} {} {}", scene.unit, scene.target);
                        plan(name, What::Fault(*scene, fault));
                    }
                }
            }
            if wanted(Part::Restart) {
                plan("restart".to_owned(), What::Restart);
            }
        }
        cases
    }

    #[expect(clippy::print_stderr, reason = "says what takes so long")]
    async fn run(&self, planned: &Planned, figures: &mut Figures) {
        eprintln!("measuring: {}", planned.name);
        let mut case = figures.case(&planned.name);
        let case = &mut case;
        let ran = match planned.what {
            What::Start => cases::start::run(self, case).await,
            What::Deploy => cases::deploy::run(self, case).await,
            What::Scale => cases::scale::run(self, case).await,
            What::Drill(scene) => cases::drill::run(self, case, &scene).await,
            What::Fault(scene, fault) => cases::fault::run(self, case, &scene, fault).await,
            What::Restart => cases::restart::run(self, case).await,
        };
        if let Err(error) = ran {
            figures.broke(&planned.name, &error);
        }
    }
}
