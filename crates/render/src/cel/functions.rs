//! The functions of expressions: those of CEL and its string, list and math libraries that make
//! sense for objects. Each states what it reads and makes before it does.

use std::cmp::Ordering;

use kube_cel::cel::common::ast::{CallExpr, Expr};
use regex::RegexBuilder;

use super::{
    CelError, Datum,
    datum::VALUE_BYTES,
    evaluate::Run,
    operators::{compare, type_error},
};

/// Bytes of a pattern, and of what it is made into.
const PATTERN_BYTES: usize = 256;
const PATTERN_SIZE: usize = 1 << 16;
/// Steps that making a pattern costs.
const PATTERN_STEPS: usize = 10_000;

/// The library of a call such as `math.least(a, b)`.
pub(super) fn module(call: &CallExpr) -> Option<&'static str> {
    match &call.target.as_deref()?.expr {
        Expr::Ident(name) if name == "math" => Some("math"),
        Expr::Ident(name) if name == "optional" => Some("optional"),
        _ => None,
    }
}

/// Whether there is a function of this name with so many arguments.
pub(super) fn is_known(call: &CallExpr) -> bool {
    let name = call.func_name.as_str();
    match (module(call), call.target.is_some(), call.args.len()) {
        (Some("math"), _, count) => matches!(name, "greatest" | "least") && count > 0,
        (Some(_), _, 1) => name == "of",
        (Some(_), _, 0) => name == "none",
        (None, false, 1) => matches!(name, "size" | "string" | "int" | "double"),
        (None, true, 0) => matches!(
            name,
            "size"
                | "sum"
                | "min"
                | "max"
                | "distinct"
                | "flatten"
                | "join"
                | "lowerAscii"
                | "upperAscii"
                | "trim"
                | "hasValue"
                | "value"
        ),
        (None, true, 1) => matches!(
            name,
            "startsWith"
                | "endsWith"
                | "contains"
                | "matches"
                | "indexOf"
                | "substring"
                | "split"
                | "join"
                | "orValue"
                | "or"
        ),
        (None, true, 2) => matches!(name, "replace" | "substring"),
        _ => false,
    }
}

/// The value of a function.
pub(super) fn call<'a>(run: &mut Run<'a>, call: &'a CallExpr) -> Result<Datum, CelError> {
    let name = call.func_name.as_str();
    let module = module(call);
    let this = match call.target.as_deref().filter(|_| module.is_none()) {
        Some(target) => Some(run.value(target)?),
        None => None,
    };
    // The alternative of an optional is evaluated only where it is needed.
    if let (Some(Datum::Optional(inner)), "orValue" | "or", [other]) =
        (&this, name, call.args.as_slice())
    {
        return match (inner, name) {
            (Some(inner), "orValue") => Ok((**inner).clone()),
            (Some(_), _) => Ok(Datum::Optional(inner.clone())),
            (None, _) => run.value(other),
        };
    }
    let mut arguments = Vec::with_capacity(call.args.len());
    for argument in &call.args {
        arguments.push(run.value(argument)?);
    }
    if module == Some("math") {
        let wanted = if name == "least" { Ordering::Less } else { Ordering::Greater };
        return extreme(run, name, &arguments, wanted);
    }
    match (module, name, this.as_ref(), arguments.as_slice()) {
        (Some(_), "of", None, [value]) => Ok(Datum::Optional(Some(value.clone().into()))),
        (Some(_), "none", None, []) => Ok(Datum::Optional(None)),
        (None, "size", Some(value), []) | (None, "size", None, [value]) => size(run, value),
        (None, "string" | "int" | "double", None, [value]) => convert(run, name, value),
        (None, _, Some(Datum::Text(text)), arguments) => string(run, name, text, arguments),
        (None, _, Some(Datum::List(items)), arguments) => list(run, name, items, arguments),
        (None, "hasValue", Some(Datum::Optional(inner)), []) => Ok(Datum::Bool(inner.is_some())),
        (None, "value", Some(Datum::Optional(inner)), []) => match inner {
            Some(inner) => Ok((**inner).clone()),
            None => Err(CelError::Missing("value".to_owned())),
        },
        (_, _, this, arguments) => Err(wrong(name, this, arguments)),
    }
}

fn wrong(name: &str, this: Option<&Datum>, arguments: &[Datum]) -> CelError {
    let all: Vec<&Datum> = this.into_iter().chain(arguments).collect();
    type_error(&format!("{name}()"), &all)
}

fn size(run: &mut Run<'_>, value: &Datum) -> Result<Datum, CelError> {
    let count = match value {
        Datum::Text(text) => {
            run.budget.read(text.len())?;
            text.chars().count()
        }
        Datum::List(items) => items.len(),
        Datum::Map(entries) => entries.len(),
        other => return Err(type_error("size()", &[other])),
    };
    Ok(Datum::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn convert(run: &mut Run<'_>, name: &str, value: &Datum) -> Result<Datum, CelError> {
    if let Datum::Text(text) = value {
        run.budget.read(text.len())?;
    }
    let wrong = || wrong(name, None, std::slice::from_ref(value));
    let text = match value {
        Datum::Text(text) => text.to_string(),
        Datum::Int(number) => number.to_string(),
        Datum::Double(number) if name == "int" => format!("{:.0}", number.trunc()),
        Datum::Double(number) => number.to_string(),
        Datum::Bool(value) if name == "string" => value.to_string(),
        _ => return Err(wrong()),
    };
    match name {
        "string" => {
            run.budget.make(text.len())?;
            Ok(Datum::text(&text))
        }
        "int" => text.parse().map(Datum::Int).map_err(|_| wrong()),
        _ => text.parse().map(Datum::Double).map_err(|_| wrong()),
    }
}

/// The value that is before (or after) all others.
fn extreme(
    run: &mut Run<'_>,
    name: &str,
    values: &[Datum],
    wanted: Ordering,
) -> Result<Datum, CelError> {
    let mut best: Option<&Datum> = None;
    for value in values {
        run.budget.spend(1)?;
        let other = best.unwrap_or(value);
        let order = compare(value, other, run.budget)?;
        let order = order.ok_or_else(|| type_error(&format!("{name}()"), &[value, other]))?;
        if best.is_none() || order == wanted {
            best = Some(value);
        }
    }
    best.cloned().ok_or_else(|| CelError::Missing(format!("{name} of an empty list")))
}

fn list(
    run: &mut Run<'_>,
    name: &str,
    items: &[Datum],
    arguments: &[Datum],
) -> Result<Datum, CelError> {
    run.budget.spend(items.len())?;
    match (name, arguments) {
        ("min", []) => extreme(run, name, items, Ordering::Less),
        ("max", []) => extreme(run, name, items, Ordering::Greater),
        ("sum", []) => sum(items),
        ("distinct", []) => distinct(run, items),
        ("flatten", []) => {
            let mut all = Vec::new();
            for item in items {
                let Datum::List(inner) = item else {
                    return Err(type_error("flatten()", &[item]));
                };
                run.budget.make(inner.len() * VALUE_BYTES)?;
                all.extend(inner.iter().cloned());
            }
            Ok(Datum::list(all))
        }
        ("join", [] | [Datum::Text(_)]) => {
            let between = match arguments {
                [Datum::Text(text)] => text,
                _ => "",
            };
            let mut text = String::new();
            for (at, item) in items.iter().enumerate() {
                let Datum::Text(item) = item else {
                    return Err(type_error("join()", &[item]));
                };
                run.budget.make(item.len() + between.len())?;
                if at > 0 {
                    text.push_str(between);
                }
                text.push_str(item);
            }
            Ok(Datum::text(&text))
        }
        _ => Err(wrong(name, Some(&Datum::list(Vec::new())), arguments)),
    }
}

fn string(
    run: &mut Run<'_>,
    name: &str,
    text: &str,
    arguments: &[Datum],
) -> Result<Datum, CelError> {
    run.budget.read(text.len())?;
    match (name, arguments) {
        ("startsWith", [Datum::Text(other)]) => Ok(Datum::Bool(text.starts_with(&**other))),
        ("endsWith", [Datum::Text(other)]) => Ok(Datum::Bool(text.ends_with(&**other))),
        ("contains", [Datum::Text(other)]) => Ok(Datum::Bool(text.contains(&**other))),
        ("matches", [Datum::Text(pattern)]) => matches(run, text, pattern),
        ("indexOf", [Datum::Text(other)]) => {
            let at = text.find(&**other).and_then(|at| text.get(..at));
            let count =
                at.map_or(-1, |before| i64::try_from(before.chars().count()).unwrap_or(i64::MAX));
            Ok(Datum::Int(count))
        }
        ("substring", [Datum::Int(from)]) => substring(run, text, *from, None),
        ("substring", [Datum::Int(from), Datum::Int(to)]) => substring(run, text, *from, Some(*to)),
        ("replace", [Datum::Text(old), Datum::Text(new)]) => {
            let count = text.matches(&**old).count();
            run.budget.make(text.len().saturating_add(count.saturating_mul(new.len())))?;
            Ok(Datum::text(&text.replace(&**old, new)))
        }
        ("split", [Datum::Text(between)]) => {
            let count = text.matches(&**between).count() + 2;
            run.budget.make(text.len() + count * VALUE_BYTES)?;
            let parts: Vec<Datum> = if between.is_empty() {
                text.chars().map(|part| Datum::text(part.encode_utf8(&mut [0; 4]))).collect()
            } else {
                text.split(&**between).map(Datum::text).collect()
            };
            Ok(Datum::list(parts))
        }
        ("lowerAscii" | "upperAscii" | "trim", []) => {
            run.budget.make(text.len())?;
            Ok(Datum::text(&match name {
                "lowerAscii" => text.to_ascii_lowercase(),
                "upperAscii" => text.to_ascii_uppercase(),
                _ => text.trim().to_owned(),
            }))
        }
        _ => Err(wrong(name, Some(&Datum::text(text)), arguments)),
    }
}

/// The engine takes time in proportion to text and pattern, whatever they are.
fn matches(run: &mut Run<'_>, text: &str, pattern: &str) -> Result<Datum, CelError> {
    if pattern.len() > PATTERN_BYTES {
        return Err(CelError::TooComplex("a pattern of more than 256 bytes"));
    }
    run.budget.spend(text.len().saturating_mul(pattern.len() / 8 + 1) / 8)?;
    if let Some(made) = run.patterns.get(pattern) {
        return Ok(Datum::Bool(made.is_match(text)));
    }
    run.budget.spend(PATTERN_STEPS)?;
    let made = RegexBuilder::new(pattern)
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_SIZE)
        .nest_limit(16)
        .build()
        .map_err(|error| {
            CelError::Syntax(
                format!("the pattern {pattern:?}: {error}").chars().take(256).collect(),
            )
        })?;
    let found = made.is_match(text);
    run.patterns.insert(pattern.to_owned(), made);
    Ok(Datum::Bool(found))
}

fn substring(run: &mut Run<'_>, text: &str, from: i64, to: Option<i64>) -> Result<Datum, CelError> {
    let count = text.chars().count();
    let place = |at: i64| usize::try_from(at).ok().filter(|at| *at <= count);
    let from = place(from).ok_or(CelError::Range("substring()"))?;
    let to = match to {
        Some(to) => place(to).filter(|to| *to >= from).ok_or(CelError::Range("substring()"))?,
        None => count,
    };
    run.budget.make(text.len())?;
    let part: String = text.chars().skip(from).take(to - from).collect();
    Ok(Datum::text(&part))
}

fn sum(items: &[Datum]) -> Result<Datum, CelError> {
    let mut sum = match items.first() {
        Some(Datum::Double(_)) => Datum::Double(0.0),
        _ => Datum::Int(0),
    };
    for item in items {
        sum = match (&sum, item) {
            (Datum::Int(a), Datum::Int(b)) => {
                Datum::Int(a.checked_add(*b).ok_or(CelError::Range("a sum"))?)
            }
            (Datum::Double(a), Datum::Double(b)) => Datum::Double(a + b),
            _ => return Err(type_error("sum()", &[&sum, item])),
        };
    }
    Ok(sum)
}

fn distinct(run: &mut Run<'_>, items: &[Datum]) -> Result<Datum, CelError> {
    let mut found: Vec<Datum> = Vec::new();
    for item in items {
        let mut seen = false;
        for other in &found {
            seen = seen || super::operators::equal(item, other, run.budget)?;
        }
        if !seen {
            run.budget.make(VALUE_BYTES)?;
            found.push(item.clone());
        }
    }
    Ok(Datum::list(found))
}
