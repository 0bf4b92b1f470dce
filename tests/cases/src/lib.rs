//! Recorded decisions of Karmada's scheduler, translated into our terms and judged: each is the
//! same as ours, differs by a named rule, or is wrong. Rules are properties of the two answers;
//! no rule knows a case by its name.

mod judge;
pub mod recorded;
mod translate;

use anyhow::Context as _;
use hanse_scheduler::{checker, schedule};

pub use judge::{Rule, Verdict};
pub use recorded::Case;

/// What was found out about one case.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The case's name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Same, differing, or wrong.
    pub verdict: Verdict,
    /// Our answer, in words.
    pub ours: String,
    /// The recorded answer, in words.
    pub theirs: String,
}

/// Reads JSON Lines, one case a line, and judges each.
///
/// # Errors
/// When a line is not a case, or says something that has no translation; the line is named.
pub fn judge_all(text: &str) -> anyhow::Result<Vec<Judged>> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let case: Case =
                serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
            judge_one(&case).with_context(|| format!("line {}: case {}", number + 1, case.id))
        })
        .collect()
}

/// Judges one case.
///
/// # Errors
/// When it says something that has no translation.
pub fn judge_one(case: &Case) -> anyhow::Result<Judged> {
    let (fleet, request) = translate::translate(case)?;
    let answer = schedule(&fleet, &request, 0);
    let broken = answer
        .as_ref()
        .map_or_else(|_| Vec::new(), |decision| checker::check(&fleet, &request, decision));
    let verdict = match broken.first() {
        Some(violation) => Verdict::Wrong(violation.to_string()),
        None => judge::judge(case, &request, &answer),
    };
    Ok(Judged {
        id: case.id.clone(),
        title: case.title.clone(),
        verdict,
        ours: match &answer {
            Ok(decision) => judge::words(decision.assignment.iter().map(|(n, c)| (&**n, c))),
            Err(refusal) => refusal.why.as_str().to_owned(),
        },
        theirs: match &case.error_kind {
            Some(kind) => kind.clone(),
            None => judge::words(case.result.iter().map(|r| (r.cluster.as_str(), r.replicas))),
        },
    })
}
