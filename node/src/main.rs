//! The command line of `redoubt-node`: directives in, an exit code out.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: redoubt_node::memory::CountingAllocator = redoubt_node::memory::CountingAllocator;

fn main() -> ExitCode {
    redoubt_node::server::start::main(std::env::args_os().skip(1))
}
