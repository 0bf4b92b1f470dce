//! Member side: the relay between hub and gateway.
