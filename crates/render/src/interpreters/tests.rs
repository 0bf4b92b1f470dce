//! Shipped interpreters on objects of their kinds, custom ones, and what becomes of a bad one.

use serde_json::json;

use super::*;

const MARKS: Marks<'static> = Marks {
    hub_id: "hub-1",
    binding_namespace: "shop",
    binding_name: "rollout-0123456789",
    template_uid: "uid-1",
};

fn pod(cpu: &str, more: &Value) -> Value {
    let mut spec = json!({"containers": [{"name": "main", "image": "i:1",
        "resources": {"requests": {"cpu": cpu}}}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
}

fn rollout() -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop", "generation": 4},
        "spec": {"replicas": 9, "selector": {"matchLabels": {"app": "web"}},
            "template": pod("500m", &json!({"serviceAccountName": "web"})),
            "strategy": {"canary": {"stableService": "web", "canaryService": "web-canary",
                "analysis": {"templates": [{"templateName": "errors"},
                    {"templateName": "shared", "clusterScope": true}]},
                "steps": [{"setWeight": 20}, {"pause": {}},
                    {"analysis": {"templates": [{"templateName": "latency"}]}}]}}}})
}

fn clone_set() -> Value {
    json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet",
        "metadata": {"name": "web", "namespace": "shop", "generation": 2},
        "spec": {"replicas": 6, "selector": {"matchLabels": {"app": "web"}},
            "template": pod("250m", &json!({})),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
            "updateStrategy": {"type": "InPlaceIfPossible", "partition": "50%"}}})
}

fn ray_cluster() -> Value {
    json!({"apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {"name": "train", "namespace": "ml", "generation": 1},
        "spec": {"rayVersion": "2.46.0",
            "headGroupSpec": {"rayStartParams": {"dashboard-host": "0.0.0.0"},
                "template": pod("2", &json!({"nodeSelector": {"arch": "amd64"}}))},
            "workerGroupSpecs": [
                {"groupName": "gpu", "replicas": 2, "minReplicas": 1, "maxReplicas": 4,
                 "numOfHosts": 2, "rayStartParams": {}, "template": pod("4", &json!({
                    "nodeSelector": {"arch": "amd64", "gpu": "a100"},
                    "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}))},
                {"groupName": "cpu", "minReplicas": 3, "maxReplicas": 3, "rayStartParams": {},
                 "template": pod("1", &json!({"nodeSelector": {"arch": "amd64"}}))}]}})
}

fn shipped() -> Interpreters {
    Interpreters::shipped()
}

fn state(status: &Value, assigned: u32) -> MemberState<'_> {
    MemberState { status, generation: 7, assigned, current: true }
}

fn folded(template: &Value, members: &[MemberState<'_>]) -> Folded {
    let template = Template { object: template, decided: true, now: "2026-01-01T00:00:00Z" };
    shipped().fold(template, members).unwrap()
}

fn names(template: &Value) -> Vec<String> {
    let all = shipped().named_by(template).unwrap();
    all.into_iter().map(|one| format!("{}/{}", one.kind, one.name)).collect()
}

#[test]
fn every_file_that_ships_is_read_and_used() {
    let all = shipped::all();
    assert_eq!(all.len(), shipped().kinds.len());
    for one in all {
        let spec = &one.spec;
        Interpreter::read("x", spec).unwrap_or_else(|error| panic!("{error}"));
        assert!(one.validate_cel().is_ok());
        let api = format!("{}/v1alpha1", spec.target.group);
        assert_eq!(shipped().name(&api, &spec.target.kind), one.metadata.name.as_deref());
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/interpreters");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), shipped::all().len());
}

#[test]
fn a_rollout_is_counted_divided_and_followed() {
    let all = shipped();
    assert_eq!(all.division("argoproj.io/v1alpha1", "Rollout"), Division::Divide);
    assert_eq!(all.replicas(&rollout()).unwrap(), Some(9));
    assert_eq!(all.pod_needs(&rollout()).unwrap().requests["cpu"], 500);
    let made = all
        .manifest(&rollout(), Some(Share { own: 4, total: 9, ..Share::default() }), MARKS)
        .unwrap();
    assert_eq!(made.object["spec"]["replicas"], 4);
    assert_eq!(
        names(&rollout()),
        [
            "AnalysisTemplate/errors",
            "AnalysisTemplate/latency",
            "Service/web",
            "Service/web-canary",
            "ServiceAccount/web"
        ]
    );
    let mut bare = rollout();
    bare["spec"].as_object_mut().unwrap().remove("replicas");
    bare["spec"].as_object_mut().unwrap().remove("template");
    bare["spec"]["strategy"] = json!({"blueGreen": {"activeService": "web",
        "postPromotionAnalysis": {"templates": [{"templateName": "smoke"}]}}});
    bare["spec"]["workloadRef"] =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"});
    assert_eq!(all.replicas(&bare).unwrap(), Some(1));
    assert_eq!(names(&bare), ["Deployment/w", "AnalysisTemplate/smoke", "Service/web"]);
}

#[test]
fn a_rollout_is_as_healthy_as_its_phase_once_it_is_observed() {
    let status = |phase: &str, observed: &str, available: u32| {
        json!({"phase": phase,
        "observedGeneration": observed, "availableReplicas": available, "readyReplicas": available,
        "updatedReplicas": available, "replicas": available, "HPAReplicas": available})
    };
    for (status, expected) in [
        (status("Healthy", "7", 3), Health::Healthy),
        (status("Healthy", "6", 3), Health::Progressing),
        (status("Healthy", "7", 2), Health::Progressing),
        (status("Paused", "7", 3), Health::Progressing),
        (status("Degraded", "7", 3), Health::Unhealthy),
        (Value::Null, Health::Progressing),
    ] {
        let health = shipped().member_health("argoproj.io/v1alpha1", "Rollout", state(&status, 3));
        assert_eq!(health.unwrap(), expected, "{status}");
    }
    let (a, b) = (status("Healthy", "7", 3), status("Healthy", "7", 6));
    let whole = folded(&rollout(), &[state(&a, 3), state(&b, 6)]);
    assert!(whole.available);
    assert_eq!((whole.ready, whole.updated), (9, 9));
    assert_eq!(
        whole.status.unwrap(),
        json!({"observedGeneration": "4", "replicas": 9, "updatedReplicas": 9, "readyReplicas": 9,
            "availableReplicas": 9, "HPAReplicas": 9, "phase": "Healthy"})
    );
    let late = status("Healthy", "6", 6);
    let part = folded(&rollout(), &[state(&a, 3), state(&late, 6)]);
    let part = part.status.unwrap();
    assert_eq!((&part["phase"], &part["updatedReplicas"]), (&json!("Progressing"), &json!(3)));
    assert_eq!(part["observedGeneration"], "0");
    let paused = status("Paused", "7", 6);
    let part = folded(&rollout(), &[state(&a, 3), state(&paused, 6)]);
    assert_eq!(part.status.unwrap()["phase"], "Paused");
    assert_eq!(folded(&rollout(), &[]).status.unwrap()["phase"], "Progressing");
}

#[test]
fn a_clone_set_is_understood() {
    let all = shipped();
    for version in ["v1alpha1", "v1beta1"] {
        let api = format!("apps.kruise.io/{version}");
        assert_eq!(all.division(&api, "CloneSet"), Division::Divide);
    }
    assert_eq!(all.replicas(&clone_set()).unwrap(), Some(6));
    assert!(all.holds_data(&clone_set()).unwrap());
    let status = |updated: u32, condition: &str| {
        json!({"observedGeneration": 7, "replicas": 4,
        "readyReplicas": 4, "availableReplicas": 4, "updatedReplicas": updated,
        "updatedReadyReplicas": updated, "expectedUpdatedReplicas": 2, "updateRevision": "web-b",
        "conditions": [{"type": "FailedScale", "status": condition}]})
    };
    for (status, expected) in [
        (status(2, "False"), Health::Healthy),
        (status(1, "False"), Health::Progressing),
        (status(2, "True"), Health::Unhealthy),
    ] {
        let health = all.member_health("apps.kruise.io/v1alpha1", "CloneSet", state(&status, 4));
        assert_eq!(health.unwrap(), expected, "{status}");
    }
    let one = status(2, "False");
    let whole = folded(&clone_set(), &[state(&one, 4), state(&one, 4)]).status.unwrap();
    assert_eq!((&whole["readyReplicas"], &whole["updatedReplicas"]), (&json!(8), &json!(4)));
    assert_eq!(
        (&whole["observedGeneration"], &whole["updateRevision"]),
        (&json!(2), &json!("web-b"))
    );
}

#[test]
fn a_ray_cluster_goes_whole_with_the_room_of_all_its_pods() {
    let all = shipped();
    let ray = ray_cluster();
    assert_eq!(all.division("ray.io/v1", "RayCluster"), Division::Whole);
    assert_eq!(all.replicas(&ray).unwrap(), Some(1 + 4 + 3));
    let counts: Vec<(u32, i128)> = all
        .pods(&ray)
        .unwrap()
        .iter()
        .map(|set| (set.count, set.needs().requests["cpu"]))
        .collect();
    assert_eq!(counts, [(1, 2000), (4, 4000), (3, 1000)]);
    let needs = all.pod_needs(&ray).unwrap();
    assert_eq!(needs.requests["cpu"], 4000);
    assert_eq!(needs.node_selector, BTreeMap::from([("arch".to_owned(), "amd64".to_owned())]));
    assert!(all.holds_data(&ray).unwrap());
    assert_eq!(names(&ray), ["PersistentVolumeClaim/data"]);
    let made =
        all.manifest(&ray, Some(Share { own: 8, total: 8, ..Share::default() }), MARKS).unwrap();
    assert_eq!(made.object["spec"], ray["spec"]);
    let status = json!({"state": "ready", "observedGeneration": 7, "readyWorkerReplicas": 7,
        "availableWorkerReplicas": 7, "desiredWorkerReplicas": 7, "head": {"podIP": "10.0.0.1"},
        "conditions": [{"type": "HeadPodReady", "status": "True"}]});
    assert_eq!(all.ready_replicas("ray.io/v1", "RayCluster", &status).unwrap(), 8);
    let health = all.member_health("ray.io/v1", "RayCluster", state(&status, 8)).unwrap();
    assert_eq!(health, Health::Healthy);
    let failed = json!({"state": "failed"});
    let health = all.member_health("ray.io/v1", "RayCluster", state(&failed, 8)).unwrap();
    assert_eq!(health, Health::Unhealthy);
    let whole = folded(&ray, &[state(&status, 8)]);
    assert!(whole.available);
    assert_eq!(whole.status.unwrap()["state"], "ready");
    assert_eq!(all.ready_replicas("ray.io/v1", "RayCluster", &Value::Null).unwrap(), 0);
}

#[test]
fn shipped_interpreters_fold_the_largest_fleet_within_their_budget() {
    for template in [rollout(), clone_set(), ray_cluster()] {
        let status = json!({"observedGeneration": 7, "phase": "Paused", "replicas": 3,
            "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 3, "state": "ready",
            "readyWorkerReplicas": 2, "conditions": [{"type": "HeadPodReady", "status": "True"}]});
        let members = vec![state(&status, 3); 5000];
        let whole = folded(&template, &members);
        assert_eq!(whole.ready, 15_000);
        assert!(whole.status.is_some());
    }
}

/// An interpreter of the kind Farm with these fields.
fn farm(name: &str, spec: &Value) -> ResourceInterpreter {
    let mut whole = json!({"target": {"group": "example.com", "kind": "Farm"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": whole})).unwrap()
}

fn with(spec: &Value) -> Interpreters {
    let (all, refused) = Interpreters::new([&farm("farms", spec)]);
    assert!(refused.is_empty(), "{refused:?}");
    all
}

fn barns() -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Farm", "metadata": {"name": "f", "generation": 1},
        "spec": {"barns": [{"cows": 4}, {"cows": 2}], "size": 6}})
}

#[test]
fn replicas_that_stand_in_several_places_are_revised_together() {
    let all = with(
        &json!({"replicas": {"cel": "object.spec.barns.map(b, b.cows).sum()", "revise": [
        {"path": "/spec/barns", "cel": "object.spec.barns.map(b, {'cows': b.cows * replicas / total})"},
        {"path": "/spec/size", "cel": "replicas"}]}}),
    );
    assert_eq!(all.division("example.com/v1", "Farm"), Division::Divide);
    assert_eq!(all.replicas(&barns()).unwrap(), Some(6));
    let made = all
        .manifest(&barns(), Some(Share { own: 3, total: 6, ..Share::default() }), MARKS)
        .unwrap();
    assert_eq!(made.object["spec"], json!({"barns": [{"cows": 2}, {"cows": 1}], "size": 3}));
    assert_eq!(all.replica_paths("example.com/v1", "Farm"), ["/spec/barns", "/spec/size"]);
}

#[test]
fn an_interpreter_that_fails_says_which_field_and_stops_its_kind_only() {
    let explodes = format!("['aaaaaaaaaaaaaaaa']{}.size()", ".map(s,s+s)".repeat(30));
    for (spec, expected) in [
        (
            json!({"replicas": {"cel": "'three'"}}),
            "replicas.cel `'three'`: the result is \"three\"",
        ),
        (json!({"replicas": {"cel": "-1"}}), "the result is -1 and should be a count"),
        (json!({"replicas": {"cel": "object.spec.count"}}), "there is no count"),
        (json!({"replicas": {"cel": explodes}}), "the expression made more than"),
        (
            json!({"replicas": {"path": "/spec/barns"}}),
            "replicas.path `/spec/barns`: the result is",
        ),
    ] {
        let all = with(&spec);
        let error = all.replicas(&barns()).unwrap_err().to_string();
        assert!(error.starts_with("ResourceInterpreter farms for example.com/Farm: "), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(all.replicas(&rollout()).unwrap(), Some(9));
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}});
        assert_eq!(all.replicas(&web).unwrap(), Some(2));
    }
    let status = json!({});
    let all = with(&json!({"health": "'Fine'", "status": "[1]", "dependencies": "[{'kind': 'x'}]",
        "pods": {"cel": "[{'count': 1}]"}, "ready": "status"}));
    let health = all.member_health("example.com/v1", "Farm", state(&status, 1)).unwrap_err();
    assert!(health.to_string().contains("should be \"Healthy\", \"Progressing\" or"), "{health}");
    let template = Template { object: &barns(), decided: true, now: "" };
    assert!(all.fold(template, &[]).unwrap_err().to_string().contains("should be a map"));
    assert!(all.named_by(&barns()).unwrap_err().to_string().contains("{apiVersion, kind, name}"));
    assert!(all.pods(&barns()).unwrap_err().to_string().contains("{template, count}"));
    assert!(all.ready_replicas("example.com/v1", "Farm", &status).is_err());
}

#[test]
fn an_interpreter_that_cannot_be_used_is_refused_with_its_reason() {
    let bad = farm("a", &json!({"health": "observed ?"}));
    let good = farm("b", &json!({"replicas": {"path": "/spec/size"}}));
    let second = farm("c", &json!({}));
    let mut builtin = farm("d", &json!({}));
    builtin.spec.target.group = "networking.k8s.io".to_owned();
    builtin.spec.target.kind = "NetworkPolicy".to_owned();
    let (all, refused) = Interpreters::new([&second, &good, &builtin, &bad]);
    assert_eq!(all.name("example.com/v1", "Farm"), Some("b"));
    assert!(matches!(refused["a"], InterpreterRefusal::Unreadable(_)), "{}", refused["a"]);
    assert!(
        refused["a"].to_string().contains("health `observed ?`: the expression cannot be read")
    );
    assert_eq!(refused["c"], InterpreterRefusal::Taken("b".to_owned()));
    assert_eq!(refused["d"], InterpreterRefusal::BuiltIn("NetworkPolicy".to_owned()));
    assert_eq!(refused.len(), 3);
}

#[test]
fn a_given_interpreter_takes_the_place_of_one_that_ships() {
    let mut own = farm("mine", &json!({"replicas": {"cel": "1"}}));
    own.spec.target.group = "argoproj.io".to_owned();
    own.spec.target.kind = "Rollout".to_owned();
    let (all, refused) = Interpreters::new([&own]);
    assert!(refused.is_empty());
    assert_eq!(all.name("argoproj.io/v1alpha1", "Rollout"), Some("mine"));
    assert_eq!(all.division("argoproj.io/v1alpha1", "Rollout"), Division::Whole);
}

#[test]
fn a_kind_without_an_interpreter_is_carried_as_it_is() {
    let all = shipped();
    assert_eq!(all.replicas(&barns()).unwrap(), None);
    assert_eq!(all.division("example.com/v1", "Farm"), Division::None);
    assert!(all.pods(&barns()).unwrap().is_empty());
    let made = all
        .manifest(&barns(), Some(Share { own: 1, total: 2, ..Share::default() }), MARKS)
        .unwrap();
    assert_eq!(made.object["spec"], barns()["spec"]);
}

#[test]
fn built_in_kinds_answer_as_they_did() {
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 5, "template": pod("100m", &json!({"serviceAccountName": "sa"}))}});
    let all = shipped();
    assert_eq!(all.replicas(&web).unwrap(), crate::replicas(&web));
    assert_eq!(all.pod_needs(&web).unwrap(), crate::pod_needs(&web));
    assert_eq!(all.pod_labels(&web).unwrap(), [crate::pod_labels(&web)]);
    assert_eq!(all.named_by(&web).unwrap(), crate::named_by(&web));
    let share = Some(Share { own: 2, total: 5, ..Share::default() });
    assert_eq!(all.manifest(&web, share, MARKS).unwrap(), manifest(&web, share, MARKS));
    let status = json!({"observedGeneration": 7, "readyReplicas": 2, "availableReplicas": 2,
        "updatedReplicas": 2});
    let template = Template { object: &web, decided: true, now: "2026-01-01T00:00:00Z" };
    let members = [state(&status, 2)];
    assert_eq!(all.fold(template, &members).unwrap(), crate::fold(template, &members));
}

proptest::proptest! {
    /// What a member has at retained places survives, whatever is rendered there; all else is as
    /// rendered.
    #[test]
    fn retained_fields_survive(
        live in proptest::collection::btree_map("[ab]", 0u32..4, 0..3),
        rendered in proptest::collection::btree_map("[abc]", 0u32..4, 0..4),
    ) {
        let live = json!({"spec": live});
        let mut object = json!({"spec": rendered.clone()});
        let paths = ["/spec/a", "/spec/b"].map(str::to_owned);
        retain(&mut object, &live, &paths);
        for path in &paths {
            proptest::prop_assert_eq!(object.pointer(path), live.pointer(path));
        }
        proptest::prop_assert_eq!(object["spec"].get("c").cloned(), rendered.get("c").map(|c| json!(c)));
        let once = object.clone();
        retain(&mut object, &live, &paths);
        proptest::prop_assert_eq!(object, once);
    }

    /// Shares of a custom kind add up to its replicas, and rendering twice is rendering once.
    #[test]
    fn shares_of_a_custom_kind_add_up(owns in proptest::collection::vec(0u32..50, 1..8)) {
        let total: u32 = owns.iter().sum();
        let mut before = 0;
        let mut sum = 0;
        for own in &owns {
            let share = Some(Share { before, own: *own, total, ..Share::default() });
            let made = shipped().manifest(&rollout(), share, MARKS).unwrap();
            let again = shipped().manifest(&rollout(), share, MARKS).unwrap();
            proptest::prop_assert_eq!(&made, &again);
            sum += shipped().replicas(&made.object).unwrap().unwrap();
            before += own;
        }
        proptest::prop_assert_eq!(sum, total);
    }
}
