//! What a placement decision costs: processor time, instructions and allocations, beside the
//! recorded figures of a peer, over the same fleets. Exits 1 when a target is missed.

mod instructions;
mod peer;

use std::{
    hint::black_box, io::Write as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use hanse_scheduler::{
    Bounds, DivideBy, Fleet, LabelRule, Mode, Planner, Request, Rules, Selection,
};
use serde::Serialize;

use instructions::{By, Instructions};

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
    /// Where the processor has no counter, instructions of a decision over at most so many members
    /// are counted by stepping through it, which takes seconds for each 1,000.
    #[arg(long, default_value_t = 1000)]
    step_up_to: u64,
    /// Makes one decision for a parent that steps through it.
    #[arg(long, hide = true)]
    stepped: Option<String>,
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
    /// Instructions of a decision; absent where they were not counted.
    instructions: Option<Instructions>,
    /// The peer's, milliseconds, best and typical; absent where it was not measured.
    peer_millis: Option<(f64, f64)>,
    target_micros: Option<f64>,
    met: bool,
}

/// Most allocations of a decision at 1,000 members.
const MOST_ALLOCATIONS: f64 = 100.0;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(name) = &arguments.stepped {
        return be_stepped(name, arguments.members.first().copied().unwrap_or(0));
    }
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
    for figure in &mut figures {
        figure.instructions = count_instructions(figure, arguments.step_up_to);
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

/// What stands behind a row.
fn case(name: &str, members: u64) -> Option<(Fleet, Request)> {
    if name == FEW {
        return Some((fleet::fleet(members), fleet::few()));
    }
    if let Some(replicas) = name.strip_suffix(REPLICAS) {
        return replicas.parse().ok().map(|replicas| large_case(members, replicas));
    }
    let found = fleet::scenarios(members).into_iter().find(|scenario| scenario.name == name)?;
    Some((found.fleet, found.request))
}

/// A planner that has met the case before.
fn warm(fleet: &Fleet, request: &Request) -> Planner {
    let mut planner = Planner::default();
    for key in 0..4 {
        drop(black_box(planner.schedule(fleet, request, key)));
    }
    planner
}

fn be_stepped(name: &str, members: u64) -> anyhow::Result<ExitCode> {
    let (fleet, request) = case(name, members).context("there is no such scenario")?;
    let mut planner = warm(&fleet, &request);
    instructions::be_stepped(|| {
        drop(black_box(planner.schedule(black_box(&fleet), black_box(&request), 7)));
    })?;
    Ok(ExitCode::SUCCESS)
}

fn count_instructions(figure: &Figure, step_up_to: u64) -> Option<Instructions> {
    let (fleet, request) = case(&figure.scenario, figure.members)?;
    let mut planner = warm(&fleet, &request);
    let counted = instructions::by_counter(|| {
        drop(black_box(planner.schedule(black_box(&fleet), black_box(&request), 7)));
    });
    if counted.is_some() || figure.members > step_up_to {
        return counted;
    }
    let members = figure.members.to_string();
    let arguments = ["--stepped", &figure.scenario, "--members", &members];
    match instructions::by_steps(&arguments.map(str::to_owned)) {
        Ok(stepped) => Some(stepped),
        Err(error) => {
            let mut out = std::io::stderr().lock();
            // The row without it is all that is left to say then.
            drop(writeln!(out, "instructions are not counted: {error:#}"));
            None
        }
    }
}

/// Name of the row with ten members that a policy admits.
const FEW: &str = "10 admitted";
/// How rows with many replicas are called.
const REPLICAS: &str = " replicas";

/// Ten members that a policy admits cost the same, however many others there are.
fn growth(figures: &mut Vec<Figure>, budget: Duration) {
    let of = |members: u64| measure(FEW, members, &fleet::fleet(members), &fleet::few(), budget);
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
        let (fleet, request) = large_case(members, replicas);
        let placed = hanse_scheduler::schedule(&fleet, &request, 7).map(|d| d.assignment.total());
        let name = format!("{replicas}{REPLICAS}");
        let mut figure = measure(&name, members, &fleet, &request, budget);
        figure.target_micros = Some(target);
        figure.met = figure.typical_micros <= target && placed == Ok(u64::from(replicas));
        figures.push(figure);
    }
}

/// Every member has bounds, and room that is counted: a policy has 64 entries at most, so that
/// each of them is for a 64th of the members.
fn large_case(members: u64, replicas: u32) -> (Fleet, Request) {
    const SHARES: usize = 64;
    let share = |at: usize| (at % SHARES).to_string();
    let fleet = fleet::fleet(members);
    let labelled = fleet.iter().enumerate().map(|(at, member)| {
        let mut member = member.clone();
        Arc::make_mut(&mut member.labels).insert("share".to_owned(), share(at));
        member
    });
    let fleet = Fleet::new(labelled);
    let mut dice = Dice(members);
    let bounds = (0..SHARES).map(|at| {
        let min = u32::try_from(dice.within(0, 20)).unwrap_or(0);
        let most = 100 + u32::try_from(dice.within(0, 900)).unwrap_or(0);
        let labels = vec![LabelRule::In("share".to_owned(), vec![share(at)])];
        let clusters = Selection { labels, ..Selection::default() };
        Bounds { clusters, min, max: Some(min + most) }
    });
    let rules = Rules { bounds: bounds.collect(), ..Rules::default() };
    let mut request = fleet::request(Mode::Divide(DivideBy::Weighted(Arc::default())), rules);
    request.replicas = replicas;
    (fleet, request)
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
        instructions: None,
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
        "{:>7}  {:<16} {:>10} {:>10} {:>10} {:>7} {:>12}  {:>19}  {:>8}  {:>9}",
        "members",
        "scenario",
        "best us",
        "typical us",
        "first us",
        "allocs",
        "instructions",
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
        let instructions =
            figure.instructions.map_or_else(|| "-".to_owned(), |counted| counted.count.to_string());
        let target = figure.target_micros.map_or_else(|| "-".to_owned(), |t| format!("{t:.0}"));
        writeln!(
            out,
            "{:>7}  {:<16} {:>10.1} {:>10.1} {:>10.1} {:>7.0} {:>12}  {:>19}  {:>8}  {:>9}{}",
            figure.members,
            figure.scenario,
            figure.best_micros,
            figure.typical_micros,
            figure.first_micros,
            figure.allocations,
            instructions,
            peer,
            times,
            target,
            if figure.met { "" } else { "  MISSED" }
        )?;
    }
    if let Some(counted) = figures.iter().find_map(|figure| figure.instructions) {
        let by = match counted.by {
            By::Counter => "the processor's counter",
            By::Steps => "stepping through one decision: this machine has no counter",
        };
        writeln!(out, "instructions in user mode, by {by}")?;
    }
    writeln!(
        out,
        "processor time of one thread; first: a policy and a shape that the planner meets for the \
         first time\nKarmada: f8fdd02df, recorded on a machine of the same kind, resource summary only"
    )?;
    Ok(())
}
