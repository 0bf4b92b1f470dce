//! `hanse drain`, `cordon` and `uncordon`: what operators do to a whole domain.

use anyhow::{Result, bail};
use hanse_api::{Drain, Federation, MemberCluster};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    args::{Domain, DomainKind, Global},
    connect::{connect, within},
    output,
};

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Drain,
    Cordon,
    Uncordon,
}

/// Does it to every member of the domain.
///
/// # Errors
/// When no member belongs to the domain, or the API refuses.
pub(crate) async fn run(global: &Global, verb: Verb, domain: &Domain) -> Result<()> {
    let client = connect(global).await?.client;
    let members: Api<MemberCluster> = Api::all(client.clone());
    let known = within("listing members", members.list(&ListParams::default())).await?.items;
    let inside: Vec<String> =
        known.iter().filter(|member| belongs(member, domain)).map(ResourceExt::name_any).collect();
    if inside.is_empty() {
        let names: Vec<_> = known.iter().map(ResourceExt::name_any).collect();
        bail!(
            "no member belongs to {:?} `{}`; there is: {}",
            domain.kind,
            domain.name,
            names.join(", ")
        );
    }
    let unschedulable = verb != Verb::Uncordon;
    let params = PatchParams::default();
    for name in &inside {
        let patch = Patch::Merge(json!({"spec": {"unschedulable": unschedulable}}));
        let call = members.patch(name, &params, &patch);
        within(&format!("patching {name}"), call).await?;
    }
    if verb != Verb::Cordon {
        let federation: Api<Federation> = Api::all(client);
        let now = within("reading the federation", federation.get("default")).await?;
        let drain = Drain { domain: domain.kind.into(), name: domain.name.clone() };
        let mut drains = now.spec.drains.clone();
        drains.retain(|other| *other != drain);
        if verb == Verb::Drain {
            drains.push(drain);
        }
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": now.metadata.resource_version},
            "spec": {"drains": drains},
        }));
        let call = federation.patch("default", &params, &patch);
        within("writing the drain", call).await?;
    }
    let done = match verb {
        Verb::Drain => "draining; `hanse status` shows the moves",
        Verb::Cordon => "cordoned",
        Verb::Uncordon => "takes work again",
    };
    output::print(
        global.output,
        &inside,
        || inside.clone(),
        |_| inside.iter().map(|name| format!("{name} {done}")).collect::<Vec<_>>().join("\n"),
    )
}

fn belongs(member: &MemberCluster, domain: &Domain) -> bool {
    match domain.kind {
        DomainKind::Cluster => member.name_any() == domain.name,
        DomainKind::Zone => member.spec.zone.as_deref() == Some(&domain.name),
        DomainKind::Region => member.spec.region == domain.name,
        DomainKind::Provider => member.spec.provider == domain.name,
    }
}

impl From<DomainKind> for hanse_api::DomainKind {
    fn from(kind: DomainKind) -> Self {
        match kind {
            DomainKind::Cluster => Self::Cluster,
            DomainKind::Zone => Self::Zone,
            DomainKind::Region => Self::Region,
            DomainKind::Provider => Self::Provider,
        }
    }
}
