//! Walks the tree of an expression.

use std::{collections::BTreeMap, sync::Arc};

use kube_cel::cel::{
    IdedExpr,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, MapExpr, SelectExpr,
        operators as op,
    },
};

use regex::Regex;

use super::{Budget, CelError, Datum, datum::VALUE_BYTES, functions, operators};

/// The value of an expression.
pub(super) fn run<'a>(
    expression: &'a IdedExpr,
    names: &[(&'static str, Datum)],
    budget: &'a mut Budget,
) -> Result<Datum, CelError> {
    let scope = names.iter().map(|(name, value)| (*name, value.clone())).collect();
    Run { scope, budget, patterns: BTreeMap::new() }.value(expression)
}

/// An evaluation under way.
pub(super) struct Run<'a> {
    scope: Vec<(&'a str, Datum)>,
    pub(super) budget: &'a mut Budget,
    /// Patterns that were made already.
    pub(super) patterns: BTreeMap<String, Regex>,
}

impl<'a> Run<'a> {
    pub(super) fn value(&mut self, node: &'a IdedExpr) -> Result<Datum, CelError> {
        self.budget.spend(1)?;
        match &node.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let mut items = Vec::with_capacity(list.elements.len());
                for (at, element) in list.elements.iter().enumerate() {
                    let value = self.value(element)?;
                    match value {
                        Datum::Optional(inner) if list.optional_indices.contains(&at) => {
                            items.extend(inner.map(|inner| (*inner).clone()));
                        }
                        value => items.push(value),
                    }
                }
                self.budget.make(items.len() * VALUE_BYTES)?;
                Ok(Datum::list(items))
            }
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(each) => self.each(each),
            Expr::Struct(_) => Err(CelError::NotServed("messages")),
            Expr::Unspecified => Err(CelError::Syntax("an empty expression".to_owned())),
        }
    }

    fn literal(&mut self, literal: &LiteralValue) -> Result<Datum, CelError> {
        Ok(match literal {
            LiteralValue::Boolean(value) => Datum::Bool(*value.inner()),
            LiteralValue::Double(value) => Datum::Double(*value.inner()),
            LiteralValue::Int(value) => Datum::Int(*value.inner()),
            LiteralValue::Null => Datum::Null,
            LiteralValue::String(text) => {
                self.budget.make(text.inner().len())?;
                Datum::text(text.inner())
            }
            LiteralValue::UInt(_) => return Err(CelError::NotServed("unsigned numbers")),
            LiteralValue::Bytes(_) => return Err(CelError::NotServed("bytes")),
        })
    }

    fn name(&mut self, name: &str) -> Result<Datum, CelError> {
        self.budget.spend(self.scope.len())?;
        let found = self.scope.iter().rev().find(|(bound, _)| *bound == name);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| CelError::UnknownName(name.to_owned(), String::new()))
    }

    fn select(&mut self, select: &'a SelectExpr) -> Result<Datum, CelError> {
        let operand = self.value(&select.operand)?;
        if select.test {
            return Ok(Datum::Bool(match &operand {
                Datum::Map(entries) => entries.contains_key(select.field.as_str()),
                Datum::Optional(None) => false,
                Datum::Optional(Some(inner)) => match &**inner {
                    Datum::Map(entries) => entries.contains_key(select.field.as_str()),
                    other => return Err(operators::type_error("has()", &[other])),
                },
                other => return Err(operators::type_error("has()", &[other])),
            }));
        }
        operators::index(&operand, &Datum::text(&select.field), false)
    }

    fn map(&mut self, map: &'a MapExpr) -> Result<Datum, CelError> {
        let mut entries = BTreeMap::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(CelError::NotServed("messages"));
            };
            let key = match self.value(&entry.key)? {
                Datum::Text(key) => key,
                other => return Err(operators::type_error("a key of a map", &[&other])),
            };
            let value = self.value(&entry.value)?;
            self.budget.make(2 * VALUE_BYTES)?;
            match value {
                Datum::Optional(inner) if entry.optional => {
                    if let Some(inner) = inner {
                        entries.insert(key, (*inner).clone());
                    }
                }
                value => {
                    entries.insert(key, value);
                }
            }
        }
        Ok(Datum::Map(Arc::new(entries)))
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Datum, CelError> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (op::CONDITIONAL, [condition, yes, no]) => {
                if self.truth(condition)? {
                    self.value(yes)
                } else {
                    self.value(no)
                }
            }
            (op::LOGICAL_AND, [left, right]) => self.either(left, right, false),
            (op::LOGICAL_OR, [left, right]) => self.either(left, right, true),
            (op::LOGICAL_NOT, [operand]) => Ok(Datum::Bool(!self.truth(operand)?)),
            (op::NOT_STRICTLY_FALSE, [operand]) => match self.tried(operand) {
                Err(error) if error.is_final() => Err(error),
                result => Ok(Datum::Bool(result.unwrap_or(true))),
            },
            (op::NEGATE, [operand]) => operators::negate(&self.value(operand)?),
            (op::INDEX, [left, right]) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                operators::index(&left, &right, false)
            }
            (op::OPT_INDEX | op::OPT_SELECT, [left, right]) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                operators::index(&left, &right, true)
            }
            (name, [left, right]) if operators::is_binary(name) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                operators::binary(name, &left, &right, self.budget)
            }
            _ => functions::call(self, call),
        }
    }

    fn truth(&mut self, node: &'a IdedExpr) -> Result<bool, CelError> {
        match self.value(node)? {
            Datum::Bool(value) => Ok(value),
            other => Err(operators::type_error("a condition", &[&other])),
        }
    }

    /// As [`Self::truth`], for callers that go on after an error: names of loops that it ended are
    /// taken back.
    fn tried(&mut self, node: &'a IdedExpr) -> Result<bool, CelError> {
        let base = self.scope.len();
        let result = self.truth(node);
        self.scope.truncate(base);
        result
    }

    /// `&&` and `||`: the side that decides (false, true) wins over an error of the other.
    fn either(
        &mut self,
        left: &'a IdedExpr,
        right: &'a IdedExpr,
        decides: bool,
    ) -> Result<Datum, CelError> {
        let first = self.tried(left);
        match first {
            Ok(value) if value == decides => return Ok(Datum::Bool(decides)),
            Err(error) if error.is_final() => return Err(error),
            _ => {}
        }
        let second = self.truth(right)?;
        if second == decides {
            return Ok(Datum::Bool(decides));
        }
        first.map(|_| Datum::Bool(!decides))
    }

    /// A loop: the macros all, exists, exists_one, map and filter.
    fn each(&mut self, each: &'a ComprehensionExpr) -> Result<Datum, CelError> {
        let range = match self.value(&each.iter_range)? {
            Datum::List(items) => items,
            Datum::Map(entries) => {
                self.budget.make(entries.len() * VALUE_BYTES)?;
                Arc::new(entries.keys().map(|key| Datum::Text(Arc::clone(key))).collect())
            }
            other => return Err(operators::type_error("a loop", &[&other])),
        };
        if let Some((condition, element)) = appended(each) {
            return self.collect(&each.iter_var, &range, condition, element);
        }
        let start = self.value(&each.accu_init)?;
        let base = self.scope.len();
        self.scope.push((&each.accu_var, start));
        self.scope.push((&each.iter_var, Datum::Null));
        for item in range.iter() {
            if !self.truth(&each.loop_cond)? {
                break;
            }
            self.scope[base + 1].1 = item.clone();
            let next = self.value(&each.loop_step)?;
            self.scope[base].1 = next;
        }
        let result = self.value(&each.result);
        self.scope.truncate(base);
        result
    }

    /// A loop that makes a list: one entry at a time, without a copy of the list at each turn.
    fn collect(
        &mut self,
        name: &'a str,
        range: &[Datum],
        condition: Option<&'a IdedExpr>,
        element: &'a IdedExpr,
    ) -> Result<Datum, CelError> {
        let mut items = Vec::new();
        let base = self.scope.len();
        self.scope.push((name, Datum::Null));
        for item in range {
            self.budget.spend(1)?;
            self.scope[base].1 = item.clone();
            if let Some(condition) = condition
                && !self.truth(condition)?
            {
                continue;
            }
            let value = self.value(element)?;
            self.budget.make(VALUE_BYTES)?;
            items.push(value);
        }
        self.scope.truncate(base);
        Ok(Datum::list(items))
    }
}

/// What map and filter put at the end of their list at each turn, and under which condition.
fn appended(each: &ComprehensionExpr) -> Option<(Option<&IdedExpr>, &IdedExpr)> {
    let is_list =
        |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if *name == each.accu_var);
    let starts_empty = matches!(&each.accu_init.expr, Expr::List(list) if list.elements.is_empty());
    if !starts_empty || !is_list(&each.result) {
        return None;
    }
    let (condition, step) = match &each.loop_step.expr {
        Expr::Call(call) if call.func_name == op::CONDITIONAL => match call.args.as_slice() {
            [condition, step, other] if is_list(other) => (Some(condition), step),
            _ => return None,
        },
        _ => (None, &each.loop_step),
    };
    let Expr::Call(call) = &step.expr else {
        return None;
    };
    match call.args.as_slice() {
        [list, more] if call.func_name == op::ADD && is_list(list) => match &more.expr {
            Expr::List(more) if more.optional_indices.is_empty() => {
                match more.elements.as_slice() {
                    [element] => Some((condition, element)),
                    _ => None,
                }
            }
            _ => None,
        },
        _ => None,
    }
}
