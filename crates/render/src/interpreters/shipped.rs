//! Interpreters that ship with Hanse: `manifests/interpreters`.

use std::sync::{Arc, OnceLock};

use hanse_api::ResourceInterpreter;

use super::custom::Interpreter;

const FILES: [&str; 3] = [
    include_str!("../../../../manifests/interpreters/argo-rollouts.yaml"),
    include_str!("../../../../manifests/interpreters/kruise-clonesets.yaml"),
    include_str!("../../../../manifests/interpreters/ray-clusters.yaml"),
];

/// One that ships: group, kind, and its expressions.
pub(super) type Shipped = (String, String, Arc<Interpreter>);

/// All of them as they are written.
pub(super) fn all() -> Vec<ResourceInterpreter> {
    let read = |text: &&str| serde_saphyr::from_str(text).expect("a test reads every file");
    FILES.iter().map(read).collect()
}

/// All of them, read once.
pub(super) fn compiled() -> &'static [Shipped] {
    static ALL: OnceLock<Vec<Shipped>> = OnceLock::new();
    ALL.get_or_init(|| {
        let read = |one: ResourceInterpreter| {
            let name = one.metadata.name.clone().unwrap_or_default();
            let made = Interpreter::read(&name, &one.spec).expect("a test reads every file");
            (one.spec.target.group, one.spec.target.kind, Arc::new(made))
        };
        all().into_iter().map(read).collect()
    })
}
