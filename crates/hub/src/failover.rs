//! Failover: which losses and drains become orders to leave a member. Placement carries the
//! orders out; the brakes are the detector's.

mod apply;
mod observe;
mod plan;

use std::time::Duration;

use hanse_detector::{Settings, brakes::Brakes};
use hanse_rt::Mono;

use crate::World;

/// How often verdicts are looked at: they settle for 2 s anyway.
const LOOK: Duration = Duration::from_millis(200);

/// Gives orders until the task ends.
pub(crate) async fn run(world: World, settings: Settings) {
    let started = Mono::now();
    let mut planner = plan::Planner::new(Brakes::default(), settings);
    let mut written = apply::Written::new(&world);
    let mut ticks = hanse_rt::interval(LOOK, Duration::ZERO);
    let mut resumed = false;
    loop {
        ticks.tick().await;
        let observed = observe::observe(&world, !resumed);
        let now = Mono::now().saturating_duration_since(started);
        if !resumed {
            planner.resume(&observed, now);
            resumed = true;
        }
        let planned = planner.plan(&observed, now);
        written.apply(&world, planned).await;
    }
}
