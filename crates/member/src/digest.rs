//! What is kept of an applied object: never the object itself.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use crate::Packed;

/// What is kept of an applied object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Digest {
    /// Its uid.
    pub uid: String,
    /// Its version in the member.
    pub resource_version: String,
    /// Generation of its spec; 0 for kinds without one.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Value of the binding's annotation: `namespace/name`.
    pub binding: String,
    /// Uid of the template that it was made from.
    pub template_uid: String,
    /// Digest of the manifest that was applied.
    pub applied: String,
    /// Hash of everything that a manifest can say: equal means untouched since it was compared.
    pub fingerprint: u64,
    /// Its status.
    pub status: Packed,
}

/// Names of the annotations that a digest keeps.
#[derive(Clone, Copy, Debug)]
pub struct MarkNames {
    /// Annotation with `namespace/name` of the binding.
    pub binding: &'static str,
    /// Annotation with the uid of the template.
    pub template_uid: &'static str,
    /// Annotation with the digest of the manifest.
    pub digest: &'static str,
}

impl Digest {
    /// Whether `other` is older than this: watches may bring what a write has overtaken.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        match (self.resource_version.parse::<u64>(), other.resource_version.parse::<u64>()) {
            (Ok(mine), Ok(theirs)) => self.uid == other.uid && mine > theirs,
            _ => false,
        }
    }
}

/// The digest of an object.
pub fn digest(object: &Value, marks: MarkNames) -> Digest {
    let metadata = &object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let annotation = |name: &str| text(&metadata["annotations"][name]);
    Digest {
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        generation: metadata["generation"].as_i64().unwrap_or(0),
        deleting: !metadata["deletionTimestamp"].is_null(),
        binding: annotation(marks.binding),
        template_uid: annotation(marks.template_uid),
        applied: annotation(marks.digest),
        fingerprint: fingerprint(object),
        status: Packed::of(&object["status"]),
    }
}

fn fingerprint(object: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in ["labels", "annotations"] {
        object["metadata"][part].to_string().hash(&mut hasher);
    }
    for (key, field) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
            key.hash(&mut hasher);
            field.to_string().hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MARKS: MarkNames = MarkNames { binding: "b", template_uid: "t", digest: "d" };

    #[test]
    fn only_what_a_manifest_can_say_changes_the_fingerprint() {
        let object = json!({"metadata": {"uid": "u", "resourceVersion": "5", "generation": 2,
            "annotations": {"b": "shop/web", "t": "x", "d": "1-abc"}},
            "spec": {"replicas": 2}, "status": {"replicas": 1}});
        let before = digest(&object, MARKS);
        assert_eq!((before.binding.as_str(), before.applied.as_str()), ("shop/web", "1-abc"));
        let mut later = object.clone();
        later["status"]["replicas"] = json!(2);
        later["metadata"]["resourceVersion"] = json!("6");
        later["metadata"]["managedFields"] = json!([]);
        let after = digest(&later, MARKS);
        assert_eq!(before.fingerprint, after.fingerprint);
        assert!(after.is_newer_than(&before) && !before.is_newer_than(&after));
        later["spec"]["replicas"] = json!(3);
        assert_ne!(digest(&later, MARKS).fingerprint, before.fingerprint);
    }
}
