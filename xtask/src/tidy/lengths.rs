//! Lengths of files and functions. What is over the limit stands in `xtask/lengths.txt` with its
//! length of today; an entry may only shrink, and one that is no longer needed must go.

use std::{cell::RefCell, collections::BTreeMap, path::Path};

use crate::shell;

/// A file over this many lines fails; half of it is a question to ask oneself.
const FILE_LINES: usize = 800;
/// A function over this many lines fails, signature and closing brace included.
const FUNCTION_LINES: usize = 70;
const RATCHET: &str = "xtask/lengths.txt";

thread_local! {
    static ALLOWED: RefCell<Option<BTreeMap<String, usize>>> = const { RefCell::new(None) };
}

/// Reports a file or function that is too long.
pub(super) fn check(path: &Path, text: &str, findings: &mut Vec<String>) {
    let shown = path.display().to_string();
    report(&shown, text.lines().count(), FILE_LINES, findings);
    for (name, lines) in functions(text) {
        report(&format!("{shown} fn {name}"), lines, FUNCTION_LINES, findings);
    }
}

/// Reports entries of the ratchet list that nothing needs any more.
pub(super) fn unused(findings: &mut Vec<String>) {
    let left = ALLOWED.with_borrow_mut(Option::take).unwrap_or_default();
    for name in left.keys() {
        findings.push(format!("{RATCHET}: take out `{name}`"));
    }
}

fn report(name: &str, lines: usize, limit: usize, findings: &mut Vec<String>) {
    if lines <= limit {
        return;
    }
    let allowed = ALLOWED.with_borrow_mut(|list| list.get_or_insert_with(read).remove(name));
    match allowed {
        Some(allowed) if lines <= allowed => {}
        Some(allowed) => findings.push(format!("{name}: grew from {allowed} to {lines} lines")),
        None => findings.push(format!("{name}: {lines} lines, {limit} at most; split it")),
    }
}

fn read() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(shell::root().join(RATCHET)).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, lines)| Some((name.to_owned(), lines.parse().ok()?)))
        .collect()
}

/// Names and lengths of functions. rustfmt puts the closing brace below the opening `fn`.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(name) = function_name(trimmed) else {
            continue;
        };
        let closing = format!("{}}}", " ".repeat(line.len() - trimmed.len()));
        let end = lines[start..].iter().position(|line| *line == closing);
        let one_line = trimmed.ends_with('}') || trimmed.ends_with(';');
        if let (Some(end), false) = (end, one_line) {
            found.push((name.to_owned(), end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let words = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    let mut rest = line;
    while let Some((word, after)) = rest.split_once(' ') {
        if word == "fn" {
            return after.split(['(', '<']).next();
        }
        if !words.contains(&word) {
            return None;
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_signature_to_closing_brace() {
        let text = "impl A {\n    pub async fn b(\n        x: u8,\n    ) {\n        c();\n    }\n}\nfn d() {}\n";
        assert_eq!(functions(text), [("b".to_owned(), 5)]);
    }
}
