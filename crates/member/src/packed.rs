//! A value kept as the bytes of its JSON: a fraction of what its tree of maps takes. There are
//! hundreds of thousands of statuses, and each is looked at seldom.

use std::sync::Arc;

use serde_json::Value;

/// A JSON value in few bytes. A clone shares them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Packed(Option<Arc<[u8]>>);

impl Packed {
    /// Packs a value.
    pub fn of(value: &Value) -> Self {
        let bytes = || serde_json::to_vec(value).expect("a JSON value can be written").into();
        Self((!value.is_null()).then(bytes))
    }

    /// The value; null where nothing was packed.
    pub fn value(&self) -> Value {
        let parsed = self.0.as_ref().map(|bytes| serde_json::from_slice(bytes));
        parsed.map_or(Value::Null, |value| value.expect("what was written as JSON can be read"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_comes_out_as_it_went_in() {
        for value in [json!({"a": [1, null, "x"], "b": {}}), Value::Null, json!(7)] {
            assert_eq!(Packed::of(&value).value(), value);
        }
        assert_eq!(Packed::default().value(), Value::Null);
        assert_eq!(Packed::of(&Value::Null), Packed::default());
    }
}
