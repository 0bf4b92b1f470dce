//! Simulated member clusters: nodes, pods, controllers, faults, links.
