//! Names of the labels, annotations and finalizers that Hanse puts on objects.

/// Label on everything applied to a member: the id of the hub that did it.
pub const HUB_LABEL: &str = "hanse.dev/hub";
/// Label on everything applied to a member: a hash of its binding's namespace and name.
pub const BINDING_LABEL: &str = "hanse.dev/binding";
/// Annotation on everything applied to a member: `namespace/name` of its binding.
pub const BINDING_ANNOTATION: &str = "hanse.dev/binding-name";
/// Annotation on everything applied to a member: uid of the template on the hub.
pub const TEMPLATE_UID_ANNOTATION: &str = "hanse.dev/template-uid";
/// Annotation on everything applied to a member: render version and digest of what was sent.
pub const DIGEST_ANNOTATION: &str = "hanse.dev/digest";
/// Finalizer on a ResourceBinding: held until its objects are gone from the members.
pub const BINDING_FINALIZER: &str = "hanse.dev/sync";
/// Finalizer on a MemberCluster: held until no binding names it.
pub const MEMBER_FINALIZER: &str = "hanse.dev/membership";
/// Taint key of a drained failure domain.
pub const DRAIN_TAINT: &str = "hanse.dev/drain";
/// Field manager of everything applied to members.
pub const FIELD_MANAGER: &str = "hanse";
