//! Data plane: listeners, balancing, health, retries.
