//! The dialect of JSONPath that printer columns and `kubectl` use: `{.a.b[0].c[?(@.x=="y")].d}`.

use serde_json::Value;

#[derive(Debug, PartialEq)]
enum Step<'a> {
    Field(&'a str),
    /// All items or values.
    All,
    Index(i64),
    /// Items whose field has this text.
    Filter(&'a str, &'a str),
}

/// The values at a path; none for a path that does not parse.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let path = path.trim().trim_start_matches('{').trim_end_matches('}');
    let Some(steps) = parse(path) else {
        return Vec::new();
    };
    steps.iter().fold(vec![object], |values, step| {
        values.into_iter().flat_map(|value| apply(value, step)).collect()
    })
}

fn apply<'a>(value: &'a Value, step: &Step<'_>) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::All => match value {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        },
        Step::Index(index) => {
            let list = value.as_array().map_or(&[][..], Vec::as_slice);
            let at = if *index < 0 {
                let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
                list.len().checked_sub(back)
            } else {
                usize::try_from(*index).ok()
            };
            at.and_then(|at| list.get(at)).into_iter().collect()
        }
        Step::Filter(field, wanted) => {
            let list = value.as_array().map_or(&[][..], Vec::as_slice);
            let fits = |item: &&Value| {
                let found = find(item, field);
                found.first().is_some_and(|found| match found {
                    Value::String(text) => text == wanted,
                    other => format!("{other}") == **wanted,
                })
            };
            list.iter().filter(fits).collect()
        }
    }
}

fn parse(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path.trim().trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[?(@") {
            let (condition, after) = after.split_once(")]")?;
            let (field, wanted) = condition.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            steps.push(Step::Filter(field.trim(), wanted));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inner, after) = after.split_once(']')?;
            steps.push(match inner.trim() {
                "*" => Step::All,
                inner => match inner.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => Step::Field(inner.trim_matches(['"', '\''])),
                },
            });
            rest = after;
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            // A dot in a name is written with a backslash; such names are looked up as written.
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if name == "*" {
                steps.push(Step::All);
            } else if !name.is_empty() {
                steps.push(Step::Field(name));
            } else if after.is_empty() || !after.starts_with('[') {
                return None;
            }
            rest = after;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns_are_found() {
        let object = json!({
            "spec": {"replicas": 3, "list": [{"name": "a"}, {"name": "b"}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Synced", "status": "False"},
            ]},
            "metadata": {"labels": {"a.b/c": "d"}},
        });
        let text = |path: &str| -> Vec<String> {
            let found = find(&object, path).into_iter();
            found.map(|value| value.to_string().replace('"', "")).collect()
        };
        assert_eq!(text(".spec.replicas"), ["3"]);
        assert_eq!(text("{.spec.list[*].name}"), ["a", "b"]);
        assert_eq!(text(".spec.list[-1].name"), ["b"]);
        assert_eq!(text(r#".status.conditions[?(@.type=="Synced")].status"#), ["False"]);
        assert_eq!(text(".metadata.labels['a.b/c']"), ["d"]);
        assert!(text(".spec.absent.more").is_empty());
    }
}
