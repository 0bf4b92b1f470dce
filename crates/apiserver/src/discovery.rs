//! Discovery: which groups, versions and resources there are, in the old form (one document a
//! group and version) and in the aggregated one.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    body::Body,
    catalog::{Catalog, Kind},
    failure::Failure,
    request::Reply,
};

/// Groups in the order in which `kubectl` resolves ambiguous names; others follow by name.
const ORDER: [&str; 16] = [
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
];
const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// `/`
pub(crate) fn paths(catalog: &Catalog) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in group_versions(catalog).into_iter().skip(1) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({ "paths": paths })
}

/// `/api`
pub(crate) fn core(catalog: &Catalog, accept: &str, known: Option<&HeaderValue>) -> Reply {
    if let Some(version) = aggregated(accept) {
        return answer(version, document(catalog, version, true), known);
    }
    Reply::json(&json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }))
}

/// `/apis`
pub(crate) fn groups(catalog: &Catalog, accept: &str, known: Option<&HeaderValue>) -> Reply {
    if let Some(version) = aggregated(accept) {
        return answer(version, document(catalog, version, false), known);
    }
    let groups: Vec<Value> = group_versions(catalog)
        .iter()
        .skip(1)
        .map(|(group, versions)| api_group(group, versions))
        .collect();
    Reply::json(&json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
}

/// `/apis/G`
pub(crate) fn group(catalog: &Catalog, name: &str) -> Result<Reply, Failure> {
    let groups = group_versions(catalog);
    let found = groups.iter().skip(1).find(|(group, _)| group == name);
    let (group, versions) = found.ok_or_else(Failure::no_resource)?;
    let mut value = api_group(group, versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Ok(Reply::json(&value))
}

/// `/api/v1` and `/apis/G/V`
pub(crate) fn resources(catalog: &Catalog, group: &str, version: &str) -> Result<Reply, Failure> {
    let mut rows = Vec::new();
    for kind in kinds(catalog, group, version) {
        let mut row = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs(kind),
        });
        if !kind.short.is_empty() {
            row["shortNames"] = kind.short.clone().into();
        }
        if !kind.categories.is_empty() {
            row["categories"] = kind.categories.clone().into();
        }
        rows.push(row);
        for name in kind.subresources() {
            let (group, version, of) = subresource_kind(kind, name);
            let mut row = json!({
                "name": format!("{}/{name}", kind.plural),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": of,
                "verbs": subresource_verbs(kind, name),
            });
            if group != kind.group || version != kind.version {
                row["group"] = group.into();
                row["version"] = version.into();
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err(Failure::no_resource());
    }
    Ok(Reply::json(&json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": crate::catalog::group_version(group, version),
        "resources": rows,
    })))
}

/// All groups with their versions, preferred first; the core group leads.
pub(crate) fn group_versions(catalog: &Catalog) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for kind in catalog.kinds() {
        let at = found.iter().position(|(group, _)| *group == kind.group);
        let at = at.unwrap_or_else(|| {
            found.push((kind.group.clone(), Vec::new()));
            found.len() - 1
        });
        if !found[at].1.contains(&kind.version) {
            found[at].1.push(kind.version.clone());
        }
    }
    for (_, versions) in &mut found {
        versions.sort_by_key(|version| std::cmp::Reverse(stability(version)));
    }
    found.sort_by_key(|(group, _)| {
        let rank = ORDER.iter().position(|one| one == group);
        (!group.is_empty(), rank.unwrap_or(ORDER.len()), group.clone())
    });
    found
}

/// Orders versions: v2 over v1 over v1beta2 over v1beta1 over v1alpha1.
fn stability(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse().unwrap_or(0);
    let rest = version.trim_start_matches('v');
    for (level, word) in [(1, "beta"), (0, "alpha")] {
        if let Some((major, minor)) = rest.split_once(word) {
            return (level, number(major), number(minor));
        }
    }
    (2, number(rest), 0)
}

fn api_group(group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({ "groupVersion": format!("{group}/{version}"), "version": version }))
        .collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions[0] })
}

/// The version of the aggregated form that the client asks for.
fn aggregated(accept: &str) -> Option<&'static str> {
    accept.split(',').find_map(|wish| {
        if !wish.contains("as=APIGroupDiscoveryList") {
            return None;
        }
        let version = wish.split(';').find_map(|part| part.trim().strip_prefix("v="));
        match version {
            Some("v2") => Some("v2"),
            Some("v2beta1") => Some("v2beta1"),
            _ => None,
        }
    })
}

/// An aggregated document, with its tag.
#[derive(Debug)]
pub(crate) struct Document {
    text: Bytes,
    tag: HeaderValue,
}

/// The aggregated documents of one catalog, made when they are asked for first.
#[derive(Debug, Default)]
pub(crate) struct Documents([OnceLock<Document>; 4]);

/// A thousand members that serve the built-in kinds serve the same.
static BUILT_IN: Documents = Documents::new();

impl Documents {
    pub(crate) const fn new() -> Self {
        Self([const { OnceLock::new() }; 4])
    }
}

fn document<'a>(catalog: &'a Catalog, version: &str, core: bool) -> &'a Document {
    let documents = catalog.documents().unwrap_or(&BUILT_IN);
    let [core_v2, core_beta, groups_v2, groups_beta] = &documents.0;
    let place = match (core, version) {
        (true, "v2") => core_v2,
        (true, _) => core_beta,
        (false, "v2") => groups_v2,
        (false, _) => groups_beta,
    };
    place.get_or_init(|| {
        let text = list(catalog, version, core).to_string();
        let digest = Sha256::digest(text.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{digest}\""));
        Document { text: text.into(), tag: tag.expect("hexadecimal digits are a header") }
    })
}

fn answer(version: &str, document: &Document, known: Option<&HeaderValue>) -> Reply {
    let (status, body) = if known == Some(&document.tag) {
        (StatusCode::NOT_MODIFIED, Body::whole(""))
    } else {
        (StatusCode::OK, Body::whole(document.text.clone()))
    };
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let mut reply = Reply::new(status, content_type, body);
    reply.headers.insert(header::ETAG, document.tag.clone());
    reply
}

fn list(catalog: &Catalog, version: &str, core: bool) -> Value {
    let groups: Vec<Value> = group_versions(catalog)
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> =
                        kinds(catalog, group, version).map(|kind| entry(kind)).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let meta = if core {
                json!({ "creationTimestamp": null })
            } else {
                json!({ "name": group, "creationTimestamp": null })
            };
            json!({ "metadata": meta, "versions": versions })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": groups,
    })
}

fn entry(kind: &Kind) -> Value {
    let mut row = json!({
        "resource": kind.plural,
        "responseKind": { "group": kind.group, "version": kind.version, "kind": kind.kind },
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    if !kind.short.is_empty() {
        row["shortNames"] = kind.short.clone().into();
    }
    if !kind.categories.is_empty() {
        row["categories"] = kind.categories.clone().into();
    }
    let subresources: Vec<Value> = kind
        .subresources()
        .into_iter()
        .map(|name| {
            let (group, version, of) = subresource_kind(kind, name);
            json!({
                "subresource": name,
                "responseKind": { "group": group, "version": version, "kind": of },
                "verbs": subresource_verbs(kind, name),
            })
        })
        .collect();
    if !subresources.is_empty() {
        row["subresources"] = subresources.into();
    }
    row
}

fn kinds<'a>(
    catalog: &'a Catalog,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Arc<Kind>> {
    let mut found: Vec<&Arc<Kind>> =
        catalog.kinds().filter(|kind| kind.group == group && kind.version == version).collect();
    found.sort_by(|a, b| a.plural.cmp(&b.plural));
    found.into_iter()
}

fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.review { &["create"] } else { &VERBS }
}

fn subresource_verbs(kind: &Kind, name: &str) -> &'static [&'static str] {
    if kind.actions.iter().any(|action| action == name) {
        return &["create"];
    }
    if name == "finalize" {
        return &["update"];
    }
    &["get", "patch", "update"]
}

/// Group, version and kind of what a subresource takes.
fn subresource_kind<'a>(kind: &'a Kind, name: &str) -> (&'a str, &'a str, &'a str) {
    match name {
        "scale" => ("autoscaling", "v1", "Scale"),
        "eviction" => ("policy", "v1", "Eviction"),
        "token" => ("authentication.k8s.io", "v1", "TokenRequest"),
        "binding" => ("", "v1", "Binding"),
        _ => (&kind.group, &kind.version, &kind.kind),
    }
}
