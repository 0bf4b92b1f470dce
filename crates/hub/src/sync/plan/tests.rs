//! What sync does about a copy, case by case.

use hanse_member::digest;
use serde_json::{Value, json};

use super::*;
use crate::{marks::NAMES, propagation::binding_key};

fn template(uid: &str, image: &str) -> Arc<Template> {
    let key = TemplateKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": uid},
        "spec": {"replicas": 5, "template": {"spec": {"containers": [
            {"name": "web", "image": image}]}}}});
    Arc::new(Template::read(key, &object))
}

fn seen() -> Seen {
    let template = template("u1", "web:1");
    let key = binding_key(&template.key);
    let mut binding = ResourceBinding::new(&key.name, hanse_api::ResourceBindingSpec::default());
    binding.metadata.namespace = Some(key.namespace.clone());
    binding.spec.replicas = 5;
    binding.spec.template.api_version = "apps/v1".to_owned();
    binding.spec.template.kind = "Deployment".to_owned();
    binding.spec.clusters = [("a", 2), ("b", 3)]
        .map(|(name, replicas)| ClusterReplicas { name: name.to_owned(), replicas })
        .to_vec();
    Seen {
        member: "b".to_owned(),
        key,
        hub_id: "hub".to_owned(),
        reach: Reach::Up,
        served: Some(true),
        synced: true,
        barrier: None,
        place: Place::default(),
        ruling: Ruling::default(),
        copy: None,
        input: 0,
        conflict: Conflict::Abort,
        is_wanted: true,
        share: share_of(&Interpreters::shipped(), &binding, &[], "b"),
        scaled: false,
        workloads_left: false,
        waits_for: None,
        template_key: template.key.clone(),
        template: Some(template),
        binding: Arc::new(binding),
    }
}

/// The member holds this object; `compared` says whether it was looked at since it changed.
fn holds(seen: &mut Seen, mut live: Value, compared: bool) {
    live["metadata"]["uid"] = json!("copy-1");
    let digest = Arc::new(digest(&live, NAMES));
    seen.copy = Some(Copy { digest, unseen: (!compared).then(|| Arc::new(live)) });
}

fn created(seen: &Seen) -> Manifest {
    match plan(seen) {
        Action::Create(manifest, Conflict::Abort) => *manifest,
        other => panic!("{other:?}"),
    }
}

fn waits(seen: &Seen) -> bool {
    matches!(plan(seen), Action::Stands(Stand::Waiting(_)))
}

#[test]
fn a_missing_copy_is_made_with_the_members_share() {
    assert_eq!(created(&seen()).object["spec"]["replicas"], 3);
}

#[test]
fn the_plan_of_its_own_result_is_nothing() {
    let mut seen = seen();
    let made = created(&seen).object;
    holds(&mut seen, made.clone(), true);
    assert_eq!(plan(&seen), Action::Stands(Stand::Applied));
    let mut defaulted = made;
    defaulted["spec"]["progressDeadlineSeconds"] = json!(600);
    defaulted["status"] = json!({"replicas": 3});
    holds(&mut seen, defaulted, false);
    assert!(matches!(plan(&seen), Action::Compared(_)));
}

#[test]
fn a_changed_template_or_a_drifted_copy_is_applied() {
    let mut seen = seen();
    let made = created(&seen).object;
    holds(&mut seen, made.clone(), true);
    seen.template = Some(template("u1", "web:2"));
    assert!(matches!(plan(&seen), Action::Apply(_)));
    seen.template = Some(template("u1", "web:1"));
    let mut drifted = made;
    drifted["spec"]["replicas"] = json!(9);
    holds(&mut seen, drifted, false);
    assert!(matches!(plan(&seen), Action::Apply(_)));
}

#[test]
fn a_template_made_anew_replaces_its_copy() {
    let mut seen = seen();
    let made = created(&seen).object;
    holds(&mut seen, made, true);
    seen.template = Some(template("u2", "web:1"));
    assert_eq!(plan(&seen), Action::Delete("copy-1".to_owned()));
}

#[test]
fn what_is_wanted_no_more_is_deleted_by_uid_and_only_what_is_ours() {
    let mut seen = seen();
    let made = created(&seen).object;
    seen.is_wanted = false;
    assert_eq!(plan(&seen), Action::Stands(Stand::Gone));
    holds(&mut seen, made.clone(), true);
    assert_eq!(plan(&seen), Action::Delete("copy-1".to_owned()));
    let mut other = made.clone();
    other["metadata"]["annotations"]["hanse.dev/binding-name"] = json!("shop/other");
    holds(&mut seen, other, true);
    assert_eq!(plan(&seen), Action::Stands(Stand::Gone));
    let mut going = made;
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    holds(&mut seen, going, true);
    assert!(waits(&seen));
}

#[test]
fn an_autoscaler_keeps_its_count_and_whoever_owns_the_count_next_is_told() {
    let mut seen = seen();
    let plain = created(&seen);
    seen.scaled = true;
    let made = created(&seen);
    assert_eq!(made.object["spec"]["replicas"], 3, "it begins with its share");
    let mut scaled = made.object.clone();
    scaled["spec"]["replicas"] = json!(9);
    holds(&mut seen, scaled.clone(), false);
    assert!(matches!(plan(&seen), Action::Compared(_)));
    scaled["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other:1");
    holds(&mut seen, scaled.clone(), false);
    assert!(matches!(plan(&seen), Action::Apply(_)), "all else is put back");
    holds(&mut seen, made.object, true);
    assert_eq!(plan(&seen), Action::Stands(Stand::Applied));
    seen.scaled = false;
    assert_eq!(plan(&seen), Action::Apply(Box::new(plain)), "the autoscaler is gone");
}

#[test]
fn a_claim_or_a_volume_outlives_every_move_and_goes_only_with_its_template() {
    for kind in ["PersistentVolumeClaim", "PersistentVolume"] {
        let mut seen = seen();
        let made = created(&seen).object;
        holds(&mut seen, made, true);
        (seen.template_key.api_version, seen.template_key.kind) = ("v1".into(), kind.into());
        seen.is_wanted = false;
        let mut binding = ResourceBinding::clone(&seen.binding);
        for (uid, known) in [("u1", true), ("u1", false), ("", true)] {
            binding.spec.template.uid = uid.to_owned();
            seen.binding = Arc::new(binding.clone());
            seen.template = known.then(|| template("u1", "web:1"));
            let Action::Stands(Stand::Kept(words)) = plan(&seen) else { panic!("it stays") };
            assert!(words.starts_with("HoldsData: the copy in b stays"), "{words}");
        }
        let mut anew = binding.clone();
        anew.spec.template.uid = "u2".to_owned();
        seen.binding = Arc::new(anew);
        assert_eq!(plan(&seen), Action::Delete("copy-1".to_owned()), "the hub's own is gone");
        binding.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        seen.binding = Arc::new(binding);
        assert_eq!(plan(&seen), Action::Delete("copy-1".to_owned()));
    }
}

#[test]
fn a_companion_goes_after_its_workload_and_comes_before_it() {
    let mut seen = seen();
    let made = created(&seen).object;
    seen.waits_for = Some("ConfigMap shop/web".to_owned());
    assert!(waits(&seen));
    holds(&mut seen, made, true);
    seen.is_wanted = false;
    seen.workloads_left = true;
    assert!(waits(&seen));
}

#[test]
fn nothing_is_done_to_a_member_out_of_reach_or_taken_out() {
    let mut seen = seen();
    for reach in [Reach::Down, Reach::TakenOut] {
        seen.reach = reach;
        assert!(waits(&seen));
    }
    seen.reach = Reach::Left;
    seen.is_wanted = false;
    assert_eq!(plan(&seen), Action::Stands(Stand::Gone));
}

#[test]
fn nothing_is_done_before_the_members_objects_are_known() {
    let mut seen = seen();
    seen.synced = false;
    assert!(waits(&seen));
    seen.synced = true;
    seen.served = None;
    assert!(waits(&seen));
}

#[test]
fn a_kind_that_the_member_does_not_serve_is_said_so() {
    let mut seen = seen();
    seen.served = Some(false);
    let expected = "member b does not serve apps/v1 Deployment: install it there, or keep the \
                    policy away from that member";
    let failed = Stand::Failed("KindNotServed", expected.to_owned());
    assert_eq!(plan(&seen), Action::Stands(failed));
}

#[test]
fn a_finished_job_is_never_applied_again() {
    let mut seen = seen();
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.finished = vec!["b".to_owned()];
    seen.binding = Arc::new(binding);
    assert_eq!(plan(&seen), Action::Stands(Stand::Applied));
}

#[test]
fn shares_are_cut_in_order_and_duplicates_are_not_divided() {
    let seen = seen();
    let share = |binding: &ResourceBinding, member: &str| {
        share_of(&Interpreters::shipped(), binding, &[], member).map(|s| (s.before, s.own, s.total))
    };
    assert_eq!(share(&seen.binding, "a"), Some((0, 2, 5)));
    assert_eq!(share(&seen.binding, "b"), Some((2, 3, 5)));
    let mut copies = ResourceBinding::clone(&seen.binding);
    copies.spec.clusters.iter_mut().for_each(|cluster| cluster.replicas = 5);
    assert_eq!(share(&copies, "b"), Some((0, 5, 5)));
    let mut budget = ResourceBinding::clone(&seen.binding);
    budget.spec.template.api_version = "policy/v1".to_owned();
    budget.spec.template.kind = "PodDisruptionBudget".to_owned();
    budget.spec.clusters.iter_mut().for_each(|cluster| cluster.replicas = 0);
    let followed =
        share_of(&Interpreters::shipped(), &budget, &[Arc::clone(&seen.binding)], "b").unwrap();
    assert_eq!((followed.before, followed.own), (2, 3));
}

#[test]
fn a_barrier_keeps_new_copies_away_and_leaves_old_ones() {
    let mut seen = seen();
    seen.barrier = Some(Barrier::Misplaced);
    let Action::Stands(Stand::Failed(why, _)) = plan(&seen) else { panic!("it is refused") };
    assert_eq!(why, reason::NOT_ALLOWED);
    seen.barrier = Some(Barrier::NotInTenant);
    let Action::Stands(Stand::Failed(why, words)) = plan(&seen) else { panic!("it is refused") };
    assert_eq!(why, reason::NOT_IN_TENANT);
    assert_eq!(words, "the tenant of namespace shop may not use member b");
    seen.barrier = None;
    let Action::Create(manifest, _) = plan(&seen) else { panic!("it is made") };
    holds(&mut seen, manifest.object, true);
    seen.barrier = Some(Barrier::NotInTenant);
    assert_eq!(plan(&seen), Action::Stands(Stand::Applied));
}

#[test]
fn what_others_build_on_comes_first_and_goes_last() {
    let mut binding = ResourceBinding::clone(&seen().binding);
    let kinds = [
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("v1", "Namespace"),
        ("v1", "ConfigMap"),
        ("apps/v1", "Deployment"),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ];
    let mut order = |member: &str| -> Vec<i32> {
        let each = kinds.map(|(api_version, kind)| {
            let template = &mut binding.spec.template;
            (template.api_version, template.kind) = (api_version.to_owned(), kind.to_owned());
            importance(&binding, member)
        });
        each.to_vec()
    };
    assert!(order("a").is_sorted_by(|first, later| first > later), "it comes in this order");
    assert!(
        order("elsewhere").is_sorted_by(|first, later| first < later),
        "and goes the other way"
    );
}
