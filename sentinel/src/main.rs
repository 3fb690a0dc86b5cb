//! The command line of `redoubt-sentinel`.

use std::process::ExitCode;

fn main() -> ExitCode {
    redoubt_sentinel::run(std::env::args_os().skip(1))
}
