//! An explanation in words, from all clusters down to counts, and what to change.

use std::collections::BTreeMap;

use hanse_api::conditions::reason;
use hanse_hub::explain::{Explained, Funnel, Row, SpreadOver, Tier};

use super::advice;
use crate::output;

/// So many clusters are listed one by one; `-o wide` and `-o json` have all.
const LISTED: usize = 20;

/// The explanation, for people.
pub(crate) fn write(explained: &Explained, wide: bool) -> String {
    let mut lines = head(explained);
    if let Some(funnel) = &explained.funnel {
        lines.push(String::new());
        lines.push("the same decision, made now".to_owned());
        lines.extend(narrowing(funnel));
        if !funnel.clusters.is_empty() {
            lines.push(String::new());
            lines.push(table(funnel, wide));
            lines.push(String::new());
        }
        lines.extend(after(funnel));
    }
    let advice = advice::of(explained);
    if !advice.is_empty() {
        lines.push(String::new());
        lines.push("what to change".to_owned());
        lines.extend(advice.iter().map(|line| format!("  - {line}")));
    }
    lines.join("\n")
}

fn head(explained: &Explained) -> Vec<String> {
    let mut lines = vec![explained.template.clone()];
    let mut say = |what: &str, text: String| lines.push(format!("{what:<12}{text}"));
    if let Some(policy) = &explained.policy {
        say("policy", policy.clone());
    } else {
        let who = explained.former_policy.as_deref().unwrap_or("its policy");
        let words = "is gone or no longer selects it: the placement stays as it was";
        say("policy", format!("{who} {words}"));
    }
    for other in &explained.outranked {
        say("", format!("{} does not decide: {}", other.policy, other.why));
    }
    if let Some(tenant) = &explained.tenant {
        say("tenant", tenant.clone());
    }
    if explained.replicas > 0 {
        let needs = amounts(&explained.needs);
        let each = if needs.is_empty() { String::new() } else { format!(", {needs} each") };
        say("replicas", format!("{}{each}", explained.replicas));
    }
    if !explained.follows.is_empty() {
        say("follows", format!("{}: it goes wherever they go", explained.follows.join(", ")));
    }
    if !explained.missing.is_empty() {
        say("missing", format!("{}: named, and not there", explained.missing.join(", ")));
    }
    // A companion has no decision of its own.
    let follows = !explained.follows.is_empty();
    let own = |said: &&hanse_hub::explain::Said| !follows || said.reason != reason::SCHEDULED;
    if let Some(decided) = explained.decided.as_ref().filter(own) {
        let words = if decided.message.is_empty() { String::new() } else { ": ".to_owned() };
        say("decided", format!("{}{words}{}", decided.reason, decided.message));
    }
    for note in &explained.noted {
        say("", format!("{}: {}", note.reason, note.message));
    }
    let standing: Vec<String> = explained
        .standing
        .iter()
        .map(|cluster| match cluster.replicas {
            0 => cluster.name.clone(),
            count => format!("{} {count}", cluster.name),
        })
        .collect();
    let nowhere = || "nowhere".to_owned();
    say("stands in", if standing.is_empty() { nowhere() } else { standing.join(", ") });
    for step in &explained.moves {
        say(
            "moves",
            format!(
                "{} from {} to {}, {:?}: {:?}, {}",
                step.replicas, step.from, step.to, step.state, step.reason, step.evidence
            ),
        );
    }
    lines
}

/// From all clusters to the possible ones.
fn narrowing(funnel: &Funnel) -> Vec<String> {
    let mut lines =
        vec![format!("{:<12}{}", "considered", many(funnel.considered as u64, "cluster"))];
    for entry in &funnel.rejected {
        let more = entry.count.saturating_sub(entry.names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = entry.names.join(", ");
        // A holder keeps what it has, and is among the possible ones for that.
        let holds = |name: &String| funnel.clusters.iter().any(|row| row.name == *name);
        let kept = match entry.names.iter().filter(|name| holds(name)).count() {
            0 => "",
            1 => " (what it has may stay)",
            _ => " (what they have may stay)",
        };
        lines.push(format!(
            "{:<12}{} {}: {names}{more}{kept}",
            "ruled out", entry.count, entry.reason
        ));
    }
    let possible = many(funnel.clusters.len() as u64, "cluster");
    lines.push(format!("{:<12}{possible}", "possible"));
    if funnel.tiers.len() > 1 {
        for tier in &funnel.tiers {
            let label = if tier.tier == 1 { "tiers" } else { "" };
            lines.push(format!("{label:<12}{}", of_tier(tier, funnel)));
        }
    }
    lines.extend(funnel.spread.iter().map(|spread| format!("{:<12}{}", "spread", over(spread))));
    let strategy = &funnel.strategy;
    let partial = if funnel.partial { ", what fits of them" } else { "" };
    let replicas = many(funnel.replicas.into(), "replica");
    lines.push(format!("{:<12}{replicas}{partial}, {strategy}", "division"));
    if let Some(quota) = funnel.quota {
        lines.push(format!("{:<12}the tenant's quota leaves room for {quota}", "quota"));
    }
    if !funnel.held_for.is_empty() {
        let who = funnel.held_for.join(", ");
        lines.push(format!("{:<12}room for {who} is left out of what fits", "held back"));
    }
    lines
}

fn of_tier(tier: &Tier, funnel: &Funnel) -> String {
    let room = match tier.room {
        Some(room) => format!("room for {room} of {}", funnel.replicas),
        None => "room not known".to_owned(),
    };
    let used = match tier.replicas {
        0 => "not used".to_owned(),
        count => format!("holds {count}"),
    };
    let mode = if tier.tier == 1 { format!(" ({})", funnel.tier_mode) } else { String::new() };
    let clusters = many(tier.clusters as u64, "cluster");
    format!("{}: {clusters}, {room}, {used}{mode}", tier.tier)
}

fn over(spread: &SpreadOver) -> String {
    let wanted = match spread.max {
        Some(max) if max == spread.min => max.to_string(),
        Some(max) => format!("{} to {max}", spread.min),
        None => format!("{} or more", spread.min),
    };
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => format!("{} ({})", names.len(), names.join(", ")),
    };
    let (possible, used) = (list(&spread.possible), list(&spread.used));
    format!("over {}: {wanted} wanted, possible {possible}, used {used}", spread.key)
}

fn table(funnel: &Funnel, wide: bool) -> String {
    let tiers = funnel.tiers.len() > 1;
    let weights = funnel.clusters.iter().any(|row| row.weight.is_some());
    let elastic = funnel.clusters.iter().any(|row| row.elastic > 0);
    let history = funnel.clusters.iter().any(|row| row.held > 0);
    let afresh = funnel.clusters.iter().any(|row| row.afresh.is_some_and(|n| n != row.count));
    let mut header = vec!["cluster"];
    let columns = [
        (tiers, "tier"),
        (weights, "weight"),
        (true, "bounds"),
        (history, "had"),
        (true, "more fit"),
        (elastic, "elastic"),
        (true, "gets"),
        (afresh, "afresh"),
        (true, "limit"),
    ];
    header.extend(columns.iter().filter(|(shown, _)| *shown).map(|(_, name)| *name));
    let mut order: Vec<&Row> = funnel.clusters.iter().collect();
    // Those that hold or get something first; the sort keeps names in order.
    order.sort_by_key(|row| row.count == 0 && row.held == 0);
    let shown = if wide { order.len() } else { order.len().min(LISTED) };
    let rows = order.iter().take(shown).map(|row| {
        let mut cells = vec![row.name.clone()];
        let values = [
            row.tier.to_string(),
            row.weight.map_or_else(String::new, |weight| weight.to_string()),
            bounds(row),
            row.held.to_string(),
            row.fits.map_or_else(|| "unknown".to_owned(), |fits| fits.to_string()),
            row.elastic.to_string(),
            row.count.to_string(),
            row.afresh.map_or_else(String::new, |count| count.to_string()),
            limit(row).to_owned(),
        ];
        let pairs = columns.iter().zip(values);
        cells.extend(pairs.filter(|((shown, _), _)| *shown).map(|(_, value)| value));
        cells
    });
    let mut text = output::table(&header, rows);
    if order.len() > shown {
        let rest = order.len() - shown;
        text = format!("{text}\nand {rest} more that hold nothing; -o wide lists them");
    }
    text
}

fn bounds(row: &Row) -> String {
    match (row.min, row.max) {
        (0, None) => "-".to_owned(),
        (min, None) => format!("{min}.."),
        (min, Some(max)) => format!("{min}..{max}"),
    }
}

/// What keeps a cluster from getting more.
pub(super) fn limit(row: &Row) -> &'static str {
    if row.max.is_some_and(|max| row.count >= max) {
        "at its max"
    } else if row.closed && row.fits != Some(0) {
        "takes nothing new"
    } else if row.closed || row.most().is_some_and(|most| u64::from(row.count) >= most) {
        "full"
    } else {
        ""
    }
}

/// What comes after the division.
fn after(funnel: &Funnel) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |what: &str, text: String| lines.push(format!("{what:<12}{text}"));
    let history = &funnel.history;
    if history.held > 0 {
        let steady = if history.steady { "steady" } else { "not steady" };
        let elsewhere = match history.changed {
            0 => String::new(),
            count => {
                format!("; {count} stand elsewhere than a placement from nothing would put them")
            }
        };
        let (kept, held) = (history.kept, history.held);
        say("history", format!("{steady}: {kept} of {held} stay where they are{elsewhere}"));
    }
    if !history.leaving.is_empty() {
        say("leaving", format!("{}: work moves away from there", history.leaving.join(", ")));
    }
    if let Some(survive) = &funnel.survive {
        let standby = match survive.standby.as_str() {
            "Running" => "run elsewhere already",
            _ => "run or find room elsewhere",
        };
        let domains: Vec<String> =
            survive.domains.iter().map(|(name, count)| format!("{name} {count}")).collect();
        say(
            "survive",
            format!(
                "loss of any {}: {} of {} have to {standby}; replicas by {}: {}",
                survive.domain,
                survive.needed,
                funnel.replicas,
                survive.domain,
                domains.join(", ")
            ),
        );
        match &survive.broken {
            Some((domain, missing)) => {
                say("", format!("not so: the loss of {domain} leaves {missing} too few"));
            }
            None if funnel.outcome.placed => say("", "it is so".to_owned()),
            None => {}
        }
    }
    let outcome = &funnel.outcome;
    say("outcome", format!("{}: {}", outcome.reason, outcome.message));
    if outcome.short > 0 {
        let needs = amounts(&outcome.missing);
        let needs = if needs.is_empty() { String::new() } else { format!("; they need {needs}") };
        say("", format!("{} have no place{needs}", many(outcome.short, "replica")));
    }
    for note in &outcome.notes {
        say("note", format!("{}: {}", note.reason, note.message));
    }
    lines
}

/// `1 cluster`, `2 clusters`.
fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// `cpu 500m, memory 1Gi`.
pub(super) fn amounts(quantities: &BTreeMap<String, String>) -> String {
    let each = quantities.iter().map(|(name, amount)| format!("{name} {amount}"));
    each.collect::<Vec<_>>().join(", ")
}
