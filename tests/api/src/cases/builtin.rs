//! What is particular to built-in kinds: defaults, addresses, rules.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::deployment;
use crate::{Context, context::same};

/// Makes a good object bad.
type Spoil = fn(&mut Value);

pub(super) async fn deployments_have_their_defaults(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    let mut object = deployment("web");
    object["spec"]["template"]["spec"]["containers"] = json!([
        {
            "name": "main", "image": "registry/main:1",
            "ports": [{ "containerPort": 80 }],
            "resources": { "limits": { "cpu": "1" } },
            "readinessProbe": { "httpGet": { "port": 80 } },
        },
        { "name": "moving", "image": "registry/moving" },
    ]);
    object["spec"]["template"]["spec"]["volumes"] =
        json!([{ "name": "v", "configMap": { "name": "c" } }]);
    let made = context.post(&path, &object).await?.ok()?;
    let wanted = json!({
        "progressDeadlineSeconds": 600,
        "replicas": 0,
        "revisionHistoryLimit": 10,
        "selector": { "matchLabels": { "app": "web" } },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" },
        },
        "template": {
            "metadata": { "labels": { "app": "web" } },
            "spec": {
                "containers": [
                    {
                        "name": "main", "image": "registry/main:1", "imagePullPolicy": "IfNotPresent",
                        "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                        "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "1" } },
                        "readinessProbe": {
                            "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1,
                            "timeoutSeconds": 1,
                            "httpGet": { "path": "/", "port": 80, "scheme": "HTTP" },
                        },
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                    },
                    {
                        "name": "moving", "image": "registry/moving", "imagePullPolicy": "Always",
                        "resources": {},
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                    },
                ],
                "dnsPolicy": "ClusterFirst",
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "securityContext": {},
                "terminationGracePeriodSeconds": 30,
                "volumes": [{ "name": "v", "configMap": { "name": "c", "defaultMode": 420 } }],
            },
        },
    });
    let mut spec = made["spec"].clone();
    // A template's empty timestamp is not meant.
    if let Some(meta) = spec["template"]["metadata"].as_object_mut() {
        meta.remove("creationTimestamp");
    }
    // Only the limit is repeated as a request of pods; templates keep what was written.
    let resources = &spec["template"]["spec"]["containers"][0]["resources"];
    ensure!(resources["limits"]["cpu"] == "1", "{resources}");
    spec["template"]["spec"]["containers"][0]["resources"] =
        wanted["template"]["spec"]["containers"][0]["resources"].clone();
    same("spec", &spec, &wanted)
}

pub(super) async fn services_get_addresses_and_keep_them(context: Context) -> Result<()> {
    let path = context.path("v1", "services");
    let service = |name: &str, spec: Value| json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec });
    let object = service("web", json!({ "selector": { "a": "b" }, "ports": [{ "port": 80 }] }));
    let made = context.post(&path, &object).await?.ok()?;
    let mut spec = made["spec"].clone();
    let address = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    ensure!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{spec}");
    spec["clusterIP"] = Value::Null;
    let wanted = json!({
        "clusterIP": null,
        "clusterIPs": [address],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }],
        "selector": { "a": "b" },
        "sessionAffinity": "None",
        "type": "ClusterIP",
    });
    same("spec", &spec, &wanted)?;
    same("status", &made["status"], &json!({ "loadBalancer": {} }))?;
    let one = format!("{path}/web");
    let mut bare = object.clone();
    bare["spec"]["ports"] = json!([{ "port": 81 }]);
    let kept = context.put(&one, &bare).await?.ok()?;
    same("kept", &kept["spec"]["clusterIP"], &address.as_str().into())?;
    let moved =
        json!({ "spec": { "clusterIP": "10.96.255.254", "clusterIPs": ["10.96.255.254"] } });
    context.patch(&one, "merge", &moved).await?.fails(422, "Invalid", "")?;
    let node = service("node", json!({ "type": "NodePort", "ports": [{ "port": 80 }] }));
    let made = context.post(&path, &node).await?.ok()?;
    let port = made["spec"]["ports"][0]["nodePort"].as_i64().unwrap_or(0);
    ensure!((30_000..=32_767).contains(&port), "{made}");
    let headless = service("none", json!({ "clusterIP": "None", "selector": { "a": "b" } }));
    let made = context.post(&path, &headless).await?.ok()?;
    same("headless", &made["spec"]["clusterIPs"], &json!(["None"]))?;
    let taken = service("taken", json!({ "clusterIP": address, "ports": [{ "port": 80 }] }));
    context.post(&path, &taken).await?.fails(422, "Invalid", "")?;
    let unnamed = service("two", json!({ "ports": [{ "port": 1 }, { "port": 2 }] }));
    context.post(&path, &unnamed).await?.fails(422, "Invalid", "")?;
    Ok(())
}

pub(super) async fn jobs_get_a_selector_of_their_own(context: Context) -> Result<()> {
    let path = context.path("batch/v1", "jobs");
    let object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "once" },
        "spec": { "suspend": true, "template": { "spec": {
            "restartPolicy": "Never", "containers": [{ "name": "a", "image": "a:1" }],
        } } },
    });
    let made = context.post(&path, &object).await?.ok()?;
    let uid = &made["metadata"]["uid"];
    let selector = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
    same("selector", &made["spec"]["selector"], &selector)?;
    let labels = json!({
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "once",
        "controller-uid": uid,
        "job-name": "once",
    });
    same("labels", &made["spec"]["template"]["metadata"]["labels"], &labels)?;
    for (field, wanted) in [
        ("backoffLimit", json!(6)),
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("completionMode", json!("NonIndexed")),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        same(field, &made["spec"][field], &wanted)?;
    }
    let mut always = object.clone();
    always["metadata"]["name"] = "always".into();
    always["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    context.post(&path, &always).await?.fails(422, "Invalid", "")?;
    Ok(())
}

pub(super) async fn secrets_fold_text_into_data(context: Context) -> Result<()> {
    let path = context.path("v1", "secrets");
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
        "data": { "a": "eA==" }, "stringData": { "b": "text" },
    });
    let made = context.post(&path, &object).await?.ok()?;
    same("type", &made["type"], &"Opaque".into())?;
    same("data", &made["data"], &json!({ "a": "eA==", "b": "dGV4dA==" }))?;
    ensure!(made.get("stringData").is_none(), "{made}");
    let fixed = json!({ "immutable": true });
    context.patch(&format!("{path}/s"), "merge", &fixed).await?.ok()?;
    let change = json!({ "data": { "a": "eQ==" } });
    context.patch(&format!("{path}/s"), "merge", &change).await?.fails(422, "Invalid", "")?;
    Ok(())
}

pub(super) async fn selectors_of_workloads_never_change(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    context.post(&path, &deployment("web")).await?.ok()?;
    let other = json!({ "spec": {
        "selector": { "matchLabels": { "app": "other" } },
        "template": { "metadata": { "labels": { "app": "other" } } },
    } });
    let refused = context.patch(&format!("{path}/web"), "merge", &other).await?;
    let status = refused.fails(422, "Invalid", "")?;
    same("field", &status["details"]["causes"][0]["field"], &"spec.selector".into())?;
    let message = status["details"]["causes"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.ends_with("field is immutable"), "{message}");
    Ok(())
}

pub(super) async fn invalid_workloads_are_refused(context: Context) -> Result<()> {
    let path = context.path("apps/v1", "deployments");
    let cases: [(&str, Spoil); 6] = [
        ("spec.template.metadata.labels", |object| {
            object["spec"]["template"]["metadata"]["labels"] = json!({ "app": "x" });
        }),
        ("spec.selector", |object| {
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.remove("selector");
            }
        }),
        ("spec.replicas", |object| {
            object["spec"]["replicas"] = (-1).into();
        }),
        ("spec.template.spec.containers", |object| {
            object["spec"]["template"]["spec"]["containers"] = json!([]);
        }),
        ("spec.template.spec.containers[0].image", |object| {
            object["spec"]["template"]["spec"]["containers"][0] = json!({ "name": "main" });
        }),
        ("spec.template.spec.containers[1].name", |object| {
            let one = object["spec"]["template"]["spec"]["containers"][0].clone();
            object["spec"]["template"]["spec"]["containers"] = json!([one, one]);
        }),
    ];
    for (field, spoil) in cases {
        let mut object = deployment("web");
        spoil(&mut object);
        let status = context.post(&path, &object).await?.fails(422, "Invalid", "")?;
        let causes = status["details"]["causes"].as_array().into_iter().flatten();
        let fields: Vec<&str> = causes.filter_map(|cause| cause["field"].as_str()).collect();
        ensure!(fields.contains(&field), "{field}: {fields:?}");
    }
    Ok(())
}

pub(super) async fn events_of_both_groups_are_one(context: Context) -> Result<()> {
    let newer = context.path("events.k8s.io/v1", "events");
    let namespace = context.namespace();
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": "moved.1" },
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "action": "Moving", "reason": "Moved", "type": "Normal", "note": "to another cluster",
        "regarding": { "kind": "ConfigMap", "namespace": namespace, "name": "a" },
        "reportingController": "hanse.dev/test", "reportingInstance": "one",
    });
    let made = context.post(&newer, &event).await?.ok()?;
    same("note", &made["note"], &"to another cluster".into())?;
    let older = context.path("v1", "events");
    let query = format!("{older}?fieldSelector=involvedObject.name%3Da,reason%3DMoved");
    let list = context.get(&query).await?.ok()?;
    let found = &list["items"][0];
    same("message", &found["message"], &"to another cluster".into())?;
    same("object", &found["involvedObject"]["kind"], &"ConfigMap".into())?;
    same("component", &found["reportingComponent"], &"hanse.dev/test".into())?;
    same("uid", &found["metadata"]["uid"], &made["metadata"]["uid"])
}

pub(super) async fn leases_are_renewed(context: Context) -> Result<()> {
    let path = context.path("coordination.k8s.io/v1", "leases");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "leader" },
        "spec": { "holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z" },
    });
    let made = context.put(&format!("{path}/leader"), &lease).await?;
    ensure!(made.status.as_u16() == 201, "{}", made.status);
    let mut renewed = made.value;
    renewed["spec"]["renewTime"] = "2026-01-01T00:00:05.000000Z".into();
    context.put(&format!("{path}/leader"), &renewed).await?.ok()?;
    context.put(&format!("{path}/leader"), &renewed).await?.fails(409, "Conflict", "")?;
    Ok(())
}

pub(super) async fn reviews_answer(context: Context) -> Result<()> {
    let access = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": "delete", "resource": "pods" } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = context.post(path, &access).await?;
    ensure!(answer.status.as_u16() == 201, "{}", answer.status);
    same("allowed", &answer.value["status"]["allowed"], &true.into())?;
    let me = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = context.post(path, &me).await?.ok()?;
    let groups = answer["status"]["userInfo"]["groups"].as_array().cloned().unwrap_or_default();
    ensure!(groups.contains(&"system:masters".into()), "{groups:?}");
    ensure!(groups.contains(&"system:authenticated".into()), "{groups:?}");
    Ok(())
}
