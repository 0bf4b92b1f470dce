//! `hanse-cases FILE`: judges recorded cases, a line each, and exits 1 when one is wrong.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use hanse_tests_cases::{Verdict, judge_all};

fn main() -> anyhow::Result<ExitCode> {
    let file = std::env::args().nth(1).context("usage: hanse-cases FILE")?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let judged = judge_all(&text).with_context(|| file.clone())?;
    let mut out = std::io::stdout().lock();
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = 0;
    for case in &judged {
        let (word, detail) = match &case.verdict {
            Verdict::Same => ("same", String::new()),
            Verdict::Differs(rule) => (rule.as_str(), format!("differs by {}", rule.as_str())),
            Verdict::Wrong(why) => {
                wrong += 1;
                ("wrong", format!("WRONG: {why}"))
            }
        };
        *sums.entry(word).or_default() += 1;
        if case.verdict == Verdict::Same {
            writeln!(out, "{}  same", case.id)?;
        } else {
            let (ours, theirs) = (&case.ours, &case.theirs);
            writeln!(
                out,
                "{}  {detail}: ours {ours}; recorded {theirs} ({})",
                case.id, case.title
            )?;
        }
    }
    writeln!(out, "{} cases", judged.len())?;
    for (word, count) in sums {
        writeln!(out, "{count:>6}  {word}")?;
    }
    Ok(if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
