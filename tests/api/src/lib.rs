//! One body of API tests, for any server of the Kubernetes API: the embedded one and a real
//! kube-apiserver. Where the embedded one differs stands in [`divergences`], and nowhere else.

mod cases;
mod context;
pub mod divergences;
mod embedded;
pub mod kubectl;

pub use cases::{Case, Run, all};
pub use context::Context;
pub use embedded::Embedded;

use anyhow::{Result, bail};
use kube::Client;

/// Whose API is tested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arm {
    /// `hanse-apiserver`.
    Embedded,
    /// A kube-apiserver with a controller manager.
    Real,
}

/// Runs every case in a namespace of its own and reports all that fail.
///
/// # Errors
/// The names of the failed cases with their reasons.
pub async fn conform(client: Client, arm: Arm) -> Result<()> {
    let mut failures = Vec::new();
    for case in all() {
        if divergences::excused(case.name, arm) {
            continue;
        }
        let context = Context::new(client.clone(), case.name).await?;
        if let Err(error) = (case.run)(context.clone()).await {
            failures.push(format!("{}: {error:#}", case.name));
        }
        context.finish().await?;
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{} cases failed:\n{}", failures.len(), failures.join("\n"))
}
