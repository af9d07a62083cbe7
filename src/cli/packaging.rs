//! `lameduck completions` and `lameduck man`, for packagers.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;
use super::client::Error;
use super::{exit, out};

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
pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lameduck", &mut script);
    out::bytes(&script)?;
    Ok(exit::OK)
}

/// Writes a manual page, as roff.
pub(super) fn man(args: &ManArgs) -> Result<u8, Error> {
    let mut whole = Cli::command();
    whole.build();
    let command = match &args.command {
        None => whole,
        Some(name) => {
            let found = whole.find_subcommand(name).cloned();
            found.ok_or_else(|| Error::Usage {
                what: format!("there is no command {name:?}"),
                help: "`lameduck help` lists them".to_owned(),
            })?
        }
    };
    let mut page = Vec::new();
    let rendered = Man::new(command).render(&mut page);
    rendered.map_err(|source| Error::Own {
        what: "the page",
        source,
    })?;
    out::bytes(&page)?;
    Ok(exit::OK)
}
