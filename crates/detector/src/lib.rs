//! Observations to a verdict per member, brakes and evacuation plan.
