//! Gateways as modelled observers: what each would see of the others over the links, without
//! sending anything. The detector gets the same levels as from real ones.

use std::{collections::BTreeMap, time::Duration};

use hanse_rt::{Mono, TaskSet};
use hanse_sim::{
    faults::{Ends, Passage},
    world::World,
};
use hanse_xds::{Level, Observation, Report, ReportTable};

/// Gateways report this often.
const REPORT: Duration = Duration::from_millis(500);
/// Silence that makes a peer Down, and answers that make it Up again.
const DOWN: Duration = Duration::from_millis(1500);
const UP: Duration = Duration::from_secs(3);

/// One gateway's opinion of another.
struct Opinion {
    passage: bool,
    since: Mono,
    level: Level,
}

/// Observes until `tasks` ends. A gateway cut off from the hub reports nothing.
pub(crate) fn run(tasks: &TaskSet, world: World, reports: ReportTable) {
    tasks.spawn("modelled gateways", async move {
        let mut opinions: BTreeMap<(String, String), Opinion> = BTreeMap::new();
        let mut ticks = hanse_rt::interval(REPORT, Duration::ZERO);
        let mut sequence = 0;
        loop {
            ticks.tick().await;
            sequence += 1;
            let now = Mono::now();
            for observer in world.members() {
                let mut seen = Vec::new();
                for target in world.members().filter(|target| target.name() != observer.name()) {
                    let from = (observer.name().to_owned(), observer.faults());
                    let ends = Ends::new(from, (target.name().to_owned(), target.faults()));
                    let passage = matches!(ends.passage(), Passage::Open(_));
                    let pair = (observer.name().to_owned(), target.name().to_owned());
                    let opinion = opinions.entry(pair).or_insert(Opinion {
                        passage,
                        since: now,
                        level: Level::Unknown,
                    });
                    opinion.look(passage, now);
                    seen.push(Observation::new(target.name(), opinion.level, Duration::ZERO));
                }
                if reaches_hub(&world, observer.name()) {
                    let report = Report { session: 1, sequence, observations: seen };
                    reports.record(observer.name(), &report, now);
                }
            }
        }
    });
}

fn reaches_hub(world: &World, name: &str) -> bool {
    let Some(member) = world.member(name) else {
        return false;
    };
    let hub = (hanse_sim::faults::HUB.to_owned(), world.hub_faults().subscribe());
    let ends = Ends::new((name.to_owned(), member.faults()), hub);
    matches!(ends.passage(), Passage::Open(_))
}

impl Opinion {
    fn look(&mut self, passage: bool, now: Mono) {
        if passage != self.passage {
            self.passage = passage;
            self.since = now;
        }
        let long = now - self.since;
        if passage && (long >= UP || self.level == Level::Unknown) {
            self.level = Level::Up;
        }
        if !passage && long >= DOWN {
            self.level = Level::Down;
        }
    }
}
