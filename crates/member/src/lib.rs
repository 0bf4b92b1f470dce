//! Clients and digest watches of member clusters.
