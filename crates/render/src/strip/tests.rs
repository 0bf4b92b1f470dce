//! One test for each row of the table of what is stripped.

use serde_json::json;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn object(api: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "shop"},
        "spec": spec})
}

#[test]
fn status_is_stripped() {
    let mut web = object("apps/v1", "Deployment", json!({"replicas": 1}));
    web["status"] = json!({"replicas": 1});
    assert_eq!(strip(&web).get("status"), None);
}

#[test]
fn all_metadata_but_name_namespace_labels_and_annotations_is_stripped() {
    let web = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "x", "namespace": "shop", "labels": {"a": "b"}, "annotations": {"c": "d"},
        "uid": "u", "resourceVersion": "5", "generation": 2, "creationTimestamp": "t",
        "ownerReferences": [{"uid": "o"}], "finalizers": ["f"], "generateName": "x-",
        "managedFields": [], "selfLink": "/"}});
    assert_eq!(
        strip(&web)["metadata"],
        json!({"name": "x", "namespace": "shop", "labels": {"a": "b"}, "annotations": {"c": "d"}})
    );
}

#[test]
fn annotations_of_kubectl_and_built_in_controllers_are_stripped() {
    let mut web = object("apps/v1", "Deployment", json!({}));
    web["metadata"]["annotations"] = json!({
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "deployment.kubernetes.io/revision": "3",
        "pv.kubernetes.io/bind-completed": "yes",
        "volume.kubernetes.io/selected-node": "n",
        "example.com/kept": "yes"});
    assert_eq!(strip(&web)["metadata"]["annotations"], json!({"example.com/kept": "yes"}));
}

#[test]
fn cluster_addresses_of_a_service_are_stripped_unless_it_is_headless() {
    let web = object("v1", "Service", json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}));
    assert_eq!(strip(&web)["spec"], json!({}));
    let headless = object("v1", "Service", json!({"clusterIP": "None", "clusterIPs": ["None"]}));
    assert_eq!(strip(&headless)["spec"]["clusterIP"], "None");
}

#[test]
fn node_ports_and_families_are_stripped_unless_the_user_set_them() {
    let mut web = object(
        "v1",
        "Service",
        json!({
        "healthCheckNodePort": 31000, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 30081}]}),
    );
    assert_eq!(strip(&web)["spec"], json!({"ports": [{"port": 80}, {"port": 81}]}));
    web["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:spec": {
        "f:healthCheckNodePort": {}, "f:ipFamilies": {}, "f:ipFamilyPolicy": {},
        "f:ports": {"k:{\"port\":81,\"protocol\":\"TCP\"}": {"f:nodePort": {}}}}}}]);
    let spec = &strip(&web)["spec"];
    assert_eq!(spec["ports"], json!([{"port": 80}, {"port": 81, "nodePort": 30081}]));
    assert_eq!(spec["healthCheckNodePort"], 31000);
    assert_eq!(spec["ipFamilies"], json!(["IPv4"]));
}

#[test]
fn generated_selector_and_labels_of_a_job_are_stripped() {
    let mut job = object(
        "batch/v1",
        "Job",
        json!({
        "selector": {"matchLabels": {"controller-uid": "u"}},
        "template": {"metadata": {"labels": {"app": "x", "controller-uid": "u",
            "batch.kubernetes.io/controller-uid": "u", "job-name": "x",
            "batch.kubernetes.io/job-name": "x"}}}}),
    );
    job["metadata"]["labels"] = json!({"job-name": "x", "app": "x"});
    let stripped = strip(&job);
    assert_eq!(stripped["spec"], json!({"template": {"metadata": {"labels": {"app": "x"}}}}));
    assert_eq!(stripped["metadata"]["labels"], json!({"app": "x"}));
}

#[test]
fn a_selector_that_the_user_manages_stays() {
    let spec = json!({"manualSelector": true, "selector": {"matchLabels": {"job": "x"}}});
    let job = object("batch/v1", "Job", spec.clone());
    assert_eq!(strip(&job)["spec"], spec);
}

#[test]
fn the_time_to_live_of_a_job_counts_on_the_hub_only() {
    let job = object("batch/v1", "Job", json!({"ttlSecondsAfterFinished": 5}));
    assert_eq!(strip(&job)["spec"], json!({}));
}

#[test]
fn the_volume_that_a_claim_is_bound_to_is_stripped() {
    let claim = object("v1", "PersistentVolumeClaim", json!({"volumeName": "pv-1"}));
    assert_eq!(strip(&claim)["spec"], json!({}));
}

#[test]
fn the_secrets_of_a_service_account_are_stripped() {
    let mut account = object("v1", "ServiceAccount", json!({}));
    account["secrets"] = json!([{"name": "token"}]);
    assert_eq!(strip(&account).get("secrets"), None);
}

#[test]
fn nulls_are_stripped() {
    let web = object(
        "apps/v1",
        "Deployment",
        json!({"template": {"metadata": {
        "creationTimestamp": null}}}),
    );
    assert_eq!(strip(&web)["spec"], json!({"template": {"metadata": {}}}));
}

#[test]
fn every_place_that_is_stripped_is_told_with_its_row() {
    let template = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "uid": "u", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"}},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080, "name": null}]},
        "status": {}});
    let (object, removals) = strip_explained(&template);
    assert_eq!(object, strip(&template));
    let told: Vec<(&str, StripRow)> =
        removals.iter().map(|removal| (removal.path.as_str(), removal.row)).collect();
    assert_eq!(
        told,
        [
            ("/status", StripRow::Status),
            ("/metadata/uid", StripRow::Metadata),
            (
                "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
                StripRow::Annotations
            ),
            ("/spec/clusterIP", StripRow::Service),
            ("/spec/ports/0/nodePort", StripRow::Service),
            ("/spec/ports/0/name", StripRow::Null),
        ]
    );
}
