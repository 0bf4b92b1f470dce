//! What bindings take of room and quota: what their decision names, less what has finished; and
//! which decisions are on their way to the API, so that an older state of a binding does not give
//! back what a newer decision has taken.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use hanse_api::{ClusterReplicas, ResourceBinding};

use crate::Key;

/// What a decision takes in each cluster. A Job that has finished there has no pods any more.
pub(crate) fn taken(
    binding: &ResourceBinding,
    clusters: &[ClusterReplicas],
) -> Vec<ClusterReplicas> {
    let mut taken = clusters.to_vec();
    for cluster in &mut taken {
        if binding.spec.finished.contains(&cluster.name) {
            cluster.replicas = 0;
        }
    }
    taken
}

/// Decisions that are made, and perhaps not seen in the API yet. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided(Arc<Mutex<BTreeMap<Key, i64>>>);

impl Decided {
    fn with<R>(&self, change: impl FnOnce(&mut BTreeMap<Key, i64>) -> R) -> R {
        change(&mut self.0.lock().expect("no holder of this lock panics"))
    }

    /// Notes that it is decided anew about a binding as it is now. Its next generation has that.
    pub(crate) fn begin(&self, key: &Key, binding: &ResourceBinding) {
        if let Some(generation) = binding.metadata.generation {
            self.with(|all| all.insert(key.clone(), generation));
        }
    }

    /// Notes that the decision was not written.
    pub(crate) fn give_up(&self, key: &Key) {
        self.with(|all| all.remove(key));
    }

    /// Whether a binding, as it was seen, is older than the decision about it.
    pub(crate) fn hides(&self, key: &Key, binding: Option<&ResourceBinding>) -> bool {
        let seen = binding.and_then(|binding| binding.metadata.generation);
        self.with(|all| {
            let Some(decided) = all.get(key) else {
                return false;
            };
            let older = seen.is_some_and(|seen| seen <= *decided);
            if !older {
                all.remove(key);
            }
            older
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(generation: i64) -> ResourceBinding {
        let mut binding = ResourceBinding::default();
        binding.metadata.generation = Some(generation);
        binding
    }

    #[test]
    fn an_older_state_is_hidden_until_the_decision_is_seen_given_up_or_gone() {
        let (decided, key) = (Decided::default(), Key::new("shop", "web"));
        assert!(!decided.hides(&key, Some(&binding(4))));
        decided.begin(&key, &binding(4));
        assert!(decided.hides(&key, Some(&binding(4))), "a status was written meanwhile");
        assert!(!decided.hides(&key, Some(&binding(5))));
        assert!(!decided.hides(&key, Some(&binding(4))), "nothing is on its way any more");
        decided.begin(&key, &binding(5));
        decided.give_up(&key);
        assert!(!decided.hides(&key, Some(&binding(5))));
        decided.begin(&key, &binding(5));
        assert!(!decided.hides(&key, None));
        assert!(!decided.hides(&key, Some(&binding(1))), "it was made anew under its name");
    }

    #[test]
    fn a_job_that_has_finished_takes_nothing() {
        let mut binding = binding(1);
        let cluster = |name: &str| ClusterReplicas { name: name.to_owned(), replicas: 3 };
        binding.spec.clusters = vec![cluster("a"), cluster("b")];
        binding.spec.finished = vec!["a".to_owned()];
        let taken = taken(&binding, &binding.spec.clusters);
        let counts: Vec<i32> = taken.iter().map(|cluster| cluster.replicas).collect();
        assert_eq!(counts, [0, 3]);
    }
}
