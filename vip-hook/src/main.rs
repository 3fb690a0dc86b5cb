//! The program's entry: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    redoubt_vip_hook::cli::main(std::env::args_os())
}
