//! What a planner keeps between decisions, and when it still holds: what a set of rules selects,
//! how many replicas of one shape fit in each member, and both side by side for each open member.
//! Knows nothing of one request beyond its rules, its mode and its shape.

use std::sync::Arc;

use crate::{
    DivideBy, Fleet, Mode, PodNeeds, Request, Rules, candidate::Candidate, filter::Selected,
    room::Fits,
};

/// How many sets of rules, and how many shapes, a planner keeps.
const KEPT: usize = 128;
/// How many pairs of both; each takes some 60 bytes an open member.
const PAIRS: usize = 64;

/// Everything that repeats. Each part is used again only while the fleet says that it still holds.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    selected: Vec<Known>,
    columns: Vec<Column>,
    pairs: Vec<Pair>,
    turn: u64,
}

/// What one set of rules selects.
#[derive(Debug)]
struct Known {
    /// The turn in which it was met first: no two have the same.
    id: u64,
    rules: Arc<Rules>,
    mode: Mode,
    kind: Arc<str>,
    versions: (u64, u64),
    selected: Arc<Selected>,
    used: u64,
}

/// How many replicas of one shape fit in each member.
#[derive(Debug)]
pub(crate) struct Column {
    needs: Arc<PodNeeds>,
    used: u64,
    /// What was counted, and which room it was counted for; 0: none.
    fits: Vec<Option<Fits>>,
    rooms: Vec<u64>,
    /// For which rooms the 64 entries of a chunk were looked at last, and which of them hold.
    chunks: Vec<(u64, u64)>,
}

/// What one set of rules and one shape say of each open member.
#[derive(Debug)]
struct Pair {
    known: u64,
    selected: Arc<Selected>,
    needs: Arc<PodNeeds>,
    used: u64,
    rows: Vec<Candidate>,
    /// For which rooms the rows of 64 members were counted, and how many rows stand before them.
    chunks: Vec<(u64, usize)>,
}

impl Column {
    pub(crate) fn fits(&mut self, fleet: &Fleet, at: usize) -> Option<Fits> {
        let (chunk, bit) = (at / 64, 1_u64 << (at % 64));
        let version = fleet.chunk_version(chunk);
        if self.chunks[chunk].0 != version {
            self.look_again(fleet, chunk, version);
        }
        if self.chunks[chunk].1 & bit == 0 {
            self.fits[at] = fleet.at(at).fits(&self.needs);
            self.rooms[at] = fleet.room_version(at);
            self.chunks[chunk].1 |= bit;
        }
        self.fits[at]
    }

    /// Which entries of a chunk are still those of the members' rooms. Versions are never given
    /// twice, so that an entry whose place belongs to another member now is not.
    #[cold]
    fn look_again(&mut self, fleet: &Fleet, chunk: usize, version: u64) {
        let first = chunk * 64;
        let mut valid = 0;
        for at in first..(first + 64).min(fleet.len()) {
            valid |= u64::from(self.rooms[at] == fleet.room_version(at)) << (at - first);
        }
        self.chunks[chunk] = (version, valid);
    }
}

impl Pair {
    fn new(known: u64, selected: &Arc<Selected>, needs: &Arc<PodNeeds>) -> Self {
        let (selected, needs) = (Arc::clone(selected), Arc::clone(needs));
        Self { known, selected, needs, used: 0, rows: Vec::new(), chunks: Vec::new() }
    }

    /// Makes the rows those of another selection.
    fn begin(&mut self, fleet: &Fleet, selected: &Arc<Selected>) {
        self.selected = Arc::clone(selected);
        self.rows.clear();
        self.rows.extend(selected.open.iter().map(Candidate::row));
        self.chunks.clear();
        let mut before = 0;
        for chunk in 0..fleet.len().div_ceil(64) {
            self.chunks.push((0, before));
            let rows = &self.rows[before..];
            before += rows.iter().take_while(|row| row.at as usize / 64 == chunk).count();
        }
    }

    /// Counts again what fits where rooms are not those of the last time.
    fn refresh(&mut self, fleet: &Fleet, column: &mut Column) {
        for chunk in 0..self.chunks.len() {
            let version = fleet.chunk_version(chunk);
            if self.chunks[chunk].0 != version {
                let first = self.chunks[chunk].1;
                let last = self.chunks.get(chunk + 1).map_or(self.rows.len(), |next| next.1);
                for row in &mut self.rows[first..last] {
                    row.set_room(column.fits(fleet, row.at as usize));
                }
                self.chunks[chunk].0 = version;
            }
        }
    }
}

impl Kept {
    /// What the rules of a request select, and the number under which that is known.
    pub(crate) fn select(&mut self, fleet: &Fleet, request: &Request) -> (u64, Arc<Selected>) {
        self.turn += 1;
        let versions = (fleet.index().version, fleet.live().version);
        let same = |known: &Known| {
            Arc::ptr_eq(&known.rules, &request.rules)
                && (Arc::ptr_eq(&known.kind, &request.kind) || known.kind == request.kind)
                && same_weights(&known.mode, &request.mode)
        };
        let turn = self.turn;
        if let Some(known) = self.selected.iter_mut().find(|known| same(known)) {
            known.used = turn;
            if known.versions != versions {
                known.versions = versions;
                known.selected = Arc::new(Selected::new(fleet, request));
            }
            return (known.id, Arc::clone(&known.selected));
        }
        forget(&mut self.selected, KEPT, |known| known.used);
        let selected = Arc::new(Selected::new(fleet, request));
        self.selected.push(Known {
            id: turn,
            rules: Arc::clone(&request.rules),
            mode: request.mode.clone(),
            kind: Arc::clone(&request.kind),
            versions,
            selected: Arc::clone(&selected),
            used: turn,
        });
        (turn, selected)
    }

    /// What is said of each open member, in order of place, and what fits in all of them.
    pub(crate) fn rows(
        &mut self,
        fleet: &Fleet,
        (known, selected): (u64, &Arc<Selected>),
        needs: &Arc<PodNeeds>,
    ) -> (&[Candidate], &mut Column) {
        let turn = self.turn;
        let same = |pair: &Pair| pair.known == known && same_needs(&pair.needs, needs);
        let at = self.pairs.iter().position(same).unwrap_or_else(|| {
            forget(&mut self.pairs, PAIRS, |pair| pair.used);
            self.pairs.push(Pair::new(known, selected, needs));
            self.pairs.len() - 1
        });
        let column = column(&mut self.columns, turn, fleet, needs);
        let pair = &mut self.pairs[at];
        pair.used = turn;
        if pair.chunks.is_empty() || !Arc::ptr_eq(&pair.selected, selected) {
            pair.begin(fleet, selected);
        }
        pair.refresh(fleet, column);
        (&pair.rows, column)
    }
}

fn column<'a>(
    columns: &'a mut Vec<Column>,
    turn: u64,
    fleet: &Fleet,
    needs: &Arc<PodNeeds>,
) -> &'a mut Column {
    let at =
        columns.iter().position(|known| same_needs(&known.needs, needs)).unwrap_or_else(|| {
            forget(columns, KEPT, |column| column.used);
            columns.push(Column {
                needs: Arc::clone(needs),
                used: turn,
                fits: Vec::new(),
                rooms: Vec::new(),
                chunks: Vec::new(),
            });
            columns.len() - 1
        });
    let column = &mut columns[at];
    column.used = turn;
    if column.fits.len() != fleet.len() {
        column.fits.resize(fleet.len(), None);
        column.rooms.resize(fleet.len(), 0);
        column.chunks.clear();
        column.chunks.resize(fleet.len().div_ceil(64), (0, 0));
    }
    column
}

/// Makes room for one more.
fn forget<T>(kept: &mut Vec<T>, most: usize, used: impl Fn(&T) -> u64) {
    if kept.len() >= most {
        let oldest = kept.iter().enumerate().min_by_key(|(_, entry)| used(entry));
        if let Some(at) = oldest.map(|(at, _)| at) {
            kept.swap_remove(at);
        }
    }
}

fn same_needs(a: &Arc<PodNeeds>, b: &Arc<PodNeeds>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn same_weights(a: &Mode, b: &Mode) -> bool {
    match (a, b) {
        (Mode::Divide(DivideBy::Weighted(a)), Mode::Divide(DivideBy::Weighted(b))) => {
            Arc::ptr_eq(a, b) || a == b
        }
        (Mode::Divide(DivideBy::Weighted(_)), _) | (_, Mode::Divide(DivideBy::Weighted(_))) => {
            false
        }
        _ => true,
    }
}
