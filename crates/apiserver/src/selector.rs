//! Label and field selectors.

use crate::{catalog::Kind, failure::Failure, store::Object};

/// What an object must look like to be listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

#[derive(Clone, Debug)]
struct FieldRequirement {
    field: Field,
    value: String,
    equal: bool,
}

#[derive(Clone, Debug)]
enum Field {
    Name,
    Namespace,
    /// Position among the kind's selectable fields.
    Indexed(usize),
}

impl Selector {
    pub(crate) fn parse(
        kind: &Kind,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            labels: parse_labels(labels.unwrap_or_default())?,
            fields: parse_fields(kind, fields.unwrap_or_default())?,
        })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// `key` is the object's place in its resource: `namespace/name`.
    pub(crate) fn matches(&self, key: &str, object: &Object) -> bool {
        self.labels.iter().all(|one| one.matches(object))
            && self.fields.iter().all(|one| one.matches(key, object))
    }
}

impl Requirement {
    fn matches(&self, object: &Object) -> bool {
        let value = object.label(&self.key);
        let among =
            |list: &[String]| value.is_some_and(|value| list.iter().any(|one| one == value));
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(list) => among(list),
            Test::NotIn(list) => !among(list),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Above(bound) => number().is_some_and(|number| number > *bound),
            Test::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, key: &str, object: &Object) -> bool {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let value = match self.field {
            Field::Name => name,
            Field::Namespace => namespace,
            Field::Indexed(index) => object.field(index),
        };
        (value == self.value) == self.equal
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, Failure> {
    split(text)
        .into_iter()
        .map(|part| {
            parse_label(part).ok_or_else(|| {
                Failure::bad_request(format!("unable to parse requirement: {part:?}"))
            })
        })
        .collect()
}

fn parse_label(part: &str) -> Option<Requirement> {
    let make = |key: &str, test: Test| {
        let key = key.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (!key.is_empty() && key.chars().all(plain))
            .then(|| Requirement { key: key.to_owned(), test })
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Test::NotIn(one(value)));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Test::In(one(value)));
    }
    if let Some((key, rest)) = part.trim().split_once(char::is_whitespace) {
        let rest = rest.trim();
        let list = |word: &str| -> Option<Vec<String>> {
            let inner = rest.strip_prefix(word)?.trim();
            let inner = inner.strip_prefix('(')?.strip_suffix(')')?;
            Some(inner.split(',').map(|one| one.trim().to_owned()).collect())
        };
        if let Some(values) = list("notin") {
            return make(key, Test::NotIn(values));
        }
        if let Some(values) = list("in") {
            return make(key, Test::In(values));
        }
    }
    if let Some((key, value)) = part.split_once('>') {
        return make(key, Test::Above(value.trim().parse().ok()?));
    }
    if let Some((key, value)) = part.split_once('<') {
        return make(key, Test::Below(value.trim().parse().ok()?));
    }
    match part.trim().strip_prefix('!') {
        Some(key) => make(key, Test::Absent),
        None => make(part, Test::Exists),
    }
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<FieldRequirement>, Failure> {
    split(text)
        .into_iter()
        .map(|part| {
            let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (path, value, true)
            } else {
                let text = format!("invalid selector: {part:?}; can't understand {part:?}");
                return Err(Failure::bad_request(text));
            };
            let field = match path.trim() {
                "metadata.name" => Field::Name,
                "metadata.namespace" => Field::Namespace,
                path => {
                    let index = kind.fields.iter().position(|known| known == path);
                    Field::Indexed(
                        index.ok_or_else(|| Failure::bad_request(unsupported(kind, path)))?,
                    )
                }
            };
            Ok(FieldRequirement { field, value: value.trim().to_owned(), equal })
        })
        .collect()
}

fn unsupported(kind: &Kind, path: &str) -> String {
    if kind.fields.is_empty() && kind.custom.is_none() {
        return format!(
            "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }
    format!("field label not supported: {path}")
}

/// Splits at commas that are not inside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::Catalog;

    fn select(labels: &str, fields: &str) -> bool {
        let catalog = Catalog::default();
        let pods = catalog.find("", "v1", "pods").unwrap();
        let pod = json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "tier": "2"}},
            "spec": {"nodeName": "n1"},
        });
        let object = Object::load(Some(pods), 1, pod.to_string().into());
        Selector::parse(pods, Some(labels), Some(fields)).unwrap().matches("shop/web", &object)
    }

    #[test]
    fn label_requirements_read_as_documented() {
        for yes in [
            "",
            "app",
            "app=web",
            "app==web,tier!=3",
            "app in (api, web),!gone",
            "tier notin (3,4)",
            "tier>1",
            "tier<3",
            "gone!=x",
        ] {
            assert!(select(yes, ""), "{yes}");
        }
        for no in ["gone", "!app", "app=api", "app notin (web)", "tier>2", "gone in (a)"] {
            assert!(!select(no, ""), "{no}");
        }
    }

    #[test]
    fn field_requirements_use_the_kinds_own_fields() {
        assert!(select("", "metadata.name=web,spec.nodeName=n1,status.phase!=Failed"));
        assert!(!select("", "spec.nodeName=n2"));
        assert!(!select("", "metadata.namespace=other"));
    }
}
