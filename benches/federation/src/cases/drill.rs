//! `hanse drill run` on a workload whose clients elsewhere use the target.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    Bench,
    federation::Federation,
    figures::{Case, Target, count},
    workload::{self, REPLICAS, Scene},
};

/// Measures it.
pub(crate) async fn run(bench: &Bench, case: &mut Case<'_>, scene: &Scene) -> Result<()> {
    let (federation, fleet) = Federation::start(&bench.program).await?;
    let running = workload::deploy(&fleet, scene).await?;
    let unit = format!("--{}", scene.unit);
    let (rate, duration) = (bench.rate.to_string(), format!("{}s", bench.duration));
    let drill = [
        "drill",
        "run",
        &unit,
        scene.target,
        "--rate",
        &rate,
        "--duration",
        &duration,
        "-o",
        "json",
    ];
    let (code, text) = federation.hanse(&drill).await?;
    let done: Value = serde_json::from_str(&text).with_context(|| format!("drill: {text}"))?;
    let measured = &done["status"]["measured"];
    let number = |field: &str| measured[field].as_u64();
    let must = |field: &str| number(field).with_context(|| format!("no {field} in {measured}"));
    let verdict = &done["status"]["verdict"];
    case.add("passed", u64::from(code == 0 && verdict == "Passed"), "", Target::Exactly(1));
    let used = number("usedTargetBefore").unwrap_or(0);
    case.add("requests that used the target before", used, "", Target::AtLeast(1));
    case.add("detected", must("detectedMilliseconds")?, "ms", Target::Shown);
    let shifted = must("trafficShiftedMilliseconds")?;
    case.add("traffic shifted", shifted, "ms", Target::AtMost(2000));
    let replaced = measured["replacedMilliseconds"]["max"].as_u64().unwrap_or(u64::MAX);
    case.add("all replicas replaced", replaced, "ms", Target::AtMost(15_000));
    let elsewhere = &measured["enteredElsewhere"];
    let requests = elsewhere["requests"].as_u64().unwrap_or(0);
    let errors = elsewhere["errors"].as_u64().unwrap_or(u64::MAX);
    case.add("requests that entered elsewhere", requests, "", Target::AtLeast(1));
    case.add("errors of them", errors, "", Target::AtMost(requests / 1000));
    case.add("slow answers, all entries", must("slow")?, "", Target::Shown);
    case.add("pods in the target before", count(running.held), "", Target::AtLeast(1));
    let sum = workload::whole(&fleet).await?;
    case.add("replicas after the return", sum, "", Target::Exactly(count(REPLICAS)));
    Ok(())
}
