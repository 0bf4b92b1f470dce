//! What a placement decision costs: processor time and allocations, beside the recorded figures
//! of a peer, over the same fleets. Exits 1 when a target is missed.

mod peer;

use std::{
    hint::black_box, io::Write as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use hanse_scheduler::{Bounds, DivideBy, Fleet, Mode, Planner, Request, Rules, Selection};
use serde::Serialize;

use hanse_bench_scheduler::{
    count,
    fleet::{self, Dice, Scenario},
};

#[global_allocator]
static COUNTING: count::Counting = count::Counting;

/// Cost of placement decisions.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keeps the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Milliseconds of processor time for each scenario.
    #[arg(long, default_value_t = 600)]
    millis: u64,
    /// Fleets of these sizes.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000, 5000])]
    members: Vec<u64>,
    /// Only these scenarios, `a` to `f3`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// One row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figure {
    members: u64,
    scenario: String,
    /// Fastest batch, microseconds of processor time a decision.
    best_micros: f64,
    /// Median batch.
    typical_micros: f64,
    /// The first decision of a policy and a shape that the planner has not met.
    first_micros: f64,
    allocations: f64,
    /// The peer's, milliseconds, best and typical; absent where it was not measured.
    peer_millis: Option<(f64, f64)>,
    target_micros: Option<f64>,
    met: bool,
}

/// Most allocations of a decision at 1,000 members.
const MOST_ALLOCATIONS: f64 = 100.0;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let budget = Duration::from_millis(arguments.millis);
    let mut figures = Vec::new();
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|o| o == name);
    for members in arguments.members.iter().copied() {
        for scenario in fleet::scenarios(members).iter().filter(|one| wanted(one.name)) {
            figures.push(scenario_figure(members, scenario, budget));
        }
    }
    if arguments.only.is_empty() {
        growth(&mut figures, budget);
        large(&mut figures, budget);
    }
    print(&figures)?;
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let missed = figures.iter().filter(|figure| !figure.met).count();
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn scenario_figure(members: u64, scenario: &Scenario, budget: Duration) -> Figure {
    let target = match (members, scenario.name) {
        (1000, "f0") => Some(5.0),
        (1000, _) => Some(50.0),
        (5000, _) => Some(250.0),
        _ => None,
    };
    let mut figure = measure(scenario.name, members, &scenario.fleet, &scenario.request, budget);
    figure.peer_millis = peer::millis(members, scenario.name);
    figure.target_micros = target;
    figure.met = target.is_none_or(|target| figure.typical_micros <= target)
        && (members != 1000 || figure.allocations <= MOST_ALLOCATIONS);
    figure
}

/// Ten members that a policy admits cost the same, however many others there are.
fn growth(figures: &mut Vec<Figure>, budget: Duration) {
    let of = |members: u64| {
        measure("10 admitted", members, &fleet::fleet(members), &fleet::few(), budget)
    };
    let small = of(50);
    let mut large = of(5000);
    // Within what batches differ by on a shared machine.
    let limit = small.typical_micros * 1.5;
    large.target_micros = Some(limit);
    large.met = large.typical_micros <= limit;
    figures.extend([small, large]);
}

/// Many replicas over many members.
fn large(figures: &mut Vec<Figure>, budget: Duration) {
    for (members, replicas, target) in [(200, 10_000, 1000.0), (5000, 1_000_000, 10_000.0)] {
        let fleet = fleet::fleet(members);
        let mut dice = Dice(members);
        let bounds = fleet.iter().map(|member| {
            let min = u32::try_from(dice.within(0, 20)).unwrap_or(0);
            let most = 100 + u32::try_from(dice.within(0, 900)).unwrap_or(0);
            let names = vec![member.name.to_string()];
            Bounds {
                clusters: Selection { names, ..Selection::default() },
                min,
                max: Some(min + most),
            }
        });
        // A policy has 64 entries at most; each is for one member, and the rest are free.
        let rules = Rules { bounds: bounds.take(64).collect(), ..Rules::default() };
        let mut request = fleet::request(Mode::Divide(DivideBy::Weighted(Arc::default())), rules);
        request.replicas = replicas;
        request.needs = Arc::default();
        let mut roomy = fleet.clone();
        for member in fleet.iter() {
            roomy.set_room(&member.name, hanse_scheduler::Room::Unknown);
        }
        let placed = hanse_scheduler::schedule(&roomy, &request, 7).map(|d| d.assignment.total());
        let name = format!("{replicas} replicas");
        let mut figure = measure(&name, members, &roomy, &request, budget);
        figure.target_micros = Some(target);
        figure.met = figure.typical_micros <= target && placed == Ok(u64::from(replicas));
        figures.push(figure);
    }
}

fn measure(name: &str, members: u64, fleet: &Fleet, request: &Request, budget: Duration) -> Figure {
    let first = count::processor_time();
    let mut planner = Planner::default();
    drop(black_box(planner.schedule(fleet, request, 7)));
    let first = count::processor_time().checked_sub(first).unwrap_or_default();
    let mut key = 0;
    let mut decide = |times: u64| {
        let (start, allocations) = (count::processor_time(), count::allocations());
        for _ in 0..times {
            key += 1;
            drop(black_box(planner.schedule(black_box(fleet), black_box(request), key)));
        }
        let spent = count::processor_time().checked_sub(start).unwrap_or_default();
        (spent.as_secs_f64() * 1e6, count::allocations() - allocations)
    };
    let (once, _) = decide(8);
    // A batch is long enough that the clock does not matter, and there are many.
    let times = (20_000.0 / (once / 8.0).max(0.1)).clamp(1.0, 20_000.0);
    let times = format!("{times:.0}").parse::<u64>().unwrap_or(1);
    let mut batches: Vec<f64> = Vec::new();
    let (mut spent, mut allocations) = (0.0, 0);
    while spent < budget.as_secs_f64() * 1e6 || batches.len() < 5 {
        let (micros, count) = decide(times);
        spent += micros;
        allocations = count;
        batches.push(micros / per(times));
    }
    batches.sort_by(f64::total_cmp);
    Figure {
        members,
        scenario: name.to_owned(),
        best_micros: batches[0],
        typical_micros: batches[batches.len() / 2],
        first_micros: first.as_secs_f64() * 1e6,
        allocations: per(allocations) / per(times),
        peer_millis: None,
        target_micros: None,
        met: true,
    }
}

fn per(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn print(figures: &[Figure]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:>7}  {:<16} {:>10} {:>10} {:>10} {:>7}  {:>17}  {:>8}  {:>9}",
        "members",
        "scenario",
        "best us",
        "typical us",
        "first us",
        "allocs",
        "Karmada best/typ ms",
        "times",
        "target us"
    )?;
    for figure in figures {
        let peer = figure.peer_millis.map_or_else(|| "-".to_owned(), |(b, t)| format!("{b} / {t}"));
        let times = figure.peer_millis.map_or_else(
            || "-".to_owned(),
            |(b, _)| format!("{:.0}", b * 1000.0 / figure.best_micros),
        );
        let target = figure.target_micros.map_or_else(|| "-".to_owned(), |t| format!("{t:.0}"));
        writeln!(
            out,
            "{:>7}  {:<16} {:>10.1} {:>10.1} {:>10.1} {:>7.0}  {:>19}  {:>8}  {:>9}{}",
            figure.members,
            figure.scenario,
            figure.best_micros,
            figure.typical_micros,
            figure.first_micros,
            figure.allocations,
            peer,
            times,
            target,
            if figure.met { "" } else { "  MISSED" }
        )?;
    }
    writeln!(
        out,
        "processor time of one thread; first: a policy and a shape that the planner meets for the \
         first time\nKarmada: f8fdd02df, recorded on a machine of the same kind, resource summary only"
    )?;
    Ok(())
}
