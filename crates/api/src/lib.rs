//! Kinds of the group hanse.dev, their validation, condition reasons and CRDs.
