//! Kinds of the group hanse.dev, their validation, condition reasons and CRDs.
//! It knows no clients and no runtime: values and their schema only.
#![forbid(unsafe_code)]
#![expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "derive(KubeSchema) repeats each struct inside a function, with its attributes"
)]

mod binding;
mod clusters;
pub mod conditions;
mod drill;
mod federated_manifest;
mod federation;
mod global_service;
mod interpreter;
pub mod marks;
mod member;
mod overrides;
mod policy;
mod schema;
mod tenant;

pub use binding::{
    BindingClusterStatus, BindingDecision, BindingSummary, BindingSurvival, ClusterOrdinals,
    ClusterReplicas, DecisionNote, Move, MoveReason, MoveState, PolicyRef, Rejection,
    ReplicaRequest, ResourceBinding, ResourceBindingSpec, ResourceBindingStatus, Shortfall,
    TemplateRef, WorkloadHealth, binding_name,
};
pub use clusters::{ClusterSelection, Member, selects};
pub use drill::{
    Drill, DrillFault, DrillGuards, DrillMeasured, DrillPass, DrillProbe, DrillSpec, DrillStatus,
    DrillTarget, DrillVerdict, DrillWorkload, Entered, Percentiles, TimelineEntry,
};
pub use federated_manifest::{
    FederatedManifest, FederatedManifestSpec, FederatedManifestStatus, ManifestInForce,
    ManifestName, ManifestOverride,
};
pub use federation::{
    Approval, BrakeUnit, Brakes, DomainKind, Drain, Federation, FederationSpec, FederationStatus,
    HubPlace, Operator, Scheduling, Templates,
};
pub use global_service::{
    ClusterEndpoints, ClusterOrder, GlobalAddress, GlobalService, GlobalServiceSpec,
    GlobalServiceStatus, Locality, Protocol, Routing, ServicePort, StayWithin, WeightedClusters,
};
pub use interpreter::{
    InterpretedPods, InterpretedReplicas, InterpreterTarget, ResourceInterpreter,
    ResourceInterpreterSpec, ResourceInterpreterStatus, Revision,
};
pub use member::{
    Connection, DirectConnection, Effect, ElasticRoom, Fault, FaultType, GatewayAddress,
    MemberCapacity, MemberCluster, MemberClusterSpec, MemberClusterStatus, MemberTaint, NodeCounts,
    ObserverCounts, Observers, SimulatedConnection, WorkloadCounts,
};
pub use overrides::{
    ClusterOverridePolicy, ClusterOverridePolicySpec, EntriesOverride, EnvOverride, EnvVariable,
    ImageOverride, OverridePolicy, OverridePolicySpec, OverrideRule, OverrideStatus,
    PatchOperation, PatchVerb, ReplaceOverride, WordsOverride,
};
pub use policy::{
    Bounds, ClusterPropagationPolicy, ClusterPropagationPolicySpec, ClusterSelector, Conflict,
    Dependencies, Enforce, Failover, FailoverMode, ORDINALS_BLOCK, Ordinals, Placement,
    PolicyStatus, PropagationPolicy, PropagationPolicySpec, RemoveOld, ReplicaMode, Replicas,
    ResourceSelector, Spread, Standby, Strategy, Survive, SurviveDomain, TierMode, Toleration,
    TolerationOperator, Weight,
};
pub use schema::{crd_file_name, crd_yaml, crds};
pub use tenant::{Quota, Tenant, TenantSpec, TenantStatus};

/// The API group of all our kinds.
pub const GROUP: &str = "hanse.dev";
/// Their version.
pub const VERSION: &str = "v1alpha1";
/// The namespace of the federation's own objects on the hub.
pub const SYSTEM_NAMESPACE: &str = "hanse-system";
/// Type of the Secrets that hold a member's kubeconfig, under the key [`KUBECONFIG_KEY`].
pub const KUBECONFIG_SECRET_TYPE: &str = "hanse.dev/kubeconfig";
/// Type of the Secrets that hold the bearer token of a member's relay, under the key `token`.
pub const RELAY_TOKEN_SECRET_TYPE: &str = "hanse.dev/relay-token";
/// Label of what belongs to one member on the hub: the member's name.
pub const MEMBER_LABEL: &str = "hanse.dev/member";
/// Key of the kubeconfig inside its Secret.
pub const KUBECONFIG_KEY: &str = "kubeconfig";
