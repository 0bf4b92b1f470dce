//! The loss of a member: work comes up elsewhere, nothing is doubled, nothing is lost.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{Fleet, fleet::LONG, wait};

/// Waits until all replicas of a Deployment are ready outside the lost members.
///
/// # Errors
/// When they are not in time.
pub async fn replaced(
    fleet: &Fleet,
    (namespace, name, label): (&str, &str, &str),
    replicas: usize,
    lost: &[&str],
) -> Result<BTreeMap<String, usize>> {
    let what = format!("all replicas of {name} ready elsewhere");
    let look = || fleet.ready_pods(namespace, label, |member| !lost.contains(&member));
    let enough = |ready: &BTreeMap<String, usize>| ready.values().sum::<usize>() == replicas;
    wait::until(&what, LONG, look, enough).await
}

/// Waits until the sum over all members is the template's replicas again.
///
/// # Errors
/// When it is not in time.
pub async fn settled(
    fleet: &Fleet,
    (namespace, name): (&str, &str),
    replicas: i32,
) -> Result<BTreeMap<String, i32>> {
    let what = format!("replicas of {name} add up after the return");
    let look = || fleet.spread(namespace, name, |_| true);
    let sum = |spread: &BTreeMap<String, i32>| spread.values().sum::<i32>() == replicas;
    let spread = wait::until(&what, LONG * 2, look, sum).await?;
    ensure!(spread.values().all(|count| *count >= 0), "{spread:?}");
    Ok(spread)
}
