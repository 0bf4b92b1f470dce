//! What no override may change, and what a user of one namespace may not bring to members. The
//! rendered object is judged, however it came about.

use std::collections::BTreeSet;

use hanse_api::{FederatedManifest, marks};
use serde_json::Value;

use super::{OverrideCause, PolicyName, apply::At};
use crate::{Change, Violation, baseline::violations};

/// Bytes of an object: what a default etcd takes, with some room.
const OBJECT_BYTES: usize = 1 << 20;

const MARKS: [&str; 5] = [
    marks::HUB_LABEL,
    marks::BINDING_LABEL,
    marks::BINDING_ANNOTATION,
    marks::TEMPLATE_UID_ANNOTATION,
    marks::DIGEST_ANNOTATION,
];

/// Kinds that have no namespace, of those that every cluster serves.
const CLUSTER_KINDS: [(&str, &str); 21] = [
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("node.k8s.io", "RuntimeClass"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("certificates.k8s.io", "ClusterTrustBundle"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceSlice"),
];

/// What an object gives rights by, if it does.
fn rights(object: &Value) -> Option<&'static str> {
    let api = object["apiVersion"].as_str().unwrap_or_default();
    match api.split_once('/').map_or("", |(group, _)| group) {
        "rbac.authorization.k8s.io" => Some("access rules (RBAC)"),
        "admissionregistration.k8s.io" => Some("admission"),
        "apiextensions.k8s.io" => Some("definitions of kinds"),
        "apiregistration.k8s.io" => Some("API services"),
        _ if object["kind"] == "Secret" && is_token(&object["type"]) => Some("a Secret of tokens"),
        _ => None,
    }
}

fn is_token(type_: &Value) -> bool {
    matches!(
        type_.as_str(),
        Some("kubernetes.io/service-account-token" | "bootstrap.kubernetes.io/token")
    )
}

/// Judges one step of an override.
pub(super) fn check(
    before: &Value,
    after: &Value,
    changed: &[Change],
    at: &At<'_>,
) -> Result<(), (String, OverrideCause)> {
    for change in changed {
        let path = change.path.as_str();
        let fault = |cause| Err((change.path.clone(), cause));
        if !after.is_object() || is_identity(path) {
            return fault(OverrideCause::Identity);
        }
        if touches_mark(change) {
            return fault(OverrideCause::Mark);
        }
        let inside = |place: &str| {
            path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
        };
        let above =
            |place: &str| place.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let replicas = at.replicas.iter().find(|place| inside(place) || above(place));
        if replicas.is_some_and(|place| before.pointer(place) != after.pointer(place)) {
            return fault(OverrideCause::Replicas);
        }
    }
    let bytes = serde_json::to_vec(after).map_or(0, |bytes| bytes.len());
    if bytes > OBJECT_BYTES {
        return Err((String::new(), OverrideCause::TooLarge(bytes)));
    }
    if changed.is_empty() || matches!(at.policy, PolicyName::Cluster(_)) {
        return Ok(());
    }
    if let Some(what) = rights(before).or_else(|| rights(after)) {
        let path = changed.first().map(|change| change.path.clone()).unwrap_or_default();
        return Err((path, OverrideCause::Rights(what)));
    }
    let old: BTreeSet<Violation> = violations(before);
    match violations(after).into_iter().find(|violation| !old.contains(violation)) {
        Some(new) => Err((new.path.clone(), OverrideCause::Restricted(new))),
        None => Ok(()),
    }
}

fn is_identity(path: &str) -> bool {
    let mut names = path.split('/').skip(1);
    match names.next() {
        None | Some("apiVersion" | "kind" | "status") => true,
        Some("metadata") => !matches!(names.next(), Some("labels" | "annotations")),
        Some(_) => false,
    }
}

fn touches_mark(change: &Change) -> bool {
    let whole = matches!(change.path.as_str(), "/metadata/labels" | "/metadata/annotations");
    let named = |value: &Option<Value>| {
        let fields = value.as_ref().and_then(Value::as_object);
        fields.is_some_and(|fields| MARKS.iter().any(|mark| fields.contains_key(*mark)))
    };
    let entry = change.path.strip_prefix("/metadata/labels/");
    let entry = entry.or_else(|| change.path.strip_prefix("/metadata/annotations/"));
    let entry = entry.map(|name| name.replace("~1", "/").replace("~0", "~"));
    entry.is_some_and(|name| MARKS.contains(&name.as_str()))
        || whole && (named(&change.before) || named(&change.after))
}

/// Why an object of a FederatedManifest is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("spec.manifests[{index}]: {cause}")]
pub struct ManifestError {
    /// Index of the object.
    pub index: usize,
    /// Why.
    pub cause: ManifestCause,
}

/// Why an object is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ManifestCause {
    /// It names another namespace.
    #[error("it is in namespace {0}: a FederatedManifest holds objects of its own namespace")]
    Namespace(String),
    /// It has no namespace.
    #[error("{0} has no namespace: a ClusterPropagationPolicy places such objects")]
    ClusterScoped(String),
    /// It gives rights.
    #[error("{0}: a ClusterPropagationPolicy places such objects")]
    Rights(&'static str),
    /// It has a field that Pod Security baseline does not allow.
    #[error(
        "{0}: label the namespace pod-security.kubernetes.io/enforce: privileged if its users may \
         do this"
    )]
    Restricted(Violation),
    /// It is a list of objects.
    #[error("it is a list: write its items one by one")]
    List,
    /// It has no name.
    #[error("it has no {0}")]
    Unnamed(&'static str),
    /// Another object has the same kind and name.
    #[error("manifests[{0}] has the same kind and name")]
    Twice(usize),
}

/// Judges a FederatedManifest and returns its objects, each with its namespace written.
/// `has_namespace` says whether members keep a kind (API version, kind) in namespaces, if that is
/// known; `privileged` is whether the hub's namespace is labelled
/// `pod-security.kubernetes.io/enforce: privileged`.
///
/// # Errors
/// [`ManifestError`] for the first object that is refused.
pub fn check_manifest(
    manifest: &FederatedManifest,
    has_namespace: impl Fn(&str, &str) -> Option<bool>,
    privileged: bool,
) -> Result<Vec<Value>, ManifestError> {
    let namespace = manifest.metadata.namespace.as_deref().unwrap_or_default();
    let mut made: Vec<Value> = Vec::new();
    for (index, object) in manifest.spec.manifests.iter().enumerate() {
        let fault = |cause| ManifestError { index, cause };
        judge(object, namespace, &has_namespace, privileged).map_err(fault)?;
        let same = |other: &Value| {
            group(other) == group(object)
                && other["kind"] == object["kind"]
                && other["metadata"]["name"] == object["metadata"]["name"]
        };
        if let Some(first) = made.iter().position(same) {
            return Err(fault(ManifestCause::Twice(first)));
        }
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.insert("namespace".to_owned(), Value::from(namespace));
        }
        made.push(object);
    }
    Ok(made)
}

fn group(object: &Value) -> &str {
    let api = object["apiVersion"].as_str().unwrap_or_default();
    api.split_once('/').map_or("", |(group, _)| group)
}

fn judge(
    object: &Value,
    namespace: &str,
    has_namespace: &impl Fn(&str, &str) -> Option<bool>,
    privileged: bool,
) -> Result<(), ManifestCause> {
    let kind = object["kind"].as_str().unwrap_or_default();
    for (field, place) in
        [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("name", "/metadata/name")]
    {
        let text = object.pointer(place).and_then(Value::as_str);
        if text.is_none_or(str::is_empty) {
            return Err(ManifestCause::Unnamed(field));
        }
    }
    if let Some(other) = object["metadata"]["namespace"].as_str().filter(|n| *n != namespace) {
        return Err(ManifestCause::Namespace(other.to_owned()));
    }
    if kind.ends_with("List") && object["items"].is_array() {
        return Err(ManifestCause::List);
    }
    if let Some(what) = rights(object) {
        return Err(ManifestCause::Rights(what));
    }
    let api = object["apiVersion"].as_str().unwrap_or_default();
    if CLUSTER_KINDS.contains(&(group(object), kind)) || has_namespace(api, kind) == Some(false) {
        return Err(ManifestCause::ClusterScoped(kind.to_owned()));
    }
    match violations(object).pop_first() {
        Some(violation) if !privileged => Err(ManifestCause::Restricted(violation)),
        _ => Ok(()),
    }
}
