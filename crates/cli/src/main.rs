//! The command line of Hanse.

fn main() {}
