//! The fields that Pod Security's baseline level restricts, found anywhere in an object, so that a
//! pod inside a kind that nobody knows is seen too. Source: the Pod Security Standards as of
//! Kubernetes 1.36; where versions differ, the stricter holds.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::pointer;

/// A control of the baseline level.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Control {
    /// Windows containers with access to the host.
    HostProcess,
    /// hostNetwork, hostPID, hostIPC.
    HostNamespaces,
    /// Privileged containers.
    Privileged,
    /// Capabilities beyond the default set.
    Capabilities,
    /// Volumes on the node's disk.
    HostPath,
    /// Ports of the node.
    HostPorts,
    /// Probes and lifecycle hooks that call another host.
    HostProbes,
    /// AppArmor profiles other than the default and local ones.
    AppArmor,
    /// SELinux types, users and roles.
    SeLinux,
    /// /proc without its masks.
    ProcMount,
    /// Seccomp profiles other than the default and local ones.
    Seccomp,
    /// Sysctls that are not safe.
    Sysctls,
}

impl Control {
    /// Its name, as the standard has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostProcess => "HostProcess",
            Self::HostNamespaces => "Host Namespaces",
            Self::Privileged => "Privileged Containers",
            Self::Capabilities => "Capabilities",
            Self::HostPath => "HostPath Volumes",
            Self::HostPorts => "Host Ports",
            Self::HostProbes => "Host Probes / Lifecycle Hooks",
            Self::AppArmor => "AppArmor",
            Self::SeLinux => "SELinux",
            Self::ProcMount => "/proc Mount Type",
            Self::Seccomp => "Seccomp",
            Self::Sysctls => "Sysctls",
        }
    }
}

/// A field whose value the baseline level does not allow.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[error("{path} is {value}, which Pod Security baseline ({}) does not allow", control.name())]
pub struct Violation {
    /// The control.
    pub control: Control,
    /// Where: a JSON pointer in which entries of lists stand by name where they have one.
    pub path: String,
    /// The value, JSON.
    pub value: String,
}

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
const PROFILES: [&str; 2] = ["RuntimeDefault", "Localhost"];

/// Everything in an object that the baseline level does not allow.
pub fn violations(object: &Value) -> BTreeSet<Violation> {
    let mut found = BTreeSet::new();
    visit(object, "", &mut found);
    found
}

fn visit(value: &Value, path: &str, found: &mut BTreeSet<Violation>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let below = pointer::join(path, key);
                judge(key, field, &below, found);
                visit(field, &below, found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let name = item["name"].as_str().map_or_else(|| at.to_string(), str::to_owned);
                visit(item, &pointer::join(path, &name), found);
            }
        }
        _ => {}
    }
}

fn judge(key: &str, field: &Value, path: &str, found: &mut BTreeSet<Violation>) {
    let mut add = |control: Control, below: &str, value: &Value| {
        let path = if below.is_empty() { path.to_owned() } else { format!("{path}/{below}") };
        found.insert(Violation { control, path, value: value.to_string() });
    };
    let text = |name: &str| field[name].as_str().unwrap_or_default();
    match key {
        "hostProcess" if field == true => add(Control::HostProcess, "", field),
        "hostNetwork" | "hostPID" | "hostIPC" if field == true => {
            add(Control::HostNamespaces, "", field);
        }
        "privileged" if field == true => add(Control::Privileged, "", field),
        "capabilities" => {
            for name in field["add"].as_array().into_iter().flatten() {
                if !name.as_str().is_some_and(|name| CAPABILITIES.contains(&name)) {
                    add(Control::Capabilities, "add", name);
                }
            }
        }
        "hostPath" if field.is_object() => add(Control::HostPath, "", field),
        "hostPort" if !(field.is_null() || field == 0) => add(Control::HostPorts, "", field),
        "livenessProbe" | "readinessProbe" | "startupProbe" | "postStart" | "preStop" => {
            for action in ["httpGet", "tcpSocket"] {
                let host = &field[action]["host"];
                if host.as_str().is_some_and(|host| !host.is_empty()) {
                    add(Control::HostProbes, &format!("{action}/host"), host);
                }
            }
        }
        "appArmorProfile" if field.is_object() && !PROFILES.contains(&text("type")) => {
            add(Control::AppArmor, "type", &field["type"]);
        }
        "seLinuxOptions" => {
            if !SELINUX_TYPES.contains(&text("type")) {
                add(Control::SeLinux, "type", &field["type"]);
            }
            for name in ["user", "role"] {
                if !text(name).is_empty() {
                    add(Control::SeLinux, name, &field[name]);
                }
            }
        }
        "procMount" if !(field.is_null() || field == "Default") => {
            add(Control::ProcMount, "", field);
        }
        "seccompProfile" if field.is_object() && !PROFILES.contains(&text("type")) => {
            add(Control::Seccomp, "type", &field["type"]);
        }
        "sysctls" => {
            for sysctl in field.as_array().into_iter().flatten() {
                if !sysctl["name"].as_str().is_some_and(|name| SYSCTLS.contains(&name)) {
                    add(Control::Sysctls, "", &sysctl["name"]);
                }
            }
        }
        "annotations" => {
            for (name, value) in field.as_object().into_iter().flatten() {
                if let Some(control) = annotation(name, value.as_str().unwrap_or_default()) {
                    let value = Value::from(format!("{name}={}", value.as_str().unwrap_or("")));
                    add(control, "", &value);
                }
            }
        }
        _ => {}
    }
}

/// Annotations that older members read as profiles.
fn annotation(name: &str, value: &str) -> Option<Control> {
    let allowed = value == "runtime/default" || value.starts_with("localhost/");
    if name.starts_with("container.apparmor.security.beta.kubernetes.io/") {
        return (!allowed && !value.is_empty()).then_some(Control::AppArmor);
    }
    let seccomp = name == "seccomp.security.alpha.kubernetes.io/pod"
        || name.starts_with("container.seccomp.security.alpha.kubernetes.io/");
    (seccomp && !allowed && value != "docker/default").then_some(Control::Seccomp)
}

#[cfg(test)]
mod tests;
