//! Services, endpoints, health and policy to one immutable route snapshot.
