//! What is refused before anything runs: deep trees, loops in loops, unknown names and functions.

use kube_cel::cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, LiteralValue, operators},
};

use super::{CelError, functions};

/// Depth of the tree: the evaluation calls itself so often.
const DEPTH: usize = 64;
/// Loops inside loops.
const LOOPS: usize = 3;

/// Checks an expression that may use these names.
pub(super) fn check(expression: &IdedExpr, names: &[&'static str]) -> Result<(), CelError> {
    Check { names, bound: Vec::new() }.visit(expression, 0, 0)
}

struct Check<'a> {
    names: &'a [&'static str],
    bound: Vec<&'a str>,
}

impl<'a> Check<'a> {
    fn visit(&mut self, node: &'a IdedExpr, depth: usize, loops: usize) -> Result<(), CelError> {
        if depth > DEPTH {
            return Err(CelError::TooComplex("more than 64 parts inside parts"));
        }
        let below = depth + 1;
        match &node.expr {
            Expr::Unspecified => Err(CelError::Syntax("an empty expression".to_owned())),
            Expr::Struct(_) => Err(CelError::NotServed("messages")),
            Expr::Literal(LiteralValue::UInt(_)) => Err(CelError::NotServed("unsigned numbers")),
            Expr::Literal(LiteralValue::Bytes(_)) => Err(CelError::NotServed("bytes")),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.visit(&select.operand, below, loops),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|item| self.visit(item, below, loops))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, below, loops)?;
                    self.visit(&entry.value, below, loops)
                }
                EntryExpr::StructField(_) => Err(CelError::NotServed("messages")),
            }),
            Expr::Call(call) => {
                let target = call.target.as_deref();
                let module = functions::module(call);
                if !is_operator(&call.func_name) && !functions::is_known(call) {
                    let shown = module.map_or_else(String::new, |module| format!("{module}."));
                    return Err(CelError::UnknownFunction(format!("{shown}{}", call.func_name)));
                }
                if let Some(target) = target.filter(|_| module.is_none()) {
                    self.visit(target, below, loops)?;
                }
                call.args.iter().try_for_each(|argument| self.visit(argument, below, loops))
            }
            Expr::Comprehension(each) => {
                if loops == LOOPS {
                    return Err(CelError::TooComplex("more than 3 loops inside loops"));
                }
                if each.iter_var2.is_some() {
                    return Err(CelError::NotServed("loops with two names"));
                }
                self.visit(&each.iter_range, below, loops)?;
                self.visit(&each.accu_init, below, loops)?;
                self.bound.push(&each.iter_var);
                self.bound.push(&each.accu_var);
                self.visit(&each.loop_cond, below, loops + 1)?;
                self.visit(&each.loop_step, below, loops + 1)?;
                self.visit(&each.result, below, loops + 1)?;
                self.bound.truncate(self.bound.len() - 2);
                Ok(())
            }
        }
    }

    fn name(&self, name: &str) -> Result<(), CelError> {
        if self.names.contains(&name) || self.bound.contains(&name) {
            return Ok(());
        }
        Err(CelError::UnknownName(name.to_owned(), self.names.join(", ")))
    }
}

fn is_operator(name: &str) -> bool {
    matches!(
        name,
        operators::CONDITIONAL
            | operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::SUBSTRACT
            | operators::ADD
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::GREATER_EQUALS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::LESS
            | operators::NEGATE
            | operators::INDEX
            | operators::OPT_INDEX
            | operators::OPT_SELECT
            | operators::NOT_STRICTLY_FALSE
            | operators::IN
    )
}
