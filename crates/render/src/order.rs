//! The order in which objects that wait for a member reach it; deletion goes the other way.

/// A stage: what waits of one goes before what waits of the next.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// CustomResourceDefinitions.
    Definitions,
    /// Namespaces.
    Namespaces,
    /// Access rules, accounts, configuration, claims, Services, budgets.
    Configuration,
    /// What runs, and every kind that is not known here.
    Workloads,
    /// Admission webhooks, which could refuse all of the above.
    Webhooks,
}

impl Stage {
    /// How far ahead it goes of the others when objects are made: 4 for the first, 0 for the last.
    pub const fn lead(self) -> i32 {
        match self {
            Self::Definitions => 4,
            Self::Namespaces => 3,
            Self::Configuration => 2,
            Self::Workloads => 1,
            Self::Webhooks => 0,
        }
    }
}

/// The stage of a kind.
pub fn stage(api_version: &str, kind: &str) -> Stage {
    match kind {
        "CustomResourceDefinition" => Stage::Definitions,
        "Namespace" if api_version == "v1" => Stage::Namespaces,
        "ClusterRole"
        | "ClusterRoleBinding"
        | "Role"
        | "RoleBinding"
        | "ServiceAccount"
        | "ConfigMap"
        | "Secret"
        | "PersistentVolumeClaim"
        | "PersistentVolume"
        | "StorageClass"
        | "PriorityClass"
        | "ResourceQuota"
        | "LimitRange"
        | "Service"
        | "NetworkPolicy"
        | "PodDisruptionBudget"
        | "HorizontalPodAutoscaler" => Stage::Configuration,
        "ValidatingWebhookConfiguration"
        | "MutatingWebhookConfiguration"
        | "ValidatingAdmissionPolicy"
        | "ValidatingAdmissionPolicyBinding" => Stage::Webhooks,
        _ => Stage::Workloads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_come_first_and_webhooks_last() {
        let order = [
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("v1", "Namespace"),
            ("v1", "ConfigMap"),
            ("apps/v1", "Deployment"),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ];
        let stages: Vec<Stage> = order.iter().map(|(api, kind)| stage(api, kind)).collect();
        assert!(stages.windows(2).all(|pair| pair[0] < pair[1]), "{stages:?}");
        let leads: Vec<i32> = stages.iter().map(|stage| stage.lead()).collect();
        assert_eq!(leads, [4, 3, 2, 1, 0]);
        assert_eq!(stage("example.com/v1", "Database"), Stage::Workloads);
    }
}
