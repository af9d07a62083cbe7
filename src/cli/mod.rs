//! What a person types: the commands, their flags, and what they answer.
//!
//! Results go to stdout, everything else to stderr. This is the only room that prints.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the room that prints"
)]

mod args;
mod check;
mod demo;
pub mod exit;
mod healthcheck;
mod run;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Parses the command line, does what it says, and tells how it went. Wrong usage is told by the
/// parser, which ends the process with [`exit::USAGE`].
pub fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::check(&args),
        Command::Healthcheck(args) => healthcheck::healthcheck(&args),
    };
    ExitCode::from(code)
}
