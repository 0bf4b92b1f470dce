//! Types and reasons of conditions: a closed set for each type, one constant each.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Conditions of a MemberCluster.
pub mod member {
    /// The member belongs to the federation and is the cluster it says it is.
    pub const JOINED: &str = "Joined";
    /// Its API server answers.
    pub const API_REACHABLE: &str = "ApiReachable";
    /// Requests through its gateways succeed.
    pub const DATA_PLANE_REACHABLE: &str = "DataPlaneReachable";
    /// Its gateways answer probes.
    pub const GATEWAY_REACHABLE: &str = "GatewayReachable";
    /// It takes new work.
    pub const READY: &str = "Ready";
    /// Everything bound to it is applied there.
    pub const SYNCED: &str = "Synced";
}

/// Conditions of a Federation.
pub mod federation {
    /// The hub reaches members.
    pub const CONNECTED: &str = "Connected";
    /// No brake stops evacuation.
    pub const BRAKE_RELEASED: &str = "BrakeReleased";
    /// Losses are evacuated without an operator.
    pub const EVACUATION_AUTOMATIC: &str = "EvacuationAutomatic";
    /// Templates in the form of `spec.templates` are accepted.
    pub const TEMPLATES_ACCEPTED: &str = "TemplatesAccepted";
}

/// Conditions of a policy, of an override policy, an interpreter, a FederatedManifest and a Tenant.
pub mod policy {
    /// It selects something.
    pub const MATCHED: &str = "Matched";
    /// It is followed as written.
    pub const ACCEPTED: &str = "Accepted";
}

/// Conditions of a ResourceBinding.
pub mod binding {
    /// All replicas have a place.
    pub const SCHEDULED: &str = "Scheduled";
    /// The object stands in all its clusters as rendered.
    pub const APPLIED: &str = "Applied";
    /// It does its work.
    pub const AVAILABLE: &str = "Available";
    /// Replicas are on their way to another cluster.
    pub const MOVING: &str = "Moving";
    /// It goes on as its policy wants when any one domain of the policy's kind is lost.
    pub const SURVIVABLE: &str = "Survivable";
}

/// Conditions of a GlobalService.
pub mod global_service {
    /// The gateways know it.
    pub const PROGRAMMED: &str = "Programmed";
    /// Some cluster has ready endpoints.
    pub const HEALTHY: &str = "Healthy";
}

/// Conditions of a Drill.
pub mod drill {
    /// The fault has begun.
    pub const STARTED: &str = "Started";
    /// The drill has ended and everything is put back.
    pub const FINISHED: &str = "Finished";
}

/// Reasons, in alphabetical order.
pub mod reason {
    /// The policy decides about all that it selects.
    pub const ACCEPTED: &str = "Accepted";
    /// The API server answers.
    pub const ANSWERS: &str = "Answers";
    /// The object stands as rendered.
    pub const APPLIED: &str = "Applied";
    /// Some objects are not applied yet.
    pub const APPLYING: &str = "Applying";
    /// The member refused an apply.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// It does its work.
    pub const AVAILABLE: &str = "Available";
    /// Errors or the time of the shift were beyond what the drill allows.
    pub const BOUND_MISSED: &str = "BoundMissed";
    /// The policy divides a Job whose pods are told apart by their numbers.
    pub const CANNOT_BE_DIVIDED: &str = "CannotBeDivided";
    /// A member has an object of the same name that Hanse did not make.
    pub const CONFLICT: &str = "Conflict";
    /// The hub reaches members.
    pub const CONNECTED: &str = "Connected";
    /// An operator gives it no new work.
    pub const CORDONED: &str = "Cordoned";
    /// Some cluster has ready endpoints.
    pub const ENDPOINTS_READY: &str = "EndpointsReady";
    /// Replicas would fit only if running ones moved, and steady forbids that.
    pub const FITS_ONLY_BY_MOVING: &str = "FitsOnlyByMoving";
    /// Other controllers run workloads on the hub's API.
    pub const FOREIGN_CONTROLLERS_ACTIVE: &str = "ForeignControllersActive";
    /// A guard of the drill ended it.
    pub const GUARD: &str = "Guard";
    /// Work of higher importance waits for the room.
    pub const HELD_FOR_HIGHER_IMPORTANCE: &str = "HeldForHigherImportance";
    /// The work mounts volumes, so nobody moves it but an operator.
    pub const HOLDS_DATA: &str = "HoldsData";
    /// The hub reaches too few members: it is cut off itself.
    pub const HUB_ISOLATED: &str = "HubIsolated";
    /// The hub restarted while the drill ran.
    pub const HUB_RESTARTED: &str = "HubRestarted";
    /// Behind the connection is another cluster than the one that joined.
    pub const IDENTITY_MISMATCH: &str = "IdentityMismatch";
    /// Another member has the same identity.
    pub const IDENTITY_TAKEN: &str = "IdentityTaken";
    /// The interpreter of a kind fails: nothing of that kind is changed.
    pub const INTERPRETER_FAILED: &str = "InterpreterFailed";
    /// The policy cannot be followed as written.
    pub const INVALID: &str = "Invalid";
    /// The member is in the federation.
    pub const JOINED: &str = "Joined";
    /// A member does not serve the template's kind.
    pub const KIND_NOT_SERVED: &str = "KindNotServed";
    /// The kubeconfig of the member cannot be used.
    pub const KUBECONFIG_INVALID: &str = "KubeconfigInvalid";
    /// The policy selects something.
    pub const MATCHED: &str = "Matched";
    /// Replicas are on their way.
    pub const MOVING: &str = "Moving";
    /// A namespace stands in two tenants.
    pub const NAMESPACE_TAKEN: &str = "NamespaceTaken";
    /// Templates are ordinary objects here.
    pub const NATIVE: &str = "Native";
    /// No lost domain is held back.
    pub const NOTHING_HELD: &str = "NothingHeld";
    /// No object matches the policy's selectors.
    pub const NOTHING_MATCHED: &str = "NothingMatched";
    /// Nothing is on its way.
    pub const NOTHING_MOVES: &str = "NothingMoves";
    /// Who wrote it may not bring such an object to members.
    pub const NOT_ALLOWED: &str = "NotAllowed";
    /// A drill does not start while anything is not healthy.
    pub const NOT_HEALTHY: &str = "NotHealthy";
    /// The namespace's tenant may not use that cluster.
    pub const NOT_IN_TENANT: &str = "NotInTenant";
    /// No cluster is possible.
    pub const NO_CLUSTER_FITS: &str = "NoClusterFits";
    /// The member names no gateway.
    pub const NO_GATEWAY: &str = "NoGateway";
    /// No cluster has a ready endpoint.
    pub const NO_READY_ENDPOINTS: &str = "NoReadyEndpoints";
    /// Not all replicas have room.
    pub const NO_ROOM: &str = "NoRoom";
    /// No member belongs to the target.
    pub const NO_TARGET: &str = "NoTarget";
    /// The namespace belongs to no Tenant, and the federation wants one.
    pub const NO_TENANT: &str = "NoTenant";
    /// No witness in a third region can confirm a loss.
    pub const NO_WITNESS: &str = "NoWitness";
    /// Something else was lost while the drill ran.
    pub const OTHER_LOSS: &str = "OtherLoss";
    /// Another policy won; the message names it.
    pub const OUTRANKED: &str = "Outranked";
    /// A rule of an override policy does not apply: its clusters get nothing new.
    pub const OVERRIDE_FAILED: &str = "OverrideFailed";
    /// Part of the replicas is placed, as the policy allows.
    pub const PARTIAL: &str = "Partial";
    /// Everything moved within the bounds.
    pub const PASSED: &str = "Passed";
    /// The policy is gone or no longer matches; the placement stays as it is.
    pub const POLICY_GONE: &str = "PolicyGone";
    /// The Service has no TCP port of that number and name.
    pub const PORT_NOT_FOUND: &str = "PortNotFound";
    /// Every service port is taken.
    pub const PORTS_EXHAUSTED: &str = "PortsExhausted";
    /// The gateways know it.
    pub const PROGRAMMED: &str = "Programmed";
    /// It is on its way.
    pub const PROGRESSING: &str = "Progressing";
    /// All replicas have a place.
    pub const SCHEDULED: &str = "Scheduled";
    /// The Service that a GlobalService names does not exist.
    pub const SERVICE_NOT_FOUND: &str = "ServiceNotFound";
    /// The fault has begun.
    pub const STARTED: &str = "Started";
    /// The loss of any one domain leaves as many replicas as the policy wants.
    pub const SURVIVES: &str = "Survives";
    /// All that is bound to the member is applied.
    pub const SYNCED: &str = "Synced";
    /// The tenant's quota leaves no room.
    pub const TENANT_QUOTA: &str = "TenantQuota";
    /// Some replicas are not available.
    pub const UNAVAILABLE: &str = "Unavailable";
    /// The member's API does not answer.
    pub const UNREACHABLE: &str = "Unreachable";
    /// Two regions remain to confirm the loss of any third.
    pub const WITNESSED: &str = "Witnessed";
    /// The loss of a domain would leave too few replicas.
    pub const WOULD_NOT_SURVIVE: &str = "WouldNotSurvive";
}

/// Sets a condition in place. `lastTransitionTime` moves only when the status flips.
/// Returns whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, mut wanted: Condition) -> bool {
    wanted.message = cut(&wanted.message, 1024);
    let Some(at) = conditions.iter().position(|c| c.type_ == wanted.type_) else {
        conditions.push(wanted);
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        return true;
    };
    let current = &mut conditions[at];
    if current.status == wanted.status {
        wanted.last_transition_time = current.last_transition_time.clone();
    }
    if *current == wanted {
        return false;
    }
    *current = wanted;
    true
}

/// A condition; `now` is used as its transition time.
pub fn condition(
    type_: &str,
    status: bool,
    reason: &str,
    message: String,
    generation: Option<i64>,
    now: Time,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: now,
    }
}

/// Whether a condition is there and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

/// The text, or its beginning and an ellipsis: not more than `limit` bytes.
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(4)).collect();
    while short.len() > limit - 4 {
        short.pop();
    }
    short.push_str(" ...");
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn wanted(status: bool, message: &str, second: i64) -> Condition {
        condition(
            binding::APPLIED,
            status,
            reason::APPLIED,
            message.to_owned(),
            Some(1),
            at(second),
        )
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let mut list = Vec::new();
        assert!(set(&mut list, wanted(false, "first", 1)));
        assert!(set(&mut list, wanted(false, "second", 2)));
        assert_eq!(list[0].last_transition_time, at(1));
        assert!(!set(&mut list, wanted(false, "second", 3)));
        assert!(set(&mut list, wanted(true, "second", 4)));
        assert_eq!(list[0].last_transition_time, at(4));
        assert!(is_true(&list, binding::APPLIED));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut list = Vec::new();
        set(&mut list, wanted(true, &"ü".repeat(2000), 1));
        assert!(list[0].message.len() <= 1024);
        assert!(list[0].message.ends_with("ü ..."));
    }
}
