//! Who belongs to which tenant, and what each binding uses. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::{ClusterSelection, Quota, ReplicaRequest, Tenant};
use hanse_render::milli;
use litemap::LiteMap;

use crate::Key;

/// Amounts by resource, thousandths of their unit.
pub(super) type Amounts = LiteMap<String, i128>;

/// All tenants, and what their namespaces use.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Whether work of namespaces without a tenant is refused.
    pub(super) required: bool,
    tenants: BTreeMap<String, Terms>,
    by_namespace: BTreeMap<String, BTreeSet<String>>,
    uses: BTreeMap<Key, Use>,
    /// Sums by namespace.
    sums: BTreeMap<String, Amounts>,
}

/// What a tenant may have.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) generation: i64,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) clusters: ClusterSelection,
    pub(super) max_importance: i32,
    quota: Amounts,
}

/// What a binding uses.
#[derive(Debug, PartialEq)]
struct Use {
    namespace: String,
    amounts: Amounts,
}

/// To whom a namespace belongs.
#[derive(Debug)]
pub(super) enum Owner<'a> {
    Nobody,
    One(&'a str, &'a Terms),
    Several(Vec<&'a str>),
}

impl Terms {
    pub(super) fn has_quota(&self) -> bool {
        !self.quota.is_empty()
    }
}

impl Book {
    pub(super) fn set(&mut self, name: &str, tenant: Option<&Tenant>) {
        if let Some(old) = self.tenants.remove(name) {
            for namespace in &old.namespaces {
                if let Some(all) = self.by_namespace.get_mut(namespace) {
                    all.remove(name);
                    if all.is_empty() {
                        self.by_namespace.remove(namespace);
                    }
                }
            }
        }
        let Some(tenant) = tenant else {
            return;
        };
        let spec = &tenant.spec;
        for namespace in &spec.namespaces {
            self.by_namespace.entry(namespace.clone()).or_default().insert(name.to_owned());
        }
        let terms = Terms {
            generation: tenant.metadata.generation.unwrap_or(0),
            namespaces: spec.namespaces.iter().cloned().collect(),
            clusters: spec.clusters.clone(),
            max_importance: spec.max_importance,
            quota: quota_of(&spec.quota),
        };
        self.tenants.insert(name.to_owned(), terms);
    }

    pub(super) fn owner(&self, namespace: &str) -> Owner<'_> {
        let names = self.by_namespace.get(namespace);
        let mut names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        match (names.len(), names.pop()) {
            (1, Some(name)) => match self.tenants.get(name) {
                Some(terms) => Owner::One(name, terms),
                None => Owner::Nobody,
            },
            (_, Some(last)) => {
                names.push(last);
                Owner::Several(names)
            }
            (_, None) => Owner::Nobody,
        }
    }

    pub(super) fn terms(&self, tenant: &str) -> Option<&Terms> {
        self.tenants.get(tenant)
    }

    /// Notes what a binding uses; whether it gave something back.
    pub(super) fn note(
        &mut self,
        key: &Key,
        namespace: &str,
        needs: &Amounts,
        replicas: i64,
    ) -> bool {
        let times = i128::from(replicas.max(0));
        let amounts: Amounts =
            needs.iter().map(|(name, need)| (name.clone(), need * times)).collect();
        let new = Use { namespace: namespace.to_owned(), amounts };
        if self.uses.get(key) == Some(&new) {
            return false;
        }
        let sum = self.sums.entry(namespace.to_owned()).or_default();
        for (name, amount) in &new.amounts {
            *sum.entry(name.clone()).or_default() += amount;
        }
        let more = |name: &String| new.amounts.get(name).copied().unwrap_or(0);
        let known = self.uses.get(key);
        let freed =
            known.is_some_and(|old| old.amounts.iter().any(|(name, amount)| *amount > more(name)));
        if let Some(old) = self.uses.insert(key.clone(), new) {
            self.give_back(&old);
        }
        freed
    }

    /// Forgets a binding; gives its namespace if it used anything.
    pub(super) fn forget(&mut self, key: &Key) -> Option<String> {
        let old = self.uses.remove(key)?;
        self.give_back(&old);
        Some(old.namespace)
    }

    fn give_back(&mut self, old: &Use) {
        if let Some(sum) = self.sums.get_mut(&old.namespace) {
            for (name, amount) in &old.amounts {
                *sum.entry(name.clone()).or_default() -= amount;
            }
            sum.retain(|_, amount| *amount != 0);
            if sum.is_empty() {
                self.sums.remove(&old.namespace);
            }
        }
    }

    /// What a tenant uses in all.
    pub(super) fn used(&self, tenant: &str) -> Amounts {
        let mut used = Amounts::new();
        for namespace in self.tenants.get(tenant).into_iter().flat_map(|terms| &terms.namespaces) {
            for (name, amount) in self.sums.get(namespace).into_iter().flatten() {
                *used.entry(name.clone()).or_default() += amount;
            }
        }
        used
    }

    /// How many replicas of a binding the quota admits, those it has counted in.
    pub(super) fn replicas(&self, tenant: &str, key: &Key, needs: &Amounts) -> Option<u32> {
        let quota = &self.tenants.get(tenant)?.quota;
        if quota.is_empty() {
            return None;
        }
        let used = self.used(tenant);
        let own = self.uses.get(key).map(|own| &own.amounts);
        let fits = quota.iter().filter_map(|(name, most)| {
            let need = needs.get(name).copied().filter(|need| *need > 0)?;
            let own = own.and_then(|own| own.get(name)).copied().unwrap_or(0);
            let others = used.get(name).copied().unwrap_or(0) - own;
            Some((most - others).max(0) / need)
        });
        fits.min().map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// What one replica of a binding uses: what it asks for, and one pod.
pub(super) fn needs_of(request: &ReplicaRequest) -> Amounts {
    let mut needs: Amounts =
        request.iter().filter_map(|(name, text)| Some((name.clone(), milli(text).ok()?))).collect();
    needs.insert("pods".to_owned(), 1000);
    needs
}

/// A quota that cannot be read admits nothing of that resource.
fn quota_of(quota: &Quota) -> Amounts {
    let texts = [("cpu", &quota.cpu), ("memory", &quota.memory)];
    let plain = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
    let extended = quota.extended.iter().map(|(name, text)| (name.as_str(), text));
    let mut amounts: Amounts = plain
        .chain(extended)
        .map(|(name, text)| (name.to_owned(), milli(text).unwrap_or(0)))
        .collect();
    if let Some(pods) = quota.pods {
        amounts.insert("pods".to_owned(), i128::from(pods) * 1000);
    }
    amounts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn tenant(namespaces: &[&str], quota: serde_json::Value) -> Tenant {
        serde_json::from_value(json!({"metadata": {"name": "t"},
            "spec": {"namespaces": namespaces, "quota": quota}}))
        .unwrap()
    }

    fn needs(cpu: &str) -> Amounts {
        needs_of(&ReplicaRequest::from([("cpu".to_owned(), cpu.to_owned())]))
    }

    #[test]
    fn what_others_use_is_not_left_and_what_one_has_is() {
        let mut book = Book::default();
        book.set("t", Some(&tenant(&["a", "b"], json!({"cpu": "4", "pods": 7}))));
        let (one, two) = (Key::new("a", "one"), Key::new("b", "two"));
        assert_eq!(book.replicas("t", &one, &needs("1")), Some(4));
        book.note(&one, "a", &needs("1"), 3);
        assert_eq!(book.replicas("t", &one, &needs("1")), Some(4));
        assert_eq!(book.replicas("t", &two, &needs("500m")), Some(2));
        assert_eq!(book.replicas("t", &two, &needs("100m")), Some(4), "pods run out first");
        assert!(book.note(&one, "a", &needs("1"), 1), "two are given back");
        assert_eq!(book.replicas("t", &two, &needs("500m")), Some(6));
        assert_eq!(book.used("t")[&"cpu".to_owned()], 1000);
        assert_eq!(book.forget(&one).as_deref(), Some("a"));
        assert!(book.used("t").is_empty());
        assert!(book.sums.is_empty());
    }

    #[test]
    fn without_a_quota_nothing_is_limited() {
        let mut book = Book::default();
        book.set("t", Some(&tenant(&["a"], json!({}))));
        assert_eq!(book.replicas("t", &Key::new("a", "one"), &needs("1")), None);
        book.set("t", Some(&tenant(&["a"], json!({"memory": "1Gi"}))));
        let none = book.replicas("t", &Key::new("a", "one"), &needs("1"));
        assert_eq!(none, None, "it asks for none of what is limited");
    }

    #[test]
    fn a_namespace_of_two_tenants_belongs_to_neither() {
        let mut book = Book::default();
        book.set("t", Some(&tenant(&["a", "b"], json!({}))));
        book.set("u", Some(&tenant(&["b"], json!({}))));
        assert!(matches!(book.owner("a"), Owner::One("t", _)));
        assert!(matches!(book.owner("b"), Owner::Several(names) if names == ["t", "u"]));
        assert!(matches!(book.owner("c"), Owner::Nobody));
        book.set("t", None);
        assert!(matches!(book.owner("b"), Owner::One("u", _)));
        assert!(matches!(book.owner("a"), Owner::Nobody));
    }
}
