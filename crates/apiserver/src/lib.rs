//! Embedded Kubernetes API server as a tower service.
