//! `lameduck completions` and `lameduck man`, for packagers.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;
use super::exit;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell to complete for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The command to write the page of; without it, that of lameduck itself
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// Writes a completion script.
pub(super) fn completions(args: &CompletionsArgs) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lameduck", &mut script);
    written(&script)
}

/// Writes a manual page, as roff.
pub(super) fn man(args: &ManArgs) -> u8 {
    let mut whole = Cli::command();
    whole.build();
    let command = match &args.command {
        None => whole,
        Some(name) => match whole.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                eprintln!("error: there is no command {name:?}; `lameduck help` lists them");
                return exit::USAGE;
            }
        },
    };
    let mut page = Vec::new();
    match Man::new(command).render(&mut page) {
        Ok(()) => written(&page),
        Err(error) => {
            eprintln!("error: {error}");
            exit::FAILED
        }
    }
}

fn written(bytes: &[u8]) -> u8 {
    match io::stdout()
        .write_all(bytes)
        .and_then(|()| io::stdout().flush())
    {
        Ok(()) => exit::OK,
        Err(error) => {
            eprintln!("error: stdout: {error}");
            exit::FAILED
        }
    }
}
