//! Template to manifest per cluster, and the members' status folded back.
//! Pure: objects come and go as JSON values; it knows no clients and no clocks.
#![forbid(unsafe_code)]

mod baseline;
mod cel;
mod changes;
mod cluster;
mod companions;
mod image;
mod interpreters;
mod kind;
mod manifest;
mod needs;
mod order;
mod overrides;
mod pointer;
mod quantity;
mod status;
mod strip;
mod subset;

pub use baseline::{Control, Violation, violations};
pub use cel::CelError;
pub use changes::{Change, changes};
pub use cluster::{Explanation, RenderError, Rules, Target, explain, render};
pub use companions::{Reference, Selects, named_by, selects};
pub use interpreters::{
    Division, InterpretCause, InterpretError, InterpreterRefusal, Interpreters, PodSet, retain,
};
pub use kind::Kind;
pub use manifest::{Manifest, Marks, RENDER_VERSION, Share, manifest};
pub use needs::{
    Labels, NodeToleration, PodNeeds, PodSkew, holds_data, pod_labels, pod_needs, replicas,
};
pub use order::{Stage, stage};
pub use overrides::{
    ManifestCause, ManifestError, Overridden, OverrideCause, OverrideError, Overrides, PolicyName,
    check_manifest, unreadable,
};
pub use pointer::PointerError;
pub use quantity::{QuantityError, format_milli, milli};
pub use status::{
    Folded, Health, MemberState, Template, fold, member_health, ready_replicas, updated_replicas,
};
pub use strip::{Removal, StripRow, strip, strip_explained};
pub use subset::{Difference, difference};
