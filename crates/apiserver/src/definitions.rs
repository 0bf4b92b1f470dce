//! The definitions of the built-in kinds, one line each in `data/schema.json`, parsed when a
//! request touches them. Shared by all servers of a process.

use std::{collections::BTreeMap, sync::OnceLock};

use crate::schema::Schema;

/// The prefix of a reference inside the definitions.
pub(crate) const REFERENCE: &str = "#/components/schemas/";
/// The definition of `metadata`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

#[derive(Debug)]
struct Definition {
    text: &'static str,
    schema: OnceLock<Schema>,
}

/// The text of a definition, as OpenAPI v3.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    index().get(name).map(|definition| definition.text)
}

/// The schema of a definition. An unknown name is a schema that accepts anything.
pub(crate) fn schema(name: &str) -> &'static Schema {
    static ANYTHING: OnceLock<Schema> = OnceLock::new();
    let Some(definition) = index().get(name) else {
        return ANYTHING.get_or_init(Schema::anything);
    };
    definition.schema.get_or_init(|| {
        let value = serde_json::from_str(definition.text)
            .expect("the shipped definitions are JSON, one a line");
        match name.rsplit('.').next() {
            Some("Quantity") => Schema::quantity(),
            Some("Time" | "MicroTime") => Schema::time(),
            _ => Schema::built_in(&value),
        }
    })
}

/// Splits a file of one `"name":{...}` a line.
pub(crate) fn lines(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    file.lines().filter_map(|line| {
        let (name, text) = line.strip_prefix('"')?.split_once("\":")?;
        Some((name, text.strip_suffix(',').unwrap_or(text)))
    })
}

fn index() -> &'static BTreeMap<&'static str, Definition> {
    static INDEX: OnceLock<BTreeMap<&'static str, Definition>> = OnceLock::new();
    INDEX.get_or_init(|| {
        lines(include_str!("../data/schema.json"))
            .map(|(name, text)| {
                let schema = OnceLock::new();
                (name, Definition { text, schema })
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_parses_and_every_reference_leads_somewhere() {
        for (name, definition) in index() {
            let _ = schema(name);
            for reference in definition.text.split(REFERENCE).skip(1) {
                let target = reference.split('"').next().unwrap();
                assert!(text(target).is_some(), "{name} refers to {target}");
            }
        }
    }
}
