//! Custom resource definitions: what the server fills in, and the resources they make.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::{catalog::Kind, failure::Cause, meta, rules::Rules, schema::Schema};

/// The place of definitions in the store.
pub(crate) const STORAGE: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// Holds a definition back until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What a resource of a CRD has beside the table's traits.
#[derive(Debug)]
pub(crate) struct Custom {
    pub(crate) schema: Schema,
    /// The version's OpenAPI schema as text.
    pub(crate) text: Box<str>,
    pub(crate) list_kind: String,
    /// How many versions are served.
    pub(crate) versions: usize,
    /// The definition is being deleted: no new objects.
    pub(crate) closing: bool,
    /// Which state of the definition this was made from.
    pub(crate) origin: String,
    pub(crate) rules: OnceLock<Option<Rules>>,
}

/// The resources that a definition serves. Those of `before` that did not change are kept.
pub(crate) fn kinds(definition: &Value, before: &[Arc<Kind>]) -> Vec<Arc<Kind>> {
    let origin = format!(
        "{}/{}/{}",
        meta::text(definition, "uid"),
        definition["metadata"]["generation"],
        meta::text(definition, "deletionTimestamp"),
    );
    let kept: Vec<Arc<Kind>> = before
        .iter()
        .filter(|kind| kind.custom.as_ref().is_some_and(|one| one.origin == origin))
        .cloned()
        .collect();
    if !kept.is_empty() {
        return kept;
    }
    let versions = definition["spec"]["versions"].as_array();
    let served: Vec<&Value> =
        versions.into_iter().flatten().filter(|version| version["served"] == true).collect();
    served
        .iter()
        .filter_map(|version| kind(definition, version, &origin, served.len()))
        .map(Arc::new)
        .collect()
}

fn kind(definition: &Value, version: &Value, origin: &str, versions: usize) -> Option<Kind> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let schema = &version["schema"]["openAPIV3Schema"];
    let fields: Vec<&str> = version["selectableFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|field| field["jsonPath"].as_str())
        .map(|path| path.trim_start_matches('.'))
        .collect();
    let scale = &version["subresources"]["scale"];
    let scale = scale.is_object().then(|| {
        let path = |name: &str| scale[name].as_str().unwrap_or_default();
        json!([path("specReplicasPath"), path("statusReplicasPath"), path("labelSelectorPath")])
    });
    let row = json!({
        "group": spec["group"],
        "version": version["name"],
        "kind": names["kind"],
        "plural": names["plural"],
        "singular": names["singular"],
        "short": names["shortNames"].as_array().cloned().unwrap_or_default(),
        "categories": names["categories"].as_array().cloned().unwrap_or_default(),
        "namespaced": spec["scope"] == "Namespaced",
        "status": version["subresources"]["status"].is_object(),
        "generation": true,
        "scale": scale,
        "fields": fields,
        "columns": columns(version),
    });
    let custom = Custom {
        schema: Schema::custom(schema),
        text: schema.to_string().into(),
        list_kind: names["listKind"].as_str().unwrap_or_default().to_owned(),
        versions,
        closing: meta::is_deleting(definition),
        origin: origin.to_owned(),
        rules: OnceLock::new(),
    };
    match Kind::of_custom(custom, row) {
        Ok(kind) => Some(kind),
        Err(error) => {
            tracing::warn!(%error, "a resource definition cannot be served");
            None
        }
    }
}

/// The columns of a version's table, as rows of the table of resources have them.
fn columns(version: &Value) -> Value {
    let columns: Vec<Value> = version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| {
            let path = column["jsonPath"].as_str().unwrap_or_default();
            let cell = if column["type"] == "date" {
                format!("since:{path}")
            } else {
                format!("{{{path}}}")
            };
            let priority = column["priority"].as_i64().unwrap_or(0);
            let description = column["description"].as_str().unwrap_or_default();
            json!([column["name"], column["type"], priority, cell, description])
        })
        .collect();
    if columns.is_empty() {
        return json!([["Age", "date", 0, "age"]]);
    }
    columns.into()
}

/// Fills in names and status; a definition is established at once.
pub(crate) fn complete(definition: &mut Value, now: &str) {
    let spec = &mut definition["spec"];
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    if !spec["names"]["singular"].is_string() {
        spec["names"]["singular"] = kind.to_lowercase().into();
    }
    if !spec["names"]["listKind"].is_string() {
        spec["names"]["listKind"] = format!("{kind}List").into();
    }
    if !spec["conversion"].is_object() {
        spec["conversion"] = json!({ "strategy": "None" });
    }
    let names = spec["names"].clone();
    let versions = spec["versions"].as_array().into_iter().flatten();
    let stored: Vec<Value> = versions
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    let mut kept = definition["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    for version in stored {
        if !kept.contains(&version) {
            kept.push(version);
        }
    }
    let condition = |kind: &str, reason: &str, message: &str| {
        let old = definition["status"]["conditions"].as_array();
        let old = old.into_iter().flatten().find(|one| one["type"] == kind);
        let since = old.map_or_else(|| now.into(), |one| one["lastTransitionTime"].clone());
        json!({
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": since,
        })
    };
    let conditions = [
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ];
    definition["status"] = json!({
        "acceptedNames": names,
        "storedVersions": kept,
        "conditions": conditions,
    });
    let finalizers = meta::finalizers(definition);
    if !meta::is_deleting(definition) && !finalizers.contains(&CLEANUP) {
        let mut finalizers: Vec<String> = finalizers.into_iter().map(str::to_owned).collect();
        finalizers.push(CLEANUP.to_owned());
        let finalizers: Vec<&str> = finalizers.iter().map(String::as_str).collect();
        meta::set_finalizers(definition, &finalizers);
    }
}

/// What is wrong with a definition.
pub(crate) fn validate(definition: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let expected = format!("{plural}.{group}");
    if meta::text(definition, "name") != expected {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &definition["metadata"]["name"], detail));
    }
    for (field, value) in [
        ("spec.group", &spec["group"]),
        ("spec.names.plural", &spec["names"]["plural"]),
        ("spec.names.kind", &spec["names"]["kind"]),
    ] {
        if text(value).is_empty() {
            causes.push(Cause::required(field, ""));
        }
    }
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        let options = ["Cluster", "Namespaced"];
        causes.push(Cause::unsupported("spec.scope", &spec["scope"], &options));
    }
    if !matches!(spec["conversion"]["strategy"].as_str(), None | Some("None")) {
        causes.push(Cause::unsupported(
            "spec.conversion.strategy",
            &spec["conversion"]["strategy"],
            &["None"],
        ));
    }
    let versions = spec["versions"].as_array().cloned().unwrap_or_default();
    let stored = versions.iter().filter(|one| one["storage"] == true).count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &json!(versions.len()), detail));
    }
    for (index, version) in versions.iter().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        let at = format!("spec.versions[{index}].schema.openAPIV3Schema");
        if schema.is_null() {
            causes.push(Cause::required(at, "schemas are required"));
        } else if schema["type"] != "object" {
            let at = format!("{at}.type");
            causes.push(Cause::invalid(at, &schema["type"], "must be object at the root"));
        }
    }
    causes
}
