//! What rules do, in which order, and what they are refused.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn web() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "template": {"spec": {
            "initContainers": [{"name": "init", "image": "docker.io/library/init:1"}],
            "containers": [
                {"name": "web", "image": "r.example.com/shop/web:1@sha256:ab",
                 "args": ["-v", "--port=80"], "env": [{"name": "A", "value": "1"}]},
                {"name": "mesh", "image": "mesh"}]}}}})
}

fn selectors() -> Value {
    json!([{"apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["shop"]}])
}

fn op(name: &str, namespace: &str, priority: i32, rules: &Value) -> OverridePolicy {
    let mut selectors = selectors();
    selectors[0].as_object_mut().unwrap().remove("namespaces");
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
        "spec": {"resourceSelectors": selectors, "priority": priority, "rules": rules}}))
    .unwrap()
}

fn cop(name: &str, priority: i32, rules: &Value) -> ClusterOverridePolicy {
    serde_json::from_value(json!({"metadata": {"name": name},
        "spec": {"resourceSelectors": selectors(), "priority": priority, "rules": rules}}))
    .unwrap()
}

fn applied(
    overrides: &Overrides,
    object: &Value,
) -> Result<(Value, Vec<Overridden>), OverrideError> {
    let labels = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
    let member = Member {
        name: "aws-1",
        provider: "aws",
        region: "eu-west-1",
        zone: "eu-west-1a",
        labels: &labels,
    };
    let mut object = object.clone();
    let done = overrides.apply(&mut object, member, &["/spec/replicas"])?;
    Ok((object, done))
}

/// What one rule of a namespace makes of the web Deployment.
#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn by_namespace(rule: Value) -> Result<Value, OverrideError> {
    let policy = op("eu", "shop", 0, &json!([rule]));
    applied(&Overrides::new([], [&policy]), &web()).map(|(object, _)| object)
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn by_cluster(rule: Value) -> Result<Value, OverrideError> {
    let policy = cop("eu", 0, &json!([rule]));
    applied(&Overrides::new([&policy], []), &web()).map(|(object, _)| object)
}

/// Rules, and what they make of a place below the pod's spec.
fn parts() -> Vec<(Value, &'static str, Value)> {
    vec![
        (
            json!({"image": [{"registry": "mirror.eu:5000"}]}),
            "/containers/0/image",
            json!("mirror.eu:5000/shop/web:1@sha256:ab"),
        ),
        (
            json!({"image": [{"registry": "mirror.eu"}]}),
            "/initContainers/0/image",
            json!("mirror.eu/library/init:1"),
        ),
        (
            json!({"image": [{"container": "web", "tag": "2"}]}),
            "/containers/0/image",
            json!("r.example.com/shop/web:2"),
        ),
        (
            json!({"image": [{"container": "web", "digest": "sha256:cd"}]}),
            "/containers/0/image",
            json!("r.example.com/shop/web@sha256:cd"),
        ),
        (
            json!({"image": [{"container": "mesh", "repository": "mesh/proxy"}]}),
            "/containers/1/image",
            json!("mesh/proxy"),
        ),
        (
            json!({"command": [{"container": "web", "set": ["/bin/web"]}]}),
            "/containers/0/command",
            json!(["/bin/web"]),
        ),
        (
            json!({"args": [{"container": "web", "remove": ["-v"], "append": ["--eu"]}]}),
            "/containers/0/args",
            json!(["--port=80", "--eu"]),
        ),
        (
            json!({"env": [{"container": "web", "set": [{"name": "A", "value": "2"}, {"name": "B"}]}]}),
            "/containers/0/env",
            json!([{"name": "A", "value": "2"}, {"name": "B", "value": ""}]),
        ),
        (json!({"env": [{"container": "web", "remove": ["A"]}]}), "/containers/0/env", Value::Null),
        (
            json!({"jsonPatch": [
                {"op": "test", "path": "/spec/template/spec/containers/1/name", "value": "mesh"},
                {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "c"}},
                {"op": "remove", "path": "/spec/template/spec/containers/0"},
                {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "i"}]}),
            "/containers",
            json!([{"name": "mesh", "image": "i"}, {"name": "c"}]),
        ),
        (
            json!({"mergePatch": {"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"},
                "initContainers": null}}}}}),
            "/nodeSelector",
            json!({"disk": "ssd"}),
        ),
        (
            json!({"replace": [{"path": "/spec/template/spec/nodeSelector",
                "cel": "{'zone': cluster.zone, 'tier': cluster.labels.tier, \
                         'for': object.metadata.name}"}]}),
            "/nodeSelector",
            json!({"zone": "eu-west-1a", "tier": "gold", "for": "web"}),
        ),
    ]
}

#[test]
fn each_part_of_a_rule_changes_what_it_names() {
    let pod = "/spec/template/spec";
    for (rule, path, expected) in parts() {
        let object = by_namespace(rule.clone()).unwrap_or_else(|error| panic!("{error}"));
        let found = object.pointer(&format!("{pod}{path}")).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{rule}");
    }
    let labelled = by_namespace(json!({"labels": {"set": {"eu": "yes"}, "remove": ["app"]},
        "annotations": {"set": {"note": "x"}}}))
    .unwrap();
    assert_eq!(labelled["metadata"]["labels"], json!({"eu": "yes"}));
    assert_eq!(labelled["metadata"]["annotations"], json!({"note": "x"}));
}

#[test]
fn a_rule_is_for_the_clusters_that_it_names() {
    for (clusters, expected) in [
        (json!({"names": ["aws-1"]}), true),
        (json!({"regions": ["us-east-1"]}), false),
        (json!({"selector": {"matchLabels": {"tier": "gold"}}}), true),
    ] {
        let object = by_namespace(json!({"clusters": clusters, "labels": {"set": {"x": "y"}}}));
        assert_eq!(object.unwrap()["metadata"]["labels"]["x"] == "y", expected, "{clusters}");
    }
}

#[test]
fn a_rule_that_does_not_apply_names_policy_rule_and_path() {
    for (rule, expected) in [
        (
            json!({"image": [{"container": "db", "tag": "1"}]}),
            "rules[0].image[0], /spec: there is no container db: this object has web, mesh, init",
        ),
        (
            json!({"jsonPatch": [{"op": "remove", "path": "/spec/nothing"}]}),
            "rules[0].jsonPatch[0], /spec/nothing: nothing is there",
        ),
        (
            json!({"jsonPatch": [{"op": "add", "path": "/spec/a/b", "value": 1}]}),
            "rules[0].jsonPatch[0], /spec/a/b: what it lies in is not there",
        ),
        (
            json!({"jsonPatch": [{"op": "add", "path": "/spec/a"}]}),
            "rules[0].jsonPatch[0], /spec/a: this operation needs a value",
        ),
        (
            json!({"jsonPatch": [{"op": "test", "path": "/kind", "value": "Job"}]}),
            "rules[0].jsonPatch[0], /kind: the test does not hold: the value there is \"Deployment\"",
        ),
        (
            json!({"jsonPatch": [{"op": "replace",
                "path": "/spec/template/spec/containers/x", "value": 1}]}),
            "/spec/template/spec/containers/x: nothing is there",
        ),
        (
            json!({"replace": [{"path": "/spec/a", "cel": "object.spec.other"}]}),
            "rules[0].replace[0], /spec/a: there is no other",
        ),
        (
            json!({"replace": [{"path": "/spec/a", "cel": "member.name"}]}),
            "rules[0].replace[0], /spec/a: there is no member here: this expression knows object, \
             cluster",
        ),
    ] {
        let error = by_namespace(rule).unwrap_err().to_string();
        assert!(error.starts_with("OverridePolicy shop/eu, "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_makes_an_object_the_one_it_is_cannot_be_overridden() {
    for rule in [
        json!({"mergePatch": {"kind": "ClusterRole"}}),
        json!({"mergePatch": {"apiVersion": "v1"}}),
        json!({"mergePatch": {"metadata": {"name": "other"}}}),
        json!({"mergePatch": {"metadata": {"namespace": "kube-system"}}}),
        json!({"mergePatch": {"metadata": {"ownerReferences": []}}}),
        json!({"mergePatch": {"metadata": {"finalizers": ["x/y"]}}}),
        json!({"mergePatch": {"metadata": null}}),
        json!({"mergePatch": {"status": {"replicas": 1}}}),
        json!({"replace": [{"path": "/metadata/namespace", "cel": "'default'"}]}),
        json!({"jsonPatch": [{"op": "replace", "path": "/metadata", "value": {}}]}),
    ] {
        for error in
            [by_namespace(rule.clone()).unwrap_err(), by_cluster(rule.clone()).unwrap_err()]
        {
            assert_eq!(*error.cause, OverrideCause::Identity, "{rule}");
        }
    }
    let mark = json!({"labels": {"set": {"hanse.dev/hub": "other"}}});
    assert_eq!(*by_cluster(mark).unwrap_err().cause, OverrideCause::Mark);
    let marks =
        json!({"mergePatch": {"metadata": {"annotations": {"hanse.dev/template-uid": "u"}}}});
    assert_eq!(*by_cluster(marks).unwrap_err().cause, OverrideCause::Mark);
}

#[test]
fn replicas_belong_to_the_placement() {
    for rule in [
        json!({"jsonPatch": [{"op": "replace", "path": "/spec/replicas", "value": 100}]}),
        json!({"mergePatch": {"spec": {"replicas": null}}}),
        json!({"replace": [{"path": "/spec/replicas", "cel": "9"}]}),
        json!({"jsonPatch": [{"op": "replace", "path": "/spec", "value": {}}]}),
    ] {
        assert_eq!(*by_cluster(rule.clone()).unwrap_err().cause, OverrideCause::Replicas, "{rule}");
    }
}

#[test]
fn expressions_of_a_policy_share_one_budget() {
    let ten = "[1,2,3,4,5,6,7,8,9,10]";
    let work = format!("{ten}.map(a, {ten}.map(b, {ten}.map(c, a + b + c).sum()).sum()).sum()");
    let rules = |count: usize| {
        let replace = json!([{"path": "/spec/minReadySeconds", "cel": work}]);
        json!({"replace": vec![replace[0].clone(); count]})
    };
    assert!(by_namespace(rules(2)).is_ok());
    let error = by_namespace(rules(32)).unwrap_err();
    assert_eq!(*error.cause, OverrideCause::Cel(CelError::Steps(300_000)), "{error}");
}

#[test]
fn an_object_cannot_be_nested_without_end() {
    let deeper =
        json!({"replace": vec![json!({"path": "/spec/a", "cel": "[[[[object.spec.?a]]]]"}); 32]});
    let error = by_namespace(deeper).unwrap_err();
    assert!(error.to_string().contains("the result nests more than 64 values"), "{error}");
}

#[test]
fn an_object_cannot_grow_beyond_what_an_api_server_takes() {
    let much = "x".repeat(1 << 20);
    let error = by_cluster(json!({"annotations": {"set": {"much": much}}})).unwrap_err();
    assert!(matches!(*error.cause, OverrideCause::TooLarge(_)), "{error}");
}

/// Finding 2 of the review of policies as privileges, as far as it is about overrides.
#[test]
fn a_policy_of_a_namespace_cannot_raise_what_pods_may_do() {
    let pod = "/spec/template/spec";
    for rule in [
        json!({"jsonPatch": [{"op": "add", "path": format!("{pod}/containers/0/securityContext"),
            "value": {"privileged": true}}]}),
        json!({"mergePatch": {"spec": {"template": {"spec": {"hostPID": true}}}}}),
        json!({"mergePatch": {"spec": {"template": {"spec": {"hostNetwork": true}}}}}),
        json!({"replace": [{"path": format!("{pod}/volumes"),
            "cel": "[{'name': 'root', 'hostPath': {'path': '/'}}]"}]}),
        json!({"jsonPatch": [{"op": "add", "path": format!("{pod}/containers/-"), "value":
            {"name": "x", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}}]}),
        json!({"annotations": {"set":
            {"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}}}),
    ] {
        let error = by_namespace(rule.clone()).unwrap_err();
        assert!(matches!(*error.cause, OverrideCause::Restricted(_)), "{rule}: {error}");
        assert!(error.to_string().contains("a ClusterOverridePolicy can"), "{error}");
        by_cluster(rule).unwrap();
    }
}

#[test]
fn a_restricted_field_that_was_there_may_stay_but_not_change() {
    let mut object = web();
    object["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "logs", "hostPath": {"path": "/var/log"}}]);
    let run = |rule: Value| {
        let policy = op("eu", "shop", 0, &json!([rule]));
        applied(&Overrides::new([], [&policy]), &object)
    };
    assert!(run(json!({"labels": {"set": {"a": "b"}}})).is_ok());
    let wider = json!({"jsonPatch": [{"op": "replace",
        "path": "/spec/template/spec/volumes/0/hostPath/path", "value": "/"}]});
    assert!(matches!(*run(wider).unwrap_err().cause, OverrideCause::Restricted(_)));
}

#[test]
fn a_policy_of_a_namespace_cannot_change_what_gives_rights() {
    let rules = json!([{"mergePatch": {"rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], "type": "x", "data": {"a": "b"}}}]);
    for (api, kind, type_) in [
        ("rbac.authorization.k8s.io/v1", "Role", None),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", None),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", None),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None),
        ("v1", "Secret", Some("kubernetes.io/service-account-token")),
    ] {
        let mut policy = op("eu", "shop", 0, &rules);
        policy.spec.resource_selectors[0].api_version = api.to_owned();
        policy.spec.resource_selectors[0].kind = kind.to_owned();
        let mut object = json!({"apiVersion": api, "kind": kind,
            "metadata": {"name": "x", "namespace": "shop"}, "rules": []});
        if let Some(type_) = type_ {
            object["type"] = json!(type_);
        }
        let error = applied(&Overrides::new([], [&policy]), &object).unwrap_err();
        assert!(matches!(*error.cause, OverrideCause::Rights(_)), "{kind}: {error}");
    }
    let mut policy = op(
        "eu",
        "shop",
        0,
        &json!([{"mergePatch":
        {"type": "kubernetes.io/service-account-token"}}]),
    );
    policy.spec.resource_selectors[0].api_version = "v1".to_owned();
    policy.spec.resource_selectors[0].kind = "Secret".to_owned();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "x", "namespace": "shop"}});
    let error = applied(&Overrides::new([], [&policy]), &secret).unwrap_err();
    assert_eq!(*error.cause, OverrideCause::Rights("a Secret of tokens"));
}

#[test]
fn a_policy_of_a_namespace_sees_its_own_objects_only() {
    let rules = json!([{"labels": {"set": {"x": "y"}}}]);
    let mine = op("eu", "shop", 0, &rules);
    let theirs = op("eu", "bank", 0, &rules);
    let mut cluster_wide = web();
    cluster_wide["metadata"].as_object_mut().unwrap().remove("namespace");
    for (policy, object, expected) in
        [(&mine, web(), 1), (&theirs, web(), 0), (&mine, cluster_wide, 0)]
    {
        let (_, done) = applied(&Overrides::new([], [policy]), &object).unwrap();
        assert_eq!(done.len(), expected);
    }
}

#[test]
fn a_policy_for_all_namespaces_leaves_the_system_s_own_alone() {
    let mut policy = cop("eu", 0, &json!([{"labels": {"set": {"x": "y"}}}]));
    policy.spec.resource_selectors[0].namespaces = vec!["*".to_owned()];
    let overrides = Overrides::new([&policy], []);
    for (namespace, expected) in [("shop", 1), ("kube-system", 0), ("hanse-system", 0)] {
        let mut object = web();
        object["metadata"]["namespace"] = json!(namespace);
        assert_eq!(overrides.selecting(&object).len(), expected, "{namespace}");
    }
}

#[test]
fn an_override_cannot_select_itself_out() {
    let mut first = op("a", "shop", 0, &json!([{"labels": {"remove": ["app"]}}]));
    let by_label: LabelSelector =
        serde_json::from_value(json!({"matchLabels": {"app": "web"}})).unwrap();
    first.spec.resource_selectors[0].label_selector = Some(by_label);
    let second = OverridePolicy {
        metadata: op("b", "shop", 0, &json!([])).metadata,
        spec: hanse_api::OverridePolicySpec {
            rules: op("b", "shop", 0, &json!([{"labels": {"set": {"b": "c"}}}])).spec.rules,
            ..first.spec.clone()
        },
        status: None,
    };
    let (object, _) = applied(&Overrides::new([], [&first, &second]), &web()).unwrap();
    assert_eq!(object["metadata"]["labels"], json!({"b": "c"}));
}

#[test]
fn a_rule_whose_expression_cannot_be_read_is_told_before_it_runs() {
    let policy = op(
        "eu",
        "shop",
        0,
        &json!([{"labels": {"set": {"a": "b"}}},
        {"replace": [{"path": "/spec/a", "cel": "1 +"}]}]),
    );
    let found = unreadable(&policy.spec.rules);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.as_str()), (1, "replace[0]"));
}

#[test]
fn every_change_is_told_with_its_rule() {
    let policy = op(
        "eu",
        "shop",
        0,
        &json!([{"labels": {"set": {"a": "b"}}},
        {"image": [{"container": "web", "tag": "2"}]}]),
    );
    let (_, done) = applied(&Overrides::new([], [&policy]), &web()).unwrap();
    let told: Vec<(usize, &str, &str)> =
        done.iter().map(|one| (one.rule, one.field.as_str(), one.change.path.as_str())).collect();
    assert_eq!(
        told,
        [
            (0, "labels", "/metadata/labels/a"),
            (1, "image", "/spec/template/spec/containers/0/image")
        ]
    );
    assert_eq!(done[1].change.before, Some(json!("r.example.com/shop/web:1@sha256:ab")));
    assert_eq!(done[1].change.after, Some(json!("r.example.com/shop/web:2")));
}

fn federated(manifests: &Value, overrides: &Value) -> FederatedManifest {
    serde_json::from_value(json!({"metadata": {"name": "app", "namespace": "shop"},
        "spec": {"manifests": manifests, "overrides": overrides}}))
    .unwrap()
}

#[test]
fn the_overrides_of_a_federated_manifest_come_last() {
    let fm = federated(&json!([web()]), &json!([{"labels": {"set": {"from": "fm"}}}]));
    let policy = op("zz", "shop", 1000, &json!([{"labels": {"set": {"from": "op"}}}]));
    let overrides = Overrides::new([], [&policy]).with_manifest(&fm);
    let (object, _) = applied(&overrides, &web()).unwrap();
    assert_eq!(object["metadata"]["labels"]["from"], "fm");
    let mut other = web();
    other["metadata"]["name"] = json!("other");
    let (object, _) = applied(&overrides, &other).unwrap();
    assert_eq!(object["metadata"]["labels"]["from"], "op");
    let bad = federated(
        &json!([web()]),
        &json!([{"mergePatch": {"spec": {"template": {"spec":
        {"hostIPC": true}}}}}]),
    );
    let error = applied(&Overrides::default().with_manifest(&bad), &web()).unwrap_err();
    assert!(error.to_string().starts_with("FederatedManifest shop/app, rules[0].mergePatch"));
}

#[test]
fn a_federated_manifest_holds_ordinary_objects_of_its_namespace() {
    let named = |api: &str, kind: &str| {
        json!({"apiVersion": api, "kind": kind,
        "metadata": {"name": "x"}})
    };
    let mut elsewhere = web();
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    let mut privileged = web();
    privileged["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    let mut token = named("v1", "Secret");
    token["type"] = json!("kubernetes.io/service-account-token");
    let mut list = named("v1", "List");
    list["items"] = json!([]);
    let mut unnamed = web();
    unnamed["metadata"] = json!({"generateName": "x-"});
    let no_namespace = |_: &str, kind: &str| (kind == "Farm").then_some(false);
    for (object, expected) in [
        (named("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"), "access rules (RBAC)"),
        (named("rbac.authorization.k8s.io/v1", "Role"), "access rules (RBAC)"),
        (named("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"), "admission"),
        (named("apiextensions.k8s.io/v1", "CustomResourceDefinition"), "definitions of kinds"),
        (named("apiregistration.k8s.io/v1", "APIService"), "API services"),
        (named("v1", "Namespace"), "Namespace has no namespace"),
        (named("v1", "PersistentVolume"), "PersistentVolume has no namespace"),
        (named("example.com/v1", "Farm"), "Farm has no namespace"),
        (elsewhere, "it is in namespace kube-system"),
        (privileged.clone(), "Pod Security baseline (Host Namespaces)"),
        (token, "a Secret of tokens"),
        (list, "it is a list"),
        (unnamed, "it has no name"),
    ] {
        let manifest = federated(&json!([object]), &json!([]));
        let error = check_manifest(&manifest, no_namespace, false).unwrap_err().to_string();
        assert!(error.starts_with("spec.manifests[0]: ") && error.contains(expected), "{error}");
    }
    let twice = federated(&json!([web(), web()]), &json!([]));
    let error = check_manifest(&twice, no_namespace, false).unwrap_err();
    assert_eq!(error.to_string(), "spec.manifests[1]: manifests[0] has the same kind and name");
    assert!(
        check_manifest(&federated(&json!([privileged]), &json!([])), no_namespace, true).is_ok()
    );
    let mut plain = web();
    plain["metadata"].as_object_mut().unwrap().remove("namespace");
    let made =
        check_manifest(&federated(&json!([plain]), &json!([])), no_namespace, false).unwrap();
    assert_eq!(made[0]["metadata"]["namespace"], "shop");
}

proptest::proptest! {
    /// The order in which policies are read does not matter; cluster-wide ones come first, and of
    /// two of a kind the higher priority, then the later name, has the last word.
    #[test]
    fn the_order_of_policies_does_not_depend_on_the_order_of_reading(
        made in proptest::collection::btree_map("[a-e]", (-3i32..3, proptest::bool::ANY), 1..5),
        turn in 0usize..5,
    ) {
        let rule = |name: &String| json!([{"labels": {"set": {"last": name}},
            "annotations": {"set": {format!("by-{name}"): "yes"}}}]);
        let mut cluster: Vec<ClusterOverridePolicy> = made
            .iter()
            .filter(|(_, (_, wide))| *wide)
            .map(|(name, (priority, _))| cop(name, *priority, &rule(name)))
            .collect();
        let mut namespaced: Vec<OverridePolicy> = made
            .iter()
            .filter(|(_, (_, wide))| !*wide)
            .map(|(name, (priority, _))| op(name, "shop", *priority, &rule(name)))
            .collect();
        let first = applied(&Overrides::new(&cluster, &namespaced), &web()).unwrap();
        let again = applied(&Overrides::new(&cluster, &namespaced), &web()).unwrap();
        proptest::prop_assert_eq!(&first, &again);
        let turned = |len: usize| if len == 0 { 0 } else { turn % len };
        let (a, b) = (turned(cluster.len()), turned(namespaced.len()));
        cluster.rotate_left(a);
        namespaced.rotate_left(b);
        namespaced.reverse();
        let other = applied(&Overrides::new(&cluster, &namespaced), &web()).unwrap();
        proptest::prop_assert_eq!(&first, &other);
        let last = made
            .iter()
            .max_by_key(|(name, (priority, wide))| (!*wide, *priority, (*name).clone()))
            .map(|(name, _)| name.clone());
        proptest::prop_assert_eq!(first.0["metadata"]["labels"]["last"].as_str().map(str::to_owned), last);
    }
}
