//! What is told of bindings and templates.

use hanse_api::{ClusterReplicas, ResourceBindingStatus, conditions::is_true};
use hanse_member::Packed;
use serde_json::json;

use super::*;
use crate::TemplateKey;

fn member(name: &str, assigned: u32, ready: u32) -> MemberSeen {
    let status = json!({"observedGeneration": 1, "replicas": assigned, "readyReplicas": ready,
        "updatedReplicas": assigned, "availableReplicas": ready});
    MemberSeen {
        name: name.to_owned(),
        assigned,
        scaled: None,
        counts: true,
        up: Some(true),
        copy: Some(Arc::new(Digest {
            generation: 1,
            applied: "1-abc".to_owned(),
            ..Digest::default()
        })),
        status: Some(status),
        stand: Some(Stand::Applied),
        current: true,
        looked: true,
    }
}

fn seen(members: Vec<MemberSeen>) -> Seen {
    let key = TemplateKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"uid": "u", "generation": 3}, "spec": {"replicas": 5}});
    let mut binding = ResourceBinding::default();
    binding.spec.template.api_version = "apps/v1".to_owned();
    binding.spec.template.kind = "Deployment".to_owned();
    binding.spec.template.uid = "u".to_owned();
    binding.spec.replicas = 5;
    binding.spec.clusters = members
        .iter()
        .map(|member| ClusterReplicas {
            name: member.name.clone(),
            replicas: i32::try_from(member.assigned).unwrap(),
        })
        .collect();
    Seen {
        settled: members.iter().map(|member| i64::from(member.assigned)).sum(),
        binding: Arc::new(binding),
        template: Some(Arc::new(Template::read(key, &object))),
        members,
        now: Timestamp::UNIX_EPOCH,
        interpreters: Arc::new(Interpreters::shipped()),
        kept: BTreeMap::new(),
    }
}

fn said(told: &Told, type_: &str) -> String {
    let found = told.conditions.iter().find(|c| c.type_ == type_).unwrap();
    format!("{} {}: {}", found.status, found.reason, found.message)
}

#[test]
fn the_members_are_folded_into_binding_and_template() {
    let told = plan(&seen(vec![member("a", 2, 2), member("b", 3, 3)]));
    assert_eq!((told.summary.ready, told.summary.applied, told.summary.clusters), (5, 2, 2));
    let status = told.template.as_ref().unwrap();
    assert_eq!((&status["observedGeneration"], &status["readyReplicas"]), (&json!(3), &json!(5)));
    assert!(is_true(&told.conditions, "Applied") && is_true(&told.conditions, "Available"));
    assert!(told.clusters.iter().all(|c| c.health == WorkloadHealth::Healthy));
}

#[test]
fn what_autoscalers_made_of_the_shares_is_what_shall_be_ready() {
    for (live, ready, expected) in [(1, 1, true), (1, 0, false), (9, 9, true), (9, 3, false)] {
        let mut scaled = member("b", live, ready);
        (scaled.assigned, scaled.scaled) = (3, Some(live));
        let mut all = seen(vec![member("a", 2, 2), scaled]);
        all.settled = 5;
        let told = plan(&all);
        assert_eq!(is_true(&told.conditions, "Available"), expected, "{live} {ready}");
        let told = told.clusters.iter().find(|told| told.name == "b").unwrap();
        assert_eq!((told.replicas, told.health == WorkloadHealth::Healthy), (3, expected));
    }
}

#[test]
fn the_plan_of_its_own_result_is_the_same() {
    let first = seen(vec![member("a", 2, 2), member("b", 3, 1)]);
    let told = plan(&first);
    let mut later = first.clone();
    let mut template = Template::clone(first.template.as_ref().unwrap());
    template.status = Packed::of(told.template.as_ref().unwrap());
    later.template = Some(Arc::new(template));
    let mut binding = ResourceBinding::clone(&first.binding);
    binding.status = Some(ResourceBindingStatus {
        conditions: told.conditions.clone(),
        summary: told.summary,
        clusters: told.clusters.clone(),
        ..ResourceBindingStatus::default()
    });
    later.binding = Arc::new(binding);
    assert_eq!(plan(&later), told);
}

#[test]
fn lost_members_count_zero_and_hold_nothing_up() {
    let mut lost = member("a", 2, 2);
    lost.counts = false;
    lost.current = false;
    let told = plan(&seen(vec![lost, member("b", 3, 3)]));
    assert_eq!(told.summary.ready, 3);
    assert_eq!(told.template.as_ref().unwrap()["observedGeneration"], 3);
    assert_eq!(said(&told, "Available"), "False Unavailable: 3 of 5 replicas ready");
    assert_eq!(said(&told, "Applied"), "True Applied: in 1 clusters");
}

#[test]
fn what_stands_in_the_way_is_said() {
    let mut conflict = member("b", 3, 3);
    conflict.stand = Some(Stand::Failed("Conflict", "member b has one already".to_owned()));
    conflict.current = false;
    let told = plan(&seen(vec![member("a", 2, 2), conflict]));
    assert_eq!(said(&told, "Applied"), "False Conflict: member b has one already");
    assert_eq!(told.clusters[0].name, "b");
    assert_eq!(told.clusters[0].health, WorkloadHealth::Unhealthy);
    let mut late = member("b", 3, 3);
    late.current = false;
    late.stand = Some(Stand::Waiting("Service shop/web comes first".to_owned()));
    let told = plan(&seen(vec![member("a", 2, 2), late]));
    assert_eq!(said(&told, "Applied"), "False Applying: b: Service shop/web comes first");
    assert_ne!(told.template.unwrap()["observedGeneration"], 3);
}

#[test]
fn a_scale_is_not_observed_before_it_is_decided() {
    let mut seen = seen(vec![member("a", 2, 2), member("b", 3, 3)]);
    let mut binding = ResourceBinding::clone(&seen.binding);
    binding.spec.replicas = 4;
    seen.binding = Arc::new(binding);
    assert_eq!(plan(&seen).template.unwrap()["observedGeneration"], 0);
}

#[test]
fn a_divided_job_is_complete_when_every_part_of_it_is() {
    let part = |name: &str, counts: bool| {
        let done = json!({"succeeded": 2,
            "conditions": [{"type": "Complete", "status": "True"}]});
        MemberSeen { counts, status: Some(done), ..member(name, 2, 0) }
    };
    let told = |members: Vec<MemberSeen>| {
        let mut seen = seen(members);
        let key = TemplateKey {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: "shop".to_owned(),
            name: "sum".to_owned(),
        };
        let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "u"},
            "spec": {"parallelism": 4, "completions": 4}});
        let mut binding = ResourceBinding::clone(&seen.binding);
        binding.spec.template.api_version = key.api_version.clone();
        binding.spec.template.kind = key.kind.clone();
        binding.spec.replicas = 4;
        seen.binding = Arc::new(binding);
        seen.template = Some(Arc::new(Template::read(key, &object)));
        plan(&seen)
    };
    let all = told(vec![part("a", true), part("b", true)]);
    assert!(all.finished);
    assert_eq!(all.template.unwrap()["succeeded"], 4);
    let out_of_sight = told(vec![part("a", true), part("b", false)]);
    assert!(!out_of_sight.finished, "the part in b may still run");
}

#[test]
fn what_was_told_as_applied_is_not_taken_back_before_it_was_looked_at() {
    let mut seen = seen(vec![member("a", 2, 2), member("b", 3, 3)]);
    let told = plan(&seen);
    let knows_less = |seen: &Seen| {
        knows_less(&seen.binding, |name| {
            let member = seen.members.iter().find(|member| member.name == name).unwrap();
            member.counts && is_pending(member.up, member.looked)
        })
    };
    seen.members[1].looked = false;
    assert!(!knows_less(&seen), "nothing was told before");
    let mut binding = ResourceBinding::clone(&seen.binding);
    let status = ResourceBindingStatus { clusters: told.clusters, ..Default::default() };
    binding.status = Some(status);
    seen.binding = Arc::new(binding);
    assert!(knows_less(&seen));
    seen.members[1].counts = false;
    assert!(!knows_less(&seen), "a lost member is told of");
    seen.members[1].counts = true;
    seen.members[1].up = Some(false);
    assert!(!knows_less(&seen), "and so is one that does not answer");
    seen.members[1].up = None;
    assert!(knows_less(&seen), "it may answer yet");
    seen.members[1].looked = true;
    assert!(!knows_less(&seen), "and what was looked at");
}
