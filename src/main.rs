//! The `lameduck` binary.

use std::process::ExitCode;

use clap::Parser;
use lameduck::cli::demo;

#[derive(Parser)]
#[command(version, about)]
enum Command {
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let Command::Demo(args) = Command::parse();
    ExitCode::from(demo::run(args))
}
