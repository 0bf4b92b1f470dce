//! What an operator may change, by what stands in the way. Each line names a field, an object or
//! a command.

use hanse_api::conditions::reason;
use hanse_hub::explain::{Explained, Funnel, Rejected, Row};

use super::text::amounts;

/// Lines of advice; none where nothing is in the way.
pub(super) fn of(explained: &Explained) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(around(explained));
    if let Some(funnel) = &explained.funnel {
        if funnel.outcome.short > 0 || !funnel.outcome.placed {
            lines.extend(funnel.rejected.iter().filter_map(ruled_out));
        }
        lines.extend(refusal(funnel));
        lines.extend(notes(funnel));
    }
    lines
}

/// Policies, companions and what the hub said.
fn around(explained: &Explained) -> Vec<String> {
    let mut lines = Vec::new();
    if explained.policy.is_none() {
        lines.push(
            "write a PropagationPolicy whose resourceSelectors select it, or bring the old one \
             back; delete the template to end it everywhere"
                .to_owned(),
        );
    }
    for other in &explained.outranked {
        let decides = explained.policy.as_deref().unwrap_or("the other one");
        lines.push(format!(
            "for {} to decide instead of {decides}: raise its spec.priority, or narrow the \
             resourceSelectors of the other",
            other.policy
        ));
    }
    for missing in &explained.missing {
        let (kind, name) = missing.split_once('/').unwrap_or((missing, ""));
        lines.push(format!(
            "create {kind} `{name}` in the federation: pods wait for it in every cluster; it \
             follows the workload by itself"
        ));
    }
    let held = explained.decided.as_ref().is_some_and(|said| said.reason == HELD);
    if held {
        lines.push(
            "wait: the room is kept for work of higher importance for \
             Federation.spec.scheduling.holdSeconds, then this takes it"
                .to_owned(),
        );
        lines.push(
            "or raise spec.importance of its policy, or add nodes so that both fit".to_owned(),
        );
    }
    lines
}

/// Room is kept for work that matters more.
const HELD: &str = "HeldForHigherImportance";
/// The tenant has used up its quota.
const QUOTA: &str = "TenantQuota";

fn refusal(funnel: &Funnel) -> Vec<String> {
    let outcome = &funnel.outcome;
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(line);
    match outcome.reason.as_str() {
        QUOTA => {
            let fits = funnel.quota.unwrap_or(0);
            say(format!("ask for {fits} replicas or fewer, or raise spec.quota of the Tenant"));
            say(part(funnel));
        }
        reason::FITS_ONLY_BY_MOVING => {
            say("set placement.replicas.steady: false for as long as it takes to move".to_owned());
            for (key, max) in funnel.spread.iter().filter_map(|s| Some((&s.key, s.max?))) {
                say(format!("or raise maxDomains of {key} in placement.spread above {max}"));
            }
            say(format!("or {}", room(funnel)));
        }
        "BoundsUnsatisfiable" => {
            say("widen placement.replicas.bounds: lower a min or raise a max".to_owned());
            say(part(funnel));
        }
        "TooFewDomains" | "SpreadUnsatisfiable" => {
            for spread in &funnel.spread {
                let have = spread.possible.len();
                let possible = spread.possible.join(", ");
                if have < spread.min as usize {
                    say(format!(
                        "lower minDomains of {} in placement.spread to {have}, or bring clusters \
                         of other {}s in",
                        spread.key, spread.key
                    ));
                } else if let Some(max) = spread.max.filter(|max| have > *max as usize) {
                    say(format!(
                        "raise maxDomains of {} in placement.spread above {max}: {have} are \
                         possible ({possible})",
                        spread.key
                    ));
                }
            }
            if outcome.reason == "SpreadUnsatisfiable" {
                say(format!("or {}", room(funnel)));
            }
        }
        "WouldNotSurvive" => {
            if let Some(survive) = &funnel.survive {
                say(format!(
                    "add room outside the largest {}, lower placement.survive.minReplicasPercent, \
                     or write enforce: Warn",
                    survive.domain
                ));
            }
        }
        reason::NO_ROOM | "Partial" => {
            let bounded = bounded(funnel);
            let or = if bounded.is_some() { "or " } else { "" };
            if let Some(bounded) = bounded {
                say(bounded);
            }
            say(format!("{or}{}", room(funnel)));
            if outcome.reason == reason::NO_ROOM {
                say(part(funnel));
            }
        }
        _ => {}
    }
    lines
}

/// Clusters whose bound, not room, is in the way.
fn bounded(funnel: &Funnel) -> Option<String> {
    let has_room = |row: &&Row| {
        let room = row.fits.map(|fits| u64::from(row.held) + u64::from(fits));
        row.max.is_some_and(|max| room.is_none_or(|room| room > u64::from(max)))
    };
    let names: Vec<&str> =
        funnel.clusters.iter().filter(has_room).map(|row| row.name.as_str()).collect();
    (!names.is_empty())
        .then(|| format!("raise max in placement.replicas.bounds: {} have room", names.join(", ")))
}

fn room(funnel: &Funnel) -> String {
    let missing = amounts(&funnel.outcome.missing);
    let what = if missing.is_empty() { "room for pods".to_owned() } else { missing };
    format!("add {what} to the possible clusters, or ask for less in each replica")
}

fn part(funnel: &Funnel) -> String {
    let placed = u64::from(funnel.replicas).saturating_sub(funnel.outcome.short);
    format!("or set placement.replicas.partial: true, which places {placed}")
}

fn notes(funnel: &Funnel) -> Vec<String> {
    let line = |note: &hanse_hub::explain::Said| match note.reason.as_str() {
        "LaterTier" => {
            let first = funnel.tiers.iter().find(|tier| tier.replicas == 0)?;
            let room = first.room.unwrap_or(0);
            Some(format!(
                "for tier {} to hold it: add room there (it has room for {room} of {}), or write \
                 placement.tiers: Overflow to fill it first",
                first.tier, funnel.replicas
            ))
        }
        "WouldNotSurvive" => Some(
            "add room in other domains, or write placement.survive.enforce: Require to have such \
             placements refused"
                .to_owned(),
        ),
        "SearchBounded" => {
            Some("with one spread key instead of two every combination is tried".to_owned())
        }
        _ => None,
    };
    let mut lines: Vec<String> = funnel.outcome.notes.iter().filter_map(line).collect();
    if funnel.outcome.placed && funnel.history.changed > 0 {
        lines.push(
            "nothing has to change: replicas stay where they run. To even them out set \
             placement.replicas.steady: false"
                .to_owned(),
        );
    }
    lines
}

/// What would bring ruled out clusters back.
fn ruled_out(entry: &Rejected) -> Option<String> {
    let names = entry.names.join(", ");
    Some(match entry.reason.as_str() {
        "NotInTenant" => format!("{names}: add them to spec.clusters of the Tenant"),
        "NotSelected" => format!("{names}: select them in placement.clusters"),
        "NotJoined" => format!("{names}: look at their Joined condition: kubectl get mc"),
        "ControlLost" | "DataLost" | "Lost" => {
            format!("{names}: bring them back, or look at hanse status")
        }
        "Recovering" => format!("{names}: wait until they have proved themselves"),
        "Cordoned" => format!("{names}: hanse uncordon cluster NAME"),
        "Tainted" => format!("{names}: tolerate their taints in placement.tolerations"),
        "KindNotServed" => format!("{names}: install the kind's CustomResourceDefinition there"),
        "NoWeight" => format!("{names}: give them a weight in placement.replicas.weights"),
        "NoDomain" => format!("{names}: say their zone, or label them as placement.spread asks"),
        "NotNear" => format!("{names}: what placement.near wants is not there"),
        "NotAway" => format!("{names}: they hold what placement.away keeps away from"),
        "RoomUnknown" => format!(
            "{names}: the hub cannot see their nodes; look at their ApiReachable condition, or \
             write strategy: Weighted, which needs no room"
        ),
        _ => return None,
    })
}
