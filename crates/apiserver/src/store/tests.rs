//! History, snapshots and order of the memory store.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::Catalog;

fn kind() -> Arc<Kind> {
    let catalog = Catalog::default();
    Arc::clone(catalog.find("", "v1", "configmaps").unwrap())
}

fn object(name: &str, count: usize) -> Value {
    json!({ "metadata": { "name": name, "namespace": "n" }, "data": { "count": count } })
}

/// Writes or removes one of a few objects, as it comes.
fn step(store: &Store, kind: &Kind, name: &str, count: usize, remove: bool) {
    let key = format!("n/{name}");
    let current = store.get(&kind.storage, &key);
    match (current, remove) {
        (None, true) => {}
        (None, false) => {
            store.put(kind, &key, Expected::Absent, object(name, count), None).unwrap();
        }
        (Some(old), remove) => {
            let expected = Expected::Revision(old.revision);
            if remove {
                store.remove(kind, &key, expected, object(name, count), None).unwrap();
            } else {
                store.put(kind, &key, expected, object(name, count), None).unwrap();
            }
        }
    }
}

fn states(entries: Vec<Entry>) -> BTreeMap<String, u64> {
    let states = entries.into_iter();
    states.map(|(key, object)| (key.to_string(), object.revision)).collect()
}

/// All objects as they were at a revision, read page by page.
fn pages(store: &Store, kind: &Kind, at: u64, limit: usize) -> Result<Vec<Entry>, Expired> {
    let (mut all, mut start): (Vec<Entry>, Arc<str>) = (Vec::new(), "".into());
    loop {
        let part = Part {
            prefix: "",
            start: &start,
            at: Some(at),
            limit,
            counts: true,
            chosen: &|_, _| true,
        };
        let page = store.page(&kind.storage, &part)?;
        all.extend(page.entries);
        let Some(next) = page.next else {
            assert_eq!(page.left, 0);
            return Ok(all);
        };
        assert!(page.left > 0 && all.iter().all(|(key, _)| *key < next));
        start = next;
    }
}

proptest! {
    #[test]
    fn an_earlier_state_can_be_listed_as_long_as_the_history_reaches(
        steps in prop::collection::vec(("[abc]", any::<bool>()), 1..40),
        history in 1..50_usize,
    ) {
        let (store, kind) = (Store::memory(history), kind());
        let mut past: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
        for (count, (name, remove)) in steps.iter().enumerate() {
            step(&store, &kind, name, count, *remove);
            let (revision, entries) = store.snapshot(&kind.storage, "");
            past.insert(revision, states(entries));
        }
        let last = store.revision();
        for (revision, wanted) in past {
            match pages(&store, &kind, revision, 2) {
                Ok(entries) => {
                    let whole = pages(&store, &kind, revision, 0).unwrap();
                    prop_assert_eq!(states(whole), wanted.clone());
                    prop_assert_eq!(states(entries), wanted);
                }
                Err(expired) => {
                    prop_assert!(expired.oldest > revision);
                    prop_assert!(last - revision > u64::try_from(history).unwrap());
                }
            }
        }
    }

    #[test]
    fn the_changes_since_a_list_lead_to_the_present(
        before in prop::collection::vec(("[abc]", any::<bool>()), 0..20),
        after in prop::collection::vec(("[abc]", any::<bool>()), 0..20),
    ) {
        let (store, kind) = (Store::memory(100), kind());
        for (count, (name, remove)) in before.iter().enumerate() {
            step(&store, &kind, name, count, *remove);
        }
        let (revision, entries) = store.snapshot(&kind.storage, "");
        let mut state = states(entries);
        for (count, (name, remove)) in after.iter().enumerate() {
            step(&store, &kind, name, count, *remove);
        }
        let (cursor, events) = store.since(&kind.storage, revision).unwrap();
        let mut last = revision;
        for event in events {
            prop_assert!(event.revision > last);
            last = event.revision;
            if event.change == Change::Deleted {
                prop_assert!(state.remove(&*event.key).is_some());
            } else {
                let known = state.insert(event.key.to_string(), event.revision).is_some();
                prop_assert_eq!(known, event.change == Change::Modified);
            }
        }
        let (revision, entries) = store.snapshot(&kind.storage, "");
        prop_assert_eq!(cursor, revision);
        prop_assert_eq!(state, states(entries));
    }
}

#[test]
fn a_writer_that_read_an_older_state_is_turned_away() {
    let (store, kind) = (Store::memory(10), kind());
    store.put(&kind, "n/a", Expected::Absent, object("a", 0), None).unwrap();
    assert!(store.put(&kind, "n/a", Expected::Absent, object("a", 1), None).is_err());
    store.put(&kind, "n/a", Expected::Revision(1), object("a", 1), None).unwrap();
    assert!(store.put(&kind, "n/a", Expected::Revision(1), object("a", 2), None).is_err());
    assert!(store.remove(&kind, "n/a", Expected::Revision(1), object("a", 2), None).is_err());
    assert_eq!(store.revision(), 2);
}

#[test]
fn an_object_that_is_not_asked_for_takes_less_and_says_the_same() {
    let (store, kind) = (Store::memory(8), kind());
    let large = json!({ "metadata": { "name": "a", "namespace": "n" },
        "data": { "text": "as it was before, ".repeat(100) } });
    let object = store.put(&kind, "n/a", Expected::Absent, large, None).unwrap();
    let (json, size) = (object.json(), object.size());
    assert_eq!(size, json.len());
    object.cool();
    assert!(object.size() < size / 2, "{} of {size}", object.size());
    assert_eq!((object.json(), object.length), (json.clone(), size));
    assert_eq!(*object.tree(), Tree::parse(&json).unwrap());
    object.cool();
    assert_eq!(object.json(), json, "twice is as good as once");
}
