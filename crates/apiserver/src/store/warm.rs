//! The trees of the objects that were written last, over all servers of the process: what was just
//! written is most likely to be written next, and need not be read from its JSON then.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, Weak},
};

use super::{Object, tree::Tree};

/// Bytes of JSON whose trees are kept; a tree takes some six times its JSON.
const BYTES: usize = 1 << 20;
/// Trees that are kept.
const TREES: usize = 512;

#[derive(Debug)]
struct Warm {
    /// Oldest first; many are cold already because their object was written again.
    objects: VecDeque<(Weak<Object>, usize)>,
    bytes: usize,
}

static WARM: Mutex<Warm> = Mutex::new(Warm { objects: VecDeque::new(), bytes: 0 });

/// Keeps the tree of an object for some time.
pub(super) fn keep(object: &Arc<Object>, tree: Tree) {
    object.warm(tree);
    let size = object.length;
    let mut cold = Vec::new();
    {
        let mut warm = WARM.lock().expect("no holder of this lock panics");
        warm.objects.push_back((Arc::downgrade(object), size));
        warm.bytes += size;
        while warm.bytes > BYTES || warm.objects.len() > TREES {
            let Some((oldest, size)) = warm.objects.pop_front() else {
                break;
            };
            warm.bytes -= size;
            cold.extend(oldest.upgrade());
        }
    }
    for object in cold {
        object.cool();
    }
}
