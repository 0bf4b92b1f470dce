//! Who makes a request.

use std::sync::Arc;

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";

/// A user as authentication found them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// For instance `system:admin`.
    pub name: String,
    /// Groups, without `system:authenticated`, which every known user is in.
    pub groups: Vec<String>,
}

impl User {
    pub(crate) fn master(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), groups: vec![MASTERS.to_owned()] })
    }

    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}
