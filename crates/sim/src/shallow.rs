//! Members without pods, for fleets of a thousand. Their nodes are written once, and one loop for
//! all of them sets the status of a workload to what its controllers would leave in the end. The
//! API is that of any member, and so are the link and its faults.
//!
//! The loop learns of writes from the clients that [`crate::member::Member`] gives out, and looks
//! at everything when a member gets power. It knows one member by its place in the topology.

mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hanse_apiserver::{ApiServer, Body, UserService};
use hanse_rt::{Mono, TaskSet, Wall};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::Service;

use crate::objects::{Key, Kind};

/// Kinds whose status is set.
const KINDS: [Kind; 5] =
    [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::ReplicaSet, Kind::Job];
/// Who sets it.
const MANAGER: &str = "kube-controller-manager";
/// How long a refused write waits before the object is looked at again.
const RETRY: Duration = Duration::from_millis(200);

/// The loop that all members without pods share. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Shallow {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ready_after: Duration,
    wall: Wall,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    powered: BTreeMap<usize, Powered>,
    /// What has to be looked at, with its time. Bounded by the number of workloads.
    waiting: BTreeMap<Work, Mono>,
    due: BTreeSet<(Mono, Work)>,
}

/// A member with power.
#[derive(Clone, Debug)]
struct Powered {
    api: ApiServer,
    nodes: usize,
}

/// A workload to look at. Without a name: all of the namespace; without a namespace: all.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Work {
    member: usize,
    kind: Kind,
    key: Key,
}

impl Shallow {
    /// A loop that finds workloads ready so long after they were written; zero is allowed.
    pub fn new(ready_after: Duration, wall: Wall) -> Self {
        let (state, wake) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { ready_after, wall, state, wake }) }
    }

    /// Runs the loop until `tasks` end.
    pub fn run(&self, tasks: &TaskSet) {
        let this = self.clone();
        let shutdown = tasks.shutdown();
        tasks.spawn("statuses", async move {
            loop {
                let work = hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    work = this.next() => work,
                };
                this.look_at(work).await;
            }
        });
    }

    /// A member has power until what this gives is dropped. `nodes`: how many of its nodes are up.
    pub(crate) fn power_on(&self, member: usize, api: ApiServer, nodes: usize) -> Power {
        self.lock().powered.insert(member, Powered { api, nodes });
        self.look_at_all(member, &KINDS);
        Power { shallow: self.clone(), member }
    }

    /// So many nodes of a member are up now.
    pub(crate) fn count_nodes(&self, member: usize, nodes: usize) {
        let changed = match self.lock().powered.get_mut(&member) {
            Some(powered) if powered.nodes != nodes => {
                powered.nodes = nodes;
                true
            }
            _ => false,
        };
        if changed {
            self.look_at_all(member, &[Kind::DaemonSet]);
        }
    }

    fn look_at_all(&self, member: usize, kinds: &[Kind]) {
        for kind in kinds {
            self.note(Work { member, kind: *kind, key: Key::default() }, Duration::ZERO);
        }
    }

    fn note(&self, work: Work, after: Duration) {
        let at = Mono::now() + after;
        let mut state = self.lock();
        if state.waiting.contains_key(&work) {
            return;
        }
        state.waiting.insert(work.clone(), at);
        state.due.insert((at, work));
        drop(state);
        self.inner.wake.notify_one();
    }

    async fn next(&self) -> Work {
        loop {
            let first = {
                let mut state = self.lock();
                match state.due.first().cloned() {
                    Some((at, work)) if at <= Mono::now() => {
                        state.due.remove(&(at, work.clone()));
                        state.waiting.remove(&work);
                        return work;
                    }
                    first => first.map(|(at, _)| at),
                }
            };
            match first {
                None => self.inner.wake.notified().await,
                Some(at) => hanse_rt::select! {
                    () = self.inner.wake.notified() => {}
                    () = hanse_rt::sleep_until(at) => {}
                },
            }
        }
    }

    async fn look_at(&self, work: Work) {
        let Some(powered) = self.lock().powered.get(&work.member).cloned() else {
            return;
        };
        let Some(found) = ask(&powered.api, Method::GET, &path(&work), None).await else {
            return;
        };
        if work.key.1.is_empty() {
            let items = found["items"].as_array().into_iter().flatten();
            for item in items {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let metadata = &item["metadata"];
                let key = (text(&metadata["namespace"]), text(&metadata["name"]));
                self.note(Work { key, ..work.clone() }, self.inner.ready_after);
            }
            return;
        }
        let Ok(object) = serde_json::from_value::<DynamicObject>(found) else {
            return;
        };
        let Some(status) =
            status::settled(work.kind, &object, powered.nodes, self.inner.wall.now())
        else {
            return;
        };
        let body = json!({"metadata": {"uid": object.metadata.uid}, "status": status});
        let path = format!("{}/status", path(&work));
        if ask(&powered.api, Method::PATCH, &path, Some(&body)).await.is_none() {
            // It may be gone: then the next look finds nothing.
            self.note(work, RETRY);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("no holder of this lock panics")
    }
}

/// A member's power, as the loop knows it.
#[derive(Debug)]
pub(crate) struct Power {
    shallow: Shallow,
    member: usize,
}

impl Drop for Power {
    fn drop(&mut self) {
        self.shallow.lock().powered.remove(&self.member);
    }
}

/// Where the objects of some work are.
fn path(work: &Work) -> String {
    let resource = work.kind.resource();
    let (namespace, name) = &work.key;
    let mut path = format!("/apis/{}", resource.api_version);
    if !namespace.is_empty() {
        path = format!("{path}/namespaces/{namespace}");
    }
    path = format!("{path}/{}", resource.plural);
    if name.is_empty() { path } else { format!("{path}/{name}") }
}

/// Asks a member's API; nothing when it refuses.
async fn ask(api: &ApiServer, method: Method, path: &str, body: Option<&Value>) -> Option<Value> {
    let bytes = body.map(ToString::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::USER_AGENT, MANAGER)
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(Full::new(Bytes::from(bytes)))
        .ok()?;
    let Ok(answer) = api.as_user(MANAGER).call(request).await;
    let status = answer.status();
    if !status.is_success() {
        if status != StatusCode::NOT_FOUND {
            tracing::debug!(path, %status, "a status could not be set");
        }
        return None;
    }
    let Ok(read) = answer.into_body().collect().await;
    serde_json::from_slice(&read.to_bytes()).ok()
}

/// The API of a member; the loop hears of the workloads that are written by it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    api: UserService,
    /// The loop, and which member this is; absent where members have controllers of their own.
    ears: Option<(Shallow, usize)>,
}

impl Heard {
    pub(crate) const fn new(api: UserService, ears: Option<(Shallow, usize)>) -> Self {
        Self { api, ears }
    }
}

impl<Q> Service<Request<Q>> for Heard
where
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: std::fmt::Display,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let written = self.ears.clone().and_then(|(shallow, member)| {
            let (kind, key) = written(request.method(), request.uri().path())?;
            Some((shallow, Work { member, kind, key }))
        });
        let answer = self.api.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if let Some((shallow, work)) = written
                && answer.status().is_success()
            {
                let after = shallow.inner.ready_after;
                shallow.note(work, after);
            }
            Ok(answer)
        })
    }
}

/// The workloads that a request may write: the path names one, or where one is created.
fn written(method: &Method, path: &str) -> Option<(Kind, Key)> {
    if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        return None;
    }
    let words: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, namespace, plural, name) = match words.as_slice() {
        ["apis", group, version, "namespaces", namespace, plural] => {
            (group, version, namespace, plural, "")
        }
        ["apis", group, version, "namespaces", namespace, plural, name]
        | ["apis", group, version, "namespaces", namespace, plural, name, "scale"] => {
            (group, version, namespace, plural, *name)
        }
        _ => return None,
    };
    let api_version = format!("{group}/{version}");
    let kind = KINDS.into_iter().find(|kind| {
        let resource = kind.resource();
        resource.api_version == api_version && resource.plural == **plural
    });
    Some((kind?, ((*namespace).to_owned(), name.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_workloads_are_heard_and_nothing_else() {
        let deployments = "/apis/apps/v1/namespaces/shop/deployments";
        let heard = |method: Method, rest: &str| written(&method, &format!("{deployments}{rest}"));
        let one = Some((Kind::Deployment, ("shop".to_owned(), "web".to_owned())));
        assert_eq!(heard(Method::PATCH, "/web"), one);
        assert_eq!(heard(Method::PUT, "/web/scale"), one);
        let any = Some((Kind::Deployment, ("shop".to_owned(), String::new())));
        assert_eq!(heard(Method::POST, ""), any);
        assert_eq!(heard(Method::PATCH, "/web/status"), None);
        assert_eq!(heard(Method::GET, "/web"), None);
        assert_eq!(heard(Method::DELETE, "/web"), None);
        assert_eq!(written(&Method::POST, "/api/v1/namespaces/shop/configmaps"), None);
        let path =
            path(&Work { member: 0, kind: Kind::Job, key: ("shop".to_owned(), "sum".to_owned()) });
        assert_eq!(path, "/apis/batch/v1/namespaces/shop/jobs/sum");
    }
}
