//! `hanse failover`: what operators say to evacuations.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hanse_api::{Approval, Federation};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    args::{Failover, Global},
    connect::{connect, within},
    output,
};

/// Writes the operator's word into the Federation.
///
/// # Errors
/// When there is no Federation, or the API refuses.
pub(crate) async fn run(global: &Global, verb: &Failover) -> Result<()> {
    let federations: Api<Federation> = Api::all(connect(global).await?.client);
    let now = within("reading the federation", federations.get("default")).await?;
    let mut operator = now.spec.operator.clone();
    let done = match verb {
        Failover::Approve { domain, lasting } => {
            operator.approvals.retain(|other| other.id != *domain);
            operator.approvals.push(Approval { id: domain.clone(), until: until(*lasting)? });
            format!("{domain} may be evacuated; `hanse status` shows the moves")
        }
        Failover::Hold => {
            operator.hold = true;
            "nothing is evacuated until `hanse failover release`".to_owned()
        }
        Failover::Release => {
            operator.hold = false;
            "losses are evacuated again".to_owned()
        }
    };
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": now.metadata.resource_version},
        "spec": {"operator": operator},
    }));
    let params = PatchParams::default();
    within("writing the operator's word", federations.patch("default", &params, &patch)).await?;
    output::print(global.output, &operator, || vec!["default".to_owned()], |_| done)
}

fn until(lasting: Duration) -> Result<Time> {
    let lasting = SignedDuration::try_from(lasting).context("--for is too long")?;
    let until = hanse_rt::Wall::system().now().checked_add(lasting);
    Ok(Time(until.context("--for is too long")?))
}
