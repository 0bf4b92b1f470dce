//! `hanse drill`: starts a drill, follows it live, ends with its verdict.

mod follow;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hanse_api::{
    Drill, DrillFault, DrillMeasured, DrillProbe, DrillSpec, DrillTarget, DrillVerdict,
    DrillWorkload, Entered, GlobalService, Percentiles, conditions::drill::FINISHED,
};
use indicatif::{ProgressBar, ProgressStyle};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};

use crate::{
    args::{self, DrillRun, Global, Output},
    connect::{connect, within},
    output,
};

/// How a drill ended, as an exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    Passed,
    Failed,
    Aborted,
}

/// Runs a drill and follows it.
///
/// # Errors
/// When it cannot be created, or its hub falls silent.
pub(crate) async fn run(global: &Global, wanted: &DrillRun) -> Result<Ended> {
    let client = connect(global).await?.client;
    let drills: Api<Drill> = Api::all(client.clone());
    let probes = probes(client, wanted).await?;
    let drill = create(&drills, wanted, probes).await?;
    let name = drill.name_any();
    output::say(&format!("drill {name} created"));
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    let done = follow::follow(&drills, &name, &bar).await?;
    bar.finish_and_clear();
    let verdict = done.status.as_ref().and_then(|status| status.verdict);
    output::print(global.output, &done, || vec![name.clone()], |_| report_text(&done))?;
    Ok(match verdict {
        Some(DrillVerdict::Passed) => Ended::Passed,
        Some(DrillVerdict::Failed) => Ended::Failed,
        Some(DrillVerdict::Aborted) | None => Ended::Aborted,
    })
}

/// What to send traffic to: the named services, or every one there is.
async fn probes(client: kube::Client, wanted: &DrillRun) -> Result<Vec<DrillProbe>> {
    let rate = i32::try_from(wanted.rate).context("--rate is too high")?;
    let probe = |global_service: String| DrillProbe { global_service, rate_per_second: rate };
    if !wanted.probe.is_empty() {
        return Ok(wanted.probe.iter().cloned().map(probe).collect());
    }
    let services: Api<GlobalService> = Api::all(client);
    let services = within("listing global services", services.list(&ListParams::default())).await?;
    let name = |service: &GlobalService| {
        format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any())
    };
    Ok(services.items.iter().map(name).map(probe).collect())
}

async fn create(drills: &Api<Drill>, wanted: &DrillRun, probe: Vec<DrillProbe>) -> Result<Drill> {
    let target = DrillTarget {
        cluster: wanted.target.cluster.clone(),
        zone: wanted.target.zone.clone(),
        region: wanted.target.region.clone(),
        provider: wanted.target.provider.clone(),
    };
    let place = place(&target);
    let duration_seconds =
        i32::try_from(wanted.duration.as_secs()).context("--duration is too long")?;
    ensure!(duration_seconds > 0, "--duration is under a second; write for instance 30s");
    let fault = match wanted.fault {
        args::DrillFault::Isolate => DrillFault::Isolate,
        args::DrillFault::Evacuate => DrillFault::Evacuate,
        args::DrillFault::Simulate => DrillFault::Simulate,
    };
    let spec = DrillSpec { target, fault, duration_seconds, probe, ..DrillSpec::default() };
    let mut drill = Drill::new("", spec);
    drill.metadata.name = None;
    drill.metadata.generate_name = Some(format!("{place}-"));
    within("creating the drill", drills.create(&PostParams::default(), &drill)).await
}

/// Lists drills.
///
/// # Errors
/// When the API cannot be reached.
pub(crate) async fn list(global: &Global) -> Result<()> {
    let drills: Api<Drill> = Api::all(connect(global).await?.client);
    let mut drills = within("listing drills", drills.list(&ListParams::default())).await?.items;
    drills.sort_by_key(|drill| drill.creation_timestamp().map(|time| time.0));
    let names = || drills.iter().map(ResourceExt::name_any).collect();
    output::print(global.output, &drills, names, |_| {
        let header = ["drill", "fault", "verdict", "shifted ms", "requests", "errors"];
        output::table(&header, drills.iter().map(row))
    })
}

fn row(drill: &Drill) -> Vec<String> {
    let status = drill.status.clone().unwrap_or_default();
    let measured = status.measured.unwrap_or_default();
    let shown =
        |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    vec![
        drill.name_any(),
        format!("{:?}", drill.spec.fault),
        status.verdict.map_or_else(|| "running".to_owned(), |verdict| format!("{verdict:?}")),
        shown(measured.traffic_shifted_milliseconds.filter(|ms| {
            // A time says something only where traffic had to shift.
            *ms > 0 || measured.used_target_before > 0
        })),
        measured.requests.to_string(),
        measured.errors.to_string(),
    ]
}

/// Prints the report of one drill: Markdown, or JSON with `-o json`.
///
/// # Errors
/// When there is no such drill.
pub(crate) async fn report(global: &Global, name: &str) -> Result<()> {
    let drills: Api<Drill> = Api::all(connect(global).await?.client);
    let drill = within(&format!("reading drill {name}"), drills.get(name)).await?;
    if global.output == Output::Name {
        bail!("a report has no names; use -o json or leave -o out");
    }
    output::print(global.output, &drill, Vec::new, |_| report_text(&drill))
}

/// The name of the domain that a drill takes out.
fn place(target: &DrillTarget) -> String {
    let place = [&target.cluster, &target.zone, &target.region, &target.provider];
    place.into_iter().flatten().next().cloned().unwrap_or_default()
}

fn report_text(drill: &Drill) -> String {
    let status = drill.status.clone().unwrap_or_default();
    let verdict = status.verdict.map_or_else(|| "running".to_owned(), |v| format!("{v:?}"));
    let mut lines = vec![
        format!("# Drill {}: {verdict}", drill.name_any()),
        String::new(),
        what(&drill.spec),
        String::new(),
    ];
    if drill.spec.fault == DrillFault::Simulate {
        lines.extend(moves(&status.per_workload));
    } else {
        lines.extend(figures(&status.measured.clone().unwrap_or_default()));
    }
    lines.extend(without_room(&status.per_workload));
    if !status.not_exercised.is_empty() {
        lines.push(String::new());
        lines.push(format!("Not exercised: {}", status.not_exercised.join(", ")));
    }
    let finished = status.conditions.iter().find(|c| c.type_ == FINISHED);
    if let Some(finished) = finished {
        lines.push(String::new());
        lines.push(format!("{}: {}", finished.reason, finished.message));
    }
    lines.join("\n")
}

fn what(spec: &DrillSpec) -> String {
    let place = place(&spec.target);
    match spec.fault {
        DrillFault::Simulate => {
            format!("Simulate of {place}: no request was sent, nothing was touched")
        }
        fault => format!("{fault:?} of {place} for {} s", spec.duration_seconds),
    }
}

/// Where replicas would go.
fn moves(workloads: &[DrillWorkload]) -> Vec<String> {
    let line = |work: &DrillWorkload| {
        let to: Vec<_> =
            work.would_go.iter().map(|to| format!("{} to {}", to.replicas, to.name)).collect();
        let to = if to.is_empty() { "nowhere".to_owned() } else { to.join(", ") };
        format!("- {}: {} replicas: {to}", work.binding, work.replicas)
    };
    let mut lines = vec!["Would move:".to_owned()];
    lines.extend(workloads.iter().map(line));
    if workloads.is_empty() {
        lines = vec!["Nothing would have to move.".to_owned()];
    }
    lines
}

fn figures(measured: &DrillMeasured) -> Vec<String> {
    let milliseconds =
        |value: Option<i64>| value.map_or_else(|| "not seen".to_owned(), |ms| format!("{ms} ms"));
    let replaced = measured.replaced_milliseconds.map_or_else(
        || "- no replicas replaced".to_owned(),
        |replaced| {
            let Percentiles { p50, p99, max } = replaced;
            format!("- replicas replaced after {p50} ms (p50), {p99} ms (p99), {max} ms (last)")
        },
    );
    let entered =
        |entered: Entered| format!("{} requests, {} errors", entered.requests, entered.errors);
    vec![
        format!("- detected after {}", milliseconds(measured.detected_milliseconds)),
        shifted(measured),
        replaced,
        format!(
            "- {} requests, {} errors, {} slow",
            measured.requests, measured.errors, measured.slow
        ),
        format!("- entered elsewhere: {}", entered(measured.entered_elsewhere)),
        format!("- entered there: {}", entered(measured.entered_there)),
    ]
}

/// How long traffic took to shift, if there was any to shift.
fn shifted(measured: &DrillMeasured) -> String {
    let used = measured.used_target_before;
    match measured.traffic_shifted_milliseconds {
        Some(0) if used == 0 => {
            "- shift not exercised: no request that entered elsewhere used the target before the \
             fault"
                .to_owned()
        }
        Some(ms) => format!(
            "- traffic shifted after {ms} ms; {used} requests that entered elsewhere used the \
             target before the fault"
        ),
        None => "- traffic shifted: not seen".to_owned(),
    }
}

fn without_room(workloads: &[DrillWorkload]) -> Vec<String> {
    let short = workloads.iter().filter(|work| work.shortfall > 0).map(|work| {
        let missing: Vec<_> =
            work.missing.iter().map(|(what, amount)| format!("{what} {amount}")).collect();
        let why = if missing.is_empty() {
            "not for want of room: kept by its failover.mode, or late".to_owned()
        } else {
            format!("missing {}", missing.join(", "))
        };
        format!("- {}: {} of {} replicas, {why}", work.binding, work.shortfall, work.replicas)
    });
    let mut lines: Vec<String> = short.collect();
    if !lines.is_empty() {
        lines.splice(0..0, [String::new(), "Short of replicas elsewhere:".to_owned()]);
    }
    lines
}
