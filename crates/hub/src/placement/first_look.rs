//! A hub that starts does not know its members yet. What it would decide at once goes to the few
//! that told of their room first, and stays there. So decisions that add wait until every member
//! that they may go to, and that was well when the hub before was last seen, has told of its room
//! or proved silent. While members tell, nothing else is done: all bindings would be looked at
//! again for each of them, and reading their copies would keep the others from telling.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{
    MemberCluster,
    conditions::{is_true, member},
};
use hanse_rt::{Mono, Readiness, TaskSet};
use hanse_scheduler::{Member, Rules};
use kube::ResourceExt as _;

use super::{
    Placement,
    affected::Asked,
    fleet::{is_joined, member_of},
};
use crate::{Key, Session, World};

/// How long members may take at most. One that is silent is found out by its probe, in a few
/// seconds; this is for one that answers and does not let its nodes or pods be read.
const MOST: Duration = Duration::from_secs(10);
/// When nobody has told anything for so long, what does not wait for the rest begins. Longer than
/// a probe takes to fail, and than a far member takes to say who it is.
const QUIET: Duration = Duration::from_millis(1500);
/// How often it is looked who has told.
const TICK: Duration = Duration::from_millis(50);

/// Who has not told of its room yet, and which bindings wait for that. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstLook {
    looking: Arc<Mutex<Looking>>,
    /// Whether the members have told of themselves, or have stopped to.
    known: Readiness,
}

#[derive(Debug, Default)]
struct Looking {
    /// As they were when the fleet was looked at last.
    awaited: Vec<Member>,
    parked: BTreeMap<Key, Arc<Rules>>,
}

impl FirstLook {
    fn with<R>(&self, change: impl FnOnce(&mut Looking) -> R) -> R {
        change(&mut self.looking.lock().expect("no holder of this lock panics"))
    }

    /// Whether a binding that these rules place has to wait. It is woken then.
    pub(super) fn waits(&self, key: &Key, rules: &Arc<Rules>, world: &World) -> bool {
        self.with(|all| {
            let mut selected = all.awaited.iter().filter(|member| rules.select(member));
            // Who has told since the last look is not waited for.
            let waits = selected.any(|member| {
                world.member(&member.name).is_some_and(|cluster| is_untold(&cluster, world))
            });
            if waits {
                all.parked.insert(key.clone(), Arc::clone(rules));
            }
            waits
        })
    }

    /// Notes who is awaited now, and takes out the bindings that need not wait any more.
    fn release(&self, awaited: Vec<Member>) -> Vec<Key> {
        self.with(|all| {
            all.awaited = awaited;
            let mut asked = Asked::default();
            let free = |_: &Key, rules: &mut Arc<Rules>| !asked.selects_any(rules, &all.awaited);
            all.parked.extract_if(.., free).map(|(key, _)| key).collect()
        })
    }
}

/// Members that were well, as far as the hub has written it down, and have told nothing yet.
fn awaited(world: &World) -> Vec<Member> {
    let members = world.objects().members.all();
    let untold = members.iter().filter(|cluster| was_well(cluster) && is_untold(cluster, world));
    untold.map(|cluster| member_of(cluster, world)).collect()
}

fn was_well(cluster: &MemberCluster) -> bool {
    let Some(status) = &cluster.status else {
        return false;
    };
    let verdict = status.verdict.as_deref();
    cluster.metadata.deletion_timestamp.is_none()
        && is_joined(cluster)
        && is_true(&status.conditions, member::API_REACHABLE)
        && verdict.is_none_or(|verdict| matches!(verdict, "Healthy" | "Unknown"))
}

fn is_untold(cluster: &MemberCluster, world: &World) -> bool {
    let Some(session) = world.session(&cluster.name_any()) else {
        return true;
    };
    match session.sight().borrow().up {
        None => true,
        Some(true) => session.room().is_none() || session.kinds().is_none(),
        Some(false) => false,
    }
}

impl Placement {
    /// Ready when the members have told of themselves, or have stopped to.
    pub(crate) const fn members_known(&self) -> &Readiness {
        &self.first_look.known
    }

    /// Begins to wait for the members. What they tell later is not waited for.
    pub(super) fn look_first(&self, tasks: &TaskSet) {
        let this = self.clone();
        let shutdown = tasks.shutdown();
        self.first_look.release(awaited(&self.world));
        let mut hold = Some(self.first_look.known.hold("members"));
        tasks.spawn("first look", async move {
            let since = Mono::now();
            let (mut told, mut told_at) = (0, since);
            loop {
                let left = awaited(&this.world);
                let late = since.elapsed() >= MOST;
                if late && !left.is_empty() {
                    let names: Vec<&str> =
                        left.iter().map(|member| &*member.name).take(10).collect();
                    tracing::warn!(
                        count = left.len(),
                        names = names.join(", "),
                        "members do not tell of their room; work is placed without them"
                    );
                }
                let left = if late { Vec::new() } else { left };
                let done = left.is_empty();
                if hold.is_some() {
                    let now_told = told_so_far(&this.world);
                    if now_told != told {
                        (told, told_at) = (now_told, Mono::now());
                    }
                    if done || told_at.elapsed() >= QUIET {
                        drop(hold.take());
                    }
                }
                this.wake(this.first_look.release(left));
                if done {
                    return;
                }
                hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    () = hanse_rt::sleep(TICK) => {}
                }
            }
        });
    }
}

/// Counts what the members have told: that they are there, that they answer, their kinds and room.
fn told_so_far(world: &World) -> usize {
    let told = |session: &Arc<Session>| {
        let answers = session.sight().borrow().up.is_some();
        1 + usize::from(answers)
            + usize::from(session.kinds().is_some())
            + usize::from(session.room().is_some())
    };
    world.sessions().iter().map(told).sum()
}
