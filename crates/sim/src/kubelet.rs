//! A hollow kubelet: pods on its nodes run after a start-up time, answer on their ports, and go
//! when they are told to. Pods of Jobs succeed after a while. It keeps its nodes' status and, on
//! real control planes, their leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::Mono;
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::{
    action::Action,
    controllers::{already, seconds},
    objects::{self, Key, Kind, Objects},
};

/// What a kubelet does beside the API: makes pods answer.
pub trait Runtime: Send + Sync {
    /// The pod runs now; answers on its container ports from here on.
    fn start(&self, pod: &Pod);
    /// The pod of this uid is gone.
    fn stop(&self, uid: &str);
}

/// A pod that runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address in the API.
    pub ip: Ipv4Addr,
    /// Its TCP container ports.
    pub ports: Vec<u16>,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From bound to ready. Default 1 s.
    pub start: Duration,
    /// From told to end to gone. Default 100 ms.
    pub stop: Duration,
    /// From ready to succeeded, for pods of Jobs. Default 2 s.
    pub job: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(1),
            stop: Duration::from_millis(100),
            job: Duration::from_secs(2),
        }
    }
}

/// The kubelets of one member's nodes.
pub struct Kubelet {
    pace: Pace,
    runtime: Arc<dyn Runtime>,
    addresses: Addresses,
    since: BTreeMap<String, (Stage, Mono)>,
    started: BTreeSet<String>,
    lost_nodes: Arc<Mutex<BTreeSet<String>>>,
}

/// What to do about one pod, and when to look again.
#[derive(Debug, Default)]
pub struct Step {
    /// Writes to make.
    pub actions: Vec<Action>,
    /// When to look again.
    pub again: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Starting,
    Running,
    Stopping,
}

/// Pod addresses of one member: a /17 of 10.64.0.0/10, handed out in order.
#[derive(Debug)]
pub struct Addresses {
    base: u32,
    next: u32,
    taken: BTreeMap<String, u32>,
}

impl fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubelet").field("pace", &self.pace).finish_non_exhaustive()
    }
}

// === impl Kubelet ===

impl Kubelet {
    /// The kubelets of a member whose pods get addresses from `addresses`. The kubelets of
    /// `lost_nodes` do nothing; whoever else holds it may change it.
    pub fn new(
        pace: Pace,
        runtime: Arc<dyn Runtime>,
        addresses: Addresses,
        lost_nodes: Arc<Mutex<BTreeSet<String>>>,
    ) -> Self {
        Self {
            pace,
            runtime,
            addresses,
            since: BTreeMap::new(),
            started: BTreeSet::new(),
            lost_nodes,
        }
    }

    /// Looks at one pod.
    pub fn step(&mut self, objects: &Objects, key: &Key, now: Timestamp) -> Step {
        let Some(pod) = objects.get(Kind::Pod, key) else {
            self.collect_garbage(objects);
            return Step::default();
        };
        let Some(node) = objects::text(pod, "/spec/nodeName") else {
            return Step { actions: unbound(pod, key), again: None };
        };
        let node = (String::new(), node.to_owned());
        if objects.get(Kind::Node, &node).is_none() {
            return Step::default();
        }
        if self.lost_nodes.lock().expect("no holder of this lock panics").contains(&node.1) {
            return self.lose(pod, key, now);
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if objects::terminating(pod) {
            return self.stop(pod, key, &uid);
        }
        match objects::text(pod, "/status/phase") {
            Some("Succeeded" | "Failed") => {
                self.end(&uid);
                Step::default()
            }
            Some("Running") if super::controllers::ready(pod) => self.keep(pod, key, &uid, now),
            _ => self.start(pod, key, &uid, now),
        }
    }

    fn start(&mut self, pod: &DynamicObject, key: &Key, uid: &str, now: Timestamp) -> Step {
        if let Some(wait) = self.wait(uid, Stage::Starting, self.pace.start) {
            return Step { actions: Vec::new(), again: Some(wait) };
        }
        let known = objects::text(pod, "/status/podIP").and_then(|ip| ip.parse().ok());
        let Some(ip) = self.addresses.assign(uid, known) else {
            tracing::warn!(pod = %key.1, "no pod address left");
            return Step { actions: Vec::new(), again: Some(Duration::from_secs(1)) };
        };
        self.run(pod, key, uid, ip);
        let status = running(pod, ip, now);
        Step {
            actions: vec![Action::Status { kind: Kind::Pod, key: key.clone(), status }],
            again: None,
        }
    }

    /// A pod that runs already: after a restart its ports are opened again.
    fn keep(&mut self, pod: &DynamicObject, key: &Key, uid: &str, now: Timestamp) -> Step {
        if !self.started.contains(uid)
            && let Some(ip) = objects::text(pod, "/status/podIP").and_then(|ip| ip.parse().ok())
        {
            match self.addresses.assign(uid, Some(ip)) {
                Some(assigned) if assigned == ip => self.run(pod, key, uid, ip),
                // Its address went to another pod while the node was away.
                _ => return self.start(pod, key, uid, now),
            }
        }
        let of_job =
            pod.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Job");
        if !of_job {
            return Step::default();
        }
        if let Some(wait) = self.wait(uid, Stage::Running, self.pace.job) {
            return Step { actions: Vec::new(), again: Some(wait) };
        }
        let status = succeeded(pod, now);
        Step {
            actions: vec![Action::Status { kind: Kind::Pod, key: key.clone(), status }],
            again: None,
        }
    }

    fn stop(&mut self, pod: &DynamicObject, key: &Key, uid: &str) -> Step {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
        let pace = if grace == 0 { Duration::ZERO } else { self.pace.stop };
        if let Some(wait) = self.wait(uid, Stage::Stopping, pace) {
            return Step { actions: Vec::new(), again: Some(wait) };
        }
        self.end(uid);
        let delete =
            Action::Delete { kind: Kind::Pod, key: key.clone(), uid: uid.to_owned(), now: true };
        Step { actions: vec![delete], again: None }
    }

    /// The node is gone: its pods stop answering, and somebody who still watches says so.
    fn lose(&mut self, pod: &DynamicObject, key: &Key, now: Timestamp) -> Step {
        self.end(pod.metadata.uid.as_deref().unwrap_or_default());
        let mut status = json!({"conditions": pod.data["status"]["conditions"]});
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if condition["type"] == "Ready" && condition["status"] == "True" {
                condition["status"] = json!("False");
                condition["reason"] = json!("NodeLost");
                condition["lastTransitionTime"] = json!(seconds(now));
            }
        }
        let mut actions = Vec::new();
        if !already(&pod.data["status"], &status) {
            actions.push(Action::Status { kind: Kind::Pod, key: key.clone(), status });
        } else if objects::terminating(pod) || objects::controller_of(pod).is_some() {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            actions.push(Action::Delete { kind: Kind::Pod, key: key.clone(), uid, now: true });
        }
        Step { actions, again: None }
    }

    fn run(&mut self, pod: &DynamicObject, key: &Key, uid: &str, ip: Ipv4Addr) {
        self.started.insert(uid.to_owned());
        self.runtime.start(&Pod {
            uid: uid.to_owned(),
            namespace: key.0.clone(),
            name: key.1.clone(),
            ip,
            ports: ports(pod),
        });
    }

    fn end(&mut self, uid: &str) {
        self.since.remove(uid);
        self.addresses.release(uid);
        if self.started.remove(uid) {
            self.runtime.stop(uid);
        }
    }

    /// How long a pod must still stay in a stage; none when the time is over.
    fn wait(&mut self, uid: &str, stage: Stage, long: Duration) -> Option<Duration> {
        let now = Mono::now();
        let since = self.since.entry(uid.to_owned()).or_insert((stage, now));
        if since.0 != stage {
            *since = (stage, now);
        }
        let until = since.1 + long;
        (until > now).then(|| until - now)
    }

    /// Stops what runs for pods that are gone without a word.
    fn collect_garbage(&mut self, objects: &Objects) {
        let alive: BTreeSet<&str> =
            objects.all(Kind::Pod).filter_map(|(_, pod)| pod.metadata.uid.as_deref()).collect();
        let gone: Vec<String> = self
            .started
            .iter()
            .chain(self.since.keys())
            .filter(|uid| !alive.contains(uid.as_str()))
            .cloned()
            .collect();
        for uid in gone {
            self.end(&uid);
        }
    }
}

/// A pod nobody placed that is being deleted has nobody else to let it go.
fn unbound(pod: &DynamicObject, key: &Key) -> Vec<Action> {
    if !objects::terminating(pod) {
        return Vec::new();
    }
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    vec![Action::Delete { kind: Kind::Pod, key: key.clone(), uid, now: true }]
}

fn ports(pod: &DynamicObject) -> Vec<u16> {
    let containers = pod.data["spec"]["containers"].as_array().map(Vec::as_slice);
    containers
        .unwrap_or_default()
        .iter()
        .filter_map(|container| container["ports"].as_array())
        .flatten()
        .filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"))
        .filter_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok())
        .collect()
}

fn conditions(ready: bool, reason: Option<&str>, now: Timestamp) -> Value {
    let condition = |kind: &str, status: bool| {
        let mut condition = json!({
            "type": kind, "status": if status { "True" } else { "False" },
            "lastTransitionTime": seconds(now),
        });
        if let (Some(reason), false) = (reason, status) {
            condition["reason"] = json!(reason);
        }
        condition
    };
    json!([
        condition("PodScheduled", true),
        condition("Initialized", true),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

fn containers(pod: &DynamicObject, ready: bool, state: &Value) -> Value {
    let containers = pod.data["spec"]["containers"].as_array().map(Vec::as_slice);
    let statuses = containers.unwrap_or_default().iter().map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": ready, "started": ready, "restartCount": 0, "state": state,
        })
    });
    statuses.collect()
}

fn running(pod: &DynamicObject, ip: Ipv4Addr, now: Timestamp) -> Value {
    let since = objects::text(pod, "/status/startTime").map_or_else(|| seconds(now), str::to_owned);
    json!({
        "phase": "Running", "podIP": ip.to_string(), "podIPs": [{"ip": ip.to_string()}],
        "hostIP": ip.to_string(), "startTime": since,
        "conditions": conditions(true, None, now),
        "containerStatuses": containers(pod, true, &json!({"running": {"startedAt": seconds(now)}})),
    })
}

fn succeeded(pod: &DynamicObject, now: Timestamp) -> Value {
    let ended =
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": seconds(now)}});
    json!({
        "phase": "Succeeded", "conditions": conditions(false, Some("PodCompleted"), now),
        "containerStatuses": containers(pod, false, &ended),
    })
}

// === impl Addresses ===

impl Addresses {
    /// Addresses a member has for its pods.
    const COUNT: u32 = 1 << 15;

    /// The pod addresses of the member with this place in the topology's order: 10.(64+i).0.0/17.
    /// The order wraps after 64 members.
    pub fn of_member(index: usize) -> Self {
        let block = u32::try_from(index % 64).expect("a number below 64 fits");
        let base = u32::from(Ipv4Addr::new(10, 64, 0, 0)) + (block << 16);
        Self { base, next: 1, taken: BTreeMap::new() }
    }

    fn assign(&mut self, uid: &str, wanted: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let taken = |offset: u32, all: &BTreeMap<String, u32>| all.values().any(|o| *o == offset);
        if let Some(offset) = self.taken.get(uid) {
            return Some(Ipv4Addr::from(self.base + offset));
        }
        let wanted = wanted
            .map(u32::from)
            .and_then(|ip| ip.checked_sub(self.base))
            .filter(|offset| (1..Self::COUNT).contains(offset) && !taken(*offset, &self.taken));
        let offset = wanted.or_else(|| {
            (0..Self::COUNT).map(|step| (self.next + step) % Self::COUNT).find(|offset| {
                offset % 256 != 0 && offset % 256 != 255 && !taken(*offset, &self.taken)
            })
        })?;
        if wanted.is_none() {
            self.next = (offset + 1) % Self::COUNT;
        }
        self.taken.insert(uid.to_owned(), offset);
        Some(Ipv4Addr::from(self.base + offset))
    }

    fn release(&mut self, uid: &str) {
        self.taken.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_the_members_block_and_are_not_reused_at_once() {
        let mut addresses = Addresses::of_member(2);
        let first = addresses.assign("a", None).unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 66, 0, 1));
        assert_eq!(addresses.assign("a", None), Some(first));
        addresses.release("a");
        assert_eq!(addresses.assign("b", None), Some(Ipv4Addr::new(10, 66, 0, 2)));
        assert_eq!(addresses.assign("c", Some(first)), Some(first));
        assert_ne!(addresses.assign("d", Some(first)), Some(first));
    }
}
