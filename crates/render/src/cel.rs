//! Expressions of users, in CEL, evaluated within a budget.
//!
//! The parser is that of the `cel` crate. Its evaluator has no limits and panics on some input, so
//! this one is ours: it counts every step and every byte that it makes, and stops. It knows nothing
//! of overrides or interpreters.

mod budget;
mod check;
mod datum;
mod evaluate;
mod functions;
mod operators;
mod scan;

use std::sync::Arc;

use kube_cel::cel::{IdedExpr, parser::Parser};
use serde_json::Value;

pub(crate) use budget::Budget;
pub(crate) use datum::Datum;

/// Bytes of an expression.
const EXPRESSION_BYTES: usize = 4096;
/// Expressions inside expressions, as the parser counts them: each costs it stack.
const PARSER_DEPTH: u16 = 32;
/// Operators and dots: a chain of them is as deep a tree for the parser.
const OPERATORS: usize = 384;

/// Why an expression has no value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CelError {
    /// It is longer than an expression may be.
    #[error("the expression has {0} bytes: write at most 4096")]
    TooLong(usize),
    /// It has more parts, or parts inside parts, than an expression may have.
    #[error("the expression is too complex ({0}): write it in fewer or flatter parts")]
    TooComplex(&'static str),
    /// It cannot be read.
    #[error("the expression cannot be read: {0}")]
    Syntax(String),
    /// It uses a name that it does not have.
    #[error("there is no {0} here: this expression knows {1}")]
    UnknownName(String, String),
    /// It uses a function that is not served.
    #[error("there is no function {0}")]
    UnknownFunction(String),
    /// It uses a part of the language that is not served.
    #[error("{0} are not served")]
    NotServed(&'static str),
    /// A field or an entry is not there.
    #[error("there is no {0}: write .?{0} and orValue(), or ask has() first")]
    Missing(String),
    /// An operator or function got values that it cannot take.
    #[error("{operator} does not take {types}")]
    Type {
        /// The operator or function.
        operator: String,
        /// Types of the values.
        types: String,
    },
    /// The result has another type than is wanted.
    #[error("the result is {found} and should be {wanted}")]
    Result {
        /// What is wanted.
        wanted: &'static str,
        /// What was found, cut to 64 characters.
        found: String,
    },
    /// A number is beyond its range, or divided by zero.
    #[error("{0} is beyond the range of numbers")]
    Range(&'static str),
    /// Its input is larger than an expression may read.
    #[error("the input has more than {0} values")]
    Input(usize),
    /// Its result has values inside values beyond a bound.
    #[error("the result nests more than {0} values")]
    Depth(usize),
    /// It took more steps than an expression may take.
    #[error("the expression took more than {0} steps")]
    Steps(u64),
    /// It made more data than an expression may make.
    #[error("the expression made more than {0} bytes")]
    Bytes(u64),
}

impl CelError {
    /// Whether the budget ran out: no part of an expression may look past that.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Steps(_) | Self::Bytes(_) | Self::Input(_))
    }
}

/// An expression that was read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    source: Arc<str>,
    expression: Arc<IdedExpr>,
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Program {
    /// Reads an expression that may use these names.
    pub(crate) fn compile(source: &str, names: &[&'static str]) -> Result<Self, CelError> {
        if source.len() > EXPRESSION_BYTES {
            return Err(CelError::TooLong(source.len()));
        }
        scan::scan(source)?;
        if source.matches(|c| "+-*/%.[=<>".contains(c)).count() > OPERATORS {
            return Err(CelError::TooComplex("more than 384 operators"));
        }
        let parser = Parser::new().max_recursion_depth(PARSER_DEPTH).enable_optional_syntax(true);
        let expression = parser.parse(source).map_err(|errors| {
            let first = errors.errors.first().map(|error| {
                format!("line {}, column {}: {}", error.pos.0, error.pos.1 + 1, error.msg)
            });
            CelError::Syntax(first.unwrap_or_default())
        })?;
        check::check(&expression, names)?;
        Ok(Self { source: source.into(), expression: Arc::new(expression) })
    }

    /// The text of the expression.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates it.
    pub(crate) fn evaluate(
        &self,
        names: &[(&'static str, Datum)],
        budget: &mut Budget,
    ) -> Result<Datum, CelError> {
        evaluate::run(&self.expression, names, budget)
    }
}

/// Words for a result that is not what was wanted.
pub(crate) fn mismatch(wanted: &'static str, found: &Datum) -> CelError {
    let text = found.to_json().map_or_else(|_| found.type_name().to_owned(), |json| cut(&json));
    CelError::Result { wanted, found: text }
}

fn cut(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

#[cfg(test)]
mod tests;
