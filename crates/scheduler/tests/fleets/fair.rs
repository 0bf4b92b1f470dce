//! Property 6: over random keys equal members get the odd replica equally often. Knows nothing of
//! how ties are broken: it counts.

use std::{collections::BTreeMap, sync::Arc};

use hanse_scheduler::{
    Assignment, DivideBy, Fleet, Member, Mode, NodeShape, PodNeeds, Request, Resources, Room,
    Rules, Selection, Weight, schedule,
};

use crate::cases::Dice;

/// Decisions for each set of members.
const KEYS: u32 = 48;

/// How far from even a set of members was: Pearson's sum, which is near its degrees of freedom
/// when all is fair.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unevenness {
    sum: f64,
    freedom: f64,
}

impl Unevenness {
    pub(crate) fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.freedom += other.freedom;
    }

    /// By how many standard deviations the sum differs from what chance gives.
    pub(crate) fn deviations(self) -> f64 {
        (self.sum - self.freedom) / (2.0 * self.freedom).sqrt()
    }

    /// The sum that chance exceeds once in more than 10^12 times (Wilson and Hilferty).
    fn limit(self) -> f64 {
        let part = 2.0 / (9.0 * self.freedom);
        self.freedom * (1.0 - part + 7.0 * part.sqrt()).powi(3)
    }
}

/// Equal members, and replicas that they cannot share evenly.
struct Odd {
    fleet: Fleet,
    request: Request,
    names: Vec<Arc<str>>,
    /// What all have at least.
    each: u32,
    /// How many have more.
    winners: u32,
}

/// Checks one random set of equal members over random keys.
pub(crate) fn check(seed: u64) -> Unevenness {
    let mut dice = Dice(seed ^ 0x6666);
    let odd = odd(&mut dice);
    let mut wins: BTreeMap<&str, u32> = odd.names.iter().map(|name| (&**name, 0)).collect();
    for _ in 0..KEYS {
        let placed = schedule(&odd.fleet, &odd.request, dice.next()).unwrap().assignment;
        let won = |name: &&Arc<str>| placed.of(name) > odd.each;
        let winners: Vec<&Arc<str>> = odd.names.iter().filter(won).collect();
        assert_eq!(winners.len(), odd.winners as usize, "{placed:?}");
        for name in winners {
            *wins.get_mut(&**name).unwrap() += 1;
        }
    }
    let members = f64::from(u32::try_from(odd.names.len()).unwrap());
    let share = f64::from(odd.winners) / members;
    let expected = f64::from(KEYS) * share;
    // Those who win together are drawn without putting back.
    let spread = expected * (1.0 - share) * members / (members - 1.0);
    let sum = wins.values().map(|wins| (f64::from(*wins) - expected).powi(2) / spread).sum();
    let found = Unevenness { sum, freedom: members - 1.0 };
    assert!(found.sum <= found.limit(), "{found:?} {wins:?}");
    found
}

fn odd(dice: &mut Dice) -> Odd {
    let members = dice.within(2, 9);
    let room = dice.within(12, 40);
    let names: Vec<Arc<str>> = (0..members).map(|_| format!("{:x}", dice.next()).into()).collect();
    let free = Resources {
        cpu_milli: 250 * u64::from(room),
        memory_bytes: 1 << 40,
        ..Resources::default()
    };
    let shape = NodeShape {
        nodes: 1,
        allocatable: free.clone(),
        free,
        free_pods: u64::from(room),
        ..NodeShape::default()
    };
    let weight = Weight { clusters: Selection::default(), weight: dice.within(1, 1_000_000) };
    let mode = match dice.within(0, 3) {
        0 => Mode::Divide(DivideBy::Capacity),
        1 => Mode::Divide(DivideBy::Weighted(Arc::new(vec![weight]))),
        2 => Mode::Divide(DivideBy::Pack),
        _ => Mode::Whole,
    };
    let shares = matches!(&mode, Mode::Divide(by) if *by != DivideBy::Pack);
    let (each, winners) =
        if shares { (dice.within(0, 5), dice.within(1, members - 1)) } else { (0, 1) };
    // What is not shared goes to one member.
    let replicas = if shares { each * members + winners } else { dice.within(1, room) };
    // Where each stands apart or all stand together, none is nearer than another.
    let together = dice.percent(50);
    let place = |name: &str| if together { "z".into() } else { name.into() };
    let request = Resources { cpu_milli: 250, ..Resources::default() };
    let fleet = names.iter().map(|name| Member {
        name: Arc::clone(name),
        provider: place(name),
        region: place(name),
        zone: place(name),
        room: Room::nodes(vec![shape.clone()]),
        ..Member::default()
    });
    Odd {
        fleet: Fleet::new(fleet),
        request: Request {
            rules: Arc::new(Rules { steady: dice.percent(50), ..Rules::default() }),
            needs: Arc::new(PodNeeds { request, ..PodNeeds::default() }),
            replicas,
            mode,
            // With history too: all have the same.
            previous: if shares && each > 0 && dice.percent(30) {
                names.iter().map(|name| (Arc::clone(name), each)).collect()
            } else {
                Assignment::default()
            },
            ..Request::default()
        },
        names,
        each,
        winners,
    }
}
