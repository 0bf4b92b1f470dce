//! Defaults of the built-in kinds, as kube-apiserver sets them.

use serde_json::{Map, Value, json};

use crate::{catalog::Kind, meta};

/// Completes an object; `old` is its current state when there is one.
pub(crate) fn complete(kind: &Kind, old: Option<&Value>, object: &mut Value) {
    let spec = ["spec"];
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            pod_spec(&mut object["spec"]);
            pod(&mut object["spec"]);
            if old.is_none() {
                object["status"] =
                    json!({ "phase": "Pending", "qosClass": quality(&object["spec"]) });
            }
        }
        ("", "Namespace") => namespace(old, object),
        ("", "Service") => service(object),
        ("", "Secret") => secret(object),
        ("", "PersistentVolumeClaim") => {
            set(&mut object["spec"], "volumeMode", "Filesystem");
            if old.is_none() {
                object["status"] = json!({ "phase": "Pending" });
            }
        }
        ("", "PersistentVolume") => {
            set(&mut object["spec"], "volumeMode", "Filesystem");
            set(&mut object["spec"], "persistentVolumeReclaimPolicy", "Retain");
            if old.is_none() {
                object["status"] = json!({ "phase": "Pending" });
            }
        }
        ("apps", "Deployment") => deployment(at(object, &spec)),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(kind, object),
        ("apps", "StatefulSet") => stateful_set(at(object, &spec)),
        ("apps", "DaemonSet") => daemon_set(at(object, &spec)),
        ("batch", "Job") => job(old, object),
        ("batch", "CronJob") => cron_job(at(object, &spec)),
        ("", "LimitRange") => limit_range(at(object, &spec)),
        ("autoscaling", _) => autoscaler(at(object, &spec)),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(at(object, &spec)),
        ("discovery.k8s.io", _) => endpoint_slice(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(object),
        ("storage.k8s.io", "StorageClass") => {
            set(object, "reclaimPolicy", "Delete");
            set(object, "volumeBindingMode", "Immediate");
        }
        ("scheduling.k8s.io", _) => set(object, "preemptionPolicy", "PreemptLowerPriority"),
        _ => {}
    }
}

/// The status that a new object of this kind shows; Go writes these zeros.
pub(crate) fn first_status(kind: &Kind) -> Option<Value> {
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") | ("batch", _) | ("", "ResourceQuota") => json!({}),
        ("apps", "StatefulSet") => json!({ "replicas": 0, "availableReplicas": 0 }),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        }),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => json!({ "replicas": 0 }),
        ("networking.k8s.io", "Ingress") | ("", "Service") => json!({ "loadBalancer": {} }),
        ("policy", _) => json!({
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "disruptionsAllowed": 0,
            "expectedPods": 0,
        }),
        ("autoscaling", _) => json!({ "desiredReplicas": 0 }),
        _ => return None,
    })
}

/// Sets a field that is absent; the value must be an object.
fn set(value: &mut Value, name: &str, default: impl Into<Value>) {
    if let Some(map) = value.as_object_mut()
        && !map.contains_key(name)
    {
        map.insert(name.to_owned(), default.into());
    }
}

fn at<'a>(object: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(object, |value, name| &mut value[*name])
}

fn items<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    let list = value.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

/// What a pod gets that its template does not show.
fn pod(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set(spec, "enableServiceLinks", json!(true));
    set(spec, "serviceAccountName", "default");
    let account = spec["serviceAccountName"].clone();
    set(spec, "serviceAccount", account);
}

fn namespace(old: Option<&Value>, object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    let labels =
        meta::meta_mut(object).entry("labels").or_insert_with(|| Value::Object(Map::new()));
    labels["kubernetes.io/metadata.name"] = name;
    if old.is_none() {
        object["spec"] = json!({ "finalizers": ["kubernetes"] });
        object["status"] = json!({ "phase": "Active" });
    }
}

fn secret(object: &mut Value) {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    set(object, "type", "Opaque");
    let Some(map) = object.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(texts)) = map.remove("stringData") {
        let data = map.entry("data").or_insert_with(|| Value::Object(Map::new()));
        for (name, text) in texts {
            let text = text.as_str().unwrap_or_default();
            data[name] = BASE64_STANDARD.encode(text).into();
        }
    }
}

fn service(object: &mut Value) {
    let spec = &mut object["spec"];
    if !spec.is_object() {
        return;
    }
    set(spec, "type", "ClusterIP");
    set(spec, "sessionAffinity", "None");
    let external = spec["type"] == "ExternalName";
    if !external {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "NodePort" || spec["type"] == "LoadBalancer" {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec["sessionAffinity"] == "ClientIP" {
        set(spec, "sessionAffinityConfig", json!({ "clientIP": { "timeoutSeconds": 10_800 } }));
    }
    for port in items(spec, "ports") {
        set(port, "protocol", "TCP");
        let number = port["port"].clone();
        set(port, "targetPort", number);
    }
}

fn deployment(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    set(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
        set(&mut strategy["rollingUpdate"], "maxSurge", "25%");
    }
    template(spec);
}

fn replica_set(kind: &Kind, object: &mut Value) {
    let spec = &mut object["spec"];
    set(spec, "replicas", json!(1));
    if kind.group.is_empty() {
        let labels = spec["template"]["metadata"]["labels"].clone();
        if labels.is_object() {
            set(spec, "selector", labels);
        }
    }
    template(spec);
}

fn stateful_set(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", "OrderedReady");
    set(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    set(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "partition", json!(0));
    }
    set(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }),
    );
    for claim in items(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        set(&mut claim["spec"], "volumeMode", "Filesystem");
        set(claim, "status", json!({ "phase": "Pending" }));
    }
    template(spec);
}

fn daemon_set(spec: &mut Value) {
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    set(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "maxUnavailable", json!(1));
        set(&mut strategy["rollingUpdate"], "maxSurge", json!(0));
    }
    template(spec);
}

fn job(old: Option<&Value>, object: &mut Value) {
    if old.is_none() && object["spec"]["manualSelector"] != true {
        let uid = meta::text(object, "uid").to_owned();
        let name = meta::text(object, "name").to_owned();
        let spec = &mut object["spec"];
        if !spec["template"]["metadata"].is_object() {
            spec["template"]["metadata"] = json!({});
        }
        let meta = &mut spec["template"]["metadata"];
        set(meta, "labels", json!({}));
        for (label, value) in [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            meta["labels"][label] = value.as_str().into();
        }
        let labels = json!({ "batch.kubernetes.io/controller-uid": uid });
        set(spec, "selector", json!({ "matchLabels": labels }));
    }
    job_spec(&mut object["spec"]);
}

fn job_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        spec["completions"] = json!(1);
    }
    set(spec, "parallelism", json!(1));
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", json!(false));
    set(spec, "podReplacementPolicy", "TerminatingOrFailed");
    set(spec, "manualSelector", json!(false));
    if spec["manualSelector"] == false
        && let Some(map) = spec.as_object_mut()
    {
        map.remove("manualSelector");
    }
    if spec["completions"].is_null()
        && let Some(map) = spec.as_object_mut()
    {
        map.remove("completions");
    }
    template(spec);
}

fn cron_job(spec: &mut Value) {
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    if spec["jobTemplate"].is_object() {
        set(&mut spec["jobTemplate"], "metadata", json!({}));
        template(&mut spec["jobTemplate"]["spec"]);
    }
}

fn autoscaler(spec: &mut Value) {
    set(spec, "minReplicas", json!(1));
    set(
        spec,
        "metrics",
        json!([{
            "type": "Resource",
            "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } },
        }]),
    );
    if spec["behavior"].is_object() {
        behavior(&mut spec["behavior"]);
    }
}

fn behavior(behavior: &mut Value) {
    let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    for (name, policies) in [("scaleUp", json!([pods, percent])), ("scaleDown", json!([percent]))] {
        if name == "scaleDown" && behavior.get(name).is_none() {
            set(behavior, name, json!({}));
        }
        set(behavior, name, json!({ "stabilizationWindowSeconds": 0 }));
        set(&mut behavior[name], "selectPolicy", "Max");
        set(&mut behavior[name], "policies", policies);
    }
}

fn limit_range(spec: &mut Value) {
    for limit in items(spec, "limits") {
        if limit["type"] != "Container" {
            continue;
        }
        for (from, to) in
            [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")]
        {
            for (resource, amount) in limit[from].as_object().cloned().into_iter().flatten() {
                set(limit, to, json!({}));
                set(&mut limit[to], &resource, amount);
            }
        }
    }
}

fn network_policy(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set(spec, "podSelector", json!({}));
    if spec["policyTypes"].is_null() {
        let egress = spec.get("egress").is_some();
        spec["policyTypes"] =
            if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    }
    for direction in ["ingress", "egress"] {
        for rule in items(spec, direction) {
            for port in items(rule, "ports") {
                set(port, "protocol", "TCP");
            }
        }
    }
}

fn endpoint_slice(object: &mut Value) {
    for port in items(object, "ports") {
        set(port, "name", "");
        set(port, "protocol", "TCP");
    }
}

fn binding(object: &mut Value) {
    set(&mut object["roleRef"], "apiGroup", "rbac.authorization.k8s.io");
    for subject in items(object, "subjects") {
        if subject["kind"] == "User" || subject["kind"] == "Group" {
            set(subject, "apiGroup", "rbac.authorization.k8s.io");
        }
    }
}

fn template(spec: &mut Value) {
    if spec["template"].is_object() {
        set(&mut spec["template"], "metadata", json!({}));
        pod_spec(&mut spec["template"]["spec"]);
    }
}

fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set(spec, "restartPolicy", "Always");
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "securityContext", json!({}));
    // The two names of the account are one field.
    let account = spec["serviceAccountName"].as_str();
    let account = account.or_else(|| spec["serviceAccount"].as_str());
    if let Some(account) = account.map(str::to_owned) {
        spec["serviceAccountName"] = account.as_str().into();
        spec["serviceAccount"] = account.into();
    }
    for name in ["containers", "initContainers"] {
        for one in items(spec, name) {
            container(one);
        }
    }
    for volume in items(spec, "volumes") {
        for kind in ["secret", "configMap", "downwardAPI", "projected"] {
            if volume.get(kind).is_some() {
                set(&mut volume[kind], "defaultMode", json!(420));
            }
        }
        let sources = ["secret", "configMap", "emptyDir", "persistentVolumeClaim", "projected"];
        if volume.as_object().is_some_and(|map| map.len() == 1)
            && !sources.iter().any(|source| volume.get(source).is_some())
        {
            set(volume, "emptyDir", json!({}));
        }
        if let Some(sources) = volume.get_mut("projected") {
            for source in items(sources, "sources") {
                if source.get("serviceAccountToken").is_some() {
                    set(&mut source["serviceAccountToken"], "expirationSeconds", json!(3600));
                }
            }
        }
        if volume.get("hostPath").is_some() {
            set(&mut volume["hostPath"], "type", "");
        }
    }
}

fn container(container: &mut Value) {
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    set(container, "resources", json!({}));
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if is_moving(image) { "Always" } else { "IfNotPresent" };
    set(container, "imagePullPolicy", policy);
    for port in items(container, "ports") {
        set(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(reference) = variable.pointer_mut("/valueFrom/fieldRef") {
            set(reference, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container.get(name).is_some() {
            probe(&mut container[name]);
        }
    }
    // A limit without a request is also the request.
    if let Some(limits) = container["resources"]["limits"].as_object().cloned() {
        set(&mut container["resources"], "requests", json!({}));
        for (resource, amount) in limits {
            set(&mut container["resources"]["requests"], &resource, amount);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) = container.pointer_mut(&format!("/lifecycle/{hook}/httpGet")) {
            http_get(get);
        }
    }
}

fn probe(probe: &mut Value) {
    set(probe, "timeoutSeconds", json!(1));
    set(probe, "periodSeconds", json!(10));
    set(probe, "successThreshold", json!(1));
    set(probe, "failureThreshold", json!(3));
    if probe.get("httpGet").is_some() {
        http_get(&mut probe["httpGet"]);
    }
    if probe.get("grpc").is_some() {
        set(&mut probe["grpc"], "service", "");
    }
}

fn http_get(get: &mut Value) {
    set(get, "path", "/");
    set(get, "scheme", "HTTP");
}

/// Whether an image name may stand for another image tomorrow.
fn is_moving(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains('@') {
        return false;
    }
    last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// The quality of service class of a pod.
fn quality(spec: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for container in spec["containers"].as_array().into_iter().flatten() {
        for name in ["cpu", "memory"] {
            let request = &container["resources"]["requests"][name];
            let limit = &container["resources"]["limits"][name];
            any |= !request.is_null() || !limit.is_null();
            guaranteed &= !limit.is_null() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
