//! What `explain` says of companions and of templates that lost their policy.

use super::*;

fn found(spec: &serde_json::Value, status: &serde_json::Value, followed: &[&str]) -> Found {
    let template = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}});
    let binding = json!({
        "apiVersion": "hanse.dev/v1alpha1", "kind": "ResourceBinding",
        "metadata": {"name": "b", "namespace": "shop"}, "spec": spec, "status": status,
    });
    Found {
        template: serde_json::from_value(template).unwrap(),
        binding: Some(serde_json::from_value(binding).unwrap()),
        followed: followed.iter().map(|name| (*name).to_owned()).collect(),
        members: Vec::new(),
    }
}

#[test]
fn a_companion_is_explained_by_the_workloads_that_it_follows() {
    let spec = json!({
        "template": {"apiVersion": "v1", "kind": "Service", "name": "web"},
        "policy": {"kind": "PropagationPolicy", "name": "shop"},
        "follows": ["deployment-1"],
        "clusters": [{"name": "a"}, {"name": "b"}],
    });
    let text = reasons("service/web", &found(&spec, &json!({}), &["deployment/web"]));
    assert_eq!(
        text,
        "follows deployment/web, under PropagationPolicy shop: it goes wherever they go\nin a, b"
    );
}

#[test]
fn a_template_without_its_policy_stays_and_the_policy_is_named() {
    let spec = json!({
        "template": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "policy": {"kind": "PropagationPolicy", "name": "shop"},
        "replicas": 2, "clusters": [{"name": "a", "replicas": 2}],
    });
    let gone = json!({"conditions": [{
        "type": "Scheduled", "status": "True", "reason": "PolicyGone", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let text = reasons("deployment/web", &found(&spec, &gone, &[]));
    let first = text.lines().next().unwrap();
    let said = "its policy is gone (PropagationPolicy shop): the placement stays as it was";
    assert_eq!(first, said);
    let text = reasons("deployment/web", &found(&spec, &json!({}), &[]));
    assert!(text.starts_with("selected by PropagationPolicy shop"), "{text}");
}
