//! The command line of `redoubt-sentinel`.

fn main() {}
