//! The same bodies as on simulated members, on real control planes.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hanse_tests_bodies::{boutique, fleet::LONG, loss, traffic, wait};
use hanse_tests_kubernetes::{NODES, Real, peers};

const HANSE: &str = env!("CARGO_BIN_EXE_hanse");
const SERVICE: &str = "
apiVersion: hanse.dev/v1alpha1
kind: GlobalService
metadata: {name: frontend, namespace: default}
spec: {service: frontend, ports: [{port: 80, protocol: HTTP}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn real_control_planes_are_a_federation_like_any_other() -> Result<()> {
    let Some(programs) = peers()? else {
        println!("skipped: HANSE_PEERS is not set");
        return Ok(());
    };
    let mut real = Real::start(HANSE.as_ref(), &programs, NODES).await?;
    let fleet = real.fleet.clone();
    boutique::deploy(&fleet, "Divide").await.with_context(|| real.words("hub"))?;
    boutique::scale(&fleet, "frontend", 6).await?;
    boutique::delete(&fleet, "adservice", "cartservice").await?;
    let service = real.folder().join("service.yaml");
    std::fs::write(&service, SERVICE)?;
    fleet.kubectl.run(&["apply", "-f", &service.to_string_lossy()]).await?;
    let addresses = fleet.addresses("default", "frontend", 3).await?;
    for at in &addresses {
        let address = SocketAddr::new(at.address.parse()?, u16::try_from(at.port)?);
        let look = || async {
            let (status, cluster) = traffic::get(address).await?;
            ensure!(status == 200, "status {status}");
            Ok(cluster)
        };
        let own = |cluster: &String| *cluster == at.cluster;
        wait::until("the nearest cluster answers", LONG, look, own).await.with_context(|| {
            let (relay, gateway) =
                (format!("relay-{}", at.cluster), format!("gateway-{}", at.cluster));
            format!("{}\n{}\n{}", real.words("hub"), real.words(&relay), real.words(&gateway))
        })?;
    }
    only_the_hub_writes_bindings(&real).await?;
    api_server_alone_moves_nothing(&mut real).await?;
    hub_away_while_pods_are_replaced(&mut real, &addresses).await?;
    a_member_dies_and_returns(&mut real).await
}

/// Who may do what, with the roles and the admission policy that are shipped. The hub itself has
/// run under its own account until here.
async fn only_the_hub_writes_bindings(real: &Real) -> Result<()> {
    let kubectl = &real.fleet.kubectl;
    let role = ["create", "rolebinding", "alice", "--clusterrole=edit", "--user=alice"];
    kubectl.run(&[&role[..], &["-n", "default"]].concat()).await?;
    let hub = "system:serviceaccount:hanse-system:hub";
    let may = async |who: &str, verb: &str, what: &str| {
        let (kind, part) = what.split_once('/').unwrap_or((what, ""));
        let part = format!("--subresource={part}");
        let words = ["auth", "can-i", verb, kind, &part, "-n", "default", "--as", who];
        kubectl.run(&words).await.is_ok()
    };
    let create_policies =
        || async { Ok(may("alice", "create", "propagationpolicies.hanse.dev").await) };
    wait::until("roles to be put together", LONG, create_policies, |may| *may).await?;
    for (who, verb, what, expected) in [
        ("alice", "create", "deployments.apps", true),
        ("alice", "get", "resourcebindings.hanse.dev", true),
        ("alice", "create", "resourcebindings.hanse.dev", false),
        ("alice", "patch", "resourcebindings.hanse.dev", false),
        ("alice", "delete", "resourcebindings.hanse.dev", false),
        ("alice", "patch", "propagationpolicies.hanse.dev/status", false),
        ("alice", "create", "tenants.hanse.dev", false),
        ("alice", "create", "clusterpropagationpolicies.hanse.dev", false),
        (hub, "patch", "resourcebindings.hanse.dev", true),
        (hub, "patch", "deployments.apps/status", true),
        (hub, "patch", "deployments.apps", false),
        (hub, "create", "secrets", false),
        (hub, "delete", "deployments.apps", false),
    ] {
        ensure!(may(who, verb, what).await == expected, "{who} {verb} {what}: not {expected}");
    }
    let bindings = real.fleet.bindings("default").await?;
    let name = bindings.first().and_then(|one| one.metadata.name.as_deref()).context("one")?;
    let forge = |who: &'static [&str], part: &'static [&str]| async move {
        let body =
            r#"{"spec":{"clusters":[]},"status":{"clusters":[]},"metadata":{"finalizers":[]}}"#;
        let words = ["patch", "rb", name, "-n", "default", "--type=merge", "--dry-run=server"];
        kubectl.run(&[&words[..], &["-p", body], who, part].concat()).await
    };
    let refused = forge(&["--as", "alice"], &[]).await.err().context("alice wrote a binding")?;
    ensure!(refused.to_string().contains(r#"User "alice" cannot patch"#), "{refused}");
    // Whoever has all rights is told too, and by whom.
    for part in [&[][..], &["--subresource=status"]] {
        let refused = forge(&[], part).await.err().context("an administrator wrote a binding")?;
        let words = "only the hub writes ResourceBindings, and admin is not its account: write a \
                     policy instead";
        ensure!(refused.to_string().contains(words), "{refused}");
    }
    forge(&["--as", "system:serviceaccount:hanse-system:hub"], &[]).await.map(drop)
}

async fn api_server_alone_moves_nothing(real: &mut Real) -> Result<()> {
    let before = real.fleet.spread("default", "frontend", |_| true).await?;
    let plane = real.planes.get_mut("gcp-us").context("a member")?;
    plane.kill_apiserver();
    real.until_verdict("gcp-us", "ControlLost").await?;
    hanse_rt::sleep(Duration::from_secs(15)).await;
    let others = |member: &str| member != "gcp-us";
    let during = real.fleet.spread("default", "frontend", others).await?;
    for (member, count) in &during {
        ensure!(before.get(member) == Some(count), "{before:?} became {during:?}");
    }
    real.planes.get_mut("gcp-us").context("a member")?.revive_apiserver().await?;
    real.until_verdict("gcp-us", "Healthy").await?;
    let after = real.fleet.spread("default", "frontend", |_| true).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// Traffic follows pods that come and go while the hub is away, and nothing is moved.
async fn hub_away_while_pods_are_replaced(
    real: &mut Real,
    addresses: &[hanse_api::GlobalAddress],
) -> Result<()> {
    let before = real.fleet.spread("default", "frontend", |_| true).await?;
    real.kill("hub").await?;
    let near = addresses.first().context("an address")?;
    let address = SocketAddr::new(near.address.parse()?, u16::try_from(near.port)?);
    let client = traffic::Train::start(address, 20);
    for client in real.fleet.members.values() {
        replace_pods(client).await?;
    }
    hanse_rt::sleep(Duration::from_mins(1)).await;
    let outcome = client.stop().await?;
    ensure!(
        outcome.errors == 0,
        "{outcome:?}\n{}",
        real.words(&format!("gateway-{}", near.cluster))
    );
    real.start_hub()?;
    real.fleet.healthy().await.with_context(|| real.words("hub"))?;
    let after = real.fleet.spread("default", "frontend", |_| true).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// Deletes the frontend's pods one by one, each after its successor is ready.
async fn replace_pods(client: &kube::Client) -> Result<()> {
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, ResourceExt, api::ListParams};
    let api: Api<Pod> = Api::namespaced(client.clone(), "default");
    let all = ListParams::default().labels("app=frontend");
    let old: Vec<String> = api.list(&all).await?.iter().map(ResourceExt::name_any).collect();
    for name in &old {
        api.delete(name, &kube::api::DeleteParams::default()).await?;
        let look = || async {
            let pods = api.list(&all).await?;
            let ready = pods.iter().filter(|pod| hanse_tests_bodies::fleet::is_ready(pod));
            Ok(ready.filter(|pod| pod.name_any() != *name).count())
        };
        wait::until("the successor is ready", LONG, look, |ready| *ready >= old.len()).await?;
    }
    Ok(())
}

async fn a_member_dies_and_returns(real: &mut Real) -> Result<()> {
    let (lost, index) = ("gcp-us", 1);
    real.planes.get_mut(lost).context("a member")?.kill_apiserver();
    real.kill(&format!("gateway-{lost}")).await?;
    real.kill(&format!("relay-{lost}")).await?;
    real.until_verdict(lost, "Lost").await?;
    let frontend = ("default", "frontend", "app=frontend");
    loss::replaced(&real.fleet, frontend, 6, &[lost]).await.with_context(|| real.words("hub"))?;
    real.planes.get_mut(lost).context("a member")?.revive_apiserver().await?;
    real.start_member(index, lost)?;
    real.fleet.healthy().await.with_context(|| real.words("hub"))?;
    let settled = loss::settled(&real.fleet, ("default", "frontend"), 6).await;
    settled.map(drop).with_context(|| real.words("hub"))
}
