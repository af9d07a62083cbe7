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
mod client;
mod demo;
mod drain;
pub mod exit;
mod healthcheck;
mod hold;
mod out;
mod packaging;
mod progress;
mod run;
mod sessions;
mod status;
mod words;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

use args::{Cli, Command};

/// Parses the command line, does what it says, and tells how it went. Wrong usage is told by the
/// parser, which ends the process with [`exit::USAGE`].
pub fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::check(&args),
        Command::Healthcheck(args) => healthcheck::healthcheck(&args),
        Command::Drain(args) => ask(drain::drain(args)),
        Command::Undrain(args) => ask(drain::undrain(args)),
        Command::Status(args) => ask(status::status(args)),
        Command::Sessions(args) => ask(sessions::sessions(args)),
        Command::Hold(args) => ask(hold::hold(args)),
        Command::Completions(args) => told(packaging::completions(&args)),
        Command::Man(args) => told(packaging::man(&args)),
    };
    ExitCode::from(code)
}

/// Carries out a command that speaks to a running proxy.
fn ask(command: impl Future<Output = Result<u8, client::Error>>) -> u8 {
    let runtime = Builder::new_current_thread().enable_all().build();
    let what = "the runtime";
    let done = runtime
        .map_err(|source| client::Error::Own { what, source })
        .and_then(|runtime| runtime.block_on(command));
    told(done)
}

/// Tells what went wrong; what is returned is the exit code.
fn told(done: Result<u8, client::Error>) -> u8 {
    match done {
        Ok(code) => code,
        // Who reads us has read enough.
        Err(error) if error.is_broken_pipe() => exit::FAILED,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                client::Error::Usage { .. } => exit::USAGE,
                _ => exit::FAILED,
            }
        }
    }
}
