//! The loss of a member, drawn from the seed: one is cut off or killed, the hub is killed and
//! restarted in the middle, then calm; and what must hold.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hanse_rt::Mono;
use hanse_sim::faults::Faults;

use crate::{
    Outcome,
    case::{Case, REPLICAS},
    checkers,
};

/// After the last fault everything must have settled in this time.
const CALM: Duration = Duration::from_mins(3);

/// Runs the scenario of a seed.
pub(crate) async fn run(seed: u64) -> Result<Outcome> {
    let started = Mono::now();
    let case = Case::new(seed).await?;
    let mut rng = case.rng.fork("scenario", "");
    let mut hub = case.start_hub(1).await?;
    case.healthy().await.context("before any fault")?;
    case.deploy().await?;
    let mut before = case.placed().await?;
    let victims = ["gcp-us", "az-asia"];
    let victim = victims[usize::try_from(rng.below(2))?];
    let killed = rng.chance(500_000);
    let faults = Faults { killed, blackhole: !killed, ..Faults::default() };
    case.world.member(victim).context("a member")?.set_faults(faults);
    let hub_dies = Duration::from_millis(2000 + rng.below(6000));
    let hub_back = hub_dies + Duration::from_millis(1000 + rng.below(10_000));
    let healed = hub_back + Duration::from_millis(20_000 + rng.below(40_000));
    let origin = Mono::now();
    let (mut died, mut returned, mut mended) = (false, false, false);
    while !mended || origin.elapsed() < healed + CALM {
        hanse_rt::sleep(Duration::from_millis(250)).await;
        let now = origin.elapsed();
        if now >= hub_dies && !died {
            hub.kill().await;
            died = true;
        }
        if now >= hub_back && !returned {
            hub = case.start_hub(2).await?;
            returned = true;
        }
        if now >= healed && !mended {
            case.world.member(victim).context("a member")?.set_faults(Faults::default());
            mended = true;
        }
        let after = checkers::look(&case.world, "default", "web").await?;
        checkers::removed_only_when_replaced(&before, &after, REPLICAS)
            .with_context(|| format!("{} s after the fault", now.as_secs()))?;
        before = after;
    }
    case.settled().await?;
    let moves = case.moves().await?;
    ensure!(moves > 0, "nothing was moved off {victim}");
    hub.kill().await;
    case.tasks.kill().await;
    let (hash, records) = case.trace.hash();
    let seen = format!("moves {moves}");
    Ok(Outcome { seed, hash, records, simulated: started.elapsed(), seen })
}
