//! Waiting for what must become true, with what was seen last when it does not.

use std::{fmt::Debug, time::Duration};

use anyhow::{Result, bail};

/// Looks until `holds` says yes.
///
/// # Errors
/// When it does not within `limit`: the last state is in the error.
pub async fn until<T: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
    holds: impl Fn(&T) -> bool,
) -> Result<T> {
    let deadline = hanse_rt::Mono::now() + limit;
    loop {
        let seen = match look().await {
            Ok(seen) if holds(&seen) => return Ok(seen),
            other => other,
        };
        if hanse_rt::Mono::now() > deadline {
            bail!("{what}: not within {limit:?}; last seen: {seen:?}");
        }
        hanse_rt::sleep(Duration::from_millis(50)).await;
    }
}
