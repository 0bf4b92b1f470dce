//! The manifest of one cluster: a stripped template with its share of the replicas and our marks.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::Kind;

/// Version of the rules in this crate. A change that renders the same template differently raises
/// it, so that members are brought over slowly.
pub const RENDER_VERSION: u32 = 1;

/// What one cluster gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// The object to apply.
    pub object: Value,
    /// `<render version>-<16 hex digits>` over the object without this mark.
    pub digest: String,
}

/// A cluster's share of the replicas. Clusters stand in order of name, so that all of them cut
/// the same whole at the same places.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Share {
    /// Replicas of the clusters before this one.
    pub before: u32,
    /// Replicas of this cluster.
    pub own: u32,
    /// Replicas of all clusters.
    pub total: u32,
    /// First pod number of this cluster beyond the template's own start, for a StatefulSet that
    /// several clusters share; otherwise 0.
    pub start: u32,
}

/// Names that are put on every applied object.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// Id of this hub.
    pub hub_id: &'a str,
    /// Namespace of the binding.
    pub binding_namespace: &'a str,
    /// Name of the binding.
    pub binding_name: &'a str,
    /// Uid of the template.
    pub template_uid: &'a str,
}

impl Marks<'_> {
    /// Value of the binding label: `namespace/name` may be longer than a label, its hash is not.
    pub fn binding_hash(&self) -> String {
        let name = format!("{}/{}", self.binding_namespace, self.binding_name);
        hex(&Sha256::digest(name.as_bytes()), 8)
    }
}

/// The manifest of a cluster. `stripped` comes from [`crate::strip`]; without a share the counts
/// of the template stay as they are.
pub fn manifest(stripped: &Value, share: Option<Share>, marks: Marks<'_>) -> Manifest {
    let mut object = stripped.clone();
    if let Some(share) = share {
        take_share(&mut object, share);
    }
    marked(object, marks)
}

/// An object with our marks.
pub(crate) fn marked(mut object: Value, marks: Marks<'_>) -> Manifest {
    set(&mut object, "labels", "hanse.dev/hub", marks.hub_id);
    set(&mut object, "labels", "hanse.dev/binding", &marks.binding_hash());
    let binding = format!("{}/{}", marks.binding_namespace, marks.binding_name);
    set(&mut object, "annotations", "hanse.dev/binding-name", &binding);
    set(&mut object, "annotations", "hanse.dev/template-uid", marks.template_uid);
    let bytes = serde_json::to_vec(&object).expect("a JSON value can be written");
    let digest = format!("{RENDER_VERSION}-{}", hex(&Sha256::digest(&bytes), 8));
    set(&mut object, "annotations", "hanse.dev/digest", &digest);
    Manifest { object, digest }
}

fn hex(bytes: &[u8], count: usize) -> String {
    bytes.iter().take(count).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

fn set(object: &mut Value, map: &str, key: &str, value: &str) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        let entries = metadata.entry(map).or_insert_with(|| json!({}));
        if let Some(entries) = entries.as_object_mut() {
            entries.insert(key.to_owned(), json!(value));
        }
    }
}

/// Gives an object of a built-in kind its share of the replicas.
pub(crate) fn take_share(object: &mut Value, share: Share) {
    let kind = Kind::of_object(object);
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    match kind {
        kind if kind.has_replicas_field() => {
            spec.insert("replicas".to_owned(), json!(share.own));
            if kind == Kind::StatefulSet && share.start > 0 {
                number_from(spec, share.start);
            }
        }
        Kind::Job if share.own < share.total => {
            divide_field(spec, "parallelism", share, 0, u64::MAX);
            divide_field(spec, "completions", share, 0, u64::MAX);
        }
        Kind::HorizontalPodAutoscaler => {
            divide_field(spec, "minReplicas", share, 1, u64::MAX);
            divide_field(spec, "maxReplicas", share, 1, u64::MAX);
        }
        Kind::PodDisruptionBudget => {
            let most = u64::from(share.own).saturating_sub(1);
            divide_field(spec, "minAvailable", share, 0, most);
            divide_field(spec, "maxUnavailable", share, 1, u64::MAX);
        }
        _ => {}
    }
}

/// Pod numbers begin so much later than the template says.
fn number_from(spec: &mut Map<String, Value>, start: u32) {
    let ordinals = spec.entry("ordinals").or_insert_with(|| json!({}));
    if let Some(ordinals) = ordinals.as_object_mut() {
        let own = ordinals.get("start").and_then(Value::as_u64).unwrap_or(0);
        ordinals.insert("start".to_owned(), json!(own.saturating_add(start.into())));
    }
}

/// Divides a whole number with the replicas; percentages mean the same everywhere and stay.
fn divide_field(spec: &mut Map<String, Value>, field: &str, share: Share, least: u64, most: u64) {
    let Some(whole) = spec.get(field).and_then(Value::as_u64) else {
        return;
    };
    if share.total == 0 {
        return;
    }
    let until = |replicas: u64| whole.saturating_mul(replicas) / u64::from(share.total);
    let part = until(u64::from(share.before) + u64::from(share.own)) - until(share.before.into());
    spec.insert(field.to_owned(), json!(part.max(least).min(most)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks<'static> = Marks {
        hub_id: "hub-1",
        binding_namespace: "shop",
        binding_name: "deployment-0123456789",
        template_uid: "uid-1",
    };

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn object(api: &str, kind: &str, spec: Value) -> Value {
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": "web"}, "spec": spec})
    }

    fn shares(total: u32, owns: &[u32]) -> Vec<Share> {
        let mut before = 0;
        owns.iter()
            .map(|own| {
                let share = Share { before, own: *own, total, ..Share::default() };
                before += own;
                share
            })
            .collect()
    }

    fn field(object: &Value, share: Share, name: &str) -> u64 {
        manifest(object, Some(share), MARKS).object["spec"][name].as_u64().unwrap()
    }

    #[test]
    fn every_applied_object_carries_its_marks() {
        let made = manifest(&object("v1", "ConfigMap", json!({})), None, MARKS);
        let metadata = &made.object["metadata"];
        assert_eq!(metadata["labels"]["hanse.dev/hub"], "hub-1");
        assert_eq!(metadata["labels"]["hanse.dev/binding"], json!(MARKS.binding_hash()));
        assert_eq!(metadata["annotations"]["hanse.dev/binding-name"], "shop/deployment-0123456789");
        assert_eq!(metadata["annotations"]["hanse.dev/template-uid"], "uid-1");
        assert_eq!(metadata["annotations"]["hanse.dev/digest"], json!(made.digest));
        assert!(made.digest.starts_with("1-") && made.digest.len() == 18);
    }

    #[test]
    fn the_digest_changes_with_the_content_only() {
        let web = object("apps/v1", "Deployment", json!({"replicas": 9}));
        let share = |own| Some(Share { own, total: 9, ..Share::default() });
        let digest = |share| manifest(&web, share, MARKS).digest;
        assert_eq!(digest(share(3)), digest(share(3)));
        assert_ne!(digest(share(3)), digest(share(4)));
    }

    #[test]
    fn a_cluster_gets_its_replicas() {
        let web = object("apps/v1", "Deployment", json!({"replicas": 9}));
        assert_eq!(field(&web, Share { before: 3, own: 4, total: 9, start: 0 }, "replicas"), 4);
        let job = object("batch/v1", "Job", json!({"parallelism": 3}));
        let made = manifest(&job, Some(whole(3)), MARKS);
        assert_eq!(made.object["spec"], json!({"parallelism": 3}));
    }

    const fn whole(count: u32) -> Share {
        Share { before: 0, own: count, total: count, start: 0 }
    }

    #[test]
    fn pods_of_a_shared_stateful_set_are_numbered_from_their_clusters_start() {
        let share = |start| Some(Share { before: 0, own: 2, total: 5, start });
        let spec =
            |template: &Value, share| manifest(template, share, MARKS).object["spec"].clone();
        let plain = object("apps/v1", "StatefulSet", json!({"replicas": 5}));
        assert_eq!(spec(&plain, share(0)), json!({"replicas": 2}));
        let later = json!({"replicas": 2, "ordinals": {"start": 3000}});
        assert_eq!(spec(&plain, share(3000)), later);
        let own = json!({"replicas": 5, "ordinals": {"start": 7}});
        let from_seven = object("apps/v1", "StatefulSet", own);
        assert_eq!(spec(&from_seven, share(0))["ordinals"]["start"], 7);
        assert_eq!(spec(&from_seven, share(1000))["ordinals"]["start"], 1007);
        let web = object("apps/v1", "Deployment", json!({"replicas": 5}));
        assert_eq!(spec(&web, share(1000)), json!({"replicas": 2}));
    }

    #[test]
    fn a_job_is_divided_without_remainder_and_a_work_queue_stays_one() {
        let job = object("batch/v1", "Job", json!({"parallelism": 5, "completions": 23}));
        let list = shares(5, &[1, 3, 1]);
        let sum = |name: &str| list.iter().map(|share| field(&job, *share, name)).sum::<u64>();
        assert_eq!((sum("parallelism"), sum("completions")), (5, 23));
        assert!(list.iter().all(|share| field(&job, *share, "completions") >= 4));
        assert_eq!(field(&job, whole(5), "completions"), 23);
        let queue = object("batch/v1", "Job", json!({"parallelism": 5}));
        let made = manifest(&queue, Some(list[1]), MARKS);
        assert_eq!(made.object["spec"], json!({"parallelism": 3}));
        // What is scaled later is divided as it was at first.
        let more = object("batch/v1", "Job", json!({"parallelism": 10, "completions": 23}));
        let parts: Vec<u64> =
            list.iter().map(|share| field(&more, *share, "parallelism")).collect();
        assert_eq!(parts, [2, 6, 2]);
        assert_eq!(field(&more, list[1], "completions"), field(&job, list[1], "completions"));
    }

    #[test]
    fn autoscaler_bounds_are_divided_with_the_replicas() {
        let scaler = object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"minReplicas": 3, "maxReplicas": 10}),
        );
        let list = shares(6, &[1, 2, 3]);
        let sum = |name: &str| list.iter().map(|share| field(&scaler, *share, name)).sum::<u64>();
        assert_eq!(sum("maxReplicas"), 10);
        assert!(list.iter().all(|share| field(&scaler, *share, "minReplicas") >= 1));
    }

    #[test]
    fn a_budget_never_forbids_every_disruption() {
        let budget = object("policy/v1", "PodDisruptionBudget", json!({"minAvailable": 2}));
        for share in shares(3, &[1, 1, 1]) {
            assert_eq!(field(&budget, share, "minAvailable"), 0);
        }
        let percent = object("policy/v1", "PodDisruptionBudget", json!({"minAvailable": "50%"}));
        let made = manifest(&percent, Some(Share { own: 1, total: 3, ..Share::default() }), MARKS);
        assert_eq!(made.object["spec"]["minAvailable"], "50%");
    }
}
