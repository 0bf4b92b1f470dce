//! Arithmetic, comparison and access.

use std::cmp::Ordering;

use kube_cel::cel::common::ast::operators as op;

use super::{Budget, CelError, Datum, datum::VALUE_BYTES};

/// Words for an operator that got the wrong types.
pub(super) fn type_error(operator: &str, operands: &[&Datum]) -> CelError {
    let names: Vec<&str> = operands.iter().map(|operand| operand.type_name()).collect();
    CelError::Type { operator: operator.to_owned(), types: names.join(" and ") }
}

/// Whether an operator takes two values that are both evaluated first.
pub(super) fn is_binary(name: &str) -> bool {
    shown(name).is_some()
}

fn shown(name: &str) -> Option<&'static str> {
    Some(match name {
        op::SUBSTRACT => "-",
        op::ADD => "+",
        op::MULTIPLY => "*",
        op::DIVIDE => "/",
        op::MODULO => "%",
        op::EQUALS => "==",
        op::NOT_EQUALS => "!=",
        op::GREATER_EQUALS => ">=",
        op::LESS_EQUALS => "<=",
        op::GREATER => ">",
        op::LESS => "<",
        op::IN => "in",
        _ => return None,
    })
}

/// The value of an operator with two values.
pub(super) fn binary(
    name: &str,
    left: &Datum,
    right: &Datum,
    budget: &mut Budget,
) -> Result<Datum, CelError> {
    let wrong = || type_error(shown(name).unwrap_or(name), &[left, right]);
    match name {
        op::EQUALS => equal(left, right, budget).map(Datum::Bool),
        op::NOT_EQUALS => equal(left, right, budget).map(|same| Datum::Bool(!same)),
        op::IN => contains(right, left, budget)?.map(Datum::Bool).ok_or_else(wrong),
        op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS => {
            let order = compare(left, right, budget)?.ok_or_else(wrong)?;
            Ok(Datum::Bool(match name {
                op::LESS => order == Ordering::Less,
                op::LESS_EQUALS => order != Ordering::Greater,
                op::GREATER => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }))
        }
        op::ADD => add(left, right, budget)?.ok_or_else(wrong),
        _ => arithmetic(name, left, right)?.ok_or_else(wrong),
    }
}

fn add(left: &Datum, right: &Datum, budget: &mut Budget) -> Result<Option<Datum>, CelError> {
    match (left, right) {
        (Datum::Text(a), Datum::Text(b)) => {
            budget.make(a.len() + b.len())?;
            Ok(Some(Datum::text(&format!("{a}{b}"))))
        }
        (Datum::List(a), Datum::List(b)) => {
            budget.make((a.len() + b.len()) * VALUE_BYTES)?;
            Ok(Some(Datum::list(a.iter().chain(b.iter()).cloned().collect())))
        }
        _ => arithmetic(op::ADD, left, right),
    }
}

fn arithmetic(name: &str, left: &Datum, right: &Datum) -> Result<Option<Datum>, CelError> {
    if let (Datum::Int(a), Datum::Int(b)) = (left, right) {
        let (words, result) = match name {
            op::ADD => ("a sum", a.checked_add(*b)),
            op::SUBSTRACT => ("a difference", a.checked_sub(*b)),
            op::MULTIPLY => ("a product", a.checked_mul(*b)),
            op::DIVIDE => ("a quotient", a.checked_div(*b)),
            op::MODULO => ("a remainder", a.checked_rem(*b)),
            _ => return Ok(None),
        };
        return result.map(|value| Some(Datum::Int(value))).ok_or(CelError::Range(words));
    }
    let (Datum::Double(a), Datum::Double(b)) = (left, right) else {
        return Ok(None);
    };
    Ok(Some(Datum::Double(match name {
        op::ADD => a + b,
        op::SUBSTRACT => a - b,
        op::MULTIPLY => a * b,
        op::DIVIDE => a / b,
        _ => return Ok(None),
    })))
}

/// A number with its sign turned.
pub(super) fn negate(operand: &Datum) -> Result<Datum, CelError> {
    match operand {
        Datum::Int(value) => {
            value.checked_neg().map(Datum::Int).ok_or(CelError::Range("a difference"))
        }
        Datum::Double(value) => Ok(Datum::Double(-value)),
        other => Err(type_error("-", &[other])),
    }
}

/// Whether two values are equal; values of different types are not.
pub(super) fn equal(left: &Datum, right: &Datum, budget: &mut Budget) -> Result<bool, CelError> {
    budget.spend(1)?;
    Ok(match (left, right) {
        (Datum::Null, Datum::Null) | (Datum::Optional(None), Datum::Optional(None)) => true,
        (Datum::Bool(a), Datum::Bool(b)) => a == b,
        (Datum::Text(a), Datum::Text(b)) => {
            budget.read(a.len().min(b.len()))?;
            a == b
        }
        (Datum::List(a), Datum::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(a, b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Datum::Map(a), Datum::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((key, a), (other, b)) in a.iter().zip(b.iter()) {
                budget.read(key.len())?;
                if key != other || !equal(a, b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Datum::Optional(Some(a)), Datum::Optional(Some(b))) => equal(a, b, budget)?,
        _ => numbers(left, right) == Some(Ordering::Equal),
    })
}

/// The order of two values of a kind that has one.
pub(super) fn compare(
    left: &Datum,
    right: &Datum,
    budget: &mut Budget,
) -> Result<Option<Ordering>, CelError> {
    if let (Datum::Text(a), Datum::Text(b)) = (left, right) {
        budget.read(a.len().min(b.len()))?;
        return Ok(Some(a.cmp(b)));
    }
    Ok(numbers(left, right))
}

#[expect(clippy::cast_precision_loss, reason = "comparing with a double loses digits in CEL too")]
fn numbers(left: &Datum, right: &Datum) -> Option<Ordering> {
    match (left, right) {
        (Datum::Int(a), Datum::Int(b)) => Some(a.cmp(b)),
        (Datum::Double(a), Datum::Double(b)) => a.partial_cmp(b),
        (Datum::Int(a), Datum::Double(b)) => (*a as f64).partial_cmp(b),
        (Datum::Double(a), Datum::Int(b)) => a.partial_cmp(&(*b as f64)),
        _ => None,
    }
}

fn contains(
    container: &Datum,
    wanted: &Datum,
    budget: &mut Budget,
) -> Result<Option<bool>, CelError> {
    match (container, wanted) {
        (Datum::List(items), wanted) => {
            for item in items.iter() {
                if equal(item, wanted, budget)? {
                    return Ok(Some(true));
                }
            }
            Ok(Some(false))
        }
        (Datum::Map(entries), Datum::Text(key)) => Ok(Some(entries.contains_key(key))),
        (Datum::Map(_), _) => Ok(Some(false)),
        _ => Ok(None),
    }
}

/// The entry of a list or map. Of an optional, or asked for as one, it is an optional.
pub(super) fn index(operand: &Datum, key: &Datum, optional: bool) -> Result<Datum, CelError> {
    if let Datum::Optional(inner) = operand {
        return match inner {
            None => Ok(Datum::Optional(None)),
            Some(inner) => index(inner, key, true),
        };
    }
    let found = match (operand, key) {
        (Datum::Map(entries), Datum::Text(key)) => entries.get(key),
        (Datum::List(items), Datum::Int(at)) => {
            usize::try_from(*at).ok().and_then(|at| items.get(at))
        }
        // What is not written is null in some objects: it has no fields, and is no mistake.
        (Datum::Null, _) if optional => None,
        _ => return Err(type_error("an index", &[operand, key])),
    };
    match (found, optional) {
        (Some(value), false) => Ok(value.clone()),
        (Some(value), true) => Ok(Datum::Optional(Some(value.clone().into()))),
        (None, true) => Ok(Datum::Optional(None)),
        (None, false) => Err(CelError::Missing(match key {
            Datum::Text(key) => key.to_string(),
            other => other.to_json().map(|json| format!("[{json}]")).unwrap_or_default(),
        })),
    }
}
