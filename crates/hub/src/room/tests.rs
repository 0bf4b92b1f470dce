//! Room counted from nodes and pods.

use super::*;

fn node(cpu: &str, ready: bool) -> Value {
    json!({"metadata": {"labels": {"kubernetes.io/hostname": cpu, "zone": "a"}},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
}

fn pod(node: &str, cpu: &str) -> Value {
    json!({"metadata": {"labels": {"pod-template-hash": "abc"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": true}]},
        "spec": {"nodeName": node,
            "containers": [{"resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]}})
}

#[test]
fn nodes_that_are_alike_are_one_shape_and_used_room_is_taken_off() {
    let mut book = RoomBook::default();
    for name in ["n1", "n2", "n3"] {
        book.set_node(name, &node("2", true));
    }
    book.set_node("broken", &node("2", false));
    book.set_pod("shop", "web-1", &pod("n3", "500m"), Mono::now());
    let seen = book.sum();
    assert_eq!((seen.nodes, seen.ready_nodes, seen.shapes.len()), (4, 3, 2));
    assert_eq!(seen.allocatable.cpu_milli, 6000);
    assert_eq!(seen.requested.cpu_milli, 500);
    let used = seen.shapes.iter().find(|shape| shape.nodes == 1).unwrap();
    assert_eq!((used.free.cpu_milli, used.free_pods), (1500, 9));
    let owner = ("shop".to_owned(), "Deployment".to_owned(), "web".to_owned());
    assert_eq!(seen.bound.get(&owner), Some(&1));
}

#[test]
fn pods_that_ended_or_are_not_bound_take_no_room() {
    let mut book = RoomBook::default();
    book.set_node("n1", &node("2", true));
    book.set_pod("shop", "web-1", &pod("n1", "1"), Mono::now());
    let mut ended = pod("n1", "1");
    ended["status"]["phase"] = json!("Succeeded");
    book.set_pod("shop", "web-1", &ended, Mono::now());
    book.set_pod("shop", "web-2", &pod("", "1"), Mono::now());
    assert_eq!(book.sum().requested, Resources::default());
    assert_eq!(
        book.sum().quantities(&book.sum().allocatable, 10),
        BTreeMap::from([
            ("cpu".to_owned(), "2".to_owned()),
            ("memory".to_owned(), "4Gi".to_owned()),
            ("pods".to_owned(), "10".to_owned()),
        ])
    );
}

fn web() -> Owner {
    ("shop".to_owned(), "Deployment".to_owned(), "web".to_owned())
}

#[test]
fn a_pod_on_its_way_out_takes_room_until_it_is_gone_but_counts_for_nobody() {
    let mut book = RoomBook::default();
    book.set_node("n1", &node("2", true));
    let mut leaving = pod("n1", "500m");
    book.set_pod("shop", "web-1", &leaving, Mono::now());
    assert_eq!(book.sum().bound[&web()], 1);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    book.set_pod("shop", "web-1", &leaving, Mono::now());
    let seen = book.sum();
    assert_eq!((seen.requested.cpu_milli, seen.bound.get(&web())), (500, None));
    book.remove_pod("shop", "web-1");
    assert_eq!(book.sum().requested, Resources::default());
}

#[tokio::test(start_paused = true)]
async fn pods_without_a_node_wait_since_they_were_first_seen_so() {
    let mut book = RoomBook::default();
    let first = Mono::now();
    book.set_pod("shop", "web-1", &pod("", "1"), first);
    hanse_rt::sleep(std::time::Duration::from_secs(5)).await;
    book.set_pod("shop", "web-1", &pod("", "1"), Mono::now());
    book.set_pod("shop", "web-2", &pod("", "1"), Mono::now());
    let mut gated = pod("", "1");
    gated["spec"]["schedulingGates"] = json!([{"name": "quota"}]);
    book.set_pod("shop", "web-3", &gated, Mono::now());
    assert_eq!(book.sum().waiting[&web()], [first, Mono::now()]);
    book.set_pod("shop", "web-1", &pod("n1", "1"), Mono::now());
    assert_eq!(book.sum().waiting[&web()], [Mono::now()]);
    assert_eq!(book.sum().bound[&web()], 1);
}

#[test]
fn extended_resources_are_counted_on_each_node() {
    let mut book = RoomBook::default();
    for name in ["n1", "n2"] {
        let mut gpus = node("8", true);
        gpus["status"]["allocatable"]["nvidia.com/gpu"] = json!("4");
        book.set_node(name, &gpus);
    }
    let mut wants = pod("n1", "1");
    wants["spec"]["containers"][0]["resources"]["limits"] = json!({"nvidia.com/gpu": "3"});
    book.set_pod("shop", "web-1", &wants, Mono::now());
    let seen = book.sum();
    let free: Vec<u64> = seen.shapes.iter().map(|s| s.free.others["nvidia.com/gpu"]).collect();
    assert_eq!(free, [1, 4]);
}

#[test]
fn pods_of_custom_kinds_are_counted_for_who_made_them() {
    let mut book = RoomBook::default();
    book.set_node("n1", &node("4", true));
    let owned = |label: &str, kind: &str, name: &str| {
        let mut pod = pod("n1", "1");
        pod["metadata"] = json!({"labels": {label: "abc"},
            "ownerReferences": [{"kind": kind, "name": name, "controller": true}]});
        pod
    };
    let now = Mono::now();
    let rollout = owned("rollouts-pod-template-hash", "ReplicaSet", "web-abc");
    book.set_pod("shop", "1", &rollout, now);
    book.set_pod("shop", "2", &owned("other", "CloneSet", "web"), now);
    book.set_pod("shop", "3", &owned("pod-template-hash", "ReplicaSet", "bare"), now);
    let bound: Vec<(String, String, u32)> =
        book.sum().bound.into_iter().map(|((_, kind, name), count)| (kind, name, count)).collect();
    let one = |kind: &str, name: &str| (kind.to_owned(), name.to_owned(), 1);
    assert_eq!(bound, [one("CloneSet", "web"), one("ReplicaSet", "bare"), one("Rollout", "web")]);
}

#[test]
fn what_nobody_shares_any_more_is_let_go_with_its_last_pod() {
    let mut book = RoomBook::default();
    let owned = |run: &str, cpu: &str, node: &str| {
        let mut pod = pod(node, cpu);
        pod["metadata"]["ownerReferences"] =
            json!([{"kind": "Job", "name": format!("backup-{run}"), "controller": true}]);
        pod
    };
    book.set_pod("shop", "stays", &owned("0", "100m", "n0"), Mono::now());
    for run in 1..50 {
        let (name, cpu) = (format!("backup-{run}"), format!("{run}m"));
        book.set_pod("shop", &name, &owned(&name, &cpu, ""), Mono::now());
        book.set_pod("shop", &name, &owned(&name, &cpu, &format!("n{run}")), Mono::now());
        if run % 2 == 0 {
            book.remove_pod("shop", &name);
        } else {
            let mut ended = owned(&name, &cpu, "n1");
            ended["status"]["phase"] = json!("Succeeded");
            book.set_pod("shop", &name, &ended, Mono::now());
        }
    }
    assert_eq!((book.owners.len(), book.requests.len(), book.names.len()), (1, 1, 1));
    assert_eq!(book.sum().bound.len(), 1);
}
