//! Placement of one binding: decisions, shortfalls, companions, and moves at a loss.

use hanse_api::{MoveReason, PropagationPolicy};
use hanse_scheduler::{Health, Member, NodeShape, Resources, Room};
use serde_json::{Value, json};

use super::*;
use crate::{Evacuation, TemplateKey, propagation::binding_key};

mod parts;

fn member(name: &str, nodes: u64) -> Member {
    let free = Resources { cpu_milli: 1000, memory_bytes: 1 << 32, ..Resources::default() };
    Member {
        name: name.into(),
        region: name.into(),
        room: Room::nodes(vec![NodeShape {
            nodes,
            allocatable: free.clone(),
            free,
            free_pods: 10,
            ..NodeShape::default()
        }]),
        ..Member::default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn template(kind: &str, extra: Value) -> Arc<Template> {
    let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let key = TemplateKey {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    let mut pod = json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]});
    if let (Some(pod), Some(extra)) = (pod.as_object_mut(), extra.as_object()) {
        pod.extend(extra.clone());
    }
    let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"uid": "u"},
        "spec": {"template": {"spec": pod}}});
    Arc::new(Template::read(key, &object))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn policy(spec: Value) -> Arc<Policy> {
    let mut whole = json!({"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]});
    if let (Some(whole), Some(spec)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(spec.clone());
    }
    let policy: PropagationPolicy = serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": whole}),
    )
    .unwrap();
    Arc::new(Policy::of_namespaced(&policy))
}

fn seen(replicas: i32, members: Vec<Member>) -> Seen {
    let template = template("Deployment", json!({}));
    let mut binding = ResourceBinding::default();
    binding.metadata.namespace = Some("shop".to_owned());
    binding.metadata.name = Some(binding_key(&template.key).name);
    binding.spec.template.api_version = template.key.api_version.clone();
    binding.spec.template.kind = template.key.kind.clone();
    binding.spec.replicas = replicas;
    Seen {
        binding: Arc::new(binding),
        needs: crate::placement::convert::needs(&template.needs),
        template: Some(template),
        policy: Some(policy(json!({}))),
        fleet: Fleet::new(members),
        evacuations: Arc::default(),
        members: Members::default(),
        others: None,
        tenancy: Tenancy::default(),
        followed: BTreeMap::new(),
        leaving: Vec::new(),
        spare: None,
        stuck: BTreeMap::new(),
        stuck_in: None,
        now: Timestamp::UNIX_EPOCH,
    }
}

fn three(replicas: i32) -> Seen {
    seen(replicas, vec![member("a", 10), member("b", 10), member("c", 10)])
}

fn run(seen: &Seen) -> Placed {
    plan(seen, &mut Planner::default(), || true)
}

fn counts(placed: &Placed) -> Vec<(&str, i32)> {
    placed.clusters.iter().map(|c| (c.name.as_str(), c.replicas)).collect()
}

/// Writes what was planned back into the binding, and takes its room.
fn write_back(seen: &mut Seen, placed: &Placed) {
    let mut binding = ResourceBinding::clone(&seen.binding);
    for cluster in &placed.clusters {
        let before = binding.spec.clusters.iter().find(|c| c.name == cluster.name);
        let more = cluster.replicas - before.map_or(0, |before| before.replicas);
        seen.fleet.reserve(&cluster.name, &seen.needs, count(more));
    }
    binding.spec.clusters.clone_from(&placed.clusters);
    binding.spec.ordinals.clone_from(&placed.ordinals);
    binding.spec.moves.clone_from(&placed.moves);
    binding.spec.decision = Some(placed.decision.clone());
    seen.binding = Arc::new(binding);
}

fn lose(seen: &mut Seen, name: &str) {
    let mut lost = seen.fleet.get(name).unwrap().clone();
    lost.health = Health::Lost;
    seen.fleet.set(lost);
    let order = Evacuation {
        id: "e1".to_owned(),
        reason: MoveReason::MemberLost,
        evidence: "2 of 2 regions do not see it".to_owned(),
        manual_too: false,
        tolerable: Vec::new(),
    };
    seen.evacuations = Arc::new(BTreeMap::from([(name.to_owned(), order)]));
}

fn ready(seen: &mut Seen, counts: &[(&str, u32)]) {
    seen.members.ready = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
}

#[test]
fn replicas_are_placed_and_the_plan_of_the_result_is_the_same() {
    let mut seen = three(6);
    let placed = run(&seen);
    assert_eq!(counts(&placed), [("a", 2), ("b", 2), ("c", 2)]);
    assert_eq!(placed.outcome, Outcome::Scheduled);
    write_back(&mut seen, &placed);
    assert_eq!(run(&seen), placed);
}

#[test]
fn a_request_that_no_cluster_can_hold_says_why_and_what_is_missing() {
    let mut full = member("b", 1);
    full.cordoned = true;
    let placed = run(&seen(5, vec![member("a", 2), full]));
    assert_eq!(counts(&placed), []);
    assert_eq!(
        placed.outcome,
        Outcome::Short(
            "NoRoom",
            "3 of 5 replicas have no room; missing: cpu 3; 2 clusters considered: \
             Cordoned 1 (b)"
                .to_owned()
        )
    );
    let short = placed.decision.shortfall.unwrap();
    assert_eq!((short.replicas, short.missing["cpu"].as_str()), (3, "3"));
    assert_eq!(placed.decision.rejected[0].reason, "Cordoned");
}

#[test]
fn a_failed_decision_leaves_the_last_one_in_place() {
    let mut seen = three(6);
    let placed = run(&seen);
    write_back(&mut seen, &placed);
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.replicas = 60;
    seen.binding = Arc::new(binding);
    let refused = run(&seen);
    assert_eq!(refused.clusters, placed.clusters);
    assert!(!refused.outcome.is_complete());
}

#[test]
fn a_companion_goes_to_the_union_of_its_workloads() {
    let mut seen = three(0);
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.follows = vec!["x".to_owned(), "y".to_owned()];
    seen.binding = Arc::new(binding);
    let cluster = |name: &str| ClusterReplicas { name: name.to_owned(), replicas: 4 };
    seen.followed.insert("x".to_owned(), vec![cluster("c"), cluster("a")]);
    seen.followed.insert("y".to_owned(), vec![cluster("a")]);
    assert_eq!(counts(&run(&seen)), [("a", 0), ("c", 0)]);
}

#[test]
fn a_lost_members_replicas_move_and_the_old_copies_stay_until_it_is_safe() {
    let mut seen = three(6);
    let first = run(&seen);
    write_back(&mut seen, &first);
    lose(&mut seen, "a");
    seen.members.copies = vec!["a".to_owned()];
    ready(&mut seen, &[("b", 2), ("c", 2)]);
    let moved = run(&seen);
    assert_eq!(counts(&moved), [("a", 2), ("b", 3), ("c", 3)]);
    let ids: Vec<&str> = moved.moves.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["e1/a/b", "e1/a/c"]);
    assert!(moved.moves.iter().all(|item| item.state == MoveState::Adding));
    write_back(&mut seen, &moved);
    assert_eq!(run(&seen), moved, "the plan of its own result is the same");

    ready(&mut seen, &[("b", 3), ("c", 3)]);
    let waiting = run(&seen);
    assert!(waiting.moves.iter().all(|item| item.state == MoveState::Waiting));
    assert_eq!(counts(&waiting), counts(&moved));
    write_back(&mut seen, &waiting);

    seen.evacuations = Arc::default();
    seen.fleet.set(member("a", 8));
    seen.members.healthy = vec!["a".to_owned()];
    let removing = run(&seen);
    assert_eq!(counts(&removing), [("b", 3), ("c", 3)]);
    assert!(removing.moves.iter().all(|item| item.state == MoveState::Removing));
    write_back(&mut seen, &removing);

    seen.members.copies.clear();
    let done = run(&seen);
    assert!(done.moves.iter().all(|item| item.state == MoveState::Done));
    assert_eq!(counts(&done), [("b", 3), ("c", 3)]);
}

#[test]
fn what_has_no_room_elsewhere_stays_and_is_reported_until_room_appears() {
    let mut seen = seen(6, vec![member("a", 3), member("b", 3), member("c", 1)]);
    seen.binding = {
        let mut binding = ResourceBinding::clone(&seen.binding);
        binding.spec.clusters = [("a", 3), ("b", 3)]
            .map(|(name, replicas)| ClusterReplicas { name: name.to_owned(), replicas })
            .to_vec();
        Arc::new(binding)
    };
    let needs = Arc::clone(&seen.needs);
    seen.fleet.reserve("a", &needs, 3);
    seen.fleet.reserve("b", &needs, 3);
    lose(&mut seen, "a");
    let moved = run(&seen);
    assert_eq!(counts(&moved), [("a", 3), ("b", 3), ("c", 1)]);
    assert_eq!(moved.moves.len(), 1);
    assert_eq!(moved.outcome.reason(), "NoRoom");
    assert_eq!(moved.decision.shortfall.as_ref().unwrap().replicas, 2);
    write_back(&mut seen, &moved);
    seen.fleet.set(member("d", 5));
    let more = run(&seen);
    assert_eq!(counts(&more), [("a", 3), ("b", 3), ("c", 1), ("d", 2)]);
    assert_eq!(more.moves.len(), 2);
    assert_eq!(more.outcome, Outcome::Scheduled);
}

#[test]
fn a_loss_is_placed_while_growth_that_does_not_fit_waits_whole() {
    let mut seen = seen(6, vec![member("a", 4), member("b", 4), member("c", 4)]);
    let first = run(&seen);
    write_back(&mut seen, &first);
    assert_eq!(counts(&first), [("a", 2), ("b", 2), ("c", 2)]);
    lose(&mut seen, "a");
    Arc::make_mut(&mut seen.binding).spec.replicas = 10;

    let moved = run(&seen);
    assert_eq!(counts(&moved), [("a", 2), ("b", 3), ("c", 3)], "two more would fit, not four");
    let Outcome::Short(reason, words) = &moved.outcome else { panic!("{:?}", moved.outcome) };
    assert_eq!(*reason, "NoRoom");
    assert!(words.starts_with("2 of 10 replicas have no room"), "{words}");
    write_back(&mut seen, &moved);
    assert_eq!(run(&seen), moved, "the plan of its own result is the same");

    seen.fleet.set(member("d", 2));
    let grown = run(&seen);
    assert_eq!(counts(&grown), [("a", 2), ("b", 4), ("c", 4), ("d", 2)]);
    assert_eq!(grown.outcome, Outcome::Scheduled);
}

#[test]
fn work_that_holds_data_and_jobs_wait_for_an_operator() {
    let claim = json!({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]});
    for template in [template("Deployment", claim), template("Job", json!({}))] {
        let mut seen = three(2);
        seen.template = Some(template);
        let first = run(&seen);
        write_back(&mut seen, &first);
        let name = first.clusters[0].name.clone();
        lose(&mut seen, &name);
        let stays = run(&seen);
        assert!(stays.moves.is_empty());
        let is_job = seen.template.as_ref().is_some_and(|template| template.kind == Kind::Job);
        let notes = stays.decision.notes.iter().filter(|note| note.reason == "HoldsData");
        assert_eq!(notes.count(), usize::from(!is_job), "only data is named as the reason");
        let mut orders = Evacuations::clone(&seen.evacuations);
        orders.get_mut(&name).unwrap().manual_too = true;
        seen.evacuations = Arc::new(orders);
        let moved = run(&seen);
        assert!(!moved.moves.is_empty());
        assert!(!moved.decision.notes.iter().any(|note| note.reason == "HoldsData"));
    }
}

#[test]
fn a_restartable_job_moves_by_itself_and_what_never_moves_does_not() {
    for (rules, expected) in [
        (json!({"failover": {"restartable": true}}), true),
        (json!({"failover": {"mode": "Never"}}), false),
    ] {
        let mut seen = three(2);
        seen.template = Some(template("Job", json!({})));
        seen.policy = Some(policy(rules));
        let first = run(&seen);
        write_back(&mut seen, &first);
        let name = first.clusters[0].name.clone();
        lose(&mut seen, &name);
        assert_eq!(!run(&seen).moves.is_empty(), expected);
    }
}

#[test]
fn without_its_policy_a_workload_stays_where_it_is_and_still_scales() {
    let mut seen = three(6);
    let first = run(&seen);
    write_back(&mut seen, &first);
    seen.policy = None;
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.replicas = 9;
    seen.binding = Arc::new(binding);
    let placed = run(&seen);
    assert_eq!(placed.outcome, Outcome::PolicyGone);
    assert_eq!(placed.clusters.iter().map(|c| c.replicas).sum::<i32>(), 9);
}

#[test]
fn a_member_that_leaves_gives_its_replicas_up_at_once() {
    let mut seen = three(6);
    let first = run(&seen);
    write_back(&mut seen, &first);
    seen.leaving = vec!["a".to_owned()];
    let mut leaving = seen.fleet.get("a").unwrap().clone();
    leaving.health = Health::NotJoined;
    seen.fleet.set(leaving);
    assert_eq!(counts(&run(&seen)), [("b", 3), ("c", 3)]);
}

#[test]
fn a_member_that_leaves_is_let_go_by_finished_jobs_and_by_companions_of_nothing() {
    let bound = |change: &dyn Fn(&mut ResourceBinding)| {
        let mut seen = three(2);
        let mut binding = ResourceBinding::clone(&seen.binding);
        binding.spec.clusters =
            ["a", "b"].map(|name| ClusterReplicas { name: name.to_owned(), replicas: 1 }).to_vec();
        change(&mut binding);
        seen.binding = Arc::new(binding);
        seen.leaving = vec!["a".to_owned()];
        seen
    };
    let mut job = bound(&|binding| binding.spec.finished = vec!["a".to_owned(), "b".to_owned()]);
    job.template = Some(template("Job", json!({})));
    assert_eq!(counts(&run(&job)), [("b", 1)], "a Job that has finished");
    let mut companion = bound(&|binding| binding.spec.follows = vec!["x".to_owned()]);
    companion.followed.insert("x".to_owned(), Vec::new());
    assert_eq!(counts(&run(&companion)), [("b", 1)], "a companion whose workload has no cluster");
    let mut unknown = bound(&|_| {});
    unknown.template = None;
    assert_eq!(counts(&run(&unknown)), [("b", 1)], "a binding without its template");
}

#[test]
fn without_its_policy_a_duplicated_workload_stays_everywhere_and_still_scales() {
    let mut seen = three(2);
    seen.policy = Some(policy(json!({"placement": {"replicas": {"mode": "Duplicate"}}})));
    let first = run(&seen);
    assert_eq!(counts(&first), [("a", 2), ("b", 2), ("c", 2)]);
    write_back(&mut seen, &first);
    seen.policy = None;
    let stays = run(&seen);
    assert_eq!(stays.outcome, Outcome::PolicyGone);
    assert_eq!(counts(&stays), counts(&first));
    write_back(&mut seen, &stays);
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.replicas = 3;
    seen.binding = Arc::new(binding);
    assert_eq!(counts(&run(&seen)), [("a", 3), ("b", 3), ("c", 3)]);
}

#[test]
fn a_move_whose_member_comes_back_before_its_replacement_was_started_is_withdrawn() {
    let mut seen = seen(6, vec![member("a", 10), member("b", 10)]);
    let first = run(&seen);
    assert_eq!(counts(&first), [("a", 3), ("b", 3)]);
    write_back(&mut seen, &first);
    seen.fleet.set(member("c", 10));
    lose(&mut seen, "a");
    let moved = run(&seen);
    let to: Vec<(&str, i32)> = moved.moves.iter().map(|m| (m.to.as_str(), m.replicas)).collect();
    assert_eq!(to.iter().map(|(_, replicas)| replicas).sum::<i32>(), 3);
    assert!(to.iter().any(|(to, _)| *to == "c"), "{to:?}");
    write_back(&mut seen, &moved);
    seen.members.copies = vec!["a".to_owned(), "b".to_owned()];
    seen.members.absent = vec!["c".to_owned()];
    assert_eq!(run(&seen).moves, moved.moves, "still lost");

    seen.evacuations = Arc::default();
    seen.fleet.set(member("a", 7));
    seen.members.healthy = vec!["a".to_owned()];
    let back = run(&seen);
    let state = |to: &str| back.moves.iter().find(|m| m.to == to).map(|m| m.state);
    assert_eq!(state("c"), Some(MoveState::Withdrawn));
    let sum: i32 = back.clusters.iter().map(|c| c.replicas).sum();
    let open: i32 = back.moves.iter().filter(|m| m.state.keeps_old()).map(|m| m.replicas).sum();
    assert_eq!(sum - open, 6, "{:?}", back.clusters);
    assert!(counts(&back).iter().all(|(name, _)| *name != "c"), "{:?}", back.clusters);
    write_back(&mut seen, &back);
    assert_eq!(run(&seen), back, "the plan of its own result is the same");
}

#[test]
fn a_taint_takes_away_what_does_not_tolerate_it_and_nothing_else() {
    let taint = hanse_scheduler::Taint {
        key: "maintenance".to_owned(),
        value: "disks".to_owned(),
        effect: hanse_scheduler::TaintEffect::NoExecute,
    };
    let tolerating = json!({"placement": {"tolerations": [
        {"key": "maintenance", "operator": "Exists"}]}});
    for (rules, stays) in [(json!({}), false), (tolerating, true)] {
        let mut seen = three(6);
        seen.policy = Some(policy(rules));
        let first = run(&seen);
        write_back(&mut seen, &first);
        let mut tainted = seen.fleet.get("a").unwrap().clone();
        tainted.taints = vec![taint.clone()];
        seen.fleet.set(tainted);
        let order = Evacuation {
            id: "tainted".to_owned(),
            reason: MoveReason::Drained,
            evidence: "taint maintenance=disks:NoExecute".to_owned(),
            manual_too: true,
            tolerable: vec![taint.clone()],
        };
        seen.evacuations = Arc::new(BTreeMap::from([("a".to_owned(), order)]));
        let placed = run(&seen);
        assert_eq!(placed.moves.is_empty(), stays);
        assert_eq!(
            placed.clusters.iter().map(|c| c.replicas).sum::<i32>(),
            if stays { 6 } else { 8 }
        );
    }
}

#[test]
fn what_a_changed_policy_displaces_is_added_elsewhere_before_it_goes() {
    let mut seen = three(6);
    let first = run(&seen);
    write_back(&mut seen, &first);
    seen.policy = Some(policy(json!({"placement": {"clusters": [{"names": ["b", "c"]}]}})));
    seen.members.copies = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    seen.members.healthy.clone_from(&seen.members.copies);
    ready(&mut seen, &[("a", 2), ("b", 2), ("c", 2)]);
    let moved = run(&seen);
    assert_eq!(counts(&moved), [("a", 2), ("b", 3), ("c", 3)]);
    assert!(moved.moves.iter().all(|item| item.reason == MoveReason::PolicyChanged));
    write_back(&mut seen, &moved);
    assert_eq!(run(&seen), moved, "the plan of its own result is the same");
    ready(&mut seen, &[("a", 2), ("b", 3), ("c", 3)]);
    assert_eq!(counts(&run(&seen)), [("b", 3), ("c", 3)]);
}

#[test]
fn a_policy_that_admits_no_cluster_leaves_everything_where_it_is() {
    let mut seen = three(6);
    let first = run(&seen);
    write_back(&mut seen, &first);
    seen.policy = Some(policy(json!({"placement": {"clusters": [{"names": ["nowhere"]}]}})));
    let refused = run(&seen);
    assert_eq!(refused.clusters, first.clusters);
    assert_eq!(refused.outcome.reason(), "NoClusterFits");
}

/// Says that all pods of the workload in a member but `bound` wait for a node, and that no more of
/// them fit there.
fn stick(seen: &mut Seen, name: &str, pods: u32, bound: u32) {
    let limit = Duration::from_mins(2);
    seen.stuck.insert(name.to_owned(), Stuck { pods, bound, limit });
    let mut member = seen.fleet.get(name).unwrap().clone();
    if let Room::Nodes(nodes) = &mut member.room {
        Arc::make_mut(nodes).corrections = vec![(PodNeeds::clone(&seen.needs), 0)];
    }
    seen.fleet.set(member);
}

#[test]
fn replicas_that_cannot_run_are_added_elsewhere_before_they_go() {
    let mut seen = three(6);
    let placed = run(&seen);
    write_back(&mut seen, &placed);
    stick(&mut seen, "a", 1, 1);
    let placed = run(&seen);
    assert_eq!(placed.moves.len(), 1, "{:?}", placed.moves);
    let step = &placed.moves[0];
    assert_eq!((step.from.as_str(), step.replicas, step.reason), ("a", 1, MoveReason::CannotRun));
    assert_eq!(placed.clusters.iter().map(|c| c.replicas).sum::<i32>(), 7, "both copies count");
    assert!(counts(&placed).contains(&("a", 2)));
    write_back(&mut seen, &placed);
    assert_eq!(run(&seen), placed, "the same pods are not moved twice");
    seen.members.ready = BTreeMap::from([(step.to.clone(), 3)]);
    seen.members.copies = vec!["a".to_owned()];
    seen.members.healthy = vec!["a".to_owned()];
    let placed = run(&seen);
    assert_eq!(placed.moves[0].state, MoveState::Done);
    assert!(counts(&placed).contains(&("a", 1)));
    assert_eq!(placed.outcome, Outcome::Scheduled);
}

#[test]
fn replicas_that_cannot_run_stay_where_nothing_else_fits_or_the_policy_forbids() {
    let mut full = seen(4, vec![member("a", 2), member("b", 2)]);
    let placed = run(&full);
    write_back(&mut full, &placed);
    stick(&mut full, "a", 1, 1);
    let placed = run(&full);
    assert_eq!(counts(&placed), [("a", 2), ("b", 2)]);
    assert!(placed.moves.is_empty());
    assert_eq!(placed.outcome.reason(), reason::NO_ROOM);
    let mut manual = three(6);
    let placed = run(&manual);
    write_back(&mut manual, &placed);
    manual.policy = Some(policy(json!({"failover": {"mode": "Manual"}})));
    stick(&mut manual, "a", 1, 1);
    assert!(run(&manual).moves.is_empty());
}

#[test]
fn notes_and_survival_are_told_and_stay_while_nothing_changes() {
    let mut seen = three(6);
    seen.policy = Some(policy(json!({"placement": {
        "clusters": [{"names": ["none"]}, {"names": ["a", "b", "c"]}]}})));
    let placed = run(&seen);
    let told: Vec<&str> = placed.decision.notes.iter().map(|n| n.reason.as_str()).collect();
    assert_eq!(told, ["LaterTier"]);
    assert_eq!((&placed.survival, placed.violations.len()), (&Survival::NotAsked, 0));
    write_back(&mut seen, &placed);
    assert_eq!(run(&seen).decision.notes, placed.decision.notes);
    let asks = |enforce: &str| {
        let survive = json!({"domain": "Cluster", "enforce": enforce});
        Some(policy(json!({"placement": {"survive": survive}})))
    };
    let mut fits = three(6);
    fits.policy = asks("Require");
    assert_eq!(run(&fits).survival, Survival::Survives);
    let mut full = self::seen(4, vec![member("a", 2), member("b", 2)]);
    full.policy = asks("Warn");
    let placed = run(&full);
    assert_eq!(placed.outcome, Outcome::Scheduled);
    assert!(matches!(&placed.survival, Survival::WouldNot(words) if words.contains("too few")));
    full.policy = asks("Require");
    let placed = run(&full);
    assert_eq!(placed.outcome.reason(), reason::WOULD_NOT_SURVIVE);
    assert!(placed.clusters.is_empty());
    fits.template = Some(template("StatefulSet", json!({})));
    let placed = run(&fits);
    assert!(matches!(&placed.survival, Survival::WouldNot(words) if words.contains("goes whole")));
}

#[test]
fn what_would_be_too_many_moves_for_one_object_stays_until_others_have_ended() {
    let name = |side: &str, at: usize| format!("{side}{at}");
    let mut seen = seen(6, (0..6).map(|at| member(&name("lost", at), 1)).collect());
    let placed = run(&seen);
    write_back(&mut seen, &placed);
    (0..6).for_each(|at| seen.fleet.set(member(&name("new", at), 1)));
    let mut orders = BTreeMap::new();
    for at in 0..6 {
        lose(&mut seen, &name("lost", at));
        orders.extend(seen.evacuations.iter().map(|(name, order)| (name.clone(), order.clone())));
    }
    seen.evacuations = Arc::new(orders);
    let others = |state| {
        (0..moves::MOST_OPEN - 4).map(move |at| Move {
            id: format!("{at}"),
            from: name("gone", at),
            to: name("elsewhere", at),
            replicas: 0,
            reason: MoveReason::MemberLost,
            evidence: String::new(),
            state,
            started_at: Time(Timestamp::UNIX_EPOCH),
        })
    };
    let on = |placed: &Placed, side: &str| -> i32 {
        let there = placed.clusters.iter().filter(|cluster| cluster.name.starts_with(side));
        there.map(|cluster| cluster.replicas).sum()
    };
    Arc::make_mut(&mut seen.binding).spec.moves = others(MoveState::Waiting).collect();
    let first = run(&seen);
    assert_eq!(first.moves.len(), moves::MOST_OPEN);
    assert_eq!((on(&first, "lost"), on(&first, "new")), (6, 4));
    write_back(&mut seen, &first);
    let again = run(&seen);
    assert!(again.clusters == first.clusters && again.moves == first.moves, "nothing new begins");
    for item in &mut Arc::make_mut(&mut seen.binding).spec.moves {
        if item.replicas == 0 {
            item.state = MoveState::Done;
        }
    }
    let last = run(&seen);
    assert_eq!((on(&last, "lost"), on(&last, "new")), (6, 6));
    assert_eq!(last.moves.iter().filter(|item| !item.state.is_final()).count(), 6);
}
