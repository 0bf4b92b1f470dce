//! Recorded figures of Karmada's scheduler (commit f8fdd02df, Go 1.27.3, one core of an AMD EPYC),
//! processor milliseconds a call, best and typical, over fleets of the same make.

const SCENARIOS: [&str; 9] = ["a", "b", "c", "d", "e", "f0", "f1", "f2", "f3"];

const MILLIS: [(u64, [(f64, f64); 9]); 4] = [
    (
        10,
        [
            (0.081, 0.092),
            (0.137, 0.157),
            (0.108, 0.133),
            (0.103, 0.113),
            (0.110, 0.126),
            (0.092, 0.110),
            (0.088, 0.108),
            (0.097, 0.109),
            (0.109, 0.122),
        ],
    ),
    (
        100,
        [
            (0.895, 1.119),
            (1.260, 1.431),
            (1.024, 1.166),
            (0.958, 1.117),
            (1.035, 1.258),
            (1.013, 1.235),
            (0.891, 1.205),
            (0.982, 1.206),
            (1.070, 1.238),
        ],
    ),
    (
        1000,
        [
            (13.7, 17.1),
            (16.3, 21.7),
            (15.2, 17.5),
            (15.1, 18.3),
            (13.7, 17.0),
            (14.3, 18.1),
            (13.3, 17.4),
            (14.2, 18.9),
            (13.5, 17.5),
        ],
    ),
    (
        5000,
        [
            (84.3, 98.3),
            (107.1, 133.4),
            (85.1, 109.8),
            (87.3, 105.9),
            (91.9, 109.8),
            (94.9, 122.9),
            (89.1, 107.5),
            (93.9, 117.5),
            (85.9, 111.8),
        ],
    ),
];

/// The peer's best and typical milliseconds for a scenario.
pub(crate) fn millis(members: u64, scenario: &str) -> Option<(f64, f64)> {
    let column = SCENARIOS.iter().position(|known| *known == scenario)?;
    let (_, row) = MILLIS.iter().find(|(known, _)| *known == members)?;
    row.get(column).copied()
}
