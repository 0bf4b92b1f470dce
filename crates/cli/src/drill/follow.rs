//! Following a drill to its verdict. Drills run one at a time: one that is queued waits for those
//! before it, each of which may take its own time.

use std::time::Duration;

use anyhow::{Result, bail};
use hanse_api::Drill;
use hanse_rt::Mono;
use indicatif::ProgressBar;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{connect::within, output};

/// How often a running drill is looked at; its timeline has times of its own.
const LOOK: Duration = Duration::from_millis(250);
/// Beyond its duration a drill takes this long at most: recovery is watched, the fault has an end.
const PATIENCE: Duration = Duration::from_mins(3);

/// Follows a drill until it has a verdict, and shows what happens.
///
/// # Errors
/// When a drill that runs, this one or one before it, comes to no verdict in its time.
pub(super) async fn follow(drills: &Api<Drill>, name: &str, bar: &ProgressBar) -> Result<Drill> {
    let mut shown = 0;
    // The drill whose turn it is, and until when it may take.
    let mut turn = (String::new(), Mono::now());
    loop {
        let drill = within("following the drill", drills.get(name)).await?;
        let status = drill.status.clone().unwrap_or_default();
        for entry in status.timeline.iter().skip(shown) {
            bar.suspend(|| output::say(&format!("{}  {}", entry.at.0, entry.event)));
        }
        shown = status.timeline.len();
        if status.verdict.is_some() {
            return Ok(drill);
        }
        let mut message = status.timeline.last().map_or_else(
            || "waiting for the hub to take the drill up".to_owned(),
            |entry| entry.event.clone(),
        );
        let mut running = drill;
        if status.started_at.is_none() {
            let all = within("listing drills", drills.list(&ListParams::default())).await?.items;
            if let Some(other) = ahead(&all, &running) {
                message = format!("waiting for {}", words(other));
                running = other.clone();
            }
        }
        let whose = running.name_any();
        if turn.0 != whose {
            if whose != name {
                bar.suspend(|| output::say(&format!("{name} waits for {}", words(&running))));
            }
            let seconds = u64::try_from(running.spec.duration_seconds).unwrap_or_default();
            turn = (whose, Mono::now() + Duration::from_secs(seconds) + PATIENCE);
        }
        bar.set_message(message);
        if Mono::now() > turn.1 {
            let whose = &turn.0;
            bail!("drill {whose} has no verdict; is the hub running? `hanse drill report {whose}`");
        }
        hanse_rt::sleep(LOOK).await;
    }
}

/// The drill that must end before this one can begin: the one that runs, else the oldest.
fn ahead<'a>(all: &'a [Drill], this: &Drill) -> Option<&'a Drill> {
    let started =
        |drill: &Drill| drill.status.as_ref().is_some_and(|status| status.started_at.is_some());
    let order = |drill: &Drill| (drill.creation_timestamp().map(|at| at.0), drill.name_any());
    let open = all.iter().filter(|drill| {
        drill.status.as_ref().is_none_or(|status| status.verdict.is_none())
            && drill.name_any() != this.name_any()
    });
    open.filter(|drill| {
        // One with a time to start stands back until then.
        started(drill) || (drill.spec.start_at.is_none() && order(drill) < order(this))
    })
    .min_by_key(|drill| (!started(drill), order(drill)))
}

fn words(drill: &Drill) -> String {
    let status = drill.status.clone().unwrap_or_default();
    let name = drill.name_any();
    let until = status.ends_at.map(|ends| format!(", its fault ends at {}", ends.0));
    let state = match (status.started_at, until) {
        (Some(_), Some(until)) => format!("which runs{until}"),
        (Some(_), None) => "which runs".to_owned(),
        (None, _) => "which came first".to_owned(),
    };
    format!("drill {name}, {state}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drill(name: &str, second: u8, status: &serde_json::Value) -> Drill {
        serde_json::from_value(json!({
            "apiVersion": "hanse.dev/v1alpha1", "kind": "Drill",
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{second}Z")},
            "spec": {"target": {"region": "r"}}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_queued_drill_waits_for_the_one_that_runs_then_for_the_oldest() {
        let runs = json!({"startedAt": "2026-01-01T00:00:09Z", "endsAt": "2026-01-01T00:01:00Z"});
        let ended = json!({"startedAt": "2026-01-01T00:00:00Z", "verdict": "Passed"});
        let this = drill("this", 5, &json!(null));
        let mut all = vec![
            drill("first", 1, &json!(null)),
            drill("ended", 0, &ended),
            drill("later", 7, &json!(null)),
            drill("runs", 8, &runs),
            this.clone(),
        ];
        let name = |all: &[Drill]| ahead(all, &this).map(kube::ResourceExt::name_any);
        assert_eq!(name(&all).as_deref(), Some("runs"));
        assert_eq!(
            words(ahead(&all, &this).unwrap()),
            "drill runs, which runs, its fault ends at 2026-01-01T00:01:00Z"
        );
        all.retain(|drill| drill.name_any() != "runs");
        assert_eq!(name(&all).as_deref(), Some("first"));
        assert_eq!(words(ahead(&all, &this).unwrap()), "drill first, which came first");
        all.retain(|drill| drill.name_any() != "first");
        assert_eq!(name(&all), None);
    }
}
