//! Every `hanse` command line in the README and in docs is one that this program takes.

use std::path::{Path, PathBuf};

use clap::{
    CommandFactory as _, Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::*;

/// A command line in a page.
#[derive(Debug, PartialEq)]
struct Line {
    text: String,
    /// Typed in a console block, so it must be whole; in running text a verb may stand alone.
    whole: bool,
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "docs/adr"] {
        let found = std::fs::read_dir(root.join(folder)).unwrap();
        pages.extend(found.map(|entry| entry.unwrap().path()));
    }
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages
}

/// The command lines of a page: what follows a prompt in a block, and what stands in backticks.
fn lines(page: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut block = false;
    let mut open: Option<String> = None;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
            continue;
        }
        if !block {
            let spans = line.split('`').skip(1).step_by(2);
            let typed = spans.filter(|span| span.starts_with("hanse "));
            found.extend(typed.map(|text| Line { text: text.to_owned(), whole: false }));
            continue;
        }
        let text = match open.take() {
            Some(before) => format!("{before} {}", line.trim()),
            None => match line.trim_start().strip_prefix("$ ") {
                Some(typed) => typed.to_owned(),
                None => continue,
            },
        };
        match text.strip_suffix('\\') {
            Some(unfinished) => open = Some(unfinished.trim_end().to_owned()),
            None if text.starts_with("hanse ") => found.push(Line { text, whole: true }),
            None => {}
        }
    }
    found
}

/// Words as a shell splits them, up to a comment, a pipe or another command.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '>' | '&') => break,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Whether nothing is wrong but that something is left out, or stands there as a PLACEHOLDER.
fn is_unfinished(error: &clap::Error) -> bool {
    match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
        ErrorKind::InvalidValue => matches!(
            error.get(ContextKind::InvalidValue),
            Some(ContextValue::String(value)) if value.chars().all(|c| c.is_ascii_uppercase())
        ),
        _ => false,
    }
}

#[test]
fn command_lines_in_pages_are_found_whole_and_in_running_text() {
    let page = "Say `hanse status` or `kubectl get`.\n```console\n$ hanse join a \\\n    --region r   \
                # why\nhanse output\n$ ls\n```\n";
    let found = lines(page);
    let expected = [("hanse status", false), ("hanse join a --region r   # why", true)];
    let seen: Vec<_> = found.iter().map(|line| (line.text.as_str(), line.whole)).collect();
    assert_eq!(seen, expected);
    assert_eq!(words(&found[1].text), ["hanse", "join", "a", "--region", "r"]);
    assert_eq!(words("hanse a 'b c' \"\" | less"), ["hanse", "a", "b c", ""]);
}

#[test]
fn every_command_line_in_the_pages_is_taken() {
    Cli::command().debug_assert();
    let mut refused = Vec::new();
    let mut taken = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for line in lines(&text) {
            let Err(error) = Cli::try_parse_from(words(&line.text)) else {
                taken += 1;
                continue;
            };
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => taken += 1,
                _ if !line.whole && is_unfinished(&error) => taken += 1,
                _ => refused.push(format!("{}: {}\n{error}", page.display(), line.text)),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(taken > 30, "only {taken} command lines were found: is this test looking?");
}
