//! Kubernetes Events for what a user would ask about. The same event about the same object is
//! written once in ten minutes. Under load events are dropped, never waited for, those of what
//! goes well first: the conditions say the same.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::TemplateRef;
use hanse_rt::{Mono, Rng, TaskSet, Wall};
use kube::{Api, Client, api::PostParams, core::DynamicObject, discovery::ApiResource};
use serde_json::json;
use tokio::sync::mpsc;

use crate::TokenBucket;

/// How long the same event is not repeated.
const QUIET: Duration = Duration::from_mins(10);
/// Events a second of what goes well, and of what does not.
const NORMAL_PER_SECOND: u32 = 25;
const WARNINGS_PER_SECOND: u32 = 100;
/// How many events wait and how many are remembered.
const BOUND: usize = 4096;

/// An event's subject.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Subject {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for kinds without one.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

impl Subject {
    /// The template of a binding, or the FederatedManifest in which it stands.
    pub fn of(template: &TemplateRef) -> Self {
        let held = !template.manifest.is_empty();
        let pick = |own: &str, holder: &str| if held { holder } else { own }.to_owned();
        Self {
            api_version: pick(&template.api_version, "hanse.dev/v1alpha1"),
            kind: pick(&template.kind, "FederatedManifest"),
            namespace: template.namespace.clone(),
            name: pick(&template.name, &template.manifest),
            uid: template.uid.clone(),
        }
    }
}

/// Whether something went as it should.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Tone {
    /// It did.
    Normal,
    /// It did not.
    Warning,
}

#[derive(Debug)]
struct Event {
    subject: Subject,
    tone: Tone,
    reason: &'static str,
    note: String,
}

/// What was said about whom: subject, reason and note.
type Said = (Subject, &'static str, String);

/// Writes events.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::Sender<Event>,
    said: Arc<Mutex<BTreeMap<Said, Mono>>>,
    normal: TokenBucket,
    warnings: TokenBucket,
}

impl Recorder {
    pub(crate) fn start(client: Client, wall: Wall, rng: Rng, tasks: &TaskSet) -> Self {
        let (sender, receiver) = mpsc::channel(BOUND);
        let shutdown = tasks.shutdown();
        tasks.spawn("events", async move {
            hanse_rt::select! {
                () = shutdown.cancelled() => {}
                () = write_all(client, wall, rng, receiver) => {}
            }
        });
        Self::into(sender)
    }

    fn into(sender: mpsc::Sender<Event>) -> Self {
        Self {
            sender,
            said: Arc::default(),
            normal: TokenBucket::new(NORMAL_PER_SECOND),
            warnings: TokenBucket::new(WARNINGS_PER_SECOND),
        }
    }

    /// Says something about an object.
    pub fn say(&self, subject: &Subject, tone: Tone, reason: &'static str, note: String) {
        let key = (subject.clone(), reason, note.clone());
        {
            let mut said = self.said.lock().expect("no holder of this lock panics");
            let now = Mono::now();
            if said.get(&key).is_some_and(|at| now.duration_since(*at) < QUIET) {
                return;
            }
            let bucket = match tone {
                Tone::Normal => &self.normal,
                Tone::Warning => &self.warnings,
            };
            if !bucket.try_take() {
                tracing::debug!(reason, "an event was dropped: there are too many");
                return;
            }
            if said.len() >= BOUND {
                said.clear();
            }
            said.insert(key, now);
        }
        let event = Event { subject: subject.clone(), tone, reason, note };
        if self.sender.try_send(event).is_err() {
            tracing::debug!(reason, "an event was dropped: too many wait");
        }
    }
}

async fn write_all(client: Client, wall: Wall, mut rng: Rng, mut events: mpsc::Receiver<Event>) {
    let resource = ApiResource {
        group: "events.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "events.k8s.io/v1".to_owned(),
        kind: "Event".to_owned(),
        plural: "events".to_owned(),
    };
    while let Some(event) = events.recv().await {
        let subject = &event.subject;
        let namespace =
            if subject.namespace.is_empty() { "default" } else { subject.namespace.as_str() };
        let stem: String = subject.name.chars().take(200).collect();
        let name = format!("{stem}.{}", rng.name_suffix(10));
        let note: String = event.note.chars().take(1000).collect();
        let body = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": format!("{:.6}", wall.now()),
            "reportingController": "hanse.dev/hub",
            "reportingInstance": "hub",
            "action": event.reason,
            "reason": event.reason,
            "type": match event.tone { Tone::Normal => "Normal", Tone::Warning => "Warning" },
            "note": note,
            "regarding": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
        });
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let object = serde_json::from_value(body).expect("the event is an object");
        if let Err(error) = api.create(&PostParams::default(), &object).await {
            tracing::debug!(%error, reason = event.reason, "an event was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_good_news_is_cut_and_hides_no_warning() {
        let (sender, mut receiver) = mpsc::channel(BOUND);
        let recorder = Recorder::into(sender);
        let subject = |name: usize| Subject {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_string(),
            uid: String::new(),
        };
        for name in 0..1000 {
            recorder.say(&subject(name), Tone::Normal, "Scheduled", "a 3".to_owned());
        }
        for _ in 0..3 {
            recorder.say(&subject(0), Tone::Warning, "NoRoom", "full".to_owned());
        }
        let mut heard = (0, 0);
        while let Ok(event) = receiver.try_recv() {
            match event.tone {
                Tone::Normal => heard.0 += 1,
                Tone::Warning => heard.1 += 1,
            }
        }
        assert_eq!(heard, (25, 1), "and the same is said once");
        hanse_rt::sleep(Duration::from_secs(1)).await;
        recorder.say(&subject(999), Tone::Normal, "Scheduled", "a 3".to_owned());
        assert!(receiver.try_recv().is_ok(), "what was dropped may be said later");
    }
}
