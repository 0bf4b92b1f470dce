//! Measures the federation on real control planes: a hub's API and three members, each an etcd, a
//! kube-apiserver and a controller manager, on this machine. Beside each figure stand its target
//! and what Karmada took for the same work, with its default and with tuned flags. Exits 1 when a
//! target is missed.
#![forbid(unsafe_code)]

mod cases;
mod usage;
mod watch;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use hanse_tests_kubernetes::{Real, peers};
use serde::Serialize;

/// Measures the federation on real control planes.
#[derive(Debug, Parser)]
struct Bench {
    /// The program; else `hanse` beside this one
    #[arg(long = "hanse", value_name = "FILE", default_value_os_t = beside())]
    program: PathBuf,
    /// Where to keep the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often a single Deployment is measured
    #[arg(long, default_value_t = 12)]
    repeats: u32,
    /// How often the application is made and deleted
    #[arg(long, default_value_t = 5)]
    applications: u32,
    /// Whether to show which requests the API servers answered meanwhile
    #[arg(long)]
    requests: bool,
    /// How many Deployments are made at once
    #[arg(long, default_value_t = 1000)]
    many: u32,
}

/// One figure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    /// The median, where it was measured more than once.
    value: u64,
    /// The worst of several.
    worst: Option<u64>,
    unit: &'static str,
    target: Option<u64>,
    /// What Karmada took, default / tuned, in the same unit.
    karmada: &'static str,
    met: bool,
}

impl Row {
    /// The median is held against `most`, as the peer's is a median.
    fn millis(name: &str, took: &[Duration], most: u64, karmada: &'static str) -> Self {
        let mut all: Vec<u64> =
            took.iter().map(|one| u64::try_from(one.as_millis()).unwrap_or(u64::MAX)).collect();
        all.sort_unstable();
        let value = all.get(all.len() / 2).copied().unwrap_or(u64::MAX);
        let worst = all.last().copied().filter(|_| all.len() > 1);
        let met = value <= most;
        Self { name: name.to_owned(), value, worst, unit: "ms", target: Some(most), karmada, met }
    }

    fn shown(name: &str, took: &[Duration], karmada: &'static str) -> Self {
        Self { target: None, met: true, ..Self::millis(name, took, 0, karmada) }
    }

    fn rate(name: &str, value: u64, least: u64, karmada: &'static str) -> Self {
        let (target, met) = (Some(least), value >= least);
        Self { name: name.to_owned(), value, worst: None, unit: "/s", target, karmada, met }
    }

    fn mebibytes(name: &str, value: u64, most: Option<u64>, karmada: &'static str) -> Self {
        let met = most.is_none_or(|most| value <= most);
        let (name, worst) = (name.to_owned(), None);
        Self { name, value, worst, unit: "MiB", target: most, karmada, met }
    }
}

fn beside() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("hanse")
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to people")]
fn main() -> ExitCode {
    let bench = Bench::parse();
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut rows = Vec::new();
    let measured = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")
        .and_then(|runtime| runtime.block_on(measure(&bench, &mut rows)));
    if !rows.is_empty() {
        println!("{}", table(&rows));
    }
    match measured {
        Ok(()) => {
            let met = rows.iter().all(|row| row.met);
            if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Room for all that is measured: three nodes a member, as the peer was recorded with, but larger,
/// for we place nothing where there is no room.
const NODES: &str = "{count: 3, cpu: '32', memory: 128Gi, pods: 1000}";

/// What was measured before something failed stays in `rows`.
async fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    let programs =
        peers()?.context("HANSE_PEERS names no folder: use `cargo xtask bench endtoend`")?;
    tell("four control planes start");
    let mut real = Real::start(&bench.program, &programs, NODES).await?;
    let watches = watch::Watches::open(&real.fleet);
    cases::policy(&real).await?;
    hanse_rt::sleep(Duration::from_secs(10)).await;
    rows.extend(cases::memory(&real, "idle", 60, "298 (no gateways)")?);
    let asked = bench.requests;
    let usage = say("idle for 10 s", &real, asked).await?;
    hanse_rt::sleep(Duration::from_secs(10)).await;
    tell(&usage.end(&real).await?);
    if bench.repeats > 0 {
        let usage = say("one Deployment, again and again", &real, asked).await?;
        rows.extend(cases::one(&real, &watches, bench.repeats).await?);
        tell(&usage.end(&real).await?);
    }
    if bench.applications > 0 {
        let usage = say("Online Boutique, again and again", &real, asked).await?;
        rows.extend(cases::application(&real, &watches, bench.applications).await?);
        tell(&usage.end(&real).await?);
    }
    if bench.many > 0 {
        let usage = say("many Deployments at once", &real, asked).await?;
        rows.extend(cases::many(&real, &watches, bench.many).await?);
        tell(&usage.end(&real).await?);
        rows.extend(cases::memory(
            &real,
            &format!("{} bindings", bench.many),
            120,
            "446 (no gateways)",
        )?);
        let usage = say("until all is quiet again", &real, asked).await?;
        usage::quiet(&real, Duration::from_mins(3)).await?;
        tell(&usage.end(&real).await?);
        let usage = say("restart of the hub", &real, asked).await?;
        rows.extend(cases::restart(&mut real, &watches).await?);
        tell(&usage.end(&real).await?);
    }
    if let Some(path) = &bench.json {
        let text = serde_json::to_string_pretty(&rows)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Says what comes, and looks what is used from here on.
async fn say(what: &str, real: &Real, requests: bool) -> Result<usage::Usage> {
    tell(&format!("measuring: {what}"));
    usage::Usage::begin(what, real, requests).await
}

#[expect(clippy::print_stderr, reason = "a command line speaks to people")]
fn tell(what: &str) {
    eprintln!("{what}");
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![format!(
        "{:<58} {:>8} {:>8} {:<4} {:>8}  Karmada default / tuned",
        "figure", "measured", "worst", "", "target"
    )];
    lines.extend(rows.iter().map(|row| {
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let (target, worst) = (number(row.target), number(row.worst));
        let missed = if row.met { "" } else { "  MISSED" };
        let Row { name, value, unit, karmada, .. } = row;
        format!("{name:<58} {value:>8} {worst:>8} {unit:<4} {target:>8}  {karmada}{missed}")
    }));
    lines.push(
        "Karmada: f8fdd02, recorded on a machine of the same kind (2 cores), Kubernetes 1.36.3, \
         etcd 3.6.12; figures from the hub's acceptance where it says so, else from kubectl"
            .to_owned(),
    );
    lines.join("\n")
}
