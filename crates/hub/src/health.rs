//! Health of members: observations in, one verdict per member out, written into its status.
//! Decides nothing itself: the verdict is the detector's.

mod apply;
mod observe;
mod plan;

use std::{collections::BTreeMap, time::Duration};

use hanse_detector::{
    Moment, Settings,
    evidence::Level,
    verdict::{History, Override, Reason, Verdict},
};
use hanse_rt::Mono;
use hanse_xds::ReportTable;

use crate::World;

/// How often all evidence is looked at. Verdicts need 2 s of agreement; a fifth of a second more
/// or less does not matter.
const LOOK: Duration = Duration::from_millis(200);

/// What is believed of one member, and on what grounds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Judgement {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Why.
    pub(crate) reason: Reason,
    /// Does its API server answer the hub.
    pub(crate) control: Level,
    /// Observing gateways by what they say.
    pub(crate) data: Counts,
    /// Whether it says where its gateways are.
    pub(crate) has_gateway: bool,
}

/// Observers by level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) up: i32,
    pub(crate) down: i32,
    pub(crate) unknown: i32,
}

/// The histories that verdicts depend on.
struct Judge {
    started: Mono,
    settings: Settings,
    histories: BTreeMap<String, History>,
}

/// Judges members until the task ends.
pub(crate) async fn run(world: World, reports: ReportTable, settings: Settings) {
    let mut judge = Judge { started: Mono::now(), settings, histories: BTreeMap::new() };
    let verdicts =
        world.means().metrics.gauges("hanse_members", "members by verdict and its reason");
    let mut written = apply::Written::default();
    let mut ticks = hanse_rt::interval(LOOK, Duration::ZERO);
    loop {
        ticks.tick().await;
        let observed = observe::observe(&world, &reports, Mono::now());
        let judgements = judge.judge(&observed, Mono::now());
        verdicts.clear();
        for judgement in judgements.values() {
            let labels = vec![
                ("verdict", judgement.verdict.as_str().to_owned()),
                ("reason", judgement.reason.as_str().to_owned()),
            ];
            verdicts.get_or_create(&labels).inc();
        }
        written.apply(&world, &observed, judgements).await;
    }
}

impl Judge {
    fn judge(&mut self, observed: &observe::Observed, now: Mono) -> BTreeMap<String, Judgement> {
        let now: Moment = now.saturating_duration_since(self.started);
        self.histories.retain(|name, _| observed.evidence.members.contains_key(name));
        let isolated_hub = observed.evidence.hub_isolated();
        let mut judgements = BTreeMap::new();
        for (name, votes) in &observed.evidence.all_votes() {
            let kept = observed.kept.get(name).copied().unwrap_or_default();
            let history =
                self.histories.entry(name.clone()).or_insert_with(|| History::resume(kept));
            let over = if observed.isolated.contains(name) {
                Override::Isolated
            } else if isolated_hub {
                Override::HubIsolated
            } else {
                Override::None
            };
            let (verdict, reason) = history.observe(votes, over, now, &self.settings);
            judgements.insert(name.clone(), plan::judgement(observed, name, verdict, reason));
        }
        judgements
    }
}
