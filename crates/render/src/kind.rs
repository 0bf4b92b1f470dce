//! The kinds whose fields are understood here; every other kind is carried as it is.

use serde_json::Value;

/// A kind, as far as its fields matter.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// apps Deployment.
    Deployment,
    /// apps ReplicaSet.
    ReplicaSet,
    /// apps StatefulSet.
    StatefulSet,
    /// apps DaemonSet.
    DaemonSet,
    /// batch Job.
    Job,
    /// batch CronJob.
    CronJob,
    /// core Service.
    Service,
    /// core PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// core ServiceAccount.
    ServiceAccount,
    /// autoscaling HorizontalPodAutoscaler.
    HorizontalPodAutoscaler,
    /// policy PodDisruptionBudget.
    PodDisruptionBudget,
    /// networking.k8s.io NetworkPolicy.
    NetworkPolicy,
    /// Anything else.
    Other,
}

impl Kind {
    /// The kind of an API version and a kind's name.
    pub fn of(api_version: &str, kind: &str) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("apps", "Deployment") => Self::Deployment,
            ("apps", "ReplicaSet") => Self::ReplicaSet,
            ("apps", "StatefulSet") => Self::StatefulSet,
            ("apps", "DaemonSet") => Self::DaemonSet,
            ("batch", "Job") => Self::Job,
            ("batch", "CronJob") => Self::CronJob,
            ("", "Service") => Self::Service,
            ("", "PersistentVolumeClaim") => Self::PersistentVolumeClaim,
            ("", "ServiceAccount") => Self::ServiceAccount,
            ("autoscaling", "HorizontalPodAutoscaler") => Self::HorizontalPodAutoscaler,
            ("policy", "PodDisruptionBudget") => Self::PodDisruptionBudget,
            ("networking.k8s.io", "NetworkPolicy") => Self::NetworkPolicy,
            _ => Self::Other,
        }
    }

    /// The kind of an object.
    pub fn of_object(object: &Value) -> Self {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        Self::of(text("apiVersion"), text("kind"))
    }

    /// Whether it runs pods.
    pub const fn is_workload(self) -> bool {
        matches!(
            self,
            Self::Deployment
                | Self::ReplicaSet
                | Self::StatefulSet
                | Self::DaemonSet
                | Self::Job
                | Self::CronJob
        )
    }

    /// Whether replicas may be divided by setting `spec.replicas`.
    pub const fn has_replicas_field(self) -> bool {
        matches!(self, Self::Deployment | Self::ReplicaSet | Self::StatefulSet)
    }

    /// JSON pointer to the pod template.
    pub const fn pod_template(self) -> Option<&'static str> {
        match self {
            Self::Deployment
            | Self::ReplicaSet
            | Self::StatefulSet
            | Self::DaemonSet
            | Self::Job => Some("/spec/template"),
            Self::CronJob => Some("/spec/jobTemplate/spec/template"),
            _ => None,
        }
    }
}
