//! Answers to two questions about placement: why a template is where it is, and what changed
//! policies would move. Both ask placement's own plan, over the fleet as the hub sees it now;
//! nothing is written and nothing reserved.

mod changes;
mod funnel;
mod gather;
mod report;

use std::sync::{Arc, Mutex, OnceLock};

use hanse_api::{ClusterPropagationPolicy, PropagationPolicy};
use serde_json::Value;

pub use funnel::funnel;
pub use report::{
    Changed, Changes, Explained, Funnel, History, Outcome, Outranked, Rejected, Row, Said,
    SpreadOver, Step, SurviveCheck, Tier,
};

use crate::{Key, Policies, Policy, World, placement::Waits};

/// Answers questions about placement. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Explainer {
    world: World,
    policies: Policies,
    waits: Waits,
    /// A look at the whole fleet is not cheap: one at a time.
    turn: Arc<Mutex<()>>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// There is no such page.
    #[error("no such question: ask /explain?binding=NAMESPACE/NAME or /changes")]
    Unknown,
    /// The question lacks something.
    #[error("{0}")]
    Malformed(String),
    /// There is no such binding.
    #[error("there is no binding {0}")]
    NoBinding(String),
}

impl Explainer {
    pub(crate) fn new(world: World, policies: Policies, waits: Waits) -> Self {
        Self { world, policies, waits, turn: Arc::default() }
    }

    /// Why the template of a binding is where it is; absent when there is no such binding.
    pub fn explain(&self, key: &Key) -> Option<Explained> {
        let _turn = self.turn.lock().expect("no holder of this lock panics");
        gather::explain(&self.world, &self.policies, &self.waits, key)
    }

    /// What policies would move if they stood as they are given.
    pub fn changes(&self, changed: Vec<Policy>) -> Changes {
        let _turn = self.turn.lock().expect("no holder of this lock panics");
        changes::changes(&self.world, &self.policies, changed)
    }

    /// Answers a question over HTTP, in JSON: `/explain?binding=NAMESPACE/NAME`, or `/changes`
    /// with a list of policies as body.
    ///
    /// # Errors
    /// What the question lacks.
    pub fn answer(&self, uri: &str, body: &[u8]) -> Result<String, QuestionError> {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        match path {
            "/explain" => {
                let name = query.strip_prefix("binding=").and_then(|name| name.split_once('/'));
                let (namespace, name) = name.ok_or_else(|| {
                    QuestionError::Malformed("write /explain?binding=NAMESPACE/NAME".to_owned())
                })?;
                let key = Key::new(namespace, name);
                let found = self.explain(&key);
                let found = found.ok_or_else(|| QuestionError::NoBinding(key.to_string()))?;
                Ok(json(&found))
            }
            "/changes" => Ok(json(&self.changes(policies(body)?))),
            _ => Err(QuestionError::Unknown),
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("reports are plain data")
}

/// Reads a JSON list of policies of either kind.
///
/// # Errors
/// Which entry is none.
pub fn policies(body: &[u8]) -> Result<Vec<Policy>, QuestionError> {
    let malformed = |error: &dyn std::fmt::Display, what: &str| {
        QuestionError::Malformed(format!("{what}: {error}"))
    };
    let list: Vec<Value> =
        serde_json::from_slice(body).map_err(|error| malformed(&error, "a list of policies"))?;
    let policy = |value: Value| {
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match value["kind"].as_str() {
            Some("PropagationPolicy") => serde_json::from_value::<PropagationPolicy>(value)
                .map(|policy| Policy::of_namespaced(&policy))
                .map_err(|error| malformed(&error, &name)),
            Some("ClusterPropagationPolicy") => {
                serde_json::from_value::<ClusterPropagationPolicy>(value)
                    .map(|policy| Policy::of_cluster(&policy))
                    .map_err(|error| malformed(&error, &name))
            }
            kind => Err(QuestionError::Malformed(format!(
                "{}/{name} is no policy: give PropagationPolicies and ClusterPropagationPolicies",
                kind.unwrap_or("?")
            ))),
        }
    };
    list.into_iter().map(policy).collect()
}

/// An explainer that comes later than the door at which it is asked: a hub starts its HTTP
/// endpoint before its controllers.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<OnceLock<Explainer>>);

impl Desk {
    /// Opens it.
    pub fn open(&self, explainer: Explainer) {
        // It is opened once; who opens it again brings the same answers.
        drop(self.0.set(explainer));
    }

    /// Answers, as [`Explainer::answer`] does.
    ///
    /// # Errors
    /// What is wrong with the question, or that the hub still starts.
    pub fn answer(&self, uri: &str, body: &[u8]) -> Result<String, QuestionError> {
        let starts = || QuestionError::Malformed("the hub still starts: ask again".to_owned());
        self.0.get().ok_or_else(starts)?.answer(uri, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_are_taken_and_what_is_none_is_named() {
        let selectors = r#"[{"apiVersion": "apps/v1", "kind": "Deployment"}]"#;
        let body = format!(
            r#"[{{"kind": "PropagationPolicy", "metadata": {{"name": "p", "namespace": "shop"}},
                "spec": {{"resourceSelectors": {selectors}}}}}]"#
        );
        let found = policies(body.as_bytes()).unwrap();
        assert_eq!(found[0].key.to_string(), "PropagationPolicy shop/p");
        let none = r#"[{"kind": "Service", "metadata": {"name": "web"}}]"#;
        let refused = policies(none.as_bytes()).unwrap_err().to_string();
        assert!(refused.starts_with("Service/web is no policy: give "), "{refused}");
        let refused = policies(b"{").unwrap_err().to_string();
        assert!(refused.starts_with("a list of policies: "), "{refused}");
    }

    #[test]
    fn a_desk_that_is_not_open_says_so() {
        let refused = Desk::default().answer("/explain?binding=a/b", b"").unwrap_err();
        assert_eq!(refused.to_string(), "the hub still starts: ask again");
    }
}
