//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use http::Uri;

use crate::config::{Bind, Endpoint, ListenUrl, LogFormat, Overrides, PlatformName, Window, flag};

/// A proxy that lets stateful agents be scaled in without anyone noticing.
#[derive(Debug, Parser)]
#[command(name = "lameduck", version, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Stand in front of an agent, in the foreground, until drained
    Run(RunArgs),
    /// Show a drain: an agent, the proxy and some hundred clients, all in this process
    Demo(super::demo::Args),
    /// Read a configuration file and say what is wrong with it
    Check(CheckArgs),
    /// Ask a running proxy whether it works, for a container's HEALTHCHECK
    Healthcheck(HealthcheckArgs),
    /// Start the drain of a running proxy, or join the one under way
    Drain(super::drain::DrainArgs),
    /// Cancel a drain that has not begun to close sessions, or bring a drained proxy back
    Undrain(super::drain::UndrainArgs),
    /// Show the phase of a running proxy, the time left, and what is open
    Status(super::status::StatusArgs),
    /// List the open sessions of a running proxy
    Sessions(super::sessions::SessionsArgs),
    /// Keep the drain of a running proxy from ending while a command runs
    Hold(super::hold::HoldArgs),
    /// Write a completion script for a shell
    Completions(super::packaging::CompletionsArgs),
    /// Write a manual page
    Man(super::packaging::ManArgs),
}

/// Each flag goes over its environment variable, and that over the file.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The configuration file; without one, flags and defaults are all there is
    #[arg(short, long, value_name = "FILE", env = "LAMEDUCK_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// Where to listen, and for what: http://ADDRESS:PORT or tcp://ADDRESS:PORT; repeatable,
    /// separated by commas in the variable. Replaces the listeners of a file; without a file,
    /// http://0.0.0.0:8080 is the default
    #[arg(
        long,
        value_name = "URL",
        env = "LAMEDUCK_LISTEN",
        value_delimiter = ','
    )]
    pub(super) listen: Vec<ListenUrl>,

    /// Where the agent listens. Replaces the endpoints of a file with one upstream; needed without
    /// a file
    #[arg(long, value_name = "HOST:PORT", env = "LAMEDUCK_UPSTREAM", value_parser = flag::endpoint)]
    pub(super) upstream: Option<Endpoint>,

    /// The deregistration delay: a drain is over by then; "auto" takes the shortest that the
    /// platforms wait [default: 300s]
    #[arg(long, value_name = "DURATION", env = "LAMEDUCK_WINDOW", value_parser = flag::window)]
    pub(super) window: Option<Window>,

    /// Where health and metrics answer [default: 0.0.0.0:9180]
    #[arg(long, value_name = "ADDRESS", env = "LAMEDUCK_HEALTH", value_parser = flag::bind)]
    pub(super) health: Option<SocketAddr>,

    /// Where the control API answers: ADDRESS:PORT or unix:/PATH; another address than loopback needs admin.token_file [default: 127.0.0.1:9181]
    #[arg(long, value_name = "ADDRESS", env = "LAMEDUCK_ADMIN", value_parser = flag::admin)]
    pub(super) admin: Option<Bind>,

    /// How many workers [default: one per core that the process may use]
    #[arg(long, value_name = "N", env = "LAMEDUCK_WORKERS", value_parser = flag::workers)]
    pub(super) workers: Option<NonZeroUsize>,

    /// How a line of the log looks: text or json [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "LAMEDUCK_LOG_FORMAT",
        value_parser = flag::log_format
    )]
    pub(super) log_format: Option<LogFormat>,

    /// Whose notices start a drain, and who is told of its end: aws, ecs, kubernetes, azure, gcp;
    /// repeatable, separated by commas in the variable. Those of a file are on besides
    #[arg(
        long,
        value_name = "NAME",
        env = "LAMEDUCK_PLATFORM",
        value_delimiter = ','
    )]
    pub(super) platform: Vec<PlatformName>,
}

impl RunArgs {
    /// The file, and what goes over it.
    pub(super) fn split(self) -> (Option<PathBuf>, Overrides) {
        let Self {
            config,
            listen,
            upstream,
            window,
            health,
            admin,
            workers,
            log_format,
            platform,
        } = self;
        (
            config,
            Overrides {
                listen,
                upstream,
                window,
                health,
                admin,
                workers,
                log_format,
                platforms: platform,
            },
        )
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// Ask this platform too how it is set, and say what it will cut short: aws, ecs or k8s; to be
    /// called where the proxy runs; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = super::check::platform)]
    pub(super) platform: Vec<PlatformName>,
}

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// What to ask; 200 is healthy
    #[arg(
        long,
        value_name = "URL",
        env = "LAMEDUCK_HEALTHCHECK_URL",
        default_value = "http://127.0.0.1:9180/livez"
    )]
    pub(super) url: Uri,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;

    use super::*;
    use crate::config::known_keys;

    fn overrides(line: &str) -> Result<Overrides, clap::Error> {
        let cli = Cli::try_parse_from(line.split(' '))?;
        match cli.command {
            Command::Run(args) => Ok(args.split().1),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_tells_the_defaults_that_hold() {
        let mut cli = Cli::command();
        let run = cli.find_subcommand_mut("run").expect("there is one");
        let help_of = |flag: &str| {
            let arg = run
                .get_arguments()
                .find(|arg| arg.get_long() == Some(flag))
                .expect(flag);
            arg.get_help().expect(flag).to_string()
        };
        for (flag, path) in [
            ("window", "drain.window"),
            ("health", "health.bind"),
            ("admin", "admin.bind"),
            ("workers", "workers"),
            ("log-format", "log.format"),
        ] {
            let key = known_keys()
                .into_iter()
                .find(|key| key.path == path)
                .expect(path);
            let default = key.default.to_string().replace('"', "");
            let help = help_of(flag);
            assert!(
                help.ends_with(&format!("[default: {default}]")),
                "{help} has no {default}"
            );
        }
    }

    #[test]
    fn flags_become_overrides() {
        let given = overrides(
            "lameduck run --listen http://0.0.0.0:1 --listen tcp://[::]:2,tcp://[::]:3 \
             --upstream agent:9000 --window 1m --health 0.0.0.0:4 --admin 127.0.0.1:5 --workers 6 \
             --log-format json",
        )
        .expect("legal");
        assert_eq!(given.listen.len(), 3);
        assert_eq!(
            given.upstream.map(|endpoint| endpoint.to_string()),
            Some("agent:9000".into())
        );
        assert_eq!(
            given.window.map(|w| w.length),
            Some(Duration::from_secs(60))
        );
        assert_eq!(given.health.map(|bind| bind.port()), Some(4));
        assert_eq!(given.admin, Some(Bind::Tcp(([127, 0, 0, 1], 5).into())));
        assert_eq!(given.workers.map(NonZeroUsize::get), Some(6));
        assert_eq!(given.log_format, Some(LogFormat::Json));
    }

    #[test]
    fn a_wrong_flag_is_told_what_would_be_right() {
        for (flag, help) in [
            ("--listen 0.0.0.0:8080", "\"http://0.0.0.0:8080\""),
            ("--upstream http://agent:9000", "\"agent:9000\""),
            ("--window 30", "\"30s\""),
            ("--window 0s", "longer than zero"),
            ("--health :9180", "\"0.0.0.0:9180\""),
            ("--admin :9181", "\"0.0.0.0:9181\""),
            ("--workers 0", "from 1 to 1024"),
            ("--log-format xml", "\"text\" or \"json\""),
        ] {
            let error = overrides(&format!("lameduck run {flag}")).expect_err(flag);
            assert!(error.to_string().contains(help), "{flag}: {error}");
            assert_eq!(error.exit_code(), i32::from(crate::cli::exit::USAGE));
        }
    }
}
