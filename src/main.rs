//! The `lameduck` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    lameduck::cli::main()
}
