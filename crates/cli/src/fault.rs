//! `hanse fault`: what is wrong with a simulated member, written into its MemberCluster.

use anyhow::{Result, bail};
use hanse_api::{Fault as ApiFault, FaultType as ApiFaultType, MemberCluster};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    args::{Fault, FaultType, Global},
    connect::{connect, within},
    output,
};

/// Sets or clears faults.
///
/// # Errors
/// When the member is not simulated, or the value does not fit the fault.
pub(crate) async fn run(global: &Global, fault: &Fault) -> Result<()> {
    let client = connect(global).await?.client;
    let members: Api<MemberCluster> = Api::all(client);
    let name = match fault {
        Fault::Set { cluster, .. } | Fault::Clear { cluster } => cluster,
    };
    let member = within(&format!("reading member {name}"), members.get(name)).await?;
    let Some(simulated) = member.spec.connection.simulated else {
        bail!("member `{name}` is a real cluster; faults are for simulated members only");
    };
    let faults = match fault {
        Fault::Clear { .. } => Vec::new(),
        Fault::Set { fault, value, .. } => {
            let set = read(*fault, value.as_deref())?;
            let mut faults = simulated.faults;
            faults.retain(|other| other.type_ != set.type_ || other.to != set.to);
            faults.push(set);
            faults
        }
    };
    let patch = Patch::Merge(json!({"spec": {"connection": {"simulated": {"faults": faults}}}}));
    let params = PatchParams::default();
    let call = members.patch(name, &params, &patch);
    within(&format!("writing member {name}"), call).await?;
    output::print(
        global.output,
        &faults,
        || vec![name.clone()],
        |_| {
            if faults.is_empty() {
                return format!("{name}: no faults");
            }
            let texts: Vec<_> = faults.iter().map(|fault| format!("{:?}", fault.type_)).collect();
            format!("{name}: {}", texts.join(", "))
        },
    )
}

fn read(fault: FaultType, value: Option<&str>) -> Result<ApiFault> {
    let number = |what: &str| match value.map(str::parse::<i64>) {
        Some(Ok(number)) if number >= 0 => Ok(Some(number)),
        _ => bail!("this fault needs {what}, for instance `100`"),
    };
    let plain = |type_| Ok(ApiFault { type_, value: None, to: None });
    let valued = |type_, what: &str| Ok(ApiFault { type_, value: number(what)?, to: None });
    match fault {
        FaultType::Kill => plain(ApiFaultType::Kill),
        FaultType::Freeze => plain(ApiFaultType::Freeze),
        FaultType::Blackhole => plain(ApiFaultType::Blackhole),
        FaultType::Latency => valued(ApiFaultType::Latency, "milliseconds"),
        FaultType::Errors => valued(ApiFaultType::Errors, "a percentage of answers"),
        FaultType::LoseNodes => valued(ApiFaultType::LoseNodes, "a number of nodes"),
        FaultType::CutLink => match value {
            Some(to) => {
                Ok(ApiFault { type_: ApiFaultType::CutLink, value: None, to: Some(to.to_owned()) })
            }
            None => bail!("cut-link needs the other member, or `hub`"),
        },
    }
}
