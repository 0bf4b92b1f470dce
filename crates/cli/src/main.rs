//! The one binary. Reads the command line, runs the verb, and turns what came of it into an exit
//! code: 0 done, 1 failed, 2 wrong usage, 3 ended by a guard, 4 something would
//! change.

mod args;
mod connect;
mod domain;
mod drill;
mod duration;
mod explain;
mod failover;
mod fault;
mod forget;
mod join;
mod named;
mod output;
mod plan;
mod questions;
mod render;
mod roles;
mod signals;
mod status;
mod template;
mod topology;
mod up;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser as _};
use hanse_rt::telemetry::{self, LogFormat};

use args::{Cli, Drill, Verb};

/// Half of the processor time of a busy hub went into the allocator of the C library.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One provider of cryptography for the whole process, chosen in docs/adr.
    let provider = rustls::crypto::ring::default_provider();
    if provider.install_default().is_err() {
        output::say("error: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            output::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Result<ExitCode> {
    let long_running =
        matches!(cli.verb, Verb::Up(_) | Verb::Hub(_) | Verb::Agent(_) | Verb::Gateway(_));
    let filter = if long_running { "warn,hanse=info" } else { "error" };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let telemetry = {
        let _inside = runtime.enter();
        let json = std::env::var_os("HANSE_LOG_FORMAT").is_some_and(|format| format == "json");
        let format = if json { LogFormat::Json } else { LogFormat::Text };
        telemetry::init("hanse", filter, format).context("telemetry")?
    };
    let code = runtime.block_on(run(cli));
    telemetry.flush();
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Up(up) => up::run(up).await?,
        Verb::Status => status::run(global).await?,
        Verb::Tree { template } => template::tree(global, template).await?,
        Verb::Explain { template } => explain::run(global, template).await?,
        Verb::Render(wanted) => render::run(global, wanted).await?,
        Verb::Forget { template } => forget::run(global, template).await?,
        Verb::Drain(what) => domain::run(global, domain::Verb::Drain, what).await?,
        Verb::Cordon(what) => domain::run(global, domain::Verb::Cordon, what).await?,
        Verb::Uncordon(what) => domain::run(global, domain::Verb::Uncordon, what).await?,
        Verb::Fault(what) => fault::run(global, what).await?,
        Verb::Drill(Drill::Run(wanted)) => {
            return Ok(match drill::run(global, wanted).await? {
                drill::Ended::Passed => ExitCode::SUCCESS,
                drill::Ended::Failed => ExitCode::FAILURE,
                drill::Ended::Aborted => ExitCode::from(3),
            });
        }
        Verb::Drill(Drill::List) => drill::list(global).await?,
        Verb::Drill(Drill::Report { name }) => drill::report(global, name).await?,
        Verb::Failover(what) => failover::run(global, what).await?,
        Verb::Topology(what) => topology::run(global, what)?,
        Verb::Completion { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "hanse", &mut std::io::stdout());
        }
        Verb::Agent(agent) => roles::agent(global, agent).await?,
        Verb::Gateway(gateway) => roles::gateway(gateway).await?,
        Verb::Join(wanted) => join::join(global, wanted).await?,
        Verb::Leave { name } => join::leave(global, name).await?,
        Verb::Hub(wanted) => roles::hub(global, wanted).await?,
        Verb::Plan(wanted) => {
            return Ok(match plan::run(global, wanted).await? {
                plan::Ended::Nothing => ExitCode::SUCCESS,
                plan::Ended::Short => ExitCode::FAILURE,
                plan::Ended::Changes => ExitCode::from(4),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}
