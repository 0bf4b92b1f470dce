//! A published application, applied unchanged with a policy beside it.

use anyhow::Result;
use hanse_rt::Mono;
use hanse_tests_bodies::boutique;

use crate::{
    Bench,
    federation::Federation,
    figures::{Case, Target},
};

/// Measures from the start of `kubectl apply` to the end of `kubectl wait`.
pub(crate) async fn run(bench: &Bench, case: &mut Case<'_>) -> Result<()> {
    let (federation, fleet) = Federation::start(&bench.program).await?;
    let started = Mono::now();
    boutique::apply(&fleet, "Divide").await?;
    case.time("every Deployment Available", started.elapsed(), Target::AtMost(20_000));
    boutique::check(&fleet, "Divide").await?;
    case.add("memory with it", federation.memory()?, "MiB", Target::Shown);
    Ok(())
}
