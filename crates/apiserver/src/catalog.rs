//! The resources that a server knows: the built-in ones from `data/resources.json`, shared by all
//! servers of the process, and those that its CRDs add. It knows no requests.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use crate::{crd::Custom, definitions, discovery::Documents, schema::Schema, table::Column};

/// One resource in one version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "traits of a resource in Kubernetes' own names, read from a table"
)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    #[serde(default)]
    pub(crate) singular: String,
    #[serde(default)]
    pub(crate) short: Vec<String>,
    #[serde(default)]
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    #[serde(default)]
    definition: String,
    /// The name of the place in the store; two resources may share one.
    #[serde(default, deserialize_with = "shared_text")]
    pub(crate) storage: Arc<str>,
    /// Has a status subresource.
    #[serde(default)]
    pub(crate) status: bool,
    /// Counts changes of the desired state in `metadata.generation`.
    #[serde(default)]
    pub(crate) generation: bool,
    #[serde(default)]
    pub(crate) generation_on_annotations: bool,
    /// Further subresources that write the whole object, with their own names.
    #[serde(default)]
    pub(crate) status_like: Vec<String>,
    /// Subresources that act instead of being written.
    #[serde(default)]
    pub(crate) actions: Vec<String>,
    pub(crate) scale: Option<ScalePaths>,
    /// Paths for field selectors beside name and namespace.
    #[serde(default)]
    pub(crate) fields: Vec<String>,
    /// Paths whose value never changes.
    #[serde(default)]
    pub(crate) immutable: Vec<String>,
    /// A PUT of an absent object creates it.
    #[serde(default)]
    pub(crate) create_on_update: bool,
    /// Is asked and answered, and never stored.
    #[serde(default)]
    pub(crate) review: bool,
    /// Deletion waits for a node to let go.
    #[serde(default)]
    pub(crate) grace: bool,
    #[serde(default)]
    pub(crate) columns: Vec<Column>,
    /// The table of this kind does not begin with the name.
    #[serde(default)]
    pub(crate) nameless: bool,
    #[serde(skip)]
    api_version: String,
    #[serde(skip)]
    pub(crate) custom: Option<Custom>,
}

/// Where an object keeps what the scale subresource shows: desired, observed, selector.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ScalePaths(
    pub(crate) String,
    pub(crate) String,
    #[serde(default)] pub(crate) String,
);

/// All resources of one server at one time.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    custom: Vec<Arc<Kind>>,
    documents: Documents,
}

impl Kind {
    /// A resource of a CRD.
    pub(crate) fn of_custom(custom: Custom, row: serde_json::Value) -> serde_json::Result<Self> {
        let mut kind: Self = serde_json::from_value(row)?;
        kind.custom = Some(custom);
        kind.complete();
        Ok(kind)
    }

    pub(crate) fn schema(&self) -> &Schema {
        match &self.custom {
            Some(custom) => &custom.schema,
            None => definitions::schema(&self.definition),
        }
    }

    /// The name of the definition, for built-in kinds.
    pub(crate) fn definition(&self) -> Option<&str> {
        self.custom.is_none().then_some(self.definition.as_str())
    }

    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self) -> &str {
        &self.api_version
    }

    pub(crate) fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind.clone(),
            None => format!("{}List", self.kind),
        }
    }

    /// All subresources, as discovery lists them.
    pub(crate) fn subresources(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        if self.status {
            names.push("status");
        }
        if self.scale.is_some() {
            names.push("scale");
        }
        names.extend(self.status_like.iter().map(String::as_str));
        names.extend(self.actions.iter().map(String::as_str));
        names.sort_unstable();
        names
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    fn complete(&mut self) {
        self.api_version = group_version(&self.group, &self.version);
        if self.singular.is_empty() {
            self.singular = self.kind.to_lowercase();
        }
        if self.storage.is_empty() {
            self.storage = if self.group.is_empty() {
                self.plural.as_str().into()
            } else {
                format!("{}.{}", self.plural, self.group).into()
            };
        }
    }
}

impl Catalog {
    /// The built-in resources and these.
    pub(crate) const fn with(custom: Vec<Arc<Kind>>) -> Self {
        Self { custom, documents: Documents::new() }
    }

    /// Where its documents of discovery are kept; with built-in resources only they are not its
    /// own.
    pub(crate) fn documents(&self) -> Option<&Documents> {
        (!self.custom.is_empty()).then_some(&self.documents)
    }

    /// In the order of discovery.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        built_in().iter().chain(&self.custom)
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds()
            .find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
    }

    /// Any version of a kind.
    pub(crate) fn by_kind(&self, group: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.kinds().find(|one| one.is(group, kind))
    }

    /// Those that have a place in the store, each place once.
    pub(crate) fn stored(&self) -> Vec<&Arc<Kind>> {
        let mut seen = std::collections::BTreeSet::new();
        self.kinds().filter(|kind| !kind.review && seen.insert(&kind.storage)).collect()
    }

    pub(crate) fn custom(&self) -> &[Arc<Kind>] {
        &self.custom
    }
}

fn shared_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(from).map(Into::into)
}

/// `v1` or `apps/v1`.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The parts of an `apiVersion`.
pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

fn built_in() -> &'static [Arc<Kind>] {
    static BUILT_IN: OnceLock<Vec<Arc<Kind>>> = OnceLock::new();
    BUILT_IN.get_or_init(|| {
        let mut rows: Vec<Kind> = serde_json::from_str(include_str!("../data/resources.json"))
            .expect("the shipped table of resources is valid");
        rows.iter_mut().for_each(Kind::complete);
        rows.into_iter().map(Arc::new).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_kind_has_a_definition_and_its_paths_exist() {
        for kind in Catalog::default().kinds() {
            let definition = kind.definition().unwrap();
            assert!(definitions::text(definition).is_some(), "{definition}");
            for path in kind.fields.iter().chain(&kind.immutable) {
                let names: Vec<&str> = path.split('.').collect();
                // Two selectors are older than the names of their fields.
                if path != "source" && path != "status.successful" {
                    assert!(kind.schema().at(&names).is_some(), "{} {path}", kind.kind);
                }
            }
        }
    }

    #[test]
    fn both_kinds_of_events_share_their_storage() {
        let catalog = Catalog::default();
        let core = catalog.find("", "v1", "events").unwrap();
        let newer = catalog.find("events.k8s.io", "v1", "events").unwrap();
        assert_eq!(core.storage, newer.storage);
    }
}
