//! Commands in the README and in docs: what a reader would type.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Root of the repository.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The README and every page of docs, with their text.
///
/// # Errors
/// When one cannot be read.
pub fn all() -> Result<Vec<(PathBuf, String)>> {
    let root = Path::new(ROOT);
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "docs/adr"] {
        for entry in std::fs::read_dir(root.join(folder))? {
            pages.push(entry?.path());
        }
    }
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    let read = |page: PathBuf| {
        let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        Ok((page, text))
    };
    pages.into_iter().map(read).collect()
}

/// What is typed after a prompt in the blocks of a page; lines that go on are put together.
pub fn typed(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in page.split("```").skip(1).step_by(2).flat_map(str::lines) {
        let text = match open.take() {
            Some(before) => format!("{before} {}", line.trim()),
            None => match line.trim_start().strip_prefix("$ ") {
                Some(typed) => typed.to_owned(),
                None => continue,
            },
        };
        match text.strip_suffix('\\') {
            Some(unfinished) => open = Some(unfinished.trim_end().to_owned()),
            None => found.push(text),
        }
    }
    found
}

/// What stands in backticks in the running text of a page.
pub fn mentioned(page: &str) -> Vec<String> {
    let running = page.split("```").step_by(2).flat_map(str::lines);
    running.flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}
