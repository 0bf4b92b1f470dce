//! Membership: connects members, makes sure that each is the cluster it says it is, and lets it go
//! only when no binding names it any more.

mod join;
mod plan;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_api::{
    MemberCluster, MemberClusterStatus,
    conditions::{self, member, reason},
    marks::MEMBER_FINALIZER,
};
use hanse_rt::TaskSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

pub use plan::{Joining, Verdict, judge};

use crate::{
    Key, Queue, Session, SessionEvent, World,
    events::{Subject, Tone},
    write::change_status,
};

/// How many members are joined at once: each takes a few round trips, and nothing else.
const AT_ONCE: usize = 128;
/// How long until a member that does not answer is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// The membership controller.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    world: World,
    queue: Queue<Key>,
    /// The connection that each session was made from.
    connected: Arc<Mutex<BTreeMap<String, join::Source>>>,
}

impl Membership {
    pub(crate) fn new(world: World) -> Self {
        let queue = Queue::new(world.means().rng.fork("queue", "membership"));
        let this = Self { world, queue, connected: Arc::default() };
        this.listen();
        this
    }

    pub(crate) fn start(&self, tasks: &TaskSet) {
        let this = self.clone();
        crate::work(tasks, "membership", self.queue.clone(), AT_ONCE, move |key| {
            let this = this.clone();
            async move { this.reconcile(&key).await }
        });
    }

    fn listen(&self) {
        let this = self.clone();
        self.world.objects().members.on_change(move |key, old, new| {
            let look = |member: &MemberCluster| {
                (member.spec.clone(), member.metadata.deletion_timestamp.clone())
            };
            if old.map(|m| look(m)) != new.map(|m| look(m)) {
                this.queue.add(key.clone());
            }
        });
        let this = self.clone();
        self.world.on_session(move |member, event| {
            if matches!(event, SessionEvent::Sight) {
                this.queue.add(Key::new("", member));
            }
        });
        let this = self.clone();
        self.world.objects().bindings.on_change(move |_, old, new| {
            // A member that leaves waits for the last binding that names it.
            let after = || new.into_iter().flat_map(|binding| &binding.spec.clusters);
            for cluster in old.into_iter().flat_map(|binding| &binding.spec.clusters) {
                if after().any(|now| now.name == cluster.name) {
                    continue;
                }
                let member = this.world.member(&cluster.name);
                if member.is_some_and(|m| m.metadata.deletion_timestamp.is_some()) {
                    this.queue.add(Key::new("", &cluster.name));
                }
            }
        });
    }

    async fn reconcile(&self, key: &Key) -> Result<(), kube::Error> {
        let Some(cluster) = self.world.member(&key.name) else {
            self.disconnect(&key.name).await;
            return Ok(());
        };
        if cluster.metadata.deletion_timestamp.is_some() {
            return self.leave(&cluster).await;
        }
        if !cluster.finalizers().iter().any(|name| name == MEMBER_FINALIZER) {
            return self.hold(&cluster).await;
        }
        let joining = self.join(&cluster).await;
        let verdict = judge(&cluster, &self.world.objects().members.all(), &joining);
        if let Verdict::TakesIdentity(identity) = &verdict {
            // The change of the spec brings the member here again.
            return self.set_identity(&cluster, identity).await;
        }
        if !verdict.is_joined() {
            self.queue.add_after(key.clone(), TRY_AGAIN);
            if verdict.is_refused() {
                self.disconnect(&key.name).await;
            }
        }
        self.tell(&cluster, &verdict).await
    }

    /// Connects where that is missing, and asks the member who it is.
    async fn join(&self, cluster: &MemberCluster) -> Joining {
        let name = cluster.name_any();
        let source = match join::source(&self.world, cluster).await {
            Ok(source) => source,
            Err(join::Unknown::Unusable(words)) => return Joining::Refused(words),
            Err(join::Unknown::Unread(words)) => {
                return match self.world.session(&name) {
                    Some(session) => ask_again(&session).await,
                    None => Joining::Silent(words),
                };
            }
        };
        let known = {
            let connected = self.connected.lock().expect("no holder of this lock panics");
            connected.get(&name) == Some(&source)
        };
        if let Some(session) = self.world.session(&name).filter(|_| known) {
            return ask_again(&session).await;
        }
        self.disconnect(&name).await;
        let client = match join::connect(&self.world, &name, &source).await {
            Ok(client) => client,
            Err(error) => return Joining::Refused(error),
        };
        let joining = join::ask(&client).await;
        let verdict = judge(cluster, &self.world.objects().members.all(), &joining);
        // A member that answered before is observed even while it is silent: it may come back.
        let expected = matches!(verdict, Verdict::Silent(_)) && cluster.spec.identity.is_some();
        if verdict.is_joined() || expected {
            join::observe(&self.world, &name, client);
            let mut connected = self.connected.lock().expect("no holder of this lock panics");
            connected.insert(name, source);
        }
        joining
    }

    async fn disconnect(&self, name: &str) {
        self.connected.lock().expect("no holder of this lock panics").remove(name);
        if let Some(session) = self.world.take_session(name) {
            session.stop().await;
            self.world.announce(name, &SessionEvent::Sight);
        }
    }

    fn api(&self) -> Api<MemberCluster> {
        Api::all(self.world.means().client.clone())
    }

    async fn hold(&self, cluster: &MemberCluster) -> Result<(), kube::Error> {
        let mut finalizers = cluster.finalizers().to_vec();
        finalizers.push(MEMBER_FINALIZER.to_owned());
        self.set_finalizers(cluster, &finalizers).await?;
        self.queue.add(Key::new("", &cluster.name_any()));
        Ok(())
    }

    /// What Hanse placed there stays there; the bindings give it up first.
    async fn leave(&self, cluster: &MemberCluster) -> Result<(), kube::Error> {
        let name = cluster.name_any();
        let names = |binding: &Arc<hanse_api::ResourceBinding>| {
            binding.spec.clusters.iter().any(|cluster| cluster.name == name)
        };
        if self.world.objects().bindings.all().iter().any(names) {
            self.queue.add_after(Key::new("", &name), TRY_AGAIN);
            return Ok(());
        }
        self.disconnect(&name).await;
        join::forget_secrets(&self.world, &name).await?;
        let left: Vec<String> = cluster
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != MEMBER_FINALIZER)
            .cloned()
            .collect();
        if left.len() == cluster.finalizers().len() {
            return Ok(());
        }
        self.set_finalizers(cluster, &left).await
    }

    async fn set_finalizers(
        &self,
        cluster: &MemberCluster,
        finalizers: &[String],
    ) -> Result<(), kube::Error> {
        let body = json!({"metadata": {
            "resourceVersion": cluster.resource_version(), "finalizers": finalizers}});
        self.patch(cluster, &body).await
    }

    async fn set_identity(
        &self,
        cluster: &MemberCluster,
        identity: &str,
    ) -> Result<(), kube::Error> {
        let body = json!({
            "metadata": {"resourceVersion": cluster.resource_version()},
            "spec": {"identity": identity},
        });
        self.patch(cluster, &body).await
    }

    async fn patch(
        &self,
        cluster: &MemberCluster,
        body: &serde_json::Value,
    ) -> Result<(), kube::Error> {
        let patch = Patch::Merge(body);
        match self.api().patch(&cluster.name_any(), &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn tell(
        &self,
        cluster: &Arc<MemberCluster>,
        verdict: &Verdict,
    ) -> Result<(), kube::Error> {
        let now = Time(self.world.means().wall.now());
        let generation = cluster.metadata.generation;
        let change = |status: &mut MemberClusterStatus| {
            status.observed_generation = generation;
            let was_joined = conditions::is_true(&status.conditions, member::JOINED);
            let (joined, why, words) = verdict.joined(was_joined);
            let make = |type_: &str, holds, why: &str, words| {
                conditions::condition(type_, holds, why, words, generation, now.clone())
            };
            conditions::set(&mut status.conditions, make(member::JOINED, joined, why, words));
            if let Some((up, words)) = verdict.reachable() {
                let why = if up { reason::ANSWERS } else { reason::UNREACHABLE };
                let reachable = make(member::API_REACHABLE, up, why, words);
                conditions::set(&mut status.conditions, reachable);
            }
            if let Verdict::Joined { version, platform } = verdict {
                status.kubernetes_version = Some(version.clone());
                status.platform = Some(platform.clone());
            }
        };
        let bucket = &self.world.means().status_writes;
        change_status(&self.api(), bucket, Arc::clone(cluster), change).await?;
        if !verdict.is_joined() {
            let (_, why, words) = verdict.joined(false);
            let subject = Subject {
                api_version: "hanse.dev/v1alpha1".to_owned(),
                kind: "MemberCluster".to_owned(),
                namespace: String::new(),
                name: cluster.name_any(),
                uid: cluster.uid().unwrap_or_default(),
            };
            self.world.means().recorder.say(&subject, Tone::Warning, why, words);
        }
        Ok(())
    }
}
/// Asks a member that is connected who it is, unless it is known to be silent.
async fn ask_again(session: &Session) -> Joining {
    if session.is_up() {
        join::ask(&session.client()).await
    } else {
        Joining::Silent(session.sight().borrow().error.clone())
    }
}
