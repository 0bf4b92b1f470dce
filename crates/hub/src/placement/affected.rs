//! Which bindings an event can affect, so that it wakes these and no others, and which bindings
//! wait for a place.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{Move, ResourceBinding, selects};
use hanse_render::Labels;
use hanse_rt::Mono;
use hanse_scheduler::{Member, PodNeeds, Request, Rules};

use crate::{
    Key,
    policies::{Policy, PolicyKey},
};

/// A binding that waits is tried again after this long when room appears, twice as long after each
/// failure, up to [`LONGEST_STEP`].
const FIRST_STEP: Duration = super::fleet::REFRESH;
/// The longest of these times.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// The one [`Affected`] of a hub: placement keeps it, and who explains decisions asks it. Cloning
/// shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits(Arc<Mutex<Affected>>);

impl Waits {
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut Affected) -> R) -> R {
        change(&mut self.0.lock().expect("no holder of this lock panics"))
    }
}

/// Indices from what events are about to bindings.
#[derive(Debug, Default)]
pub(super) struct Affected {
    by_policy: BTreeMap<PolicyKey, BTreeSet<Key>>,
    /// By members that open moves leave.
    by_move: BTreeMap<String, BTreeSet<Key>>,
    known: BTreeMap<Key, (Option<PolicyKey>, BTreeSet<String>)>,
    /// Bindings that may go to members that they are not in, with the rules that say to which.
    roaming: BTreeMap<Key, Arc<Rules>>,
    /// Bindings whose policy looks at where other workloads of the namespace are.
    looking: BTreeMap<Key, Arc<Policy>>,
    waiting: BTreeMap<Key, Waiting>,
}

/// A binding without a place for all its replicas.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Its importance.
    pub(super) importance: i32,
    /// Since when it waits.
    pub(super) since: Mono,
    /// What it asks for.
    pub(super) request: Arc<Request>,
    failures: u32,
}

impl Affected {
    /// Notes a binding as it is, or that it is gone.
    pub(super) fn note_binding(&mut self, key: &Key, binding: Option<&ResourceBinding>) {
        let policy = binding.and_then(|b| b.spec.policy.as_ref()).map(PolicyKey::of_ref);
        let moves = binding.map_or(&[][..], |b| &b.spec.moves);
        let open = moves.iter().filter(|step| !step.state.is_final());
        let left: BTreeSet<String> = open.map(|step: &Move| step.from.clone()).collect();
        let now = (policy, left);
        let before = self.known.get(key);
        if before == Some(&now) && binding.is_some() {
            return;
        }
        if let Some((policy, left)) = self.known.remove(key) {
            if let Some(policy) = policy {
                unlink(&mut self.by_policy, &policy, key);
            }
            for member in &left {
                unlink(&mut self.by_move, member, key);
            }
        }
        if binding.is_none() {
            self.roaming.remove(key);
            self.looking.remove(key);
            self.waiting.remove(key);
            return;
        }
        if let Some(policy) = &now.0 {
            self.by_policy.entry(policy.clone()).or_default().insert(key.clone());
        }
        for member in &now.1 {
            self.by_move.entry(member.clone()).or_default().insert(key.clone());
        }
        self.known.insert(key.clone(), now);
    }

    /// Notes whether a binding may go to members that it is not in.
    pub(super) fn note_roaming(&mut self, key: &Key, rules: Option<Arc<Rules>>) {
        match rules {
            Some(rules) => drop(self.roaming.insert(key.clone(), rules)),
            None => drop(self.roaming.remove(key)),
        }
    }

    /// Notes whether the policy of a binding wants it near to other workloads, or away from them.
    pub(super) fn note_looking(&mut self, key: &Key, policy: Option<&Arc<Policy>>) {
        let looks = |policy: &&Arc<Policy>| {
            !policy.placement.near.is_empty() || !policy.placement.away.is_empty()
        };
        match policy.filter(looks) {
            Some(policy) => drop(self.looking.insert(key.clone(), Arc::clone(policy))),
            None => drop(self.looking.remove(key)),
        }
    }

    /// Bindings of a namespace that look at where a workload with these labels is; all that look
    /// anywhere while its labels are not known.
    pub(super) fn looking_at(&self, namespace: &str, labels: Option<&Labels>) -> Vec<Key> {
        let sees = |policy: &Policy| {
            let mut selectors = policy.placement.near.iter().chain(&policy.placement.away);
            labels.is_none_or(|labels| {
                selectors.any(|selector| selects(selector, |key| labels.get(key)))
            })
        };
        self.looking
            .range(Key::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .filter(|(_, policy)| sees(policy))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Notes that a binding waits, since `since` if it does not already.
    pub(super) fn wait(&mut self, key: &Key, importance: i32, request: Arc<Request>, since: Mono) {
        let known = self.waiting.get(key);
        let (since, failures) =
            known.map_or((since, 0), |known| (known.since, known.failures.saturating_add(1)));
        self.waiting.insert(key.clone(), Waiting { importance, since, request, failures });
    }

    /// Notes that a binding has its place, or asks for something else now.
    pub(super) fn placed(&mut self, key: &Key) {
        self.waiting.remove(key);
    }

    /// Bindings whose policy this is.
    pub(super) fn of_policy(&self, policy: &PolicyKey) -> Vec<Key> {
        self.by_policy.get(policy).into_iter().flatten().cloned().collect()
    }

    /// Bindings that are moving away from a member.
    pub(super) fn leaving(&self, member: &str) -> Vec<Key> {
        self.by_move.get(member).into_iter().flatten().cloned().collect()
    }

    /// Bindings that may go to any of these members, or shall go no more: states of one member.
    pub(super) fn roaming(&self, states: &[Member]) -> Vec<Key> {
        let mut asked = Asked::default();
        let all = self.roaming.iter().filter(|(_, rules)| asked.selects_any(rules, states));
        all.map(|(key, _)| key.clone()).collect()
    }

    /// Whether a binding is known to wait.
    pub(super) fn is_waiting(&self, key: &Key) -> bool {
        self.waiting.contains_key(key)
    }

    /// Whether no binding waits.
    pub(super) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bindings that wait, in the order in which they shall be served, with the time until they
    /// are tried again. With `room`, only those of which a replica would fit in that member.
    pub(super) fn waiting(&self, room: Option<&Member>) -> Vec<(Key, i32, Duration)> {
        // Many wait for the same: each shape is counted once.
        let mut counted: Vec<(Arc<PodNeeds>, bool)> = Vec::new();
        let mut fits = |request: &Arc<Request>| {
            let Some(member) = room else { return true };
            let known = counted.iter().find(|(needs, _)| *needs == request.needs);
            if let Some((_, fits)) = known {
                return *fits;
            }
            let fits = member.seems_to_hold(&request.needs).is_none_or(|count| count > 0)
                || member.has_elastic_room();
            counted.push((Arc::clone(&request.needs), fits));
            fits
        };
        let mut list: Vec<(&Key, &Waiting)> =
            self.waiting.iter().filter(|(_, waiting)| fits(&waiting.request)).collect();
        list.sort_by_key(|(_, waiting)| (Reverse(waiting.importance), waiting.since));
        let step = |waiting: &Waiting| {
            FIRST_STEP.saturating_mul(1 << waiting.failures.min(10)).min(LONGEST_STEP)
        };
        list.into_iter().map(|(k, w)| (k.clone(), w.importance, step(w))).collect()
    }

    /// What waits with higher importance than this and has room held for it: the most important
    /// and longest waiting first.
    pub(super) fn held(&self, importance: i32, hold: Duration) -> Vec<(Key, Waiting)> {
        let holds =
            |waiting: &Waiting| waiting.importance > importance && waiting.since.elapsed() < hold;
        let mut list: Vec<(Key, Waiting)> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| holds(waiting))
            .map(|(key, waiting)| (key.clone(), waiting.clone()))
            .collect();
        list.sort_by_key(|(_, waiting)| (Reverse(waiting.importance), waiting.since));
        list
    }
}

/// Answers to whether rules select any of some members. The bindings of one policy share their
/// rules: these are asked once.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<usize, bool>);

impl Asked {
    /// Whether these rules do; the members are the same each time.
    pub(super) fn selects_any(&mut self, rules: &Arc<Rules>, members: &[Member]) -> bool {
        let selects = || members.iter().any(|member| rules.select(member));
        *self.0.entry(Arc::as_ptr(rules).addr()).or_insert_with(selects)
    }
}

fn unlink<K: Ord>(map: &mut BTreeMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(keys) = map.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_scheduler::{NodeShape, Resources, Room, Selection};

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("shop", name)
    }

    fn request(cpu_milli: u64) -> Arc<Request> {
        let request = Resources { cpu_milli, ..Resources::default() };
        let needs = Arc::new(PodNeeds { request, ..PodNeeds::default() });
        Arc::new(Request { needs, ..Request::default() })
    }

    fn member(cpu_milli: u64) -> Member {
        let free = Resources { cpu_milli, ..Resources::default() };
        let shape = NodeShape { nodes: 1, free, free_pods: 9, ..NodeShape::default() };
        Member { name: "m".into(), room: Room::nodes(vec![shape]), ..Member::default() }
    }

    fn names(list: &[(Key, i32, Duration)]) -> Vec<&str> {
        list.iter().map(|(key, _, _)| key.name.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_by_importance_then_by_time_and_only_where_it_fits() {
        let mut all = Affected::default();
        for (name, importance, cpu) in [("z", 0, 500), ("a", 0, 500), ("b", 5, 2000), ("c", 5, 500)]
        {
            all.wait(&key(name), importance, request(cpu), Mono::now());
            hanse_rt::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(names(&all.waiting(None)), ["b", "c", "z", "a"]);
        assert_eq!(names(&all.waiting(Some(&member(1000)))), ["c", "z", "a"]);
        assert!(all.waiting(Some(&member(100))).is_empty());
        let held: Vec<Key> =
            all.held(0, Duration::from_mins(1)).into_iter().map(|(key, _)| key).collect();
        assert_eq!(held, [key("b"), key("c")]);
        hanse_rt::sleep(Duration::from_secs(58)).await;
        assert_eq!(all.held(0, Duration::from_mins(1)).len(), 1, "the first has waited a minute");
        all.placed(&key("c"));
        assert!(all.held(0, Duration::from_mins(1)).is_empty());
    }

    #[test]
    fn each_failure_doubles_the_time_until_the_next_try_and_a_place_ends_it() {
        let mut all = Affected::default();
        let mut last = Duration::ZERO;
        for turn in 0..8 {
            all.wait(&key("a"), 0, request(1), Mono::now());
            let step = all.waiting(None)[0].2;
            assert!(step == FIRST_STEP || step == (last * 2).min(LONGEST_STEP), "{turn}: {step:?}");
            last = step;
        }
        assert_eq!(last, LONGEST_STEP);
        all.placed(&key("a"));
        all.wait(&key("a"), 0, request(1), Mono::now());
        assert_eq!(all.waiting(None)[0].2, FIRST_STEP);
    }

    #[test]
    fn a_change_of_a_member_concerns_who_may_go_there() {
        let mut all = Affected::default();
        let tier = Selection { regions: vec!["eu".to_owned()], ..Selection::default() };
        let rules = Rules { tiers: vec![tier], ..Rules::default() };
        all.note_roaming(&key("eu"), Some(Arc::new(rules)));
        all.note_roaming(&key("any"), Some(Arc::default()));
        let us = Member { region: "us".into(), ..Member::default() };
        let eu = Member { region: "eu".into(), ..Member::default() };
        assert_eq!(all.roaming(std::slice::from_ref(&us)), [key("any")]);
        assert_eq!(all.roaming(&[us, eu]), [key("any"), key("eu")], "before and after");
        all.note_roaming(&key("any"), None);
        assert!(all.roaming(&[Member::default()]).is_empty());
    }

    #[test]
    fn a_binding_is_found_by_its_policy_until_it_has_another_or_is_gone() {
        let mut all = Affected::default();
        let policy = |name: &str| PolicyKey::namespaced("shop", name);
        let mut binding = ResourceBinding::default();
        for name in ["p", "q"] {
            binding.spec.policy = Some(hanse_api::PolicyRef {
                kind: "PropagationPolicy".to_owned(),
                namespace: "shop".to_owned(),
                name: name.to_owned(),
                ..hanse_api::PolicyRef::default()
            });
            all.note_binding(&key("b"), Some(&binding));
        }
        assert!(all.of_policy(&policy("p")).is_empty());
        assert_eq!(all.of_policy(&policy("q")), [key("b")]);
        all.note_binding(&key("b"), None);
        assert!(all.of_policy(&policy("q")).is_empty() && all.by_policy.is_empty());
    }

    #[test]
    fn who_looks_at_other_workloads_is_found_by_their_labels_and_namespace() {
        let mut all = Affected::default();
        let policy = |selector: &str, labels: serde_json::Value| {
            let policy: hanse_api::PropagationPolicy = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p", "namespace": "shop"},
                "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
                    "placement": {selector: [{"matchLabels": labels}]}}}))
            .unwrap();
            Arc::new(Policy::of_namespaced(&policy))
        };
        let db = serde_json::json!({"app": "db"});
        all.note_looking(&key("near"), Some(&policy("near", db.clone())));
        all.note_looking(&key("away"), Some(&policy("away", serde_json::json!({"app": "noisy"}))));
        all.note_looking(&Key::new("other", "near"), Some(&policy("near", db)));
        let labels = |app: &str| Labels::from_iter([("app".to_owned(), app.to_owned())]);
        assert_eq!(all.looking_at("shop", Some(&labels("db"))), [key("near")]);
        assert_eq!(all.looking_at("shop", Some(&labels("noisy"))), [key("away")]);
        assert!(all.looking_at("shop", Some(&labels("web"))).is_empty());
        assert_eq!(all.looking_at("shop", None), [key("away"), key("near")]);
        all.note_looking(&key("near"), None);
        all.note_binding(&key("away"), None);
        assert!(all.looking_at("shop", None).is_empty());
    }
}
