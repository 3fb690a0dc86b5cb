//! The command line of `redoubt-lab`.

fn main() {}
