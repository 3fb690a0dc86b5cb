//! The command line of `redoubt-node`.

fn main() {}
