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
        lines.extend(refusal(explained, funnel));
        lines.extend(notes(explained, funnel));
    }
    lines.extend(explained.missing.iter().map(|missing| companion(missing)));
    lines
}

/// What lets pods start, wherever they are.
fn companion(missing: &str) -> String {
    let (kind, name) = missing.split_once('/').unwrap_or((missing, ""));
    format!(
        "create {kind} `{name}` in the federation: pods wait for it in every cluster; it follows \
         the workload by itself"
    )
}

/// Policies, companions and what the hub said.
fn around(explained: &Explained) -> Vec<String> {
    let mut lines = Vec::new();
    if explained.policy.is_none() {
        let former = explained.former_policy.as_deref().unwrap_or("the old policy");
        lines.push(format!(
            "to go on with it: bring {former} back, or write a PropagationPolicy whose \
             resourceSelectors select it"
        ));
        lines.push(format!("to remove it from its clusters: {}", forget(&explained.template)));
    }
    for other in &explained.outranked {
        let decides = explained.policy.as_deref().unwrap_or("the other one");
        lines
            .push(format!("for {} to decide instead of {decides}: {}", other.policy, other.remedy));
    }
    let decided = explained.decided.as_ref().map_or("", |said| said.reason.as_str());
    let (namespace, _) = explained.binding.split_once('/').unwrap_or_default();
    if decided == reason::NO_TENANT {
        lines.push(format!(
            "name `{namespace}` in spec.namespaces of a Tenant (kubectl get tenants lists them)"
        ));
        lines.push(
            "or let every namespace use every cluster: requireTenant: false in the Federation"
                .to_owned(),
        );
    }
    if decided == reason::NAMESPACE_TAKEN {
        lines.push(format!("take `{namespace}` out of spec.namespaces of all Tenants but one"));
    }
    if decided == reason::HELD_FOR_HIGHER_IMPORTANCE {
        lines.push(
            "wait: room is held for more important work for at most \
             Federation.spec.scheduling.holdSeconds from when that began to wait; then this takes \
             what is free"
                .to_owned(),
        );
        lines.push(
            "or raise importance of its policy above what is named here, or add nodes so that \
             both fit"
                .to_owned(),
        );
    }
    lines
}

/// The command that takes a placement away. The template is `Kind/name in namespace`.
fn forget(template: &str) -> String {
    match template.split_once(" in ") {
        Some((named, namespace)) => format!("hanse forget {named} -n {namespace}"),
        None => format!("hanse forget {template}"),
    }
}

fn refusal(explained: &Explained, funnel: &Funnel) -> Vec<String> {
    let outcome = &funnel.outcome;
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(line);
    match outcome.reason.as_str() {
        reason::TENANT_QUOTA => {
            let fits = funnel.quota.unwrap_or(0);
            let tenant = explained.tenant.as_deref().unwrap_or_default();
            say(format!(
                "ask for {fits} replicas or fewer, or raise spec.quota of Tenant {tenant}"
            ));
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
        "TooFewDomains" | "SpreadUnsatisfiable" => lines.extend(spread(funnel)),
        "WouldNotSurvive" => {
            if let Some(survive) = &funnel.survive {
                say(format!(
                    "add room outside the largest {}, lower placement.survive.minReplicasPercent, \
                     or write enforce: Warn",
                    survive.domain
                ));
            }
        }
        reason::NO_CLUSTER_FITS
            if funnel.rejected.iter().any(|entry| entry.reason == reason::NO_ROOM) =>
        {
            say(room(funnel));
        }
        reason::NO_ROOM | "Partial" => lines.extend(no_room(funnel)),
        _ => {}
    }
    lines
}

fn spread(funnel: &Funnel) -> Vec<String> {
    let mut lines = Vec::new();
    for spread in &funnel.spread {
        let have = spread.possible.len();
        let possible = spread.possible.join(", ");
        if have < spread.min as usize {
            lines.push(format!(
                "lower minDomains of {} in placement.spread to {have}, or bring clusters of other \
                 {}s in",
                spread.key, spread.key
            ));
        } else if let Some(max) = spread.max.filter(|max| have > *max as usize) {
            lines.push(format!(
                "raise maxDomains of {} in placement.spread above {max}: {have} are possible \
                 ({possible})",
                spread.key
            ));
        }
    }
    if funnel.outcome.reason == "SpreadUnsatisfiable" {
        lines.push(format!("or {}", room(funnel)));
    }
    lines
}

fn no_room(funnel: &Funnel) -> Vec<String> {
    let mut lines = Vec::new();
    let bounded = bounded(funnel);
    if bounded.is_empty() {
        lines.push(room(funnel));
    } else {
        let names = bounded.join(", ");
        lines.push(format!("raise max in placement.replicas.bounds: {names} have room"));
        if bounded.len() < funnel.clusters.len() {
            lines.push(format!("or {}", room(funnel)));
        }
    }
    if funnel.outcome.reason == reason::NO_ROOM {
        lines.push(part(funnel));
    }
    lines
}

/// Clusters whose bound, not room, is in the way.
fn bounded(funnel: &Funnel) -> Vec<&str> {
    let has_room = |row: &&Row| {
        let room = row.fits.map(|fits| u64::from(row.held) + u64::from(fits));
        row.max.is_some_and(|max| room.is_none_or(|room| room > u64::from(max)))
    };
    funnel.clusters.iter().filter(has_room).map(|row| row.name.as_str()).collect()
}

fn room(funnel: &Funnel) -> String {
    let missing = amounts(&funnel.outcome.missing);
    let what = if missing.is_empty() { "room for pods".to_owned() } else { missing };
    let full = funnel.rejected.iter().find(|entry| entry.reason == reason::NO_ROOM);
    let place = match full {
        Some(full) if funnel.clusters.is_empty() => format!("one of {}", full.names.join(", ")),
        _ => "the possible clusters".to_owned(),
    };
    format!("add {what} to {place}, or ask for less in each replica")
}

fn part(funnel: &Funnel) -> String {
    let placed = u64::from(funnel.replicas).saturating_sub(funnel.outcome.short);
    format!("or set placement.replicas.partial: true, which places {placed}")
}

fn notes(explained: &Explained, funnel: &Funnel) -> Vec<String> {
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
    let then = explained.noted.iter();
    let known = |note: &&hanse_hub::explain::Said| {
        funnel.outcome.notes.iter().all(|other| other.reason != note.reason)
    };
    let all = funnel.outcome.notes.iter().chain(then.filter(known));
    let mut lines: Vec<String> = all.filter_map(line).collect();
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
        "Cordoned" => {
            let each = entry.names.iter().map(|name| format!("hanse uncordon cluster {name}"));
            format!("{names}: {}", each.collect::<Vec<_>>().join("; "))
        }
        "Tainted" => format!("{names}: tolerate their taints in placement.tolerations"),
        "KindNotServed" => format!("{names}: install the kind's CustomResourceDefinition there"),
        "NoWeight" => format!("{names}: give them a weight in placement.replicas.weights"),
        "NoDomain" => format!("{names}: say their zone, or label them as placement.spread asks"),
        "NotNear" => format!("{names}: what placement.near wants is not there"),
        "NotAway" => format!("{names}: they hold what placement.away keeps away from"),
        "RoomUnknown" => format!(
            "{names}: the hub sees no nodes or pods there; look at the condition ApiReachable, and \
             whether the hub's account there may list and watch both. Or write strategy: Weighted, \
             which needs no room"
        ),
        _ => return None,
    })
}
