//! Controllers of the federation.
