//! Schemas of objects: what a field is, how lists and maps merge, what a CRD demands.
//! Built-in definitions and CRD schemas compile into the same form.

use std::{collections::BTreeMap, sync::OnceLock};

use serde_json::Value;

use crate::definitions;

/// One node of a schema.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent marks of the OpenAPI extensions")]
pub(crate) struct Schema {
    pub(crate) shape: Shape,
    pub(crate) list: ListKind,
    /// A map or struct that is owned and replaced as a whole.
    pub(crate) atomic: bool,
    pub(crate) patch: Option<Box<PatchStrategy>>,
    pub(crate) required: Box<[Box<str>]>,
    pub(crate) default: Option<Box<Value>>,
    pub(crate) nullable: bool,
    /// Fields that the schema does not name are kept.
    pub(crate) preserve: bool,
    /// The value is a Kubernetes object of its own.
    pub(crate) embedded: bool,
    /// Comes from a CRD.
    pub(crate) custom: bool,
    pub(crate) limits: Option<Box<Limits>>,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Anything,
    Scalar(Scalar),
    Object {
        properties: BTreeMap<Box<str>, Schema>,
        /// The schema of values whose names are free.
        rest: Option<Box<Schema>>,
    },
    List(Box<Schema>),
    /// Another definition.
    Reference(Box<str>, OnceLock<&'static Schema>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scalar {
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    Quantity,
    Time,
    Bytes,
}

/// How the items of a list are told apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum ListKind {
    #[default]
    Atomic,
    Set,
    Map(Box<[Box<str>]>),
}

/// How strategic merge patches treat a field.
#[derive(Debug)]
pub(crate) struct PatchStrategy {
    pub(crate) merge: bool,
    pub(crate) key: Option<Box<str>>,
}

/// Bounds that a CRD sets on values.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) pattern: Option<String>,
    compiled: OnceLock<Option<regex::Regex>>,
    pub(crate) options: Vec<Value>,
}

#[derive(Clone, Copy)]
enum Origin {
    BuiltIn,
    Custom,
}

impl Schema {
    pub(crate) fn anything() -> Self {
        Self { preserve: true, ..Self::of(Shape::Anything) }
    }

    pub(crate) fn quantity() -> Self {
        Self::of(Shape::Scalar(Scalar::Quantity))
    }

    pub(crate) fn time() -> Self {
        Self::of(Shape::Scalar(Scalar::Time))
    }

    /// A definition of `data/schema.json`.
    pub(crate) fn built_in(value: &Value) -> Self {
        Self::parse(value, Origin::BuiltIn)
    }

    /// The root schema of a CRD version.
    pub(crate) fn custom(value: &Value) -> Self {
        let mut schema = Self::parse(value, Origin::Custom);
        if let Shape::Object { properties, .. } = &mut schema.shape {
            for name in ["apiVersion", "kind"] {
                let text = Self::of(Shape::Scalar(Scalar::String));
                properties.insert(name.into(), text);
            }
            let meta = Shape::Reference(definitions::OBJECT_META.into(), OnceLock::new());
            properties.insert("metadata".into(), Self::of(meta));
        }
        schema
    }

    /// Follows references.
    pub(crate) fn get(&self) -> &Self {
        match &self.shape {
            Shape::Reference(name, target) => {
                target.get_or_init(|| definitions::schema(name)).get()
            }
            _ => self,
        }
    }

    /// The schema of a field of an object; `None` when the schema does not know it.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match &self.get().shape {
            Shape::Object { properties, rest } => properties.get(name).or(rest.as_deref()),
            _ => None,
        }
    }

    /// The schema of a list's items.
    pub(crate) fn items(&self) -> Option<&Self> {
        match &self.get().shape {
            Shape::List(items) => Some(items),
            _ => None,
        }
    }

    /// The schema at a path of field names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |schema, name| schema.field(name))
    }

    /// Whether a map or struct is one value for owners.
    pub(crate) fn is_atomic_map(&self) -> bool {
        self.atomic || self.get().atomic
    }

    fn of(shape: Shape) -> Self {
        Self {
            shape,
            list: ListKind::Atomic,
            atomic: false,
            patch: None,
            required: Box::new([]),
            default: None,
            nullable: false,
            preserve: false,
            embedded: false,
            custom: false,
            limits: None,
        }
    }

    fn parse(value: &Value, origin: Origin) -> Self {
        let mut schema = Self::of(shape(value, origin));
        let flag = |name: &str| value[name].as_bool().unwrap_or(false);
        let texts = |name: &str| -> Box<[Box<str>]> {
            let list = value[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(Into::into).collect()
        };
        schema.list = match value["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map(texts("x-kubernetes-list-map-keys")),
            _ => ListKind::Atomic,
        };
        schema.atomic = value["x-kubernetes-map-type"] == "atomic";
        schema.required = texts("required");
        schema.default = value.get("default").cloned().map(Box::new);
        schema.nullable = flag("nullable");
        schema.preserve =
            flag("x-kubernetes-preserve-unknown-fields") || matches!(schema.shape, Shape::Anything);
        schema.embedded = flag("x-kubernetes-embedded-resource");
        if let Some(strategy) = value["x-kubernetes-patch-strategy"].as_str() {
            schema.patch = Some(Box::new(PatchStrategy {
                merge: strategy.split(',').any(|one| one == "merge"),
                key: value["x-kubernetes-patch-merge-key"].as_str().map(Into::into),
            }));
        }
        if matches!(origin, Origin::Custom) {
            schema.custom = true;
            schema.limits = limits(value).map(Box::new);
        }
        schema
    }
}

impl Limits {
    /// Whether a text matches the pattern; a pattern that does not compile matches everything,
    /// and the CRD's own check has warned of it.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let compile = || regex::Regex::new(self.pattern.as_deref()?).ok();
        let compiled = self.compiled.get_or_init(compile).as_ref();
        compiled.is_none_or(|pattern| pattern.is_match(text))
    }
}

fn shape(value: &Value, origin: Origin) -> Shape {
    let reference = value["$ref"]
        .as_str()
        .or_else(|| value["allOf"][0]["$ref"].as_str())
        .and_then(|target| target.strip_prefix(definitions::REFERENCE));
    if let Some(name) = reference {
        return Shape::Reference(name.into(), OnceLock::new());
    }
    if value["x-kubernetes-int-or-string"] == true || value["format"] == "int-or-string" {
        return Shape::Scalar(Scalar::IntOrString);
    }
    match value["type"].as_str() {
        Some("string") if value["format"] == "byte" && matches!(origin, Origin::BuiltIn) => {
            Shape::Scalar(Scalar::Bytes)
        }
        Some("string") => Shape::Scalar(Scalar::String),
        Some("integer") => Shape::Scalar(Scalar::Integer),
        Some("number") => Shape::Scalar(Scalar::Number),
        Some("boolean") => Shape::Scalar(Scalar::Boolean),
        Some("array") => Shape::List(Box::new(match value.get("items") {
            Some(items) => Schema::parse(items, origin),
            None => Schema::anything(),
        })),
        Some("object") => object(value, origin),
        _ => Shape::Anything,
    }
}

fn object(value: &Value, origin: Origin) -> Shape {
    let named = value["properties"].as_object();
    let free = value.get("additionalProperties");
    if matches!(origin, Origin::BuiltIn) && named.is_none() && free.is_none() {
        return Shape::Anything;
    }
    Shape::Object {
        properties: named
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.as_str().into(), Schema::parse(schema, origin)))
            .collect(),
        rest: match free {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(Box::new(Schema::anything())),
            Some(schema) => Some(Box::new(Schema::parse(schema, origin))),
        },
    }
}

fn limits(value: &Value) -> Option<Limits> {
    let number = |name: &str| value[name].as_f64();
    let count = |name: &str| {
        // schemars writes bounds as floats.
        let exact = value[name].as_u64();
        exact.or_else(|| value[name].as_f64().and_then(whole))
    };
    let flag = |name: &str| value[name].as_bool().unwrap_or(false);
    let limits = Limits {
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        pattern: value["pattern"].as_str().map(str::to_owned),
        compiled: OnceLock::new(),
        options: value["enum"].as_array().cloned().unwrap_or_default(),
    };
    let names = [
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "pattern",
        "enum",
    ];
    names.iter().any(|name| value.get(name).is_some()).then_some(limits)
}

/// A float that stands for a count.
fn whole(number: f64) -> Option<u64> {
    format!("{number:.0}").parse().ok()
}
