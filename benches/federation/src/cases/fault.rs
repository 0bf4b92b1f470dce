//! `hanse fault set` under open-loop traffic that enters elsewhere and uses the target.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hanse_rt::Mono;
use hanse_tests_bodies::{Fleet, fleet::LONG, wait};

use crate::{
    Bench,
    federation::Federation,
    figures::{Case, Target, count},
    load::{self, Load},
    workload::{self, REPLICAS, Running, Scene},
};

/// Traffic before the fault: connections are open, and the target is seen to answer.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures it.
pub(crate) async fn run(
    bench: &Bench,
    case: &mut Case<'_>,
    scene: &Scene,
    fault: &str,
) -> Result<()> {
    let (federation, fleet) = Federation::start(&bench.program).await?;
    let running = workload::deploy(&fleet, scene).await?;
    let load = Load::start(running.entries.clone(), bench.rate);
    hanse_rt::sleep(WARM_UP).await;
    // Counted from before the command: whatever it takes itself is in the figures.
    let begun = Mono::now();
    let set = |cluster: String| {
        let federation = &federation;
        async move { federation.hanse(&["fault", "set", &cluster, fault]).await }
    };
    let all = futures::future::try_join_all(running.target.iter().cloned().map(set)).await?;
    ensure!(all.iter().all(|(code, _)| *code == 0), "the fault is not set: {all:?}");
    let replaced = replaced(&fleet, &running, begun).await;
    hanse_rt::sleep_until(begun + Duration::from_secs(bench.duration)).await;
    let samples = load.stop().await;
    for cluster in &running.target {
        let (code, text) = federation.hanse(&["fault", "clear", cluster]).await?;
        ensure!(code == 0, "the fault is not cleared: {text}");
    }
    let effect = load::effect(&samples, begun, &running.target);
    let used = count(effect.used_target_before);
    case.add("requests that used the target before", used, "", Target::AtLeast(1));
    case.time("traffic shifted", effect.shift, Target::AtMost(2000));
    case.add("requests that entered elsewhere", count(effect.requests), "", Target::AtLeast(1));
    let bound = Target::AtMost(count(effect.requests / 1000));
    case.add("errors of them", count(effect.errors), "", bound);
    case.time("slowest of them", effect.slowest, Target::Shown);
    let replaced = replaced.with_context(|| federation.words())?;
    case.time("all replicas replaced", replaced, Target::AtMost(15_000));
    case.add("pods in the target before", count(running.held), "", Target::AtLeast(1));
    let sum = workload::whole(&fleet).await.with_context(|| federation.words())?;
    case.add("replicas after the return", sum, "", Target::Exactly(count(REPLICAS)));
    Ok(())
}

/// From the fault until all replicas are ready outside the target.
async fn replaced(fleet: &Fleet, running: &Running, begun: Mono) -> Result<Duration> {
    let look = async || workload::ready(fleet, |name| !running.target.contains(name)).await;
    let enough = |ready: &usize| *ready >= REPLICAS;
    wait::until("all replicas ready elsewhere", LONG, look, enough).await?;
    Ok(begun.elapsed())
}
