//! Many templates at once: no room is promised twice.

use std::collections::BTreeMap;

use serde_json::json;

use crate::stage::{Stage, deployment, eventually, policy};

/// Each with two replicas of half a core.
const COUNT: usize = 60;
/// Each with room for eight replicas: 144 places for 120 replicas.
const NODES: usize = 6;

#[tokio::test(start_paused = true)]
async fn many_deployments_at_once_fill_no_member_beyond_its_room() {
    let stage = Stage::with_nodes(NODES).await;
    stage.create(policy("all", json!({}))).await;
    let name = |number: usize| format!("web-{number}");
    for number in 0..COUNT {
        stage.create(deployment(&name(number), 2)).await;
    }
    for number in 0..COUNT {
        let name = name(number);
        eventually(&name, async || {
            let web = stage.get("apps/v1", "Deployment", &name).await?;
            (web["status"]["availableReplicas"] == 2).then_some(())
        })
        .await;
    }
    let mut placed: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..COUNT {
        let counts = stage.replicas(&name(number)).await;
        assert_eq!(counts.values().sum::<u64>(), 2);
        for (member, count) in counts {
            *placed.entry(member).or_default() += count;
        }
    }
    assert!(placed.values().all(|count| *count <= NODES as u64 * 8), "{placed:?}");
    stage.end().await;
}
