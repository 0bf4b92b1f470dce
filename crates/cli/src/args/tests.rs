//! Every `hanse` command line in the README and in docs is one that this program takes.

use clap::{
    CommandFactory as _, Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use hanse_tests_bodies::pages::{all, mentioned, typed};

use super::*;

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
                # why\nhanse output\n$ ls\n```\nand `more`\n";
    assert_eq!(mentioned(page), ["hanse status", "kubectl get", "more"]);
    assert_eq!(typed(page), ["hanse join a --region r   # why", "ls"]);
    assert_eq!(words(&typed(page)[0]), ["hanse", "join", "a", "--region", "r"]);
    assert_eq!(words("hanse a 'b c' \"\" | less"), ["hanse", "a", "b c", ""]);
}

#[test]
fn every_command_line_in_the_pages_is_taken() {
    Cli::command().debug_assert();
    let mut refused = Vec::new();
    let mut taken = 0;
    for (page, text) in all().unwrap() {
        let whole = typed(&text).into_iter().map(|line| (line, true));
        let parts = mentioned(&text).into_iter().map(|line| (line, false));
        for (line, whole) in whole.chain(parts).filter(|(line, _)| line.starts_with("hanse ")) {
            let Err(error) = Cli::try_parse_from(words(&line)) else {
                taken += 1;
                continue;
            };
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => taken += 1,
                _ if !whole && is_unfinished(&error) => taken += 1,
                _ => refused.push(format!("{}: {line}\n{error}", page.display())),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(taken > 30, "only {taken} command lines were found: is this test looking?");
}
