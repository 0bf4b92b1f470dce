//! Where the embedded server and a real kube-apiserver are known to differ. A case that stands
//! here says what an arm does not do; no other test may depend on it.

use crate::Arm;

/// A case that one arm does not pass.
#[derive(Clone, Copy, Debug)]
pub struct Divergence {
    /// The case.
    pub case: &'static str,
    /// The arm that does not pass it.
    pub arm: Arm,
    /// What is different, and why that is accepted.
    pub why: &'static str,
}

/// All of them.
pub const KNOWN: &[Divergence] = &[Divergence {
    case: "a_rule_that_does_not_compile_is_a_warning",
    arm: Arm::Real,
    why: "a real server refuses the definition; ours lacks some functions and must not refuse rules that are right elsewhere",
}];

/// Fields that a real server sets on new objects and the embedded one does not: what is inside
/// the text is a part of the field's path.
pub const FIELDS: &[(&str, &str)] = &[
    (
        "persistentvolumeclaims.metadata.finalizers",
        "no controller here would take the finalizer off again",
    ),
    ("deprecated.daemonset.template.generation", "a left-over of an API that is not served"),
];

/// Whether a case is left out for an arm.
pub fn excused(case: &str, arm: Arm) -> bool {
    KNOWN.iter().any(|one| one.case == case && one.arm == arm)
}
