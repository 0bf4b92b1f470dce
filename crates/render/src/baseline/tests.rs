//! One row for each control and field of the baseline level.

use serde_json::json;

use super::*;

fn controls(pod: &Value) -> Vec<Control> {
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "spec": {"template": pod}});
    violations(&workload).into_iter().map(|violation| violation.control).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn container(list: &str, fields: Value) -> Value {
    let mut container = json!({"name": "web", "image": "web:1"});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"spec": {list: [container]}})
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn context(fields: Value) -> Value {
    container("containers", json!({"securityContext": fields}))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn pod(fields: Value) -> Value {
    json!({"spec": fields})
}

/// A control, and a pod that it does not allow.
fn rows() -> Vec<(Control, Value)> {
    vec![
        (Control::HostProcess, context(json!({"windowsOptions": {"hostProcess": true}}))),
        (
            Control::HostProcess,
            pod(json!({"securityContext": {"windowsOptions": {"hostProcess": true}}})),
        ),
        (Control::HostNamespaces, pod(json!({"hostNetwork": true}))),
        (Control::HostNamespaces, pod(json!({"hostPID": true}))),
        (Control::HostNamespaces, pod(json!({"hostIPC": true}))),
        (Control::Privileged, context(json!({"privileged": true}))),
        (Control::Capabilities, context(json!({"capabilities": {"add": ["NET_RAW"]}}))),
        (Control::Capabilities, context(json!({"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}))),
        (Control::HostPath, pod(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}))),
        (Control::HostPorts, container("containers", json!({"ports": [{"hostPort": 80}]}))),
        (
            Control::HostProbes,
            container("containers", json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}})),
        ),
        (
            Control::HostProbes,
            container("containers", json!({"readinessProbe": {"tcpSocket": {"host": "h"}}})),
        ),
        (
            Control::HostProbes,
            container("containers", json!({"startupProbe": {"httpGet": {"host": "h"}}})),
        ),
        (
            Control::HostProbes,
            container(
                "containers",
                json!({"lifecycle": {"postStart": {"httpGet": {"host": "h"}}}}),
            ),
        ),
        (
            Control::HostProbes,
            container(
                "containers",
                json!({"lifecycle": {"preStop": {"tcpSocket": {"host": "h"}}}}),
            ),
        ),
        (Control::AppArmor, context(json!({"appArmorProfile": {"type": "Unconfined"}}))),
        (
            Control::AppArmor,
            json!({"metadata": {"annotations":
                {"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}}}),
        ),
        (Control::SeLinux, context(json!({"seLinuxOptions": {"type": "spc_t"}}))),
        (Control::SeLinux, context(json!({"seLinuxOptions": {"user": "system_u"}}))),
        (Control::SeLinux, pod(json!({"securityContext": {"seLinuxOptions": {"role": "r"}}}))),
        (Control::ProcMount, context(json!({"procMount": "Unmasked"}))),
        (Control::Seccomp, context(json!({"seccompProfile": {"type": "Unconfined"}}))),
        (
            Control::Seccomp,
            json!({"metadata": {"annotations":
                {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}}),
        ),
        (
            Control::Seccomp,
            json!({"metadata": {"annotations":
                {"container.seccomp.security.alpha.kubernetes.io/web": "unconfined"}}}),
        ),
        (
            Control::Sysctls,
            pod(json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}})),
        ),
    ]
}

#[test]
fn each_restricted_field_is_found() {
    for (expected, pod) in rows() {
        assert_eq!(controls(&pod), [expected], "{pod}");
    }
}

#[test]
fn init_and_ephemeral_containers_are_seen_too() {
    for list in ["initContainers", "ephemeralContainers"] {
        let pod = container(list, json!({"securityContext": {"privileged": true}}));
        assert_eq!(controls(&pod), [Control::Privileged], "{list}");
    }
}

#[test]
fn values_that_the_level_allows_are_allowed() {
    for pod in [
        pod(json!({"hostNetwork": false, "hostUsers": true})),
        context(json!({"privileged": false, "procMount": "Default", "runAsUser": 0,
            "allowPrivilegeEscalation": true, "capabilities": {"add": ["CHOWN"], "drop": ["ALL"]},
            "appArmorProfile": {"type": "Localhost"}, "seccompProfile": {"type": "RuntimeDefault"},
            "seLinuxOptions": {"type": "container_t", "level": "s0"}})),
        container(
            "containers",
            json!({"ports": [{"containerPort": 80, "hostPort": 0}],
            "livenessProbe": {"httpGet": {"host": "", "port": 80}}}),
        ),
        pod(json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]},
            "volumes": [{"name": "v", "emptyDir": {}}]})),
        json!({"metadata": {"annotations":
            {"container.apparmor.security.beta.kubernetes.io/web": "runtime/default"}}}),
    ] {
        assert!(controls(&pod).is_empty(), "{pod}: {:?}", controls(&pod));
    }
}

#[test]
fn a_pod_inside_a_kind_that_nobody_knows_is_seen() {
    let farm = json!({"apiVersion": "example.com/v1", "kind": "Farm", "spec": {"barns": [
        {"name": "red", "pod": {"containers": [
            {"name": "cow", "securityContext": {"privileged": true}}]}}]}});
    let found: Vec<String> = violations(&farm).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "/spec/barns/red/pod/containers/cow/securityContext/privileged is true, which Pod Security \
          baseline (Privileged Containers) does not allow"
        ]
    );
}
