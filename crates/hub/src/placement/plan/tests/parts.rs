//! StatefulSets and Jobs that several clusters share.

use super::*;

/// A StatefulSet whose policy lets several clusters share it.
fn numbered(replicas: i32) -> Seen {
    let mut seen = three(replicas);
    seen.template = Some(template("StatefulSet", json!({})));
    seen.policy = Some(policy(json!({"placement": {"replicas": {"ordinals": "Partition"}}})));
    seen
}

fn starts(placed: &Placed) -> Vec<(&str, i32)> {
    placed.ordinals.iter().map(|block| (block.name.as_str(), block.start)).collect()
}

fn scale(seen: &mut Seen, replicas: i32) {
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.replicas = replicas;
    seen.binding = Arc::new(binding);
}

#[test]
fn a_stateful_set_stays_whole_unless_its_policy_gives_each_cluster_numbers_of_its_own() {
    let mut whole = numbered(6);
    whole.policy = Some(policy(json!({})));
    let placed = run(&whole);
    assert_eq!((placed.clusters.len(), placed.ordinals.len()), (1, 0));
    let mut seen = numbered(6);
    let placed = run(&seen);
    assert_eq!(counts(&placed), [("a", 2), ("b", 2), ("c", 2)]);
    assert_eq!(starts(&placed), [("a", 0), ("b", 1000), ("c", 2000)]);
    write_back(&mut seen, &placed);
    assert_eq!(run(&seen), placed, "the plan of its own result is the same");
}

#[test]
fn scaling_and_losing_a_cluster_renumbers_nobody_else() {
    let mut seen = numbered(6);
    let first = run(&seen);
    write_back(&mut seen, &first);
    seen.fleet.set(member("d", 10));
    scale(&mut seen, 14);
    let more = run(&seen);
    assert_eq!(starts(&more)[..3], [("a", 0), ("b", 1000), ("c", 2000)]);
    write_back(&mut seen, &more);
    lose(&mut seen, "b");
    seen.members.copies = vec!["b".to_owned()];
    let moved = run(&seen);
    assert!(!moved.moves.is_empty());
    let starts_of = |placed: &Placed, name: &str| {
        placed.ordinals.iter().find(|block| block.name == name).map(|block| block.start)
    };
    for name in ["a", "c"] {
        assert_eq!(starts_of(&moved, name), starts_of(&first, name), "{name}");
    }
    assert_eq!(starts_of(&moved, "b"), Some(1000), "its copy may still be there");
}

#[test]
fn a_cluster_that_is_left_gives_its_numbers_back_when_its_copy_is_gone() {
    let mut seen = numbered(3);
    let first = run(&seen);
    assert_eq!(first.clusters.len(), 3);
    write_back(&mut seen, &first);
    let bounds = json!([{"clusters": {"names": ["a"]}, "max": 0}]);
    let replicas = json!({"ordinals": "Partition", "bounds": bounds});
    seen.policy = Some(policy(json!({"placement": {"replicas": replicas}})));
    scale(&mut seen, 2);
    seen.members.copies = vec!["a".to_owned()];
    let fewer = run(&seen);
    assert_eq!(counts(&fewer), [("b", 1), ("c", 1)]);
    assert_eq!(starts(&fewer), [("a", 0), ("b", 1000), ("c", 2000)]);
    write_back(&mut seen, &fewer);
    seen.members = Members { absent: vec!["a".to_owned()], ..Members::default() };
    assert_eq!(starts(&run(&seen)), [("b", 1000), ("c", 2000)]);
}

#[test]
fn one_that_stood_whole_keeps_its_names_when_its_policy_begins_to_share_it() {
    let mut seen = numbered(4);
    seen.policy = Some(policy(json!({})));
    let whole = run(&seen);
    let name = whole.clusters[0].name.clone();
    write_back(&mut seen, &whole);
    seen.policy = Some(policy(json!({"placement": {"replicas": {"ordinals": "Partition"}}})));
    scale(&mut seen, 12);
    let shared = run(&seen);
    assert!(shared.clusters.len() > 1);
    let own = shared.ordinals.iter().find(|block| block.name == name).unwrap();
    assert_eq!(own.start, 0);
}

#[test]
fn without_its_policy_a_shared_stateful_set_stays_shared() {
    let mut seen = numbered(6);
    let first = run(&seen);
    write_back(&mut seen, &first);
    seen.policy = None;
    scale(&mut seen, 9);
    let placed = run(&seen);
    assert_eq!(counts(&placed), [("a", 3), ("b", 3), ("c", 3)]);
    assert_eq!(starts(&placed), starts(&first));
}

/// A Job whose policy divides it.
fn job(replicas: i32, spec: &Value) -> Seen {
    let mut seen = three(replicas);
    let key = TemplateKey {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    let mut object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "u"},
        "spec": {"template": {"spec": {"containers": [
            {"resources": {"requests": {"cpu": "1"}}}]}}}});
    if let (Some(own), Some(more)) = (object["spec"].as_object_mut(), spec.as_object()) {
        own.extend(more.clone());
    }
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.template.api_version = key.api_version.clone();
    binding.spec.template.kind = key.kind.clone();
    seen.binding = Arc::new(binding);
    seen.template = Some(Arc::new(Template::read(key, &object)));
    seen.policy = Some(policy(json!({"placement": {"replicas": {"mode": "Divide"}}})));
    seen
}

#[test]
fn a_job_is_divided_once_where_its_policy_says_so() {
    let mut whole = job(6, &json!({"parallelism": 6}));
    whole.policy = Some(policy(json!({})));
    assert_eq!(run(&whole).clusters.len(), 1);
    let mut seen = job(6, &json!({"parallelism": 6, "completions": 20}));
    let placed = run(&seen);
    assert_eq!(counts(&placed), [("a", 2), ("b", 2), ("c", 2)]);
    write_back(&mut seen, &placed);
    // Neither more parallelism nor the loss of a cluster cuts it anew.
    scale(&mut seen, 9);
    lose(&mut seen, "b");
    let later = run(&seen);
    assert_eq!((counts(&later), later.moves.len()), (counts(&placed), 0));
}

#[test]
fn a_job_that_runs_whole_is_not_divided_by_a_policy_that_changes() {
    let mut seen = job(6, &json!({"parallelism": 6}));
    let divides = seen.policy.replace(policy(json!({})));
    let whole = run(&seen);
    write_back(&mut seen, &whole);
    seen.policy = divides;
    assert_eq!(counts(&run(&seen)), counts(&whole));
}

#[test]
fn an_indexed_job_is_not_divided_and_told_what_to_write_instead() {
    let seen = job(6, &json!({"parallelism": 6, "completions": 6, "completionMode": "Indexed"}));
    let placed = run(&seen);
    assert_eq!(counts(&placed), []);
    let Outcome::Short(reason, words) = placed.outcome else { panic!("it is refused") };
    assert_eq!(reason, "CannotBeDivided");
    assert!(words.contains("leave mode: Divide out"), "{words}");
}
