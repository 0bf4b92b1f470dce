//! Template to manifest per cluster, and the members' status folded back.
