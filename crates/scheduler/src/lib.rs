//! Members, placement rules and history to an assignment with reasons.
