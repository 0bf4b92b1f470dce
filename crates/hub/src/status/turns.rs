//! When a status is written: what flips at once, what is through when the bound of writes allows
//! it, and progress seldom, for more of it is about to come. Pure but for the clock and the bucket.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{
    ResourceBindingStatus,
    conditions::{binding, is_true},
};
use hanse_rt::Mono;

use super::{
    apply::Change,
    plan::{Seen, is_through},
};
use crate::{Key, TokenBucket};

/// Progress is told so long after its first step.
const PROGRESS: Duration = Duration::from_millis(500);
/// What does not flip waits so long at most for the end of a rush.
const RUSH: Duration = Duration::from_secs(30);

/// How soon something is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Urgency {
    /// Who watches has to act: before everything else.
    Flip,
    /// Nothing more of it is on its way.
    Through,
    /// More of it is on its way.
    Progress,
}

/// How soon a change is told.
pub(super) fn urgency(seen: &Seen, change: &Change) -> Urgency {
    let nothing = ResourceBindingStatus::default();
    let before = seen.binding.status.as_ref().unwrap_or(&nothing);
    let state = |type_: &str| {
        let known = before.conditions.iter().find(|known| known.type_ == type_);
        known.map(|_| is_true(&before.conditions, type_))
    };
    let now = |type_: &str| is_true(&change.status.conditions, type_);
    let flips = |type_: &str| state(type_).is_some_and(|known| known != now(type_));
    let unplaced = state(binding::SCHEDULED).is_none() && !now(binding::SCHEDULED);
    let fails = change.status.summary.unhealthy > before.summary.unhealthy;
    let survives = flips(binding::SURVIVABLE) && !now(binding::SURVIVABLE);
    if flips(binding::AVAILABLE) || flips(binding::SCHEDULED) || unplaced || fails || survives {
        Urgency::Flip
    } else if change.told.finished || is_through(seen) {
        Urgency::Through
    } else {
        Urgency::Progress
    }
}

/// What waits to be told. Its bound is the number of bindings. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<BTreeMap<Key, Turn>>>);

/// One that waits.
#[derive(Debug)]
struct Turn {
    since: Mono,
    /// When the tokens that were taken for it are there.
    at: Option<Mono>,
}

impl Turns {
    /// How long a change has to wait for so many writes; none when they may be made now.
    pub(super) fn wait(
        &self,
        key: &Key,
        urgency: Urgency,
        writes: u32,
        bucket: &TokenBucket,
        rush: bool,
    ) -> Option<Duration> {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        let now = Mono::now();
        let known = all.remove(key);
        if writes == 0 {
            return None;
        }
        let mut turn = known.unwrap_or(Turn { since: now, at: None });
        if urgency == Urgency::Flip {
            if turn.at.is_none() {
                bucket.reserve(writes);
            }
            return None;
        }
        let progress = turn.since + PROGRESS;
        let rushed = turn.since + RUSH;
        let at = if rush && now < rushed {
            rushed
        } else if urgency == Urgency::Progress && now < progress {
            progress
        } else {
            *turn.at.get_or_insert_with(|| now + bucket.reserve(writes))
        };
        if at <= now {
            return None;
        }
        all.insert(key.clone(), turn);
        Some(at.duration_since(now))
    }

    /// Its binding is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().expect("no holder of this lock panics").remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new("shop", "web")
    }

    #[tokio::test(start_paused = true)]
    async fn progress_waits_for_more_of_it_but_not_for_ever() {
        let (turns, bucket) = (Turns::default(), TokenBucket::new(10));
        let wait = |urgency| turns.wait(&key(), urgency, 1, &bucket, false);
        assert_eq!(wait(Urgency::Progress), Some(PROGRESS));
        hanse_rt::sleep(PROGRESS / 2).await;
        assert_eq!(wait(Urgency::Progress), Some(PROGRESS / 2), "later steps change nothing");
        hanse_rt::sleep(PROGRESS / 2).await;
        assert_eq!(wait(Urgency::Progress), None);
        assert_eq!(wait(Urgency::Progress), Some(PROGRESS), "the next step begins anew");
        assert_eq!(wait(Urgency::Through), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_flips_goes_before_all_that_waits_for_tokens() {
        let (turns, bucket) = (Turns::default(), TokenBucket::new(10));
        bucket.reserve(20);
        let wait = turns.wait(&key(), Urgency::Through, 1, &bucket, false).unwrap();
        assert!(wait > Duration::from_secs(1), "{wait:?}");
        hanse_rt::sleep(wait).await;
        assert_eq!(
            turns.wait(&key(), Urgency::Through, 1, &bucket, false),
            None,
            "its tokens are there"
        );
        bucket.reserve(20);
        assert_eq!(turns.wait(&key(), Urgency::Flip, 1, &bucket, false), None);
        let other = Key::new("shop", "other");
        let after = turns.wait(&other, Urgency::Through, 1, &bucket, false).unwrap();
        assert!(after > Duration::from_secs(2), "what flipped is paid for: {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_rush_only_what_flips_is_told_and_all_else_not_for_ever() {
        let (turns, bucket) = (Turns::default(), TokenBucket::new(10));
        let wait = |urgency, rush| turns.wait(&key(), urgency, 1, &bucket, rush);
        assert_eq!(wait(Urgency::Through, true), Some(RUSH));
        assert_eq!(wait(Urgency::Flip, true), None);
        assert_eq!(wait(Urgency::Through, true), Some(RUSH));
        assert_eq!(wait(Urgency::Through, false), None, "it is over");
        assert_eq!(wait(Urgency::Progress, true), Some(RUSH));
        hanse_rt::sleep(RUSH).await;
        assert_eq!(wait(Urgency::Progress, true), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_needs_no_write_waits_for_nothing_and_takes_nothing() {
        let (turns, bucket) = (Turns::default(), TokenBucket::new(1));
        assert_eq!(turns.wait(&key(), Urgency::Progress, 0, &bucket, false), None);
        assert!(bucket.try_take());
    }
}
