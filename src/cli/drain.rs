//! `lameduck drain` and `lameduck undrain`.

use std::io;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::client::{Client, Error, Event, Events, Report, Target};
use super::progress::{Display, Progress, report_table};
use super::words::{counted, length};
use super::{exit, out};
use crate::admin::control::Status;
use crate::config::{Wrong, flag};

/// Between two questions where there is no stream of events.
const ASK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    target: Target,

    /// The deregistration delay: the drain is over by then [default: the proxy's drain.window]
    #[arg(long, value_name = "DURATION", value_parser = flag::positive_duration)]
    window: Option<Duration>,

    /// Why, for the log and the report
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Drain one listener alone, by its name, while the others serve
    #[arg(long, value_name = "NAME", conflicts_with = "share")]
    listener: Option<String>,

    /// Drain one endpoint alone, as UPSTREAM/ADDRESS, while the others serve
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint, conflicts_with_all = ["listener", "share"])]
    endpoint: Option<String>,

    /// Ask a share of the open sessions to go, such as 25%, while everything serves: it hands load
    /// to machines that are new
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    share: Option<String>,

    /// Show the drain until it is over, and exit with the proxy's own code
    #[arg(long)]
    wait: bool,
}

/// A share, as it is written.
fn share(text: &str) -> Result<String, Wrong> {
    flag::share(text).map(|_| text.to_owned())
}

/// An endpoint with its upstream, as it is written.
fn endpoint(text: &str) -> Result<String, Wrong> {
    match text.split_once('/') {
        Some((upstream, address)) if !upstream.is_empty() && !address.is_empty() => {
            Ok(text.to_owned())
        }
        _ => Err(Wrong {
            what: format!("`{text}` is no endpoint of an upstream"),
            help: "write the upstream and the address, such as \"agent/127.0.0.1:9000\"".to_owned(),
        }),
    }
}

/// Where an endpoint's drain is started and cancelled.
fn path_of(endpoint: &str) -> String {
    let (upstream, address) = endpoint.split_once('/').unwrap_or_default();
    // What a path may not hold (RFC 3986 3.3), and its own sign of what follows.
    let mut encoded = String::new();
    for byte in address.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b":/._-".contains(&b) => encoded.push(b.into()),
            b => encoded.push_str(&format!("%{b:02X}")),
        }
    }
    format!("/v1/upstreams/{upstream}/endpoints/{encoded}/drain")
}

impl DrainArgs {
    /// The part that is meant, as the status calls it; none for everything.
    fn part(&self) -> Option<Meant> {
        let listener = self
            .listener
            .as_ref()
            .map(|name| format!("listener {name}"));
        let endpoint = self
            .endpoint
            .as_ref()
            .map(|name| format!("endpoint {name}"));
        let one = listener.or(endpoint).map(Meant::One);
        one.or(self.share.is_some().then_some(Meant::Share))
    }
}

/// What is drained, where it is not everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// A listener or an endpoint, by what the status calls it.
    One(String),
    /// A share: there is no more than one.
    Share,
}

impl Meant {
    /// Whether a part's name in the status is this.
    pub(super) fn is(&self, part: &str) -> bool {
        match self {
            Meant::One(name) => name == part,
            Meant::Share => part.starts_with("share "),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct UndrainArgs {
    #[command(flatten)]
    target: Target,

    /// The drain of this listener alone
    #[arg(long, value_name = "NAME", conflicts_with = "share")]
    listener: Option<String>,

    /// Have this endpoint take sessions again, as UPSTREAM/ADDRESS
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint, conflicts_with_all = ["listener", "share"])]
    endpoint: Option<String>,

    /// The drain of a share: who has been asked goes, nobody else is asked
    #[arg(long)]
    share: bool,
}

/// Starts a drain, or joins the one under way.
pub(super) async fn drain(args: DrainArgs) -> Result<u8, Error> {
    let client = args.target.client()?;
    let mut wish = serde_json::Map::new();
    if let Some(window) = args.window {
        wish.insert(
            "window".to_owned(),
            format!("{}ms", window.as_millis()).into(),
        );
    }
    let part = args.part();
    for (name, value) in [
        ("reason", args.reason),
        ("listener", args.listener),
        ("share", args.share),
    ] {
        if let Some(value) = value {
            wish.insert(name.to_owned(), value.into());
        }
    }
    let path = args.endpoint.as_deref().map(path_of);
    let path = path.as_deref().unwrap_or("/v1/drain");
    let answer = client.ask(Method::POST, path, Some(&wish.into())).await?;
    let status: Status = answer.read()?;
    let begun = if answer.status == StatusCode::ACCEPTED {
        "the drain begins"
    } else {
        "a drain was under way"
    };
    let progress = Progress::new(status.clone(), part, Instant::now());
    let stage = progress.stage();
    let left = match (stage.phase, stage.remaining) {
        ("drained", _) => "it is over".to_owned(),
        (_, Some(left)) => format!("it is over in {} at the latest", length(left)),
        (phase, None) => phase.to_owned(),
    };
    let open = counted(status.open, "session");
    eprintln!("{begun}: {left}; {open} open");
    if !args.wait {
        return Ok(exit::OK);
    }
    let end = Wait::new(&client, progress).end().await?;
    Ok(end.told())
}

/// Cancels a drain.
pub(super) async fn undrain(args: UndrainArgs) -> Result<u8, Error> {
    let client = args.target.client()?;
    let path = match (&args.listener, &args.endpoint, args.share) {
        (_, Some(endpoint), _) => path_of(endpoint),
        (Some(name), ..) => format!("/v1/drain?listener={name}"),
        (None, None, true) => "/v1/drain?share".to_owned(),
        (None, None, false) => "/v1/drain".to_owned(),
    };
    let answer = client.ask(Method::DELETE, &path, None).await?;
    let status: Status = answer.read()?;
    eprintln!("{}: {} open", status.phase, counted(status.open, "session"));
    Ok(exit::OK)
}

/// How the wait for a drain ends.
enum End {
    Drained(Box<Report>),
    /// The process serves again.
    Cancelled,
    /// The process is gone, and said no more than this.
    Lost(Box<Status>),
}

impl End {
    /// Tells how it ended; what is returned is the exit code.
    fn told(self) -> u8 {
        match self {
            End::Drained(report) => {
                // Who closed our stdout still wants the exit code.
                let _ = out::lines(&report_table(&report));
                report.exit_code
            }
            End::Cancelled => {
                eprintln!("the drain was cancelled: the proxy serves");
                exit::FAILED
            }
            End::Lost(last) => lost(&last),
        }
    }
}

/// Tells what is known of a proxy that went without a report.
fn lost(last: &Status) -> u8 {
    let Status { phase, open, .. } = last;
    if let Some(code) = last.exit_code {
        eprintln!("the proxy has left, drained; its report did not reach us");
        return code;
    }
    let open_then = counted(*open, "session");
    eprintln!("the proxy has left while it was {phase}, with {open_then} open");
    if phase == "closing" && *open == 0 {
        exit::OK
    } else {
        eprintln!("error: whether they ended cleanly cannot be told");
        exit::FAILED
    }
}

/// The wait for the end of a drain.
struct Wait<'c> {
    client: &'c Client,
    progress: Progress,
    display: Display<io::Stderr>,
}

impl Wait<'_> {
    fn new(client: &Client, progress: Progress) -> Wait<'_> {
        Wait {
            client,
            progress,
            display: Display::on(io::stderr()),
        }
    }

    /// Shows the drain until it is over. A stream that breaks is opened again; where there is
    /// none to be had, the status is asked for.
    async fn end(mut self) -> Result<End, Error> {
        loop {
            if let Some(end) = self.ended() {
                return Ok(self.reported(end).await);
            }
            match self.client.events().await {
                Ok(events) => {
                    if let Some(end) = self.follow(events).await? {
                        return Ok(end);
                    }
                }
                Err(error) if error.is_unreachable() => return Ok(self.lost()),
                Err(error) if error.is_refusal(StatusCode::SERVICE_UNAVAILABLE) => {}
                Err(error) => return Err(error),
            }
            match self.client.get("/v1/status").await {
                Ok(status) => self.take(status),
                Err(error) if error.is_unreachable() => return Ok(self.lost()),
                Err(error) => return Err(error),
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Follows a stream until the drain is over; none if the stream ends before.
    async fn follow(&mut self, mut events: Events) -> Result<Option<End>, Error> {
        let mut ticks = self.display.ticks();
        loop {
            let event = tokio::select! {
                event = events.next() => event?,
                _ = ticks.tick() => {
                    self.show();
                    continue;
                }
            };
            match event {
                Some(Event::Status(status)) => self.take(*status),
                Some(Event::Report(report)) if self.progress.is_of(report.part.as_deref()) => {
                    return Ok(Some(End::Drained(report)));
                }
                Some(Event::Report(_)) => {}
                None => return Ok(None),
            }
            if let Some(End::Cancelled) = self.ended() {
                // Of a share that is drained nothing is left but its report.
                return Ok(Some(self.reported(End::Cancelled).await));
            }
        }
    }

    fn take(&mut self, status: Status) {
        self.progress.update(status, Instant::now());
        self.show();
    }

    fn show(&mut self) {
        // Who closed our stderr still wants the exit code.
        let _ = self.display.show(&mut self.progress, Instant::now());
    }

    /// Whether the last status was one of the end.
    fn ended(&self) -> Option<End> {
        match self.progress.stage().phase {
            "drained" => Some(self.lost()),
            "serving" | "starting" => Some(End::Cancelled),
            _ => None,
        }
    }

    fn lost(&self) -> End {
        End::Lost(Box::new(self.progress.status().clone()))
    }

    /// The end with its report, if there is still somebody to give it.
    async fn reported(&self, end: End) -> End {
        let report: Result<Report, _> = self.client.get("/v1/drain/report").await;
        match (report, end) {
            (Ok(report), End::Lost(_)) => End::Drained(Box::new(report)),
            (Ok(report), End::Cancelled) if self.progress.is_told_by(&report) => {
                End::Drained(Box::new(report))
            }
            (_, end) => end,
        }
    }
}
