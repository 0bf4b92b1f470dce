//! Bounds what the parser has to nest, before it runs: its own limit does not hold for every text,
//! and its stack is ours. Strings are read exactly as its lexer reads them; the forms that would
//! make that doubtful (raw and triple-quoted strings, rare escapes, comments) are refused.

use super::CelError;

/// Brackets inside brackets.
const BRACKETS: usize = 24;
/// Conditionals `a ? b : c`.
const CONDITIONALS: usize = 16;

/// Checks a text.
pub(super) fn scan(source: &str) -> Result<(), CelError> {
    let mut open = Vec::new();
    let mut conditionals = 0;
    let mut before = ' ';
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                if matches!(before, 'r' | 'R' | 'b' | 'B') {
                    return Err(CelError::NotServed("raw strings and bytes"));
                }
                string(c, &mut chars)?;
                if chars.peek() == Some(&c) {
                    return Err(CelError::NotServed("strings in triple quotes"));
                }
            }
            '/' if chars.peek() == Some(&'/') => return Err(CelError::NotServed("comments")),
            '(' | '[' | '{' => {
                open.push(c);
                if open.len() > BRACKETS {
                    return Err(CelError::TooComplex("more than 24 brackets inside brackets"));
                }
            }
            ')' | ']' | '}' => {
                let pair = open.pop().map(|open| (open, c));
                if !matches!(pair, Some(('(', ')') | ('[', ']') | ('{', '}'))) {
                    return Err(CelError::Syntax(format!("a {c} that closes nothing")));
                }
            }
            '?' if !matches!(before, '.' | '[' | '{' | ',') => {
                conditionals += 1;
                if conditionals > CONDITIONALS {
                    return Err(CelError::TooComplex("more than 16 conditionals"));
                }
            }
            _ => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    match open.pop() {
        Some(open) => Err(CelError::Syntax(format!("a {open} that is not closed"))),
        None => Ok(()),
    }
}

fn string(quote: char, chars: &mut impl Iterator<Item = char>) -> Result<(), CelError> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\n' | '\r' => break,
            '\\' if !matches!(chars.next(), Some('\\' | '\'' | '"' | 'n' | 't' | 'r')) => {
                return Err(CelError::NotServed("escapes other than \\\\ \\' \\\" \\n \\t \\r"));
            }
            _ => {}
        }
    }
    Err(CelError::Syntax("a string that is not closed on its line".to_owned()))
}
